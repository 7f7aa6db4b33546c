//! Every serial that was ever reserved, and the certificate that came of it, if one did.

use std::fmt;

use countersign_pki::feed::{RevocationReason, Sequence};
use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::name::{NameKind, TypedName};
use countersign_pki::serial::SerialNumber;
use countersign_pki::time::UnixTime;
use countersign_policy::issuance::{Actor, Profile};
use rusqlite::types::Type;
use rusqlite::{Connection, Params, Row, ToSql, params};

use crate::error::StoreError;
use crate::row::{
    damaged, fingerprint, json, optional_fingerprint, sequence, serial, time, to_seconds, unsigned,
    word,
};
use crate::store::Store;

/// One row of the inventory.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its number; later ones are greater.
    pub id: EntryId,
    /// The reserved serial.
    pub serial: SerialNumber,
    /// The issuer's subject.
    pub issuer: String,
    /// Which profile.
    pub profile: Profile,
    /// SHA-256 of the holder's key.
    pub spki: Fingerprint,
    /// SANs in order, then CN and DN.
    pub names: Vec<TypedName>,
    /// Beginning.
    pub not_before: UnixTime,
    /// End.
    pub not_after: UnixTime,
    /// When it was asked for.
    pub intended_at: UnixTime,
    /// By whom.
    pub actor: Actor,
    /// `None`: whether it was signed is not known.
    pub signed: Option<Signed>,
    /// `None`: not revoked.
    pub revocation: Option<RevocationRecord>,
}

/// The certificate that came of an intent.
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
    /// Revoked, past its end or not.
    Revoked,
    /// Reserved; whether a certificate was signed is not known. After a crash, or for the moment that signing takes.
    Unknown,
    /// Signed, neither revoked nor past its end.
    Valid,
}

