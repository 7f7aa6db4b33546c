//! Every serial that was ever reserved, the certificate that came of it, if one did, and the certificates of others.

mod filter;
pub(crate) mod list;
#[cfg(test)]
mod many;
#[cfg(test)]
mod plans;
pub(crate) mod record;
mod stream;

use std::collections::BTreeMap;

use std::fmt;

use countersign_pki::feed::{RevocationReason, Sequence};
use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::name::{NameKind, TypedName};
use countersign_pki::serial::SerialNumber;
use countersign_pki::time::UnixTime;
use countersign_policy::issuance::{Actor, Profile};
use rusqlite::types::Type;
use rusqlite::{Connection, Params, Row, params};

use crate::error::StoreError;
use crate::row::{
    damaged, fingerprint, json, optional_fingerprint, sequence, serial, time, to_seconds, unsigned,
    word,
};
use crate::store::Store;

pub use self::filter::{Cursor, Filter, Glob, IssuerFilter, NameFilter, Order};

/// One row of the inventory.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its number; later ones are greater.
    pub id: EntryId,
    /// The reserved serial.
    pub serial: SerialNumber,
    /// The issuer's subject.
    pub issuer: String,
    /// Which profile; `None`: not ours, imported to be watched.
    pub profile: Option<Profile>,
    /// SHA-256 of the holder's key.
    pub spki: Fingerprint,
    /// SANs in order, then CN and DN.
    pub names: Vec<TypedName>,
    /// Beginning.
    pub not_before: UnixTime,
    /// End.
    pub not_after: UnixTime,
    /// When it was asked for, or imported.
    pub intended_at: UnixTime,
    /// By whom.
    pub actor: Actor,
    /// What people say of the identity that it is shown by.
    pub annotation: Annotation,
    /// `None`: whether it was signed is not known.
    pub signed: Option<Signed>,
    /// `None`: not revoked.
    pub revocation: Option<RevocationRecord>,
}

/// What people say of an identity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Annotation {
    /// Whom to ask.
    pub owner: Option<String>,
    /// Key to value.
    pub labels: BTreeMap<String, String>,
    /// Anything else.
    pub note: Option<String>,
}

/// The certificate that came of an intent, or was imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// SHA-256 of the DER.
    pub fingerprint: Fingerprint,
    /// The bytes.
    pub der: Vec<u8>,
}

/// When and why a certificate was revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RevocationRecord {
    /// Since when.
    pub revoked_at: UnixTime,
    /// Why.
    pub reason: RevocationReason,
    /// The feed message that said so.
    pub sequence: Sequence,
}

/// A row's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId(pub(crate) i64);

impl EntryId {
    /// For a cursor that comes back from outside.
    pub fn from_number(number: i64) -> Self {
        Self(number)
    }

    /// The number.
    pub fn number(self) -> i64 {
        self.0
    }
}

/// Where a row stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// Past its end, not revoked.
    Expired,
    /// Revoked for now: it can be released.
    Held,
    /// Revoked, past its end or not.
    Revoked,
    /// Reserved; whether a certificate was signed is not known. After a crash, or for the moment that signing takes.
    Unknown,
    /// Signed, neither revoked nor past its end.
    Valid,
}

impl Entry {
    /// Where it stands: revoked or held before expired, expired before all else.
    pub fn status_at(&self, now: UnixTime) -> Status {
        if let Some(revocation) = self.revocation {
            if revocation.reason.is_hold() {
                Status::Held
            } else {
                Status::Revoked
            }
        } else if self.not_after < now {
            Status::Expired
        } else if self.signed.is_none() {
            Status::Unknown
        } else {
            Status::Valid
        }
    }

    /// Whether it is a certificate of others: nothing renews or revokes it here.
    pub fn is_imported(&self) -> bool {
        self.profile.is_none()
    }

    /// The name that is shown first.
    pub fn principal(&self) -> Option<&TypedName> {
        principal(&self.names)
    }
}

/// The name that is shown first: SPIFFE ID, else DNS SAN, e-mail SAN, CN, else whatever there is.
pub fn principal(names: &[TypedName]) -> Option<&TypedName> {
    const ORDER: [NameKind; 4] = [
        NameKind::Spiffe,
        NameKind::Dns,
        NameKind::Email,
        NameKind::Cn,
    ];
    let of_kind = |kind: NameKind| names.iter().find(|name| name.kind() == kind);
    ORDER
        .into_iter()
        .find_map(of_kind)
        .or_else(|| names.first())
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Expired => "expired",
            Self::Held => "held",
            Self::Revoked => "revoked",
            Self::Unknown => "unknown",
            Self::Valid => "live",
        })
    }
}

/// Which rows are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    /// One certificate.
    Fingerprint(Fingerprint),
    /// Every row that has one of these names exactly, kind and value.
    Names(Vec<TypedName>),
    /// The row of this serial (under each issuer).
    Serial(SerialNumber),
}

