//! CRLs that somebody made.

use std::ops::Range;

use der::Tag;

use super::{CrlEntry, CrlScope};
use crate::asn1::{self, Cursor, Malformed, Tlv};
use crate::certificate::{self, Certificate, PublicKey, SignatureScheme, id};
use crate::dn::DistinguishedName;
use crate::feed::RevocationReason;
use crate::serial::SerialNumber;
use crate::time::UnixTime;

/// A decoded CRL. Nothing is verified until [`ParsedCrl::verify`] says so.
#[derive(Clone, Debug)]
pub struct ParsedCrl {
    der: Vec<u8>,
    outline: Outline,
    issuer: DistinguishedName,
    signature_scheme: SignatureScheme,
    this_update: UnixTime,
    next_update: Option<UnixTime>,
    number: Option<u64>,
    authority_key_id: Option<Vec<u8>>,
    scope: Option<CrlScope>,
    entries: Vec<CrlEntry>,
    unprocessed: Vec<String>,
}

/// Where the parts of a CRL stand that tell who signed it. Its entries, which may be millions, are not looked at.
#[derive(Clone, Debug)]
pub(super) struct Outline {
    to_be_signed: Range<usize>,
    issuer: Range<usize>,
    algorithm: Range<usize>,
    signature: Range<usize>,
}

impl Outline {
    /// Takes no time that grows with the input.
    pub(super) fn of(der: &[u8]) -> Result<Self, InvalidCrl> {
        Ok(outline(der)?)
    }

    /// The issuer's name, a whole DER `Name`.
    pub(super) fn issuer<'a>(&self, der: &'a [u8]) -> &'a [u8] {
        &der[self.issuer.clone()]
    }

    /// Whether this key (a whole `SubjectPublicKeyInfo`) signed it: a hash over all of it, and nothing that is made of it.
    pub(super) fn verify_signature(&self, der: &[u8], spki: &[u8]) -> Result<(), InvalidCrl> {
        let key = PublicKey::from_der(spki)?;
        let algorithm = Cursor::new(&der[self.algorithm.clone()]).any("the signature algorithm")?;
        let (signed, signature) = (
            &der[self.to_be_signed.clone()],
            &der[self.signature.clone()],
        );
        Ok(key.verify(&algorithm, signed, signature)?)
    }
}

impl ParsedCrl {
    /// Decodes DER; takes memory in proportion to the input, whose size is the caller's to bound.
    pub fn parse(der: &[u8]) -> Result<Self, InvalidCrl> {
        Ok(decode(der)?)
    }

    /// The bytes.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Issuer.
    pub fn issuer(&self) -> &DistinguishedName {
        &self.issuer
    }

    /// What it is signed with.
    pub fn signature_algorithm(&self) -> &SignatureScheme {
        &self.signature_scheme
    }

    /// thisUpdate.
    pub fn this_update(&self) -> UnixTime {
        self.this_update
    }

    /// nextUpdate, which RFC 5280 §5.1.2.5 demands and old CRLs lack.
    pub fn next_update(&self) -> Option<UnixTime> {
        self.next_update
    }

    /// cRLNumber; over 64 bits counts as the largest of those.
    pub fn number(&self) -> Option<u64> {
        self.number
    }

    /// authorityKeyIdentifier's keyIdentifier.
    pub fn authority_key_id(&self) -> Option<&[u8]> {
        self.authority_key_id.as_deref()
    }

    /// Every entry, in order. certificateHold and aACompromise read as `Unspecified`: they revoke as well.
    pub fn entries(&self) -> &[CrlEntry] {
        &self.entries
    }

    /// What it covers: its absence from the list clears no certificate outside. `None`: a scope that is not processed here,
    /// and listed among the [unknown extensions](Self::unknown_critical_extensions).
    pub fn scope(&self) -> Option<&CrlScope> {
        self.scope.as_ref()
    }

