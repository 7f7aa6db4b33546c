//! Where a certificate's CRL is to be found (RFC 5280 §4.2.1.13).

use der::Tag;

use crate::asn1::{self, Cursor, Malformed, Tlv};

/// The URIs of every distribution point that lists for all reasons and is the issuer's own.
pub(crate) fn crl_uris(value: &[u8]) -> Result<Vec<&str>, Malformed> {
    let what = "cRLDistributionPoints";
    let mut value = Cursor::new(value);
    let mut points = value.expect(Tag::Sequence, what)?.cursor();
    value.finish(what)?;
    let mut uris = Vec::new();
    while !points.is_at_end() {
        let mut fields = points.expect(Tag::Sequence, what)?.cursor();
        let name = fields.optional(asn1::constructed(0), what)?;
        let whole = fields.is_at_end();
        if let Some(name) = name.filter(|_| whole) {
            uris.extend(full_name_uris(&name)?);
        }
    }
    Ok(uris)
}

/// The URIs of a `DistributionPointName`; a name relative to the issuer has none.
pub(crate) fn full_name_uris<'a>(point: &Tlv<'a>) -> Result<Vec<&'a str>, Malformed> {
    let what = "distributionPoint";
    let mut inner = point.cursor();
    let name = inner.any(what)?;
    inner.finish(what)?;
    let mut uris = Vec::new();
    if name.tag != asn1::constructed(0) {
        return Ok(uris);
    }
    let mut names = name.cursor();
    while !names.is_at_end() {
        let name = names.any(what)?;
        let text = std::str::from_utf8(name.content).ok();
        uris.extend(text.filter(|_| name.tag == asn1::primitive(6)));
    }
    Ok(uris)
}
