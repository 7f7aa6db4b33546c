use countersign_pki::certificate::{Certificate, KeyAlgorithm, MAX_BYTES};
use countersign_pki::name::TypedName;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose,
    PublicKeyData as _, SanType,
};

use crate::forge::{
    BASIC_CONSTRAINTS, BIT_STRING, BOOLEAN, COMMON_NAME, ECDSA_SHA1, EXTENDED_KEY_USAGE, Forge,
    INTEGER, KEY_USAGE, OID, SEQUENCE, SUBJECT_ALT_NAME, UTF8, alt_names, authority, extension,
    key, name, purposes, tlv,
};

#[test]
fn what_rcgen_writes_is_read_back() {
    let key = key();
    let mut params =
        CertificateParams::new(vec!["api.example.com".to_owned(), "10.0.0.1".to_owned()])
            .expect("params");
    params.subject_alt_names.push(SanType::URI(
        "spiffe://example.com/api".try_into().expect("ia5"),
    ));
    params
        .subject_alt_names
        .push(SanType::URI("urn:example:1".try_into().expect("ia5")));
    params.subject_alt_names.push(SanType::Rfc822Name(
        "ops@example.com".try_into().expect("ia5"),
    ));
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CountryName, "DE");
    params.distinguished_name.push(DnType::CommonName, "api");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(3));
    params.key_usages = vec![
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::DigitalSignature,
    ];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::CodeSigning,
    ];
    params.not_before = rcgen::date_time_ymd(2026, 1, 2);
    params.not_after = rcgen::date_time_ymd(2055, 1, 2);
    let made = params.self_signed(&key).expect("a certificate");
    let read = Certificate::parse(made.der()).expect("rcgen writes DER");

    assert_eq!(read.der(), made.der());
    assert_eq!(read.version(), 3);
    assert_eq!(read.subject().to_string(), "CN=api,C=DE");
    assert_eq!(
        (read.not_before().to_string(), read.not_after().to_string()),
        (
            "2026-01-02T00:00:00Z".to_owned(),
            "2055-01-02T00:00:00Z".to_owned()
        )
    );
    assert_eq!(read.spki_der(), key.subject_public_key_info());
    assert_eq!(read.public_key_algorithm().to_string(), "ECDSA P-256");
    assert_eq!(read.signature_algorithm().to_string(), "ECDSA with SHA-256");
    assert_eq!((read.is_ca(), read.path_len()), (true, Some(3)));
    let usage = read.key_usage().expect("keyUsage");
    assert!(usage.key_cert_sign && usage.digital_signature && !usage.crl_sign);
    let purposes = read.extended_key_usage().expect("extendedKeyUsage");
    assert!(purposes.server_auth && !purposes.client_auth && !purposes.any);
    assert_eq!(purposes.other, ["1.3.6.1.5.5.7.3.3"]);
    assert_eq!(
        read.subject_key_id(),
        Some(&params.key_identifier(&key)[..])
    );
    let shown: Vec<String> = read.names().iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [
            "dns:api.example.com".to_owned(),
            "ip:10.0.0.1".to_owned(),
            "spiffe://example.com/api".to_owned(),
            "uri:urn:example:1".to_owned(),
            "email:ops@example.com".to_owned(),
            "cn:api".to_owned(),
            "dn:CN=api,C=DE".to_owned(),
            format!("spki:{}", read.spki()),
            format!("serial:{}@CN=api,C=DE", read.serial()),
        ]
    );
    assert_eq!(read.subject_alt_names().len(), 5);
    assert!(
        shown
            .iter()
            .zip(read.names())
            .all(|(text, name)| text.parse::<TypedName>().as_ref() == Ok(name))
    );
}

