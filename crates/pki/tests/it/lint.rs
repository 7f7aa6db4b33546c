use std::collections::BTreeSet;

use countersign_pki::certificate::Certificate;
use countersign_pki::lint;

use crate::certificate::rsa_spki;
use crate::forge::{
    AUTHORITY_KEY_ID, BASIC_CONSTRAINTS, BIT_STRING, BOOLEAN, COMMON_NAME, EXTENDED_KEY_USAGE,
    Forge, INTEGER, KEY_USAGE, OID, SEQUENCE, SUBJECT_ALT_NAME, SUBJECT_KEY_ID, UTF8, alt_names,
    authority, authority_key_id, extension, name, purposes, tlv,
};

/// RFC 6960 §4.2.2.2.1.
const OCSP_NO_CHECK: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 48, 1, 5];
const NULL: &[u8] = &[5, 0];

fn constraints(critical: bool, ca: bool, path_len: Option<u8>) -> Vec<u8> {
    let ca = if ca {
        tlv(BOOLEAN, &[0xff])
    } else {
        Vec::new()
    };
    let path_len = path_len.map_or_else(Vec::new, |length| tlv(INTEGER, &[length]));
    extension(
        BASIC_CONSTRAINTS,
        critical,
        &tlv(SEQUENCE, &[ca, path_len].concat()),
    )
}

fn usage(critical: bool, unused: u8, bits: u8) -> Vec<u8> {
    extension(KEY_USAGE, critical, &tlv(BIT_STRING, &[unused, bits]))
}

fn eku(value: &[u8]) -> Vec<u8> {
    extension(EXTENDED_KEY_USAGE, false, value)
}

fn sans(critical: bool, names: &[(u8, &[u8])]) -> Vec<u8> {
    alt_names(critical, names)
}

fn validity(begin: &[u8], end: &[u8]) -> Vec<u8> {
    tlv(SEQUENCE, &[tlv(0x17, begin), tlv(0x17, end)].concat())
}

/// An intermediate that every lint likes.
fn intermediate(issuer: &Certificate) -> Forge {
    Forge::leaf(issuer)
        .with(BASIC_CONSTRAINTS, constraints(true, true, Some(0)))
        .with(KEY_USAGE, usage(true, 1, 0b110))
        .without(EXTENDED_KEY_USAGE)
        .without(SUBJECT_ALT_NAME)
}

/// A delegated OCSP responder that every lint likes.
fn responder(issuer: &Certificate) -> Forge {
    let mut forge = Forge {
        validity: validity(b"260601000000Z", b"260702000000Z"),
        ..Forge::leaf(issuer)
    }
    .with(EXTENDED_KEY_USAGE, eku(&purposes(&[9])))
    .without(SUBJECT_ALT_NAME);
    forge.extensions.push(extension(OCSP_NO_CHECK, false, NULL));
    forge
}

