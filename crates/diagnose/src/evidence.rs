//! The facts behind a finding, safe to show anywhere.
//!
//! Values come from certificates, headers and files that a peer wrote. They are made harmless once, on entry, so that
//! logs, terminals, the console and JSON can print them as they are: one line, no control or invisible characters, no
//! way to reorder the text around them, no way to make a refusal large.

use std::borrow::Cow;
use std::fmt::{self, Display, Write};

use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Named facts in the order they were found: both times, both names, the path.
///
/// Invariant: every value is printable on one line and at most 512 bytes long, names are unique, and there are at most
/// 32 facts. What comes after the 32nd is dropped: the first facts are the ones the cause was judged by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    facts: Vec<(Cow<'static, str>, String)>,
}

impl Evidence {
    /// No facts yet.
    pub const fn new() -> Self {
        Self { facts: Vec::new() }
    }

    /// The same evidence with one more fact; see [`Evidence::push`].
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Display) -> Self {
        self.push(name, value);
        self
    }

    /// Adds a fact. Give the value raw: it is escaped and cut here, once. A name already present gets the new value.
    pub fn push(&mut self, name: &'static str, value: impl Display) {
        self.insert(Cow::Borrowed(name), printable(value, MAX_VALUE_BYTES));
    }

    /// The escaped value of a fact.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter()
            .find_map(|(known, value)| (known == name).then_some(value))
    }

    /// Names and escaped values, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.facts
            .iter()
            .map(|(name, value)| (name.as_ref(), value.as_str()))
    }

    fn insert(&mut self, name: Cow<'static, str>, value: String) {
        if let Some((_, present)) = self.facts.iter_mut().find(|(known, _)| *known == name) {
            *present = value;
        } else if self.facts.len() < MAX_FACTS {
            self.facts.push((name, value));
        }
    }
}

/// A map from name to value, in order.
impl Serialize for Evidence {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

/// Stored evidence is held to the same bounds as fresh evidence.
impl<'de> Deserialize<'de> for Evidence {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EvidenceVisitor)
    }
}

struct EvidenceVisitor;

impl<'de> Visitor<'de> for EvidenceVisitor {
    type Value = Evidence;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map from the names of facts to their values")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Evidence, A::Error> {
        let mut evidence = Evidence::new();
        while evidence.facts.len() < MAX_FACTS {
            let Some((name, value)) = map.next_entry::<String, String>()? else {
                return Ok(evidence);
            };
            evidence.insert(
                Cow::Owned(printable_again(&name, MAX_NAME_BYTES)),
                printable_again(&value, MAX_VALUE_BYTES),
            );
        }
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(evidence)
    }
}

/// `value` as one printable line of at most `max_bytes`: what cannot be seen becomes `\u{…}`, a backslash `\\`, and what
/// does not fit `…`. An escape is never cut in two.
pub(crate) fn printable(value: impl Display, max_bytes: usize) -> String {
    PrintableLine::new(max_bytes, r"\\").fill(value)
}

/// The same for text that went through [`printable`] before it was stored, whose backslashes begin escapes.
///
/// Changes nothing that [`printable`] wrote, and still lets nothing invisible through from a file that was tampered with.
pub(crate) fn printable_again(text: &str, max_bytes: usize) -> String {
    PrintableLine::new(max_bytes, r"\").fill(text)
}

struct PrintableLine {
    text: String,
    max_bytes: usize,
    backslash: &'static str,
    /// Where the text may be cut: the last end of a whole character or escape that leaves room for the ellipsis.
    cut_at: usize,
    is_full: bool,
}

impl PrintableLine {
    fn new(max_bytes: usize, backslash: &'static str) -> Self {
        Self {
            text: String::new(),
            max_bytes,
            backslash,
            cut_at: 0,
            is_full: false,
        }
    }

    fn fill(mut self, value: impl Display) -> String {
        // An error means that the line is full (or that the value gave up): what was written so far is the result.
        let _ = write!(self, "{value}");
        self.text
    }
}

impl Write for PrintableLine {
    /// Fails once the line is full, so that a huge value costs no more than what is kept of it.
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|c| self.write_char(c))
    }

    fn write_char(&mut self, c: char) -> fmt::Result {
        if self.is_full {
            return Err(fmt::Error);
        }
        match c {
            '\\' => self.text.push_str(self.backslash),
            visible if is_visible(visible) => self.text.push(visible),
            hidden => self.text.extend(hidden.escape_unicode()),
        }
        if self.text.len() > self.max_bytes {
            self.text.truncate(self.cut_at);
            self.text.push(ELLIPSIS);
            self.is_full = true;
            return Err(fmt::Error);
        }
        if self.text.len() + ELLIPSIS.len_utf8() <= self.max_bytes {
            self.cut_at = self.text.len();
        }
        Ok(())
    }
}

/// Whether the character shows itself, alone and in place.
///
/// The standard library's debug escape covers controls, format characters (bidi, zero-width), separators other than the
/// space, private use, unassigned, and combining marks, which draw over their neighbours. It lets through a few letters
/// and symbols that are drawn as nothing.
fn is_visible(c: char) -> bool {
    let is_quote = matches!(c, '\'' | '"');
    let is_blank = matches!(
        c,
        '\u{115f}' | '\u{1160}' | '\u{2800}' | '\u{3164}' | '\u{ffa0}'
    );
    is_quote || (!is_blank && c.escape_debug().len() == 1)
}

const ELLIPSIS: char = '…';

