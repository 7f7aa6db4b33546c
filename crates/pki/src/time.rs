//! Points in time as certificates know them: whole seconds, always given by the caller.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Seconds since 1970-01-01T00:00:00Z, up to the end of year 9999 (the last that X.509 can write).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct UnixTime(u64);

impl UnixTime {
    /// 9999-12-31T23:59:59Z, "no well-defined expiration" of RFC 5280 §4.1.2.5.
    pub const MAX: Self = Self(253_402_300_799);

    /// Clamps to [`UnixTime::MAX`].
    pub const fn from_seconds(seconds: u64) -> Self {
        if seconds > Self::MAX.0 {
            Self::MAX
        } else {
            Self(seconds)
        }
    }

    /// Seconds since the Unix epoch.
    pub const fn seconds(self) -> u64 {
        self.0
    }

    /// Saturates at [`UnixTime::MAX`].
    #[must_use]
    pub const fn plus(self, duration: Duration) -> Self {
        Self::from_seconds(self.0.saturating_add(duration.as_secs()))
    }

    /// Saturates at the epoch.
    #[must_use]
    pub const fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(duration.as_secs()))
    }

    /// Zero when `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_secs(self.0.saturating_sub(earlier.0))
    }
}

impl TryFrom<u64> for UnixTime {
    type Error = TooLate;

    /// What somebody else wrote is refused where it is too late, and not clamped: it is no time that we ever said.
    fn try_from(seconds: u64) -> Result<Self, TooLate> {
        if seconds > Self::MAX.0 {
            Err(TooLate { seconds })
        } else {
            Ok(Self(seconds))
        }
    }
}

impl From<UnixTime> for u64 {
    fn from(time: UnixTime) -> Self {
        time.0
    }
}

impl fmt::Display for UnixTime {
    /// RFC 3339 in UTC, to the second.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, rest) = (self.0 / 86_400, self.0 % 86_400);
        let (year, month, day) = civil_from_days(days);
        let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z"
        )
    }
}

impl FromStr for UnixTime {
    type Err = InvalidTime;

    /// Accepts RFC 3339 in UTC (`2026-01-02T03:04:05Z`).
    fn from_str(text: &str) -> Result<Self, InvalidTime> {
        parse_rfc3339(text).ok_or_else(|| InvalidTime {
            text: text.chars().take(64).collect(),
        })
    }
}

/// After the last second that X.509 can write.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{seconds} seconds are after the end of year 9999")]
pub struct TooLate {
    seconds: u64,
}

/// The text is not an RFC 3339 time in UTC.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a time such as 2026-01-02T03:04:05Z")]
pub struct InvalidTime {
    text: String,
}

/// A length of time in the two largest units that matter: `89 d 4 h`, `3 h`, `45 s`.
pub fn spoken(duration: Duration) -> String {
    const UNITS: [(u64, &str); 5] = [
        (365 * 86_400, "y"),
        (86_400, "d"),
        (3600, "h"),
        (60, "min"),
        (1, "s"),
    ];
    let mut rest = duration.as_secs();
    let mut parts = Vec::new();
    for (size, unit) in UNITS {
        if rest >= size && parts.len() < 2 {
            parts.push(format!("{} {unit}", rest / size));
            rest %= size;
        } else if !parts.is_empty() {
            break;
        }
    }
    if parts.is_empty() {
        "0 s".to_owned()
    } else {
        parts.join(" ")
    }
}

/// Howard Hinnant's civil-from-days, for days since the epoch.
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let z = days + 719_468;
    let era = z / 146_097;
    let doe = z % 146_097;
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = doy - (153 * mp + 2) / 5 + 1;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    (yoe + era * 400 + u64::from(month <= 2), month, day)
}

fn days_from_civil(year: u64, month: u64, day: u64) -> Option<u64> {
    let year = year - u64::from(month <= 2);
    let (era, yoe) = (year / 400, year % 400);
    let doy = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    let doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    (era * 146_097 + doe).checked_sub(719_468)
}

fn parse_rfc3339(text: &str) -> Option<UnixTime> {
    let bytes = text.as_bytes();
    let separators = [
        (4, b'-'),
        (7, b'-'),
        (10, b'T'),
        (13, b':'),
        (16, b':'),
        (19, b'Z'),
    ];
    if bytes.len() != 20 || separators.iter().any(|&(at, byte)| bytes[at] != byte) {
        return None;
    }
    let number = |range: std::ops::Range<usize>| -> Option<u64> {
        let part = bytes.get(range)?;
        part.iter().try_fold(0, |sum, byte| {
            byte.is_ascii_digit()
                .then(|| sum * 10 + u64::from(byte - b'0'))
        })
    };
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    let valid = year >= 1970
        && (1..=12).contains(&month)
        && day >= 1
        && hour < 24
        && minute < 60
        && second < 60;
    if !valid {
        return None;
    }
    let days = days_from_civil(year, month, day)?;
    // A day that the month does not have comes back as another date.
    (civil_from_days(days) == (year, month, day))
        .then(|| UnixTime(days * 86_400 + hour * 3600 + minute * 60 + second))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_round_trip_as_rfc3339() {
        for text in [
            "1970-01-01T00:00:00Z",
            "2000-02-29T12:34:56Z",
            "2026-11-22T00:00:01Z",
            "9999-12-31T23:59:59Z",
        ] {
            assert_eq!(
                text.parse::<UnixTime>().map(|time| time.to_string()),
                Ok(text.to_owned())
            );
        }
    }

    #[test]
    fn impossible_times_are_rejected() {
        for text in [
            "",
            "2026-02-30T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01 00:00:00Z",
            "1969-12-31T23:59:59Z",
            "2026-01-01T00:00:00+01:00",
        ] {
            assert!(text.parse::<UnixTime>().is_err(), "{text}");
        }
    }

    #[test]
    fn number_of_somebody_else_is_no_time_after_the_last_that_there_is() {
        let read = |number: &str| serde_json::from_str::<UnixTime>(number).ok();
        assert_eq!(read("253402300799"), Some(UnixTime::MAX));
        for number in ["253402300800", "18446744073709551615", "-1", "1.5", "\"1\""] {
            assert_eq!(read(number), None, "{number}");
        }
        assert_eq!(
            serde_json::to_string(&UnixTime::MAX).ok().as_deref(),
            Some("253402300799")
        );
    }

    #[test]
    fn durations_are_spoken_in_two_units() {
        assert_eq!(
            spoken(Duration::from_secs(89 * 86_400 + 4 * 3600 + 59)),
            "89 d 4 h"
        );
        assert_eq!(spoken(Duration::from_secs(86_401)), "1 d");
        assert_eq!(spoken(Duration::ZERO), "0 s");
    }
}
