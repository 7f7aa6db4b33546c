//! Private keys of every kind that is certified here: made, read, signed with. Those of issuers and of leaves alike.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1,
    ECDSA_P384_SHA384_ASN1_SIGNING, ED25519, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair,
    KeyPair, ML_DSA_44, ML_DSA_44_SIGNING, ML_DSA_65, ML_DSA_65_SIGNING, ML_DSA_87,
    ML_DSA_87_SIGNING, PqdsaKeyPair, PqdsaSigningAlgorithm, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_SHA256, RsaKeyPair, UnparsedPublicKey, VerificationAlgorithm,
};
use countersign_pki::certificate::KeyAlgorithm;
use countersign_pki::crl::CrlToBeSigned;
use countersign_pki::tbs::SignatureAlgorithm;

use crate::secret::Secret;
use crate::signer::SignError;

/// The kinds of key that are made here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyKind {
    /// RFC 8410.
    Ed25519,
    /// RFC 9881, security category 2.
    MlDsa44,
    /// RFC 9881, security category 3.
    MlDsa65,
    /// RFC 9881, security category 5.
    MlDsa87,
    /// ECDSA on P-256.
    #[default]
    P256,
    /// ECDSA on P-384.
    P384,
    /// RSA of 2048 bits.
    Rsa2048,
    /// RSA of 3072 bits.
    Rsa3072,
    /// RSA of 4096 bits.
    Rsa4096,
}

impl KeyKind {
    /// The kind of a public key, if it is one that is made here.
    pub fn of(key: &KeyAlgorithm) -> Option<Self> {
        match key {
            KeyAlgorithm::Ec { curve, .. } if curve == "P-256" => Some(Self::P256),
            KeyAlgorithm::Ec { curve, .. } if curve == "P-384" => Some(Self::P384),
            KeyAlgorithm::Ed25519 => Some(Self::Ed25519),
            KeyAlgorithm::MlDsa44 => Some(Self::MlDsa44),
            KeyAlgorithm::MlDsa65 => Some(Self::MlDsa65),
            KeyAlgorithm::MlDsa87 => Some(Self::MlDsa87),
            KeyAlgorithm::Rsa { bits: 2048 } => Some(Self::Rsa2048),
            KeyAlgorithm::Rsa { bits: 3072 } => Some(Self::Rsa3072),
            KeyAlgorithm::Rsa { bits: 4096 } => Some(Self::Rsa4096),
            _ => None,
        }
    }

    /// What an authority whose issuers have this kind makes for its own ports and for its OCSP responder. Who takes the issuers'
    /// signatures takes the same of a leaf, so nothing weaker is mixed in; but RSA only slows handshakes down.
    pub fn below(issuer: &KeyAlgorithm) -> Self {
        match Self::of(issuer) {
            Some(Self::Rsa2048 | Self::Rsa3072 | Self::Rsa4096) | None => Self::P256,
            Some(kind) => kind,
        }
    }
}

/// A private key that is ready to sign. Neither printable nor serialisable.
pub struct SigningKey {
    pair: Pair,
    spki_der: Vec<u8>,
}

enum Pair {
    Ecdsa(EcdsaKeyPair, SignatureAlgorithm),
    Ed25519(Ed25519KeyPair),
    MlDsa(PqdsaKeyPair, SignatureAlgorithm),
    Rsa(Box<RsaKeyPair>),
}

impl SigningKey {
    /// A new key, and the PKCS#8 (version 1) of it. RSA takes up to seconds.
    pub fn generate(kind: KeyKind) -> Result<(Self, Secret), SignError> {
        Self::make(kind).map_err(|_| SignError::NoRandomness)
    }

