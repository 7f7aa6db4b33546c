//! CONNECT: who gets a tunnel, to where, what it carries, and what ends it.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use bytes::Bytes;
use countersign_diagnose::cause::Cause;
use countersign_pki::time::UnixTime;
use countersign_policy::access::Circumstances;
use countersign_policy::api_key::NewApiKey;
use countersign_proxy::explain::{Question, Supposed};
use countersign_testkit::bypass::Protocol;
use countersign_testkit::client::Client;
use countersign_testkit::ephemeral;
use countersign_testkit::pki::Leaf;
use countersign_testkit::service::Service;
use h2::{RecvStream, SendStream};
use http::Request;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::forwarding::read_until;
use crate::harness::{HOST, Harness};
use crate::http2::{h2_client, post, soon};

const TARGET: &str = "db.internal:5432";
const HTTP1: [Protocol; 2] = [Protocol::Http1Tls12, Protocol::Http1Tls13];

/// Says everything again, line by line, and at the end of all lines that it was the end.
fn echo() -> Service {
    Service::start(|mut conversation| {
        while let Some(line) = conversation.line() {
            conversation.send(format!("{line}\n").as_bytes());
        }
        conversation.send(b"end\n");
    })
}

/// A route of tunnels, and one of requests beside it.
fn routes(upstream: SocketAddr, allow: &str) -> String {
    format!(
        "[[gateway.listener.route]]\nconnect = [\"{TARGET}\", \"[2001:db8::1]:5432\", \"192.0.2.1:5432\"]\n\
         upstream = \"tcp://{upstream}\"\nallow = [{allow}]\n\
         [[gateway.listener.route]]\nhost = \"{HOST}\"\nupstream = \"demo\"\nallow = [\"any-trusted\"]\n"
    )
}

fn ask(target: &str, rest: &str) -> String {
    format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{rest}\r\n")
}

async fn tunnel(gateway: &Harness, protocol: Protocol) -> TlsStream<TcpStream> {
    let client = gateway.client(protocol);
    let mut stream = client.connect(gateway.address()).await.expect("admitted");
    let asked = ask(TARGET, "");
    stream.write_all(asked.as_bytes()).await.expect("open");
    let head = soon(read_until(&mut stream, "\r\n\r\n")).await;
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    let head = head.to_lowercase();
    // RFC 9110 §9.3.6: no server sends them with it.
    let framing = ["content-length", "transfer-encoding"];
    assert!(!framing.iter().any(|it| head.contains(it)), "{head}");
    stream
}

async fn says(stream: &mut TlsStream<TcpStream>, text: &str) {
    stream.write_all(text.as_bytes()).await.expect("open");
    soon(read_until(stream, text)).await;
}

/// All that comes, and whether it came to a good end.
async fn rest(stream: &mut TlsStream<TcpStream>) -> (String, bool) {
    let mut rest = Vec::new();
    let ended = soon(stream.read_to_end(&mut rest)).await;
    (String::from_utf8_lossy(&rest).into_owned(), ended.is_ok())
}

/// What comes back on a connection of its own until that ends.
async fn answered(client: &Client, gateway: &Harness, sent: &str) -> String {
    let mut stream = client.connect(gateway.address()).await.expect("admitted");
    stream.write_all(sent.as_bytes()).await.expect("open");
    let (text, is_whole) = rest(&mut stream).await;
    assert!(is_whole, "cut short: {text}");
    text
}

type Stream2 = (SendStream<Bytes>, RecvStream);

fn connect2(target: &str) -> Request<()> {
    Request::connect(target).body(()).expect("a request")
}

/// A tunnel in a stream of HTTP/2.
async fn tunnel2(sender: &mut h2::client::SendRequest<Bytes>) -> Stream2 {
    let (answer, up) = sender.send_request(connect2(TARGET), false).expect("open");
    let answer = soon(answer).await.expect("an answer");
    assert_eq!(answer.status(), 200, "{answer:?}");
    (up, answer.into_body())
}

async fn says2((up, down): &mut Stream2, text: &str) {
    up.send_data(text.to_owned().into(), false).expect("open");
    let mut heard = Vec::new();
    while heard.len() < text.len() {
        let data = soon(down.data()).await.expect("open").expect("data");
        let _ = down.flow_control().release_capacity(data.len());
        heard.extend(data);
    }
    assert_eq!(String::from_utf8_lossy(&heard), text);
}