/// Part of a list.
#[derive(Clone, Debug)]
pub struct Page {
    /// The rows.
    pub entries: Vec<Entry>,
    /// Behind which place to go on, if there may be more: also where the page is short or empty, because it looks at some
    /// thousand rows at most.
    pub next: Option<Cursor>,
}

impl Page {
    /// `entries`: one more than `limit`, if there are as many.
    fn of(mut entries: Vec<Entry>, limit: u32) -> Self {
        let has_more = entries.len() > limit as usize;
        entries.truncate(limit as usize);
        let next = entries
            .last()
            .filter(|_| has_more)
            .map(|entry| Cursor::newest_after(entry.id));
        Self { entries, next }
    }
}

/// How many issued ones stand where; those of others are not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// See [`Status::Expired`].
    pub expired: u64,
    /// See [`Status::Held`].
    pub held: u64,
    /// See [`Status::Revoked`].
    pub revoked: u64,
    /// See [`Status::Unknown`].
    pub unknown: u64,
    /// See [`Status::Valid`].
    pub valid: u64,
}

impl Store {
    /// One page of rows after `after`, in the filter's order, at most `limit`, which is at most [`MAX_PAGE`].
    pub async fn list(
        &self,
        filter: Filter,
        after: Option<Cursor>,
        limit: u32,
        now: UnixTime,
    ) -> Result<Page, StoreError> {
        if after
            .as_ref()
            .is_some_and(|after| after.order != filter.order())
        {
            return Err(StoreError::CursorOfAnotherList);
        }
        self.lists
            .read(move |sql| list::list(sql, &filter, after, limit.clamp(1, MAX_PAGE), now))
            .await
    }

    /// Every row that is meant, newest first, at most [`MAX_PAGE`]; the page says whether there are more.
    pub async fn find(&self, selector: Selector) -> Result<Page, StoreError> {
        let entries = self
            .reader
            .read(move |sql| find(sql, &selector, i64::from(MAX_PAGE) + 1));
        Ok(Page::of(entries.await?, MAX_PAGE))
    }

    /// How many rows stand where.
    pub async fn tally(&self, now: UnixTime) -> Result<Tally, StoreError> {
        self.lists.read(move |sql| tally(sql, now)).await
    }
}

/// `limit`: negative for all of them.
pub(crate) fn find(
    sql: &Connection,
    selector: &Selector,
    limit: i64,
) -> rusqlite::Result<Vec<Entry>> {
    let mut ids = match selector {
        Selector::Fingerprint(fingerprint) => ids(
            sql,
            "SELECT id FROM entry WHERE fingerprint = ?1 LIMIT ?2",
            params![fingerprint.as_bytes(), limit],
        )?,
        Selector::Serial(serial) => ids(
            sql,
            "SELECT id FROM entry WHERE serial = ?1 ORDER BY id DESC LIMIT ?2",
            params![serial.magnitude(), limit],
        )?,
        Selector::Names(names) => {
            let mut all = Vec::new();
            for name in names {
                all.extend(named(sql, name, limit)?);
            }
            all
        }
    };
    ids.sort_by(|one, other| other.cmp(one));
    ids.dedup();
    if let Ok(limit) = usize::try_from(limit) {
        ids.truncate(limit);
    }
    load(sql, &ids)
}

fn named(sql: &Connection, name: &TypedName, limit: i64) -> rusqlite::Result<Vec<EntryId>> {
    match name {
        TypedName::Spki(spki) => ids(
            sql,
            "SELECT id FROM entry WHERE spki = ?1 ORDER BY id DESC LIMIT ?2",
            params![spki.as_bytes(), limit],
        ),
        TypedName::SerialIssuer { serial, issuer } => ids(
            sql,
            "SELECT e.id FROM entry e JOIN issuer_name s ON s.id = e.issuer_name_id
             WHERE e.serial = ?1 AND s.subject = ?2 ORDER BY e.id DESC LIMIT ?3",
            params![serial.magnitude(), issuer.to_string(), limit],
        ),
        other => ids(
            sql,
            "SELECT entry_id FROM name WHERE kind = ?1 AND value = ?2 ORDER BY entry_id DESC LIMIT ?3",
            params![other.kind().prefix(), other.bare(), limit],
        ),
    }
}

fn ids(sql: &Connection, query: &str, values: impl Params) -> rusqlite::Result<Vec<EntryId>> {
    sql.prepare_cached(query)?
        .query_map(values, |row| row.get(0).map(EntryId))?
        .collect()
}