    /// Extensions, of the list or an entry, that change its meaning and are not processed here (delta and indirect CRLs,
    /// CRLs for some reasons): who relies on the CRL must refuse it then (RFC 5280 §5.2), and [`Self::verify`] does.
    pub fn unknown_critical_extensions(&self) -> &[String] {
        &self.unprocessed
    }

    /// Whether its issuer has this name (a whole DER `Name`).
    pub(crate) fn is_issued_by(&self, name: &[u8]) -> bool {
        self.outline.issuer(&self.der) == name
    }

    /// Whether this key (a whole `SubjectPublicKeyInfo`) signed it.
    pub(crate) fn verify_signature(&self, spki: &[u8]) -> Result<(), InvalidCrl> {
        self.outline.verify_signature(&self.der, spki)
    }

    /// Whether `issuer` made it (its name, its key identifier, cRLSign, and the signature) and it can be relied on within its
    /// scope; its times are the caller's to judge.
    pub fn verify(&self, issuer: &Certificate) -> Result<(), InvalidCrl> {
        if !self.unprocessed.is_empty() {
            return Err(InvalidCrl {
                why: format!(
                    "it has extensions that change its meaning and are not known here: {} (RFC 5280 §5.2)",
                    self.unprocessed.join(", ")
                ),
            });
        }
        self.may_be_of(issuer)?;
        self.verify_signature(issuer.spki_der())
    }

    /// Whether `issuer` made it, be it with SHA-1, and whatever its extensions mean: evidence, and nothing to rely on.
    pub fn is_made_by(&self, issuer: &Certificate) -> bool {
        let outline = &self.outline;
        let verified = || {
            let key = PublicKey::from_der(issuer.spki_der())?;
            let algorithm =
                Cursor::new(&self.der[outline.algorithm.clone()]).any("the signature algorithm")?;
            let signed = &self.der[outline.to_be_signed.clone()];
            key.verify_forgeable(&algorithm, signed, &self.der[outline.signature.clone()])
        };
        self.may_be_of(issuer).is_ok() && verified().is_ok()
    }

    fn may_be_of(&self, issuer: &Certificate) -> Result<(), InvalidCrl> {
        if !self.is_issued_by(issuer.subject_der()) {
            return Err(InvalidCrl {
                why: format!("its issuer is {}, not {}", self.issuer, issuer.subject()),
            });
        }
        if let (Some(said), Some(held)) = (self.authority_key_id(), issuer.subject_key_id())
            && said != held
        {
            return Err(InvalidCrl {
                why: format!("another key of {} signed it", self.issuer),
            });
        }
        if issuer.key_usage().is_some_and(|usage| !usage.crl_sign) {
            return Err(InvalidCrl {
                why: format!(
                    "{} may not sign CRLs (its keyUsage lacks cRLSign)",
                    self.issuer
                ),
            });
        }
        Ok(())
    }
}

/// Why bytes are not a CRL, or not this issuer's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("certificate revocation list: {why}")]
#[non_exhaustive]
pub struct InvalidCrl {
    /// What is wrong, in words.
    pub why: String,
}

impl From<Malformed> for InvalidCrl {
    fn from(fault: Malformed) -> Self {
        Self { why: fault.0 }
    }
}

fn outline(der: &[u8]) -> Result<Outline, Malformed> {
    let mut outer = Cursor::new(der);
    let mut parts = outer.expect(Tag::Sequence, "the list")?.cursor();
    outer.finish("the list")?;
    let to_be_signed = parts.expect(Tag::Sequence, "the to-be-signed part")?;
    let algorithm = parts.expect(Tag::Sequence, "the signature algorithm")?;
    let signature = parts.expect(Tag::BitString, "the signature")?;
    signature.octet_aligned_bits("the signature")?;
    parts.finish("the signature")?;
    let mut fields = to_be_signed.cursor();
    let issuer = issuer(&mut fields, &algorithm)?;
    Ok(Outline {
        to_be_signed: to_be_signed.range(),
        issuer: issuer.range(),
        algorithm: algorithm.range(),
        signature: signature.content_range().start + 1..signature.content_range().end,
    })
}

