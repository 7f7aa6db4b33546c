//! Who has to act, for every error of the crates below. One place, so that an error has one exit code.

use countersign_authority::adopt::AdoptError;
use countersign_authority::authority::{IssueError, NotReady, OpenError, RevokeError};
use countersign_authority::backup::BackupFault;
use countersign_authority::client::ClientError;
use countersign_authority::init::InitError;
use countersign_authority::restore::RestoreError;
use countersign_authority::secret::PassphraseError;
use countersign_authority::state::StateError;
use countersign_policy::issuance::Denied;
use countersign_proxy::gateway::StartError;
use countersign_runtime::listen::BindError;
use countersign_runtime::workers::WorkerPanicked;
use countersign_store::error::StoreError;

use super::{Blame, Fault};

impl From<StateError> for Fault {
    fn from(error: StateError) -> Self {
        let blame = match &error {
            StateError::InUse { .. } | StateError::Io { .. } | StateError::NotWritable { .. } => {
                Blame::World
            }
            _ => Blame::Configuration,
        };
        Self::new(blame, &error)
            .maybe_hint(error.hint())
            .or_hint("`--state DIR` names another folder")
    }
}

impl From<InitError> for Fault {
    fn from(error: InitError) -> Self {
        let hint = error.hint();
        let blame = match error {
            InitError::State(error) => return error.into(),
            InitError::Store(error) => return error.into(),
            InitError::NotReady(error) => return error.into(),
            InitError::Passphrase(error) => return error.into(),
            InitError::AlreadyInitialised { .. }
            | InitError::BrokenRequest { .. }
            | InitError::Lint { .. }
            | InitError::RootYears { .. }
            | InitError::SubjectHasCommonName { .. }
            | InitError::Template(_) => Blame::Configuration,
            InitError::Malformed(_) | InitError::NoKey => Blame::Bug,
            _ => Blame::World,
        };
        Self::new(blame, error).maybe_hint(hint)
    }
}

impl From<AdoptError> for Fault {
    fn from(error: AdoptError) -> Self {
        let hint = error.hint();
        match error {
            AdoptError::Init(error) => error.into(),
            AdoptError::Sign(_) => Self::new(Blame::World, error).maybe_hint(hint),
            _ => Self::configuration(error).maybe_hint(hint),
        }
    }
}

impl From<OpenError> for Fault {
    fn from(error: OpenError) -> Self {
        let hint = error.hint();
        let blame = match error {
            OpenError::Passphrase(error) => return error.into(),
            OpenError::Store(error) => return error.into(),
            OpenError::NotInitialised { .. } => Blame::Configuration,
            _ => Blame::World,
        };
        Self::new(blame, error).maybe_hint(hint)
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        let blame = match &error {
            StoreError::NewerSchema { .. } | StoreError::NotAnInventory { .. } => {
                Blame::Configuration
            }
            StoreError::IssuerRevoked { .. }
            | StoreError::IssuingPaused { .. }
            | StoreError::RulesUnknown { .. } => Blame::Denied,
            StoreError::NotACertificate { .. } | StoreError::Sql { .. } => Blame::Bug,
            _ => Blame::World,
        };
        Self::new(blame, &error).maybe_hint(error.hint())
    }
}

impl From<BackupFault> for Fault {
    fn from(error: BackupFault) -> Self {
        let blame = match &error {
            BackupFault::Newer { .. } | BackupFault::NotABackup { .. } => Blame::Configuration,
            BackupFault::Io { .. } => Blame::World,
            // Whether it can be relied on is what was asked.
            _ => Blame::Denied,
        };
        Self::new(blame, &error).maybe_hint(error.hint())
    }
}

impl From<RestoreError> for Fault {
    fn from(error: RestoreError) -> Self {
        let hint = error.hint();
        let blame = match error {
            RestoreError::Backup(error) => return error.into(),
            RestoreError::Open(error) => return error.into(),
            RestoreError::State(error) => return error.into(),
            RestoreError::Store(error) => return error.into(),
            RestoreError::AlreadyInitialised { .. } | RestoreError::Key { .. } => {
                Blame::Configuration
            }
            _ => Blame::World,
        };
        Self::new(blame, error).maybe_hint(hint)
    }
}

