//! What leaves the inventory long after its end, and what never does.

use std::time::Duration;

use countersign_pki::feed::{RevocationReason, Sequence};
use countersign_pki::tbs::SignatureAlgorithm;
use countersign_pki::time::UnixTime;
use countersign_policy::issuance::Actor;
use countersign_policy::retention::Witness;
use countersign_store::annotation::{Annotate, Annotated, Owner};
use countersign_store::audit::Action;
use countersign_store::audit::log::AuditLog;
use countersign_store::idempotency::{Claim, IdempotencyKey};
use countersign_store::inventory::{EntryId, Selector, Tally};
use countersign_store::retention::{Dropped, Ended, EndedPortion, Kept};
use countersign_store::revocation::Withdrawal;
use rusqlite::Connection;

use crate::fixture::{ADMIN, Fixture, HOUR, now};

const DAY: Duration = Duration::from_hours(24);

fn later() -> UnixTime {
    now().plus(DAY * 100)
}

async fn everything(fixture: &Fixture, cutoff: UnixTime) -> (Vec<Ended>, Kept) {
    let (mut ended, mut kept, mut after) = (Vec::new(), Kept::default(), None);
    loop {
        let portion = fixture.store.ended(after, cutoff, later()).await;
        let EndedPortion {
            ended: more,
            kept: stays,
            next,
        } = portion.expect("reads");
        ended.extend(more);
        kept += stays;
        after = next;
        if after.is_none() {
            return (ended, kept);
        }
    }
}

fn ids(ended: &[Ended]) -> Vec<EntryId> {
    let mut ids: Vec<_> = ended.iter().map(|it| it.entry().id).collect();
    ids.sort_unstable();
    ids
}

async fn drop_all(fixture: &Fixture, ended: Vec<Ended>) -> Dropped {
    let dropped = fixture.store.drop_ended(
        ended,
        later(),
        "archived in a file".to_owned(),
        Actor::Authority,
        later(),
    );
    dropped.await.expect("drops")
}

async fn revoke(fixture: &Fixture, id: EntryId, reason: RevocationReason) {
    let serial = find(fixture, id).await.serial;
    let revoked = fixture
        .store
        .revoke(Selector::Serial(serial), ADMIN, reason, now());
    assert_eq!(revoked.await.expect("revokes").changed.count, 1);
}

async fn find(fixture: &Fixture, id: EntryId) -> countersign_store::inventory::Entry {
    let page = fixture.store.list(
        countersign_store::inventory::Filter::default(),
        None,
        1000,
        now(),
    );
    let entries = page.await.expect("lists").entries;
    entries
        .into_iter()
        .find(|entry| entry.id == id)
        .expect("there")
}

fn beside(fixture: &Fixture) -> Connection {
    Connection::open(&fixture.path).expect("opens")
}

fn number(sql: &Connection, query: &str) -> i64 {
    sql.query_row(query, [], |row| row.get(0))
        .expect("a number")
}

fn assert_sound(fixture: &Fixture) {
    let sql = beside(fixture);
    let integrity: String = sql
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .expect("checks");
    assert_eq!(integrity, "ok");
    let mut orphans = sql.prepare("PRAGMA foreign_key_check").expect("SQL");
    assert!(
        !orphans.exists([]).expect("checks"),
        "a row refers to nothing"
    );
    AuditLog::open(&fixture.path)
        .expect("opens")
        .verify(None)
        .expect("whole");
}

/// As it would be without the table that counts.
fn counted(sql: &Connection, at: UnixTime) -> Tally {
    let count = |condition: &str| {
        let query = format!("SELECT count(*) FROM entry WHERE {condition}");
        let query = query.replace("NOW", &at.seconds().to_string());
        u64::try_from(number(sql, &query)).expect("a count")
    };
    Tally {
        expired: count("state IN ('signed', 'unknown') AND not_after < NOW"),
        held: count("state = 'revoked' AND held = 1"),
        revoked: count("state = 'revoked' AND held = 0"),
        unknown: count("state = 'unknown' AND not_after >= NOW"),
        valid: count("state = 'signed' AND not_after >= NOW"),
    }
}

