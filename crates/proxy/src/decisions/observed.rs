//! For how long it was looked at all, which is what a count means.

use std::collections::BTreeMap;
use std::time::Duration;

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
    /// Since when this is so.
    pub since_unix_s: u64,
}

impl ListenerRecord {
    fn is_as(&self, other: &Self) -> bool {
        self.client_certificate == other.client_certificate && self.shadow == other.shadow
    }
}

impl Observed {
    /// Somebody looked until `now`; `is_first`: and nobody did before in this process.
    pub(super) fn note(&mut self, now: u64, is_first: bool) {
        match self.spans.last_mut() {
            Some(span) if now >= span.begin && (!is_first || now <= span.end + RESTART_S) => {
                span.end = span.end.max(now);
            }
            // A clock that went back: what was seen before is no measure any more.
            Some(span) if now < span.begin => {
                self.spans = vec![Span {
                    begin: now,
                    end: now,
                }];
            }
            _ => self.spans.push(Span {
                begin: now,
                end: now,
            }),
        }
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
    }

    /// For how long it was looked since `from`.
    pub fn since(&self, from: u64) -> Duration {
        let seconds = self.spans.iter().map(|span| {
            let begin = span.begin.max(from);
            span.end.saturating_sub(begin)
        });
        Duration::from_secs(seconds.sum())
    }
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
        observed.note(1000, true);
        observed.note(1100, false);
        observed.note(1130, true);
        assert_eq!(observed.since(0), Duration::from_secs(130));
        observed.note(5000, true);
        observed.note(5010, false);
        assert_eq!(observed.since(0), Duration::from_secs(140));
        assert_eq!(observed.since(1120), Duration::from_secs(20));
        assert_eq!(observed.since(6000), Duration::ZERO);
    }

    #[test]
    fn clock_that_went_back_is_no_measure() {
        let mut observed = Observed::default();
        observed.note(9000, true);
        observed.note(9500, false);
        observed.note(100, false);
        assert_eq!(observed.since(0), Duration::ZERO);
    }

    #[test]
    fn starts_without_end_take_no_room_without_end() {
        let mut observed = Observed::default();
        for start in 0..10_000 {
            observed.note(start * 1000, true);
        }
        assert_eq!(observed.spans.len(), MAX_SPANS);
    }

    #[test]
    fn listener_that_asks_for_something_else_begins_anew() {
        let record = |mode: &str, since_unix_s| ListenerRecord {
            address: "127.0.0.1:8443".to_owned(),
            client_certificate: mode.to_owned(),
            shadow: None,
            since_unix_s,
        };
        let mut observed = Observed::default();
        for (mode, now, since) in [("off", 10, 10), ("off", 20, 10), ("request", 30, 30)] {
            observed.set_listeners(&BTreeMap::from([("a".to_owned(), record(mode, now))]));
            assert_eq!(observed.listeners["a"].since_unix_s, since);
        }
    }
}
