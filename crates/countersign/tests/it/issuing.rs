//! What is issued is what was asked for, strict verifiers accept it, and its files are safe.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use countersign_testkit::bypass::Protocol;

use crate::files::{contents, every_file};
use crate::http::Connection;
use crate::installation::{Answer, Installation, text};
use crate::openssl::x509;
use crate::peers::peer;

#[test]
fn name_that_brings_another_along_is_no_name() {
    let installation = Installation::new();
    for (kind, name) in [
        ("--dns", "a.example.test,DNS:admin.example.test"),
        ("--dns", "a.example.test\\,admin.example.test"),
        ("--dns", "a.example.test DNS:admin.example.test"),
        ("--dns", "a.example.test\nDNS:admin.example.test"),
        ("--ip", "10.0.0.1,DNS:admin.example.test"),
        ("--email", "a@example.test,DNS:admin.example.test"),
        ("--uri", "https://example.test/a b,DNS:admin.example.test"),
        ("--uri", "spiffe://countersign.internal/admin"),
    ] {
        let arguments = ["issue", "client", "somebody", "--out", "out", kind, name];
        let answer = installation.run(&arguments);
        assert_ne!(answer.code, Some(0), "{name}: {answer:#?}");
        assert!(answer.stderr.contains("error: "), "{name}: {answer:#?}");
        assert!(!installation.path("out").exists(), "{name}");
    }
}

