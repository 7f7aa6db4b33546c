//! Resumable TLS sessions of one scope, each with the identity that its first handshake proved.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::identity::VerifiedPeer;
use countersign_pki::time::UnixTime;

use crate::shadow::Shown;

/// Where a session came from: what a resumption inherits instead of a certificate check.
#[derive(Clone)]
pub(crate) struct Origin {
    /// Whom the first handshake proved; `None`: anonymous.
    pub(crate) peer: Option<Arc<VerifiedPeer>>,
    /// When it did. Tickets of a resumed connection keep this time, so that no chain of resumptions outlives it.
    pub(crate) first_handshake: UnixTime,
    /// What a shadow found there.
    pub(crate) shown: Option<Arc<Shown>>,
}

impl Origin {
    /// What the peer showed and was verified by, from the leaf on.
    fn chain(&self) -> &[Vec<u8>] {
        self.peer.as_deref().map_or(&[], VerifiedPeer::chain)
    }

    /// Whether `leaf` is the certificate that the first handshake showed and went on with.
    pub(crate) fn is_of(&self, leaf: Option<&[u8]>) -> bool {
        match (&self.peer, &self.shown) {
            (Some(peer), _) => peer.chain().first().map(Vec::as_slice) == leaf,
            (None, Some(shown)) => leaf.is_some_and(|leaf| Fingerprint::of(leaf) == shown.leaf),
            (None, None) => leaf.is_none(),
        }
    }
}

/// Invariant: never shared between scopes, never larger than its limits. The oldest session makes room for a new one.
pub(crate) struct SessionStore {
    listener: Arc<str>,
    limits: Limits,
    // Guards the map's own invariant: `by_key` and `by_age` hold the same sessions, `bytes` is the sum of their values as rustls gave
    // them: the peer, which holds what is not kept twice, may be held for a session alone.
    sessions: Mutex<Sessions>,
}

#[derive(Default)]
struct Sessions {
    by_key: HashMap<Key, Held>,
    by_age: BTreeMap<u64, Key>,
    next_age: u64,
    bytes: usize,
}

struct Held {
    value: Kept,
    origin: Origin,
    age: u64,
}

/// What rustls gave, without the certificates of the peer that are in it: whoever is known has them already. Put together again it is
/// what it was, to the byte.
struct Kept {
    rest: Box<[u8]>,
    /// Where in `rest` each certificate of the peer's chain was, from the leaf on. Those behind a `None` are in `rest`, if anywhere.
    cuts: [Option<NonZeroU32>; MAX_CUTS],
    /// Of what rustls gave.
    length: usize,
}

impl Kept {
    fn new(value: &[u8], origin: &Origin) -> Self {
        let length = value.len();
        let mut rest = Vec::new();
        let mut cuts = [None; MAX_CUTS];
        let mut unread = value;
        for (cut, certificate) in cuts.iter_mut().zip(origin.chain()) {
            let found = (unread.windows(certificate.len().max(1)))
                .position(|window| window == certificate.as_slice());
            let Some(at) = found else { break };
            let Ok(place) = u32::try_from(rest.len() + at) else {
                break;
            };
            // Before a certificate there is its length at least.
            let Some(place) = NonZeroU32::new(place) else {
                break;
            };
            rest.extend_from_slice(&unread[..at]);
            unread = &unread[at + certificate.len()..];
            *cut = Some(place);
        }
        // Anew, since rustls has let `value` grow, and it is kept for up to an hour.
        rest.extend_from_slice(unread);
        Self {
            rest: rest.into_boxed_slice(),
            cuts,
            length,
        }
    }

    /// With the certificates of the origin it was kept with.
    fn whole(&self, origin: &Origin) -> Vec<u8> {
        let mut value = Vec::with_capacity(self.length);
        let mut taken = 0;
        for (cut, certificate) in self.cuts.iter().flatten().zip(origin.chain()) {
            let cut = usize::try_from(cut.get()).expect("it is within the rest");
            value.extend_from_slice(&self.rest[taken..cut]);
            value.extend_from_slice(certificate);
            taken = cut;
        }
        value.extend_from_slice(&self.rest[taken..]);
        value
    }
}

/// What rustls draws at random for TLS 1.2 session ids and TLS 1.3 tickets alike.
type Key = [u8; 32];

#[derive(Clone, Copy)]
struct Limits {
    entries: usize,
    bytes: usize,
    /// Of one session: whoever has more shakes hands in full each time, and makes nobody else do so.
    session_bytes: usize,
}

impl SessionStore {
    pub(crate) fn new(listener: Arc<str>) -> Self {
        Self::with_limits(listener, LIMITS)
    }

