//! Active checks of upstreams: one task an upstream in the whole process, on a thread of its own, whose verdicts every worker reads.
//!
//! A verdict only ever moves requests to others that pass. Where none does, requests go where they would without checks: a wrong path in the
//! configuration makes nothing unreachable that is there.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use countersign_runtime::clock::SharedClock;
use countersign_runtime::drain::Drain;
use countersign_runtime::workers::Workers;
use countersign_tls::enforcement::Enforcement;
use serde::Serialize;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::metrics::UpstreamMetrics;
use crate::plan::{Bounds, GatewayPlan};
use crate::upstream::{CheckFault, Group, HealthCheck, Members, Upstream};

/// What the process knows of the upstreams that it looks at. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Checks {
    shared: Arc<Shared>,
}

struct Shared {
    /// Who gets nothing while others pass.
    failing: ArcSwap<Vec<Target>>,
    /// In the order of the configuration; written by the checks, read by who asks for the status.
    standings: Mutex<Vec<(Target, Standing)>>,
    targets: watch::Sender<Vec<Target>>,
    metrics: UpstreamMetrics,
    clock: SharedClock,
}

/// An upstream, and how it is looked at. Two routes that do so alike share the task and its verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    upstream: Upstream,
    check: Arc<HealthCheck>,
}

#[derive(Clone, Debug, Default)]
struct Standing {
    streak: Streak,
    since_unix_s: u64,
    fault: Option<String>,
}

/// What checks in a row make of an upstream. Pure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Streak {
    /// `None`: it was never looked at, and counts as one that passes.
    is_failing: Option<bool>,
    /// How many said otherwise, one after the other.
    against: u32,
}

/// An upstream that is looked at, for `status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UpstreamStatus {
    /// Where it is.
    pub upstream: String,
    /// The path that is asked for, or `connect`.
    pub check: String,
    /// `unknown`, `passing` or `failing`.
    pub state: &'static str,
    /// Since when, in Unix seconds; 0: it was not looked at yet.
    pub since_unix_s: u64,
    /// Why the last check failed, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

impl Checks {
    pub(crate) fn new(plan: &GatewayPlan, metrics: UpstreamMetrics, clock: SharedClock) -> Self {
        let checks = Self {
            shared: Arc::new(Shared {
                failing: ArcSwap::default(),
                standings: Mutex::default(),
                targets: watch::Sender::default(),
                metrics,
                clock,
            }),
        };
        checks.follow(plan);
        checks
    }

    /// Looks at what the plan names from now on. Whom the one before named alike stands as it stood.
    pub(crate) fn follow(&self, plan: &GatewayPlan) {
        let groups = plan.listeners.iter().flat_map(|it| &it.serving.upstreams);
        let mut targets: Vec<Target> = Vec::new();
        for target in groups.flat_map(|group| targets_of(group)) {
            if !targets.contains(&target) {
                targets.push(target);
            }
        }
        let mut standings = self.standings();
        let mut before = std::mem::take(&mut *standings);
        for target in &targets {
            let kept = before.iter().position(|(other, _)| other == target);
            let kept = kept.map(|at| before.swap_remove(at));
            standings.push(kept.unwrap_or_else(|| (target.clone(), Standing::default())));
        }
        for (gone, _) in before {
            self.shared.metrics.forget(&gone.name(), gone.check.name());
        }
        self.tell(&standings);
        drop(standings);
        self.shared.targets.send_replace(targets);
    }

    /// Looks until the drain.
    pub(crate) fn start(
        &self,
        bounds: Bounds,
        enforcement: Enforcement,
        drain: &Drain,
    ) -> io::Result<()> {
        let (checks, drain) = (self.clone(), drain.clone());
        // Ends with the drain, and holds nothing that somebody waits for.
        Workers::spawn("health", 1, move |_| {
            run(checks.clone(), bounds, enforcement.clone(), drain.clone())
        })?;
        Ok(())
    }

    /// Which of the group fail.
    pub(crate) fn failing(&self, group: &Group) -> Members {
        let failing = self.shared.failing.load();
        if failing.is_empty() {
            return Members::default();
        }
        targets_of(group)
            .enumerate()
            .filter(|(_, target)| failing.contains(target))
            .fold(Members::default(), |members, (at, _)| members.with(at))
    }

    pub(crate) fn status(&self) -> Vec<UpstreamStatus> {
        let standings = self.standings();
        let told = standings.iter().map(|(target, standing)| UpstreamStatus {
            upstream: target.name(),
            check: target.check.name().to_owned(),
            state: match standing.streak.is_failing {
                None => "unknown",
                Some(false) => "passing",
                Some(true) => "failing",
            },
            since_unix_s: standing.since_unix_s,
            fault: standing.fault.clone(),
        });
        told.collect()
    }

