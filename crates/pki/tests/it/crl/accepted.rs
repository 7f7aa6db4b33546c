use countersign_pki::certificate::Certificate;
use countersign_pki::crl::{AcceptedCrl, CrlRefused, CrlScope, CrlTemplate, Holders};
use countersign_pki::feed::RevocationReason;
use countersign_pki::name::Uri;
use countersign_pki::pem;
use countersign_pki::tbs::Usage;
use countersign_pki::time::UnixTime;
use rcgen::KeyPair;

use super::{ECDSA, entry, signed, template};
use crate::forge::{authority, key, sign, template as forged, time};

fn now() -> UnixTime {
    time("2026-06-02T00:00:00Z")
}

fn der(template: &CrlTemplate, serials: &[&str], issuer: &(Certificate, KeyPair)) -> Vec<u8> {
    let entries: Vec<_> = serials
        .iter()
        .map(|serial| entry(serial, RevocationReason::KeyCompromise))
        .collect();
    let list = signed(template.to_be_signed(&issuer.0, ECDSA, &entries), &issuer.1);
    list.der().to_vec()
}

fn accept(der: &[u8], issuer: &(Certificate, KeyPair)) -> Result<AcceptedCrl, CrlRefused> {
    AcceptedCrl::accept(der, std::slice::from_ref(&issuer.0), now())
}

#[test]
fn every_serial_of_an_accepted_list_is_found_and_no_other() {
    let root = authority(None);
    let list = accept(
        &der(&template(), &["0500", "05", "7f", "050000"], &root),
        &root,
    );
    let list = list.expect("a good list");
    let has = |serial: &str| list.find(serial.parse().expect("a serial")).is_some();
    for serial in ["0500", "05", "7f", "050000"] {
        assert!(has(serial), "{serial}");
    }
    for serial in ["04", "06", "0501", "ff", "05000000"] {
        assert!(!has(serial), "{serial}");
    }
    assert_eq!((list.len(), list.issuer_key()), (4, root.0.spki()));
}

#[test]
fn files_hold_one_list_in_der_or_several_in_pem_and_nothing_else() {
    let root = authority(None);
    let one = der(&template(), &["05"], &root);
    let users = CrlTemplate {
        scope: CrlScope {
            distribution_point: None,
            holders: Holders::Users,
        },
        ..template()
    };
    let other = der(&users, &["06"], &root);
    let read = |bytes: &[u8]| AcceptedCrl::read(bytes, std::slice::from_ref(&root.0), now());
    let pem = |der: &[u8]| pem::encode("X509 CRL", der);
    assert_eq!(read(&one).map(|lists| lists.len()), Ok(1));
    let both = format!("{}{}", pem(&one), pem(&other));
    assert_eq!(read(both.as_bytes()).map(|lists| lists.len()), Ok(2));
    // Longer than any other file in PEM may be.
    let long = format!("{}{both}", "a comment\n".repeat(pem::MAX_BYTES / 5));
    assert_eq!(read(long.as_bytes()).map(|lists| lists.len()), Ok(2));
    assert_eq!(AcceptedCrl::ders(long.as_bytes()), [one.clone(), other]);
    assert_eq!(read(b""), Err(CrlRefused::Empty));
    let behind = [one.clone(), vec![0]].concat();
    let with_certificate = format!("{}{}", pem(&one), pem::encode("CERTIFICATE", root.0.der()));
    for bytes in [
        &behind,
        &one[..one.len() - 1],
        &one[..1],
        with_certificate.as_bytes(),
        b"<html></html>",
    ] {
        let refused = read(bytes);
        assert!(
            matches!(
                refused,
                Err(CrlRefused::Malformed { .. } | CrlRefused::Empty)
            ),
            "{refused:?}"
        );
    }
    // One flipped bit of what was signed, or of the signature.
    for place in [one.len() / 3, one.len() - 2] {
        let mut flipped = one.clone();
        flipped[place] ^= 1;
        assert!(read(&flipped).is_err(), "{place}");
    }
}

