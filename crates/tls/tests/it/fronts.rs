//! Fronts that say whose connections they carry, and everybody else, who is not believed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use countersign_diagnose::cause::Cause;
use countersign_tls::acceptor::{Acceptor, PendingLimits};
use countersign_tls::edge::{Edge, HandshakeRate};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

use crate::peer::{TLS13, config};
use crate::site::{Outcome, Site};

const V1: &[u8] = b"PROXY TCP4 192.0.2.1 198.51.100.1 56789 443\r\n";

fn v2(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let length = u16::try_from(block.len()).expect("short").to_be_bytes();
    let start = &b"\r\n\r\n\0\r\nQUIT\n"[..];
    [start, &[0x20 | command, family], &length[..], block].concat()
}

const FOUR: [u8; 12] = [192, 0, 2, 1, 198, 51, 100, 1, 0xdd, 0xd5, 0x01, 0xbb];

fn behind(edge: Edge) -> Site {
    let mut site = Site::new();
    site.settings.handshake_timeout = Duration::from_millis(300);
    site.acceptor = Acceptor::behind(
        edge,
        site.settings.clone(),
        site.credentials.clone(),
        site.enforcement.clone(),
    );
    site
}

fn fronts(from: &str) -> Edge {
    Edge {
        fronts: vec![from.parse().expect("a network")],
        ..Edge::default()
    }
}

/// What comes of a client that sends the parts, each by itself, and then shakes hands.
async fn meet(site: &Site, parts: &[&[u8]]) -> Outcome {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let address = listener.local_addr().expect("bound");
    let mut socket = TcpStream::connect(address).await.expect("loopback");
    socket.set_nodelay(true).expect("loopback");
    let (accepted, source) = listener.accept().await.expect("a connection");
    let acceptor = Arc::clone(&site.acceptor);
    let accepting = tokio::spawn(async move { acceptor.accept(accepted, source).await });
    for part in parts {
        // The other side may have closed; what it thought of us is asked of it.
        let _ = socket.write_all(part).await;
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }
    let client = Arc::new(config(site, Some(&site.client("you")), TLS13));
    let shaking = tokio::spawn(async move {
        let name = ServerName::try_from("localhost").expect("a name");
        let stream = TlsConnector::from(client).connect(name, socket).await;
        if let Ok(mut stream) = stream {
            let _ = stream.read(&mut [0; 1]).await;
        }
    });
    let outcome = accepting.await.expect("no panic");
    shaking.abort();
    outcome
}

fn cause(outcome: Outcome) -> (Cause, String) {
    let refused = outcome.err().expect("refused");
    (refused.refusal.cause, refused.refusal.sentence().to_owned())
}

#[tokio::test]
async fn front_names_the_client_and_stays_on_record_itself() {
    let site = behind(fronts("127.0.0.0/8"));
    let six = [[0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]; 2].concat();
    let six = v2(1, 0x21, &[&six[..], &[0, 1, 0, 2]].concat());
    for (header, source, destination) in [
        (V1.to_vec(), "192.0.2.1:56789", "198.51.100.1:443"),
        (v2(1, 0x11, &FOUR), "192.0.2.1:56789", "198.51.100.1:443"),
        (six, "[2001:db8::1]:1", "[2001:db8::1]:2"),
    ] {
        let bytes: Vec<&[u8]> = header.chunks(1).collect();
        for parts in [&[&header[..]][..], &bytes] {
            let session = meet(&site, parts).await.expect("admitted").session;
            let expected: SocketAddr = source.parse().expect("an address");
            assert_eq!(session.source, expected);
            assert_eq!(session.destination, destination.parse().ok());
            let front = session.front.expect("its own address");
            assert_eq!(front.ip(), std::net::Ipv4Addr::LOCALHOST);
        }
    }
}

#[tokio::test]
async fn header_that_names_nobody_leaves_the_fronts_own_address() {
    let site = behind(fronts("127.0.0.1"));
    for header in [
        b"PROXY UNKNOWN\r\n".to_vec(),
        v2(0, 0x00, b""),
        v2(0, 0x11, &FOUR),
        v2(1, 0x00, b""),
        v2(1, 0x31, &[b'/'; 216]),
    ] {
        let session = meet(&site, &[&header]).await.expect("admitted").session;
        assert_eq!(Some(session.source), session.front);
        assert!(session.source.ip().is_loopback());
    }
}

#[tokio::test]
async fn front_without_a_header_to_go_by_is_closed() {
    let site = behind(fronts("127.0.0.1"));
    let altered = {
        let mut header = v2(1, 0x11, &[&FOUR[..], &[3, 0, 4, 1, 2, 3, 4]].concat());
        header[16] ^= 1;
        header
    };
    for (header, said) in [
        (&b""[..], "begins with something else"),
        (b"PROXY TCP4 192.0.2.1\r\n", "version 1's form"),
        (
            b"PROXY TCP4 192.0.2.1 198.51.100.1 56789 443\n",
            "version 1's form",
        ),
        (&v2(1, 0x12, &FOUR), "0x12"),
        (&v2(3, 0x11, &FOUR), "command is 3"),
        (&v2(1, 0x11, &FOUR[..4]), "cut off"),
        (&altered, "checksum is wrong"),
        (b"GET / HTTP/1.1\r\n", "begins with something else"),
    ] {
        let (cause, sentence) = cause(meet(&site, &[header]).await);
        assert_eq!(cause, Cause::ProxyHeaderMissing, "{header:?}");
        assert!(sentence.contains(said), "{sentence}");
    }
}