/// Each spoils one thing, and exactly the lint of its name must say so.
#[expect(clippy::too_many_lines, reason = "a table, one case a lint")]
fn cases() -> Vec<(&'static str, Forge, Certificate)> {
    let (root, _) = authority(None);
    let leaf = || Forge::leaf(&root);
    let key_id = |certificate: &Certificate| {
        authority_key_id(certificate.subject_key_id().expect("made here"))
    };
    let issuer = |forge: Forge| {
        Forge {
            subject: root.subject_der().to_vec(),
            ..forge
        }
        .parse()
    };
    let under = |forge: Forge, issuer: &Certificate| forge.with(AUTHORITY_KEY_ID, key_id(issuer));
    let last_second = issuer(intermediate(&root));
    let bounded = issuer(intermediate(&root));
    let unsigned = issuer(intermediate(&root).with(KEY_USAGE, usage(true, 1, 0b10)));
    let no_ca = issuer(intermediate(&root).with(BASIC_CONSTRAINTS, constraints(true, false, None)));
    let servers_only = issuer(intermediate(&root).with(EXTENDED_KEY_USAGE, eku(&purposes(&[1]))));
    // Nothing but other.example (RFC 5280 §4.2.1.10).
    let subtree = tlv(SEQUENCE, &tlv(0x82, b"other.example"));
    let elsewhere = tlv(SEQUENCE, &tlv(0xa0, &subtree));
    let constrained = issuer({
        let mut forge = intermediate(&root);
        forge
            .extensions
            .push(extension(&[0x55, 0x1d, 30], true, &elsewhere));
        forge
    });
    let weak = issuer(Forge {
        spki: rsa_spki(1024),
        ..intermediate(&root)
    });
    let other_name = Forge {
        subject: name(&[(COMMON_NAME, UTF8, b"Other")]),
        ..intermediate(&root)
    }
    .parse();
    let long = "a".repeat(65);
    let critical = |mut forge: Forge| {
        forge.extensions.push(extension(&[0x2a, 3, 4], true, &[]));
        forge
    };
    let whole_ca = |forge: Forge| {
        forge
            .with(BASIC_CONSTRAINTS, constraints(true, true, None))
            .with(KEY_USAGE, usage(true, 1, 0b110))
    };
    vec![
        (
            "any-purpose",
            leaf().with(
                EXTENDED_KEY_USAGE,
                eku(&tlv(SEQUENCE, &tlv(OID, &[0x55, 0x1d, 37, 0]))),
            ),
            root.clone(),
        ),
        (
            "authority-key-id-mismatch",
            leaf().with(AUTHORITY_KEY_ID, authority_key_id(&[9; 20])),
            root.clone(),
        ),
        (
            "authority-key-id-missing",
            leaf().without(AUTHORITY_KEY_ID),
            root.clone(),
        ),
        (
            "basic-constraints-not-critical",
            intermediate(&root).with(BASIC_CONSTRAINTS, constraints(false, true, None)),
            root.clone(),
        ),
        (
            "begins-before-issuer",
            Forge {
                validity: validity(b"250101000000Z", b"260801000000Z"),
                ..leaf()
            },
            root.clone(),
        ),
        (
            "ca-subject-empty",
            Forge {
                subject: tlv(SEQUENCE, &[]),
                ..intermediate(&root)
            }
            .with(SUBJECT_ALT_NAME, sans(true, &[(0x82, b"a.b")])),
            root.clone(),
        ),
        (
            "ca-without-cert-sign",
            intermediate(&root).with(KEY_USAGE, usage(true, 1, 0b10)),
            root.clone(),
        ),
        (
            "cert-sign-without-ca",
            leaf().with(KEY_USAGE, usage(true, 1, 0b1000_0100)),
            root.clone(),
        ),
        (
            "cert-sign-without-ca",
            leaf().with(KEY_USAGE, usage(true, 1, 0b1000_0010)),
            root.clone(),
        ),
        (
            "confusable-names",
            leaf().with(
                SUBJECT_ALT_NAME,
                sans(
                    false,
                    &[(0x82, b"paypal.example"), (0x82, b"paypa1.example")],
                ),
            ),
            root.clone(),
        ),
        (
            "duplicate-alt-name",
            leaf().with(
                SUBJECT_ALT_NAME,
                sans(false, &[(0x82, b"a.b"), (0x82, b"c.d"), (0x82, b"A.b")]),
            ),
            root.clone(),
        ),
        (
            "extended-key-usage-missing",
            leaf().without(EXTENDED_KEY_USAGE),
            root.clone(),
        ),
        ("issuer-cannot-sign", under(leaf(), &unsigned), unsigned),
        (
            "issuer-name-mismatch",
            under(leaf(), &other_name),
            other_name,
        ),
        ("issuer-not-a-ca", under(leaf(), &no_ca), no_ca),
        ("key-usage-missing", leaf().without(KEY_USAGE), root.clone()),
        (
            "key-usage-not-critical",
            leaf().with(KEY_USAGE, usage(false, 7, 0x80)),
            root.clone(),
        ),
        (
            "key-usage-outside-key",
            leaf().with(KEY_USAGE, usage(true, 5, 0b1010_0000)),
            root.clone(),
        ),
        (
            "key-usage-outside-key",
            Forge {
                spki: rsa_spki(2048),
                ..leaf()
            }
            .with(KEY_USAGE, usage(true, 3, 0b1000_1000)),
            root.clone(),
        ),
        (
            "leaf-without-digital-signature",
            leaf().with(KEY_USAGE, usage(true, 6, 0x40)),
            root.clone(),
        ),
        (
            "name-constraints",
            under(leaf(), &constrained),
            constrained.clone(),
        ),
        (
            "nameless",
            Forge {
                subject: tlv(SEQUENCE, &[]),
                ..leaf()
            }
            .without(SUBJECT_ALT_NAME),
            root.clone(),
        ),
        (
            "ocsp-no-check-without-ocsp-signing",
            responder(&root).with(EXTENDED_KEY_USAGE, eku(&purposes(&[2]))),
            root.clone(),
        ),
        (
            "ocsp-no-check-without-ocsp-signing",
            {
                let mut authority = intermediate(&root);
                authority
                    .extensions
                    .push(extension(OCSP_NO_CHECK, false, NULL));
                authority
            },
            root.clone(),
        ),
        (
            "ocsp-responder-key-usage",
            responder(&root).with(KEY_USAGE, usage(true, 6, 0b1100_0000)),
            root.clone(),
        ),
        (
            "ocsp-responder-long-lived",
            Forge {
                validity: validity(b"260601000000Z", b"260702000001Z"),
                ..responder(&root)
            },
            root.clone(),
        ),
        (
            "ocsp-responder-without-no-check",
            responder(&root).without(OCSP_NO_CHECK),
            root.clone(),
        ),
        (
            "ocsp-signing-not-alone",
            responder(&root).with(EXTENDED_KEY_USAGE, eku(&purposes(&[9, 2]))),
            root.clone(),
        ),
        (
            "ocsp-signing-not-alone",
            responder(&root)
                .with(EXTENDED_KEY_USAGE, eku(&purposes(&[1, 9])))
                .with(SUBJECT_ALT_NAME, sans(false, &[(0x82, b"a.b")])),
            root.clone(),
        ),
        (
            "ocsp-signing-not-alone",
            responder(&root).with(EXTENDED_KEY_USAGE, eku(&purposes(&[9, 17]))),
            root.clone(),
        ),
        (
            "outlives-issuer",
            under(
                Forge {
                    validity: validity(b"260601000000Z", b"260801000001Z"),
                    ..leaf()
                },
                &last_second,
            ),
            last_second,
        ),
        (
            "path-length-exceeded",
            under(whole_ca(intermediate(&root)), &bounded),
            bounded,
        ),
        (
            "path-length-without-ca",
            leaf().with(BASIC_CONSTRAINTS, constraints(true, false, Some(0))),
            root.clone(),
        ),
        (
            "purpose-outside-issuer",
            under(leaf(), &servers_only),
            servers_only.clone(),
        ),
        (
            "purpose-outside-issuer",
            under(
                leaf().with(EXTENDED_KEY_USAGE, eku(&purposes(&[1, 14]))),
                &servers_only,
            ),
            servers_only,
        ),
        (
            "san-criticality",
            leaf().with(SUBJECT_ALT_NAME, sans(true, &[(0x82, b"a.b")])),
            root.clone(),
        ),
        (
            "san-criticality",
            Forge {
                subject: tlv(SEQUENCE, &[]),
                ..leaf()
            },
            root.clone(),
        ),
        (
            "serial-length",
            Forge {
                serial: tlv(INTEGER, &[1; 7]),
                ..leaf()
            },
            root.clone(),
        ),
        (
            "serial-length",
            Forge {
                serial: tlv(INTEGER, &[&[0][..], &[0xff; 20]].concat()),
                ..leaf()
            },
            root.clone(),
        ),
        (
            "server-without-host-name",
            leaf()
                .with(EXTENDED_KEY_USAGE, eku(&purposes(&[1])))
                .with(SUBJECT_ALT_NAME, sans(false, &[(0x81, b"a@b.c")])),
            root.clone(),
        ),
        (
            "spiffe-id-not-alone",
            leaf().with(
                SUBJECT_ALT_NAME,
                sans(false, &[(0x86, b"spiffe://a/b"), (0x86, b"spiffe://a/c")]),
            ),
            root.clone(),
        ),
        (
            "spiffe-id-not-alone",
            leaf().with(
                SUBJECT_ALT_NAME,
                sans(false, &[(0x86, b"urn:a:b"), (0x86, b"spiffe://a/c")]),
            ),
            root.clone(),
        ),
        (
            "subject-attribute-length",
            Forge {
                subject: name(&[(COMMON_NAME, UTF8, long.as_bytes())]),
                ..leaf()
            },
            root.clone(),
        ),
        (
            "subject-attribute-length",
            Forge {
                subject: name(&[(&[0x55, 4, 6], 0x13, b"DEU")]),
                ..leaf()
            },
            root.clone(),
        ),
        (
            "subject-attribute-length",
            Forge {
                subject: name(&[(&[0x55, 4, 11], UTF8, b"")]),
                ..leaf()
            },
            root.clone(),
        ),
        (
            "subject-key-id-missing",
            leaf().without(SUBJECT_KEY_ID),
            root.clone(),
        ),
        ("unknown-critical-extension", critical(leaf()), root.clone()),
        (
            "untyped-alt-name",
            leaf().with(
                SUBJECT_ALT_NAME,
                sans(false, &[(0x82, b"a.b"), (0xa4, &[])]),
            ),
            root.clone(),
        ),
        (
            "validity-empty",
            Forge {
                validity: validity(b"260601000000Z", b"260601000000Z"),
                ..leaf()
            },
            root.clone(),
        ),
        (
            "weak-algorithm",
            Forge {
                spki: rsa_spki(1024),
                ..leaf()
            },
            root.clone(),
        ),
        ("weak-algorithm", under(leaf(), &weak), weak),
    ]
}