/// The longest judgement has a dozen facts; the rest is room for a chain's names. Bounds one stored refusal to 18 KiB.
const MAX_FACTS: usize = 32;

/// A DNS name has at most 253 bytes, a path usually less; SPIFFE IDs (2048) and long DNs are cut.
const MAX_VALUE_BYTES: usize = 512;

/// Names are written in this project's code; only a stored file could hold a longer one.
const MAX_NAME_BYTES: usize = 64;

#[cfg(test)]
mod tests {
    use serde::de::value::{Error as ValueError, MapDeserializer};

    use super::*;

    fn check(value: &str, expected: &str) {
        let evidence = Evidence::new().with("value", value);
        assert_eq!(evidence.get("value"), Some(expected));
        assert_eq!(reread(&[("value", expected)]), evidence, "stored and read");
    }

    fn reread(stored: &[(&str, &str)]) -> Evidence {
        let map = MapDeserializer::<_, ValueError>::new(stored.iter().copied());
        Evidence::deserialize(map).expect("a map of strings")
    }

    #[test]
    fn plain_values_stay_as_they_are() {
        check("", "");
        check(
            "CN=order svc, O=\"Ünïcode\" 株式会社 'x'",
            "CN=order svc, O=\"Ünïcode\" 株式会社 'x'",
        );
    }

    #[test]
    fn nul_and_newlines_are_escaped() {
        check(
            "bank.example\0.evil.example",
            r"bank.example\u{0}.evil.example",
        );
        check("a\r\nb\tc", r"a\u{d}\u{a}b\u{9}c");
        check("a\u{85}b\u{2028}c\u{2029}d", r"a\u{85}b\u{2028}c\u{2029}d");
    }

    #[test]
    fn terminal_sequences_are_escaped() {
        check("\u{1b}[31mred\u{1b}[0m", r"\u{1b}[31mred\u{1b}[0m");
        check("\u{9b}2J\u{7f}\u{8}", r"\u{9b}2J\u{7f}\u{8}");
    }

    #[test]
    fn reordering_and_invisible_characters_are_escaped() {
        check("a\u{202e}cod.exe", r"a\u{202e}cod.exe");
        check(
            "\u{2066}x\u{2069}\u{200f}\u{61c}",
            r"\u{2066}x\u{2069}\u{200f}\u{61c}",
        );
        check(
            "pay\u{200b}pal\u{200d}\u{feff}\u{ad}",
            r"pay\u{200b}pal\u{200d}\u{feff}\u{ad}",
        );
        check("a\u{a0}b\u{3164}\u{2800}", r"a\u{a0}b\u{3164}\u{2800}");
        check("z\u{335}\u{e0041}\u{fe0f}", r"z\u{335}\u{e0041}\u{fe0f}");
    }

    #[test]
    fn backslash_is_escaped_so_that_escapes_cannot_be_forged() {
        check(r"a\u{0}", r"a\\u{0}");
    }

    #[test]
    fn long_value_is_cut_with_an_ellipsis() {
        check(&"a".repeat(512), &"a".repeat(512));
        check(&"a".repeat(64 << 10), &format!("{}…", "a".repeat(509)));
    }

    #[test]
    fn cut_never_splits_an_escape_or_a_character() {
        // 5 bytes an escape: 101 of them and the ellipsis are 508 bytes, one more would be 513.
        check(
            &"\n".repeat(64 << 10),
            &format!("{}…", r"\u{a}".repeat(101)),
        );
        // 508 = 127 × 4, and 512 = 128 × 4 just fits.
        check(&"🔑".repeat(128), &"🔑".repeat(128));
        check(&"🔑".repeat(129), &format!("{}…", "🔑".repeat(127)));
        check(&"\\".repeat(1000), &format!("{}…", r"\\".repeat(254)));
    }

    #[test]
    fn value_that_never_ends_is_abandoned() {
        struct Endless;
        impl Display for Endless {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                loop {
                    f.write_str("again ")?;
                }
            }
        }
        let evidence = Evidence::new().with("value", Endless);
        assert!(
            evidence
                .get("value")
                .is_some_and(|value| value.ends_with('…'))
        );
    }

    #[test]
    fn facts_keep_their_order_and_a_repeated_name_its_place() {
        let evidence = Evidence::new()
            .with("now", 1)
            .with("not_after", 2)
            .with("now", 3);
        let facts: Vec<_> = evidence.iter().collect();
        assert_eq!(facts, [("now", "3"), ("not_after", "2")]);
    }

    #[test]
    fn only_the_first_thirty_two_facts_are_kept() {
        let names: Vec<String> = (0..100).map(|n| format!("fact_{n}")).collect();
        let stored: Vec<_> = names.iter().map(|name| (name.as_str(), "x")).collect();
        let evidence = reread(&stored);
        assert_eq!(evidence.iter().len(), 32);
        assert_eq!(evidence.get("fact_31"), Some("x"));
        assert_eq!(evidence.get("fact_32"), None);
        assert_eq!(evidence.clone().with("late", "x"), evidence);
    }

    #[test]
    fn tampered_store_cannot_bring_raw_or_long_text_back() {
        let long = "n".repeat(1000);
        let evidence = reread(&[("a\nb", "\u{1b}[2J"), (&long, &long)]);
        let facts: Vec<_> = evidence.iter().collect();
        assert_eq!(facts[0], (r"a\u{a}b", r"\u{1b}[2J"));
        assert!(facts[1].0.len() <= 64 && facts[1].1.len() <= 512);
    }
}
