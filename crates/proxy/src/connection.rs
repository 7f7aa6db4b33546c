//! One client connection, from the accepted socket to its end.
//!
//! It ends when the client or its last request ends it, when it idles or dawdles, when the process drains, and at once
//! when access is withdrawn: then the connection's future is dropped with everything in it, answers in flight too.

mod age;
mod login;
mod passing;
mod preface;
mod refused;
mod relay;
mod rest;
mod seldom;
mod stream;
mod tunnel;

use std::future::poll_fn;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::BytesMut;
use countersign_diagnose::cause::Cause;
use countersign_diagnose::evidence::Evidence;
use countersign_diagnose::refusal::{Refusal, RefusalId};
use countersign_diagnose::request::{Malformed, malformed};
use countersign_tls::acceptor::{Connection, Session};
use countersign_tls::refused_stream::RefusedStream;
use hyper::rt::{Executor, Read, Write};
use hyper::server::conn::{http1, http2};
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, Sleep, sleep, sleep_until};

pub(crate) use self::relay::open_one_of;
use self::rest::rest;
use self::seldom::Seldom;
pub(crate) use self::stream::{ClientStream, StreamEnd};
pub(crate) use self::tunnel::Tunnel;
use crate::activity::{Activity, Observed, Waiting};
use crate::decisions::Recorder;
use crate::exchange::{Caller, Withdrawn, exchange};
use crate::in_flight::InFlight;
use crate::keepalive;
use crate::listener::Listener;
use crate::plan::Protocol;
use crate::upstream::UpstreamPool;

/// What the connections of one worker share.
#[derive(Clone)]
pub(crate) struct Kit {
    pub(crate) pool: Rc<UpstreamPool>,
    pub(crate) in_flight: Rc<InFlight>,
    pub(crate) recorder: Rc<Recorder>,
}

/// What a connection is from its handshake to its end. On the heap, so that each kind takes the room that it needs while it rests, and
/// nothing of what led to it.
type Serving = Pin<Box<dyn Future<Output = ()>>>;

/// Takes a socket through its handshake and serves what comes.
pub(crate) fn serve(
    listener: Arc<Listener>,
    kit: Kit,
    socket: TcpStream,
    source: SocketAddr,
) -> impl Future<Output = ()> {
    let entering = Box::pin(enter(listener, kit, socket, source));
    async {
        if let Some(serving) = entering.await {
            serving.await;
        }
    }
}

/// Takes a socket through its handshake. `None`: it leads to nothing.
async fn enter(
    listener: Arc<Listener>,
    kit: Kit,
    socket: TcpStream,
    source: SocketAddr,
) -> Option<Serving> {
    keepalive::watch_accepted(&socket);
    let Some(acceptor) = &listener.acceptor else {
        let session = Session::plaintext(&listener.enforcement, &listener.name, source);
        return Some(serving(socket, session, listener, kit));
    };
    let entered = match listener
        .break_glass
        .as_ref()
        .map(|glass| (glass, glass.enter()))
    {
        Some((glass, Err(shut))) => {
            listener.refuse_socket(shut.refusal(glass.name()), source);
            return None;
        }
        Some((glass, Ok(live))) => Some((Arc::clone(glass), live)),
        None => None,
    };
    let Connection { stream, session } = match acceptor.accept(socket, source).await {
        Ok(connection) => connection,
        Err(mut refusal) => {
            let (stream, cause) = (refusal.stream.take(), refusal.refusal.cause);
            let id = listener.turn_away(*refusal, &kit.recorder);
            // It was not let in under any arming, and none has to wait for it.
            drop(entered);
            if let Some(stream) = stream {
                part(stream, listener.protocol, cause, &id).await;
            }
            return None;
        }
    };
    if let Some((glass, live)) = entered
        && let Err(shut) = glass.admit(&live, &session).await
    {
        let refusal = shut.refusal(glass.name());
        listener.refuse_request(refusal, &session, None);
        return None;
    }
    Some(serving(stream, session, listener, kit))
}

/// Serves a program of this host that came by a Unix socket. It is told of as 127.0.0.1, port 0.
pub(crate) fn serve_local(listener: Arc<Listener>, kit: Kit, socket: UnixStream) -> Serving {
    let source = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let session = Session::plaintext(&listener.enforcement, &listener.name, source);
    serving(socket, session, listener, kit)
}

/// Tells whoever is refused so in the protocol that it speaks.
async fn part(stream: RefusedStream, protocol: Protocol, cause: Cause, id: &RefusalId) {
    match protocol {
        Protocol::Bytes => refused::close(stream).await,
        Protocol::Http => refused::tell(stream, cause, id).await,
        Protocol::Postgresql => login::tell(stream, id).await,
    }
}

