//! CAs that exist already become authorities: what they issued stays good, what they revoked stays revoked.

mod openssl_ca;
mod refused;
mod root_lists;
mod sub_ca;

use std::fs;
use std::process::Command;

use countersign_pki::certificate::Certificate;
use countersign_pki::crl::ParsedCrl;
use countersign_pki::pem;
use countersign_store::fail_point::FailPoint;
use countersign_testkit::process::Process;

use self::openssl_ca::{ED25519, Kinds, OpensslCa, P256, P384, RSA2048, RSA4096};
use crate::installation::{Answer, Installation, text};
use crate::json::array;
use crate::peers::peer;

const GATEWAY: &str = "[gateway]\nmetrics_address = \"127.0.0.1:0\"\n\
    [[gateway.listener]]\naddress = \"127.0.0.1:0\"\n\
    [[gateway.listener.route]]\nupstream = \"demo\"\nallow = [\"any-trusted\"]\n";

/// `curl` to the gateway with a certificate chain and its key: the exit code, and what it said.
fn curl(gateway: &Process, root: &str, certificate: &str, key: &str) -> Answer {
    let url = format!("https://localhost:{}/", gateway.gateway().port());
    Answer::of(Command::new("curl").args([
        "--silent",
        "--show-error",
        "--fail",
        "--cacert",
        root,
        "--cert",
        certificate,
        "--key",
        key,
        &url,
    ]))
}

/// Leaf, then what stands above it, as a client has to send it.
fn chained(ca: &OpensslCa, name: &str) -> String {
    let read = |file: &str| fs::read_to_string(ca.path(file)).expect("readable");
    let chain = read(&format!("{name}.pem")) + &read("int.pem");
    ca.write(&format!("{name}-chain.pem"), &chain);
    ca.file(&format!("{name}-chain.pem"))
}

fn statuses(installation: &Installation, name: &str) -> Vec<String> {
    let listed = installation.certificates(&["--name", name]);
    let status = |it: &serde_json::Value| it["status"].as_str().expect("a status").to_owned();
    listed.iter().map(status).collect()
}

#[test]
fn ca_of_openssl_goes_on_as_the_authority() {
    let test = "ca_of_openssl_goes_on_as_the_authority";
    let installation = Installation::empty();
    let kinds = Kinds {
        root: P256,
        issuing: P256,
    };
    let (Some(ca), Some(_)) = (
        OpensslCa::new(test, &installation, kinds),
        peer(test, "curl"),
    ) else {
        return;
    };
    ca.client("old");
    ca.client("stolen");
    ca.revoke("stolen");
    ca.crl("int", "int.crl");
    let adopted = installation.json(&[
        "ca",
        "adopt",
        "--intermediate",
        &ca.file("int.pem"),
        "--key",
        &ca.file("int.key"),
        "--root",
        &ca.file("root.pem"),
        "--root-key",
        &ca.file("root.key"),
        "--crl",
        &ca.file("int.crl"),
        "--issued",
        &ca.file("newcerts"),
    ]);
    assert_eq!(adopted["issuing"], "CN=Old Issuing CA,O=Old Corp");
    assert_eq!(adopted["root_key"], true);
    assert_eq!(adopted["certificates"], 2);
    assert_eq!(adopted["revocations"], 1);
    assert_eq!(adopted["left_out"], serde_json::json!([]));
    assert_eq!(statuses(&installation, "old"), ["live"]);
    assert_eq!(statuses(&installation, "stolen"), ["revoked"]);
    installation.ok(&["audit", "verify"]);

    let new = installation.issue("client", "new", &[]);
    let lists = installation.path("all.crl");
    installation.ok(&["ca", "crl", "--out", text(&lists)]);
    let root = installation.state().join("ca.pem");
    let verified = ca.verify(&root, &lists, &new.certificate());
    assert_eq!(verified.code, Some(0), "{verified:#?}");
    let (old, stolen) = (chained(&ca, "old"), chained(&ca, "stolen"));
    let verified = ca.verify(&root, &lists, old.as_ref());
    assert_eq!(verified.code, Some(0), "{verified:#?}");
    let verified = ca.verify(&root, &lists, stolen.as_ref());
    assert!(
        verified.all().contains("certificate revoked"),
        "{verified:#?}"
    );
    // openssl's number was 42.
    let list = &pem::decode_all(&fs::read(&lists).expect("readable")).expect("PEM")[0].der;
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
    installation.ok(&["ca", "crl", "--out", text(&lists)]);
    let verified = ca.verify(root.as_ref(), &lists, old.as_ref());
    assert!(
        verified.all().contains("certificate revoked"),
        "{verified:#?}"
    );
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
        let installation = Installation::empty();
        let Some(ca) = OpensslCa::new(test, &installation, Kinds { root, issuing }) else {
            return;
        };
        installation.ok(&[
            "ca",
            "adopt",
            "--intermediate",
            &ca.file("int.pem"),
            "--key",
            &ca.file("int.key"),
            "--root",
            &ca.file("root.pem"),
            "--root-key",
            &ca.file("root.key"),
        ]);
        let server = installation.issue("server", "api.example.com", &[]);
        // The root signs again, too.
        installation.ok(&["ca", "crl", "--root"]);
        let lists = installation.path("all.crl");
        installation.ok(&["ca", "crl", "--out", text(&lists)]);
        let root = installation.state().join("ca.pem");
        let verified = ca.verify(&root, &lists, &server.certificate());
        assert_eq!(verified.code, Some(0), "{issuing:?}: {verified:#?}");
    }
}

