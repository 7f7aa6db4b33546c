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
