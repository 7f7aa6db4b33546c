//! What is known beside what was seen: certificates out of files, as DER.

use countersign_pki::certificate::Certificate;
use countersign_pki::chain::{ChainFault, ExpectedName, Purpose, Rules, Strictness};
use countersign_pki::identity::{BundleName, VerifiedPeer};
use countersign_pki::time::UnixTime;
use countersign_pki::verification::Verification;

use super::TargetSeen;
use crate::finding::Finding;

/// Certificates of both sides, each in DER, a chain leaf first. Empty: not at hand.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// `--cert`.
    pub client_chain: Vec<Vec<u8>>,
    /// `--ca`: what the client trusts.
    pub anchors: Vec<Vec<u8>>,
    /// `--server-cert`: what the server should present.
    pub server_cert_file: Vec<Vec<u8>>,
    /// When that file was last written.
    pub server_cert_file_modified: Option<UnixTime>,
    /// `--client-ca`: what the server trusts.
    pub client_ca: Vec<Vec<u8>>,
    /// CA certificates that were found anywhere else.
    pub issuers: Vec<Vec<u8>>,
    /// `--crl`.
    pub crls: Vec<Vec<u8>>,
    /// What is wrong with what the server shows, judged as its file would be; the root cause first.
    pub flaws_of_served: Vec<Finding>,
}

impl Known {
    /// With the CA certificates that the server sent above its own.
    pub(super) fn with_issuers_of(&self, seen: &TargetSeen) -> Self {
        let mut known = self.clone();
        let sent = seen.attempts.iter().flat_map(|attempt| &attempt.chain);
        for der in sent {
            let is_new = !known.issuers.contains(&der.0);
            if is_new && Certificate::parse_anchor(&der.0).is_ok_and(|it| it.is_ca()) {
                known.issuers.push(der.bytes());
            }
        }
        known
    }

    /// Every CA certificate at hand, whoever's file it stands in.
    pub(super) fn every_issuer(&self) -> Vec<Vec<u8>> {
        let above = |chain: &[Vec<u8>]| chain.iter().skip(1).cloned().collect::<Vec<_>>();
        let mut all = above(&self.client_chain);
        all.extend(above(&self.server_cert_file));
        all.extend(self.issuers.iter().cloned());
        all.extend(self.anchors.iter().cloned());
        all.extend(self.client_ca.iter().cloned());
        all
    }
}

/// What can be read of DER, in its order.
pub(super) fn parsed(chain: &[Vec<u8>]) -> Vec<Certificate> {
    chain
        .iter()
        .filter_map(|der| Certificate::parse_anchor(der).ok())
        .collect()
}

/// What somebody with these anchors says of a chain; `None`: there is nothing to judge by.
pub(super) fn verdict(
    anchors: &[Vec<u8>],
    crls: &[Vec<u8>],
    chain: &[Vec<u8>],
    purpose: Purpose,
    names: &[ExpectedName],
    (now, is_strict): (UnixTime, bool),
) -> Option<Result<VerifiedPeer, ChainFault>> {
    if anchors.is_empty() || chain.is_empty() {
        return None;
    }
    let rules = Rules {
        strictness: if is_strict {
            Strictness::Strict
        } else {
            Strictness::Usual
        },
        ..Rules::default()
    };
    let verification =
        Verification::new(BundleName::internal(), None, anchors, crls, rules).ok()?;
    Some(verification.verify(chain, purpose, names, now))
}

/// Whether `issuer` signed `certificate`, by name and key.
pub(super) fn is_issued_by(certificate: &Certificate, issuer: &Certificate) -> bool {
    certificate.issuer_der() == issuer.subject_der() && certificate.verify_signature(issuer).is_ok()
}

/// Whether a certificate names itself as its issuer.
pub(super) fn is_self_issued(certificate: &Certificate) -> bool {
    certificate.issuer_der() == certificate.subject_der()
}

/// Two names of one CA in two generations: alike but for numbers, years and words that count them.
pub(super) fn is_other_generation(one: &str, other: &str) -> bool {
    let stem = |name: &str| -> String {
        name.to_ascii_lowercase()
            .split(|c: char| !c.is_ascii_alphanumeric() && c != '=')
            .map(|word| word.trim_matches(|c: char| c.is_ascii_digit()))
            .filter(|word| {
                !matches!(
                    *word,
                    "" | "g"
                        | "r"
                        | "v"
                        | "x"
                        | "e"
                        | "gen"
                        | "generation"
                        | "new"
                        | "old"
                        | "cn=new"
                        | "cn=old"
                )
            })
            .collect::<Vec<_>>()
            .join(" ")
            .replace("cn=new ", "cn=")
            .replace("cn=old ", "cn=")
    };
    one != other && stem(one) == stem(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generations_of_a_ca_are_told_from_two_cas() {
        for (one, other) in [
            ("CN=Acme Root 2023", "CN=Acme Root 2026"),
            ("CN=Acme Root G1", "CN=Acme Root G2"),
            ("CN=Acme Root R3,O=Acme", "CN=Acme Root R4,O=Acme"),
            ("CN=Acme CA v1", "CN=Acme CA v2"),
            ("CN=Old Acme CA", "CN=New Acme CA"),
        ] {
            assert!(is_other_generation(one, other), "{one} {other}");
        }
        for (one, other) in [
            ("CN=Acme Root", "CN=Acme Root"),
            ("CN=Acme Root 1", "CN=Bcme Root 2"),
            ("CN=Acme Root", "CN=Acme Issuing"),
        ] {
            assert!(!is_other_generation(one, other), "{one} {other}");
        }
    }
}
