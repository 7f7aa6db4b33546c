//! One pass over the DER of a certificate (RFC 5280 §4.1).

use der::Tag;
use rustls_pki_types::CertificateDer;

use super::algorithm::PublicKey;
use super::extension::Decoded;
use super::{Certificate, ExtensionPlace, MAX_BYTES, Places, SignatureScheme};
use crate::asn1::{self, Cursor, Malformed, Tlv};
use crate::dn::DistinguishedName;
use crate::fingerprint::Fingerprint;
use crate::name::{CommonName, TypedName};
use crate::serial::SerialNumber;

/// Which serial numbers are taken.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Serial {
    /// Whatever cannot be held counts as zero.
    Any,
    /// The same, and names that are not what their type says count as ones of no type.
    AnyWithAnyNames,
    MayBeZero,
    Positive,
}

impl Serial {
    fn read(self, integer: &Tlv<'_>) -> Result<SerialNumber, Malformed> {
        if (self, integer.content) == (Self::MayBeZero, &[0]) {
            return Ok(SerialNumber::ZERO);
        }
        if matches!(self, Self::Any | Self::AnyWithAnyNames) {
            let number = SerialNumber::from_der_integer(integer.content);
            return Ok(number.unwrap_or(SerialNumber::ZERO));
        }
        let number = SerialNumber::from_der_integer(integer.content)
            .map_err(|fault| Malformed(fault.to_string()))?;
        integer.integer("the serial number")?;
        Ok(number)
    }
}

pub(super) fn certificate(der: &[u8], serials: Serial) -> Result<Certificate, Malformed> {
    if der.len() > MAX_BYTES {
        return Err(Malformed(format!(
            "it has {} bytes, at most {MAX_BYTES} are taken",
            der.len()
        )));
    }
    let mut outer = Cursor::new(der);
    let whole = outer.expect(Tag::Sequence, "the certificate")?;
    outer.finish("the certificate")?;
    let mut parts = whole.cursor();
    let to_be_signed = parts.expect(Tag::Sequence, "the to-be-signed part")?;
    let outer_algorithm = parts.expect(Tag::Sequence, "the signature algorithm")?;
    let signature = parts.expect(Tag::BitString, "the signature")?;
    signature.octet_aligned_bits("the signature")?;
    parts.finish("the signature")?;

    let mut fields = to_be_signed.cursor();
    let version = version(&mut fields)?;
    let serial = serials.read(&fields.expect(Tag::Integer, "the serial number")?)?;
    let inner_algorithm = fields.expect(Tag::Sequence, "the inner signature algorithm")?;
    // RFC 5280 §4.1.1.2: both must be the same, or the signer's statement could be changed outside the signature.
    if inner_algorithm.whole != outer_algorithm.whole {
        return Err(Malformed(
            "the signature algorithm inside the signed part is not the one outside".to_owned(),
        ));
    }
    let issuer_place = fields.expect(Tag::Sequence, "the issuer")?;
    let issuer = name(&issuer_place, "issuer")?;
    if issuer.is_empty() {
        return Err(Malformed("the issuer is empty".to_owned()));
    }
    let mut validity = fields.expect(Tag::Sequence, "the validity")?.cursor();
    let not_before = validity.any("notBefore")?.time("notBefore")?;
    let not_after = validity.any("notAfter")?.time("notAfter")?;
    validity.finish("the validity")?;
    if not_before > not_after {
        return Err(Malformed(format!(
            "it ends before it begins (not_before {not_before}, not_after {not_after})"
        )));
    }
    let subject_place = fields.expect(Tag::Sequence, "the subject")?;
    let subject = name(&subject_place, "subject")?;
    let spki = fields.expect(Tag::Sequence, "the public key")?;
    let key = PublicKey::decode(&spki)?;
    fields.optional(asn1::primitive(1), "the issuer's unique identifier")?;
    fields.optional(asn1::primitive(2), "the subject's unique identifier")?;
    let extensions = match fields.optional(asn1::constructed(3), "the extensions")? {
        Some(_) if version != 3 => {
            return Err(Malformed(format!(
                "a version {version} certificate has extensions"
            )));
        }
        Some(tagged) => extensions(&tagged)?,
        None => Vec::new(),
    };
    fields.finish("the to-be-signed part")?;

    let mut names = Vec::new();
    let decoded = if serials == Serial::AnyWithAnyNames {
        Decoded::with_any_names(der, &extensions, &mut names)?
    } else {
        Decoded::new(der, &extensions, &mut names)?
    };
    let spki_fingerprint = Fingerprint::of(spki.whole);
    names.extend(
        subject
            .common_name()
            .and_then(|name| CommonName::parse(name).ok())
            .map(TypedName::Cn),
    );
    if !subject.is_empty() {
        names.push(TypedName::Dn(subject.clone()));
    }
    names.push(TypedName::Spki(spki_fingerprint));
    names.push(TypedName::SerialIssuer {
        serial,
        issuer: issuer.clone(),
    });
    Ok(Certificate {
        der: CertificateDer::from(der.to_vec()),
        fingerprint: Fingerprint::of(der),
        spki: spki_fingerprint,
        version,
        serial,
        issuer,
        subject,
        not_before,
        not_after,
        key_algorithm: key.algorithm,
        signature_scheme: SignatureScheme::decode(&outer_algorithm)?,
        names,
        extensions,
        decoded,
        places: Places {
            to_be_signed: to_be_signed.range(),
            issuer: issuer_place.range(),
            subject: subject_place.range(),
            spki: spki.range(),
            signature: signature.content_range().start + 1..signature.content_range().end,
        },
    })
}

