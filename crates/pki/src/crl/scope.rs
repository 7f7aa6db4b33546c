//! What a CRL covers: its issuingDistributionPoint (RFC 5280 §5.2.5).

use std::fmt;

use der::Tag;

use crate::asn1::{self, Cursor, Malformed, Tlv};
use crate::certificate::{self, Certificate};
use crate::name::Uri;
use crate::tbs;

/// What a CRL covers; by default every certificate of its issuer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CrlScope {
    /// The shard: the URI that its certificates carry in cRLDistributionPoints. `None`: any.
    pub distribution_point: Option<Uri>,
    /// Which kind of certificate.
    pub holders: Holders,
}

/// The kind of certificate that a CRL lists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Holders {
    /// Both.
    #[default]
    All,
    /// onlyContainsCACerts.
    Authorities,
    /// onlyContainsUserCerts.
    Users,
}

impl CrlScope {
    /// Whether the CRL says anything of `certificate`: the absence of one outside the scope means nothing (RFC 5280
    /// §6.3.3 (b)). The URI of a shard must be the one in the certificate, or one shard could stand in for another.
    pub fn covers(&self, certificate: &Certificate) -> bool {
        self.covers_one(certificate.is_ca(), &certificate.crl_uris())
    }

    /// Whether it says anything of a certificate with these URIs in cRLDistributionPoints.
    pub(crate) fn covers_one(&self, is_ca: bool, uris: &[&str]) -> bool {
        let kind = match self.holders {
            Holders::All => true,
            Holders::Authorities => is_ca,
            Holders::Users => !is_ca,
        };
        let shard = self
            .distribution_point
            .as_ref()
            .is_none_or(|point| uris.contains(&point.as_str()));
        kind && shard
    }

    /// Whether it leaves nothing out that the issuer ever issued.
    pub(crate) fn is_everything(&self) -> bool {
        *self == Self::default()
    }

    /// Whether it covers every certificate that `other` covers.
    pub(super) fn includes(&self, other: &Self) -> bool {
        let kind = self.holders == Holders::All || self.holders == other.holders;
        let shard = self.distribution_point.is_none()
            || self.distribution_point == other.distribution_point;
        kind && shard
    }

    /// The extension's value; `None` for everything, since it must not be empty then (RFC 5280 §5.2.5).
    pub(super) fn encode(&self) -> Option<Vec<u8>> {
        if self.is_everything() {
            return None;
        }
        let point = self
            .distribution_point
            .as_ref()
            .map_or_else(Vec::new, tbs::distribution_point_name);
        let only = match self.holders {
            Holders::All => Vec::new(),
            Holders::Authorities => asn1::tlv(asn1::primitive(2), &[0xff]),
            Holders::Users => asn1::tlv(asn1::primitive(1), &[0xff]),
        };
        Some(asn1::sequence(&[point, only]))
    }

    /// `None`: a scope that nothing here can judge (CRLs for some reasons, indirect ones, those of attribute certificates,
    /// names that are no URI, several URIs).
    pub(super) fn decode(mut value: Cursor<'_>) -> Result<Option<Self>, Malformed> {
        let what = "issuingDistributionPoint";
        let mut fields = value.expect(Tag::Sequence, what)?.cursor();
        value.finish(what)?;
        let point = fields.optional(asn1::constructed(0), what)?;
        let flag = |fields: &mut Cursor<'_>, number: u32| -> Result<bool, Malformed> {
            fields
                .optional(asn1::primitive(number), what)?
                .map_or(Ok(false), |flag| implicit_boolean(&flag, what))
        };
        let users = flag(&mut fields, 1)?;
        let authorities = flag(&mut fields, 2)?;
        let some_reasons = fields.optional(asn1::primitive(3), what)?.is_some();
        let indirect = flag(&mut fields, 4)?;
        let attributes = flag(&mut fields, 5)?;
        fields.finish(what)?;
        let holders = match (users, authorities) {
            (false, false) => Holders::All,
            (false, true) => Holders::Authorities,
            (true, false) => Holders::Users,
            (true, true) => {
                return Err(Malformed(format!(
                    "{what} says both onlyContainsUserCerts and onlyContainsCACerts"
                )));
            }
        };
        let distribution_point = match point {
            None => None,
            Some(point) => match certificate::full_name_uris(&point)?[..] {
                [uri] => match Uri::parse(uri) {
                    Ok(uri) => Some(uri),
                    Err(_) => return Ok(None),
                },
                _ => return Ok(None),
            },
        };
        let judged = !(some_reasons || indirect || attributes);
        Ok(judged.then_some(Self {
            distribution_point,
            holders,
        }))
    }
}

impl fmt::Display for CrlScope {
    /// `every certificate of the issuer`, `user certificates of http://a.example/7.crl`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.holders {
            Holders::All => "every certificate of ",
            Holders::Authorities => "CA certificates of ",
            Holders::Users => "user certificates of ",
        })?;
        match &self.distribution_point {
            Some(point) => f.write_str(point.as_str()),
            None => f.write_str("the issuer"),
        }
    }
}

/// `[n] IMPLICIT BOOLEAN DEFAULT FALSE`.
fn implicit_boolean(flag: &Tlv<'_>, what: &str) -> Result<bool, Malformed> {
    match flag.content {
        [0x00] => Ok(false),
        [0xff] => Ok(true),
        _ => Err(Malformed(format!("a flag of {what} is not a DER BOOLEAN"))),
    }
}
