//! Who may do what: routes with typed allow and deny rules, compiled once, decided per request.
//!
//! A request is decided by one route, the most specific one for its host and path. There a certificate may be needed; then
//! any `deny` entry that holds refuses; then some `allow` entry must hold. What nobody admitted is refused.

mod canonical;
mod condition;
mod connect;
mod explanation;
mod extension;
mod factors;
mod grpc;
mod header;
mod index;
mod load;
pub(crate) mod login;
mod nearest;
mod path;
mod pattern;
mod tenant;
mod verdict;
mod window;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::identity::{BundleName, VerifiedPeer};
use countersign_pki::name::DnsName;

pub use self::condition::Circumstances;
use self::condition::{Holds, Known, Requested};
pub use self::connect::ConnectTarget;
pub use self::explanation::{Explanation, Rule};
pub use self::extension::{ExtensionPattern, KeyPurpose};
pub use self::factors::{ApiKeyPattern, ClaimValue, Factor, Factors, TokenPattern};
pub use self::grpc::GrpcPattern;
pub use self::header::{HeaderPattern, Headers, NoHeaders};
use self::index::Index;
pub use self::load::Redundancy;
pub use self::login::{Login, LoginPattern};
pub use self::path::{PathPattern, unambiguous_path};
pub use self::pattern::{NamePattern, SubjectAttribute};
pub use self::tenant::Tenant;
use self::verdict::FiledRoute;
pub use self::verdict::Verdict;
pub use self::window::TimeWindow;
pub use crate::issuance::IpRange;

/// The rules of one listener.
#[derive(Debug)]
pub struct AccessPolicy {
    routes: Vec<Route>,
    /// Of each route, how many are more specific.
    rank: Vec<usize>,
    by_place: Index,
    filed: Vec<FiledRoute>,
    /// The headers that some rule looks at, by the names that the rules give them.
    headers: BTreeSet<String>,
    /// What some rule looks at, found once: to ask ten thousand rules for every request costs more than to decide it.
    subjects: Vec<Subject>,
}

/// What a rule can look at, beside who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Subject {
    Path,
    Header,
    Time,
    Factor(Factor),
    Tunnel,
}

impl Subject {
    const ALL: [Self; 6] = [
        Self::Path,
        Self::Header,
        Self::Time,
        Self::Factor(Factor::ApiKey),
        Self::Factor(Factor::Token),
        Self::Tunnel,
    ];

    fn is_looked_at(self, routes: &[Route]) -> bool {
        let any = |looks: fn(&Condition) -> bool| conditions(routes).any(looks);
        match self {
            Self::Path => routes.iter().any(Route::looks_at_paths),
            Self::Header => any(Condition::looks_at_headers),
            Self::Time => any(Condition::looks_at_time),
            Self::Factor(factor) => conditions(routes).any(|it| it.looks_at_factor(factor)),
            Self::Tunnel => routes.iter().any(Route::is_of_tunnels),
        }
    }
}

/// One route: what it matches, whom it admits.
#[derive(Clone, Debug)]
pub struct Route {
    /// How refusals and logs name it, such as `route 2 (api.example.com /charge/**)`.
    pub label: String,
    /// `None`: any host.
    pub host: Option<DnsName>,
    /// `None`: any path.
    pub path: Option<PathPattern>,
    /// What a CONNECT may ask for; then it takes no other request, and neither host nor path say anything. Empty: it takes no CONNECT.
    pub connect: Vec<ConnectTarget>,
    /// A certificate is needed even where the listener only asks for one.
    pub require_certificate: bool,
    /// Alternatives; never empty.
    pub allow: Vec<Allow>,
    /// Any that holds refuses, whatever `allow` says.
    pub deny: Vec<Condition>,
}

/// One alternative of `allow`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every entry is the large one"
)]
pub enum Allow {
    /// Anonymous too. Only where the listener does not require a certificate.
    Anyone,
    /// Every verified client (no canary, invariant 12).
    AnyTrusted,
    /// Those for whom the condition holds.
    When(Condition),
}

