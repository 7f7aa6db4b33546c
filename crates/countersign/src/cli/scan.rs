//! `countersign scan`: whether those who must be refused are, tried over the network rather than read from a configuration.

mod host;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use countersign_authority::client::AdminClient;
use countersign_diagnose::cause::Cause;
use countersign_diagnose::finding::{Finding, Severity, Side};
use countersign_diagnose::scan::{Door, Reception, Visit, findings, silent, undecided, way_round};
use serde::Serialize;

use crate::backend::{Backend, block_on};
use crate::canary::Canaries;
use crate::cli::arguments::{AuthorityArguments, Globals};
use crate::cli::findings::{Look, SHOWN_FACTS, told};
use crate::configuration::Loaded;
use crate::fault::{Answer, Fault};
use crate::output::{print, table, tell};
use crate::scan::doorway::{self, Doorway};
use crate::scan::{is_open_to_all, listening, visit};

/// Look for ways round mutual TLS: at a host, or at every listener of a configuration with certificates that must be refused
///
/// With `--config` the listeners of this machine's gateway are visited without TLS, without a certificate, with one of a stranger, and
/// with canaries that the authority issues for it: expired, revoked, for servers alone, and good under a name that no rule admits. Nothing is
/// asked of them but a GET. Upstreams that can be reached past the gateway are told, too.
///
/// With a HOST its ports are looked at from here: which of them serve clients without a certificate, or without TLS, beside one that wants both.
///
/// Exit codes: 0 nobody came in, 1 somebody did, or nothing can be reached.
#[derive(Debug, Args)]
pub(crate) struct ScanCommand {
    /// A host, or HOST:PORT of what has to be shut
    #[arg(
        value_name = "HOST",
        required_unless_present = "config",
        conflicts_with = "config"
    )]
    host: Option<String>,
    /// The configuration of the gateway of this machine
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Visit without canaries: those are certificates, each of which stands in the inventory and the audit log
    #[arg(long, requires = "config")]
    no_canaries: bool,
    #[command(flatten)]
    ports: host::HostArguments,
    #[command(flatten)]
    authority: AuthorityArguments,
}

/// What is answered.
#[derive(Debug, Default, Serialize)]
struct Report {
    healthy: bool,
    findings: Vec<Finding>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    visits: Vec<Visit>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ports: Vec<host::PortSeen>,
    left_out: Vec<String>,
}

impl ScanCommand {
    /// Runs it.
    pub(crate) fn run(self, globals: &Globals) -> Result<Answer, Fault> {
        let mut report = match (&self.config, &self.host) {
            (Some(path), _) => self.of_configuration(&Loaded::from_file(path)?, globals)?,
            (None, Some(host)) => self.ports.look(host)?,
            (None, None) => return Err(Fault::bug("clap asks for one of the two")),
        };
        let faults = |finding: &Finding| finding.severity == Severity::Fault;
        report.healthy = !report.findings.iter().any(faults);
        if globals.json {
            globals.output().answer(&report, |_| String::new())?;
        } else {
            print(&report.text(Look::of(&globals.environment)))?;
        }
        Ok(Answer::from_bool(report.healthy))
    }

    fn of_configuration(&self, loaded: &Loaded, globals: &Globals) -> Result<Report, Fault> {
        let (doorways, mut left_out) = doorway::doorways(loaded);
        if doorways.is_empty() {
            return Err(Fault::configuration(
                "the configuration opens no listener that could be looked at",
            )
            .hint("scan looks at what [[gateway.listener]] opens"));
        }
        let canaries = if self.no_canaries {
            left_out.push("canaries: --no-canaries".to_owned());
            None
        } else {
            let asked = self.authority.asked(globals)?;
            Some(block_on(async {
                let backend = Backend::connect(&asked).await?;
                canaries(&backend.client).await
            })?)
        };
        let visits = block_on(async {
            let mut visits = Vec::new();
            for doorway in &doorways {
                visits.extend(visit(doorway, canaries.as_ref()).await);
            }
            Ok::<_, Fault>(visits)
        })?;
        let mut found = findings(&visits);
        found.extend(unreachable(&visits));
        found.extend(ways_round(loaded, &doorways, &mut left_out));
        Ok(Report {
            findings: found,
            visits,
            left_out,
            ..Report::default()
        })
    }
}

async fn canaries(client: &AdminClient) -> Result<Canaries, Fault> {
    tell("canaries are issued, one of them revoked, and one ends in a second…");
    Canaries::make(client)
        .await
        .map_err(|fault| fault.hint("canaries are for admins: `--no-canaries` looks without them"))
}

