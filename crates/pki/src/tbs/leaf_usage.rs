//! What a leaf's key may be used for, where a profile says more than which side of TLS it plays.

use std::fmt;

use const_oid::ObjectIdentifier;

use crate::certificate::id;

/// keyUsage and extendedKeyUsage of a leaf. digitalSignature is always among them, and nothing that makes a CA can be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "bits and purposes of RFC 5280, by their names"
)]
pub struct LeafUsage {
    /// id-kp-serverAuth.
    pub server_auth: bool,
    /// id-kp-clientAuth.
    pub client_auth: bool,
    /// Further purposes, in this order.
    pub further: Vec<KeyPurpose>,
    /// contentCommitment, nonRepudiation of old.
    pub content_commitment: bool,
    /// keyEncipherment: for RSA keys.
    pub key_encipherment: bool,
    /// keyAgreement: for keys on the NIST curves.
    pub key_agreement: bool,
}

/// A purpose of extendedKeyUsage that means nothing to us.
///
/// Invariant: neither one of TLS, which the kind of a certificate decides, nor one that speaks for the issuer or for everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyPurpose(ObjectIdentifier);

impl KeyPurpose {
    /// `oid` is dotted.
    pub fn parse(oid: &str) -> Result<Self, InvalidPurpose> {
        let parsed = ObjectIdentifier::new(oid).map_err(|_| InvalidPurpose::Oid)?;
        match TAKEN.iter().find(|(taken, _)| *taken == parsed) {
            Some((_, name)) => Err(InvalidPurpose::Taken { name }),
            None => Ok(Self(parsed)),
        }
    }

    pub(super) fn oid(&self) -> ObjectIdentifier {
        self.0
    }
}

impl fmt::Display for KeyPurpose {
    /// Dotted.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a text is no further purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidPurpose {
    /// It is no OID.
    #[error("it is no dotted object identifier")]
    Oid,
    /// Not for a profile to give.
    #[error("{name} is not for a profile to give by its OID")]
    Taken {
        /// Which.
        name: &'static str,
    },
}

const TAKEN: [(ObjectIdentifier, &str); 4] = [
    (id::SERVER_AUTH, "serverAuth"),
    (id::CLIENT_AUTH, "clientAuth"),
    (id::OCSP_SIGNING, "OCSPSigning"),
    (id::ANY_EXTENDED_KEY_USAGE, "anyExtendedKeyUsage"),
];
