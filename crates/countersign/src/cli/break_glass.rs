//! `countersign break-glass`: a listener that is shut, opened for a while and for a reason.
//!
//! All of it but `approve` is said to the gateway on its own machine; `approve` needs no network, only the operator's folder.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use countersign_authority::client::{AdminClient, ClientError};
use countersign_authority::signing_key::SigningKey;
use countersign_pki::time::{UnixTime, spoken};
use countersign_policy::break_glass::{Approval, MAX_PAPER_BYTES, Statement};
use countersign_runtime::atomic_file::write_atomic;
use countersign_runtime::clock::{Clock, SystemClock};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::backend::{block_on, folder};
use crate::certificate_file::certificates_in;
use crate::cli::arguments::{Globals, StateArgument, duration};
use crate::fault::{Answer, Fault};
use crate::identity_files::{CERTIFICATE, KEY};
use crate::output::{escaped, print, tell};
use crate::password::PasswordSource;
use crate::private_key::PrivateKey;

/// Open a listener that is kept for emergencies, for a while and for a reason
#[derive(Debug, Args)]
pub(crate) struct BreakGlassCommand {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Let a listener admit, until its end or until it is disarmed
    Arm(ArmCommand),
    /// Approve of a request, on your own machine and with your own key
    Approve(ApproveCommand),
    /// Shut a listener at once, and cut its connections
    Disarm(DisarmCommand),
    /// Ask for approvals: what comes out is handed to those who approve
    Request(RequestCommand),
    /// Show which listeners are armed, why and until when
    Status(StatusCommand),
}

#[derive(Debug, Args)]
struct ArmCommand {
    /// The listener
    listener: String,
    /// For how long, where no approvals are needed
    #[arg(long = "for", value_name = "DURATION", value_parser = duration, requires = "because", required_unless_present = "approvals", conflicts_with = "approvals")]
    duration: Option<Duration>,
    /// Why, where no approvals are needed
    #[arg(
        long,
        value_name = "TEXT",
        requires = "duration",
        conflicts_with = "approvals"
    )]
    because: Option<String>,
    /// What an operator wrote with `break-glass approve`; once for each
    #[arg(long = "approval", value_name = "FILE")]
    approvals: Vec<PathBuf>,
    #[command(flatten)]
    state: StateArgument,
}

#[derive(Debug, Args)]
struct ApproveCommand {
    /// What `break-glass request` wrote
    #[arg(value_name = "REQUEST")]
    request: PathBuf,
    /// Your folder, as `issue operator` wrote it
    #[arg(long = "as", value_name = "DIR")]
    operator: PathBuf,
    /// Where the approval goes [default: standard output]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct DisarmCommand {
    /// The listener
    listener: String,
    /// Why
    #[arg(long, value_name = "TEXT")]
    because: Option<String>,
    #[command(flatten)]
    state: StateArgument,
}

#[derive(Debug, Args)]
struct RequestCommand {
    /// The listener
    listener: String,
    /// For how long, counted from now
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    duration: Duration,
    /// Why
    #[arg(long, value_name = "TEXT")]
    because: String,
    /// Where the request goes [default: standard output]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    state: StateArgument,
}

#[derive(Debug, Args)]
struct StatusCommand {
    #[command(flatten)]
    state: StateArgument,
}

