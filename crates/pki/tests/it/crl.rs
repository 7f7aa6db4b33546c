use countersign_pki::certificate::Certificate;
use countersign_pki::crl::{CrlEntry, CrlScope, CrlTemplate, CrlToBeSigned, ParsedCrl};
use countersign_pki::feed::RevocationReason;
use countersign_pki::tbs::{SignatureAlgorithm, Usage};
use rcgen::{
    CertificateParams, CertificateRevocationListParams, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    RevokedCertParams, SigningKey as _,
};

use crate::forge::{
    BIT_STRING, ECDSA_SHA256, ENUMERATED, Forge, INTEGER, KEY_USAGE, OID, SEQUENCE, authority, dn,
    extension, key, sign, template as forged, time, tlv,
};

mod accepted;
mod rows;
mod scope;

const ECDSA: SignatureAlgorithm = SignatureAlgorithm::EcdsaP256Sha256;

fn template() -> CrlTemplate {
    CrlTemplate {
        this_update: time("2026-06-01T00:00:00Z"),
        next_update: time("2056-06-01T00:00:00Z"),
        number: 300,
        scope: CrlScope::default(),
    }
}

fn entry(serial: &str, reason: RevocationReason) -> CrlEntry {
    CrlEntry {
        serial: serial.parse().expect("a serial"),
        revoked_at: time("2026-05-01T00:00:00Z"),
        reason,
        invalid_since: None,
    }
}

fn made(entries: &[CrlEntry], issuer: &Certificate, key: &KeyPair) -> ParsedCrl {
    signed(template().to_be_signed(issuer, ECDSA, entries), key)
}

fn signed(to_be_signed: CrlToBeSigned, key: &KeyPair) -> ParsedCrl {
    let signature = key.sign(to_be_signed.bytes()).expect("a signature");
    ParsedCrl::parse(&to_be_signed.complete(&signature)).expect("what was built decodes")
}

#[test]
fn what_is_built_here_is_read_here_sorted_and_without_doubles() {
    let (root, root_key) = authority(None);
    let mut all: Vec<CrlEntry> = RevocationReason::ALL
        .into_iter()
        .zip(1..)
        .map(|(reason, serial)| entry(&format!("{serial:02x}"), reason))
        .collect();
    all[0].invalid_since = Some(time("2026-04-01T00:00:00Z"));
    all[1].invalid_since = Some(time("2050-01-01T00:00:00Z"));
    let mut shuffled: Vec<CrlEntry> = all.iter().rev().copied().collect();
    shuffled.push(entry("ff00", RevocationReason::Superseded));
    shuffled.push(entry("ff00", RevocationReason::KeyCompromise));
    let crl = made(&shuffled, &root, &root_key);
    assert_eq!(crl.entries()[..8], all);
    assert_eq!(
        crl.entries()[8..],
        [entry("ff00", RevocationReason::Superseded)]
    );
    assert_eq!(
        (crl.number(), crl.this_update(), crl.next_update()),
        (
            Some(300),
            time("2026-06-01T00:00:00Z"),
            Some(time("2056-06-01T00:00:00Z"))
        )
    );
    assert_eq!(
        (crl.issuer(), crl.authority_key_id()),
        (root.subject(), root.subject_key_id())
    );
    assert!(crl.unknown_critical_extensions().is_empty());
    assert_eq!(crl.verify(&root), Ok(()));
}

#[test]
fn an_empty_list_has_no_list() {
    let (root, root_key) = authority(None);
    let crl = made(&[], &root, &root_key);
    assert_eq!(crl.entries(), []);
    assert_eq!(crl.verify(&root), Ok(()));
    assert!(
        !crl.der().windows(2).any(|window| window == [SEQUENCE, 0]),
        "no empty sequence"
    );
}

#[test]
fn a_list_of_another_issuer_or_key_does_not_verify() {
    let (root, root_key) = authority(None);
    let crl = made(&[], &root, &root_key);
    let check = |issuer: &Certificate, why: &str| {
        let fault = crl.verify(issuer).expect_err(why);
        assert!(fault.why.contains(why), "{fault}");
    };
    check(&authority(None).0, "another key of CN=Root,O=Example");
    check(
        &Forge {
            subject: dn("CN=Other").to_der(),
            ..Forge::leaf(&root)
        }
        .parse(),
        "its issuer is CN=Root,O=Example, not CN=Other",
    );
    let same_name = Forge {
        subject: root.subject_der().to_vec(),
        spki: root.spki_der().to_vec(),
        ..Forge::leaf(&root)
    };
    let without_ids = Forge {
        extensions: Vec::new(),
        ..same_name.clone()
    };
    assert_eq!(crl.verify(&without_ids.parse()), Ok(()));
    check(
        &Forge {
            extensions: vec![extension(KEY_USAGE, true, &tlv(BIT_STRING, &[2, 4]))],
            ..same_name
        }
        .parse(),
        "lacks cRLSign",
    );
    let forged = made(&[], &root, &key());
    assert!(
        forged
            .verify(&root)
            .expect_err("forged")
            .why
            .contains("signature does not verify")
    );
    let mut spoilt = crl.der().to_vec();
    let at = spoilt
        .windows(13)
        .position(|window| window == b"260601000000Z")
        .expect("thisUpdate");
    spoilt[at] = b'3';
    assert!(
        ParsedCrl::parse(&spoilt)
            .expect("decodes")
            .verify(&root)
            .is_err()
    );
}

