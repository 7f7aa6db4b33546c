//! `countersign verify` as people and programs meet it. What it judges is tested where it is judged, in `pki`.

use countersign_testkit::pki::Leaf;
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
    SanType, date_time_ymd,
};
use serde_json::Value;

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
    let crl = scene.installation.path("root.crl");
    let write = ["ca", "crl", "--root", "--out", text(&crl)];
    scene.installation.ok(&write);
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
        (&["--crl", text(&scene.api.certificate())], "holds no CRL"),
        (&["--untrusted", text(&key)], "holds no certificate"),
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
    by_key.assert_fault(2, &["holds no certificate"]);
}

/// A CA of this name, from 2020 until this year begins.
fn authority(name: &str, until: i32) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(until, 1, 1);
    params
}

#[test]
fn path_is_told_with_the_anchor_that_counted_and_an_issuer_that_is_read_in_part() {
    let key = || KeyPair::generate().expect("a key");
    let root_key = key();
    let pem = root_key.serialize_pem();
    let same_key = || KeyPair::from_pem(&pem).expect("the key");
    let old = CertifiedIssuer::self_signed(authority("Root", 2021), root_key).expect("a root");
    let renewed =
        CertifiedIssuer::self_signed(authority("Root", 2090), same_key()).expect("a root");
    let mut issuer = authority("Issuer", 2089);
    issuer.subject_alt_names = vec![SanType::Rfc822Name(
        Ia5String::try_from("no address").expect("ASCII"),
    )];
    let issuer = CertifiedIssuer::signed_by(issuer, key(), &renewed).expect("an issuer");
    let mut leaf = Leaf::client("api").params;
    (leaf.not_before, leaf.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2088, 1, 1));
    let leaf = leaf.signed_by(&key(), &issuer).expect("a leaf");

    let installation = Installation::new();
    let chain = installation.write("chain.pem", &(leaf.pem() + &issuer.pem()));
    let trust = installation.write("trust.pem", &(old.pem() + &renewed.pem()));
    let answer = countersign(
        &installation.path(""),
        &[
            "--json",
            "verify",
            "--as",
            "client",
            "--cert",
            text(&chain),
            "--trust",
            text(&trust),
        ],
    );
    assert_eq!(answer.code, Some(0), "{answer:#?}");
    let verdict: Value = serde_json::from_str(&answer.stdout).expect("JSON");
    let path = array(&verdict["path"]);
    let ends: Vec<_> = path.iter().map(|step| &step["not_after"]).collect();
    assert_eq!(
        ends,
        [
            "2088-01-01T00:00:00Z",
            "2089-01-01T00:00:00Z",
            "2090-01-01T00:00:00Z"
        ]
    );
    assert_eq!(path[0]["subject"], "CN=api");
    assert_eq!(path[1]["subject"], "CN=Issuer");
}

#[test]
fn files_are_read_as_the_doctor_reads_them_and_what_others_would_refuse_is_said() {
    let scene = Scene::new();
    let at = &scene.installation;
    let read = |path: &std::path::Path| std::fs::read_to_string(path).expect("PEM");
    let (chain, ca) = (read(&scene.api.certificate()), read(&scene.api.ca()));
    let check = |cert: &std::path::Path, trust: &std::path::Path, notes: &[&str]| {
        let asked = ["verify", "--as", "server", "--cert", text(cert), "--trust"];
        let answer = countersign(&at.path(""), &[&asked[..], &[text(trust)]].concat());
        assert_eq!(answer.code, Some(0), "{answer:#?}");
        let told = answer.stderr.matches("note: ").count();
        assert_eq!(told, notes.len(), "{answer:#?}");
        for note in notes {
            assert!(answer.stderr.contains(note), "{answer:#?}");
        }
    };
    let file = |name: &str, bytes: &[u8]| {
        let path = at.path(name);
        std::fs::write(&path, bytes).expect("written");
        path
    };
    let plain = (
        file("chain.pem", chain.as_bytes()),
        file("ca.pem", ca.as_bytes()),
    );
    check(&plain.0, &plain.1, &[]);
    let windows = file("windows.pem", chain.replace('\n', "\r\n").as_bytes());
    check(&windows, &plain.1, &[]);
    let marked = file("marked.pem", format!("\u{feff}{chain}").as_bytes());
    check(&marked, &plain.1, &["(file-encoding)"]);
    let wide: Vec<u8> = ca.encode_utf16().flat_map(u16::to_le_bytes).collect();
    check(&plain.0, &file("wide.pem", &wide), &["UTF-16"]);
    let glued = chain.replace("-----\n-----", "----------");
    assert_ne!(glued, chain, "the chain has two certificates");
    check(
        &file("glued.pem", glued.as_bytes()),
        &plain.1,
        &["(pem-glued)"],
    );
    let damaged = ca.replace("-----END", "*\n-----END") + &ca;
    let damaged = file("damaged.pem", damaged.as_bytes());
    check(&plain.0, &damaged, &["damaged block 1"]);

    // Of what is judged, and of who is revoked, everything has to be there.
    let begun = chain.replacen("-----END", "*\n-----END", 1);
    let begun = file("begun.pem", begun.as_bytes());
    let asked = [
        "verify",
        "--as",
        "server",
        "--trust",
        text(&plain.1),
        "--cert",
    ];
    let refused = countersign(&at.path(""), &[&asked[..], &[text(&begun)]].concat());
    refused.assert_fault(2, &["damaged block 1"]);
    let lists = file("lists.pem", b"-----BEGIN X509 CRL-----\nMIIB\n");
    let refused = scene.verify(&["--crl", text(&lists)]);
    refused.assert_fault(2, &["before its END line"]);
}

#[test]
fn keystores_are_opened_with_their_password_and_their_key_says_who_is_judged() {
    let scene = Scene::new();
    let at = &scene.installation;
    let (chain, key, ca) = (scene.api.certificate(), scene.api.key(), scene.api.ca());
    let read = |path: &std::path::Path| std::fs::read_to_string(path).expect("PEM");
    // The issuer first, as some exports have it.
    let (leaf, issuer) = read(&chain)
        .split_once("-----END CERTIFICATE-----\n")
        .map(|(leaf, issuer)| {
            (
                format!("{leaf}-----END CERTIFICATE-----\n"),
                issuer.to_owned(),
            )
        })
        .expect("a chain");
    let all = at.write("all.pem", &(issuer + &leaf + &read(&key)));
    at.write("right", "open sesame\n");
    let wrong = at.write("wrong", "sesame\n");
    let (right, store) = (at.path("right"), at.path("store.p12"));
    let made = std::process::Command::new("openssl")
        .args(["pkcs12", "-export", "-in", text(&all), "-out", text(&store)])
        .args(["-passout", &format!("file:{}", text(&right))])
        .output()
        .expect("openssl");
    assert!(made.status.success(), "{made:?}");
    let verify = |more: &[&str]| {
        let asked = [
            "verify",
            "--as",
            "server",
            "--trust",
            text(&ca),
            "--cert",
            text(&store),
        ];
        countersign(&at.path(""), &[&asked[..], more].concat())
    };
    let named = verify(&["--name", "api.example.com", "--password-file", text(&right)]);
    assert_eq!(named.code, Some(0), "{named:#?}");
    verify(&["--password-file", text(&wrong)]).assert_fault(2, &["key-password-wrong"]);
}
