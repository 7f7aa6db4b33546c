//! What has long ended leaves the inventory: in small transactions, each with its audit record, and only what is proved to
//! have ended by the bytes themselves.
//!
//! [`Store::ended`] reads, whoever calls it archives, [`Store::drop_ended`] takes away what stands as it was read. It never
//! touches the audit log, and these stay whatever their age: what was revoked because its key was given away, or is on hold, so
//! that the key is not certified again; what a revocation list in force still has to show; what is not proved to have ended;
//! revocations of serial numbers that the inventory does not have; and identities of which somebody has said something.

use std::ops::AddAssign;

use countersign_pki::certificate::Certificate;
use countersign_pki::feed::Sequence;
use countersign_pki::tbs::preview_of;
use countersign_pki::time::UnixTime;
use countersign_policy::issuance::{Actor, Profile};
use countersign_policy::retention::Witness;
use rusqlite::{Connection, OptionalExtension, params};

use crate::audit::{self, Action};
use crate::error::StoreError;
use crate::inventory::record;
use crate::inventory::{Entry, EntryId, load};
use crate::row::{from_sequence, json, sequence, to_json, to_seconds, unsigned};
use crate::store::{Store, WITNESS_DOUBTED, WITNESSED_AT, last_sequence, set_meta};
use crate::writer::Writing;
use crate::{intent, publication};

/// A row whose certificate has ended: its own notAfter says so, and the row says the same. Only [`Store::ended`] makes one.
#[derive(Clone, Debug)]
pub struct Ended {
    entry: Entry,
    to_be_signed: Option<Vec<u8>>,
}

impl Ended {
    /// As it was read.
    pub fn entry(&self) -> &Entry {
        &self.entry
    }

    /// Of an intent that no certificate is known of: the bytes that may have been signed.
    pub fn to_be_signed(&self) -> Option<&[u8]> {
        self.to_be_signed.as_deref()
    }
}

/// Some of what has ended, in no particular order.
#[derive(Clone, Debug, Default)]
pub struct EndedPortion {
    /// What may leave.
    pub ended: Vec<Ended>,
    /// What has to stay.
    pub kept: Kept,
    /// Behind which place to go on; `None`: this is the last.
    pub next: Option<EndedPlace>,
}

/// A place among what has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndedPlace {
    state: usize,
    not_after: i64,
    id: i64,
}

/// How many stay although the row says that they have ended, and why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// The key was given away, or is on hold.
    pub compromised: u64,
    /// A revocation list in force has to show them.
    pub listed: u64,
    /// The bytes cannot be read or say another end.
    pub unproved: u64,
}

impl AddAssign for Kept {
    fn add_assign(&mut self, other: Self) {
        self.compromised += other.compromised;
        self.listed += other.listed;
        self.unproved += other.unproved;
    }
}

/// How many left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Certificates of ours.
    pub certificates: u64,
    /// Certificates of others.
    pub imported: u64,
    /// Intents that no certificate is known of.
    pub intents: u64,
}

impl Dropped {
    /// All of them.
    pub fn total(self) -> u64 {
        self.certificates + self.imported + self.intents
    }
}

impl AddAssign for Dropped {
    fn add_assign(&mut self, other: Self) {
        self.certificates += other.certificates;
        self.imported += other.imported;
        self.intents += other.intents;
    }
}

impl Store {
    /// The time that retention goes by, as an earlier process has left it.
    pub async fn witness(&self) -> Result<Witness, StoreError> {
        self.reader
            .read(|sql| {
                let seconds = sql
                    .prepare_cached("SELECT CAST(value AS INTEGER) FROM meta WHERE key = ?1")?
                    .query_row([WITNESSED_AT], |row| unsigned(row, 0))
                    .optional()?;
                let doubt = sql
                    .prepare_cached("SELECT value FROM meta WHERE key = ?1")?
                    .query_row([WITNESS_DOUBTED], |row| json(row, 0))
                    .optional()?;
                // Without evidence of any time nothing has ended.
                let reached = UnixTime::from_seconds(seconds.unwrap_or(0));
                Ok(Witness::at(reached, doubt))
            })
            .await
    }

