//! What a route makes of what it is sent, before the authority is asked: from bytes to the types of the domain.

use countersign_pki::spiffe::TrustDomain;
use countersign_pki::time::UnixTime;
use serde::de::DeserializeOwned;

use crate::api::{
    CERTIFICATES, IMPORT, ISSUE, ImportRequest, IssueRequest, LABEL, LabelRequest, ListQuery,
    OwnRenewRequest, PREVIEW, RELEASE, RELEASE_PREVIEW, RENEW, RENEW_OWN, RESUME, REVOKE,
    REVOKE_PREVIEW, ROOT_LIST, ROOT_LIST_DRAFT, ReleaseRequest, RenewRequest, ResumeRequest,
    RevokeRequest, RootListRequest,
};
use crate::conversion::revocation::{release, revocation};
use crate::conversion::{annotate, imported, issuance, list_filter, requested_key};
use crate::problem::Problem;

/// Reads `json` as the route on `path` reads its body, or its query, and forgets it: for fuzzing. `None`: it is not of the
/// right shape, or the route takes nothing.
pub fn read_and_forget(
    path: &str,
    json: &[u8],
    trust_domain: &TrustDomain,
    now: UnixTime,
) -> Option<Result<(), Problem>> {
    Some(match path {
        ISSUE | PREVIEW => issuance(of_shape::<IssueRequest>(json)?).map(drop),
        RESUME => of_shape::<ResumeRequest>(json).map(|_| Ok(()))?,
        ROOT_LIST | ROOT_LIST_DRAFT => of_shape::<RootListRequest>(json).map(|_| Ok(()))?,
        RENEW_OWN => requested_key(&of_shape::<OwnRenewRequest>(json)?.csr).map(drop),
        RENEW => requested_key(&of_shape::<RenewRequest>(json)?.csr).map(drop),
        REVOKE | REVOKE_PREVIEW => {
            revocation(&of_shape::<RevokeRequest>(json)?, trust_domain, now).map(drop)
        }
        RELEASE | RELEASE_PREVIEW => {
            release(&of_shape::<ReleaseRequest>(json)?, trust_domain, now).map(drop)
        }
        LABEL => annotate(&of_shape::<LabelRequest>(json)?).map(drop),
        IMPORT => imported(&of_shape::<ImportRequest>(json)?).map(drop),
        CERTIFICATES => list_filter(&of_shape::<ListQuery>(json)?, trust_domain, now).map(drop),
        _ => return None,
    })
}

fn of_shape<T: DeserializeOwned>(json: &[u8]) -> Option<T> {
    serde_json::from_slice(json).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::route::Input;
    use crate::admin::routes::routes;

    /// The fields that are required, with texts in them.
    const SHAPES: [&[u8]; 6] = [
        br#"{"csr":""}"#,
        br#"{"profile":"client","name":"a","csr":""}"#,
        br#"{"what":"a","csr":""}"#,
        br#"{"what":"a"}"#,
        br#"{"certificates":[]}"#,
        b"{}",
    ];

    #[test]
    fn every_route_that_takes_a_body_is_read_here() {
        let domain = TrustDomain::parse("example.com").expect("a trust domain");
        let now = UnixTime::from_seconds(1_800_000_000);
        let read = |path: &str| {
            let some = |shape: &&[u8]| read_and_forget(path, shape, &domain, now);
            SHAPES.iter().find_map(some).is_some()
        };
        for route in routes() {
            if matches!(route.input, Input::Body(_)) {
                assert!(read(route.path), "{}", route.path);
            }
        }
    }
}