#[tokio::test]
async fn certificates_of_others_leave_too_and_those_on_hold_stay() {
    let fixture = Fixture::new();
    let foreign = Fixture::new().issue("foreign", HOUR).await;
    let import = fixture
        .store
        .import(vec![foreign.certificate().clone()], None, ADMIN, now());
    import.await.expect("imports");
    let held = fixture.issue("held", HOUR).await.id();
    revoke(&fixture, held, RevocationReason::CertificateHold).await;
    let gone = fixture.issue("gone", HOUR).await.id();
    revoke(&fixture, gone, RevocationReason::Superseded).await;

    let (ended, kept) = everything(&fixture, now().plus(DAY)).await;
    assert_eq!((ended.len(), kept.compromised), (2, 1), "{kept:?}");
    let dropped = drop_all(&fixture, ended).await;
    assert_eq!(
        (dropped.certificates, dropped.imported, dropped.intents),
        (1, 1, 0)
    );
    assert_eq!(find(&fixture, held).await.id, held);
}

#[tokio::test]
async fn what_has_long_ended_leaves_with_everything_that_hangs_on_it() {
    let fixture = Fixture::new();
    let claim = Claim {
        key: IdempotencyKey::from_random([1; 16]),
        digest: [2; 32],
    };
    let intended = fixture.store.intend_under(
        Some(claim),
        fixture.approved("old", HOUR),
        fixture.issuer,
        None,
        String::new(),
        now(),
    );
    let intended = intended.await.expect("intends");
    let signature = fixture.sign(&intended);
    let old = fixture.store.complete(intended, &signature, now()).await;
    let old = old.expect("completes").id();
    let revoked = fixture.issue("revoked", HOUR).await.id();
    let open = fixture.intend("open", HOUR).await.id();
    let renewing = fixture.store.intend(
        fixture.approved("live", DAY * 80),
        fixture.issuer,
        Some(old),
        String::new(),
        now(),
    );
    let live = renewing.await.expect("intends").id();
    revoke(&fixture, revoked, RevocationReason::Superseded).await;
    let owner = Annotate {
        owner: Some(Some(Owner::parse("team").expect("an owner"))),
        ..Annotate::default()
    };
    let name = "dns:old.example.com".parse().expect("a name");
    let annotated = fixture
        .store
        .annotate(Selector::Names(vec![name]), owner, ADMIN, now());
    assert!(matches!(annotated.await, Ok(Annotated::Done(..))));
    let records = number(&beside(&fixture), "SELECT count(*) FROM audit");

    let cutoff = now().plus(DAY);
    assert_eq!(fixture.store.count_ended(cutoff).await, Ok(3));
    let (ended, kept) = everything(&fixture, cutoff).await;
    assert_eq!(
        (ids(&ended), kept),
        (vec![old, revoked, open], Kept::default())
    );
    assert_eq!(
        drop_all(&fixture, ended).await,
        Dropped {
            certificates: 2,
            imported: 0,
            intents: 1
        }
    );

    let sql = beside(&fixture);
    for table in ["entry", "intent"] {
        assert_eq!(number(&sql, &format!("SELECT count(*) FROM {table}")), 1);
        assert_eq!(fixture.count(table, live), 1);
    }
    for table in ["certificate", "revocation", "crl_entry", "idempotency_key"] {
        assert_eq!(
            number(&sql, &format!("SELECT count(*) FROM {table}")),
            0,
            "{table}"
        );
    }
    assert_eq!(
        number(&sql, "SELECT count(*) FROM name WHERE value LIKE 'old%'"),
        0
    );
    assert_eq!(
        number(&sql, "SELECT count(*) FROM entry WHERE renews IS NOT NULL"),
        0
    );
    // Somebody said something of the one identity, and the other is in use.
    assert_eq!(number(&sql, "SELECT count(*) FROM identity"), 2);
    assert_eq!(
        number(&sql, "SELECT count(*) FROM identity WHERE owner = 'team'"),
        1
    );
    // Whoever comes back hears the message still.
    assert_eq!(number(&sql, "SELECT count(*) FROM feed"), 1);
    let log = fixture.store.audit(records, 10).await.expect("reads");
    assert_eq!(log.len(), 1);
    assert_eq!(
        (log[0].action, &*log[0].object),
        (Action::Prune, "2 certificates, 0 imported ones, 1 intents")
    );
    assert!(
        log[0].reason.contains("archived in a file"),
        "{}",
        log[0].reason
    );
    assert_sound(&fixture);
    let (again, _) = everything(&fixture, cutoff).await;
    assert!(again.is_empty());
}

