//! What leaves the inventory long after its end: killed anywhere, with a clock that jumps, on a disk that is full.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use countersign_store::fail_point::FailPoint;
use serde_json::Value;

use crate::installation::{Answer, Installation, binary, text};
use crate::peers::peer;

/// The way of what leaves: archive, then one transaction.
pub(crate) const PRUNE: [(FailPoint, bool); 6] = [
    (FailPoint::Archived, false),
    (FailPoint::GroupBegun, false),
    (FailPoint::GroupChanged, false),
    (FailPoint::GroupLinked, false),
    (FailPoint::GroupCommitted, true),
    (FailPoint::GroupTold, true),
];

/// An authority of a hundred days ago with three certificates that lived for an hour, and one that lives; the first identity ended ten
/// days ago. What rule it has is what was served last. `None`: there is no faketime.
fn old_authority(test: &str) -> Option<Installation> {
    let faketime = peer(test, "faketime")?;
    let installation = Installation::empty();
    let long_ago = |arguments: &[&str]| at(&faketime, "-100d", &installation, arguments);
    assert_eq!(long_ago(&["init"]).code, Some(0));
    for name in ["one", "two", "three"] {
        let folder = installation.path(name);
        let issued = long_ago(&[
            "issue",
            "client",
            name,
            "--ttl",
            "1h",
            "--out",
            text(&folder),
        ]);
        assert_eq!(issued.code, Some(0), "{issued:#?}");
    }
    installation.issue("client", "live", &[]);
    fs::write(
        installation.state().join("profiles.toml"),
        "[retention]\nexpired = \"30d\"\n",
    )
    .expect("writable");
    Some(installation)
}

fn at(faketime: &Path, offset: &str, installation: &Installation, arguments: &[&str]) -> Answer {
    let mut command = Command::new(faketime);
    command
        .args(["-f", offset])
        .arg(binary())
        .args(arguments)
        .args(["--state", text(&installation.state())]);
    Answer::of(&mut command)
}

/// As if a process had been there all the time.
fn witness_everything(installation: &Installation) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.expect("after 1970").as_secs().to_string();
    let sql = rusqlite::Connection::open(installation.state().join("inventory.db"));
    let changed = sql.expect("opens").execute(
        "UPDATE meta SET value = ?1 WHERE key = 'witnessed-at'",
        [now],
    );
    assert_eq!(changed, Ok(1));
}

fn names(certificates: &[Value]) -> BTreeSet<String> {
    let name = |it: &Value| it["name"].as_str().expect("a name").to_owned();
    certificates.iter().map(name).collect()
}

/// What the archive has, each name as often as it is there. A last line without its end is nothing.
fn archived(folder: &Path) -> Vec<String> {
    let Ok(files) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for file in files {
        let text = fs::read_to_string(file.expect("a file").path()).expect("readable");
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        for line in whole.lines() {
            let line: Value = serde_json::from_str(line).expect("JSON");
            assert!(
                line["pem"]
                    .as_str()
                    .is_some_and(|pem| pem.contains("BEGIN CERTIFICATE"))
            );
            found.push(line["name"].as_str().expect("a name").to_owned());
        }
    }
    found.sort();
    found
}

/// Beside those three, the gateway's own, which lived for a month.
const OLD: [&str; 4] = ["cn:one", "cn:three", "cn:two", "dns:localhost"];

