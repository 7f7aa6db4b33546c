//! The operations themselves, each done so often that what happens once does not show.

use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use countersign_pki::bundle::TrustBundle;
use countersign_pki::certificate::Certificate;
use countersign_pki::chain::{Limits, Purpose, Verifier};
use countersign_pki::feed::{RevocationReason, Revoked};
use countersign_pki::identity::{BundleName, VerifiedPeer};
use countersign_pki::name::DnsName;
use countersign_pki::revocation::RevocationIndex;
use countersign_pki::serial::SerialNumber;
use countersign_pki::time::UnixTime;
use countersign_policy::access::{
    AccessPolicy, Allow, Asked, Circumstances, Condition, Factors, NamePattern, NoHeaders,
    PathPattern, Route,
};
use countersign_runtime::clock::{Clock, SystemClock};
use countersign_testkit::bypass::Protocol;
use countersign_testkit::client::Client;
use countersign_testkit::pki::Leaf;
use countersign_testkit::upstream::Upstream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::HandshakeKind;

use crate::harness::{HOST, Harness};

/// In the order of [`run`], with how often it does each.
pub(super) const OPERATIONS: [(&str, u64); 6] = [
    ("handshake", HANDSHAKES),
    ("handshake_new_client", HANDSHAKES),
    ("resumption", HANDSHAKES),
    ("request_http1", REQUESTS),
    ("request_http2", REQUESTS),
    ("decision", DECISIONS),
];

pub(super) async fn run() {
    let upstream = Upstream::start();
    let gateway = Harness::start("", &route(&upstream));
    revoke_others(&gateway).await;

    let client = gateway.client(Protocol::Http1Tls13);
    for turns in [WARM_UP, HANDSHAKES] {
        for _ in 0..turns {
            handshake(&gateway, &client.without_sessions(), HandshakeKind::Full).await;
        }
        counted();
    }
    for turns in [WARM_UP, HANDSHAKES] {
        for turn in 0..turns {
            let leaf = Leaf::client(&format!("client-{turns}-{turn}")).dns("orders.example.com");
            let identity = gateway.ca.issue(leaf);
            let protocol = Protocol::Http1Tls13;
            let client = Client::new(gateway.ca.root.der(), Some(&identity), protocol, HOST);
            handshake(&gateway, &client, HandshakeKind::Full).await;
        }
        counted();
    }
    let returning = client.without_sessions();
    handshake(&gateway, &returning, HandshakeKind::Full).await;
    for turns in [WARM_UP, HANDSHAKES] {
        for _ in 0..turns {
            handshake(&gateway, &returning, HandshakeKind::Resumed).await;
        }
        counted();
    }
    let mut stream = gateway.connect().await;
    for turns in [WARM_UP, REQUESTS] {
        for _ in 0..turns {
            request_http1(&mut stream).await;
        }
        counted();
    }
    let mut sender = crate::http2::h2_client(&gateway).await;
    for turns in [WARM_UP, REQUESTS] {
        for _ in 0..turns {
            request_http2(&mut sender).await;
        }
        counted();
    }
    decisions(&gateway);
}

/// Callgrind writes a file each time this is called.
#[inline(never)]
pub(super) fn counted() {
    black_box(());
}

/// Callgrind counts what is done in here.
#[inline(never)]
pub(super) fn decided(policy: &AccessPolicy, asked: &Asked) {
    assert!(policy.judge(asked).is_allow());
}

/// Ten rules, of which the last admits.
fn route(upstream: &Upstream) -> String {
    let others = (1..10).map(|it| format!("{{ spiffe = \"spiffe://example.com/service-{it}\" }}"));
    let rules = others.collect::<Vec<_>>().join(", ");
    format!(
        "upstream = \"http://{}\"\nallow = [{rules}, {{ dns = \"orders.example.com\" }}]\n",
        upstream.address()
    )
}

/// There is something to look up in, and nobody who comes is in it.
async fn revoke_others(gateway: &Harness) {
    let issuer = Certificate::parse(gateway.ca.intermediate.der()).expect("a certificate");
    let revoked = (0..1000_u16).map(|number| {
        let mut serial = [7; 20];
        serial[..2].copy_from_slice(&number.to_be_bytes());
        Revoked {
            issuer_key: issuer.spki(),
            serial: SerialNumber::from_random(serial),
            reason: RevocationReason::KeyCompromise,
            revoked_at: now(),
        }
    });
    gateway.enforcement.revoke(revoked.collect()).await;
}

