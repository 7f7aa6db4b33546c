//! The `OpenAPI` document: it is committed, it has every route and no other, and what the routes answer is what it says.

use std::collections::BTreeSet;
use std::path::Path;
use std::{env, fs};

use axum::body::Body;
use axum::http::{Method, Request};
use countersign_authority::admin::{document, router};
use countersign_authority::api::{ISSUE, OPENAPI};
use countersign_authority::config::AuthorityConfig;
use countersign_policy::administration::Role;
use countersign_policy::issuance::{Actor, Profile};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::fixture::{ADMIN, Fixture, csr};

const PAGE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../docs/reference/openapi.json"
);

#[test]
fn committed_document_is_the_generated_one() {
    let expected = serde_json::to_string_pretty(document()).expect("JSON") + "\n";
    if env::var_os("UPDATE_DOCS").is_some() {
        let folder = Path::new(PAGE).parent().expect("the page has a folder");
        fs::create_dir_all(folder).expect("docs/reference can be made");
        fs::write(PAGE, &expected).expect("docs/reference/openapi.json can be written");
    }
    let committed = fs::read_to_string(PAGE).unwrap_or_default();
    assert!(
        committed == expected,
        "docs/reference/openapi.json is not what the code says; \
         run `UPDATE_DOCS=1 cargo test -p countersign-authority` and commit it"
    );
}

/// `(method, path)` of each operation.
pub(crate) fn operations() -> Vec<(Method, String, Value)> {
    let paths = document()["paths"].as_object().expect("paths");
    let of_path = |(path, item): (&String, &Value)| {
        let item = item.as_object().expect("an item").clone();
        let path = path.clone();
        item.into_iter().map(move |(method, operation)| {
            let method = method.to_uppercase().parse().expect("a method");
            (method, path.clone(), operation)
        })
    };
    paths.iter().flat_map(of_path).collect()
}

async fn ask(
    fixture: &Fixture,
    actor: Option<&Actor>,
    method: &Method,
    path: &str,
    body: &Value,
) -> (u16, Value) {
    let body = match body {
        Value::Null => Body::empty(),
        body => Body::from(body.to_string()),
    };
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", "application/json")
        .body(body)
        .expect("a request");
    if let Some(actor) = actor {
        request.extensions_mut().insert(actor.clone());
    }
    let Ok(response) = router(fixture.authority.clone()).oneshot(request).await;
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.expect("a body");
    let value = serde_json::from_slice(&body.to_bytes()).unwrap_or_default();
    (status, value)
}

