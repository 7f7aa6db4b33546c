//! CAs that exist already become authorities: what they issued stays good, what they revoked stays revoked.

mod clients;
mod openssl_ca;
mod refused;
mod root_lists;
mod scene;
mod sub_ca;
mod superior_lists;

use std::fs;

use countersign_pki::certificate::Certificate;
use countersign_pki::crl::ParsedCrl;
use countersign_pki::pem;
use countersign_store::fail_point::FailPoint;
use countersign_testkit::ephemeral;

use self::openssl_ca::{ED25519, P256, P384, RSA2048, RSA4096};
use self::scene::{GATEWAY, Kinds, NOTHING_REVOKED, Scene, curl};
use crate::installation::text;
use crate::json::array;
use crate::peers::peer;

#[test]
fn ca_of_openssl_goes_on_as_the_authority() {
    let test = "ca_of_openssl_goes_on_as_the_authority";
    let (Some(scene), Some(_)) = (Scene::new(test, Kinds::P256), peer(test, "curl")) else {
        return;
    };
    let Scene { installation, ca } = &scene;
    ca.client("old");
    ca.client("stolen");
    ca.revoke("stolen");
    ca.crl("int", "int.crl");
    ca.empty_crl("root", "root.crl");
    let adopted = scene.adopted(&[
        "--root-key",
        &ca.file("root.key"),
        "--crl",
        &ca.file("int.crl"),
        "--crl",
        &ca.file("root.crl"),
        "--issued",
        &ca.file("newcerts"),
    ]);
    assert_eq!(adopted["issuing"], "CN=Old Issuing CA,O=Old Corp");
    assert_eq!(adopted["root_key"], true);
    assert_eq!(adopted["certificates"], 2);
    assert_eq!(adopted["revocations"], 1);
    assert_eq!(adopted["left_out"], serde_json::json!([]));
    assert_eq!(scene.statuses("old"), ["live"]);
    assert_eq!(scene.statuses("stolen"), ["revoked"]);
    installation.ok(&["audit", "verify"]);

    let new = installation.issue("client", "new", &[]);
    let root = installation.state().join("ca.pem");
    scene.assert_verifies(&new.certificate());
    let (old, stolen) = (scene.chained("old"), scene.chained("stolen"));
    scene.assert_verifies(old.as_ref());
    scene.assert_revoked(stolen.as_ref());
    // openssl's number was 42.
    let list = fs::read(scene.lists()).expect("readable");
    let list = &pem::decode_all(&list).expect("PEM")[0].der;
    let number = ParsedCrl::parse(list).expect("a CRL").number();
    assert!(number > Some(1_700_000_000), "{number:?}");

    let gateway = installation.serve(GATEWAY);
    let root = text(&root);
    let ask = |certificate: &str, key: &str| curl(&gateway, root, certificate, key);
    let answer = ask(&old, &ca.file("old.key"));
    assert_eq!(answer.code, Some(0), "{answer:#?}");
    let answer = ask(text(&new.certificate()), text(&new.key()));
    assert_eq!(answer.code, Some(0), "{answer:#?}");
    let answer = ask(&stolen, &ca.file("stolen.key"));
    assert_ne!(answer.code, Some(0), "{answer:#?}");
    gateway.wait_for_log(&["certificate-revoked", "CN=stolen"]);

    // Renewed and revoked like any other.
    let next = installation.path("next");
    let renewed = installation.json(&["renew", "old", "--out", text(&next)]);
    assert_eq!(renewed["profile"], "client");
    let answer = ask(text(&next.join("cert.pem")), text(&next.join("key.pem")));
    assert_eq!(answer.code, Some(0), "{answer:#?}");
    installation.ok(&["revoke", "old", "--wait"]);
    let answer = ask(&old, &ca.file("old.key"));
    assert_ne!(answer.code, Some(0), "{answer:#?}");
    scene.assert_revoked(old.as_ref());
}

#[test]
fn keys_of_every_kind_that_signs_are_adopted() {
    let test = "keys_of_every_kind_that_signs_are_adopted";
    for (root, issuing) in [
        (RSA4096, RSA2048),
        (RSA4096, P384),
        (P384, P256),
        (ED25519, ED25519),
    ] {
        let Some(scene) = Scene::new(test, Kinds { root, issuing }) else {
            return;
        };
        scene.adopted(&["--root-key", &scene.ca.file("root.key"), NOTHING_REVOKED]);
        let server = scene.installation.issue("server", "api.example.com", &[]);
        // The root signs again, too.
        scene.installation.ok(&["ca", "crl", "--root"]);
        scene.assert_verifies(&server.certificate());
    }
}

