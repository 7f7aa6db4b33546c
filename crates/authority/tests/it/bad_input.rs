//! Requests for certificates that nobody gets, over the admin API's own port: each has a named error and a record in the audit
//! log, and leaves nothing behind.

use std::time::Duration;

use axum::http::Request;
use bytes::Bytes;
use countersign_testkit::client::Outcome;
use http_body_util::Full;
use rcgen::{BasicConstraints, CertificateParams, CustomExtension, IsCa, KeyPair, SanType};
use serde_json::{Value, json};

use crate::admin_port::{Holder, Site, answer};

/// Who asks, and profiles that say less than those they are like.
const CONFIGURATION: &str = r#"
[operator.ian]
role = "issuer"
[operator.vic]
role = "viewer"

[profile.web]
like = "server"
dns_suffix = ["corp.example"]

[profile.fresh]
like = "client"
same_key_renewal = false
"#;

const ISSUE: &str = "/v1/issue";
const RENEW: &str = "/v1/renew";

/// A request for a certificate, and why nobody gets it.
struct Bad {
    what: &'static str,
    path: &'static str,
    body: Vec<u8>,
    headers: Vec<(&'static str, String)>,
    status: u16,
    words: &'static str,
}

impl Bad {
    /// Of a client certificate for `a`, but for what is changed.
    fn issue(what: &'static str, changes: &Value, status: u16, words: &'static str) -> Self {
        let mut body = asked("client", "a", &key());
        for (field, value) in changes.as_object().expect("fields") {
            body[field] = value.clone();
        }
        Self::body(what, ISSUE, &body, status, words)
    }

    fn csr(what: &'static str, csr: impl Into<Value>, status: u16, words: &'static str) -> Self {
        let changes = json!({ "profile": "server", "name": "a.example.test", "csr": csr.into() });
        Self::issue(what, &changes, status, words)
    }

    fn name(what: &'static str, profile: &str, name: &str, words: &'static str) -> Self {
        Self::issue(
            what,
            &json!({ "profile": profile, "name": name }),
            422,
            words,
        )
    }

    fn body(
        what: &'static str,
        path: &'static str,
        body: &Value,
        status: u16,
        words: &'static str,
    ) -> Self {
        Self {
            what,
            path,
            body: body.to_string().into_bytes(),
            headers: vec![("content-type", "application/json".to_owned())],
            status,
            words,
        }
    }

    fn at(self, status: u16) -> Self {
        Self { status, ..self }
    }

    fn with_header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }
}

fn key() -> KeyPair {
    KeyPair::generate().expect("a key")
}

fn csr_of(params: &CertificateParams, key: &KeyPair) -> String {
    let request = params.serialize_request(key).expect("a request");
    request.pem().expect("PEM")
}

fn asked(profile: &str, name: &str, key: &KeyPair) -> Value {
    let csr = csr_of(&CertificateParams::default(), key);
    json!({ "profile": profile, "name": name, "csr": csr })
}

/// A request that wants more than it is asked with.
fn wishing(wish: impl FnOnce(&mut CertificateParams)) -> String {
    let mut params = CertificateParams::default();
    wish(&mut params);
    csr_of(&params, &key())
}

/// A good request with its last byte, the end of its signature, changed.
fn badly_signed() -> String {
    let good = csr_of(&CertificateParams::default(), &key());
    let blocks = countersign_pki::pem::decode_all(good.as_bytes()).expect("PEM");
    let mut der = blocks[0].der.clone();
    *der.last_mut().expect("bytes") ^= 1;
    countersign_pki::pem::encode("CERTIFICATE REQUEST", &der)
}

/// What the inventory holds of everything that issuing leaves behind.
fn rows(site: &Site) -> Vec<(&'static str, i64)> {
    let inventory = site.folder.path.join("inventory.db");
    let inventory = rusqlite::Connection::open(inventory).expect("opens");
    ["entry", "intent", "certificate", "idempotency_key"]
        .into_iter()
        .map(|table| {
            let sql = format!("SELECT count(*) FROM {table}");
            let count = inventory.query_row(&sql, [], |row| row.get(0));
            (table, count.expect(table))
        })
        .collect()
}

fn refusals(site: &Site) -> Vec<Value> {
    let mut log = site.audit();
    log.retain(|record| record["action"] == "refuse");
    log
}

