//! The gateway asks itself now and then, over the network as anybody could, whether it shuts out whom it must: what drifts is heard of
//! before somebody else finds it.

use std::sync::Arc;
use std::time::Duration;

use countersign_authority::admin;
use countersign_authority::authority::Authority;
use countersign_authority::client::AdminClient;
use countersign_diagnose::scan::{Reception, Visit, silent};
use countersign_policy::issuance::Actor;
use countersign_proxy::metrics::Metrics;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use super::tasks::Tasks;
use crate::canary::Canaries;
use crate::scan::doorway::Doorway;
use crate::scan::visit;

/// What is looked at, and how often.
#[derive(Clone, Debug)]
pub(crate) struct Watched {
    /// Every door of the configuration in force.
    pub(crate) doorways: Vec<Doorway>,
    /// `None`: never.
    pub(crate) every: Option<Duration>,
}

/// Begins a minute after the start.
pub(super) fn spawn(
    tasks: &mut Tasks,
    watched: watch::Receiver<Watched>,
    authority: Option<&Arc<Authority>>,
    metrics: &Metrics,
) {
    let authority = authority.map(|authority| {
        AdminClient::in_process(admin::router(Arc::clone(authority)), Actor::Authority)
    });
    let checks = check(watched, authority, metrics.clone());
    tasks.spawn_endless("the check of what is enforced", checks);
}

async fn check(
    mut watched: watch::Receiver<Watched>,
    authority: Option<AdminClient>,
    metrics: Metrics,
) {
    let first = watched
        .borrow()
        .every
        .map_or(FIRST, |every| every.min(FIRST));
    let mut due = Instant::now() + first;
    let mut looked_at = None;
    loop {
        let every = watched.borrow_and_update().every;
        let wait = async {
            match every {
                Some(_) => sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = wait => {}
            changed = watched.changed() => {
                if changed.is_err() {
                    return std::future::pending().await;
                }
                // What was just changed is looked at soon, and not at each of many changes.
                let soon = Instant::now() + SETTLED;
                let not_before = looked_at.map_or(soon, |last: Instant| last + LEAST);
                due = due.min(soon.max(not_before));
                continue;
            }
        }
        let doorways = watched.borrow().doorways.clone();
        let authority = authority.clone();
        let look = tokio::spawn(async move { look(&doorways, authority.as_ref()).await });
        let told = timeout(LONGEST, look).await;
        looked_at = Some(Instant::now());
        due = Instant::now() + every.unwrap_or(FIRST);
        if watched.has_changed().unwrap_or(false) {
            // It may have spoken of listeners that are no more.
            due = Instant::now() + SETTLED;
            continue;
        }
        match told {
            Ok(Ok(Some(is_shut))) => metrics.tell_enforcement(is_shut),
            Ok(Ok(None)) => {}
            Ok(Err(error)) => tracing::warn!(target: "self_check", %error, "the check broke off"),
            Err(_) => tracing::warn!(target: "self_check", "the check took too long"),
        }
    }
}

/// Whether everybody was refused who has to be; `None`: there is nothing to look at, or not everybody could be sent.
async fn look(doorways: &[Doorway], authority: Option<&AdminClient>) -> Option<bool> {
    if doorways.is_empty() {
        return None;
    }
    let mut is_whole = true;
    let canaries = match authority {
        Some(client) => match Canaries::make(client).await {
            Ok(canaries) => Some(canaries),
            // Issuing may be paused, or the keys still be sealed: what needs none is looked at all the same.
            Err(fault) => {
                tracing::warn!(target: "self_check", error = fault.sentence(), "no canary can be issued");
                is_whole = false;
                None
            }
        },
        None => None,
    };
    let mut is_shut = true;
    for doorway in doorways {
        let visits = visit(doorway, canaries.as_ref()).await;
        for Visit {
            door,
            visitor,
            reception,
        } in &visits
        {
            if let Reception::Admitted(how) = reception {
                is_shut = false;
                tracing::error!(target: "self_check", door = door.name, address = door.address, visitor = visitor.who(), answer = how,
                    "somebody came in who has to be refused: `countersign scan --config FILE` shows it");
            }
        }
        for door in silent(&visits) {
            is_shut = false;
            tracing::warn!(target: "self_check", door = door.name, address = door.address, "a listener answered nobody, so that nothing is known of it");
        }
    }
    (is_whole || !is_shut).then_some(is_shut)
}

/// Whoever starts in a row of starts is not looked at in each.
const FIRST: Duration = Duration::from_mins(1);

/// After a change listeners are bound anew.
const SETTLED: Duration = Duration::from_secs(5);

/// Between a look and one for a change.
const LEAST: Duration = Duration::from_mins(1);

/// Some hundred doors that each answer nobody.
const LONGEST: Duration = Duration::from_mins(30);
