//! Killed at every named write point: what was acknowledged is there, nothing is half there, and the next one goes on.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use countersign_agent::feed_log::FeedLog;
use countersign_pki::feed::Frame;
use countersign_store::fail_point::FailPoint;
use serde_json::Value;

use crate::installation::{Answer, Installation, countersign, text};
use crate::json::array;

/// Points of every transaction.
const GROUP: [FailPoint; 5] = [
    FailPoint::GroupBegun,
    FailPoint::GroupChanged,
    FailPoint::GroupLinked,
    FailPoint::GroupCommitted,
    FailPoint::GroupTold,
];
/// Points of whatever makes a state folder; its parts are moved one after the other.
const SCAFFOLD: [(FailPoint, u32); 6] = [
    (FailPoint::ScaffoldBuilt, 1),
    (FailPoint::ScaffoldMoved, 1),
    (FailPoint::ScaffoldMoved, 2),
    (FailPoint::ScaffoldMoved, 3),
    (FailPoint::ScaffoldMoved, 4),
    (FailPoint::ScaffoldValid, 1),
];
/// Points of issuing: two transactions and what lies between them.
const ISSUE: [(FailPoint, u32); 12] = [
    (FailPoint::GroupBegun, 1),
    (FailPoint::GroupChanged, 1),
    (FailPoint::GroupLinked, 1),
    (FailPoint::GroupCommitted, 1),
    (FailPoint::GroupTold, 1),
    (FailPoint::IntentDurable, 1),
    (FailPoint::Signed, 1),
    (FailPoint::GroupBegun, 2),
    (FailPoint::GroupChanged, 2),
    (FailPoint::GroupLinked, 2),
    (FailPoint::GroupCommitted, 2),
    (FailPoint::GroupTold, 2),
];
const BACKUP: [FailPoint; 3] = [
    FailPoint::BackupCopied,
    FailPoint::BackupPacked,
    FailPoint::BackupReceived,
];
const RESTORE: [FailPoint; 2] = [FailPoint::RestoreUnpacked, FailPoint::RestoreRefounded];

#[test]
fn every_fail_point_belongs_to_a_test_here() {
    let tested = GROUP.into_iter().chain(BACKUP).chain(RESTORE);
    let tested = tested.chain(crate::retention::PRUNE.map(|(point, _)| point));
    let tested = tested.chain(SCAFFOLD.iter().chain(&ISSUE).map(|(point, _)| *point));
    let tested: HashSet<&str> = tested.map(FailPoint::as_str).collect();
    let all: HashSet<&str> = FailPoint::ALL.into_iter().map(FailPoint::as_str).collect();
    assert_eq!(tested, all);
}

#[test]
fn killed_while_issuing_no_intent_is_used_twice_and_no_certificate_unknown() {
    let installation = Installation::new();
    let mut before = Inventory::of(&installation);
    for (number, (point, time)) in ISSUE.into_iter().enumerate() {
        let name = format!("client-{number}");
        let folder = installation.path(&name);
        let issue = ["issue", "client", name.as_str(), "--out", text(&folder)];
        installation.killed_at(point, time, &issue);
        let killed = Inventory::of(&installation);
        killed.goes_on_from(&before);
        assert!(
            !folder.join("cert.pem").exists(),
            "nobody has a certificate"
        );
        // What the key may have signed has its intent; what is durable twice is a certificate.
        let expected: &[&str] = match (point, time) {
            (FailPoint::GroupBegun | FailPoint::GroupChanged | FailPoint::GroupLinked, 1) => &[],
            (FailPoint::GroupCommitted | FailPoint::GroupTold, 2) => &["live"],
            _ => &["unknown"],
        };
        assert_eq!(killed.statuses(&name), expected, "{point:?} {time}");

        let issued = installation.json(&issue);
        let after = Inventory::of(&installation);
        after.goes_on_from(&killed);
        assert_eq!(issued["serial"], after.last_serial(&name));
        assert_eq!(after.statuses(&name).len(), expected.len() + 1);
        before = after;
    }
}

