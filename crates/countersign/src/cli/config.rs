//! `countersign config`: check, explain, defaults, schema.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use countersign_runtime::config::reference::{Explained, explain};
use serde::Serialize;

use crate::cli::arguments::Globals;
use crate::composition;
use crate::configuration::{Configuration, Loaded};
use crate::fault::{Answer, Fault};
use crate::output::{print, table};

/// Look at a configuration without serving it
#[derive(Debug, Args)]
pub(crate) struct ConfigCommand {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Say whether FILE could be served: its keys, the files that it names, its rules
    Check {
        /// The configuration
        file: PathBuf,
    },
    /// Show every key in effect with its value and where that came from
    Explain {
        /// The configuration
        file: PathBuf,
    },
    /// Print a documented configuration in which every key stands with its default
    Defaults,
    /// Print the JSON schema of the configuration
    Schema,
}

impl ConfigCommand {
    /// Runs it.
    pub(crate) fn run(self, globals: &Globals) -> Result<Answer, Fault> {
        let output = globals.output();
        match self.verb {
            Verb::Check { file } => {
                #[derive(Serialize)]
                struct Checked {
                    ok: bool,
                    file: PathBuf,
                }
                let loaded = Loaded::from_file(&file)?;
                composition::check(&loaded)?;
                output.answer(&Checked { ok: true, file }, |checked| {
                    format!("{}: ok", checked.file.display())
                })?;
            }
            Verb::Explain { file } => {
                let loaded = Loaded::from_file(&file)?;
                let effective = toml::Table::try_from(&loaded.configuration).map_err(Fault::bug)?;
                let explained = explain(&effective, &loaded.written()?);
                output.answer(&explained, |explained| explanation(explained))?;
            }
            Verb::Defaults => output.answer(&defaults(), Clone::clone)?,
            Verb::Schema => print(&schema())?,
        }
        Ok(Answer::Yes)
    }
}

fn explanation(explained: &[Explained]) -> String {
    let source = |from_file| if from_file { "file" } else { "default" }.to_owned();
    let rows: Vec<_> = explained
        .iter()
        .map(|key| vec![key.key.clone(), key.value.clone(), source(key.from_file)])
        .collect();
    table(&["KEY", "VALUE", "SOURCE"], &rows)
}

/// Every key of every role.
fn defaults() -> String {
    countersign_authority::config::default_toml() + &countersign_proxy::config::default_toml()
}

fn schema() -> String {
    let schema = schemars::schema_for!(Configuration);
    let text = serde_json::to_string_pretty(&schema).expect("a schema is JSON");
    text + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn committed_schema_is_the_generated_one() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../docs/reference/config.schema.json"
        );
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        assert_eq!(
            committed,
            schema(),
            "regenerate it: cargo run -p countersign -- config schema > docs/reference/config.schema.json"
        );
    }

    #[test]
    fn defaults_parse_as_a_configuration() {
        toml::from_str::<Configuration>(&defaults())
            .expect("the documented defaults are a configuration");
    }
}
