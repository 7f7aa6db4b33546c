//! `countersign policy readiness`: whether certificates can be required, by who came and what shadows said.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use clap::Args;
use countersign_pki::time::UnixTime;
use countersign_proxy::decisions::{CertificateVerdict, Client, ListenerRecord, Tally};
use countersign_proxy::shadow::ShadowVerdict;
use countersign_runtime::clock::{Clock, SystemClock};
use serde::Serialize;

use super::kept::{Recent, SHOWN, and_more, times};
use crate::cli::arguments::{Globals, StateArgument, duration};
use crate::fault::{Answer, Fault};
use crate::output::escaped;

#[derive(Debug, Args)]
pub(super) struct ReadinessArguments {
    #[command(flatten)]
    state: StateArgument,
    /// How far back to look
    #[arg(long, value_name = "DURATION", default_value = "14d", value_parser = duration)]
    since: Duration,
    /// Exit code 1 if a listener is not ready, or was not watched for the whole time
    #[arg(long)]
    check: bool,
}

/// What is answered.
#[derive(Debug, Serialize)]
struct Readiness {
    ready: bool,
    since_s: u64,
    listeners: Vec<ListenerReadiness>,
    #[serde(skip_serializing_if = "Option::is_none")]
    incomplete: Option<String>,
}

/// Of one listener.
#[derive(Debug, Serialize)]
struct ListenerReadiness {
    listener: String,
    address: String,
    client_certificate: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    shadow: Option<String>,
    ready: bool,
    /// For how long it was watched as it stands.
    observed_s: u64,
    /// Handshakes that ended well.
    connections: u64,
    /// Of these, without a certificate that counts; where they came from.
    without_certificate: u64,
    sources: Vec<Counted>,
    /// Open connections without one, whenever they came.
    open_without: u64,
    /// Refused in the handshake already, by cause.
    refused: Vec<Counted>,
    /// A shadow of certificates would refuse them: by cause and source.
    would_refuse: Vec<Counted>,
    /// Shadow rules would refuse these.
    identities: Vec<Counted>,
    #[serde(skip)]
    span: String,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Counted {
    what: String,
    count: u64,
    last: String,
}

impl ReadinessArguments {
    pub(super) fn run(self, globals: &Globals) -> Result<Answer, Fault> {
        let now = UnixTime::from_seconds(SystemClock.unix_seconds());
        let state = self.state.folder(globals)?;
        let recent = Recent::read(&state, self.since, now)?;
        let listeners = recent.kept.observed.listeners.iter();
        let listeners: Vec<_> = listeners
            .map(|(name, record)| ListenerReadiness::of(name, record, &recent))
            .collect();
        let readiness = Readiness {
            // Where nothing listens nothing was seen.
            ready: !listeners.is_empty() && listeners.iter().all(|it| it.ready),
            since_s: self.since.as_secs(),
            listeners,
            incomplete: recent.losses(),
        };
        globals.output().answer(&readiness, Readiness::text)?;
        let is_watched = |it: &ListenerReadiness| recent.is_watched(it.observed_s);
        let is_ready = readiness.ready && readiness.listeners.iter().all(is_watched);
        Ok(Answer::from_bool(!self.check || is_ready))
    }
}

/// Adds up by what.
#[derive(Default)]
struct Counts(BTreeMap<String, (u64, u64)>);

impl Counts {
    fn add(&mut self, what: String, tally: &Tally) {
        let (count, last) = self.0.entry(what).or_default();
        *count = count.saturating_add(tally.count);
        *last = (*last).max(tally.last_unix_s);
    }

    fn total(&self) -> u64 {
        let counts = self.0.values().map(|(count, _)| *count);
        counts.fold(0, u64::saturating_add)
    }

