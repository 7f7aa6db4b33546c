//! What a withdrawal means, portion by portion: rows of the inventory, by the filters that lists have, and revocations of
//! serial numbers that the inventory does not have.

use countersign_pki::feed::{MAX_BATCH, Released, Revoked, Sequence};
use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::name::{NameKind, TypedName};
use countersign_pki::serial::SerialNumber;
use countersign_pki::time::UnixTime;
use countersign_policy::issuance::Profile;
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{Ended, Selection, Withdrawn};
use crate::inventory::list::places;
use crate::inventory::{Cursor, EntryId, Filter, IMPORTED, RevocationRecord, Status};
use crate::issuer::IssuerId;
use crate::publication;
use crate::row::{
    fingerprint, from_sequence, optional_fingerprint, sequence, serial, time, to_seconds, word,
};

/// One way through a selection.
pub(super) struct Radius {
    filter: Filter,
    unrecorded: Option<IssuerId>,
    at: At,
    has_found: bool,
}

enum At {
    Entries(Option<Cursor>),
    Unrecorded,
    End,
}

/// A certificate that is meant, as it stands.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    /// `None`: the inventory does not have it.
    pub(super) entry: Option<EntryId>,
    /// `None`: of others.
    pub(super) issuer: Option<(IssuerId, Fingerprint)>,
    pub(super) issuer_subject: String,
    pub(super) identity: Option<i64>,
    pub(super) serial: SerialNumber,
    pub(super) not_after: UnixTime,
    pub(super) revocation: Option<RevocationRecord>,
    /// Before it was changed.
    pub(super) status_before: Status,
    /// `None`: nobody knows.
    pub(super) profile: Option<Profile>,
    /// Where it stands in the list of the filter.
    pub(super) place: Option<Cursor>,
    name: Option<TypedName>,
    fingerprint: Option<Fingerprint>,
}

impl Radius {
    /// The ways to try, each where the one before it has found nothing.
    /// `after`: behind that place, in those whose order it is of.
    pub(super) fn of(selection: &Selection, after: Option<&Cursor>) -> Vec<Self> {
        let way = |not_ended: bool, unrecorded: Option<IssuerId>| Self {
            filter: Filter {
                not_ended,
                ..selection.filter.clone()
            },
            unrecorded,
            at: At::Entries(after.cloned()),
            has_found: false,
        };
        let mut ways = match selection.ended {
            Ended::IfNothingElse => vec![way(true, None), way(false, selection.unrecorded)],
            Ended::Included => vec![way(false, selection.unrecorded)],
            Ended::LeftOut => vec![way(true, None)],
        };
        ways.retain(|way| after.is_none_or(|after| after.order == way.filter.order()));
        ways
    }

    /// The next of them, at most [`MAX_BATCH`], or none of a stretch in which none is; `None` behind the last. What is changed between two portions is not met
    /// again: a portion begins behind the place of the last row, which no withdrawal moves.
    pub(super) fn portion(
        &mut self,
        sql: &Connection,
        now: UnixTime,
    ) -> rusqlite::Result<Option<Vec<Candidate>>> {
        match std::mem::replace(&mut self.at, At::End) {
            At::Entries(after) => {
                let limit = u32::try_from(MAX_BATCH).expect("a thousand");
                let places = places(sql, &self.filter, after, limit, now)?;
                let candidates = places
                    .found
                    .iter()
                    .map(|place| Candidate::read(sql, place.id, Some(place.clone())))
                    .collect::<rusqlite::Result<Vec<_>>>()?;
                self.has_found |= !candidates.is_empty();
                self.at = match places.next {
                    Some(next) => At::Entries(Some(next)),
                    None => At::Unrecorded,
                };
                Ok(Some(candidates))
            }
            At::Unrecorded => self.unrecorded(sql).map(Some),
            At::End => Ok(None),
        }
    }

