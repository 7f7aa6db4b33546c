//! From messages to causes, likeliest first.

use super::message::{Accused, Confidence, Guess, Meaning, Side};
use super::sighting::{Sighting, Sightings, Told};
use super::{Candidate, confirm};
use crate::cause::Cause;
use crate::evidence::printable_again;

mod times;
mod words;

/// The causes that the messages stand for.
pub(super) fn candidates(sightings: Sightings) -> Vec<Candidate> {
    let (messages, sides) = sightings.into_messages();
    let clues = words::Clues::of(&messages);
    let is_explained = messages.iter().any(|sighting| !is_vague(sighting));
    let mut suspects: Vec<Suspect<'_>> = Vec::new();
    let heard = messages
        .iter()
        .filter(|sighting| !(is_explained && is_wrapper(sighting)));
    for sighting in heard {
        let side = sighting
            .side
            .or_else(|| nearest(&sides, sighting.line_number));
        for (place, guess) in guesses(sighting, side, clues).into_iter().enumerate() {
            let suspect = Suspect::new(place, guess, sighting, side);
            match suspects.iter_mut().find(|known| known.is_same(&suspect)) {
                Some(known) => known.join(&suspect),
                None => suspects.push(suspect),
            }
        }
    }
    suspects.sort_by_key(|suspect| suspect.rank);
    suspects.truncate(MAX_CANDIDATES);
    suspects.into_iter().map(Suspect::candidate).collect()
}

/// What is compared, the smaller the likelier: doubt, place among the guesses of its message, how far the cause is from
/// certificates, line.
type Rank = (u8, usize, u8, usize);

/// A cause, and the message that shows it best.
struct Suspect<'a> {
    rank: Rank,
    guess: Guess,
    sighting: &'a Sighting,
    side: Option<Side>,
    /// Where any message says so.
    lines: Vec<usize>,
}

impl<'a> Suspect<'a> {
    fn new(place: usize, guess: Guess, sighting: &'a Sighting, side: Option<Side>) -> Self {
        let doubt = match guess.confidence {
            Confidence::Certain => 0,
            Confidence::Likely => 1,
            Confidence::Possible => 2,
        };
        Self {
            rank: (doubt, place, remoteness(guess.cause), sighting.line_number),
            guess,
            sighting,
            side,
            lines: sighting.lines.clone(),
        }
    }

    /// Whether both mean the same: a message that leaves the side open says nothing against one that names it.
    fn is_same(&self, other: &Self) -> bool {
        let sides = [self.guess.accused, other.guess.accused];
        self.guess.cause == other.guess.cause
            && (sides[0] == sides[1] || sides.contains(&Accused::Either))
    }

    fn join(&mut self, other: &Self) {
        let accused = match self.guess.accused {
            Accused::Either => other.guess.accused,
            named => named,
        };
        self.lines.extend(&other.lines);
        if other.rank < self.rank {
            self.rank = other.rank;
            self.guess = other.guess;
            self.sighting = other.sighting;
            self.side = other.side;
        }
        self.guess.accused = accused;
    }

    fn candidate(mut self) -> Candidate {
        self.lines.sort_unstable();
        self.lines.dedup();
        Candidate {
            cause: self.guess.cause,
            side: self.guess.accused,
            product: self.sighting.product,
            confidence: self.guess.confidence,
            line: self.sighting.line.clone(),
            line_number: self.sighting.line_number,
            count: self.lines.len(),
            message: message(self.sighting, self.side),
            confirm: confirm::of(self.guess.cause, self.guess.accused),
            source: self.sighting.row.source,
        }
    }
}

/// Whether a message only says that something failed.
fn is_wrapper(sighting: &Sighting) -> bool {
    matches!(sighting.tells, Told::Meaning(meaning) if meaning.is_wrapper)
}

/// Whether a message leaves open what failed, or only says that a connection came to nothing.
fn is_vague(sighting: &Sighting) -> bool {
    match sighting.tells {
        Told::Cause(_) => false,
        Told::Meaning(meaning) => {
            let first = meaning.client.first().or(meaning.server.first());
            meaning.is_wrapper || first.is_none_or(|guess| remoteness(guess.cause) > 2)
        }
    }
}

/// What a message stands for, likeliest first.
fn guesses(sighting: &Sighting, side: Option<Side>, clues: words::Clues) -> Vec<Guess> {
    let meaning = match sighting.tells {
        Told::Cause(cause) => return vec![super::message::either(cause)],
        Told::Meaning(meaning) => meaning,
    };
    let is_above = sighting.depth.is_some_and(|depth| depth > 0);
    let meaning = meaning.above.filter(|_| is_above).unwrap_or(meaning);
    let guesses = of_side(meaning, side);
    let guesses = times::corrected(guesses, sighting);
    words::corrected(guesses, sighting, clues)
}

