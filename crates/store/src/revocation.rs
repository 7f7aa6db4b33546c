//! Revocation, hold and release: the record, its feed message and its audit record in one transaction, however many
//! certificates are meant; and the state that nodes begin with.
//!
//! A withdrawal goes through what it means portion by portion, so that its memory is that of a portion and of the messages
//! it will tell: 72 bytes for each certificate.

mod radius;
mod successors;
mod under_way;

use countersign_pki::feed::{
    Batch, Body, MAX_BATCH, Message, Released, RevocationReason, Revoked, Sequence, Snapshot,
};
use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::name::TypedName;
use countersign_pki::serial::SerialNumber;
use countersign_pki::time::UnixTime;
use countersign_policy::issuance::Actor;
use rusqlite::params;

use crate::audit::{self, Action, Change};
use crate::error::StoreError;
use crate::inventory::{Cursor, Filter, RevocationRecord, Selector, Status};
use crate::issuer::IssuerId;
use crate::row::{
    fingerprint, from_sequence, json, sequence, serial, time, to_json, to_seconds, word,
};
use crate::store::{Store, last_sequence, sequence_base};
use crate::writer::Writing;

use self::radius::{Candidate, Radius};
use self::successors::Withdrawing;
use self::under_way::Counted;
pub(crate) use self::under_way::UnderWay;

/// Which certificates a withdrawal or a release means.
#[derive(Clone, Debug)]
pub struct Selection {
    /// Those for which all of this holds.
    pub filter: Filter,
    /// What about those past their end.
    pub ended: Ended,
    /// Where nothing has the filter's serial: of this issuer it is revoked all the same.
    pub unrecorded: Option<IssuerId>,
}

impl From<Selector> for Selection {
    /// By name, those past their end only where nothing else is.
    fn from(selector: Selector) -> Self {
        let ended = match selector {
            Selector::Names(_) => Ended::IfNothingElse,
            Selector::Fingerprint(_) | Selector::Serial(_) => Ended::Included,
        };
        Self {
            filter: selector.into(),
            ended,
            unrecorded: None,
        }
    }
}

/// What about certificates past their end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// They are meant where nothing else is.
    IfNothingElse,
    /// They are meant too.
    Included,
    /// They are not meant.
    LeftOut,
}

/// What is done with certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Withdrawal {
    /// A hold ends.
    Release,
    /// They are revoked, or put on hold.
    Revoke(RevocationReason),
}

/// What came of a withdrawal, or would come of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Withdrawals {
    /// Revoked, put on hold or released by it.
    pub changed: Shown,
    /// As it asks for already: revoked; on hold, where a hold is asked for.
    pub already: Shown,
    /// Of a release: revoked for good, which nothing releases.
    pub for_good: Shown,
    /// Of a release: neither revoked nor on hold.
    pub not_held: u64,
    /// Of others: whoever issued them revokes them.
    pub imported: u64,
    /// Whose the first of those is.
    pub imported_from: Option<String>,
    /// Of a revocation or a hold: live certificates that came by renewal of those it is about, and that it is not about.
    pub successors: Shown,
    /// The first and the last message of the feed about what is changed or was so already.
    pub told: Option<(Sequence, Sequence)>,
}

/// What would come of a withdrawal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preview {
    /// As it stands now: nothing is told yet.
    pub outcome: Withdrawals,
    /// Identities of those that would change.
    pub identities: u64,
    /// The place of the last that is shown, if there are more.
    pub next: Option<Cursor>,
}

/// How many, and the first [`MAX_SHOWN`] of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// All of them.
    pub count: u64,
    /// The first.
    pub first: Vec<Withdrawn>,
}

/// One certificate of a withdrawal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Withdrawn {
    /// Its serial number.
    pub serial: SerialNumber,
    /// `None`: it is not known whether it was signed.
    pub fingerprint: Option<Fingerprint>,
    /// What it is shown by; `None`: the inventory does not have it.
    pub name: Option<TypedName>,
    /// Its issuer's subject.
    pub issuer: String,
    /// Its end; of one that the inventory does not have, the last second there is.
    pub not_after: UnixTime,
    /// As it stands afterwards.
    pub revocation: Option<RevocationRecord>,
}

