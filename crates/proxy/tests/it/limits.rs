//! What a client cannot take up for ever.

use std::time::Duration;

use countersign_diagnose::cause::Cause;
use countersign_testkit::bypass::Protocol;
use countersign_testkit::service::{Conversation, Service};
use countersign_testkit::upstream::Upstream;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::client::TlsStream;

use crate::forwarding::read_until;
use crate::harness::{HOST, Harness, get, to};

const LIMIT: Duration = Duration::from_secs(1);

async fn closes_after(mut stream: impl AsyncReadExt + Unpin, at_least: Duration) {
    let begun = Instant::now();
    let mut rest = Vec::new();
    let _ = timeout(Duration::from_secs(10), stream.read_to_end(&mut rest))
        .await
        .expect("closed");
    assert!(
        begun.elapsed() >= at_least,
        "closed after {:?}",
        begun.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn dawdling_and_idle_clients_are_closed() {
    let upstream = Upstream::start();
    let gateway = Harness::start(
        "header_timeout = \"1s\"\nidle_timeout = \"2s\"",
        &to(upstream.address()),
    );
    let mut slowloris = gateway.connect().await;
    slowloris
        .write_all(b"GET / HTTP/1.1\r\nhost: api.exam")
        .await
        .expect("open");
    let dawdling = tokio::spawn(async move {
        // A byte now and then does not win time.
        let begun = Instant::now();
        while slowloris.write_all(b"p").await.is_ok() && begun.elapsed() < 8 * LIMIT {
            let mut byte = [0];
            if matches!(
                timeout(LIMIT / 5, slowloris.read(&mut byte)).await,
                Ok(Ok(0) | Err(_))
            ) {
                break;
            }
        }
        begun.elapsed()
    });
    let mut idle = gateway.connect().await;
    idle.write_all(b"GET / HTTP/1.1\r\nhost: api.example.com\r\n\r\n")
        .await
        .expect("open");
    read_until(&mut idle, "x-forwarded-host: api.example.com").await;
    let silent = gateway.connect().await;
    tokio::join!(closes_after(idle, LIMIT), closes_after(silent, LIMIT));
    let dawdled = dawdling.await.expect("no panic");
    assert!((LIMIT / 2..4 * LIMIT).contains(&dawdled), "{dawdled:?}");
    let causes: Vec<_> = gateway
        .refusals()
        .iter()
        .map(|refusal| refusal.refusal.cause)
        .collect();
    assert_eq!(causes, [Cause::RequestLimit]);
}

#[tokio::test(flavor = "multi_thread")]
async fn connection_that_rested_goes_on_where_it_was() {
    // Long enough that the connection is put to rest.
    const REST: Duration = Duration::from_secs(2);
    const HEAD: &[u8] = b"GET /?half HTTP/1.1\r\nhost: api.example.com\r\n\r\n";
    let upstream = Upstream::start();
    let gateway = Harness::start("", &to(upstream.address()));
    let mut client = gateway.connect().await;
    for cut in [HEAD.len(), 3, HEAD.len() - 1] {
        // Nothing may come while it rests, and everything after.
        let silence = timeout(REST, client.read_u8()).await;
        assert!(silence.is_err(), "{silence:?}");
        for part in [&HEAD[..cut], &HEAD[cut..]] {
            client.write_all(part).await.expect("open");
            client.flush().await.expect("open");
        }
        read_until(&mut client, "x-forwarded-host: api.example.com").await;
    }
    // Two requests at once after a rest are answered both.
    assert!(timeout(REST, client.read_u8()).await.is_err());
    client
        .write_all(&[HEAD, HEAD].concat())
        .await
        .expect("open");
    let mut answers = String::new();
    while answers.matches("x-forwarded-host").count() < 2 {
        answers += &read_until(&mut client, "x-forwarded-host: api.example.com").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_head_behind_a_request_has_no_more_time_than_another() {
    let upstream = Upstream::start();
    let gateway = Harness::start("header_timeout = \"1s\"", &to(upstream.address()));
    for request in [
        "GET / HTTP/1.1\r\nhost: api.example.com\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: api.example.com\r\ncontent-length: 2\r\n\r\nok",
    ] {
        let mut client = gateway.connect().await;
        let requests = format!("{request}GET / HTTP/1.1\r\nhost: api.exam");
        client.write_all(requests.as_bytes()).await.expect("open");
        read_until(&mut client, "x-forwarded-host: api.example.com").await;
        closes_after(client, LIMIT / 2).await;
    }
    // Those of one cause and client are counted in one entry.
    let counts: Vec<_> = gateway
        .refusals()
        .iter()
        .map(|refusal| (refusal.refusal.cause, refusal.count))
        .collect();
    assert_eq!(counts, [(Cause::RequestLimit, 2)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn connection_that_breaks_while_it_rests_is_ended() {
    let upstream = Upstream::start();
    let gateway = Harness::start("", &to(upstream.address()));
    let mut client = gateway.connect().await;
    client
        .write_all(b"GET / HTTP/1.1\r\nhost: api.example.com\r\n\r\n")
        .await
        .expect("open");
    read_until(&mut client, "x-forwarded-host: api.example.com").await;
    tokio::time::sleep(LIMIT / 2).await;
    assert_eq!(gateway.enforcement.live(), 1);
    // A record of application data that no key of this connection made.
    let mut record = vec![23, 3, 3, 0, 32];
    record.resize(5 + 32, 0);
    let (socket, _) = client.get_mut();
    socket.write_all(&record).await.expect("open");
    let begun = Instant::now();
    while gateway.enforcement.live() > 0 {
        assert!(begun.elapsed() < 10 * LIMIT, "still open");
        tokio::time::sleep(LIMIT / 50).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_http2_connection_is_closed_in_good_order() {
    let upstream = Upstream::start();
    let gateway = Harness::start(
        "header_timeout = \"1s\"\nidle_timeout = \"2s\"",
        &to(upstream.address()),
    );
    let stream = gateway
        .client(Protocol::Http2Tls13)
        .connect(gateway.address())
        .await
        .expect("a connection");
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .expect("h2");
    let connection = tokio::spawn(connection);
    for _ in 0..2 {
        let answer = sender.send_request(get(Protocol::Http2Tls13, "/")).await;
        assert_eq!(answer.expect("an answer").status(), 200);
        tokio::time::sleep(3 * LIMIT / 2).await;
    }
    let ended = timeout(Duration::from_secs(10), connection).await;
    assert!(matches!(ended, Ok(Ok(Ok(())))), "{ended:?}");
    assert_eq!(gateway.refusals(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_upstream_is_no_idle_client() {
    let service = Service::start(|mut conversation| {
        conversation.head();
        std::thread::sleep(3 * LIMIT);
        conversation.send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    });
    let gateway = Harness::start(
        "header_timeout = \"1s\"\nidle_timeout = \"1s\"",
        &to(service.address()),
    );
    let mut stream = gateway.connect().await;
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: api.example.com\r\n\r\n")
        .await
        .expect("open");
    read_until(&mut stream, "ok").await;
}

/// Answers `/` and floods everybody else; tells when nobody takes it any more.
fn flood() -> (Service, std::sync::mpsc::Receiver<()>) {
    let (told, ended) = std::sync::mpsc::channel();
    let service = Service::start(move |mut conversation: Conversation| {
        while let Some(head) = conversation.head() {
            if head.contains("/flood") {
                conversation.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
                while conversation.send_chunk(&[b'a'; 16 * 1024]) {}
                let _ = told.send(());
                return;
            }
            conversation.send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        }
    });
    (service, ended)
}

#[tokio::test(flavor = "multi_thread")]
async fn client_that_takes_nothing_loses_its_answer() {
    let (service, ended) = flood();
    let gateway = Harness::start_within("", &to(service.address()), |bounds| bounds.send = LIMIT);
    let mut h1 = gateway.connect().await;
    h1.write_all(b"GET /flood HTTP/1.1\r\nhost: api.example.com\r\n\r\n")
        .await
        .expect("open");
    ended.recv_timeout(10 * LIMIT).expect("the connection ends");

    let stream = gateway
        .client(Protocol::Http2Tls13)
        .connect(gateway.address())
        .await
        .expect("a connection");
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .expect("h2");
    tokio::spawn(connection);
    let flooded = sender.send_request(get(Protocol::Http2Tls13, "/flood"));
    let _not_read = flooded.await.expect("an answer");
    ended.recv_timeout(10 * LIMIT).expect("the stream ends");
    let answer = sender.send_request(get(Protocol::Http2Tls13, "/")).await;
    assert_eq!(answer.expect("the connection stands").status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn upstream_has_its_time_from_the_end_of_the_upload() {
    let service = Service::start(|mut conversation| {
        let head = conversation.head().unwrap_or_default();
        conversation.bytes(4);
        if head.contains("/never") {
            conversation.bytes(1);
        }
        conversation.send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    });
    let gateway = Harness::start_within("", &to(service.address()), |bounds| bounds.answer = LIMIT);
    for (path, status) in [("/", "200"), ("/never", "504")] {
        let mut stream = gateway.connect().await;
        let head =
            format!("PUT {path} HTTP/1.1\r\nhost: api.example.com\r\ncontent-length: 4\r\n\r\n");
        stream.write_all(head.as_bytes()).await.expect("open");
        for _ in 0..4 {
            tokio::time::sleep(LIMIT / 2).await;
            stream.write_all(b"a").await.expect("open");
            stream.flush().await.expect("open");
        }
        let mut answer = [0; 12];
        let reading = timeout(10 * LIMIT, stream.read_exact(&mut answer)).await;
        reading.expect("an answer").expect("open");
        assert_eq!(answer, *format!("HTTP/1.1 {status}").as_bytes());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn upstream_has_no_more_connections_than_its_bound() {
    let service = Service::start(|mut conversation| {
        while let Some(head) = conversation.head() {
            if head.contains("/wait") {
                conversation.bytes(1);
                return;
            }
            conversation.send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        }
    });
    let gateway = Harness::start_within("", &to(service.address()), |bounds| {
        bounds.upstream_connections = 1;
    });
    let status = async || gateway.get(Protocol::Http1Tls13, "/").await.status();
    assert_eq!(status().await, Some(200));
    let mut waiting = gateway.connect().await;
    waiting
        .write_all(b"GET /wait HTTP/1.1\r\nhost: api.example.com\r\n\r\n")
        .await
        .expect("open");
    let until = async |wanted| {
        while status().await != Some(wanted) {
            tokio::time::sleep(LIMIT / 100).await;
        }
    };
    timeout(10 * LIMIT, until(503)).await.expect("refused");
    drop(waiting);
    timeout(10 * LIMIT, until(200)).await.expect("free again");
}

/// An HTTP/2 client that counts nobody's frames but writes its own.
struct Frames {
    stream: TlsStream<TcpStream>,
    next: u32,
}

impl Frames {
    async fn open(gateway: &Harness) -> Self {
        let client = gateway.client(Protocol::Http2Tls13);
        let mut stream = client
            .connect(gateway.address())
            .await
            .expect("a connection");
        let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
        let preface = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &settings[..]].concat();
        stream.write_all(&preface).await.expect("open");
        Self { stream, next: 1 }
    }

    /// `GET /` on a stream of its own, which is reset or not.
    fn request(&mut self, and_reset: bool) -> Vec<u8> {
        let id = self.next.to_be_bytes();
        self.next += 2;
        // RFC 7541 appendix A: GET, https, /; then :authority, whose value follows.
        let name = u8::try_from(HOST.len()).expect("short");
        let block = [&[0x82, 0x87, 0x84, 0x41, name][..], HOST.as_bytes()].concat();
        let length = u8::try_from(block.len()).expect("short");
        // END_HEADERS and END_STREAM.
        let mut frames = [&[0, 0, length, 1, 5][..], &id, &block].concat();
        if and_reset {
            frames.extend(Self::reset(id));
        }
        frames
    }

    fn reset(id: [u8; 4]) -> Vec<u8> {
        [&[0, 0, 4, 3, 0][..], &id, &[0, 0, 0, 8]].concat()
    }

    /// Whether the other side has ended the connection.
    async fn has_ended(&mut self) -> bool {
        let mut answer = Vec::new();
        let reading = self.stream.read_to_end(&mut answer);
        timeout(Duration::from_secs(20), reading).await.is_ok()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn client_that_resets_its_streams_is_cut_and_counted() {
    const RESETS: usize = 10_000;
    let upstream = Upstream::start();
    let gateway = Harness::start("", &to(upstream.address()));
    let mut client = Frames::open(&gateway).await;
    let mut sent = 0;
    for _ in 0..RESETS {
        let frames = client.request(true);
        if client.stream.write_all(&frames).await.is_err() {
            break;
        }
        sent += 1;
    }
    assert!(client.has_ended().await, "after {sent} resets");
    let causes: Vec<_> = gateway
        .refusals()
        .iter()
        .map(|it| it.refusal.cause)
        .collect();
    assert_eq!(causes, [Cause::RequestLimit]);
    let asked = upstream.received_text().matches("GET / ").count();
    assert!(asked < RESETS / 10, "{asked} reached the upstream");
    // Whoever resets now and then goes on.
    let mut calm = Frames::open(&gateway).await;
    for round in 0..20 {
        let frames = calm.request(round % 2 == 0);
        calm.stream.write_all(&frames).await.expect("open");
    }
    assert!(timeout(LIMIT, calm.has_ended()).await.is_err(), "cut, too");
}

#[tokio::test(flavor = "multi_thread")]
async fn client_that_gives_up_what_it_asked_for_is_cut_and_counted() {
    let service = Service::start(|mut conversation| {
        conversation.head();
        // It never answers.
        conversation.bytes(1);
    });
    let gateway = Harness::start("", &to(service.address()));
    let mut client = Frames::open(&gateway).await;
    let mut given_up = 0;
    let giving_up = async {
        loop {
            let id = client.next.to_be_bytes();
            let asked = service.accepted();
            let request = client.request(false);
            if client.stream.write_all(&request).await.is_err() {
                return;
            }
            // The work has begun when the upstream hears of it.
            while service.accepted() == asked {
                let mut frames = [0; 1024];
                let reading = timeout(LIMIT / 1000, client.stream.read(&mut frames));
                if let Ok(Ok(0) | Err(_)) = reading.await {
                    return;
                }
            }
            if client.stream.write_all(&Frames::reset(id)).await.is_err() {
                return;
            }
            given_up += 1;
        }
    };
    let cut = timeout(Duration::from_mins(1), giving_up).await;
    assert!(cut.is_ok(), "not cut");
    assert!((500..1500).contains(&given_up), "{given_up}");
    let causes: Vec<_> = gateway
        .refusals()
        .iter()
        .map(|it| it.refusal.cause)
        .collect();
    assert_eq!(causes, [Cause::RequestLimit]);
}

/// A front may have requests of many people on its connection, who are not to blame for those that are given up.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_under_way_is_answered_on_a_connection_that_gives_up_too_much() {
    let (told, mut tell) = tokio::sync::mpsc::unbounded_channel();
    let (answer_slow, slow) = tokio::sync::watch::channel(false);
    let service = crate::http2::Service::start(move |_, request, mut answer| {
        let (told, mut slow) = (told.clone(), slow.clone());
        async move {
            told.send(()).expect("heard");
            if request.uri().path() == "/slow" {
                slow.wait_for(|is_due| *is_due).await.expect("due");
                let _ = answer.send_response(http::Response::new(()), true);
            } else {
                let _ = std::future::poll_fn(|cx| answer.poll_reset(cx)).await;
            }
        }
    })
    .await;
    let gateway = Harness::start("", &service.route());
    let mut client = crate::http2::h2_client(&gateway).await;
    let (slow, _) = client
        .send_request(crate::http2::post("/slow"), true)
        .expect("open");
    tell.recv().await.expect("told");
    let mut given_up = 0;
    let over = loop {
        assert!(given_up < 2000, "not cut");
        let sent = client.send_request(crate::http2::post("/wait"), false);
        let (answer, mut body) = match sent {
            Ok(sent) => sent,
            Err(error) => break error,
        };
        tokio::select! {
            told = tell.recv() => told.expect("told"),
            answer = answer => match answer {
                Err(error) => break error,
                Ok(answer) => panic!("answered: {answer:?}"),
            }
        }
        body.send_reset(h2::Reason::CANCEL);
        given_up += 1;
    };
    // Whether it was refused or never sent, it can be sent over another connection.
    assert!(!over.is_io(), "{over:?}");
    assert!((500..1000).contains(&given_up), "{given_up}");
    answer_slow.send_replace(true);
    let answered = timeout(Duration::from_secs(20), slow)
        .await
        .expect("in time");
    assert_eq!(answered.expect("an answer").status(), 200);
    let refusals = gateway.refusals();
    let causes: Vec<_> = refusals.iter().map(|it| it.refusal.cause).collect();
    assert_eq!(causes, [Cause::RequestLimit]);
}

/// Requests given up, and cheap ones between them.
#[tokio::test(flavor = "multi_thread")]
async fn client_that_gives_up_every_other_request_is_cut_too() {
    const AT_ONCE: usize = 20;
    let (told, mut tell) = tokio::sync::mpsc::unbounded_channel();
    let service = crate::http2::Service::start(move |_, request, mut answer| {
        let told = told.clone();
        async move {
            if request.uri().path() == "/" {
                let _ = answer.send_response(http::Response::new(()), true);
                return;
            }
            told.send(()).expect("heard");
            let _ = std::future::poll_fn(|cx| answer.poll_reset(cx)).await;
        }
    })
    .await;
    let gateway = Harness::start("", &service.route());
    let mut client = crate::http2::h2_client(&gateway).await;
    let mut given_up = 0;
    let giving_up = async {
        // Many at once, so that it is the client's doing how fast they are, and not the round trip's.
        loop {
            let mut waiting = Vec::new();
            for _ in 0..AT_ONCE {
                match client.send_request(crate::http2::post("/wait"), false) {
                    Ok((_, body)) => waiting.push(body),
                    Err(_) => return,
                }
            }
            for _ in &waiting {
                let Ok(Some(())) = timeout(10 * LIMIT, tell.recv()).await else {
                    return;
                };
            }
            for mut body in waiting {
                body.send_reset(h2::Reason::CANCEL);
                given_up += 1;
            }
            let mut cheap = Vec::new();
            for _ in 0..AT_ONCE {
                match client.send_request(crate::http2::post("/"), true) {
                    Ok((answer, _)) => cheap.push(answer),
                    Err(_) => return,
                }
            }
            for answer in cheap {
                if answer.await.is_err() {
                    return;
                }
            }
        }
    };
    let cut = timeout(Duration::from_mins(1), giving_up).await;
    assert!(cut.is_ok(), "not cut");
    assert!((500..2000).contains(&given_up), "{given_up}");
    let refusals = gateway.refusals();
    let causes: Vec<_> = refusals.iter().map(|it| it.refusal.cause).collect();
    assert_eq!(causes, [Cause::RequestLimit]);
}
