//! What cannot be the authority is refused by name, and leaves nothing behind.

use std::fs;

use super::openssl_ca::{OpensslCa, P256, P521, RSA1024, RSA2048};
use super::scene::{ISSUING, Kinds, NOTHING_REVOKED, Scene};
use crate::installation::Installation;

const TEST: &str = "refused";

/// A root, and an issuing CA with this section of the configuration.
fn with(extensions: &str) -> Option<Scene> {
    let scene = Scene::of_root(TEST, P256)?;
    issuing(&scene.ca, P256, extensions, &["-days", "1800"]);
    Some(scene)
}

fn issuing(ca: &OpensslCa, kind: &[&str], extensions: &str, options: &[&str]) {
    ca.issued_with("int", kind, "root", extensions, ISSUING, options);
}

#[test]
fn issuing_ca_that_may_not_issue() {
    let check = |extensions: &str, words: &[&str]| {
        if let Some(scene) = with(extensions) {
            scene.refused(&[], words);
        }
    };
    check(
        "client",
        &["CN=Old Issuing CA,O=Old Corp is no CA", "CA:TRUE"],
    );
    check("no_cert_sign", &["lacks keyCertSign"]);
    check("no_crl_sign", &["lacks cRLSign"]);
    check("unknown_critical", &["critical extension 1.2.3.4.5"]);
}

#[test]
fn issuing_ca_whose_time_is_over_or_nearly_or_not_yet() {
    let check = |times: Option<[&str; 2]>, words: &[&str]| {
        if let Some(scene) = Scene::of_root(TEST, P256) {
            issuing(&scene.ca, P256, "sub", &["-days", "29"]);
            if let Some([from, to]) = times {
                scene.ca.dated(from, to);
            }
            scene.refused(&[], words);
        }
    };
    check(
        Some(["20200101000000Z", "20210101000000Z"]),
        &["expired", "ago", "renewed by its issuer"],
    );
    check(
        None,
        &["Old Issuing CA,O=Old Corp ends in 2", "under the same key"],
    );
    check(
        Some(["20900101000000Z", "20910101000000Z"]),
        &["is not valid for another", "clock"],
    );
}

#[test]
fn keys_and_signatures_that_are_weak_or_unknown() {
    let Some(scene) = Scene::of_root(TEST, P256) else {
        return;
    };
    issuing(&scene.ca, RSA1024, "sub", &["-days", "900"]);
    scene.refused(&[], &["int.key", "of no kind that is known here"]);
    issuing(&scene.ca, P521, "sub", &["-days", "900"]);
    scene.refused(&[], &["nothing is signed here with a key of its kind"]);
    issuing(&scene.ca, P256, "sub", &["-days", "900", "-sha1"]);
    scene.refused(&[], &["ECDSA with SHA-1, which can be forged"]);
    scene.ca.root("root", RSA1024, "root");
    issuing(&scene.ca, P256, "sub", &["-days", "900"]);
    scene.refused(&[], &["CN=Old Root,O=Old Corp has a weak key: RSA 1024"]);
}

