//! Which clients of today would refuse a certificate that is good by the RFCs and by the profiles, for itself or for the CAs above it.
//!
//! A row is here only if a client with its default settings refuses what can exist: what nothing here decodes (serial numbers that are
//! negative or longer than 20 octets, an empty issuer), what no adoption takes (version 1, RSA under 2048, SHA-1 below the root, CAs
//! without keyCertSign, too short path lengths, critical extensions beyond webpki's) and what lint and profiles refuse (names outside
//! constraints, wildcards right under a top-level domain) has no row. Nor have limits that hold for public roots alone (398 days), and
//! RFC 5280's demands that no client makes (nameConstraints that are not critical).

mod issuers;
mod leaf;

use crate::certificate::{Certificate, KeyAlgorithm};

/// Somebody who refuses it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Objection {
    /// Which clients.
    pub client: &'static str,
    /// A sentence with the values and what to do instead.
    pub why: String,
    /// The document of the client, or the RFC, that says so.
    pub source: &'static str,
}

/// Every known objection to `leaf` under the CAs `above` it, nearest first, the root last.
pub fn objections(leaf: &Certificate, above: &[Certificate]) -> Vec<Objection> {
    let known = leaf::KNOWN.iter();
    known
        .filter_map(|known| known.objection((known.judge)(leaf)))
        .chain(objections_to_issuers(above))
        .collect()
}

/// Every known objection to whatever stands below these CAs, nearest first, the root last.
pub fn objections_to_issuers(path: &[Certificate]) -> Vec<Objection> {
    let places = || path.iter().enumerate();
    let judged = issuers::KNOWN
        .iter()
        .flat_map(|known| places().map(move |place| (known, place)));
    judged
        .filter_map(|(known, (at, certificate))| {
            known.objection((known.judge)(&Issuer {
                certificate,
                is_root: at + 1 == path.len(),
            }))
        })
        .collect()
}

/// A CA in its place.
struct Issuer<'a> {
    certificate: &'a Certificate,
    is_root: bool,
}

/// One row: who refuses what, and where that is written.
struct Known<Judge> {
    client: &'static str,
    source: &'static str,
    judge: Judge,
}

impl<Judge> Known<Judge> {
    fn objection(&self, why: Option<String>) -> Option<Objection> {
        why.map(|why| Objection {
            client: self.client,
            why,
            source: self.source,
        })
    }
}

fn is_ml_dsa(key: &KeyAlgorithm) -> bool {
    matches!(
        key,
        KeyAlgorithm::MlDsa44 | KeyAlgorithm::MlDsa65 | KeyAlgorithm::MlDsa87
    )
}

/// Who has no Ed25519 in TLS.
const NO_ED25519: &str = "Chromium, Firefox, Safari, Windows";

/// None of them offers the signature scheme ed25519 in its `ClientHello`.
const ED25519_SOURCE: &str = "RFC 8446 §4.2.3";

/// Who has no ML-DSA in certificates.
const NO_ML_DSA: &str = "OpenSSL before 3.5, browsers, Java, Windows, and everybody in TLS 1.2";

/// The schemes of the draft are for TLS 1.3 alone.
const ML_DSA_SOURCE: &str = "draft-ietf-tls-mldsa";
