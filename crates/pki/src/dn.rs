//! Distinguished names (X.501, RFC 5280 §4.1.2.4) and how they are written: RFC 4514, read in OpenSSL's slash form too.

mod der_form;
mod text;

use std::fmt;
use std::sync::Arc;

use const_oid::ObjectIdentifier;

use crate::name::CommonName;

/// A subject or issuer: RDNs in the certificate's order, each of one or more attributes.
///
/// Two are equal when their decoded values are, in the same order; case and spaces count. Within an RDN, which is a
/// set, attributes stand in the order of their encoding. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DistinguishedName {
    attributes: Arc<[Attribute]>,
}

/// One type and value of a distinguished name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attribute {
    kind: ObjectIdentifier,
    value: String,
    /// Whether it belongs to the RDN of the attribute before it.
    joins_previous: bool,
}

impl DistinguishedName {
    /// Reads RFC 4514 (`CN=api,O=Example,C=DE`: the certificate's last RDN comes first) and OpenSSL's `/C=DE/O=Example/CN=api`
    /// (the certificate's order). Spaces around `=`, `,` and `+` are skipped; `#hex` values, quotes and `;` are refused.
    pub fn parse(text: &str) -> Result<Self, InvalidDn> {
        Self::from_rdns(text::parse(text)?)
    }

    /// Takes a DER `Name`: at most 16 KiB, 64 attributes, 1024 characters a value, none of them a control character.
    pub fn from_der(der: &[u8]) -> Result<Self, InvalidDn> {
        Self::from_rdns(der_form::decode(der)?)
    }

    /// A subject of one common name.
    pub fn from_common_name(name: &CommonName) -> Self {
        Self {
            attributes: Arc::new([Attribute::common_name(name)]),
        }
    }

    /// This name with a common name as its last, most specific RDN.
    #[must_use]
    pub fn append_common_name(&self, name: &CommonName) -> Self {
        Self {
            attributes: self
                .attributes
                .iter()
                .cloned()
                .chain([Attribute::common_name(name)])
                .collect(),
        }
    }

    /// This name without the RDNs that have a common name.
    #[must_use]
    pub fn without_common_names(&self) -> Self {
        let rdns = self
            .attributes
            .chunk_by(|_, next| next.joins_previous)
            .filter(|rdn| rdn.iter().all(|attribute| attribute.kind != COMMON_NAME));
        Self {
            attributes: rdns.flatten().cloned().collect(),
        }
    }

    /// The DER `Name`.
    pub fn to_der(&self) -> Vec<u8> {
        der_form::encode(self)
    }

    /// No RDN at all.
    pub fn is_empty(&self) -> bool {
        self.attributes.is_empty()
    }

    /// The common name, if there is exactly one.
    pub fn common_name(&self) -> Option<&str> {
        let mut all = self
            .attributes
            .iter()
            .filter(|attribute| attribute.kind == COMMON_NAME);
        all.next()
            .filter(|_| all.next().is_none())
            .map(Attribute::value)
    }

    /// Every attribute, in the certificate's order.
    pub fn attributes(&self) -> &[Attribute] {
        &self.attributes
    }

    /// Whether both have the same RDNs, in whatever order. [`PartialEq`] asks for the order too.
    pub fn is_permutation_of(&self, other: &Self) -> bool {
        let sorted = |name: &Self| {
            let mut rdns: Vec<Vec<Attribute>> = name.rdns().map(<[_]>::to_vec).collect();
            rdns.sort_unstable();
            rdns
        };
        self.attributes.len() == other.attributes.len() && sorted(self) == sorted(other)
    }

    /// The RDNs, in the certificate's order.
    fn rdns(&self) -> impl DoubleEndedIterator<Item = &[Attribute]> {
        self.attributes.chunk_by(|_, next| next.joins_previous)
    }

    fn from_rdns(rdns: Vec<Vec<Attribute>>) -> Result<Self, InvalidDn> {
        let count = rdns.iter().map(Vec::len).sum::<usize>();
        if count > MAX_ATTRIBUTES {
            return Err(InvalidDn::new(format!(
                "it has {count} attributes, at most {MAX_ATTRIBUTES} are taken"
            )));
        }
        let mut attributes = Vec::with_capacity(count);
        for mut rdn in rdns {
            // X.690 §11.6: a SET OF stands in the order of its encodings, so that one set has one spelling.
            if rdn.len() > 1 {
                rdn.sort_by_cached_key(der_form::encode_attribute);
            }
            for (place, attribute) in rdn.into_iter().enumerate() {
                attributes.push(Attribute {
                    joins_previous: place > 0,
                    ..attribute
                });
            }
        }
        Ok(Self {
            attributes: attributes.into(),
        })
    }
}

