//! Known messages as they are met, line by line, with what their neighbours say of them.

use std::collections::BTreeMap;

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
    pub(super) count: usize,
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
    depth: Option<DepthLine>,
}

/// The last line that named a depth.
#[derive(Debug)]
struct DepthLine {
    number: usize,
    depth: u8,
    subject: Option<String>,
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
        let faults: Vec<_> = found
            .iter()
            .filter(|(number, _)| !matches!(ROWS[*number].1.tells, Tells::Side(_)))
            .collect();
        let names_error =
            |(number, _): &&(usize, Found)| matches!(ROWS[*number].1.tells, Tells::Fault(_));
        let is_named = faults.iter().any(|fault| names_error(fault));
        for (number, place) in &faults {
            let is_number = matches!(ROWS[*number].1.tells, Tells::Code);
            let is_covered = faults.iter().any(|(_, other)| place.is_inside(other));
            if !is_covered && !(is_number && is_named) {
                self.sight(*number, place, line, side);
            }
        }
    }

    /// All messages, in the order in which they were first met.
    pub(super) fn into_messages(self) -> (Vec<Sighting>, Vec<(usize, Side)>) {
        let mut messages: Vec<_> = self.met.into_values().collect();
        messages.sort_by_key(|sighting| sighting.line_number);
        (messages, self.sides)
    }

    fn sight(&mut self, number: usize, place: &Found, line: &Line, side: Option<Side>) {
        let (product, row) = ROWS[number];
        let captured = |name| {
            place.captures.iter().find_map(|(known, range)| {
                (*known == name).then(|| line.plain[range.clone()].trim())
            })
        };
        let code = captured("code").and_then(|code| code.parse().ok());
        let tells = match row.tells {
            Tells::Side(_) | Tells::Well => return,
            Tells::Depth => {
                self.depth = captured("depth")
                    .and_then(|depth| depth.parse().ok())
                    .map(|depth| DepthLine {
                        number: line.number,
                        depth,
                        subject: captured("subject").map(|text| printable(text, MAX_VALUE_BYTES)),
                    });
                return;
            }
            Tells::Fault(meaning) => Told::Meaning(meaning),
            Tells::Code => match code.and_then(verify::meaning) {
                Some(meaning) => Told::Meaning(meaning),
                None => return,
            },
            Tells::Slug => match captured("cause").and_then(|slug| slug.parse().ok()) {
                None | Some(Cause::Healthy) => return,
                Some(cause) => Told::Cause(cause),
            },
        };
        let near = self
            .depth
            .as_ref()
            .filter(|depth| line.number - depth.number <= DEPTH_LINES);
        let depth = captured("depth")
            .and_then(|depth| depth.parse().ok())
            .or(near.map(|depth| depth.depth));
        let subject = captured("subject")
            .map(|text| printable(text, MAX_VALUE_BYTES))
            .or_else(|| near.and_then(|depth| depth.subject.clone()));
        let cause = match tells {
            Told::Cause(cause) => Some(cause),
            Told::Meaning(_) => None,
        };
        let key = (
            number,
            side,
            depth.filter(|&depth| depth <= MAX_DEPTH),
            code,
            cause,
        );
        if let Some(known) = self.met.get_mut(&key) {
            known.count += 1;
            return;
        }
        let captures = place
            .captures
            .iter()
            .map(|(name, range)| {
                (
                    *name,
                    printable(line.plain[range.clone()].trim(), MAX_VALUE_BYTES),
                )
            })
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
            subject,
            count: 1,
        };
        self.met.insert(key, sighting);
    }
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
const DEPTH_LINES: usize = 2;

/// Deeper chains than any verifier takes count as one, so that a log cannot make sightings without end.
const MAX_DEPTH: u8 = 16;

/// A DNS name has at most 253 bytes.
const MAX_VALUE_BYTES: usize = 256;

/// Enough for the message and what stands before it.
const MAX_SHOWN_BYTES: usize = 400;
