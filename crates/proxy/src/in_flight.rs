//! The exchanges in flight on one worker, so that access taken away and clients that take nothing end them.
//!
//! A reload judges each of them again by what it asked for. Nothing else looks here but a sweep every few seconds, so that
//! a request costs an entry in a map and no timer, and an idle connection costs nothing.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::poll_fn;
use std::rc::{Rc, Weak};
use std::task::{Poll, Waker};
use std::time::Duration;

use countersign_policy::access::{Asked, Decision, Login, NoHeaders};
use http::{HeaderMap, Method, Uri};
use tokio::sync::mpsc;

use crate::exchange::{Caller, ReadHost};
use crate::factors::Proof;
use crate::headers::sent::SentHeaders;
use crate::own_keys::OwnKeyMap;
use crate::upstream::{Upstream, Vouched};

/// Held by whoever is told to end, dropped when it has ended.
pub(crate) type Awaited = mpsc::Sender<Infallible>;

/// One worker's.
pub(crate) struct InFlight {
    exchanges: RefCell<OwnKeyMap<u64, Exchange>>,
    next_id: Cell<u64>,
}

/// What was asked for and admitted.
pub(crate) enum Asking {
    /// On a listener of logins: to end what another connection does.
    Cancel {
        upstream: Upstream,
    },
    /// On a listener of bytes.
    Connection {
        upstream: Upstream,
    },
    Login {
        login: Login,
        upstream: Upstream,
    },
    Request {
        requested: Rc<Requested>,
        upstream: Upstream,
    },
}

/// What a request asked for, as the policy saw it.
pub(crate) struct Requested {
    pub(crate) method: Method,
    pub(crate) host: Rc<ReadHost>,
    pub(crate) target: Uri,
    /// Where a rule looked at any.
    pub(crate) headers: Option<HeaderMap>,
    /// Of the token that it was admitted with.
    pub(crate) proof: RefCell<Option<Proof>>,
}

impl Requested {
    fn path(&self) -> &str {
        self.host.asked_for(&self.method, &self.target)
    }
}

struct Exchange {
    /// Weak, because a tunnel's caller holds the tunnel, and that its place here.
    caller: Weak<Caller>,
    asking: Asking,
    /// The task of an HTTP/2 stream; without one the connection ends with the exchange.
    stream: Option<Waker>,
    is_cut: bool,
    /// Of an upstream over TLS: what stands behind the connection that it uses.
    vouched: Option<Rc<Vouched>>,
    /// Whether a frame of the answer was handed to HTTP/2, which has asked for no other since.
    is_handed_out: bool,
    /// How many sweeps found it so.
    sweeps: u32,
    awaited_by: Option<Awaited>,
}

/// An exchange's place. Dropped when the answer has passed.
pub(crate) struct Place {
    id: u64,
    in_flight: Rc<InFlight>,
    is_stream: bool,
}

impl InFlight {
    pub(crate) fn new() -> Rc<Self> {
        Rc::new(Self {
            exchanges: RefCell::default(),
            next_id: Cell::new(0),
        })
    }

    /// To be called in the poll that judged the request: a reload then either judges it again or came before.
    pub(crate) fn enter(self: &Rc<Self>, caller: &Rc<Caller>, asking: Asking) -> Place {
        let id = self.next_id.get();
        self.next_id.set(id + 1);
        let exchange = Exchange {
            caller: Rc::downgrade(caller),
            asking,
            stream: None,
            is_cut: false,
            vouched: None,
            is_handed_out: false,
            sweeps: 0,
            awaited_by: None,
        };
        self.exchanges.borrow_mut().insert(id, exchange);
        caller.note_begun(id);
        Place {
            id,
            in_flight: Rc::clone(self),
            is_stream: caller.is_h2(),
        }
    }

    /// Makes the exchange end with its HTTP/2 stream and leave the connection alone.
    pub(crate) fn ends_with(&self, id: u64, stream: &Waker) {
        if let Some(exchange) = self.exchanges.borrow_mut().get_mut(&id) {
            exchange.stream = Some(stream.clone());
        }
    }

    pub(crate) fn is_cut(&self, id: u64) -> bool {
        self.exchanges.borrow().get(&id).is_some_and(|exchange| {
            exchange.is_cut || exchange.vouched.as_ref().is_some_and(|it| it.is_cut())
        })
    }

    /// Ends those that what is served now does not admit to where they went.
    pub(crate) fn judge_again(&self, awaited_by: &Awaited) {
        for exchange in self.exchanges.borrow_mut().values_mut() {
            let Some(caller) = exchange.caller.upgrade() else {
                continue;
            };
            if !exchange.asking.may_still(&caller) {
                exchange.awaited_by = Some(awaited_by.clone());
                exchange.cut(&caller);
            }
        }
    }