#[test]
fn killed_while_certificates_leave_each_is_in_the_inventory_or_in_the_archive() {
    for (point, is_durable) in PRUNE {
        let test = "killed_while_certificates_leave_each_is_in_the_inventory_or_in_the_archive";
        let Some(installation) = old_authority(test) else {
            return;
        };
        witness_everything(&installation);
        installation.killed_at(point, 1, &["ca", "prune"]);
        installation.ok(&["audit", "verify"]);
        let archive = installation.state().join("archive");
        let left = names(&installation.certificates(&[]));
        assert_eq!(archived(&archive), OLD, "{point:?}");
        assert_eq!(left.contains("cn:one"), !is_durable, "{point:?}");
        assert!(left.contains("cn:live"));

        // The next one goes on. Written twice at worst, never not at all.
        installation.ok(&["ca", "prune"]);
        installation.ok(&["audit", "verify"]);
        assert_eq!(
            names(&installation.certificates(&[])),
            BTreeSet::from(["cn:live", "cn:you"].map(str::to_owned))
        );
        let all = archived(&archive);
        assert_eq!(all.len(), if is_durable { 4 } else { 8 }, "{point:?}");
        assert_eq!(
            all.iter().map(String::as_str).collect::<BTreeSet<_>>(),
            BTreeSet::from(OLD)
        );
    }
}

#[test]
fn clock_that_jumps_takes_no_certificate_with_it() {
    let Some(faketime) = peer("clock_that_jumps_takes_no_certificate_with_it", "faketime") else {
        return;
    };
    let Some(installation) = old_authority("clock_that_jumps_takes_no_certificate_with_it") else {
        return;
    };
    let before = names(&installation.certificates(&[]));
    // Nobody was there for a hundred days, or for ten years: that alone is no evidence of the time.
    for offset in ["+0d", "+3650d", "+3650d", "+0d"] {
        let answer = at(&faketime, offset, &installation, &["ca", "prune", "--json"]);
        assert_eq!(answer.code, Some(0), "{answer:#?}");
        let pruned: Value = serde_json::from_str(&answer.stdout).expect("JSON");
        assert_eq!(pruned["dropped"]["certificates"], 0, "{offset}: {pruned}");
    }
    witness_everything(&installation);
    // With the present for evidence, ten years ahead take what would leave today and no more.
    let answer = at(
        &faketime,
        "+3650d",
        &installation,
        &["ca", "prune", "--json"],
    );
    let pruned: Value = serde_json::from_str(&answer.stdout).expect("JSON");
    assert_eq!(pruned["dropped"]["certificates"], 4, "{pruned}");
    let after = names(&installation.certificates(&[]));
    assert_eq!(before.difference(&after).count(), 4);
    assert!(after.contains("cn:live"));
}

#[test]
fn preview_names_what_would_leave_and_changes_nothing() {
    let Some(installation) = old_authority("preview_names_what_would_leave_and_changes_nothing")
    else {
        return;
    };
    witness_everything(&installation);
    let records = installation.json(&["audit", "verify"])["last_record"].clone();
    let preview = installation.json(&["ca", "prune", "--dry-run"]);
    assert_eq!(
        (&preview["due"], &preview["dropped"]["certificates"]),
        (&Value::from(4), &Value::from(4))
    );
    let said = installation.ok(&["ca", "prune", "--dry-run"]);
    assert!(
        said.starts_with("4 certificates") && said.contains("would leave"),
        "{said}"
    );
    assert_eq!(
        installation.json(&["audit", "verify"])["last_record"],
        records
    );
    assert!(!installation.state().join("archive").exists());

    let said = installation.ok(&["ca", "prune"]);
    assert!(
        said.contains("left the inventory") && said.contains("archived in"),
        "{said}"
    );
    let log = installation.ok(&["audit", "export"]);
    let prune = log
        .lines()
        .filter(|line| line.contains("\"prune\""))
        .count();
    assert_eq!(prune, 1, "{log}");
    let status: Value =
        serde_json::from_str(&installation.run(&["status", "--json"]).stdout).expect("JSON");
    let retention = &status["authority"]["retention"];
    assert_eq!(retention["expired_s"], 30 * 86_400);
    assert_eq!(installation.certificates(&[]).len(), 2);
}

#[test]
fn without_a_rule_nothing_leaves() {
    let installation = Installation::new();
    installation
        .run(&["ca", "prune"])
        .assert_fault(1, &["keeps everything", "[authority.retention]"]);
}
