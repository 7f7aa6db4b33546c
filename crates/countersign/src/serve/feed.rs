//! The gateway's end of the authority's feed: every message is in force here before it is acknowledged.
//!
//! A revocation takes effect when it is heard, not when the one before it has been confirmed: cutting a connection may
//! take a moment, and nothing waits behind it. Acknowledgements still leave in order, because each speaks for everything
//! up to it. A cut connection whose task has not ended holds its acknowledgement back, and those behind it, but no
//! revocation.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use countersign_authority::authority::Authority;
use countersign_authority::feed::Subscription;
use countersign_pki::feed::{
    Acknowledgement, Body, HistoryId, Message, Position, Sequence, Snapshot,
};
use countersign_tls::enforcement::{Effects, Enforcement};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::fault::Fault;

/// Follows the feed, beginning with a subscription whose snapshot is in force already.
pub(crate) async fn follow(
    authority: Arc<Authority>,
    first: Subscription,
    enforcement: Enforcement,
    node: String,
) -> Fault {
    let mut subscription = first;
    let mut backoff = FIRST_BACKOFF;
    loop {
        let mut follower = Follower::join(subscription, enforcement.clone(), &node);
        let because = follower.run().await;
        tracing::warn!(because, "the feed starts again with a snapshot");
        subscription = loop {
            match authority.subscribe(&node).await {
                Ok(subscription) => break subscription,
                Err(error) => {
                    tracing::warn!(%error, retry_in_ms = backoff.as_millis(), "cannot subscribe to the feed");
                    sleep(backoff).await;
                    backoff = (backoff * 2).min(LONGEST_BACKOFF);
                }
            }
        };
        backoff = FIRST_BACKOFF;
    }
}

struct Follower<'a> {
    subscription: Subscription,
    enforcement: Enforcement,
    node: &'a str,
    position: Position,
    taking_effect: VecDeque<Pending>,
}

/// A message that is being put in force.
struct Pending {
    history: HistoryId,
    sequence: Sequence,
    effects: JoinHandle<Effects>,
}

impl<'a> Follower<'a> {
    fn join(subscription: Subscription, enforcement: Enforcement, node: &'a str) -> Self {
        let snapshot = subscription.snapshot().clone();
        let position = Position::at(&snapshot);
        let Snapshot {
            history,
            sequence,
            revoked,
            ..
        } = snapshot;
        let pending = Pending {
            history,
            sequence,
            // In this process the feed has one history: the authority that tells it is the one that was opened.
            effects: tokio::spawn(enforcement.catch_up(revoked)),
        };
        Self {
            subscription,
            enforcement,
            node,
            position,
            taking_effect: VecDeque::from([pending]),
        }
    }

    /// Until the feed breaks off; says why.
    async fn run(&mut self) -> String {
        loop {
            if self.taking_effect.len() > MAX_PENDING {
                // One acknowledgement, of the snapshot, will speak for all of them.
                return "too many revocations wait for connections that do not end".to_owned();
            }
            tokio::select! {
                biased;
                message = self.subscription.next() => {
                    let Some(message) = message else { return "this node was too slow for it".to_owned() };
                    match self.position.clone().advance(&message) {
                        Ok(position) => self.position = position,
                        Err(error) => return error.to_string(),
                    }
                    self.put_in_force(message);
                }
                effects = first_done(&mut self.taking_effect) => match effects {
                    Some(effects) => self.conclude(effects),
                    None => return "a revocation could not be put in force".to_owned(),
                },
            }
        }
    }

    fn put_in_force(&mut self, message: Message) {
        let Message {
            history,
            sequence,
            body,
            ..
        } = message;
        let effects = match body {
            Body::Revoked(revoked) => tokio::spawn(self.enforcement.revoke(vec![revoked])),
            Body::RevokedTogether { certificates } => tokio::spawn(
                self.enforcement
                    .revoke(certificates.iter().copied().collect()),
            ),
            Body::Released { certificates } => {
                self.enforcement.release(certificates.iter().copied());
                tokio::spawn(async { Effects::default() })
            }
            // Heartbeats do not pile up behind a revocation that waits: its acknowledgement says the same.
            Body::Confirmed
                if (self.taking_effect.back())
                    .is_some_and(|last| (&last.history, last.sequence) == (&history, sequence)) =>
            {
                return;
            }
            // The authority publishes no bundles and policies yet: its one bundle and the configuration stand.
            Body::Bundle { .. } | Body::Confirmed | Body::Policy { .. } => {
                tokio::spawn(async { Effects::default() })
            }
        };
        self.taking_effect.push_back(Pending {
            history,
            sequence,
            effects,
        });
    }

    /// Acknowledges the oldest message, or waits on while a connection that it cut is open.
    fn conclude(&mut self, effects: Effects) {
        let Some(done) = self.taking_effect.pop_front() else {
            return;
        };
        if effects.still_open > 0 {
            self.taking_effect.push_front(Pending {
                effects: tokio::spawn(wait_on(self.enforcement.clone(), effects)),
                ..done
            });
            return;
        }
        self.subscription.acknowledge(acknowledgement(
            self.node,
            done.history,
            done.sequence,
            effects,
        ));
    }
}

async fn wait_on(enforcement: Enforcement, before: Effects) -> Effects {
    let now = enforcement.revoke(Vec::new()).await;
    Effects {
        sessions_declined: before.sessions_declined + now.sessions_declined,
        connections_cut: before.connections_cut + now.connections_cut,
        still_open: now.still_open,
    }
}

/// Resolves when what the oldest message takes away is taken, or has had its time; `None`: it failed. Cancel-safe.
async fn first_done(taking_effect: &mut VecDeque<Pending>) -> Option<Effects> {
    match taking_effect.front_mut() {
        Some(pending) => (&mut pending.effects).await.ok(),
        None => std::future::pending().await,
    }
}

fn acknowledgement(
    node: &str,
    history: HistoryId,
    sequence: Sequence,
    effects: Effects,
) -> Acknowledgement {
    Acknowledgement {
        node: node.to_owned(),
        history,
        sequence,
        sessions_declined: effects.sessions_declined,
        connections_cut: effects.connections_cut,
    }
}

/// Some hundred bytes and a task each; past it a snapshot is cheaper.
const MAX_PENDING: usize = 1024;
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);
