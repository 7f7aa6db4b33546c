//! The one evaluator of conditions: what decides a request also says whom no request could ever be granted to.

use std::fmt;
use std::net::IpAddr;

use countersign_pki::identity::{BundleName, VerifiedPeer};
use countersign_pki::name::{DnsName, TypedName};
use countersign_pki::time::{UnixTime, spoken};

use super::{
    Allow, ApiKeyPattern, Asked, Condition, Factor, Factors, HeaderPattern, Headers, Login,
    NamePattern, Named, Route,
};

/// Whether something holds, given what is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Holds {
    Never,
    /// On the request, or on when and from where it comes, which is not known yet.
    Depends,
    Always,
}

/// What is known.
#[derive(Clone, Copy)]
pub(super) struct Known<'a> {
    /// `None`: anonymous.
    pub(super) peer: Option<&'a VerifiedPeer>,
    /// `None`: whenever and from wherever.
    pub(super) circumstances: Option<Circumstances>,
    /// `None`: any request that could come.
    pub(super) request: Option<Requested<'a>>,
}

/// From where somebody asks, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Circumstances {
    /// The peer's address; an IPv4 address written as an IPv6 one is that IPv4 address.
    pub source: IpAddr,
    /// Now.
    pub now: UnixTime,
}

/// What a peer wants.
#[derive(Clone, Copy)]
pub(super) enum Requested<'a> {
    Http {
        host: Option<&'a DnsName>,
        method: &'a str,
        path: &'a str,
        headers: &'a dyn Headers,
        /// `None`: any that could be sent.
        factors: Option<&'a Factors>,
    },
    Login(&'a Login),
}

impl<'a> Known<'a> {
    /// The peer alone.
    pub(super) fn of(peer: Option<&'a VerifiedPeer>) -> Self {
        Self {
            peer,
            circumstances: None,
            request: None,
        }
    }
}

impl<'a> From<&Asked<'a>> for Requested<'a> {
    fn from(asked: &Asked<'a>) -> Self {
        Self::Http {
            host: asked.host,
            method: asked.method,
            path: asked.path,
            headers: asked.headers,
            factors: Some(asked.factors),
        }
    }
}

impl<'a> From<&Asked<'a>> for Known<'a> {
    fn from(asked: &Asked<'a>) -> Self {
        Self {
            peer: asked.peer,
            circumstances: Some(asked.circumstances),
            request: Some(asked.into()),
        }
    }
}

impl fmt::Display for Requested<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http { method, path, .. } => f.write_str(&cut(&format!("{method} {path}"))),
            Self::Login(login) => login.fmt(f),
        }
    }
}

/// Where a condition stands: which bundle it means that names none, and whether what can be said twice has to be said well each time.
#[derive(Clone, Copy)]
pub(super) enum Side {
    Allow,
    Deny,
    /// Taken back from what admits or refuses.
    Except {
        admits: bool,
    },
}

impl Side {
    /// Whether what holds here lets somebody in: then every value of a header has to fit, and otherwise one is enough.
    pub(super) fn admits(self) -> bool {
        match self {
            Self::Allow => true,
            Self::Deny => false,
            Self::Except { admits } => admits,
        }
    }

    pub(super) fn except(self) -> Self {
        Self::Except {
            admits: !self.admits(),
        }
    }
}

impl Holds {
    /// Asks no further than the first that holds anyway.
    pub(super) fn any(each: impl Iterator<Item = Self>) -> Self {
        let mut most = Self::Never;
        for one in each {
            most = most.max(one);
            if most == Self::Always {
                break;
            }
        }
        most
    }

    pub(super) fn not(self) -> Self {
        match self {
            Self::Never => Self::Always,
            Self::Depends => Self::Depends,
            Self::Always => Self::Never,
        }
    }

    fn certainly(holds: bool) -> Self {
        if holds { Self::Always } else { Self::Never }
    }
}

impl Route {
    /// Whether the anonymous are turned away before any rule is asked.
    pub(super) fn needs_certificate(&self) -> bool {
        self.require_certificate || !self.allow.contains(&Allow::Anyone)
    }
}

impl Allow {
    pub(super) fn holds(&self, known: Known<'_>) -> Holds {
        match self {
            Self::Anyone => Holds::Always,
            Self::AnyTrusted => Holds::certainly(known.peer.is_some()),
            Self::When(condition) => condition.holds(Side::Allow, known),
        }
    }
}

