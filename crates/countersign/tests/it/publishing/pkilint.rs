//! pkilint, which holds certificates, lists and OCSP answers against the RFCs clause by clause.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use countersign_pki::certificate::Certificate;
use countersign_pki::pem;
use countersign_testkit::ephemeral;
use serde_json::Value;

use super::{Site, configuration, fetch, first_certificate, list_with, shard_url};
use crate::installation::{Answer, Installation, text};
use crate::peers::{peer, python_of_pypi, script_of_pypi};

/// What is found and is right nevertheless: the code, how the message begins, and why.
const ALLOWED: [(&str, &str, &str); 5] = [
    (
        "pkix.invalid_domain_name_syntax",
        "Invalid domain name syntax: \"*.",
        "a wildcard, which RFC 5280 §4.2.1.6 leaves to others and RFC 9525 §6.3 has",
    ),
    (
        "pkix.invalid_uri_syntax",
        "Invalid URI syntax: \"spiffe://",
        "its URI parser knows the schemes of the web alone; SPIFFE-ID §2 has this one",
    ),
    (
        "pkix.invalid_uri_syntax",
        "Invalid URI syntax: \"urn:",
        "the same; RFC 8141 has this one",
    ),
    (
        "pkix.subject_key_identifier_rfc7093_method_1_identified",
        "",
        "a remark of level INFO on which of the methods was seen, and it is ours",
    ),
    (
        "pkix.unsupported_algorithm",
        "",
        "a remark of level NOTICE: it verifies no signature of ML-DSA; OpenSSL does, in keys.rs",
    ),
];

/// What is to be looked at.
struct Evidence {
    folder: PathBuf,
    arguments: Vec<String>,
}

impl Evidence {
    fn new(installation: &Installation) -> Self {
        let folder = installation.path("evidence");
        fs::create_dir_all(&folder).expect("writable");
        Self {
            folder,
            arguments: Vec::new(),
        }
    }

    fn add(&mut self, kind: &str, der: &[u8]) -> PathBuf {
        let path = self.folder.join(format!("{}.der", self.arguments.len()));
        fs::write(&path, der).expect("writable");
        self.arguments.push(format!("{kind}={}", text(&path)));
        path
    }

    fn add_certificate(&mut self, certificate: &Certificate) -> PathBuf {
        self.add("certificate", certificate.der())
    }

    /// What stands between each certificate and the next above it.
    fn add_chain(&mut self, chain: &[&Path]) {
        for pair in chain.windows(2) {
            let pair = format!("chain={},{}", text(pair[1]), text(pair[0]));
            self.arguments.push(pair);
        }
    }

    /// What pkilint says.
    fn findings(&self, python: &Path) -> Vec<Value> {
        let mut command = Command::new(python);
        let answer = Answer::of(command.arg(script_of_pypi("lint")).args(&self.arguments));
        assert_eq!(answer.code, Some(0), "{answer:#?}");
        let finding = |line| serde_json::from_str(line).expect("a line of JSON");
        answer.stdout.lines().map(finding).collect()
    }
}

#[track_caller]
fn assert_all_allowed(findings: &[Value]) {
    let others: Vec<&Value> = findings.iter().filter(|it| !is_allowed(it)).collect();
    assert!(others.is_empty(), "{others:#?}");
}

fn is_allowed(finding: &Value) -> bool {
    let is = |key: &str, begin: &str| {
        finding[key]
            .as_str()
            .is_some_and(|it| it.starts_with(begin))
    };
    ALLOWED
        .iter()
        .any(|(code, begin, _)| finding["code"] == *code && is("message", begin))
}

fn start(kind: &str) -> Site {
    let installation = Installation::of_keys(kind);
    let public = ephemeral::address();
    let more = "[authority.profile.web]\nlike = \"server\"\n\
        [[authority.profile.web.extension]]\noid = \"1.3.6.1.4.1.32473.1\"\nutf8 = \"x\"\n";
    let toml = configuration(public, &format!("http://{public}/pki")) + more;
    let process = installation.serve(&toml);
    Site {
        installation,
        process,
        public,
    }
}

/// A certificate of each profile for a key of `key`.
fn of_every_profile(site: &Site, key: &str) -> Vec<PathBuf> {
    let mut csv = "profile,name,dns,ip,email,uri,folder\n".to_owned();
    for (profile, name, sans) in [
        (
            "server",
            "a.example.com",
            "b.example.com,10.0.0.1 2001:db8::1,,",
        ),
        ("client", "svc", ",,svc@example.com,https://x.example/svc"),
        ("peer", "peer.example.com", ",10.0.0.2,,"),
        ("workload", "/web", "web.example.com,,,"),
        ("device", "sensor", ",,,urn:dev:serial:7"),
        ("person", "alice@example.com", ",,,"),
        ("web", "web.example.com", "*.web.example.com,,,"),
    ] {
        writeln!(csv, "{profile},{name},{sans},{profile}").expect("a String");
    }
    let list = site.installation.write("list.csv", &csv);
    let out = site.installation.path(&format!("all-{key}"));
    let batch = ["issue", "--batch", text(&list), "--out", text(&out)];
    site.installation
        .ok(&[&batch[..], &["--key", key]].concat());
    let mut all: Vec<PathBuf> = fs::read_dir(&out)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path().join("cert.pem"))
        .filter(|path| path.is_file())
        .collect();
    for reserved in ["node", "operator", "intermediate"] {
        let name = format!("{reserved} {key}");
        let issued = site.installation.issue(reserved, &name, &["--key", key]);
        all.push(issued.certificate());
    }
    assert_eq!(all.len(), 10, "{}", out.display());
    all
}

