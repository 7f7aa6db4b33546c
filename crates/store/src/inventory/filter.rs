//! What to list, in which order, and a place in it.

use std::cmp::Ordering;

use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::name::{NameKind, TypedName};
use countersign_pki::serial::SerialNumber;
use countersign_pki::time::UnixTime;

use super::{EntryId, Status};

/// Which rows to list: those for which everything that is said holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Of this status.
    pub status: Option<Status>,
    /// Not past their end now, but then; not revoked either, unless `status` says so.
    pub expiring_before: Option<UnixTime>,
    /// Not past their end now, revoked or not.
    pub not_ended: bool,
    /// With each of these names.
    pub names: Vec<NameFilter>,
    /// Of this issuer.
    pub issuer: Option<IssuerFilter>,
    /// Of the profile of this name, or [`super::IMPORTED`].
    pub profile: Option<String>,
    /// With this serial.
    pub serial: Option<SerialNumber>,
    /// With this SHA-256 of the DER.
    pub fingerprint: Option<Fingerprint>,
    /// With this SHA-256 of the key.
    pub spki: Option<Fingerprint>,
    /// Asked for by this one: `authority`, `uid:N`, `operator:NAME`, or the name of a holder.
    pub issued_by: Option<String>,
    /// Of an identity of this owner.
    pub owner: Option<String>,
    /// Of an identity with each of these labels.
    pub labels: Vec<(String, String)>,
}

/// A name to look for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameFilter {
    /// One of these exactly, kind and value.
    Exactly(Vec<TypedName>),
    /// One of these kinds, by a pattern; a DN has none.
    Like(Glob, Vec<NameKind>),
}

/// A pattern, whatever the case of ASCII letters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Glob {
    /// Begins so.
    Prefix(String),
    /// Ends so.
    Suffix(String),
}

/// An issuer to look for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IssuerFilter {
    /// Its subject begins with this common name, in the notation of RFC 4514 (`CN=Example Issuing CA`).
    Beginning(String),
    /// Its whole subject.
    Subject(String),
}

impl IssuerFilter {
    /// As it was asked for.
    pub fn text(&self) -> &str {
        let (Self::Beginning(text) | Self::Subject(text)) = self;
        text
    }

    /// Whether it means the issuer with this subject.
    pub fn means(&self, subject: &str) -> bool {
        match self {
            // Further attributes follow behind a comma.
            Self::Beginning(name) => subject
                .strip_prefix(name.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(',')),
            Self::Subject(whole) => subject == whole,
        }
    }
}

/// How a list is ordered. A filter has one order, and a cursor is good for that order alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Order {
    /// By identity, in each the newest first: owners and labels.
    ByIdentity,
    /// By the name that fits, under each the newest first: patterns.
    ByName,
    /// What ended last first: what is expired.
    EndedLast,
    /// What ends first: what is live, what ends soon, and what has not ended.
    EndsFirst,
    /// The newest first: everything else.
    Newest,
}

/// The place of a row in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Of which order.
    pub order: Order,
    /// The name, where it is ordered by name.
    pub text: String,
    /// The end or the identity, where it is ordered by that.
    pub number: i64,
    /// The row.
    pub id: EntryId,
}

impl Filter {
    /// How its list is ordered.
    pub fn order(&self) -> Order {
        match self.driver() {
            Driver::Ending if self.status == Some(Status::Expired) => Order::EndedLast,
            Driver::Ending => Order::EndsFirst,
            Driver::Label | Driver::Owner => Order::ByIdentity,
            Driver::Like(_) => Order::ByName,
            _ => Order::Newest,
        }
    }

    /// From what leaves few rows to what leaves most.
    pub(super) fn driver(&self) -> Driver {
        let exactly = |name: &NameFilter| matches!(name, NameFilter::Exactly(_));
        if self.fingerprint.is_some() {
            Driver::Fingerprint
        } else if self.serial.is_some() {
            Driver::Serial
        } else if let Some(place) = self.names.iter().position(exactly) {
            Driver::Exactly(place)
        } else if self.spki.is_some() {
            Driver::Spki
        } else if !self.labels.is_empty() {
            Driver::Label
        } else if self.owner.is_some() {
            Driver::Owner
        } else if !self.names.is_empty() {
            Driver::Like(0)
        } else if self.expiring_before.is_some()
            || self.not_ended
            || matches!(self.status, Some(Status::Expired | Status::Valid))
        {
            Driver::Ending
        } else if self.status.is_some() {
            Driver::State
        } else if self.issuer.is_some() {
            Driver::Issuer
        } else if self.issued_by.is_some() {
            Driver::IssuedBy
        } else if self.profile.is_some() {
            Driver::Profile
        } else {
            Driver::Everything
        }
    }
}

impl Cursor {
    pub(super) fn newest_after(id: EntryId) -> Self {
        Self {
            order: Order::Newest,
            text: String::new(),
            number: 0,
            id,
        }
    }

    /// Which of two rows of one list comes first.
    pub(super) fn compare(&self, other: &Self) -> Ordering {
        let ends = (self.number, self.id).cmp(&(other.number, other.id));
        let newest = other.id.cmp(&self.id);
        match self.order {
            Order::ByIdentity => self.number.cmp(&other.number).then(newest),
            Order::ByName => self.text.cmp(&other.text).then(newest),
            Order::EndedLast => ends.reverse(),
            Order::EndsFirst => ends,
            Order::Newest => newest,
        }
    }
}

/// Which filter's index gives the rows.
#[derive(Clone, Copy, Debug)]
pub(super) enum Driver {
    Ending,
    Everything,
    Exactly(usize),
    Fingerprint,
    IssuedBy,
    Issuer,
    Label,
    Like(usize),
    Owner,
    Profile,
    Serial,
    Spki,
    State,
}

impl Glob {
    /// From here, and before that, if there is an end.
    pub(super) fn range(&self) -> (String, Option<String>) {
        let from = match self {
            Self::Prefix(text) => text.to_ascii_lowercase(),
            Self::Suffix(text) => backwards(text),
        };
        let to = after_prefix(&from);
        (from, to)
    }
}

/// As the column `reversed` has it.
pub(super) fn backwards(text: &str) -> String {
    text.to_ascii_lowercase().chars().rev().collect()
}

/// The first text that is greater than every text with this prefix.
fn after_prefix(prefix: &str) -> Option<String> {
    let mut characters: Vec<char> = prefix.chars().collect();
    while let Some(last) = characters.pop() {
        // Behind the last before the surrogates comes the first after them.
        if let Some(next) = (last..=char::MAX).nth(1) {
            characters.push(next);
            return Some(characters.into_iter().collect());
        }
    }
    None
}
