//! CONNECT (RFC 9110 §9.3.6): what it asks for, and its tunnel to where the route leads, whatever that was.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use countersign_diagnose::request::Malformed;
use countersign_policy::access::ConnectTarget;
use http::header::{CONTENT_LENGTH, HOST, HeaderValue, TRANSFER_ENCODING};
use http::request::Parts;
use http::{Response, StatusCode, Version};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use super::judging::Admitted;
use super::{Caller, ReadHost, View};
use crate::activity::{Activity, Busy, Observed};
use crate::body::ToClient;
use crate::connection::{ClientStream, Tunnel, open_one_of};
use crate::host::Host;
use crate::in_flight::{Asking, Requested};
use crate::problem;
use crate::upstream::Upstream;

/// What is asked for, where nothing in the request says otherwise and nothing but a tunnel is asked for.
pub(super) fn asked_for(parts: &Parts) -> Result<ReadHost, Malformed> {
    // Of HTTP/1.0 nobody knows where its end is, and an extended CONNECT (RFC 8441) has a scheme and a path.
    let is_spoken = matches!(parts.version, Version::HTTP_11 | Version::HTTP_2);
    let names_more = parts.uri.scheme().is_some() || !parts.uri.path().is_empty();
    let authority = parts.uri.authority().filter(|_| is_spoken && !names_more);
    let authority = authority.ok_or(Malformed::ConnectForm)?;
    let target = ConnectTarget::parse(authority.as_str()).map_err(|_| Malformed::ConnectForm)?;
    let mut hosts = parts.headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (_, Some(_)) => return Err(Malformed::HostDuplicate),
        (None, None) if parts.version == Version::HTTP_11 => return Err(Malformed::HostMissing),
        (Some(host), None) if !host.to_str().is_ok_and(|it| target.is_named_by(it)) => {
            return Err(Malformed::HostDiffers);
        }
        _ => {}
    }
    if [CONTENT_LENGTH, TRANSFER_ENCODING]
        .iter()
        .any(|name| parts.headers.contains_key(name))
    {
        return Err(Malformed::ConnectBody);
    }
    Ok(ReadHost {
        host: Host::parse(target.as_str())?,
        written: HeaderValue::from_str(target.as_str()).map_err(|_| Malformed::ConnectForm)?,
    })
}

/// Answers 200 when the upstream of the route is reached, which then gets what the client sends and nothing before it: no header says there
/// who that is.
pub(super) async fn connect(
    caller: &Rc<Caller>,
    view: &View,
    admitted: Admitted,
    mut parts: Parts,
    busy: Busy,
) -> Response<ToClient> {
    let mut choice = caller.pool.choose(&view.serving.upstreams[admitted.route]);
    let upstream = choice.upstream().clone();
    // No route that takes CONNECT has another.
    let Upstream::Bytes(address) = &upstream else {
        return problem::upstream(StatusCode::BAD_GATEWAY, None);
    };
    let address = Arc::clone(address);
    let upgrade = parts.extensions.remove::<OnUpgrade>();
    let looks_at_headers = view.serving.looks_at_headers();
    let requested = Rc::new(Requested {
        method: parts.method,
        host: admitted.host,
        target: parts.uri,
        headers: looks_at_headers.then_some(parts.headers),
        proof: RefCell::new(admitted.proof),
    });
    let asking = Asking::Request {
        requested,
        upstream,
    };
    let place = caller.in_flight.enter(caller, asking);
    // One connection of HTTP/2 has many tunnels: as many as all clients of a worker together, and not as many as each likes.
    let limit = caller.pool.bounds.upstream_connections;
    let upstream = match open_one_of(caller, &mut choice, address, &place, limit).await {
        Ok(upstream) => upstream,
        Err(unreached) => return problem::upstream(unreached.status, unreached.refusal.as_ref()),
    };
    let tunnel = Tunnel::new(upstream, place);
    match upgrade.filter(|_| caller.is_h2()) {
        // The connection has other streams: this one has a task of its own, and ends with the connection.
        Some(upgrade) => {
            let (caller, stream_end) = (Rc::clone(caller), caller.open_stream());
            tokio::task::spawn_local(async move {
                let _busy = busy;
                if let Ok(upgraded) = upgrade.await {
                    let mut client = Observed {
                        stream: ClientStream::new(TokioIo::new(upgraded), Rc::clone(&stream_end)),
                        activity: Activity::new(),
                        read_ahead: BytesMut::new(),
                    };
                    if !tunnel.run(&mut client, Bytes::new(), &caller).await {
                        stream_end.break_off();
                    }
                }
            });
        }
        None => caller.set_tunnel(tunnel),
    }
    Response::new(ToClient::Empty)
}
