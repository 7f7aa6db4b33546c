//! How many tokens of one connection may turn out bad before they are not even verified.

use std::cell::Cell;

use countersign_pki::time::UnixTime;

/// One connection's. Signatures cost the most of what a client can ask for by a text that it makes up.
#[derive(Default)]
pub(crate) struct Budget {
    since: Cell<u64>,
    failed: Cell<u32>,
}

impl Budget {
    pub(crate) fn is_spent(&self, now: UnixTime) -> bool {
        self.failed.get() >= MOST && self.is_running(now)
    }

    /// A signature was verified for nothing.
    pub(crate) fn note_failed(&self, now: UnixTime) {
        if self.is_running(now) {
            self.failed.set(self.failed.get().saturating_add(1));
        } else {
            self.since.set(now.seconds());
            self.failed.set(1);
        }
    }

    fn is_running(&self, now: UnixTime) -> bool {
        now.seconds().abs_diff(self.since.get()) < PERIOD_S
    }
}

/// More than a client with good intentions has in a minute, and a few milliseconds of work.
const MOST: u32 = 64;
const PERIOD_S: u64 = 60;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_fail_within_a_minute_and_then_none_until_it_is_over() {
        let at = |seconds: u64| UnixTime::from_seconds(1_000_000 + seconds);
        let budget = Budget::default();
        for _ in 0..MOST {
            assert!(!budget.is_spent(at(5)));
            budget.note_failed(at(5));
        }
        assert!(budget.is_spent(at(5)));
        assert!(budget.is_spent(at(64)));
        assert!(!budget.is_spent(at(65)));
        budget.note_failed(at(65));
        assert!(!budget.is_spent(at(65)));
    }
}
