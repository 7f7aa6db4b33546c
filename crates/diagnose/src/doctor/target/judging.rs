//! The judge's table: reaching the server, agreeing on TLS, its certificate, the client's, and what it answers. In that
//! order they fail, so that the first finding is the root cause unless it says what it follows from.

use countersign_pki::chain::{ExpectedName, Purpose};
use countersign_pki::time::UnixTime;

use super::known::Known;
use super::{
    Attempt, Shown, Speech, TargetSeen, admission, answer, negotiation, reach, served, staple,
};
use crate::doctor::Diagnosis;
use crate::doctor::question::Question;
use crate::finding::{Finding, RuledOut, Severity};

/// What follows from what was seen of a server.
pub fn judge(seen: &TargetSeen, question: &Question, known: &Known, now: UnixTime) -> Diagnosis {
    // The CA that issues to servers often issues to clients, too.
    let known = known.with_issuers_of(seen);
    let case = Case {
        seen,
        question,
        known: &known,
        now,
    };
    let mut verdict = Verdict::default();
    if reach::judge(&case, &mut verdict) && negotiation::judge(&case, &mut verdict) {
        let server_is_good = served::judge(&case, &mut verdict);
        staple::judge(&case, &mut verdict);
        admission::judge(&case, server_is_good, &mut verdict);
        answer::judge(&case, &mut verdict);
    }
    verdict.ranked()
}

/// Everything that is judged by.
pub(super) struct Case<'c> {
    pub(super) seen: &'c TargetSeen,
    pub(super) question: &'c Question,
    pub(super) known: &'c Known,
    pub(super) now: UnixTime,
}

/// What was found so far.
#[derive(Default)]
pub(super) struct Verdict {
    findings: Vec<Finding>,
    ruled_out: Vec<RuledOut>,
}

impl<'c> Case<'c> {
    /// The client as it comes, without its certificate.
    pub(super) fn first(&self) -> Option<&'c Attempt> {
        self.seen
            .attempts
            .iter()
            .find(|attempt| attempt.trial.speech != Speech::PlainHttp)
    }

    /// The first connection on which a server spoke TLS to its end or the nearest to it.
    pub(super) fn speaking(&self) -> Option<&'c Attempt> {
        let first = self
            .attempts(Speech::Tls)
            .find(|attempt| attempt.hello.is_some())?;
        // The same again where an answer could be read, which HTTP/2 leaves out.
        let read = self.attempts(Speech::Tls).find(|attempt| {
            let (one, other) = (&attempt.trial, &first.trial);
            attempt.http.is_some()
                && one.resumes.is_none()
                && one.sni == other.sni
                && one.certificate == other.certificate
        });
        Some(
            read.filter(|_| first.http.is_none() && first.finished)
                .unwrap_or(first),
        )
    }

    /// The first connection that showed this certificate, under the client's own name.
    pub(super) fn shown(&self, shown: Shown) -> Option<&'c Attempt> {
        let sni = self
            .speaking()
            .and_then(|attempt| attempt.trial.sni.as_ref());
        self.seen
            .attempts
            .iter()
            .filter(|attempt| attempt.trial.speech == Speech::Tls && attempt.hello.is_some())
            .find(|attempt| {
                let trial = &attempt.trial;
                trial.certificate == shown && trial.resumes.is_none() && trial.sni.as_ref() == sni
            })
    }

    /// The connection with HTTP in plaintext.
    pub(super) fn plain(&self) -> Option<&'c Attempt> {
        self.attempts(Speech::PlainHttp).next()
    }

    /// Connections of one speech.
    pub(super) fn attempts(&self, speech: Speech) -> impl Iterator<Item = &'c Attempt> {
        self.seen
            .attempts
            .iter()
            .filter(move |attempt| attempt.trial.speech == speech)
    }

    /// The name that the client means.
    pub(super) fn meant(&self) -> &'c str {
        match (&self.question.name, &self.question.target) {
            (Some(name), _) => name,
            (None, Some(target)) => &target.host,
            (None, None) => "",
        }
    }

    /// The same as a certificate has to hold it.
    pub(super) fn expected(&self) -> Vec<ExpectedName> {
        ExpectedName::parse(self.meant(), Purpose::ServerAuth)
            .into_iter()
            .collect()
    }

    /// For `openssl s_client`.
    pub(super) fn s_client(&self) -> String {
        let sni = self
            .speaking()
            .or_else(|| self.first())
            .and_then(|attempt| attempt.trial.sni.clone());
        let sni = sni.map_or_else(String::new, |name| format!(" -servername {name}"));
        format!("openssl s_client -connect {}{sni}", self.seen.target)
    }
}

impl Verdict {
    pub(super) fn find(&mut self, finding: Finding) {
        let mut findings = self.findings.iter_mut();
        match findings.find(|known| known.cause == finding.cause && known.side == finding.side) {
            None => self.findings.push(finding),
            Some(known) if finding.severity < known.severity => *known = finding,
            Some(_) => {}
        }
    }

    pub(super) fn find_all(&mut self, findings: impl IntoIterator<Item = Finding>) {
        for finding in findings {
            self.find(finding);
        }
    }

    pub(super) fn rule_out(&mut self, cause: crate::cause::Cause, because: impl Into<String>) {
        if self.ruled_out.iter().all(|known| known.cause != cause) {
            self.ruled_out.push(RuledOut::new(cause, because));
        }
    }

    pub(super) fn has_fault(&self) -> bool {
        self.findings
            .iter()
            .any(|finding| finding.severity == Severity::Fault)
    }

    /// Roots before what follows from them; faults before risks before notes.
    fn ranked(mut self) -> Diagnosis {
        self.findings
            .sort_by_key(|finding| (finding.severity, finding.follows_from.is_some()));
        let found = |cause| {
            self.findings
                .iter()
                .any(|finding| finding.cause == cause && finding.severity == Severity::Fault)
        };
        self.ruled_out.retain(|ruled_out| !found(ruled_out.cause));
        Diagnosis {
            findings: self.findings,
            ruled_out: self.ruled_out,
        }
    }
}
