//! What can be asked of the authority, on whatever port.

mod lists;

use std::sync::Arc;

use axum::Extension;
use axum::Json;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::rejection::{BytesRejection, JsonRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, FromRequestParts, Path as UrlPath, Query, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use countersign_pki::feed::{Sequence, Snapshot};
use countersign_policy::administration::Role;
use countersign_policy::issuance::{Actor, Profile};
use countersign_store::pause::Grounds;

use super::asking::{claim, read, readable};
use super::openapi::document;
use super::route::Route;
use crate::api::{
    AUDIT, AuditQuery, BACKUP, CERTIFICATES, EVIDENCE_CRL, EVIDENCE_FEED, EvidenceResponse, IMPORT,
    ISSUE, ImportRequest, ImportResponse, IssueRequest, IssueResponse, LABEL, LabelRequest,
    LabelResponse, ListQuery, ListResponse, OPENAPI, OwnRenewRequest, PREVIEW, PRUNE,
    PRUNE_PREVIEW, PreviewResponse, PruneResponse, RECEIPTS, RELEASE, RELEASE_PREVIEW, RENEW,
    RENEW_OWN, RESUME, REVOKE, REVOKE_PREVIEW, ReceiptQuery, ReceiptResponse, ReleaseRequest,
    ReleaseResponse, RenewRequest, ResumeRequest, ResumeResponse, RevokePreviewResponse,
    RevokeRequest, RevokeResponse, STATUS, ShowResponse, StatusResponse, UNDER_WAY,
    UnderWayResponse,
};
use crate::authority::Authority;
use crate::conversion::revocation::{
    Asked, bounded, preview_response as withdrawal_preview, receipt_response,
    release as asked_release, release_response, revocation, revoke_response,
};
use crate::conversion::{
    annotate, import_response, imported, issuance, issue_response, label_response, list_filter,
    list_response, preview_response, prune_response, requested_key, show_response,
};
use crate::problem::Problem;
use crate::receipt::Receipt;
use crate::reserved_port::{Budget, within};
use crate::what::What;

/// The routes. Every request carries its [`Actor`] as an extension; without one it is refused.
pub fn router(authority: Arc<Authority>) -> Router {
    routes()
        .into_iter()
        .fold(Router::new(), |router, route| {
            route.mount(router, Arc::clone(&authority))
        })
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(authority)
}

/// What there is, and who may.
pub(crate) fn routes() -> Vec<Route> {
    let mut routes = certificate_routes();
    routes.extend(withdrawal_routes());
    routes.extend(lists::routes());
    routes.extend(authority_routes());
    routes
}

fn certificate_routes() -> Vec<Route> {
    vec![
        Route::post(ISSUE, Role::Issuer, "Issue a certificate", issue)
            .takes::<IssueRequest>()
            .answers::<IssueResponse>()
            .once(),
        Route::post(
            PREVIEW,
            Role::Issuer,
            "Show what would be issued, and why",
            preview,
        )
        .takes::<IssueRequest>()
        .answers::<PreviewResponse>(),
        Route::post(
            RENEW,
            Role::Issuer,
            "Issue the next certificate for the same names",
            renew,
        )
        .takes::<RenewRequest>()
        .answers::<IssueResponse>()
        .once(),
        Route::post(
            RENEW_OWN,
            Role::Viewer,
            "Issue the caller's own next certificate, for the one that it has shown",
            renew_own,
        )
        .takes::<OwnRenewRequest>()
        .answers::<IssueResponse>()
        .once(),
        Route::post(
            LABEL,
            Role::Operator,
            "Say whose an identity is; without a change, show what is said",
            label,
        )
        .takes::<LabelRequest>()
        .answers::<LabelResponse>(),
        Route::post(
            IMPORT,
            Role::Operator,
            "Watch certificates of others",
            import,
        )
        .takes::<ImportRequest>()
        .answers::<ImportResponse>(),
        Route::get(
            CERTIFICATES,
            Role::Viewer,
            "List certificates, page by page",
            list,
        )
        .takes_query::<ListQuery>()
        .answers::<ListResponse>(),
        Route::get(SHOW, Role::Viewer, "Show what WHAT means", show)
            .takes_what()
            .answers::<ShowResponse>(),
    ]
}

fn withdrawal_routes() -> Vec<Route> {
    vec![
        Route::post(
            REVOKE,
            Role::Operator,
            "Revoke certificates, or put them on hold",
            revoke,
        )
        .takes::<RevokeRequest>()
        .answers::<RevokeResponse>(),
        Route::post(
            REVOKE_PREVIEW,
            Role::Operator,
            "Show what would be revoked",
            revoke_preview,
        )
        .takes::<RevokeRequest>()
        .answers::<RevokePreviewResponse>(),
        Route::post(RELEASE, Role::Operator, "End holds", release)
            .takes::<ReleaseRequest>()
            .answers::<ReleaseResponse>(),
        Route::post(
            RELEASE_PREVIEW,
            Role::Operator,
            "Show which holds would end",
            release_preview,
        )
        .takes::<ReleaseRequest>()
        .answers::<RevokePreviewResponse>(),
        Route::get(
            UNDER_WAY,
            Role::Operator,
            "Show how far the revocation or release is that is under way",
            under_way,
        )
        .answers::<UnderWayResponse>(),
        Route::get(
            RECEIPTS,
            Role::Operator,
            "Wait until the nodes have put messages of the feed in force",
            receipts,
        )
        .takes_query::<ReceiptQuery>()
        .answers::<ReceiptResponse>(),
    ]
}

/// About the authority as a whole.
fn authority_routes() -> Vec<Route> {
    vec![
        Route::post(BACKUP, Role::Admin, "Copy the authority", backup).answers_bytes(TAR),
        Route::post(
            EVIDENCE_CRL,
            Role::Admin,
            "Tell a restored authority what a CRL lists",
            evidence_crl,
        )
        .takes_bytes(CRL, MAX_EVIDENCE)
        .answers::<EvidenceResponse>(),
        Route::post(
            EVIDENCE_FEED,
            Role::Admin,
            "Tell a restored authority what the feed state of a gateway holds",
            evidence_feed,
        )
        .takes_bytes("application/json", MAX_EVIDENCE)
        .answers::<EvidenceResponse>(),
        Route::post(
            RESUME,
            Role::Admin,
            "Let a restored authority issue again",
            resume,
        )
        .takes::<ResumeRequest>()
        .answers::<ResumeResponse>(),
        Route::post(
            PRUNE,
            Role::Admin,
            "Let leave the inventory what expired long ago, by the configured rule",
            prune,
        )
        .answers::<PruneResponse>(),
        Route::get(
            PRUNE_PREVIEW,
            Role::Admin,
            "Show what would leave the inventory",
            prune_preview,
        )
        .answers::<PruneResponse>(),
        Route::get(AUDIT, Role::Admin, "Export the audit log", audit)
            .takes_query::<AuditQuery>()
            .answers_bytes(JSON_LINES),
        Route::get(STATUS, Role::Viewer, "Show how the authority is", status)
            .answers::<StatusResponse>(),
        Route::get(OPENAPI, Role::Viewer, "This document", openapi),
    ]
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
    headers: HeaderMap,
    body: Result<Json<IssueRequest>, JsonRejection>,
) -> Called<IssueResponse> {
    let issuance = |wire: IssueRequest| {
        let claim = claim(&headers, ISSUE, &wire)?;
        Ok((issuance(wire)?, claim))
    };
    let ((request, ignored), claim) = readable(&authority, &actor, body, issuance).await?;
    let issued = authority.issue_once(actor, request, claim).await?;
    Ok(Json(issue_response(issued, ignored)))
}

async fn preview(
    State(authority): State<Arc<Authority>>,
    Caller(actor): Caller,
    body: Result<Json<IssueRequest>, JsonRejection>,
) -> Called<PreviewResponse> {
    let (request, ignored) = issuance(read(body)?)?;
    let preview = authority.preview(actor, &request).await?;
    Ok(Json(preview_response(preview, ignored)))
}

async fn renew(
    State(authority): State<Arc<Authority>>,
    Caller(actor): Caller,
    headers: HeaderMap,
    body: Result<Json<RenewRequest>, JsonRejection>,
) -> Called<IssueResponse> {
    let renewal = |wire: RenewRequest| {
        let claim = claim(&headers, RENEW, &wire)?;
        Ok((requested_key(&wire.csr)?, wire.what, claim))
    };
    let ((key, ignored), what, claim) = readable(&authority, &actor, body, renewal).await?;
    let what = parse_what(&what);
    let issued = authority.renew_once(actor, &what, key, claim).await?;
    Ok(Json(issue_response(issued, ignored)))
}

async fn renew_own(
    State(authority): State<Arc<Authority>>,
    Caller(actor): Caller,
    budget: Option<Extension<Arc<Budget>>>,
    headers: HeaderMap,
    body: Result<Json<OwnRenewRequest>, JsonRejection>,
) -> Called<IssueResponse> {
    let renewal = |wire: OwnRenewRequest| {
        let claim = claim(&headers, RENEW_OWN, &wire)?;
        Ok((requested_key(&wire.csr)?, claim))
    };
    let ((key, ignored), claim) = readable(&authority, &actor, body, renewal).await?;
    let Actor::Operator {
        identity,
        certificate,
        ..
    } = actor.clone()
    else {
        return Err(Problem::new(
            StatusCode::CONFLICT,
            format!("{actor} has shown no certificate that could be renewed"),
        ));
    };
    if let Some(Extension(budget)) = budget {
        within(&budget, &authority, &identity.name.bare(), actor.clone()).await?;
    }
    // Whatever its role: what it holds, its holder gets again, and nothing else.
    let holder = Actor::Holder {
        identity,
        profile: Profile::OPERATOR,
        certificate: Some(certificate),
    };
    let issued = authority
        .renew_presented(holder, certificate, key, claim)
        .await?;
    Ok(Json(issue_response(issued, ignored)))
}

async fn revoke(
    State(authority): State<Arc<Authority>>,
    Caller(actor): Caller,
    body: Result<Json<RevokeRequest>, JsonRejection>,
) -> Called<RevokeResponse> {
    let asked = revocation(&read(body)?, authority.trust_domain(), authority.now())?;
    Ok(Json(revoke_response(
        withdraw(&authority, actor, asked).await?,
    )))
}

async fn revoke_preview(
    State(authority): State<Arc<Authority>>,
    Caller(actor): Caller,
    body: Result<Json<RevokeRequest>, JsonRejection>,
) -> Called<RevokePreviewResponse> {
    let asked = revocation(&read(body)?, authority.trust_domain(), authority.now())?;
    preview_withdrawal(&authority, &actor, asked).await
}

async fn release(
    State(authority): State<Arc<Authority>>,
    Caller(actor): Caller,
    body: Result<Json<ReleaseRequest>, JsonRejection>,
) -> Called<ReleaseResponse> {
    let asked = asked_release(&read(body)?, authority.trust_domain(), authority.now())?;
    Ok(Json(release_response(
        withdraw(&authority, actor, asked).await?,
    )))
}

async fn release_preview(
    State(authority): State<Arc<Authority>>,
    Caller(actor): Caller,
    body: Result<Json<ReleaseRequest>, JsonRejection>,
) -> Called<RevokePreviewResponse> {
    let asked = asked_release(&read(body)?, authority.trust_domain(), authority.now())?;
    preview_withdrawal(&authority, &actor, asked).await
}

async fn withdraw(
    authority: &Arc<Authority>,
    actor: Actor,
    asked: Asked,
) -> Result<Receipt, Problem> {
    let Asked {
        meant,
        withdrawal,
        at_most,
        wait,
        ..
    } = asked;
    let receipt = authority.withdraw(actor, &meant, withdrawal, at_most, wait);
    Ok(receipt.await?)
}

async fn preview_withdrawal(
    authority: &Arc<Authority>,
    actor: &Actor,
    asked: Asked,
) -> Called<RevokePreviewResponse> {
    let Asked {
        meant,
        withdrawal,
        after,
        ..
    } = asked;
    let preview = authority.preview_withdrawal(actor, &meant, withdrawal, after);
    Ok(Json(withdrawal_preview(preview.await?)))
}

async fn under_way(
    State(authority): State<Arc<Authority>>,
    Caller(_): Caller,
) -> Json<UnderWayResponse> {
    Json(UnderWayResponse {
        changed: authority.withdrawal_under_way(),
    })
}

async fn receipts(
    State(authority): State<Arc<Authority>>,
    Caller(_): Caller,
    query: Result<Query<ReceiptQuery>, QueryRejection>,
) -> Called<ReceiptResponse> {
    let Query(ReceiptQuery {
        first,
        last,
        wait_ms,
    }) = query.map_err(|rejection| Problem::bad_request(rejection.body_text()))?;
    let wait = wait_ms.map(bounded);
    let nodes = authority.receipts(Sequence(first), Sequence(last), wait);
    Ok(Json(receipt_response(nodes.await)))
}

async fn openapi() -> Json<&'static serde_json::Value> {
    Json(document())
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

async fn backup(
    State(authority): State<Arc<Authority>>,
    Caller(actor): Caller,
) -> Result<Response, Problem> {
    let (facts, stream) = authority.backup(actor).await?;
    let name = format!("attachment; filename=\"{}\"", facts.file_name());
    let fields = [
        (header::CONTENT_TYPE, TAR.to_owned()),
        (header::CONTENT_DISPOSITION, name),
    ];
    Ok((fields, Body::new(stream)).into_response())
}

async fn evidence_crl(
    State(authority): State<Arc<Authority>>,
    Caller(actor): Caller,
    body: Result<Bytes, BytesRejection>,
) -> Called<EvidenceResponse> {
    let der = body.map_err(|rejection| Problem::new(rejection.status(), rejection.body_text()))?;
    Ok(Json(authority.unite_crl(actor, der).await?.into()))
}

async fn evidence_feed(
    State(authority): State<Arc<Authority>>,
    Caller(actor): Caller,
    body: Result<Json<Snapshot>, JsonRejection>,
) -> Called<EvidenceResponse> {
    Ok(Json(authority.unite_feed(actor, read(body)?).await?.into()))
}

async fn prune(
    State(authority): State<Arc<Authority>>,
    Caller(actor): Caller,
) -> Called<PruneResponse> {
    Ok(Json(prune_response(&authority.prune(actor).await?, false)))
}

async fn prune_preview(
    State(authority): State<Arc<Authority>>,
    Caller(actor): Caller,
) -> Called<PruneResponse> {
    let pruned = authority.preview_prune(&actor).await?;
    Ok(Json(prune_response(&pruned, true)))
}

async fn audit(
    State(authority): State<Arc<Authority>>,
    Caller(actor): Caller,
    query: Result<Query<AuditQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(AuditQuery { since }) =
        query.map_err(|rejection| Problem::bad_request(rejection.body_text()))?;
    let lines = authority.audit_log(&actor, since).await?;
    let fields = [(header::CONTENT_TYPE, JSON_LINES)];
    Ok((fields, Body::new(lines)).into_response())
}

async fn resume(
    State(authority): State<Arc<Authority>>,
    Caller(actor): Caller,
    body: Result<Json<ResumeRequest>, JsonRejection>,
) -> Called<ResumeResponse> {
    let ResumeRequest {
        because,
        without_evidence,
        built_in_profiles,
    } = read(body)?;
    let grounds = if without_evidence {
        Grounds::Word
    } else {
        Grounds::Evidence
    };
    let was_paused = authority
        .resume(actor.clone(), grounds, because.clone())
        .await?;
    if built_in_profiles {
        authority.say_built_in(actor, because).await?;
    }
    Ok(Json(ResumeResponse {
        was_paused: was_paused.map(Into::into),
        are_profiles_unknown: authority.are_rules_unknown().await?,
    }))
}

fn parse_what(text: &str) -> What {
    let Ok(what) = text.parse();
    what
}

/// A request with 100 long SANs has 30 KiB, a certificate request at most 64 KiB in base64.
const MAX_BODY: usize = 256 * 1024;

const SHOW: &str = "/v1/certificates/{what}";

/// A million revocations as a feed state have 200 MB; only an admin sends them.
const MAX_EVIDENCE: usize = 256 * 1024 * 1024;

const TAR: &str = "application/x-tar";
const JSON_LINES: &str = "application/jsonl";
/// RFC 2585 §4.2.
const CRL: &str = "application/pkix-crl";
