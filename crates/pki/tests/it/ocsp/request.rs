use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE};
use countersign_pki::ocsp::{
    CertId, CertIdHash, IssuerHashes, MAX_GET_BYTES, MAX_NONCE_OCTETS, MAX_QUESTIONS,
    MAX_REQUEST_BYTES, OcspRequest,
};

use super::{Asked, NONCE, SHA1, foreign_id, id};
use crate::forge::{
    BIT_STRING, ECDSA_SHA256, INTEGER, OCTET_STRING, OID, SEQUENCE, authority, extension, tlv,
};

fn refused(der: &[u8], why: &str) {
    let fault = OcspRequest::parse(der).expect_err(why);
    assert!(fault.why.contains(why), "{fault}, not {why}");
}

#[test]
fn questions_are_read_in_order_and_kept_byte_for_byte() {
    let (root, _) = authority(None);
    let issuer = IssuerHashes::of(&root);
    let ids = [
        id(&root, "02"),
        CertId::of(&issuer, "01".parse().expect("a serial"), CertIdHash::Sha256),
        id(&root, "02"),
    ];
    let request = Asked::about(&ids).parse();
    assert_eq!(request.questions(), ids);
    assert_eq!(request.nonce(), None);
    assert!(request.questions().iter().all(|id| issuer.issued(id)));
    assert_eq!(request.questions()[1].hash(), Some(CertIdHash::Sha256));
}

#[test]
fn an_issuer_is_found_by_name_and_key_under_one_hash() {
    let (root, _) = authority(None);
    let (other, _) = authority(None);
    let issuer = IssuerHashes::of(&root);
    assert!(issuer.issued(&id(&root, "01")));
    // The same name over another key.
    assert_eq!(root.subject_der(), other.subject_der());
    assert!(!issuer.issued(&id(&other, "01")));
    let asked = |der: Vec<u8>| {
        let mut asked = Asked::about(&[]);
        asked.questions.push(tlv(SEQUENCE, &der));
        asked.parse().questions()[0].clone()
    };
    let own = id(&root, "01");
    // SEQUENCE, AlgorithmIdentifier with NULL, then the two hashes of 20 octets.
    let (name, key) = (&own.der()[15..35], &own.der()[37..57]);
    let found = asked(foreign_id(SHA1, name, key, &[1]));
    assert!(issuer.issued(&found), "without parameters it is the same");
    for (algorithm, name, key) in [
        (SHA1, name, &[0; 20][..]),
        (SHA1, &[0; 20], key),
        (SHA1, key, name),
        (SHA1, &name[..19], key),
        (SHA1, &[], &[]),
        // SHA-512, which no issuer is hashed by here.
        (&[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 3], name, key),
        (&[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1], name, key),
    ] {
        assert!(!issuer.issued(&asked(foreign_id(algorithm, name, key, &[1]))));
    }
}

#[test]
fn a_serial_that_no_certificate_has_is_a_question_all_the_same() {
    for serial in [&[0][..], &[0x80], &[1; 21]] {
        let mut asked = Asked::about(&[]);
        asked
            .questions
            .push(tlv(SEQUENCE, &foreign_id(SHA1, &[1; 20], &[2; 20], serial)));
        assert_eq!(asked.parse().questions()[0].serial(), None);
    }
}

#[test]
fn nonces_have_1_to_128_octets() {
    let (root, _) = authority(None);
    let asked = Asked::about(&[id(&root, "01")]);
    for octets in [1, 16, 32, MAX_NONCE_OCTETS] {
        let request = asked.clone().with_nonce(octets).parse();
        let nonce = request.nonce().expect("asked for");
        assert_eq!(nonce.as_bytes(), vec![7; octets]);
    }
    for octets in [0, MAX_NONCE_OCTETS + 1, 1000] {
        refused(&asked.clone().with_nonce(octets).der(), "the nonce has");
    }
    let spoilt = |value: &[u8]| {
        let mut asked = asked.clone();
        asked.extensions.push(extension(NONCE, false, value));
        asked.der()
    };
    refused(&spoilt(&[7; 16]), "the nonce");
    refused(&spoilt(&[]), "the nonce");
    refused(&spoilt(&tlv(INTEGER, &[7])), "the nonce has the ASN.1 type");
    let trailing = [tlv(OCTET_STRING, &[7]), vec![5, 0]].concat();
    refused(&spoilt(&trailing), "bytes follow the nonce");
    refused(
        &asked.clone().with_nonce(16).with_nonce(16).der(),
        "stands there twice",
    );
}

