//! Backup and restore as an operator meets them: beside a gateway that serves, and after the machine is gone.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use countersign_agent::feed_log::FeedLog;
use countersign_pki::certificate::Certificate;
use countersign_pki::feed::{Bundle, Frame};
use countersign_pki::identity::BundleName;
use countersign_pki::pem;
use countersign_testkit::bypass::Protocol;
use http_body_util::Full;
use serde_json::Value;

use crate::crash::feed_of;
use crate::installation::{Answer, Installation, Issued, text};
use crate::peers::peer;

/// The backup of an installation, taken now.
pub(crate) fn backup(installation: &Installation, name: &str) -> PathBuf {
    let file = installation.path(name);
    installation.ok(&["ca", "backup", text(&file)]);
    file
}

/// Another machine: the backup, and the passphrase from where it is kept.
pub(crate) fn restored(source: &Installation, file: &Path) -> Installation {
    let installation = Installation::empty();
    installation.ok(&["ca", "restore", text(file)]);
    let passphrase = source.state().join("ca/passphrase");
    fs::copy(passphrase, installation.state().join("ca/passphrase")).expect("copies");
    installation
}

#[test]
fn backup_is_made_while_a_gateway_serves_and_while_none_does() {
    let installation = Installation::new();
    let idle = backup(&installation, "idle.tar");
    let gateway = installation.up(&[]);
    installation.issue("client", "live", &[]);
    let live = backup(&installation, "live.tar");
    gateway.interrupt();
    for (file, names) in [(&idle, 0), (&live, 1)] {
        let mode = fs::metadata(file).expect("is there").permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
        let restored = restored(&installation, file);
        let found = restored.certificates(&["--name", "live"]);
        assert_eq!(found.len(), names);
    }
}

