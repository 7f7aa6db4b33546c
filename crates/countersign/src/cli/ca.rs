//! `countersign ca`: what is done with the CA itself.

mod crl;

use clap::{Args, Subcommand};

use crate::cli::arguments::Globals;
use crate::fault::{Answer, Fault};

/// Work with the CA itself: its revocation lists
#[derive(Debug, Args)]
pub(crate) struct CaCommand {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Crl(crl::CrlCommand),
}

impl CaCommand {
    /// Runs it.
    pub(crate) fn run(self, globals: &Globals) -> Result<Answer, Fault> {
        match self.verb {
            Verb::Crl(command) => command.run(globals),
        }
    }
}
