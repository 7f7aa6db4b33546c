//! Clients that connect and say nothing: a bounded number of them is waited for.

use std::sync::Arc;

use countersign_diagnose::cause::Cause;
use countersign_tls::acceptor::{Acceptor, PendingLimits};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, yield_now};

use crate::peer::{TLS13, config, meet};
use crate::site::{Outcome, Site};

/// A client that says nothing, and the handshake that waits for it.
async fn silent(site: &Site) -> (TcpStream, JoinHandle<Outcome>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let address = listener.local_addr().expect("bound");
    let client = TcpStream::connect(address).await.expect("loopback");
    let (socket, source) = listener.accept().await.expect("a connection");
    let acceptor = Arc::clone(&site.acceptor);
    let accepting = tokio::spawn(async move { acceptor.accept(socket, source).await });
    // The runtime of a test has one thread: the task has begun when this one goes on.
    yield_now().await;
    (client, accepting)
}

async fn check(limits: PendingLimits, counted: &str) {
    let mut site = Site::new();
    site.acceptor = Acceptor::with_pending_limits(
        site.settings.clone(),
        site.credentials.clone(),
        site.enforcement.clone(),
        limits,
    );
    let you = Arc::new(config(&site, Some(&site.client("you")), TLS13));
    let _first = silent(&site).await;
    let _second = silent(&site).await;
    for _ in 0..2 {
        assert!(meet(&site, &you).await.server.is_ok(), "a place is free");
    }
    let (gone, waiting) = silent(&site).await;
    let (mut refused, accepting) = silent(&site).await;
    let refusal = accepting.await.expect("no panic").err().expect("refused");
    assert_eq!(refusal.refusal.cause, Cause::TooManyPending);
    assert_eq!(refusal.refusal.evidence.get("counted"), Some(counted));
    assert_eq!(refused.read(&mut [0; 1]).await.ok(), Some(0), "closed");
    drop(gone);
    let closed = waiting.await.expect("no panic").err().expect("it has gone");
    assert_eq!(closed.refusal.cause, Cause::ClientClosedEarly);
    assert!(meet(&site, &you).await.server.is_ok(), "its place is free");
}

#[tokio::test]
async fn one_silent_socket_too_many_is_refused_while_others_finish() {
    let limits = PendingLimits {
        in_all: 3,
        per_source: 10,
    };
    check(limits, "listener").await;
}

#[tokio::test]
async fn one_source_cannot_have_every_place() {
    let limits = PendingLimits {
        in_all: 10,
        per_source: 3,
    };
    check(limits, "source").await;
}
