//! The decision without its words: which route, and whether it admits.

use countersign_pki::identity::VerifiedPeer;

use super::condition::{Circumstances, Holds, Known, Requested, Side};
use super::connect::CONNECT;
use super::index::{Asks, Index};
use super::{AccessPolicy, Asked, Login, Route};

/// What was decided. [`Decision`](super::Decision) says why, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
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
    /// No route for host and path.
    NoRoute,
    /// Some entry of `deny` holds, or none of `allow`.
    Refuse {
        /// Index of the route.
        route: usize,
    },
}

impl Verdict {
    /// Whether it goes through.
    pub fn is_allow(self) -> bool {
        matches!(self, Self::Allow { .. })
    }
}

/// A route's entries, filed for when the request is known and for when it is not.
#[derive(Debug)]
pub(super) struct FiledRoute {
    allow: Index,
    deny: Index,
    allow_by_identity: Index,
    deny_by_identity: Index,
}

impl FiledRoute {
    pub(super) fn new(route: &Route) -> Self {
        Self {
            allow: Index::of_allow(&route.allow, Asks::Everything),
            deny: Index::of_deny(&route.deny, Asks::Everything),
            allow_by_identity: Index::of_allow(&route.allow, Asks::Identity),
            deny_by_identity: Index::of_deny(&route.deny, Asks::Identity),
        }
    }

    pub(super) fn allow(&self, known: Known<'_>) -> &Index {
        match known.request {
            Some(_) if known.circumstances.is_some() => &self.allow,
            _ => &self.allow_by_identity,
        }
    }

    pub(super) fn deny(&self, known: Known<'_>) -> &Index {
        match known.request {
            Some(_) if known.circumstances.is_some() => &self.deny,
            _ => &self.deny_by_identity,
        }
    }
}

impl AccessPolicy {
    /// What [`AccessPolicy::decide`] decides.
    pub fn judge(&self, asked: &Asked<'_>) -> Verdict {
        match self.route_of(asked) {
            Some(route) => self.judge_on(route, asked.into()),
            None => Verdict::NoRoute,
        }
    }

    /// Whether tokens or API keys could change what is decided of this, whichever of them it shows. Nobody without a certificate shows any.
    pub fn depends_on_factors(&self, asked: &Asked<'_>) -> bool {
        if asked.peer.is_none() {
            return false;
        }
        let with_any = Known {
            request: Some(Requested::Http {
                host: asked.host,
                method: asked.method,
                path: asked.path,
                headers: asked.headers,
                factors: None,
            }),
            ..asked.into()
        };
        self.route_of(asked)
            .is_some_and(|route| self.admits(route, with_any) == Holds::Depends)
    }

    /// What [`AccessPolicy::decide_connection`] decides.
    pub fn judge_connection(
        &self,
        peer: Option<&VerifiedPeer>,
        circumstances: Circumstances,
    ) -> Verdict {
        self.judge_only_route(Known {
            peer,
            circumstances: Some(circumstances),
            request: None,
        })
    }

    /// What [`AccessPolicy::decide_login`] decides.
    pub fn judge_login(
        &self,
        peer: Option<&VerifiedPeer>,
        login: &Login,
        circumstances: Circumstances,
    ) -> Verdict {
        self.judge_only_route(Known {
            peer,
            circumstances: Some(circumstances),
            request: Some(Requested::Login(login)),
        })
    }

    /// [`AccessPolicy::judge`] without the index: each route and each entry is asked. What both say has to be the same.
    #[doc(hidden)]
    pub fn judge_by_each_entry(&self, asked: &Asked<'_>) -> Verdict {
        let known = Known::from(asked);
        let serving = self.routes.iter().enumerate();
        let serving = serving.filter(|(_, route)| route.serves(asked));
        let Some((index, route)) = serving.min_by_key(|(_, route)| route.specificity()) else {
            return Verdict::NoRoute;
        };
        if known.peer.is_none() && route.needs_certificate() {
            return Verdict::CertificateNeeded { route: index };
        }
        let is_canary = known.peer.is_some_and(VerifiedPeer::is_canary);
        if !is_canary && route.admits(known) == Holds::Always {
            Verdict::Allow { route: index }
        } else {
            Verdict::Refuse { route: index }
        }
    }