fn found(subject: &Certificate, issuer: Option<&Certificate>) -> Vec<&'static str> {
    lint::check(subject, issuer)
        .into_iter()
        .map(|fault| fault.lint)
        .collect()
}

#[test]
fn each_lint_finds_its_fault_and_no_other() {
    for (lint, forge, issuer) in cases() {
        assert_eq!(found(&forge.parse(), Some(&issuer)), [lint]);
    }
}

#[test]
fn every_lint_has_a_case() {
    let covered: BTreeSet<_> = cases()
        .into_iter()
        .map(|(lint, ..)| lint)
        .chain(["version-not-3"])
        .collect();
    assert_eq!(covered, lint::names().collect());
}

#[test]
fn an_old_version_is_found_beside_what_it_cannot_say() {
    let (root, _) = authority(None);
    let old = Forge {
        version: Vec::new(),
        extensions: Vec::new(),
        ..Forge::leaf(&root)
    }
    .parse();
    assert!(found(&old, Some(&root)).contains(&"version-not-3"));
}

#[test]
fn good_certificates_have_no_fault() {
    let (root, _) = authority(None);
    assert_eq!(found(&Forge::leaf(&root).parse(), Some(&root)), [""; 0]);
    assert_eq!(found(&intermediate(&root).parse(), Some(&root)), [""; 0]);
    assert_eq!(found(&responder(&root).parse(), Some(&root)), [""; 0]);
    assert_eq!(found(&root, None), [""; 0]);
}