    /// Whose sessions.
    pub(crate) fn listener(&self) -> &str {
        &self.listener
    }

    pub(crate) fn put(&self, key: &[u8], value: &[u8], origin: Origin) {
        let Ok(key) = Key::try_from(key) else { return };
        if value.len() > self.limits.session_bytes {
            return;
        }
        let value = Kept::new(value, &origin);
        let mut sessions = self.lock();
        sessions.remove(&key);
        let age = sessions.next_age;
        sessions.next_age += 1;
        sessions.bytes += value.length;
        sessions.by_age.insert(age, key);
        sessions.by_key.insert(key, Held { value, origin, age });
        while sessions.by_key.len() > self.limits.entries || sessions.bytes > self.limits.bytes {
            let Some((_, oldest)) = sessions.by_age.pop_first() else {
                break;
            };
            sessions.remove(&oldest);
        }
    }

    /// A copy of the session, which stays.
    pub(crate) fn get(&self, key: &[u8]) -> Option<(Vec<u8>, Origin)> {
        let sessions = self.lock();
        let held = sessions.by_key.get(&Key::try_from(key).ok()?)?;
        Some((held.value.whole(&held.origin), held.origin.clone()))
    }

    /// The session, which is no longer there for anybody else.
    pub(crate) fn take(&self, key: &[u8]) -> Option<(Vec<u8>, Origin)> {
        let held = self.lock().remove(&Key::try_from(key).ok()?)?;
        Some((held.value.whole(&held.origin), held.origin))
    }

    /// Drops the sessions of those for whom `keep` says no; how many.
    pub(crate) fn retain(&self, keep: impl Fn(Option<&VerifiedPeer>) -> bool) -> u64 {
        let mut sessions = self.lock();
        let doomed: Vec<Key> = sessions
            .by_key
            .iter()
            .filter(|(_, held)| !keep(held.origin.peer.as_deref()))
            .map(|(key, _)| *key)
            .collect();
        for key in &doomed {
            sessions.remove(key);
        }
        doomed.len() as u64
    }

