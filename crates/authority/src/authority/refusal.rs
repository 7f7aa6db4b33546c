//! Every refused request for a certificate has an audit record.

use countersign_policy::issuance::Actor;

use super::Authority;
use crate::refusals::{Counted, PER_MINUTE};

impl Authority {
    /// Records that `actor` asked for `object` (profile and name, as far as they could be read) and did not get it. Past so
    /// many in a minute they are counted, and the count becomes a record when the minute is over.
    ///
    /// What cannot be recorded is refused all the same, and logged.
    pub async fn refused(&self, actor: Actor, object: &str, why: &str) {
        self.record_counted(false).await;
        let now = self.now();
        if self.refusals.admits(now)
            && let Err(error) = self.store.refuse(actor, object, why, now).await
        {
            tracing::error!(target: "audit", %error, "refusal is not recorded");
        }
    }

    /// `ends`: there will be no later time to.
    pub(super) async fn record_counted(&self, ends: bool) {
        let now = self.now();
        let Some(Counted { refusals, since }) = self.refusals.take(now, ends) else {
            return;
        };
        let object = format!("{refusals} further requests");
        let why = format!("more than {PER_MINUTE} were refused in the minute since {since}");
        if let Err(error) = self
            .store
            .refuse(Actor::Authority, &object, &why, now)
            .await
        {
            tracing::error!(target: "audit", %error, refusals, "refusals are not recorded");
        }
    }
}
