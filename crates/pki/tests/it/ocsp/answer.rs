//! What a client makes of an answer: each defect alone.

use std::time::Duration;

use countersign_pki::certificate::Certificate;
use countersign_pki::feed::RevocationReason;
use countersign_pki::ocsp::{
    AnswerRules, CertId, CertIdHash, CertStatus, IssuerHashes, MAX_RESPONSE_BYTES, OcspAnswer,
    OcspFault, OcspQuestion, OcspRefused, OcspRequest, OcspResponseTemplate, OcspStanding,
    OcspStatus, Responder,
};
use countersign_pki::revocation::{Revocation, RevocationMode, RevocationStatus};
use countersign_pki::serial::SerialNumber;
use countersign_pki::tbs::{SignatureAlgorithm, Template, Usage};
use countersign_pki::time::UnixTime;
use rcgen::{KeyPair, SigningKey as _};

use super::NONCE;
use crate::forge::{
    BIT_STRING, ECDSA_SHA1, ECDSA_SHA256, ENUMERATED, EXTENDED_KEY_USAGE, Forge, INTEGER,
    KEY_USAGE, OCTET_STRING, OID, SEQUENCE, authority, extension, key, purposes, sign, template,
    time, tlv,
};

const ECDSA: SignatureAlgorithm = SignatureAlgorithm::EcdsaP256Sha256;
const BASIC: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 0x30, 1, 1];
const GENERALIZED_TIME: u8 = 0x18;
const HOUR: Duration = Duration::from_hours(1);

fn now() -> UnixTime {
    time("2026-06-02T00:00:00Z")
}

fn serial() -> SerialNumber {
    "0102".parse().expect("a serial")
}

fn at(text: &str) -> Vec<u8> {
    tlv(GENERALIZED_TIME, text.as_bytes())
}

/// A response in DER, field by field, to be spoilt one at a time.
#[derive(Clone)]
struct Answered {
    status: u8,
    version: Vec<u8>,
    responder: Vec<u8>,
    produced_at: Vec<u8>,
    singles: Vec<Vec<u8>>,
    extensions: Vec<Vec<u8>>,
    algorithm: Vec<u8>,
    certificates: Vec<Vec<u8>>,
    after: Vec<u8>,
}

/// Fields of a `SingleResponse`.
#[derive(Clone)]
struct Said {
    id: Vec<u8>,
    status: Vec<u8>,
    this_update: Vec<u8>,
    next_update: Vec<u8>,
    extensions: Vec<u8>,
}

impl Said {
    fn of(issuer: &Certificate, hash: CertIdHash) -> Self {
        let id = CertId::of(&IssuerHashes::of(issuer), serial(), hash);
        Self {
            id: id.der().to_vec(),
            status: vec![0x80, 0],
            this_update: at("20260601230000Z"),
            next_update: tlv(0xa0, &at("20260602003000Z")),
            extensions: Vec::new(),
        }
    }

    fn der(&self) -> Vec<u8> {
        let fields = [
            self.id.as_slice(),
            &self.status,
            &self.this_update,
            &self.next_update,
            &self.extensions,
        ];
        tlv(SEQUENCE, &fields.concat())
    }
}

impl Answered {
    fn good(issuer: &Certificate) -> Self {
        Self::by(issuer, vec![Said::of(issuer, CertIdHash::Sha1).der()])
    }

    fn by(signer: &Certificate, singles: Vec<Vec<u8>>) -> Self {
        Self {
            status: 0,
            version: Vec::new(),
            responder: tlv(0xa1, signer.subject_der()),
            produced_at: at("20260601235900Z"),
            singles,
            extensions: Vec::new(),
            algorithm: tlv(SEQUENCE, &tlv(OID, ECDSA_SHA256)),
            certificates: Vec::new(),
            after: Vec::new(),
        }
    }