#[test]
fn every_profile_passes_strict_verification_and_says_what_it_is() {
    let name = "every_profile_passes_strict_verification_and_says_what_it_is";
    let Some(openssl) = peer(name, "openssl") else {
        return;
    };
    let installation = Installation::new();
    let check = |expected: &Expected<'_>| expected.check(&installation, &openssl);
    check(&Expected {
        profile: "server",
        name: "api.example.test",
        arguments: &["--dns", "www.example.test", "--ip", "10.0.0.1"],
        purposes: &["sslserver"],
        facts: &[
            "DNS:api.example.test",
            "DNS:www.example.test",
            "IP Address:10.0.0.1",
            SERVER,
        ],
        absent: &[CLIENT],
    });
    check(&Expected {
        profile: "client",
        name: "partner",
        arguments: &[
            "--email",
            "partner@example.test",
            "--uri",
            "https://example.test/id",
            "--ttl",
            "8h",
        ],
        purposes: &["sslclient"],
        facts: &[
            "Subject: CN = partner",
            "email:partner@example.test",
            "URI:https://example.test/id",
            CLIENT,
        ],
        absent: &[SERVER],
    });
    check(&Expected {
        profile: "peer",
        name: "peer.example.test",
        arguments: &[],
        purposes: &["sslserver", "sslclient"],
        facts: &["DNS:peer.example.test", SERVER, CLIENT],
        absent: &[],
    });
    check(&Expected {
        profile: "workload",
        name: "/ns/prod/api",
        arguments: &[],
        purposes: &["sslserver", "sslclient"],
        facts: &[
            "URI:spiffe://countersign.internal/ns/prod/api",
            // RFC 5280 §4.1.2.6: its subject is empty.
            "Subject Alternative Name: critical",
            SERVER,
            CLIENT,
        ],
        absent: &["DNS:"],
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_key_gets_through_the_gateway_and_is_kept_by_renewal() {
    let name = "every_kind_of_key_gets_through_the_gateway_and_is_kept_by_renewal";
    let Some(openssl) = peer(name, "openssl") else {
        return;
    };
    let installation = Installation::new();
    let gateway = installation.up(&[]);
    for (kind, said) in [
        ("p256", "NIST CURVE: P-256"),
        ("p384", "NIST CURVE: P-384"),
        ("ed25519", "Public Key Algorithm: ED25519"),
        ("rsa2048", "Public-Key: (2048 bit)"),
        ("rsa3072", "Public-Key: (3072 bit)"),
        ("rsa4096", "Public-Key: (4096 bit)"),
    ] {
        let issued = installation.issue("client", kind, &["--key", kind]);
        for renewed in [false, true] {
            if renewed {
                installation.ok(&["renew", text(issued.folder())]);
            }
            let shown = x509(&openssl, &issued.certificate());
            assert!(shown.contains(said), "{kind}, renewed {renewed}:\n{shown}");
            for protocol in [Protocol::Http1Tls13, Protocol::Http1Tls12] {
                let client = issued.client(protocol);
                let mut connection = Connection::open(&client, protocol, gateway.gateway())
                    .await
                    .expect("let in");
                let answer = connection.get("/").await;
                let (status, _) =
                    answer.unwrap_or_else(|error| panic!("{kind} {protocol:?}: {error}"));
                assert_eq!(status, 200, "{kind} {protocol:?}");
            }
        }
    }
    installation
        .run(&["issue", "client", "x", "--key", "rsa1024"])
        .assert_fault(2, &["rsa1024", "rsa2048"]);
    installation
        .run(&[
            "issue",
            "client",
            "x",
            "--key",
            "p256",
            "--csr",
            "request.pem",
        ])
        .assert_fault(2, &["--csr"]);
}

#[test]
fn dry_run_tells_what_would_be_issued_and_issues_nothing() {
    let installation = Installation::new();
    let before = installation.json(&["list"]);
    let files = every_file(&installation.state());
    let told = installation.ok(&[
        "issue",
        "server",
        "api.example.test",
        "--ttl",
        "825d",
        "--dry-run",
    ]);
    for words in [
        "nothing was issued",
        "dns:api.example.test",
        "2 y 95 d as asked for",
        "what profile server is for",
        "no client is known that would refuse it",
    ] {
        assert!(told.contains(words), "{words} is missing:\n{told}");
    }
    assert!(!installation.path("api.example.test").exists());

    let told = installation.json(&[
        "issue",
        "workload",
        "/ns/prod/api",
        "--ttl",
        "9d",
        "--dry-run",
    ]);
    assert_eq!(told["dry_run"], true);
    assert_eq!(
        told["certificate"]["subject_alt_names"],
        serde_json::json!(["spiffe://countersign.internal/ns/prod/api"])
    );
    assert_eq!(
        told["objections"][0]["client"],
        "every client that checks the host name"
    );
    assert_eq!(installation.json(&["list"]), before);
    assert_eq!(every_file(&installation.state()), files);

    // What would be refused is refused.
    installation
        .run(&["issue", "client", "*.example.test", "--dry-run"])
        .assert_fault(2, &["wildcard"]);
    installation
        .run(&[
            "issue",
            "server",
            "a.example.test",
            "--ttl",
            "826d",
            "--dry-run",
        ])
        .assert_fault(2, &["too long"]);
}

#[test]
fn dry_run_names_the_clients_that_cannot_use_the_key() {
    let name = "dry_run_names_the_clients_that_cannot_use_the_key";
    let Some(openssl) = peer(name, "openssl") else {
        return;
    };
    let installation = Installation::new();
    let (key, request) = (
        installation.path("key.pem"),
        installation.path("request.pem"),
    );
    let made = Answer::of(Command::new(&openssl).args([
        "req",
        "-new",
        "-newkey",
        "ed25519",
        "-nodes",
        "-subj",
        "/",
        "-keyout",
        text(&key),
        "-out",
        text(&request),
    ]));
    let told = installation.ok(&[
        "issue",
        "server",
        "api.example.test",
        "--csr",
        text(&request),
        "--dry-run",
    ]);
    for words in ["refused by Chromium", "Ed25519", "dns:api.example.test"] {
        assert!(
            told.contains(words),
            "{words} is missing:\n{told}\n{}",
            made.all()
        );
    }
}

/// What a certificate has to be, in OpenSSL's words.
struct Expected<'a> {
    profile: &'a str,
    name: &'a str,
    arguments: &'a [&'a str],
    purposes: &'a [&'a str],
    facts: &'a [&'a str],
    absent: &'a [&'a str],
}