    fn make(kind: KeyKind) -> Result<(Self, Secret), Unspecified> {
        match kind {
            KeyKind::Ed25519 => {
                let pair = Ed25519KeyPair::generate()?;
                // OpenSSL before 3.2 reads nothing but version 1.
                let document = pair.to_pkcs8v1()?;
                Self::with(Pair::Ed25519(pair), document.as_ref())
            }
            KeyKind::MlDsa44 => Self::ml_dsa(SignatureAlgorithm::MlDsa44),
            KeyKind::MlDsa65 => Self::ml_dsa(SignatureAlgorithm::MlDsa65),
            KeyKind::MlDsa87 => Self::ml_dsa(SignatureAlgorithm::MlDsa87),
            KeyKind::P256 => Self::ecdsa(SignatureAlgorithm::EcdsaP256Sha256),
            KeyKind::P384 => Self::ecdsa(SignatureAlgorithm::EcdsaP384Sha384),
            KeyKind::Rsa2048 => Self::rsa(KeySize::Rsa2048),
            KeyKind::Rsa3072 => Self::rsa(KeySize::Rsa3072),
            KeyKind::Rsa4096 => Self::rsa(KeySize::Rsa4096),
        }
    }

    fn ecdsa(algorithm: SignatureAlgorithm) -> Result<(Self, Secret), Unspecified> {
        let signing = curve(algorithm).ok_or(Unspecified)?;
        let document = EcdsaKeyPair::generate_pkcs8(signing, &SystemRandom::new())?;
        let pair = EcdsaKeyPair::from_pkcs8(signing, document.as_ref()).map_err(|_| Unspecified)?;
        Self::with(Pair::Ecdsa(pair, algorithm), document.as_ref())
    }

    fn ml_dsa(algorithm: SignatureAlgorithm) -> Result<(Self, Secret), Unspecified> {
        let signing = parameter_set(algorithm).ok_or(Unspecified)?;
        let pair = PqdsaKeyPair::generate(signing)?;
        // The 32 bytes of the seed, the form that RFC 9881 §6 recommends.
        let document = pair.to_pkcs8v1()?;
        Self::with(Pair::MlDsa(pair, algorithm), document.as_ref())
    }

    fn rsa(size: KeySize) -> Result<(Self, Secret), Unspecified> {
        let pair = RsaKeyPair::generate(size)?;
        let document: Pkcs8V1Der<'_> = pair.as_der()?;
        Self::with(Pair::Rsa(Box::new(pair)), document.as_ref())
    }

    fn with(pair: Pair, pkcs8: &[u8]) -> Result<(Self, Secret), Unspecified> {
        Ok((Self::new(pair)?, Secret::new(pkcs8.to_vec())))
    }

