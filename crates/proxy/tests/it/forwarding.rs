//! Bodies, upgrades and upstream connections.

use std::time::Duration;

use bytes::Bytes;
use countersign_testkit::bypass::Protocol;
use countersign_testkit::ephemeral;
use countersign_testkit::service::{Conversation, Service};
use http_body_util::Full;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::harness::{HOST, Harness, PROTOCOLS, get, request, to};

fn answer(conversation: &mut Conversation) -> bool {
    conversation.head().is_some()
        && conversation.send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
}

#[tokio::test(flavor = "multi_thread")]
async fn one_upstream_connection_serves_one_client_after_another() {
    let service = Service::start(|mut conversation| while answer(&mut conversation) {});
    let gateway = Harness::start("", &to(service.address()));
    for protocol in PROTOCOLS {
        for _ in 0..5 {
            assert_eq!(gateway.get(protocol, "/").await.text(), "ok");
        }
    }
    assert_eq!(service.accepted(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn upstream_that_closes_without_a_word_costs_no_request() {
    let service = Service::start(|mut conversation| {
        answer(&mut conversation);
    });
    let gateway = Harness::start("", &to(service.address()));
    let mut stream = gateway.connect().await;
    for round in 0..50 {
        stream
            .write_all(b"GET / HTTP/1.1\r\nhost: api.example.com\r\n\r\n")
            .await
            .expect("open");
        let head = read_until(&mut stream, "ok").await;
        assert!(head.starts_with("HTTP/1.1 200 OK"), "{round}: {head}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn upstream_in_trouble_is_a_bad_gateway_without_detail() {
    let closes_at_once = Service::start(|_| ());
    let speaks_nonsense = Service::start(|mut conversation| {
        conversation.head();
        conversation.send(b"220 smtp.example.com ESMTP\r\n");
    });
    for address in [
        ephemeral::address(),
        closes_at_once.address(),
        speaks_nonsense.address(),
    ] {
        let gateway = Harness::start("", &to(address));
        let outcome = gateway.get(Protocol::Http1Tls13, "/").await;
        assert_eq!(outcome.status(), Some(502), "{outcome:?}");
        assert!(!outcome.text().contains("127.0.0.1"), "{outcome:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_stream_both_ways_before_either_is_whole() {
    let service = Service::start(|mut conversation| {
        let head = conversation.head().unwrap_or_default().to_ascii_lowercase();
        assert!(
            head.contains("transfer-encoding: chunked") && head.contains("trailer: x-sum"),
            "{head}"
        );
        conversation
            .send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n");
        while let Some(chunk) = conversation.chunk() {
            conversation.send_chunk(&chunk);
        }
        let trailers = conversation.head().unwrap_or_default().to_ascii_lowercase();
        assert!(
            trailers.contains("x-sum: 1") && !trailers.contains("admin"),
            "{trailers}"
        );
        conversation.send(b"0\r\nx-sum: 2\r\n\r\n");
    });
    let gateway = Harness::start("", &to(service.address()));
    let mut stream = gateway.connect().await;
    let head = "POST / HTTP/1.1\r\nhost: api.example.com\r\nte: trailers\r\ntransfer-encoding: chunked\r\ntrailer: x-sum, x-client-cn\r\n\r\n";
    stream.write_all(head.as_bytes()).await.expect("open");
    read_until(&mut stream, "\r\n\r\n").await;
    for round in 0..3 {
        stream
            .write_all(format!("4\r\n{round}abc\r\n").as_bytes())
            .await
            .expect("open");
        read_until(&mut stream, &format!("{round}abc\r\n")).await;
    }
    stream
        .write_all(b"0\r\nx-sum: 1\r\nx-client-cn: admin\r\n\r\n")
        .await
        .expect("open");
    let end = read_until(&mut stream, "x-sum: 2\r\n\r\n").await;
    assert!(end.contains("0\r\n"), "{end}");
}

#[tokio::test(flavor = "multi_thread")]
async fn large_bodies_pass_unchanged_in_every_protocol() {
    let service = Service::start(|mut conversation| {
        while let Some(head) = conversation.head() {
            let head = head.to_ascii_lowercase();
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            let body = if let Some(length) = length {
                conversation.bytes(length).unwrap_or_default()
            } else {
                let mut body = Vec::new();
                while let Some(chunk) = conversation.chunk() {
                    body.extend(chunk);
                }
                conversation.head();
                body
            };
            conversation.send(
                format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len()).as_bytes(),
            );
            conversation.send(&body);
        }
    });
    let gateway = Harness::start("", &to(service.address()));
    let body: Bytes = (0..3_000_000_u32)
        .map(|number| number.to_le_bytes()[0] ^ 0x5a)
        .collect::<Vec<_>>()
        .into();
    for protocol in PROTOCOLS {
        let post = request(protocol, HOST, "/")
            .method("POST")
            .body(Full::new(body.clone()))
            .expect("a request");
        match gateway
            .client(protocol)
            .request(gateway.address(), post)
            .await
        {
            countersign_testkit::client::Outcome::Response { body: returned, .. } => {
                assert!(returned == body, "{protocol:?}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn client_that_asks_first_is_told_to_continue() {
    let service = Service::start(|mut conversation| {
        let head = conversation.head().unwrap_or_default().to_ascii_lowercase();
        assert!(!head.contains("expect"), "{head}");
        assert_eq!(conversation.bytes(5).as_deref(), Some(&b"hello"[..]));
        conversation.send(b"HTTP/1.1 204 No Content\r\n\r\n");
    });
    let gateway = Harness::start("", &to(service.address()));
    let mut stream = gateway.connect().await;
    let head = "PUT / HTTP/1.1\r\nhost: api.example.com\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n";
    stream.write_all(head.as_bytes()).await.expect("open");
    assert_eq!(
        read_until(&mut stream, "\r\n\r\n").await,
        "HTTP/1.1 100 Continue\r\n\r\n"
    );
    stream.write_all(b"hello").await.expect("open");
    assert!(
        read_until(&mut stream, "\r\n\r\n")
            .await
            .starts_with("HTTP/1.1 204")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_without_body_and_of_http_1_0_keep_the_connection() {
    let service = Service::start(|mut conversation| {
        while let Some(head) = conversation.head() {
            let answer: &[u8] = if head.starts_with("HEAD") {
                b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n"
            } else if head.contains("/304") {
                b"HTTP/1.1 304 Not Modified\r\netag: \"a\"\r\n\r\n"
            } else if head.contains("/early") {
                b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
            } else {
                conversation.send(b"HTTP/1.0 200 OK\r\nserver: old\r\n\r\nok");
                return;
            };
            conversation.send(answer);
        }
    });
    let gateway = Harness::start("", &to(service.address()));
    let mut stream = gateway.connect().await;
    for (request_line, end, part) in [
        ("HEAD /", "\r\n\r\n", "content-length: 1000"),
        ("GET /304", "\r\n\r\n", "HTTP/1.1 304"),
        ("GET /early", "ok", "HTTP/1.1 200"),
        ("GET /old", "2\r\nok\r\n0\r\n\r\n", "HTTP/1.1 200"),
        ("HEAD /", "\r\n\r\n", "content-length: 1000"),
    ] {
        stream
            .write_all(
                format!("{request_line} HTTP/1.1\r\nhost: api.example.com\r\n\r\n").as_bytes(),
            )
            .await
            .expect("open");
        let answer = read_until(&mut stream, end).await;
        assert!(answer.contains(part), "{request_line}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn websocket_passes_and_other_upgrades_do_not() {
    let service = Service::start(|mut conversation| {
        let head = conversation.head().unwrap_or_default().to_ascii_lowercase();
        if !head.contains("upgrade: websocket") {
            conversation.send(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nplain");
            return;
        }
        assert!(
            head.contains("connection: upgrade") && head.contains("x-client-cn: order-service"),
            "{head}"
        );
        conversation.send(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: x\r\n\r\nhi");
        while let Some(bytes) = conversation.bytes(4) {
            conversation.send(&bytes);
        }
    });
    let gateway = Harness::start("", &to(service.address()));
    let mut stream = gateway.connect().await;
    stream
        .write_all(upgrade("websocket").as_bytes())
        .await
        .expect("open");
    let head = read_until(&mut stream, "hi").await;
    assert!(
        head.starts_with("HTTP/1.1 101") && head.contains("sec-websocket-accept: x"),
        "{head}"
    );
    for word in ["ping", "pong"] {
        stream.write_all(word.as_bytes()).await.expect("open");
        assert_eq!(read_until(&mut stream, word).await, word);
    }
    let mut stream = gateway.connect().await;
    stream
        .write_all(upgrade("h2c").as_bytes())
        .await
        .expect("open");
    let head = read_until(&mut stream, "plain").await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
}

#[tokio::test(flavor = "multi_thread")]
async fn switch_that_nobody_asked_for_is_a_bad_gateway() {
    let service = Service::start(|mut conversation| {
        conversation.head();
        conversation.send(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n");
        conversation.bytes(1);
    });
    let gateway = Harness::start("", &to(service.address()));
    let outcome = tokio::time::timeout(
        Duration::from_secs(10),
        gateway.get(Protocol::Http1Tls13, "/"),
    )
    .await;
    assert_eq!(outcome.expect("an answer").status(), Some(502));
}

#[tokio::test(flavor = "multi_thread")]
async fn pipelined_requests_are_answered_in_order() {
    let service = Service::start(|mut conversation| {
        while let Some(head) = conversation.head() {
            let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
            conversation.send(
                format!(
                    "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{path}",
                    path.len()
                )
                .as_bytes(),
            );
        }
    });
    let gateway = Harness::start("", &to(service.address()));
    let mut stream = gateway.connect().await;
    let all: Vec<_> = (0..20)
        .map(|number| format!("GET /{number}/ HTTP/1.1\r\nhost: api.example.com\r\n\r\n"))
        .collect();
    let all = all.concat();
    stream.write_all(all.as_bytes()).await.expect("open");
    let answers = read_until(&mut stream, "/19/").await;
    let paths: Vec<_> = answers
        .lines()
        .filter(|line| line.starts_with('/'))
        .map(|line| line.split("HTTP").next().unwrap_or_default())
        .collect();
    assert_eq!(
        paths,
        (0..20)
            .map(|number| format!("/{number}/"))
            .collect::<Vec<_>>()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_of_one_connection_do_not_wait_for_each_other() {
    let service = Service::start(|mut conversation| {
        let head = conversation.head().unwrap_or_default();
        if head.contains("/slow") {
            std::thread::sleep(Duration::from_millis(300));
        }
        conversation.send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok");
    });
    let gateway = Harness::start("", &to(service.address()));
    let stream = gateway
        .client(Protocol::Http2Tls13)
        .connect(gateway.address())
        .await
        .expect("a connection");
    let io = hyper_util::rt::TokioIo::new(stream);
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(hyper_util::rt::TokioExecutor::new(), io)
            .await
            .expect("h2");
    tokio::spawn(connection);
    let slow = sender.send_request(get(Protocol::Http2Tls13, "/slow"));
    let fast = sender.send_request(get(Protocol::Http2Tls13, "/fast"));
    tokio::pin!(slow);
    tokio::select! {
        _ = &mut slow => panic!("the slow one came first"),
        fast = fast => assert_eq!(fast.expect("an answer").status(), 200),
    }
    assert_eq!(slow.await.expect("an answer").status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn upstream_that_knows_the_connection_serves_one_client_on_it() {
    for protocol in PROTOCOLS {
        check_private(protocol).await;
    }
}

async fn check_private(protocol: Protocol) {
    let service = Service::start(|mut conversation| {
        while let Some(head) = conversation.head() {
            let challenge = if head.contains("/challenge") {
                "WWW-Authenticate: Basic realm=\"a\", Negotiate\r\n"
            } else {
                ""
            };
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n{challenge}\r\nok");
            conversation.send(answer.as_bytes());
        }
    });
    let gateway = Harness::start("", &to(service.address()));
    let send = async |path: &str, authorization: &str| {
        let get = request(protocol, HOST, path)
            .header("authorization", authorization)
            .body(Full::default())
            .expect("a request");
        let client = gateway.client(protocol);
        assert_eq!(client.request(gateway.address(), get).await.text(), "ok");
        service.accepted()
    };
    assert_eq!(send("/", "Bearer negotiated").await, 1);
    assert_eq!(send("/", "ntlm TlRMTVNTUAAB").await, 1);
    assert_eq!(send("/", "Negotiate YII=").await, 2);
    assert_eq!(send("/challenge", "Basic YTpi").await, 3);
    assert_eq!(send("/", "Basic YTpi").await, 4);
    assert_eq!(send("/", "Basic YTpi").await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn early_answer_leaves_no_connection_that_waits_for_a_body() {
    let (told, ended) = std::sync::mpsc::channel();
    let service = Service::start(move |mut conversation| {
        if answer(&mut conversation) {
            conversation.bytes(5);
            let _ = told.send(());
        }
    });
    let gateway = Harness::start("", &to(service.address()));
    let mut stream = gateway.connect().await;
    stream
        .write_all(b"PUT / HTTP/1.1\r\nhost: api.example.com\r\ncontent-length: 5\r\n\r\n")
        .await
        .expect("open");
    read_until(&mut stream, "ok").await;
    // Long before anybody looks after idle connections.
    ended
        .recv_timeout(Duration::from_secs(2))
        .expect("closed at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn chunked_answer_that_claims_a_length_loses_the_claim() {
    let service = Service::start(|mut conversation| {
        while conversation.head().is_some() {
            conversation.send(b"HTTP/1.1 200 OK\r\ncontent-length: 40\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n");
        }
    });
    let gateway = Harness::start("", &to(service.address()));
    for protocol in PROTOCOLS {
        let outcome = gateway.get(protocol, "/").await;
        assert_eq!(outcome.text(), "ok", "{protocol:?}");
        let countersign_testkit::client::Outcome::Response { headers, .. } = outcome else {
            panic!("{outcome:?}");
        };
        assert!(!headers.contains_key("content-length"), "{protocol:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn body_is_kept_whatever_the_method() {
    let service = Service::start(|mut conversation| {
        while let Some(head) = conversation.head() {
            let chunked = head.to_ascii_lowercase().contains("chunked");
            let mut body = Vec::new();
            while let Some(chunk) = chunked.then(|| conversation.chunk()).flatten() {
                body.extend(chunk);
            }
            if chunked {
                conversation.head();
            }
            let answer = format!(
                "HTTP/1.1 200 OK\r\nx-body: {}\r\ncontent-length: 0\r\n\r\n",
                String::from_utf8_lossy(&body)
            );
            conversation.send(answer.as_bytes());
        }
    });
    let gateway = Harness::start("", &to(service.address()));
    let h2 = gateway
        .client(Protocol::Http2Tls13)
        .connect(gateway.address())
        .await
        .expect("a connection");
    let io = hyper_util::rt::TokioIo::new(h2);
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(hyper_util::rt::TokioExecutor::new(), io)
            .await
            .expect("h2");
    tokio::spawn(connection);
    for method in ["GET", "HEAD", "DELETE", "OPTIONS", "SEARCH"] {
        let mut stream = gateway.connect().await;
        let sent = format!(
            "{method} / HTTP/1.1\r\nhost: api.example.com\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
        );
        stream.write_all(sent.as_bytes()).await.expect("open");
        let head = read_until(&mut stream, "\r\n\r\n").await;
        assert!(head.contains("x-body: hello"), "{method}: {head}");

        let frames = ["hel", "lo"].map(|part| {
            let frame = http_body::Frame::data(Bytes::from_static(part.as_bytes()));
            Ok::<_, std::convert::Infallible>(frame)
        });
        let body = http_body_util::StreamBody::new(futures_util::stream::iter(frames));
        let sent = request(Protocol::Http2Tls13, HOST, "/")
            .method(method)
            .body(body)
            .expect("a request");
        let answer = sender.send_request(sent).await.expect("an answer");
        assert_eq!(answer.headers()["x-body"], "hello", "{method}");
    }
}

pub(crate) fn upgrade(protocol: &str) -> String {
    format!(
        "GET /ws HTTP/1.1\r\nhost: api.example.com\r\nconnection: Upgrade\r\nupgrade: {protocol}\r\nsec-websocket-key: x\r\n\r\n"
    )
}

/// Reads until what came ends so.
pub(crate) async fn read_until(stream: &mut (impl AsyncReadExt + Unpin), end: &str) -> String {
    let mut text = String::new();
    let reading = async {
        while !text.ends_with(end) {
            let mut buffer = [0; 4096];
            let count = stream.read(&mut buffer).await.expect("readable");
            assert!(count > 0, "ended after {text:?}");
            text.push_str(&String::from_utf8_lossy(&buffer[..count]));
        }
    };
    let done = tokio::time::timeout(Duration::from_secs(20), reading).await;
    assert!(done.is_ok(), "hangs after {text:?}, wanted {end:?}");
    text
}
