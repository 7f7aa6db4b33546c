//! Connections to upstreams: one pool per worker. Those of HTTP/1.1 serve one request at a time, those of HTTP/2 many.

mod address;
mod balance;
mod budget;
mod check;
mod deadline;
mod group;
mod health;
mod lease;
mod line;
mod link;
mod multiplexed;
mod rest;
mod tls;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use countersign_diagnose::refusal::Refusal;
use countersign_tls::enforcement::Enforcement;
use futures_util::FutureExt;
use futures_util::future::{LocalBoxFuture, Shared, WeakShared};
use http::HeaderValue;
use tokio::time::Instant;

pub(crate) use self::address::Address;
pub(crate) use self::balance::{Balance, MAX_UPSTREAMS, Members};
pub(crate) use self::check::{CheckFault, HealthCheck};
use self::group::Standing;
pub(crate) use self::group::{Choice, Group, UnderWay};
use self::health::Health;
pub(crate) use self::lease::{Lease, Wanted};
use self::line::{Idle, InUse, Line};
pub(crate) use self::link::{Link, Vouched};
use self::multiplexed::{Multiplexed, Stream};
pub(crate) use self::tls::TlsTarget;
use crate::health::Checks;
use crate::metrics::UpstreamMetrics;
use crate::own_keys::OwnKeyMap;
use crate::plan::Bounds;

/// One of those to which a route or a listener forwards.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Upstream {
    /// Whatever takes bytes.
    Bytes(Arc<Address>),
    /// The built-in page that shows who the client is.
    Demo,
    /// A server of requests.
    Http(Arc<Origin>),
}

/// A server of requests, and which HTTP it is spoken to in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Origin {
    pub(crate) address: Arc<Address>,
    pub(crate) versions: HttpVersions,
    /// The same server in HTTP/1.1 alone, for what HTTP/2 has no way to say; `None`: it speaks HTTP/2 and nothing else.
    pub(crate) http1: Option<Arc<Address>>,
    /// Which protocols a client may ask it to switch to.
    pub(crate) upgrades: Vec<HeaderValue>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum HttpVersions {
    /// As the upstream chooses in its TLS handshake.
    Either,
    Http1,
    /// Over plaintext by prior knowledge (RFC 9113 §3.3).
    Http2,
}

/// The idle connections of one worker, and the count of all.
pub(crate) struct UpstreamPool {
    pub(crate) bounds: Bounds,
    /// Which upstreams' certificates are revoked.
    enforcement: Enforcement,
    open: RefCell<OwnKeyMap<Arc<Address>, Rc<Cell<usize>>>>,
    idle: RefCell<OwnKeyMap<Arc<Address>, Vec<Idle>>>,
    /// Those of HTTP/2, in use or not.
    shared: RefCell<OwnKeyMap<Arc<Address>, Vec<Rc<Multiplexed>>>>,
    /// Connections that are being made for whoever wants a stream.
    attempts: RefCell<OwnKeyMap<Arc<Address>, WeakShared<Attempt>>>,
    /// When one that may speak either last chose HTTP/1.1.
    chose_http1: RefCell<OwnKeyMap<Arc<Address>, Instant>>,
    warned: RefCell<HashMap<Address, Instant>>,
    /// Of groups of several.
    standings: RefCell<OwnKeyMap<Arc<Group>, Rc<Standing>>>,
    health: Health,
    /// What the process's checks say; a check itself needs none.
    checks: Option<Checks>,
    metrics: UpstreamMetrics,
}

/// Its end leaves nothing in the pool but the connection. Everybody who waits for it is told the same.
type Attempt = LocalBoxFuture<'static, Result<Made, Rc<UpstreamFault>>>;

/// What became of an attempt.
#[derive(Clone)]
enum Made {
    Multiplexed(Rc<Multiplexed>),
    /// The upstream speaks HTTP/1.1: for whoever comes first.
    Single(Rc<RefCell<Option<Line>>>),
}

/// Counts one connection to an upstream until it is dropped.
pub(crate) struct Open(Rc<Cell<usize>>);

