//! The audit log, for who may read it.

use std::io::{self, BufWriter, Write};

use countersign_pki::time::UnixTime;
use countersign_policy::administration::Role;
use countersign_policy::issuance::Actor;
use countersign_store::audit::log::AuditLog;
use countersign_store::error::StoreError;
use tokio::task::spawn_blocking;

use super::Authority;
use super::download::{Download, PIECE, download};

impl Authority {
    /// Every line of the log as it is now; `since`: from the first transaction on that has a record of that time or later.
    pub async fn audit_log(
        &self,
        actor: &Actor,
        since: Option<UnixTime>,
    ) -> Result<Download, AuditError> {
        if !actor.may(Role::Admin) {
            return Err(AuditError::NotPermitted {
                actor: actor.to_string(),
            });
        }
        let path = self.state.inventory();
        let log = spawn_blocking(move || AuditLog::open(&path));
        let log = log.await.map_err(|_| AuditError::Interrupted)??;
        let (source, taken) = download();
        spawn_blocking(move || {
            let mut to = BufWriter::with_capacity(PIECE, source.clone());
            let written = log
                .lines(since, |line| writeln!(to, "{line}").map_err(WriteError::Io))
                .and_then(|()| to.flush().map_err(WriteError::Io));
            if let Err(error) = written {
                let error = io::Error::from(error);
                tracing::warn!(target: "audit", %error, "export of the audit log broke off");
                source.break_off(error);
            }
        });
        Ok(taken)
    }
}

/// Why the log is not told.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// The thread that reads has ended early: our bug.
    #[error("the audit log was not read")]
    Interrupted,
    /// Who did what is nobody else's business.
    #[error("{actor} may not read the audit log")]
    NotPermitted {
        /// Who.
        actor: String,
    },
    /// The inventory.
    #[error(transparent)]
    Store(#[from] StoreError),
}

enum WriteError {
    Io(io::Error),
    Store(StoreError),
}

impl From<StoreError> for WriteError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<WriteError> for io::Error {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Io(error) => error,
            WriteError::Store(error) => Self::other(error),
        }
    }
}
