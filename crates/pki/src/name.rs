//! Typed names: what a certificate says its holder is called. A name of one kind never equals a name of another.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::dn::{DistinguishedName, InvalidDn};
use crate::fingerprint::Fingerprint;
use crate::serial::SerialNumber;
use crate::spiffe::{InvalidSpiffeId, SpiffeId};

/// One name out of a verified certificate, with its kind.
///
/// A URI that is a valid SPIFFE ID is `Spiffe`, never `Uri`; a DNS rule is never satisfied by a CN, an e-mail
/// address or a URI (Envoy CVE-2022-21656 was that confusion).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum TypedName {
    /// `spiffe://…` out of a URI SAN.
    Spiffe(SpiffeId),
    /// A dNSName SAN.
    Dns(DnsName),
    /// An iPAddress SAN.
    Ip(IpAddr),
    /// An rfc822Name SAN.
    Email(EmailAddress),
    /// A uniformResourceIdentifier SAN that is no SPIFFE ID.
    Uri(Uri),
    /// The one commonName of the subject.
    Cn(CommonName),
    /// The whole subject.
    Dn(DistinguishedName),
    /// The SHA-256 of the `SubjectPublicKeyInfo`.
    Spki(Fingerprint),
    /// The serial number under the issuer's name.
    SerialIssuer {
        /// Unique under the issuer.
        serial: SerialNumber,
        /// The issuer field.
        issuer: DistinguishedName,
    },
}

impl TypedName {
    /// The prefix that a typed name is written with.
    pub fn kind(&self) -> NameKind {
        match self {
            Self::Spiffe(_) => NameKind::Spiffe,
            Self::Dns(_) => NameKind::Dns,
            Self::Ip(_) => NameKind::Ip,
            Self::Email(_) => NameKind::Email,
            Self::Uri(_) => NameKind::Uri,
            Self::Cn(_) => NameKind::Cn,
            Self::Dn(_) => NameKind::Dn,
            Self::Spki(_) => NameKind::Spki,
            Self::SerialIssuer { .. } => NameKind::SerialIssuer,
        }
    }

    /// The name without its kind, as a person would write it.
    pub fn bare(&self) -> String {
        match self {
            Self::Spiffe(id) => id.to_string(),
            Self::Dns(name) => name.to_string(),
            Self::Ip(address) => address.to_string(),
            Self::Email(address) => address.to_string(),
            Self::Uri(uri) => uri.to_string(),
            Self::Cn(name) => name.to_string(),
            Self::Dn(name) => name.to_string(),
            Self::Spki(fingerprint) => fingerprint.to_string(),
            Self::SerialIssuer { serial, issuer } => format!("{serial}@{issuer}"),
        }
    }
}

impl fmt::Display for TypedName {
    /// `spiffe://…`, else `kind:name`; what [`FromStr`] reads.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spiffe(id) => id.fmt(f),
            other => write!(f, "{}:{}", other.kind().prefix(), other.bare()),
        }
    }
}

impl FromStr for TypedName {
    type Err = InvalidName;

    /// Reads `spiffe://…`, `dns:`, `ip:`, `email:`, `uri:`, `cn:`, `dn:`, `spki:` and `serial:SERIAL@ISSUER-DN`.
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        if text.starts_with("spiffe://") {
            return Ok(Self::Spiffe(SpiffeId::parse(text)?));
        }
        let (prefix, rest) = text.split_once(':').ok_or(InvalidName::Untyped)?;
        let kind = NameKind::ALL
            .into_iter()
            .find(|kind| kind.prefix() == prefix)
            .ok_or(InvalidName::Untyped)?;
        Self::parse_as(kind, rest)
    }
}

impl TypedName {
    /// Reads the bare `text` as a name of `kind`.
    pub fn parse_as(kind: NameKind, text: &str) -> Result<Self, InvalidName> {
        Ok(match kind {
            NameKind::Spiffe => Self::Spiffe(SpiffeId::parse(text)?),
            NameKind::Dns => Self::Dns(DnsName::parse(text)?),
            NameKind::Ip => Self::Ip(text.parse().map_err(|_| InvalidName::Ip)?),
            NameKind::Email => Self::Email(EmailAddress::parse(text)?),
            NameKind::Uri => Self::Uri(Uri::parse(text)?),
            NameKind::Cn => Self::Cn(CommonName::parse(text)?),
            NameKind::Dn => Self::Dn(DistinguishedName::parse(text)?),
            NameKind::Spki => Self::Spki(text.parse().map_err(|_| InvalidName::Spki)?),
            NameKind::SerialIssuer => {
                let (serial, issuer) = text.split_once('@').ok_or(InvalidName::SerialIssuer)?;
                Self::SerialIssuer {
                    serial: serial.parse().map_err(|_| InvalidName::SerialIssuer)?,
                    issuer: DistinguishedName::parse(issuer)?,
                }
            }
        })
    }
}

