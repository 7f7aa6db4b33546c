//! What the gateway counts, and the endpoint that shows it.
//!
//! Labels are listeners' names and closed sets, never what a peer chose. Counters are looked up once per listener: a
//! request costs one addition.

mod break_glass;
mod decisions;
mod endpoint;
mod enforcement;
mod peers;
mod retention;
mod text;
mod token_keys;
mod trust;
mod upstreams;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64};

use arc_swap::{ArcSwap, ArcSwapOption};
use countersign_diagnose::cause::Cause;
use countersign_diagnose::refusal::Refusal;
use countersign_tls::credentials::SharedCredentials;
use countersign_tls::enforcement::Enforcement;
use countersign_tls::shadow::ShadowFinding;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

pub(crate) use self::break_glass::BreakGlassMetrics;
pub(crate) use self::decisions::DecisionMetrics;
pub use self::endpoint::serve_metrics;
pub use self::enforcement::EnforcementFigures;
pub use self::retention::RetentionFigures;
pub use self::trust::TrustFigures;

use self::break_glass::BreakGlassFamilies;
use self::enforcement::EnforcementMetrics;
use self::peers::PeerMetrics;
use self::retention::RetentionMetrics;
pub(crate) use self::token_keys::TokenKeysFigures;
use self::token_keys::TokenKeysMetrics;
use self::trust::TrustMetrics;
pub(crate) use self::upstreams::{Resting, UpstreamMetrics};
use crate::gateway::UpstreamCertificate;
use crate::shadow::{ShadowLabels, ShadowTally, ShadowVerdict};

/// The process's metrics. Cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    shared: Arc<Shared>,
}

struct Shared {
    registry: Registry,
    handshakes: Family<HandshakeLabels, Counter>,
    refusals: Family<CauseLabels, Counter>,
    requests: Family<RequestLabels, Counter>,
    connections: Family<ListenerLabels, Gauge>,
    shadow: Family<ShadowLabels, Counter>,
    not_after: Family<ListenerLabels, Gauge>,
    /// Whose certificates are looked at when somebody asks.
    credentials: ArcSwap<Vec<(String, SharedCredentials)>>,
    feed_age: Family<Unlabelled, Gauge>,
    root_list_end: Family<Unlabelled, Gauge>,
    retention: RetentionMetrics,
    trust: TrustMetrics,
    token_keys: TokenKeysMetrics,
    reloads: Family<ReloadLabels, Counter>,
    refused_configuration: Family<Unlabelled, Gauge>,
    self_check: EnforcementMetrics,
    upstreams: UpstreamMetrics,
    peers: PeerMetrics,
    break_glass: BreakGlassFamilies,
    decisions: DecisionMetrics,
    /// Whose feed's age is looked at when somebody asks.
    feed: ArcSwapOption<Enforcement>,
}

fn reload_families(
    registry: &mut Registry,
) -> (Family<ReloadLabels, Counter>, Family<Unlabelled, Gauge>) {
    let (reloads, refused) = (Family::default(), Family::default());
    registry.register(
        "countersign_gateway_reloads",
        "Configurations read again, by outcome: taken over or refused",
        Family::clone(&reloads),
    );
    registry.register(
        "countersign_gateway_configuration_refused",
        "1: the configuration as it stands in its files was refused, and an earlier one is in force",
        Family::clone(&refused),
    );
    (reloads, refused)
}