#[tokio::test]
async fn what_is_not_proved_to_have_ended_stays() {
    let fixture = Fixture::new();
    let live = fixture.issue("live", DAY * 80).await.id();
    let other = fixture.issue("other", DAY * 80).await.id();
    let torn = fixture.issue("torn", HOUR).await.id();
    let unread = fixture.issue("unread", HOUR).await.id();
    let open = fixture.intend("open", DAY * 80).await.id();
    let ended = fixture.issue("ended", HOUR).await.id();
    let sql = beside(&fixture);
    let change = |statement: &str, id: EntryId| {
        assert_eq!(sql.execute(statement, [id.number()]).expect("changes"), 1);
    };
    // Columns that lie, and bytes that are not what they were.
    change("UPDATE entry SET not_after = 5 WHERE id = ?1", live);
    change("UPDATE entry SET not_after = 5 WHERE id = ?1", open);
    change(
        "UPDATE certificate SET der = (SELECT der FROM certificate WHERE id = 2) WHERE id = ?1",
        torn,
    );
    change("UPDATE certificate SET der = x'3000' WHERE id = ?1", unread);
    let (found, kept) = everything(&fixture, now().plus(DAY)).await;
    assert_eq!(ids(&found), [ended]);
    assert_eq!(
        kept,
        Kept {
            unproved: 4,
            ..Kept::default()
        }
    );
    assert_eq!(drop_all(&fixture, found).await.total(), 1);
    for id in [live, other, torn, unread] {
        assert_eq!(fixture.count("certificate", id), 1);
    }
    assert_eq!(fixture.count("intent", open), 1);
    // Its end alone is no end: the cutoff is before it.
    let (found, _) = everything(&fixture, now()).await;
    assert!(found.is_empty());
}

#[tokio::test]
async fn key_that_was_given_away_is_remembered_for_ever() {
    let fixture = Fixture::new();
    let given_away = fixture.issue("one", HOUR).await.id();
    let superseded = fixture.issue("two", HOUR).await.id();
    revoke(&fixture, given_away, RevocationReason::KeyCompromise).await;
    revoke(&fixture, superseded, RevocationReason::Superseded).await;
    let (found, kept) = everything(&fixture, later()).await;
    assert_eq!(ids(&found), [superseded]);
    assert_eq!(kept.compromised, 1);
}

#[tokio::test]
async fn revocation_stays_until_a_list_has_shown_it_past_its_end() {
    let fixture = Fixture::new();
    let revoked = fixture.issue("one", HOUR).await.id();
    revoke(&fixture, revoked, RevocationReason::Superseded).await;
    let list = fixture.store.lists(fixture.issuer).await.expect("reads")[0].id;
    let publish = async |at: UnixTime, lifetime: Duration| {
        let drafted = fixture.store.draft(
            list,
            fixture.issuing().clone(),
            SignatureAlgorithm::EcdsaP256Sha256,
            lifetime,
            at,
        );
        let drafted = drafted.await.expect("drafts");
        let signature = fixture.sign_list(&drafted);
        let published = fixture
            .store
            .publish(drafted, &signature, Actor::Authority, at);
        published.await.expect("publishes");
    };
    // In force for a year, and signed before the certificate ended.
    publish(now(), DAY * 300).await;
    let (found, kept) = everything(&fixture, later()).await;
    assert_eq!((found.len(), kept.listed), (0, 1));
    // Signed after it, but not late enough for clocks that are behind.
    publish(now().plus(HOUR * 2), DAY * 300).await;
    assert_eq!(everything(&fixture, later()).await.1.listed, 1);
    publish(now().plus(DAY * 2), DAY * 300).await;
    let (found, kept) = everything(&fixture, later()).await;
    assert_eq!((ids(&found), kept.listed), (vec![revoked], 0));
    drop_all(&fixture, found).await;
    assert_sound(&fixture);
}

