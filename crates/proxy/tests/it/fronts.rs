//! The PROXY protocol at both ends of the gateway: who a front says it carries, and what an upstream is told.

use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use countersign_diagnose::cause::Cause;
use countersign_pki::time::UnixTime;
use countersign_proxy::refusals::{Query, search};
use countersign_testkit::bypass::Protocol;
use countersign_testkit::client::Client;
use countersign_testkit::service::Service;
use countersign_testkit::upstream::Upstream;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::forwarding::read_until;
use crate::harness::{HOST, Harness, to};

const FROM_LOOPBACK: &str = "proxy_protocol = { from = [\"127.0.0.0/8\"] }";
const V1: &[u8] = b"PROXY TCP4 192.0.2.1 198.51.100.1 56789 443\r\n";

/// Shakes hands behind a header.
async fn through(
    header: &[u8],
    client: &Client,
    gateway: SocketAddr,
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut socket = TcpStream::connect(gateway).await.expect("it listens");
    socket.write_all(header).await?;
    let name = ServerName::try_from(HOST).expect("a name");
    TlsConnector::from(client.config())
        .connect(name, socket)
        .await
}

async fn ask(stream: &mut TlsStream<TcpStream>, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nhost: {HOST}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("open");
    stream.flush().await.expect("open");
    read_until(stream, "x-forwarded-host: api.example.com").await
}

fn refusals_from(gateway: &Harness, address: &str) -> Vec<(Cause, Option<String>)> {
    gateway.log.settle();
    let query = Query::From {
        address: address.parse().expect("an address"),
        since: UnixTime::from_seconds(0),
    };
    let found = search(gateway.folder(), &query).expect("readable");
    let shown = found.iter().map(|it| {
        let front = it.refusal.evidence.get("front").map(str::to_owned);
        (it.refusal.cause, front)
    });
    shown.collect()
}

/// The same when there are so many: a client may hear of its refusal before that is on record.
async fn awaited_refusals_from(
    gateway: &Harness,
    address: &str,
    count: usize,
) -> Vec<(Cause, Option<String>)> {
    let there = async {
        while refusals_from(gateway, address).len() < count {
            tokio::task::yield_now().await;
        }
    };
    // Whether they came is for the caller to tell.
    let _ = tokio::time::timeout(Duration::from_secs(10), there).await;
    refusals_from(gateway, address)
}

