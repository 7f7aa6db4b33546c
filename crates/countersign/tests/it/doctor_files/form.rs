//! Files in the wrong form or the wrong place.

use std::fs;

use serde_json::Value;

use super::workshop;
use crate::json::array;

#[test]
fn files_in_the_wrong_form_are_told_from_those_that_only_look_unusual() {
    let Some(at) = workshop("files_in_the_wrong_form") else {
        return;
    };
    let pem = at.text("client.pem");
    let judge = |name: &str, contents: &[u8]| {
        at.write(name, contents);
        format!("--cert {name} --key client.key --client-ca root.pem")
    };
    let utf16 =
        |text: &str| -> Vec<u8> { text.encode_utf16().flat_map(u16::to_le_bytes).collect() };
    for (name, contents, cause) in [
        (
            "bom.pem",
            [b"\xef\xbb\xbf", pem.as_bytes()].concat(),
            "file-encoding",
        ),
        (
            "utf16.pem",
            [&b"\xff\xfe"[..], &utf16(&pem)].concat(),
            "file-encoding",
        ),
        ("utf16-no-mark.pem", utf16(&pem), "file-encoding"),
        (
            "old-mac.pem",
            pem.replace('\n', "\r").into_bytes(),
            "file-encoding",
        ),
        (
            "yaml.pem",
            pem.replace('\n', "\n  ")
                .replacen("-----", "  -----", 1)
                .into_bytes(),
            "file-not-pem",
        ),
        (
            "escaped.pem",
            pem.replace('\n', "\\n").into_bytes(),
            "file-not-pem",
        ),
        (
            "one-line.pem",
            pem.replace('\n', " ").into_bytes(),
            "file-not-pem",
        ),
        ("page.pem", b"<html>404</html>".to_vec(), "file-not-pem"),
        ("text.pem", b"see the wiki".to_vec(), "file-not-pem"),
        (
            "cut.pem",
            pem.as_bytes()[..200].to_vec(),
            "malformed-certificate",
        ),
        (
            "dashes.pem",
            pem.replace("-----BEGIN", "----BEGIN").into_bytes(),
            "file-not-pem",
        ),
        (
            "star.pem",
            pem.replacen("MII", "M*I", 1).into_bytes(),
            "malformed-certificate",
        ),
        ("empty.pem", Vec::new(), "file-missing"),
    ] {
        at.fault(&judge(name, &contents), cause);
    }
    for (name, contents) in [
        ("windows.pem", pem.replace('\n', "\r\n")),
        ("unended.pem", pem.trim_end().to_owned()),
        (
            "described.pem",
            format!("Bag Attributes\n    friendlyName: client\nsubject=CN = client\n{pem}"),
        ),
        (
            "old-label.pem",
            pem.replace(" CERTIFICATE", " X509 CERTIFICATE"),
        ),
        ("spaced.pem", pem.replace("-----\n", "-----\n\n")),
    ] {
        at.healthy(&judge(name, contents.as_bytes()));
    }
    at.openssl("x509 -in client.pem -text -out verbose.pem");
    at.healthy("--cert verbose.pem --key client.key --client-ca root.pem");
    at.openssl("x509 -in root.pem -trustout -addtrust clientAuth -out trusted.pem");
    at.healthy("--cert client.pem --key client.key --client-ca trusted.pem");
}

#[test]
fn glued_blocks_are_found_in_chains_and_bundles() {
    let Some(at) = workshop("glued_blocks") else {
        return;
    };
    let glue = |one: &str, other: &str, out: &str| {
        let glued = format!("{}{}", at.text(one).trim_end(), at.text(other));
        at.write(out, glued);
    };
    glue("leaf.pem", "inter.pem", "glued.pem");
    at.fault(
        "--cert glued.pem --key leaf.key --client-ca root.pem",
        "pem-glued",
    );
    glue("root.pem", "other.pem", "glued-ca.pem");
    at.fault(
        "--cert client.pem --key client.key --client-ca glued-ca.pem",
        "pem-glued",
    );
    at.join(&["other.pem", "root.pem"], "both-ca.pem");
    at.healthy("--cert client.pem --key client.key --client-ca both-ca.pem");
}

#[test]
fn what_is_no_pem_is_told_with_the_command_that_converts_it() {
    let Some(at) = workshop("what_is_no_pem") else {
        return;
    };
    at.openssl("x509 -in client.pem -outform DER -out client.der");
    at.openssl("x509 -in root.pem -outform DER -out root.der");
    at.openssl("pkey -in client.key -outform DER -out key.der");
    at.openssl("crl2pkcs7 -nocrl -certfile chain.pem -out chain.p7b");
    at.openssl("crl2pkcs7 -nocrl -certfile chain.pem -outform DER -out chain-der.p7b");
    at.openssl("base64 -A -in client.der -out client.b64");
    for line in [
        "--cert client.der --key client.key --client-ca root.pem",
        "--cert client.pem --key client.key --client-ca root.der",
        "--cert client.pem --key key.der --client-ca root.pem",
        "--cert chain.p7b --key leaf.key --client-ca root.pem",
        "--cert chain-der.p7b --key leaf.key --client-ca root.pem",
        "--cert client.b64 --key client.key",
    ] {
        at.fault(line, "file-not-pem");
    }
    let (_, answer) = at.answer(&["--cert", "client.der", "--key", "client.key"]);
    let fix = array(&answer["findings"][0]["fix"]);
    let command = "openssl x509 -inform DER -in client.der -out converted.pem";
    assert!(fix.contains(&Value::from(command)), "{answer:#}");
}

#[test]
fn files_in_the_wrong_place_are_found() {
    let Some(at) = workshop("files_in_the_wrong_place") else {
        return;
    };
    at.fault(
        "--cert client.key --key client.pem --client-ca root.pem",
        "files-swapped",
    );
    at.fault(
        "--cert client.csr --key client.key --client-ca root.pem",
        "file-is-csr",
    );
    at.fault("--cert missing.pem --key client.key", "file-missing");
    at.fault("--cert . --key client.key", "file-missing");
    at.fault("--cert client.pem --key missing.key", "file-missing");
    at.write("empty.pem", "");
    at.write("comment.pem", "# the CA goes here\n");
    fs::create_dir(at.path().join("hashed")).expect("a folder");
    for bundle in ["empty.pem", "comment.pem", "hashed"] {
        at.fault(
            &format!("--cert client.pem --key client.key --client-ca {bundle}"),
            "trust-bundle-empty",
        );
    }
    fs::copy(
        at.path().join("root.pem"),
        at.path().join("hashed/5ed36f99.0"),
    )
    .expect("a copy");
    at.healthy("--cert client.pem --key client.key --client-ca hashed");
    // Whatever else is at hand is no fault of the set-up.
    at.healthy("--cert client.pem --key client.key --client-ca root.pem --file missing.conf --file client.csr");
    at.join(&["client.pem", "client.key"], "both.pem");
    at.healthy("--cert both.pem --client-ca root.pem");
    at.healthy("--cert both.pem --key both.pem --client-ca root.pem");
}

#[test]
fn a_pipe_is_not_waited_for() {
    let Some(at) = workshop("a_pipe") else { return };
    rustix::fs::mknodat(
        rustix::fs::CWD,
        at.path().join("pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .expect("a pipe");
    at.fault("--cert pipe --key client.key", "file-missing");
}
