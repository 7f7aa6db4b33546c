//! For how long it was looked at all, which is what a count means.

use std::collections::BTreeMap;
use std::time::Duration;

use countersign_pki::fingerprint::Fingerprint;
use serde::{Deserialize, Serialize};

/// When somebody looked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Observed {
    /// The times in which decisions were kept, in order and apart.
    pub spans: Vec<Span>,
    /// The listeners as they stand, by name.
    pub listeners: BTreeMap<String, ListenerRecord>,
    /// Entries that others had to make room for.
    pub evicted: u64,
    /// What came too fast to be kept at all.
    pub dropped: u64,
    /// When either last happened, in Unix seconds.
    pub last_lost_unix_s: u64,
    /// How many connections without a certificate that counts were open, by listener.
    pub open_without: BTreeMap<String, u64>,
    /// Whether the last process to write this had nothing more to say: one that was killed took with it what it had not written.
    #[serde(skip_serializing_if = "is_unset")]
    pub is_complete: bool,
}

/// From when to when, in Unix seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Span {
    /// The first second.
    pub begin: u64,
    /// The last.
    pub end: u64,
}

/// A listener as it was when decisions were last written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListenerRecord {
    /// Where it listens.
    pub address: String,
    /// `off`, `request` or `require`.
    pub client_certificate: String,
    /// What is asked of certificates in shadow, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<String>,
    /// SHA-256 over everything that clients are judged by here and in shadow: another one, and what was seen says nothing of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terms: Option<Fingerprint>,
    /// Since when this is so.
    pub since_unix_s: u64,
}

impl ListenerRecord {
    fn is_as(&self, other: &Self) -> bool {
        self.client_certificate == other.client_certificate
            && self.shadow == other.shadow
            && self.terms == other.terms
    }
}

impl Observed {
    /// Another process goes on from here. Behind one that ended in order a restart is no gap, as nobody was served in it; of one that was
    /// killed nobody knows what it saw last.
    pub(super) fn resume(&mut self, now: u64) {
        let was_complete = std::mem::take(&mut self.is_complete);
        if !was_complete && !self.spans.is_empty() {
            self.begin_anew(now);
        }
    }

    /// Somebody looks now, and did a moment ago. Where that was longer ago, nobody did in between, or the clock leapt.
    pub(super) fn note(&mut self, now: u64) {
        // A clock that went back: what would come after now was no time.
        self.spans.retain(|span| span.begin <= now);
        match self.spans.last_mut() {
            Some(span) if now <= span.end.saturating_add(RESTART_S) => span.end = now,
            _ => self.begin_anew(now),
        }
    }

    fn begin_anew(&mut self, now: u64) {
        self.spans.retain(|span| span.begin <= now);
        if let Some(last) = self.spans.last_mut() {
            // By a clock that went back: no second counts twice.
            last.end = last.end.min(now);
        }
        self.spans.push(Span {
            begin: now,
            end: now,
        });
        let surplus = self.spans.len().saturating_sub(MAX_SPANS);
        self.spans.drain(..surplus);
    }

    /// These are the listeners.
    pub(super) fn set_listeners(&mut self, present: &BTreeMap<String, ListenerRecord>) {
        let before = std::mem::take(&mut self.listeners);
        self.listeners = present.clone();
        for (name, record) in &mut self.listeners {
            if let Some(earlier) = before.get(name).filter(|earlier| earlier.is_as(record)) {
                record.since_unix_s = earlier.since_unix_s;
            }
        }
    }

    pub(super) fn forget_before(&mut self, unix_s: u64) {
        self.spans.retain(|span| span.end >= unix_s);
        // Nobody can say any more what was seen before.
        for span in &mut self.spans {
            span.begin = span.begin.max(unix_s);
        }
    }

    /// What there was no room for.
    pub fn lost(&self) -> u64 {
        self.evicted.saturating_add(self.dropped)
    }