    fn note(&self, target: &Target, outcome: Result<(), CheckFault>) {
        let now = self.shared.clock.unix_seconds();
        let mut standings = self.standings();
        let Some((_, standing)) = standings.iter_mut().find(|(other, _)| other == target) else {
            // A reload took it away meanwhile.
            return;
        };
        let (name, check) = (target.name(), target.check.name());
        let has_passed = outcome.is_ok();
        let before = standing.streak.is_failing;
        standing.streak.note(has_passed);
        standing.fault = outcome.err().map(|fault| fault.to_string());
        let is_failing = standing.streak.is_failing == Some(true);
        self.shared
            .metrics
            .checked(&name, check, has_passed, !is_failing);
        if before == standing.streak.is_failing {
            return;
        }
        standing.since_unix_s = now;
        match (&standing.fault, is_failing, before) {
            (Some(fault), true, _) => {
                tracing::warn!(
                    upstream = name,
                    check,
                    error = fault,
                    "upstream fails its checks"
                );
            }
            (_, false, Some(true)) => {
                tracing::info!(upstream = name, check, "upstream passes its checks again");
            }
            _ => {}
        }
        self.tell(&standings);
    }

    fn tell(&self, standings: &[(Target, Standing)]) {
        let failing = standings
            .iter()
            .filter(|(_, standing)| standing.streak.is_failing == Some(true))
            .map(|(target, _)| target.clone());
        self.shared.failing.store(Arc::new(failing.collect()));
    }

    fn standings(&self) -> MutexGuard<'_, Vec<(Target, Standing)>> {
        let standings = &self.shared.standings;
        // Nothing under the lock panics half-way.
        standings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Target {
    fn name(&self) -> String {
        let address = self.upstream.address();
        address.map_or_else(String::new, ToString::to_string)
    }
}

impl Streak {
    fn note(&mut self, has_passed: bool) {
        let Some(is_failing) = self.is_failing else {
            // Of what was never looked at, the first look is all there is.
            self.is_failing = Some(!has_passed);
            return;
        };
        if has_passed != is_failing {
            self.against = 0;
            return;
        }
        self.against += 1;
        if self.against >= if is_failing { PASSES } else { FAILURES } {
            *self = Self {
                is_failing: Some(!is_failing),
                against: 0,
            };
        }
    }
}

/// Each member with the group's check, in their order; none, if it has no check.
fn targets_of(group: &Group) -> impl Iterator<Item = Target> {
    let check = group.check().into_iter();
    check.flat_map(|check| {
        group.members().iter().map(|upstream| Target {
            upstream: upstream.clone(),
            check: Arc::clone(check),
        })
    })
}

async fn run(checks: Checks, bounds: Bounds, enforcement: Enforcement, drain: Drain) {
    let mut wanted = checks.shared.targets.subscribe();
    let mut running: Vec<(Target, JoinHandle<()>)> = Vec::new();
    loop {
        let targets = wanted.borrow_and_update().clone();
        running.retain(|(target, task)| {
            let stays = targets.contains(target);
            if !stays {
                task.abort();
            }
            stays
        });
        for target in targets {
            if running.iter().all(|(other, _)| *other != target) {
                let task = watch_one(checks.clone(), target.clone(), bounds, enforcement.clone());
                running.push((target, tokio::task::spawn_local(task)));
            }
        }
        tokio::select! {
            () = drain.draining() => return,
            changed = wanted.changed() => if changed.is_err() { return },
        }
    }
}

async fn watch_one(checks: Checks, target: Target, bounds: Bounds, enforcement: Enforcement) {
    // Gateways and routes that start together do not all ask at once.
    sleep(FIRST.mul_f64(fraction())).await;
    loop {
        let (check, metrics) = (&target.check, checks.shared.metrics.clone());
        let looked = check.look(&target.upstream, bounds, enforcement.clone(), metrics);
        let outcome = looked.await;
        checks.note(&target, outcome);
        sleep(check.interval.mul_f64(0.9 + fraction() / 5.0)).await;
    }
}

/// Of one; the standard library's only source of randomness, and nobody is hurt by guessing it.
fn fraction() -> f64 {
    f64::from((RandomState::new().hash_one(0) >> 40) as u32) / f64::from(1 << 24)
}

/// What others call `fall` and `rise`, with their values: one lost packet takes nobody out, and one lucky answer brings nobody back.
const FAILURES: u32 = 3;
const PASSES: u32 = 2;

/// Within this the first check of each has begun.
const FIRST: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    /// What each outcome of `looks` leaves: `+` passed, `-` failed.
    fn check(looks: &str, expected: &str) {
        let mut streak = Streak::default();
        let states: String = looks
            .chars()
            .map(|look| {
                streak.note(look == '+');
                if streak.is_failing == Some(true) {
                    '-'
                } else {
                    '+'
                }
            })
            .collect();
        assert_eq!(states, expected, "{looks}");
    }

    #[test]
    fn three_failures_in_a_row_take_it_out_and_two_passes_bring_it_back() {
        check(
            "+--+---+-++",
            "++++++-----".replacen("-----", "----+", 1).as_str(),
        );
        check("+++---", "+++++-");
        check("+-+--+--", "++++++++");
    }

    #[test]
    fn first_look_decides_alone() {
        check("-++", "--+");
        check("-+-++", "----+");
        check("+", "+");
    }

    #[test]
    fn jitter_is_a_fraction() {
        for _ in 0..1000 {
            assert!((0.0..1.0).contains(&fraction()));
        }
    }
}
