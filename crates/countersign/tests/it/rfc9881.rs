//! The certificate that RFC 9881 (ML-DSA in X.509) prints, which nobody of ours has made.

use std::path::{Path, PathBuf};

use countersign_pki::certificate::{Certificate, KeyAlgorithm};
use countersign_pki::pem;

use crate::installation::{countersign, text};

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/it/rfc9881")
        .join(name)
}

fn der(name: &str) -> Vec<u8> {
    let bytes = std::fs::read(example(name)).expect(name);
    pem::decode_all(&bytes).expect("PEM").remove(0).der
}

#[test]
fn certificate_of_the_rfc_verifies_and_no_changed_one_does() {
    let bytes = der("ML-DSA-44.crt");
    let certificate = Certificate::parse_anchor(&bytes).expect("a certificate");
    assert_eq!(certificate.public_key_algorithm(), &KeyAlgorithm::MlDsa44);
    assert_eq!(certificate.spki_der(), der("ML-DSA-44.pub"));
    assert_eq!(certificate.subject().to_string(), "CN=LAMPS WG,O=IETF");
    certificate
        .verify_signature(&certificate)
        .expect("it has signed itself");
    // Within what is signed, and within the signature.
    for at in [20, 100, 1600, 1700, bytes.len() - 1000, bytes.len() - 1] {
        let mut spoilt = bytes.clone();
        spoilt[at] ^= 1;
        let accepted = Certificate::parse_anchor(&spoilt)
            .is_ok_and(|it| it.verify_signature(&certificate).is_ok());
        assert!(!accepted, "byte {at}");
    }
}

#[test]
fn inspect_says_of_the_examples_what_they_are() {
    let inspect = |name: &str| {
        let answer = countersign(Path::new("/"), &["inspect", text(&example(name))]);
        assert_eq!(answer.code, Some(0), "{answer:#?}");
        answer.stdout
    };
    let certificate = inspect("ML-DSA-44.crt");
    for words in ["ML-DSA-44", "CN=LAMPS WG", "2040-01-29"] {
        assert!(certificate.contains(words), "{words} in {certificate}");
    }
    for kind in ["ML-DSA-44", "ML-DSA-65", "ML-DSA-87"] {
        let key = inspect(&format!("{kind}-seed.priv"));
        assert!(key.contains(kind), "{key}");
        let public = inspect(&format!("{kind}.pub"));
        assert!(public.contains(kind), "{public}");
    }
}
