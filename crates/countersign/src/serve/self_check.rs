//! The gateway asks itself now and then, over the network as anybody could, whether it shuts out whom it must: what drifts is heard of
//! before somebody else finds it.

mod pace;
mod standing;

use std::sync::Arc;
use std::time::Duration;

use countersign_authority::admin;
use countersign_authority::authority::Authority;
use countersign_authority::client::AdminClient;
use countersign_diagnose::scan::{Reception, Visit, Visitor, silent, undecided};
use countersign_policy::issuance::Actor;
use countersign_proxy::metrics::Metrics;
use countersign_runtime::clock::{Clock as _, SystemClock};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use self::pace::{Pace, Schedule};
use self::standing::Standing;
use super::tasks::Tasks;
use crate::canary::Canaries;
use crate::configuration::{Configuration, Files};
use crate::scan::doorway::Doorway;
use crate::scan::visit;

/// What is looked at, and how often.
#[derive(Clone, Debug)]
pub(crate) struct Watched {
    /// Every door of the configuration in force.
    pub(crate) doorways: Vec<Doorway>,
    /// How many things of the configuration are not looked at, or not by everybody.
    pub(crate) left_out: usize,
    /// `None`: never.
    pub(crate) every: Option<Duration>,
    /// What is in force.
    pub(crate) configuration: Configuration,
    /// What was read for it.
    pub(crate) files: Files,
}

impl Watched {
    /// `None`: there is nothing to look at, or nobody wants it looked at.
    fn every(&self) -> Option<Duration> {
        self.every.filter(|_| !self.doorways.is_empty())
    }

    /// Of how many things a look says nothing, or too little. Only an authority at hand makes canaries, which some listeners are to refuse.
    fn unseen(&self, has_canaries: bool) -> usize {
        let waits = |it: &&Doorway| !has_canaries && it.must_refuse(Visitor::Revoked);
        self.left_out + self.doorways.iter().filter(waits).count()
    }
}

/// What a look found.
#[derive(Clone, Debug)]
struct Found {
    /// Everybody was refused who has to be, and every listener answered.
    is_shut: bool,
    /// Who was not refused, and at which address.
    came_in: Vec<(Visitor, String)>,
}

impl Found {
    /// Whether somebody came in who has to be refused by what is in force now.
    fn is_open_still(&self, doorways: &[Doorway]) -> bool {
        let has_to_be_refused = |(visitor, address): &(Visitor, String)| {
            doorways
                .iter()
                .any(|it| it.door.address == *address && it.must_refuse(*visitor))
        };
        self.came_in.iter().any(has_to_be_refused)
    }
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
    let standing = Standing::default();
    let (shown, in_force, has_canaries) = (standing.clone(), watched.clone(), authority.is_some());
    metrics.watch_enforcement(move || {
        let unseen = in_force.borrow().unseen(has_canaries);
        shown.figures(Instant::now(), unseen)
    });
    let look = move |doorways: Vec<Doorway>| {
        let authority = authority.clone();
        async move { look(&doorways, authority.as_ref()).await }
    };
    let checks = check(watched, look, standing, Pace::USUAL);
    tasks.spawn_endless("the check of what is enforced", checks);
}

