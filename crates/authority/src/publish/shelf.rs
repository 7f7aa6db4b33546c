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
        documents.insert(url.to_owned(), document);
    }

    /// The one of the host that was asked, for an authority that published at another URL before has lists of both, which
    /// name their own; else, since a proxy may have written another host there, the one at the URL of today.
    pub(super) fn find(&self, host: Option<&str>, path: &str) -> Option<Document> {
        let documents = self
            .documents
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let asked = host.and_then(|host| documents.get(&format!("http://{host}{path}")));
        let today = || {
            let below = path.strip_prefix(self.url.path())?;
            documents.get(&format!("{}{below}", self.url))
        };
        asked.or_else(today).cloned()
    }
}

pub(super) const CRL: &str = "application/pkix-crl";
pub(super) const CERTIFICATE: &str = "application/pkix-cert";
pub(super) const OCSP_RESPONSE: &str = "application/ocsp-response";
