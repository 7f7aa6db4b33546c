//! Revocation, its receipt, and the feed.

use std::time::Duration;

use countersign_authority::authority::RevokeError;
use countersign_authority::feed::Subscription;
use countersign_authority::receipt::Receipt;
use countersign_authority::what::Meant;
use countersign_pki::certificate::Certificate;
use countersign_pki::feed::{Acknowledgement, Body, Message, Position, RevocationReason, Sequence};
use countersign_pki::serial::SerialNumber;
use countersign_store::audit::log::AuditLog;
use countersign_store::inventory::{Filter, IssuerFilter};
use countersign_store::revocation::Withdrawal;

use crate::fixture::{ADMIN, BORN, DAY_S, Fixture, client, what};

const WAIT: Option<Duration> = Some(Duration::from_secs(30));

fn acknowledgement(node: &str, message: &Message) -> Acknowledgement {
    Acknowledgement {
        node: node.to_owned(),
        history: message.history.clone(),
        sequence: message.sequence,
        sessions_declined: 2,
        connections_cut: 3,
    }
}

/// A node that puts every message in force at once.
fn obedient(mut subscription: Subscription, node: &'static str) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        let mut position = Position::at(subscription.snapshot());
        while let Some(message) = subscription.next().await {
            position = position.advance(&message).expect("in order");
            subscription.acknowledge(acknowledgement(node, &message));
        }
    })
}

async fn revoke(fixture: &Fixture, name: &str, wait: Option<Duration>) -> Receipt {
    fixture
        .authority
        .revoke(ADMIN, &what(name), RevocationReason::KeyCompromise, wait)
        .await
        .expect("revokes")
}

#[tokio::test]
async fn receipt_says_what_each_node_did() {
    let fixture = Fixture::new();
    let serials = [
        fixture.issue("you").await.serial,
        fixture.issue("you").await.serial,
    ];
    let node = obedient(
        fixture.authority.subscribe("gateway").await.expect("joins"),
        "gateway",
    );
    let receipt = revoke(&fixture, "you", WAIT).await;
    assert_eq!(
        receipt
            .changed
            .first
            .iter()
            .map(|it| it.serial)
            .rev()
            .collect::<Vec<_>>(),
        serials
    );
    assert!(receipt.changed.first.iter().all(|it| {
        it.name
            .as_ref()
            .is_some_and(|name| name.to_string() == "cn:you")
            && it.fingerprint.is_some()
    }));
    let [told] = &receipt.nodes[..] else {
        panic!("{receipt:?}")
    };
    assert!(told.confirmed && told.after_ms.is_some());
    // One message for both certificates.
    assert_eq!((told.sessions_declined, told.connections_cut), (2, 3));
    assert_eq!(receipt.unconfirmed().count(), 0);
    node.abort();
}

#[tokio::test(start_paused = true)]
async fn node_that_does_not_confirm_is_named_after_the_wait_and_the_revocation_stands() {
    let fixture = Fixture::new();
    fixture.issue("you").await;
    let node = obedient(
        fixture.authority.subscribe("good").await.expect("joins"),
        "good",
    );
    let _silent = fixture.authority.subscribe("silent").await.expect("joins");
    let receipt = revoke(&fixture, "you", WAIT).await;
    assert_eq!(receipt.unconfirmed().collect::<Vec<_>>(), ["silent"]);
    assert_eq!(
        receipt.nodes.iter().filter(|node| node.confirmed).count(),
        1
    );
    assert_eq!(fixture.authority.tally().await.expect("counts").revoked, 1);
    node.abort();
}

#[tokio::test]
async fn node_that_rejoins_confirms_by_its_snapshot() {
    let fixture = Fixture::new();
    fixture.issue("you").await;
    let first = fixture.authority.subscribe("gateway").await.expect("joins");
    let (receipt, ()) = tokio::join!(revoke(&fixture, "you", WAIT), async {
        let mut first = first;
        let message = first.next().await.expect("told");
        drop(first);
        let again = fixture
            .authority
            .subscribe("gateway")
            .await
            .expect("joins again");
        assert_eq!(again.snapshot().revoked.len(), 1);
        again.acknowledge(acknowledgement("gateway", &message));
    });
    assert_eq!(receipt.unconfirmed().count(), 0);
}

#[tokio::test]
async fn revoking_twice_succeeds_and_says_so() {
    let fixture = Fixture::new();
    fixture.issue("you").await;
    let first = revoke(&fixture, "you", None).await;
    let second = revoke(&fixture, "you", None).await;
    assert_eq!((second.changed.count, &second.already), (0, &first.changed));
    assert_eq!(second.sequence, first.sequence);
}

