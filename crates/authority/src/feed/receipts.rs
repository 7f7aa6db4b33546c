//! What the nodes have confirmed, out of what the hub remembers.

use std::time::Instant;

use countersign_pki::feed::Sequence;

use super::{Acknowledged, State};
use crate::receipt::NodeReceipt;

impl State {
    pub(super) fn receipts(&self, first: Sequence, last: Sequence) -> Vec<NodeReceipt> {
        if let Some(told) = self.told.iter().find(|told| told.sequence == last) {
            let receipt = |node: &String| self.receipt(node, first, last, told.at);
            return told.nodes.iter().map(receipt).collect();
        }
        // Told before this process, or long ago: whoever joined since has it in its snapshot.
        let receipt = |node: &String| NodeReceipt {
            confirmed: self.is_in_force(node, last),
            ..unconfirmed(node)
        };
        self.nodes.keys().map(receipt).collect()
    }

    fn receipt(
        &self,
        node: &str,
        first: Sequence,
        last: Sequence,
        told_at: Instant,
    ) -> NodeReceipt {
        let mut receipt = unconfirmed(node);
        let of_node = |heard: &&Acknowledged| {
            heard.node == node && heard.sequence >= first && heard.at >= told_at
        };
        for heard in self.acknowledged.iter().filter(of_node) {
            // Numbers that a node says, however large.
            receipt.sessions_declined =
                (receipt.sessions_declined).saturating_add(heard.sessions_declined);
            receipt.connections_cut = receipt
                .connections_cut
                .saturating_add(heard.connections_cut);
            if heard.sequence >= last {
                let after = heard.at.saturating_duration_since(told_at);
                receipt.after_ms = Some(u64::try_from(after.as_millis()).unwrap_or(u64::MAX));
                receipt.confirmed = true;
                return receipt;
            }
        }
        // With very many nodes the acknowledgement itself may be forgotten; that it came is not.
        receipt.confirmed = self.is_in_force(node, last);
        receipt
    }

    fn is_in_force(&self, node: &str, sequence: Sequence) -> bool {
        let in_force = self.nodes.get(node).and_then(|node| node.in_force);
        in_force.is_some_and(|in_force| in_force >= sequence)
    }
}

fn unconfirmed(node: &str) -> NodeReceipt {
    NodeReceipt {
        node: node.to_owned(),
        confirmed: false,
        sessions_declined: 0,
        connections_cut: 0,
        after_ms: None,
    }
}
