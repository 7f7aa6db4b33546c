//! A listener of bytes: whoever is admitted gets a connection of their own to its upstream.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use countersign_diagnose::request::refused_connection;
use countersign_policy::access::Decision;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::Tunnel;
use crate::activity::Observed;
use crate::exchange::Caller;
use crate::in_flight::Asking;
use crate::upstream::{Address, Switched, Upstream, UpstreamFault};

pub(super) async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    client: Observed<S>,
    caller: Rc<Caller>,
) {
    match admitted(&caller) {
        Some((address, asking)) => {
            let place = caller.in_flight.enter(&caller, asking);
            // From here on a reload that takes the admission away finds it.
            match caller.unless_cut(open(&caller, &address)).await {
                Some(Ok(upstream)) => {
                    let tunnel = Tunnel::new(upstream, place);
                    tunnel.run(client, Bytes::new(), &caller).await;
                }
                Some(Err(fault)) => {
                    unreached(&caller, &address, fault);
                    close(client).await;
                }
                None => {}
            }
        }
        None => close(client).await,
    }
}

/// Judged again after the handshake: the anonymous show nothing there, and during a reload two policies have a say.
fn admitted(caller: &Caller) -> Option<(Arc<Address>, Asking)> {
    let serving = caller.listener.serving.load();
    let peer = caller.session.peer.as_deref();
    let circumstances = caller.circumstances();
    let (decision, policy) = serving.decide_connection(peer, circumstances);
    if let Some(shadow) = serving.shadow_of(policy) {
        let verdict = shadow.of_connection(peer, circumstances, &decision);
        (caller.listener).note_shadow(verdict, &caller.session, "a connection");
    }
    if let (Decision::Allow { .. }, Some(upstream @ Upstream::Bytes(address))) =
        (&decision, serving.upstreams.first())
    {
        let asking = Asking::Connection {
            upstream: upstream.clone(),
        };
        return Some((Arc::clone(address), asking));
    }
    let label = policy.routes().first().map_or("", |it| it.label.as_str());
    if let Some(refusal) = refused_connection(&decision, peer, label) {
        let listener = &caller.listener;
        listener.refuse_request(refusal, &caller.session, None);
    }
    None
}

/// The client's own connection to the upstream, which is told of the client first if it is to be.
pub(super) async fn open(
    caller: &Caller,
    address: &Arc<Address>,
) -> Result<Switched, UpstreamFault> {
    let version = caller.listener.serving.load().upstream_proxy_protocol;
    let header = match version {
        Some(version) => {
            let header = caller.session.proxy_header(version);
            // Its address is gone with the client itself.
            header.ok_or_else(|| UpstreamFault::Connect(io::ErrorKind::NotConnected.into()))?
        }
        None => Vec::new(),
    };
    caller.pool.open(address, &header).await
}

pub(super) fn unreached(caller: &Caller, address: &Address, fault: UpstreamFault) {
    if caller.pool.may_warn(address) {
        tracing::warn!(upstream = %address, listener = caller.listener.name, error = %fault, "upstream cannot be reached");
    }
    if let UpstreamFault::Refused(refusal) = fault {
        let listener = &caller.listener;
        listener.upstream_refused(*refusal, &caller.session, None);
    }
}

/// In good order, so that the client does not take it for an attack that cuts the stream short. What it has sent meanwhile is read:
/// a socket that is closed over unread bytes is reset, and the close alert may be lost with it.
pub(super) async fn close<S: AsyncRead + AsyncWrite + Unpin>(mut client: Observed<S>) {
    if let Err(error) = client.shutdown().await {
        tracing::debug!(%error, "a client was gone before it was told");
        return;
    }
    let mut rest = client.take(MAX_LAST_BYTES);
    // Whatever comes of it.
    let _ = timeout(
        LAST_WAIT,
        tokio::io::copy(&mut rest, &mut tokio::io::sink()),
    )
    .await;
}

/// As after a refused handshake.
const MAX_LAST_BYTES: u64 = 64 * 1024;
const LAST_WAIT: Duration = Duration::from_secs(1);
