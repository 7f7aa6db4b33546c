//! Judges what was seen of a connection that should work: the files of both sides, and what the server does.
//!
//! The shell reads files and probes; what it saw comes in as [`Observations`], and [`diagnose`] ranks what follows. The first
//! finding is the root cause; what only follows from it says so.

mod clock;
pub mod file;
pub mod question;
mod ranking;
pub mod shell_word;
pub mod target;

use countersign_pki::time::UnixTime;
use serde::Serialize;

pub use self::file::FileSeen;
pub use self::question::Question;
pub use self::target::TargetSeen;
use crate::finding::{Finding, RuledOut, Severity};

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
    let findings = ranking::ranked(judgement.findings);
    let ruled_out = ranking::remaining(judgement.ruled_out, &findings);
    Diagnosis {
        findings,
        ruled_out,
    }
}

impl Diagnosis {
    /// Whether nothing is at fault.
    pub fn is_healthy(&self) -> bool {
        self.findings
            .iter()
            .all(|finding| finding.severity != Severity::Fault)
    }
}
