//! Requests, approvals and what a gateway keeps of an arming: files that others may have written.

use countersign_policy::break_glass::{Approval, Kept, Statement};

#[test]
fn what_is_read_is_written_again_as_the_same() {
    bolero::check!().for_each(|bytes: &[u8]| {
        if let Ok(statement) = Statement::parse(bytes) {
            let again = Statement::parse(statement.to_json().as_bytes()).expect("we wrote it");
            assert_eq!(again, statement);
            assert_eq!(again.to_be_signed(), statement.to_be_signed());
        }
        if let Ok(approval) = Approval::parse(bytes) {
            let again = Approval::parse(approval.to_json().as_bytes());
            assert_eq!(again.as_ref(), Ok(&approval));
        }
        if let Ok(kept) = Kept::parse(bytes) {
            assert_eq!(Kept::parse(kept.to_json().as_bytes()).as_ref(), Ok(&kept));
        }
    });
}

/// One byte of a file that is good at a time: what is still read is the same statement, or has other bytes to sign.
#[test]
fn other_text_is_another_statement_or_none() {
    let good = r#"{"break_glass_request":{"gateway":"7f3a9c","listener":"emergency","reason":"why","nonce":"0505050505050505050505050505050505050505050505050505050505050505","expires_unix_s":1795382433}}"#;
    let first = Statement::parse(good.as_bytes()).expect("it is good");
    bolero::check!()
        .with_type::<(usize, u8)>()
        .for_each(|&(at, byte)| {
            let mut bytes = good.as_bytes().to_vec();
            let at = at % bytes.len();
            bytes[at] = byte;
            if let Ok(other) = Statement::parse(&bytes) {
                assert_eq!(other == first, other.to_be_signed() == first.to_be_signed());
            }
        });
}
