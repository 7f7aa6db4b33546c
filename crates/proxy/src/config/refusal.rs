//! How refused clients learn of it.

use countersign_runtime::config::ConfigError;
use countersign_tls::scope::OnRefusal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::{ClientCertificateMode, ListenerConfig};
use crate::plan::Protocol;

/// What a client gets whose certificate is refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RefusalMode {
    /// The alert of TLS that fits.
    #[default]
    Alert,
    /// An answer of HTTP with the class of the refusal and its id.
    Explain,
}

/// Refused where nobody could be told, or nobody is refused.
pub(super) fn on_refusal(
    place: &str,
    listener: &ListenerConfig,
    protocol: Protocol,
) -> Result<OnRefusal, ConfigError> {
    if listener.on_refusal == RefusalMode::Alert {
        return Ok(OnRefusal::Alert);
    }
    let at = format!("{place}.on_refusal");
    match (protocol, listener.client_certificate) {
        (Protocol::Bytes | Protocol::Postgresql, _) => Err(ConfigError::new(
            at,
            "the answer is one of HTTP, which clients of this listener do not speak",
        )
        .hint("leave it out: they get an alert of TLS")),
        (Protocol::Http, ClientCertificateMode::Off) => Err(ConfigError::new(
            at,
            "this listener asks for no certificate, so that none is refused",
        )
        .hint("leave it out, or ask for certificates by client_certificate")),
        (Protocol::Http, _) => Ok(OnRefusal::Explain),
    }
}