/// A conjunction: every field that is there must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    /// The bundle that vouches. `None` in `allow` means `internal`, in `deny` and `not` every bundle.
    pub bundle: Option<BundleName>,
    /// Each pattern must be met by some name of the peer.
    pub names: Vec<NamePattern>,
    /// Any of these purposes is in the certificate's extendedKeyUsage; empty: whatever is.
    pub purposes: Vec<KeyPurpose>,
    /// Each of these extensions is in the certificate, with its value.
    pub extensions: Vec<ExtensionPattern>,
    /// SHA-256 of the `SubjectPublicKeyInfo` of whoever signed the certificate.
    pub issuer_key: Option<Fingerprint>,
    /// Since the certificate's notBefore no more than this has passed.
    pub max_age: Option<Duration>,
    /// What of the identity has to stand in the request; empty: nothing.
    pub tenant: Tenant,
    /// Any of these hosts, exact or `*.example.com` for one label; empty: any, IP literals included.
    pub hosts: Vec<DnsName>,
    /// Any of these methods; empty: any.
    pub methods: Vec<String>,
    /// The path.
    pub path: Option<PathPattern>,
    /// Each of these headers.
    pub headers: Vec<HeaderPattern>,
    /// Any of these methods of gRPC; empty: any request.
    pub grpc: Vec<GrpcPattern>,
    /// A token beside the certificate.
    pub token: Option<TokenPattern>,
    /// An API key beside the certificate.
    pub api_key: Option<ApiKeyPattern>,
    /// Any of these ranges has the peer's address; empty: any.
    pub sources: Vec<IpRange>,
    /// Any of these windows is open; empty: always.
    pub windows: Vec<TimeWindow>,
    /// Any of these database users; empty: any. Where it is not empty, the condition holds for logins alone.
    pub users: Vec<LoginPattern>,
    /// Any of these databases; empty: any.
    pub databases: Vec<LoginPattern>,
    /// A conjunction too, which must not hold.
    pub not: Option<Box<Condition>>,
}

/// What is asked of the policy.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// `None`: anonymous.
    pub peer: Option<&'a VerifiedPeer>,
    /// The host in lower case without port; `None`: an IP literal or absent.
    pub host: Option<&'a DnsName>,
    /// Method token.
    pub method: &'a str,
    /// The path, already refused if it could be read in two ways ([`unambiguous_path`]). Of a CONNECT, which has none, the
    /// [`ConnectTarget`].
    pub path: &'a str,
    /// As the client sent them.
    pub headers: &'a dyn Headers,
    /// What was shown and verified beside the certificate.
    pub factors: &'a Factors,
    /// From where, and when.
    pub circumstances: Circumstances,
}

/// The answer. Its texts are raw: who shows them escapes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Goes through.
    Allow {
        /// Index of the route.
        route: usize,
    },
    /// The certificate that is needed was not sent.
    CertificateNeeded {
        /// Index of the route.
        route: usize,
    },
    /// The peer is not among those admitted; with the nearest rule in words.
    IdentityNotAllowed {
        /// Index of the route.
        route: usize,
        /// For the operator: "allows cn:order-service; this is cn:order-svc".
        nearest: String,
    },
    /// The peer is admitted, this method or path is not.
    RequestNotAllowed {
        /// Index of the route.
        route: usize,
        /// For the operator.
        nearest: String,
    },
    /// The peer is admitted with a factor beside its certificate that this request has not, or not as it should be.
    FactorNeeded {
        /// Index of the route.
        route: usize,
        /// Which.
        factor: Factor,
        /// For the operator.
        nearest: String,
    },
    /// No route for host and path.
    NoRoute,
}

impl Decision {
    /// Index of the route that decided.
    pub fn route(&self) -> Option<usize> {
        match self {
            Self::Allow { route }
            | Self::CertificateNeeded { route }
            | Self::IdentityNotAllowed { route, .. }
            | Self::RequestNotAllowed { route, .. }
            | Self::FactorNeeded { route, .. } => Some(*route),
            Self::NoRoute => None,
        }
    }
}

impl AccessPolicy {
    /// Refuses routes that cannot be reached or admit nobody, and conditions that say nothing or can never hold.
    pub fn new(routes: Vec<Route>) -> Result<Self, InvalidPolicy> {
        load::check(&routes)?;
        Ok(Self {
            rank: verdict::ranks(&routes),
            by_place: Index::of_routes(&routes),
            filed: routes.iter().map(FiledRoute::new).collect(),
            headers: conditions(&routes)
                .flat_map(Condition::headers)
                .map(str::to_owned)
                .collect(),
            subjects: Subject::ALL
                .into_iter()
                .filter(|subject| subject.is_looked_at(&routes))
                .collect(),
            routes,
        })
    }

