//! The judging of a request: its host, its path, the policy, and what of its headers the client may not say.

use std::rc::Rc;

use countersign_diagnose::cause::Cause;
use countersign_diagnose::refusal::Refusal;
use countersign_diagnose::request::{Malformed, malformed, refused, sni_host_mismatch};
use countersign_pki::name::DnsName;
use countersign_policy::access::{Asked, Decision, Factors};
use http::header::{COOKIE, HOST, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Method, Response, StatusCode, Uri};

use super::{Caller, ReadHost, View, connecting, form};
use crate::body::ToClient;
use crate::decisions::Asked as Seen;
use crate::factors::Proof;
use crate::headers::identity::X_FORWARDED_HOST;
use crate::headers::sent::SentHeaders;
use crate::headers::{hop, stripped};
use crate::plan::Direction;
use crate::refusals::RefusedRequest;
use crate::shadow::ShadowVerdict;
use crate::upstream::Upstream;
use crate::{host, problem};

/// A request that goes through.
pub(super) struct Admitted {
    pub(super) route: usize,
    pub(super) host: Rc<ReadHost>,
    pub(super) factors: Factors,
    pub(super) proof: Option<Proof>,
}

/// A request that does not.
pub(super) struct Refusing {
    pub(super) status: StatusCode,
    pub(super) refusal: Refusal,
}

pub(super) fn judge(caller: &Caller, view: &View, parts: &Parts) -> Result<Admitted, Refusing> {
    let bad = |fault, found: &dyn std::fmt::Display| Refusing {
        status: StatusCode::BAD_REQUEST,
        refusal: malformed(fault, found),
    };
    let is_connect = parts.method == Method::CONNECT;
    if is_connect && !view.serving.policy.opens_tunnels() {
        return Err(bad(Malformed::Connect, &parts.uri));
    }
    let host = if is_connect {
        let host = connecting::asked_for(parts);
        Rc::new(host.map_err(|fault| bad(fault, &shown_target(parts)))?)
    } else {
        if let Some(fault) = form::fault(parts) {
            return Err(bad(fault, &parts.uri));
        }
        let host = caller.host(parts);
        host.map_err(|fault| bad(fault, &shown_host(parts)))?
    };
    // Whoever asks for a tunnel made the connection for this gateway, and asks for what is behind it.
    if let Some(sni) = &caller.session.sni
        && !is_connect
        && !host::may_ask(Some(sni), &host.host)
    {
        // RFC 9110 §15.5.20: this connection is not the one to ask.
        return Err(Refusing {
            status: StatusCode::MISDIRECTED_REQUEST,
            refusal: sni_host_mismatch(sni, shown_host(parts)),
        });
    }
    if let Direction::Egress {
        host: served,
        for_browsers: true,
    } = &view.serving.direction
        && (host::is_from_web_page(&parts.headers)
            || !(host.host.is_of_this_host() || host.written == served))
    {
        return Err(bad(Malformed::FromWebPage, &shown_host(parts)));
    }
    if let Some(name) = padded(&parts.headers) {
        return Err(bad(Malformed::HeaderPadded, name));
    }
    let path = host.asked_for(&parts.method, &parts.uri);
    if view.serving.is_ambiguous(parts.method.as_str(), path) {
        return Err(bad(Malformed::PathAmbiguous, &path));
    }
    let circumstances = caller.circumstances();
    let shown = caller.shown(&view.serving, &parts.headers, None, circumstances.now);
    let asked = Asked {
        peer: caller.session.peer.as_deref(),
        host: host.host.name(),
        method: parts.method.as_str(),
        path,
        headers: &SentHeaders::new(&parts.headers),
        factors: &shown.factors,
        circumstances,
    };
    let (decision, policy) = view.serving.decide(&asked);
    let shadow = view.serving.shadow_of(policy);
    let shadow = shadow.and_then(|shadow| shadow.of_request(&asked, &decision));
    if shadow.is_some() {
        note_shadow(caller, shadow, parts, path);
    }
    let label = decision
        .route()
        .and_then(|it| policy.routes().get(it))
        .map(|it| it.label.as_str());
    let keep = |refused| {
        let seen = Seen::Request {
            host: asked.host.map(DnsName::as_str),
            method: asked.method,
            path,
        };
        caller.keep_decision(
            &view.serving,
            seen,
            label,
            refused,
            shadow,
            circumstances.now,
        );
    };
    if let Decision::Allow { route } = decision {
        keep(None);
        return Ok(Admitted {
            route,
            host: Rc::clone(&host),
            factors: shown.factors,
            proof: shown.proof,
        });
    }
    let refusal = refused(
        &decision,
        &asked,
        &shown.faults,
        label.unwrap_or("no route"),
    );
    let status = refusal
        .as_ref()
        .map_or(StatusCode::FORBIDDEN, |it| status(it.cause));
    let refusal = refusal.unwrap_or_else(|| malformed(Malformed::Unreadable, path));
    keep(Some(refusal.cause));
    Err(Refusing { status, refusal })
}