fn serving<S: AsyncRead + AsyncWrite + Unpin + 'static>(
    stream: S,
    session: Session,
    listener: Arc<Listener>,
    kit: Kit,
) -> Serving {
    listener.metrics.accepted(session.resumed);
    let without = listener.note_client(&session, &kit.recorder);
    let open = listener.metrics.open();
    let activity = Activity::new();
    let caller = Rc::new(Caller::new(session, listener, kit, Rc::clone(&activity)));
    let client = Observed {
        stream,
        activity,
        read_ahead: BytesMut::new(),
    };
    match caller.listener.protocol {
        Protocol::Bytes => Box::pin(async move {
            let _held = (without, open);
            relay::serve(client, Rc::clone(&caller)).await;
            age::note(&caller);
        }),
        Protocol::Postgresql => Box::pin(async move {
            let _held = (without, open);
            login::serve(client, Rc::clone(&caller)).await;
            age::note(&caller);
        }),
        Protocol::Http if caller.listener.acceptor.is_none() => Box::pin(async move {
            let _held = (without, open);
            serve_plaintext(client, caller).await;
        }),
        Protocol::Http if caller.is_h2() => Box::pin(async move {
            let _held = (without, open);
            serve_h2(TokioIo::new(client), Rc::clone(&caller)).await;
            age::note(&caller);
        }),
        Protocol::Http => Box::pin(async move {
            let _held = (without, open);
            serve_h1(TokioIo::new(client), Rc::clone(&caller)).await;
            age::note(&caller);
        }),
    }
}

/// Programs of this host agree on no protocol before they speak.
async fn serve_plaintext<S: AsyncRead + AsyncWrite + Unpin + 'static>(
    mut client: Observed<S>,
    mut caller: Rc<Caller>,
) {
    let mut read = BytesMut::new();
    let Some(is_http2) = preface::is_http2(&mut client, &mut read, &caller).await else {
        return;
    };
    client.read_ahead = read;
    if is_http2 && let Some(caller) = Rc::get_mut(&mut caller) {
        caller.session.alpn = Some((*b"h2").into());
    }
    let io = TokioIo::new(client);
    if caller.is_h2() {
        Box::pin(serve_h2(io, Rc::clone(&caller))).await;
    } else {
        serve_h1(io, Rc::clone(&caller)).await;
    }
    age::note(&caller);
}

type Io<S> = TokioIo<Observed<S>>;

async fn serve_h1<S: AsyncRead + AsyncWrite + Unpin + 'static>(mut io: Io<S>, caller: Rc<Caller>) {
    // On the heap, and gone while the connection rests.
    while let Some(quiet) = Box::pin(serve_h1_until_quiet(io, Rc::clone(&caller))).await {
        io = quiet;
        caller.rest();
        if let Err(error) = rest(io.inner_mut(), &caller).await {
            return note_broken(&error, &caller);
        }
    }
}

