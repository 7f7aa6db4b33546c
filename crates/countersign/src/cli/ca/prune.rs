//! `countersign ca prune`: what expired long ago leaves the inventory now, not at the next hour.

use std::fmt::Write as _;

use clap::Args;
use countersign_authority::api::{DroppedView, PRUNE, PRUNE_PREVIEW, PruneResponse};

use crate::backend::{Backend, block_on};
use crate::cli::arguments::{AuthorityArguments, Globals};
use crate::fault::{Answer, Fault};
use crate::output::tell;

/// Let leave the inventory what expired long ago, by [authority.retention] of the configuration
///
/// A service does it by itself, each hour. Nothing leaves before it is in the archive and on disk, nothing that its own bytes do not
/// prove to have ended, and nothing by a clock that has jumped. The audit log stays whole.
#[derive(Debug, Args)]
pub(crate) struct PruneCommand {
    /// Change nothing, and show what would leave
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    authority: AuthorityArguments,
}

impl PruneCommand {
    /// Runs it.
    pub(crate) fn run(self, globals: &Globals) -> Result<Answer, Fault> {
        let asked = self.authority.asked(globals)?;
        let is_preview = self.dry_run;
        let response: PruneResponse = block_on(async {
            let backend = Backend::connect(&asked).await?;
            if is_preview {
                return Ok(backend.client.get(PRUNE_PREVIEW).await?);
            }
            let mut all: PruneResponse = backend.client.post(PRUNE, &()).await?;
            let mut before = all.dropped;
            // What stays is met again by each call: where nothing more leaves, that is all there is.
            while all.more && before != DroppedView::default() {
                tell(&format!("{} so far", all.dropped.certificates));
                let next: PruneResponse = backend.client.post(PRUNE, &()).await?;
                before = next.dropped;
                all.dropped.certificates += next.dropped.certificates;
                all.dropped.imported += next.dropped.imported;
                all.dropped.intents += next.dropped.intents;
                all.files.extend(next.files);
                all.kept = next.kept;
                all.more = next.more;
            }
            Ok(all)
        })?;
        globals
            .output()
            .answer(&response, |response| text(response, is_preview))?;
        Ok(Answer::Yes)
    }
}

fn text(response: &PruneResponse, is_preview: bool) -> String {
    let mut text = String::new();
    let mut line = |line: std::fmt::Arguments<'_>| {
        writeln!(text, "{line}").expect("a String takes everything");
    };
    let dropped = response.dropped;
    let (verb, more) = match (is_preview, response.more) {
        (true, true) => ("would leave", ", and more"),
        (true, false) => ("would leave", ""),
        (false, _) => ("left the inventory", ""),
    };
    line(format_args!(
        "{} certificates, {} imported ones and {} reserved serials that ended before {} {verb}{more}",
        dropped.certificates, dropped.imported, dropped.intents, response.cutoff
    ));
    let kept = response.kept;
    if kept.compromised > 0 {
        line(format_args!(
            "{} stay so that their keys, which were given away or are on hold, are not certified again",
            kept.compromised
        ));
    }
    if kept.listed > 0 {
        line(format_args!(
            "{} stay until a revocation list has shown them for the last time",
            kept.listed
        ));
    }
    if kept.unproved > 0 {
        line(format_args!(
            "{} stay because their bytes do not prove that they have ended",
            kept.unproved
        ));
    }
    for file in &response.files {
        line(format_args!("archived in {file}"));
    }
    text
}
