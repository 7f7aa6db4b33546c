//! Buffers that are lent while bytes flow: each worker has a few on its shelf, and a connection that rests holds none.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

/// Bytes that were read and not yet taken, in a buffer of [`SIZE`] bytes, and [`OVERHEAD`] for those that are encrypted, that goes back to the shelf of
/// the thread it is dropped on.
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
            bytes: shelved.unwrap_or_else(|| vec![0; START + SIZE + OVERHEAD].into_boxed_slice()),
            unread: START..START,
        }
    }

    /// Reads once, behind what is in it. 0: the reader has ended, or there is no room.
    pub fn poll_fill<R: AsyncRead + Unpin>(
        &mut self,
        reader: &mut R,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let room = self.unread.end + self.room();
        self.poll_fill_to(room, reader, cx)
    }

    /// The same of what is encrypted: as many full records as have room are behind each other in it, so that none has to wait for its end.
    pub fn poll_fill_encrypted<R: AsyncRead + Unpin>(
        &mut self,
        reader: &mut R,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        self.poll_fill_to(self.bytes.len(), reader, cx)
    }

    fn poll_fill_to<R: AsyncRead + Unpin>(
        &mut self,
        end: usize,
        reader: &mut R,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let mut room = ReadBuf::new(&mut self.bytes[self.unread.end..end]);
        ready!(Pin::new(reader).poll_read(cx, &mut room))?;
        let read = room.filled().len();
        self.unread.end += read;
        Poll::Ready(Ok(read))
    }

    /// Puts these behind what is in it, or as much of them as [`OVERHEAD`] and all other room take. How much that was.
    pub fn append(&mut self, bytes: &[u8]) -> usize {
        let rest = self.rest();
        let count = bytes.len().min(rest.len());
        rest[..count].copy_from_slice(&bytes[..count]);
        self.unread.end += count;
        count
    }

    /// All the room behind what is in it, [`OVERHEAD`] included, to be written to; [`Self::advance`] says how much of it was.
    pub fn rest(&mut self) -> &mut [u8] {
        &mut self.bytes[self.unread.end..]
    }

    /// So much of the [`Self::rest`] was written; all of it if that is less.
    pub fn advance(&mut self, count: usize) {
        self.unread.end += count.min(self.bytes.len() - self.unread.end);
    }

    /// What was read and not taken.
    pub fn unread(&self) -> &[u8] {
        &self.bytes[self.unread.clone()]
    }

    /// The same, to be worked on where it is.
    pub fn unread_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.unread.clone()]
    }

    /// Moves what is unread to the front, so that all the room there can be is behind it.
    pub fn compact(&mut self) {
        if self.unread.start > START {
            self.bytes.copy_within(self.unread.clone(), START);
            self.unread = START..START + self.unread.len();
        }
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
        (START + SIZE).saturating_sub(self.unread.end)
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

/// Eight full TLS records: what one system call reads or sends is most of what a large transfer costs.
pub const SIZE: usize = 128 * 1024;

/// Where in it bytes begin: half a page from where its pages do. rustls copies each record to just behind the beginning of a page, and to copy to
/// there from the beginning of another is several times as slow on processors that take the one for the other (AMD's Zen, with `rep movsb`).
const START: usize = 2048;

/// What encryption adds to so many bytes: to each record a header, a nonce or a type, and a tag, 29 bytes at most; there are more than eight of
/// them where short writes are between long ones, and TLS may have to say something before them, such as that its keys change.
pub const OVERHEAD: usize = 2048;

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

    #[tokio::test]
    async fn what_is_encrypted_has_room_behind_and_is_moved_to_the_front() {
        let mut buffer = LentBuffer::lend();
        let bytes: Vec<u8> = (0..=250).cycle().take(SIZE + OVERHEAD + 1).collect();
        assert_eq!(fill(&mut buffer, &bytes).await, SIZE);
        let mut more = &bytes[SIZE..];
        let filled = poll_fn(|cx| buffer.poll_fill_encrypted(&mut more, cx)).await;
        assert_eq!(filled.expect("slices do not fail"), OVERHEAD);
        assert_eq!((buffer.room(), buffer.rest().len()), (0, 0));
        buffer.advance(1);
        buffer.consume(SIZE);
        buffer.unread_mut()[0] ^= 0xff;
        buffer.compact();
        assert_eq!(buffer.room(), SIZE - OVERHEAD);
        assert_eq!(buffer.unread()[0], bytes[SIZE] ^ 0xff);
        assert_eq!(buffer.unread()[1..], bytes[SIZE + 1..SIZE + OVERHEAD]);
        assert_eq!(buffer.append(&bytes), SIZE);
        assert_eq!(buffer.append(&bytes), 0);
        assert_eq!(buffer.unread()[OVERHEAD..], bytes[..SIZE]);
    }

    #[test]
    fn shelf_is_bounded() {
        let out: Vec<_> = (0..SHELVED + 5).map(|_| LentBuffer::lend()).collect();
        drop(out);
        assert_eq!(SHELF.with_borrow(Vec::len), SHELVED);
    }
}
