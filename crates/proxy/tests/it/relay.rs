//! A listener of bytes: what it passes, whom it refuses, what ends it.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixListener;
use std::time::Duration;

use countersign_diagnose::cause::Cause;
use countersign_testkit::bypass::Protocol;
use countersign_testkit::client::Client;
use countersign_testkit::ephemeral;
use countersign_testkit::pki::Leaf;
use countersign_testkit::service::Service;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use crate::harness::{HOST, Harness};

const PROTOCOLS: [Protocol; 2] = [Protocol::Http1Tls12, Protocol::Http1Tls13];

/// Says everything again, line by line, and at the end of all lines that it was the end.
fn echo() -> Service {
    Service::start(|mut conversation| {
        while let Some(line) = conversation.line() {
            conversation.send(format!("{line}\n").as_bytes());
        }
        conversation.send(b"end\n");
    })
}

fn to(service: &Service, allow: &str) -> String {
    format!(
        "upstream = \"tcp://{}\"\nallow = [{allow}]\n",
        service.address()
    )
}

async fn says(stream: &mut TlsStream<TcpStream>, text: &str) {
    stream.write_all(text.as_bytes()).await.expect("open");
    let mut answer = vec![0; text.len()];
    stream.read_exact(&mut answer).await.expect("an answer");
    assert_eq!(String::from_utf8_lossy(&answer), text);
}

/// What comes until the end, which has to come.
async fn rest(stream: &mut TlsStream<TcpStream>) -> (String, std::io::Result<usize>) {
    let mut rest = Vec::new();
    let ended = timeout(Duration::from_secs(5), stream.read_to_end(&mut rest)).await;
    let ended = ended.expect("the connection is still open");
    (String::from_utf8_lossy(&rest).into_owned(), ended)
}

