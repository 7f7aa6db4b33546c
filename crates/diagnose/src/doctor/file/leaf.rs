//! What a certificate says of itself, whoever trusts it.
//!
//! [`passage`](super::passage) stops at the first thing wrong with a path, and needs a path. What is said here is said twice where
//! both see it; one finding per cause remains.

use countersign_pki::certificate::{Certificate, Flaw};
use countersign_pki::chain::{ChainFault, ChainFaultKind, ExpectedName, NameFault, Purpose};
use countersign_pki::material::CertificatePiece;
use countersign_pki::time::spoken;

use super::{Judgement, Party};
use crate::blame;
use crate::cause::Cause;
use crate::chain::refusal;
use crate::doctor::shell_word::quoted;
use crate::finding::{Finding, RuledOut, Side};

pub(super) fn judge(party: &Party<'_>, judgement: &mut Judgement) {
    for (at, piece) in party.chain.iter().enumerate() {
        flaws(party, at, piece, judgement);
    }
    let Some(leaf) = party.leaf() else { return };
    let of_leaf = Leaf { party, leaf };
    of_leaf.times(judgement);
    of_leaf.purposes(judgement);
    of_leaf.strength(judgement);
    of_leaf.names(judgement);
    if leaf.version() != 3 {
        judgement.find(of_leaf.told(ChainFaultKind::Version1));
    }
}

/// What could not be read, or only by looking away.
pub(super) fn flaws(
    party: &Party<'_>,
    at: usize,
    piece: &CertificatePiece,
    judgement: &mut Judgement,
) {
    let path = &party.file.path;
    let whose = |certificate: &Certificate| match at {
        0 => format!("the {}'s certificate {path}", party.called()),
        _ => format!(
            "certificate {} of {path} ({})",
            piece.place,
            certificate.subject()
        ),
    };
    match &piece.read {
        Err(why) => {
            let message = format!(
                "certificate {} of {path} cannot be read: {why}",
                piece.place
            );
            let finding = Finding::fault(Cause::MalformedCertificate, Side::Ca, message);
            judgement.find(finding.with("file", path).with("why", why));
        }
        Ok((certificate, Some(Flaw::Serial(why)))) => {
            let message = format!("{} has a bad serial number: {why}", whose(certificate));
            let finding = Finding::fault(Cause::BadSerial, Side::Ca, message);
            judgement.find(
                finding
                    .with("file", path)
                    .with("why", why)
                    .with("subject", certificate.subject())
                    .with_fix("Go from 1.23 on refuses a negative one, Countersign all that are none; OpenSSL, GnuTLS, Java and rustls do not look"),
            );
        }
        Ok((certificate, Some(Flaw::Name(why)))) => {
            let message = format!("{} has a name that is none: {why}", whose(certificate));
            let finding = Finding::fault(Cause::MalformedCertificate, Side::Ca, message)
                .with("file", path)
                .with("why", why);
            // A NUL has fooled verifiers; an address or a wildcard in the wrong place only fits nothing.
            let deceives = why.contains(r"\u{0}") || why.contains(r"\0");
            judgement.find(if deceives { finding } else { finding.risk() });
        }
        Ok((_, None)) => {}
    }
}

struct Leaf<'p, 'a> {
    party: &'p Party<'a>,
    leaf: &'a Certificate,
}

impl Leaf<'_, '_> {
    /// As the judge of chains would tell it.
    fn told(&self, kind: ChainFaultKind) -> Finding {
        told(self.party, self.leaf, kind)
    }

    fn times(&self, judgement: &mut Judgement) {
        let (now, leaf) = (self.party.now, self.leaf);
        let (not_before, not_after) = (leaf.not_before(), leaf.not_after());
        if now > not_after {
            let path = quoted(&self.party.file.path);
            judgement.find(
                self.told(ChainFaultKind::LeafExpired { not_after })
                    .with_fix(format!("openssl x509 -in {path} -noout -dates")),
            );
        } else if now < not_before {
            judgement.find(self.told(ChainFaultKind::NotYetValid { not_before }));
        } else {
            let because = format!(
                "the {}'s certificate {} ends {not_after}, in {}",
                self.party.called(),
                self.party.file.path,
                spoken(not_after.since(now))
            );
            judgement.rule_out(RuledOut::new(Cause::LeafExpired, because));
        }
    }

