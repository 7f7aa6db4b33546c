//! What leaves the inventory by a rule: into the archive first, and by no clock that jumps.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use countersign_authority::authority::Authority;
use countersign_authority::config::AuthorityConfig;
use countersign_authority::retention::{PruneError, Pruned};
use countersign_pki::certificate::Certificate;
use countersign_pki::identity::{BundleName, Identity};
use countersign_pki::pem;
use countersign_pki::time::UnixTime;
use countersign_policy::issuance::{Actor, Profile, Request};
use countersign_runtime::drain;
use countersign_store::inventory::Filter;
use serde_json::Value;

use crate::fixture::{ADMIN, BORN, DAY_S, Fixture, client};

const HOUR_S: u64 = 3600;

/// As if a process had run until `at`.
fn witnessed(fixture: Fixture, at: u64) -> Fixture {
    let Fixture {
        authority,
        clock,
        folder,
    } = fixture;
    drop(authority);
    let sql = rusqlite::Connection::open(folder.path.join("inventory.db")).expect("opens");
    let changed = sql.execute(
        "UPDATE meta SET value = ?1 WHERE key = 'witnessed-at'",
        [at.to_string()],
    );
    assert_eq!(changed, Ok(1));
    drop(sql);
    clock.set(at);
    Fixture {
        authority: folder.open(&clock),
        clock,
        folder,
    }
}

fn keep(authority: &Authority, text: &str) {
    let configuration: AuthorityConfig = toml::from_str(text).expect("TOML");
    authority.replace_retention(configuration.retention().expect("a rule"));
}

const MONTH: &str = "[retention]\nexpired = \"30d\"";

async fn prune(fixture: &Fixture) -> Pruned {
    fixture.authority.prune(ADMIN).await.expect("prunes")
}

async fn serials(fixture: &Fixture) -> BTreeSet<String> {
    let page = fixture.authority.list(Filter::default(), None, 1000).await;
    let entries = page.expect("lists").entries;
    entries
        .iter()
        .map(|entry| entry.serial.to_string())
        .collect()
}

/// Every line of every file, which has to be a certificate with its bytes.
fn archived(folder: &Path) -> BTreeSet<String> {
    let mut serials = BTreeSet::new();
    for file in fs::read_dir(folder).expect("a folder") {
        let path = file.expect("a file").path();
        let name = path
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        assert!(
            name.starts_with("countersign-20") && name.ends_with("Z-0001.jsonl"),
            "{name}"
        );
        let text = fs::read_to_string(&path).expect("readable");
        assert!(text.ends_with('\n'), "{name} is torn");
        for line in text.lines() {
            let line: Value = serde_json::from_str(line).expect("JSON");
            let serial = line["serial"].as_str().expect("a serial");
            if let Some(text) = line["pem"].as_str() {
                let blocks = pem::decode_all(text.as_bytes()).expect("PEM");
                let certificate = Certificate::parse(&blocks[0].der).expect("a certificate");
                assert_eq!(certificate.serial().to_string(), serial);
            }
            assert!(line["name"].is_string() && line["not_after"].is_string());
            assert!(serials.insert(serial.to_owned()), "{serial} is there twice");
        }
    }
    serials
}

#[tokio::test]
async fn what_expired_long_ago_is_in_the_archive_and_no_more_in_the_inventory() {
    let fixture = Fixture::new();
    let mut old = BTreeSet::new();
    for name in ["one", "two", "three"] {
        let issued = fixture.issue_for(name, HOUR_S).await.expect("issues");
        old.insert(issued.serial.to_string());
    }
    fixture.clock.set(BORN + 20 * DAY_S);
    let young = fixture.issue_for("young", HOUR_S).await.expect("issues");
    let fixture = witnessed(fixture, BORN + 40 * DAY_S);
    let live = fixture.issue_for("live", DAY_S).await.expect("issues");
    let before = serials(&fixture).await;
    keep(&fixture.authority, MONTH);

    let preview = fixture
        .authority
        .preview_prune(&ADMIN)
        .await
        .expect("previews");
    assert_eq!(
        (preview.due, preview.dropped.certificates, preview.has_more),
        (3, 3, false)
    );
    assert_eq!(serials(&fixture).await, before, "a preview changes nothing");
    let folder = fixture.folder.path.join("archive");
    assert!(!folder.exists());

    let pruned = prune(&fixture).await;
    assert_eq!(pruned.cutoff, UnixTime::from_seconds(BORN + 10 * DAY_S));
    assert_eq!(pruned.dropped.certificates, 3);
    assert_eq!(archived(&folder), old);
    assert_eq!(pruned.files.len(), 1);
    assert_eq!(
        serials(&fixture).await,
        BTreeSet::from([young.serial.to_string(), live.serial.to_string()])
    );
    // Nothing is left to do, and no file says so.
    assert_eq!(prune(&fixture).await.dropped.total(), 0);
    assert_eq!(archived(&folder), old);
}

