//! A configuration that was found good: what a gateway serves.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use countersign_pki::bundle::TrustBundle;
use countersign_pki::chain::{Purpose, Verifier};
use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::identity::VerifiedPeer;
use countersign_pki::name::CommonName;
use countersign_pki::revocation::RevocationIndex;
use countersign_pki::time::UnixTime;
use countersign_policy::access::{
    AccessPolicy, Asked, Circumstances, Decision, Factor, Login, unambiguous_path,
};
use countersign_runtime::config::ConfigError;
use countersign_tls::credentials::SharedCredentials;
use countersign_tls::edge::Edge;
use countersign_tls::proxy_protocol::Version;
use countersign_tls::scope::{ClientCertificate, ScopeSettings};
use http::{HeaderValue, Method};

use crate::config::IdentityHeader;
use crate::decisions::{DecisionsPlan, ListenerRecord, Settings};
use crate::factors::Verification;
use crate::shadow::Shadow;
use crate::upstream::{Group, Upstream};

/// Everything decided before a socket is bound. Made by [`GatewayConfig::build`](crate::config::GatewayConfig::build).
pub struct GatewayPlan {
    pub(crate) workers: usize,
    pub(crate) listeners: Vec<ListenerPlan>,
    pub(crate) egress: Vec<EgressPlan>,
    pub(crate) decisions: DecisionsPlan,
    pub(crate) verification: Arc<Verification>,
    pub(crate) bounds: Bounds,
}

/// Bounds that no operator has had a reason to set. Those of the start stay, whatever a reload brings.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// How long a client may take nothing of an answer that waits for it. nginx's `send_timeout`.
    pub send: Duration,
    /// From the last byte of the request to the head of the answer. Long polls of the field last up to a minute or two.
    pub answer: Duration,
    /// Open connections per upstream and worker, those of tunnels included. Four workers use a seventh of the 28 Ki ports
    /// that Linux gives to connections to one address.
    pub upstream_connections: usize,
    /// What a tunnel has from the beginning of a drain, to come to its end by itself. A tenth of the 30 s that Kubernetes
    /// waits before it kills.
    pub tunnel_grace: Duration,
}

pub(crate) struct ListenerPlan {
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
    pub(crate) settings: ScopeSettings,
    pub(crate) credentials: SharedCredentials,
    pub(crate) max_connections: usize,
    pub(crate) edge: Edge,
    pub(crate) protocol: Protocol,
    pub(crate) break_glass: Option<BreakGlassPlan>,
    pub(crate) serving: Arc<Serving>,
}

/// What a listener may be armed by, and how much it then takes.
#[derive(Clone)]
pub(crate) struct BreakGlassPlan {
    /// The key that it was read from.
    pub(crate) place: String,
    pub(crate) max_duration: Duration,
    pub(crate) approvals: usize,
    pub(crate) approvers: BTreeSet<CommonName>,
    /// Who vouches for them; `None`: nobody yet.
    pub(crate) operators: Option<Arc<TrustBundle>>,
    pub(crate) connections_per_minute: u32,
    pub(crate) requests_per_minute: u32,
    /// Of the listener as it is written: another one is not what was armed.
    pub(crate) configuration: Fingerprint,
}

/// A way out: plaintext on loopback, one upstream over TLS.
pub(crate) struct EgressPlan {
    pub(crate) name: String,
    pub(crate) address: EgressAddress,
    pub(crate) protocol: Protocol,
    pub(crate) serving: Arc<Serving>,
}

/// Where programs of this host connect.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum EgressAddress {
    Tcp(SocketAddr),
    Unix { path: PathBuf, mode: u32 },
}

/// Which way requests go.
#[derive(Clone, Debug)]
pub(crate) enum Direction {
    /// From clients elsewhere to services here: who they are is judged, and told.
    Ingress,
    /// From programs of this host to a server elsewhere, whose name they need not know.
    Egress {
        /// What `Host` says there.
        host: HeaderValue,
        /// A browser of this host can connect, and then pages of others can.
        for_browsers: bool,
    },
}