/// Whole rows, in the order of `ids`.
pub(crate) fn load(sql: &Connection, ids: &[EntryId]) -> rusqlite::Result<Vec<Entry>> {
    let mut row = sql.prepare_cached(ROW)?;
    let mut names =
        sql.prepare_cached("SELECT kind, value FROM name WHERE entry_id = ?1 ORDER BY position")?;
    let mut labels =
        sql.prepare_cached("SELECT key, value FROM label WHERE identity_id = ?1 ORDER BY key")?;
    let mut entries = Vec::with_capacity(ids.len());
    for id in ids {
        let (mut entry, identity) = row.query_row([id.0], entry)?;
        entry.names = names
            .query_map([id.0], typed_name)?
            .collect::<rusqlite::Result<_>>()?;
        entry.annotation.labels = labels
            .query_map([identity], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<rusqlite::Result<_>>()?;
        entries.push(entry);
    }
    Ok(entries)
}

/// Counted by the hours before this one; of this hour, the rows.
fn tally(sql: &Connection, now: UnixTime) -> rusqlite::Result<Tally> {
    let now = to_seconds(now);
    let mut count = sql.prepare_cached(ENDED)?;
    let mut rows = count.query([now])?;
    let mut tally = Tally::default();
    while let Some(row) = rows.next()? {
        let (ended, all) = (unsigned(row, 2)?, unsigned(row, 3)?);
        match row.get_ref(0)?.as_str()? {
            "revoked" if row.get(1)? => tally.held += all,
            "revoked" => tally.revoked += all,
            "signed" => {
                tally.expired += ended;
                tally.valid += all - ended;
            }
            _ => {
                tally.expired += ended;
                tally.unknown += all - ended;
            }
        }
    }
    Ok(tally)
}

/// The row, and the number of the identity that it is shown by.
fn entry(row: &Row<'_>) -> rusqlite::Result<(Entry, i64)> {
    let signed = match (optional_fingerprint(row, 9)?, row.get(10)?) {
        (Some(fingerprint), Some(der)) => Some(Signed { fingerprint, der }),
        _ => None,
    };
    let revocation = match row.get::<_, Option<i64>>(11)? {
        Some(_) => Some(RevocationRecord {
            revoked_at: time(row, 11)?,
            reason: word(row, 12)?,
            sequence: sequence(row, 13)?,
        }),
        None => None,
    };
    let profile = match row.get_ref(3)?.as_str()? {
        IMPORTED => None,
        _ => Some(word(row, 3)?),
    };
    let entry = Entry {
        id: EntryId(row.get(0)?),
        serial: serial(row, 1)?,
        issuer: row.get(2)?,
        profile,
        spki: fingerprint(row, 4)?,
        names: Vec::new(),
        not_before: time(row, 5)?,
        not_after: time(row, 6)?,
        intended_at: time(row, 7)?,
        actor: json(row, 8)?,
        signed,
        revocation,
        annotation: Annotation {
            owner: row.get(14)?,
            labels: BTreeMap::new(),
            note: row.get(15)?,
        },
    };
    Ok((entry, row.get(16)?))
}

/// Its kind and its bare text are the first two columns.
pub(crate) fn typed_name(row: &Row<'_>) -> rusqlite::Result<TypedName> {
    let prefix: String = row.get(0)?;
    let kind = NameKind::ALL
        .into_iter()
        .find(|kind| kind.prefix() == prefix);
    let kind = kind.ok_or_else(|| rusqlite::Error::InvalidColumnType(0, prefix, Type::Text))?;
    TypedName::parse_as(kind, &row.get::<_, String>(1)?)
        .map_err(|error| damaged(1, Type::Text, error))
}

/// Rows of one page at most: what is held in memory per request (a row is about 2 KiB).
pub const MAX_PAGE: u32 = 1000;

impl From<Selector> for Filter {
    fn from(selector: Selector) -> Self {
        match selector {
            Selector::Fingerprint(fingerprint) => Self {
                fingerprint: Some(fingerprint),
                ..Self::default()
            },
            Selector::Names(names) => Self {
                names: vec![NameFilter::Exactly(names)],
                ..Self::default()
            },
            Selector::Serial(serial) => Self {
                serial: Some(serial),
                ..Self::default()
            },
        }
    }
}

/// What stands for the profile of a certificate of others.
pub const IMPORTED: &str = "imported";

const ENDED: &str = "SELECT state, held,
            coalesce(sum(count) FILTER (WHERE hour < ?1 / 3600), 0)
            + CASE state WHEN 'revoked' THEN 0 ELSE (
                SELECT count(*) FROM entry e INDEXED BY entry_by_end
                WHERE e.state = ending.state AND e.not_after >= ?1 / 3600 * 3600 AND e.not_after < ?1
            ) END,
            sum(count)
     FROM ending WHERE state <> 'imported' GROUP BY state, held";

const ROW: &str =
    "SELECT e.id, e.serial, s.subject, e.profile, e.spki, e.not_before, e.not_after, e.added_at,
            e.actor, e.fingerprint, coalesce(c.der, m.der), r.revoked_at, r.reason, r.sequence,
            d.owner, d.note, d.id
     FROM entry e
     JOIN issuer_name s ON s.id = e.issuer_name_id
     JOIN identity d ON d.id = e.identity_id
     LEFT JOIN certificate c ON c.id = e.id
     LEFT JOIN imported m ON m.id = e.id
     LEFT JOIN revocation r ON r.serial = e.serial AND r.issuer_id = e.issuer_id
     WHERE e.id = ?1";
