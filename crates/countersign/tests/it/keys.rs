//! Issuers and leaves of every kind of key: between two Countersigns, and before peers that know the kind.

use std::fs;
use std::path::Path;
use std::process::Command;

use countersign_pki::certificate::Certificate;
use countersign_pki::pem;
use countersign_testkit::bypass::Protocol;
use countersign_testkit::client::Outcome;
use countersign_testkit::process::Process;

use crate::fleet::{
    CERTIFICATE_REVOKED, Fleet, assert_refused, assert_served, attempt, attempt_as,
};
use crate::installation::{Answer, Installation, Issued, countersign, text};
use crate::openssl::{SessionUse, s_client};
use crate::peers::{peer, python_of_pypi, script_of_pypi};

/// Key and signature of each certificate in a file.
fn kinds(path: &Path) -> Vec<(String, String)> {
    let blocks = pem::decode_all(&fs::read(path).expect("readable")).expect("PEM");
    let kind = |block: &pem::Block| {
        let certificate = Certificate::parse(&block.der).expect("a certificate");
        (
            certificate.public_key_algorithm().to_string(),
            certificate.signature_algorithm().to_string(),
        )
    };
    blocks.iter().map(kind).collect()
}

/// `certificate`'s certificate with `key`'s key: somebody who stole the public half.
fn without_its_key(installation: &Installation, certificate: &Issued, key: &Issued) -> Issued {
    let folder = installation.path("stolen");
    fs::create_dir_all(&folder).expect("writable");
    fs::copy(certificate.certificate(), folder.join("cert.pem")).expect("copied");
    fs::copy(certificate.ca(), folder.join("ca.pem")).expect("copied");
    fs::copy(key.key(), folder.join("key.pem")).expect("copied");
    Issued::at(folder)
}

/// Somebody of the same names from another authority, who trusts the gateway.
fn stranger(installation: &Installation, kind: &str, like: &Issued) -> Issued {
    let other = Installation::of_keys(kind);
    let theirs = other.issue("client", "you", &["--key", kind]);
    let folder = installation.path("stranger");
    fs::create_dir_all(&folder).expect("writable");
    fs::copy(theirs.certificate(), folder.join("cert.pem")).expect("copied");
    fs::copy(theirs.key(), folder.join("key.pem")).expect("copied");
    fs::copy(like.ca(), folder.join("ca.pem")).expect("copied");
    Issued::at(folder)
}

/// Served with its certificate; refused with its certificate and another key.
async fn assert_possession_is_proved(
    installation: &Installation,
    gateway: &Process,
    you: &Issued,
    other: &Issued,
) {
    assert_served(you, gateway).await;
    let thief = without_its_key(installation, you, other);
    assert_refused(&thief, gateway, DECRYPT_ERROR).await;
}

