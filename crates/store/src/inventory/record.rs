//! A new row, with its names and its identity.

use countersign_pki::certificate::Certificate;
use countersign_pki::name::{NameKind, TypedName};
use countersign_pki::time::UnixTime;
use countersign_policy::issuance::Actor;
use rusqlite::{Connection, OptionalExtension, params};

use super::filter::backwards;
use super::{EntryId, principal};
use crate::issuer::IssuerId;
use crate::row::{to_json, to_seconds};

/// What a row is made of.
pub(crate) struct NewEntry<'a> {
    pub(crate) certificate: &'a Certificate,
    pub(crate) issuer: &'a str,
    pub(crate) profile: &'a str,
    pub(crate) state: &'static str,
    pub(crate) fingerprint: Option<&'a [u8]>,
    pub(crate) actor: &'a Actor,
    pub(crate) now: UnixTime,
    /// `None`: of others.
    pub(crate) ours: Option<Ours>,
}

/// What is known of a certificate that this authority issues.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ours {
    pub(crate) issuer: IssuerId,
    /// The list whose URI stands in it.
    pub(crate) shard: Option<i64>,
    pub(crate) renews: Option<EntryId>,
}

impl NewEntry<'_> {
    /// In the transaction of the change itself.
    pub(crate) fn insert(&self, sql: &Connection) -> rusqlite::Result<EntryId> {
        let certificate = self.certificate;
        let identity = identity(sql, &shown_by(certificate))?;
        let issuer = issuer(sql, self.issuer)?;
        let id = sql
            .prepare_cached(
                "INSERT INTO entry (state, issuer_name_id, serial, profile, spki, fingerprint, identity_id, not_before, not_after, added_at, issued_by,
                     issuer_id, crl_id, renews, actor)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
            )?
            .insert(params![
                self.state,
                issuer,
                certificate.serial().magnitude(),
                self.profile,
                certificate.spki().as_bytes(),
                self.fingerprint,
                identity,
                to_seconds(certificate.not_before()),
                to_seconds(certificate.not_after()),
                to_seconds(self.now),
                who(self.actor),
                self.ours.map(|ours| ours.issuer.0),
                self.ours.and_then(|ours| ours.shard),
                self.ours.and_then(|ours| ours.renews).map(|id| id.0),
                to_json(self.actor)?,
            ])?;
        insert_names(sql, id, certificate)?;
        Ok(EntryId(id))
    }
}

/// The name that stands for the certificate; its key, where it has no other.
pub(crate) fn shown_by(certificate: &Certificate) -> TypedName {
    let names: Vec<TypedName> = kept(certificate).cloned().collect();
    principal(&names)
        .cloned()
        .unwrap_or_else(|| TypedName::Spki(certificate.spki()))
}

/// The number of an identity, new or not.
pub(crate) fn identity(sql: &Connection, name: &TypedName) -> rusqlite::Result<i64> {
    let (kind, value) = (name.kind().prefix(), name.bare());
    let found = sql
        .prepare_cached("SELECT id FROM identity WHERE kind = ?1 AND value = ?2")?
        .query_row(params![kind, value], |row| row.get(0))
        .optional()?;
    match found {
        Some(id) => Ok(id),
        None => sql
            .prepare_cached("INSERT INTO identity (kind, value) VALUES (?1, ?2)")?
            .insert(params![kind, value]),
    }
}

/// Takes a row away with its names, and the identity, if it was its last and nobody has said anything of it. What refers to the
/// row is gone.
pub(crate) fn forget(sql: &Connection, id: EntryId) -> rusqlite::Result<()> {
    let identity: i64 = sql
        .prepare_cached("SELECT identity_id FROM entry WHERE id = ?1")?
        .query_row([id.0], |row| row.get(0))?;
    for statement in FORGET {
        sql.prepare_cached(statement)?.execute([id.0])?;
    }
    sql.prepare_cached(FORGET_IDENTITY)?
        .execute([identity])
        .map(drop)
}

pub(crate) const FORGET: [&str; 3] = [
    "DELETE FROM imported WHERE id = ?1",
    "DELETE FROM name WHERE entry_id = ?1",
    "DELETE FROM entry WHERE id = ?1",
];

pub(crate) const FORGET_IDENTITY: &str =
    "DELETE FROM identity WHERE id = ?1 AND owner IS NULL AND note IS NULL
     AND NOT EXISTS (SELECT 1 FROM label l WHERE l.identity_id = ?1)
     AND NOT EXISTS (SELECT 1 FROM entry e INDEXED BY entry_by_identity WHERE e.identity_id = ?1)";

/// As the filter `issued by` has it.
fn who(actor: &Actor) -> String {
    match actor {
        Actor::Authority => "authority".to_owned(),
        Actor::Holder { identity, .. } => identity.name.to_string(),
        Actor::LocalAdmin { uid } => format!("uid:{uid}"),
        Actor::Operator { identity, .. } => format!("operator:{}", identity.name.bare()),
    }
}

fn issuer(sql: &Connection, subject: &str) -> rusqlite::Result<i64> {
    let found = sql
        .prepare_cached("SELECT id FROM issuer_name WHERE subject = ?1")?
        .query_row([subject], |row| row.get(0))
        .optional()?;
    match found {
        Some(id) => Ok(id),
        None => sql
            .prepare_cached("INSERT INTO issuer_name (subject) VALUES (?1)")?
            .insert([subject]),
    }
}

/// The key and the serial with its issuer are columns. A name that does not read as what it is written as, which only a
/// certificate of others can have, would make the row unreadable: it is left out.
fn kept(certificate: &Certificate) -> impl Iterator<Item = &TypedName> {
    certificate.names().iter().filter(|name| {
        !matches!(name.kind(), NameKind::SerialIssuer | NameKind::Spki)
            && TypedName::parse_as(name.kind(), &name.bare()).as_ref() == Ok(name)
    })
}

fn insert_names(sql: &Connection, id: i64, certificate: &Certificate) -> rusqlite::Result<()> {
    let mut insert = sql.prepare_cached(
        "INSERT OR IGNORE INTO name (kind, value, entry_id, position, folded, reversed) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    for (position, name) in (0_i64..).zip(kept(certificate)) {
        let bare = name.bare();
        let has_pattern = name.kind() != NameKind::Dn;
        insert.execute(params![
            name.kind().prefix(),
            bare,
            id,
            position,
            has_pattern.then(|| bare.to_ascii_lowercase()),
            has_pattern.then(|| backwards(&bare)),
        ])?;
    }
    Ok(())
}
