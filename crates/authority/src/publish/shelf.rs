//! What is served as it lies there: lists and CA certificates, by the URLs that certificates carry.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::publication::PublicationUrl;
use countersign_pki::time::UnixTime;

/// Something that is served.
#[derive(Clone, Debug)]
pub struct Document {
    /// In DER.
    pub body: Bytes,
    /// Content-Type.
    pub media_type: &'static str,
    /// A strong `ETag`: the SHA-256 of the body in hexadecimal digits (RFC 5019 §6.2 has it with SHA-1).
    pub etag: Arc<str>,
    /// thisUpdate and nextUpdate, of what has them.
    pub times: Option<(UnixTime, UnixTime)>,
}

impl Document {
    pub(super) fn new(
        der: Vec<u8>,
        media_type: &'static str,
        times: Option<(UnixTime, UnixTime)>,
    ) -> Self {
        Self {
            etag: format!("\"{}\"", Fingerprint::of(&der)).into(),
            body: der.into(),
            media_type,
            times,
        }
    }

    /// Whether it may be relied on no longer.
    pub fn is_over(&self, now: UnixTime) -> bool {
        self.times
            .is_some_and(|(_, next_update)| now >= next_update)
    }
}

/// Documents by URL.
pub(super) struct Shelf {
    url: PublicationUrl,
    /// Invariant: each is the newest that is durable. Only one task puts documents there.
    documents: RwLock<HashMap<String, Document>>,
}

impl Shelf {
    pub(super) fn new(url: PublicationUrl) -> Self {
        Self {
            url,
            documents: RwLock::default(),
        }
    }

    pub(super) fn put(&self, url: &str, document: Document) {
        let mut documents = self
            .documents
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        documents.insert(key_of(url), document);
    }

    /// The one of the host that was asked, for an authority that published at another URL before has lists of both, which
    /// name their own; else, since a proxy may have written another host there, the one at the URL of today.
    pub(super) fn find(&self, host: Option<&str>, path: &str) -> Option<Document> {
        let documents = self
            .documents
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let asked = host.and_then(|host| documents.get(&key_of(&format!("http://{host}{path}"))));
        let today = || {
            let below = path.strip_prefix(self.url.path())?;
            documents.get(&key_of(&format!("{}{below}", self.url)))
        };
        asked.or_else(today).cloned()
    }
}

/// A URL as every client asks for it, however it is written in certificates: the host in lower case, and no port where it is
/// that of HTTP (RFC 9110 §4.2.3). Otherwise a certificate's host would be taken for a stranger's, and be given the list at the
/// URL of today, on which it is not.
fn key_of(url: &str) -> String {
    let rest = url.strip_prefix("http://").unwrap_or(url);
    let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.is_empty() || port.parse() == Ok(HTTP_PORT) => host,
        _ => authority,
    };
    format!("{}{path}", host.to_ascii_lowercase())
}

const HTTP_PORT: u16 = 80;

pub(super) const CRL: &str = "application/pkix-crl";
pub(super) const CERTIFICATE: &str = "application/pkix-cert";
pub(super) const OCSP_RESPONSE: &str = "application/ocsp-response";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_url_is_one_document_however_it_is_written() {
        let check = |one: &str, other: &str, expected: bool| {
            assert_eq!(key_of(one) == key_of(other), expected, "{one} {other}");
        };
        check("http://PKI.Example.com/a", "http://pki.example.com/a", true);
        check("http://a.example:80/a", "http://a.example/a", true);
        check("http://a.example:/a", "http://a.example/a", true);
        check("http://[::1]:080", "http://[::1]", true);
        check("http://[2001:db8::80]/a", "http://[2001:db8::]/a", false);
        check("http://a.example:8080/a", "http://a.example/a", false);
        check("http://a.example/A", "http://a.example/a", false);
        check("http://a.example/a:80", "http://a.example/a", false);
    }
}