    /// The most specific route decides (exact host before wildcard before any; then the path pattern with more literal
    /// segments, an end before `**`). Allocates nothing to allow.
    pub fn decide(&self, asked: &Asked<'_>) -> Decision {
        match self.judge(asked) {
            Verdict::Allow { route } => Decision::Allow { route },
            Verdict::CertificateNeeded { route } => Decision::CertificateNeeded { route },
            Verdict::NoRoute => Decision::NoRoute,
            Verdict::Refuse { route } => nearest::refusal(self, route, asked.into()),
        }
    }

    /// What [`AccessPolicy::decide`] is for a listener of bytes, whose one route admits connections: a rule that looks at a
    /// request holds for nobody there.
    pub fn decide_connection(
        &self,
        peer: Option<&VerifiedPeer>,
        circumstances: Circumstances,
    ) -> Decision {
        self.decide_only_route(Known {
            peer,
            circumstances: Some(circumstances),
            request: None,
        })
    }

    /// What can be decided of a peer in the handshake, where neither its address nor its login is known: whoever could be
    /// admitted goes on.
    pub fn decide_in_handshake(&self, peer: Option<&VerifiedPeer>) -> Decision {
        let known = Known::of(peer);
        match self.decide_only_route(known) {
            Decision::IdentityNotAllowed { .. } | Decision::RequestNotAllowed { .. }
                if self.admits(0, known) == Holds::Depends =>
            {
                Decision::Allow { route: 0 }
            }
            decision => decision,
        }
    }

    /// What [`AccessPolicy::decide_connection`] is for a listener of logins, before the login is read: whoever could log in
    /// as anybody goes on.
    pub fn decide_before_login(
        &self,
        peer: Option<&VerifiedPeer>,
        circumstances: Circumstances,
    ) -> Decision {
        let known = Known {
            peer,
            circumstances: Some(circumstances),
            request: None,
        };
        match self.decide_only_route(known) {
            Decision::IdentityNotAllowed { .. } | Decision::RequestNotAllowed { .. }
                if self.admits(0, known) == Holds::Depends =>
            {
                Decision::Allow { route: 0 }
            }
            decision => decision,
        }
    }

    /// [`AccessPolicy::decide`] for a login to a database: a rule that looks at a request of HTTP holds for nobody there.
    pub fn decide_login(
        &self,
        peer: Option<&VerifiedPeer>,
        login: &Login,
        circumstances: Circumstances,
    ) -> Decision {
        self.decide_only_route(Known {
            peer,
            circumstances: Some(circumstances),
            request: Some(Requested::Login(login)),
        })
    }

    fn decide_only_route(&self, known: Known<'_>) -> Decision {
        match self.judge_only_route(known) {
            Verdict::Allow { route } => Decision::Allow { route },
            Verdict::CertificateNeeded { route } => Decision::CertificateNeeded { route },
            Verdict::NoRoute => Decision::NoRoute,
            Verdict::Refuse { route } => nearest::refusal(self, route, known),
        }
    }

    /// Whether some request of this peer could be admitted: sessions and live connections of others are ended.
    ///
    /// Says yes too often rather than too rarely where it depends on the request, which is decided when it comes.
    pub fn admits_at_all(&self, peer: Option<&VerifiedPeer>) -> bool {
        (0..self.routes.len()).any(|route| self.admits(route, Known::of(peer)) != Holds::Never)
    }

    /// Whether a route serves this name (SNI): no route does → `sni-unknown`.
    pub fn serves(&self, host: &DnsName) -> bool {
        self.routes.iter().any(|route| route.has_host(Some(host)))
    }

    /// Whether any route or rule looks at the path, so that ambiguous paths must be refused.
    pub fn looks_at_paths(&self) -> bool {
        self.subjects.contains(&Subject::Path)
    }

    /// Entries that do nothing and are harmless.
    pub fn redundancies(&self) -> Vec<Redundancy> {
        load::redundancies(&self.routes)
    }

    /// Whether any route takes a CONNECT.
    pub fn opens_tunnels(&self) -> bool {
        self.subjects.contains(&Subject::Tunnel)
    }

    /// Whether any rule looks at headers.
    pub fn looks_at_headers(&self) -> bool {
        self.subjects.contains(&Subject::Header)
    }

    /// Whether any rule asks for this beside a certificate.
    pub fn looks_at_factor(&self, factor: Factor) -> bool {
        self.subjects.contains(&Subject::Factor(factor))
    }

