//! What the operator is told.

use countersign_policy::access::{Asked, Decision, Factors, NoHeaders};

use crate::world::{CIRCUMSTANCES, Sent, peer, policy, route};

/// A peer that asks for `GET /x`.
fn check(allowed: &[&str], denied: &[&str], text: &str, expected: &str) {
    let policy = policy(vec![route(allowed, denied)]).unwrap();
    let peer = (text != "anonymous").then(|| peer(text));
    let told = match policy.decide(&Asked {
        peer: peer.as_ref(),
        host: None,
        method: "GET",
        path: "/x",
        headers: &NoHeaders,
        factors: &Factors::NONE,
        circumstances: CIRCUMSTANCES,
    }) {
        Decision::IdentityNotAllowed { nearest, .. } => nearest,
        Decision::RequestNotAllowed { nearest, .. } => format!("request: {nearest}"),
        other => format!("{other:?}"),
    };
    assert_eq!(told, expected, "allow {allowed:?} deny {denied:?}: {text}");
}

#[test]
fn a_typing_error_shows_itself() {
    check(
        &["cn:web", "cn:order-service", "cn:billing"],
        &[],
        "internal cn:order-svc",
        "allows cn:order-service; this is cn:order-svc",
    );
    check(
        &[
            "spiffe://example.com/ns/prod/api",
            "spiffe://example.com/ns/prod/web",
        ],
        &[],
        "internal spiffe://example.com/ns/prod/wep",
        "allows spiffe://example.com/ns/prod/web; this is spiffe://example.com/ns/prod/wep",
    );
    check(
        &["spiffe://example.com/ns/prod/*"],
        &[],
        "internal spiffe://example.com/ns/test/api",
        "allows spiffe://example.com/ns/prod/*; this is spiffe://example.com/ns/test/api",
    );
    check(
        &["cn:other", "dns:*.example.com"],
        &[],
        "internal cn:x dns:a.exmaple.com",
        "allows dns:*.example.com; this is dns:a.exmaple.com",
    );
    check(
        &["order-service"],
        &[],
        "internal cn:order-servise",
        "allows order-service; this is cn:order-servise",
    );
    // Every name of the peer counts, not only the one that it shows first.
    check(
        &["email:ops@example.com"],
        &[],
        "internal cn:x dns:a.example.com email:op@example.com",
        "allows email:ops@example.com; this is email:op@example.com",
    );
}

#[test]
fn the_right_name_under_the_wrong_bundle_is_told() {
    check(
        &["cn:aa", "cn:a"],
        &[],
        "acme-corp cn:a",
        "allows cn:a under bundle internal; this is cn:a under bundle acme-corp",
    );
    check(
        &["cn:b", "cn:a @acme-corp"],
        &[],
        "internal cn:a",
        "allows cn:a under bundle acme-corp; this is cn:a under bundle internal",
    );
    check(
        &["@acme-corp"],
        &[],
        "internal cn:a",
        "allows every identity under bundle acme-corp; this is cn:a under bundle internal",
    );
    check(
        &["GET"],
        &[],
        "acme-corp cn:a",
        "allows every identity under bundle internal; this is cn:a under bundle acme-corp",
    );
    check(
        &["cn:order-service"],
        &[],
        "acme-corp cn:order-svc",
        "allows cn:order-service under bundle internal; this is cn:order-svc under bundle acme-corp",
    );
    check(
        &["dns:*.example.com"],
        &[],
        "acme-corp cn:q dns:a.example.com",
        "allows dns:*.example.com under bundle internal; this is dns:a.example.com under bundle acme-corp",
    );
}

#[test]
fn the_right_text_of_another_kind_is_told() {
    check(
        &["dns:api.example.com", "cn:api.example.co"],
        &[],
        "internal cn:api.example.com",
        "allows dns:api.example.com; this certificate has it only as cn:api.example.com",
    );
    check(
        &["cn:api.example.com"],
        &[],
        "internal dns:api.example.com",
        "allows cn:api.example.com; this certificate has it only as dns:api.example.com",
    );
    check(
        &["dns:*.example.com"],
        &[],
        "internal cn:api.example.com",
        "allows dns:*.example.com; this certificate has it only as cn:api.example.com",
    );
    check(
        &["dns:api.example.com"],
        &[],
        "acme-corp cn:api.example.com",
        "allows dns:api.example.com under bundle internal; this certificate has it only as cn:api.example.com under bundle acme-corp",
    );
    check(
        &["spiffe://example.com/*"],
        &[],
        "internal cn:spiffe://example.com/a",
        "allows spiffe://example.com/*; this certificate has it only as cn:spiffe://example.com/a",
    );
}

#[test]
fn without_a_name_of_the_kind_the_principal_is_told() {
    check(
        &["dns:api.example.com"],
        &[],
        "internal cn:z",
        "allows dns:api.example.com; this is cn:z",
    );
    check(
        &["ip:10.0.0.1"],
        &[],
        "internal cn:z spiffe://example.com/a",
        "allows ip:10.0.0.1; this is spiffe://example.com/a",
    );
}