#[test]
fn keys_and_certificates_that_do_not_belong_together() {
    let Some(scene) = with("sub") else {
        return;
    };
    scene.ca.key("other", RSA2048);
    let other = scene.ca.file("other.key");
    let [int, key, root] = ["int.pem", "int.key", "root.pem"].map(|name| scene.ca.file(name));
    scene.assert_refused(
        &scene.adopt(&["--intermediate", &int, "--key", &other, "--root", &root]),
        &["CN=Old Issuing CA,O=Old Corp is not for the key"],
    );
    scene.refused(
        &["--root-key", &other],
        &["CN=Old Root,O=Old Corp is not for the key"],
    );
    // No root, the wrong root, a root of the same name.
    scene.assert_refused(
        &scene.adopt(&["--intermediate", &int, "--key", &key]),
        &["was issued by CN=Old Root,O=Old Corp", "not given"],
    );
    scene.ca.root("twin", P256, "root");
    scene.assert_refused(
        &scene.adopt(&[
            "--intermediate",
            &int,
            "--key",
            &key,
            "--root",
            &scene.ca.file("twin.pem"),
        ]),
        &["was not signed by the CN=Old Root,O=Old Corp"],
    );
    // The root in place of the issuing CA, and the other way round.
    scene.assert_refused(
        &scene.adopt(&[
            "--intermediate",
            &root,
            "--key",
            &scene.ca.file("root.key"),
            "--root",
            &root,
        ]),
        &["CN=Old Root,O=Old Corp is a root", "give it as --root"],
    );
    scene.assert_refused(
        &scene.adopt(&["--root", &int, "--root", &root, "--root-key", &key]),
        &["no CA", "pathLenConstraint"].map(|_| "Old Issuing CA"),
    );
    scene.assert_refused(
        &scene.adopt(&["--root", &root]),
        &["CN=Old Root,O=Old Corp alone issues nothing", "--root-key"],
    );
    scene.assert_refused(&scene.adopt(&[]), &["no CA was given", "--p12"]);
    scene.assert_refused(
        &scene.adopt(&["--intermediate", &int, "--root", &root]),
        &["none was made here before", "--csr-out"],
    );
}

#[test]
fn path_that_is_longer_than_a_root_allows() {
    let Some(scene) = Scene::of_root(TEST, P256) else {
        return;
    };
    scene.ca.root("root", P256, "root_only");
    issuing(&scene.ca, P256, "sub", &["-days", "900"]);
    scene
        .ca
        .issued("policy", P256, "root", "policy", "/CN=Policy");
    scene.ca.issued("low", P256, "policy", "sub", "/CN=Low");
    // Leaves of the root's own, or of one CA below it: nothing stands between.
    let [low, key, policy, root] =
        ["low.pem", "low.key", "policy.pem", "root.pem"].map(|name| scene.ca.file(name));
    scene.assert_refused(
        &scene.adopt(&[
            "--intermediate",
            &low,
            "--key",
            &key,
            "--root",
            &policy,
            "--root",
            &root,
        ]),
        &["CN=Old Root,O=Old Corp allows 0 CAs below it"],
    );
    scene.assert_refused(
        &scene.adopt(&["--root", &root, "--root-key", &scene.ca.file("root.key")]),
        &["allows 0 CAs below it", "1 would stand there"],
    );
}

#[test]
fn keys_that_stay_locked() {
    let Some(scene) = with("sub") else {
        return;
    };
    scene.ca.write("password", "correct horse\n");
    scene.ca.write("wrong", "battery staple\n");
    scene.ca.ok(&[
        "pkcs8",
        "-topk8",
        "-in",
        "int.key",
        "-out",
        "int.enc",
        "-passout",
        "file:password",
    ]);
    let [int, enc, root, wrong] =
        ["int.pem", "int.enc", "root.pem", "wrong"].map(|name| scene.ca.file(name));
    let fixed = ["--intermediate", &int, "--key", &enc, "--root", &root];
    scene.assert_refused(
        &scene.adopt(&[&fixed[..], &["--password-file", &wrong]].concat()),
        &["int.enc", "password"],
    );
    scene.ca.ok(&[
        "pkcs8",
        "-topk8",
        "-scrypt",
        "-in",
        "int.key",
        "-out",
        "int.scrypt",
        "-passout",
        "file:password",
    ]);
    let [scrypt, password] = ["int.scrypt", "password"].map(|name| scene.ca.file(name));
    let fixed = ["--intermediate", &int, "--key", &scrypt, "--root", &root];
    let answer = scene.adopt(&[&fixed[..], &["--password-file", &password]].concat());
    let words = [
        "protected by scrypt",
        "openssl pkcs8 -in OLD -topk8 -out NEW",
    ];
    scene.assert_refused(&answer, &words);
    // What openssl wrote before version 1.0, and its PKCS#12 before version 3.
    scene.ca.ok(&[
        "ec",
        "-in",
        "int.key",
        "-out",
        "int.dek",
        "-aes128",
        "-passout",
        "file:password",
    ]);
    let dek = scene.ca.file("int.dek");
    let fixed = ["--intermediate", &int, "--key", &dek, "--root", &root];
    scene.assert_refused(
        &scene.adopt(&fixed),
        &["old encrypted keys", "openssl pkcs8 -topk8"],
    );
    let legacy = scene.ca.run(&[
        "pkcs12",
        "-export",
        "-legacy",
        "-in",
        "int.pem",
        "-inkey",
        "int.key",
        "-out",
        "int.p12",
        "-passout",
        "file:password",
    ]);
    // The legacy provider is a package of its own here and there.
    if legacy.code == Some(0) {
        let [p12, password] = ["int.p12", "password"].map(|name| scene.ca.file(name));
        scene.assert_refused(
            &scene.adopt(&["--p12", &p12, "--root", &root, "--password-file", &password]),
            &["int.p12", "openssl pkcs12 -legacy"],
        );
    }
}

