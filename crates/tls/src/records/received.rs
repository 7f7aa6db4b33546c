//! What was received and TLS has not taken yet.

use std::io;
use std::task::{Context, Poll, ready};

use countersign_runtime::lent::{LentBuffer, OVERHEAD};
use tokio::net::TcpStream;

/// In a buffer that is lent while there is something to do with it, and else in room for no more than there is: nobody who stops in the
/// middle of a record holds a buffer.
#[derive(Default)]
pub(super) enum Received {
    Held(Vec<u8>),
    Lent(LentBuffer),
    #[default]
    Nothing,
}

impl Received {
    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Held(bytes) => bytes,
            Self::Lent(buffer) => buffer.unread_mut(),
            Self::Nothing => &mut [],
        }
    }

    /// Takes the first `count` bytes.
    pub(super) fn consume(&mut self, count: usize) {
        let is_empty = match self {
            Self::Held(bytes) => {
                bytes.drain(..count.min(bytes.len()));
                bytes.is_empty()
            }
            Self::Lent(buffer) => {
                buffer.consume(count);
                buffer.unread().is_empty()
            }
            Self::Nothing => true,
        };
        if is_empty {
            *self = Self::Nothing;
        }
    }

    /// To be called when nobody asks TLS for more: who knows when somebody does again.
    pub(super) fn settle(&mut self) {
        if let Self::Lent(buffer) = self
            && buffer.unread().len() < LITTLE
        {
            *self = Self::Held(buffer.unread().to_vec());
        }
    }

    /// Reads once, behind what is there. 0: the socket has ended. An error of [`io::ErrorKind::InvalidData`]: no more fits behind what TLS
    /// makes nothing of.
    pub(super) fn poll_fill(
        &mut self,
        tcp: &mut TcpStream,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if let Self::Held(_) = self {
            // What is held is copied only if it is for something.
            ready!(tcp.poll_read_ready(cx))?;
        }
        let mut buffer = match std::mem::take(self) {
            Self::Held(bytes) => {
                let mut buffer = LentBuffer::lend();
                if buffer.append(&bytes) < bytes.len() {
                    *self = Self::Held(bytes);
                    return Poll::Ready(Err(too_large()));
                }
                buffer
            }
            Self::Lent(mut buffer) => {
                buffer.compact();
                buffer
            }
            Self::Nothing => LentBuffer::lend(),
        };
        let filled = if buffer.unread().len() >= MAX_UNTAKEN || buffer.rest().is_empty() {
            Poll::Ready(Err(too_large()))
        } else {
            buffer.poll_fill_encrypted(tcp, cx)
        };
        // Whatever came of it, what TLS has not taken stays.
        if !buffer.unread().is_empty() {
            *self = match filled {
                Poll::Ready(Ok(1..)) => Self::Lent(buffer),
                _ => Self::Held(buffer.unread().to_vec()),
            };
        }
        filled
    }
}

/// The longest message that rustls takes, which is 64 KiB, in its records. Whoever waits for the end of a longer one does not hold more.
const MAX_UNTAKEN: usize = 64 * 1024 + OVERHEAD;

/// What is copied rather than left in a buffer that is many times as large: the beginning of a record always is.
const LITTLE: usize = 16 * 1024;

fn too_large() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a message is too large")
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn beginning_of_a_message_that_is_too_large_is_not_kept_for_its_end() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let address = listener.local_addr().expect("bound");
        let mut far = TcpStream::connect(address).await.expect("connects");
        let (mut near, _) = listener.accept().await.expect("accepts");
        far.write_all(&[7; 2]).await.expect("open");
        for (held, expected) in [(MAX_UNTAKEN - 1, Ok(2)), (MAX_UNTAKEN, Err(()))] {
            let mut received = Received::Held(vec![0; held]);
            let filled = poll_fn(|cx| received.poll_fill(&mut near, cx)).await;
            assert_eq!(filled.map_err(drop), expected, "{held}");
            far.write_all(&[7; 2]).await.expect("open");
        }
    }
}
