//! How break-glass listeners stand, and what was done with them.

use std::sync::atomic::AtomicI64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::ListenerLabels;

#[derive(Clone, Default)]
pub(super) struct BreakGlassFamilies {
    armed: Family<ListenerLabels, Gauge>,
    events: Family<EventLabels, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EventLabels {
    listener: String,
    event: &'static str,
}

/// Of one listener.
pub(crate) struct BreakGlassMetrics {
    listener: String,
    armed: Gauge<i64, AtomicI64>,
    events: Family<EventLabels, Counter>,
}

impl BreakGlassFamilies {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "countersign_gateway_break_glass_armed",
            "Whether a break-glass listener is armed: 1, else 0",
            self.armed.clone(),
        );
        registry.register(
            "countersign_gateway_break_glass_events",
            "What was done with break-glass listeners: armed, denied, used, request, disarmed, expired, resumed, not-resumed",
            self.events.clone(),
        );
    }

    pub(super) fn of(&self, listener: &str) -> BreakGlassMetrics {
        let labels = ListenerLabels {
            listener: listener.to_owned(),
        };
        let metrics = BreakGlassMetrics {
            listener: listener.to_owned(),
            armed: self.armed.get_or_create_owned(&labels),
            events: self.events.clone(),
        };
        metrics.set_armed(false);
        metrics
    }
}

impl BreakGlassMetrics {
    pub(crate) fn set_armed(&self, is_armed: bool) {
        self.armed.set(i64::from(is_armed));
    }

    /// `event`: one of a closed set.
    pub(crate) fn count(&self, event: &'static str) {
        let labels = EventLabels {
            listener: self.listener.clone(),
            event,
        };
        self.events.get_or_create(&labels).inc();
    }
}
