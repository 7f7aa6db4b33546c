//! The corpus by which `countersign doctor` is judged: reported failures and sound set-ups, built when the test runs, each put
//! to the doctor and to what people have without it.
//!
//! `--nocapture` shows the table; it also lies in `target/doctor-corpus.txt`.

mod baselines;
mod chains;
mod coverage;
mod dialects;
mod files;
mod forge;
mod headers;
mod healthy;
mod judged;
mod live_client;
mod live_healthy;
mod live_pages;
mod live_ports;
mod live_server;
mod logs;
mod names;
mod revocation;
mod scenario;
mod servers;
mod workshop;

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use countersign_diagnose::cause::Cause;
use serde_json::Value;

use crate::doctor_corpus::baselines::BASELINES;
use crate::doctor_corpus::coverage::{Shown, coverage};
use crate::doctor_corpus::scenario::{Answered, Expect, Scenario};
use crate::doctor_corpus::workshop::{Invocation, Workshop};
use crate::installation::{Answer, binary};
use crate::peers::peer;

fn scenarios() -> Vec<&'static Scenario> {
    [
        chains::SCENARIOS,
        files::SCENARIOS,
        names::SCENARIOS,
        dialects::SCENARIOS,
        judged::SCENARIOS,
        live_client::SCENARIOS,
        live_server::SCENARIOS,
        live_ports::SCENARIOS,
        live_pages::SCENARIOS,
        logs::SCENARIOS,
        headers::SCENARIOS,
        revocation::SCENARIOS,
        healthy::SCENARIOS,
        live_healthy::SCENARIOS,
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// What came of a scenario.
struct Outcome {
    scenario: &'static Scenario,
    got: Answered,
    /// All that it found, a line each: printed where it is not right.
    found: Vec<String>,
    took: Duration,
    is_live: bool,
    baselines: [Option<&'static str>; BASELINES.len()],
}

impl Outcome {
    fn is_right(&self) -> bool {
        self.scenario.expect.is_met_by(&self.got)
    }
}

/// Builds, asks the doctor, asks the others.
fn judge(scenario: &'static Scenario) -> Outcome {
    let mut workshop = Workshop::new();
    let invocation = (scenario.build)(&mut workshop);
    let begun = Instant::now();
    let answer = ask(&invocation);
    let took = begun.elapsed();
    Outcome {
        scenario,
        got: read(&answer),
        found: found(&answer),
        took,
        is_live: invocation.target.is_some(),
        baselines: BASELINES.map(|baseline| (baseline.ask)(&invocation)),
    }
}

fn ask(invocation: &Invocation) -> Answer {
    let mut command = match invocation.clock {
        None => Command::new(binary()),
        Some(clock) => {
            let mut command = Command::new("faketime");
            // Deadlines are the monotonic clock's business, which nobody sets.
            command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
            command.args(["-f", clock]).arg(binary());
            command
        }
    };
    command
        .args(["doctor", "--json"])
        .args(&invocation.target)
        .args(&invocation.arguments)
        .current_dir(&invocation.folder);
    Answer::of(&mut command)
}

fn found(answer: &Answer) -> Vec<String> {
    let json = serde_json::from_str::<Value>(&answer.stdout).unwrap_or_default();
    let findings = json["findings"].as_array().into_iter().flatten();
    let line = |finding: &Value| {
        let text = |name: &str| finding[name].as_str().unwrap_or_default().to_owned();
        format!(
            "{} {}: {}",
            text("severity"),
            text("cause"),
            text("message")
        )
    };
    findings.map(line).collect()
}

/// What cannot be read as an answer, or contradicts itself, is put in brackets: it is never right.
fn read(answer: &Answer) -> Answered {
    let Ok(json) = serde_json::from_str::<Value>(&answer.stdout) else {
        let said = answer.all().chars().take(120).collect::<String>();
        let said = said.replace('\n', " ");
        return Answered::Fault(format!("[exit {:?}: {said}]", answer.code));
    };
    let findings = || json["findings"].as_array().into_iter().flatten();
    let fault = findings().find(|finding| finding["severity"] == "fault");
    let first = fault
        .or_else(|| findings().next())
        .and_then(|finding| finding["cause"].as_str())
        .map(str::to_owned);
    let is_healthy = json["healthy"].as_bool();
    match (fault.is_some(), is_healthy, answer.code, first) {
        (true, Some(false), Some(1), Some(cause)) => Answered::Fault(cause),
        (false, Some(true), Some(0), first) => Answered::Sound(first),
        (_, is_healthy, code, first) => Answered::Fault(format!(
            "[healthy {is_healthy:?}, exit {code:?}, first {first:?}]"
        )),
    }
}

/// Two at a time: each waits for processes and sockets more than it computes.
fn judge_all(scenarios: &[&'static Scenario]) -> (Vec<Outcome>, Vec<&'static str>) {
    let next = AtomicUsize::new(0);
    let done = Mutex::new((Vec::new(), Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(&scenario) = scenarios.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = catch_unwind(AssertUnwindSafe(|| judge(scenario)));
                    let mut done = done.lock().expect("nobody panics with it");
                    match outcome {
                        Ok(outcome) => done.0.push(outcome),
                        Err(_) => done.1.push(scenario.name),
                    }
                }
            });
        }
    });
    let (mut outcomes, unbuilt) = done.into_inner().expect("nobody panics with it");
    let order = |outcome: &Outcome| {
        let is_it = |scenario: &&Scenario| std::ptr::eq(*scenario, outcome.scenario);
        scenarios.iter().position(is_it)
    };
    outcomes.sort_by_key(order);
    (outcomes, unbuilt)
}

