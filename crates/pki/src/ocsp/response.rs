//! Responses: the bytes to sign, and their completion.

use der::Tag;

use super::{BASIC, CertId, CertIdHash, NONCE, Nonce, key_bits};
use crate::asn1;
use crate::certificate::Certificate;
use crate::feed::RevocationReason;
use crate::tbs::SignatureAlgorithm;
use crate::time::UnixTime;

/// What a response shall say.
#[derive(Clone, Debug)]
pub struct OcspResponseTemplate {
    /// producedAt: when it is signed.
    pub produced_at: UnixTime,
    /// thisUpdate of every answer: when the statuses were known to be right.
    pub this_update: UnixTime,
    /// nextUpdate of every answer, always there: until when a client may rely on them (RFC 5019 §2.2.4).
    pub next_update: UnixTime,
    /// One for each question.
    pub answers: Vec<(CertId, CertStatus)>,
    /// The request's.
    pub nonce: Option<Nonce>,
}

/// What is said of a certificate (RFC 6960 §2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertStatus {
    /// Not revoked.
    Good,
    /// Suspended: revoked for certificateHold, which may end.
    OnHold {
        /// Since when.
        since: UnixTime,
    },
    /// No longer good.
    Revoked {
        /// Since when.
        revoked_at: UnixTime,
        /// Why; `Unspecified` is left out.
        reason: RevocationReason,
    },
    /// Not of an issuer that the responder speaks for.
    Unknown,
}

/// Whose key signs a response (RFC 6960 §4.2.2.2).
#[derive(Clone, Copy, Debug)]
pub struct Responder<'a> {
    certificate: &'a Certificate,
    delegated: bool,
}

/// The exact bytes to sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OcspResponseToBeSigned {
    der: Vec<u8>,
    algorithm: SignatureAlgorithm,
    /// The responder's, where clients do not have it.
    certificate: Option<Vec<u8>>,
}

impl<'a> Responder<'a> {
    /// The issuer of the certificates itself.
    pub fn issuer(certificate: &'a Certificate) -> Result<Self, OcspResponseFault> {
        if !certificate.is_ca() {
            return Err(OcspResponseFault::NotAnIssuer {
                subject: certificate.subject().to_string(),
            });
        }
        Ok(Self {
            certificate,
            delegated: false,
        })
    }

    /// One that the issuer of the certificates certified for this itself, as with
    /// [`Usage::OcspResponder`](crate::tbs::Usage::OcspResponder); its certificate goes along.
    pub fn delegated(certificate: &'a Certificate) -> Result<Self, OcspResponseFault> {
        let may_sign = certificate
            .extended_key_usage()
            .is_some_and(|usage| usage.ocsp_signing);
        if !may_sign {
            return Err(OcspResponseFault::NotAResponder {
                subject: certificate.subject().to_string(),
            });
        }
        Ok(Self {
            certificate,
            delegated: true,
        })
    }
}

impl OcspResponseTemplate {
    /// Encodes with the responder's key as its name (byKey) and the nonce, if there is one.
    pub fn to_be_signed(
        &self,
        responder: Responder<'_>,
        algorithm: SignatureAlgorithm,
    ) -> Result<OcspResponseToBeSigned, OcspResponseFault> {
        self.check(responder)?;
        // RFC 6960 §4.2.1: always SHA-1.
        let key_hash = CertIdHash::Sha1.digest(key_bits(responder.certificate));
        let answers: Vec<Vec<u8>> = self
            .answers
            .iter()
            .map(|(id, status)| self.answer(id, *status))
            .collect();
        let extensions = self.nonce.as_ref().map_or_else(Vec::new, |nonce| {
            let value = asn1::tlv(Tag::OctetString, nonce.as_bytes());
            let list = asn1::sequence(&[asn1::extension(NONCE, false, &value)]);
            asn1::tlv(asn1::constructed(1), &list)
        });
        let der = asn1::sequence(&[
            asn1::tlv(
                asn1::constructed(2),
                &asn1::tlv(Tag::OctetString, &key_hash),
            ),
            asn1::generalized_time(self.produced_at),
            asn1::sequence(&answers),
            extensions,
        ]);
        Ok(OcspResponseToBeSigned {
            der,
            algorithm,
            certificate: responder
                .delegated
                .then(|| responder.certificate.der().to_vec()),
        })
    }

    fn check(&self, responder: Responder<'_>) -> Result<(), OcspResponseFault> {
        if self.answers.is_empty() {
            return Err(OcspResponseFault::NoAnswer);
        }
        if self.this_update > self.produced_at || self.produced_at >= self.next_update {
            return Err(OcspResponseFault::Times {
                this_update: self.this_update,
                produced_at: self.produced_at,
                next_update: self.next_update,
            });
        }
        let (begin, end) = (
            responder.certificate.not_before(),
            responder.certificate.not_after(),
        );
        // A client that still holds the response then finds no valid certificate above it.
        if self.produced_at < begin || self.next_update > end {
            return Err(OcspResponseFault::OutlivesResponder {
                produced_at: self.produced_at,
                next_update: self.next_update,
                not_before: begin,
                not_after: end,
            });
        }
        Ok(())
    }