    fn new(pair: Pair) -> Result<Self, Unspecified> {
        let spki_der: PublicKeyX509Der<'_> = match &pair {
            Pair::Ecdsa(pair, _) => pair.public_key().as_der(),
            Pair::Ed25519(pair) => pair.public_key().as_der(),
            Pair::MlDsa(pair, _) => pair.public_key().as_der(),
            Pair::Rsa(pair) => pair.public_key().as_der(),
        }?;
        let spki_der = spki_der.as_ref().to_vec();
        Ok(Self { pair, spki_der })
    }

    /// The key in `pkcs8`, if it is one that makes signatures of `algorithm`.
    pub fn from_pkcs8(algorithm: SignatureAlgorithm, pkcs8: &[u8]) -> Option<Self> {
        let pair = match algorithm {
            SignatureAlgorithm::EcdsaP256Sha256 | SignatureAlgorithm::EcdsaP384Sha384 => {
                let pair = EcdsaKeyPair::from_pkcs8(curve(algorithm)?, pkcs8).ok()?;
                Pair::Ecdsa(pair, algorithm)
            }
            SignatureAlgorithm::Ed25519 => {
                Pair::Ed25519(Ed25519KeyPair::from_pkcs8_maybe_unchecked(pkcs8).ok()?)
            }
            SignatureAlgorithm::MlDsa44
            | SignatureAlgorithm::MlDsa65
            | SignatureAlgorithm::MlDsa87 => {
                let pair = PqdsaKeyPair::from_pkcs8(parameter_set(algorithm)?, pkcs8).ok()?;
                Pair::MlDsa(pair, algorithm)
            }
            SignatureAlgorithm::RsaPkcs1Sha256 => {
                Pair::Rsa(Box::new(RsaKeyPair::from_pkcs8(pkcs8).ok()?))
            }
        };
        Self::new(pair).ok()
    }

    /// The key in `pkcs8`, of whichever kind a CA here may have; `None`: it is none of these kinds.
    pub fn read(pkcs8: &[u8]) -> Option<Self> {
        let read = |algorithm| Self::from_pkcs8(algorithm, pkcs8);
        let key = OF_CAS.into_iter().find_map(read)?;
        match &key.pair {
            Pair::Rsa(pair) if pair.public_modulus_len() * 8 > MAX_RSA_BITS => None,
            _ => Some(key),
        }
    }

    /// `SubjectPublicKeyInfo` in DER.
    pub fn spki_der(&self) -> &[u8] {
        &self.spki_der
    }

    /// With what it signs.
    pub fn algorithm(&self) -> SignatureAlgorithm {
        match &self.pair {
            Pair::Ecdsa(_, algorithm) | Pair::MlDsa(_, algorithm) => *algorithm,
            Pair::Ed25519(_) => SignatureAlgorithm::Ed25519,
            Pair::Rsa(_) => SignatureAlgorithm::RsaPkcs1Sha256,
        }
    }

    /// Signs, and verifies what came out: a wrong signature can give the key away.
    pub fn sign(&self, bytes: &[u8]) -> Result<Vec<u8>, SignError> {
        let signature = self
            .make_signature(bytes)
            .map_err(|_| SignError::NoRandomness)?;
        let (verifying, public_key) = self.verifying();
        UnparsedPublicKey::new(verifying, public_key)
            .verify(bytes, &signature)
            .map_err(|_| SignError::WrongSignature)?;
        Ok(signature)
    }

    fn make_signature(&self, bytes: &[u8]) -> Result<Vec<u8>, Unspecified> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Ecdsa(pair, _) => Ok(pair.sign(&random, bytes)?.as_ref().to_vec()),
            Pair::Ed25519(pair) => Ok(pair.sign(bytes).as_ref().to_vec()),
            Pair::MlDsa(pair, _) => {
                let mut signature = vec![0; pair.algorithm().signature_len()];
                let length = pair.sign(bytes, &mut signature)?;
                signature.truncate(length);
                Ok(signature)
            }
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, bytes, &mut signature)?;
                Ok(signature)
            }
        }
    }

    fn verifying(&self) -> (&'static dyn VerificationAlgorithm, &[u8]) {
        let verifying: &'static dyn VerificationAlgorithm = match self.algorithm() {
            SignatureAlgorithm::EcdsaP256Sha256 => &ECDSA_P256_SHA256_ASN1,
            SignatureAlgorithm::EcdsaP384Sha384 => &ECDSA_P384_SHA384_ASN1,
            SignatureAlgorithm::Ed25519 => &ED25519,
            SignatureAlgorithm::MlDsa44 => &ML_DSA_44,
            SignatureAlgorithm::MlDsa65 => &ML_DSA_65,
            SignatureAlgorithm::MlDsa87 => &ML_DSA_87,
            SignatureAlgorithm::RsaPkcs1Sha256 => &RSA_PKCS1_2048_8192_SHA256,
        };
        let public_key = match &self.pair {
            Pair::Ecdsa(pair, _) => pair.public_key().as_ref(),
            Pair::Ed25519(pair) => pair.public_key().as_ref(),
            Pair::MlDsa(pair, _) => pair.public_key().as_ref(),
            Pair::Rsa(pair) => pair.public_key().as_ref(),
        };
        (verifying, public_key)
    }
}

/// A key of a CA on its way into its sealed file, or one that is brought along for a signature and kept nowhere.
pub struct GivenKey {
    pub(crate) key: SigningKey,
    pub(crate) pkcs8: Secret,
}

impl GivenKey {
    /// Reads PKCS#8; `None`: it is no key of the kinds that CAs here have.
    pub fn from_pkcs8(pkcs8: &[u8]) -> Option<Self> {
        Some(Self {
            key: SigningKey::read(pkcs8)?,
            pkcs8: Secret::new(pkcs8.to_vec()),
        })
    }

    /// Signs a revocation list.
    pub fn sign_crl(&self, crl: &CrlToBeSigned) -> Result<Vec<u8>, SignError> {
        self.key.sign(crl.bytes())
    }

