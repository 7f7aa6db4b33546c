//! `[trust.NAME.ocsp]`: the responder that is asked about clients' certificates.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use countersign_pki::bundle::TrustBundle;
use countersign_pki::certificate::Certificate;
use countersign_probe::url::FetchUrl;
use countersign_runtime::config::ConfigError;
use countersign_runtime::config::amount::TimeSpan;
use countersign_tls::ocsp::OcspSettings;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::trust::{TrustConfig, certificates};

/// The OCSP responder of a trust bundle. What a certificate says of a responder is never asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OcspConfig {
    /// Where it is asked: `http://HOST/PATH`. An answer proves itself by its signature.
    pub url: String,
    /// PEM file with the responder's certificate, or several during a change. Default: answers come from the issuer of the certificate,
    /// or from whom it certified for `OCSPSigning`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signer_file: Option<PathBuf>,
    /// For how long an answer is good, from when it came, if it says no earlier end itself: within this a revocation takes effect. Of one that
    /// was made beforehand, without the nonce, from its thisUpdate.
    /// Those who are connected are asked about again when half of it is over. From "5s" to "7d". Default: "1h".
    #[serde(default = "default_max_age")]
    pub max_age: TimeSpan,
    /// For how long a connection waits for an answer. From "1s" to "60s". Default: "5s".
    #[serde(default = "default_timeout")]
    pub timeout: TimeSpan,
    /// Whether the CAs between the client and the anchor are asked about, too. Default: false.
    #[serde(default)]
    pub chain: bool,
}

impl TrustConfig {
    /// How clients' certificates of `bundle`, loaded from this, are asked about; `None`: they are not.
    pub fn ocsp(
        &self,
        bundle: &TrustBundle,
        read: impl Fn(&Path) -> io::Result<Vec<u8>>,
    ) -> Result<Option<OcspSettings>, ConfigError> {
        let Some(config) = &self.ocsp else {
            return Ok(None);
        };
        let place = format!("trust.{}", bundle.name());
        let at = |key: &str| format!("{place}.ocsp.{key}");
        if self.bundle.is_none() {
            return Err(ConfigError::new(
                format!("{place}.ocsp"),
                "the authority's own feed tells what is revoked under this bundle",
            )
            .hint("leave ocsp out; a responder is for bundles that have a file"));
        }
        let url = FetchUrl::parse(&config.url)
            .map_err(|invalid| ConfigError::new(at("url"), invalid.to_string()))?;
        if url.is_https() {
            return Err(
                ConfigError::new(at("url"), "a responder is asked over http")
                    .hint("an answer proves itself by its signature, and nobody would vouch for the server"),
            );
        }
        for (key, span, least, most) in [
            ("max_age", config.max_age, MIN_AGE, MAX_AGE),
            ("timeout", config.timeout, MIN_TIMEOUT, MAX_TIMEOUT),
        ] {
            if !(least..=most).contains(&span.duration()) {
                let (least, most) = (least.as_secs(), most.as_secs());
                let why = format!("it is not from {least} s to {most} s");
                return Err(ConfigError::new(at(key), why));
            }
        }
        let signers = match &config.signer_file {
            Some(path) => certificates(&format!("{place}.ocsp"), "signer_file", path, read)?,
            None => Vec::new(),
        };
        if config.signer_file.is_some() && !(1..=MAX_SIGNERS).contains(&signers.len()) {
            let count = signers.len();
            let why = format!("it holds {count} certificates, not 1 to {MAX_SIGNERS}");
            return Err(ConfigError::new(at("signer_file"), why));
        }
        if let Some(weak) = signers.iter().find_map(Certificate::weak_key) {
            let why = format!("the responder's key is weak ({weak}), so that anybody may have it");
            return Err(ConfigError::new(at("signer_file"), why));
        }
        Ok(Some(OcspSettings {
            url: config.url.clone(),
            mode: self.mode(&place)?,
            anchors: bundle.anchors().to_vec(),
            signers,
            max_age: config.max_age.duration(),
            timeout: config.timeout.duration(),
            chain: config.chain,
        }))
    }
}

fn default_max_age() -> TimeSpan {
    TimeSpan::from_seconds(3600)
}

fn default_timeout() -> TimeSpan {
    TimeSpan::from_seconds(5)
}

/// Each client that is connected is asked about twice in it.
const MIN_AGE: Duration = Duration::from_secs(5);
/// RFC 5019 §2.2.4 has answers live for days; who is revoked meanwhile should not.
const MAX_AGE: Duration = Duration::from_hours(7 * 24);
const MIN_TIMEOUT: Duration = Duration::from_secs(1);
/// Clients give up by then.
const MAX_TIMEOUT: Duration = Duration::from_mins(1);
/// The old one and the new one, of some responders.
const MAX_SIGNERS: usize = 8;