#[test]
fn key_kinds_of_rcgen_are_told_apart() {
    for (algorithm, expected, signature) in [
        (
            &rcgen::PKCS_ECDSA_P384_SHA384,
            "ECDSA P-384",
            "ECDSA with SHA-384",
        ),
        (&rcgen::PKCS_ED25519, "Ed25519", "Ed25519"),
        (&rcgen::PKCS_ML_DSA_44, "ML-DSA-44", "ML-DSA-44"),
        (&rcgen::PKCS_ML_DSA_65, "ML-DSA-65", "ML-DSA-65"),
        (&rcgen::PKCS_ML_DSA_87, "ML-DSA-87", "ML-DSA-87"),
        (&rcgen::PKCS_RSA_SHA256, "RSA 2048", "RSA with SHA-256"),
    ] {
        let key = rcgen::KeyPair::generate_for(algorithm).expect("a key");
        let made = CertificateParams::new(vec!["a.b".to_owned()])
            .expect("params")
            .self_signed(&key)
            .expect("a certificate");
        let read = Certificate::parse(made.der()).expect("rcgen writes DER");
        assert_eq!(
            (
                read.public_key_algorithm().to_string().as_str(),
                read.signature_algorithm().to_string().as_str()
            ),
            (expected, signature)
        );
        assert_eq!((read.weak_key(), read.weak_signature()), (None, None));
    }
}

/// RFC 9881 §2 and §4.
#[test]
fn ml_dsa_keys_have_their_length_and_no_parameters() {
    for (algorithm, length) in [
        (&rcgen::PKCS_ML_DSA_44, 1312),
        (&rcgen::PKCS_ML_DSA_65, 1952),
        (&rcgen::PKCS_ML_DSA_87, 2592),
    ] {
        let key = rcgen::KeyPair::generate_for(algorithm).expect("a key");
        let spki = key.subject_public_key_info();
        let octets = key.public_key_raw();
        assert_eq!(octets.len(), length);
        let known = KeyAlgorithm::of(&spki).expect("a key");
        assert!(known.to_string().starts_with("ML-DSA-"), "{known}");

        // AlgorithmIdentifier of 13 bytes: SEQUENCE { OID of 9 octets }.
        let identifier = &spki[4..17];
        let bits = |octets: &[u8]| tlv(BIT_STRING, &[&[0], octets].concat());
        let spki_of =
            |identifier: &[u8], octets: &[u8]| tlv(SEQUENCE, &[identifier, &bits(octets)].concat());
        assert_eq!(spki_of(identifier, octets), spki);
        assert_eq!(KeyAlgorithm::of(&spki_of(identifier, &octets[1..])), None);
        let longer = [octets, &[0]].concat();
        assert_eq!(KeyAlgorithm::of(&spki_of(identifier, &longer)), None);
        let with_null = tlv(SEQUENCE, &[&identifier[2..], &[5, 0]].concat());
        assert_eq!(KeyAlgorithm::of(&spki_of(&with_null, octets)), None);
    }
}

fn leaf() -> Forge {
    Forge::leaf(&authority(None).0)
}

fn check(forge: &Forge, why: &str) {
    let fault = Certificate::parse(&forge.der()).expect_err(why);
    assert!(
        fault.why.contains(why),
        "expected {why:?}, got {:?}",
        fault.why
    );
}

#[test]
fn the_unspoilt_forgery_is_a_certificate() {
    let read = leaf().parse();
    assert_eq!(read.names()[0].to_string(), "dns:api.example.com");
    assert_eq!(read.not_after().to_string(), "2026-08-01T00:00:00Z");
    assert_eq!(read.to_be_signed()[0], SEQUENCE);
    assert_eq!(read.signature(), [1]);
}

#[test]
fn serials_that_rfc_5280_forbids_are_named() {
    for (serial, why) in [
        (&[0x80][..], "negative"),
        (&[0], "zero"),
        (&[1; 21], "21 octets"),
        (&[], "empty"),
        (&[0, 1], "not a DER INTEGER"),
    ] {
        check(
            &Forge {
                serial: tlv(INTEGER, serial),
                ..leaf()
            },
            why,
        );
    }
}

