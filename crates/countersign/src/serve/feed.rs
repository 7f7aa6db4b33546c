//! The gateway's end of the authority's feed: every message is in force here before it is acknowledged.
//!
//! A revocation takes effect when it is heard, not when the one before it has been confirmed: cutting a connection may
//! take a moment, and nothing waits behind it. Acknowledgements still leave in order, because each speaks for everything
//! up to it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use countersign_authority::authority::Authority;
use countersign_authority::feed::Subscription;
use countersign_pki::feed::{Acknowledgement, Body, HistoryId, Message, Position, Sequence};
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
        let mut follower = Follower::join(subscription, enforcement.clone(), &node).await;
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
    async fn join(subscription: Subscription, enforcement: Enforcement, node: &'a str) -> Self {
        let snapshot = subscription.snapshot().clone();
        let effects = enforcement.revoke(snapshot.revoked.clone()).await;
        let position = Position::at(&snapshot);
        subscription.acknowledge(acknowledgement(
            node,
            snapshot.history,
            snapshot.sequence,
            effects,
        ));
        Self {
            subscription,
            enforcement,
            node,
            position,
            taking_effect: VecDeque::new(),
        }
    }

    /// Until the feed breaks off; says why.
    async fn run(&mut self) -> String {
        loop {
            let has_room = self.taking_effect.len() < MAX_PENDING;
            tokio::select! {
                biased;
                message = self.subscription.next(), if has_room => {
                    let Some(message) = message else { return "this node was too slow for it".to_owned() };
                    match self.position.clone().advance(&message) {
                        Ok(position) => self.position = position,
                        Err(error) => return error.to_string(),
                    }
                    self.put_in_force(message);
                }
                effects = first_done(&mut self.taking_effect) => {
                    let Some(done) = self.taking_effect.pop_front() else { continue };
                    match effects {
                        Some(effects) => self.subscription.acknowledge(acknowledgement(self.node, done.history, done.sequence, effects)),
                        None => return "a revocation could not be put in force".to_owned(),
                    }
                }
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
        let enforcement = self.enforcement.clone();
        let effects = match body {
            Body::Revoked(revoked) => {
                tokio::spawn(async move { enforcement.revoke(vec![revoked]).await })
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
}

/// Resolves when the oldest message is in force; `None`: it failed. Cancel-safe.
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

/// Some hundred bytes each; past it the hub holds the messages, and drops a node that stays behind.
const MAX_PENDING: usize = 1024;
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);
