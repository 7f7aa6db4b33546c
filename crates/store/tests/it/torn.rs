//! A write-ahead log that a crash has torn, or that was damaged since.

use std::fs;
use std::path::{Path, PathBuf};

use countersign_store::audit::log::AuditLog;
use countersign_store::error::StoreError;
use countersign_store::inventory::Filter;
use countersign_store::store::Store;
use tempfile::TempDir;

use crate::fixture::{Fixture, HOUR, now};

/// An inventory as a killed process leaves it, with the length of its log at each acknowledgement.
struct Killed {
    database: Vec<u8>,
    log: Vec<u8>,
    acknowledged: Vec<usize>,
}

impl Killed {
    async fn new() -> Self {
        let fixture = Fixture::new();
        let log = log_of(&fixture.path);
        let mut acknowledged = Vec::new();
        for number in 0..CERTIFICATES {
            fixture.issue(&format!("client-{number}"), HOUR).await;
            acknowledged.push(fs::read(&log).expect("a log").len());
        }
        Self {
            database: fs::read(&fixture.path).expect("reads"),
            log: fs::read(&log).expect("reads"),
            acknowledged,
        }
    }

    /// What opens, and which certificates it has.
    async fn reopened(&self, log: &[u8]) -> (TempDir, Result<Vec<String>, StoreError>) {
        let folder = tempfile::tempdir().expect("temporary directory");
        let path = folder.path().join("inventory.db");
        fs::write(&path, &self.database).expect("writes");
        fs::write(log_of(&path), log).expect("writes");
        let names = async {
            let store = Store::open(&path, Box::new(|_| {}))?;
            let page = store.list(Filter::default(), None, 100, now()).await?;
            let signed = page.entries.iter().rev().filter(|it| it.signed.is_some());
            Ok(signed
                .map(|it| it.principal().expect("named").to_string())
                .collect())
        };
        let names = names.await;
        if names.is_ok() {
            let log = AuditLog::open(&path).expect("opens");
            log.verify(None).expect("whole");
        }
        (folder, names)
    }
}

#[tokio::test]
async fn torn_tail_loses_nothing_that_was_acknowledged() {
    let killed = Killed::new().await;
    let [.., before, last] = killed.acknowledged[..] else {
        panic!("several");
    };
    let mut random = Random(1);
    for _ in 0..25 {
        // The last two transactions, intent and certificate, were not acknowledged yet.
        let place = before + random.below(last - before);
        let torn = killed.log[..place].to_vec();
        // Also where the file system had given it room already.
        let mut zeroed = torn.clone();
        zeroed.resize(last, 0);
        for log in [torn, zeroed] {
            let (_folder, names) = killed.reopened(&log).await;
            let names = names.unwrap_or_else(|error| panic!("torn at {place}: {error}"));
            assert!(
                names.len() >= CERTIFICATES - 1,
                "torn at {place}: {names:?}"
            );
            assert_eq!(names[0], "dns:client-0.example.com");
        }
    }
    let (_folder, names) = killed.reopened(&killed.log).await;
    assert_eq!(names.expect("whole").len(), CERTIFICATES);
}

#[tokio::test]
async fn log_that_is_damaged_before_its_tail_is_refused_by_name_and_left_as_it_is() {
    let killed = Killed::new().await;
    // Behind this a transaction ends and another one begins.
    let end = killed.acknowledged[CERTIFICATES - 2];
    let mut random = Random(2);
    for _ in 0..50 {
        let place = 16 + random.below(end - 16);
        let mut garbled = killed.log.clone();
        let long = (1 + random.below(700)).min(end - place);
        for byte in &mut garbled[place..place + long] {
            *byte ^= 0x5a;
        }
        let (folder, names) = killed.reopened(&garbled).await;
        let Err(error) = names else {
            panic!("garbled at {place}, {long} bytes: {names:?}");
        };
        assert!(
            matches!(error, StoreError::Corrupt { .. }),
            "{place}: {error}"
        );
        assert!(error.hint().is_some_and(|hint| hint.contains("ca restore")));
        let left = fs::read(log_of(&folder.path().join("inventory.db"))).expect("reads");
        assert!(
            left == garbled,
            "what might be saved by hand is not overwritten"
        );
    }
}

fn log_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

/// Knuth's MMIX generator; the high bits are the good ones.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % bound
    }
}

/// Few enough that SQLite does not fold the log into the database meanwhile (1000 pages).
const CERTIFICATES: usize = 12;
