//! A bound on lines that clients cause: what they do is no reason to fill a disk.

use std::sync::atomic::{AtomicU64, Ordering};

/// The second of the last line, and how many there were in it. Past some lines a second there are the counters.
#[derive(Debug, Default)]
pub(crate) struct Lines(AtomicU64);

impl Lines {
    pub(crate) fn may_tell(&self, now_s: u64) -> bool {
        let next = |lines: u64| {
            let (second, count) = (lines >> 8, lines & 0xff);
            match count {
                _ if second != now_s => Some(now_s << 8 | 1),
                LINES_A_SECOND.. => None,
                _ => Some(lines + 1),
            }
        };
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, next)
            .is_ok()
    }
}

const LINES_A_SECOND: u64 = 10;
