//! Break-glass on the admin socket: how it stands, asking, arming, disarming.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use countersign_policy::break_glass::{Approval, Denied, MAX_APPROVALS, Reason};
use countersign_policy::issuance::Actor;
use serde::{Deserialize, Serialize};

use super::{AdminContext, Problem};
use crate::break_glass::{ArmError, BreakGlass, BreakGlassStatus};

/// What shall be approved of.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RequestBody {
    reason: String,
    for_s: u64,
}

/// What came of it.
#[derive(Debug, Serialize)]
struct Requested {
    /// The file to hand to those who approve.
    request: String,
}

/// Where approvals are needed they are all that is given; else reason and time are.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ArmBody {
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    for_s: Option<u64>,
    /// Files.
    #[serde(default)]
    approvals: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DisarmBody {
    #[serde(default)]
    reason: Option<String>,
}

/// What a disarming did.
#[derive(Debug, Serialize)]
struct Disarmed {
    was_armed: bool,
    connections_cut: u64,
}

pub(super) fn router() -> Router<AdminContext> {
    Router::new()
        .route("/v1/break-glass", get(status))
        .route("/v1/break-glass/{listener}/request", post(request))
        .route("/v1/break-glass/{listener}/arm", post(arm))
        .route("/v1/break-glass/{listener}/disarm", post(disarm))
}

async fn status(State(context): State<AdminContext>) -> Json<Vec<BreakGlassStatus>> {
    Json(
        context
            .gateway
            .glasses()
            .map(|glass| glass.status())
            .collect(),
    )
}

async fn request(
    State(context): State<AdminContext>,
    Path(listener): Path<String>,
    actor: Option<Extension<Actor>>,
    body: Result<Json<RequestBody>, JsonRejection>,
) -> Result<Json<Requested>, Problem> {
    let (by, Json(body)) = (local(actor)?, body.map_err(unread)?);
    let glass = find(&context, &listener)?;
    let reason = Reason::parse(&body.reason).map_err(ArmError::from)?;
    let duration = Duration::from_secs(body.for_s);
    let statement = glass.request(reason, duration, &by).await?;
    Ok(Json(Requested {
        request: statement.to_json(),
    }))
}

async fn arm(
    State(context): State<AdminContext>,
    Path(listener): Path<String>,
    actor: Option<Extension<Actor>>,
    body: Result<Json<ArmBody>, JsonRejection>,
) -> Result<Json<BreakGlassStatus>, Problem> {
    let (by, Json(body)) = (local(actor)?, body.map_err(unread)?);
    let glass = find(&context, &listener)?;
    let asked = match (body.reason, body.for_s) {
        (Some(reason), Some(for_s)) => {
            let reason = Reason::parse(&reason).map_err(ArmError::from)?;
            Some((reason, Duration::from_secs(for_s)))
        }
        (None, None) => None,
        _ => {
            return Err(Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "a reason and a time go together",
            )
            .with_hint(Some("`--for TIME --because TEXT`")));
        }
    };
    if body.approvals.len() > MAX_APPROVALS {
        return Err(ArmError::from(Denied::TooMany).into());
    }
    let mut approvals = Vec::with_capacity(body.approvals.len());
    for (index, text) in body.approvals.iter().enumerate() {
        let number = index + 1;
        let approval = Approval::parse(text.as_bytes());
        approvals.push(approval.map_err(|invalid| ArmError::Invalid { number, invalid })?);
    }
    Ok(Json(glass.arm(asked, approvals, &by).await?))
}

async fn disarm(
    State(context): State<AdminContext>,
    Path(listener): Path<String>,
    actor: Option<Extension<Actor>>,
    body: Result<Json<DisarmBody>, JsonRejection>,
) -> Result<Json<Disarmed>, Problem> {
    let (by, Json(body)) = (local(actor)?, body.map_err(unread)?);
    let glass = find(&context, &listener)?;
    let reason = body.reason.map(|it| Reason::parse(&it)).transpose();
    let reason = reason.map_err(ArmError::from)?;
    let ended = glass
        .disarm(reason.as_ref().map(Reason::as_str), &by)
        .await?;
    Ok(Json(Disarmed {
        was_armed: ended.is_some(),
        connections_cut: ended.map_or(0, |effects| effects.connections_cut),
    }))
}

/// Whoever has a shell on this machine as the gateway's user or as root, and nobody that came over a network.
fn local(actor: Option<Extension<Actor>>) -> Result<String, Problem> {
    match actor {
        Some(Extension(actor @ Actor::LocalAdmin { .. })) => Ok(actor.to_string()),
        _ => Err(Problem::new(
            StatusCode::FORBIDDEN,
            "break-glass is asked for, armed and disarmed on the gateway's own machine",
        )),
    }
}

fn find(context: &AdminContext, listener: &str) -> Result<Arc<BreakGlass>, Problem> {
    let known: Vec<&str> = context
        .gateway
        .glasses()
        .map(|glass| glass.name())
        .collect();
    let found = context
        .gateway
        .glasses()
        .find(|glass| glass.name() == listener);
    found.map(Arc::clone).ok_or_else(|| {
        let hint = if known.is_empty() {
            "a listener becomes one by [gateway.listener.break_glass]".to_owned()
        } else {
            format!("there is {}", known.join(", "))
        };
        Problem::new(
            StatusCode::CONFLICT,
            format!("no listener {listener:?} is for break-glass"),
        )
        .with_hint(Some(hint))
    })
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn unread(rejection: JsonRejection) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, rejection.body_text())
}

impl From<ArmError> for Problem {
    fn from(error: ArmError) -> Self {
        let status = match &error {
            ArmError::Disk { .. } | ArmError::NoRandomness => StatusCode::SERVICE_UNAVAILABLE,
            ArmError::Invalid { .. }
            | ArmError::ByApproval { .. }
            | ArmError::Denied {
                denied: Denied::Reason | Denied::Duration { .. },
            } => StatusCode::UNPROCESSABLE_ENTITY,
            _ => StatusCode::CONFLICT,
        };
        Self::new(status, error.to_string()).with_hint(error.hint())
    }
}
