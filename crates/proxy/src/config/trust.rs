//! `[trust.NAME]`: where the anchors of a bundle come from.

use std::io;
use std::path::{Path, PathBuf};

use countersign_pki::bundle::TrustBundle;
use countersign_pki::certificate::Certificate;
use countersign_pki::identity::BundleName;
use countersign_pki::pem;
use countersign_pki::spiffe::TrustDomain;
use countersign_pki::time::UnixTime;
use countersign_runtime::config::ConfigError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A trust bundle: the anchors of one trust domain or partner.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TrustConfig {
    /// PEM file with the anchors. Default: the authority's own root; only "internal" may leave it out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bundle: Option<PathBuf>,
    /// The SPIFFE trust domain that this bundle vouches for. Default: none, and SPIFFE IDs under this bundle never match.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trust_domain: Option<String>,
}

impl TrustConfig {
    /// The bundle called `name`. `own` holds the authority's bundle, for `internal` without a file.
    pub fn load(
        &self,
        name: &str,
        own: Option<&TrustBundle>,
        now: UnixTime,
        read: impl Fn(&Path) -> io::Result<Vec<u8>>,
    ) -> Result<TrustBundle, ConfigError> {
        let place = format!("trust.{name}");
        let bundle_name =
            BundleName::parse(name).map_err(|error| ConfigError::new(&place, error.to_string()))?;
        if bundle_name.as_str() == BundleName::OPERATORS {
            return Err(ConfigError::new(
                place,
                "is the bundle of the authority's own operators and nodes",
            )
            .hint("choose another name"));
        }
        let trust_domain = match &self.trust_domain {
            Some(text) => Some(TrustDomain::parse(text).map_err(|error| {
                ConfigError::new(format!("{place}.trust_domain"), error.to_string())
            })?),
            None => None,
        };
        let (anchors, trust_domain) = match (&self.bundle, own) {
            (Some(path), _) => (anchors_of(&place, path, read)?, trust_domain),
            (None, Some(own)) if own.name() == &bundle_name => (
                own.anchors().to_vec(),
                trust_domain.or_else(|| own.trust_domain().cloned()),
            ),
            (None, _) => {
                return Err(ConfigError::new(place, "names no anchors")
                    .hint("give bundle = \"FILE\" with the PEM certificates of its root CAs"));
            }
        };
        TrustBundle::new(bundle_name, trust_domain, anchors, now)
            .map_err(|error| ConfigError::new(place, error.to_string()))
    }
}

fn anchors_of(
    place: &str,
    path: &Path,
    read: impl Fn(&Path) -> io::Result<Vec<u8>>,
) -> Result<Vec<Certificate>, ConfigError> {
    let fault = |why: String| {
        ConfigError::new(
            format!("{place}.bundle"),
            format!("{}: {why}", path.display()),
        )
    };
    let bytes = read(path).map_err(|error| fault(error.to_string()))?;
    let blocks = pem::decode_all(&bytes).map_err(|error| fault(error.to_string()))?;
    blocks
        .iter()
        .map(|block| match block.label.as_str() {
            "CERTIFICATE" => {
                Certificate::parse_anchor(&block.der).map_err(|error| fault(error.to_string()))
            }
            other => Err(fault(format!(
                "holds a {other} block, only CERTIFICATE belongs there"
            ))),
        })
        .collect()
}