impl Condition {
    /// An anonymous peer has no bundle and no name, so it meets no condition that asks for one, and every `not` of such a
    /// condition: `deny = [{ not = { dns = "x" } }]` denies it, and in `allow` nothing admits it.
    pub(super) fn holds(&self, side: Side, known: Known<'_>) -> Holds {
        if !self.is_identity_met(side, known.peer) {
            return Holds::Never;
        }
        let circumstances = match known.circumstances {
            None if !self.asks_of_circumstances() => Holds::Always,
            None => Holds::Depends,
            Some(circumstances) => {
                Holds::certainly(self.are_circumstances_met(known.peer, circumstances))
            }
        };
        let request = match known.request {
            None if !self.asks_of_requests() => Holds::Always,
            None => Holds::Depends,
            Some(requested) => {
                let is_met = self.is_met_by(side, known.peer, requested);
                Holds::certainly(is_met).min(self.are_factors_met(side, requested))
            }
        };
        let exception = self
            .not
            .as_ref()
            .map_or(Holds::Never, |not| not.holds(side.except(), known));
        circumstances.min(request).min(exception.not())
    }

    fn is_identity_met(&self, side: Side, peer: Option<&VerifiedPeer>) -> bool {
        let bundle = self.bundle(side);
        let Some(peer) = peer else {
            return bundle.is_none() && !self.asks_of_identities();
        };
        let names = peer.names();
        bundle.is_none_or(|name| name == peer.bundle().as_str())
            && self
                .names
                .iter()
                .all(|pattern| names.iter().any(|name| pattern.is_met_by(name)))
            && (self.purposes.is_empty()
                || self.purposes.iter().any(|purpose| purpose.is_met_by(peer)))
            && self
                .extensions
                .iter()
                .all(|pattern| pattern.is_met_by(peer))
            && self.issuer_key.is_none_or(|key| key == peer.issuer_key())
            && (self.tenant.is_empty() || self.tenant.is_given_by(peer))
    }

    fn are_circumstances_met(
        &self,
        peer: Option<&VerifiedPeer>,
        Circumstances { source, now }: Circumstances,
    ) -> bool {
        let source = source.to_canonical();
        (self.sources.is_empty() || self.sources.iter().any(|range| range.contains(source)))
            && (self.windows.is_empty() || self.windows.iter().any(|window| window.contains(now)))
            && self.max_age.is_none_or(|most| {
                peer.is_some_and(|peer| {
                    peer.not_before() <= now && now.since(peer.not_before()) <= most
                })
            })
    }

    /// How much of what it asks of a request and of its circumstances is not there.
    pub(super) fn misses(&self, known: Known<'_>) -> usize {
        let circumstances = known
            .circumstances
            .map(|circumstances| self.are_circumstances_met(known.peer, circumstances));
        let request = known.request.map(|requested| {
            [
                self.has_host(requested),
                self.has_method(requested),
                self.has_path(requested),
                self.has_headers(Side::Allow, requested),
                self.has_grpc(Side::Allow, requested),
                self.has_tenant(Side::Allow, known.peer, requested),
                self.has_user(requested),
                self.has_database(requested),
            ]
        });
        let met = request.into_iter().flatten().chain(circumstances);
        met.filter(|is_met| !is_met).count()
    }

    /// Whether this request has what it asks for. What only the other kind of request has, this one has not.
    fn is_met_by(&self, side: Side, peer: Option<&VerifiedPeer>, requested: Requested<'_>) -> bool {
        self.has_host(requested)
            && self.has_method(requested)
            && self.has_path(requested)
            && self.has_headers(side, requested)
            && self.has_grpc(side, requested)
            && self.has_tenant(side, peer, requested)
            && self.has_user(requested)
            && self.has_database(requested)
    }

    fn has_host(&self, requested: Requested<'_>) -> bool {
        let among = |host: &DnsName| {
            self.hosts.iter().any(|pattern| {
                if pattern.is_wildcard() {
                    pattern.covers(host)
                } else {
                    pattern == host
                }
            })
        };
        self.hosts.is_empty()
            || matches!(requested, Requested::Http { host: Some(host), .. } if among(host))
    }

    fn has_method(&self, requested: Requested<'_>) -> bool {
        self.methods.is_empty()
            || matches!(requested, Requested::Http { method, .. } if self.methods.iter().any(|one| one == method))
    }

    fn has_path(&self, requested: Requested<'_>) -> bool {
        self.path.as_ref().is_none_or(
            |pattern| matches!(requested, Requested::Http { path, .. } if pattern.matches(path)),
        )
    }

    fn has_headers(&self, side: Side, requested: Requested<'_>) -> bool {
        let every = side.admits();
        self.headers.iter().all(|pattern| {
            matches!(requested, Requested::Http { headers, .. } if pattern.is_met_by(headers, every))
        })
    }

    fn has_grpc(&self, side: Side, requested: Requested<'_>) -> bool {
        let Requested::Http {
            method,
            path,
            headers,
            ..
        } = requested
        else {
            return self.grpc.is_empty();
        };
        let every = side.admits();
        self.grpc.is_empty()
            || self
                .grpc
                .iter()
                .any(|pattern| pattern.is_met_by(method, path, headers, every))
    }