/// What a listener takes its clients' bytes for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// Whatever its upstream speaks.
    Bytes,
    /// HTTP/1.1 or HTTP/2.
    Http,
    /// Logins to PostgreSQL, and then whatever.
    Postgresql,
}

/// What a connection looks at for each request; replaced as a whole by a reload.
pub(crate) struct Serving {
    pub(crate) policy: Arc<AccessPolicy>,
    /// During a reload: what the policy before it refuses stays refused, until nobody is left whom the trust before it let in.
    pub(crate) former: Option<Arc<AccessPolicy>>,
    /// Judged beside the policy, whose routes it has, and never instead of it.
    pub(crate) shadow: Option<Arc<Shadow>>,
    /// What tokens and API keys are verified by.
    pub(crate) verification: Arc<Verification>,
    /// By the index of the policy's route.
    pub(crate) upstreams: Vec<Arc<Group>>,
    pub(crate) direction: Direction,
    /// How an upstream of bytes is told of each client.
    pub(crate) upstream_proxy_protocol: Option<Version>,
    pub(crate) identity_headers: Vec<IdentityHeader>,
    pub(crate) header_timeout: Duration,
    pub(crate) idle_timeout: Duration,
    /// Of tunnels and connections of bytes.
    pub(crate) tunnel_idle_timeout: Duration,
}

impl GatewayPlan {
    /// For tests that cannot wait for a minute.
    #[doc(hidden)]
    #[must_use]
    pub fn with_bounds(mut self, change: impl FnOnce(&mut Bounds)) -> Self {
        change(&mut self.bounds);
        self
    }

    /// Has the authority's own operator CA vouch for those who approve where the configuration names no other; refuses a plan whose
    /// approvals nobody could verify.
    pub fn with_operators(
        mut self,
        operators: Option<&Arc<TrustBundle>>,
    ) -> Result<Self, ConfigError> {
        let plans = (self.listeners.iter_mut()).filter_map(|it| it.break_glass.as_mut());
        for plan in plans.filter(|plan| plan.approvals > 0 && plan.operators.is_none()) {
            let Some(operators) = operators else {
                return Err(ConfigError::new(
                    format!("{}.operator_ca", plan.place),
                    "there is no authority here that could vouch for those who approve",
                )
                .hint("operator_ca = \"FILE\" names the operator CA: ca.pem in any folder of an operator"));
            };
            plan.operators = Some(Arc::clone(operators));
        }
        Ok(self)
    }

    /// What is kept of decisions under this plan, from `now` on.
    pub(crate) fn kept_decisions(&self, now: UnixTime) -> Settings {
        let listeners = self.listeners.iter().map(|listener| {
            let record = ListenerRecord {
                address: listener.address.to_string(),
                client_certificate: listener.client_certificate().to_owned(),
                shadow: listener.shadow_certificates(),
                terms: Some(listener.terms()),
                since_unix_s: now.seconds(),
            };
            (listener.name.clone(), record)
        });
        Settings {
            enabled: self.decisions.enabled,
            keep: self.decisions.keep,
            listeners: listeners.collect(),
        }
    }

    /// The listeners' names and addresses, in the order of the configuration.
    pub fn listeners(&self) -> impl Iterator<Item = (&str, SocketAddr)> {
        self.listeners
            .iter()
            .map(|listener| (listener.name.as_str(), listener.address))
    }
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            send: Duration::from_mins(1),
            answer: Duration::from_mins(5),
            upstream_connections: 1024,
            tunnel_grace: Duration::from_secs(3),
        }
    }
}

impl Serving {
    /// The decision, and the policy that made it.
    pub(crate) fn decide(&self, asked: &Asked<'_>) -> (Decision, &AccessPolicy) {
        self.by_both(|policy| policy.decide(asked))
    }

