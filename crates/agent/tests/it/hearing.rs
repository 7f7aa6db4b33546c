//! Streams that are slow, endless, garbled or refused.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use countersign_agent::feed_client::{FeedClient, FeedError};
use countersign_pki::bundle::TrustBundle;
use countersign_pki::certificate::Certificate;
use countersign_pki::chain::{Limits, Verifier};
use countersign_pki::feed::{AcknowledgementOf, HistoryId, MAX_EVENT_BYTES, Sequence, Told};
use countersign_pki::identity::BundleName;
use countersign_pki::revocation::RevocationIndex;
use countersign_pki::time::UnixTime;
use countersign_runtime::clock::SystemClock;
use countersign_testkit::pki::{Leaf, TestCa};
use countersign_tls::connector::{Connector, ConnectorSettings, Versions};
use countersign_tls::credentials::{Credentials, SharedCredentials};
use countersign_tls::enforcement::Enforcement;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

type Peer = TlsStream<TcpStream>;

/// A client of an authority that answers one connection so.
async fn client_of<F>(answer: impl FnOnce(Peer) -> F + Send + 'static) -> FeedClient
where
    F: Future<Output = ()> + Send,
{
    let ca = TestCa::new("operators");
    let server = ca.issue(Leaf::server(&["localhost"]));
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("suites")
        .with_no_client_auth()
        .with_single_cert(server.chain.clone(), server.key.clone_key())
        .expect("good credentials");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let port = listener.local_addr().expect("bound").port();
    tokio::spawn(async move {
        let (socket, _) = listener.accept().await.expect("a connection");
        let mut peer = acceptor.accept(socket).await.expect("a handshake");
        let mut request = Vec::new();
        while !request.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
            if peer.read_buf(&mut request).await.expect("open") == 0 {
                return;
            }
        }
        answer(peer).await;
    });
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("later");
    let root = Certificate::parse(ca.root.der()).expect("a certificate");
    let bundle = TrustBundle::new(
        BundleName::internal(),
        None,
        vec![root],
        UnixTime::from_seconds(now.as_secs()),
    );
    let verifier = Verifier::new(vec![Arc::new(bundle.expect("a bundle"))], Limits::default());
    let you = ca.issue(Leaf::client("gw-1"));
    let credentials = Credentials::from_pem(you.chain_pem().as_bytes(), you.key_pem.as_bytes());
    let connector = Connector::new(
        ConnectorSettings {
            host: "localhost".to_owned(),
            port,
            names: Vec::new(),
            versions: Versions::Tls13,
            feed_life: None,
            verifier: Arc::new(verifier.expect("a verifier")),
            alpn: vec![b"http/1.1".to_vec()],
            connect_timeout: Duration::from_secs(10),
        },
        Some(SharedCredentials::new(
            credentials.expect("good credentials"),
        )),
        Enforcement::new(RevocationIndex::default(), Arc::new(SystemClock)),
    );
    FeedClient::new(connector.expect("a host"))
}

/// What the client makes of these bytes, after which the connection ends.
async fn heard(bytes: impl Into<Vec<u8>>) -> Result<Vec<Told>, FeedError> {
    let bytes = bytes.into();
    let client = client_of(|mut peer| async move {
        // A client that has given up reads no more.
        let _ = peer.write_all(&bytes).await;
        let _ = peer.shutdown().await;
        let _ = peer.read_to_end(&mut Vec::new()).await;
    })
    .await;
    let mut stream = client.hear(None).await?;
    let mut told = Vec::new();
    loop {
        match stream.next(|_| true).await {
            Ok(next) => told.push(next),
            Err(FeedError::Ended) => return Ok(told),
            Err(error) => return Err(error),
        }
    }
}

fn events(frames: &[&str]) -> String {
    let events: Vec<String> = frames
        .iter()
        .map(|frame| format!("data: {frame}\n\n"))
        .collect();
    format!("{HEAD}{}", events.concat())
}

const HEAD: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n";
const RESUMED: &str = r#"{"resumed":{"place":1,"history":"a","sequence":5,"at":1,"bundles":[]}}"#;
const SNAPSHOT: &str = r#"{"snapshot":{"place":1,"history":"a","sequence":5,"at":1,"bundles":[]}}"#;

