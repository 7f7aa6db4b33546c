//! Patterns for one name of a peer.

use std::fmt;
use std::net::IpAddr;

use const_oid::ObjectIdentifier;
use countersign_pki::dn::{Attribute, DistinguishedName};
use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::name::{DnsName, NameKind, TypedName};
use countersign_pki::spiffe::TrustDomain;

use super::{InvalidPolicy, PathPattern};
use crate::issuance::IpRange;

/// A pattern for names of one kind; a name of another kind never meets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NamePattern {
    /// The very name.
    Exact(TypedName),
    /// `*.example.com`: one label (RFC 6125 §6.4.3); a certificate's own wildcard name meets it only spelled alike.
    DnsUnder(DnsName),
    /// A SPIFFE ID of this trust domain whose path meets the pattern (`spiffe://example.com/ns/*/api`, `…/**`).
    Spiffe {
        /// Its trust domain.
        trust_domain: TrustDomain,
        /// Its path.
        path: PathPattern,
    },
    /// An IP address of the certificate within this range (`ip:10.0.0.0/8`).
    IpUnder(IpRange),
    /// A subject of these RDNs in whatever order (`dn-unordered:O=Example,CN=api`).
    DnUnordered(DistinguishedName),
    /// A subject with this attribute (`o:Example`, `ou:Payments`), compared whole, case and all.
    Subject {
        /// Which one.
        attribute: SubjectAttribute,
        /// What it says.
        value: String,
    },
    /// The leaf's issuer field (`issuer:CN=Issuing CA`). A name, which another CA under the same bundle may bear too.
    Issuer(DistinguishedName),
    /// A bare word: any typed name that reads like it. Never a DN or a serial with issuer, which are written as such.
    AnyKind(String),
}

/// An attribute of the subject that rules ask for by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SubjectAttribute {
    /// organizationName.
    Organization,
    /// organizationalUnitName.
    OrganizationalUnit,
}

impl SubjectAttribute {
    pub(super) fn oid(self) -> ObjectIdentifier {
        match self {
            Self::Organization => ObjectIdentifier::new_unwrap("2.5.4.10"),
            Self::OrganizationalUnit => ObjectIdentifier::new_unwrap("2.5.4.11"),
        }
    }

    /// A subject may have several.
    pub(super) fn values(self, subject: &DistinguishedName) -> impl Iterator<Item = &str> {
        let of_this = move |attribute: &&Attribute| *attribute.oid() == self.oid();
        subject
            .attributes()
            .iter()
            .filter(of_this)
            .map(Attribute::value)
    }
}

impl fmt::Display for SubjectAttribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Organization => "o",
            Self::OrganizationalUnit => "ou",
        })
    }
}

impl NamePattern {
    /// Reads a rule's identity: a typed name (`spiffe://example.com/ns/*/api`, `dns:*.example.com`, `cn:order-service`), a DN in
    /// whatever notation, else a bare word.
    pub fn parse(text: &str) -> Result<Self, InvalidPolicy> {
        let kind_of = |prefix: &str| {
            NameKind::ALL
                .into_iter()
                .find(|kind| kind.prefix() == prefix)
        };
        let pattern = match text.split_once(':') {
            Some((prefix, rest)) => match (kind_of(prefix), prefix) {
                (Some(NameKind::Spiffe), _) => return Self::parse_as(NameKind::Spiffe, text),
                (Some(kind), _) => return Self::parse_as(kind, rest),
                (None, "o") => return Self::subject(SubjectAttribute::Organization, rest),
                (None, "ou") => return Self::subject(SubjectAttribute::OrganizationalUnit, rest),
                (None, "dn-unordered") => return Self::dn_unordered(rest),
                (None, "issuer") => return Self::issuer(rest),
                (None, _) => None,
            },
            None => None,
        };
        let pattern = pattern.or_else(|| {
            DistinguishedName::parse(text)
                .ok()
                .map(|name| Self::Exact(TypedName::Dn(name)))
        });
        pattern
            .unwrap_or_else(|| Self::AnyKind(text.to_owned()))
            .checked()
    }

