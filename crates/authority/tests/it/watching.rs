//! Owners, labels and certificates of others over the admin API.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_authority::admin::router;
use countersign_authority::api::{
    self, ImportOutcome, ImportRequest, ImportResponse, LabelRequest, LabelResponse, ListQuery,
    ListResponse, list_path,
};
use countersign_authority::client::{AdminClient, ClientError};
use countersign_authority::problem::Problem;
use countersign_pki::pem;
use countersign_policy::issuance::Actor;

use crate::fixture::{ADMIN, Fixture, csr};

fn admin(fixture: &Fixture) -> AdminClient {
    AdminClient::in_process(router(fixture.authority.clone()), ADMIN)
}

/// The root of another authority.
fn of_others() -> (Fixture, String) {
    let others = Fixture::new();
    let root = pem::decode_all(others.authority.ca_pem().as_bytes()).expect("PEM");
    let der = STANDARD.encode(&root[0].der);
    (others, der)
}

async fn refused(client: &AdminClient, path: &str, body: serde_json::Value) -> Problem {
    match client.post::<_, serde_json::Value>(path, &body).await {
        Err(ClientError::Refused { problem }) => problem,
        other => panic!("{body}: {other:?}"),
    }
}

#[tokio::test]
async fn owner_and_labels_come_back_and_are_filters() {
    let fixture = Fixture::new();
    let admin = admin(&fixture);
    fixture.issue("a").await;
    fixture.issue("b").await;
    let request = LabelRequest {
        what: "a".to_owned(),
        owner: Some("payments".to_owned()),
        labels: BTreeMap::from([("env".to_owned(), "prod".to_owned())]),
        note: Some("ask first".to_owned()),
        ..LabelRequest::default()
    };
    let said: LabelResponse = admin.post(api::LABEL, &request).await.expect("labels");
    assert_eq!(
        (said.identity.as_str(), said.owner.as_deref()),
        ("cn:a", Some("payments"))
    );
    for query in [
        ListQuery {
            owner: Some("payments".to_owned()),
            ..ListQuery::default()
        },
        ListQuery {
            labels: Some("env=prod".to_owned()),
            ..ListQuery::default()
        },
    ] {
        let listed: ListResponse = admin.get(&list_path(&query)).await.expect("lists");
        let names: Vec<_> = listed
            .certificates
            .iter()
            .map(|it| it.name.as_str())
            .collect();
        assert_eq!(names, ["cn:a"]);
        assert_eq!(listed.certificates[0].note.as_deref(), Some("ask first"));
    }
    let nothing = LabelRequest {
        what: "a".to_owned(),
        owner: Some(String::new()),
        remove: vec!["env".to_owned(), "never-set".to_owned()],
        note: Some(String::new()),
        ..LabelRequest::default()
    };
    let said: LabelResponse = admin.post(api::LABEL, &nothing).await.expect("labels");
    assert_eq!((said.owner, said.labels.len(), said.note), (None, 0, None));
}

#[tokio::test]
async fn what_cannot_be_said_is_refused() {
    let fixture = Fixture::new();
    let admin = admin(&fixture);
    fixture.issue("a").await;
    let many: BTreeMap<String, String> = (0..33)
        .map(|it| (format!("k{it}"), String::new()))
        .collect();
    for (body, status) in [
        (serde_json::json!({"what": "nobody", "owner": "x"}), 404),
        (serde_json::json!({"what": "a", "owner": "x\u{1b}[2J"}), 400),
        (serde_json::json!({"what": "a", "note": "two\nlines"}), 400),
        (
            serde_json::json!({"what": "a", "labels": {"a b": "c"}}),
            400,
        ),
        (
            serde_json::json!({"what": "a", "labels": {"a": "\u{7}"}}),
            400,
        ),
        (serde_json::json!({"what": "a", "remove": ["a b"]}), 400),
        (serde_json::json!({"what": "a", "labels": many}), 400),
        (serde_json::json!({"what": "a", "colour": "red"}), 422),
    ] {
        assert_eq!(refused(&admin, api::LABEL, body).await.status, status);
    }
}

#[tokio::test]
async fn certificates_of_others_are_neither_renewed_nor_revoked() {
    let fixture = Fixture::new();
    let admin = admin(&fixture);
    let (_others, der) = of_others();
    let request = ImportRequest {
        certificates: vec![der.clone()],
        owner: Some("partner".to_owned()),
    };
    let outcome = async || {
        let imported: ImportResponse = admin.post(api::IMPORT, &request).await.expect("imports");
        (
            imported.certificates[0].outcome,
            imported.certificates[0].fingerprint,
        )
    };
    let (first, fingerprint) = outcome().await;
    assert_eq!(first, ImportOutcome::Imported);
    assert_eq!(outcome().await.0, ImportOutcome::AlreadyImported);
    let query = ListQuery {
        profile: Some("imported".to_owned()),
        ..ListQuery::default()
    };
    let listed: ListResponse = admin.get(&list_path(&query)).await.expect("lists");
    assert_eq!(listed.certificates.len(), 1);
    assert_eq!(listed.certificates[0].owner.as_deref(), Some("partner"));
    let what = fingerprint.to_string();
    let revocation = refused(&admin, api::REVOKE, serde_json::json!({"what": what})).await;
    assert!(revocation.status == 409 && revocation.detail.contains("imported"));
    let renewal = serde_json::json!({"what": what, "csr": csr()});
    let renewal = refused(&admin, api::RENEW, renewal).await;
    assert!(renewal.status == 409 && renewal.detail.contains("imported"));
    assert!(renewal.hint.is_some() && revocation.hint.is_some());
}

#[tokio::test]
async fn what_is_no_certificate_is_not_imported() {
    let fixture = Fixture::new();
    let admin = admin(&fixture);
    let (_others, der) = of_others();
    for (body, status) in [
        (serde_json::json!({"certificates": []}), 400),
        (serde_json::json!({"certificates": ["%"]}), 400),
        (serde_json::json!({"certificates": [der, "AAAA"]}), 400),
        (
            serde_json::json!({"certificates": [der], "owner": "\n"}),
            400,
        ),
        (serde_json::json!({"certificates": vec!["AAAA"; 101]}), 400),
        (serde_json::json!({"files": []}), 422),
    ] {
        assert_eq!(refused(&admin, api::IMPORT, body).await.status, status);
    }
    let listed: ListResponse = admin
        .get(&list_path(&ListQuery::default()))
        .await
        .expect("lists");
    assert!(listed.certificates.is_empty(), "all or none");
}

#[tokio::test]
async fn holders_say_and_import_nothing() {
    let fixture = Fixture::new();
    fixture.issue("a").await;
    let holder: Actor = serde_json::from_value(serde_json::json!({
        "kind": "holder",
        "identity": {"bundle": "internal", "name": "cn:a"},
        "profile": "client",
    }))
    .expect("an actor");
    let client = AdminClient::in_process(router(fixture.authority.clone()), holder);
    let (_others, der) = of_others();
    for (path, body) in [
        (api::LABEL, serde_json::json!({"what": "a", "owner": "x"})),
        (api::IMPORT, serde_json::json!({"certificates": [der]})),
    ] {
        assert_eq!(refused(&client, path, body).await.status, 403);
    }
}
