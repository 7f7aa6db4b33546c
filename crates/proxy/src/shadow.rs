//! Shadow rules: judged beside those in force, counted and told of, and never in effect.

use std::sync::atomic::AtomicU64;

use countersign_pki::identity::VerifiedPeer;
use countersign_policy::access::{AccessPolicy, Asked, Circumstances, Decision, Login, Verdict};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use serde::{Deserialize, Serialize};

use crate::lines::Lines;

/// The rules of a listener as its shadow tables would have them.
pub(crate) struct Shadow {
    pub(crate) policy: AccessPolicy,
    /// By the index of the route: whether it has a shadow. A request of another one is judged once.
    pub(crate) routes: Vec<bool>,
}

/// What the shadow rules said, beside what was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ShadowVerdict {
    /// The same as the rules in force.
    Same,
    /// They would have admitted whom those refused.
    WouldAdmit,
    /// They would have refused whom those admitted.
    WouldRefuse,
}

/// How often they said what, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ShadowFigures {
    /// The same as the rules in force.
    pub same: u64,
    /// They would have admitted whom those refused.
    pub would_admit: u64,
    /// They would have refused whom those admitted.
    pub would_refuse: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ShadowLabels {
    pub(crate) listener: String,
    pub(crate) verdict: &'static str,
}

/// One listener's.
#[derive(Default)]
pub(crate) struct ShadowTally {
    pub(crate) same: Counter<u64, AtomicU64>,
    pub(crate) would_admit: Counter<u64, AtomicU64>,
    pub(crate) would_refuse: Counter<u64, AtomicU64>,
    lines: Lines,
}

impl Shadow {
    /// `None`: the route has no shadow.
    pub(crate) fn of_request(&self, asked: &Asked<'_>, live: &Decision) -> Option<ShadowVerdict> {
        self.has(live)
            .then(|| ShadowVerdict::new(live, self.policy.judge(asked)))
    }

    /// The same on a listener of bytes.
    pub(crate) fn of_connection(
        &self,
        peer: Option<&VerifiedPeer>,
        circumstances: Circumstances,
        live: &Decision,
    ) -> Option<ShadowVerdict> {
        let judge = || self.policy.judge_connection(peer, circumstances);
        self.has(live).then(|| ShadowVerdict::new(live, judge()))
    }

    /// The same on a listener of logins.
    pub(crate) fn of_login(
        &self,
        peer: Option<&VerifiedPeer>,
        login: &Login,
        circumstances: Circumstances,
        live: &Decision,
    ) -> Option<ShadowVerdict> {
        let judge = || self.policy.judge_login(peer, login, circumstances);
        self.has(live).then(|| ShadowVerdict::new(live, judge()))
    }

    fn has(&self, live: &Decision) -> bool {
        live.route()
            .is_some_and(|route| self.routes.get(route) == Some(&true))
    }
}

impl ShadowVerdict {
    fn new(live: &Decision, shadow: Verdict) -> Self {
        match (matches!(live, Decision::Allow { .. }), shadow.is_allow()) {
            (true, false) => Self::WouldRefuse,
            (false, true) => Self::WouldAdmit,
            (true, true) | (false, false) => Self::Same,
        }
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::WouldAdmit => "would-admit",
            Self::WouldRefuse => "would-refuse",
        }
    }
}

impl ShadowTally {
    pub(crate) fn new(
        same: Counter<u64, AtomicU64>,
        would_admit: Counter<u64, AtomicU64>,
        would_refuse: Counter<u64, AtomicU64>,
    ) -> Self {
        Self {
            same,
            would_admit,
            would_refuse,
            lines: Lines::default(),
        }
    }

    /// Counts it; whether it shall be told of too.
    pub(crate) fn note(&self, verdict: ShadowVerdict, now_s: u64) -> bool {
        match verdict {
            ShadowVerdict::Same => self.same.inc(),
            ShadowVerdict::WouldAdmit => self.would_admit.inc(),
            ShadowVerdict::WouldRefuse => self.would_refuse.inc(),
        };
        verdict != ShadowVerdict::Same && self.may_tell(now_s)
    }

    pub(crate) fn figures(&self) -> ShadowFigures {
        ShadowFigures {
            same: self.same.get(),
            would_admit: self.would_admit.get(),
            would_refuse: self.would_refuse.get(),
        }
    }

    pub(crate) fn may_tell(&self, now_s: u64) -> bool {
        self.lines.may_tell(now_s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_differences_is_counted_and_some_lines() {
        let tally = ShadowTally::default();
        let told = |second| {
            let each = (0..1000).filter(|_| tally.note(ShadowVerdict::WouldRefuse, second));
            each.count()
        };
        assert_eq!([told(7), told(7), told(8)], [10, 0, 10]);
        assert!(!tally.note(ShadowVerdict::Same, 9));
        assert_eq!(
            tally.figures(),
            ShadowFigures {
                same: 1,
                would_admit: 0,
                would_refuse: 3000
            }
        );
    }
}
