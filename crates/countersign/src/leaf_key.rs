//! Leaf keys, made where they are used: what leaves this file is a request, or PEM that wipes itself.

use std::fmt;

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use countersign_pki::dn::DistinguishedName;
use countersign_pki::pem;
use countersign_pki::request::RequestToBeSigned;
use zeroize::Zeroizing;

use crate::fault::Fault;

/// An ECDSA P-256 key. Neither printable nor serializable.
pub(crate) struct LeafKey {
    pair: EcdsaKeyPair,
    pkcs8: Zeroizing<Vec<u8>>,
}

impl LeafKey {
    /// Makes a new one.
    pub(crate) fn generate() -> Result<Self, Fault> {
        let failed = |_| Fault::world("the system's random source gave no key");
        let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
        let document =
            EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new()).map_err(failed)?;
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref()).map_err(Fault::bug)?;
        Ok(Self {
            pair,
            pkcs8: Zeroizing::new(document.as_ref().to_vec()),
        })
    }

    /// PKCS#8 in PEM.
    pub(crate) fn to_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(pem::encode("PRIVATE KEY", &self.pkcs8))
    }

    /// `SubjectPublicKeyInfo` in DER.
    pub(crate) fn spki_der(&self) -> Result<Vec<u8>, Fault> {
        let spki: PublicKeyX509Der<'_> = self.pair.public_key().as_der().map_err(Fault::bug)?;
        Ok(spki.as_ref().to_vec())
    }

    /// A request (PKCS#10, DER) with this key and nothing else: names are asked for beside it.
    pub(crate) fn request(&self) -> Result<Vec<u8>, Fault> {
        let request = RequestToBeSigned::new(&DistinguishedName::default(), &self.spki_der()?)
            .map_err(Fault::bug)?;
        let signature = self.pair.sign(&SystemRandom::new(), request.bytes());
        let signature =
            signature.map_err(|_| Fault::world("the system's random source gave no signature"))?;
        Ok(request.complete(signature.as_ref()))
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
    fn request_proves_possession_and_names_nobody() {
        let key = LeafKey::generate().expect("a key");
        let request = CertificateRequest::parse(&key.request().expect("a request"))
            .expect("signed by its key");
        assert!(request.subject().is_empty());
        assert!(request.subject_alt_names().is_empty());
    }

    #[test]
    fn pem_is_pkcs8_and_debug_shows_nothing() {
        let key = LeafKey::generate().expect("a key");
        assert!(key.to_pem().starts_with("-----BEGIN PRIVATE KEY-----\n"));
        assert_eq!(format!("{key:?}"), "LeafKey(…)");
    }
}
