//! What cannot be the authority is refused by name, and leaves nothing behind.

use std::fs;

use super::openssl_ca::{Kinds, OpensslCa, P256, P521, RSA1024, RSA2048};
use crate::installation::{Answer, Installation};

const TEST: &str = "refused";

/// A root, and whatever issuing CA a case makes below it.
struct Case {
    installation: Installation,
    ca: OpensslCa,
}

impl Case {
    fn new() -> Option<Self> {
        let installation = Installation::empty();
        let ca = OpensslCa::bare(TEST, &installation)?;
        ca.root("root", P256, "root");
        Some(Self { installation, ca })
    }

    /// An issuing CA with this section of the configuration.
    fn with(extensions: &str) -> Option<Self> {
        let case = Self::new()?;
        case.issuing(P256, extensions, &["-days", "1800"]);
        Some(case)
    }

    fn issuing(&self, kind: &[&str], extensions: &str, options: &[&str]) {
        let subject = "/O=Old Corp/CN=Old Issuing CA";
        self.ca
            .issued_with("int", kind, "root", extensions, subject, options);
    }

    fn adopt(&self, arguments: &[&str]) -> Answer {
        let answer = self
            .installation
            .run(&[&["ca", "adopt"], arguments].concat());
        assert!(
            !self.installation.state().join("format").exists(),
            "{answer:#?}"
        );
        answer
    }

    /// `int.pem`, `int.key`, `root.pem`, and whatever else.
    #[track_caller]
    fn refused(&self, further: &[&str], words: &[&str]) {
        let [int, key, root] = ["int.pem", "int.key", "root.pem"].map(|name| self.ca.file(name));
        let fixed = ["--intermediate", &int, "--key", &key, "--root", &root];
        self.adopt(&[&fixed, further].concat())
            .assert_fault(2, words);
    }
}

