//! A refused client that is told why: its handshake is finished and nothing else of it counts.
//!
//! It is no [`Stream`](crate::acceptor::Stream) and comes with no [`Session`](crate::acceptor::Session), so that nothing that
//! forwards, judges or admits can take it. It still holds its place among the unfinished handshakes, and ends by itself.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use crate::farewell::DRAIN_BYTES;
use crate::pending::Slot;
use crate::records::Records;
use crate::sources::Place;

/// Takes one answer. Reads end after `READ_BYTES`, everything ends after `LIFE`, whoever uses it.
///
/// Shutting it down waits until the client has taken what was written, or has had its time.
pub struct RefusedStream {
    tls: Box<Records>,
    unread: usize,
    drained: usize,
    is_closed: bool,
    end: Pin<Box<Sleep>>,
    _slot: Slot,
    _place: Place,
}

impl RefusedStream {
    pub(crate) fn new(tls: Records, slot: Slot, place: Place) -> Self {
        Self {
            tls: Box::new(tls),
            unread: READ_BYTES,
            drained: 0,
            is_closed: false,
            end: Box::pin(sleep(LIFE)),
            _slot: slot,
            _place: place,
        }
    }

    /// Whether HTTP/2 was agreed on.
    pub fn is_http2(&self) -> bool {
        self.tls.state().alpn_protocol() == Some(b"h2")
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.end.as_mut().poll(cx) {
            Poll::Ready(()) => Err(io::ErrorKind::TimedOut.into()),
            Poll::Pending => Ok(()),
        }
    }

    /// What is still on its way is thrown away: see [`part`](crate::farewell::part).
    fn poll_drained(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut bytes = [0; 4096];
        while self.drained < DRAIN_BYTES {
            let mut buffer = ReadBuf::new(&mut bytes);
            ready!(Pin::new(self.tls.socket_mut()).poll_read(cx, &mut buffer))?;
            if buffer.filled().is_empty() {
                break;
            }
            self.drained += buffer.filled().len();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for RefusedStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.poll_end(cx)?;
        if this.unread == 0 {
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut this.tls).poll_read(cx, buf);
        this.unread = this.unread.saturating_sub(buf.filled().len() - before);
        read
    }
}

impl AsyncWrite for RefusedStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.poll_end(cx)?;
        Pin::new(&mut this.tls).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.poll_end(cx)?;
        Pin::new(&mut this.tls).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.poll_end(cx)?;
        if !this.is_closed {
            ready!(Pin::new(&mut this.tls).poll_shutdown(cx))?;
            this.is_closed = true;
        }
        this.poll_drained(cx)
    }
}

impl fmt::Debug for RefusedStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RefusedStream")
    }
}

/// The head of a request, and whatever of its body comes with it: in HTTP/2 a whole window.
const READ_BYTES: usize = 128 * 1024;
/// A few round trips anywhere; a client that has its answer is gone long before.
const LIFE: Duration = Duration::from_secs(3);