    /// Leaves it for the next process. Changes nothing that anybody asked for, so it has no audit record.
    pub async fn keep_witness(&self, witness: Witness) -> Result<(), StoreError> {
        self.writer
            .write(move |writing| {
                let keep = || {
                    let reached = witness.time().seconds().to_string();
                    set_meta(writing.sql, WITNESSED_AT, &reached)?;
                    match witness.doubt() {
                        Some(doubt) => set_meta(writing.sql, WITNESS_DOUBTED, &to_json(&doubt)?),
                        None => writing
                            .sql
                            .execute("DELETE FROM meta WHERE key = ?1", [WITNESS_DOUBTED])
                            .map(drop),
                    }
                };
                keep().map_err(|error| writing.fault(&error))
            })
            .await
    }

    /// How many rows say that they ended before `cutoff`: at most so many can leave.
    pub async fn count_ended(&self, cutoff: UnixTime) -> Result<u64, StoreError> {
        self.lists
            .read(move |sql| {
                let mut count = sql.prepare_cached(COUNT)?;
                let mut all = 0;
                for state in STATES {
                    all += count
                        .query_row(params![state, to_seconds(cutoff)], |row| unsigned(row, 0))?;
                }
                Ok(all)
            })
            .await
    }

    /// The next of what ended before `cutoff`, at most [`PORTION`] rows. `now`: what lists are judged at.
    pub async fn ended(
        &self,
        after: Option<EndedPlace>,
        cutoff: UnixTime,
        now: UnixTime,
    ) -> Result<EndedPortion, StoreError> {
        self.lists
            .read(move |sql| portion(sql, after, cutoff, now))
            .await
    }

    /// The next certificates of a profile behind `after` that ended before `cutoff`, at most [`PORTION`] rows, and behind which to go on;
    /// `None`: these are the last.
    pub async fn ended_of_profile(
        &self,
        profile: Profile,
        after: Option<EntryId>,
        cutoff: UnixTime,
        now: UnixTime,
    ) -> Result<(Vec<Ended>, Option<EntryId>), StoreError> {
        self.lists
            .read(move |sql| {
                let after = after.map_or(0, |EntryId(id)| id);
                let found: Vec<i64> = sql
                    .prepare_cached(OF_PROFILE)?
                    .query_map(
                        params![profile.as_str(), after, to_seconds(cutoff), PORTION],
                        |row| row.get(0),
                    )?
                    .collect::<rusqlite::Result<_>>()?;
                let mut portion = EndedPortion::default();
                judge_each(sql, found.iter().copied(), cutoff, now, &mut portion)?;
                Ok((portion.ended, found.last().copied().map(EntryId)))
            })
            .await
    }

    /// Takes them away, but for those that have changed since they were read. `where_to`: for the audit record.
    pub async fn drop_ended(
        &self,
        ended: Vec<Ended>,
        cutoff: UnixTime,
        where_to: String,
        actor: Actor,
        now: UnixTime,
    ) -> Result<Dropped, StoreError> {
        self.change(actor.clone(), now, move |writing| {
            let mut dropped = Dropped::default();
            for it in &ended {
                take_away(writing, it, &mut dropped).map_err(|error| writing.fault(&error))?;
            }
            if dropped.total() > 0 {
                let Dropped {
                    certificates,
                    imported,
                    intents,
                } = dropped;
                audit::record(
                    writing.sql,
                    now,
                    &actor,
                    Action::Prune,
                    &format!(
                        "{certificates} certificates, {imported} imported ones, {intents} intents"
                    ),
                    &format!("ended before {cutoff}; {where_to}"),
                    None,
                )
                .map_err(|error| writing.fault(&error))?;
            }
            Ok(dropped)
        })
        .await
    }

