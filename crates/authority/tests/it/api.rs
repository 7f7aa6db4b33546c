//! The admin API, as the command line uses it when nothing runs.

use countersign_authority::admin::router;
use countersign_authority::api::{
    self, CertificateStatus, IssueRequest, IssueResponse, IssuingState, ListQuery, ListResponse,
    RenewRequest, RevokeRequest, RevokeResponse, ShowResponse, StatusResponse, list_path,
    show_path,
};
use countersign_authority::client::{AdminClient, ClientError};
use countersign_authority::problem::Problem;
use countersign_pki::feed::RevocationReason;

use crate::fixture::{ADMIN, Fixture, csr};

fn admin(fixture: &Fixture) -> AdminClient {
    AdminClient::in_process(router(fixture.authority.clone()), ADMIN)
}

fn issue(profile: &str, name: &str) -> IssueRequest {
    IssueRequest {
        profile: profile.to_owned(),
        name: name.to_owned(),
        sans: Vec::new(),
        ttl_s: None,
        csr: csr(),
    }
}

async fn refused(client: &AdminClient, path: &str, body: &serde_json::Value) -> Problem {
    match client.post::<_, serde_json::Value>(path, body).await {
        Err(ClientError::Refused { problem }) => problem,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn life_of_an_identity() {
    let fixture = Fixture::new();
    let admin = admin(&fixture);
    let issued: IssueResponse = admin
        .post(api::ISSUE, &issue("client", "you"))
        .await
        .expect("issues");
    assert_eq!(
        (
            issued.profile.as_str(),
            issued.name.as_str(),
            issued.names.as_slice()
        ),
        ("client", "cn:you", &["cn:you".to_owned()][..])
    );
    assert_eq!(issued.chain_pem.matches("BEGIN CERTIFICATE").count(), 2);
    assert_eq!(issued.ca_pem, fixture.authority.ca_pem());

    let renewal = RenewRequest {
        what: "you".to_owned(),
        csr: csr(),
    };
    let renewed: IssueResponse = admin.post(api::RENEW, &renewal).await.expect("renews");
    let listed: ListResponse = admin
        .get(&list_path(&ListQuery::default()))
        .await
        .expect("lists");
    let serials: Vec<_> = listed
        .certificates
        .iter()
        .map(|certificate| certificate.serial)
        .collect();
    assert_eq!(serials, [renewed.serial, issued.serial]);

    let shown: ShowResponse = admin.get(&show_path("cn:you")).await.expect("shows");
    assert!(
        shown
            .certificates
            .iter()
            .all(|it| it.pem.is_some() && it.certificate.status == CertificateStatus::Live)
    );
    let revocation = RevokeRequest {
        what: Some(issued.fingerprint.to_string()),
        reason: RevocationReason::Superseded,
        wait_ms: Some(10),
        ..RevokeRequest::default()
    };
    let receipt: RevokeResponse = admin.post(api::REVOKE, &revocation).await.expect("revokes");
    assert_eq!((receipt.revoked.len(), receipt.unconfirmed.len()), (1, 0));
    let shown: ShowResponse = admin
        .get(&show_path(&issued.serial.to_string()))
        .await
        .expect("shows");
    assert_eq!(
        shown.certificates[0]
            .certificate
            .revocation
            .as_ref()
            .expect("revoked")
            .reason,
        RevocationReason::Superseded
    );

    let status: StatusResponse = admin.get(api::STATUS).await.expect("status");
    assert_eq!(
        (
            status.certificates.live,
            status.certificates.revoked,
            status.issuing
        ),
        (1, 1, IssuingState::Ready)
    );
    assert_eq!(
        status
            .issuers
            .iter()
            .map(|issuer| issuer.role.as_str())
            .collect::<Vec<_>>(),
        ["root", "intermediate", "operator"]
    );
    assert!(
        status
            .risks
            .iter()
            .any(|risk| risk.sentence.contains("passphrase"))
    );
}

#[tokio::test]
async fn pages_follow_each_other_and_filters_apply() {
    let fixture = Fixture::new();
    let admin = admin(&fixture);
    for number in 0..5 {
        fixture.issue(&format!("n{number}")).await;
    }
    let mut query = ListQuery {
        limit: Some(2),
        ..ListQuery::default()
    };
    let mut names = Vec::new();
    loop {
        let page: ListResponse = admin.get(&list_path(&query)).await.expect("lists");
        names.extend(
            page.certificates
                .into_iter()
                .map(|certificate| certificate.name),
        );
        query.after = page.next;
        if query.after.is_none() {
            break;
        }
    }
    assert_eq!(names, ["cn:n4", "cn:n3", "cn:n2", "cn:n1", "cn:n0"]);
    let count = async |query: ListQuery| {
        admin
            .get::<ListResponse>(&list_path(&query))
            .await
            .expect("lists")
            .certificates
            .len()
    };
    assert_eq!(
        count(ListQuery {
            name: Some("cn:n3".to_owned()),
            ..ListQuery::default()
        })
        .await,
        1
    );
    assert_eq!(
        count(ListQuery {
            name: Some("N3*".to_owned()),
            ..ListQuery::default()
        })
        .await,
        1
    );
    assert_eq!(
        count(ListQuery {
            status: Some(CertificateStatus::Revoked),
            ..ListQuery::default()
        })
        .await,
        0
    );
    assert_eq!(
        count(ListQuery {
            expiring_within_s: Some(60),
            ..ListQuery::default()
        })
        .await,
        0
    );
    assert_eq!(
        count(ListQuery {
            expiring_within_s: Some(91 * 86_400),
            ..ListQuery::default()
        })
        .await,
        5
    );
}

#[tokio::test]
async fn unknown_and_reserved_profiles_are_refused_by_name() {
    let fixture = Fixture::new();
    let admin = admin(&fixture);
    for profile in ["root", "clients", "Client", "Operator", "", "client "] {
        let body = serde_json::to_value(issue(profile, "you")).expect("JSON");
        let problem = refused(&admin, api::ISSUE, &body).await;
        assert_eq!(
            (problem.status, problem.kind.as_str()),
            (400, "about:blank"),
            "{profile}"
        );
        assert!(problem.detail.contains("profile"), "{problem:?}");
    }
    assert_eq!(
        fixture.authority.tally().await.expect("counts"),
        countersign_store::inventory::Tally::default()
    );
}

#[tokio::test]
async fn bad_requests_are_problems_with_the_right_status() {
    let fixture = Fixture::new();
    let admin = admin(&fixture);
    let good = serde_json::to_value(issue("client", "you")).expect("JSON");
    let with = |key: &str, value: serde_json::Value| {
        let mut body = good.clone();
        body[key] = value;
        body
    };
    let check = async |path: &str, body: serde_json::Value, status: u16| {
        let problem = refused(&admin, path, &body).await;
        assert_eq!(problem.status, status, "{path} {body}: {problem:?}");
        assert!(!problem.detail.is_empty() && !problem.title.is_empty());
    };
    check(api::ISSUE, serde_json::json!({}), 422).await;
    check(api::ISSUE, with("surprise", true.into()), 422).await;
    check(api::ISSUE, with("csr", "not a request".into()), 400).await;
    check(api::ISSUE, with("csr", "AAAA".into()), 400).await;
    check(api::ISSUE, with("csr", (csr() + &csr()).into()), 400).await;
    check(
        api::ISSUE,
        with("sans", serde_json::json!(["untyped"])),
        400,
    )
    .await;
    check(api::ISSUE, with("name", "".into()), 422).await;
    // No command line can carry it.
    check(api::ISSUE, with("name", "you\0admin".into()), 422).await;
    let with_nul = serde_json::json!(["email:you@example.com\0.evil.test"]);
    check(api::ISSUE, with("sans", with_nul), 400).await;
    check(api::ISSUE, with("ttl_s", 0.into()), 422).await;
    check(api::ISSUE, with("csr", "x".repeat(300 * 1024).into()), 413).await;
    check(
        api::RENEW,
        serde_json::json!({"what": "nobody", "csr": csr()}),
        404,
    )
    .await;
    check(api::REVOKE, serde_json::json!({"what": "nobody"}), 404).await;
    check(
        api::REVOKE,
        serde_json::json!({"what": "nobody", "reason": "dislike"}),
        422,
    )
    .await;
    check("/v1/nowhere", serde_json::json!({}), 404).await;
    check(api::STATUS, serde_json::json!({}), 405).await;
    for query in [
        "limit=0",
        "limit=1001",
        "after=x",
        "status=fine",
        "surprise=1",
    ] {
        let outcome = admin
            .get::<ListResponse>(&format!("{}?{query}", api::CERTIFICATES))
            .await;
        assert!(
            matches!(outcome, Err(ClientError::Refused { problem }) if problem.status == 400),
            "{query}"
        );
    }
    fixture.issue("revoked").await;
    admin
        .post::<_, RevokeResponse>(api::REVOKE, &serde_json::json!({"what": "revoked"}))
        .await
        .expect("revokes");
    check(
        api::RENEW,
        serde_json::json!({"what": "revoked", "csr": csr()}),
        409,
    )
    .await;
}

#[tokio::test]
async fn caller_who_is_not_known_is_refused_on_every_route() {
    use tower::ServiceExt as _;
    let fixture = Fixture::new();
    let routes = [
        ("POST", api::ISSUE),
        ("POST", api::RENEW),
        ("POST", api::REVOKE),
        ("POST", api::LABEL),
        ("POST", api::IMPORT),
        ("GET", api::CERTIFICATES),
        ("GET", "/v1/certificates/x"),
        ("GET", api::STATUS),
    ];
    for (method, path) in routes {
        let request = axum::http::Request::builder()
            .method(method)
            .uri(path)
            .body(axum::body::Body::empty())
            .expect("a request");
        let response = router(fixture.authority.clone())
            .oneshot(request)
            .await
            .expect("infallible");
        assert_eq!(response.status(), 403, "{method} {path}");
        assert_eq!(
            response.headers()["content-type"],
            "application/problem+json"
        );
    }
}