#[tokio::test]
async fn nobody_but_a_front_is_believed() {
    for edge in [Edge::default(), fronts("10.0.0.0/8"), fronts("::1")] {
        let site = behind(edge);
        for header in [V1, &v2(1, 0x11, &FOUR), &v2(0, 0x00, b"")] {
            let refused = meet(&site, &[header]).await.err().expect("refused");
            assert_eq!(refused.refusal.cause, Cause::ProxyHeaderUntrusted);
            assert!(refused.source.ip().is_loopback(), "{}", refused.source);
            assert_eq!(refused.refusal.evidence.get("front"), None);
        }
        // Without one it is a client like any other.
        let session = meet(&site, &[]).await.expect("admitted").session;
        assert!(session.source.ip().is_loopback());
        assert_eq!(session.front, None);
    }
}

#[tokio::test]
async fn second_header_is_none() {
    let site = behind(fronts("127.0.0.1"));
    let refused = meet(&site, &[V1, V1]).await.err().expect("refused");
    assert_eq!(refused.refusal.cause, Cause::ProxyHeaderUntrusted);
    assert_eq!(
        refused.source,
        "192.0.2.1:56789".parse().expect("an address")
    );
    let front = refused.refusal.evidence.get("front").expect("its address");
    assert!(front.starts_with("127.0.0.1:"), "{front}");
}

#[tokio::test]
async fn silent_front_is_given_up_and_a_mere_look_is_no_fault_of_its_own() {
    let site = behind(fronts("127.0.0.1"));
    for (sent, closes, expected) in [
        (&b"PROXY TC"[..], false, Cause::ProxyHeaderMissing),
        (b"", false, Cause::ProxyHeaderMissing),
        (b"PROXY TC", true, Cause::ProxyHeaderMissing),
        (b"", true, Cause::ClientClosedEarly),
    ] {
        let (address, accepting) = site.open().await;
        let mut socket = TcpStream::connect(address).await.expect("loopback");
        socket.write_all(sent).await.expect("loopback");
        if closes {
            socket.shutdown().await.expect("loopback");
        }
        let refused = accepting.await.expect("no panic").err().expect("refused");
        assert_eq!(refused.refusal.cause, expected, "{sent:?} {closes}");
    }
}

#[tokio::test]
async fn limits_are_those_of_the_client_that_a_front_names() {
    let rate = HandshakeRate {
        per_second: 1,
        bits_v4: 24,
        bits_v6: 56,
    };
    let site = behind(Edge {
        rate: Some(rate),
        connections_per_source: Some(1),
        ..fronts("127.0.0.1")
    });
    let named = |source: &str| format!("PROXY TCP4 {source} 198.51.100.1 1 443\r\n").into_bytes();
    let first = meet(&site, &[&named("192.0.2.1")]).await.expect("admitted");
    // Its neighbour has the same rate, somebody else has not.
    let (refused, sentence) = cause(meet(&site, &[&named("192.0.2.2")]).await);
    assert_eq!(refused, Cause::RateLimited);
    assert!(sentence.starts_with("192.0.2.0/24 begins"), "{sentence}");
    let _other = meet(&site, &[&named("192.0.3.1")]).await.expect("admitted");
    // A place is free when the connection ends, not when the handshake does.
    let unhurried = Edge {
        connections_per_source: Some(1),
        ..fronts("127.0.0.1")
    };
    site.acceptor.replace_edge(unhurried);
    let (refused, sentence) = cause(meet(&site, &[&named("192.0.2.1")]).await);
    assert_eq!(refused, Cause::RateLimited);
    assert!(sentence.starts_with("1 connections"), "{sentence}");
    drop(first);
    assert!(meet(&site, &[&named("192.0.2.1")]).await.is_ok());
}

#[tokio::test]
async fn headers_that_do_not_come_take_places_of_the_listener_and_not_of_a_source() {
    let limits = PendingLimits {
        in_all: 2,
        per_source: 1,
    };
    let site = behind(Edge {
        pending: limits,
        ..fronts("127.0.0.1")
    });
    let open = async || {
        let (address, accepting) = site.open().await;
        let client = TcpStream::connect(address).await.expect("loopback");
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        (client, accepting)
    };
    let (_one, first) = open().await;
    let (_two, second) = open().await;
    let (_three, third) = open().await;
    let refused = third.await.expect("no panic").err().expect("refused");
    assert_eq!(refused.refusal.cause, Cause::TooManyPending);
    for waiting in [first, second] {
        let late = waiting.await.expect("no panic").err().expect("refused");
        assert_eq!(late.refusal.cause, Cause::ProxyHeaderMissing);
    }
    assert!(
        meet(&site, &[V1]).await.is_ok(),
        "the places are free again"
    );
}
