//! Every refused request for a certificate has an audit record.
//!
//! Whoever can ask can ask for ever, and the log is never shortened. So each caller has so many records of its own, and what
//! comes past them becomes one record a minute that counts it: nobody's refusals are drowned in those of another.

use std::time::Duration;

use countersign_pki::time::UnixTime;
use countersign_policy::issuance::Actor;

use super::Authority;
use crate::allowance::{Allowances, Counted};

impl Authority {
    /// Records that `actor` asked for `object` (profile and name, as far as they could be read) and did not get it. Past so
    /// many they are counted, and the count becomes a record.
    ///
    /// What cannot be recorded is refused all the same, and logged.
    pub async fn refused(&self, actor: Actor, object: &str, why: &str) {
        self.record_counted(EVERY).await;
        let now = self.now();
        if self.refusals.admits(&actor.to_string(), since_1970(now))
            && let Err(error) = self.store.refuse(actor, object, why, now).await
        {
            tracing::error!(target: "audit", %error, "refusal is not recorded");
        }
    }

    /// Of those who were refused past their bound `after` ago or earlier.
    pub(super) async fn record_counted(&self, after: Duration) {
        let now = self.now();
        for counted in self.refusals.take_counted(since_1970(now), after) {
            let Counted {
                caller,
                times,
                since,
            } = counted;
            let since = UnixTime::from_seconds(since.as_secs());
            let object = format!("{times} further requests of {}", caller.trim_end());
            let why = format!("more than {BURST} at once, or one each 10 s, since {since}");
            let recorded = self.store.refuse(Actor::Authority, &object, &why, now);
            if let Err(error) = recorded.await {
                tracing::error!(target: "audit", %error, times, "refusals are not recorded");
            }
        }
    }
}

/// Records of refusals, for each caller.
pub(crate) fn records() -> Allowances {
    Allowances::new(BURST, REFILL)
}

fn since_1970(now: UnixTime) -> Duration {
    Duration::from_secs(now.seconds())
}

/// A person who tries, or a program that is set up wrongly, is seen entry by entry.
const BURST: u32 = 60;

/// The records of one caller's day under flood, of at most 1 KiB each, stay under 10 MiB.
const REFILL: Duration = Duration::from_secs(10);

/// As often as the counts become records.
pub(super) const EVERY: Duration = Duration::from_mins(1);
