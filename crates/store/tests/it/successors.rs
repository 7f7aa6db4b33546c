//! What has been renewed lives on when what it came of is withdrawn, and whoever withdraws is told.

use std::time::Duration;

use countersign_pki::feed::RevocationReason;
use countersign_store::intent::Stored;
use countersign_store::inventory::{Filter, Selector};
use countersign_store::revocation::{Ended, Selection, Shown, Withdrawal};

use crate::fixture::{ADMIN, Fixture, HOUR, now};

const COMPROMISE: Withdrawal = Withdrawal::Revoke(RevocationReason::KeyCompromise);
const HOLD: Withdrawal = Withdrawal::Revoke(RevocationReason::CertificateHold);

async fn renew(fixture: &Fixture, predecessor: &Stored, lifetime: Duration) -> Stored {
    let approved = fixture.approved("alice", lifetime);
    let (of, why) = (Some(predecessor.id()), String::new());
    let intended = fixture
        .store
        .intend(approved, fixture.issuer, of, why, now());
    let intended = intended.await.expect("renews");
    let signature = fixture.sign(&intended);
    let stored = fixture.store.complete(intended, &signature, now()).await;
    stored.expect("completes")
}

fn only(stored: &Stored) -> Selection {
    Selector::Serial(stored.certificate().serial()).into()
}

/// As the preview and the withdrawal itself say it.
async fn told(fixture: &Fixture, selection: Selection, withdrawal: Withdrawal) -> (Shown, Shown) {
    let (store, selected) = (&fixture.store, selection.clone());
    let preview = store.preview_withdrawal(selected, withdrawal, None, &ADMIN, now());
    let preview = preview.await.expect("answers").outcome.successors;
    let done = store.withdraw(selection, withdrawal, None, ADMIN, now());
    (preview, done.await.expect("answers").successors)
}

fn serials(shown: &Shown) -> Vec<String> {
    let mut serials: Vec<String> = shown.first.iter().map(|it| it.serial.to_string()).collect();
    serials.sort();
    assert_eq!(shown.count, serials.len() as u64);
    serials
}

#[track_caller]
fn check(told: &(Shown, Shown), expected: &[&Stored]) {
    let mut expected: Vec<String> = expected
        .iter()
        .map(|stored| stored.certificate().serial().to_string())
        .collect();
    expected.sort();
    assert_eq!(serials(&told.0), expected, "previewed");
    assert_eq!(serials(&told.1), expected, "done");
}

#[tokio::test]
async fn certificates_that_renewed_a_revoked_one_are_named_however_far_away() {
    let fixture = Fixture::new();
    let stolen = fixture.issue("alice", HOUR).await;
    let first = renew(&fixture, &stolen, HOUR * 2).await;
    let second = renew(&fixture, &first, HOUR * 3).await;
    let beside = renew(&fixture, &stolen, HOUR * 4).await;
    fixture.issue("bob", HOUR).await;

    // The last of a line has none.
    check(&told(&fixture, only(&second), HOLD).await, &[]);
    check(
        &told(&fixture, only(&stolen), COMPROMISE).await,
        &[&first, &beside],
    );
    // What came before is not what came of it.
    check(&told(&fixture, only(&first), COMPROMISE).await, &[]);
    // Asked again, it is said again.
    check(&told(&fixture, only(&stolen), COMPROMISE).await, &[&beside]);
    let released = told(&fixture, only(&second), Withdrawal::Release).await;
    check(&released, &[]);
    check(
        &told(&fixture, only(&stolen), COMPROMISE).await,
        &[&second, &beside],
    );
}

#[tokio::test]
async fn revocation_by_name_leaves_no_successor() {
    let fixture = Fixture::new();
    let stolen = fixture.issue("alice", HOUR).await;
    let first = renew(&fixture, &stolen, HOUR * 2).await;
    renew(&fixture, &first, HOUR * 3).await;
    let by_name = Selector::Names(vec!["cn:alice".parse().expect("a name")]);
    check(&told(&fixture, by_name.into(), COMPROMISE).await, &[]);
}

#[tokio::test]
async fn successor_that_may_have_been_signed_counts_and_one_that_has_ended_does_not() {
    let fixture = Fixture::new();
    let stolen = fixture.issue("alice", HOUR).await;
    renew(&fixture, &stolen, HOUR).await;
    let later = now().plus(HOUR * 2);
    let of = Some(stolen.id());
    let approved = fixture.approved("alice", HOUR * 4);
    let intended = fixture
        .store
        .intend(approved, fixture.issuer, of, String::new(), now());
    intended.await.expect("intends");
    let selection = Selection {
        filter: Filter {
            serial: Some(stolen.certificate().serial()),
            ..Filter::default()
        },
        ended: Ended::Included,
        unrecorded: None,
    };
    let done = fixture
        .store
        .withdraw(selection, COMPROMISE, None, ADMIN, later);
    let successors = done.await.expect("answers").successors;
    assert_eq!(successors.count, 1);
    assert_eq!(successors.first[0].fingerprint, None);
}
