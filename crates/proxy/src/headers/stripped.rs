//! The names by which upstreams of this field are told who a client is. A client's own are removed always, configured or
//! not (invariant 9): headers of a request, and trailers.

use http::HeaderMap;
use http::header::HeaderName;

/// Removes every identity header.
pub(crate) fn strip(headers: &mut HeaderMap) {
    remove_where(headers, is_stripped);
}

/// Removes each header whose name is such.
pub(crate) fn remove_where(headers: &mut HeaderMap, is_such: impl Fn(&HeaderName) -> bool) {
    // Honest clients send none: the common case allocates nothing.
    let such: Vec<HeaderName> = headers
        .keys()
        .filter(|name| is_such(name))
        .cloned()
        .collect();
    for name in such {
        headers.remove(name);
    }
}

/// Whether a client says who it is, which no honest one does. Where it comes from is what any proxy on its way says.
pub(crate) fn is_forging(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| {
        is_stripped(name) && {
            let name = name.as_str().as_bytes();
            (FAMILIES.iter().chain(CERTIFICATE_NAMES))
                .any(|family| begins_with(name, family.as_bytes()))
        }
    })
}

/// Whether a client may never send this to an upstream.
pub(crate) fn is_stripped(name: &HeaderName) -> bool {
    let name = name.as_str().as_bytes();
    // One comparison for most headers of most requests.
    if !name
        .first()
        .is_some_and(|first| FIRST_LETTERS.contains(first))
    {
        return false;
    }
    FAMILIES
        .iter()
        .any(|family| begins_with(name, family.as_bytes()))
        || NAMES.iter().any(|whole| is_whole(name, whole.as_bytes()))
        || FRAMING.iter().any(|whole| {
            let whole = whole.as_bytes();
            name != whole && is_whole(name, whole)
        })
}

/// Whether some upstream reads `name` as `whole`, which has letters, digits and `-`.
pub(crate) fn is_spelling_of(name: &HeaderName, whole: &HeaderName) -> bool {
    is_whole(name.as_str().as_bytes(), whole.as_str().as_bytes())
}

fn is_whole(name: &[u8], whole: &[u8]) -> bool {
    name.len() == whole.len() && begins_with(name, whole)
}

/// CGI and its heirs read `_`, and some of them every sign, as `-`: so do we.
fn begins_with(name: &[u8], family: &[u8]) -> bool {
    name.len() >= family.len()
        && name.iter().zip(family).all(|(&found, &listed)| {
            let found = if found.is_ascii_alphanumeric() {
                found
            } else {
                b'-'
            };
            found == listed
        })
}

const FIRST_LETTERS: &[u8] = b"cfltsx";

/// Every name that begins so.
const FAMILIES: &[&str] = &[
    "cf-client-cert",
    "client-cert",
    "ssl-client-",
    "tls-client-",
    "x-amzn-mtls-",
    "x-client-cert",
    "x-forwarded-client-cert",
    "x-forwarded-tls-client-cert",
    "x-mtls-",
    "x-spiffe-",
    "x-ssl-",
    "x-tls-client-",
];

/// Of [`NAMES`] those that say who.
const CERTIFICATE_NAMES: &[&str] = &[
    "l5d-client-id",
    "ssl-client",
    "x-arr-clientcert",
    "x-client-cn",
    "x-client-dn",
    "x-client-fingerprint",
    "x-client-i-dn",
    "x-client-issuer",
    "x-client-s",
    "x-client-trust-bundle",
    "x-client-verify",
];

/// These names alone: `x-client-` begins many headers that say nothing of certificates.
const NAMES: &[&str] = &[
    // A client's word on where it comes from is as little worth as on who it is; the gateway sets its own.
    "cf-connecting-ip",
    "forwarded",
    "l5d-client-id",
    "ssl-client",
    "true-client-ip",
    "x-arr-clientcert",
    "x-client-cn",
    "x-client-dn",
    "x-client-fingerprint",
    "x-client-i-dn",
    "x-client-ip",
    "x-client-issuer",
    "x-client-issuer-dn",
    "x-client-s-dn",
    "x-client-san",
    "x-client-serial",
    "x-client-spiffe-id",
    "x-client-subject",
    "x-client-subject-dn",
    "x-client-trust-bundle",
    "x-client-verify",
    "x-cluster-client-ip",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-real-ip",
    "x-ssl",
    // Some upstreams serve these in place of the path and the method that the policy saw.
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-url",
    "x-rewrite-url",
];

/// These in any spelling but their own, in which upstreams that read `_` as `-` would find a second length of the message.
const FRAMING: &[&str] = &["content-length", "transfer-encoding"];

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    /// What upstreams of the field read, one of each family.
    const IDENTITY: &[&str] = &[
        "cf-client-cert-der-base64",
        "client-cert",
        "client-cert-chain",
        "forwarded",
        "l5d-client-id",
        "ssl-client-cert",
        "ssl-client-verify",
        "x-amzn-mtls-clientcert",
        "x-amzn-mtls-clientcert-leaf",
        "x-arr-clientcert",
        "x-client-cert",
        "x-client-certificate",
        "x-client-cn",
        "x-client-dn",
        "x-client-trust-bundle",
        "x-client-verify",
        "cf-connecting-ip",
        "true-client-ip",
        "x-client-ip",
        "x-cluster-client-ip",
        "x-forwarded-client-cert",
        "x-forwarded-for",
        "x-http-method",
        "x-http-method-override",
        "x-method-override",
        "x-original-url",
        "x-rewrite-url",
        "x-ssl",
        "x-forwarded-tls-client-cert",
        "x-forwarded-tls-client-cert-info",
        "x-real-ip",
        "x-spiffe-id",
        "x-ssl-client-cn",
        "x-ssl-cert",
    ];

    fn check(spelling: impl Fn(&str) -> String) {
        for name in IDENTITY {
            let mut headers = HeaderMap::new();
            let spelled = HeaderName::try_from(spelling(name)).expect("a header name");
            headers.insert("accept", HeaderValue::from_static("*/*"));
            headers.append(&spelled, HeaderValue::from_static("CN=admin"));
            headers.append(&spelled, HeaderValue::from_static("CN=admin, too"));
            strip(&mut headers);
            assert_eq!(headers.len(), 1, "{spelled}");
        }
    }

    #[test]
    fn forged_identity_is_removed_in_every_spelling() {
        check(ToOwned::to_owned);
        check(str::to_ascii_uppercase);
        check(|name| name.replace('-', "_"));
        check(|name| name.replacen('-', "_", 1));
        check(|name| name.replace('-', "."));
    }

    #[test]
    fn gateway_set_names_are_all_stripped() {
        for name in crate::headers::identity::SET_BY_GATEWAY {
            let name = &name;
            assert!(is_stripped(name), "{name}");
        }
    }

    #[test]
    fn other_headers_stay() {
        for name in [
            "x-client-version",
            "content-length",
            "cookie",
            "x-request-id",
            "client",
            "x-forwarded",
            "traceparent",
            "x-client-cnx",
        ] {
            assert!(!is_stripped(&HeaderName::from_static(name)), "{name}");
        }
    }
}
