//! Who may do what: routes with typed allow and deny rules, compiled once, decided per request.
//!
//! A request is decided by one route, the most specific one for its host and path. There a certificate may be needed; then
//! any `deny` entry that holds refuses; then some `allow` entry must hold. What nobody admitted is refused.

mod canonical;
mod condition;
mod load;
pub(crate) mod login;
mod nearest;
mod path;
mod pattern;

use std::sync::Arc;

use countersign_pki::identity::{BundleName, VerifiedPeer};
use countersign_pki::name::DnsName;

use self::condition::{Holds, Known, Requested};
pub use self::login::{Login, LoginPattern};
pub use self::path::{PathPattern, unambiguous_path};
pub use self::pattern::NamePattern;

/// The rules of one listener.
#[derive(Debug)]
pub struct AccessPolicy {
    routes: Vec<Route>,
    /// Indices of `routes`, the most specific first.
    by_specificity: Vec<usize>,
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
    /// A certificate is needed even where the listener only asks for one.
    pub require_certificate: bool,
    /// Alternatives; never empty.
    pub allow: Vec<Allow>,
    /// Any that holds refuses, whatever `allow` says.
    pub deny: Vec<Condition>,
}

/// One alternative of `allow`.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// Any of these methods; empty: any.
    pub methods: Vec<String>,
    /// The path.
    pub path: Option<PathPattern>,
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
    /// The path, already refused if it could be read in two ways ([`unambiguous_path`]).
    pub path: &'a str,
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
    /// No route for host and path.
    NoRoute,
}

impl AccessPolicy {
    /// Refuses routes that cannot be reached or admit nobody, and conditions that say nothing or can never hold.
    pub fn new(routes: Vec<Route>) -> Result<Self, InvalidPolicy> {
        load::check(&routes)?;
        let mut by_specificity: Vec<usize> = (0..routes.len()).collect();
        by_specificity.sort_by_cached_key(|&index| routes[index].specificity());
        Ok(Self {
            routes,
            by_specificity,
        })
    }

    /// The most specific route decides (exact host before wildcard before any; then the path pattern with more literal
    /// segments, an end before `**`). Allocates nothing to allow.
    pub fn decide(&self, asked: &Asked<'_>) -> Decision {
        let matching = |index: &usize| {
            let route = &self.routes[*index];
            route.has_host(asked.host)
                && route
                    .path
                    .as_ref()
                    .is_none_or(|pattern| pattern.matches(asked.path))
        };
        let Some(index) = self.by_specificity.iter().copied().find(matching) else {
            return Decision::NoRoute;
        };
        let route = &self.routes[index];
        if asked.peer.is_none() && route.needs_certificate() {
            return Decision::CertificateNeeded { route: index };
        }
        match route.admits(Known {
            peer: asked.peer,
            request: Some(asked.into()),
        }) {
            Holds::Always => Decision::Allow { route: index },
            Holds::Depends | Holds::Never => {
                nearest::refusal(index, route, asked.peer, asked.into())
            }
        }
    }

    /// What [`AccessPolicy::decide`] is for a listener of bytes, whose one route admits connections: a rule that looks at a
    /// request holds for nobody there.
    pub fn decide_connection(&self, peer: Option<&VerifiedPeer>) -> Decision {
        let Some(route) = self.routes.first() else {
            return Decision::NoRoute;
        };
        if peer.is_none() && route.needs_certificate() {
            return Decision::CertificateNeeded { route: 0 };
        }
        match route.admits(Known {
            peer,
            request: None,
        }) {
            Holds::Always => Decision::Allow { route: 0 },
            Holds::Depends | Holds::Never => nearest::identity_refusal(0, route, peer),
        }
    }

    /// What [`AccessPolicy::decide_connection`] is for a listener of logins, before the login is read: whoever could log in
    /// as anybody goes on.
    pub fn decide_before_login(&self, peer: Option<&VerifiedPeer>) -> Decision {
        match (self.decide_connection(peer), self.routes.first()) {
            (Decision::IdentityNotAllowed { .. }, Some(route))
                if route.admits(Known {
                    peer,
                    request: None,
                }) == Holds::Depends =>
            {
                Decision::Allow { route: 0 }
            }
            (decision, _) => decision,
        }
    }

    /// [`AccessPolicy::decide`] for a login to a database: a rule that looks at a request of HTTP holds for nobody there.
    pub fn decide_login(&self, peer: Option<&VerifiedPeer>, login: &Login) -> Decision {
        let Some(route) = self.routes.first() else {
            return Decision::NoRoute;
        };
        if peer.is_none() && route.needs_certificate() {
            return Decision::CertificateNeeded { route: 0 };
        }
        let requested = Requested::Login(login);
        match route.admits(Known {
            peer,
            request: Some(requested),
        }) {
            Holds::Always => Decision::Allow { route: 0 },
            Holds::Depends | Holds::Never => nearest::refusal(0, route, peer, requested),
        }
    }

    /// Whether some request of this peer could be admitted: sessions and live connections of others are ended.
    ///
    /// Says yes too often rather than too rarely where it depends on the request, which is decided when it comes.
    pub fn admits_at_all(&self, peer: Option<&VerifiedPeer>) -> bool {
        self.routes.iter().any(|route| {
            route.admits(Known {
                peer,
                request: None,
            }) != Holds::Never
        })
    }

    /// Whether a route serves this name (SNI): no route does → `sni-unknown`.
    pub fn serves(&self, host: &DnsName) -> bool {
        self.routes.iter().any(|route| route.has_host(Some(host)))
    }

    /// Whether any route or rule looks at the path, so that ambiguous paths must be refused.
    pub fn looks_at_paths(&self) -> bool {
        self.routes.iter().any(Route::looks_at_paths)
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
}

impl InvalidPolicy {
    fn new(place: impl Into<String>, why: impl Into<String>) -> Self {
        Self {
            place: place.into(),
            why: why.into(),
        }
    }
}
