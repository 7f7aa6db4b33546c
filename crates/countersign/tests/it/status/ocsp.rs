use std::fs;
use std::path::{Path, PathBuf};

use countersign_pki::feed::RevocationReason;
use countersign_pki::ocsp::{
    CertId, CertIdHash, CertStatus, IssuerHashes, MALFORMED_REQUEST, OcspRequest,
    OcspResponseTemplate, Responder, TRY_LATER, UNAUTHORIZED,
};
use countersign_pki::time::UnixTime;
use rcgen::{KeyPair, SigningKey as _};

use super::{Ca, DAY, ECDSA, Holder, now, run};
use crate::installation::{Answer, text};
use crate::peers::peer;

/// The request that OpenSSL makes for these options, before and between the certificates.
fn request_of(openssl: &Path, ca: &Ca, options: &[&str]) -> (PathBuf, Result<OcspRequest, String>) {
    let (issuer, file) = (ca.file(), ca.path("request.der"));
    let mut arguments = vec!["ocsp", "-issuer", text(&issuer), "-reqout", text(&file)];
    arguments.extend(options);
    let answer = run(openssl, &arguments);
    assert_eq!(answer.code, Some(0), "{answer:#?}");
    let der = fs::read(&file).expect("written");
    (file, OcspRequest::parse(&der).map_err(|fault| fault.why))
}

fn response(
    request: &OcspRequest,
    status: CertStatus,
    responder: Responder<'_>,
    key: &KeyPair,
    next_update: UnixTime,
) -> Vec<u8> {
    let at = next_update.minus(DAY);
    let template = OcspResponseTemplate {
        produced_at: at,
        this_update: at,
        next_update,
        answers: request
            .questions()
            .iter()
            .map(|id| (id.clone(), status))
            .collect(),
        nonce: request.nonce().cloned(),
    };
    let to_be_signed = template.to_be_signed(responder, ECDSA).expect("encodes");
    to_be_signed.complete(&key.sign(to_be_signed.bytes()).expect("a signature"))
}

/// What `openssl ocsp` says of the response, asked about `leaf`, or by the request in a file.
fn judged(openssl: &Path, ca: &Ca, response: &[u8], options: &[&str]) -> Answer {
    let (issuer, file) = (ca.file(), ca.write("response.der", response));
    let mut arguments = vec!["ocsp", "-issuer", text(&issuer), "-CAfile", text(&issuer)];
    arguments.extend(["-respin", text(&file)]);
    arguments.extend(options);
    run(openssl, &arguments)
}

#[test]
fn requests_of_openssl_are_read() {
    let Some(openssl) = peer("requests_of_openssl_are_read", "openssl") else {
        return;
    };
    let ca = Ca::new();
    let issuer = IssuerHashes::of(&ca.certificate);
    let (first, second) = (ca.leaf(2, None), ca.leaf(3, None));
    let (one, two) = (text(&first.file), text(&second.file));
    let key = first.key_file();
    let sha1 = Some(CertIdHash::Sha1);
    let sha256 = Some(CertIdHash::Sha256);
    for (options, hashes, nonce) in [
        (&["-cert", one][..], &[sha1][..], true),
        (&["-no_nonce", "-cert", one], &[sha1], false),
        (&["-sha256", "-cert", one, "-no_nonce"], &[sha256], false),
        (
            &["-cert", one, "-sha256", "-cert", two, "-nonce"],
            &[sha1, sha256],
            true,
        ),
        // One that no issuer here is hashed by.
        (
            &["-sha512", "-cert", one, "-sha1", "-cert", two],
            &[None, sha1],
            true,
        ),
        (
            &["-cert", one, "-signer", one, "-signkey", text(&key)],
            &[sha1],
            true,
        ),
    ] {
        let (_, request) = request_of(&openssl, &ca, options);
        let request = request.expect("OpenSSL makes good requests");
        let asked: Vec<_> = request.questions().iter().map(CertId::hash).collect();
        assert_eq!(asked, hashes, "{options:?}");
        let serials = [first.certificate.serial(), second.certificate.serial()];
        for (id, serial) in request.questions().iter().zip(serials) {
            assert_eq!(id.serial(), Some(serial));
            assert_eq!(issuer.issued(id), id.hash().is_some(), "{options:?}");
            if let Some(hash) = id.hash() {
                assert_eq!(*id, CertId::of(&issuer, serial, hash), "byte for byte");
            }
        }
        assert_eq!(request.nonce().is_some(), nonce, "{options:?}");
    }
    let many: Vec<&str> = ["-cert", one].repeat(21);
    let (_, request) = request_of(&openssl, &ca, &many);
    assert!(request.is_err_and(|why| why.contains("more than 20 certificates")));
}

