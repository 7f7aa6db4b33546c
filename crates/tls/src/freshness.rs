//! How old the trust data of this process is, by two clocks.
//!
//! The wall clock may jump, and the steady one stands still with a machine that sleeps, and knows nothing of what was
//! before the process. So the age is the greater of what both say: a clock that is set back makes nothing young again.

use std::time::Duration;

use arc_swap::ArcSwapOption;
use countersign_pki::time::UnixTime;
use tokio::time::Instant;

/// When the feed was last confirmed; without a feed, never, and then nothing is ever too old.
#[derive(Default)]
pub(crate) struct Freshness {
    confirmed: ArcSwapOption<Confirmation>,
}

#[derive(Clone, Copy)]
struct Confirmation {
    /// By our clock, or by the authority's if that says earlier: what was delayed on its way is as old as it says.
    at: UnixTime,
    /// How old it was when it was heard.
    lag: Duration,
    heard: Instant,
}

impl Freshness {
    /// What is held was true at `at`. One that makes nothing younger changes nothing.
    pub(crate) fn confirm(&self, at: UnixTime, now: UnixTime) {
        let at = at.min(now);
        self.replace(at, now.since(at), now);
    }

    /// The same, of what was read from disk: how long ago that was only the wall clock can tell, and one that stands
    /// before it tells nothing.
    pub(crate) fn resume(&self, at: UnixTime, now: UnixTime) {
        let is_behind = now.plus(SKEW) < at;
        let lag = if is_behind {
            Duration::MAX
        } else {
            now.since(at)
        };
        self.replace(at.min(now), lag, now);
    }

    /// `None`: there is no feed.
    pub(crate) fn age(&self, now: UnixTime) -> Option<Duration> {
        let confirmed = self.confirmed.load();
        confirmed.as_ref().map(|it| it.age(now))
    }

    fn replace(&self, at: UnixTime, lag: Duration, now: UnixTime) {
        let next = Confirmation {
            at,
            lag,
            heard: Instant::now(),
        };
        self.confirmed.rcu(|before| match before {
            Some(before) if before.age(now) <= next.age(now) => Some(std::sync::Arc::clone(before)),
            _ => Some(std::sync::Arc::new(next)),
        });
    }
}

impl Confirmation {
    fn age(&self, now: UnixTime) -> Duration {
        let steady = self.lag.saturating_add(self.heard.elapsed());
        now.since(self.at).max(steady)
    }
}

/// Clocks that are kept in time differ by less; more is a clock that was set.
const SKEW: Duration = Duration::from_mins(5);

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

    fn at(seconds: u64) -> UnixTime {
        UnixTime::from_seconds(1_000_000 + seconds)
    }

    #[tokio::test(start_paused = true)]
    async fn the_clock_that_says_older_is_believed() {
        let freshness = Freshness::default();
        assert_eq!(freshness.age(at(0)), None);
        freshness.confirm(at(0), at(0));
        assert_eq!(freshness.age(at(0)), Some(Duration::ZERO));
        // The machine slept: only the wall clock knows.
        assert_eq!(freshness.age(at(3600)), Some(HOUR));
        // The wall clock was set back: only the steady one knows.
        tokio::time::advance(HOUR * 2).await;
        assert_eq!(freshness.age(UnixTime::from_seconds(5)), Some(HOUR * 2));
        freshness.confirm(at(10), at(10));
        assert_eq!(freshness.age(at(10)), Some(Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn confirmation_that_was_held_up_is_as_old_as_it_says() {
        let freshness = Freshness::default();
        freshness.confirm(at(0), at(3600));
        assert_eq!(freshness.age(at(3600)), Some(HOUR));
        tokio::time::advance(HOUR).await;
        assert_eq!(freshness.age(at(3600)), Some(HOUR * 2));
        // An authority whose clock is ahead makes nothing younger than now.
        freshness.confirm(at(99_999), at(7200));
        assert_eq!(freshness.age(at(7200)), Some(Duration::ZERO));
        tokio::time::advance(HOUR).await;
        assert_eq!(freshness.age(at(7200)), Some(HOUR));
        // An older one does not take its place.
        freshness.confirm(at(0), at(7200));
        assert_eq!(freshness.age(at(7200)), Some(HOUR));
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_read_under_a_clock_that_was_set_back_has_no_age_that_is_young_enough() {
        let freshness = Freshness::default();
        freshness.resume(at(7200), at(0));
        assert_eq!(freshness.age(at(0)), Some(Duration::MAX));
        freshness.confirm(at(0), at(0));
        assert_eq!(freshness.age(at(0)), Some(Duration::ZERO));
        let freshness = Freshness::default();
        freshness.resume(at(60), at(0));
        assert_eq!(freshness.age(at(0)), Some(Duration::ZERO));
        let freshness = Freshness::default();
        freshness.resume(at(0), at(3600));
        assert_eq!(freshness.age(at(3600)), Some(HOUR));
    }
}
