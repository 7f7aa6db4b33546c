//! Maps whose keys no peer has a hand in: numbers that the gateway gives, what is configured, what was hashed with a key before. A
//! request asks them a dozen times, and a hash that withstands those who choose keys costs them as much as the rest of a look.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// By such keys, and by none that a peer chooses: who can guess a hash can make all of them one.
pub(crate) type OwnKeyMap<K, V> = HashMap<K, V, BuildHasherDefault<OwnKeyHasher>>;

/// Rotates, adds and multiplies, eight bytes at a time.
#[derive(Default)]
pub(crate) struct OwnKeyHasher(u64);

impl OwnKeyHasher {
    fn add(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(GOLDEN);
    }
}

impl Hasher for OwnKeyHasher {
    fn write(&mut self, bytes: &[u8]) {
        let mut words = bytes.chunks_exact(8);
        for word in &mut words {
            self.add(u64::from_le_bytes(word.try_into().expect("eight bytes")));
        }
        // Seven bytes at most, and how many there are.
        let (left, mut rest) = (words.remainder(), [0; 8]);
        rest[..left.len()].copy_from_slice(left);
        self.add(u64::from_le_bytes(rest) | (left.len() as u64) << 56);
    }

    fn write_u8(&mut self, number: u8) {
        self.add(u64::from(number));
    }

    fn write_u16(&mut self, number: u16) {
        self.add(u64::from(number));
    }

    fn write_u64(&mut self, number: u64) {
        self.add(number);
    }

    fn write_usize(&mut self, number: usize) {
        self.add(number as u64);
    }

    fn finish(&self) -> u64 {
        // A map takes the place from the low bits, and tells entries of a place apart by the high ones.
        self.0 ^ (self.0 >> 32)
    }
}

/// 2⁶⁴ over the golden ratio: numbers in a row end up far from each other.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::hash::{BuildHasher, Hash};

    use super::*;

    fn hash(key: impl Hash) -> u64 {
        BuildHasherDefault::<OwnKeyHasher>::default().hash_one(key)
    }

    #[test]
    fn numbers_in_a_row_have_places_of_their_own() {
        for bits in [7, 10] {
            let places = 1_u64 << bits;
            let low: HashSet<u64> = (0..places).map(|it| hash(it) % places).collect();
            assert!(low.len() as u64 > places / 2, "{} of {places}", low.len());
        }
        let high: HashSet<u64> = (0..128_u64).map(|it| hash(it) >> 57).collect();
        assert!(high.len() > 64, "{}", high.len());
    }

    #[test]
    fn keys_that_differ_anywhere_have_hashes_that_differ() {
        let keys = [
            "",
            "a",
            "b",
            "a\0",
            "service-1:80",
            "service-2:80",
            "service-10:80",
            "12345678",
            "123456789",
        ];
        let hashes: HashSet<u64> = keys.iter().map(hash).collect();
        assert_eq!(hashes.len(), keys.len());
    }
}
