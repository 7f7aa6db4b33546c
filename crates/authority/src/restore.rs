//! Putting a backup in place: verified whole in a scaffold, given a new history, then moved out.
//!
//! A restored authority does not know what was revoked since the backup was made, so issuing waits until somebody tells it
//! ([`countersign_store::pause`]), and no gateway starts on what it knows.

use std::fs;
use std::path::{Path, PathBuf};

use countersign_pki::feed::{HistoryId, Sequence};
use countersign_pki::time::UnixTime;
use countersign_policy::issuance::Actor;
use countersign_runtime::clock::SharedClock;
use countersign_store::backup::{Examined, Refounding, ValidNode, examine};
use countersign_store::error::StoreError;
use countersign_store::fail_point::FailPoint;
use countersign_store::issuer::IssuerRole;
use countersign_store::store::Store;

use crate::authority::OpenError;
use crate::backup::{BackupFacts, BackupFault, FORMAT_WITH_RULES, unpack};
use crate::feed::Roll;
use crate::init::new_history;
use crate::meta::Meta;
use crate::open::certificate_in;
use crate::scaffold::{self, RESTORING};
use crate::sealed::{self, SealError};
use crate::secret::Secret;
use crate::state::{FORMAT_TEXT, NODES, StateError, StateFolder, StateLock};

/// What is in place now.
#[derive(Clone, Debug)]
pub struct Restored {
    /// What the backup is of.
    pub facts: BackupFacts,
    /// The feed's new history.
    pub history: HistoryId,
    /// Its first message comes after this.
    pub base: Sequence,
}

/// Restores `backup` into a folder that holds nothing. `passphrase`: tried on each sealed key before anything is put in
/// place. What a crash leaves in the middle of it is recognised and redone. Blocks.
pub fn restore(
    state: &StateFolder,
    _lock: &StateLock,
    backup: &Path,
    passphrase: Option<&Secret>,
    actor: Actor,
    clock: &SharedClock,
) -> Result<Restored, RestoreError> {
    if state.is_initialised() {
        return Err(RestoreError::AlreadyInitialised {
            path: state.path().to_owned(),
        });
    }
    state.refuse_used()?;
    scaffold::clear(state)?;
    let restoring = Restoring {
        state,
        backup,
        actor,
        now: UnixTime::from_seconds(clock.unix_seconds()),
    };
    let restored = restoring.build(passphrase).and_then(|restored| {
        scaffold::move_out(state)?;
        Ok(restored)
    });
    if restored.is_err() && !state.is_initialised() {
        // What cannot be removed now is found by the next restore.
        let _ = scaffold::clear(state);
    }
    restored
}

struct Restoring<'a> {
    state: &'a StateFolder,
    backup: &'a Path,
    actor: Actor,
    now: UnixTime,
}

