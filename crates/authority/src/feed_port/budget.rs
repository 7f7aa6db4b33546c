//! How many certificates a node gets: each stays in the inventory and in the audit log for ever, and whoever has a node's key
//! could ask without end.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// What each node may still ask for.
#[derive(Debug, Default)]
pub(super) struct Budget(
    /// Invariant: who is not in here has all of it.
    Mutex<BTreeMap<String, Allowance>>,
);

#[derive(Clone, Copy, Debug)]
struct Allowance {
    left: u32,
    since: Instant,
}

impl Budget {
    /// Whether `node` may have one more.
    pub(super) fn admits(&self, node: &str) -> bool {
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
        let allowance = allowances.entry(node.to_owned()).or_insert(full);
        let admits = allowance.left > 0;
        allowance.left = allowance.left.saturating_sub(1);
        admits
    }
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
pub(super) const BURST: u32 = 32;

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
