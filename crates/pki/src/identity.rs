//! Identity: the pair of the trust bundle that vouches and the typed name it vouches for.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use const_oid::ObjectIdentifier;

use crate::certificate::{ExtendedKeyUsage, Extension, ExtensionPlace};
use crate::dn::DistinguishedName;
use crate::fingerprint::Fingerprint;
use crate::name::TypedName;
use crate::serial::SerialNumber;
use crate::time::UnixTime;

/// The name of a trust bundle in the configuration: `internal`, `acme-corp`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BundleName(Arc<str>);

impl BundleName {
    /// The authority's own bundle; an `allow` entry that names no bundle means this one.
    pub const INTERNAL: &'static str = "internal";

    /// What the authority's operator issuer vouches for: operators and nodes. No configuration has a bundle of this name.
    pub const OPERATORS: &'static str = "operators";

    /// 1 to 63 lower-case letters, digits and hyphens: it goes into headers, logs and metrics as it is.
    pub fn parse(text: &str) -> Result<Self, InvalidBundleName> {
        let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let fits = (1..=63).contains(&text.len()) && text.bytes().all(good);
        if fits {
            Ok(Self(text.into()))
        } else {
            Err(InvalidBundleName)
        }
    }

    /// The authority's own bundle.
    pub fn internal() -> Self {
        Self(Self::INTERNAL.into())
    }

    /// The bundle whose one anchor is the authority's operator issuer.
    pub fn operators() -> Self {
        Self(Self::OPERATORS.into())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Who somebody is: never a name alone, always with the bundle that vouches for it.
///
/// Invariant: no rule, header, cache or session compares the name without the bundle, so two partners who both
/// issue `dns:api.example.com` stay two identities.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Identity {
    /// Whose anchors the chain ended in.
    pub bundle: BundleName,
    /// What the bundle vouches for.
    pub name: TypedName,
}

/// A peer whose chain was verified: everything that rules, headers, sessions and logs may say about it.
///
/// Only [`crate::chain`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedPeer {
    pub(crate) principal: Identity,
    pub(crate) names: Vec<TypedName>,
    pub(crate) subject: DistinguishedName,
    pub(crate) issuer: DistinguishedName,
    pub(crate) serial: SerialNumber,
    pub(crate) not_before: UnixTime,
    pub(crate) not_after: UnixTime,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) spki: Fingerprint,
    pub(crate) path: Vec<PathElement>,
    pub(crate) anchor: Fingerprint,
    pub(crate) anchor_key: Fingerprint,
    pub(crate) chain: Arc<[Vec<u8>]>,
    pub(crate) extended_key_usage: Option<ExtendedKeyUsage>,
    pub(crate) is_canary: bool,
    /// Places in the leaf, the first of `chain`.
    pub(crate) extensions: Vec<ExtensionPlace>,
}

/// A certificate of the verified path, as revocation knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PathElement {
    /// SHA-256 of the issuer's `SubjectPublicKeyInfo`: the key that signed, whatever name it goes by.
    pub issuer_key: Fingerprint,
    /// The certificate's serial number under that key.
    pub serial: SerialNumber,
    /// The certificate's end.
    pub not_after: UnixTime,
}

impl VerifiedPeer {
    /// The identity that policy, headers and logs show first: SPIFFE ID, else DNS SAN, e-mail SAN, CN, subject DN.
    pub fn principal(&self) -> &Identity {
        &self.principal
    }

    /// The bundle that vouches for every name here.
    pub fn bundle(&self) -> &BundleName {
        &self.principal.bundle
    }

    /// Every typed name of the leaf, SANs in the certificate's order, then CN, DN, SPKI and serial with issuer.
    pub fn names(&self) -> &[TypedName] {
        &self.names
    }

    /// Whether it was made to be refused (see [`canary`](crate::canary)).
    pub fn is_canary(&self) -> bool {
        self.is_canary
    }

