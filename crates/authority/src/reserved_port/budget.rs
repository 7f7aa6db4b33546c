//! How many certificates a node or an operator gets by itself: each stays in the inventory and in the audit log for ever, and
//! whoever has its key could ask without end.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::http::StatusCode;
use countersign_policy::issuance::Actor;
use tokio::time::Instant;

use crate::authority::Authority;
use crate::problem::Problem;

/// What each holder may still ask for.
#[derive(Debug, Default)]
pub(crate) struct Budget(
    /// Invariant: who is not in here has all of it.
    Mutex<BTreeMap<String, Allowance>>,
);

#[derive(Clone, Copy, Debug)]
struct Allowance {
    left: u32,
    since: Instant,
}

impl Budget {
    /// Whether `holder` may have one more.
    pub(crate) fn admits(&self, holder: &str) -> bool {
        let now = Instant::now();
        let mut allowances = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        allowances.retain(|_, allowance| {
            *allowance = allowance.at(now);
            allowance.left < BURST
        });
        let full = Allowance {
            left: BURST,
            since: now,
        };
        let allowance = allowances.entry(holder.to_owned()).or_insert(full);
        let admits = allowance.left > 0;
        allowance.left = allowance.left.saturating_sub(1);
        admits
    }
}

/// Of one who is asked for too much.
pub(crate) async fn within(
    budget: &Budget,
    authority: &Authority,
    holder: &str,
    actor: Actor,
) -> Result<(), Problem> {
    if budget.admits(holder) {
        return Ok(());
    }
    let why = format!("it has had {BURST} certificates, and gets one a minute from now on");
    authority
        .refused(actor, "a further certificate", &why)
        .await;
    Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, why))
}

impl Allowance {
    fn at(self, now: Instant) -> Self {
        let refills = now.duration_since(self.since).as_secs() / REFILL.as_secs();
        let refills = u32::try_from(refills).unwrap_or(BURST).min(BURST);
        Self {
            left: self.left.saturating_add(refills).min(BURST),
            since: self.since + REFILL * refills,
        }
    }
}

/// A node has one certificate of its own and one for its listeners, each renewed at half of its life; this is for one that
/// is set up, started again and again, and reloaded with other names.
pub(crate) const BURST: u32 = 32;

/// The shortest life that makes sense is an hour.
const REFILL: Duration = Duration::from_mins(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn node_gets_so_many_and_then_one_a_minute_whoever_else_asks() {
        let budget = Budget::default();
        let got = |node: &str| (0..100).filter(|_| budget.admits(node)).count();
        assert_eq!((got("a"), got("b")), (32, 32));
        tokio::time::advance(REFILL.saturating_sub(Duration::from_secs(1))).await;
        assert_eq!(got("a"), 0);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!((got("a"), got("a")), (1, 0));
        tokio::time::advance(REFILL * 1000).await;
        assert_eq!(got("b"), 32);
        assert_eq!(budget.0.lock().expect("whole").len(), 1, "a has all of it");
    }
}
