//! x509-limbo: thousands of chains with the verdict that RFC 5280, the rules of public CAs, and common sense want.
//!
//! Every case goes through what `countersign verify` calls. What differs from the suite's verdict stands in the tables below,
//! with its reason; a difference more or less fails. A few cases are committed; the whole suite runs where `LIMBO` names its
//! file.

use std::collections::BTreeMap;
use std::time::Duration;

use countersign_pki::chain::{ExpectedName, Purpose, Rules, Strictness};
use countersign_pki::identity::BundleName;
use countersign_pki::pem;
use countersign_pki::time::UnixTime;
use countersign_pki::verification::Verification;
use rustls_pki_types::{CertificateDer, ServerName};
use serde_json::Value;

use crate::json::array;

/// Accepted although RFC 5280 has a rule against it; `--strict` refuses every one.
const ACCEPTED_UNLESS_STRICT: [(&str, &str); 8] = [
    ("rfc5280::aki::cross-signed-root-missing-aki", NO_KEY_ID),
    ("rfc5280::aki::intermediate-missing-aki", NO_KEY_ID),
    ("rfc5280::aki::leaf-missing-aki", NO_KEY_ID),
    (
        "rfc5280::nc::permitted-dns-match-noncritical",
        "the constraints are enforced all the same, and public CAs were long told not to mark them critical",
    ),
    (
        "rfc5280::root-non-critical-basic-constraints",
        "easy-rsa and older OpenSSL write them so; CA:TRUE is demanded all the same",
    ),
    (
        "rfc5280::san::underscore-dns",
        "container networks have such host names",
    ),
    ("rfc5280::ski::intermediate-missing-ski", NO_KEY_ID),
    ("rfc5280::ski::root-missing-ski", NO_KEY_ID),
];

const NO_KEY_ID: &str = "openssl x509 -req and many private CAs write no key identifiers; they help to find a path, and decide nothing";

/// Accepted against a rule of the CA/Browser Forum, which binds public CAs and their certificates only.
const ACCEPTED_OF_PRIVATE_CAS: [(&str, &[&str]); 6] = [
    (
        "how a root's authorityKeyIdentifier is written",
        &[
            "webpki::aki::root-with-aki-all-fields",
            "webpki::aki::root-with-aki-authoritycertissuer",
            "webpki::aki::root-with-aki-authoritycertserialnumber",
            "webpki::aki::root-with-aki-missing-keyidentifier",
            "webpki::aki::root-with-aki-ski-mismatch",
        ],
    ),
    (
        "what the CN repeats: it is never taken for a server's name",
        &[
            "webpki::cn::case-mismatch",
            "webpki::cn::ipv4-hex-mismatch",
            "webpki::cn::ipv4-leading-zeros-mismatch",
            "webpki::cn::ipv6-non-rfc5952-mismatch",
            "webpki::cn::ipv6-uncompressed-mismatch",
            "webpki::cn::ipv6-uppercase-mismatch",
            "webpki::cn::not-in-san",
            "webpki::cn::punycode-not-in-san",
            "webpki::cn::utf8-vs-punycode-mismatch",
        ],
    ),
    (
        "extendedKeyUsage: absent allows every purpose (RFC 5280 §4.2.1.12), present it is judged",
        &[
            "webpki::eku::ee-anyeku",
            "webpki::eku::ee-critical-eku",
            "webpki::eku::ee-without-eku",
            "webpki::eku::root-has-eku",
        ],
    ),
    (
        "wildcards below a public suffix, whose list no private CA is bound to",
        &[
            "webpki::san::public-suffix-multi-label-wildcard-san",
            "webpki::san::public-suffix-private-namespace-wildcard-san",
            "webpki::san::public-suffix-wildcard-san",
        ],
    ),
    (
        "RSA keys whose length is no multiple of 8",
        &[
            "webpki::forbidden-rsa-key-not-divisible-by-8-in-leaf",
            "webpki::forbidden-rsa-not-divisible-by-8-in-root",
        ],
    ),
    (
        "extensions that nothing here relies on",
        &[
            "webpki::malformed-aia",
            "webpki::san::san-critical-with-nonempty-subject",
        ],
    ),
];

/// Chains of servers, refused although RFC 5280 allows them. webpki alone refuses them too, which the test proves: they are what
/// the suite's own run of webpki counts against it, for that run leaves every chain of a client out.
const REFUSED_OF_SERVERS: [(&str, &str); 5] = [
    ("pathlen::self-issued-certs-pathlen", SELF_ISSUED),
    (
        "pathlen::validation-ignores-pathlen-in-leaf",
        "a CA certificate is nobody's own certificate",
    ),
    (
        "rfc5280::ca-as-leaf",
        "a CA certificate is nobody's own certificate",
    ),
    (
        "rfc5280::nc::permitted-dn-match",
        "webpki compares no directory names with constraints, and refuses",
    ),
    ("rfc5280::nc::permitted-self-issued", SELF_ISSUED),
];

