//! The gateway is a pipe, not a bucket: bodies flow both ways as they come, and what HTTP allows arrives as it was sent.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Duration;

use bytes::Bytes;
use countersign_testkit::bypass::Protocol;
use countersign_testkit::process::Process;
use countersign_testkit::service::{Conversation, Service};
use countersign_testkit::upstream::Upstream;
use http::{HeaderMap, Method};
use http_body_util::BodyExt;
use hyper::body::Frame;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::http::{Connection, get, in_time, next_piece, piecewise, request, whole};
use crate::installation::{Installation, Issued};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_piece_of_a_body_is_echoed_before_the_next_is_sent() {
    for protocol in Protocol::HTTP {
        let gateway = Gateway::before(echo());
        let mut connection = gateway.connect(protocol).await;
        let (pieces, body) = piecewise();
        let first = piece(0);
        pieces
            .send(Frame::data(first.clone()))
            .await
            .expect("the body is wanted");
        let response = connection
            .send(request(Method::POST, "/echo", body))
            .await
            .expect("an answer");
        let mut echo = response.into_body();
        for number in 0..ECHOED_PIECES {
            let sent = piece(number);
            if number > 0 {
                pieces
                    .send(Frame::data(sent.clone()))
                    .await
                    .expect("the body is wanted");
            }
            let mut came = Vec::with_capacity(sent.len());
            while came.len() < sent.len() {
                came.extend_from_slice(&next_piece(&mut echo).await.expect("the echo goes on"));
            }
            assert!(
                came == sent,
                "{protocol:?}: piece {number} came back changed"
            );
        }
        drop(pieces);
        assert!(next_piece(&mut echo).await.is_none());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upload_waits_for_a_slow_upstream_instead_of_filling_memory() {
    for protocol in Protocol::HTTP {
        let (go, wait) = channel::<()>();
        let wait = Mutex::new(wait);
        let gateway = Gateway::before(Service::start(move |mut conversation| {
            let Some(_) = conversation.head() else { return };
            let _ = wait.lock().map(|wait| wait.recv());
            let mut sum = 0;
            while let Some(chunk) = conversation.chunk() {
                sum += chunk.len();
            }
            let sum = sum.to_string();
            conversation.send(
                format!(
                    "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{sum}",
                    sum.len()
                )
                .as_bytes(),
            );
        }));
        let memory = gateway.memory();
        let mut connection = gateway.connect(protocol).await;
        let (pieces, body) = piecewise();
        let answer =
            tokio::spawn(
                async move { connection.send(request(Method::POST, "/slow", body)).await },
            );
        let mut sent = 0;
        // Nobody reads, so at some piece the pipe is full. Should this machine be so slow that a piece takes that long,
        // the upstream begins earlier and nothing else changes.
        while sent < PIECES {
            let full = tokio::time::timeout(
                Duration::from_secs(2),
                pieces.send(Frame::data(piece(sent))),
            )
            .await;
            match full {
                Ok(sent_on) => sent_on.expect("the body is wanted"),
                Err(_) => break,
            }
            sent += 1;
        }
        assert!(
            sent < PIECES,
            "{protocol:?}: 32 MiB were swallowed with nobody to read them"
        );
        go.send(()).expect("the upstream waits");
        // The piece that found the pipe full was dropped with its attempt.
        for number in sent..PIECES {
            in_time("room for a piece", pieces.send(Frame::data(piece(number))))
                .await
                .expect("the body is wanted");
        }
        drop(pieces);
        let answer = answer
            .await
            .expect("the task does not panic")
            .expect("an answer");
        let sum = answer
            .into_body()
            .collect()
            .await
            .expect("a body")
            .to_bytes();
        assert_eq!(String::from_utf8_lossy(&sum), (PIECES * PIECE).to_string());
        memory.assert_not_spent();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_sent_events_arrive_before_the_response_ends() {
    for protocol in Protocol::HTTP {
        let (next, wait) = channel::<()>();
        let wait = Mutex::new(wait);
        let gateway = Gateway::before(Service::start(move |mut conversation| {
            let Some(_) = conversation.head() else { return };
            conversation.send(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n");
            for number in 1..=3 {
                conversation.send_chunk(format!("data: {number}\n\n").as_bytes());
                let _ = wait.lock().map(|wait| wait.recv());
            }
            conversation.send(b"0\r\n\r\n");
        }));
        let mut connection = gateway.connect(protocol).await;
        let response = connection.send(get("/events")).await.expect("an answer");
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let mut events = response.into_body();
        for number in 1..=3 {
            let event = next_piece(&mut events).await.expect("an event");
            assert_eq!(event, format!("data: {number}\n\n"), "{protocol:?}");
            next.send(()).expect("the upstream waits");
        }
        assert!(next_piece(&mut events).await.is_none());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trailers_pass_both_ways() {
    for protocol in Protocol::HTTP {
        let (seen, request_trailers) = channel();
        let gateway = Gateway::before(Service::start(move |mut conversation| {
            let Some(_) = conversation.head() else { return };
            while conversation.chunk().is_some() {}
            let _ = seen.send(conversation.head().unwrap_or_default());
            conversation
                .send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n");
            conversation.send_chunk(b"answer");
            conversation.send(b"0\r\nx-sum: 42\r\n\r\n");
        }));
        let mut connection = gateway.connect(protocol).await;
        let (pieces, body) = piecewise();
        let mut asked = request(Method::POST, "/trailers", body);
        asked
            .headers_mut()
            .insert("te", "trailers".parse().expect("a value"));
        asked
            .headers_mut()
            .insert("trailer", "x-check".parse().expect("a value"));
        let answer = tokio::spawn(async move {
            let answer = connection.send(asked).await;
            (connection, answer)
        });
        pieces
            .send(Frame::data("body".into()))
            .await
            .expect("the body is wanted");
        let mut trailers = HeaderMap::new();
        trailers.insert("x-check", "7".parse().expect("a value"));
        pieces
            .send(Frame::trailers(trailers))
            .await
            .expect("the body is wanted");
        drop(pieces);
        let (_connection, answer) = answer.await.expect("the task does not panic");
        let body = in_time("the body", answer.expect("an answer").into_body().collect())
            .await
            .expect("a body");
        assert_eq!(
            body.trailers()
                .and_then(|trailers| trailers.get("x-sum"))
                .expect("a trailer"),
            "42",
            "{protocol:?}"
        );
        assert_eq!(body.to_bytes(), "answer");
        let seen = request_trailers.recv().expect("the upstream was asked");
        assert!(
            seen.to_ascii_lowercase().contains("x-check: 7"),
            "{protocol:?}: {seen:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_headers_pass_both_ways() {
    let large = "h".repeat(12 * 1024);
    let answer = format!("HTTP/1.1 200 OK\r\nx-large: {large}\r\ncontent-length: 0\r\n\r\n");
    let (seen, requests) = channel();
    let gateway = Gateway::before(Service::start(move |mut conversation| {
        while let Some(head) = conversation.head() {
            let _ = seen.send(head);
            conversation.send(answer.as_bytes());
        }
    }));
    for protocol in Protocol::HTTP {
        let mut connection = gateway.connect(protocol).await;
        let mut asked = get("/");
        asked
            .headers_mut()
            .insert("x-mine", large.parse().expect("a value"));
        let response = connection.send(asked).await.expect("an answer");
        assert_eq!(response.status(), 200, "{protocol:?}");
        assert_eq!(
            response.headers()["x-large"],
            large.as_str(),
            "{protocol:?}"
        );
        assert!(
            requests.recv().expect("asked").contains(&large),
            "{protocol:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_without_bound_are_refused_and_the_next_client_is_served() {
    let upstream = Upstream::start();
    let gateway = Gateway::before_address(upstream.address());
    for protocol in Protocol::HTTP {
        let mut connection = gateway.connect(protocol).await;
        let mut asked = get("/flood");
        for number in 0..64 {
            let name: http::HeaderName = format!("x-flood-{number}").parse().expect("a name");
            asked
                .headers_mut()
                .insert(name, "f".repeat(16 * 1024).parse().expect("a value"));
        }
        let answer = connection.send(asked).await;
        assert!(
            answer.is_err() || answer.is_ok_and(|answer| answer.status() == 431),
            "{protocol:?}"
        );
        assert_eq!(
            gateway
                .connect(protocol)
                .await
                .get("/next")
                .await
                .expect("served")
                .0,
            200
        );
    }
    assert!(!upstream.received_text().contains("flood"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_without_length_head_and_no_content_arrive_as_sent() {
    let gateway = Gateway::before(Service::start(|mut conversation| {
        while let Some(head) = conversation.head() {
            let answer: &[u8] = match head.split(' ').nth(1) {
                _ if head.starts_with("HEAD ") => b"HTTP/1.1 200 OK\r\ncontent-length: 1234\r\n\r\n",
                Some("/no-content") => b"HTTP/1.1 204 No Content\r\n\r\n",
                Some("/not-modified") => b"HTTP/1.1 304 Not Modified\r\netag: \"x\"\r\n\r\n",
                Some("/chunked") => b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n",
                Some("/until-close") => b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nuntil the end",
                Some("/early-hints") => b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
                _ => b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
            };
            conversation.send(answer);
            if answer.ends_with(b"until the end") {
                return;
            }
        }
    }));
    for protocol in Protocol::HTTP {
        let mut connection = gateway.connect(protocol).await;
        let head = connection
            .send(request(Method::HEAD, "/head", whole("")))
            .await
            .expect("an answer");
        assert_eq!(head.headers()["content-length"], "1234");
        assert!(
            head.into_body()
                .collect()
                .await
                .expect("a body")
                .to_bytes()
                .is_empty()
        );
        for (path, expected) in [
            ("/no-content", (204, "")),
            ("/not-modified", (304, "")),
            ("/chunked", (200, "abcde")),
            ("/until-close", (200, "until the end")),
            ("/early-hints", (200, "ok")),
            ("/missing", (404, "")),
        ] {
            let answer = connection.get(path).await.expect("an answer");
            assert_eq!(
                answer,
                (expected.0, expected.1.to_owned()),
                "{protocol:?} {path}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn response_that_breaks_off_is_not_taken_for_a_whole_one() {
    let gateway = Gateway::before(Service::start(|mut conversation| {
        let Some(head) = conversation.head() else {
            return;
        };
        let answer: &[u8] = if head.contains("/length") {
            b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf"
        } else {
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n"
        };
        conversation.send(answer);
    }));
    for protocol in Protocol::HTTP {
        for path in ["/length", "/chunked"] {
            let response = gateway.connect(protocol).await.get(path).await;
            assert!(
                response.is_err() || response.as_ref().is_ok_and(|it| it.0 == 502),
                "{protocol:?} {path}: {response:?}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn client_that_expects_100_continue_gets_it_before_it_sends() {
    let upstream = Upstream::start();
    let gateway = Gateway::before_address(upstream.address());
    let mut stream = gateway
        .client(Protocol::Http1Tls13)
        .connect(gateway.address())
        .await
        .expect("let in");
    let head = "POST /upload HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n";
    stream.write_all(head.as_bytes()).await.expect("open");
    let mut came = Vec::new();
    while !came.ends_with(b"\r\n\r\n") {
        came.push(
            in_time("100 Continue", stream.read_u8())
                .await
                .expect("open"),
        );
    }
    let interim = String::from_utf8_lossy(&came).into_owned();
    assert!(interim.starts_with("HTTP/1.1 100 "), "{interim}");
    stream.write_all(b"body").await.expect("open");
    let mut came = vec![0; 15];
    in_time("the answer", stream.read_exact(&mut came))
        .await
        .expect("open");
    assert_eq!(String::from_utf8_lossy(&came), "HTTP/1.1 200 OK");
    assert!(
        upstream.received_text().ends_with("body"),
        "{}",
        upstream.received_text()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upstream_connections_are_kept_and_used_again() {
    let service = Service::start(answer_forever);
    let gateway = Gateway::before_address(service.address());
    for protocol in Protocol::HTTP {
        let mut connection = gateway.connect(protocol).await;
        for _ in 0..5 {
            assert_eq!(connection.get("/").await.expect("an answer").0, 200);
        }
    }
    // One for each of the gateway's two workers at most; fifteen requests.
    assert!(
        service.accepted() <= 2,
        "{} connections",
        service.accepted()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upstream_that_closes_kept_connections_does_not_show() {
    let (closed, wait) = channel();
    let service = Service::start(move |mut conversation| {
        let _ = conversation.head();
        conversation.send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        drop(conversation);
        let _ = closed.send(());
    });
    let gateway = Gateway::before_address(service.address());
    let mut connection = gateway.connect(Protocol::Http2Tls13).await;
    for number in 0..20 {
        let answer = connection.get("/").await.expect("an answer");
        assert_eq!(answer, (200, "ok".to_owned()), "request {number}");
        wait.recv().expect("the upstream has closed");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upstream_that_is_down_is_502_and_comes_back() {
    let address = countersign_testkit::ephemeral::address();
    let gateway = Gateway::before_address(address);
    for protocol in Protocol::HTTP {
        let mut connection = gateway.connect(protocol).await;
        let (status, body) = connection.get("/down").await.expect("an answer");
        assert_eq!(status, 502, "{protocol:?}");
        assert!(
            !body.contains(&address.to_string()),
            "the client is told nothing of the inside: {body}"
        );
    }
    let listener = TcpListener::bind(address).expect("still free");
    let _service = Service::start_on(listener, answer_forever);
    let mut connection = gateway.connect(Protocol::Http1Tls13).await;
    assert_eq!(connection.get("/up").await.expect("an answer").0, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upstream_that_answers_nonsense_is_502() {
    let gateway = Gateway::before(Service::start(|mut conversation| {
        let _ = conversation.head();
        conversation.send(b"SSH-2.0-OpenSSH_9.2\r\n\r\n");
    }));
    for protocol in Protocol::HTTP {
        let answer = gateway
            .connect(protocol)
            .await
            .get("/")
            .await
            .expect("an answer");
        assert_eq!(answer.0, 502, "{protocol:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upstream_that_is_slow_to_accept_is_waited_for() {
    let (listener, waiting) = full_listener();
    let gateway = Gateway::before_address(listener.local_addr().expect("bound"));
    let mut connection = gateway.connect(Protocol::Http1Tls13).await;
    let answer = tokio::spawn(async move { connection.get("/slow").await });
    // The queue is full, so the gateway's attempt is dropped by the kernel; it tries again on its own once there is room.
    for stream in waiting {
        drop(listener.accept().expect("one of those that wait"));
        drop(stream);
    }
    let _service = Service::start_on(listener, answer_forever);
    assert_eq!(
        answer
            .await
            .expect("the task does not panic")
            .expect("an answer")
            .0,
        200
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn demo_service_shows_the_caller_who_it_is() {
    let installation = Installation::new();
    let process = installation.up(&[]);
    for protocol in Protocol::HTTP {
        let client = Issued::of_first_run(&process).client(protocol);
        let mut connection = Connection::open(&client, protocol, process.gateway())
            .await
            .expect("let in");
        let (status, body) = connection.get("/").await.expect("an answer");
        assert_eq!(status, 200);
        assert!(body.contains("you"), "{body}");
    }
}

fn answer_forever(mut conversation: Conversation) {
    while conversation.head().is_some() {
        conversation.send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    }
}

/// Sends each chunk back as it comes.
fn echo() -> Service {
    Service::start(|mut conversation| {
        let Some(_) = conversation.head() else { return };
        conversation.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        while let Some(chunk) = conversation.chunk() {
            conversation.send_chunk(&chunk);
        }
        conversation.send(b"0\r\n\r\n");
    })
}

/// A listener whose queue is full, and the connections that fill it.
fn full_listener() -> (TcpListener, Vec<TcpStream>) {
    let socket = rustix::net::socket(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::STREAM,
        None,
    )
    .expect("a socket");
    rustix::net::bind(&socket, &SocketAddr::from(([127, 0, 0, 1], 0)))
        .expect("loopback has free ports");
    rustix::net::listen(&socket, 0).expect("a socket listens");
    let listener = TcpListener::from(socket);
    let address = listener.local_addr().expect("bound");
    // A backlog of 0 takes one.
    let waiting = vec![TcpStream::connect(address).expect("there is room for one")];
    (listener, waiting)
}

/// The gateway before a service, with a client that it lets in.
struct Gateway {
    installation: Installation,
    process: Process,
    _service: Option<Service>,
}

impl Gateway {
    fn before(service: Service) -> Self {
        let address = service.address();
        Self {
            _service: Some(service),
            ..Self::before_address(address)
        }
    }

    fn before_address(upstream: SocketAddr) -> Self {
        let installation = Installation::new();
        let process = installation.up_before(upstream);
        Self {
            installation,
            process,
            _service: None,
        }
    }

    fn address(&self) -> SocketAddr {
        self.process.gateway()
    }

    fn client(&self, protocol: Protocol) -> countersign_testkit::client::Client {
        Issued::of_first_run(&self.process).client(protocol)
    }

    async fn connect(&self, protocol: Protocol) -> Connection {
        Connection::open(&self.client(protocol), protocol, self.address())
            .await
            .expect("the client is let in")
    }

    /// What its memory is before anything passes through.
    fn memory(&self) -> Memory {
        // Whoever has got a certificate knows that the CA key is unsealed, which takes 64 MiB for a moment.
        self.installation.issue("client", "unsealed", &["--force"]);
        Memory::of(self.process.id())
    }
}

/// The memory of a process at its peak since then.
struct Memory {
    process: u32,
    before_kib: u64,
}

impl Memory {
    fn of(process: u32) -> Self {
        // proc(5): 5 sets the peak to what is in use now.
        std::fs::write(format!("/proc/{process}/clear_refs"), "5").expect("it is ours");
        Self {
            process,
            before_kib: peak_kib(process),
        }
    }

    /// Half of what was sent at most.
    #[track_caller]
    fn assert_not_spent(&self) {
        // The kernel sums up what each core has counted now and then: a peak that has not grown can seem to have shrunk.
        let grown_kib = peak_kib(self.process).saturating_sub(self.before_kib);
        println!(
            "{} MiB through the gateway, its peak grew by {grown_kib} KiB",
            (PIECES * PIECE) >> 20
        );
        assert!(
            grown_kib < 16 * 1024,
            "the gateway's peak grew by {grown_kib} KiB"
        );
    }
}

/// `VmHWM` of proc(5).
fn peak_kib(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .expect("proc(5) has it");
    line.trim()
        .trim_end_matches(" kB")
        .parse()
        .expect("a number")
}

fn piece(number: usize) -> Bytes {
    let start = number.to_be_bytes();
    start.into_iter().cycle().take(PIECE).collect()
}

/// 8 MiB in all, each way.
const ECHOED_PIECES: usize = 32;
/// 32 MiB in all.
const PIECES: usize = 128;
const PIECE: usize = 256 * 1024;