/// The extensions that `tagged` wraps, as certificates, requests and CRLs have them.
pub(crate) fn extensions(tagged: &Tlv<'_>) -> Result<Vec<ExtensionPlace>, Malformed> {
    let mut outer = tagged.cursor();
    let places = extension_list(&mut outer)?;
    outer.finish("the extensions")?;
    Ok(places)
}

/// The SEQUENCE OF Extension that comes next, without a second one of a kind (RFC 5280 §4.2).
pub(crate) fn extension_list(cursor: &mut Cursor<'_>) -> Result<Vec<ExtensionPlace>, Malformed> {
    let mut list = cursor.expect(Tag::Sequence, "the extensions")?.cursor();
    if list.is_at_end() {
        return Err(Malformed("the list of extensions is empty".to_owned()));
    }
    let mut seen: Vec<&[u8]> = Vec::with_capacity(12);
    let mut places = Vec::with_capacity(12);
    while !list.is_at_end() {
        let mut parts = list.expect(Tag::Sequence, "an extension")?.cursor();
        let oid = parts.expect(Tag::ObjectIdentifier, "an extension's identifier")?;
        let shown = oid.oid("an extension's identifier")?;
        let critical = parts.optional(Tag::Boolean, "an extension's critical flag")?;
        let critical = critical.map_or(Ok(false), |flag| {
            flag.boolean("an extension's critical flag")
        })?;
        let value = parts.expect(Tag::OctetString, "an extension's value")?;
        parts.finish("an extension's value")?;
        if seen.contains(&oid.content) {
            return Err(Malformed(format!(
                "extension {} stands there twice",
                asn1::dotted(shown)
            )));
        }
        if seen.len() == MAX_EXTENSIONS {
            return Err(Malformed(format!(
                "it has more than {MAX_EXTENSIONS} extensions"
            )));
        }
        seen.push(oid.content);
        places.push(ExtensionPlace {
            oid: oid.content_range(),
            critical,
            value: value.content_range(),
        });
    }
    Ok(places)
}

/// `[0] EXPLICIT INTEGER DEFAULT v1`.
fn version(fields: &mut Cursor<'_>) -> Result<u8, Malformed> {
    let Some(tagged) = fields.optional(asn1::constructed(0), "the version")? else {
        return Ok(1);
    };
    let mut inner = tagged.cursor();
    let version = inner
        .expect(Tag::Integer, "the version")?
        .unsigned("the version")?;
    inner.finish("the version")?;
    match version {
        0 => Ok(1),
        1 => Ok(2),
        2 => Ok(3),
        other => Err(Malformed(format!(
            "version {} does not exist",
            other.saturating_add(1)
        ))),
    }
}

fn name(tlv: &Tlv<'_>, what: &str) -> Result<DistinguishedName, Malformed> {
    DistinguishedName::from_der(tlv.whole)
        .map_err(|fault| Malformed(format!("the {what} is {fault}")))
}

/// The search for duplicates compares each with each; certificates in use have about ten.
pub(crate) const MAX_EXTENSIONS: usize = 64;
