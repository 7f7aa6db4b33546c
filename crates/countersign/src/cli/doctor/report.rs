//! The answer for people: the verdict first, then what shows it, then what to do.

use std::fmt::Write as _;

use countersign_diagnose::doctor::Observations;
use countersign_diagnose::doctor::file::Role;
use countersign_diagnose::doctor::source::{self, Outcome, SourceSeen};

use super::is_fault;
use super::view::Answer;
use crate::cli::findings::{self, Colour, Look, SHOWN_FACTS, told};

/// The whole answer.
pub(super) fn text(
    answer: &Answer,
    observations: &Observations,
    verbose: bool,
    look: Look,
) -> String {
    let facts = if verbose { usize::MAX } else { SHOWN_FACTS };
    let mut text = verdict(answer, look);
    for finding in &answer.findings {
        text.push('\n');
        text.push_str(&told(finding, facts, look));
    }
    if !answer.ruled_out.is_empty() && (verbose || answer.healthy) {
        let _ = writeln!(text, "\nruled out");
        for ruled_out in &answer.ruled_out {
            let line = format!("{}: {}", ruled_out.cause, ruled_out.because());
            let _ = writeln!(text, "{}", look.item(&line));
        }
    }
    if let (true, Some(seen)) = (verbose, &observations.target) {
        let _ = writeln!(text, "\nconnections");
        for attempt in &seen.attempts {
            let _ = writeln!(text, "{}", look.item(&attempt.account()));
        }
        for left_out in &seen.left_out {
            let _ = writeln!(text, "{}", look.item(&format!("not tried: {left_out}")));
        }
    }
    if !answer.observations.other_clients.is_empty() {
        let _ = writeln!(text, "\nother clients");
        for differing in &answer.observations.other_clients {
            let _ = writeln!(text, "{}", look.item(&differing.sentence()));
        }
    }
    let seen = observations.sources.as_deref().unwrap_or_default();
    let shown = |seen: &&SourceSeen| verbose || matches!(seen.outcome, Outcome::NotAsked(_));
    let lines: Vec<String> = seen.iter().filter(shown).map(asked).collect();
    if !lines.is_empty() {
        let _ = writeln!(text, "\nrevocation");
        for line in lines {
            let _ = writeln!(text, "{}", look.item(&line));
        }
    }
    let wishes = wishes(observations);
    if !wishes.is_empty() {
        let _ = writeln!(text, "\nto see more");
        for wish in wishes {
            let _ = writeln!(text, "{}", look.item(&wish));
        }
    }
    text
}

fn verdict(answer: &Answer, look: Look) -> String {
    let first = answer.findings.first();
    let line = match first {
        Some(first) if is_fault(first.severity) => return findings::verdict(first, look),
        Some(_) => {
            let count = answer.findings.len();
            let things = if count == 1 { "thing" } else { "things" };
            format!("healthy, with {count} {things} to know")
        }
        None => "healthy: nothing found that would fail".to_owned(),
    };
    look.bold(Colour::Green, &line) + "\n"
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
