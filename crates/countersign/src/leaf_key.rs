//! Leaf keys, made where they are used: what leaves this file is a request, or PEM that wipes itself.

use std::fmt;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use countersign_authority::secret::Secret;
use countersign_authority::signing_key::SigningKey;
use countersign_pki::dn::DistinguishedName;
use countersign_pki::pem;
use countersign_pki::request::RequestToBeSigned;
use zeroize::Zeroizing;

use crate::fault::Fault;

pub(crate) use countersign_authority::signing_key::KeyKind;

/// What `KIND` is on command lines and in lists of what to issue.
pub(crate) fn key_kind() -> impl TypedValueParser<Value = KeyKind> {
    let values = KINDS.map(|(_, name, help)| PossibleValue::new(name).help(help));
    PossibleValuesParser::new(values).map(|name| parse_key_kind(&name).unwrap_or_default())
}

/// `p256`, `ml-dsa-65`, …, in whatever case.
pub(crate) fn parse_key_kind(text: &str) -> Option<KeyKind> {
    KINDS
        .iter()
        .find(|(_, name, _)| name.eq_ignore_ascii_case(text))
        .map(|(kind, ..)| *kind)
}

/// How it is written there.
pub(crate) fn key_kind_name(kind: KeyKind) -> &'static str {
    KINDS
        .iter()
        .find(|(known, ..)| *known == kind)
        .map_or("", |(_, name, _)| name)
}

/// With what stands behind each in the help.
const KINDS: [(KeyKind, &str, &str); 9] = [
    (
        KeyKind::P256,
        "p256",
        "ECDSA P-256: fast, and every client takes it",
    ),
    (
        KeyKind::P384,
        "p384",
        "ECDSA P-384, where a rule asks for 192 bits of security",
    ),
    (
        KeyKind::Ed25519,
        "ed25519",
        "Ed25519: browsers and Windows do not take it",
    ),
    (
        KeyKind::Rsa2048,
        "rsa2048",
        "RSA 2048, for peers that know nothing else",
    ),
    (KeyKind::Rsa3072, "rsa3072", "RSA 3072"),
    (
        KeyKind::Rsa4096,
        "rsa4096",
        "RSA 4096: each handshake costs some twenty times as much",
    ),
    (
        KeyKind::MlDsa44,
        "ml-dsa-44",
        "ML-DSA-44: safe from quantum computers, for TLS 1.3; Countersign and OpenSSL from 3.5 on take it",
    ),
    (
        KeyKind::MlDsa65,
        "ml-dsa-65",
        "ML-DSA-65: the same, with 192 bits of security",
    ),
    (
        KeyKind::MlDsa87,
        "ml-dsa-87",
        "ML-DSA-87: the same, with 256 bits of security",
    ),
];

/// A private key of one of these kinds. Neither printable nor serializable.
pub(crate) struct LeafKey {
    key: SigningKey,
    pkcs8: Secret,
}

impl LeafKey {
    /// Makes a new one.
    pub(crate) fn generate(kind: KeyKind) -> Result<Self, Fault> {
        let (key, pkcs8) = SigningKey::generate(kind)
            .map_err(|_| Fault::world("the system's random source gave no key"))?;
        Ok(Self { key, pkcs8 })
    }

    /// PKCS#8 in PEM.
    pub(crate) fn to_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(pem::encode("PRIVATE KEY", self.pkcs8.expose()))
    }

    /// PKCS#8 in DER.
    pub(crate) fn pkcs8(&self) -> &[u8] {
        self.pkcs8.expose()
    }

    /// `SubjectPublicKeyInfo` in DER.
    pub(crate) fn spki_der(&self) -> &[u8] {
        self.key.spki_der()
    }

    /// A request (PKCS#10, DER) with this key and nothing else: names are asked for beside it.
    pub(crate) fn request(&self) -> Result<Vec<u8>, Fault> {
        let request = RequestToBeSigned::new(&DistinguishedName::default(), self.spki_der())
            .map_err(Fault::bug)?;
        let signature = self.key.sign(request.bytes()).map_err(Fault::bug)?;
        Ok(request.complete(&signature))
    }
}

impl fmt::Debug for LeafKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LeafKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use countersign_pki::certificate::KeyAlgorithm;
    use countersign_pki::request::CertificateRequest;

    use super::*;

    #[test]
    fn request_of_every_kind_proves_possession_and_names_nobody() {
        for (kind, name, _) in KINDS {
            let key = LeafKey::generate(kind).expect("a key");
            let request = CertificateRequest::parse(&key.request().expect("a request"))
                .expect("signed by its key");
            assert!(request.subject().is_empty());
            assert!(request.subject_alt_names().is_empty());
            let algorithm = KeyAlgorithm::of(request.spki_der()).expect("a key");
            assert_eq!(KeyKind::of(&algorithm), Some(kind));
            assert_eq!(parse_key_kind(&name.to_uppercase()), Some(kind));
        }
    }

    #[test]
    fn pem_is_pkcs8_and_debug_shows_nothing() {
        let key = LeafKey::generate(KeyKind::P256).expect("a key");
        assert!(key.to_pem().starts_with("-----BEGIN PRIVATE KEY-----\n"));
        assert_eq!(format!("{key:?}"), "LeafKey(…)");
    }
}
