//! Connections of HTTP/2 to an upstream: each carries many requests, of many clients, at once.
//!
//! Nobody's task alone could drive such a connection, so it has tasks of its own. They end when nobody holds the connection
//! any more, and at once when its upstream is trusted no more, whatever is under way. Like every other connection, one on
//! which nothing is under way holds no lifeline, and is judged again when the next request comes.

use std::cell::{Cell, RefCell};
use std::error::Error as StdError;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use h2::Reason;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper::rt::Executor;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::deadline::{Deadline, Overdue};
use super::{
    CONNECT_LIMIT, IDLE_LIMIT, Link, MAX_HEAD_BYTES, Open, UnderWay, UpstreamFault, Vouched,
};
use crate::body::{CallOff, ToUpstream};

/// One connection.
pub(crate) struct Multiplexed {
    sender: SendRequest<ToUpstream>,
    /// Of an upstream over TLS.
    vouched: Option<Rc<Vouched>>,
    streams: Cell<usize>,
    /// As many as the upstream takes now.
    max_streams: Box<dyn Fn() -> usize>,
    has_served: Cell<bool>,
    /// Streams that we have reset for what their clients did: gave up an answer, or broke off a body.
    resets: Cell<usize>,
    idle_since: Cell<Instant>,
    /// Its tasks end when this says so, or is gone.
    end: watch::Sender<bool>,
    _open: Open,
}

/// A place for one request and its answer. Dropping it resets what is under way.
pub(crate) struct Stream {
    connection: Rc<Multiplexed>,
    pub(super) reused: bool,
    /// Where others are beside the upstream.
    pub(super) under_way: Option<UnderWay>,
    cut: RefCell<Option<Pin<Box<dyn Future<Output = ()>>>>>,
    /// The request's body, if it has one.
    body: Option<Rc<CallOff>>,
    end: End,
}

/// How the answer of a stream ended.
#[derive(Clone, Copy)]
enum End {
    /// With its last byte.
    Answered,
    /// By the upstream's doing, unless that answers what the client's body did.
    BrokenOff,
    /// Nobody waited for it.
    GivenUp,
}

/// Runs what hyper needs beside a connection, for as long as that is there.
#[derive(Clone)]
struct Tasks {
    ended: watch::Receiver<bool>,
    /// Who waits for what the upstream says first: hyper knows it, and tells nobody when.
    progress: Rc<RefCell<Option<Waker>>>,
}