fn tlv(tag: u8, content: &[&[u8]]) -> Vec<u8> {
    let content = content.concat();
    let length = u32::try_from(content.len()).expect("not that long");
    [&[tag, 0x84][..], &length.to_be_bytes(), &content].concat()
}

/// A list that nobody has signed costs a hash over its bytes. Its entries here are none: whoever looked at them would say so.
#[test]
fn entries_of_a_list_are_not_read_before_its_signature_has_verified() {
    let (root, other) = (authority(None), forged_stranger());
    let ecdsa_with_sha256 = [
        0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02,
    ];
    let list = |issuer: &[u8], entries: &[u8]| {
        let signed = [
            &[2, 1, 1][..],
            &ecdsa_with_sha256,
            issuer,
            b"\x17\x0d260601000000Z",
            entries,
        ];
        let signed = tlv(0x30, &signed);
        let signature = tlv(3, &[&[0, 0x30, 0x06, 2, 1, 1, 2, 1, 1]]);
        // Lengths are in as few bytes as can be.
        let signature = [&[3, 9][..], &signature[6..]].concat();
        tlv(0x30, &[&signed, &ecdsa_with_sha256, &signature])
    };
    // The most that is fetched.
    let entries = tlv(0x30, &[&vec![0; 64 << 20]]);
    let refused = accept(&list(root.0.subject_der(), &entries), &root);
    let issuer = root.0.subject().to_string();
    assert_eq!(refused, Err(CrlRefused::BadSignature { issuer }));
    let refused = accept(&list(&other, &entries), &root);
    let Err(CrlRefused::WrongIssuer { why }) = &refused else {
        panic!("{refused:?}");
    };
    assert!(why.contains("CN=Stranger"), "{why}");
    // A name of millions is not read either.
    let refused = accept(&list(&entries, &[]), &root);
    assert!(
        matches!(&refused, Err(CrlRefused::WrongIssuer { why }) if why.contains("67108870 bytes")),
        "{refused:?}"
    );
}

/// `CN=Stranger`.
fn forged_stranger() -> Vec<u8> {
    let name = b"\x30\x13\x31\x11\x30\x0f\x06\x03\x55\x04\x03\x0c\x08Stranger";
    name.to_vec()
}

#[test]
fn only_a_known_ca_that_may_sign_lists_is_heard() {
    let (root, other) = (authority(None), authority(None));
    // Of the same name, by another key.
    let refused = accept(&der(&template(), &[], &other), &root);
    assert!(
        matches!(refused, Err(CrlRefused::BadSignature { .. })),
        "{refused:?}"
    );
    // Where both are known, each list is its own signer's.
    let both = [root.0.clone(), other.0.clone()];
    for signer in [&root, &other] {
        let list = AcceptedCrl::accept(&der(&template(), &[], signer), &both, now());
        assert_eq!(list.map(|list| list.issuer_key()), Ok(signer.0.spki()));
    }
    assert_eq!(
        AcceptedCrl::accept(&der(&template(), &[], &root), &[], now())
            .map(drop)
            .map_err(|it| matches!(it, CrlRefused::WrongIssuer { .. })),
        Err(true)
    );
    // A leaf's key signs no lists: its keyUsage says so.
    let leaf_key = key();
    let usage = Usage::Leaf {
        server_auth: true,
        client_auth: true,
    };
    let leaf = forged("CN=Leaf", &leaf_key, usage)
        .to_be_signed(&root.0, ECDSA)
        .expect("a leaf");
    let leaf = (sign(&leaf, &root.1), leaf_key);
    let refused = accept(&der(&template(), &[], &leaf), &leaf);
    assert!(
        matches!(refused, Err(CrlRefused::WrongIssuer { .. })),
        "{refused:?}"
    );
}

