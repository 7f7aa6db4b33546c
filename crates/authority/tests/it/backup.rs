//! Backups: consistent, whole or refused, and restored into nothing but an empty folder.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use countersign_authority::authority::{Authority, BackupError, NotReady};
use countersign_authority::backup::{BackupFault, RulesInForce, verify};
use countersign_authority::restore::{RestoreError, Restored, restore};
use countersign_authority::secret::Secret;
use countersign_authority::state::StateError;
use countersign_pki::feed::RevocationReason;
use countersign_runtime::clock::{ManualClock, SharedClock};
use countersign_store::audit::log::AuditLog;
use countersign_store::error::StoreError;
use countersign_store::inventory::Filter;
use http_body_util::BodyExt as _;

use crate::fixture::{ADMIN, BORN, Fixture, Folder, client, what};

/// The bytes of a backup of the fixture.
pub(crate) async fn backup(authority: &Authority) -> Vec<u8> {
    let (_, stream) = authority.backup(ADMIN).await.expect("copies");
    let collected = stream.collect().await.expect("streams");
    collected.to_bytes().to_vec()
}

/// Restores into a new folder, at the time of the fixture's birth and a day.
pub(crate) fn restored(bytes: &[u8]) -> Result<(Folder, Restored), RestoreError> {
    let folder = Folder::new();
    let file = folder.path.with_extension("tar");
    fs::write(&file, bytes).expect("writes");
    restore_into(&folder, &file).map(|restored| (folder, restored))
}

fn restore_into(folder: &Folder, file: &Path) -> Result<Restored, RestoreError> {
    let state = folder.state();
    let lock = state.lock().expect("locks");
    let clock: SharedClock = Arc::new(ManualClock::new(BORN + RESTORED_AFTER_S));
    restore(&state, &lock, file, None, ADMIN, &clock)
}

pub(crate) const RESTORED_AFTER_S: u64 = 86_400;

fn fault(bytes: &[u8]) -> BackupFault {
    let folder = Folder::new();
    let file = folder.path.with_extension("tar");
    fs::write(&file, bytes).expect("writes");
    let refused = restore_into(&folder, &file).expect_err("refused");
    let left: Vec<_> = fs::read_dir(&folder.path)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    assert_eq!(left, ["lock"], "nothing is in place");
    let RestoreError::Backup(fault) = refused else {
        panic!("{refused}");
    };
    assert!(fault.hint().is_some(), "{fault}");
    fault
}

#[tokio::test]
async fn backup_holds_the_authority_as_it_was_and_nothing_that_opens_its_keys() {
    let fixture = Fixture::new();
    let you = fixture.issue("you").await;
    fixture.issue("me").await;
    let (reason, name) = (RevocationReason::KeyCompromise, what("you"));
    let revoked = fixture.authority.revoke(ADMIN, &name, reason, None);
    let revoked = revoked.await.expect("revokes");
    let bytes = backup(&fixture.authority).await;
    fixture.issue("later").await;

    let passphrase = fs::read(fixture.folder.path.join("ca/passphrase")).expect("generated");
    let secret = passphrase.trim_ascii_end();
    assert!(!bytes.windows(secret.len()).any(|window| window == secret));
    let (folder, restored) = restored(&bytes).expect("restores");
    assert_eq!(
        restored.facts.root_fingerprint,
        fixture.authority.root().fingerprint()
    );
    assert_eq!(restored.facts.sequence, revoked.sequence);
    let (history, _) = fixture.authority.feed_position().await.expect("reads");
    assert_eq!(restored.facts.history, history);
    for name in [
        "ca/intermediate.key.sealed",
        "inventory.db",
        "meta.json",
        "format",
    ] {
        let mode = |folder: &Path| {
            let found = fs::metadata(folder.join(name)).expect("is there");
            found.permissions().mode() & 0o777
        };
        assert_eq!(mode(&folder.path), mode(&fixture.folder.path), "{name}");
    }
    assert!(!folder.path.join("ca/passphrase").exists());
    assert!(!folder.path.join(".init").exists());

    fs::write(folder.path.join("ca/passphrase"), passphrase).expect("writes");
    let again = folder.open(&Arc::new(ManualClock::new(BORN + RESTORED_AFTER_S)));
    let page = again
        .list(Filter::default(), None, 10)
        .await
        .expect("lists");
    let names: Vec<_> = page
        .entries
        .iter()
        .map(|it| it.principal().expect("named").to_string())
        .collect();
    assert_eq!(names, ["me", "you"].map(|name| format!("cn:{name}")));
    assert_eq!(page.entries[1].serial, you.serial);
    assert!(page.entries[1].revocation.is_some());
    drop(again);
    AuditLog::open(&folder.path.join("inventory.db"))
        .expect("opens")
        .verify(Some(restored.facts.audit_head.parse().expect("a hash")))
        .expect("the log goes on from the head that was noted in the backup");
}