/// `None`: it was answered, and closed, while it was still being sent, so that the answer was lost on the way.
async fn ask(site: &Site, who: &Holder, bad: &Bad) -> Option<(u16, Value)> {
    let mut request = Request::post(bad.path).header("host", "localhost");
    for (name, value) in &bad.headers {
        request = request.header(*name, value);
    }
    let body = Full::new(Bytes::from(bad.body.clone()));
    let request = request.body(body).expect("a request");
    match site.request(&who.identity, request).await {
        Outcome::Closed(_) if bad.status == 413 => None,
        outcome => Some(answer(&outcome)),
    }
}

/// Asks each, and insists on all three: the error, the record, and nothing else. All complaints at once.
async fn check(site: &Site, who: &Holder, all: impl IntoIterator<Item = Bad>) {
    let mut complaints = Vec::new();
    for bad in all {
        // A minute has so many records of its own.
        site.clock.advance(Duration::from_secs(61));
        let (before, left) = (refusals(site).len(), rows(site));
        let answered = ask(site, who, &bad).await;
        let recorded = refusals(site);
        let last = recorded.last().cloned().unwrap_or_default();
        let unheard = || (bad.status, json!({ "detail": last["reason"] }));
        let (status, problem) = answered.unwrap_or_else(unheard);
        let detail = problem["detail"].as_str().unwrap_or_default();
        let is_shown_as_it_is = !detail.chars().any(char::is_control);
        let holds = [
            ("status", status == bad.status),
            ("error", detail.contains(bad.words)),
            ("control characters", is_shown_as_it_is),
            ("one record", recorded.len() == before + 1),
            ("its reason", last["reason"] == problem["detail"]),
            ("whose", last["authenticated"] == "mutual TLS"),
            ("nothing left behind", rows(site) == left),
        ];
        for (of, _) in holds.iter().filter(|(_, holds)| !holds) {
            complaints.push(format!("{}: {of}: {status} {problem} {last}", bad.what));
        }
    }
    assert!(complaints.is_empty(), "{complaints:#?}");
}

