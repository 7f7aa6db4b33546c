//! Judges what was seen of a connection that should work: the files of both sides, and what the server does.
//!
//! The shell reads files and probes; what it saw comes in as [`Observations`], and [`diagnose`] ranks what follows. The first
//! finding is the root cause; what only follows from it says so.

pub mod bridge;
pub mod client;
mod clock;
pub mod file;
pub mod question;
mod ranking;
pub mod shell_word;
pub mod source;
pub mod target;

use countersign_pki::time::UnixTime;
use serde::Serialize;

pub use self::file::FileSeen;
pub use self::question::Question;
pub use self::source::SourceSeen;
pub use self::target::TargetSeen;
use crate::finding::{Finding, RuledOut, Severity};
use crate::log::LogReading;

/// All that was seen.
#[derive(Clone, Debug)]
pub struct Observations {
    /// When.
    pub now: UnixTime,
    /// What its asker wants and says.
    pub question: Question,
    /// The files that were named, in the order of the command line.
    pub files: Vec<FileSeen>,
    /// What the server does, where one was named.
    pub target: Option<TargetSeen>,
    /// What was read of each log, with its name.
    pub logs: Vec<(String, LogReading)>,
    /// What came from the places that certificates name; `None`: nobody should go there.
    pub sources: Option<Vec<SourceSeen>>,
}

/// What follows from it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Diagnosis {
    /// The root cause first; faults before risks before notes.
    pub findings: Vec<Finding>,
    /// What could have been and is not.
    pub ruled_out: Vec<RuledOut>,
}

/// What follows from what was seen.
pub fn diagnose(observations: &Observations) -> Diagnosis {
    let mut judgement = file::judge(observations);
    let skew = clock::judge(observations, &judgement.findings);
    judgement.findings.extend(skew);
    let of_sources = source::judge(observations, &mut judgement);
    let of_files = ranking::ranked(judgement.findings);
    let mut of_target = observations
        .target
        .as_ref()
        .map_or_else(Diagnosis::default, |seen| {
            let known = target::Known {
                flaws_of_served: flaws_of_served(observations, seen),
                ..bridge::known(&observations.files)
            };
            target::judge(seen, &observations.question, &known, observations.now)
        });
    of_target.findings.splice(0..0, of_sources);
    let logs = observations.logs.iter();
    let of_logs = logs.flat_map(|(name, reading)| bridge::of_log(name, reading));
    let findings = ranking::united(of_files, of_target.findings, of_logs.collect());
    let ruled_out = [of_target.ruled_out, judgement.ruled_out].concat();
    Diagnosis {
        ruled_out: ranking::remaining(ruled_out, &findings),
        findings,
    }
}

/// What is remarkable about files by themselves, whatever they are for: of the question only the name counts that a server is asked for.
pub fn remarks(observations: &Observations) -> Diagnosis {
    let judgement = file::judge_alone(observations);
    let findings = ranking::ranked(judgement.findings);
    Diagnosis {
        ruled_out: ranking::remaining(judgement.ruled_out, &findings),
        findings,
    }
}

/// What strict readers have against the form of files, whatever they would say of what is in them.
pub fn objections_to_form(observations: &Observations) -> Vec<Finding> {
    file::judge_form(observations).findings
}

/// What is remarkable about what a server shows.
pub fn remarks_on_server(seen: &TargetSeen, question: &Question, now: UnixTime) -> Diagnosis {
    let Some(served) = bridge::served(seen) else {
        return Diagnosis::default();
    };
    remarks(&Observations {
        now,
        question: question.clone(),
        files: vec![served],
        target: None,
        logs: Vec::new(),
        sources: None,
    })
}

/// What a client with these files has against what the server shows.
fn flaws_of_served(observations: &Observations, seen: &TargetSeen) -> Vec<Finding> {
    let Some(served) = bridge::served(seen) else {
        return Vec::new();
    };
    let is_the_clients = |file: &&FileSeen| matches!(file.role, file::Role::Ca | file::Role::Other);
    let files = observations.files.iter().filter(is_the_clients).cloned();
    let as_files = Observations {
        now: observations.now,
        question: observations.question.clone(),
        files: files.chain([served]).collect(),
        sources: None,
        target: None,
        logs: Vec::new(),
    };
    ranking::ranked(file::judge_certificates(&as_files))
}

impl Diagnosis {
    /// Whether nothing is at fault.
    pub fn is_healthy(&self) -> bool {
        self.findings
            .iter()
            .all(|finding| finding.severity != Severity::Fault)
    }
}
