//! What can be asked of the authority, on whatever port.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::Router;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, FromRequestParts, Path as UrlPath, Query, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::routing::{get, post};
use countersign_policy::issuance::{Actor, Request as Issuance};

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
    let issuers_of = |issuer: &_| authority.issuers_above(issuer);
    Ok(Json(show_response(page, issuers_of, authority.now())))
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

/// A request with 100 long SANs has 30 KiB, a certificate request at most 64 KiB in base64.
const MAX_BODY: usize = 256 * 1024;

/// Nodes that have not answered in five minutes are not there.
const MAX_WAIT: Duration = Duration::from_mins(5);
