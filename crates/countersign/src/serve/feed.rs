//! This process's end of an authority's feed: every message is in force here before it is acknowledged.
//!
//! The authority is part of this process or far away; what follows it is one and the same. A revocation takes effect when
//! it is heard, not when the one before it has been confirmed: cutting a connection may take a moment, and nothing waits
//! behind it. Acknowledgements still leave in order, because each speaks for everything up to it. A cut connection whose
//! task has not ended holds its acknowledgement back, and those behind it, but no revocation; what comes from far away is
//! durable here before it is acknowledged, and a bundle is what the gateway serves by.

mod identity;
mod line;
mod remote;
mod speaker;
mod trust;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand::fill;
use countersign_authority::authority::Authority;
use countersign_pki::feed::{Body, HistoryId, Message, Position, Sequence};
use countersign_pki::time::UnixTime;
use countersign_tls::enforcement::{Effects, Enforcement};
use tokio::time::{Instant, sleep};
use tokio_util::task::AbortOnDropHandle;

pub(crate) use self::identity::NodeRenewal;
use self::line::{Done, Line};
pub(crate) use self::remote::{Departure, OpenedRemote, Remote, open_remote, own_of};
pub(crate) use self::trust::Told;
use crate::fault::Fault;

/// Where the feed comes from.
pub(crate) enum Source {
    /// This process.
    Authority {
        authority: Arc<Authority>,
        /// How this gateway is called there.
        node: String,
    },
    /// Another one.
    Remote(Box<Remote>),
}

/// A place in the feed: everything up to it, and the messages behind it.
pub(crate) struct Beginning {
    line: Line,
    position: Position,
    revoked: Vec<countersign_pki::feed::Revoked>,
    /// Whether `revoked` has every hold that stands: one that it lacks was released.
    has_every_hold: bool,
    kept: Done,
}

impl Source {
    /// Takes a place. Says why there is none.
    pub(crate) async fn join(&mut self, enforcement: &Enforcement) -> Result<Beginning, String> {
        match self {
            Self::Authority { authority, node } => {
                let subscription = authority.subscribe(node).await;
                let subscription = subscription.map_err(|error| error.to_string())?;
                let snapshot = subscription.snapshot();
                Ok(Beginning {
                    position: Position::at(snapshot),
                    revoked: snapshot.revoked.clone(),
                    // In this process the feed has one history: the authority that tells it is the one that was opened.
                    has_every_hold: true,
                    kept: line::done(),
                    line: Line::in_process(subscription, node),
                })
            }
            Self::Remote(remote) => remote.join(enforcement).await,
        }
    }

    /// Keeps where a follower has come to.
    fn left(&mut self, position: &Position, needs_snapshot: bool) {
        if let Self::Remote(remote) = self {
            remote.left(position, needs_snapshot);
        }
    }
}

/// Follows the feed, beginning with what `first` has put in force; without it, with a place that is to be taken.
pub(crate) async fn follow(
    mut source: Source,
    first: Option<Follower>,
    enforcement: Enforcement,
) -> Fault {
    let mut backoff = FIRST_BACKOFF;
    let mut next = first;
    loop {
        let mut follower = if let Some(follower) = next.take() {
            follower
        } else {
            match source.join(&enforcement).await {
                Ok(beginning) => Follower::join(beginning, enforcement.clone()),
                Err(error) => {
                    let wait = jittered(backoff);
                    tracing::warn!(
                        error,
                        retry_in_ms = wait.as_millis(),
                        "cannot join the feed"
                    );
                    sleep(wait).await;
                    backoff = (backoff * 2).min(LONGEST_BACKOFF);
                    continue;
                }
            }
        };
        let joined_at = Instant::now();
        let end = follower.run().await;
        source.left(&follower.position, end.needs_snapshot);
        tracing::warn!(because = end.because, "the feed is joined again");
        // One that never holds is not joined as fast as it can be.
        if joined_at.elapsed() > LONGEST_BACKOFF {
            backoff = FIRST_BACKOFF;
        } else {
            sleep(jittered(backoff)).await;
            backoff = (backoff * 2).min(LONGEST_BACKOFF);
        }
    }
}

/// What is heard from one place on, and put in force.
pub(crate) struct Follower {
    line: Line,
    enforcement: Enforcement,
    position: Position,
    taking_effect: VecDeque<Pending>,
    /// When the authority said last that what is held is true.
    confirmed_at: UnixTime,
    /// The gateway has not taken over a bundle that was told.
    awaits_trust: bool,
}

/// A message that is being put in force.
struct Pending {
    history: HistoryId,
    sequence: Sequence,
    // Not waited for any longer than the follower: on a disk that is never written again they would wait for ever.
    effects: AbortOnDropHandle<Effects>,
}

/// Why nothing more is heard.
struct End {
    because: String,
    /// Something could not be read: the rest may only make sense with it.
    needs_snapshot: bool,
}

