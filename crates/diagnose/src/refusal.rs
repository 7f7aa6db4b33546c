//! A connection or request turned away, told to the person who must fix it, and the id to find it by.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::cause::{Cause, Class};
use crate::evidence::{Evidence, printable, printable_again};

/// Why somebody was turned away. All of it is for the operator; a refused client gets [`Refusal::class`] and no more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The stable name of the fault.
    pub cause: Cause,
    #[serde(deserialize_with = "stored_text")]
    sentence: String,
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "stored_optional_text"
    )]
    fix: Option<String>,
    /// The facts that the cause was judged by.
    #[serde(default)]
    pub evidence: Evidence,
}

impl Refusal {
    /// The sentence is one line, lower case, without full stop, holding the values: `certificate of order-svc expired
    /// 3 h ago (not_after 2026-01-02T03:04:05Z, now 2026-01-02T06:04:05Z)`. Give values raw: it is escaped here, once,
    /// and cut to 1 KiB.
    pub fn new(cause: Cause, sentence: impl Into<String>, evidence: Evidence) -> Self {
        Self {
            cause,
            sentence: printable(sentence.into(), MAX_TEXT_BYTES),
            fix: None,
            evidence,
        }
    }

    /// Replaces the cause's general fix by one that names the file, the command or the value. Escaped and cut likewise.
    #[must_use]
    pub fn with_fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(printable(fix.into(), MAX_TEXT_BYTES));
        self
    }

    /// What happened, with the values.
    pub fn sentence(&self) -> &str {
        &self.sentence
    }

    /// What to do about it.
    pub fn fix(&self) -> &str {
        self.fix.as_deref().unwrap_or(self.cause.fix())
    }

    /// All that the refused client may learn.
    pub fn class(&self) -> Class {
        self.cause.class()
    }
}

/// What a person quotes to find a refusal again, such as `7f3a9c-0k2m8x`: the node that keeps it, then a sequence number
/// of that node in Crockford's base32.
///
/// Reading forgives what copying by hand does: upper case anywhere, `O` for 0 and `I` or `L` for 1 in the number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RefusalId {
    node: NodeShortId,
    sequence: u64,
}

impl RefusalId {
    /// The id of a node's `sequence`-th refusal.
    pub fn new(node: &NodeShortId, sequence: u64) -> Self {
        Self {
            node: node.clone(),
            sequence,
        }
    }

    /// The node that keeps the refusal.
    pub fn node(&self) -> &NodeShortId {
        &self.node
    }

    /// The refusal's number on that node.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }
}

impl FromStr for RefusalId {
    type Err = InvalidRefusalId;

    fn from_str(text: &str) -> Result<Self, InvalidRefusalId> {
        let (node, sequence) = text
            .split_once('-')
            .ok_or_else(|| InvalidRefusalId::NoHyphen {
                found: quoted(text),
            })?;
        Ok(Self {
            node: node.to_ascii_lowercase().parse()?,
            sequence: parse_sequence(sequence).ok_or_else(|| InvalidRefusalId::Sequence {
                found: quoted(sequence),
            })?,
        })
    }
}

impl fmt::Display for RefusalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-", self.node)?;
        (0..MAX_SEQUENCE_DIGITS)
            .rev()
            .map(|place| (place, self.sequence >> (place * BITS_PER_DIGIT)))
            .filter(|&(place, rest)| rest != 0 || place < MIN_SEQUENCE_DIGITS)
            .try_for_each(|(_, rest)| fmt::Write::write_char(f, digit(rest)))
    }
}

impl Serialize for RefusalId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RefusalId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// How a node calls itself in ids: 4 to 12 lower-case letters and digits, such as the first of its key's fingerprint.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeShortId(String);

impl NodeShortId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for NodeShortId {
    type Err = InvalidNodeShortId;

