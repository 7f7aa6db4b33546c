//! Who holds a CA key. A leaf is signed only against the proof that its record is durable.

use countersign_pki::certificate::Certificate;
use countersign_pki::crl::CrlToBeSigned;
use countersign_pki::tbs::SignatureAlgorithm;
use countersign_store::intent::Intended;

use crate::secret::Secret;
use crate::signing_key::SigningKey;

/// Signs for one issuer; the key never leaves it. Blocks as long as the key's home takes.
pub trait Signer: Send + Sync + 'static {
    /// The issuer whose key it is.
    fn certificate(&self) -> &Certificate;
    /// With what.
    fn algorithm(&self) -> SignatureAlgorithm;
    /// Signs a leaf. The parameter is the proof that serial and bytes are on disk.
    fn sign(&self, intended: &Intended) -> Result<Vec<u8>, SignError>;
    /// Signs a revocation list.
    fn sign_crl(&self, crl: &CrlToBeSigned) -> Result<Vec<u8>, SignError>;
}

/// A key out of a sealed file, held in memory. Neither printable nor serialisable.
pub struct FileSigner {
    certificate: Certificate,
    key: SigningKey,
}

impl FileSigner {
    /// Takes the PKCS#8 key of `certificate`.
    pub fn new(certificate: Certificate, pkcs8: &Secret) -> Result<Self, SignError> {
        let kind = certificate.public_key_algorithm();
        let key = SignatureAlgorithm::of_key(kind)
            .and_then(|algorithm| SigningKey::from_pkcs8(algorithm, pkcs8.expose()))
            .ok_or_else(|| SignError::NotAKey {
                issuer: certificate.subject().to_string(),
                kind: kind.to_string(),
            })?;
        if key.spki_der() == certificate.spki_der() {
            Ok(Self { certificate, key })
        } else {
            Err(SignError::OtherKey {
                issuer: certificate.subject().to_string(),
            })
        }
    }
}

impl Signer for FileSigner {
    fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.key.algorithm()
    }

    fn sign(&self, intended: &Intended) -> Result<Vec<u8>, SignError> {
        // RFC 5280 §4.1.2.4; who picks the signer and who wrote the bytes are two.
        if intended.issuer_der() != self.certificate.subject_der() {
            return Err(SignError::OtherIssuer {
                issuer: self.certificate.subject().to_string(),
            });
        }
        self.key.sign(intended.to_be_signed().bytes())
    }

    fn sign_crl(&self, crl: &CrlToBeSigned) -> Result<Vec<u8>, SignError> {
        self.key.sign(crl.bytes())
    }
}

/// Why there is no signature.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// The operating system has none.
    #[error("the operating system gives no randomness")]
    NoRandomness,
    /// What was unsealed is no key of the kind that the certificate has.
    #[error("the sealed key of {issuer} is not a key of {kind} in PKCS#8")]
    NotAKey {
        /// Whose.
        issuer: String,
        /// Which kind it should be.
        kind: String,
    },
    /// The certificate names somebody else as its issuer: our bug, stopped here.
    #[error("{issuer} does not sign for another issuer")]
    OtherIssuer {
        /// Who was to sign.
        issuer: String,
    },
    /// Certificate and key do not belong together.
    #[error("the sealed key is not that of {issuer}")]
    OtherKey {
        /// Whose it should be.
        issuer: String,
    },
    /// A fault in memory or processor, or an attack by one: a wrong signature can give the key away.
    #[error("a signature came out wrong and was thrown away")]
    WrongSignature,
}

impl SignError {
    /// What to do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::WrongSignature => Some(
                "this machine computes wrongly: test its memory before the key is used again"
                    .to_owned(),
            ),
            Self::NotAKey { .. } | Self::OtherKey { .. } => {
                Some("restore the state folder's ca/ from a backup as a whole".to_owned())
            }
            Self::NoRandomness | Self::OtherIssuer { .. } => None,
        }
    }
}
