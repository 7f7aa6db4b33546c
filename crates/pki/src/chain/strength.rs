//! Which keys and signatures are accepted.

use der::Tag;
use rustls_pki_types::{SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer};
use webpki::RawPublicKeyEntity;

use super::fault::ChainFaultKind;
use super::outline::Outline;
use crate::asn1::{Cursor, Malformed};
use crate::certificate::{KeyAlgorithm, SignatureScheme};

/// Every algorithm that webpki knows with aws-lc-rs: ECDSA on the NIST curves, Ed25519, RSA of 2048 to 8192 bits, ML-DSA.
pub(super) fn accepted() -> &'static [&'static dyn SignatureVerificationAlgorithm] {
    webpki::ALL_VERIFICATION_ALGS
}

/// Whether a key of this kind and length may sign; `spki` is the whole `SubjectPublicKeyInfo`.
pub(super) fn judge_key(spki: &[u8]) -> Result<(), ChainFaultKind> {
    let malformed = |why| ChainFaultKind::Malformed { why };
    let algorithm = KeyAlgorithm::of(spki)
        .ok_or_else(|| malformed("the public key cannot be read".to_owned()))?;
    if algorithm.is_weak() {
        return Err(ChainFaultKind::WeakKey {
            key: algorithm.to_string(),
        });
    }
    let identifier = key_identifier(spki).map_err(|Malformed(why)| malformed(why))?;
    let is_known = accepted()
        .iter()
        .any(|known| known.public_key_alg_id().as_ref() == identifier);
    let is_too_long = matches!(algorithm, KeyAlgorithm::Rsa { bits } if bits > MAX_RSA_BITS);
    if is_known && !is_too_long {
        Ok(())
    } else {
        Err(ChainFaultKind::UnsupportedAlgorithm {
            algorithm: algorithm.to_string(),
        })
    }
}

/// How a certificate's signature stands to a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Link {
    /// This key made it.
    Signed,
    /// Another key made it, or the bytes were altered.
    Broken,
    /// It cannot be judged, for this reason.
    Refused(ChainFaultKind),
}

/// Verifies `subject`'s signature with the issuer's whole `SubjectPublicKeyInfo`.
pub(super) fn link(subject: &Outline<'_>, issuer_spki: &[u8]) -> Link {
    if let Err(fault) = judge_key(issuer_spki) {
        return Link::Refused(fault);
    }
    let identifier = subject.signature_algorithm;
    let candidates = || {
        accepted()
            .iter()
            .filter(|known| known.signature_alg_id().as_ref() == identifier.content)
    };
    if candidates().next().is_none() {
        return Link::Refused(match SignatureScheme::decode(&identifier) {
            Ok(scheme) if scheme.is_weak() => ChainFaultKind::WeakSignature {
                algorithm: scheme.to_string(),
            },
            Ok(scheme) => ChainFaultKind::UnsupportedAlgorithm {
                algorithm: scheme.to_string(),
            },
            Err(Malformed(why)) => ChainFaultKind::Malformed { why },
        });
    }
    let spki = SubjectPublicKeyInfoDer::from(issuer_spki);
    let Ok(key) = RawPublicKeyEntity::try_from(&spki) else {
        return Link::Broken;
    };
    let is_signed = candidates().any(|&known| {
        key.verify_signature(known, subject.signed, subject.signature)
            .is_ok()
    });
    if is_signed {
        Link::Signed
    } else {
        Link::Broken
    }
}

fn key_identifier(spki: &[u8]) -> Result<&[u8], Malformed> {
    let mut fields = Cursor::new(spki)
        .expect(Tag::Sequence, "the public key")?
        .cursor();
    Ok(fields
        .expect(Tag::Sequence, "the public key's algorithm")?
        .content)
}

/// webpki's upper bound: longer keys cost more to verify than they add.
const MAX_RSA_BITS: usize = 8192;
