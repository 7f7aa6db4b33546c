//! The audit log as an operator and a stranger meet it: exported, verified, tampered with.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::installation::{Answer, Installation, countersign, text};
use crate::peers::peer;
use crate::snapshot::snapshot;

/// A certificate issued, renewed and revoked.
fn installation() -> Installation {
    let installation = Installation::new();
    let issued = installation.issue("client", "zoë", &[]);
    installation.ok(&["renew", text(issued.folder())]);
    installation.ok(&["revoke", "cn:zoë", "--reason", "superseded"]);
    installation
}

/// The log in a file, exported.
fn export(installation: &Installation, name: &str) -> String {
    let file = installation.path(name);
    installation.ok(&["audit", "export", "-o", text(&file)]);
    fs::read_to_string(file).expect("exported")
}

/// `countersign audit verify FILE`, without a state folder.
fn verify(installation: &Installation, log: &str, arguments: &[&str]) -> Answer {
    let file = installation.write("tampered.jsonl", log);
    let arguments = [&["audit", "verify", text(&file)], arguments].concat();
    countersign(&installation.path(""), &arguments)
}

fn head(installation: &Installation) -> String {
    let whole = installation.json(&["audit", "verify"]);
    whole["head"].as_str().expect("a head").to_owned()
}

#[test]
fn log_is_exported_and_verified_while_a_gateway_runs_and_while_none_does() {
    let installation = installation();
    let idle = export(&installation, "idle.jsonl");
    assert_eq!(installation.ok(&["audit", "export"]), idle);
    let noted = head(&installation);
    let gateway = installation.up(&[]);
    installation.issue("client", "live", &[]);
    let live = export(&installation, "live.jsonl");
    assert!(live.starts_with(&idle), "what was exported stays as it was");
    let whole = installation.json(&["audit", "verify", "--head", &noted]);
    drop(gateway);
    assert_eq!(
        whole["last_link"].as_u64(),
        last_link(&live)["link"].as_u64()
    );
    assert!(whole["last_link"].as_u64() > last_link(&idle)["link"].as_u64());
    let answer = verify(&installation, &live, &["--head", &noted]);
    assert_eq!(answer.code, Some(0), "{answer:#?}");
    let mode = fs::metadata(installation.path("live.jsonl"))
        .expect("exported")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);

    let actions: Vec<String> = records(&idle)
        .iter()
        .filter_map(|it| it["action"].as_str().map(str::to_owned))
        .collect();
    assert!(
        actions.ends_with(
            &["intend", "issue", "intend", "issue", "revoke", "revoke"].map(str::to_owned)
        ),
        "{actions:?}"
    );
    let last = records(&idle).pop().expect("records");
    assert_eq!(
        (&last["before"], &last["after"]),
        (&"live".into(), &"revoked".into())
    );
}

#[test]
fn answers_of_audit_read_as_they_were_reviewed() {
    let installation = installation();
    let log = export(&installation, "log.jsonl");
    snapshot(
        "audit-verify",
        &installation,
        &installation.ok(&["audit", "verify"]),
    );
    let changed = log.replacen("superseded", "unspecified", 1);
    snapshot(
        "audit-verify-changed",
        &installation,
        &verify(&installation, &changed, &[]).all(),
    );
    snapshot(
        "audit-verify-changed-json",
        &installation,
        &verify(&installation, &changed, &["--json"]).all(),
    );
    let last = log.trim_end().rfind('\n').expect("lines");
    snapshot(
        "audit-verify-unlinked",
        &installation,
        &verify(&installation, &log[..=last], &[]).all(),
    );
    let again = installation.run(&[
        "audit",
        "export",
        "-o",
        text(&installation.path("log.jsonl")),
    ]);
    again.assert_fault(2, &["log.jsonl exists already"]);
    let answer = verify(&installation, "\u{1b}[2J\n", &[]);
    answer.assert_fault(1, &["line 1 is neither a record nor a link"]);
    assert!(!answer.all().contains('\u{1b}'));
    let missing = countersign(
        &installation.path(""),
        &["audit", "verify", "missing.jsonl"],
    );
    missing.assert_fault(3, &["cannot read missing.jsonl"]);
    Installation::empty()
        .run(&["audit", "verify"])
        .assert_fault(2, &["no authority"]);
}

