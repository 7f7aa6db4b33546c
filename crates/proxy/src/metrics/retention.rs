//! What has left the authority's inventory, as far as this process let it leave.

use std::sync::OnceLock;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::Unlabelled;

/// Since the process began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetentionFigures {
    /// Rows that were written to the archive.
    pub archived: u64,
    /// Certificates that left.
    pub certificates: u64,
    /// Certificates of others that left.
    pub imported: u64,
    /// Intents that left.
    pub intents: u64,
    /// Passes and calls that broke off.
    pub failures: u64,
    /// When a pass came to its end; `None`: none has.
    pub last_pass_unix_s: Option<u64>,
}

type Figures = Box<dyn Fn() -> Option<RetentionFigures> + Send + Sync>;

#[derive(Default)]
pub(super) struct RetentionMetrics {
    archived: Family<Unlabelled, Counter>,
    dropped: Family<KindLabels, Counter>,
    failures: Family<Unlabelled, Counter>,
    last_pass: Family<Unlabelled, Gauge>,
    figures: OnceLock<Figures>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabels {
    kind: &'static str,
}

impl RetentionMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "countersign_authority_retention_archived_rows",
            "Rows of the inventory that were written to the archive before they left",
            self.archived.clone(),
        );
        registry.register(
            "countersign_authority_retention_dropped_rows",
            "Rows that left the inventory: certificate, imported or intent",
            self.dropped.clone(),
        );
        registry.register(
            "countersign_authority_retention_failures",
            "Passes of retention, and calls for one, that broke off",
            self.failures.clone(),
        );
        registry.register(
            "countersign_authority_retention_last_pass_seconds",
            "When a pass of retention last came to its end, in seconds since the Unix epoch",
            self.last_pass.clone(),
        );
    }

    /// Only the first who is given is asked: a process has one authority.
    pub(super) fn watch(&self, figures: Figures) {
        let _ = self.figures.set(figures);
    }

    /// Brings them up to what there is now.
    pub(super) fn bring_up(&self) {
        let Some(figures) = self.figures.get().and_then(|figures| figures()) else {
            return;
        };
        up_to(&self.archived.get_or_create(&[]), figures.archived);
        up_to(&self.failures.get_or_create(&[]), figures.failures);
        for (kind, rows) in [
            ("certificate", figures.certificates),
            ("imported", figures.imported),
            ("intent", figures.intents),
        ] {
            up_to(&self.dropped.get_or_create(&KindLabels { kind }), rows);
        }
        if let Some(last_pass) = figures.last_pass_unix_s {
            let seconds = i64::try_from(last_pass).unwrap_or(i64::MAX);
            self.last_pass.get_or_create(&[]).set(seconds);
        }
    }
}

/// Whoever looks at the same time counts nothing twice, and what was counted does not go back.
pub(super) fn up_to(counter: &Counter, figure: u64) {
    counter
        .inner()
        .fetch_max(figure, std::sync::atomic::Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::super::{Metrics, text};
    use super::*;

    #[test]
    fn figures_are_shown_as_they_are_and_not_where_everything_is_kept() {
        let metrics = Metrics::new("1");
        let shown = |metrics: &Metrics| {
            let text = metrics.encode(text::Form::Prometheus);
            let of_ours = text.lines().filter(|line| {
                !line.starts_with('#') && line.contains("countersign_authority_retention")
            });
            of_ours.map(ToOwned::to_owned).collect::<Vec<_>>()
        };
        let has_rule = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&has_rule);
        metrics.watch_retention(move || {
            asked.load(Ordering::Relaxed).then_some(RetentionFigures {
                archived: 7,
                certificates: 4,
                imported: 2,
                intents: 1,
                failures: 3,
                last_pass_unix_s: Some(1_800_000_000),
            })
        });
        assert_eq!(shown(&metrics), Vec::<String>::new());
        has_rule.store(true, Ordering::Relaxed);
        for _ in 0..2 {
            let mut lines = shown(&metrics);
            lines.sort();
            assert_eq!(
                lines,
                [
                    "countersign_authority_retention_archived_rows_total{} 7",
                    "countersign_authority_retention_dropped_rows_total{kind=\"certificate\"} 4",
                    "countersign_authority_retention_dropped_rows_total{kind=\"imported\"} 2",
                    "countersign_authority_retention_dropped_rows_total{kind=\"intent\"} 1",
                    "countersign_authority_retention_failures_total{} 3",
                    "countersign_authority_retention_last_pass_seconds{} 1800000000",
                ]
            );
        }
    }
}