#[tokio::test]
async fn list_that_nobody_can_rely_on_any_more_keeps_nothing() {
    let fixture = Fixture::new();
    let revoked = fixture.issue("one", HOUR).await.id();
    revoke(&fixture, revoked, RevocationReason::Superseded).await;
    let list = fixture.store.lists(fixture.issuer).await.expect("reads")[0].id;
    let drafted = fixture.store.draft(
        list,
        fixture.issuing().clone(),
        SignatureAlgorithm::EcdsaP256Sha256,
        DAY,
        now(),
    );
    let drafted = drafted.await.expect("drafts");
    let signature = fixture.sign_list(&drafted);
    let published = fixture
        .store
        .publish(drafted, &signature, Actor::Authority, now());
    published.await.expect("publishes");
    assert_eq!(ids(&everything(&fixture, later()).await.0), [revoked]);
}

#[tokio::test]
async fn what_changes_between_archive_and_drop_stays() {
    let fixture = Fixture::new();
    let held = fixture.issue("held", HOUR).await.id();
    let left = fixture.issue("left", HOUR).await.id();
    let intended = fixture.intend("signed", HOUR).await;
    let signed = intended.id();
    let (found, _) = everything(&fixture, later()).await;
    assert_eq!(ids(&found), [held, left, signed]);
    revoke(&fixture, held, RevocationReason::CertificateHold).await;
    let signature = fixture.sign(&intended);
    let completed = fixture.store.complete(intended, &signature, now()).await;
    completed.expect("completes");
    assert_eq!(drop_all(&fixture, found.clone()).await.total(), 1);
    assert_eq!(fixture.count("certificate", left), 0);
    for id in [held, signed] {
        assert_eq!(fixture.count("certificate", id), 1);
    }
    // Nor twice.
    assert_eq!(drop_all(&fixture, found).await.total(), 0);
    assert_sound(&fixture);
}

#[tokio::test]
async fn messages_go_that_nobody_is_told_and_nothing_refers_to() {
    let fixture = Fixture::new();
    let held = fixture.issue("held", DAY * 80).await;
    let revoked = fixture.issue("revoked", DAY * 80).await.id();
    let select = || Selector::Fingerprint(held.certificate().fingerprint());
    revoke(&fixture, held.id(), RevocationReason::CertificateHold).await;
    let released = fixture
        .store
        .withdraw(select().into(), Withdrawal::Release, None, ADMIN, now());
    assert_eq!(released.await.expect("releases").changed.count, 1);
    revoke(&fixture, revoked, RevocationReason::Superseded).await;
    let pass = async |cutoff: UnixTime| {
        let mut after = Sequence(0);
        loop {
            let dropped = fixture
                .store
                .drop_messages(after, cutoff, Actor::Authority, later());
            match dropped.await.expect("drops") {
                Some(next) => after = next,
                None => return number(&beside(&fixture), "SELECT count(*) FROM feed"),
            }
        }
    };
    // The last ones are told to whoever comes back.
    assert_eq!(pass(later()).await, 3);
    let last = fixture.store.sequence().await.expect("reads").0;
    let more = format!(
        "WITH RECURSIVE number (n) AS (SELECT {last} + 1 UNION ALL SELECT n + 1 FROM number WHERE n < {last} + 30000)
         INSERT INTO feed SELECT n, {}, '\"confirmed\"' FROM number",
        later().seconds()
    );
    beside(&fixture).execute_batch(&more).expect("inserts");
    // None is old enough.
    assert_eq!(pass(now()).await, 30_003);
    // The hold and its release; the revocation is in force.
    assert_eq!(pass(later()).await, 30_001);
    // Of the rest, the last 20,000 and the first that is told of them.
    assert_eq!(pass(later().plus(DAY)).await, 20_002);
    let log = fixture.store.audit(0, 1000).await.expect("reads");
    let pruned: Vec<_> = log
        .iter()
        .filter(|record| record.action == Action::Prune)
        .map(|record| record.object.as_str())
        .collect();
    assert_eq!(pruned[0], "2 messages of the feed");
    assert_sound(&fixture);
}