    fn has_tenant(
        &self,
        side: Side,
        peer: Option<&VerifiedPeer>,
        requested: Requested<'_>,
    ) -> bool {
        !self.tenant.asks_of_requests()
            || peer.is_some_and(|peer| self.tenant.is_met_by(peer, requested, side.admits()))
    }

    /// Each login and each connection of bytes is without.
    pub(super) fn are_factors_met(&self, side: Side, requested: Requested<'_>) -> Holds {
        let is_asked = self.token.is_some() || self.api_key.is_some();
        match requested {
            _ if !is_asked => Holds::Always,
            Requested::Http { factors: None, .. } => Holds::Depends,
            Requested::Http {
                factors: Some(factors),
                ..
            } => Holds::certainly(self.unmet_factor(side, factors).is_none()),
            Requested::Login(_) => Holds::Never,
        }
    }

    /// The first factor that it asks for and that is not there.
    pub(super) fn unmet_factor(&self, side: Side, factors: &Factors) -> Option<Factor> {
        let token = self.token.as_ref();
        let api_key = self.api_key.as_ref();
        if token.is_some_and(|pattern| !pattern.is_met_by(factors, side.admits())) {
            Some(Factor::Token)
        } else if api_key.is_some_and(|pattern| !pattern.is_met_by(factors)) {
            Some(Factor::ApiKey)
        } else {
            None
        }
    }

    fn has_user(&self, requested: Requested<'_>) -> bool {
        let among = |name| self.users.iter().any(|pattern| pattern.matches(name));
        self.users.is_empty() || matches!(requested, Requested::Login(login) if among(login.user()))
    }

    fn has_database(&self, requested: Requested<'_>) -> bool {
        let among = |name| self.databases.iter().any(|pattern| pattern.matches(name));
        self.databases.is_empty()
            || matches!(requested, Requested::Login(login) if among(login.database()))
    }

    fn asks_of_identities(&self) -> bool {
        !self.names.is_empty()
            || !self.purposes.is_empty()
            || !self.extensions.is_empty()
            || self.issuer_key.is_some()
            || self.max_age.is_some()
            || !self.tenant.is_empty()
    }

    fn asks_of_circumstances(&self) -> bool {
        !self.sources.is_empty() || !self.windows.is_empty() || self.max_age.is_some()
    }

    fn asks_of_requests(&self) -> bool {
        self.asks_of_http() || !self.users.is_empty() || !self.databases.is_empty()
    }

    fn asks_of_http(&self) -> bool {
        !self.hosts.is_empty()
            || !self.methods.is_empty()
            || self.path.is_some()
            || !self.headers.is_empty()
            || !self.grpc.is_empty()
            || self.token.is_some()
            || self.api_key.is_some()
            || self.tenant.asks_of_requests()
    }

    /// The bundle that must vouch; `None`: whichever does, or none.
    pub(super) fn bundle(&self, side: Side) -> Option<&str> {
        let named = self.bundle.as_ref().map(BundleName::as_str);
        match side {
            Side::Allow => Some(named.unwrap_or(BundleName::INTERNAL)),
            Side::Deny | Side::Except { .. } => named,
        }
    }