/// The upstream's half of a tunnel.
pub(crate) struct Switched {
    pub(crate) stream: Link,
    /// What the upstream sent right behind its answer.
    pub(crate) first: Bytes,
    pub(crate) _open: Open,
    /// Where others are beside the upstream.
    pub(crate) under_way: Option<UnderWay>,
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
    /// It took the beginning of HTTP/2 and says nothing.
    #[error("no word of HTTP/2 from it within {} s", CONNECT_LIMIT.as_secs())]
    GreetingTimeout,
    #[error("it was configured to speak HTTP/2 and does not")]
    NotHttp2,
    /// It refused our certificate, or we its.
    #[error("{}", .0.sentence())]
    Refused(Box<Refusal>),
    #[error("the client's request broke off")]
    RequestBroken,
    #[error("it switched protocols without being asked to")]
    Switched,
    /// Whatever the request asks for, it can be sent again.
    #[error("it did not process the request: {0}")]
    Unprocessed(hyper::Error),
}

impl Upstream {
    pub(crate) fn address(&self) -> Option<&Arc<Address>> {
        match self {
            Self::Bytes(address) => Some(address),
            Self::Demo => None,
            Self::Http(origin) => Some(&origin.address),
        }
    }

    /// Whether what went to `before` may go on there.
    pub(crate) fn is_still(&self, before: &Self) -> bool {
        let (now, then) = match (self, before) {
            (Self::Bytes(now), Self::Bytes(then)) => (now, then),
            (Self::Http(now), Self::Http(then)) => (&now.address, &then.address),
            _ => return self == before,
        };
        match (&**now, &**then) {
            (Address::Tls(now), Address::Tls(then)) => now.still_accepts(then),
            (now, then) => now == then,
        }
    }
}

impl Origin {
    pub(crate) fn new(
        address: Address,
        versions: HttpVersions,
        upgrades: Vec<HeaderValue>,
    ) -> Self {
        let http1 = match (versions, &address) {
            (HttpVersions::Http2, _) => None,
            (HttpVersions::Either, Address::Tls(target)) => {
                let mut target = target.clone();
                target.settings.alpn = vec![b"http/1.1".to_vec()];
                Some(Arc::new(Address::Tls(target)))
            }
            _ => Some(Arc::new(address.clone())),
        };
        Self {
            address: Arc::new(address),
            versions,
            http1,
            upgrades,
        }
    }

    /// What a URI begins with there.
    pub(crate) fn scheme(&self) -> http::uri::Scheme {
        match &*self.address {
            Address::Tls(_) => http::uri::Scheme::HTTPS,
            Address::Tcp { .. } | Address::Unix { .. } => http::uri::Scheme::HTTP,
        }
    }
}

impl UpstreamFault {
    /// Whether the upstream was too slow, and not wrong.
    pub(crate) fn is_timeout(&self) -> bool {
        matches!(
            self,
            Self::AnswerTimeout { .. } | Self::ConnectTimeout | Self::GreetingTimeout
        )
    }

    /// Whether no connection could be made, or none that the two agree on: nothing that a client has a hand in.
    fn is_of_connecting(&self) -> bool {
        matches!(
            self,
            Self::Connect(_)
                | Self::ConnectTimeout
                | Self::GreetingTimeout
                | Self::NotHttp2
                | Self::Refused(_)
        )
    }

    /// Whether it was the client's body that broke off, and not the upstream.
    pub(crate) fn is_of_client(&self) -> bool {
        match self {
            Self::Broken(error) => error.is_user(),
            Self::RequestBroken => true,
            _ => false,
        }
    }

    /// The same for another one who waited for it.
    fn told_again(&self) -> Self {
        match self {
            Self::AnswerTimeout { limit } => Self::AnswerTimeout { limit: *limit },
            Self::Connect(error) => Self::Connect(io::Error::new(error.kind(), error.to_string())),
            Self::ConnectTimeout => Self::ConnectTimeout,
            Self::Exhausted { limit } => Self::Exhausted { limit: *limit },
            Self::GreetingTimeout => Self::GreetingTimeout,
            Self::NotHttp2 => Self::NotHttp2,
            Self::Refused(refusal) => Self::Refused(refusal.clone()),
            Self::RequestBroken => Self::RequestBroken,
            Self::Switched => Self::Switched,
            Self::Broken(_) | Self::Closed | Self::Unprocessed(_) => Self::Closed,
        }
    }
}

