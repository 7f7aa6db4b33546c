use countersign_pki::crl::{CrlEntry, CrlRowFault, CrlRows, MAX_ROWS_BYTES};
use countersign_pki::feed::RevocationReason;
use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::serial::SerialNumber;

use super::{ECDSA, entry, signed, template};
use crate::forge::{BOOLEAN, INTEGER, OID, SEQUENCE, authority, extension, tlv};

fn row(serial: &str) -> Vec<u8> {
    entry(serial, RevocationReason::KeyCompromise).encode()
}

fn fault(bytes: usize, rows: &[Vec<u8>]) -> CrlRowFault {
    let (root, _) = authority(None);
    let fault = template()
        .to_be_signed_from(&root, ECDSA, CrlRows { bytes, rows })
        .expect_err("a fault");
    assert!(!fault.hint().is_empty());
    fault
}

#[test]
fn rows_make_the_list_that_entries_make() {
    let (root, root_key) = authority(None);
    let entries: Vec<CrlEntry> = ["02", "f0", "0100"]
        .map(|serial| entry(serial, RevocationReason::Superseded))
        .to_vec();
    let rows: Vec<Vec<u8>> = entries.iter().map(CrlEntry::encode).collect();
    let bytes = rows.iter().map(Vec::len).sum();
    let streamed = template()
        .to_be_signed_from(&root, ECDSA, CrlRows { bytes, rows: &rows })
        .expect("sorted rows");
    assert_eq!(streamed, template().to_be_signed(&root, ECDSA, &entries));
    let crl = signed(streamed, &root_key);
    assert_eq!(crl.entries(), entries);
    assert_eq!(crl.verify(&root), Ok(()));
    let none: [Vec<u8>; 0] = [];
    let empty = CrlRows {
        bytes: 0,
        rows: &none,
    };
    assert_eq!(
        template().to_be_signed_from(&root, ECDSA, empty),
        Ok(template().to_be_signed(&root, ECDSA, &[]))
    );
}

#[test]
fn rows_that_are_no_entries_are_refused() {
    let date = || tlv(0x17, b"260601000000Z");
    let beside = |extension: &[u8]| {
        let fields = [tlv(INTEGER, &[9]), date(), tlv(SEQUENCE, extension)];
        tlv(SEQUENCE, &fields.concat())
    };
    for (bad, why) in [
        (vec![], "not DER"),
        (tlv(SEQUENCE, &[]), "serial number"),
        (row("09")[1..].to_vec(), "an entry"),
        ([row("09"), row("0a")].concat(), "bytes follow"),
        (tlv(SEQUENCE, &tlv(INTEGER, &[9])), "an entry's date"),
        (
            tlv(SEQUENCE, &[tlv(INTEGER, &[0]), date()].concat()),
            "zero",
        ),
        // Another spelling of 9, which no client finds.
        (
            tlv(SEQUENCE, &[tlv(INTEGER, &[0, 9]), date()].concat()),
            "not a DER INTEGER",
        ),
        (
            tlv(SEQUENCE, &[tlv(OID, &[9]), date()].concat()),
            "serial number",
        ),
        (
            tlv(
                SEQUENCE,
                &[tlv(INTEGER, &[9]), date(), tlv(BOOLEAN, &[0])].concat(),
            ),
            "ASN.1 type",
        ),
        // certificateIssuer, with which the entry is about another issuer's certificate.
        (
            beside(&extension(&[0x55, 0x1d, 29], true, &[0x30, 0])),
            "critical extension 2.5.29.29 is not known",
        ),
    ] {
        let rows = [row("01"), bad];
        match fault(rows.concat().len(), &rows) {
            CrlRowFault::NotAnEntry {
                index: 1,
                why: said,
            } => {
                assert!(said.contains(why), "{said}, not {why}");
            }
            other => panic!("{why}: {other}"),
        }
    }
}

#[test]
fn rows_out_of_order_and_twice_the_same_are_refused() {
    for (first, second) in [("02", "01"), ("01", "01"), ("0100", "ff")] {
        let rows = [row(first), row(second)];
        assert_eq!(
            fault(rows.concat().len(), &rows),
            CrlRowFault::OutOfOrder {
                index: 1,
                serial: second.parse().expect("a serial"),
            }
        );
    }
}

#[test]
fn rows_of_another_length_than_announced_are_refused() {
    let rows = [row("01"), row("02")];
    let whole = rows.concat().len();
    for (announced, found) in [
        (0, whole / 2),
        (1, whole / 2),
        (whole / 2, whole),
        (whole - 1, whole),
        (whole + 1, whole),
        (MAX_ROWS_BYTES, whole),
    ] {
        assert_eq!(
            fault(announced, &rows),
            CrlRowFault::LengthDiffers { announced, found }
        );
    }
    assert_eq!(
        fault(MAX_ROWS_BYTES + 1, &rows),
        CrlRowFault::TooLarge {
            bytes: MAX_ROWS_BYTES + 1
        }
    );
}

#[test]
fn a_long_list_is_in_memory_once() {
    let (root, root_key) = authority(None);
    let mut serials: Vec<SerialNumber> = (0..10_000_u32)
        .map(|number| {
            let mut random = [0; 20];
            random.copy_from_slice(&Fingerprint::of(&number.to_be_bytes()).as_bytes()[..20]);
            SerialNumber::from_random(random)
        })
        .collect();
    serials.sort_unstable();
    let row = |serial: &SerialNumber| {
        CrlEntry {
            serial: *serial,
            ..entry("01", RevocationReason::KeyCompromise)
        }
        .encode()
    };
    let bytes = serials.iter().map(|serial| row(serial).len()).sum();
    // Each row is made when it is wanted and gone when it is written.
    let rows = serials.iter().map(row);
    let to_be_signed = template()
        .to_be_signed_from(&root, ECDSA, CrlRows { bytes, rows })
        .expect("sorted rows");
    let buffer = to_be_signed.bytes().as_ptr();
    let signature = rcgen::SigningKey::sign(&root_key, to_be_signed.bytes()).expect("a signature");
    let der = to_be_signed.complete(&signature);
    assert_eq!(der.as_ptr(), buffer, "the buffer was not moved");
    assert!(
        der.capacity() < der.len() + 256,
        "nor made larger than needed"
    );
    assert!((bytes..bytes + 512).contains(&der.len()));
    let crl = countersign_pki::crl::ParsedCrl::parse(&der).expect("decodes");
    assert_eq!(crl.entries().len(), 10_000);
    assert_eq!(crl.verify(&root), Ok(()));
}