fn note_shadow(caller: &Caller, shadow: Option<ShadowVerdict>, parts: &Parts, path: &str) {
    // Of a CONNECT the host is what is asked for.
    let host = if parts.method == Method::CONNECT {
        String::new()
    } else {
        shown_host(parts)
    };
    let what = format_args!("{} {host}{path}", parts.method);
    (caller.listener).note_shadow(shadow, &caller.session, what);
}

/// RFC 6750 §3.1: who could be let in with a token is asked for one.
fn status(cause: Cause) -> StatusCode {
    if cause == Cause::TokenKeysUnavailable {
        StatusCode::SERVICE_UNAVAILABLE
    } else if challenge(cause).is_some_and(|it| it != INSUFFICIENT) {
        StatusCode::UNAUTHORIZED
    } else {
        StatusCode::FORBIDDEN
    }
}

/// What is wrong with the token, as RFC 6750 §3 has it; `None`: nothing is.
fn challenge(cause: Cause) -> Option<&'static str> {
    match cause {
        Cause::TokenMissing => Some("Bearer realm=\"gateway\""),
        Cause::TokenInvalid
        | Cause::TokenExpired
        | Cause::TokenTimesNotAllowed
        | Cause::TokenWrongAudience
        | Cause::TokenNotBoundToCertificate => {
            Some("Bearer realm=\"gateway\", error=\"invalid_token\"")
        }
        Cause::TokenNotAllowed => Some(INSUFFICIENT),
        _ => None,
    }
}

const INSUFFICIENT: &str = "Bearer realm=\"gateway\", error=\"insufficient_scope\"";

/// The first header whose value HTTP/1.1 would read without what stands around it.
fn padded(headers: &HeaderMap) -> Option<&HeaderName> {
    let is_padding = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    let is_padded = |value: &HeaderValue| {
        is_padding(value.as_bytes().first()) || is_padding(value.as_bytes().last())
    };
    headers
        .iter()
        .find_map(|(name, value)| is_padded(value).then_some(name))
}

pub(super) fn refuse(caller: &Caller, refusing: Refusing, parts: &Parts) -> Response<ToClient> {
    let Refusing { status, refusal } = refusing;
    let cause = refusal.cause;
    let needs_new_connection = cause == Cause::SniHostMismatch;
    let request = RefusedRequest::new(&parts.method, shown_host(parts), parts.uri.path());
    let id = caller
        .listener
        .refuse_request(refusal, &caller.session, Some(request));
    let mut response = problem::refusal(status, cause, &id);
    if let Some(challenge) = challenge(cause) {
        let challenge = HeaderValue::from_static(challenge);
        response
            .headers_mut()
            .insert(http::header::WWW_AUTHENTICATE, challenge);
    }
    if needs_new_connection && parts.version < http::Version::HTTP_2 {
        response
            .headers_mut()
            .insert(http::header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Makes an admitted request fit to forward. The protocol that it asks to switch to, where the route allows that, stays asked for.
pub(super) fn prepare(
    view: &View,
    admitted: &Admitted,
    upstream: &Upstream,
    parts: &mut Parts,
) -> Option<HeaderValue> {
    // First what the client named for removal, then its identity headers, then ours: so that nothing a client names can
    // take ours away, and nothing it sends can stand beside them.
    let upgrades = match upstream {
        Upstream::Http(origin) => &origin.upgrades[..],
        Upstream::Bytes(_) | Upstream::Demo => &[],
    };
    let upgrade = hop::prepare_request(&parts.method, parts.version, &mut parts.headers, upgrades);
    stripped::strip(&mut parts.headers);
    let serving = &view.serving;
    (serving.verification).strip(&serving.policy, &admitted.factors, &mut parts.headers);
    match &view.serving.direction {
        Direction::Ingress => {
            view.identity.set(&mut parts.headers);
            let host = &admitted.host.written;
            parts.headers.insert(X_FORWARDED_HOST, host.clone());
            parts.headers.insert(HOST, host.clone());
        }
        // By its certificate the server knows who asks, and nothing here is its concern.
        Direction::Egress { host, .. } => {
            parts.headers.insert(HOST, host.clone());
        }
    }
    join_cookies(&mut parts.headers);
    parts.uri = origin_form(std::mem::take(&mut parts.uri));
    upgrade
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

/// What a CONNECT says of where it wants to go, all of it.
fn shown_target(parts: &Parts) -> String {
    let hosts = parts.headers.get_all(HOST).iter();
    let hosts = hosts.map(|host| format!(", Host: {}", String::from_utf8_lossy(host.as_bytes())));
    format!(
        "{:?} {}{}",
        parts.version,
        parts.uri,
        hosts.collect::<String>()
    )
}

pub(super) fn shown_host(parts: &Parts) -> String {
    // Of a CONNECT the target counts, which has the port.
    let header = parts
        .headers
        .get(HOST)
        .filter(|_| parts.method != Method::CONNECT)
        .map(|host| String::from_utf8_lossy(host.as_bytes()).into_owned());
    header
        .or_else(|| parts.uri.authority().map(ToString::to_string))
        .unwrap_or_default()
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
