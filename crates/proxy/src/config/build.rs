//! From configuration to plan: everything that can be found wrong before a socket is bound.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use countersign_pki::bundle::TrustBundle;
use countersign_pki::certificate::Certificate;
use countersign_pki::chain::{Limits, Verifier};
use countersign_pki::identity::BundleName;
use countersign_pki::name::DnsName;
use countersign_policy::access::{AccessPolicy, InvalidPolicy, Route};
use countersign_policy::postgresql;
use countersign_runtime::config::ConfigError;
use countersign_runtime::config::amount::TimeSpan;
use countersign_tls::credentials::SharedCredentials;
use countersign_tls::scope::{Admits, Narrowed, ScopeSettings};
use countersign_tls::shadow::ShadowSettings;

use crate::config::edge::edge;
use crate::config::egress;
use crate::config::health::checked_by_listener;
use crate::config::refusal::on_refusal;
use crate::config::route::{Admission, build_route, bytes_route, login_route};
use crate::config::{
    ClientCertificateMode, EgressConfig, GatewayConfig, IdentityHeader, ListenerConfig,
    ListenerShadowConfig, UpstreamProtocol, UpstreamUrls, shadow, tunnel, upstream,
};
use crate::factors::Verification;
use crate::plan::{
    Bounds, BreakGlassPlan, Direction, GatewayPlan, ListenerPlan, Protocol, Serving,
};
use crate::upstream::Group;

impl GatewayConfig {
    /// What the gateway will do, or the first key that it cannot do. `own` is the certificate that the authority issued;
    /// `known_intermediates` tell a chain that lacks one from a stranger's.
    pub fn build(
        &self,
        bundles: &BTreeMap<BundleName, Arc<TrustBundle>>,
        known_intermediates: Vec<Certificate>,
        own: Option<SharedCredentials>,
        read: impl Fn(&Path) -> io::Result<Vec<u8>>,
    ) -> Result<GatewayPlan, ConfigError> {
        check_distinct(&self.identity_headers)?;
        self.check_self_check()?;
        let build = Build {
            config: self,
            verification: Arc::new(self.verification(&read)?),
            bundles,
            known_intermediates,
            own,
            read,
        };
        let mut listeners = Vec::with_capacity(self.listener.len());
        let (mut names, mut addresses) = (HashMap::new(), HashMap::new());
        for (index, listener) in self.listener.iter().enumerate() {
            let plan = build.listener(index, listener)?;
            let place = format!("gateway.listener[{index}]");
            if let Some(other) = names.insert(plan.name.clone(), index) {
                let why = format!("{} is the name of gateway.listener[{other}] too", plan.name);
                return Err(ConfigError::new(format!("{place}.name"), why));
            }
            // Port 0 is another port each time.
            if plan.address.port() != 0
                && let Some(other) = addresses.insert(plan.address, index)
            {
                let why = format!(
                    "{} is the address of gateway.listener[{other}] too",
                    plan.address
                );
                return Err(ConfigError::new(format!("{place}.address"), why));
            }
            listeners.push(plan);
        }
        tunnel::refuse_to_servers_of_requests(&listeners)?;
        let context = upstream::Context {
            bundles,
            feed_life: Some(EgressConfig::FEED_LIFE),
            read: &build.read,
        };
        let egress = egress::build_all(&self.egress, &context, &listeners, &mut addresses)?;
        let cores = || std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let workers = self.workers.map_or_else(cores, NonZeroUsize::get);
        if workers > MAX_WORKERS {
            let why = format!("{workers} threads are more than any machine has cores");
            return Err(ConfigError::new("gateway.workers", why));
        }
        Ok(GatewayPlan {
            workers,
            listeners,
            egress,
            decisions: self.decisions.build()?,
            verification: build.verification,
            bounds: Bounds::default(),
        })
    }
}

struct Build<'a, R> {
    config: &'a GatewayConfig,
    verification: Arc<Verification>,
    bundles: &'a BTreeMap<BundleName, Arc<TrustBundle>>,
    known_intermediates: Vec<Certificate>,
    own: Option<SharedCredentials>,
    read: R,
}