#[test]
fn issuer_of_rsa_4096_signs_certificates_lists_and_ocsp_responders() {
    let test = "issuer_of_rsa_4096_signs_certificates_lists_and_ocsp_responders";
    let kinds = Kinds {
        root: RSA4096,
        issuing: RSA4096,
    };
    let Some(scene) = Scene::new(test, kinds) else {
        return;
    };
    let Scene { installation, ca } = &scene;
    ca.client("old");
    scene.adopted(&["--issued", &ca.file("newcerts"), NOTHING_REVOKED]);
    let public = ephemeral::address();
    let url = format!("http://{public}/pki");
    let serving = installation.serve(&format!(
        "[authority.public]\naddress = \"{public}\"\nurl = \"{url}\"\n{GATEWAY}"
    ));
    let new = installation.issue("client", "new", &[]);
    let (root, int, ocsp) = (ca.file("root.pem"), ca.file("int.pem"), url + "/ocsp");
    let status = |certificate: &str| {
        let answer = ca.ok(&[
            "ocsp",
            "-url",
            &ocsp,
            "-CAfile",
            &root,
            "-verify_other",
            &int,
            "-issuer",
            &int,
            "-cert",
            certificate,
        ]);
        let status = answer.lines().next().expect("a line").to_owned();
        status.rsplit(": ").next().expect("a status").to_owned()
    };
    let (old, certificate) = (ca.file("old.pem"), new.certificate());
    assert_eq!([status(&old), status(text(&certificate))], ["good", "good"]);
    ca.empty_crl("root", "root.crl");
    assert_eq!(scene.import("root.crl").code, Some(0));
    scene.assert_verifies(&certificate);
    scene.assert_verifies(scene.chained("old").as_ref());
    for name in ["old", "new"] {
        installation.ok(&["revoke", name]);
    }
    assert_eq!(
        [status(&old), status(text(&certificate))],
        ["revoked", "revoked"]
    );
    scene.assert_revoked(&certificate);
    scene.assert_revoked(scene.chained("old").as_ref());
    drop(serving);
}

#[test]
fn root_that_has_signed_itself_with_sha_1_is_an_anchor_all_the_same() {
    let test = "root_that_has_signed_itself_with_sha_1_is_an_anchor_all_the_same";
    let Some(scene) = Scene::bare(test) else {
        return;
    };
    let Scene { installation, ca } = &scene;
    ca.root_with("root", RSA2048, "root", &["-sha1"]);
    ca.issued("int", P256, "root", "sub", scene::ISSUING);
    // A signature that is not its own is none, however weak.
    let root = fs::read(ca.path("root.pem")).expect("readable");
    let mut damaged = pem::decode_all(&root).expect("PEM").remove(0).der;
    *damaged.last_mut().expect("bytes") ^= 1;
    ca.write("root.pem", &pem::encode("CERTIFICATE", &damaged));
    let words = [
        "CN=Old Root,O=Old Corp was not signed by",
        "does not verify",
    ];
    scene.refused(&[NOTHING_REVOKED], &words);
    fs::write(ca.path("root.pem"), root).expect("writable");

    let key = ca.file("root.key");
    let answer = scene.adopt_issuing(&["--root-key", &key, NOTHING_REVOKED]);
    assert_eq!(answer.code, Some(0), "{answer:#?}");
    let warning = "warning: CN=Old Root,O=Old Corp has signed itself with RSA with SHA-1";
    assert!(answer.stderr.contains(warning), "{answer:#?}");
    let you = installation.issue("client", "you", &[]);
    scene.assert_verifies(&you.certificate());
    if peer(test, "curl").is_some() {
        let gateway = installation.serve(GATEWAY);
        let (root, certificate, key) = (you.ca(), you.certificate(), you.key());
        let answer = curl(&gateway, text(&root), text(&certificate), text(&key));
        assert_eq!(answer.code, Some(0), "{answer:#?}");
    }
}