/// A listener of which nothing is known cannot be said to be shut.
fn unreachable(visits: &[Visit]) -> Vec<Finding> {
    let doors = silent(visits).into_iter();
    doors
        .map(|Door { name, address }| {
            let words =
                format!("{name} at {address} answered nobody, so that nothing is known of it");
            Finding::fault(Cause::ConnectionRefused, Side::Server, words).with("door", name)
        })
        .collect()
}

/// Services that are reached without their gateway.
fn ways_round(loaded: &Loaded, doorways: &[Doorway], left_out: &mut Vec<String>) -> Vec<Finding> {
    let Some(listening) = listening::addresses() else {
        left_out.push("who listens on this machine: the system does not tell".to_owned());
        return Vec::new();
    };
    let listeners = &loaded.configuration.gateway.listener;
    let is_own = |address: &SocketAddr| listeners.iter().any(|it| it.address == *address);
    let mut found: Vec<Finding> = Vec::new();
    for doorway in doorways {
        for upstream in &doorway.upstreams {
            if let Some(path) = upstream.strip_prefix("unix:") {
                if is_open_to_all(std::path::Path::new(path)) {
                    found.push(way_round(
                        &doorway.door,
                        upstream,
                        "a socket that every user of the machine may write to",
                    ));
                }
                continue;
            }
            let Some(address) = plaintext(upstream) else {
                continue;
            };
            let Ok(address) = address.parse::<SocketAddr>() else {
                left_out.push(format!(
                    "{upstream}: whether others reach it is for a scan of its host"
                ));
                continue;
            };
            if listening::is_exposed(address) {
                left_out.push(format!(
                    "{upstream}: whether others reach it is for a scan of its host"
                ));
                continue;
            }
            let exposed = listening.iter().filter(|at| {
                at.port() == address.port() && listening::is_exposed(**at) && !is_own(at)
            });
            for at in exposed {
                found.push(way_round(&doorway.door, upstream, &at.to_string()));
            }
        }
    }
    found.dedup();
    found
}

/// `host:port` of an upstream over plaintext.
fn plaintext(upstream: &str) -> Option<&str> {
    let rest = upstream
        .strip_prefix("http://")
        .or_else(|| upstream.strip_prefix("tcp://"))?;
    rest.split('/').next()
}

impl Report {
    fn text(&self, look: Look) -> String {
        let faults = self
            .findings
            .iter()
            .filter(|it| it.severity == Severity::Fault)
            .count();
        let unknown = undecided(&self.visits).len();
        let mut text = match faults {
            0 if unknown > 0 => format!(
                "nobody was seen to come in who must be refused; of {unknown} it cannot be told\n"
            ),
            0 => "nobody came in who must be refused\n".to_owned(),
            1 => "1 way round was found\n".to_owned(),
            more => format!("{more} ways round were found\n"),
        };
        for finding in &self.findings {
            text.push('\n');
            text.push_str(&told(finding, SHOWN_FACTS, look));
        }
        if !self.visits.is_empty() {
            let rows: Vec<Vec<String>> = self
                .visits
                .iter()
                .map(|visit| {
                    let (what, how) = match &visit.reception {
                        Reception::Admitted(how) => ("LET IN", how),
                        Reception::Refused(how) => ("refused", how),
                        Reception::RefusedBehind(how) => ("behind TLS", how),
                        Reception::Unclear(how) => ("unclear", how),
                    };
                    vec![
                        visit.door.name.clone(),
                        visit.visitor.who().to_owned(),
                        what.to_owned(),
                        how.clone(),
                    ]
                })
                .collect();
            text.push('\n');
            text.push_str(&columns(&["door", "visitor", "result", "how"], &rows, look));
        }
        if !self.ports.is_empty() {
            let rows: Vec<Vec<String>> = self.ports.iter().map(host::PortSeen::row).collect();
            text.push('\n');
            text.push_str(&columns(&host::PortSeen::HEADER, &rows, look));
        }
        for left in &self.left_out {
            text.push_str(&look.hung("not looked at: ", left));
            text.push('\n');
        }
        text
    }
}

/// A table whose last column is wrapped, where the others leave room for it.
fn columns(header: &[&str], rows: &[Vec<String>], look: Look) -> String {
    let text = table(header, rows) + "\n";
    let last = header.last().copied().unwrap_or_default();
    let first_line = text.lines().next().unwrap_or_default();
    let hang = first_line.len().saturating_sub(last.len());
    look.rows(&text, hang)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plaintext_upstreams_have_an_address() {
        assert_eq!(plaintext("http://127.0.0.1:3000"), Some("127.0.0.1:3000"));
        assert_eq!(plaintext("tcp://[::1]:5432"), Some("[::1]:5432"));
        for other in ["https://127.0.0.1:3000", "tls://a:1", "unix:/run/a", "demo"] {
            assert_eq!(plaintext(other), None, "{other}");
        }
    }
}