impl UpstreamPool {
    pub(crate) fn new(
        bounds: Bounds,
        enforcement: Enforcement,
        metrics: UpstreamMetrics,
        checks: Option<Checks>,
    ) -> Rc<Self> {
        let (open, idle, warned) = Default::default();
        let (shared, attempts, chose_http1, standings) = Default::default();
        Rc::new(Self {
            bounds,
            enforcement,
            open,
            idle,
            shared,
            attempts,
            chose_http1,
            warned,
            standings,
            health: Health::new(metrics.clone()),
            checks,
            metrics,
        })
    }

    /// Where a request or a connection goes first.
    pub(crate) fn choose(self: &Rc<Self>, group: &Arc<Group>) -> Choice {
        Choice::new(self, group)
    }

    fn standing(&self, group: &Arc<Group>) -> Rc<Standing> {
        let mut standings = self.standings.borrow_mut();
        if let Some(standing) = standings.get(group) {
            return Rc::clone(standing);
        }
        let standing = Standing::new(group);
        standings.insert(Arc::clone(group), Rc::clone(&standing));
        standing
    }

    /// A connection of HTTP/1.1: one that idles and still stands, else a new one.
    pub(crate) async fn lease_http1(
        self: &Rc<Self>,
        address: &Arc<Address>,
        wanted: &Wanted,
    ) -> Result<Lease, UpstreamFault> {
        if let Some(lease) = self.take(address, wanted) {
            return Ok(lease);
        }
        // On the heap, as whatever few requests need: each one would have room for it.
        Box::pin(self.lease_new(address)).await
    }

    async fn lease_new(self: &Rc<Self>, address: &Arc<Address>) -> Result<Lease, UpstreamFault> {
        let limit = self.bounds.upstream_connections;
        let (stream, open) = self.connect(address, limit, &[]).await?;
        let line = Line::begin(stream, open).await?;
        Ok(Lease::Line(InUse::new(line, address, self, false)))
    }

    /// A connection of whatever the upstream speaks, or a stream of one.
    pub(crate) async fn lease(
        self: &Rc<Self>,
        origin: &Origin,
        wanted: &Wanted,
    ) -> Result<Lease, UpstreamFault> {
        let address = &origin.address;
        if origin.versions == HttpVersions::Http1 {
            return self.lease_http1(address, wanted).await;
        }
        if let Some(stream) = self.join(address, wanted) {
            return Ok(Lease::Stream(stream));
        }
        if let Some(lease) = self.take(address, wanted) {
            return Ok(lease);
        }
        Box::pin(self.lease_either(origin, wanted)).await
    }

    async fn lease_either(
        self: &Rc<Self>,
        origin: &Origin,
        wanted: &Wanted,
    ) -> Result<Lease, UpstreamFault> {
        let address = &origin.address;
        for _ in 0..MAX_ATTEMPTS {
            if let Some(stream) = self.join(address, wanted) {
                return Ok(Lease::Stream(stream));
            }
            if let Some(lease) = self.take(address, wanted) {
                return Ok(lease);
            }
            let made = if self.chose_http1_before(address) {
                // Whoever waited for one connection could not share it.
                self.make(address, origin.versions).await?
            } else {
                let attempt = self.attempt(address, origin.versions);
                attempt.await.map_err(|fault| fault.told_again())?
            };
            match made {
                Made::Multiplexed(connection) => {
                    if let Some(stream) = connection.join() {
                        return Ok(Lease::Stream(stream));
                    }
                }
                Made::Single(line) => {
                    if let Some(line) = line.borrow_mut().take() {
                        return Ok(Lease::Line(InUse::new(line, address, self, false)));
                    }
                }
            }
        }
        Err(UpstreamFault::Closed)
    }

