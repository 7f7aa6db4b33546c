//! The list of a CA above the issuing one, signed elsewhere: it takes the place of the one before it, with what it takes back.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use countersign_pki::certificate::Certificate;
use countersign_pki::feed::{
    Batch, Body, HistoryId, MAX_BATCH, Message, Released, RevocationReason, Sequence,
};
use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::serial::SerialNumber;
use countersign_pki::time::UnixTime;
use countersign_policy::given_lists::{Standing, Succession};
use countersign_policy::issuance::Actor;
use rusqlite::{Connection, OptionalExtension, params};

use crate::adoption::GivenList;
use crate::audit::{self, Action, Change};
use crate::error::StoreError;
use crate::issuer::IssuerId;
use crate::publication::{self, SignedTimes};
use crate::row::{from_sequence, serial, time, to_json, to_seconds};
use crate::store::{Store, last_sequence};

impl Store {
    /// What is known of certificates of a CA, in order.
    pub async fn standings(
        &self,
        issuer_key: Fingerprint,
        serials: Vec<SerialNumber>,
    ) -> Result<Vec<Standing>, StoreError> {
        let (issuer, _) = self.issuer_of_key(issuer_key)?;
        let ends_of_cas = self.ends_of_cas();
        self.reader
            .read(move |sql| {
                let standing = |serial: &SerialNumber| {
                    let ca = ends_of_cas.get(&(issuer, *serial));
                    standing(sql, issuer, *serial, ca.copied())
                };
                serials.iter().map(standing).collect()
            })
            .await
    }

    /// Publishes a list in place of the one before it; what that shows on hold and this one no longer shows is released, which is
    /// counted. The same list again says that it is still the latest.
    pub async fn accept_list(
        &self,
        given: GivenList,
        succession: Succession,
        actor: Actor,
        now: UnixTime,
    ) -> Result<u64, StoreError> {
        let (issuer, certificate) = self.issuer_of_key(given.issuer_key)?;
        let history = self.history.clone();
        let accepting = Accepting {
            issuer,
            issuer_key: given.issuer_key,
            subject: certificate.subject().to_string(),
            history,
            actor: actor.clone(),
            now,
        };
        self.change(actor, now, move |writing| {
            let accepted = accepting.accept(writing.sql, &given, &succession);
            let messages = accepted.map_err(|error| writing.fault(&error))??;
            let mut released = 0;
            for message in messages {
                if let Body::Released { certificates } = &message.body {
                    released += certificates.iter().len() as u64;
                }
                writing.tell(message);
            }
            Ok(released)
        })
        .await
    }

    fn issuer_of_key(&self, key: Fingerprint) -> Result<(IssuerId, Certificate), StoreError> {
        self.known_issuers()
            .find(|issuer| issuer.certificate.spki() == key)
            .map(|issuer| (issuer.id, issuer.certificate.clone()))
            .ok_or(StoreError::UnknownIssuerKey { key })
    }
}

/// One list on its way through the transaction.
struct Accepting {
    issuer: IssuerId,
    issuer_key: Fingerprint,
    subject: String,
    history: HistoryId,
    actor: Actor,
    now: UnixTime,
}

