//! What names in a message, or other messages of the same log, say of a guess.

use crate::cause::Cause;
use crate::log::message::{Accused, Confidence, Guess};
use crate::log::sighting::{Sighting, Told};
use crate::log::verify;

/// What the log as a whole says.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Clues {
    /// Nothing but a leaf was sent.
    leaf_alone: bool,
}

impl Clues {
    pub(super) fn of(messages: &[Sighting]) -> Self {
        let leaf_alone = messages.iter().any(|sighting| {
            matches!(sighting.tells, Told::Meaning(meaning) if std::ptr::eq(meaning, &raw const verify::LEAF_ALONE))
        });
        Self { leaf_alone }
    }
}

/// Guesses, put right by the names that the message holds.
pub(super) fn corrected(mut guesses: Vec<Guess>, sighting: &Sighting, clues: Clues) -> Vec<Guess> {
    if let (Some(names), Some(host)) = (sighting.capture("names"), sighting.capture("host")) {
        guesses.retain(|guess| guess.cause != Cause::WildcardMismatch);
        replace(
            &mut guesses,
            Cause::NameMismatch,
            if is_address(host) {
                Cause::IpSanMissing
            } else if is_below_a_wildcard(names, host) {
                Cause::WildcardMismatch
            } else {
                Cause::NameMismatch
            },
        );
    } else if sighting.capture("host").is_some_and(is_address) {
        replace(&mut guesses, Cause::NameMismatch, Cause::IpSanMissing);
    }
    let is_root = sighting
        .subject
        .as_deref()
        .is_some_and(|subject| subject.to_ascii_lowercase().contains("root"));
    if is_root {
        promote(&mut guesses, Cause::RootExpired);
    }
    let accuses_server = |guess: &Guess| guess.accused == Accused::Server;
    if clues.leaf_alone
        && sighting.depth.is_none_or(|depth| depth == 0)
        && guesses.first().is_some_and(accuses_server)
    {
        promote(&mut guesses, Cause::ChainMissingIntermediate);
    }
    guesses
}

fn replace(guesses: &mut [Guess], from: Cause, to: Cause) {
    for guess in guesses.iter_mut().filter(|guess| guess.cause == from) {
        guess.cause = to;
    }
}

/// Puts a guess that is already there before the others, as sure as the surest of them.
fn promote(guesses: &mut Vec<Guess>, cause: Cause) {
    let Some(index) = guesses.iter().position(|guess| guess.cause == cause) else {
        return;
    };
    let surest = guesses.iter().map(|guess| guess.confidence).max();
    let mut promoted = guesses.remove(index);
    promoted.confidence = surest.unwrap_or(Confidence::Possible);
    guesses.insert(0, promoted);
}

/// Whether one of the names is a wildcard above the host, but not right above it.
fn is_below_a_wildcard(names: &str, host: &str) -> bool {
    names
        .split([',', ' ', '[', ']', '"', '\''])
        .map(|name| name.trim_start_matches("DNS:"))
        .filter_map(|name| name.strip_prefix("*."))
        .any(|parent| {
            host.len() > parent.len()
                && host.is_char_boundary(host.len() - parent.len())
                && host[host.len() - parent.len()..].eq_ignore_ascii_case(parent)
                && host[..host.len() - parent.len()]
                    .trim_end_matches('.')
                    .contains('.')
        })
}

fn is_address(host: &str) -> bool {
    host.trim_matches(['[', ']', '\'', '"', '.', ' '])
        .parse::<std::net::IpAddr>()
        .is_ok()
}
