//! What a data-plane thread runs: its share of every listener, and its upstream connections.

use std::io;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use countersign_runtime::accept::{accept_loop, accept_unix_loop};
use countersign_runtime::drain::Drain;
use countersign_runtime::workers::Workers;
use countersign_tls::enforcement::Enforcement;
use futures_util::future::{Either, join, join_all};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::connection::{self, Kit};
use crate::decisions::Recorder;
use crate::gateway::{Accepting, Share};
use crate::health::Checks;
use crate::in_flight::{Awaited, InFlight, sweep_interval};
use crate::keepalive;
use crate::listener::Listener;
use crate::metrics::UpstreamMetrics;
use crate::plan::Bounds;
use crate::upstream::UpstreamPool;

/// What one worker is given.
pub(super) struct Assignment {
    pub(super) shares: Vec<Share>,
    pub(super) bounds: Bounds,
    pub(super) enforcement: Enforcement,
    pub(super) metrics: UpstreamMetrics,
    pub(super) checks: Checks,
    /// After each reload, to judge again what is in flight.
    pub(super) reloads: Option<mpsc::Receiver<Awaited>>,
    /// Makes what this worker adds up decisions by.
    pub(super) recorder: Box<dyn FnOnce() -> Recorder + Send>,
}

/// Starts one worker for each entry of `assignments`.
pub(super) fn start(assignments: Vec<Assignment>, drain: &Drain) -> io::Result<Workers> {
    let count = assignments.len();
    // Each worker takes its own entry once; the lock only serves to move it there.
    let assignments: Vec<_> = assignments
        .into_iter()
        .map(|assignment| Mutex::new(Some(assignment)))
        .collect();
    let drain = drain.clone();
    Workers::spawn("gateway", count, move |index| {
        let assignment = assignments[index]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        work(
            assignment.expect("each worker is started once"),
            drain.clone(),
        )
    })
}

async fn work(assignment: Assignment, drain: Drain) {
    let Assignment {
        shares,
        bounds,
        enforcement,
        metrics,
        checks,
        reloads,
        recorder,
    } = assignment;
    let pool = UpstreamPool::new(bounds, enforcement, metrics, Some(checks));
    let in_flight = InFlight::new();
    let recorder = Rc::new(recorder());
    let accepting = shares.into_iter().map(|(listener, socket)| {
        let kit = Kit {
            pool: Rc::clone(&pool),
            in_flight: Rc::clone(&in_flight),
            recorder: Rc::clone(&recorder),
        };
        accept(listener, socket, kit, drain.clone())
    });
    tokio::select! {
        // A gateway without a listener is there until the drain, too.
        _ = join(join_all(accepting), drain.draining()) => {}
        () = reap(&pool) => {}
        () = sweep(&in_flight, bounds.send) => {}
        () = judge_again(&in_flight, reloads) => {}
        () = hand_over(&recorder) => {}
    }
}

async fn accept(listener: Arc<Listener>, socket: Accepting, kit: Kit, drain: Drain) {
    let limit = listener.limit.clone();
    let name = listener.name.clone();
    let shared = move || (Arc::clone(&listener), kit.clone());
    let accepting = match socket {
        Accepting::Tcp(socket) => TcpListener::from_std(socket).map(|socket| {
            keepalive::watch(&socket);
            let serve = move |stream, source, permit| {
                let (listener, kit) = shared();
                async move {
                    let _permit = permit;
                    connection::serve(listener, kit, stream, source).await;
                }
            };
            Either::Left(accept_loop(socket, limit, drain, serve))
        }),
        Accepting::Unix(socket) => UnixListener::from_std(socket).map(|socket| {
            let serve = move |stream, permit| {
                let (listener, kit) = shared();
                async move {
                    let _permit = permit;
                    connection::serve_local(listener, kit, stream).await;
                }
            };
            Either::Right(accept_unix_loop(socket, limit, drain, serve))
        }),
    };
    match accepting {
        Ok(accepting) => accepting.await,
        Err(error) => tracing::error!(listener = name, %error, "a worker cannot accept"),
    }
}

async fn reap(pool: &UpstreamPool) {
    loop {
        sleep(REAP_INTERVAL).await;
        pool.reap();
    }
}

async fn hand_over(recorder: &Recorder) {
    loop {
        sleep(HAND_OVER_INTERVAL).await;
        recorder.hand_over();
    }
}

async fn sweep(in_flight: &InFlight, send_limit: Duration) {
    loop {
        sleep(sweep_interval(send_limit)).await;
        in_flight.sweep();
    }
}

async fn judge_again(in_flight: &InFlight, reloads: Option<mpsc::Receiver<Awaited>>) {
    if let Some(mut reloads) = reloads {
        while let Some(awaited_by) = reloads.recv().await {
            in_flight.judge_again(&awaited_by);
        }
    }
    // Nobody is left who could reload; the connections go on.
    std::future::pending::<()>().await;
}

/// What a killed process loses of its decisions, beside what is not written.
const HAND_OVER_INTERVAL: Duration = Duration::from_secs(1);

/// Upstreams close idle connections after 5 s and more; a closed one costs a descriptor until it is found.
const REAP_INTERVAL: Duration = Duration::from_secs(5);