    /// [`Serving::decide`] on a listener of bytes.
    pub(crate) fn decide_connection(
        &self,
        peer: Option<&VerifiedPeer>,
        circumstances: Circumstances,
    ) -> (Decision, &AccessPolicy) {
        self.by_both(|policy| policy.decide_connection(peer, circumstances))
    }

    /// [`Serving::decide`] on a listener of logins, of whoever has not said yet as whom.
    pub(crate) fn decide_before_login(
        &self,
        peer: Option<&VerifiedPeer>,
        circumstances: Circumstances,
    ) -> (Decision, &AccessPolicy) {
        self.by_both(|policy| policy.decide_before_login(peer, circumstances))
    }

    /// [`Serving::decide`] on a listener of logins.
    pub(crate) fn decide_login(
        &self,
        peer: Option<&VerifiedPeer>,
        login: &Login,
        circumstances: Circumstances,
    ) -> (Decision, &AccessPolicy) {
        self.by_both(|policy| policy.decide_login(peer, login, circumstances))
    }

    fn by_both(&self, decide: impl Fn(&AccessPolicy) -> Decision) -> (Decision, &AccessPolicy) {
        let decision = decide(&self.policy);
        if let (Decision::Allow { .. }, Some(former)) = (&decision, &self.former) {
            let before = decide(former);
            if !matches!(before, Decision::Allow { .. }) {
                return (before, former);
            }
        }
        (decision, &self.policy)
    }

    /// The shadow rules, where `by`, whose decision it was, is the policy that they stand beside.
    pub(crate) fn shadow_of(&self, by: &AccessPolicy) -> Option<&Shadow> {
        let shadow = self.shadow.as_deref()?;
        std::ptr::eq(by, &raw const *self.policy).then_some(shadow)
    }

    fn looks(&self, looks: impl Fn(&AccessPolicy) -> bool) -> bool {
        looks(&self.policy) || self.former.as_deref().is_some_and(looks)
    }

    /// Whether what goes through now may not go through later, all else being the same.
    pub(crate) fn looks_at_time(&self) -> bool {
        self.looks(AccessPolicy::looks_at_time)
    }

    /// Whether the headers of a request have to be kept, to judge it again.
    pub(crate) fn looks_at_headers(&self) -> bool {
        self.looks(AccessPolicy::looks_at_headers)
    }

    /// Whether this header, in lower case, is one that a rule goes by.
    pub(crate) fn looks_at_header(&self, name: &str) -> bool {
        self.looks(|policy| policy.looks_at_header(name))
    }

    /// Whether some rule, in force or beside it, asks for this.
    pub(crate) fn looks_at_factor(&self, factor: Factor) -> bool {
        let beside = self.shadow.as_deref();
        self.looks(|policy| policy.looks_at_factor(factor))
            || beside.is_some_and(|shadow| shadow.policy.looks_at_factor(factor))
    }

    /// Whether the path has to have one reading and has not. A CONNECT has none, and no rule about paths holds for it.
    pub(crate) fn is_ambiguous(&self, method: &str, path: &str) -> bool {
        method != Method::CONNECT
            && self.looks(AccessPolicy::looks_at_paths)
            && !unambiguous_path(path)
    }

    /// Whether what was asked before would go through now, and to the same upstream.
    pub(crate) fn still_allows(&self, asked: &Asked<'_>, upstream: &Upstream) -> bool {
        match self.decide(asked).0 {
            Decision::Allow { route } => {
                let leads_there = self.upstreams.get(route);
                !self.is_ambiguous(asked.method, asked.path)
                    && leads_there.is_some_and(|it| it.is_still(upstream))
            }
            _ => false,
        }
    }

    /// Whether what passes here without a route goes to this upstream.
    pub(crate) fn forwards_to(&self, upstream: &Upstream) -> bool {
        (self.upstreams.first()).is_some_and(|it| it.is_still(upstream))
    }

