//! The feed's hub: every node hears every message in order, or starts again with a snapshot.
//!
//! A node that loses its place may serve on with what it has heard, so it is not forgotten: it counts as told and
//! unconfirmed until it has joined again and acknowledged its snapshot, or has said that it ends.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use countersign_pki::feed::{Acknowledgement, Body, HistoryId, Message, Sequence, Snapshot};
use countersign_pki::time::UnixTime;
use tokio::sync::{mpsc, watch};

use crate::receipt::NodeReceipt;

/// A node's end of the feed.
#[derive(Debug)]
pub struct Subscription {
    snapshot: Snapshot,
    node: String,
    number: u64,
    messages: mpsc::Receiver<Message>,
    hub: Arc<Hub>,
}

impl Subscription {
    /// Everything up to where the messages begin. To be acknowledged like a message.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// The next message; `None`: the node was too slow or another took its name, and needs a new subscription.
    /// Cancel-safe.
    pub async fn next(&mut self) -> Option<Message> {
        loop {
            let message = self.messages.recv().await?;
            // The snapshot may have seen more than the hub had told when this node joined.
            let confirmation =
                message.body == Body::Confirmed && message.sequence == self.snapshot.sequence;
            if confirmation || message.sequence > self.snapshot.sequence {
                return Some(message);
            }
        }
    }

    /// Says that everything up to there is in force. A node speaks for itself only, and of what it was told.
    pub fn acknowledge(&self, acknowledgement: Acknowledgement) {
        if acknowledgement.node == self.node && acknowledgement.history == self.snapshot.history {
            self.hub
                .acknowledge(self.number, acknowledgement, self.snapshot.sequence);
        } else {
            tracing::warn!(target: "feed", node = self.node, claimed = acknowledgement.node, "acknowledgement of another node or history is ignored");
        }
    }
}

impl Subscription {
    /// Ends in order: the node serves nobody any more, and whoever revokes from now on does not wait for it.
    pub fn leave(self) {
        let mut state = self.hub.state();
        if state.place(&self.node, self.number).is_some() {
            state.nodes.remove(&self.node);
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.hub.state().lose(&self.node, self.number);
    }
}

/// A place in the feed that a node has and that awaits its snapshot.
pub(crate) struct Joining {
    node: String,
    number: u64,
    messages: mpsc::Receiver<Message>,
    hub: Arc<Hub>,
}

impl Joining {
    pub(crate) fn with(self, snapshot: Snapshot) -> Subscription {
        let Self {
            node,
            number,
            messages,
            hub,
        } = self;
        Subscription {
            snapshot,
            node,
            number,
            messages,
            hub,
        }
    }
}

/// Tells nodes and hears them.
#[derive(Debug)]
pub(crate) struct Hub {
    /// Invariant: messages enter every queue in the order of their sequence. [`Hub::publish`] is called by the store's
    /// one writer, and confirmations are numbered under this lock.
    state: Mutex<State>,
    heard: watch::Sender<()>,
}

#[derive(Debug)]
struct State {
    /// The last message told, by this process or before it.
    sequence: Sequence,
    nodes: BTreeMap<String, Node>,
    joined: u64,
    /// The last [`REMEMBERED`] messages: when they were told, and to whom.
    told: VecDeque<Told>,
    /// The last [`REMEMBERED`] acknowledgements.
    acknowledged: VecDeque<Acknowledged>,
}

#[derive(Debug)]
struct Node {
    number: u64,
    link: Link,
    in_force: Option<Sequence>,
}

#[derive(Debug)]
enum Link {
    Connected(mpsc::Sender<Message>),
    /// The node has to join again.
    Lost {
        since: Instant,
    },
}

#[derive(Debug)]
struct Told {
    sequence: Sequence,
    at: Instant,
    nodes: Arc<[String]>,
}

#[derive(Debug)]
struct Acknowledged {
    node: String,
    sequence: Sequence,
    sessions_declined: u64,
    connections_cut: u64,
    at: Instant,
}

impl Hub {
    pub(crate) fn new() -> Arc<Self> {
        let state = State {
            sequence: Sequence(0),
            nodes: BTreeMap::new(),
            joined: 0,
            told: VecDeque::new(),
            acknowledged: VecDeque::new(),
        };
        Arc::new(Self {
            state: Mutex::new(state),
            heard: watch::Sender::new(()),
        })
    }

    /// Tells every node. One that does not keep up loses its place.
    pub(crate) fn publish(&self, messages: &[Message]) {
        let mut state = self.state();
        let nodes: Arc<[String]> = state.nodes.keys().cloned().collect();
        // No node could keep up with as many at once, and the snapshot has them all.
        if messages.len() > QUEUE {
            state.lose_all();
        }
        for message in messages {
            state.sequence = state.sequence.max(message.sequence);
            remember(
                &mut state.told,
                Told {
                    sequence: message.sequence,
                    at: Instant::now(),
                    nodes: Arc::clone(&nodes),
                },
            );
            state.send(message);
        }
    }

