//! What nodes ask for and say.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use countersign_pki::feed::port::{
    ACKNOWLEDGEMENT, CERTIFICATE, Certified, FEED, LEAVE, Leaving, ListenerCertificate,
    NextCertificate, RENEW,
};
use countersign_pki::feed::{AcknowledgementOf, HistoryId, Sequence};
use countersign_pki::name::{InvalidName, TypedName};
use countersign_pki::request::Wishes;
use countersign_policy::issuance::{Profile, Request};
use serde::Deserialize;
use tokio::sync::Notify;

use super::{Node, telling};
use crate::admin::asking::claim;
use crate::authority::Authority;
use crate::conversion::requested_key;
use crate::feed::NotItsPlace;
use crate::problem::Problem;
use crate::reserved_port::{Budget, Holder, within};

/// Every request carries its [`Node`] as an extension; without one it is refused.
pub(super) fn router(authority: Arc<Authority>) -> Router {
    Router::new()
        .route(FEED, get(feed))
        .route(ACKNOWLEDGEMENT, post(acknowledge))
        .route(LEAVE, post(leave))
        .route(RENEW, post(renew))
        .route(CERTIFICATE, post(certify))
        .fallback(async || Problem::new(StatusCode::NOT_FOUND, "the feed port has no such path"))
        .method_not_allowed_fallback(async || {
            Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "the feed port has no such method on this path",
            )
        })
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(Extension(Arc::new(Budget::default())))
        .with_state(authority)
}

/// What a node holds; left out, it holds nothing.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Held {
    history: Option<HistoryId>,
    after: Option<Sequence>,
}

async fn feed(
    State(authority): State<Arc<Authority>>,
    Node(node, _): Node,
    Extension(stalled): Extension<Arc<Notify>>,
    held: Result<Query<Held>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(Held { history, after }) =
        held.map_err(|rejection| Problem::bad_request(rejection.body_text()))?;
    let held = match (history, after) {
        (Some(history), Some(after)) => Some((history, after)),
        (None, None) => None,
        _ => {
            return Err(Problem::bad_request(
                "history and after go together: a place is a place in a history",
            ));
        }
    };
    let body = telling::begin(authority, &node, held, stalled).await?;
    let mut response = body.into_response();
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/event-stream"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

async fn acknowledge(
    State(authority): State<Arc<Authority>>,
    Node(node, _): Node,
    said: Result<Json<AcknowledgementOf>, JsonRejection>,
) -> Result<StatusCode, Problem> {
    let said = read(said)?;
    let history = authority.store.history();
    authority
        .hub
        .acknowledge_remote(&node.name(), history, said)?;
    Ok(StatusCode::NO_CONTENT)
}

async fn leave(
    State(authority): State<Arc<Authority>>,
    Node(node, _): Node,
    said: Result<Json<Leaving>, JsonRejection>,
) -> Result<StatusCode, Problem> {
    let Leaving { place } = read(said)?;
    authority.hub.leave_remote(&node.name(), place)?;
    Ok(StatusCode::NO_CONTENT)
}

async fn renew(
    State(authority): State<Arc<Authority>>,
    Node(node, _): Node,
    Extension(budget): Extension<Arc<Budget>>,
    headers: HeaderMap,
    asked: Result<Json<NextCertificate>, JsonRejection>,
) -> Result<Json<Certified>, Problem> {
    within(&budget, &authority, &node.name(), node.actor()).await?;
    let object = "the next certificate of the caller";
    let understood = read(asked).and_then(|next| {
        let claim = claim(&headers, RENEW, &next)?;
        let (key, _) = requested_key(&next.csr)?;
        Ok((key, claim))
    });
    let (key, claim) = recorded(&authority, &node, object, understood).await?;
    let issued = authority
        .renew_presented(node.actor(), node.presented(), key, claim)
        .await?;
    Ok(Json(Certified {
        chain_pem: issued.chain_pem,
    }))
}

/// A certificate for the node's listeners: which names it may have, the policy decides.
async fn certify(
    State(authority): State<Arc<Authority>>,
    Node(node, _): Node,
    Extension(budget): Extension<Arc<Budget>>,
    headers: HeaderMap,
    asked: Result<Json<ListenerCertificate>, JsonRejection>,
) -> Result<Json<Certified>, Problem> {
    within(&budget, &authority, &node.name(), node.actor()).await?;
    let object = "a certificate for a listener";
    let understood = read(asked).and_then(|asked| {
        let claim = claim(&headers, CERTIFICATE, &asked)?;
        Ok((listener_request(&asked)?, claim))
    });
    let (request, claim) = recorded(&authority, &node, object, understood).await?;
    let issued = authority.issue_once(node.actor(), request, claim).await?;
    Ok(Json(Certified {
        chain_pem: issued.chain_pem,
    }))
}

fn listener_request(asked: &ListenerCertificate) -> Result<Request, Problem> {
    let (key, _) = requested_key(&asked.csr)?;
    let names = asked.names.iter().map(|name| name.parse());
    let names: Result<Vec<TypedName>, InvalidName> = names.collect();
    let names = names.map_err(|error| Problem::bad_request(error.to_string()))?;
    let Some((first, further)) = names.split_first() else {
        return Err(Problem::bad_request("a listener's certificate has a name"));
    };
    Ok(Request {
        profile: Profile::SERVER,
        name: first.bare(),
        subject_alt_names: further.to_vec(),
        lifetime: asked.lifetime_s.map(Duration::from_secs),
        spki_der: key.spki_der,
        wishes: Wishes::default(),
    })
}

/// What was understood of a request for a certificate. One that was not goes on record like any other refusal.
async fn recorded<T>(
    authority: &Authority,
    node: &Holder,
    object: &str,
    understood: Result<T, Problem>,
) -> Result<T, Problem> {
    if let Err(problem) = &understood {
        authority
            .refused(node.actor(), object, &problem.detail)
            .await;
    }
    understood
}

impl From<NotItsPlace> for Problem {
    fn from(error: NotItsPlace) -> Self {
        Self::new(StatusCode::CONFLICT, error.to_string())
    }
}

fn read<T>(body: Result<Json<T>, JsonRejection>) -> Result<T, Problem> {
    match body {
        Ok(Json(body)) => Ok(body),
        Err(rejection) => Err(Problem::new(rejection.status(), rejection.body_text())),
    }
}

/// A certificate request with its names.
const MAX_BODY: usize = 64 * 1024;
