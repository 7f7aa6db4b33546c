//! The only client of mTLS: one path from an address to a verified server or a refusal.
//!
//! The server is judged by the verifier of [`countersign_pki::chain`], by our clock, our revocations and the name that it
//! was asked for: no other root, the system's included, can vouch for it. Nothing is resumed: what these connections are
//! for lives for hours, and a session kept would outlive a change of what we trust.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use countersign_diagnose::chain;
use countersign_diagnose::connecting::{self, ConnectFault};
/// What [`Connector::connect`] and [`Connector::refusal_behind`] answer with.
pub use countersign_diagnose::refusal::Refusal;
use countersign_pki::chain::{ChainFault, ExpectedName, Purpose, Question, Verifier};
use countersign_pki::identity::VerifiedPeer;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::credentials::SharedCredentials;
use crate::enforcement::Enforcement;
use crate::fault::certificate_error;
use crate::live::Lifeline;
use crate::preamble;
use crate::provider::provider;
use crate::socket::Socket;

/// Connects to one server, as often as it is asked to.
pub struct Connector {
    settings: ConnectorSettings,
    credentials: Option<SharedCredentials>,
    enforcement: Enforcement,
    name: ServerName<'static>,
    expected: Vec<ExpectedName>,
    /// Stands for its connections where those of a listener would have its name.
    label: Arc<str>,
    asks_first: bool,
}

/// Whom to connect to.
#[derive(Clone, Debug)]
pub struct ConnectorSettings {
    /// A DNS name or an IP address: what is looked up, and asked for by server name indication.
    pub host: String,
    /// The port.
    pub port: u16,
    /// What the server's certificate must hold, all of it. Empty: the host.
    pub names: Vec<ExpectedName>,
    /// Whether TLS 1.2 will do. Ports of Countersign speak 1.3.
    pub versions: Versions,
    /// How long after the feed was last confirmed servers are still accepted (invariant 5); `None`: for ever.
    pub feed_life: Option<Duration>,
    /// Against whose anchors the server is judged.
    pub verifier: Arc<Verifier>,
    /// Application protocols in the order of preference.
    pub alpn: Vec<Vec<u8>>,
    /// From the look-up of the name to the finished handshake.
    pub connect_timeout: Duration,
}

/// Which versions of TLS are offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Versions {
    /// TLS 1.3.
    Tls13,
    /// TLS 1.3 and 1.2.
    Tls12AndTls13,
}

/// A server that was verified.
pub struct Connected {
    /// Decrypted bytes.
    pub stream: ServerStream,
    /// Who answered.
    pub server: Arc<VerifiedPeer>,
    /// Cut when the server's certificate is revoked or ends.
    pub lifeline: Lifeline,
    /// The application protocol that was agreed on.
    pub alpn: Option<Vec<u8>>,
}

impl fmt::Debug for Connected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connected({})", self.server.principal())
    }
}

/// A TLS stream to a server.
#[derive(Debug)]
pub struct ServerStream(Box<TlsStream<Socket>>);

impl ServerStream {
    /// The socket beneath.
    pub fn socket(&self) -> &TcpStream {
        self.0.get_ref().0
    }
}

impl AsyncRead for ServerStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for ServerStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }
}

impl Connector {
    /// Refuses a host that no certificate could name. `enforcement` knows what is revoked, and the time.
    pub fn new(
        mut settings: ConnectorSettings,
        credentials: Option<SharedCredentials>,
        enforcement: Enforcement,
    ) -> Result<Self, InvalidHost> {
        let invalid = || InvalidHost {
            host: settings.host.chars().take(MAX_QUOTED_CHARS).collect(),
        };
        let name = ServerName::try_from(settings.host.clone()).map_err(|_| invalid())?;
        let mut expected = std::mem::take(&mut settings.names);
        if expected.is_empty() {
            let host = ExpectedName::parse(&settings.host, Purpose::ServerAuth);
            expected.push(host.map_err(|_| invalid())?);
        }
        let life = settings.feed_life.map_or(u64::MAX, |life| life.as_secs());
        // With a blank, which no listener's name has.
        let label = format!("upstream {}:{} {life}", settings.host, settings.port).into();
        enforcement.set_life(&label, settings.feed_life);
        Ok(Self {
            settings,
            credentials,
            enforcement,
            name,
            expected,
            label,
            asks_first: false,
        })
    }

    /// Whether a host can be asked for by server name indication: [`Connector::new`] fails for no other reason where names are given.
    pub fn can_ask_for(host: &str) -> bool {
        ServerName::try_from(host).is_ok()
    }

    /// For a server of PostgreSQL, which wants to be asked for TLS before it begins.
    #[must_use]
    pub fn asking_first(mut self) -> Self {
        self.asks_first = true;
        self
    }

