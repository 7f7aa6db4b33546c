//! `countersign verify` as people and programs meet it. What it judges is tested where it is judged, in `pki`.

use serde_json::Value;

use crate::files::every_file;
use crate::installation::{Answer, Installation, Issued, countersign, text};
use crate::json::array;
use crate::snapshot::snapshot;

struct Scene {
    installation: Installation,
    api: Issued,
}

impl Scene {
    fn new() -> Self {
        let installation = Installation::new();
        let api = installation.issue("server", "api.example.com", &["--ip", "10.0.0.1"]);
        Self { installation, api }
    }

    /// About the certificate of `api`, as a server's.
    fn verify(&self, more: &[&str]) -> Answer {
        self.ask("server", &self.api, more)
    }

    fn ask(&self, side: &str, whose: &Issued, more: &[&str]) -> Answer {
        let (cert, ca) = (whose.certificate(), self.api.ca());
        let asked = [
            "verify",
            "--as",
            side,
            "--cert",
            text(&cert),
            "--trust",
            text(&ca),
        ];
        countersign(&self.installation.path(""), &[&asked, more].concat())
    }

    fn json(&self, more: &[&str]) -> (Option<i32>, Value) {
        let answer = self.verify(&[&["--json"], more].concat());
        (
            answer.code,
            serde_json::from_str(&answer.stdout).expect("JSON"),
        )
    }

    fn refused(&self, more: &[&str], cause: &str) {
        let (code, verdict) = self.json(more);
        assert_eq!(
            (code, &verdict["valid"]),
            (Some(1), &false.into()),
            "{verdict}"
        );
        assert_eq!(verdict["cause"], cause, "{verdict}");
        let told = self.verify(more).stdout;
        assert!(told.starts_with(&format!("refused  {cause}  ")), "{told}");
        for words in ["sentence", "means", "fix"] {
            let words = verdict[words].as_str().expect("a text");
            assert!(!words.is_empty() && told.contains(words), "{told}");
        }
    }
}

#[test]
fn verify_shows_the_path_of_what_the_authority_issued() {
    let scene = Scene::new();
    let answer = scene.verify(&["--name", "api.example.com", "--name", "10.0.0.1"]);
    assert_eq!(answer.code, Some(0), "{answer:#?}");
    snapshot("verify", &scene.installation, &answer.stdout);

    let (code, verdict) = scene.json(&["--strict"]);
    assert_eq!(code, Some(0), "{verdict}");
    assert_eq!(verdict["principal"], "dns:api.example.com");
    let path = array(&verdict["path"]);
    let anchors: Vec<_> = path.iter().map(|step| step["anchor"] == true).collect();
    assert_eq!(anchors, [false, false, true], "{verdict}");
    assert_eq!(verdict["revocation_checked"], false);
    for time in [&verdict["at"], &verdict["not_after"], &path[0]["not_after"]] {
        assert!(
            time.as_str().is_some_and(|it| it.ends_with('Z')),
            "{verdict}"
        );
    }
}

#[test]
fn verify_says_no_with_the_cause_and_the_fix() {
    let scene = Scene::new();
    let answer = scene.verify(&["--name", "www.example.com"]);
    assert_eq!(answer.code, Some(1), "{answer:#?}");
    snapshot("verify-refused", &scene.installation, &answer.stdout);

    scene.refused(&["--name", "www.example.com"], "name-mismatch");
    scene.refused(
        &["--name", "api.example.com", "--name", "10.0.0.2"],
        "ip-san-missing",
    );
    scene.refused(&["--at", "2001-01-01T00:00:00Z"], "not-yet-valid");
    scene.refused(&["--at", "2099-01-01T00:00:00Z"], "leaf-expired");
    scene.refused(&["--depth", "0"], "verify-depth-too-small");
    // The root's, which says nothing of a leaf.
    let crl = every_file(&scene.installation.state())
        .into_iter()
        .find(|path| path.extension().is_some_and(|it| it == "crl"))
        .expect("a CRL of the root");
    scene.refused(&["--crl", text(&crl)], "crl-missing");

    let as_client = scene.ask("client", &scene.api, &["--json"]);
    assert!(
        as_client.stdout.contains("eku-missing-clientauth"),
        "{as_client:#?}"
    );
    let elsewhere = Installation::new();
    let stranger = elsewhere.issue("server", "api.example.com", &[]);
    let strange = scene.ask("server", &stranger, &["--json"]);
    assert_eq!(strange.code, Some(1));
    assert!(
        strange.stdout.contains("same-name-different-key-ca"),
        "{strange:#?}"
    );
}

#[test]
fn a_spiffe_id_is_verified_where_its_trust_domain_is_named() {
    let scene = Scene::new();
    let job = scene.installation.issue("workload", "/ns/prod/job", &[]);
    let id = "spiffe://countersign.internal/ns/prod/job";
    let named = scene.ask("client", &job, &["--name", id]);
    assert_eq!(named.code, Some(0), "{named:#?}");
    assert!(
        named.stdout.starts_with(&format!("valid  {id}\n")),
        "{named:#?}"
    );
    let unnamed = scene.ask("client", &job, &[]);
    assert_eq!(unnamed.code, Some(0), "{unnamed:#?}");
    assert!(unnamed.stderr.contains("note: ") && !unnamed.stdout.contains("spiffe://"));
    let other = scene.ask("client", &job, &["--name", "spiffe://example.net/job"]);
    assert_eq!(other.code, Some(1), "{other:#?}");
    assert!(other.stdout.contains("trust-domain-mismatch"), "{other:#?}");
}

#[test]
fn files_and_names_that_are_none_are_faults_and_no_verdict() {
    let scene = Scene::new();
    let (key, garbage) = (
        scene.api.key(),
        scene
            .installation
            .write("garbage", "nothing that anybody knows"),
    );
    for (more, words) in [
        (&["--crl", "missing.crl"][..], "missing.crl"),
        (
            &["--crl", text(&scene.api.certificate())],
            "holds no X509 CRL",
        ),
        (&["--untrusted", text(&key)], "holds no CERTIFICATE"),
        (&["--untrusted", text(&garbage)], "garbage"),
        (&["--name", "*.example.com"], "a wildcard names no host"),
        (&["--name", "cn:api"], "never by its subject"),
    ] {
        scene.verify(more).assert_fault(2, &[words]);
    }
    let leaf = scene.api.certificate();
    let folder = scene.installation.path("");
    let distrust = ["verify", "--as", "server", "--cert", text(&leaf), "--trust"];
    let by_key = countersign(&folder, &[&distrust[..], &[text(&key)]].concat());
    by_key.assert_fault(2, &["holds no CERTIFICATE"]);
}
