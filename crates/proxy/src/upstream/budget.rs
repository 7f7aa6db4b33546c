//! How many requests may be sent again, so that a group of upstreams that is going down is not hit harder for it. Pure: the clock
//! comes in as an argument.

use std::time::Duration;

use tokio::time::Instant;

/// One group's on one worker: [`PER_REQUESTS`] requests pay for one repeat, and [`PER_SECOND`] repeats are free each second.
#[derive(Debug)]
pub(super) struct Budget {
    /// In parts of a repeat, [`PER_REQUESTS`] of which make one.
    parts: u64,
    filled_at: Instant,
}

impl Budget {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            parts: MOST * PER_REQUESTS,
            filled_at: now,
        }
    }

    pub(super) fn note_request(&mut self) {
        self.parts = (self.parts + 1).min(MOST * PER_REQUESTS);
    }

    /// Whether one more repeat may be.
    pub(super) fn spend(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.filled_at).as_secs();
        self.filled_at += Duration::from_secs(passed);
        let free = passed.saturating_mul(PER_SECOND * PER_REQUESTS);
        self.parts = self.parts.saturating_add(free).min(MOST * PER_REQUESTS);
        let Some(rest) = self.parts.checked_sub(PER_REQUESTS) else {
            return false;
        };
        self.parts = rest;
        true
    }
}

/// A fifth of the requests: what Finagle and linkerd begin with.
const PER_REQUESTS: u64 = 5;

/// Where there are few requests, a fifth of them would be none.
const PER_SECOND: u64 = 3;

/// What may be saved up: the requests that are under way when an upstream dies are repeated at once.
const MOST: u64 = 100;

#[cfg(test)]
mod tests {
    use super::*;

    fn spent(budget: &mut Budget, now: Instant) -> u64 {
        (0..10_000).filter(|_| budget.spend(now)).count() as u64
    }

    #[test]
    fn repeats_are_a_fifth_of_the_requests_when_what_was_saved_is_gone() {
        let now = Instant::now();
        let mut budget = Budget::new(now);
        assert_eq!(spent(&mut budget, now), MOST);
        let mut repeats = 0;
        for _ in 0..1000 {
            budget.note_request();
            repeats += u64::from(budget.spend(now));
        }
        assert_eq!(repeats, 200);
    }

    #[test]
    fn some_are_free_each_second_and_nothing_is_saved_beyond_the_most() {
        let now = Instant::now();
        let mut budget = Budget::new(now);
        spent(&mut budget, now);
        assert_eq!(spent(&mut budget, now + Duration::from_millis(999)), 0);
        let second = now + Duration::from_secs(1);
        assert_eq!(spent(&mut budget, second), PER_SECOND);
        assert_eq!(spent(&mut budget, second), 0);
        let day = now + Duration::from_hours(24);
        for _ in 0..100_000 {
            budget.note_request();
        }
        assert_eq!(spent(&mut budget, day), MOST);
        // A clock that is asked in another order takes nothing back and gives nothing twice.
        assert_eq!(spent(&mut budget, second), 0);
        assert_eq!(spent(&mut budget, day), 0);
    }
}
