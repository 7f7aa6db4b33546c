//! A connection to an upstream, whatever it runs over.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::net::sockopt;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use super::Address;
use crate::keepalive;

/// Bytes to and from an upstream.
#[derive(Debug)]
pub(crate) enum Link {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Link {
    pub(super) async fn connect(address: &Address) -> io::Result<Self> {
        match address {
            Address::Tcp { host, port } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await?;
                // Without it the last segment of a request waits for the upstream's delayed ACK. Not worth a failure.
                let _ = stream.set_nodelay(true);
                keepalive::watch(&stream);
                Ok(Self::Tcp(stream))
            }
            Address::Unix { path } => UnixStream::connect(path).await.map(Self::Unix),
        }
    }
}

impl Link {
    /// What was cut short must not look to the upstream like an end that somebody meant. A socket of the file system knows no
    /// reset.
    pub(crate) fn reset_on_close(&self) {
        if let Self::Tcp(stream) = self
            && let Err(error) = sockopt::set_socket_linger(stream, Some(Duration::ZERO))
        {
            tracing::debug!(%error, "an upstream is not told that its client is gone");
        }
    }
}

/// Calls the same method of whatever the link runs over.
macro_rules! over {
    ($link:expr, $method:ident($($argument:expr),*)) => {
        match $link {
            Link::Tcp(stream) => Pin::new(stream).$method($($argument),*),
            Link::Unix(stream) => Pin::new(stream).$method($($argument),*),
        }
    };
}

impl AsyncRead for Link {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        over!(&mut *self, poll_read(cx, buf))
    }
}

impl AsyncWrite for Link {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        over!(&mut *self, poll_write(cx, bytes))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        over!(&mut *self, poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        over!(&mut *self, poll_shutdown(cx))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        over!(&mut *self, poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}
