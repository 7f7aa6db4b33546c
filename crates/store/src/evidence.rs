//! Revocations that somebody else remembers: a CRL of ours that was handed out, the feed state of a gateway. They are
//! united with what the inventory knows; nothing that it knows is changed.

use std::collections::HashMap;
use std::sync::Arc;

use countersign_pki::feed::{Body, HistoryId, Message, RevocationReason, Revoked, Sequence};
use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::time::UnixTime;
use countersign_policy::issuance::Actor;
use rusqlite::{Connection, OptionalExtension, params};

use crate::audit::{self, Action, Change};
use crate::error::StoreError;
use crate::issuer::IssuerId;
use crate::pause;
use crate::publication;
use crate::row::{from_sequence, time, to_json, to_seconds, word};
use crate::store::{Store, last_sequence};

/// What somebody else remembers.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// For the audit log: which CRL, which feed.
    pub source: String,
    /// When it was true; `None`: it tells of the time since this history began, and of no time before it.
    pub at: Option<UnixTime>,
    /// Whether that is all that was revoked of the leaves then, as a complete CRL and a feed state have it; a shard has a part,
    /// and the CRL of another issuer nothing of it.
    pub is_whole: bool,
    /// Everything that it says is revoked.
    pub revoked: Vec<Revoked>,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct United {
    /// Certificates of the inventory that are revoked now.
    pub revoked: u64,
    /// Serials that the inventory does not know, and now knows as revoked.
    pub unknown: u64,
    /// Those that were revoked already.
    pub known: u64,
    /// Whether it tells of the time after the backup that issuing waits for.
    pub is_newer_than_backup: bool,
    /// Whether it tells of every leaf. What is newer and whole lets issuing go on.
    pub is_whole: bool,
}

impl Store {
    /// Revokes what `evidence` says is revoked and the inventory does not. Repeating it changes nothing more. One that
    /// breaks off has revoked a part, counts for nothing, and is finished by repeating it.
    pub async fn unite(
        &self,
        evidence: Evidence,
        actor: Actor,
        now: UnixTime,
    ) -> Result<United, StoreError> {
        let issuers: HashMap<Fingerprint, (i64, UnixTime)> = self
            .known_issuers()
            .map(|issuer| {
                let certificate = &issuer.certificate;
                (certificate.spki(), (issuer.id.0, certificate.not_after()))
            })
            .collect();
        // Judged whole before anything is changed.
        if let Some(foreign) =
            (evidence.revoked.iter()).find(|it| !issuers.contains_key(&it.issuer_key))
        {
            return Err(StoreError::UnknownIssuerKey {
                key: foreign.issuer_key,
            });
        }
        let known = Arc::new((issuers, self.ends_of_cas()));
        let mut united = United::default();
        for batch in evidence.revoked.chunks(BATCH) {
            let (batch, known) = (batch.to_vec(), Arc::clone(&known));
            let (history, actor, source) =
                (self.history.clone(), actor.clone(), evidence.source.clone());
            let part = self
                .change(actor.clone(), now, move |writing| {
                    let mut part = United::default();
                    for revoked in batch {
                        let (issuers, ends_of_cas) = &*known;
                        let (issuer, ends) = issuers[&revoked.issuer_key];
                        let end_of_ca = ends_of_cas.get(&(IssuerId(issuer), revoked.serial));
                        let one = Remembered {
                            revoked,
                            issuer,
                            ends: end_of_ca.copied().unwrap_or(ends),
                            source: &source,
                            actor: &actor,
                            now,
                        };
                        let (outcome, message) = one
                            .revoke(writing.sql, &history)
                            .map_err(|error| writing.fault(&error))?;
                        if let Some(message) = message {
                            writing.tell(message);
                        }
                        match outcome {
                            Outcome::Known => part.known += 1,
                            Outcome::Revoked => part.revoked += 1,
                            Outcome::Unknown => part.unknown += 1,
                        }
                    }
                    Ok(part)
                })
                .await?;
            united.known += part.known;
            united.revoked += part.revoked;
            united.unknown += part.unknown;
        }
        let (source, at) = (evidence.source, evidence.at);
        united.is_whole = evidence.is_whole;
        united.is_newer_than_backup = self
            .change(actor.clone(), now, move |writing| {
                count(writing.sql, &source, at, united, &actor, now)
                    .map_err(|error| writing.fault(&error))
            })
            .await?;
        Ok(united)
    }
}

/// One revocation that somebody else remembers.
pub(crate) struct Remembered<'a> {
    pub(crate) revoked: Revoked,
    pub(crate) issuer: i64,
    /// Where no row of certificates has it: at the latest with its issuer.
    pub(crate) ends: UnixTime,
    pub(crate) source: &'a str,
    pub(crate) actor: &'a Actor,
    pub(crate) now: UnixTime,
}

