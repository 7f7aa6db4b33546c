//! What a running gateway tells of itself.

use countersign_pki::time::UnixTime;
use countersign_runtime::config::address::LocalAddress;
use serde::Serialize;

use super::GatewayHandle;
use super::upstream_certificates::{UpstreamCertificate, upstream_certificates};
use crate::break_glass::BreakGlassStatus;
pub use crate::health::UpstreamStatus;
use crate::shadow::ShadowFigures;

impl GatewayHandle {
    /// What it serves now.
    pub fn status(&self) -> GatewayStatus {
        let plan = self.shared.plan.load();
        let listeners =
            plan.listeners
                .iter()
                .zip(&self.shared.listeners)
                .map(|(plan, listener)| {
                    let leaf = plan.credentials.leaf();
                    ListenerStatus {
                        name: plan.name.clone(),
                        address: listener.address.clone(),
                        client_certificate: plan.client_certificate(),
                        trust: plan.trust(),
                        routes: plan
                            .serving
                            .policy
                            .routes()
                            .iter()
                            .map(|route| route.label.clone())
                            .collect(),
                        connections: listener.limit.in_use(),
                        shadow: (plan.serving.shadow.as_ref())
                            .map(|_| listener.metrics.shadow.figures()),
                        certificate_not_after_unix_s: leaf.not_after().seconds(),
                        certificate_fingerprint: leaf.fingerprint().to_string(),
                        break_glass: listener.break_glass.as_ref().map(|it| it.status()),
                    }
                });
        let egress = plan.egress.iter().zip(&self.shared.egress);
        let egress = egress.map(|(plan, listener)| EgressStatus {
            name: plan.name.clone(),
            address: listener.address.clone(),
            upstream: (plan.serving.upstreams.first())
                .and_then(|group| group.first().address())
                .map_or_else(String::new, ToString::to_string),
            connections: listener.limit.in_use(),
        });
        let now = UnixTime::from_seconds(self.shared.context.clock.unix_seconds());
        GatewayStatus {
            token_issuers: plan.verification.status(now),
            workers: plan.workers,
            live_connections: self.shared.context.enforcement.live(),
            listeners: listeners.collect(),
            egress: egress.collect(),
            upstreams: self.shared.checks.status(),
            upstream_certificates: upstream_certificates(&plan),
        }
    }
}

/// What a gateway serves, for `status` and the admin API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GatewayStatus {
    /// Data-plane threads.
    pub workers: usize,
    /// Open connections of every listener.
    pub live_connections: usize,
    /// In the order of the configuration.
    pub listeners: Vec<ListenerStatus>,
    /// The ways out, in the order of the configuration.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub egress: Vec<EgressStatus>,
    /// Those that are looked at.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub upstreams: Vec<UpstreamStatus>,
    /// What is shown to upstreams over TLS.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub upstream_certificates: Vec<UpstreamCertificate>,
    /// Whose tokens rules may ask for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub token_issuers: Vec<TokenIssuerStatus>,
}

/// An issuer of tokens of a [`GatewayStatus`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TokenIssuerStatus {
    /// How rules call it.
    pub name: String,
    /// The URL of its keys; `None`: they are in a file, and read with the configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// How many of its keys are held.
    pub keys: usize,
    /// When they were found at the URL last, in Unix seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fetched_unix_s: Option<u64>,
    /// How long ago that is, by the clock that says more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age_s: Option<u64>,
    /// Attempts to get them that brought none.
    pub failures: u64,
    /// Whether they are there and not older than they may be: otherwise each of its tokens is refused.
    pub usable: bool,
}

/// One listener of a [`GatewayStatus`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ListenerStatus {
    /// Its name.
    pub name: String,
    /// As bound.
    pub address: LocalAddress,
    /// `require`, `request` or `off`.
    pub client_certificate: &'static str,
    /// The bundles it trusts.
    pub trust: Vec<String>,
    /// How its routes are called.
    pub routes: Vec<String>,
    /// Open connections, those in their handshake included.
    pub connections: usize,
    /// What shadow rules said; `None`: there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shadow: Option<ShadowFigures>,
    /// The end of the certificate that it presents, in Unix seconds.
    pub certificate_not_after_unix_s: u64,
    /// SHA-256 of that certificate.
    pub certificate_fingerprint: String,
    /// Of a break-glass listener: how it stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub break_glass: Option<BreakGlassStatus>,
}

/// One way out of a [`GatewayStatus`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EgressStatus {
    /// Its name.
    pub name: String,
    /// As bound.
    pub address: LocalAddress,
    /// The server that it leads to.
    pub upstream: String,
    /// Open connections of programs of this host.
    pub connections: usize,
}