    /// The leaf's subject.
    pub fn subject(&self) -> &DistinguishedName {
        &self.subject
    }

    /// The leaf's issuer field.
    pub fn issuer(&self) -> &DistinguishedName {
        &self.issuer
    }

    /// The leaf's serial number.
    pub fn serial(&self) -> SerialNumber {
        self.serial
    }

    /// The leaf's beginning.
    pub fn not_before(&self) -> UnixTime {
        self.not_before
    }

    /// The earliest end in the path, from the leaf to the anchor: past it nothing here is vouched for.
    pub fn not_after(&self) -> UnixTime {
        self.not_after
    }

    /// SHA-256 of the leaf.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// SHA-256 of the leaf's `SubjectPublicKeyInfo`.
    pub fn spki(&self) -> Fingerprint {
        self.spki
    }

    /// The path from the leaf up to, without, the anchor.
    pub fn path(&self) -> &[PathElement] {
        &self.path
    }

    /// SHA-256 of the anchor: of several with one key, the one whose validity counted.
    pub fn anchor(&self) -> Fingerprint {
        self.anchor
    }

    /// SHA-256 of the anchor's `SubjectPublicKeyInfo`.
    pub fn anchor_key(&self) -> Fingerprint {
        self.anchor_key
    }

    /// The verified path in DER, leaf first, without the anchor.
    pub fn chain(&self) -> &[Vec<u8>] {
        &self.chain
    }

    /// The same, for whoever keeps it.
    pub fn shared_chain(&self) -> Arc<[Vec<u8>]> {
        Arc::clone(&self.chain)
    }

    /// SHA-256 of the `SubjectPublicKeyInfo` of whoever signed the leaf: its issuer, whatever name that goes by.
    pub fn issuer_key(&self) -> Fingerprint {
        self.path
            .first()
            .map_or(self.anchor_key, |leaf| leaf.issuer_key)
    }

    /// The leaf's extendedKeyUsage; `None` when absent.
    pub fn extended_key_usage(&self) -> Option<&ExtendedKeyUsage> {
        self.extended_key_usage.as_ref()
    }

    /// The leaf's extensions, in order.
    pub fn extensions(&self) -> impl Iterator<Item = Extension<'_>> {
        let der = self.chain.first().map_or(&[][..], Vec::as_slice);
        self.extensions.iter().filter_map(|place| {
            let (oid, value) = (place.oid.clone(), place.value.clone());
            Some(Extension::new(
                der.get(oid)?,
                place.critical,
                der.get(value)?,
            ))
        })
    }

    /// The leaf's extension of this type. A certificate with two of one type was refused (RFC 5280 §4.2).
    pub fn extension(&self, oid: &ObjectIdentifier) -> Option<Extension<'_>> {
        let der = self.chain.first()?;
        let is_wanted =
            |place: &&ExtensionPlace| der.get(place.oid.clone()) == Some(oid.as_bytes());
        let place = self.extensions.iter().find(is_wanted)?;
        let (oid, value) = (place.oid.clone(), place.value.clone());
        Some(Extension::new(
            der.get(oid)?,
            place.critical,
            der.get(value)?,
        ))
    }
}

impl fmt::Display for BundleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Identity {
    /// `name (bundle)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.bundle)
    }
}

impl FromStr for BundleName {
    type Err = InvalidBundleName;

    fn from_str(text: &str) -> Result<Self, InvalidBundleName> {
        Self::parse(text)
    }
}

impl TryFrom<String> for BundleName {
    type Error = InvalidBundleName;

    fn try_from(text: String) -> Result<Self, InvalidBundleName> {
        Self::parse(&text)
    }
}

impl From<BundleName> for String {
    fn from(name: BundleName) -> Self {
        name.0.as_ref().to_owned()
    }
}

/// The text is no bundle name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a bundle name has 1 to 63 lower-case letters, digits and hyphens")]
pub struct InvalidBundleName;
