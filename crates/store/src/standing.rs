//! Whether whoever asked for a change may still have it when it is made: a change waits for those before it, and one of them
//! may revoke the certificate that it was asked for with. What has been queued is not stopped by the end of a connection.

use std::sync::{Arc, PoisonError, RwLock};

use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::time::UnixTime;
use countersign_policy::administration::Roles;
use countersign_policy::issuance::{Actor, Profile};
use rusqlite::{OptionalExtension, Row};

use crate::audit::{self, Action};
use crate::error::StoreError;
use crate::row::time;
use crate::store::Store;
use crate::writer::Writing;

/// Which operator has which role now.
#[derive(Debug, Default)]
pub(crate) struct Standing(
    // Guards nothing but the pointer.
    RwLock<Arc<Roles>>,
);

impl Store {
    /// Operators have these roles from now on, changes that wait included. Those before, and these.
    pub fn replace_roles(&self, roles: Roles) -> (Arc<Roles>, Arc<Roles>) {
        let roles = Arc::new(roles);
        let mut present = self
            .standing
            .0
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *present, Arc::clone(&roles));
        (before, roles)
    }

    /// Which operator has which role.
    pub fn roles(&self) -> Arc<Roles> {
        self.standing.roles()
    }

    /// Runs `change` in a transaction, if `actor` may still ask for it there; that it may not is on record then.
    pub(crate) async fn change<T, F>(
        &self,
        actor: Actor,
        now: UnixTime,
        change: F,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Writing<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        let standing = Arc::clone(&self.standing);
        self.writer
            .write(move |writing| {
                if let Some(refused) = standing.refuse(writing, &actor, now)? {
                    return Ok(Err(refused));
                }
                change(writing).map(Ok)
            })
            .await?
    }
}

impl Standing {
    /// Why `actor` may not ask for a change any more; on record in this transaction. Those who can be refused are as few as
    /// the connections that an operator or a node may have.
    pub(crate) fn refuse(
        &self,
        writing: &Writing<'_>,
        actor: &Actor,
        now: UnixTime,
    ) -> Result<Option<StoreError>, StoreError> {
        let judged = self
            .judge(writing, actor, now)
            .map_err(|error| writing.fault(&error))?;
        let Err(why) = judged else {
            return Ok(None);
        };
        audit::record(
            writing.sql,
            now,
            actor,
            Action::Refuse,
            "a change that was waiting",
            &why,
            None,
        )
        .map_err(|error| writing.fault(&error))?;
        Ok(Some(StoreError::AccessWithdrawn {
            actor: actor.to_string(),
            why,
        }))
    }

    fn judge(
        &self,
        writing: &Writing<'_>,
        actor: &Actor,
        now: UnixTime,
    ) -> rusqlite::Result<Result<(), String>> {
        let (certificate, profile) = match actor {
            // The operating system, or nobody, vouches for them: there is nothing to withdraw.
            Actor::Authority | Actor::LocalAdmin { .. } => return Ok(Ok(())),
            Actor::Holder {
                certificate,
                profile,
                ..
            } => (*certificate, profile),
            Actor::Operator {
                identity,
                role,
                certificate,
            } => {
                match self.roles().of(identity) {
                    Some(present) if present >= *role => {}
                    Some(present) => return Ok(Err(format!("it was {role}, and is {present}"))),
                    None => return Ok(Err(format!("it was {role}, and has no role"))),
                }
                (Some(*certificate), &Profile::OPERATOR)
            }
        };
        let Some(certificate) = certificate else {
            return Ok(Err("no certificate was shown".to_owned()));
        };
        is_live(writing, certificate, profile, now)
    }

    fn roles(&self) -> Arc<Roles> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

fn is_live(
    writing: &Writing<'_>,
    certificate: Fingerprint,
    profile: &Profile,
    now: UnixTime,
) -> rusqlite::Result<Result<(), String>> {
    let found = writing
        .sql
        .prepare_cached(LIVE)?
        .query_row([certificate.as_bytes()], |row: &Row<'_>| {
            let state: String = row.get(0)?;
            let of: String = row.get(1)?;
            Ok((state, of, time(row, 2)?))
        })
        .optional()?;
    Ok(match found {
        None => Err(format!("the inventory has no certificate {certificate}")),
        Some((_, of, _)) if of != profile.as_str() => {
            Err(format!("certificate {certificate} is of profile {of}"))
        }
        Some((state, ..)) if state != "signed" => {
            Err(format!("certificate {certificate} is {state}"))
        }
        Some((_, _, end)) if end < now => Err(format!("certificate {certificate} ended at {end}")),
        Some(_) => Ok(()),
    })
}

/// Those of others are nobody's right to anything.
const LIVE: &str = "SELECT state, profile, not_after FROM entry INDEXED BY entry_by_fingerprint
     WHERE fingerprint = ?1 AND issuer_id IS NOT NULL";
