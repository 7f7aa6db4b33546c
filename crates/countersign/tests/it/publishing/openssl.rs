//! OpenSSL and `GnuTLS`: lists, shards and OCSP.

use std::fs;
use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_pki::pem;

use super::{Site, fetch, get, header, leaf, list_with, shard_url};
use crate::installation::{Answer, Issued, text};
use crate::peers::peer;

/// `openssl verify -crl_check_all` of the whole chain.
fn verify(openssl: &Path, site: &Site, whose: &Issued, crl: &Path, more: &[&str]) -> Answer {
    let (ca, intermediate, certificate) = (whose.ca(), site.intermediate(), whose.certificate());
    let mut command = Command::new(openssl);
    command.args([
        "verify",
        "-x509_strict",
        "-crl_check_all",
        "-CAfile",
        text(&ca),
    ]);
    command.args(["-untrusted", text(&intermediate), "-CRLfile", text(crl)]);
    Answer::of(command.args(more).arg(certificate))
}

#[test]
fn openssl_verifies_against_complete_lists() {
    let Some(openssl) = peer("openssl_verifies_against_complete_lists", "openssl") else {
        return;
    };
    let site = Site::new();
    let you = site.installation.issue("client", "you", &[]);
    let other = site.installation.issue("client", "other", &[]);
    let good = verify(&openssl, &site, &you, &site.crl_file(), &[]);
    assert_eq!(good.code, Some(0), "{good:#?}");
    site.revoke("you");
    let crl = site.crl_file();
    let revoked = verify(&openssl, &site, &you, &crl, &[]);
    assert!(
        revoked.all().contains("certificate revoked"),
        "{revoked:#?}"
    );
    let good = verify(&openssl, &site, &other, &crl, &[]);
    assert_eq!(good.code, Some(0), "{good:#?}");
    let shown =
        Answer::of(Command::new(&openssl).args(["crl", "-noout", "-text", "-in", text(&crl)]));
    for words in [
        "X509v3 CRL Number",
        "X509v3 Authority Key Identifier",
        "Key Compromise",
    ] {
        assert!(shown.stdout.contains(words), "{words}: {shown:#?}");
    }
    assert!(
        !shown.stdout.contains("Issuing Distribution Point"),
        "{shown:#?}"
    );
}

#[test]
fn openssl_verifies_against_shards_and_takes_no_other() {
    let Some(openssl) = peer(
        "openssl_verifies_against_shards_and_takes_no_other",
        "openssl",
    ) else {
        return;
    };
    let site = Site::new();
    let you = site.installation.issue("client", "you", &[]);
    let url = shard_url(&leaf(&you));
    let other = (0..20)
        .map(|number| {
            site.installation
                .issue("client", &format!("other-{number}"), &[])
        })
        .map(|issued| shard_url(&leaf(&issued)))
        .find(|other| *other != url)
        .expect("not all on one shard of 128");
    for more in [&[][..], &["-extended_crl"]] {
        let own = site.with_roots("own", &fetch(&url));
        let good = verify(&openssl, &site, &you, &own, more);
        assert_eq!(good.code, Some(0), "{good:#?}");
        let others = site.with_roots("others", &fetch(&other));
        let refused = verify(&openssl, &site, &you, &others, more);
        assert!(
            refused.all().contains("different CRL scope")
                || refused.all().contains("unable to get certificate CRL"),
            "{refused:#?}"
        );
    }
    site.revoke("you");
    let shard = list_with(&url, &leaf(&you));
    let revoked = verify(
        &openssl,
        &site,
        &you,
        &site.with_roots("own", &shard),
        &["-extended_crl"],
    );
    assert!(
        revoked.all().contains("certificate revoked"),
        "{revoked:#?}"
    );
    let file = site.installation.path("shard.der");
    fs::write(&file, shard).expect("writable");
    let shown = [
        "crl",
        "-inform",
        "DER",
        "-noout",
        "-text",
        "-in",
        text(&file),
    ];
    let shown = Answer::of(Command::new(&openssl).args(shown));
    let words = "X509v3 Issuing Distribution Point: critical";
    assert!(shown.stdout.contains(words), "{shown:#?}");
}

/// `openssl ocsp` about one certificate.
fn ocsp(openssl: &Path, site: &Site, whose: &Issued, more: &[&str]) -> Answer {
    let (ca, intermediate, certificate) = (whose.ca(), site.intermediate(), whose.certificate());
    let (url, mut command) = (site.url("/ocsp"), Command::new(openssl));
    command.args(["ocsp", "-url", &url, "-CAfile", text(&ca), "-verify_other"]);
    command.arg(&intermediate).arg("-issuer").arg(&intermediate);
    // The hash comes before the certificate that it is for.
    Answer::of(command.args(more).arg("-cert").arg(certificate))
}

