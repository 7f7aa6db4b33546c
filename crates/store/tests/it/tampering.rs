//! A log that somebody changed: every way is found, by its place, and nothing is built on it.

use std::path::Path;

use countersign_store::audit::log::AuditLog;
use countersign_store::audit::verify::{AuditFault, Extent, VerifyError, verify};
use countersign_store::error::StoreError;
use countersign_store::store::Store;

use crate::audit::{export, fixture, head, tamper, verify_lines, verify_state};
use crate::fixture::{Fixture, HOUR, now};

/// What is done to a log of records 1 to 5 in links 1 to 5, and what is found.
const CHANGES: [(&str, &str); 29] = [
    (
        "UPDATE audit SET reason = 'other' WHERE id = 3",
        "record 3 is not what link 3 was made over",
    ),
    (
        "UPDATE audit SET at = at + 1 WHERE id = 1",
        "record 1 is not what link 1 was made over",
    ),
    (
        "UPDATE audit SET actor = '{\"kind\":\"authority\"}' WHERE id = 2",
        "record 2 is not what link 2 was made over",
    ),
    (
        "UPDATE audit SET before = '' WHERE id = 2",
        "record 2 is not what link 2 was made over",
    ),
    (
        "UPDATE audit SET id = 9 WHERE id = 2; UPDATE audit SET id = 2 WHERE id = 3; UPDATE audit SET id = 3 WHERE id = 9",
        "record 2 is not what link 2 was made over",
    ),
    (
        "DELETE FROM audit WHERE id = 1",
        "link 1 has no records before it",
    ),
    (
        "DELETE FROM audit WHERE id = 3",
        "link 3 has no records before it",
    ),
    (
        "DELETE FROM audit WHERE id = 5",
        "link 5 has no records before it",
    ),
    (
        "DELETE FROM audit WHERE id = 2; DELETE FROM audit_link WHERE number = 2",
        "record 2 is missing",
    ),
    (
        "DELETE FROM audit; DELETE FROM audit_link WHERE number < 5",
        "link 5 has no records before it",
    ),
    (
        "DELETE FROM audit_link WHERE number = 1",
        "link 2 is over records 2 to 2, but 1 to 2 stand before it",
    ),
    (
        "DELETE FROM audit_link WHERE number = 1; DELETE FROM audit WHERE id = 1",
        "the log begins with link 2: link 1 is missing",
    ),
    (
        "DELETE FROM audit_link WHERE number = 3",
        "link 3 is missing",
    ),
    (
        "DELETE FROM audit_link WHERE number = 5",
        "record 5 is in no link",
    ),
    ("DELETE FROM audit_link", "record 1 is in no link"),
    (
        "DELETE FROM audit_link; DELETE FROM audit",
        "there is no link in it",
    ),
    (
        "INSERT INTO audit SELECT 6, at, actor, authenticated, action, object, reason, before, after FROM audit WHERE id = 5",
        "record 6 is in no link",
    ),
    (
        "INSERT INTO audit SELECT 0, at, actor, authenticated, action, object, reason, before, after FROM audit WHERE id = 5",
        "link 1 is over records 1 to 1, but 0 to 1 stand before it",
    ),
    (
        "INSERT INTO audit SELECT -9223372036854775808, at, actor, authenticated, action, object, reason, before, after FROM audit WHERE id = 5",
        "record -9223372036854775807 is missing",
    ),
    (
        "INSERT INTO audit_link SELECT 9, format, chain, hash, 6, 6, records, hash FROM audit_link WHERE number = 5",
        "link 6 is missing",
    ),
    (
        "UPDATE audit_link SET number = 0 WHERE number = 1",
        "link 0 stands where link 1 belongs",
    ),
    (
        "UPDATE audit_link SET chain = '00112233445566778899aabbccddeeff' WHERE number = 2",
        "link 2 is of another chain",
    ),
    (
        "UPDATE audit_link SET chain = '00112233445566778899aabbccddeeff'",
        "link 1 does not have the hash that it states",
    ),
    (
        "UPDATE audit_link SET chain = 'x' WHERE number = 1",
        "line 2 is neither a record nor a link",
    ),
    (
        "UPDATE audit_link SET format = 2 WHERE number = 3",
        "link 3 has format 2, this version knows 1",
    ),
    (
        "UPDATE audit_link SET previous = hash WHERE number = 3",
        "link 3 does not follow what stands before it: one of the two was replaced",
    ),
    (
        "UPDATE audit_link SET previous = hash WHERE number = 1",
        "link 1 does not follow what stands before it: one of the two was replaced",
    ),
    (
        "UPDATE audit_link SET hash = previous WHERE number = 5",
        "link 5 does not have the hash that it states",
    ),
    (
        "UPDATE audit_link SET last = 4 WHERE number = 3",
        "records 3 to 4 are not what link 3 was made over",
    ),
];

