//! `[authority.retention]`: how long the inventory keeps what has expired.

use std::path::PathBuf;

use countersign_policy::retention::Retention;
use countersign_runtime::config::ConfigError;
use countersign_runtime::config::amount::TimeSpan;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::retention::RetentionRule;

/// What leaves the inventory: certificates that expired long ago. Left out, it keeps everything. The audit log, keys that were
/// given away and what is said of identities stay in any case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RetentionConfig {
    /// How long after its end a certificate stays: at least `30d`. Auditors often want a year or more: `400d`.
    pub expired: TimeSpan,
    /// What becomes of it then.
    #[serde(default)]
    pub then: Then,
    /// The folder of the archive, made where it is missing. Default: `archive` in the state folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<PathBuf>,
}

/// What becomes of certificates that leave the inventory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Then {
    /// They are on disk as lines of JSON before they leave.
    #[default]
    Archive,
    /// They are gone; the audit log says what they were.
    Drop,
}

impl RetentionConfig {
    /// The rule, or why there can be none.
    pub fn rule(&self) -> Result<RetentionRule, ConfigError> {
        let retention = Retention::after(self.expired.duration()).map_err(|error| {
            ConfigError::new("authority.retention.expired", error.to_string())
                .hint("write \"400d\", or leave [authority.retention] out to keep everything")
        })?;
        if self.then == Then::Drop && self.folder.is_some() {
            let why = "nothing is archived, so there is no folder of an archive";
            return Err(
                ConfigError::new("authority.retention.folder", why.to_owned())
                    .hint("leave it out, or write then = \"archive\""),
            );
        }
        if let Some(folder) = self.folder.as_ref().filter(|folder| !folder.is_absolute()) {
            let why = format!("{} is not an absolute path", folder.display());
            return Err(ConfigError::new("authority.retention.folder", why)
                .hint("a service has no folder of its own to begin from"));
        }
        Ok(RetentionRule {
            retention,
            archive: match self.then {
                Then::Archive => Some(self.folder.clone()),
                Then::Drop => None,
            },
        })
    }
}
