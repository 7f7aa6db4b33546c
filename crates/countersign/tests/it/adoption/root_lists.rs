//! The root's list: published from the first day, signed again with the root's key wherever it is.

use std::fs;

use countersign_pki::certificate::Certificate;
use countersign_pki::crl::ParsedCrl;
use countersign_pki::pem;
use countersign_testkit::ephemeral;

use super::openssl_ca::{P256, P384};
use super::scene::{GATEWAY, Kinds, NOTHING_REVOKED, Scene};
use crate::installation::{Answer, Installation, text};
use crate::peers::peer;

fn list(pem_text: &str) -> ParsedCrl {
    let blocks = pem::decode_all(pem_text.as_bytes()).expect("PEM");
    ParsedCrl::parse(&blocks[0].der).expect("a CRL")
}

fn certificate(installation: &Installation, name: &str) -> Certificate {
    let bytes = fs::read(installation.state().join("ca").join(name)).expect("readable");
    Certificate::parse(&pem::decode_all(&bytes).expect("PEM")[0].der).expect("a certificate")
}

fn fetch(curl: &std::path::Path, url: &str) -> Answer {
    let mut command = std::process::Command::new(curl);
    Answer::of(command.args(["--silent", "--show-error", "--fail", "--output", "-", url]))
}

#[test]
fn roots_list_is_served_where_the_issuing_cas_certificate_says() {
    let test = "roots_list_is_served_where_the_issuing_cas_certificate_says";
    let (Some(curl), Some(_)) = (peer(test, "curl"), peer(test, "openssl")) else {
        return;
    };
    let installation = Installation::empty();
    let public = ephemeral::address();
    let configuration = format!(
        "[authority.public]\naddress = \"{public}\"\nurl = \"http://{public}/pki\"\n{GATEWAY}"
    );
    let file = installation.write("countersign.toml", &configuration);
    installation.ok(&["init", "--config", text(&file)]);
    let intermediate = certificate(&installation, "intermediate.pem");
    let urls = intermediate.crl_uris();
    let [url] = urls[..] else {
        panic!("{urls:?}");
    };
    let serving = installation.serve(&configuration);
    let first = fetch(&curl, url);
    assert_eq!(first.code, Some(0), "{first:#?}");
    let root = certificate(&installation, "root.pem");
    let signed = |out: &str| {
        let path = installation.path(out);
        let told = installation.ok(&["ca", "crl", "--root", "--out", text(&path)]);
        assert!(told.contains("Root CA"), "{told}");
        list(&fs::read_to_string(path).expect("readable"))
    };
    let next = signed("next.crl");
    next.verify(&root).expect("the root's");
    // What is served is the one that was signed now, without a restart.
    let served = || {
        let path = installation.path("served.crl");
        let mut command = std::process::Command::new(&curl);
        let answer = Answer::of(command.args(["--silent", "--fail", "--output", text(&path), url]));
        assert_eq!(answer.code, Some(0), "{answer:#?}");
        ParsedCrl::parse(&fs::read(path).expect("readable")).expect("a CRL")
    };
    let begun = std::time::Instant::now();
    while served().number() != next.number() {
        assert!(begun.elapsed().as_secs() < 20, "it is never served");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    drop(serving);

    // The root takes the issuing CA back: it is on the list, and nobody is admitted.
    let gateway = installation.serve(&configuration);
    let you = installation.issue("client", "you", &[]);
    let ask = || {
        let mut command = std::process::Command::new(&curl);
        let url = format!("https://{}/", gateway.gateway());
        Answer::of(command.args(you.curl()).args(["--fail", &url]))
    };
    let admitted = ask();
    assert_eq!(admitted.code, Some(0), "{admitted:#?}");
    let serial = intermediate.serial().to_string();
    let path = installation.path("revoked.crl");
    installation.ok(&[
        "ca",
        "crl",
        "--root",
        "--revoke",
        &serial,
        "--reason",
        "ca-compromise",
        "--out",
        text(&path),
    ]);
    let revoked = list(&fs::read_to_string(path).expect("readable"));
    assert_eq!(revoked.entries().len(), 1);
    assert_eq!(revoked.entries()[0].serial, intermediate.serial());
    assert!(revoked.number() > next.number());
    let refused = ask();
    assert!(
        refused.stderr.contains("alert certificate revoked"),
        "{refused:#?}"
    );
}

#[test]
fn root_key_that_is_brought_along_signs_and_stays_nowhere() {
    let test = "root_key_that_is_brought_along_signs_and_stays_nowhere";
    let kinds = Kinds {
        root: P384,
        issuing: P256,
    };
    let Some(scene) = Scene::new(test, kinds) else {
        return;
    };
    scene.adopted(&[NOTHING_REVOKED]);
    let Scene { installation, ca } = &scene;
    let lists = installation.json(&["ca", "crl"]);
    assert_eq!(lists["lists"].as_array().map(Vec::len), Some(1), "{lists}");
    // The wrong key is refused before anything is asked for.
    installation
        .run(&["ca", "crl", "--root", "--root-key", &ca.file("int.key")])
        .assert_fault(
            2,
            &["int.key", "it is not the key of CN=Old Root,O=Old Corp"],
        );
    installation.ok(&["ca", "crl", "--root", "--root-key", &ca.file("root.key")]);
    let you = installation.issue("client", "you", &[]);
    scene.assert_verifies(&you.certificate());
    assert!(!installation.state().join("ca/root.key.sealed").exists());
    // Lists that are not to be published for anybody.
    let refused = |file: &str, code: i32, words: &[&str]| {
        scene.import(file).assert_fault(code, words);
    };
    ca.empty_crl("int", "int.crl");
    refused(
        "int.crl",
        2,
        &["the lists of CN=Old Issuing CA,O=Old Corp are signed here"],
    );
    ca.root("stranger", P256, "root");
    ca.empty_crl("stranger", "stranger.crl");
    refused("stranger.crl", 2, &["stranger.crl", "another key of"]);
    ca.dated_crl("root", "over.crl", ["20240101000000Z", "20250101000000Z"]);
    refused("over.crl", 2, &["was good until 2025-01-01"]);
    ca.dated_crl("root", "older.crl", ["20240101000000Z", "20900101000000Z"]);
    refused(
        "older.crl",
        1,
        &["was signed before the one that is published already"],
    );
    refused("root.pem", 2, &["X509 CRL"]);
}

#[test]
fn list_from_a_clock_that_is_ahead_is_refused_and_stands_in_the_way_of_no_other() {
    let test = "list_from_a_clock_that_is_ahead_is_refused_and_stands_in_the_way_of_no_other";
    let Some(scene) = Scene::new(test, Kinds::P256) else {
        return;
    };
    scene.adopted(&[NOTHING_REVOKED]);
    let (installation, ca) = (&scene.installation, &scene.ca);
    let file = |name: &str| ca.file(name);
    ca.client("you");
    ca.revoke("you");
    let ahead = ["-crl_lastupdate", "20800101000000Z"];
    let until = ["-crl_nextupdate", "20900101000000Z"];
    let generate = ["ca", "-gencrl", "-config", "openssl.cnf"];
    let by_root = ["-cert", "root.pem", "-keyfile", "root.key"];
    let out = ["-out", "ahead.crl"];
    ca.ok(&[&generate[..], &by_root, &ahead, &until, &out].concat());
    installation
        .run(&["ca", "crl", "import", &file("ahead.crl")])
        .assert_fault(2, &["ahead.crl", "not in force before 2080-01-01", "clock"]);
    // Nothing that it lists is taken for revoked.
    let before = installation.ok(&["list", "--status", "revoked", "--json"]);
    assert!(!before.contains("revoked_at"), "{before}");
    ca.empty_crl("root", "root.crl");
    installation.ok(&["ca", "crl", "import", &file("root.crl")]);
    let lists = installation.json(&["ca", "crl"]).to_string();
    assert!(!lists.contains("2080"), "{lists}");
}
