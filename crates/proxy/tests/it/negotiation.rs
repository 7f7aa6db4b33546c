//! Which HTTP an upstream over TLS is spoken to in, and what ends that.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use countersign_testkit::bypass::Protocol;
use http::Response;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::server::TlsStream;

use crate::forwarding::{read_until, upgrade};
use crate::harness::{HOST, Harness, PROTOCOLS};
use crate::http2::{h2_client, post, soon};

type Stream = TlsStream<tokio::net::TcpStream>;

/// A server over TLS that offers these protocols, and answers with the one that was agreed on.
struct Server {
    address: SocketAddr,
    accepted: Arc<AtomicUsize>,
}

impl Server {
    async fn start(of: &Harness, alpn: &[&str]) -> Self {
        let mut config =
            ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()
                .expect("suites")
                .with_no_client_auth()
                .with_single_cert(of.server.chain.clone(), of.server.key.clone_key())
                .expect("good credentials");
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let address = listener.local_addr().expect("bound");
        let accepted = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&accepted);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (acceptor, counter) = (acceptor.clone(), Arc::clone(&counter));
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(socket).await else {
                        return;
                    };
                    counter.fetch_add(1, Ordering::SeqCst);
                    if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                        serve_http2(stream).await;
                    } else {
                        serve_http1(stream).await;
                    }
                });
            }
        });
        Self { address, accepted }
    }

    /// A gateway before it, which trusts it by the bundle `inner`.
    fn gateway(&self, of: &Harness, keys: &str) -> Harness {
        let route = format!(
            "[[gateway.listener.route]]\nupstream = \"https://{}\"\n\
             upstream_tls = {{ trust = \"inner\", name = [\"{HOST}\"] }}\nallow = [\"any-trusted\"]\n{keys}\n",
            self.address
        );
        Harness::before(of, &route)
    }

    fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

async fn serve_http2(stream: Stream) {
    let Ok(mut connection) = h2::server::handshake(stream).await else {
        return;
    };
    while let Some(Ok((request, mut answer))) = connection.accept().await {
        let Ok(mut body) = answer.send_response(Response::new(()), false) else {
            continue;
        };
        if request.uri().path() == "/held" {
            let _ = body.send_data("begun".into(), false);
            tokio::spawn(async move {
                let _ = std::future::poll_fn(|cx| body.poll_reset(cx)).await;
            });
        } else {
            let _ = body.send_data(Bytes::from_static(b"h2"), true);
        }
    }
}

async fn serve_http1(mut stream: Stream) {
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) => return,
            }
        }
        let head = String::from_utf8_lossy(&head);
        let Some((_, protocol)) = head.split_once("upgrade: ") else {
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nhttp/1.1";
            if stream.write_all(answer).await.is_err() {
                return;
            }
            continue;
        };
        let protocol = protocol.lines().next().unwrap_or_default();
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: {protocol}\r\n\r\n"
        );
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
        let mut bytes = [0; 64];
        while let Ok(count @ 1..) = stream.read(&mut bytes).await {
            let _ = stream.write_all(&bytes[..count]).await;
        }
        return;
    }
}

