//! `countersign explain`: why somebody was turned away. Read from the state's files, whether or not a gateway runs.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use clap::Args;
use countersign_authority::state::StateFolder;
use countersign_diagnose::blame;
use countersign_diagnose::finding::Finding;
use countersign_diagnose::refusal::RefusalId;
use countersign_pki::chain::Purpose;
use countersign_pki::time::UnixTime;
use countersign_proxy::refusals::{Phase, Query, StoredRefusal, search};
use countersign_runtime::clock::{Clock, SystemClock};
use serde::Serialize;

use crate::cli::arguments::{Globals, StateArgument, duration};
use crate::cli::findings::{Look, body, verdict};
use crate::fault::{Answer, Fault};
use crate::output::print;

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

/// A refusal, and what the doctor would say of it.
#[derive(Clone, Debug, Serialize)]
struct Explained {
    #[serde(flatten)]
    stored: StoredRefusal,
    finding: Finding,
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
        let mut found: Vec<Explained> = found.into_iter().map(Explained::of).collect();
        // As the doctor ranks: what is at fault first, then in the order of time.
        found.sort_by_key(|it| it.finding.severity);
        if globals.json {
            globals.output().answer(&found, |_| String::new())?;
        } else {
            let look = Look::of(&globals.environment);
            let texts: Vec<String> = found.iter().map(|it| it.text(look)).collect();
            print(&texts.join("\n"))?;
        }
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

impl Explained {
    fn of(stored: StoredRefusal) -> Self {
        // Behind the gateway it is the upstream that shows its certificate.
        let presenter = match stored.phase {
            Phase::Handshake | Phase::Request => Purpose::ClientAuth,
            Phase::Upstream => Purpose::ServerAuth,
        };
        Self {
            finding: blame::finding(&stored.refusal, presenter),
            stored,
        }
    }

    fn text(&self, look: Look) -> String {
        let stored = &self.stored;
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
        let source = stored.source.to_string();
        let rows = [
            ("means", Some(stored.refusal.cause.meaning())),
            ("when", Some(&*when)),
            ("from", Some(&*source)),
            ("listener", Some(&*stored.listener)),
            ("sni", stored.sni.as_deref()),
            ("who", stored.principal.as_deref()),
            ("request", request.as_deref()),
        ];
        let rows = rows.into_iter();
        let rows = rows.filter_map(|(label, value)| Some((label, value?)));
        let (head, body) = (
            verdict(&self.finding, look),
            body(&self.finding, usize::MAX, look),
        );
        format!("{head}{body}\nrefusal {}\n{}", stored.id, look.facts(rows))
    }
}