impl From<NotReady> for Fault {
    fn from(error: NotReady) -> Self {
        // The passphrase or a sealed file is not the right one: nothing to wait for.
        Self::configuration(&error).maybe_hint(error.hint)
    }
}

impl From<IssueError> for Fault {
    fn from(error: IssueError) -> Self {
        let hint = error.hint();
        let blame = match error {
            IssueError::NotReady(error) => return error.into(),
            IssueError::Store(error) => return error.into(),
            IssueError::Denied(Denied::BytesDiffer { .. } | Denied::Lint { .. })
            | IssueError::Interrupted
            | IssueError::Malformed(_) => Blame::Bug,
            IssueError::Denied(_) | IssueError::Template(_) => Blame::Configuration,
            _ => Blame::World,
        };
        Self::new(blame, error).maybe_hint(hint)
    }
}

impl From<RevokeError> for Fault {
    fn from(error: RevokeError) -> Self {
        let hint = error.hint();
        match error {
            RevokeError::Store(error) => error.into(),
            other => Self::denied(other).maybe_hint(hint),
        }
    }
}

impl From<PassphraseError> for Fault {
    fn from(error: PassphraseError) -> Self {
        Self::configuration(&error).maybe_hint(error.hint())
    }
}

impl From<ClientError> for Fault {
    fn from(error: ClientError) -> Self {
        let (blame, hint) = match &error {
            ClientError::Refused { problem } => {
                let unknown =
                    (problem.status == 404).then_some("`countersign list` shows what there is");
                (blame_of_status(problem.status), unknown)
            }
            ClientError::Malformed { .. } => (Blame::Bug, None),
            _ => (
                Blame::World,
                Some("is the process still running? `countersign status` says what runs"),
            ),
        };
        let fault = Self::new(blame, &error).maybe_hint(hint);
        fault.maybe_hint(error.hint())
    }
}

impl From<BindError> for Fault {
    fn from(error: BindError) -> Self {
        Self::world(&error).maybe_hint(error.hint())
    }
}

impl From<StartError> for Fault {
    fn from(error: StartError) -> Self {
        Self::world(&error).maybe_hint(error.hint())
    }
}

impl From<WorkerPanicked> for Fault {
    fn from(error: WorkerPanicked) -> Self {
        Self::bug(error)
    }
}

fn blame_of_status(status: u16) -> Blame {
    match status {
        // What was asked about does not exist, or stands in the way: revoked, expired.
        404 | 409 | 410 => Blame::Denied,
        400..=499 => Blame::Configuration,
        500 => Blame::Bug,
        _ => Blame::World,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_the_admin_api_have_the_exit_code_of_their_blame() {
        let check = |status, code| {
            let fault = Fault::new(blame_of_status(status), "x");
            assert_eq!(fault.exit_code(), code, "{status}");
        };
        check(400, 2);
        check(403, 2);
        check(404, 1);
        check(409, 1);
        check(422, 2);
        check(500, 70);
        check(503, 3);
    }

    #[test]
    fn state_that_another_process_holds_is_the_worlds_fault_and_a_newer_one_is_configuration() {
        let path = std::path::PathBuf::from("/s");
        let in_use = StateError::InUse {
            path: path.clone(),
            pid: Some(42),
        };
        let fault = Fault::from(in_use);
        assert_eq!(fault.exit_code(), 3);
        assert!(fault.render(false).contains("process 42"));
        assert_eq!(
            Fault::from(StateError::Newer {
                path: path.clone(),
                found: 9,
                known: 1
            })
            .exit_code(),
            2
        );
        assert_eq!(
            Fault::from(StateError::SocketPathTooLong {
                path,
                bytes: 200,
                limit: 107
            })
            .exit_code(),
            2
        );
    }
}
