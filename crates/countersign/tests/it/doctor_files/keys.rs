//! Keys and keystores: locked, unguarded, or another certificate's.

use std::fs::{self, File, FileTimes, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, SystemTime};

use super::workshop;
use super::workshop::CLIENT;
use crate::installation::countersign;

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
    // So is what is encrypted as RFC 1421 has it.
    at.fault(
        &line("old.key", "--password-file wrong"),
        "key-password-wrong",
    );
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
fn keystores_whose_use_nobody_named_are_opened_all_the_same() {
    let Some(at) = workshop("keystores_elsewhere") else {
        return;
    };
    at.write("right", "correct horse\n");
    at.write("wrong", "battery staple\n");
    let export = "pkcs12 -export -in client.pem -inkey client.key -out client.p12 -passout";
    let mut words: Vec<_> = export.split(' ').collect();
    words.push("file:right");
    at.openssl_words(&words);
    at.healthy("--file client.p12 --password-file right");
    at.fault(
        "--file client.p12 --password-file wrong",
        "key-password-wrong",
    );
    at.note("--file client.p12", "key-encrypted");
    // The password is that of the key that was named, for all that is known.
    at.note(
        "--cert client.pem --key client.key --client-ca root.pem --password-file wrong --file client.p12",
        "key-password-wrong",
    );
}

#[test]
fn a_key_of_a_ca_in_the_file_is_not_a_wrong_order() {
    let Some(at) = workshop("a_key_of_a_ca") else {
        return;
    };
    let line = |cert: &str, key: &str| format!("--cert {cert} --key {key} --client-ca root.pem");
    at.fault(&line("chain.pem", "inter.key"), "key-cert-mismatch");
    at.healthy(&line("chain.pem", "leaf.key"));
    at.join(&["inter.pem", "leaf.pem"], "turned.pem");
    at.fault(&line("turned.pem", "leaf.key"), "chain-wrong-order");
    at.join(&["inter.pem", "root.pem", "leaf.pem"], "leaf-last.pem");
    at.fault(&line("leaf-last.pem", "leaf.key"), "chain-wrong-order");
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
