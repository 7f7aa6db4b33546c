//! How much each caller gets of what stays for ever, records and certificates: so many at once, and one from time to time then.
//!
//! Callers are told apart so that one who asks without end takes nothing of the others. They are bounded too: those who come
//! when [`MAX_CALLERS`] are known share one allowance.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Allowances of one kind. Times are since whatever moment their user chooses.
#[derive(Debug)]
pub(crate) struct Allowances {
    burst: u32,
    refill: Duration,
    /// Invariant: who is not in here has all of it, and nothing that is counted.
    known: Mutex<BTreeMap<String, Allowance>>,
}

#[derive(Clone, Copy, Debug)]
struct Allowance {
    left: u32,
    since: Duration,
    counted: u64,
    counted_since: Duration,
}

/// What one caller did not get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Counted {
    /// Who.
    pub(crate) caller: String,
    /// How often.
    pub(crate) times: u64,
    /// Since when.
    pub(crate) since: Duration,
}

impl Allowances {
    /// `burst` at once, and one more each `refill`.
    pub(crate) fn new(burst: u32, refill: Duration) -> Self {
        Self {
            burst,
            refill,
            known: Mutex::default(),
        }
    }

    /// Whether `caller` may have one more; if not, it is counted.
    pub(crate) fn admits(&self, caller: &str, now: Duration) -> bool {
        let mut known = self.known();
        known.retain(|_, allowance| {
            allowance.refill(now, self.burst, self.refill);
            allowance.left < self.burst || allowance.counted > 0
        });
        let caller = if known.contains_key(caller) || known.len() < MAX_CALLERS {
            caller
        } else {
            OTHERS
        };
        let full = Allowance {
            left: self.burst,
            since: now,
            counted: 0,
            counted_since: now,
        };
        let allowance = known.entry(caller.to_owned()).or_insert(full);
        if allowance.left > 0 {
            allowance.left -= 1;
            return true;
        }
        if allowance.counted == 0 {
            allowance.counted_since = now;
        }
        allowance.counted += 1;
        false
    }

    /// What was counted of callers of whom something was `after` ago for the first time. It is not told again.
    pub(crate) fn take_counted(&self, now: Duration, after: Duration) -> Vec<Counted> {
        let mut known = self.known();
        let due = known.iter_mut().filter(|(_, allowance)| {
            let since = allowance.counted_since;
            // A clock that was set back ends it too: it would not end for long.
            allowance.counted > 0 && (now < since || now.saturating_sub(since) >= after)
        });
        due.map(|(caller, allowance)| Counted {
            caller: caller.clone(),
            times: std::mem::take(&mut allowance.counted),
            since: allowance.counted_since,
        })
        .collect()
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<String, Allowance>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Allowance {
    fn refill(&mut self, now: Duration, burst: u32, refill: Duration) {
        let Some(passed) = now.checked_sub(self.since) else {
            // A clock that was set back gives nothing, and takes nothing for long.
            self.since = now;
            return;
        };
        let refills = passed.as_millis() / refill.as_millis();
        let refills = u32::try_from(refills).unwrap_or(u32::MAX);
        self.left = self.left.saturating_add(refills).min(burst);
        self.since = if self.left == burst {
            now
        } else {
            self.since + refill * refills
        };
    }
}

/// More than any team of operators, and 64 lines of a few hundred bytes.
const MAX_CALLERS: usize = 64;

/// No caller: names have no spaces at their ends.
const OTHERS: &str = "others ";

#[cfg(test)]
mod tests {
    use super::*;

    const REFILL: Duration = Duration::from_mins(1);

    fn got(allowances: &Allowances, caller: &str, now: Duration) -> usize {
        let admitted = (0..100).filter(|_| allowances.admits(caller, now));
        admitted.count()
    }

    #[test]
    fn caller_gets_so_many_and_then_one_from_time_to_time_whoever_else_asks() {
        let allowances = Allowances::new(32, REFILL);
        let at = Duration::from_secs;
        let got = |caller, now| got(&allowances, caller, now);
        assert_eq!((got("a", at(0)), got("b", at(0))), (32, 32));
        assert_eq!(got("a", at(59)), 0);
        assert_eq!((got("a", at(60)), got("a", at(61))), (1, 0));
        // What was asked for in vain takes nothing of what comes.
        assert_eq!(got("a", at(120)), 1);
        assert_eq!(got("b", at(60_000)), 32);
        allowances.take_counted(at(60_000), Duration::ZERO);
        assert!(allowances.admits("c", at(120_000)));
        let known: Vec<String> = allowances.known().keys().cloned().collect();
        assert_eq!(known, ["c"], "a and b have all of it");
    }

    #[test]
    fn what_was_not_had_is_counted_once_for_each_caller() {
        let allowances = Allowances::new(10, REFILL);
        let (now, later) = (Duration::from_secs(100), Duration::from_secs(160));
        for caller in ["a", "b"] {
            got(&allowances, caller, now);
        }
        got(&allowances, "a", now);
        assert_eq!(allowances.take_counted(now, REFILL), []);
        let counted = |caller: &str, times| Counted {
            caller: caller.to_owned(),
            times,
            since: now,
        };
        let all = [counted("a", 190), counted("b", 90)];
        assert_eq!(allowances.take_counted(later, REFILL), all);
        assert_eq!(allowances.take_counted(later, Duration::ZERO), []);
    }

    #[test]
    fn clock_that_was_set_back_gives_nothing_and_tells_what_was_counted() {
        let allowances = Allowances::new(10, REFILL);
        got(&allowances, "a", Duration::from_secs(1000));
        let back = Duration::from_secs(10);
        assert_eq!(got(&allowances, "a", back), 0);
        assert_eq!(allowances.take_counted(back, REFILL).len(), 1);
        assert_eq!(got(&allowances, "a", back + REFILL), 1);
    }

    #[test]
    fn callers_past_the_bound_share_one_allowance() {
        let allowances = Allowances::new(10, REFILL);
        for number in 0..MAX_CALLERS {
            let caller = number.to_string();
            assert_eq!(got(&allowances, &caller, Duration::ZERO), 10, "{caller}");
        }
        assert_eq!(got(&allowances, "one more", Duration::ZERO), 10);
        assert_eq!(got(&allowances, "yet another", Duration::ZERO), 0);
        assert_eq!(allowances.known().len(), MAX_CALLERS + 1);
        assert_eq!(got(&allowances, "0", Duration::ZERO), 0);
    }
}
