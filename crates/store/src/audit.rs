//! The audit log: who did what, how they were authenticated, why and when. It is only ever added to, and chained by hash.

pub(crate) mod chain;
mod digest;
mod line;
pub mod log;
pub mod verify;

use std::fmt;

use countersign_pki::time::UnixTime;
use countersign_policy::issuance::Actor;
use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};

use crate::error::StoreError;
use crate::row::{json, time, to_json, to_seconds, word};
use crate::store::Store;

/// One change and its circumstances.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRecord {
    /// Its place; strictly increasing.
    pub id: i64,
    /// When.
    pub at: UnixTime,
    /// Who.
    pub actor: Actor,
    /// How that is known.
    pub authenticated: String,
    /// What was done.
    pub action: Action,
    /// To what: a serial, the name of an issuer or an identity, a fingerprint; of what was refused, profile and name.
    pub object: String,
    /// Why.
    pub reason: String,
    /// Where something existed that was changed or replaced.
    pub change: Option<Change>,
}

/// What stood before, and what stands now: a status, or the serial of the certificate that is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Until then.
    pub before: String,
    /// Since then.
    pub after: String,
}

/// What can be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// An issuer came into the inventory.
    AddIssuer,
    /// A certificate that was issued before came into the inventory with its issuer.
    Adopt,
    /// Owner, labels or note of an identity were changed.
    Annotate,
    /// A copy of everything but the passphrase was asked for.
    Backup,
    /// A CRL or a feed state told what was revoked.
    Evidence,
    /// A certificate was put on hold.
    Hold,
    /// A certificate of others came into the inventory.
    Import,
    /// A serial was reserved and the bytes to be signed recorded.
    Intend,
    /// A certificate was signed and recorded.
    Issue,
    /// The inventory was restored from a backup.
    Restore,
    /// Issuing goes on after a restore.
    Resume,
    /// A hold ended.
    Release,
    /// Certificates that ended long ago left the inventory.
    Prune,
    /// Where certificates are told to look for their revocation was changed.
    PublishAt,
    /// A revocation list was signed.
    PublishCrl,
    /// A certificate was asked for and not issued; nothing else has changed.
    Refuse,
    /// A certificate was revoked.
    Revoke,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AddIssuer => "add-issuer",
            Self::Adopt => "adopt",
            Self::Annotate => "annotate",
            Self::Backup => "backup",
            Self::Evidence => "evidence",
            Self::Import => "import",
            Self::Intend => "intend",
            Self::Issue => "issue",
            Self::Restore => "restore",
            Self::Resume => "resume",
            Self::Hold => "hold",
            Self::Prune => "prune",
            Self::Release => "release",
            Self::PublishAt => "publish-at",
            Self::PublishCrl => "publish-crl",
            Self::Refuse => "refuse",
            Self::Revoke => "revoke",
        })
    }
}

impl Store {
    /// Records after number `after`, oldest first, at most `limit`.
    pub async fn audit(&self, after: i64, limit: u32) -> Result<Vec<AuditRecord>, StoreError> {
        self.reader
            .read(move |sql| {
                let mut statement = sql.prepare_cached(
                    "SELECT id, at, actor, authenticated, action, object, reason, before, after FROM audit WHERE id > ?1 ORDER BY id LIMIT ?2",
                )?;
                let records = statement.query_map(params![after, limit], |row| {
                    Ok(AuditRecord {
                        id: row.get(0)?,
                        at: time(row, 1)?,
                        actor: json(row, 2)?,
                        authenticated: row.get(3)?,
                        action: word(row, 4)?,
                        object: row.get(5)?,
                        reason: row.get(6)?,
                        change: match (row.get(7)?, row.get(8)?) {
                            (Some(before), Some(after)) => Some(Change { before, after }),
                            _ => None,
                        },
                    })
                })?;
                records.collect()
            })
            .await
    }
}

impl Store {
    /// Records that `object` was asked for and not issued, and why. What people sent is in both: it is cut, and escaped where
    /// it is shown.
    pub async fn refuse(
        &self,
        actor: Actor,
        object: &str,
        reason: &str,
        now: UnixTime,
    ) -> Result<(), StoreError> {
        let cut = |text: &str| text.chars().take(MAX_REFUSAL).collect::<String>();
        let (object, reason) = (cut(object), cut(reason));
        self.writer
            .write(move |writing| {
                record(
                    writing.sql,
                    now,
                    &actor,
                    Action::Refuse,
                    &object,
                    &reason,
                    None,
                )
                .map_err(|error| writing.fault(&error))
            })
            .await
    }
}

/// Enough to recognise a name and to say what was wrong; the log is kept for ever.
const MAX_REFUSAL: usize = 400;

/// To be called in the transaction of the change itself, which links it.
pub(crate) fn record(
    sql: &Connection,
    at: UnixTime,
    actor: &Actor,
    action: Action,
    object: &str,
    reason: &str,
    change: Option<&Change>,
) -> rusqlite::Result<()> {
    sql.prepare_cached("INSERT INTO audit (at, actor, authenticated, action, object, reason, before, after) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?
        .execute(params![
            to_seconds(at),
            to_json(actor)?,
            authentication(actor),
            action.to_string(),
            object,
            reason,
            change.map(|it| &it.before),
            change.map(|it| &it.after),
        ])
        .map(drop)
}

fn authentication(actor: &Actor) -> &'static str {
    match actor {
        Actor::Authority => "this process",
        Actor::Holder { .. } | Actor::Operator { .. } => "mutual TLS",
        Actor::LocalAdmin { .. } => "credentials of the local process",
    }
}
