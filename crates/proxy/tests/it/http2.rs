//! Upstreams that are spoken to in HTTP/2: what they get, what they may do, and what becomes of the requests of clients.

use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use countersign_testkit::bypass::Protocol;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::forwarding::{read_until, upgrade};
use crate::harness::{HOST, Harness, PROTOCOLS, request};

/// A server of HTTP/2 over plaintext.
pub(crate) struct Service {
    address: SocketAddr,
    accepted: Arc<AtomicUsize>,
}

impl Service {
    /// `serve` has each stream, with the number of its connection, from 0.
    pub(crate) async fn start<F>(
        serve: impl Fn(usize, Request<RecvStream>, SendResponse<Bytes>) -> F + Clone + Send + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::start_with(h2::server::Builder::new(), serve).await
    }

    pub(crate) async fn start_with<F>(
        builder: h2::server::Builder,
        serve: impl Fn(usize, Request<RecvStream>, SendResponse<Bytes>) -> F + Clone + Send + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::start_connections(move |number, socket| {
            let (builder, serve) = (builder.clone(), serve.clone());
            async move {
                let Ok(mut connection) = builder.handshake::<_, Bytes>(socket).await else {
                    return;
                };
                while let Some(Ok((request, answer))) = connection.accept().await {
                    tokio::spawn(serve(number, request, answer));
                }
            }
        })
        .await
    }

    /// `serve` has each connection, with its number.
    pub(crate) async fn start_connections<F>(
        serve: impl Fn(usize, tokio::net::TcpStream) -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let address = listener.local_addr().expect("bound");
        let accepted = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&accepted);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let number = counter.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(number, socket));
            }
        });
        Self { address, accepted }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    pub(crate) fn route(&self) -> String {
        format!(
            "upstream = \"http://{}\"\nupstream_protocol = \"h2\"\nallow = [\"any-trusted\"]\n",
            self.address
        )
    }
}

/// Answers with what it was asked, one header a line.
fn answer_with_request(request: &Request<RecvStream>, mut answer: SendResponse<Bytes>) {
    let mut text = format!("{} {}\n", request.method(), request.uri());
    for (name, value) in request.headers() {
        let value = String::from_utf8_lossy(value.as_bytes());
        let _ = writeln!(text, "{name}: {value}");
    }
    if let Ok(mut body) = answer.send_response(Response::new(()), false) {
        let _ = body.send_data(text.into(), true);
    }
}

fn answer_ok(mut answer: SendResponse<Bytes>) {
    if let Ok(mut body) = answer.send_response(Response::new(()), false) {
        let _ = body.send_data(Bytes::from_static(b"ok"), true);
    }
}

/// A client's own connection of HTTP/2, by the `h2` crate.
pub(crate) async fn h2_client(gateway: &Harness) -> h2::client::SendRequest<Bytes> {
    let stream = gateway
        .client(Protocol::Http2Tls13)
        .connect(gateway.address())
        .await
        .expect("a connection");
    let (sender, connection) = h2::client::handshake(stream).await.expect("h2");
    tokio::spawn(connection);
    sender
}

pub(crate) fn post(path: &str) -> Request<()> {
    Request::post(format!("https://{HOST}{path}"))
        .body(())
        .expect("a request")
}