    /// This, without what `former` refuses.
    pub(crate) fn restricted_by(&self, former: &Arc<AccessPolicy>) -> Self {
        Self {
            policy: Arc::clone(&self.policy),
            former: Some(Arc::clone(former)),
            shadow: self.shadow.clone(),
            verification: Arc::clone(&self.verification),
            upstreams: self.upstreams.clone(),
            direction: self.direction.clone(),
            upstream_proxy_protocol: self.upstream_proxy_protocol,
            identity_headers: self.identity_headers.clone(),
            header_timeout: self.header_timeout,
            idle_timeout: self.idle_timeout,
            tunnel_idle_timeout: self.tunnel_idle_timeout,
        }
    }
}

impl ListenerPlan {
    /// Whether a connection of this peer, made under `before`, could stand under this one.
    pub(crate) fn still_admits(
        &self,
        before: &Self,
        peer: Option<&VerifiedPeer>,
        revocations: &RevocationIndex,
        now: UnixTime,
    ) -> bool {
        let settings = &self.settings;
        let is_trusted = match (peer, settings.client_certificate) {
            (None, mode) => mode != ClientCertificate::Require,
            (Some(_), ClientCertificate::Off) => false,
            (Some(peer), _) => match (&settings.verifier, &before.settings.verifier) {
                (None, _) => false,
                (Some(verifier), Some(before)) if trust_the_same(verifier, before) => true,
                (Some(verifier), _) => is_proved_the_same(peer, verifier, revocations, now),
            },
        };
        is_trusted && settings.policy.admits_at_all(peer)
    }

    /// The bundles it trusts, by name.
    pub(crate) fn trust(&self) -> Vec<String> {
        let bundles = self
            .settings
            .verifier
            .iter()
            .flat_map(|verifier| verifier.bundles());
        bundles.map(|bundle| bundle.name().to_string()).collect()
    }

    pub(crate) fn client_certificate(&self) -> &'static str {
        word(self.settings.client_certificate)
    }

    /// SHA-256 over everything that makes what was seen say something: the trust in force and in shadow, and the rules in shadow.
    fn terms(&self) -> Fingerprint {
        let settings = &self.settings;
        let shadow = settings.shadow.as_ref();
        let rules = (self.serving.shadow.as_ref())
            .map(|shadow| (shadow.policy.canonical(), shadow.routes.clone()));
        let facts = [
            settings.verifier.as_deref().map(trusted),
            shadow.map(|shadow| trusted(&shadow.verifier)),
            shadow.map(|shadow| format!("{:?}", shadow.client_certificate)),
            rules.map(|(rules, routes)| format!("{} {routes:?}", Fingerprint::of(&rules))),
        ];
        // Each is quoted, so that none can go on into the next.
        Fingerprint::of(format!("{facts:?}").as_bytes())
    }

    /// The terms for certificates that are tried out, such as `require of internal, acme`.
    fn shadow_certificates(&self) -> Option<String> {
        let shadow = self.settings.shadow.as_ref()?;
        let names: Vec<&str> = (shadow.verifier.bundles().iter())
            .map(|bundle| bundle.name().as_str())
            .collect();
        let mode = word(shadow.client_certificate);
        Some(format!("{mode} of {}", names.join(", ")))
    }
}

fn word(mode: ClientCertificate) -> &'static str {
    match mode {
        ClientCertificate::Off => "off",
        ClientCertificate::Request => "request",
        ClientCertificate::Require => "require",
    }
}

/// Who is trusted by it, in words that are others for others.
fn trusted(verifier: &Verifier) -> String {
    let bundles = verifier.bundles().iter().map(|bundle| {
        let anchors = bundle.anchors().iter();
        let mut anchors: Vec<String> = anchors
            .map(|anchor| Fingerprint::of(anchor.der()).to_string())
            .collect();
        anchors.sort_unstable();
        format!(
            "{:?} {:?} {anchors:?}",
            bundle.name(),
            bundle.trust_domain()
        )
    });
    let mut bundles: Vec<String> = bundles.collect();
    bundles.sort_unstable();
    format!("{bundles:?} {:?}", verifier.limits())
}

