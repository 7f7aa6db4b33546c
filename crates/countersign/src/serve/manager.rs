//! The service manager (systemd): the sockets that it passes, and what it is told.

use std::time::Duration;

use countersign_proxy::gateway::GatewayHandle;
use countersign_runtime::listen::PassedSocket;
use countersign_runtime::supervisor::Supervisor;
use tokio::time::{MissedTickBehavior, interval};

use crate::env::Environment;
use crate::fault::Fault;

/// What the process was started with.
pub(super) struct Manager {
    /// Whom it tells of its state.
    pub(super) supervisor: Supervisor,
    /// What its listeners accept on.
    pub(super) sockets: Vec<PassedSocket>,
}

impl Manager {
    /// To be called once: each call gives further copies of the sockets.
    pub(super) fn of(environment: &Environment) -> Result<Self, Fault> {
        Ok(Self {
            supervisor: environment.supervisor()?,
            sockets: environment.take_sockets()?,
        })
    }
}

/// Shows that the data plane and the control plane live, as often as the manager wants to know. Until the process ends.
pub(super) async fn show_life(supervisor: Supervisor, gateway: GatewayHandle) {
    let Some(each) = supervisor.watchdog_interval() else {
        return std::future::pending().await;
    };
    let mut ticks = interval(each.max(SHORTEST));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if gateway.workers_answer().await {
            supervisor.alive();
        } else {
            tracing::error!(
                "a worker of the data plane does not answer: the service manager gets no sign of life"
            );
        }
    }
}

/// A limit of no time at all must not keep a thread busy.
const SHORTEST: Duration = Duration::from_millis(10);
