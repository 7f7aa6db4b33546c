//! The bounded accept loop: no peer, and no shortage of descriptors, can make it grow, spin or end.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, JoinSet};

use crate::drain::Drain;

/// Accepts connections and runs `serve` for each as a local task; call it inside a `LocalSet`, as workers do.
///
/// At the limit it stops accepting until a permit is free: one connection per loop may wait accepted, the rest in the
/// kernel's backlog. When the drain begins, the listener is closed; the call returns when every connection is done, and
/// aborts those that still run when the drain has ended. Each running connection holds a drain guard.
///
/// An IPv4 peer of an IPv6 socket is shown by its IPv4 address, so that one rule on addresses fits both.
pub async fn accept_loop<F, Fut>(
    listener: TcpListener,
    limit: ConnectionLimit,
    drain: Drain,
    serve: F,
) where
    F: Fn(TcpStream, SocketAddr, ConnectionPermit) -> Fut + 'static,
    Fut: Future<Output = ()> + 'static,
{
    let accept = async move || {
        let (stream, peer) = listener.accept().await?;
        // Without TCP_NODELAY the last segment of a handshake flight waits for the peer's delayed ACK (40 ms).
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY was not set");
        }
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        Ok((stream, peer))
    };
    let serve = move |(stream, peer), permit| serve(stream, peer, permit);
    accept_from(accept, limit, drain, serve).await;
}

/// [`accept_loop`] for a Unix socket, whose peers have no address.
pub async fn accept_unix_loop<F, Fut>(
    listener: UnixListener,
    limit: ConnectionLimit,
    drain: Drain,
    serve: F,
) where
    F: Fn(UnixStream, ConnectionPermit) -> Fut + 'static,
    Fut: Future<Output = ()> + 'static,
{
    let accept = async move || listener.accept().await.map(|(stream, _)| stream);
    accept_from(accept, limit, drain, serve).await;
}

/// How many connections may be open at once, over all loops that share the clone.
#[derive(Clone, Debug)]
pub struct ConnectionLimit {
    max: usize,
    free: Arc<Semaphore>,
}

impl ConnectionLimit {
    /// At most `max` connections; with 0 none is ever served.
    pub fn new(max: usize) -> Self {
        let max = max.min(Semaphore::MAX_PERMITS);
        Self {
            max,
            free: Arc::new(Semaphore::new(max)),
        }
    }

    /// Permits held at this moment.
    pub fn in_use(&self) -> usize {
        self.max - self.free.available_permits()
    }

    /// Waits until a connection may open, in order of asking. Cancel-safe, at the price of the place in the order.
    pub async fn acquire(&self) -> ConnectionPermit {
        let permit = Arc::clone(&self.free)
            .acquire_owned()
            .await
            .expect("the semaphore is never closed");
        ConnectionPermit { _permit: permit }
    }
}

/// Counts one open connection until it is dropped.
#[derive(Debug)]
#[must_use = "the connection counts only while the permit lives"]
pub struct ConnectionPermit {
    _permit: OwnedSemaphorePermit,
}

async fn accept_from<A, T, F, Fut>(accept: A, limit: ConnectionLimit, drain: Drain, serve: F)
where
    A: AsyncFn() -> io::Result<T>,
    T: 'static,
    F: Fn(T, ConnectionPermit) -> Fut + 'static,
    Fut: Future<Output = ()> + 'static,
{
    let serve = Rc::new(serve);
    let mut connections = JoinSet::new();
    // Without it the drain could end between the accept of a connection and the guard of that connection.
    let accepting = drain.guard();
    {
        let mut draining = pin!(drain.draining());
        // Kept over turns of the loop: it may hold an accepted connection that waits for its permit.
        let mut next = pin!(next_connection(&accept, &limit));
        loop {
            tokio::select! {
                biased;
                () = &mut draining => break,
                Some(ended) = connections.join_next() => notice(ended),
                (accepted, permit) = &mut next => {
                    next.set(next_connection(&accept, &limit));
                    let guard = drain.guard();
                    let serve = Rc::clone(&serve);
                    connections.spawn_local(async move {
                        let _guard = guard;
                        // Made in here: a future that is moved into another one has its room there twice.
                        serve(accepted, permit).await;
                    });
                }
            }
        }
    }
    drop(accept);
    drop(accepting);
    finish(connections, &drain).await;
}