#[tokio::test]
async fn counts_are_those_of_the_rows_whatever_happens_to_them() {
    let fixture = Fixture::new();
    let check = async || {
        let sql = beside(&fixture);
        for at in [
            now(),
            now().plus(HOUR / 2),
            now().plus(HOUR),
            now().plus(HOUR * 2),
            later(),
        ] {
            assert_eq!(fixture.store.tally(at).await, Ok(counted(&sql, at)), "{at}");
        }
    };
    check().await;
    let (mut issued, mut open) = (Vec::new(), Vec::new());
    for minutes in [1_u32, 29, 30, 31, 59, 60, 61, 90, 119, 120, 6000] {
        let lifetime = Duration::from_mins(minutes.into());
        issued.push(fixture.issue(&format!("i{minutes}"), lifetime).await.id());
        open.push(fixture.intend(&format!("o{minutes}"), lifetime).await);
    }
    check().await;
    revoke(&fixture, issued[0], RevocationReason::Superseded).await;
    revoke(&fixture, issued[4], RevocationReason::CertificateHold).await;
    revoke(&fixture, issued[8], RevocationReason::CertificateHold).await;
    check().await;
    let serial = find(&fixture, issued[4]).await.serial;
    let released = fixture.store.withdraw(
        Selector::Serial(serial).into(),
        Withdrawal::Release,
        None,
        ADMIN,
        now(),
    );
    assert_eq!(released.await.expect("releases").changed.count, 1);
    revoke(&fixture, issued[8], RevocationReason::Superseded).await;
    let intended = open.pop().expect("one");
    let signature = fixture.sign(&intended);
    fixture
        .store
        .complete(intended, &signature, now())
        .await
        .expect("completes");
    check().await;
    let (found, _) = everything(&fixture, now().plus(HOUR)).await;
    assert!(drop_all(&fixture, found).await.total() > 5);
    check().await;
    assert_eq!(
        number(
            &beside(&fixture),
            "SELECT count(*) FROM ending WHERE count < 1"
        ),
        0
    );
}

#[tokio::test]
async fn time_that_was_witnessed_is_kept() {
    let fixture = Fixture::new();
    assert_eq!(fixture.store.witness().await, Ok(Witness::at(now(), None)));
    let later = now().plus(DAY);
    let kept = Witness::at(later, None);
    fixture.store.keep_witness(kept).await.expect("writes");
    let fixture = fixture.reopened();
    assert_eq!(fixture.store.witness().await, Ok(kept));
    // A clock that is behind it, for an hour.
    let doubted = kept
        .advanced(UnixTime::from_seconds(5), Duration::ZERO)
        .advanced(UnixTime::from_seconds(3605), HOUR);
    assert!(doubted.doubt().is_some());
    fixture.store.keep_witness(doubted).await.expect("writes");
    let fixture = fixture.reopened();
    assert_eq!(fixture.store.witness().await, Ok(doubted));
    fixture.store.keep_witness(kept).await.expect("writes");
    assert_eq!(fixture.store.witness().await, Ok(kept));
}
