//! The control plane: everything beside the data plane, each as a task of its own.

use std::net::SocketAddr;
use std::sync::Arc;

use countersign_authority::admin;
use countersign_authority::authority::{Authority, Unsealing};
use countersign_authority::state::StateFolder;
use countersign_proxy::admin::AdminContext;
use countersign_proxy::gateway::RunningGateway;
use countersign_proxy::metrics::Metrics;
use countersign_runtime::clock::SharedClock;
use countersign_runtime::drain::Drain;
use countersign_runtime::supervisor::Supervisor;
use countersign_tls::enforcement::Enforcement;
use tokio::net::UnixListener;
use tokio::sync::{mpsc, watch};

use super::hearing::Following;
use super::manager::show_life;
use super::process::Process;
use super::reload::{Ports, Reloads};
use super::tasks::Tasks;
use super::trust_lists::TrustLists;
use super::{Service, feed, feed_age, self_check};
use crate::composition::Own;
use crate::configuration::Loaded;
use crate::fault::Fault;
use crate::gateway_certificate::{Issuer, Port, Renewal, Wanted};

/// What the tasks share.
pub(super) struct Control<'a> {
    pub(super) service: &'a Service,
    pub(super) loaded: &'a Loaded,
    pub(super) state: &'a StateFolder,
    pub(super) authority: Option<&'a Arc<Authority>>,
    /// Of the gateway's own certificate.
    pub(super) issuer: Option<Issuer>,
    pub(super) clock: &'a SharedClock,
    pub(super) drain: &'a Drain,
    pub(super) enforcement: &'a Enforcement,
    pub(super) gateway: &'a RunningGateway,
    pub(super) lists: TrustLists,
    pub(super) metrics: &'a Metrics,
    pub(super) supervisor: Supervisor,
    /// As bound.
    pub(super) metrics_address: SocketAddr,
}

impl Control<'_> {
    /// Starts them.
    pub(super) fn spawn(
        self,
        tasks: &mut Tasks,
        socket: UnixListener,
        mut following: Option<Following>,
        own: watch::Receiver<Option<Own>>,
        wanted: Wanted,
    ) {
        let life = show_life(self.supervisor.clone(), self.gateway.handle());
        tasks.spawn_endless("the sign of life", life);
        let (asked, asking) = mpsc::channel(WAITING_RELOADS);
        let (wanted_sender, wanted) = watch::channel(wanted);
        let process = Process::new(
            self.metrics_address,
            self.loaded,
            self.enforcement.clone(),
            self.lists.clone(),
        );
        let offered = AdminContext {
            gateway: self.gateway.handle(),
            refusals: self.state.refusals(),
            reload: asked,
        };
        let mut router = countersign_proxy::admin::router(offered).merge(process.router());
        if let (Some(issuer), Some(credentials)) = (
            self.issuer,
            own.borrow()
                .as_ref()
                .and_then(|own| own.credentials.clone()),
        ) {
            let renewal = Renewal {
                port: Port::Gateway,
                issuer,
                state: self.state.clone(),
                credentials,
                wanted,
                enforcement: self.enforcement.clone(),
                clock: Arc::clone(self.clock),
            };
            tasks.spawn_endless("the renewal of the gateway's certificate", renewal.run());
        }
        tasks.spawn_endless(
            "the watch over the feed's age",
            feed_age::watch(self.enforcement.clone(), process.shortest_feed_life()),
        );
        self_check::spawn(tasks, process.self_check(), self.authority, self.metrics);
        let reloads = Reloads {
            source: self.service.source.clone(),
            names: self.service.names.clone(),
            own,
            authority: self
                .authority
                .map(|authority| (Arc::clone(authority), self.state.clone())),
            gateway: self.gateway.handle(),
            wanted: wanted_sender,
            ports: Ports::of(self.loaded),
            enforcement: self.enforcement.clone(),
            process,
            lists: self.lists,
            metrics: self.metrics.clone(),
            supervisor: self.supervisor,
            clock: Arc::clone(self.clock),
            in_force: following.as_mut().and_then(|it| it.in_force.take()),
            loaded: self.loaded.clone(),
            refused: None,
        };
        tasks.spawn("reload", reloads.run(asking));
        if let Some(Following {
            source,
            first,
            trust,
            renewal,
            ..
        }) = following
        {
            if let Some(renewal) = renewal {
                tasks.spawn_endless("the renewal of this node's certificate", renewal.run());
            }
            if let Some(trust) = trust {
                tasks.spawn_endless("the feed's bundles", trust.hand_on());
            }
            tasks.spawn(
                "the feed",
                feed::follow(source, first, self.enforcement.clone()),
            );
        }
        if let Some(authority) = self.authority {
            router = router.merge(admin::router(Arc::clone(authority)));
            let (beating, drain) = (Arc::clone(authority), self.drain.clone());
            tasks.spawn_endless("the feed's heartbeat", async move {
                beating.heartbeat(drain).await;
            });
            let (keeping, drain) = (Arc::clone(authority), self.drain.clone());
            tasks.spawn_endless("retention", async move {
                keeping.retain(drain.clone()).await;
                // Until the others have come to their end, too.
                std::future::pending::<()>().await;
            });
            tasks.spawn(
                "the unsealing of the CA key",
                unsealed(Arc::clone(authority)),
            );
        }
        tasks.spawn_endless(
            "the admin socket",
            admin::serve(socket, router, self.drain.clone()),
        );
    }
}

/// Waits for the CA key; one that cannot be unsealed stops the process.
async fn unsealed(authority: Arc<Authority>) -> Fault {
    let mut unsealing = authority.unsealed();
    loop {
        let now = unsealing.borrow_and_update().clone();
        match now {
            Unsealing::Failed(error) => return error.into(),
            Unsealing::Done => std::future::pending().await,
            Unsealing::Running => {}
        }
        if unsealing.changed().await.is_err() {
            return Fault::bug("the thread that unseals the CA key is gone");
        }
    }
}

/// Each waits for the one before it.
const WAITING_RELOADS: usize = 4;
