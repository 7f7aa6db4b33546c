//! Extensions with a fixed value, which an operator wants in every certificate of a kind.

use const_oid::ObjectIdentifier;
use der::Tag;

use crate::asn1::{self, Cursor};
use crate::certificate::id;

/// An extension that means nothing to us: an OID, a value, and whether others must understand it.
///
/// Invariant: it is none that says who may do what (see [`InvalidExtension::Taken`]), so that no configuration makes a CA out
/// of a leaf, or another name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtraExtension {
    oid: ObjectIdentifier,
    critical: bool,
    value: Vec<u8>,
}

impl ExtraExtension {
    /// `oid` is dotted; `value` is one DER element of at most 4 KiB.
    pub fn parse(oid: &str, critical: bool, value: &[u8]) -> Result<Self, InvalidExtension> {
        let parsed = ObjectIdentifier::new(oid).map_err(|_| InvalidExtension::Oid)?;
        let taken = id::NAMED
            .iter()
            .find(|(known, name)| *known == parsed && *name != "certificatePolicies")
            .map(|(_, name)| *name);
        let taken = taken.or_else(|| {
            OTHERS
                .iter()
                .find(|(known, _)| *known == parsed)
                .map(|(_, name)| *name)
        });
        if let Some(name) = taken {
            return Err(InvalidExtension::Taken { name });
        }
        if value.len() > MAX_VALUE {
            return Err(InvalidExtension::Long { bytes: value.len() });
        }
        let mut whole = Cursor::new(value);
        let one = whole
            .any("the value")
            .and_then(|_| whole.finish("the value"));
        one.map_err(|_| InvalidExtension::Value)?;
        Ok(Self {
            oid: parsed,
            critical,
            value: value.to_vec(),
        })
    }

    /// `text` as `UTF8String`.
    pub fn parse_text(oid: &str, critical: bool, text: &str) -> Result<Self, InvalidExtension> {
        Self::parse(oid, critical, &asn1::tlv(Tag::Utf8String, text.as_bytes()))
    }

    /// Dotted.
    pub fn oid(&self) -> String {
        self.oid.to_string()
    }

    /// Whether who does not know it must refuse the certificate.
    pub fn is_critical(&self) -> bool {
        self.critical
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        asn1::extension(self.oid, self.critical, &self.value)
    }
}

/// Why an extension cannot be added.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidExtension {
    /// Every handshake would carry it.
    #[error("its value has {bytes} bytes, at most {MAX_VALUE} are possible")]
    Long {
        /// So many.
        bytes: usize,
    },
    /// Not dotted numbers.
    #[error("its OID is not one, such as 1.3.6.1.4.1.32473.1")]
    Oid,
    /// The authority sets it itself, or it has a meaning for verifiers that no configuration may give.
    #[error("{name} is not for a configuration to set")]
    Taken {
        /// As RFC 5280 or its own document calls it.
        name: &'static str,
    },
    /// Not one DER element.
    #[error("its value is not one DER element")]
    Value,
}

/// Beside those of RFC 5280 that are named already: what CAs alone have, what makes a certificate of a certificate (RFC 3820),
/// what OpenSSL takes for keyUsage and basicConstraints of old, and what public logs sign (RFC 6962).
const OTHERS: [(ObjectIdentifier, &str); 8] = [
    (ObjectIdentifier::new_unwrap("2.5.29.33"), "policyMappings"),
    (
        ObjectIdentifier::new_unwrap("2.5.29.54"),
        "inhibitAnyPolicy",
    ),
    (ObjectIdentifier::new_unwrap("2.5.29.46"), "freshestCRL"),
    (
        ObjectIdentifier::new_unwrap("2.5.29.16"),
        "privateKeyUsagePeriod",
    ),
    (
        ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.1.14"),
        "proxyCertInfo",
    ),
    (
        ObjectIdentifier::new_unwrap("2.16.840.1.113730.1.1"),
        "netscapeCertType",
    ),
    (
        ObjectIdentifier::new_unwrap("1.3.6.1.4.1.11129.2.4.2"),
        "signedCertificateTimestampList",
    ),
    (
        ObjectIdentifier::new_unwrap("1.3.6.1.4.1.11129.2.4.3"),
        "precertificatePoison",
    ),
];

/// Every handshake carries it; larger certificates do not fit into a first flight (RFC 9000 §8.1, initcwnd of TCP).
const MAX_VALUE: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(oid: &str, value: &[u8], expected: &Result<(), InvalidExtension>) {
        let parsed = ExtraExtension::parse(oid, false, value).map(drop);
        assert_eq!(&parsed, expected, "{oid}");
    }

    #[test]
    fn extensions_that_mean_nothing_to_verifiers_are_taken() {
        check("1.3.6.1.4.1.32473.1", &[0x0c, 1, b'a'], &Ok(()));
        check("2.5.29.32", &[0x30, 0], &Ok(()));
        let text = ExtraExtension::parse_text("1.3.6.1.4.1.32473.1", true, "ä").expect("good");
        assert_eq!(text.value, [0x0c, 2, 0xc3, 0xa4]);
        assert!(text.is_critical());
    }

    #[test]
    fn extensions_that_say_who_may_do_what_are_refused() {
        for (oid, _) in id::NAMED {
            let oid = oid.to_string();
            if oid != "2.5.29.32" {
                let refused = ExtraExtension::parse(&oid, false, &[5, 0]);
                assert!(
                    matches!(refused, Err(InvalidExtension::Taken { .. })),
                    "{oid}"
                );
            }
        }
        for (oid, name) in OTHERS {
            check(
                &oid.to_string(),
                &[5, 0],
                &Err(InvalidExtension::Taken { name }),
            );
        }
    }

    #[test]
    fn values_are_one_element_and_oids_are_dotted() {
        let oid = "1.3.6.1.4.1.32473.1";
        for value in [&[][..], &[5], &[5, 0, 5, 0], &[0x0c, 2, b'a']] {
            check(oid, value, &Err(InvalidExtension::Value));
        }
        check(
            oid,
            &[0; 4097],
            &Err(InvalidExtension::Long { bytes: 4097 }),
        );
        for oid in ["", "1", "a.b", "1.3.6.1.", "9.9.9"] {
            check(oid, &[5, 0], &Err(InvalidExtension::Oid));
        }
    }
}
