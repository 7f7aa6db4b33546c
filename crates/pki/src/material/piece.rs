//! The pieces of a file.

use std::fmt;

use zeroize::Zeroizing;

use crate::certificate::{Certificate, Flaw, KeyAlgorithm};
use crate::crl::ParsedCrl;
use crate::fingerprint::Fingerprint;
use crate::private_key::{PublicHalf, public_half};
use crate::request::CertificateRequest;

/// A certificate, or what should be one.
#[derive(Clone, Debug)]
pub struct CertificatePiece {
    /// Which piece of its file, from 1.
    pub place: usize,
    /// The bytes.
    pub der: Vec<u8>,
    /// It, as far as it can be read, and what is wrong with it; else why it cannot be read.
    pub read: Result<(Certificate, Option<Flaw>), String>,
    /// Its alias in a keystore.
    pub alias: Option<String>,
    /// A keystore or a `TRUSTED CERTIFICATE` block names it as an anchor.
    pub is_trusted: bool,
}

impl CertificatePiece {
    /// Decodes what it can.
    pub fn new(place: usize, der: Vec<u8>) -> Self {
        Self {
            place,
            read: Certificate::parse_as_evidence(&der).map_err(|error| error.why),
            der,
            alias: None,
            is_trusted: false,
        }
    }

    /// It, as far as it can be read.
    pub fn certificate(&self) -> Option<&Certificate> {
        self.read.as_ref().ok().map(|(certificate, _)| certificate)
    }

    /// What is wrong with it, where the rest can be read.
    pub fn flaw(&self) -> Option<&Flaw> {
        self.read.as_ref().ok().and_then(|(_, flaw)| flaw.as_ref())
    }
}

/// A private key. Never printed.
pub struct KeyPiece {
    /// Which piece of its file, from 1.
    pub place: usize,
    /// How it is written.
    pub format: KeyFormat,
    /// Whether it could be opened.
    pub lock: Lock,
    /// Its kind, where known.
    pub algorithm: Option<KeyAlgorithm>,
    /// SHA-256 of its public half's `SubjectPublicKeyInfo`, where known.
    pub spki: Option<Fingerprint>,
    /// Its alias in a keystore.
    pub alias: Option<String>,
    was_sealed: bool,
    pkcs8: Option<Zeroizing<Vec<u8>>>,
}

impl KeyPiece {
    /// A key that lies open, in DER. `None`: it is none.
    pub(super) fn open(place: usize, format: KeyFormat, der: &[u8]) -> Option<Self> {
        let half = public_half(der)?;
        let spki_der = match &half {
            PublicHalf::Known(spki) => Some(spki),
            PublicHalf::NotTold => None,
        };
        Some(Self {
            place,
            format,
            lock: Lock::Open,
            algorithm: spki_der.and_then(|spki| KeyAlgorithm::of(spki)),
            spki: spki_der.map(|spki| Fingerprint::of(spki)),
            alias: None,
            was_sealed: false,
            pkcs8: Some(Zeroizing::new(der.to_vec())),
        })
    }

    /// Whether it lies encrypted in its file, opened here or not.
    pub fn is_encrypted(&self) -> bool {
        let is_shut = matches!(
            self.lock,
            Lock::NeedsPassword | Lock::Unread { .. } | Lock::WrongPassword
        );
        self.was_sealed || is_shut
    }

    /// The same, taken out of an encryption of its own.
    pub(super) fn unsealed(self) -> Self {
        Self {
            was_sealed: true,
            ..self
        }
    }

    /// One that is shut.
    pub(super) fn shut(place: usize, format: KeyFormat, lock: Lock) -> Self {
        Self {
            place,
            format,
            lock,
            algorithm: None,
            spki: None,
            alias: None,
            was_sealed: false,
            pkcs8: None,
        }
    }

    /// The key itself in DER (PKCS#8, SEC 1 or PKCS#1), for whoever has to use it.
    pub fn pkcs8(&self) -> Option<&[u8]> {
        self.pkcs8.as_ref().map(|bytes| bytes.as_slice())
    }
}

impl fmt::Debug for KeyPiece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "KeyPiece({}, {:?}, {:?})",
            self.place, self.format, self.lock
        )
    }
}

/// How a key is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyFormat {
    /// In a Java keystore.
    Jks,
    /// OpenSSH's own, which nothing in TLS reads.
    OpenSsh,
    /// RFC 8017 §A.1.2.
    Pkcs1,
    /// In a PKCS#12 file.
    Pkcs12,
    /// RFC 5958.
    Pkcs8,
    /// RFC 5915.
    Sec1,
}

impl KeyFormat {
    /// As in a sentence.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Jks => "JKS",
            Self::OpenSsh => "OpenSSH",
            Self::Pkcs1 => "PKCS#1",
            Self::Pkcs12 => "PKCS#12",
            Self::Pkcs8 => "PKCS#8",
            Self::Sec1 => "SEC 1",
        }
    }
}

/// Whether something that may be encrypted could be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lock {
    /// It is encrypted, and no password was given.
    NeedsPassword,
    /// It lies open, or a password opened it.
    Open,
    /// It is encrypted by a scheme that is not read here.
    Unread {
        /// Which.
        scheme: String,
        /// One of the old ones that current libraries refuse in PKCS#12 (RC2, RC4, triple DES under SHA-1).
        is_legacy: bool,
    },
    /// It cannot be read at all.
    Unreadable {
        /// Why.
        why: String,
    },
    /// No password that was given opens it.
    WrongPassword,
}

/// A certificate request.
#[derive(Debug)]
pub struct RequestPiece {
    /// Which piece of its file, from 1.
    pub place: usize,
    /// It, or why it is not readable.
    pub request: Result<CertificateRequest, String>,
}

/// A CRL.
#[derive(Clone, Debug)]
pub struct CrlPiece {
    /// Which piece of its file, from 1.
    pub place: usize,
    /// The bytes.
    pub der: Vec<u8>,
    /// It, or why it is not readable.
    pub list: Result<ParsedCrl, String>,
}

/// Anything else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherPiece {
    /// Which piece of its file, from 1.
    pub place: usize,
    /// What its BEGIN line says, or what it was recognised as.
    pub label: String,
    /// The kind of a public key, where known.
    pub algorithm: Option<KeyAlgorithm>,
    /// SHA-256 of it where it is a public key.
    pub spki: Option<Fingerprint>,
}
