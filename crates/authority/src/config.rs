//! What an operator writes about an authority: `[authority]`.
//!
//! Raw text becomes these types (unknown keys are refused). A key is here only if its effect is built.

pub mod profile;
pub mod public;
mod reference;

use std::collections::BTreeMap;

use countersign_policy::issuance::Profiles;
use countersign_runtime::config::ConfigError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::profile::ProfileConfig;
pub use self::public::PublicConfig;
pub use self::reference::default_toml;

/// The authority: what it issues, and to whom it speaks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AuthorityConfig {
    /// Kinds of certificates by name, beside the built-in ones; a table under the name of a built-in one narrows that.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub profile: BTreeMap<String, ProfileConfig>,
    /// Where everybody may ask about revocation; left out: nowhere, and certificates carry no URL to ask at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public: Option<PublicConfig>,
}

impl AuthorityConfig {
    /// Every kind of certificate that there will be, or the first key that cannot be.
    pub fn profiles(&self) -> Result<Profiles, ConfigError> {
        let mut profiles = Profiles::built_in();
        if self.profile.len() > MAX_PROFILES {
            let why = format!(
                "there are {} profiles, at most {MAX_PROFILES} are possible",
                self.profile.len()
            );
            return Err(ConfigError::new("authority.profile", why));
        }
        for (name, profile) in &self.profile {
            profile.configure(name, &mut profiles)?;
        }
        Ok(profiles)
    }
}

/// More than anybody tells apart; each is named in an error about one that is not there.
const MAX_PROFILES: usize = 100;