/// The score of somebody's answers.
struct Score {
    right: usize,
    total: usize,
    false_faults: usize,
}

impl Score {
    /// `got`: `None` where nothing was named.
    fn of(outcomes: &[Outcome], got: impl Fn(&Outcome) -> Option<Answered>) -> Self {
        let mut score = Self {
            right: 0,
            total: outcomes.len(),
            false_faults: 0,
        };
        for outcome in outcomes {
            // Who names nothing has not called a sound set-up sound either.
            let Some(got) = got(outcome) else { continue };
            let expect = outcome.scenario.expect;
            score.right += usize::from(expect.is_met_by(&got));
            let is_fault = matches!(got, Answered::Fault(_));
            score.false_faults += usize::from(expect.is_sound() && is_fault);
        }
        score
    }
}

fn median_and_longest(outcomes: &[Outcome]) -> (Duration, Duration) {
    let live = outcomes.iter().filter(|outcome| outcome.is_live);
    let mut times: Vec<Duration> = live.map(|outcome| outcome.took).collect();
    times.sort();
    let median = times.get(times.len() / 2).copied().unwrap_or_default();
    let longest = outcomes.iter().map(|outcome| outcome.took).max();
    (median, longest.unwrap_or_default())
}

fn report(outcomes: &[Outcome], unbuilt: &[&str]) -> String {
    let mut text = String::new();
    for outcome in outcomes {
        let mark = if outcome.is_right() { "ok  " } else { "MISS" };
        let _ = writeln!(
            text,
            "{mark} {:70} {:32} {:32} {:6} ms",
            outcome.scenario.name,
            outcome.scenario.expect.slug(),
            outcome.got,
            outcome.took.as_millis()
        );
        if !outcome.is_right() {
            for line in &outcome.found {
                let _ = writeln!(text, "         {line}");
            }
        }
    }
    for name in unbuilt {
        let _ = writeln!(text, "NOT BUILT {name}");
    }
    let doctor = Score::of(outcomes, |outcome| Some(outcome.got.clone()));
    let (median, longest) = median_and_longest(outcomes);
    let mut line = |who: &str, score: &Score| {
        let _ = writeln!(
            text,
            "{who:18} {:3}/{} right, {} false faults on sound set-ups",
            score.right, score.total, score.false_faults
        );
    };
    line("countersign doctor", &doctor);
    for (number, baseline) in BASELINES.iter().enumerate() {
        line(
            baseline.name,
            &Score::of(outcomes, |outcome| {
                outcome.baselines[number].map(Answered::of)
            }),
        );
    }
    let _ = writeln!(text, "median probe {median:.1?}, longest {longest:.1?}");
    text
}

