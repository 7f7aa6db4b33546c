//! What `up` and `run` share: the state opened, the gateway composed and started, the control plane around it, the end.
//!
//! The data plane's threads belong to the gateway. Everything here runs on the control runtime: the authority, the feed,
//! renewal, metrics, the admin socket. Each task runs until the process ends; one that ends before says why, and the
//! process ends with it.

mod announcement;
mod control;
mod feed;
mod feed_age;
mod hearing;
mod manager;
mod node;
mod opening;
pub(crate) mod process;
mod reload;
mod reserved_port;
mod retention;
mod root_lists;
mod self_check;
mod tasks;
pub(crate) mod trust_lists;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use countersign_authority::authority::Authority;
use countersign_authority::public::PublicListener;
use countersign_authority::publish::Publication;
use countersign_authority::secret::Passphrase;
use countersign_authority::state::{StateFolder, StateLock};
use countersign_pki::name::DnsName;
use countersign_pki::time::UnixTime;
use countersign_proxy::break_glass::Home;
use countersign_proxy::gateway::{Context, Gateway, RunningGateway};
use countersign_proxy::metrics::{Metrics, serve_metrics};
use countersign_proxy::refusals::{RefusalLog, RefusalWriter};
use countersign_runtime::clock::{SharedClock, SystemClock};
use countersign_runtime::descriptors::raise_descriptor_limit;
use countersign_runtime::drain::{Drain, DrainTrigger, drain};
use countersign_runtime::listen::{BindError, bind};
use countersign_runtime::readiness::Readiness;
use countersign_runtime::shutdown::shutdown_signal;
use countersign_runtime::telemetry::{LogFormat, init_logging};
use countersign_runtime::workers::Workers;
use tokio::net::TcpListener;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use self::announcement::{Addresses, Announcement};
use self::control::Control;
use self::feed::Departure;
use self::hearing::{Heard, hear};
use self::manager::Manager;
use self::opening::{Opened, open};
use self::reserved_port::{ReservedPorts, Site};
use self::tasks::Tasks;
use self::trust_lists::TrustLists;
use crate::bundles_in_force::BundlesInForce;
use crate::cli::arguments::{Globals, InitArguments};
use crate::composition::{plan, trusted};
use crate::configuration::{Configuration, Loaded};
use crate::fault::{Answer, Fault};
use crate::output::stderr_is_terminal;

/// What a process shall serve.
pub(crate) struct Service {
    /// The state folder.
    pub(crate) state: PathBuf,
    /// Of the CA keys.
    pub(crate) passphrase: Passphrase,
    /// Where the configuration comes from.
    pub(crate) source: Source,
    /// Names for the gateway's own certificate beside those that the configuration gives it.
    pub(crate) names: Vec<DnsName>,
    /// `up`: makes the authority where there is none.
    pub(crate) first_run: Option<InitArguments>,
}

/// Where a configuration comes from, at the start and at each reload.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// The arguments of `up`.
    CommandLine(Box<Configuration>),
    /// `run -c FILE`.
    File(PathBuf),
}

impl Source {
    fn load(&self) -> Result<Loaded, Fault> {
        match self {
            Self::CommandLine(configuration) => {
                Ok(Loaded::in_memory(configuration.as_ref().clone()))
            }
            Self::File(path) => Loaded::from_file(path),
        }
    }
}

/// Serves until a signal, or until something that must not end has ended.
pub(crate) fn serve(service: Service, globals: &Globals) -> Result<Answer, Fault> {
    let manager = Manager::of(&globals.environment)?;
    let colour = stderr_is_terminal() && !globals.environment.no_colour;
    let format = if globals.json {
        LogFormat::Json
    } else {
        LogFormat::Text
    };
    let filter = globals
        .environment
        .log_filter
        .as_deref()
        .unwrap_or(DEFAULT_FILTER);
    let _log = init_logging(format, filter, colour).map_err(|error| {
        Fault::configuration(error)
            .hint("COUNTERSIGN_LOG takes directives such as info,countersign_tls=debug")
    })?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(CONTROL_THREADS)
        .thread_name("control")
        .enable_all()
        .build()
        .map_err(|error| {
            Fault::world(format_args!(
                "the control plane's threads cannot start: {error}"
            ))
        })?;
    let outcome = runtime.block_on(live(service, manager, globals));
    runtime.shutdown_timeout(CONTROL_LINGER);
    outcome.map(|()| Answer::Yes)
}