const SELF_ISSUED: &str = "webpki makes no exception for self-issued intermediates";

/// Chains of clients, all of which are known by an e-mail address below a CA that permits it: webpki compares no e-mail
/// addresses with constraints, and refuses. It has decided before anything of ours is asked, so nothing around it can tell
/// these from the addresses that a CA does not permit.
const REFUSED_OF_CLIENTS: [&str; 5] = [
    "rfc5280::nc::nc-permits-email-domain",
    "rfc5280::nc::nc-permits-email-exact",
    "rfc5280::nc::nc-permits-email-literal-asterisk-exact-match",
    "rfc5280::nc::nc-permits-email-literal-double-asterisk",
    "rfc5280::nc::nc-permits-email-literal-mid-asterisk",
];

/// When a case names no time: the day on which the vectors were made.
const DEFAULT_TIME: &str = "2026-11-21T00:00:00";

#[test]
fn some_cases_of_x509_limbo_are_judged_as_the_tables_say() {
    let verdicts = check(include_bytes!("limbo/subset.json"));
    assert_eq!(verdicts.len(), 20);
    assert!(verdicts.values().any(|verdict| *verdict == Verdict::Right));
}

#[test]
fn every_case_of_x509_limbo_is_judged_as_the_tables_say() {
    let Ok(path) = std::env::var("LIMBO") else {
        eprintln!(
            "every_case_of_x509_limbo_is_judged_as_the_tables_say: not run, LIMBO does not name limbo.json"
        );
        return;
    };
    let suite = std::fs::read(&path).unwrap_or_else(|error| panic!("LIMBO={path}: {error}"));
    let verdicts = check(&suite);
    let absent: Vec<_> = listed().filter(|id| !verdicts.contains_key(*id)).collect();
    assert!(absent.is_empty(), "not in {path}: {absent:#?}");
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Right,
    WrongAccept,
    WrongReject,
}

/// Judges every case and compares with the tables.
fn check(suite: &[u8]) -> BTreeMap<String, Verdict> {
    let suite: Value = serde_json::from_slice(suite).expect("JSON");
    let mut verdicts = BTreeMap::new();
    let mut surprises = Vec::new();
    for case in array(&suite["testcases"]) {
        let id = case["id"].as_str().expect("an id");
        let outcome = judged(case, Strictness::Usual);
        let is_good = case["expected_result"] == "SUCCESS";
        let verdict = match (&outcome, is_good) {
            (Ok(()), false) => Verdict::WrongAccept,
            (Err(_), true) => Verdict::WrongReject,
            _ => Verdict::Right,
        };
        if verdict != expected(id) {
            surprises.push(format!("{id}: {verdict:?}, {outcome:?}"));
        }
        if verdict == Verdict::WrongReject && judged_by_webpki_alone(case).is_ok() {
            surprises.push(format!("{id}: webpki alone accepts it"));
        }
        let is_of_client = case["validation_kind"] == "CLIENT";
        if verdict == Verdict::WrongReject && is_of_client != REFUSED_OF_CLIENTS.contains(&id) {
            surprises.push(format!("{id}: counted with those of the other side"));
        }
        let is_listed = ACCEPTED_UNLESS_STRICT
            .iter()
            .any(|(listed, _)| *listed == id);
        if is_listed && judged(case, Strictness::Strict).is_ok() {
            surprises.push(format!("{id}: accepted under --strict"));
        }
        verdicts.insert(id.to_owned(), verdict);
    }
    assert!(
        surprises.is_empty(),
        "{} of {} cases: {surprises:#?}",
        surprises.len(),
        verdicts.len()
    );
    verdicts
}

fn expected(id: &str) -> Verdict {
    if refused().any(|listed| listed == id) {
        Verdict::WrongReject
    } else if listed().any(|listed| listed == id) {
        Verdict::WrongAccept
    } else {
        Verdict::Right
    }
}

fn refused() -> impl Iterator<Item = &'static str> {
    let of_servers = REFUSED_OF_SERVERS.iter().map(|(id, _)| *id);
    of_servers.chain(REFUSED_OF_CLIENTS)
}

fn listed() -> impl Iterator<Item = &'static str> {
    let of_private_cas = ACCEPTED_OF_PRIVATE_CAS.iter().flat_map(|(_, ids)| *ids);
    ACCEPTED_UNLESS_STRICT
        .iter()
        .map(|(id, _)| *id)
        .chain(refused())
        .chain(of_private_cas.copied())
}

