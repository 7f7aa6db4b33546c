//! Backups, and what is told to a restored authority.

use countersign_pki::time::UnixTime;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rfc3339;
use super::schema::TimeSchema;

/// Issuing waits: the authority was restored and does not know what was revoked since its backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PauseView {
    /// When it was restored.
    #[serde(with = "rfc3339")]
    #[schemars(with = "TimeSchema")]
    pub since: UnixTime,
    /// When the backup was made.
    #[serde(with = "rfc3339")]
    #[schemars(with = "TimeSchema")]
    pub backup_at: UnixTime,
    /// How many CRLs and feed states have told of the time since.
    pub evidence: u64,
}

/// What came of one CRL or feed state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EvidenceResponse {
    /// Certificates of the inventory that are revoked now.
    pub revoked: u64,
    /// Serials that the inventory does not know, and now knows as revoked.
    pub unknown: u64,
    /// Those that were revoked already.
    pub known: u64,
    /// Whether it tells of the time after the backup that issuing waits for.
    pub is_newer_than_backup: bool,
    /// Whether it tells of every certificate of the issuing CA, as a complete CRL and a feed state do. What is newer and whole
    /// lets issuing go on.
    pub is_whole: bool,
}

/// The wish that issuing goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ResumeRequest {
    /// For the audit log.
    #[serde(default)]
    pub because: String,
    /// Somebody answers for it that nothing was revoked since, or that it does not matter.
    #[serde(default)]
    pub without_evidence: bool,
    /// Somebody answers for it that the built-in profiles are what it issued by: a backup of an earlier version does not say.
    #[serde(default)]
    pub built_in_profiles: bool,
}

/// Issuing goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ResumeResponse {
    /// What is over; nothing where issuing did not wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub was_paused: Option<PauseView>,
    /// Whether still nothing is issued, because nothing says by which profiles.
    #[serde(default)]
    pub are_profiles_unknown: bool,
}
