//! What follows from the answers that are at hand.

use super::{OcspAnswer, OcspStatus};
use crate::revocation::{Revocation, RevocationMode, RevocationStatus};
use crate::time::UnixTime;

/// Why a responder says nothing that could be relied on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OcspFault {
    /// What it says is no answer to the question.
    Invalid {
        /// Why not.
        why: String,
    },
    /// The last answer is over, and none follows it.
    Stale {
        /// When it ended.
        ended: UnixTime,
        /// Why there is no other.
        why: String,
    },
    /// It does not know the certificate.
    Unknown,
    /// It does not answer.
    Unreachable {
        /// What happened instead.
        why: String,
    },
}

/// How a certificate stands by what its responder has said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OcspStanding {
    /// It may pass, on this ground.
    Admitted(RevocationStatus),
    /// Nobody knows yet: the responder has to be asked first.
    Awaited,
    /// It is revoked.
    Revoked(Revocation),
    /// It may not pass, because this says nothing.
    Refused(OcspFault),
}

impl OcspStanding {
    /// `failure`: what the last attempt to get an answer came to, if it was in vain; `None`: there was none since the answer.
    ///
    /// Invariant: whoever was said to be revoked stays so until something newer is said, however old that is, in every mode.
    pub fn of(
        answer: Option<&OcspAnswer>,
        failure: Option<&OcspFault>,
        mode: RevocationMode,
        now: UnixTime,
    ) -> Self {
        if let Some(OcspAnswer {
            status: OcspStatus::Revoked(revocation),
            ..
        }) = answer
        {
            return Self::Revoked(*revocation);
        }
        if let Some(fresh) = answer.filter(|answer| now <= answer.until) {
            return match fresh.status {
                OcspStatus::Unknown => Self::Refused(OcspFault::Unknown),
                _ => Self::Admitted(RevocationStatus::Checked),
            };
        }
        let Some(failure) = failure else {
            return Self::Awaited;
        };
        let was_good = answer.filter(|answer| answer.status == OcspStatus::Good);
        match (mode, was_good) {
            (RevocationMode::DangerousSoft, _) => Self::Admitted(RevocationStatus::NotChecked),
            (RevocationMode::Grace(grace), Some(last)) if now <= last.until.plus(grace) => {
                Self::Admitted(RevocationStatus::InGrace)
            }
            (_, Some(last)) => Self::Refused(OcspFault::Stale {
                ended: last.until,
                why: failure.why(),
            }),
            (_, None) => Self::Refused(failure.clone()),
        }
    }
}

impl OcspFault {
    /// The same in at most 512 characters: it is kept for each certificate, and a responder chooses some of its words.
    #[must_use]
    pub fn bounded(self) -> Self {
        let short = |why: String| why.chars().take(MAX_WHY_CHARS).collect();
        match self {
            Self::Invalid { why } => Self::Invalid { why: short(why) },
            Self::Stale { ended, why } => Self::Stale {
                ended,
                why: short(why),
            },
            Self::Unknown => Self::Unknown,
            Self::Unreachable { why } => Self::Unreachable { why: short(why) },
        }
    }

    fn why(&self) -> String {
        match self {
            Self::Invalid { why } | Self::Stale { why, .. } | Self::Unreachable { why } => {
                why.clone()
            }
            Self::Unknown => "the responder does not know the certificate".to_owned(),
        }
    }
}

/// A sentence of ours with a URL and a name in it.
const MAX_WHY_CHARS: usize = 512;
