//! How the authority is.

use countersign_pki::feed::{HistoryId, Sequence};
use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::time::UnixTime;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema::{FingerprintSchema, TimeSchema};
use super::{PauseView, RetentionView, optional_rfc3339, rfc3339};

/// How the authority is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StatusResponse {
    /// Where SPIFFE IDs live.
    pub trust_domain: String,
    /// When the authority was made.
    #[serde(with = "rfc3339")]
    #[schemars(with = "TimeSchema")]
    pub created_at: UnixTime,
    /// `ready`, `unsealing`, `paused` or `failed`.
    pub issuing: IssuingState,
    /// Why it failed, or why it is paused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuing_fault: Option<String>,
    /// What to do about that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuing_hint: Option<String>,
    /// Since when it is paused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause: Option<PauseView>,
    /// The root, CAs below it that are somebody else's, intermediate, operator.
    pub issuers: Vec<IssuerView>,
    /// How many certificates there are.
    pub certificates: Counts,
    /// nextUpdate of the root's CRL; left out: there is none here.
    #[serde(
        default,
        with = "optional_rfc3339",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(with = "Option<TimeSchema>")]
    pub root_crl_next_update: Option<UnixTime>,
    /// How long before that somebody has to be told: three months, or a quarter of its life where that is less.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root_crl_warn_before_s: Option<u64>,
    /// Where certificates are told to look for their revocation; left out: nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publication_url: Option<String>,
    /// Where operators on other machines reach the admin API; left out: nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin_url: Option<String>,
    /// The feed's history.
    #[schemars(with = "String")]
    pub history: HistoryId,
    /// Its last message.
    #[schemars(with = "u64")]
    pub sequence: Sequence,
    /// Nodes that are connected to the feed.
    pub nodes: Vec<String>,
    /// What leaves the inventory; left out: nothing does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<RetentionView>,
    /// What an operator should know.
    pub risks: Vec<Risk>,
}

/// Whether certificates can be issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum IssuingState {
    /// Not without help.
    Failed,
    /// Not before somebody has done something: told a restored authority what was revoked since its backup or what it issues by,
    /// made room for what it issues by, or replaced an issuer that is revoked. `issuing_hint` says what.
    Paused,
    /// Yes.
    Ready,
    /// In a moment.
    Unsealing,
}

/// One CA certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IssuerView {
    /// `root`, `superior`, `intermediate` or `operator`.
    pub role: String,
    /// Its subject.
    pub subject: String,
    /// SHA-256 of its DER.
    #[schemars(with = "FingerprintSchema")]
    pub fingerprint: Fingerprint,
    /// Beginning.
    #[serde(with = "rfc3339")]
    #[schemars(with = "TimeSchema")]
    pub not_before: UnixTime,
    /// End.
    #[serde(with = "rfc3339")]
    #[schemars(with = "TimeSchema")]
    pub not_after: UnixTime,
}

/// How many certificates stand where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Counts {
    /// See [`CertificateStatus::Expired`](super::CertificateStatus::Expired).
    pub expired: u64,
    /// See [`CertificateStatus::Held`](super::CertificateStatus::Held).
    #[serde(default)]
    pub held: u64,
    /// See [`CertificateStatus::Revoked`](super::CertificateStatus::Revoked).
    pub revoked: u64,
    /// See [`CertificateStatus::Unknown`](super::CertificateStatus::Unknown).
    pub unknown: u64,
    /// See [`CertificateStatus::Live`](super::CertificateStatus::Live).
    pub live: u64,
}

/// A risk that stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Risk {
    /// A sentence.
    pub sentence: String,
    /// What to do.
    pub hint: String,
}