#[test]
fn lists_that_say_nothing_of_these_cas_or_the_worst() {
    let Some(scene) = with("sub") else {
        return;
    };
    scene.ca.root("twin", P256, "root");
    scene.ca.issued("other", P256, "twin", "sub", "/CN=Other");
    scene.ca.crl("other", "other.crl");
    scene.refused(
        &["--crl", &scene.ca.file("other.crl")],
        &["other.crl", "of CN=Other"],
    );
    scene.ca.crl("twin", "twin.crl");
    scene.refused(
        &["--crl", &scene.ca.file("twin.crl")],
        &["twin.crl", "another key"],
    );
    scene.refused(
        &["--crl", &scene.ca.file("int.pem")],
        &["int.pem", "X509 CRL"],
    );
    scene.refused(
        &["--issued", &scene.ca.file("int.key")],
        &["int.key", "no certificate"],
    );
    scene.refused(
        &["--index", &scene.ca.file("int.pem")],
        &["int.pem", "line 1", "six fields"],
    );
    // The root has revoked the issuing CA itself.
    let serial = scene
        .ca
        .ok(&["x509", "-in", "int.pem", "-noout", "-serial"]);
    let serial = serial.trim().trim_start_matches("serial=").to_owned();
    let line = format!("R\t300101000000Z\t260101000000Z\t{serial}\tunknown\t/CN=a\n");
    scene.ca.write("index.txt", &line);
    scene.ca.crl("root", "root.crl");
    scene.refused(
        &["--crl", &scene.ca.file("root.crl"), NOTHING_REVOKED],
        &[
            "CN=Old Issuing CA,O=Old Corp is revoked since 2026-01-01",
            "root.crl",
        ],
    );
}

#[test]
fn issuing_ca_of_which_nothing_says_what_it_has_revoked() {
    let Some(scene) = Scene::new(TEST, Kinds::P256) else {
        return;
    };
    let ca = &scene.ca;
    ca.client("stolen");
    ca.revoke("stolen");
    let nothing = "nothing that was given says what CN=Old Issuing CA,O=Old Corp has revoked";
    let hints = ["--crl FILE", "--index FILE", NOTHING_REVOKED];
    scene.refused(&[], &[nothing, hints[0], hints[1], hints[2]]);
    // A list of the CA above says nothing of those of this one, nor does a part of them.
    ca.empty_crl("root", "root.crl");
    scene.refused(&["--crl", &ca.file("root.crl")], &[nothing]);
    ca.crl_with("int", "users.crl", &["-crlexts", "crl_of_users"]);
    scene.refused(
        &["--crl", &ca.file("users.crl")],
        &[nothing, "users.crl tells of a part of its certificates"],
    );
    // One that is over may lack what was revoked since, whoever gives it.
    let over = ["20240101000000Z", "20250101000000Z"];
    ca.dated_crl("int", "over.crl", over);
    let list = ca.file("over.crl");
    let may_lack = [
        "over.crl may not be the last CRL of CN=Old Issuing CA,O=Old Corp",
        "was good until 2025-01-01",
        "--accept-expired-crl",
    ];
    scene.refused(&["--crl", &list], &may_lack);
    scene.refused(&["--crl", &list, NOTHING_REVOKED], &may_lack);
    // So does one of a CA above, whose key is elsewhere.
    ca.dated_crl("root", "root-over.crl", over);
    let root_list = ca.file("root-over.crl");
    ca.crl("int", "int.crl");
    let current = ca.file("int.crl");
    scene.refused(
        &["--crl", &current, "--crl", &root_list],
        &["root-over.crl may not be the last CRL of CN=Old Root,O=Old Corp"],
    );
    // With its key here, the root's next list is signed here as well.
    let key = ca.file("root.key");
    scene.refused(
        &["--crl", &current, "--root-key", &key],
        &["nothing that was given says what CN=Old Root,O=Old Corp has revoked"],
    );
    // A later one beside it makes up for it; what it revoked stays.
    let adopted = scene.adopted(&["--crl", &list, "--crl", &current]);
    assert_eq!(adopted["revocations"], 1);
    assert_eq!(
        adopted["without_crl"],
        serde_json::json!(["CN=Old Root,O=Old Corp"])
    );
}