    fn from_str(text: &str) -> Result<Self, InvalidNodeShortId> {
        let is_digit = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        if (4..=12).contains(&text.len()) && text.bytes().all(is_digit) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidNodeShortId {
                found: quoted(text),
            })
        }
    }
}

impl fmt::Display for NodeShortId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that is no refusal id. What was found is escaped and cut.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidRefusalId {
    /// Node and number are not told apart.
    #[error("refusal id {found} has no hyphen between node and number")]
    NoHyphen {
        /// The whole text.
        found: String,
    },
    /// The part before the hyphen names no node.
    #[error(transparent)]
    Node(#[from] InvalidNodeShortId),
    /// The part after the hyphen is no number.
    #[error("number {found} of the refusal id is not 1 to 13 base32 digits below 2^64")]
    Sequence {
        /// The part after the hyphen.
        found: String,
    },
}

/// A text that cannot name a node.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("node id {found} is not 4 to 12 lower-case letters and digits")]
pub struct InvalidNodeShortId {
    /// The text that was read, escaped and cut.
    pub found: String,
}

fn stored_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    Ok(printable_again(&text, MAX_TEXT_BYTES))
}

fn stored_optional_text<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<String>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    Ok(text.map(|text| printable_again(&text, MAX_TEXT_BYTES)))
}

fn parse_sequence(text: &str) -> Option<u64> {
    if text.is_empty() || text.len() > MAX_SEQUENCE_DIGITS as usize {
        return None;
    }
    text.bytes().try_fold(0_u64, |number, b| {
        let read_as = match b.to_ascii_lowercase() {
            b'o' => b'0',
            b'i' | b'l' => b'1',
            other => other,
        };
        let value = (0..)
            .zip(CROCKFORD)
            .find(|&(_, &known)| known == read_as)?
            .0;
        number.checked_mul(32)?.checked_add(value)
    })
}

fn digit(number: u64) -> char {
    let lowest = usize::try_from(number % 32).expect("below 32");
    char::from(CROCKFORD[lowest])
}

fn quoted(text: &str) -> String {
    printable(text, MAX_QUOTED_BYTES)
}

/// Crockford's base32, in lower case: no i, l, o, u.
const CROCKFORD: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

const BITS_PER_DIGIT: u32 = 5;

/// A billion refusals before ids of a node grow.
const MIN_SEQUENCE_DIGITS: u32 = 6;

/// 13 × 5 bits hold 64.
const MAX_SEQUENCE_DIGITS: u32 = 13;

/// A sentence names two parties, two times and a path.
const MAX_TEXT_BYTES: usize = 1024;

/// Longer than any valid id, short enough for an error line.
const MAX_QUOTED_BYTES: usize = 64;

#[cfg(test)]
mod tests {
    use serde::de::IntoDeserializer;
    use serde::de::value::{Error as ValueError, MapDeserializer, StrDeserializer};

    use super::*;

    const SENTENCE: &str = "certificate of order-svc expired 3 h ago \
                            (not_after 2026-01-02T03:04:05Z, now 2026-01-02T06:04:05Z)";

    fn expired() -> Refusal {
        Refusal::new(Cause::LeafExpired, SENTENCE, Evidence::new())
    }

    fn reread(stored: &[(&str, &str)]) -> Result<Refusal, ValueError> {
        Refusal::deserialize(MapDeserializer::new(stored.iter().copied()))
    }

    #[test]
    fn refusal_speaks_with_its_cause() {
        let refusal = expired();
        assert_eq!(refusal.sentence(), SENTENCE);
        assert_eq!(
            refusal.fix(),
            "Renew the certificate and reload the process."
        );
        assert_eq!(refusal.class(), Class::Certificate);
        assert_eq!(refusal.with_fix("renew tls/a.pem").fix(), "renew tls/a.pem");
    }

