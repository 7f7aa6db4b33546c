//! `countersign api-key`: keys that are shown once.

use clap::{Args, Subcommand};
use countersign_pki::identity::BundleName;
use countersign_pki::name::TypedName;
use countersign_policy::api_key::NewApiKey;
use serde::Serialize;

use crate::backend::random;
use crate::cli::arguments::Globals;
use crate::fault::{Answer, Fault};

/// Make API keys, a second factor beside certificates
#[derive(Debug, Args)]
pub(crate) struct ApiKeyCommand {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make a key: it is shown this once; what is configured is its hash
    New {
        /// How rules and logs call it: lower-case letters, digits and hyphens
        name: String,
        /// The identity that it is for, such as cn:billing or dns:api.example.com
        #[arg(long = "for", value_name = "IDENTITY")]
        holder: TypedName,
    },
}

#[derive(Serialize)]
struct Made {
    key: String,
    configuration: String,
}

impl ApiKeyCommand {
    /// Runs it.
    pub(crate) fn run(self, globals: &Globals) -> Result<Answer, Fault> {
        let Verb::New { name, holder } = self.verb;
        if BundleName::parse(&name).is_err() {
            return Err(
                Fault::configuration(format_args!("{name:?} cannot name an API key"))
                    .hint("use 1 to 63 lower-case letters, digits and hyphens"),
            );
        }
        let key = NewApiKey::new(random()?);
        let holder = toml::Value::String(holder.to_string());
        let made = Made {
            key: key.text().to_owned(),
            configuration: format!(
                "[[gateway.api_key]]\nname = \"{name}\"\nsha256 = \"{}\"\nfor = {holder}\n",
                key.sha256()
            ),
        };
        globals.output().answer(&made, |made| {
            format!(
                "{}\n\nIt is shown this once. Its holder sends it as X-Api-Key; the gateway's configuration gets\n\n{}",
                made.key,
                made.configuration.trim_end()
            )
        })?;
        Ok(Answer::Yes)
    }
}