    /// Reads a bare `text` as a pattern for names of `kind`: `{ dns = "*.example.com" }`.
    pub fn parse_as(kind: NameKind, text: &str) -> Result<Self, InvalidPolicy> {
        let refuse = |why: String| {
            InvalidPolicy::new(
                format!(
                    "{} {:?}",
                    kind.prefix(),
                    text.chars().take(80).collect::<String>()
                ),
                why,
            )
        };
        if kind == NameKind::Spiffe && text.contains('*') {
            let rest = text
                .strip_prefix("spiffe://")
                .ok_or_else(|| refuse("it does not start with spiffe://".to_owned()))?;
            let (domain, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
            let trust_domain =
                TrustDomain::parse(domain).map_err(|invalid| refuse(invalid.to_string()))?;
            return Self::Spiffe {
                trust_domain,
                path: PathPattern::parse(path)?,
            }
            .checked();
        }
        if kind == NameKind::Ip
            && let Some((address, _)) = text.split_once('/')
        {
            if address
                .parse()
                .is_ok_and(|address: IpAddr| address.to_canonical() != address)
            {
                return Err(refuse("write it as a range of IPv4 addresses".to_owned()));
            }
            return IpRange::parse(text).map(Self::IpUnder).ok_or_else(|| {
                refuse(
                    "it is no range such as 10.0.0.0/8, with nothing behind its prefix".to_owned(),
                )
            });
        }
        let name =
            TypedName::parse_as(kind, text).map_err(|invalid| refuse(invalid.to_string()))?;
        let pattern = match name {
            TypedName::Dns(name) if name.is_wildcard() => Self::DnsUnder(name),
            name => Self::Exact(name),
        };
        pattern.checked()
    }

    /// A subject with this attribute.
    pub fn subject(attribute: SubjectAttribute, value: &str) -> Result<Self, InvalidPolicy> {
        let value = value.to_owned();
        Self::Subject { attribute, value }.checked()
    }

    /// A subject of these RDNs in whatever order.
    pub fn dn_unordered(text: &str) -> Result<Self, InvalidPolicy> {
        read_dn("dn_unordered", text).map(Self::DnUnordered)
    }

    /// The leaf's issuer field.
    pub fn issuer(text: &str) -> Result<Self, InvalidPolicy> {
        read_dn("issuer", text).map(Self::Issuer)
    }

    /// Whether `name` meets it. Allocates nothing but to put RDNs in order.
    pub(super) fn is_met_by(&self, name: &TypedName) -> bool {
        match (self, name) {
            (Self::Exact(exact), name) => exact == name,
            (Self::DnsUnder(pattern), TypedName::Dns(name)) => {
                pattern == name || pattern.covers(name)
            }
            (Self::Spiffe { trust_domain, path }, TypedName::Spiffe(id)) => {
                id.trust_domain() == trust_domain && path.matches(id.path())
            }
            (Self::IpUnder(range), TypedName::Ip(address)) => range.contains(*address),
            (Self::DnUnordered(wanted), TypedName::Dn(subject)) => {
                wanted.is_permutation_of(subject)
            }
            (Self::Subject { attribute, value }, TypedName::Dn(subject)) => {
                attribute.values(subject).any(|found| found == value)
            }
            (Self::Issuer(wanted), TypedName::SerialIssuer { issuer, .. }) => wanted == issuer,
            (Self::AnyKind(word), name) => reads_like(name, word),
            _ => false,
        }
    }

    /// The kind of name that can meet it; `None`: any.
    pub(super) fn kind(&self) -> Option<NameKind> {
        match self {
            Self::Exact(name) => Some(name.kind()),
            Self::DnsUnder(_) => Some(NameKind::Dns),
            Self::Spiffe { .. } => Some(NameKind::Spiffe),
            Self::IpUnder(_) => Some(NameKind::Ip),
            Self::DnUnordered(_) | Self::Subject { .. } => Some(NameKind::Dn),
            Self::Issuer(_) => Some(NameKind::SerialIssuer),
            Self::AnyKind(_) => None,
        }
    }

    /// Without its kind, as a person would write it.
    pub(super) fn bare(&self) -> String {
        match self {
            Self::Exact(name) => name.bare(),
            Self::DnsUnder(name) => name.to_string(),
            Self::IpUnder(range) => range.to_string(),
            Self::DnUnordered(name) | Self::Issuer(name) => name.to_string(),
            Self::Subject { value, .. } => value.clone(),
            Self::Spiffe { .. } | Self::AnyKind(_) => self.to_string(),
        }
    }

    /// Why no name can ever meet it.
    pub(super) fn fault(&self) -> Option<&'static str> {
        match self {
            // Somebody who writes `cn:web-*` means a pattern; taken as it stands, a deny rule of it would deny nobody.
            Self::Exact(TypedName::Cn(name))
                if name
                    .as_str()
                    .strip_prefix("*.")
                    .unwrap_or(name.as_str())
                    .contains('*') =>
            {
                Some("there are patterns for DNS names and SPIFFE IDs only")
            }
            Self::Exact(TypedName::Email(address)) if address.as_str().contains('*') => {
                Some("there are patterns for DNS names and SPIFFE IDs only")
            }
            Self::DnsUnder(name) if !name.is_wildcard() => {
                Some("a pattern for the names under a domain is written *.example.com")
            }
            Self::Spiffe { path, .. } => {
                let good = |byte: u8| byte.is_ascii_alphanumeric() || b".-_*".contains(&byte);
                let met = path
                    .segments()
                    .iter()
                    .all(|segment| !segment.is_empty() && segment.bytes().all(good));
                (!met).then_some("no SPIFFE ID has such a path: its segments are of [A-Za-z0-9._-] and it has no trailing slash")
            }
            Self::AnyKind(word)
                if word.is_empty() || word.chars().any(char::is_control) || word.trim() != word =>
            {
                Some(
                    "a bare word is not empty, has no control characters and no spaces at its ends",
                )
            }
            Self::AnyKind(word) if word.contains('*') => {
                Some("a pattern is written with its kind, such as dns:*.example.com")
            }
            // What is a typed name in one place and a bare word in another would be matched in two ways.
            Self::AnyKind(word) if word.parse::<TypedName>().is_ok() => {
                Some("it is a typed name, not a bare word")
            }
            Self::AnyKind(word) if DistinguishedName::parse(word).is_ok() => {
                Some("it is a distinguished name, not a bare word")
            }
            Self::Subject { value, .. }
                if value.is_empty() || value.chars().any(char::is_control) =>
            {
                Some("no subject has an attribute that is empty or has control characters")
            }
            Self::Subject { value, .. } if value.contains('*') => {
                Some("there are patterns for DNS names and SPIFFE IDs only")
            }
            Self::DnUnordered(name) | Self::Issuer(name) if name.is_empty() => Some("it is empty"),
            Self::Exact(_)
            | Self::DnsUnder(_)
            | Self::IpUnder(_)
            | Self::DnUnordered(_)
            | Self::Subject { .. }
            | Self::Issuer(_)
            | Self::AnyKind(_) => None,
        }
    }

