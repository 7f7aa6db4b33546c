//! The client's half: a question, and whether what comes back answers it.

use std::time::Duration;

use der::Tag;

use super::answer::{Outline, Response, Single, Status};
use super::{CertId, CertIdHash, IssuerHashes, NONCE};
use crate::asn1::{self, Malformed};
use crate::certificate::Certificate;
use crate::revocation::Revocation;
use crate::serial::SerialNumber;
use crate::time::UnixTime;

/// One certificate's question, made to be asked once: its nonce is in no other.
#[derive(Clone, Debug)]
pub struct OcspQuestion {
    issuer: Certificate,
    hashes: IssuerHashes,
    serial: SerialNumber,
    /// `None`: nobody asks; somebody else did.
    nonce: Option<[u8; QUESTION_NONCE_OCTETS]>,
}

/// Whom an answer may come from, and how old it may be.
#[derive(Clone, Copy, Debug)]
pub struct AnswerRules<'a> {
    /// Responders that are named; empty: the issuer itself, and whom it certified for this.
    pub signers: &'a [Certificate],
    /// For how long an answer is good from when it came; one without nextUpdate, or without the nonce, from its thisUpdate.
    pub max_age: Duration,
}

/// What an answer says that can be relied on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OcspAnswer {
    /// Of the certificate.
    pub status: OcspStatus,
    /// When that was known to be right.
    pub this_update: UnixTime,
    /// The last second in which it says anything.
    pub until: UnixTime,
}

/// What a responder says of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OcspStatus {
    /// Not revoked.
    Good,
    /// Revoked, or on hold.
    Revoked(Revocation),
    /// The responder does not know it.
    Unknown,
}

impl OcspQuestion {
    /// Asks about the certificate of this serial that `issuer` signed. `nonce` is random.
    pub fn new(
        issuer: Certificate,
        serial: SerialNumber,
        nonce: [u8; QUESTION_NONCE_OCTETS],
    ) -> Self {
        Self {
            nonce: Some(nonce),
            ..Self::of_another(issuer, serial)
        }
    }

    /// The same question where another asked it, for whom the answer was made: a server that passes it on with its certificate.
    pub fn of_another(issuer: Certificate, serial: SerialNumber) -> Self {
        Self {
            hashes: IssuerHashes::of(&issuer),
            issuer,
            serial,
            nonce: None,
        }
    }

    /// The `OCSPRequest` in DER: one certificate by SHA-1, as every responder understands it (RFC 5019 §2.1.1), and the nonce
    /// (RFC 9654 §2.1) where it has one.
    pub fn der(&self) -> Vec<u8> {
        let id = CertId::of(&self.hashes, self.serial, CertIdHash::Sha1);
        let list = asn1::sequence(&[asn1::sequence(&[id.der()])]);
        let extensions = self.nonce.map(|nonce| {
            let nonce = asn1::tlv(Tag::OctetString, &nonce);
            let extensions = asn1::sequence(&[asn1::extension(NONCE, false, &nonce)]);
            asn1::tlv(asn1::constructed(2), &extensions)
        });
        asn1::sequence(&[asn1::sequence(&[list, extensions.unwrap_or_default()])])
    }

