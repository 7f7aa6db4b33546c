//! How the authority is.

use countersign_pki::feed::{HistoryId, Sequence};
use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::time::UnixTime;
use serde::{Deserialize, Serialize};

use super::rfc3339;

/// How the authority is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusResponse {
    /// Where SPIFFE IDs live.
    pub trust_domain: String,
    /// When the authority was made.
    #[serde(with = "rfc3339")]
    pub created_at: UnixTime,
    /// `ready`, `unsealing` or `failed`.
    pub issuing: IssuingState,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuing_fault: Option<String>,
    /// Root, intermediate, operator.
    pub issuers: Vec<IssuerView>,
    /// How many certificates there are.
    pub certificates: Counts,
    /// nextUpdate of the root's CRL.
    #[serde(with = "rfc3339")]
    pub root_crl_next_update: UnixTime,
    /// Where certificates are told to look for their revocation; left out: nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publication_url: Option<String>,
    /// The feed's history.
    pub history: HistoryId,
    /// Its last message.
    pub sequence: Sequence,
    /// Nodes that are connected to the feed.
    pub nodes: Vec<String>,
    /// What an operator should know.
    pub risks: Vec<Risk>,
}

/// Whether certificates can be issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IssuingState {
    /// Not without help.
    Failed,
    /// Yes.
    Ready,
    /// In a moment.
    Unsealing,
}

/// One CA certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuerView {
    /// `root`, `intermediate` or `operator`.
    pub role: String,
    /// Its subject.
    pub subject: String,
    /// SHA-256 of its DER.
    pub fingerprint: Fingerprint,
    /// Beginning.
    #[serde(with = "rfc3339")]
    pub not_before: UnixTime,
    /// End.
    #[serde(with = "rfc3339")]
    pub not_after: UnixTime,
}

/// How many certificates stand where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// See [`CertificateStatus::Expired`](super::CertificateStatus::Expired).
    pub expired: u64,
    /// See [`CertificateStatus::Revoked`](super::CertificateStatus::Revoked).
    pub revoked: u64,
    /// See [`CertificateStatus::Unknown`](super::CertificateStatus::Unknown).
    pub unknown: u64,
    /// See [`CertificateStatus::Valid`](super::CertificateStatus::Valid).
    pub valid: u64,
}

/// A risk that stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Risk {
    /// A sentence.
    pub sentence: String,
    /// What to do.
    pub hint: String,
}
