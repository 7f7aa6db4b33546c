//! The gateway's own answers (RFC 9457): a class and an id to quote, never a detail (invariant 17).

use countersign_diagnose::cause::Class;
use countersign_diagnose::refusal::RefusalId;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use serde::Serialize;

use crate::body::ToClient;

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

/// A refused request.
pub(crate) fn refusal(status: StatusCode, class: Class, id: &RefusalId) -> Response<ToClient> {
    answer(status, class, class.meaning(), Some(id))
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
    title: &str,
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
    response
}