    /// Takes away messages of the feed that nobody is told any more, of the next 4096 behind `after` that were told before
    /// `cutoff`; where to go on.
    pub async fn drop_messages(
        &self,
        after: Sequence,
        cutoff: UnixTime,
        actor: Actor,
        now: UnixTime,
    ) -> Result<Option<Sequence>, StoreError> {
        let bound = move |sql: &Connection| {
            let last = last_sequence(sql)?.0.saturating_sub(TOLD_AGAIN);
            sql.prepare_cached(
                "SELECT max(sequence), count(*) FROM (
                     SELECT sequence FROM feed WHERE sequence > ?1 AND sequence < ?2 AND at < ?3 ORDER BY sequence LIMIT ?4)",
            )?
            .query_row(
                params![from_sequence(after), from_sequence(Sequence(last)), to_seconds(cutoff), MESSAGES],
                |row| match unsigned(row, 1)? {
                    0 => Ok(None),
                    _ => sequence(row, 0).map(Some),
                },
            )
        };
        let Some(end) = self.lists.read(bound).await? else {
            return Ok(None);
        };
        self.change(actor.clone(), now, move |writing| {
            let drop = || {
                let dropped = writing
                    .sql
                    .prepare_cached(FORGET_MESSAGES)?
                    .execute(params![from_sequence(after), from_sequence(end)])?;
                if dropped > 0 {
                    let object = format!("{dropped} messages of the feed");
                    let reason = format!("told before {cutoff}, and superseded");
                    audit::record(
                        writing.sql,
                        now,
                        &actor,
                        Action::Prune,
                        &object,
                        &reason,
                        None,
                    )?;
                }
                Ok(())
            };
            drop().map_err(|error| writing.fault(&error))?;
            Ok(Some(end))
        })
        .await
    }
}

fn portion(
    sql: &Connection,
    after: Option<EndedPlace>,
    cutoff: UnixTime,
    now: UnixTime,
) -> rusqlite::Result<EndedPortion> {
    let mut place = after.unwrap_or(EndedPlace {
        state: 0,
        not_after: 0,
        id: 0,
    });
    let mut found: Vec<(i64, i64)> = Vec::new();
    while found.is_empty() {
        let Some(state) = STATES.get(place.state) else {
            return Ok(EndedPortion::default());
        };
        found = sql
            .prepare_cached(SELECT)?
            .query_map(
                params![
                    state,
                    place.not_after,
                    place.id,
                    to_seconds(cutoff),
                    PORTION
                ],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )?
            .collect::<rusqlite::Result<_>>()?;
        if let Some(&(not_after, id)) = found.last() {
            place = EndedPlace {
                not_after,
                id,
                ..place
            };
        } else {
            place = EndedPlace {
                state: place.state + 1,
                not_after: 0,
                id: 0,
            };
        }
    }
    let mut portion = EndedPortion {
        next: Some(place),
        ..EndedPortion::default()
    };
    judge_each(
        sql,
        found.into_iter().map(|(_, id)| id),
        cutoff,
        now,
        &mut portion,
    )?;
    Ok(portion)
}

