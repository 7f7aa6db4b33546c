//! A name that a chain's leaf must hold.

use super::Purpose;
use super::fault::{ChainFaultKind, NameFault};
use crate::certificate::Certificate;
use crate::identity::VerifiedPeer;
use crate::name::{DnsName, InvalidName, NameKind, TypedName};

/// What to look for among a peer's names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpectedName(Expected);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Expected {
    /// A bare word: a name of any kind.
    AnyKind(String),
    /// Covered by a DNS name, which may be a wildcard.
    Host(DnsName),
    /// This very name.
    Same(TypedName),
}

impl ExpectedName {
    /// Reads what a person writes. Of a server, a bare word is an IP address or a host, and its CN is never asked
    /// (RFC 9525 §2); of a client, it is a name of any kind.
    pub fn parse(text: &str, purpose: Purpose) -> Result<Self, InvalidExpectedName> {
        let is_server = purpose == Purpose::ServerAuth;
        if let Ok(typed) = text.parse::<TypedName>() {
            return match typed {
                TypedName::Dns(name) => Self::host(name),
                TypedName::Cn(_) | TypedName::Dn(_) if is_server => {
                    Err(InvalidExpectedName::ServerSubject)
                }
                other => Ok(Self(Expected::Same(other))),
            };
        }
        if is_server {
            return match TypedName::parse_as(NameKind::Ip, text) {
                Ok(address) => Ok(Self(Expected::Same(address))),
                Err(_) => Self::host(DnsName::parse(text)?),
            };
        }
        let is_name = NameKind::ALL
            .iter()
            .any(|&kind| TypedName::parse_as(kind, text).is_ok());
        if is_name {
            Ok(Self(Expected::AnyKind(text.to_owned())))
        } else {
            Err(InvalidName::Untyped.into())
        }
    }

    /// The name, if it says of which trust domain its holder is.
    pub fn spiffe_id(&self) -> Option<&crate::spiffe::SpiffeId> {
        match &self.0 {
            Expected::Same(TypedName::Spiffe(id)) => Some(id),
            _ => None,
        }
    }

    fn host(name: DnsName) -> Result<Self, InvalidExpectedName> {
        if name.is_wildcard() {
            Err(InvalidExpectedName::Wildcard)
        } else {
            Ok(Self(Expected::Host(name)))
        }
    }

    pub(super) fn check(
        &self,
        peer: &VerifiedPeer,
        leaf: &Certificate,
    ) -> Result<(), ChainFaultKind> {
        self.find(peer.names(), leaf)
    }

    /// Whether a certificate holds it, whoever vouches for that.
    pub fn find_in(&self, leaf: &Certificate) -> Result<(), ChainFaultKind> {
        self.find(leaf.names(), leaf)
    }

    fn find(&self, names: &[TypedName], leaf: &Certificate) -> Result<(), ChainFaultKind> {
        let is_held = match &self.0 {
            Expected::AnyKind(text) => NameKind::ALL
                .iter()
                .filter_map(|&kind| TypedName::parse_as(kind, text).ok())
                .any(|name| names.contains(&name)),
            Expected::Host(host) => names.iter().any(|name| covers(name, host)),
            Expected::Same(same) => names.contains(same),
        };
        if is_held {
            return Ok(());
        }
        Err(ChainFaultKind::NameMismatch {
            expected: match &self.0 {
                Expected::AnyKind(text) => text.clone(),
                Expected::Host(host) => host.to_string(),
                Expected::Same(name) => name.bare(),
            },
            fault: self.fault(leaf),
        })
    }

    fn fault(&self, leaf: &Certificate) -> NameFault {
        match &self.0 {
            Expected::Host(_) | Expected::Same(TypedName::Ip(_)) if !leaf.has_alt_names() => {
                NameFault::SanMissing
            }
            Expected::Same(TypedName::Ip(_)) => NameFault::IpSanMissing,
            Expected::Same(TypedName::Spki(_)) => NameFault::Pin,
            Expected::Host(host) if leaf.names().iter().any(|name| is_under(host, name)) => {
                NameFault::Wildcard
            }
            _ => NameFault::Other,
        }
    }
}

/// Why a text is no name to look for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidExpectedName {
    /// No name at all.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// A CN or DN of a server.
    #[error("a server is known by its subjectAltName, never by its subject")]
    ServerSubject,
    /// `*.example.com`.
    #[error("a wildcard names no host")]
    Wildcard,
}

fn covers(name: &TypedName, host: &DnsName) -> bool {
    matches!(name, TypedName::Dns(name) if name.covers(host))
}

/// Whether `host` is the domain of the wildcard `name`, or some labels below it.
fn is_under(host: &DnsName, name: &TypedName) -> bool {
    let TypedName::Dns(name) = name else {
        return false;
    };
    let domain = name.as_str().strip_prefix("*.");
    let below = |domain| host.as_str().strip_suffix(domain);
    domain
        .and_then(below)
        .is_some_and(|labels| labels.is_empty() || labels.ends_with('.'))
}
