//! What a revocation did, where, and when.

use countersign_pki::feed::{HistoryId, RevocationReason, Sequence};
use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::serial::SerialNumber;
use countersign_pki::time::UnixTime;

/// What a revocation did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Revoked by this call.
    pub revoked: Vec<RevokedCertificate>,
    /// Revoked before.
    pub already_revoked: Vec<RevokedCertificate>,
    /// The history that [`Receipt::sequence`] belongs to.
    pub history: HistoryId,
    /// The last feed message of these revocations.
    pub sequence: Sequence,
    /// Each node that was connected.
    pub nodes: Vec<NodeReceipt>,
}

impl Receipt {
    /// Nodes that have not confirmed.
    pub fn unconfirmed(&self) -> impl Iterator<Item = &str> {
        self.nodes
            .iter()
            .filter(|node| !node.confirmed)
            .map(|node| node.node.as_str())
    }
}

/// One revoked certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevokedCertificate {
    /// Which.
    pub serial: SerialNumber,
    /// `None`: the serial was reserved, whether a certificate was signed is not known.
    pub fingerprint: Option<Fingerprint>,
    /// The name shown first.
    pub name: String,
    /// Its end.
    pub not_after: UnixTime,
    /// Since when.
    pub revoked_at: UnixTime,
    /// Why.
    pub reason: RevocationReason,
}

/// What one node did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeReceipt {
    /// Which.
    pub node: String,
    /// Every path there refuses the certificates now.
    pub confirmed: bool,
    /// Resumable sessions taken away.
    pub sessions_declined: u64,
    /// Open connections cut.
    pub connections_cut: u64,
    /// From publication to confirmation.
    pub after_ms: Option<u64>,
}
