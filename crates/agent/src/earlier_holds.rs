//! Holds that this node has heard of in an earlier history of its authority, and that the present one has never told.
//!
//! A restored authority does not know what was put on hold after its backup, so a snapshot of its new history that lacks
//! such a hold does not release it (invariant 5); neither does any later snapshot of that history. What it has told itself,
//! once, it can release.

use std::collections::BTreeMap;

use countersign_pki::feed::{Body, Revoked};
use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::revocation::RevocationIndex;
use countersign_pki::serial::SerialNumber;

/// Which they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EarlierHolds(BTreeMap<(Fingerprint, SerialNumber), Revoked>);

impl EarlierHolds {
    /// As they were kept.
    pub fn new(holds: &[Revoked]) -> Self {
        Self(holds.iter().map(|it| (key(it), *it)).collect())
    }

    /// A snapshot tells `told`. `other`: it is of another history, and what was in force before it.
    pub fn begin(&mut self, other: Option<&RevocationIndex>, told: &[Revoked]) {
        let holds = other.into_iter().flat_map(RevocationIndex::holds);
        self.0.extend(holds.map(|it| (key(&it), it)));
        self.told(told);
    }

    /// What the history tells itself is its own to release.
    pub fn hear(&mut self, body: &Body) {
        if let Body::Released { certificates } = body {
            for it in certificates {
                self.0.remove(&(it.issuer_key, it.serial));
            }
        }
        self.told(body.revoked());
    }

    /// `told`, and these.
    pub fn with(&self, told: &[Revoked]) -> Vec<Revoked> {
        told.iter().chain(self.0.values()).copied().collect()
    }

    /// Whether it is one of them.
    pub fn holds(&self, it: &Revoked) -> bool {
        self.0.contains_key(&key(it))
    }

    /// All of them.
    pub fn to_vec(&self) -> Vec<Revoked> {
        self.0.values().copied().collect()
    }

    fn told(&mut self, told: &[Revoked]) {
        for it in told {
            self.0.remove(&key(it));
        }
    }
}

fn key(it: &Revoked) -> (Fingerprint, SerialNumber) {
    (it.issuer_key, it.serial)
}