#[test]
fn a_list_of_rcgen_is_read_and_verified() {
    let key = key();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::CrlSign];
    let root =
        Certificate::parse(params.self_signed(&key).expect("a root").der()).expect("decodes");
    let at = rcgen::date_time_ymd(2026, 5, 1);
    let revoked = |serial: &[u8], reason| RevokedCertParams {
        serial_number: rcgen::SerialNumber::from_slice(serial),
        revocation_time: at,
        reason_code: reason,
        invalidity_date: Some(at),
    };
    let crl = CertificateRevocationListParams {
        this_update: at,
        next_update: rcgen::date_time_ymd(2026, 6, 1),
        crl_number: rcgen::SerialNumber::from_slice(&[9]),
        issuing_distribution_point: Some(rcgen::CrlIssuingDistributionPoint {
            distribution_point: rcgen::CrlDistributionPoint {
                uris: vec!["http://a.b/crl".to_owned()],
            },
            scope: None,
        }),
        revoked_certs: vec![
            revoked(&[1, 2], Some(rcgen::RevocationReason::KeyCompromise)),
            revoked(&[3], Some(rcgen::RevocationReason::CertificateHold)),
            revoked(&[4], None),
        ],
        key_identifier_method: rcgen::KeyIdMethod::Sha256,
    };
    let crl = crl
        .signed_by(&Issuer::from_params(&params, &key))
        .expect("a list");
    let read = ParsedCrl::parse(crl.der()).expect("rcgen writes DER");
    assert_eq!(read.verify(&root), Ok(()));
    assert_eq!(read.number(), Some(9));
    assert_eq!(
        read.entries(),
        [
            entry("0102", RevocationReason::KeyCompromise),
            entry("03", RevocationReason::CertificateHold),
            entry("04", RevocationReason::Unspecified)
        ]
        .map(|entry| CrlEntry {
            invalid_since: Some(entry.revoked_at),
            ..entry
        })
    );
    assert_eq!(read.unknown_critical_extensions(), [""; 0]);
    let scope = read.scope().expect("one that is known here");
    assert_eq!(scope.to_string(), "every certificate of http://a.b/crl");
}

#[test]
fn malformed_lists_are_refused() {
    let (root, root_key) = authority(None);
    let der = made(
        &[CrlEntry {
            invalid_since: Some(time("2026-04-01T00:00:00Z")),
            ..entry("01", RevocationReason::Superseded)
        }],
        &root,
        &root_key,
    )
    .der()
    .to_vec();
    for end in 0..der.len() {
        assert!(ParsedCrl::parse(&der[..end]).is_err(), "cut at {end}");
    }
    assert!(ParsedCrl::parse(&[&der[..], &[0]].concat()).is_err());
    for at in 0..der.len() {
        let mut spoilt = der.clone();
        spoilt[at] ^= 1;
        if let Ok(crl) = ParsedCrl::parse(&spoilt) {
            assert!(crl.verify(&root).is_err(), "byte {at}");
        }
    }
    for (version, serial, reason, why) in [
        (0, &[1][..], 1, "version is not 2"),
        (1, &[0x80], 1, "negative"),
        (1, &[1], 7, "reasonCode 7 does not exist"),
        (1, &[1], 8, "removeFromCRL"),
    ] {
        let algorithm = tlv(SEQUENCE, &tlv(OID, ECDSA_SHA256));
        let reason = tlv(
            SEQUENCE,
            &extension(&[0x55, 0x1d, 21], false, &tlv(ENUMERATED, &[reason])),
        );
        let revoked = tlv(
            SEQUENCE,
            &[tlv(INTEGER, serial), tlv(0x17, b"260601000000Z"), reason].concat(),
        );
        let fields = [
            tlv(INTEGER, &[version]),
            algorithm.clone(),
            dn("CN=a").to_der(),
            tlv(0x17, b"260601000000Z"),
            tlv(SEQUENCE, &revoked),
        ];
        let fault = ParsedCrl::parse(&tlv(
            SEQUENCE,
            &[
                tlv(SEQUENCE, &fields.concat()),
                algorithm,
                tlv(BIT_STRING, &[0, 1]),
            ]
            .concat(),
        ))
        .expect_err(why);
        assert!(fault.why.contains(why), "{fault}");
    }
}

#[test]
fn drafted_list_is_read_where_its_issuers_key_lies_and_no_other() {
    let (root, root_key) = authority(None);
    let other_key = key();
    let other = forged("CN=Other", &other_key, Usage::Authority { path_len: None })
        .to_be_self_signed(ECDSA)
        .expect("a root");
    let other = sign(&other, &other_key);
    // One name and another key: whose signature it is, only the signature says.
    let (twin, _) = authority(None);
    root.verify_signature(&root).expect("its own");
    root.verify_signature(&twin).expect_err("another key's");
    let drafted =
        template().to_be_signed(&root, ECDSA, &[entry("0a", RevocationReason::Superseded)]);
    let read = CrlToBeSigned::read(drafted.bytes(), &root).expect("a list of the root");
    assert_eq!(read, drafted);
    let signed = signed(read, &root_key);
    signed.verify(&root).expect("the root's");
    let why = |der: &[u8], issuer| {
        CrlToBeSigned::read(der, issuer)
            .expect_err("nothing of this issuer's")
            .why
    };
    assert!(why(drafted.bytes(), &other).contains("its issuer is"));
    // Signed as a list, a certificate's bytes would be a certificate.
    assert!(!why(root.to_be_signed(), &root).is_empty());
    let foreign = template().to_be_signed(&root, SignatureAlgorithm::Ed25519, &[]);
    assert!(why(foreign.bytes(), &root).contains("is not the one outside"));
    let longer = [drafted.bytes(), &[0]].concat();
    assert!(!why(&longer, &root).is_empty());
}
