//! What clients refuse in the leaf itself.

use std::time::Duration;

use super::{ED25519_SOURCE, Known, ML_DSA_SOURCE, NO_ED25519, NO_ML_DSA, is_ml_dsa};
use crate::certificate::{Certificate, KeyAlgorithm};
use crate::name::TypedName;
use crate::time::spoken;

type Judge = fn(&Certificate) -> Option<String>;

pub(super) const KNOWN: [Known<Judge>; 4] = [
    Known {
        client: "every client that checks the host name",
        // Neither a common name nor a URI stands for a host.
        source: "RFC 9525 §6.3",
        judge: no_host_name,
    },
    Known {
        client: NO_ED25519,
        source: ED25519_SOURCE,
        judge: ed25519,
    },
    Known {
        client: NO_ML_DSA,
        source: ML_DSA_SOURCE,
        judge: ml_dsa,
    },
    Known {
        // Under roots that a person has installed, too; the 398 days hold for roots that come with the system only.
        client: "Safari and whatever else uses the TLS of macOS and iOS",
        source: "https://support.apple.com/103769",
        judge: lives_long,
    },
];

fn no_host_name(leaf: &Certificate) -> Option<String> {
    let is_host = |name: &TypedName| matches!(name, TypedName::Dns(_) | TypedName::Ip(_));
    let has_none = is_server(leaf) && !leaf.subject_alt_names().iter().any(is_host);
    has_none.then(|| {
        "it has neither DNS name nor IP address; peers that ask for its SPIFFE ID accept it, for others add --dns"
            .to_owned()
    })
}

fn ed25519(leaf: &Certificate) -> Option<String> {
    let is_one = *leaf.public_key_algorithm() == KeyAlgorithm::Ed25519;
    is_one.then(|| {
        "its key is Ed25519, which they do not take in TLS; a P-256 key suits everybody".to_owned()
    })
}

fn ml_dsa(leaf: &Certificate) -> Option<String> {
    let key = leaf.public_key_algorithm();
    is_ml_dsa(key)
        .then(|| format!("its key is {key}, which they do not know; a P-256 key suits everybody"))
}

fn lives_long(leaf: &Certificate) -> Option<String> {
    let life = leaf.not_after().since(leaf.not_before());
    // Both ends belong to it (RFC 5280 §4.1.2.5).
    (is_server(leaf) && life >= APPLE_LIMIT).then(|| {
        format!(
            "it lives {}, a server certificate may live 825 days there; a shorter --ttl suits everybody",
            spoken(life)
        )
    })
}

fn is_server(leaf: &Certificate) -> bool {
    leaf.extended_key_usage()
        .is_some_and(|purposes| purposes.server_auth)
}

const APPLE_LIMIT: Duration = Duration::from_hours(825 * 24);
