//! Profiles on the command line: nodes and operators, those of a configuration, and requests that are refused.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use countersign_testkit::bypass::Protocol;
use countersign_testkit::client::Client;
use countersign_testkit::process::Process;

use crate::http::Connection;
use crate::installation::{Installation, Issued, countersign, text};
use crate::peers::peer;

/// The audit records of refusals: what was asked for, and why not.
fn refusals(installation: &Installation) -> Vec<(String, String)> {
    let log = installation.ok(&["audit", "export"]);
    let records = log
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"));
    let field = |record: &serde_json::Value, name: &str| {
        record[name].as_str().unwrap_or_default().to_owned()
    };
    records
        .filter(|record| record["action"] == "refuse")
        .map(|record| (field(&record, "object"), field(&record, "reason")))
        .collect()
}

fn certificates(installation: &Installation) -> usize {
    installation.certificates(&[]).len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_and_operators_are_issued_whether_or_not_anything_serves() {
    let installation = Installation::new();
    let operator_issuer = fs::read(installation.state().join("ca/operator.pem")).expect("there");
    let check = |issued: &Issued| {
        assert_eq!(
            fs::read(issued.ca()).expect("there"),
            operator_issuer,
            "ca.pem is the operator issuer"
        );
        let (certificate, ca) = (issued.certificate(), issued.ca());
        let trust = |file: &Path| {
            let arguments = ["verify", "--as", "client", "--trust", text(file), "--cert"];
            countersign(
                &installation.path(""),
                &[&arguments[..], &[text(&certificate)]].concat(),
            )
            .code
        };
        assert_eq!(trust(&ca), Some(0), "good under its ca.pem");
        assert_eq!(
            trust(&installation.state().join("ca.pem")),
            Some(1),
            "nothing under the root by itself"
        );
    };
    check(&installation.issue("node", "gw-1", &[]));
    let gateway = installation.up(&[]);
    check(&installation.issue("node", "gw-2", &[]));
    let alice = installation.issue("operator", "alice", &["--email", "alice@example.test"]);
    check(&alice);
    // No client of the gateway's.
    let root = Issued::of_first_run(&gateway).root();
    let client = Client::new(
        &root,
        Some(&alice.identity()),
        Protocol::Http1Tls13,
        "localhost",
    );
    let refused = match Connection::open(&client, Protocol::Http1Tls13, gateway.gateway()).await {
        Ok(mut connection) => connection.get("/").await.is_err(),
        Err(_) => true,
    };
    assert!(refused, "an operator is a client of the gateway");
    let shown = installation.json(&["list", "--profile", "node"]);
    assert_eq!(shown["certificates"].as_array().map(Vec::len), Some(2));
    assert!(
        shown["certificates"][0]["issuer"]
            .as_str()
            .expect("an issuer")
            .contains("Operator CA")
    );
    // A node's key can be renewed by an admin, and is revoked like any other.
    installation.ok(&["renew", text(alice.folder())]);
    check(&alice);
    installation.ok(&["revoke", "gw-1"]);
}

#[test]
#[expect(clippy::too_many_lines, reason = "one CA from its request to its end")]
fn ca_below_the_root_is_made_for_a_request_and_for_a_key_of_ours() {
    let name = "ca_below_the_root_is_made_for_a_request_and_for_a_key_of_ours";
    let Some(openssl) = peer(name, "openssl") else {
        return;
    };
    let installation = Installation::new();
    let factory = installation.issue("intermediate", "Factory", &[]);
    let root = installation.state().join("ca.pem");
    assert_eq!(
        fs::read(factory.ca()).expect("there"),
        fs::read(&root).expect("there")
    );
    let run = |arguments: &[&str]| {
        let output = Command::new(&openssl)
            .args(arguments)
            .current_dir(installation.path(""))
            .output();
        let output = output.expect("openssl starts");
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let (certificate, key) = (factory.certificate(), factory.key());
    let shown = run(&["x509", "-noout", "-text", "-in", text(&certificate)]);
    for said in [
        "CA:TRUE, pathlen:0",
        "Certificate Sign, CRL Sign",
        "Subject: CN = Factory",
    ] {
        assert!(shown.contains(said), "{said}:\n{shown}");
    }
    run(&[
        "req",
        "-new",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-subj",
        "/CN=made-by-factory",
        "-keyout",
        "leaf.key",
        "-out",
        "leaf.csr",
    ]);
    run(&[
        "x509",
        "-req",
        "-in",
        "leaf.csr",
        "-CA",
        text(&certificate),
        "-CAkey",
        text(&key),
        "-days",
        "1",
        "-out",
        "leaf.pem",
    ]);
    run(&[
        "verify",
        "-CAfile",
        text(&root),
        "-untrusted",
        text(&certificate),
        "leaf.pem",
    ]);
    run(&[
        "req",
        "-new",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-384",
        "-nodes",
        "-subj",
        "/CN=Other",
        "-addext",
        "basicConstraints=critical,CA:TRUE",
        "-keyout",
        "ca.key",
        "-out",
        "ca.csr",
    ]);
    let request = installation.path("ca.csr");
    installation.issue("intermediate", "Second_Factory", &["--csr", text(&request)]);
    let again = [
        "issue",
        "client",
        "x",
        "--csr",
        text(&request),
        "--out",
        "nowhere",
    ];
    installation
        .run(&again)
        .assert_fault(2, &["asks to be a CA"]);
}

const CONFIGURATION: &str = r#"
[authority.profile.web]
like = "server"
keys = ["p-256"]
max_lifetime = "30d"
dns_suffix = ["web.example.test"]
ip_range = ["10.0.0.0/8"]
same_key_renewal = false

[[authority.profile.web.extension]]
oid = "1.3.6.1.4.1.32473.1"
utf8 = "web"

[authority.profile.client]
common_name = ["svc-*", "you"]

[gateway]
metrics_address = "127.0.0.1:0"

[[gateway.listener]]
address = "127.0.0.1:0"

[[gateway.listener.route]]
upstream = "demo"
allow = ["any-trusted"]
"#;

#[test]
fn profiles_of_a_configuration_hold_while_it_is_served_and_afterwards() {
    let installation = Installation::new();
    installation
        .run(&["issue", "web", "a.web.example.test"])
        .assert_fault(2, &["profile web is not known", "[authority.profile.NAME]"]);
    let gateway = installation.serve(CONFIGURATION);
    let check = |out: &str| {
        let ok = |arguments: &[&str]| {
            installation.ok(&[
                &["issue", "--out", text(&installation.path(out)), "--force"],
                arguments,
            ]
            .concat());
        };
        let refused = |arguments: &[&str], word: &str| {
            installation
                .run(&[&["issue"], arguments].concat())
                .assert_fault(2, &[word]);
        };
        ok(&["web", "a.web.example.test", "--ip", "10.1.2.3"]);
        ok(&["client", "svc-a"]);
        refused(&["web", "a.example.test"], "dns_suffix");
        refused(
            &["web", "a.web.example.test", "--ip", "192.0.2.1"],
            "ip_range",
        );
        refused(
            &["web", "a.web.example.test", "--ttl", "31d"],
            "at most 30 d",
        );
        refused(
            &["web", "a.web.example.test", "--key", "ed25519"],
            "has ECDSA P-256",
        );
        refused(&["client", "admin"], "common_name");
    };
    check("first");
    let told = installation.ok(&["issue", "web", "a.web.example.test", "--dry-run"]);
    for said in [
        "like server",
        "web.example.test",
        "10.0.0.0/8",
        "1.3.6.1.4.1.32473.1",
        "30 d, at most 30 d",
        "same_key_renewal",
    ] {
        assert!(told.contains(said), "{said}:\n{told}");
    }
    assert!(gateway.interrupt().success());
    check("second");
    // One that is wrong changes nothing.
    let wrong = CONFIGURATION.replace("p-256", "p-224");
    let file = installation.write("wrong.toml", &wrong);
    countersign(&installation.path(""), &["config", "check", text(&file)])
        .assert_fault(2, &["wrong.toml:4:"]);
    check("third");
    let gateway =
        installation.serve(&CONFIGURATION.replace(r#"["svc-*", "you"]"#, r#"["admin", "you"]"#));
    installation.ok(&["issue", "client", "admin"]);
    drop(gateway);
}

#[test]
fn usages_and_sources_of_a_profile_are_in_what_it_issues_and_in_the_dry_run() {
    let test = "usages_and_sources_of_a_profile_are_in_what_it_issues_and_in_the_dry_run";
    let Some(openssl) = peer(test, "openssl") else {
        return;
    };
    let installation = Installation::new();
    let lab = "[authority.public]\naddress = \"127.0.0.1:0\"\nurl = \"http://pki.example.test\"\n\
        [authority.profile.lab]\nlike = \"peer\"\nkeys = [\"rsa\"]\n\
        extended_key_usage = [\"client-auth\", \"1.3.6.1.5.5.7.3.14\"]\n\
        key_usage = [\"digital-signature\", \"key-encipherment\"]\n\
        crl_distribution_point = \"http://cdn.example.test/all.crl\"\nocsp = false\n";
    let gateway = &CONFIGURATION[CONFIGURATION.find("[gateway]").expect("there")..];
    let serving = installation.serve(&format!("{lab}{gateway}"));
    let asked = ["issue", "lab", "a.example.test", "--key", "rsa2048"];
    let told = installation.ok(&[&asked[..], &["--dry-run"]].concat());
    for said in [
        "serialNumber",
        "20 octets",
        "subjectPublicKeyInfo",
        "RSA 2048",
        "digitalSignature, keyEncipherment",
        "clientAuth, 1.3.6.1.5.5.7.3.14",
        "http://cdn.example.test/all.crl",
        "profile lab says so",
        "http://pki.example.test/ca/",
    ] {
        assert!(told.contains(said), "{said}:\n{told}");
    }
    let issued = installation.issue("lab", "a.example.test", &["--key", "rsa2048"]);
    let shown = Command::new(openssl)
        .args([
            "x509",
            "-noout",
            "-text",
            "-in",
            text(&issued.certificate()),
        ])
        .output()
        .expect("it runs");
    let shown = String::from_utf8_lossy(&shown.stdout);
    for said in [
        "Digital Signature, Key Encipherment",
        "TLS Web Client Authentication, 1.3.6.1.5.5.7.3.14",
        "URI:http://cdn.example.test/all.crl",
        "CA Issuers - URI:http://pki.example.test/ca/",
    ] {
        assert!(shown.contains(said), "{said}:\n{shown}");
    }
    assert!(!shown.contains("TLS Web Server"), "{shown}");
    assert!(!shown.contains("OCSP - URI"), "{shown}");
    drop(serving);
    // Of every other profile as before, and the reserved ones have none of it.
    let told = installation.ok(&["issue", "node", "edge", "--dry-run"]);
    assert!(!told.contains("example.test/"), "{told}");
}

#[test]
fn rules_that_are_damaged_keep_nobody_from_revoking() {
    let installation = Installation::new();
    installation.issue("client", "you", &[]);
    let kept = installation.state().join("profiles.toml");
    for damaged in ["[profile", "[profile.node]\nlike = \"client\"\n"] {
        fs::write(&kept, damaged).expect("writable");
        for refused in [
            &["issue", "client", "eve"][..],
            &["renew", "you", "--out", "next"],
            &["ca", "backup", "backup.tar"],
        ] {
            let answer = installation.run(refused);
            assert_ne!(answer.code, Some(0), "{answer:#?}");
            assert!(answer.stderr.contains("profiles.toml"), "{answer:#?}");
        }
        let shown = installation.run(&["status"]);
        assert!(shown.stdout.contains("profiles.toml"), "{shown:#?}");
        installation.ok(&["list"]);
    }
    installation.ok(&["revoke", "you"]);
    let listed = installation.ok(&["list", "--status", "revoked"]);
    assert!(listed.contains("you"), "{listed}");
}

#[test]
fn list_that_the_authority_does_not_publish_is_found_at_its_line() {
    let installation = Installation::empty();
    let gateway = &CONFIGURATION[CONFIGURATION.find("[gateway]").expect("there")..];
    let public = "[authority.public]\naddress = \"127.0.0.1:0\"\nurl = \"http://pki.example.test\"";
    for url in [
        "http://pki.example.test/all.crl",
        "http://pki.example.test/crl/0123456789abcdef/7.crl",
        "http://PKI.example.test",
    ] {
        let profile = format!(
            "[authority.profile.web]\nlike = \"server\"\ncrl_distribution_point = \"{url}\""
        );
        let file = installation.write("c.toml", &format!("{profile}\n{public}\n{gateway}"));
        countersign(&installation.path(""), &["config", "check", text(&file)])
            .assert_fault(2, &["c.toml:3:", "none of its complete lists"]);
    }
}

#[test]
fn profiles_that_cannot_be_are_found_at_their_line() {
    let installation = Installation::empty();
    let check = |profile: &str, line: usize, words: &[&str]| {
        let file = installation.write(
            "c.toml",
            &format!(
                "{profile}\n{}",
                &CONFIGURATION[CONFIGURATION.find("[gateway]").expect("there")..]
            ),
        );
        let place = format!("c.toml:{line}:");
        countersign(&installation.path(""), &["config", "check", text(&file)])
            .assert_fault(2, &[&[place.as_str()], words].concat());
    };
    check(
        "[authority.profile.operator]\nlike = \"client\"",
        1,
        &["reserved"],
    );
    check(
        "[authority.profile.n0de]\nlike = \"client\"",
        1,
        &["could be taken for node"],
    );
    check(
        "[authority.profile.Node]\nlike = \"client\"",
        1,
        &["not the name"],
    );
    for (line, words) in [
        (
            "extended_key_usage = [\"client-auth\"]",
            &["no client-auth"][..],
        ),
        (
            "extended_key_usage = [\"1.3.6.1.5.5.7.3.9\"]",
            &["OCSPSigning"],
        ),
        (
            "extended_key_usage = [\"2.5.29.37.0\"]",
            &["anyExtendedKeyUsage"],
        ),
        ("key_usage = [\"key-cert-sign\"]", &["unknown variant"]),
        ("key_usage = [\"key-encipherment\"]", &["RSA keys alone"]),
        ("ocsp = true", &["nor false"]),
        ("ca_issuers = \"https://a.example\"", &["http:// URL"]),
        ("crl_distribution_point = \"ldap://a\"", &["http:// URL"]),
    ] {
        check(
            &format!("[authority.profile.web]\nlike = \"server\"\n{line}"),
            3,
            words,
        );
    }
    check(
        "[authority.profile.web]\nlike = \"node\"",
        2,
        &["unknown variant"],
    );
    check(
        "[authority.profile.web]\nkeys = [\"p-256\"]",
        1,
        &["which built-in one"],
    );
    check(
        "[authority.profile.web]\nlike = \"server\"\nissuer = \"operator\"",
        3,
        &["unknown field"],
    );
    check(
        "[authority.profile.server]\nip_range = [\"10.0.0.1/8\"]",
        2,
        &["10.0.0.1/8"],
    );
    check(
        "[authority.profile.server]\nmax_lifetime = \"9y\"",
        2,
        &["825d"],
    );
    check(
        "[[authority.profile.server.extension]]\noid = \"2.5.29.19\"\nder = \"30030101ff\"",
        1,
        &["basicConstraints"],
    );
    check(
        "[[authority.profile.server.extension]]\noid = \"1.2.3\"\nder = \"3\"",
        3,
        &["hexadecimal"],
    );
    check(
        "[[authority.profile.server.extension]]\noid = \"1.2.3\"",
        1,
        &["either utf8 or der"],
    );
}

/// Requests by OpenSSL, and what is said of them.
#[test]
#[expect(clippy::too_many_lines, reason = "a request after the other")]
fn requests_that_ask_for_something_else_are_refused_and_on_record() {
    let name = "requests_that_ask_for_something_else_are_refused_and_on_record";
    let Some(openssl) = peer(name, "openssl") else {
        return;
    };
    let installation = Installation::new();
    let request = |file: &str, arguments: &[&str]| -> PathBuf {
        let path = installation.path(file);
        let fixed = [
            "req",
            "-new",
            "-nodes",
            "-keyout",
            "/dev/null",
            "-subj",
            "/CN=a.example.test",
            "-out",
            text(&path),
        ];
        let mut all = fixed.map(str::to_owned).to_vec();
        if !arguments.contains(&"-newkey") {
            all.extend(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"].map(str::to_owned));
        }
        all.extend(arguments.iter().map(|it| (*it).to_owned()));
        let output = Command::new(&openssl)
            .args(&all)
            .output()
            .expect("openssl starts");
        assert!(
            output.status.success(),
            "{all:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        path
    };
    let refused = |file: &Path, words: &[&str]| {
        let (certificates_before, before) =
            (certificates(&installation), refusals(&installation).len());
        let arguments = [
            "issue",
            "server",
            "a.example.test",
            "--csr",
            text(file),
            "--out",
            "nowhere",
        ];
        installation.run(&arguments).assert_fault(2, words);
        assert!(!installation.path("nowhere").exists());
        assert_eq!(certificates(&installation), certificates_before);
        let recorded = refusals(&installation);
        assert_eq!(recorded.len(), before + 1, "{words:?}");
        let (object, why) = recorded.last().expect("one");
        assert_eq!(object, "server a.example.test");
        assert!(words.iter().any(|word| why.contains(word)), "{why}");
    };
    refused(
        &request(
            "san.csr",
            &[
                "-addext",
                "subjectAltName=DNS:a.example.test,DNS:admin.example.test",
            ],
        ),
        &["asks for dns:admin.example.test"],
    );
    refused(
        &request(
            "other.csr",
            &["-addext", "subjectAltName=otherName:1.2.3;UTF8:admin"],
        ),
        &["no DNS name"],
    );
    refused(
        &request(
            "tab.csr",
            &["-addext", "subjectAltName=DNS:a.example.test,DNS:a\tb"],
        ),
        &["certificate request"],
    );
    // The DNS name a.example.test, NUL, .evil.test, as in CVE-2009-2408.
    let with_nul = "subjectAltName=DER:301b8219612e6578616d706c652e74657374002e6576696c2e74657374";
    refused(
        &request("nul.csr", &["-addext", with_nul]),
        &["certificate request"],
    );
    refused(
        &request("ca.csr", &["-addext", "basicConstraints=CA:TRUE"]),
        &["asks to be a CA"],
    );
    refused(
        &request(
            "critical.csr",
            &["-addext", "1.2.3.4=critical,ASN1:UTF8String:x"],
        ),
        &["extension 1.2.3.4"],
    );
    refused(
        &request("small.csr", &["-newkey", "rsa:1024"]),
        &["RSA 1024"],
    );
    refused(
        &request(
            "exponent.csr",
            &[
                "-newkey",
                "rsa",
                "-pkeyopt",
                "rsa_keygen_bits:2048",
                "-pkeyopt",
                "rsa_keygen_pubexp:3",
            ],
        ),
        &["exponent 3"],
    );
    refused(
        &request(
            "curve.csr",
            &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:secp521r1"],
        ),
        &["P-521"],
    );
    let roca = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/profiles/roca.pem");
    refused(&roca, &["ROCA"]);

    let good = request(
        "good.csr",
        &[
            "-addext",
            "subjectAltName=DNS:a.example.test",
            "-addext",
            "keyUsage=critical,keyAgreement",
        ],
    );
    let spoiled = |file: &str, at: usize, spoil: u8| {
        let bytes = fs::read(&good).expect("there");
        let pem = String::from_utf8(bytes).expect("PEM");
        let mut der = countersign_pki::pem::decode_all(pem.as_bytes())
            .expect("PEM")
            .remove(0)
            .der;
        let place = if at == usize::MAX { der.len() - 1 } else { at };
        der[place] ^= spoil;
        installation.write(
            file,
            &countersign_pki::pem::encode("CERTIFICATE REQUEST", &der),
        )
    };
    refused(
        &spoiled("signature.csr", usize::MAX, 1),
        &["certificate request"],
    );
    // In the public key: a point that is on no curve, or another key's.
    let der_key = countersign_pki::pem::decode_all(&fs::read(&good).expect("there"))
        .expect("PEM")
        .remove(0)
        .der;
    let point = der_key
        .windows(4)
        .position(|it| it == [3, 66, 0, 4])
        .expect("an uncompressed point")
        + 10;
    refused(&spoiled("point.csr", point, 0x55), &["certificate request"]);

    // What is not looked at is told.
    let issued = installation.json(&[
        "issue",
        "server",
        "a.example.test",
        "--csr",
        text(&good),
        "--out",
        text(&installation.path("good")),
    ]);
    assert_eq!(
        issued["ignored"],
        serde_json::json!(["keyUsage", "subject CN=a.example.test"])
    );
}

#[test]
fn names_that_deceive_and_lists_that_are_too_long_are_refused_and_on_record() {
    let installation = Installation::new();
    let issued = certificates(&installation);
    let mut expected = Vec::new();
    let mut refused = |arguments: &[&str], word: &str| {
        installation
            .run(&[&["issue"], arguments].concat())
            .assert_fault(2, &[word]);
        expected.push(format!("{} {}", arguments[0], arguments[1]));
        let recorded: Vec<String> = refusals(&installation)
            .into_iter()
            .map(|(object, _)| object)
            .collect();
        assert_eq!(recorded, expected);
        assert_eq!(certificates(&installation), issued);
    };
    refused(
        &["client", "alice,O=admins"],
        "attributes of a distinguished name",
    );
    refused(&["client", "pаypal"], "several scripts");
    refused(&["client", "CN=admin"], "distinguished name");
    refused(&["client", "a\u{202e}b"], "invisible");
    refused(&["client", "a\nb"], "control characters");
    refused(&["server", "bücher.example"], "xn--");
    refused(&["server", "xn--pypal-4ve.com"], "internationalised");
    refused(&["server", "*.com"], "two labels");
    refused(
        &["server", "a.example.test", "--dns", "A.example.test"],
        "asked for twice",
    );
    refused(
        &[
            "server",
            "paypal.example.test",
            "--dns",
            "paypa1.example.test",
        ],
        "taken for each other",
    );
    refused(&["device", "a", "--dns", "*.example.test"], "wildcard");
    refused(&["person", "Alice"], "no e-mail address");
    refused(&["canary", "a"], "canary.invalid");
    refused(&["Operator", "a"], "not the name of a profile");
    let names: Vec<String> = (0..100)
        .map(|at| format!("n{at}.many.example.test"))
        .collect();
    let many: Vec<&str> = names
        .iter()
        .flat_map(|name| ["--dns", name.as_str()])
        .collect();
    refused(
        &[&["server", "many.example.test"], many.as_slice()].concat(),
        "at most 100",
    );
}

/// Over the socket, past every check of the command line.
#[test]
fn body_of_ten_megabytes_is_refused_unread_and_on_record() {
    let installation = Installation::new();
    let running: Process = installation.up(&[]);
    let before = refusals(&installation).len();
    let body = format!(
        r#"{{"profile": "client", "name": "a", "csr": "{}"}}"#,
        "A".repeat(10 << 20)
    );
    let file = installation.write("body.json", &body);
    let socket = installation.state().join("admin.sock");
    let output = Command::new("curl")
        .args([
            "-sS",
            "-o",
            "/dev/stdout",
            "-w",
            "%{http_code}",
            "--unix-socket",
            text(&socket),
            "-H",
            "Content-Type: application/json",
            "-H",
            "Expect:",
            "--data-binary",
        ])
        .arg(format!("@{}", text(&file)))
        .arg("http://localhost/v1/issue")
        .output()
        .expect("curl starts");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        said.contains("413"),
        "{said} {}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(refusals(&installation).len(), before + 1);
    drop(running);
}
