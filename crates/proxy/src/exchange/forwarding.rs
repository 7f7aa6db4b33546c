//! The forwarding of an admitted request: a connection from the pool, the request to the upstream, its answer back.

use std::rc::Rc;
use std::sync::Arc;

use http::header::{
    AUTHORIZATION, CONTENT_LENGTH, HeaderMap, HeaderValue, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION,
    TRANSFER_ENCODING, WWW_AUTHENTICATE,
};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode, Uri};
use hyper::body::{Body, Incoming};

use super::judging::{Admitted, prepare};
use super::{Caller, View};
use crate::activity::Busy;
use crate::body::{ToClient, ToUpstream};
use crate::connection::Tunnel;
use crate::headers::hop;
use crate::in_flight::{Asking, Place, Requested};
use crate::refusals::RefusedRequest;
use crate::upstream::{Address, Lease, Upstream, UpstreamFault};
use crate::{demo, problem};

/// Answers with the upstream's answer, or with why there is none.
pub(super) async fn forward(
    caller: &Rc<Caller>,
    view: &View,
    admitted: Admitted,
    mut parts: Parts,
    body: Incoming,
    busy: Busy,
) -> Response<ToClient> {
    let websocket = prepare(view, &admitted, &mut parts);
    match &view.serving.upstreams[admitted.route] {
        Upstream::Demo => demo::answer(&caller.session, &parts),
        // No route of requests has one.
        Upstream::Bytes(_) => problem::upstream(StatusCode::BAD_GATEWAY, None),
        upstream @ Upstream::Http(address) => {
            let requested = Rc::new(Requested {
                method: parts.method.clone(),
                host: admitted.host,
                target: parts.uri.clone(),
            });
            let asking = Asking::Request {
                requested: Rc::clone(&requested),
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
                    let host = String::from_utf8_lossy(requested.host.written.as_bytes());
                    let path = requested.target.path();
                    let request = RefusedRequest::new(&requested.method, host, path);
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