impl Shown {
    fn add(&mut self, withdrawn: impl FnOnce() -> Withdrawn) {
        self.count += 1;
        if self.first.len() < MAX_SHOWN {
            self.first.push(withdrawn());
        }
    }
}

impl Withdrawals {
    /// Nothing is meant that is not of others.
    pub fn is_empty(&self) -> bool {
        self.changed.count + self.already.count + self.for_good.count + self.not_held == 0
    }

    fn has_told(&mut self, sequence: Sequence) {
        let (first, last) = self.told.unwrap_or((sequence, sequence));
        self.told = Some((first.min(sequence), last.max(sequence)));
    }
}

/// What a withdrawal makes of one certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Already,
    Change,
    ForGood,
    Imported,
    NotHeld,
}

impl Withdrawal {
    fn fate(self, candidate: &Candidate) -> Fate {
        let Some(_) = candidate.issuer else {
            return Fate::Imported;
        };
        let is_hold = candidate.revocation.map(|it| it.reason.is_hold());
        match (self, is_hold) {
            (Self::Release, Some(false)) => Fate::ForGood,
            (Self::Release, None) => Fate::NotHeld,
            (Self::Revoke(_), Some(false)) => Fate::Already,
            (Self::Revoke(reason), Some(true)) if reason.is_hold() => Fate::Already,
            // RFC 5280 §5.3.1: a hold can become a revocation for good.
            (Self::Release | Self::Revoke(_), Some(true)) | (Self::Revoke(_), None) => Fate::Change,
        }
    }

    /// Whether the certificate is revoked or on hold afterwards, and was meant to be.
    fn withdraws(self, candidate: &Candidate) -> bool {
        self != Self::Release && matches!(self.fate(candidate), Fate::Already | Fate::Change)
    }

    /// Refuses who may not have this done to the certificate.
    fn permit(self, actor: &Actor, candidate: &Candidate) -> Result<(), StoreError> {
        let is_released = self == Self::Release && self.fate(candidate) == Fate::Change;
        if is_released && !actor.may_release(candidate.profile.as_ref()) {
            return Err(StoreError::ReleaseNotPermitted {
                actor: actor.to_string(),
                serial: candidate.serial,
            });
        }
        Ok(())
    }

    /// As the status is called where somebody asks for it.
    fn status(self) -> Option<Status> {
        match self {
            Self::Release => None,
            Self::Revoke(reason) if reason.is_hold() => Some(Status::Held),
            Self::Revoke(_) => Some(Status::Revoked),
        }
    }

    fn action(self) -> Action {
        match self.status() {
            None => Action::Release,
            Some(Status::Held) => Action::Hold,
            Some(_) => Action::Revoke,
        }
    }
}

impl Store {
    /// Revokes, or puts on hold, what is named.
    pub async fn revoke(
        &self,
        selector: Selector,
        actor: Actor,
        reason: RevocationReason,
        now: UnixTime,
    ) -> Result<Withdrawals, StoreError> {
        self.withdraw(
            selector.into(),
            Withdrawal::Revoke(reason),
            None,
            actor,
            now,
        )
        .await
    }

