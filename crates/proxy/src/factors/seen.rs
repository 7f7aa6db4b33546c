//! The certificates that this gateway verified, so that a token outlives the renewal of the one that it is bound to.
//!
//! Nothing that a client says gets in here: only a handshake that went well. What was forgotten (the bound, a restart, other trust)
//! counts for nothing, so that forgetting refuses.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::identity::{Identity, VerifiedPeer};
use countersign_pki::name::{NameKind, TypedName};
use countersign_pki::time::UnixTime;
use countersign_tls::enforcement::Enforcement;

/// By identity.
#[derive(Default)]
pub(crate) struct SeenCertificates {
    // Guards the invariant of `Seen`.
    seen: Mutex<Seen<Arc<VerifiedPeer>>>,
}

/// Invariant: `order` has each certificate of `by_identity` once, and there are no more than `MOST`. What one of them costs does not grow with
/// their number but by its logarithm.
struct Seen<P> {
    by_identity: HashMap<Identity, Vec<Certificate<P>>>,
    /// As they came, by a number that never comes again.
    order: BTreeMap<u64, (Identity, Fingerprint)>,
    next: u64,
}

struct Certificate<P> {
    fingerprint: Fingerprint,
    peer: P,
    last: UnixTime,
    number: u64,
}

impl<P> Default for Seen<P> {
    fn default() -> Self {
        Self {
            by_identity: HashMap::new(),
            order: BTreeMap::new(),
            next: 0,
        }
    }
}

impl<P> Seen<P> {
    fn note(&mut self, identity: &Identity, fingerprint: Fingerprint, peer: P, now: UnixTime) {
        if let Some(known) = self.known(identity, fingerprint) {
            // Its chain may be another one now.
            known.peer = peer;
            known.last = now;
            return;
        }
        let number = self.next;
        self.next += 1;
        let all = self.by_identity.entry(identity.clone()).or_default();
        if all.len() >= MOST_OF_ONE {
            self.order.remove(&all.remove(0).number);
        }
        all.push(Certificate {
            fingerprint,
            peer,
            last: now,
            number,
        });
        self.order.insert(number, (identity.clone(), fingerprint));
        if self.order.len() > MOST {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let Some((_, (identity, fingerprint))) = self.order.pop_first() else {
            return;
        };
        if let Some(all) = self.by_identity.get_mut(&identity) {
            all.retain(|it| it.fingerprint != fingerprint);
            if all.is_empty() {
                self.by_identity.remove(&identity);
            }
        }
    }

    fn known(&mut self, identity: &Identity, of: Fingerprint) -> Option<&mut Certificate<P>> {
        let all = self.by_identity.get_mut(identity)?;
        all.iter_mut().find(|it| it.fingerprint == of)
    }
}

impl SeenCertificates {
    /// A connection of this peer stands.
    pub(crate) fn note(&self, peer: &Arc<VerifiedPeer>, now: UnixTime) {
        let (identity, fingerprint) = (peer.principal(), peer.fingerprint());
        (self.seen()).note(identity, fingerprint, Arc::clone(peer), now);
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
            let mut seen = self.seen();
            let known = seen.known(peer.principal(), bound);
            known
                .filter(|it| it.last >= from)
                .map(|it| Arc::clone(&it.peer))
        };
        found.is_some_and(|former| is_renewed_by(&former, peer) && enforcement.would_stand(&former))
    }

    /// Nothing that was verified under other trust counts.
    pub(crate) fn forget_all(&self) {
        // Let go of behind the lock.
        let forgotten = std::mem::take(&mut *self.seen());
        drop(forgotten);
    }

    fn seen(&self) -> MutexGuard<'_, Seen<Arc<VerifiedPeer>>> {
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

#[cfg(test)]
mod tests {
    use countersign_pki::identity::BundleName;

    use super::*;

    fn who(number: usize) -> Identity {
        let name = format!("cn:{number}").parse().expect("a name");
        let bundle = BundleName::internal();
        Identity { bundle, name }
    }

    fn certificate(number: usize) -> Fingerprint {
        Fingerprint::of(&number.to_be_bytes())
    }

    fn check(seen: &Seen<()>) {
        let held: BTreeMap<u64, Fingerprint> = (seen.by_identity.values().flatten())
            .map(|it| (it.number, it.fingerprint))
            .collect();
        let ordered = seen.order.iter();
        let ordered: BTreeMap<_, _> = ordered.map(|(number, (_, it))| (*number, *it)).collect();
        assert_eq!(held, ordered);
        assert!(held.len() <= MOST);
        let mut each = seen.by_identity.values();
        assert!(each.all(|all| !all.is_empty() && all.len() <= MOST_OF_ONE));
    }

    #[test]
    fn oldest_makes_room_among_all_and_among_its_own() {
        let at = UnixTime::from_seconds(1000);
        let mut seen = Seen::default();
        for number in 0..MOST + 3 {
            seen.note(&who(number), certificate(number), (), at);
        }
        check(&seen);
        assert_eq!(seen.order.len(), MOST);
        for (number, is_known) in [(0, false), (2, false), (3, true), (MOST + 2, true)] {
            let known = seen.known(&who(number), certificate(number));
            assert_eq!(known.is_some(), is_known, "{number}");
        }
        // One that renews for ever takes no place of others but the few of its own. While all are full, each of these costs a step or
        // two: by a look through all of them this would be a thousand million.
        let renewing = MOST + 2;
        for number in 1..60_000 {
            seen.note(&who(renewing), certificate(MOST * 2 + number), (), at);
        }
        check(&seen);
        assert_eq!(seen.by_identity.len(), MOST - MOST_OF_ONE + 1);
        assert_eq!(seen.by_identity[&who(renewing)].len(), MOST_OF_ONE);
        assert!(seen.known(&who(renewing), certificate(renewing)).is_none());
        let last = certificate(MOST * 2 + 59_999);
        assert!(seen.known(&who(renewing), last).is_some());
    }

    #[test]
    fn certificate_that_comes_again_keeps_its_place_and_is_as_new() {
        let mut seen = Seen::default();
        for at in [1000, 2000] {
            seen.note(&who(1), certificate(1), (), UnixTime::from_seconds(at));
        }
        check(&seen);
        assert_eq!(seen.order.len(), 1);
        let known = seen.known(&who(1), certificate(1)).expect("known");
        assert_eq!((known.last.seconds(), known.number), (2000, 0));
    }
}
