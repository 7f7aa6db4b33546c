//! The one source of the time of day.
//!
//! Shell code holds a [`SharedClock`] and hands its reading to the pure crates as an argument, so that a test can stand
//! at any moment of a certificate's life. Durations and deadlines are measured with tokio's timer, never with this.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Tells the time of day.
pub trait Clock: Send + Sync + 'static {
    /// Seconds since the Unix epoch.
    fn unix_seconds(&self) -> u64;
}

/// A clock as components hold it.
pub type SharedClock = Arc<dyn Clock>;

/// The operating system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn unix_seconds(&self) -> u64 {
        // A clock set before 1970 reads 0: every certificate is then "not yet valid", which fails closed.
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs())
    }
}

/// A clock that moves only when told to, for tests.
#[derive(Debug)]
pub struct ManualClock {
    unix_s: AtomicU64,
}

impl ManualClock {
    /// A clock that stands at `unix_s` seconds since the Unix epoch.
    pub fn new(unix_s: u64) -> Self {
        Self {
            unix_s: AtomicU64::new(unix_s),
        }
    }

    /// Moves on by the whole seconds of `by`.
    pub fn advance(&self, by: Duration) {
        self.unix_s.fetch_add(by.as_secs(), Ordering::SeqCst);
    }

    /// Moves to `unix_s` seconds since the Unix epoch, backwards too.
    pub fn set(&self, unix_s: u64) {
        self.unix_s.store(unix_s, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn unix_seconds(&self) -> u64 {
        self.unix_s.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manual_clock_moves_only_when_told() {
        let clock = Arc::new(ManualClock::new(1_000));
        let shared: SharedClock = clock.clone();
        assert_eq!(shared.unix_seconds(), 1_000);
        clock.advance(Duration::from_millis(2_900));
        assert_eq!(shared.unix_seconds(), 1_002);
        clock.set(5);
        assert_eq!(shared.unix_seconds(), 5);
    }

    #[test]
    fn system_clock_counts_from_the_unix_epoch() {
        let january_2025 = 1_735_689_600;
        assert!(SystemClock.unix_seconds() > january_2025);
    }
}
