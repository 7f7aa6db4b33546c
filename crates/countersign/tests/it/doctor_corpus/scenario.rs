//! One reported failure, or one set-up in which nothing is wrong.

use std::fmt;

use countersign_diagnose::cause::Cause;

use crate::doctor_corpus::workshop::{Invocation, Workshop};

/// Something that the doctor is asked to judge.
pub(crate) struct Scenario {
    /// What the table shows; unique.
    pub(crate) name: &'static str,
    /// The public report that it is modelled on.
    pub(crate) source: &'static str,
    pub(crate) expect: Expect,
    /// Plants the fault, starts what has to run, and says what is asked.
    pub(crate) build: fn(&mut Workshop) -> Invocation,
}

/// What is right.
#[derive(Clone, Copy)]
pub(crate) enum Expect {
    /// No fault may be found.
    Healthy,
    /// No fault may be found either, and the first that is said is this risk: it works for this client, not for every one.
    Risk(Cause),
    /// The first is the true root cause. Others stand beside it only where what is at hand does not decide between them.
    Root(&'static [Cause]),
}

/// What was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answered {
    /// The first fault's cause, or why the answer counts for nothing.
    Fault(String),
    /// No fault, with the first finding's cause.
    Sound(Option<String>),
}

impl Expect {
    /// Whether an answer is right.
    pub(crate) fn is_met_by(self, answered: &Answered) -> bool {
        match (self, answered) {
            (Self::Healthy, Answered::Sound(_)) => true,
            (Self::Risk(cause), Answered::Sound(Some(first))) => cause.slug() == first,
            (Self::Root(causes), Answered::Fault(found)) => {
                causes.iter().any(|cause| cause.slug() == found)
            }
            _ => false,
        }
    }

    /// Whether no fault may be found.
    pub(crate) const fn is_sound(self) -> bool {
        !matches!(self, Self::Root(_))
    }

    /// As the table shows it.
    pub(crate) const fn slug(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Risk(cause) => cause.slug(),
            Self::Root(causes) => causes[0].slug(),
        }
    }
}

impl Answered {
    /// Of who says `healthy` or a cause.
    pub(crate) fn of(said: &str) -> Self {
        if said == "healthy" {
            Self::Sound(None)
        } else {
            Self::Fault(said.to_owned())
        }
    }
}

/// As the table shows it.
impl fmt::Display for Answered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fault(cause) => f.pad(cause),
            Self::Sound(None) => f.pad("healthy"),
            Self::Sound(Some(first)) => f.pad(&format!("healthy, {first}")),
        }
    }
}
