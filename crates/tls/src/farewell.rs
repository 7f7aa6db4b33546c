//! The end of a refused connection: the last words arrive.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::records::Records;

/// Sends `last_words`, closes our half, and reads on for a moment.
///
/// A socket closed with unread bytes in it makes the kernel send a reset, at which the client throws away what it has
/// received and reports "connection reset" instead of our alert.
pub(crate) async fn part(mut socket: TcpStream, last_words: &[u8]) {
    let parting = async {
        socket.write_all(last_words).await?;
        socket.shutdown().await?;
        let mut discarded = 0;
        let mut buffer = [0; 4096];
        while discarded < DRAIN_BYTES {
            match socket.read(&mut buffer).await? {
                0 => break,
                read => discarded += read,
            }
        }
        Ok::<(), std::io::Error>(())
    };
    // Whether it worked or not, there is nobody left to tell.
    let _ = timeout(DRAIN_TIME, parting).await;
}

/// The record of a fatal alert before encryption has begun (RFC 8446 §5.1, §6).
pub(crate) fn alert_record(description: u8) -> Vec<u8> {
    vec![21, 3, 3, 0, 2, 2, description]
}

/// What a client has on the way when it is refused. With TLS 1.3 it may send its request behind its certificate before it knows of
/// the refusal, and many libraries read nothing before they have sent all of it.
pub(crate) const DRAIN_BYTES: usize = 4 * 1024 * 1024;
/// After the handshake rustls lets no alert through but `close_notify`.
pub(crate) async fn turn_away(tls: Records) {
    let (socket, last_words) = tls.into_last_words();
    part(socket, &last_words).await;
}

/// Longer than a round trip anywhere, shorter than a refused client is worth.
const DRAIN_TIME: Duration = Duration::from_secs(1);
