//! A stream of HTTP/2 that became a tunnel. What is cut short there must not look like an end that somebody meant, to either side.
//!
//! hyper reads from it in one task and sends in another, takes a reset by the client for an end, and ends in good order what is dropped.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What whoever runs a tunnel and whoever sends for it know of each other.
#[derive(Default)]
pub(crate) struct StreamEnd {
    is_broken_off: Cell<bool>,
    is_sent: Cell<bool>,
}

impl StreamEnd {
    /// What is left to send is not sent. To be called in the poll that lets go of the stream.
    pub(crate) fn break_off(&self) {
        self.is_broken_off.set(true);
    }

    pub(super) fn is_broken_off(&self) -> bool {
        self.is_broken_off.get()
    }

    /// Nothing is sent any more: all of it is, or the client takes no more.
    pub(super) fn note_sent(&self) {
        self.is_sent.set(true);
    }
}

/// The client's half.
pub(crate) struct ClientStream<S> {
    stream: S,
    end: Rc<StreamEnd>,
    has_waited: bool,
    is_shut_down: bool,
}

impl<S> ClientStream<S> {
    pub(crate) fn new(stream: S, end: Rc<StreamEnd>) -> Self {
        Self {
            stream,
            end,
            has_waited: false,
            is_shut_down: false,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ClientStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        if buf.filled().len() > before || buf.remaining() == 0 || self.is_shut_down {
            return Poll::Ready(Ok(()));
        }
        // RFC 9113 §8.5: an END_STREAM is an end, and a RST_STREAM is none. Of that whoever sends is told first, and has had its turn
        // when this task has its next one.
        if !self.has_waited {
            self.has_waited = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if self.end.is_sent.get() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ClientStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.is_shut_down = true;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
