//! The feed's hub: every node hears every message in order, or starts again with a snapshot.
//!
//! A node that loses its place may serve on with what it has heard, so it is not forgotten: it counts as told and
//! unconfirmed until it has joined again and acknowledged its snapshot, or has said that it ends.

mod places;
mod receipts;
mod roll;
mod seat;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use countersign_pki::feed::{
    Acknowledgement, AcknowledgementOf, Body, HistoryId, Message, Sequence,
};
use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::serial::SerialNumber;
use countersign_pki::time::UnixTime;
use tokio::sync::{mpsc, watch};

pub(crate) use self::roll::{Called, Roll};
pub use self::seat::Subscription;
pub(crate) use self::seat::{Joining, Seat};
use crate::receipt::NodeReceipt;

/// Which certificate a node in another process has joined with: revoked, it is nobody to wait for.
pub(crate) type NodeCertificate = (Fingerprint, SerialNumber);

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
    /// Of those in other processes.
    roll: Roll,
}

#[derive(Debug)]
struct Node {
    number: u64,
    link: Link,
    /// Everything up to here was told before the messages.
    begins: Sequence,
    in_force: Option<Sequence>,
    /// `None`: it is a part of this process.
    certificate: Option<NodeCertificate>,
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
    /// `away`: who was on the roll, and is away until it joins.
    pub(crate) fn new(roll: Roll, away: Called) -> Arc<Self> {
        let nodes = away.into_iter().map(|(name, certificate)| {
            let node = Node {
                number: 0,
                link: Link::Lost {
                    since: Instant::now(),
                },
                begins: Sequence(0),
                in_force: None,
                certificate: Some(certificate),
            };
            (name, node)
        });
        let state = State {
            sequence: Sequence(0),
            nodes: nodes.collect(),
            joined: first_place(),
            told: VecDeque::new(),
            acknowledged: VecDeque::new(),
            roll,
        };
        Arc::new(Self {
            state: Mutex::new(state),
            heard: watch::Sender::new(()),
        })
    }

