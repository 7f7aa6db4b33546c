//! A private key that signs certificates and lists, of whichever kind CAs here have. Neither printable nor serialisable.

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1,
    ECDSA_P384_SHA384_ASN1_SIGNING, ED25519, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, UnparsedPublicKey,
    VerificationAlgorithm,
};
use countersign_pki::crl::CrlToBeSigned;
use countersign_pki::tbs::SignatureAlgorithm;

use crate::secret::Secret;
use crate::signer::SignError;

/// ECDSA P-256 or P-384, Ed25519, or RSA of 2048 to 4096 bits.
pub(crate) struct SigningKey {
    pair: Pair,
}

enum Pair {
    Ed25519(Box<Ed25519KeyPair>),
    P256(EcdsaKeyPair),
    P384(EcdsaKeyPair),
    Rsa(Box<RsaKeyPair>),
}

impl SigningKey {
    /// Reads PKCS#8; `None`: it is no key of these kinds.
    pub(crate) fn from_pkcs8(pkcs8: &[u8]) -> Option<Self> {
        let ecdsa = |curve| EcdsaKeyPair::from_pkcs8(curve, pkcs8).ok();
        let rsa = || {
            let pair = RsaKeyPair::from_pkcs8(pkcs8).ok()?;
            (pair.public_modulus_len() * 8 <= MAX_RSA_BITS).then(|| Pair::Rsa(Box::new(pair)))
        };
        let ed25519 = || Ed25519KeyPair::from_pkcs8_maybe_unchecked(pkcs8).ok();
        let pair = ecdsa(&ECDSA_P256_SHA256_ASN1_SIGNING)
            .map(Pair::P256)
            .or_else(|| ecdsa(&ECDSA_P384_SHA384_ASN1_SIGNING).map(Pair::P384))
            .or_else(|| Some(Pair::Ed25519(Box::new(ed25519()?))))
            .or_else(rsa)?;
        Some(Self { pair })
    }

    /// A new P-256 key, and its PKCS#8.
    pub(crate) fn generate() -> Result<(Self, Secret), SignError> {
        let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
        let document = EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new())
            .map_err(|_| SignError::NoRandomness)?;
        let pkcs8 = Secret::new(document.as_ref().to_vec());
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.expose())
            .map_err(|_| SignError::NoRandomness)?;
        Ok((
            Self {
                pair: Pair::P256(pair),
            },
            pkcs8,
        ))
    }

    /// With what it signs.
    pub(crate) fn algorithm(&self) -> SignatureAlgorithm {
        match self.pair {
            Pair::Ed25519(_) => SignatureAlgorithm::Ed25519,
            Pair::P256(_) => SignatureAlgorithm::EcdsaP256Sha256,
            Pair::P384(_) => SignatureAlgorithm::EcdsaP384Sha384,
            Pair::Rsa(_) => SignatureAlgorithm::RsaPkcs1Sha256,
        }
    }

    /// `SubjectPublicKeyInfo` in DER.
    pub(crate) fn spki_der(&self) -> Result<Vec<u8>, SignError> {
        let spki: Result<PublicKeyX509Der<'_>, Unspecified> = match &self.pair {
            Pair::Ed25519(pair) => pair.public_key().as_der(),
            Pair::P256(pair) | Pair::P384(pair) => pair.public_key().as_der(),
            Pair::Rsa(pair) => pair.public_key().as_der(),
        };
        Ok(spki.map_err(|_| SignError::NoRandomness)?.as_ref().to_vec())
    }

    /// Signs, and verifies the signature before anybody sees it: a wrong one can give the key away.
    pub(crate) fn sign(&self, bytes: &[u8]) -> Result<Vec<u8>, SignError> {
        let random = SystemRandom::new();
        let (signed, by): (_, &dyn VerificationAlgorithm) = match &self.pair {
            Pair::Ed25519(pair) => (Ok(pair.sign(bytes).as_ref().to_vec()), &ED25519),
            Pair::P256(pair) => (ecdsa(pair, bytes), &ECDSA_P256_SHA256_ASN1),
            Pair::P384(pair) => (ecdsa(pair, bytes), &ECDSA_P384_SHA384_ASN1),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                let signed = pair.sign(&RSA_PKCS1_SHA256, &random, bytes, &mut signature);
                (signed.map(|()| signature), &RSA_PKCS1_2048_8192_SHA256)
            }
        };
        let signature = signed.map_err(|_| SignError::NoRandomness)?;
        let public = match &self.pair {
            Pair::Ed25519(pair) => pair.public_key().as_ref(),
            Pair::P256(pair) | Pair::P384(pair) => pair.public_key().as_ref(),
            Pair::Rsa(pair) => pair.public_key().as_ref(),
        };
        UnparsedPublicKey::new(by, public)
            .verify(bytes, &signature)
            .map_err(|_| SignError::WrongSignature)?;
        Ok(signature)
    }
}

fn ecdsa(pair: &EcdsaKeyPair, bytes: &[u8]) -> Result<Vec<u8>, Unspecified> {
    let signature = pair.sign(&SystemRandom::new(), bytes)?;
    Ok(signature.as_ref().to_vec())
}

/// A key of a CA that was made elsewhere, on its way into its sealed file.
pub struct GivenKey {
    pub(crate) key: SigningKey,
    pub(crate) pkcs8: Secret,
}

impl GivenKey {
    /// Reads PKCS#8; `None`: it is no key of these kinds.
    pub fn from_pkcs8(pkcs8: &[u8]) -> Option<Self> {
        Some(Self {
            key: SigningKey::from_pkcs8(pkcs8)?,
            pkcs8: Secret::new(pkcs8.to_vec()),
        })
    }

    /// Signs a revocation list, for a root whose key is brought along for that and kept nowhere.
    pub fn sign_crl(&self, crl: &CrlToBeSigned) -> Result<Vec<u8>, SignError> {
        self.key.sign(crl.bytes())
    }

    /// `SubjectPublicKeyInfo` in DER.
    pub fn spki_der(&self) -> Result<Vec<u8>, SignError> {
        self.key.spki_der()
    }

    pub(crate) fn generate() -> Result<Self, SignError> {
        let (key, pkcs8) = SigningKey::generate()?;
        Ok(Self { key, pkcs8 })
    }
}

/// What a CA's key may cost: of 8192 bits, each signature takes a tenth of a second, and many a verifier refuses it.
const MAX_RSA_BITS: usize = 4096;