#[test]
fn killed_while_revoking_a_revocation_is_whole_or_not_there() {
    let installation = Installation::new();
    let mut before = Inventory::of(&installation);
    for point in GROUP {
        let name = point.as_str();
        installation.issue("client", name, &[]);
        let issued = Inventory::of(&installation);
        issued.goes_on_from(&before);
        let revoke = ["revoke", name, "--reason", "key-compromise"];
        installation.killed_at(point, 1, &revoke);
        let killed = Inventory::of(&installation);
        killed.goes_on_from(&issued);
        let durable = matches!(point, FailPoint::GroupCommitted | FailPoint::GroupTold);
        let (status, told) = if durable { ("revoked", 1) } else { ("live", 0) };
        assert_eq!(killed.statuses(name), [status], "{point:?}");
        assert_eq!(killed.sequence, issued.sequence + told, "{point:?}");
        // Told again, it is the same revocation; its number is used once.
        installation.ok(&revoke);
        let after = Inventory::of(&installation);
        after.goes_on_from(&killed);
        assert_eq!(after.statuses(name), ["revoked"]);
        assert_eq!(after.sequence, issued.sequence + 1);
        before = after;
    }
}

#[test]
fn killed_while_holding_releasing_or_labelling_it_is_whole_or_not_there() {
    let installation = Installation::new();
    installation.issue("client", "order", &[]);
    let hold = ["revoke", "order", "--reason", "certificate-hold"];
    let release = ["release", "order"];
    let label = ["label", "order", "--owner", "team"];
    let undo = ["label", "order", "--owner", ""];
    for point in GROUP {
        let durable = matches!(point, FailPoint::GroupCommitted | FailPoint::GroupTold);
        let killed = |arguments: &[&str], status: &str| {
            let before = Inventory::of(&installation);
            installation.killed_at(point, 1, arguments);
            let killed = Inventory::of(&installation);
            assert!(killed.sequence >= before.sequence, "{point:?}");
            let change = u64::from(durable);
            assert_eq!(
                killed.records,
                before.records + change,
                "{point:?}: one record or none"
            );
            let was = before.statuses("order")[0];
            assert_eq!(
                killed.statuses("order"),
                [if durable { status } else { was }],
                "{point:?}"
            );
            if !durable {
                installation.ok(arguments);
            }
            Inventory::of(&installation)
        };
        assert_eq!(killed(&hold, "held").statuses("order"), ["held"]);
        assert_eq!(killed(&release, "live").statuses("order"), ["live"]);
        let owned = killed(&label, "live");
        assert_eq!(
            owned.named("order").next().expect("is there")["owner"],
            "team"
        );
        installation.ok(&undo);
    }
}

#[test]
fn killed_while_backing_up_there_is_a_whole_backup_or_the_one_before() {
    let installation = Installation::new();
    let target = installation.path("backup.tar");
    let backup = ["ca", "backup", text(&target), "--force"];
    installation.ok(&backup);
    let mut held = fs::read(&target).expect("a backup");
    let points = GROUP.into_iter().chain(BACKUP);
    for point in points {
        let before = Inventory::of(&installation);
        installation.killed_at(point, 1, &backup);
        Inventory::of(&installation).goes_on_from(&before);
        assert_eq!(fs::read(&target).expect("reads"), held, "{point:?}");
        installation.ok(&backup);
        assert!(!installation.state().join(".backup").exists(), "{point:?}");
        let newer = fs::read(&target).expect("reads");
        assert_ne!(newer, held);
        held = newer;
    }
}