#[test]
fn backup_writes_over_nothing_unless_it_is_told_to_and_names_itself_in_a_folder() {
    let installation = Installation::new();
    let file = installation.write("mine", "not yours");
    let refused = installation.run(&["ca", "backup", text(&file)]);
    refused.assert_fault(1, &["exists already", "--force"]);
    assert_eq!(fs::read_to_string(&file).expect("reads"), "not yours");
    installation.ok(&["ca", "backup", text(&file), "--force"]);
    let folder = installation.path("backups");
    fs::create_dir(&folder).expect("creates");
    let written = installation.json(&["ca", "backup", text(&folder)]);
    let names: Vec<String> = fs::read_dir(&folder)
        .expect("reads")
        .map(|it| {
            it.expect("an entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    assert_eq!(names.len(), 1, "nothing else is left: {names:?}");
    assert!(
        names[0].starts_with("countersign-countersign.internal-2") && names[0].ends_with("Z.tar")
    );
    assert_eq!(written["file"], text(&folder.join(&names[0])));
    let missing = installation.run(&["ca", "backup", text(&installation.path("no/where.tar"))]);
    missing.assert_fault(3, &["cannot write"]);
}

#[test]
fn tar_and_sha256sum_read_a_backup_and_nothing_secret_is_in_it() {
    let test = "a backup read by tar and sha256sum";
    let (Some(tar), Some(sha256sum)) = (peer(test, "tar"), peer(test, "sha256sum")) else {
        return;
    };
    let installation = Installation::new();
    let file = backup(&installation, "backup.tar");
    let folder = installation.path("unpacked");
    fs::create_dir(&folder).expect("creates");
    let run = |program: &Path, arguments: &[&str]| {
        let mut command = Command::new(program);
        let answer = Answer::of(command.args(arguments).current_dir(&folder));
        assert_eq!(answer.code, Some(0), "{answer:#?}");
        answer.stdout
    };
    run(&tar, &["-xf", text(&file)]);
    let checked = run(&sha256sum, &["--strict", "-c", "SHA256SUMS"]);
    assert!(
        checked.lines().all(|line| line.ends_with(": OK")) && checked.lines().count() == 11,
        "{checked}"
    );
    let listed = run(&tar, &["-tf", text(&file)]);
    let private = |name: &&str| {
        name.contains("passphrase")
            || name.contains("gateway")
            || name.contains("identities")
            || name.ends_with("key.pem")
    };
    assert_eq!(listed.lines().find(private), None);
    let facts: Value =
        serde_json::from_slice(&fs::read(folder.join("backup.json")).expect("reads"))
            .expect("JSON");
    let head = installation.json(&["audit", "verify"])["head"].clone();
    assert_eq!(facts["audit_head"], head);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restored_authority_waits_for_evidence_and_then_enforces_it() {
    let source = Installation::new();
    let gateway = source.up(&[]);
    let stolen = source.issue("client", "stolen", &[]);
    let honest = source.issue("client", "honest", &[]);
    let file = backup(&source, "backup.tar");
    source.ok(&["revoke", "stolen", "--wait"]);
    source.ok(&[
        "issue",
        "client",
        "lost",
        "--out",
        text(&source.path("lost")),
    ]);
    source.ok(&["revoke", "lost", "--wait"]);
    gateway.interrupt();
    let feed = feed_of(&source);

    let after = restored(&source, &file);
    let status = after.run(&["status"]);
    assert_eq!(status.code, Some(1), "{status:#?}");
    for words in ["issuing is paused", "ca resume"] {
        assert!(status.stdout.contains(words), "{words}: {status:#?}");
    }
    let paused = [
        "issuing is paused",
        "does not know what was revoked since",
        "--from-gateway FILE",
    ];
    after
        .run(&["issue", "client", "new"])
        .assert_fault(1, &paused);
    let renewed = after.run(&["renew", text(honest.folder())]);
    renewed.assert_fault(1, &paused);
    // What it would let in may have been revoked since.
    let up = after.run(&["up", "--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0"]);
    up.assert_fault(1, &paused);
    after
        .run(&["ca", "resume"])
        .assert_fault(1, &["nothing was told"]);
    let told = after.ok(&[
        "ca",
        "resume",
        "--from-gateway",
        text(&feed),
        "--because",
        "the disk died",
    ]);
    assert!(
        told.contains("1 revoked, 1 of unknown serials revoked, 0 known before"),
        "{told}"
    );
    assert!(told.contains("certificates are issued again"), "{told}");

    let gateway = after.up(&[]);
    let address: SocketAddr = gateway.gateway();
    let lost = Issued::at(source.path("lost"));
    // The first is let in by the same CA; the last was never in the inventory and is refused all the same.
    for (identity, is_let_in) in [(&honest, true), (&stolen, false), (&lost, false)] {
        let client = identity.client(Protocol::Http1Tls13);
        let outcome = client.request(address, hello()).await;
        assert_eq!(outcome.status() == Some(200), is_let_in, "{outcome:?}");
    }
    let again = after.ok(&["ca", "resume", "--from-gateway", text(&feed)]);
    assert!(
        again.contains("0 revoked, 0 of unknown serials revoked, 2 known before"),
        "{again}"
    );
    assert!(again.contains("was not paused"), "{again}");
    after.ok(&["audit", "verify"]);
}

/// What a gateway of this authority holds when nothing was ever revoked.
fn empty_feed_of(installation: &Installation) -> PathBuf {
    let root = fs::read(installation.state().join("ca.pem")).expect("reads");
    let root = pem::decode_all(&root).expect("PEM").remove(0);
    let root = Certificate::parse(&root.der).expect("a certificate");
    let internal = Bundle::new(BundleName::internal(), None, &[root], &[]);
    let frames = serde_json::json!([
        { "snapshot": {
            "place": 1,
            "history": "one",
            "sequence": 1,
            "at": SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs(),
            "bundles": [internal],
        } },
        { "complete": { "revoked": 0 } },
    ]);
    let frames: Vec<Frame> = serde_json::from_value(frames).expect("frames");
    let path = installation.path("feed");
    let (mut log, _) = FeedLog::open(&path).expect("opens");
    log.add(&frames).expect("writes");
    path
}

#[test]
fn feed_state_of_another_authority_says_nothing_of_this_one() {
    let source = Installation::new();
    let after = restored(&source, &backup(&source, "backup.tar"));
    let other = Installation::new();
    let theirs = empty_feed_of(&other);
    let refused = after.run(&["ca", "resume", "--from-gateway", text(&theirs)]);
    refused.assert_fault(2, &["it is of another authority", "nothing was told yet"]);
    let paused = after.run(&["issue", "client", "new"]);
    paused.assert_fault(1, &["issuing is paused"]);
    let ours = empty_feed_of(&source);
    let told = after.ok(&["ca", "resume", "--from-gateway", text(&ours)]);
    assert!(told.contains("certificates are issued again"), "{told}");
}

#[test]
fn restore_refuses_what_is_no_whole_backup_and_leaves_nothing() {
    let source = Installation::new();
    let file = backup(&source, "backup.tar");
    let whole = fs::read(&file).expect("reads");
    let check = |bytes: &[u8], code: i32, words: &[&str]| {
        let installation = Installation::empty();
        let file = installation.path("b.tar");
        fs::write(&file, bytes).expect("writes");
        installation
            .run(&["ca", "restore", text(&file)])
            .assert_fault(code, words);
        assert!(!installation.state().join("inventory.db").exists());
        assert!(!installation.state().join("ca").exists());
        installation.ok(&["init"]);
    };
    check(&whole[..whole.len() - 700], 1, &["is torn"]);
    let mut changed = whole.clone();
    changed[whole.len() / 2] ^= 4;
    check(&changed, 1, &["was altered", "inventory.db"]);
    check(b"hello", 2, &["is not a backup of countersign"]);
    let missing = Installation::empty();
    let none = missing.run(&["ca", "restore", "none.tar"]);
    none.assert_fault(3, &["cannot read none.tar"]);
    source
        .run(&["ca", "restore", text(&file)])
        .assert_fault(2, &["holds an authority already"]);
}

fn hello() -> http::Request<Full<Bytes>> {
    let request = http::Request::get("/").header("host", "localhost");
    request.body(Full::default()).expect("a request")
}
