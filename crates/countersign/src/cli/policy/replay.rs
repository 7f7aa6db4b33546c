//! `countersign policy replay`: what another configuration would have decided of what was asked here.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use countersign_authority::state::StateFolder;
use countersign_pki::identity::BundleName;
use countersign_pki::spiffe::TrustDomain;
use countersign_pki::time::UnixTime;
use countersign_proxy::decisions::{
    Client, RecordedPath, RecordedVerdict, Replayed, StoredDecision, What,
};
use countersign_proxy::explain::{Explained, ListenerPolicy};
use countersign_proxy::plan::GatewayPlan;
use countersign_runtime::clock::{Clock, SystemClock};
use serde::Serialize;

use super::kept::{Recent, SHOWN, and_more, times};
use super::supposed;
use crate::bundles_in_force::BundlesInForce;
use crate::cli::arguments::{Globals, StateArgument, duration};
use crate::composition;
use crate::configuration::{Configuration, Loaded};
use crate::fault::{Answer, Fault};
use crate::output::escaped;

#[derive(Debug, Args)]
pub(super) struct ReplayArguments {
    /// The configuration that might take over
    file: PathBuf,
    #[command(flatten)]
    state: StateArgument,
    /// How far back to look
    #[arg(long, value_name = "DURATION", default_value = "14d", value_parser = duration)]
    since: Duration,
    /// The root of the authority [default: that of the state folder]
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// The trust domain of that authority
    #[arg(long, value_name = "NAME")]
    trust_domain: Option<TrustDomain>,
    /// Exit code 1 if somebody who was admitted would be refused, or if that cannot be said of all and of the whole time
    #[arg(long)]
    check: bool,
}

/// What is answered.
#[derive(Debug, Default, Serialize)]
struct Replay {
    observed_s: u64,
    since_s: u64,
    /// Kinds of decisions, and how many decisions those were.
    judged: u64,
    decisions: u64,
    unchanged: u64,
    /// They were admitted.
    refused: Vec<Change>,
    /// They were refused.
    admitted: Vec<Change>,
    unknown: Vec<UnknownView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    incomplete: Option<String>,
    #[serde(skip)]
    span: String,
}

#[derive(Debug, Serialize)]
struct Change {
    listener: String,
    who: String,
    source: String,
    what: String,
    count: u64,
    last: String,
    was: String,
    was_route: Option<String>,
    is: String,
    route: Option<String>,
    rule: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

#[derive(Debug, Serialize)]
struct UnknownView {
    why: String,
    kinds: u64,
    decisions: u64,
    example: String,
}

impl ReplayArguments {
    pub(super) fn run(self, globals: &Globals) -> Result<Answer, Fault> {
        let now = UnixTime::from_seconds(SystemClock.unix_seconds());
        let state = self.state.folder(globals)?;
        let recent = Recent::read(&state, self.since, now)?;
        let folder = StateFolder::existing(&state)?;
        let ca = (self.ca.clone()).or_else(|| Some(folder.ca_pem()).filter(|path| path.exists()));
        let domain = (self.trust_domain.clone()).or_else(|| folder.trust_domain().ok());
        let loaded = Loaded::from_file(&self.file)?;
        if ca.is_none() {
            refuse_strangers(&loaded.configuration, &recent)?;
        }
        let own = supposed(ca.as_deref(), domain.as_ref(), now)?;
        let plan = composition::plan(&loaded, Some(&own), &BundlesInForce::default(), now)?;
        let replay = Replay::of(&recent, &plan);
        globals.output().answer(&replay, Replay::text)?;
        let is_all = replay.incomplete.is_none() && recent.is_watched(replay.observed_s);
        // Of nothing nothing can be said.
        let is_good = replay.judged > 0 && replay.refused.is_empty() && replay.unknown.is_empty();
        Ok(Answer::from_bool(!self.check || is_all && is_good))
    }
}

/// Of an authority that nobody names everybody would seem to be a stranger.
fn refuse_strangers(configuration: &Configuration, recent: &Recent) -> Result<(), Fault> {
    let is_internal = |name: &BundleName| name.as_str() == BundleName::INTERNAL;
    let mut certificates = recent.kept.certificates.values();
    let has_anchors =
        (configuration.trust.get(BundleName::INTERNAL)).is_some_and(|trust| trust.bundle.is_some());
    if !has_anchors && certificates.any(|it| is_internal(&it.identity.bundle)) {
        return Err(Fault::configuration(
            "identities of the bundle internal were seen, and nothing here says who vouches for them",
        )
        .hint("name the root of the authority with --ca FILE, and its trust domain with --trust-domain NAME"));
    }
    Ok(())
}

impl Replay {
    fn of(recent: &Recent, plan: &GatewayPlan) -> Self {
        let listeners: HashMap<&str, ListenerPolicy<'_>> =
            plan.policies().map(|it| (it.name(), it)).collect();
        let observed = recent.observed();
        let mut replay = Self {
            observed_s: observed.as_secs(),
            since_s: recent.since.as_secs(),
            span: recent.span(observed),
            incomplete: recent.losses(),
            ..Self::default()
        };
        let mut unknown = BTreeMap::new();
        let decisions = recent.kept.decisions.iter();
        for decision in decisions.filter(|it| recent.is_recent(&it.tally)) {
            replay.judged += 1;
            replay.decisions = (replay.decisions).saturating_add(decision.tally.count);
            let listener = listeners.get(decision.key.listener.as_str());
            match listener.map(|it| it.replay(decision, &recent.kept.certificates)) {
                Some(Replayed::Decided(explained)) => {
                    replay.note(recent, decision, Some(&explained));
                }
                Some(Replayed::Unknown(why)) => {
                    let example = || what(&decision.key.what);
                    note_unknown(&mut unknown, why.to_string(), decision.tally.count, example);
                }
                None => replay.note(recent, decision, None),
            }
        }
        for client in recent
            .kept
            .clients
            .iter()
            .filter(|it| recent.is_recent(&it.tally))
        {
            if let Client::Refused(cause) = &client.key.client {
                let why =
                    format!("refused in the handshake ({cause}): their certificates are not kept");
                note_unknown(&mut unknown, why, client.tally.count, || {
                    format!("from {}", client.tally.source)
                });
            }
        }
        replay.unknown = unknown.into_values().collect();
        for changes in [&mut replay.refused, &mut replay.admitted] {
            changes.sort_by(|one, other| (other.count, &one.what).cmp(&(one.count, &other.what)));
        }
        replay
    }