#[tokio::test]
async fn expired_name_is_revoked_and_unknown_ones_are_refused() {
    let fixture = Fixture::new();
    fixture.issue_for("short", DAY_S).await.expect("issues");
    fixture.clock.advance(Duration::from_secs(2 * DAY_S));
    let refuse = async |name: &str| {
        fixture
            .authority
            .revoke(ADMIN, &what(name), RevocationReason::Unspecified, None)
            .await
            .expect_err("refused")
    };
    assert_eq!(revoke(&fixture, "short", None).await.changed.count, 1);
    assert!(matches!(
        refuse("nobody").await,
        RevokeError::NotFound { .. }
    ));
    assert!(matches!(
        refuse(&"ab".repeat(32)).await,
        RevokeError::NotFound { .. }
    ));
    assert!(
        matches!(refuse("\u{1b}[31m").await, RevokeError::NotFound { what } if what == "\"\\u{1b}[31m\"")
    );
}

#[tokio::test]
async fn number_of_a_cas_own_certificate_is_revoked_where_another_issuer_is_named() {
    let fixture = Fixture::new();
    let authority = &fixture.authority;
    let (root, issuing) = (authority.root(), authority.intermediate());
    let withdraw = async |serial: SerialNumber, issuer: Option<&Certificate>| {
        let subject = |it: &Certificate| IssuerFilter::Subject(it.subject().to_string());
        let meant = Meant {
            filter: Filter {
                issuer: issuer.map(subject),
                ..Filter::default()
            },
            is_unrecorded: true,
            ..Meant::just(what(&serial.to_string()))
        };
        let withdrawal = Withdrawal::Revoke(RevocationReason::KeyCompromise);
        authority
            .withdraw(ADMIN, &meant, withdrawal, None, None)
            .await
    };
    for (serial, issuer) in [
        (issuing.serial(), None),
        (issuing.serial(), Some(root)),
        (root.serial(), None),
        (root.serial(), Some(root)),
    ] {
        let refused = withdraw(serial, issuer).await.expect_err("a CA's own");
        assert!(
            matches!(refused, RevokeError::OwnCertificate { .. }),
            "{refused}"
        );
    }
    assert_eq!(authority.tally().await.expect("counts").revoked, 0);
    for own in [issuing, root] {
        let receipt = withdraw(own.serial(), Some(issuing)).await.expect("a leaf");
        assert_eq!(receipt.changed.count, 1);
    }
    // What is told is the leaf, not the CA.
    let told = authority.subscribe("node").await.expect("joins");
    let mut told: Vec<_> = (told.snapshot().revoked.iter())
        .map(|it| (it.issuer_key, it.serial))
        .collect();
    let mut expected = [issuing, root].map(|own| (issuing.spki(), own.serial()));
    told.sort_unstable();
    expected.sort_unstable();
    assert_eq!(told, expected);
    authority
        .issue(ADMIN, client("still"))
        .await
        .expect("the CA itself is as good as before");
}

#[tokio::test]
async fn node_cannot_speak_for_another_nor_of_what_it_was_not_told() {
    let fixture = Fixture::new();
    fixture.issue("you").await;
    let mut good = fixture.authority.subscribe("good").await.expect("joins");
    let evil = fixture.authority.subscribe("evil").await.expect("joins");
    let confirmed = revoke(&fixture, "you", None).await;
    let message = good.next().await.expect("told");
    evil.acknowledge(acknowledgement("good", &message));
    let future = Message {
        sequence: Sequence(message.sequence.0 + 100),
        ..message.clone()
    };
    good.acknowledge(acknowledgement("good", &future));
    let mut foreign = acknowledgement("good", &message);
    foreign.history.0.push('x');
    good.acknowledge(foreign);
    let receipt = revoke(&fixture, "you", None).await;
    assert_eq!(
        (
            confirmed.unconfirmed().count(),
            receipt.unconfirmed().count()
        ),
        (2, 2)
    );
    good.acknowledge(acknowledgement("good", &message));
    assert_eq!(
        revoke(&fixture, "you", None)
            .await
            .unconfirmed()
            .collect::<Vec<_>>(),
        ["evil"]
    );
}

#[tokio::test]
async fn slow_node_loses_its_place_and_a_new_one_of_its_name_takes_it() {
    let fixture = Fixture::new();
    let mut slow = fixture.authority.subscribe("slow").await.expect("joins");
    for _ in 0..300 {
        fixture.authority.confirm().await.expect("confirms");
    }
    let mut heard = 0;
    while slow.next().await.is_some() {
        heard += 1;
    }
    assert_eq!(heard, 256);
    let mut old = fixture.authority.subscribe("node").await.expect("joins");
    let mut new = fixture.authority.subscribe("node").await.expect("joins");
    assert!(old.next().await.is_none());
    drop(old);
    fixture.authority.confirm().await.expect("confirms");
    assert!(new.next().await.is_some());
}

