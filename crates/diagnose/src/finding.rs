//! What the doctor says: findings, the root cause first, and what it ruled out.

use std::fmt;

use serde::Serialize;

use crate::cause::Cause;
use crate::evidence::{Evidence, printable, printable_again};

/// Whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// Who issued a certificate or publishes a list.
    Ca,
    /// Who connects.
    Client,
    /// What lies between the two.
    Network,
    /// Who decides which identities are let in.
    Policy,
    /// Who is connected to.
    Server,
    /// Where the doctor runs.
    ThisMachine,
}

impl Side {
    /// As in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ca => "ca",
            Self::Client => "client",
            Self::Network => "network",
            Self::Policy => "policy",
            Self::Server => "server",
            Self::ThisMachine => "this-machine",
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How much it matters. In the order in which findings are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// The connection fails, or is let through where it must not be. One of them makes the answer "not healthy".
    Fault,
    /// It works for this client now, and would not for another or later.
    Risk,
    /// Worth knowing.
    Note,
}

impl Severity {
    /// As in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fault => "fault",
            Self::Risk => "risk",
            Self::Note => "note",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The stable name; never `healthy`.
    pub cause: Cause,
    /// Whose turn it is.
    pub side: Side,
    /// How much it matters.
    pub severity: Severity,
    message: String,
    /// The facts that it was judged by.
    pub evidence: Evidence,
    fix: Vec<String>,
    /// The finding of which this one is only what follows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub follows_from: Option<Cause>,
}

impl Finding {
    /// A fault. The message is one line, lower case, without full stop, with the values; it is escaped and cut here, once.
    pub fn fault(cause: Cause, side: Side, message: impl Into<String>) -> Self {
        Self {
            cause,
            side,
            severity: Severity::Fault,
            message: printable(message.into(), MAX_TEXT_BYTES),
            evidence: Evidence::new(),
            fix: vec![cause.fix().to_owned()],
            follows_from: None,
        }
    }

    /// A fault whose message was escaped and cut where it was first said.
    pub(crate) fn retold(cause: Cause, side: Side, message: &str) -> Self {
        Self {
            message: printable_again(message, MAX_TEXT_BYTES),
            ..Self::fault(cause, side, "")
        }
    }

    /// The same as a risk.
    #[must_use]
    pub fn risk(self) -> Self {
        Self {
            severity: Severity::Risk,
            ..self
        }
    }

    /// The same as a note.
    #[must_use]
    pub fn note(self) -> Self {
        Self {
            severity: Severity::Note,
            ..self
        }
    }

    /// With one more fact, given raw.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl fmt::Display) -> Self {
        self.evidence.push(name, value);
        self
    }

    /// With these facts.
    #[must_use]
    pub fn with_evidence(mut self, evidence: Evidence) -> Self {
        self.evidence = evidence;
        self
    }

    /// With one more line of the fix: a sentence, or a command to paste. Escaped and cut, but for backslashes: a shell reads them.
    #[must_use]
    pub fn with_fix(mut self, line: impl Into<String>) -> Self {
        self.fix.push(printable_again(&line.into(), MAX_TEXT_BYTES));
        self
    }

    /// What was found, with the values.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What to do: first the rule, then what holds here.
    pub fn fix(&self) -> &[String] {
        &self.fix
    }
}

/// A cause that was looked for and is not there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RuledOut {
    /// What could have been.
    pub cause: Cause,
    because: String,
}

impl RuledOut {
    /// `because` is one line with the values, such as `the certificate ends 2026-03-01T00:00:00Z, in 40 d`.
    pub fn new(cause: Cause, because: impl Into<String>) -> Self {
        Self {
            cause,
            because: printable(because.into(), MAX_TEXT_BYTES),
        }
    }

    /// What shows it.
    pub fn because(&self) -> &str {
        &self.because
    }
}

/// Twice a wide terminal's line, as for refusals: a sentence with two long names and two times fits.
const MAX_TEXT_BYTES: usize = 1024;
