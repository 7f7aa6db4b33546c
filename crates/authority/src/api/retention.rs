//! What leaves the inventory.

use countersign_pki::time::UnixTime;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rfc3339;
use super::schema::TimeSchema;

/// What left the inventory, or would leave it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PruneResponse {
    /// What ended before this may leave.
    #[serde(with = "rfc3339")]
    #[schemars(with = "TimeSchema")]
    pub cutoff: UnixTime,
    /// Of a preview: rows that say that they ended before, at most so many leave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<u64>,
    /// How many.
    pub dropped: DroppedView,
    /// How many stay all the same.
    pub kept: KeptView,
    /// Files of the archive that were written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
    /// This was a part; there is more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub more: bool,
}

/// What left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DroppedView {
    /// Certificates of this authority.
    pub certificates: u64,
    /// Certificates of others.
    pub imported: u64,
    /// Reserved serials that no certificate is known of.
    pub intents: u64,
}

/// What stays although it has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeptView {
    /// Revoked because the key was given away: it is never certified again.
    pub compromised: u64,
    /// A revocation list in force has to show them.
    pub listed: u64,
    /// Their bytes do not prove it.
    pub unproved: u64,
}

/// What leaves the inventory, and when it did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RetentionView {
    /// How long after their end certificates stay, in seconds.
    pub expired_s: u64,
    /// Where they are archived; left out: nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive: Option<String>,
    /// The time by which they are judged: behind the clock, where that has jumped or nobody was there.
    #[serde(with = "rfc3339")]
    #[schemars(with = "TimeSchema")]
    pub judged_at: UnixTime,
    /// What ended before this may leave.
    #[serde(with = "rfc3339")]
    #[schemars(with = "TimeSchema")]
    pub cutoff: UnixTime,
    /// The last pass of this process; left out: there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<PassView>,
}

/// A pass through what has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PassView {
    /// When.
    #[serde(with = "rfc3339")]
    #[schemars(with = "TimeSchema")]
    pub at: UnixTime,
    /// What left.
    pub dropped: DroppedView,
    /// What stays all the same.
    pub kept: KeptView,
    /// Why it broke off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}
