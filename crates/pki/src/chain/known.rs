//! Certificate signatures that were verified before.
//!
//! That a key made a signature over some bytes cannot become false, so it is verified once (invariant 11). Everything that can change
//! (validity, revocation, trust, purpose) is judged at each handshake, and so is possession of the key: TLS verifies
//! `CertificateVerify` itself and never asks here.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use aws_lc_rs::digest;
use rustls_pki_types::{AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm};

/// Two generations of facts. One that is asked for moves into the younger; when that is full the elder is forgotten. So
/// what every handshake asks for (the intermediate's signature) outlives any number of leaves that come once.
#[derive(Debug, Default)]
pub(super) struct KnownSignatures {
    generations: Mutex<Generations>,
}

#[derive(Debug, Default)]
struct Generations {
    younger: BTreeSet<Fact>,
    elder: BTreeSet<Fact>,
}

/// SHA-256 of the identifiers of both algorithms, key, message and signature, each preceded by its length: nothing can be moved from one to another.
type Fact = [u8; 32];

/// Of one generation. A fact is 32 bytes, so both together take about 1 MB. Who would fill them needs as many certificates
/// with good signatures up to an anchor, and wins what a handshake cost before.
const MAX_FACTS: usize = 8192;

impl KnownSignatures {
    /// The algorithm, asked only for what is not known yet.
    pub(super) fn before<'a>(
        &'a self,
        algorithm: &'a dyn SignatureVerificationAlgorithm,
    ) -> Remembering<'a> {
        Remembering {
            algorithm,
            known: self,
        }
    }

    fn contains(&self, fact: &Fact) -> bool {
        let mut generations = self.generations();
        if generations.younger.contains(fact) {
            return true;
        }
        let is_known = generations.elder.remove(fact);
        if is_known {
            generations.insert(*fact);
        }
        is_known
    }

    fn insert(&self, fact: Fact) {
        self.generations().insert(fact);
    }

    fn generations(&self) -> MutexGuard<'_, Generations> {
        self.generations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Generations {
    fn insert(&mut self, fact: Fact) {
        if self.younger.len() >= MAX_FACTS {
            self.elder = std::mem::take(&mut self.younger);
        }
        self.younger.insert(fact);
    }
}

/// See [`KnownSignatures::before`].
#[derive(Debug)]
pub(super) struct Remembering<'a> {
    algorithm: &'a dyn SignatureVerificationAlgorithm,
    known: &'a KnownSignatures,
}

impl Remembering<'_> {
    fn fact(&self, public_key: &[u8], message: &[u8], signature: &[u8]) -> Fact {
        let key_algorithm = self.algorithm.public_key_alg_id();
        let signature_algorithm = self.algorithm.signature_alg_id();
        let mut hash = digest::Context::new(&digest::SHA256);
        for part in [
            key_algorithm.as_ref(),
            signature_algorithm.as_ref(),
            public_key,
            message,
            signature,
        ] {
            hash.update(&part.len().to_be_bytes());
            hash.update(part);
        }
        let mut fact = [0; 32];
        fact.copy_from_slice(hash.finish().as_ref());
        fact
    }
}

impl SignatureVerificationAlgorithm for Remembering<'_> {
    fn verify_signature(
        &self,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        let fact = self.fact(public_key, message, signature);
        if self.known.contains(&fact) {
            return Ok(());
        }
        self.algorithm
            .verify_signature(public_key, message, signature)?;
        self.known.insert(fact);
        Ok(())
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.algorithm.public_key_alg_id()
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.algorithm.signature_alg_id()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use rustls_pki_types::alg_id;

    use super::*;

    /// Its signatures are good when they end in `!`.
    #[derive(Debug)]
    struct Counting {
        signs: AlgorithmIdentifier,
        asked: AtomicUsize,
    }

    impl Counting {
        fn new(signs: AlgorithmIdentifier) -> Self {
            Self {
                signs,
                asked: AtomicUsize::new(0),
            }
        }

        fn asked(&self) -> usize {
            self.asked.load(Ordering::Relaxed)
        }
    }

    impl SignatureVerificationAlgorithm for Counting {
        fn verify_signature(
            &self,
            _: &[u8],
            _: &[u8],
            signature: &[u8],
        ) -> Result<(), InvalidSignature> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            if signature.ends_with(b"!") {
                Ok(())
            } else {
                Err(InvalidSignature)
            }
        }

        fn public_key_alg_id(&self) -> AlgorithmIdentifier {
            alg_id::ECDSA_P256
        }

        fn signature_alg_id(&self) -> AlgorithmIdentifier {
            self.signs
        }
    }

    #[test]
    fn a_good_signature_is_verified_once() {
        let known = KnownSignatures::default();
        let algorithm = Counting::new(alg_id::ECDSA_SHA256);
        for _ in 0..3 {
            let verdict =
                known
                    .before(&algorithm)
                    .verify_signature(b"key", b"message", b"signature!");
            assert!(verdict.is_ok());
        }
        assert_eq!(algorithm.asked(), 1);
    }

    #[test]
    fn a_bad_signature_is_verified_each_time() {
        let known = KnownSignatures::default();
        let algorithm = Counting::new(alg_id::ECDSA_SHA256);
        for _ in 0..3 {
            let verdict = known
                .before(&algorithm)
                .verify_signature(b"key", b"message", b"forged");
            assert!(verdict.is_err());
        }
        assert_eq!(algorithm.asked(), 3);
        assert!(known.generations().younger.is_empty());
    }

    #[test]
    fn nothing_else_is_taken_for_what_is_known() {
        let known = KnownSignatures::default();
        let algorithm = Counting::new(alg_id::ECDSA_SHA256);
        let ask = |algorithm: &Counting, key: &[u8], message: &[u8], signature: &[u8]| {
            let asked = algorithm.asked();
            let _ = known
                .before(algorithm)
                .verify_signature(key, message, signature);
            algorithm.asked() > asked
        };
        assert!(ask(&algorithm, b"key", b"message", b"signature!"));
        assert!(ask(&algorithm, b"other", b"message", b"signature!"));
        assert!(ask(&algorithm, b"key", b"other", b"signature!"));
        assert!(ask(&algorithm, b"key", b"message", b"other!"));
        // The same bytes, divided otherwise.
        assert!(ask(&algorithm, b"keym", b"essage", b"signature!"));
        assert!(ask(&algorithm, b"key", b"messages", b"ignature!"));
        let other = Counting::new(alg_id::ECDSA_SHA384);
        assert!(ask(&other, b"key", b"message", b"signature!"));
        assert!(!ask(&algorithm, b"key", b"message", b"signature!"));
    }

    #[test]
    fn a_flood_of_leaves_is_bounded_and_leaves_the_issuer_known() {
        let known = KnownSignatures::default();
        let algorithm = Counting::new(alg_id::ECDSA_SHA256);
        let ask = |message: &[u8]| {
            let verdict = known
                .before(&algorithm)
                .verify_signature(b"key", message, b"signature!");
            assert!(verdict.is_ok());
        };
        let leaves = 5 * MAX_FACTS;
        for leaf in 0..leaves {
            ask(&leaf.to_be_bytes());
            ask(b"the issuer");
        }
        assert_eq!(algorithm.asked(), leaves + 1);
        let generations = known.generations();
        assert!(generations.younger.len() <= MAX_FACTS);
        assert!(generations.elder.len() <= MAX_FACTS);
    }
}