async fn check_two_countersigns(kind: &str, said: &str) {
    let fleet = Fleet::of_keys(kind);
    let _authority = fleet.run_authority("[authority.node.gw-1]\nnames = [\"localhost\"]\n");
    // Ready means that it has heard the feed: mTLS between the two, with a node's certificate.
    let gateway = fleet.gateway.serve(&fleet.certified_toml("localhost"));
    let issue = |name: &str| fleet.authority.issue("client", name, &["--key", kind]);
    let (you, other) = (issue("you"), issue("other"));

    // What the node has for its listener was issued over the feed, and is of the issuers' kind.
    let listener = fleet.gateway.state().join("gateway").join("cert.pem");
    let feed = fleet.authority.state().join("feed").join("cert.pem");
    for file in [
        you.certificate(),
        fleet.node_folder("gw-1").join("cert.pem"),
        listener,
        feed,
    ] {
        let all = kinds(&file);
        assert!(!all.is_empty());
        for (key, signature) in all {
            assert_eq!((&*key, &*signature), (said, said), "{}", file.display());
        }
    }

    assert_possession_is_proved(&fleet.authority, &gateway, &you, &other).await;
    let stranger = stranger(&fleet.authority, kind, &you);
    assert_refused(&stranger, &gateway, UNKNOWN_CA).await;
    fleet.authority.ok(&["revoke", "you", "--wait"]);
    assert_refused(&you, &gateway, CERTIFICATE_REVOKED).await;
    assert_served(&other, &gateway).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_countersigns_speak_mtls_under_ed25519_issuers() {
    check_two_countersigns("ed25519", "Ed25519").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_countersigns_speak_mtls_under_ml_dsa_issuers() {
    check_two_countersigns("ml-dsa-65", "ML-DSA-65").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn authority_of_every_kind_of_key_issues_serves_and_revokes() {
    for (kind, of_its_own, signs) in [
        ("p384", "ECDSA P-384", "ECDSA with SHA-384"),
        // RSA only slows handshakes down: what nobody asked for is P-256.
        ("rsa2048", "ECDSA P-256", "RSA with SHA-256"),
        ("ml-dsa-44", "ML-DSA-44", "ML-DSA-44"),
        ("ml-dsa-87", "ML-DSA-87", "ML-DSA-87"),
    ] {
        let installation = Installation::empty();
        let gateway = installation.up(&["--ca-key", kind]);
        let first = Issued::of_first_run(&gateway);
        for file in [
            first.certificate(),
            installation.state().join("gateway").join("cert.pem"),
        ] {
            let (key, signature) = kinds(&file).remove(0);
            assert_eq!((&*key, &*signature), (of_its_own, signs), "{kind}");
        }
        // Under RSA, too: the chain with the largest certificates that there are.
        let other = installation.issue("client", "other", &["--key", kind]);
        assert_possession_is_proved(&installation, &gateway, &other, &first).await;
        installation.ok(&["revoke", "other", "--wait"]);
        assert_refused(&other, &gateway, CERTIFICATE_REVOKED).await;
        assert_served(&first, &gateway).await;
        assert!(gateway.interrupt().success());
        // What is unsealed again is the key that was sealed.
        let late = installation.issue("client", "late", &[]);
        let (ca, certificate) = (first.ca(), late.certificate());
        let accepted = countersign(
            &installation.path(""),
            &[
                "verify",
                "--as",
                "client",
                "--trust",
                text(&ca),
                "--cert",
                text(&certificate),
            ],
        );
        assert_eq!(accepted.code, Some(0), "{kind}: {accepted:#?}");
    }
}

/// The schemes of draft-ietf-tls-mldsa are not for TLS 1.2.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ml_dsa_is_for_tls_13_alone_and_dry_run_says_so() {
    let installation = Installation::new();
    let gateway = installation.up(&[]);
    let you = installation.issue("client", "quantum", &["--key", "ml-dsa-65"]);
    assert_served(&you, &gateway).await;
    let old = attempt_as(&you, Protocol::Http1Tls12, gateway.gateway()).await;
    assert!(!matches!(old, Outcome::Response { .. }), "{old:?}");
    let told = installation.ok(&["issue", "client", "x", "--key", "ml-dsa-65", "--dry-run"]);
    for words in ["refused by OpenSSL before 3.5", "TLS 1.2", "ML-DSA-65"] {
        assert!(told.contains(words), "{words} is missing:\n{told}");
    }
    let told = installation.ok(&["issue", "client", "x", "--key", "p384", "--dry-run"]);
    assert!(!told.contains("refused by"), "{told}");
}

#[test]
fn dry_run_says_who_does_not_know_what_the_issuer_signs_with() {
    for (kind, who) in [("ed25519", "Chromium"), ("ml-dsa-44", "OpenSSL before 3.5")] {
        let installation = Installation::of_keys(kind);
        let told = installation.ok(&["issue", "client", "x", "--dry-run"]);
        for words in ["refused by", who, "signs with"] {
            assert!(told.contains(words), "{words} is missing:\n{told}");
        }
    }
}

#[test]
fn kind_of_the_ca_is_chosen_once() {
    let installation = Installation::of_keys("ed25519");
    installation
        .run(&["init", "--ca-key", "rsa1024"])
        .assert_fault(2, &["rsa1024", "ml-dsa-65"]);
    let gateway = installation.up(&["--ca-key", "p256"]);
    gateway.wait_for_log(&["--ca-key have no effect"]);
    let (key, _) = kinds(&installation.state().join("ca.pem")).remove(0);
    assert_eq!(key, "Ed25519");
}

#[test]
fn openssl_and_curl_are_clients_under_ed25519_issuers() {
    let name = "openssl_and_curl_are_clients_under_ed25519_issuers";
    let (Some(openssl), Some(curl)) = (peer(name, "openssl"), peer(name, "curl")) else {
        return;
    };
    let installation = Installation::empty();
    let gateway = installation.up(&["--ca-key", "ed25519"]);
    let you = Issued::of_first_run(&gateway);
    for version in ["-tls1_2", "-tls1_3"] {
        let seen = s_client(
            &openssl,
            gateway.gateway(),
            Some(&you),
            &[version],
            SessionUse::None,
        );
        assert!(seen.answered(), "{version}: {seen:#?}");
        // One version of TLS writes it large, the other small.
        let output = seen.output.to_lowercase();
        for words in ["verify return code: 0 (ok)", "peer signature type: ed25519"] {
            assert!(output.contains(words), "{words}: {seen:#?}");
        }
        let nobody = s_client(
            &openssl,
            gateway.gateway(),
            None,
            &[version],
            SessionUse::None,
        );
        assert!(!nobody.answered(), "{nobody:#?}");
    }
    let mut command = Command::new(curl);
    command.args(["-sS", "-o", "/dev/null", "-w", "%{response_code}"]);
    let port = gateway.gateway().port();
    command.args(["--resolve", &format!("localhost:{port}:127.0.0.1")]);
    let got = Answer::of(
        command
            .args(you.curl())
            .arg(format!("https://localhost:{port}/")),
    );
    assert_eq!(got.stdout, "200", "{got:#?}");
}

fn openssl_of_today(python: &Path, arguments: &[&str]) -> Answer {
    Answer::of(
        Command::new(python)
            .arg(script_of_pypi("openssl"))
            .args(arguments),
    )
}

#[test]
fn openssl_that_knows_ml_dsa_is_a_client_and_verifies_chains_and_lists() {
    let name = "openssl_that_knows_ml_dsa_is_a_client_and_verifies_chains_and_lists";
    let Some(python) = python_of_pypi(name) else {
        return;
    };
    for level in ["44", "65", "87"] {
        let installation = Installation::empty();
        let gateway = installation.up(&["--ca-key", &format!("ml-dsa-{level}")]);
        let you = Issued::of_first_run(&gateway);
        let get = |whose: &Issued| {
            let address = gateway.gateway();
            let (ip, port) = (address.ip().to_string(), address.port().to_string());
            let (certificate, key, ca) = (whose.certificate(), whose.key(), whose.ca());
            let files = [text(&certificate), text(&key), text(&ca)];
            openssl_of_today(&python, &[&["get", &ip, &port], &files[..]].concat())
        };
        let verify = |whose: &Issued| {
            let crls = installation.path("all.crl");
            installation.ok(&["ca", "crl", "--out", text(&crls)]);
            let (ca, certificate) = (whose.ca(), whose.certificate());
            let files = [text(&ca), text(&crls), text(&certificate)];
            openssl_of_today(&python, &[&["verify"], &files[..]].concat())
        };
        let expected = format!("TLSv1.3\nMLDSA{level}PublicKey\nHTTP/1.1 200 OK\n");
        let got = get(&you);
        assert_eq!(got.stdout, expected, "{got:#?}");
        let verified = verify(&you);
        assert_eq!(verified.stdout, "verified\n", "{verified:#?}");

        // A request of theirs is certified for its key, which gets through.
        let (key, csr) = (
            installation.path("their.key"),
            installation.path("their.csr"),
        );
        let made = openssl_of_today(&python, &["request", level, text(&key), text(&csr)]);
        assert_eq!(made.code, Some(0), "{made:#?}");
        let theirs = installation.issue("client", "theirs", &["--csr", text(&csr)]);
        fs::copy(&key, theirs.key()).expect("copied");
        assert_eq!(get(&theirs).stdout, expected);
        // And their private key is read.
        let shown = countersign(&installation.path(""), &["inspect", text(&theirs.key())]);
        let expected_kind = format!("kind         ML-DSA-{level}\n");
        assert!(shown.stdout.contains(&expected_kind), "{shown:#?}");

        // An altered one is not.
        let mut der = pem::decode_all(&fs::read(&csr).expect("readable")).expect("PEM");
        *der[0].der.last_mut().expect("a signature") ^= 1;
        let altered = pem::encode("CERTIFICATE REQUEST", &der[0].der);
        let altered = installation.write("altered.csr", &altered);
        installation
            .run(&["issue", "client", "altered", "--csr", text(&altered)])
            .assert_fault(2, &["signature does not verify"]);

        installation.ok(&["revoke", "theirs", "--wait"]);
        assert_ne!(get(&theirs).code, Some(0));
        let revoked = verify(&theirs);
        assert!(
            revoked.stdout.contains("certificate revoked"),
            "{revoked:#?}"
        );
        assert_eq!(get(&you).stdout, expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn key_rules_of_a_profile_name_kinds() {
    let installation = Installation::new();
    let gateway = installation.serve(
        "[authority.profile.quantum]\nlike = \"client\"\nkeys = [\"ml-dsa-65\", \"ml-dsa-87\"]\n\
         [gateway]\nmetrics_address = \"127.0.0.1:0\"\n[[gateway.listener]]\naddress = \"127.0.0.1:0\"\n\
         [[gateway.listener.route]]\nupstream = \"demo\"\nallow = [\"any-trusted\"]\n",
    );
    for refused in ["p256", "ed25519", "rsa2048", "ml-dsa-44"] {
        installation
            .run(&["issue", "quantum", refused, "--key", refused])
            .assert_fault(
                2,
                &["is not accepted: profile quantum has ML-DSA-65, ML-DSA-87"],
            );
    }
    for taken in ["ml-dsa-65", "ml-dsa-87"] {
        let issued = installation.issue("quantum", taken, &["--key", taken]);
        let outcome = attempt(&issued, &gateway).await;
        // The server's certificate is named by nobody here: who is let in is told by what came of it.
        assert_eq!(outcome.status(), Some(200), "{taken}: {outcome:?}");
    }
}

/// RFC 8446 §6.
const UNKNOWN_CA: u8 = 48;
const DECRYPT_ERROR: u8 = 51;