#[test]
fn fields_out_of_order_or_shape_are_refused() {
    let times =
        |begin: &[u8], end: &[u8]| tlv(SEQUENCE, &[tlv(0x17, begin), tlv(0x17, end)].concat());
    check(
        &Forge {
            after: vec![0],
            ..leaf()
        },
        "1 bytes follow the certificate",
    );
    check(
        &Forge {
            outer_algorithm: tlv(SEQUENCE, &tlv(OID, ECDSA_SHA1)),
            ..leaf()
        },
        "not the one outside",
    );
    check(
        &Forge {
            version: tlv(0xa0, &tlv(INTEGER, &[3])),
            ..leaf()
        },
        "version 4",
    );
    check(
        &Forge {
            version: Vec::new(),
            ..leaf()
        },
        "version 1 certificate has extensions",
    );
    check(
        &Forge {
            issuer: tlv(SEQUENCE, &[]),
            ..leaf()
        },
        "issuer is empty",
    );
    check(
        &Forge {
            validity: times(b"260801000000Z", b"260601000000Z"),
            ..leaf()
        },
        "ends before it begins",
    );
    check(
        &Forge {
            validity: times(b"261301000000Z", b"270601000000Z"),
            ..leaf()
        },
        "notBefore is not a time",
    );
    check(
        &Forge {
            validity: times(b"260101000000Z", b"270601000000+0100"),
            ..leaf()
        },
        "notAfter is not a time",
    );
    check(
        &Forge {
            validity: times(b"260101000000Z", b"27060100000Z"),
            ..leaf()
        },
        "notAfter is not a time",
    );
    check(
        &Forge {
            spki: tlv(SEQUENCE, &[]),
            ..leaf()
        },
        "public key's algorithm",
    );
    check(
        &Forge {
            subject: name(&[(COMMON_NAME, UTF8, b"a\0b")]),
            ..leaf()
        },
        "NUL",
    );
    let mut repeated = leaf();
    repeated
        .extensions
        .push(extension(BASIC_CONSTRAINTS, true, &tlv(SEQUENCE, &[])));
    check(&repeated, "extension 2.5.29.19 stands there twice");
    let many = (0..65)
        .map(|id| extension(&[0x2a, id], false, &[]))
        .collect();
    check(
        &Forge {
            extensions: many,
            ..leaf()
        },
        "more than 64 extensions",
    );
    let long = Certificate::parse(&vec![0x30; MAX_BYTES + 1]).expect_err("too long");
    assert!(long.why.contains("65537 bytes"), "{long}");
}

#[test]
fn names_that_are_not_what_their_type_says_are_refused() {
    let email = 0x81;
    let (dns, uri, ip) = (0x82, 0x86, 0x87);
    for (tag, value, why) in [
        (dns, &b"api.example.com\0.evil.com"[..], "NUL"),
        (uri, b"spiffe://example.com/a\0b", "NUL"),
        (email, b"a@b.c\0", "NUL"),
        (dns, "m\u{fc}ller.de".as_bytes(), "not ASCII"),
        (dns, b"\xff", "not ASCII"),
        (dns, b"a b", "DNS name"),
        (dns, b"", "DNS name"),
        (dns, b"10.0.0.1", "DNS name"),
        (uri, b"spiffe://Example.com/a", "trust domain"),
        (uri, b"spiffe://example.com//a", "SPIFFE path"),
        (uri, b"SPIFFE://example.com/a", "URI"),
        (uri, b"nothing", "URI"),
        (email, b"nobody", "e-mail"),
        (ip, &[1, 2, 3], "3 bytes"),
        (ip, &[0; 8], "8 bytes"),
        (0x84, b"", "no name"),
        (0x89, b"", "no name"),
        (0x0c, b"a", "no name"),
    ] {
        check(
            &leaf().with(SUBJECT_ALT_NAME, alt_names(false, &[(tag, value)])),
            why,
        );
    }
    check(
        &leaf().with(SUBJECT_ALT_NAME, alt_names(false, &[])),
        "lists nothing",
    );
}

