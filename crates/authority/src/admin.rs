//! The admin API on its socket, and who may use it.

pub(crate) mod asking;
pub(crate) mod openapi;
mod origin;
pub mod port;
mod reading;
mod route;
mod routes;

use std::convert::Infallible;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};
use countersign_policy::issuance::Actor;
use countersign_runtime::drain::Drain;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tower::ServiceExt as _;

use crate::problem::Problem;
use crate::state::{PASSING_SOCKET, StateLock};

pub use self::openapi::document;
pub use self::reading::read_and_forget;
pub use self::routes::router;
pub(crate) use self::routes::with_fallbacks;

/// Binds the socket, 0600 under its name from the first instant. The lock proves that a socket that is there already is
/// a dead one.
pub fn bind_socket(path: &Path, _lock: &StateLock) -> io::Result<UnixListener> {
    let passing = path.with_file_name(PASSING_SOCKET);
    match fs::remove_file(&passing) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&passing)?;
    fs::set_permissions(&passing, Permissions::from_mode(0o600))?;
    fs::rename(&passing, path)?;
    Ok(listener)
}

/// Serves until the drain begins; requests in flight are finished. Peers other than root and our own user get 403.
pub async fn serve(listener: UnixListener, router: Router, drain: Drain) {
    let router = with_fallbacks(router);
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    let draining = drain.draining();
    tokio::pin!(draining);
    loop {
        let place = tokio::select! {
            () = &mut draining => break,
            place = Arc::clone(&places).acquire_owned() => place.expect("the semaphore is never closed"),
        };
        let accepted = tokio::select! {
            () = &mut draining => break,
            accepted = listener.accept() => accepted,
        };
        while let Some(ended) = connections.try_join_next() {
            report(ended);
        }
        match accepted {
            Ok((stream, _)) => {
                let (router, drain) = (router.clone(), drain.clone());
                connections.spawn(async move {
                    let _place = place;
                    serve_connection(stream, router, drain).await;
                });
            }
            Err(error) => {
                tracing::warn!(target: "admin", %error, "admin socket cannot accept");
                // Out of descriptors, most likely: nothing is gained by asking again at once.
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    let ended = drain.ended();
    tokio::pin!(ended);
    loop {
        tokio::select! {
            () = &mut ended => return,
            joined = connections.join_next() => match joined {
                Some(joined) => report(joined),
                None => return,
            },
        }
    }
}

/// Who the process at the other end is to us: the operating system vouches for its user.
pub fn admit(peer_uid: u32, own_uid: u32) -> Option<Actor> {
    (peer_uid == ROOT || peer_uid == own_uid).then_some(Actor::LocalAdmin { uid: peer_uid })
}

async fn serve_connection(stream: UnixStream, router: Router, drain: Drain) {
    let _guard = drain.guard();
    let peer = match stream.peer_cred() {
        Ok(credentials) => credentials.uid(),
        Err(error) => {
            tracing::warn!(target: "admin", %error, "peer of the admin socket has no credentials");
            return;
        }
    };
    let actor = admit(peer, rustix::process::geteuid().as_raw());
    if actor.is_none() {
        tracing::warn!(target: "admin", uid = peer, "user is refused on the admin socket");
    }
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let (router, actor) = (router.clone(), actor.clone());
        async move { Ok::<_, Infallible>(answer(request, router, actor).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_HEADERS)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let draining = drain.draining();
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = draining => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(target: "admin", %error, "admin connection broke");
    }
}

async fn answer(request: Request<Incoming>, router: Router, actor: Option<Actor>) -> Response {
    let Some(actor) = actor else {
        return Problem::new(
            StatusCode::FORBIDDEN,
            "only root and the user that runs this process may use the admin socket",
        )
        .into_response();
    };
    // No browser reaches a socket; what somebody puts before it may be reached by one.
    if let Err(problem) = origin::judge(request.method(), request.headers()) {
        tracing::warn!(target: "admin", %actor, why = problem.detail, "request is refused on the admin socket");
        return problem.into_response();
    }
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(actor);
    let Ok(response) = router.oneshot(request).await;
    response
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(target: "admin", %error, "admin connection panicked");
    }
}

const ROOT: u32 = 0;

/// Twice the concurrency that issuance is measured with (256).
const MAX_CONNECTIONS: usize = 512;

/// The CLI sends a few hundred bytes of them; WHAT is part of the path, and a SPIFFE ID has up to 2 KiB.
const MAX_HEADERS: usize = 32 * 1024;

/// A local program sends its headers at once.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_and_our_own_user_are_admitted_and_nobody_else() {
        assert_eq!(admit(0, 1000), Some(Actor::LocalAdmin { uid: 0 }));
        assert_eq!(admit(1000, 1000), Some(Actor::LocalAdmin { uid: 1000 }));
        assert_eq!(admit(1001, 1000), None);
        assert_eq!(admit(1000, 0), None);
        assert_eq!(admit(u32::MAX, 1000), None);
    }
}
