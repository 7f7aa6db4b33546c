//! Where a certificate says that more about it is to be had (RFC 5280 §4.2.2.1), and what its server has to bring (RFC 7633).

use const_oid::ObjectIdentifier;
use der::Tag;

use crate::asn1::{self, Cursor, Malformed};

/// The URIs of authorityInfoAccess of this method.
pub(super) fn uris<'a>(
    value: &'a [u8],
    wanted: &ObjectIdentifier,
) -> Result<Vec<&'a str>, Malformed> {
    let what = "authorityInfoAccess";
    let mut value = Cursor::new(value);
    let mut methods = value.expect(Tag::Sequence, what)?.cursor();
    value.finish(what)?;
    let mut uris = Vec::new();
    while !methods.is_at_end() {
        let mut fields = methods.expect(Tag::Sequence, what)?.cursor();
        let method = fields.expect(Tag::ObjectIdentifier, what)?;
        let location = fields.any(what)?;
        fields.finish(what)?;
        let text = std::str::from_utf8(location.content).ok();
        let is_uri = location.tag == asn1::primitive(6);
        if method.content == wanted.as_bytes() {
            uris.extend(text.filter(|_| is_uri));
        }
    }
    Ok(uris)
}

/// Whether the features of a TLS feature extension have the `status_request` of TLS.
pub(super) fn wants_staple(value: &[u8]) -> Result<bool, Malformed> {
    let what = "the TLS features";
    let mut value = Cursor::new(value);
    let mut features = value.expect(Tag::Sequence, what)?.cursor();
    value.finish(what)?;
    let mut wants = false;
    while !features.is_at_end() {
        wants |= features.expect(Tag::Integer, what)?.content == [STATUS_REQUEST];
    }
    Ok(wants)
}

/// The number of the extension `status_request` in a `ClientHello` (RFC 6066 §8).
const STATUS_REQUEST: u8 = 5;
