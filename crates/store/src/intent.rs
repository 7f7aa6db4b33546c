//! No signature without a record: the intent is durable before a key is used, the certificate before it is handed out.

use std::fmt;
use std::sync::Arc;

use countersign_pki::certificate::Certificate;
use countersign_pki::feed::RevocationReason;
use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::serial::SerialNumber;
use countersign_pki::tbs::ToBeSigned;
use countersign_pki::time::UnixTime;
use countersign_policy::issuance::{Actor, Approved, IssuerRole, KeyUse, Profile};
use rusqlite::types::{Type, ValueRef};
use rusqlite::{Connection, OptionalExtension, params};

use crate::audit::{self, Action, Change};
use crate::error::StoreError;
use crate::idempotency::{self, Claim};
use crate::inventory::record::{NewEntry, Ours, shown_by};
use crate::inventory::{EntryId, IMPORTED, typed_name};
use crate::issuer::IssuerId;
use crate::publication;
use crate::row::{serial, to_seconds, word};
use crate::store::Store;
use crate::waiting;
use crate::writer::{Expected, Writing};

/// The permission to sign: its serial is reserved and its bytes are on disk.
///
/// Only [`Store::intend`] makes one, and [`Store::complete`] takes it back, so that what is signed is what is recorded.
pub struct Intended {
    id: EntryId,
    approved: Approved,
    expected: Expected,
}

impl Intended {
    /// What to sign.
    pub fn to_be_signed(&self) -> &ToBeSigned {
        self.approved.to_be_signed()
    }

    /// Its row in the inventory.
    pub fn id(&self) -> EntryId {
        self.id
    }

    /// The reserved serial.
    pub fn serial(&self) -> SerialNumber {
        self.approved.serial()
    }

    /// Which profile.
    pub fn profile(&self) -> &Profile {
        self.approved.profile()
    }

    /// Whose signature the bytes are for, in DER.
    pub fn issuer_der(&self) -> &[u8] {
        self.approved.preview().issuer_der()
    }
}

impl fmt::Debug for Intended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Intended")
            .field("serial", &self.serial())
            .finish_non_exhaustive()
    }
}

/// A certificate whose record is durable: it may be handed out.
#[derive(Clone, Debug)]
pub struct Stored {
    id: EntryId,
    certificate: Certificate,
}

impl Stored {
    /// Its row in the inventory.
    pub fn id(&self) -> EntryId {
        self.id
    }

    /// Itself.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }
}

impl Store {
    /// Reserves the serial and records the bytes that will be signed, if the policy says of the key's earlier certificates
    /// that it may. `renews`: the certificate that this one follows, which must be neither revoked nor on hold. Nothing is
    /// recorded of what is refused; see [`Store::refuse`].
    pub async fn intend(
        &self,
        approved: Approved,
        issuer: IssuerId,
        renews: Option<EntryId>,
        reason: String,
        now: UnixTime,
    ) -> Result<Intended, StoreError> {
        self.intend_under(None, approved, issuer, renews, reason, now)
            .await
    }

    /// Like [`Store::intend`]; the key of `claim` stands for it from then on.
    pub async fn intend_under(
        &self,
        claim: Option<Claim>,
        approved: Approved,
        issuer: IssuerId,
        renews: Option<EntryId>,
        reason: String,
        now: UnixTime,
    ) -> Result<Intended, StoreError> {
        let coming = self.writer.coming().clone();
        let standing = Arc::clone(&self.standing);
        let links = self.links(issuer);
        let intended = self.writer.write_in_company(move |writing| {
            if let Some(refused) = standing.refuse(writing, approved.actor(), now)? {
                return Ok(Err(refused));
            }
            let refusal = waiting::refusal(writing.sql, &links, approved.profile());
            if let Some(refused) = refusal.map_err(|error| writing.fault(&error))? {
                return Err(refused);
            }
            let change = match renews {
                Some(predecessor) => Some(Change {
                    before: live_serial(writing, predecessor)?.to_string(),
                    after: approved.serial().to_string(),
                }),
                None => None,
            };
            // Looked up here, in the transaction, so that no other certificate of the key comes in between.
            let used = key_uses(writing.sql, approved.preview().spki(), now)
                .map_err(|error| writing.fault(&error))?;
            approved
                .check_key(&shown_by(approved.preview()), &used)
                .map_err(StoreError::Denied)?;
            refuse_taken(writing, approved.serial(), issuer)?;
            let id = insert(writing, &approved, issuer, renews, now)?;
            if let Some(claim) = &claim {
                idempotency::claim(writing.sql, approved.actor(), claim, id, now)
                    .map_err(|error| writing.fault(&error))?;
            }
            audit::record(
                writing.sql,
                now,
                approved.actor(),
                Action::Intend,
                &approved.serial().to_string(),
                &reason,
                change.as_ref(),
            )
            .map_err(|error| writing.fault(&error))?;
            Ok(Ok(Intended {
                id,
                approved,
                expected: coming.expect_one(),
            }))
        });
        intended.await?
    }

