//! What is kept of a decision and of a connection.

use std::net::IpAddr;
use std::sync::Arc;

use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::identity::{Identity, VerifiedPeer};
use countersign_pki::name::TypedName;
use countersign_tls::shadow::ShadowFinding;
use serde::{Deserialize, Serialize};

use crate::refusals::printable;
use crate::shadow::ShadowVerdict;

/// What tells one kind of decision from another.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DecisionKey {
    /// Name of the listener.
    pub listener: String,
    /// Who asked.
    pub who: Who,
    /// From where: /24 of IPv4, /64 of IPv6.
    pub network: IpAddr,
    /// For what.
    pub what: What,
    /// How the route is called.
    pub route: Option<String>,
    /// What was decided.
    pub verdict: RecordedVerdict,
    /// What shadow rules said; `None`: there were none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<ShadowVerdict>,
}

/// Who asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Who {
    /// Nobody that is known.
    Anonymous,
    /// A hash over what stays when a certificate is renewed: bundle, names, purposes, issuer, extensions.
    Identity(Fingerprint),
}

impl Who {
    /// Of a connection's peer.
    pub fn of(peer: Option<&VerifiedPeer>) -> Self {
        let Some(peer) = peer else {
            return Self::Anonymous;
        };
        // Each field has its length ahead of it, so that none goes on in the next.
        let mut facts = Vec::with_capacity(1024);
        let mut add = |field: &[u8]| {
            facts.extend_from_slice(&u64::try_from(field.len()).unwrap_or(u64::MAX).to_be_bytes());
            facts.extend_from_slice(field);
        };
        add(peer.bundle().as_str().as_bytes());
        add(peer.issuer_key().as_bytes());
        for name in peer.names() {
            if !matches!(name, TypedName::Spki(_) | TypedName::SerialIssuer { .. }) {
                add(name.to_string().as_bytes());
            }
        }
        // No name is empty.
        add(&[]);
        for extension in peer.extensions() {
            let oid = extension.oid_octets();
            // The names are above, and a key identifier goes with the key, of which rules know by other names.
            if !matches!(oid, SUBJECT_KEY_IDENTIFIER | SUBJECT_ALT_NAME) {
                add(oid);
                add(&[extension.critical.into()]);
                add(extension.value);
            }
        }
        Self::Identity(Fingerprint::of(&facts))
    }
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum What {
    /// A connection of bytes.
    Connection,
    /// A login to PostgreSQL.
    Login {
        /// As whom.
        user: String,
        /// Where.
        database: String,
    },
    /// A request of HTTP, without its query and its headers.
    Request {
        /// In lower case; `None`: an address.
        host: Option<String>,
        /// Method token.
        method: String,
        /// As it stood in the request.
        path: RecordedPath,
    },
}

/// A path that is bounded.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum RecordedPath {
    /// All of it.
    Whole(String),
    /// Too long to be kept, so that it cannot be judged again.
    TooLong {
        /// Of the path.
        sha256: Fingerprint,
        /// How long it was.
        bytes: usize,
    },
}

impl RecordedPath {
    /// Of a request with this method, a long one of which is as bad.
    pub(super) fn new(method: &str, path: &str) -> Self {
        if path.len() <= MAX_PATH_BYTES && method.len() <= MAX_METHOD_BYTES {
            return Self::Whole(path.to_owned());
        }
        Self::TooLong {
            sha256: Fingerprint::of(path.as_bytes()),
            bytes: path.len(),
        }
    }
}

/// A method, bounded.
pub(super) fn recorded_method(method: &str) -> String {
    method.chars().take(MAX_METHOD_BYTES).collect()
}

/// What was decided.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecordedVerdict {
    /// It went through.
    Admitted,
    /// It was refused, for this cause.
    Refused(String),
}

/// What tells one kind of connection from another.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientKey {
    /// Name of the listener.
    pub listener: String,
    /// With what the client came.
    pub client: Client,
    /// From where: of the known the network as in [`DecisionKey`], of others the address of IPv4 and the /64 of IPv6.
    pub from: IpAddr,
    /// What a shadow of the listener's certificates says; `None`: it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<CertificateVerdict>,
}

/// With what a client came.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Client {
    /// With a certificate that was accepted.
    Identity(Fingerprint),
    /// With one that was refused, or without one where it is required: the cause.
    Refused(String),
    /// Nobody asked it for a certificate.
    Unasked,
    /// Without one, though it was asked.
    WithoutCertificate,
}

/// What a shadow would do with a client.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CertificateVerdict {
    /// Take it for this identity; `None`: for nobody, and that is enough.
    WouldAccept(Option<String>),
    /// Refuse it, for this cause.
    WouldRefuse(String),
}

