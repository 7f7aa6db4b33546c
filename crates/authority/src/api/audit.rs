//! Reading the audit log.

use countersign_pki::time::UnixTime;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::optional_rfc3339;
use super::schema::TimeSchema;

/// Which part of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AuditQuery {
    /// Only from the first transaction on that has a record of this time or later.
    #[serde(default, with = "optional_rfc3339")]
    #[schemars(with = "Option<TimeSchema>")]
    pub since: Option<UnixTime>,
}