    /// Records the certificate that `signature` makes of the intent.
    pub async fn complete(
        &self,
        intended: Intended,
        signature: &[u8],
        now: UnixTime,
    ) -> Result<Stored, StoreError> {
        let Intended {
            id,
            approved,
            expected,
        } = intended;
        let der = approved.to_be_signed().complete(signature);
        let certificate = Certificate::parse(&der)
            .map_err(|fault| StoreError::NotACertificate { why: fault.why })?;
        let actor: Actor = approved.actor().clone();
        drop(expected);
        self.writer
            .write_in_company(move |writing| {
                let insert = || {
                    writing
                        .sql
                        .prepare_cached("INSERT INTO certificate (id, der, issued_at) VALUES (?1, ?2, ?3)")?
                        .execute(params![id.0, certificate.der().as_ref(), to_seconds(now)])?;
                    writing
                        .sql
                        .prepare_cached("DELETE FROM intent WHERE id = ?1")?
                        .execute([id.0])?;
                    // Revoked in the meantime, it stays revoked.
                    writing
                        .sql
                        .prepare_cached("UPDATE entry SET fingerprint = ?2, state = CASE state WHEN 'unknown' THEN 'signed' ELSE state END WHERE id = ?1")?
                        .execute(params![id.0, certificate.fingerprint().as_bytes()])?;
                    audit::record(writing.sql, now, &actor, Action::Issue, &certificate.serial().to_string(), &certificate.fingerprint().to_string(), None)
                };
                insert().map_err(|error| writing.fault(&error))?;
                Ok(Stored { id, certificate })
            })
            .await
    }
}

/// The serial of a certificate that may be renewed: one of ours that is neither revoked nor held.
fn live_serial(writing: &Writing<'_>, predecessor: EntryId) -> Result<SerialNumber, StoreError> {
    let find = || {
        writing
            .sql
            .prepare_cached(
                "SELECT e.serial, r.reason
                 FROM entry e LEFT JOIN revocation r USING (serial, issuer_id) WHERE e.id = ?1 AND e.issuer_id IS NOT NULL",
            )?
            .query_row([predecessor.0], |row| {
                let reason: Option<RevocationReason> = match row.get_ref(1)?.data_type() {
                    Type::Null => None,
                    _ => Some(word(row, 1)?),
                };
                Ok((serial(row, 0)?, reason))
            })
            .optional()
    };
    match find() {
        Ok(Some((serial, Some(reason)))) if reason.is_hold() => {
            Err(StoreError::PredecessorHeld { serial })
        }
        Ok(Some((serial, Some(_)))) => Err(StoreError::PredecessorRevoked { serial }),
        Ok(Some((serial, None))) => Ok(serial),
        Ok(None) => Err(StoreError::NoPredecessor {
            entry: predecessor.0,
        }),
        Err(error) => Err(writing.fault(&error)),
    }
}

/// Every earlier certificate of the key, imported ones too; of several that say the same, one.
fn key_uses(sql: &Connection, spki: Fingerprint, now: UnixTime) -> rusqlite::Result<Vec<KeyUse>> {
    let is_known: bool = sql
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM entry WHERE spki = ?1)")?
        .query_row([spki.as_bytes()], |row| row.get(0))?;
    if !is_known {
        return Ok(Vec::new());
    }
    let mut statement = sql.prepare_cached(
        "SELECT d.kind, d.value, e.profile, max(e.serial), max(r.serial IS NULL AND e.not_after >= ?2), r.reason
         FROM entry e
         JOIN identity d ON d.id = e.identity_id
         LEFT JOIN revocation r ON r.serial = e.serial AND r.issuer_id = e.issuer_id
         WHERE e.spki = ?1
         GROUP BY e.identity_id, e.profile, r.reason",
    )?;
    let uses = statement.query_map(params![spki.as_bytes(), to_seconds(now)], |row| {
        let profile = match row.get_ref(2)?.as_str()? {
            IMPORTED => None,
            _ => Some(word(row, 2)?),
        };
        let revoked = match row.get_ref(5)? {
            ValueRef::Null => None,
            _ => Some(word(row, 5)?),
        };
        Ok(KeyUse {
            identity: typed_name(row)?,
            profile,
            serial: serial(row, 3)?,
            is_live: row.get(4)?,
            revoked,
        })
    })?;
    uses.collect()
}

