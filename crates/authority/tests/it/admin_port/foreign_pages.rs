//! What a browser that holds an operator's certificate can be made to ask by pages of others.

use super::*;

/// `fields`: of the request, besides nothing. The status and what is said.
async fn ask(
    site: &Site,
    who: &Holder,
    method: &str,
    path: &str,
    fields: &[(&str, &str)],
    body: &str,
) -> (u16, Value) {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::from(body.to_owned()));
    let client = site.client(Some(&who.identity));
    let outcome = client.request(site.address, request.expect("a request"));
    answer(&outcome.await)
}

fn refusals(site: &Site) -> Vec<String> {
    let records = site.audit().into_iter();
    let refused = records.filter(|record| record["action"] == "refuse");
    refused
        .map(|record| format!("{}: {}", record["object"], record["reason"]))
        .collect()
}

const HOST: (&str, &str) = ("host", "localhost");
const AS_JSON: (&str, &str) = ("content-type", "application/json");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn page_of_another_origin_changes_nothing_with_an_operators_certificate() {
    let site = Site::new().await;
    let alice = site.holder("operator alice").await;
    let mut changing = 0;
    for (method, path, _) in operations() {
        if method == Method::GET {
            continue;
        }
        changing += 1;
        for field in [
            ("origin", "https://evil.example"),
            ("origin", "null"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
        ] {
            let (status, problem) =
                ask(&site, &alice, "POST", &path, &[HOST, AS_JSON, field], "").await;
            assert_eq!(status, 403, "{path} {field:?}: {problem}");
            let detail = problem["detail"].as_str().unwrap_or_default();
            assert!(detail.contains("a web page of another origin"), "{problem}");
        }
    }
    assert!(changing > 10);
    let recorded = refusals(&site);
    let of_backup = |line: &&String| line.contains("POST /v1/backup");
    assert!(recorded.iter().any(|line| of_backup(&line)), "{recorded:?}");
    // What it reads is no page's to see, and changes nothing.
    let foreign = [HOST, ("origin", "https://evil.example")];
    let (status, _) = ask(&site, &alice, "GET", "/v1/status", &foreign, "").await;
    assert_eq!(status, 200);
    let own = [
        HOST,
        AS_JSON,
        ("origin", "https://localhost"),
        ("sec-fetch-site", "same-origin"),
    ];
    let selection = r#"{"what":"nobody-has-this-name"}"#;
    let (status, problem) = ask(&site, &alice, "POST", "/v1/revoke", &own, selection).await;
    assert_eq!(status, 404, "a page of ours is heard: {problem}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn form_is_no_request_and_no_body_is_taken_for_what_it_does_not_say_that_it_is() {
    let site = Site::new().await;
    let alice = site.holder("operator alice").await;
    for (method, path, operation) in operations() {
        if method == Method::GET {
            continue;
        }
        let content = &operation["requestBody"]["content"];
        let takes = content.as_object().and_then(|it| it.keys().next().cloned());
        for form in [
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "text/plain",
            "text/plain; application/json",
            "application/vnd.api+json",
        ] {
            let fields = [HOST, ("content-type", form)];
            let (status, problem) = ask(&site, &alice, "POST", &path, &fields, "{}").await;
            assert_eq!(status, 415, "{path} {form}: {problem}");
            let expected = takes.as_deref().unwrap_or("application/json");
            let detail = problem["detail"].as_str().unwrap_or_default();
            assert!(detail.contains(expected), "{path}: {problem}");
        }
        let (status, problem) = ask(&site, &alice, "POST", &path, &[HOST], "").await;
        assert_eq!(status == 415, takes.is_some(), "{path}: {problem}");
    }
}

#[tokio::test]
async fn name_that_was_made_to_mean_our_address_is_not_ours() {
    let site = Site::new().await;
    let alice = site.holder("operator alice").await;
    for (fields, expected) in [
        (&[("host", "evil.example:8444")][..], 421),
        (&[("host", "127.0.0.1")], 421),
        (&[("host", "localhost.evil.example")], 421),
        (&[("host", "")], 421),
        (&[("host", "localhost"), ("host", "evil.example")], 400),
        (&[], 400),
        (&[("host", "localhost")], 200),
        (&[("host", "LOCALHOST:8444")], 200),
    ] {
        let (status, problem) = ask(&site, &alice, "GET", "/v1/status", fields, "").await;
        assert_eq!(status, expected, "{fields:?}: {problem}");
    }
    let recorded = refusals(&site);
    assert!(
        recorded.iter().any(|line| line.contains("evil.example")),
        "{recorded:?}"
    );
}