#[test]
fn malformed_extensions_are_refused() {
    for (oid, value, why) in [
        (
            BASIC_CONSTRAINTS,
            tlv(SEQUENCE, &tlv(BOOLEAN, &[1])),
            "BOOLEAN",
        ),
        (
            BASIC_CONSTRAINTS,
            tlv(SEQUENCE, &tlv(INTEGER, &[0xff])),
            "negative",
        ),
        (BASIC_CONSTRAINTS, Vec::new(), "basicConstraints"),
        (
            BASIC_CONSTRAINTS,
            [tlv(SEQUENCE, &[]), vec![0]].concat(),
            "follow",
        ),
        (KEY_USAGE, tlv(BIT_STRING, &[7, 0x81]), "BIT STRING"),
        (KEY_USAGE, tlv(BIT_STRING, &[0, 0]), "allows nothing"),
        (KEY_USAGE, tlv(BIT_STRING, &[]), "BIT STRING"),
        (EXTENDED_KEY_USAGE, tlv(SEQUENCE, &[]), "lists nothing"),
        (
            EXTENDED_KEY_USAGE,
            tlv(SEQUENCE, &tlv(OID, &[])),
            "object identifier",
        ),
    ] {
        check(&leaf().with(oid, extension(oid, true, &value)), why);
    }
}

#[test]
fn names_without_a_type_are_counted_and_nothing_more() {
    let names = alt_names(
        false,
        &[(0xa0, &[]), (0xa4, &[]), (0x88, &[0x2a]), (0x82, b"a.b")],
    );
    let read = leaf().with(SUBJECT_ALT_NAME, names).parse();
    assert_eq!(
        (read.subject_alt_names().len(), read.other_alt_names()),
        (1, 3)
    );
}

#[test]
fn a_common_name_is_a_name_only_when_there_is_one() {
    let cn = |subject: Vec<u8>| {
        Forge { subject, ..leaf() }
            .parse()
            .names()
            .iter()
            .find(|name| matches!(name, TypedName::Cn(_)))
            .map(TypedName::bare)
    };
    assert_eq!(cn(name(&[(COMMON_NAME, UTF8, b"a")])), Some("a".to_owned()));
    assert_eq!(
        cn(name(&[
            (COMMON_NAME, UTF8, b"a"),
            (COMMON_NAME, UTF8, b"b")
        ])),
        None
    );
    assert_eq!(cn(name(&[(COMMON_NAME, UTF8, &[b'a'; 65])])), None);
    assert_eq!(cn(name(&[(COMMON_NAME, UTF8, b" a")])), None);
}

#[test]
fn old_versions_weak_algorithms_and_unknown_extensions_are_flagged() {
    let old = Forge {
        version: Vec::new(),
        extensions: Vec::new(),
        ..leaf()
    }
    .parse();
    assert_eq!(
        (old.version(), old.key_usage(), old.subject_key_id()),
        (1, None, None)
    );
    let sha1 = tlv(SEQUENCE, &tlv(OID, ECDSA_SHA1));
    let weak = Forge {
        inner_algorithm: sha1.clone(),
        outer_algorithm: sha1,
        spki: rsa_spki(1024),
        ..leaf()
    }
    .parse();
    assert_eq!(
        (weak.weak_signature().as_deref(), weak.weak_key().as_deref()),
        (Some("ECDSA with SHA-1"), Some("RSA 1024"))
    );
    assert_eq!(
        Forge {
            spki: rsa_spki(2048),
            ..leaf()
        }
        .parse()
        .weak_key(),
        None
    );
    let pss = tlv(
        SEQUENCE,
        &[
            tlv(OID, &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 10]),
            tlv(SEQUENCE, &[]),
        ]
        .concat(),
    );
    let pss = Forge {
        inner_algorithm: pss.clone(),
        outer_algorithm: pss,
        ..leaf()
    }
    .parse();
    assert_eq!(pss.weak_signature().as_deref(), Some("RSA-PSS with SHA-1"));
    let mut critical = leaf();
    critical
        .extensions
        .push(extension(&[0x2a, 3, 4], true, &[]));
    assert_eq!(critical.parse().unknown_critical_extensions(), ["1.2.3.4"]);
    assert!(leaf().parse().unknown_critical_extensions().is_empty());
}

