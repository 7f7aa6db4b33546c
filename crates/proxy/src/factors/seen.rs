//! The certificates that this gateway verified, so that a token outlives the renewal of the one that it is bound to.
//!
//! Nothing that a client says gets in here: only a handshake that went well. What was forgotten (the bound, a restart, other trust)
//! counts for nothing, so that forgetting refuses.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::identity::{Identity, VerifiedPeer};
use countersign_pki::name::{NameKind, TypedName};
use countersign_pki::time::UnixTime;
use countersign_tls::enforcement::Enforcement;

/// By identity.
#[derive(Default)]
pub(crate) struct SeenCertificates {
    // Invariant: `order` has each certificate of `by_identity` once, and neither more than `MOST`.
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    by_identity: HashMap<Identity, Vec<Certificate>>,
    /// As they came.
    order: VecDeque<(Identity, Fingerprint)>,
}

struct Certificate {
    peer: Arc<VerifiedPeer>,
    last: UnixTime,
}

impl SeenCertificates {
    /// A connection of this peer stands.
    pub(crate) fn note(&self, peer: &Arc<VerifiedPeer>, now: UnixTime) {
        let mut seen = self.seen();
        let Seen { by_identity, order } = &mut *seen;
        let identity = peer.principal();
        let fingerprint = peer.fingerprint();
        if let Some(known) = by_identity.get_mut(identity).and_then(|all| {
            all.iter_mut()
                .find(|it| it.peer.fingerprint() == fingerprint)
        }) {
            // Its chain may be another one now.
            known.peer = Arc::clone(peer);
            known.last = now;
            return;
        }
        let all = by_identity.entry(identity.clone()).or_default();
        let mut leaving = None;
        if all.len() >= MOST_OF_ONE {
            let oldest = all.remove(0);
            leaving = Some((identity.clone(), oldest.peer.fingerprint()));
        }
        all.push(Certificate {
            peer: Arc::clone(peer),
            last: now,
        });
        if let Some(leaving) = leaving {
            order.retain(|it| *it != leaving);
        }
        order.push_back((identity.clone(), fingerprint));
        if order.len() > MOST
            && let Some((identity, fingerprint)) = order.pop_front()
            && let Some(all) = by_identity.get_mut(&identity)
        {
            all.retain(|it| it.peer.fingerprint() != fingerprint);
            if all.is_empty() {
                by_identity.remove(&identity);
            }
        }
    }

    /// Whether `bound` is a certificate that `peer`'s renews: verified here since `from`, good now, and not younger. Who is called the same by one
    /// name of several is somebody else.
    pub(crate) fn counts(
        &self,
        peer: &VerifiedPeer,
        bound: Fingerprint,
        from: UnixTime,
        enforcement: &Enforcement,
    ) -> bool {
        let found = {
            let seen = self.seen();
            let all = seen.by_identity.get(peer.principal());
            let known = all.and_then(|all| all.iter().find(|it| it.peer.fingerprint() == bound));
            known
                .filter(|it| it.last >= from)
                .map(|it| Arc::clone(&it.peer))
        };
        found.is_some_and(|former| is_renewed_by(&former, peer) && enforcement.would_stand(&former))
    }

    /// Nothing that was verified under other trust counts.
    pub(crate) fn forget_all(&self) {
        *self.seen() = Seen::default();
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_renewed_by(former: &VerifiedPeer, peer: &VerifiedPeer) -> bool {
    let names = |of: &VerifiedPeer| -> BTreeSet<TypedName> {
        let own =
            |name: &&TypedName| !matches!(name.kind(), NameKind::Spki | NameKind::SerialIssuer);
        of.names().iter().filter(own).cloned().collect()
    };
    former.bundle() == peer.bundle()
        && former.not_before() <= peer.not_before()
        && names(former) == names(peer)
}

/// About 4 KB each.
const MOST: usize = 16_384;
/// A renewal each hour, and a token for a working day.
const MOST_OF_ONE: usize = 8;
