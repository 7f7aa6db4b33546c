//! The tenant: a part of an identity that has to stand in the request too.
//!
//! `spiffe://example.com/tenant/{tenant}/**` takes it from the identity, `{tenant}.example.com` asks for it of the host. The condition holds if
//! there is a tenant that every place has; a certificate may give several names and so several.

use std::fmt;

use countersign_pki::identity::VerifiedPeer;
use countersign_pki::name::{DnsName, NameKind, TypedName};
use countersign_pki::spiffe::TrustDomain;

use super::condition::Requested;
use super::pattern::SubjectAttribute;
use super::{InvalidPolicy, NamePattern, PathPattern, header};

/// Where `{tenant}` stands in a condition. The same places hold a `*` in the condition itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tenant {
    sources: Vec<Source>,
    uses: Vec<Use>,
}

/// What gives the tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Source {
    Spiffe {
        trust_domain: TrustDomain,
        path: TenantPath,
    },
    /// The label before this name.
    Dns(String),
    Subject(SubjectAttribute),
}

/// What has to be the tenant's.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Use {
    Header(String),
    /// The label before this name.
    Host(String),
    Path(TenantPath),
}

/// A path whose segments at `places` are the tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
struct TenantPath {
    pattern: PathPattern,
    places: Vec<usize>,
}

impl Tenant {
    /// Whether the text of a field means the tenant.
    pub fn is_in(text: &str) -> bool {
        text.contains(PLACEHOLDER)
    }

    /// Reads `spiffe://example.com/tenant/{tenant}/**`, and gives it with `*` for the tenant.
    pub fn add_spiffe(&mut self, text: &str) -> Result<NamePattern, InvalidPolicy> {
        let starred = text.replace(PLACEHOLDER, "*");
        let NamePattern::Spiffe { trust_domain, path } =
            NamePattern::parse_as(NameKind::Spiffe, &starred)?
        else {
            return Err(invalid(text, WHOLE));
        };
        let rest = text.strip_prefix("spiffe://").unwrap_or(text);
        let written = rest.find('/').map_or("", |at| &rest[at..]);
        self.sources.push(Source::Spiffe {
            trust_domain: trust_domain.clone(),
            path: TenantPath {
                places: places(text, written)?,
                pattern: path.clone(),
            },
        });
        Ok(NamePattern::Spiffe { trust_domain, path })
    }

    /// Reads `{tenant}.clients.example.com`, and gives it with `*` for the tenant.
    pub fn add_dns(&mut self, text: &str) -> Result<NamePattern, InvalidPolicy> {
        let (name, parent) = below(text)?;
        self.sources.push(Source::Dns(parent));
        Ok(NamePattern::DnsUnder(name))
    }

    /// Each value of this attribute of the subject is a tenant.
    pub fn add_subject(
        &mut self,
        attribute: SubjectAttribute,
        text: &str,
    ) -> Result<(), InvalidPolicy> {
        if text != PLACEHOLDER {
            return Err(invalid(text, "here {tenant} stands for the whole value"));
        }
        self.sources.push(Source::Subject(attribute));
        Ok(())
    }

    /// Reads `{tenant}.example.com`, and gives it with `*` for the tenant.
    pub fn use_host(&mut self, text: &str) -> Result<DnsName, InvalidPolicy> {
        let (name, parent) = below(text)?;
        self.uses.push(Use::Host(parent));
        Ok(name)
    }

    /// Reads `/tenants/{tenant}/**`, and gives it with `*` for the tenant.
    pub fn use_path(&mut self, text: &str) -> Result<PathPattern, InvalidPolicy> {
        let pattern = PathPattern::parse(&text.replace(PLACEHOLDER, "*"))?;
        self.uses.push(Use::Path(TenantPath {
            places: places(text, text)?,
            pattern: pattern.clone(),
        }));
        Ok(pattern)
    }

    /// Each value of this header is the tenant.
    pub fn use_header(&mut self, name: &str, text: &str) -> Result<(), InvalidPolicy> {
        if text != PLACEHOLDER {
            return Err(invalid(text, "here {tenant} stands for the whole value"));
        }
        // What names a header and what does not.
        super::HeaderPattern::parse(name, &["x".to_owned()])?;
        self.uses.push(Use::Header(name.to_owned()));
        Ok(())
    }

    /// Whether `{tenant}` stands nowhere.
    pub fn is_empty(&self) -> bool {
        self.sources.is_empty() && self.uses.is_empty()
    }

    /// Why it says nothing.
    pub(super) fn fault(&self) -> Option<&'static str> {
        match (&self.sources[..], &self.uses[..]) {
            ([], []) => Some("it has no place"),
            ([], _) => Some(
                "nothing says whose tenant {tenant} is: write it in spiffe, dns, o or ou of the same entry",
            ),
            ([_], []) => Some(
                "{tenant} is asked of nothing else in this entry: write it in host, path or header too, or write *",
            ),
            _ => None,
        }
    }

    /// The names of the headers that have to say it.
    pub(super) fn headers(&self) -> impl Iterator<Item = &str> {
        self.uses.iter().filter_map(|it| match it {
            Use::Header(name) => Some(name.as_str()),
            Use::Host(_) | Use::Path(_) => None,
        })
    }

    pub(super) fn looks_at_headers(&self) -> bool {
        self.uses.iter().any(|it| matches!(it, Use::Header(_)))
    }

    pub(super) fn asks_of_requests(&self) -> bool {
        !self.uses.is_empty()
    }

    /// Whether the peer has a tenant at all.
    pub(super) fn is_given_by(&self, peer: &VerifiedPeer) -> bool {
        self.any_of(peer, |_| true)
    }

    /// Whether a tenant that the peer gives is the request's. `every`: of each value of a header.
    pub(super) fn is_met_by(
        &self,
        peer: &VerifiedPeer,
        requested: Requested<'_>,
        every: bool,
    ) -> bool {
        self.any_of(peer, |tenant| {
            self.uses
                .iter()
                .all(|place| place.has(tenant, requested, every))
        })
    }

    fn any_of(&self, peer: &VerifiedPeer, is_wanted: impl Fn(&str) -> bool) -> bool {
        let Some((first, others)) = self.sources.split_first() else {
            return false;
        };
        first.any_in(peer, &|tenant| {
            others
                .iter()
                .all(|other| other.any_in(peer, &|found| found == tenant))
                && is_wanted(tenant)
        })
    }
}

