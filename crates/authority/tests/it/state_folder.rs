//! Folders that can be used and folders that cannot.

use std::fs;
use std::os::unix::fs::PermissionsExt;

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
    fs::set_permissions(&given, fs::Permissions::from_mode(0o755)).expect("opens it up");
    StateFolder::prepare(&given).expect("takes it");
    assert_eq!(
        fs::metadata(&given).expect("exists").permissions().mode() & 0o777,
        0o700
    );
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
