//! Lengths of time and sizes as people write them: `"8h"`, `"16KiB"`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A length of time in whole seconds, written `"30d"`, `"1h30m"`, `"10s"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TimeSpan(Duration);

impl TimeSpan {
    /// That many seconds.
    pub const fn from_seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// As the standard library has it.
    pub const fn duration(self) -> Duration {
        self.0
    }
}

impl fmt::Display for TimeSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let (unit, length) = [("d", 86_400), ("h", 3600), ("m", 60)]
            .into_iter()
            .find(|&(_, length)| seconds >= length && seconds.is_multiple_of(length))
            .unwrap_or(("s", 1));
        write!(f, "{}{unit}", seconds / length)
    }
}

impl FromStr for TimeSpan {
    type Err = InvalidDuration;

    fn from_str(text: &str) -> Result<Self, InvalidDuration> {
        parse_duration(text).map(Self)
    }
}

impl TryFrom<String> for TimeSpan {
    type Error = InvalidDuration;

    fn try_from(text: String) -> Result<Self, InvalidDuration> {
        text.parse()
    }
}

impl From<TimeSpan> for String {
    fn from(span: TimeSpan) -> Self {
        span.to_string()
    }
}

impl JsonSchema for TimeSpan {
    fn schema_name() -> Cow<'static, str> {
        "TimeSpan".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^([0-9]+[smhdwy])+$", "examples": ["8h", "1h30m"] })
    }
}

/// A length of time as people write it: `90d`, `8h`, `1h30m`, `45s`, `2w`, `10y` (365 days).
pub fn parse_duration(text: &str) -> Result<Duration, InvalidDuration> {
    let invalid = || InvalidDuration {
        text: text.chars().take(64).collect(),
    };
    let mut total: u64 = 0;
    let mut rest = text;
    if rest.is_empty() {
        return Err(invalid());
    }
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = rest[..digits].parse().map_err(|_| invalid())?;
        let unit = rest[digits..].chars().next().ok_or_else(invalid)?;
        let seconds = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86_400,
            'w' => 7 * 86_400,
            'y' => 365 * 86_400,
            _ => return Err(invalid()),
        };
        let part = number.checked_mul(seconds).ok_or_else(invalid)?;
        total = total.checked_add(part).ok_or_else(invalid)?;
        rest = &rest[digits + unit.len_utf8()..];
    }
    Ok(Duration::from_secs(total))
}

/// The text is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a duration such as 90d, 8h, 1h30m or 45s")]
pub struct InvalidDuration {
    text: String,
}

/// A number of bytes, written `"64MiB"`, `"16KiB"`, `"512B"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ByteSize(u64);

impl ByteSize {
    /// That many bytes.
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// The number of bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, size) = UNITS
            .into_iter()
            .find(|&(_, size)| self.0 >= size && self.0.is_multiple_of(size))
            .unwrap_or(("B", 1));
        write!(f, "{}{unit}", self.0 / size)
    }
}

impl FromStr for ByteSize {
    type Err = InvalidByteSize;

    fn from_str(text: &str) -> Result<Self, InvalidByteSize> {
        let invalid = || InvalidByteSize {
            text: text.chars().take(40).collect(),
        };
        let digits = text
            .find(|c: char| !c.is_ascii_digit())
            .ok_or_else(invalid)?;
        let (number, unit) = text.split_at(digits);
        let (_, size) = UNITS
            .into_iter()
            .find(|(name, _)| *name == unit)
            .ok_or_else(invalid)?;
        let number: u64 = number.parse().map_err(|_| invalid())?;
        number.checked_mul(size).map(Self).ok_or_else(invalid)
    }
}

impl TryFrom<String> for ByteSize {
    type Error = InvalidByteSize;

    fn try_from(text: String) -> Result<Self, InvalidByteSize> {
        text.parse()
    }
}

impl From<ByteSize> for String {
    fn from(size: ByteSize) -> Self {
        size.to_string()
    }
}

impl JsonSchema for ByteSize {
    fn schema_name() -> Cow<'static, str> {
        "ByteSize".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9]+(B|KiB|MiB|GiB)$", "examples": ["16KiB", "64MiB"] })
    }
}

/// The text is no size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a size such as 512B, 16KiB, 64MiB or 1GiB")]
pub struct InvalidByteSize {
    /// What was found, cut to 40 characters.
    pub text: String,
}

const UNITS: [(&str, u64); 4] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_round_trip() {
        for (text, shown) in [
            ("30d", "30d"),
            ("1h", "1h"),
            ("1h30m", "90m"),
            ("75s", "75s"),
            ("1d1s", "86401s"),
            ("0s", "0s"),
        ] {
            let span: TimeSpan = text.parse().expect("a span");
            assert_eq!(span.to_string(), shown);
            assert_eq!(shown.parse(), Ok(span), "{text}");
        }
        for (text, bytes) in [
            ("64MiB", 64 << 20),
            ("16KiB", 16384),
            ("1GiB", 1 << 30),
            ("513B", 513),
            ("0B", 0),
        ] {
            let size: ByteSize = text.parse().expect("a size");
            assert_eq!((size.bytes(), size.to_string().as_str()), (bytes, text));
        }
    }

    #[test]
    fn durations_are_read_in_every_unit_and_nothing_else() {
        assert_eq!(parse_duration("1h30m"), Ok(Duration::from_mins(90)));
        assert_eq!(
            parse_duration("10y"),
            Ok(Duration::from_hours(10 * 365 * 24))
        );
        for text in [
            "",
            "h",
            "10",
            "10x",
            "-1d",
            "1 d",
            "99999999999999999999d",
            "999999999999999999y",
        ] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in [
            "",
            "B",
            "12",
            "1MB",
            "1mib",
            "-1B",
            "1.5MiB",
            "99999999999GiB",
            "1 MiB",
        ] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
    }
}
