//! What is known of each client once, however many connections and sessions it has: a pool of connections, or a ticket for each,
//! has one certificate.
//!
//! Nothing is decided by what is here. A peer is made by the verifier on each handshake, and only then, if all that is known of it is
//! the same, taken for the one that is there already.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::identity::VerifiedPeer;

/// The peers of a process.
#[derive(Default)]
pub(crate) struct Peers {
    // Guards nothing but the map.
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    by_leaf: HashMap<Fingerprint, Weak<VerifiedPeer>>,
    /// From how many on it is looked for those that nobody holds any more.
    swept_at: usize,
}

impl Peers {
    /// The same peer, which others may hold, too.
    ///
    /// Invariant: it equals `peer` in everything, not only in its leaf. One leaf may be vouched for by two bundles, or by one in two
    /// ways, and is two peers then.
    pub(crate) fn share(&self, peer: VerifiedPeer) -> Arc<VerifiedPeer> {
        let leaf = peer.fingerprint();
        let known = self.with(|known| known.by_leaf.get(&leaf).and_then(Weak::upgrade));
        if let Some(known) = known.filter(|known| **known == peer) {
            return known;
        }
        let peer = Arc::new(peer);
        self.with(|known| known.insert(leaf, &peer));
        peer
    }

    fn with<T>(&self, act: impl FnOnce(&mut Known) -> T) -> T {
        // Nothing under the lock can panic half-way; a poisoned map is as good as any.
        act(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Known {
    fn insert(&mut self, leaf: Fingerprint, peer: &Arc<VerifiedPeer>) {
        if self.by_leaf.len() >= self.swept_at {
            self.by_leaf.retain(|_, known| known.strong_count() > 0);
            self.swept_at = (2 * self.by_leaf.len()).max(MIN_SWEPT);
        }
        self.by_leaf.insert(leaf, Arc::downgrade(peer));
    }
}

/// The map is swept at twice what was held at the last sweep, so that it has at most twice as many as were ever held at once, or this many; those
/// are bounded by what holds them: connections and sessions.
const MIN_SWEPT: usize = 64;

#[cfg(test)]
mod tests {
    use countersign_pki::bundle::TrustBundle;
    use countersign_pki::certificate::Certificate;
    use countersign_pki::chain::{Limits, Purpose, Verifier};
    use countersign_pki::identity::BundleName;
    use countersign_pki::revocation::RevocationIndex;
    use countersign_pki::time::UnixTime;
    use countersign_runtime::clock::{Clock, SystemClock};
    use countersign_testkit::pki::{Leaf, TestCa, TestIdentity};

    use super::*;

    /// Whom a bundle of this name, with this CA in it, finds this to be.
    fn peer(ca: &TestCa, bundle: &str, shown: &TestIdentity) -> VerifiedPeer {
        let now = UnixTime::from_seconds(SystemClock.unix_seconds());
        let name = BundleName::parse(bundle).expect("a name");
        let root = Certificate::parse(ca.root.der()).expect("a certificate");
        let bundle = TrustBundle::new(name, None, vec![root], now).expect("a bundle");
        let verifier = Verifier::new(vec![Arc::new(bundle)], Limits::default());
        let peer = verifier.expect("a verifier").verify(
            &shown.chain,
            Purpose::ClientAuth,
            &RevocationIndex::default(),
            now,
        );
        peer.expect("it verifies")
    }

    #[test]
    fn who_comes_again_is_held_once_and_nobody_is_held_for_another() {
        let (ca, peers) = (TestCa::new("ca"), Peers::default());
        let [one, other] = [(); 2].map(|()| ca.issue(Leaf::client("one")));
        let first = peers.share(peer(&ca, "internal", &one));
        let again = peers.share(peer(&ca, "internal", &one));
        assert!(Arc::ptr_eq(&first, &again));
        let same_name = peers.share(peer(&ca, "internal", &other));
        assert_eq!(same_name.fingerprint(), Fingerprint::of(&other.chain[0]));
        // The same leaf, which another bundle vouches for, has another identity.
        let elsewhere = peers.share(peer(&ca, "partner", &one));
        assert_eq!(elsewhere.bundle().as_str(), "partner");
        assert_eq!(
            (first.bundle().as_str(), first.fingerprint()),
            ("internal", elsewhere.fingerprint())
        );
        let back = peers.share(peer(&ca, "internal", &one));
        assert_eq!(*back, *first);
    }

    #[test]
    fn whoever_is_gone_is_forgotten() {
        let (ca, peers) = (TestCa::new("ca"), Peers::default());
        let stays = peers.share(peer(&ca, "internal", &ca.issue(Leaf::client("stays"))));
        for _ in 0..2 * MIN_SWEPT {
            let goes = ca.issue(Leaf::client("goes"));
            drop(peers.share(peer(&ca, "internal", &goes)));
            assert!(peers.with(|known| known.by_leaf.len()) <= MIN_SWEPT);
        }
        let known = peers.with(|known| known.by_leaf.get(&stays.fingerprint()).cloned());
        assert!(known.is_some_and(|known| known.strong_count() == 1));
    }
}
