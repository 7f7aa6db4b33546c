//! What is written comes out the same, wherever in memory it begins and however it is cut into pieces.

use std::future::poll_fn;
use std::io::IoSlice;
use std::pin::Pin;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::peer::{TLS12, TLS13, config, meet};
use crate::site::Site;

const PAGE: usize = 4096;

/// Enough that the socket and the buffer of TLS are full in between.
const MANY: usize = 3 << 20;

#[tokio::test]
async fn bytes_arrive_as_they_were_written_wherever_in_their_page_they_begin() {
    let bytes: Vec<u8> = (0..MANY + 2 * PAGE)
        .map(|index| u8::try_from(index % 251).expect("below 256"))
        .collect();
    let page = bytes.as_ptr().align_offset(PAGE);
    for version in [TLS12, TLS13] {
        let site = Site::new();
        let identity = site.client("you");
        let meeting = meet(&site, &Arc::new(config(&site, Some(&identity), version))).await;
        let mut client = meeting.client.expect("admitted").stream;
        let mut server = meeting.server.expect("admitted").stream;
        for (offset, heads) in [
            (0, &[][..]),
            (0, &[9]),
            (5, &[]),
            (PAGE / 2, &[]),
            (0, &[100, 0, 300]),
            (PAGE - 1, &[PAGE]),
            (0, &[9000]),
        ] {
            let mut expected = Vec::new();
            let mut pieces = Vec::new();
            let mut at = page + offset;
            for &len in heads.iter().chain(&[MANY]) {
                pieces.push(&bytes[at..at + len]);
                expected.extend_from_slice(&bytes[at..at + len]);
                // The large one begins where it is said to.
                at = page + offset;
            }
            let writing = async {
                write_all(&mut server, pieces).await;
                server.flush().await.expect("open");
            };
            let mut read = vec![0; expected.len()];
            let reading = client.read_exact(&mut read);
            let ((), got) = tokio::join!(writing, reading);
            got.expect("all of it");
            assert!(read == expected, "{offset} behind {heads:?}");
        }
    }
}

/// One piece in the plain way, more at once.
async fn write_all(stream: &mut (impl AsyncWrite + Unpin), mut pieces: Vec<&[u8]>) {
    while !pieces.is_empty() {
        let slices: Vec<IoSlice<'_>> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
        let mut written = poll_fn(|cx| match &pieces[..] {
            [one] => Pin::new(&mut *stream).poll_write(cx, one),
            _ => Pin::new(&mut *stream).poll_write_vectored(cx, &slices),
        })
        .await
        .expect("open");
        assert_ne!(written, 0);
        while let Some(first) = pieces.first_mut() {
            let taken = written.min(first.len());
            *first = &first[taken..];
            written -= taken;
            if !first.is_empty() {
                break;
            }
            pieces.remove(0);
        }
    }
}