impl Expected<'_> {
    fn check(&self, installation: &Installation, openssl: &Path) {
        let issued = installation.issue(self.profile, self.name, self.arguments);
        let (certificate, ca) = (issued.certificate(), issued.ca());
        for purpose in self.purposes {
            let mut verify = Command::new(openssl);
            verify.args([
                "verify",
                "-x509_strict",
                "-purpose",
                purpose,
                "-CAfile",
                text(&ca),
            ]);
            let answer =
                Answer::of(verify.args(["-untrusted", text(&certificate), text(&certificate)]));
            assert_eq!(
                answer.code,
                Some(0),
                "{} as {purpose}: {answer:#?}",
                self.profile
            );
        }
        let shown = x509(openssl, &certificate);
        for fact in ALWAYS.iter().chain(self.facts) {
            assert!(
                shown.contains(fact),
                "{}: {fact:?} in {shown}",
                self.profile
            );
        }
        for fact in self.absent {
            assert!(
                !shown.contains(fact),
                "{}: {fact:?} in {shown}",
                self.profile
            );
        }
        let certificates = |path: &Path| {
            fs::read_to_string(path)
                .expect("issued")
                .matches("BEGIN CERTIFICATE")
                .count()
        };
        assert_eq!(certificates(&certificate), 2, "leaf, then intermediate");
        assert_eq!(certificates(&ca), 1);
    }
}

const ALWAYS: [&str; 6] = [
    "Version: 3",
    "Signature Algorithm: ecdsa-with-SHA256",
    "X509v3 Basic Constraints: critical\n                CA:FALSE",
    "X509v3 Key Usage: critical\n                Digital Signature",
    "X509v3 Subject Key Identifier:",
    "X509v3 Authority Key Identifier:",
];
const SERVER: &str = "TLS Web Server Authentication";
const CLIENT: &str = "TLS Web Client Authentication";

#[test]
fn nonsense_is_not_issued() {
    let installation = Installation::new();
    let before = installation.json(&["list"]);
    for arguments in [
        &["server", "not a name"][..],
        &["server", "a..b"],
        &["client", ""],
        &["workload", "spiffe://elsewhere.example/api"],
        &["client", "partner", "--ttl", "0s"],
        &["client", "partner", "--ttl", "forever"],
        &["client", "partner", "--ip", "300.1.1.1"],
        &["client", "partner", "--email", "nobody"],
        &["operator", "root", "--dns", "a.example.test"],
        &["node", "gateway-2", "--email", "a@example.test"],
        &["intermediate", "Factory", "--dns", "example.test"],
        &["canary", "bird"],
    ] {
        let answer = installation.run(&[&["issue"], arguments, &["--out", "refused"]].concat());
        assert!(
            matches!(answer.code, Some(1 | 2)),
            "{arguments:?}: {answer:#?}"
        );
        assert!(
            answer.stderr.starts_with("error: "),
            "{arguments:?}: {answer:#?}"
        );
        assert!(!installation.path("refused").exists(), "{arguments:?}");
    }
    assert_eq!(installation.json(&["list"]), before);
}

#[test]
fn serials_are_positive_and_of_159_bits() {
    let installation = Installation::new();
    for number in 0..8 {
        installation.issue("client", &format!("client-{number}"), &[]);
    }
    let list = installation.certificates(&[]);
    let serials: Vec<&str> = list.iter().filter_map(|it| it["serial"].as_str()).collect();
    assert!(serials.len() >= 8);
    for serial in serials {
        let digits: String = serial.chars().filter(char::is_ascii_hexdigit).collect();
        // RFC 5280 §4.1.2.2: positive, 20 octets at most; one of 2^64 random ones is shorter than 12 octets.
        assert!((24..=40).contains(&digits.len()), "{serial}");
        assert!(
            digits.len() < 40 || digits.as_bytes()[0] < b'8',
            "{serial} is negative"
        );
    }
}

#[test]
fn files_are_never_overwritten_unless_forced() {
    let installation = Installation::new();
    let issued = installation.issue("client", "partner", &[]);
    let before = contents(issued.folder());
    let listed = installation.json(&["list"]);
    let again = ["issue", "client", "partner", "--out", text(issued.folder())];
    let refused = installation.run(&again);
    refused.assert_fault(2, &["cert.pem", "--force"]);
    assert_eq!(contents(issued.folder()), before);
    assert_eq!(
        installation.json(&["list"]),
        listed,
        "nothing was issued for a place that is taken"
    );
    installation.ok(&[&again[..], &["--force"]].concat());
    let after = contents(issued.folder());
    assert!(after != before);
    assert_eq!(after.len(), 3, "nothing else is left behind");
}

