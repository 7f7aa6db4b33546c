//! What a client cannot take up for ever.

use std::time::Duration;

use countersign_diagnose::cause::Cause;
use countersign_testkit::bypass::Protocol;
use countersign_testkit::service::Service;
use countersign_testkit::upstream::Upstream;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};

use crate::forwarding::read_until;
use crate::harness::{Harness, get, to};

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