#[test]
fn openssl_asks_with_a_nonce_and_without() {
    let Some(openssl) = peer("openssl_asks_with_a_nonce_and_without", "openssl") else {
        return;
    };
    let site = Site::new();
    let you = site.installation.issue("client", "you", &[]);
    let check = |more: &[&str], status: &str| {
        let answer = ocsp(&openssl, &site, &you, more);
        assert_eq!(answer.code, Some(0), "{answer:#?}");
        assert!(answer.all().contains("Response verify OK"), "{answer:#?}");
        assert!(!answer.all().contains("WARNING"), "{answer:#?}");
        assert!(
            answer.all().contains(&format!("cert.pem: {status}\n")),
            "{answer:#?}"
        );
    };
    let ways = [
        &["-nonce"][..],
        &["-no_nonce"],
        &["-sha256"],
        &["-sha256", "-no_nonce"],
    ];
    for more in ways {
        check(more, "good");
    }
    site.revoke("you");
    for more in ways {
        check(more, "revoked");
    }
    let reason = ocsp(&openssl, &site, &you, &[]);
    assert!(
        reason.all().contains("Reason: keyCompromise"),
        "{reason:#?}"
    );
    // Not the issuing CA's: nobody answers for the root.
    let (intermediate, root) = (site.intermediate(), you.ca());
    let url = site.url("/ocsp");
    let roots = [
        "ocsp",
        "-url",
        &url,
        "-issuer",
        text(&root),
        "-cert",
        text(&intermediate),
    ];
    let refused = Answer::of(Command::new(&openssl).args(roots));
    assert!(refused.all().contains("unauthorized (6)"), "{refused:#?}");
    let issuer = text(&intermediate);
    let serial = [
        "ocsp",
        "-url",
        &url,
        "-issuer",
        issuer,
        "-serial",
        "0x1234",
        "-noverify",
    ];
    let unknown = Answer::of(Command::new(&openssl).args(serial));
    assert!(unknown.all().contains("0x1234: unknown"), "{unknown:#?}");
}

#[test]
fn request_by_get_is_cached_and_is_openssls_own() {
    let Some(openssl) = peer("request_by_get_is_cached_and_is_openssls_own", "openssl") else {
        return;
    };
    let site = Site::new();
    let you = site.installation.issue("client", "you", &[]);
    let request = site.installation.path("request.der");
    let (issuer, certificate) = (site.intermediate(), you.certificate());
    let made = [
        "ocsp",
        "-no_nonce",
        "-issuer",
        text(&issuer),
        "-cert",
        text(&certificate),
    ];
    let mut command = Command::new(&openssl);
    Answer::of(command.args(made).args(["-reqout", text(&request)]));
    let text_of = |request: &[u8]| STANDARD.encode(request);
    let encoded = text_of(&fs::read(&request).expect("made"));
    let escaped = encoded
        .replace('+', "%2B")
        .replace('/', "%2F")
        .replace('=', "%3D");
    let mut etags = Vec::new();
    for path in [&encoded, &escaped, &format!("/{encoded}")] {
        let (head, body) = get(&site.url(&format!("/ocsp/{path}")), "");
        assert!(head.starts_with("http/1.1 200"), "{head}");
        assert_eq!(header(&head, "content-type"), "application/ocsp-response");
        let cache = header(&head, "cache-control");
        assert_eq!(cache, "max-age=300, public, no-transform, must-revalidate");
        for name in ["expires", "last-modified", "content-length"] {
            header(&head, name);
        }
        etags.push(header(&head, "etag").to_owned());
        let file = site.installation.path("response.der");
        fs::write(&file, body).expect("writable");
        let (ca, intermediate) = (you.ca(), site.intermediate());
        let mut command = Command::new(&openssl);
        command.args([
            "ocsp",
            "-respin",
            text(&file),
            "-CAfile",
            text(&ca),
            "-no_nonce",
        ]);
        command.args([
            "-verify_other",
            text(&intermediate),
            "-issuer",
            text(&intermediate),
        ]);
        let read = Answer::of(command.arg("-cert").arg(you.certificate()));
        assert!(read.all().contains("Response verify OK"), "{read:#?}");
        assert!(read.all().contains("cert.pem: good"), "{read:#?}");
    }
    etags.dedup();
    assert_eq!(etags.len(), 1, "one answer for all: {etags:?}");
    let url = site.url(&format!("/ocsp/{encoded}"));
    let (head, _) = get(&url, &format!("If-None-Match: {}\r\n", etags[0]));
    assert!(head.starts_with("http/1.1 304"), "{head}");
    // Acknowledged means answered so, to whoever had the former answer too.
    site.revoke("you");
    let (head, _) = get(&url, &format!("If-None-Match: {}\r\n", etags[0]));
    assert!(head.starts_with("http/1.1 200"), "{head}");
}

