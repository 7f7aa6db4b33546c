//! What a restored authority still knows: what it may issue, which gateways are out there, and who was revoked.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA256, digest};
use countersign_testkit::process::Process;
use serde_json::Value;

use crate::backup::{backup, restored};
use crate::fleet::{CERTIFICATE_REVOKED, Fleet, assert_refused, assert_served, start_gateway};
use crate::installation::{Installation, Issued, text};

const RULES: &str = r#"
[authority.profile.server]
dns_suffix = ["corp.example"]

[authority.retention]
expired = "400d"

[gateway]
metrics_address = "127.0.0.1:0"
"#;

const BY_WORD: [&str; 5] = [
    "ca",
    "resume",
    "--without-evidence",
    "--because",
    "nothing was revoked",
];

/// Only the one in the rules of its authority is issued.
#[track_caller]
fn assert_rules(installation: &Installation) {
    installation
        .run(&["issue", "server", "evil.com"])
        .assert_fault(2, &["dns_suffix"]);
    installation.issue("server", "www.corp.example", &["--force"]);
}

#[test]
fn restored_authority_issues_by_the_rules_that_it_was_served_with() {
    let source = Installation::new();
    let served = source.serve(RULES);
    assert_rules(&source);
    let live = backup(&source, "live.tar");
    served.interrupt();
    assert_rules(&source);
    let idle = backup(&source, "idle.tar");
    let kept = |it: &Installation| fs::read(it.state().join("profiles.toml")).expect("is kept");
    for file in [live, idle] {
        let after = restored(&source, &file);
        after.ok(&BY_WORD);
        assert_rules(&after);
        assert_eq!(kept(&after), kept(&source), "retention is in there, too");
    }
}

#[test]
fn restored_authority_that_had_no_rules_of_its_own_issues_by_what_is_built_in() {
    let source = Installation::new();
    let after = restored(&source, &backup(&source, "backup.tar"));
    let told = after.ok(&BY_WORD);
    assert!(told.contains("certificates are issued again"), "{told}");
    after.issue("server", "evil.com", &[]);
}

/// The same backup as an earlier version would have written it.
fn of_earlier_version(file: &Path) -> PathBuf {
    let mut bytes = fs::read(file).expect("reads");
    let facts = || br#""format": 2"#.to_vec();
    let at = find(&bytes, &facts()).expect("the format");
    // A file of a tar begins on a block and ends with zeros.
    let begin = at / 512 * 512;
    let end = begin + find(&bytes[begin..], b"\0").expect("its end");
    let before = hex(&bytes[begin..end]);
    bytes[at + facts().len() - 1] = b'1';
    let after = hex(&bytes[begin..end]);
    let sum = find(&bytes, before.as_bytes()).expect("its sum");
    bytes[sum..sum + before.len()].copy_from_slice(after.as_bytes());
    let earlier = file.with_extension("1.tar");
    fs::write(&earlier, bytes).expect("writes");
    earlier
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|it| it == wanted)
}

