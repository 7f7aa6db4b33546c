//! Folders that can be used and folders that cannot.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

use countersign_authority::state::{StateError, StateFolder};

use crate::fixture::Folder;

#[test]
fn second_lock_is_refused_and_names_the_process() {
    let folder = Folder::new();
    let state = folder.state();
    let lock = state.lock().expect("locks");
    let error = state.lock().expect_err("in use");
    assert!(
        matches!(error, StateError::InUse { pid: Some(pid), .. } if pid == std::process::id()),
        "{error}"
    );
    drop(lock);
    state.lock().map(drop).expect("free again");
}

#[test]
fn folder_is_made_for_its_owner_alone() {
    let folder = Folder::new();
    let nested = folder.path.join("deeper/still");
    StateFolder::prepare(&nested).expect("makes it");
    assert_eq!(
        fs::metadata(&nested).expect("exists").permissions().mode() & 0o777,
        0o700
    );
    let given = folder.path.join("given");
    fs::create_dir(&given).expect("creates");
    for mode in [0o755, 0o777] {
        set_mode(&given, mode);
        let state = StateFolder::prepare(&given).expect("takes it");
        assert_eq!(mode_of(&given), mode, "nothing is changed before the lock");
        drop(state.lock().expect("locks"));
        assert_eq!(mode_of(&given), 0o700);
        fs::remove_file(given.join("lock")).expect("removes");
    }
}

#[test]
fn who_only_asks_changes_nothing() {
    let folder = Folder::new();
    folder.state();
    let given = folder.path.join("given");
    fs::create_dir(&given).expect("creates");
    for mode in [0o755, 0o777] {
        set_mode(&given, mode);
        let state = StateFolder::existing(&given).expect("there");
        assert!(!state.is_initialised());
        assert_eq!(mode_of(&given), mode);
    }
    assert!(matches!(
        StateFolder::existing(&given.join("missing")),
        Err(StateError::Io { .. })
    ));
    assert_eq!(fs::read_dir(&given).expect("lists").count(), 0);
}

#[test]
fn folder_that_others_can_write_to_is_refused() {
    let folder = Folder::new();
    folder.init();
    let state = folder.state();
    for mode in [0o720, 0o702, 0o777, 0o1777] {
        set_mode(&folder.path, mode);
        let check = |outcome: Result<(), StateError>| {
            let error = outcome.expect_err("refused");
            assert!(
                matches!(error, StateError::WritableByOthers { mode: found, .. } if found == mode),
                "{error}"
            );
            assert!(error.hint().expect("a hint").contains("chmod go-w"));
        };
        check(StateFolder::prepare(&folder.path).map(drop));
        check(StateFolder::existing(&folder.path).map(drop));
        check(state.lock().map(drop));
    }
    set_mode(&folder.path, 0o755);
    drop(folder.state().lock().expect("readable is not writable"));

    // Not initialised, but something lies there already.
    let planted = Folder::new();
    planted.state();
    fs::create_dir(planted.path.join("gateway")).expect("creates");
    set_mode(&planted.path, 0o777);
    assert!(matches!(
        StateFolder::prepare(&planted.path),
        Err(StateError::WritableByOthers { .. })
    ));
}

#[test]
fn folder_of_another_user_is_refused_and_root_may_only_ask() {
    if !rustix::process::geteuid().is_root() {
        // Whoever is not root cannot give a folder away; that of root is there.
        assert!(matches!(
            StateFolder::prepare(Path::new("/")),
            Err(StateError::NotOwner { owner: 0, .. })
        ));
        assert!(matches!(
            StateFolder::existing(Path::new("/")),
            Err(StateError::NotOwner { owner: 0, .. })
        ));
        return;
    }
    let folder = Folder::new();
    folder.init();
    fs::remove_file(folder.path.join("lock")).expect("removes");
    chown(&folder.path, Some(4711), None).expect("gives it away");
    let refused = |outcome: Result<(), StateError>| {
        let error = outcome.expect_err("refused");
        assert!(
            matches!(
                error,
                StateError::NotOwner {
                    owner: 4711,
                    own: 0,
                    ..
                }
            ),
            "{error}"
        );
        assert!(error.hint().expect("a hint").contains("sudo -u '#4711'"));
    };
    refused(StateFolder::prepare(&folder.path).map(drop));
    let state = StateFolder::existing(&folder.path).expect("may ask");
    assert!(state.is_initialised());
    refused(state.lock().map(drop));
    assert!(!folder.path.join("lock").exists());
}

#[test]
fn lock_that_is_a_link_or_no_file_is_refused_and_nothing_is_emptied() {
    let folder = Folder::new();
    let state = folder.state();
    let (lock, precious) = (folder.path.join("lock"), folder.path.join("refusals"));
    fs::write(&precious, "years of work").expect("writes");
    let refused = || {
        let error = state.lock().expect_err("refused");
        assert!(matches!(error, StateError::LockIsNoFile { .. }), "{error}");
        assert!(error.hint().is_some());
        fs::remove_file(&lock).expect("removes");
        assert_eq!(
            fs::read_to_string(&precious).expect("reads"),
            "years of work"
        );
    };
    symlink(&precious, &lock).expect("links");
    refused();
    symlink(folder.path.join("nowhere"), &lock).expect("links");
    refused();
    assert!(!folder.path.join("nowhere").exists());
    fs::hard_link(&precious, &lock).expect("links");
    refused();
    drop(UnixListener::bind(&lock));
    state.lock().expect_err("a socket is no lock");
    fs::remove_file(&lock).expect("removes");
    drop(state.lock().expect("locks"));
}

