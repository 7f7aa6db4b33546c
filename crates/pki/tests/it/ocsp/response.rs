use std::time::Duration;

use countersign_pki::certificate::Certificate;
use countersign_pki::feed::RevocationReason;
use countersign_pki::ocsp::{
    CertStatus, INTERNAL_ERROR, MALFORMED_REQUEST, OcspRequest, OcspResponseFault,
    OcspResponseTemplate, Responder, TRY_LATER, UNAUTHORIZED,
};
use countersign_pki::tbs::{SignatureAlgorithm, Template, Usage};
use countersign_pki::time::UnixTime;
use rcgen::KeyPair;

use super::{Asked, NONCE, id};
use crate::forge::{
    ENUMERATED, OCTET_STRING, SEQUENCE, authority, extension, key, sign, template, time, tlv,
};

const ECDSA: SignatureAlgorithm = SignatureAlgorithm::EcdsaP256Sha256;
const GENERALIZED_TIME: u8 = 0x18;

fn now() -> UnixTime {
    time("2026-01-02T00:00:00Z")
}

fn answering(request: &OcspRequest, status: CertStatus) -> OcspResponseTemplate {
    OcspResponseTemplate {
        produced_at: now(),
        this_update: now(),
        next_update: now().plus(Duration::from_hours(1)),
        answers: request
            .questions()
            .iter()
            .map(|id| (id.clone(), status))
            .collect(),
        nonce: request.nonce().cloned(),
    }
}

fn encoded(template: &OcspResponseTemplate, responder: Responder<'_>) -> Vec<u8> {
    template
        .to_be_signed(responder, ECDSA)
        .expect("encodes")
        .complete(&[1, 2, 3])
}

fn delegated(root: &Certificate, root_key: &KeyPair) -> Certificate {
    let responder = Template {
        not_after: time("2026-01-08T00:00:00Z"),
        ..template("CN=OCSP responder", &key(), Usage::OcspResponder)
    };
    sign(
        &responder.to_be_signed(root, ECDSA).expect("encodes"),
        root_key,
    )
}

fn holds(whole: &[u8], part: &[u8]) -> bool {
    whole.windows(part.len()).any(|window| window == part)
}

#[test]
fn an_answer_repeats_its_question_and_says_the_status_as_the_rfc_writes_it() {
    let (root, _) = authority(None);
    let issuer = Responder::issuer(&root).expect("a CA");
    let since = time("2025-12-31T23:59:59Z");
    let revoked = |content: &[Vec<u8>]| tlv(0xa1, &content.concat());
    let at = || tlv(GENERALIZED_TIME, b"20251231235959Z");
    let code = |code: u8| tlv(0xa0, &tlv(ENUMERATED, &[code]));
    let because = |reason| CertStatus::Revoked {
        revoked_at: since,
        reason,
    };
    for (status, written) in [
        (CertStatus::Good, vec![0x80, 0]),
        (CertStatus::Unknown, vec![0x82, 0]),
        (CertStatus::OnHold { since }, revoked(&[at(), code(6)])),
        (because(RevocationReason::Unspecified), revoked(&[at()])),
        (
            because(RevocationReason::KeyCompromise),
            revoked(&[at(), code(1)]),
        ),
        (
            because(RevocationReason::PrivilegeWithdrawn),
            revoked(&[at(), code(9)]),
        ),
    ] {
        let asked = Asked::about(&[id(&root, "0102"), id(&root, "03")]).parse();
        let answers: Vec<u8> = asked
            .questions()
            .iter()
            .flat_map(|id| {
                let fields = [
                    id.der().to_vec(),
                    written.clone(),
                    tlv(GENERALIZED_TIME, b"20260102000000Z"),
                    tlv(0xa0, &tlv(GENERALIZED_TIME, b"20260102010000Z")),
                ];
                tlv(SEQUENCE, &fields.concat())
            })
            .collect();
        let response = encoded(&answering(&asked, status), issuer);
        assert!(holds(&response, &tlv(SEQUENCE, &answers)), "{status:?}");
        assert!(!holds(&response, NONCE));
        assert!(!holds(&response, root.der()), "its clients have the issuer");
    }
}

