//! The gateway's own answers (RFC 9457): a class and an id to quote, never a detail (invariant 17).

use countersign_diagnose::cause::{Cause, Class};
use countersign_diagnose::refusal::RefusalId;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use serde::Serialize;

use crate::body::ToClient;
use crate::upstream::UpstreamFault;

#[derive(Serialize)]
struct Problem<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'a str,
    status: u16,
    class: Class,
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal_id: Option<&'a RefusalId>,
}

/// What one of these answers says; each carries it as an extension, for clients that look for it elsewhere.
#[derive(Clone)]
pub(crate) struct Said {
    pub(crate) status: StatusCode,
    pub(crate) title: &'static str,
    pub(crate) refusal_id: Option<RefusalId>,
    /// Whether the client has shown no certificate and needs one.
    pub(crate) needs_certificate: bool,
}

/// A refused request.
pub(crate) fn refusal(status: StatusCode, cause: Cause, id: &RefusalId) -> Response<ToClient> {
    let class = cause.class();
    let mut response = answer(status, class, class.meaning(), Some(id));
    if let Some(said) = response.extensions_mut().get_mut::<Said>() {
        said.needs_certificate = cause == Cause::ClientCertNotSent;
    }
    response
}

/// An upstream that did not answer, or could not be reached; with an id where it is on record why.
pub(crate) fn upstream(status: StatusCode, id: Option<&RefusalId>) -> Response<ToClient> {
    answer(
        status,
        Class::Availability,
        "The service behind this gateway does not answer.",
        id,
    )
}

/// Whether it was slow, full, or not there.
pub(crate) fn status(fault: &UpstreamFault) -> StatusCode {
    match fault {
        UpstreamFault::Exhausted { .. } => StatusCode::SERVICE_UNAVAILABLE,
        fault if fault.is_timeout() => StatusCode::GATEWAY_TIMEOUT,
        _ => StatusCode::BAD_GATEWAY,
    }
}

/// A request whose body broke off.
pub(crate) fn broken_request() -> Response<ToClient> {
    answer(
        StatusCode::BAD_REQUEST,
        Class::Request,
        "The request's body did not arrive whole.",
        None,
    )
}

fn answer(
    status: StatusCode,
    class: Class,
    title: &'static str,
    refusal_id: Option<&RefusalId>,
) -> Response<ToClient> {
    let problem = Problem {
        kind: "about:blank",
        title,
        status: status.as_u16(),
        class,
        refusal_id,
    };
    let text = serde_json::to_vec(&problem).expect("strings and numbers only");
    let mut response = Response::new(ToClient::Text(text.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/problem+json"),
    );
    // The next client behind a shared cache is somebody else.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.extensions_mut().insert(Said {
        status,
        title,
        refusal_id: refusal_id.cloned(),
        needs_certificate: false,
    });
    response
}