#[test]
fn several_lists_of_one_ca_are_heard_by_their_age_and_not_by_their_place() {
    let test = "several_lists_of_one_ca_are_heard_by_their_age_and_not_by_their_place";
    for first_is_given_first in [true, false] {
        let Some(scene) = Scene::new(test, Kinds::P256) else {
            return;
        };
        let ca = &scene.ca;
        for name in ["lifted", "lost"] {
            ca.client(name);
        }
        let index = |entries: &[(&str, &str)]| {
            let line = |(name, reason): &(&str, &str)| {
                let serial = ca.serial(name);
                format!("R\t300101000000Z\t250101000000Z,{reason}\t{serial}\tunknown\t/CN=a\n")
            };
            ca.write("index.txt", &entries.iter().map(line).collect::<String>());
        };
        let end = "20900101000000Z";
        index(&[("lifted", "certificateHold"), ("lost", "certificateHold")]);
        ca.dated_crl("int", "first.crl", ["20250201000000Z", end]);
        index(&[("lost", "keyCompromise")]);
        ca.dated_crl("int", "second.crl", ["20250301000000Z", end]);
        let mut lists = ["first.crl", "second.crl"].map(|name| ca.file(name));
        if !first_is_given_first {
            lists.reverse();
        }
        let issued = ca.file("newcerts");
        let adopted = scene.adopted(&["--crl", &lists[0], "--crl", &lists[1], "--issued", &issued]);
        assert_eq!(adopted["revocations"], 1);
        assert_eq!(scene.statuses("lifted"), ["live"]);
        assert_eq!(scene.statuses("lost"), ["revoked"]);
        let shown = scene.installation.json(&["show", "lost"]);
        let shown = &array(&shown["certificates"])[0];
        assert_eq!(shown["revocation"]["reason"], "key-compromise");
    }
}

#[test]
fn root_alone_gets_an_issuing_ca_and_what_it_issued_itself_stays_good() {
    let test = "root_alone_gets_an_issuing_ca_and_what_it_issued_itself_stays_good";
    let Some(scene) = Scene::of_root(test, RSA2048) else {
        return;
    };
    let Scene { installation, ca } = &scene;
    ca.issued("direct", P256, "root", "client", "/CN=direct");
    let adopted = scene.adopt(&[
        "--root",
        &ca.file("root.pem"),
        "--root-key",
        &ca.file("root.key"),
        "--issued",
        &ca.file("direct.pem"),
        NOTHING_REVOKED,
    ]);
    assert_eq!(adopted.code, Some(0), "{adopted:#?}");
    let new = installation.issue("client", "new", &[]);
    for chain in [new.certificate(), ca.path("direct.pem")] {
        scene.assert_verifies(&chain);
    }
    // What the root issued is on the root's list.
    installation.ok(&["revoke", "direct"]);
    let status = installation.run(&["status"]);
    assert!(
        status
            .stdout
            .contains("the CRL of CN=Old Root,O=Old Corp may not show all that is revoked"),
        "{status:#?}"
    );
    installation.ok(&["ca", "crl", "--root"]);
    scene.assert_revoked(&ca.path("direct.pem"));
}

#[test]
fn encrypted_keys_and_pkcs12_are_opened() {
    let test = "encrypted_keys_and_pkcs12_are_opened";
    let adopt = |scene: &Scene, arguments: &[&str]| {
        let (root, password) = (scene.ca.file("root.pem"), scene.ca.file("password"));
        let fixed = [
            "--root",
            &root,
            "--in-password-file",
            &password,
            NOTHING_REVOKED,
        ];
        let answer = scene.adopt(&[&fixed, arguments].concat());
        assert_eq!(answer.code, Some(0), "{answer:#?}");
        scene.installation.issue("client", "you", &[]);
    };
    let prepared = || {
        let scene = Scene::new(test, Kinds::P256)?;
        scene.ca.write("password", "correct horse\n");
        Some(scene)
    };
    let Some(scene) = prepared() else { return };
    scene.ca.ok(&[
        "pkcs8",
        "-topk8",
        "-in",
        "int.key",
        "-out",
        "int.enc",
        "-v2",
        "aes-256-cbc",
        "-passout",
        "file:password",
    ]);
    let [int, key] = ["int.pem", "int.enc"].map(|name| scene.ca.file(name));
    adopt(&scene, &["--intermediate", &int, "--key", &key]);
    let Some(scene) = prepared() else { return };
    scene.ca.ok(&[
        "pkcs12",
        "-export",
        "-in",
        "int.pem",
        "-inkey",
        "int.key",
        "-certfile",
        "root.pem",
        "-out",
        "int.p12",
        "-passout",
        "file:password",
    ]);
    adopt(&scene, &["--p12", &scene.ca.file("int.p12")]);
}

