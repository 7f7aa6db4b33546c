//! `countersign status`: what runs, what ends when, which risks stand.
//!
//! The answer is no (1) when nothing serves, when certificates cannot be issued, or when something has ended. Risks alone
//! do not change it: they may be chosen.

mod ends;
mod files;
mod token_issuers;

use std::fmt::Write as _;
use std::time::Duration;

use clap::Args;
use countersign_authority::api::{self, IssuingState, RetentionView, Risk, StatusResponse};
use countersign_authority::client::{AdminClient, ClientError};
use countersign_authority::state::StateFolder;
use countersign_pki::time::{UnixTime, spoken};
use countersign_runtime::clock::{Clock, SystemClock};
use countersign_runtime::config::amount::TimeSpan;
use serde::{Deserialize, Serialize};

use self::ends::{End, ends};
use self::token_issuers::TokenIssuerView;
use crate::backend::{Backend, block_on, folder, no_authority};
use crate::cli::arguments::{Asked, AuthorityArguments, Globals};
use crate::cli::break_glass::BreakGlassView;
use crate::cli::certificate_view::{AuthorityStatus, Listed};
use crate::fault::{Answer, Fault};
use crate::output::escaped;
use crate::serve::process::{PROCESS, ProcessView};
use crate::serve::trust_lists::{BundleView, ListView, ResponderView};

/// Show what runs, what ends when, and which risks stand; exit 1 when nothing serves or something has ended
#[derive(Debug, Args)]
pub(crate) struct StatusCommand {
    #[command(flatten)]
    authority: AuthorityArguments,
}

/// Everything that `status` says.
#[derive(Debug, Serialize)]
struct Status {
    healthy: bool,
    /// The folder; of an authority elsewhere, its address.
    state: String,
    process: Option<ProcessView>,
    gateway: Option<GatewayView>,
    authority: Option<AuthorityStatus>,
    ends: Vec<End>,
    soonest: Option<Listed>,
    risks: Vec<Risk>,
    #[serde(skip)]
    is_elsewhere: bool,
}

/// The part of `GET /v1/gateway` that is shown.
#[derive(Debug, Serialize, Deserialize)]
struct GatewayView {
    live_connections: usize,
    listeners: Vec<ListenerView>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    egress: Vec<EgressView>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    upstreams: Vec<UpstreamView>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    upstream_certificates: Vec<UpstreamCertificateView>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    token_issuers: Vec<TokenIssuerView>,
}

/// What an upstream is shown.
#[derive(Debug, Serialize, Deserialize)]
struct UpstreamCertificateView {
    listener: String,
    upstream: String,
    not_after_unix_s: u64,
}

/// One of its listeners.
#[derive(Debug, Serialize, Deserialize)]
struct ListenerView {
    name: String,
    address: String,
    client_certificate: String,
    trust: Vec<String>,
    routes: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shadow: Option<ShadowView>,
    certificate_not_after_unix_s: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    break_glass: Option<BreakGlassView>,
}

/// One of its ways out.
#[derive(Debug, Serialize, Deserialize)]
struct EgressView {
    name: String,
    address: String,
    upstream: String,
    connections: u64,
}

/// An upstream that the gateway looks at.
#[derive(Debug, Serialize, Deserialize)]
struct UpstreamView {
    upstream: String,
    check: String,
    state: String,
    since_unix_s: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fault: Option<String>,
}

impl UpstreamView {
    fn text(&self) -> String {
        let since = match self.since_unix_s {
            0 => String::new(),
            since => format!(" since {}", UnixTime::from_seconds(since)),
        };
        let fault = self.fault.as_ref();
        let fault = fault.map_or_else(String::new, |it| format!(": {}", escaped(it)));
        format!(
            "{} ({}) {}{since}{fault}",
            escaped(&self.upstream),
            escaped(&self.check),
            self.state
        )
    }
}

/// What the listener's shadow rules said since the start.
#[derive(Debug, Serialize, Deserialize)]
struct ShadowView {
    same: u64,
    would_admit: u64,
    would_refuse: u64,
}