#[tokio::test]
async fn every_operation_is_served_needs_a_role_and_refuses_who_has_none() {
    let fixture = Fixture::new();
    let roles: BTreeSet<&str> = Role::ALL.iter().map(|role| role.as_str()).collect();
    let mut ids = BTreeSet::new();
    let holder = Actor::Holder {
        certificate: None,
        identity: countersign_pki::identity::Identity {
            bundle: countersign_pki::identity::BundleName::parse("internal").expect("a name"),
            name: "cn:you".parse().expect("a name"),
        },
        profile: Profile::CLIENT,
    };
    let operations = operations();
    assert!(operations.len() > 10);
    for (method, path, operation) in operations {
        let role = operation["x-role"].as_str().expect("a role");
        assert!(roles.contains(role), "{path}");
        assert!(ids.insert(operation["operationId"].to_string()), "{path}");
        let path = path.replace("{what}", "you");
        let (status, _) = ask(&fixture, Some(&ADMIN), &method, &path, &Value::Null).await;
        // Served: not found is said of a certificate, never of the path.
        assert_ne!(status, 405, "{method} {path}");
        assert!(status != 404 || path.ends_with("/you"), "{method} {path}");
        for nobody in [None, Some(&holder)] {
            let (status, problem) = ask(&fixture, nobody, &method, &path, &Value::Null).await;
            assert_eq!(status, 403, "{method} {path}: {problem}");
        }
    }
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a table of requests")]
async fn requests_and_answers_of_every_operation_are_what_the_document_says() {
    let fixture = Fixture::new();
    let body =
        json!({ "profile": "client", "name": "you", "sans": [], "ttl_s": 86400, "csr": csr() });
    let foreign = Fixture::new().authority.root().der().to_vec();
    let foreign = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, foreign);
    let mut seen = BTreeSet::new();
    let steps = [
        (Method::POST, "/v1/issue", body.clone(), 200),
        (Method::POST, "/v1/issue", body.clone(), 200),
        (Method::POST, "/v1/issue/preview", body, 200),
        (
            Method::POST,
            "/v1/renew",
            json!({ "what": "you", "csr": csr() }),
            200,
        ),
        (
            Method::POST,
            "/v1/label",
            json!({ "what": "you", "owner": "team", "labels": { "a": "b" } }),
            200,
        ),
        (
            Method::POST,
            "/v1/import",
            json!({ "certificates": [foreign], "owner": "partner" }),
            200,
        ),
        (
            Method::GET,
            "/v1/certificates?status=live&limit=2",
            Value::Null,
            200,
        ),
        (Method::GET, "/v1/certificates/you", Value::Null, 200),
        (
            Method::POST,
            "/v1/revoke/preview",
            json!({ "selection": { "profile": "client" } }),
            200,
        ),
        (
            Method::POST,
            "/v1/revoke",
            json!({ "what": "you", "reason": "certificate-hold", "wait_ms": 1 }),
            200,
        ),
        (
            Method::POST,
            "/v1/release/preview",
            json!({ "what": "you" }),
            200,
        ),
        (
            Method::POST,
            "/v1/release",
            json!({ "what": "you", "at_most": 3 }),
            200,
        ),
        (
            Method::POST,
            "/v1/revoke",
            json!({ "selection": { "labels": "a=b" }, "reason": "superseded" }),
            200,
        ),
        (
            Method::POST,
            "/v1/revoke",
            json!({ "what": "05".repeat(20), "unrecorded": true }),
            200,
        ),
        (Method::GET, "/v1/revoke/under-way", Value::Null, 200),
        (
            Method::GET,
            "/v1/receipts?first=1&last=2&wait_ms=1",
            Value::Null,
            200,
        ),
        (
            Method::GET,
            "/v1/certificates?status=revoked",
            Value::Null,
            200,
        ),
        (Method::POST, "/v1/revocation-lists", Value::Null, 200),
        (
            Method::POST,
            "/v1/revocation-lists/root/draft",
            json!({}),
            200,
        ),
        (
            Method::POST,
            "/v1/revocation-lists/root",
            json!({ "revoke": "05".repeat(20), "reason": "superseded" }),
            200,
        ),
        (
            Method::POST,
            "/v1/resume",
            json!({ "because": "nothing waits" }),
            200,
        ),
        (Method::GET, "/v1/prune/preview", Value::Null, 200),
        (Method::POST, "/v1/prune", Value::Null, 200),
        // Nobody on the socket has shown one.
        (Method::POST, "/v1/renew/own", json!({ "csr": csr() }), 409),
        (Method::GET, "/v1/status", Value::Null, 200),
        (Method::GET, OPENAPI, Value::Null, 200),
        (Method::POST, "/v1/release", json!({ "what": "you" }), 409),
        (Method::POST, "/v1/revoke", json!({ "what": "nobody" }), 404),
        (Method::POST, "/v1/revoke", json!({}), 400),
        (
            Method::POST,
            "/v1/renew",
            json!({ "what": "you", "csr": csr() }),
            409,
        ),
        (
            Method::POST,
            ISSUE,
            json!({ "profile": "canary-bird", "name": "x", "csr": csr() }),
            400,
        ),
        (Method::GET, "/v1/certificates?limit=0", Value::Null, 400),
    ];
    let rule: AuthorityConfig = toml::from_str("[retention]\nexpired = \"400d\"").expect("TOML");
    fixture
        .authority
        .replace_retention(rule.retention().expect("a rule"));
    for (method, path, body, expected) in steps {
        let template = match path.split('?').next().expect("a path") {
            "/v1/certificates/you" => "/v1/certificates/{what}",
            plain => plain,
        };
        let operation = &document()["paths"][template][method.as_str().to_lowercase()];
        if expected == 200 {
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
            assert_eq!(schema.is_null(), body.is_null(), "{path}");
            if !schema.is_null() {
                validate(schema, &body, path);
            }
            seen.insert((method.clone().to_string(), template.to_owned()));
        }
        let (status, answer) = ask(&fixture, Some(&ADMIN), &method, path, &body).await;
        assert_eq!(status, expected, "{method} {path}: {answer}");
        let responses = &operation["responses"];
        let schema = if status == 200 {
            &responses["200"]["content"]["application/json"]["schema"]
        } else {
            assert_eq!(
                responses["default"]["$ref"],
                "#/components/responses/Problem"
            );
            &document()["components"]["responses"]["Problem"]["content"]["application/problem+json"]
                ["schema"]
        };
        validate(schema, &answer, path);
    }
    let all: BTreeSet<_> = operations()
        .into_iter()
        .filter(|(_, _, operation)| is_json(operation))
        .map(|(method, path, _)| (method.to_string(), path))
        .collect();
    // Answered to operators alone: see `admin_port`.
    seen.insert(("POST".to_owned(), "/v1/renew/own".to_owned()));
    assert_eq!(seen, all);
}

