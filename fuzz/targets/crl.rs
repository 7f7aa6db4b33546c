//! Certificate revocation lists.

use countersign_pki::crl::ParsedCrl;

#[test]
fn parsed_list_has_no_more_entries_than_bytes_could_hold() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let Ok(list) = ParsedCrl::parse(bytes) else {
            return;
        };
        // An entry is at least a SEQUENCE of a one-octet INTEGER and a UTCTime.
        assert!(list.entries().len() <= bytes.len() / 18);
    });
}