impl fmt::Display for Tenant {
    /// `tenant of spiffe://example.com/{tenant}/** in host {tenant}.example.com`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sources: Vec<String> = self.sources.iter().map(ToString::to_string).collect();
        write!(f, "tenant of {}", sources.join(" and "))?;
        for place in &self.uses {
            write!(f, " in {place}")?;
        }
        Ok(())
    }
}

impl Source {
    fn any_in(&self, peer: &VerifiedPeer, is_wanted: &dyn Fn(&str) -> bool) -> bool {
        peer.names().iter().any(|name| match (self, name) {
            (Self::Spiffe { trust_domain, path }, TypedName::Spiffe(id)) => {
                id.trust_domain() == trust_domain && path.tenant(id.path()).is_some_and(is_wanted)
            }
            (Self::Dns(parent), TypedName::Dns(name)) => name
                .as_str()
                .split_once('.')
                // A wildcard is no tenant.
                .is_some_and(|(label, rest)| label != "*" && rest == parent && is_wanted(label)),
            (Self::Subject(attribute), TypedName::Dn(subject)) => {
                let mut values = attribute.values(subject);
                values.any(is_wanted)
            }
            _ => false,
        })
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spiffe { trust_domain, path } => write!(f, "spiffe://{trust_domain}{path}"),
            Self::Dns(parent) => write!(f, "dns:{PLACEHOLDER}.{parent}"),
            Self::Subject(attribute) => write!(f, "{attribute}:{PLACEHOLDER}"),
        }
    }
}

impl Use {
    fn has(&self, tenant: &str, requested: Requested<'_>, every: bool) -> bool {
        let Requested::Http {
            host,
            path,
            headers,
            ..
        } = requested
        else {
            return false;
        };
        match self {
            Self::Header(name) => {
                header::says(headers, name, every, |value| value == tenant.as_bytes())
            }
            Self::Host(parent) => host
                .and_then(|host| host.as_str().split_once('.'))
                .is_some_and(|(label, rest)| label == tenant && rest == parent),
            Self::Path(pattern) => pattern.has(path, tenant),
        }
    }
}

impl fmt::Display for Use {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name) => write!(f, "header {name}"),
            Self::Host(parent) => write!(f, "host {PLACEHOLDER}.{parent}"),
            Self::Path(path) => write!(f, "path {path}"),
        }
    }
}

impl TenantPath {
    /// The one text that every place has; a SPIFFE ID has no percent signs to undo.
    fn tenant<'a>(&self, path: &'a str) -> Option<&'a str> {
        if !self.pattern.matches(path) {
            return None;
        }
        let mut found = self
            .places
            .iter()
            .map(|place| path.split('/').nth(place + 1));
        let first = found.next()??;
        found.all(|other| other == Some(first)).then_some(first)
    }

    fn has(&self, path: &str, tenant: &str) -> bool {
        self.pattern.matches(path)
            && self.places.iter().all(|place| {
                path.split('/')
                    .nth(place + 1)
                    .is_some_and(|segment| super::path::reads(segment, tenant))
            })
    }
}

impl fmt::Display for TenantPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, segment) in self.pattern.segments().iter().enumerate() {
            let is_tenant = self.places.contains(&place);
            write!(f, "/{}", if is_tenant { PLACEHOLDER } else { segment })?;
        }
        f.write_str(if self.pattern.has_rest() { "/**" } else { "" })
    }
}

/// Which segments are the tenant; `text` is what the path was written in.
fn places(text: &str, path: &str) -> Result<Vec<usize>, InvalidPolicy> {
    let segments = path.split('/').skip(1).enumerate();
    let mut places = Vec::new();
    for (place, segment) in segments {
        if segment == PLACEHOLDER {
            places.push(place);
        } else if segment.contains(PLACEHOLDER) {
            return Err(invalid(text, WHOLE));
        }
    }
    if places.is_empty() {
        return Err(invalid(text, WHOLE));
    }
    Ok(places)
}

/// `*` and the name behind it.
fn below(text: &str) -> Result<(DnsName, String), InvalidPolicy> {
    let parent = text
        .strip_prefix(PLACEHOLDER)
        .and_then(|rest| rest.strip_prefix('.'))
        .filter(|parent| !parent.contains('{'))
        .ok_or_else(|| invalid(text, "in a DNS name {tenant} is the first label"))?;
    let name = DnsName::parse(&format!("*.{parent}"))
        .map_err(|error| invalid(text, &error.to_string()))?;
    let parent = name.as_str()[2..].to_owned();
    Ok((name, parent))
}

fn invalid(text: &str, why: &str) -> InvalidPolicy {
    let shown: String = text.chars().take(80).collect();
    InvalidPolicy::new(format!("{shown:?}"), why)
}

const PLACEHOLDER: &str = "{tenant}";
const WHOLE: &str = "in a path {tenant} is a whole segment";
