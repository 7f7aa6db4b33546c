//! What a plaintext connection begins with: programs of this host agree on nothing before they speak, and HTTP/2 says so itself.

use std::io;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::timeout;

use crate::exchange::Caller;

/// Reads until it is clear whether this is HTTP/2 by prior knowledge (RFC 9113 §3.4). `None`: it ended, or nothing came in time.
pub(super) async fn is_http2(
    stream: &mut (impl AsyncRead + Unpin),
    read: &mut BytesMut,
    caller: &Caller,
) -> Option<bool> {
    let limit = caller.listener.serving.load().idle_timeout;
    let reading = timeout(limit, begins_with_preface(stream, read));
    tokio::select! {
        () = caller.listener.drain.draining() => None,
        found = reading => found.ok()?.ok()?,
    }
}

async fn begins_with_preface(
    stream: &mut (impl AsyncRead + Unpin),
    read: &mut BytesMut,
) -> io::Result<Option<bool>> {
    // No byte more than there may be of the preface, so that nothing is read that nobody waits for.
    while read.len() < PREFACE.len() && PREFACE.starts_with(read) {
        let mut rest = [0; PREFACE.len()];
        let count = stream.read(&mut rest[read.len()..]).await?;
        if count == 0 {
            return Ok(None);
        }
        let begun = read.len();
        read.extend_from_slice(&rest[begun..begun + count]);
    }
    Ok(Some(&read[..] == PREFACE))
}

const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    /// What is found out of what came in these pieces, and what was read.
    async fn check(pieces: &[&[u8]], expected: Option<bool>, kept: &[u8]) {
        let (mut here, mut there) = tokio::io::duplex(64);
        let mut read = BytesMut::new();
        let finding = begins_with_preface(&mut here, &mut read);
        let sending = async {
            for piece in pieces {
                there.write_all(piece).await.expect("open");
                tokio::task::yield_now().await;
            }
            drop(there);
        };
        let (found, ()) = tokio::join!(finding, sending);
        assert_eq!(found.expect("no error"), expected, "{pieces:?}");
        assert_eq!(&read[..], kept, "{pieces:?}");
    }

    #[tokio::test]
    async fn preface_is_known_whole_and_in_pieces_and_nothing_else_is_taken_for_it() {
        check(&[PREFACE], Some(true), PREFACE).await;
        check(&[b"P", b"RI * HTTP", &PREFACE[10..]], Some(true), PREFACE).await;
        let more = [&PREFACE[..], b"frames"].concat();
        check(&[&more], Some(true), PREFACE).await;
        check(&[b"POST / HTT"], Some(false), b"POST / HTT").await;
        check(
            &[b"P", b"UT / HTTP/1.1\r\n"],
            Some(false),
            b"PUT / HTTP/1.1\r\n",
        )
        .await;
        check(
            &[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\rX"],
            Some(false),
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\rX",
        )
        .await;
        check(&[b"PRI"], None, b"PRI").await;
        check(&[], None, b"").await;
    }
}