#[test]
fn openssl_asks_about_several_certificates_at_once() {
    let Some(openssl) = peer("openssl_asks_about_several_certificates_at_once", "openssl") else {
        return;
    };
    let site = Site::new();
    let issued = ["a", "b", "c"].map(|name| site.installation.issue("client", name, &[]));
    site.revoke("b");
    let certificates = issued.each_ref().map(Issued::certificate);
    let (ca, intermediate, url) = (issued[0].ca(), site.intermediate(), site.url("/ocsp"));
    let mut command = Command::new(&openssl);
    command.args(["ocsp", "-url", &url, "-CAfile", text(&ca), "-verify_other"]);
    command.arg(&intermediate).arg("-issuer").arg(&intermediate);
    for certificate in &certificates {
        command.arg("-cert").arg(certificate);
    }
    let answer = Answer::of(&mut command);
    for (issued, status) in issued.iter().zip(["good", "revoked", "good"]) {
        let line = format!("{}: {status}", text(&issued.certificate()));
        assert!(answer.all().contains(&line), "{line}: {answer:#?}");
    }
    // RFC 5019 §2.1.1 asks about one; a request about more than a chain has is refused.
    let mut command = Command::new(&openssl);
    command.args([
        "ocsp",
        "-url",
        &url,
        "-issuer",
        text(&intermediate),
        "-noverify",
    ]);
    for serial in 1..=21 {
        command.args(["-serial", &serial.to_string()]);
    }
    let refused = Answer::of(&mut command);
    assert!(
        refused.all().contains("malformedrequest (1)"),
        "{refused:#?}"
    );
}

#[test]
fn gnutls_verifies_complete_lists_and_does_not_know_the_scope_of_a_shard() {
    let Some(certtool) = peer(
        "gnutls_verifies_complete_lists_and_does_not_know_the_scope_of_a_shard",
        "certtool",
    ) else {
        return;
    };
    let site = Site::new();
    site.installation.issue("client", "you", &[]);
    site.revoke("you");
    let (crl, intermediate) = (site.crl_file(), site.intermediate());
    let mut command = Command::new(&certtool);
    command.args(["--verify-crl", "--load-ca-certificate", text(&intermediate)]);
    let answer = Answer::of(command.args(["--infile", text(&crl)]));
    assert_eq!(answer.code, Some(0), "{answer:#?}");
    assert!(answer.all().contains("Verified"), "{answer:#?}");

    // And refuses by them who is revoked, and nobody else.
    let whole = site.installation.path("whole.crl");
    site.installation.ok(&["ca", "crl", "--out", text(&whole)]);
    let other = site.installation.issue("client", "other", &[]);
    let you = site.installation.path("client-you");
    for (folder, code, words) in [
        (you.as_path(), Some(1), "The certificate chain is revoked"),
        (
            other.folder(),
            Some(0),
            "Verified. The certificate is trusted",
        ),
    ] {
        let mut command = Command::new(&certtool);
        command.arg("--verify");
        command.args(["--load-ca-certificate", text(&folder.join("ca.pem"))]);
        command.args(["--load-crl", text(&whole)]);
        command.args(["--infile", text(&folder.join("cert.pem"))]);
        let answer = Answer::of(&mut command);
        assert_eq!(answer.code, code, "{answer:#?}");
        let verdict = answer.all();
        let verdict = verdict.split("Chain verification output: ").nth(1);
        assert!(
            verdict.is_some_and(|verdict| verdict.contains(words)),
            "{answer:#?}"
        );
    }

    // Of a shard it verifies the signature and says that it does not know its scope, which is critical: for GnuTLS there are
    // the complete lists.
    let shard = pem::encode("X509 CRL", &fetch(&shard_url(&leaf(&other))));
    let shard = site.installation.write("shard.crl", &shard);
    let mut command = Command::new(&certtool);
    command.args(["--verify-crl", "--load-ca-certificate", text(&intermediate)]);
    let answer = Answer::of(command.args(["--infile", text(&shard)]));
    for words in ["Unknown extension 2.5.29.28 (critical)", "Verified"] {
        assert!(answer.all().contains(words), "{words}: {answer:#?}");
    }
}