#[test]
fn log_that_was_cut_off_is_whole_until_a_head_is_noted() {
    let installation = installation();
    let noted = head(&installation);
    let log = export(&installation, "log.jsonl");
    let before = last_link(&log)["previous"]
        .as_str()
        .expect("a hash")
        .to_owned();
    let end = log
        .find(&format!(r#""hash":"{before}"}}"#))
        .expect("the link before the last");
    let end = end + log[end..].find('\n').expect("a line") + 1;
    let cut = &log[..end];
    assert_eq!(verify(&installation, cut, &[]).code, Some(0));
    assert_eq!(
        verify(&installation, cut, &["--head", &before]).code,
        Some(0)
    );
    verify(&installation, cut, &["--head", &noted]).assert_fault(1, &[&noted, "cut off"]);
    verify(&installation, &log[end..], &[])
        .assert_fault(1, &["links 1 to", "are missing", "--head"]);
    verify(&installation, &log[end..], &["--head", &before])
        .assert_fault(1, &["links 1 to", "are missing", "--part"]);
    let answer = verify(&installation, &log[end..], &["--part", "--head", &before]);
    assert!(answer.stdout.starts_with("part: links "), "{answer:#?}");
    assert_eq!(answer.code, Some(0), "{answer:#?}");
    let nothing = installation.ok(&["audit", "export", "--since", "2999-01-01T00:00:00Z"]);
    assert_eq!(nothing, "");
    assert_eq!(
        installation.ok(&["audit", "export", "--since", "2000-01-01T00:00:00Z"]),
        log
    );
}

#[test]
fn authority_with_a_broken_log_does_not_open_and_its_log_is_still_read() {
    let installation = installation();
    let inventory = installation.state().join("inventory.db");
    let sql = rusqlite::Connection::open(inventory).expect("a database");
    sql.execute_batch(
        "DROP TRIGGER audit_keeps_what_it_says;
         UPDATE audit SET reason = 'because' WHERE id = (SELECT max(id) FROM audit)",
    )
    .expect("changed");
    sql.close().expect("closed");
    for arguments in [
        &["list"][..],
        &["issue", "client", "x"],
        &["revoke", "zoë"],
        &["up"],
    ] {
        let refused = installation.run(arguments);
        refused.assert_fault(
            3,
            &[
                "the audit log of inventory",
                "not whole",
                "countersign audit verify",
                "backup",
            ],
        );
    }
    let verified = installation.run(&["audit", "verify"]);
    verified.assert_fault(1, &["not what link"]);
    assert!(export(&installation, "evidence.jsonl").contains("because"));
}

#[test]
fn script_in_the_documentation_verifies_a_real_log_and_finds_what_was_changed() {
    let test = "script_in_the_documentation_verifies_a_real_log_and_finds_what_was_changed";
    let Some(python) = peer(test, "python3") else {
        return;
    };
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/audit.md");
    let page = fs::read_to_string(page).expect("there is a page");
    let script = page
        .split("```python\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next());
    let script = script.expect("the page has a script");
    let installation = installation();
    let log = export(&installation, "log.jsonl");
    let run = |log: &str| {
        let file = installation.write("copy.jsonl", log);
        Answer::of(Command::new(&python).args(["-c", script, text(&file)]))
    };
    let whole = run(&log);
    assert_eq!(whole.code, Some(0), "{whole:#?}");
    assert_eq!(whole.stdout.trim(), head(&installation));

    let lines: Vec<&str> = log.lines().collect();
    let without = |left_out: usize| {
        [&lines[..left_out], &lines[left_out + 1..]]
            .concat()
            .join("\n")
    };
    let mut swapped = lines.clone();
    swapped.swap(0, 1);
    let tampered = [
        String::new(),
        log.replacen("superseded", "unspecified", 1),
        log.replacen(r#""format":1"#, r#""format":2"#, 1),
        swapped.join("\n"),
        lines[1..].join("\n"),
    ];
    let cut = (0..lines.len()).map(without);
    for tampered in tampered.into_iter().chain(cut) {
        assert_ne!(run(&tampered).code, Some(0), "{tampered}");
        assert_eq!(
            verify(&installation, &tampered, &[]).code,
            Some(1),
            "{tampered}"
        );
    }
}

fn records(log: &str) -> Vec<Value> {
    let lines = log.lines().filter(|line| line.starts_with(r#"{"record""#));
    lines
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

fn last_link(log: &str) -> Value {
    serde_json::from_str(log.lines().last().expect("a line")).expect("JSON")
}
