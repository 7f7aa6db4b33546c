//! The lists of the CAs above the issuing one end one day, and their keys are far away: people hear of it long before.

use std::sync::Arc;
use std::time::Duration;

use countersign_authority::authority::Authority;
use countersign_pki::time::{UnixTime, spoken};
use countersign_proxy::metrics::Metrics;
use countersign_runtime::clock::SharedClock;
use tokio::time::{MissedTickBehavior, interval};

use super::tasks::Tasks;

/// Watches over them, where there is an authority.
pub(super) fn spawn(
    tasks: &mut Tasks,
    authority: Option<&Arc<Authority>>,
    metrics: &Metrics,
    clock: &SharedClock,
) {
    if let Some(authority) = authority {
        let watched = watch(Arc::clone(authority), metrics.clone(), Arc::clone(clock));
        tasks.spawn_endless("the watch over the root's list", watched);
    }
}

/// Looks each minute. Never ends by itself.
async fn watch(authority: Arc<Authority>, metrics: Metrics, clock: SharedClock) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told_at = None;
    loop {
        ticks.tick().await;
        // What cannot be read is in the status, and is told by whoever publishes it.
        let Ok(lists) = authority.superior_lists().await else {
            continue;
        };
        let ends = lists.iter().filter_map(|list| {
            Some((
                list.next_update()?,
                list.issuer.subject(),
                list.warn_before(),
            ))
        });
        let Some((end, issuer, warn_before)) = ends.min_by_key(|(end, ..)| *end) else {
            continue;
        };
        metrics.tell_root_list_end(end.seconds());
        let now = UnixTime::from_seconds(clock.unix_seconds());
        if now.plus(warn_before) < end || told_at.is_some_and(|told| now < day_after(told)) {
            continue;
        }
        told_at = Some(now);
        let left = spoken(end.since(now));
        if now < end {
            tracing::warn!(target: "publication", %issuer, next_update = %end, left, "a revocation list ends soon: `countersign ca crl --root` or `ca crl import`");
        } else {
            tracing::error!(target: "publication", %issuer, next_update = %end, "a revocation list is over: `countersign ca crl --root` or `ca crl import`");
        }
    }
}

fn day_after(told: UnixTime) -> UnixTime {
    told.plus(Duration::from_hours(24))
}

const TICK: Duration = Duration::from_mins(1);
