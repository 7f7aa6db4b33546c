//! Lists of the CA above: the next one takes the place of the one before it, and takes back what it may.

use serde_json::json;

use super::openssl_ca::{OpensslCa, P256};
use super::scene::{NOTHING_REVOKED, Scene};
use crate::installation::{Installation, text};

const ROOT: &str = "CN=Old Root,O=Old Corp";
const REASON_CODES: [(&str, &str); 2] = [("hold", "certificateHold"), ("gone", "superseded")];

/// A root whose key is elsewhere, the authority below it, and certificates of the root: `hold`, `gone` and `over`, which has expired.
/// The inventory has the first and the last.
fn scene(test: &str) -> Option<Scene> {
    let scene = Scene::of_root(test, P256)?;
    let ca = &scene.ca;
    ca.issued("int", P256, "root", "sub", super::scene::ISSUING);
    let mut given = Vec::new();
    for name in ["hold", "gone"] {
        ca.issued(name, P256, "root", "client", &format!("/CN={name}"));
    }
    ca.issued("over", P256, "root", "client", "/CN=over");
    ca.redated("over", "client", ["20200101000000Z", "20210101000000Z"]);
    for name in ["hold", "over"] {
        given.extend(["--issued".to_owned(), ca.file(&format!("{name}.pem"))]);
    }
    let given: Vec<&str> = given.iter().map(String::as_str).collect();
    scene.adopted(&[&given[..], &[NOTHING_REVOKED]].concat());
    Some(scene)
}

/// `NAME`: the root's list of that day of 2025 and that number, with these on it.
fn list(ca: &OpensslCa, name: &str, day: u32, number: u32, revoked: &[&str]) {
    let line = |of: &&str| {
        let reason = REASON_CODES.iter().find(|(name, _)| name == of);
        let reason = reason.map_or("keyCompromise", |(_, reason)| reason);
        let serial = ca.serial(of);
        format!("R\t300101000000Z\t250101000000Z,{reason}\t{serial}\tunknown\t/CN=a\n")
    };
    ca.write("index.txt", &revoked.iter().map(line).collect::<String>());
    ca.write("crlnumber", &format!("{number:04X}\n"));
    let from = format!("202501{day:02}000000Z");
    ca.dated_crl("root", name, [&from, "20900101000000Z"]);
}

fn import(scene: &Scene, name: &str, further: &[&str]) -> serde_json::Value {
    let file = scene.ca.file(name);
    (scene.installation).json(&[&["ca", "crl", "import", &file], further].concat())
}

fn is_asked_for(installation: &Installation) -> bool {
    let status = installation.run(&["status"]).stdout;
    status.contains(&format!(
        "the CRL of {ROOT} may not show all that is revoked"
    ))
}

#[test]
fn next_list_of_the_ca_above_neither_goes_back_nor_takes_back_a_revocation() {
    let test = "next_list_of_the_ca_above_neither_goes_back_nor_takes_back_a_revocation";
    let Some(scene) = scene(test) else { return };
    let ca = &scene.ca;
    list(ca, "first.crl", 2, 16, &["gone", "over"]);
    let first = import(&scene, "first.crl", &[]);
    assert_eq!(first["evidence"]["unknown"], 1);
    let refused = |name: &str, words: &[&str]| {
        let words = [&[name, "CN=Old Root,O=Old Corp"], words].concat();
        scene.import(name).assert_fault(1, &words);
    };
    list(ca, "earlier.crl", 1, 17, &["gone", "over", "hold"]);
    refused(
        "earlier.crl",
        &[
            "was signed before the one that is published already, of 2025-01-02",
            "latest complete CRL",
        ],
    );
    // It says nothing here, not even what it adds.
    assert_eq!(scene.statuses("hold"), ["live"]);
    list(ca, "lower.crl", 3, 15, &["gone", "over"]);
    refused(
        "lower.crl",
        &[
            "has the number 15, and the one that is published 16",
            "crlnumber",
        ],
    );
    list(ca, "lacks.crl", 3, 17, &["over"]);
    let gone = ca.serial("gone").to_lowercase();
    refused(
        "lacks.crl",
        &[
            "no longer shows",
            &gone,
            "nobody here knows",
            "--dropped-expired",
        ],
    );
    // Whose certificate is known to be over may leave, and the list is not asked for again because of it.
    list(ca, "second.crl", 3, 17, &["gone"]);
    import(&scene, "second.crl", &[]);
    assert!(!is_asked_for(&scene.installation));
    // Of one that nobody here has seen, somebody has to say it; the log has it.
    list(ca, "third.crl", 4, 18, &[]);
    import(&scene, "third.crl", &["--dropped-expired"]);
    assert!(!is_asked_for(&scene.installation));
    let log = scene.installation.ok(&["audit", "export"]);
    assert!(
        log.contains("1 that it no longer shows are expired"),
        "{log}"
    );
    // Nobody can say it of the issuing CA, whose end is known.
    list(ca, "revoked.crl", 5, 19, &["int"]);
    import(&scene, "revoked.crl", &[]);
    list(ca, "again.crl", 6, 20, &[]);
    let file = ca.file("again.crl");
    let answer = (scene.installation).run(&["ca", "crl", "import", &file, "--dropped-expired"]);
    answer.assert_fault(1, &["no longer shows", "that certificate is good until"]);
}

