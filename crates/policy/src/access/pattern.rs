//! Patterns for one name of a peer.

use std::fmt;
use std::net::IpAddr;

use countersign_pki::dn::DistinguishedName;
use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::name::{DnsName, NameKind, TypedName};
use countersign_pki::spiffe::TrustDomain;

use super::{InvalidPolicy, PathPattern};

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
    /// A bare word: any typed name that reads like it. Never a DN or a serial with issuer, which are written as such.
    AnyKind(String),
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
            Some((prefix, rest)) => match kind_of(prefix) {
                Some(NameKind::Spiffe) => return Self::parse_as(NameKind::Spiffe, text),
                Some(kind) => return Self::parse_as(kind, rest),
                None => None,
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
        let name =
            TypedName::parse_as(kind, text).map_err(|invalid| refuse(invalid.to_string()))?;
        let pattern = match name {
            TypedName::Dns(name) if name.is_wildcard() => Self::DnsUnder(name),
            name => Self::Exact(name),
        };
        pattern.checked()
    }

    /// Whether `name` meets it. Allocates nothing.
    pub(super) fn is_met_by(&self, name: &TypedName) -> bool {
        match (self, name) {
            (Self::Exact(exact), name) => exact == name,
            (Self::DnsUnder(pattern), TypedName::Dns(name)) => {
                pattern == name || pattern.covers(name)
            }
            (Self::Spiffe { trust_domain, path }, TypedName::Spiffe(id)) => {
                id.trust_domain() == trust_domain && path.matches(id.path())
            }
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
            Self::AnyKind(_) => None,
        }
    }

    /// Without its kind, as a person would write it.
    pub(super) fn bare(&self) -> String {
        match self {
            Self::Exact(name) => name.bare(),
            Self::DnsUnder(name) => name.to_string(),
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
            Self::Exact(_) | Self::DnsUnder(_) | Self::AnyKind(_) => None,
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
            Self::AnyKind(word) => f.write_str(word),
        }
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