#[test]
fn root_alone_gets_an_issuing_ca_and_what_it_issued_itself_stays_good() {
    let test = "root_alone_gets_an_issuing_ca_and_what_it_issued_itself_stays_good";
    let installation = Installation::empty();
    let Some(ca) = OpensslCa::bare(test, &installation) else {
        return;
    };
    ca.root("root", RSA2048, "root");
    ca.issued("direct", P256, "root", "client", "/CN=direct");
    installation.ok(&[
        "ca",
        "adopt",
        "--root",
        &ca.file("root.pem"),
        "--root-key",
        &ca.file("root.key"),
        "--issued",
        &ca.file("direct.pem"),
    ]);
    let new = installation.issue("client", "new", &[]);
    let lists = installation.path("all.crl");
    installation.ok(&["ca", "crl", "--out", text(&lists)]);
    let root = installation.state().join("ca.pem");
    for chain in [new.certificate(), ca.path("direct.pem")] {
        let verified = ca.verify(&root, &lists, &chain);
        assert_eq!(verified.code, Some(0), "{verified:#?}");
    }
    // What the root issued is on the root's list.
    installation.ok(&["revoke", "direct"]);
    let status = installation.run(&["status"]);
    assert!(
        status
            .stdout
            .contains("the CRL of CN=Old Root,O=Old Corp does not show all that is revoked"),
        "{status:#?}"
    );
    installation.ok(&["ca", "crl", "--root"]);
    installation.ok(&["ca", "crl", "--out", text(&lists)]);
    let verified = ca.verify(&root, &lists, &ca.path("direct.pem"));
    assert!(
        verified.all().contains("certificate revoked"),
        "{verified:#?}"
    );
}

#[test]
fn encrypted_keys_and_pkcs12_are_opened() {
    let test = "encrypted_keys_and_pkcs12_are_opened";
    let kinds = Kinds {
        root: P256,
        issuing: P256,
    };
    let adopt = |ca: &OpensslCa, installation: &Installation, arguments: &[&str]| {
        let (root, password) = (ca.file("root.pem"), ca.file("password"));
        let fixed = [
            "ca",
            "adopt",
            "--root",
            &root,
            "--in-password-file",
            &password,
        ];
        let answer = installation.run(&[&fixed, arguments].concat());
        assert_eq!(answer.code, Some(0), "{answer:#?}");
        installation.issue("client", "you", &[]);
    };
    let prepared = || {
        let installation = Installation::empty();
        let ca = OpensslCa::new(test, &installation, kinds)?;
        ca.write("password", "correct horse\n");
        Some((installation, ca))
    };
    // As step-ca keeps its intermediate's key, but for the scrypt that it may use: PBES2.
    let Some((installation, ca)) = prepared() else {
        return;
    };
    ca.ok(&[
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
    let (intermediate, key) = (ca.file("int.pem"), ca.file("int.enc"));
    adopt(
        &ca,
        &installation,
        &["--intermediate", &intermediate, "--key", &key],
    );
    let Some((installation, ca)) = prepared() else {
        return;
    };
    ca.ok(&[
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
    adopt(&ca, &installation, &["--p12", &ca.file("int.p12")]);
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
        let installation = Installation::empty();
        let Some(ca) = OpensslCa::bare(test, &installation) else {
            return;
        };
        ca.root("root", P256, "root");
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
fn operators_of_an_adopted_authority_are_vouched_for_by_nobody_else() {
    let test = "operators_of_an_adopted_authority_are_vouched_for_by_nobody_else";
    let installation = Installation::empty();
    let kinds = Kinds {
        root: P256,
        issuing: P256,
    };
    let Some(ca) = OpensslCa::new(test, &installation, kinds) else {
        return;
    };
    installation.ok(&[
        "ca",
        "adopt",
        "--intermediate",
        &ca.file("int.pem"),
        "--key",
        &ca.file("int.key"),
        "--root",
        &ca.file("root.pem"),
    ]);
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
    let installation = Installation::empty();
    let kinds = Kinds {
        root: P256,
        issuing: P256,
    };
    let Some(ca) = OpensslCa::new(test, &installation, kinds) else {
        return;
    };
    ca.client("old");
    ca.client("stolen");
    ca.revoke("stolen");
    // One of another CA, one that is none, and those of the CA itself lie there, too.
    ca.root("stranger", P256, "root");
    for name in ["stranger.pem", "int.pem", "int.csr"] {
        let to = format!("newcerts/z-{name}");
        fs::copy(ca.path(name), ca.path(&to)).expect("copied");
    }
    let answer = installation.run(&[
        "ca",
        "adopt",
        "--intermediate",
        &ca.file("int.pem"),
        "--key",
        &ca.file("int.key"),
        "--root",
        &ca.file("root.pem"),
        "--issued",
        &ca.file("newcerts"),
        "--index",
        &ca.file("index.txt"),
    ]);
    assert_eq!(answer.code, Some(0), "{answer:#?}");
    for left_out in ["z-stranger.pem is left out", "z-int.csr"] {
        assert!(answer.stderr.contains(left_out), "{answer:#?}");
    }
    assert!(!answer.stderr.contains("z-int.pem"), "{answer:#?}");
    let listed = installation.certificates(&[]);
    assert_eq!(listed.len(), 2, "{listed:#?}");
    assert_eq!(statuses(&installation, "stolen"), ["revoked"]);
    let shown = installation.json(&["show", "stolen"]);
    let shown = &array(&shown["certificates"])[0];
    assert_eq!(shown["revocation"]["reason"], "key-compromise");
}
