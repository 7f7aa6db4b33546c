//! The decrypted side of a connection.

use std::io::{self, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::server::TlsStream;

use crate::live::Lifeline;
use crate::socket::Socket;
use crate::sources::Place;

/// A TLS stream over TCP.
///
/// Once access is withdrawn it reads no more: whatever a task does about its lifeline, nothing that the client sends
/// afterwards gets through. A farewell can still be written.
// Boxed: the tasks that hold it move it about, each time with room for it in their future, and the state of TLS is large.
pub struct Stream(Box<Open>);

struct Open {
    tls: TlsStream<Socket>,
    lifeline: Lifeline,
    _place: Place,
}

impl Stream {
    pub(crate) fn new(tls: TlsStream<Socket>, lifeline: Lifeline, place: Place) -> Self {
        Self(Box::new(Open {
            tls,
            lifeline,
            _place: place,
        }))
    }

    fn tls(self: Pin<&mut Self>) -> Pin<&mut TlsStream<Socket>> {
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
        let mut tls = self.tls();
        let lead = lead(0, buf);
        if lead == 0 {
            return tls.poll_write(cx, buf);
        }
        let taken = tls
            .as_mut()
            .get_mut()
            .get_mut()
            .1
            .writer()
            .write(&buf[..lead])?;
        behind(taken, tls.poll_write(cx, &buf[taken..]))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut tls = self.tls();
        let large = bufs.iter().position(|buf| buf.len() >= LARGE);
        let (before, large) = bufs.split_at(large.unwrap_or(bufs.len()));
        let ahead = before.iter().map(|buf| buf.len()).sum();
        let lead = large.first().map_or(0, |large| lead(ahead, large));
        let Some(large) = large.first().filter(|_| lead > 0) else {
            return tls.poll_write_vectored(cx, bufs);
        };
        let first = [before, &[io::IoSlice::new(&large[..lead])]].concat();
        let taken = tls
            .as_mut()
            .get_mut()
            .get_mut()
            .1
            .writer()
            .write_vectored(&first)?;
        match taken {
            0 => tls.poll_write_vectored(cx, bufs),
            // It has no room for more.
            taken if taken < ahead + lead => Poll::Ready(Ok(taken)),
            taken => behind(taken, tls.poll_write(cx, &large[lead..])),
        }
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

/// `taken` went before; whoever waits for more has to be told of that first.
fn behind(taken: usize, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
    match written {
        Poll::Ready(Ok(more)) => Poll::Ready(Ok(taken + more)),
        Poll::Pending if taken > 0 => Poll::Ready(Ok(taken)),
        other => other,
    }
}

/// How much of a large write goes into a record of its own, so that the records behind it are copied fast.
///
/// rustls copies what a record holds to just behind the beginning of a page. Where it comes from the beginning of another, `rep movsb`, which
/// is how glibc copies 8 KiB and more, is several times as slow on processors that take one page for the other (AMD's Zen; glibc's bug 30994). All
/// records of a write have the same place in their pages, whose length is a multiple of them; half a page ahead moves them out of each other's
/// way. `ahead` bytes come before in the same record.
fn lead(ahead: usize, bytes: &[u8]) -> usize {
    let distance = (RECORD_HEADER + ahead).wrapping_sub(bytes.as_ptr().addr()) % PAGE;
    if bytes.len() >= LARGE && distance < NEAR {
        PAGE / 2
    } else {
        0
    }
}

const PAGE: usize = 4096;

/// RFC 8446 §5.1.
const RECORD_HEADER: usize = 5;

/// A page further is as near as none.
const NEAR: usize = 512;

/// Less is not copied in that way.
const LARGE: usize = 8192 + PAGE / 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_writes_from_the_beginning_of_a_page_have_a_lead() {
        let bytes = vec![0; 5 * PAGE + LARGE];
        let page = bytes.as_ptr().align_offset(PAGE);
        let at = |offset: usize, len: usize| &bytes[page + offset..page + offset + len];
        assert_eq!(lead(0, at(0, LARGE)), PAGE / 2);
        assert_eq!(lead(0, at(5, LARGE)), PAGE / 2);
        assert_eq!(lead(300, at(0, LARGE)), PAGE / 2);
        assert_eq!(lead(PAGE, at(0, LARGE)), PAGE / 2);
        for (ahead, offset, len) in [
            (0, 0, LARGE - 1),
            (0, 6, LARGE),
            (0, PAGE / 2, LARGE),
            (NEAR, 0, LARGE),
            (300, 306, LARGE),
        ] {
            assert_eq!(lead(ahead, at(offset, len)), 0, "{ahead} {offset} {len}");
        }
        assert_eq!(
            lead(0, at(PAGE / 2, LARGE)),
            0,
            "what is left has none again"
        );
        assert_eq!(lead(0, &[]), 0);
    }
}
