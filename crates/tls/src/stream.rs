//! The decrypted side of a connection.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::live::Lifeline;
use crate::records::Records;
use crate::sources::Place;

/// A TLS stream over TCP.
///
/// Once access is withdrawn it reads no more: whatever a task does about its lifeline, nothing that the client sends
/// afterwards gets through. A farewell can still be written.
// Boxed: the tasks that hold it move it about, each time with room for it in their future, and the state of TLS is large.
pub struct Stream(Box<Open>);

struct Open {
    tls: Records,
    lifeline: Lifeline,
    _place: Place,
}

impl Stream {
    pub(crate) fn new(tls: Records, lifeline: Lifeline, place: Place) -> Self {
        Self(Box::new(Open {
            tls,
            lifeline,
            _place: place,
        }))
    }

    fn tls(self: Pin<&mut Self>) -> Pin<&mut Records> {
        Pin::new(&mut self.get_mut().0.tls)
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.0.lifeline.is_cut() {
            return Poll::Ready(Err(io::Error::new(
                io::ErrorKind::ConnectionAborted,
                "access was withdrawn",
            )));
        }
        self.tls().poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.tls().poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.tls().poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.tls.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.tls().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.tls().poll_shutdown(cx)
    }
}
