//! Clients: rustls, driven through tokio or byte by byte.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;

use countersign_testkit::pki::TestIdentity;
use rustls::client::ResolvesClientCert;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::sign::CertifiedKey;
use rustls::{
    AlertDescription, ClientConfig, ClientConnection, HandshakeKind, RootCertStore,
    SignatureScheme, SupportedProtocolVersion,
};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::site::{Outcome, Site};

pub(crate) static TLS12: &SupportedProtocolVersion = &rustls::version::TLS12;
pub(crate) static TLS13: &SupportedProtocolVersion = &rustls::version::TLS13;
pub(crate) static BOTH: [&SupportedProtocolVersion; 2] = [TLS12, TLS13];

/// What both sides saw of a handshake.
pub(crate) struct Meeting {
    pub(crate) server: Outcome,
    pub(crate) client: Result<Met, rustls::Error>,
}

pub(crate) struct Met {
    pub(crate) stream: TlsStream<TcpStream>,
    pub(crate) kind: HandshakeKind,
}

impl Meeting {
    pub(crate) fn alert(&self) -> Option<AlertDescription> {
        match &self.client {
            Err(rustls::Error::AlertReceived(alert)) => Some(*alert),
            _ => None,
        }
    }
}

pub(crate) fn config(
    site: &Site,
    identity: Option<&TestIdentity>,
    version: &'static SupportedProtocolVersion,
) -> ClientConfig {
    config_with(default_provider(), site, identity, version)
}

pub(crate) fn config_with(
    provider: CryptoProvider,
    site: &Site,
    identity: Option<&TestIdentity>,
    version: &'static SupportedProtocolVersion,
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(site.ca.root.der().clone()).expect("a root");
    let builder = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[version])
        .expect("the provider has suites for it")
        .with_root_certificates(roots);
    match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            builder.with_client_cert_resolver(Arc::new(Presents(certified(identity))))
        }
    }
}

/// Takes both sides to the end: an accepted client has read two bytes, and with them the tickets that stood before.
pub(crate) async fn meet(site: &Site, config: &Arc<ClientConfig>) -> Meeting {
    meet_as(site, config, "localhost").await
}

pub(crate) async fn meet_as(site: &Site, config: &Arc<ClientConfig>, name: &str) -> Meeting {
    let (address, accepting) = site.open().await;
    let client = tokio::spawn(connect(address, Arc::clone(config), name.to_owned()));
    let mut server = accepting.await.expect("no panic");
    if let Ok(connection) = &mut server {
        connection
            .stream
            .write_all(b"ok")
            .await
            .expect("the client reads");
        connection.stream.flush().await.expect("the client reads");
    }
    Meeting {
        server,
        client: client.await.expect("no panic"),
    }
}

async fn connect(
    address: SocketAddr,
    config: Arc<ClientConfig>,
    name: String,
) -> Result<Met, rustls::Error> {
    let tcp = TcpStream::connect(address)
        .await
        .expect("the listener accepts");
    let name = ServerName::try_from(name).expect("a name");
    let mut stream = TlsConnector::from(config)
        .connect(name, tcp)
        .await
        .map_err(|error| reason(&error))?;
    // With TLS 1.3 the client is done before the server has judged its certificate: the first read tells.
    let mut ok = [0; 2];
    stream
        .read_exact(&mut ok)
        .await
        .map_err(|error| reason(&error))?;
    assert_eq!(&ok, b"ok");
    let kind = stream
        .get_ref()
        .1
        .handshake_kind()
        .expect("the handshake is done");
    Ok(Met { stream, kind })
}

fn reason(error: &std::io::Error) -> rustls::Error {
    match error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>())
    {
        Some(reason) => reason.clone(),
        None => rustls::Error::General(error.to_string()),
    }
}

/// A client that is driven by hand, on a thread of its own.
pub(crate) struct ByHand {
    pub(crate) tls: ClientConnection,
    pub(crate) tcp: std::net::TcpStream,
}

impl ByHand {
    pub(crate) fn new(address: SocketAddr, config: ClientConfig) -> Self {
        let name = ServerName::try_from("localhost").expect("a name");
        let tcp = std::net::TcpStream::connect(address).expect("the listener accepts");
        tcp.set_nodelay(true).expect("loopback");
        Self {
            tls: ClientConnection::new(Arc::new(config), name).expect("a good configuration"),
            tcp,
        }
    }

    /// What the client wants to send now.
    pub(crate) fn flight(&mut self) -> Vec<u8> {
        let mut flight = Vec::new();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut flight).expect("a Vec takes all");
        }
        flight
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.tcp.write_all(bytes).expect("the server reads");
    }

    /// Reads what the server sends until the client has something to say.
    pub(crate) fn listen(&mut self) {
        while !self.tls.wants_write() {
            let read = self
                .tls
                .read_tls(&mut self.tcp)
                .expect("the server answers");
            assert_ne!(read, 0, "the server has closed");
            self.tls
                .process_new_packets()
                .expect("the server keeps to the protocol");
        }
    }

    /// Finishes the handshake and reads the server's two bytes.
    pub(crate) fn finish(mut self) -> Result<(), rustls::Error> {
        let mut stream = rustls::Stream::new(&mut self.tls, &mut self.tcp);
        let mut ok = [0; 2];
        stream.read_exact(&mut ok).map_err(|error| reason(&error))
    }
}

/// Reads whatever the server sends until it closes.
pub(crate) fn read_to_end(mut tcp: &std::net::TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    tcp.read_to_end(&mut all)
        .expect("closed in order, without a reset");
    all
}

fn certified(identity: &TestIdentity) -> Arc<CertifiedKey> {
    let key = default_provider()
        .key_provider
        .load_private_key(identity.key.clone_key())
        .expect("a key");
    // Not checked to belong together, so that tests can present what is not theirs.
    Arc::new(CertifiedKey::new(identity.chain.clone(), key))
}

/// Presents its certificate whatever the server hints at.
#[derive(Debug)]
struct Presents(Arc<CertifiedKey>);

impl ResolvesClientCert for Presents {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}
