//! Tokens that were judged a moment ago, so that a signature is not verified for each request.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use countersign_pki::fingerprint::Fingerprint;
use countersign_policy::token::{KeySet, TokenFault};

use super::Proof;

/// By the hash of a token's text: what it said, and the keys that it was verified by. Whether it is good now, and for this client, is asked each
/// time.
///
/// Refusals stand apart, so that whoever sends many makes no good one forgotten.
#[derive(Default)]
pub(crate) struct Remembered {
    good: Generations<Fingerprint, Proof>,
    /// By the issuer's number and the address of its keys, too: what one refuses another of the same name may take.
    refused: Generations<(Fingerprint, usize, usize), Refused>,
}

/// Holds the keys, so that no others ever have their address.
#[derive(Clone)]
struct Refused {
    fault: TokenFault,
    _keys: Arc<KeySet>,
}

// Invariant: neither has more than `MOST`. When the first is full it takes the place of the second.
struct Generations<K, V>(Mutex<[HashMap<K, V>; 2]>);

impl Remembered {
    pub(crate) fn get(&self, digest: &Fingerprint) -> Option<Proof> {
        self.good.get(digest)
    }

    pub(crate) fn keep(&self, digest: Fingerprint, proof: Proof) {
        self.good.keep(digest, proof);
    }

    /// Why these keys do not do for it.
    pub(crate) fn refused(
        &self,
        (digest, issuer): (Fingerprint, usize),
        keys: &Arc<KeySet>,
    ) -> Option<TokenFault> {
        let place = (digest, issuer, Arc::as_ptr(keys).addr());
        let refused = self.refused.get(&place);
        refused.map(|it| it.fault)
    }

    pub(crate) fn keep_refused(
        &self,
        (digest, issuer): (Fingerprint, usize),
        keys: &Arc<KeySet>,
        fault: TokenFault,
    ) {
        let place = (digest, issuer, Arc::as_ptr(keys).addr());
        let refused = Refused {
            fault,
            _keys: Arc::clone(keys),
        };
        self.refused.keep(place, refused);
    }
}

impl<K, V> Default for Generations<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash, V: Clone> Generations<K, V> {
    fn get(&self, key: &K) -> Option<V> {
        self.both().iter().find_map(|it| it.get(key)).cloned()
    }

    fn keep(&self, key: K, value: V) {
        let mut generations = self.both();
        let [young, old] = &mut *generations;
        if young.len() >= MOST {
            *old = std::mem::take(young);
        }
        young.insert(key, value);
    }

    fn both(&self) -> MutexGuard<'_, [HashMap<K, V>; 2]> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Of 8 KiB each at most, and a few times that when they are read: 2 × 2048 stay within 150 MB where somebody tries.
const MOST: usize = 2048;