fn judge_each(
    sql: &Connection,
    found: impl Iterator<Item = i64>,
    cutoff: UnixTime,
    now: UnixTime,
    portion: &mut EndedPortion,
) -> rusqlite::Result<()> {
    for id in found {
        // One by one: a row that cannot be read keeps itself, not the others.
        match load(sql, &[EntryId(id)]) {
            Ok(entries) => {
                for entry in entries {
                    judge(sql, entry, cutoff, now, portion)?;
                }
            }
            Err(
                rusqlite::Error::FromSqlConversionFailure(..)
                | rusqlite::Error::InvalidColumnType(..),
            ) => {
                portion.kept.unproved += 1;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn judge(
    sql: &Connection,
    entry: Entry,
    cutoff: UnixTime,
    now: UnixTime,
    portion: &mut EndedPortion,
) -> rusqlite::Result<()> {
    let to_be_signed = match &entry.signed {
        Some(_) => None,
        None => intent::to_be_signed(sql, entry.id)?,
    };
    let certificate = match (&entry.signed, &to_be_signed) {
        (Some(signed), _) => Certificate::parse(&signed.der).ok(),
        (None, Some(bytes)) => preview_of(bytes).ok(),
        (None, None) => None,
    };
    let is_proved = certificate.is_some_and(|certificate| {
        certificate.not_after() == entry.not_after
            && certificate.not_after() < cutoff
            && certificate.serial() == entry.serial
    });
    let kept = &mut portion.kept;
    if !is_proved {
        kept.unproved += 1;
    } else if (entry.revocation).is_some_and(|it| it.reason.is_compromise() || it.reason.is_hold())
    {
        kept.compromised += 1;
    } else if entry.revocation.is_some() && publication::is_to_be_shown(sql, entry.serial, now)? {
        kept.listed += 1;
    } else {
        portion.ended.push(Ended {
            entry,
            to_be_signed,
        });
    }
    Ok(())
}

fn take_away(
    writing: &Writing<'_>,
    Ended { entry, .. }: &Ended,
    dropped: &mut Dropped,
) -> rusqlite::Result<()> {
    let sql = writing.sql;
    // Signed, revoked, released or dropped since.
    let stands = match load(sql, &[entry.id]) {
        Ok(now) => now
            .first()
            .is_some_and(|now| now.signed == entry.signed && now.revocation == entry.revocation),
        Err(rusqlite::Error::QueryReturnedNoRows) => false,
        Err(error) => return Err(error),
    };
    if !stands {
        return Ok(());
    }
    if let Some(issuer) = intent::issuer_of(sql, entry.id)? {
        if let Some(revocation) = entry.revocation {
            sql.prepare_cached("DELETE FROM revocation WHERE serial = ?1 AND issuer_id = ?2")?
                .execute(params![entry.serial.magnitude(), issuer])?;
            publication::forget(sql, issuer, entry.serial)?;
            let before = from_sequence(revocation.sequence);
            let told_again = last_sequence(sql)?.0.saturating_sub(TOLD_AGAIN);
            if revocation.sequence.0 < told_again {
                sql.prepare_cached(FORGET_MESSAGES)?
                    .execute(params![before - 1, before])?;
            }
        }
        intent::forget(sql, entry.id)?;
    }
    record::forget(sql, entry.id)?;
    if entry.is_imported() {
        dropped.imported += 1;
    } else if entry.signed.is_some() {
        dropped.certificates += 1;
    } else {
        dropped.intents += 1;
    }
    Ok(())
}

const STATES: [&str; 4] = ["signed", "imported", "revoked", "unknown"];

const COUNT: &str =
    "SELECT count(*) FROM entry INDEXED BY entry_by_end WHERE state = ?1 AND not_after < ?2";

const SELECT: &str = "SELECT not_after, id FROM entry INDEXED BY entry_by_end
     WHERE state = ?1 AND (not_after, id) > (?2, ?3) AND not_after < ?4 ORDER BY not_after, id LIMIT ?5";

const OF_PROFILE: &str = "SELECT id FROM entry INDEXED BY entry_by_profile
     WHERE profile = ?1 AND id > ?2 AND not_after < ?3 ORDER BY id LIMIT ?4";

const FORGET_MESSAGES: &str = "DELETE FROM feed WHERE sequence > ?1 AND sequence <= ?2
     AND NOT EXISTS (SELECT 1 FROM revocation r INDEXED BY revocation_by_message WHERE r.sequence = feed.sequence)";

/// Rows of one transaction: some 10 ms of the writer's time, so that issuing does not wait.
pub const PORTION: u32 = 256;

const MESSAGES: u32 = 4096;

/// Twice what a node that comes back is told one by one; whoever has missed more gets a snapshot.
const TOLD_AGAIN: u64 = 20_000;

#[cfg(test)]
mod tests {
    use rusqlite::params_from_iter;
    use rusqlite::types::Null;

    use super::*;
    use crate::schema::MIGRATIONS;

    #[test]
    fn nothing_is_looked_for_in_a_whole_table_nor_by_the_foreign_keys() {
        let sql = Connection::open_in_memory().expect("opens");
        sql.execute_batch("PRAGMA foreign_keys = ON").expect("sets");
        for migration in MIGRATIONS {
            sql.execute_batch(migration).expect("migrates");
        }
        let queries = intent::FORGET.into_iter().chain(record::FORGET).chain([
            record::FORGET_IDENTITY,
            FORGET_MESSAGES,
            SELECT,
            COUNT,
            OF_PROFILE,
        ]);
        for query in queries {
            let mut statement = sql
                .prepare(&format!("EXPLAIN QUERY PLAN {query}"))
                .expect("SQL");
            let values = vec![Null; statement.parameter_count()];
            let lines: Vec<String> = statement
                .query_map(params_from_iter(values), |row| row.get(3))
                .expect("explains")
                .collect::<rusqlite::Result<_>>()
                .expect("lines");
            assert!(!lines.is_empty(), "{query}");
            for line in lines {
                assert!(
                    !line.starts_with("SCAN") && !line.contains("TEMP B-TREE"),
                    "{line}\n{query}"
                );
            }
        }
    }
}
