//! Orderly shutdown: stop taking work, let what runs finish, cut what overstays.
//!
//! Whatever must finish holds a [`DrainGuard`]. One owner holds the [`DrainTrigger`]; everybody else clones the [`Drain`]
//! and watches two moments: [`Drain::draining`] (take nothing new) and [`Drain::ended`] (whatever still runs is cut).

use std::future::Future;
use std::time::Duration;

use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// Makes the two ends of one drain.
pub fn drain() -> (DrainTrigger, Drain) {
    let drain = Drain {
        started: CancellationToken::new(),
        ended: CancellationToken::new(),
        guards: TaskTracker::new(),
    };
    let trigger = DrainTrigger {
        started: drain.started.clone().drop_guard(),
        ended: drain.ended.clone().drop_guard(),
        guards: drain.guards.clone(),
    };
    (trigger, drain)
}

/// The end that workers hold.
#[derive(Clone, Debug)]
pub struct Drain {
    started: CancellationToken,
    ended: CancellationToken,
    guards: TaskTracker,
}

impl Drain {
    /// Makes the drain wait until the guard is dropped.
    ///
    /// Take it before the work begins. A guard taken when the last one is gone already delays nothing.
    pub fn guard(&self) -> DrainGuard {
        DrainGuard {
            _token: self.guards.token(),
        }
    }

    /// Resolves when the drain has begun: take no new work. Cancel-safe; resolves at once if it began before.
    pub fn draining(&self) -> impl Future<Output = ()> + Send + use<> {
        self.started.clone().cancelled_owned()
    }

    /// Resolves when the drain is over, by completion or by its deadline: whatever still runs is to be cut.
    /// Cancel-safe.
    pub fn ended(&self) -> impl Future<Output = ()> + Send + use<> {
        self.ended.clone().cancelled_owned()
    }

    /// Whether the drain has begun.
    pub fn is_draining(&self) -> bool {
        self.started.is_cancelled()
    }
}

/// Held by whatever must finish before the process ends.
#[derive(Debug)]
#[must_use = "the drain waits only while the guard lives"]
pub struct DrainGuard {
    _token: TaskTrackerToken,
}

/// The end that decides. Dropping it begins and ends the drain at once: without an owner nobody could begin it later, and
/// workers would outlive the process that wanted to stop.
#[derive(Debug)]
#[must_use = "dropping the trigger begins the drain"]
pub struct DrainTrigger {
    // Dropped in this order: whoever sees the end has seen the beginning.
    started: DropGuard,
    ended: DropGuard,
    guards: TaskTracker,
}

impl DrainTrigger {
    /// Begins the drain now; the future waits until every guard is gone, at most for `deadline`. When it resolves or is
    /// dropped, the drain is over.
    pub fn drain(self, deadline: Duration) -> impl Future<Output = Drained> + Send {
        let Self {
            started,
            ended,
            guards,
        } = self;
        guards.close();
        drop(started);
        async move {
            let _ended = ended;
            let finished = tokio::time::timeout(deadline, guards.wait()).await.is_ok();
            let left = if finished { 0 } else { guards.len() };
            Drained { finished, left }
        }
    }
}

/// How a drain went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Every guard was dropped before the deadline.
    pub finished: bool,
    /// Guards still held when the deadline passed.
    pub left: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEADLINE: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn drain_waits_for_every_guard() {
        let (trigger, drain) = drain();
        let (first, second) = (drain.guard(), drain.guard());
        let drained = tokio::spawn(trigger.drain(DEADLINE));
        drain.draining().await;
        drop(first);
        tokio::task::yield_now().await;
        assert!(!drained.is_finished());
        drop(second);
        assert_eq!(
            drained.await.expect("no panic"),
            Drained {
                finished: true,
                left: 0
            }
        );
        drain.ended().await;
    }

    #[tokio::test(start_paused = true)]
    async fn overstaying_guard_is_counted_at_the_deadline() {
        let (trigger, drain) = drain();
        let _overstays = drain.guard();
        drop(drain.guard());
        let began = tokio::time::Instant::now();
        assert_eq!(
            trigger.drain(DEADLINE).await,
            Drained {
                finished: false,
                left: 1
            }
        );
        assert_eq!(began.elapsed(), DEADLINE);
        drain.ended().await;
    }

    #[tokio::test(start_paused = true)]
    async fn end_is_not_announced_while_a_guard_may_still_finish() {
        let (trigger, drain) = drain();
        let guard = drain.guard();
        let drained = tokio::spawn(trigger.drain(DEADLINE));
        drain.draining().await;
        tokio::select! {
            biased;
            () = drain.ended() => panic!("ended with a guard held"),
            () = tokio::task::yield_now() => {}
        }
        drop(guard);
        assert!(drained.await.expect("no panic").finished);
    }

    #[tokio::test]
    async fn drain_begins_with_the_call_and_not_with_the_first_poll() {
        let (trigger, drain) = drain();
        assert!(!drain.is_draining());
        let unpolled = trigger.drain(DEADLINE);
        assert!(drain.is_draining());
        drop(unpolled);
        drain.ended().await;
    }

    #[tokio::test]
    async fn lost_trigger_ends_the_drain() {
        let (trigger, drain) = drain();
        let _held = drain.guard();
        drop(trigger);
        drain.draining().await;
        drain.ended().await;
    }

    #[tokio::test]
    async fn drain_without_guards_finishes_at_once() {
        let (trigger, _drain) = drain();
        assert_eq!(
            trigger.drain(Duration::ZERO).await,
            Drained {
                finished: true,
                left: 0
            }
        );
    }
}