/// Gives the connection back when nothing has been under way for a while; `None`: it has ended.
async fn serve_h1_until_quiet<S: AsyncRead + AsyncWrite + Unpin + 'static>(
    io: Io<S>,
    caller: Rc<Caller>,
) -> Option<Io<S>> {
    let service = {
        let caller = Rc::clone(&caller);
        // On the heap: hyper keeps the room for an answer's future as long as the connection lives.
        service_fn(move |request| Box::pin(exchange(Rc::clone(&caller), request)))
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
    let mut parts = match ended {
        Ended::Quiet | Ended::Finished(Ok(())) => connection.into_parts(),
        _ => return None,
    };
    if matches!(ended, Ended::Quiet) {
        let observed = parts.io.inner_mut();
        if !parts.read_buf.is_empty() {
            // Half a head that came with the last request: its time begins here.
            observed.activity.note_read();
        }
        let mut read_ahead = BytesMut::from(&parts.read_buf[..]);
        read_ahead.unsplit(std::mem::take(&mut observed.read_ahead));
        observed.read_ahead = read_ahead;
        return Some(parts.io);
    }
    if let Some(tunnel) = caller.take_tunnel() {
        tunnel
            .run(parts.io.inner_mut(), parts.read_buf, &caller)
            .await;
    } else if caller.is_parting() {
        caller.unless_cut(relay::close(parts.io.into_inner())).await;
    }
    None
}

async fn serve_h2<S: AsyncRead + AsyncWrite + Unpin + 'static>(io: Io<S>, caller: Rc<Caller>) {
    let service = {
        let caller = Rc::clone(&caller);
        service_fn(move |request| {
            let activity = Rc::clone(&caller.activity);
            let is_over = activity.abandons().is_some();
            // On the heap: its stream is moved twice before it becomes a task.
            let answer = (!is_over).then(|| Box::pin(exchange(Rc::clone(&caller), request)));
            async move {
                let Some(answer) = answer else {
                    return Err(NotTaken::TooLate(h2::Reason::REFUSED_STREAM.into()));
                };
                Ok(activity.answering(answer).await?)
            }
        })
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
    let mut connection = pin!(connection);
    let ended = drive(connection.as_mut(), &caller).await;
    // On record before the client can see that it is over.
    note_end(&ended, &caller);
}

/// Why a stream has no answer.
#[derive(Debug, thiserror::Error)]
enum NotTaken {
    /// RFC 9113 §8.7: it may be sent again, over another connection.
    #[error("its connection takes no more")]
    TooLate(#[source] h2::Error),
    #[error(transparent)]
    Withdrawn(#[from] Withdrawn),
}

enum Ended {
    Finished(hyper::Result<()>),
    /// Nothing has been under way for a while, and nothing is left in any buffer.
    Quiet,
    /// It dawdled over a request's headers.
    HeadTimeout,
    /// It had its chance to end in good order.
    Overdue,
    /// It takes nothing of what waits for it.
    SendTimeout,
    /// Access was withdrawn.
    Withdrawn,
}

async fn drive<C: Served>(mut connection: Pin<&mut C>, caller: &Caller) -> Ended {
    let mut withdrawn = pin!(caller.session.lifeline.cut());
    let mut draining = pin!(caller.listener.drain.draining());
    let seldom = Seldom::new();
    let (head_limit, idle_limit) = {
        let serving = caller.listener.serving.load();
        (
            C::HAS_HEADS.then_some(serving.header_timeout),
            serving.idle_timeout,
        )
    };
    let send_limit = caller.pool.bounds.send;
    // A protocol that can rest is looked at more often.
    let (first_look, look) = if C::CAN_REST {
        (QUIET.min(idle_limit), LOOK.min(idle_limit))
    } else {
        (idle_limit, idle_limit)
    };
    let mut timer = pin!(sleep_until(Instant::now() + first_look));
    let mut is_finishing = false;
    let mut last_answers: Option<Pin<Box<Sleep>>> = None;
    poll_fn(|cx| {
        if caller.poll_cut(cx).is_ready() {
            return Poll::Ready(Ended::Withdrawn);
        }
        if let Some(cx) = &mut seldom.woken(cx) {
            if withdrawn.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ended::Withdrawn);
            }
            if !is_finishing && draining.as_mut().poll(cx).is_ready() {
                is_finishing = true;
                connection.as_mut().finish();
            }
        }
        loop {
            if let Poll::Ready(finished) = connection.as_mut().poll(cx) {
                return Poll::Ready(Ended::Finished(finished));
            }
            // A front has many people's requests on a connection: what is under way has its time, and nothing else is taken.
            if let Some(limit) = &mut last_answers {
                if limit.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Ended::Overdue);
                }
            } else if let Some(abandoned) = caller.activity.abandons() {
                note_abandoning(abandoned, caller);
                last_answers = Some(Box::pin(sleep(LAST_ANSWERS)));
                is_finishing = true;
                connection.as_mut().finish();
                continue;
            }
            let waiting = caller.activity.waiting(head_limit, idle_limit, send_limit);
            if let Waiting::Head(limit) | Waiting::Taking(limit) = waiting
                && limit < timer.deadline()
            {
                timer.as_mut().reset(limit);
            }
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            let now = Instant::now();
            let quiet_since = caller
                .activity
                .quiet_since()
                .filter(|_| C::CAN_REST && !is_finishing);
            match (waiting, quiet_since) {
                (Waiting::Request(limit), Some(since)) if limit > now => {
                    if since + QUIET <= now {
                        return Poll::Ready(Ended::Quiet);
                    }
                    timer.as_mut().reset(limit.min(since + QUIET));
                    continue;
                }
                _ => {}
            }
            match waiting {
                Waiting::Answer => timer.as_mut().reset(now + look),
                Waiting::Head(limit) if limit <= now => return Poll::Ready(Ended::HeadTimeout),
                Waiting::Taking(limit) if limit <= now => return Poll::Ready(Ended::SendTimeout),
                Waiting::Request(limit) if limit <= now && is_finishing => {
                    return Poll::Ready(Ended::Overdue);
                }
                Waiting::Request(limit) if limit <= now => {
                    is_finishing = true;
                    connection.as_mut().finish();
                    timer.as_mut().reset(now + FINISH_LIMIT);
                }
                Waiting::Head(limit) | Waiting::Request(limit) | Waiting::Taking(limit) => {
                    timer.as_mut().reset(limit.min(now + look));
                }
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
        Ended::Finished(Err(error)) if is_flood(error) => {
            let sentence = "the client resets its streams, or sends empty frames, faster than they can be served";
            Refusal::new(Cause::RequestLimit, sentence, Evidence::new())
        }
        Ended::Finished(Err(error)) => return note_broken(error, caller),
        Ended::SendTimeout => {
            tracing::debug!(src.addr = %caller.session.source, "client takes nothing");
            return;
        }
        Ended::Finished(Ok(())) | Ended::Quiet | Ended::Overdue | Ended::Withdrawn => return,
    };
    caller
        .listener
        .refuse_request(refusal, &caller.session, None);
}

fn note_abandoning(abandoned: u64, caller: &Caller) {
    let sentence = format!(
        "the client gave up {abandoned} requests before they were answered, faster than one does that waits for most of its answers"
    );
    let evidence = Evidence::new().with("abandoned", abandoned);
    let refusal = Refusal::new(Cause::RequestLimit, sentence, evidence);
    caller
        .listener
        .refuse_request(refusal, &caller.session, None);
}

/// Whether it was us who ended it, with `ENHANCE_YOUR_CALM` (RFC 9113 §7).
fn is_flood(error: &hyper::Error) -> bool {
    let source = std::error::Error::source(error);
    let of_h2 = source.and_then(|source| source.downcast_ref::<h2::Error>());
    of_h2.is_some_and(|error| {
        !error.is_remote() && error.reason() == Some(h2::Reason::ENHANCE_YOUR_CALM)
    })
}

fn note_broken(error: &impl std::error::Error, caller: &Caller) {
    tracing::debug!(src.addr = %caller.session.source, %error, "connection broke");
}

/// What the connections of both protocols can do.
trait Served: Future<Output = hyper::Result<()>> {
    /// Whether bytes between requests are the beginning of a head.
    const HAS_HEADS: bool;

    /// Whether a quiet connection has no state that has to be kept.
    const CAN_REST: bool;

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
    const CAN_REST: bool = true;

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
    const CAN_REST: bool = false;

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
        // On the heap: a task's future is moved when it begins, when it is done and when it is let go of.
        let mut stream = Box::pin(stream);
        // What sends for a tunnel is a task of its own.
        let end = caller.take_stream_end();
        tokio::task::spawn_local(async move {
            let mut withdrawn = pin!(caller.session.lifeline.cut());
            let mut exchange = None;
            poll_fn(|cx| {
                let is_cut = exchange.is_some_and(|id| caller.in_flight.is_cut(id))
                    || end.as_ref().is_some_and(|end| end.is_broken_off());
                if is_cut || withdrawn.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(());
                }
                // Another stream may have left its own.
                caller.take_begun();
                let polled = stream.as_mut().poll(cx);
                // A stream that was reset has opened no tunnel.
                caller.take_stream_end();
                if polled.is_ready() {
                    if let Some(end) = &end {
                        end.note_sent();
                    }
                    return Poll::Ready(());
                }
                if let Some(id) = caller.take_begun() {
                    caller.in_flight.ends_with(id, cx.waker());
                    exchange = Some(id);
                }
                Poll::Pending
            })
            .await;
        });
    }
}