/// What stands before it, too.
fn issuer<'a>(fields: &mut Cursor<'a>, algorithm: &Tlv<'_>) -> Result<Tlv<'a>, Malformed> {
    if let Some(version) = fields.optional(Tag::Integer, "the version")?
        && version.unsigned("the version")? != 1
    {
        return Err(Malformed("its version is not 2".to_owned()));
    }
    // RFC 5280 §5.1.1.2.
    if fields
        .expect(Tag::Sequence, "the inner signature algorithm")?
        .whole
        != algorithm.whole
    {
        return Err(Malformed(
            "the signature algorithm inside the signed part is not the one outside".to_owned(),
        ));
    }
    fields.expect(Tag::Sequence, "the issuer")
}

fn decode(der: &[u8]) -> Result<ParsedCrl, Malformed> {
    let outline = outline(der)?;
    let algorithm = Cursor::new(&der[outline.algorithm.clone()]).any("the signature algorithm")?;
    let mut outer = Cursor::new(der);
    let mut parts = outer.expect(Tag::Sequence, "the list")?.cursor();
    let to_be_signed = parts.expect(Tag::Sequence, "the to-be-signed part")?;
    let mut fields = to_be_signed.cursor();
    let issuer = issuer(&mut fields, &algorithm)?;
    let issuer = DistinguishedName::from_der(issuer.whole)
        .map_err(|fault| Malformed(format!("the issuer is {fault}")))?;
    let this_update = fields.any("thisUpdate")?.time("thisUpdate")?;
    let next_update = match fields.optional(Tag::UtcTime, "nextUpdate")? {
        Some(time) => Some(time),
        None => fields.optional(Tag::GeneralizedTime, "nextUpdate")?,
    };
    let next_update = next_update
        .map(|time| time.time("nextUpdate"))
        .transpose()?;
    let mut unprocessed = Vec::new();
    let mut entries = Vec::new();
    if let Some(list) = fields.optional(Tag::Sequence, "the revoked certificates")? {
        let mut list = list.cursor();
        while !list.is_at_end() {
            entries.push(entry(
                der,
                &list.expect(Tag::Sequence, "an entry")?,
                &mut unprocessed,
            )?);
        }
    }
    let extensions = fields.optional(asn1::constructed(0), "the extensions")?;
    fields.finish("the to-be-signed part")?;
    let facts = match extensions {
        Some(extensions) => list_extensions(der, &extensions, &mut unprocessed)?,
        None => ListFacts::default(),
    };
    Ok(ParsedCrl {
        der: der.to_vec(),
        outline,
        issuer,
        signature_scheme: SignatureScheme::decode(&algorithm)?,
        this_update,
        next_update,
        number: facts.number,
        authority_key_id: facts.authority_key_id,
        scope: facts.scope,
        entries,
        unprocessed,
    })
}

/// The serial number of one encoded entry, which must be all there is and without anything unknown.
pub(super) fn row(der: &[u8]) -> Result<SerialNumber, Malformed> {
    let mut outer = Cursor::new(der);
    let tlv = outer.expect(Tag::Sequence, "an entry")?;
    outer.finish("an entry")?;
    let mut unprocessed = Vec::new();
    let entry = entry(der, &tlv, &mut unprocessed)?;
    match unprocessed.first() {
        None => Ok(entry.serial),
        Some(oid) => Err(Malformed(format!("critical extension {oid} is not known"))),
    }
}

