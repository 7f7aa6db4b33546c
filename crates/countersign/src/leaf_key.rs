//! Leaf keys, made where they are used: what leaves this file is a request, or PEM that wipes itself.

use std::fmt;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use clap::ValueEnum;
use countersign_pki::certificate::KeyAlgorithm;
use countersign_pki::dn::DistinguishedName;
use countersign_pki::pem;
use countersign_pki::request::RequestToBeSigned;
use zeroize::Zeroizing;

use crate::fault::Fault;

/// The kinds of key that are made here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum KeyKind {
    /// ECDSA P-256: fast, and every client takes it
    #[default]
    P256,
    /// ECDSA P-384, where a rule asks for 192 bits of security
    P384,
    /// Ed25519: browsers and Windows do not take it
    Ed25519,
    /// RSA 2048, for peers that know nothing else
    #[value(name = "rsa2048")]
    Rsa2048,
    /// RSA 3072
    #[value(name = "rsa3072")]
    Rsa3072,
    /// RSA 4096: each handshake costs some twenty times as much
    #[value(name = "rsa4096")]
    Rsa4096,
}

/// A private key of one of these kinds. Neither printable nor serializable.
pub(crate) struct LeafKey {
    pair: Pair,
    pkcs8: Zeroizing<Vec<u8>>,
}

enum Pair {
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rsa(Box<RsaKeyPair>),
}

impl KeyKind {
    /// The kind of a public key, if it is one that is made here.
    pub(crate) fn of(key: &KeyAlgorithm) -> Option<Self> {
        match key {
            KeyAlgorithm::Ec { curve, .. } if curve == "P-256" => Some(Self::P256),
            KeyAlgorithm::Ec { curve, .. } if curve == "P-384" => Some(Self::P384),
            KeyAlgorithm::Ed25519 => Some(Self::Ed25519),
            KeyAlgorithm::Rsa { bits: 2048 } => Some(Self::Rsa2048),
            KeyAlgorithm::Rsa { bits: 3072 } => Some(Self::Rsa3072),
            KeyAlgorithm::Rsa { bits: 4096 } => Some(Self::Rsa4096),
            _ => None,
        }
    }
}

impl LeafKey {
    /// Makes a new one.
    pub(crate) fn generate(kind: KeyKind) -> Result<Self, Fault> {
        let made = match kind {
            KeyKind::P256 => Self::ecdsa(&ECDSA_P256_SHA256_ASN1_SIGNING),
            KeyKind::P384 => Self::ecdsa(&ECDSA_P384_SHA384_ASN1_SIGNING),
            KeyKind::Ed25519 => Self::ed25519(),
            KeyKind::Rsa2048 => Self::rsa(KeySize::Rsa2048),
            KeyKind::Rsa3072 => Self::rsa(KeySize::Rsa3072),
            KeyKind::Rsa4096 => Self::rsa(KeySize::Rsa4096),
        };
        made.map_err(|_| Fault::world("the system's random source gave no key"))
    }

    fn ecdsa(algorithm: &'static EcdsaSigningAlgorithm) -> Result<Self, Unspecified> {
        let document = EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new())?;
        let pair =
            EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref()).map_err(|_| Unspecified)?;
        Ok(Self::new(Pair::Ecdsa(pair), document.as_ref()))
    }

    fn ed25519() -> Result<Self, Unspecified> {
        let pair = Ed25519KeyPair::generate()?;
        // OpenSSL before 3.2 reads nothing but version 1.
        let document = pair.to_pkcs8v1()?;
        Ok(Self::new(Pair::Ed25519(pair), document.as_ref()))
    }

    fn rsa(size: KeySize) -> Result<Self, Unspecified> {
        let pair = RsaKeyPair::generate(size)?;
        let document: Pkcs8V1Der<'_> = pair.as_der()?;
        Ok(Self::new(Pair::Rsa(Box::new(pair)), document.as_ref()))
    }

    fn new(pair: Pair, pkcs8: &[u8]) -> Self {
        Self {
            pair,
            pkcs8: Zeroizing::new(pkcs8.to_vec()),
        }
    }

    /// PKCS#8 in PEM.
    pub(crate) fn to_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(pem::encode("PRIVATE KEY", &self.pkcs8))
    }

    /// `SubjectPublicKeyInfo` in DER.
    pub(crate) fn spki_der(&self) -> Result<Vec<u8>, Fault> {
        let spki: Result<PublicKeyX509Der<'_>, Unspecified> = match &self.pair {
            Pair::Ecdsa(pair) => pair.public_key().as_der(),
            Pair::Ed25519(pair) => pair.public_key().as_der(),
            Pair::Rsa(pair) => pair.public_key().as_der(),
        };
        Ok(spki.map_err(Fault::bug)?.as_ref().to_vec())
    }

    /// A request (PKCS#10, DER) with this key and nothing else: names are asked for beside it.
    pub(crate) fn request(&self) -> Result<Vec<u8>, Fault> {
        let request = RequestToBeSigned::new(&DistinguishedName::default(), &self.spki_der()?)
            .map_err(Fault::bug)?;
        let signature = self
            .sign(request.bytes())
            .map_err(|_| Fault::world("the system's random source gave no signature"))?;
        Ok(request.complete(&signature))
    }

    /// By the algorithm that requests of this kind of key are made for.
    fn sign(&self, bytes: &[u8]) -> Result<Vec<u8>, Unspecified> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Ecdsa(pair) => Ok(pair.sign(&random, bytes)?.as_ref().to_vec()),
            Pair::Ed25519(pair) => Ok(pair.sign(bytes).as_ref().to_vec()),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, bytes, &mut signature)?;
                Ok(signature)
            }
        }
    }
}

impl fmt::Debug for LeafKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LeafKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use countersign_pki::request::CertificateRequest;

    use super::*;

    #[test]
    fn request_of_every_kind_proves_possession_and_names_nobody() {
        for kind in KeyKind::value_variants() {
            let key = LeafKey::generate(*kind).expect("a key");
            let request = CertificateRequest::parse(&key.request().expect("a request"))
                .expect("signed by its key");
            assert!(request.subject().is_empty());
            assert!(request.subject_alt_names().is_empty());
            let algorithm = KeyAlgorithm::of(request.spki_der()).expect("a key");
            assert_eq!(KeyKind::of(&algorithm), Some(*kind));
        }
    }

    #[test]
    fn pem_is_pkcs8_and_debug_shows_nothing() {
        let key = LeafKey::generate(KeyKind::P256).expect("a key");
        assert!(key.to_pem().starts_with("-----BEGIN PRIVATE KEY-----\n"));
        assert_eq!(format!("{key:?}"), "LeafKey(…)");
    }
}
