//! `countersign explain`: why somebody was turned away. Read from the state's files, whether or not a gateway runs.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use clap::Args;
use countersign_authority::state::StateFolder;
use countersign_diagnose::refusal::RefusalId;
use countersign_pki::time::UnixTime;
use countersign_proxy::refusals::{Query, StoredRefusal, search};
use countersign_runtime::clock::{Clock, SystemClock};

use crate::cli::arguments::{Globals, StateArgument, duration};
use crate::fault::{Answer, Fault};

/// Explain why a connection or request was refused, by its id or by source address and time
#[derive(Debug, Args)]
pub(crate) struct ExplainCommand {
    /// The id that the refused client was told
    #[arg(
        value_name = "REFUSAL_ID",
        required_unless_present = "from",
        conflicts_with = "from"
    )]
    id: Option<RefusalId>,
    /// Everything that came from this address
    #[arg(long, value_name = "ADDR")]
    from: Option<IpAddr>,
    /// How far back to look
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = duration, requires = "from")]
    since: Duration,
    #[command(flatten)]
    state: StateArgument,
}

impl ExplainCommand {
    /// Runs it.
    pub(crate) fn run(self, globals: &Globals) -> Result<Answer, Fault> {
        let path = self.state.folder(globals)?;
        let now = UnixTime::from_seconds(SystemClock.unix_seconds());
        let (query, asked) = match (self.id, self.from) {
            (Some(id), _) => (Query::Id(id.clone()), format!("refusal {id}")),
            (None, Some(address)) => {
                let asked = format!(
                    "a refusal of {address} in the last {}",
                    countersign_pki::time::spoken(self.since)
                );
                (
                    Query::From {
                        address,
                        since: now.minus(self.since),
                    },
                    asked,
                )
            }
            (None, None) => {
                return Err(Fault::bug("neither id nor address got past the arguments"));
            }
        };
        let found = find(&path, &query)?;
        if found.is_empty() {
            return Err(Fault::denied(format_args!("{asked} is not kept in {}", path.display()))
                .hint("a gateway keeps its own refusals: ask where it runs, or name its folder with `--state DIR`"));
        }
        globals.output().answer(&found, |found| {
            found.iter().map(text).collect::<Vec<_>>().join("\n")
        })?;
        Ok(Answer::Yes)
    }
}

fn find(path: &Path, query: &Query) -> Result<Vec<StoredRefusal>, Fault> {
    if !path.try_exists().unwrap_or(true) {
        return Ok(Vec::new());
    }
    let refusals = StateFolder::existing(path)?.refusals();
    search(&refusals, query)
        .map_err(|error| Fault::world(format_args!("cannot read {}: {error}", refusals.display())))
}

fn text(stored: &StoredRefusal) -> String {
    let refusal = &stored.refusal;
    let (first, last) = (
        UnixTime::from_seconds(stored.first_unix_s),
        UnixTime::from_seconds(stored.last_unix_s),
    );
    let when = match stored.count {
        0 | 1 => first.to_string(),
        count => format!("{count} times from {first} to {last}"),
    };
    let request = stored
        .request
        .as_ref()
        .map(|it| format!("{} {}{}", it.method, it.host, it.path));
    let mut rows = vec![
        ("means", refusal.cause.meaning().to_owned()),
        ("fix", refusal.fix().to_owned()),
        ("more", refusal.cause.page().to_owned()),
        ("when", when),
        ("from", stored.source.to_string()),
        ("listener", stored.listener.clone()),
    ];
    rows.extend(stored.sni.clone().map(|sni| ("sni", sni)));
    rows.extend(stored.principal.clone().map(|principal| ("who", principal)));
    rows.extend(request.map(|request| ("request", request)));
    rows.extend(
        refusal
            .evidence
            .iter()
            .map(|(name, value)| (name, value.to_owned())),
    );
    let width = rows.iter().map(|(label, _)| label.len()).max().unwrap_or(0);
    let head = format!(
        "{}  {}  {}\n",
        stored.id,
        refusal.cause.slug(),
        refusal.sentence()
    );
    rows.iter().fold(head, |mut text, (label, value)| {
        writeln!(text, "  {label:<width$}  {value}").expect("a String takes everything");
        text
    })
}
