//! Tokens that were verified a moment ago, so that a signature is not verified for each request.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use countersign_pki::fingerprint::Fingerprint;

use super::Proof;

/// By the hash of a token's text: what it said, and the keys that it was verified by. Whether it is good now, and for this client, is asked each
/// time.
#[derive(Default)]
pub(crate) struct Remembered {
    // Invariant: neither has more than `MOST`. When the first is full it takes the place of the second.
    generations: Mutex<[Generation; 2]>,
}

type Generation = HashMap<Fingerprint, Proof>;

impl Remembered {
    pub(crate) fn get(&self, digest: &Fingerprint) -> Option<Proof> {
        let generations = self.generations();
        generations.iter().find_map(|it| it.get(digest)).cloned()
    }

    pub(crate) fn keep(&self, digest: Fingerprint, proof: Proof) {
        let mut generations = self.generations();
        let [young, old] = &mut *generations;
        if young.len() >= MOST {
            *old = std::mem::take(young);
        }
        young.insert(digest, proof);
    }

    fn generations(&self) -> MutexGuard<'_, [Generation; 2]> {
        self.generations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Of 8 KiB each at most, and a few times that when they are read: 2 × 2048 stay within 150 MB where somebody tries.
const MOST: usize = 2048;