#[test]
fn of_several_names_the_one_that_is_missing_is_told() {
    check(
        &["cn:a dns:b.example.com"],
        &[],
        "internal cn:a dns:c.example.com",
        "allows dns:b.example.com; this is dns:c.example.com",
    );
    check(
        &["@internal ! cn:a"],
        &[],
        "internal cn:a",
        "allows under bundle internal, except cn:a; this is cn:a under bundle internal",
    );
    check(
        &["! cn:a"],
        &[],
        "internal cn:a",
        "allows everyone except cn:a; this is cn:a under bundle internal",
    );
}

#[test]
fn the_rule_that_denies_is_told() {
    check(
        &["any-trusted"],
        &["cn:z", "dns:*.contractor.example.com"],
        "internal dns:a.contractor.example.com",
        "denied by rule 2: dns:*.contractor.example.com; this is dns:a.contractor.example.com under bundle internal",
    );
    check(
        &["cn:q"],
        &["cn:a"],
        "internal cn:a",
        "denied by rule 1: cn:a; this is cn:a under bundle internal",
    );
    check(
        &["anyone"],
        &["! cn:a"],
        "anonymous",
        "denied by rule 1: everyone except cn:a; this is an anonymous client",
    );
    check(
        &["anyone"],
        &["cn:a", "GET ! cn:b"],
        "anonymous",
        "request: denied by rule 2: GET, except cn:b; this is GET /x",
    );
    check(
        &["any-trusted"],
        &["cn:a /x"],
        "internal cn:a",
        "request: denied by rule 1: cn:a /x; this is GET /x",
    );
}

#[test]
fn the_request_that_would_pass_is_told() {
    check(
        &["cn:b", "cn:a POST /y", "cn:a POST|PUT /x", "cn:a DELETE /z"],
        &[],
        "internal cn:a",
        "request: allows cn:a POST|PUT /x; this is GET /x",
    );
    check(
        &["@acme-corp POST"],
        &[],
        "acme-corp cn:a",
        "request: allows POST under bundle acme-corp; this is GET /x",
    );
    check(
        &["cn:a ! /x"],
        &[],
        "internal cn:a",
        "request: allows cn:a, except /x; this is GET /x",
    );
}

#[test]
fn long_names_and_long_rules_stay_short_and_cheap() {
    let names: Vec<String> = (0..90)
        .map(|index| format!("dns:{}.{index}.example.com", "a".repeat(60)))
        .collect();
    let rules: Vec<String> = (0..5000)
        .map(|index| format!("dns:{}.{index}.example.org", "b".repeat(60)))
        .collect();
    let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
    let policy = policy(vec![route(&rules, &[])]).unwrap();
    let peer = peer(&format!("internal {}", names.join(" ")));
    let path = format!("/{}", "x".repeat(10_000));
    match policy.decide(&Asked {
        peer: Some(&peer),
        host: None,
        method: "GET",
        path: &path,
        headers: &NoHeaders,
        factors: &Factors::NONE,
        circumstances: CIRCUMSTANCES,
    }) {
        Decision::IdentityNotAllowed { nearest, .. } => assert!(
            nearest.starts_with("allows dns:bbb") && nearest.len() < 512,
            "{nearest}"
        ),
        other => panic!("{other:?}"),
    }
}

/// What is told goes to the log, and an API key is a header too.
#[test]
fn what_headers_hold_is_never_told() {
    let rules = policy(vec![route(
        &["cn:a GET x-api-key=hunter2", "cn:a PUT x-env=prod|hunter2"],
        &["POST x-env=hunter2"],
    )])
    .unwrap();
    for (method, header, expected) in [
        (
            "GET",
            ("x-api-key", "swordfish"),
            "allows cn:a GET header x-api-key; this is GET /",
        ),
        (
            "PUT",
            ("x-env", "swordfish"),
            "allows cn:a PUT header x-env with one of 2 values; this is PUT /",
        ),
        (
            "POST",
            ("x-env", "hunter2"),
            "denied by rule 1: POST header x-env; this is POST /",
        ),
    ] {
        let asked = Asked {
            peer: Some(&peer("internal cn:a")),
            host: None,
            method,
            path: "/",
            headers: &Sent(vec![header]),
            factors: &Factors::NONE,
            circumstances: CIRCUMSTANCES,
        };
        let Decision::RequestNotAllowed { nearest, .. } = rules.decide(&asked) else {
            panic!("{method} goes through");
        };
        assert_eq!(nearest, expected);
    }
    let twice = ["hunter2".to_owned(), "hunter2".to_owned()];
    let refused = countersign_policy::access::HeaderPattern::parse("x-api-key", &twice);
    let told = refused.unwrap_err().to_string();
    assert!(
        told.contains("x-api-key") && !told.contains("hunter2"),
        "{told}"
    );
}
