//! A copy of the inventory while others write to it, and what a copy has to be before anybody relies on it.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use countersign_pki::certificate::Certificate;
use countersign_pki::feed::{HistoryId, Sequence};
use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::name::TypedName;
use countersign_pki::serial::SerialNumber;
use countersign_pki::time::UnixTime;
use countersign_policy::issuance::{Actor, Profile};
use rusqlite::types::Type;
use rusqlite::{Connection, params};

use crate::audit::chain::{self, End};
use crate::audit::log::AuditLog;
use crate::audit::verify::{VerifyError, WholeLog};
use crate::audit::{self, Action, Change};
use crate::error::StoreError;
use crate::issuer::{self, Issuer, IssuerId};
use crate::pause::{self, Pause};
use crate::publication;
use crate::row::{damaged, to_seconds};
use crate::schema;
use crate::store::{
    HISTORY, SEQUENCE_BASE, Store, last_sequence, missing, required_meta, set_meta,
};

/// What an inventory in a backup is.
#[derive(Clone, Debug)]
pub struct Examined {
    /// The version of its schema.
    pub schema: u32,
    /// The feed's history.
    pub history: HistoryId,
    /// Its last message.
    pub sequence: Sequence,
    /// The CA certificates.
    pub issuers: Vec<Issuer>,
    /// Its audit log.
    pub audit: WholeLog,
}

/// How a restored inventory begins.
#[derive(Clone, Debug)]
pub struct Refounding {
    /// The new history of the feed.
    pub history: HistoryId,
    /// Its first message comes after this, which is later than any of the backup's.
    pub base: Sequence,
    /// When the backup was made.
    pub backup_at: UnixTime,
    /// For the audit log: which backup.
    pub backup: String,
    /// Whether the backup says what the authority issued by.
    pub are_rules_known: bool,
    /// Who restores.
    pub actor: Actor,
    /// When.
    pub now: UnixTime,
}

/// A node that has a certificate to join the feed with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidNode {
    /// As receipts have it.
    pub name: String,
    /// Of its newest valid certificate.
    pub issuer_key: Fingerprint,
    /// Likewise.
    pub serial: SerialNumber,
}

impl Store {
    /// Records that a copy is asked for: who has a backup has everything but the passphrase.
    pub async fn record_backup(&self, actor: Actor, now: UnixTime) -> Result<(), StoreError> {
        self.change(actor.clone(), now, move |writing| {
            audit::record(
                writing.sql,
                now,
                &actor,
                Action::Backup,
                "inventory",
                "asked for",
                None,
            )
            .map_err(|error| writing.fault(&error))
        })
        .await
    }

    /// Makes of the inventory in a backup one that can be served: its schema is brought up to date, the feed starts a
    /// new history, and issuing waits. Durable on return, and closed. Tells which nodes could be serving by what they have
    /// heard before.
    pub fn refound(path: &Path, refounding: &Refounding) -> Result<Vec<ValidNode>, StoreError> {
        let mut connection = schema::open_writer(path)?;
        chain::refuse_broken_end(&connection, path)?;
        let sql = |error: rusqlite::Error| StoreError::from_sql(path, &error);
        let transaction = connection.transaction().map_err(sql)?;
        let end = End::of_all(&transaction, path)?;
        let before = required_meta(&transaction, HISTORY, path)?;
        refound(&transaction, refounding, &before).map_err(sql)?;
        end.extend(&transaction, path)?;
        let nodes = valid_nodes(&transaction, refounding.now).map_err(sql)?;
        transaction.commit().map_err(sql)?;
        // Closing moves everything into the one file, so that it can be renamed.
        connection
            .close()
            .map_err(|(_, error)| StoreError::from_sql(path, &error))?;
        Ok(nodes)
    }
}

/// Copies the inventory, as it is at this moment, into a new file (0600), durable on return. Whoever writes goes on.
pub fn copy(inventory: &Path, to: &Path) -> Result<(), StoreError> {
    let io = |error: std::io::Error| match error.kind() {
        ErrorKind::StorageFull => StoreError::DiskFull {
            path: to.to_owned(),
        },
        _ => StoreError::Io {
            path: to.to_owned(),
            why: error.to_string(),
        },
    };
    let source = schema::open_beside(inventory)?;
    // SQLite takes an empty file, and leaves its mode as it is.
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(to)
        .map_err(io)?;
    let name = to.to_str().ok_or_else(|| StoreError::Io {
        path: to.to_owned(),
        why: "the path is not UTF-8".to_owned(),
    })?;
    source
        .execute("VACUUM INTO ?1", [name])
        .map_err(|error| StoreError::from_sql(inventory, &error))?;
    File::open(to).and_then(|file| file.sync_all()).map_err(io)
}