    /// Revocations of the serial number that no row of the inventory has; where there is neither, and an issuer is named,
    /// the serial number itself.
    fn unrecorded(&self, sql: &Connection) -> rusqlite::Result<Vec<Candidate>> {
        let Some(serial) = self.filter.serial else {
            return Ok(Vec::new());
        };
        // A further condition is about what only a row of the inventory has.
        let bare = Filter {
            serial: Some(serial),
            issuer: self.filter.issuer.clone(),
            not_ended: self.filter.not_ended,
            ..Filter::default()
        };
        if self.filter != bare {
            return Ok(Vec::new());
        }
        let mut select = sql.prepare_cached(UNRECORDED)?;
        let mut found = select
            .query_map([serial.magnitude()], |row| unrecorded(row, serial))?
            .collect::<rusqlite::Result<Vec<_>>>()?;
        if let Some(issuer) = &self.filter.issuer {
            found.retain(|candidate| issuer.means(&candidate.issuer_subject));
        }
        if let (Some(issuer), false) = (self.unrecorded, self.has_found || !found.is_empty()) {
            let new = sql
                .prepare_cached(
                    "SELECT id, spki, subject, NULL, NULL, NULL FROM issuer WHERE id = ?1",
                )?
                .query_row([issuer.0], |row| unrecorded(row, serial))
                .optional()?;
            found.extend(new);
        }
        Ok(found)
    }
}

impl Candidate {
    /// One row of the inventory.
    pub(super) fn read(
        sql: &Connection,
        id: EntryId,
        place: Option<Cursor>,
    ) -> rusqlite::Result<Self> {
        sql.prepare_cached(ENTRY)?.query_row([id.0], |row| {
            let is_imported = row.get_ref(2)?.as_str()? == IMPORTED;
            let issuer = match row.get::<_, Option<i64>>(3)? {
                Some(issuer) if !is_imported => Some((IssuerId(issuer), fingerprint(row, 4)?)),
                _ => None,
            };
            Ok(Self {
                entry: Some(id),
                place,
                issuer,
                issuer_subject: row.get(5)?,
                identity: Some(row.get(6)?),
                serial: serial(row, 0)?,
                not_after: time(row, 1)?,
                revocation: revocation(row, 10)?,
                status_before: Status::Unknown,
                // Those of others are not released at all.
                profile: if is_imported {
                    None
                } else {
                    Some(word(row, 2)?)
                },
                name: Some(name(row, 7)?),
                fingerprint: optional_fingerprint(row, 9)?,
            })
        })
    }

    pub(super) fn status_at(&self, now: UnixTime) -> Status {
        match self.revocation {
            Some(revocation) if revocation.reason.is_hold() => Status::Held,
            Some(_) => Status::Revoked,
            None if self.not_after < now => Status::Expired,
            None if self.fingerprint.is_none() => Status::Unknown,
            None => Status::Valid,
        }
    }

    pub(super) fn revoked(&self) -> Option<Revoked> {
        let (_, issuer_key) = self.issuer?;
        let revocation = self.revocation?;
        Some(Revoked {
            issuer_key,
            serial: self.serial,
            reason: revocation.reason,
            revoked_at: revocation.revoked_at,
        })
    }

    pub(super) fn released(&self) -> Option<Released> {
        let (_, issuer_key) = self.issuer?;
        Some(Released {
            issuer_key,
            serial: self.serial,
        })
    }

    pub(super) fn withdrawn(&self) -> Withdrawn {
        Withdrawn {
            serial: self.serial,
            fingerprint: self.fingerprint,
            name: self.name.clone(),
            issuer: self.issuer_subject.clone(),
            not_after: self.not_after,
            revocation: self.revocation,
        }
    }