#[test]
fn issuing_ca_that_may_not_issue() {
    let check = |extensions: &str, words: &[&str]| {
        if let Some(case) = Case::with(extensions) {
            case.refused(&[], words);
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
        if let Some(case) = Case::new() {
            case.issuing(P256, "sub", &["-days", "29"]);
            if let Some([from, to]) = times {
                case.ca.dated(from, to);
            }
            case.refused(&[], words);
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
    let Some(case) = Case::new() else { return };
    case.issuing(RSA1024, "sub", &["-days", "900"]);
    case.refused(&[], &["int.key", "of no kind that is known here"]);
    case.issuing(P521, "sub", &["-days", "900"]);
    case.refused(&[], &["nothing is signed here with a key of its kind"]);
    case.issuing(P256, "sub", &["-days", "900", "-sha1"]);
    case.refused(&[], &["ECDSA with SHA-1, which can be forged"]);
    case.ca.root("root", RSA1024, "root");
    case.issuing(P256, "sub", &["-days", "900"]);
    case.refused(&[], &["CN=Old Root,O=Old Corp has a weak key: RSA 1024"]);
}

#[test]
fn keys_and_certificates_that_do_not_belong_together() {
    let Some(case) = Case::with("sub") else {
        return;
    };
    case.ca.key("other", RSA2048);
    let other = case.ca.file("other.key");
    let [int, key, root] = ["int.pem", "int.key", "root.pem"].map(|name| case.ca.file(name));
    case.adopt(&["--intermediate", &int, "--key", &other, "--root", &root])
        .assert_fault(2, &["CN=Old Issuing CA,O=Old Corp is not for the key"]);
    case.refused(
        &["--root-key", &other],
        &["CN=Old Root,O=Old Corp is not for the key"],
    );
    // No root, the wrong root, a root of the same name.
    case.adopt(&["--intermediate", &int, "--key", &key])
        .assert_fault(2, &["was issued by CN=Old Root,O=Old Corp", "not given"]);
    case.ca.root("twin", P256, "root");
    case.adopt(&[
        "--intermediate",
        &int,
        "--key",
        &key,
        "--root",
        &case.ca.file("twin.pem"),
    ])
    .assert_fault(2, &["was not signed by the CN=Old Root,O=Old Corp"]);
    // The root in place of the issuing CA, and the other way round.
    case.adopt(&[
        "--intermediate",
        &root,
        "--key",
        &case.ca.file("root.key"),
        "--root",
        &root,
    ])
    .assert_fault(
        2,
        &["CN=Old Root,O=Old Corp is a root", "give it as --root"],
    );
    case.adopt(&["--root", &int, "--root", &root, "--root-key", &key])
        .assert_fault(2, &["no CA", "pathLenConstraint"].map(|_| "Old Issuing CA"));
    case.adopt(&["--root", &root]).assert_fault(
        2,
        &["CN=Old Root,O=Old Corp alone issues nothing", "--root-key"],
    );
    case.adopt(&[])
        .assert_fault(2, &["no CA was given", "--p12"]);
    case.adopt(&["--intermediate", &int, "--root", &root])
        .assert_fault(2, &["none was made here before", "--csr-out"]);
}

#[test]
fn path_that_is_longer_than_a_root_allows() {
    let Some(case) = Case::new() else { return };
    case.ca.root("root", P256, "root_only");
    case.issuing(P256, "sub", &["-days", "900"]);
    case.ca
        .issued("policy", P256, "root", "policy", "/CN=Policy");
    case.ca.issued("low", P256, "policy", "sub", "/CN=Low");
    // Leaves of the root's own, or of one CA below it: nothing stands between.
    let [low, key, policy, root] =
        ["low.pem", "low.key", "policy.pem", "root.pem"].map(|name| case.ca.file(name));
    case.adopt(&[
        "--intermediate",
        &low,
        "--key",
        &key,
        "--root",
        &policy,
        "--root",
        &root,
    ])
    .assert_fault(2, &["CN=Old Root,O=Old Corp allows 0 CAs below it"]);
    case.adopt(&["--root", &root, "--root-key", &case.ca.file("root.key")])
        .assert_fault(2, &["allows 0 CAs below it", "1 would stand there"]);
}

#[test]
fn keys_that_stay_locked() {
    let Some(case) = Case::with("sub") else {
        return;
    };
    case.ca.write("password", "correct horse\n");
    case.ca.write("wrong", "battery staple\n");
    case.ca.ok(&[
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
        ["int.pem", "int.enc", "root.pem", "wrong"].map(|name| case.ca.file(name));
    let fixed = ["--intermediate", &int, "--key", &enc, "--root", &root];
    case.adopt(&[&fixed[..], &["--password-file", &wrong]].concat())
        .assert_fault(2, &["int.enc", "password"]);
    // What openssl wrote before version 1.0, and its PKCS#12 before version 3.
    case.ca.ok(&[
        "ec",
        "-in",
        "int.key",
        "-out",
        "int.dek",
        "-aes128",
        "-passout",
        "file:password",
    ]);
    let dek = case.ca.file("int.dek");
    let fixed = ["--intermediate", &int, "--key", &dek, "--root", &root];
    case.adopt(&fixed)
        .assert_fault(2, &["old encrypted keys", "openssl pkcs8 -topk8"]);
    let legacy = case.ca.run(&[
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
        let [p12, password] = ["int.p12", "password"].map(|name| case.ca.file(name));
        case.adopt(&["--p12", &p12, "--root", &root, "--password-file", &password])
            .assert_fault(2, &["int.p12", "openssl pkcs12 -legacy"]);
    }
}

#[test]
fn lists_that_say_nothing_of_these_cas_or_the_worst() {
    let Some(case) = Case::with("sub") else {
        return;
    };
    case.ca.root("twin", P256, "root");
    case.ca.issued("other", P256, "twin", "sub", "/CN=Other");
    case.ca.crl("other", "other.crl");
    case.refused(
        &["--crl", &case.ca.file("other.crl")],
        &["other.crl", "of CN=Other"],
    );
    case.ca.crl("twin", "twin.crl");
    case.refused(
        &["--crl", &case.ca.file("twin.crl")],
        &["twin.crl", "another key"],
    );
    case.refused(
        &["--crl", &case.ca.file("int.pem")],
        &["int.pem", "X509 CRL"],
    );
    case.refused(
        &["--issued", &case.ca.file("int.key")],
        &["int.key", "no certificate"],
    );
    case.refused(
        &["--index", &case.ca.file("int.pem")],
        &["int.pem", "line 1", "six fields"],
    );
    // The root has revoked the issuing CA itself.
    let serial = case.ca.ok(&["x509", "-in", "int.pem", "-noout", "-serial"]);
    let serial = serial.trim().trim_start_matches("serial=").to_owned();
    let line = format!("R\t300101000000Z\t260101000000Z\t{serial}\tunknown\t/CN=a\n");
    case.ca.write("index.txt", &line);
    case.ca.crl("root", "root.crl");
    case.refused(
        &["--crl", &case.ca.file("root.crl")],
        &[
            "CN=Old Issuing CA,O=Old Corp is revoked since 2026-01-01",
            "root.crl",
        ],
    );
}

#[test]
fn two_certificates_of_one_serial_number() {
    let installation = Installation::empty();
    let kinds = Kinds {
        root: P256,
        issuing: P256,
    };
    let Some(ca) = OpensslCa::new(TEST, &installation, kinds) else {
        return;
    };
    let case = Case { installation, ca };
    let twice = ["-days", "90", "-set_serial", "4711"];
    case.ca
        .issued_with("one", P256, "int", "client", "/CN=one", &twice);
    case.ca
        .issued_with("two", P256, "int", "client", "/CN=two", &twice);
    let [one, two] = ["one.pem", "two.pem"].map(|name| case.ca.file(name));
    case.refused(
        &["--issued", &one, "--issued", &two],
        &["two certificates have the serial number 1267", "two.pem"],
    );
}

#[test]
fn folder_that_has_an_authority_keeps_it() {
    let installation = Installation::new();
    let kinds = Kinds {
        root: P256,
        issuing: P256,
    };
    let Some(ca) = OpensslCa::new(TEST, &installation, kinds) else {
        return;
    };
    let before = fs::read(installation.state().join("ca/root.pem")).expect("readable");
    let answer = installation.run(&[
        "ca",
        "adopt",
        "--intermediate",
        &ca.file("int.pem"),
        "--key",
        &ca.file("int.key"),
        "--root",
        &ca.file("root.pem"),
    ]);
    answer.assert_fault(2, &["is initialised already", "--state"]);
    let after = fs::read(installation.state().join("ca/root.pem")).expect("readable");
    assert_eq!(before, after);
}

#[test]
fn names_outside_the_constraints_of_an_adopted_ca_are_not_certified() {
    let Some(case) = Case::with("constrained") else {
        return;
    };
    let [int, key, root] = ["int.pem", "int.key", "root.pem"].map(|name| case.ca.file(name));
    case.installation.ok(&[
        "ca",
        "adopt",
        "--intermediate",
        &int,
        "--key",
        &key,
        "--root",
        &root,
    ]);
    let issue = |name: &str| {
        let folder = case.installation.path(name);
        let folder = folder.to_str().expect("UTF-8").to_owned();
        case.installation
            .run(&["issue", "server", name, "--out", &folder])
    };
    assert_eq!(issue("api.corp.example").code, Some(0));
    let issued = case.installation.certificates(&[]).len();
    let outside = issue("api.other.example");
    assert_ne!(outside.code, Some(0), "{outside:#?}");
    assert!(outside.stderr.contains("name-constraints"), "{outside:#?}");
    assert!(outside.stderr.contains("CN=Old Issuing CA"), "{outside:#?}");
    let log = case.installation.ok(&["audit", "export"]);
    let is_it = |line: &&str| line.contains("\"refuse\"") && line.contains("api.other.example");
    assert_eq!(log.lines().filter(is_it).count(), 1, "{log}");
    assert_eq!(case.installation.certificates(&[]).len(), issued);
}

#[test]
fn gateway_of_a_constrained_ca_has_the_names_that_it_may_have_and_says_which_not() {
    let Some(case) = Case::with("constrained") else {
        return;
    };
    let [int, key, root] = ["int.pem", "int.key", "root.pem"].map(|name| case.ca.file(name));
    let fixed = ["--intermediate", &int, "--key", &key, "--root", &root];
    case.installation
        .ok(&[&["ca", "adopt"], &fixed[..]].concat());
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
        let file = case
            .installation
            .write("countersign.toml", &configuration(host));
        case.installation
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
    let gateway = case.installation.serve(&within);
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
    let leaf = case.installation.state().join("gateway/cert.pem");
    let leaf = fs::read(leaf).expect("issued");
    let leaf = &countersign_pki::pem::decode_all(&leaf).expect("PEM")[0].der;
    let leaf = countersign_pki::certificate::Certificate::parse(leaf).expect("a certificate");
    let names: Vec<String> = (leaf.subject_alt_names().iter())
        .map(ToString::to_string)
        .collect();
    assert_eq!(names, ["dns:api.corp.example"]);

    // A reload is held to the same.
    case.installation.write(
        "countersign.toml",
        &configuration("host = \"api.other.example\""),
    );
    gateway.signal(rustix::process::Signal::HUP);
    gateway.wait_for_log(&["not reloaded", "dns:api.other.example"]);
}
