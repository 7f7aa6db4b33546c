//! What is counted of upstreams that have others beside them. Their addresses are the operator's own.

use std::sync::atomic::{AtomicI64, AtomicU64};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::gateway::UpstreamCertificate;

/// Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct UpstreamMetrics {
    rests: Family<UpstreamLabels, Counter<u64, AtomicU64>>,
    resting: Family<UpstreamLabels, Gauge<i64, AtomicI64>>,
    repeats: Family<RepeatLabels, Counter<u64, AtomicU64>>,
    checks: Family<OutcomeLabels, Counter<u64, AtomicU64>>,
    passing: Family<CheckLabels, Gauge<i64, AtomicI64>>,
    not_after: Family<CertificateLabels, Gauge<i64, AtomicI64>>,
}

/// Counts an upstream as resting on one worker until it is dropped.
pub(crate) struct Resting(Gauge<i64, AtomicI64>);

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct UpstreamLabels {
    upstream: String,
}

/// A path of the configuration, or `connect`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CheckLabels {
    upstream: String,
    check: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    upstream: String,
    check: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RepeatLabels {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CertificateLabels {
    listener: String,
    upstream: String,
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
        registry.register(
            "countersign_gateway_upstream_checks",
            "Active checks of upstreams: passed or failed",
            self.checks.clone(),
        );
        registry.register(
            "countersign_gateway_upstream_passing",
            "Whether an upstream passes its active checks",
            self.passing.clone(),
        );
        registry.register(
            "countersign_gateway_upstream_certificate_not_after_seconds",
            "End of the certificate that an upstream is shown, in seconds since the Unix epoch",
            self.not_after.clone(),
        );
    }

    /// Those of the configuration in force, and of no other.
    pub(super) fn tell_certificates(&self, certificates: &[UpstreamCertificate]) {
        self.not_after.clear();
        for certificate in certificates {
            let labels = CertificateLabels {
                listener: certificate.listener.clone(),
                upstream: certificate.upstream.clone(),
            };
            let end = i64::try_from(certificate.not_after_unix_s).unwrap_or(i64::MAX);
            self.not_after.get_or_create(&labels).set(end);
        }
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

    pub(crate) fn checked(&self, upstream: &str, check: &str, has_passed: bool, is_passing: bool) {
        let outcome = if has_passed { "passed" } else { "failed" };
        self.checks
            .get_or_create(&OutcomeLabels::of(upstream, check, outcome))
            .inc();
        let labels = CheckLabels::of(upstream, check);
        self.passing.get_or_create(&labels).set(is_passing.into());
    }

    /// It is looked at no more.
    pub(crate) fn forget(&self, upstream: &str, check: &str) {
        self.passing.remove(&CheckLabels::of(upstream, check));
        for outcome in ["passed", "failed"] {
            self.checks
                .remove(&OutcomeLabels::of(upstream, check, outcome));
        }
    }

    pub(crate) fn repeated(&self, is_sent: bool) {
        let outcome = if is_sent { "sent" } else { "over-budget" };
        self.repeats.get_or_create(&RepeatLabels { outcome }).inc();
    }
}

impl CheckLabels {
    fn of(upstream: &str, check: &str) -> Self {
        Self {
            upstream: upstream.to_owned(),
            check: check.to_owned(),
        }
    }
}

impl OutcomeLabels {
    fn of(upstream: &str, check: &str, outcome: &'static str) -> Self {
        Self {
            upstream: upstream.to_owned(),
            check: check.to_owned(),
            outcome,
        }
    }
}

impl Drop for Resting {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;

    #[test]
    fn certificates_of_the_configuration_in_force_are_shown_and_no_others() {
        let (metrics, mut registry) = (UpstreamMetrics::default(), Registry::default());
        metrics.register(&mut registry);
        let shown = |listener: &str| {
            metrics.tell_certificates(&[UpstreamCertificate {
                listener: listener.to_owned(),
                upstream: "https://a.example:443".to_owned(),
                not_after_unix_s: 1_900_000_000,
                fingerprint: String::new(),
            }]);
            let mut text = String::new();
            encode(&mut text, &registry).expect("writable");
            text
        };
        let line = |listener: &str| {
            format!(
                "countersign_gateway_upstream_certificate_not_after_seconds{{listener=\"{listener}\",upstream=\"https://a.example:443\"}} 1900000000"
            )
        };
        assert!(shown("one").contains(&line("one")));
        let after = shown("two");
        assert!(
            after.contains(&line("two")) && !after.contains(&line("one")),
            "{after}"
        );
    }
}
