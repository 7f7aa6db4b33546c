//! `[authority.public]`: where everybody may ask about revocation.

use std::net::SocketAddr;

use countersign_pki::publication::PublicationUrl;
use countersign_runtime::config::ConfigError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The public listener: revocation lists, OCSP and CA certificates over plain HTTP, and nothing else.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PublicConfig {
    /// Where it listens.
    pub address: SocketAddr,
    /// What certificates carry and everybody who verifies them must reach: `http://`, a host, and a port or path where there
    /// is one. Certificates issued before a change keep what they carry, so the former URL has to lead here too until they end.
    pub url: String,
}

impl PublicConfig {
    /// The URL, parsed.
    pub fn publication_url(&self) -> Result<PublicationUrl, ConfigError> {
        PublicationUrl::parse(&self.url).map_err(|error| {
            ConfigError::new("authority.public.url", error.to_string())
                .hint("such as \"http://pki.example.com\": a name that every verifier resolves to this listener, or to a proxy before it")
        })
    }
}