/// A family shows nothing until there is something, which a metric by itself cannot.
type Unlabelled = [(&'static str, &'static str); 0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HandshakeLabels {
    listener: String,
    outcome: &'static str,
    cause: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CauseLabels {
    cause: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    listener: String,
    code: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReloadLabels {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ListenerLabels {
    listener: String,
}

impl Metrics {
    /// Nothing counted yet; `version` is shown in `countersign_gateway_build_info`.
    pub fn new(version: &str) -> Self {
        let mut registry = Registry::default();
        let handshakes = Family::default();
        let refusals = Family::default();
        let requests = Family::default();
        let connections = Family::default();
        let shadow = Family::default();
        let not_after = Family::default();
        let feed_age = Family::<Unlabelled, Gauge>::default();
        let root_list_end = Family::<Unlabelled, Gauge>::default();
        let retention = RetentionMetrics::default();
        let trust = TrustMetrics::default();
        let break_glass = BreakGlassFamilies::default();
        registry.register(
            "countersign_gateway_handshakes",
            "TLS handshakes by outcome: full, resumed or refused, with the cause of a refusal",
            handshakes.clone(),
        );
        registry.register(
            "countersign_gateway_refusals",
            "Connections and requests turned away, by cause",
            refusals.clone(),
        );
        registry.register(
            "countersign_gateway_requests",
            "Requests answered, by class of status code",
            requests.clone(),
        );
        registry.register(
            "countersign_gateway_shadow_decisions",
            "What shadow rules said beside the rules in force: the same, would-admit or would-refuse",
            shadow.clone(),
        );
        registry.register(
            "countersign_gateway_connections_open",
            "Connections that have finished their handshake and are open",
            connections.clone(),
        );
        registry.register(
            "countersign_gateway_certificate_not_after_seconds",
            "End of the certificate that a listener presents, in seconds since the Unix epoch",
            not_after.clone(),
        );
        registry.register(
            "countersign_gateway_feed_age_seconds",
            "How long ago the authority's feed of revocations and bundles was last confirmed",
            feed_age.clone(),
        );
        registry.register(
            "countersign_authority_root_crl_next_update_seconds",
            "When the CRL of the root, or of another CA above the issuing one, has to be replaced, in seconds since the Unix epoch",
            root_list_end.clone(),
        );
        retention.register(&mut registry);
        trust.register(&mut registry);
        let token_keys = TokenKeysMetrics::registered(&mut registry);
        let (reloads, refused_configuration) = reload_families(&mut registry);
        let self_check = EnforcementMetrics::registered(&mut registry);
        let upstreams = UpstreamMetrics::default();
        upstreams.register(&mut registry);
        let peers = PeerMetrics::default();
        peers.register(&mut registry);
        break_glass.register(&mut registry);
        let decisions = DecisionMetrics::registered(&mut registry);
        registry.register(
            "countersign_gateway_build",
            "The running version",
            Info::new(vec![("version".to_owned(), version.to_owned())]),
        );
        Self {
            shared: Arc::new(Shared {
                registry,
                handshakes,
                refusals,
                requests,
                connections,
                shadow,
                not_after,
                credentials: ArcSwap::default(),
                feed_age,
                root_list_end,
                retention,
                trust,
                token_keys,
                reloads,
                refused_configuration,
                self_check,
                upstreams,
                peers,
                break_glass,
                decisions,
                feed: ArcSwapOption::default(),
            }),
        }
    }

    /// Both text forms; see [`text`].
    fn encode(&self, form: text::Form) -> String {
        let shared = &self.shared;
        for (listener, credentials) in shared.credentials.load().iter() {
            let seconds =
                i64::try_from(credentials.leaf().not_after().seconds()).unwrap_or(i64::MAX);
            shared
                .not_after
                .get_or_create(&ListenerLabels {
                    listener: listener.clone(),
                })
                .set(seconds);
        }
        let age = shared.feed.load().as_ref().and_then(|it| it.feed_age());
        if let Some(age) = age {
            let seconds = i64::try_from(age.as_secs()).unwrap_or(i64::MAX);
            shared.feed_age.get_or_create(&[]).set(seconds);
        }
        shared.retention.bring_up();
        shared.trust.bring_up();
        shared.token_keys.bring_up();
        shared.self_check.bring_up();
        text::encode(&shared.registry, form)
    }

    /// When the first of the lists of the CAs above the issuing one ends. What there is none of is not shown.
    pub fn tell_root_list_end(&self, unix_s: u64) {
        let seconds = i64::try_from(unix_s).unwrap_or(i64::MAX);
        self.shared.root_list_end.get_or_create(&[]).set(seconds);
    }

    /// Whether the gateway refuses everybody who has to be refused, asked whenever somebody looks. `None`: it is not known, and nothing is
    /// shown.
    pub fn watch_enforcement(
        &self,
        figures: impl Fn() -> Option<EnforcementFigures> + Send + Sync + 'static,
    ) {
        self.shared.self_check.watch(Box::new(figures));
    }

    /// The configuration was read again: whether it is in force.
    pub fn note_reload(&self, is_in_force: bool) {
        let outcome = if is_in_force { "taken-over" } else { "refused" };
        let labels = ReloadLabels { outcome };
        self.shared.reloads.get_or_create(&labels).inc();
        self.tell_refused_configuration(!is_in_force);
    }

    /// Whether what stands in the configuration's files is not what is in force.
    pub fn tell_refused_configuration(&self, is_refused: bool) {
        let refused = &self.shared.refused_configuration;
        refused.get_or_create(&[]).set(is_refused.into());
    }

    /// What of the inventory has left, asked whenever somebody looks. `None`: everything is kept, and nothing is shown.
    pub fn watch_retention(
        &self,
        figures: impl Fn() -> Option<RetentionFigures> + Send + Sync + 'static,
    ) {
        self.shared.retention.watch(Box::new(figures));
    }

    /// What is known of the trust bundles, asked whenever somebody looks.
    pub fn watch_trust(&self, figures: impl Fn() -> Vec<TrustFigures> + Send + Sync + 'static) {
        self.shared.trust.watch(Box::new(figures));
    }

    /// Of what the keys of token issuers are, asked whenever somebody looks.
    pub(crate) fn watch_token_keys(
        &self,
        figures: impl Fn() -> Vec<TokenKeysFigures> + Send + Sync + 'static,
    ) {
        self.shared.token_keys.watch(Box::new(figures));
    }

    pub(crate) fn upstreams(&self) -> UpstreamMetrics {
        self.shared.upstreams.clone()
    }

    pub(crate) fn decisions(&self) -> DecisionMetrics {
        self.shared.decisions.clone()
    }

    pub(crate) fn watch_feed(&self, enforcement: Enforcement) {
        self.shared.feed.store(Some(Arc::new(enforcement)));
    }

    pub(crate) fn watch_certificates(&self, credentials: Vec<(String, SharedCredentials)>) {
        self.shared.credentials.store(Arc::new(credentials));
    }

    pub(crate) fn tell_upstream_certificates(&self, certificates: &[UpstreamCertificate]) {
        self.shared.upstreams.tell_certificates(certificates);
    }

    pub(crate) fn break_glass(&self, listener: &str) -> BreakGlassMetrics {
        self.shared.break_glass.of(listener)
    }

    pub(crate) fn listener(&self, name: &str) -> ListenerMetrics {
        let shared = &self.shared;
        let accepted = |outcome| {
            let labels = HandshakeLabels {
                listener: name.to_owned(),
                outcome,
                cause: Cause::Healthy.slug(),
            };
            shared.handshakes.get_or_create_owned(&labels)
        };
        let answered = |code| {
            shared.requests.get_or_create_owned(&RequestLabels {
                listener: name.to_owned(),
                code,
            })
        };
        let shadowed = |verdict: ShadowVerdict| {
            shared.shadow.get_or_create_owned(&ShadowLabels {
                listener: name.to_owned(),
                verdict: verdict.as_str(),
            })
        };
        ListenerMetrics {
            shadow: ShadowTally::new(
                shadowed(ShadowVerdict::Same),
                shadowed(ShadowVerdict::WouldAdmit),
                shadowed(ShadowVerdict::WouldRefuse),
            ),
            metrics: self.clone(),
            listener: name.to_owned(),
            full: accepted("full"),
            resumed: accepted("resumed"),
            answered: ["1xx", "2xx", "3xx", "4xx", "5xx"].map(answered),
            open: shared.connections.get_or_create_owned(&ListenerLabels {
                listener: name.to_owned(),
            }),
        }
    }
}

/// One listener's counters.
pub(crate) struct ListenerMetrics {
    pub(crate) shadow: ShadowTally,
    metrics: Metrics,
    listener: String,
    full: Counter<u64, AtomicU64>,
    resumed: Counter<u64, AtomicU64>,
    answered: [Counter<u64, AtomicU64>; 5],
    open: Gauge<i64, AtomicI64>,
}

impl ListenerMetrics {
    pub(crate) fn accepted(&self, resumed: bool) {
        if resumed {
            self.resumed.inc()
        } else {
            self.full.inc()
        };
    }

    pub(crate) fn refused_handshake(&self, refusal: &Refusal) {
        let cause = refusal.cause;
        let peers = &self.metrics.shared.peers;
        peers.at_handshake(&self.listener, refusal);
        let labels = HandshakeLabels {
            listener: self.listener.clone(),
            outcome: "refused",
            cause: cause.slug(),
        };
        self.metrics.shared.handshakes.get_or_create(&labels).inc();
        self.refused(cause);
    }

    pub(crate) fn bypass(&self, kind: &'static str) {
        self.metrics.shared.decisions.bypass(&self.listener, kind);
    }

    pub(crate) fn shadow_certificate(&self, finding: &ShadowFinding) {
        let decisions = &self.metrics.shared.decisions;
        decisions.shadow_certificate(&self.listener, finding);
    }

    /// Either side refused the other.
    pub(crate) fn refused_upstream(&self, refusal: &Refusal) {
        let peers = &self.metrics.shared.peers;
        peers.at_upstream(&self.listener, refusal);
    }

    pub(crate) fn refused(&self, cause: Cause) {
        self.metrics
            .shared
            .refusals
            .get_or_create(&CauseLabels {
                cause: cause.slug(),
            })
            .inc();
    }

    pub(crate) fn answered(&self, status: http::StatusCode) {
        let class = usize::from(status.as_u16() / 100).clamp(1, 5);
        self.answered[class - 1].inc();
    }

    /// Counts a connection as open until dropped.
    pub(crate) fn open(&self) -> OpenConnection {
        self.open.inc();
        OpenConnection(self.open.clone())
    }
}

pub(crate) struct OpenConnection(Gauge<i64, AtomicI64>);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use countersign_diagnose::evidence::Evidence;

    use super::*;

    pub(super) fn counted() -> Metrics {
        let metrics = Metrics::new("0.1.0");
        let listener = metrics.listener("listener-1");
        listener.accepted(false);
        listener.accepted(true);
        let expired = Refusal::new(Cause::LeafExpired, "it expired", Evidence::new());
        listener.refused_handshake(&expired);
        listener.refused(Cause::IdentityNotAllowed);
        listener.answered(http::StatusCode::OK);
        listener.answered(http::StatusCode::FORBIDDEN);
        std::mem::forget(listener.open());
        metrics
    }

    #[test]
    fn what_happened_is_counted_under_its_labels() {
        let text = counted().encode(text::Form::Prometheus);
        for line in [
            r#"countersign_gateway_handshakes_total{listener="listener-1",outcome="full",cause="healthy"} 1"#,
            r#"countersign_gateway_handshakes_total{listener="listener-1",outcome="resumed",cause="healthy"} 1"#,
            r#"countersign_gateway_handshakes_total{listener="listener-1",outcome="refused",cause="leaf-expired"} 1"#,
            r#"countersign_gateway_refusals_total{cause="leaf-expired"} 1"#,
            r#"countersign_gateway_refusals_total{cause="identity-not-allowed"} 1"#,
            r#"countersign_gateway_requests_total{listener="listener-1",code="2xx"} 1"#,
            r#"countersign_gateway_requests_total{listener="listener-1",code="4xx"} 1"#,
            r#"countersign_gateway_requests_total{listener="listener-1",code="5xx"} 0"#,
            r#"countersign_gateway_connections_open{listener="listener-1"} 1"#,
            r#"countersign_gateway_build_info{version="0.1.0"} 1"#,
        ] {
            assert!(
                text.lines().any(|found| found == line),
                "{line} is not in\n{text}"
            );
        }
    }

    #[test]
    fn closed_connection_is_not_open() {
        let metrics = Metrics::new("0.1.0");
        drop(metrics.listener("a").open());
        assert!(
            metrics
                .encode(text::Form::Prometheus)
                .contains(r#"connections_open{listener="a"} 0"#)
        );
    }
}
