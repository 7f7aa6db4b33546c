//! How old the keys are that tokens are verified by.

use std::sync::OnceLock;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::retention::up_to;

/// Of one issuer whose keys come from a URL.
pub(crate) struct TokenKeysFigures {
    /// Its name, an operator's word.
    pub(crate) issuer: String,
    /// Since they were found there last; `None`: they never were.
    pub(crate) age_s: Option<u64>,
    pub(crate) failures: u64,
}

type Figures = Box<dyn Fn() -> Vec<TokenKeysFigures> + Send + Sync>;

#[derive(Default)]
pub(super) struct TokenKeysMetrics {
    age: Family<IssuerLabels, Gauge>,
    failures: Family<IssuerLabels, Counter>,
    figures: OnceLock<Figures>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct IssuerLabels {
    issuer: String,
}

impl TokenKeysMetrics {
    pub(super) fn registered(registry: &mut Registry) -> Self {
        let new = Self::default();
        registry.register(
            "countersign_gateway_token_keys_age_seconds",
            "How long ago the keys of a token issuer were found at their URL",
            new.age.clone(),
        );
        registry.register(
            "countersign_gateway_token_keys_failures",
            "Attempts to get the keys of a token issuer that brought none",
            new.failures.clone(),
        );
        new
    }

    /// Only the first who is given is asked.
    pub(super) fn watch(&self, figures: Figures) {
        let _ = self.figures.set(figures);
    }

    /// Brings them up to what there is now. An issuer that is gone is shown no more.
    pub(super) fn bring_up(&self) {
        let Some(figures) = self.figures.get() else {
            return;
        };
        self.age.clear();
        for figures in figures() {
            let labels = IssuerLabels {
                issuer: figures.issuer,
            };
            if let Some(age) = figures.age_s {
                let seconds = i64::try_from(age).unwrap_or(i64::MAX);
                self.age.get_or_create(&labels).set(seconds);
            }
            up_to(&self.failures.get_or_create(&labels), figures.failures);
        }
    }
}
