//! A TLS client that shares no code with the product's acceptor, with hands on everything it sends.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::bypass::Protocol;
use crate::pki::TestIdentity;

/// A client with its settings; sessions are kept over its life.
#[derive(Clone)]
pub struct Client {
    config: Arc<ClientConfig>,
    sni: ServerName<'static>,
    http2: bool,
}

/// What became of an attempt, as the client sees it.
#[derive(Debug)]
pub enum Outcome {
    /// The server sent this fatal alert.
    Alert(u8),
    /// An HTTP answer.
    Response {
        /// Its status.
        status: StatusCode,
        /// Its headers.
        headers: HeaderMap,
        /// Its body.
        body: Bytes,
    },
    /// The connection ended or failed otherwise.
    Closed(String),
}

impl Client {
    /// Trusts `root`, presents `identity`, speaks `protocol`, connects as `sni`.
    pub fn new(
        root: &CertificateDer<'static>,
        identity: Option<&TestIdentity>,
        protocol: Protocol,
        sni: &str,
    ) -> Self {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let versions: &[&SupportedProtocolVersion] = match protocol {
            Protocol::Http1Tls12 | Protocol::BytesTls12 => &[&rustls::version::TLS12],
            Protocol::Http1Tls13 | Protocol::Http2Tls13 | Protocol::BytesTls13 => {
                &[&rustls::version::TLS13]
            }
        };
        let mut roots = RootCertStore::empty();
        roots.add(root.clone()).expect("the root is a certificate");
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(versions)
            .expect("the provider has suites for every version")
            .with_root_certificates(roots);
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let key = provider
                    .key_provider
                    .load_private_key(identity.key.clone_key())
                    .expect("a key of the testkit");
                // Past with_client_auth_cert, which would refuse a key that is not the certificate's.
                let certified = CertifiedKey::new(identity.chain.clone(), key);
                builder.with_client_cert_resolver(Arc::new(Always(Arc::new(certified))))
            }
        };
        let http2 = protocol == Protocol::Http2Tls13;
        config.alpn_protocols = vec![if http2 {
            b"h2".to_vec()
        } else {
            b"http/1.1".to_vec()
        }];
        config.resumption = Resumption::in_memory_sessions(32);
        let sni = ServerName::try_from(sni.to_owned()).expect("a DNS name or an address");
        Self {
            config: Arc::new(config),
            sni,
            http2,
        }
    }

    /// The settings, for tests that carry the bytes themselves.
    pub fn config(&self) -> Arc<ClientConfig> {
        self.config.clone()
    }

    /// The same client without the sessions that it has kept.
    #[must_use]
    pub fn without_sessions(&self) -> Self {
        let mut config = ClientConfig::clone(&self.config);
        config.resumption = Resumption::in_memory_sessions(32);
        Self {
            config: Arc::new(config),
            ..self.clone()
        }
    }

    /// Connects and finishes the client's side of the handshake.
    pub async fn connect(&self, gateway: SocketAddr) -> io::Result<TlsStream<TcpStream>> {
        let socket = TcpStream::connect(gateway).await?;
        TlsConnector::from(self.config.clone())
            .connect(self.sni.clone(), socket)
            .await
    }

    /// One request on a connection of its own.
    pub async fn request(&self, gateway: SocketAddr, request: Request<Full<Bytes>>) -> Outcome {
        match self.connect(gateway).await {
            // On the heap: hyper's two protocols side by side are large.
            Ok(stream) => Box::pin(self.exchange(stream, request)).await,
            Err(error) => failed(&error),
        }
    }

    /// Bytes in TLS, and what comes back until the end.
    pub async fn raw(&self, gateway: SocketAddr, bytes: &[u8]) -> Outcome {
        let mut stream = match self.connect(gateway).await {
            Ok(stream) => stream,
            Err(error) => return failed(&error),
        };
        bounded(async {
            if let Err(error) = stream.write_all(bytes).await {
                return failed(&error);
            }
            let mut answer = Vec::new();
            match stream.read_to_end(&mut answer).await {
                Err(error) if answer.is_empty() => failed(&error),
                _ => parsed(&answer),
            }
        })
        .await
    }

    async fn exchange(
        &self,
        stream: TlsStream<TcpStream>,
        request: Request<Full<Bytes>>,
    ) -> Outcome {
        let alert = Arc::new(OnceLock::new());
        let io = TokioIo::new(Watched {
            stream,
            alert: alert.clone(),
        });
        let outcome = bounded(Box::pin(self.answer(io, request))).await;
        // HTTP/2 keeps only the text of what ended its connection, and an attempt that hangs keeps nothing.
        alert
            .get()
            .filter(|_| outcome.status().is_none())
            .map_or(outcome, |alert| Outcome::Alert(*alert))
    }

    async fn answer(&self, io: TokioIo<Watched>, request: Request<Full<Bytes>>) -> Outcome {
        let sent = if self.http2 {
            match hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await {
                Ok((mut sender, connection)) => {
                    let driver = tokio::spawn(connection);
                    let sent = sender.send_request(request).await;
                    settle(sent, sender, driver).await
                }
                Err(error) => Err(error),
            }
        } else {
            match hyper::client::conn::http1::handshake(io).await {
                Ok((mut sender, connection)) => {
                    let driver = tokio::spawn(connection);
                    let sent = sender.send_request(request).await;
                    settle(sent, sender, driver).await
                }
                Err(error) => Err(error),
            }
        };
        match sent {
            Ok(response) => {
                let (parts, body) = response.into_parts();
                match body.collect().await {
                    Ok(body) => Outcome::Response {
                        status: parts.status,
                        headers: parts.headers,
                        body: body.to_bytes(),
                    },
                    Err(error) => failed(&error),
                }
            }
            Err(error) => failed(&error),
        }
    }
}

