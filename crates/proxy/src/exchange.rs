//! One request's way through: judged, freed of what the client says of itself, told who it is from, forwarded.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use countersign_diagnose::cause::Cause;
use countersign_diagnose::refusal::Refusal;
use countersign_diagnose::request::{Malformed, malformed, refused, sni_host_mismatch};
use countersign_policy::access::{Asked, Decision};
use countersign_tls::acceptor::Session;
use http::header::{
    AUTHORIZATION, CONTENT_LENGTH, COOKIE, HOST, HeaderMap, HeaderValue, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, TRANSFER_ENCODING, WWW_AUTHENTICATE,
};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Method, Request, Response, StatusCode, Uri};
use hyper::body::{Body, Incoming};
use tokio::time::Instant;

use crate::activity::{Activity, Busy};
use crate::body::{ToClient, ToUpstream};
use crate::connection::Tunnel;
use crate::headers::identity::{IdentityHeaders, X_FORWARDED_HOST};
use crate::headers::{hop, stripped};
use crate::host::{self, Host};
use crate::in_flight::{Asking, InFlight, Place};
use crate::listener::Listener;
use crate::plan::{Direction, Serving};
use crate::refusals::RefusedRequest;
use crate::upstream::{Address, Lease, Upstream, UpstreamFault, UpstreamPool};
use crate::{demo, problem};

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
}

/// What is served and what is said of the client, until a reload changes it.
struct View {
    serving: Arc<Serving>,
    identity: IdentityHeaders,
}

pub(crate) struct ReadHost {
    written: HeaderValue,
    host: Host,
}

/// A request that goes through.
struct Admitted {
    route: usize,
    host: Rc<ReadHost>,
}

/// A request that does not.
struct Refusing {
    status: StatusCode,
    refusal: Refusal,
}

impl Caller {
    pub(crate) fn new(
        session: Session,
        listener: Arc<Listener>,
        pool: Rc<UpstreamPool>,
        in_flight: Rc<InFlight>,
        activity: Rc<Activity>,
    ) -> Self {
        let (view, host, tunnel) = Default::default();
        let (begun, answering, is_cut, driver) = Default::default();
        Self {
            session,
            listener,
            activity,
            in_flight,
            pool,
            begun,
            answering,
            is_cut,
            driver,
            view,
            host,
            tunnel,
        }
    }

