//! How long an upstream is left alone that could not be connected to. Pure: the clock and what is random come in as arguments.

use std::time::Duration;

use tokio::time::Instant;

/// Of one upstream that failed, until a request has succeeded there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rest {
    /// How many rests this is, without a success between them.
    count: u32,
    until: Instant,
    /// Whether somebody tries it: nobody else does before `until`.
    is_on_trial: bool,
}

impl Rest {
    /// After the first failure.
    pub(super) fn begin(now: Instant, random: u64) -> Self {
        Self {
            count: 1,
            until: now + span(1, random),
            is_on_trial: false,
        }
    }

    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.until <= now
    }

    pub(super) fn until(&self) -> Instant {
        self.until
    }

    /// A request goes there, and no other for [`TRIAL`]: it is found out once that the upstream is still gone, and not by everybody.
    pub(super) fn try_at(&mut self, now: Instant) {
        self.until = now + TRIAL;
        self.is_on_trial = true;
    }

    /// Another failure; true: it rests anew, for longer. What was under way when its rest began says nothing new.
    pub(super) fn fail_again(&mut self, now: Instant, random: u64) -> bool {
        if !self.is_on_trial && !self.is_over(now) {
            return false;
        }
        self.count = self.count.saturating_add(1);
        self.until = now + span(self.count, random);
        self.is_on_trial = false;
        true
    }

    /// Whether a success tells that it is back. What was under way when its rest began does not.
    pub(super) fn may_end(&self) -> bool {
        self.is_on_trial
    }
}

/// Twice the one before, [`LONGEST`] at most, and up to a quarter less, so that workers and gateways do not come back as one.
fn span(count: u32, random: u64) -> Duration {
    let doublings = (count - 1).min(LONGEST.as_secs().ilog2() + 1);
    let whole = LONGEST.min(FIRST * 2_u32.pow(doublings));
    let quarter = u64::try_from(whole.as_millis() / 4).unwrap_or(u64::MAX);
    whole.saturating_sub(Duration::from_millis(random % (quarter + 1)))
}

/// A restarted process is back within a second or two.
const FIRST: Duration = Duration::from_secs(1);

/// Whoever repairs an upstream does not wait longer than this for it to be used.
const LONGEST: Duration = Duration::from_mins(1);

/// As long as a connection may take; then the next one tries.
const TRIAL: Duration = super::CONNECT_LIMIT;

#[cfg(test)]
mod tests {
    use super::*;

    /// The spans of this many rests in a row.
    fn spans(count: usize, random: u64) -> Vec<Duration> {
        let mut now = Instant::now();
        let mut rest = Rest::begin(now, random);
        let mut spans = vec![rest.until - now];
        while spans.len() < count {
            now = rest.until;
            rest.try_at(now);
            assert!(rest.fail_again(now, random));
            spans.push(rest.until - now);
        }
        spans
    }

    #[test]
    fn rests_double_up_to_a_minute_and_no_further() {
        let whole: Vec<u64> = spans(40, 0).iter().map(Duration::as_secs).collect();
        assert_eq!(whole[..8], [1, 2, 4, 8, 16, 32, 60, 60]);
        assert!(whole[8..].iter().all(|it| *it == 60), "{whole:?}");
    }

    #[test]
    fn jitter_takes_a_quarter_at_most_and_adds_nothing() {
        for random in [1, 249, 250, 251, 14_999, 15_000, u64::MAX] {
            for (jittered, whole) in spans(10, random).iter().zip(spans(10, 0)) {
                assert!(*jittered <= whole && *jittered >= whole * 3 / 4, "{random}");
            }
        }
        assert_ne!(spans(10, 12_345), spans(10, 0));
    }

    #[test]
    fn many_failures_at_once_are_one() {
        let now = Instant::now();
        let mut rest = Rest::begin(now, 0);
        let before = rest;
        for _ in 0..1000 {
            assert!(!rest.fail_again(now, 0));
        }
        assert_eq!(rest, before);
    }

    #[test]
    fn only_one_tries_at_a_time_and_another_when_that_one_says_nothing() {
        let now = Instant::now();
        let mut rest = Rest::begin(now, 0);
        assert!(!rest.is_over(now) && !rest.may_end());
        let later = now + FIRST;
        assert!(rest.is_over(later));
        rest.try_at(later);
        assert!(!rest.is_over(later) && rest.may_end());
        assert!(rest.is_over(later + TRIAL));
    }
}