    #[test]
    fn sentence_and_fix_are_one_bounded_printable_line() {
        let hostile = format!("name \u{202e}a\nb\\ {}", "x".repeat(64 << 10));
        let refusal = Refusal::new(Cause::NameMismatch, hostile.clone(), Evidence::new());
        let refusal = refusal.with_fix(hostile);
        for text in [refusal.sentence(), refusal.fix()] {
            assert!(text.starts_with(r"name \u{202e}a\u{a}b\\ xx"), "{text}");
            assert!(text.ends_with("x…"), "{text}");
            assert_eq!(text.len(), 1024);
        }
    }

    #[test]
    fn stored_sentence_is_not_escaped_twice() {
        let refusal = Refusal::new(Cause::NameMismatch, "a\0b\\", Evidence::new());
        let stored = [
            ("cause", "name-mismatch"),
            ("sentence", refusal.sentence()),
            ("later-field", "ignored"),
        ];
        assert_eq!(reread(&stored), Ok(refusal));
    }

    #[test]
    fn tampered_store_cannot_bring_raw_or_long_text_back() {
        let long = format!("\u{1b}[2J{}", "x".repeat(5000));
        let read = reread(&[("cause", "healthy"), ("sentence", &long)]).expect("readable");
        assert!(read.sentence().starts_with(r"\u{1b}[2Jxx"));
        assert_eq!(read.sentence().len(), 1024);
        assert!(reread(&[("cause", "no-such"), ("sentence", "x")]).is_err());
        assert!(reread(&[("cause", "healthy")]).is_err());
    }

    fn check_id(node: &str, sequence: u64, expected: &str) {
        let id = RefusalId::new(&node.parse().expect("a node id"), sequence);
        assert_eq!(id.to_string(), expected);
        assert_eq!(expected.parse(), Ok(id.clone()));
        assert_eq!(expected.to_uppercase().parse(), Ok(id.clone()));
        let deserializer: StrDeserializer<'_, ValueError> = expected.into_deserializer();
        assert_eq!(RefusalId::deserialize(deserializer), Ok(id));
    }

    #[test]
    fn ids_round_trip() {
        check_id("7f3a9c", 0, "7f3a9c-000000");
        check_id("7f3a9c", 20_009_245, "7f3a9c-0k2m8x");
        check_id("abcd", 31, "abcd-00000z");
        check_id("abcd", 32, "abcd-000010");
        check_id("abcd", (1 << 30) - 1, "abcd-zzzzzz");
        check_id("abcd", 1 << 30, "abcd-1000000");
        check_id("abcdefghijkl", u64::MAX, "abcdefghijkl-fzzzzzzzzzzzz");
    }

    #[test]
    fn id_copied_by_hand_is_understood() {
        let id: RefusalId = "7F3A9C-OIL".parse().expect("a forgiven id");
        assert_eq!(id.to_string(), "7f3a9c-000011");
    }

    #[test]
    fn what_is_no_id_is_refused() {
        for text in [
            "",
            "-",
            "abcd",
            "abcd-",
            "-000001",
            "abc-000001",
            "abcdefghijklm-000001",
            "abcd-00000u",
            "abcd-0000-1",
            "abcd- 00001",
            "abcd-00001\n",
            "ab_d-000001",
            "äbcd-000001",
            "abcd-00000é",
            "abcd-00000000000001",
            "abcd-g000000000000",
            "abcd-zzzzzzzzzzzzz",
        ] {
            assert!(text.parse::<RefusalId>().is_err(), "{text:?}");
        }
        assert!("ABCD".parse::<NodeShortId>().is_err());
    }

    #[test]
    fn error_quotes_what_it_found_safely() {
        let error = "ab\u{202e}d-1".parse::<RefusalId>().expect_err("not an id");
        let message = r"node id ab\u{202e}d is not 4 to 12 lower-case letters and digits";
        assert_eq!(error.to_string(), message);
        let error = "x"
            .repeat(1 << 20)
            .parse::<RefusalId>()
            .expect_err("not an id");
        assert!(error.to_string().len() < 200);
    }
}
