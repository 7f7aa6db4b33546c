//! What a log says of a failed connection: text of unknown origin in, ranked causes out.
//!
//! The messages that are known are data, one row each, in a file for each product. A row says which
//! words it goes by, what they mean in a client's log and in a server's (an alert that was received means that the
//! *other* side refused us), and where the wording comes from. One line may be read by several rows: what a longer
//! match covers is not read again, so that the exact message hides the general one in it. Whose log it is follows from
//! the message, else from its line, else from the nearest line that tells.
//!
//! No log shows these, because nothing fails while they last, or because only a look at the other side tells them from
//! their neighbours: `healthy`, `client-auth-not-enforced`, `plaintext-also-accepted`, `server-not-reloaded`,
//! `stale-pooled-connection`, `resumption-skips-check`, `revocation-not-checked`, `identity-header-spoofable`. What only
//! Countersign refuses by (`token-…`, `api-key-…`, `break-glass-shut` and others) is read from its own log, by name.

mod apache;
mod boringssl;
mod browser;
mod cloud;
mod confirm;
mod countersign;
mod curl;
mod database;
mod dotnet;
mod envoy;
mod erlang;
mod ghostunnel;
mod gnutls;
mod go;
mod grpc;
mod haproxy;
mod java;
mod kafka;
mod lines;
mod mail;
mod meaning;
mod message;
mod network;
mod nginx;
mod node;
mod openssl;
mod openvpn;
mod pattern;
mod python;
mod ranking;
mod request_line;
mod rust;
mod setting;
mod sighting;
mod small;
mod spiffe;
mod stunnel;
mod tables;
mod verify;

use serde::Serialize;

use crate::cause::Cause;

pub use self::message::{Accused, Confidence, Product};

/// What was found in a log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LogReading {
    /// What may be wrong, likeliest first. Empty: nothing in it is known as a fault.
    pub candidates: Vec<Candidate>,
    /// How many lines were read.
    pub lines: usize,
    /// How many were not, because the log is longer than what is read of it.
    pub unread_lines: usize,
}

/// One thing that may be wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Candidate {
    /// What it is.
    pub cause: Cause,
    /// Whose certificate, configuration or behaviour the message is about.
    pub side: Accused,
    /// What wrote the message.
    pub product: Product,
    /// How far the message alone proves it.
    pub confidence: Confidence,
    /// The line that shows it best, escaped and cut.
    pub line: String,
    /// Its number, from 1.
    pub line_number: usize,
    /// How many lines say so.
    pub count: usize,
    /// What was recognised, with the names and times of the message, escaped.
    pub message: String,
    /// What would confirm it.
    pub confirm: &'static str,
    /// Where the wording comes from: a source file of the product, or a page.
    pub source: &'static str,
}

/// Reads a log, or as much of it as is read: 16 MiB, 200 000 lines.
///
/// The text may be UTF-8, broken UTF-8 or UTF-16 with a byte order mark; colours are looked through.
pub fn read(text: &[u8]) -> LogReading {
    let text = lines::decode(text);
    let mut lines = lines::Lines::new(&text.shown);
    let mut sightings = sighting::Sightings::default();
    for line in &mut lines {
        sightings.look_at(&line);
    }
    LogReading {
        lines: lines.read(),
        unread_lines: lines.unread() + text.unread_lines,
        candidates: ranking::candidates(sightings),
    }
}

#[cfg(test)]
mod tests;