    /// Makes the inventory and the revocation lists say what the candidate says, as message `at` tells it.
    pub(super) fn write(&self, sql: &Connection, at: Sequence) -> rusqlite::Result<()> {
        let Some((issuer, _)) = self.issuer else {
            return Ok(());
        };
        let (state, is_held) = if let Some(revocation) = self.revocation {
            sql.prepare_cached(
                "INSERT INTO revocation (issuer_id, serial, reason, revoked_at, not_after, sequence)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                 ON CONFLICT (serial, issuer_id) DO UPDATE SET reason = excluded.reason, sequence = excluded.sequence",
            )?
            .execute(params![
                issuer.0,
                self.serial.magnitude(),
                revocation.reason.as_str(),
                to_seconds(revocation.revoked_at),
                to_seconds(self.not_after),
                from_sequence(revocation.sequence),
            ])?;
            if let Some(revoked) = self.revoked() {
                publication::enter(sql, issuer.0, &revoked, self.not_after, at)?;
            }
            ("revoked", revocation.reason.is_hold())
        } else {
            sql.prepare_cached(
                "DELETE FROM revocation WHERE serial = ?1 AND issuer_id = ?2 AND reason = 'certificate-hold'",
            )?
            .execute(params![self.serial.magnitude(), issuer.0])?;
            publication::leave(sql, issuer.0, self.serial, at)?;
            match self.fingerprint {
                Some(_) => ("signed", false),
                None => ("unknown", false),
            }
        };
        if let Some(entry) = self.entry {
            sql.prepare_cached("UPDATE entry SET state = ?1, held = ?2 WHERE id = ?3")?
                .execute(params![state, is_held, entry.0])?;
        }
        Ok(())
    }
}

fn unrecorded(row: &Row<'_>, serial: SerialNumber) -> rusqlite::Result<Candidate> {
    Ok(Candidate {
        entry: None,
        place: None,
        issuer: Some((IssuerId(row.get(0)?), fingerprint(row, 1)?)),
        issuer_subject: row.get(2)?,
        identity: None,
        serial,
        // Nobody knows: it stays in every list that the issuer publishes.
        not_after: UnixTime::MAX,
        revocation: revocation(row, 3)?,
        status_before: Status::Unknown,
        profile: None,
        name: None,
        fingerprint: None,
    })
}

fn revocation(row: &Row<'_>, first: usize) -> rusqlite::Result<Option<RevocationRecord>> {
    match row.get::<_, Option<i64>>(first)? {
        None => Ok(None),
        Some(_) => Ok(Some(RevocationRecord {
            revoked_at: time(row, first)?,
            reason: word(row, first + 1)?,
            sequence: sequence(row, first + 2)?,
        })),
    }
}

/// The identity's, which stands in two columns.
fn name(row: &Row<'_>, first: usize) -> rusqlite::Result<TypedName> {
    let prefix: String = row.get(first)?;
    let kind = NameKind::ALL
        .into_iter()
        .find(|kind| kind.prefix() == prefix);
    let kind = kind.ok_or_else(|| rusqlite::Error::InvalidColumnType(first, prefix, Type::Text))?;
    let value: String = row.get(first + 1)?;
    TypedName::parse_as(kind, &value)
        .map_err(|error| crate::row::damaged(first + 1, Type::Text, error))
}

const ENTRY: &str = "SELECT e.serial, e.not_after, e.profile, e.issuer_id, s.spki, n.subject, e.identity_id, d.kind, d.value, e.fingerprint,
            r.revoked_at, r.reason, r.sequence
     FROM entry e
     JOIN issuer_name n ON n.id = e.issuer_name_id
     JOIN identity d ON d.id = e.identity_id
     LEFT JOIN issuer s ON s.id = e.issuer_id
     LEFT JOIN revocation r ON r.serial = e.serial AND r.issuer_id = e.issuer_id
     WHERE e.id = ?1";

const UNRECORDED: &str = "SELECT s.id, s.spki, s.subject, r.revoked_at, r.reason, r.sequence
     FROM revocation r JOIN issuer s ON s.id = r.issuer_id
     WHERE r.serial = ?1 AND NOT EXISTS (SELECT 1 FROM entry e WHERE e.serial = r.serial AND e.issuer_id = r.issuer_id)";
