//! One client connection, from the accepted socket to its end.
//!
//! It ends when the client or its last request ends it, when it idles or dawdles, when the process drains, and at once
//! when access is withdrawn: then the connection's future is dropped with everything in it, answers in flight too.

mod tunnel;

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use countersign_diagnose::cause::Cause;
use countersign_diagnose::evidence::Evidence;
use countersign_diagnose::refusal::Refusal;
use countersign_diagnose::request::{Malformed, malformed};
use countersign_tls::acceptor::{Connection, Stream};
use hyper::rt::{Executor, Read, Write};
use hyper::server::conn::{http1, http2};
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};

pub(crate) use self::tunnel::Tunnel;
use crate::activity::{Activity, Observed, Waiting};
use crate::exchange::{Caller, exchange};
use crate::listener::Listener;
use crate::upstream::UpstreamPool;

/// Takes a socket through its handshake and serves what comes.
pub(crate) async fn serve(
    listener: Arc<Listener>,
    pool: Rc<UpstreamPool>,
    socket: TcpStream,
    source: SocketAddr,
) {
    let Connection { stream, session } = match listener.acceptor.accept(socket, source).await {
        Ok(connection) => connection,
        Err(refusal) => return listener.refuse_handshake(*refusal),
    };
    listener.metrics.accepted(session.resumed);
    let _open = listener.metrics.open();
    let is_h2 = session.alpn.as_deref() == Some(b"h2");
    let activity = Activity::new();
    let caller = Rc::new(Caller::new(session, listener, pool, Rc::clone(&activity)));
    let io = TokioIo::new(Observed { stream, activity });
    if is_h2 {
        serve_h2(io, caller).await;
    } else {
        serve_h1(io, caller).await;
    }
}

type Io = TokioIo<Observed<Stream>>;

async fn serve_h1(io: Io, caller: Rc<Caller>) {
    let service = {
        let caller = Rc::clone(&caller);
        service_fn(move |request| exchange(Rc::clone(&caller), request))
    };
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // `drive` has a limit that costs no timer per request and does not run while the connection idles.
        .header_read_timeout(None)
        .max_header_size(MAX_HEAD_BYTES)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(io, service);
    let ended = drive(Pin::new(&mut connection), &caller).await;
    note_end(&ended, &caller);
    if let (Ended::Finished(Ok(())), Some(tunnel)) = (ended, caller.take_tunnel()) {
        let parts = connection.into_parts();
        tunnel
            .run(parts.io.into_inner(), parts.read_buf, &caller)
            .await;
    }
}

async fn serve_h2(io: Io, caller: Rc<Caller>) {
    let service = {
        let caller = Rc::clone(&caller);
        service_fn(move |request| exchange(Rc::clone(&caller), request))
    };
    let connection = http2::Builder::new(Streams(Rc::clone(&caller)))
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(u32::try_from(MAX_HEAD_BYTES).expect("a small number"))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
        .max_local_error_reset_streams(MAX_LOCAL_RESETS)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_LIMIT)
        .serve_connection(io, service);
    let ended = drive(pin!(connection), &caller).await;
    note_end(&ended, &caller);
}

enum Ended {
    Finished(hyper::Result<()>),
    /// It dawdled over a request's headers.
    HeadTimeout,
    /// It had its chance to end in good order.
    Overdue,
    /// Access was withdrawn.
    Withdrawn,
}