    fn signed(&self, key: &KeyPair) -> Vec<u8> {
        let extensions = match self.extensions.as_slice() {
            [] => Vec::new(),
            all => tlv(0xa1, &tlv(SEQUENCE, &all.concat())),
        };
        let data = [
            self.version.clone(),
            self.responder.clone(),
            self.produced_at.clone(),
            tlv(SEQUENCE, &self.singles.concat()),
            extensions,
        ];
        let data = tlv(SEQUENCE, &data.concat());
        let signature = key.sign(&data).expect("a signature");
        let certificates = match self.certificates.as_slice() {
            [] => Vec::new(),
            all => tlv(0xa0, &tlv(SEQUENCE, &all.concat())),
        };
        let signature = tlv(BIT_STRING, &[vec![0], signature].concat());
        let basic = [data, self.algorithm.clone(), signature, certificates].concat();
        let bytes = [tlv(OID, BASIC), tlv(OCTET_STRING, &tlv(SEQUENCE, &basic))];
        let parts = [
            tlv(ENUMERATED, &[self.status]),
            tlv(0xa0, &tlv(SEQUENCE, &bytes.concat())),
        ];
        let mut der = tlv(SEQUENCE, &parts.concat());
        der.extend_from_slice(&self.after);
        der
    }
}

fn question(issuer: &Certificate) -> OcspQuestion {
    OcspQuestion::new(issuer.clone(), serial(), [7; 32])
}

const RULES: AnswerRules<'static> = AnswerRules {
    signers: &[],
    max_age: HOUR,
};

fn judge(issuer: &Certificate, answer: &[u8]) -> Result<OcspAnswer, OcspRefused> {
    question(issuer).judge(answer, &RULES, |_| false, now())
}

/// One whom the issuer certified for answers, with its key.
fn responder(issuer: &Certificate, issuer_key: &KeyPair) -> (Certificate, KeyPair) {
    let key = key();
    let template = Template {
        not_after: time("2026-06-08T00:00:00Z"),
        ..template("CN=OCSP responder", &key, Usage::OcspResponder)
    };
    let to_be_signed = template.to_be_signed(issuer, ECDSA).expect("encodes");
    (sign(&to_be_signed, issuer_key), key)
}

fn delegated(signer: &Certificate, issuer: &Certificate) -> Answered {
    Answered {
        certificates: vec![signer.der().to_vec()],
        ..Answered::by(signer, vec![Said::of(issuer, CertIdHash::Sha1).der()])
    }
}

#[test]
fn question_is_what_responders_understand() {
    let (root, _) = authority(None);
    let request = OcspRequest::parse(&question(&root).der()).expect("our own responder takes it");
    let expected = CertId::of(&IssuerHashes::of(&root), serial(), CertIdHash::Sha1);
    assert_eq!(request.questions(), [expected]);
    assert_eq!(request.nonce().expect("a nonce").as_bytes(), [7; 32]);
}

#[test]
fn answer_of_our_own_responder_is_accepted_with_its_times() {
    let (root, root_key) = authority(None);
    let (certified, certified_key) = responder(&root, &root_key);
    let request = OcspRequest::parse(&question(&root).der()).expect("a request");
    let revoked_at = time("2026-05-01T00:00:00Z");
    let reason = RevocationReason::KeyCompromise;
    let revocation = Revocation { revoked_at, reason };
    let hold = Revocation {
        revoked_at,
        reason: RevocationReason::CertificateHold,
    };
    for (said, heard) in [
        (CertStatus::Good, OcspStatus::Good),
        (CertStatus::Unknown, OcspStatus::Unknown),
        (
            CertStatus::OnHold { since: revoked_at },
            OcspStatus::Revoked(hold),
        ),
        (
            CertStatus::Revoked { revoked_at, reason },
            OcspStatus::Revoked(revocation),
        ),
    ] {
        let template = OcspResponseTemplate {
            produced_at: now(),
            this_update: now(),
            next_update: now().plus(Duration::from_mins(10)),
            answers: vec![(request.questions()[0].clone(), said)],
            nonce: request.nonce().cloned(),
        };
        for (signing, key) in [
            (Responder::issuer(&root).expect("a CA"), &root_key),
            (
                Responder::delegated(&certified).expect("one"),
                &certified_key,
            ),
        ] {
            let unsigned = template.to_be_signed(signing, ECDSA).expect("encodes");
            let signature = key.sign(unsigned.bytes()).expect("a signature");
            let answer = judge(&root, &unsigned.complete(&signature)).expect("accepted");
            assert_eq!(answer.status, heard);
            assert_eq!(answer.until, now().plus(Duration::from_mins(10)));
        }
    }
}

