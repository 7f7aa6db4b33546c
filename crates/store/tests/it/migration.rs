//! An inventory that an older version has written is the same one afterwards.

use std::path::Path;

use countersign_pki::feed::RevocationReason;
use countersign_store::audit::log::AuditLog;
use countersign_store::idempotency::{Claim, Claimed, IdempotencyKey};
use countersign_store::inventory::{Entry, Filter, Selector, Status};
use countersign_store::publication::SerialStatus;
use countersign_store::revocation::Withdrawal;

use crate::fixture::{ADMIN, Fixture, HOUR, now};

/// Up to the version that had each certificate in an intent and an entry, both with its serial, key, profile and times.
const BEFORE: [&str; 5] = [
    include_str!("../../src/migrations/0001.sql"),
    include_str!("../../src/migrations/0002.sql"),
    include_str!("../../src/migrations/0003.sql"),
    include_str!("../../src/migrations/0004.sql"),
    include_str!("../../src/migrations/0005.sql"),
];

/// What that version would have written of the same history.
const AS_BEFORE: &str = "
    DELETE FROM meta;
    INSERT INTO meta SELECT * FROM present.meta WHERE key <> 'witnessed-at';
    INSERT INTO issuer SELECT * FROM present.issuer;
    DELETE FROM crl;
    INSERT INTO crl SELECT * FROM present.crl;
    INSERT INTO intent
        SELECT e.id, e.issuer_id, e.serial, e.profile, e.spki, e.not_before, e.not_after,
               coalesce(t.to_be_signed, c.der), e.actor, e.renews, e.added_at, e.crl_id
        FROM present.entry e LEFT JOIN present.intent t ON t.id = e.id LEFT JOIN present.certificate c ON c.id = e.id
        WHERE e.issuer_id IS NOT NULL;
    INSERT INTO certificate
        SELECT c.id, e.fingerprint, c.der, c.issued_at FROM present.certificate c JOIN present.entry e ON e.id = c.id;
    INSERT INTO issuer_name SELECT * FROM present.issuer_name;
    INSERT INTO identity SELECT * FROM present.identity;
    INSERT INTO label SELECT * FROM present.label;
    INSERT INTO entry
        SELECT id, state, issuer_name_id, serial, profile, spki, fingerprint, identity_id, not_before, not_after, added_at,
               issued_by, held
        FROM present.entry;
    INSERT INTO imported SELECT m.id, m.der, e.actor FROM present.imported m JOIN present.entry e ON e.id = m.id;
    INSERT INTO name SELECT * FROM present.name;
    INSERT INTO feed SELECT * FROM present.feed;
    INSERT INTO revocation SELECT * FROM present.revocation;
    INSERT INTO crl_entry SELECT * FROM present.crl_entry;
    INSERT INTO audit SELECT * FROM present.audit;
    INSERT INTO audit_link SELECT * FROM present.audit_link;
    INSERT INTO idempotency_key SELECT * FROM present.idempotency_key;
    PRAGMA application_id = 1129531214;
    PRAGMA user_version = 5;";

fn as_before(present: &Path) {
    let older = present.with_extension("older");
    let sql = rusqlite::Connection::open(&older).expect("opens");
    for statements in BEFORE {
        sql.execute_batch(statements).expect("migrates");
    }
    sql.execute("ATTACH ?1 AS present", [present.to_str()])
        .expect("attaches");
    sql.execute_batch(AS_BEFORE).expect("copies");
    sql.close().expect("closes");
    std::fs::rename(older, present).expect("takes its place");
}

async fn withdraw(fixture: &Fixture, name: &str, withdrawal: Withdrawal) {
    let selector = Selector::Names(vec![format!("cn:{name}").parse().expect("a name")]);
    let done = fixture
        .store
        .withdraw(selector.into(), withdrawal, None, ADMIN, now());
    assert_eq!(done.await.expect("answers").changed.count, 1, "{name}");
}

async fn listed(fixture: &Fixture, status: Option<Status>) -> Vec<Entry> {
    let filter = Filter {
        status,
        ..Filter::default()
    };
    let page = fixture.store.list(filter, None, 100, now()).await;
    page.expect("lists").entries
}

fn names(entries: &[Entry]) -> Vec<String> {
    let name = |entry: &Entry| entry.principal().expect("a name").bare();
    entries.iter().map(name).collect()
}

