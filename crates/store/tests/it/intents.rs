//! Intent before signature, certificate before answer, and an audit record with each.

use std::collections::BTreeSet;
use std::sync::Arc;

use countersign_pki::feed::RevocationReason;
use countersign_store::audit::Action;
use countersign_store::error::StoreError;
use countersign_store::inventory::{Filter, Selector, Status};
use tokio::task::JoinSet;

use crate::fixture::{ADMIN, Fixture, HOUR, now};

#[tokio::test]
async fn intent_is_on_disk_before_there_is_anything_to_sign_and_the_certificate_before_the_answer()
{
    let fixture = Fixture::new();
    let intended = fixture.intend("api", HOUR).await;
    assert_eq!(fixture.count("intent", intended.id()), 1);
    assert_eq!(fixture.count("certificate", intended.id()), 0);
    let signature = fixture.sign(&intended);
    let stored = fixture
        .store
        .complete(intended, &signature, now())
        .await
        .expect("completes");
    assert_eq!(fixture.count("certificate", stored.id()), 1);
    // Its bytes stand in the certificate.
    assert_eq!(fixture.count("intent", stored.id()), 0);
}

#[tokio::test]
async fn serial_whose_signing_was_interrupted_is_listed_and_can_be_revoked() {
    let fixture = Fixture::new();
    let serial = fixture.intend("lost", HOUR).await.serial();
    let fixture = fixture.reopened();
    let page = fixture
        .store
        .list(Filter::default(), None, 10, now())
        .await
        .expect("lists");
    assert_eq!(
        page.entries
            .iter()
            .map(|entry| entry.serial)
            .collect::<Vec<_>>(),
        [serial]
    );
    assert_eq!(page.entries[0].status_at(now()), Status::Unknown);
    assert!(
        page.entries[0]
            .names
            .iter()
            .any(|name| name.to_string() == "cn:lost")
    );

    let outcome = fixture
        .store
        .revoke(
            Selector::Serial(serial),
            ADMIN,
            RevocationReason::Unspecified,
            now(),
        )
        .await
        .expect("revokes");
    assert_eq!(outcome.changed.count, 1);
    let entry = fixture
        .store
        .find(Selector::Serial(serial))
        .await
        .expect("finds")
        .entries
        .remove(0);
    assert_eq!(entry.status_at(now()), Status::Revoked);
}

#[tokio::test]
async fn serial_is_reserved_once() {
    let fixture = Fixture::new();
    let intend = |name| {
        fixture.store.intend(
            fixture.approved_with(name, HOUR, [9; 20]),
            fixture.issuer,
            None,
            String::new(),
            now(),
        )
    };
    let first = intend("first").await.expect("intends");
    let second = intend("second").await.expect_err("the serial is taken");
    assert_eq!(
        second,
        StoreError::SerialTaken {
            serial: first.serial()
        }
    );
    let page = fixture
        .store
        .list(Filter::default(), None, 10, now())
        .await
        .expect("lists");
    assert_eq!(
        page.entries.len(),
        1,
        "a refused change leaves nothing behind"
    );
}

#[tokio::test]
async fn concurrent_changes_share_transactions_and_one_that_fails_leaves_the_others() {
    let fixture = Arc::new(Fixture::new());
    let mut tasks = JoinSet::new();
    for number in 0..64 {
        let fixture = Arc::clone(&fixture);
        tasks.spawn(async move {
            // Every eighth one asks for a serial that another one has.
            let mut random = [number; 20];
            random[1] = if number % 8 == 7 { 0xff } else { number };
            random[2..].fill(if number % 8 == 7 { 0xff } else { number });
            random[0] = if number % 8 == 7 { 0x40 } else { number };
            let approved = fixture.approved_with(&format!("n{number}"), HOUR, random);
            fixture
                .store
                .intend(approved, fixture.issuer, None, String::new(), now())
                .await
                .map(|intended| intended.serial())
        });
    }
    let outcomes: Vec<_> = tasks.join_all().await;
    let serials: BTreeSet<_> = outcomes
        .iter()
        .filter_map(|outcome| outcome.as_ref().ok())
        .collect();
    let refused = outcomes
        .iter()
        .filter(|outcome| matches!(outcome, Err(StoreError::SerialTaken { .. })))
        .count();
    assert_eq!((serials.len(), refused), (57, 7));
    let page = fixture
        .store
        .list(Filter::default(), None, 1000, now())
        .await
        .expect("lists");
    assert_eq!(
        page.entries
            .iter()
            .map(|entry| &entry.serial)
            .collect::<BTreeSet<_>>(),
        serials
    );
}