    /// `SingleResponse` (RFC 6960 §4.2.1).
    fn answer(&self, id: &CertId, status: CertStatus) -> Vec<u8> {
        asn1::sequence(&[
            id.der().to_vec(),
            status.encode(),
            asn1::generalized_time(self.this_update),
            asn1::tlv(
                asn1::constructed(0),
                &asn1::generalized_time(self.next_update),
            ),
        ])
    }
}

impl CertStatus {
    fn encode(self) -> Vec<u8> {
        let revoked = |since: UnixTime, code: Option<u8>| {
            let reason = code.map_or_else(Vec::new, |code| {
                asn1::tlv(asn1::constructed(0), &asn1::tlv(Tag::Enumerated, &[code]))
            });
            let info = asn1::concatenate(&[asn1::generalized_time(since), reason]);
            asn1::tlv(asn1::constructed(1), &info)
        };
        match self {
            Self::Good => asn1::tlv(asn1::primitive(0), &[]),
            Self::OnHold { since } => revoked(since, Some(CERTIFICATE_HOLD)),
            // RFC 5280 §5.3.1: reasonCode should be absent instead of unspecified.
            Self::Revoked {
                revoked_at,
                reason: RevocationReason::Unspecified,
            } => revoked(revoked_at, None),
            Self::Revoked { revoked_at, reason } => revoked(revoked_at, Some(reason.code())),
            Self::Unknown => asn1::tlv(asn1::primitive(2), &[]),
        }
    }
}

impl OcspResponseToBeSigned {
    /// The DER of `ResponseData`.
    pub fn bytes(&self) -> &[u8] {
        &self.der
    }

    /// With what.
    pub fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }

    /// The `OCSPResponse` in DER, status successful.
    pub fn complete(&self, signature: &[u8]) -> Vec<u8> {
        let certificates = self.certificate.as_ref().map_or_else(Vec::new, |der| {
            asn1::tlv(asn1::constructed(0), &asn1::sequence(&[der]))
        });
        let basic = asn1::sequence(&[
            self.der.clone(),
            self.algorithm.identifier(),
            asn1::bit_string(signature),
            certificates,
        ]);
        let bytes = asn1::sequence(&[asn1::oid(BASIC), asn1::tlv(Tag::OctetString, &basic)]);
        asn1::sequence(&[
            asn1::tlv(Tag::Enumerated, &[0]),
            asn1::tlv(asn1::constructed(0), &bytes),
        ])
    }
}

/// Why a response is not encoded; the answer is [`super::INTERNAL_ERROR`] then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OcspResponseFault {
    /// A response answers something.
    #[error("an OCSP response needs an answer")]
    NoAnswer,
    /// The issuer of certificates is a CA.
    #[error("{subject} is not a CA, so it cannot answer for what it issued")]
    NotAnIssuer {
        /// Who.
        subject: String,
    },
    /// RFC 6960 §4.2.2.2.
    #[error("the certificate of {subject} lacks OCSPSigning, so clients refuse what it signs")]
    NotAResponder {
        /// Who.
        subject: String,
    },
    /// The signature would have no valid certificate above it for a part of its life.
    #[error(
        "a response produced at {produced_at} and good until {next_update} is outside the responder's certificate (not_before {not_before}, not_after {not_after})"
    )]
    OutlivesResponder {
        /// When it is made.
        produced_at: UnixTime,
        /// When it ends.
        next_update: UnixTime,
        /// The responder's beginning.
        not_before: UnixTime,
        /// The responder's end.
        not_after: UnixTime,
    },
    /// thisUpdate ≤ producedAt < nextUpdate (RFC 6960 §2.4).
    #[error(
        "the times of a response are out of order (this_update {this_update}, produced_at {produced_at}, next_update {next_update})"
    )]
    Times {
        /// Since when the statuses are known.
        this_update: UnixTime,
        /// When it is made.
        produced_at: UnixTime,
        /// When it ends.
        next_update: UnixTime,
    },
}

impl OcspResponseFault {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NoAnswer => "give a status for each certificate of the request",
            Self::NotAnIssuer { .. } | Self::NotAResponder { .. } => {
                "sign with the issuer's key, or with one whose certificate has the usage OCSPSigning"
            }
            Self::OutlivesResponder { .. } => {
                "renew the responder's certificate before its end is nearer than nextUpdate"
            }
            Self::Times { .. } => {
                "check the clock of the responder and the life given to responses"
            }
        }
    }
}

/// RFC 5280 §5.3.1.
const CERTIFICATE_HOLD: u8 = 6;