/// The alert, or how else the connection ended before a byte came; it is told at the first read in TLS 1.3.
async fn refused(client: &Client, gateway: &Harness) -> String {
    match client.connect(gateway.address()).await {
        Err(error) => error.to_string(),
        Ok(mut stream) => {
            let _ = stream.write_all(b"hello\n").await;
            let (text, ended) = rest(&mut stream).await;
            assert_eq!(text, "");
            ended.map_or_else(|error| error.to_string(), |_| "closed".to_owned())
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_pass_both_ways_and_each_side_may_end_first() {
    let service = echo();
    let gateway = Harness::bytes(&to(&service, "{ cn = \"order-service\" }"));
    for protocol in PROTOCOLS {
        let mut stream = gateway
            .client(protocol)
            .connect(gateway.address())
            .await
            .expect("admitted");
        // No application protocol is chosen for bytes, whatever the client offers.
        assert_eq!(stream.get_ref().1.alpn_protocol(), None);
        says(&mut stream, "GET / HTTP/1.1\n").await;
        says(&mut stream, "\u{0}\u{1}\n").await;
        stream.shutdown().await.expect("open");
        let (text, ended) = rest(&mut stream).await;
        assert_eq!(text, "end\n", "{protocol:?}");
        // With a close alert, so that nobody can have cut it short.
        assert!(ended.is_ok(), "{ended:?}");
    }
    assert_eq!(service.accepted(), PROTOCOLS.len());
    assert!(gateway.refusals().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn unix_socket_is_an_upstream() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("service.sock");
    let listener = UnixListener::bind(&path).expect("binds");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut byte = [0];
            while stream.read_exact(&mut byte).is_ok() {
                if stream.write_all(&byte).is_err() {
                    break;
                }
            }
        }
    });
    let upstream = format!(
        "upstream = \"unix:{}\"\nallow = [\"any-trusted\"]\n",
        path.display()
    );
    let bytes = Harness::bytes(&upstream);
    says(&mut bytes.connect().await, "hello\n").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_not_admitted_gets_an_alert_and_reaches_nothing() {
    let service = echo();
    let gateway = Harness::bytes(&to(&service, "{ cn = \"billing\" }"));
    for protocol in PROTOCOLS {
        let alert = refused(&gateway.client(protocol), &gateway).await;
        assert!(alert.contains("AccessDenied"), "{protocol:?}: {alert}");
        let alert = refused(&gateway.anonymous(protocol), &gateway).await;
        assert!(
            alert.contains("CertificateRequired") || alert.contains("HandshakeFailure"),
            "{protocol:?}: {alert}"
        );
    }
    let refusals = gateway.refusals();
    let causes: Vec<Cause> = refusals.iter().map(|it| it.refusal.cause).collect();
    assert!(causes.contains(&Cause::IdentityNotAllowed), "{causes:?}");
    assert!(causes.contains(&Cause::ClientCertNotSent), "{causes:?}");
    assert_eq!(service.accepted(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_elses_certificate_learns_nothing_of_the_policy() {
    let service = echo();
    let mut alerts = Vec::new();
    for admitted in ["billing", "order-service"] {
        let gateway = Harness::bytes(&to(&service, &format!("{{ cn = \"{admitted}\" }}")));
        let stolen = gateway
            .ca
            .issue(Leaf::client("order-service"))
            .with_other_key();
        for protocol in PROTOCOLS {
            let client = Client::new(gateway.ca.root.der(), Some(&stolen), protocol, HOST);
            alerts.push((protocol, refused(&client, &gateway).await));
        }
        let refusals = gateway.refusals();
        assert!(
            refusals
                .iter()
                .all(|it| it.refusal.cause == Cause::BadSignature),
            "{refusals:?}"
        );
    }
    let (not_admitted, admitted) = alerts.split_at(PROTOCOLS.len());
    assert_eq!(not_admitted, admitted);
    assert_eq!(service.accepted(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn deny_wins_and_anonymous_clients_need_a_word() {
    let service = echo();
    let upstream = to(&service, "\"any-trusted\"");
    let denying = Harness::bytes(&format!(
        "{upstream}deny = [{{ dns = \"orders.example.com\" }}]\n"
    ));
    let alert = refused(&denying.client(Protocol::Http1Tls13), &denying).await;
    assert!(alert.contains("AccessDenied"), "{alert}");

    let asking = Harness::bytes(&format!("client_certificate = \"request\"\n{upstream}"));
    let ended = refused(&asking.anonymous(Protocol::Http1Tls13), &asking).await;
    assert_eq!(ended, "closed");
    assert_eq!(asking.refusals()[0].refusal.cause, Cause::ClientCertNotSent);
    assert_eq!(service.accepted(), 0);

    let open = Harness::bytes(&format!(
        "client_certificate = \"request\"\n{}",
        to(&service, "\"anyone\"")
    ));
    let mut stream = open
        .anonymous(Protocol::Http1Tls13)
        .connect(open.address())
        .await
        .expect("admitted");
    says(&mut stream, "hello\n").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn revocation_ends_connections_and_lets_none_resume() {
    let service = echo();
    let gateway = Harness::bytes(&to(&service, "\"any-trusted\""));
    let client = gateway.client(Protocol::Http1Tls13);
    let mut stream = client.connect(gateway.address()).await.expect("admitted");
    says(&mut stream, "hello\n").await;
    gateway.revoke(&gateway.client).await;
    let (text, _) = rest(&mut stream).await;
    assert_eq!(text, "");
    let alert = refused(&client, &gateway).await;
    assert!(alert.contains("CertificateRevoked"), "{alert}");
    assert_eq!(service.accepted(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn reload_ends_what_it_no_longer_admits_and_nothing_else() {
    let (service, other) = (echo(), echo());
    let gateway = Harness::bytes(&to(
        &service,
        "{ cn = \"order-service\" }, { cn = \"billing\" }",
    ));
    let billing = gateway.ca.issue(Leaf::client("billing"));
    let billing = Client::new(
        gateway.ca.root.der(),
        Some(&billing),
        Protocol::Http1Tls13,
        HOST,
    );
    let mut stays = billing.connect(gateway.address()).await.expect("admitted");
    says(&mut stays, "hello\n").await;
    let mut goes = gateway.connect().await;
    says(&mut goes, "hello\n").await;

    let plan = gateway.bytes_plan(&to(&service, "{ cn = \"billing\" }"));
    gateway.handle.reload(plan).await.expect("reloads");
    assert_eq!(rest(&mut goes).await.0, "");
    says(&mut stays, "hello\n").await;
    let alert = refused(&gateway.client(Protocol::Http1Tls13), &gateway).await;
    assert!(alert.contains("AccessDenied"), "{alert}");

    // Whoever was admitted to one upstream was not admitted to another.
    let plan = gateway.bytes_plan(&to(&other, "{ cn = \"billing\" }"));
    gateway.handle.reload(plan).await.expect("reloads");
    assert_eq!(rest(&mut stays).await.0, "");
    let mut again = billing.connect(gateway.address()).await.expect("admitted");
    says(&mut again, "hello\n").await;
    assert_eq!(other.accepted(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_do_not_become_http_by_a_reload() {
    let service = echo();
    let gateway = Harness::bytes(&to(&service, "\"any-trusted\""));
    let http = format!(
        "upstream = \"http://{}\"\nallow = [\"any-trusted\"]",
        service.address()
    );
    let error = gateway.handle.reload(gateway.plan("", &http)).await;
    let error = error.expect_err("another protocol").to_string();
    assert!(error.contains("takes a restart"), "{error}");
    says(&mut gateway.connect().await, "hello\n").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unreachable_upstream_ends_the_connection_in_good_order() {
    let gateway = Harness::bytes(&format!(
        "upstream = \"tcp://{}\"\nallow = [\"any-trusted\"]\n",
        ephemeral::address()
    ));
    for first in ["", "SET a 1\r\n"] {
        let mut stream = gateway.connect().await;
        stream.write_all(first.as_bytes()).await.expect("open");
        let (text, ended) = rest(&mut stream).await;
        assert!(text.is_empty() && ended.is_ok(), "{text:?} {ended:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_connection_ends_after_its_limit_and_one_that_speaks_does_not() {
    let service = echo();
    let gateway = Harness::bytes(&format!(
        "idle_timeout = \"2s\"\n{}",
        to(&service, "\"any-trusted\"")
    ));
    let mut silent = gateway.connect().await;
    let mut speaking = gateway.connect().await;
    let speaks = async {
        for _ in 0..5 {
            says(&mut speaking, "hello\n").await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    let (ended, ()) = tokio::join!(rest(&mut silent), speaks);
    assert_eq!(ended.0, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn stream_that_was_cut_short_reaches_the_upstream_as_a_reset() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("binds");
    let address = listener.local_addr().expect("bound");
    let (told, heard) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut bytes = [0; 6];
            stream.read_exact(&mut bytes).expect("a line");
            stream.write_all(&bytes).expect("open");
            let ended = stream.read(&mut bytes).map_err(|error| error.kind());
            told.send(ended).expect("the test listens");
        }
    });
    let gateway = Harness::bytes(&format!(
        "upstream = \"tcp://{address}\"\nallow = [\"any-trusted\"]\n"
    ));
    let ends = || heard.recv_timeout(Duration::from_secs(5)).expect("an end");

    let mut ended = gateway.connect().await;
    says(&mut ended, "hello\n").await;
    ended.shutdown().await.expect("open");
    assert_eq!(tokio::task::block_in_place(ends), Ok(0));

    // Without the close alert: whoever sits on the wire can do that.
    let mut cut = gateway.connect().await;
    says(&mut cut, "hello\n").await;
    drop(cut.into_inner().0);
    assert_eq!(
        tokio::task::block_in_place(ends),
        Err(ErrorKind::ConnectionReset)
    );

    let mut revoked = gateway.connect().await;
    says(&mut revoked, "hello\n").await;
    gateway.revoke(&gateway.client).await;
    assert_eq!(
        tokio::task::block_in_place(ends),
        Err(ErrorKind::ConnectionReset)
    );
}