    /// Begins where the feed stood when the store was opened.
    pub(crate) fn begin_at(&self, sequence: Sequence) {
        let mut state = self.state();
        state.sequence = state.sequence.max(sequence);
    }

    /// Tells every node that what it holds was true at `at`. Whatever is committed and not told yet is not confirmed.
    pub(crate) fn confirm(&self, history: &HistoryId, at: UnixTime) {
        let mut state = self.state();
        let message = Message {
            history: history.clone(),
            sequence: state.sequence,
            at,
            body: Body::Confirmed,
        };
        state.send(&message);
    }

    /// Gives `node` a place; whoever had it under that name loses it. The snapshot must be read after this.
    pub(crate) fn join(self: &Arc<Self>, node: &str) -> Joining {
        let (queue, messages) = mpsc::channel(QUEUE);
        let mut state = self.state();
        state.joined += 1;
        let number = state.joined;
        state.nodes.insert(
            node.to_owned(),
            Node {
                number,
                link: Link::Connected(queue),
                in_force: None,
            },
        );
        Joining {
            node: node.to_owned(),
            number,
            messages,
            hub: Arc::clone(self),
        }
    }

    /// Those that are connected.
    pub(crate) fn nodes(&self) -> Vec<String> {
        let state = self.state();
        let connected = |(name, node): (&String, &Node)| {
            matches!(node.link, Link::Connected(_)).then(|| name.clone())
        };
        state.nodes.iter().filter_map(connected).collect()
    }

    /// What the nodes have confirmed of `first..=last`, once all have or `wait` is over.
    pub(crate) async fn receipts(
        &self,
        first: Sequence,
        last: Sequence,
        wait: Option<Duration>,
    ) -> Vec<NodeReceipt> {
        let mut heard = self.heard.subscribe();
        let deadline = tokio::time::sleep(wait.unwrap_or_default());
        tokio::pin!(deadline);
        loop {
            let receipts = self.state().receipts(first, last);
            if wait.is_none() || receipts.iter().all(|receipt| receipt.confirmed) {
                return receipts;
            }
            tokio::select! {
                biased;
                () = &mut deadline => return self.state().receipts(first, last),
                _ = heard.changed() => {}
            }
        }
    }