/// Whether the document knows the shape of what goes in and out: not of a backup, a CRL and the state of a feed.
fn is_json(operation: &Value) -> bool {
    let has_schema = |body: &Value| !body["content"]["application/json"]["schema"].is_null();
    let request = &operation["requestBody"];
    has_schema(&operation["responses"]["200"]) && (request.is_null() || has_schema(request))
}

/// As much of JSON Schema 2020-12 as the document uses; a keyword that it does not know is a failure.
#[track_caller]
#[expect(clippy::too_many_lines, reason = "a keyword after the other")]
fn validate(schema: &Value, value: &Value, at: &str) {
    let fields = match schema {
        Value::Bool(true) => return,
        schema => schema
            .as_object()
            .unwrap_or_else(|| panic!("{at}: {schema}")),
    };
    if let Some(alternatives) = schema["anyOf"].as_array() {
        let fits = alternatives
            .iter()
            .any(|it| std::panic::catch_unwind(|| validate(it, value, at)).is_ok());
        assert!(fits, "{at}: {value} is none of {alternatives:?}");
    }
    for (keyword, said) in fields {
        match keyword.as_str() {
            "$ref" => {
                let pointer = said.as_str().expect("a reference").trim_start_matches('#');
                let target = document().pointer(pointer);
                validate(
                    target.unwrap_or_else(|| panic!("{at}: {pointer}")),
                    value,
                    at,
                );
            }
            "type" => {
                let types = said
                    .as_array()
                    .cloned()
                    .unwrap_or_else(|| vec![said.clone()]);
                let is = types.iter().any(|it| match it.as_str().expect("a type") {
                    "array" => value.is_array(),
                    "boolean" => value.is_boolean(),
                    "integer" => value.is_u64() || value.is_i64(),
                    "null" => value.is_null(),
                    "object" => value.is_object(),
                    "string" => value.is_string(),
                    other => panic!("{at}: type {other}"),
                });
                assert!(is, "{at}: {value} is not {said}");
            }
            "required" => {
                for name in said.as_array().expect("names") {
                    assert!(
                        !value[name.as_str().expect("a name")].is_null(),
                        "{at}: no {name} in {value}"
                    );
                }
            }
            "properties" => {
                for (name, schema) in said.as_object().expect("properties") {
                    if let Some(value) = value.get(name) {
                        validate(schema, value, &format!("{at}.{name}"));
                    }
                }
                // An answer says nothing that the document does not.
                for name in value.as_object().into_iter().flat_map(|it| it.keys()) {
                    let is_open = schema
                        .get("additionalProperties")
                        .is_some_and(|it| it != false);
                    assert!(
                        said.get(name).is_some() || is_open,
                        "{at}: {name} is not in the document"
                    );
                }
            }
            "additionalProperties" => {
                if said.is_object() && schema.get("properties").is_none() {
                    for (name, value) in value.as_object().expect("an object") {
                        validate(said, value, &format!("{at}.{name}"));
                    }
                }
            }
            "items" => {
                for value in value.as_array().into_iter().flatten() {
                    validate(said, value, &format!("{at}[]"));
                }
            }
            "enum" => assert!(
                said.as_array().expect("words").contains(value),
                "{at}: {value}"
            ),
            "const" => assert_eq!(said, value, "{at}"),
            "oneOf" => {
                let fitting = said
                    .as_array()
                    .expect("schemas")
                    .iter()
                    .filter(|it| std::panic::catch_unwind(|| validate(it, value, at)).is_ok());
                assert_eq!(fitting.count(), 1, "{at}: {value}");
            }
            "minimum" => {
                let least = said.as_i64().expect("a number");
                assert!(
                    value.as_i64().is_none_or(|value| value >= least),
                    "{at}: {value}"
                );
            }
            "pattern" => pattern(
                said.as_str().expect("a pattern"),
                value.as_str().expect("a text"),
                at,
            ),
            "anyOf" | "default" | "description" | "format" | "title" | "maximum" => {}
            other => panic!("{at}: keyword {other}"),
        }
    }
}

/// The patterns of the document, each in its own words.
#[track_caller]
fn pattern(pattern: &str, text: &str, at: &str) {
    let hex = |text: &str| text.bytes().all(|byte| b"0123456789abcdef".contains(&byte));
    let fits = match pattern {
        "^([0-9a-f]{2}){1,20}$" => {
            hex(text) && text.len().is_multiple_of(2) && (2..=40).contains(&text.len())
        }
        "^[0-9a-f]{64}$" => hex(text) && text.len() == 64,
        "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$" => {
            let shape: String = text
                .chars()
                .map(|c| if c.is_ascii_digit() { '0' } else { c })
                .collect();
            shape == "0000-00-00T00:00:00Z"
        }
        other => panic!("{at}: pattern {other}"),
    };
    assert!(fits, "{at}: {text} is not {pattern}");
}
