//! A change is made by the right of whoever asked for it at the moment it is made.

use countersign_pki::feed::RevocationReason;
use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::identity::{BundleName, Identity};
use countersign_policy::administration::{Role, Roles};
use countersign_policy::issuance::{Actor, Profile};
use countersign_store::annotation::{Annotate, Owner};
use countersign_store::audit::Action;
use countersign_store::error::StoreError;
use countersign_store::intent::Stored;
use countersign_store::inventory::Selector;
use countersign_store::pause::Grounds;
use countersign_store::revocation::Withdrawal;

use crate::fixture::{ADMIN, Fixture, HOUR, now};

const COMPROMISE: Withdrawal = Withdrawal::Revoke(RevocationReason::KeyCompromise);
const HOLD: Withdrawal = Withdrawal::Revoke(RevocationReason::CertificateHold);

fn identity(name: &str) -> Identity {
    Identity {
        bundle: BundleName::operators(),
        name: name.parse().expect("a name"),
    }
}

fn operator(role: Role, certificate: Fingerprint) -> Actor {
    Actor::Operator {
        identity: identity("cn:olga"),
        role,
        certificate,
    }
}

fn is(role: Option<Role>) -> Roles {
    let mut roles = Roles::default();
    if let Some(role) = role {
        roles.bind("cn:olga".parse().expect("a name"), role);
    }
    roles
}

async fn olga(fixture: &Fixture) -> Stored {
    fixture.store.replace_roles(is(Some(Role::Operator)));
    let stored = fixture.issue("olga", HOUR).await;
    // The inventory of these tests has no operator issuer.
    let sql = rusqlite::Connection::open(&fixture.path).expect("opens");
    sql.execute(
        "UPDATE entry SET profile = 'operator' WHERE id = ?1",
        [stored.id().number()],
    )
    .expect("writes");
    stored
}

fn named(name: &str) -> Selector {
    Selector::Names(vec![format!("cn:{name}").parse().expect("a name")])
}

async fn annotate(fixture: &Fixture, actor: Actor) -> Result<(), StoreError> {
    let change = Annotate {
        owner: Some(Some(Owner::parse("somebody").expect("an owner"))),
        ..Annotate::default()
    };
    let done = fixture.store.annotate(named("app"), change, actor, now());
    done.await.map(drop)
}

#[track_caller]
fn assert_withdrawn(done: Result<(), StoreError>, words: &str) {
    match done {
        Err(StoreError::AccessWithdrawn { why, .. }) => assert!(why.contains(words), "{why}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn change_that_waits_behind_the_revocation_of_who_asked_for_it_is_not_made() {
    let fixture = Fixture::new();
    fixture.issue("app", HOUR).await;
    let own = olga(&fixture).await;
    let fingerprint = own.certificate().fingerprint();
    let actor = operator(Role::Operator, fingerprint);
    annotate(&fixture, actor.clone()).await.expect("may");

    // Asked for at the same time: the revocation comes first.
    let store = &fixture.store;
    let selection = Selector::Serial(own.certificate().serial());
    let revocation = store.withdraw(selection.into(), COMPROMISE, None, ADMIN, now());
    let withdrawal = store.withdraw(named("app").into(), HOLD, None, actor.clone(), now());
    let approved = fixture.approved_for(operator(Role::Issuer, fingerprint), "next");
    let issuing = store.intend(approved, fixture.issuer, None, String::new(), now());
    let (revoked, withdrawn, intended, annotated) = tokio::join!(
        biased;
        revocation,
        withdrawal,
        issuing,
        annotate(&fixture, actor.clone()),
    );
    assert_eq!(revoked.expect("revokes").changed.count, 1);
    assert_withdrawn(withdrawn.map(drop), "is revoked");
    assert_withdrawn(intended.map(drop), "is revoked");
    assert_withdrawn(annotated, "is revoked");
    let resumed = store.resume(Grounds::Word, String::new(), actor.clone(), now());
    assert_withdrawn(resumed.await.map(drop), "is revoked");
    let prune = store.drop_ended(Vec::new(), now(), String::new(), actor.clone(), now());
    assert_withdrawn(prune.await.map(drop), "is revoked");
    assert_withdrawn(store.record_backup(actor, now()).await, "is revoked");

    let records = fixture.store.audit(0, 100).await.expect("reads");
    let refused = records.iter().filter(|it| it.action == Action::Refuse);
    assert_eq!(refused.count(), 6);
    let held = records.iter().filter(|it| it.action == Action::Hold);
    assert_eq!(held.count(), 0);
}

#[tokio::test]
async fn role_certificate_and_profile_are_those_of_the_moment() {
    let fixture = Fixture::new();
    let app = fixture.issue("app", HOUR).await;
    let own = olga(&fixture).await.certificate().fingerprint();
    for (role, words) in [
        (None, "has no role"),
        (Some(Role::Viewer), "it was operator, and is viewer"),
    ] {
        fixture.store.replace_roles(is(role));
        assert_withdrawn(
            annotate(&fixture, operator(Role::Operator, own)).await,
            words,
        );
    }
    fixture.store.replace_roles(is(Some(Role::Admin)));
    annotate(&fixture, operator(Role::Operator, own))
        .await
        .expect("may more than before");
    let other = app.certificate().fingerprint();
    assert_withdrawn(
        annotate(&fixture, operator(Role::Operator, other)).await,
        "is of profile client",
    );
    let unknown = Fingerprint::of(b"nobody's");
    assert_withdrawn(
        annotate(&fixture, operator(Role::Operator, unknown)).await,
        "has no certificate",
    );
    let holder = |certificate| Actor::Holder {
        identity: identity("cn:app"),
        profile: Profile::CLIENT,
        certificate,
    };
    assert_withdrawn(annotate(&fixture, holder(None)).await, "no certificate");
    annotate(&fixture, holder(Some(other))).await.expect("live");
    let held = fixture
        .store
        .withdraw(named("app").into(), HOLD, None, ADMIN, now());
    held.await.expect("holds");
    assert_withdrawn(annotate(&fixture, holder(Some(other))).await, "is revoked");
    let ended = now().plus(HOUR * 2);
    let backup = fixture
        .store
        .record_backup(operator(Role::Operator, own), ended);
    assert_withdrawn(backup.await, "ended at");
}