#[tokio::test(flavor = "multi_thread")]
async fn client_that_a_front_carries_is_told_upstream_and_found_by_its_address() {
    let upstream = Upstream::start();
    let route = format!(
        "{}deny = [{{ method = [\"DELETE\"], cn = \"order-service\" }}]\n",
        to(upstream.address())
    );
    let gateway = Harness::start(FROM_LOOPBACK, &route);
    let client = gateway.client(Protocol::Http1Tls13);
    let mut stream = through(V1, &client, gateway.address())
        .await
        .expect("admitted");
    ask(&mut stream, "/").await;
    let told = upstream.received_text();
    assert!(told.contains("x-forwarded-for: 192.0.2.1\r\n"), "{told}");
    assert!(!told.contains("127.0.0.1\r\nx-forwarded"), "{told}");
    let request = format!("DELETE / HTTP/1.1\r\nhost: {HOST}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("open");
    stream.flush().await.expect("open");
    let mut status = [0; 12];
    stream.read_exact(&mut status).await.expect("an answer");
    assert_eq!(&status, b"HTTP/1.1 403");
    let found = awaited_refusals_from(&gateway, "192.0.2.1", 1).await;
    let [(Cause::RequestNotAllowed | Cause::IdentityNotAllowed, Some(front))] = &found[..] else {
        panic!("{found:?}");
    };
    assert!(front.starts_with("127.0.0.1:"), "{front}");
    assert_eq!(refusals_from(&gateway, "127.0.0.1"), []);
    // In the handshake, too.
    let anonymous = gateway.anonymous(Protocol::Http1Tls12);
    let refused = through(V1, &anonymous, gateway.address()).await;
    assert!(refused.is_err(), "{refused:?}");
    let found = awaited_refusals_from(&gateway, "192.0.2.1", 2).await;
    assert_eq!(found.len(), 2, "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn reload_changes_who_is_believed() {
    let upstream = Upstream::start();
    let route = to(upstream.address());
    let gateway = Harness::start(FROM_LOOPBACK, &route);
    let client = gateway.client(Protocol::Http1Tls13);
    let mut open = through(V1, &client, gateway.address())
        .await
        .expect("admitted");
    let plan = gateway.plan("proxy_protocol = { from = [\"10.0.0.0/8\"] }", &route);
    gateway.handle.reload(plan).await.expect("taken over");
    // What is open stays, and stays whose it was.
    ask(&mut open, "/").await;
    let before = refusals_from(&gateway, "127.0.0.1");
    assert_eq!(before, []);
    let refused = through(V1, &client, gateway.address()).await;
    assert!(refused.is_err(), "{refused:?}");
    let causes = awaited_refusals_from(&gateway, "127.0.0.1", 1).await;
    assert_eq!(causes, [(Cause::ProxyHeaderUntrusted, None)]);
    let mut direct = through(b"", &client, gateway.address())
        .await
        .expect("admitted");
    ask(&mut direct, "/").await;
    assert!(
        upstream
            .received_text()
            .contains("x-forwarded-for: 127.0.0.1\r\n")
    );
}

/// Keeps what each connection begins with: a header and a line of the client's.
fn beginnings() -> (Service, Receiver<Vec<u8>>) {
    let (told, beginnings) = channel();
    let service = Service::start(move |mut conversation| {
        let mut beginning = Vec::new();
        while !beginning.ends_with(b"hello\n") {
            let Some(byte) = conversation.bytes(1) else {
                break;
            };
            beginning.extend(byte);
        }
        let _ = told.send(beginning);
        conversation.send(b"welcome\n");
    });
    (service, beginnings)
}

fn announced(service: &Service, version: &str, further: &str) -> String {
    format!(
        "upstream = \"tcp://{}\"\nallow = [\"any-trusted\"]\nupstream_proxy_protocol = \"{version}\"\n{further}",
        service.address()
    )
}

async fn hello(mut stream: TlsStream<TcpStream>) -> SocketAddr {
    stream.write_all(b"hello\n").await.expect("open");
    stream.flush().await.expect("open");
    let mut welcome = [0; 8];
    stream.read_exact(&mut welcome).await.expect("welcome");
    stream.get_ref().0.local_addr().expect("connected")
}

fn beginning(beginnings: &Receiver<Vec<u8>>) -> Vec<u8> {
    beginnings
        .recv_timeout(Duration::from_secs(10))
        .expect("a connection")
}

#[tokio::test(flavor = "multi_thread")]
async fn upstream_is_told_of_each_client_in_a_line() {
    let (service, beginnings) = beginnings();
    let gateway = Harness::bytes(&announced(&service, "v1", ""));
    for _ in 0..2 {
        let source = hello(gateway.connect().await).await;
        let expected = format!(
            "PROXY TCP4 127.0.0.1 127.0.0.1 {} {}\r\nhello\n",
            source.port(),
            gateway.address().port()
        );
        assert_eq!(String::from_utf8_lossy(&beginning(&beginnings)), expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn client_that_a_front_carries_is_passed_on() {
    let (service, beginnings) = beginnings();
    let gateway = Harness::bytes(&announced(&service, "v1", FROM_LOOPBACK));
    let client = gateway.client(Protocol::Http1Tls13);
    let stream = through(V1, &client, gateway.address()).await;
    hello(stream.expect("admitted")).await;
    let expected = [V1, b"hello\n"].concat();
    assert_eq!(beginning(&beginnings), expected);
}

/// Type and value of each field; of the TLS field those inside it, behind its flags.
fn fields(mut block: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut fields = Vec::new();
    while let [kind, high, low, rest @ ..] = block {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let (value, after) = rest.split_at(length);
        fields.push((*kind, value.to_vec()));
        block = after;
    }
    assert!(block.is_empty(), "{block:?}");
    fields
}

fn field(fields: &[(u8, Vec<u8>)], kind: u8) -> Option<&[u8]> {
    let found: Vec<_> = fields.iter().filter(|(it, _)| *it == kind).collect();
    assert!(found.len() <= 1, "{kind} {fields:?}");
    found.first().map(|(_, value)| &value[..])
}

/// The fields of a header of version 2 about a connection of IPv4.
fn told(beginning: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let start = b"\r\n\r\n\0\r\nQUIT\n\x21\x11";
    let rest = beginning
        .strip_prefix(start)
        .expect("version 2, PROXY, TCP4");
    let (length, rest) = rest.split_at(2);
    let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
    assert_eq!(&rest[length..], b"hello\n");
    fields(&rest[12..length])
}

#[tokio::test(flavor = "multi_thread")]
async fn resumed_session_is_told_from_a_certificate_that_was_shown() {
    let (service, beginnings) = beginnings();
    let gateway = Harness::bytes(&announced(&service, "v2", ""));
    for (protocol, version, cipher) in [
        (
            Protocol::Http1Tls13,
            &b"TLSv1.3"[..],
            &b"TLS_AES_256_GCM_SHA384"[..],
        ),
        (
            Protocol::Http1Tls12,
            b"TLSv1.2",
            b"ECDHE-ECDSA-AES256-GCM-SHA384",
        ),
    ] {
        let client = gateway.client(protocol);
        for flags in [0x07, 0x05] {
            let stream = client.connect(gateway.address()).await.expect("admitted");
            hello(stream).await;
            let told = told(&beginning(&beginnings));
            assert_eq!(field(&told, 0x02), Some(HOST.as_bytes()));
            assert_eq!(field(&told, 0x01), None, "of bytes none is agreed on");
            let tls = field(&told, 0x20).expect("about TLS");
            // Zero: a certificate, and verified.
            assert_eq!(tls[..5], [flags, 0, 0, 0, 0], "{protocol:?}");
            let inside = fields(&tls[5..]);
            assert_eq!(field(&inside, 0x21), Some(version));
            assert_eq!(field(&inside, 0x22), Some(&b"order-service"[..]));
            assert_eq!(field(&inside, 0x23), Some(cipher));
            assert_eq!(field(&inside, 0x28), Some(&gateway.client.chain[0][..]));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_told_to_have_a_certificate_without_one() {
    let (service, beginnings) = beginnings();
    let keys = announced(&service, "v2", "client_certificate = \"request\"\n")
        .replace("\"any-trusted\"", "\"anyone\"");
    let gateway = Harness::bytes(&keys);
    let client = gateway.anonymous(Protocol::Http1Tls13);
    // Resumed or not.
    for _ in 0..2 {
        let stream = client.connect(gateway.address()).await.expect("admitted");
        hello(stream).await;
        let told = told(&beginning(&beginnings));
        let tls = field(&told, 0x20).expect("about TLS");
        assert_eq!(tls[..5], [0x01, 0, 0, 0, 1]);
        let inside = fields(&tls[5..]);
        assert_eq!((field(&inside, 0x22), field(&inside, 0x28)), (None, None));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_sends_is_no_header_to_its_upstream() {
    let (service, beginnings) = beginnings();
    let gateway = Harness::bytes(&announced(&service, "v1", ""));
    let mut stream = gateway.connect().await;
    stream.write_all(V1).await.expect("open");
    let source = hello(stream).await;
    let beginning = beginning(&beginnings);
    let line = format!("PROXY TCP4 127.0.0.1 127.0.0.1 {} ", source.port());
    assert!(beginning.starts_with(line.as_bytes()), "{beginning:?}");
}

#[tokio::test]
async fn what_cannot_be_is_refused_when_it_is_loaded() {
    let gateway = Harness::bytes("upstream = \"tcp://127.0.0.1:1\"\nallow = [\"any-trusted\"]\n");
    let bytes = "upstream = \"tcp://127.0.0.1:1\"\nallow = [\"any-trusted\"]\n";
    let http = "\n[[gateway.listener.route]]\nupstream = \"demo\"\nallow = [\"any-trusted\"]\n";
    for (keys, rest, place, said) in [
        (
            "proxy_protocol = { from = [] }\n",
            bytes,
            "proxy_protocol.from",
            "empty",
        ),
        (
            "proxy_protocol = { from = [\"0.0.0.0/1\", \"128.0.0.0/1\"] }\n",
            bytes,
            "proxy_protocol.from[0]",
            "wider than",
        ),
        (
            "proxy_protocol = { from = [\"10.0.0.0/8\", \"0.0.0.0/0\"] }\n",
            bytes,
            "proxy_protocol.from[1]",
            "wider than",
        ),
        (
            "proxy_protocol = { from = [\"::/0\"] }\n",
            http,
            "proxy_protocol.from[0]",
            "wider than",
        ),
        (
            "upstream_proxy_protocol = \"v2\"\n",
            http,
            "upstream_proxy_protocol",
            "share the connections",
        ),
        (
            "limits = { pending_handshakes = 10, pending_handshakes_per_source = 11 }\n",
            bytes,
            "limits.pending_handshakes_per_source",
            "more than pending_handshakes",
        ),
        (
            "max_connections = 5\nlimits = { connections_per_source = 6 }\n",
            bytes,
            "limits.connections_per_source",
            "more than max_connections",
        ),
        (
            "limits = { network_bits_ipv4 = 33 }\n",
            bytes,
            "limits.network_bits_ipv4",
            "33",
        ),
        (
            "limits = { network_bits_ipv6 = 0 }\n",
            bytes,
            "limits.network_bits_ipv6",
            "0",
        ),
    ] {
        let error = gateway.refused_plan(&format!("{keys}{rest}"));
        assert_eq!(
            error.place,
            format!("gateway.listener[0].{place}"),
            "{keys}"
        );
        assert!(error.why.contains(said), "{keys} {error}");
        assert!(error.hint.is_some() || place.contains("bits"), "{keys}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn source_is_held_to_its_limits_and_others_are_not() {
    let upstream = Upstream::start();
    let keys = format!("{FROM_LOOPBACK}\nlimits = {{ connections_per_source = 2 }}");
    let gateway = Harness::start(&keys, &to(upstream.address()));
    let client = gateway.client(Protocol::Http1Tls13);
    let named = |last: u8| format!("PROXY TCP4 192.0.2.{last} 198.51.100.1 1 443\r\n");
    let open = async |last| through(named(last).as_bytes(), &client, gateway.address()).await;
    let mut first = open(1).await.expect("admitted");
    let mut second = open(1).await.expect("admitted");
    for stream in [&mut first, &mut second] {
        ask(stream, "/").await;
    }
    for _ in 0..3 {
        assert!(open(1).await.is_err());
    }
    let mut other = open(2).await.expect("admitted");
    ask(&mut other, "/").await;
    // One line for all of them.
    let found = awaited_refusals_from(&gateway, "192.0.2.1", 1).await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].0, Cause::RateLimited);
    drop(first);
    // The gateway hears of the end in its own time.
    let again = async {
        while open(1).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), again)
        .await
        .expect("a place is free");
}
