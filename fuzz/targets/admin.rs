//! Bodies and queries of the admin API, up to the types of the domain.

use countersign_authority::admin::read_and_forget;
use countersign_authority::api::{
    CERTIFICATES, IMPORT, ISSUE, LABEL, RELEASE, RENEW, RENEW_OWN, RESUME, REVOKE, ROOT_LIST,
    ROOT_LIST_DRAFT,
};
use countersign_pki::spiffe::TrustDomain;
use countersign_pki::time::UnixTime;
use serde_json::{Map, Value, json};

const PATHS: [&str; 11] = [
    ISSUE,
    RENEW,
    RENEW_OWN,
    REVOKE,
    RELEASE,
    LABEL,
    IMPORT,
    CERTIFICATES,
    RESUME,
    ROOT_LIST,
    ROOT_LIST_DRAFT,
];

/// Each route with each of its fields; `x` stands for what the fuzzer says.
fn shapes(x: &str, number: u64) -> Vec<(&'static str, Value)> {
    let selection = [
        "name",
        "san",
        "identity",
        "issuer",
        "profile",
        "serial",
        "fingerprint",
        "spki",
        "issued_by",
        "owner",
        "labels",
    ];
    let mut shapes = vec![
        (ISSUE, json!({ "profile": x, "name": "a", "csr": "" })),
        (
            ISSUE,
            json!({ "profile": "client", "name": x, "sans": [x], "ttl_s": number, "csr": x }),
        ),
        (RENEW, json!({ "what": x, "csr": x })),
        (
            REVOKE,
            json!({ "what": x, "at_most": number, "wait_ms": number, "after": x }),
        ),
        (
            REVOKE,
            json!({ "what": x, "unrecorded": true, "expired": true }),
        ),
        (
            REVOKE,
            json!({ "what": x, "unrecorded": true, "selection": { "serial": x, "issuer": x } }),
        ),
        (RELEASE, json!({ "what": x, "after": x })),
        (
            LABEL,
            json!({ "what": x, "owner": x, "note": x, "labels": { x: x }, "remove": [x] }),
        ),
        (IMPORT, json!({ "certificates": [x], "owner": x })),
        (
            CERTIFICATES,
            json!({ "after": x, "limit": number, "expiring_within_s": number }),
        ),
    ];
    for field in selection {
        let one = Value::Object(Map::from_iter([(field.to_owned(), Value::from(x))]));
        shapes.push((REVOKE, json!({ "selection": one })));
        shapes.push((RELEASE, json!({ "selection": one })));
        shapes.push((CERTIFICATES, one));
    }
    shapes
}

fn check(path: &str, body: &[u8]) {
    let domain = TrustDomain::parse("example.com").expect("a trust domain");
    let now = UnixTime::from_seconds(1_800_000_000);
    let read = read_and_forget(path, body, &domain, now);
    // What is refused is refused by name, each time alike, and in words that a terminal may show.
    assert_eq!(read, read_and_forget(path, body, &domain, now));
    if let Some(Err(problem)) = read {
        assert!((400..500).contains(&problem.status), "{path}: {problem:?}");
        assert!(
            !problem.detail.chars().any(char::is_control),
            "{path}: {problem:?}"
        );
        assert!(!problem.detail.is_empty(), "{path}: {problem:?}");
    }
}

#[test]
fn any_bytes_are_read_or_refused_by_every_route() {
    bolero::check!().for_each(|bytes: &[u8]| {
        for path in PATHS {
            check(path, bytes);
        }
    });
}

#[test]
fn any_text_in_any_field_is_read_or_refused_by_name() {
    bolero::check!()
        .with_type::<(String, u64)>()
        .for_each(|(text, number)| {
            for (path, body) in shapes(text, *number) {
                check(path, body.to_string().as_bytes());
            }
        });
}
