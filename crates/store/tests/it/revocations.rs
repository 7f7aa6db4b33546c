//! Revocations and the feed's log.

use std::time::Duration;

use countersign_pki::feed::{Body, RevocationReason, Sequence};
use countersign_store::inventory::Selector;

use crate::fixture::{ADMIN, BASE, Fixture, HOUR, now};

fn name(text: &str) -> Selector {
    Selector::Names(vec![text.parse().expect("a name")])
}

async fn revoke(fixture: &Fixture, selector: Selector, after: Duration) -> (u64, u64) {
    let at = now().plus(after);
    let outcome = fixture
        .store
        .revoke(selector, ADMIN, RevocationReason::KeyCompromise, at)
        .await
        .expect("answers");
    (outcome.changed.count, outcome.already.count)
}

#[tokio::test]
async fn name_revokes_every_live_certificate_of_that_name_and_an_open_intent() {
    let fixture = Fixture::new();
    fixture.issue("api", HOUR).await;
    fixture.issue("api", 30 * HOUR).await;
    fixture.intend("api", 30 * HOUR).await;
    fixture.issue("other", 30 * HOUR).await;
    assert_eq!(revoke(&fixture, name("cn:api"), 2 * HOUR).await, (2, 0));
    assert_eq!(revoke(&fixture, name("cn:api"), 2 * HOUR).await, (0, 2));
    assert_eq!(revoke(&fixture, name("cn:nobody"), 2 * HOUR).await, (0, 0));
}

#[tokio::test]
async fn expired_certificate_is_revoked_by_its_serial() {
    let fixture = Fixture::new();
    let stored = fixture.issue("api", HOUR).await;
    assert_eq!(
        revoke(
            &fixture,
            Selector::Serial(stored.certificate().serial()),
            2 * HOUR
        )
        .await,
        (1, 0)
    );
}

#[tokio::test]
async fn first_revocation_stands() {
    let fixture = Fixture::new();
    let serial = fixture.issue("api", HOUR).await.certificate().serial();
    revoke(&fixture, Selector::Serial(serial), Duration::ZERO).await;
    let again = fixture
        .store
        .revoke(
            Selector::Serial(serial),
            ADMIN,
            RevocationReason::Superseded,
            now().plus(HOUR),
        )
        .await;
    let revocation = again.expect("answers").already.first[0]
        .revocation
        .expect("revoked");
    assert_eq!(
        (revocation.reason, revocation.revoked_at),
        (RevocationReason::KeyCompromise, now())
    );
}

#[tokio::test]
async fn feed_is_told_in_order_after_the_commit_and_survives() {
    let fixture = Fixture::new();
    fixture.issue("api", HOUR).await;
    fixture.issue("third", HOUR).await;
    let serial = fixture.issue("other", HOUR).await.certificate().serial();
    revoke(&fixture, name("cn:api"), Duration::ZERO).await;
    revoke(&fixture, name("cn:third"), Duration::ZERO).await;
    for _ in 0..2 {
        fixture.issue("two", HOUR).await;
    }
    revoke(&fixture, name("cn:two"), Duration::ZERO).await;
    revoke(&fixture, Selector::Serial(serial), Duration::ZERO).await;
    let told = fixture.told.lock().expect("no panic").clone();
    let sequences: Vec<u64> = told.iter().map(|message| message.sequence.0).collect();
    assert_eq!(sequences, [BASE + 1, BASE + 2, BASE + 3, BASE + 4]);
    // What is revoked together is told together.
    assert!(
        matches!(&told[2].body, Body::RevokedTogether { certificates } if certificates.iter().count() == 2)
    );
    assert!(matches!(told[3].body, Body::Revoked(revoked) if revoked.serial == serial));

    let fixture = fixture.reopened();
    assert_eq!(fixture.store.opened_at(), Sequence(BASE + 4));
    assert_eq!(
        fixture
            .store
            .messages(Sequence(BASE), 100)
            .await
            .expect("reads"),
        told
    );
    assert_eq!(
        fixture
            .store
            .messages(Sequence(BASE + 3), 100)
            .await
            .expect("reads"),
        told[3..]
    );
}

#[tokio::test]
async fn snapshot_holds_every_revocation_whatever_the_clock_says() {
    let fixture = Fixture::new();
    assert_eq!(
        fixture.store.snapshot(now()).await.expect("reads").sequence,
        Sequence(BASE)
    );
    let short = fixture.issue("short", HOUR).await.certificate().serial();
    let long = fixture
        .issue("long", 200 * HOUR)
        .await
        .certificate()
        .clone();
    fixture.issue("live", 200 * HOUR).await;
    revoke(&fixture, Selector::Serial(short), Duration::ZERO).await;
    revoke(
        &fixture,
        Selector::Fingerprint(long.fingerprint()),
        Duration::ZERO,
    )
    .await;

    // The last is a clock that runs years ahead: once it is set back, both certificates are within their time again.
    for ahead in [2 * HOUR, 48 * HOUR, 50_000 * HOUR] {
        let snapshot = fixture
            .store
            .snapshot(now().plus(ahead))
            .await
            .expect("reads");
        assert_eq!(snapshot.sequence, Sequence(BASE + 2));
        let serials: Vec<_> = snapshot.revoked.iter().map(|it| it.serial).collect();
        assert!(
            serials.len() == 2 && serials.contains(&short) && serials.contains(&long.serial()),
            "{ahead:?}"
        );
        assert!(
            snapshot
                .revoked
                .iter()
                .all(|it| it.issuer_key == fixture.store.issuers()[0].certificate.spki())
        );
    }
}

#[tokio::test]
async fn parts_together_are_the_snapshot_whatever_their_size() {
    let fixture = Fixture::new();
    for _ in 0..7 {
        fixture.issue("api", HOUR).await;
    }
    fixture.issue("live", HOUR).await;
    revoke(&fixture, name("cn:api"), Duration::ZERO).await;
    let mut whole = fixture.store.snapshot(now()).await.expect("reads").revoked;
    whole.sort_by_key(|revoked| revoked.serial);
    for limit in [1, 2, 7, 8] {
        let (mut parts, mut after, mut reads) = (Vec::new(), None, 0);
        loop {
            let part = fixture.store.part(after, limit).await.expect("reads");
            assert!(part.revoked.len() <= limit as usize);
            parts.extend(part.revoked);
            reads += 1;
            after = part.next;
            if after.is_none() {
                break;
            }
            assert!(reads < 100, "no end");
        }
        parts.sort_by_key(|revoked| revoked.serial);
        assert_eq!(parts, whole, "{limit}");
    }
    let empty = Fixture::new();
    let part = empty.store.part(None, 5).await.expect("reads");
    assert!(part.revoked.is_empty() && part.next.is_none());
}