    fn with_limits(listener: Arc<str>, limits: Limits) -> Self {
        Self {
            listener,
            limits,
            sessions: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Sessions> {
        // Nothing under the lock can panic half-way; a poisoned map is as good as any.
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for SessionStore {
    /// Without keys and values: either resumes a session.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "SessionStore({}, {} sessions)",
            self.listener,
            self.lock().by_key.len()
        )
    }
}

impl Sessions {
    fn remove(&mut self, key: &Key) -> Option<Held> {
        let held = self.by_key.remove(key)?;
        self.by_age.remove(&held.age);
        self.bytes -= held.value.length;
        Some(held)
    }
}

/// A leaf and an intermediate, or two. Who shows more has the rest of them here twice.
const MAX_CUTS: usize = 3;

/// Two tickets for each of 16 Ki clients; with a leaf and an intermediate a session has about 1.5 KiB, so that entries
/// run out before bytes do, unless chains are long.
const LIMITS: Limits = Limits {
    entries: 32 * 1024,
    bytes: 64 * 1024 * 1024,
    session_bytes: 16 * 1024,
};

#[cfg(test)]
mod tests {
    use countersign_pki::bundle::TrustBundle;
    use countersign_pki::certificate::Certificate;
    use countersign_pki::chain::{Limits as ChainLimits, Purpose, Verifier};
    use countersign_pki::identity::BundleName;
    use countersign_pki::revocation::RevocationIndex;
    use countersign_runtime::clock::{Clock, SystemClock};
    use countersign_testkit::pki::{Leaf, TestCa, TestIdentity};

    use super::*;

    fn store(entries: usize, bytes: usize) -> SessionStore {
        let limits = Limits {
            entries,
            bytes,
            session_bytes: 10_000,
        };
        SessionStore::with_limits("test".into(), limits)
    }

    fn put(store: &SessionStore, key: u8, length: usize) {
        let origin = Origin {
            peer: None,
            shown: None,
            first_handshake: UnixTime::from_seconds(u64::from(key)),
        };
        store.put(&[key; 32], &vec![key; length], origin);
    }

    fn held(store: &SessionStore) -> Vec<u8> {
        (0..=u8::MAX)
            .filter(|&key| store.get(&[key; 32]).is_some())
            .collect()
    }

    #[test]
    fn the_oldest_sessions_make_room() {
        let store = store(3, 1000);
        (1..=5).for_each(|key| put(&store, key, 10));
        assert_eq!(held(&store), [3, 4, 5]);
    }

    #[test]
    fn large_sessions_make_room_too() {
        let store = store(100, 1000);
        (1..=5).for_each(|key| put(&store, key, 400));
        assert_eq!(held(&store), [4, 5]);
        put(&store, 6, 2000);
        assert_eq!(held(&store), [] as [u8; 0]);
    }

    #[test]
    fn session_that_is_too_large_is_not_kept_and_evicts_nobody() {
        let store = store(100, 1000);
        put(&store, 1, 400);
        put(&store, 2, 10_001);
        assert_eq!(held(&store), [1]);
    }

    #[test]
    fn a_session_is_taken_once() {
        let store = store(3, 1000);
        put(&store, 1, 10);
        assert!(store.take(&[1; 32]).is_some());
        assert!(store.take(&[1; 32]).is_none());
        assert!(store.get(&[1; 31]).is_none());
    }

    #[test]
    fn what_was_put_twice_or_taken_counts_once() {
        let store = store(2, 1000);
        (0..1000).for_each(|_| put(&store, 1, 600));
        assert!(store.take(&[1; 32]).is_some());
        put(&store, 2, 600);
        put(&store, 3, 400);
        assert_eq!(held(&store), [2, 3]);
    }

    #[test]
    fn retain_drops_and_counts() {
        let store = store(10, 1000);
        (1..=4).for_each(|key| put(&store, key, 10));
        assert_eq!(store.retain(|peer| peer.is_some()), 4);
        assert_eq!(store.retain(|peer| peer.is_some()), 0);
        assert_eq!(held(&store), [] as [u8; 0]);
    }
    /// The peer that this CA's client is.
    fn origin(ca: &TestCa, shown: &TestIdentity) -> Origin {
        let now = UnixTime::from_seconds(SystemClock.unix_seconds());
        let root = Certificate::parse(ca.root.der()).expect("a certificate");
        let bundle = TrustBundle::new(BundleName::internal(), None, vec![root], now);
        let bundles = vec![Arc::new(bundle.expect("a bundle"))];
        let verifier = Verifier::new(bundles, ChainLimits::default()).expect("a verifier");
        let none = RevocationIndex::default();
        let peer = verifier.verify(&shown.chain, Purpose::ClientAuth, &none, now);
        Origin {
            peer: Some(Arc::new(peer.expect("it verifies"))),
            first_handshake: now,
            shown: None,
        }
    }

    #[test]
    fn session_comes_back_to_the_byte_and_with_its_own_certificates() {
        let ca = TestCa::new("internal");
        let [one, other] = [(); 2].map(|()| origin(&ca, &ca.issue(Leaf::client("you"))));
        let (chain, others) = (one.chain().to_vec(), other.chain().to_vec());
        assert!(chain.len() > 1 && chain[0] != others[0]);
        let values = [
            [
                b"before".as_slice(),
                &chain[0],
                b"between",
                &chain[1],
                b"behind",
            ]
            .concat(),
            // Nowhere, somebody else's, in another order, twice, at the very beginning, not whole.
            b"no certificate".to_vec(),
            [b"before".as_slice(), &others[0], b"behind"].concat(),
            [b"before".as_slice(), &chain[1], &chain[0], b"behind"].concat(),
            [b"before".as_slice(), &chain[0], &chain[0], &chain[1]].concat(),
            [chain[0].as_slice(), b"behind"].concat(),
            [b"before".as_slice(), &chain[0][..chain[0].len() - 1]].concat(),
            Vec::new(),
        ];
        let store = store(100, 1 << 20);
        for (key, value) in (0..).zip(&values) {
            store.put(&[key; 32], value, one.clone());
        }
        // What is another's stays another's, whatever of it is in common.
        store.put(&[99; 32], &values[2], other.clone());
        for (key, value) in (0..).zip(&values) {
            let (looked_up, _) = store.get(&[key; 32]).expect("held");
            let (taken, origin) = store.take(&[key; 32]).expect("held");
            assert_eq!((&looked_up, &taken), (value, value), "{key}");
            assert_eq!(origin.peer, one.peer);
        }
        let (value, origin) = store.take(&[99; 32]).expect("held");
        assert_eq!((value, origin.peer), (values[2].clone(), other.peer));
        assert_eq!(store.lock().bytes, 0);
    }

    #[test]
    fn session_holds_no_certificate_that_its_peer_holds() {
        let ca = TestCa::new("internal");
        let origin = origin(&ca, &ca.issue(Leaf::client("you")));
        let chain = origin.chain();
        let value = [b"before".as_slice(), &chain[0], b"between", &chain[1]].concat();
        let kept = Kept::new(&value, &origin);
        assert_eq!(&*kept.rest, b"beforebetween");
        // The peer is held for it, and counts for as much.
        assert_eq!(kept.length, value.len());
    }
}
