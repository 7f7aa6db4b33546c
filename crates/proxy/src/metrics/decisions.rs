//! What is kept of decisions, what shadows of certificates say, and what is unusual.

use std::sync::atomic::{AtomicI64, AtomicU64};

use countersign_diagnose::cause::Cause;
use countersign_tls::shadow::ShadowFinding;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct DecisionMetrics {
    bypass: Family<BypassLabels, Counter<u64, AtomicU64>>,
    shadow_certificates: Family<ShadowLabels, Counter<u64, AtomicU64>>,
    unusual: Family<KindLabels, Counter<u64, AtomicU64>>,
    dropped: Family<ReasonLabels, Counter<u64, AtomicU64>>,
    kept: Gauge<i64, AtomicI64>,
    failing: Gauge<i64, AtomicI64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BypassLabels {
    listener: String,
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ShadowLabels {
    listener: String,
    verdict: &'static str,
    cause: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabels {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

impl DecisionMetrics {
    pub(super) fn registered(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        metrics.register(registry);
        metrics
    }

    fn register(&self, registry: &mut Registry) {
        registry.register(
            "countersign_gateway_bypass_attempts",
            "Attempts to get round what is judged: forged-certificate, forged-identity (headers that say who), host-mismatch",
            self.bypass.clone(),
        );
        registry.register(
            "countersign_gateway_shadow_certificates",
            "What a shadow of a listener's terms for certificates said of connections: would-accept or would-refuse, with the cause",
            self.shadow_certificates.clone(),
        );
        registry.register(
            "countersign_gateway_unusual_identities",
            "Identities that came for the first time, or from a network for the first time: first-seen, new-source",
            self.unusual.clone(),
        );
        registry.register(
            "countersign_gateway_decisions_dropped",
            "Kinds of decisions that are not kept: made-room (others came later), too-fast, damaged (files that could not be read)",
            self.dropped.clone(),
        );
        registry.register(
            "countersign_gateway_decisions_kept",
            "Kinds of decisions and connections that are kept for policy replay and readiness",
            self.kept.clone(),
        );
        registry.register(
            "countersign_gateway_decisions_unwritten",
            "1: what is kept cannot be written to disk",
            self.failing.clone(),
        );
    }

    pub(super) fn bypass(&self, listener: &str, kind: &'static str) {
        let labels = BypassLabels {
            listener: listener.to_owned(),
            kind,
        };
        self.bypass.get_or_create(&labels).inc();
    }

    pub(super) fn shadow_certificate(&self, listener: &str, finding: &ShadowFinding) {
        let (verdict, cause) = match finding {
            ShadowFinding::WouldAccept(_) => ("would-accept", Cause::Healthy),
            ShadowFinding::WouldRefuse(cause) => ("would-refuse", *cause),
        };
        let labels = ShadowLabels {
            listener: listener.to_owned(),
            verdict,
            cause: cause.slug(),
        };
        self.shadow_certificates.get_or_create(&labels).inc();
    }

    pub(crate) fn note_unusual(&self, kind: &'static str) {
        self.unusual.get_or_create(&KindLabels { kind }).inc();
    }

    pub(crate) fn note_dropped(&self, reason: &'static str, count: u64) {
        if count > 0 {
            let dropped = self.dropped.get_or_create(&ReasonLabels { reason });
            dropped.inc_by(count);
        }
    }

    pub(crate) fn note_damaged(&self) {
        self.note_dropped("damaged", 1);
    }

    pub(crate) fn tell_kept(&self, count: usize) {
        self.kept.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    pub(crate) fn tell_failing(&self, is_failing: bool) {
        self.failing.set(is_failing.into());
    }
}