    /// How many routes and entries are looked at, at most, to decide this.
    #[doc(hidden)]
    pub fn looked_at(&self, asked: &Asked<'_>) -> usize {
        let known = Known::from(asked);
        let mut count = 0;
        let mut count_all = |index: &Index| {
            index.find(known, |_| {
                count += 1;
                false
            });
        };
        count_all(&self.by_place);
        if let Some(route) = self.route_of(asked) {
            count_all(self.filed[route].deny(known));
            count_all(self.filed[route].allow(known));
        }
        count
    }

    pub(super) fn judge_only_route(&self, known: Known<'_>) -> Verdict {
        if self.routes.is_empty() {
            Verdict::NoRoute
        } else {
            self.judge_on(0, known)
        }
    }

    fn judge_on(&self, route: usize, known: Known<'_>) -> Verdict {
        if known.peer.is_none() && self.routes[route].needs_certificate() {
            return Verdict::CertificateNeeded { route };
        }
        match self.admits(route, known) {
            Holds::Always => Verdict::Allow { route },
            Holds::Depends | Holds::Never => Verdict::Refuse { route },
        }
    }

    /// The most specific route for host and path.
    pub(super) fn route_of(&self, asked: &Asked<'_>) -> Option<usize> {
        let mut best: Option<usize> = None;
        self.by_place.find(asked.into(), |route| {
            let is_better = best.is_none_or(|best| self.rank[route] < self.rank[best]);
            if is_better && self.routes[route].serves(asked) {
                best = Some(route);
            }
            false
        });
        best
    }

    /// [`Route::admits`], by the index.
    pub(super) fn admits(&self, route: usize, known: Known<'_>) -> Holds {
        let (filed, route) = (&self.filed[route], &self.routes[route]);
        if known.peer.is_none() && route.needs_certificate() {
            return Holds::Never;
        }
        // Invariant 12, before any rule: a canary that came through would say that nothing is enforced.
        if known.peer.is_some_and(VerifiedPeer::is_canary) {
            return Holds::Never;
        }
        let mut denied = Holds::Never;
        filed.deny(known).find(known, |entry| {
            denied = denied.max(route.deny[entry].holds(Side::Deny, known));
            denied == Holds::Always
        });
        if denied == Holds::Always {
            return Holds::Never;
        }
        let mut allowed = Holds::Never;
        filed.allow(known).find(known, |entry| {
            allowed = allowed.max(route.allow[entry].holds(known));
            allowed == Holds::Always
        });
        allowed.min(denied.not())
    }
}

impl Route {
    /// Whether what is known gets through: some entry of `allow` holds, and none of `deny`.
    pub(super) fn admits(&self, known: Known<'_>) -> Holds {
        if known.peer.is_none() && self.needs_certificate() {
            return Holds::Never;
        }
        let deny = self.deny.iter();
        let denied = Holds::any(deny.map(|condition| condition.holds(Side::Deny, known)));
        if denied == Holds::Always {
            return Holds::Never;
        }
        let allowed = Holds::any(self.allow.iter().map(|entry| entry.holds(known)));
        allowed.min(denied.not())
    }

    fn serves(&self, asked: &Asked<'_>) -> bool {
        if asked.method == CONNECT || self.is_of_tunnels() {
            return asked.method == CONNECT && self.connects_to(asked.path);
        }
        self.has_host(asked.host)
            && self
                .path
                .as_ref()
                .is_none_or(|pattern| pattern.matches(asked.path))
    }
}

/// Of each route, how many are more specific.
pub(super) fn ranks(routes: &[Route]) -> Vec<usize> {
    let mut by_specificity: Vec<usize> = (0..routes.len()).collect();
    by_specificity.sort_by_cached_key(|&index| routes[index].specificity());
    let mut ranks = vec![0; routes.len()];
    for (rank, route) in by_specificity.into_iter().enumerate() {
        ranks[route] = rank;
    }
    ranks
}