    /// Judges what came back. `is_revoked` says whether the issuer has revoked the certificate of this serial, as far as is known
    /// without asking: a responder's own is looked up by it.
    ///
    /// Accepted is an answer that a responder of `rules` signed (the issuer; one that the issuer itself certified for `OCSPSigning` and
    /// whose certificate is valid; one that is named), with a key and an algorithm that are not weak, about this certificate and no
    /// second time, that has begun (5 min of difference between clocks are allowed), is not over, and repeats the nonce or, made
    /// beforehand, has none. Without it an answer of before may be sent again by anybody: unless it says revoked, it counts for `max_age` from
    /// its thisUpdate.
    pub fn judge(
        &self,
        answer: &[u8],
        rules: &AnswerRules<'_>,
        is_revoked: impl Fn(SerialNumber) -> bool,
        now: UnixTime,
    ) -> Result<OcspAnswer, OcspRefused> {
        if answer.len() > MAX_RESPONSE_BYTES {
            return Err(OcspRefused::Malformed {
                why: format!("it has more than {MAX_RESPONSE_BYTES} bytes"),
            });
        }
        let outline = match Response::decode(answer)? {
            Response::Basic(outline) => outline,
            Response::Error(status) => return Err(OcspRefused::Status { status }),
        };
        self.check_signer(&outline, rules, is_revoked, now)?;
        let nonce = outline.nonce()?;
        let is_for_us = match (nonce, &self.nonce) {
            (Some(nonce), Some(ours)) if nonce != ours => return Err(OcspRefused::NonceMismatch),
            (Some(_), Some(_)) => true,
            _ => false,
        };
        let mut ours = outline.answers.iter().filter(|single| {
            self.hashes.issued(&single.id) && single.id.serial() == Some(self.serial)
        });
        let Some(single) = ours.next() else {
            return Err(OcspRefused::OtherCertificate {
                serial: self.serial,
            });
        };
        if ours.next().is_some() {
            return Err(OcspRefused::Malformed {
                why: "it answers twice for the certificate".to_owned(),
            });
        }
        let until = end(single, &outline, is_for_us, rules.max_age, now)?;
        Ok(OcspAnswer {
            status: match single.status {
                Status::Good => OcspStatus::Good,
                Status::Revoked(revocation) => OcspStatus::Revoked(revocation),
                Status::Unknown => OcspStatus::Unknown,
            },
            this_update: single.this_update,
            until,
        })
    }

    fn check_signer(
        &self,
        outline: &Outline<'_>,
        rules: &AnswerRules<'_>,
        is_revoked: impl Fn(SerialNumber) -> bool,
        now: UnixTime,
    ) -> Result<(), OcspRefused> {
        let stranger = |why: String| OcspRefused::WrongSigner { why };
        if !rules.signers.is_empty() {
            let mut named = rules.signers.iter().filter(|signer| outline.names(signer));
            let Some(signer) = named.find(|signer| outline.verify(signer).is_ok()) else {
                return Err(stranger("no responder that is named signed it".to_owned()));
            };
            return check_validity(signer, now).and_then(|()| check_strength(signer));
        }
        if outline.names(&self.issuer) {
            check_strength(&self.issuer)?;
            return outline.verify(&self.issuer).map_err(|Malformed(why)| {
                let signer = self.issuer.subject();
                OcspRefused::BadSignature {
                    why: format!("as one of {signer}: {why}"),
                }
            });
        }
        let mut refused = stranger(
            "it names a responder that is not the issuer, and brings no certificate of it"
                .to_owned(),
        );
        // A renewed responder may have several of the same name.
        for responder in (outline.certificates()).filter(|responder| outline.names(responder)) {
            match self.check_responder(&responder, outline, &is_revoked, now) {
                Ok(()) => return Ok(()),
                Err(why) => refused = why,
            }
        }
        Err(refused)
    }

    /// RFC 6960 §4.2.2.2: whom the issuer itself certified, not somebody below it.
    fn check_responder(
        &self,
        responder: &Certificate,
        outline: &Outline<'_>,
        is_revoked: impl Fn(SerialNumber) -> bool,
        now: UnixTime,
    ) -> Result<(), OcspRefused> {
        let stranger = |why: String| OcspRefused::WrongSigner { why };
        let subject = shown(responder);
        let is_certified = responder.issuer_der() == self.issuer.subject_der()
            && responder.verify_signature(&self.issuer).is_ok();
        if !is_certified {
            let issuer = self.issuer.subject();
            return Err(stranger(format!(
                "{issuer} did not sign the certificate of its responder {subject}"
            )));
        }
        let may_sign = responder
            .extended_key_usage()
            .is_some_and(|usage| usage.ocsp_signing)
            && (responder.key_usage()).is_none_or(|usage| usage.digital_signature);
        if !may_sign {
            return Err(stranger(format!(
                "{subject} may not sign answers: its certificate lacks OCSPSigning, or digitalSignature"
            )));
        }
        if let Some(oid) = responder.unknown_critical_extensions().first() {
            return Err(stranger(format!(
                "{subject} has the critical extension {oid}, which is not understood"
            )));
        }
        check_validity(responder, now)?;
        check_strength(responder)?;
        if is_revoked(responder.serial()) {
            return Err(stranger(format!("{subject} is revoked")));
        }
        outline
            .verify(responder)
            .map_err(|Malformed(why)| OcspRefused::BadSignature {
                why: format!("as one of {subject}: {why}"),
            })
    }
}