/// Whether both have the same anchors, to the byte, for the same names.
pub(crate) fn trust_the_same(one: &Verifier, other: &Verifier) -> bool {
    let mut sets = [one, other].map(|verifier| {
        let bundles = verifier.bundles().iter().map(|bundle| {
            let mut anchors: Vec<&[u8]> = bundle
                .anchors()
                .iter()
                .map(|anchor| anchor.der().as_ref())
                .collect();
            anchors.sort_unstable();
            (bundle.name(), bundle.trust_domain(), anchors)
        });
        bundles.collect::<Vec<_>>()
    });
    for bundles in &mut sets {
        bundles.sort_by_key(|(name, ..)| name.as_str());
    }
    let [one_set, other_set] = sets;
    one_set == other_set && one.limits() == other.limits()
}

/// Whether `now` has every anchor of `before`, to the byte, for the same names.
pub(crate) fn trusts_as_much(now: &Verifier, before: &Verifier) -> bool {
    before.limits() == now.limits()
        && before.bundles().iter().all(|earlier| {
            now.bundles().iter().any(|bundle| {
                bundle.name() == earlier.name()
                    && bundle.trust_domain() == earlier.trust_domain()
                    && earlier
                        .anchors()
                        .iter()
                        .all(|anchor| bundle.anchors().iter().any(|it| it.der() == anchor.der()))
            })
        })
}

/// What a connection is judged and told of by is what its first handshake found: anything else takes a new one.
fn is_proved_the_same(
    peer: &VerifiedPeer,
    verifier: &Verifier,
    revocations: &RevocationIndex,
    now: UnixTime,
) -> bool {
    let chain: Vec<_> = peer
        .chain()
        .iter()
        .map(|der| der.as_slice().into())
        .collect();
    verifier
        .verify(&chain, Purpose::ClientAuth, revocations, now)
        .is_ok_and(|proved| {
            proved.names() == peer.names()
                && proved.bundle() == peer.bundle()
                && proved.not_after() == peer.not_after()
        })
}

#[cfg(test)]
mod tests {
    use countersign_policy::access::{Allow, Factors, NoHeaders, PathPattern, Route};

    use super::*;

    fn policy(paths: &[&str]) -> Arc<AccessPolicy> {
        let routes = paths.iter().map(|path| Route {
            label: (*path).to_owned(),
            host: None,
            path: Some(PathPattern::parse(path).expect("a pattern")),
            connect: Vec::new(),
            require_certificate: false,
            allow: vec![Allow::Anyone],
            deny: Vec::new(),
        });
        Arc::new(AccessPolicy::new(routes.collect()).expect("a policy"))
    }

    #[test]
    fn during_a_reload_only_what_both_policies_admit_goes_through() {
        let serving = Serving {
            policy: policy(&["/new", "/both"]),
            former: None,
            shadow: None,
            verification: Arc::default(),
            upstreams: vec![Group::of_one(Upstream::Demo), Group::of_one(Upstream::Demo)],
            direction: Direction::Ingress,
            upstream_proxy_protocol: None,
            identity_headers: Vec::new(),
            header_timeout: Duration::ZERO,
            idle_timeout: Duration::ZERO,
            tunnel_idle_timeout: Duration::ZERO,
        };
        let between = serving.restricted_by(&policy(&["/both", "/old"]));
        for (path, after, meanwhile) in [
            ("/new", true, false),
            ("/both", true, true),
            ("/old", false, false),
        ] {
            let asked = Asked {
                peer: None,
                host: None,
                method: "GET",
                path,
                headers: &NoHeaders,
                factors: &Factors::NONE,
                circumstances: Circumstances {
                    source: std::net::Ipv4Addr::LOCALHOST.into(),
                    now: UnixTime::from_seconds(0),
                },
            };
            let allows = |serving: &Serving| serving.still_allows(&asked, &Upstream::Demo);
            assert_eq!(
                (allows(&serving), allows(&between)),
                (after, meanwhile),
                "{path}"
            );
        }
    }
}