    /// Does it to whatever is meant, all or none; what is so already is counted. More than `at_most` changes are refused,
    /// and so are more than [`MAX_RADIUS`].
    pub async fn withdraw(
        &self,
        selection: Selection,
        withdrawal: Withdrawal,
        at_most: Option<u64>,
        actor: Actor,
        now: UnixTime,
    ) -> Result<Withdrawals, StoreError> {
        let history = self.history.clone();
        let under_way = self.under_way.clone();
        let done = self.change(actor.clone(), now, move |writing| {
            let counted = under_way.begin();
            // Looked up here, in the transaction, so that nothing that is meant is issued in between.
            let mut step = Step {
                withdrawal,
                actor,
                now,
                at_most: at_most.unwrap_or(MAX_RADIUS).min(MAX_RADIUS),
                outcome: Withdrawals::default(),
                withdrawing: Withdrawing::default(),
                waiting: Vec::new(),
                told: Vec::new(),
                counted,
            };
            for radius in Radius::of(&selection, None) {
                step.outcome = Withdrawals::default();
                step.withdrawing = Withdrawing::default();
                step.go_through(writing, radius)?;
                step.flush(writing)?;
                if !step.outcome.is_empty() {
                    break;
                }
            }
            for (sequence, body) in std::mem::take(&mut step.told) {
                let history = history.clone();
                writing.tell(Message {
                    history,
                    sequence,
                    at: now,
                    body,
                });
            }
            Ok((step.outcome, step.withdrawing))
        });
        let (mut outcome, withdrawing) = done.await?;
        // What is revoked is not renewed any more, so none comes behind this.
        outcome.successors = self.successors(withdrawing, now).await?;
        Ok(outcome)
    }

    /// How many changes the withdrawal has made that is under way; nothing of it is in force before it has ended. `None`: there is none.
    pub fn withdrawal_under_way(&self) -> Option<u64> {
        self.under_way.changed()
    }

    /// What [`Store::withdraw`] would do now to those behind `after`; changes nothing. Read portion by portion, so that
    /// other readers get their turn: what is issued meanwhile may be in it or not.
    pub async fn preview_withdrawal(
        &self,
        selection: Selection,
        withdrawal: Withdrawal,
        after: Option<Cursor>,
        actor: &Actor,
        now: UnixTime,
    ) -> Result<Preview, StoreError> {
        let ways = Radius::of(&selection, after.as_ref());
        if ways.is_empty() {
            return Err(StoreError::CursorOfAnotherList);
        }
        let mut preview = Preview::default();
        let mut identities = Vec::new();
        let mut withdrawing = Withdrawing::default();
        let is_first = after.is_none();
        for mut radius in ways {
            preview = Preview::default();
            identities.clear();
            withdrawing = Withdrawing::default();
            loop {
                let read = self.lists.read(move |sql| {
                    let portion = radius.portion(sql, now)?;
                    Ok((portion, radius))
                });
                let portion;
                (portion, radius) = read.await?;
                let Some(portion) = portion else { break };
                for candidate in portion {
                    if withdrawal.withdraws(&candidate) {
                        withdrawing.add(&candidate);
                    }
                    withdrawal.permit(actor, &candidate)?;
                    if withdrawal.fate(&candidate) == Fate::Change {
                        identities.extend(candidate.identity);
                        if preview.outcome.changed.count + 1 == MAX_SHOWN as u64 {
                            preview.next.clone_from(&candidate.place);
                        }
                    }
                    count(&mut preview.outcome, withdrawal, &candidate);
                    if preview.outcome.changed.count > MAX_RADIUS {
                        return Err(StoreError::RadiusTooWide { limit: MAX_RADIUS });
                    }
                }
            }
            if !preview.outcome.is_empty() {
                break;
            }
        }
        if preview.outcome.changed.count <= MAX_SHOWN as u64 {
            preview.next = None;
        }
        identities.sort_unstable();
        identities.dedup();
        preview.identities = identities.len() as u64;
        // A page behind another does not know of what was on that one.
        if is_first {
            preview.outcome.successors = self.successors(withdrawing, now).await?;
        }
        Ok(preview)
    }

