//! A sub-CA under a corporate root, by request.

use std::fs;

use countersign_testkit::process::Process;

use super::openssl_ca::{P256, RSA4096};
use super::scene::{GATEWAY, Scene, curl};
use crate::installation::{Issued, countersign, text};
use crate::peers::peer;

/// A root and a policy CA below it, and a request of ours.
fn corporate(test: &str) -> Option<Scene> {
    let scene = Scene::of_root(test, RSA4096)?;
    let policy = "/O=Corp/CN=Policy CA";
    (scene.ca).issued("policy", P256, "root", "policy", policy);
    scene.installation.ok(&[
        "init",
        "--csr-out",
        &scene.ca.file("us.csr"),
        "--subject",
        "O=Our Team",
        "--trust-domain",
        "team.corp.example",
    ]);
    Some(scene)
}

#[test]
fn sub_ca_under_a_corporate_policy_ca_issues_what_everybody_verifies() {
    let test = "sub_ca_under_a_corporate_policy_ca_issues_what_everybody_verifies";
    let Some(scene) = corporate(test) else {
        return;
    };
    let Scene { installation, ca } = &scene;
    if peer(test, "curl").is_none() {
        return;
    }
    let request = ca.ok(&["req", "-in", "us.csr", "-noout", "-text", "-verify"]);
    for asked in [
        "O = Our Team, CN = Our Team Issuing CA",
        "CA:TRUE, pathlen:0",
        "Certificate Sign, CRL Sign",
    ] {
        let asked_tightly = asked.replace(" = ", "=");
        assert!(
            request.contains(asked) || request.contains(&asked_tightly),
            "{request}"
        );
    }
    // Signed as the request asks, by whoever copies what it asks for.
    ca.sign("us.csr", "us", "policy", "sub", &["-days", "900"]);
    let adopted = installation.json(&[
        "ca",
        "adopt",
        "--certificate",
        &ca.file("us.pem"),
        "--chain",
        &ca.file("policy.pem"),
        "--chain",
        &ca.file("root.pem"),
    ]);
    assert_eq!(adopted["issuing"], "CN=Our Team Issuing CA,O=Our Team");
    assert_eq!(
        adopted["between"],
        serde_json::json!(["CN=Policy CA,O=Corp"])
    );
    assert_eq!(adopted["root_key"], false);
    assert_eq!(adopted["trust_domain"], "team.corp.example");
    assert_eq!(adopted["without_crl"].as_array().map(Vec::len), Some(2));
    assert!(!installation.state().join("request").exists());

    // The lists of those above come from those above.
    for (name, of) in [("policy", "policy.crl"), ("root", "root.crl")] {
        ca.empty_crl(name, of);
        let imported = scene.import(of);
        let published = imported.stdout.contains("is published, good until");
        assert!(published, "{imported:#?}");
    }
    let again = scene.import("root.crl");
    assert!(again.stdout.contains("was published already"), "{again:#?}");
    let you = installation.issue("client", "you", &[]);
    let root = installation.state().join("ca.pem");
    assert_eq!(
        fs::read_to_string(&root).expect("readable").trim(),
        fs::read_to_string(ca.path("root.pem"))
            .expect("readable")
            .trim()
    );
    scene.assert_verifies(&you.certificate());
    let chain = you.certificate();
    let own = countersign(
        &ca.folder,
        &[
            "verify",
            "--as",
            "client",
            "--trust",
            text(&root),
            "--untrusted",
            text(&chain),
            "--cert",
            text(&chain),
        ],
    );
    assert_eq!(own.code, Some(0), "{own:#?}");

    // curl trusts the root alone, so that the chain served has to be whole.
    let gateway = installation.serve(GATEWAY);
    let answer = curl(
        &gateway,
        text(&root),
        text(&you.certificate()),
        text(&you.key()),
    );
    assert_eq!(answer.code, Some(0), "{answer:#?}");
    let status = installation.run(&["status"]);
    assert!(status.stdout.contains("superior"), "{status:#?}");

    // The root's key is elsewhere.
    let signed = installation.run(&["ca", "crl", "--root"]);
    signed.assert_fault(
        2,
        &[
            "the key of CN=Old Root,O=Old Corp is not in the state folder",
            "--root-key",
        ],
    );
    revoked_by_the_policy_ca(&scene, &gateway, &you);
}

/// It takes us back: nobody gets in any more.
fn revoked_by_the_policy_ca(scene: &Scene, gateway: &Process, you: &Issued) {
    let ca = &scene.ca;
    let serial = ca.serial("us");
    let line = format!("R\t300101000000Z\t260101000000Z\t{serial}\tunknown\t/CN=a\n");
    ca.write("index.txt", &line);
    let next = ca.path("policy.crl");
    wait_for_another_second(&next);
    ca.crl("policy", "policy.crl");
    let imported = scene.import("policy.crl");
    assert_eq!(imported.code, Some(0), "{imported:#?}");
    let answer = curl(
        gateway,
        text(&you.ca()),
        text(&you.certificate()),
        text(&you.key()),
    );
    assert_ne!(answer.code, Some(0), "{answer:#?}");
    gateway.wait_for_log(&["CN=Our Team Issuing CA"]);
}

/// Lists tell the second in which they were signed, and of two of one second none is the later.
fn wait_for_another_second(since: &std::path::Path) {
    let modified = fs::metadata(since).and_then(|it| it.modified());
    let modified = modified.expect("a file");
    let second = |time: std::time::SystemTime| {
        let since = time.duration_since(std::time::UNIX_EPOCH);
        since.expect("after 1970").as_secs()
    };
    while second(std::time::SystemTime::now()) <= second(modified) {
        std::thread::yield_now();
    }
}