/// The same for what is looked at when an inventory is opened.
const CHANGES_OF_THE_END: [(&str, &str); 10] = [
    (
        "UPDATE audit SET reason = 'other' WHERE id = 5",
        "record 5 is not what link 5 was made over",
    ),
    (
        "DELETE FROM audit WHERE id = 5",
        "record 5 is not what link 5 was made over",
    ),
    (
        "DELETE FROM audit_link WHERE number = 5",
        "record 5 is in no link",
    ),
    (
        "DELETE FROM audit_link; DELETE FROM audit",
        "there is no link in it",
    ),
    ("DELETE FROM audit_link", "record 1 is in no link"),
    (
        "DELETE FROM audit_link WHERE number = 4",
        "link 4 is missing",
    ),
    (
        "UPDATE audit_link SET hash = previous WHERE number = 4",
        "link 5 does not follow what stands before it: one of the two was replaced",
    ),
    (
        "UPDATE audit_link SET hash = previous WHERE number = 5",
        "link 5 does not have the hash that it states",
    ),
    (
        "UPDATE audit_link SET chain = 'x' WHERE number = 5",
        "link 5 is of another chain",
    ),
    (
        "INSERT INTO audit SELECT 6, at, actor, authenticated, action, object, reason, before, after FROM audit WHERE id = 5",
        "record 6 is in no link",
    ),
];

#[tokio::test]
async fn every_way_to_change_the_log_is_found_and_its_place_named() {
    let fixture = fixture().await;
    for (statements, expected) in CHANGES {
        let (_folder, path) = copy(&fixture.path);
        tamper(&path, statements);
        let found = verify_state(&path).expect_err(statements);
        assert_eq!(found.to_string(), expected, "{statements}");
    }
}

#[tokio::test]
async fn inventory_whose_last_link_is_wrong_is_not_opened_and_says_what_to_do() {
    let fixture = fixture().await;
    for (statements, expected) in CHANGES_OF_THE_END {
        let (_folder, path) = copy(&fixture.path);
        tamper(&path, statements);
        let refused = Store::open(&path, Box::new(|_| {}))
            .err()
            .expect(statements);
        let StoreError::AuditLog { fault, .. } = &refused else {
            panic!("{statements}: {refused}");
        };
        assert_eq!(fault.to_string(), expected, "{statements}");
        let hint = refused.hint().expect("a hint");
        assert!(
            hint.contains("countersign audit verify") && hint.contains("backup"),
            "{hint}"
        );
    }
}

#[tokio::test]
async fn nothing_is_written_behind_a_record_that_is_in_no_link() {
    let fixture = fixture().await;
    tamper(
        &fixture.path,
        "INSERT INTO audit SELECT 6, at, actor, authenticated, action, object, reason, before, after FROM audit WHERE id = 5",
    );
    let approved = fixture.approved("after", HOUR);
    let intend = fixture
        .store
        .intend(approved, fixture.issuer, None, String::new(), now());
    assert_eq!(
        intend.await.expect_err("refused"),
        StoreError::AuditLog {
            path: fixture.path.clone(),
            fault: AuditFault::Unlinked { record: 6 }
        }
    );
}

#[tokio::test]
async fn log_that_was_cut_off_or_made_anew_is_found_by_a_noted_head() {
    let fixture = fixture().await;
    let noted = head(&verify_state(&fixture.path).expect("whole"));
    fixture.issue("third", HOUR).await;
    let lines = export(&fixture.path);
    let whole = verify_lines(&lines, Some(noted)).expect("goes on from there");
    assert_eq!(whole.last_link, 7);
    verify_lines(&lines[..10], Some(noted)).expect("the very head");
    // Cut off at a link it is a whole, shorter log.
    let cut = &lines[..8];
    assert_eq!(verify_lines(cut, None).map(|it| it.last_link), Ok(4));
    assert_eq!(
        verify_lines(cut, Some(noted)),
        Err(AuditFault::HeadMissing { head: noted })
    );
    let another = self::fixture().await;
    let lines = export(&another.path);
    assert_eq!(
        verify_lines(&lines, Some(noted)),
        Err(AuditFault::HeadMissing { head: noted })
    );
}