    fn purposes(&self, judgement: &mut Judgement) {
        let (party, leaf) = (self.party, self.leaf);
        if let Some(usage) = leaf.extended_key_usage() {
            let is_there = match party.purpose {
                Purpose::ClientAuth => usage.client_auth,
                Purpose::ServerAuth => usage.server_auth,
            };
            if is_there {
                let cause = match party.purpose {
                    Purpose::ClientAuth => Cause::EkuMissingClientauth,
                    Purpose::ServerAuth => Cause::EkuMissingServerauth,
                };
                let because = format!(
                    "the {}'s certificate lists {}",
                    party.called(),
                    usage.listed().join(", ")
                );
                judgement.rule_out(RuledOut::new(cause, because));
            } else {
                judgement.find(self.told(ChainFaultKind::MissingPurpose {
                    listed: usage.listed(),
                }));
            }
        }
        if leaf
            .key_usage()
            .is_some_and(|usage| !usage.listed().contains(&"digitalSignature"))
        {
            let finding = self.told(ChainFaultKind::MissingDigitalSignature);
            // RSA key exchange, up to TLS 1.2, needs no signature of a server.
            judgement.find(match party.purpose {
                Purpose::ClientAuth => finding,
                Purpose::ServerAuth => finding.risk(),
            });
        }
        if leaf.is_ca() && party.chain.len() == 1 {
            judgement.find(self.told(ChainFaultKind::CaUsedAsEndEntity));
        }
    }

    fn strength(&self, judgement: &mut Judgement) {
        if let Some(key) = self.leaf.weak_key() {
            judgement.find(self.told(ChainFaultKind::WeakKey { key }));
        }
        // Nobody verifies what a trust anchor has signed itself with.
        let is_own = self.leaf.subject_der() == self.leaf.issuer_der();
        if let (Some(algorithm), false) = (self.leaf.weak_signature(), is_own) {
            judgement.find(self.told(ChainFaultKind::WeakSignature { algorithm }));
        }
    }

    fn names(&self, judgement: &mut Judgement) {
        let (party, leaf) = (self.party, self.leaf);
        if party.purpose != Purpose::ServerAuth {
            return;
        }
        let Some(host) = party.host() else {
            if !leaf.has_alt_names() && leaf.subject().common_name().is_some() {
                let finding = self.told(ChainFaultKind::NameMismatch {
                    expected: leaf.subject().common_name().unwrap_or_default().to_owned(),
                    fault: NameFault::SanMissing,
                });
                judgement.find(finding);
            }
            return;
        };
        let Ok(expected) = ExpectedName::parse(&host, Purpose::ServerAuth) else {
            return;
        };
        match expected.find_in(leaf) {
            Ok(()) => {
                let because = format!("the server's certificate holds {host}");
                judgement.rule_out(RuledOut::new(Cause::NameMismatch, because));
            }
            Err(ChainFaultKind::NameMismatch { expected, fault })
                if fault == NameFault::Other && self.is_under_a_bad_wildcard(&host) =>
            {
                let fault = NameFault::Wildcard;
                judgement.find(self.told(ChainFaultKind::NameMismatch { expected, fault }));
            }
            Err(kind) => judgement.find(self.told(kind)),
        }
    }

    /// `*.*.example.com`, which is no name, and is meant to be one.
    fn is_under_a_bad_wildcard(&self, host: &str) -> bool {
        let flaw = self.party.chain.first().and_then(|piece| piece.flaw());
        let Some(Flaw::Name(why)) = flaw else {
            return false;
        };
        let meant = why.split('`').nth(1).unwrap_or_default();
        let (mut labels, mut wanted) = (host.split('.'), meant.split('.'));
        meant.contains('*')
            && loop {
                match (labels.next(), wanted.next()) {
                    (None, None) => break true,
                    (Some(_), Some("*")) => {}
                    (Some(label), Some(same)) if label.eq_ignore_ascii_case(same) => {}
                    _ => break false,
                }
            }
    }
}

/// A fault of a chain, as the judge of chains would tell it.
pub(super) fn told(party: &Party<'_>, leaf: &Certificate, kind: ChainFaultKind) -> Finding {
    let fault = ChainFault {
        kind,
        leaf: Some(std::sync::Arc::new(leaf.clone())),
        sent: party.chain.len(),
        now: party.now,
    };
    of_fault(party, &fault)
}

/// The same, judged already.
pub(super) fn of_fault(party: &Party<'_>, fault: &ChainFault) -> Finding {
    let finding = blame::finding(&refusal(fault, party.purpose), party.purpose);
    finding.with("file", &party.file.path)
}