async fn live(service: Service, manager: Manager, globals: &Globals) -> Result<(), Fault> {
    let (trigger, drain) = drain();
    let mut tasks = Tasks::default();
    let mut signal = pin!(shutdown_signal());
    let supervisor = manager.supervisor.clone();
    let starting = async {
        let loaded = service.source.load()?;
        let clock: SharedClock = Arc::new(SystemClock);
        let opened = open(&service, &loaded, &clock).await?;
        raise_limit();
        start(
            &service, &loaded, opened, manager, &clock, &drain, &mut tasks,
        )
        .await
    };
    // Signals are listened for from here on: whoever is told "ready" may send one at once.
    let running = tokio::select! {
        biased;
        _ = &mut signal => return Ok(()),
        running = starting => running?,
    };
    running.announcement.print(globals)?;
    supervisor.ready("serving");
    let outcome = tokio::select! {
        _ = &mut signal => Ok(()),
        () = running.gateway.one_ended() => Err(Fault::bug("a worker of the data plane ended")),
        fault = tasks.first_to_end() => Err(fault),
    };
    supervisor.stopping("draining");
    let stopped = stop(running, trigger).await;
    outcome.and(stopped)
}

async fn start(
    service: &Service,
    loaded: &Loaded,
    opened: Opened,
    manager: Manager,
    clock: &SharedClock,
    drain: &Drain,
    tasks: &mut Tasks,
) -> Result<Running, Fault> {
    let Opened {
        state,
        socket,
        authority,
        born,
        own,
        wanted,
        publication,
        lock,
    } = opened;
    let config = &loaded.configuration.gateway;
    let Heard {
        enforcement,
        own,
        following,
        issuer,
        departure,
    } = hear(&state, loaded, authority.as_ref(), own, &wanted, clock).await?;
    let now = UnixTime::from_seconds(clock.unix_seconds());
    let nothing = BundlesInForce::default();
    let plan = plan(loaded, own.borrow().as_ref(), &nothing, now)?;
    let bundles = trusted(loaded, own.borrow().as_ref(), &nothing, now)?;
    let lists = TrustLists::open(&enforcement, clock, &state, loaded, bundles).await?;
    let (refusals, writer) = open_refusals(&state, config.refusal_ring_size.bytes(), clock)?;
    let site = authority.as_ref().map(|authority| Site {
        loaded,
        authority,
        state: &state,
        enforcement: &enforcement,
        refusals: &refusals,
        clock,
    });
    let reserved = ReservedPorts::open(site).await?;
    let (admin_address, feed_address) = (reserved.admin_address(), reserved.feed_address());
    let (metrics_address, metrics_listener) =
        bind_metrics(config.metrics_address, &service.source)?;
    let public_listener = bind_public(loaded)?;
    let public_address = public_listener.as_ref().map(PublicListener::address);
    let (metrics, readiness) = (Metrics::new(env!("CARGO_PKG_VERSION")), Readiness::new());
    let starting = readiness.pending("control plane");
    let context = Context {
        enforcement: enforcement.clone(),
        clock: Arc::clone(clock),
        refusals,
        metrics: metrics.clone(),
        drain: drain.clone(),
        readiness: readiness.clone(),
        decisions: Some(state.path().to_owned()),
        break_glass: Some(home(&state)?),
    };
    let gateway = Gateway::start_with(plan, context, manager.sockets)?;

    let control = Control {
        service,
        loaded,
        state: &state,
        authority: authority.as_ref(),
        issuer,
        clock,
        drain,
        enforcement: &enforcement,
        gateway: &gateway,
        lists: lists.clone(),
        metrics: &metrics,
        supervisor: manager.supervisor,
        metrics_address,
    };
    control.spawn(tasks, socket, following, own, wanted);
    reserved.spawn(tasks, drain);
    root_lists::spawn(tasks, authority.as_ref(), &metrics, clock);
    retention::show(authority.as_ref(), &metrics);
    lists.spawn(tasks, &metrics);
    let served = serve_metrics(metrics_listener, metrics, readiness.clone(), drain.clone());
    tasks.spawn_endless("the metrics endpoint", served);
    let public = (public_listener.zip(publication))
        .map(|(listener, publication)| publish(tasks, listener, publication, drain, &readiness))
        .transpose()?;
    drop(starting);
    readiness.ready().await;
    let addresses = Addresses {
        gateway: gateway.addresses(),
        egress: gateway.handle().egress_addresses(),
        metrics: metrics_address,
        public: public_address,
        admin: admin_address,
        feed: feed_address,
    };
    let has_authority = authority.is_some();
    let announcement = Announcement::new(&service.source, &state, has_authority, addresses, born);
    Ok(Running {
        gateway,
        public,
        announcement,
        state,
        departure,
        _writer: writer,
        _authority: authority,
        _lock: lock,
    })
}

fn raise_limit() {
    match raise_descriptor_limit() {
        Ok(limit) => tracing::info!(limit, "limit on open files"),
        // Serving fewer is better than not serving.
        Err(error) => tracing::warn!(%error, "limit on open files was not raised"),
    }
}

fn bind_public(loaded: &Loaded) -> Result<Option<PublicListener>, Fault> {
    let public = loaded.configuration.authority.public.as_ref();
    let bound = public.map(|public| PublicListener::bind(public.address));
    bound.transpose().map_err(|error| {
        Fault::from(error).hint("authority.public.address says where revocation is published")
    })
}

