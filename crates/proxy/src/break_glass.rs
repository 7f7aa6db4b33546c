//! Break-glass listeners at work: shut, armed, shut again. [`countersign_policy::break_glass`] decides; here are the clock, the
//! disk and the connections.
//!
//! Invariant: a connection passes only under the arming that let its socket in, and only until the end of that. Who ends an arming
//! first takes it away, then cuts; who is let in is registered as live first and looks at the arming after that. So one of the two
//! finds the other, as in `tls`.
//!
//! Whatever shuts it waits for no disk and for no lock that is held across one; what is left to do then is done by a task of its own,
//! which nobody who hangs up takes away. Nothing is written to the disk of an arming after its end: both are queued under `Turn`.
//!
//! Nothing is used unrecorded: the line in `log.jsonl` is on disk before a byte goes on. The disk is written by one thread of its own.

mod arming;
mod fault;
mod ledger;
mod resume;
#[cfg(test)]
mod stalled;
mod status;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use countersign_diagnose::refusal::NodeShortId;
use countersign_pki::chain::{Limits, Verifier};
use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::revocation::RevocationIndex;
use countersign_pki::time::UnixTime;
use countersign_policy::break_glass::{Armed, Kept, RESTART_COST, Rules, Statement};
use countersign_runtime::clock::SharedClock;
use countersign_runtime::drain::Drain;
use countersign_tls::acceptor::Session;
use countersign_tls::enforcement::{Effects, Enforcement};
use tokio::task::JoinHandle;
use tokio::time::Instant;

pub use self::fault::ArmError;
pub(crate) use self::fault::Shut;
use self::fault::details;
use self::ledger::Record;
pub(crate) use self::ledger::{Ledger, Used};
use self::resume::forget_others;
pub use self::status::BreakGlassStatus;
use crate::gateway::Context;
use crate::metrics::BreakGlassMetrics;
use crate::plan::{BreakGlassPlan, GatewayPlan};
use crate::refusals::printable;

/// Where a gateway keeps what is armed, and what was done with it.
#[derive(Clone, Debug)]
pub struct Home {
    /// A folder of its own, made where it is missing.
    pub folder: PathBuf,
    /// The gateway that approvals are for.
    pub gateway: NodeShortId,
}

/// One listener. Cheap to ask for those who pass; whoever arms and disarms does so one at a time.
pub(crate) struct BreakGlass {
    name: String,
    terms: ArcSwap<Terms>,
    live: ArcSwapOption<Live>,
    /// Whoever arms does so one at a time. Held while the disk is written, so that nothing that shuts may ask for it.
    desk: tokio::sync::Mutex<()>,
    /// Never held across an await.
    turn: Mutex<Turn>,
    ledger: Ledger,
    metrics: BreakGlassMetrics,
    enforcement: Enforcement,
    clock: SharedClock,
}

#[derive(Default)]
struct Turn {
    /// Grows with whatever shuts it: who began to arm before that does not finish.
    generation: u64,
    /// The request that waits for its approvals.
    requested: Option<Statement>,
    /// What was kept of an arming that has ended could not be taken away yet.
    owes_forgetting: bool,
}

struct Terms {
    rules: Rules,
    connections_per_minute: u32,
    requests_per_minute: u32,
    configuration: Fingerprint,
}

/// An arming.
pub(crate) struct Live {
    armed: Armed,
    /// By the steady clock: a wall clock that is set back prolongs nothing.
    deadline: Instant,
    connections: Minute,
    requests: Minute,
    /// By which the approvals were judged last.
    judged_by: ArcSwap<RevocationIndex>,
    /// When what is left was last given to the disk.
    saved: Mutex<Instant>,
}