impl CertificateVerdict {
    pub(crate) fn of(finding: &ShadowFinding) -> Self {
        match finding {
            // A name is as long as its certificate likes.
            ShadowFinding::WouldAccept(name) => Self::WouldAccept(name.as_ref().map(printable)),
            ShadowFinding::WouldRefuse(cause) => Self::WouldRefuse(cause.slug().to_owned()),
        }
    }
}

/// How often, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tally {
    /// How often.
    pub count: u64,
    /// When first, in Unix seconds.
    pub first_unix_s: u64,
    /// When last.
    pub last_unix_s: u64,
    /// From where last.
    pub source: IpAddr,
    /// SHA-256 of the certificate that was last shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaf: Option<Fingerprint>,
}

impl Tally {
    /// Adds what happened elsewhere.
    pub(super) fn add(&mut self, other: &Self) {
        self.count = self.count.saturating_add(other.count);
        self.first_unix_s = self.first_unix_s.min(other.first_unix_s);
        if other.last_unix_s >= self.last_unix_s {
            self.last_unix_s = other.last_unix_s;
            self.source = other.source;
            self.leaf = other.leaf;
        }
    }
}

/// A decision, and how often it was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredDecision {
    /// Which.
    pub key: DecisionKey,
    /// How often.
    pub tally: Tally,
}

/// Connections of one kind, and how many there were.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredClient {
    /// Which.
    pub key: ClientKey,
    /// How many.
    pub tally: Tally,
}

/// A certificate that tallies name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredCertificate {
    /// Who it was accepted as.
    pub identity: Identity,
    /// The verified path in DER, leaf first, without the anchor; empty: too long to be kept.
    pub chain: Arc<[Vec<u8>]>,
}

impl StoredCertificate {
    pub(super) fn of(peer: &VerifiedPeer) -> Self {
        let bytes: usize = peer.chain().iter().map(Vec::len).sum();
        let chain = if bytes <= MAX_CHAIN_BYTES {
            peer.shared_chain()
        } else {
            Arc::default()
        };
        Self {
            identity: peer.principal().clone(),
            chain,
        }
    }
}

/// RFC 5280 §4.2.1.2 and §4.2.1.6.
const SUBJECT_KEY_IDENTIFIER: &[u8] = &[0x55, 0x1d, 14];
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 17];
/// Nearly every path of the field; what is longer carries identifiers that come once.
const MAX_PATH_BYTES: usize = 512;
const MAX_METHOD_BYTES: usize = 32;
/// Four certificates with keys of RSA; thousands of these are held.
const MAX_CHAIN_BYTES: usize = 8 * 1024;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use countersign_pki::bundle::TrustBundle;
    use countersign_pki::certificate::Certificate;
    use countersign_pki::chain::{Limits, Purpose, Verifier};
    use countersign_pki::identity::BundleName;
    use countersign_pki::revocation::RevocationIndex;
    use countersign_pki::time::UnixTime;
    use countersign_runtime::clock::{Clock, SystemClock};
    use countersign_testkit::pki::{Leaf, TestCa};
    use rcgen::ExtendedKeyUsagePurpose;

    use super::*;

    #[test]
    fn renewed_certificate_is_who_the_one_before_was_and_any_other_is_another() {
        let (ca, other_ca) = (TestCa::new("internal"), TestCa::new("internal"));
        let who = |ca: &TestCa, bundle: &str, leaf: Leaf| {
            let now = UnixTime::from_seconds(SystemClock.unix_seconds());
            let name = BundleName::parse(bundle).expect("a name");
            let root = Certificate::parse(ca.root.der()).expect("a certificate");
            let bundle = TrustBundle::new(name, None, vec![root], now).expect("a bundle");
            let verifier = Verifier::new(vec![Arc::new(bundle)], Limits::default());
            let (chain, none) = (ca.issue(leaf).chain, RevocationIndex::default());
            let peer =
                (verifier.expect("a verifier")).verify(&chain, Purpose::ClientAuth, &none, now);
            Who::of(Some(&peer.expect("it verifies")))
        };
        let you = who(&ca, "internal", Leaf::client("you"));
        let renewed = Leaf::client("you").valid(-60, 7200);
        assert_eq!(who(&ca, "internal", renewed), you);
        let both = [
            ExtendedKeyUsagePurpose::ClientAuth,
            ExtendedKeyUsagePurpose::ServerAuth,
        ];
        for other in [
            who(&ca, "internal", Leaf::client("you.")),
            who(&ca, "internal", Leaf::client("you").usages(&both)),
            who(&ca, "partner", Leaf::client("you")),
            who(&other_ca, "internal", Leaf::client("you")),
            Who::of(None),
        ] {
            assert_ne!(other, you);
        }
    }
}
