//! The running gateway: its listeners, its workers, its reload.

mod sockets;
mod status;
mod upstream_certificates;
mod worker;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use countersign_pki::identity::VerifiedPeer;
use countersign_pki::time::UnixTime;
use countersign_runtime::clock::SharedClock;
use countersign_runtime::config::address::LocalAddress;
use countersign_runtime::drain::Drain;
use countersign_runtime::listen::{BindError, ListenerSet, PassedSocket};
use countersign_runtime::readiness::Readiness;
use countersign_runtime::unix_socket::{SocketError, SocketFile};
use countersign_runtime::workers::{WorkerPanicked, Workers};
use countersign_tls::enforcement::Enforcement;
use serde::Serialize;
use tokio::sync::{Mutex, mpsc};
use tokio::time::timeout;

use self::sockets::{Accepting, Share, assigned, bind_egress, share};
pub use self::status::{
    EgressStatus, GatewayStatus, ListenerStatus, TokenIssuerStatus, UpstreamStatus,
};
pub use self::upstream_certificates::UpstreamCertificate;
use self::upstream_certificates::upstream_certificates;
use self::worker::Assignment;
use crate::break_glass::{self, BreakGlass};
use crate::decisions::{Keeper, Switch};
use crate::factors::refresh;
use crate::factors::seen::SeenCertificates;
use crate::health::Checks;
use crate::in_flight::Awaited;
use crate::listener::Listener;
use crate::metrics::Metrics;
use crate::plan::{GatewayPlan, trust_the_same};
use crate::refusals::RefusalLog;

/// Starts gateways.
pub struct Gateway;

/// What a gateway shares with the rest of the process.
#[derive(Clone)]
pub struct Context {
    /// Revocations, sessions and live connections.
    pub enforcement: Enforcement,
    /// The time of day.
    pub clock: SharedClock,
    /// Where refusals are kept.
    pub refusals: RefusalLog,
    /// Where things are counted.
    pub metrics: Metrics,
    /// The process's end.
    pub drain: Drain,
    /// Held until every listener accepts.
    pub readiness: Readiness,
    /// The folder in which decisions are kept; `None`: nowhere.
    pub decisions: Option<PathBuf>,
    /// Where break-glass listeners keep what is armed; `None`: there can be none.
    pub break_glass: Option<break_glass::Home>,
}

impl Gateway {
    /// Binds every address, then starts the workers. When one address cannot be bound, none is served.
    ///
    /// To be called inside the control runtime, which from then on looks for expired certificates of live connections.
    pub fn start(plan: GatewayPlan, context: Context) -> Result<RunningGateway, StartError> {
        Self::start_with(plan, context, Vec::new())
    }