#[test]
fn secrets_are_for_their_owner_alone() {
    let installation = Installation::new();
    let gateway = installation.up(&[]);
    let issued = installation.issue("client", "partner", &[]);
    let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode(&issued.key()), 0o600);
    assert_eq!(mode(&installation.state()), 0o700);
    let mut secret = 0;
    for path in every_file(&installation.state()) {
        let name = text(&path);
        let is_secret = ["key", "passphrase", "admin.sock", "inventory", "refusals"]
            .iter()
            .any(|word| name.contains(word));
        if is_secret {
            secret += 1;
            assert_eq!(mode(&path) & 0o077, 0, "{name}");
        }
    }
    assert!(
        secret >= 6,
        "keys of three CAs, of the gateway and of `you`, the socket"
    );
    for path in every_file(&installation.state().join("ca")) {
        let bytes = fs::read(&path).expect("readable");
        assert!(
            !String::from_utf8_lossy(&bytes).contains("BEGIN PRIVATE KEY"),
            "{} is not sealed",
            path.display()
        );
    }
    drop(gateway);
}

#[test]
fn request_of_openssl_is_certified_for_its_key() {
    let Some(openssl) = peer("request_of_openssl_is_certified_for_its_key", "openssl") else {
        return;
    };
    let installation = Installation::new();
    for kind in [
        &["rsa:2048"][..],
        &["ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
        &["ed25519"],
    ] {
        let name = kind[0].replace(':', "-");
        let (key, request) = (
            installation.path(&format!("{name}.key")),
            installation.path(&format!("{name}.csr")),
        );
        let mut ask = Command::new(&openssl);
        ask.args(["req", "-new", "-nodes", "-subj", "/CN=ignored", "-newkey"])
            .args(kind);
        let asked = Answer::of(ask.args(["-keyout", text(&key), "-out", text(&request)]));
        assert_eq!(asked.code, Some(0), "{asked:#?}");
        let issued = installation.issue("client", &name, &["--csr", text(&request)]);
        assert!(!issued.key().exists(), "the key lives elsewhere");
        let public = |arguments: &[&str]| {
            let answer = Answer::of(Command::new(&openssl).args(arguments));
            assert_eq!(answer.code, Some(0), "{answer:#?}");
            answer.stdout
        };
        let certified = public(&[
            "x509",
            "-noout",
            "-pubkey",
            "-in",
            text(&issued.certificate()),
        ]);
        assert_eq!(certified, public(&["pkey", "-pubout", "-in", text(&key)]));
        let shown = x509(&openssl, &issued.certificate());
        assert!(
            shown.contains(&format!("Subject: CN = {name}")) && !shown.contains("ignored"),
            "{shown}"
        );
    }
    for (bad, what) in [("garbage", "garbage.csr"), ("", "empty.csr")] {
        let file = installation.write(what, bad);
        let answer = installation.run(&["issue", "client", "bad", "--csr", text(&file)]);
        assert_eq!(answer.code, Some(2), "{answer:#?}");
        assert!(answer.stderr.contains(what), "{answer:#?}");
    }
}

#[test]
fn renewed_name_keeps_everything_but_the_key() {
    let Some(openssl) = peer("renewed_name_keeps_everything_but_the_key", "openssl") else {
        return;
    };
    let installation = Installation::new();
    let issued = installation.issue(
        "server",
        "api.example.test",
        &["--ip", "10.0.0.1", "--ttl", "8h"],
    );
    let facts = |certificate: &Path| -> Vec<String> {
        let shown = x509(&openssl, certificate);
        // "CA:FALSE" whole: hex of a key identifier may well hold "CA:".
        let kept = [
            "Subject:", "DNS:", "TLS Web", "Issuer:", "CA:FALSE", "Digital",
        ];
        shown
            .lines()
            .filter(|line| kept.iter().any(|word| line.contains(word)))
            .map(str::to_owned)
            .collect()
    };
    let before = facts(&issued.certificate());
    installation.ok(&["renew", text(issued.folder())]);
    assert_eq!(facts(&issued.certificate()), before);
    assert_eq!(contents(issued.folder()).len(), 3);
}