async fn check<L>(
    mut watched: watch::Receiver<Watched>,
    look: impl Fn(Vec<Doorway>) -> L,
    standing: Standing,
    pace: Pace,
) where
    L: Future<Output = Option<Found>> + Send + 'static,
{
    let mut every = watched.borrow_and_update().every();
    let mut schedule = Schedule::new(pace, every, Instant::now());
    standing.await_one(every, pace.longest, Instant::now());
    loop {
        let wait = async {
            match every {
                Some(_) => sleep_until(schedule.due()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = wait => {}
            changed = watched.changed() => {
                if changed.is_err() {
                    return std::future::pending().await;
                }
                let before = every;
                every = watched.borrow_and_update().every();
                if every != before {
                    standing.await_one(every, pace.longest, Instant::now());
                }
                schedule.changed(Instant::now());
                continue;
            }
        }
        let begun = Instant::now();
        let look = tokio::spawn(look(watched.borrow().doorways.clone()));
        let unfinished = look.abort_handle();
        let told = timeout(pace.longest, look).await;
        unfinished.abort();
        let ended = Instant::now();
        // What changed since may have opened listeners that it did not see, and closed those of which it speaks.
        let is_of_the_past = watched.has_changed().unwrap_or(false);
        schedule.looked(ended, every, is_of_the_past);
        let counts =
            |found: &Found| !is_of_the_past || found.is_open_still(&watched.borrow().doorways);
        match told {
            Ok(Ok(Some(found))) if counts(&found) => {
                let life = every.map(|every| (every + (ended - begun)) * STANDS_FOR);
                let counts_until = life.map_or(ended, |life| ended + life);
                standing.found(found.is_shut, SystemClock.unix_seconds(), counts_until);
            }
            _ if is_of_the_past => {}
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::warn!(target: "self_check", %error, "the check broke off"),
            Err(_) => tracing::warn!(target: "self_check", "the check took too long"),
        }
    }
}

/// Whether everybody was refused who has to be; `None`: there is nothing to look at, or not everybody could be sent.
async fn look(doorways: &[Doorway], authority: Option<&AdminClient>) -> Option<Found> {
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
    let found = tell(&visits);
    for visit in undecided(&visits) {
        is_whole = false;
        let Reception::Unclear(why) = &visit.reception else {
            continue;
        };
        tracing::warn!(target: "self_check", door = visit.door.name, address = visit.door.address, visitor = visit.visitor.who(), answer = why,
            "it cannot be told whether somebody is refused who has to be");
    }
    (is_whole || !found.is_shut).then_some(found)
}

/// The log says who came in, and which listener answered nobody.
fn tell(visits: &[Visit]) -> Found {
    let mut came_in = Vec::new();
    for Visit {
        door,
        visitor,
        reception,
    } in visits
    {
        match reception {
            Reception::Admitted(how) => {
                came_in.push((*visitor, door.address.clone()));
                tracing::error!(target: "self_check", door = door.name, address = door.address, visitor = visitor.who(), answer = how,
                    "somebody came in who has to be refused: `countersign scan --config FILE` shows it");
            }
            Reception::RefusedBehind(how) => {
                came_in.push((*visitor, door.address.clone()));
                tracing::error!(target: "self_check", door = door.name, address = door.address, visitor = visitor.who(), answer = how,
                    "somebody was refused only by what stands behind TLS: `countersign scan --config FILE` shows it");
            }
            Reception::Refused(_) | Reception::Unclear(_) => {}
        }
    }
    let mut is_shut = came_in.is_empty();
    for door in silent(visits) {
        is_shut = false;
        tracing::warn!(target: "self_check", door = door.name, address = door.address, "a listener answered nobody, so that nothing is known of it");
    }
    Found { is_shut, came_in }
}

/// One look may be missed for a restart of the authority, and a second one while somebody finds out.
const STANDS_FOR: u32 = 3;

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use countersign_diagnose::scan::{Door, Visitor};
    use tokio::sync::mpsc;

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
        assert!(tell(&of_one).is_shut);
        let silent = visit("c", "127.0.0.1:2", Visitor::Nobody, unclear());
        assert!(!tell(&[&of_one[..], &[silent]].concat()).is_shut);
        let admitted = Reception::Admitted("HTTP 200".to_owned());
        let open = visit("b", "127.0.0.1:1", Visitor::Unnamed, admitted);
        assert!(!tell(&[&of_one[..], &[open]].concat()).is_shut);
        let behind = Reception::RefusedBehind("HTTP 403".to_owned());
        let taken = visit("a", "127.0.0.1:1", Visitor::Stranger, behind);
        assert!(!tell(&[&of_one[..], &[taken]].concat()).is_shut);
    }

    fn watched(address: &str, mode: &str) -> Watched {
        let configuration = format!(
            "[[gateway.listener]]\naddress = \"{address}\"\nclient_certificate = \"{mode}\"\n\
             [[gateway.listener.route]]\nupstream = \"demo\"\nallow = [\"any-trusted\"]\n"
        );
        let configuration: Configuration = toml::from_str(&configuration).expect("TOML");
        let loaded = crate::configuration::Loaded::in_memory(configuration.clone());
        let (doorways, left_out) = crate::scan::doorway::doorways(&loaded);
        Watched {
            doorways,
            left_out: left_out.len(),
            every: Some(Duration::ZERO),
            configuration,
            files: Files::new(),
        }
    }

    #[test]
    fn places_that_cannot_be_looked_at_are_counted() {
        let mut partner = watched("127.0.0.1:8443", "require");
        assert_eq!((partner.unseen(true), partner.unseen(false)), (0, 1));
        partner.configuration.gateway.listener[0].trust = vec!["acme".to_owned()];
        let loaded = crate::configuration::Loaded::in_memory(partner.configuration.clone());
        let (doorways, left_out) = crate::scan::doorway::doorways(&loaded);
        (partner.doorways, partner.left_out) = (doorways, left_out.len());
        assert_eq!((partner.unseen(true), partner.unseen(false)), (1, 1));
        // Where nobody is asked for a certificate, none is missed.
        let open = watched("127.0.0.1:8443", "off");
        assert_eq!(open.unseen(false), 0);
    }

    #[tokio::test]
    async fn whoever_came_in_counts_though_the_configuration_was_replaced_meanwhile() {
        const HERE: &str = "127.0.0.1:8443";
        let pace = Pace {
            first: Duration::ZERO,
            settled: Duration::ZERO,
            least: Duration::ZERO,
            longest: Duration::from_mins(1),
        };
        let found = |came_in: &[Visitor], is_shut| Found {
            is_shut,
            came_in: (came_in.iter())
                .map(|visitor| (*visitor, HERE.to_owned()))
                .collect(),
        };
        let case = async |found: Found, becomes: Watched, expected: Option<bool>| {
            let (sender, receiver) = watch::channel(watched(HERE, "require"));
            let (begun, mut looks) = mpsc::unbounded_channel();
            let said = format!("{found:?} and {:?}", becomes.configuration.gateway.listener);
            // The second look is one too many: the first was heard of by then.
            let look = move |_| {
                let (sender, found, becomes) = (sender.clone(), found.clone(), becomes.clone());
                let _ = begun.send(());
                async move {
                    if sender.borrow().configuration == becomes.configuration {
                        return std::future::pending().await;
                    }
                    sender.send_replace(becomes);
                    Some(found)
                }
            };
            let standing = Standing::default();
            let checks = tokio::spawn(check(receiver, look, standing.clone(), pace));
            for _ in 0..2 {
                looks.recv().await.expect("it goes on");
            }
            checks.abort();
            let figures = standing.figures(Instant::now(), 0);
            let told = figures.filter(|it| it.last_check_unix_s.is_some());
            assert_eq!(told.map(|it| it.is_ok), expected, "{said}");
        };
        let changed = || watched(HERE, "request");
        let revoked = || found(&[Visitor::Revoked], false);
        case(revoked(), changed(), Some(false)).await;
        case(
            found(&[Visitor::Nobody, Visitor::Revoked], false),
            changed(),
            Some(false),
        )
        .await;
        // Gone is the listener, or the duty to refuse.
        case(revoked(), watched("127.0.0.1:8444", "require"), None).await;
        case(found(&[Visitor::Nobody], false), changed(), None).await;
        // One that was not there yet, or is not any more, may well be silent; and nothing new was seen to be shut.
        case(found(&[], false), changed(), None).await;
        case(found(&[], true), changed(), None).await;
    }

    /// Says when the look that holds it is ended.
    struct Ends(mpsc::UnboundedSender<&'static str>);

    impl Drop for Ends {
        fn drop(&mut self) {
            let _ = self.0.send("ended");
        }
    }

    #[tokio::test]
    async fn look_that_takes_too_long_is_ended_before_the_next_begins_and_says_nothing() {
        let pace = Pace {
            first: Duration::ZERO,
            settled: Duration::ZERO,
            least: Duration::ZERO,
            longest: Duration::from_millis(20),
        };
        let (_sender, watched) = watch::channel(watched("127.0.0.1:8443", "require"));
        let (sender, mut seen) = mpsc::unbounded_channel();
        let standing = Standing::default();
        let looks = Arc::new(AtomicUsize::new(0));
        let look = move |_| {
            let (sender, looks) = (sender.clone(), Arc::clone(&looks));
            async move {
                let _ends = Ends(sender.clone());
                let _ = sender.send("begun");
                if looks.fetch_add(1, Ordering::Relaxed) == 2 {
                    return Some(Found {
                        is_shut: true,
                        came_in: Vec::new(),
                    });
                }
                std::future::pending().await
            }
        };
        let checks = tokio::spawn(check(watched, look, standing.clone(), pace));
        let mut told = Vec::new();
        for _ in 0..7 {
            told.push(seen.recv().await.expect("it goes on"));
            if told.len() == 4 {
                let figures = standing.figures(Instant::now(), 0);
                assert!(!figures.is_some_and(|it| it.is_ok), "nothing was seen");
            }
        }
        checks.abort();
        assert_eq!(
            told,
            [
                "begun", "ended", "begun", "ended", "begun", "ended", "begun"
            ]
        );
        let figures = standing.figures(Instant::now(), 0).expect("a whole look");
        assert!(figures.last_check_unix_s.is_some());
    }
}