impl StatusCommand {
    /// Runs it.
    pub(crate) fn run(self, globals: &Globals) -> Result<Answer, Fault> {
        let asked = self.authority.asked(globals)?;
        let now = UnixTime::from_seconds(SystemClock.unix_seconds());
        let status = block_on(async {
            let state = match &asked {
                Asked::Elsewhere(operator) => {
                    let url = operator.url().to_string();
                    let seen = Seen::elsewhere(&Backend::connect(&asked).await?).await?;
                    return Ok(seen.judge(None, url, now));
                }
                Asked::Here { state, .. } => folder(state)?,
            };
            let seen = if state.is_initialised() {
                Seen::with_authority(&Backend::connect(&asked).await?).await?
            } else {
                Seen::without_authority(&state).await?
            };
            let shown = state.path().display().to_string();
            Ok(seen.judge(Some(&state), shown, now))
        })?;
        globals
            .output()
            .answer(&status, |status| text(status, now))?;
        Ok(Answer::from_bool(status.healthy))
    }
}

/// What was found.
struct Seen {
    process: Option<ProcessView>,
    gateway: Option<GatewayView>,
    authority: Option<StatusResponse>,
    soonest: Option<Listed>,
}

impl Seen {
    /// What a process says of itself and its gateway it says on its own machine.
    async fn elsewhere(backend: &Backend) -> Result<Self, Fault> {
        Ok(Self {
            process: None,
            gateway: None,
            authority: Some(backend.client.get(api::STATUS).await?),
            soonest: ends::soonest(backend).await?,
        })
    }

    async fn with_authority(backend: &Backend) -> Result<Self, Fault> {
        let (process, gateway) = if backend.is_served {
            (
                Some(backend.client.get(PROCESS).await?),
                Some(backend.client.get(GATEWAY).await?),
            )
        } else {
            (None, None)
        };
        let authority = Some(backend.client.get(api::STATUS).await?);
        Ok(Self {
            process,
            gateway,
            authority,
            soonest: ends::soonest(backend).await?,
        })
    }

    /// `run` with a configuration that needs none.
    async fn without_authority(state: &StateFolder) -> Result<Self, Fault> {
        let client = AdminClient::socket(&state.socket());
        let process = match client.get(PROCESS).await {
            Err(ClientError::NotRunning { .. }) => return Err(no_authority(state.path())),
            process => Some(process?),
        };
        Ok(Self {
            process,
            gateway: Some(client.get(GATEWAY).await?),
            authority: None,
            soonest: None,
        })
    }

    /// `state`: the folder, unless the authority is elsewhere: somebody serves that, or there would be no answer.
    fn judge(self, state: Option<&StateFolder>, shown: String, now: UnixTime) -> Status {
        let Self {
            process,
            gateway,
            authority,
            soonest,
        } = self;
        let ends = ends(authority.as_ref(), gateway.as_ref(), state);
        let mut risks: Vec<Risk> = authority
            .iter()
            .flat_map(|authority| authority.risks.clone())
            .collect();
        risks.extend(process.iter().flat_map(|process| process.risks.clone()));
        risks.extend(state.map(files::risks).into_iter().flatten());
        risks.extend(armed(gateway.as_ref()));
        risks.extend(ends.iter().filter_map(|end| end.risk(now)));
        let is_served = process.is_some() || state.is_none();
        if !is_served {
            risks.push(not_running());
        }
        let can_issue = authority
            .as_ref()
            .is_none_or(|it| !matches!(it.issuing, IssuingState::Failed | IssuingState::Paused));
        let healthy = is_served && can_issue && !ends.iter().any(|end| end.is_over(now));
        Status {
            healthy,
            state: shown,
            process,
            gateway,
            authority: authority.map(AuthorityStatus::from),
            ends,
            soonest,
            risks,
            is_elsewhere: state.is_none(),
        }
    }
}

