//! How many refusals the audit log gets one by one.
//!
//! Each refused request is on record, but whoever can ask can ask for ever, and the log is never shortened. So a minute has so
//! many records of its own; the rest of that minute becomes one record that counts them.

use std::sync::{Mutex, PoisonError};

use countersign_pki::time::UnixTime;

/// What is left of the present minute.
#[derive(Debug, Default)]
pub(crate) struct RefusalBudget(
    /// Invariant: what was counted is taken out once, by who records it.
    Mutex<Window>,
);

#[derive(Debug, Default)]
struct Window {
    begins_s: u64,
    recorded: u32,
    counted: u64,
}

/// Refusals that have no record of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counted {
    /// How many.
    pub(crate) refusals: u64,
    /// Since when.
    pub(crate) since: UnixTime,
}

impl RefusalBudget {
    /// Whether a refusal gets a record of its own; if not, it has been counted.
    pub(crate) fn admits(&self, now: UnixTime) -> bool {
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // What was counted has to be taken before another minute begins.
        if window.is_over(now) && window.counted == 0 {
            *window = Window {
                begins_s: now.seconds(),
                ..Window::default()
            };
        }
        if window.recorded < PER_MINUTE {
            window.recorded += 1;
            true
        } else {
            window.counted += 1;
            false
        }
    }

    /// What was counted in a minute that is over, or `ends` now.
    pub(crate) fn take(&self, now: UnixTime, ends: bool) -> Option<Counted> {
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if window.counted == 0 || !(ends || window.is_over(now)) {
            return None;
        }
        let taken = std::mem::take(&mut *window);
        window.begins_s = now.seconds();
        Some(Counted {
            refusals: taken.counted,
            since: UnixTime::from_seconds(taken.begins_s),
        })
    }
}

impl Window {
    /// A clock that was set back ends it too: it would not end for long.
    fn is_over(&self, now: UnixTime) -> bool {
        !(self.begins_s..self.begins_s.saturating_add(60)).contains(&now.seconds())
    }
}

/// A person who tries, or a program that is set up wrongly, is seen entry by entry; the log of a day under flood stays under
/// 50 MB.
pub(crate) const PER_MINUTE: u32 = 60;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> UnixTime {
        UnixTime::from_seconds(1_800_000_000 + seconds)
    }

    #[test]
    fn a_minute_has_so_many_records_and_one_that_counts_the_others() {
        let budget = RefusalBudget::default();
        let admitted = (0..1000).filter(|_| budget.admits(at(0))).count();
        assert_eq!(admitted, 60);
        assert_eq!(budget.take(at(59), false), None);
        assert!(!budget.admits(at(61)), "what was counted is not lost");
        let counted = Counted {
            refusals: 941,
            since: at(0),
        };
        assert_eq!(budget.take(at(61), false), Some(counted));
        assert_eq!(budget.take(at(62), false), None);
        assert!(budget.admits(at(62)));
    }

    #[test]
    fn an_end_takes_what_there_is_and_a_clock_set_back_ends_a_minute() {
        let budget = RefusalBudget::default();
        assert_eq!(budget.take(at(0), true), None);
        for _ in 0..61 {
            budget.admits(at(100));
        }
        let counted = budget.take(at(100), true).map(|counted| counted.refusals);
        assert_eq!(counted, Some(1));
        for _ in 0..61 {
            budget.admits(at(100));
        }
        assert!(budget.take(at(50), false).is_some());
    }
}