/// The bytes that were to be signed, of an intent of which it is not known whether they were.
pub(crate) fn to_be_signed(sql: &Connection, id: EntryId) -> rusqlite::Result<Option<Vec<u8>>> {
    sql.prepare_cached("SELECT to_be_signed FROM intent WHERE id = ?1")?
        .query_row([id.0], |row| row.get(0))
        .optional()
}

/// Takes the intent away with its certificate and what refers to it. Whoever was issued after it says of it only what the audit
/// log says.
pub(crate) fn forget(sql: &Connection, id: EntryId) -> rusqlite::Result<()> {
    for statement in FORGET {
        sql.prepare_cached(statement)?.execute([id.0])?;
    }
    Ok(())
}

/// The issuer of one of ours.
pub(crate) fn issuer_of(sql: &Connection, id: EntryId) -> rusqlite::Result<Option<i64>> {
    sql.prepare_cached("SELECT issuer_id FROM entry WHERE id = ?1")?
        .query_row([id.0], |row| row.get::<_, Option<i64>>(0))
        .optional()
        .map(Option::flatten)
}

pub(crate) const FORGET: [&str; 4] = [
    "UPDATE entry SET renews = NULL WHERE renews = ?1",
    "DELETE FROM idempotency_key WHERE entry_id = ?1",
    "DELETE FROM certificate WHERE id = ?1",
    "DELETE FROM intent WHERE id = ?1",
];

/// A serial is used once, whatever became of its intent. Looked up, for an index that forbade it would order the rows of
/// a serial by issuer, and lists want them by age.
fn refuse_taken(
    writing: &Writing<'_>,
    serial: SerialNumber,
    issuer: IssuerId,
) -> Result<(), StoreError> {
    let find = || -> rusqlite::Result<bool> {
        writing
            .sql
            .prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM entry WHERE serial = ?1 AND issuer_id = ?2)",
            )?
            .query_row(params![serial.magnitude(), issuer.0], |row| row.get(0))
    };
    if find().map_err(|error| writing.fault(&error))? {
        Err(StoreError::SerialTaken { serial })
    } else {
        Ok(())
    }
}

/// The row, as not known to be signed, and the bytes.
fn insert(
    writing: &Writing<'_>,
    approved: &Approved,
    issuer: IssuerId,
    renews: Option<EntryId>,
    now: UnixTime,
) -> Result<EntryId, StoreError> {
    let sql = writing.sql;
    let find_issuer = || {
        sql.prepare_cached("SELECT subject, role FROM issuer WHERE id = ?1")?
            .query_row([issuer.0], |row| {
                Ok((row.get::<_, String>(0)?, word::<IssuerRole>(row, 1)?))
            })
            .optional()
    };
    let fault = |error: rusqlite::Error| writing.fault(&error);
    let (subject, role) = find_issuer()
        .map_err(fault)?
        .ok_or(StoreError::UnknownIssuer { issuer: issuer.0 })?;
    if role != approved.issued_by() {
        return Err(StoreError::OtherIssuer {
            asked: role,
            profile: approved.profile().clone(),
        });
    }
    let shard = publication::shard_of(sql, issuer, approved.preview()).map_err(fault)?;
    let new = NewEntry {
        certificate: approved.preview(),
        issuer: &subject,
        profile: approved.profile().as_str(),
        state: "unknown",
        fingerprint: None,
        actor: approved.actor(),
        now,
        ours: Some(Ours {
            issuer,
            shard,
            renews,
        }),
    };
    let insert_both = || {
        let id = new.insert(sql)?;
        sql.prepare_cached("INSERT INTO intent (id, to_be_signed) VALUES (?1, ?2)")?
            .execute(params![id.0, approved.to_be_signed().bytes()])?;
        Ok(id)
    };
    insert_both().map_err(fault)
}