/// What a server of bytes sees at the end of each of its connections, after a line that it says again.
fn ends() -> (SocketAddr, Receiver<Result<usize, ErrorKind>>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("binds");
    let address = listener.local_addr().expect("bound");
    let (told, heard) = channel();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let told = told.clone();
            std::thread::spawn(move || {
                let mut bytes = [0; 6];
                stream.read_exact(&mut bytes).expect("a line");
                stream.write_all(&bytes).expect("open");
                let ended = stream.read(&mut bytes).map_err(|error| error.kind());
                told.send(ended).expect("the test listens");
            });
        }
    });
    (address, heard)
}

fn end_of(heard: &Receiver<Result<usize, ErrorKind>>) -> Result<usize, ErrorKind> {
    let end = || heard.recv_timeout(Duration::from_secs(10)).expect("an end");
    tokio::task::block_in_place(end)
}

#[tokio::test(flavor = "multi_thread")]
async fn connect_leads_to_the_upstream_of_its_route_whatever_it_asks_for() {
    let service = echo();
    let gateway = Harness::bytes(&routes(service.address(), "{ cn = \"order-service\" }"));
    for protocol in HTTP1 {
        let mut stream = tunnel(&gateway, protocol).await;
        says(&mut stream, "GET / HTTP/1.1\n").await;
        says(&mut stream, "\u{0}\u{1}\n").await;
        stream.shutdown().await.expect("open");
        assert_eq!(rest(&mut stream).await, ("end\n".to_owned(), true));
    }
    // As upgrades: what came with the request is the tunnel's.
    let mut stream = gateway.connect().await;
    let asked = ask(
        TARGET,
        "X-Client-CN: admin\r\nUpgrade: websocket\r\nConnection: close, upgrade\r\n",
    );
    let asked = format!("{asked}early\n");
    stream.write_all(asked.as_bytes()).await.expect("open");
    let answer = soon(read_until(&mut stream, "early\n")).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    // And what an earlier request left is not.
    let mut stream = gateway.connect().await;
    let get = format!("HEAD / HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    stream.write_all(get.as_bytes()).await.expect("open");
    soon(read_until(&mut stream, "\r\n\r\n")).await;
    stream
        .write_all(ask(TARGET, "").as_bytes())
        .await
        .expect("open");
    soon(read_until(&mut stream, "\r\n\r\n")).await;
    says(&mut stream, "hello\n").await;
    assert_eq!(service.accepted(), 4);
    assert!(gateway.refusals().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_spelling_of_a_target_that_is_one_gets_its_tunnel() {
    let service = echo();
    let gateway = Harness::bytes(&routes(service.address(), "\"any-trusted\""));
    for (target, host) in [
        ("DB.Internal:5432", "db.internal:5432"),
        ("db.internal.:5432", "DB.INTERNAL:5432"),
        ("db.internal:05432", "db.internal"),
        ("[2001:DB8:0::1]:5432", "[2001:db8::1]:5432"),
        ("192.0.2.1:5432", "192.0.2.1:5432"),
    ] {
        let mut stream = gateway.connect().await;
        let asked = format!("CONNECT {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        stream.write_all(asked.as_bytes()).await.expect("open");
        let head = soon(read_until(&mut stream, "\r\n\r\n")).await;
        assert!(head.starts_with("HTTP/1.1 200"), "{target}: {head}");
        says(&mut stream, "hello\n").await;
    }
}

fn written(line: &str, host: &str) -> String {
    format!("{line}\r\nHost: {host}\r\n\r\n")
}

/// What asks for something else than the route names.
fn for_other_targets(gateway: SocketAddr) -> Vec<String> {
    let targets = [
        "db.internal:5433",
        "db.internal:80",
        "other.internal:5432",
        "a.db.internal:5432",
        "internal:5432",
        "127.0.0.1:5432",
        "[::ffff:192.0.2.1]:5432",
        "api.example.com:443",
    ];
    let mut sent: Vec<String> = targets.iter().map(|target| ask(target, "")).collect();
    sent.push(ask(&gateway.to_string(), ""));
    // No refusal of gRPC, which is a 200.
    let grpc = "Content-Type: application/grpc\r\nTE: trailers\r\n";
    sent.push(ask("db.internal:1", grpc));
    sent
}

/// What cannot be taken for one question.
fn in_other_forms() -> Vec<String> {
    let lines = [
        "CONNECT db.internal HTTP/1.1",
        "CONNECT db.internal: HTTP/1.1",
        "CONNECT db.internal:0 HTTP/1.1",
        "CONNECT db.internal:5432/ HTTP/1.1",
        "CONNECT user@db.internal:5432 HTTP/1.1",
        "CONNECT user:pass@db.internal:5432 HTTP/1.1",
        "CONNECT *.internal:5432 HTTP/1.1",
        "CONNECT http://db.internal:5432/ HTTP/1.1",
        "CONNECT https://db.internal:5432 HTTP/1.1",
        "CONNECT / HTTP/1.1",
        "CONNECT * HTTP/1.1",
        "CONNECT /db.internal:5432 HTTP/1.1",
        "CONNECT db.internal:5432 HTTP/1.0",
        "CONNECT db.internal:5433 HTTP/1.1",
    ];
    let hosts = [
        HOST,
        "db.internal:5433",
        "db.internal:",
        "db.internal:0",
        "other.internal",
        "",
    ];
    let rests = [
        "Host: db.internal:5432\r\n\r\n",
        "Host: api.example.com\r\n\r\n",
        "Content-Length: 0\r\n\r\n",
        "Content-Length: 5\r\n\r\nhello",
        "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ];
    let line = format!("CONNECT {TARGET} HTTP/1.1");
    let lines = lines.iter().map(|line| written(line, TARGET));
    let hosts = hosts.iter().map(|host| written(&line, host));
    let rests = rests.map(|rest| format!("{line}\r\nHost: {TARGET}\r\n{rest}"));
    let without_host = format!("{line}\r\n\r\n");
    lines
        .chain(hosts)
        .chain(rests)
        .chain([without_host])
        .collect()
}

/// Each with a request of its own behind it, which must not become one.
#[tokio::test(flavor = "multi_thread")]
async fn connect_for_anything_else_or_in_another_form_reaches_nothing() {
    let service = echo();
    let gateway = Harness::bytes(&routes(service.address(), "\"any-trusted\""));
    let not_allowed = for_other_targets(service.address());
    let not_allowed = not_allowed
        .iter()
        .map(|it| (it, 403, Cause::RequestNotAllowed));
    let malformed = in_other_forms();
    let malformed = malformed
        .iter()
        .map(|it| (it, 400, Cause::MalformedRequest));
    for (sent, status, cause) in not_allowed.chain(malformed) {
        let behind = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n");
        for protocol in HTTP1 {
            let client = gateway.client(protocol);
            let answer = answered(&client, &gateway, &format!("{sent}{behind}")).await;
            let is_so = ["HTTP/1.0", "HTTP/1.1"]
                .iter()
                .any(|version| answer.starts_with(&format!("{version} {status} ")));
            assert!(is_so, "{sent}: {answer}");
            assert_eq!(answer.matches("HTTP/1.").count(), 1, "{sent}: {answer}");
            let head = answer.to_lowercase();
            assert!(head.contains("connection: close"), "{answer}");
            let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
            let refusals = gateway.refusals();
            // What hyper does not read has no body.
            let told = serde_json::from_str::<serde_json::Value>(body).ok();
            let is_it = |id: String| (told.as_ref()).is_none_or(|told| told["refusal_id"] == id);
            let is_on_record = refusals
                .iter()
                .any(|it| is_it(it.id.to_string()) && it.refusal.cause == cause);
            assert!(is_on_record, "{sent}: {refusals:?}");
        }
    }
    assert_eq!(service.accepted(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_no_connect_gets_into_no_tunnel() {
    let service = echo();
    let gateway = Harness::bytes(&routes(service.address(), "\"any-trusted\""));
    for sent in [
        written("GET / HTTP/1.1", TARGET),
        written("GET / HTTP/1.1", "db.internal"),
        written("POST http://db.internal:5432/ HTTP/1.1", TARGET),
        written("GET db.internal:5432 HTTP/1.1", TARGET),
        written("connect db.internal:5432 HTTP/1.1", TARGET),
        written("OPTIONS * HTTP/1.1", TARGET),
        format!(
            "GET / HTTP/1.1\r\nHost: {TARGET}\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
        ),
        format!(
            "GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: upgrade\r\nUpgrade: CONNECT\r\n\r\n"
        ),
    ] {
        let mut stream = Client::new(
            gateway.ca.root.der(),
            Some(&gateway.client),
            HTTP1[1],
            "other.example.com",
        )
        .connect(gateway.address())
        .await
        .expect("any name is served");
        stream.write_all(sent.as_bytes()).await.expect("open");
        let head = soon(read_until(&mut stream, "}")).await;
        let is_refused = ["400", "403", "421"]
            .iter()
            .any(|it| head.starts_with(&format!("HTTP/1.1 {it} ")));
        assert!(is_refused, "{sent}: {head}");
    }
    assert_eq!(service.accepted(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn gateway_without_tunnels_refuses_every_connect_as_malformed() {
    let service = echo();
    for route in [
        format!(
            "upstream = \"http://{}\"\nallow = [\"any-trusted\"]",
            service.address()
        ),
        format!(
            "connect = []\nupstream = \"http://{}\"\nallow = [\"any-trusted\"]",
            service.address()
        ),
    ] {
        let gateway = Harness::start("", &route);
        for sent in [
            ask(TARGET, ""),
            ask(&format!("{HOST}:443"), ""),
            ask(&service.address().to_string(), ""),
        ] {
            let behind = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
            let client = gateway.client(Protocol::Http1Tls13);
            let answer = answered(&client, &gateway, &format!("{sent}{behind}")).await;
            assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
            assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
        }
        let mut sender = h2_client(&gateway).await;
        let (answer, _) = sender.send_request(connect2(TARGET), false).expect("open");
        assert_eq!(soon(answer).await.expect("an answer").status(), 400);
    }
    assert_eq!(service.accepted(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn tunnel_is_for_those_whom_its_route_admits() {
    let service = echo();
    for (allow, admits) in [
        ("{ cn = \"order-service\" }", true),
        ("{ cn = \"order-service\", method = [\"CONNECT\"] }", true),
        ("{ cn = \"order-service\", host = [\"db.internal\"] }", true),
        ("{ cn = \"billing\" }", false),
        (
            "{ cn = \"order-service\", not = { host = [\"*.internal\"] } }",
            false,
        ),
        (
            "{ cn = \"order-service\", header = { x-env = [\"prod\"] } }",
            false,
        ),
        (
            "\"any-trusted\"]\ndeny = [{ method = [\"CONNECT\"] }",
            false,
        ),
        (
            "\"any-trusted\"]\ndeny = [{ cn = \"order-service\" }",
            false,
        ),
        (
            "\"any-trusted\"]\ndeny = [{ source = [\"127.0.0.0/8\"] }",
            false,
        ),
    ] {
        let before = service.accepted();
        let gateway = Harness::bytes(&routes(service.address(), allow));
        let mut stream = gateway.connect().await;
        stream
            .write_all(ask(TARGET, "").as_bytes())
            .await
            .expect("open");
        let end = if admits { "\r\n\r\n" } else { "}" };
        let head = soon(read_until(&mut stream, end)).await;
        let status = if admits {
            "HTTP/1.1 200 "
        } else {
            "HTTP/1.1 403 "
        };
        assert!(head.starts_with(status), "{allow}: {head}");
        let mut sender = h2_client(&gateway).await;
        let (answer, _up) = sender.send_request(connect2(TARGET), false).expect("open");
        let answer = soon(answer).await.expect("an answer");
        assert_eq!(answer.status() == 200, admits, "{allow}: {answer:?}");
        if !admits {
            assert_eq!(service.accepted(), before, "{allow}");
        }
    }
    let before = service.accepted();
    let requests = Harness::bytes(&format!(
        "client_certificate = \"request\"\n{}",
        routes(service.address(), "\"any-trusted\"")
    ));
    let anonymous = requests.anonymous(Protocol::Http1Tls13);
    let answer = answered(&anonymous, &requests, &ask(TARGET, "")).await;
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    let causes: Vec<_> = requests
        .refusals()
        .iter()
        .map(|it| it.refusal.cause)
        .collect();
    assert_eq!(causes, [Cause::ClientCertNotSent]);
    assert_eq!(service.accepted(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn stream_of_http2_is_a_tunnel_beside_requests_and_other_tunnels() {
    let service = echo();
    let gateway = Harness::bytes(&routes(service.address(), "\"any-trusted\""));
    let mut sender = h2_client(&gateway).await;
    let mut one = tunnel2(&mut sender).await;
    let mut other = tunnel2(&mut sender).await;
    says2(&mut one, "hello\n").await;
    says2(&mut other, &format!("{}\n", "x".repeat(100_000))).await;
    let (answer, _) = sender.send_request(post("/"), true).expect("open");
    assert_eq!(soon(answer).await.expect("an answer").status(), 200);
    one.0.send_data(Bytes::new(), true).expect("open");
    let mut last = Vec::new();
    while let Some(data) = soon(one.1.data()).await {
        let data = data.expect("a good end");
        let _ = one.1.flow_control().release_capacity(data.len());
        last.extend(data);
    }
    assert_eq!(last, b"end\n");
    says2(&mut other, "still\n").await;
    assert_eq!(service.accepted(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn connect_of_http2_for_anything_else_or_in_another_form_reaches_nothing() {
    let service = echo();
    let gateway = Harness::bytes(&routes(service.address(), "\"any-trusted\""));
    let with = |name: &str, value: &str| {
        let request = Request::connect(TARGET).header(name, value);
        request.body(()).expect("a request")
    };
    let mut extended = Request::connect(format!("https://{TARGET}/"))
        .body(())
        .expect("a request");
    let protocol = h2::ext::Protocol::from_static("websocket");
    extended.extensions_mut().insert(protocol);
    for (request, status) in [
        (connect2("db.internal:5433"), Some(403)),
        (connect2("other.internal:5432"), Some(403)),
        (connect2(&service.address().to_string()), Some(403)),
        (connect2("db.internal"), Some(400)),
        (connect2("db.internal:0"), Some(400)),
        (connect2("user@db.internal:5432"), Some(400)),
        (with("host", HOST), Some(400)),
        (with("host", "db.internal:5433"), Some(400)),
        (with("content-length", "0"), Some(400)),
        (with("content-length", "5"), None),
        (extended, None),
    ] {
        let shown = format!("{request:?}");
        let mut sender = h2_client(&gateway).await;
        // Some are refused by whoever sends them already.
        let Ok((answer, _up)) = sender.send_request(request, false) else {
            continue;
        };
        match (soon(answer).await, status) {
            (Ok(answer), Some(status)) => assert_eq!(answer.status(), status, "{shown}"),
            (Ok(answer), None) => assert_ne!(answer.status(), 200, "{shown}"),
            (Err(_), None) => {}
            (Err(error), Some(_)) => panic!("{shown}: {error}"),
        }
    }
    assert_eq!(service.accepted(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_cut_short_looks_like_no_end_to_either_side() {
    let (address, heard) = ends();
    let gateway = Harness::bytes(&routes(address, "\"any-trusted\""));
    let mut sender = h2_client(&gateway).await;

    let mut ended = tunnel2(&mut sender).await;
    says2(&mut ended, "hello\n").await;
    ended.0.send_data(Bytes::new(), true).expect("open");
    assert_eq!(end_of(&heard), Ok(0));

    for reason in [
        h2::Reason::CANCEL,
        h2::Reason::NO_ERROR,
        h2::Reason::INTERNAL_ERROR,
    ] {
        let mut cut = tunnel2(&mut sender).await;
        says2(&mut cut, "hello\n").await;
        cut.0.send_reset(reason);
        assert_eq!(end_of(&heard), Err(ErrorKind::ConnectionReset), "{reason}");
    }

    let mut stream = tunnel(&gateway, Protocol::Http1Tls13).await;
    says(&mut stream, "hello\n").await;
    let mut revoked = tunnel2(&mut sender).await;
    says2(&mut revoked, "hello\n").await;
    gateway.revoke(&gateway.client).await;
    for _ in 0..2 {
        assert_eq!(end_of(&heard), Err(ErrorKind::ConnectionReset));
    }
    let end = soon(revoked.1.data()).await.expect("no good end");
    end.expect_err("cut short");
    assert!(!rest(&mut stream).await.1, "cut short");

    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("binds");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let mut bytes = [0; 6];
        stream.read_exact(&mut bytes).expect("a line");
        stream.write_all(&bytes).expect("open");
        // What is not read makes a reset of the close.
        stream.read_exact(&mut bytes[..1]).expect("a byte");
    });
    let gateway = Harness::bytes(&routes(address, "\"any-trusted\""));
    let mut sender = h2_client(&gateway).await;
    let mut broken = tunnel2(&mut sender).await;
    says2(&mut broken, "hello\n").await;
    broken
        .0
        .send_data("more than it reads\n".into(), false)
        .expect("open");
    let end = soon(broken.1.data()).await.expect("no good end");
    end.expect_err("broken");
    // The connection stands.
    let (answer, _) = sender.send_request(post("/"), true).expect("open");
    assert_eq!(soon(answer).await.expect("an answer").status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn revoked_client_neither_keeps_nor_gets_a_tunnel_by_resuming() {
    let service = echo();
    let gateway = Harness::bytes(&routes(service.address(), "\"any-trusted\""));
    let client = gateway.client(Protocol::Http1Tls13);
    let mut stream = client.connect(gateway.address()).await.expect("admitted");
    stream
        .write_all(ask(TARGET, "").as_bytes())
        .await
        .expect("open");
    soon(read_until(&mut stream, "\r\n\r\n")).await;
    says(&mut stream, "hello\n").await;
    gateway.revoke(&gateway.client).await;
    assert_eq!(rest(&mut stream).await.0, "");
    if let Ok(mut again) = client.connect(gateway.address()).await {
        let _ = again.write_all(ask(TARGET, "").as_bytes()).await;
        assert_eq!(rest(&mut again).await, (String::new(), false));
    }
    assert_eq!(service.accepted(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn reload_ends_the_tunnels_that_it_no_longer_admits_and_no_others() {
    let (service, other) = (echo(), echo());
    let same = routes(service.address(), "{ cn = \"order-service\" }");
    // Paths that could be read in two ways are refused beside it, and a target is none.
    let beside = format!(
        "{same}[[gateway.listener.route]]\nhost = \"{HOST}\"\npath = \"/x/**\"\nupstream = \"demo\"\nallow = [\"any-trusted\"]\n"
    );
    let renamed = |target: &str| same.replace(TARGET, target);
    for (after, stays) in [
        (same.clone(), true),
        (beside, true),
        (routes(service.address(), "\"any-trusted\""), true),
        (routes(service.address(), "{ cn = \"billing\" }"), false),
        (routes(other.address(), "{ cn = \"order-service\" }"), false),
        (renamed("db.internal:5433"), false),
        (
            routes(
                service.address(),
                "\"any-trusted\"]\ndeny = [{ method = [\"CONNECT\"] }",
            ),
            false,
        ),
        (
            "[[gateway.listener.route]]\nupstream = \"demo\"\nallow = [\"any-trusted\"]\n"
                .to_owned(),
            false,
        ),
    ] {
        let gateway = Harness::bytes(&same);
        let mut stream = tunnel(&gateway, Protocol::Http1Tls13).await;
        says(&mut stream, "hello\n").await;
        let mut sender = h2_client(&gateway).await;
        let mut stream2 = tunnel2(&mut sender).await;
        says2(&mut stream2, "hello\n").await;
        let reloaded = gateway.handle.reload(gateway.bytes_plan(&after)).await;
        reloaded.expect("reloads");
        if stays {
            says(&mut stream, "again\n").await;
            says2(&mut stream2, "again\n").await;
        } else {
            assert_eq!(rest(&mut stream).await.0, "", "{after}");
            let end = soon(stream2.1.data()).await.expect("no good end");
            end.expect_err("cut short");
        }
    }
    assert_eq!(other.accepted(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn upstream_that_cannot_be_reached_is_no_tunnel() {
    let gateway = Harness::bytes(&routes(ephemeral::address(), "\"any-trusted\""));
    let client = gateway.client(Protocol::Http1Tls13);
    let behind = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    let answer = answered(&client, &gateway, &format!("{}{behind}", ask(TARGET, ""))).await;
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    let mut sender = h2_client(&gateway).await;
    let (answer, _up) = sender.send_request(connect2(TARGET), false).expect("open");
    assert_eq!(soon(answer).await.expect("an answer").status(), 502);
    let (answer, _) = sender.send_request(post("/"), true).expect("open");
    assert_eq!(soon(answer).await.expect("an answer").status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_open_no_more_tunnels_than_a_worker_may_have() {
    let service = echo();
    let text = routes(service.address(), "\"any-trusted\"");
    let gateway = Harness::bytes_within(&text, |bounds| bounds.upstream_connections = 2);
    let mut sender = h2_client(&gateway).await;
    let mut one = tunnel2(&mut sender).await;
    let _other = tunnel2(&mut sender).await;
    let (answer, _up) = sender.send_request(connect2(TARGET), false).expect("open");
    assert_eq!(soon(answer).await.expect("an answer").status(), 503);
    one.0.send_reset(h2::Reason::CANCEL);
    soon(async {
        loop {
            let (answer, _up) = sender.send_request(connect2(TARGET), false).expect("open");
            if answer.await.expect("an answer").status() == 200 {
                return;
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn drain_waits_for_no_tunnel_of_either_protocol() {
    let service = echo();
    let text = routes(service.address(), "\"any-trusted\"");
    let mut gateway = Harness::bytes_within(&text, |bounds| {
        bounds.tunnel_grace = Duration::from_millis(100);
    });
    let mut stream = tunnel(&gateway, Protocol::Http1Tls13).await;
    let mut sender = h2_client(&gateway).await;
    let mut stream2 = tunnel2(&mut sender).await;
    says2(&mut stream2, "hello\n").await;
    assert!(gateway.stop(Duration::from_secs(10)).await);
    assert_eq!(rest(&mut stream).await.0, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn upstream_learns_of_the_client_by_the_proxy_protocol_alone() {
    let service = echo();
    let gateway = Harness::bytes(&format!(
        "upstream_proxy_protocol = \"v1\"\n{}",
        routes(service.address(), "\"any-trusted\"")
    ));
    let mut stream = gateway.connect().await;
    let asked = format!("{}hello\n", ask(TARGET, ""));
    stream.write_all(asked.as_bytes()).await.expect("open");
    let heard = soon(read_until(&mut stream, "hello\n")).await;
    let (_, heard) = heard.split_once("\r\n\r\n").expect("a head");
    assert!(
        heard.starts_with("PROXY TCP4 127.0.0.1 127.0.0.1 "),
        "{heard}"
    );
    let mut sender = h2_client(&gateway).await;
    let mut stream2 = tunnel2(&mut sender).await;
    let heard = soon(stream2.1.data()).await.expect("open").expect("data");
    assert!(
        heard.starts_with(b"PROXY TCP4 127.0.0.1 127.0.0.1 "),
        "{heard:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn second_factor_is_asked_of_the_connect_and_told_to_nobody() {
    let service = echo();
    let key = NewApiKey::new([7; 32]);
    let gateway = Harness::bytes(&format!(
        "{}[[gateway.api_key]]\nname = \"reports\"\nsha256 = \"{}\"\nfor = \"cn:order-service\"\n",
        routes(
            service.address(),
            "{ cn = \"order-service\", api_key = \"reports\" }"
        ),
        key.sha256()
    ));
    let client = gateway.client(Protocol::Http1Tls13);
    for header in ["", "X-Api-Key: csk_wrong\r\n"] {
        let answer = answered(&client, &gateway, &ask(TARGET, header)).await;
        assert!(answer.starts_with("HTTP/1.1 403 "), "{header}: {answer}");
    }
    assert_eq!(service.accepted(), 0);
    let mut stream = gateway.connect().await;
    let asked = ask(TARGET, &format!("X-Api-Key: {}\r\n", key.text()));
    stream.write_all(asked.as_bytes()).await.expect("open");
    soon(read_until(&mut stream, "\r\n\r\n")).await;
    stream.write_all(b"hello\n").await.expect("open");
    // Whatever had come before would come back before it.
    assert_eq!(soon(read_until(&mut stream, "\n")).await, "hello\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_client_has_no_part_in_a_tunnel() {
    let service = echo();
    let gateway = Harness::bytes(&routes(service.address(), "{ cn = \"order-service\" }"));
    let other = gateway.ca.issue(Leaf::client("billing"));
    let other = Client::new(
        gateway.ca.root.der(),
        Some(&other),
        Protocol::Http1Tls13,
        HOST,
    );
    let mut stream = tunnel(&gateway, Protocol::Http1Tls13).await;
    says(&mut stream, "hello\n").await;
    let answer = answered(
        &other,
        &gateway,
        &ask(TARGET, "X-Client-CN: order-service\r\n"),
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    says(&mut stream, "again\n").await;
    assert_eq!(service.accepted(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn tunnels_that_could_be_a_way_round_something_are_refused_at_load() {
    let gateway = Harness::start("", "upstream = \"demo\"\nallow = [\"any-trusted\"]\n");
    let of_tunnels = |keys: &str| {
        format!(
            "[[gateway.listener.route]]\nconnect = [\"{TARGET}\"]\nallow = [\"any-trusted\"]\n{keys}\n"
        )
    };
    let tcp = "upstream = \"tcp://127.0.0.1:5432\"";
    let with = |keys: &str| of_tunnels(&format!("{tcp}\n{keys}"));
    let connect = |targets: &str| with("").replace(&format!("\"{TARGET}\""), targets);
    let requests = |upstream: &str| {
        format!(
            "[[gateway.listener.route]]\nupstream = \"{upstream}\"\nallow = [\"any-trusted\"]\n"
        )
    };
    for (listener, at, why) in [
        (connect("\"db.internal\""), "connect[0]", "no port"),
        (connect("\"db.internal:0\""), "connect[0]", "1 to 65535"),
        (
            connect("\"a:1\", \"*.internal:1\""),
            "connect[1]",
            "neither a DNS name",
        ),
        (
            connect("\"u@db.internal:1\""),
            "connect[0]",
            "neither a DNS name",
        ),
        (connect("\"a:1\", \"A.:1\""), "", "already"),
        (
            with("host = \"db.internal\""),
            "host",
            "connect names the host",
        ),
        (with("path = \"/**\""), "path", "no path"),
        (with("upgrades = []"), "upgrades", "no HTTP"),
        (
            with("upstream_protocol = \"h2\""),
            "upstream_protocol",
            "no HTTP",
        ),
        (
            with("health = { path = \"/\" }"),
            "health.path",
            "not asked in HTTP",
        ),
        (
            with("deny = [{ path = \"/x\" }]"),
            "deny[0]",
            "looks at a path",
        ),
        (
            with("deny = [{ method = [\"GET\"] }]"),
            "deny[0]",
            "takes CONNECT",
        ),
        (
            of_tunnels("upstream = \"http://127.0.0.1:80\""),
            "upstream",
            "does not begin with tcp://",
        ),
        (
            of_tunnels("upstream = \"demo\""),
            "upstream",
            "does not begin with",
        ),
        (
            format!("{}{}", with(""), requests("http://127.0.0.1:5432")),
            "upstream",
            "gateway.listener[0].route[1] sends requests there",
        ),
        (
            format!("{}{}", requests("https://127.0.0.1:5432"), with("")),
            "upstream",
            "gateway.listener[0].route[0] sends requests there",
        ),
        (
            format!("upstream_proxy_protocol = \"v2\"\n{}", with("health = {}")),
            "health",
            "nobody's connection",
        ),
        (
            requests("http://127.0.0.1:5432")
                .replace("\"any-trusted\"", "{ cn = \"a\", method = [\"CONNECT\"] }"),
            "allow[0]",
            "only a route that says connect",
        ),
    ] {
        let error = gateway.refused_plan(&listener).to_string();
        assert!(
            error.contains(at) && error.contains(why),
            "{listener}: {error}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_connect_would_get_is_explained_as_it_is_decided() {
    let gateway = Harness::start("", "upstream = \"demo\"\nallow = [\"any-trusted\"]\n");
    let open = "client_certificate = \"request\"\n".to_owned();
    let address = SocketAddr::from(([127, 0, 0, 1], 5432));
    let plan = gateway.bytes_plan(&(open.clone() + &routes(address, "\"anyone\"")));
    let closed = gateway.bytes_plan(&format!(
        "{open}[[gateway.listener.route]]\nupstream = \"demo\"\nallow = [\"anyone\"]\n"
    ));
    let circumstances = Circumstances {
        source: [127, 0, 0, 1].into(),
        now: UnixTime::from_seconds(1_800_000_000),
    };
    for (plan, host, expected) in [
        (&plan, TARGET, None),
        (&plan, "DB.Internal.:05432", None),
        (&plan, "[2001:DB8::1]:5432", None),
        (&plan, "db.internal:5433", Some(Cause::RequestNotAllowed)),
        (&plan, "db.internal", Some(Cause::MalformedRequest)),
        (&plan, "/", Some(Cause::MalformedRequest)),
        (&closed, TARGET, Some(Cause::MalformedRequest)),
    ] {
        let question = Question::request(host, "CONNECT", "/", &[]).expect("can be asked");
        let policy = plan.policies().next().expect("a listener");
        let explained = policy.explain(None, &question, circumstances, &Supposed::default());
        let refusal = explained.expect("a listener of requests").refusal;
        assert_eq!(refusal.map(|it| it.cause), expected, "{host}");
    }
}
