//! A node's end of the hub, in this process or behind the port.

use std::sync::Arc;

use countersign_pki::feed::{Acknowledgement, Body, Message, Sequence, Snapshot};
use tokio::sync::mpsc;

use super::Hub;

/// The end of the feed of a node in this process.
#[derive(Debug)]
pub struct Subscription {
    snapshot: Snapshot,
    pub(super) seat: Seat,
}

impl Subscription {
    /// Everything up to where the messages begin. To be acknowledged like a message.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// The next message; `None`: the node was too slow or another took its name, and needs a new subscription.
    /// Cancel-safe.
    pub async fn next(&mut self) -> Option<Message> {
        self.seat.next().await
    }

    /// Says that everything up to there is in force. A node speaks for itself only, and of what it was told.
    pub fn acknowledge(&self, acknowledgement: Acknowledgement) {
        let Seat {
            node, number, hub, ..
        } = &self.seat;
        if acknowledgement.node == *node && acknowledgement.history == self.snapshot.history {
            // Another may have taken the name since: then that one speaks.
            let _ = hub.acknowledge(*number, acknowledgement);
        } else {
            tracing::warn!(target: "feed", node, claimed = acknowledgement.node, "acknowledgement of another node or history is ignored");
        }
    }

    /// Ends in order: the node serves nobody any more, and whoever revokes from now on does not wait for it.
    pub fn leave(self) {
        self.seat.leave();
    }
}

/// A place in the feed. Dropped, the node is lost: it counts as told until it joins again.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(super) node: String,
    number: u64,
    begins: Sequence,
    messages: mpsc::Receiver<Message>,
    hub: Arc<Hub>,
}

impl Seat {
    /// What acknowledgements quote.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Whether another stream has the node's place, or none has, because its certificate was revoked. One that was only too
    /// slow has it still.
    pub(crate) fn is_taken(&self) -> bool {
        self.hub.state().place(&self.node, self.number).is_none()
    }

    /// The next message behind the beginning; `None`: the place is lost. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Option<Message> {
        loop {
            let message = self.messages.recv().await?;
            // The beginning may have seen more than the hub had told when this node joined.
            let confirmation =
                message.body == Body::Confirmed {} && message.sequence == self.begins;
            if confirmation || message.sequence > self.begins {
                return Some(message);
            }
        }
    }

    /// The node serves nobody any more.
    pub(crate) fn leave(self) {
        let mut state = self.hub.state();
        if state.place(&self.node, self.number).is_some() {
            state.nodes.remove(&self.node);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.hub.state().lose(&self.node, self.number);
    }
}

/// A place in the feed that a node has and that awaits its beginning.
pub(crate) struct Joining {
    pub(super) node: String,
    pub(super) number: u64,
    pub(super) messages: mpsc::Receiver<Message>,
    pub(super) hub: Arc<Hub>,
}

impl Joining {
    /// For a node in this process.
    pub(crate) fn with(self, snapshot: Snapshot) -> Subscription {
        Subscription {
            seat: self.at(snapshot.sequence),
            snapshot,
        }
    }

    /// The messages behind `begins` follow.
    pub(crate) fn at(self, begins: Sequence) -> Seat {
        let Self {
            node,
            number,
            messages,
            hub,
        } = self;
        if let Some(place) = hub.state().place(&node, number) {
            place.begins = begins;
        }
        Seat {
            node,
            number,
            begins,
            messages,
            hub,
        }
    }
}