impl Entry {
    /// Where it stands: revoked before expired, expired before all else.
    pub fn status_at(&self, now: UnixTime) -> Status {
        if self.revocation.is_some() {
            Status::Revoked
        } else if self.not_after < now {
            Status::Expired
        } else if self.signed.is_none() {
            Status::Unknown
        } else {
            Status::Valid
        }
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

impl Status {
    /// The decision of [`Entry::status_at`] in SQL; `?1` is now.
    fn condition(self) -> &'static str {
        match self {
            Self::Revoked => "r.serial IS NOT NULL",
            Self::Expired => "r.serial IS NULL AND i.not_after < ?1",
            Self::Unknown => "r.serial IS NULL AND i.not_after >= ?1 AND c.id IS NULL",
            Self::Valid => "r.serial IS NULL AND i.not_after >= ?1 AND c.id IS NOT NULL",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Unknown => "unknown",
            Self::Valid => "valid",
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

/// Which rows to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Of this status.
    pub status: Option<Status>,
    /// Not past their end now, but then.
    pub expiring_before: Option<UnixTime>,
    /// With this name.
    pub name: Option<NameFilter>,
}

/// A name to look for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameFilter {
    /// Any name contains this, whatever the case of ASCII letters.
    Contains(String),
    /// One of these exactly, kind and value.
    Exactly(Vec<TypedName>),
}

/// Part of a list, newest first.
#[derive(Clone, Debug)]
pub struct Page {
    /// The rows.
    pub entries: Vec<Entry>,
    /// The last row, if there are more after it.
    pub next: Option<EntryId>,
}

impl Page {
    /// `entries`: one more than `limit`, if there are as many.
    fn of(mut entries: Vec<Entry>, limit: u32) -> Self {
        let has_more = entries.len() > limit as usize;
        entries.truncate(limit as usize);
        let next = entries.last().filter(|_| has_more).map(|entry| entry.id);
        Self { entries, next }
    }
}

/// How many rows stand where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// See [`Status::Expired`].
    pub expired: u64,
    /// See [`Status::Revoked`].
    pub revoked: u64,
    /// See [`Status::Unknown`].
    pub unknown: u64,
    /// See [`Status::Valid`].
    pub valid: u64,
}

impl Store {
    /// One page of rows after (older than) `after`, at most `limit`, which is at most [`MAX_PAGE`].
    pub async fn list(
        &self,
        filter: Filter,
        after: Option<EntryId>,
        limit: u32,
        now: UnixTime,
    ) -> Result<Page, StoreError> {
        self.reader
            .read(move |sql| list(sql, filter, after, limit.clamp(1, MAX_PAGE), now))
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
        self.reader.read(move |sql| tally(sql, now)).await
    }
}

/// `limit`: negative for all of them.
pub(crate) fn find(
    sql: &Connection,
    selector: &Selector,
    limit: i64,
) -> rusqlite::Result<Vec<Entry>> {
    let mut entries = match selector {
        Selector::Fingerprint(fingerprint) => query(
            sql,
            "WHERE c.fingerprint = ?1 LIMIT ?2",
            params![fingerprint.as_bytes(), limit],
        )?,
        Selector::Serial(serial) => query(
            sql,
            "WHERE i.serial = ?1 LIMIT ?2",
            params![serial.magnitude(), limit],
        )?,
        Selector::Names(names) => {
            let mut entries = Vec::new();
            for name in names {
                entries.extend(named(sql, name, limit)?);
            }
            entries
        }
    };
    entries.sort_by_key(|entry| std::cmp::Reverse(entry.id));
    entries.dedup_by_key(|entry| entry.id);
    if let Ok(limit) = usize::try_from(limit) {
        entries.truncate(limit);
    }
    Ok(entries)
}

fn named(sql: &Connection, name: &TypedName, limit: i64) -> rusqlite::Result<Vec<Entry>> {
    match name {
        TypedName::Spki(spki) => query(
            sql,
            "WHERE i.spki = ?1 ORDER BY i.id DESC LIMIT ?2",
            params![spki.as_bytes(), limit],
        ),
        TypedName::SerialIssuer { serial, issuer } => query(
            sql,
            "WHERE i.serial = ?1 AND s.subject = ?2 LIMIT ?3",
            params![serial.magnitude(), issuer.to_string(), limit],
        ),
        other => query(
            sql,
            "JOIN name n ON n.intent_id = i.id WHERE n.kind = ?1 AND n.value = ?2 ORDER BY n.intent_id DESC LIMIT ?3",
            params![other.kind().prefix(), other.bare(), limit],
        ),
    }
}

fn list(
    sql: &Connection,
    filter: Filter,
    after: Option<EntryId>,
    limit: u32,
    now: UnixTime,
) -> rusqlite::Result<Page> {
    let now = to_seconds(now);
    let mut values: Vec<Box<dyn ToSql>> = vec![Box::new(now)];
    let mut conditions = vec!["?1 = ?1".to_owned()];
    let mut bind = |value: Box<dyn ToSql>| {
        values.push(value);
        format!("?{}", values.len())
    };
    conditions.extend(filter.status.map(|status| status.condition().to_owned()));
    if let Some(then) = filter.expiring_before {
        conditions.push(format!(
            "i.not_after >= ?1 AND i.not_after < {}",
            bind(Box::new(to_seconds(then)))
        ));
    }
    if let Some(EntryId(after)) = after {
        conditions.push(format!("i.id < {}", bind(Box::new(after))));
    }
    match filter.name {
        Some(NameFilter::Contains(part)) => {
            let part = bind(Box::new(part.to_ascii_lowercase()));
            conditions.push(format!("EXISTS (SELECT 1 FROM name n WHERE n.intent_id = i.id AND instr(lower(n.value), {part}) > 0)"));
        }
        Some(NameFilter::Exactly(names)) => {
            let alternatives: Vec<String> = names
                .into_iter()
                .map(|name| match name {
                    TypedName::Spki(spki) => format!("i.spki = {}", bind(Box::new(*spki.as_bytes()))),
                    TypedName::SerialIssuer { serial, issuer } => {
                        let serial = bind(Box::new(serial.magnitude().to_vec()));
                        format!("(i.serial = {serial} AND s.subject = {})", bind(Box::new(issuer.to_string())))
                    }
                    other => {
                        let kind = bind(Box::new(other.kind().prefix()));
                        let value = bind(Box::new(other.bare()));
                        format!("i.id IN (SELECT n.intent_id FROM name n WHERE n.kind = {kind} AND n.value = {value})")
                    }
                })
                .collect();
            conditions.push(if alternatives.is_empty() {
                "FALSE".to_owned()
            } else {
                format!("({})", alternatives.join(" OR "))
            });
        }
        None => {}
    }
    let more = bind(Box::new(limit + 1));
    let tail = format!(
        "WHERE {} ORDER BY i.id DESC LIMIT {more}",
        conditions.join(" AND ")
    );
    let entries = query(sql, &tail, rusqlite::params_from_iter(values))?;
    Ok(Page::of(entries, limit))
}

fn tally(sql: &Connection, now: UnixTime) -> rusqlite::Result<Tally> {
    let count = |status: Status| format!("count(*) FILTER (WHERE {})", status.condition());
    let counts = [
        Status::Expired,
        Status::Revoked,
        Status::Unknown,
        Status::Valid,
    ]
    .map(count)
    .join(", ");
    sql.prepare_cached(&format!("SELECT {counts} {FROM}"))?
        .query_row([to_seconds(now)], |row| {
            Ok(Tally {
                expired: unsigned(row, 0)?,
                revoked: unsigned(row, 1)?,
                unknown: unsigned(row, 2)?,
                valid: unsigned(row, 3)?,
            })
        })
}

fn query(sql: &Connection, tail: &str, values: impl Params) -> rusqlite::Result<Vec<Entry>> {
    let mut statement = sql.prepare_cached(&format!("SELECT {COLUMNS} {FROM} {tail}"))?;
    let rows = statement.query_map(values, entry)?;
    let mut entries = rows.collect::<rusqlite::Result<Vec<Entry>>>()?;
    let mut names =
        sql.prepare_cached("SELECT kind, value FROM name WHERE intent_id = ?1 ORDER BY position")?;
    for entry in &mut entries {
        entry.names = names
            .query_map([entry.id.0], typed_name)?
            .collect::<rusqlite::Result<_>>()?;
    }
    Ok(entries)
}

fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    let signed = match optional_fingerprint(row, 9)? {
        Some(fingerprint) => Some(Signed {
            fingerprint,
            der: row.get(10)?,
        }),
        None => None,
    };
    let revocation = match row.get::<_, Option<i64>>(11)? {
        Some(_) => Some(RevocationRecord {
            revoked_at: time(row, 11)?,
            reason: word(row, 12)?,
            sequence: sequence(row, 13)?,
        }),
        None => None,
    };
    Ok(Entry {
        id: EntryId(row.get(0)?),
        serial: serial(row, 1)?,
        issuer: row.get(2)?,
        profile: word(row, 3)?,
        spki: fingerprint(row, 4)?,
        names: Vec::new(),
        not_before: time(row, 5)?,
        not_after: time(row, 6)?,
        intended_at: time(row, 7)?,
        actor: json(row, 8)?,
        signed,
        revocation,
    })
}

fn typed_name(row: &Row<'_>) -> rusqlite::Result<TypedName> {
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

const COLUMNS: &str = "i.id, i.serial, s.subject, i.profile, i.spki, i.not_before, i.not_after, i.intended_at, i.actor,
     c.fingerprint, c.der, r.revoked_at, r.reason, r.sequence";

const FROM: &str = "FROM intent i
     JOIN issuer s ON s.id = i.issuer_id
     LEFT JOIN certificate c ON c.id = i.id
     LEFT JOIN revocation r ON r.serial = i.serial AND r.issuer_id = i.issuer_id";
