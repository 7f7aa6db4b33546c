//! Who has a place in the feed: what is sent there, and how places are lost and forgotten.

use std::time::Instant;

use countersign_pki::feed::{Message, Revoked};

use super::{Link, MAX_LOST, Node, State};

impl State {
    pub(super) fn send(&mut self, message: &Message) {
        for (name, node) in &mut self.nodes {
            if let Link::Connected(queue) = &node.link
                && queue.try_send(message.clone()).is_err()
            {
                tracing::warn!(target: "feed", node = name, "node does not keep up with the feed and has to join again");
                node.lose();
            }
        }
        self.forget_oldest();
    }

    pub(super) fn place(&mut self, node: &str, number: u64) -> Option<&mut Node> {
        self.nodes
            .get_mut(node)
            .filter(|place| place.number == number)
    }

    /// It is refused from now on, and its connections are cut: there is nobody to hear from.
    pub(super) fn forget_revoked(&mut self, revoked: &Revoked) {
        let certificate = Some((revoked.issuer_key, revoked.serial));
        let before = self.nodes.len();
        self.nodes
            .retain(|_, node| node.certificate.is_none() || node.certificate != certificate);
        if self.nodes.len() < before {
            self.call_the_roll();
        }
    }

    pub(super) fn call_the_roll(&mut self) {
        let remote = |(name, node): (&String, &Node)| Some((name.clone(), node.certificate?));
        let called = self.nodes.iter().filter_map(remote).collect();
        self.roll.keep(&called);
    }

    pub(super) fn lose(&mut self, node: &str, number: u64) {
        if let Some(place) = self.place(node, number) {
            place.lose();
            self.forget_oldest();
        }
    }

    pub(super) fn lose_all(&mut self) {
        self.nodes.values_mut().for_each(Node::lose);
        self.forget_oldest();
    }

    fn forget_oldest(&mut self) {
        if self.nodes.len() <= MAX_LOST {
            return;
        }
        let lost_since = |node: &Node| match node.link {
            Link::Connected(_) => None,
            Link::Lost { since } => Some((since, node.number)),
        };
        let mut lost: Vec<_> = self.nodes.values().filter_map(lost_since).collect();
        if lost.len() <= MAX_LOST {
            return;
        }
        lost.sort_unstable_by(|one, other| other.cmp(one));
        let oldest = lost[MAX_LOST - 1];
        self.nodes.retain(|name, node| {
            let kept = lost_since(node).is_none_or(|since| since >= oldest);
            if !kept {
                tracing::warn!(target: "feed", node = name, "node has not come back and is no longer waited for");
            }
            kept
        });
    }
}

impl Node {
    fn lose(&mut self) {
        if let Link::Connected(_) = self.link {
            self.link = Link::Lost {
                since: Instant::now(),
            };
        }
    }
}
