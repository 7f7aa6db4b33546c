//! The answer for people: the verdict first, then what shows it, then what to do.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, stdout};

use countersign_diagnose::doctor::Observations;
use countersign_diagnose::doctor::file::Role;
use countersign_diagnose::doctor::source::{self, Outcome, SourceSeen};
use countersign_diagnose::finding::{Finding, Severity};

use super::is_fault;
use super::view::Answer;
use crate::output::escaped;

/// Whether to colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Coloured,
    Plain,
}

impl Style {
    /// Colour is for a person at a terminal who did not say otherwise.
    pub(super) fn of(no_colour: bool) -> Self {
        if stdout().is_terminal() && !no_colour {
            Self::Coloured
        } else {
            Self::Plain
        }
    }

    /// Bold, in one of the eight colours that every theme makes readable.
    fn bold(self, colour: u8, text: &str) -> String {
        match self {
            Self::Coloured => format!("\u{1b}[1;{colour}m{text}\u{1b}[0m"),
            Self::Plain => text.to_owned(),
        }
    }

    fn faint(self, text: &str) -> String {
        match self {
            Self::Coloured => format!("\u{1b}[2m{text}\u{1b}[0m"),
            Self::Plain => text.to_owned(),
        }
    }
}

/// The whole answer.
pub(super) fn text(
    answer: &Answer,
    observations: &Observations,
    verbose: bool,
    style: Style,
) -> String {
    let mut text = verdict(answer, style);
    for finding in &answer.findings {
        text.push('\n');
        text.push_str(&told(finding, verbose, style));
    }
    if !answer.ruled_out.is_empty() && (verbose || answer.healthy) {
        let _ = writeln!(text, "\nruled out");
        for ruled_out in &answer.ruled_out {
            let line = format!("{}: {}", ruled_out.cause, ruled_out.because());
            let _ = writeln!(text, "{}", wrapped(&line, "  "));
        }
    }
    if let (true, Some(seen)) = (verbose, &observations.target) {
        let _ = writeln!(text, "\nconnections");
        for attempt in &seen.attempts {
            let _ = writeln!(text, "{}", wrapped(&attempt.account(), "  "));
        }
        for left_out in &seen.left_out {
            let _ = writeln!(text, "{}", wrapped(&format!("not tried: {left_out}"), "  "));
        }
    }
    if !answer.observations.other_clients.is_empty() {
        let _ = writeln!(text, "\nother clients");
        for differing in &answer.observations.other_clients {
            let _ = writeln!(text, "{}", wrapped(&differing.sentence(), "  "));
        }
    }
    let seen = observations.sources.as_deref().unwrap_or_default();
    let shown = |seen: &&SourceSeen| verbose || matches!(seen.outcome, Outcome::NotAsked(_));
    let lines: Vec<String> = seen.iter().filter(shown).map(asked).collect();
    if !lines.is_empty() {
        let _ = writeln!(text, "\nrevocation");
        for line in lines {
            let _ = writeln!(text, "{}", wrapped(&line, "  "));
        }
    }
    let wishes = wishes(observations);
    if !wishes.is_empty() {
        let _ = writeln!(text, "\nto see more");
        for wish in wishes {
            let _ = writeln!(text, "{}", style.faint(&wrapped(&wish, "  ")));
        }
    }
    text
}

fn verdict(answer: &Answer, style: Style) -> String {
    let first = answer.findings.first();
    let (colour, line) = match first {
        Some(first) if is_fault(first.severity) => {
            (RED, format!("fault: {} ({})", first.cause, first.side))
        }
        Some(_) => {
            let count = answer.findings.len();
            let things = if count == 1 { "thing" } else { "things" };
            (GREEN, format!("healthy, with {count} {things} to know"))
        }
        None => (GREEN, "healthy: nothing found that would fail".to_owned()),
    };
    format!("{}\n", style.bold(colour, &line))
}

fn told(finding: &Finding, verbose: bool, style: Style) -> String {
    let colour = match finding.severity {
        Severity::Fault => RED,
        Severity::Risk => YELLOW,
        Severity::Note => CYAN,
    };
    let head = format!("{}: {}", finding.severity, finding.cause);
    let mut text = style.bold(colour, &head);
    if let Some(from) = finding.follows_from {
        let _ = write!(text, " (follows from {from})");
    }
    let _ = writeln!(text, "\n{}", wrapped(finding.message(), "  "));
    let shown = if verbose { usize::MAX } else { SHOWN_FACTS };
    let facts: Vec<_> = finding
        .evidence
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .take(shown)
        .collect();
    let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, value) in facts {
        let line = format!("  {name:<width$}  {value}");
        let _ = writeln!(text, "{}", style.faint(&cut(&line)));
    }
    for (place, line) in finding.fix().iter().enumerate() {
        let label = if place == 0 { "fix: " } else { "     " };
        let _ = writeln!(text, "{}", fixed(label, line));
    }
    let _ = writeln!(text, "  more: {}", style.faint(finding.cause.page()));
    text
}

