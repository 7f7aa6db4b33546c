//! Known messages as they are met, line by line, with what their neighbours say of them.

use std::collections::BTreeMap;
use std::ops::Range;

use super::lines::Line;
use super::message::{Meaning, Product, Row, Side, Tells};
use super::pattern::Found;
use super::tables::{INDEX, ROWS};
use super::verify;
use crate::cause::Cause;
use crate::evidence::printable;

/// A known message, where it was first met.
#[derive(Debug)]
pub(super) struct Sighting {
    pub(super) product: Product,
    pub(super) row: &'static Row,
    pub(super) tells: Told,
    /// What the line itself says of whose log it is.
    pub(super) side: Option<Side>,
    pub(super) line_number: usize,
    /// Escaped and cut.
    pub(super) line: String,
    /// Escaped and cut, by name.
    pub(super) captures: Vec<(&'static str, String)>,
    /// At which depth of the chain, if that is known: 0 is the leaf.
    pub(super) depth: Option<u8>,
    /// The subject at that depth, escaped and cut.
    pub(super) subject: Option<String>,
    /// The numbers of all lines with it. There are no more of them than the text has bytes.
    pub(super) lines: Vec<usize>,
}

/// What a message says is wrong.
#[derive(Clone, Copy, Debug)]
pub(super) enum Told {
    Meaning(&'static Meaning),
    Cause(Cause),
}

impl Sighting {
    /// What was captured under a name.
    pub(super) fn capture(&self, name: &str) -> Option<&str> {
        self.captures
            .iter()
            .find_map(|(known, value)| (*known == name).then_some(value.as_str()))
    }
}

/// What tells sightings apart: the row, the side that its line names, depth, number.
type Key = (usize, Option<Side>, Option<u8>, Option<u8>, Option<Cause>);

/// All that was met so far.
#[derive(Debug, Default)]
pub(super) struct Sightings {
    met: BTreeMap<Key, Sighting>,
    /// Lines that say whose log they are in, in order.
    sides: Vec<(usize, Side)>,
    /// The last line that named a depth: its number, the depth, the subject there.
    depth: Option<(usize, u8, Option<String>)>,
}

impl Sightings {
    /// Reads a line.
    pub(super) fn look_at(&mut self, line: &Line) {
        let found = INDEX.find(&line.folded);
        if found
            .iter()
            .any(|(number, _)| matches!(ROWS[*number].1.tells, Tells::Well))
        {
            return;
        }
        let side = side_of(&found);
        if let Some(side) = side {
            self.sides.push((line.number, side));
        }
        let (depth, subject) = self.place_in_chain(&found, line);
        for (number, place) in said(&found) {
            self.sight(*number, place, line, side, depth, subject.as_deref());
        }
    }

    /// All messages, in the order in which they were first met.
    pub(super) fn into_messages(self) -> (Vec<Sighting>, Vec<(usize, Side)>) {
        let mut messages: Vec<_> = self.met.into_values().collect();
        messages.sort_by_key(|sighting| sighting.line_number);
        (messages, self.sides)
    }

    /// At which depth of the chain the line's messages are, and whose certificate is there: from the line itself, else
    /// from the one before, which `openssl s_client` prints for that.
    fn place_in_chain(
        &mut self,
        found: &[(usize, Found)],
        line: &Line,
    ) -> (Option<u8>, Option<String>) {
        let mut depth = None;
        let mut subject = None;
        for (number, place) in found {
            let number_of = |name| {
                place
                    .capture(name, &line.plain)
                    .and_then(|text| text.parse().ok())
            };
            depth = depth.or_else(|| number_of("depth"));
            subject = subject.or_else(|| {
                let text = place.capture("subject", &line.plain)?;
                Some(printable(text, MAX_VALUE_BYTES))
            });
            if let (Tells::Depth, Some(depth)) = (ROWS[*number].1.tells, depth) {
                self.depth = Some((line.number, depth, subject.clone()));
            }
        }
        match &self.depth {
            Some((number, known, of)) if depth.is_none() && line.number - number <= DEPTH_LINES => {
                (Some(*known), of.clone())
            }
            _ => (depth, subject),
        }
    }

