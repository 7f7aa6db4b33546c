//! What goes over the wire to nodes in other processes, one frame an event, and what they answer. The same frames are
//! what a node keeps on disk.

use serde::{Deserialize, Serialize};

use super::{Bundle, HistoryId, Message, Revoked, Sequence};
use crate::time::UnixTime;

/// One event of the stream: `{"snapshot": …}`, any number of `{"revoked": […]}`, `{"complete": …}`, or else
/// `{"resumed": …}`; then `{"message": …}` for ever.
///
/// A frame, a field or a body that the reader does not know is an error and no less: what a node cannot read may be a
/// withdrawal. It asks for a snapshot then, and if it cannot read that either, it is confirmed no more and fails closed at
/// the end of its stated life (invariant 5).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Frame {
    /// As many revocations as were told since the snapshot began: it is whole.
    Complete {
        /// How many.
        revoked: u64,
    },
    /// The next message.
    Message(Message),
    /// What the node said it holds is true; only messages follow.
    Resumed(Head),
    /// Part of a snapshot, at most [`MAX_PART`].
    Revoked(Vec<Revoked>),
    /// Everything up to a place follows, in parts.
    Snapshot(Head),
}

/// Where a stream begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// This stream among all that the authority tells: acknowledgements quote it, so that of two processes with one
    /// certificate neither speaks for the other.
    pub place: u64,
    /// Which history.
    pub history: HistoryId,
    /// Everything up to here is told or held.
    pub sequence: Sequence,
    /// When it was true.
    pub at: UnixTime,
    /// Every bundle that the authority vouches for.
    pub bundles: Vec<Bundle>,
}

/// A node's word over the wire that everything up to a message is in force there. Which node says so stands in its
/// certificate and nowhere else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AcknowledgementOf {
    /// Of the stream that told it.
    pub place: u64,
    /// Which history.
    pub history: HistoryId,
    /// Everything up to here is in force.
    pub sequence: Sequence,
    /// Resumable sessions that this message took away.
    pub sessions_declined: u64,
    /// Open connections that this message cut.
    pub connections_cut: u64,
}

/// Revocations in one part of a snapshot: some 50 KiB of JSON, so that neither side ever holds much of it as text.
pub const MAX_PART: usize = 256;
