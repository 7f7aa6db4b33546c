//! Distinguished names in DER.

use const_oid::ObjectIdentifier;
use der::Tag;

use super::{
    Attribute, COUNTRY, DOMAIN_COMPONENT, DistinguishedName, EMAIL_ADDRESS, InvalidDn,
    MAX_ATTRIBUTES, MAX_DER_BYTES, SERIAL_NUMBER,
};
use crate::asn1::{self, Cursor, Malformed, Tlv};

pub(super) fn decode(der: &[u8]) -> Result<Vec<Vec<Attribute>>, InvalidDn> {
    if der.len() > MAX_DER_BYTES {
        return Err(InvalidDn::new(format!(
            "it has {} bytes, at most {MAX_DER_BYTES} are taken",
            der.len()
        )));
    }
    let mut outer = Cursor::new(der);
    let mut name = outer.expect(Tag::Sequence, "the name")?.cursor();
    outer.finish("the name")?;
    let mut rdns = Vec::new();
    let mut count = 0;
    while !name.is_at_end() {
        let mut set = name.expect(Tag::Set, "an RDN")?.cursor();
        let mut rdn = Vec::with_capacity(1);
        while !set.is_at_end() {
            count += 1;
            if count > MAX_ATTRIBUTES {
                return Err(InvalidDn::new(format!(
                    "it has more than {MAX_ATTRIBUTES} attributes"
                )));
            }
            rdn.push(decode_attribute(
                &set.expect(Tag::Sequence, "an attribute")?,
            )?);
        }
        if rdn.is_empty() {
            return Err(InvalidDn::new("an RDN has no attribute"));
        }
        rdns.push(rdn);
    }
    Ok(rdns)
}

pub(super) fn encode(name: &DistinguishedName) -> Vec<u8> {
    let rdns: Vec<Vec<u8>> = name
        .rdns()
        .map(|rdn| {
            asn1::tlv(
                Tag::Set,
                &rdn.iter().flat_map(encode_attribute).collect::<Vec<u8>>(),
            )
        })
        .collect();
    asn1::sequence(&rdns)
}

pub(super) fn encode_attribute(attribute: &Attribute) -> Vec<u8> {
    let value = attribute.value.as_bytes();
    // RFC 5280 appendix A.1 fixes these types' syntax; a value outside it can only be kept as UTF8String.
    let tag = match attribute.kind {
        COUNTRY | SERIAL_NUMBER if value.iter().all(|&byte| is_printable(byte)) => {
            Tag::PrintableString
        }
        DOMAIN_COMPONENT | EMAIL_ADDRESS if value.is_ascii() => Tag::Ia5String,
        _ => Tag::Utf8String,
    };
    asn1::sequence(&[asn1::oid(attribute.kind), asn1::tlv(tag, value)])
}

fn decode_attribute(tlv: &Tlv<'_>) -> Result<Attribute, InvalidDn> {
    let mut parts = tlv.cursor();
    let kind = parts.expect(Tag::ObjectIdentifier, "an attribute's type")?;
    let kind = ObjectIdentifier::from_bytes(kind.content).map_err(|_| {
        InvalidDn::new("an attribute's type is no object identifier of at most 39 bytes")
    })?;
    let value = parts.any("an attribute's value")?;
    parts.finish("an attribute's value")?;
    Attribute::new(kind, decode_value(&value)?)
}

fn decode_value(value: &Tlv<'_>) -> Result<String, InvalidDn> {
    let bytes = value.content;
    match value.tag {
        Tag::Utf8String => std::str::from_utf8(bytes)
            .map(str::to_owned)
            .map_err(|_| InvalidDn::new("a UTF8String value is not UTF-8")),
        // T.61 agrees with ASCII in what is in use; of the rest nobody knows whether T.61 or Latin-1 was meant.
        Tag::PrintableString | Tag::Ia5String | Tag::NumericString | Tag::TeletexString => {
            match std::str::from_utf8(bytes) {
                Ok(text) if text.is_ascii() => Ok(text.to_owned()),
                _ => Err(InvalidDn::new(format!(
                    "a {} value is not ASCII",
                    value.tag
                ))),
            }
        }
        Tag::BmpString => {
            let units: Vec<u16> = bytes
                .chunks(2)
                .map(|pair| u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]))
                .collect();
            match String::from_utf16(&units) {
                Ok(text) if bytes.len().is_multiple_of(2) => Ok(text),
                _ => Err(InvalidDn::new("a BMPString value is not UCS-2")),
            }
        }
        other => Err(InvalidDn::new(format!(
            "a value has the ASN.1 type {other}, which is no string for names"
        ))),
    }
}

impl From<Malformed> for InvalidDn {
    fn from(fault: Malformed) -> Self {
        Self::new(fault.0)
    }
}

/// X.680 §41.4.
fn is_printable(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b" '()+,-./:=?".contains(&byte)
}
