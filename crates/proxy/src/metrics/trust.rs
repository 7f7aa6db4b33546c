//! What is known of trust bundles and their revocation lists.

use std::sync::OnceLock;

use countersign_tls::ocsp::OcspFigures;
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
    /// Admissions without a fresh list or OCSP answer.
    pub not_checked: u64,
    /// How often its anchors changed.
    pub changes: u64,
    /// What its responder has said; `None`: it has none.
    pub ocsp: Option<OcspFigures>,
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
    answers: Family<AnswerLabels, Counter>,
    ocsp_failures: Family<BundleLabels, Counter>,
    ocsp_misses: Family<BundleLabels, Counter>,
    ocsp_held: Family<BundleLabels, Gauge>,
    ocsp_last: Family<BundleLabels, Gauge>,
    figures: OnceLock<Figures>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BundleLabels {
    bundle: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AnswerLabels {
    bundle: String,
    /// `good`, `revoked`, `unknown`.
    status: &'static str,
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
            "Handshakes that were admitted though no fresh revocation list or OCSP answer of the bundle speaks of the certificate",
            self.not_checked.clone(),
        );
        registry.register(
            "countersign_gateway_trust_changes",
            "How often the anchors of a trust bundle changed",
            self.changes.clone(),
        );
        registry.register(
            "countersign_gateway_ocsp_answers",
            "Answers of a trust bundle's OCSP responder that can be relied on",
            self.answers.clone(),
        );
        registry.register(
            "countersign_gateway_ocsp_failures",
            "Questions to a trust bundle's OCSP responder that brought no answer to rely on",
            self.ocsp_failures.clone(),
        );
        registry.register(
            "countersign_gateway_ocsp_misses",
            "Connections that had to wait for an answer of a trust bundle's OCSP responder",
            self.ocsp_misses.clone(),
        );
        registry.register(
            "countersign_gateway_ocsp_held",
            "Certificates of a trust bundle of which an OCSP answer is held",
            self.ocsp_held.clone(),
        );
        registry.register(
            "countersign_gateway_ocsp_last_answer_seconds",
            "When a trust bundle's OCSP responder gave its last answer, in seconds since the Unix epoch",
            self.ocsp_last.clone(),
        );
    }

    fn bring_up_ocsp(&self, labels: &BundleLabels, figures: &OcspFigures) {
        for (status, figure) in [
            ("good", figures.good),
            ("revoked", figures.revoked),
            ("unknown", figures.unknown),
        ] {
            let bundle = labels.bundle.clone();
            let labels = AnswerLabels { bundle, status };
            up_to(&self.answers.get_or_create(&labels), figure);
        }
        up_to(&self.ocsp_failures.get_or_create(labels), figures.failures);
        up_to(&self.ocsp_misses.get_or_create(labels), figures.misses);
        let held = i64::try_from(figures.held).unwrap_or(i64::MAX);
        self.ocsp_held.get_or_create(labels).set(held);
        if let Some(last) = figures.last_answer {
            let last = i64::try_from(last.seconds()).unwrap_or(i64::MAX);
            self.ocsp_last.get_or_create(labels).set(last);
        }
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
        self.ocsp_held.clear();
        self.ocsp_last.clear();
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
            if let Some(ocsp) = &figures.ocsp {
                self.bring_up_ocsp(&labels, ocsp);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use countersign_pki::time::UnixTime;

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
                ocsp: Some(OcspFigures {
                    good: 5,
                    revoked: 6,
                    unknown: 7,
                    failures: 8,
                    misses: 9,
                    held: 10,
                    last_answer: Some(UnixTime::from_seconds(1_700_000_000)),
                }),
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
            r#"countersign_gateway_ocsp_answers_total{bundle="acme",status="good"} 5"#,
            r#"countersign_gateway_ocsp_answers_total{bundle="acme",status="revoked"} 6"#,
            r#"countersign_gateway_ocsp_answers_total{bundle="acme",status="unknown"} 7"#,
            r#"countersign_gateway_ocsp_failures_total{bundle="acme"} 8"#,
            r#"countersign_gateway_ocsp_misses_total{bundle="acme"} 9"#,
            r#"countersign_gateway_ocsp_held{bundle="acme"} 10"#,
            r#"countersign_gateway_ocsp_last_answer_seconds{bundle="acme"} 1700000000"#,
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
