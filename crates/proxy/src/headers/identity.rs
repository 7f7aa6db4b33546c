//! What an upstream is told of a client: computed once per connection, cloned per request.

use std::fmt::Write;
use std::net::SocketAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use countersign_pki::identity::VerifiedPeer;
use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::config::IdentityHeader;
use crate::xfcc;

/// The headers that say who a client is and where it comes from.
pub(crate) struct IdentityHeaders(Vec<(HeaderName, HeaderValue)>);

impl IdentityHeaders {
    /// Without a peer the client is anonymous, and the upstream is told so and nothing else.
    pub(crate) fn new(
        peer: Option<&VerifiedPeer>,
        source: SocketAddr,
        forms: &[IdentityHeader],
    ) -> Self {
        let mut headers = Headers(Vec::with_capacity(8));
        headers.push(X_FORWARDED_FOR, source.ip().to_string());
        headers
            .0
            .push((X_FORWARDED_PROTO, HeaderValue::from_static("https")));
        for form in forms {
            match (form, peer) {
                (IdentityHeader::ClientCert, Some(peer)) => client_cert(&mut headers, peer),
                (IdentityHeader::Nginx, peer) => nginx(&mut headers, peer),
                (IdentityHeader::Xfcc, Some(peer)) => {
                    let element = xfcc::element(peer.fingerprint(), peer.subject(), peer.names());
                    headers.push(X_FORWARDED_CLIENT_CERT, element);
                }
                (IdentityHeader::ClientCert | IdentityHeader::Xfcc, None) => {}
            }
        }
        if let Some(peer) = peer {
            headers.push(X_CLIENT_TRUST_BUNDLE, peer.bundle().to_string());
        }
        headers.0.shrink_to_fit();
        Self(headers.0)
    }

    /// Sets them; whatever had their names is gone.
    pub(crate) fn set(&self, headers: &mut HeaderMap) {
        // Two more are set beside them: it grows once.
        headers.reserve(self.0.len() + 2);
        for (name, value) in &self.0 {
            headers.insert(name, value.clone());
        }
    }
}

struct Headers(Vec<(HeaderName, HeaderValue)>);

impl Headers {
    /// Values come from certificates: what a header cannot hold was escaped before, and what still cannot be held is left out.
    fn push(&mut self, name: HeaderName, value: String) {
        if let Ok(value) = HeaderValue::from_maybe_shared(Bytes::from(value)) {
            self.0.push((name, value));
        }
    }
}

/// RFC 9440 §2: each certificate is a byte sequence of RFC 8941 §3.3.5.
fn client_cert(headers: &mut Headers, peer: &VerifiedPeer) {
    let mut certificates = peer.chain().iter();
    if let Some(leaf) = certificates.next() {
        headers.push(CLIENT_CERT, byte_sequence(leaf));
    }
    let chain: Vec<String> = certificates.map(|der| byte_sequence(der)).collect();
    let chain = chain.join(", ");
    if !chain.is_empty() && chain.len() <= MAX_CHAIN_BYTES {
        headers.push(CLIENT_CERT_CHAIN, chain);
    }
}

fn byte_sequence(der: &[u8]) -> String {
    format!(":{}:", STANDARD.encode(der))
}

fn nginx(headers: &mut Headers, peer: Option<&VerifiedPeer>) {
    let verified = if peer.is_some() { "SUCCESS" } else { "NONE" };
    headers
        .0
        .push((X_CLIENT_VERIFY, HeaderValue::from_static(verified)));
    let Some(peer) = peer else { return };
    if !peer.subject().is_empty() {
        headers.push(X_CLIENT_DN, hex_pairs(&peer.subject().to_string()));
    }
    if let Some(name) = peer.subject().common_name() {
        headers.push(X_CLIENT_CN, percent_encoded(name));
    }
}

/// RFC 4514 §2.4: any octet of a DN may be a backslash with two hexadecimal digits, as OpenSSL writes those above ASCII.
pub(crate) fn hex_pairs(dn: &str) -> String {
    escaped(dn, |byte| (b' '..=b'~').contains(&byte), '\\')
}

fn percent_encoded(text: &str) -> String {
    escaped(
        text,
        |byte| (b' '..=b'~').contains(&byte) && byte != b'%',
        '%',
    )
}

pub(crate) fn escaped(text: &str, is_plain: impl Fn(u8) -> bool, escape: char) -> String {
    let mut shown = String::with_capacity(text.len());
    for byte in text.bytes() {
        if is_plain(byte) {
            shown.push(char::from(byte));
        } else {
            let _ = write!(shown, "{escape}{byte:02X}");
        }
    }
    shown
}

const CLIENT_CERT: HeaderName = HeaderName::from_static("client-cert");
const CLIENT_CERT_CHAIN: HeaderName = HeaderName::from_static("client-cert-chain");
const X_CLIENT_CN: HeaderName = HeaderName::from_static("x-client-cn");
const X_CLIENT_DN: HeaderName = HeaderName::from_static("x-client-dn");
const X_CLIENT_TRUST_BUNDLE: HeaderName = HeaderName::from_static("x-client-trust-bundle");
const X_CLIENT_VERIFY: HeaderName = HeaderName::from_static("x-client-verify");
const X_FORWARDED_CLIENT_CERT: HeaderName = HeaderName::from_static("x-forwarded-client-cert");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(crate) const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Every name that the gateway sets, so that a test can ask whether a client's are stripped.
#[cfg(test)]
pub(crate) const SET_BY_GATEWAY: [HeaderName; 10] = [
    CLIENT_CERT,
    CLIENT_CERT_CHAIN,
    X_CLIENT_CN,
    X_CLIENT_DN,
    X_CLIENT_TRUST_BUNDLE,
    X_CLIENT_VERIFY,
    X_FORWARDED_CLIENT_CERT,
    X_FORWARDED_FOR,
    X_FORWARDED_HOST,
    X_FORWARDED_PROTO,
];

/// What Cloudflare allows for this header (RFC 9440 §3.2 asks for a limit); most upstreams take less in all.
const MAX_CHAIN_BYTES: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anonymous_client_is_said_to_be_so_and_nothing_else() {
        let headers = IdentityHeaders::new(
            None,
            "192.0.2.7:4711".parse().expect("an address"),
            &IdentityHeader::ALL,
        );
        let mut sent = HeaderMap::new();
        headers.set(&mut sent);
        let mut sent: Vec<_> = sent
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().expect("text")))
            .collect();
        sent.sort();
        assert_eq!(
            sent,
            [
                "x-client-verify: NONE",
                "x-forwarded-for: 192.0.2.7",
                "x-forwarded-proto: https"
            ]
        );
    }

    #[test]
    fn names_from_certificates_cannot_leave_their_header() {
        assert_eq!(
            hex_pairs("CN=J\u{e4}ger\r\nX-Client-CN: admin"),
            r"CN=J\C3\A4ger\0D\0AX-Client-CN: admin"
        );
        assert_eq!(percent_encoded("100%\n\u{e4}"), "100%25%0A%C3%A4");
    }
}