fn entry(
    der: &[u8],
    entry: &Tlv<'_>,
    unprocessed: &mut Vec<String>,
) -> Result<CrlEntry, Malformed> {
    let mut fields = entry.cursor();
    let serial = fields
        .expect(Tag::Integer, "an entry's serial number")?
        .integer("an entry's serial number")?;
    let serial = SerialNumber::from_der_integer(serial)
        .map_err(|fault| Malformed(format!("an entry's {fault}")))?;
    let revoked_at = fields.any("an entry's date")?.time("an entry's date")?;
    let (mut reason, mut invalid_since) = (RevocationReason::Unspecified, None);
    if !fields.is_at_end() {
        for place in certificate::extension_list(&mut fields)? {
            let oid = &der[place.oid];
            if oid == id::REASON_CODE.as_bytes() {
                let code = Cursor::new(&der[place.value])
                    .expect(Tag::Enumerated, "reasonCode")?
                    .content;
                reason = reason_of(code)?;
            } else if oid == id::INVALIDITY_DATE.as_bytes() {
                let date = Cursor::new(&der[place.value])
                    .expect(Tag::GeneralizedTime, "invalidityDate")?
                    .time("invalidityDate")?;
                invalid_since = Some(date);
            } else if place.critical {
                note(oid, unprocessed);
            }
        }
    }
    fields.finish("an entry")?;
    Ok(CrlEntry {
        serial,
        revoked_at,
        reason,
        invalid_since,
    })
}

/// RFC 5280 §5.3.1.
pub(crate) fn reason_of(code: &[u8]) -> Result<RevocationReason, Malformed> {
    let [code] = *code else {
        return Err(Malformed(
            "an entry's reasonCode is not one byte".to_owned(),
        ));
    };
    let known = RevocationReason::ALL
        .into_iter()
        .find(|reason| reason.code() == code);
    match (known, code) {
        (Some(reason), _) => Ok(reason),
        (None, 10) => Ok(RevocationReason::Unspecified),
        (None, 8) => Err(Malformed(
            "an entry's reasonCode is removeFromCRL, which only a delta CRL may say".to_owned(),
        )),
        _ => Err(Malformed(format!(
            "an entry's reasonCode {code} does not exist"
        ))),
    }
}

struct ListFacts {
    number: Option<u64>,
    authority_key_id: Option<Vec<u8>>,
    scope: Option<CrlScope>,
}

impl Default for ListFacts {
    fn default() -> Self {
        Self {
            number: None,
            authority_key_id: None,
            // RFC 5280 §5.2.5: without the extension it covers everything.
            scope: Some(CrlScope::default()),
        }
    }
}

fn list_extensions(
    der: &[u8],
    tagged: &Tlv<'_>,
    unprocessed: &mut Vec<String>,
) -> Result<ListFacts, Malformed> {
    let mut facts = ListFacts::default();
    for place in certificate::extensions(tagged)? {
        let oid = &der[place.oid];
        let mut value = Cursor::new(&der[place.value]);
        if oid == id::CRL_NUMBER.as_bytes() {
            // RFC 5280 §5.2.3: never critical.
            if place.critical {
                note(oid, unprocessed);
            }
            facts.number = Some(
                value
                    .expect(Tag::Integer, "cRLNumber")?
                    .unsigned("cRLNumber")?,
            );
        } else if oid == id::AUTHORITY_KEY_ID.as_bytes() {
            let mut fields = value
                .expect(Tag::Sequence, "authorityKeyIdentifier")?
                .cursor();
            facts.authority_key_id = fields
                .optional(asn1::primitive(0), "authorityKeyIdentifier")?
                .map(|key_id| key_id.content.to_vec());
        } else if oid == id::ISSUING_DISTRIBUTION_POINT.as_bytes() {
            facts.scope = CrlScope::decode(value)?;
            if facts.scope.is_none() {
                note(oid, unprocessed);
            }
        } else if place.critical || oid == id::DELTA_CRL_INDICATOR.as_bytes() {
            // A delta CRL read as a complete one would clear whatever it does not repeat.
            note(oid, unprocessed);
        }
    }
    Ok(facts)
}

/// Once per kind: a list of a million entries has at most a handful.
fn note(oid: &[u8], unprocessed: &mut Vec<String>) {
    let shown = const_oid::ObjectIdentifierRef::from_bytes(oid)
        .map_or_else(|_| "?".to_owned(), asn1::dotted);
    if unprocessed.len() < 16 && !unprocessed.contains(&shown) {
        unprocessed.push(shown);
    }
}
