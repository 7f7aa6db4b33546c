//! What may leave the inventory: certificates that have ended so long ago that no clock can bring them back to life.
//!
//! A clock that is wrong must not empty an inventory. So nothing is judged by the wall clock alone: the [`Witness`] is a time
//! of its own, kept over restarts, which goes towards the wall clock, but never faster than [`HASTE`] times a steady clock
//! while a process runs. A wall clock that is years ahead for a day moves it by two days; with the least time that
//! certificates are kept, [`MIN_KEPT`], it has to be wrong for a month on end before anything that is live is judged ended.

use std::time::Duration;

use countersign_pki::time::UnixTime;

/// How long certificates are kept after their end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    kept: Duration,
}

impl Retention {
    /// At least [`MIN_KEPT`].
    pub fn after(kept: Duration) -> Result<Self, TooShort> {
        if kept < MIN_KEPT {
            Err(TooShort)
        } else {
            Ok(Self { kept })
        }
    }

    /// How long after their end.
    pub fn kept(self) -> Duration {
        self.kept
    }

    /// What ended before this may leave, judged at `now`.
    pub fn cutoff(self, witness: Witness, now: UnixTime) -> UnixTime {
        witness.judged_at(now).minus(self.kept)
    }
}

/// They would be gone before somebody had to ask for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expired certificates are kept for {} days at least: their revocation has to have been on a list, and a wrong clock has to be found out",
    MIN_KEPT.as_secs() / 86_400
)]
pub struct TooShort;

/// The time that retention goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Witness(UnixTime);

impl Witness {
    /// As it was left.
    pub fn at(time: UnixTime) -> Self {
        Self(time)
    }

    /// Where it stands; it never goes back.
    pub fn time(self) -> UnixTime {
        self.0
    }

    /// After `elapsed` by a steady clock, with the wall clock at `now`.
    #[must_use]
    pub fn advanced(self, now: UnixTime, elapsed: Duration) -> Self {
        let reach = self.0.plus(elapsed.saturating_mul(HASTE));
        Self(self.0.max(now.min(reach)))
    }

    /// The earlier of the two: a wall clock that was set back is believed.
    pub fn judged_at(self, now: UnixTime) -> UnixTime {
        self.0.min(now)
    }
}

/// The least that expired certificates are kept: four weeks of weekly lists, and the month that a clock has to be wrong.
pub const MIN_KEPT: Duration = Duration::from_hours(30 * 24);

/// More than one, so that a process that was down comes back to the present, and no more than that needs.
pub const HASTE: u32 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_hours(24);
    const YEAR: Duration = Duration::from_hours(365 * 24);

    fn day(number: u64) -> UnixTime {
        UnixTime::from_seconds(1_800_000_000 + number * 86_400)
    }

    /// `steps`: days that pass by the steady clock, and what the wall clock says then.
    #[track_caller]
    fn check(steps: &[(u32, UnixTime)], expected: UnixTime) {
        let mut witness = Witness::at(day(0));
        for &(days, now) in steps {
            let before = witness.time();
            witness = witness.advanced(now, DAY * days);
            assert!(witness.time() >= before);
        }
        assert_eq!(witness.time(), expected);
    }

    #[test]
    fn witness_follows_a_clock_that_is_right() {
        check(&[(1, day(1)), (1, day(2)), (5, day(7))], day(7));
    }

    #[test]
    fn witness_is_not_carried_off_by_a_clock_that_jumps() {
        let decade = day(0).plus(YEAR * 10);
        check(&[(0, decade)], day(0));
        check(&[(1, decade)], day(2));
        check(&[(1, decade), (1, day(2))], day(2));
        check(&[(1, decade), (1, day(2)), (1, day(3))], day(3));
        check(&[(1, UnixTime::MAX), (1, UnixTime::MAX)], day(4));
    }

    #[test]
    fn witness_stays_where_the_clock_goes_back() {
        check(
            &[(1, day(1)), (1, UnixTime::from_seconds(0)), (1, day(3))],
            day(3),
        );
        let witness = Witness::at(day(100));
        assert_eq!(witness.judged_at(day(5)), day(5));
    }

    #[test]
    fn time_without_a_process_is_made_up_for_by_and_by() {
        // A month on the shelf.
        check(&[(0, day(30)), (1, day(31))], day(2));
        check(&[(0, day(30)), (30, day(60))], day(60));
    }

    #[test]
    fn what_is_live_stays_through_a_clock_that_is_wrong_for_weeks() {
        let rule = Retention::after(MIN_KEPT).expect("long enough");
        let (mut witness, ahead) = (Witness::at(day(0)), YEAR * 10);
        for number in 1..=29 {
            let wrong = day(number).plus(ahead);
            witness = witness.advanced(wrong, DAY);
            // A certificate that ends today is live.
            assert!(rule.cutoff(witness, wrong) < day(number), "day {number}");
        }
        let right = day(30);
        assert!(rule.cutoff(witness.advanced(right, DAY), right) <= day(0));
    }

    #[test]
    fn rule_that_is_too_short_is_refused() {
        assert_eq!(
            Retention::after(MIN_KEPT.saturating_sub(Duration::from_secs(1))),
            Err(TooShort)
        );
        assert_eq!(Retention::after(Duration::ZERO), Err(TooShort));
        assert!(Retention::after(MIN_KEPT).is_ok());
    }
}