impl Multiplexed {
    pub(super) async fn begin(link: Link, open: Open) -> Result<Rc<Self>, UpstreamFault> {
        let vouched = link.vouched();
        let (end, ended) = watch::channel(false);
        let tasks = Tasks {
            ended,
            progress: Rc::default(),
        };
        let handshake = Builder::new(tasks.clone())
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            // None before it has said how many it takes, which is the first that it says.
            .initial_max_send_streams(0)
            .max_header_list_size(u32::try_from(MAX_HEAD_BYTES).expect("a small number"))
            .max_send_buf_size(SEND_BUFFER)
            .max_concurrent_reset_streams(MAX_KEPT_RESETS)
            .max_local_error_reset_streams(MAX_LOCAL_RESETS)
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_LIMIT)
            .handshake(TokioIo::new(link));
        let (sender, connection) = handshake.await.map_err(UpstreamFault::Broken)?;
        let connection = Rc::new(RefCell::new(Some(connection)));
        let driven = Rc::clone(&connection);
        tasks.execute(async move {
            let ended = poll_fn(|cx| match &mut *driven.borrow_mut() {
                Some(connection) => Pin::new(connection).poll(cx),
                None => Poll::Ready(Ok(())),
            });
            if let Err(error) = ended.await {
                tracing::debug!(%error, "a connection to an upstream broke");
            }
            // Only when it is gone does its sender know that it has ended.
            let _ended = driven.take();
        });
        let max_streams = move || match &*connection.borrow() {
            Some(connection) => connection.current_max_send_streams(),
            None => 0,
        };
        let greeted = poll_fn(|cx| {
            if max_streams() > 0 {
                return Poll::Ready(true);
            }
            *tasks.progress.borrow_mut() = Some(cx.waker().clone());
            if sender.is_closed() {
                Poll::Ready(false)
            } else {
                Poll::Pending
            }
        });
        let fault = match timeout(CONNECT_LIMIT, greeted).await {
            Ok(true) => None,
            Ok(false) => Some(UpstreamFault::NotHttp2),
            Err(_) => Some(UpstreamFault::GreetingTimeout),
        };
        if let Some(fault) = fault {
            // In TLS 1.3 an upstream refuses our certificate when the handshake is done on our side.
            let refused = vouched.and_then(|vouched| vouched.refused());
            return Err(refused.map_or(fault, UpstreamFault::Refused));
        }
        // What nobody uses, no withdrawal has to wait for.
        if let Some(vouched) = &vouched {
            vouched.rest();
        }
        Ok(Rc::new(Self {
            sender,
            vouched,
            streams: Cell::new(0),
            max_streams: Box::new(max_streams),
            has_served: Cell::new(false),
            resets: Cell::new(0),
            idle_since: Cell::new(Instant::now()),
            end,
            _open: open,
        }))
    }

    /// A place for another request, if it can have one.
    pub(super) fn join(self: &Rc<Self>) -> Option<Stream> {
        if !self.has_room() {
            return None;
        }
        if let Some(vouched) = &self.vouched
            && self.streams.get() == 0
            && !vouched.wake()
        {
            vouched.rest();
            self.cut();
            return None;
        }
        self.streams.set(self.streams.get() + 1);
        let cut = self
            .vouched
            .as_ref()
            .map(|vouched| Box::pin(vouched.cut()) as Pin<Box<dyn Future<Output = ()>>>);
        Some(Stream {
            connection: Rc::clone(self),
            reused: self.has_served.replace(true),
            under_way: None,
            cut: RefCell::new(cut),
            body: None,
            end: End::GivenUp,
        })
    }

    /// Whether it is worth keeping in the pool.
    pub(super) fn may_serve(&self) -> bool {
        let is_idle = self.streams.get() == 0 && self.idle_since.get().elapsed() >= IDLE_LIMIT;
        !is_idle && self.takes_more()
    }

    fn has_room(&self) -> bool {
        self.takes_more() && self.streams.get() < (self.max_streams)().min(MAX_STREAMS as usize)
    }

    /// What clients gave up on it, its upstream may hold against everybody who is on it.
    fn takes_more(&self) -> bool {
        self.stands() && self.resets.get() < MAX_RESETS
    }

    fn stands(&self) -> bool {
        !self.is_cut() && self.sender.is_ready()
    }

    fn is_cut(&self) -> bool {
        *self.end.borrow() || self.vouched.as_ref().is_some_and(|it| it.is_cut())
    }

    /// Ends it with everything on it.
    fn cut(&self) {
        self.end.send_replace(true);
    }

    fn leave(&self, is_reset: bool) {
        if is_reset {
            self.resets.set(self.resets.get() + 1);
        }
        self.streams.set(self.streams.get() - 1);
        if self.streams.get() == 0 {
            self.idle_since.set(Instant::now());
            if let Some(vouched) = &self.vouched {
                vouched.rest();
            }
        }
    }
}

impl Stream {
    pub(super) fn connection(&self) -> Rc<Multiplexed> {
        Rc::clone(&self.connection)
    }

    pub(super) fn vouched(&self) -> Option<Rc<Vouched>> {
        self.connection.vouched.clone()
    }

    /// To be called when its answer has ended.
    pub(super) fn note_answered(&mut self) {
        self.end = End::Answered;
    }

    /// To be called when its answer broke off.
    pub(super) fn note_broken_off(&mut self) {
        self.end = End::BrokenOff;
    }

    /// Whether it ends with a reset of ours, which the upstream counts. An upload goes on behind an answer that came early, until we
    /// call it off; and what a client's broken body has us reset ends the answer, too.
    fn is_reset(&self) -> bool {
        match (self.end, &self.body) {
            (End::GivenUp, _) => true,
            (_, None) => false,
            (End::Answered, Some(body)) => !body.has_ended(),
            (End::BrokenOff, Some(body)) => body.is_broken(),
        }
    }

    /// Ends the connection when its upstream is trusted no more, and sees to it that this is asked again then.
    pub(super) fn end_if_cut(&self, cx: &mut Context<'_>) {
        let mut cut = self.cut.borrow_mut();
        if let Some(future) = &mut *cut
            && future.as_mut().poll(cx).is_ready()
        {
            *cut = None;
            self.connection.cut();
        }
    }