#[tokio::test]
async fn inventory_of_the_version_before_lists_the_same_and_goes_on() {
    let fixture = Fixture::new();
    let good = fixture.issue("good", HOUR).await;
    let sharded = fixture
        .issue_at("http://pki.example.com", "sharded", 7)
        .await;
    for name in ["open", "doubtful", "suspect"] {
        fixture.intend(name, HOUR).await;
    }
    withdraw(&fixture, "sharded", COMPROMISE).await;
    withdraw(&fixture, "doubtful", COMPROMISE).await;
    withdraw(&fixture, "suspect", HOLD).await;
    let foreign = Fixture::new().issue("foreign", HOUR).await;
    let import = fixture
        .store
        .import(vec![foreign.certificate().clone()], None, ADMIN, now());
    import.await.expect("imports");
    let claim = Claim {
        key: IdempotencyKey::from_random([1; 16]),
        digest: [2; 32],
    };
    let renewal = fixture.store.intend_under(
        Some(claim.clone()),
        fixture.approved("good", HOUR),
        fixture.issuer,
        Some(good.id()),
        "renews".to_owned(),
        now(),
    );
    let renewal = renewal.await.expect("intends");
    let signature = fixture.sign(&renewal);
    let renewed = fixture.store.complete(renewal, &signature, now()).await;
    let renewed = renewed.expect("completes");
    let before = listed(&fixture, None).await;

    let fixture = fixture.reopened_after(as_before);
    let after = listed(&fixture, None).await;
    assert_eq!(format!("{after:#?}"), format!("{before:#?}"));
    let of = async |status| names(&listed(&fixture, Some(status)).await);
    assert_eq!(of(Status::Unknown).await, ["open.example.com"]);
    assert_eq!(of(Status::Held).await, ["suspect.example.com"]);
    assert_eq!(
        of(Status::Revoked).await,
        ["doubtful.example.com", "sharded.example.com"]
    );
    let whole = AuditLog::open(&fixture.path).expect("opens").verify(None);
    whole.expect("whole");
    let claimed = fixture.store.claimed(ADMIN, claim, now()).await;
    match claimed.expect("reads") {
        Claimed::Issued(earlier) => {
            assert_eq!(earlier.certificate.der(), renewed.certificate().der());
        }
        other => panic!("{other:?}"),
    }
    // What may have been signed is still there, byte for byte, and nothing else is kept twice.
    let sql = rusqlite::Connection::open(&fixture.path).expect("opens");
    let counts = sql.query_row(
        "SELECT (SELECT count(*) FROM intent WHERE length(to_be_signed) > 100), (SELECT count(*) FROM certificate),
                (SELECT count(*) FROM entry WHERE renews = ?1)",
        [good.id().number()],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
    );
    assert_eq!(counts, Ok((3, 3, 1)));

    // It goes on as if nothing had been: a serial stays taken, a number is not used again, a hold can be released.
    let again = fixture.approved_with("again", HOUR, random_of(&sharded));
    let again = fixture
        .store
        .intend(again, fixture.issuer, None, String::new(), now());
    again.await.expect_err("the serial is taken");
    let next = fixture.issue("next", HOUR).await;
    assert!(before.iter().all(|entry| entry.id < next.id()));
    withdraw(&fixture, "suspect", Withdrawal::Release).await;
    assert_eq!(
        names(&listed(&fixture, Some(Status::Unknown)).await),
        ["suspect.example.com", "open.example.com"]
    );
    let statuses = fixture.store.statuses(
        fixture.issuer,
        vec![
            renewed.certificate().serial(),
            sharded.certificate().serial(),
        ],
    );
    assert!(matches!(
        statuses.await.expect("reads")[..],
        [SerialStatus::Good, SerialStatus::Revoked { .. }]
    ));
}

/// The random bytes that the serial came of, as far as they are in it.
fn random_of(stored: &countersign_store::intent::Stored) -> [u8; 20] {
    let serial = stored.certificate().serial();
    serial.magnitude().try_into().expect("20 octets")
}

const COMPROMISE: Withdrawal = Withdrawal::Revoke(RevocationReason::KeyCompromise);
const HOLD: Withdrawal = Withdrawal::Revoke(RevocationReason::CertificateHold);