async fn drive<C: Served>(mut connection: Pin<&mut C>, caller: &Caller) -> Ended {
    let mut withdrawn = pin!(caller.session.lifeline.cut());
    let mut draining = pin!(caller.listener.drain.draining());
    let (head_limit, idle_limit) = {
        let serving = caller.listener.serving.load();
        (
            C::HAS_HEADS.then_some(serving.header_timeout),
            serving.idle_timeout,
        )
    };
    let mut timer = pin!(sleep_until(Instant::now() + idle_limit));
    let mut is_finishing = false;
    poll_fn(|cx| {
        if withdrawn.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ended::Withdrawn);
        }
        if !is_finishing && draining.as_mut().poll(cx).is_ready() {
            is_finishing = true;
            connection.as_mut().finish();
        }
        loop {
            if let Poll::Ready(finished) = connection.as_mut().poll(cx) {
                return Poll::Ready(Ended::Finished(finished));
            }
            let waiting = caller.activity.waiting(head_limit, idle_limit);
            if let Waiting::Head(limit) = waiting
                && limit < timer.deadline()
            {
                timer.as_mut().reset(limit);
            }
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            let now = Instant::now();
            match waiting {
                Waiting::Answer => timer.as_mut().reset(now + idle_limit),
                Waiting::Head(limit) if limit <= now => return Poll::Ready(Ended::HeadTimeout),
                Waiting::Request(limit) if limit <= now && is_finishing => {
                    return Poll::Ready(Ended::Overdue);
                }
                Waiting::Request(limit) if limit <= now => {
                    is_finishing = true;
                    connection.as_mut().finish();
                    timer.as_mut().reset(now + FINISH_LIMIT);
                }
                Waiting::Head(limit) | Waiting::Request(limit) => timer.as_mut().reset(limit),
            }
        }
    })
    .await
}

fn note_end(ended: &Ended, caller: &Caller) {
    let refusal = match ended {
        Ended::Finished(Err(error)) if error.is_parse() => malformed(Malformed::Unreadable, error),
        Ended::HeadTimeout => {
            let sentence = "the headers of a request did not arrive in time";
            Refusal::new(Cause::RequestLimit, sentence, Evidence::new())
        }
        Ended::Finished(Err(error)) => {
            tracing::debug!(src.addr = %caller.session.source, %error, "connection broke");
            return;
        }
        Ended::Finished(Ok(())) | Ended::Overdue | Ended::Withdrawn => return,
    };
    caller
        .listener
        .refuse_request(refusal, &caller.session, None);
}

/// What the connections of both protocols can do.
trait Served: Future<Output = hyper::Result<()>> {
    /// Whether bytes between requests are the beginning of a head.
    const HAS_HEADS: bool;

    /// Answers what is in flight, takes no more.
    fn finish(self: Pin<&mut Self>);
}

impl<I, S> Served for http1::Connection<I, S>
where
    I: Read + Write + Unpin,
    S: HttpService<hyper::body::Incoming>,
    Self: Future<Output = hyper::Result<()>>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    S::ResBody: 'static,
    <S::ResBody as hyper::body::Body>::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    const HAS_HEADS: bool = true;

    fn finish(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<I, S, E> Served for http2::Connection<I, S, E>
where
    I: Read + Write + Unpin,
    S: HttpService<hyper::body::Incoming>,
    Self: Future<Output = hyper::Result<()>>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    S::ResBody: 'static,
    <S::ResBody as hyper::body::Body>::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    E: hyper::rt::bounds::Http2ServerConnExec<S::Future, S::ResBody>,
{
    const HAS_HEADS: bool = false;

    fn finish(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// Streams run beside their connection, on its worker. Each ends by itself when access is withdrawn: one that waits for an
/// upstream would not learn of its connection's end otherwise.
#[derive(Clone)]
struct Streams(Rc<Caller>);

impl<F: Future + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        let caller = Rc::clone(&self.0);
        tokio::task::spawn_local(async move {
            tokio::select! {
                biased;
                () = caller.session.lifeline.cut() => {}
                _ = stream => {}
            }
        });
    }
}

/// Twice what nginx takes in all by default. The number of HTTP/1.1 headers is hyper's own limit of 100, not set here:
/// hyper then parses into a buffer of the heap.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// RFC 9113 §6.5.2 advises at least 100.
const MAX_STREAMS: u32 = 250;

/// 10 Gbit/s need more, 100 ms at 20 Mbit/s do not; each stream may hold as much in memory.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
const SEND_BUFFER: usize = 64 * 1024;

/// Rapid reset (CVE-2023-44487): h2's own default, spelled out.
const MAX_PENDING_RESETS: usize = 20;
const MAX_LOCAL_RESETS: usize = 1024;

/// A dead peer with a request in flight is noticed within 80 s.
const PING_INTERVAL: Duration = Duration::from_mins(1);
const PING_LIMIT: Duration = Duration::from_secs(20);

/// An idle connection only has a GOAWAY or a close alert to send.
const FINISH_LIMIT: Duration = Duration::from_secs(1);