    /// Whether a serial number is revoked or on hold that no row of the inventory has.
    pub async fn has_unrecorded(&self, serial: SerialNumber) -> Result<bool, StoreError> {
        self.reader
            .read(move |sql| {
                sql.prepare_cached(
                    "SELECT EXISTS (SELECT 1 FROM revocation r WHERE r.serial = ?1
                     AND NOT EXISTS (SELECT 1 FROM entry e WHERE e.serial = r.serial AND e.issuer_id = r.issuer_id))",
                )?
                .query_row([serial.magnitude()], |row| row.get(0))
            })
            .await
    }

    /// Every revocation there is, holds among them, and the feed's place where that was true. None is left out for being
    /// past its end: a clock that was ahead and is set back would let in whom it left out.
    pub async fn snapshot(&self, now: UnixTime) -> Result<Snapshot, StoreError> {
        let history = self.history.clone();
        self.reader
            .read(move |sql| {
                let mut statement = sql.prepare_cached(EVERY_REVOCATION)?;
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

    /// Messages of this history after `after`, oldest first, at most `limit`.
    pub async fn messages(&self, after: Sequence, limit: u32) -> Result<Vec<Message>, StoreError> {
        let history = self.history.clone();
        self.reader
            .read(move |sql| {
                let mut statement = sql.prepare_cached("SELECT sequence, at, body FROM feed WHERE sequence > ?1 ORDER BY sequence LIMIT ?2")?;
                let after = after.max(sequence_base(sql)?);
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

/// In the order in which they lie on disk: left to itself, SQLite goes by an index and looks up a row for each.
const EVERY_REVOCATION: &str = "SELECT s.spki, r.serial, r.reason, r.revoked_at
     FROM revocation r CROSS JOIN issuer s ON s.id = r.issuer_id ORDER BY r.serial, r.issuer_id";

/// One withdrawal on its way through the transaction.
struct Step {
    withdrawal: Withdrawal,
    actor: Actor,
    now: UnixTime,
    at_most: u64,
    outcome: Withdrawals,
    withdrawing: Withdrawing,
    /// Less than a message is about.
    waiting: Vec<Candidate>,
    told: Vec<(Sequence, Body)>,
    counted: Counted,
}

impl Step {
    fn go_through(&mut self, writing: &Writing<'_>, mut radius: Radius) -> Result<(), StoreError> {
        while let Some(candidates) = radius
            .portion(writing.sql, self.now)
            .map_err(|error| writing.fault(&error))?
        {
            for candidate in candidates {
                self.take(writing, candidate)?;
            }
        }
        Ok(())
    }

    fn take(&mut self, writing: &Writing<'_>, candidate: Candidate) -> Result<(), StoreError> {
        if self.withdrawal.withdraws(&candidate) {
            self.withdrawing.add(&candidate);
        }
        if self.withdrawal.fate(&candidate) != Fate::Change {
            count(&mut self.outcome, self.withdrawal, &candidate);
            return Ok(());
        }
        self.withdrawal.permit(&self.actor, &candidate)?;
        self.waiting.push(candidate);
        let changed = self.outcome.changed.count + self.waiting.len() as u64;
        if changed > self.at_most {
            return Err(StoreError::RadiusTooWide {
                limit: self.at_most,
            });
        }
        if self.waiting.len() == MAX_BATCH {
            self.flush(writing)?;
        }
        Ok(())
    }

    /// Writes what waits, under one message.
    fn flush(&mut self, writing: &Writing<'_>) -> Result<(), StoreError> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let mut batch = std::mem::take(&mut self.waiting);
        self.write(writing, &mut batch)
            .map_err(|error| writing.fault(&error))
    }

    fn write(&mut self, writing: &Writing<'_>, batch: &mut [Candidate]) -> rusqlite::Result<()> {
        let sql = writing.sql;
        let sequence = Sequence(last_sequence(sql)?.0 + 1);
        for candidate in &mut *batch {
            candidate.status_before = candidate.status_at(self.now);
            candidate.revocation = match self.withdrawal {
                Withdrawal::Release => None,
                Withdrawal::Revoke(reason) => Some(RevocationRecord {
                    // X.509 (10/2019) §9.5.3.1: the date of a hold that becomes a revocation is that of the hold.
                    revoked_at: candidate
                        .revocation
                        .map_or(self.now, |hold| hold.revoked_at),
                    reason,
                    sequence,
                }),
            };
        }
        let body = body(batch);
        sql.prepare_cached("INSERT INTO feed (sequence, at, body) VALUES (?1, ?2, ?3)")?
            .execute(params![
                from_sequence(sequence),
                to_seconds(self.now),
                to_json(&body)?
            ])?;
        for candidate in batch.iter() {
            candidate.write(sql, sequence)?;
            let status = candidate.status_at(self.now);
            let reason = match candidate.revocation {
                Some(revocation) => revocation.reason.as_str(),
                None => "the hold ended",
            };
            audit::record(
                sql,
                self.now,
                &self.actor,
                self.withdrawal.action(),
                &candidate.serial.to_string(),
                reason,
                Some(&Change {
                    before: words(candidate, candidate.status_before),
                    after: words(candidate, status),
                }),
            )?;
            self.outcome.changed.add(|| candidate.withdrawn());
        }
        self.counted.reach(self.outcome.changed.count);
        self.outcome.has_told(sequence);
        self.told.push((sequence, body));
        Ok(())
    }
}

/// What an audit record says of a status; the inventory knows nothing of one that it does not have.
fn words(candidate: &Candidate, status: Status) -> String {
    if candidate.entry.is_none() && !matches!(status, Status::Held | Status::Revoked) {
        "not recorded".to_owned()
    } else {
        status.to_string()
    }
}

/// What nodes are told: as one message, in force as one.
fn body(changed: &[Candidate]) -> Body {
    let revoked: Vec<Revoked> = changed.iter().filter_map(Candidate::revoked).collect();
    let batch = "between one and MAX_BATCH candidates wait";
    match &revoked[..] {
        [] => {
            let released: Vec<Released> = changed.iter().filter_map(Candidate::released).collect();
            Body::Released {
                certificates: Batch::try_from(released).expect(batch),
            }
        }
        [revoked] => Body::Revoked(*revoked),
        _ => Body::RevokedTogether {
            certificates: Batch::try_from(revoked).expect(batch),
        },
    }
}

fn count(outcome: &mut Withdrawals, withdrawal: Withdrawal, candidate: &Candidate) {
    match withdrawal.fate(candidate) {
        Fate::Already => {
            outcome.already.add(|| candidate.withdrawn());
            if let Some(revocation) = candidate.revocation {
                outcome.has_told(revocation.sequence);
            }
        }
        Fate::Change => outcome.changed.add(|| candidate.withdrawn()),
        Fate::ForGood => outcome.for_good.add(|| candidate.withdrawn()),
        Fate::Imported => {
            outcome.imported += 1;
            outcome
                .imported_from
                .get_or_insert_with(|| candidate.issuer_subject.clone());
        }
        Fate::NotHeld => outcome.not_held += 1,
    }
}

/// Certificates of one withdrawal: what one machine's inventory is made for. Whoever means more replaces the issuer.
pub const MAX_RADIUS: u64 = 1_000_000;

/// Certificates that an answer names; the rest is a list away.
pub const MAX_SHOWN: usize = 1000;

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;
    use crate::schema::MIGRATIONS;

    #[test]
    fn every_revocation_is_read_where_it_lies() {
        let sql = Connection::open_in_memory().expect("opens");
        for migration in MIGRATIONS {
            sql.execute_batch(migration).expect("migrates");
        }
        let mut statement = sql
            .prepare(&format!("EXPLAIN QUERY PLAN {EVERY_REVOCATION}"))
            .expect("SQL");
        let lines = statement.query_map([], |row| row.get(3)).expect("explains");
        let lines: Vec<String> = lines.collect::<rusqlite::Result<_>>().expect("lines");
        assert_eq!(lines[0], "SCAN r");
        assert!(
            !lines.iter().any(|it| it.contains("TEMP B-TREE")),
            "{lines:?}"
        );
    }
}
