//! What a revocation, a hold or a release did, where, and when.

use countersign_pki::feed::{HistoryId, Sequence};
use countersign_store::revocation::Shown;

/// What a revocation, a hold or a release did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Revoked, put on hold or released by this call.
    pub changed: Shown,
    /// As it was asked for before.
    pub already: Shown,
    /// Of a release: revoked for good, and left so.
    pub for_good: Shown,
    /// Of a revocation or a hold: live certificates that came by renewal of those, and were not meant.
    pub successors: Shown,
    /// The history that [`Receipt::sequence`] belongs to.
    pub history: HistoryId,
    /// The first feed message about them.
    pub first: Sequence,
    /// The last.
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
