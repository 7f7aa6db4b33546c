//! Keys by which a request is made again.

use countersign_policy::issuance::Actor;
use countersign_store::idempotency::{Claim, Claimed, IdempotencyKey, LIFE, MAX_KEYS};
use countersign_store::intent::Intended;
use std::time::Duration;

use crate::fixture::{ADMIN, Fixture, HOUR, now};

fn claim(key: &str, request: u8) -> Claim {
    Claim {
        key: IdempotencyKey::parse(key).expect("a key"),
        digest: [request; 32],
    }
}

async fn intend(fixture: &Fixture, claim: Claim, after: Duration) -> Intended {
    let approved = fixture.approved("api", HOUR);
    let intended = fixture.store.intend_under(
        Some(claim),
        approved,
        fixture.issuer,
        None,
        "asked for".to_owned(),
        now().plus(after),
    );
    intended.await.expect("intends")
}

async fn complete(fixture: &Fixture, intended: Intended) {
    let signature = fixture.sign(&intended);
    let stored = fixture.store.complete(intended, &signature, now());
    stored.await.expect("completes");
}

async fn look(fixture: &Fixture, actor: Actor, claim: Claim, after: Duration) -> String {
    let claimed = fixture.store.claimed(actor, claim, now().plus(after));
    match claimed.await.expect("reads") {
        Claimed::Free => "free".to_owned(),
        Claimed::Issued(earlier) => earlier.certificate.serial().to_string(),
        Claimed::OtherRequest => "other".to_owned(),
    }
}

#[tokio::test]
async fn key_stands_for_its_certificate_its_request_and_its_caller_for_a_day() {
    let fixture = Fixture::new();
    assert_eq!(
        look(&fixture, ADMIN, claim("a", 1), Duration::ZERO).await,
        "free"
    );
    let intended = intend(&fixture, claim("a", 1), Duration::ZERO).await;
    let serial = intended.serial().to_string();
    complete(&fixture, intended).await;
    let fixture = fixture.reopened();
    assert_eq!(
        look(&fixture, ADMIN, claim("a", 1), Duration::ZERO).await,
        serial
    );
    assert_eq!(look(&fixture, ADMIN, claim("a", 1), LIFE).await, serial);
    assert_eq!(
        look(&fixture, ADMIN, claim("a", 2), Duration::ZERO).await,
        "other"
    );
    assert_eq!(
        look(&fixture, ADMIN, claim("b", 1), Duration::ZERO).await,
        "free"
    );
    let other = Actor::LocalAdmin { uid: 77 };
    assert_eq!(
        look(&fixture, other, claim("a", 1), Duration::ZERO).await,
        "free"
    );
    let late = LIFE + Duration::from_secs(1);
    assert_eq!(look(&fixture, ADMIN, claim("a", 1), late).await, "free");
    assert_eq!(look(&fixture, ADMIN, claim("a", 2), late).await, "free");
}

#[tokio::test]
async fn claim_of_which_nothing_came_is_void_and_taken_over() {
    let fixture = Fixture::new();
    drop(intend(&fixture, claim("a", 1), Duration::ZERO).await);
    let fixture = fixture.reopened();
    assert_eq!(
        look(&fixture, ADMIN, claim("a", 1), Duration::ZERO).await,
        "free"
    );
    assert_eq!(
        look(&fixture, ADMIN, claim("a", 2), Duration::ZERO).await,
        "other"
    );
    let intended = intend(&fixture, claim("a", 1), Duration::ZERO).await;
    let serial = intended.serial().to_string();
    complete(&fixture, intended).await;
    assert_eq!(
        look(&fixture, ADMIN, claim("a", 1), Duration::ZERO).await,
        serial
    );
}

#[tokio::test]
async fn keys_that_are_old_or_too_many_make_room() {
    let fixture = Fixture::new();
    let keys = || {
        let sql = rusqlite::Connection::open(&fixture.path).expect("opens");
        let mut select = sql
            .prepare("SELECT key FROM idempotency_key ORDER BY id")
            .expect("SQL");
        let keys = select
            .query_map([], |row| row.get::<_, String>(0))
            .expect("rows");
        keys.collect::<rusqlite::Result<Vec<_>>>().expect("texts")
    };
    for key in ["a", "b", "c"] {
        intend(&fixture, claim(key, 1), Duration::ZERO).await;
    }
    intend(&fixture, claim("d", 1), LIFE).await;
    assert_eq!(keys(), ["a", "b", "c", "d"]);
    intend(&fixture, claim("e", 1), LIFE + Duration::from_secs(1)).await;
    assert_eq!(keys(), ["d", "e"]);
    let sql = rusqlite::Connection::open(&fixture.path).expect("opens");
    sql.execute(
        "UPDATE idempotency_key SET id = id + ?1 WHERE key = 'e'",
        [MAX_KEYS - 2],
    )
    .expect("updates");
    intend(&fixture, claim("f", 1), LIFE).await;
    assert_eq!(keys(), ["e", "f"]);
}
