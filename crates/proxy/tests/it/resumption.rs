//! What a resumed session may do is what its full handshake may, and nobody waits for what it is resumed by.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use countersign_testkit::bypass::Protocol;
use countersign_testkit::client::Client;
use countersign_testkit::ephemeral;
use countersign_testkit::pki::Leaf;
use countersign_testkit::service::Service;
use countersign_testkit::upstream::Upstream;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::HandshakeKind;

use crate::harness::{HOST, Harness};

const PATHS: [&str; 8] = [
    "/",
    "/orders",
    "/orders/1",
    "/orders/admin/1",
    "/Orders/1",
    "//orders/1",
    "/orders/../orders/1",
    "/orders/%61dmin/1",
];

/// By whom, for what, but for whom, with which exception: alone and together.
const RULES: [&str; 7] = [
    r#"allow = ["any-trusted"]"#,
    r#"allow = [{ cn = "order-service" }]"#,
    r#"allow = [{ spiffe = "spiffe://example.com/order-service", path = "/orders/**" }]"#,
    r#"allow = ["any-trusted"]
deny = [{ path = "/orders/admin/**" }]"#,
    r#"allow = ["any-trusted"]
deny = [{ dns = "orders.example.com" }]"#,
    r#"allow = [{ dns = "*.example.com", not = { path = "/orders/*" } }]"#,
    r#"allow = [{ cn = "somebody-else" }, { path = "/orders", method = ["GET"] }]"#,
];

/// How the connection was made, and what each path is answered; nothing of a client that is not let in.
async fn answers(client: &Client, gateway: &Harness) -> Option<(HandshakeKind, Vec<String>)> {
    let mut stream = client.connect(gateway.address()).await.ok()?;
    let kind = stream.get_ref().1.handshake_kind()?;
    let mut answers = Vec::new();
    for path in PATHS {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.ok()?);
        }
        let head = String::from_utf8(head).expect("ASCII").to_lowercase();
        let length = head.split("content-length: ").nth(1)?;
        let length = length.split("\r\n").next()?.parse().expect("a number");
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.ok()?;
        answers.push(head.split(' ').nth(1)?.to_owned());
    }
    Some((kind, answers))
}

#[tokio::test]
async fn policy_says_of_a_resumed_session_what_it_says_of_a_full_handshake() {
    let upstream = Upstream::start();
    let mut verdicts = Vec::new();
    for rules in RULES {
        let route = format!("upstream = \"http://{}\"\n{rules}\n", upstream.address());
        let gateway = Harness::start("", &route);
        let root = gateway.ca.root.der();
        let other = gateway
            .ca
            .issue(Leaf::client("other").dns("other.example.com"));
        for identity in [&gateway.client, &other] {
            for protocol in [Protocol::Http1Tls12, Protocol::Http1Tls13] {
                let client = Client::new(root, Some(identity), protocol, HOST);
                let full = answers(&client, &gateway).await;
                for _ in 0..2 {
                    let again = answers(&client, &gateway).await;
                    let kinds = [&full, &again].map(|it| it.as_ref().map(|it| it.0));
                    // Whoever is not let in has no session to come back with.
                    if full.is_some() {
                        let resumed = Some(HandshakeKind::Resumed);
                        assert_eq!(kinds, [Some(HandshakeKind::Full), resumed], "{rules}");
                    }
                    assert_eq!(
                        full.as_ref().map(|it| &it.1),
                        again.as_ref().map(|it| &it.1)
                    );
                }
                verdicts.push(full.map(|it| it.1));
            }
        }
    }
    // Or there would be nothing to confuse.
    verdicts.sort();
    verdicts.dedup();
    assert!(verdicts.len() > 4, "{verdicts:?}");
}

/// Says nothing, and waits for tickets.
pub(crate) async fn has_tickets(stream: &mut TlsStream<TcpStream>) -> bool {
    let arriving = poll_fn(|cx| {
        loop {
            let mut bytes = [0; 1024];
            let mut buf = ReadBuf::new(&mut bytes);
            let polled = Pin::new(&mut *stream).poll_read(cx, &mut buf);
            if stream.get_ref().1.tls13_tickets_received() == 2 {
                return Poll::Ready(true);
            }
            match polled {
                Poll::Ready(Ok(())) if !buf.filled().is_empty() => {}
                Poll::Ready(_) => return Poll::Ready(false),
                Poll::Pending => return Poll::Pending,
            }
        }
    });
    timeout(Duration::from_secs(5), arriving)
        .await
        .unwrap_or(false)
}

#[tokio::test]
async fn whoever_says_nothing_gets_its_tickets_whatever_the_upstream_does() {
    let silent = Service::start(|mut conversation| while conversation.line().is_some() {});
    let greeting = Service::start(|mut conversation| {
        conversation.send(b"hello\n");
        while conversation.line().is_some() {}
    });
    let gone = ephemeral::address();
    let bytes = |address| format!("upstream = \"tcp://{address}\"\nallow = [\"any-trusted\"]\n");
    for address in [silent.address(), greeting.address(), gone] {
        let gateway = Harness::bytes(&bytes(address));
        let mut stream = gateway.connect().await;
        assert!(has_tickets(&mut stream).await, "{address}");
    }
    let gateway = Harness::start("", &crate::harness::to(silent.address()));
    for protocol in [Protocol::Http1Tls13, Protocol::Http2Tls13] {
        let stream = gateway.client(protocol).connect(gateway.address()).await;
        let mut stream = stream.expect("admitted");
        assert!(has_tickets(&mut stream).await, "{protocol:?}");
    }
}
