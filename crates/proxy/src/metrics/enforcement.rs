//! Whether the gateway refuses whom it must, as it found when it looked.

use std::sync::OnceLock;

use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::Unlabelled;

/// What the last look says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EnforcementFigures {
    /// Everybody was refused, and that was seen lately.
    pub is_ok: bool,
    /// When a whole look last came to its end; `None`: none has.
    pub last_check_unix_s: Option<u64>,
    /// Of how many things of the configuration it could not be seen.
    pub unseen: usize,
}

type Figures = Box<dyn Fn() -> Option<EnforcementFigures> + Send + Sync>;

pub(super) struct EnforcementMetrics {
    ok: Family<Unlabelled, Gauge>,
    last_check: Family<Unlabelled, Gauge>,
    unseen: Family<Unlabelled, Gauge>,
    figures: OnceLock<Figures>,
}

impl EnforcementMetrics {
    pub(super) fn registered(registry: &mut Registry) -> Self {
        let (ok, last_check, unseen) = (Family::default(), Family::default(), Family::default());
        registry.register(
            "countersign_gateway_enforcement_ok",
            "1: at its last check of itself the gateway refused everybody whom it could send to itself and has to refuse; 0: somebody came in, a listener did not answer, or no whole check came about for three times as long as it should take",
            Family::clone(&ok),
        );
        registry.register(
            "countersign_gateway_enforcement_last_check_seconds",
            "When a whole check last came to its end, in seconds since the Unix epoch",
            Family::clone(&last_check),
        );
        registry.register(
            "countersign_gateway_enforcement_unseen",
            "Listeners and routes at which a check cannot see, or not of everybody, who is refused: of these enforcement_ok says nothing",
            Family::clone(&unseen),
        );
        Self {
            ok,
            last_check,
            unseen,
            figures: OnceLock::new(),
        }
    }

    /// Only the first who is given is asked: a process has one gateway.
    pub(super) fn watch(&self, figures: Figures) {
        let _ = self.figures.set(figures);
    }

    /// Brings them up to what is known now.
    pub(super) fn bring_up(&self) {
        let figures = self.figures.get().and_then(|figures| figures());
        if let Some(figures) = figures {
            self.ok.get_or_create(&[]).set(figures.is_ok.into());
            let unseen = i64::try_from(figures.unseen).unwrap_or(i64::MAX);
            self.unseen.get_or_create(&[]).set(unseen);
        } else {
            self.ok.clear();
            self.unseen.clear();
        }
        match figures.and_then(|figures| figures.last_check_unix_s) {
            Some(unix_s) => {
                let seconds = i64::try_from(unix_s).unwrap_or(i64::MAX);
                self.last_check.get_or_create(&[]).set(seconds);
            }
            None => self.last_check.clear(),
        }
    }
}