#[test]
fn list_that_begins_later_is_refused_but_for_the_difference_of_two_clocks() {
    let root = authority(None);
    let beginning = |text: &str| CrlTemplate {
        this_update: time(text),
        ..template()
    };
    assert!(accept(&der(&beginning("2026-06-02T00:05:00Z"), &[], &root), &root).is_ok());
    let refused = accept(&der(&beginning("2026-06-02T00:05:01Z"), &[], &root), &root);
    assert!(
        matches!(refused, Err(CrlRefused::NotYet { .. })),
        "{refused:?}"
    );
    // One that is over is a list all the same: its end is judged each time.
    let over = CrlTemplate {
        next_update: time("2026-06-01T12:00:00Z"),
        ..template()
    };
    assert!(accept(&der(&over, &[], &root), &root).is_ok());
    let backwards = CrlTemplate {
        next_update: time("2026-05-01T12:00:00Z"),
        ..template()
    };
    assert!(accept(&der(&backwards, &[], &root), &root).is_err());
}

#[test]
fn older_list_of_the_same_scope_does_not_follow() {
    let root = authority(None);
    let other = authority(None);
    let list =
        |number: u64, this_update: &str, shard: Option<&str>, signer: &(Certificate, KeyPair)| {
            let template = CrlTemplate {
                number,
                this_update: time(this_update),
                scope: CrlScope {
                    distribution_point: shard.map(|uri| Uri::parse(uri).expect("a URI")),
                    holders: Holders::All,
                },
                ..template()
            };
            accept(&der(&template, &["05"], signer), signer).expect("a good list")
        };
    let (early, late) = ("2026-06-01T00:00:00Z", "2026-06-01T06:00:00Z");
    let held = list(7, late, None, &root);
    for (number, this_update, follows) in [
        (8, late, true),
        // The number counts, not the clock of whoever signs.
        (8, early, true),
        (7, late, true),
        (7, early, false),
        (6, late, false),
        (0, late, false),
    ] {
        let next = list(number, this_update, None, &root);
        assert_eq!(
            next.follow(&held).is_ok(),
            follows,
            "{number} {this_update}"
        );
    }
    // Another shard, or another CA, counts for itself.
    assert!(
        list(1, early, Some("http://a.b/1.crl"), &root)
            .follow(&held)
            .is_ok()
    );
    assert!(list(1, early, None, &other).follow(&held).is_ok());
    let shorter = accept(
        &der(
            &CrlTemplate {
                number: 301,
                ..template()
            },
            &["06"],
            &root,
        ),
        &root,
    );
    assert_eq!(shorter.expect("a good list").left_out(&held), 1);
}

#[test]
fn no_list_takes_the_place_of_one_that_says_more() {
    let (root, other) = (authority(None), authority(None));
    let later = time("2026-06-01T12:00:00Z");
    let point = || Uri::parse("http://a.example/1.crl").ok();
    let list = |point: Option<Uri>, holders: Holders, later: Option<UnixTime>, signer| {
        let scope = CrlScope {
            distribution_point: point,
            holders,
        };
        let this_update = later.unwrap_or(template().this_update);
        let template = CrlTemplate {
            scope,
            this_update,
            ..template()
        };
        accept(&der(&template, &["05"], signer), signer).expect("a good list")
    };
    let all = list(None, Holders::All, None, &root);
    let users = list(None, Holders::Users, None, &root);
    let shard = list(point(), Holders::Users, None, &root);
    let next_all = list(None, Holders::All, Some(later), &root);
    let next_users = list(None, Holders::Users, Some(later), &root);
    let next_shard = list(point(), Holders::Users, Some(later), &root);
    let cas = list(None, Holders::Authorities, Some(later), &root);
    for (next, held) in [
        (&next_all, &all),
        (&next_all, &users),
        (&next_all, &shard),
        (&next_users, &users),
        (&next_users, &shard),
        (&next_shard, &shard),
    ] {
        assert!(next.takes_the_place_of(held), "{:?}", held.scope());
    }
    for (next, held) in [
        (&next_users, &all),
        (&next_shard, &all),
        (&next_shard, &users),
        (&cas, &users),
        (&cas, &all),
        // Another scope, signed before.
        (&all, &next_users),
        (&users, &next_shard),
        (&list(None, Holders::All, Some(later), &other), &all),
    ] {
        assert!(!next.takes_the_place_of(held), "{:?}", held.scope());
    }
}