fn keys() -> Vec<Bad> {
    vec![
        Bad::csr("a bad signature", badly_signed(), 400, "signature"),
        Bad::csr("RSA of 1024 bits", RSA_1024, 400, "RSA 1024"),
        Bad::csr("RSA with exponent 3", RSA_EXPONENT_3, 422, "exponent 3"),
        Bad::csr("a curve that peers do not know", P_521, 422, "P-521"),
        Bad::csr("no request at all", "not a request", 400, "PEM"),
        Bad::csr("two requests", RSA_1024.repeat(2), 400, "request"),
        Bad::csr(
            "a critical extension that nobody knows",
            wishing(|params| {
                let oid = [1, 3, 6, 1, 4, 1, 32473, 7];
                let mut extension = CustomExtension::from_oid_content(&oid, vec![5, 0]);
                extension.set_criticality(true);
                params.custom_extensions.push(extension);
            }),
            422,
            "extension 1.3.6.1.4.1.32473.7",
        ),
        Bad::csr(
            "a wish to be a CA",
            wishing(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)),
            422,
            "asks to be a CA",
        ),
        Bad::csr(
            "a name that was not asked for",
            wishing(|params| {
                let name = "admin.example.test".try_into().expect("ASCII");
                params.subject_alt_names.push(SanType::DnsName(name));
            }),
            422,
            "asks for dns:admin.example.test",
        ),
        Bad::csr(
            "a name with NUL in it",
            wishing(|params| {
                let name = "a.example.test\0.evil.test".try_into().expect("ASCII");
                params.subject_alt_names.push(SanType::DnsName(name));
            }),
            400,
            "certificate request",
        ),
    ]
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn names() -> Vec<Bad> {
    let sans = |what, name: &str, sans: Value, status, words| {
        let changes = json!({ "profile": "server", "name": name, "sans": sans });
        Bad::issue(what, &changes, status, words)
    };
    let many = |count: usize| -> Value {
        let names = (0..count).map(|at| format!("dns:n{at}.example.test"));
        names.collect()
    };
    vec![
        Bad::name(
            "a wildcard where none may be",
            "device",
            "*.example.test",
            "wildcard",
        ),
        Bad::name(
            "a wildcard over a whole ending",
            "server",
            "*.com",
            "two labels",
        ),
        Bad::name(
            "a name outside its profile",
            "web",
            "a.example.test",
            "dns_suffix",
        ),
        Bad::name(
            "a foreign trust domain",
            "workload",
            "spiffe://other.example/a",
            "trust domain",
        ),
        Bad::name(
            "a person without address",
            "person",
            "Alice",
            "no e-mail address",
        ),
        sans(
            "one name too many",
            "a.example.test",
            many(100),
            422,
            "at most 100",
        ),
        sans(
            "thousands of names",
            "a.example.test",
            many(5000),
            422,
            "at most 100",
        ),
        sans(
            "a name twice",
            "a.example.test",
            json!(["dns:A.EXAMPLE.test"]),
            422,
            "asked for twice",
        ),
        sans(
            "names that look alike",
            "paypal.example.test",
            json!(["dns:paypa1.example.test"]),
            422,
            "taken for each other",
        ),
        sans(
            "a name of no kind",
            "a.example.test",
            json!(["untyped"]),
            400,
            "untyped",
        ),
        sans(
            "a name of NUL",
            "a.example.test",
            json!(["dns:b\u{0}.evil.test"]),
            400,
            r"\0",
        ),
        Bad::name(
            "a CN of several attributes",
            "client",
            "alice,O=admins",
            "distinguished name",
        ),
        Bad::name(
            "a CN that is a DN",
            "client",
            "CN=admin",
            "distinguished name",
        ),
        Bad::name(
            "letters of two scripts",
            "client",
            "pаypal",
            "several scripts",
        ),
        Bad::name("letters outside ASCII", "server", "bücher.example", "xn--"),
        Bad::name(
            "a label of an international name",
            "server",
            "xn--pypal-4ve.com",
            "internationalised",
        ),
        Bad::name("NUL", "client", "you\0admin", "control characters"),
        Bad::name("a line break", "client", "a\nb", "control characters"),
        Bad::name(
            "what colours a terminal",
            "client",
            "\u{1b}[31mred",
            "control characters",
        ),
        Bad::name(
            "what turns the line round",
            "client",
            "a\u{202e}b",
            "invisible",
        ),
        Bad::name("nothing", "client", "", "name"),
        Bad::name(
            "a canary by an issuer",
            "canary",
            "a.canary.invalid",
            "may not ask",
        )
        .at(403),
        Bad::name(
            "the name of a canary",
            "server",
            "a.canary.invalid",
            "only a canary",
        ),
        Bad::name(
            "a profile that there is not",
            "Client",
            "a",
            "not the name of a profile",
        )
        .at(400),
        Bad::name(
            "a reserved profile by an issuer",
            "operator",
            "ian",
            "may not ask",
        )
        .at(403),
        Bad::name("a CA by an issuer", "intermediate", "Mine", "may not ask").at(403),
    ]
}

fn shapes() -> Vec<Bad> {
    let huge = json!({ "profile": "client", "name": "a", "csr": "A".repeat(10 << 20) });
    let surprise = json!({ "surprise": true });
    let mut plain = Bad::issue("a body of another kind", &json!({}), 415, "Content-Type");
    plain.headers = vec![("content-type", "text/plain".to_owned())];
    let mut cut = Bad::issue("half a body", &json!({}), 400, "JSON");
    cut.body.truncate(20);
    vec![
        plain,
        cut,
        Bad::issue("a life of nothing", &json!({ "ttl_s": 0 }), 422, "life"),
        Bad::issue("a field that there is not", &surprise, 422, "surprise"),
        Bad::body("ten megabytes", ISSUE, &huge, 413, "length limit"),
        Bad::body(
            "nothing of what is needed",
            ISSUE,
            &json!({}),
            422,
            "profile",
        ),
        Bad::body(
            "nobody's next certificate",
            RENEW,
            &renewal("nobody", &key()),
            404,
            "nobody",
        ),
        Bad::issue(
            "a key for repeating that is none",
            &json!({}),
            400,
            "idempotency-key",
        )
        .with_header("idempotency-key", "two words"),
    ]
}

fn renewal(what: &str, key: &KeyPair) -> Value {
    let csr = csr_of(&CertificateParams::default(), key);
    json!({ "what": what, "csr": csr })
}