#[tokio::test]
async fn change_whose_caller_has_gone_is_made_all_the_same() {
    let fixture = Fixture::new();
    let intend = fixture.store.intend(
        fixture.approved("gone", HOUR),
        fixture.issuer,
        None,
        String::new(),
        now(),
    );
    let mut intend = Box::pin(intend);
    // One poll queues the change.
    let _queued = poll_once(intend.as_mut());
    drop(intend);
    let fixture = fixture.reopened();
    let page = fixture
        .store
        .list(Filter::default(), None, 10, now())
        .await
        .expect("lists");
    assert_eq!(page.entries.len(), 1);
}

#[tokio::test]
async fn revoked_certificate_has_no_successor() {
    let fixture = Fixture::new();
    let stored = fixture.issue("api", HOUR).await;
    let renew = || {
        fixture.store.intend(
            fixture.approved("api", HOUR),
            fixture.issuer,
            Some(stored.id()),
            String::new(),
            now(),
        )
    };
    renew().await.expect("a live one has");
    let serial = stored.certificate().serial();
    fixture
        .store
        .revoke(
            Selector::Serial(serial),
            ADMIN,
            RevocationReason::Unspecified,
            now(),
        )
        .await
        .expect("revokes");
    assert_eq!(
        renew().await.expect_err("refused"),
        StoreError::PredecessorRevoked { serial }
    );
}

#[tokio::test]
async fn every_change_has_its_audit_record_and_the_records_stay() {
    let fixture = Fixture::new();
    let stored = fixture.issue("api", HOUR).await;
    let serial = stored.certificate().serial();
    fixture
        .store
        .revoke(
            Selector::Serial(serial),
            ADMIN,
            RevocationReason::Unspecified,
            now(),
        )
        .await
        .expect("revokes");
    let records = fixture.store.audit(0, 100).await.expect("reads");
    let said: Vec<_> = records
        .iter()
        .map(|record| (record.action, record.object.as_str()))
        .collect();
    let serial = serial.to_string();
    let expected = [
        (Action::AddIssuer, "CN=Test Issuing CA"),
        (Action::Intend, &serial),
        (Action::Issue, &serial),
        (Action::Revoke, &serial),
    ];
    assert_eq!(said, expected);
    assert!(
        records[1..]
            .iter()
            .all(|record| record.actor == ADMIN && record.at == now())
    );
    assert_eq!(records[1].authenticated, "credentials of the local process");

    let second = rusqlite::Connection::open(&fixture.path).expect("opens");
    for statement in ["DELETE FROM audit", "UPDATE audit SET reason = ''"] {
        let error = second.execute(statement, []).expect_err("append-only");
        assert!(error.to_string().contains("append-only"), "{error}");
    }
}

#[tokio::test]
async fn refused_change_has_no_audit_record() {
    let fixture = Fixture::new();
    let intend = |random| {
        fixture.store.intend(
            fixture.approved_with("x", HOUR, random),
            fixture.issuer,
            None,
            String::new(),
            now(),
        )
    };
    intend([9; 20]).await.expect("intends");
    intend([9; 20]).await.expect_err("the serial is taken");
    assert_eq!(fixture.store.audit(1, 100).await.expect("reads").len(), 1);
}

fn poll_once<F: Future>(future: std::pin::Pin<&mut F>) -> std::task::Poll<F::Output> {
    future.poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
}
