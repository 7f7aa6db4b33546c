//! Hop-by-hop headers (RFC 9110 §7.6.1): what concerns one connection and is not forwarded.

use std::collections::HashSet;

use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_TYPE, COOKIE, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue, MAX_FORWARDS,
    PROXY_AUTHORIZATION, RANGE, SET_COOKIE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{Method, Version};

/// Makes a client's header section fit to forward. If it asks to switch to one of `upgrades`, that stays asked for and is given.
pub(crate) fn prepare_request(
    method: &Method,
    version: Version,
    headers: &mut HeaderMap,
    upgrades: &[HeaderValue],
) -> Option<HeaderValue> {
    let upgrade = upgrade(method, version, headers, upgrades).cloned();
    let trailers = names(headers, &TE, "trailers");
    remove_misleading_length(headers);
    remove_hop_by_hop(headers);
    // The body is asked for as soon as the policy has admitted the request; hyper answers 100 then. An upstream that waited for
    // it would wait for nothing.
    headers.remove(EXPECT);
    if let Some(protocol) = &upgrade {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, protocol.clone());
    } else if trailers {
        // RFC 9110 §10.1.4: TE is named in Connection.
        headers.insert(CONNECTION, HeaderValue::from_static("te"));
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    upgrade
}

/// Which of `upgrades` the client asks for: RFC 9110 §7.8, over HTTP/1.1 and with nothing before it. Nothing else passes, for h2c
/// would carry requests past the policy.
fn upgrade<'a>(
    method: &Method,
    version: Version,
    headers: &HeaderMap,
    upgrades: &'a [HeaderValue],
) -> Option<&'a HeaderValue> {
    let mut asked = headers.get_all(UPGRADE).iter();
    let (Some(asked), None) = (asked.next(), asked.next()) else {
        return None;
    };
    let has_body = headers.contains_key(TRANSFER_ENCODING)
        || (headers.get_all(CONTENT_LENGTH).iter()).any(|length| length.as_bytes() != b"0");
    if version != Version::HTTP_11 || has_body || !names(headers, &CONNECTION, "upgrade") {
        return None;
    }
    let asked = asked.as_bytes();
    // RFC 6455 §4.1: a GET.
    if asked.eq_ignore_ascii_case(b"websocket") && method != Method::GET {
        return None;
    }
    (upgrades.iter()).find(|allowed| allowed.as_bytes().eq_ignore_ascii_case(asked))
}

/// RFC 9113 §8.2.2: nothing there concerns the connection, and TE needs no naming.
pub(crate) fn prepare_for_http2(headers: &mut HeaderMap) {
    for name in &HOP_BY_HOP {
        if *name != TE {
            headers.remove(name);
        }
    }
}

/// Makes an upstream's header section fit to hand back.
pub(crate) fn prepare_response(headers: &mut HeaderMap) {
    remove_misleading_length(headers);
    remove_hop_by_hop(headers);
}

/// Makes the trailer section of either side fit to pass on. RFC 9110 §6.5.1: nobody may take what frames, routes, describes or
/// authenticates a message from there, and some upstreams merge it with the headers.
pub(crate) fn prepare_trailers(trailers: &mut HeaderMap) {
    remove_hop_by_hop(trailers);
    for name in &NEVER_TRAILING {
        trailers.remove(name);
    }
}

/// RFC 9112 §6.3: the length that a chunked message also claims is not its length.
fn remove_misleading_length(headers: &mut HeaderMap) {
    if headers.contains_key(TRANSFER_ENCODING) {
        headers.remove(CONTENT_LENGTH);
    }
}

/// Whether these say of themselves that they authenticate the connection, and with it whoever is next on it: NTLM, and
/// Negotiate, which may come down to it (RFC 4559 §6).
pub(crate) fn binds_connection(headers: &HeaderMap, authenticating: &[HeaderName]) -> bool {
    authenticating.iter().any(|name| {
        headers
            .get_all(name)
            .iter()
            .flat_map(|value| value.as_bytes().split(|&byte| byte == b','))
            .any(|challenge| {
                let challenge = challenge.trim_ascii_start();
                let scheme = challenge
                    .split(|byte| !byte.is_ascii_alphanumeric())
                    .next()
                    .unwrap_or_default();
                scheme.eq_ignore_ascii_case(b"ntlm") || scheme.eq_ignore_ascii_case(b"negotiate")
            })
    })
}

