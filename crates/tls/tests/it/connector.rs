//! Connections that we make as a client: which servers are trusted, and what is said of those that are not.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use countersign_diagnose::cause::Cause;
use countersign_diagnose::refusal::Refusal;
use countersign_pki::certificate::Certificate;
use countersign_pki::feed::{RevocationReason, Revoked};
use countersign_pki::time::UnixTime;
use countersign_testkit::pki::{Leaf, TestCa, TestIdentity};
use countersign_tls::connector::{Connected, Connector, ConnectorSettings, Versions};
use countersign_tls::credentials::{Credentials, SharedCredentials};
use rcgen::ExtendedKeyUsagePurpose;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::server::ResolvesServerCertUsingSni;
use rustls::sign::CertifiedKey;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::site::{Site, name_of, now, trusting};

fn shared(identity: &TestIdentity) -> SharedCredentials {
    let credentials =
        Credentials::from_pem(identity.chain_pem().as_bytes(), identity.key_pem.as_bytes());
    SharedCredentials::new(credentials.expect("good credentials"))
}

/// As `you`, to `host` on the address's port, trusting the site's CA.
fn connector(site: &Site, host: &str, address: SocketAddr) -> Connector {
    let settings = ConnectorSettings {
        host: host.to_owned(),
        port: address.port(),
        names: Vec::new(),
        versions: Versions::Tls13,
        feed_life: None,
        verifier: Arc::new(trusting(&site.ca)),
        alpn: vec![b"http/1.1".to_vec()],
        connect_timeout: Duration::from_secs(10),
    };
    let credentials = shared(&site.client("you"));
    Connector::new(settings, Some(credentials), site.enforcement.clone()).expect("a host")
}

/// A server that asks for nothing and shows this identity, to whatever name.
async fn serve(identity: &TestIdentity, change: impl FnOnce(&mut ServerConfig)) -> SocketAddr {
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("suites")
        .with_no_client_auth()
        .with_single_cert(identity.chain.clone(), identity.key.clone_key())
        .expect("good credentials");
    change(&mut config);
    let acceptor = TlsAcceptor::from(Arc::new(config));
    answer(|socket| async move { drop(acceptor.accept(socket).await) }).await
}

/// What happens to the first connection.
async fn answer<F>(serve: impl FnOnce(TcpStream) -> F + Send + 'static) -> SocketAddr
where
    F: Future<Output = ()> + Send,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        let (socket, _) = listener.accept().await.expect("a connection");
        serve(socket).await;
    });
    address
}

async fn check(site: &Site, host: &str, address: SocketAddr, expected: Cause) -> Refusal {
    let outcome: Result<Connected, _> = connector(site, host, address).connect().await;
    let refusal = *outcome
        .map(|connected| connected.server)
        .expect_err("refused");
    assert_eq!(refusal.cause, expected, "{}", refusal.sentence());
    refusal
}

#[tokio::test]
async fn both_sides_know_each_other() {
    let site = Site::new();
    let (address, accepting) = site.open().await;
    let mut connected = connector(&site, "localhost", address)
        .connect()
        .await
        .expect("good server");
    let mut admitted = accepting.await.expect("no panic").expect("good client");
    assert_eq!(
        name_of(admitted.session.peer.as_deref()),
        Some("cn:you (internal)".to_owned())
    );
    assert_eq!(
        connected.server.principal().to_string(),
        "dns:localhost (internal)"
    );
    assert_eq!(admitted.session.protocol, "TLSv1.3");
    connected.stream.write_all(b"ping").await.expect("open");
    connected.stream.flush().await.expect("open");
    let mut read = [0; 4];
    admitted.stream.read_exact(&mut read).await.expect("open");
    assert_eq!(&read, b"ping");
}

#[tokio::test]
async fn no_connection_resumes_another() {
    let site = Site::new();
    let (address, accepting) = site.open().await;
    let connector = connector(&site, "localhost", address);
    let mut first = connector.connect().await.expect("good server");
    let mut admitted = accepting.await.expect("no panic").expect("good client");
    admitted.stream.write_all(b"x").await.expect("open");
    admitted.stream.flush().await.expect("open");
    // The tickets came before it.
    first.stream.read_exact(&mut [0]).await.expect("open");
    let (second, accepting) = site.open().await;
    assert_ne!(second, address);
    let again = super::connector::connector(&site, "localhost", second);
    again.connect().await.expect("good server");
    assert!(
        !accepting
            .await
            .expect("no panic")
            .expect("good client")
            .session
            .resumed
    );
}

