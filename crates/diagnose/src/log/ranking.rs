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
    let mut ranked: Vec<(Rank, Candidate)> = Vec::new();
    let heard = messages
        .iter()
        .filter(|sighting| !(is_explained && is_wrapper(sighting)));
    for sighting in heard {
        let side = sighting
            .side
            .or_else(|| nearest(&sides, sighting.line_number));
        for (place, guess) in guesses(sighting, side, clues).into_iter().enumerate() {
            add(&mut ranked, place, guess, sighting, side);
        }
    }
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked.truncate(MAX_CANDIDATES);
    ranked.into_iter().map(|(_, candidate)| candidate).collect()
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

/// What is compared, the smaller the likelier: doubt, place among the guesses of its message, how far the cause is from
/// certificates, line.
type Rank = (u8, usize, u8, usize);

fn add(
    ranked: &mut Vec<(Rank, Candidate)>,
    place: usize,
    guess: Guess,
    sighting: &Sighting,
    side: Option<Side>,
) {
    let doubt = match guess.confidence {
        Confidence::Certain => 0,
        Confidence::Likely => 1,
        Confidence::Possible => 2,
    };
    let rank = (doubt, place, remoteness(guess.cause), sighting.line_number);
    let known = ranked
        .iter()
        .position(|(_, known)| known.cause == guess.cause && known.side == guess.accused);
    let mut count = sighting.count;
    if let Some(index) = known {
        // Two messages of one line are one line that says so.
        let other = &mut ranked[index].1;
        count = if other.line_number == sighting.line_number {
            count.max(other.count)
        } else {
            count + other.count
        };
        other.count = count;
        if ranked[index].0 <= rank {
            return;
        }
        ranked.swap_remove(index);
    }
    let candidate = Candidate {
        cause: guess.cause,
        side: guess.accused,
        product: sighting.product,
        confidence: guess.confidence,
        line: sighting.line.clone(),
        line_number: sighting.line_number,
        count,
        message: message(sighting, side),
        confirm: confirm::of(guess.cause, guess.accused),
        source: sighting.row.source,
    };
    ranked.push((rank, candidate));
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