    /// Tells every node. One that does not keep up loses its place.
    pub(crate) fn publish(&self, messages: &[Message]) {
        let mut state = self.state();
        for message in messages {
            for revoked in message.body.revoked() {
                state.forget_revoked(revoked);
            }
        }
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
            body: Body::Confirmed {},
        };
        state.send(&message);
        if state.roll.is_behind() {
            state.call_the_roll();
        }
    }

    /// Gives `node` a place; whoever had it under that name loses it. The snapshot must be read after this.
    pub(crate) fn join(self: &Arc<Self>, node: &str) -> Joining {
        self.take_place(&mut self.state(), node, None)
    }

    /// The same for a node in another process. `None`: a part of this process has the name.
    pub(crate) fn join_remote(
        self: &Arc<Self>,
        node: &str,
        certificate: NodeCertificate,
    ) -> Option<Joining> {
        let mut state = self.state();
        let is_ours = |place: &Node| place.certificate.is_none();
        if state.nodes.get(node).is_some_and(is_ours) {
            return None;
        }
        let before = state.nodes.get(node).and_then(|node| node.certificate);
        let joining = self.take_place(&mut state, node, Some(certificate));
        if before != Some(certificate) {
            state.call_the_roll();
        }
        Some(joining)
    }

    fn take_place(
        self: &Arc<Self>,
        state: &mut State,
        node: &str,
        certificate: Option<NodeCertificate>,
    ) -> Joining {
        let (queue, messages) = mpsc::channel(QUEUE);
        state.joined += 1;
        let number = state.joined;
        state.nodes.insert(
            node.to_owned(),
            Node {
                number,
                link: Link::Connected(queue),
                begins: Sequence(0),
                in_force: None,
                certificate,
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

    /// What a node in another process says. `node` is the name in its certificate.
    pub(crate) fn acknowledge_remote(
        &self,
        node: &str,
        history: &HistoryId,
        said: AcknowledgementOf,
    ) -> Result<(), NotItsPlace> {
        if said.history != *history {
            return Err(NotItsPlace);
        }
        let AcknowledgementOf {
            place,
            history,
            sequence,
            sessions_declined,
            connections_cut,
        } = said;
        let acknowledgement = Acknowledgement {
            node: node.to_owned(),
            history,
            sequence,
            sessions_declined,
            connections_cut,
        };
        self.acknowledge(place, acknowledgement)
    }

    /// A node in another process ends in order.
    pub(crate) fn leave_remote(&self, node: &str, number: u64) -> Result<(), NotItsPlace> {
        let mut state = self.state();
        state.place(node, number).ok_or(NotItsPlace)?;
        state.nodes.remove(node);
        state.call_the_roll();
        Ok(())
    }

    fn acknowledge(
        &self,
        number: u64,
        acknowledgement: Acknowledgement,
    ) -> Result<(), NotItsPlace> {
        let Acknowledgement {
            node,
            sequence,
            sessions_declined,
            connections_cut,
            ..
        } = acknowledgement;
        let mut state = self.state();
        let told = state.sequence;
        let place = state
            .place(&node, number)
            .filter(|place| sequence <= told.max(place.begins))
            .ok_or(NotItsPlace)?;
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
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing here panics half-way; and a feed that stops would be worse than one that goes on.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Anywhere: what was said of a place before this process is said of none now.
fn first_place() -> u64 {
    let mut random = [0; 4];
    // Without randomness nothing can be issued either; that is told elsewhere.
    let _ = aws_lc_rs::rand::fill(&mut random);
    u64::from(u32::from_be_bytes(random)) << 16
}

/// Another process has joined under the name since, or what is acknowledged was never told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is not the place that the node has in the feed now")]
pub(crate) struct NotItsPlace;

fn remember<T>(ring: &mut VecDeque<T>, item: T) {
    if ring.len() == REMEMBERED {
        ring.pop_front();
    }
    ring.push_back(item);
}

/// Messages that a node may be behind: a minute of four revocations a second. Past that a snapshot is cheaper.
const QUEUE: usize = 256;

/// A name and some words each. Past it the one that is away longest is taken for one that does not come back: so it is more
/// than an authority is designed for, all of which are away when it has just started.
const MAX_LOST: usize = 16 * 1024;

/// Enough for every `revoke --wait` that the admin API runs at once to find its message and its acknowledgements.
const REMEMBERED: usize = 4096;

#[cfg(test)]
mod tests {
    use countersign_pki::feed::{RevocationReason, Revoked, Snapshot};
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
            node: subscription.seat.node.clone(),
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
        let hub = Hub::new(Roll::default(), Called::new());
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
    async fn node_of_another_process_is_known_after_a_restart_until_it_leaves_or_is_revoked() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("nodes.json");
        let hub = || {
            let (roll, away) = Roll::open(path.clone()).expect("readable");
            Hub::new(roll, away)
        };
        let certificate = (Fingerprint::of(b"key"), SerialNumber::from_random([1; 20]));
        let other = (Fingerprint::of(b"key"), SerialNumber::from_random([2; 20]));
        let first = hub();
        drop(first.join("ours"));
        drop(
            first
                .join_remote("node", other)
                .expect("free")
                .at(Sequence(0)),
        );
        drop(
            first
                .join_remote("node", certificate)
                .expect("free")
                .at(Sequence(0)),
        );
        drop(
            first
                .join_remote("leaver", other)
                .expect("free")
                .at(Sequence(0)),
        );

        let second = hub();
        let names = |hub: &Hub| hub.state().nodes.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&second), ["leaver", "node"]);
        let seat = second
            .join_remote("leaver", other)
            .expect("free")
            .at(Sequence(0));
        assert!(second.leave_remote("leaver", seat.number() + 1).is_err());
        assert!(second.leave_remote("node", seat.number()).is_err());
        second
            .leave_remote("leaver", seat.number())
            .expect("its place");
        assert_eq!(names(&hub()), ["node"]);
        // What is revoked was issued for `node`; the same serial of another issuer is not.
        second.publish(&revocations(1..=1));
        assert_eq!(names(&hub()), [] as [&str; 0]);
        assert_eq!(confirmations(&second, 1).await, []);

        // What cannot be written is written once it can be.
        std::fs::remove_file(&path).expect("there");
        std::fs::create_dir_all(path.join("in-the-way")).expect("ours");
        let seat = second
            .join_remote("late", other)
            .expect("free")
            .at(Sequence(0));
        std::fs::remove_dir_all(&path).expect("ours");
        second.confirm(&HistoryId("a".to_owned()), UnixTime::from_seconds(2));
        assert_eq!(names(&hub()), ["late"]);
        drop(seat);
    }

    #[tokio::test]
    async fn node_of_another_process_quotes_its_place_and_takes_no_name_of_ours() {
        let hub = Hub::new(Roll::default(), Called::new());
        let _ours = hub.join("gateway@here").with(snapshot(0));
        let certificate = (
            Fingerprint::of(b"other"),
            SerialNumber::from_random([3; 20]),
        );
        assert!(hub.join_remote("gateway@here", certificate).is_none());
        let seat = hub
            .join_remote("node", certificate)
            .expect("free")
            .at(Sequence(0));
        hub.publish(&revocations(1..=1));
        let history = HistoryId("a".to_owned());
        let say = |node: &str, place, told: &str, sequence| {
            let said = AcknowledgementOf {
                place,
                history: HistoryId(told.to_owned()),
                sequence: Sequence(sequence),
                sessions_declined: 0,
                connections_cut: 0,
            };
            hub.acknowledge_remote(node, &history, said)
        };
        assert_eq!(say("other", seat.number(), "a", 1), Err(NotItsPlace));
        assert_eq!(say("node", seat.number() + 1, "a", 1), Err(NotItsPlace));
        assert_eq!(say("node", seat.number(), "b", 1), Err(NotItsPlace));
        assert_eq!(say("node", seat.number(), "a", 2), Err(NotItsPlace));
        assert_eq!(say("gateway@here", seat.number(), "a", 1), Err(NotItsPlace));
        let is_confirmed = async || {
            let all = confirmations(&hub, 1).await;
            all.into_iter().any(|(name, yes)| name == "node" && yes)
        };
        assert!(!is_confirmed().await);
        assert_eq!(say("node", seat.number(), "a", 1), Ok(()));
        assert!(is_confirmed().await);
        // What a node says of itself overflows nothing.
        hub.publish(&revocations(2..=2));
        for _ in 0..2 {
            let said = AcknowledgementOf {
                place: seat.number(),
                history: history.clone(),
                sequence: Sequence(1),
                sessions_declined: u64::MAX,
                connections_cut: u64::MAX,
            };
            assert_eq!(hub.acknowledge_remote("node", &history, said), Ok(()));
        }
        let receipts = hub.receipts(Sequence(1), Sequence(2), None).await;
        let of_node = receipts.iter().find(|it| it.node == "node");
        let of_node = of_node.expect("it was told");
        assert_eq!(
            (of_node.confirmed, of_node.sessions_declined),
            (false, u64::MAX)
        );
        assert!(!seat.is_taken());
        // Another process with the same certificate has the place now.
        let _second = hub
            .join_remote("node", certificate)
            .expect("free")
            .at(Sequence(1));
        assert_eq!(say("node", seat.number(), "a", 1), Err(NotItsPlace));
        assert!(seat.is_taken());
    }

    #[tokio::test]
    async fn node_that_overflows_stays_unconfirmed_for_the_next_revocation_too() {
        let hub = Hub::new(Roll::default(), Called::new());
        let mut slow = hub.join("node").with(snapshot(0));
        for sequence in 1..=300 {
            hub.publish(&revocations(sequence..=sequence));
        }
        assert!(hub.nodes().is_empty());
        assert_eq!(confirmations(&hub, 300).await, node(false));
        assert!(!slow.seat.is_taken(), "a snapshot is told to its end");
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
        let hub = Hub::new(Roll::default(), Called::new());
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
        let hub = Hub::new(Roll::default(), Called::new());
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
        let hub = Hub::new(Roll::default(), Called::new());
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
