//! Why a command did not do its work: a sentence for the person who must act, a hint, and whose fault it is.

mod origin;

use std::fmt;
use std::path::Path;

use serde::Serialize;

use crate::output::{shown, shown_json};

/// How a command that did its work ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The answer is no: unhealthy, not confirmed, not found among what was asked for.
    No,
    /// Done, or the answer is yes.
    Yes,
}

impl Answer {
    /// Yes when `yes` holds.
    pub(crate) fn from_bool(yes: bool) -> Self {
        if yes { Self::Yes } else { Self::No }
    }

    /// The exit code (DESIGN §6).
    pub(crate) const fn exit_code(self) -> u8 {
        match self {
            Self::Yes => 0,
            Self::No => 1,
        }
    }
}

/// Who has to act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blame {
    /// Ours: it should not have happened.
    Bug,
    /// The command line or the configuration.
    Configuration,
    /// The answer to what was asked is no, and there is a sentence to it: an unknown WHAT, an existing file.
    Denied,
    /// The system, the disk, another process, the clock.
    World,
}

/// A command's failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    blame: Blame,
    sentence: String,
    hint: Option<String>,
}

impl Fault {
    /// Our bug.
    pub(crate) fn bug(sentence: impl fmt::Display) -> Self {
        Self::new(Blame::Bug, sentence).hint(
            "this is a bug in countersign: please report it with the command and this message",
        )
    }

    /// The command line or the configuration is wrong.
    pub(crate) fn configuration(sentence: impl fmt::Display) -> Self {
        Self::new(Blame::Configuration, sentence)
    }

    /// The answer is no.
    pub(crate) fn denied(sentence: impl fmt::Display) -> Self {
        Self::new(Blame::Denied, sentence)
    }

    /// The world failed.
    pub(crate) fn world(sentence: impl fmt::Display) -> Self {
        Self::new(Blame::World, sentence)
    }

    /// Any of them.
    pub(crate) fn new(blame: Blame, sentence: impl fmt::Display) -> Self {
        Self {
            blame,
            sentence: sentence.to_string(),
            hint: None,
        }
    }

    /// What to do about it.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// What to do about it, where that is known.
    #[must_use]
    pub(crate) fn maybe_hint(mut self, hint: Option<impl Into<String>>) -> Self {
        self.hint = hint.map(Into::into).or(self.hint);
        self
    }

    /// What to do about it, where nothing better is said.
    #[must_use]
    pub(crate) fn or_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = self.hint.or_else(|| Some(hint.into()));
        self
    }

    /// What it is about, in front of the sentence.
    #[must_use]
    pub(crate) fn about(mut self, path: &Path) -> Self {
        self.sentence = format!("{}: {}", path.display(), self.sentence);
        self
    }

    /// One more fact, behind the sentence.
    #[must_use]
    pub(crate) fn because(mut self, fact: impl fmt::Display) -> Self {
        self.sentence = format!("{}: {fact}", self.sentence);
        self
    }

    /// The sentence alone.
    pub(crate) fn sentence(&self) -> &str {
        &self.sentence
    }

    /// The exit code (DESIGN §6; 70 is `EX_SOFTWARE` of sysexits.h).
    pub(crate) const fn exit_code(&self) -> u8 {
        match self.blame {
            Blame::Bug => 70,
            Blame::Configuration => 2,
            Blame::Denied => 1,
            Blame::World => 3,
        }
    }

    /// What goes to standard error: whatever others have written in it, a terminal may show it.
    pub(crate) fn render(&self, json: bool) -> String {
        #[derive(Serialize)]
        struct Wire<'a> {
            error: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            hint: Option<&'a str>,
            exit_code: u8,
        }
        if json {
            let wire = Wire {
                error: &self.sentence,
                hint: self.hint.as_deref(),
                exit_code: self.exit_code(),
            };
            let line = serde_json::to_string(&wire).expect("two texts and a number are JSON");
            return shown_json(&line);
        }
        shown(&match &self.hint {
            Some(hint) => format!("error: {}\nhint: {hint}", self.sentence),
            None => format!("error: {}", self.sentence),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_follow_the_blame() {
        assert_eq!([Answer::Yes, Answer::No].map(Answer::exit_code), [0, 1]);
        assert_eq!(Fault::denied("x").exit_code(), 1);
        assert_eq!(Fault::configuration("x").exit_code(), 2);
        assert_eq!(Fault::world("x").exit_code(), 3);
        assert_eq!(Fault::bug("x").exit_code(), 70);
    }

    #[test]
    fn faults_read_error_then_hint() {
        let fault = Fault::world("cannot listen on 127.0.0.1:8443: the port is in use")
            .hint("choose another port");
        assert_eq!(
            fault.render(false),
            "error: cannot listen on 127.0.0.1:8443: the port is in use\nhint: choose another port"
        );
        assert_eq!(
            fault.render(true),
            r#"{"error":"cannot listen on 127.0.0.1:8443: the port is in use","hint":"choose another port","exit_code":3}"#
        );
        assert_eq!(
            Fault::world("x").render(true),
            r#"{"error":"x","exit_code":3}"#
        );
    }
}