impl TryFrom<String> for TypedName {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<Self, InvalidName> {
        text.parse()
    }
}

impl From<TypedName> for String {
    fn from(name: TypedName) -> Self {
        name.to_string()
    }
}

/// The kinds of [`TypedName`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NameKind {
    /// See [`TypedName::Spiffe`].
    Spiffe,
    /// See [`TypedName::Dns`].
    Dns,
    /// See [`TypedName::Ip`].
    Ip,
    /// See [`TypedName::Email`].
    Email,
    /// See [`TypedName::Uri`].
    Uri,
    /// See [`TypedName::Cn`].
    Cn,
    /// See [`TypedName::Dn`].
    Dn,
    /// See [`TypedName::Spki`].
    Spki,
    /// See [`TypedName::SerialIssuer`].
    SerialIssuer,
}

impl NameKind {
    /// Every kind.
    pub const ALL: [Self; 9] = [
        Self::Spiffe,
        Self::Dns,
        Self::Ip,
        Self::Email,
        Self::Uri,
        Self::Cn,
        Self::Dn,
        Self::Spki,
        Self::SerialIssuer,
    ];

    /// The word before the colon.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Spiffe => "spiffe",
            Self::Dns => "dns",
            Self::Ip => "ip",
            Self::Email => "email",
            Self::Uri => "uri",
            Self::Cn => "cn",
            Self::Dn => "dn",
            Self::Spki => "spki",
            Self::SerialIssuer => "serial",
        }
    }
}

/// A DNS name in lower case, without a trailing dot; the first label may be `*` (RFC 6125 §6.4.3).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DnsName(String);

impl DnsName {
    /// LDH labels of 1 to 63 bytes (`_` too, which the field uses), 253 bytes in all (RFC 1035 §2.3.4). IP literals are no names.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        let bare = text.strip_suffix('.').unwrap_or(text);
        let labels = bare.strip_prefix("*.").unwrap_or(bare);
        let good_label = |label: &str| {
            (1..=63).contains(&label.len())
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        // RFC 3696 §2: an all-numeric top label would read as an IPv4 address.
        let numeric_end = labels
            .rsplit('.')
            .next()
            .is_some_and(|label| label.bytes().all(|b| b.is_ascii_digit()));
        if bare.is_empty() || bare.len() > 253 || numeric_end || !labels.split('.').all(good_label)
        {
            return Err(InvalidName::Dns);
        }
        Ok(Self(bare.to_ascii_lowercase()))
    }

    /// The name in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the first label is `*`.
    pub fn is_wildcard(&self) -> bool {
        self.0.starts_with("*.")
    }

    /// Whether this name, or the one label its wildcard stands for, covers `host` (RFC 6125 §6.4.3).
    pub fn covers(&self, host: &Self) -> bool {
        match self.0.strip_prefix("*.") {
            Some(parent) => host
                .0
                .split_once('.')
                .is_some_and(|(label, rest)| label != "*" && rest == parent),
            None => self.0 == host.0,
        }
    }
}

/// An e-mail address: the domain in lower case, the local part as written (RFC 5280 §4.2.1.6, §7.5).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EmailAddress(String);

impl EmailAddress {
    /// A dot-atom local part (RFC 5322 §3.4.1) at a DNS name, 254 bytes in all.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        let (local, domain) = text.rsplit_once('@').ok_or(InvalidName::Email)?;
        let atom =
            |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.".contains(&byte);
        let domain = DnsName::parse(domain).map_err(|_| InvalidName::Email)?;
        let dots = local.starts_with('.') || local.ends_with('.') || local.contains("..");
        if local.is_empty()
            || text.len() > 254
            || dots
            || domain.is_wildcard()
            || !local.bytes().all(atom)
        {
            return Err(InvalidName::Email);
        }
        Ok(Self(format!("{local}@{domain}")))
    }

    /// The address.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// An absolute URI as its certificate spells it; compared byte by byte.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uri(String);

impl Uri {
    /// A scheme, a colon and visible ASCII, at most 2048 bytes (RFC 3986 §3). A SPIFFE ID is not taken: it has a kind of its own.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        let (scheme, rest) = text.split_once(':').ok_or(InvalidName::Uri)?;
        let scheme_ok = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
        let rest_ok = !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_graphic());
        if !scheme_ok || !rest_ok || text.len() > 2048 || scheme.eq_ignore_ascii_case("spiffe") {
            return Err(InvalidName::Uri);
        }
        Ok(Self(text.to_owned()))
    }

    /// The URI.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A common name: 1 to 64 characters (RFC 5280 appendix A, ub-common-name), none of them a control character.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommonName(String);

