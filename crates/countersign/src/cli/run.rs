//! `countersign run`: the roles that a file configures.

use std::path::PathBuf;

use clap::Args;

use crate::cli::arguments::{Globals, StateArgument};
use crate::cli::passphrase::PassphraseArgument;
use crate::fault::{Answer, Fault};
use crate::serve::{Service, Source, serve};

/// Serve what a configuration file says; SIGHUP reads it again
#[derive(Debug, Args)]
pub(crate) struct RunCommand {
    /// The configuration; `countersign config defaults` prints one to start from
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
    #[command(flatten)]
    passphrase: PassphraseArgument,
    #[command(flatten)]
    state: StateArgument,
}

impl RunCommand {
    /// Runs it.
    pub(crate) fn run(self, globals: &Globals) -> Result<Answer, Fault> {
        let service = Service {
            state: self.state.folder(globals)?,
            passphrase: self.passphrase.within(globals).passphrase(),
            source: Source::File(self.config),
            names: Vec::new(),
            first_run: None,
        };
        serve(service, globals)
    }
}
