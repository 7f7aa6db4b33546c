//! Finds which of hundreds of messages a line holds, in one pass.
//!
//! Each message is looked for only in lines that hold four bytes of it which few other messages hold. A message is then
//! compared piece by piece, each at its first place behind the last: with gaps of any length that finds it wherever it
//! is, without going back.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;

use super::lines::folded;

/// The words of a message, ready to be looked for.
#[derive(Debug)]
pub(super) struct Pattern {
    /// Literal text, and the name of what is captured behind it.
    pieces: Vec<(String, Option<&'static str>)>,
}

/// Where a message stands in a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// From its first word to its last.
    pub(super) span: Range<usize>,
    /// How many bytes of it are words, not gaps.
    pub(super) words: usize,
    /// Names and places of what was captured.
    pub(super) captures: Vec<(&'static str, Range<usize>)>,
}

impl Found {
    /// What was captured under a name, of the line as it is shown.
    pub(super) fn capture<'a>(&self, name: &str, plain: &'a str) -> Option<&'a str> {
        let (_, range) = self.captures.iter().find(|(known, _)| *known == name)?;
        Some(plain[range.clone()].trim())
    }

    /// Whether another message covers this one and more.
    pub(super) fn is_inside(&self, other: &Self) -> bool {
        other.span.start <= self.span.start
            && self.span.end <= other.span.end
            && (other.span.len(), other.words) > (self.span.len(), self.words)
    }
}

impl Pattern {
    pub(super) fn new(words: &'static str) -> Self {
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut rest = words;
        while let Some(at) = rest.find('{') {
            let name = rest[at + 1..]
                .find('}')
                .map(|length| &rest[at + 1..at + 1 + length])
                .filter(|name| {
                    name.bytes()
                        .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
                });
            let Some(name) = name else {
                literal.push_str(&rest[..=at]);
                rest = &rest[at + 1..];
                continue;
            };
            literal.push_str(&rest[..at]);
            let capture = (!name.is_empty()).then_some(name);
            pieces.push((folded(&std::mem::take(&mut literal)), capture));
            rest = &rest[at + name.len() + 2..];
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            pieces.push((folded(&literal), None));
        }
        Self { pieces }
    }

    /// Its first place in a folded line, if that is not part of longer words.
    pub(super) fn find(&self, line: &str) -> Option<Found> {
        let mut captures = Vec::new();
        let mut begin = None;
        let mut end = 0;
        let mut open: Option<&'static str> = None;
        for (literal, capture) in &self.pieces {
            let at = end + line[end..].find(literal.as_str())?;
            if let Some(name) = open {
                captures.push((name, end..at));
            }
            begin.get_or_insert(at);
            end = at + literal.len();
            open = *capture;
        }
        let begin = begin.unwrap_or(0);
        if is_inside_a_word(line, begin) || (open.is_none() && is_inside_a_word(line, end)) {
            return None;
        }
        if let Some(name) = open {
            captures.push((name, end..end + last_capture(name, &line[end..])));
        }
        Some(Found {
            span: begin..end,
            words: self.pieces.iter().map(|(literal, _)| literal.len()).sum(),
            captures,
        })
    }

    /// Whether it begins with words, and has four bytes to be found by.
    #[cfg(test)]
    pub(super) fn can_be_found(&self) -> bool {
        !self.pieces[0].0.is_empty() && self.grams().next().is_some()
    }

    fn grams(&self) -> impl Iterator<Item = [u8; GRAM]> + '_ {
        self.pieces
            .iter()
            .flat_map(|(literal, _)| grams(literal.as_bytes()))
    }
}

/// Whether there are letters on both sides of a place.
fn is_inside_a_word(line: &str, at: usize) -> bool {
    let is_letter = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphabetic);
    let bytes = line.as_bytes();
    is_letter(at.checked_sub(1).and_then(|before| bytes.get(before))) && is_letter(bytes.get(at))
}

/// Where a capture at the end of a message ends.
fn last_capture(name: &str, rest: &str) -> usize {
    let is_list = matches!(name, "names" | "subject");
    rest.find(|c| matches!(c, '"' | ';' | ')' | ']' | '}' | '|' | '<') || (c == ',' && !is_list))
        .unwrap_or(rest.len())
}

/// Which messages to look for, by four bytes of each.
#[derive(Debug)]
pub(super) struct Index {
    patterns: Vec<Pattern>,
    by_gram: HashMap<[u8; GRAM], Vec<u16>>,
    /// Whether a gram may be in `by_gram`, by its hash.
    filter: Vec<bool>,
}

