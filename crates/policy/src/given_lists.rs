//! CRLs that others have signed: which of several of one CA is the last word, and what the next one may take back. Whose they
//! are was verified before.

use std::cmp::Reverse;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};

use countersign_pki::crl::{CrlEntry, CrlScope, ParsedCrl};
use countersign_pki::serial::SerialNumber;
use countersign_pki::time::UnixTime;

/// Whether `later` says all that `earlier` says, and more recently: what it leaves out is no longer so.
pub fn supersedes(later: &ParsedCrl, earlier: &ParsedCrl) -> bool {
    let is_of_the_same = later.scope().is_some() && later.scope() == earlier.scope();
    (is_complete(later) || is_of_the_same) && age(later) > age(earlier)
}

/// Whether it tells of every certificate of its issuer.
pub fn is_complete(list: &ParsedCrl) -> bool {
    list.scope() == Some(&CrlScope::default())
}

/// Whether a later one has to be there by now, or nobody can say when it has to be.
pub fn is_over(list: &ParsedCrl, now: UnixTime) -> bool {
    list.next_update().is_none_or(|end| end <= now)
}

/// A list with what it is called, such as the name of its file.
pub type Named = (String, ParsedCrl);

/// What is said of one certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Itself.
    pub entry: CrlEntry,
    /// Who says it.
    pub source: String,
}

/// What lists of one CA and its `index`, which has no date, say together, in whatever order they are given: one statement about
/// each certificate. A revocation for good is final (RFC 5280 §5.3.1), and stands above a hold; a hold ends with a later list
/// that tells of the certificate and does not show it. Of several that say the same, the latest is heard, but a
/// compromise of the key stays one.
pub fn united(lists: &[&Named], index: &[(String, CrlEntry)]) -> Vec<Statement> {
    let shown: Vec<HashSet<SerialNumber>> = lists
        .iter()
        .map(|(_, list)| list.entries().iter().map(|entry| entry.serial).collect())
        .collect();
    let is_lifted = |entry: &CrlEntry, list: &ParsedCrl| {
        let mut later = lists.iter().zip(&shown);
        later.any(|((_, other), shown)| supersedes(other, list) && !shown.contains(&entry.serial))
    };
    let listed = lists.iter().flat_map(|(file, list)| {
        let standing = list
            .entries()
            .iter()
            .filter(|entry| !(entry.reason.is_hold() && is_lifted(entry, list)));
        standing.map(move |entry| (entry, Some(age(list)), format!("CRL {file}")))
    });
    let indexed = index
        .iter()
        .map(|(file, entry)| (entry, None, file.clone()));
    let mut heard = BTreeMap::new();
    for (entry, age, source) in listed.chain(indexed) {
        let reason = entry.reason;
        let since = Reverse(entry.revoked_at);
        let weight = (
            !reason.is_hold(),
            reason.is_compromise(),
            age,
            since,
            reason.code(),
        );
        let statement = Statement {
            entry: *entry,
            source,
        };
        match heard.entry(entry.serial) {
            Entry::Vacant(place) => {
                place.insert((weight, statement));
            }
            Entry::Occupied(mut place) if place.get().0 < weight => {
                place.insert((weight, statement));
            }
            Entry::Occupied(_) => {}
        }
    }
    heard
        .into_values()
        .map(|(_, statement)| statement)
        .collect()
}

/// What a list that is published after another takes back of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Succession {
    /// On hold before: their CA has lifted it.
    pub lifted: Vec<SerialNumber>,
    /// Revoked before, of certificates whose end nobody here knows: whoever gives the list says that it has come.
    pub expired: Vec<SerialNumber>,
}

/// What is known here of a certificate that the next list leaves out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is revoked, and its end is known.
    Ends(UnixTime),
    /// It is not revoked here: released since, or so long over that it has left the inventory.
    NotRevoked,
    /// It is revoked, and nobody here has seen it.
    Unknown,
}

/// What to think of entries that are left out, of certificates that nobody here has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeftOut {
    /// Whoever gives the list says that they are expired.
    Expired,
    /// Nobody has said anything.
    Unexplained,
}