    fn checked(self) -> Result<Self, InvalidPolicy> {
        match self.fault() {
            Some(why) => Err(InvalidPolicy::new(
                format!(
                    "{:?}",
                    self.to_string().chars().take(80).collect::<String>()
                ),
                why,
            )),
            None => Ok(self),
        }
    }
}

impl fmt::Display for NamePattern {
    /// What [`NamePattern::parse`] reads.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => name.fmt(f),
            Self::DnsUnder(name) => write!(f, "dns:{name}"),
            Self::Spiffe { trust_domain, path } => write!(f, "spiffe://{trust_domain}{path}"),
            Self::IpUnder(range) => write!(f, "ip:{range}"),
            Self::DnUnordered(name) => write!(f, "dn-unordered:{name}"),
            Self::Subject { attribute, value } => write!(f, "{attribute}:{value}"),
            Self::Issuer(name) => write!(f, "issuer:{name}"),
            Self::AnyKind(word) => f.write_str(word),
        }
    }
}

fn read_dn(kind: &str, text: &str) -> Result<DistinguishedName, InvalidPolicy> {
    let place = format!("{kind} {:?}", text.chars().take(80).collect::<String>());
    match DistinguishedName::parse(text) {
        Ok(name) if name.is_empty() => Err(InvalidPolicy::new(place, "it is empty")),
        Ok(name) => Ok(name),
        Err(invalid) => Err(InvalidPolicy::new(place, invalid.to_string())),
    }
}

/// Whether `word`, read as a name of `name`'s kind, is that name: `API.example.com` is `dns:api.example.com`, and no other
/// spelling of a name gets past a deny rule.
fn reads_like(name: &TypedName, word: &str) -> bool {
    match name {
        TypedName::Spiffe(id) => id.as_str() == word,
        TypedName::Dns(name) => name
            .as_str()
            .eq_ignore_ascii_case(word.strip_suffix('.').unwrap_or(word)),
        TypedName::Ip(address) => word.parse::<IpAddr>().is_ok_and(|read| read == *address),
        TypedName::Email(address) => {
            match (address.as_str().rsplit_once('@'), word.rsplit_once('@')) {
                (Some((local, domain)), Some((read, read_domain))) => {
                    local == read && domain.eq_ignore_ascii_case(read_domain)
                }
                _ => false,
            }
        }
        TypedName::Uri(uri) => uri.as_str() == word,
        TypedName::Cn(name) => name.as_str() == word,
        TypedName::Spki(fingerprint) => word
            .parse::<Fingerprint>()
            .is_ok_and(|read| read == *fingerprint),
        TypedName::Dn(_) | TypedName::SerialIssuer { .. } => false,
    }
}
