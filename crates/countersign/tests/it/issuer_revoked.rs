//! An issuing CA that its root has revoked issues nothing: nobody would accept it.

use std::fs;

use countersign_pki::certificate::Certificate;
use countersign_pki::pem;

use crate::installation::{Installation, text};

fn serial(installation: &Installation) -> String {
    let path = installation.state().join("ca/intermediate.pem");
    let blocks = pem::decode_all(&fs::read(path).expect("readable")).expect("PEM");
    let certificate = Certificate::parse(&blocks[0].der).expect("a certificate");
    certificate.serial().to_string()
}

#[test]
fn nothing_is_issued_under_an_issuing_ca_that_its_root_has_revoked_or_holds() {
    let installation = Installation::new();
    let serial = serial(&installation);
    let revoke = |reason: &str| {
        let revoke = [
            "ca", "crl", "--root", "--revoke", &serial, "--reason", reason,
        ];
        installation.ok(&revoke);
    };
    let early = installation.issue("client", "early", &[]);
    let serving = installation.up(&[]);
    let healthy = installation.run(&["status"]);
    assert_eq!(healthy.code, Some(0), "{healthy:#?}");
    let check = |words: &[&str]| {
        for arguments in [
            &["issue", "client", "late"][..],
            &["issue", "client", "late", "--dry-run"],
            &["renew", text(early.folder())],
        ] {
            installation.run(arguments).assert_fault(1, words);
        }
        let status = installation.run(&["status"]);
        assert_eq!(status.code, Some(1), "{status:#?}");
        for word in words {
            assert!(status.stdout.contains(word), "{word}: {status:#?}");
        }
        assert!(installation.certificates(&["--name", "late"]).is_empty());
        // Nodes and operators have another issuer, which is its own anchor.
        installation.issue("node", "gw-1", &["--force"]);
    };

    revoke("certificate-hold");
    check(&["is on hold", &format!("countersign release {serial}")]);
    installation.ok(&["release", &serial]);
    let healthy = installation.run(&["status"]);
    assert_eq!(healthy.code, Some(0), "{healthy:#?}");
    installation.issue("client", "between", &[]);

    revoke("ca-compromise");
    let revoked = [
        "is revoked (ca-compromise)",
        "a new authority has to take its place",
    ];
    check(&revoked);
    drop(serving);
    let idle = installation.run(&["issue", "client", "late"]);
    idle.assert_fault(1, &revoked);
    // Who asks for the lists gets them.
    let lists = installation.ok(&["ca", "crl"]);
    assert_eq!(lists.matches("BEGIN X509 CRL").count(), 2, "{lists}");
    // Refusals are on record.
    let log = installation.ok(&["audit", "export"]);
    assert!(log.contains("whatever it issues is refused"), "{log}");
}
