//! What a client sent, as rules read it.

use std::cell::OnceCell;
use std::collections::HashSet;

use countersign_policy::access::Headers;
use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::{hop, stripped};

/// Headers of a request as its upstream will see them: without identity headers of the client's own, and without those that it names in
/// `Connection` for removal. What reaches no upstream meets no rule.
#[derive(Debug)]
pub(crate) struct SentHeaders<'a> {
    headers: &'a HeaderMap,
    /// Read once, when the first rule looks.
    removed: OnceCell<HashSet<HeaderName>>,
}

impl<'a> SentHeaders<'a> {
    pub(crate) fn new(headers: &'a HeaderMap) -> Self {
        Self {
            headers,
            removed: OnceCell::new(),
        }
    }

    /// The values of this header, in each spelling that some upstream reads as it: every sign but letters and digits as `-`.
    pub(crate) fn spelled(&self, name: HeaderName) -> impl Iterator<Item = &'a HeaderValue> {
        (self.headers.iter())
            .filter(move |(sent, _)| {
                stripped::is_spelling_of(sent, &name) && !self.is_removed(sent)
            })
            .map(|(_, value)| value)
    }

    fn is_removed(&self, name: &HeaderName) -> bool {
        self.removed
            .get_or_init(|| hop::named_for_removal(self.headers))
            .contains(name)
    }
}

impl Headers for SentHeaders<'_> {
    fn each(&self, name: &str, visit: &mut dyn FnMut(&[u8])) {
        for (sent, value) in self.headers {
            if reads_as(sent.as_str(), name)
                && !stripped::is_stripped(sent)
                && !self.is_removed(sent)
            {
                visit(value.as_bytes());
            }
        }
    }
}

/// CGI and its heirs read `_` as `-`: so do we.
fn reads_as(sent: &str, name: &str) -> bool {
    sent.len() == name.len()
        && sent
            .bytes()
            .zip(name.bytes())
            .all(|(sent, wanted)| sent == wanted || (sent == b'_' && wanted == b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(sent: &[(&str, &str)], name: &str, expected: &[&str]) {
        let mut headers = HeaderMap::new();
        for (name, value) in sent {
            headers.append(
                HeaderName::from_bytes(name.as_bytes()).expect("a name"),
                HeaderValue::from_str(value).expect("a value"),
            );
        }
        let mut found = Vec::new();
        SentHeaders::new(&headers).each(name, &mut |value| {
            found.push(String::from_utf8_lossy(value).into_owned());
        });
        found.sort();
        assert_eq!(found, expected, "{sent:?} {name}");
    }

    #[test]
    fn a_header_is_found_in_every_spelling_that_an_upstream_reads_as_it() {
        check(&[("X-Env", "a")], "x-env", &["a"]);
        check(&[("x-env", "a"), ("X_Env", "b")], "x-env", &["a", "b"]);
        check(&[("x-env", "a"), ("x-env", "b")], "x-env", &["a", "b"]);
        check(&[("x-env", "a, b")], "x-env", &["a, b"]);
        check(
            &[("x-environment", "a"), ("xenv", "b"), ("x.env", "c")],
            "x-env",
            &[],
        );
    }

    #[test]
    fn what_a_client_says_of_itself_meets_no_rule() {
        check(&[("x-client-cn", "admin")], "x-client-cn", &[]);
        check(&[("x-forwarded-for", "10.0.0.1")], "x-forwarded-for", &[]);
        let removed = [("x-env", "prod"), ("connection", "close, X-Env")];
        check(&removed, "x-env", &[]);
        let kept = [("x-env", "prod"), ("connection", "close, x-environment")];
        check(&kept, "x-env", &["prod"]);
    }

    #[test]
    fn a_spelling_counts_unless_it_is_named_for_removal() {
        let mut headers = HeaderMap::new();
        for name in ["x-api-key", "x_api_key", "x.api.key", "x-api-keys"] {
            headers.append(name, HeaderValue::from_static(name));
        }
        headers.append("connection", HeaderValue::from_static("x_api_key"));
        let sent = SentHeaders::new(&headers);
        let wanted = HeaderName::from_static("x-api-key");
        let mut found: Vec<_> = sent.spelled(wanted).collect();
        found.sort();
        assert_eq!(found, ["x-api-key", "x.api.key"]);
    }

    /// What rules see is what is left, whatever bytes stand in `Connection`.
    #[test]
    fn rules_see_of_each_header_what_is_forwarded() {
        let options: [&[u8]; 12] = [
            b"x-role",
            b"X-Role",
            b"close, x-role",
            b"x-role, \xff",
            b"\xff,x-role",
            b"x-role\xff",
            b"\tx-role\t,",
            b",,, x-role ,,",
            b"x_role",
            b"\"x-role\"",
            b"x-role;q=1",
            b"x role",
        ];
        for option in options {
            for more in [None, Some(&b"\x80"[..])] {
                let mut headers = HeaderMap::new();
                headers.append("x-role", HeaderValue::from_static("admin"));
                for value in [Some(option), more].into_iter().flatten() {
                    let value = HeaderValue::from_bytes(value).expect("bytes of a header");
                    headers.append("connection", value);
                }
                let mut seen = false;
                SentHeaders::new(&headers).each("x-role", &mut |_| seen = true);
                let mut forwarded = headers.clone();
                hop::prepare_request(
                    &http::Method::GET,
                    http::Version::HTTP_11,
                    &mut forwarded,
                    &[],
                );
                let is_there = forwarded.contains_key("x-role");
                assert_eq!(seen, is_there, "{:?}", String::from_utf8_lossy(option));
                let names_it = !matches!(
                    option,
                    b"x-role\xff" | b"x_role" | b"\"x-role\"" | b"x-role;q=1" | b"x role"
                );
                assert_eq!(is_there, !names_it, "{:?}", String::from_utf8_lossy(option));
            }
        }
    }
}
