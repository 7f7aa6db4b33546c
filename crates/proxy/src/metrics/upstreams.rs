//! What is counted of upstreams that have others beside them. Their addresses are the operator's own.

use std::sync::atomic::{AtomicI64, AtomicU64};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct UpstreamMetrics {
    rests: Family<UpstreamLabels, Counter<u64, AtomicU64>>,
    resting: Family<UpstreamLabels, Gauge<i64, AtomicI64>>,
    repeats: Family<RepeatLabels, Counter<u64, AtomicU64>>,
}

/// Counts an upstream as resting on one worker until it is dropped.
pub(crate) struct Resting(Gauge<i64, AtomicI64>);

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct UpstreamLabels {
    upstream: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RepeatLabels {
    outcome: &'static str,
}

impl UpstreamMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "countersign_gateway_upstream_rests",
            "How often an upstream was left alone because no connection could be made, by worker's count",
            self.rests.clone(),
        );
        registry.register(
            "countersign_gateway_upstream_resting_workers",
            "Workers that leave an upstream alone",
            self.resting.clone(),
        );
        registry.register(
            "countersign_gateway_upstream_repeats",
            "Requests and connections that went on to another upstream, or did not because too many did: sent or over-budget",
            self.repeats.clone(),
        );
    }

    pub(crate) fn rests(&self, upstream: &str) -> Resting {
        let labels = UpstreamLabels {
            upstream: upstream.to_owned(),
        };
        self.rests.get_or_create(&labels).inc();
        let resting = self.resting.get_or_create_owned(&labels);
        resting.inc();
        Resting(resting)
    }

    pub(crate) fn repeated(&self, is_sent: bool) {
        let outcome = if is_sent { "sent" } else { "over-budget" };
        self.repeats.get_or_create(&RepeatLabels { outcome }).inc();
    }
}

impl Drop for Resting {
    fn drop(&mut self) {
        self.0.dec();
    }
}