/// Long enough that a busy connection never rests (one that asks less often can afford to begin anew), short enough that
/// a pool of idle ones soon costs little.
const QUIET: Duration = Duration::from_millis(100);

/// How often a connection that is under way is looked at, which wakes it: long answers are many.
const LOOK: Duration = Duration::from_secs(1);

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

/// Most answers take less, and whoever goes on giving up requests costs nothing more.
const LAST_ANSWERS: Duration = Duration::from_secs(10);

/// An idle connection only has a GOAWAY or a close alert to send.
const FINISH_LIMIT: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use countersign_tls::acceptor::Stream;

    use super::*;

    fn size_of_two<A, B, F: Future>(_: impl Fn(A, B) -> F) -> usize {
        size_of::<F>()
    }

    fn size_of_four<A, B, C, D, F: Future>(_: impl Fn(A, B, C, D) -> F) -> usize {
        size_of::<F>()
    }

    /// A future has room for all that it may ever await at once, and each connection that rests holds one: what is awaited once and is
    /// large belongs on the heap.
    #[test]
    fn connection_that_rests_takes_little_room() {
        let sizes = [
            ("a task", size_of_four(serve), 64),
            ("HTTP/1.1", size_of_two(serve_h1::<Stream>), 560),
            ("bytes", size_of_two(relay::serve::<Stream>), 560),
            ("its caller", size_of::<Caller>(), 400),
            ("its stream", size_of::<Stream>(), 8),
            ("a request", size_of_two(exchange), 4_800),
        ];
        for (what, size, limit) in sizes {
            assert!(size <= limit, "{what}: {size} bytes, and not {limit}");
        }
    }
}