#[tokio::test]
async fn backup_has_what_is_in_force_and_not_what_the_disk_kept() {
    let fixture = Fixture::new();
    let kept = fixture.folder.path.join("profiles.toml");
    let in_backup = async || {
        let files = files(&backup(&fixture.authority).await);
        let names: Vec<_> = files.iter().map(|(name, _)| name.clone()).collect();
        let small = &names[1..names.len() - 2];
        assert!(small.is_sorted(), "{names:?}");
        files
            .into_iter()
            .find_map(|(name, bytes)| (name == "profiles.toml").then_some(bytes))
    };
    assert_eq!(in_backup().await, None);
    fs::write(&kept, "[retention]\n").expect("writes");
    assert_eq!(in_backup().await.as_deref(), Some(&b"[retention]\n"[..]));
    let rules = "[profile.lab]\nlike = \"peer\"\n";
    let authority = &fixture.authority;
    authority.back_up_rules(RulesInForce::Written(rules.to_owned()));
    assert_eq!(in_backup().await.as_deref(), Some(rules.as_bytes()));
    // Where the disk cannot even keep a file, there is what is in force.
    fs::remove_file(&kept).expect("removes");
    fs::create_dir(&kept).expect("makes");
    assert_eq!(in_backup().await.as_deref(), Some(rules.as_bytes()));
    authority.back_up_rules(RulesInForce::BuiltIn);
    assert_eq!(in_backup().await, None);
}

#[tokio::test]
async fn no_backup_says_that_rules_are_known_which_nobody_could_read() {
    let fixture = Fixture::new();
    let unkept = NotReady {
        why: "profiles.toml cannot be read".to_owned(),
        hint: None,
    };
    fixture.authority.hold_back(Some(unkept));
    let refused = fixture.authority.backup(ADMIN).await.err();
    assert!(
        matches!(refused, Some(BackupError::RulesUnknown { .. })),
        "{refused:?}"
    );
    // What a serving process issues by is in its memory, whatever its disk does.
    fixture.authority.back_up_rules(RulesInForce::BuiltIn);
    restored(&backup(&fixture.authority).await).expect("restores");
}

#[tokio::test]
async fn list_of_nodes_that_is_damaged_is_named_when_the_backup_is_made() {
    let fixture = Fixture::new();
    let nodes = fixture.folder.path.join("nodes.json");
    for damaged in ["", "{", "[]", "{\"edge\": 1}"] {
        fs::write(&nodes, damaged).expect("writes");
        let refused = fixture.authority.backup(ADMIN).await.err();
        let said = refused.expect("refused").to_string();
        assert!(said.contains("nodes.json is damaged"), "{damaged}: {said}");
    }
    fs::write(&nodes, "{}").expect("writes");
    restored(&backup(&fixture.authority).await).expect("restores");
}

#[tokio::test]
async fn backup_amid_issuing_is_of_one_moment() {
    let fixture = Fixture::new();
    let issuing = {
        let authority = Arc::clone(&fixture.authority);
        tokio::spawn(async move {
            for number in 0..60 {
                let issued = authority
                    .issue(ADMIN, client(&format!("client-{number}")))
                    .await;
                issued.expect("issues");
            }
        })
    };
    let mut sizes = Vec::new();
    while !issuing.is_finished() {
        let bytes = backup(&fixture.authority).await;
        let (folder, _) = restored(&bytes).expect("restores");
        let sql = rusqlite::Connection::open(folder.path.join("inventory.db")).expect("opens");
        let count = |table: &str| -> i64 {
            sql.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| {
                row.get(0)
            })
            .expect("counts")
        };
        // Each row has its certificate or its intent, and the record of the intent; at most one has no certificate yet.
        let (rows, open, certificates) = (count("entry"), count("intent"), count("certificate"));
        assert!((0..=1).contains(&open), "{open}");
        assert_eq!(rows, open + certificates);
        let recorded: i64 = sql
            .query_row(
                "SELECT count(*) FROM audit WHERE action = 'intend'",
                [],
                |row| row.get(0),
            )
            .expect("counts");
        assert_eq!(recorded, rows);
        sizes.push(rows);
    }
    issuing.await.expect("no panic");
    assert!(sizes.is_sorted() && sizes.len() > 1, "{sizes:?}");
}

