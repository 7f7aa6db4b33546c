//! Responses, as a responder sends them: taken apart, nothing of them believed yet.

use std::ops::Range;

use const_oid::ObjectIdentifier;
use der::Tag;

use super::request::sole;
use super::{BASIC, CertId, CertIdHash, NONCE, key_bits};
use crate::asn1::{self, Cursor, Malformed, Tlv};
use crate::certificate::{self, Certificate, PublicKey};
use crate::crl::reason_of;
use crate::feed::RevocationReason;
use crate::revocation::Revocation;
use crate::time::UnixTime;

/// A `BasicOCSPResponse` (RFC 6960 §4.2.1).
pub(super) struct Outline<'a> {
    der: &'a [u8],
    signed: &'a [u8],
    algorithm: Tlv<'a>,
    signature: &'a [u8],
    responder: ResponderId<'a>,
    pub(super) produced_at: UnixTime,
    pub(super) answers: Vec<Single>,
    /// Content of the nonce's extension.
    nonce: Option<Range<usize>>,
    certificates: Vec<&'a [u8]>,
}

/// How a response names who signed it.
enum ResponderId<'a> {
    /// The subject, in DER.
    Name(&'a [u8]),
    /// SHA-1 of the key.
    Key(&'a [u8]),
}

/// What is said of one certificate.
pub(super) struct Single {
    pub(super) id: CertId,
    pub(super) status: Status,
    pub(super) this_update: UnixTime,
    pub(super) next_update: Option<UnixTime>,
}

/// As the responder has it.
pub(super) enum Status {
    Good,
    Revoked(Revocation),
    Unknown,
}

/// What bytes are.
pub(super) enum Response<'a> {
    Basic(Outline<'a>),
    /// A status other than successful, which nobody signs.
    Error(&'static str),
}

impl<'a> Response<'a> {
    pub(super) fn decode(der: &'a [u8]) -> Result<Self, Malformed> {
        let mut outer = Cursor::new(der);
        let mut parts = outer.expect(Tag::Sequence, "the response")?.cursor();
        outer.finish("the response")?;
        let status = parts.expect(Tag::Enumerated, "responseStatus")?;
        let bytes = parts.optional(asn1::constructed(0), "responseBytes")?;
        parts.finish("responseBytes")?;
        match (status.content, bytes) {
            ([0], Some(bytes)) => {
                let what = "responseBytes";
                let mut bytes = sole(&bytes, Tag::Sequence, what)?.cursor();
                let kind = bytes.expect(Tag::ObjectIdentifier, what)?;
                let basic = bytes.expect(Tag::OctetString, what)?;
                bytes.finish(what)?;
                if kind.oid(what)?.as_bytes() != BASIC.as_bytes() {
                    return Err(Malformed("it is of no type that is known here".to_owned()));
                }
                Ok(Self::Basic(Outline::decode(basic.content)?))
            }
            ([0], None) => Err(Malformed("it is successful and says nothing".to_owned())),
            ([1], _) => Ok(Self::Error("malformedRequest")),
            ([2], _) => Ok(Self::Error("internalError")),
            ([3], _) => Ok(Self::Error("tryLater")),
            ([5], _) => Ok(Self::Error("sigRequired")),
            ([6], _) => Ok(Self::Error("unauthorized")),
            _ => Err(Malformed(
                "its responseStatus is none of RFC 6960 §4.2.1".to_owned(),
            )),
        }
    }
}

impl<'a> Outline<'a> {
    fn decode(der: &'a [u8]) -> Result<Self, Malformed> {
        let mut outer = Cursor::new(der);
        let mut parts = outer.expect(Tag::Sequence, "BasicOCSPResponse")?.cursor();
        outer.finish("BasicOCSPResponse")?;
        let signed = parts.expect(Tag::Sequence, "tbsResponseData")?;
        let algorithm = parts.expect(Tag::Sequence, "the signature algorithm")?;
        let signature = parts
            .expect(Tag::BitString, "the signature")?
            .octet_aligned_bits("the signature")?;
        let certificates = match parts.optional(asn1::constructed(0), "the certificates")? {
            Some(tagged) => certificates(&tagged)?,
            None => Vec::new(),
        };
        parts.finish("the certificates")?;

        let mut fields = signed.cursor();
        if let Some(version) = fields.optional(asn1::constructed(0), "the version")?
            && sole(&version, Tag::Integer, "the version")?.unsigned("the version")? != 0
        {
            return Err(Malformed(
                "its version is not 1, the only one there is".to_owned(),
            ));
        }
        let responder = responder_id(&mut fields)?;
        let produced_at = moment(&mut fields, "producedAt")?;
        let mut list = fields.expect(Tag::Sequence, "responses")?.cursor();
        let extensions = fields.optional(asn1::constructed(1), "responseExtensions")?;
        fields.finish("tbsResponseData")?;
        let mut answers = Vec::new();
        while !list.is_at_end() {
            if answers.len() == MAX_ANSWERS {
                return Err(Malformed(format!(
                    "it answers for more than {MAX_ANSWERS} certificates"
                )));
            }
            answers.push(Single::decode(
                der,
                &list.expect(Tag::Sequence, "a SingleResponse")?,
            )?);
        }
        let nonce = match extensions {
            Some(extensions) => known(der, &extensions, Some(NONCE))?,
            None => None,
        };
        Ok(Self {
            der,
            signed: signed.whole,
            algorithm,
            signature,
            responder,
            produced_at,
            answers,
            nonce,
            certificates,
        })
    }

    /// The octets of the nonce that it repeats; RFC 9654 §2.1 wants an OCTET STRING inside.
    pub(super) fn nonce(&self) -> Result<Option<&'a [u8]>, Malformed> {
        let Some(place) = &self.nonce else {
            return Ok(None);
        };
        let mut value = Cursor::new(&self.der[place.clone()]);
        let nonce = value.expect(Tag::OctetString, "the nonce")?;
        value.finish("the nonce")?;
        Ok(Some(nonce.content))
    }

    /// Whether the response says that this one signed it.
    pub(super) fn names(&self, signer: &Certificate) -> bool {
        match self.responder {
            ResponderId::Name(name) => name == signer.subject_der(),
            // RFC 6960 §4.2.1: always SHA-1.
            ResponderId::Key(hash) => CertIdHash::Sha1.digest(key_bits(signer)) == hash,
        }
    }

    /// Whether this one did sign it, with an algorithm that is no forger's help.
    pub(super) fn verify(&self, signer: &Certificate) -> Result<(), Malformed> {
        PublicKey::from_der(signer.spki_der())?.verify(&self.algorithm, self.signed, self.signature)
    }

    /// Certificates that came along. What is no certificate is nobody's.
    pub(super) fn certificates(&self) -> impl Iterator<Item = Certificate> {
        let mut all = self.certificates.iter();
        std::iter::from_fn(move || all.next()).filter_map(|der| Certificate::parse(der).ok())
    }
}

impl Single {
    fn decode(der: &[u8], single: &Tlv<'_>) -> Result<Self, Malformed> {
        let mut fields = single.cursor();
        let id = CertId::decode(&fields.expect(Tag::Sequence, "a CertID")?)?;
        let status = fields.any("certStatus")?;
        let status = if status.tag == asn1::primitive(0) && status.content.is_empty() {
            Status::Good
        } else if status.tag == asn1::primitive(2) && status.content.is_empty() {
            Status::Unknown
        } else if status.tag == asn1::constructed(1) {
            Status::Revoked(revocation(&status)?)
        } else {
            return Err(Malformed(
                "certStatus is not good, revoked or unknown".to_owned(),
            ));
        };
        let this_update = moment(&mut fields, "thisUpdate")?;
        let next_update = match fields.optional(asn1::constructed(0), "nextUpdate")? {
            Some(tagged) => {
                let mut inner = tagged.cursor();
                let time = moment(&mut inner, "nextUpdate")?;
                inner.finish("nextUpdate")?;
                Some(time)
            }
            None => None,
        };
        if let Some(extensions) = fields.optional(asn1::constructed(1), "singleExtensions")? {
            known(der, &extensions, None)?;
        }
        fields.finish("a SingleResponse")?;
        Ok(Self {
            id,
            status,
            this_update,
            next_update,
        })
    }
}

/// `RevokedInfo`. A reason that does not exist takes nothing off the revocation.
fn revocation(info: &Tlv<'_>) -> Result<Revocation, Malformed> {
    let mut fields = info.cursor();
    let revoked_at = moment(&mut fields, "revocationTime")?;
    let reason = match fields.optional(asn1::constructed(0), "revocationReason")? {
        Some(reason) => {
            let reason = sole(&reason, Tag::Enumerated, "revocationReason")?;
            reason_of(reason.content).unwrap_or(RevocationReason::Unspecified)
        }
        None => RevocationReason::Unspecified,
    };
    fields.finish("RevokedInfo")?;
    Ok(Revocation { revoked_at, reason })
}

fn responder_id<'a>(fields: &mut Cursor<'a>) -> Result<ResponderId<'a>, Malformed> {
    let id = fields.any("responderID")?;
    if id.tag == asn1::constructed(1) {
        let name = sole(&id, Tag::Sequence, "responderID")?;
        Ok(ResponderId::Name(name.whole))
    } else if id.tag == asn1::constructed(2) {
        let key = sole(&id, Tag::OctetString, "responderID")?;
        Ok(ResponderId::Key(key.content))
    } else {
        Err(Malformed(
            "responderID is neither a name nor a key".to_owned(),
        ))
    }
}

