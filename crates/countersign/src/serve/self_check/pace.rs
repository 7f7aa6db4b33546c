//! When the gateway looks at itself.

use std::time::Duration;

use tokio::time::Instant;

/// How long is waited for what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Before the first look: whoever starts in a row of starts is not looked at in each.
    pub(super) first: Duration,
    /// After a change, until listeners are bound anew.
    pub(super) settled: Duration,
    /// Between a look and one for a change.
    pub(super) least: Duration,
    /// For a look, which is ended then.
    pub(super) longest: Duration,
}

impl Pace {
    pub(super) const USUAL: Self = Self {
        first: Duration::from_mins(1),
        settled: Duration::from_secs(5),
        least: Duration::from_mins(1),
        // Some hundred doors that each answer nobody.
        longest: Duration::from_mins(30),
    };
}

/// When the next look is due.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    pace: Pace,
    due: Instant,
    looked_at: Option<Instant>,
}

impl Schedule {
    pub(super) fn new(pace: Pace, every: Option<Duration>, now: Instant) -> Self {
        let first = every.map_or(pace.first, |every| every.min(pace.first));
        Self {
            pace,
            due: now + first,
            looked_at: None,
        }
    }

    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// What was just changed is looked at soon, and not at each of many changes.
    pub(super) fn changed(&mut self, now: Instant) {
        let soon = now + self.pace.settled;
        let not_before = self.looked_at.map_or(soon, |last| last + self.pace.least);
        self.due = self.due.min(soon.max(not_before));
    }

    /// A look has ended, or was.
    pub(super) fn looked(&mut self, now: Instant, every: Option<Duration>, is_of_the_past: bool) {
        self.looked_at = Some(now);
        self.due = now
            + match every {
                Some(every) if !is_of_the_past => every,
                _ => self.pace.least,
            };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

    #[test]
    fn change_is_looked_at_soon_and_many_changes_once_a_minute() {
        let start = Instant::now();
        let pace = Pace::USUAL;
        let mut schedule = Schedule::new(pace, Some(HOUR), start);
        assert_eq!(schedule.due(), start + pace.first);
        schedule.changed(start);
        assert_eq!(schedule.due(), start + pace.settled);

        let looked = start + pace.settled;
        schedule.looked(looked, Some(HOUR), false);
        assert_eq!(schedule.due(), looked + HOUR);
        for second in 0..50 {
            schedule.changed(looked + Duration::from_secs(second));
            assert_eq!(schedule.due(), looked + pace.least, "{second}");
        }
        // A late change waits until the listeners are bound, and brings no look forward that is due before.
        let late = looked + pace.least - Duration::from_secs(1);
        let mut other = schedule;
        other.looked(looked, Some(HOUR), false);
        other.changed(late);
        assert_eq!(other.due(), late + pace.settled);
        schedule.changed(late);
        assert_eq!(schedule.due(), looked + pace.least);
    }

    #[test]
    fn look_at_what_is_no_more_is_repeated_after_a_minute() {
        let now = Instant::now();
        let mut schedule = Schedule::new(Pace::USUAL, Some(HOUR), now);
        schedule.looked(now, Some(HOUR), true);
        assert_eq!(schedule.due(), now + Pace::USUAL.least);
    }
}