#[tokio::test]
async fn any_byte_that_changes_or_is_missing_is_found_and_nothing_put_in_place() {
    let fixture = Fixture::new();
    fixture.issue("you").await;
    let bytes = backup(&fixture.authority).await;
    restored(&bytes).expect("the backup itself is whole");
    let folder = Folder::new();
    let file = folder.path.with_extension("tar");
    let check = |bytes: &[u8], what: &str| {
        fs::write(&file, bytes).expect("writes");
        let found = verify(&file).expect_err(what);
        assert!(
            matches!(
                found,
                BackupFault::Altered { .. }
                    | BackupFault::NotABackup { .. }
                    | BackupFault::Torn { .. }
            ),
            "{what}: {found}"
        );
    };
    // Every byte of the first header, then one of each so many: headers, padding and content come in turn.
    let places = (0..512).chain((512..bytes.len()).step_by(311));
    for place in places {
        let mut changed = bytes.clone();
        changed[place] ^= 1 << (place % 8);
        check(&changed, &format!("byte {place}"));
    }
    for length in (0..bytes.len())
        .step_by(1009)
        .chain([bytes.len() - 1, bytes.len() - 512])
    {
        check(&bytes[..length], &format!("cut off at {length}"));
    }
    check(&[&bytes[..], b"x"].concat(), "one byte more");
    let half = bytes.len() / 2;
    assert!(matches!(fault(&bytes[..half]), BackupFault::Torn { .. }));
    let mut changed = bytes.clone();
    changed[half] ^= 1;
    assert!(matches!(fault(&changed), BackupFault::Altered { .. }));
    assert!(matches!(fault(b"no tar"), BackupFault::NotABackup { .. }));
}

#[tokio::test]
async fn names_that_lead_elsewhere_are_refused_before_anything_is_written() {
    let fixture = Fixture::new();
    let whole = files(&backup(&fixture.authority).await);
    restored(&tar(&whole, REGULAR)).expect("what is packed here is as good");
    let outside = fixture.folder.path.with_file_name("outside");
    for name in [
        "../outside",
        "/tmp/outside",
        "ca/../../outside",
        "ca/..",
        "ca/.hidden",
        "ca/a/b",
        "ca/",
        "ca/passphrase",
        "ca\\key",
        "lock",
        "admin.sock",
        "inventory.db-wal",
        "identities/you/key.pem",
    ] {
        // Where its turn is, in a file whose sums are right.
        let mut hostile = whole.clone();
        let place = (1..hostile.len() - 1)
            .find(|&place| hostile[place].0.as_str() > name || hostile[place].0 == "inventory.db")
            .expect("before the inventory");
        hostile.insert(place, (name.to_owned(), b"x".to_vec()));
        let refused = fault(&tar(&hostile, REGULAR));
        assert!(
            matches!(refused, BackupFault::Altered { .. }),
            "{name}: {refused}"
        );
    }
    assert!(!outside.exists());
    for kind in [b'1', b'2', b'3', b'5', b'6', b'7', b'L', b'x', b'g', 0] {
        let refused = fault(&tar(&whole, kind));
        assert!(
            matches!(refused, BackupFault::NotABackup { .. }),
            "{kind}: {refused}"
        );
    }
    let at = |name: &str| whole.iter().position(|it| it.0 == name).expect("is there");
    let mut twice = whole.clone();
    twice.insert(at("ca.pem"), twice[at("ca.pem")].clone());
    assert!(matches!(
        fault(&tar(&twice, REGULAR)),
        BackupFault::Altered { .. }
    ));
    let mut none = whole.clone();
    none.remove(at("inventory.db"));
    assert!(matches!(
        fault(&tar(&none, REGULAR)),
        BackupFault::Mixed { .. }
    ));
}

#[tokio::test]
async fn parts_of_two_authorities_and_of_newer_versions_are_refused_by_name() {
    let (first, second) = (Fixture::new(), Fixture::new());
    let whole = files(&backup(&first.authority).await);
    let other = files(&backup(&second.authority).await);
    let at = |name: &str| whole.iter().position(|it| it.0 == name).expect("is there");
    for name in [
        "ca/root.pem",
        "ca/intermediate.pem",
        "inventory.db",
        "backup.json",
    ] {
        let mut mixed = whole.clone();
        mixed[at(name)] = other[at(name)].clone();
        let refused = fault(&tar(&mixed, REGULAR));
        assert!(
            matches!(refused, BackupFault::Mixed { .. }),
            "{name}: {refused}"
        );
    }
    let mut newer = whole.clone();
    newer[0].1 = br#"{"format": 3, "new": true}"#.to_vec();
    assert!(matches!(
        fault(&tar(&newer, REGULAR)),
        BackupFault::Newer { found: 3, .. }
    ));
    let mut newer = whole.clone();
    // user_version, at offset 60 of an SQLite file.
    newer[at("inventory.db")].1[60..64].copy_from_slice(&99_u32.to_be_bytes());
    let BackupFault::Inventory { source, .. } = fault(&tar(&newer, REGULAR)) else {
        panic!("another fault");
    };
    assert!(
        matches!(*source, StoreError::NewerSchema { found: 99, .. }),
        "{source}"
    );
    let mut damaged = whole.clone();
    let inventory = &mut damaged[at("inventory.db")].1;
    let pages = inventory.len() / 4096;
    inventory[4096 * (pages / 2)..4096 * (pages / 2 + 3)].fill(0xa5);
    assert!(matches!(
        fault(&tar(&damaged, REGULAR)),
        BackupFault::Inventory { .. }
    ));
}