#[test]
fn pkilint_finds_nothing_in_certificates_of_any_profile_and_key() {
    let name = "pkilint_finds_nothing_in_certificates_of_any_profile_and_key";
    let Some(python) = python_of_pypi(name) else {
        return;
    };
    let site = start("p256");
    let mut evidence = Evidence::new(&site.installation);
    for key in KEYS {
        for file in of_every_profile(&site, key) {
            evidence.add_certificate(&first_certificate(&file));
        }
    }
    // A longer RSA key differs in its length alone, and takes its time to make.
    for key in ["rsa3072", "rsa4096"] {
        let issued = (site.installation).issue("client", key, &["--key", key]);
        evidence.add_certificate(&first_certificate(&issued.certificate()));
    }
    let findings = evidence.findings(&python);
    // It does look.
    for scheme in ["spiffe://", "urn:"] {
        let seen = |finding: &Value| finding["message"].to_string().contains(scheme);
        assert!(findings.iter().any(seen), "{scheme}");
    }
    assert_all_allowed(&findings);
}

#[test]
fn pkilint_finds_nothing_under_issuers_of_any_kind() {
    let name = "pkilint_finds_nothing_under_issuers_of_any_kind";
    let (Some(python), Some(openssl)) = (python_of_pypi(name), peer(name, "openssl")) else {
        return;
    };
    for kind in KEYS {
        let site = start(kind);
        let issue = |name: &str| site.installation.issue("client", name, &["--key", kind]);
        let (good, revoked, held) = (issue("good"), issue("revoked"), issue("held"));
        site.revoke("revoked");
        site.installation
            .ok(&["revoke", "held", "--reason", "certificate-hold"]);
        let mut evidence = Evidence::new(&site.installation);

        let ca = site.installation.state().join("ca");
        let [root, intermediate, operator] = ["root", "intermediate", "operator"]
            .map(|role| first_certificate(&ca.join(format!("{role}.pem"))));
        let root = evidence.add_certificate(&root);
        let operator = evidence.add_certificate(&operator);
        let intermediate = evidence.add_certificate(&intermediate);
        for issued in [&good, &revoked, &held] {
            let leaf = evidence.add_certificate(&first_certificate(&issued.certificate()));
            evidence.add_chain(&[&leaf, &intermediate]);
        }
        evidence.add_chain(&[&intermediate, &root, &root]);
        evidence.add_chain(&[&operator, &root]);

        // Complete lists, the root's among them, and shards: one that is empty, and one with an entry.
        let lists = pem::decode_all(&fs::read(site.crl_file()).expect("readable")).expect("PEM");
        assert!(lists.len() >= 2, "{kind}");
        for list in &lists {
            evidence.add("crl", &list.der);
        }
        for issued in [&revoked, &held] {
            let certificate = first_certificate(&issued.certificate());
            evidence.add("crl", &list_with(&shard_url(&certificate), &certificate));
        }
        let good_leaf = first_certificate(&good.certificate());
        evidence.add("crl", &fetch(&shard_url(&good_leaf)));

        for issued in [&good, &revoked, &held] {
            for nonce in ["-nonce", "-no_nonce"] {
                evidence.add(
                    "ocsp",
                    &answer(
                        &openssl,
                        &site,
                        &["-cert", text(&issued.certificate())],
                        nonce,
                    ),
                );
            }
        }
        evidence.add(
            "ocsp",
            &answer(&openssl, &site, &["-serial", "0x1234"], "-nonce"),
        );
        println!("{kind}");
        assert_all_allowed(&evidence.findings(&python));
    }
}

/// What the responder says to OpenSSL, which need not know its algorithm.
fn answer(openssl: &Path, site: &Site, about: &[&str], nonce: &str) -> Vec<u8> {
    let (intermediate, out) = (site.intermediate(), site.installation.path("answer.der"));
    let url = site.url("/ocsp");
    let mut command = Command::new(openssl);
    command.args([
        "ocsp",
        "-url",
        &url,
        "-noverify",
        nonce,
        "-issuer",
        text(&intermediate),
    ]);
    let asked = Answer::of(command.args(about).args(["-respout", text(&out)]));
    let der = fs::read(&out).unwrap_or_else(|error| panic!("{error}: {asked:#?}"));
    fs::remove_file(&out).expect("it was read");
    assert!(der.len() > 100, "an answer without a signature: {asked:#?}");
    der
}

/// Of leaves and of issuers.
const KEYS: [&str; 7] = [
    "p256",
    "p384",
    "ed25519",
    "rsa2048",
    "ml-dsa-44",
    "ml-dsa-65",
    "ml-dsa-87",
];