fn armed(gateway: Option<&GatewayView>) -> impl Iterator<Item = Risk> {
    let listeners = gateway.into_iter().flat_map(|it| &it.listeners);
    listeners.filter_map(|listener| {
        let sentence = escaped(&listener.break_glass.as_ref()?.sentence()?);
        Some(Risk {
            sentence: format!("break-glass listener {} is armed {sentence}", listener.name),
            hint: format!(
                "`countersign break-glass disarm {}` as soon as it is needed no more",
                listener.name
            ),
        })
    })
}

fn not_running() -> Risk {
    Risk {
        sentence: "no process serves this state: nobody gets through, and nothing is renewed"
            .to_owned(),
        hint: "`countersign up`, or `countersign run -c FILE`".to_owned(),
    }
}

fn text(status: &Status, now: UnixTime) -> String {
    let mut text = String::new();
    let mut line = |label: &str, value: &dyn std::fmt::Display| put(&mut text, label, value);
    match &status.process {
        Some(process) => line(
            "process",
            &format_args!("{} (version {})", process.pid, process.version),
        ),
        None if status.is_elsewhere => {}
        None => line("process", &"none"),
    }
    for listener in status.gateway.iter().flat_map(|gateway| &gateway.listeners) {
        for (place, value) in listener.text().iter().enumerate() {
            line(if place == 0 { "listener" } else { "" }, value);
        }
    }
    for egress in status.gateway.iter().flat_map(|gateway| &gateway.egress) {
        let EgressView {
            name,
            address,
            upstream,
            ..
        } = egress;
        let upstream = escaped(upstream);
        line(
            "egress",
            &format_args!("{name} {address}, leads to {upstream}"),
        );
    }
    for upstream in status.gateway.iter().flat_map(|gateway| &gateway.upstreams) {
        line("upstream", &upstream.text());
    }
    for issuer in status.gateway.iter().flat_map(|it| &it.token_issuers) {
        line("token issuer", &issuer.text());
    }
    for bundle in status.process.iter().flat_map(|process| &process.bundles) {
        line("trust", &trust(bundle, now));
        for list in &bundle.lists {
            line("", &revocation_list(list));
        }
        if let Some(asked) = &bundle.ocsp {
            line("", &responder(asked));
        }
    }
    if let Some(gateway) = &status.gateway {
        line("connections", &gateway.live_connections);
    }
    if let Some(process) = &status.process {
        line(
            "metrics",
            &format_args!("http://{}/metrics", process.metrics),
        );
    }
    let place = if status.is_elsewhere {
        "authority"
    } else {
        "state"
    };
    line(place, &status.state);
    if let Some(authority) = &status.authority {
        line("trust domain", &authority.trust_domain);
        line("issuing", &issuing(authority));
        line("certificates", &authority.certificates.text());
        if let Some(url) = &authority.publication_url {
            line("publishes at", url);
        }
        if let Some(retention) = &authority.retention {
            line("keeps", &kept(retention));
        }
        if let (Some(url), false) = (&authority.admin_url, status.is_elsewhere) {
            line("operators at", url);
        }
        if !authority.nodes.is_empty() {
            line("nodes", &authority.nodes.join(", "));
        }
    }
    for (place, end) in status.ends.iter().enumerate() {
        line(if place == 0 { "ends" } else { "" }, &end.text(now));
    }
    if let Some(soonest) = &status.soonest {
        let left = spoken(soonest.not_after.since(now));
        line(
            "next to end",
            &format_args!(
                "{} (serial {}) at {}, in {left}",
                soonest.name, soonest.serial, soonest.not_after
            ),
        );
    }
    for risk in &status.risks {
        line("risk", &risk.sentence);
        line("  hint", &risk.hint);
    }
    line("healthy", &if status.healthy { "yes" } else { "no" });
    text
}