#[test]
fn hold_that_the_ca_above_has_lifted_is_lifted_here() {
    let test = "hold_that_the_ca_above_has_lifted_is_lifted_here";
    let Some(scene) = scene(test) else { return };
    let ca = &scene.ca;
    list(ca, "held.crl", 2, 16, &["hold"]);
    let held = import(&scene, "held.crl", &[]);
    assert_eq!(
        (&held["evidence"]["revoked"], &held["released"]),
        (&json!(1), &json!(0))
    );
    assert_eq!(scene.statuses("hold"), ["held"]);
    list(ca, "lifted.crl", 3, 17, &[]);
    let lifted = import(&scene, "lifted.crl", &[]);
    assert_eq!(lifted["released"], 1);
    assert_eq!(scene.statuses("hold"), ["live"]);
    assert!(!is_asked_for(&scene.installation));
    scene.assert_verifies(&ca.path("hold.pem"));
    let log = scene.installation.ok(&["audit", "export"]);
    let holds_no_longer = format!("the CRL of {ROOT} holds it no longer");
    assert!(log.contains(&holds_no_longer), "{log}");
    scene.installation.ok(&["audit", "verify"]);

    // What was put on hold here, and no list has shown, is not the CA's to lift; nor is what was revoked for good meanwhile.
    scene
        .installation
        .ok(&["revoke", "hold", "--reason", "certificate-hold"]);
    list(ca, "none.crl", 4, 18, &[]);
    assert_eq!(import(&scene, "none.crl", &[])["released"], 0);
    assert_eq!(scene.statuses("hold"), ["held"]);
    list(ca, "held-again.crl", 5, 19, &["hold"]);
    import(&scene, "held-again.crl", &[]);
    scene
        .installation
        .ok(&["revoke", "hold", "--reason", "superseded"]);
    list(ca, "lifted-again.crl", 6, 20, &[]);
    assert_eq!(import(&scene, "lifted-again.crl", &[])["released"], 0);
    assert_eq!(scene.statuses("hold"), ["revoked"]);
    assert!(is_asked_for(&scene.installation));
}

#[test]
fn nothing_is_issued_while_the_ca_above_revokes_or_holds_the_issuing_one() {
    let test = "nothing_is_issued_while_the_ca_above_revokes_or_holds_the_issuing_one";
    let Some(scene) = scene(test) else { return };
    let (ca, us) = (&scene.ca, &scene.installation);
    let listed = |name: &str, number: u32, reason: Option<&str>| {
        let line = |reason: &str| {
            let serial = ca.serial("int");
            format!("R\t300101000000Z\t250101000000Z,{reason}\t{serial}\tunknown\t/CN=a\n")
        };
        list(ca, name, number, number, &[]);
        ca.write("index.txt", &reason.map(line).unwrap_or_default());
        ca.write("crlnumber", &format!("{number:04X}\n"));
        let from = format!("202501{number:02}000000Z");
        ca.dated_crl("root", name, [&from, "20900101000000Z"]);
        import(&scene, name, &[]);
    };
    us.issue("client", "before", &[]);
    listed("held-us.crl", 2, Some("certificateHold"));
    let on_hold = [
        "is on hold",
        "whatever it issues is refused",
        "ca crl import",
    ];
    us.run(&["issue", "client", "late"])
        .assert_fault(1, &on_hold);
    listed("lifted-us.crl", 3, None);
    us.issue("client", "between", &[]);
    listed("revoked-us.crl", 4, Some("cACompromise"));
    let revoked = [
        "is revoked",
        "whatever it issues is refused",
        "new authority",
    ];
    for more in [&[][..], &["--dry-run"]] {
        let issue = [&["issue", "client", "late"], more].concat();
        us.run(&issue).assert_fault(1, &revoked);
    }
    let status = us.run(&["status"]).stdout;
    assert!(status.contains(revoked[0]), "{status}");
}

#[test]
fn restored_authority_asks_for_the_latest_list_of_the_ca_above() {
    let test = "restored_authority_asks_for_the_latest_list_of_the_ca_above";
    let Some(scene) = scene(test) else { return };
    let ca = &scene.ca;
    list(ca, "first.crl", 2, 16, &["gone"]);
    import(&scene, "first.crl", &[]);
    assert!(!is_asked_for(&scene.installation));
    let backup = scene.installation.path("backup");
    scene.installation.ok(&["ca", "backup", text(&backup)]);
    let restored = Installation::empty();
    restored.ok(&["ca", "restore", text(&backup)]);
    let from = scene.installation.state().join("ca/passphrase");
    std::fs::copy(from, restored.state().join("ca/passphrase")).expect("copied");
    restored.ok(&["ca", "resume", "--without-evidence", "--because", "a test"]);
    assert!(is_asked_for(&restored));
    // The same one says as well that it is the latest.
    let first = ca.file("first.crl");
    let again = restored.json(&["ca", "crl", "import", &first]);
    assert_eq!(again["is_known"], true);
    assert!(!is_asked_for(&restored));
}
