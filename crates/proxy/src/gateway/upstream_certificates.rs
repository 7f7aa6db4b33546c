//! What the gateway shows to upstreams: certificates from files, which nobody here renews, so that somebody has to see their end come.

use serde::Serialize;

use crate::plan::GatewayPlan;
use crate::upstream::{Address, TlsTarget, Upstream};

/// One certificate of `upstream_tls`, at one upstream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UpstreamCertificate {
    /// The listener or egress whose requests go there.
    pub listener: String,
    /// The upstream's address.
    pub upstream: String,
    /// The end of the certificate, in Unix seconds.
    pub not_after_unix_s: u64,
    /// SHA-256 of the certificate.
    pub fingerprint: String,
}

/// Each once, in the order of the configuration.
pub(crate) fn upstream_certificates(plan: &GatewayPlan) -> Vec<UpstreamCertificate> {
    let listeners = plan.listeners.iter().map(|it| (&it.name, &it.serving));
    let egress = plan.egress.iter().map(|it| (&it.name, &it.serving));
    let mut shown = Vec::new();
    for (listener, serving) in listeners.chain(egress) {
        for upstream in serving.upstreams.iter().flat_map(|group| group.members()) {
            let certificate = of_upstream(listener, upstream);
            shown.extend(certificate.filter(|it| !shown.contains(it)));
        }
    }
    shown
}

fn of_upstream(listener: &str, upstream: &Upstream) -> Option<UpstreamCertificate> {
    let address = match upstream {
        Upstream::Bytes(address) => address,
        Upstream::Http(origin) => &origin.address,
        Upstream::Demo => return None,
    };
    let Address::Tls(TlsTarget { credentials, .. }) = &**address else {
        return None;
    };
    let leaf = credentials.as_ref()?.leaf();
    Some(UpstreamCertificate {
        listener: listener.to_owned(),
        upstream: address.to_string(),
        not_after_unix_s: leaf.not_after().seconds(),
        fingerprint: leaf.fingerprint().to_string(),
    })
}
