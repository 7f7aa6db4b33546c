//! Certificate revocation lists, and the rows that they are made of.

use countersign_pki::certificate::Certificate;
use countersign_pki::crl::{AcceptedCrl, CrlRows, CrlScope, CrlTemplate, ParsedCrl};
use countersign_pki::pem;
use countersign_pki::tbs::SignatureAlgorithm;
use countersign_pki::time::UnixTime;

#[test]
fn parsed_list_has_no_more_entries_than_bytes_could_hold() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let Ok(list) = ParsedCrl::parse(bytes) else {
            return;
        };
        // An entry is at least a SEQUENCE of a one-octet INTEGER and a UTCTime.
        assert!(list.entries().len() <= bytes.len() / 18);
        // A scope that is not known makes the list unusable.
        assert!(list.scope().is_some() || !list.unknown_critical_extensions().is_empty());
    });
}

#[test]
fn accepted_row_is_the_one_entry_of_its_list() {
    let root = pem::decode_all(include_bytes!("chain/root.pem")).expect("PEM");
    let root = Certificate::parse(&root[0].der).expect("a root");
    let template = CrlTemplate {
        this_update: UnixTime::from_seconds(1_780_000_000),
        next_update: UnixTime::from_seconds(1_780_086_400),
        number: 1,
        scope: CrlScope::default(),
    };
    bolero::check!().for_each(|row: &[u8]| {
        let rows = CrlRows {
            bytes: row.len(),
            rows: [row],
        };
        let algorithm = SignatureAlgorithm::EcdsaP256Sha256;
        let Ok(to_be_signed) = template.to_be_signed_from(&root, algorithm, rows) else {
            return;
        };
        let list = ParsedCrl::parse(&to_be_signed.complete(&[])).expect("a list");
        assert_eq!(list.entries().len(), 1);
        assert!(list.unknown_critical_extensions().is_empty());
        let said = list.entries()[0].encode();
        let again = CrlRows {
            bytes: said.len(),
            rows: [&said],
        };
        assert!(template.to_be_signed_from(&root, algorithm, again).is_ok());
    });
}

#[test]
fn fetched_bytes_are_relied_on_only_if_their_issuer_signed_them() {
    let root = pem::decode_all(include_bytes!("chain/root.pem")).expect("PEM");
    let issuers = [Certificate::parse(&root[0].der).expect("a root")];
    let now = UnixTime::from_seconds(1_790_000_000);
    bolero::check!().for_each(|bytes: &[u8]| {
        let Ok(lists) = AcceptedCrl::read(bytes, &issuers, now) else {
            return;
        };
        for list in lists {
            assert_eq!(list.issuer_key(), issuers[0].spki());
            // The same bytes follow themselves, or a list could never be read twice.
            assert!(list.follow(&list).is_ok());
            assert_eq!(list.left_out(&list), 0);
        }
    });
}