    fn acknowledge(&self, number: u64, acknowledgement: Acknowledgement, snapshot: Sequence) {
        let Acknowledgement {
            node,
            sequence,
            sessions_declined,
            connections_cut,
            ..
        } = acknowledgement;
        let mut state = self.state();
        let known = state.sequence.max(snapshot);
        let Some(place) = state.place(&node, number).filter(|_| sequence <= known) else {
            return;
        };
        // Heartbeats are acknowledged too, and would push out what `revoke --wait` looks for.
        let news = place.in_force < Some(sequence) || sessions_declined > 0 || connections_cut > 0;
        place.in_force = place.in_force.max(Some(sequence));
        if news {
            let heard = Acknowledged {
                node,
                sequence,
                sessions_declined,
                connections_cut,
                at: Instant::now(),
            };
            remember(&mut state.acknowledged, heard);
        }
        drop(state);
        self.heard.send_replace(());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing here panics half-way; and a feed that stops would be worse than one that goes on.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn send(&mut self, message: &Message) {
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

    fn place(&mut self, node: &str, number: u64) -> Option<&mut Node> {
        self.nodes
            .get_mut(node)
            .filter(|place| place.number == number)
    }

    fn lose(&mut self, node: &str, number: u64) {
        if let Some(place) = self.place(node, number) {
            place.lose();
            self.forget_oldest();
        }
    }

    fn lose_all(&mut self) {
        self.nodes.values_mut().for_each(Node::lose);
        self.forget_oldest();
    }

    fn forget_oldest(&mut self) {
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

    fn receipts(&self, first: Sequence, last: Sequence) -> Vec<NodeReceipt> {
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
            receipt.sessions_declined += heard.sessions_declined;
            receipt.connections_cut += heard.connections_cut;
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

impl Node {
    fn lose(&mut self) {
        if let Link::Connected(_) = self.link {
            self.link = Link::Lost {
                since: Instant::now(),
            };
        }
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

fn remember<T>(ring: &mut VecDeque<T>, item: T) {
    if ring.len() == REMEMBERED {
        ring.pop_front();
    }
    ring.push_back(item);
}

/// Messages that a node may be behind: a minute of four revocations a second. Past that a snapshot is cheaper.
const QUEUE: usize = 256;

/// A name and some words each. Past it the one that is away longest is taken for one that does not come back.
const MAX_LOST: usize = 1024;

/// Enough for every `revoke --wait` that the admin API runs at once to find its message and its acknowledgements.
const REMEMBERED: usize = 4096;

#[cfg(test)]
mod tests {
    use countersign_pki::feed::{RevocationReason, Revoked};
    use countersign_pki::fingerprint::Fingerprint;
    use countersign_pki::serial::SerialNumber;

    use super::*;

    fn snapshot(sequence: u64) -> Snapshot {
        Snapshot {
            history: HistoryId("a".to_owned()),
            sequence: Sequence(sequence),
            at: UnixTime::from_seconds(1),
            revoked: Vec::new(),
        }
    }

    fn revocations(sequences: std::ops::RangeInclusive<u64>) -> Vec<Message> {
        let revoked = Revoked {
            issuer_key: Fingerprint::of(b"key"),
            serial: SerialNumber::from_random([1; 20]),
            reason: RevocationReason::Unspecified,
            revoked_at: UnixTime::from_seconds(1),
        };
        sequences
            .map(|sequence| Message {
                history: HistoryId("a".to_owned()),
                sequence: Sequence(sequence),
                at: UnixTime::from_seconds(1),
                body: Body::Revoked(revoked),
            })
            .collect()
    }

    fn acknowledge(subscription: &Subscription, sequence: u64) {
        subscription.acknowledge(Acknowledgement {
            node: subscription.node.clone(),
            history: HistoryId("a".to_owned()),
            sequence: Sequence(sequence),
            sessions_declined: 0,
            connections_cut: 0,
        });
    }

    async fn confirmations(hub: &Hub, sequence: u64) -> Vec<(String, bool)> {
        let receipts = hub
            .receipts(Sequence(sequence), Sequence(sequence), None)
            .await;
        receipts
            .into_iter()
            .map(|receipt| (receipt.node, receipt.confirmed))
            .collect()
    }

    fn node(confirmed: bool) -> Vec<(String, bool)> {
        vec![("node".to_owned(), confirmed)]
    }

    #[tokio::test]
    async fn node_that_is_gone_counts_as_told_until_it_has_acknowledged_its_new_snapshot() {
        let hub = Hub::new();
        let first = hub.join("node").with(snapshot(0));
        acknowledge(&first, 0);
        drop(first);
        assert!(hub.nodes().is_empty());
        hub.publish(&revocations(1..=1));
        assert_eq!(confirmations(&hub, 1).await, node(false));
        let again = hub.join("node").with(snapshot(1));
        hub.publish(&revocations(2..=2));
        assert_eq!(confirmations(&hub, 1).await, node(false));
        acknowledge(&again, 1);
        assert_eq!(confirmations(&hub, 1).await, node(true));
        assert_eq!(confirmations(&hub, 2).await, node(false));
        // What it has confirmed stays true while it is away.
        drop(again);
        assert_eq!(confirmations(&hub, 1).await, node(true));
    }

    #[tokio::test]
    async fn node_that_overflows_stays_unconfirmed_for_the_next_revocation_too() {
        let hub = Hub::new();
        let mut slow = hub.join("node").with(snapshot(0));
        for sequence in 1..=300 {
            hub.publish(&revocations(sequence..=sequence));
        }
        assert!(hub.nodes().is_empty());
        assert_eq!(confirmations(&hub, 300).await, node(false));
        let mut heard = 0;
        while slow.next().await.is_some() {
            heard += 1;
        }
        assert_eq!(heard, QUEUE);
        acknowledge(&slow, 256);
        assert_eq!(confirmations(&hub, 256).await, node(true));
        assert_eq!(confirmations(&hub, 257).await, node(false));
    }

    #[tokio::test]
    async fn batch_that_fits_no_queue_is_a_new_snapshot_and_nothing_else() {
        let hub = Hub::new();
        let mut first = hub.join("node").with(snapshot(0));
        hub.publish(&revocations(1..=257));
        assert_eq!(confirmations(&hub, 257).await, node(false));
        assert!(first.next().await.is_none());
        let again = hub.join("node").with(snapshot(257));
        drop(first);
        assert_eq!(hub.nodes(), ["node"]);
        acknowledge(&again, 257);
        assert_eq!(confirmations(&hub, 257).await, node(true));
    }

    #[tokio::test]
    async fn node_that_leaves_is_waited_for_no_more() {
        let hub = Hub::new();
        let old = hub.join("node").with(snapshot(0));
        let new = hub.join("node").with(snapshot(0));
        old.leave();
        assert_eq!(hub.nodes(), ["node"]);
        new.leave();
        hub.publish(&revocations(1..=1));
        assert_eq!(confirmations(&hub, 1).await, []);
    }

    #[tokio::test]
    async fn of_those_that_are_away_the_longest_is_forgotten_first() {
        let hub = Hub::new();
        let connected = hub.join("connected").with(snapshot(0));
        for number in 0..=MAX_LOST {
            drop(hub.join(&format!("n{number}")).with(snapshot(0)));
        }
        hub.publish(&revocations(1..=1));
        let told = confirmations(&hub, 1).await;
        assert_eq!(told.len(), MAX_LOST + 1);
        assert!(told.iter().all(|(name, _)| name != "n0"));
        assert!(told.iter().any(|(name, _)| name == "connected"));
        drop(connected);
    }
}