impl<R: Fn(&Path) -> io::Result<Vec<u8>>> Build<'_, R> {
    fn listener(
        &self,
        index: usize,
        listener: &ListenerConfig,
    ) -> Result<ListenerPlan, ConfigError> {
        let place = format!("gateway.listener[{index}]");
        let name = name(&place, index, listener)?;
        check_times(&place, listener)?;
        let trust = self.trust(&place, listener)?;
        let admission = Admission {
            mode: listener.client_certificate,
            trust: &trust,
            requires_certificate: false,
        };
        let mut break_glass = self.break_glass(&place, listener, &trust)?;
        // When the feed is silent is what a break-glass listener is for; and no session outlives an arming, for there is none.
        let (feed_life, session_lifetime) = match break_glass {
            Some(_) => (None, Duration::ZERO),
            None => (
                Some(listener.feed_life.duration()),
                listener.session_lifetime.duration(),
            ),
        };
        let upstreams = upstream::Context {
            bundles: self.bundles,
            feed_life,
            read: &self.read,
        };
        let served = served(&place, &name, listener, &admission, &upstreams)?;
        let refused = |invalid: InvalidPolicy| {
            let at = rule_place(&place, served.protocol, invalid.route, invalid.entry);
            ConfigError::new(at, invalid.to_string())
                .hint("see docs/reference/rules.md for what each condition asks for")
        };
        let shadow = shadow::rules(&place, listener, served.rules(), &admission)?;
        let narrowed = match listener.client_certificate {
            ClientCertificateMode::Off => Vec::new(),
            _ => self.narrowed(&place, &trust, listener, &served.routes)?,
        };
        let policy = Arc::new(AccessPolicy::new(served.routes).map_err(refused)?);
        (self.config).check_named_factors(&place, served.protocol, &policy, shadow.as_deref())?;
        if let Some(plan) = &mut break_glass {
            let factors = self
                .config
                .written_factors(&place, &policy, &self.verification)?;
            plan.covers(&factors);
        }
        let verifier = match listener.client_certificate {
            ClientCertificateMode::Off => None,
            ClientCertificateMode::Request | ClientCertificateMode::Require => {
                Some(self.verifier(&place, trust.clone())?)
            }
        };
        let idle_timeout = listener.idle_timeout.map(TimeSpan::duration);
        Ok(ListenerPlan {
            address: listener.address,
            settings: ScopeSettings {
                listener: name.clone(),
                client_certificate: listener.client_certificate.into(),
                verifier,
                narrowed,
                policy: Arc::clone(&policy),
                admits: match served.protocol {
                    Protocol::Bytes => Admits::Connections,
                    Protocol::Http => Admits::Requests,
                    Protocol::Postgresql => Admits::Logins,
                },
                // Of bytes nobody knows what they are: whatever a client offers, none is chosen (RFC 7301 §3.2).
                alpn: match served.protocol {
                    Protocol::Bytes => Vec::new(),
                    Protocol::Http => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
                    Protocol::Postgresql => vec![postgresql::ALPN.to_vec()],
                },
                session_lifetime,
                handshake_timeout: listener.handshake_timeout.duration(),
                on_refusal: on_refusal(&place, listener, served.protocol)?,
                feed_life,
                shadow: self.shadow_terms(&place, listener)?,
            },
            break_glass,
            credentials: self.credentials(&place, listener)?,
            max_connections: listener.max_connections.get(),
            edge: edge(&place, listener)?,
            protocol: served.protocol,
            serving: Arc::new(Serving {
                policy,
                former: None,
                shadow,
                verification: Arc::clone(&self.verification),
                upstreams: served.upstreams,
                direction: Direction::Ingress,
                upstream_proxy_protocol: listener.upstream_proxy_protocol.map(Into::into),
                identity_headers: self.config.identity_headers.clone(),
                header_timeout: listener.header_timeout.duration(),
                idle_timeout: idle_timeout.unwrap_or(IDLE_TIMEOUT),
                tunnel_idle_timeout: match served.protocol {
                    Protocol::Bytes | Protocol::Postgresql => {
                        idle_timeout.unwrap_or(TUNNEL_IDLE_TIMEOUT)
                    }
                    Protocol::Http => TUNNEL_IDLE_TIMEOUT,
                },
            }),
            name,
        })
    }

    fn break_glass(
        &self,
        place: &str,
        listener: &ListenerConfig,
        trust: &[Arc<TrustBundle>],
    ) -> Result<Option<BreakGlassPlan>, ConfigError> {
        let feed = self.config.feed.as_ref();
        let config = listener.break_glass.as_ref();
        let plan = config.map(|it| it.build(place, listener, trust, feed, &self.read));
        plan.transpose()
    }

    fn shadow_terms(
        &self,
        place: &str,
        listener: &ListenerConfig,
    ) -> Result<Option<ShadowSettings>, ConfigError> {
        let trusted = |place: &str, names: &[String]| self.trusted(place, names);
        let verifier = |place: &str, bundles| self.verifier(place, bundles);
        shadow::certificates(place, listener, trusted, verifier)
    }

    fn verifier(
        &self,
        place: &str,
        trust: Vec<Arc<TrustBundle>>,
    ) -> Result<Arc<Verifier>, ConfigError> {
        let verifier = Verifier::new(trust, Limits::default())
            .map_err(|invalid| ConfigError::new(format!("{place}.trust"), invalid.to_string()))?;
        let intermediates = self.known_intermediates.clone();
        Ok(Arc::new(verifier.with_known_intermediates(intermediates)))
    }

    /// The hosts whose routes, all that a request for them could reach, leave a bundle out: its certificates are refused in
    /// the handshake. Where one route of several accepts it, each request is judged.
    fn narrowed(
        &self,
        place: &str,
        trust: &[Arc<TrustBundle>],
        listener: &ListenerConfig,
        routes: &[Route],
    ) -> Result<Vec<Narrowed>, ConfigError> {
        let mut hosts: Vec<&DnsName> = routes.iter().filter_map(|it| it.host.as_ref()).collect();
        hosts.sort_by_key(|host| (host.is_wildcard(), host.as_str()));
        hosts.dedup();
        let mut narrowed = Vec::new();
        for host in hosts {
            let reaches = |route: &Route| match &route.host {
                None => true,
                Some(pattern) => pattern == host || (pattern.is_wildcard() && pattern.covers(host)),
            };
            let accepts = |name: &BundleName| {
                let mut written = routes.iter().zip(&listener.route);
                written.any(|(route, config)| {
                    let kept = config.trust.as_ref();
                    reaches(route)
                        && kept.is_none_or(|kept| kept.iter().any(|it| it == name.as_str()))
                })
            };
            let kept: Vec<_> = trust
                .iter()
                .filter(|bundle| accepts(bundle.name()))
                .cloned()
                .collect();
            // A wildcard of no fewer bundles stands, too: an exact name before it must not be looked for behind it.
            narrowed.push(Narrowed {
                host: host.clone(),
                verifier: self.verifier(place, kept)?,
            });
        }
        let is_narrow = |it: &Narrowed| it.verifier.bundles().len() < trust.len();
        Ok(if narrowed.iter().any(is_narrow) {
            narrowed
        } else {
            Vec::new()
        })
    }

    fn trust(
        &self,
        place: &str,
        listener: &ListenerConfig,
    ) -> Result<Vec<Arc<TrustBundle>>, ConfigError> {
        if listener.client_certificate == ClientCertificateMode::Off {
            return Ok(Vec::new());
        }
        self.trusted(place, &listener.trust)
    }

    fn trusted(&self, place: &str, names: &[String]) -> Result<Vec<Arc<TrustBundle>>, ConfigError> {
        let mut seen = HashSet::new();
        let mut trusted = Vec::with_capacity(names.len());
        for (number, name) in names.iter().enumerate() {
            let place = format!("{place}.trust[{number}]");
            let bundle = BundleName::parse(name)
                .ok()
                .and_then(|name| self.bundles.get(&name));
            let Some(bundle) = bundle else {
                return Err(ConfigError::new(
                    place,
                    format!("there is no trust bundle called {name:?}"),
                )
                .hint(format!("add [trust.{name}] with bundle = \"FILE\"")));
            };
            if !seen.insert(name) {
                return Err(ConfigError::new(
                    place,
                    format!("{name} stands there twice"),
                ));
            }
            trusted.push(Arc::clone(bundle));
        }
        if trusted.is_empty() {
            return Err(ConfigError::new(
                format!("{place}.trust"),
                "it is empty, so that no certificate would be accepted",
            )
            .hint("name a trust bundle, or set client_certificate = \"off\""));
        }
        Ok(trusted)
    }

    fn credentials(
        &self,
        place: &str,
        listener: &ListenerConfig,
    ) -> Result<SharedCredentials, ConfigError> {
        let missing = |missing: &str, given: &str| {
            Err(ConfigError::new(
                format!("{place}.{missing}"),
                format!("{given} is given without it"),
            )
            .hint("give certificate and key, or neither, and the authority issues one"))
        };
        let (certificate, key) = match (&listener.certificate, &listener.key) {
            (Some(certificate), Some(key)) => (certificate, key),
            (Some(_), None) => return missing("key", "certificate"),
            (None, Some(_)) => return missing("certificate", "key"),
            (None, None) => {
                return self.own.clone().ok_or_else(|| {
                    ConfigError::new(
                        format!("{place}.certificate"),
                        "there is no authority here that could issue one",
                    )
                    .hint("give certificate = \"FILE\" and key = \"FILE\"")
                });
            }
        };
        upstream::read_credentials(place, certificate, key, &self.read)
    }
}