#[test]
fn root_of_which_nothing_says_what_it_has_revoked() {
    let Some(scene) = Scene::of_root(TEST, P256) else {
        return;
    };
    let ca = &scene.ca;
    let [root, key] = ["root.pem", "root.key"].map(|name| ca.file(name));
    let fixed = ["--root", &root, "--root-key", &key];
    let nothing = "nothing that was given says what CN=Old Root,O=Old Corp has revoked";
    scene.assert_refused(&scene.adopt(&fixed), &[nothing, NOTHING_REVOKED]);
    // An empty one is what lies beside a CA that issues without it.
    let index = ca.file("index.txt");
    let with_index = [&fixed[..], &["--index", &index]].concat();
    let empty = ["index.txt", "the database is empty", NOTHING_REVOKED];
    scene.assert_refused(&scene.adopt(&with_index), &empty);
    // The index is of the CA that issued until now, which here is the root.
    ca.write("index.txt", "V\t300101000000Z\t\t01\tunknown\t/CN=a\n");
    let adopted = scene.adopt(&with_index);
    assert_eq!(adopted.code, Some(0), "{adopted:#?}");
}

#[test]
fn list_that_is_over_is_taken_on_somebodys_word_and_the_log_says_so() {
    let Some(scene) = Scene::new(TEST, Kinds::P256) else {
        return;
    };
    let Scene { installation, ca } = &scene;
    let over = ["20240101000000Z", "20250101000000Z"];
    ca.dated_crl("root", "root-over.crl", over);
    ca.client("stolen");
    ca.revoke("stolen");
    ca.dated_crl("int", "over.crl", over);
    let [list, root_list] = ["over.crl", "root-over.crl"].map(|name| ca.file(name));
    let given = ["--crl", &list, "--crl", &root_list, "--accept-expired-crl"];
    let adopted = scene.adopted(&given);
    assert_eq!(adopted["revocations"], 1);
    // Nobody would rely on the root's: there is none, and it is said.
    assert_eq!(
        adopted["without_crl"],
        serde_json::json!(["CN=Old Root,O=Old Corp"])
    );
    let log = installation.ok(&["audit", "export"]);
    assert!(log.contains("CRLs that are over were taken"), "{log}");
}

#[test]
fn two_certificates_of_one_serial_number() {
    let Some(scene) = Scene::new(TEST, Kinds::P256) else {
        return;
    };
    let twice = ["-days", "90", "-set_serial", "4711"];
    scene
        .ca
        .issued_with("one", P256, "int", "client", "/CN=one", &twice);
    scene
        .ca
        .issued_with("two", P256, "int", "client", "/CN=two", &twice);
    let [one, two] = ["one.pem", "two.pem"].map(|name| scene.ca.file(name));
    scene.refused(
        &["--issued", &one, "--issued", &two, NOTHING_REVOKED],
        &["two certificates have the serial number 1267", "two.pem"],
    );
}