    /// [`Gateway::start`], where a service manager has bound some of the addresses already. A socket belongs to the listener of its name,
    /// else to the one of its address; one that belongs to none is refused.
    pub fn start_with(
        plan: GatewayPlan,
        context: Context,
        passed: Vec<PassedSocket>,
    ) -> Result<RunningGateway, StartError> {
        let mut passed = assigned(&plan, passed)?;
        let pending = context.readiness.pending("the gateway's listeners");
        let upstreams = context.metrics.upstreams();
        let checks = Checks::new(&plan, upstreams, context.clock.clone());
        let now = UnixTime::from_seconds(context.clock.unix_seconds());
        let mut keeper = Keeper::start(
            context.decisions.as_deref(),
            plan.kept_decisions(now),
            context.clock.clone(),
            context.metrics.decisions(),
        )
        .map_err(StartError::Threads)?;
        let (mut of_workers, told) = assignments(&plan, &context, &checks, &keeper);
        // Before an address is bound: whom a former arming let in, it lets in from the first connection on, and nobody else.
        let glasses = BreakGlass::open(&plan, &context).map_err(StartError::BreakGlass)?;
        let watched: Vec<_> = glasses.iter().flatten().map(Arc::clone).collect();
        let seen = Arc::new(SeenCertificates::default());
        let mut listeners = Vec::with_capacity(plan.listeners.len());
        for (listener, break_glass) in plan.listeners.iter().zip(glasses) {
            let bound = match passed.remove(&listener.name) {
                Some(bound) => bound,
                None => ListenerSet::bind(listener.address, plan.workers).map_err(|error| {
                    StartError::Bind {
                        listener: listener.name.clone(),
                        error,
                    }
                })?,
            };
            let shared = Arc::new(Listener::new(
                listener,
                bound.address,
                break_glass,
                Arc::clone(&seen),
                &context,
            ));
            share(
                &mut of_workers,
                &shared,
                bound.sockets.into_iter().map(Accepting::Tcp),
            );
            listeners.push(shared);
        }
        let mut egress = Vec::with_capacity(plan.egress.len());
        let mut files = Vec::new();
        for planned in &plan.egress {
            let (address, sockets, file) = bind_egress(planned, plan.workers)?;
            let shared = Arc::new(Listener::egress(planned, address, &context));
            share(&mut of_workers, &shared, sockets);
            files.extend(file);
            egress.push(shared);
        }
        watch_certificates(&context.metrics, &plan);
        context.metrics.watch_feed(context.enforcement.clone());
        let drain = context.drain.clone();
        let workers = worker::start(of_workers, &drain).map_err(StartError::Threads)?;
        keeper.started();
        let started = checks.start(plan.bounds, context.enforcement.clone(), &drain);
        started.map_err(StartError::Threads)?;
        for glass in watched {
            tokio::spawn(break_glass::watch(glass, drain.clone()));
        }
        tokio::spawn(expire(context.enforcement.clone(), drain.clone()));
        drop(pending);
        let shared = Arc::new(Shared {
            listeners,
            egress,
            context,
            seen,
            plan: ArcSwap::from_pointee(plan),
            workers: told,
            checks,
            keeping: keeper.switch(),
            reloading: Mutex::new(()),
        });
        let in_force = Arc::downgrade(&shared);
        let clock = Arc::clone(&shared.context.clock);
        shared.context.metrics.watch_token_keys(move || {
            let now = UnixTime::from_seconds(clock.unix_seconds());
            let shared = in_force.upgrade();
            shared.map_or_else(Vec::new, |it| it.plan.load().verification.figures(now))
        });
        let in_force = Arc::clone(&shared);
        tokio::spawn(refresh::run(
            move || Arc::clone(&in_force.plan.load().verification),
            shared.context.enforcement.clone(),
            Arc::clone(&shared.context.clock),
            drain,
        ));
        Ok(RunningGateway {
            handle: GatewayHandle { shared },
            workers,
            files,
            keeper,
        })
    }
}

/// A gateway that accepts clients until its drain. Dropping it leaves the workers running.
pub struct RunningGateway {
    handle: GatewayHandle,
    workers: Workers,
    /// Of Unix sockets; they go with this.
    files: Vec<SocketFile>,
    keeper: Keeper,
}

impl RunningGateway {
    /// The part that can be shared: addresses, status, reload.
    pub fn handle(&self) -> GatewayHandle {
        self.handle.clone()
    }

    /// The addresses as bound, in the order of the configuration.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.handle.addresses()
    }

    /// See [`GatewayHandle::reload`].
    pub async fn reload(&self, plan: GatewayPlan) -> Result<ReloadReport, ReloadError> {
        self.handle.reload(plan).await
    }

    /// Resolves when the first worker has ended, which before a drain means that something is wrong.
    pub fn one_ended(&self) -> impl Future<Output = ()> + Send + use<> {
        self.workers.one_ended()
    }

    /// Blocks until every worker has ended, and what they saw is kept.
    pub fn join(self) -> Result<(), WorkerPanicked> {
        let _files = self.files;
        let joined = self.workers.join();
        self.keeper.join();
        joined
    }
}

