//! The first run.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use countersign_authority::authority::{Authority, OpenError};
use countersign_authority::init::{InitError, InitOptions, init};
use countersign_authority::secret::{Passphrase, Secret};
use countersign_authority::state::{StateError, StateFolder};
use countersign_pki::bundle::TrustBundle;
use countersign_pki::chain::{Limits, Purpose, Verifier};
use countersign_pki::dn::DistinguishedName;
use countersign_pki::identity::BundleName;
use countersign_pki::pem;
use countersign_pki::revocation::RevocationIndex;
use countersign_pki::time::UnixTime;
use countersign_runtime::clock::{ManualClock, SharedClock};

use crate::fixture::{BORN, CHEAP, DAY_S, Fixture, Folder, options};

fn run(state: &StateFolder, options: InitOptions) -> Result<(), InitError> {
    let lock = state.lock().expect("locks");
    let clock: SharedClock = Arc::new(ManualClock::new(BORN));
    init(state, &lock, options, &clock).map(drop)
}

#[test]
fn state_has_its_files_and_only_the_owner_reads_the_secret_ones() {
    let folder = Folder::new();
    assert!(folder.init().passphrase_generated);
    let mode = |name: &str| {
        fs::metadata(folder.path.join(name))
            .expect(name)
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!(mode(""), 0o700);
    for secret in [
        "ca/root.key.sealed",
        "ca/intermediate.key.sealed",
        "ca/operator.key.sealed",
        "ca/passphrase",
        "inventory.db",
        "meta.json",
    ] {
        assert_eq!(mode(secret), 0o600, "{secret}");
    }
    for public in [
        "ca/root.pem",
        "ca/intermediate.pem",
        "ca/operator.pem",
        "ca.pem",
    ] {
        assert_eq!(mode(public), 0o644, "{public}");
    }
    assert_eq!(
        fs::read_to_string(folder.path.join("format")).expect("reads"),
        "countersign-state 1\n"
    );
    assert!(!folder.path.join(".init").exists());
}

#[tokio::test]
async fn hierarchy_is_root_with_two_issuers_of_leaves_and_a_crl() {
    let fixture = Fixture::new();
    let (root, intermediate, operator) = (
        fixture.authority.root(),
        fixture.authority.intermediate(),
        fixture.authority.operator(),
    );
    let subject = |name: &str| DistinguishedName::parse(name).expect("a DN");
    assert_eq!(
        *root.subject(),
        subject("CN=Countersign Root CA,O=Countersign")
    );
    assert_eq!(
        *intermediate.subject(),
        subject("CN=Countersign Issuing CA,O=Countersign")
    );
    assert_eq!(
        *operator.subject(),
        subject("CN=Countersign Operator CA,O=Countersign")
    );
    assert_eq!(
        (
            root.path_len(),
            intermediate.path_len(),
            operator.path_len()
        ),
        (Some(1), Some(0), Some(0))
    );
    assert_eq!(
        root.not_after(),
        UnixTime::from_seconds(BORN + 10 * 365 * DAY_S)
    );
    assert_eq!(
        intermediate.not_after(),
        UnixTime::from_seconds(BORN + 5 * 365 * DAY_S)
    );
    for issuer in [intermediate, operator] {
        assert_eq!(issuer.authority_key_id(), root.subject_key_id());
        assert_eq!(issuer.issuer(), root.subject());
    }
    let lists = fixture.authority.superior_lists().await.expect("lists");
    assert_eq!(lists.len(), 1, "the root's");
    let crl = lists[0].signed.as_ref().expect("signed at the first run");
    assert!(!lists[0].is_stale);
    crl.verify(root).expect("signed by the root");
    assert_eq!(
        crl.next_update(),
        Some(UnixTime::from_seconds(BORN + 365 * DAY_S))
    );
}

#[tokio::test]
async fn leaf_verifies_under_the_root_and_not_under_the_operator_issuer() {
    let fixture = Fixture::new();
    let issued = fixture.issue("you").await;
    let chain: Vec<_> = pem::decode_all(issued.chain_pem.as_bytes())
        .expect("PEM")
        .into_iter()
        .map(|block| block.der.into())
        .collect();
    assert_eq!(chain.len(), 2);
    let now = UnixTime::from_seconds(BORN);
    let verify = |anchor: &countersign_pki::certificate::Certificate| {
        let bundle = TrustBundle::new(BundleName::internal(), None, vec![anchor.clone()], now)
            .expect("a bundle");
        let verifier =
            Verifier::new(vec![Arc::new(bundle)], Limits::default()).expect("a verifier");
        verifier.verify(
            &chain,
            Purpose::ClientAuth,
            &RevocationIndex::default(),
            now,
        )
    };
    assert_eq!(
        verify(fixture.authority.root())
            .expect("verifies")
            .principal()
            .to_string(),
        "cn:you (internal)"
    );
    verify(fixture.authority.operator()).expect_err("another issuer");
}

#[test]
fn short_root_ends_its_issuers_too() {
    let folder = Folder::new();
    let state = folder.state();
    run(
        &state,
        InitOptions {
            root_years: 2,
            ..options()
        },
    )
    .expect("initialises");
    let pem = fs::read(folder.path.join("ca/intermediate.pem")).expect("reads");
    let der = &pem::decode_all(&pem).expect("PEM")[0].der;
    let intermediate =
        countersign_pki::certificate::Certificate::parse(der).expect("a certificate");
    assert_eq!(
        intermediate.not_after(),
        UnixTime::from_seconds(BORN + 2 * 365 * DAY_S)
    );
}

#[test]
fn second_init_is_refused_and_changes_nothing() {
    let folder = Folder::new();
    folder.init();
    let before = fs::read(folder.path.join("ca/root.pem")).expect("reads");
    assert!(matches!(
        run(&folder.state(), options()),
        Err(InitError::AlreadyInitialised { .. })
    ));
    assert_eq!(
        fs::read(folder.path.join("ca/root.pem")).expect("reads"),
        before
    );
}

#[test]
fn options_that_cannot_be_met_are_refused_and_leave_nothing() {
    let check = |options: InitOptions| {
        let folder = Folder::new();
        run(&folder.state(), options).expect_err("refused");
        assert!(!folder.state().is_initialised());
        assert!(!folder.path.join("ca").exists());
    };
    check(InitOptions {
        root_years: 0,
        ..options()
    });
    check(InitOptions {
        root_years: 51,
        ..options()
    });
    check(InitOptions {
        subject: DistinguishedName::parse("CN=Mine,O=Example").expect("a DN"),
        ..options()
    });
}

#[tokio::test]
async fn interrupted_init_is_recognised_and_redone_at_every_step() {
    let whole = Folder::new();
    whole.init();
    let made = ["inventory.db", "meta.json", "ca.pem", "ca"];
    for moved in 0..=made.len() {
        let folder = Folder::new();
        folder.init();
        // As a crash leaves it after `moved` renames: the rest, and the format file, still in the scaffold.
        let scaffold = folder.path.join(".init");
        fs::create_dir(&scaffold).expect("creates");
        for name in made[moved..].iter().chain(&["format"]) {
            fs::rename(folder.path.join(name), scaffold.join(name)).expect(name);
        }
        let state = folder.state();
        assert!(!state.is_initialised(), "{moved}");
        let opened = Authority::open(
            state.clone(),
            state.lock().expect("locks"),
            &Passphrase::StateFile,
            clock(),
        );
        assert!(
            matches!(opened.err(), Some(OpenError::NotInitialised { .. })),
            "{moved}"
        );
        run(&state, options()).expect("redone");
        folder
            .open(&Arc::new(ManualClock::new(BORN)))
            .ready()
            .await
            .expect("works");
    }
}

#[test]
fn scaffold_left_after_the_format_file_is_no_harm() {
    let folder = Folder::new();
    folder.init();
    fs::create_dir(folder.path.join(".init")).expect("creates");
    assert!(folder.state().is_initialised());
    assert!(matches!(
        run(&folder.state(), options()),
        Err(InitError::AlreadyInitialised { .. })
    ));
}

#[test]
fn whole_ca_that_lost_its_format_file_is_not_taken_for_an_interrupted_init() {
    let folder = Folder::new();
    folder.init();
    let state = folder.state();
    let root = fs::read(folder.path.join("ca/root.pem")).expect("reads");
    // As a crash leaves it between the format file and the removal of the scaffold; then the format file is lost.
    fs::create_dir(folder.path.join(".init")).expect("creates");
    fs::remove_file(folder.path.join("format")).expect("removes");
    assert!(matches!(
        StateFolder::prepare(&folder.path),
        Err(StateError::FormatMissing { .. })
    ));
    assert!(matches!(
        run(&state, options()),
        Err(InitError::State(StateError::FormatMissing { .. }))
    ));
    assert_eq!(
        fs::read(folder.path.join("ca/root.pem")).expect("reads"),
        root
    );
}

#[tokio::test]
async fn given_passphrase_is_not_kept_and_a_wrong_one_is_reported() {
    let folder = Folder::new();
    let state = folder.state();
    run(
        &state,
        InitOptions {
            passphrase: Some(Secret::new(b"correct horse".to_vec())),
            key_derivation: CHEAP,
            ..options()
        },
    )
    .expect("initialises");
    assert!(!folder.path.join("ca/passphrase").exists());
    let open = |path: &Path| {
        Authority::open(
            state.clone(),
            state.lock().expect("locks"),
            &Passphrase::FromFile(path.to_owned()),
            clock(),
        )
    };
    let missing = folder.path.join("missing");
    assert!(matches!(
        open(&missing).err(),
        Some(OpenError::Passphrase(_))
    ));

    let given = folder.path.join("refusals");
    fs::write(&given, "correct horse\n").expect("writes");
    open(&given)
        .expect("opens")
        .ready()
        .await
        .expect("the right one");

    fs::write(&given, "wrong horse\n").expect("writes");
    let authority = open(&given).expect("serves what needs no key");
    let error = authority.ready().await.expect_err("the wrong one");
    assert!(
        error
            .to_string()
            .contains("the passphrase does not open the sealed key"),
        "{error}"
    );
    assert!(error.hint.is_some());
    let status = authority.status().await.expect("status");
    assert_eq!(
        status.issuing,
        countersign_authority::api::IssuingState::Failed
    );
}

#[tokio::test]
async fn clock_before_the_birth_of_the_ca_is_refused_with_both_times() {
    let folder = Folder::new();
    folder.init();
    let state = folder.state();
    let early: SharedClock = Arc::new(ManualClock::new(BORN - 2 * 3600));
    let error = Authority::open(
        state.clone(),
        state.lock().expect("locks"),
        &Passphrase::StateFile,
        early,
    )
    .err()
    .expect("refused");
    assert!(matches!(error, OpenError::ClockBeforeBirth { .. }));
    assert!(
        error.to_string().contains("2027-01-15T06:00:00Z")
            && error.to_string().contains("2027-01-15T07:00:00Z"),
        "{error}"
    );
    assert!(error.hint().is_some());
}

#[tokio::test]
async fn files_of_two_authorities_do_not_mix() {
    let (folder, other) = (Folder::new(), Folder::new());
    folder.init();
    other.init();
    fs::copy(
        other.path.join("ca/operator.pem"),
        folder.path.join("ca/operator.pem"),
    )
    .expect("copies");
    let state = folder.state();
    let error = Authority::open(
        state.clone(),
        state.lock().expect("locks"),
        &Passphrase::StateFile,
        clock(),
    )
    .err()
    .expect("refused");
    assert!(matches!(error, OpenError::Mixed { .. }), "{error}");
}

#[tokio::test]
async fn opening_does_not_wait_for_the_key_and_the_lock_lasts_as_long_as_the_authority() {
    let folder = Folder::new();
    let state = folder.state();
    run(
        &state,
        InitOptions {
            key_derivation: countersign_authority::sealed::KeyDerivation::default(),
            ..options()
        },
    )
    .expect("initialises");
    let authority = folder.open(&Arc::new(ManualClock::new(BORN)));
    assert!(matches!(
        *authority.unsealed().borrow(),
        countersign_authority::authority::Unsealing::Running
    ));
    authority.ready().await.expect("in a moment");
    state.lock().expect_err("in use");
    drop(authority);
    state.lock().map(drop).expect("free");
}

#[tokio::test]
async fn list_of_nodes_that_cannot_be_read_is_no_empty_one() {
    let fixture = Fixture::new();
    let path = fixture.folder.path.join("nodes.json");
    let Fixture {
        authority,
        clock,
        folder,
    } = fixture;
    drop(authority);
    let open = || {
        let state = folder.state();
        let lock = state.lock().expect("locks");
        Authority::open(state, lock, &Passphrase::StateFile, clock.clone()).map(drop)
    };
    for spoilt in ["", "{", "[]", "{\"gw-1\": 5}", "\0\0\0"] {
        fs::write(&path, spoilt).expect("ours");
        let error = open().expect_err(spoilt);
        assert!(matches!(error, OpenError::Nodes { .. }), "{error}");
        assert!(error.to_string().contains("nodes.json"), "{error}");
        let hint = error.hint().expect("what to do");
        assert!(
            hint.contains("move") && hint.contains("revoke --wait"),
            "{hint}"
        );
        let kept = fs::read_to_string(&path).expect("there");
        assert_eq!(kept, spoilt, "nothing is written over it");
    }
    fs::remove_file(&path).expect("ours");
    fs::create_dir(&path).expect("ours");
    assert!(matches!(open(), Err(OpenError::Nodes { .. })));
    fs::remove_dir(&path).expect("ours");
    open().expect("nobody has joined");
}

fn clock() -> SharedClock {
    Arc::new(ManualClock::new(BORN))
}