#[test]
fn killed_while_restoring_it_is_redone_and_never_issues_before_it_was_told() {
    let source = Installation::new();
    source.issue("client", "kept", &[]);
    let backup = source.path("backup.tar");
    source.ok(&["ca", "backup", text(&backup)]);
    let passphrase = source.state().join("ca/passphrase");
    let points = RESTORE.into_iter().map(|point| (point, 1)).chain(SCAFFOLD);
    for (point, time) in points {
        let installation = Installation::empty();
        let restore = ["ca", "restore", text(&backup)];
        installation.killed_at(point, time, &restore);
        let is_done = point == FailPoint::ScaffoldValid;
        if !is_done {
            // A new authority in its place would be a surprise.
            installation
                .run(&["init"])
                .assert_fault(2, &["a restore that did not finish", "ca restore FILE"]);
        }
        let again = installation.run(&restore);
        if is_done {
            again.assert_fault(2, &["holds an authority already"]);
        } else {
            assert_eq!(again.code, Some(0), "{point:?} {time}: {again:#?}");
        }
        fs::copy(&passphrase, installation.state().join("ca/passphrase")).expect("copies");
        installation
            .run(&["issue", "client", "new"])
            .assert_fault(1, &["issuing is paused"]);
        let restored = Inventory::of(&installation);
        assert_eq!(restored.statuses("kept"), ["live"], "{point:?} {time}");
        assert!(!installation.state().join(".init").exists());
        installation.ok(&["ca", "resume", "--without-evidence", "--because", "a test"]);
        installation.issue("client", "new", &[]);
    }
}

#[test]
fn killed_while_resuming_the_evidence_is_counted_once_it_is_whole() {
    let source = Installation::new();
    source.issue("client", "stolen", &[]);
    let backup = source.path("backup.tar");
    source.ok(&["ca", "backup", text(&backup)]);
    source.ok(&["revoke", "stolen"]);
    let feed = feed_of(&source);
    for point in [FailPoint::GroupLinked, FailPoint::GroupCommitted] {
        // The revocation, the record of the evidence, the end of the pause.
        for time in 1..=3 {
            let installation = Installation::empty();
            installation.ok(&["ca", "restore", text(&backup)]);
            let passphrase = source.state().join("ca/passphrase");
            fs::copy(passphrase, installation.state().join("ca/passphrase")).expect("copies");
            let before = Inventory::of(&installation);
            let resume = ["ca", "resume", "--from-gateway", text(&feed)];
            installation.killed_at(point, time, &resume);
            let killed = Inventory::of(&installation);
            killed.goes_on_from(&before);
            let paused = (point, time) != (FailPoint::GroupCommitted, 3);
            let refused = installation.run(&["issue", "client", "new", "--dry-run"]);
            assert_eq!(
                refused.code,
                Some(i32::from(paused)),
                "{point:?} {time}: {refused:#?}"
            );
            installation.ok(&resume);
            let after = Inventory::of(&installation);
            assert_eq!(after.statuses("stolen"), ["revoked"]);
            assert_eq!(after.sequence, before.sequence + 1, "revoked once");
            installation.ok(&["issue", "client", "new", "--dry-run"]);
        }
    }
}

#[test]
fn killed_at_first_run_it_is_redone() {
    // Each point of the scaffold is passed by the restore above. The transactions are those of the gateway's certificate
    // and of the first identity, two each.
    for (point, time) in [
        (FailPoint::ScaffoldBuilt, 1),
        (FailPoint::ScaffoldMoved, 2),
        (FailPoint::ScaffoldValid, 1),
        (FailPoint::GroupCommitted, 1),
        (FailPoint::GroupLinked, 4),
    ] {
        let installation = Installation::empty();
        installation.killed_at(point, time, &["init"]);
        let again = installation.run(&["init"]);
        if again.code != Some(0) {
            again.assert_fault(2, &["is initialised already"]);
        }
        installation.issue("client", "after", &[]);
        assert_eq!(Inventory::of(&installation).statuses("after"), ["live"]);
    }
}

/// What an installation says of itself; its audit log is whole, no serial stands twice.
struct Inventory {
    certificates: Vec<Value>,
    sequence: u64,
    records: u64,
}

impl Inventory {
    #[track_caller]
    fn of(installation: &Installation) -> Self {
        let whole = installation.json(&["audit", "verify"]);
        let certificates = installation.certificates(&[]);
        let serials: HashSet<&str> = certificates.iter().map(serial).collect();
        assert_eq!(serials.len(), certificates.len(), "a serial stands twice");
        let status = status(installation);
        Self {
            certificates,
            sequence: status["authority"]["sequence"].as_u64().expect("a number"),
            records: whole["last_record"].as_u64().expect("a number"),
        }
    }

