//! Connections to upstreams: one pool per worker, each connection driven by the task that uses it.
//!
//! hyper's client is a handle and a connection that has to be polled. Usually a task of its own polls it; here the task of
//! the client's connection does, so that a request costs two wake-ups of one task and no message between tasks. Nobody
//! polls an idle connection: whether it still stands is asked when it is taken out.

mod link;
mod tls;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::path::PathBuf;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use countersign_diagnose::refusal::Refusal;
use countersign_tls::enforcement::Enforcement;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::task::unconstrained;
use tokio::time::{Instant, sleep, timeout};

pub(crate) use self::link::{Link, Vouched};
pub(crate) use self::tls::TlsTarget;
use crate::body::ToUpstream;
use crate::plan::Bounds;

/// Where a route or a listener forwards.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Upstream {
    /// Whatever takes bytes.
    Bytes(Arc<Address>),
    /// The built-in page that shows who the client is.
    Demo,
    /// An HTTP/1.1 server.
    Http(Arc<Address>),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Address {
    /// Looked up at each connect.
    Tcp { host: String, port: u16 },
    /// The same, over TLS.
    Tls(TlsTarget),
    /// A socket of the file system.
    Unix { path: PathBuf },
}

/// The idle connections of one worker, and the count of all.
pub(crate) struct UpstreamPool {
    pub(crate) bounds: Bounds,
    /// Which upstreams' certificates are revoked.
    enforcement: Enforcement,
    open: RefCell<HashMap<Arc<Address>, Rc<Cell<usize>>>>,
    idle: RefCell<HashMap<Arc<Address>, Vec<Idle>>>,
    warned: RefCell<HashMap<Address, Instant>>,
}

struct Idle {
    line: Line,
    since: Instant,
}

/// A connection and the handle to send on it.
struct Line {
    sender: SendRequest<ToUpstream>,
    connection: Box<Connection<TokioIo<Link>, ToUpstream>>,
    /// Of an upstream over TLS.
    vouched: Option<Rc<Vouched>>,
    open: Open,
}

/// Counts one connection to an upstream until it is dropped.
pub(crate) struct Open(Rc<Cell<usize>>);

/// The upstream's half of a tunnel.
pub(crate) struct Switched {
    pub(crate) stream: Link,
    /// What the upstream sent right behind its answer.
    pub(crate) first: Bytes,
    pub(crate) _open: Open,
}

/// A connection in use. Dropping it closes it; [`Lease::give_back`] keeps it.
pub(crate) struct Lease {
    line: Line,
    address: Arc<Address>,
    pool: Rc<UpstreamPool>,
    /// Whether it has served before, so that the upstream may have closed it in the meantime.
    reused: bool,
    /// Whether the connection's future has ended: it may not be polled again.
    closed: bool,
    /// Whether the upstream may take whoever speaks on it for this client.
    is_private: bool,
    /// Resolves when an upstream over TLS is trusted no more, so that a connection on which nothing happens is looked at.
    cut: Option<Pin<Box<dyn Future<Output = ()>>>>,
}

/// Why an upstream did not answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UpstreamFault {
    #[error("no answer within {} s", limit.as_secs())]
    AnswerTimeout { limit: Duration },
    #[error("the connection broke: {0}")]
    Broken(hyper::Error),
    #[error("the connection was closed before an answer")]
    Closed,
    #[error("cannot connect: {0}")]
    Connect(#[from] io::Error),
    #[error("cannot connect within {} s", CONNECT_LIMIT.as_secs())]
    ConnectTimeout,
    #[error("{limit} connections to it are open, as many as a worker may have")]
    Exhausted { limit: usize },
    /// It refused our certificate, or we its.
    #[error("{}", .0.sentence())]
    Refused(Box<Refusal>),
    #[error("it switched protocols without being asked to")]
    Switched,
}

impl Upstream {
    /// Whether what went to `before` may go on there.
    pub(crate) fn is_still(&self, before: &Self) -> bool {
        let (Self::Bytes(now) | Self::Http(now), Self::Bytes(then) | Self::Http(then)) =
            (self, before)
        else {
            return self == before;
        };
        match (&**now, &**then) {
            (Address::Tls(now), Address::Tls(then)) => now.still_accepts(then),
            (now, then) => now == then,
        }
    }
}

impl UpstreamFault {
    /// Whether the upstream was too slow, and not wrong.
    pub(crate) fn is_timeout(&self) -> bool {
        matches!(self, Self::AnswerTimeout { .. } | Self::ConnectTimeout)
    }

    /// Whether it was the client's body that broke off, and not the upstream.
    pub(crate) fn is_of_client(&self) -> bool {
        matches!(self, Self::Broken(error) if error.is_user())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Tls(target) => {
                write!(
                    f,
                    "{}:{} over TLS",
                    target.settings.host, target.settings.port
                )
            }
            Self::Unix { path } => write!(f, "unix:{}", path.display()),
        }
    }
}

