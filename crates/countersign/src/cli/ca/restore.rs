//! `countersign ca restore`: a backup put into an empty state folder.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use countersign_authority::backup::BackupFacts;
use countersign_authority::restore::{Restored, restore};
use countersign_authority::state::StateFolder;
use countersign_pki::feed::{HistoryId, Sequence};
use countersign_runtime::clock::{SharedClock, SystemClock};
use serde::Serialize;

use crate::backend::own_user;
use crate::cli::arguments::{Globals, StateArgument};
use crate::cli::passphrase::PassphraseArgument;
use crate::fault::{Answer, Fault};

/// Put a backup into an empty state folder; nothing is issued until `ca resume`
///
/// The backup is verified to its last byte before anything of it is in place. What was revoked since it was made is not in
/// it: no certificate is issued and no gateway starts until `countersign ca resume` has been told.
#[derive(Debug, Args)]
pub(crate) struct RestoreCommand {
    /// What `countersign ca backup` wrote
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    passphrase: PassphraseArgument,
    #[command(flatten)]
    state: StateArgument,
}

/// What is in place.
#[derive(Debug, Serialize)]
struct Done {
    state: PathBuf,
    backup: BackupFacts,
    history: HistoryId,
    sequence: Sequence,
    /// Whether the passphrase that was given opens the keys; not said where none was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    passphrase_fits: Option<bool>,
    /// Where the passphrase is looked for when none is named.
    passphrase: PathBuf,
}

impl RestoreCommand {
    /// Runs it.
    pub(crate) fn run(self, globals: &Globals) -> Result<Answer, Fault> {
        let passphrase = self.passphrase.clone().within(globals).read()?;
        let state = StateFolder::prepare(&self.state.folder(globals)?)?;
        let lock = state.lock()?;
        let clock: SharedClock = Arc::new(SystemClock);
        let restored = restore(
            &state,
            &lock,
            &self.file,
            passphrase.as_ref(),
            own_user(),
            &clock,
        );
        let Restored {
            facts,
            history,
            base,
        } = restored?;
        let done = Done {
            state: state.path().to_owned(),
            backup: facts,
            history,
            sequence: base,
            // A wrong one would have been refused.
            passphrase_fits: passphrase.map(|_| true),
            passphrase: state.passphrase(),
        };
        globals.output().answer(&done, text)?;
        Ok(Answer::Yes)
    }
}

fn text(done: &Done) -> String {
    let passphrase = match done.passphrase_fits {
        Some(_) => "opens the keys; it is not kept in the state folder".to_owned(),
        None => format!(
            "not in a backup: put it into {} (mode 600), or name it with --passphrase-file",
            done.passphrase.display()
        ),
    };
    format!(
        "restored    {}\nmade at     {}\nroot        {}\nhistory     {} from {}\npassphrase  {passphrase}\n\
         issuing is paused: what was revoked since {} is not known here\n\
         tell it: `countersign ca resume --crl FILE --from-gateway FILE`\n",
        done.state.display(),
        done.backup.created_at,
        done.backup.root_fingerprint,
        done.history.0,
        done.sequence.0,
        done.backup.created_at,
    )
}
