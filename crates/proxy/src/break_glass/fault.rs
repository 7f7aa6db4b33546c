//! Why nobody passes through a break-glass listener, and why one was not armed.

use countersign_diagnose::cause::Cause;
use countersign_diagnose::evidence::Evidence;
use countersign_diagnose::refusal::Refusal;
use countersign_pki::chain::Purpose;
use countersign_pki::time::UnixTime;
use countersign_policy::break_glass::{Denied, InvalidPaper};

/// Why nobody passes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Shut {
    NotArmed,
    TooMany { per_minute: u32, what: &'static str },
    Unrecorded { why: String },
}

/// Why it was not armed, or not as wished.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArmError {
    /// There is an arming already.
    #[error("listener {listener} is armed already, until {until}")]
    AlreadyArmed {
        /// Which.
        listener: String,
        /// Its end.
        until: UnixTime,
    },
    /// A reason and a time where only approvals count.
    #[error("it is armed by what {needed} operators have approved of, and by nothing else")]
    ByApproval {
        /// How many have to.
        needed: usize,
    },
    /// Approvals are needed and nothing was asked for.
    #[error("nothing was asked for that could have been approved")]
    NoRequest,
    /// The rules say no.
    #[error("{denied}{}", details(.denied))]
    Denied {
        /// Why.
        #[from]
        denied: Denied,
    },
    /// An approval that is none.
    #[error("approval {number} is none: {invalid}")]
    Invalid {
        /// From 1 on.
        number: usize,
        /// Why.
        invalid: InvalidPaper,
    },
    /// What is not on record does not happen.
    #[error("it cannot be recorded: {why}")]
    Disk {
        /// Why.
        why: String,
    },
    /// Somebody shut it meanwhile.
    #[error("it was disarmed, or configured anew, while it was about to be armed")]
    Overtaken,
    /// No randomness.
    #[error("the system's random source gave nothing")]
    NoRandomness,
}

impl ArmError {
    /// What to do.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::AlreadyArmed { .. } => {
                Some("`countersign break-glass disarm LISTENER` ends it; then arm it anew")
            }
            Self::ByApproval { .. } => Some(
                "`countersign break-glass request LISTENER --for TIME --because TEXT` asks for it; then arm with --approval alone",
            ),
            Self::NoRequest => Some(
                "`countersign break-glass request LISTENER --for TIME --because TEXT` comes first; a restart of the gateway forgets it",
            ),
            Self::Denied { denied } => denied.hint(),
            Self::Invalid { .. } => Some(
                "`countersign break-glass approve REQUEST --as DIR` writes an approval; hand the file over as it is",
            ),
            Self::Disk { .. } => Some("make room on the disk of the state folder"),
            Self::Overtaken => {
                Some("look at `countersign break-glass status`; if it is still needed, ask again")
            }
            Self::NoRandomness => None,
        }
    }
}

pub(super) fn details(denied: &Denied) -> String {
    match denied {
        Denied::NoOperator { fault } => {
            let refusal = countersign_diagnose::chain::refusal(fault, Purpose::ClientAuth);
            format!(": {} ({})", refusal.sentence(), refusal.cause)
        }
        _ => String::new(),
    }
}

impl Shut {
    pub(crate) fn refusal(&self, listener: &str) -> Refusal {
        let evidence = Evidence::new().with("break_glass", listener);
        let (cause, sentence) = match self {
            Self::NotArmed => (
                Cause::BreakGlassShut,
                format!("break-glass listener {listener} is not armed"),
            ),
            Self::TooMany { per_minute, what } => (
                Cause::RateLimited,
                format!(
                    "more than {per_minute} {what} in a minute through break-glass listener {listener}"
                ),
            ),
            Self::Unrecorded { why } => (
                Cause::BreakGlassShut,
                format!("the use of break-glass listener {listener} cannot be recorded: {why}"),
            ),
        };
        Refusal::new(cause, sentence, evidence)
    }

    pub(crate) fn status(&self) -> http::StatusCode {
        match self {
            Self::TooMany { .. } => http::StatusCode::TOO_MANY_REQUESTS,
            Self::NotArmed | Self::Unrecorded { .. } => http::StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}