#[tokio::test]
async fn server_of_another_ca_or_of_none_is_refused() {
    let site = Site::new();
    let stranger = TestCa::new("stranger").issue(Leaf::server(&["localhost"]));
    let address = serve(&stranger, |_| {}).await;
    check(&site, "localhost", address, Cause::ServerCaNotTrusted).await;
    let copy = TestCa::new("internal").issue(Leaf::server(&["localhost"]));
    let address = serve(&copy, |_| {}).await;
    check(&site, "localhost", address, Cause::SameNameDifferentKeyCa).await;
}

#[tokio::test]
async fn server_of_another_name_is_refused() {
    let site = Site::new();
    let other = site.ca.issue(Leaf::server(&["other.example"]));
    let address = serve(&other, |_| {}).await;
    check(&site, "localhost", address, Cause::NameMismatch).await;
    // Its address stands in the certificate: then that is its name.
    let address = serve(&other, |_| {}).await;
    connector(&site, "127.0.0.1", address)
        .connect()
        .await
        .expect("named by its address");
    let nameless = site
        .ca
        .issue(Leaf::client("localhost").usages(&[ExtendedKeyUsagePurpose::ServerAuth]));
    let address = serve(&nameless, |_| {}).await;
    check(&site, "localhost", address, Cause::SanMissing).await;
}

#[tokio::test]
async fn clients_certificate_serves_nobody() {
    let site = Site::new();
    let client = site.ca.issue(Leaf::client("localhost").dns("localhost"));
    let address = serve(&client, |_| {}).await;
    check(&site, "localhost", address, Cause::EkuMissingServerauth).await;
}

#[tokio::test]
async fn server_past_its_end_or_revoked_is_refused() {
    let site = Site::new();
    let old = site
        .ca
        .issue(Leaf::server(&["localhost"]).valid(-3600, -60));
    let address = serve(&old, |_| {}).await;
    check(&site, "localhost", address, Cause::LeafExpired).await;

    let revoked = site.ca.issue(Leaf::server(&["localhost"]));
    let leaf = Certificate::parse(&revoked.chain[0]).expect("a certificate");
    let issuer = Certificate::parse(site.ca.intermediate.der()).expect("a certificate");
    let told = Revoked {
        issuer_key: issuer.spki(),
        serial: leaf.serial(),
        reason: RevocationReason::KeyCompromise,
        revoked_at: UnixTime::from_seconds(now()),
    };
    site.enforcement.revoke(vec![told]).await;
    let address = serve(&revoked, |_| {}).await;
    check(&site, "localhost", address, Cause::CertificateRevoked).await;
}

#[tokio::test]
async fn certificate_without_its_key_is_refused() {
    let site = Site::new();
    let stolen = site.ca.issue(Leaf::server(&["localhost"]));
    let other = stolen.chain.clone();
    let keyed = stolen.with_other_key();
    let key = default_provider()
        .key_provider
        .load_private_key(keyed.key.clone_key())
        .expect("a key");
    let mut resolver = ResolvesServerCertUsingSni::new();
    resolver
        .add("localhost", CertifiedKey::new(other, key))
        .expect("the name is in it");
    let address = serve(&site.ca.issue(Leaf::server(&["localhost"])), |config| {
        config.cert_resolver = Arc::new(resolver);
    })
    .await;
    check(&site, "localhost", address, Cause::BadSignature).await;
}

