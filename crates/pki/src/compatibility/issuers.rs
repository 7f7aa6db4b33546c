//! What clients refuse in a CA that stands above the leaf, the root included.

use super::{ED25519_SOURCE, Issuer, Known, ML_DSA_SOURCE, NO_ED25519, NO_ML_DSA, is_ml_dsa};
use crate::certificate::KeyAlgorithm;

type Judge = fn(&Issuer<'_>) -> Option<String>;

pub(super) const KNOWN: [Known<Judge>; 8] = [
    strict(constraints_not_critical),
    strict(no_key_usage),
    strict(no_subject_key_id),
    strict(no_authority_key_id),
    Known {
        client: "rustls with ring",
        source: "https://docs.rs/rustls/0.23/rustls/crypto/ring/",
        judge: p521,
    },
    Known {
        client: "Go and rustls",
        // webpki's algorithms are named RSA_PKCS1_2048_8192_…; Go has had the bound since 1.20.7.
        source: "https://go.dev/issue/61460",
        judge: rsa_over_8192,
    },
    Known {
        client: NO_ED25519,
        source: ED25519_SOURCE,
        judge: ed25519,
    },
    Known {
        client: NO_ML_DSA,
        source: ML_DSA_SOURCE,
        judge: ml_dsa,
    },
];

/// `X509_V_FLAG_X509_STRICT`, which Python sets unless it is told otherwise (its ssl module's documentation, "changed in version 3.13").
const fn strict(judge: Judge) -> Known<Judge> {
    Known {
        client: "Python from 3.13 on, and OpenSSL with -x509_strict",
        source: "https://docs.openssl.org/3.0/man1/openssl-verification-options/",
        judge,
    }
}

/// OpenSSL's error 89.
fn constraints_not_critical(issuer: &Issuer<'_>) -> Option<String> {
    let certificate = issuer.certificate;
    let is_lax =
        certificate.basic_constraints_present() && !certificate.basic_constraints_critical();
    is_lax.then(|| issuer.lacks("basicConstraints that are critical"))
}

/// OpenSSL's error 92.
fn no_key_usage(issuer: &Issuer<'_>) -> Option<String> {
    let is_missing = issuer.certificate.key_usage().is_none();
    is_missing.then(|| issuer.lacks("a keyUsage"))
}

/// OpenSSL's error 86.
fn no_subject_key_id(issuer: &Issuer<'_>) -> Option<String> {
    let is_missing = issuer.certificate.subject_key_id().is_none();
    is_missing.then(|| issuer.lacks("a subjectKeyIdentifier"))
}

/// OpenSSL's error 85; the last of a chain may leave it out.
fn no_authority_key_id(issuer: &Issuer<'_>) -> Option<String> {
    let is_missing = !issuer.is_root && issuer.certificate.authority_key_id().is_none();
    is_missing.then(|| issuer.lacks("an authorityKeyIdentifier with a keyIdentifier"))
}

/// Its provider has P-256 and P-384.
fn p521(issuer: &Issuer<'_>) -> Option<String> {
    let key = issuer.certificate.public_key_algorithm();
    let is_p521 = matches!(key, KeyAlgorithm::Ec { curve, .. } if curve == "P-521");
    is_p521.then(|| issuer.has_key("which its cryptography does not have"))
}

/// Longer keys cost more to verify than they add.
fn rsa_over_8192(issuer: &Issuer<'_>) -> Option<String> {
    let key = issuer.certificate.public_key_algorithm();
    let is_longer = matches!(key, KeyAlgorithm::Rsa { bits } if *bits > 8192);
    is_longer.then(|| issuer.has_key("and they verify with at most 8192 bits"))
}

fn ed25519(issuer: &Issuer<'_>) -> Option<String> {
    let is_one = *issuer.certificate.public_key_algorithm() == KeyAlgorithm::Ed25519;
    is_one.then(|| issuer.signs_with("which they do not take in TLS"))
}

fn ml_dsa(issuer: &Issuer<'_>) -> Option<String> {
    let is_one = is_ml_dsa(issuer.certificate.public_key_algorithm());
    is_one.then(|| issuer.signs_with("which they do not know"))
}

impl Issuer<'_> {
    fn lacks(&self, what: &str) -> String {
        format!(
            "the CA {} lacks {what}; they take its chains when its certificate was issued anew with that",
            self.certificate.subject()
        )
    }

    fn has_key(&self, but: &str) -> String {
        format!(
            "the CA {} has a key of {}, {but}",
            self.certificate.subject(),
            self.certificate.public_key_algorithm()
        )
    }

    fn signs_with(&self, but: &str) -> String {
        format!(
            "the CA {} signs with {}, {but}; under CAs with P-256 keys everybody takes what they issue",
            self.certificate.subject(),
            self.certificate.public_key_algorithm()
        )
    }
}