#[tokio::test]
async fn restore_writes_over_nothing() {
    let fixture = Fixture::new();
    let bytes = backup(&fixture.authority).await;
    let check = |name: &str| {
        let folder = Folder::new();
        let file = folder.path.with_extension("tar");
        fs::write(&file, &bytes).expect("writes");
        drop(folder.state());
        fs::create_dir(folder.path.join(name)).expect("creates");
        let refused = restore_into(&folder, &file).expect_err("refused");
        assert!(
            matches!(refused, RestoreError::State(StateError::NotEmpty { .. })),
            "{name}: {refused}"
        );
        assert!(!folder.path.join("inventory.db").exists());
    };
    check("gateway");
    check("identities");
    let used = Folder::new();
    used.init();
    let file = used.path.with_extension("tar");
    fs::write(&file, &bytes).expect("writes");
    let root = fs::read(used.path.join("ca.pem")).expect("reads");
    let refused = restore_into(&used, &file).expect_err("refused");
    assert!(
        matches!(refused, RestoreError::AlreadyInitialised { .. }),
        "{refused}"
    );
    assert_eq!(fs::read(used.path.join("ca.pem")).expect("reads"), root);
}

#[tokio::test]
async fn passphrase_that_is_given_is_tried_before_anything_is_in_place() {
    let fixture = Fixture::new();
    let bytes = backup(&fixture.authority).await;
    let check = |passphrase: &[u8]| {
        let folder = Folder::new();
        let file = folder.path.with_extension("tar");
        fs::write(&file, &bytes).expect("writes");
        let state = folder.state();
        let lock = state.lock().expect("locks");
        let clock: SharedClock = Arc::new(ManualClock::new(BORN));
        let secret = Secret::new(passphrase.to_vec());
        restore(&state, &lock, &file, Some(&secret), ADMIN, &clock)
    };
    assert!(matches!(check(b"guess"), Err(RestoreError::Key { .. })));
    let right = fs::read(fixture.folder.path.join("ca/passphrase")).expect("generated");
    check(right.trim_ascii_end()).expect("opens the keys");
}

#[tokio::test]
async fn copy_of_the_inventory_is_gone_when_nobody_listens_any_more() {
    let fixture = Fixture::new();
    let (_, held) = fixture.authority.backup(ADMIN).await.expect("copies");
    drop(held);
    let scratch: PathBuf = fixture.folder.path.join(".backup");
    for _ in 0..200 {
        if !scratch.exists() {
            break;
        }
        tokio::task::yield_now().await;
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert!(
        !scratch.exists(),
        "the copy is gone when nobody listens any more"
    );
}

/// The files in a tar, read by their headers alone.
fn files(tar: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    let mut rest = tar;
    while rest[0] != 0 {
        let text = |range: std::ops::Range<usize>| {
            let field = String::from_utf8_lossy(&rest[range]).into_owned();
            field.trim_end_matches('\0').to_owned()
        };
        let size = usize::from_str_radix(&text(124..136), 8).expect("octal");
        files.push((text(0..100), rest[512..512 + size].to_vec()));
        rest = &rest[512 + size.div_ceil(512) * 512..];
    }
    files
}

/// A tar of these with sums that are right, made by code that the product does not share.
fn tar(files: &[(String, Vec<u8>)], kind: u8) -> Vec<u8> {
    let mut tar = Vec::new();
    let mut sums = String::new();
    for (name, content) in files {
        let content = if name == "SHA256SUMS" {
            sums.clone().into_bytes()
        } else {
            content.clone()
        };
        for byte in digest(&SHA256, &content).as_ref() {
            write!(sums, "{byte:02x}").expect("a String takes everything");
        }
        writeln!(sums, "  {name}").expect("a String takes everything");
        let mut header = [0_u8; 512];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[100..124].copy_from_slice(b"0000600\x000000000\x000000000\0");
        header[124..136].copy_from_slice(format!("{:011o}\0", content.len()).as_bytes());
        header[136..148].copy_from_slice(format!("{BORN:011o}\0").as_bytes());
        header[148..156].fill(b' ');
        header[156] = kind;
        header[257..265].copy_from_slice(b"ustar\x0000");
        let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        tar.extend_from_slice(&header);
        tar.extend_from_slice(&content);
        tar.resize(tar.len().next_multiple_of(512), 0);
    }
    tar.resize(tar.len() + 1024, 0);
    tar
}

const REGULAR: u8 = b'0';