/// The key of a route or of one of its entries.
pub(crate) fn rule_place(
    listener: &str,
    protocol: Protocol,
    route: Option<usize>,
    entry: Option<(&str, usize)>,
) -> String {
    let route = match (protocol, route) {
        (Protocol::Http, Some(route)) => format!(".route[{route}]"),
        (Protocol::Http, None) => ".route".to_owned(),
        (Protocol::Bytes | Protocol::Postgresql, _) => String::new(),
    };
    let entry = entry.map_or_else(String::new, |(list, index)| format!(".{list}[{index}]"));
    format!("{listener}{route}{entry}")
}

/// How the listener is called; where the file gives it no name, after its place.
fn name(place: &str, index: usize, listener: &ListenerConfig) -> Result<String, ConfigError> {
    let name = (listener.name.clone()).unwrap_or_else(|| format!("listener-{}", index + 1));
    // The same alphabet: both go into logs, metrics and addresses of pages as they are.
    if BundleName::parse(&name).is_err() {
        return Err(ConfigError::new(
            format!("{place}.name"),
            format!("{name:?} cannot name a listener"),
        )
        .hint("use 1 to 63 lower-case letters, digits and hyphens"));
    }
    Ok(name)
}

/// Where nothing begins with headers or a login, whoever gives them a time believes in a limit that there is not.
fn refuse_header_timeout(place: &str, listener: &ListenerConfig) -> Result<(), ConfigError> {
    if listener.header_timeout == super::default_header_timeout() {
        return Ok(());
    }
    Err(ConfigError::new(
        format!("{place}.header_timeout"),
        "a listener of bytes waits for no headers, so that it has no effect",
    )
    .hint("leave it out; idle_timeout ends a connection without a byte"))
}