#[test]
fn answers_that_were_made_beforehand_or_by_other_habits_are_accepted() {
    let (root, root_key) = authority(None);
    let good = Answered::good(&root);
    let accepted = |answered: &Answered| judge(&root, &answered.signed(&root_key)).expect("good");
    assert_eq!(accepted(&good).status, OcspStatus::Good);
    let other = CertId::of(
        &IssuerHashes::of(&root),
        "0a0b".parse().expect("a serial"),
        CertIdHash::Sha1,
    );
    let of_other = Said {
        id: other.der().to_vec(),
        status: vec![0x82, 0],
        ..Said::of(&root, CertIdHash::Sha1)
    };
    let by_sha256 = Said::of(&root, CertIdHash::Sha256).der();
    for singles in [
        vec![by_sha256.clone()],
        vec![of_other.der(), by_sha256, of_other.der()],
    ] {
        let answered = Answered {
            singles,
            ..good.clone()
        };
        assert_eq!(accepted(&answered).status, OcspStatus::Good);
    }
    let endless = Said {
        next_update: Vec::new(),
        this_update: at("20260601234500Z"),
        ..Said::of(&root, CertIdHash::Sha1)
    };
    let answered = Answered {
        singles: vec![endless.der()],
        ..good.clone()
    };
    assert_eq!(accepted(&answered).until, time("2026-06-02T00:45:00Z"));
    let long = Said {
        next_update: tlv(0xa0, &at("20260702000000Z")),
        ..Said::of(&root, CertIdHash::Sha1)
    };
    let answered = Answered {
        singles: vec![long.der()],
        extensions: vec![extension(NONCE, false, &tlv(OCTET_STRING, &[7; 32]))],
        ..good.clone()
    };
    assert_eq!(
        accepted(&answered).until,
        now().plus(HOUR),
        "max_age bounds it"
    );
    let ahead = Said {
        this_update: at("20260602000459Z"),
        ..Said::of(&root, CertIdHash::Sha1)
    };
    let answered = Answered {
        singles: vec![ahead.der()],
        version: tlv(0xa0, &tlv(INTEGER, &[0])),
        extensions: vec![
            extension(NONCE, false, &tlv(OCTET_STRING, &[7; 32])),
            extension(&[0x2a, 3], false, &[5, 0]),
        ],
        ..good
    };
    assert_eq!(accepted(&answered).status, OcspStatus::Good);
}

