//! Chains, and each certificate in them.

use super::workshop;
use super::workshop::{CA, CLIENT, SERVER};

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
