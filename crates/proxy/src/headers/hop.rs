//! Hop-by-hop headers (RFC 9110 §7.6.1): what concerns one connection and is not forwarded.

use http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue, TE,
    TRANSFER_ENCODING, UPGRADE,
};
use http::{Method, Version};

/// Makes a client's header section fit to forward; true when it asks for a WebSocket, which then stays asked for.
pub(crate) fn prepare_request(method: &Method, version: Version, headers: &mut HeaderMap) -> bool {
    // RFC 6455 §4.1: a GET of at least HTTP/1.1. No other upgrade passes: h2c would carry requests past the policy.
    let websocket = version == Version::HTTP_11
        && method == Method::GET
        && names(headers, &CONNECTION, "upgrade")
        && headers
            .get(UPGRADE)
            .is_some_and(|protocol| protocol.as_bytes().eq_ignore_ascii_case(b"websocket"));
    let trailers = names(headers, &TE, "trailers");
    remove_misleading_length(headers);
    remove_hop_by_hop(headers);
    // The body is asked for as soon as the policy has admitted the request; hyper answers 100 then. An upstream that waited for
    // it would wait for nothing.
    headers.remove(EXPECT);
    match (websocket, trailers) {
        (true, _) => {
            headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        }
        (false, true) => {
            // RFC 9110 §10.1.4: TE is named in Connection.
            headers.insert(CONNECTION, HeaderValue::from_static("te"));
            headers.insert(TE, HeaderValue::from_static("trailers"));
        }
        (false, false) => {}
    }
    websocket
}

/// Makes an upstream's header section fit to hand back.
pub(crate) fn prepare_response(headers: &mut HeaderMap) {
    remove_misleading_length(headers);
    remove_hop_by_hop(headers);
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
    if headers.contains_key(CONNECTION) {
        let named: Vec<HeaderName> = headers
            .get_all(CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(|name| HeaderName::try_from(name.trim()).ok())
            // A client could take these away to have its request read in another way.
            .filter(|name| *name != HOST && *name != CONTENT_LENGTH)
            .collect();
        for name in named {
            headers.remove(name);
        }
    }
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
}

fn names(headers: &HeaderMap, list: &HeaderName, wanted: &str) -> bool {
    headers
        .get_all(list)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|name| name.trim().eq_ignore_ascii_case(wanted))
}

const HOP_BY_HOP: [HeaderName; 6] = [
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
        assert_eq!(
            prepare_request(&Method::GET, version, &mut headers),
            websocket,
            "{sent:?}"
        );
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
