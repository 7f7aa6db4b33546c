//! Issuing that waits: a restored inventory does not know what was revoked since its backup was made, and whoever was
//! revoked since could have that certificate renewed.

use countersign_pki::time::UnixTime;
use countersign_policy::issuance::Actor;
use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};

use crate::audit::{self, Action, Change};
use crate::error::StoreError;
use crate::row::{json, to_json};
use crate::store::Store;

/// Why nothing is issued, and what has been learnt since.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pause {
    /// When the backup was restored.
    pub since: UnixTime,
    /// When the backup was made: nothing is known of what happened between the two.
    pub backup_at: UnixTime,
    /// How many complete CRLs and feed states have told what was revoked after the backup was made.
    pub evidence: u64,
}

/// What came of the wish to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resumption {
    /// Nothing is known of what was revoked since, and nobody said that this is accepted.
    NoEvidence(Pause),
    /// Issuing did not wait.
    NotPaused,
    /// Issuing goes on.
    Resumed(Pause),
}

/// On what grounds issuing goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grounds {
    /// Evidence was given.
    Evidence,
    /// Somebody says that nothing was revoked since, or that it does not matter.
    Word,
}

impl Store {
    /// Why nothing is issued; `None`: it is.
    pub async fn pause(&self) -> Result<Option<Pause>, StoreError> {
        self.reader.read(find).await
    }

    /// Lets issuing go on. `because`: for the audit log.
    pub async fn resume(
        &self,
        grounds: Grounds,
        because: String,
        actor: Actor,
        now: UnixTime,
    ) -> Result<Resumption, StoreError> {
        self.change(actor.clone(), now, move |writing| {
            let fault = |error: rusqlite::Error| writing.fault(&error);
            let Some(pause) = find(writing.sql).map_err(fault)? else {
                return Ok(Resumption::NotPaused);
            };
            if grounds == Grounds::Evidence && pause.evidence == 0 {
                return Ok(Resumption::NoEvidence(pause));
            }
            let resume = || {
                writing
                    .sql
                    .prepare_cached("DELETE FROM meta WHERE key = ?1")?
                    .execute([PAUSE])?;
                let change = Change {
                    before: "paused".to_owned(),
                    after: "issuing".to_owned(),
                };
                let object = format!("{} pieces of evidence", pause.evidence);
                audit::record(
                    writing.sql,
                    now,
                    &actor,
                    Action::Resume,
                    &object,
                    &because,
                    Some(&change),
                )
            };
            resume().map_err(fault)?;
            Ok(Resumption::Resumed(pause))
        })
        .await
    }
}

impl Store {
    /// Of when the backup is that told nothing of what the authority issued by; `None`: that is known.
    pub async fn rules_unknown(&self) -> Result<Option<UnixTime>, StoreError> {
        self.reader.read(find_rules_unknown).await
    }

    /// What the authority issues by is known from now on: a configuration says so, or somebody. Whether it was not before.
    pub async fn tell_rules(
        &self,
        because: String,
        actor: Actor,
        now: UnixTime,
    ) -> Result<bool, StoreError> {
        if self.rules_unknown().await?.is_none() {
            return Ok(false);
        }
        self.change(actor.clone(), now, move |writing| {
            let tell = || {
                let deleted = writing
                    .sql
                    .prepare_cached("DELETE FROM meta WHERE key = ?1")?
                    .execute([RULES_UNKNOWN])?;
                if deleted == 0 {
                    return Ok(false);
                }
                let change = Change {
                    before: "not known".to_owned(),
                    after: "known".to_owned(),
                };
                let object = "what is issued by";
                let action = Action::Resume;
                audit::record(
                    writing.sql,
                    now,
                    &actor,
                    action,
                    object,
                    &because,
                    Some(&change),
                )?;
                Ok(true)
            };
            tell().map_err(|error: rusqlite::Error| writing.fault(&error))
        })
        .await
    }
}

/// Why issuing waits; `None`: it does not.
pub(crate) fn waits(sql: &Connection) -> rusqlite::Result<Option<StoreError>> {
    if let Some(pause) = find(sql)? {
        return Ok(Some(StoreError::IssuingPaused {
            since: pause.since,
            backup_at: pause.backup_at,
        }));
    }
    let unknown = find_rules_unknown(sql)?;
    Ok(unknown.map(|backup_at| StoreError::RulesUnknown { backup_at }))
}

pub(crate) fn find(sql: &Connection) -> rusqlite::Result<Option<Pause>> {
    sql.prepare_cached("SELECT value FROM meta WHERE key = ?1")?
        .query_row([PAUSE], |row| json(row, 0))
        .optional()
}

pub(crate) fn put(sql: &Connection, pause: &Pause) -> rusqlite::Result<()> {
    sql.prepare_cached("INSERT INTO meta (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value")?
        .execute(params![PAUSE, to_json(pause)?])
        .map(drop)
}

fn find_rules_unknown(sql: &Connection) -> rusqlite::Result<Option<UnixTime>> {
    sql.prepare_cached("SELECT value FROM meta WHERE key = ?1")?
        .query_row([RULES_UNKNOWN], |row| json(row, 0))
        .optional()
}

/// The backup is from before backups said what the authority issues by.
pub(crate) fn forget_rules(sql: &Connection, backup_at: UnixTime) -> rusqlite::Result<()> {
    sql.prepare_cached("INSERT INTO meta (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value")?
        .execute(params![RULES_UNKNOWN, to_json(&backup_at)?])
        .map(drop)
}

const PAUSE: &str = "issuing-paused";
const RULES_UNKNOWN: &str = "rules-unknown";