fn hex(bytes: &[u8]) -> String {
    let sum = digest(&SHA256, bytes);
    sum.as_ref()
        .iter()
        .fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

#[test]
fn backup_that_says_no_rules_lets_nothing_be_issued_until_a_configuration_or_somebody_says_them() {
    let unknown = ["does not say by which profiles", "--built-in-profiles"];
    let source = Installation::new();
    let file = of_earlier_version(&backup(&source, "backup.tar"));

    let served = restored(&source, &file);
    let told = served.ok(&BY_WORD);
    assert!(told.contains("still nothing is issued"), "{told}");
    for arguments in [
        &["issue", "server", "evil.com"][..],
        &["issue", "server", "evil.com", "--dry-run"],
        // What it starts with is no configuration.
        &["up", "--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0"],
    ] {
        served.run(arguments).assert_fault(1, &unknown);
    }
    let status = served.run(&["status"]);
    assert_eq!(status.code, Some(1), "{status:#?}");
    assert!(status.stdout.contains(unknown[0]), "{status:#?}");
    let process = served.serve(RULES);
    assert_rules(&served);
    process.interrupt();
    assert_rules(&served);

    let by_word = restored(&source, &file);
    by_word.ok(&BY_WORD);
    let word = ["ca", "resume", "--built-in-profiles", "--because", "none"];
    let told = by_word.ok(&word);
    assert!(!told.contains("still nothing"), "{told}");
    by_word.issue("server", "evil.com", &[]);
    let log = by_word.ok(&["audit", "export"]);
    assert!(log.contains("what is issued by"), "{log}");
}

/// The fleet's authority is gone, and another machine has its backup; the feed's port is the same.
fn move_authority(fleet: &mut Fleet, file: &Path) -> Installation {
    wait_for_the_second_past_what_is_held(fleet);
    let after = restored(&fleet.authority, file);
    std::mem::replace(&mut fleet.authority, after)
}

/// A node follows a new history only past what it holds of the old one, and a restored authority begins at the second
/// in which it is made.
fn wait_for_the_second_past_what_is_held(fleet: &Fleet) {
    let kept = fs::read_to_string(fleet.feed_file()).expect("the gateway keeps it");
    let told = kept.split("\"sequence\":").skip(1);
    let digits = |it: &str| it.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok();
    let held: u64 = told.filter_map(digits).max().expect("a sequence");
    let now = || UNIX_EPOCH.elapsed().expect("after 1970").as_secs();
    while now() <= held {
        sleep(Duration::from_millis(20));
    }
}

/// Whoever has not confirmed.
fn unconfirmed(fleet: &Fleet, name: &str) -> (Option<i32>, Vec<String>) {
    let wait = ["--json", "--wait", "--wait-timeout", "1s"];
    let answer = (fleet.authority).run(&[&["revoke", name], &wait[..]].concat());
    let receipt: Value = serde_json::from_str(&answer.stdout).expect("JSON");
    let names = receipt["unconfirmed"].as_array().expect("a list");
    let names = names
        .iter()
        .map(|it| it.as_str().expect("a name").to_owned());
    (answer.code, names.collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restored_authority_waits_for_the_gateways_that_there_were() {
    let mut fleet = Fleet::new();
    // Gone with its certificate: nobody to wait for.
    fleet.issue_node("gw-2");
    fleet.authority.ok(&["revoke", "gw-2"]);
    for name in ["first", "second", "third"] {
        fleet.authority.issue("client", name, &[]);
    }
    // Before any gateway has joined: of this one nothing but its certificate is known.
    let early = backup(&fleet.authority, "early.tar");
    let authority = fleet.run_authority("");
    let gateway = fleet.run_gateway("");
    fleet.authority.ok(&["revoke", "first", "--wait"]);
    let late = backup(&fleet.authority, "late.tar");
    authority.kill();
    let third = Issued::at(fleet.authority.path("client-third"));
    assert_served(&third, &gateway).await;

    let one = move_authority(&mut fleet, &early);
    fleet.authority.ok(&BY_WORD);
    let gw_1 = || vec!["gw-1".to_owned()];
    assert_eq!(unconfirmed(&fleet, "second"), (Some(1), gw_1()));
    fleet.authority = one;

    let _source = move_authority(&mut fleet, &late);
    fleet.authority.ok(&BY_WORD);
    assert_eq!(unconfirmed(&fleet, "third"), (Some(1), gw_1()));
    assert_served(&third, &gateway).await;
    // It hears of it as soon as it is told.
    let _authority = fleet.run_authority("");
    fleet
        .authority
        .ok(&["revoke", "third", "--wait", "--wait-timeout", "30s"]);
    assert_refused(&third, &gateway, CERTIFICATE_REVOKED).await;
}

/// Revoked before the backup, after it, and issued and revoked after it; the last is not revoked.
struct Four {
    revoked: Vec<Issued>,
    honest: Issued,
}

impl Four {
    async fn assert_at(&self, gateway: &Process) {
        for identity in &self.revoked {
            assert_refused(identity, gateway, CERTIFICATE_REVOKED).await;
        }
        assert_served(&self.honest, gateway).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_who_was_revoked_before_is_admitted_after_whatever_tells_of_it() {
    let mut fleet = Fleet::new();
    let authority = fleet.run_authority("");
    let gateway = fleet.run_gateway("");
    let issue = |name: &str| fleet.authority.issue("client", name, &[]);
    let (early, late, honest) = (issue("early"), issue("late"), issue("honest"));
    fleet.authority.ok(&["revoke", "early", "--wait"]);
    let file = backup(&fleet.authority, "backup.tar");
    let lost = issue("lost");
    for name in ["late", "lost"] {
        fleet.authority.ok(&["revoke", name, "--wait"]);
    }
    let four = Four {
        revoked: vec![early, late, lost],
        honest,
    };
    four.assert_at(&gateway).await;
    let crl = fleet.authority.path("crl.pem");
    fleet.authority.ok(&["ca", "crl", "--out", text(&crl)]);
    // The first is of the issuing CA.
    let pem = fs::read_to_string(&crl).expect("reads");
    let end = "-----END X509 CRL-----\n";
    let first = pem.split_inclusive(end).next().expect("a list");
    fs::write(&crl, first).expect("writes");
    authority.kill();

    // As it lies there, while the gateway serves on.
    let feed = fleet.feed_file();
    for (option, evidence) in [("--from-gateway", &feed), ("--crl", &crl)] {
        let before = move_authority(&mut fleet, &file);
        let told = fleet
            .authority
            .ok(&["ca", "resume", option, text(evidence)]);
        assert!(
            told.contains("1 revoked, 1 of unknown serials revoked, 1 known before")
                && told.contains("certificates are issued again"),
            "{option}: {told}"
        );
        let authority = fleet.run_authority("");
        four.assert_at(&authority).await;
        // One that heard the authority before, and one that has heard only this one.
        fleet.authority.issue("client", "next", &[]);
        let receipt = fleet
            .authority
            .ok(&["revoke", "next", "--wait", "--wait-timeout", "30s"]);
        assert!(receipt.contains("gw-1 confirmed"), "{receipt}");
        four.assert_at(&gateway).await;
        authority.kill();
        fleet.authority = before;
    }

    // A gateway that comes later has it all from the restored authority alone.
    assert!(gateway.interrupt().success());
    let source = move_authority(&mut fleet, &file);
    fleet
        .authority
        .ok(&["ca", "resume", "--from-gateway", text(&feed)]);
    let _authority = fleet.run_authority("");
    fs::remove_file(&feed).expect("is there");
    let gateway = start_gateway(&fleet).expect("it starts");
    four.assert_at(&gateway).await;
    drop(source);
}
