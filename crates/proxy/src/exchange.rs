//! One request's way through: judged, freed of what the client says of itself, told who it is from, forwarded.

mod connecting;
mod form;
mod forwarding;
mod glass;
mod judging;

use std::cell::{Cell, OnceCell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use countersign_diagnose::cause::Cause;
use countersign_diagnose::request::Malformed;
use countersign_pki::time::UnixTime;
use countersign_policy::access::{Circumstances, Factor};
use countersign_tls::acceptor::Session;
use http::header::{CONNECTION, HeaderMap, HeaderValue};
use http::request::Parts;
use http::{Method, Request, Response, Uri, Version};
use hyper::body::{Body, Incoming};

use self::forwarding::forward;
use self::judging::refuse;
use crate::access::{RequestEvent, ShownClient};
use crate::activity::Activity;
use crate::body::ToClient;
use crate::connection::{Kit, StreamEnd, Tunnel};
use crate::decisions::{Asked as Seen, Recorder};
use crate::factors::budget::Budget;
use crate::factors::{Holder, Proof, Shown};
use crate::grpc;
use crate::headers::identity::IdentityHeaders;
use crate::headers::stripped;
use crate::host::{self, Host};
use crate::in_flight::InFlight;
use crate::listener::Listener;
use crate::plan::Serving;
use crate::problem::Said;
use crate::shadow::ShadowVerdict;
use crate::upstream::UpstreamPool;

/// Access was withdrawn: no request of this connection goes through any more.
#[derive(Debug, thiserror::Error)]
#[error("access was withdrawn")]
pub(crate) struct Withdrawn;

/// The client of a connection, and what was found out about it once for all its requests.
pub(crate) struct Caller {
    pub(crate) session: Session,
    pub(crate) listener: Arc<Listener>,
    pub(crate) activity: Rc<Activity>,
    pub(crate) in_flight: Rc<InFlight>,
    pub(crate) pool: Rc<UpstreamPool>,
    pub(crate) recorder: Rc<Recorder>,
    /// The exchange that the present poll began.
    begun: Cell<Option<u64>>,
    /// The exchange whose answer was begun last. Over HTTP/1.1 there is no other.
    answering: Cell<Option<u64>>,
    /// Whether what was admitted on this connection is admitted no more, and the connection has to end with it.
    is_cut: Cell<bool>,
    /// Told when it is.
    driver: RefCell<Option<Waker>>,
    view: RefCell<Option<Rc<View>>>,
    /// The host that was read last: a connection rarely asks for two.
    host: RefCell<Option<Rc<ReadHost>>>,
    tunnel: Cell<Option<Tunnel>>,
    /// Whether the last request asked for a tunnel and got none.
    is_parting: Cell<bool>,
    /// Of the tunnel that the present poll opened in a stream of HTTP/2.
    stream_end: Cell<Option<Rc<StreamEnd>>>,
    /// When the certificate was last noted as seen, in seconds.
    noted: Cell<u64>,
    bad_tokens: Budget,
}

/// What is served and what is said of the client, until a reload changes it.
pub(crate) struct View {
    serving: Arc<Serving>,
    identity: IdentityHeaders,
    /// In access lines, where somebody asks for them.
    pub(crate) shown_client: OnceCell<ShownClient>,
}

pub(crate) struct ReadHost {
    written: HeaderValue,
    pub(crate) host: Host,
}

impl Caller {
    pub(crate) fn new(
        session: Session,
        listener: Arc<Listener>,
        kit: Kit,
        activity: Rc<Activity>,
    ) -> Self {
        let Kit {
            pool,
            in_flight,
            recorder,
        } = kit;
        let (view, host, tunnel, stream_end) = Default::default();
        let (is_parting, noted, bad_tokens) = Default::default();
        let (begun, answering, is_cut, driver) = Default::default();
        Self {
            session,
            listener,
            activity,
            in_flight,
            pool,
            recorder,
            begun,
            answering,
            is_cut,
            driver,
            view,
            host,
            tunnel,
            is_parting,
            stream_end,
            noted,
            bad_tokens,
        }
    }

    /// The tunnel that the last request opened.
    pub(crate) fn take_tunnel(&self) -> Option<Tunnel> {
        self.tunnel.take()
    }

    /// What the last request opened instead of an answer's body.
    pub(crate) fn set_tunnel(&self, tunnel: Tunnel) {
        self.tunnel.set(Some(tunnel));
    }

    /// Whether the connection has to be closed, which hyper leaves to whoever has the tunnel that was asked for.
    pub(crate) fn is_parting(&self) -> bool {
        self.is_parting.get()
    }

    /// A tunnel in a stream of HTTP/2: [`Caller::take_stream_end`] gives the same in the poll that opens it, and in no other.
    pub(crate) fn open_stream(&self) -> Rc<StreamEnd> {
        let end = Rc::new(StreamEnd::default());
        self.stream_end.set(Some(Rc::clone(&end)));
        end
    }

    pub(crate) fn take_stream_end(&self) -> Option<Rc<StreamEnd>> {
        self.stream_end.take()
    }

    pub(crate) fn is_h2(&self) -> bool {
        self.session.alpn.as_deref() == Some(b"h2")
    }

    /// To be called before and after the poll of a stream, to learn which exchange it began.
    pub(crate) fn take_begun(&self) -> Option<u64> {
        self.begun.take()
    }

    pub(crate) fn note_begun(&self, exchange: u64) {
        self.begun.set(Some(exchange));
    }

    /// Ends the connection.
    pub(crate) fn cut(&self) {
        self.is_cut.set(true);
        if let Some(driver) = self.driver.take() {
            driver.wake();
        }
    }

    /// Ready when the connection has to end because of what was admitted on it.
    pub(crate) fn poll_cut(&self, cx: &mut Context<'_>) -> Poll<()> {
        // Each stream of HTTP/2 looks after itself.
        let has_lost_its_upstream = !self.is_h2()
            && (self.answering.get()).is_some_and(|exchange| self.in_flight.is_cut(exchange));
        if self.is_cut.get() || has_lost_its_upstream {
            return Poll::Ready(());
        }
        let mut driver = self.driver.borrow_mut();
        if !driver
            .as_ref()
            .is_some_and(|known| known.will_wake(cx.waker()))
        {
            *driver = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// From where this client asks, and now.
    pub(crate) fn circumstances(&self) -> Circumstances {
        Circumstances {
            source: self.session.source.ip(),
            now: self.listener.enforcement.now(),
        }
    }

    /// Keeps what the rules in force decided. `refused`: the cause.
    pub(crate) fn keep_decision(
        &self,
        serving: &Serving,
        seen: Seen<'_>,
        route: Option<&str>,
        refused: Option<Cause>,
        shadow: Option<ShadowVerdict>,
        now: UnixTime,
    ) {
        // During a reload two policies have a say, for a moment; and programs of this host are nobody.
        let is_of_rules = serving.former.is_none() && self.listener.acceptor.is_some();
        if is_of_rules {
            let of = (self.listener.name.as_str(), &self.session);
            let refused = refused.map(Cause::slug);
            self.recorder
                .decided(of, seen, route, refused, shadow, now.seconds());
        }
    }

    /// What a request with these headers shows beside the certificate, as far as rules ask for it. `proof`: what it showed before.
    pub(crate) fn shown(
        &self,
        serving: &Serving,
        headers: &HeaderMap,
        proof: Option<&Proof>,
        now: UnixTime,
    ) -> Shown {
        let looks_at = |factor| serving.looks_at_factor(factor);
        let peer = self.session.peer.as_ref();
        if let Some(peer) = peer
            && looks_at(Factor::Token)
            && now.seconds().abs_diff(self.noted.get()) >= NOTED_EACH_S
        {
            self.listener.seen.note(peer, now);
            self.noted.set(now.seconds());
        }
        let holder = Holder {
            peer: peer.map(|it| &**it),
            enforcement: &self.listener.enforcement,
            seen: &self.listener.seen,
            proof,
            budget: &self.bad_tokens,
            now,
        };
        serving.verification.shown(looks_at, headers, &holder)
    }

    /// What the future gives, unless the connection has to end before.
    pub(crate) async fn unless_cut<F: Future>(&self, future: F) -> Option<F::Output> {
        tokio::select! {
            biased;
            () = self.session.lifeline.cut() => None,
            () = poll_fn(|cx| self.poll_cut(cx)) => None,
            output = future => Some(output),
        }
    }

    /// Lets go of what only the next request would need.
    pub(crate) fn rest(&self) {
        self.view.borrow_mut().take();
        self.host.borrow_mut().take();
    }

    pub(crate) fn view(&self) -> Rc<View> {
        let serving = self.listener.serving.load();
        let mut view = self.view.borrow_mut();
        match &*view {
            Some(view) if Arc::ptr_eq(&view.serving, &serving) => Rc::clone(view),
            _ => {
                let peer = self.session.peer.as_deref();
                let identity =
                    IdentityHeaders::new(peer, self.session.source, &serving.identity_headers);
                let fresh = Rc::new(View {
                    serving: Arc::clone(&serving),
                    identity,
                    shown_client: OnceCell::new(),
                });
                *view = Some(Rc::clone(&fresh));
                fresh
            }
        }
    }

    fn host(&self, parts: &Parts) -> Result<Rc<ReadHost>, Malformed> {
        let written = host::written(&parts.uri, &parts.headers)?;
        let mut known = self.host.borrow_mut();
        if let Some(known) = known
            .as_ref()
            .filter(|known| known.written.as_bytes() == written)
        {
            return Ok(Rc::clone(known));
        }
        let host =
            Host::parse(std::str::from_utf8(written).map_err(|_| Malformed::HostMalformed)?)?;
        let written = HeaderValue::from_bytes(written).map_err(|_| Malformed::HostMalformed)?;
        let read = Rc::new(ReadHost { written, host });
        *known = Some(Rc::clone(&read));
        Ok(read)
    }
}

impl ReadHost {
    /// The path; of a CONNECT what it asks for instead.
    pub(crate) fn asked_for<'a>(&'a self, method: &Method, target: &'a Uri) -> &'a str {
        if method == Method::CONNECT {
            self.written.to_str().unwrap_or_default()
        } else {
            target.path()
        }
    }
}

/// A token that was signed while a connection stood is bound to a certificate that was seen since.
const NOTED_EACH_S: u64 = 30;

/// Answers one request; an error ends the connection.
///
/// The request is taken apart outside the future and lent from there: each function that takes it has room for it of its own.
pub(crate) fn exchange(
    caller: Rc<Caller>,
    request: Request<Incoming>,
) -> impl Future<Output = Result<Response<ToClient>, Withdrawn>> {
    let (mut parts, body) = request.into_parts();
    async move {
        if caller.session.lifeline.is_cut() {
            return Err(Withdrawn);
        }
        let busy = caller.activity.begin(!body.is_end_stream());
        let access = RequestEvent::begin(&parts);
        // An answer of gRPC is a 200 whatever it says, and to a CONNECT that is a tunnel.
        let is_connect = parts.method == Method::CONNECT;
        let is_grpc = !is_connect && grpc::is_grpc(&parts.headers);
        let is_http1 = parts.version < Version::HTTP_2;
        // Programs of this host are nobody, whatever they say.
        if caller.listener.acceptor.is_some() && stripped::is_forging(&parts.headers) {
            caller
                .listener
                .note_bypass("forged-identity", caller.session.source);
        }
        let mut response = match glass::admit(&caller, &parts).await {
            Ok((view, admitted)) if is_connect => {
                Box::pin(connecting::connect(&caller, &view, admitted, parts, busy)).await
            }
            Ok((view, admitted)) => forward(&caller, &view, admitted, &mut parts, body, busy).await,
            Err(refusing) => refuse(&caller, refusing, &parts),
        };
        if is_connect && is_http1 && !response.status().is_success() {
            // What came behind it was meant for a tunnel, and may be anybody's: it is read as no request.
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(CONNECTION, close);
            caller.is_parting.set(true);
        }
        caller.listener.metrics.answered(response.status());
        if let Some(access) = access {
            access.end(&caller, response.status());
        }
        if is_grpc && let Some(said) = response.extensions_mut().remove::<Said>() {
            response = grpc::answer(&said);
        }
        Ok(response)
    }
}
