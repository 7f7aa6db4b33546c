//! What a listener tries out beside what is in force.

use std::sync::Arc;

use countersign_pki::bundle::TrustBundle;
use countersign_pki::chain::Verifier;
use countersign_policy::access::{AccessPolicy, Route};
use countersign_runtime::config::ConfigError;
use countersign_tls::shadow::ShadowSettings;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::build::rule_place;
use crate::config::route::{Admission, shadow_route};
use crate::config::rule::{AllowEntry, ConditionConfig};
use crate::config::{ClientCertificateMode, ListenerConfig, ShadowConfig};
use crate::plan::Protocol;
use crate::shadow::Shadow;

/// Terms to try out. Certificates are asked for and judged by them; what would become of each client is counted, logged and shown by
/// `countersign policy readiness`. Nobody is refused for it, and nobody is admitted or known by it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ListenerShadowConfig {
    /// Whether clients would have to show a certificate: "request" or "require". Default: as in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_certificate: Option<ClientCertificateMode>,
    /// The trust bundles whose certificates would be accepted. Default: as in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trust: Option<Vec<String>>,
    /// Of a listener of bytes: whom it would admit. Default: whom `allow` beside it admits.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<AllowEntry>,
    /// Of a listener of bytes: whom it would refuse. Default: whom `deny` beside it refuses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deny: Option<Vec<ConditionConfig>>,
}

impl ListenerShadowConfig {
    fn is_about_certificates(&self) -> bool {
        self.client_certificate.is_some() || self.trust.is_some()
    }

    pub(super) fn has_rules(&self) -> bool {
        !self.allow.is_empty() || self.deny.is_some()
    }

    /// The rules; `None`: it is about certificates alone.
    pub(super) fn rules(&self) -> Option<ShadowConfig> {
        (self.has_rules() || !self.is_about_certificates()).then(|| ShadowConfig {
            allow: self.allow.clone(),
            deny: self.deny.clone(),
        })
    }
}

impl ListenerConfig {
    /// The bundles that are judged by, in force or in shadow.
    pub fn judges_by(&self, bundle: &str) -> bool {
        let is_named = |names: &[String]| names.iter().any(|name| name == bundle);
        let in_force = self.client_certificate != ClientCertificateMode::Off;
        let in_shadow = (self.shadow.as_ref()).filter(|it| it.is_about_certificates());
        (in_force && is_named(&self.trust))
            || in_shadow.is_some_and(|it| is_named(it.trust.as_ref().unwrap_or(&self.trust)))
    }
}

/// The listener's rules as its shadows would have them; `None`: it has no shadow.
pub(super) fn rules(
    place: &str,
    listener: &ListenerConfig,
    (protocol, live): (Protocol, &[Route]),
    admission: &Admission<'_>,
) -> Result<Option<Arc<Shadow>>, ConfigError> {
    let of_listener = (listener.shadow.as_ref()).and_then(ListenerShadowConfig::rules);
    let written: Vec<Option<&ShadowConfig>> = match protocol {
        Protocol::Http => listener.route.iter().map(|it| it.shadow.as_ref()).collect(),
        Protocol::Bytes | Protocol::Postgresql => vec![of_listener.as_ref()],
    };
    if written.iter().all(Option::is_none) {
        return Ok(None);
    }
    let mut routes = Vec::with_capacity(written.len());
    for (number, (live, written)) in live.iter().zip(&written).enumerate() {
        let at = rule_place(place, protocol, Some(number), None);
        routes.push(match written {
            Some(written) => shadow_route(&at, live, written, admission, protocol)?,
            None => live.clone(),
        });
    }
    let policy = AccessPolicy::new(routes).map_err(|invalid| {
        let at = rule_place(place, protocol, invalid.route, None);
        let entry = invalid
            .entry
            .map_or_else(String::new, |(list, index)| format!(".{list}[{index}]"));
        ConfigError::new(format!("{at}.shadow{entry}"), invalid.to_string())
    })?;
    Ok(Some(Arc::new(Shadow {
        policy,
        routes: written.iter().map(Option::is_some).collect(),
    })))
}

/// The terms for certificates that are tried out. `trusted` finds bundles by their names, `verifier` makes what judges by them.
pub(super) fn certificates(
    place: &str,
    listener: &ListenerConfig,
    trusted: impl Fn(&str, &[String]) -> Result<Vec<Arc<TrustBundle>>, ConfigError>,
    verifier: impl Fn(&str, Vec<Arc<TrustBundle>>) -> Result<Arc<Verifier>, ConfigError>,
) -> Result<Option<ShadowSettings>, ConfigError> {
    let place = format!("{place}.shadow");
    let Some(shadow) = (listener.shadow.as_ref()).filter(|it| it.is_about_certificates()) else {
        return Ok(None);
    };
    let in_force = listener.client_certificate;
    let mode = shadow.client_certificate.unwrap_or(in_force);
    let at = format!("{place}.client_certificate");
    if mode == ClientCertificateMode::Off {
        return Err(
            ConfigError::new(at, "without a certificate there is nothing to judge")
                .hint("write \"request\" or \"require\""),
        );
    }
    if (in_force, mode)
        == (
            ClientCertificateMode::Require,
            ClientCertificateMode::Request,
        )
    {
        return Err(ConfigError::new(
            at,
            "the listener requires certificates: whoever has none does not come far enough to be judged",
        )
        .hint("leave it out to try out other bundles alone"));
    }
    let names = shadow.trust.as_ref().unwrap_or(&listener.trust);
    if names.is_empty() {
        return Err(ConfigError::new(
            format!("{place}.trust"),
            "it is empty, so that no certificate would be accepted",
        )
        .hint("name a trust bundle, or leave it out"));
    }
    if mode == in_force && *names == listener.trust {
        return Err(ConfigError::new(place, "it says what is in force already")
            .hint("leave it out, or say what is to be tried out"));
    }
    Ok(Some(ShadowSettings {
        client_certificate: mode.into(),
        verifier: verifier(&place, trusted(&place, names)?)?,
    }))
}
