//! A listener of bytes: whoever is admitted gets a connection of their own to its upstream.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use countersign_diagnose::refusal::RefusalId;
use countersign_diagnose::request::refused_connection;
use countersign_policy::access::Decision;
use http::StatusCode;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::Tunnel;
use crate::activity::Observed;
use crate::decisions::Asked as Seen;
use crate::exchange::Caller;
use crate::in_flight::{Asking, Place};
use crate::problem;
use crate::upstream::{Address, Choice, Switched, Upstream, UpstreamFault};

pub(super) async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    mut client: Observed<S>,
    caller: Rc<Caller>,
) {
    // On the heap, and gone while bytes pass.
    let tunnel = match Box::pin(open_tunnel(&caller)).await {
        Opened::Tunnel(tunnel) => tunnel,
        Opened::Nothing => return Box::pin(close(client)).await,
        Opened::Cut => return,
    };
    tunnel.run(&mut client, Bytes::new(), &caller).await;
}

enum Opened {
    /// Access was withdrawn meanwhile.
    Cut,
    /// Not admitted, or not reached.
    Nothing,
    Tunnel(Tunnel),
}

async fn open_tunnel(caller: &Rc<Caller>) -> Opened {
    let Some((mut choice, address, asking)) = admitted(caller) else {
        return Opened::Nothing;
    };
    let place = caller.in_flight.enter(caller, asking);
    // From here on a reload that takes the admission away finds it.
    // As many as the listener has clients, each of which has one.
    let opened = open_one_of(caller, &mut choice, address, &place, usize::MAX);
    match caller.unless_cut(opened).await {
        Some(Ok(upstream)) => Opened::Tunnel(Tunnel::new(upstream, place)),
        Some(Err(_)) => Opened::Nothing,
        None => Opened::Cut,
    }
}

/// No upstream could be reached, which was told of.
pub(crate) struct Unreached {
    pub(crate) status: StatusCode,
    /// Where it is on record why.
    pub(crate) refusal: Option<RefusalId>,
}

/// A connection to one of the upstreams; nothing of what the client sends has gone to those that could not be reached.
pub(crate) async fn open_one_of(
    caller: &Caller,
    choice: &mut Choice,
    mut address: Arc<Address>,
    place: &Place,
    limit: usize,
) -> Result<Switched, Unreached> {
    let header = header(caller).ok_or(Unreached {
        status: StatusCode::BAD_GATEWAY,
        refusal: None,
    })?;
    loop {
        let under_way = choice.under_way();
        let fault = match caller.pool.open(&address, limit, &header).await {
            Ok(mut upstream) => {
                choice.note_reached();
                upstream.under_way = under_way;
                return Ok(upstream);
            }
            Err(fault) => fault,
        };
        choice.note_fault(&fault);
        let status = problem::status(&fault);
        let refusal = unreached(caller, &address, fault);
        let told = Unreached { status, refusal };
        if !choice.moves_on() || !place.may_go_to(choice.upstream(), caller) {
            return Err(told);
        }
        address = Arc::clone(choice.upstream().address().ok_or(told)?);
    }
}

/// Judged again after the handshake: the anonymous show nothing there, and during a reload two policies have a say.
fn admitted(caller: &Caller) -> Option<(Choice, Arc<Address>, Asking)> {
    let serving = caller.listener.serving.load();
    let peer = caller.session.peer.as_deref();
    let circumstances = caller.circumstances();
    let (decision, policy) = serving.decide_connection(peer, circumstances);
    let shadow = serving.shadow_of(policy);
    let shadow = shadow.and_then(|it| it.of_connection(peer, circumstances, &decision));
    (caller.listener).note_shadow(shadow, &caller.session, "a connection");
    let label = policy.routes().first().map_or("", |it| it.label.as_str());
    let keep = |refused| {
        caller.keep_decision(
            &serving,
            Seen::Connection,
            Some(label),
            refused,
            shadow,
            circumstances.now,
        );
    };
    if let (Decision::Allow { .. }, Some(group)) = (&decision, serving.upstreams.first())
        && let Upstream::Bytes(_) = group.first()
    {
        keep(None);
        let choice = caller.pool.choose(group);
        let upstream = choice.upstream().clone();
        let address = Arc::clone(upstream.address()?);
        return Some((choice, address, Asking::Connection { upstream }));
    }
    if let Some(refusal) = refused_connection(&decision, peer, label) {
        keep(Some(refusal.cause));
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
    let header = header(caller);
    let header =
        header.ok_or_else(|| UpstreamFault::Connect(io::ErrorKind::NotConnected.into()))?;
    caller.pool.open(address, usize::MAX, &header).await
}

/// What an upstream is told of the client. `None`: its address is gone with the client itself, which is no fault of any upstream.
fn header(caller: &Caller) -> Option<Vec<u8>> {
    match caller.listener.serving.load().upstream_proxy_protocol {
        Some(version) => caller.session.proxy_header(version),
        None => Some(Vec::new()),
    }
}

/// Its id, where it is a refusal.
pub(super) fn unreached(
    caller: &Caller,
    address: &Address,
    fault: UpstreamFault,
) -> Option<RefusalId> {
    if caller.pool.may_warn(address) {
        tracing::warn!(upstream = %address, listener = caller.listener.name, error = %fault, "upstream cannot be reached");
    }
    match fault {
        UpstreamFault::Refused(refusal) => {
            let listener = &caller.listener;
            Some(listener.upstream_refused(*refusal, &caller.session, None))
        }
        _ => None,
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
const MAX_LAST_BYTES: u64 = 4 * 1024 * 1024;
const LAST_WAIT: Duration = Duration::from_secs(1);
