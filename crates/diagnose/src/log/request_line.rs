//! What a log only quotes of a request: its URI, its user agent, where it came from. Whoever connects chose these, so that they
//! are no messages, whatever they say.

use std::ops::Range;

/// Blanks what is quoted of a request: `folded` is the line as it is compared, byte for byte beside `plain`.
pub(super) fn blanked(plain: &str, folded: String) -> String {
    let mut bytes = folded.into_bytes();
    for range in quoted(plain) {
        bytes[range].fill(b' ');
    }
    String::from_utf8(bytes).expect("the ranges begin and end beside ASCII characters")
}

fn quoted(plain: &str) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    for beginning in URI_BEGINNINGS {
        for (at, _) in plain.match_indices(beginning) {
            let uri = at + 1;
            let Some(before) = named_before(plain, at) else {
                continue;
            };
            let end = uri_end(plain, uri, before.is_quoted);
            ranges.push(uri..end);
            if before.is_quoted {
                ranges.extend(referrer_and_agent(plain, end));
            }
        }
    }
    if plain.contains('{') {
        ranges.extend(json(plain));
    }
    ranges
}

/// What stands before a URI.
struct Before {
    is_quoted: bool,
}

/// The method before the separator at `at`, or the name of a field (`path=/…`).
fn named_before(plain: &str, at: usize) -> Option<Before> {
    let head = &plain[..at];
    let word_at = head
        .rfind(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .map_or(0, |before| {
            before + head[before..].chars().next().map_or(1, char::len_utf8)
        });
    let word = &head[word_at..];
    if plain.as_bytes()[at] == b'=' {
        let is_field = FIELDS.iter().any(|field| field.eq_ignore_ascii_case(word));
        return is_field.then_some(Before { is_quoted: false });
    }
    METHODS.contains(&word).then(|| Before {
        is_quoted: head[..word_at].ends_with('"'),
    })
}

/// RFC 9112 §3: a URI has no blank in it; what breaks the rule stands before the version all the same.
fn uri_end(plain: &str, uri: usize, is_quoted: bool) -> usize {
    let rest = &plain[uri..];
    let ends = if is_quoted {
        rest.find('"')
    } else {
        rest.find([' ', '"'])
    };
    ends.map_or(plain.len(), |length| uri + length)
}

/// `" 200 512 "referrer" "user agent"`, as the combined format has them behind the request. Whatever else stands there, a
/// verifier's answer or a proxy's reason, is read.
fn referrer_and_agent(plain: &str, request_end: usize) -> Option<Range<usize>> {
    let rest = plain[request_end..].strip_prefix("\" ")?;
    let open = rest.find('"')?;
    let mut numbers = rest[..open].split_whitespace();
    let is_number = |word: &str| word == "-" || word.bytes().all(|byte| byte.is_ascii_digit());
    let is_status = numbers
        .next()
        .is_some_and(|word| word.len() == 3 && is_number(word));
    if !is_status || !numbers.next().is_some_and(is_number) || numbers.next().is_some() {
        return None;
    }
    let begin = plain.len() - rest.len() + open + 1;
    let mut end = begin + plain[begin..].find('"')?;
    if let Some(agent) = plain[end..].strip_prefix("\" \"") {
        let agent_at = plain.len() - agent.len();
        end = agent_at + agent.find('"').unwrap_or(agent.len());
    }
    Some(begin..end)
}

/// The values of an access log's fields in JSON.
fn json(plain: &str) -> impl Iterator<Item = Range<usize>> + '_ {
    plain.match_indices("\":").filter_map(|(colon, _)| {
        let name = &plain[..colon];
        let name = &name[name.rfind('"')? + 1..];
        if !FIELDS.iter().any(|field| field.eq_ignore_ascii_case(name)) {
            return None;
        }
        let value = plain[colon + 2..].trim_start_matches([' ', '[']);
        let begin = plain.len() - value.strip_prefix('"')?.len();
        let length = plain[begin..].find('"').unwrap_or(plain.len() - begin);
        Some(begin..begin + length)
    })
}

/// RFC 9110 §9.3, RFC 5789, and what `WebDAV` clients send most.
const METHODS: [&str; 10] = [
    "CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PROPFIND", "PUT", "TRACE",
];

/// What a URI begins with behind its method or its field.
const URI_BEGINNINGS: [&str; 4] = [" /", " http", "=/", "=http"];

/// nginx, Apache, Caddy, Traefik, Envoy and the loggers of applications, as their documentation names them.
const FIELDS: [&str; 25] = [
    "args",
    "http_referer",
    "http_user_agent",
    "original_path",
    "path",
    "query",
    "query_string",
    "referer",
    "referrer",
    "remote_user_agent",
    "request",
    "request_Referer",
    "request_uri",
    "request_User-Agent",
    "request_url",
    "requestPath",
    "requestUrl",
    "uri",
    "uri_path",
    "url",
    "User-Agent",
    "user_agent",
    "userAgent",
    "x-envoy-original-path",
    "x_forwarded_for",
];

#[cfg(test)]
mod tests {
    use super::*;

    /// `·` stands for what is blanked.
    fn check(plain: &str, expected: &str) {
        let got = blanked(plain, plain.to_owned());
        assert_eq!(got.len(), plain.len());
        let expected: String = expected.replace('·', " ");
        let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(squeezed(&got), squeezed(&expected), "{plain}");
    }

    #[test]
    fn what_a_client_chose_is_blanked() {
        check(
            r#"1.2.3.4 - - [x] "GET /a b HTTP/1.1" 200 5 "https://r/x" "agent (expired)""#,
            r#"1.2.3.4 - - [x] "GET · " 200 5 "· ""#,
        );
        check("GET /expired 200 3ms", "GET · 200 3ms");
        check(
            "level=info path=/expired status=200",
            "level=info path=· status=200",
        );
        check(
            r#"{"status":200,"user_agent":"expired","uri": "/revoked"}"#,
            r#"{"status":200,"user_agent":"·","uri": "·"}"#,
        );
        check(
            r#"{"headers":{"User-Agent":["expired"]}}"#,
            r#"{"headers":{"User-Agent":["·"]}}"#,
        );
    }

    #[test]
    fn what_a_server_says_stays() {
        for line in [
            r#"Get "https://a/": x509: certificate has expired"#,
            r#"{"msg":"certificate has expired","error":"bad /path"}"#,
            "open /etc/tls.crt: no such file",
            "error=/x certificate revoked",
        ] {
            check(line, line);
        }
        check(
            r#""GET / HTTP/1.1" 503 UF "TLS error: CERTIFICATE_VERIFY_FAILED" "-""#,
            r#""GET · " 503 UF "TLS error: CERTIFICATE_VERIFY_FAILED" "-""#,
        );
        check(
            r#""GET / HTTP/1.1" 400 15 "-" "curl" "FAILED:certificate revoked""#,
            r#""GET · " 400 15 "· " "FAILED:certificate revoked""#,
        );
    }

    #[test]
    fn odd_text_is_survived() {
        for line in [
            "GET /",
            "é /é",
            "\"GET /\u{e9}",
            "={\":\"",
            "{\"uri\":\"é",
            " /",
            "=/",
            "{\":",
        ] {
            assert_eq!(blanked(line, line.to_owned()).len(), line.len());
        }
    }
}