/// The case as `countersign verify` would be asked it.
fn judged(case: &Value, strictness: Strictness) -> Result<(), String> {
    let purpose = purpose(case);
    let usual = Rules::default();
    let rules = Rules {
        intermediates: case["max_chain_depth"]
            .as_u64()
            .map_or(usual.intermediates, |depth| {
                usize::try_from(depth).expect("small")
            }),
        strictness,
    };
    let verification = Verification::new(
        BundleName::parse("trust").expect("a name"),
        None,
        &ders(&case["trusted_certs"]),
        &ders(&case["crls"]),
        rules,
    )
    .map_err(|error| error.to_string())?;
    let names = array(&case["expected_peer_names"])
        .iter()
        .chain([&case["expected_peer_name"]])
        .filter(|name| !name.is_null())
        .map(|name| expected_name(name, purpose))
        .collect::<Result<Vec<_>, _>>()?;
    let chain = [
        ders(&case["peer_certificate"]),
        ders(&case["untrusted_intermediates"]),
    ]
    .concat();
    let verdict = verification.verify(&chain, purpose, &names, time(case));
    verdict
        .map(drop)
        .map_err(|fault| format!("{:?}", fault.kind))
}

fn expected_name(name: &Value, purpose: Purpose) -> Result<ExpectedName, String> {
    let kind = match name["kind"].as_str() {
        Some("DNS") => "dns",
        Some("IP") => "ip",
        Some("RFC822") => "email",
        other => panic!("names of kind {other:?} are not mapped"),
    };
    let text = format!("{kind}:{}", name["value"].as_str().expect("a name"));
    ExpectedName::parse(&text, purpose).map_err(|error| error.to_string())
}

/// Which side presents the certificate. The usages that a case asks for besides are those that a side always needs.
fn purpose(case: &Value) -> Purpose {
    let (purpose, own_usage) = match case["validation_kind"].as_str() {
        Some("SERVER") => (Purpose::ServerAuth, "serverAuth"),
        Some("CLIENT") => (Purpose::ClientAuth, "clientAuth"),
        other => panic!("{other:?} is not mapped"),
    };
    let is_mapped = array(&case["signature_algorithms"]).is_empty()
        && array(&case["key_usage"])
            .iter()
            .all(|usage| usage == "digitalSignature")
        && array(&case["extended_key_usage"])
            .iter()
            .all(|usage| usage == own_usage);
    assert!(is_mapped, "{}: asks for more than is mapped", case["id"]);
    purpose
}

/// To the second, as certificates have it.
fn time(case: &Value) -> UnixTime {
    let text = case["validation_time"].as_str().unwrap_or(DEFAULT_TIME);
    let (seconds, rest) = text.split_at(DEFAULT_TIME.len());
    assert!(rest.is_empty() || rest.ends_with("+00:00"), "{text}");
    format!("{seconds}Z").parse().expect("a time")
}

/// One PEM block, or a list of such.
fn ders(pem: &Value) -> Vec<Vec<u8>> {
    let texts = pem
        .as_array()
        .map_or(std::slice::from_ref(pem), Vec::as_slice);
    texts
        .iter()
        .map(|text| {
            let blocks = pem::decode_all(text.as_str().expect("PEM").as_bytes()).expect("PEM");
            blocks[0].der.clone()
        })
        .collect()
}

/// What the library does without any check of ours, but with the name.
fn judged_by_webpki_alone(case: &Value) -> Result<(), webpki::Error> {
    let certificates = |pem: &Value| -> Vec<CertificateDer<'static>> {
        ders(pem).into_iter().map(CertificateDer::from).collect()
    };
    let roots = certificates(&case["trusted_certs"]);
    let anchors: Vec<_> = roots
        .iter()
        .filter_map(|root| webpki::anchor_from_trusted_cert(root).ok())
        .collect();
    let leaf = certificates(&case["peer_certificate"]);
    let leaf = webpki::EndEntityCert::try_from(&leaf[0])?;
    let usage = match purpose(case) {
        Purpose::ClientAuth => webpki::KeyUsage::client_auth(),
        Purpose::ServerAuth => webpki::KeyUsage::server_auth(),
    };
    let now = Duration::from_secs(time(case).seconds());
    leaf.verify_for_usage(
        webpki::ALL_VERIFICATION_ALGS,
        &anchors,
        &certificates(&case["untrusted_intermediates"]),
        rustls_pki_types::UnixTime::since_unix_epoch(now),
        usage,
        None,
        None,
    )?;
    match case["expected_peer_name"]["value"].as_str() {
        Some(name) => {
            let name = ServerName::try_from(name).expect("a name");
            leaf.verify_is_valid_for_subject_name(&name)
        }
        None => Ok(()),
    }
}
