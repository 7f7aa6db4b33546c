//! The `countersign` command: it reads arguments, configuration and environment, wires the other crates together, and
//! turns their answers into output and exit codes.
//!
//! It must never decide what the crates below decide: who may have which certificate, who is admitted, why somebody was
//! turned away.
//!
//! Read [`cli::Cli`] first, then `serve`, what `up` and `run` share.

mod backend;
mod birth;
mod bundles_in_force;
mod canary;
mod certifiable_names;
mod certificate_file;
mod cli;
mod composition;
mod configuration;
mod env;
mod fault;
mod gateway_certificate;
mod gateway_names;
mod hypothetical;
mod identity_files;
mod kept_profiles;
mod leaf_key;
mod operator_folder;
mod output;
mod password;
mod placeholder;
mod private_folder;
mod private_key;
mod progress;
mod scan;
mod serve;

use std::panic::catch_unwind;
use std::process::ExitCode;

use clap::Parser;
use countersign_runtime::core_dump;

use crate::cli::Cli;
use crate::env::Environment;
use crate::fault::{Answer, Fault};
use crate::output::tell;

/// A request allocates some dozens of times; the system's allocator costs a quarter of the requests (`bench/`).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Looked for before parsing: what is wrong with the arguments is told in JSON too.
    let json = std::env::args_os().any(|argument| argument == "--json");
    std::panic::set_hook(Box::new(move |panic| {
        let sentence = panic.to_string().replace('\n', " ");
        tell(&Fault::bug(sentence).render(json));
    }));
    let outcome = catch_unwind(run);
    ExitCode::from(match outcome {
        Ok(Ok(answer)) => answer.exit_code(),
        Ok(Err(fault)) => {
            tell(&fault.render(json));
            fault.exit_code()
        }
        Err(_) => Fault::bug("").exit_code(),
    })
}

fn run() -> Result<Answer, Fault> {
    // Most commands make or unseal a key.
    core_dump::forbid().map_err(|error| Fault::world(format!("core files stay on: {error}")))?;
    match Cli::try_parse() {
        Ok(cli) => cli.run(Environment::read()),
        Err(error) => cli::usage::answer(&error),
    }
}
