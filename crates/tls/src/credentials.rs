//! What a server or a client proves itself with: a certificate chain and its key, swapped while serving.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use countersign_diagnose::cause::Cause;
use countersign_pki::certificate::Certificate;
use countersign_pki::pem::{self, Block, InvalidPem};
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer};

use crate::provider::provider;

/// A chain, leaf first, with the leaf's private key. Neither serializable nor printable.
pub struct Credentials {
    leaf: Certificate,
    certified: Arc<CertifiedKey>,
}

impl Credentials {
    /// From PEM; refuses a key that is not the certificate's, an encrypted key, swapped files.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, InvalidCredentials> {
        let chain_blocks = blocks(chain, "certificate")?;
        let key_blocks = blocks(key, "key")?;
        let certificates = certificates(&chain_blocks, &key_blocks)?;
        let private_key = private_key(&key_blocks)?;
        let signing_key = provider()
            .key_provider
            .load_private_key(private_key)
            .map_err(|error| {
                invalid(
                    Cause::SigalgUnsupported,
                    format!("the private key is of no kind that is supported: {error}"),
                )
            })?;
        let leaf = certificates[0].clone();
        let public = signing_key.public_key();
        let holds = |certificate: &Certificate| {
            public
                .as_ref()
                .is_some_and(|key| key.as_ref() == certificate.spki_der())
        };
        if !holds(&leaf) {
            return Err(
                match certificates.iter().find(|certificate| holds(certificate)) {
                    Some(own) => invalid(
                        Cause::ChainWrongOrder,
                        format!(
                            "the key belongs to {}, which is not the first certificate of the file",
                            own.subject()
                        ),
                    ),
                    None => invalid(
                        Cause::KeyCertMismatch,
                        format!(
                            "the key does not belong to the certificate of {}",
                            leaf.subject()
                        ),
                    ),
                },
            );
        }
        let chain = certificates
            .iter()
            .map(|certificate| certificate.der().clone())
            .collect();
        Ok(Self {
            leaf,
            certified: Arc::new(CertifiedKey::new(chain, signing_key)),
        })
    }

    /// The leaf.
    pub fn leaf(&self) -> &Certificate {
        &self.leaf
    }
}

/// The present credentials of a listener; the holder of the other end swaps them in without touching connections.
#[derive(Clone)]
pub struct SharedCredentials {
    present: Arc<ArcSwap<Credentials>>,
}

impl SharedCredentials {
    /// Begins with these.
    pub fn new(credentials: Credentials) -> Self {
        Self {
            present: Arc::new(ArcSwap::from_pointee(credentials)),
        }
    }

    /// New handshakes present these from now on.
    pub fn swap(&self, credentials: Credentials) {
        self.present.store(Arc::new(credentials));
    }

    /// What is presented now.
    pub fn leaf(&self) -> Certificate {
        self.present.load().leaf.clone()
    }
}

impl fmt::Debug for SharedCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "SharedCredentials({})",
            self.present.load().leaf.subject()
        )
    }
}

impl ResolvesServerCert for SharedCredentials {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.present.load().certified))
    }
}

impl ResolvesClientCert for SharedCredentials {
    /// Whatever CAs the server names: there is one certificate, and a server that dislikes it says why.
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.present.load().certified))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Why files are no credentials.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
#[non_exhaustive]
pub struct InvalidCredentials {
    /// The cause of CAUSES.md.
    pub cause: Cause,
    /// In words.
    pub why: String,
}

fn blocks(file: &[u8], what: &str) -> Result<Vec<Block>, InvalidCredentials> {
    if file.is_empty() {
        return Err(invalid(
            Cause::FileMissing,
            format!("the {what} file is empty"),
        ));
    }
    pem::decode_all(file).map_err(|fault| {
        let cause = match fault {
            InvalidPem::Encoding => Cause::FileEncoding,
            InvalidPem::Glued => Cause::PemGlued,
            // RFC 1421 §4.6.1.1: how OpenSSL marked encrypted keys before PKCS#8.
            _ if contains(file, b"Proc-Type: 4,ENCRYPTED") => Cause::KeyEncrypted,
            _ => Cause::FileNotPem,
        };
        invalid(cause, format!("the {what} file cannot be read: {fault}"))
    })
}

fn certificates(chain: &[Block], key: &[Block]) -> Result<Vec<Certificate>, InvalidCredentials> {
    let certificates: Vec<_> = chain
        .iter()
        .filter(|block| CERTIFICATE_LABELS.contains(&block.label.as_str()))
        .map(|block| Certificate::parse(&block.der))
        .collect::<Result<_, _>>()
        .map_err(|malformed| invalid(Cause::MalformedCertificate, malformed.to_string()))?;
    if !certificates.is_empty() {
        return Ok(certificates);
    }
    let has = |blocks: &[Block], part: &str| blocks.iter().any(|block| block.label.contains(part));
    Err(if has(chain, "PRIVATE KEY") && has(key, "CERTIFICATE") {
        invalid(
            Cause::FilesSwapped,
            "the certificate file holds the key and the key file the certificate",
        )
    } else if has(chain, "CERTIFICATE REQUEST") {
        invalid(
            Cause::FileIsCsr,
            "the certificate file holds a certificate request",
        )
    } else {
        invalid(
            Cause::FileNotPem,
            "the certificate file holds no certificate",
        )
    })
}

fn private_key(blocks: &[Block]) -> Result<PrivateKeyDer<'static>, InvalidCredentials> {
    let found = blocks.iter().find_map(|block| {
        let der = || block.der.clone();
        match block.label.as_str() {
            "PRIVATE KEY" => Some(Ok(PrivatePkcs8KeyDer::from(der()).into())),
            "RSA PRIVATE KEY" => Some(Ok(PrivatePkcs1KeyDer::from(der()).into())),
            "EC PRIVATE KEY" => Some(Ok(PrivateSec1KeyDer::from(der()).into())),
            "ENCRYPTED PRIVATE KEY" => Some(Err(invalid(
                Cause::KeyEncrypted,
                "the key is encrypted and no passphrase is known",
            ))),
            _ => None,
        }
    });
    found.unwrap_or_else(|| {
        let holds_certificate = blocks
            .iter()
            .any(|block| CERTIFICATE_LABELS.contains(&block.label.as_str()));
        Err(if holds_certificate {
            invalid(
                Cause::FilesSwapped,
                "the key file holds a certificate and no private key",
            )
        } else {
            invalid(Cause::FileNotPem, "the key file holds no private key")
        })
    })
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

fn invalid(cause: Cause, why: impl Into<String>) -> InvalidCredentials {
    InvalidCredentials {
        cause,
        why: why.into(),
    }
}

/// RFC 7468 §5.1 and the two that old software writes.
const CERTIFICATE_LABELS: [&str; 3] = ["CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE"];