fn of_side(meaning: &Meaning, side: Option<Side>) -> Vec<Guess> {
    match (side, meaning.client, meaning.server) {
        (_, only, [])
        | (_, [], only)
        | (Some(Side::Client), only, _)
        | (Some(Side::Server), _, only) => only.to_vec(),
        (None, client, server) if client == server => client.to_vec(),
        (None, client, server) => of_either(client, server),
    }
}

/// Both readings of a message of which it is not known who wrote it. Where they agree on the cause, only the side is
/// open; else neither is as sure as it would be alone.
fn of_either(client: &[Guess], server: &[Guess]) -> Vec<Guess> {
    let longest = client.len().max(server.len());
    let turns = (0..longest).flat_map(|turn| {
        [(client, server), (server, client)].map(|(one, other)| (one.get(turn), other))
    });
    let mut merged: Vec<Guess> = Vec::new();
    for (guess, other) in turns {
        let Some(&guess) = guess else { continue };
        if merged.iter().any(|known| known.cause == guess.cause) {
            continue;
        }
        let agreed = other.iter().find(|same| same.cause == guess.cause);
        let confidence = match agreed {
            Some(same) => guess.confidence.max(same.confidence),
            None => guess.confidence.weakened(),
        };
        merged.push(Guess {
            confidence,
            accused: Accused::Either,
            ..guess
        });
    }
    merged
}

/// The side that the nearest line tells; of two as near, the one before.
fn nearest(sides: &[(usize, Side)], line: usize) -> Option<Side> {
    let after = sides.partition_point(|(number, _)| *number <= line);
    let before = after.checked_sub(1).map(|index| sides[index]);
    match (before, sides.get(after)) {
        (None, None) => None,
        (Some((_, side)), None) | (None, Some(&(_, side))) => Some(side),
        (Some((earlier, side)), Some(&(later, other))) => Some(if line - earlier <= later - line {
            side
        } else {
            other
        }),
    }
}

/// A connection that came to nothing is often what follows from a fault that another line names.
const fn remoteness(cause: Cause) -> u8 {
    match cause {
        Cause::KeyCertMismatch
        | Cause::KeyEncrypted
        | Cause::KeyPermissions
        | Cause::KeyPasswordWrong
        | Cause::FileNotPem
        | Cause::FileEncoding
        | Cause::FileIsCsr
        | Cause::FilesSwapped
        | Cause::PemGlued
        | Cause::Pkcs12Legacy
        | Cause::TrustBundleEmpty => 0,
        Cause::NameNotResolved | Cause::ConnectionRefused | Cause::NoTlsAnswer => 3,
        Cause::ResetBeforeServerHello
        | Cause::HandshakeTimeout
        | Cause::ClientClosedEarly
        | Cause::MalformedHandshake => 4,
        Cause::TlsVersionMismatch
        | Cause::NoSharedCipher
        | Cause::AlpnMismatch
        | Cause::PeerNotTls
        | Cause::PlainHttpToTlsPort
        | Cause::StarttlsRequired => 2,
        _ => 1,
    }
}

fn message(sighting: &Sighting, side: Option<Side>) -> String {
    let Told::Meaning(meaning) = sighting.tells else {
        return "Countersign names the cause itself".to_owned();
    };
    let is_above = sighting.depth.is_some_and(|depth| depth > 0);
    let meaning = meaning.above.filter(|_| is_above).unwrap_or(meaning);
    let side = match (meaning.client, meaning.server) {
        ([], _) => Some(Side::Server),
        (_, []) => Some(Side::Client),
        _ => side,
    };
    let (own, peer) = match side {
        Some(Side::Client) => ("the client", "the server"),
        Some(Side::Server) => ("the server", "the client"),
        None => ("this side", "the other side"),
    };
    let mut text = meaning.says.replace("{peer}", peer).replace("{self}", own);
    let depth = sighting.depth.map(|depth| ("depth", depth.to_string()));
    let captured = sighting
        .captures
        .iter()
        .filter(|(name, _)| *name != "depth")
        .cloned();
    let mut joint = " (";
    for (name, value) in captured.chain(depth) {
        text.push_str(joint);
        text.push_str(&name.replace('_', " "));
        text.push(' ');
        text.push_str(&value);
        joint = "; ";
    }
    if joint == "; " {
        text.push(')');
    }
    printable_again(&text, MAX_MESSAGE_BYTES)
}

/// A person reads the first few; what stands for eleven causes names eleven.
const MAX_CANDIDATES: usize = 24;

/// A sentence, and a handful of names.
const MAX_MESSAGE_BYTES: usize = 600;
