//! Revocation: the record, its feed message and its audit record in one transaction, and the state that nodes begin with.

use countersign_pki::feed::{Body, Message, RevocationReason, Revoked, Sequence, Snapshot};
use countersign_pki::time::UnixTime;
use countersign_policy::issuance::Actor;
use rusqlite::{Connection, params};

use crate::audit::{self, Action, Change};
use crate::error::StoreError;
use crate::inventory::{self, Entry, RevocationRecord, Selector, Status};
use crate::publication;
use crate::row::{
    fingerprint, from_sequence, json, sequence, serial, time, to_json, to_seconds, word,
};
use crate::store::{Store, last_sequence};
use crate::writer::Writing;

/// What came of a revocation.
#[derive(Clone, Debug, Default)]
pub struct Revocations {
    /// Revoked now.
    pub revoked: Vec<Entry>,
    /// Revoked before, and not past their end.
    pub already_revoked: Vec<Entry>,
    /// Meant by name but past their end: left as they are.
    pub expired: Vec<Entry>,
    /// Of others: whoever issued them revokes them.
    pub imported: Vec<Entry>,
}

impl Store {
    /// Revokes what is meant: by name whatever is not past its end, by serial or fingerprint in any case. Whether a
    /// certificate is there or only the intent makes no difference. All or none.
    pub async fn revoke(
        &self,
        selector: Selector,
        actor: Actor,
        reason: RevocationReason,
        now: UnixTime,
    ) -> Result<Revocations, StoreError> {
        let history = self.history.clone();
        self.writer
            .write(move |writing| {
                let mut outcome = Revocations::default();
                // Looked up here, in the transaction, so that nothing of that name is issued in between.
                for mut entry in inventory::find(writing.sql, &selector, -1)
                    .map_err(|error| writing.fault(&error))?
                {
                    let by_name = matches!(selector, Selector::Names(_));
                    let ended = entry.not_after < now;
                    match entry.status_at(now) {
                        _ if entry.is_imported() => outcome.imported.push(entry),
                        _ if by_name && ended => outcome.expired.push(entry),
                        Status::Revoked => outcome.already_revoked.push(entry),
                        Status::Expired | Status::Unknown | Status::Valid => {
                            let (revoked, sequence) = insert(writing, &entry, &actor, reason, now)
                                .map_err(|error| writing.fault(&error))?;
                            let body = Body::Revoked(revoked);
                            writing.tell(Message {
                                history: history.clone(),
                                sequence,
                                at: now,
                                body,
                            });
                            entry.revocation = Some(RevocationRecord {
                                revoked_at: now,
                                reason,
                                sequence,
                            });
                            outcome.revoked.push(entry);
                        }
                    }
                }
                Ok(outcome)
            })
            .await
    }

    /// Every revocation there is, and the feed's place where that was true. None is left out for being past its end: a
    /// clock that was ahead and is set back would let in whom it left out.
    pub async fn snapshot(&self, now: UnixTime) -> Result<Snapshot, StoreError> {
        let history = self.history.clone();
        self.reader
            .read(move |sql| {
                let mut statement = sql.prepare_cached(
                    "SELECT s.spki, r.serial, r.reason, r.revoked_at
                     FROM revocation r JOIN issuer s ON s.id = r.issuer_id",
                )?;
                let revoked = statement.query_map([], |row| {
                    Ok(Revoked {
                        issuer_key: fingerprint(row, 0)?,
                        serial: serial(row, 1)?,
                        reason: word(row, 2)?,
                        revoked_at: time(row, 3)?,
                    })
                })?;
                let revoked = revoked.collect::<rusqlite::Result<_>>()?;
                Ok(Snapshot {
                    history,
                    sequence: last_sequence(sql)?,
                    at: now,
                    revoked,
                })
            })
            .await
    }

    /// Feed messages after `after`, oldest first, at most `limit`.
    pub async fn messages(&self, after: Sequence, limit: u32) -> Result<Vec<Message>, StoreError> {
        let history = self.history.clone();
        self.reader
            .read(move |sql| {
                let mut statement = sql.prepare_cached("SELECT sequence, at, body FROM feed WHERE sequence > ?1 ORDER BY sequence LIMIT ?2")?;
                let messages = statement.query_map(params![from_sequence(after), limit], |row| {
                    Ok(Message {
                        history: history.clone(),
                        sequence: sequence(row, 0)?,
                        at: time(row, 1)?,
                        body: json(row, 2)?,
                    })
                })?;
                messages.collect()
            })
            .await
    }
}

fn insert(
    writing: &Writing<'_>,
    entry: &Entry,
    actor: &Actor,
    reason: RevocationReason,
    now: UnixTime,
) -> rusqlite::Result<(Revoked, Sequence)> {
    let sql: &Connection = writing.sql;
    let (issuer_id, issuer_key) = sql
        .prepare_cached(
            "SELECT s.id, s.spki FROM intent i JOIN issuer s ON s.id = i.issuer_id WHERE i.id = ?1",
        )?
        .query_row([entry.id.0], |row| {
            Ok((row.get::<_, i64>(0)?, fingerprint(row, 1)?))
        })?;
    let revoked = Revoked {
        issuer_key,
        serial: entry.serial,
        reason,
        revoked_at: now,
    };
    let sequence = Sequence(last_sequence(sql)?.0 + 1);
    sql.prepare_cached("INSERT INTO feed (sequence, at, body) VALUES (?1, ?2, ?3)")?
        .execute(params![
            from_sequence(sequence),
            to_seconds(now),
            to_json(&Body::Revoked(revoked))?
        ])?;
    sql.prepare_cached(
        "INSERT INTO revocation (issuer_id, serial, reason, revoked_at, not_after, sequence) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![
        issuer_id,
        entry.serial.magnitude(),
        reason.as_str(),
        to_seconds(now),
        to_seconds(entry.not_after),
        from_sequence(sequence)
    ])?;
    publication::enter(sql, issuer_id, &revoked, entry.not_after, sequence)?;
    sql.prepare_cached("UPDATE entry SET state = 'revoked' WHERE id = ?1")?
        .execute([entry.id.0])?;
    audit::record(
        sql,
        now,
        actor,
        Action::Revoke,
        &entry.serial.to_string(),
        reason.as_str(),
        Some(&Change {
            before: entry.status_at(now).to_string(),
            after: Status::Revoked.to_string(),
        }),
    )?;
    Ok((revoked, sequence))
}