/// Whoever stands between may send it as long as it lives.
#[test]
fn answer_without_the_nonce_is_no_older_than_max_age_unless_it_says_revoked() {
    let (root, root_key) = authority(None);
    let judged = |this_update: &str, status: Vec<u8>, extensions: Vec<Vec<u8>>| {
        let said = Said {
            status,
            this_update: at(this_update),
            next_update: tlv(0xa0, &at("20260609000000Z")),
            ..Said::of(&root, CertIdHash::Sha1)
        };
        let answered = Answered {
            extensions,
            ..Answered::by(&root, vec![said.der()])
        };
        judge(&root, &answered.signed(&root_key))
    };
    let good = || vec![0x80, 0];
    let ours = extension(NONCE, false, &tlv(OCTET_STRING, &[7; 32]));
    let young = judged("20260601231500Z", good(), Vec::new()).expect("young");
    assert_eq!(young.until, time("2026-06-02T00:15:00Z"));
    for status in [good(), vec![0x82, 0]] {
        let old = judged("20260601225959Z", status.clone(), Vec::new());
        assert!(matches!(old, Err(OcspRefused::Stale { .. })), "{old:?}");
        let fresh = judged("20260601225959Z", status, vec![ours.clone()]).expect("for us");
        assert_eq!(fresh.until, now().plus(HOUR));
    }
    let revoked = tlv(0xa1, &at("20260601000000Z"));
    let revoked = judged("20260601000000Z", revoked, Vec::new()).expect("heard");
    assert!(matches!(revoked.status, OcspStatus::Revoked(_)));
}

#[test]
fn whatever_a_responder_says_a_fault_is_short() {
    let (root, root_key) = authority(None);
    let mut oid = vec![0x2a];
    oid.extend([0x83, 0x7f].repeat(8000));
    let answered = Answered {
        algorithm: tlv(SEQUENCE, &tlv(OID, &oid)),
        ..Answered::good(&root)
    };
    let refused = judge(&root, &answered.signed(&root_key)).expect_err("no such algorithm");
    assert!(refused.to_string().len() < 512, "{refused}");
    for fault in [
        OcspFault::Invalid {
            why: "é".repeat(5000),
        },
        OcspFault::Unreachable {
            why: "é".repeat(5000),
        },
    ] {
        let (OcspFault::Invalid { why } | OcspFault::Unreachable { why }) = fault.bounded() else {
            panic!("another fault");
        };
        assert_eq!(why.chars().count(), 512);
    }
}