/// With TLS 1.3 the client is done before its certificate is judged: who is admitted gets its end answered in order.
async fn handshake(gateway: &Harness, client: &Client, kind: HandshakeKind) {
    let mut stream = client.connect(gateway.address()).await.expect("admitted");
    assert_eq!(stream.get_ref().1.handshake_kind(), Some(kind));
    stream.shutdown().await.expect("open");
    let rest = stream.read_to_end(&mut Vec::new()).await;
    assert_eq!(rest.expect("an end in order"), 0);
}

async fn request_http1(stream: &mut TlsStream<TcpStream>) {
    let request = format!("GET /orders/7 HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("open");
    let mut answer = Vec::new();
    loop {
        assert_ne!(stream.read_buf(&mut answer).await.expect("open"), 0);
        let text = String::from_utf8_lossy(&answer);
        assert!(text.starts_with("HTTP/1.1 200 "), "{text}");
        let length = text
            .split_once("content-length: ")
            .and_then(|(_, rest)| rest.split_once("\r\n"))
            .map(|(length, _)| length.parse::<usize>().expect("a number"));
        if let (Some((_, body)), Some(length)) = (text.split_once("\r\n\r\n"), length)
            && body.len() == length
        {
            return;
        }
    }
}

async fn request_http2(sender: &mut h2::client::SendRequest<Bytes>) {
    let request = http::Request::get(format!("https://{HOST}/orders/7"));
    let request = request.body(()).expect("a request");
    let (answer, _) = sender.send_request(request, true).expect("open");
    let answer = answer.await.expect("an answer");
    assert_eq!(answer.status(), 200);
    let mut body = answer.into_body();
    while let Some(data) = body.data().await {
        let length = data.expect("open").len();
        let _ = body.flow_control().release_capacity(length);
    }
}

/// One of ten rules and their exception, for a path that is looked at.
fn decisions(gateway: &Harness) {
    let allow = (0..10).map(|number| {
        let path = PathPattern::parse(&format!("/service/{number}/**")).expect("a path");
        Allow::When(Condition {
            path: Some(path),
            ..named("spiffe://example.com/order-service")
        })
    });
    let policy = AccessPolicy::new(vec![Route {
        label: "route 1".to_owned(),
        host: None,
        path: None,
        connect: Vec::new(),
        require_certificate: true,
        allow: allow.collect(),
        deny: vec![named("cn:somebody-else")],
    }]);
    let policy = policy.expect("a policy");
    let (peer, host) = (peer(gateway), DnsName::parse(HOST).expect("a name"));
    let asked = Asked {
        peer: Some(&peer),
        host: Some(&host),
        method: "GET",
        path: "/service/7/orders",
        headers: &NoHeaders,
        factors: &Factors::NONE,
        circumstances: Circumstances {
            source: [127, 0, 0, 1].into(),
            now: now(),
        },
    };
    for turns in [WARM_UP, DECISIONS] {
        for _ in 0..turns {
            decided(&policy, &asked);
        }
        counted();
    }
}

fn named(pattern: &str) -> Condition {
    Condition {
        names: vec![NamePattern::parse(pattern).expect("a name")],
        ..Condition::default()
    }
}

fn peer(gateway: &Harness) -> VerifiedPeer {
    let root = Certificate::parse(gateway.ca.root.der()).expect("a root");
    let domain = "example.com".parse().expect("a trust domain");
    let bundle = TrustBundle::new(BundleName::internal(), Some(domain), vec![root], now());
    Verifier::new(vec![Arc::new(bundle.expect("a bundle"))], Limits::default())
        .expect("a verifier")
        .verify(
            &gateway.client.chain,
            Purpose::ClientAuth,
            &RevocationIndex::default(),
            now(),
        )
        .expect("a good chain")
}

fn now() -> UnixTime {
    UnixTime::from_seconds(SystemClock.unix_seconds())
}

const WARM_UP: u64 = 5;
const HANDSHAKES: u64 = 20;
const REQUESTS: u64 = 200;
const DECISIONS: u64 = 1000;
