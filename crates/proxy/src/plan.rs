//! A configuration that was found good: what a gateway serves.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use countersign_pki::identity::VerifiedPeer;
use countersign_policy::access::AccessPolicy;
use countersign_tls::credentials::SharedCredentials;
use countersign_tls::scope::{ClientCertificate, ScopeSettings};

use crate::config::IdentityHeader;
use crate::upstream::Upstream;

/// Everything decided before a socket is bound. Made by [`GatewayConfig::build`](crate::config::GatewayConfig::build).
pub struct GatewayPlan {
    pub(crate) workers: usize,
    pub(crate) listeners: Vec<ListenerPlan>,
}

pub(crate) struct ListenerPlan {
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
    pub(crate) settings: ScopeSettings,
    pub(crate) credentials: SharedCredentials,
    pub(crate) max_connections: usize,
    pub(crate) serving: Arc<Serving>,
}

/// What a connection looks at for each request; replaced as a whole by a reload.
pub(crate) struct Serving {
    pub(crate) policy: Arc<AccessPolicy>,
    /// By the index of the policy's route.
    pub(crate) upstreams: Vec<Upstream>,
    pub(crate) identity_headers: Vec<IdentityHeader>,
    pub(crate) header_timeout: Duration,
    pub(crate) idle_timeout: Duration,
}

impl GatewayPlan {
    /// The listeners' names and addresses, in the order of the configuration.
    pub fn listeners(&self) -> impl Iterator<Item = (&str, SocketAddr)> {
        self.listeners
            .iter()
            .map(|listener| (listener.name.as_str(), listener.address))
    }
}

impl ListenerPlan {
    /// Whether a connection of this peer, made under another plan, could stand under this one.
    pub(crate) fn still_admits(&self, peer: Option<&VerifiedPeer>) -> bool {
        let settings = &self.settings;
        let is_trusted = match (peer, settings.client_certificate) {
            (None, mode) => mode != ClientCertificate::Require,
            (Some(_), ClientCertificate::Off) => false,
            (Some(peer), _) => settings
                .verifier
                .iter()
                .flat_map(|verifier| verifier.bundles())
                .any(|bundle| {
                    bundle.name() == peer.bundle()
                        && bundle.anchor_keys().any(|key| key == peer.anchor_key())
                }),
        };
        is_trusted && settings.policy.admits_at_all(peer)
    }

    /// The bundles it trusts, by name.
    pub(crate) fn trust(&self) -> Vec<String> {
        let bundles = self
            .settings
            .verifier
            .iter()
            .flat_map(|verifier| verifier.bundles());
        bundles.map(|bundle| bundle.name().to_string()).collect()
    }

    pub(crate) fn client_certificate(&self) -> &'static str {
        match self.settings.client_certificate {
            ClientCertificate::Off => "off",
            ClientCertificate::Request => "request",
            ClientCertificate::Require => "require",
        }
    }
}