#[test]
fn doctor_names_the_root_cause_of_reported_failures_and_never_cries_wolf() {
    let test = "doctor_names_the_root_cause_of_reported_failures_and_never_cries_wolf";
    let needed = [
        "openssl",
        "curl",
        "nginx",
        "haproxy",
        "apache2",
        "faketime",
        "keytool",
        "python3",
        "gnutls-cli",
    ];
    if needed.iter().any(|name| peer(test, name).is_none()) {
        return;
    }
    let (outcomes, unbuilt) = judge_all(&scenarios());
    let report = report(&outcomes, &unbuilt);
    println!("{report}");
    let target = binary().ancestors().nth(2).expect("below target/");
    fs::write(target.join("doctor-corpus.txt"), &report).expect("target/ is writable");
    assert_eq!(
        unbuilt, [""; 0],
        "scenarios whose planted fault is not there"
    );
    let score = Score::of(&outcomes, |outcome| Some(outcome.got.clone()));
    let (median, longest) = median_and_longest(&outcomes);
    assert!(score.right * 100 >= 95 * score.total, "{report}");
    assert_eq!(score.false_faults, 0, "{report}");
    assert!(
        median <= MEDIAN_PROBE && longest <= LONGEST_PROBE,
        "{report}"
    );
}

#[test]
fn every_cause_has_a_scenario_with_a_look_alike_or_a_reason() {
    let scenarios = scenarios();
    for &cause in Cause::ALL {
        let entries: Vec<&Shown> = coverage()
            .filter(|(covered, _)| *covered == cause)
            .map(|(_, shown)| shown)
            .collect();
        let is_root = |scenario: &&&Scenario| matches!(scenario.expect, Expect::Root(roots) if roots[0] == cause);
        let roots = scenarios.iter().filter(is_root).count();
        match entries[..] {
            [Shown::Here { unlike }] => {
                assert!(roots > 0, "{cause} is the root cause of no scenario");
                let unlike = scenarios.iter().find(|scenario| scenario.name == *unlike);
                let unlike = unlike.unwrap_or_else(|| panic!("{cause}: no such look-alike"));
                assert!(
                    !unlike.expect.is_met_by(&Answered::of(cause.slug())),
                    "{cause}: {}",
                    unlike.name
                );
            }
            [Shown::Elsewhere(reason)] => {
                assert!(!reason.is_empty() && roots == 0, "{cause} has scenarios");
            }
            _ => panic!("{cause} has {} entries in coverage.rs", entries.len()),
        }
    }
}

#[test]
fn corpus_is_large_and_every_scenario_has_a_name_and_a_source() {
    let scenarios = scenarios();
    let names: BTreeSet<&str> = scenarios.iter().map(|scenario| scenario.name).collect();
    assert_eq!(names.len(), scenarios.len(), "names are unique");
    assert!(
        scenarios
            .iter()
            .all(|scenario| scenario.source.starts_with("https://"))
    );
    let controls = scenarios
        .iter()
        .filter(|scenario| scenario.expect.is_sound())
        .count();
    assert!(controls >= 25 && scenarios.len() - controls >= 100);
}

/// As the project promises: a person waits for it.
const MEDIAN_PROBE: Duration = Duration::from_secs(2);
const LONGEST_PROBE: Duration = Duration::from_secs(15);
