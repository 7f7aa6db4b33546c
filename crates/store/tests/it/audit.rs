//! The chain of the audit log: what it covers, and that nothing is changed in it unseen.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use countersign_pki::feed::RevocationReason;
use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::time::UnixTime;
use countersign_store::audit::log::AuditLog;
use countersign_store::audit::verify::{AuditFault, Extent, VerifyError, WholeLog, verify};
use countersign_store::audit::{Action, Change};
use countersign_store::error::StoreError;
use countersign_store::inventory::Selector;
use countersign_store::store::Store;
use tokio::task::JoinSet;

use crate::fixture::{ADMIN, Fixture, HOUR, now};

/// The log of the state in `path`, as it is exported.
pub(crate) fn export(path: &Path) -> Vec<String> {
    export_since(path, None)
}

pub(crate) fn export_since(path: &Path, since: Option<UnixTime>) -> Vec<String> {
    let mut lines = Vec::new();
    let log = AuditLog::open(path).expect("opens");
    let read = log.lines(since, |line| {
        lines.push(line.to_owned());
        Ok::<(), StoreError>(())
    });
    read.expect("reads");
    lines
}

pub(crate) fn verify_lines(
    lines: &[String],
    noted: Option<Fingerprint>,
) -> Result<WholeLog, AuditFault> {
    verify_extent(lines, noted, Extent::Whole)
}

fn verify_extent(
    lines: &[String],
    noted: Option<Fingerprint>,
    extent: Extent,
) -> Result<WholeLog, AuditFault> {
    match verify(lines.join("\n").as_bytes(), noted, extent) {
        Ok(whole) => Ok(whole),
        Err(VerifyError::Fault(fault)) => Err(fault),
        Err(other) => panic!("{other}"),
    }
}

pub(crate) fn verify_state(path: &Path) -> Result<WholeLog, AuditFault> {
    let lines = verify_lines(&export(path), None);
    match AuditLog::open(path).expect("opens").verify(None) {
        Ok(whole) => assert_eq!(lines, Ok(whole)),
        Err(VerifyError::Fault(fault)) => assert_eq!(lines, Err(fault)),
        Err(other) => panic!("{other}"),
    }
    lines
}

pub(crate) fn head(whole: &WholeLog) -> Fingerprint {
    whole.head.parse().expect("a digest")
}

/// Records 1 to 5 in links 1 to 5.
pub(crate) async fn fixture() -> Fixture {
    let fixture = Fixture::new();
    fixture.issue("first", HOUR).await;
    fixture.issue("second", HOUR).await;
    fixture
}

/// What whoever owns the file can do.
pub(crate) fn tamper(path: &Path, statements: &str) {
    let sql = rusqlite::Connection::open(path).expect("opens");
    sql.execute_batch(
        "DROP TRIGGER audit_keeps_what_it_says; DROP TRIGGER audit_forgets_nothing;
         DROP TRIGGER audit_link_keeps_what_it_says; DROP TRIGGER audit_link_forgets_nothing;",
    )
    .expect("drops");
    sql.execute_batch(statements).expect("changes");
}