pub(crate) enum Outcome {
    Known,
    Revoked,
    Unknown,
}

impl Remembered<'_> {
    /// The message is to be told once the change is durable.
    pub(crate) fn revoke(
        &self,
        sql: &Connection,
        history: &HistoryId,
    ) -> rusqlite::Result<(Outcome, Option<Message>)> {
        let serial = self.revoked.serial;
        let known: Option<(RevocationReason, UnixTime)> = sql
            .prepare_cached(
                "SELECT reason, revoked_at FROM revocation WHERE serial = ?1 AND issuer_id = ?2",
            )?
            .query_row(params![serial.magnitude(), self.issuer], |row| {
                Ok((word(row, 0)?, time(row, 1)?))
            })
            .optional()?;
        // The first statement stands, but a hold that was made a revocation can be released by nobody.
        if known.is_some_and(|(reason, _)| !reason.is_hold() || self.revoked.reason.is_hold()) {
            return Ok((Outcome::Known, None));
        }
        // It counts from the hold, here as on the lists and in what nodes are told.
        let revoked = Revoked {
            revoked_at: known.map_or(self.revoked.revoked_at, |(_, since)| since),
            ..self.revoked
        };
        let entry: Option<(i64, i64)> = sql
            .prepare_cached("SELECT id, not_after FROM entry WHERE serial = ?1 AND issuer_id = ?2")?
            .query_row(params![serial.magnitude(), self.issuer], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .optional()?;
        let sequence = Sequence(last_sequence(sql)?.0 + 1);
        let body = Body::Revoked(revoked);
        sql.prepare_cached("INSERT INTO feed (sequence, at, body) VALUES (?1, ?2, ?3)")?
            .execute(params![
                from_sequence(sequence),
                to_seconds(self.now),
                to_json(&body)?
            ])?;
        let ends = entry.map_or(to_seconds(self.ends), |(_, not_after)| not_after);
        sql.prepare_cached(
            "INSERT INTO revocation (issuer_id, serial, reason, revoked_at, not_after, sequence) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (serial, issuer_id) DO UPDATE SET reason = excluded.reason, sequence = excluded.sequence",
        )?
        .execute(params![
            self.issuer,
            serial.magnitude(),
            revoked.reason.as_str(),
            to_seconds(revoked.revoked_at),
            ends,
            from_sequence(sequence)
        ])?;
        let not_after = UnixTime::from_seconds(ends.unsigned_abs());
        publication::enter(sql, self.issuer, &revoked, not_after, sequence)?;
        if let Some((id, _)) = entry {
            sql.prepare_cached("UPDATE entry SET state = 'revoked', held = ?2 WHERE id = ?1")?
                .execute(params![id, revoked.reason.is_hold()])?;
        }
        let before = match known {
            Some(_) => "held",
            None => "not revoked",
        };
        let change = entry.map(|_| Change {
            before: before.to_owned(),
            after: "revoked".to_owned(),
        });
        audit::record(
            sql,
            self.now,
            self.actor,
            Action::Revoke,
            &serial.to_string(),
            &format!("{}: {}", self.source, self.revoked.reason),
            change.as_ref(),
        )?;
        let message = Message {
            history: history.clone(),
            sequence,
            at: self.now,
            body,
        };
        let outcome = match entry {
            Some(_) => Outcome::Revoked,
            None => Outcome::Unknown,
        };
        Ok((outcome, Some(message)))
    }
}

/// Notes that evidence was given; whether it says anything about the time after the backup.
fn count(
    sql: &Connection,
    source: &str,
    at: Option<UnixTime>,
    united: United,
    actor: &Actor,
    now: UnixTime,
) -> rusqlite::Result<bool> {
    let found = pause::find(sql)?;
    let is_newer = found.is_some_and(|pause| at.is_some_and(|at| pause.backup_at <= at));
    if let Some(mut pause) = found.filter(|_| is_newer && united.is_whole) {
        pause.evidence += 1;
        pause::put(sql, &pause)?;
    }
    let United {
        revoked,
        unknown,
        known,
        is_whole,
        ..
    } = united;
    let part = if is_whole { "" } else { ", of a part" };
    let when = at.map_or_else(
        || "of this history".to_owned(),
        |at| format!("true at {at}"),
    );
    let reason = format!(
        "{when}{part}: {revoked} revoked, {unknown} of unknown serials, {known} known before"
    );
    audit::record(sql, now, actor, Action::Evidence, source, &reason, None)?;
    Ok(is_newer)
}

/// Some 300 KiB of write-ahead log: no other change waits long behind it.
const BATCH: usize = 256;