#[test]
fn unknown_extensions_pass_unless_they_are_critical() {
    let (root, _) = authority(None);
    // Acceptable response types (RFC 6960 §4.4.3).
    let acceptable = &[0x2b, 6, 1, 5, 5, 7, 0x30, 1, 4];
    for (critical, single) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut asked = Asked::about(&[id(&root, "01")]);
        let extension = extension(acceptable, critical, &[0x30, 0]);
        if single {
            let beside = tlv(0xa0, &tlv(SEQUENCE, &extension));
            asked.questions = vec![tlv(SEQUENCE, &[id(&root, "01").der(), &beside].concat())];
        } else {
            asked.extensions.push(extension);
        }
        if critical {
            refused(
                &asked.der(),
                "critical extension 1.3.6.1.5.5.7.48.1.4 is not known",
            );
        } else {
            assert_eq!(asked.parse().questions().len(), 1);
        }
    }
    let mut critical_nonce = Asked::about(&[id(&root, "01")]);
    critical_nonce
        .extensions
        .push(extension(NONCE, true, &tlv(OCTET_STRING, &[7; 32])));
    assert!(critical_nonce.parse().nonce().is_some());
    let mut beside = Asked::about(&[id(&root, "01")]);
    let nonce = extension(NONCE, false, &tlv(OCTET_STRING, &[7; 32]));
    let nonce = tlv(0xa0, &tlv(SEQUENCE, &nonce));
    beside.questions = vec![tlv(SEQUENCE, &[id(&root, "01").der(), &nonce].concat())];
    refused(&beside.der(), "beside one certificate");
}

#[test]
fn a_signed_request_is_answered_like_an_unsigned_one_if_it_is_well_formed() {
    let (root, _) = authority(None);
    let algorithm = tlv(SEQUENCE, &tlv(OID, ECDSA_SHA256));
    let certificates = tlv(0xa0, &tlv(SEQUENCE, root.der()));
    let signed = |parts: &[Vec<u8>]| Asked {
        requestor: tlv(0xa1, &tlv(0x82, b"client.example")),
        signature: tlv(0xa0, &tlv(SEQUENCE, &parts.concat())),
        ..Asked::about(&[id(&root, "01")])
    };
    let bits = tlv(BIT_STRING, &[0, 1, 2]);
    for parts in [
        &[algorithm.clone(), bits.clone()][..],
        &[algorithm.clone(), bits.clone(), certificates.clone()],
    ] {
        assert_eq!(signed(parts).parse().questions(), [id(&root, "01")]);
    }
    for parts in [
        &[][..],
        std::slice::from_ref(&algorithm),
        &[bits.clone(), algorithm.clone()],
        &[algorithm.clone(), bits.clone(), certificates, bits],
        &[algorithm.clone(), tlv(BIT_STRING, &[])],
    ] {
        assert!(OcspRequest::parse(&signed(parts).der()).is_err());
    }
}

#[test]
fn requests_out_of_bounds_are_refused() {
    let (root, _) = authority(None);
    let ids = |count: usize| vec![id(&root, "01"); count];
    assert_eq!(
        Asked::about(&ids(MAX_QUESTIONS)).parse().questions().len(),
        MAX_QUESTIONS
    );
    refused(
        &Asked::about(&ids(MAX_QUESTIONS + 1)).der(),
        "more than 20 certificates",
    );
    refused(&Asked::about(&[]).der(), "about no certificate");
    let mut fat = Asked::about(&ids(1));
    fat.requestor = tlv(0xa1, &tlv(0x82, &[b'a'; MAX_REQUEST_BYTES]));
    refused(&fat.der(), "at most 4096 are taken");
    let excess = fat.der().len() - MAX_REQUEST_BYTES;
    fat.requestor = tlv(0xa1, &tlv(0x82, &vec![b'a'; MAX_REQUEST_BYTES - excess]));
    assert_eq!(fat.der().len(), MAX_REQUEST_BYTES);
    assert_eq!(fat.parse().questions().len(), 1);
}