#[tokio::test]
async fn each_transaction_is_one_link_over_the_records_in_it() {
    let fixture = fixture().await;
    let whole = verify_state(&fixture.path).expect("whole");
    assert_eq!((whole.first_link, whole.last_link), (1, 5));
    assert_eq!((whole.first_record, whole.last_record), (1, 5));
    assert_eq!(whole.chain.len(), 32);
    let lines = export(&fixture.path);
    assert!(
        lines[0].starts_with(
            r#"{"record":1,"at":"2027-01-15T08:00:00Z","actor":{"kind":"authority"},"#
        ),
        "{lines:#?}"
    );
    assert!(
        lines[1].starts_with(r#"{"link":1,"format":1,"chain":""#),
        "{lines:#?}"
    );

    // Two of one name are revoked by one change, in one transaction.
    let selector = Selector::Names(vec!["cn:first".parse().expect("a name")]);
    fixture.issue("first", HOUR).await;
    let revoke = fixture
        .store
        .revoke(selector, ADMIN, RevocationReason::Superseded, now());
    assert_eq!(revoke.await.expect("revokes").changed.count, 2);
    let later = verify_state(&fixture.path).expect("whole");
    assert_eq!((later.last_link, later.last_record), (8, 9));
    assert_eq!(later.chain, whole.chain);
}

#[tokio::test]
async fn changes_of_one_group_commit_share_a_link_and_refused_ones_have_none() {
    let fixture = Arc::new(Fixture::new());
    let mut tasks = JoinSet::new();
    for number in 0..64_u8 {
        let fixture = Arc::clone(&fixture);
        tasks.spawn(async move {
            // Every eighth one asks for a serial that another one has.
            let random = [if number % 8 == 7 { 0x7f } else { number }; 20];
            let approved = fixture.approved_with(&format!("n{number}"), HOUR, random);
            let intend = fixture
                .store
                .intend(approved, fixture.issuer, None, String::new(), now());
            intend.await.is_ok()
        });
    }
    let outcomes = tasks.join_all().await;
    assert_eq!(outcomes.into_iter().filter(|&made| made).count(), 57);
    let whole = verify_state(&fixture.path).expect("whole");
    assert_eq!(whole.last_record, 58);
    assert!(
        whole.last_link < 58,
        "64 changes that wait are written together: {whole:?}"
    );
}

#[tokio::test]
async fn three_writers_of_one_file_make_one_chain() {
    let fixture = Arc::new(Fixture::new());
    let mut tasks = JoinSet::new();
    for writer in 0..3_u8 {
        let fixture = Arc::clone(&fixture);
        let store = Store::open(&fixture.path, Box::new(|_| {})).expect("opens");
        tasks.spawn(async move {
            for number in 0..20_u8 {
                let approved = fixture.approved_with("x", HOUR, [20 * writer + number + 1; 20]);
                let intend = store.intend(approved, fixture.issuer, None, String::new(), now());
                intend.await.expect("intends");
            }
        });
    }
    tasks.join_all().await;
    assert_eq!(verify_state(&fixture.path).expect("whole").last_record, 61);
}

#[tokio::test]
async fn log_that_grows_meanwhile_is_opened_and_read_as_a_whole_one() {
    let fixture = Fixture::new();
    let path = fixture.path.clone();
    let reading = std::thread::spawn(move || {
        for _ in 0..100 {
            Store::open(&path, Box::new(|_| {}))
                .map(drop)
                .expect("opens");
        }
        let log = AuditLog::open(&path).expect("opens");
        log.verify(None).expect("whole");
    });
    while !reading.is_finished() {
        fixture.intend("x", HOUR).await;
    }
    reading.join().expect("no panic");
}

#[tokio::test]
async fn change_whose_link_cannot_be_written_is_not_made() {
    let fixture = fixture().await;
    let second = rusqlite::Connection::open(&fixture.path).expect("opens");
    second
        .execute_batch("CREATE TRIGGER broken BEFORE INSERT ON audit_link BEGIN SELECT raise(ABORT, 'broken'); END")
        .expect("writes");
    let approved = fixture.approved("during", HOUR);
    let intend = fixture
        .store
        .intend(approved, fixture.issuer, None, String::new(), now());
    intend.await.expect_err("cannot be linked");
    second.execute_batch("DROP TRIGGER broken").expect("writes");
    assert_eq!(fixture.store.tally(now()).await.expect("counts").unknown, 0);
    fixture.issue("after", HOUR).await;
    assert_eq!(verify_state(&fixture.path).expect("whole").last_record, 7);
}

#[tokio::test]
async fn power_cut_at_any_write_leaves_each_record_in_its_link() {
    let fixture = fixture().await;
    let beside = |path: &Path| path.with_file_name("inventory.db-wal");
    let (file, journal) = (
        fs::read(&fixture.path).expect("reads"),
        fs::read(beside(&fixture.path)).expect("reads"),
    );
    let mut ends = Vec::new();
    // A frame of the write-ahead log is a page of 4096 bytes and a header of 24.
    for kept in (0..journal.len()).step_by(1030).chain([journal.len()]) {
        let folder = tempfile::tempdir().expect("temporary directory");
        let path = folder.path().join("inventory.db");
        fs::write(&path, &file).expect("writes");
        fs::write(beside(&path), &journal[..kept]).expect("writes");
        let store = Store::open(&path, Box::new(|_| {})).expect("opens");
        let records = store.audit(0, 100).await.expect("reads").len();
        drop(store);
        let whole = verify_state(&path).expect("whole");
        assert_eq!(whole.last_record, i64::try_from(records).expect("few"));
        ends.push(whole.last_link);
    }
    assert!(ends.is_sorted() && ends.len() > 20, "{ends:?}");
    ends.dedup();
    assert_eq!(ends, [1, 2, 3, 4, 5]);
}

/// Undoes the migrations since, as far as the log goes: names are lost.
const TO_THE_FIRST_SCHEMA: &str = "
    DROP INDEX revocation_by_message; DELETE FROM meta WHERE key = 'witnessed-at'; 
    CREATE TEMP TABLE ours AS SELECT * FROM entry e LEFT JOIN certificate c ON c.id = e.id WHERE e.issuer_id IS NOT NULL;
    DROP TABLE idempotency_key; DROP TABLE certificate; DROP TABLE intent;
    DROP TABLE name; DROP TABLE imported; DROP TABLE entry; DROP TABLE label; DROP TABLE identity; DROP TABLE issuer_name;
    DROP TABLE crl_entry; DROP TABLE crl_signed; DROP TABLE crl; DROP TABLE ending;
    CREATE TABLE intent (
        id           INTEGER PRIMARY KEY AUTOINCREMENT,
        issuer_id    INTEGER NOT NULL REFERENCES issuer (id),
        serial       BLOB    NOT NULL,
        profile      TEXT    NOT NULL,
        spki         BLOB    NOT NULL,
        not_before   INTEGER NOT NULL,
        not_after    INTEGER NOT NULL,
        to_be_signed BLOB    NOT NULL,
        actor        TEXT    NOT NULL,
        renews       INTEGER REFERENCES intent (id),
        intended_at  INTEGER NOT NULL,
        UNIQUE (serial, issuer_id)
    ) STRICT;
    CREATE TABLE certificate (
        id          INTEGER PRIMARY KEY REFERENCES intent (id),
        fingerprint BLOB    NOT NULL UNIQUE,
        der         BLOB    NOT NULL,
        issued_at   INTEGER NOT NULL
    ) STRICT;
    INSERT INTO intent SELECT id, issuer_id, serial, profile, spki, not_before, not_after, x'', actor, renews, added_at FROM temp.ours;
    INSERT INTO certificate SELECT id, fingerprint, der, issued_at FROM temp.ours WHERE der IS NOT NULL;
    CREATE INDEX intent_by_end ON intent (not_after);
    CREATE INDEX intent_by_spki ON intent (spki);
    CREATE TABLE name (
        kind      TEXT    NOT NULL,
        value     TEXT    NOT NULL,
        intent_id INTEGER NOT NULL REFERENCES intent (id),
        position  INTEGER NOT NULL,
        PRIMARY KEY (kind, value, intent_id)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX name_by_intent ON name (intent_id, position);
    DROP TABLE audit_link;
    DELETE FROM meta WHERE key = 'audit-chain';
    ALTER TABLE audit DROP COLUMN before;
    ALTER TABLE audit DROP COLUMN after;
    PRAGMA user_version = 1;";

#[tokio::test]
async fn records_of_an_older_inventory_become_its_first_link() {
    let fixture = fixture().await;
    tamper(&fixture.path, TO_THE_FIRST_SCHEMA);
    assert_eq!(
        AuditLog::open(&fixture.path).err(),
        Some(StoreError::OlderSchema {
            path: fixture.path.clone(),
            found: 1,
            needed: 2
        })
    );
    let fixture = fixture.reopened();
    let whole = verify_state(&fixture.path).expect("whole");
    assert_eq!(
        (whole.last_link, whole.first_record, whole.last_record),
        (1, 1, 5)
    );
    fixture.issue("after", HOUR).await;
    assert_eq!(verify_state(&fixture.path).expect("whole").last_link, 3);
}

#[tokio::test]
async fn older_inventory_with_a_gap_is_opened_and_the_gap_named() {
    let fixture = fixture().await;
    tamper(
        &fixture.path,
        &format!(
            "{TO_THE_FIRST_SCHEMA} DELETE FROM audit WHERE id = 3;
             UPDATE audit SET actor = 'nonsense', at = -1 WHERE id = 4;"
        ),
    );
    let fixture = fixture.reopened();
    fixture.issue("after", HOUR).await;
    let fixture = fixture.reopened();
    assert_eq!(
        verify_state(&fixture.path),
        Err(AuditFault::RecordMissing { record: 3 })
    );
}

#[tokio::test]
async fn part_of_a_log_is_whole_only_behind_a_noted_head() {
    let fixture = Fixture::new();
    let noted = head(&verify_state(&fixture.path).expect("whole"));
    let later = now().plus(Duration::from_hours(1));
    let serial = fixture.issue("api", 5 * HOUR).await.certificate().serial();
    let before = head(&verify_state(&fixture.path).expect("whole"));
    let revoke = fixture.store.revoke(
        Selector::Serial(serial),
        ADMIN,
        RevocationReason::Superseded,
        later,
    );
    revoke.await.expect("revokes");
    let part = export_since(&fixture.path, Some(later));
    assert_eq!(part.len(), 2, "{part:#?}");
    let missing = Err(AuditFault::BeginningMissing { link: 4 });
    assert_eq!(verify_extent(&part, None, Extent::Part), missing);
    assert_eq!(
        verify_extent(&part, Some(before), Extent::Part).map(|it| it.first_link),
        Ok(4)
    );
    assert_eq!(
        verify_extent(&part, Some(noted), Extent::Part),
        Err(AuditFault::HeadMissing { head: noted })
    );
    // Nobody asked for a part: then it is a log whose beginning was cut off, whatever head it goes on from.
    assert_eq!(verify_lines(&part, Some(before)), missing);
    assert_eq!(
        export_since(&fixture.path, Some(now())),
        export(&fixture.path)
    );
    assert!(export_since(&fixture.path, Some(later.plus(HOUR))).is_empty());
}

#[tokio::test]
async fn revocation_and_renewal_say_what_stood_before_and_after() {
    let fixture = Fixture::new();
    let stored = fixture.issue("api", HOUR).await;
    let old = stored.certificate().serial();
    let approved = fixture.approved("api", HOUR);
    let renew = fixture.store.intend(
        approved,
        fixture.issuer,
        Some(stored.id()),
        String::new(),
        now(),
    );
    let new = renew.await.expect("intends").serial();
    for selector in [old, new].map(Selector::Serial) {
        let revoke = fixture
            .store
            .revoke(selector, ADMIN, RevocationReason::Superseded, now());
        revoke.await.expect("revokes");
    }
    let change = |before: &str, after: &str| {
        Some(Change {
            before: before.to_owned(),
            after: after.to_owned(),
        })
    };
    let records = fixture.store.audit(1, 100).await.expect("reads");
    let said: Vec<_> = records
        .into_iter()
        .map(|it| (it.action, it.change))
        .collect();
    assert_eq!(
        said,
        [
            (Action::Intend, None),
            (Action::Issue, None),
            (Action::Intend, change(&old.to_string(), &new.to_string())),
            (Action::Revoke, change("live", "revoked")),
            (Action::Revoke, change("unknown", "revoked")),
        ]
    );
}