fn check_times(place: &str, listener: &ListenerConfig) -> Result<(), ConfigError> {
    for (key, span) in [
        ("handshake_timeout", listener.handshake_timeout),
        ("header_timeout", listener.header_timeout),
        (
            "idle_timeout",
            listener.idle_timeout.unwrap_or(listener.header_timeout),
        ),
    ] {
        if span.duration().is_zero() {
            return Err(ConfigError::new(
                format!("{place}.{key}"),
                "no client is that fast",
            ));
        }
    }
    if listener.feed_life.duration() < MIN_FEED_LIFE {
        return Err(ConfigError::new(
            format!("{place}.feed_life"),
            format!(
                "the feed is confirmed each 10 s: a life under {} s would end in between",
                MIN_FEED_LIFE.as_secs()
            ),
        ));
    }
    Ok(())
}

/// What a listener serves.
struct Served {
    protocol: Protocol,
    routes: Vec<Route>,
    upstreams: Vec<Arc<Group>>,
}

impl Served {
    fn rules(&self) -> (Protocol, &[Route]) {
        (self.protocol, &self.routes)
    }
}

fn served(
    place: &str,
    name: &str,
    listener: &ListenerConfig,
    admission: &Admission<'_>,
    upstreams: &upstream::Context<'_>,
) -> Result<Served, ConfigError> {
    let of_bytes = [
        ("protocol", listener.protocol.is_some()),
        ("balance", listener.balance.is_some()),
        ("health", listener.health.is_some()),
        ("upstream_tls", listener.upstream_tls.is_some()),
        ("allow", !listener.allow.is_empty()),
        ("deny", !listener.deny.is_empty()),
        (
            "shadow",
            (listener.shadow.as_ref()).is_some_and(ListenerShadowConfig::has_rules),
        ),
    ];
    if let Some(urls) = &listener.upstream {
        if !listener.route.is_empty() {
            return Err(ConfigError::new(
                format!("{place}.upstream"),
                "a listener takes bytes for its upstream, or HTTP for its routes, and not both",
            )
            .hint("leave upstream, allow and deny of the listener out, or its routes"));
        }
        if listener.protocol != Some(UpstreamProtocol::Postgresql) {
            refuse_header_timeout(place, listener)?;
        }
        let (protocol, route) = match listener.protocol {
            Some(UpstreamProtocol::Postgresql) => (
                Protocol::Postgresql,
                login_route(place, name, listener, admission)?,
            ),
            Some(UpstreamProtocol::Bytes) | None => (
                Protocol::Bytes,
                bytes_route(place, name, listener, admission)?,
            ),
        };
        if protocol == Protocol::Postgresql && matches!(urls, UpstreamUrls::Several(_)) {
            let why = "a query is cancelled where its session is, and a cancellation does not say where that was";
            return Err(ConfigError::new(format!("{place}.upstream"), why)
                .hint("name one server, or a pooler before several"));
        }
        let group = upstream::group(place, urls, listener.balance, |index, text| {
            let written = upstream::Written {
                place,
                index,
                text,
                tls: listener.upstream_tls.as_ref(),
                protocol: None,
                upgrades: None,
            };
            upstream::of_listener(&written, protocol, upstreams)
        })?;
        let group = checked_by_listener(place, protocol, group, listener)?;
        return Ok(Served {
            protocol,
            routes: vec![route],
            upstreams: vec![group],
        });
    }
    let opens_tunnels = listener.route.iter().any(|it| !it.connect.is_empty());
    if listener.upstream_proxy_protocol.is_some() && !opens_tunnels {
        return Err(ConfigError::new(
            format!("{place}.upstream_proxy_protocol"),
            "requests of several clients share the connections to an HTTP upstream, and a header is for one client's",
        )
        .hint("leave it out: identity_headers tell of each request; or give the listener an upstream of its own"));
    }
    if let Some((key, _)) = of_bytes.iter().find(|(_, is_given)| *is_given) {
        return Err(ConfigError::new(
            format!("{place}.{key}"),
            "it is for a listener of bytes, which has an upstream of its own",
        )
        .hint(format!(
            "move {key} into [[gateway.listener.route]], or give the listener an upstream"
        )));
    }
    if listener.route.is_empty() {
        return Err(ConfigError::new(
            format!("{place}.route"),
            "there is none, so that every request would be refused",
        )
        .hint("add [[gateway.listener.route]] with upstream and allow; for bytes, give the listener itself both"));
    }
    tunnel::refuse_checks(place, listener)?;
    let mut routes = Vec::with_capacity(listener.route.len());
    let mut forwards = Vec::with_capacity(listener.route.len());
    for (number, route) in listener.route.iter().enumerate() {
        let (route, upstream) = build_route(
            &format!("{place}.route[{number}]"),
            number,
            route,
            admission,
            upstreams,
        )?;
        routes.push(route);
        forwards.push(upstream);
    }
    Ok(Served {
        protocol: Protocol::Http,
        routes,
        upstreams: forwards,
    })
}

fn check_distinct(forms: &[IdentityHeader]) -> Result<(), ConfigError> {
    let twice = (1..forms.len()).find(|&index| forms[..index].contains(&forms[index]));
    match twice {
        Some(index) => Err(ConfigError::new(
            format!("gateway.identity_headers[{index}]"),
            "it stands there twice",
        )),
        None => Ok(()),
    }
}

/// nginx's `keepalive_timeout`: clients and balancers in the field are tuned to it.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(75);

/// Chats, feeds and pools of database connections ping about once a minute, if at all; those that do not are left in peace
/// for an hour.
pub(super) const TUNNEL_IDLE_TIMEOUT: Duration = Duration::from_hours(1);

/// Of programs on this host, as of clients that come from elsewhere.
pub(super) const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// One confirmation and half of the next.
const MIN_FEED_LIFE: Duration = Duration::from_secs(15);

/// A typing error in `workers` is refused rather than tried.
const MAX_WORKERS: usize = 1024;
