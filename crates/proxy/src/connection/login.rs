//! A listener of logins to PostgreSQL: the login is read and judged, and goes to the database as the bytes that were judged.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use countersign_diagnose::cause::Cause;
use countersign_diagnose::evidence::Evidence;
use countersign_diagnose::refusal::{Refusal, RefusalId};
use countersign_diagnose::request::{malformed_login, refused_connection, refused_login};
use countersign_policy::access::{AccessPolicy, Decision};
use countersign_policy::postgresql::{
    InvalidPacket, Packet, REFUSED, UNREACHABLE, VIOLATION, error_response,
};
use countersign_tls::refused_stream::RefusedStream;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::Tunnel;
use super::relay::{close, open, unreached};
use crate::activity::Observed;
use crate::exchange::Caller;
use crate::in_flight::Asking;
use crate::upstream::{Address, Upstream};

pub(super) async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    mut client: Observed<S>,
    caller: Rc<Caller>,
) {
    let limit = caller.listener.serving.load().header_timeout;
    let reading = timeout(limit, read(&mut client));
    let Some(arrived) = caller.unless_cut(reading).await else {
        return;
    };
    let (bytes, packet) = match arrived {
        Ok(Ok(arrived)) => arrived,
        Ok(Err(NoPacket::Gone(error))) => {
            tracing::debug!(src.addr = %caller.session.source, %error, "client is gone before its login");
            return;
        }
        Ok(Err(NoPacket::Invalid(invalid))) => {
            let refusal = malformed_login(&invalid, caller.session.peer.as_deref());
            return refuse(client, &caller, refusal, VIOLATION).await;
        }
        Err(_) => return refuse(client, &caller, too_late(limit), VIOLATION).await,
    };
    match admitted(&caller, packet) {
        Ok((address, asking)) => {
            let is_login = matches!(asking, Asking::Login { .. });
            let place = caller.in_flight.enter(&caller, asking);
            // From here on a reload that takes the admission away finds it.
            match caller.unless_cut(open(&caller, &address)).await {
                Some(Ok(upstream)) => {
                    let tunnel = Tunnel::new(upstream, place);
                    tunnel.run(&mut client, bytes, &caller).await;
                }
                Some(Err(fault)) => {
                    unreached(&caller, &address, fault);
                    if is_login {
                        let message = error_response(UNREACHABLE, NOT_REACHED, None);
                        say(&mut client, &message).await;
                    }
                    close(client).await;
                }
                None => {}
            }
        }
        Err(Some(refusal)) => refuse(client, &caller, refusal, REFUSED).await,
        Err(None) => close(client).await,
    }
}

/// Why there is no packet.
enum NoPacket {
    Gone(io::Error),
    Invalid(InvalidPacket),
}

/// The client's first packet, to the byte and not a byte further, and what it says.
async fn read<S: AsyncRead + AsyncWrite + Unpin>(
    client: &mut Observed<S>,
) -> Result<(Bytes, Packet), NoPacket> {
    let mut first = [0; 4];
    client
        .read_exact(&mut first)
        .await
        .map_err(NoPacket::Gone)?;
    let length = Packet::length(first).map_err(NoPacket::Invalid)?;
    let mut bytes = vec![0; first.len() + length];
    let (start, rest) = bytes.split_at_mut(first.len());
    start.copy_from_slice(&first);
    client.read_exact(rest).await.map_err(NoPacket::Gone)?;
    let packet = Packet::parse(&bytes).map_err(NoPacket::Invalid)?;
    Ok((bytes.into(), packet))
}

/// Judged by what is served now: during a reload two policies have a say.
fn admitted(caller: &Caller, packet: Packet) -> Result<(Arc<Address>, Asking), Option<Refusal>> {
    let serving = caller.listener.serving.load();
    let (peer, circumstances) = (caller.session.peer.as_deref(), caller.circumstances());
    // The configuration gives it one: the end of a query has to be asked for where the login went.
    let Some(upstream @ Upstream::Bytes(address)) = serving.upstreams.first().map(|it| it.first())
    else {
        return Err(None);
    };
    let (address, upstream) = (Arc::clone(address), upstream.clone());
    match packet {
        Packet::Cancel => match serving.decide_before_login(peer, circumstances) {
            (Decision::Allow { .. }, _) => Ok((address, Asking::Cancel { upstream })),
            (decision, policy) => Err(refused_connection(&decision, peer, label(policy))),
        },
        Packet::Startup(login) => {
            let (decision, policy) = serving.decide_login(peer, &login, circumstances);
            let shadow = serving.shadow_of(policy);
            let shadow = shadow.and_then(|it| it.of_login(peer, &login, circumstances, &decision));
            (caller.listener).note_shadow(shadow, &caller.session, &login);
            let keep = |refused| {
                let label = Some(label(policy));
                caller.keep_decision(
                    &serving,
                    (&login).into(),
                    label,
                    refused,
                    shadow,
                    circumstances.now,
                );
            };
            if let Decision::Allow { .. } = decision {
                keep(None);
                return Ok((address, Asking::Login { login, upstream }));
            }
            let refusal = refused_login(&decision, peer, &login, label(policy));
            keep(refusal.as_ref().map(|it| it.cause));
            Err(refusal)
        }
    }
}

fn label(policy: &AccessPolicy) -> &str {
    policy.routes().first().map_or("", |it| it.label.as_str())
}

/// The client learns an id and no reason.
async fn refuse<S: AsyncRead + AsyncWrite + Unpin>(
    mut client: Observed<S>,
    caller: &Caller,
    refusal: Refusal,
    code: &str,
) {
    let id = caller
        .listener
        .refuse_request(refusal, &caller.session, None);
    let message = refused_with(&id, code);
    let parting = async {
        say(&mut client, &message).await;
        close(client).await;
    };
    caller.unless_cut(parting).await;
}

/// Whoever is refused before its login is read learns no more.
pub(super) async fn tell(mut client: RefusedStream, id: &RefusalId) {
    let message = refused_with(id, REFUSED);
    // Whether it was heard or not, there is nobody left to tell; the stream ends by itself.
    let _ = client.write_all(&message).await;
    let _ = client.flush().await;
    let _ = client.shutdown().await;
}

fn refused_with(id: &RefusalId, code: &str) -> Vec<u8> {
    let message = format!("the login was refused before it reached the database (refusal {id})");
    let hint = format!("whoever runs the gateway finds the reason with: countersign explain {id}");
    error_response(code, &message, Some(&hint))
}

async fn say<S: AsyncWrite + Unpin>(client: &mut Observed<S>, message: &[u8]) {
    let said = timeout(SAY_LIMIT, async {
        client.write_all(message).await?;
        client.flush().await
    });
    if !matches!(said.await, Ok(Ok(()))) {
        tracing::debug!("a client did not take the reason");
    }
}

fn too_late(limit: Duration) -> Refusal {
    let sentence = format!(
        "the login to PostgreSQL did not arrive within {:.1} s",
        limit.as_secs_f64()
    );
    Refusal::new(Cause::RequestLimit, sentence, Evidence::new())
}

const NOT_REACHED: &str = "the gateway cannot reach the database";

/// A few hundred bytes fit into any socket's buffer; whoever takes none of them is not waited for.
const SAY_LIMIT: Duration = Duration::from_secs(1);