#[tokio::test(start_paused = true)]
async fn heartbeat_confirms_the_place_and_the_time_until_the_drain() {
    let fixture = Fixture::new();
    let mut node = fixture.authority.subscribe("node").await.expect("joins");
    let (trigger, drain) = countersign_runtime::drain::drain();
    let authority = fixture.authority.clone();
    let heartbeat = tokio::spawn(async move { authority.heartbeat(drain).await });
    let first = node.next().await.expect("told");
    fixture.clock.advance(Duration::from_secs(10));
    let second = node.next().await.expect("told again");
    for message in [&first, &second] {
        assert_eq!(
            (&message.body, message.sequence),
            (&Body::Confirmed {}, node.snapshot().sequence)
        );
    }
    assert_eq!(second.at.since(first.at), Duration::from_secs(10));
    drop(trigger);
    heartbeat.await.expect("ends");
}

#[tokio::test]
async fn node_that_joins_during_revocations_misses_none() {
    let fixture = Fixture::new();
    for number in 0..40 {
        fixture.issue(&format!("n{number}")).await;
    }
    let revoking = async {
        for number in 0..40 {
            revoke(&fixture, &format!("n{number}"), None).await;
        }
    };
    let joining = async {
        let mut known = Vec::new();
        for number in 0..20 {
            let mut node = fixture
                .authority
                .subscribe(&format!("node{number}"))
                .await
                .expect("joins");
            let mut position = Position::at(node.snapshot());
            let mut revoked = node.snapshot().revoked.len();
            while revoked < 40 {
                let message = node.next().await.expect("told");
                position = position
                    .advance(&message)
                    .expect("no gap and nothing twice");
                revoked += 1;
            }
            known.push(revoked);
        }
        known
    };
    let ((), known) = tokio::join!(revoking, joining);
    assert_eq!(known, [40; 20]);
}

#[tokio::test]
async fn revocations_survive_a_restart_in_the_same_history() {
    let fixture = Fixture::new();
    fixture.issue("you").await;
    let receipt = revoke(&fixture, "you", None).await;
    let Fixture {
        authority,
        clock,
        folder,
    } = fixture;
    drop(authority);
    let authority = folder.open(&clock);
    let node = authority.subscribe("node").await.expect("joins");
    assert_eq!(
        (&node.snapshot().history, node.snapshot().sequence),
        (&receipt.history, receipt.sequence)
    );
    assert_eq!(node.snapshot().revoked.len(), 1);
    assert_eq!(
        authority
            .list(Filter::default(), None, 10)
            .await
            .expect("lists")
            .entries
            .len(),
        1
    );
}

#[tokio::test]
async fn clock_that_jumps_changes_no_order_and_drops_nothing() {
    let fixture = Fixture::new();
    let mut last = fixture.authority.feed_position().await.expect("reads").1;
    let mut serials = Vec::new();
    // Ten years ahead, back again, an hour before birth, and on.
    for (number, jump) in [0, 10 * 365 * DAY_S, 0, 5, 400 * DAY_S, 10]
        .into_iter()
        .enumerate()
    {
        fixture.clock.set(BORN + jump);
        let name = format!("client-{number}");
        // Past the end of its issuers nothing is issued; what is there can be revoked all the same.
        let revoked = match fixture.authority.issue(ADMIN, client(&name)).await {
            Ok(issued) => issued.serial,
            Err(error) => {
                assert!(jump > 5 * 365 * DAY_S, "{error}");
                continue;
            }
        };
        let reason = RevocationReason::KeyCompromise;
        let receipt = fixture
            .authority
            .revoke(ADMIN, &what(&name), reason, None)
            .await;
        let sequence = receipt.expect("revokes").sequence;
        assert_eq!(sequence.0, last.0 + 1, "numbers do not follow the clock");
        last = sequence;
        serials.push(revoked);
    }
    fixture.clock.set(BORN + 10 * 365 * DAY_S);
    let snapshot = fixture.authority.subscribe("gateway").await.expect("joins");
    let held: Vec<_> = snapshot
        .snapshot()
        .revoked
        .iter()
        .map(|it| it.serial)
        .collect();
    assert!(serials.len() == 5 && serials.iter().all(|serial| held.contains(serial)));
    fixture.clock.set(BORN);
    let kept = fixture
        .authority
        .show(&what("client-0"))
        .await
        .expect("is there");
    assert!(kept.entries[0].revocation.is_some());
    let whole = AuditLog::open(&fixture.folder.path.join("inventory.db"))
        .expect("opens")
        .verify(None);
    whole.expect("the log is in the order of what happened, whatever the times in it");
}