    /// This and what it excepts, however deep.
    fn levels(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |condition| condition.not.as_deref())
    }

    /// Whether it asks for anything that only a login has.
    pub fn looks_at_logins(&self) -> bool {
        self.levels()
            .any(|it| !it.users.is_empty() || !it.databases.is_empty())
    }

    /// Whether it asks for anything that only a request of HTTP has.
    pub fn looks_at_requests(&self) -> bool {
        self.levels().any(Self::asks_of_http)
    }

    /// Whether it asks for anything that only a client with a certificate has.
    pub fn looks_at_identities(&self) -> bool {
        self.bundle.is_some() || self.asks_of_identities()
    }

    pub(super) fn looks_at_paths(&self) -> bool {
        self.levels()
            .any(|it| it.path.is_some() || !it.grpc.is_empty())
    }

    pub(super) fn looks_at_headers(&self) -> bool {
        self.levels().any(|it| {
            !it.headers.is_empty()
                || !it.grpc.is_empty()
                || it.tenant.looks_at_headers()
                || it.token.is_some()
                || it.api_key.is_some()
        })
    }

    pub(super) fn looks_at_factor(&self, factor: Factor) -> bool {
        self.levels().any(|it| match factor {
            Factor::ApiKey => it.api_key.is_some(),
            Factor::Token => it.token.is_some(),
        })
    }

    pub(super) fn named_factors(&self) -> impl Iterator<Item = Named<'_>> {
        self.levels().flat_map(|it| {
            let token = it.token.iter().map(|it| Named::Issuer(it.issuer()));
            let api_key = it.api_key.iter().map(|it| match it {
                ApiKeyPattern::Any => Named::AnyApiKey,
                ApiKeyPattern::Named(name) => Named::ApiKey(name),
            });
            token.chain(api_key)
        })
    }

    /// The names of the headers that it asks for. What a call of gRPC is known by is not among them: it says what the request is, not who
    /// sends it.
    pub(super) fn headers(&self) -> impl Iterator<Item = &str> {
        self.levels().flat_map(|it| {
            let own = it.headers.iter().map(HeaderPattern::name);
            let token = it.token.iter().map(|_| "authorization");
            let api_key = it.api_key.iter().map(|_| "x-api-key");
            own.chain(it.tenant.headers()).chain(token).chain(api_key)
        })
    }

    pub(super) fn looks_at_circumstances(&self) -> bool {
        self.levels().any(Self::asks_of_circumstances)
    }

    pub(super) fn looks_at_each(&self, network: [u8; 2]) -> bool {
        let is_of_one = |pattern: &NamePattern| match pattern {
            NamePattern::Exact(TypedName::Spki(_) | TypedName::SerialIssuer { .. }) => true,
            // It may read like a SHA-256.
            NamePattern::AnyKind(word) => word.bytes().filter(u8::is_ascii_hexdigit).count() >= 64,
            _ => false,
        };
        let names_one = self.levels().any(|it| it.names.iter().any(is_of_one));
        let mut sources = self.levels().flat_map(|it| &it.sources);
        names_one || self.looks_at_time() || sources.any(|range| range.is_narrower_than(network))
    }

    /// Whether what holds now may not hold later, all else being the same. Tokens and API keys end, and keys of issuers are withdrawn.
    pub(super) fn looks_at_time(&self) -> bool {
        self.levels().any(|it| {
            !it.windows.is_empty()
                || it.max_age.is_some()
                || it.token.is_some()
                || it.api_key.is_some()
        })
    }
}

impl fmt::Display for Condition {
    /// `cn:order-service POST|PUT /charge/** under bundle internal, except dns:x`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if !self.names.is_empty() {
            parts.push(shown(&self.names, " and "));
        }
        if !self.purposes.is_empty() {
            parts.push(cut(&shown(&self.purposes, "|")));
        }
        parts.extend(self.extensions.iter().map(|it| cut(&it.to_string())));
        if let Some(key) = &self.issuer_key {
            parts.push(format!("issued by key {key}"));
        }
        if let Some(most) = self.max_age {
            parts.push(format!("certificate up to {} old", spoken(most)));
        }
        if !self.tenant.is_empty() {
            parts.push(cut(&self.tenant.to_string()));
        }
        if !self.hosts.is_empty() {
            parts.push(cut(&format!("host {}", shown(&self.hosts, "|"))));
        }
        if !self.methods.is_empty() {
            parts.push(cut(&self.methods.join("|")));
        }
        if let Some(path) = &self.path {
            parts.push(cut(&path.to_string()));
        }
        if !self.grpc.is_empty() {
            parts.push(cut(&format!("grpc {}", shown(&self.grpc, "|"))));
        }
        parts.extend(self.headers.iter().map(|it| cut(&format!("header {it}"))));
        parts.extend(self.token.iter().map(|it| cut(&format!("with a {it}"))));
        parts.extend(self.api_key.iter().map(|it| cut(&format!("with {it}"))));
        if !self.sources.is_empty() {
            parts.push(cut(&format!("from {}", shown(&self.sources, "|"))));
        }
        if !self.windows.is_empty() {
            parts.push(cut(&shown(&self.windows, " or ")));
        }
        for (kind, patterns) in [("user", &self.users), ("database", &self.databases)] {
            if !patterns.is_empty() {
                parts.push(cut(&format!("{kind} {}", shown(patterns, "|"))));
            }
        }
        if let Some(bundle) = &self.bundle {
            parts.push(format!("under bundle {bundle}"));
        }
        f.write_str(&parts.join(" "))?;
        match &self.not {
            Some(not) if parts.is_empty() => write!(f, "everyone except {not}"),
            Some(not) => write!(f, ", except {not}"),
            None => Ok(()),
        }
    }
}

fn shown<T: fmt::Display>(items: &[T], between: &str) -> String {
    let items: Vec<String> = items.iter().map(|item| cut(&item.to_string())).collect();
    items.join(between)
}

/// Two names and their rule fit into a fact of a refusal's evidence (512 bytes).
pub(super) fn cut(text: &str) -> String {
    match text.char_indices().nth(MAX_SHOWN) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

const MAX_SHOWN: usize = 120;
