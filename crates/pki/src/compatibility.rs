//! Which clients of today would refuse a certificate that is good by the RFCs and by the profiles (which leave out what
//! nobody would accept: wildcards right under a top-level domain, server certificates that live longer than 825 days).

use crate::certificate::{Certificate, KeyAlgorithm};
use crate::name::TypedName;

/// Somebody who refuses it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Objection {
    /// Which clients.
    pub client: &'static str,
    /// A sentence with the values and what to do instead.
    pub why: String,
}

/// Every known objection to `leaf`, whose chain and issuer are taken to be good.
pub fn objections(leaf: &Certificate) -> Vec<Objection> {
    KNOWN
        .iter()
        .filter_map(|(client, judge)| judge(leaf).map(|why| Objection { client, why }))
        .collect()
}

type Known = (&'static str, fn(&Certificate) -> Option<String>);

const KNOWN: [Known; 3] = [
    ("every client that checks the host name", no_host_name),
    ("Chromium, Firefox, Safari, Windows", ed25519),
    (
        "OpenSSL before 3.5, browsers, Java, Windows, and everybody in TLS 1.2",
        ml_dsa,
    ),
];

/// RFC 9525 §6.3: neither a common name nor a URI stands for a host.
fn no_host_name(leaf: &Certificate) -> Option<String> {
    let is_host = |name: &TypedName| matches!(name, TypedName::Dns(_) | TypedName::Ip(_));
    let has_none = is_server(leaf) && !leaf.subject_alt_names().iter().any(is_host);
    has_none.then(|| {
        "it has neither DNS name nor IP address; peers that ask for its SPIFFE ID accept it, for others add --dns"
            .to_owned()
    })
}

/// None of them offers the signature scheme ed25519 (RFC 8446 §4.2.3) in its `ClientHello`.
fn ed25519(leaf: &Certificate) -> Option<String> {
    if *leaf.public_key_algorithm() == KeyAlgorithm::Ed25519 {
        Some(
            "its key is Ed25519, which they do not take in TLS; a P-256 key suits everybody".into(),
        )
    } else if leaf.signature_algorithm().to_string() == "Ed25519" {
        Some("its issuer signs with Ed25519, which they do not take in TLS; under a CA with P-256 keys everybody takes it".into())
    } else {
        None
    }
}

/// The schemes of draft-ietf-tls-mldsa are for TLS 1.3 alone.
fn ml_dsa(leaf: &Certificate) -> Option<String> {
    let key = leaf.public_key_algorithm();
    let scheme = leaf.signature_algorithm().to_string();
    if matches!(
        key,
        KeyAlgorithm::MlDsa44 | KeyAlgorithm::MlDsa65 | KeyAlgorithm::MlDsa87
    ) {
        Some(format!(
            "its key is {key}, which they do not know; a P-256 key suits everybody"
        ))
    } else if scheme.starts_with("ML-DSA-") {
        Some(format!(
            "its issuer signs with {scheme}, which they do not know; under a CA with P-256 keys everybody takes it"
        ))
    } else {
        None
    }
}

fn is_server(leaf: &Certificate) -> bool {
    leaf.extended_key_usage()
        .is_some_and(|purposes| purposes.server_auth)
}
