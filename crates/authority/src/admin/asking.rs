//! What is sent to a route, understood or refused: bodies, and the keys that requests which issue are made under.

use aws_lc_rs::digest::{Context, SHA256};
use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::http::HeaderMap;
use countersign_policy::issuance::Actor;
use countersign_store::idempotency::{Claim, IdempotencyKey};
use serde::Serialize;

use crate::api::{IDEMPOTENCY_KEY, IssueRequest, OwnRenewRequest, RenewRequest};
use crate::authority::Authority;
use crate::problem::Problem;

/// A body, if it is of the right shape.
pub(super) fn read<T>(body: Result<Json<T>, JsonRejection>) -> Result<T, Problem> {
    match body {
        Ok(Json(body)) => Ok(body),
        Err(rejection) => Err(Problem::new(rejection.status(), rejection.body_text())),
    }
}

/// The key that the request is made under, if it is made under one.
pub(crate) fn claim(
    headers: &HeaderMap,
    path: &str,
    body: &impl Serialize,
) -> Result<Option<Claim>, Problem> {
    let mut given = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(header) = given.next() else {
        return Ok(None);
    };
    let refused = |why: String| Problem::bad_request(format!("{IDEMPOTENCY_KEY}: {why}"));
    if given.next().is_some() {
        return Err(refused("given twice".to_owned()));
    }
    let text = header.to_str().unwrap_or_default();
    let key = IdempotencyKey::parse(text).map_err(|error| refused(error.to_string()))?;
    // As it was understood: white space and the order of fields make no other request.
    let body = serde_json::to_vec(body).map_err(|error| refused(error.to_string()))?;
    let mut digest = Context::new(&SHA256);
    digest.update(path.as_bytes());
    digest.update(b"\n");
    digest.update(&body);
    let digest = digest.finish();
    let digest = digest.as_ref().try_into().expect("SHA-256 has 32 bytes");
    Ok(Some(Claim { key, digest }))
}

/// A request for a certificate, understood. One that is not was refused, which goes on record like any other refusal.
pub(super) async fn readable<W: Asks, T>(
    authority: &Authority,
    actor: &Actor,
    body: Result<Json<W>, JsonRejection>,
    understand: impl FnOnce(W) -> Result<T, Problem>,
) -> Result<T, Problem> {
    let mut object = "what cannot be read".to_owned();
    let understood = read(body).and_then(|wire| {
        object = wire.object();
        understand(wire)
    });
    if let Err(problem) = &understood {
        authority
            .refused(actor.clone(), &object, &problem.detail)
            .await;
    }
    understood
}

/// A request for a certificate, as the audit log calls it.
pub(super) trait Asks {
    fn object(&self) -> String;
}

impl Asks for IssueRequest {
    fn object(&self) -> String {
        format!("{} {}", self.profile, self.name)
    }
}

impl Asks for OwnRenewRequest {
    fn object(&self) -> String {
        "the next certificate of the caller".to_owned()
    }
}

impl Asks for RenewRequest {
    fn object(&self) -> String {
        format!("the next certificate of {}", self.what)
    }
}