async fn next_connection<A, T>(accept: &A, limit: &ConnectionLimit) -> (T, ConnectionPermit)
where
    A: AsyncFn() -> io::Result<T>,
{
    let mut backing_off = false;
    let accepted = loop {
        match accept().await {
            Ok(accepted) => break accepted,
            Err(error) if is_of_one_connection(&error) => {
                tracing::debug!(%error, "connection was lost before accept");
            }
            Err(error) => {
                // Once per shortage: a log line each 50 ms would add to the trouble.
                if !backing_off {
                    tracing::error!(%error, "cannot accept connections, retrying");
                    backing_off = true;
                }
                tokio::time::sleep(BACK_OFF).await;
            }
        }
    };
    if backing_off {
        tracing::info!("accepting connections again");
    }
    (accepted, limit.acquire().await)
}

/// Whether the error tells the fate of one connection, so that the next accept may succeed at once. accept(2): Linux
/// passes errors that are already pending on the new socket; firewall rules show as EPERM.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::Interrupted
            | io::ErrorKind::NetworkDown
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::TimedOut
    ) || matches!(
        Errno::from_io_error(error),
        Some(Errno::PROTO | Errno::NOPROTOOPT | Errno::HOSTDOWN)
    )
}

async fn finish(mut connections: JoinSet<()>, drain: &Drain) {
    let mut drain_ended = pin!(drain.ended());
    loop {
        tokio::select! {
            biased;
            ended = connections.join_next() => match ended {
                Some(ended) => notice(ended),
                None => return,
            },
            () = &mut drain_ended => break,
        }
    }
    tracing::warn!(
        connections = connections.len(),
        "connections cut at the end of the drain"
    );
    connections.shutdown().await;
}

fn notice(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "connection task ended abnormally");
    }
}