fn certificates<'a>(tagged: &Tlv<'a>) -> Result<Vec<&'a [u8]>, Malformed> {
    let what = "the certificates";
    let mut list = sole(tagged, Tag::Sequence, what)?.cursor();
    let mut all = Vec::new();
    while !list.is_at_end() {
        if all.len() == MAX_CERTIFICATES {
            return Err(Malformed(format!(
                "it brings more than {MAX_CERTIFICATES} certificates"
            )));
        }
        all.push(list.expect(Tag::Sequence, what)?.whole);
    }
    Ok(all)
}

/// The value of `wanted`; no other extension may be critical (RFC 6960 §4.4: none else has to be understood).
fn known(
    der: &[u8],
    extensions: &Tlv<'_>,
    wanted: Option<ObjectIdentifier>,
) -> Result<Option<Range<usize>>, Malformed> {
    let mut found = None;
    for place in certificate::extensions(extensions)? {
        let oid = &der[place.oid];
        if wanted.is_some_and(|wanted| oid == wanted.as_bytes()) {
            found = Some(place.value);
        } else if place.critical {
            let shown = const_oid::ObjectIdentifierRef::from_bytes(oid)
                .map_or_else(|_| "?".to_owned(), asn1::dotted);
            let shown: String = shown.chars().take(MAX_SHOWN_CHARS).collect();
            return Err(Malformed(format!(
                "critical extension {shown} is not known here"
            )));
        }
    }
    Ok(found)
}

/// RFC 6960 §4.2.2.1: `GeneralizedTime`, to the second.
fn moment(fields: &mut Cursor<'_>, what: &str) -> Result<UnixTime, Malformed> {
    fields.expect(Tag::GeneralizedTime, what)?.time(what)
}

/// Some responders answer for all that they were asked about lately; the size bounds them anyway.
const MAX_ANSWERS: usize = 128;

/// Each may cost a verification: the responder's own and what stands above it, twice during a change of key.
const MAX_CERTIFICATES: usize = 8;

/// Identifiers of the field have under 40.
const MAX_SHOWN_CHARS: usize = 128;