/// A running gateway as the control plane holds it.
#[derive(Clone)]
pub struct GatewayHandle {
    shared: Arc<Shared>,
}

struct Shared {
    listeners: Vec<Arc<Listener>>,
    egress: Vec<Arc<Listener>>,
    context: Context,
    seen: Arc<SeenCertificates>,
    plan: ArcSwap<GatewayPlan>,
    /// Each is told of reloads.
    workers: Vec<mpsc::Sender<Awaited>>,
    checks: Checks,
    /// What is kept of decisions.
    keeping: Switch,
    /// Held during a reload: two at a time could leave listeners on different plans.
    reloading: Mutex<()>,
}

impl GatewayHandle {
    /// The addresses as bound, in the order of the configuration.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.shared
            .listeners
            .iter()
            .filter_map(|listener| listener.address.tcp())
            .collect()
    }

    /// The ways out as bound, in the order of the configuration.
    pub fn egress_addresses(&self) -> Vec<LocalAddress> {
        let egress = self.shared.egress.iter();
        egress.map(|it| it.address.clone()).collect()
    }

    /// Serves by `plan` from now on. Sessions, connections and exchanges in flight that it no longer admits have ended when
    /// the future is done.
    ///
    /// Invariant: nobody is admitted by a policy that was not written for whom the listener then trusted. Trust and policy
    /// are replaced one after the other, and neither order alone will do: the old policy must not judge one who is newly
    /// trusted, nor the new policy one who is about to lose trust. So first only what both policies admit goes through; then
    /// the trust changes, and those whom it leaves out are cut; then the new policy stands alone, and what is in flight is
    /// judged by it.
    ///
    /// The plan must have the same listeners (name and address, in the same order), connection limits and workers: those need a restart.
    pub async fn reload(&self, plan: GatewayPlan) -> Result<ReloadReport, ReloadError> {
        let _reloading = self.shared.reloading.lock().await;
        let before = self.shared.plan.load_full();
        check_same(&before, &plan)?;
        plan.verification.go_on_from(&before.verification);
        let verifiers = plan.listeners.iter().zip(&before.listeners);
        let is_trust_the_same = verifiers.into_iter().all(|(now, before)| {
            match (&now.settings.verifier, &before.settings.verifier) {
                (Some(now), Some(before)) => trust_the_same(now, before),
                (now, before) => now.is_none() && before.is_none(),
            }
        });
        // Nobody who was let in by what was armed before is judged by what is written now.
        let of_glasses = self.shared.listeners.iter().zip(&plan.listeners);
        let shut: Vec<_> = of_glasses
            .filter_map(|(listener, planned)| {
                (listener.break_glass.as_ref()).zip(planned.break_glass.as_ref())
            })
            .filter_map(|(glass, planned)| glass.replace(planned))
            .collect();
        for ended in shut {
            ended.await;
        }
        let planned = || self.shared.listeners.iter().zip(&plan.listeners);
        for (listener, planned) in planned() {
            let former = Arc::clone(&listener.serving.load().policy);
            let serving = planned.serving.restricted_by(&former);
            listener.serving.store(Arc::new(serving));
        }
        for (listener, planned) in planned() {
            if let Some(acceptor) = &listener.acceptor {
                acceptor.replace_edge(planned.edge.clone());
                acceptor.replace(planned.settings.clone(), planned.credentials.clone());
            }
        }
        if !is_trust_the_same {
            self.shared.seen.forget_all();
        }
        watch_certificates(&self.shared.context.metrics, &plan);
        let plan = Arc::new(plan);
        self.shared.plan.store(Arc::clone(&plan));
        let names = plan
            .listeners
            .iter()
            .map(|listener| listener.name.clone())
            .collect();
        let enforcement = &self.shared.context.enforcement;
        let revocations = enforcement.revocations();
        let now = UnixTime::from_seconds(self.shared.context.clock.unix_seconds());
        let keep = |name: &str, peer: Option<&VerifiedPeer>| {
            let mut listeners = plan.listeners.iter().zip(&before.listeners);
            // Other acceptors of this process share the enforcement; they are not ours to judge.
            listeners
                .find(|(listener, _)| listener.name == name)
                .is_none_or(|(listener, before)| {
                    listener.still_admits(before, peer, &revocations, now)
                })
        };
        // Only now: whoever connects in between is judged by the new plan already. They are cut when this returns, and have
        // ended when its future is done.
        let withdrawn = enforcement.withdraw(keep);
        for (listener, planned) in self.shared.listeners.iter().zip(&plan.listeners) {
            listener.serving.store(Arc::clone(&planned.serving));
        }
        self.shared.checks.follow(&plan);
        for (egress, planned) in self.shared.egress.iter().zip(&plan.egress) {
            egress.serving.store(Arc::clone(&planned.serving));
        }
        self.shared
            .keeping
            .store(Arc::new(plan.kept_decisions(now)));
        self.judge_again().await;
        let effects = withdrawn.await;
        if !is_trust_the_same {
            // Whoever was yet to be cut may have been seen again.
            self.shared.seen.forget_all();
        }
        Ok(ReloadReport {
            listeners: names,
            sessions_declined: effects.sessions_declined,
            connections_cut: effects.connections_cut,
        })
    }

    /// Whether every worker takes up what it is told, within a few seconds.
    pub async fn workers_answer(&self) -> bool {
        let _reloading = self.shared.reloading.lock().await;
        self.judge_again().await
    }

    /// Has the workers judge what is in flight by what is served now; done when those that had to have ended.
    async fn judge_again(&self) -> bool {
        let (awaited_by, mut ended) = mpsc::channel::<Infallible>(1);
        let judged = async {
            for worker in &self.shared.workers {
                // A worker that is gone has nothing in flight.
                let _ = worker.send(awaited_by.clone()).await;
            }
            drop(awaited_by);
            // Nothing is ever sent: the channel closes when the last that was told has ended.
            let _: Option<Infallible> = ended.recv().await;
        };
        let have_ended = timeout(END_WAIT, judged).await.is_ok();
        if !have_ended {
            tracing::error!(
                "a worker does not answer, or an exchange that a reload cut has not ended"
            );
        }
        have_ended
    }

    /// The break-glass listeners.
    pub(crate) fn glasses(&self) -> impl Iterator<Item = &Arc<BreakGlass>> {
        let listeners = self.shared.listeners.iter();
        listeners.filter_map(|listener| listener.break_glass.as_ref())
    }

    pub(crate) fn clock(&self) -> &SharedClock {
        &self.shared.context.clock
    }

    pub(crate) fn refusals(&self) -> &RefusalLog {
        &self.shared.context.refusals
    }
}

