//! What a client sent, as rules read it.

use countersign_policy::access::Headers;
use http::header::{CONNECTION, HeaderMap, HeaderName};

/// Headers of a request as its upstream will see them: without identity headers of the client's own, and without those that it names in
/// `Connection` for removal. What reaches no upstream meets no rule.
#[derive(Debug)]
pub(crate) struct SentHeaders<'a>(pub(crate) &'a HeaderMap);

impl Headers for SentHeaders<'_> {
    fn each(&self, name: &str, visit: &mut dyn FnMut(&[u8])) {
        for (sent, value) in self.0 {
            if reads_as(sent.as_str(), name)
                && !super::stripped::is_stripped(sent)
                && !self.is_for_removal(sent)
            {
                visit(value.as_bytes());
            }
        }
    }
}

impl SentHeaders<'_> {
    /// RFC 9110 §7.6.1.
    fn is_for_removal(&self, name: &HeaderName) -> bool {
        let options = self.0.get_all(CONNECTION).iter();
        options
            .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
            .any(|option| {
                option
                    .trim_ascii()
                    .eq_ignore_ascii_case(name.as_str().as_bytes())
            })
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
    use http::HeaderValue;

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
        SentHeaders(&headers).each(name, &mut |value| {
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
}
