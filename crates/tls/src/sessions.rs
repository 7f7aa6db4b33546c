//! Resumable TLS sessions of one scope, each with the identity that its first handshake proved.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
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
    // Guards the map's own invariant: `by_key` and `by_age` hold the same sessions, `bytes` is the sum of their values.
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
    value: Vec<u8>,
    origin: Origin,
    age: u64,
}

/// What rustls draws at random for TLS 1.2 session ids and TLS 1.3 tickets alike.
type Key = [u8; 32];

#[derive(Clone, Copy)]
struct Limits {
    entries: usize,
    bytes: usize,
}

impl SessionStore {
    pub(crate) fn new(listener: Arc<str>) -> Self {
        Self::with_limits(listener, LIMITS)
    }

    /// Whose sessions.
    pub(crate) fn listener(&self) -> &str {
        &self.listener
    }

    pub(crate) fn put(&self, key: &[u8], mut value: Vec<u8>, origin: Origin) {
        let Ok(key) = Key::try_from(key) else { return };
        // rustls has let it grow; it is kept for up to an hour.
        value.shrink_to_fit();
        let mut sessions = self.lock();
        sessions.remove(&key);
        let age = sessions.next_age;
        sessions.next_age += 1;
        sessions.bytes += value.len();
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
        Some((held.value.clone(), held.origin.clone()))
    }

    /// The session, which is no longer there for anybody else.
    pub(crate) fn take(&self, key: &[u8]) -> Option<(Vec<u8>, Origin)> {
        let held = self.lock().remove(&Key::try_from(key).ok()?)?;
        Some((held.value, held.origin))
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
        self.bytes -= held.value.len();
        Some(held)
    }
}

/// Two tickets for each of 16 Ki clients; with a leaf and an intermediate a session has about 1.5 KiB, so that entries
/// run out before bytes do, unless chains are long.
const LIMITS: Limits = Limits {
    entries: 32 * 1024,
    bytes: 64 * 1024 * 1024,
};

#[cfg(test)]
mod tests {
    use super::*;

    fn store(entries: usize, bytes: usize) -> SessionStore {
        SessionStore::with_limits("test".into(), Limits { entries, bytes })
    }

    fn put(store: &SessionStore, key: u8, length: usize) {
        let origin = Origin {
            peer: None,
            shown: None,
            first_handshake: UnixTime::from_seconds(u64::from(key)),
        };
        store.put(&[key; 32], vec![key; length], origin);
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
}
