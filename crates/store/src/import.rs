//! Certificates of others, to be watched: they are listed and end like ours, and nothing renews or revokes them.

use countersign_pki::certificate::Certificate;
use countersign_pki::name::TypedName;
use countersign_pki::time::UnixTime;
use countersign_policy::issuance::Actor;
use rusqlite::{Connection, OptionalExtension, params};

use crate::annotation::{self, Owner};
use crate::audit::{self, Action};
use crate::error::StoreError;
use crate::inventory::record::{self, NewEntry};
use crate::inventory::{EntryId, IMPORTED};
use crate::store::Store;

/// What became of one certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Import {
    /// It was imported before.
    AlreadyImported,
    /// It is there now.
    Imported,
    /// We issued it: nothing has changed.
    Ours,
}

impl Store {
    /// Takes the certificates into the inventory, all or none, each once whatever its number of imports; the answer is in
    /// their order. `owner` becomes the owner of the identity of each that is not ours.
    pub async fn import(
        &self,
        certificates: Vec<Certificate>,
        owner: Option<Owner>,
        actor: Actor,
        now: UnixTime,
    ) -> Result<Vec<Import>, StoreError> {
        self.change(actor.clone(), now, move |writing| {
            certificates
                .iter()
                .map(|certificate| import(writing.sql, certificate, owner.as_ref(), &actor, now))
                .collect::<rusqlite::Result<_>>()
                .map_err(|error| writing.fault(&error))
        })
        .await
    }
}

/// The name that an imported certificate is shown by.
pub fn shown_by(certificate: &Certificate) -> TypedName {
    record::shown_by(certificate)
}

fn import(
    sql: &Connection,
    certificate: &Certificate,
    owner: Option<&Owner>,
    actor: &Actor,
    now: UnixTime,
) -> rusqlite::Result<Import> {
    let fingerprint = certificate.fingerprint();
    let found = sql
        .prepare_cached("SELECT state FROM entry WHERE fingerprint = ?1")?
        .query_row([fingerprint.as_bytes()], |row| row.get::<_, String>(0))
        .optional()?;
    let outcome = match found.as_deref() {
        None => {
            insert(sql, certificate, actor, now)?;
            Import::Imported
        }
        Some(IMPORTED) => Import::AlreadyImported,
        Some(_) => return Ok(Import::Ours),
    };
    if outcome == Import::Imported {
        audit::record(
            sql,
            now,
            actor,
            Action::Import,
            &fingerprint.to_string(),
            "to be watched",
            None,
        )?;
    }
    if let Some(owner) = owner {
        let name = record::shown_by(certificate);
        let reason = format!("import of {fingerprint}");
        annotation::change_owner(sql, &name, owner, actor, &reason, now)?;
    }
    Ok(outcome)
}

fn insert(
    sql: &Connection,
    certificate: &Certificate,
    actor: &Actor,
    now: UnixTime,
) -> rusqlite::Result<()> {
    let fingerprint = certificate.fingerprint();
    let new = NewEntry {
        certificate,
        issuer: &certificate.issuer().to_string(),
        profile: IMPORTED,
        state: "imported",
        fingerprint: Some(fingerprint.as_bytes()),
        actor,
        now,
        ours: None,
    };
    let EntryId(id) = new.insert(sql)?;
    sql.prepare_cached("INSERT INTO imported (id, der) VALUES (?1, ?2)")?
        .execute(params![id, certificate.der().as_ref()])
        .map(drop)
}