fn remove_hop_by_hop(headers: &mut HeaderMap) {
    // Most requests and answers have none of them.
    if !headers.keys().any(|name| HOP_BY_HOP.contains(name)) {
        return;
    }
    for name in named_for_removal(headers) {
        headers.remove(name);
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
}

/// What `Connection` names. Read byte by byte: an option that is none says nothing of those beside it.
pub(crate) fn named_for_removal(headers: &HeaderMap) -> HashSet<HeaderName> {
    let options = headers.get_all(CONNECTION).iter();
    options
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .filter_map(|option| HeaderName::from_bytes(option.trim_ascii()).ok())
        // A client could take these away to have its request read in another way.
        .filter(|name| *name != HOST && *name != CONTENT_LENGTH)
        .collect()
}

fn names(headers: &HeaderMap, list: &HeaderName, wanted: &str) -> bool {
    headers
        .get_all(list)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .any(|name| name.trim_ascii().eq_ignore_ascii_case(wanted.as_bytes()))
}

static NEVER_TRAILING: [HeaderName; 14] = [
    AUTHORIZATION,
    CACHE_CONTROL,
    CONTENT_ENCODING,
    CONTENT_LENGTH,
    CONTENT_RANGE,
    CONTENT_TYPE,
    COOKIE,
    EXPECT,
    HOST,
    MAX_FORWARDS,
    PROXY_AUTHORIZATION,
    RANGE,
    SET_COOKIE,
    TRAILER,
];

static HOP_BY_HOP: [HeaderName; 6] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
];

#[cfg(test)]
mod tests {
    use super::*;

    fn check(
        version: Version,
        sent: &[(&'static str, &'static str)],
        forwarded: &[(&str, &str)],
        websocket: bool,
    ) {
        let mut headers = HeaderMap::new();
        for (name, value) in sent {
            headers.append(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        let upgrades = [HeaderValue::from_static("websocket")];
        let upgrade = prepare_request(&Method::GET, version, &mut headers, &upgrades);
        assert_eq!(upgrade.is_some(), websocket, "{sent:?}");
        let mut left: Vec<_> = headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().expect("text")))
            .collect();
        left.sort_unstable();
        assert_eq!(left, forwarded, "{sent:?}");
    }

    #[test]
    fn what_concerns_one_connection_is_not_forwarded() {
        let h1 = Version::HTTP_11;
        check(
            h1,
            &[
                ("connection", "keep-alive"),
                ("keep-alive", "5"),
                ("accept", "*/*"),
            ],
            &[("accept", "*/*")],
            false,
        );
        check(
            h1,
            &[("connection", "X-Secret, close"), ("x-secret", "1")],
            &[],
            false,
        );
        check(
            h1,
            &[
                ("connection", "close"),
                ("connection", "x-a"),
                ("x-a", "1"),
                ("x-b", "2"),
            ],
            &[("x-b", "2")],
            false,
        );
        check(
            h1,
            &[
                ("proxy-connection", "close"),
                ("te", "gzip"),
                ("expect", "100-continue"),
            ],
            &[],
            false,
        );
        check(
            h1,
            &[("te", "gzip, trailers")],
            &[("connection", "te"), ("te", "trailers")],
            false,
        );
        check(
            h1,
            &[("transfer-encoding", "chunked"), ("content-length", "5")],
            &[],
            false,
        );
    }

    #[test]
    fn connection_cannot_take_away_what_frames_the_message() {
        let sent = [
            ("connection", "Host, content-length"),
            ("host", "a"),
            ("content-length", "5"),
        ];
        check(
            Version::HTTP_11,
            &sent,
            &[("content-length", "5"), ("host", "a")],
            false,
        );
    }

    #[test]
    fn only_a_websocket_upgrades() {
        let websocket = [
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "WebSocket"),
        ];
        let kept = [("connection", "upgrade"), ("upgrade", "websocket")];
        check(Version::HTTP_11, &websocket, &kept, true);
        check(Version::HTTP_10, &websocket, &[], false);
        check(
            Version::HTTP_11,
            &[("connection", "upgrade"), ("upgrade", "h2c")],
            &[],
            false,
        );
        check(Version::HTTP_11, &[("upgrade", "websocket")], &[], false);
    }
}