/// A sentence is wrapped; a command to paste stays whole.
fn fixed(label: &str, line: &str) -> String {
    let is_sentence = line.ends_with('.') || line.chars().next().is_some_and(char::is_uppercase);
    if is_sentence {
        let body = wrapped(line, "       ");
        format!("  {label}{}", body.trim_start())
    } else {
        format!("  {label}{line}")
    }
}

/// What came of a place that a certificate names.
fn asked(seen: &SourceSeen) -> String {
    let source = &seen.source;
    let place = format!(
        "{} {} of {}",
        source.kind.as_str(),
        source.url,
        source.certificate().subject()
    );
    let ms = seen.took.as_millis();
    match &seen.outcome {
        Outcome::Answered(body) => format!("{place}: {} bytes in {ms} ms", body.len()),
        Outcome::NotAsked(why) => format!("{place}: not asked, {why}"),
        Outcome::Unreachable(why) => format!("{place}: no answer in {ms} ms, {why}"),
    }
}

/// What else would let the doctor say more.
fn wishes(observations: &Observations) -> Vec<String> {
    let mut wishes: Vec<String> = of_files(observations)
        .into_iter()
        .map(str::to_owned)
        .collect();
    if observations.sources.is_none() {
        let wanted = source::wanted(observations);
        if let Some(first) = wanted.first() {
            let others = match wanted.len() {
                1 => String::new(),
                more => format!(" and {} others", more - 1),
            };
            wishes.push(format!(
                "--fetch: asks what the certificates name ({}{others}) whether any of them is revoked, and whether that can be reached",
                first.url
            ));
        }
    }
    wishes
}

fn of_files(observations: &Observations) -> Vec<&'static str> {
    let has = |role: Role| observations.files.iter().any(|file| file.role == role);
    let has_target = observations.target.is_some();
    let mut wishes = Vec::new();
    if has(Role::ClientCertificate) && !has(Role::ClientCa) {
        wishes.push("--client-ca FILE: whom the server trusts, to judge whether it takes the client's chain");
    }
    if has(Role::ClientCertificate) && !has(Role::ClientKey) && !is_store(observations) {
        wishes.push("--key FILE: to see whether it belongs to --cert");
    }
    if has(Role::ServerCertificate) && !has(Role::Ca) {
        wishes.push(
            "--ca FILE: what the client trusts, to judge whether it takes the server's chain",
        );
    }
    if has(Role::Ca) && !has(Role::ServerCertificate) && !has_target {
        wishes
            .push("HOST:PORT or --server-cert FILE: what the server presents, to judge it by --ca");
    }
    if has(Role::ServerCertificate)
        && observations.question.name.is_none()
        && observations.question.target.is_none()
    {
        wishes.push("--name NAME: the name that clients connect to, to look for it in the server's certificate");
    }
    wishes
}

/// Whether the client's certificate file holds the key as well.
fn is_store(observations: &Observations) -> bool {
    let mut files = observations.files.iter();
    files.any(|file| file.role == Role::ClientCertificate && !file.material.keys.is_empty())
}

/// In lines of 80 columns, each behind `indent`.
pub(super) fn wrapped(text: &str, indent: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut line = indent.to_owned();
    for word in text.split_whitespace() {
        let is_first = line.len() == indent.len();
        let length = line.chars().count() + 1 + word.chars().count();
        if !is_first && length > COLUMNS {
            lines.push(std::mem::replace(&mut line, indent.to_owned()));
        }
        if line.len() > indent.len() {
            line.push(' ');
        }
        line.push_str(&escaped(word));
    }
    lines.push(line);
    lines.join("\n")
}

/// One line of a table.
fn cut(line: &str) -> String {
    if line.chars().count() <= COLUMNS {
        return line.to_owned();
    }
    let kept: String = line.chars().take(COLUMNS - 1).collect();
    format!("{kept}…")
}

const COLUMNS: usize = 80;

/// Those that the cause was judged by come first; `--verbose` and the JSON have all.
const SHOWN_FACTS: usize = 8;

const RED: u8 = 31;
const GREEN: u8 = 32;
const YELLOW: u8 = 33;
const CYAN: u8 = 36;
