//! How much work the public may cause, by the second, over all who ask.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, SemaphorePermit};

/// What is left of it.
pub(super) struct Budgets {
    /// Questions to the inventory.
    pub(super) lookups: Budget,
    /// Answers about certificates that there are.
    pub(super) signatures: Budget,
    /// Answers about serial numbers that no certificate has: of their own, so that whoever makes numbers up takes none of
    /// the others.
    pub(super) unknown: Budget,
    waiting: Semaphore,
}

impl Budgets {
    /// Held while the inventory is asked; `None`: too many ask already.
    pub(super) fn ask(&self) -> Option<SemaphorePermit<'_>> {
        let place = self.waiting.try_acquire().ok()?;
        self.lookups.take(Instant::now()).then_some(place)
    }
}

impl Default for Budgets {
    fn default() -> Self {
        Self {
            lookups: Budget::new(LOOKUPS_PER_SECOND),
            signatures: Budget::new(SIGNATURES_PER_SECOND),
            unknown: Budget::new(UNKNOWN_PER_SECOND),
            waiting: Semaphore::new(MAX_WAITING),
        }
    }
}

/// So many by the second.
pub(super) struct Budget {
    per_second: u32,
    /// Guards that no unit is given out twice.
    left: Mutex<(Option<Instant>, u32)>,
}

impl Budget {
    fn new(per_second: u32) -> Self {
        Self {
            per_second,
            left: Mutex::new((None, per_second)),
        }
    }

    /// Takes a unit, if one is left in this second.
    pub(super) fn take(&self, now: Instant) -> bool {
        let mut state = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, left) = &mut *state;
        let over = since.is_none_or(|since| now.saturating_duration_since(since) >= SECOND);
        if over {
            (*since, *left) = (Some(now), self.per_second);
        }
        let granted = *left > 0;
        *left = left.saturating_sub(1);
        granted
    }
}

const SECOND: Duration = Duration::from_secs(1);

/// A look-up takes some 20 µs of the one thread that does them: at most a twentieth of its time.
const LOOKUPS_PER_SECOND: u32 = 2000;

/// A P-256 signature that is verified takes some 150 µs: at most a tenth of a core.
const SIGNATURES_PER_SECOND: u32 = 500;

/// Honest clients ask about certificates that they were shown.
const UNKNOWN_PER_SECOND: u32 = 50;

/// Beyond these, an answer would come late for a handshake that waits for it.
const MAX_WAITING: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budget_is_what_it_says_in_each_second_and_no_more() {
        let budget = Budget::new(3);
        let start = Instant::now();
        let granted = |at: Duration| (0..5).filter(|_| budget.take(start + at)).count();
        assert_eq!(granted(Duration::ZERO), 3);
        assert_eq!(granted(Duration::from_millis(999)), 0);
        assert_eq!(granted(SECOND), 3);
        assert_eq!(granted(SECOND * 60), 3);
    }

    #[test]
    fn numbers_made_up_leave_the_other_budgets_alone() {
        let budgets = Budgets::default();
        let now = Instant::now();
        let granted = (0..1000).filter(|_| budgets.unknown.take(now)).count();
        assert_eq!(granted, UNKNOWN_PER_SECOND as usize);
        assert!(budgets.signatures.take(now));
    }

    #[test]
    fn those_who_wait_are_bounded() {
        let budgets = Budgets::default();
        let places: Vec<_> = std::iter::from_fn(|| budgets.ask()).take(1000).collect();
        assert_eq!(places.len(), MAX_WAITING);
        drop(places);
        assert!(budgets.ask().is_some());
    }
}