    /// The issuers whose tokens, and the API keys by name, that rules ask for: the index of the route, the list, and the index in it stand
    /// beside each.
    pub fn named_factors(&self) -> impl Iterator<Item = (usize, &'static str, usize, Named<'_>)> {
        let routes = self.routes.iter().enumerate();
        routes.flat_map(|(number, route)| {
            let allow = route
                .allow
                .iter()
                .enumerate()
                .filter_map(|(index, it)| match it {
                    Allow::When(condition) => Some(("allow", index, condition)),
                    Allow::Anyone | Allow::AnyTrusted => None,
                });
            let deny = route.deny.iter().enumerate();
            let deny = deny.map(|(index, condition)| ("deny", index, condition));
            allow.chain(deny).flat_map(move |(list, index, condition)| {
                condition
                    .named_factors()
                    .map(move |it| (number, list, index, it))
            })
        })
    }

    /// Whether any rule looks at this header, in lower case: `_` is `-`, as in [`Headers::each`].
    pub fn looks_at_header(&self, name: &str) -> bool {
        !self.headers.is_empty() && self.headers.contains(&*name.replace('_', "-"))
    }

    /// Whether what it admits now it may refuse later, all else being the same.
    pub fn looks_at_time(&self) -> bool {
        self.subjects.contains(&Subject::Time)
    }

    /// The routes, in the order given.
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// Every byte that decides, for the scope's hash. Labels do not.
    pub fn canonical(&self) -> Vec<u8> {
        canonical::bytes(&self.routes)
    }
}

impl Route {
    /// Whether some rule of it tells apart clients of the same names, issuer and extensions whose addresses have this many bits in common
    /// (IPv4, IPv6): by the address, the time, the key, or the age or the number of the certificate.
    pub fn looks_at_each(&self, network: [u8; 2]) -> bool {
        conditions(std::slice::from_ref(self)).any(|it| it.looks_at_each(network))
    }

    fn has_host(&self, host: Option<&DnsName>) -> bool {
        match (&self.host, host) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(pattern), Some(host)) if pattern.is_wildcard() => pattern.covers(host),
            (Some(exact), Some(host)) => exact == host,
        }
    }

    fn looks_at_paths(&self) -> bool {
        let in_allow = self
            .allow
            .iter()
            .any(|entry| matches!(entry, Allow::When(condition) if condition.looks_at_paths()));
        self.path.is_some() || in_allow || self.deny.iter().any(Condition::looks_at_paths)
    }

    /// Sorts the more specific first.
    fn specificity(&self) -> impl Ord + use<> {
        let host = match &self.host {
            Some(host) if !host.is_wildcard() => 0,
            Some(_) => 1,
            None => 2,
        };
        (
            host,
            self.path.is_none(),
            self.path.as_ref().map(PathPattern::specificity),
        )
    }
}

fn conditions(routes: &[Route]) -> impl Iterator<Item = &Condition> {
    routes.iter().flat_map(|route| {
        let allow = route.allow.iter().filter_map(|entry| match entry {
            Allow::When(condition) => Some(condition),
            Allow::Anyone | Allow::AnyTrusted => None,
        });
        allow.chain(&route.deny)
    })
}

/// What has to be configured elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named<'a> {
    /// An API key.
    ApiKey(&'a str),
    /// Some API key.
    AnyApiKey,
    /// An issuer of tokens.
    Issuer(&'a str),
}

/// A shared, compiled policy.
pub type SharedPolicy = Arc<AccessPolicy>;

/// Why rules are refused at load.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {why}")]
pub struct InvalidPolicy {
    /// Which route or rule.
    pub place: String,
    /// In words.
    pub why: String,
    /// Index of the route, if it is in one.
    pub route: Option<usize>,
    /// The list, `allow` or `deny`, and the index in it, if it is in one.
    pub entry: Option<(&'static str, usize)>,
}

impl InvalidPolicy {
    fn new(place: impl Into<String>, why: impl Into<String>) -> Self {
        Self {
            place: place.into(),
            why: why.into(),
            route: None,
            entry: None,
        }
    }

    fn in_route(self, index: usize) -> Self {
        Self {
            route: Some(index),
            ..self
        }
    }

    fn in_entry(self, list: &'static str, index: usize) -> Self {
        Self {
            entry: Some((list, index)),
            ..self
        }
    }
}
