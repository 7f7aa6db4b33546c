//! What a data-plane thread runs: its share of every listener, and its upstream connections.

use std::io;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use countersign_runtime::accept::accept_loop;
use countersign_runtime::drain::Drain;
use countersign_runtime::workers::Workers;
use futures_util::future::join_all;
use tokio::net::TcpListener;
use tokio::time::sleep;

use crate::connection;
use crate::gateway::Share;
use crate::listener::Listener;
use crate::upstream::UpstreamPool;

/// Starts one worker for each entry of `shares`.
pub(super) fn start(shares: Vec<Vec<Share>>, drain: &Drain) -> io::Result<Workers> {
    let count = shares.len();
    // Each worker takes its own entry once; the lock only serves to move it there.
    let shares: Vec<_> = shares
        .into_iter()
        .map(|share| Mutex::new(Some(share)))
        .collect();
    let drain = drain.clone();
    Workers::spawn("gateway", count, move |index| {
        let share = shares[index]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        work(share.unwrap_or_default(), drain.clone())
    })
}

async fn work(share: Vec<Share>, drain: Drain) {
    let pool = Rc::new(UpstreamPool::default());
    let accepting = share
        .into_iter()
        .map(|(listener, socket)| accept(listener, socket, Rc::clone(&pool), drain.clone()));
    tokio::select! {
        _ = join_all(accepting) => {}
        () = reap(&pool) => {}
    }
}

async fn accept(
    listener: Arc<Listener>,
    socket: std::net::TcpListener,
    pool: Rc<UpstreamPool>,
    drain: Drain,
) {
    let socket = match TcpListener::from_std(socket) {
        Ok(socket) => socket,
        Err(error) => {
            tracing::error!(listener = listener.name, %error, "a worker cannot accept");
            return;
        }
    };
    let limit = listener.limit.clone();
    accept_loop(socket, limit, drain, move |stream, source, permit| {
        let (listener, pool) = (Arc::clone(&listener), Rc::clone(&pool));
        async move {
            let _permit = permit;
            connection::serve(listener, pool, stream, source).await;
        }
    })
    .await;
}

async fn reap(pool: &UpstreamPool) {
    loop {
        sleep(REAP_INTERVAL).await;
        pool.reap();
    }
}

/// Upstreams close idle connections after 5 s and more; a closed one costs a descriptor until it is found.
const REAP_INTERVAL: Duration = Duration::from_secs(5);