#[test]
fn folder_that_has_an_authority_keeps_it() {
    let Some(scene) = Scene::beside(TEST, Installation::new()) else {
        return;
    };
    scene.ca.root("root", P256, "root");
    issuing(&scene.ca, P256, "sub", &["-days", "900"]);
    let root = scene.installation.state().join("ca/root.pem");
    let before = fs::read(&root).expect("readable");
    let answer = scene.adopt_issuing(&[]);
    answer.assert_fault(2, &["is initialised already", "--state"]);
    let after = fs::read(&root).expect("readable");
    assert_eq!(before, after);
}

#[test]
fn names_outside_the_constraints_of_an_adopted_ca_are_not_certified() {
    let Some(scene) = with("constrained") else {
        return;
    };
    scene.adopted(&[NOTHING_REVOKED]);
    let issue = |name: &str| {
        let folder = scene.installation.path(name);
        let folder = folder.to_str().expect("UTF-8").to_owned();
        scene
            .installation
            .run(&["issue", "server", name, "--out", &folder])
    };
    assert_eq!(issue("api.corp.example").code, Some(0));
    let issued = scene.installation.certificates(&[]).len();
    let outside = issue("api.other.example");
    assert_ne!(outside.code, Some(0), "{outside:#?}");
    assert!(outside.stderr.contains("name-constraints"), "{outside:#?}");
    assert!(outside.stderr.contains("CN=Old Issuing CA"), "{outside:#?}");
    let log = scene.installation.ok(&["audit", "export"]);
    let is_it = |line: &&str| line.contains("\"refuse\"") && line.contains("api.other.example");
    assert_eq!(log.lines().filter(is_it).count(), 1, "{log}");
    assert_eq!(scene.installation.certificates(&[]).len(), issued);
}

#[test]
fn gateway_of_a_constrained_ca_has_the_names_that_it_may_have_and_says_which_not() {
    let Some(scene) = with("constrained") else {
        return;
    };
    scene.adopted(&[NOTHING_REVOKED]);
    let configuration = |host: &str| {
        format!(
            r#"
[gateway]
metrics_address = "127.0.0.1:0"

[[gateway.listener]]
address = "127.0.0.1:0"

[[gateway.listener.route]]
{host}
upstream = "demo"
allow = ["any-trusted"]
"#
        )
    };
    let refused = |host: &str, words: &[&str]| {
        let file = scene
            .installation
            .write("countersign.toml", &configuration(host));
        scene
            .installation
            .run(&["run", "-c", file.to_str().expect("UTF-8")])
            .assert_fault(2, words);
    };
    let constraints = "outside the name constraints of CN=Old Issuing CA";
    refused(
        "",
        &[
            "no DNS name that its CA can certify",
            constraints,
            "host within",
        ],
    );
    refused(
        "host = \"api.other.example\"",
        &[
            "dns:api.other.example",
            constraints,
            "certificate and key of its own",
        ],
    );
    let within = configuration("host = \"api.corp.example\"");
    let gateway = scene.installation.serve(&within);
    let line = gateway.wait_for_log(&["left out of the gateway's certificate"]);
    for words in [
        "WARN",
        "dns:localhost",
        "ip:127.0.0.1",
        "ip:::1",
        "Old Issuing CA",
    ] {
        assert!(line.contains(words), "{words} in {line}");
    }
    let leaf = scene.installation.state().join("gateway/cert.pem");
    let leaf = fs::read(leaf).expect("issued");
    let leaf = &countersign_pki::pem::decode_all(&leaf).expect("PEM")[0].der;
    let leaf = countersign_pki::certificate::Certificate::parse(leaf).expect("a certificate");
    let names: Vec<String> = (leaf.subject_alt_names().iter())
        .map(ToString::to_string)
        .collect();
    assert_eq!(names, ["dns:api.corp.example"]);

    // A reload is held to the same.
    scene.installation.write(
        "countersign.toml",
        &configuration("host = \"api.other.example\""),
    );
    gateway.signal(rustix::process::Signal::HUP);
    gateway.wait_for_log(&["not reloaded", "dns:api.other.example"]);
}