#[test]
fn what_a_killed_process_leaves_is_removed_under_the_lock() {
    let folder = Folder::new();
    let state = folder.state();
    let passing = folder.path.join("admin.tmp");
    drop(UnixListener::bind(&passing).expect("binds"));
    drop(
        folder
            .state()
            .lock()
            .expect("a socket in the making is ours"),
    );
    assert!(!passing.exists());

    folder.init();
    let scaffold = folder.path.join(".init");
    fs::create_dir(&scaffold).expect("creates");
    fs::write(scaffold.join("rest"), "").expect("writes");
    let held = state.lock().expect("locks");
    assert!(!scaffold.exists());
    fs::create_dir(&scaffold).expect("creates");
    state.lock().expect_err("in use");
    assert!(scaffold.exists(), "only under the lock");
    drop(held);
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("own folder");
}

fn mode_of(path: &Path) -> u32 {
    fs::metadata(path).expect("exists").permissions().mode() & 0o7777
}

#[test]
fn foreign_folder_file_and_newer_format_are_refused_untouched() {
    let folder = Folder::new();
    folder.state();
    let named = |name: &str| folder.path.parent().expect("a parent").join(name);

    let foreign = named("foreign");
    fs::create_dir(&foreign).expect("creates");
    fs::write(foreign.join("thesis.tex"), "").expect("writes");
    fs::set_permissions(&foreign, fs::Permissions::from_mode(0o755)).expect("opens it up");
    assert!(
        matches!(StateFolder::prepare(&foreign), Err(StateError::Foreign { example, .. }) if example == "thesis.tex")
    );
    assert_eq!(
        fs::metadata(&foreign).expect("exists").permissions().mode() & 0o777,
        0o755
    );

    let file = named("file");
    fs::write(&file, "").expect("writes");
    assert!(matches!(
        StateFolder::prepare(&file),
        Err(StateError::NotAFolder { .. })
    ));
    assert!(matches!(
        StateFolder::prepare(&file.join("below")),
        Err(StateError::NotAFolder { .. })
    ));

    for (text, newer) in [
        ("countersign-state 2\n", true),
        ("countersign-state 0\n", false),
        ("something else\n", false),
        ("", false),
    ] {
        let initialised = Folder::new();
        initialised.init();
        fs::write(initialised.path.join("format"), text).expect("writes");
        let error = StateFolder::prepare(&initialised.path).expect_err("refused");
        assert_eq!(
            matches!(
                error,
                StateError::Newer {
                    found: 2,
                    known: 1,
                    ..
                }
            ),
            newer,
            "{error}"
        );
        assert!(error.hint().is_some());
    }
}

#[test]
fn lost_format_file_is_never_taken_for_an_empty_folder() {
    let folder = Folder::new();
    folder.init();
    fs::remove_file(folder.path.join("format")).expect("removes");
    assert!(matches!(
        StateFolder::prepare(&folder.path),
        Err(StateError::FormatMissing { .. })
    ));
    assert!(folder.path.join("ca/root.key.sealed").exists());
}

#[test]
fn folder_of_a_gateway_without_authority_is_ours() {
    let folder = Folder::new();
    let state = folder.state();
    drop(state.lock().expect("locks"));
    fs::create_dir(state.refusals()).expect("creates");
    assert!(!folder.state().is_initialised());
    // Everything that a gateway keeps beside it is a folder, in which a killed process may leave what it likes.
    for name in ["gateway", "identities", "break-glass", "decisions", "lists"] {
        fs::create_dir(folder.path.join(name)).expect("creates");
        fs::write(folder.path.join(name).join(".x.0123.tmp"), "").expect("writes");
        assert!(!folder.state().is_initialised(), "{name}");
    }
    fs::write(folder.path.join(".decisions.jsonl.0123.tmp"), "").expect("writes");
    assert!(matches!(
        StateFolder::prepare(&folder.path),
        Err(StateError::Foreign { .. })
    ));
}

#[test]
fn socket_path_must_fit_the_kernel() {
    let folder = Folder::new();
    let base = folder.path.as_os_str().len();
    // "/" before the folder, "/admin.sock" after it.
    let fits = folder.path.join("x".repeat(107 - base - 1 - 11));
    let state = StateFolder::prepare(&fits).expect("fits");
    assert_eq!(state.socket().as_os_str().len(), 107);
    let too_long = folder.path.join("x".repeat(107 - base - 1 - 10));
    let error = StateFolder::prepare(&too_long).expect_err("too long");
    assert!(
        matches!(
            error,
            StateError::SocketPathTooLong {
                bytes: 108,
                limit: 107,
                ..
            }
        ),
        "{error}"
    );
    assert!(error.hint().expect("a hint").contains("--state"));
    assert!(!too_long.exists());
}

#[test]
fn identity_folder_is_one_segment_whatever_the_name() {
    let folder = Folder::new();
    let state = folder.state();
    let parent = state.path().join("identities");
    for (name, segment) in [
        ("you", "you"),
        ("spiffe://example.com/ns/api", "example.com_ns_api"),
        ("../../etc/passwd", "___.._etc_passwd"),
        ("..", "__"),
        ("", "_"),
        ("a\0b\nc", "a_b_c"),
        ("ann@example.com", "ann@example.com"),
    ] {
        assert_eq!(state.identity(name), parent.join(segment), "{name:?}");
    }
    let long = state.identity(&"é".repeat(5000));
    assert!(long.file_name().expect("a name").len() <= 255);
}
