//! The gateway's part of the admin socket. Who may connect is decided by whoever serves the router.

mod break_glass;

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query as UrlQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use countersign_diagnose::refusal::RefusalId;
use countersign_pki::time::UnixTime;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use crate::gateway::{GatewayHandle, GatewayStatus, ReloadReport};
use crate::refusals::{Query, StoredRefusal, search};

/// What the endpoints look at.
#[derive(Clone)]
pub struct AdminContext {
    /// The running gateway.
    pub gateway: GatewayHandle,
    /// The folder of the refusal ring.
    pub refusals: PathBuf,
    /// Where a reload is asked for: whoever holds the other end reads the configuration again and answers with the report, or
    /// with why the old one stays.
    pub reload: mpsc::Sender<ReloadRequest>,
}

/// Where the outcome of a reload goes.
pub type ReloadRequest = oneshot::Sender<Result<ReloadReport, String>>;

/// `GET /v1/refusals/{id}`, `GET /v1/refusals?from=ADDR&since_s=N`, `GET /v1/gateway`, `POST /v1/gateway/reload`,
/// `GET /v1/break-glass`, `POST /v1/break-glass/{listener}/request`, `…/arm`, `…/disarm`.
pub fn router(context: AdminContext) -> Router {
    Router::new()
        .route("/v1/gateway", get(status))
        .route("/v1/gateway/reload", post(reload))
        .route("/v1/refusals", get(refusals_from))
        .route("/v1/refusals/{id}", get(refusal))
        .merge(break_glass::router())
        .with_state(context)
}

/// `?from=ADDR&since_s=N`: the last N seconds.
#[derive(Deserialize)]
struct FromSince {
    from: IpAddr,
    #[serde(default = "last_hour")]
    since_s: u64,
}

async fn status(State(context): State<AdminContext>) -> Json<GatewayStatus> {
    Json(context.gateway.status())
}

async fn reload(State(context): State<AdminContext>) -> Result<Json<ReloadReport>, Problem> {
    let gone = || {
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "the gateway is shutting down",
        )
    };
    let (answer, answered) = oneshot::channel();
    context.reload.send(answer).await.map_err(|_| gone())?;
    match answered.await.map_err(|_| gone())? {
        Ok(report) => Ok(Json(report)),
        // The running configuration stays: what was asked for is what is wrong.
        Err(why) => Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, why)),
    }
}

async fn refusal(
    State(context): State<AdminContext>,
    Path(id): Path<String>,
) -> Result<Json<StoredRefusal>, Problem> {
    let id: RefusalId = id
        .parse()
        .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, format!("{error}")))?;
    let found = find(context, Query::Id(id.clone()))
        .await?
        .into_iter()
        .next();
    found.map(Json).ok_or_else(|| {
        Problem::new(
            StatusCode::NOT_FOUND,
            format!("no refusal {id} is kept here"),
        )
    })
}

async fn refusals_from(
    State(context): State<AdminContext>,
    query: Result<UrlQuery<FromSince>, QueryRejection>,
) -> Result<Json<Vec<StoredRefusal>>, Problem> {
    let UrlQuery(FromSince { from, since_s }) =
        query.map_err(|rejection| Problem::new(StatusCode::BAD_REQUEST, rejection.body_text()))?;
    let now = UnixTime::from_seconds(context.gateway.clock().unix_seconds());
    let since = now.minus(Duration::from_secs(since_s));
    Ok(Json(
        find(
            context,
            Query::From {
                address: from,
                since,
            },
        )
        .await?,
    ))
}

async fn find(context: AdminContext, query: Query) -> Result<Vec<StoredRefusal>, Problem> {
    let searching = tokio::task::spawn_blocking(move || {
        context.gateway.refusals().settle();
        search(&context.refusals, &query)
    });
    let found = searching
        .await
        .map_err(|error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    found.map_err(|error| {
        Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("the refusals cannot be read: {error}"),
        )
    })
}

/// RFC 9457; the asker is an operator, so the detail says why.
#[derive(Serialize)]
struct Problem {
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'static str,
    status: u16,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

impl Problem {
    fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            detail: detail.into(),
            hint: None,
        }
    }

    fn with_hint(mut self, hint: Option<impl Into<String>>) -> Self {
        self.hint = hint.map(Into::into);
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (
            status,
            [("content-type", "application/problem+json")],
            Json(self),
        )
            .into_response()
    }
}

fn last_hour() -> u64 {
    3600
}