    /// The tunnel that the last request opened.
    pub(crate) fn take_tunnel(&self) -> Option<Tunnel> {
        self.tunnel.take()
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

    /// Whether what was admitted goes through now, and to where it went.
    pub(crate) fn may_still(&self, asking: &Asking) -> bool {
        let peer = self.session.peer.as_deref();
        let serving = self.listener.serving.load();
        match asking {
            Asking::Cancel { upstream } => {
                is_allowed(&serving.decide_before_login(peer).0) && serving.forwards_to(upstream)
            }
            Asking::Connection { upstream } => {
                is_allowed(&serving.decide_connection(peer).0) && serving.forwards_to(upstream)
            }
            Asking::Login { login, upstream } => {
                is_allowed(&serving.decide_login(peer, login).0) && serving.forwards_to(upstream)
            }
            Asking::Request {
                method,
                host,
                target,
                upstream,
            } => {
                let asked = Asked {
                    peer,
                    host: host.host.name(),
                    method: method.as_str(),
                    path: target.path(),
                };
                serving.still_allows(&asked, upstream)
            }
        }
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

    fn view(&self) -> Rc<View> {
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

/// Answers one request; an error ends the connection.
pub(crate) async fn exchange(
    caller: Rc<Caller>,
    request: Request<Incoming>,
) -> Result<Response<ToClient>, Withdrawn> {
    if caller.session.lifeline.is_cut() {
        return Err(Withdrawn);
    }
    let busy = caller.activity.begin(!request.body().is_end_stream());
    let access = AccessEvent::begin(&request);
    let (parts, body) = request.into_parts();
    let view = caller.view();
    let response = match judge(&caller, &view, &parts) {
        Ok(admitted) => forward(&caller, &view, admitted, parts, body, busy).await,
        Err(refusing) => refuse(&caller, refusing, &parts),
    };
    caller.listener.metrics.answered(response.status());
    if let Some(access) = access {
        access.end(&caller, response.status());
    }
    Ok(response)
}

fn is_allowed(decision: &Decision) -> bool {
    matches!(decision, Decision::Allow { .. })
}

fn judge(caller: &Caller, view: &View, parts: &Parts) -> Result<Admitted, Refusing> {
    let bad = |fault, found: &dyn std::fmt::Display| Refusing {
        status: StatusCode::BAD_REQUEST,
        refusal: malformed(fault, found),
    };
    if parts.method == Method::CONNECT {
        return Err(bad(Malformed::Connect, &parts.uri));
    }
    let host = caller
        .host(parts)
        .map_err(|fault| bad(fault, &shown_host(parts)))?;
    if let Some(sni) = &caller.session.sni
        && !host::may_ask(Some(sni), &host.host)
    {
        // RFC 9110 §15.5.20: this connection is not the one to ask.
        return Err(Refusing {
            status: StatusCode::MISDIRECTED_REQUEST,
            refusal: sni_host_mismatch(sni, shown_host(parts)),
        });
    }
    if let Direction::Egress { host: served } = &view.serving.direction
        && (host::is_from_web_page(&parts.headers)
            || !(host.host.is_of_this_host() || host.written == served))
    {
        return Err(bad(Malformed::FromWebPage, &shown_host(parts)));
    }
    let path = parts.uri.path();
    if view.serving.is_ambiguous(path) {
        return Err(bad(Malformed::PathAmbiguous, &path));
    }
    let asked = Asked {
        peer: caller.session.peer.as_deref(),
        host: host.host.name(),
        method: parts.method.as_str(),
        path,
    };
    let (decision, policy) = view.serving.decide(&asked);
    let route = match &decision {
        Decision::Allow { route } => {
            return Ok(Admitted {
                route: *route,
                host,
            });
        }
        Decision::CertificateNeeded { route }
        | Decision::IdentityNotAllowed { route, .. }
        | Decision::RequestNotAllowed { route, .. } => policy.routes().get(*route),
        Decision::NoRoute => None,
    };
    let label = route.map_or("no route", |route| route.label.as_str());
    let refusal = refused(&decision, &asked, label);
    Err(Refusing {
        status: StatusCode::FORBIDDEN,
        refusal: refusal.unwrap_or_else(|| malformed(Malformed::Unreadable, path)),
    })
}

fn refuse(caller: &Caller, refusing: Refusing, parts: &Parts) -> Response<ToClient> {
    let Refusing { status, refusal } = refusing;
    let class = refusal.class();
    let needs_new_connection = refusal.cause == Cause::SniHostMismatch;
    let request = RefusedRequest::new(&parts.method, shown_host(parts), parts.uri.path());
    let id = caller
        .listener
        .refuse_request(refusal, &caller.session, Some(request));
    let mut response = problem::refusal(status, class, &id);
    if needs_new_connection && parts.version < http::Version::HTTP_2 {
        response
            .headers_mut()
            .insert(http::header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

async fn forward(
    caller: &Rc<Caller>,
    view: &View,
    admitted: Admitted,
    mut parts: Parts,
    body: Incoming,
    busy: Busy,
) -> Response<ToClient> {
    // First what the client named for removal, then its identity headers, then ours: so that nothing a client names can
    // take ours away, and nothing it sends can stand beside them.
    let websocket = hop::prepare_request(&parts.method, parts.version, &mut parts.headers);
    stripped::strip(&mut parts.headers);
    match &view.serving.direction {
        Direction::Ingress => {
            view.identity.set(&mut parts.headers);
            let host = &admitted.host.written;
            parts.headers.insert(X_FORWARDED_HOST, host.clone());
            parts.headers.insert(HOST, host.clone());
        }
        // By its certificate the server knows who asks, and nothing here is its concern.
        Direction::Egress { host } => {
            parts.headers.insert(HOST, host.clone());
        }
    }
    join_cookies(&mut parts.headers);
    parts.uri = origin_form(parts.uri);
    match &view.serving.upstreams[admitted.route] {
        Upstream::Demo => demo::answer(&caller.session, &parts),
        // No route of requests has one.
        Upstream::Bytes(_) => problem::upstream(StatusCode::BAD_GATEWAY, None),
        upstream @ Upstream::Http(address) => {
            let (method, host) = (parts.method.clone(), Rc::clone(&admitted.host));
            let path = parts.uri.clone();
            let asking = Asking::Request {
                method: method.clone(),
                host: admitted.host,
                target: parts.uri.clone(),
                upstream: upstream.clone(),
            };
            let place = caller.in_flight.enter(caller, asking);
            match send(caller, address, parts, body).await {
                Ok((response, lease)) => {
                    let (mut head, upstream) = response.into_parts();
                    if head.status == StatusCode::SWITCHING_PROTOCOLS {
                        let asked = websocket.then_some(place);
                        return switch(caller, address, asked, head.headers, lease).await;
                    }
                    hop::prepare_response(&mut head.headers);
                    if let Some(vouched) = lease.vouched() {
                        place.depends_on(vouched);
                        caller.answering.set(Some(place.id()));
                    }
                    let body = ToClient::streamed(upstream, lease, busy, place);
                    let mut response = Response::new(body);
                    *response.status_mut() = head.status;
                    *response.headers_mut() = head.headers;
                    response
                }
                Err(UpstreamFault::Refused(refusal)) => {
                    warn_of(caller, address, &refusal.sentence());
                    let host = String::from_utf8_lossy(host.written.as_bytes());
                    let request = RefusedRequest::new(method, host, path.path());
                    let session = &caller.session;
                    let listener = &caller.listener;
                    let id = listener.upstream_refused(*refusal, session, Some(request));
                    problem::upstream(StatusCode::BAD_GATEWAY, Some(&id))
                }
                Err(fault) => unanswered(caller, address, &fault),
            }
        }
    }
}

fn warn_of(caller: &Caller, address: &Address, error: &dyn std::fmt::Display) {
    if caller.pool.may_warn(address) {
        tracing::warn!(upstream = %address, listener = caller.listener.name, %error, "upstream does not answer");
    }
}

async fn send(
    caller: &Caller,
    address: &Arc<Address>,
    mut parts: Parts,
    body: Incoming,
) -> Result<(Response<Incoming>, Lease), UpstreamFault> {
    let has_body = !body.is_end_stream();
    if has_body && !parts.headers.contains_key(CONTENT_LENGTH) {
        // hyper would take it that a GET or HEAD of unknown length has no body.
        parts
            .headers
            .insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    let binds_connection =
        hop::binds_connection(&parts.headers, &[AUTHORIZATION, PROXY_AUTHORIZATION]);
    let lease = caller.pool.lease(address).await?;
    // RFC 9110 §9.2.2: what an upstream did with a request before it closed cannot be known, and does not matter here.
    let again = (lease.is_reused() && !has_body && parts.method.is_idempotent()).then(|| {
        to_upstream(
            parts.method.clone(),
            parts.uri.clone(),
            parts.headers.clone(),
            ToUpstream::empty(),
        )
    });
    let body = if has_body {
        ToUpstream::streamed(body, caller.activity.body_end())
    } else {
        ToUpstream::empty()
    };
    let sent = lease
        .send(to_upstream(parts.method, parts.uri, parts.headers, body))
        .await;
    let (response, mut lease) = match (sent, again) {
        (Err(UpstreamFault::Broken(_) | UpstreamFault::Closed), Some(again)) => {
            caller.pool.lease_new(address).await?.send(again).await?
        }
        (sent, _) => sent?,
    };
    if binds_connection
        || hop::binds_connection(response.headers(), &[WWW_AUTHENTICATE, PROXY_AUTHENTICATE])
    {
        lease.keep_from_others();
    }
    Ok((response, lease))
}

fn to_upstream(
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: ToUpstream,
) -> Request<ToUpstream> {
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    request
}

async fn switch(
    caller: &Caller,
    address: &Address,
    websocket: Option<Place>,
    mut headers: HeaderMap,
    lease: Lease,
) -> Response<ToClient> {
    let Some(place) = websocket else {
        return unanswered(caller, address, &UpstreamFault::Switched);
    };
    match lease.into_tunnel().await {
        Ok(upstream) => caller.tunnel.set(Some(Tunnel::new(upstream, place))),
        Err(fault) => return unanswered(caller, address, &fault),
    }
    hop::prepare_response(&mut headers);
    headers.insert(
        http::header::CONNECTION,
        HeaderValue::from_static("upgrade"),
    );
    headers.insert(http::header::UPGRADE, HeaderValue::from_static("websocket"));
    let mut response = Response::new(ToClient::Empty);
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *response.headers_mut() = headers;
    response
}

fn unanswered(caller: &Caller, address: &Address, fault: &UpstreamFault) -> Response<ToClient> {
    if fault.is_of_client() {
        return problem::broken_request();
    }
    warn_of(caller, address, fault);
    let status = match fault {
        UpstreamFault::Exhausted { .. } => StatusCode::SERVICE_UNAVAILABLE,
        fault if fault.is_timeout() => StatusCode::GATEWAY_TIMEOUT,
        _ => StatusCode::BAD_GATEWAY,
    };
    problem::upstream(status, None)
}

/// RFC 9113 §8.2.3: HTTP/2 may split what HTTP/1.1 has in one header.
fn join_cookies(headers: &mut HeaderMap) {
    let mut cookies = headers.get_all(COOKIE).iter();
    let (Some(first), Some(second)) = (cookies.next(), cookies.next()) else {
        return;
    };
    let mut joined = first.as_bytes().to_vec();
    for cookie in std::iter::once(second).chain(cookies) {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(cookie.as_bytes());
    }
    if let Ok(joined) = HeaderValue::from_bytes(&joined) {
        headers.insert(COOKIE, joined);
    }
}

/// The path and query that the policy saw, byte by byte, without scheme and authority.
fn origin_form(uri: Uri) -> Uri {
    if uri.scheme().is_none() && uri.authority().is_none() {
        return uri;
    }
    let path = uri
        .into_parts()
        .path_and_query
        .unwrap_or_else(|| PathAndQuery::from_static("/"));
    Uri::from(path)
}

fn shown_host(parts: &Parts) -> String {
    let header = parts
        .headers
        .get(HOST)
        .map(|host| String::from_utf8_lossy(host.as_bytes()).into_owned());
    header
        .or_else(|| parts.uri.authority().map(ToString::to_string))
        .unwrap_or_default()
}

/// One event per request, at debug level: what is not asked for costs nothing.
struct AccessEvent {
    begun: Instant,
    method: Method,
    uri: Uri,
}

impl AccessEvent {
    fn begin(request: &Request<Incoming>) -> Option<Self> {
        tracing::enabled!(target: "access", tracing::Level::DEBUG).then(|| Self {
            begun: Instant::now(),
            method: request.method().clone(),
            uri: request.uri().clone(),
        })
    }

    fn end(self, caller: &Caller, status: StatusCode) {
        let principal = caller
            .session
            .peer
            .as_ref()
            .map(|peer| peer.principal().to_string());
        tracing::debug!(
            target: "access",
            listener = caller.listener.name,
            src.addr = %caller.session.source,
            src.front = caller.session.front.map(tracing::field::display),
            src.id = principal,
            method = %self.method,
            path = self.uri.path(),
            status = status.as_u16(),
            duration_ms = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX),
            "request"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn split_cookies_become_one_header() {
        let mut headers = HeaderMap::new();
        for cookie in ["a=1", "b=2", "c=3"] {
            headers.append(COOKIE, HeaderValue::from_static(cookie));
        }
        join_cookies(&mut headers);
        let cookies: Vec<_> = headers.get_all(COOKIE).iter().collect();
        assert_eq!(cookies, ["a=1; b=2; c=3"]);
    }

    #[test]
    fn path_goes_upstream_byte_by_byte() {
        for (target, expected) in [
            ("/a/%2e?x=%20&y#f", "/a/%2e?x=%20&y"),
            ("https://a.example/a//b?c", "/a//b?c"),
            ("https://a.example", "/"),
            ("https://a.example?c", "/?c"),
            ("*", "*"),
        ] {
            assert_eq!(
                origin_form(target.parse().expect("a target")).to_string(),
                expected
            );
        }
    }
}
