//! The Online Certificate Status Protocol (RFC 6960, with the profile of RFC 5019 and the nonces of RFC 9654), both halves. A
//! responder's: requests are decoded, responses built in two halves like certificates, so that the key stays with its signer; which
//! status a certificate has is the caller's to know. A client's: an [`OcspQuestion`] judges its answer, and [`OcspStanding`] says
//! what follows.
//!
//! What a peer may grow has a bound: [`MAX_REQUEST_BYTES`], [`MAX_GET_BYTES`], [`MAX_QUESTIONS`], [`MAX_NONCE_OCTETS`],
//! [`MAX_RESPONSE_BYTES`].

mod answer;
mod question;
mod request;
mod response;
mod standing;

use aws_lc_rs::digest;
use const_oid::ObjectIdentifier;
use der::Tag;

use crate::asn1::{self, Malformed, Tlv};
use crate::certificate::{Certificate, PublicKey};
use crate::serial::SerialNumber;

pub use question::{
    AnswerRules, MAX_RESPONSE_BYTES, OcspAnswer, OcspQuestion, OcspRefused, OcspStatus,
    QUESTION_NONCE_OCTETS,
};
pub use request::{
    InvalidOcspRequest, MAX_GET_BYTES, MAX_NONCE_OCTETS, MAX_QUESTIONS, MAX_REQUEST_BYTES, Nonce,
    OcspRequest,
};
pub use response::{
    CertStatus, OcspResponseFault, OcspResponseTemplate, OcspResponseToBeSigned, Responder,
};
pub use standing::{OcspFault, OcspStanding};

/// The answer to a request that is refused by [`OcspRequest::parse`] (RFC 6960 §4.2.1).
pub const MALFORMED_REQUEST: [u8; 5] = error_response(1);
/// The responder is broken.
pub const INTERNAL_ERROR: [u8; 5] = error_response(2);
/// The responder cannot answer now, but will.
pub const TRY_LATER: [u8; 5] = error_response(3);
/// The responder speaks for none of the issuers that are asked about (RFC 5019 §2.2.3).
pub const UNAUTHORIZED: [u8; 5] = error_response(6);

/// Names one certificate: by its issuer's hashes and its serial number (RFC 6960 §4.1.1).
///
/// A response repeats it byte for byte, whatever it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertId {
    der: Vec<u8>,
    hash: Option<CertIdHash>,
    issuer_name_hash: Vec<u8>,
    issuer_key_hash: Vec<u8>,
    serial: Option<SerialNumber>,
}

/// What a [`CertId`] is hashed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertIdHash {
    /// Only finds the issuer and proves nothing, so its weakness does no harm; RFC 5019 §2.1.1 demands it.
    Sha1,
    /// What newer clients may send, such as `openssl ocsp -sha256`.
    Sha256,
}

/// What a [`CertId`] of an issuer holds, hashed once for all requests.
#[derive(Clone, Debug)]
pub struct IssuerHashes {
    sha1: NameAndKey,
    sha256: NameAndKey,
}

#[derive(Clone, Debug)]
struct NameAndKey {
    name: Vec<u8>,
    key: Vec<u8>,
}

impl CertId {
    /// For responses that are made before anybody asks.
    pub fn of(issuer: &IssuerHashes, serial: SerialNumber, hash: CertIdHash) -> Self {
        let NameAndKey { name, key } = issuer.by(hash).clone();
        // RFC 5754 §2: with NULL parameters, as every client writes them.
        let algorithm = asn1::sequence(&[asn1::oid(hash.identifier()), asn1::tlv(Tag::Null, &[])]);
        let der = asn1::sequence(&[
            algorithm,
            asn1::tlv(Tag::OctetString, &name),
            asn1::tlv(Tag::OctetString, &key),
            asn1::tlv(Tag::Integer, &serial.to_der_integer()),
        ]);
        Self {
            der,
            hash: Some(hash),
            issuer_name_hash: name,
            issuer_key_hash: key,
            serial: Some(serial),
        }
    }