    fn sight(
        &mut self,
        number: usize,
        place: &Found,
        line: &Line,
        side: Option<Side>,
        depth: Option<u8>,
        subject: Option<&str>,
    ) {
        let (product, row) = ROWS[number];
        let code = place
            .capture("code", &line.plain)
            .and_then(|code| code.parse().ok());
        let tells = match row.tells {
            Tells::Side(_) | Tells::Well | Tells::Depth => return,
            Tells::Fault(meaning) => Told::Meaning(meaning),
            Tells::Code => match code.and_then(verify::meaning) {
                Some(meaning) => Told::Meaning(meaning),
                None => return,
            },
            Tells::Slug => {
                let slug = place.capture("cause", &line.plain);
                match slug.and_then(|slug| slug.parse().ok()) {
                    None | Some(Cause::Healthy) => return,
                    Some(cause) => Told::Cause(cause),
                }
            }
        };
        let cause = match tells {
            Told::Cause(cause) => Some(cause),
            Told::Meaning(_) => None,
        };
        let key = (
            number,
            side,
            depth.map(|depth| depth.min(MAX_DEPTH)),
            code,
            cause,
        );
        if let Some(known) = self.met.get_mut(&key) {
            known.lines.push(line.number);
            return;
        }
        let shown =
            |range: &Range<usize>| printable(line.plain[range.clone()].trim(), MAX_VALUE_BYTES);
        let captures = place
            .captures
            .iter()
            .map(|(name, range)| (*name, shown(range)))
            .filter(|(_, value)| !value.is_empty())
            .collect();
        let sighting = Sighting {
            product,
            row,
            tells,
            side,
            line_number: line.number,
            line: printable(line.plain.trim(), MAX_SHOWN_BYTES),
            captures,
            depth,
            subject: subject.map(ToOwned::to_owned),
            lines: vec![line.number],
        };
        self.met.insert(key, sighting);
    }
}

/// The messages that a line is read by: the longest of those that overlap, and none that only wraps another, or gives
/// the number of what another names.
fn said(found: &[(usize, Found)]) -> impl Iterator<Item = &(usize, Found)> {
    let tells = |number: usize| ROWS[number].1.tells;
    let is_fault = move |number| !matches!(tells(number), Tells::Side(_) | Tells::Depth);
    let is_vague = move |number| match tells(number) {
        Tells::Fault(meaning) => meaning.is_wrapper,
        Tells::Code => true,
        _ => false,
    };
    let is_numbered = move |number| matches!(tells(number), Tells::Code);
    let is_exact = found
        .iter()
        .any(|(number, _)| is_fault(*number) && !is_vague(*number));
    let has_number = found.iter().any(|(number, _)| is_numbered(*number));
    found.iter().filter(move |(number, place)| {
        let is_covered = || {
            found
                .iter()
                .any(|(other, covering)| is_fault(*other) && place.is_inside(covering))
        };
        let is_outdone = is_vague(*number) && (is_exact || (has_number && !is_numbered(*number)));
        is_fault(*number) && !is_outdone && !is_covered()
    })
}

/// Whose log the line says it is in: the longest mark decides.
fn side_of(found: &[(usize, Found)]) -> Option<Side> {
    found
        .iter()
        .filter_map(|(number, place)| match ROWS[*number].1.tells {
            Tells::Side(side) => Some((place.span.len(), side)),
            _ => None,
        })
        .max_by_key(|(length, _)| *length)
        .map(|(_, side)| side)
}

/// `openssl s_client` prints the depth on the line before the error.
const DEPTH_LINES: usize = 1;

/// Deeper chains than any verifier takes count as one, so that a log cannot make sightings without end.
const MAX_DEPTH: u8 = 16;

/// A DNS name has at most 253 bytes.
const MAX_VALUE_BYTES: usize = 256;

/// Enough for the message and what stands before it.
const MAX_SHOWN_BYTES: usize = 400;
