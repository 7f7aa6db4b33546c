//! How a break-glass listener stands, for the admin socket.

use std::time::Duration;

use countersign_pki::time::UnixTime;
use serde::Serialize;

use super::{BreakGlass, Live};

/// How an arming stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BreakGlassStatus {
    /// The listener.
    pub listener: String,
    /// Whether it admits.
    pub armed: bool,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Who armed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// The operators who approved.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub approvers: Vec<String>,
    /// Since when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since_unix_s: Option<u64>,
    /// Until when at the latest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_unix_s: Option<u64>,
    /// The longest that it may be armed.
    pub max_duration_s: u64,
    /// How many operators have to approve.
    pub approvals_needed: usize,
    /// Those who may.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub may_approve: Vec<String>,
}

impl BreakGlass {
    pub(crate) fn status(&self) -> BreakGlassStatus {
        let terms = self.terms.load();
        let live = self.enter().ok();
        let armed = live.as_ref().map(|live| &live.armed);
        BreakGlassStatus {
            listener: self.name.clone(),
            armed: armed.is_some(),
            reason: armed.map(|it| it.statement().reason().as_str().to_owned()),
            by: armed.map(|it| it.by().to_owned()),
            approvers: armed.map_or_else(Vec::new, |it| it.approvers().to_vec()),
            since_unix_s: armed.map(|it| it.since().seconds()),
            expires_unix_s: live.as_ref().map(|live| self.ends(live).seconds()),
            max_duration_s: terms.rules.max_duration.as_secs(),
            approvals_needed: terms.rules.approvals,
            may_approve: terms
                .rules
                .approvers
                .iter()
                .map(ToString::to_string)
                .collect(),
        }
    }

    /// In whole seconds, and never later than what was asked for.
    fn ends(&self, live: &Live) -> UnixTime {
        let left = self.left(live) + Duration::from_millis(999);
        live.armed.statement().expires().min(self.now().plus(left))
    }
}