    /// For how long it was looked since `from`, as of `now`.
    pub fn since(&self, from: u64, now: u64) -> Duration {
        let seconds = self.spans.iter().map(|span| {
            let (begin, end) = (span.begin.max(from), span.end.min(now));
            end.saturating_sub(begin)
        });
        Duration::from_secs(seconds.fold(0, u64::saturating_add))
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks it so")]
fn is_unset(is_complete: &bool) -> bool {
    !is_complete
}

/// A restart, in which nobody was served either.
const RESTART_S: u64 = 60;
/// More than two starts a day for a month; the oldest go, which shows less than there was.
const MAX_SPANS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_in_which_nobody_looked_does_not_count() {
        let mut observed = Observed::default();
        for now in [1000, 1060, 1100, 1130] {
            observed.note(now);
        }
        assert_eq!(observed.since(0, 9000), Duration::from_secs(130));
        observed.note(5000);
        observed.note(5010);
        assert_eq!(observed.since(0, 9000), Duration::from_secs(140));
        assert_eq!(observed.since(1120, 9000), Duration::from_secs(20));
        assert_eq!(observed.since(6000, 9000), Duration::ZERO);
    }

    #[test]
    fn seconds_that_a_killed_process_took_with_it_do_not_count() {
        let restarted = |is_complete, now| {
            let mut observed = Observed::default();
            for now in [1000, 1030] {
                observed.note(now);
            }
            observed.is_complete = is_complete;
            observed.resume(now);
            assert!(!observed.is_complete, "what comes now is not written yet");
            observed.note(now + 10);
            (observed.since(0, u64::MAX).as_secs(), observed.spans.len())
        };
        assert_eq!(restarted(true, 1050), (60, 1));
        assert_eq!(restarted(false, 1050), (40, 2));
        assert_eq!(restarted(false, 1020), (30, 2), "no second twice");
        let mut empty = Observed::default();
        empty.resume(1000);
        assert_eq!(empty, Observed::default());
    }

    #[test]
    fn clock_that_leaps_makes_no_time() {
        let mut observed = Observed::default();
        for now in [9000, 9040, 9_000_000, 9_000_001] {
            observed.note(now);
        }
        let looked = |observed: &Observed| observed.since(0, u64::MAX).as_secs();
        assert_eq!(looked(&observed), 41, "nobody looked for a hundred days");
        assert_eq!(
            observed.since(0, 9050).as_secs(),
            40,
            "not in what is to come"
        );
        observed.note(9050);
        assert_eq!(looked(&observed), 50, "what was good before is good");
        observed.note(9010);
        assert_eq!(looked(&observed), 10);
        observed.note(100);
        assert_eq!(looked(&observed), 0);
    }

    #[test]
    fn time_of_which_everything_is_forgotten_was_not_watched() {
        let mut observed = Observed::default();
        for now in (0..=1200).step_by(30) {
            observed.note(now);
        }
        observed.forget_before(1000);
        assert_eq!(observed.since(0, 1200).as_secs(), 200);
    }

    #[test]
    fn numbers_of_a_file_are_any_numbers() {
        let whole = Span {
            begin: 0,
            end: u64::MAX,
        };
        let mut observed = Observed {
            spans: vec![whole, whole],
            evicted: u64::MAX,
            dropped: 1,
            ..Observed::default()
        };
        assert_eq!(observed.since(0, u64::MAX).as_secs(), u64::MAX);
        assert_eq!(observed.lost(), u64::MAX);
        observed.note(u64::MAX);
    }

    #[test]
    fn starts_without_end_take_no_room_without_end() {
        let mut observed = Observed::default();
        for start in 0..10_000 {
            observed.note(start * 1000);
        }
        assert_eq!(observed.spans.len(), MAX_SPANS);
    }

    #[test]
    fn listener_that_asks_for_something_else_begins_anew() {
        let record = |mode: &str, terms: &str, since_unix_s| ListenerRecord {
            address: "127.0.0.1:8443".to_owned(),
            client_certificate: mode.to_owned(),
            shadow: None,
            terms: Some(Fingerprint::of(terms.as_bytes())),
            since_unix_s,
        };
        let mut observed = Observed::default();
        for (mode, terms, now, since) in [
            ("off", "one", 10, 10),
            ("off", "one", 20, 10),
            ("request", "one", 30, 30),
            ("request", "other", 40, 40),
            ("request", "other", 50, 40),
        ] {
            let present = record(mode, terms, now);
            observed.set_listeners(&BTreeMap::from([("a".to_owned(), present)]));
            assert_eq!(observed.listeners["a"].since_unix_s, since);
        }
    }
}
