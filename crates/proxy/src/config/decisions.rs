//! `[gateway.decisions]`: what is kept of what was decided.

use std::time::Duration;

use countersign_runtime::config::ConfigError;
use countersign_runtime::config::amount::TimeSpan;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::decisions::DecisionsPlan;

/// What is kept of decisions: of each kind one entry with a count, 8192 at most, in `decisions/` of the state folder. An entry has the
/// listener, the identity, the source, method, host and path, and what was decided; never a query, a header or a body. Paths and addresses
/// may be data about persons: `enabled = false` keeps nothing, and takes away what was kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DecisionsConfig {
    /// Whether anything is kept. Default: true.
    pub enabled: bool,
    /// How long after it was last seen an entry is kept. Default: "30d".
    pub keep: TimeSpan,
}

impl Default for DecisionsConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            keep: TimeSpan::from_seconds(30 * 24 * 3600),
        }
    }
}

impl DecisionsConfig {
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn build(&self) -> Result<DecisionsPlan, ConfigError> {
        let keep = self.keep.duration();
        let fault =
            |why: &str, hint: &str| Err(ConfigError::new("gateway.decisions.keep", why).hint(hint));
        if keep < MIN_KEEP {
            return fault(
                "it is less than an hour, which shows nothing",
                "enabled = false keeps nothing at all",
            );
        }
        if keep > MAX_KEEP {
            return fault("it is more than a year", "leave it out for 30 d");
        }
        Ok(DecisionsPlan {
            enabled: self.enabled,
            keep,
        })
    }
}

const MIN_KEEP: Duration = Duration::from_hours(1);
const MAX_KEEP: Duration = Duration::from_hours(366 * 24);
