//! Finding refusals again, by reading the ring.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::path::Path;

use countersign_diagnose::refusal::RefusalId;
use countersign_pki::time::UnixTime;

use crate::refusals::coalescer::{network_of, source_of};
use crate::refusals::ring::{Line, lines, segments};
use crate::refusals::{Covers, StoredRefusal};

/// What is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Query {
    /// What was refused under this id.
    Id(RefusalId),
    /// What came from this address since then, and entries that may count it among others.
    From {
        /// The source.
        address: IpAddr,
        /// Not before this.
        since: UnixTime,
    },
}

/// Reads the ring in `directory`, whether or not a gateway writes to it; newest first, at most 1000. A folder that is not
/// there holds nothing.
pub fn search(directory: &Path, query: &Query) -> io::Result<Vec<StoredRefusal>> {
    let mut counted: HashMap<RefusalId, (u64, u64)> = HashMap::new();
    let mut found = Vec::new();
    // Parsing is what takes time: lines without the id are not parsed.
    let part = match query {
        Query::Id(id) => id.to_string(),
        Query::From { .. } => String::new(),
    };
    for (_, path) in segments(directory)?.iter().rev() {
        let lines = match lines(path, &part) {
            // The writer may have deleted it since.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            lines => lines?,
        };
        // Counts stand after their entry: going back, they are known when it comes.
        for line in lines.into_iter().rev() {
            match line {
                Line::Again {
                    again,
                    count,
                    last_unix_s,
                } => {
                    counted.entry(again).or_insert((count, last_unix_s));
                }
                Line::Kept(mut refusal) => {
                    if let Some(&(count, last)) = counted.get(&refusal.id) {
                        (refusal.count, refusal.last_unix_s) = (count, last);
                    }
                    if query.finds(&refusal) {
                        found.push(*refusal);
                    }
                    if found.len() == MAX_FOUND {
                        return Ok(found);
                    }
                }
            }
        }
    }
    found.sort_by_key(|refusal| std::cmp::Reverse((refusal.last_unix_s, refusal.id.sequence())));
    Ok(found)
}

impl Query {
    fn finds(&self, refusal: &StoredRefusal) -> bool {
        match self {
            Self::Id(id) => refusal.id == *id,
            Self::From { address, since } => {
                let of = refusal.source.ip();
                refusal.last_unix_s >= since.seconds()
                    && match refusal.covers {
                        Covers::Client | Covers::Source => source_of(of) == source_of(*address),
                        Covers::Everybody => true,
                        Covers::Network => network_of(of) == network_of(*address),
                    }
            }
        }
    }
}

/// A person reads a few; a program asks again with a later `since`.
const MAX_FOUND: usize = 1000;
