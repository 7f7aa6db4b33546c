//! PKCS#12 (RFC 7292): a private key with its certificates, or certificates to trust, in one file under a password.
//!
//! What is written is what browsers, Windows 10, macOS, Java 8u301, NSS and OpenSSL 3 import: PBES2 with AES-256-CBC under
//! PBKDF2 and HMAC-SHA-256, around the certificates and around the key, and an HMAC-SHA-256 over all of it. The MAC's key
//! comes from PKCS#12's own derivation: PBMAC1 (RFC 9579), which is better, is read by OpenSSL from 3.4 and Java from 26
//! only. It is read here. A truststore's certificates carry the attribute without which Java would not trust them.
//!
//! What is read is DER without nesting; RC2, DES and public-key protection are named and refused. Everything that a file
//! may claim is bounded: its size, its parts, the rounds of key derivation.

mod decode;
mod encode;
mod mac;

use std::fmt;

use const_oid::ObjectIdentifier;
use zeroize::Zeroizing;

pub use self::encode::{RANDOM_BYTES, identity, trust_store};
use crate::certificate::Certificate;
use crate::password::Password;
use crate::pbes2::{Budget, Locked};

/// What a file holds.
#[derive(Debug)]
pub struct Contents {
    /// Private keys, in order.
    pub keys: Vec<Key>,
    /// Certificates, in order.
    pub certificates: Vec<Entry>,
    /// Whether, and how, the file shows that nobody changed it who does not know the password.
    pub integrity: Integrity,
}

/// A private key.
pub struct Key {
    /// PKCS#8 in DER.
    pub pkcs8: Zeroizing<Vec<u8>>,
    /// The alias.
    pub friendly_name: Option<String>,
    /// What ties it to its certificate.
    pub local_key_id: Option<Vec<u8>>,
}

/// A certificate.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Itself.
    pub certificate: Certificate,
    /// The alias.
    pub friendly_name: Option<String>,
    /// What ties it to its key.
    pub local_key_id: Option<Vec<u8>>,
    /// Java takes it as an anchor.
    pub is_trusted: bool,
}

/// How a file shows that it is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Integrity {
    /// It does not.
    Absent,
    /// An HMAC, its key by PKCS#12's own derivation.
    Hmac {
        /// With this digest.
        digest: &'static str,
        /// And so many rounds.
        iterations: u64,
    },
    /// PBMAC1 (RFC 9579).
    Pbmac1,
}

impl Contents {
    /// Reads a file, of at most 1 MiB.
    pub fn open(der: &[u8], password: &Password) -> Result<Self, Locked> {
        decode::open(der, password, &mut Budget::new())
    }

    /// The same, where it is not the first try.
    pub(crate) fn open_within(
        der: &[u8],
        password: &Password,
        budget: &mut Budget,
    ) -> Result<Self, Locked> {
        decode::open(der, password, budget)
    }

    /// Whether bytes look like such a file: a SEQUENCE that begins with the version 3.
    pub fn is_one(der: &[u8]) -> bool {
        decode::is_one(der)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key(…, {:?})", self.friendly_name)
    }
}

impl fmt::Display for Integrity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("none"),
            Self::Hmac { digest, iterations } => {
                write!(f, "HMAC-{digest}, {iterations} iterations")
            }
            Self::Pbmac1 => f.write_str("PBMAC1"),
        }
    }
}

const fn oid(text: &str) -> ObjectIdentifier {
    ObjectIdentifier::new_unwrap(text)
}

// RFC 5652 §4, RFC 7292 §4.2 and §D, RFC 2985 §5.5.
const DATA: ObjectIdentifier = oid("1.2.840.113549.1.7.1");
const SIGNED_DATA: ObjectIdentifier = oid("1.2.840.113549.1.7.2");
const ENVELOPED_DATA: ObjectIdentifier = oid("1.2.840.113549.1.7.3");
const ENCRYPTED_DATA: ObjectIdentifier = oid("1.2.840.113549.1.7.6");
const KEY_BAG: ObjectIdentifier = oid("1.2.840.113549.1.12.10.1.1");
const SHROUDED_KEY_BAG: ObjectIdentifier = oid("1.2.840.113549.1.12.10.1.2");
const CERTIFICATE_BAG: ObjectIdentifier = oid("1.2.840.113549.1.12.10.1.3");
const CRL_BAG: ObjectIdentifier = oid("1.2.840.113549.1.12.10.1.4");
const SECRET_BAG: ObjectIdentifier = oid("1.2.840.113549.1.12.10.1.5");
const NESTED_BAG: ObjectIdentifier = oid("1.2.840.113549.1.12.10.1.6");
const X509_CERTIFICATE: ObjectIdentifier = oid("1.2.840.113549.1.9.22.1");
const FRIENDLY_NAME: ObjectIdentifier = oid("1.2.840.113549.1.9.20");
const LOCAL_KEY_ID: ObjectIdentifier = oid("1.2.840.113549.1.9.21");
/// Oracle's attribute of a trusted certificate; its value is the key purposes, of which anyExtendedKeyUsage stands for all.
const TRUSTED_KEY_USAGE: ObjectIdentifier = oid("2.16.840.1.113894.746875.1.1");
const ANY_EXTENDED_KEY_USAGE: ObjectIdentifier = oid("2.5.29.37.0");