/// What is wrong with the bytes, whoever signed them.
#[test]
#[expect(clippy::too_many_lines, reason = "a table, one row a defect")]
fn answer_with_a_single_defect_is_refused() {
    let (root, root_key) = authority(None);
    let good = Answered::good(&root);
    let said = Said::of(&root, CertIdHash::Sha1);
    let with = |single: Said| Answered {
        singles: vec![single.der()],
        ..good.clone()
    };
    let of_serial = |text: &str| {
        let serial = text.parse().expect("a serial");
        CertId::of(&IssuerHashes::of(&root), serial, CertIdHash::Sha1)
    };
    let (stranger, _) = authority(None);
    let of_stranger = CertId::of(&IssuerHashes::of(&stranger), serial(), CertIdHash::Sha1);
    // The same name and another key; name and key must both be the issuer's.
    assert_eq!(stranger.subject_der(), root.subject_der());
    let nonce = |octets: &[u8]| Answered {
        extensions: vec![extension(NONCE, false, &tlv(OCTET_STRING, octets))],
        ..good.clone()
    };
    let defects: Vec<(&str, Answered, &str)> = vec![
        (
            "another serial",
            with(Said {
                id: of_serial("0103").der().to_vec(),
                ..said.clone()
            }),
            "says nothing",
        ),
        (
            "another issuer's serial",
            with(Said {
                id: of_stranger.der().to_vec(),
                ..said.clone()
            }),
            "says nothing",
        ),
        (
            "nobody",
            Answered {
                singles: Vec::new(),
                ..good.clone()
            },
            "says nothing",
        ),
        (
            "twice",
            Answered {
                singles: vec![said.der(), said.der()],
                ..good.clone()
            },
            "twice",
        ),
        (
            "too many",
            Answered {
                singles: vec![said.der(); 129],
                ..good.clone()
            },
            "more than 128",
        ),
        (
            "over",
            with(Said {
                next_update: tlv(0xa0, &at("20260601235959Z")),
                ..said.clone()
            }),
            "is over",
        ),
        (
            "too old without nextUpdate",
            with(Said {
                next_update: Vec::new(),
                this_update: at("20260601225959Z"),
                ..said.clone()
            }),
            "is over",
        ),
        (
            "later",
            with(Said {
                this_update: at("20260602000501Z"),
                ..said.clone()
            }),
            "begins later",
        ),
        (
            "made later",
            Answered {
                produced_at: at("20260602000501Z"),
                ..good.clone()
            },
            "begins later",
        ),
        (
            "times reversed",
            with(Said {
                this_update: at("20260602000200Z"),
                next_update: tlv(0xa0, &at("20260602000100Z")),
                ..said.clone()
            }),
            "before its thisUpdate",
        ),
        (
            "fractions of seconds",
            with(Said {
                this_update: at("20260601230000.5Z"),
                ..said.clone()
            }),
            "thisUpdate",
        ),
        (
            "UTCTime",
            with(Said {
                this_update: tlv(0x17, b"260601230000Z"),
                ..said.clone()
            }),
            "thisUpdate",
        ),
        (
            "a status that is none",
            with(Said {
                status: vec![0x83, 0],
                ..said.clone()
            }),
            "certStatus",
        ),
        (
            "good with content",
            with(Said {
                status: vec![0x80, 1, 0],
                ..said.clone()
            }),
            "certStatus",
        ),
        (
            "revoked without a time",
            with(Said {
                status: vec![0xa1, 0],
                ..said.clone()
            }),
            "revocationTime",
        ),
        (
            "critical single extension",
            with(Said {
                extensions: tlv(0xa1, &tlv(SEQUENCE, &extension(&[0x2a, 3], true, &[5, 0]))),
                ..said.clone()
            }),
            "critical extension",
        ),
        (
            "critical extension",
            Answered {
                extensions: vec![extension(&[0x2a, 3], true, &[5, 0])],
                ..good.clone()
            },
            "critical extension",
        ),
        ("other nonce", nonce(&[8; 32]), "another nonce"),
        ("shorter nonce", nonce(&[7; 31]), "another nonce"),
        ("empty nonce", nonce(&[]), "another nonce"),
        (
            "nonce of another type",
            Answered {
                extensions: vec![extension(NONCE, false, &tlv(INTEGER, &[7]))],
                ..good.clone()
            },
            "the nonce",
        ),
        (
            "two nonces",
            Answered {
                extensions: vec![extension(NONCE, false, &tlv(OCTET_STRING, &[7; 32])); 2],
                ..good.clone()
            },
            "twice",
        ),
        (
            "version 2",
            Answered {
                version: tlv(0xa0, &tlv(INTEGER, &[1])),
                ..good.clone()
            },
            "version",
        ),
        (
            "a responder of no kind",
            Answered {
                responder: tlv(0xa3, root.subject_der()),
                ..good.clone()
            },
            "responderID",
        ),
        (
            "a responder by a key that is none",
            Answered {
                responder: tlv(0xa2, &tlv(OCTET_STRING, &[0; 20])),
                ..good.clone()
            },
            "not the issuer's",
        ),
        (
            "SHA-1",
            Answered {
                algorithm: tlv(SEQUENCE, &tlv(OID, ECDSA_SHA1)),
                ..good.clone()
            },
            "does not verify",
        ),
        (
            "another algorithm",
            Answered {
                algorithm: tlv(SEQUENCE, &tlv(OID, &[0x2b, 0x65, 0x70])),
                ..good.clone()
            },
            "does not verify",
        ),
        (
            "too many certificates",
            Answered {
                certificates: vec![root.der().to_vec(); 9],
                ..good.clone()
            },
            "more than 8",
        ),
        (
            "trailing bytes",
            Answered {
                after: vec![0],
                ..good.clone()
            },
            "follow",
        ),
        (
            "a status that does not exist",
            Answered {
                status: 4,
                ..good.clone()
            },
            "responseStatus",
        ),
        (
            "tryLater over a good answer",
            Answered {
                status: 3,
                ..good.clone()
            },
            "tryLater",
        ),
    ];
    for (defect, answered, expected) in defects {
        let fault = judge(&root, &answered.signed(&root_key)).expect_err(defect);
        assert!(fault.to_string().contains(expected), "{defect}: {fault}");
    }
}

