//! The forwarding of an admitted request: a connection from the pool, the request to the upstream, its answer back.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use countersign_diagnose::refusal::{Refusal, RefusalId};
use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, HeaderValue, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, TRANSFER_ENCODING, UPGRADE, WWW_AUTHENTICATE,
};
use http::request::Parts;
use http::uri::{self, Authority, Scheme};
use http::{Request, Response, StatusCode, Uri, Version};
use hyper::body::{Body, Incoming};

use super::judging::{Admitted, prepare};
use super::{Caller, View};
use crate::activity::Busy;
use crate::body::{ClientBody, ToClient, ToUpstream};
use crate::connection::Tunnel;
use crate::headers::hop;
use crate::in_flight::{Asking, Place, Requested};
use crate::refusals::RefusedRequest;
use crate::upstream::{Address, Choice, Lease, Origin, Upstream, UpstreamFault, Wanted};
use crate::{demo, grpc, problem};

/// Answers with the upstream's answer, or with why there is none.
pub(super) async fn forward(
    caller: &Rc<Caller>,
    view: &View,
    admitted: Admitted,
    parts: &mut Parts,
    body: Incoming,
    busy: Busy,
) -> Response<ToClient> {
    let group = &view.serving.upstreams[admitted.route];
    let judged = view
        .serving
        .looks_at_headers()
        .then(|| parts.headers.clone());
    let upgrade = prepare(view, &admitted, group.first(), parts);
    match group.first() {
        Upstream::Demo => demo::answer(&caller.session, parts),
        // No route of requests has one.
        Upstream::Bytes(_) => problem::upstream(StatusCode::BAD_GATEWAY, None),
        Upstream::Http(_) => {
            let mut choice = caller.pool.choose(group);
            let requested = Rc::new(Requested {
                method: parts.method.clone(),
                host: admitted.host,
                target: parts.uri.clone(),
                headers: judged,
                proof: RefCell::new(admitted.proof),
            });
            let asking = Asking::Request {
                requested: Rc::clone(&requested),
                upstream: choice.upstream().clone(),
            };
            let place = caller.in_flight.enter(caller, asking);
            let way = Way {
                caller,
                requested: &requested,
                place: &place,
            };
            let (address, sent) = way.send(&mut choice, parts, body, upgrade.is_some()).await;
            match sent {
                Ok((response, lease)) => {
                    let (mut head, upstream) = response.into_parts();
                    if head.status == StatusCode::SWITCHING_PROTOCOLS {
                        let asked = upgrade.map(|protocol| (protocol, place));
                        let switched = switch(caller, &address, asked, head.headers, lease);
                        return Box::pin(switched).await;
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
                    let id = refused(caller, &address, *refusal, &requested);
                    problem::upstream(StatusCode::BAD_GATEWAY, Some(&id))
                }
                Err(fault) => unanswered(caller, &address, &fault),
            }
        }
    }
}

fn warn_of(caller: &Caller, address: &Address, error: &dyn std::fmt::Display) {
    if caller.pool.may_warn(address) {
        tracing::warn!(upstream = %address, listener = caller.listener.name, %error, "upstream does not answer");
    }
}

fn refused(
    caller: &Caller,
    address: &Address,
    refusal: Refusal,
    requested: &Requested,
) -> RefusalId {
    warn_of(caller, address, &refusal.sentence());
    let host = String::from_utf8_lossy(requested.host.written.as_bytes());
    let request = RefusedRequest::new(&requested.method, host, requested.target.path());
    let listener = &caller.listener;
    listener.upstream_refused(refusal, &caller.session, Some(request))
}

/// A request on its way to an upstream, or from one that did not have it to another.
struct Way<'a> {
    caller: &'a Caller,
    requested: &'a Requested,
    place: &'a Place,
}

type Sent = Result<(Response<Incoming>, Lease), UpstreamFault>;