#[test]
fn a_leaf_that_signs_itself_is_no_root() {
    let (root, _) = authority(None);
    let own = Forge {
        subject: root.subject_der().to_vec(),
        ..Forge::leaf(&root)
    };
    assert_eq!(
        found(
            &own.with(AUTHORITY_KEY_ID, authority_key_id(&[1; 20]))
                .parse(),
            None
        ),
        ["issuer-not-a-ca"]
    );
}

/// Chains of three: what stands above the issuer binds too.
#[test]
fn cas_above_the_issuer_bind_what_is_below() {
    let (root, _) = authority(None);
    let named = |forge: Forge| {
        Forge {
            subject: root.subject_der().to_vec(),
            ..forge
        }
        .parse()
    };
    let plain = |path_len| {
        named(intermediate(&root).with(BASIC_CONSTRAINTS, constraints(true, true, path_len)))
    };
    let issuer = plain(None);
    let leaf = Forge::leaf(&issuer).parse();
    let ca = intermediate(&issuer).parse();
    let check = |subject: &Certificate, above: &[Certificate], expected: &[&str]| {
        let found: Vec<_> = lint::check_under(subject, above)
            .into_iter()
            .map(|fault| fault.lint)
            .collect();
        assert_eq!(found, expected);
    };
    let servers = named(intermediate(&root).with(EXTENDED_KEY_USAGE, eku(&purposes(&[1]))));
    let elsewhere = tlv(SEQUENCE, &tlv(0xa1, &tlv(SEQUENCE, &tlv(0x82, b""))));
    let constrained = named({
        let mut forge = intermediate(&root).with(BASIC_CONSTRAINTS, constraints(true, true, None));
        forge
            .extensions
            .push(extension(&[0x55, 0x1d, 30], true, &elsewhere));
        forge
    });
    check(&leaf, &[issuer.clone(), plain(None)], &[]);
    check(&leaf, &[issuer.clone(), plain(Some(1))], &[]);
    check(
        &leaf,
        &[issuer.clone(), plain(Some(0))],
        &["path-length-exceeded"],
    );
    check(&ca, &[issuer.clone(), plain(Some(2))], &[]);
    check(
        &ca,
        &[issuer.clone(), plain(Some(1))],
        &["path-length-exceeded"],
    );
    check(
        &leaf,
        &[issuer.clone(), plain(None), servers],
        &["path-length-exceeded", "purpose-outside-issuer"],
    );
    check(&leaf, &[issuer, constrained], &["name-constraints"]);
}