impl BreakGlass {
    /// Opens what the plan's listeners need, in their order. What was armed before a restart is armed again if it still may be; what
    /// belongs to no listener any more is taken away.
    pub(crate) fn open(
        plan: &GatewayPlan,
        context: &Context,
    ) -> io::Result<Vec<Option<Arc<Self>>>> {
        let is_wanted = plan.listeners.iter().any(|it| it.break_glass.is_some());
        let Some(home) = &context.break_glass else {
            return if is_wanted {
                Err(io::Error::other("there is no folder for break-glass"))
            } else {
                Ok(plan.listeners.iter().map(|_| None).collect())
            };
        };
        if !is_wanted && !home.folder.exists() {
            return Ok(plan.listeners.iter().map(|_| None).collect());
        }
        let ledger = Ledger::open(home, Arc::clone(&context.clock))?;
        let mut opened = Vec::with_capacity(plan.listeners.len());
        let mut names = Vec::new();
        for listener in &plan.listeners {
            let Some(plan) = &listener.break_glass else {
                opened.push(None);
                continue;
            };
            names.push(listener.name.as_str());
            let terms = Terms::new(plan, &listener.name, &home.gateway)?;
            let glass = Arc::new(Self {
                name: listener.name.clone(),
                terms: ArcSwap::from_pointee(terms),
                live: ArcSwapOption::empty(),
                desk: tokio::sync::Mutex::default(),
                turn: Mutex::default(),
                ledger: ledger.clone(),
                metrics: context.metrics.break_glass(&listener.name),
                enforcement: context.enforcement.clone(),
                clock: Arc::clone(&context.clock),
            });
            glass.resume(home);
            opened.push(Some(glass));
        }
        forget_others(home, &names, &ledger);
        Ok(opened)
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// For a socket that was just accepted: the arming that it may pass under.
    pub(crate) fn enter(&self) -> Result<Arc<Live>, Shut> {
        let live = self.live.load_full().ok_or(Shut::NotArmed)?;
        if self.is_over(&live) {
            return Err(Shut::NotArmed);
        }
        Ok(live)
    }

    /// For a connection that has finished its handshake and is registered as live: counted and on record when this returns.
    pub(crate) async fn admit(&self, entered: &Arc<Live>, session: &Session) -> Result<(), Shut> {
        self.still(entered)?;
        if !entered.connections.take() {
            return Err(Shut::TooMany {
                per_minute: entered.connections.limit,
                what: "connections",
            });
        }
        self.record_use(entered, "used", session, Used::default())
            .await
    }

    /// For a request that the policy admits: the same.
    pub(crate) async fn pass(
        &self,
        session: &Session,
        method: &http::Method,
        host: &str,
        path: &str,
    ) -> Result<(), Shut> {
        let live = self.enter()?;
        if !live.requests.take() {
            return Err(Shut::TooMany {
                per_minute: live.requests.limit,
                what: "requests",
            });
        }
        let used = Used::request(method, host, path);
        self.record_use(&live, "request", session, used).await
    }

    async fn record_use(
        &self,
        live: &Arc<Live>,
        event: &'static str,
        session: &Session,
        used: Used,
    ) -> Result<(), Shut> {
        let mut record = Record::of(event, &self.name, &live.armed);
        record.source = Some(session.source);
        record.who = Some(session.peer.as_ref().map_or_else(
            || "anonymous".to_owned(),
            |peer| printable(peer.principal()),
        ));
        record.fingerprint = session.peer.as_ref().map(|peer| peer.fingerprint());
        record.used = used;
        if event == "used" {
            tracing::warn!(
                listener = self.name,
                src.addr = %session.source,
                src.id = record.who,
                reason = live.armed.statement().reason().as_str(),
                "break-glass listener is used"
            );
        }
        self.metrics.count(event);
        let written = self.ledger.append(record).await;
        written.map_err(|error| {
            tracing::error!(listener = self.name, %error, "the use of a break-glass listener cannot be recorded");
            Shut::Unrecorded {
                why: error.to_string(),
            }
        })?;
        // It may have ended meanwhile.
        self.still(live)?;
        if session.lifeline.is_cut() {
            return Err(Shut::NotArmed);
        }
        Ok(())
    }

    fn still(&self, entered: &Arc<Live>) -> Result<(), Shut> {
        let present = self.live.load();
        let is_same = present.as_ref().is_some_and(|it| Arc::ptr_eq(it, entered));
        if is_same && !self.is_over(entered) {
            Ok(())
        } else {
            Err(Shut::NotArmed)
        }
    }

    fn is_over(&self, live: &Live) -> bool {
        self.left(live).is_zero()
    }

    /// By whichever clock says less.
    fn left(&self, live: &Live) -> Duration {
        let steady = live.deadline.saturating_duration_since(Instant::now());
        steady.min(live.armed.left(self.now()))
    }

    fn now(&self) -> UnixTime {
        UnixTime::from_seconds(self.clock.unix_seconds())
    }

    fn turn(&self) -> MutexGuard<'_, Turn> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the arming, if there is one, and cuts its connections; a request that waits is forgotten, and so is what the disk has, armed
    /// or not. `None`: it was not armed.
    pub(crate) async fn disarm(
        self: &Arc<Self>,
        why: Option<&str>,
        by: &str,
    ) -> Result<Option<Effects>, ArmError> {
        let Some(ended) = self.shut(None, "disarmed", Some(by), why) else {
            return Ok(None);
        };
        let effects = told(ended.done).await?;
        Ok(ended.was_armed.then_some(effects))
    }

    /// It is shut, connections are cut and the disk is told when this returns, which waits for nothing. `only`: this arming, and none
    /// that came after it; `None` if it is there no more.
    fn shut(
        self: &Arc<Self>,
        only: Option<&Arc<Live>>,
        event: &'static str,
        by: Option<&str>,
        why: Option<&str>,
    ) -> Option<Ended> {
        let mut turn = self.turn();
        let is_other = |only: &Arc<Live>| {
            let present = self.live.load();
            !present.as_ref().is_some_and(|it| Arc::ptr_eq(it, only))
        };
        if only.is_some_and(is_other) {
            return None;
        }
        let live = self.live.swap(None);
        turn.generation += 1;
        if event == "disarmed" {
            turn.requested = None;
        }
        let generation = turn.generation;
        let name = self.name.as_str();
        let others = self.name.clone();
        let cut = Box::pin(
            self.enforcement
                .withdraw(move |listener, _| listener != others),
        );
        let mut record = live.as_ref().map_or_else(
            || Record::new(event, name),
            |live| Record::of(event, name, &live.armed),
        );
        record.by = by.map(str::to_owned);
        record.why = why.map(str::to_owned);
        // In this order: a file that is left behind a record of its end arms nothing.
        let recorded = self.ledger.append(record);
        let forgotten = self.ledger.forget(name);
        drop(turn);
        self.metrics.set_armed(false);
        if live.is_some() {
            self.metrics.count(event);
        }
        tracing::warn!(
            listener = name,
            event,
            by,
            why,
            "break-glass listener is shut again"
        );
        let glass = Arc::clone(self);
        let finish = async move {
            let (recorded, forgotten) = (recorded.await, forgotten.await);
            if forgotten.is_err() {
                let mut turn = glass.turn();
                turn.owes_forgetting |= turn.generation == generation;
            }
            let effects = cut.await;
            match forgotten.and(recorded) {
                Ok(()) => Ok(effects),
                Err(error) => {
                    tracing::error!(listener = glass.name, %error, "it is shut, and the disk does not say so: after a restart it may be armed until its end");
                    Err(ArmError::Disk {
                        why: format!("it is shut now, but the disk does not say so: {error}"),
                    })
                }
            }
        };
        Some(Ended {
            was_armed: live.is_some(),
            done: tokio::spawn(finish),
        })
    }

    /// Another configuration is about to be in force: what was armed under this one has ended when this returns. What is to be waited
    /// for, at most as long as the disk and a cut connection may take.
    pub(crate) fn replace(
        self: &Arc<Self>,
        plan: &BreakGlassPlan,
    ) -> Option<impl Future<Output = ()>> {
        let before = self.terms.load_full();
        if before.configuration == configuration_of(plan) {
            return None;
        }
        let why = Some("the configuration of the listener changed");
        match Terms::new_for(plan, &self.name, &before.rules.gateway) {
            Ok(terms) => self.terms.store(Arc::new(terms)),
            // Of the operator CA, which was verified when the plan was made.
            Err(error) => {
                tracing::error!(listener = self.name, %error, "break-glass stays as it was");
            }
        }
        // After the terms: whoever began to arm by those before is overtaken.
        let ended = self.shut(None, "disarmed", None, why);
        ended.map(|ended| async move {
            // Said already; it is shut all the same.
            let _ = told(ended.done).await;
        })
    }

    /// Each second: ends what is over, and what an approval that was taken back held open. Waits for nothing.
    fn look(self: &Arc<Self>) {
        let Some(live) = self.live.load_full() else {
            self.forget_what_is_owed();
            return;
        };
        if self.is_over(&live) {
            // It goes on by itself, and says what fails.
            drop(self.shut(Some(&live), "expired", None, None));
            return;
        }
        let revocations = self.enforcement.revocations();
        if !Arc::ptr_eq(&live.judged_by.load(), &revocations) {
            let terms = self.terms.load_full();
            if let Err(denied) = terms.rules.stands(&live.armed, &revocations, self.now()) {
                let why = format!("{denied}{}", details(&denied));
                drop(self.shut(Some(&live), "disarmed", None, Some(&why)));
                return;
            }
            live.judged_by.store(revocations);
        }
        self.save(&live);
    }

    fn save(&self, live: &Arc<Live>) {
        {
            let mut saved = live.saved.lock().unwrap_or_else(PoisonError::into_inner);
            if saved.elapsed() < SAVE_INTERVAL {
                return;
            }
            *saved = Instant::now();
        }
        let configuration = self.terms.load().configuration;
        let kept = Kept::of(&live.armed, self.left(live), self.now(), configuration);
        let keeping = {
            let _turn = self.turn();
            // What has ended is forgotten by now, or will be behind this.
            if self.still(live).is_err() {
                return;
            }
            self.ledger.keep(&self.name, kept.to_json())
        };
        let listener = self.name.clone();
        tokio::spawn(async move {
            if let Err(error) = keeping.await {
                tracing::error!(listener, %error, "what is left of an arming cannot be kept");
            }
        });
    }

    fn forget_what_is_owed(self: &Arc<Self>) {
        let (forgotten, generation) = {
            let mut turn = self.turn();
            if !std::mem::take(&mut turn.owes_forgetting) {
                return;
            }
            (self.ledger.forget(&self.name), turn.generation)
        };
        let glass = Arc::clone(self);
        tokio::spawn(async move {
            if forgotten.await.is_err() {
                let mut turn = glass.turn();
                turn.owes_forgetting |= turn.generation == generation;
            }
        });
    }
}

/// What was shut.
struct Ended {
    was_armed: bool,
    /// Comes to its end by itself.
    done: JoinHandle<Result<Effects, ArmError>>,
}

/// What a task has found out that nobody takes away.
async fn told<T>(task: JoinHandle<Result<T, ArmError>>) -> Result<T, ArmError> {
    task.await.unwrap_or_else(|error| {
        Err(ArmError::Disk {
            why: error.to_string(),
        })
    })
}

impl Terms {
    fn new(plan: &BreakGlassPlan, listener: &str, gateway: &NodeShortId) -> io::Result<Self> {
        Self::new_for(plan, listener, &gateway.to_string())
    }