#[test]
fn bytes_that_are_no_answer_are_refused() {
    let (root, root_key) = authority(None);
    let good = Answered::good(&root).signed(&root_key);
    assert!(judge(&root, &good).is_ok());
    for end in 0..good.len() {
        assert!(judge(&root, &good[..end]).is_err(), "cut at {end}");
    }
    for at in 0..good.len() {
        let mut altered = good.clone();
        altered[at] ^= 1;
        // Nothing that an altered byte says is believed; what nobody signs may only turn it into no answer.
        if let Ok(answer) = judge(&root, &altered) {
            assert_eq!(answer, judge(&root, &good).expect("good"), "byte {at}");
        }
    }
    let huge = [good.clone(), vec![0; MAX_RESPONSE_BYTES]].concat();
    for garbage in [
        &b""[..],
        b"<html>",
        &[0x30, 0x80],
        &[0x30, 3, 0x0a, 1, 0],
        &huge,
    ] {
        assert!(matches!(
            judge(&root, garbage),
            Err(OcspRefused::Malformed { .. })
        ));
    }
    for (code, status) in [
        (1, "malformedRequest"),
        (2, "internalError"),
        (3, "tryLater"),
        (5, "sigRequired"),
        (6, "unauthorized"),
    ] {
        let fault = judge(&root, &[0x30, 3, 0x0a, 1, code]).expect_err("an error");
        assert_eq!(fault, OcspRefused::Status { status });
    }
}

#[test]
fn nobody_signs_for_an_issuer_but_itself_and_whom_it_certified() {
    let (root, root_key) = authority(None);
    let (stranger, stranger_key) = authority(None);
    let refused = |why: &str, answered: &Answered, key: &KeyPair, expected: &str| {
        let fault = judge(&root, &answered.signed(key)).expect_err(why);
        assert!(fault.to_string().contains(expected), "{why}: {fault}");
    };
    refused(
        "another key",
        &Answered::good(&root),
        &stranger_key,
        "does not verify",
    );
    let (certified, certified_key) = responder(&root, &root_key);
    let good = delegated(&certified, &root);
    assert!(judge(&root, &good.signed(&certified_key)).is_ok());
    refused(
        "the issuer's key in the responder's name",
        &good,
        &root_key,
        "does not verify",
    );
    let without = Answered {
        certificates: Vec::new(),
        ..good.clone()
    };
    refused(
        "no certificate",
        &without,
        &certified_key,
        "brings no certificate",
    );
    let (foreign, foreign_key) = responder(&stranger, &stranger_key);
    refused(
        "whom another CA of the name certified",
        &delegated(&foreign, &root),
        &foreign_key,
        "did not sign",
    );

    // A CA below the issuer certifies a responder: not directly.
    let ca_key = key();
    let ca = template("CN=Below", &ca_key, Usage::Authority { path_len: None });
    let ca = sign(&ca.to_be_signed(&root, ECDSA).expect("encodes"), &root_key);
    let (indirect, indirect_key) = responder(&ca, &ca_key);
    let mut chained = delegated(&indirect, &root);
    chained.certificates.push(ca.der().to_vec());
    refused(
        "whom a CA below certified",
        &chained,
        &indirect_key,
        "did not sign",
    );
    let below = delegated(&ca, &root);
    refused("a CA below itself", &below, &ca_key, "lacks OCSPSigning");

    let leaf_key = key();
    let usage = Usage::Leaf {
        server_auth: true,
        client_auth: true,
    };
    let leaf = template("CN=api", &leaf_key, usage);
    let leaf = sign(
        &leaf.to_be_signed(&root, ECDSA).expect("encodes"),
        &root_key,
    );
    refused(
        "a client",
        &delegated(&leaf, &root),
        &leaf_key,
        "lacks OCSPSigning",
    );

    for (why, begin, end) in [
        (
            "has not begun",
            "2026-06-02T00:00:01Z",
            "2026-06-08T00:00:00Z",
        ),
        ("has ended", "2026-05-08T00:00:00Z", "2026-06-01T23:59:59Z"),
    ] {
        let key = key();
        let template = Template {
            not_before: time(begin),
            not_after: time(end),
            ..template("CN=OCSP responder", &key, Usage::OcspResponder)
        };
        let signer = sign(
            &template.to_be_signed(&root, ECDSA).expect("encodes"),
            &root_key,
        );
        refused(why, &delegated(&signer, &root), &key, "not valid now");
    }
    let revoked = question(&root).judge(
        &good.signed(&certified_key),
        &RULES,
        |serial| serial == certified.serial(),
        now(),
    );
    let fault = revoked.expect_err("a responder that is revoked");
    assert!(fault.to_string().contains("is revoked"), "{fault}");
}

