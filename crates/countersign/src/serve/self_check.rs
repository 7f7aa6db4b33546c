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
        let unfinished = look.abort_handle();
        let told = timeout(LONGEST, look).await;
        unfinished.abort();
        looked_at = Some(Instant::now());
        due = Instant::now() + every.unwrap_or(FIRST);
        if watched.has_changed().unwrap_or(false) {
            // It may have spoken of listeners that are no more.
            due = Instant::now() + LEAST;
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
    let mut visits = Vec::new();
    for doorway in doorways {
        visits.extend(visit(doorway, canaries.as_ref()).await);
    }
    let is_shut = tell(&visits);
    (is_whole || !is_shut).then_some(is_shut)
}

/// Whether nobody came in and every listener answered somebody; the log says who did, and which did not.
fn tell(visits: &[Visit]) -> bool {
    let mut is_shut = true;
    for Visit {
        door,
        visitor,
        reception,
    } in visits
    {
        if let Reception::Admitted(how) = reception {
            is_shut = false;
            tracing::error!(target: "self_check", door = door.name, address = door.address, visitor = visitor.who(), answer = how,
                "somebody came in who has to be refused: `countersign scan --config FILE` shows it");
        }
    }
    for door in silent(visits) {
        is_shut = false;
        tracing::warn!(target: "self_check", door = door.name, address = door.address, "a listener answered nobody, so that nothing is known of it");
    }
    is_shut
}

/// Whoever starts in a row of starts is not looked at in each.
const FIRST: Duration = Duration::from_mins(1);

/// After a change listeners are bound anew.
const SETTLED: Duration = Duration::from_secs(5);

/// Between a look and one for a change.
const LEAST: Duration = Duration::from_mins(1);

/// Some hundred doors that each answer nobody.
const LONGEST: Duration = Duration::from_mins(30);

#[cfg(test)]
mod tests {
    use countersign_diagnose::scan::{Door, Visitor};

    use super::*;

    fn visit(name: &str, address: &str, visitor: Visitor, reception: Reception) -> Visit {
        Visit {
            door: Door {
                name: name.to_owned(),
                address: address.to_owned(),
            },
            visitor,
            reception,
        }
    }

    #[test]
    fn further_route_at_which_nothing_can_be_shown_is_no_silent_listener() {
        let refused = || Reception::Refused("alert".to_owned());
        let unclear = || Reception::Unclear("it was not shown".to_owned());
        let of_one = [
            visit("a", "127.0.0.1:1", Visitor::Nobody, refused()),
            visit("b", "127.0.0.1:1", Visitor::Unnamed, unclear()),
        ];
        assert!(tell(&of_one));
        let silent = visit("c", "127.0.0.1:2", Visitor::Nobody, unclear());
        assert!(!tell(&[&of_one[..], &[silent]].concat()));
        let admitted = Reception::Admitted("HTTP 200".to_owned());
        let open = visit("b", "127.0.0.1:1", Visitor::Unnamed, admitted);
        assert!(!tell(&[&of_one[..], &[open]].concat()));
    }
}
