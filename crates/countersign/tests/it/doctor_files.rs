//! `countersign doctor` on files alone: what is wrong is named first, and what only looks so is not.
//!
//! Each fault stands beside healthy set-ups that resemble it.

mod workshop;

use std::fs::{self, File, FileTimes, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use self::workshop::{CA, CLIENT, SERVER, Workshop};
use crate::installation::countersign;
use crate::json::array;
use crate::peers::peer;

fn workshop(test: &str) -> Option<Workshop> {
    peer(test, "openssl").map(Workshop::new)
}

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
            "malformed-certificate",
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

#[test]
fn keys_are_opened_where_they_can_be_and_never_shown() {
    let Some(at) = workshop("keys_are_opened") else {
        return;
    };
    at.write("right", "correct horse\n");
    at.write("wrong", "battery staple\n");
    at.openssl_words(&[
        "pkey",
        "-in",
        "client.key",
        "-aes256",
        "-passout",
        "file:right",
        "-out",
        "modern.key",
    ]);
    at.openssl_words(&[
        "ec",
        "-in",
        "client.key",
        "-aes128",
        "-passout",
        "file:right",
        "-out",
        "old.key",
    ]);
    let line = |key: &str, more: &str| {
        format!("--cert client.pem --key {key} --client-ca root.pem {more}")
    };
    at.fault(&line("modern.key", ""), "key-encrypted");
    at.fault(&line("old.key", ""), "key-encrypted");
    at.fault(
        &line("modern.key", "--password-file wrong"),
        "key-password-wrong",
    );
    at.healthy(&line("modern.key", "--password-file right"));
    at.healthy(&line("old.key", "--password-file right"));
    at.healthy(&line("client.key", "--password-file right"));

    at.key("rsa", "rsa:2048");
    at.certify("rsa", "/CN=rsa", "root", CLIENT, "-days 9");
    at.openssl("rsa -in rsa.key -traditional -out pkcs1.key");
    at.healthy("--cert rsa.pem --key pkcs1.key --client-ca root.pem");
    at.openssl("ecparam -name prime256v1 -genkey -out parameters.key");
    at.join(&["parameters.key"], "sec1.key");
    at.certify("sec1", "/CN=sec1", "root", CLIENT, "-days 9");
    assert!(at.text("sec1.key").starts_with("-----BEGIN EC PARAMETERS"));
    at.healthy("--cert sec1.pem --key sec1.key --client-ca root.pem");

    let all = countersign(
        at.path(),
        &[
            "doctor",
            "--json",
            "--cert",
            "client.pem",
            "--key",
            "client.key",
            "--verbose",
        ],
    );
    let secret = at.text("client.key");
    let body: Vec<_> = secret
        .lines()
        .filter(|line| !line.starts_with('-'))
        .collect();
    assert!(
        body.iter().all(|line| !all.stdout.contains(line)),
        "{all:#?}"
    );
}

#[test]
fn permissions_of_keys_are_looked_at() {
    let Some(at) = workshop("permissions_of_keys") else {
        return;
    };
    let set = |mode: u32| {
        let path = at.path().join("client.key");
        fs::set_permissions(path, Permissions::from_mode(mode)).expect("our file");
    };
    let line = "--cert client.pem --key client.key --client-ca root.pem";
    set(0o644);
    at.risk(line, "key-permissions");
    set(0o640);
    at.healthy(line);
    set(0o200);
    at.fault(line, "key-permissions");
}

#[test]
fn keystores_hold_key_and_chain_in_one() {
    let Some(at) = workshop("keystores") else {
        return;
    };
    at.write("right", "correct horse\n");
    at.write("wrong", "battery staple\n");
    let export = |out: &str, more: &[&str]| {
        let words = [
            "pkcs12",
            "-export",
            "-in",
            "leaf.pem",
            "-certfile",
            "inter.pem",
            "-inkey",
            "leaf.key",
            "-passout",
            "file:right",
            "-out",
            out,
        ];
        at.openssl_words(&[&words, more].concat());
    };
    export("modern.p12", &[]);
    export("legacy.p12", &["-legacy"]);
    export(
        "triple.p12",
        &["-certpbe", "PBE-SHA1-3DES", "-keypbe", "PBE-SHA1-3DES"],
    );
    at.healthy("--cert modern.p12 --password-file right --client-ca root.pem");
    at.fault(
        "--cert modern.p12 --password-file wrong",
        "key-password-wrong",
    );
    at.fault("--cert modern.p12", "key-encrypted");
    at.fault(
        "--cert modern.p12 --password-file right --client-ca other.pem",
        "client-ca-not-trusted",
    );
    at.fault(
        "--cert modern.p12 --key leaf.key --password-file right",
        "file-not-pem",
    );
    at.fault("--cert legacy.p12 --password-file right", "pkcs12-legacy");
    at.fault("--cert legacy.p12", "pkcs12-legacy");
    at.fault("--cert triple.p12 --password-file right", "pkcs12-legacy");
}

#[test]
fn a_key_of_another_certificate_is_told_from_half_a_rotation() {
    let Some(at) = workshop("a_key_of_another_certificate") else {
        return;
    };
    at.fault(
        "--cert client.pem --key server.key --client-ca root.pem",
        "key-cert-mismatch",
    );
    at.issue("renewed", "/O=Acme/CN=client", "root", CLIENT);
    let line = "--cert renewed.pem --key client.key --client-ca root.pem";
    at.fault(line, "key-cert-mismatch");
    at.fault(
        &format!("{line} --file client.pem"),
        "rotation-half-applied",
    );
    // Another's certificate says nothing of a rotation.
    at.issue(
        "stranger",
        "/CN=stranger",
        "root",
        "basicConstraints=CA:FALSE\n",
    );
    at.fault(
        "--cert renewed.pem --key stranger.key --client-ca root.pem --file stranger.pem",
        "key-cert-mismatch",
    );
    let old = SystemTime::now() - Duration::from_hours(24 * 90);
    let key = File::options()
        .write(true)
        .open(at.path().join("client.key"))
        .expect("our file");
    key.set_times(FileTimes::new().set_modified(old))
        .expect("our file");
    at.fault(line, "rotation-half-applied");
    // A renewal may keep its key, however old.
    at.certify("client", "/O=Acme/CN=client", "root", CLIENT, "-days 100");
    at.healthy("--cert client.pem --key client.key --client-ca root.pem");
}

#[test]
fn chains_are_judged_by_what_the_other_side_trusts() {
    let Some(at) = workshop("chains_are_judged") else {
        return;
    };
    let trust = "--key leaf.key --client-ca root.pem";
    at.healthy(&format!("--cert chain.pem {trust}"));
    at.fault(
        &format!("--cert leaf.pem {trust} --file inter.pem"),
        "chain-missing-intermediate",
    );
    at.fault(
        &format!("--cert leaf.pem {trust}"),
        "chain-missing-intermediate",
    );
    at.join(&["leaf.pem", "root.pem"], "gap.pem");
    at.fault(
        &format!("--cert gap.pem {trust}"),
        "chain-missing-intermediate",
    );
    at.join(&["inter.pem", "leaf.pem"], "reversed.pem");
    at.fault(&format!("--cert reversed.pem {trust}"), "chain-wrong-order");
    at.fault("--cert reversed.pem --key leaf.key", "chain-wrong-order");
    // A root that is sent along, in whatever place, harms nobody.
    at.join(&["leaf.pem", "root.pem", "inter.pem"], "with-root.pem");
    at.healthy(&format!("--cert with-root.pem {trust}"));
    at.healthy("--cert leaf.pem --key leaf.key");

    at.fault(
        "--cert chain.pem --key leaf.key --client-ca inter.pem",
        "trust-anchor-is-intermediate",
    );
    at.join(&["root.pem", "inter.pem"], "both.pem");
    at.healthy("--cert leaf.pem --key leaf.key --client-ca both.pem");
    at.fault(
        "--cert client.pem --key client.key --client-ca other.pem",
        "client-ca-not-trusted",
    );
    at.fault(
        "--server-cert server.pem --ca other.pem --name api.example",
        "server-ca-not-trusted",
    );
    at.healthy("--cert client.pem --key client.key --ca other.pem");
}

#[test]
fn generations_of_a_ca_are_told_from_namesakes() {
    let Some(at) = workshop("generations_of_a_ca") else {
        return;
    };
    let line = "--cert client.pem --key client.key --client-ca";
    at.root("again", "/O=Acme/CN=Acme Root CA");
    at.fault(&format!("{line} again.pem"), "same-name-different-key-ca");
    at.join(&["again.pem", "root.pem"], "both.pem");
    at.healthy(&format!("{line} both.pem"));
    at.root("second", "/O=Acme/CN=Acme Root CA G2");
    at.fault(&format!("{line} second.pem"), "ca-rotated-without-overlap");
    at.issue("renewed", "/O=Acme/CN=client", "other", CLIENT);
    let renewed = "--cert renewed.pem --key renewed.key --client-ca root.pem";
    at.fault(renewed, "client-ca-not-trusted");
    at.fault(
        &format!("{renewed} --file client.pem"),
        "ca-rotated-without-overlap",
    );
    // The CA's certificate renewed with its key: what names no serial number still stands.
    at.write("renewed-ca.ext", format!("{CA}subjectKeyIdentifier=hash\n"));
    at.openssl("x509 -x509toreq -in root.pem -signkey root.key -out root.csr");
    at.openssl("x509 -req -in root.csr -signkey root.key -out root-renewed.pem -days 4000 -extfile renewed-ca.ext");
    at.healthy(&format!("{line} root-renewed.pem"));
    at.key("bound", "ec:P-256");
    at.openssl("req -new -key bound.key -subj /CN=bound -out bound.csr");
    at.write("bound.ext", "authorityKeyIdentifier=keyid,issuer:always\n");
    at.openssl("x509 -req -in bound.csr -CA root.pem -CAkey root.key -CAcreateserial -out bound.pem -extfile bound.ext");
    at.healthy("--cert bound.pem --key bound.key --client-ca root.pem");
    at.fault(
        "--cert bound.pem --key bound.key --client-ca root-renewed.pem",
        "aki-mismatch",
    );
}

#[test]
fn issuers_that_may_not_issue_are_found() {
    let Some(at) = workshop("issuers_that_may_not_issue") else {
        return;
    };
    let below = |name: &str, extensions: &str, leaf: &str| {
        at.issue(name, &format!("/O=Acme/CN={name}"), "root", extensions);
        let of = format!("{name}-leaf");
        at.issue(&of, "/O=Acme/CN=leaf", name, leaf);
        at.join(
            &[&format!("{of}.pem"), &format!("{name}.pem")],
            &format!("{name}-chain.pem"),
        );
        format!("--cert {name}-chain.pem --key {of}.key --client-ca root.pem")
    };
    let line = below("no-ca", "basicConstraints=CA:FALSE\n", CLIENT);
    at.fault(&line, "issuer-not-a-ca");
    let line = below(
        "no-sign",
        "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,cRLSign\n",
        CLIENT,
    );
    at.fault(&line, "issuer-cannot-sign");
    let line = below(
        "servers",
        &format!("{CA}extendedKeyUsage=serverAuth\n"),
        CLIENT,
    );
    at.fault(&line, "issuer-eku-excludes-purpose");
    let line = below(
        "both",
        &format!("{CA}extendedKeyUsage=serverAuth,clientAuth\n"),
        CLIENT,
    );
    at.healthy(&line);
    let line = below(
        "bounded",
        &format!("{CA}nameConstraints=critical,permitted;DNS:elsewhere.example\n"),
        CLIENT,
    );
    at.fault(&line, "name-constraints-violated");
    let line = below(
        "allowed",
        &format!("{CA}nameConstraints=critical,permitted;DNS:client.example\n"),
        CLIENT,
    );
    at.healthy(&line);
    let line = below(
        "dotted",
        &format!("{CA}nameConstraints=critical,permitted;DNS:.example\n"),
        CLIENT,
    );
    at.healthy(&line);
    at.issue(
        "short",
        "/O=Acme/CN=short",
        "root",
        &CA.replace("CA:TRUE", "CA:TRUE,pathlen:0"),
    );
    at.issue("deep", "/O=Acme/CN=deep", "short", CA);
    at.issue("deep-leaf", "/CN=deep", "deep", CLIENT);
    at.join(
        &["deep-leaf.pem", "deep.pem", "short.pem"],
        "deep-chain.pem",
    );
    at.fault(
        "--cert deep-chain.pem --key deep-leaf.key --client-ca root.pem",
        "pathlen-exceeded",
    );
}

#[test]
fn times_are_judged_along_the_whole_path() {
    let Some(at) = workshop("times_are_judged") else {
        return;
    };
    let past = ("20200101000000Z", "20240101000000Z");
    let future = ("20900101000000Z", "20910101000000Z");
    at.dated("expired", "/CN=expired", "root", "client", past);
    at.dated("early", "/CN=early", "root", "client", future);
    at.fault(
        "--cert expired.pem --key expired.key --client-ca root.pem",
        "leaf-expired",
    );
    at.fault("--cert expired.pem --key expired.key", "leaf-expired");
    at.fault(
        "--cert early.pem --key early.key --client-ca root.pem",
        "not-yet-valid",
    );
    at.dated("old-root", "/O=Old/CN=Old Root", "old-root", "root", past);
    at.issue("below", "/CN=below", "old-root", CLIENT);
    at.fault(
        "--cert below.pem --key below.key --client-ca old-root.pem",
        "root-expired",
    );
    at.dated(
        "old-issuing",
        "/O=Acme/CN=Old Issuing",
        "root",
        "issuing",
        past,
    );
    at.issue("under", "/CN=under", "old-issuing", CLIENT);
    at.join(&["under.pem", "old-issuing.pem"], "old-chain.pem");
    at.fault(
        "--cert old-chain.pem --key under.key --client-ca root.pem",
        "intermediate-expired",
    );
    at.fault(
        "--cert old-chain.pem --key under.key",
        "intermediate-expired",
    );
    // An expired CA beside a good one.
    at.join(&["old-root.pem", "root.pem"], "mixed.pem");
    at.healthy("--cert client.pem --key client.key --client-ca mixed.pem");
    // When even the root is not valid yet, it is this machine's clock.
    at.dated("new-root", "/O=New/CN=New Root", "new-root", "root", future);
    at.dated("of-new", "/O=New/CN=new", "new-root", "client", future);
    at.fault(
        "--cert of-new.pem --key of-new.key --client-ca new-root.pem",
        "clock-skew-local",
    );
}

#[test]
fn purposes_keys_and_versions_are_judged() {
    let Some(at) = workshop("purposes_keys_and_versions") else {
        return;
    };
    let client = |name: &str, extensions: &str| {
        at.issue(name, "/CN=x", "root", extensions);
        format!("--cert {name}.pem --key {name}.key --client-ca root.pem")
    };
    at.fault(&client("of-server", SERVER), "eku-missing-clientauth");
    at.fault(
        "--server-cert client.pem --server-key client.key --ca root.pem --name client.example",
        "eku-missing-serverauth",
    );
    at.healthy(&client("no-purpose", "basicConstraints=CA:FALSE\n"));
    at.healthy(&client(
        "both",
        "basicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth,clientAuth\n",
    ));
    at.fault(
        &client(
            "no-sign",
            "keyUsage=keyEncipherment\nextendedKeyUsage=clientAuth\n",
        ),
        "keyusage-missing-digitalsignature",
    );
    at.fault(
        &client("unknown", "1.2.3.4=critical,ASN1:UTF8String:x\n"),
        "malformed-certificate",
    );

    at.key("weak", "rsa:1024");
    at.certify("weak", "/CN=weak", "root", CLIENT, "-days 9");
    at.fault(
        "--cert weak.pem --key weak.key --client-ca root.pem",
        "weak-key",
    );
    at.key("sha1", "rsa:2048");
    at.certify("sha1", "/CN=sha1", "root", CLIENT, "-days 9 -sha1");
    at.fault(
        "--cert sha1.pem --key sha1.key --client-ca root.pem",
        "weak-signature",
    );
    at.key("old", "ec:P-256");
    at.certify("old", "/CN=old", "root", "", "-days 9");
    at.fault(
        "--cert old.pem --key old.key --client-ca root.pem",
        "x509-v1",
    );
    for serial in ["0", "-5", "0x123456789012345678901234567890123456789012"] {
        at.certify(
            "old",
            "/CN=serial",
            "root",
            CLIENT,
            &format!("-days 9 -set_serial {serial}"),
        );
        at.fault(
            "--cert old.pem --key old.key --client-ca root.pem",
            "bad-serial",
        );
    }
}

#[test]
fn self_signed_certificates_are_judged_by_what_they_are() {
    let Some(at) = workshop("self_signed") else {
        return;
    };
    at.self_signed(
        "ca",
        "/CN=localhost",
        "ec:P-256",
        &["subjectAltName=DNS:localhost"],
    );
    at.self_signed(
        "leaf-only",
        "/CN=localhost",
        "ec:P-256",
        &["subjectAltName=DNS:localhost", "basicConstraints=CA:FALSE"],
    );
    let line = |name: &str, trust: &str| {
        format!(
            "--server-cert {name}.pem --server-key {name}.key --ca {trust}.pem --name localhost"
        )
    };
    at.fault(&line("ca", "ca"), "ca-used-as-end-entity");
    at.healthy(&line("leaf-only", "leaf-only"));
    at.fault(&line("leaf-only", "root"), "server-ca-not-trusted");
}

#[test]
fn names_are_looked_for_as_clients_do() {
    let Some(at) = workshop("names_are_looked_for") else {
        return;
    };
    let server = |name: &str| {
        format!("--server-cert server.pem --server-key server.key --ca root.pem --name {name}")
    };
    for name in [
        "api.example",
        "API.Example.",
        "x.w.example",
        "10.0.0.1",
        "::1",
        "[::1]",
        "0:0:0:0:0:0:0:1",
    ] {
        at.healthy(&server(name));
    }
    at.fault(&server("other.example"), "name-mismatch");
    at.fault(&server("a.b.w.example"), "wildcard-mismatch");
    at.fault(&server("w.example"), "wildcard-mismatch");
    at.fault(&server("10.0.0.2"), "ip-san-missing");
    at.issue(
        "in-cn",
        "/CN=api.example",
        "root",
        "extendedKeyUsage=serverAuth\n",
    );
    at.fault(
        "--server-cert in-cn.pem --ca root.pem --name api.example",
        "san-missing",
    );
    at.issue("in-dns", "/CN=x", "root", "subjectAltName=DNS:10.0.0.1\n");
    at.fault(
        "--server-cert in-dns.pem --ca root.pem --name 10.0.0.1",
        "ip-san-missing",
    );
}

#[test]
fn revocation_lists_are_asked_and_judged() {
    let Some(at) = workshop("revocation_lists") else {
        return;
    };
    let line = |list: &str| {
        format!("--cert client.pem --key client.key --client-ca root.pem --crl {list}")
    };
    at.list("good.crl", "root", None, "-crldays 30");
    at.healthy(&line("good.crl"));
    at.list("revoked.crl", "root", Some("client"), "-crldays 30");
    at.fault(&line("revoked.crl"), "certificate-revoked");
    at.list(
        "stale.crl",
        "root",
        None,
        "-crl_lastupdate 20240101000000Z -crl_nextupdate 20240201000000Z",
    );
    at.fault(&line("stale.crl"), "crl-expired");
    at.list("other.crl", "other", None, "-crldays 30");
    at.fault(&line("other.crl"), "crl-wrong-issuer");
    at.openssl("crl -in good.crl -outform DER -out good.der");
    at.healthy(&line("good.der"));
    let mut broken = at.bytes("good.der");
    *broken.last_mut().expect("bytes") ^= 1;
    at.write("broken.der", broken);
    at.fault(&line("broken.der"), "crl-bad-signature");
    at.fault(&line("root.pem"), "crl-missing");

    at.list("inter.crl", "inter", None, "-crldays 30");
    let chain = "--cert chain.pem --key leaf.key --client-ca root.pem";
    at.fault(&format!("{chain} --crl inter.crl"), "crl-missing");
    at.fault(&format!("{chain} --crl good.crl"), "crl-missing");
    at.healthy(&format!("{chain} --crl good.crl --crl inter.crl"));
}

#[test]
fn the_policy_is_asked_as_it_is_written() {
    let Some(at) = workshop("the_policy_is_asked") else {
        return;
    };
    let ask = |name: &str, allow: &str| {
        let (certificate, key) = (format!("{name}.pem"), format!("{name}.key"));
        let line = [
            "--cert",
            &certificate,
            "--key",
            &key,
            "--client-ca",
            "root.pem",
            "--allow",
            allow,
        ];
        line.map(str::to_owned).to_vec()
    };
    let healthy = |name: &str, allow: &str| {
        let line = ask(name, allow);
        at.healthy_of(&line.iter().map(String::as_str).collect::<Vec<_>>());
    };
    let fault = |name: &str, allow: &str, cause: &str| {
        let line = ask(name, allow);
        at.fault_of(&line.iter().map(String::as_str).collect::<Vec<_>>(), cause);
    };
    for allow in [
        "cn:client",
        "client",
        "dns:client.example",
        "dns:*.example",
        "CN=client,O=Acme",
        "dn:CN=client, O=Acme",
    ] {
        healthy("client", allow);
    }
    for allow in [
        "/O=Acme/CN=client",
        "O = Acme, CN = client",
        "dn:O=Acme,CN=client",
        "CN=Client,O=ACME",
    ] {
        fault("client", allow, "dn-format-mismatch");
    }
    for allow in [
        "cn:other",
        "dns:other.example",
        "CN=client,O=Other",
        "spiffe://acme.example/client",
    ] {
        fault("client", allow, "identity-not-allowed");
    }
    let id = "spiffe://acme.example/ns/a";
    at.issue(
        "workload",
        "/CN=w",
        "root",
        &format!("extendedKeyUsage=clientAuth\nsubjectAltName=URI:{id}\n"),
    );
    healthy("workload", id);
    healthy("workload", "spiffe://acme.example/ns/*");
    fault(
        "workload",
        "spiffe://acme.example/ns/b",
        "identity-not-allowed",
    );
    fault(
        "workload",
        "spiffe://stage.example/ns/a",
        "trust-domain-mismatch",
    );
    at.issue(
        "twofold",
        "/CN=w",
        "root",
        &format!("extendedKeyUsage=clientAuth\nsubjectAltName=URI:{id},URI:{id}b\n"),
    );
    fault("twofold", id, "identity-ambiguous");
}

#[test]
fn configurations_of_servers_are_read() {
    let Some(at) = workshop("configurations_of_servers") else {
        return;
    };
    at.issue("lower", "/O=Acme/CN=Lower Issuing CA", "inter", CA);
    at.issue("low", "/CN=low", "lower", CLIENT);
    at.join(&["low.pem", "lower.pem", "inter.pem"], "low-chain.pem");
    let nginx = |verify: &str, more: &str| {
        format!(
            "server {{\n  ssl_certificate s.pem;\n  ssl_verify_client {verify};\n  {more}\n}}\n"
        )
    };
    at.write("nginx.conf", nginx("on", "ssl_verify_depth 1;"));
    at.write("nginx-default.conf", nginx("on", ""));
    at.write("nginx-deep.conf", nginx("on", "ssl_verify_depth 3;"));
    at.write(
        "nginx-optional.conf",
        nginx("optional", "ssl_verify_depth 3;"),
    );
    at.write("nginx-off.conf", nginx("off", "# ssl_verify_client on;"));
    at.write("nginx-tls.conf", nginx("on", "ssl_protocols TLSv1.3;"));
    at.write(
        "apache.conf",
        "SSLEngine on\nSSLVerifyClient require\nSSLVerifyDepth 1\n",
    );
    at.write(
        "envoy.yaml",
        "common_tls_context:\n  max_verify_depth: 1\nrequire_client_certificate: true\n",
    );
    at.write(
        "haproxy.cfg",
        "frontend f\n  bind :443 ssl crt a ca-file b verify optional\n",
    );
    let long = "--cert low-chain.pem --key low.key --client-ca root.pem --file";
    for file in [
        "nginx.conf",
        "nginx-default.conf",
        "apache.conf",
        "envoy.yaml",
    ] {
        at.fault(&format!("{long} {file}"), "verify-depth-too-small");
        at.healthy(&format!(
            "--cert chain.pem --key leaf.key --client-ca root.pem --file {file}"
        ));
    }
    at.healthy(&format!("{long} nginx-deep.conf"));
    let short = "--cert client.pem --key client.key --client-ca root.pem";
    for file in ["nginx-optional.conf", "haproxy.cfg"] {
        at.fault(
            &format!("{short} --file {file} --expect-enforced"),
            "client-auth-not-enforced",
        );
        at.healthy(&format!("{short} --file {file}"));
    }
    at.fault(
        &format!("{short} --file nginx-off.conf --expect-enforced"),
        "client-cert-not-requested",
    );
    at.healthy(&format!("{short} --file nginx-deep.conf --expect-enforced"));
    at.fault(
        &format!("{short} --file nginx-tls.conf --max-tls 1.2"),
        "tls-version-mismatch",
    );
    at.healthy(&format!("{short} --file nginx-tls.conf --min-tls 1.2"));
}

#[test]
fn strict_verifiers_want_more() {
    let Some(at) = workshop("strict_verifiers") else {
        return;
    };
    at.self_signed(
        "lax",
        "/CN=Lax CA",
        "ec:P-256",
        &["basicConstraints=CA:TRUE"],
    );
    at.issue("of-lax", "/CN=l", "lax", CLIENT);
    let line = "--cert of-lax.pem --key of-lax.key --client-ca lax.pem";
    at.healthy(line);
    at.fault(&format!("{line} --strict"), "ca-extensions-incomplete");
    at.healthy("--cert chain.pem --key leaf.key --client-ca root.pem --strict");
}

#[test]
fn the_answer_for_people_begins_with_the_verdict_and_fits_a_terminal() {
    let Some(at) = workshop("the_answer_for_people") else {
        return;
    };
    let line = [
        "doctor",
        "--cert",
        "leaf.pem",
        "--key",
        "leaf.key",
        "--client-ca",
        "root.pem",
        "--file",
        "inter.pem",
    ];
    let answer = countersign(at.path(), &line);
    assert_eq!(answer.code, Some(1), "{answer:#?}");
    let first = answer.stdout.lines().next();
    assert_eq!(first, Some("fault: chain-missing-intermediate (client)"));
    assert!(
        answer.stdout.contains("cat leaf.pem inter.pem > chain.pem"),
        "{answer:#?}"
    );
    let is_wide = |line: &&str| line.chars().count() > 80;
    assert_eq!(answer.stdout.lines().find(is_wide), None);
    assert!(!answer.stdout.contains('\u{1b}'), "no colour into a pipe");

    let healthy = countersign(
        at.path(),
        &["doctor", "--cert", "client.pem", "--key", "client.key"],
    );
    assert_eq!(healthy.code, Some(0), "{healthy:#?}");
    assert!(healthy.stdout.starts_with("healthy"), "{healthy:#?}");
    assert!(
        healthy.stdout.contains("--client-ca FILE"),
        "what it would need: {healthy:#?}"
    );
}

#[test]
fn exit_codes_tell_usage_from_nothing_to_see() {
    let Some(at) = workshop("exit_codes") else {
        return;
    };
    assert_eq!(countersign(at.path(), &["doctor"]).code, Some(2));
    let unread = countersign(at.path(), &["doctor", "--file", "missing.conf"]);
    assert_eq!(unread.code, Some(3), "{unread:#?}");
    let causes = countersign(at.path(), &["doctor", "--list-causes", "--json"]);
    let causes: Value = serde_json::from_str(&causes.stdout).expect("JSON");
    let is_listed =
        |cause: &&Value| cause["cause"] == "rotation-half-applied" && cause["fix"].is_string();
    assert_eq!(array(&causes).iter().filter(is_listed).count(), 1);
}