/// A responder's certificate whose signature is a forger's never counts, whatever it says.
#[test]
fn forged_responder_certificate_signs_nothing() {
    let (root, _) = authority(None);
    let forged = Forge::leaf(&root)
        .with(
            EXTENDED_KEY_USAGE,
            extension(EXTENDED_KEY_USAGE, false, &purposes(&[9])),
        )
        .with(
            KEY_USAGE,
            extension(KEY_USAGE, true, &tlv(BIT_STRING, &[7, 0x80])),
        )
        .parse();
    let fault = judge(&root, &delegated(&forged, &root).signed(&key())).expect_err("forged");
    assert!(fault.to_string().contains("did not sign"), "{fault}");
}

#[test]
fn named_responder_is_the_only_one_that_is_heard() {
    let (root, root_key) = authority(None);
    let (certified, certified_key) = responder(&root, &root_key);
    let own_key = key();
    let own = template(
        "CN=Our responder",
        &own_key,
        Usage::Authority { path_len: None },
    );
    let own = sign(&own.to_be_self_signed(ECDSA).expect("encodes"), &own_key);
    let signers = [own.clone()];
    let judge = |answer: &[u8], now| {
        let rules = AnswerRules {
            signers: &signers,
            max_age: HOUR,
        };
        question(&root).judge(answer, &rules, |_| false, now)
    };
    let said = vec![Said::of(&root, CertIdHash::Sha1).der()];
    let answer = Answered::by(&own, said.clone()).signed(&own_key);
    assert_eq!(
        judge(&answer, now()).expect("good").status,
        OcspStatus::Good
    );
    for other in [
        Answered::good(&root).signed(&root_key),
        delegated(&certified, &root).signed(&certified_key),
        Answered::by(&own, said).signed(&root_key),
    ] {
        assert!(matches!(
            judge(&other, now()),
            Err(OcspRefused::WrongSigner { .. })
        ));
    }
    assert!(
        self::judge(&root, &answer).is_err(),
        "where it is not named"
    );
}

