//! What others rely on the order of: the feed's sequence and the audit chain, with writers that overtake each other and
//! one that stalls.

use std::sync::Arc;
use std::sync::mpsc;

use countersign_pki::feed::{Body, RevocationReason, Sequence};
use countersign_store::audit::Action;
use countersign_store::audit::log::AuditLog;
use countersign_store::error::StoreError;
use countersign_store::inventory::Selector;
use countersign_store::store::Store;

use crate::fixture::{ADMIN, BASE, Fixture, HOUR, now};

/// Three writers begin in one order, and end in another; a fourth holds the file meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn three_writers_and_one_that_stalls_leave_one_order_in_feed_and_log() {
    let fixture = Fixture::new();
    let mut names = Vec::new();
    for number in 0..ROUNDS {
        for writer in WRITERS {
            let name = format!("{writer}-{number}");
            fixture.issue(&name, HOUR).await;
            names.push(name);
        }
    }
    let gone = fixture.issue("gone", HOUR).await;
    revoke(Arc::clone(&fixture.store), "gone".to_owned()).await;
    names.push("gone".to_owned());
    for round in 0..ROUNDS {
        // What stalls: somebody else's transaction, begun before and ended after the three have queued.
        let (held, is_held) = mpsc::channel();
        let (release, released) = mpsc::channel::<()>();
        let path = fixture.path.clone();
        let stalling = std::thread::spawn(move || {
            let sql = rusqlite::Connection::open(path).expect("opens");
            sql.execute_batch("BEGIN IMMEDIATE")
                .expect("takes the lock");
            held.send(()).expect("the test waits");
            released.recv().expect("the test goes on");
            sql.execute_batch("ROLLBACK").expect("gives it back");
        });
        is_held.recv().expect("held");
        let mut writers: Vec<_> = (WRITERS.iter().rev())
            .map(|writer| {
                tokio::spawn(revoke(
                    Arc::clone(&fixture.store),
                    format!("{writer}-{round}"),
                ))
            })
            .collect();
        // One more, which fails in the middle of the others' transaction and is undone alone.
        let (store, issuer) = (Arc::clone(&fixture.store), fixture.issuer);
        let (failing, gone) = (fixture.approved("failing", HOUR), gone.id());
        writers.push(tokio::spawn(async move {
            let refused = store.intend(failing, issuer, Some(gone), "renews".to_owned(), now());
            let refused = refused.await.expect_err("its predecessor is revoked");
            assert!(
                matches!(refused, StoreError::PredecessorRevoked { .. }),
                "{refused}"
            );
            Sequence(0)
        }));
        release.send(()).expect("it stalls");
        stalling.join().expect("no panic");
        for writer in writers {
            writer.await.expect("no panic");
        }
    }
    let told = fixture.told.lock().expect("no panic").clone();
    let sequences: Vec<u64> = told.iter().map(|message| message.sequence.0).collect();
    let expected: Vec<u64> = (BASE + 1..=BASE + names.len() as u64).collect();
    assert_eq!(sequences, expected, "each number once, told in order");
    let kept = fixture.store.messages(Sequence(BASE), 1000).await;
    assert_eq!(kept.expect("reads"), told);
    // The log has them in the order of the feed.
    let records = fixture.store.audit(0, 10_000).await.expect("reads");
    let revoked: Vec<String> = (records.iter())
        .filter(|record| record.action == Action::Revoke)
        .map(|record| record.object.clone())
        .collect();
    let heard: Vec<String> = (told.iter())
        .map(|message| match &message.body {
            Body::Revoked(revoked) => revoked.serial.to_string(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(revoked, heard);
    let whole = AuditLog::open(&fixture.path).expect("opens").verify(None);
    let whole = whole.expect("whole");
    assert_eq!(whole.last_record, records.last().expect("some").id);
}

/// Answers with the feed's place of the revocation, which it must know when it is answered.
async fn revoke(store: Arc<Store>, name: String) -> Sequence {
    let selector = Selector::Names(vec![format!("cn:{name}").parse().expect("a name")]);
    let reason = RevocationReason::Superseded;
    let revoked = store.revoke(selector, ADMIN, reason, now()).await;
    let revocation = revoked.expect("revokes").changed.first[0].revocation;
    revocation.expect("revoked").sequence
}

const WRITERS: [&str; 3] = ["first", "second", "third"];
const ROUNDS: usize = 5;
