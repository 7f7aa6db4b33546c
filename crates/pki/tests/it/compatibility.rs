//! Who refuses what: each row of the table has a certificate that only it objects to.

use countersign_pki::certificate::Certificate;
use countersign_pki::compatibility::{objections, objections_to_issuers};

use crate::certificate::rsa_spki;
use crate::forge::{
    AUTHORITY_KEY_ID, BASIC_CONSTRAINTS, BIT_STRING, BOOLEAN, EXTENDED_KEY_USAGE, Forge, KEY_USAGE,
    SEQUENCE, SUBJECT_ALT_NAME, SUBJECT_KEY_ID, authority, extension, purposes, tlv,
};

const STRICT: &str = "Python from 3.13 on";

fn server(root: &Certificate) -> Forge {
    Forge::leaf(root).with(
        EXTENDED_KEY_USAGE,
        extension(EXTENDED_KEY_USAGE, false, &purposes(&[1])),
    )
}

/// An intermediate that nobody objects to.
fn intermediate(root: &Certificate) -> Forge {
    Forge::leaf(root)
        .with(BASIC_CONSTRAINTS, constraints(true))
        .with(
            KEY_USAGE,
            extension(KEY_USAGE, true, &tlv(BIT_STRING, &[1, 0b110])),
        )
        .without(EXTENDED_KEY_USAGE)
        .without(SUBJECT_ALT_NAME)
}

fn constraints(critical: bool) -> Vec<u8> {
    let ca = tlv(SEQUENCE, &tlv(BOOLEAN, &[0xff]));
    extension(BASIC_CONSTRAINTS, critical, &ca)
}

fn validity(begin: &[u8], end: &[u8]) -> Vec<u8> {
    tlv(SEQUENCE, &[tlv(0x17, begin), tlv(0x17, end)].concat())
}

/// `None`: nobody objects; else who, and a part of why.
#[track_caller]
fn check_leaf(leaf: &Forge, root: &Certificate, expected: Option<(&str, &str)>) {
    let found = objections(&leaf.parse(), std::slice::from_ref(root));
    match (expected, &found[..]) {
        (None, []) => {}
        (Some((client, why)), [one]) => {
            assert!(one.client.contains(client), "{one:?}");
            assert!(one.why.contains(why), "{one:?}");
            assert!(!one.source.is_empty());
        }
        _ => panic!("{expected:?}: {found:?}"),
    }
}

#[test]
fn leaves_are_judged_by_whom_they_are_for() {
    let (root, _) = authority(None);
    check_leaf(&Forge::leaf(&root), &root, None);
    check_leaf(&server(&root), &root, None);
    // 825 days with both ends, and a second more.
    let lived = |end: &[u8]| Forge {
        validity: validity(b"260601000000Z", end),
        ..server(&root)
    };
    check_leaf(&lived(b"280902235959Z"), &root, None);
    check_leaf(
        &lived(b"280903000000Z"),
        &root,
        Some(("Safari", "825 days")),
    );
    // Of clients, Apple asks nothing.
    let client = Forge {
        validity: validity(b"260601000000Z", b"290903000001Z"),
        ..Forge::leaf(&root)
    };
    check_leaf(&client, &root, None);
    let uri = extension(
        SUBJECT_ALT_NAME,
        false,
        &tlv(SEQUENCE, &tlv(0x86, b"spiffe://example.com/api")),
    );
    check_leaf(
        &server(&root).with(SUBJECT_ALT_NAME, uri),
        &root,
        Some(("host name", "neither DNS name nor IP address")),
    );
}

#[test]
fn cas_are_judged_in_their_place() {
    let (root, _) = authority(None);
    let check = |issuing: &Forge, expected: Option<(&str, &str)>| {
        let path = [issuing.parse(), root.clone()];
        let found = objections_to_issuers(&path);
        match (expected, &found[..]) {
            (None, []) => {}
            (Some((client, why)), [one]) => {
                assert!(one.client.contains(client), "{one:?}");
                assert!(one.why.contains(why), "{one:?}");
            }
            _ => panic!("{expected:?}: {found:?}"),
        }
    };
    let good = || intermediate(&root);
    check(&good(), None);
    for (issuing, why) in [
        (
            good().with(BASIC_CONSTRAINTS, constraints(false)),
            "basicConstraints",
        ),
        (good().without(KEY_USAGE), "keyUsage"),
        (good().without(SUBJECT_KEY_ID), "subjectKeyIdentifier"),
        (good().without(AUTHORITY_KEY_ID), "authorityKeyIdentifier"),
    ] {
        check(&issuing, Some((STRICT, why)));
    }
    let rsa = |bits| Forge {
        spki: rsa_spki(bits),
        ..good()
    };
    check(&rsa(8192), None);
    check(&rsa(8200), Some(("Go and rustls", "8192 bits")));
    // The root may leave out who has signed it.
    let root = good().without(AUTHORITY_KEY_ID).parse();
    assert_eq!(objections_to_issuers(&[root]), []);
}