#[test]
fn killed_at_any_instant_the_authority_is_adopted_or_nothing_is_there() {
    let test = "killed_at_any_instant_the_authority_is_adopted_or_nothing_is_there";
    for (point, time) in [
        (FailPoint::ScaffoldBuilt, 1),
        (FailPoint::ScaffoldMoved, 1),
        (FailPoint::ScaffoldMoved, 4),
        (FailPoint::ScaffoldValid, 1),
    ] {
        let Some(scene) = Scene::of_root(test, P256) else {
            return;
        };
        let Scene { installation, ca } = &scene;
        // The request's key must survive whatever happens.
        installation.ok(&["init", "--csr-out", &ca.file("sub.csr")]);
        ca.sign("sub.csr", "sub", "root", "sub", &["-days", "900"]);
        let adopt = [
            "ca",
            "adopt",
            "--certificate",
            &ca.file("sub.pem"),
            "--root",
            &ca.file("root.pem"),
        ];
        installation.killed_at(point, time, &adopt);
        let again = installation.run(&adopt);
        if point == FailPoint::ScaffoldValid {
            again.assert_fault(2, &["is initialised already"]);
        } else {
            assert_eq!(again.code, Some(0), "{point:?} {time}: {again:#?}");
        }
        installation.issue("client", "you", &[]);
        assert!(!installation.state().join("request").exists());
        let left = fs::read_dir(installation.state()).expect("a folder");
        let left = left.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        assert!(!left.into_iter().any(|name| name == ".init"));
    }
}

#[test]
fn word_that_nothing_was_revoked_stays_in_the_log() {
    let test = "word_that_nothing_was_revoked_stays_in_the_log";
    let Some(scene) = Scene::new(test, Kinds::P256) else {
        return;
    };
    scene.adopted(&[NOTHING_REVOKED]);
    let log = scene.installation.ok(&["audit", "export"]);
    let word = "adopted; nothing was revoked by CN=Old Issuing CA,O=Old Corp";
    assert!(log.contains(word), "{log}");
    // The root's key is elsewhere: nothing is signed for it here.
    assert!(!log.contains("by CN=Old Root"), "{log}");
}

#[test]
fn operators_of_an_adopted_authority_are_vouched_for_by_nobody_else() {
    let test = "operators_of_an_adopted_authority_are_vouched_for_by_nobody_else";
    let Some(scene) = Scene::new(test, Kinds::P256) else {
        return;
    };
    scene.adopted(&[NOTHING_REVOKED]);
    let Scene { installation, ca } = &scene;
    let operator = fs::read(installation.state().join("ca/operator.pem")).expect("readable");
    let operator = Certificate::parse(&pem::decode_all(&operator).expect("PEM")[0].der);
    let operator = operator.expect("a certificate");
    assert_eq!(operator.issuer(), operator.subject(), "its own anchor");
    assert_eq!(
        operator.subject().to_string(),
        "CN=Old Corp Operator CA,O=Old Corp"
    );
    let node = installation.issue("node", "gateway-1", &[]);
    let under = |anchor: &str| ca.run(&["verify", "-CAfile", anchor, text(&node.certificate())]);
    let answer = under(text(&node.ca()));
    assert_eq!(answer.code, Some(0), "{answer:#?}");
    assert_ne!(under(&ca.file("root.pem")).code, Some(0));
}

#[test]
fn certificates_of_strangers_are_left_out_and_the_index_of_openssl_is_read() {
    let test = "certificates_of_strangers_are_left_out_and_the_index_of_openssl_is_read";
    let Some(scene) = Scene::new(test, Kinds::P256) else {
        return;
    };
    let Scene { installation, ca } = &scene;
    ca.client("old");
    ca.client("stolen");
    ca.revoke("stolen");
    // One of another CA, one that is none, and those of the CA itself lie there, too.
    ca.root("stranger", P256, "root");
    for name in ["stranger.pem", "int.pem", "int.csr"] {
        let to = format!("newcerts/z-{name}");
        fs::copy(ca.path(name), ca.path(&to)).expect("copied");
    }
    let [issued, index] = ["newcerts", "index.txt"].map(|name| ca.file(name));
    let answer = scene.adopt_issuing(&["--issued", &issued, "--index", &index]);
    assert_eq!(answer.code, Some(0), "{answer:#?}");
    for left_out in ["z-stranger.pem is left out", "z-int.csr"] {
        assert!(answer.stderr.contains(left_out), "{answer:#?}");
    }
    assert!(!answer.stderr.contains("z-int.pem"), "{answer:#?}");
    let listed = installation.certificates(&[]);
    assert_eq!(listed.len(), 2, "{listed:#?}");
    assert_eq!(scene.statuses("stolen"), ["revoked"]);
    let shown = installation.json(&["show", "stolen"]);
    let shown = &array(&shown["certificates"])[0];
    assert_eq!(shown["revocation"]["reason"], "key-compromise");
}