    /// Ends HTTP/2 streams whose client takes no more; to be called at the interval of [`sweep_interval`].
    ///
    /// And what a rule admitted for some hours, for as long as a certificate is young, or by a token or an API key, when they are over.
    pub(crate) fn sweep(&self) {
        for exchange in self.exchanges.borrow_mut().values_mut() {
            if let Some(caller) = exchange.caller.upgrade()
                && !exchange.is_cut
                && caller.listener.serving.load().looks_at_time()
                && !exchange.asking.may_still(&caller)
            {
                tracing::debug!(src.addr = %caller.session.source, "what was admitted for a time is admitted no more");
                exchange.cut(&caller);
            }
        }
        for exchange in self.exchanges.borrow_mut().values_mut() {
            if !exchange.is_handed_out {
                continue;
            }
            exchange.sweeps += 1;
            if exchange.sweeps > SWEEPS
                && let Some(caller) = exchange.caller.upgrade()
            {
                tracing::debug!(src.addr = %caller.session.source, "stream's client takes nothing");
                exchange.cut(&caller);
            }
        }
    }
}

/// Fine enough that the limit is overrun by a twelfth, and no clock is read for each frame.
pub(crate) fn sweep_interval(send_limit: Duration) -> Duration {
    send_limit / SWEEPS
}

impl Asking {
    fn goes_to(&mut self, other: &Upstream) {
        let (Self::Cancel { upstream }
        | Self::Connection { upstream }
        | Self::Login { upstream, .. }
        | Self::Request { upstream, .. }) = self;
        upstream.clone_from(other);
    }

    /// Whether what was admitted goes through now, and to where it went.
    pub(crate) fn may_still(&self, caller: &Caller) -> bool {
        let (peer, circumstances) = (caller.session.peer.as_deref(), caller.circumstances());
        let serving = caller.listener.serving.load();
        match self {
            Self::Cancel { upstream } => {
                is_allowed(&serving.decide_before_login(peer, circumstances).0)
                    && serving.forwards_to(upstream)
            }
            Self::Connection { upstream } => {
                is_allowed(&serving.decide_connection(peer, circumstances).0)
                    && serving.forwards_to(upstream)
            }
            Self::Login { login, upstream } => {
                is_allowed(&serving.decide_login(peer, login, circumstances).0)
                    && serving.forwards_to(upstream)
            }
            Self::Request {
                requested,
                upstream,
            } => {
                // A rule about headers came after this request: what it said is gone, so that nobody can say that it still goes through.
                if requested.headers.is_none() && serving.looks_at_headers() {
                    return false;
                }
                // Judged again: keys may have been taken away, and a token may have ended.
                let shown = (requested.headers.as_ref())
                    .map(|headers| {
                        let before = requested.proof.take();
                        let shown =
                            caller.shown(&serving, headers, before.as_ref(), circumstances.now);
                        requested.proof.replace(shown.proof.clone());
                        shown
                    })
                    .unwrap_or_default();
                let headers = requested.headers.as_ref().map(SentHeaders::new);
                let asked = Asked {
                    peer,
                    host: requested.host.host.name(),
                    method: requested.method.as_str(),
                    path: requested.path(),
                    headers: match &headers {
                        Some(sent) => sent,
                        None => &NoHeaders,
                    },
                    factors: &shown.factors,
                    circumstances,
                };
                serving.still_allows(&asked, upstream)
            }
        }
    }
}

fn is_allowed(decision: &Decision) -> bool {
    matches!(decision, Decision::Allow { .. })
}

impl Exchange {
    fn cut(&mut self, caller: &Caller) {
        self.is_cut = true;
        match &self.stream {
            Some(stream) => stream.wake_by_ref(),
            None => caller.cut(),
        }
    }
}

impl Place {
    /// A frame of the answer was asked for.
    pub(crate) fn note_asked(&self) {
        self.note(false);
    }

    /// A frame of the answer was handed out: until the next is asked for, the client's flow control holds it.
    pub(crate) fn note_handed_out(&self) {
        self.note(true);
    }

    /// The answer comes over this connection, and ends with the trust in it, whether somebody takes the answer or not.
    pub(crate) fn depends_on(&self, vouched: Rc<Vouched>) {
        if let Some(exchange) = self.in_flight.exchanges.borrow_mut().get_mut(&self.id) {
            exchange.vouched = Some(vouched);
        }
    }

    /// What was asked for goes to another upstream than at first, if what is served now still leads there. To be called in the
    /// poll that chose it: a reload then either judges it again or came before.
    pub(crate) fn may_go_to(&self, upstream: &Upstream, caller: &Caller) -> bool {
        let mut exchanges = self.in_flight.exchanges.borrow_mut();
        let Some(exchange) = exchanges.get_mut(&self.id) else {
            return false;
        };
        exchange.asking.goes_to(upstream);
        exchange.asking.may_still(caller)
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// Resolves when it has to end, which then is the business of nobody but the task that waits here.
    pub(crate) async fn cut(&self) {
        poll_fn(|cx| {
            if self.in_flight.is_cut(self.id) {
                return Poll::Ready(());
            }
            self.in_flight.ends_with(self.id, cx.waker());
            Poll::Pending
        })
        .await;
    }

    fn note(&self, is_handed_out: bool) {
        // Over HTTP/1.1 the socket tells who takes nothing.
        if self.is_stream
            && let Some(exchange) = self.in_flight.exchanges.borrow_mut().get_mut(&self.id)
        {
            exchange.is_handed_out = is_handed_out;
            exchange.sweeps = 0;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Dropped when the map is no longer borrowed, whatever hangs on it.
        let _left = self.in_flight.exchanges.borrow_mut().remove(&self.id);
    }
}

const SWEEPS: u32 = 12;
