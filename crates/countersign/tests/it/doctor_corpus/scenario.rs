//! One reported failure, or one set-up in which nothing is wrong.

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
    /// The first is the true root cause. Others stand beside it only where what is at hand does not decide between them.
    Root(&'static [Cause]),
}

impl Expect {
    /// Whether an answer is right: the first fault's cause, or `None` for a healthy one.
    pub(crate) fn is_met_by(self, found: Option<&str>) -> bool {
        match self {
            Self::Healthy => found.is_none(),
            Self::Root(causes) => {
                found.is_some_and(|found| causes.iter().any(|cause| cause.slug() == found))
            }
        }
    }

    /// As the table shows it.
    pub(crate) const fn slug(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Root(causes) => causes[0].slug(),
        }
    }
}
