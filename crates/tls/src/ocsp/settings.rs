//! How a bundle's responder is asked, and what a change of that leaves standing.

use std::collections::BTreeSet;
use std::time::Duration;

use countersign_pki::certificate::Certificate;
use countersign_pki::revocation::RevocationMode;

/// How certificates of one bundle are asked about.
#[derive(Clone, Debug)]
pub struct OcspSettings {
    /// Whom to ask, as written.
    pub url: String,
    /// What becomes of a certificate that no fresh answer speaks of.
    pub mode: RevocationMode,
    /// The bundle's anchors: issuers of what has no issuer in its chain.
    pub anchors: Vec<Certificate>,
    /// Responders that are named; empty: issuers themselves, and whom they certified.
    pub signers: Vec<Certificate>,
    /// For how long an answer is good.
    pub max_age: Duration,
    /// For how long a connection waits for one.
    pub timeout: Duration,
    /// Whether the CAs between the client and the anchor are asked about, too.
    pub chain: bool,
}

impl OcspSettings {
    /// Whether answers that are held, and how they are judged, are the same by both.
    pub fn is_same_as(&self, other: &Self) -> bool {
        let prints =
            |all: &[Certificate]| -> Vec<_> { all.iter().map(Certificate::fingerprint).collect() };
        let plain = |it: &Self| (it.mode, it.max_age, it.timeout, it.chain);
        self.url == other.url
            && plain(self) == plain(other)
            && prints(&self.anchors) == prints(&other.anchors)
            && prints(&self.signers) == prints(&other.signers)
    }

    /// Whether an answer that `other` accepted would be accepted by this one: it proves itself by its signature, wherever it came from.
    pub(crate) fn believes(&self, other: &Self) -> bool {
        let prints = |all: &[Certificate]| -> BTreeSet<_> {
            all.iter().map(Certificate::fingerprint).collect()
        };
        prints(&self.signers) == prints(&other.signers)
            && prints(&self.anchors).is_superset(&prints(&other.anchors))
    }

    /// This one, and no less than `next` asks for.
    pub(crate) fn tightened_by(&self, next: &Self) -> Self {
        let is_stricter = leniency(next.mode) < leniency(self.mode);
        // An anchor signs what it issued itself: without it nobody could be asked about that.
        let mut anchors = self.anchors.clone();
        let held: BTreeSet<_> = anchors.iter().map(Certificate::fingerprint).collect();
        let added = next
            .anchors
            .iter()
            .filter(|it| !held.contains(&it.fingerprint()));
        anchors.extend(added.cloned());
        Self {
            anchors,
            mode: if is_stricter { next.mode } else { self.mode },
            max_age: self.max_age.min(next.max_age),
            chain: self.chain || next.chain,
            ..self.clone()
        }
    }
}

fn leniency(mode: RevocationMode) -> Duration {
    match mode {
        RevocationMode::Hard => Duration::ZERO,
        RevocationMode::Grace(grace) => grace,
        RevocationMode::DangerousSoft => Duration::MAX,
    }
}