    fn new_for(plan: &BreakGlassPlan, listener: &str, gateway: &str) -> io::Result<Self> {
        let verifier = |operators: &Arc<_>| {
            Verifier::new(vec![Arc::clone(operators)], Limits::default()).map_err(io::Error::other)
        };
        Ok(Self {
            rules: Rules {
                gateway: gateway.to_owned(),
                listener: listener.to_owned(),
                max_duration: plan.max_duration,
                approvals: plan.approvals,
                approvers: plan.approvers.clone(),
                operators: plan.operators.as_ref().map(verifier).transpose()?,
            },
            connections_per_minute: plan.connections_per_minute,
            requests_per_minute: plan.requests_per_minute,
            configuration: configuration_of(plan),
        })
    }
}

/// Of the listener as it is written, and of the operator CA as it is read.
fn configuration_of(plan: &BreakGlassPlan) -> Fingerprint {
    let mut bytes = plan.configuration.as_bytes().to_vec();
    for anchor in plan.operators.iter().flat_map(|bundle| bundle.anchors()) {
        bytes.extend_from_slice(anchor.fingerprint().as_bytes());
    }
    Fingerprint::of(&bytes)
}

/// Looks at it until the drain is done.
pub(crate) async fn watch(glass: Arc<BreakGlass>, drain: Drain) {
    let mut ended = std::pin::pin!(drain.ended());
    let mut seconds = tokio::time::interval(LOOK_INTERVAL);
    loop {
        tokio::select! {
            () = &mut ended => return,
            _ = seconds.tick() => glass.look(),
        }
    }
}

fn file_name(listener: &str) -> String {
    format!("{FILE_PREFIX}{listener}{FILE_SUFFIX}")
}

/// So many in any minute, counted from the first of them.
struct Minute {
    limit: u32,
    // Guards nothing but itself.
    state: Mutex<(Instant, u32)>,
}

impl Minute {
    fn new(limit: u32) -> Self {
        Self {
            limit,
            state: Mutex::new((Instant::now(), 0)),
        }
    }

    fn take(&self) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.0.elapsed() >= MINUTE {
            *state = (Instant::now(), 0);
        }
        let has_room = state.1 < self.limit;
        state.1 += u32::from(has_room);
        has_room
    }
}

const MINUTE: Duration = Duration::from_mins(1);
/// An end is a second, so is the grain in which it takes effect on open connections.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// How often what is left is kept: a slow second and a slow disk still cost less than what a restart takes off.
const SAVE_INTERVAL: Duration = Duration::from_secs(RESTART_COST.as_secs() / 2);
const LOG_FILE: &str = "log.jsonl";
const FILE_PREFIX: &str = "armed-";
const FILE_SUFFIX: &str = ".json";
/// Who connects, for records.
pub(crate) type Source = SocketAddr;