#[test]
fn openssl_reads_each_status_from_the_issuer_and_from_a_delegated_responder() {
    let name = "openssl_reads_each_status_from_the_issuer_and_from_a_delegated_responder";
    let Some(openssl) = peer(name, "openssl") else {
        return;
    };
    let ca = Ca::new();
    let (leaf, delegated) = (ca.leaf(2, None), ca.responder());
    let since = now().minus(DAY);
    let revoked = |reason| CertStatus::Revoked {
        revoked_at: since,
        reason,
    };
    let issuer = Responder::issuer(&ca.certificate).expect("a CA");
    let responder = Responder::delegated(&delegated.certificate).expect("one");
    for (responder, key) in [(issuer, &ca.key), (responder, &delegated.key)] {
        for hash in ["-sha1", "-sha256"] {
            let options = [hash, "-cert", text(&leaf.file)];
            let (file, request) = request_of(&openssl, &ca, &options);
            let request = request.expect("a good request");
            for (status, told, reason) in [
                (CertStatus::Good, "good", ""),
                (CertStatus::Unknown, "unknown", ""),
                (revoked(RevocationReason::Unspecified), "revoked", ""),
                (
                    revoked(RevocationReason::KeyCompromise),
                    "revoked",
                    "keyCompromise",
                ),
                (
                    revoked(RevocationReason::CessationOfOperation),
                    "revoked",
                    "cessationOfOperation",
                ),
                (CertStatus::OnHold { since }, "revoked", "certificateHold"),
            ] {
                let der = response(&request, status, responder, key, now().plus(DAY / 2));
                // With the request and its nonce, and by the certificate alone.
                let by_request = judged(&openssl, &ca, &der, &["-reqin", text(&file), "-text"]);
                assert!(verified(&by_request), "{by_request:#?}");
                let alone = ["-no_nonce", hash, "-cert", text(&leaf.file)];
                let by_certificate = judged(&openssl, &ca, &der, &alone);
                assert!(verified(&by_certificate), "{by_certificate:#?}");
                let line = format!("{}: {told}\n", text(&leaf.file));
                assert!(by_certificate.stdout.contains(&line), "{by_certificate:#?}");
                assert_eq!(
                    by_certificate.stdout.contains("Reason: "),
                    !reason.is_empty()
                );
                assert!(
                    by_certificate.stdout.contains(reason),
                    "{by_certificate:#?}"
                );
            }
        }
    }
}

fn verified(answer: &Answer) -> bool {
    let all = answer.all();
    let complaint = ["WARNING", "ERROR", "Error"]
        .iter()
        .any(|word| all.contains(word));
    answer.code == Some(0) && all.contains("Response verify OK") && !complaint
}

#[test]
fn openssl_refuses_what_it_must() {
    let Some(openssl) = peer("openssl_refuses_what_it_must", "openssl") else {
        return;
    };
    let ca = Ca::new();
    let (leaf, delegated) = (ca.leaf(2, None), ca.responder());
    let issuer = Responder::issuer(&ca.certificate).expect("a CA");
    let by_certificate = ["-no_nonce", "-cert", text(&leaf.file)];
    let with_nonce = &by_certificate[1..];
    let (_, request) = request_of(&openssl, &ca, with_nonce);
    let request = request.expect("a good request");
    let soon = now().plus(DAY / 2);
    let check = |der: &[u8], options: &[&str], complaint: &str| {
        let answer = judged(&openssl, &ca, der, options);
        assert!(!verified(&answer), "{complaint}: {answer:#?}");
        assert!(answer.all().contains(complaint), "{complaint}: {answer:#?}");
    };
    let good =
        |key: &KeyPair, responder, end| response(&request, CertStatus::Good, responder, key, end);

    let late = good(&ca.key, issuer, now().minus(DAY / 2));
    check(&late, &by_certificate, "status expired");
    let forged = good(&leaf.key, issuer, soon);
    check(&forged, &by_certificate, "Response Verify Failure");
    let mut spoilt = good(&ca.key, issuer, soon);
    let at = spoilt
        .windows(2)
        .position(|window| window == [0x80, 0])
        .expect("good");
    spoilt[at] = 0x82;
    check(&spoilt, &by_certificate, "Response Verify Failure");

    // OpenSSL asks with a nonce of its own, which is not the one that the response repeats.
    let answered = good(&ca.key, issuer, soon);
    check(&answered, with_nonce, "Nonce Verify error");
    let (another_file, another) = request_of(&openssl, &ca, with_nonce);
    assert_ne!(another.expect("a good request").nonce(), request.nonce());
    let by_another = ["-reqin", text(&another_file)];
    check(&answered, &by_another, "Nonce Verify error");

    // A response about another certificate.
    let other = ca.leaf(3, None);
    let of_other = ["-no_nonce", "-cert", text(&other.file)];
    check(&answered, &of_other, "No Status found");

    // A responder of another CA of the same name, and one whose certificate is not there.
    let stranger = Ca::new();
    let of_stranger = stranger.responder();
    let responder = Responder::delegated(&of_stranger.certificate).expect("one");
    check(
        &good(&of_stranger.key, responder, soon),
        &by_certificate,
        "Response Verify Failure",
    );
    let responder = Responder::delegated(&delegated.certificate).expect("one");
    check(
        &good(&ca.key, responder, soon),
        &by_certificate,
        "Response Verify Failure",
    );
}

#[test]
fn openssl_reads_refusals() {
    let Some(openssl) = peer("openssl_reads_refusals", "openssl") else {
        return;
    };
    let ca = Ca::new();
    let Holder { file, .. } = ca.leaf(2, None);
    for (response, told) in [
        (MALFORMED_REQUEST, "malformedrequest (1)"),
        (TRY_LATER, "trylater (3)"),
        (UNAUTHORIZED, "unauthorized (6)"),
    ] {
        let answer = judged(&openssl, &ca, &response, &["-cert", text(&file)]);
        let said = format!("Responder Error: {told}");
        assert!(answer.all().contains(&said), "{answer:#?}");
    }
}