#[test]
fn a_nonce_is_repeated_exactly_when_one_came() {
    let (root, _) = authority(None);
    let issuer = Responder::issuer(&root).expect("a CA");
    for octets in [1, 32, 128] {
        let asked = Asked::about(&[id(&root, "01")]).with_nonce(octets).parse();
        let nonce = extension(NONCE, false, &tlv(OCTET_STRING, &vec![7; octets]));
        let extensions = tlv(0xa1, &tlv(SEQUENCE, &nonce));
        let response = encoded(&answering(&asked, CertStatus::Good), issuer);
        assert!(holds(&response, &extensions), "{octets}");
    }
}

#[test]
fn only_a_certified_responder_signs_for_an_issuer() {
    let (root, root_key) = authority(None);
    let responder = delegated(&root, &root_key);
    let asked = Asked::about(&[id(&root, "01")]).parse();
    let template = answering(&asked, CertStatus::Good);
    let response = encoded(&template, Responder::delegated(&responder).expect("one"));
    assert!(holds(&response, responder.der()));
    let leaf = template_leaf(&root, &root_key);
    for no_responder in [&leaf, &root] {
        assert!(matches!(
            Responder::delegated(no_responder),
            Err(OcspResponseFault::NotAResponder { .. })
        ));
    }
    for no_issuer in [&leaf, &responder] {
        assert!(matches!(
            Responder::issuer(no_issuer),
            Err(OcspResponseFault::NotAnIssuer { .. })
        ));
    }
}

fn template_leaf(root: &Certificate, root_key: &KeyPair) -> Certificate {
    let usage = Usage::Leaf {
        server_auth: true,
        client_auth: true,
    };
    let leaf = template("CN=api", &key(), usage);
    sign(&leaf.to_be_signed(root, ECDSA).expect("encodes"), root_key)
}

#[test]
fn a_response_that_clients_would_refuse_is_not_encoded() {
    let (root, root_key) = authority(None);
    let responder = delegated(&root, &root_key);
    let asked = Asked::about(&[id(&root, "01")]).parse();
    let good = answering(&asked, CertStatus::Good);
    let fault = |template: &OcspResponseTemplate| {
        let responder = Responder::delegated(&responder).expect("one");
        let fault = template
            .to_be_signed(responder, ECDSA)
            .expect_err("a fault");
        assert!(!fault.hint().is_empty());
        fault
    };
    let silent = OcspResponseTemplate {
        answers: Vec::new(),
        ..good.clone()
    };
    assert_eq!(fault(&silent), OcspResponseFault::NoAnswer);
    let second = Duration::from_secs(1);
    for (this_update, produced_at, next_update) in [
        (now().plus(second), now(), now().plus(second)),
        (now(), now(), now()),
        (now(), now(), now().minus(second)),
        (now(), now().plus(second), now().plus(second)),
    ] {
        let disordered = OcspResponseTemplate {
            produced_at,
            this_update,
            next_update,
            ..good.clone()
        };
        assert!(matches!(
            fault(&disordered),
            OcspResponseFault::Times { .. }
        ));
    }
    let last = OcspResponseTemplate {
        next_update: responder.not_after(),
        ..good.clone()
    };
    let signs = Responder::delegated(&responder).expect("one");
    assert!(last.to_be_signed(signs, ECDSA).is_ok());
    let before = responder.not_before().minus(second);
    for (produced_at, next_update) in [
        (now(), responder.not_after().plus(second)),
        (before, responder.not_after()),
    ] {
        let outliving = OcspResponseTemplate {
            produced_at,
            this_update: produced_at,
            next_update,
            ..good.clone()
        };
        assert!(matches!(
            fault(&outliving),
            OcspResponseFault::OutlivesResponder { .. }
        ));
    }
}

#[test]
fn errors_are_a_status_and_no_more() {
    for (response, code) in [
        (MALFORMED_REQUEST, 1),
        (INTERNAL_ERROR, 2),
        (TRY_LATER, 3),
        (UNAUTHORIZED, 6),
    ] {
        assert_eq!(response[..], tlv(SEQUENCE, &tlv(ENUMERATED, &[code])));
    }
}
