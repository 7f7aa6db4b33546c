//! What the times in a message say: a clock that is far off is not a certificate that has ended.

use crate::cause::Cause;
use crate::log::message::{Confidence, Guess, either};
use crate::log::sighting::Sighting;

/// Guesses about validity, put right by the times that the message names.
pub(super) fn corrected(mut guesses: Vec<Guess>, sighting: &Sighting) -> Vec<Guess> {
    let time = |name| sighting.capture(name).and_then(unix_s);
    let Some(now) = time("now") else {
        return guesses;
    };
    let stamp = unix_s(&sighting.line);
    let is_strange = now < EARLIEST || stamp.is_some_and(|stamp| stamp.abs_diff(now) > ZONES);
    let is_far_before = time("not_before").is_some_and(|begin| begin - now > MONTH);
    let skew = either(Cause::ClockSkewLocal);
    if is_strange || is_far_before {
        for guess in &mut guesses {
            guess.confidence = guess.confidence.min(Confidence::Likely).weakened();
        }
        guesses.insert(0, skew.likely());
    } else {
        guesses.push(skew.possible());
    }
    guesses
}

/// The first time in a text, `2024-05-01T10:00:00Z` or `2024-05-01 10:00:00`, without regard to its zone.
fn unix_s(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    bytes.array_windows::<STAMP>().find_map(stamp)
}

fn stamp(text: &[u8; STAMP]) -> Option<i64> {
    let is_joint = |at: usize, allowed: &[u8]| allowed.contains(&text[at]);
    if !(is_joint(4, b"-/")
        && is_joint(7, b"-/")
        && is_joint(10, b"T ")
        && is_joint(13, b":")
        && is_joint(16, b":"))
    {
        return None;
    }
    let number = |from: usize, to: usize| {
        text[from..to].iter().try_fold(0_i64, |sum, byte| {
            byte.is_ascii_digit()
                .then(|| sum * 10 + i64::from(byte - b'0'))
        })
    };
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    // Days since 1970 in the proleptic Gregorian calendar, with years that begin in March (Hinnant, chrono algorithms).
    let (year, month) = if month <= 2 {
        (year - 1, month + 9)
    } else {
        (year, month - 3)
    };
    let days =
        year * 365 + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 719_469;
    Some(days * 86_400 + hour * 3600 + minute * 60 + second)
}

/// The length of `2024-05-01T10:00:00`.
const STAMP: usize = 19;

/// 2016-01-01: clocks without a battery begin at 1970, 2000 or the day their firmware was made.
const EARLIEST: i64 = 1_451_606_400;

/// Two zones are at most 26 hours apart (UTC−12 and UTC+14).
const ZONES: u64 = 26 * 3600;

/// Nobody installs a certificate a month before it begins.
const MONTH: i64 = 30 * 86_400;

#[cfg(test)]
mod tests {
    use super::unix_s;

    fn check(text: &str, expected: Option<i64>) {
        assert_eq!(unix_s(text), expected, "{text:?}");
    }

    #[test]
    fn time_is_found_in_a_line() {
        check("1970-01-01T00:00:00Z", Some(0));
        check("2024/05/01 10:00:00 http: TLS", Some(1_714_557_600));
        check("at 2000-02-29T23:59:59+02:00", Some(951_868_799));
        check("May 1 10:00:00 2024", None);
        check("2024-05-01", None);
        check("", None);
    }
}