/// Judges the inventory in a backup: ours, not newer than this version, its pages and its audit log whole.
pub fn examine(path: &Path) -> Result<Examined, StoreError> {
    let connection = schema::open_beside(path)?;
    let sql = |error: rusqlite::Error| StoreError::from_sql(path, &error);
    let verdict: String = connection
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(sql)?;
    if verdict != "ok" {
        return Err(StoreError::Corrupt {
            path: path.to_owned(),
            why: verdict,
        });
    }
    let audit = AuditLog::open(path)?
        .verify(None)
        .map_err(|error| match error {
            VerifyError::Fault(fault) => StoreError::AuditLog {
                path: path.to_owned(),
                fault,
            },
            VerifyError::Io(error) => StoreError::Io {
                path: path.to_owned(),
                why: error.to_string(),
            },
            VerifyError::Store(error) => error,
        })?;
    let issuers = issuer::load(&connection).map_err(sql)?;
    if issuers.is_empty() {
        return Err(missing(path, "issuer"));
    }
    Ok(Examined {
        schema: schema::version(&connection, path)?,
        history: HistoryId(required_meta(&connection, HISTORY, path)?),
        sequence: last_sequence(&connection).map_err(sql)?,
        issuers,
        audit,
    })
}

fn refound(sql: &Connection, refounding: &Refounding, before: &str) -> rusqlite::Result<()> {
    let Refounding {
        history,
        base,
        backup_at,
        backup,
        are_rules_known,
        actor,
        now,
    } = refounding;
    // Never a number again that the backup has told, whatever the caller thinks.
    let base = base.0.max(last_sequence(sql)?.0 + 1);
    set_meta(sql, HISTORY, &history.0)?;
    set_meta(sql, SEQUENCE_BASE, &base.to_string())?;
    publication::withdraw_lists(sql, Sequence(base))?;
    pause::put(
        sql,
        &Pause {
            since: *now,
            backup_at: *backup_at,
            evidence: 0,
        },
    )?;
    if !are_rules_known {
        pause::forget_rules(sql, *backup_at)?;
    }
    let change = Change {
        before: format!("history {before}"),
        after: format!("history {}", history.0),
    };
    audit::record(
        sql,
        *now,
        actor,
        Action::Restore,
        "inventory",
        backup,
        Some(&change),
    )
}

/// The newest certificate of each.
fn valid_nodes(sql: &Connection, now: UnixTime) -> rusqlite::Result<Vec<ValidNode>> {
    let issuers = issuer::load(sql)?;
    let mut statement = sql.prepare(
        "SELECT e.issuer_id, c.der FROM entry e JOIN certificate c ON c.id = e.id
         WHERE e.profile = ?1 AND e.state = 'signed' AND e.not_after >= ?2 ORDER BY e.id DESC",
    )?;
    let mut rows = statement.query(params![Profile::NODE.to_string(), to_seconds(now)])?;
    let mut nodes: Vec<ValidNode> = Vec::new();
    let mut seen = BTreeSet::new();
    while let Some(row) = rows.next()? {
        let (issuer, der): (i64, Vec<u8>) = (row.get(0)?, row.get(1)?);
        let certificate =
            Certificate::parse(&der).map_err(|error| damaged(1, Type::Blob, error))?;
        let issuer = issuers.iter().find(|it| it.id == IssuerId(issuer));
        let common_name = certificate.names().iter().find_map(|name| match name {
            TypedName::Cn(_) => Some(name.bare()),
            _ => None,
        });
        if let (Some(issuer), Some(name)) = (issuer, common_name)
            && seen.insert(name.clone())
        {
            nodes.push(ValidNode {
                name,
                issuer_key: issuer.certificate.spki(),
                serial: certificate.serial(),
            });
        }
    }
    Ok(nodes)
}