#[tokio::test]
async fn what_is_told_well_is_heard() {
    let confirmed =
        r#"{"message":{"history":"a","sequence":5,"at":2,"body":{"type":"confirmed"}}}"#;
    let told = heard(events(&[RESUMED, confirmed])).await.expect("good");
    assert!(matches!(told[..], [Told::Resumed(_), Told::Message(_)]));
    let told = heard(events(&[SNAPSHOT, r#"{"complete":{"revoked":0}}"#])).await;
    assert!(matches!(told.expect("good")[..], [Told::Snapshot { .. }]));
    // Cut off before it is whole: nothing is told.
    let told = heard(events(&[SNAPSHOT])).await.expect("it just ends");
    assert!(told.is_empty());
}

#[tokio::test]
async fn what_this_version_does_not_know_is_an_error_that_asks_for_a_snapshot() {
    for unknown in [
        "no JSON",
        "{}",
        r#"{"surprise":{}}"#,
        r#"{"message":{"history":"a","sequence":6,"at":2,"body":{"type":"surprise"}}}"#,
        r#"{"message":{"history":"a","sequence":6,"at":2,"body":{"type":"confirmed"},"more":1}}"#,
    ] {
        let error = heard(events(&[RESUMED, unknown])).await.expect_err(unknown);
        assert!(matches!(error, FeedError::Malformed(_)), "{error}");
        assert!(error.needs_snapshot(), "{unknown}");
    }
    let error = heard(events(&[SNAPSHOT, RESUMED]))
        .await
        .expect_err("twice");
    assert!(matches!(error, FeedError::Garbled(_)), "{error}");
    let error = heard(events(&[SNAPSHOT, r#"{"complete":{"revoked":7}}"#])).await;
    assert!(matches!(error, Err(FeedError::Garbled(_))));
}

#[tokio::test]
async fn endless_line_is_given_up() {
    let mut bytes = HEAD.as_bytes().to_vec();
    bytes.extend(b"data: ");
    bytes.resize(bytes.len() + 2 * MAX_EVENT_BYTES, b'x');
    let error = heard(bytes).await.expect_err("endless");
    assert!(matches!(error, FeedError::TooLong(_)), "{error}");
}

#[tokio::test]
async fn endless_head_is_given_up() {
    let mut bytes = b"HTTP/1.1 200 OK\r\nX: ".to_vec();
    bytes.resize(1024 * 1024, b'x');
    let error = heard(bytes).await.expect_err("endless");
    assert!(matches!(error, FeedError::Broken(_)), "{error}");
}

#[tokio::test]
async fn refusal_is_told_in_the_authoritys_words_and_an_endless_one_is_cut() {
    let refused = |body: String| {
        format!(
            "HTTP/1.1 403 Forbidden\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let problem = r#"{"type":"about:blank","status":403,"detail":"no node","hint":"be one"}"#;
    let error = heard(refused(problem.to_owned()))
        .await
        .expect_err("refused");
    assert!(
        matches!(&error, FeedError::Refused { status: 403, detail, .. } if detail == "no node"),
        "{error}"
    );
    assert_eq!(error.hint().as_deref(), Some("be one"));
    let error = heard(refused("x".repeat(10 << 20)))
        .await
        .expect_err("refused");
    assert!(
        matches!(&error, FeedError::Refused { status: 403, .. }),
        "{error}"
    );
}

#[tokio::test]
async fn silence_and_a_trickle_of_nothing_are_given_up() {
    let silent = client_of(|mut peer| async move {
        peer.write_all(events(&[RESUMED]).as_bytes())
            .await
            .expect("open");
        peer.flush().await.expect("open");
        let _ = peer.read_to_end(&mut Vec::new()).await;
    })
    .await;
    let mut stream = silent.hear(None).await.expect("it begins");
    stream.next(|_| true).await.expect("the beginning");
    tokio::time::pause();
    let error = stream.next(|_| true).await.expect_err("silence");
    tokio::time::resume();
    assert!(matches!(error, FeedError::Silent { .. }), "{error}");

    let trickle = client_of(|mut peer| async move {
        peer.write_all(events(&[RESUMED]).as_bytes())
            .await
            .expect("open");
        while peer.write_all(b":\n\n").await.is_ok() && peer.flush().await.is_ok() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    })
    .await;
    let mut stream = trickle.hear(None).await.expect("it begins");
    stream.next(|_| true).await.expect("the beginning");
    tokio::time::pause();
    let error = stream.next(|_| true).await.expect_err("nothing is told");
    assert!(matches!(error, FeedError::Silent { .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn call_without_an_answer_is_given_up() {
    let client = client_of(|mut peer| async move {
        let _ = peer.read_to_end(&mut Vec::new()).await;
    })
    .await;
    let said = AcknowledgementOf {
        place: 1,
        history: HistoryId("a".to_owned()),
        sequence: Sequence(1),
        sessions_declined: 0,
        connections_cut: 0,
    };
    let error = client.acknowledge(&said).await.expect_err("no answer");
    assert!(matches!(error, FeedError::Silent { .. }), "{error}");
}
