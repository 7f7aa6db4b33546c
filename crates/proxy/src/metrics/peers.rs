//! Who refused whom: the alerts by which clients and upstreams refuse the gateway, and the upstreams that either side refuses.

use std::sync::atomic::AtomicU64;

use countersign_diagnose::handshake::alert_received;
use countersign_diagnose::refusal::Refusal;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

#[derive(Clone, Default)]
pub(super) struct PeerMetrics {
    alerts: Family<AlertLabels, Counter<u64, AtomicU64>>,
    upstreams: Family<UpstreamLabels, Counter<u64, AtomicU64>>,
}

/// The names of alerts are a closed set.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AlertLabels {
    listener: String,
    from: &'static str,
    alert: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct UpstreamLabels {
    listener: String,
    refused_by: &'static str,
    cause: &'static str,
}

impl PeerMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "countersign_gateway_alerts_received",
            "TLS alerts by which a client or an upstream ended a handshake: it refused the gateway",
            self.alerts.clone(),
        );
        registry.register(
            "countersign_gateway_upstream_refusals",
            "Connections to an upstream that the gateway or the upstream refused over TLS, by cause",
            self.upstreams.clone(),
        );
    }

    /// Counts it if it was the client who refused.
    pub(super) fn at_handshake(&self, listener: &str, refusal: &Refusal) {
        if let Some(alert) = alert_received(refusal) {
            self.alert(listener, "client", alert);
        }
    }

    pub(super) fn at_upstream(&self, listener: &str, refusal: &Refusal) {
        let alert = alert_received(refusal);
        if let Some(alert) = alert {
            self.alert(listener, "upstream", alert);
        }
        let labels = UpstreamLabels {
            listener: listener.to_owned(),
            refused_by: alert.map_or("gateway", |_| "upstream"),
            cause: refusal.cause.slug(),
        };
        self.upstreams.get_or_create(&labels).inc();
    }

    fn alert(&self, listener: &str, from: &'static str, alert: &'static str) {
        let labels = AlertLabels {
            listener: listener.to_owned(),
            from,
            alert,
        };
        self.alerts.get_or_create(&labels).inc();
    }
}
