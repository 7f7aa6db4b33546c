//! What the last look found, and for how long that is said of the present.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use countersign_proxy::metrics::EnforcementFigures;
use tokio::time::Instant;

/// Shared with whoever shows it.
#[derive(Clone, Debug, Default)]
pub(super) struct Standing {
    /// Guards nothing but the exchange of the one for the next.
    known: Arc<Mutex<Option<Known>>>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    /// Whether everybody was refused, and when that was seen; `None`: no look has come to its end.
    found: Option<(bool, u64)>,
    /// Nothing is said to be shut for longer.
    counts_until: Instant,
}

impl Standing {
    /// Looks begin, or come at other times, or no more: what was found before counts for as long as for a first look is waited.
    pub(super) fn await_one(&self, every: Option<Duration>, longest: Duration, now: Instant) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        *known = every.map(|every| {
            let by_then = now + every + longest;
            Known {
                found: known.and_then(|it| it.found),
                counts_until: known.map_or(by_then, |it| it.counts_until.min(by_then)),
            }
        });
    }

    /// A look came to its end.
    pub(super) fn found(&self, is_shut: bool, at_unix_s: u64, counts_until: Instant) {
        let known = Known {
            found: Some((is_shut, at_unix_s)),
            counts_until,
        };
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(known);
    }

    /// `None`: nothing is looked at, or the first look is not over.
    pub(super) fn figures(&self, now: Instant, unseen: usize) -> Option<EnforcementFigures> {
        let known = (*self.known.lock().unwrap_or_else(PoisonError::into_inner))?;
        let counts = now < known.counts_until;
        match known.found {
            None if counts => None,
            None => Some(EnforcementFigures {
                is_ok: false,
                last_check_unix_s: None,
                unseen,
            }),
            Some((is_shut, at_unix_s)) => Some(EnforcementFigures {
                is_ok: is_shut && counts,
                last_check_unix_s: Some(at_unix_s),
                unseen,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_hours(1);
    const LONGEST: Duration = Duration::from_mins(30);

    fn told(standing: &Standing, at: Instant) -> Option<(bool, Option<u64>)> {
        let figures = standing.figures(at, 0)?;
        Some((figures.is_ok, figures.last_check_unix_s))
    }

    #[test]
    fn nothing_is_called_shut_for_longer_than_the_look_counts() {
        let (standing, now) = (Standing::default(), Instant::now());
        assert_eq!(told(&standing, now), None);
        standing.await_one(Some(HOUR), LONGEST, now);
        assert_eq!(told(&standing, now), None);
        standing.found(true, 1_000, now + HOUR);
        assert_eq!(told(&standing, now), Some((true, Some(1_000))));
        assert_eq!(told(&standing, now + HOUR), Some((false, Some(1_000))));
        standing.found(false, 2_000, now + HOUR);
        assert_eq!(told(&standing, now), Some((false, Some(2_000))));
    }

    #[test]
    fn first_look_that_never_comes_to_its_end_is_no_ok() {
        let (standing, now) = (Standing::default(), Instant::now());
        standing.await_one(Some(HOUR), LONGEST, now);
        let late = now + HOUR + LONGEST;
        assert_eq!(told(&standing, late), Some((false, None)));
    }

    #[test]
    fn looks_that_are_turned_off_leave_nothing_behind_and_turned_rare_no_longer_ok() {
        let (standing, now) = (Standing::default(), Instant::now());
        standing.await_one(Some(HOUR), LONGEST, now);
        standing.found(true, 1_000, now + HOUR);
        standing.await_one(Some(HOUR * 1_000), LONGEST, now);
        assert_eq!(told(&standing, now), Some((true, Some(1_000))));
        assert_eq!(told(&standing, now + HOUR), Some((false, Some(1_000))));
        standing.await_one(None, LONGEST, now);
        assert_eq!(told(&standing, now), None);
    }
}
