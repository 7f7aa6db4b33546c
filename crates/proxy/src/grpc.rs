//! What of gRPC a gateway has to know: that it is one, and how a client of it is told no.
//!
//! Its clients look for a status of their own behind the answer, not for the one of HTTP; an answer that consists of headers alone
//! ("Trailers-Only") has it there.

use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Response, StatusCode, Version};

use crate::body::ToClient;
use crate::problem::Said;

/// Whether a request is a call of gRPC. What is made for browsers, `application/grpc-web`, answers over plain HTTP.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    let Some(kind) = headers.get(CONTENT_TYPE) else {
        return false;
    };
    let kind = kind.as_bytes();
    let Some((name, rest)) = kind.split_at_checked(CALL.len()) else {
        return false;
    };
    name.eq_ignore_ascii_case(CALL.as_bytes())
        && matches!(rest.first(), None | Some(b'+' | b';' | b' ' | b'\t'))
}

/// Whether it is one by every sign, and not only by what it says: calls are POSTs over HTTP/2.
pub(crate) fn is_call(parts: &Parts) -> bool {
    parts.version == Version::HTTP_2 && parts.method == Method::POST && is_grpc(&parts.headers)
}

/// The gateway's own answer, as a client of gRPC reads it.
pub(crate) fn answer(said: &Said) -> Response<ToClient> {
    let mut message = said.title.to_owned();
    if let Some(id) = &said.refusal_id {
        message = format!("{message} (refusal_id {id})");
    }
    let mut response = Response::new(ToClient::Empty);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(CALL));
    headers.insert(GRPC_STATUS, status(said).into());
    if let Ok(message) = HeaderValue::from_str(&percent_encoded(&message)) {
        headers.insert(GRPC_MESSAGE, message);
    }
    response
}

/// gRPC's own table from HTTP, but for two of its kind that tell more here: who is nobody, and who is at the wrong door, which no
/// repetition makes good.
fn status(said: &Said) -> u16 {
    match said.status {
        StatusCode::FORBIDDEN if said.needs_certificate => UNAUTHENTICATED,
        StatusCode::UNAUTHORIZED => UNAUTHENTICATED,
        StatusCode::FORBIDDEN => PERMISSION_DENIED,
        StatusCode::MISDIRECTED_REQUEST => FAILED_PRECONDITION,
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
            UNAVAILABLE
        }
        _ => INTERNAL,
    }
}

/// As gRPC has it for `grpc-message`: what is visible ASCII stands for itself, `%` excepted.
fn percent_encoded(text: &str) -> String {
    use std::fmt::Write;

    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if matches!(byte, b' '..=b'~') && byte != b'%' {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

const CALL: &str = "application/grpc";
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

const PERMISSION_DENIED: u16 = 7;
const FAILED_PRECONDITION: u16 = 9;
const INTERNAL: u16 = 13;
const UNAVAILABLE: u16 = 14;
const UNAUTHENTICATED: u16 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_known_by_their_media_type_and_nothing_that_resembles_it() {
        for (kind, expected) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("Application/GRPC;charset=x", true),
            ("application/grpc-web", false),
            ("application/grpc-web+proto", false),
            ("application/grpcx", false),
            ("application/json", false),
            ("application/grp", false),
            ("", false),
        ] {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))]);
            assert_eq!(is_grpc(&headers), expected, "{kind}");
        }
        assert!(!is_grpc(&HeaderMap::new()));
    }

    #[test]
    fn message_holds_nothing_that_a_header_cannot() {
        assert_eq!(percent_encoded("a b%\r\n\u{e9}"), "a b%25%0D%0A%C3%A9");
    }
}