    /// Nothing that was there is gone, and no number went back.
    #[track_caller]
    fn goes_on_from(&self, before: &Self) {
        assert!(self.sequence >= before.sequence && self.records >= before.records);
        for known in &before.certificates {
            let found = self
                .certificates
                .iter()
                .find(|it| serial(it) == serial(known));
            let found = found.unwrap_or_else(|| panic!("{known} is gone"));
            if known["status"] == "revoked" {
                assert_eq!(
                    found["status"], "revoked",
                    "an acknowledged revocation is lost"
                );
            }
            if known["fingerprint"].is_string() {
                assert_eq!(found["fingerprint"], known["fingerprint"]);
            }
        }
    }

    /// Newest first.
    fn named(&self, name: &str) -> impl Iterator<Item = &Value> {
        let wanted = format!("cn:{name}");
        (self.certificates.iter()).filter(move |it| it["name"] == wanted.as_str())
    }

    fn statuses(&self, name: &str) -> Vec<&str> {
        self.named(name)
            .map(|it| it["status"].as_str().expect("a word"))
            .collect()
    }

    fn last_serial(&self, name: &str) -> &str {
        serial(self.named(name).next().expect("is there"))
    }
}

fn serial(certificate: &Value) -> &str {
    certificate["serial"].as_str().expect("a serial")
}

/// `status --json` of a state that nobody serves: the answer is no, and it is told.
fn status(installation: &Installation) -> Value {
    let answer: Answer = installation.run(&["status", "--json"]);
    serde_json::from_str(&answer.stdout).unwrap_or_else(|error| panic!("{error}: {answer:#?}"))
}

/// What a gateway in another process keeps of this authority's feed: read from the inventory, as the feed's snapshot is.
pub(crate) fn feed_of(installation: &Installation) -> PathBuf {
    let status = status(installation);
    let key = spki(installation);
    let revoked: Vec<Value> = (installation.certificates(&["--status", "revoked"]).iter())
        .map(|it| {
            serde_json::json!({
                "issuer_key": key,
                "serial": it["serial"],
                "reason": "key-compromise",
                "revoked_at": seconds(&it["revocation"]["revoked_at"]),
            })
        })
        .collect();
    assert!(!revoked.is_empty() && array(&Value::from(revoked.clone())).len() == revoked.len());
    let frames = serde_json::json!([
        { "snapshot": {
            "place": 1,
            "history": status["authority"]["history"],
            "sequence": status["authority"]["sequence"],
            "at": now(),
            "bundles": [],
        } },
        { "revoked": revoked },
        { "complete": { "revoked": revoked.len() } },
    ]);
    let frames: Vec<Frame> = serde_json::from_value(frames).expect("frames");
    let path = installation.path("feed");
    let (mut log, _) = FeedLog::open(&path).expect("opens");
    log.add(&frames).expect("writes");
    path
}

/// SHA-256 of the intermediate's public key.
fn spki(installation: &Installation) -> String {
    let file: &Path = &installation.state().join("ca/intermediate.pem");
    let answer = countersign(&installation.path(""), &["inspect", text(file), "--json"]);
    let seen: Value = serde_json::from_str(&answer.stdout).expect("JSON");
    find(&seen, "spki").expect("inspect says the hash of the key")
}

fn find(value: &Value, key: &str) -> Option<String> {
    match value {
        Value::Object(fields) => fields.iter().find_map(|(name, value)| {
            if name.contains(key) && value.is_string() {
                value.as_str().map(str::to_owned)
            } else {
                find(value, key)
            }
        }),
        Value::Array(items) => items.iter().find_map(|item| find(item, key)),
        _ => None,
    }
}

fn seconds(time: &Value) -> u64 {
    let text = time.as_str().expect("RFC 3339");
    let time: countersign_pki::time::UnixTime = text.parse().expect("RFC 3339");
    time.seconds()
}

fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.expect("after 1970").as_secs()
}
