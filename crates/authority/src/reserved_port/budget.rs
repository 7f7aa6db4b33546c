//! How many certificates a node or an operator gets by itself: each stays in the inventory and in the audit log for ever, and
//! whoever has its key could ask without end.

use std::time::Duration;

use axum::http::StatusCode;
use countersign_policy::issuance::Actor;
use tokio::time::Instant;

use crate::allowance::Allowances;
use crate::authority::Authority;
use crate::problem::Problem;

/// What each holder may still ask for.
#[derive(Debug)]
pub(crate) struct Budget {
    begun: Instant,
    certificates: Allowances,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            begun: Instant::now(),
            certificates: Allowances::new(BURST, REFILL),
        }
    }
}

/// Of one who is asked for too much.
pub(crate) async fn within(
    budget: &Budget,
    authority: &Authority,
    holder: &str,
    actor: Actor,
) -> Result<(), Problem> {
    if budget.certificates.admits(holder, budget.begun.elapsed()) {
        return Ok(());
    }
    let why = format!("it has had {BURST} certificates, and gets one a minute from now on");
    authority
        .refused(actor, "a further certificate", &why)
        .await;
    Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, why))
}

/// A node has one certificate of its own and one for its listeners, each renewed at half of its life; this is for one that
/// is set up, started again and again, and reloaded with other names.
pub(crate) const BURST: u32 = 32;

/// The shortest life that makes sense is an hour.
const REFILL: Duration = Duration::from_mins(1);
