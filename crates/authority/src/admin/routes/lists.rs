//! What can be asked of the authority about revocation lists: its own, and those of the CAs above it.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, JsonRejection, QueryRejection};
use axum::extract::{Query, State};
use countersign_policy::administration::Role;

use super::super::asking::read;
use super::super::route::Route;
use super::{CRL, Called, Caller, MAX_EVIDENCE};
use crate::api::{
    IMPORT_LIST, ImportListQuery, ImportedListResponse, ListView, ListsResponse, REVOCATION_LISTS,
    ROOT_LIST, ROOT_LIST_DRAFT, RootListDraft, RootListRequest,
};
use crate::authority::Authority;
use crate::conversion::{
    left_out, lists_response, revoked_under_root, root_list_draft as drafted_response,
};
use crate::problem::Problem;

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::post(
            REVOCATION_LISTS,
            Role::Operator,
            "Sign the revocation lists that are due, and show all",
            revocation_lists,
        )
        .answers::<ListsResponse>(),
        Route::post(
            IMPORT_LIST,
            Role::Admin,
            "Publish a revocation list of a CA above the issuing one that was signed elsewhere",
            import_list,
        )
        .takes_bytes(CRL, MAX_EVIDENCE)
        .takes_query::<ImportListQuery>()
        .answers::<ImportedListResponse>(),
        Route::post(
            ROOT_LIST,
            Role::Admin,
            "Sign the root's revocation list with the key in the state folder",
            root_list,
        )
        .takes::<RootListRequest>()
        .answers::<ListView>(),
        Route::post(
            ROOT_LIST_DRAFT,
            Role::Admin,
            "Draft the root's revocation list, to be signed where its key is and imported then",
            root_list_draft,
        )
        .takes::<RootListRequest>()
        .answers::<RootListDraft>(),
    ]
}

async fn revocation_lists(
    State(authority): State<Arc<Authority>>,
    Caller(actor): Caller,
) -> Called<ListsResponse> {
    Ok(Json(lists_response(authority.complete_lists(actor).await?)))
}

async fn import_list(
    State(authority): State<Arc<Authority>>,
    Caller(actor): Caller,
    query: Result<Query<ImportListQuery>, QueryRejection>,
    body: Result<Bytes, BytesRejection>,
) -> Called<ImportedListResponse> {
    let Query(query) = query.map_err(|rejection| Problem::bad_request(rejection.body_text()))?;
    let der = body.map_err(|rejection| Problem::new(rejection.status(), rejection.body_text()))?;
    Ok(Json(
        authority
            .import_list(actor, der, left_out(query))
            .await?
            .into(),
    ))
}

async fn root_list(
    State(authority): State<Arc<Authority>>,
    Caller(actor): Caller,
    body: Result<Json<RootListRequest>, JsonRejection>,
) -> Called<ListView> {
    let revoke = revoked_under_root(read(body)?);
    Ok(Json(authority.sign_root_list(actor, revoke).await?.into()))
}

async fn root_list_draft(
    State(authority): State<Arc<Authority>>,
    Caller(actor): Caller,
    body: Result<Json<RootListRequest>, JsonRejection>,
) -> Called<RootListDraft> {
    let revoke = revoked_under_root(read(body)?);
    let drafted = authority.draft_root_list(actor, revoke).await?;
    Ok(Json(drafted_response(authority.root(), &drafted)))
}
