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

// Invariant: neither has more than `MOST`, nor more than `MOST_BYTES` but for its last. When the first is full it takes the place of the
// second.
struct Generations<K, V>(Mutex<[Generation<K, V>; 2]>);

struct Generation<K, V> {
    held: HashMap<K, V>,
    bytes: usize,
}

impl Remembered {
    pub(crate) fn get(&self, digest: &Fingerprint) -> Option<Proof> {
        self.good.get(digest)
    }

    pub(crate) fn keep(&self, digest: Fingerprint, proof: Proof) {
        let bytes = ENTRY_BYTES + proof.token.held_bytes();
        self.good.keep(digest, proof, bytes);
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
        self.refused.keep(place, refused, ENTRY_BYTES);
    }
}

impl<K, V> Default for Generations<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K, V> Default for Generation<K, V> {
    fn default() -> Self {
        Self {
            held: HashMap::new(),
            bytes: 0,
        }
    }
}

impl<K: Eq + Hash, V: Clone> Generations<K, V> {
    fn get(&self, key: &K) -> Option<V> {
        let generations = self.both();
        generations.iter().find_map(|it| it.held.get(key)).cloned()
    }

    /// `bytes`: about what it takes. One that takes the place of its like is counted twice, which makes room sooner.
    fn keep(&self, key: K, value: V, bytes: usize) {
        let mut generations = self.both();
        let [young, old] = &mut *generations;
        if young.held.len() >= MOST || young.bytes >= MOST_BYTES {
            *old = std::mem::take(young);
        }
        young.bytes += bytes;
        young.held.insert(key, value);
    }

    fn both(&self) -> MutexGuard<'_, [Generation<K, V>; 2]> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A token of 8 KiB can be small values all through, and takes up to half a MiB when it is read; usual ones take some 2 KiB. So bytes are
/// counted, too.
const MOST: usize = 2048;
/// Of one generation, of which there are two: with the last one of each that is 33 MiB, where an issuer signs what somebody makes up.
const MOST_BYTES: usize = 16 << 20;
/// A place in the map, and what a refusal says. The keys that it holds are the issuer's, whoever sends what.
const ENTRY_BYTES: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_much_makes_room_before_it_is_many() {
        let generations = Generations::default();
        let most = MOST_BYTES / (1 << 20);
        for number in 0..10 * most {
            generations.keep(number, (), 1 << 20);
            let both = generations.both();
            assert!(both.iter().all(|it| it.held.len() <= most), "{number}");
        }
        assert!(generations.get(&(10 * most - 1)).is_some());
        assert!(generations.get(&0).is_none());
    }

    #[test]
    fn what_is_small_makes_room_when_it_is_many() {
        let generations = Generations::default();
        for number in 0..10 * MOST {
            generations.keep(number, (), ENTRY_BYTES);
        }
        let both = generations.both();
        assert!(both.iter().all(|it| it.held.len() <= MOST));
    }
}