impl UpstreamPool {
    pub(crate) fn new(bounds: Bounds, enforcement: Enforcement) -> Rc<Self> {
        let (open, idle, warned) = Default::default();
        Rc::new(Self {
            bounds,
            enforcement,
            open,
            idle,
            warned,
        })
    }

    /// An idle connection that still stands, else a new one.
    pub(crate) async fn lease(
        self: &Rc<Self>,
        address: &Arc<Address>,
    ) -> Result<Lease, UpstreamFault> {
        match self.take(address) {
            Some(line) => Ok(self.leased(line, address, true)),
            None => self.lease_new(address).await,
        }
    }

    /// A new connection.
    pub(crate) async fn lease_new(
        self: &Rc<Self>,
        address: &Arc<Address>,
    ) -> Result<Lease, UpstreamFault> {
        let limit = self.bounds.upstream_connections;
        let (stream, open) = self.connect(address, limit, &[]).await?;
        let vouched = stream.vouched();
        let handshake = Builder::new()
            .max_buf_size(MAX_HEAD_BYTES)
            .handshake(TokioIo::new(stream));
        let (sender, connection) = handshake.await.map_err(UpstreamFault::Broken)?;
        let line = Line {
            sender,
            connection: Box::new(connection),
            vouched,
            open,
        };
        Ok(self.leased(line, address, false))
    }

    /// A connection for bytes, which is nobody's after this one.
    /// `header`: what goes before everything else, TLS included.
    pub(crate) async fn open(
        &self,
        address: &Arc<Address>,
        header: &[u8],
    ) -> Result<Switched, UpstreamFault> {
        // As many as the listener has clients, each of which has one.
        let (stream, open) = self.connect(address, usize::MAX, header).await?;
        Ok(Switched {
            stream,
            first: Bytes::new(),
            _open: open,
        })
    }

    async fn connect(
        &self,
        address: &Arc<Address>,
        limit: usize,
        header: &[u8],
    ) -> Result<(Link, Open), UpstreamFault> {
        let open = self.count(address, limit)?;
        let stream = Link::connect(address, &self.enforcement, header).await?;
        Ok((stream, open))
    }

    /// Closes connections that nobody wanted for a while; to be called every few seconds.
    pub(crate) fn reap(&self) {
        self.idle.borrow_mut().retain(|_, lines| {
            lines.retain_mut(|idle| {
                let stays = idle.may_serve();
                idle.line.rest();
                stays
            });
            !lines.is_empty()
        });
        self.open.borrow_mut().retain(|_, open| open.get() > 0);
    }

    /// Whether an upstream that fails each request should be told of again.
    pub(crate) fn may_warn(&self, address: &Address) -> bool {
        let mut warned = self.warned.borrow_mut();
        warned.retain(|_, at| at.elapsed() < WARN_INTERVAL);
        if warned.contains_key(address) {
            return false;
        }
        warned.insert(address.clone(), Instant::now());
        true
    }

    fn count(&self, address: &Arc<Address>, limit: usize) -> Result<Open, UpstreamFault> {
        let mut open = self.open.borrow_mut();
        let open = open.entry(Arc::clone(address)).or_default();
        if open.get() >= limit {
            return Err(UpstreamFault::Exhausted { limit });
        }
        open.set(open.get() + 1);
        Ok(Open(Rc::clone(open)))
    }

    fn take(&self, address: &Arc<Address>) -> Option<Line> {
        let mut idle = self.idle.borrow_mut();
        let lines = idle.get_mut(address)?;
        // The last one used is the least likely to have been closed.
        while let Some(mut idle) = lines.pop() {
            if idle.may_serve() {
                return Some(idle.line);
            }
        }
        None
    }

    fn put(&self, address: Arc<Address>, line: Line) {
        let mut idle = self.idle.borrow_mut();
        let lines = idle.entry(address).or_default();
        if lines.len() < MAX_IDLE {
            line.rest();
            lines.push(Idle {
                line,
                since: Instant::now(),
            });
        }
    }