/// Whoever brings a certificate of its own may have any name.
fn shown(signer: &Certificate) -> String {
    let subject = signer.subject().to_string();
    subject.chars().take(MAX_SHOWN_CHARS).collect()
}

fn check_validity(signer: &Certificate, now: UnixTime) -> Result<(), OcspRefused> {
    if signer.not_before() <= now && now <= signer.not_after() {
        return Ok(());
    }
    let (subject, begin, end) = (shown(signer), signer.not_before(), signer.not_after());
    Err(OcspRefused::WrongSigner {
        why: format!(
            "the certificate of {subject} is not valid now (not_before {begin}, not_after {end}, now {now})"
        ),
    })
}

fn check_strength(signer: &Certificate) -> Result<(), OcspRefused> {
    match signer.weak_key() {
        Some(key) => Err(OcspRefused::WrongSigner {
            why: format!("the key of {} is weak ({key})", shown(signer)),
        }),
        None => Ok(()),
    }
}

/// Until when it is relied on, if it is now.
fn end(
    single: &Single,
    outline: &Outline<'_>,
    is_for_us: bool,
    max_age: Duration,
    now: UnixTime,
) -> Result<UnixTime, OcspRefused> {
    let Single {
        this_update,
        next_update,
        ..
    } = *single;
    // RFC 6960 §3.2, §4.2.2.1.
    for begin in [this_update, outline.produced_at] {
        if now.plus(SKEW) < begin {
            return Err(OcspRefused::NotYet {
                this_update: begin,
                now,
            });
        }
    }
    if next_update.is_some_and(|end| end < this_update) {
        return Err(OcspRefused::Malformed {
            why: "its nextUpdate lies before its thisUpdate".to_owned(),
        });
    }
    let aged = this_update.plus(max_age);
    let mut end = next_update.unwrap_or(aged);
    if !is_for_us && !matches!(single.status, Status::Revoked(_)) {
        end = end.min(aged);
    }
    if end < now {
        return Err(OcspRefused::Stale {
            this_update,
            end,
            now,
        });
    }
    Ok(end.min(now.plus(max_age)))
}

/// Why an answer is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OcspRefused {
    /// Whom it names did not sign it, or with an algorithm that is not accepted.
    #[error("the answer's signature does not verify {why}")]
    BadSignature {
        /// As whose, and why.
        why: String,
    },
    /// Not as RFC 6960 has it.
    #[error("the answer is malformed: {why}")]
    Malformed {
        /// What is wrong, in words.
        why: String,
    },
    /// It answers another question.
    #[error("the answer repeats another nonce than was sent: it was made for somebody else")]
    NonceMismatch,
    /// It begins later.
    #[error("the answer begins later (this_update {this_update}, now {now})")]
    NotYet {
        /// thisUpdate, or producedAt.
        this_update: UnixTime,
        /// When it came.
        now: UnixTime,
    },
    /// It speaks of others.
    #[error("the answer says nothing of the certificate with the serial {serial} of this issuer")]
    OtherCertificate {
        /// Which was asked about.
        serial: SerialNumber,
    },
    /// It is over.
    #[error("the answer is over (this_update {this_update}, ended {end}, now {now})")]
    Stale {
        /// thisUpdate.
        this_update: UnixTime,
        /// nextUpdate; without one, or without the nonce, as long after thisUpdate as answers are relied on.
        end: UnixTime,
        /// When it came.
        now: UnixTime,
    },
    /// The responder gives none.
    #[error("the responder says {status}")]
    Status {
        /// responseStatus.
        status: &'static str,
    },
    /// Whoever signed it does not speak for the issuer.
    #[error("the answer is not the issuer's: {why}")]
    WrongSigner {
        /// Why not.
        why: String,
    },
}

impl From<Malformed> for OcspRefused {
    fn from(Malformed(why): Malformed) -> Self {
        Self::Malformed { why }
    }
}

/// RFC 9654 §2.1: clients should send so many.
pub const QUESTION_NONCE_OCTETS: usize = 32;

/// An answer for one certificate with its responder's has 1 to 3 KB; with ML-DSA up to 15.
pub const MAX_RESPONSE_BYTES: usize = 64 * 1024;

/// Clocks that are kept in time differ by less.
const SKEW: Duration = Duration::from_mins(5);

/// A message has room for so much of a name.
const MAX_SHOWN_CHARS: usize = 256;
