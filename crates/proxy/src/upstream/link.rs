//! A connection to an upstream, whatever it runs over.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use countersign_diagnose::refusal::Refusal;
use countersign_pki::identity::VerifiedPeer;
use countersign_tls::acceptor::Lifeline;
use countersign_tls::connector::{Connected, Connector, ServerStream};
use countersign_tls::enforcement::Enforcement;
use rustix::net::sockopt;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::{Address, CONNECT_LIMIT, UpstreamFault};
use crate::keepalive;

/// Bytes to and from an upstream.
pub(crate) enum Link {
    Tcp(TcpStream),
    Tls(Box<TlsLink>),
    Unix(UnixStream),
}

pub(crate) struct TlsLink {
    stream: ServerStream,
    vouched: Rc<Vouched>,
    /// By what was agreed on in the handshake.
    pub(super) speaks_http2: bool,
}

/// What stands behind a link over TLS.
pub(crate) struct Vouched {
    server: Arc<VerifiedPeer>,
    /// Cut when the upstream's certificate is revoked or ends. `None`: the connection rests, and nobody waits for its end.
    lifeline: RefCell<Option<Lifeline>>,
    connector: Connector,
    /// How the upstream refused our certificate, if it did.
    refused: RefCell<Option<Box<Refusal>>>,
}

impl Vouched {
    pub(crate) fn is_cut(&self) -> bool {
        self.lifeline
            .borrow()
            .as_ref()
            .is_some_and(Lifeline::is_cut)
    }

    /// Lets go of what a withdrawal would wait for.
    pub(crate) fn rest(&self) {
        self.lifeline.borrow_mut().take();
    }

    /// Whether the upstream is trusted still, after a rest.
    pub(crate) fn wake(&self) -> bool {
        let lifeline = self.connector.still_trusts(&self.server);
        let is_trusted = lifeline.is_some();
        *self.lifeline.borrow_mut() = lifeline;
        is_trusted
    }

    /// Resolves when the upstream is trusted no more.
    pub(crate) fn cut(&self) -> impl Future<Output = ()> + use<> {
        let lifeline = self.lifeline.borrow().clone();
        async move {
            match lifeline {
                Some(lifeline) => lifeline.cut().await,
                None => std::future::pending().await,
            }
        }
    }

    /// The upstream's refusal of our certificate, where that is behind an error.
    pub(crate) fn refusal_behind(
        &self,
        error: &(dyn std::error::Error + 'static),
    ) -> Option<UpstreamFault> {
        let refusal = self.connector.refusal_behind(error);
        refusal
            .or_else(|| self.refused())
            .map(UpstreamFault::Refused)
    }

    /// The upstream's refusal of our certificate, if that is what ended the connection.
    pub(super) fn refused(&self) -> Option<Box<Refusal>> {
        self.refused.borrow().clone()
    }

    fn note_broken(&self, error: &io::Error) {
        if let Some(refusal) = self.connector.refusal_behind(error) {
            *self.refused.borrow_mut() = Some(refusal);
        }
    }
}

impl TlsLink {
    /// Writing failed. Whoever refuses our certificate says so and closes: what it said may be there still, and nobody reads behind a
    /// failed write.
    fn hear_why(&mut self, cx: &mut Context<'_>) {
        let mut bytes = [0; 1024];
        for _ in 0..MAX_LAST_READS {
            let mut buffer = ReadBuf::new(&mut bytes);
            match Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {}
                Poll::Ready(Err(error)) => return self.vouched.note_broken(&error),
                Poll::Ready(Ok(())) | Poll::Pending => return,
            }
        }
    }
}

impl Link {
    /// After a write.
    fn note_failed<T>(&mut self, cx: &mut Context<'_>, written: &Poll<io::Result<T>>) {
        if let (Self::Tls(link), Poll::Ready(Err(error))) = (self, written) {
            link.vouched.note_broken(error);
            if link.vouched.refused.borrow().is_none() {
                link.hear_why(cx);
            }
        }
    }

    pub(super) async fn connect(
        address: &Address,
        enforcement: &Enforcement,
        header: &[u8],
    ) -> Result<Self, UpstreamFault> {
        let connecting = async {
            match address {
                Address::Tcp { host, port } => {
                    let mut stream = TcpStream::connect((host.as_str(), *port)).await?;
                    // Without it the last segment of a request waits for the upstream's delayed ACK. Not worth a failure.
                    let _ = stream.set_nodelay(true);
                    keepalive::watch(&stream);
                    stream.write_all(header).await?;
                    Ok(Self::Tcp(stream))
                }
                Address::Tls(target) => {
                    let connected = target.connect(enforcement, header).await;
                    let (connected, connector) = connected.map_err(UpstreamFault::Refused)?;
                    let Connected {
                        stream,
                        server,
                        lifeline,
                        alpn,
                    } = connected;
                    keepalive::watch(stream.socket());
                    let vouched = Rc::new(Vouched {
                        server,
                        lifeline: RefCell::new(Some(lifeline)),
                        connector,
                        refused: RefCell::default(),
                    });
                    let speaks_http2 = alpn.as_deref() == Some(b"h2");
                    Ok(Self::Tls(Box::new(TlsLink {
                        stream,
                        vouched,
                        speaks_http2,
                    })))
                }
                Address::Unix { path } => {
                    let mut stream = UnixStream::connect(path).await?;
                    stream.write_all(header).await?;
                    Ok(Self::Unix(stream))
                }
            }
        };
        timeout(CONNECT_LIMIT, connecting)
            .await
            .map_err(|_| UpstreamFault::ConnectTimeout)?
    }

    /// What was cut short must not look to the upstream like an end that somebody meant. Over TLS it does not, without a close
    /// alert; a socket of the file system knows no reset.
    pub(crate) fn reset_on_close(&self) {
        if let Self::Tcp(stream) = self
            && let Err(error) = sockopt::set_socket_linger(stream, Some(Duration::ZERO))
        {
            tracing::debug!(%error, "an upstream is not told that its client is gone");
        }
    }

    /// What stands behind it, if it is over TLS.
    pub(crate) fn vouched(&self) -> Option<Rc<Vouched>> {
        match self {
            Self::Tls(link) => Some(Rc::clone(&link.vouched)),
            Self::Tcp(_) | Self::Unix(_) => None,
        }
    }
}

/// Calls the same method of whatever the link runs over.
macro_rules! over {
    ($link:expr, $method:ident($($argument:expr),*)) => {
        match $link {
            Link::Tcp(stream) => Pin::new(stream).$method($($argument),*),
            Link::Tls(link) => Pin::new(&mut link.stream).$method($($argument),*),
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
        // As with clients: whatever a task does about it, nothing more gets through.
        if let Self::Tls(link) = &*self
            && link.vouched.is_cut()
        {
            return Poll::Ready(Err(io::Error::new(
                io::ErrorKind::ConnectionAborted,
                "the upstream's certificate is revoked, or has ended",
            )));
        }
        let polled = over!(&mut *self, poll_read(cx, buf));
        if let (Self::Tls(link), Poll::Ready(Err(error))) = (&*self, &polled) {
            link.vouched.note_broken(error);
        }
        polled
    }
}

impl AsyncWrite for Link {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = over!(&mut *self, poll_write(cx, bytes));
        self.note_failed(cx, &written);
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = over!(&mut *self, poll_flush(cx));
        self.note_failed(cx, &flushed);
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        over!(&mut *self, poll_shutdown(cx))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = over!(&mut *self, poll_write_vectored(cx, slices));
        self.note_failed(cx, &written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}

/// What comes before an alert: tickets.
const MAX_LAST_READS: usize = 16;