    /// The most frequent first.
    fn sorted(self) -> Vec<Counted> {
        let counted = self.0.into_iter().map(|(what, (count, last))| Counted {
            what,
            count,
            last: UnixTime::from_seconds(last).to_string(),
        });
        let mut counted: Vec<_> = counted.collect();
        counted.sort_by_key(|it| std::cmp::Reverse(it.count));
        counted
    }
}

impl ListenerReadiness {
    fn of(name: &str, record: &ListenerRecord, recent: &Recent) -> Self {
        let (mut without, mut refused, mut shadowed) =
            (Counts::default(), Counts::default(), Counts::default());
        let mut connections = 0_u64;
        // What came before the listener stood as it stands says nothing of it.
        let counts =
            |tally: &Tally| recent.is_recent(tally) && tally.last_unix_s >= record.since_unix_s;
        let clients = recent.kept.clients.iter();
        for client in clients.filter(|it| it.key.listener == name && counts(&it.tally)) {
            let from = client.key.from.to_string();
            match &client.key.client {
                Client::Identity(_) => connections = connections.saturating_add(client.tally.count),
                Client::Refused(cause) => {
                    refused.add(format!("{cause} from {from}"), &client.tally);
                    continue;
                }
                Client::Unasked | Client::WithoutCertificate => {
                    connections = connections.saturating_add(client.tally.count);
                    let is_accepted = matches!(
                        &client.key.shadow,
                        Some(CertificateVerdict::WouldAccept(Some(_)))
                    );
                    if !is_accepted {
                        without.add(from.clone(), &client.tally);
                    }
                }
            }
            if let Some(CertificateVerdict::WouldRefuse(cause)) = &client.key.shadow {
                let who = recent.identity(&client.tally);
                let who = who.map_or_else(String::new, |who| format!("{who}: "));
                shadowed.add(format!("{who}{cause} from {from}"), &client.tally);
            }
        }
        let mut identities = Counts::default();
        let decisions = recent.kept.decisions.iter();
        for decision in decisions.filter(|it| it.key.listener == name && counts(&it.tally)) {
            if decision.key.shadow == Some(ShadowVerdict::WouldRefuse) {
                let identity = recent.identity(&decision.tally);
                let who = identity.map_or_else(
                    || format!("anonymous from {}", decision.key.network),
                    ToString::to_string,
                );
                identities.add(who, &decision.tally);
            }
        }
        let observed = recent.observed_since(record.since_unix_s);
        // They came before what is looked at, and are still there.
        let open_without = (recent.kept.observed.open_without.get(name)).map_or(0, |count| *count);
        let is_clear = [&without, &shadowed, &identities].map(|it| it.0.is_empty()) == [true; 3];
        // What was not kept may be what stands in the way.
        let is_all = open_without == 0 && recent.losses().is_none();
        // Of whom nobody asks anything nothing is known.
        let asks = record.client_certificate != "off" || record.shadow.is_some();
        Self {
            listener: name.to_owned(),
            address: record.address.clone(),
            client_certificate: record.client_certificate.clone(),
            shadow: record.shadow.clone(),
            ready: asks && is_clear && is_all,
            observed_s: observed.as_secs(),
            span: recent.span(observed),
            connections,
            without_certificate: without.total(),
            open_without,
            sources: without.sorted(),
            refused: refused.sorted(),
            would_refuse: shadowed.sorted(),
            identities: identities.sorted(),
        }
    }

    fn text(&self) -> String {
        let Self {
            listener,
            address,
            client_certificate,
            ..
        } = self;
        let verdict = if self.ready { "ready" } else { "not ready" };
        let shadow = self
            .shadow
            .as_ref()
            .map_or_else(String::new, |it| format!(", shadow {it}"));
        let mut text = format!(
            "{listener} ({address}, client_certificate {client_certificate}{shadow}): {verdict}, {}\n",
            self.span
        );
        if client_certificate == "off" && self.shadow.is_none() {
            text.push_str("  nobody is asked for a certificate: set client_certificate = \"request\", or ask in shadow\n");
        }
        writeln!(
            text,
            "  {} of {} connections without a certificate",
            self.without_certificate, self.connections
        )
        .expect("a String takes everything");
        list(&mut text, &self.sources);
        if self.open_without > 0 {
            let open = self.open_without;
            writeln!(text, "  {open} connections without a certificate were open when decisions were last written")
                .expect("a String takes everything");
        }
        for (counted, head) in [
            (
                &self.would_refuse,
                "the shadow of certificates would refuse",
            ),
            (&self.identities, "shadow rules would refuse"),
            (&self.refused, "refused in the handshake already"),
        ] {
            if !counted.is_empty() {
                writeln!(text, "  {head}: {}", counted.len()).expect("a String takes everything");
                list(&mut text, counted);
            }
        }
        text
    }
}

fn list(text: &mut String, counted: &[Counted]) {
    for Counted { what, count, last } in counted.iter().take(SHOWN) {
        text.push_str(&escaped(&format!(
            "    {what}, {}, last {last}",
            times(*count)
        )));
        text.push('\n');
    }
    and_more(text, SHOWN, counted.len());
}

impl Readiness {
    fn text(&self) -> String {
        let mut text: String = self.listeners.iter().map(ListenerReadiness::text).collect();
        if self.listeners.is_empty() {
            text.push_str("not ready: no listener was watched\n");
        }
        if let Some(incomplete) = &self.incomplete {
            text.push_str(incomplete);
            text.push('\n');
        }
        text
    }
}