/// What the upstream answers in, for each protocol of a client; `None`: it is a bad gateway.
async fn check(offered: &[&str], keys: &str, expected: Option<&str>) {
    let of = Harness::start("", "upstream = \"demo\"\nallow = [\"any-trusted\"]\n");
    let server = Server::start(&of, offered).await;
    let gateway = server.gateway(&of, keys);
    for protocol in PROTOCOLS {
        for _ in 0..2 {
            let outcome = soon(gateway.get(protocol, "/")).await;
            match expected {
                Some(expected) => assert_eq!(outcome.text(), expected, "{offered:?} {keys}"),
                None => assert_eq!(outcome.status(), Some(502), "{offered:?} {keys}"),
            }
        }
    }
    if expected.is_some() {
        assert_eq!(server.accepted(), 1, "{offered:?} {keys}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn upstream_chooses_and_a_route_can_choose_for_it() {
    let both = ["h2", "http/1.1"];
    for (offered, keys, expected) in [
        (&both[..], "", Some("h2")),
        (&both, "upstream_protocol = \"auto\"", Some("h2")),
        (&both, "upstream_protocol = \"h2\"", Some("h2")),
        (&both, "upstream_protocol = \"http/1.1\"", Some("http/1.1")),
        (&["http/1.1"], "", Some("http/1.1")),
        // It knows nothing of ALPN.
        (&[], "", Some("http/1.1")),
        (&["h2"], "", Some("h2")),
        (&["http/1.1"], "upstream_protocol = \"h2\"", None),
        (&[], "upstream_protocol = \"h2\"", None),
        (&["h2"], "upstream_protocol = \"http/1.1\"", None),
        (&["h3"], "", None),
    ] {
        check(offered, keys, expected).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_route_names_is_switched_to_over_http1_and_nothing_else() {
    let of = Harness::start("", "upstream = \"demo\"\nallow = [\"any-trusted\"]\n");
    let server = Server::start(&of, &["h2", "http/1.1"]).await;
    for (keys, protocol, switches) in [
        ("", "websocket", true),
        ("", "WebSocket", true),
        ("", "example/2", false),
        ("", "h2c", false),
        ("", "TLS/1.0", false),
        ("upgrades = []", "websocket", false),
        ("upgrades = [\"example/2\"]", "Example/2", true),
        ("upgrades = [\"example/2\"]", "example", false),
        ("upgrades = [\"example/2\"]", "example/2, websocket", false),
        ("upgrades = [\"example/2\"]", "websocket", false),
    ] {
        let gateway = server.gateway(&of, keys);
        // A connection of HTTP/2 is there already.
        assert_eq!(gateway.get(Protocol::Http1Tls13, "/").await.text(), "h2");
        let mut stream = gateway.connect().await;
        let asked = upgrade(protocol);
        stream.write_all(asked.as_bytes()).await.expect("open");
        let head = soon(read_until(&mut stream, "\r\n\r\n")).await;
        let is_switched = head.starts_with("HTTP/1.1 101");
        assert_eq!(is_switched, switches, "{keys} {protocol}: {head}");
        if switches {
            stream.write_all(b"hello").await.expect("open");
            soon(read_until(&mut stream, "hello")).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn upgrade_behind_a_body_or_in_old_http_is_none() {
    let of = Harness::start("", "upstream = \"demo\"\nallow = [\"any-trusted\"]\n");
    let server = Server::start(&of, &["http/1.1"]).await;
    let gateway = server.gateway(&of, "upgrades = [\"example/2\", \"websocket\"]");
    for head in [
        "POST / HTTP/1.1\r\nconnection: upgrade\r\nupgrade: websocket\r\n",
        "POST / HTTP/1.1\r\nconnection: upgrade\r\nupgrade: example/2\r\ncontent-length: 1\r\n",
        "POST / HTTP/1.1\r\nconnection: upgrade\r\nupgrade: example/2\r\ntransfer-encoding: chunked\r\n",
        "GET / HTTP/1.0\r\nconnection: upgrade\r\nupgrade: example/2\r\n",
        "GET / HTTP/1.1\r\nupgrade: example/2\r\n",
        "GET / HTTP/1.1\r\nconnection: upgrade\r\nupgrade: example/2\r\nupgrade: websocket\r\n",
    ] {
        let mut stream = gateway.connect().await;
        let body = match head {
            head if head.contains("chunked") => "0\r\n\r\n",
            head if head.contains("content-length") => "x",
            _ => "",
        };
        let asked = format!("{head}host: {HOST}\r\n\r\n{body}");
        stream.write_all(asked.as_bytes()).await.expect("open");
        let answer = soon(read_until(&mut stream, "http/1.1")).await;
        assert!(answer.contains(" 200 OK"), "{head}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn revoked_upstream_of_http2_is_left_at_once_by_everybody() {
    let of = Harness::start("", "upstream = \"demo\"\nallow = [\"any-trusted\"]\n");
    let server = Server::start(&of, &["h2"]).await;
    let gateway = server.gateway(&of, "");
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut sender = h2_client(&gateway).await;
        let (answer, _) = sender.send_request(post("/held"), true).expect("open");
        let mut body = soon(answer).await.expect("an answer").into_body();
        assert_eq!(
            soon(body.data()).await.expect("data").expect("data"),
            "begun"
        );
        held.push((body, sender));
    }
    assert_eq!(server.accepted(), 1);
    soon(gateway.revoke_of(&of.ca, &of.server.chain[0])).await;
    for (body, sender) in &mut held {
        let end = soon(body.data())
            .await
            .expect("a broken answer looks whole");
        end.expect_err("broken");
        // The client's own connection stands.
        let (answer, _) = sender.send_request(post("/"), true).expect("open");
        assert_eq!(soon(answer).await.expect("an answer").status(), 502);
    }
    let end_of_idle = soon(gateway.get(Protocol::Http1Tls13, "/")).await;
    assert_eq!(end_of_idle.status(), Some(502), "{end_of_idle:?}");
    // The three clients alone: nobody holds on to the upstream.
    soon(async {
        while gateway.enforcement.live() != held.len() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn upstream_of_http2_that_is_revoked_while_it_rests_gets_nothing_more() {
    let of = Harness::start("", "upstream = \"demo\"\nallow = [\"any-trusted\"]\n");
    let server = Server::start(&of, &["h2"]).await;
    let gateway = server.gateway(&of, "");
    assert_eq!(gateway.get(Protocol::Http2Tls13, "/").await.text(), "h2");
    // It rests, and no withdrawal waits for it.
    soon(async {
        while gateway.enforcement.live() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    soon(gateway.revoke_of(&of.ca, &of.server.chain[0])).await;
    for protocol in PROTOCOLS {
        let outcome = soon(gateway.get(protocol, "/")).await;
        assert_eq!(outcome.status(), Some(502), "{outcome:?}");
    }
    assert_eq!(server.accepted(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn reload_ends_streams_to_an_upstream_that_is_left_and_keeps_those_to_one_that_stays() {
    let of = Harness::start("", "upstream = \"demo\"\nallow = [\"any-trusted\"]\n");
    let server = Server::start(&of, &["h2"]).await;
    let gateway = server.gateway(&of, "");
    let mut sender = h2_client(&gateway).await;
    let (answer, _) = sender.send_request(post("/held"), true).expect("open");
    let mut body = soon(answer).await.expect("an answer").into_body();
    assert_eq!(
        soon(body.data()).await.expect("data").expect("data"),
        "begun"
    );
    let reload = async |trust: &str, keys: &str| {
        let route = format!(
            "upstream = \"https://{}\"\nupstream_tls = {{ trust = \"{trust}\", name = [\"{HOST}\"] }}\nallow = [\"any-trusted\"]\n{keys}\n",
            server.address
        );
        let plan = gateway.plan("", &route);
        soon(gateway.handle.reload(plan)).await.expect("reloads");
    };
    // Spoken to otherwise, it is still the same.
    for keys in ["idle", "upgrades = []", "upstream_protocol = \"h2\""] {
        reload("inner", keys.trim_start_matches("idle")).await;
        let waiting = timeout(Duration::from_millis(200), body.data()).await;
        assert!(waiting.is_err(), "{keys}: {waiting:?}");
    }
    // Under another bundle it is another one.
    reload("internal", "").await;
    let end = soon(body.data())
        .await
        .expect("a broken answer looks whole");
    end.expect_err("broken");
}