#[test]
fn between_request_and_certificate_everybody_says_what_is_missing() {
    let test = "between_request_and_certificate_everybody_says_what_is_missing";
    let Some(scene) = corporate(test) else {
        return;
    };
    let Scene { installation, ca } = &scene;
    let waits = [
        "waits for the certificate of the sub-CA",
        "request/request.pem",
        "ca adopt --certificate",
    ];
    let configuration = installation.write("c.toml", GATEWAY);
    for command in [
        &["status"][..],
        &["issue", "client", "you"],
        &["run", "-c", text(&configuration)],
        &["init"],
        &["up"],
    ] {
        installation.run(command).assert_fault(2, &waits);
    }
    installation
        .run(&[
            "ca",
            "adopt",
            "--root",
            &ca.file("root.pem"),
            "--root-key",
            &ca.file("root.key"),
        ])
        .assert_fault(2, &waits);
    // The same request again, for whoever has lost the file; never another one.
    let before = fs::read(ca.path("us.csr")).expect("readable");
    installation.ok(&["init", "--csr-out", &ca.file("again.csr")]);
    assert_eq!(fs::read(ca.path("again.csr")).expect("readable"), before);
    installation
        .run(&[
            "init",
            "--csr-out",
            &ca.file("again.csr"),
            "--subject",
            "O=Other",
        ])
        .assert_fault(2, &waits);
}

#[test]
fn certificate_that_is_not_the_one_asked_for_is_refused() {
    let test = "certificate_that_is_not_the_one_asked_for_is_refused";
    let Some(scene) = corporate(test) else {
        return;
    };
    let Scene { installation, ca } = &scene;
    let adopt = |name: &str, words: &[&str]| {
        let (certificate, chain, root) =
            (ca.file(name), ca.file("policy.pem"), ca.file("root.pem"));
        installation
            .run(&[
                "ca",
                "adopt",
                "--certificate",
                &certificate,
                "--chain",
                &chain,
                "--chain",
                &root,
            ])
            .assert_fault(2, words);
    };
    // Another key, another name, no CA, a chain with a gap.
    ca.issued(
        "other",
        P256,
        "policy",
        "sub",
        "/O=Our Team/CN=Our Team Issuing CA",
    );
    adopt("other.pem", &["is not for the request"]);
    // openssl 3.0 signs another name only for another request, with our key put into it.
    ca.ok(&[
        "req", "-in", "us.csr", "-noout", "-pubkey", "-out", "us.pub",
    ]);
    let subject = "/O=Corp/CN=Renamed";
    let forced = ["-days", "900", "-force_pubkey", "us.pub"];
    ca.issued_with("renamed", P256, "policy", "sub", subject, &forced);
    adopt(
        "renamed.pem",
        &[
            "CN=Renamed,O=Corp",
            "the request was for CN=Our Team Issuing CA,O=Our Team",
        ],
    );
    ca.sign("us.csr", "leaf", "policy", "client", &["-days", "900"]);
    adopt("leaf.pem", &["is no CA"]);
    ca.sign("us.csr", "us", "policy", "sub", &["-days", "900"]);
    installation
        .run(&[
            "ca",
            "adopt",
            "--certificate",
            &ca.file("us.pem"),
            "--root",
            &ca.file("root.pem"),
        ])
        .assert_fault(2, &["was issued by CN=Policy CA,O=Corp", "not given"]);
    // A key of its own has no request.
    installation
        .run(&[
            "ca",
            "adopt",
            "--certificate",
            &ca.file("us.pem"),
            "--root",
            &ca.file("root.pem"),
            "--root",
            &ca.file("policy.pem"),
            "--key",
            &ca.file("other.key"),
        ])
        .assert_fault(2, &["waits for the certificate"]);
    // Under a passphrase of its own the request needs that one, and nothing else opens it.
    adopt("us.pem.missing", &["us.pem.missing"]);
    installation.ok(&[
        "ca",
        "adopt",
        "--certificate",
        &ca.file("us.pem"),
        "--root",
        &ca.file("root.pem"),
        "--root",
        &ca.file("policy.pem"),
    ]);
}

#[test]
fn request_under_a_passphrase_is_completed_with_it_alone() {
    let test = "request_under_a_passphrase_is_completed_with_it_alone";
    let Some(scene) = Scene::of_root(test, P256) else {
        return;
    };
    let Scene { installation, ca } = &scene;
    ca.write("right", "right\n");
    ca.write("wrong", "wrong\n");
    let (right, wrong) = (ca.file("right"), ca.file("wrong"));
    installation.ok(&[
        "init",
        "--csr-out",
        &ca.file("us.csr"),
        "--passphrase-file",
        &right,
    ]);
    ca.sign("us.csr", "us", "root", "sub", &["-days", "900"]);
    let (certificate, root) = (ca.file("us.pem"), ca.file("root.pem"));
    let adopt = [
        "ca",
        "adopt",
        "--certificate",
        &certificate,
        "--root",
        &root,
    ];
    installation
        .run(&adopt)
        .assert_fault(2, &["passphrase that was not given", "--passphrase-file"]);
    installation
        .run(&[&adopt[..], &["--passphrase-file", &wrong]].concat())
        .assert_fault(2, &["passphrase does not open", "--passphrase-file"]);
    installation.ok(&[&adopt[..], &["--passphrase-file", &right]].concat());
    assert!(!installation.state().join("ca/passphrase").exists());
    installation.issue("client", "you", &["--passphrase-file", &right]);
}