    /// `host:port`.
    pub fn target(&self) -> String {
        match &self.name {
            ServerName::IpAddress(rustls_pki_types::IpAddr::V6(_)) => {
                format!("[{}]:{}", self.settings.host, self.settings.port)
            }
            _ => format!("{}:{}", self.settings.host, self.settings.port),
        }
    }

    /// Takes the handshake to its end. That the server has accepted us is known only from what it answers: see
    /// [`Connector::refusal_behind`].
    pub async fn connect(&self) -> Result<Connected, Box<Refusal>> {
        self.connect_behind(&[]).await
    }

    /// [`Connector::connect`], with a header before TLS that tells the server whose connection it is.
    pub async fn connect_behind(&self, header: &[u8]) -> Result<Connected, Box<Refusal>> {
        if let Some(age) = self.enforcement.stale(self.settings.feed_life) {
            let life = self.settings.feed_life.unwrap_or_default();
            return Err(self.refused(&ConnectFault::TrustDataStale { age, life }));
        }
        let limit = self.settings.connect_timeout;
        match timeout(limit, self.shake_hands(header)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(self.refused(&ConnectFault::TimedOut { limit })),
        }
    }

    /// The server's refusal of our certificate, where that is why reading or writing failed: in TLS 1.3 it arrives when
    /// our half of the handshake is done.
    pub fn refusal_behind(&self, error: &(dyn StdError + 'static)) -> Option<Box<Refusal>> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(Error::AlertReceived(alert)) = error.downcast_ref::<Error>() {
                let code = (*alert).into();
                return Some(self.refused(&ConnectFault::Alert { code }));
            }
            // io::Error does not show what it wraps as its source.
            let wrapped = error
                .downcast_ref::<io::Error>()
                .and_then(|error| error.get_ref());
            next = match wrapped {
                Some(wrapped) => Some(wrapped as &(dyn StdError + 'static)),
                None => error.source(),
            };
        }
        None
    }

    async fn shake_hands(&self, header: &[u8]) -> Result<Connected, Box<Refusal>> {
        let mut addresses =
            tokio::net::lookup_host((self.settings.host.as_str(), self.settings.port))
                .await
                .map_err(|error| {
                    self.refused(&ConnectFault::NameNotResolved {
                        why: error.to_string(),
                    })
                })?
                .take(MAX_ADDRESSES);
        let mut last = None;
        let mut socket = loop {
            let Some(address) = addresses.next() else {
                return Err(self.refused(&last.unwrap_or(ConnectFault::NameNotResolved {
                    why: "it has none".to_owned(),
                })));
            };
            match TcpStream::connect(address).await {
                Ok(socket) => break socket,
                Err(error) => last = Some(of_connect(&error)),
            }
        };
        // Without it an acknowledgement waits for the server's delayed ACK. Not worth a failure.
        let _ = socket.set_nodelay(true);
        if socket.write_all(header).await.is_err() {
            return Err(self.refused(&ConnectFault::Closed));
        }
        if self.asks_first {
            let answer = preamble::request(&mut socket).await;
            match answer {
                Ok(b'S') => {}
                Ok(_) => return Err(self.refused(&ConnectFault::NotTls)),
                Err(_) => return Err(self.refused(&ConnectFault::Closed)),
            }
        }
        let judge = Arc::new(Judge {
            verifier: Arc::clone(&self.settings.verifier),
            expected: self.expected.clone(),
            enforcement: self.enforcement.clone(),
            found: Mutex::default(),
        });
        let shaken = TlsConnector::from(self.config(&judge))
            .connect(self.name.clone(), Socket::new(socket))
            .await;
        let found = std::mem::take(&mut *judge.found());
        match (shaken, found) {
            (Ok(stream), Found::Server(server)) => self.admit(stream, server),
            (_, Found::Fault(fault)) => {
                let mut refusal = chain::refusal(&fault, Purpose::ServerAuth);
                refusal.evidence.push("target", self.target());
                Err(Box::new(refusal))
            }
            (_, Found::NoKey) => Err(self.refused(&ConnectFault::PossessionUnproved)),
            (Err(error), _) => Err(self.refused(&of_handshake(&error))),
            // rustls asks for a verdict in each full handshake, and there is no other; without one nobody is trusted.
            (Ok(_), Found::Nothing) => Err(self.refused(&ConnectFault::Malformed {
                why: "it showed no certificate".to_owned(),
            })),
        }
    }

    /// The last look: what was revoked while the handshake ran counts, too.
    fn admit(
        &self,
        stream: TlsStream<Socket>,
        server: Box<VerifiedPeer>,
    ) -> Result<Connected, Box<Refusal>> {
        let server: Arc<VerifiedPeer> = Arc::from(server);
        let Some(lifeline) = self.still_trusts(&server) else {
            return Err(self.refused(&ConnectFault::RevokedMeanwhile));
        };
        let alpn = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
        Ok(Connected {
            stream: ServerStream(Box::new(stream)),
            server,
            lifeline,
            alpn,
        })
    }

    /// What cuts a connection to this server from now on; `None`: it is revoked, or its certificate has ended. A connection that
    /// rests need not hold one, and is asked about when it is taken up again.
    pub fn still_trusts(&self, server: &Arc<VerifiedPeer>) -> Option<Lifeline> {
        let label = Arc::clone(&self.label);
        let lifeline = self.enforcement.register_server(label, Arc::clone(server));
        let is_trusted = !self.enforcement.is_revoked(server)
            && self.enforcement.now() <= server.not_after()
            && self.enforcement.stale(self.settings.feed_life).is_none();
        is_trusted.then_some(lifeline)
    }

    fn config(&self, judge: &Arc<Judge>) -> Arc<ClientConfig> {
        let config = ClientConfig::builder_with_provider(Arc::clone(provider()))
            .with_protocol_versions(match self.settings.versions {
                Versions::Tls13 => &rustls::ALL_VERSIONS[..1],
                Versions::Tls12AndTls13 => rustls::ALL_VERSIONS,
            })
            .expect("the provider has suites for both versions")
            .dangerous()
            .with_custom_certificate_verifier(Arc::<Judge>::clone(judge));
        let mut config = match &self.credentials {
            Some(credentials) => config.with_client_cert_resolver(Arc::new(credentials.clone())),
            None => config.with_no_client_auth(),
        };
        config.resumption = Resumption::disabled();
        config.enable_early_data = false;
        config.alpn_protocols.clone_from(&self.settings.alpn);
        Arc::new(config)
    }

    #[expect(
        clippy::unnecessary_box_returns,
        reason = "an error that is passed on as it is"
    )]
    fn refused(&self, fault: &ConnectFault) -> Box<Refusal> {
        Box::new(connecting::refusal(fault, &self.target()))
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connector({})", self.target())
    }
}