/// Entries of `before` that `after` leaves out, or turns from a revocation into a hold.
pub fn left_out(before: &ParsedCrl, after: &ParsedCrl) -> Vec<CrlEntry> {
    let listed: HashMap<SerialNumber, bool> = after
        .entries()
        .iter()
        .map(|entry| (entry.serial, entry.reason.is_hold()))
        .collect();
    let is_left_out = |entry: &&CrlEntry| match listed.get(&entry.serial) {
        None => true,
        Some(is_hold) => *is_hold && !entry.reason.is_hold(),
    };
    before
        .entries()
        .iter()
        .filter(is_left_out)
        .copied()
        .collect()
}

/// Whether `after` may be published in place of `before`. `gone`: what it [leaves out](left_out), with what is known of each.
pub fn follow(
    before: &ParsedCrl,
    after: &ParsedCrl,
    gone: impl IntoIterator<Item = (CrlEntry, Standing)>,
    unseen: LeftOut,
) -> Result<Succession, UnfitSuccessor> {
    if age(after) <= age(before) {
        return Err(UnfitSuccessor::Older {
            than: before.this_update(),
        });
    }
    // RFC 5280 §5.2.3. One without a number has nothing to compare.
    if let (Some(number), Some(last)) = (after.number(), before.number())
        && number < last
    {
        return Err(UnfitSuccessor::LowerNumber { number, last });
    }
    let mut succession = Succession::default();
    let mut unexplained = Vec::new();
    for (entry, standing) in gone {
        let serial = entry.serial;
        match standing {
            Standing::NotRevoked => {}
            _ if entry.reason.is_hold() => succession.lifted.push(serial),
            // RFC 5280 §3.3: it stays until a list was signed after its end; that may be one which was never given here.
            Standing::Ends(at) if at < after.this_update() => {}
            Standing::Ends(not_after) => {
                return Err(UnfitSuccessor::TakesBack { serial, not_after });
            }
            Standing::Unknown if unseen == LeftOut::Expired => succession.expired.push(serial),
            Standing::Unknown => unexplained.push(serial),
        }
    }
    match unexplained.first() {
        Some(first) => Err(UnfitSuccessor::Unexplained {
            first: *first,
            count: unexplained.len(),
        }),
        None => Ok(succession),
    }
}

/// Why a list cannot be published after the one before it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnfitSuccessor {
    /// Its number went back.
    #[error("has the number {number}, and the one that is published {last}")]
    LowerNumber {
        /// cRLNumber.
        number: u64,
        /// That of the one before.
        last: u64,
    },
    /// Whoever was revoked since would be let in.
    #[error("was signed before the one that is published already, of {than}")]
    Older {
        /// thisUpdate of the later one.
        than: UnixTime,
    },
    /// Whom it lets in again was revoked for good.
    #[error(
        "no longer shows {serial} as revoked, as the one before does, though that certificate is good until {not_after}"
    )]
    TakesBack {
        /// Which.
        serial: SerialNumber,
        /// The certificate's end.
        not_after: UnixTime,
    },
    /// Perhaps they have expired, perhaps not.
    #[error(
        "no longer shows {first}{} as revoked, as the one before does, and nobody here knows when {} end",
        if *count > 1 { format!(" and {} more", count - 1) } else { String::new() },
        if *count > 1 { "they" } else { "that certificate's life would" }
    )]
    Unexplained {
        /// One of them.
        first: SerialNumber,
        /// How many.
        count: usize,
    },
}

impl UnfitSuccessor {
    /// What to do.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::LowerNumber { .. } => {
                "numbers only grow (RFC 5280 §5.2.3): whoever runs that CA may have signed it from an older copy of its database; of openssl, the file `crlnumber` has the next one, in hexadecimal"
            }
            Self::Older { .. } => "ask whoever runs that CA for its latest complete CRL",
            Self::TakesBack { .. } => {
                "a revocation is not taken back before the certificate's end (RFC 5280 §3.3): ask whoever runs that CA for a CRL that has it"
            }
            Self::Unexplained { .. } => {
                "an entry leaves a CRL when its certificate has expired (RFC 5280 §3.3): if that is so, `countersign ca crl import FILE --dropped-expired` says it; else ask whoever runs that CA for a CRL that has it"
            }
        }
    }
}

/// RFC 5280 §5.2.3: of two that were signed in the same second, the one of the greater number is the later.
fn age(list: &ParsedCrl) -> (UnixTime, Option<u64>) {
    (list.this_update(), list.number())
}
