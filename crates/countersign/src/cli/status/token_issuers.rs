//! Issuers of tokens: whether their keys are there, and since when.

use std::fmt::Write as _;
use std::time::Duration;

use countersign_pki::time::{UnixTime, spoken};
use serde::{Deserialize, Serialize};

use super::counted;
use crate::output::escaped;

/// An issuer, as the gateway tells of it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct TokenIssuerView {
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    keys: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fetched_unix_s: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    age_s: Option<u64>,
    failures: u64,
    usable: bool,
}

impl TokenIssuerView {
    /// For people.
    pub(super) fn text(&self) -> String {
        let mut text = format!("{}: {}", self.name, counted(self.keys, "key"));
        match (&self.url, self.fetched_unix_s, self.age_s) {
            (None, ..) => text.push_str(" from a file"),
            (Some(url), Some(at), Some(age_s)) => {
                let _ = write!(
                    text,
                    " from {}, fetched {} ({} ago)",
                    escaped(url),
                    UnixTime::from_seconds(at),
                    spoken(Duration::from_secs(age_s))
                );
            }
            (Some(url), ..) => {
                let _ = write!(text, " from {}, never fetched", escaped(url));
            }
        }
        if self.failures > 0 {
            let _ = write!(text, ", {} failed", counted_attempts(self.failures));
        }
        if !self.usable {
            text.push_str("; STALE: every token of it is refused");
        }
        text
    }
}

fn counted_attempts(number: u64) -> String {
    counted(usize::try_from(number).unwrap_or(usize::MAX), "attempt")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_do_not_count_are_called_stale() {
        let check = |json: &str, expected: &str| {
            let view: TokenIssuerView = serde_json::from_str(json).expect("JSON");
            assert_eq!(view.text(), expected);
        };
        check(
            r#"{"name":"corp","keys":2,"failures":0,"usable":true}"#,
            "corp: 2 keys from a file",
        );
        check(
            r#"{"name":"corp","url":"https://id/k","keys":1,"fetched_unix_s":1700000000,"age_s":90,"failures":0,"usable":true}"#,
            "corp: 1 key from https://id/k, fetched 2023-11-14T22:13:20Z (1 min 30 s ago)",
        );
        check(
            r#"{"name":"corp","url":"https://id/k","keys":1,"fetched_unix_s":1700000000,"age_s":90000,"failures":3,"usable":false}"#,
            "corp: 1 key from https://id/k, fetched 2023-11-14T22:13:20Z (1 d 1 h ago), 3 attempts failed; STALE: every token of it is refused",
        );
        check(
            r#"{"name":"corp","url":"https://id/k","keys":0,"failures":1,"usable":false}"#,
            "corp: 0 keys from https://id/k, never fetched, 1 attempt failed; STALE: every token of it is refused",
        );
    }
}
