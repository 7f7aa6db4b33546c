//! Files that are not what they should be.

use std::fs;

use countersign_pki::feed::{HistoryId, Sequence};
use countersign_policy::issuance::Actor;
use countersign_store::adoption::Brought;
use countersign_store::error::StoreError;
use countersign_store::inventory::Filter;
use countersign_store::store::{Founding, Store};

use crate::fixture::{Fixture, HOUR, now};

fn open(path: &std::path::Path) -> Result<(), StoreError> {
    Store::open(path, Box::new(|_| {})).map(drop)
}

/// The file of an inventory with one certificate, closed.
async fn closed() -> (tempfile::TempDir, std::path::PathBuf) {
    let fixture = Fixture::new();
    fixture.issue("api", HOUR).await;
    let folder = tempfile::tempdir().expect("temporary directory");
    let path = folder.path().join("inventory.db");
    let source = fixture.path.clone();
    let copy = rusqlite::Connection::open(&source).expect("opens");
    copy.execute("VACUUM INTO ?1", [path.to_string_lossy()])
        .expect("copies");
    (folder, path)
}

#[tokio::test]
async fn newer_schema_is_refused_by_name() {
    let (_folder, path) = closed().await;
    rusqlite::Connection::open(&path)
        .expect("opens")
        .pragma_update(None, "user_version", 99)
        .expect("writes");
    assert_eq!(
        open(&path),
        Err(StoreError::NewerSchema {
            path,
            found: 99,
            known: 7
        })
    );
}

#[tokio::test]
async fn database_of_another_program_is_refused() {
    let folder = tempfile::tempdir().expect("temporary directory");
    let path = folder.path().join("other.db");
    rusqlite::Connection::open(&path)
        .expect("opens")
        .execute_batch("CREATE TABLE t (x); PRAGMA application_id = 7")
        .expect("writes");
    assert_eq!(
        open(&path),
        Err(StoreError::NotAnInventory { path, found: 7 })
    );
}

#[tokio::test]
async fn missing_inventory_is_not_made_anew_and_an_existing_one_not_made_twice() {
    let (_folder, path) = closed().await;
    let founding = Founding {
        history: HistoryId("b".to_owned()),
        base: Sequence(0),
        issuers: vec![],
        superiors: Vec::new(),
        brought: Brought::default(),
        reason: "first run".to_owned(),
        actor: Actor::Authority,
        now: now(),
    };
    assert_eq!(
        Store::create(&path, &founding),
        Err(StoreError::Exists { path: path.clone() })
    );
    fs::remove_file(&path).expect("removes");
    assert_eq!(open(&path), Err(StoreError::Missing { path: path.clone() }));
    assert!(!path.exists());
}

#[tokio::test]
async fn garbage_and_an_empty_file_are_refused() {
    let folder = tempfile::tempdir().expect("temporary directory");
    let path = folder.path().join("inventory.db");
    fs::write(&path, b"not a database, but long enough to be looked at").expect("writes");
    assert!(matches!(open(&path), Err(StoreError::Corrupt { .. })));
    fs::write(&path, b"").expect("writes");
    assert!(matches!(
        open(&path),
        Err(StoreError::NotAnInventory { found: 0, .. })
    ));
}

#[tokio::test]
async fn damaged_pages_give_an_error_and_never_a_panic() {
    let (_folder, path) = closed().await;
    let whole = fs::read(&path).expect("reads");
    for start in (100..whole.len()).step_by(4096 / 3) {
        let mut damaged = whole.clone();
        let end = (start + 600).min(damaged.len());
        damaged[start..end].fill(0xa5);
        fs::write(&path, &damaged).expect("writes");
        let Ok(store) = Store::open(&path, Box::new(|_| {})) else {
            continue;
        };
        match store.list(Filter::default(), None, 10, now()).await {
            Ok(_) | Err(StoreError::Corrupt { .. } | StoreError::Sql { .. }) => {}
            Err(other) => panic!("{other}"),
        }
    }
    fs::write(&path, &whole[..whole.len() / 2]).expect("writes");
    let listed = match Store::open(&path, Box::new(|_| {})) {
        Ok(store) => store
            .list(Filter::default(), None, 10, now())
            .await
            .map(drop),
        Err(error) => Err(error),
    };
    assert!(
        matches!(listed, Err(StoreError::Corrupt { .. })),
        "{listed:?}"
    );
}

#[tokio::test]
async fn failed_write_changes_nothing_and_the_next_one_succeeds() {
    let fixture = Fixture::new();
    fixture.issue("before", HOUR).await;
    let second = rusqlite::Connection::open(&fixture.path).expect("opens");
    second.execute_batch("CREATE TRIGGER broken BEFORE INSERT ON certificate BEGIN SELECT raise(ABORT, 'broken'); END").expect("writes");
    let intended = fixture.intend("during", HOUR).await;
    let signature = fixture.sign(&intended);
    fixture
        .store
        .complete(intended, &signature, now())
        .await
        .expect_err("cannot be written");
    second.execute_batch("DROP TRIGGER broken").expect("writes");
    fixture.issue("after", HOUR).await;
    let tally = fixture.store.tally(now()).await.expect("counts");
    assert_eq!((tally.valid, tally.unknown), (2, 1));
}