    /// `None`: there is no such listener.
    fn note(&mut self, recent: &Recent, decision: &StoredDecision, explained: Option<&Explained>) {
        let was_admitted = decision.key.verdict == RecordedVerdict::Admitted;
        let is_admitted = explained.is_some_and(|it| it.refusal.is_none());
        let changes = match (was_admitted, is_admitted) {
            (true, false) => &mut self.refused,
            (false, true) => &mut self.admitted,
            (true, true) | (false, false) => return self.unchanged += 1,
        };
        changes.push(Change::new(recent, decision, explained));
    }

    fn text(&self) -> String {
        let mut text = format!(
            "{}: {} decisions of {}\n{} would be decided alike\n",
            self.span,
            self.decisions,
            kinds(self.judged),
            kinds(self.unchanged)
        );
        for (changes, head) in [
            (&self.refused, "admitted, and would be refused"),
            (&self.admitted, "refused, and would be admitted"),
        ] {
            writeln!(text, "{} {head}", kinds(changes.len() as u64))
                .expect("a String takes everything");
            for change in changes.iter().take(SHOWN) {
                text.push_str(&change.text());
            }
            and_more(&mut text, SHOWN, changes.len());
        }
        for UnknownView {
            why,
            kinds: count,
            decisions,
            example,
        } in &self.unknown
        {
            let line = format!(
                "{} cannot be judged ({}), such as {example}: {why}",
                kinds(*count),
                times(*decisions)
            );
            text.push_str(&escaped(&line));
            text.push('\n');
        }
        if let Some(incomplete) = &self.incomplete {
            text.push_str(incomplete);
            text.push('\n');
        }
        text
    }
}

impl Change {
    fn new(recent: &Recent, decision: &StoredDecision, explained: Option<&Explained>) -> Self {
        let StoredDecision { key, tally } = decision;
        let identity = recent.identity(tally);
        let refusal = explained.and_then(|it| it.refusal.as_ref());
        Self {
            listener: key.listener.clone(),
            who: identity.map_or_else(|| "anonymous".to_owned(), ToString::to_string),
            source: tally.source.to_string(),
            what: what(&key.what),
            count: tally.count,
            last: UnixTime::from_seconds(tally.last_unix_s).to_string(),
            was: match &key.verdict {
                RecordedVerdict::Admitted => "admitted".to_owned(),
                RecordedVerdict::Refused(cause) => cause.clone(),
            },
            was_route: key.route.clone(),
            is: match (explained, refusal) {
                (None, _) => "no such listener".to_owned(),
                (_, Some(refusal)) => refusal.cause.slug().to_owned(),
                (_, None) => "admitted".to_owned(),
            },
            route: explained.and_then(|it| it.route.clone()),
            rule: (explained.and_then(|it| it.rule.as_ref()))
                .map(|rule| format!("{} {}: {}", rule.list, rule.entry + 1, rule.says)),
            why: refusal.map(|refusal| refusal.sentence().to_owned()),
        }
    }

    fn text(&self) -> String {
        let by = (self.rule.as_deref().or(self.why.as_deref())).unwrap_or(&self.is);
        let Self {
            listener,
            who,
            source,
            what,
            count,
            last,
            is,
            ..
        } = self;
        let line = format!(
            "  {who} from {source}: {what} on {listener}, {}, last {last}",
            times(*count)
        );
        format!(
            "{}\n    {}\n",
            escaped(&line),
            escaped(&format!("{is}: {by}"))
        )
    }
}

fn kinds(count: u64) -> String {
    match count {
        1 => "1 kind".to_owned(),
        count => format!("{count} kinds"),
    }
}

fn note_unknown(
    all: &mut BTreeMap<String, UnknownView>,
    why: String,
    count: u64,
    example: impl FnOnce() -> String,
) {
    let view = all.entry(why.clone()).or_insert_with(|| UnknownView {
        why,
        kinds: 0,
        decisions: 0,
        example: example(),
    });
    view.kinds += 1;
    view.decisions = view.decisions.saturating_add(count);
}

fn what(what: &What) -> String {
    match what {
        What::Connection => "a connection".to_owned(),
        What::Login { user, database } => format!("login as {user} to {database}"),
        What::Request { host, method, path } => {
            let host = host.as_deref().unwrap_or_default();
            match path {
                // What it asks for stands there with its host.
                RecordedPath::Whole(path) if method == "CONNECT" => format!("{method} {path}"),
                RecordedPath::Whole(path) => format!("{method} {host}{path}"),
                RecordedPath::TooLong { bytes, .. } => {
                    format!("{method} {host} with a path of {bytes} bytes")
                }
            }
        }
    }
}