impl Index {
    pub(super) fn new(patterns: Vec<Pattern>) -> Self {
        let mut holders: HashMap<[u8; GRAM], u32> = HashMap::new();
        for gram in patterns.iter().flat_map(Pattern::grams) {
            *holders.entry(gram).or_default() += 1;
        }
        let mut by_gram: HashMap<[u8; GRAM], Vec<u16>> = HashMap::new();
        let mut filter = vec![false; FILTER];
        for (number, pattern) in patterns.iter().enumerate() {
            let number = u16::try_from(number).expect("there are hundreds of messages");
            let rarest = pattern
                .grams()
                .min_by_key(|gram| (holders[gram], *gram))
                .expect("every message has four letters, by a test");
            by_gram.entry(rarest).or_default().push(number);
            filter[hash(rarest)] = true;
        }
        Self {
            patterns,
            by_gram,
            filter,
        }
    }

    /// The messages in a folded line, with their numbers.
    pub(super) fn find(&self, line: &str) -> Vec<(usize, Found)> {
        let mut numbers = BTreeSet::new();
        for gram in grams(line.as_bytes()) {
            if self.filter[hash(gram)]
                && let Some(holders) = self.by_gram.get(&gram)
            {
                numbers.extend(holders.iter().copied());
            }
        }
        numbers
            .into_iter()
            .map(usize::from)
            .filter_map(|number| Some((number, self.patterns[number].find(line)?)))
            .collect()
    }
}

fn grams(bytes: &[u8]) -> impl Iterator<Item = [u8; GRAM]> + '_ {
    bytes.array_windows::<GRAM>().copied()
}

/// Fibonacci hashing: the upper bits of a product with 2^32 divided by the golden ratio.
const fn hash(gram: [u8; GRAM]) -> usize {
    (u32::from_le_bytes(gram).wrapping_mul(0x9e37_79b1) >> (u32::BITS - FILTER.ilog2())) as usize
}

/// Short enough for every message, long enough to be rare.
const GRAM: usize = 4;

/// A hundred times as many as there are messages, so that few other grams pass.
const FILTER: usize = 1 << 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(words: &'static str, line: &str, expected: Option<&[&str]>) {
        let captured = Pattern::new(words).find(&folded(line)).map(|found| {
            let text = |(_, range): &(_, Range<usize>)| line[range.clone()].to_owned();
            found.captures.iter().map(text).collect::<Vec<_>>()
        });
        let expected =
            expected.map(|values| values.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(captured, expected, "{words:?} in {line:?}");
    }

    #[test]
    fn captures_stand_between_the_words() {
        check(
            "error {code} at {depth} depth",
            "error 20 at 1 depth lookup",
            Some(&["20", "1"]),
        );
        check(
            "valid for {names}, not {host}",
            "valid for A.test, b.test, not c.test\"",
            Some(&["A.test, b.test", "c.test"]),
        );
        check("a {} z", "a b c z", Some(&[]));
        check(
            "{tls_alert,{unknown_ca",
            "{error,{tls_alert,{unknown_ca,",
            Some(&[]),
        );
    }

    #[test]
    fn case_and_joints_do_not_count() {
        check(
            "self-signed certificate",
            "SELF_SIGNED_CERTIFICATE",
            Some(&[]),
        );
        check("self-signed certificate", "selfsigned certificate", None);
    }

    #[test]
    fn words_in_another_order_do_not_match() {
        check("alpha {x} omega", "omega alpha", None);
        check("alpha", "alph", None);
    }

    #[test]
    fn part_of_a_word_is_not_the_word() {
        check("alert unknown ca", "alert unknown cached", None);
        check("alert unknown ca", "tlsv1 alert unknown ca:SSL", Some(&[]));
        check("x509: bad", r"first\nx509: bad", Some(&[]));
        check("size = 36", "size = 369", Some(&[]));
    }

    #[test]
    fn index_finds_each_message_of_a_line() {
        let words = ["certificate has expired", "certificate revoked"];
        let index = Index::new(words.map(Pattern::new).into());
        let numbers = |line| {
            let found = index.find(line);
            found
                .into_iter()
                .map(|(number, _)| number)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            numbers("certificate revoked, certificate has expired"),
            [0, 1]
        );
        assert_eq!(numbers("certificate has expired"), [0]);
        assert_eq!(numbers("certificate has"), [0_usize; 0]);
    }
}