    /// The bytes.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// `None`: one that no issuer is found by, whose certificate is therefore [`CertStatus::Unknown`].
    pub fn hash(&self) -> Option<CertIdHash> {
        self.hash
    }

    /// `None`: an integer that no certificate has as its serial number (zero, negative, over 20 octets).
    pub fn serial(&self) -> Option<SerialNumber> {
        self.serial
    }

    fn decode(id: &Tlv<'_>) -> Result<Self, Malformed> {
        let mut fields = id.cursor();
        let mut algorithm = fields.expect(Tag::Sequence, "the hash algorithm")?.cursor();
        let hash = algorithm
            .expect(Tag::ObjectIdentifier, "the hash algorithm")?
            .oid("the hash algorithm")?;
        let hash = CertIdHash::ALL
            .into_iter()
            .find(|known| known.identifier().as_bytes() == hash.as_bytes());
        if !algorithm.is_at_end() {
            algorithm.any("the hash algorithm's parameters")?;
        }
        algorithm.finish("the hash algorithm")?;
        let issuer_name_hash = fields.expect(Tag::OctetString, "issuerNameHash")?;
        let issuer_key_hash = fields.expect(Tag::OctetString, "issuerKeyHash")?;
        let serial = fields
            .expect(Tag::Integer, "the serial number")?
            .integer("the serial number")?;
        fields.finish("the serial number")?;
        Ok(Self {
            der: id.whole.to_vec(),
            hash,
            issuer_name_hash: issuer_name_hash.content.to_vec(),
            issuer_key_hash: issuer_key_hash.content.to_vec(),
            serial: SerialNumber::from_der_integer(serial).ok(),
        })
    }
}

impl IssuerHashes {
    /// Of the certificate that issues; one renewed with the same name and key has the same.
    pub fn of(issuer: &Certificate) -> Self {
        let key = key_bits(issuer);
        let hashed = |hash: CertIdHash| NameAndKey {
            name: hash.digest(issuer.subject_der()),
            key: hash.digest(key),
        };
        Self {
            sha1: hashed(CertIdHash::Sha1),
            sha256: hashed(CertIdHash::Sha256),
        }
    }

    /// Whether `id` is about a certificate of this issuer; name and key must both be its own.
    pub fn issued(&self, id: &CertId) -> bool {
        id.hash.is_some_and(|hash| {
            let own = self.by(hash);
            own.name == id.issuer_name_hash && own.key == id.issuer_key_hash
        })
    }

    fn by(&self, hash: CertIdHash) -> &NameAndKey {
        match hash {
            CertIdHash::Sha1 => &self.sha1,
            CertIdHash::Sha256 => &self.sha256,
        }
    }
}

impl CertIdHash {
    const ALL: [Self; 2] = [Self::Sha1, Self::Sha256];

    fn identifier(self) -> ObjectIdentifier {
        match self {
            Self::Sha1 => ObjectIdentifier::new_unwrap("1.3.14.3.2.26"),
            Self::Sha256 => ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1"),
        }
    }

    fn digest(self, bytes: &[u8]) -> Vec<u8> {
        let algorithm = match self {
            Self::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => &digest::SHA256,
        };
        digest::digest(algorithm, bytes).as_ref().to_vec()
    }
}

/// The subjectPublicKey without tag, length and unused bits, which is what OCSP hashes (RFC 6960 §4.1.1, §4.2.1).
fn key_bits(certificate: &Certificate) -> &[u8] {
    PublicKey::from_der(certificate.spki_der())
        .expect("a parsed certificate holds a SubjectPublicKeyInfo")
        .bits
}

/// `OCSPResponse` with a responseStatus and no more.
const fn error_response(status: u8) -> [u8; 5] {
    [0x30, 3, 0x0a, 1, status]
}

/// id-pkix-ocsp-nonce (RFC 9654 §2.1).
const NONCE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1.2");

/// id-pkix-ocsp-basic (RFC 6960 §4.2.1).
const BASIC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1.1");
