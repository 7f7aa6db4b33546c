//! The feed's hub: every node hears every message in order, or starts again with a snapshot.

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

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut state = self.hub.state();
        if state
            .nodes
            .get(&self.node)
            .is_some_and(|node| node.number == self.number)
        {
            state.nodes.remove(&self.node);
        }
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
    queue: mpsc::Sender<Message>,
    in_force: Option<Sequence>,
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
                queue,
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

    pub(crate) fn nodes(&self) -> Vec<String> {
        self.state().nodes.keys().cloned().collect()
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
        let Some(place) = state
            .nodes
            .get_mut(&node)
            .filter(|place| place.number == number && sequence <= known)
        else {
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
        self.nodes.retain(|name, node| {
            let kept = node.queue.try_send(message.clone()).is_ok();
            if !kept {
                tracing::warn!(target: "feed", node = name, "node does not keep up with the feed and has to join again");
            }
            kept
        });
    }

    fn receipts(&self, first: Sequence, last: Sequence) -> Vec<NodeReceipt> {
        if let Some(told) = self.told.iter().find(|told| told.sequence == last) {
            let receipt = |node: &String| self.receipt(node, first, last, told.at);
            return told.nodes.iter().map(receipt).collect();
        }
        // Told before this process, or long ago: whoever is there now has it in its snapshot.
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

/// Enough for every `revoke --wait` that the admin API runs at once to find its message and its acknowledgements.
const REMEMBERED: usize = 4096;
