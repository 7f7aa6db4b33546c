//! Whoever is refused is on record.

use super::*;

fn refusals(site: &Site) -> Vec<(String, String)> {
    let records = site.audit().into_iter();
    let refused = records.filter(|record| record["action"] == "refuse");
    refused
        .map(|record| {
            let text = |field: &str| record[field].as_str().unwrap_or_default().to_owned();
            (text("object"), text("reason"))
        })
        .collect()
}

#[tokio::test]
async fn operator_without_a_role_is_on_record_with_what_it_asked_for() {
    let site = Site::new().await;
    let nobody = site.holder("operator nobody").await;
    let (status, _) = site.get(&nobody, "/v1/certificates/cn:alice").await;
    assert_eq!(status, 403);
    let expected = (
        "GET /v1/certificates/cn:alice".to_owned(),
        "operator nobody has no role here".to_owned(),
    );
    assert_eq!(refusals(&site), [expected]);
    let log = site.audit();
    let line = log.iter().find(|record| record["action"] == "refuse");
    let line = line.expect("a record").to_string();
    assert!(
        line.contains("cn:nobody"),
        "{line}: whose certificate it was"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn release_that_is_an_admins_is_refused_in_its_preview_too_and_both_are_on_record() {
    let site = Site::new().await;
    let (olga, alice) = (
        site.holder("operator olga").await,
        site.holder("operator alice").await,
    );
    site.holder("node edge").await;
    let hold = json!({ "what": "cn:edge", "reason": "certificate-hold" });
    let (status, answer) = site.post(&olga, "/v1/revoke", &hold).await;
    assert_eq!(status, 200, "{answer}");
    let body = json!({ "what": "cn:edge" });
    for path in ["/v1/release/preview", "/v1/release"] {
        let before = refusals(&site).len();
        let (status, problem) = site.post(&olga, path, &body).await;
        assert_eq!(status, 403, "{path}: {problem}");
        let now = refusals(&site);
        assert_eq!(now.len(), before + 1, "{path}");
        assert!(now[before].0.contains("cn:edge"), "{now:?}");
        assert!(now[before].1.contains("may not end the hold"), "{now:?}");
    }
    let (status, answer) = site.post(&alice, "/v1/release/preview", &body).await;
    assert_eq!((status, &answer["count"]), (200, &json!(1)), "{answer}");
    let (status, _) = site.post(&alice, "/v1/release", &body).await;
    assert_eq!(status, 200);
}