impl Restoring<'_> {
    fn build(&self, passphrase: Option<&Secret>) -> Result<Restored, RestoreError> {
        let scaffold = self.state.scaffold();
        scaffold::create_folder(&scaffold)?;
        scaffold::write(&scaffold.join(RESTORING), b"", 0o600)?;
        let facts = unpack(self.backup, &scaffold)?;
        FailPoint::RestoreUnpacked.reach();
        let inventory = scaffold.join("inventory.db");
        let examined = examine(&inventory).map_err(|error| self.inventory(error))?;
        self.refuse_mixed(&facts, &examined)?;
        if let Some(passphrase) = passphrase {
            self.try_passphrase(passphrase)?;
        }
        let history = new_history().map_err(|_| RestoreError::NoRandomness)?;
        let base = Sequence((examined.sequence.0 + 1).max(self.now.seconds()));
        let refounding = Refounding {
            history: history.clone(),
            base,
            backup_at: facts.created_at,
            backup: format!("backup of {}, {}", facts.created_at, facts.audit_head),
            are_rules_known: facts.format >= FORMAT_WITH_RULES,
            actor: self.actor.clone(),
            now: self.now,
        };
        let nodes = Store::refound(&inventory, &refounding);
        self.call_the_roll(nodes.map_err(|error| self.inventory(error))?)?;
        FailPoint::RestoreRefounded.reach();
        Ok(Restored {
            facts,
            history,
            base,
        })
    }

    /// The parts were taken one after the other: they have to be of one authority.
    fn refuse_mixed(&self, facts: &BackupFacts, examined: &Examined) -> Result<(), RestoreError> {
        let scaffold = self.state.scaffold();
        let mixed = |why: String| BackupFault::Mixed {
            path: self.backup.to_owned(),
            why,
        };
        let format = fs::read(scaffold.join("format"));
        if !format.is_ok_and(|text| text == FORMAT_TEXT.as_bytes()) {
            return Err(mixed("its state has another format".to_owned()).into());
        }
        let meta = Meta::load(&scaffold.join("meta.json"))
            .map_err(|error| mixed(format!("meta.json: {error}")))?;
        if meta.trust_domain.as_str() != facts.trust_domain {
            return Err(mixed("meta.json has another trust domain".to_owned()).into());
        }
        for issuer in &examined.issuers {
            let certificate = certificate_in(&scaffold.join("ca"), issuer.role)
                .map_err(|error| mixed(error.to_string()))?;
            if certificate.der() != issuer.certificate.der() {
                return Err(mixed(format!(
                    "the certificate of the {} is not the one in the inventory",
                    issuer.role
                ))
                .into());
            }
        }
        let told = (
            facts.schema,
            &facts.history,
            facts.sequence,
            &facts.audit_head,
        );
        let found = (
            examined.schema,
            &examined.history,
            examined.sequence,
            &examined.audit.head,
        );
        if told == found {
            Ok(())
        } else {
            Err(mixed("the inventory is another one than backup.json says".to_owned()).into())
        }
    }

    /// Every node that may serve by what it has heard before is away until it is heard of: those that had joined, and those
    /// that have a certificate to join with.
    fn call_the_roll(&self, valid: Vec<ValidNode>) -> Result<(), RestoreError> {
        let path = self.state.scaffold().join(NODES);
        let fault = |source| StateError::Io {
            what: "write",
            path: path.clone(),
            source,
        };
        let (roll, mut away) = Roll::open(path.clone()).map_err(|error| BackupFault::Mixed {
            path: self.backup.to_owned(),
            why: format!("{NODES}: {error}"),
        })?;
        for node in valid {
            away.entry(node.name)
                .or_insert((node.issuer_key, node.serial));
        }
        if away.is_empty() {
            return Ok(());
        }
        roll.replace(&away).map_err(fault)?;
        Ok(())
    }

    fn try_passphrase(&self, passphrase: &Secret) -> Result<(), RestoreError> {
        let ca = self.state.scaffold().join("ca");
        for role in [
            IssuerRole::Intermediate,
            IssuerRole::Operator,
            IssuerRole::Root,
        ] {
            // A root's key may be elsewhere.
            if let Ok(sealed) = fs::read(ca.join(format!("{role}.key.sealed"))) {
                sealed::unseal(&sealed, role, passphrase)
                    .map_err(|source| RestoreError::Key { role, source })?;
            }
        }
        Ok(())
    }

    fn inventory(&self, source: StoreError) -> RestoreError {
        // The state folder's disk, not the backup.
        if matches!(source, StoreError::DiskFull { .. }) {
            return RestoreError::Store(source);
        }
        let path = self.backup.to_owned();
        let source = Box::new(source);
        RestoreError::Backup(BackupFault::Inventory { path, source })
    }
}

/// Why nothing was restored. Nothing is in place then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// There is one already.
    #[error("state folder {} holds an authority already", .path.display())]
    AlreadyInitialised {
        /// Which folder.
        path: PathBuf,
    },
    /// The file.
    #[error(transparent)]
    Backup(#[from] BackupFault),
    /// The passphrase that was given.
    #[error("the key of the {role} in the backup cannot be unsealed: {source}")]
    Key {
        /// Whose.
        role: IssuerRole,
        /// Why.
        source: SealError,
    },
    /// The operating system has none.
    #[error("the operating system gives no randomness")]
    NoRandomness,
    /// A file of the state.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The folder.
    #[error(transparent)]
    State(#[from] StateError),
    /// The disk.
    #[error(transparent)]
    Store(StoreError),
}

impl RestoreError {
    /// What to do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::AlreadyInitialised { .. } => Some(
                "nothing is written over: choose an empty folder with --state, or move this one away"
                    .to_owned(),
            ),
            Self::Backup(error) => error.hint(),
            Self::Key { .. } => Some(
                "--passphrase-file names the file that the authority was initialised with; it is in no backup"
                    .to_owned(),
            ),
            Self::NoRandomness => None,
            Self::Open(error) => error.hint(),
            Self::State(error) => error.hint(),
            Self::Store(error) => error.hint(),
        }
    }
}