    fn leased(self: &Rc<Self>, line: Line, address: &Arc<Address>, reused: bool) -> Lease {
        let cut = line
            .vouched
            .as_ref()
            .map(|vouched| Box::pin(vouched.cut()) as Pin<Box<dyn Future<Output = ()>>>);
        Lease {
            line,
            address: Arc::clone(address),
            pool: Rc::clone(self),
            reused,
            closed: false,
            is_private: false,
            cut,
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl Idle {
    /// Whether it can be taken up again.
    fn may_serve(&mut self) -> bool {
        self.since.elapsed() < IDLE_LIMIT
            && self.line.vouched.as_ref().is_none_or(|it| it.wake())
            && self.line.stands()
    }
}

impl Line {
    /// A withdrawal has nothing to wait for where nothing is under way.
    fn rest(&self) {
        if let Some(vouched) = &self.vouched {
            vouched.rest();
        }
    }

    /// Whether it can take a request: the upstream has neither closed it nor spoken out of turn.
    fn stands(&mut self) -> bool {
        let quiet = &mut Context::from_waker(Waker::noop());
        !self.is_cut()
            && Pin::new(&mut self.connection).poll(quiet).is_pending()
            && self.sender.is_ready()
    }

    fn is_cut(&self) -> bool {
        self.vouched.as_ref().is_some_and(|it| it.is_cut())
    }
}

impl Lease {
    pub(crate) fn is_reused(&self) -> bool {
        self.reused
    }

    /// What stands behind the connection, if it is over TLS.
    pub(crate) fn vouched(&self) -> Option<Rc<Vouched>> {
        self.line.vouched.clone()
    }

    /// To be called when the connection itself has been authenticated, or may have been.
    pub(crate) fn keep_from_others(&mut self) {
        self.is_private = true;
    }

    /// Sends the request and waits for the head of the answer. An error ends the connection.
    pub(crate) async fn send(
        mut self,
        request: Request<ToUpstream>,
    ) -> Result<(Response<Incoming>, Self), UpstreamFault> {
        let limit = self.pool.bounds.answer;
        let taken = request.body().taken();
        let mut timer = pin!(sleep(limit));
        // `unconstrained`: out of budget, tokio would wake a waker that wakes nobody.
        let mut answer = pin!(unconstrained(self.line.sender.send_request(request)));
        // As in `body`: the answer becomes ready by polling the connection, which only this does.
        let quiet = &mut Context::from_waker(Waker::noop());
        let answered = poll_fn(|cx| {
            let closed = self.poll_driven(cx).is_ready();
            match answer.as_mut().poll(quiet) {
                Poll::Ready(answer) => return Poll::Ready(answer.map_err(UpstreamFault::Broken)),
                Poll::Pending if closed => return Poll::Ready(Err(UpstreamFault::Closed)),
                Poll::Pending => {}
            }
            while timer.as_mut().poll(cx).is_ready() {
                // An upload takes as long as it takes: the upstream's time begins when it has taken the last of it.
                match taken.as_ref().map(|taken| taken.get() + limit) {
                    Some(end) if end > timer.deadline() => timer.as_mut().reset(end),
                    _ => return Poll::Ready(Err(UpstreamFault::AnswerTimeout { limit })),
                }
            }
            Poll::Pending
        });
        match answered.await {
            Ok(answer) => Ok((answer, self)),
            // In TLS 1.3 an upstream refuses our certificate when the handshake is done on our side.
            Err(UpstreamFault::Broken(error)) => {
                let vouched = self.line.vouched.as_ref();
                let refused = vouched.and_then(|it| it.refusal_behind(&error));
                Err(refused.unwrap_or(UpstreamFault::Broken(error)))
            }
            Err(fault) => Err(fault),
        }
    }

    /// Lets the connection progress; ready when it has closed.
    pub(crate) fn poll_driven(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(cut) = &mut self.cut
            && cut.as_mut().poll(cx).is_ready()
        {
            self.cut = None;
        }
        self.closed = self.closed || Pin::new(&mut self.line.connection).poll(cx).is_ready();
        if self.closed {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    /// Keeps the connection for another request. To be called when the answer has ended.
    ///
    /// One that is still taking the request's body is closed: its answer came early, and the rest of the body may never come.
    pub(crate) fn give_back(mut self) {
        let quiet = &mut Context::from_waker(Waker::noop());
        if !self.is_private && self.poll_driven(quiet).is_pending() && self.line.sender.is_ready() {
            self.pool.put(self.address, self.line);
        }
    }

    /// The bare connection after the upstream has switched protocols, with the bytes that it sent since.
    pub(crate) async fn into_tunnel(mut self) -> Result<Switched, UpstreamFault> {
        timeout(CONNECT_LIMIT, poll_fn(|cx| self.poll_driven(cx)))
            .await
            .map_err(|_| UpstreamFault::AnswerTimeout {
                limit: CONNECT_LIMIT,
            })?;
        let parts = self.line.connection.into_parts();
        Ok(Switched {
            stream: parts.io.into_inner(),
            first: parts.read_buf,
            _open: self.line.open,
        })
    }
}

/// Long enough for a SYN to be sent a third time; a client waits no longer with patience.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// Below the 60 s after which most upstreams close, so that we close first.
const IDLE_LIMIT: Duration = Duration::from_secs(55);

/// Idle connections per upstream and worker. nginx's documentation calls 32 enough; bursts of h2 streams want more.
const MAX_IDLE: usize = 128;

/// What an upstream's header section may take, and the read buffer with it.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// An upstream that is down is one line each 10 s and worker, not one per request.
const WARN_INTERVAL: Duration = Duration::from_secs(10);