/// What comes in time.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(10), future)
        .await
        .expect("in time")
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_every_protocol_share_one_connection_and_say_who_asks() {
    let service = Service::start(|_, request, answer| async move {
        answer_with_request(&request, answer);
    })
    .await;
    let gateway = Harness::start("", &service.route());
    for protocol in PROTOCOLS {
        for path in ["/a/%2e?x=%20&y", "/", "/a//b;c?"] {
            let forged = request(protocol, HOST, path)
                .header("x-client-cn", "admin")
                .header("te", "trailers")
                .body(Full::default())
                .expect("a request");
            let outcome = gateway
                .client(protocol)
                .request(gateway.address(), forged)
                .await;
            let text = outcome.text();
            assert!(
                text.starts_with(&format!("GET http://{HOST}{path}\n")),
                "{outcome:?}"
            );
            assert!(text.contains("x-forwarded-client-cert: "), "{text}");
            assert!(text.contains("\nte: trailers\n"), "{text}");
            for absent in ["admin", "\nhost:", "\nconnection:", "transfer-encoding"] {
                assert!(!text.contains(absent), "{absent}: {text}");
            }
        }
    }
    assert_eq!(service.accepted(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_come_at_once_wait_for_one_connection() {
    let service = Service::start(|_, _, answer| async move { answer_ok(answer) }).await;
    let gateway = Harness::start("", &service.route());
    let sender = h2_client(&gateway).await;
    let asking = (0..50).map(|_| {
        let mut sender = sender.clone();
        async move {
            let (answer, _) = sender.send_request(post("/"), true).expect("open");
            answer.await.expect("an answer").status()
        }
    });
    let statuses = soon(futures_util::future::join_all(asking)).await;
    assert!(statuses.iter().all(|status| *status == StatusCode::OK));
    assert_eq!(service.accepted(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_an_upstream_takes_at_once_goes_over_another_connection() {
    let mut builder = h2::server::Builder::new();
    builder.max_concurrent_streams(2);
    let held = Arc::new(tokio::sync::Semaphore::new(0));
    let gate = Arc::clone(&held);
    let service = Service::start_with(builder, move |_, request, answer| {
        let gate = Arc::clone(&gate);
        async move {
            if request.uri().path() == "/held" {
                let _ = gate.acquire().await;
            }
            answer_ok(answer);
        }
    })
    .await;
    let gateway = Harness::start("", &service.route());
    // Behind this, the gateway has heard how many.
    assert_eq!(gateway.get(Protocol::Http2Tls13, "/").await.text(), "ok");
    let mut sender = h2_client(&gateway).await;
    let mut answers = Vec::new();
    for _ in 0..5 {
        answers.push(sender.send_request(post("/held"), true).expect("open").0);
    }
    // One that is not held gets through beside them.
    assert_eq!(
        soon(gateway.get(Protocol::Http2Tls13, "/")).await.text(),
        "ok"
    );
    assert_eq!(service.accepted(), 3);
    held.close();
    for answer in answers {
        assert_eq!(soon(answer).await.expect("an answer").status(), 200);
    }
}

/// The first connection does as `first` says, the others answer.
async fn check_first(
    first: impl Fn(usize, SendResponse<Bytes>) + Clone + Send + Sync + 'static,
) -> (Service, Harness) {
    let service = Service::start(move |number, _, answer| {
        let first = first.clone();
        async move {
            if number == 0 {
                first(number, answer);
            } else {
                answer_ok(answer);
            }
        }
    })
    .await;
    let gateway = Harness::start("", &service.route());
    (service, gateway)
}

#[tokio::test(flavor = "multi_thread")]
async fn request_that_was_refused_unprocessed_is_sent_again_and_another_that_may_have_been_is_not()
{
    let (service, gateway) =
        check_first(|_, mut answer| answer.send_reset(Reason::REFUSED_STREAM)).await;
    let mut sender = h2_client(&gateway).await;
    let (answer, _) = sender.send_request(post("/"), true).expect("open");
    assert_eq!(soon(answer).await.expect("an answer").status(), 200);
    assert_eq!(service.accepted(), 2);

    for reason in [Reason::CANCEL, Reason::INTERNAL_ERROR, Reason::NO_ERROR] {
        let (service, gateway) = check_first(move |_, mut answer| answer.send_reset(reason)).await;
        let mut sender = h2_client(&gateway).await;
        let (answer, _) = sender.send_request(post("/"), true).expect("open");
        let status = soon(answer).await.expect("an answer").status();
        assert_eq!(status, StatusCode::BAD_GATEWAY, "{reason:?}");
        assert_eq!(service.accepted(), 1, "{reason:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn request_beyond_the_last_of_a_goaway_is_sent_again_and_one_before_it_is_not() {
    for (last, status, connections) in [(0_u8, 200, 2), (1, 502, 1)] {
        let service = Service::start_connections(move |number, mut socket| async move {
            if number > 0 {
                let mut connection = h2::server::handshake(socket).await.expect("h2");
                while let Some(Ok((_, answer))) = connection.accept().await {
                    answer_ok(answer);
                }
                return;
            }
            read_to_headers(&mut socket).await;
            let goaway = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, last, 0, 0, 0, 0];
            let _ = socket.write_all(&goaway).await;
            if last > 0 {
                // It had it, and dies.
                return;
            }
            let _ = socket.read_to_end(&mut Vec::new()).await;
        })
        .await;
        let gateway = Harness::start("", &service.route());
        let mut sender = h2_client(&gateway).await;
        let (answer, _) = sender.send_request(post("/"), true).expect("open");
        let answered = soon(answer).await.expect("an answer").status();
        assert_eq!(answered, status, "last stream {last}");
        assert_eq!(service.accepted(), connections, "last stream {last}");
    }
}

/// Greets as a server of HTTP/2, and reads until a request's headers have come.
async fn read_to_headers(socket: &mut tokio::net::TcpStream) {
    let _ = socket.write_all(&SETTINGS).await;
    let mut preface = [0; 24];
    socket.read_exact(&mut preface).await.expect("a preface");
    loop {
        let mut head = [0; 9];
        socket.read_exact(&mut head).await.expect("a frame");
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let mut rest = vec![0; length];
        socket.read_exact(&mut rest).await.expect("a whole frame");
        if head[3] == HEADERS {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn body_that_has_begun_is_never_sent_again() {
    let service = Service::start(|number, request, mut answer| async move {
        let mut body = request.into_body();
        if number == 0 {
            let _ = body.data().await;
            answer.send_reset(Reason::REFUSED_STREAM);
        } else {
            answer_ok(answer);
        }
    })
    .await;
    let gateway = Harness::start("", &service.route());
    let mut sender = h2_client(&gateway).await;
    let (answer, mut body) = sender.send_request(post("/"), false).expect("open");
    body.send_data("begun".into(), false).expect("open");
    assert_eq!(soon(answer).await.expect("an answer").status(), 502);
    assert_eq!(service.accepted(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn upstream_that_refuses_everything_is_not_asked_for_ever() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    let service = Service::start(move |_, _, mut answer| {
        counter.fetch_add(1, Ordering::SeqCst);
        async move { answer.send_reset(Reason::REFUSED_STREAM) }
    })
    .await;
    let gateway = Harness::start("", &service.route());
    for round in 1..=20 {
        let outcome = soon(gateway.get(Protocol::Http2Tls13, "/")).await;
        assert_eq!(outcome.status(), Some(502), "{outcome:?}");
        assert_eq!(asked.load(Ordering::SeqCst), 5 * round);
    }
    assert_eq!(service.accepted(), 2, "refusals make no connections");
}

#[tokio::test(flavor = "multi_thread")]
async fn client_that_resets_a_stream_resets_it_at_the_upstream_and_no_other() {
    let (told, mut tell) = tokio::sync::mpsc::unbounded_channel();
    let service = Service::start(move |_, request, mut answer| {
        let told = told.clone();
        async move {
            if request.uri().path() == "/" {
                return answer_ok(answer);
            }
            if request.uri().path() == "/answering" {
                let mut body = answer
                    .send_response(Response::new(()), false)
                    .expect("open");
                body.send_data("begun".into(), false).expect("open");
                let reason = std::future::poll_fn(|cx| body.poll_reset(cx)).await;
                return told.send(reason.expect("a reset")).expect("heard");
            }
            let reason = std::future::poll_fn(|cx| answer.poll_reset(cx)).await;
            told.send(reason.expect("a reset")).expect("heard");
        }
    })
    .await;
    let gateway = Harness::start("", &service.route());
    let mut sender = h2_client(&gateway).await;
    for (path, is_end) in [
        ("/waiting", true),
        ("/waiting", false),
        ("/answering", true),
        ("/answering", false),
    ] {
        let (answer, mut body) = sender.send_request(post(path), is_end).expect("open");
        let answer = if path == "/answering" {
            let mut incoming = soon(answer).await.expect("an answer").into_body();
            assert_eq!(
                soon(incoming.data()).await.expect("data").expect("data"),
                "begun"
            );
            None
        } else {
            // It has reached the upstream when a later one is answered.
            let (other, _) = sender.send_request(post("/"), true).expect("open");
            assert_eq!(soon(other).await.expect("an answer").status(), 200);
            Some(answer)
        };
        body.send_reset(Reason::CANCEL);
        drop(answer);
        let reason = soon(tell.recv()).await.expect("told");
        assert_eq!(reason, Reason::CANCEL, "{path} {is_end}");
    }
    let (answer, _) = sender.send_request(post("/"), true).expect("open");
    assert_eq!(soon(answer).await.expect("an answer").status(), 200);
    assert_eq!(service.accepted(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn client_that_goes_away_with_half_a_body_sent_ends_its_stream_alone() {
    let (told, mut tell) = tokio::sync::mpsc::unbounded_channel();
    let service = Service::start(move |_, request, answer| {
        let told = told.clone();
        async move {
            let is_whole = request.uri().path() == "/";
            let mut body = request.into_body();
            if is_whole {
                return answer_ok(answer);
            }
            while let Some(data) = body.data().await {
                match data {
                    Ok(data) => assert_eq!(&data[..], b"half"),
                    Err(_) => return told.send(()).expect("heard"),
                }
            }
            panic!("a broken body looks whole");
        }
    })
    .await;
    let gateway = Harness::start("", &service.route());
    for framing in [
        "transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        "content-length: 9\r\n\r\nhalf",
    ] {
        let mut stream = gateway.connect().await;
        let head = format!("POST /half HTTP/1.1\r\nhost: {HOST}\r\n{framing}");
        stream.write_all(head.as_bytes()).await.expect("open");
        assert_eq!(gateway.get(Protocol::Http1Tls13, "/").await.text(), "ok");
        drop(stream);
        soon(tell.recv()).await.expect("told");
    }
    assert_eq!(gateway.get(Protocol::Http1Tls13, "/").await.text(), "ok");
    assert_eq!(service.accepted(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn client_that_takes_nothing_holds_up_nobody_else_on_the_connection() {
    let service = Service::start(|_, request, mut answer| async move {
        if request.uri().path() == "/" {
            return answer_ok(answer);
        }
        let mut body = answer
            .send_response(Response::new(()), false)
            .expect("open");
        loop {
            body.reserve_capacity(16 * 1024);
            match std::future::poll_fn(|cx| body.poll_capacity(cx)).await {
                Some(Ok(room)) => {
                    let _ = body.send_data(vec![b'a'; room].into(), false);
                }
                _ => return,
            }
        }
    })
    .await;
    let gateway = Harness::start("", &service.route());
    let mut stalled = Vec::new();
    for _ in 0..20 {
        let mut sender = h2_client(&gateway).await;
        let (answer, _) = sender.send_request(post("/endless"), true).expect("open");
        stalled.push((soon(answer).await.expect("an answer"), sender));
    }
    for protocol in PROTOCOLS {
        assert_eq!(soon(gateway.get(protocol, "/")).await.text(), "ok");
    }
    assert_eq!(service.accepted(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_pass_both_ways_without_what_does_not_belong_there() {
    let service = Service::start(|_, request, mut answer| async move {
        let mut body = request.into_body();
        while let Some(data) = body.data().await {
            let _ = body
                .flow_control()
                .release_capacity(data.expect("data").len());
        }
        let trailers = body.trailers().await.expect("whole").unwrap_or_default();
        let mut names: Vec<_> = trailers
            .keys()
            .map(|name| name.as_str().to_owned())
            .collect();
        names.sort_unstable();
        let mut sent = answer
            .send_response(Response::new(()), false)
            .expect("open");
        sent.send_data(names.join(" ").into(), false).expect("open");
        let mut back = HeaderMap::new();
        back.insert("grpc-status", HeaderValue::from_static("0"));
        back.insert("set-cookie", HeaderValue::from_static("a=b"));
        back.insert("content-length", HeaderValue::from_static("1"));
        sent.send_trailers(back).expect("open");
    })
    .await;
    let gateway = Harness::start("", &service.route());
    let mut sender = h2_client(&gateway).await;
    let (answer, mut body) = sender.send_request(post("/"), false).expect("open");
    body.send_data("x".into(), false).expect("open");
    let mut trailers = HeaderMap::new();
    for name in [
        "x-sum",
        "x-forwarded-client-cert",
        "x_forwarded_client_cert",
        "x-client-cn",
        "authorization",
        "host",
        "content-length",
    ] {
        trailers.insert(name, HeaderValue::from_static("1"));
    }
    body.send_trailers(trailers).expect("open");
    let mut incoming = soon(answer).await.expect("an answer").into_body();
    let got = soon(incoming.data()).await.expect("data").expect("data");
    assert_eq!(got, "x-sum");
    let _ = incoming.flow_control().release_capacity(got.len());
    let back = soon(incoming.trailers())
        .await
        .expect("whole")
        .expect("trailers");
    let names: Vec<_> = back.keys().map(http::HeaderName::as_str).collect();
    assert_eq!(names, ["grpc-status"]);

    // HTTP/1.1 on the client's side.
    let mut stream = gateway.connect().await;
    let head = format!(
        "POST / HTTP/1.1\r\nhost: {HOST}\r\nte: trailers\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nx-sum: 1\r\nx-client-cn: admin\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.expect("open");
    let text = read_until(&mut stream, "0\r\n\r\n").await;
    assert!(
        text.contains("x-sum") && !text.contains("x-client-cn"),
        "{text}"
    );
}

/// Some upstreams merge trailers with the headers that the policy was asked about.
#[tokio::test(flavor = "multi_thread")]
async fn header_that_a_rule_goes_by_does_not_come_behind_the_body() {
    let rules = "deny = [{ header = { x-role = [\"admin\"] } }, { not = { header = { x-env = [\"test\"] } } }]";
    let service = Service::start(|_, request, answer| async move {
        let mut body = request.into_body();
        while let Some(data) = body.data().await {
            let read = data.expect("data").len();
            let _ = body.flow_control().release_capacity(read);
        }
        let trailers = body.trailers().await.expect("whole").unwrap_or_default();
        let names: Vec<_> = trailers.keys().map(http::HeaderName::as_str).collect();
        assert_eq!(names, ["x-sum"]);
        answer_ok(answer);
    })
    .await;
    let gateway = Harness::start("", &format!("{}{rules}\n", service.route()));
    let mut sender = h2_client(&gateway).await;
    let mut request = post("/");
    let env = HeaderValue::from_static("test");
    request.headers_mut().insert("x-env", env);
    let (answer, mut body) = sender.send_request(request, false).expect("open");
    let mut trailers = HeaderMap::new();
    for name in ["x-role", "x_role", "x-env", "x_env", "x-sum"] {
        trailers.insert(name, HeaderValue::from_static("admin"));
    }
    body.send_trailers(trailers).expect("open");
    assert_eq!(soon(answer).await.expect("an answer").status(), 200);

    let mut stream = gateway.connect().await;
    let head = format!(
        "POST / HTTP/1.1\r\nhost: {HOST}\r\nx-env: test\r\nte: trailers\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nX-Role: admin\r\nx_role: admin\r\nx-sum: 1\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.expect("open");
    let text = read_until(&mut stream, "0\r\n\r\n").await;
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
}

/// A server may answer GOAWAY to who resets too much (Envoy, nghttp2), which would cut off everybody on the connection.
#[tokio::test(flavor = "multi_thread")]
async fn what_clients_give_up_does_not_add_up_on_one_connection_of_an_upstream() {
    const CLIENTS: usize = 4;
    const EACH: usize = 200;
    let (told, mut tell) = tokio::sync::mpsc::unbounded_channel();
    let service = Service::start(move |connection, request, mut answer| {
        let told = told.clone();
        async move {
            if request.uri().path() == "/" {
                return answer_ok(answer);
            }
            told.send(connection).expect("heard");
            let _ = std::future::poll_fn(|cx| answer.poll_reset(cx)).await;
        }
    })
    .await;
    let gateway = Harness::start("", &service.route());
    let mut resets = std::collections::HashMap::<usize, usize>::new();
    for _ in 0..CLIENTS {
        let mut sender = h2_client(&gateway).await;
        for _ in 0..EACH {
            let (answer, mut body) = sender.send_request(post("/wait"), false).expect("open");
            *resets
                .entry(soon(tell.recv()).await.expect("a request"))
                .or_default() += 1;
            body.send_reset(Reason::CANCEL);
            drop(answer);
            let (answer, _) = sender.send_request(post("/"), true).expect("open");
            assert_eq!(soon(answer).await.expect("an answer").status(), 200);
        }
    }
    assert_eq!(resets.values().sum::<usize>(), CLIENTS * EACH);
    assert!(resets.values().all(|&count| count <= 210), "{resets:?}");
    let connections = service.accepted();
    assert!((4..=40).contains(&connections), "{connections}");
}

/// An upload that is not done when its answer is ends with a reset, and so does one that its client breaks.
#[tokio::test(flavor = "multi_thread")]
async fn uploads_that_are_reset_do_not_add_up_on_one_connection_of_an_upstream() {
    const EACH: usize = 450;
    let (told, mut tell) = tokio::sync::mpsc::unbounded_channel();
    let service = Service::start(move |connection, request, answer| {
        let told = told.clone();
        async move {
            let is_early = request.uri().path() == "/early";
            let mut body = request.into_body();
            if is_early {
                answer_ok(answer);
            } else {
                let _ = body.data().await;
            }
            while let Some(Ok(_)) = body.data().await {}
            told.send(connection).expect("heard");
        }
    })
    .await;
    let gateway = Harness::start("", &service.route());
    let mut resets = std::collections::HashMap::<usize, usize>::new();
    let mut sender = h2_client(&gateway).await;
    for _ in 0..EACH {
        let (answer, _body) = sender.send_request(post("/early"), false).expect("open");
        let mut answer = soon(answer).await.expect("an answer").into_body();
        while let Some(data) = soon(answer.data()).await {
            let _ = data.expect("data");
        }
        let connection = soon(tell.recv()).await.expect("told");
        *resets.entry(connection).or_default() += 1;
    }
    for _ in 0..EACH {
        let mut stream = gateway.connect().await;
        let request = format!(
            "POST /broken HTTP/1.1\r\nhost: {HOST}\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\nno number\r\n"
        );
        stream.write_all(request.as_bytes()).await.expect("open");
        let connection = soon(tell.recv()).await.expect("told");
        *resets.entry(connection).or_default() += 1;
    }
    assert_eq!(resets.values().sum::<usize>(), 2 * EACH);
    assert!(resets.values().all(|&count| count <= 210), "{resets:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_that_come_to_their_end_cost_no_connection() {
    let service = Service::start(|_, request, answer| async move {
        let mut body = request.into_body();
        while let Some(Ok(data)) = body.data().await {
            let _ = body.flow_control().release_capacity(data.len());
        }
        answer_ok(answer);
    })
    .await;
    let gateway = Harness::start("", &service.route());
    let mut sender = h2_client(&gateway).await;
    for round in 0..450 {
        let (answer, mut body) = sender.send_request(post("/"), false).expect("open");
        body.send_data("all".into(), round % 2 == 0).expect("open");
        if round % 2 == 1 {
            body.send_trailers(HeaderMap::new()).expect("open");
        }
        assert_eq!(soon(answer).await.expect("an answer").status(), 200);
    }
    for _ in 0..450 {
        let mut stream = gateway.connect().await;
        let request = format!(
            "POST / HTTP/1.1\r\nhost: {HOST}\r\ntransfer-encoding: chunked\r\n\r\n3\r\nall\r\n0\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.expect("open");
        let answer = read_until(&mut stream, "0\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    assert_eq!(service.accepted(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn upstream_that_resets_and_resets_costs_its_own_requests_only() {
    let service = Service::start(|_, request, mut answer| async move {
        if request.uri().path() == "/" {
            return answer_ok(answer);
        }
        let reason: u32 = request.uri().path()[1..].parse().expect("a reason");
        let mut body = answer
            .send_response(Response::new(()), false)
            .expect("open");
        let _ = body.send_data("begun".into(), false);
        let _ = request.into_body().data().await;
        body.send_reset(reason.into());
    })
    .await;
    let gateway = Harness::start("", &service.route());
    let mut sender = h2_client(&gateway).await;
    for round in 0..400 {
        let reason = [
            Reason::ENHANCE_YOUR_CALM,
            Reason::CANCEL,
            Reason::INTERNAL_ERROR,
            Reason::NO_ERROR,
        ][round % 4];
        sender = sender.ready().await.expect("open");
        let path = format!("/{}", u32::from(reason));
        let (answer, mut sent) = sender.send_request(post(&path), false).expect("open");
        let mut body = soon(answer).await.expect("an answer").into_body();
        assert_eq!(
            soon(body.data()).await.expect("data").expect("data"),
            "begun"
        );
        sent.send_data("now".into(), true).expect("open");
        let end = soon(body.data())
            .await
            .expect("a broken answer looks whole");
        let expected = match reason {
            // It would say that nothing is wrong.
            Reason::NO_ERROR => Reason::INTERNAL_ERROR,
            reason => reason,
        };
        assert_eq!(end.expect_err("broken").reason(), Some(expected));
    }
    assert_eq!(gateway.get(Protocol::Http1Tls13, "/").await.text(), "ok");
    assert_eq!(service.accepted(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn request_that_its_client_cuts_short_never_looks_whole() {
    let (told, mut tell) = tokio::sync::mpsc::unbounded_channel();
    let over_http1 = told.clone();
    let service = Service::start(move |_, request, _answer| {
        let told = told.clone();
        async move {
            let mut body = request.into_body();
            while let Some(data) = body.data().await {
                if data.is_err() {
                    return told.send("broken").expect("heard");
                }
                told.send("data").expect("heard");
            }
            told.send("whole").expect("heard");
        }
    })
    .await;
    let http1 = countersign_testkit::service::Service::start(move |mut conversation| {
        conversation.head();
        while let Some(chunk) = conversation.chunk() {
            assert_eq!(chunk, b"half");
            over_http1.send("data").expect("heard");
        }
        // Behind the last chunk there is an empty line, behind a broken one nothing.
        let end = conversation.head().map_or("broken", |_| "whole");
        over_http1.send(end).expect("heard");
    });
    for route in [service.route(), crate::harness::to(http1.address())] {
        let gateway = Harness::start("", &route);
        for reason in [Reason::NO_ERROR, Reason::CANCEL, Reason::INTERNAL_ERROR] {
            let mut sender = h2_client(&gateway).await;
            let (_answer, mut body) = sender.send_request(post("/"), false).expect("open");
            body.send_data("half".into(), false).expect("open");
            assert_eq!(soon(tell.recv()).await, Some("data"));
            body.send_reset(reason);
            assert_eq!(soon(tell.recv()).await, Some("broken"), "{reason:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn client_that_resets_and_resets_loses_its_connection_and_nobody_elses() {
    let service = Service::start(|_, request, answer| async move {
        if request.uri().path() == "/" {
            return answer_ok(answer);
        }
        std::future::pending::<()>().await;
    })
    .await;
    let gateway = Harness::start("", &service.route());
    let mut flood = gateway
        .client(Protocol::Http2Tls13)
        .connect(gateway.address())
        .await
        .expect("a connection");
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(SETTINGS);
    // :method GET, :scheme https, :path /, and :authority as a literal.
    let mut block = vec![
        0x82,
        0x87,
        0x84,
        0x01,
        u8::try_from(HOST.len()).expect("short"),
    ];
    block.extend(HOST.as_bytes());
    for stream in (1..20_000_u32).step_by(2) {
        bytes.extend([0, 0, u8::try_from(block.len()).expect("short"), HEADERS, 5]);
        bytes.extend(stream.to_be_bytes());
        bytes.extend(&block);
        bytes.extend([0, 0, 4, 3, 0]);
        bytes.extend(stream.to_be_bytes());
        bytes.extend([0, 0, 0, 8]);
    }
    let (mut reading, mut writing) = tokio::io::split(&mut flood);
    let read = async {
        let mut read = Vec::new();
        let _ = reading.read_to_end(&mut read).await;
        read
    };
    let (_, read) = soon(async { tokio::join!(writing.write_all(&bytes), read) }).await;
    // GOAWAY with ENHANCE_YOUR_CALM.
    let goaway = read
        .windows(17)
        .any(|frame| frame[3] == 7 && frame[13..17] == [0, 0, 0, 11]);
    assert!(goaway, "{} bytes without it", read.len());
    assert_eq!(gateway.get(Protocol::Http2Tls13, "/").await.text(), "ok");
    assert_eq!(service.accepted(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn upstream_with_too_much_head_is_a_bad_gateway() {
    let service = Service::start(|_, request, mut answer| async move {
        if request.uri().path() == "/" {
            return answer_ok(answer);
        }
        let large = "a".repeat(100 * 1024);
        let response = Response::builder().header("x-large", large).body(());
        let _ = answer.send_response(response.expect("a response"), true);
    })
    .await;
    let gateway = Harness::start("", &service.route());
    for _ in 0..3 {
        let outcome = soon(gateway.get(Protocol::Http2Tls13, "/large")).await;
        assert_eq!(outcome.status(), Some(502), "{outcome:?}");
    }
    assert_eq!(gateway.get(Protocol::Http2Tls13, "/").await.text(), "ok");
}

#[tokio::test(flavor = "multi_thread")]
async fn upstream_that_is_asked_for_http2_and_speaks_something_else_is_a_bad_gateway() {
    let speaks_http1 = countersign_testkit::service::Service::start(|mut conversation| {
        conversation.head();
        conversation.send(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
    });
    let says_nothing_more =
        Service::start_connections(|_, socket| async move { drop(socket) }).await;
    for address in [
        speaks_http1.address(),
        says_nothing_more.address,
        countersign_testkit::ephemeral::address(),
    ] {
        let route = format!(
            "upstream = \"http://{address}\"\nupstream_protocol = \"h2\"\nallow = [\"any-trusted\"]\n"
        );
        let gateway = Harness::start("", &route);
        for protocol in PROTOCOLS {
            let outcome = soon(gateway.get(protocol, "/")).await;
            assert_eq!(outcome.status(), Some(502), "{address}: {outcome:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn upstream_that_is_asked_for_http2_and_says_nothing_is_a_gateway_timeout() {
    let silent = Service::start_connections(|_, mut socket| async move {
        let _ = socket.read_to_end(&mut Vec::new()).await;
    })
    .await;
    let gateway = Harness::start("", &silent.route());
    let asking = gateway.get(Protocol::Http1Tls13, "/");
    let outcome = timeout(Duration::from_mins(1), asking).await;
    assert_eq!(outcome.expect("an answer").status(), Some(504));
}

#[tokio::test(flavor = "multi_thread")]
async fn answer_that_does_not_come_is_given_up_and_the_upstream_told() {
    let (told, mut tell) = tokio::sync::mpsc::unbounded_channel();
    let service = Service::start(move |_, _, mut answer| {
        let told = told.clone();
        async move {
            let reason = std::future::poll_fn(|cx| answer.poll_reset(cx)).await;
            told.send(reason.expect("a reset")).expect("heard");
        }
    })
    .await;
    let gateway = Harness::start_within("", &service.route(), |bounds| {
        bounds.answer = Duration::from_millis(100);
    });
    let outcome = soon(gateway.get(Protocol::Http2Tls13, "/")).await;
    assert_eq!(outcome.status(), Some(504), "{outcome:?}");
    assert_eq!(soon(tell.recv()).await, Some(Reason::CANCEL));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_switched_to_or_tunnelled_to_an_upstream_of_http2() {
    let service = Service::start(|_, request, answer| async move {
        answer_with_request(&request, answer);
    })
    .await;
    let gateway = Harness::start("", &service.route());
    for protocol in ["websocket", "h2c"] {
        let mut stream = gateway.connect().await;
        stream
            .write_all(upgrade(protocol).as_bytes())
            .await
            .expect("open");
        let text = soon(read_until(&mut stream, "0\r\n\r\n")).await;
        assert!(text.starts_with("HTTP/1.1 200"), "{text}");
        assert!(!text.contains("upgrade"), "{text}");
    }
    let before = service.accepted();
    let mut sender = h2_client(&gateway).await;
    let connect = Request::connect(HOST).body(()).expect("a request");
    let (answer, _) = sender.send_request(connect, true).expect("open");
    assert_eq!(soon(answer).await.expect("an answer").status(), 400);
    // RFC 8441: the gateway never offers it, so that asking for it is an error of the protocol.
    let mut extended = Request::connect(format!("https://{HOST}/"))
        .body(())
        .expect("a request");
    extended
        .extensions_mut()
        .insert(h2::ext::Protocol::from_static("websocket"));
    assert!(!sender.is_extended_connect_protocol_enabled());
    if let Ok((answer, _)) = sender.send_request(extended, true) {
        assert!(
            !soon(answer)
                .await
                .is_ok_and(|answer| answer.status().is_success())
        );
    }
    assert_eq!(service.accepted(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn unix_socket_is_spoken_to_by_prior_knowledge() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("socket");
    let listener = tokio::net::UnixListener::bind(&path).expect("a socket");
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(socket).await.expect("h2");
                while let Some(Ok((_, answer))) = connection.accept().await {
                    answer_ok(answer);
                }
            });
        }
    });
    let route = format!(
        "upstream = \"unix:{}\"\nupstream_protocol = \"h2\"\nallow = [\"any-trusted\"]\n",
        path.display()
    );
    let gateway = Harness::start("", &route);
    for protocol in PROTOCOLS {
        assert_eq!(gateway.get(protocol, "/").await.text(), "ok");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn large_bodies_pass_unchanged_over_http2() {
    let service = Service::start(|_, request, mut answer| async move {
        let mut body = request.into_body();
        let mut sent = answer
            .send_response(Response::new(()), false)
            .expect("open");
        while let Some(Ok(mut data)) = body.data().await {
            let _ = body.flow_control().release_capacity(data.len());
            while !data.is_empty() {
                sent.reserve_capacity(data.len());
                let room = std::future::poll_fn(|cx| sent.poll_capacity(cx)).await;
                let room = room.expect("open").expect("open").min(data.len());
                sent.send_data(data.split_to(room), false).expect("open");
            }
        }
        sent.send_data(Bytes::new(), true).expect("open");
    })
    .await;
    let gateway = Harness::start("", &service.route());
    let body: Bytes = (0..3_000_000_u32)
        .map(|number| number.to_le_bytes()[0] ^ 0x5a)
        .collect::<Vec<_>>()
        .into();
    for protocol in [Protocol::Http1Tls13, Protocol::Http2Tls13] {
        let post = request(protocol, HOST, "/")
            .method("POST")
            .body(Full::new(body.clone()))
            .expect("a request");
        let stream = gateway
            .client(protocol)
            .connect(gateway.address())
            .await
            .expect("a connection");
        let io = hyper_util::rt::TokioIo::new(stream);
        let answer = if protocol == Protocol::Http2Tls13 {
            let executor = hyper_util::rt::TokioExecutor::new();
            let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, io)
                .await
                .expect("h2");
            tokio::spawn(connection);
            sender.send_request(post).await.expect("an answer")
        } else {
            let (mut sender, connection) =
                hyper::client::conn::http1::handshake(io).await.expect("h1");
            tokio::spawn(connection);
            sender.send_request(post).await.expect("an answer")
        };
        let returned = soon(answer.into_body().collect()).await.expect("whole");
        assert!(returned.to_bytes() == body, "{protocol:?}");
    }
}

/// An empty frame of settings.
const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];

/// RFC 9113 §6.2.
const HEADERS: u8 = 1;

/// Frames of a request whose header block is these fields, each a literal that is not indexed (RFC 7541 §6.2.2).
fn raw_request(fields: &[(&str, &str)], is_end: bool) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).expect("short"));
            block.extend(text.as_bytes());
        }
    }
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(SETTINGS);
    let length = u32::try_from(block.len()).expect("short").to_be_bytes();
    bytes.extend([length[1], length[2], length[3], HEADERS]);
    bytes.extend([4 | u8::from(is_end), 0, 0, 0, 1]);
    bytes.extend(block);
    bytes
}

/// What becomes of a request whose frames a library would not write: the upstream has counted what reached it.
async fn check_raw(gateway: &Harness, bytes: &[u8]) {
    let mut stream = gateway
        .client(Protocol::Http2Tls13)
        .connect(gateway.address())
        .await
        .expect("a connection");
    stream.write_all(bytes).await.expect("open");
    // Until the stream or the connection has ended: RST_STREAM, GOAWAY, or an answer of the gateway itself.
    let mut read = Vec::new();
    let ended = async {
        loop {
            let mut rest = &read[..];
            while rest.len() >= 9 {
                let length = usize::from(rest[1]) << 8 | usize::from(rest[2]);
                let (kind, flags) = (rest[3], rest[4]);
                let ends_stream = matches!(kind, 0 | HEADERS) && flags & 1 == 1;
                if matches!(kind, 3 | 7) || ends_stream {
                    return;
                }
                if rest.len() < 9 + length {
                    break;
                }
                rest = &rest[9 + length..];
            }
            if !matches!(stream.read_buf(&mut read).await, Ok(1..)) {
                return;
            }
        }
    };
    soon(ended).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn request_that_http2_and_http1_could_read_in_two_ways_reaches_neither() {
    let reached = Arc::new(AtomicUsize::new(0));
    let (over_http2, over_http1) = (Arc::clone(&reached), Arc::clone(&reached));
    let http2 = Service::start(move |_, request, answer| {
        let reached = Arc::clone(&over_http2);
        async move {
            if request.uri().path() != "/good" {
                reached.fetch_add(1, Ordering::SeqCst);
            }
            answer_ok(answer);
        }
    })
    .await;
    let http1 = countersign_testkit::service::Service::start(move |mut conversation| {
        while let Some(head) = conversation.head() {
            if !head.contains(" /good ") {
                over_http1.fetch_add(1, Ordering::SeqCst);
            }
            conversation.send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        }
    });
    let whole = [
        (":method", "POST"),
        (":scheme", "https"),
        (":path", "/x"),
        (":authority", HOST),
    ];
    let with = |field: (&'static str, &'static str)| [&whole[..], &[field]].concat();
    let without = |name: &str, field: (&'static str, &'static str)| {
        let mut fields: Vec<_> = whole.into_iter().filter(|it| it.0 != name).collect();
        fields.insert(0, field);
        fields
    };
    let cases = [
        with(("x-a", "1\r\ntransfer-encoding: chunked")),
        with(("x-a", "1\nx-b: 2")),
        with(("x-a", "1\0")),
        with(("x-a\r\nx-b", "1")),
        with(("x a", "1")),
        with(("X-Upper", "1")),
        with(("x-a:", "1")),
        with(("", "1")),
        with(("transfer-encoding", "chunked")),
        with(("connection", "keep-alive")),
        with(("proxy-connection", "keep-alive")),
        with(("keep-alive", "1")),
        with(("upgrade", "h2c")),
        with(("te", "gzip")),
        with(("content-length", "5")),
        with(("content-length", "-1")),
        with(("content-length", "1, 1")),
        with(("host", "other.example.com")),
        with(("host", "api.example.com, other.example.com")),
        with((":path", "/admin")),
        with((":status", "200")),
        with((":protocol", "websocket")),
        without(":authority", (":authority", "other.example.com")),
        without(":authority", (":authority", "user@api.example.com")),
        without(":authority", (":authority", "api.example.com\r\nx-a: 1")),
        without(
            ":path",
            (":path", "/x HTTP/1.1\r\nhost: a\r\n\r\nGET /admin"),
        ),
        without(":path", (":path", "")),
        without(":path", (":path", "x")),
        without(":path", ("x-no", "path")),
        without(":method", (":method", "GET /admin HTTP/1.1\r\nx:")),
        without(":method", (":method", "")),
        without(":method", (":method", "CONNECT")),
        without(":scheme", (":scheme", "https\r\nx-a: 1")),
    ];
    for route in [http2.route(), crate::harness::to(http1.address())] {
        let gateway = Harness::start("", &route);
        for fields in &cases {
            check_raw(&gateway, &raw_request(fields, true)).await;
            assert_eq!(reached.load(Ordering::SeqCst), 0, "{fields:?}");
        }
        // The same frames get through when there is nothing wrong with them.
        let good = without(":path", (":path", "/x"));
        check_raw(&gateway, &raw_request(&good, true)).await;
        assert_eq!(reached.swap(0, Ordering::SeqCst), 1, "{route}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn request_of_http1_with_two_readings_never_becomes_one_of_http2() {
    let reached = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&reached);
    let service = Service::start(move |_, _, answer| {
        counter.fetch_add(1, Ordering::SeqCst);
        async move { answer_ok(answer) }
    })
    .await;
    let gateway = Harness::start("", &service.route());
    let client = gateway.client(Protocol::Http1Tls13);
    // RFC 9112 §2.2, §3.2, §5.1, §5.2, §6.1, §6.3, §7.1.
    for head in [
        "POST / HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        "POST / HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: +5\r\n\r\nhello",
        "POST / HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: 5, 6\r\n\r\nhello",
        "POST / HTTP/1.1\r\nHost: api.example.com\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: api.example.com\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: api.example.com\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.0\r\nHost: api.example.com\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: api.example.com\r\nX-A: 1\r\n continued: 2\r\n\r\n",
        "GET / HTTP/1.1\r\n Host: api.example.com\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: api.example.com\r\nX-A: a\rb\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: api.example.com\r\nX-A: a\0b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: api.example.com\r\nHost: api.example.com\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: other.example.com\r\n\r\n",
        "GET http://other.example.com/ HTTP/1.1\r\nHost: api.example.com\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET  / HTTP/1.1\r\nHost: api.example.com\r\n\r\n",
        "GET /a b HTTP/1.1\r\nHost: api.example.com\r\n\r\n",
        "GET / HTTP/2.0\r\nHost: api.example.com\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "CONNECT api.example.com:443 HTTP/1.1\r\nHost: api.example.com:443\r\n\r\n",
        ":authority: api.example.com\r\nGET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: api.example.com\r\n:path: /admin\r\n\r\n",
    ] {
        let head = head.replacen("\r\n\r\n", "\r\nConnection: close\r\n\r\n", 1);
        let outcome = soon(client.raw(gateway.address(), head.as_bytes())).await;
        assert_ne!(outcome.status(), Some(200), "{head:?}: {outcome:?}");
        assert_eq!(reached.load(Ordering::SeqCst), 0, "{head:?}");
    }
    let good = "GET / HTTP/1.1\r\nHost: api.example.com\r\nConnection: close\r\n\r\n";
    let outcome = soon(client.raw(gateway.address(), good.as_bytes())).await;
    assert_eq!(outcome.status(), Some(200), "{outcome:?}");
}