impl Accepting {
    /// The messages are to be told once the change is durable.
    fn accept(
        &self,
        sql: &Connection,
        given: &GivenList,
        succession: &Succession,
    ) -> rusqlite::Result<Result<Vec<Message>, StoreError>> {
        let list = publication::complete(sql, self.issuer)?;
        let same: bool = sql
            .prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM crl_signed WHERE crl_id = ?1 AND der = ?2)",
            )?
            .query_row(params![list.id.0, given.der], |row| row.get(0))?;
        if same {
            publication::cover(sql, list.id, covers(sql, self.issuer, given)?)?;
            self.note(sql, &format!("of {}, given again", given.this_update))?;
            return Ok(Ok(Vec::new()));
        }
        if let Some(last) = list.signed
            && given.this_update < last.this_update
        {
            return Ok(Err(StoreError::OldDraft {
                number: given.number.unwrap_or_default(),
                last: last.number,
            }));
        }
        let mut messages = Vec::new();
        for lifted in succession.lifted.chunks(MAX_BATCH) {
            messages.extend(self.release(sql, lifted)?);
        }
        // Each was on a list signed past its end, and the one before this is the last that may be it.
        let end = list
            .signed
            .map_or(given.this_update, |last| last.this_update);
        for serial in &succession.expired {
            publication::end(sql, self.issuer.0, *serial, end)?;
        }
        record(sql, self.issuer, given)?;
        let mut reason = format!("signed elsewhere at {}", given.this_update);
        if !succession.expired.is_empty() {
            let count = succession.expired.len();
            write!(reason, "; {count} that it no longer shows are expired")
                .expect("a String takes everything");
        }
        self.note(sql, &reason)?;
        Ok(Ok(messages))
    }

    fn note(&self, sql: &Connection, reason: &str) -> rusqlite::Result<()> {
        let (now, actor) = (self.now, &self.actor);
        audit::record(
            sql,
            now,
            actor,
            Action::PublishCrl,
            &self.subject,
            reason,
            None,
        )
    }

    /// Those that are on hold here, too; a revocation for good stays.
    fn release(
        &self,
        sql: &Connection,
        lifted: &[SerialNumber],
    ) -> rusqlite::Result<Option<Message>> {
        let sequence = Sequence(last_sequence(sql)?.0 + 1);
        let mut released = Vec::new();
        for serial in lifted {
            let ended = sql
                .prepare_cached(
                    "DELETE FROM revocation WHERE serial = ?1 AND issuer_id = ?2 AND reason = ?3",
                )?
                .execute(params![
                    serial.magnitude(),
                    self.issuer.0,
                    RevocationReason::CertificateHold.as_str()
                ])?;
            if ended == 0 {
                continue;
            }
            publication::leave(sql, self.issuer.0, *serial, sequence)?;
            sql.prepare_cached(
                "UPDATE entry SET held = 0, state = CASE WHEN fingerprint IS NULL THEN 'unknown' ELSE 'signed' END
                 WHERE serial = ?1 AND issuer_id = ?2",
            )?
            .execute(params![serial.magnitude(), self.issuer.0])?;
            let change = Change {
                before: "held".to_owned(),
                after: "not revoked".to_owned(),
            };
            audit::record(
                sql,
                self.now,
                &self.actor,
                Action::Release,
                &serial.to_string(),
                &format!("the CRL of {} holds it no longer", self.subject),
                Some(&change),
            )?;
            released.push(Released {
                issuer_key: self.issuer_key,
                serial: *serial,
            });
        }
        let Ok(certificates) = Batch::try_from(released) else {
            // None of them was on hold here.
            return Ok(None);
        };
        let body = Body::Released { certificates };
        sql.prepare_cached("INSERT INTO feed (sequence, at, body) VALUES (?1, ?2, ?3)")?
            .execute(params![
                from_sequence(sequence),
                to_seconds(self.now),
                to_json(&body)?
            ])?;
        Ok(Some(Message {
            history: self.history.clone(),
            sequence,
            at: self.now,
            body,
        }))
    }
}

/// Its number is the list's own, or above the last where that is not: what is signed here later goes on above both.
pub(crate) fn record(
    sql: &Connection,
    issuer: IssuerId,
    given: &GivenList,
) -> rusqlite::Result<()> {
    let list = publication::complete(sql, issuer)?;
    let number = given
        .number
        .unwrap_or_default()
        .max(list.signed.map_or(1, |last| last.number + 1));
    publication::record_signed(
        sql,
        list.id,
        &SignedTimes {
            number,
            this_update: given.this_update,
            next_update: given.next_update,
            bytes: given.der.len() as u64,
        },
        covers(sql, issuer, given)?,
        &given.der,
    )
}

/// The last message that it knows of. Of what is revoked and not on it, one has to be signed that shows it; not of what was
/// over by then.
fn covers(sql: &Connection, issuer: IssuerId, given: &GivenList) -> rusqlite::Result<Sequence> {
    let mut statement =
        sql.prepare_cached("SELECT serial FROM crl_entry WHERE issuer_id = ?1 AND over_at >= ?2")?;
    let mut rows = statement.query(params![issuer.0, to_seconds(given.this_update)])?;
    let listed: &BTreeSet<SerialNumber> = &given.serials;
    while let Some(row) = rows.next()? {
        if !listed.contains(&serial(row, 0)?) {
            return Ok(Sequence(0));
        }
    }
    last_sequence(sql)
}

fn standing(
    sql: &Connection,
    issuer: IssuerId,
    serial: SerialNumber,
    end_of_ca: Option<UnixTime>,
) -> rusqlite::Result<Standing> {
    let end = sql
        .prepare_cached(
            "SELECT e.not_after FROM revocation r LEFT JOIN entry e ON e.serial = r.serial AND e.issuer_id = r.issuer_id
             WHERE r.serial = ?1 AND r.issuer_id = ?2",
        )?
        .query_row(params![serial.magnitude(), issuer.0], |row| {
            match row.get::<_, Option<i64>>(0)? {
                Some(_) => time(row, 0).map(Some),
                None => Ok(None),
            }
        })
        .optional()?;
    Ok(match end {
        None => Standing::NotRevoked,
        Some(end) => end.or(end_of_ca).map_or(Standing::Unknown, Standing::Ends),
    })
}