impl ListenerView {
    /// Where it listens and whom it trusts; then its routes, and what is special about it.
    fn text(&self) -> Vec<String> {
        let mut lines = vec![format!(
            "{} {}, client certificates: {}, trusts {}",
            self.name,
            self.address,
            self.client_certificate,
            self.trust.join(", ")
        )];
        lines.extend(self.routes.iter().cloned());
        lines.extend(self.shadow.as_ref().map(|shadow| {
            format!(
                "shadow rules: {} decided alike, {} would be refused, {} would be admitted",
                shadow.same, shadow.would_refuse, shadow.would_admit
            )
        }));
        lines.extend(self.break_glass.as_ref().map(|glass| {
            let armed = (glass.sentence()).map(|it| format!("ARMED {}", escaped(&it)));
            let how = armed.unwrap_or_else(|| "not armed".to_owned());
            format!("break-glass: {how}")
        }));
        lines
    }
}

fn put(text: &mut String, label: &str, value: &dyn std::fmt::Display) {
    writeln!(text, "{label:<12} {value}").expect("a String takes everything");
}

/// A bundle: who vouches until when, who runs it, how revocation is judged.
fn trust(bundle: &BundleView, now: UnixTime) -> String {
    let mut text = format!(
        "{}: {} until {}",
        bundle.name,
        counted(bundle.anchors, "anchor"),
        bundle.anchor_not_after
    );
    if now > bundle.anchor_not_after {
        text.push_str(" (over)");
    }
    if let Some(domain) = &bundle.trust_domain {
        let _ = write!(text, ", trust domain {domain}");
    }
    if let Some(contact) = &bundle.contact {
        let _ = write!(text, ", contact {contact}");
    }
    if let Some(mode) = &bundle.revocation {
        let _ = write!(text, ", revocation {mode}");
    }
    if bundle.not_checked > 0 {
        let _ = write!(text, ", {} admitted unchecked", bundle.not_checked);
    }
    text
}

/// What a responder has said.
fn responder(responder: &ResponderView) -> String {
    let mut text = format!(
        "responder {}: {} good, {} revoked, {} unknown, {} failed",
        responder.url, responder.good, responder.revoked, responder.unknown, responder.failures
    );
    if let Some(last) = &responder.last_answer {
        let _ = write!(text, ", last answer {last}");
    }
    if let Some(failure) = &responder.failure {
        let _ = write!(text, "; last question: {failure}");
    }
    text
}

/// A list, or the source that has given none.
fn revocation_list(list: &ListView) -> String {
    let mut text = match (&list.issuer, list.number, list.revoked, list.age_s) {
        (Some(issuer), Some(number), Some(revoked), Some(age_s)) => format!(
            "list {number} of {issuer}, {revoked} revoked, {} old, until {} ({})",
            spoken(Duration::from_secs(age_s)),
            list.next_update.as_deref().unwrap_or_default(),
            list.source
        ),
        _ => format!("no list from {}", list.source),
    };
    if let Some(failure) = &list.failure {
        let _ = write!(text, "; last look: {failure}");
    }
    text
}

fn counted(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

/// How long what has expired stays, and what left last.
fn kept(retention: &RetentionView) -> String {
    let span = TimeSpan::from_seconds(retention.expired_s);
    let then = match &retention.archive {
        Some(folder) => format!("then archived in {folder}"),
        None => "then dropped".to_owned(),
    };
    let last = retention.last.as_ref().map(|last| {
        let left = last.dropped.certificates + last.dropped.imported + last.dropped.intents;
        format!("; {left} left at {}", last.at)
    });
    format!(
        "what has expired for {span}, {then}{}",
        last.unwrap_or_default()
    )
}

fn issuing(authority: &AuthorityStatus) -> String {
    match (authority.issuing, &authority.issuing_fault) {
        (IssuingState::Ready, _) => "ready".to_owned(),
        (IssuingState::Unsealing, _) => "the CA key is being unsealed".to_owned(),
        (IssuingState::Paused, _) => "paused: see below".to_owned(),
        (IssuingState::Failed, Some(fault)) => format!("failed: {fault}"),
        (IssuingState::Failed, None) => "failed".to_owned(),
    }
}

/// `GET`: the gateway's status.
const GATEWAY: &str = "/v1/gateway";
