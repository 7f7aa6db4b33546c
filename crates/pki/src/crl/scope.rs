//! Which certificates of its issuer a CRL speaks of: issuingDistributionPoint (RFC 5280 §5.2.5).

use der::Tag;

use crate::asn1::{Cursor, Malformed, constructed, primitive};

/// Default: all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Scope {
    only_leaves: bool,
    only_authorities: bool,
    /// The names of the distribution point that it is published at, as they are encoded; `None`: it stands for all points.
    points: Option<Vec<Vec<u8>>>,
}

impl Scope {
    /// Refuses what would make the list say less than "these and no others": some reasons, indirect lists, attribute
    /// certificates; and a point that is named relative to the issuer, which nobody uses.
    pub(super) fn decode(value: &mut Cursor<'_>) -> Result<Self, Malformed> {
        let what = "issuingDistributionPoint";
        let mut fields = value.expect(Tag::Sequence, what)?.cursor();
        let mut scope = Self::default();
        if let Some(point) = fields.optional(constructed(0), what)? {
            scope.points = Some(full_names(point.cursor())?);
        }
        scope.only_leaves = flag(&mut fields, 1)?;
        scope.only_authorities = flag(&mut fields, 2)?;
        if fields.optional(primitive(3), what)?.is_some() {
            return Err(Malformed("it speaks of some reasons only".to_owned()));
        }
        if flag(&mut fields, 4)? {
            return Err(Malformed("it is an indirect list".to_owned()));
        }
        if flag(&mut fields, 5)? {
            return Err(Malformed("it is of attribute certificates".to_owned()));
        }
        fields.finish(what)?;
        Ok(scope)
    }

    /// Whether a certificate falls under it; `points` is the value of its cRLDistributionPoints.
    pub(crate) fn covers(&self, is_ca: bool, points: Option<&[u8]>) -> bool {
        let kind = if is_ca {
            !self.only_leaves
        } else {
            !self.only_authorities
        };
        // RFC 5280 §6.3.3 (b)(2)(i): one of the list's names is one of the certificate's.
        let published = self.points.as_ref().is_none_or(|own| {
            let named = points.map(distribution_points).unwrap_or_default();
            own.iter().any(|name| named.contains(name))
        });
        kind && published
    }
}

/// A BOOLEAN under an implicit tag; anything but FALSE counts as set.
fn flag(fields: &mut Cursor<'_>, number: u32) -> Result<bool, Malformed> {
    let flag = fields.optional(primitive(number), "issuingDistributionPoint")?;
    Ok(flag.is_some_and(|flag| flag.content != [0]))
}

/// Every full name in `CRLDistributionPoints`; what cannot be read names nothing, so that the list does not cover it.
fn distribution_points(value: &[u8]) -> Vec<Vec<u8>> {
    let what = "cRLDistributionPoints";
    let mut names = Vec::new();
    let Ok(list) = Cursor::new(value).expect(Tag::Sequence, what) else {
        return names;
    };
    let mut points = list.cursor();
    while let Ok(point) = points.expect(Tag::Sequence, what) {
        let mut fields = point.cursor();
        if let Ok(Some(name)) = fields.optional(constructed(0), what) {
            names.extend(full_names(name.cursor()).unwrap_or_default());
        }
    }
    names
}

/// The `GeneralName`s of a `DistributionPointName`, each with its tag.
fn full_names(mut point: Cursor<'_>) -> Result<Vec<Vec<u8>>, Malformed> {
    let what = "a distribution point";
    let Some(full) = point.optional(constructed(0), what)? else {
        return Err(Malformed(
            "its distribution point has no full name".to_owned(),
        ));
    };
    let mut names = Vec::new();
    let mut list = full.cursor();
    while !list.is_at_end() {
        names.push(list.any(what)?.whole.to_vec());
    }
    Ok(names)
}