#[tokio::test]
async fn servers_refusal_of_our_certificate_is_told_with_its_cause() {
    let site = Site::new();
    let (address, accepting) = site.open().await;
    let connector = connector(&site, "localhost", address);
    // Not known here: only the server's no tells.
    let stranger = TestCa::new("stranger").issue(Leaf::client("you"));
    let stranger = Connector::new(
        ConnectorSettings {
            host: "localhost".to_owned(),
            port: address.port(),
            names: Vec::new(),
            versions: Versions::Tls13,
            feed_life: None,
            verifier: Arc::new(trusting(&site.ca)),
            alpn: vec![b"http/1.1".to_vec()],
            connect_timeout: Duration::from_secs(10),
        },
        Some(shared(&stranger)),
        site.enforcement.clone(),
    )
    .expect("a host");
    let refusal = match stranger.connect().await {
        Ok(mut connected) => {
            let error = connected.stream.read(&mut [0]).await.expect_err("refused");
            connector.refusal_behind(&error).expect("an alert")
        }
        Err(refusal) => refusal,
    };
    assert!(accepting.await.expect("no panic").is_err());
    assert_eq!(
        refusal.cause,
        Cause::ClientCaNotTrusted,
        "{}",
        refusal.sentence()
    );
}

#[tokio::test]
async fn what_does_not_speak_tls_is_named() {
    let site = Site::new();
    let address = answer(|mut socket| async move {
        let _ = socket.read(&mut [0; 1024]).await;
        let _ = socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    })
    .await;
    check(&site, "localhost", address, Cause::PeerNotTls).await;
    let address = answer(|socket| async move { drop(socket) }).await;
    check(&site, "localhost", address, Cause::ResetBeforeServerHello).await;
    let gone = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let address = gone.local_addr().expect("bound");
    drop(gone);
    let refusal = check(&site, "127.0.0.1", address, Cause::ConnectionRefused).await;
    assert!(refusal.sentence().contains(&address.to_string()));
}

#[tokio::test]
async fn older_version_is_not_spoken() {
    let site = Site::new();
    let identity = site.ca.issue(Leaf::server(&["localhost"]));
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS12])
        .expect("suites")
        .with_no_client_auth()
        .with_single_cert(identity.chain.clone(), identity.key.clone_key())
        .expect("good credentials");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let address = answer(|socket| async move { drop(acceptor.accept(socket).await) }).await;
    check(&site, "localhost", address, Cause::TlsVersionMismatch).await;
}

#[tokio::test(start_paused = true)]
async fn silent_server_is_given_up() {
    let site = Site::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let address = listener.local_addr().expect("bound");
    check(&site, "127.0.0.1", address, Cause::NoTlsAnswer).await;
    drop(listener);
}

#[test]
fn host_that_no_certificate_can_name_is_refused() {
    let site = Site::new();
    for host in ["", "*.example.com", "a b", "ca.example:9443"] {
        let settings = ConnectorSettings {
            host: host.to_owned(),
            port: 1,
            names: Vec::new(),
            versions: Versions::Tls13,
            feed_life: None,
            verifier: Arc::new(trusting(&site.ca)),
            alpn: Vec::new(),
            connect_timeout: Duration::from_secs(1),
        };
        let outcome = Connector::new(
            settings,
            Some(shared(&site.client("you"))),
            site.enforcement.clone(),
        );
        assert!(outcome.is_err(), "{host:?}");
    }
}

#[tokio::test]
async fn server_is_trusted_no_longer_than_the_feed_lives() {
    let site = Site::new();
    let life = Duration::from_hours(1);
    site.enforcement.confirm(UnixTime::from_seconds(now()));
    let address = serve(&site.ca.issue(Leaf::server(&["localhost"])), |_| ()).await;
    let settings = ConnectorSettings {
        host: "localhost".to_owned(),
        port: address.port(),
        names: Vec::new(),
        versions: Versions::Tls12AndTls13,
        feed_life: Some(life),
        verifier: Arc::new(trusting(&site.ca)),
        alpn: Vec::new(),
        connect_timeout: Duration::from_secs(10),
    };
    let connector = Connector::new(settings, None, site.enforcement.clone()).expect("a host");
    let connected = connector.connect().await.expect("trusted");
    site.clock
        .advance(life.saturating_sub(Duration::from_secs(1)));
    assert_eq!(site.enforcement.end_stale(), 0);
    assert!(connector.still_trusts(&connected.server).is_some());
    site.clock.advance(Duration::from_secs(1));
    assert_eq!(site.enforcement.end_stale(), 1);
    assert!(connected.lifeline.is_cut());
    assert!(connector.still_trusts(&connected.server).is_none());
    let refusal = connector
        .connect()
        .await
        .expect_err("what is known is too old");
    assert_eq!(refusal.cause, Cause::TrustDataStale);
}
