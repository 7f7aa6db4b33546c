//! What may leave the inventory: certificates that have ended so long ago that no clock can bring them back to life.
//!
//! A clock that is wrong must not empty an inventory. So nothing is judged by the wall clock alone: the [`Witness`] is a time
//! of its own, kept over restarts, which goes towards the wall clock, but never faster than [`HASTE`] times a steady clock
//! while a process runs. A wall clock that is years ahead for a day moves it by two days; with the least time that
//! certificates are kept, [`MIN_KEPT`], it has to be wrong for a month on end before anything that is live is judged ended.
//!
//! The witness itself can be wrong: an inventory may have been founded while the clock was years ahead, and once the clock is
//! right, a witness that lies ahead of it holds nothing back when it jumps again. Whether the clock was ahead then or is behind
//! now, nobody can tell at once. So where the clock falls behind the witness, both are kept: the lower one is a [`Doubt`], with
//! a pace of its own like the witness's, and things are judged by the earlier of the two. The one that the clock agrees with for
//! [`CONFIRMED`] on end, by the steady clock, is believed. A machine that boots in 1970 until it has asked what time it is
//! drops nothing for that long, and then goes on from where it was.

use std::time::Duration;

use countersign_pki::time::UnixTime;
use serde::{Deserialize, Serialize};

/// How long certificates are kept after their end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    kept: Duration,
}

impl Retention {
    /// Of canaries, whatever the rule is for others: four for each time that a gateway looks at itself, of which a list shows one. They live for
    /// minutes and admit nobody, so that a wrong clock brings none back that matters, and the audit log keeps them.
    pub const OF_CANARIES: Self = Self {
        kept: Duration::from_hours(7 * 24),
    };

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
pub struct Witness {
    reached: UnixTime,
    doubt: Option<Doubt>,
}

/// The clock has fallen behind the witness: one of the two is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_field_names, reason = "they end in their unit")]
pub struct Doubt {
    low_unix_s: u64,
    /// How long the clock has agreed with it on end.
    for_low_s: u64,
    /// How long the clock has agreed with the witness again on end.
    for_high_s: u64,
}

impl Witness {
    /// As it was left.
    pub fn at(reached: UnixTime, doubt: Option<Doubt>) -> Self {
        Self { reached, doubt }
    }

    /// Where it stands; it goes back only by a doubt that is confirmed.
    pub fn time(self) -> UnixTime {
        self.reached
    }

    /// What stands against it.
    pub fn doubt(self) -> Option<Doubt> {
        self.doubt
    }

    /// After `elapsed` by a steady clock, with the wall clock at `now`.
    #[must_use]
    pub fn advanced(self, now: UnixTime, elapsed: Duration) -> Self {
        let reached = towards(self.reached, now, elapsed);
        let is_behind = now.plus(TOLERANCE) < reached;
        let doubt = match self.doubt {
            None if is_behind => Doubt {
                low_unix_s: now.seconds(),
                for_low_s: 0,
                for_high_s: 0,
            },
            None => return Self { reached, ..self },
            Some(doubt) => doubt.advanced(now, elapsed, is_behind),
        };
        if doubt.for_low_s >= CONFIRMED.as_secs() {
            Self::at(doubt.low(), None)
        } else if doubt.for_high_s >= CONFIRMED.as_secs() || doubt.low().plus(TOLERANCE) >= reached
        {
            Self::at(reached, None)
        } else {
            Self::at(reached, Some(doubt))
        }
    }

    /// The earliest of it, of the doubt and of the wall clock: one that was set back is believed.
    pub fn judged_at(self, now: UnixTime) -> UnixTime {
        let low = self.doubt.map_or(UnixTime::MAX, Doubt::low);
        self.reached.min(low).min(now)
    }
}

impl Doubt {
    fn low(self) -> UnixTime {
        UnixTime::from_seconds(self.low_unix_s)
    }