#[tokio::test]
async fn clock_that_jumps_ten_years_ahead_and_back_takes_nothing() {
    let fixture = Fixture::new();
    for name in ["one", "two"] {
        fixture.issue_for(name, 30 * DAY_S).await.expect("issues");
    }
    let before = serials(&fixture).await;
    keep(&fixture.authority, MONTH);
    let decade = BORN + 3650 * DAY_S;
    fixture.clock.set(decade);
    assert_eq!(prune(&fixture).await.dropped.total(), 0);
    // Nor by a process that starts in between, however often: what it writes is no evidence.
    let mut fixture = fixture;
    for _ in 0..3 {
        let Fixture {
            authority,
            clock,
            folder,
        } = fixture;
        drop(authority);
        fixture = Fixture {
            authority: folder.open(&clock),
            clock,
            folder,
        };
        keep(&fixture.authority, MONTH);
        // The issuing CA is long over: a record of it, by the wrong clock.
        assert!(fixture.issue_for("three", HOUR_S).await.is_err());
        assert_eq!(prune(&fixture).await.dropped.total(), 0);
        let state = fixture
            .authority
            .retention()
            .await
            .expect("reads")
            .expect("a rule");
        assert!(
            state.judged_at < UnixTime::from_seconds(BORN + DAY_S),
            "{}",
            state.judged_at
        );
    }
    fixture.clock.set(BORN + DAY_S);
    assert_eq!(prune(&fixture).await.dropped.total(), 0);
    assert_eq!(serials(&fixture).await, before);
    assert!(!fixture.folder.path.join("archive").exists());
}

#[tokio::test]
async fn clock_that_is_set_back_takes_nothing_that_it_says_is_live() {
    let fixture = Fixture::new();
    fixture.issue_for("one", HOUR_S).await.expect("issues");
    let fixture = witnessed(fixture, BORN + 40 * DAY_S);
    keep(&fixture.authority, MONTH);
    fixture.clock.set(BORN + DAY_S);
    assert_eq!(prune(&fixture).await.dropped.total(), 0);
    // Which of the two was right, a month has to show.
    fixture.clock.set(BORN + 40 * DAY_S);
    assert_eq!(prune(&fixture).await.dropped.total(), 0);
    let state = fixture.authority.retention().await.expect("reads");
    let judged_at = state.expect("a rule").judged_at;
    assert!(judged_at < UnixTime::from_seconds(BORN + 2 * DAY_S));
}

