//! `countersign ca`: the authority as a whole.

mod adopt;
mod backup;
mod crl;
mod list_file;
mod openssl_index;
mod prune;
mod restore;
mod resume;

use clap::{Args, Subcommand};

use crate::cli::arguments::Globals;
use crate::fault::{Answer, Fault};

/// Adopt an existing CA, back up the authority, restore it, let a restored one go on issuing, write its revocation lists, and let
/// leave what expired long ago
#[derive(Debug, Args)]
pub(crate) struct CaCommand {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Adopt(Box<adopt::AdoptCommand>),
    Backup(backup::BackupCommand),
    Restore(restore::RestoreCommand),
    Resume(resume::ResumeCommand),
    Crl(Box<crl::CrlCommand>),
    Prune(prune::PruneCommand),
}

impl CaCommand {
    /// Runs it.
    pub(crate) fn run(self, globals: &Globals) -> Result<Answer, Fault> {
        match self.verb {
            Verb::Adopt(command) => command.run(globals),
            Verb::Backup(command) => command.run(globals),
            Verb::Restore(command) => command.run(globals),
            Verb::Resume(command) => command.run(globals),
            Verb::Crl(command) => command.run(globals),
            Verb::Prune(command) => command.run(globals),
        }
    }
}