#[tokio::test]
async fn log_whose_beginning_was_cut_off_is_found_whatever_head_was_noted() {
    let fixture = fixture().await;
    let noted = head(&verify_state(&fixture.path).expect("whole"));
    tamper(
        &fixture.path,
        "DELETE FROM audit WHERE id < 5; DELETE FROM audit_link WHERE number < 5",
    );
    let found = AuditLog::open(&fixture.path)
        .expect("opens")
        .verify(Some(noted))
        .expect_err("cut off");
    let VerifyError::Fault(found) = found else {
        panic!("{found}");
    };
    assert_eq!(found, AuditFault::BeginningMissing { link: 5 });
    assert_eq!(
        verify_lines(&export(&fixture.path), Some(noted)),
        Err(found)
    );
}

#[test]
fn file_that_is_no_log_is_refused_by_its_line() {
    let check = |text: &[u8], expected: AuditFault| {
        let refused = verify(text, None, Extent::Whole)
            .expect_err("refused")
            .to_string();
        assert_eq!(refused, expected.to_string(), "{}", text.escape_ascii());
    };
    check(b"", AuditFault::Empty);
    for nonsense in [
        "\n",
        "x",
        "{}",
        "[]",
        "null",
        "\u{0}",
        "{\"record\":",
        "{\"record\":}",
        "{\"record\":1.5}",
        "{\"record\":\"1\"}",
        "{\"record\":1,\"record\":2}",
        "{\"record\":1}x",
        "{\"record\":99999999999999999999}",
        "{\"link\":1}",
        "{\"link\":1,\"format\":1,\"chain\":\"\u{1b}[2J\",\"previous\":\"\",\"first\":1,\"last\":1,\"records\":\"\",\"hash\":\"\"}",
    ] {
        check(nonsense.as_bytes(), AuditFault::Malformed { line: 1 });
    }
    check(&b"[".repeat(100_000), AuditFault::Malformed { line: 1 });
    check(b"\xff\xfe", AuditFault::Malformed { line: 1 });
    check(
        b"{\"record\":1}\n{\"record\":3}",
        AuditFault::RecordMissing { record: 2 },
    );
    check(
        b"{\"record\":3}\n{\"record\":1}",
        AuditFault::RecordOutOfPlace {
            record: 1,
            expected: 4,
        },
    );
    check(
        b"{\"record\":9223372036854775807}\n{\"record\":1}",
        AuditFault::RecordOutOfPlace {
            record: 1,
            expected: i64::MAX,
        },
    );
    check(b"{\"record\":1}", AuditFault::Unlinked { record: 1 });
}

#[test]
fn line_without_an_end_is_not_read_to_its_end() {
    let endless = std::io::BufReader::new(std::io::repeat(b'['));
    let refused = verify(endless, None, Extent::Whole).expect_err("refused");
    assert!(
        matches!(
            refused,
            VerifyError::Fault(AuditFault::LineTooLong { line: 1 })
        ),
        "{refused}"
    );
}

#[tokio::test]
async fn log_with_any_byte_changed_is_not_whole() {
    let fixture = Fixture::new();
    fixture.issue("api", HOUR).await;
    let file = export(&fixture.path).join("\n").into_bytes();
    verify(file.as_slice(), None, Extent::Whole).expect("whole");
    for place in 0..file.len() {
        for change in [1, 0x20, 0x80] {
            let mut changed = file.clone();
            changed[place] ^= change;
            assert!(
                verify(changed.as_slice(), None, Extent::Whole).is_err(),
                "byte {place} ^ {change}"
            );
        }
        // Between two lines it is cut off at a link, or in the middle of one.
        let is_between_lines = file[place.saturating_sub(1)..=place].contains(&b'\n');
        assert!(
            is_between_lines || verify(&file[..place], None, Extent::Whole).is_err(),
            "cut at byte {place}"
        );
    }
}

/// The inventory as it is now.
fn copy(path: &Path) -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().expect("temporary directory");
    let copy = folder.path().join("inventory.db");
    rusqlite::Connection::open(path)
        .expect("opens")
        .execute("VACUUM INTO ?1", [copy.to_string_lossy()])
        .expect("copies");
    (folder, copy)
}