#[test]
fn mode_says_what_becomes_of_whom_no_fresh_answer_speaks_of() {
    use RevocationStatus::{Checked, InGrace, NotChecked};
    let answer = |status| OcspAnswer {
        status,
        this_update: now(),
        until: now().plus(HOUR),
    };
    let revocation = Revocation {
        revoked_at: now(),
        reason: RevocationReason::KeyCompromise,
    };
    let (good, unknown) = (answer(OcspStatus::Good), answer(OcspStatus::Unknown));
    let revoked = answer(OcspStatus::Revoked(revocation));
    let silent = OcspFault::Unreachable {
        why: "silence".to_owned(),
    };
    let (fresh, over) = (now().plus(HOUR), now().plus(HOUR + Duration::from_secs(1)));
    let (last, past) = (
        now().plus(2 * HOUR),
        now().plus(2 * HOUR + Duration::from_secs(1)),
    );
    let modes = [
        RevocationMode::Hard,
        RevocationMode::Grace(HOUR),
        RevocationMode::DangerousSoft,
    ];
    let all = |answer: Option<&OcspAnswer>, failure: Option<&OcspFault>, now| {
        modes.map(|mode| OcspStanding::of(answer, failure, mode, now))
    };
    let stale = OcspStanding::Refused(OcspFault::Stale {
        ended: fresh,
        why: "silence".to_owned(),
    });
    let admitted = OcspStanding::Admitted;
    for failure in [None, Some(&silent)] {
        assert_eq!(all(Some(&good), failure, fresh), [Checked; 3].map(admitted));
        for unknown in all(Some(&unknown), failure, fresh) {
            assert_eq!(unknown, OcspStanding::Refused(OcspFault::Unknown));
        }
        for time in [now(), fresh, over, past, past.plus(1000 * HOUR)] {
            for revoked in all(Some(&revoked), failure, time) {
                assert_eq!(revoked, OcspStanding::Revoked(revocation));
            }
        }
    }
    for awaited in [
        all(None, None, now()),
        all(Some(&good), None, over),
        all(Some(&unknown), None, over),
    ] {
        assert!(awaited.iter().all(|it| *it == OcspStanding::Awaited));
    }
    let failed = OcspStanding::Refused(silent.clone());
    assert_eq!(
        all(None, Some(&silent), now()),
        [failed.clone(), failed.clone(), admitted(NotChecked)]
    );
    assert_eq!(
        all(Some(&good), Some(&silent), last),
        [stale.clone(), admitted(InGrace), admitted(NotChecked)]
    );
    assert_eq!(
        all(Some(&good), Some(&silent), past),
        [stale.clone(), stale, admitted(NotChecked)]
    );
    // Nobody was ever said to be good: there is nothing to be gracious about.
    assert_eq!(
        all(Some(&unknown), Some(&silent), over),
        [failed.clone(), failed, admitted(NotChecked)]
    );
}

/// A server passes on what it asked for, or what somebody gave it.
#[test]
fn answer_to_another_is_good_for_as_long_as_it_says_and_no_longer() {
    let (root, root_key) = authority(None);
    let rules = AnswerRules {
        signers: &[],
        max_age: HOUR * 24 * 400,
    };
    let judged = |next_update: &str, issuer: &Certificate, key: &KeyPair| {
        let said = Said {
            this_update: at("20260501000000Z"),
            next_update: tlv(0xa0, &at(next_update)),
            ..Said::of(issuer, CertIdHash::Sha1)
        };
        let answered = Answered {
            extensions: vec![extension(NONCE, false, &tlv(OCTET_STRING, &[9; 8]))],
            ..Answered::by(issuer, vec![said.der()])
        };
        let question = OcspQuestion::of_another(root.clone(), serial());
        question.judge(&answered.signed(key), &rules, |_| false, now())
    };
    let good = judged("20260609000000Z", &root, &root_key).expect("another's nonce is no fault");
    assert_eq!(good.until, time("2026-06-09T00:00:00Z"));
    let old = judged("20260601000000Z", &root, &root_key);
    assert!(matches!(old, Err(OcspRefused::Stale { .. })), "{old:?}");
    let forged = judged("20260609000000Z", &root, &key());
    assert!(
        matches!(forged, Err(OcspRefused::BadSignature { .. })),
        "{forged:?}"
    );
    let (other, other_key) = authority(None);
    let of_another = judged("20260609000000Z", &other, &other_key);
    assert!(of_another.is_err(), "{of_another:?}");
    let unasked = OcspQuestion::of_another(root.clone(), serial());
    let request = OcspRequest::parse(&unasked.der()).expect("a request without extensions");
    assert!(request.nonce().is_none());
}