#[test]
fn malformed_requests_are_refused() {
    let (root, _) = authority(None);
    let asked = Asked::about(&[id(&root, "01"), id(&root, "02")]).with_nonce(32);
    let der = asked.der();
    for end in 0..der.len() {
        assert!(OcspRequest::parse(&der[..end]).is_err(), "cut at {end}");
    }
    refused(&[&der[..], &[0]].concat(), "bytes follow the request");
    let version = |number: u8| Asked {
        version: tlv(0xa0, &tlv(INTEGER, &[number])),
        ..asked.clone()
    };
    assert_eq!(version(0).parse().questions().len(), 2);
    refused(&version(1).der(), "version is not 1");
    refused(
        &Asked {
            extensions: vec![vec![]],
            ..asked.clone()
        }
        .der(),
        "list of extensions is empty",
    );
    for question in [
        vec![],
        tlv(SEQUENCE, &[]),
        tlv(SEQUENCE, &[id(&root, "01").der(), &[5, 0]].concat()),
        // A serial number in more octets than it needs, and one in none.
        tlv(SEQUENCE, &foreign_id(SHA1, &[1], &[2], &[0, 1])),
        tlv(SEQUENCE, &foreign_id(SHA1, &[1], &[2], &[])),
        tlv(SEQUENCE, &foreign_id(&[], &[1], &[2], &[1])),
    ] {
        let asked = Asked {
            questions: vec![question.clone()],
            ..asked.clone()
        };
        assert!(OcspRequest::parse(&asked.der()).is_err(), "{question:x?}");
    }
}

#[test]
fn a_get_is_the_request_in_base64_however_the_client_escapes_it() {
    let (root, _) = authority(None);
    // Until its base64 has everything that clients escape differently: `/` comes of all ones, `+` of the six others where
    // they begin a group, padding of the length.
    let (der, text) = (0..9)
        .map(|at| {
            let nonce = [
                &[0xff; 6][..],
                &[0; 2][..at % 3],
                &[0xfb, 0xef, 0xbe],
                &[0; 2][..at / 3],
            ];
            let mut asked = Asked::about(&[id(&root, "0102")]);
            let nonce = tlv(OCTET_STRING, &nonce.concat());
            asked.extensions.push(extension(NONCE, false, &nonce));
            let der = asked.der();
            let text = STANDARD.encode(&der);
            (der, text)
        })
        .find(|(_, text)| ['+', '/', '='].iter().all(|c| text.contains(*c)))
        .expect("one of them");
    let escaped: String = text
        .chars()
        .map(|c| match c {
            '+' => "%2B".to_owned(),
            '/' => "%2f".to_owned(),
            '=' => "%3D".to_owned(),
            c => c.to_string(),
        })
        .collect();
    let hidden = escaped_throughout(&text);
    let asked = OcspRequest::parse(&der).expect("decodes");
    for path in [
        text.clone(),
        escaped.clone(),
        hidden,
        STANDARD_NO_PAD.encode(&der),
        format!("/{text}"),
        format!("//{escaped}"),
    ] {
        let request = OcspRequest::parse_get(&path).expect(&path);
        assert_eq!(request.questions(), asked.questions(), "{path}");
        assert_eq!(request.nonce(), asked.nonce(), "{path}");
    }
    for (path, why) in [
        (String::new(), "not DER"),
        ("/".to_owned(), "not"),
        (format!("{text}/"), "not base64"),
        (format!("{text}%"), "two hexadecimal digits"),
        (format!("{text}%3"), "two hexadecimal digits"),
        (format!("{text}%+1"), "two hexadecimal digits"),
        (format!("{text}%00"), "not base64"),
        (format!("{text}?x"), "not base64"),
        (format!("{text} "), "not base64"),
        // Twice escaped.
        (escaped.replace('%', "%25"), "not base64"),
        (text.replace('+', " "), "not base64"),
        (URL_SAFE.encode(&der), "not base64"),
        (text[4..].to_owned(), "not"),
        ("A".repeat(MAX_GET_BYTES + 1), "at most 2048 are taken"),
    ] {
        let fault = OcspRequest::parse_get(&path).expect_err(&path);
        assert!(fault.why.contains(why), "{path}: {fault}");
    }
}

#[test]
fn one_question_with_the_longest_nonce_fits_a_get() {
    let (root, _) = authority(None);
    let longest = CertId::of(
        &IssuerHashes::of(&root),
        "7f".repeat(20).parse().expect("a serial"),
        CertIdHash::Sha256,
    );
    let der = Asked::about(&[longest]).with_nonce(MAX_NONCE_OCTETS).der();
    let hidden = escaped_throughout(&STANDARD.encode(&der));
    assert!(hidden.len() < 1200, "{}", hidden.len());
    assert!(OcspRequest::parse_get(&hidden).is_ok());
}

fn escaped_throughout(text: &str) -> String {
    text.bytes().fold(String::new(), |escaped, byte| {
        escaped + &format!("%{byte:02X}")
    })
}