impl Outcome {
    /// The status, if it was an answer.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Response { status, .. } => Some(status.as_u16()),
            Self::Alert(_) | Self::Closed(_) => None,
        }
    }

    /// The body as text, if it was an answer.
    pub fn text(&self) -> String {
        match self {
            Self::Response { body, .. } => String::from_utf8_lossy(body).into_owned(),
            Self::Alert(_) | Self::Closed(_) => String::new(),
        }
    }
}

/// The alert in an error, wherever hyper and tokio have wrapped it.
pub fn failed(error: &(dyn std::error::Error + 'static)) -> Outcome {
    let mut next = Some(error);
    while let Some(error) = next {
        let inner = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        let tls = error
            .downcast_ref::<rustls::Error>()
            .or_else(|| inner.and_then(|inner| inner.downcast_ref()));
        if let Some(rustls::Error::AlertReceived(alert)) = tls {
            return Outcome::Alert(u8::from(*alert));
        }
        next = error.source();
    }
    Outcome::Closed(error.to_string())
}

/// A refusal after a TLS 1.3 handshake shows in the connection's own end; the request only says "canceled". While there is a
/// sender, a connection on which one request alone has failed does not end.
async fn settle<T, S>(
    sent: Result<T, hyper::Error>,
    sender: S,
    driver: tokio::task::JoinHandle<Result<(), hyper::Error>>,
) -> Result<T, hyper::Error> {
    match sent {
        Ok(response) => Ok(response),
        Err(error) => {
            drop(sender);
            match driver.await {
                Ok(Err(cause)) => Err(cause),
                _ => Err(error),
            }
        }
    }
}

async fn bounded(attempt: impl Future<Output = Outcome>) -> Outcome {
    tokio::time::timeout(HANG, attempt)
        .await
        .unwrap_or_else(|_| Outcome::Closed(HUNG.to_owned()))
}

fn parsed(answer: &[u8]) -> Outcome {
    let text = String::from_utf8_lossy(answer);
    let status = text
        .strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.get(..3))
        .and_then(|code| code.parse().ok());
    let body = text
        .split_once("\r\n\r\n")
        .map(|(_, body)| body.to_owned())
        .unwrap_or_default();
    match status {
        Some(status) => Outcome::Response {
            status,
            headers: HeaderMap::new(),
            body: body.into(),
        },
        None => Outcome::Closed(format!("{} bytes that are no answer", answer.len())),
    }
}

/// A stream that remembers the alert that it was ended with.
struct Watched {
    stream: TlsStream<TcpStream>,
    alert: Arc<OnceLock<u8>>,
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if let Poll::Ready(Err(error)) = &read
            && let Outcome::Alert(alert) = failed(error)
        {
            let _ = self.alert.set(alert);
        }
        read
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[derive(Debug)]
struct Always(Arc<CertifiedKey>);

impl rustls::client::ResolvesClientCert for Always {
    fn resolve(&self, _: &[&[u8]], _: &[rustls::SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Only catches a hang.
const HANG: Duration = Duration::from_secs(30);
const HUNG: &str = "no answer in time";

#[cfg(test)]
mod tests {
    use rustls::ServerConfig;
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    use super::*;
    use crate::pki::{Leaf, TestCa};

    /// RFC 9113 §4.1: length, type, flags, stream.
    const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    const SETTINGS_ACK: [u8; 9] = [0, 0, 0, 4, 1, 0, 0, 0, 0];
    /// Of the first stream: `INTERNAL_ERROR`.
    const RST_STREAM: [u8; 13] = [0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 2];

    #[tokio::test]
    async fn request_that_fails_alone_is_told_at_once_though_its_connection_lives() {
        let ca = TestCa::new("internal");
        let server = ca.issue(Leaf::server(&["localhost"]));
        let mut config =
            ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
                .with_protocol_versions(&[&rustls::version::TLS13])
                .expect("suites")
                .with_no_client_auth()
                .with_single_cert(server.chain.clone(), server.key.clone_key())
                .expect("good credentials");
        config.alpn_protocols = vec![b"h2".to_vec()];
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let address = listener.local_addr().expect("bound");
        let serving = tokio::spawn(async move {
            let (socket, _) = listener.accept().await.expect("a connection");
            let acceptor = TlsAcceptor::from(Arc::new(config));
            let mut peer = acceptor.accept(socket).await.expect("a handshake");
            let mut read = Vec::new();
            // HEADERS (type 1) of the first stream.
            let headers = [1, 5, 0, 0, 0, 1];
            while !read.windows(6).any(|bytes| bytes == headers) {
                assert_ne!(peer.read_buf(&mut read).await.expect("open"), 0);
            }
            let answer = [&SETTINGS[..], &SETTINGS_ACK, &RST_STREAM].concat();
            peer.write_all(&answer).await.expect("open");
            // It is the client that ends the connection.
            let _ = peer.read_to_end(&mut Vec::new()).await;
        });
        let client = Client::new(ca.root.der(), None, Protocol::Http2Tls13, "localhost");
        let request = Request::get("https://localhost/").body(Full::default());
        let outcome = client.request(address, request.expect("a request")).await;
        assert!(
            matches!(&outcome, Outcome::Closed(why) if why != HUNG),
            "{outcome:?}"
        );
        serving.await.expect("it was ended");
    }
}