impl CommonName {
    /// Compared byte by byte; no case folding, no trimming: surrounding spaces are refused.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        let length = text.chars().count();
        if !(1..=64).contains(&length) || text.chars().any(char::is_control) || text.trim() != text
        {
            return Err(InvalidName::Cn);
        }
        Ok(Self(text.to_owned()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

macro_rules! shown_as_written {
    ($($name:ty),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}
shown_as_written!(DnsName, EmailAddress, Uri, CommonName);

/// Why a text is not a name of its kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// See [`CommonName`].
    #[error(
        "a common name has 1 to 64 characters, no control characters and no spaces at its ends"
    )]
    Cn,
    /// See [`DnsName`].
    #[error(
        "a DNS name is labels of letters, digits and hyphens joined by dots, at most 253 bytes"
    )]
    Dns,
    /// See [`DistinguishedName`].
    #[error(transparent)]
    Dn(#[from] InvalidDn),
    /// See [`EmailAddress`].
    #[error("an e-mail address is local-part@domain, at most 254 bytes, without quotes or spaces")]
    Email,
    /// Neither IPv4 nor IPv6.
    #[error("an IP address is IPv4 or IPv6, without a port or mask")]
    Ip,
    /// See [`TypedName::SerialIssuer`].
    #[error("a serial and issuer are written SERIAL@ISSUER-DN")]
    SerialIssuer,
    /// See [`SpiffeId`].
    #[error(transparent)]
    Spiffe(#[from] InvalidSpiffeId),
    /// See [`Fingerprint`].
    #[error("an SPKI hash is 64 hexadecimal digits (SHA-256)")]
    Spki,
    /// No known prefix.
    #[error(
        "a typed name starts with spiffe://, dns:, ip:, email:, uri:, cn:, dn:, spki: or serial:"
    )]
    Untyped,
    /// See [`Uri`].
    #[error("a URI has a scheme (not spiffe), a colon and visible ASCII, at most 2048 bytes")]
    Uri,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_with_their_kind() {
        for text in [
            "spiffe://example.com/api",
            "dns:*.example.com",
            "ip:2001:db8::1",
            "email:a.b+c@example.com",
            "uri:urn:example:1",
            "cn:order service",
            "spki:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        ] {
            assert_eq!(
                text.parse::<TypedName>().map(|name| name.to_string()),
                Ok(text.to_owned())
            );
        }
        assert_eq!(
            "dns:API.Example.com."
                .parse::<TypedName>()
                .map(|n| n.bare()),
            Ok("api.example.com".to_owned())
        );
    }

    #[test]
    fn a_name_of_one_kind_never_equals_another() {
        let cn: TypedName = "cn:api.example.com".parse().expect("valid");
        let dns: TypedName = "dns:api.example.com".parse().expect("valid");
        assert_ne!(cn, dns);
    }

    #[test]
    fn malformed_names_are_rejected() {
        for text in [
            "",
            "api.example.com",
            "host:api",
            "dns:",
            "dns:a..b",
            "dns:-a.b",
            "dns:a b",
            "dns:a\0.b",
            "dns:10.0.0.1",
            "dns:*",
            "dns:*.*.b",
            "dns:a.*.b",
            "ip:10.0.0.1/8",
            "ip:10.0.0",
            "email:a",
            "email:@b.c",
            "email:a@@b.c",
            "email:a..b@c.d",
            "email:\"a b\"@c.d",
            "email:a@*.c",
            "uri:spiffe://a/b",
            "uri:nothing",
            "uri:a: b",
            "cn:",
            "cn: a",
            "cn:a\0b",
            "spki:ab",
            "serial:ff",
            "SPIFFE://a/b",
        ] {
            assert!(text.parse::<TypedName>().is_err(), "{text:?}");
        }
        assert!(
            format!("cn:{}", "a".repeat(65))
                .parse::<TypedName>()
                .is_err()
        );
        assert!(
            format!("dns:{}.com", "a".repeat(64))
                .parse::<TypedName>()
                .is_err()
        );
    }

    #[test]
    fn a_wildcard_covers_exactly_one_label() {
        let name = |text| DnsName::parse(text).expect("valid");
        assert!(name("*.example.com").covers(&name("a.example.com")));
        for host in [
            "example.com",
            "a.b.example.com",
            "*.example.com",
            "aexample.com",
        ] {
            assert!(!name("*.example.com").covers(&name(host)), "{host}");
        }
    }
}