    fn join(&self, address: &Arc<Address>, wanted: &Wanted) -> Option<Stream> {
        let shared = self.shared.borrow();
        let mut connections = shared.get(address)?.iter();
        match wanted {
            Wanted::Any => connections.find_map(Multiplexed::join),
            Wanted::New => None,
            Wanted::Other(than) => connections
                .filter(|connection| !Rc::ptr_eq(connection, than))
                .find_map(Multiplexed::join),
        }
    }

    /// The attempt that is under way, else another.
    fn attempt(self: &Rc<Self>, address: &Arc<Address>, versions: HttpVersions) -> Shared<Attempt> {
        let mut attempts = self.attempts.borrow_mut();
        if let Some(attempt) = attempts.get(address).and_then(WeakShared::upgrade) {
            return attempt;
        }
        let (pool, to) = (Rc::clone(self), Arc::clone(address));
        let attempt = async move {
            let made = pool.make(&to, versions).await;
            pool.attempts.borrow_mut().remove(&to);
            made.map_err(Rc::new)
        };
        let attempt = attempt.boxed_local().shared();
        if let Some(weak) = attempt.downgrade() {
            attempts.insert(Arc::clone(address), weak);
        }
        attempt
    }

    async fn make(
        &self,
        address: &Arc<Address>,
        versions: HttpVersions,
    ) -> Result<Made, UpstreamFault> {
        let limit = self.bounds.upstream_connections;
        let (stream, open) = self.connect(address, limit, &[]).await?;
        let speaks_http2 = match &stream {
            Link::Tls(link) => link.speaks_http2,
            Link::Tcp(_) | Link::Unix(_) => versions == HttpVersions::Http2,
        };
        if !speaks_http2 && versions == HttpVersions::Http2 {
            return Err(UpstreamFault::NotHttp2);
        }
        if !speaks_http2 {
            let choice = (Arc::clone(address), Instant::now());
            self.chose_http1.borrow_mut().extend([choice]);
            let line = Line::begin(stream, open).await?;
            return Ok(Made::Single(Rc::new(RefCell::new(Some(line)))));
        }
        self.chose_http1.borrow_mut().remove(address);
        let connection = Multiplexed::begin(stream, open).await?;
        let mut shared = self.shared.borrow_mut();
        let connections = shared.entry(Arc::clone(address)).or_default();
        connections.push(Rc::clone(&connection));
        Ok(Made::Multiplexed(connection))
    }

    fn chose_http1_before(&self, address: &Arc<Address>) -> bool {
        self.chose_http1.borrow().contains_key(address)
    }

    /// A connection for bytes, which is nobody's after this one.
    /// `header`: what goes before everything else, TLS included. `limit`: how many may be open.
    pub(crate) async fn open(
        &self,
        address: &Arc<Address>,
        limit: usize,
        header: &[u8],
    ) -> Result<Switched, UpstreamFault> {
        let (stream, open) = self.connect(address, limit, header).await?;
        Ok(Switched {
            stream,
            first: Bytes::new(),
            _open: open,
            under_way: None,
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
        self.shared.borrow_mut().retain(|_, connections| {
            connections.retain(|connection| connection.may_serve());
            !connections.is_empty()
        });
        (self.chose_http1.borrow_mut()).retain(|_, at| at.elapsed() < CHOICE_LIFE);
        self.open.borrow_mut().retain(|_, open| open.get() > 0);
        let now = Instant::now();
        self.health.reap(now);
        (self.standings.borrow_mut()).retain(|_, standing| standing.is_used(now));
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

    fn take(self: &Rc<Self>, address: &Arc<Address>, wanted: &Wanted) -> Option<Lease> {
        if matches!(wanted, Wanted::New) {
            return None;
        }
        let mut idle = self.idle.borrow_mut();
        let lines = idle.get_mut(address)?;
        // The last one used is the least likely to have been closed.
        while let Some(mut idle) = lines.pop() {
            if idle.may_serve() {
                return Some(Lease::Line(InUse::new(idle.line, address, self, true)));
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
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
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

/// How long an upstream that may speak either is taken to speak HTTP/1.1 still: its connections are not waited for in common.
const CHOICE_LIFE: Duration = Duration::from_mins(10);

/// A connection that others fill, or that ends at once, is no reason to try for ever.
const MAX_ATTEMPTS: usize = 4;