    pub(super) async fn send(
        &mut self,
        request: Request<ToUpstream>,
        limit: Option<Duration>,
    ) -> Result<Response<Incoming>, UpstreamFault> {
        let (taken, body) = (request.body().taken(), request.body().call_off());
        self.body.clone_from(&body);
        let mut overdue = limit.map(|limit| Overdue::new(limit, taken));
        let mut deadline = Deadline::default();
        let mut sender = self.connection.sender.clone();
        let mut answer = pin!(sender.try_send_request(request));
        let answered = poll_fn(|cx| {
            self.end_if_cut(cx);
            if let Poll::Ready(answer) = answer.as_mut().poll(cx) {
                return Poll::Ready(answer.map_err(|mut failed| {
                    if failed.take_message().is_some() {
                        UpstreamFault::Unprocessed(failed.into_error())
                    } else {
                        of_stream(failed.into_error())
                    }
                }));
            }
            let Some(overdue) = &mut overdue else {
                return Poll::Pending;
            };
            let limit = ready!(overdue.poll(&mut deadline, cx));
            Poll::Ready(Err(UpstreamFault::AnswerTimeout { limit }))
        });
        let answered = answered.await;
        if let Err(UpstreamFault::Unprocessed(_) | UpstreamFault::Broken(_)) = answered {
            self.note_broken_off();
        }
        match answered {
            Ok(answer) => Ok(answer),
            Err(_) if body.is_some_and(|body| body.is_broken()) => {
                Err(UpstreamFault::RequestBroken)
            }
            Err(fault) => Err(self.refusal().unwrap_or(fault)),
        }
    }

    /// In TLS 1.3 an upstream refuses our certificate when the handshake is done on our side. Streams learn of their
    /// connection's end, and not why it came.
    fn refusal(&self) -> Option<UpstreamFault> {
        let vouched = self.connection.vouched.as_ref()?;
        vouched.refused().map(UpstreamFault::Refused)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let Some(body) = &self.body {
            body.call_off();
        }
        self.connection.leave(self.is_reset());
    }
}

impl<F: Future + 'static> Executor<F> for Tasks {
    fn execute(&self, task: F) {
        let Self {
            mut ended,
            progress,
        } = self.clone();
        tokio::task::spawn_local(async move {
            let mut task = pin!(task);
            let running = poll_fn(|cx| {
                let polled = task.as_mut().poll(cx);
                if let Some(waiting) = progress.take() {
                    waiting.wake();
                }
                polled
            });
            tokio::select! {
                biased;
                _ = ended.wait_for(|ended| *ended) => {}
                _ = running => {}
            }
        });
    }
}

/// RFC 9113 §8.7: what was refused, or lies beyond the last stream of a GOAWAY, was not processed for certain.
fn of_stream(error: hyper::Error) -> UpstreamFault {
    let is_unprocessed = error
        .source()
        .and_then(|source| source.downcast_ref::<h2::Error>())
        .is_some_and(|cause| {
            cause.is_remote()
                && (cause.is_go_away() || cause.reason() == Some(Reason::REFUSED_STREAM))
        });
    if is_unprocessed {
        UpstreamFault::Unprocessed(error)
    } else {
        UpstreamFault::Broken(error)
    }
}

/// RFC 9113 §6.5.2 advises upstreams to take at least as many; more than an upstream takes go over another connection.
const MAX_STREAMS: u32 = 100;

/// Then another connection takes what comes. Below half of what Envoy looks at (500), and the 1000 of nghttp2: those would answer with GOAWAY, and
/// cut off what others have on it.
const MAX_RESETS: usize = 200;

/// As on the side of the clients.
const STREAM_WINDOW: u32 = 256 * 1024;

/// All streams' together: a client that takes nothing of its answer must not hold up those of others.
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * MAX_STREAMS;

const SEND_BUFFER: usize = 64 * 1024;

/// Streams that we have reset, whose frames may still come: h2's own default for servers, spelled out.
const MAX_KEPT_RESETS: usize = 50;

/// Streams that we had to reset for what the upstream sent on them; then the connection ends. h2's own default.
const MAX_LOCAL_RESETS: usize = 1024;

/// A dead upstream with a request in flight is noticed within 80 s.
const PING_INTERVAL: Duration = Duration::from_mins(1);
const PING_LIMIT: Duration = Duration::from_secs(20);
