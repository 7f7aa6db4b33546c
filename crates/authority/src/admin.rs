//! The admin API on its socket: routes, and who may use them.

use std::convert::Infallible;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::Router;
use axum::body::Body;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, FromRequestParts, Path as UrlPath, Query, State};
use axum::http::request::Parts;
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use countersign_policy::issuance::{Actor, Request as Issuance};
use countersign_runtime::drain::Drain;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tower::ServiceExt as _;

use crate::api::{
    CERTIFICATES, IMPORT, ISSUE, ImportRequest, ImportResponse, IssueRequest, IssueResponse, LABEL,
    LabelRequest, LabelResponse, ListQuery, ListResponse, PREVIEW, PreviewResponse, RENEW, REVOKE,
    RenewRequest, RevokeRequest, RevokeResponse, STATUS, ShowResponse, StatusResponse,
};
use crate::authority::Authority;
use crate::conversion::{
    annotate, import_response, imported, issue_response, label_response, list_filter,
    list_response, preview_response, show_response, spki_of,
};
use crate::problem::Problem;
use crate::state::{PASSING_SOCKET, StateLock};
use crate::what::What;

/// The routes. Every request carries its [`Actor`] as an extension; without one it is refused.
pub fn router(authority: Arc<Authority>) -> Router {
    Router::new()
        .route(ISSUE, post(issue))
        .route(PREVIEW, post(preview))
        .route(RENEW, post(renew))
        .route(REVOKE, post(revoke))
        .route(LABEL, post(label))
        .route(IMPORT, post(import))
        .route(CERTIFICATES, get(list))
        .route(&format!("{CERTIFICATES}/{{what}}"), get(show))
        .route(STATUS, get(status))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(authority)
}

/// Answers what no route does. Not part of [`router`]: two routers with a fallback each cannot be merged, and those of
/// the gateway join this one.
pub(crate) fn with_fallbacks(router: Router) -> Router {
    router
        .fallback(async || Problem::new(StatusCode::NOT_FOUND, "the admin API has no such path"))
        .method_not_allowed_fallback(async || {
            Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "the admin API has no such method on this path",
            )
        })
}

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
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(actor);
    let Ok(response) = router.oneshot(request).await;
    response
}

struct Caller(Actor);

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let actor = parts.extensions.get::<Actor>().cloned();
        actor
            .map(Self)
            .ok_or_else(|| Problem::new(StatusCode::FORBIDDEN, "the caller is not known"))
    }
}

type Called<T> = Result<Json<T>, Problem>;

async fn issue(
    State(authority): State<Arc<Authority>>,
    Caller(actor): Caller,
    body: Result<Json<IssueRequest>, JsonRejection>,
) -> Called<IssueResponse> {
    let request = Issuance::try_from(read(body)?)?;
    Ok(Json(issue_response(authority.issue(actor, request).await?)))
}

async fn preview(
    State(authority): State<Arc<Authority>>,
    Caller(actor): Caller,
    body: Result<Json<IssueRequest>, JsonRejection>,
) -> Called<PreviewResponse> {
    let request = Issuance::try_from(read(body)?)?;
    Ok(Json(preview_response(
        authority.preview(actor, &request).await?,
    )))
}

async fn renew(
    State(authority): State<Arc<Authority>>,
    Caller(actor): Caller,
    body: Result<Json<RenewRequest>, JsonRejection>,
) -> Called<IssueResponse> {
    let RenewRequest { what, csr } = read(body)?;
    Ok(Json(issue_response(
        authority
            .renew(actor, &parse_what(&what), spki_of(&csr)?)
            .await?,
    )))
}

async fn revoke(
    State(authority): State<Arc<Authority>>,
    Caller(actor): Caller,
    body: Result<Json<RevokeRequest>, JsonRejection>,
) -> Called<RevokeResponse> {
    let RevokeRequest {
        what,
        reason,
        wait_ms,
    } = read(body)?;
    let wait = wait_ms.map(|wait_ms| Duration::from_millis(wait_ms).min(MAX_WAIT));
    Ok(Json(
        authority
            .revoke(actor, &parse_what(&what), reason, wait)
            .await?
            .into(),
    ))
}

async fn label(
    State(authority): State<Arc<Authority>>,
    Caller(actor): Caller,
    body: Result<Json<LabelRequest>, JsonRejection>,
) -> Called<LabelResponse> {
    let request = read(body)?;
    let change = annotate(&request)?;
    let (identity, annotation) = authority
        .annotate(actor, &parse_what(&request.what), change)
        .await?;
    Ok(Json(label_response(&identity, annotation)))
}

async fn import(
    State(authority): State<Arc<Authority>>,
    Caller(actor): Caller,
    body: Result<Json<ImportRequest>, JsonRejection>,
) -> Called<ImportResponse> {
    let (certificates, owner) = imported(&read(body)?)?;
    let outcomes = authority.import(actor, certificates.clone(), owner).await?;
    Ok(Json(import_response(&certificates, outcomes)))
}

async fn list(
    State(authority): State<Arc<Authority>>,
    Caller(_): Caller,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Called<ListResponse> {
    let Query(query) = query.map_err(|rejection| Problem::bad_request(rejection.body_text()))?;
    let now = authority.now();
    let (filter, after, limit) = list_filter(&query, authority.trust_domain(), now)?;
    Ok(Json(list_response(
        authority.list(filter, after, limit).await?,
        now,
    )))
}

async fn show(
    State(authority): State<Arc<Authority>>,
    Caller(_): Caller,
    UrlPath(what): UrlPath<String>,
) -> Called<ShowResponse> {
    let page = authority.show(&parse_what(&what)).await?;
    Ok(Json(show_response(page, authority.now())))
}

async fn status(
    State(authority): State<Arc<Authority>>,
    Caller(_): Caller,
) -> Called<StatusResponse> {
    Ok(Json(authority.status().await?))
}

fn read<T>(body: Result<Json<T>, JsonRejection>) -> Result<T, Problem> {
    match body {
        Ok(Json(body)) => Ok(body),
        Err(rejection) => Err(Problem::new(rejection.status(), rejection.body_text())),
    }
}

fn parse_what(text: &str) -> What {
    let Ok(what) = text.parse();
    what
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(target: "admin", %error, "admin connection panicked");
    }
}

const ROOT: u32 = 0;

/// A request with 100 long SANs has 30 KiB, a certificate request at most 64 KiB in base64.
const MAX_BODY: usize = 256 * 1024;

/// Twice the concurrency that issuance is measured with (256).
const MAX_CONNECTIONS: usize = 512;

/// The CLI sends a few hundred bytes of them; WHAT is part of the path, and a SPIFFE ID has up to 2 KiB.
const MAX_HEADERS: usize = 32 * 1024;

/// A local program sends its headers at once.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// Nodes that have not answered in five minutes are not there.
const MAX_WAIT: Duration = Duration::from_mins(5);

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