impl Attribute {
    /// The keyword (`CN`, `O`, …), or the dotted object identifier of a type without one.
    pub fn kind(&self) -> String {
        KEYWORDS
            .iter()
            .find(|(_, kind)| *kind == self.kind)
            .map_or_else(
                || self.kind.to_string(),
                |(keyword, _)| (*keyword).to_owned(),
            )
    }

    /// The type.
    pub fn oid(&self) -> &ObjectIdentifier {
        &self.kind
    }

    /// The decoded value.
    pub fn value(&self) -> &str {
        &self.value
    }

    fn new(kind: ObjectIdentifier, value: String) -> Result<Self, InvalidDn> {
        let length = value.chars().count();
        if length > MAX_VALUE_CHARACTERS {
            return Err(InvalidDn::new(format!(
                "a value has {length} characters, at most {MAX_VALUE_CHARACTERS} are taken"
            )));
        }
        if value.contains('\0') {
            return Err(InvalidDn::new("a value contains a NUL character"));
        }
        if value.chars().any(char::is_control) {
            return Err(InvalidDn::new("a value contains a control character"));
        }
        Ok(Self {
            kind,
            value,
            joins_previous: false,
        })
    }

    fn common_name(name: &CommonName) -> Self {
        Self {
            kind: COMMON_NAME,
            value: name.as_str().to_owned(),
            joins_previous: false,
        }
    }
}

impl fmt::Display for DistinguishedName {
    /// RFC 4514. DEVIATES: types without a keyword are written as their OID with the plain value, not its hex encoding.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, rdn) in self.rdns().rev().enumerate() {
            if place > 0 {
                f.write_str(",")?;
            }
            for attribute in rdn {
                let joint = if attribute.joins_previous { "+" } else { "" };
                write!(
                    f,
                    "{joint}{}={}",
                    attribute.kind(),
                    text::Escaped(&attribute.value)
                )?;
            }
        }
        Ok(())
    }
}

/// Why text or bytes are not a distinguished name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a distinguished name: {why}")]
pub struct InvalidDn {
    why: String,
}

impl InvalidDn {
    fn new(why: impl Into<String>) -> Self {
        Self { why: why.into() }
    }

    /// The reason alone.
    pub fn why(&self) -> &str {
        &self.why
    }
}

/// A peer sends these on every handshake: far above what is in use (a subject of ours has under 300 bytes), far below
/// what would cost anything.
const MAX_DER_BYTES: usize = 16 * 1024;
const MAX_ATTRIBUTES: usize = 64;
const MAX_VALUE_CHARACTERS: usize = 1024;

const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
const COUNTRY: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.6");
const SERIAL_NUMBER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.5");
const DOMAIN_COMPONENT: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("0.9.2342.19200300.100.1.25");
const EMAIL_ADDRESS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.1");

/// RFC 4514 §3, and the four that OpenSSL and everybody else writes beside them.
const KEYWORDS: [(&str, ObjectIdentifier); 14] = [
    ("CN", COMMON_NAME),
    ("O", ObjectIdentifier::new_unwrap("2.5.4.10")),
    ("OU", ObjectIdentifier::new_unwrap("2.5.4.11")),
    ("C", COUNTRY),
    ("L", ObjectIdentifier::new_unwrap("2.5.4.7")),
    ("ST", ObjectIdentifier::new_unwrap("2.5.4.8")),
    ("STREET", ObjectIdentifier::new_unwrap("2.5.4.9")),
    ("DC", DOMAIN_COMPONENT),
    (
        "UID",
        ObjectIdentifier::new_unwrap("0.9.2342.19200300.100.1.1"),
    ),
    ("serialNumber", SERIAL_NUMBER),
    ("emailAddress", EMAIL_ADDRESS),
    ("GN", ObjectIdentifier::new_unwrap("2.5.4.42")),
    ("SN", ObjectIdentifier::new_unwrap("2.5.4.4")),
    ("T", ObjectIdentifier::new_unwrap("2.5.4.12")),
];