impl Follower {
    /// What the beginning revokes is in force when this returns.
    pub(crate) fn join(beginning: Beginning, enforcement: Enforcement) -> Self {
        let Beginning {
            line,
            position,
            revoked,
            has_every_hold,
            kept,
        } = beginning;
        let trusted = line.trusted();
        let effects = if has_every_hold {
            in_force(enforcement.catch_up(revoked), trusted, kept)
        } else {
            in_force(enforcement.revoke(revoked), trusted, kept)
        };
        let pending = Pending {
            history: position.history().clone(),
            sequence: position.sequence(),
            effects,
        };
        let follower = Self {
            awaits_trust: !line.is_trusted(),
            confirmed_at: position.confirmed_at(),
            line,
            enforcement,
            position,
            taking_effect: VecDeque::from([pending]),
        };
        // Only now: where the feed was too old, whoever has been revoked since would be let in for a moment.
        follower.confirm();
        follower
    }

    /// Until the feed breaks off.
    async fn run(&mut self) -> End {
        loop {
            if self.taking_effect.len() > MAX_PENDING {
                // One acknowledgement, of the beginning, will speak for all of them.
                return End::because(
                    "too many messages wait for connections that do not end, or for the disk",
                );
            }
            let (trusted, behind) = (self.line.trusted(), self.line.behind());
            tokio::select! {
                biased;
                message = self.line.next(&self.enforcement) => {
                    let message = match message {
                        Ok(message) => message,
                        Err(end) => return end,
                    };
                    let position = match self.position.clone().advance(&message) {
                        Ok(position) => position,
                        Err(error) => return End::because(error.to_string()),
                    };
                    let at = message.at;
                    if let Err(end) = self.put_in_force(message) {
                        return end;
                    }
                    // Not the latest of all: a clock that was ahead once would speak for one that was set right.
                    (self.position, self.confirmed_at) = (position, at);
                    self.confirm();
                }
                () = trusted, if self.awaits_trust => {
                    self.awaits_trust = false;
                    self.confirm();
                }
                () = behind => return End {
                    because: "the disk was too slow for it".to_owned(),
                    needs_snapshot: true,
                },
                effects = first_done(&mut self.taking_effect) => match effects {
                    Some(effects) => self.conclude(effects),
                    None => return End::because("a revocation could not be put in force"),
                },
            }
        }
    }

    /// What is served by is as old as the trust in it: a bundle that was told and is not in force confirms nothing.
    fn confirm(&self) {
        if !self.awaits_trust {
            self.enforcement.confirm(self.confirmed_at);
        }
    }

    fn put_in_force(&mut self, message: Message) -> Result<(), End> {
        if let Body::Bundle(bundle) = &message.body {
            // Before it is kept: this node must not begin with a bundle that nobody can be verified against.
            self.line.trust(bundle)?;
            self.awaits_trust = !self.line.is_trusted();
        }
        let kept = self.line.keep(&message);
        let Message {
            history,
            sequence,
            body,
            ..
        } = message;
        let effects = match body {
            Body::Revoked(revoked) => {
                in_force(self.enforcement.revoke(vec![revoked]), line::done(), kept)
            }
            Body::RevokedTogether { certificates } => {
                let revoked = certificates.iter().copied().collect();
                in_force(self.enforcement.revoke(revoked), line::done(), kept)
            }
            Body::Released { certificates } => {
                self.enforcement.release(certificates.iter().copied());
                in_force(async { Effects::default() }, line::done(), kept)
            }
            // Heartbeats do not pile up behind a revocation that waits: its acknowledgement says the same.
            Body::Confirmed {}
                if (self.taking_effect.back())
                    .is_some_and(|last| (&last.history, last.sequence) == (&history, sequence)) =>
            {
                return Ok(());
            }
            Body::Bundle(_) => {
                let trusted = self.line.trusted();
                in_force(async { Effects::default() }, trusted, kept)
            }
            Body::Confirmed {} => in_force(async { Effects::default() }, line::done(), kept),
        };
        self.taking_effect.push_back(Pending {
            history,
            sequence,
            effects,
        });
        Ok(())
    }

    /// Acknowledges the oldest message, or waits on while a connection that it cut is open.
    fn conclude(&mut self, effects: Effects) {
        let Some(done) = self.taking_effect.pop_front() else {
            return;
        };
        if effects.still_open > 0 {
            self.taking_effect.push_front(Pending {
                effects: AbortOnDropHandle::new(tokio::spawn(wait_on(
                    self.enforcement.clone(),
                    effects,
                ))),
                ..done
            });
            return;
        }
        self.line.acknowledge(done.history, done.sequence, effects);
    }
}

impl End {
    fn because(because: impl Into<String>) -> Self {
        Self {
            because: because.into(),
            needs_snapshot: false,
        }
    }
}

/// Done when all are: what `effects` takes away is taken, what is to be trusted is, and what was heard is durable.
fn in_force(
    effects: impl Future<Output = Effects> + Send + 'static,
    trusted: Done,
    kept: Done,
) -> AbortOnDropHandle<Effects> {
    AbortOnDropHandle::new(tokio::spawn(async move {
        let effects = effects.await;
        trusted.await;
        kept.await;
        effects
    }))
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

/// Half of it to all of it: an authority that comes back is not met by all of its nodes in one instant.
fn jittered(backoff: Duration) -> Duration {
    let mut random = [0];
    // Without randomness all nodes come at once, which is worse and not wrong.
    let _ = fill(&mut random);
    backoff / 2 + backoff / 2 * u32::from(random[0]) / u32::from(u8::MAX)
}

/// Some hundred bytes and a task each; past it a new beginning is cheaper.
const MAX_PENDING: usize = 1024;
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);