/// How a listener stands, of what `GET /v1/break-glass` says.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct BreakGlassView {
    listener: String,
    armed: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    by: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    approvers: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    since_unix_s: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_unix_s: Option<u64>,
    max_duration_s: u64,
    approvals_needed: usize,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    may_approve: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Requested {
    request: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Disarmed {
    was_armed: bool,
    connections_cut: u64,
}

impl BreakGlassCommand {
    /// Runs it.
    pub(crate) fn run(self, globals: &Globals) -> Result<Answer, Fault> {
        match self.command {
            Command::Arm(command) => command.run(globals),
            Command::Approve(command) => command.run(),
            Command::Disarm(command) => command.run(globals),
            Command::Request(command) => command.run(globals),
            Command::Status(command) => command.run(globals),
        }
    }
}

impl ArmCommand {
    fn run(self, globals: &Globals) -> Result<Answer, Fault> {
        let approvals: Vec<String> = self
            .approvals
            .iter()
            .map(|path| read_paper(path))
            .collect::<Result<_, _>>()?;
        let body = json!({
            "reason": self.because,
            "for_s": self.duration.map(|it| it.as_secs()),
            "approvals": approvals,
        });
        let armed: BreakGlassView = ask(globals, &self.state, &self.listener, "arm", &body)?;
        globals.output().answer(&armed, BreakGlassView::text)?;
        Ok(Answer::Yes)
    }
}

impl DisarmCommand {
    fn run(self, globals: &Globals) -> Result<Answer, Fault> {
        let body = json!({ "reason": self.because });
        let done: Disarmed = ask(globals, &self.state, &self.listener, "disarm", &body)?;
        globals.output().answer(&done, |done| {
            if done.was_armed {
                format!(
                    "{} is shut, {} of its connections cut",
                    self.listener, done.connections_cut
                )
            } else {
                format!("{} was not armed", self.listener)
            }
        })?;
        Ok(Answer::Yes)
    }
}

impl RequestCommand {
    fn run(self, globals: &Globals) -> Result<Answer, Fault> {
        let body = json!({ "reason": self.because, "for_s": self.duration.as_secs() });
        let made: Requested = ask(globals, &self.state, &self.listener, "request", &body)?;
        hand_out(self.out.as_deref(), &made.request)?;
        Ok(Answer::Yes)
    }
}

impl ApproveCommand {
    fn run(self) -> Result<Answer, Fault> {
        let text = read_paper(&self.request)?;
        let statement = Statement::parse(text.as_bytes()).map_err(|invalid| {
            Fault::configuration(invalid).about(&self.request).hint(
                "a request is what `countersign break-glass request` writes on the gateway's machine",
            )
        })?;
        let now = UnixTime::from_seconds(SystemClock.unix_seconds());
        if statement.expires() <= now {
            return Err(Fault::denied(format_args!(
                "what is asked for ended {} ago (expires {}, now {now})",
                spoken(now.since(statement.expires())),
                statement.expires()
            ))
            .hint("have it asked for anew"));
        }
        let chain = certificates_in(&self.operator.join(CERTIFICATE))
            .map_err(|fault| fault.or_hint(FOLDER_HINT))?;
        let path = self.operator.join(KEY);
        let key = PrivateKey::read(&path, &PasswordSource::of(None))?;
        let is_own = chain
            .first()
            .is_some_and(|leaf| leaf.spki_der() == key.spki_der());
        if !is_own {
            return Err(Fault::configuration("the key is not the certificate's")
                .about(&path)
                .hint(FOLDER_HINT));
        }
        let key = SigningKey::read(key.pkcs8()).ok_or_else(|| {
            Fault::configuration("no approval can be signed by a key of this kind")
                .about(&path)
                .hint("P-256, P-384, Ed25519, ML-DSA and RSA up to 4096 bits can")
        })?;
        // Before the signature: what a file says may not be what its sender said.
        tell(&format!(
            "approves: gateway {}, listener {}, until {} ({} from now)\nbecause: {}",
            statement.gateway(),
            statement.listener(),
            statement.expires(),
            spoken(statement.expires().since(now)),
            escaped(statement.reason().as_str())
        ));
        let signature = key.sign(&statement.to_be_signed()).map_err(Fault::bug)?;
        let chain = chain.iter().map(|it| it.der().to_vec()).collect();
        let approval = Approval::new(statement, chain, signature).map_err(Fault::configuration)?;
        hand_out(self.out.as_deref(), &approval.to_json())?;
        Ok(Answer::Yes)
    }
}

impl StatusCommand {
    fn run(self, globals: &Globals) -> Result<Answer, Fault> {
        let client = socket(globals, &self.state)?;
        let glasses: Vec<BreakGlassView> =
            block_on(async { client.get(BREAK_GLASS).await.map_err(not_served) })?;
        globals.output().answer(&glasses, |glasses| {
            if glasses.is_empty() {
                return "no listener is for break-glass".to_owned();
            }
            glasses.iter().map(BreakGlassView::text).collect()
        })?;
        Ok(Answer::Yes)
    }
}

impl BreakGlassView {
    fn text(&self) -> String {
        let mut text = String::new();
        let mut line = |label: &str, value: &str| {
            writeln!(text, "{label:<12} {}", escaped(value)).expect("a String takes everything");
        };
        line("listener", &self.listener);
        match self.sentence() {
            Some(sentence) => line("armed", &sentence),
            None => line("armed", "no: nobody is admitted"),
        }
        if let Some(by) = &self.by {
            line("by", by);
        }
        if !self.approvers.is_empty() {
            line("approved by", &self.approvers.join(", "));
        }
        if self.approvals_needed > 0 {
            let who = self.may_approve.join(", ");
            line(
                "needs",
                &format!("{} approvals of {who}", self.approvals_needed),
            );
        }
        text
    }

    /// `until 2026-01-02T03:04:05Z, because …`; `None`: it is shut.
    pub(crate) fn sentence(&self) -> Option<String> {
        let (Some(expires), Some(reason)) = (self.expires_unix_s, &self.reason) else {
            return None;
        };
        let expires = UnixTime::from_seconds(expires);
        self.armed
            .then(|| format!("until {expires}, because: {reason}"))
    }
}

fn socket(globals: &Globals, state: &StateArgument) -> Result<AdminClient, Fault> {
    let state = folder(&state.folder(globals)?)?;
    Ok(AdminClient::socket(&state.socket()))
}

fn ask<T: for<'a> Deserialize<'a>>(
    globals: &Globals,
    state: &StateArgument,
    listener: &str,
    what: &str,
    body: &serde_json::Value,
) -> Result<T, Fault> {
    // It becomes part of a path; no listener has such a name.
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if listener.is_empty() || !listener.chars().all(is_name) {
        return Err(
            Fault::configuration(format_args!("{listener:?} cannot name a listener"))
                .hint("`countersign break-glass status` shows those that there are"),
        );
    }
    let client = socket(globals, state)?;
    let path = format!("{BREAK_GLASS}/{listener}/{what}");
    block_on(async { client.post(&path, body).await.map_err(not_served) })
}

fn not_served(error: ClientError) -> Fault {
    let is_unserved = matches!(error, ClientError::NotRunning { .. });
    let fault = Fault::from(error);
    if is_unserved {
        fault.hint("the gateway has to run, on this machine: `countersign run -c FILE --state DIR`")
    } else {
        fault
    }
}

fn read_paper(path: &Path) -> Result<String, Fault> {
    let mut text = String::new();
    let limit = MAX_PAPER_BYTES as u64 + 1;
    let read = File::open(path).and_then(|file| file.take(limit).read_to_string(&mut text));
    read.map_err(|error| {
        Fault::configuration(error)
            .about(path)
            .hint("name the file as it was handed over")
    })?;
    Ok(text)
}

fn hand_out(out: Option<&Path>, text: &str) -> Result<(), Fault> {
    let Some(path) = out else {
        return print(text);
    };
    if fs::symlink_metadata(path).is_ok() {
        return Err(Fault::denied("it is there already")
            .about(path)
            .hint("choose another name"));
    }
    write_atomic(path, text.as_bytes(), 0o644).map_err(|error| Fault::world(error).about(path))
}

/// `GET`: how the listeners stand.
const BREAK_GLASS: &str = "/v1/break-glass";
const FOLDER_HINT: &str =
    "`--as DIR` names your own folder: `countersign issue operator NAME --out DIR` makes one";
