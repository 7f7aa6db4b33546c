//! Trust bundles: the anchors of one trust domain or partner, never pooled.

use crate::certificate::Certificate;
use crate::fingerprint::Fingerprint;
use crate::identity::BundleName;
use crate::spiffe::TrustDomain;
use crate::time::UnixTime;

/// The anchors that vouch for one bundle's names. Never empty, never twice the same certificate.
#[derive(Clone, Debug)]
pub struct TrustBundle {
    name: BundleName,
    trust_domain: Option<TrustDomain>,
    anchors: Vec<Certificate>,
}

impl TrustBundle {
    /// Refuses an empty list, certificates that are no CA, and, given `now`, a list in which every anchor has expired.
    pub fn new(
        name: BundleName,
        trust_domain: Option<TrustDomain>,
        anchors: Vec<Certificate>,
        now: UnixTime,
    ) -> Result<Self, InvalidBundle> {
        if anchors.is_empty() {
            return Err(InvalidBundle::Empty { bundle: name });
        }
        if let Some(stranger) = anchors.iter().find(|anchor| !anchor.is_ca()) {
            return Err(InvalidBundle::NotACa {
                bundle: name,
                subject: stranger.subject().to_string(),
            });
        }
        if anchors.iter().all(|anchor| anchor.not_after() < now) {
            return Err(InvalidBundle::Expired { bundle: name });
        }
        let mut distinct: Vec<Certificate> = Vec::with_capacity(anchors.len());
        for anchor in anchors {
            if distinct.iter().all(|known| known.der() != anchor.der()) {
                distinct.push(anchor);
            }
        }
        Ok(Self {
            name,
            trust_domain,
            anchors: distinct,
        })
    }

    /// Its name.
    pub fn name(&self) -> &BundleName {
        &self.name
    }

    /// The trust domain whose SPIFFE IDs it vouches for; `None`: none.
    pub fn trust_domain(&self) -> Option<&TrustDomain> {
        self.trust_domain.as_ref()
    }

    /// The anchors.
    pub fn anchors(&self) -> &[Certificate] {
        &self.anchors
    }

    /// SHA-256 of each anchor's key.
    pub fn anchor_keys(&self) -> impl Iterator<Item = Fingerprint> + '_ {
        self.anchors.iter().map(Certificate::spki)
    }
}

/// Why anchors are no bundle, or bundles no trust.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidBundle {
    /// No certificate at all.
    #[error("trust bundle {bundle} holds no certificate")]
    Empty {
        /// Which bundle.
        bundle: BundleName,
    },
    /// Every anchor is past its end.
    #[error("every anchor of trust bundle {bundle} has expired")]
    Expired {
        /// Which bundle.
        bundle: BundleName,
    },
    /// No bundle to verify against, so that nobody could be admitted.
    #[error("no trust bundle is given")]
    NoBundles,
    /// An anchor without CA:TRUE.
    #[error("{subject} in trust bundle {bundle} is not a CA")]
    NotACa {
        /// Which bundle.
        bundle: BundleName,
        /// Whose.
        subject: String,
    },
    /// Two bundles of one name, which identities could not tell apart.
    #[error("two trust bundles are called {bundle}")]
    SameName {
        /// The name.
        bundle: BundleName,
    },
    /// One key in two bundles, so that it could not be said which one vouches.
    #[error("trust bundles {first} and {second} share an anchor key")]
    SharedAnchor {
        /// One.
        first: BundleName,
        /// The other.
        second: BundleName,
    },
    /// An anchor that chains cannot be verified against.
    #[error("{subject} in trust bundle {bundle} cannot be an anchor: {why}")]
    Unusable {
        /// Which bundle.
        bundle: BundleName,
        /// Whose.
        subject: String,
        /// What stands in the way.
        why: String,
    },
}