/// A process that serves. Dropped field by field: the state folder is free only when all else is gone.
struct Running {
    gateway: RunningGateway,
    public: Option<Workers>,
    announcement: Announcement,
    state: StateFolder,
    departure: Option<Departure>,
    _writer: RefusalWriter,
    _authority: Option<Arc<Authority>>,
    _lock: Option<StateLock>,
}

/// Lists are signed from here on, and what there is is served.
fn publish(
    tasks: &mut Tasks,
    listener: PublicListener,
    publication: Arc<Publication>,
    drain: &Drain,
    readiness: &Readiness,
) -> Result<Workers, Fault> {
    let workers = listener
        .serve(Arc::clone(&publication), drain.clone())
        .map_err(|error| {
            Fault::world(format_args!(
                "the public listener's thread cannot start: {error}"
            ))
        })?;
    tasks.spawn_endless("the public listener", workers.one_ended());
    let drain = drain.clone();
    // Certificates carry the URLs of the lists from the first one on. What cannot be signed now does not keep the rest waiting.
    let first = readiness.pending("revocation lists");
    tasks.spawn_endless("the publication of revocation", async move {
        publication.refresh().await;
        drop(first);
        publication.run(drain).await;
    });
    Ok(workers)
}

fn open_refusals(
    state: &StateFolder,
    limit_bytes: u64,
    clock: &SharedClock,
) -> Result<(RefusalLog, RefusalWriter), Fault> {
    let folder = state.refusals();
    RefusalLog::open(
        &folder,
        limit_bytes,
        node::short_id(state)?,
        Arc::clone(clock),
    )
    .map_err(|error| {
        Fault::world(format_args!(
            "cannot keep refusals in {}: {error}",
            folder.display()
        ))
    })
}

/// Of break-glass listeners.
fn home(state: &StateFolder) -> Result<Home, Fault> {
    Ok(Home {
        folder: state.break_glass(),
        gateway: node::short_id(state)?,
    })
}

fn bind_metrics(address: SocketAddr, source: &Source) -> Result<(SocketAddr, TcpListener), Fault> {
    let listen = || -> Result<TcpListener, Fault> {
        let listener = bind(address, false, METRICS_BACKLOG)?;
        TcpListener::from_std(listener).map_err(|reason| {
            BindError::Other {
                addr: address,
                reason,
            }
            .into()
        })
    };
    let hint = match source {
        Source::CommandLine(_) => {
            "`--metrics 127.0.0.1:0` takes any free port for metrics and health"
        }
        Source::File(_) => "gateway.metrics_address says where metrics and health are served",
    };
    let listener = listen().map_err(|fault| fault.hint(hint))?;
    let bound = listener.local_addr().map_err(|reason| BindError::Other {
        addr: address,
        reason,
    })?;
    Ok((bound, listener))
}

/// Drains: 30 s at most, a second signal cuts it short.
async fn stop(running: Running, trigger: DrainTrigger) -> Result<(), Fault> {
    tracing::info!(
        limit_s = DRAIN_LIMIT.as_secs(),
        "draining: a second signal ends it at once"
    );
    tokio::select! {
        drained = trigger.drain(DRAIN_LIMIT) => {
            tracing::info!(finished = drained.finished, left = drained.left, "drained");
        }
        _ = shutdown_signal() => tracing::warn!("drain cut short by a second signal"),
    }
    // Dead once nobody serves it; while the lock is held it is ours to remove.
    let _ = std::fs::remove_file(running.state.socket());
    let Running {
        gateway,
        public,
        departure,
        _writer,
        _authority,
        _lock,
        ..
    } = running;
    let join = move || {
        let joined = gateway.join();
        joined.and(public.map_or(Ok(()), Workers::join))
    };
    match timeout(JOIN_LIMIT, spawn_blocking(join)).await {
        Ok(Ok(joined)) => joined?,
        Ok(Err(panicked)) => return Err(Fault::bug(panicked)),
        Err(_) => return Err(Fault::bug("the workers of the data plane did not end")),
    }
    // Only now does it serve nobody: whoever is told so waits for no word of it any more.
    if let Some(departure) = departure {
        departure.leave().await;
    }
    Ok(())
}

/// Requests and refusals at info; the crates below say more at debug.
const DEFAULT_FILTER: &str = "info";
/// Control work is little and never urgent beyond a revocation: one thread for it, one for what blocks it.
const CONTROL_THREADS: usize = 2;
/// For tasks that are in the middle of a write.
const CONTROL_LINGER: Duration = Duration::from_secs(1);
/// Kubernetes' terminationGracePeriodSeconds.
const DRAIN_LIMIT: Duration = Duration::from_secs(30);
/// After the drain every connection has been cut; what remains is the end of threads.
const JOIN_LIMIT: Duration = Duration::from_secs(5);
/// Scrapers are few.
const METRICS_BACKLOG: u32 = 128;
