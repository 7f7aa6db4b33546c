//! Bytes both ways through buffers that are lent while they flow: a connection that is silent holds none.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use countersign_runtime::lent::{LentBuffer, SIZE};
use tokio::io::{AsyncRead, AsyncWrite};

/// Passes what each says on to the other until both have ended. The end of one is passed on, and the other may go on.
pub(super) async fn pass_both_ways<A, B>(one: &mut A, other: &mut B) -> io::Result<()>
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let (mut there, mut back) = (Way::default(), Way::default());
    poll_fn(|cx| {
        let there = there.poll(one, other, cx)?;
        let back = back.poll(other, one, cx)?;
        if there.is_ready() && back.is_ready() {
            Poll::Ready(Ok(()))
        } else {
            Poll::Pending
        }
    })
    .await
}

#[derive(Default)]
struct Way {
    /// What was read and not yet written.
    held: Option<LentBuffer>,
    state: State,
    /// Whether the writer may still hold something back.
    is_unflushed: bool,
}

#[derive(Default)]
enum State {
    #[default]
    Open,
    /// The reader has ended, in order or not; what was read before goes first.
    Ended(io::Result<()>),
    Closed,
}

impl Way {
    fn poll<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
        &mut self,
        reader: &mut R,
        writer: &mut W,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let is_waiting = self.fill(reader, cx);
            ready!(self.poll_write(writer, cx))?;
            match &mut self.state {
                State::Closed => return Poll::Ready(Ok(())),
                State::Ended(end) => {
                    std::mem::replace(end, Ok(()))?;
                    ready!(Pin::new(&mut *writer).poll_shutdown(cx))?;
                    self.state = State::Closed;
                }
                State::Open if is_waiting => {
                    if self.is_unflushed {
                        ready!(Pin::new(&mut *writer).poll_flush(cx))?;
                        self.is_unflushed = false;
                    }
                    return Poll::Pending;
                }
                State::Open => {}
            }
        }
    }

    /// Reads as long as there is something and much room for it; whether the reader is waited for.
    fn fill<R: AsyncRead + Unpin>(&mut self, reader: &mut R, cx: &mut Context<'_>) -> bool {
        while matches!(self.state, State::Open) {
            let buffer = self.held.get_or_insert_with(LentBuffer::lend);
            if buffer.room() < MIN_ROOM {
                return false;
            }
            match buffer.poll_fill(reader, cx) {
                Poll::Ready(Ok(0)) => self.state = State::Ended(Ok(())),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => self.state = State::Ended(Err(error)),
                Poll::Pending => return true,
            }
        }
        false
    }

    fn poll_write<W: AsyncWrite + Unpin>(
        &mut self,
        writer: &mut W,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(buffer) = &mut self.held else {
            return Poll::Ready(Ok(()));
        };
        while !buffer.unread().is_empty() {
            let written = ready!(Pin::new(&mut *writer).poll_write(cx, buffer.unread()))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            buffer.consume(written);
            self.is_unflushed = true;
        }
        self.held = None;
        Poll::Ready(Ok(()))
    }
}

/// A TLS record's plaintext (RFC 8446 §5.1): with less room, what comes next would be cut in two.
const MIN_ROOM: usize = 16 * 1024;
const _: () = assert!(MIN_ROOM <= SIZE);

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadBuf, duplex};

    use super::*;

    /// The far ends of both sides, and what came of it.
    async fn passing<T>(
        room: usize,
        act: impl AsyncFnOnce(DuplexStream, DuplexStream) -> T,
    ) -> (T, io::Result<()>) {
        let (client, mut one) = duplex(room);
        let (server, mut other) = duplex(room);
        tokio::join!(act(client, server), pass_both_ways(&mut one, &mut other))
    }

    fn some_bytes(count: usize) -> Vec<u8> {
        (0..=250).cycle().take(count).collect()
    }

    #[tokio::test]
    async fn everything_passes_both_ways_at_once_through_narrow_pipes() {
        let sent = some_bytes(5 * SIZE + 7);
        for room in [1 << 10, 1 << 20] {
            let ((there, back), end) = passing(room, async |client, server| {
                let exchange = async |stream: DuplexStream| {
                    let (mut read, mut write) = tokio::io::split(stream);
                    let mut received = Vec::new();
                    let writing = async {
                        write.write_all(&sent).await.expect("it is read");
                        write.shutdown().await.expect("it is open");
                    };
                    let ((), end) = tokio::join!(writing, read.read_to_end(&mut received));
                    end.expect("an end in order");
                    received
                };
                tokio::join!(exchange(server), exchange(client))
            })
            .await;
            end.expect("both ended in order");
            assert!(there == sent && back == sent);
        }
    }

    #[tokio::test]
    async fn who_has_ended_still_hears_the_other() {
        let (heard, end) = passing(64, async |mut client, mut server| {
            client.write_all(b"question").await.expect("room");
            client.shutdown().await.expect("it is open");
            let mut question = String::new();
            server.read_to_string(&mut question).await.expect("an end");
            assert_eq!(question, "question");
            server.write_all(b"answer").await.expect("room");
            server.shutdown().await.expect("it is open");
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.expect("an end");
            answer
        })
        .await;
        end.expect("both ended in order");
        assert_eq!(heard, "answer");
    }

    /// Gives what it has and then fails.
    struct Breaking(&'static [u8]);

    impl AsyncRead for Breaking {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            if self.0.is_empty() {
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
            buf.put_slice(std::mem::take(&mut self.0));
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn what_came_before_an_error_passes_and_no_end_in_order_follows() {
        let (mut far, near) = duplex(64);
        let mut broken = tokio::io::join(Breaking(b"half of it"), tokio::io::sink());
        // Held on to, so that what its other end sees is what passed.
        let mut near = near;
        let end = pass_both_ways(&mut broken, &mut near).await;
        let error = end.expect_err("it broke").kind();
        assert_eq!(error, io::ErrorKind::ConnectionReset);
        let mut passed = [0; 10];
        far.read_exact(&mut passed).await.expect("it passed");
        assert_eq!(&passed, b"half of it");
        let more = tokio::time::timeout(std::time::Duration::from_millis(20), far.read_u8()).await;
        assert!(more.is_err(), "an end in order: {more:?}");
    }

    #[tokio::test]
    async fn who_says_nothing_holds_no_buffer() {
        let (mut client, mut one) = duplex(64);
        let (mut server, mut other) = duplex(64);
        let mut way = Way::default();
        client.write_all(b"ping").await.expect("room");
        let polled = poll_fn(|cx| Poll::Ready(way.poll(&mut one, &mut other, cx))).await;
        assert!(polled.is_pending());
        assert!(way.held.is_none());
        assert_eq!(
            server.read_u32().await.expect("it passed"),
            u32::from_be_bytes(*b"ping")
        );
    }
}