pub(crate) fn rsa_spki(bits: usize) -> Vec<u8> {
    let mut modulus = vec![0];
    modulus.extend(vec![0xff; bits / 8]);
    let key = tlv(
        SEQUENCE,
        &[tlv(INTEGER, &modulus), tlv(INTEGER, &[1, 0, 1])].concat(),
    );
    let algorithm = tlv(
        SEQUENCE,
        &[
            tlv(OID, &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1]),
            tlv(0x05, &[]),
        ]
        .concat(),
    );
    tlv(
        SEQUENCE,
        &[algorithm, tlv(BIT_STRING, &[vec![0], key].concat())].concat(),
    )
}

#[test]
fn every_cut_is_refused_and_no_flipped_byte_panics() {
    let der = leaf()
        .with(
            EXTENDED_KEY_USAGE,
            extension(EXTENDED_KEY_USAGE, false, &purposes(&[1, 2, 9])),
        )
        .der();
    for end in 0..der.len() {
        assert!(Certificate::parse(&der[..end]).is_err(), "cut at {end}");
    }
    for at in 0..der.len() {
        for value in [0x00, 0x7f, 0x80, 0xff, der[at] ^ 1] {
            let mut spoilt = der.clone();
            spoilt[at] = value;
            if let Ok(read) = Certificate::parse(&spoilt) {
                assert_eq!(read.der().as_ref(), spoilt);
            }
        }
    }
}

const AUTHORITY_INFO_ACCESS: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 1, 1];
const TLS_FEATURE: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 1, 24];

#[test]
fn places_of_more_about_it_are_read_by_their_method() {
    let method = |last: u8, tag: u8, place: &[u8]| {
        let oid = tlv(OID, &[0x2b, 6, 1, 5, 5, 7, 48, last]);
        tlv(SEQUENCE, &[oid, tlv(tag, place)].concat())
    };
    let with = |value: &[u8]| {
        let mut forge = leaf();
        let extension = extension(AUTHORITY_INFO_ACCESS, false, value);
        forge.extensions.push(extension);
        forge.parse()
    };
    let methods = [
        method(1, 0x86, b"http://ocsp.a/1"),
        method(2, 0x86, b"http://ca.a/issuer.cer"),
        method(1, 0x86, b"http://ocsp.b/"),
        // A directory name, and bytes that are no text.
        method(1, 0xa4, &[]),
        method(1, 0x86, &[0xff]),
    ];
    let certificate = with(&tlv(SEQUENCE, &methods.concat()));
    assert_eq!(
        certificate.ocsp_uris(),
        ["http://ocsp.a/1", "http://ocsp.b/"]
    );
    assert_eq!(certificate.issuer_uris(), ["http://ca.a/issuer.cer"]);
    let cut = tlv(SEQUENCE, &method(1, 0x86, b"http://ocsp.a/1")[..4]);
    for value in [&cut[..], &[], &[2, 1, 1], &[0x30, 1]] {
        let certificate = with(value);
        assert_eq!(certificate.ocsp_uris(), [""; 0], "{value:x?}");
        assert_eq!(certificate.issuer_uris(), [""; 0], "{value:x?}");
    }
}

#[test]
fn must_staple_is_the_feature_of_this_number_alone() {
    let wants = |value: &[u8]| {
        let mut forge = leaf();
        forge.extensions.push(extension(TLS_FEATURE, false, value));
        forge.parse().must_staple()
    };
    let features = |numbers: &[u8]| {
        let numbers: Vec<_> = numbers.iter().map(|it| tlv(INTEGER, &[*it])).collect();
        tlv(SEQUENCE, &numbers.concat())
    };
    assert!(wants(&features(&[5])));
    assert!(wants(&features(&[17, 5])));
    for value in [features(&[]), features(&[17]), vec![2, 1, 5], vec![0x30, 1]] {
        assert!(!wants(&value), "{value:x?}");
    }
    assert!(!leaf().parse().must_staple());
}