#[tokio::test]
async fn archive_that_cannot_be_written_keeps_everything_and_says_so() {
    let fixture = Fixture::new();
    fixture.issue_for("one", HOUR_S).await.expect("issues");
    let fixture = witnessed(fixture, BORN + 40 * DAY_S);
    let before = serials(&fixture).await;
    let blocked: PathBuf = fixture.folder.path.join("meta.json/archive");
    keep(
        &fixture.authority,
        &format!("{MONTH}\nfolder = {:?}", blocked.display().to_string()),
    );
    let error = fixture.authority.prune(ADMIN).await.expect_err("refused");
    assert!(matches!(error, PruneError::Archive(_)), "{error}");
    assert!(error.to_string().contains("meta.json/archive"), "{error}");
    assert_eq!(serials(&fixture).await, before);
    // The service goes on trying, and says so.
    let (trigger, drain) = drain::drain();
    let keeping = Arc::clone(&fixture.authority);
    let task = tokio::spawn(async move { keeping.retain(drain).await });
    let risk = loop {
        let status = fixture.authority.status().await.expect("a status");
        let risks = status.risks.into_iter();
        if let Some(risk) = risks
            .map(|risk| risk.sentence)
            .find(|it| it.contains("do not leave the inventory"))
        {
            break risk;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert!(risk.contains("meta.json/archive"), "{risk}");
    assert_eq!(serials(&fixture).await, before);
    drop(trigger);
    task.abort();
    // There is space again.
    keep(&fixture.authority, MONTH);
    assert_eq!(prune(&fixture).await.dropped.total(), 1);
}

#[tokio::test]
async fn service_lets_leave_what_is_due_by_itself() {
    let fixture = Fixture::new();
    fixture.issue_for("one", HOUR_S).await.expect("issues");
    let fixture = witnessed(fixture, BORN + 40 * DAY_S);
    keep(&fixture.authority, &format!("{MONTH}\nthen = \"drop\""));
    let (_trigger, drain) = drain::drain();
    let keeping = Arc::clone(&fixture.authority);
    let task = tokio::spawn(async move { keeping.retain(drain).await });
    let last = loop {
        let state = fixture
            .authority
            .retention()
            .await
            .expect("reads")
            .expect("a rule");
        if let Some(last) = state.last {
            break last;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    task.abort();
    assert_eq!((last.dropped.certificates, last.fault), (1, None));
    assert!(serials(&fixture).await.is_empty());
    assert!(
        !fixture.folder.path.join("archive").exists(),
        "nothing is archived"
    );
}

#[tokio::test]
async fn canaries_leave_within_days_of_their_end_without_a_rule_and_nobody_else_does() {
    let fixture = Fixture::new();
    fixture.issue_for("one", HOUR_S).await.expect("issues");
    let mut canaries = Vec::new();
    for (profile, name) in [
        (Profile::CANARY, "a.canary.invalid"),
        (Profile::CANARY_SERVER, "b.canary.invalid"),
        (Profile::CANARY, "c.canary.invalid"),
    ] {
        let request = Request {
            profile,
            ..client(name)
        };
        let issued = fixture.authority.issue(ADMIN, request).await;
        canaries.push(issued.expect("issues").serial.to_string());
    }
    let once = async |fixture: &Fixture| {
        let (trigger, drain) = drain::drain();
        drop(trigger);
        fixture.authority.retain(drain).await;
    };
    let fixture = witnessed(fixture, BORN + 6 * DAY_S);
    once(&fixture).await;
    assert_eq!(serials(&fixture).await.len(), 4, "too early");
    let fixture = witnessed(fixture, BORN + 8 * DAY_S);
    once(&fixture).await;
    let left = serials(&fixture).await;
    assert_eq!(left.len(), 1, "{left:?}");
    assert!(!fixture.folder.path.join("archive").exists());
    // The log has when each was issued, and that they left.
    let sql = rusqlite::Connection::open(fixture.folder.path.join("inventory.db")).expect("opens");
    let mut records = sql
        .prepare("SELECT object || ' ' || coalesce(reason, '') FROM audit")
        .expect("SQL");
    let records = records.query_map([], |row| row.get::<_, String>(0));
    let records = records.expect("reads").collect::<Result<Vec<_>, _>>();
    let log = records.expect("texts").join("\n");
    for serial in &canaries {
        assert!(!left.contains(serial) && log.contains(serial), "{serial}");
    }
    assert!(log.contains("canaries, not archived"), "{log}");
}

#[tokio::test]
async fn without_a_rule_nothing_leaves_and_holders_have_no_say() {
    let fixture = Fixture::new();
    let issued = fixture.issue_for("one", HOUR_S).await.expect("issues");
    let fixture = witnessed(fixture, BORN + 4000 * DAY_S);
    let error = fixture.authority.prune(ADMIN).await.expect_err("no rule");
    assert!(matches!(error, PruneError::NoRule));
    assert!(
        error
            .hint()
            .is_some_and(|hint| hint.contains("[authority.retention]"))
    );
    assert!(
        fixture
            .authority
            .retention()
            .await
            .expect("reads")
            .is_none()
    );
    keep(&fixture.authority, MONTH);
    let holder = Actor::Holder {
        certificate: None,
        identity: Identity {
            bundle: BundleName::internal(),
            name: "cn:one".parse().expect("a name"),
        },
        profile: issued.profile,
    };
    for error in [
        fixture
            .authority
            .prune(holder.clone())
            .await
            .expect_err("refused"),
        fixture
            .authority
            .preview_prune(&holder)
            .await
            .expect_err("refused"),
    ] {
        assert!(matches!(error, PruneError::NotPermitted { .. }), "{error}");
    }
    assert_eq!(serials(&fixture).await.len(), 1);
}

#[track_caller]
fn refused(text: &str, expected: &[&str]) {
    let configuration: AuthorityConfig = toml::from_str(text).expect("TOML");
    let error = configuration.retention().expect_err("refused").to_string();
    for part in expected {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn rule_that_is_none_is_refused_by_name() {
    refused(
        "[retention]\nexpired = \"29d\"",
        &["authority.retention.expired", "30 days"],
    );
    refused(
        "[retention]\nexpired = \"0s\"",
        &["authority.retention.expired"],
    );
    refused(
        "[retention]\nexpired = \"30d\"\nfolder = \"archive\"",
        &["authority.retention.folder", "not an absolute path"],
    );
    refused(
        "[retention]\nexpired = \"30d\"\nthen = \"drop\"\nfolder = \"/archive\"",
        &["authority.retention.folder"],
    );
    for unknown in [
        "[retention]\n",
        "[retention]\nexpired = \"30d\"\nthen = \"forget\"",
        "[retention]\nexpired = 30",
    ] {
        assert!(
            toml::from_str::<AuthorityConfig>(unknown).is_err(),
            "{unknown}"
        );
    }
    let everything: AuthorityConfig = toml::from_str("").expect("TOML");
    assert!(everything.retention().expect("nothing to refuse").is_none());
}

#[tokio::test]
async fn intent_leaves_with_the_bytes_that_may_have_been_signed() {
    let fixture = Fixture::new();
    let issued = fixture.issue_for("one", HOUR_S).await.expect("issues");
    let certificate = issued.certificate.to_be_signed().to_vec();
    let path = fixture.folder.path.join("inventory.db");
    let sql = rusqlite::Connection::open(&path).expect("opens");
    // As a process leaves it that was killed between intent and certificate.
    sql.execute(
        "INSERT INTO intent (id, to_be_signed) SELECT id, ?1 FROM certificate",
        [&certificate],
    )
    .expect("writes");
    sql.execute_batch(
        "DELETE FROM certificate; UPDATE entry SET state = 'unknown', fingerprint = NULL;",
    )
    .expect("writes");
    drop(sql);
    let fixture = witnessed(fixture, BORN + 40 * DAY_S);
    keep(&fixture.authority, MONTH);
    let pruned = prune(&fixture).await;
    assert_eq!(pruned.dropped.intents, 1);
    let text = fs::read_to_string(&pruned.files[0]).expect("readable");
    let line: Value = serde_json::from_str(text.trim()).expect("JSON");
    assert_eq!(line["pem"], Value::Null);
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(line["to_be_signed"].as_str().expect("base64"))
        .expect("base64");
    assert_eq!(bytes, certificate);
}

#[tokio::test]
async fn inventory_founded_under_a_clock_far_ahead_loses_nothing_when_it_jumps_again() {
    let fixture = Fixture::new();
    let decade = BORN + 3650 * DAY_S;
    // Founded then; from here on the clock is right.
    let fixture = witnessed(fixture, decade);
    fixture.clock.set(BORN);
    keep(&fixture.authority, MONTH);
    prune(&fixture).await;
    fixture.issue_for("live", DAY_S).await.expect("issues");
    let before = serials(&fixture).await;
    let fixture = {
        let Fixture {
            authority,
            clock,
            folder,
        } = fixture;
        drop(authority);
        Fixture {
            authority: folder.open(&clock),
            clock,
            folder,
        }
    };
    keep(&fixture.authority, MONTH);
    fixture.clock.set(decade);
    assert_eq!(prune(&fixture).await.dropped.total(), 0);
    assert_eq!(serials(&fixture).await, before);
}

#[tokio::test]
async fn what_left_what_was_archived_and_what_broke_off_is_counted() {
    let fixture = Fixture::new();
    for name in ["one", "two"] {
        fixture.issue_for(name, HOUR_S).await.expect("issues");
    }
    let fixture = witnessed(fixture, BORN + 40 * DAY_S);
    assert_eq!(fixture.authority.retention_counts(), None);
    let file = fixture.folder.path.join("no-folder");
    fs::write(&file, "").expect("written");
    let folder = file.join("archive");
    keep(
        &fixture.authority,
        &format!("{MONTH}\nfolder = {:?}", folder.display().to_string()),
    );
    fixture.authority.prune(ADMIN).await.expect_err("no folder");
    let counts = fixture.authority.retention_counts().expect("a rule");
    assert_eq!(
        (counts.failures, counts.archived, counts.dropped.total()),
        (1, 0, 0)
    );
    keep(&fixture.authority, MONTH);
    prune(&fixture).await;
    let (trigger, drain) = drain::drain();
    drop(trigger);
    fixture.authority.retain(drain).await;
    let counts = fixture.authority.retention_counts().expect("a rule");
    assert_eq!((counts.failures, counts.archived), (1, 2));
    assert_eq!(counts.dropped.certificates, 2);
    let now = UnixTime::from_seconds(BORN + 40 * DAY_S);
    assert_eq!(counts.last_pass, Some(now));
}
