//! Taking certificates back.

use countersign_pki::feed::{HistoryId, RevocationReason, Sequence};
use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::serial::SerialNumber;
use countersign_pki::time::UnixTime;
use serde::{Deserialize, Serialize};

use super::rfc3339;

/// Asks for a revocation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevokeRequest {
    /// WHAT: serial, fingerprint or name.
    pub what: String,
    /// Why.
    #[serde(default)]
    pub reason: RevocationReason,
    /// How long to wait for the nodes; not at all when left out.
    #[serde(default)]
    pub wait_ms: Option<u64>,
}

/// What a revocation did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevokeResponse {
    /// Revoked by this call.
    pub revoked: Vec<RevokedView>,
    /// Revoked before.
    pub already_revoked: Vec<RevokedView>,
    /// The feed's history.
    pub history: HistoryId,
    /// The last message of these revocations there.
    pub sequence: Sequence,
    /// Each node that is connected, or was and has not come back.
    pub nodes: Vec<NodeView>,
    /// Nodes that have not confirmed.
    pub unconfirmed: Vec<String>,
}

/// One revoked certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevokedView {
    /// Which.
    pub serial: SerialNumber,
    /// Left out when it is not known whether it was signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<Fingerprint>,
    /// The name shown first.
    pub name: String,
    /// Its end.
    #[serde(with = "rfc3339")]
    pub not_after: UnixTime,
    /// Since when.
    #[serde(with = "rfc3339")]
    pub revoked_at: UnixTime,
    /// Why.
    pub reason: RevocationReason,
}

/// What one node did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeView {
    /// Which.
    pub node: String,
    /// Every path there refuses the certificates now.
    pub confirmed: bool,
    /// Resumable sessions taken away.
    pub sessions_declined: u64,
    /// Open connections cut.
    pub connections_cut: u64,
    /// From publication to confirmation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_ms: Option<u64>,
}