/// The host is neither a DNS name nor an IP address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{host:?} is neither a DNS name nor an IP address")]
pub struct InvalidHost {
    host: String,
}

/// Decides on the server's certificate and remembers what it found; one per handshake.
struct Judge {
    verifier: Arc<Verifier>,
    expected: Vec<ExpectedName>,
    enforcement: Enforcement,
    // Written and read by the one task that drives the handshake; rustls wants `&self` and `Sync`.
    found: Mutex<Found>,
}

#[derive(Default)]
enum Found {
    Fault(Box<ChainFault>),
    NoKey,
    #[default]
    Nothing,
    Server(Box<VerifiedPeer>),
}

impl Judge {
    fn found(&self) -> MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn possession(
        &self,
        proof: Result<HandshakeSignatureValid, Error>,
    ) -> Result<HandshakeSignatureValid, Error> {
        if proof.is_err() {
            *self.found() = Found::NoKey;
        }
        proof
    }
}

impl fmt::Debug for Judge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Judge")
    }
}

impl ServerCertVerifier for Judge {
    /// By our clock, and by the name that we asked for as our verifier reads it.
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let chain: Vec<_> = std::iter::once(end_entity)
            .chain(intermediates)
            .map(|certificate| CertificateDer::from_slice(certificate))
            .collect();
        let question = Question {
            purpose: Purpose::ServerAuth,
            revocations: &self.enforcement.revocations(),
            lists: &[],
            names: &self.expected,
            now: self.enforcement.now(),
        };
        match self.verifier.answer(&chain, &question) {
            Ok(server) => {
                *self.found() = Found::Server(Box::new(server));
                Ok(ServerCertVerified::assertion())
            }
            Err(fault) => {
                let error = certificate_error(&fault.kind);
                *self.found() = Found::Fault(Box::new(fault));
                Err(error.into())
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &provider().signature_verification_algorithms;
        self.possession(verify_tls12_signature(
            message,
            certificate,
            signature,
            algorithms,
        ))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &provider().signature_verification_algorithms;
        self.possession(verify_tls13_signature(
            message,
            certificate,
            signature,
            algorithms,
        ))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}

fn of_connect(error: &io::Error) -> ConnectFault {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => ConnectFault::ConnectionRefused,
        _ => ConnectFault::Unreachable {
            why: error.to_string(),
        },
    }
}

fn of_handshake(error: &io::Error) -> ConnectFault {
    let tls = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<Error>());
    match tls {
        Some(Error::AlertReceived(alert)) => ConnectFault::Alert {
            code: (*alert).into(),
        },
        Some(Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType)) => {
            ConnectFault::NotTls
        }
        Some(other) => ConnectFault::Malformed {
            why: other.to_string(),
        },
        None => ConnectFault::Closed,
    }
}

/// Each is tried within the one limit of time; a name with more is no server's of ours.
const MAX_ADDRESSES: usize = 8;
const MAX_QUOTED_CHARS: usize = 80;
