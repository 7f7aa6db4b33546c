//! Which worker accepts on what.

use std::collections::HashMap;
use std::sync::Arc;

use countersign_runtime::config::address::LocalAddress;
use countersign_runtime::listen::{ListenerSet, PassedSocket};
use countersign_runtime::unix_socket::{SocketFile, UnixListenerSet};

use super::StartError;
use super::worker::Assignment;
use crate::listener::Listener;
use crate::plan::{EgressAddress, EgressPlan, GatewayPlan};

/// A listener with the socket that one worker accepts on.
pub(super) type Share = (Arc<Listener>, Accepting);

/// What is accepted on.
pub(super) enum Accepting {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener),
}

/// The sockets that were passed, by their listeners' names.
pub(super) fn assigned(
    plan: &GatewayPlan,
    passed: Vec<PassedSocket>,
) -> Result<HashMap<String, ListenerSet>, StartError> {
    let mut assigned = HashMap::new();
    for PassedSocket { name, socket } in passed {
        let address = socket.local_addr();
        let shown = address
            .as_ref()
            .map_or_else(|_| "nowhere".to_owned(), ToString::to_string);
        let refused = |why: String| StartError::Passed {
            name: name.clone(),
            address: shown.clone(),
            why,
        };
        let address = address.map_err(|error| refused(error.to_string()))?;
        let named = plan.listeners.iter().find(|it| it.name == name);
        let listener = named
            .or_else(|| plan.listeners.iter().find(|it| it.address == address))
            .ok_or_else(|| refused("is that of no listener, by name or by address".to_owned()))?;
        let any_port = listener.address.port() == 0 && listener.address.ip() == address.ip();
        if listener.address != address && !any_port {
            let why = format!(
                "is not where the listener {} shall listen, {}",
                listener.name, listener.address
            );
            return Err(refused(why));
        }
        let set = ListenerSet::of_passed(socket, plan.workers);
        let set = set.map_err(|error| refused(error.to_string()))?;
        if assigned.insert(listener.name.clone(), set).is_some() {
            return Err(refused(format!(
                "is the second for the listener {}",
                listener.name
            )));
        }
    }
    Ok(assigned)
}

/// The address as bound, a socket for each worker, and the file that goes with them.
pub(super) fn bind_egress(
    plan: &EgressPlan,
    workers: usize,
) -> Result<(LocalAddress, Vec<Accepting>, Option<SocketFile>), StartError> {
    match &plan.address {
        EgressAddress::Tcp(address) => {
            let bound = ListenerSet::bind(*address, workers).map_err(|error| StartError::Bind {
                listener: plan.name.clone(),
                error,
            })?;
            let sockets = bound.sockets.into_iter().map(Accepting::Tcp).collect();
            Ok((LocalAddress::Tcp(bound.address), sockets, None))
        }
        EgressAddress::Unix { path, mode } => {
            let bound = UnixListenerSet::bind(path, *mode, workers).map_err(|error| {
                StartError::Socket {
                    egress: plan.name.clone(),
                    error,
                }
            })?;
            let sockets = bound.sockets.into_iter().map(Accepting::Unix).collect();
            Ok((LocalAddress::Unix(path.clone()), sockets, Some(bound.file)))
        }
    }
}

pub(super) fn share(
    of_workers: &mut [Assignment],
    listener: &Arc<Listener>,
    sockets: impl IntoIterator<Item = Accepting>,
) {
    for (worker, socket) in of_workers.iter_mut().zip(sockets) {
        worker.shares.push((Arc::clone(listener), socket));
    }
}
