//! What is known of trust bundles and their revocation lists.

use std::sync::OnceLock;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::retention::up_to;

/// Of one bundle, since the process began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustFigures {
    /// Its name, an operator's word.
    pub bundle: String,
    /// When the first of its anchors ends.
    pub anchor_not_after_unix_s: u64,
    /// When the first of its lists has to be replaced; `None`: it has none.
    pub crl_next_update_unix_s: Option<u64>,
    /// Lists that took the place of another.
    pub lists_replaced: u64,
    /// Attempts that brought no list to rely on.
    pub list_failures: u64,
    /// Admissions without a fresh list.
    pub not_checked: u64,
    /// How often its anchors changed.
    pub changes: u64,
}

type Figures = Box<dyn Fn() -> Vec<TrustFigures> + Send + Sync>;

#[derive(Default)]
pub(super) struct TrustMetrics {
    anchor_not_after: Family<BundleLabels, Gauge>,
    next_update: Family<BundleLabels, Gauge>,
    replaced: Family<BundleLabels, Counter>,
    failures: Family<BundleLabels, Counter>,
    not_checked: Family<BundleLabels, Counter>,
    changes: Family<BundleLabels, Counter>,
    figures: OnceLock<Figures>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BundleLabels {
    bundle: String,
}

impl TrustMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "countersign_gateway_trust_anchor_not_after_seconds",
            "When the first of a trust bundle's anchors ends, in seconds since the Unix epoch",
            self.anchor_not_after.clone(),
        );
        registry.register(
            "countersign_gateway_crl_next_update_seconds",
            "When the first of a trust bundle's revocation lists has to be replaced, in seconds since the Unix epoch",
            self.next_update.clone(),
        );
        registry.register(
            "countersign_gateway_crl_replaced",
            "Revocation lists of a trust bundle that took the place of another",
            self.replaced.clone(),
        );
        registry.register(
            "countersign_gateway_crl_failures",
            "Attempts to get a revocation list of a trust bundle that brought none to rely on",
            self.failures.clone(),
        );
        registry.register(
            "countersign_gateway_revocation_not_checked",
            "Handshakes that were admitted though no fresh revocation list of the bundle covers the certificate",
            self.not_checked.clone(),
        );
        registry.register(
            "countersign_gateway_trust_changes",
            "How often the anchors of a trust bundle changed",
            self.changes.clone(),
        );
    }

    /// Only the first who is given is asked.
    pub(super) fn watch(&self, figures: Figures) {
        let _ = self.figures.set(figures);
    }

    /// Brings them up to what there is now. A bundle that is gone is shown no more.
    pub(super) fn bring_up(&self) {
        let Some(figures) = self.figures.get() else {
            return;
        };
        self.anchor_not_after.clear();
        self.next_update.clear();
        for figures in figures() {
            let labels = BundleLabels {
                bundle: figures.bundle,
            };
            let seconds = |unix_s: u64| i64::try_from(unix_s).unwrap_or(i64::MAX);
            self.anchor_not_after
                .get_or_create(&labels)
                .set(seconds(figures.anchor_not_after_unix_s));
            if let Some(end) = figures.crl_next_update_unix_s {
                self.next_update.get_or_create(&labels).set(seconds(end));
            }
            for (counter, figure) in [
                (&self.replaced, figures.lists_replaced),
                (&self.failures, figures.list_failures),
                (&self.not_checked, figures.not_checked),
                (&self.changes, figures.changes),
            ] {
                up_to(&counter.get_or_create(&labels), figure);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::super::{Metrics, text};
    use super::*;

    #[test]
    fn bundles_are_shown_as_they_are_and_ends_of_those_that_are_gone_no_more() {
        let metrics = Metrics::new("1");
        let is_gone = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&is_gone);
        metrics.watch_trust(move || {
            let acme = TrustFigures {
                bundle: "acme".to_owned(),
                anchor_not_after_unix_s: 1_900_000_000,
                crl_next_update_unix_s: Some(1_800_000_000),
                lists_replaced: 3,
                list_failures: 2,
                not_checked: 1,
                changes: 4,
            };
            (!asked.load(Ordering::Relaxed))
                .then_some(acme)
                .into_iter()
                .collect()
        });
        for line in [
            r#"countersign_gateway_trust_anchor_not_after_seconds{bundle="acme"} 1900000000"#,
            r#"countersign_gateway_crl_next_update_seconds{bundle="acme"} 1800000000"#,
            r#"countersign_gateway_crl_replaced_total{bundle="acme"} 3"#,
            r#"countersign_gateway_crl_failures_total{bundle="acme"} 2"#,
            r#"countersign_gateway_revocation_not_checked_total{bundle="acme"} 1"#,
            r#"countersign_gateway_trust_changes_total{bundle="acme"} 4"#,
        ] {
            let text = metrics.encode(text::Form::Prometheus);
            assert!(
                text.lines().any(|found| found == line),
                "{line} is not in\n{text}"
            );
        }
        is_gone.store(true, Ordering::Relaxed);
        let text = metrics.encode(text::Form::Prometheus);
        assert!(!text.contains("next_update_seconds{bundle"), "{text}");
    }
}