    /// `SubjectPublicKeyInfo` in DER.
    pub fn spki_der(&self) -> &[u8] {
        self.key.spki_der()
    }

    pub(crate) fn generate(kind: KeyKind) -> Result<Self, SignError> {
        let (key, pkcs8) = SigningKey::generate(kind)?;
        Ok(Self { key, pkcs8 })
    }
}

fn curve(algorithm: SignatureAlgorithm) -> Option<&'static EcdsaSigningAlgorithm> {
    match algorithm {
        SignatureAlgorithm::EcdsaP256Sha256 => Some(&ECDSA_P256_SHA256_ASN1_SIGNING),
        SignatureAlgorithm::EcdsaP384Sha384 => Some(&ECDSA_P384_SHA384_ASN1_SIGNING),
        _ => None,
    }
}

fn parameter_set(algorithm: SignatureAlgorithm) -> Option<&'static PqdsaSigningAlgorithm> {
    match algorithm {
        SignatureAlgorithm::MlDsa44 => Some(&ML_DSA_44_SIGNING),
        SignatureAlgorithm::MlDsa65 => Some(&ML_DSA_65_SIGNING),
        SignatureAlgorithm::MlDsa87 => Some(&ML_DSA_87_SIGNING),
        _ => None,
    }
}

/// What a CA's key signs with.
const OF_CAS: [SignatureAlgorithm; 7] = [
    SignatureAlgorithm::EcdsaP256Sha256,
    SignatureAlgorithm::EcdsaP384Sha384,
    SignatureAlgorithm::Ed25519,
    SignatureAlgorithm::MlDsa44,
    SignatureAlgorithm::MlDsa65,
    SignatureAlgorithm::MlDsa87,
    SignatureAlgorithm::RsaPkcs1Sha256,
];
/// What a CA's key may cost: of 8192 bits, each signature takes a tenth of a second, and many a verifier refuses it.
const MAX_RSA_BITS: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    /// RSA of 3072 and 4096 bits differ from 2048 in the time that they take.
    const KINDS: [KeyKind; 7] = [
        KeyKind::Ed25519,
        KeyKind::MlDsa44,
        KeyKind::MlDsa65,
        KeyKind::MlDsa87,
        KeyKind::P256,
        KeyKind::P384,
        KeyKind::Rsa2048,
    ];

    #[test]
    fn key_that_is_read_again_is_the_one_that_was_made_and_of_no_other_kind() {
        let made = KINDS.map(|kind| SigningKey::generate(kind).expect("a key"));
        for (kind, (key, pkcs8)) in KINDS.into_iter().zip(&made) {
            let public = KeyAlgorithm::of(key.spki_der()).expect("a key");
            assert_eq!(KeyKind::of(&public), Some(kind));
            assert_eq!(SignatureAlgorithm::of_key(&public), Some(key.algorithm()));
            for (other, _) in &made {
                let read = SigningKey::from_pkcs8(other.algorithm(), pkcs8.expose());
                let spki = read.map(|read| read.spki_der().to_vec());
                let expected =
                    (other.algorithm() == key.algorithm()).then(|| key.spki_der().to_vec());
                assert_eq!(spki, expected, "{kind:?} as {:?}", other.algorithm());
            }
            assert!(SigningKey::from_pkcs8(key.algorithm(), b"\x30\x00").is_none());
            let pkcs8 = pkcs8.expose();
            assert!(
                SigningKey::from_pkcs8(key.algorithm(), &pkcs8[..pkcs8.len() - 1]).is_none(),
                "{kind:?}"
            );
        }
    }

    #[test]
    fn what_the_authority_makes_for_itself_is_as_strong_as_its_issuers() {
        for kind in KINDS {
            let (issuer, _) = SigningKey::generate(kind).expect("a key");
            let issuer = KeyAlgorithm::of(issuer.spki_der()).expect("a key");
            let expected = if kind == KeyKind::Rsa2048 {
                KeyKind::P256
            } else {
                kind
            };
            assert_eq!(KeyKind::below(&issuer), expected);
        }
    }
}