/// What a reload did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReloadReport {
    /// The listeners that serve by the new plan.
    pub listeners: Vec<String>,
    /// Resumable sessions taken away.
    pub sessions_declined: u64,
    /// Open connections cut.
    pub connections_cut: u64,
}

/// Why a gateway did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// What is armed cannot be kept.
    #[error("break-glass: {0}")]
    BreakGlass(std::io::Error),
    /// An address cannot be listened on.
    #[error("listener {listener}: {error}")]
    Bind {
        /// Which listener.
        listener: String,
        /// What the system said.
        error: BindError,
    },
    /// A Unix socket cannot be listened on.
    #[error("egress {egress}: {error}")]
    Socket {
        /// Which way out.
        egress: String,
        /// What is in the way.
        error: SocketError,
    },
    /// A socket that a service manager passed fits no listener.
    #[error("the socket {name:?} that the service manager passes, {address}, {why}")]
    Passed {
        /// What it is called there.
        name: String,
        /// Where it listens, if that is known.
        address: String,
        /// What is wrong with it.
        why: String,
    },
    /// The system gave no thread or no event queue.
    #[error("the data plane's threads cannot start: {0}")]
    Threads(std::io::Error),
}

impl StartError {
    /// What the operator can do about it, where that is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Bind { error, .. } => error.hint(),
            Self::Socket { error, .. } => Some(error.hint()),
            Self::Passed { .. } => Some(
                "FileDescriptorName= of the socket unit is the name of a listener, ListenStream= its address: one socket unit a listener".to_owned(),
            ),
            Self::BreakGlass(_) | Self::Threads(_) => None,
        }
    }
}

