//! Who refuses what an adopted CA issues: said before anything is issued, and true of OpenSSL and Python as they are here.

use std::process::Command;

use serde_json::Value;

use super::openssl_ca::P521;
use super::scene::{ISSUING, Kinds, NOTHING_REVOKED, Scene};
use crate::installation::{Answer, text};
use crate::peers::peer;

const STRICT: &str = "Python from 3.13 on, and OpenSSL with -x509_strict";

#[test]
fn strict_clients_are_foretold_as_they_judge() {
    let test = "strict_clients_are_foretold_as_they_judge";
    // Sections of the root and of the issuing CA; what is missed, in which; OpenSSL's number for it.
    for (root, issuing, missed) in [
        ("root", "sub", None),
        (
            "root",
            "lax",
            Some((
                "CN=Old Issuing CA",
                "basicConstraints that are critical",
                "89",
            )),
        ),
        (
            "lax_root",
            "sub",
            Some(("CN=Old Root", "basicConstraints that are critical", "89")),
        ),
        (
            "root",
            "no_usage",
            Some(("CN=Old Issuing CA", "a keyUsage", "92")),
        ),
        (
            "no_usage_root",
            "sub",
            Some(("CN=Old Root", "a keyUsage", "92")),
        ),
        (
            "root",
            "no_subject_key",
            Some(("CN=Old Issuing CA", "a subjectKeyIdentifier", "86")),
        ),
        (
            "root",
            "no_authority_key",
            Some(("CN=Old Issuing CA", "an authorityKeyIdentifier", "85")),
        ),
    ] {
        let Some(scene) = Scene::bare(test) else {
            return;
        };
        scene.ca.root("root", Kinds::P256.root, root);
        scene
            .ca
            .issued("int", Kinds::P256.issuing, "root", issuing, ISSUING);
        check_strict(&scene, test, missed);
    }
}

#[track_caller]
fn check_strict(scene: &Scene, test: &str, missed: Option<(&str, &str, &str)>) {
    let answer = scene.adopt_issuing(&[NOTHING_REVOKED]);
    assert_eq!(answer.code, Some(0), "{answer:#?}");
    let dry = ["issue", "server", "api.example.com", "--dry-run"];
    let told = scene.installation.json(&dry);
    let objections = told["objections"].as_array().expect("objections").clone();
    let server = scene.installation.issue("server", "api.example.com", &[]);
    let (root, chain) = (server.ca(), server.certificate());
    let verified = scene.ca.run(&[
        "verify",
        "-x509_strict",
        "-CAfile",
        text(&root),
        "-untrusted",
        text(&chain),
        text(&chain),
    ]);
    let python = python_strict(test, text(&root), text(&chain), text(&server.key()));
    let Some((whose, what, number)) = missed else {
        assert!(!answer.stderr.contains("refused by"), "{answer:#?}");
        assert_eq!(objections, Vec::<Value>::new());
        assert_eq!(verified.code, Some(0), "{verified:#?}");
        assert_eq!(python.as_deref().unwrap_or("accepted"), "accepted");
        return;
    };
    for words in ["warning: refused by", STRICT, whose, what] {
        assert!(answer.stderr.contains(words), "{words}: {answer:#?}");
    }
    assert_eq!(objections.len(), 1, "{objections:#?}");
    assert_eq!(objections[0]["client"], STRICT);
    let why = objections[0]["why"].as_str().expect("a sentence");
    assert!(why.contains(whose) && why.contains(what), "{why}");
    assert!(
        objections[0]["source"]
            .as_str()
            .is_some_and(|it| it.contains("openssl"))
    );
    assert_ne!(verified.code, Some(0), "{verified:#?}");
    let error = format!("error {number} at");
    assert!(verified.all().contains(&error), "{verified:#?}");
    assert_eq!(python.as_deref().unwrap_or(number), number);
}

#[test]
fn root_of_p_521_is_foretold_for_clients_without_that_curve() {
    let test = "root_of_p_521_is_foretold_for_clients_without_that_curve";
    let kinds = Kinds {
        root: P521,
        ..Kinds::P256
    };
    let Some(scene) = Scene::new(test, kinds) else {
        return;
    };
    let adopted = scene.adopted(&[NOTHING_REVOKED]);
    assert_eq!(adopted["objections"][0]["client"], "rustls with ring");
    assert_eq!(adopted["objections"][1], Value::Null);
    let told = scene
        .installation
        .ok(&["issue", "client", "you", "--dry-run"]);
    assert!(
        told.contains("CN=Old Root,O=Old Corp has a key of ECDSA P-521"),
        "{told}"
    );
}

/// How a client of Python's ssl module, with the flag that it sets from 3.13 on, ends a handshake with a server of this chain:
/// "accepted", or OpenSSL's number.
fn python_strict(test: &str, root: &str, chain: &str, key: &str) -> Option<String> {
    let python = peer(test, "python3")?;
    let answer = Answer::of(Command::new(python).args(["-c", HANDSHAKE, root, chain, key]));
    assert_eq!(answer.code, Some(0), "{answer:#?}");
    Some(answer.stdout.trim().to_owned())
}

const HANDSHAKE: &str = "
import ssl, sys
root, chain, key = sys.argv[1:]
here = ssl.create_default_context(cafile=root)
here.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
there = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
there.load_cert_chain(chain, key)
one, other = ssl.MemoryBIO(), ssl.MemoryBIO()
client = here.wrap_bio(one, other, server_hostname='api.example.com')
server = there.wrap_bio(other, one, server_side=True)
verdict = None
while verdict is None:
    try:
        client.do_handshake()
        verdict = 'accepted'
    except ssl.SSLWantReadError:
        try:
            server.do_handshake()
        except ssl.SSLWantReadError:
            pass
    except ssl.SSLCertVerificationError as error:
        verdict = error.verify_code
print(verdict)
";
