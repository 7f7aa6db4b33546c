//! Buffers that are lent while bytes flow: each worker has a few on its shelf, and a connection that rests holds none.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

/// Bytes that were read and not yet taken, in a buffer of [`SIZE`] bytes that goes back to the shelf of the thread it is dropped on.
///
/// Nobody sees what others had in it: what is read out of it was read into it since it was lent.
pub struct LentBuffer {
    bytes: Box<[u8]>,
    unread: Range<usize>,
}

impl LentBuffer {
    /// An empty one.
    pub fn lend() -> Self {
        let shelved = SHELF.with_borrow_mut(Vec::pop);
        Self {
            bytes: shelved.unwrap_or_else(|| vec![0; START + SIZE].into_boxed_slice()),
            unread: START..START,
        }
    }

    /// Reads once, behind what is in it. 0: the reader has ended, or there is no room.
    pub fn poll_fill<R: AsyncRead + Unpin>(
        &mut self,
        reader: &mut R,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let mut room = ReadBuf::new(&mut self.bytes[self.unread.end..]);
        ready!(Pin::new(reader).poll_read(cx, &mut room))?;
        let read = room.filled().len();
        self.unread.end += read;
        Poll::Ready(Ok(read))
    }

    /// What was read and not taken.
    pub fn unread(&self) -> &[u8] {
        &self.bytes[self.unread.clone()]
    }

    /// Takes the first `count` bytes; all there are if that is less.
    pub fn consume(&mut self, count: usize) {
        self.unread.start += count.min(self.unread.len());
        if self.unread.is_empty() {
            self.unread = START..START;
        }
    }

    /// How many bytes can be read into it before something is taken.
    pub fn room(&self) -> usize {
        self.bytes.len() - self.unread.end
    }
}

impl fmt::Debug for LentBuffer {
    /// Without the bytes: they are somebody's.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LentBuffer({} unread)", self.unread.len())
    }
}

impl Drop for LentBuffer {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        // A thread that is ending has no shelf any more.
        let _ = SHELF.try_with(|shelf| {
            let mut shelved = shelf.borrow_mut();
            if shelved.len() < SHELVED {
                shelved.push(bytes);
            }
        });
    }
}

thread_local! {
    static SHELF: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

/// Four full TLS records, which rustls writes with one system call.
pub const SIZE: usize = 64 * 1024;

/// Where in it bytes begin: half a page from where its pages do. rustls copies each record to just behind the beginning of a page, and to copy to
/// there from the beginning of another is several times as slow on processors that take the one for the other (AMD's Zen, with `rep movsb`).
const START: usize = 2048;

/// One poll holds two at a time; more are out only while somebody takes nothing of what was read for it.
const SHELVED: usize = 16;

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    async fn fill(buffer: &mut LentBuffer, mut bytes: &[u8]) -> usize {
        poll_fn(|cx| buffer.poll_fill(&mut bytes, cx))
            .await
            .expect("slices do not fail")
    }

    #[tokio::test]
    async fn nobody_reads_what_another_left() {
        let mut first = LentBuffer::lend();
        assert_eq!(fill(&mut first, b"secret").await, 6);
        drop(first);
        let mut second = LentBuffer::lend();
        assert_eq!(second.unread(), b"");
        assert_eq!(fill(&mut second, b"mine").await, 4);
        assert_eq!(second.unread(), b"mine");
        second.consume(usize::MAX);
        assert_eq!(second.unread(), b"");
        assert_eq!(fill(&mut second, b"").await, 0);
        assert_eq!(second.unread(), b"");
    }

    #[tokio::test]
    async fn it_takes_no_more_than_it_has_room_for_and_gives_it_in_order() {
        let mut buffer = LentBuffer::lend();
        let bytes: Vec<u8> = (0..=250).cycle().take(SIZE + 1).collect();
        assert_eq!(fill(&mut buffer, &bytes[..SIZE - 1]).await, SIZE - 1);
        buffer.consume(10);
        assert_eq!(buffer.room(), 1);
        assert_eq!(fill(&mut buffer, &bytes[SIZE - 1..]).await, 1);
        assert_eq!(fill(&mut buffer, &bytes[SIZE..]).await, 0);
        assert_eq!(buffer.unread(), &bytes[10..SIZE]);
        buffer.consume(SIZE - 10);
        assert_eq!(buffer.room(), SIZE);
    }

    #[test]
    fn shelf_is_bounded() {
        let out: Vec<_> = (0..SHELVED + 5).map(|_| LentBuffer::lend()).collect();
        drop(out);
        assert_eq!(SHELF.with_borrow(Vec::len), SHELVED);
    }
}