impl Way<'_> {
    /// What came of it, and where it went last.
    async fn send(
        &self,
        choice: &mut Choice,
        parts: &mut Parts,
        body: Incoming,
        is_upgrade: bool,
    ) -> (Arc<Address>, Sent) {
        let caller = self.caller;
        let binds_connection =
            hop::binds_connection(&parts.headers, &[AUTHORIZATION, PROXY_AUTHORIZATION]);
        let is_call = grpc::is_call(parts);
        let body =
            (!body.is_end_stream()).then(|| ClientBody::new(body, parts.version, &caller.listener));
        let is_repeatable = body.is_none() && parts.method.is_idempotent();
        let (mut wanted, mut repeats) = (Wanted::Any, 0);
        loop {
            let Upstream::Http(origin) = choice.upstream().clone() else {
                unreachable!("all of a group are of one kind");
            };
            let address = Arc::clone(&origin.address);
            // HTTP/2 neither switches protocols nor can it be authenticated as a connection.
            let http1 = (origin.http1.as_ref()).filter(|_| is_upgrade || binds_connection);
            let under_way = choice.under_way();
            let leased = match http1 {
                Some(address) => caller.pool.lease_http1(address, &wanted).await,
                None => caller.pool.lease(&origin, &wanted).await,
            };
            let mut lease = match leased {
                Ok(lease) => lease,
                // Nothing of the request has gone there, whatever it asks for.
                Err(fault) => {
                    choice.note_fault(&fault);
                    if repeats < MAX_REPEATS && self.moves_on(choice, &fault) {
                        (wanted, repeats) = (Wanted::Any, repeats + 1);
                        continue;
                    }
                    return (address, Err(fault));
                }
            };
            lease.count(under_way);
            let (is_reused, shared) = (lease.is_reused(), lease.shared());
            // The gateway's limits are for requests and answers, and a stream of messages may be silent for as long as it likes, on either side:
            // pings tell whether its connections stand. Whoever only says that it is one has no such stream on both.
            let is_patient = is_call && shared.is_some();
            let limit = (!is_patient).then_some(caller.pool.bounds.answer);
            let may_break = is_repeatable && (is_reused || choice.has_others());
            let may_repeat = repeats < MAX_REPEATS && (shared.is_some() || may_break);
            let headers = if may_repeat {
                parts.headers.clone()
            } else {
                std::mem::take(&mut parts.headers)
            };
            let request = to_upstream(
                &origin,
                parts,
                headers,
                body.as_ref()
                    .map(|body| ToUpstream::streamed(body, caller.activity.body_end(), is_patient)),
                shared.is_some(),
            );
            let fault = match lease.send(request, limit).await {
                Ok(response) => {
                    choice.note_reached();
                    if binds_connection
                        || hop::binds_connection(
                            response.headers(),
                            &[WWW_AUTHENTICATE, PROXY_AUTHENTICATE],
                        )
                    {
                        lease.keep_from_others();
                    }
                    return (address, Ok((response, lease)));
                }
                Err(fault) => fault,
            };
            // Before another is chosen: it counts no more.
            drop(lease);
            choice.note_fault(&fault);
            let is_begun = body.as_ref().is_some_and(|body| body.is_begun());
            wanted = match (&fault, shared) {
                _ if !may_repeat || is_begun => return (address, Err(fault)),
                (UpstreamFault::Unprocessed(_), Some(shared)) => Wanted::Other(shared),
                // RFC 9110 §9.2.2: what an upstream did with a request before it closed cannot be known, and does not matter here.
                (
                    UpstreamFault::Broken(_) | UpstreamFault::Closed | UpstreamFault::Refused(_),
                    _,
                ) if is_repeatable && choice.has_others() => {
                    if !self.moves_on(choice, &fault) {
                        return (address, Err(fault));
                    }
                    Wanted::Any
                }
                (UpstreamFault::Broken(_) | UpstreamFault::Closed, _)
                    if may_break && repeats == 0 =>
                {
                    Wanted::New
                }
                _ => return (address, Err(fault)),
            };
            repeats += 1;
        }
    }

    /// Whether another upstream is tried, which `choice` is then. What is wrong with this one is told of: the client will not be.
    fn moves_on(&self, choice: &mut Choice, fault: &UpstreamFault) -> bool {
        let before = choice.upstream().clone();
        if fault.is_of_client() || !choice.moves_on() {
            return false;
        }
        if !self.place.may_go_to(choice.upstream(), self.caller) {
            return false;
        }
        let Some(address) = before.address() else {
            return false;
        };
        match fault {
            UpstreamFault::Refused(refusal) => {
                refused(self.caller, address, (**refusal).clone(), self.requested);
            }
            fault => warn_of(self.caller, address, fault),
        }
        true
    }
}

fn to_upstream(
    origin: &Origin,
    parts: &Parts,
    mut headers: HeaderMap,
    body: Option<ToUpstream>,
    is_http2: bool,
) -> Request<ToUpstream> {
    let has_body = body.is_some();
    let mut request = Request::new(body.unwrap_or_else(ToUpstream::empty));
    *request.method_mut() = parts.method.clone();
    if is_http2 {
        *request.uri_mut() = absolute_form(origin.scheme(), &parts.uri, headers.remove(HOST));
        *request.version_mut() = Version::HTTP_2;
        hop::prepare_for_http2(&mut headers);
    } else {
        *request.uri_mut() = parts.uri.clone();
        if has_body && !headers.contains_key(CONTENT_LENGTH) {
            // hyper would take it that a GET or HEAD of unknown length has no body.
            headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
    }
    *request.headers_mut() = headers;
    request
}

/// RFC 9113 §8.3.1: host and path go into pseudo-headers, which are made of the target.
fn absolute_form(scheme: Scheme, path: &Uri, host: Option<HeaderValue>) -> Uri {
    let authority = host.and_then(|host| Authority::try_from(host.as_bytes()).ok());
    let mut target = uri::Parts::default();
    target.scheme = Some(scheme);
    target.authority = authority;
    target.path_and_query = path.path_and_query().cloned();
    Uri::from_parts(target).unwrap_or_default()
}

async fn switch(
    caller: &Caller,
    address: &Address,
    asked: Option<(HeaderValue, Place)>,
    mut headers: HeaderMap,
    lease: Lease,
) -> Response<ToClient> {
    // RFC 9110 §7.8: to nothing that was not asked for.
    let is_it = |protocol: &HeaderValue| {
        let switched = headers.get(UPGRADE);
        switched.is_none_or(|it| it.as_bytes().eq_ignore_ascii_case(protocol.as_bytes()))
    };
    let Some((protocol, place)) = asked.filter(|(protocol, _)| is_it(protocol)) else {
        return unanswered(caller, address, &UpstreamFault::Switched);
    };
    match lease.into_tunnel().await {
        Ok(upstream) => caller.set_tunnel(Tunnel::new(upstream, place)),
        Err(fault) => return unanswered(caller, address, &fault),
    }
    hop::prepare_response(&mut headers);
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, protocol);
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
    problem::upstream(problem::status(fault), None)
}

/// nginx ends a connection of HTTP/2 after 1000 requests, with those on their way unprocessed, and may do so on the next one, too.
const MAX_REPEATS: u32 = 4;