async fn issued(site: &Site, who: &Holder, profile: &str, name: &str, key: &KeyPair) -> String {
    let (status, issued) = site.post(who, ISSUE, &asked(profile, name, key)).await;
    assert_eq!(status, 200, "{name}: {issued}");
    issued["serial"]
        .as_str()
        .expect("a serial number")
        .to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_input_has_a_named_error_and_a_record_and_leaves_nothing() {
    let site = Site::new().await;
    site.configure(CONFIGURATION).await;
    let ian = site.holder("operator ian").await;
    check(
        &site,
        &ian,
        keys().into_iter().chain(names()).chain(shapes()),
    )
    .await;
    // The same, asked rightly, is given.
    issued(&site, &ian, "client", "a", &key()).await;
    issued(&site, &ian, "web", "a.corp.example", &key()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_and_requests_that_were_used_before_are_refused_and_on_record() {
    let site = Site::new().await;
    site.configure(CONFIGURATION).await;
    let ian = site.holder("operator ian").await;
    let (held, given_away, stays) = (key(), key(), key());
    issued(&site, &ian, "client", "ann", &held).await;
    let stolen = issued(&site, &ian, "client", "bob", &given_away).await;
    issued(&site, &ian, "client", "bob", &key()).await;
    let what = stolen.parse().expect("infallible");
    let reason = countersign_pki::feed::RevocationReason::KeyCompromise;
    let revoked = site
        .authority
        .revoke(crate::fixture::ADMIN, &what, reason, None);
    revoked.await.expect("revokes");
    issued(&site, &ian, "fresh", "eve", &stays).await;
    let first = Bad::body("good", ISSUE, &asked("client", "dan", &key()), 200, "");
    let first = ask(&site, &ian, &first.with_header("idempotency-key", "k-1")).await;
    assert_eq!(first.map(|it| it.0), Some(200));

    let used = [
        Bad::body(
            "a key of somebody else",
            ISSUE,
            &asked("client", "bob", &held),
            422,
            "cn:ann",
        ),
        Bad::body(
            "a key that was given away",
            ISSUE,
            &asked("client", "bob", &given_away),
            422,
            "given away",
        ),
        Bad::body(
            "the same, for another",
            ISSUE,
            &asked("client", "new", &given_away),
            422,
            "given away",
        ),
        Bad::body(
            "the same, to be renewed",
            RENEW,
            &renewal("cn:bob", &given_away),
            422,
            "given away",
        ),
        Bad::body(
            "the same key again",
            RENEW,
            &renewal("cn:eve", &stays),
            422,
            "key",
        ),
        Bad::body(
            "what was revoked",
            RENEW,
            &renewal(&stolen, &key()),
            409,
            "was revoked",
        ),
        Bad::body(
            "another request under a used key",
            ISSUE,
            &asked("client", "dan", &key()),
            422,
            "was used for another request",
        )
        .with_header("idempotency-key", "k-1"),
        Bad::body(
            "a renewal under a used key",
            RENEW,
            &renewal("cn:ann", &key()),
            422,
            "was used for another request",
        )
        .with_header("idempotency-key", "k-1"),
    ];
    check(&site, &ian, used).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_of_another_role_get_nothing_and_are_on_record() {
    let site = Site::new().await;
    site.configure(CONFIGURATION).await;
    for (who, words) in [
        ("operator vic", "operator vic is viewer, this needs issuer"),
        ("operator nobody", "operator nobody has no role here"),
        ("node gw-1", "a certificate of profile node"),
    ] {
        let holder = site.holder(who).await;
        let bad = Bad::body(
            "another role",
            ISSUE,
            &asked("client", "a", &key()),
            403,
            words,
        );
        check(&site, &holder, [bad]).await;
    }
    // One that the operator issuer has nothing to do with comes to no request: that is for the refusals of the gateway.
    let (before, left) = (refusals(&site).len(), rows(&site));
    let client = site.holder("client ann").await;
    let outcome = site
        .request(&client.identity, Request::new(Full::default()))
        .await;
    assert!(matches!(outcome, Outcome::Alert(_)), "{outcome:?}");
    assert_eq!(refusals(&site).len(), before);
    assert_ne!(rows(&site), left, "its own certificate");
}

const RSA_1024: &str = include_str!("bad_input/rsa-1024.csr");
const RSA_EXPONENT_3: &str = include_str!("bad_input/rsa-exponent-3.csr");
const P_521: &str = include_str!("bad_input/p-521.csr");