    fn advanced(self, now: UnixTime, elapsed: Duration, is_behind: bool) -> Self {
        // A clock that falls back further is another doubt, and nothing confirms it yet.
        if now.plus(TOLERANCE) < self.low() {
            return Self {
                low_unix_s: now.seconds(),
                for_low_s: 0,
                for_high_s: 0,
            };
        }
        let low_unix_s = towards(self.low(), now, elapsed).seconds();
        let elapsed_s = elapsed.as_secs();
        // A clock that is far ahead of the doubt, though behind the witness, speaks for neither.
        let is_low = is_behind && now <= UnixTime::from_seconds(low_unix_s).plus(TOLERANCE);
        Self {
            low_unix_s,
            for_low_s: if is_low {
                self.for_low_s + elapsed_s
            } else {
                0
            },
            for_high_s: if is_behind {
                0
            } else {
                self.for_high_s + elapsed_s
            },
        }
    }
}

/// It never goes back, and forth at its own pace.
fn towards(from: UnixTime, now: UnixTime, elapsed: Duration) -> UnixTime {
    let reach = from.plus(elapsed.saturating_mul(HASTE));
    from.max(now.min(reach))
}

/// The least that expired certificates are kept: four weeks of weekly lists, and the month that a clock has to be wrong.
pub const MIN_KEPT: Duration = Duration::from_hours(30 * 24);

/// How long the clock has to agree with the one or the other: as long as it has to be wrong for anything that is live.
pub const CONFIRMED: Duration = MIN_KEPT;

/// Clocks are set by hours where somebody mistakes the time zone; against [`MIN_KEPT`] a day is nothing.
const TOLERANCE: Duration = Duration::from_hours(24);

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
        let mut witness = Witness::at(day(0), None);
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
        let witness = Witness::at(day(100), None);
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
        let (mut witness, ahead) = (Witness::at(day(0), None), YEAR * 10);
        for number in 1..=29 {
            let wrong = day(number).plus(ahead);
            witness = witness.advanced(wrong, DAY);
            // A certificate that ends today is live.
            assert!(rule.cutoff(witness, wrong) < day(number), "day {number}");
        }
        let right = day(30);
        assert!(rule.cutoff(witness.advanced(right, DAY), right) <= day(0));
    }

    /// As an hourly pass sees it: `days` with the clock as `clock` says it of each.
    fn pass(mut witness: Witness, days: u64, clock: impl Fn(u64) -> UnixTime) -> Witness {
        for number in 1..=days {
            witness = witness.advanced(clock(number), DAY);
        }
        witness
    }

    #[test]
    fn witness_of_a_first_start_under_a_clock_far_ahead_holds_back_the_next_jump() {
        let rule = Retention::after(MIN_KEPT).expect("long enough");
        let ahead = |number| day(number).plus(YEAR * 10);
        let founded = Witness::at(ahead(0), None);
        for right in [1, 10, 29, 31, 300] {
            // The clock is right for so long, and then as far ahead as before.
            let corrected = pass(founded, right, day);
            for wrong in 1..=29 {
                let jumped = pass(corrected, wrong, |number| ahead(right + number));
                // A certificate that ends today is live.
                let cutoff = rule.cutoff(jumped, ahead(right + wrong));
                assert!(cutoff < day(right + wrong), "{right} and {wrong}: {cutoff}");
            }
        }
    }

    #[test]
    fn witness_comes_down_to_a_clock_that_stays_and_follows_it() {
        let founded = Witness::at(day(0).plus(YEAR * 10), None);
        let early = pass(founded, 30, day);
        assert_eq!(early.time(), founded.time());
        assert_eq!(early.judged_at(day(30)), day(30));
        let down = pass(early, 1, |number| day(30 + number));
        assert_eq!((down.time(), down.doubt()), (day(31), None));
        assert_eq!(pass(down, 5, |number| day(31 + number)).time(), day(36));
    }

    #[test]
    fn clock_that_was_behind_for_a_while_costs_a_month_and_no_more() {
        let past = UnixTime::from_seconds(0);
        for minutes in [0, 1, 60 * 24 * 20] {
            let start = Witness::at(day(100), None);
            let doubted = start
                .advanced(past, Duration::ZERO)
                .advanced(past, Duration::from_mins(minutes));
            let back = pass(doubted, 29, |number| day(100 + number));
            assert!(back.judged_at(day(129)) < day(1), "{minutes}");
            let returned = pass(back, 1, |_| day(130));
            assert_eq!(returned.judged_at(day(130)), day(130), "{minutes}");
        }
    }

    #[test]
    fn clock_that_goes_to_and_fro_confirms_nothing() {
        let (past, start) = (day(0), Witness::at(day(1000), None));
        let restless = pass(start, 200, |number| match number % 20 {
            0 => day(1000 + number),
            _ => past.plus(DAY * u32::try_from(number).expect("small")),
        });
        assert!(restless.doubt().is_some());
        assert!(restless.time() >= day(1000) && restless.judged_at(day(2000)) < day(500));
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
