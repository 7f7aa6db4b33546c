//! What a trust bundle's own CRLs say, and what follows where they say nothing.

use std::sync::Arc;
use std::time::Duration;

use crate::crl::{AcceptedCrl, CrlScope};
use crate::fingerprint::Fingerprint;
use crate::serial::SerialNumber;
use crate::time::UnixTime;

use super::Revocation;

/// What is done about a certificate that no fresh CRL covers. What a CRL lists is refused in each mode, however old the
/// CRL is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RevocationMode {
    /// It is admitted, and counted.
    DangerousSoft,
    /// It is admitted for so long after the nextUpdate of the last CRL, then refused.
    Grace(Duration),
    /// It is refused.
    #[default]
    Hard,
}

/// On what an admission rests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RevocationStatus {
    /// A fresh CRL covers the certificate, or the authority's feed does, or the bundle has no CRLs of its own.
    Checked,
    /// The CRL is past its nextUpdate, and within its grace.
    InGrace,
    /// Nobody knows: [`RevocationMode::DangerousSoft`].
    NotChecked,
}

/// The CRLs of one bundle. Immutable; a change makes a new one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BundleLists {
    mode: RevocationMode,
    lists: Vec<Arc<AcceptedCrl>>,
}

/// What the lists of an issuer say of one certificate.
pub(crate) enum Listed {
    /// It is on one of them.
    Revoked(Revocation),
    /// It is on none; the best list that covers it ends then.
    CoveredUntil(UnixTime),
    /// No list covers it.
    Uncovered,
}

impl BundleLists {
    /// Of a bundle that has CRLs configured, even if none is there.
    pub fn new(mode: RevocationMode, lists: Vec<Arc<AcceptedCrl>>) -> Self {
        Self { mode, lists }
    }

    /// What is done where no fresh CRL covers a certificate.
    pub fn mode(&self) -> RevocationMode {
        self.mode
    }

    /// The CRLs.
    pub fn lists(&self) -> &[Arc<AcceptedCrl>] {
        &self.lists
    }

    /// Whether one of the lists, good at `from`, is over at `now`, the grace included. Never where time takes nothing away.
    pub fn ends_within(&self, from: UnixTime, now: UnixTime) -> bool {
        let grace = match self.mode {
            RevocationMode::DangerousSoft => return false,
            RevocationMode::Grace(grace) => grace,
            RevocationMode::Hard => Duration::ZERO,
        };
        let mut ends = self.lists.iter().map(|list| list.next_update().plus(grace));
        ends.any(|end| from <= end && end < now)
    }

    /// What they say of this certificate. `covers`: whether it is in a list's scope.
    pub(crate) fn find(
        &self,
        issuer_key: &Fingerprint,
        serial: SerialNumber,
        covers: impl Fn(&CrlScope) -> bool,
    ) -> Listed {
        let of_issuer = || self.lists_of(issuer_key);
        // Whatever its scope: a serial is one certificate of its issuer, and the issuer has said that it is revoked.
        if let Some(revocation) = of_issuer().find_map(|list| list.find(serial)) {
            return Listed::Revoked(revocation);
        }
        let covering = of_issuer().filter(|list| covers(list.scope()));
        match covering.map(|list| list.next_update()).max() {
            Some(end) => Listed::CoveredUntil(end),
            None => Listed::Uncovered,
        }
    }

    pub(crate) fn has_list_of(&self, issuer_key: &Fingerprint) -> bool {
        self.lists_of(issuer_key).next().is_some()
    }

    /// Whether each list of the issuer is of all that it ever issued.
    pub(crate) fn cover_all(&self, issuer_key: &Fingerprint) -> bool {
        self.lists_of(issuer_key)
            .all(|list| list.scope().is_everything())
    }

    fn lists_of(&self, issuer_key: &Fingerprint) -> impl Iterator<Item = &Arc<AcceptedCrl>> {
        self.lists
            .iter()
            .filter(move |list| list.issuer_key() == *issuer_key)
    }
}