// EMFILE, ENFILE, ENOBUFS and ENOMEM pass when other connections close; shorter only spins, longer is felt by peers.
const BACK_OFF: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::collections::VecDeque;
    use std::rc::Rc;

    use tokio::io::AsyncReadExt;
    use tokio::sync::{Notify, mpsc};
    use tokio::task::{LocalSet, spawn_local};
    use tokio::time::Instant;

    use crate::drain::{Drained, drain};

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(30);

    async fn loopback() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("binds");
        let address = listener.local_addr().expect("bound");
        (listener, address)
    }

    /// Lets every task and the I/O driver (polled each 61 turns) do what they can without an event from here.
    async fn settle() {
        for _ in 0..200 {
            tokio::task::yield_now().await;
        }
    }

    async fn is_closed(mut client: TcpStream) -> bool {
        matches!(client.read(&mut [0; 1]).await, Ok(0) | Err(_))
    }

    #[tokio::test]
    async fn connection_over_the_limit_waits_for_a_permit() {
        LocalSet::new()
            .run_until(async {
                let (listener, address) = loopback().await;
                let (_trigger, drain) = drain();
                let limit = ConnectionLimit::new(1);
                let (served, mut seen) = mpsc::unbounded_channel();
                spawn_local(accept_loop(
                    listener,
                    limit.clone(),
                    drain,
                    move |stream, peer, permit| {
                        let served = served.clone();
                        async move {
                            served
                                .send((stream, peer, permit))
                                .expect("the test listens");
                        }
                    },
                ));
                let first_client = TcpStream::connect(address).await.expect("connects");
                let first = seen.recv().await.expect("served");
                assert_eq!(first.1, first_client.local_addr().expect("connected"));
                assert!(first.0.nodelay().expect("option reads"));
                let _second_client = TcpStream::connect(address).await.expect("connects");
                settle().await;
                assert!(seen.try_recv().is_err());
                assert_eq!(limit.in_use(), 1);
                drop(first);
                let second = seen.recv().await.expect("served");
                assert_eq!(limit.in_use(), 1);
                drop(second);
                assert_eq!(limit.in_use(), 0);
            })
            .await;
    }

    #[tokio::test]
    async fn connection_waiting_for_a_permit_survives_the_end_of_another() {
        LocalSet::new()
            .run_until(async {
                let (listener, address) = loopback().await;
                let (_trigger, drain) = drain();
                let limit = ConnectionLimit::new(1);
                let finish = Rc::new(Notify::new());
                let (served, mut seen) = mpsc::unbounded_channel();
                spawn_local(accept_loop(listener, limit.clone(), drain, {
                    let finish = Rc::clone(&finish);
                    move |_stream, peer, permit| {
                        let (served, finish) = (served.clone(), Rc::clone(&finish));
                        async move {
                            // Given back early, so that the task ends without freeing a permit.
                            drop(permit);
                            served.send(peer).expect("the test listens");
                            finish.notified().await;
                        }
                    }
                }));
                let first = TcpStream::connect(address).await.expect("connects");
                assert_eq!(seen.recv().await, first.local_addr().ok());
                let taken = limit.acquire().await;
                let second = TcpStream::connect(address).await.expect("connects");
                settle().await;
                finish.notify_waiters();
                settle().await;
                drop(taken);
                assert_eq!(seen.recv().await, second.local_addr().ok());
            })
            .await;
    }

    #[tokio::test(start_paused = true)]
    async fn drain_closes_the_listener_and_waits_for_connections() {
        LocalSet::new()
            .run_until(async {
                let (listener, address) = loopback().await;
                let (trigger, drain) = drain();
                let finish = Rc::new(Notify::new());
                let (served, mut seen) = mpsc::unbounded_channel();
                let accepting =
                    spawn_local(accept_loop(listener, ConnectionLimit::new(8), drain, {
                        let finish = Rc::clone(&finish);
                        move |_stream, _peer, _permit| {
                            let (served, finish) = (served.clone(), Rc::clone(&finish));
                            async move {
                                served.send(()).expect("the test listens");
                                finish.notified().await;
                            }
                        }
                    }));
                let _client = TcpStream::connect(address).await.expect("connects");
                seen.recv().await.expect("served");
                let drained = spawn_local(trigger.drain(DEADLINE));
                while TcpStream::connect(address).await.is_ok() {
                    tokio::task::yield_now().await;
                }
                assert!(!drained.is_finished() && !accepting.is_finished());
                finish.notify_waiters();
                assert_eq!(
                    drained.await.expect("no panic"),
                    Drained {
                        finished: true,
                        left: 0
                    }
                );
                accepting.await.expect("no panic");
            })
            .await;
    }

    #[tokio::test(start_paused = true)]
    async fn overstaying_connection_is_cut_when_the_drain_ends() {
        LocalSet::new()
            .run_until(async {
                let (listener, address) = loopback().await;
                let (trigger, drain) = drain();
                let (served, mut seen) = mpsc::unbounded_channel();
                let limit = ConnectionLimit::new(8);
                let accepting = spawn_local(accept_loop(
                    listener,
                    limit.clone(),
                    drain,
                    move |stream, _peer, permit| {
                        let served = served.clone();
                        async move {
                            served.send(()).expect("the test listens");
                            let _open = (stream, permit);
                            std::future::pending::<()>().await;
                        }
                    },
                ));
                let client = TcpStream::connect(address).await.expect("connects");
                seen.recv().await.expect("served");
                assert_eq!(
                    trigger.drain(DEADLINE).await,
                    Drained {
                        finished: false,
                        left: 1
                    }
                );
                accepting.await.expect("no panic");
                assert_eq!(limit.in_use(), 0);
                assert!(is_closed(client).await);
            })
            .await;
    }

    #[tokio::test]
    async fn panic_in_one_connection_leaves_the_loop_running() {
        LocalSet::new()
            .run_until(async {
                let (listener, address) = loopback().await;
                let (_trigger, drain) = drain();
                let (served, mut seen) = mpsc::unbounded_channel();
                let fell_over = Cell::new(false);
                let limit = ConnectionLimit::new(1);
                spawn_local(accept_loop(
                    listener,
                    limit,
                    drain,
                    move |_stream, peer, permit| {
                        let (served, first) = (served.clone(), !fell_over.replace(true));
                        async move {
                            let _permit = permit;
                            assert!(!first, "fell over");
                            served.send(peer).expect("the test listens");
                        }
                    },
                ));
                let _first = TcpStream::connect(address).await.expect("connects");
                let second = TcpStream::connect(address).await.expect("connects");
                assert_eq!(seen.recv().await, second.local_addr().ok());
            })
            .await;
    }

    /// Plays `errors` before one connection is accepted, and tells how long the loop held off.
    async fn check(errors: &[Errno], expected: Duration) {
        let (listener, address) = loopback().await;
        let _client = TcpStream::connect(address).await.expect("connects");
        let accepted = listener.accept().await.expect("accepts");
        let script = errors
            .iter()
            .map(|errno| Err(io::Error::from(*errno)))
            .chain([Ok(accepted)]);
        let script = RefCell::new(script.collect::<VecDeque<_>>());
        let accept = async move || {
            let next = script.borrow_mut().pop_front();
            match next {
                Some(accepted) => accepted,
                None => std::future::pending().await,
            }
        };
        let (trigger, drain) = drain();
        let (served, mut seen) = mpsc::unbounded_channel();
        let began = Instant::now();
        let serve = move |_, _| {
            served.send(began.elapsed()).expect("the test listens");
            std::future::ready(())
        };
        let accepting =
            spawn_local(
                async move { accept_from(accept, ConnectionLimit::new(1), drain, serve).await },
            );
        let took = seen.recv().await.expect("served");
        assert_eq!(took.as_millis(), expected.as_millis(), "{errors:?}");
        trigger.drain(DEADLINE).await;
        accepting.await.expect("no panic");
    }

    #[tokio::test(start_paused = true)]
    async fn shortage_backs_off_and_a_lost_connection_does_not() {
        LocalSet::new()
            .run_until(async {
                check(&[Errno::MFILE, Errno::NFILE, Errno::NOBUFS], 3 * BACK_OFF).await;
                check(
                    &[Errno::CONNABORTED, Errno::PROTO, Errno::PERM],
                    Duration::ZERO,
                )
                .await;
                check(&[Errno::INVAL], BACK_OFF).await;
            })
            .await;
    }

    #[tokio::test(start_paused = true)]
    async fn drain_ends_a_loop_that_backs_off() {
        LocalSet::new()
            .run_until(async {
                let (trigger, drain) = drain();
                let accept = async || Err::<(), _>(Errno::MFILE.into());
                let serve = |(), _| std::future::ready(());
                let accepting =
                    spawn_local(accept_from(accept, ConnectionLimit::new(1), drain, serve));
                tokio::task::yield_now().await;
                assert!(trigger.drain(DEADLINE).await.finished);
                accepting.await.expect("no panic");
            })
            .await;
    }

    #[tokio::test]
    async fn ipv4_peer_of_an_ipv6_socket_is_shown_as_ipv4() {
        LocalSet::new()
            .run_until(async {
                let listener =
                    crate::listen::bind("[::]:0".parse().expect("an address"), false, 16);
                let Ok(listener) = listener else { return };
                let port = listener.local_addr().expect("bound").port();
                let (_trigger, drain) = drain();
                let (served, mut seen) = mpsc::unbounded_channel();
                let listener = TcpListener::from_std(listener).expect("nonblocking");
                spawn_local(accept_loop(
                    listener,
                    ConnectionLimit::new(1),
                    drain,
                    move |_, peer, _| {
                        served.send(peer).expect("the test listens");
                        std::future::ready(())
                    },
                ));
                let client = TcpStream::connect(("127.0.0.1", port))
                    .await
                    .expect("connects");
                assert_eq!(seen.recv().await, client.local_addr().ok());
            })
            .await;
    }
}