/// Why a plan cannot take over without a restart.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}: this takes a restart")]
pub struct ReloadError {
    why: String,
}

/// One for each worker, without listeners yet, and the ends by which they are told of reloads.
fn assignments(
    plan: &GatewayPlan,
    context: &Context,
    checks: &Checks,
    keeper: &Keeper,
) -> (Vec<Assignment>, Vec<mpsc::Sender<Awaited>>) {
    let assignment = |_| {
        // Reloads are made one at a time.
        let (told, reloads) = mpsc::channel(1);
        let assignment = Assignment {
            shares: Vec::new(),
            bounds: plan.bounds,
            enforcement: context.enforcement.clone(),
            metrics: context.metrics.upstreams(),
            checks: checks.clone(),
            reloads: Some(reloads),
            recorder: Box::new(keeper.recorder()),
        };
        (assignment, told)
    };
    (0..plan.workers).map(assignment).unzip()
}

fn check_same(running: &GatewayPlan, planned: &GatewayPlan) -> Result<(), ReloadError> {
    let changed = |what: &str| {
        Err(ReloadError {
            why: format!("{what} changed"),
        })
    };
    if running.workers != planned.workers {
        return changed("the number of workers");
    }
    if !running.listeners().eq(planned.listeners()) {
        return changed("names, addresses or order of listeners");
    }
    let egress = |plan: &GatewayPlan| {
        plan.egress
            .iter()
            .map(|it| (it.name.clone(), it.address.clone(), it.protocol))
            .collect::<Vec<_>>()
    };
    if egress(running) != egress(planned) {
        return changed("names, addresses, protocol or order of egresses");
    }
    let protocols = |plan: &GatewayPlan| {
        plan.listeners
            .iter()
            .map(|it| it.protocol)
            .collect::<Vec<_>>()
    };
    if protocols(running) != protocols(planned) {
        return changed("whether a listener takes bytes, PostgreSQL or HTTP");
    }
    let glasses = |plan: &GatewayPlan| {
        let listeners = plan.listeners.iter();
        listeners
            .map(|it| it.break_glass.is_some())
            .collect::<Vec<_>>()
    };
    if glasses(running) != glasses(planned) {
        return changed("whether a listener is for break-glass");
    }
    let limits = |plan: &GatewayPlan| {
        plan.listeners
            .iter()
            .map(|it| it.max_connections)
            .collect::<Vec<_>>()
    };
    if limits(running) != limits(planned) {
        return changed("max_connections");
    }
    Ok(())
}

fn watch_certificates(metrics: &Metrics, plan: &GatewayPlan) {
    let credentials = plan
        .listeners
        .iter()
        .map(|listener| (listener.name.clone(), listener.credentials.clone()));
    metrics.watch_certificates(credentials.collect());
    metrics.tell_upstream_certificates(&upstream_certificates(plan));
}

async fn expire(enforcement: Enforcement, drain: Drain) {
    let mut ended = std::pin::pin!(drain.ended());
    let mut seconds = tokio::time::interval(EXPIRY_CHECK);
    loop {
        tokio::select! {
            () = &mut ended => return,
            _ = seconds.tick() => {
                let cut = enforcement.expire();
                if cut > 0 {
                    tracing::info!(connections = cut, "connections ended with their certificates");
                }
            }
        }
    }
}

/// A certificate's end is a second, so is the grain in which it takes effect.
const EXPIRY_CHECK: Duration = Duration::from_secs(1);

/// As long as a withdrawal waits for the connections that it cut.
const END_WAIT: Duration = Duration::from_secs(5);
