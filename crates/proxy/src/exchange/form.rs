//! What HTTP asks of a request beyond what its bytes need to be read: without it two servers could read two requests.

use countersign_diagnose::request::Malformed;
use http::header::{HOST, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderMap, Method, Version};

/// What is wrong with the form of a request that is no CONNECT.
pub(super) fn fault(parts: &Parts) -> Option<Malformed> {
    if !is_origin_or_absolute(parts) {
        return Some(Malformed::TargetForm);
    }
    // RFC 9112 §3.2: whatever the target says.
    if parts.version == Version::HTTP_11 && !parts.headers.contains_key(HOST) {
        return Some(Malformed::HostMissing);
    }
    is_coded(&parts.headers).then_some(Malformed::TransferCoding)
}

/// RFC 9112 §3.2.3, §3.2.4: a bare authority is for CONNECT, `*` for OPTIONS. Rules would see a path that the upstream does not.
fn is_origin_or_absolute(parts: &Parts) -> bool {
    let is_bare_authority = parts.uri.scheme().is_none() && parts.uri.authority().is_some();
    !is_bare_authority && (parts.uri.path() != "*" || parts.method == Method::OPTIONS)
}

/// Whether a body has a coding that would be lost on the way: it is sent on in chunks of our own, and nothing tells of what it was. RFC 9112
/// §7: chunked is applied once.
fn is_coded(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => false,
        (Some(coding), None) => !coding.as_bytes().eq_ignore_ascii_case(b"chunked"),
        (Some(_), Some(_)) => true,
    }
}
