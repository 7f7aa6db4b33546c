//! `countersign label`: whose an identity is, and what else people say of it.

use std::fmt::Write as _;

use clap::Args;
use countersign_authority::api::{self, LabelRequest, LabelResponse};

use crate::backend::{Backend, block_on};
use crate::cli::arguments::{AuthorityArguments, Globals, label};
use crate::cli::show::what_is_meant;
use crate::fault::{Answer, Fault};
use crate::output::escaped;

/// Say whose an identity is, with labels and a note; without options, show what is said
///
/// It is said of the name that the certificate is listed by, so that it stays when the certificate is renewed. It decides
/// nothing.
#[derive(Debug, Args)]
pub(crate) struct LabelCommand {
    /// A certificate file, a name, a serial number or a fingerprint; all that is meant must have one name
    #[arg(value_name = "WHAT")]
    what: String,
    /// Whom to ask, at most 128 bytes; empty for nobody
    #[arg(long)]
    owner: Option<String>,
    /// Set a label; may be repeated, 32 at most
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
    /// Take a label away; may be repeated
    #[arg(long, value_name = "KEY")]
    remove: Vec<String>,
    /// Anything else, at most 2048 bytes; empty for nothing
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    #[command(flatten)]
    authority: AuthorityArguments,
}

impl LabelCommand {
    /// Runs it.
    pub(crate) fn run(self, globals: &Globals) -> Result<Answer, Fault> {
        let asked = self.authority.asked(globals)?;
        let request = LabelRequest {
            what: what_is_meant(&self.what)?,
            owner: self.owner,
            labels: self.labels.into_iter().collect(),
            remove: self.remove,
            note: self.note,
        };
        let said: LabelResponse = block_on(async {
            let backend = Backend::connect(&asked).await?;
            Ok(backend.client.post(api::LABEL, &request).await?)
        })?;
        globals.output().answer(&said, text)?;
        Ok(Answer::Yes)
    }
}

fn text(said: &LabelResponse) -> String {
    let mut text = String::new();
    let mut line = |label: &str, value: &str| {
        writeln!(text, "{label:<12} {}", escaped(value)).expect("a String takes everything");
    };
    line("identity", &said.identity);
    line("owner", said.owner.as_deref().unwrap_or("none"));
    for (key, value) in &said.labels {
        line("label", &format!("{key}={value}"));
    }
    if let Some(note) = &said.note {
        line("note", note);
    }
    text
}
