//! Revocation lists: what is on which, their numbers, and what an OCSP responder is told.

use std::sync::Arc;
use std::time::Duration;

use countersign_pki::crl::ParsedCrl;
use countersign_pki::feed::{Body, RevocationReason, Revoked};
use countersign_pki::publication::{PublicationUrl, SHARDS};
use countersign_pki::serial::SerialNumber;
use countersign_pki::tbs::SignatureAlgorithm;
use countersign_pki::time::UnixTime;
use countersign_policy::issuance::Actor;
use countersign_store::audit::Action;
use countersign_store::error::StoreError;
use countersign_store::evidence::Evidence;
use countersign_store::inventory::Selector;
use countersign_store::publication::{
    DraftedList, KEPT_AFTER_END, ListId, PublishedList, RevocationList, SerialStatus,
};
use countersign_store::revocation::{Selection, Withdrawal};
use countersign_store::store::Store;

use crate::fixture::{ADMIN, Fixture, HOUR, now};

const URL: &str = "http://pki.example.com";
const WEEK: Duration = Duration::from_hours(7 * 24);
const SECOND: Duration = Duration::from_secs(1);

async fn lists(fixture: &Fixture) -> Vec<RevocationList> {
    fixture.store.lists(fixture.issuer).await.expect("reads")
}

async fn complete(fixture: &Fixture) -> ListId {
    let lists = lists(fixture).await;
    assert_eq!(
        lists[0].distribution_point, None,
        "the complete one is first"
    );
    lists[0].id
}

async fn draft(fixture: &Fixture, id: ListId, at: UnixTime) -> DraftedList {
    let issuing = fixture.issuing().clone();
    let drafted = fixture
        .store
        .draft(id, issuing, SignatureAlgorithm::EcdsaP256Sha256, WEEK, at);
    drafted.await.expect("drafts")
}

async fn publish(fixture: &Fixture, id: ListId, at: UnixTime) -> (PublishedList, ParsedCrl) {
    let drafted = draft(fixture, id, at).await;
    let signature = fixture.sign_list(&drafted);
    let published = fixture
        .store
        .publish(drafted, &signature, Actor::Authority, at)
        .await
        .expect("publishes");
    let parsed = ParsedCrl::parse(&published.der).expect("a CRL");
    parsed.verify(fixture.issuing()).expect("the issuer's");
    (published, parsed)
}

async fn revoke(store: &Store, serial: SerialNumber, at: UnixTime) {
    let reason = RevocationReason::KeyCompromise;
    let outcome = store.revoke(Selector::Serial(serial), ADMIN, reason, at);
    assert_eq!(outcome.await.expect("revokes").changed.count, 1);
}

fn serials(list: &ParsedCrl) -> Vec<SerialNumber> {
    list.entries().iter().map(|entry| entry.serial).collect()
}

#[tokio::test]
async fn numbers_grow_within_a_second_over_a_restart_and_when_the_clock_goes_back() {
    let fixture = Fixture::new();
    let id = complete(&fixture).await;
    let mut numbers = Vec::new();
    for at in [now(), now(), now().plus(100 * SECOND), now()] {
        numbers.push(publish(&fixture, id, at).await.1.number());
    }
    let fixture = fixture.reopened();
    numbers.push(publish(&fixture, id, now()).await.1.number());
    let base = now().seconds();
    let expected = [0, 1, 100, 101, 102].map(|more| Some(base + more));
    assert_eq!(numbers, expected);
}

#[tokio::test]
async fn restored_inventory_goes_on_above_every_number_it_gave_out() {
    let fixture = Fixture::new();
    let id = complete(&fixture).await;
    publish(&fixture, id, now()).await;
    let backup = fixture.path.with_file_name("backup.db");
    let second = rusqlite::Connection::open(&fixture.path).expect("opens");
    second
        .execute("VACUUM INTO ?1", [backup.to_str().expect("UTF-8")])
        .expect("copies");
    let mut given_out = 0;
    // One a second is the most that is signed.
    for after in 1..20 {
        let (_, list) = publish(&fixture, id, now().plus(SECOND * after)).await;
        given_out = list.number().expect("a number");
    }
    drop(second);
    let restored = fixture.restored(&backup);
    let (_, list) = publish(&restored, id, now().plus(20 * SECOND)).await;
    assert!(
        list.number() > Some(given_out),
        "{:?} after {given_out}",
        list.number()
    );
}

#[tokio::test]
async fn draft_that_was_overtaken_is_refused_and_changes_nothing() {
    let fixture = Fixture::new();
    let id = complete(&fixture).await;
    let slow = draft(&fixture, id, now()).await;
    let (newer, _) = publish(&fixture, id, now()).await;
    let signature = fixture.sign_list(&slow);
    let refused = fixture
        .store
        .publish(slow, &signature, Actor::Authority, now())
        .await;
    assert!(
        matches!(refused, Err(StoreError::OldDraft { number, last }) if number == last),
        "{refused:?}"
    );
    let kept = fixture
        .store
        .published(id)
        .await
        .expect("reads")
        .expect("published");
    assert_eq!(kept.der, newer.der);
}

#[tokio::test]
async fn number_cannot_be_set_back_past_us_either() {
    let fixture = Fixture::new();
    let id = complete(&fixture).await;
    publish(&fixture, id, now()).await;
    let second = rusqlite::Connection::open(&fixture.path).expect("opens");
    let set = second.execute("UPDATE crl SET number = number WHERE number > 0", []);
    assert!(set.is_err());
}

#[tokio::test]
async fn certificate_is_on_the_shard_that_it_names_and_on_the_complete_list() {
    let fixture = Fixture::new();
    let before = fixture.issue("before", HOUR).await.certificate().serial();
    let three = fixture
        .issue_at(URL, "three", 3)
        .await
        .certificate()
        .clone();
    let four = fixture.issue_at(URL, "four", 4).await.certificate().clone();
    for serial in [before, three.serial(), four.serial()] {
        revoke(&fixture.store, serial, now()).await;
    }
    let mut found = Vec::new();
    for list in lists(&fixture).await {
        assert!(list.is_stale && list.signed.is_none());
        let (published, parsed) = publish(&fixture, list.id, now()).await;
        assert!(!published.list.is_stale);
        let scope = parsed.scope().expect("judged");
        assert_eq!(scope.distribution_point, list.distribution_point);
        assert_eq!(
            scope.covers(&three),
            parsed
                .entries()
                .iter()
                .any(|entry| entry.serial == three.serial())
        );
        found.push((
            list.distribution_point.map(|uri| uri.as_str().to_owned()),
            serials(&parsed),
        ));
    }
    let at = PublicationUrl::parse(URL).expect("a URL");
    let shard = |number| {
        let path = PublicationUrl::shard_path(fixture.issuing(), number);
        Some(at.join(&path).as_str().to_owned())
    };
    let mut all = vec![before, three.serial(), four.serial()];
    all.sort();
    assert_eq!(
        found,
        [
            (None, all),
            (shard(3), vec![three.serial()]),
            (shard(4), vec![four.serial()])
        ]
    );
    assert_eq!(three.crl_uris(), [shard(3).expect("some")]);
}

#[tokio::test]
async fn certificate_that_names_a_list_of_somebody_else_begins_none() {
    let fixture = Fixture::new();
    let stored = fixture
        .issue_naming("http://pki.elsewhere.example", "three", 3)
        .await;
    let serial = stored.certificate().serial();
    assert_eq!(stored.certificate().crl_uris().len(), 1);
    revoke(&fixture.store, serial, now()).await;
    let lists = lists(&fixture).await;
    assert_eq!(lists.len(), 1, "{lists:?}");
    let (_, complete) = publish(&fixture, lists[0].id, now()).await;
    assert_eq!(serials(&complete), [serial]);
}

#[tokio::test]
async fn certificate_keeps_its_shard_when_the_authority_publishes_elsewhere() {
    let fixture = Fixture::new();
    let urls = ["http://old.example", "http://new.example"];
    let mut issued = Vec::new();
    // The same shard, by number, of both: 3 + 128.
    for (url, last) in urls.into_iter().zip([3, 131]) {
        let stored = fixture.issue_at(url, "a", last).await;
        revoke(&fixture.store, stored.certificate().serial(), now()).await;
        issued.push(stored.certificate().serial());
    }
    for list in lists(&fixture).await.into_iter().skip(1) {
        let uri = list.distribution_point.clone().expect("a shard");
        let own = urls.iter().position(|url| uri.as_str().starts_with(url));
        let (_, parsed) = publish(&fixture, list.id, now()).await;
        assert_eq!(serials(&parsed), [issued[own.expect("one of both")]]);
    }
}

#[tokio::test]
async fn revocation_while_a_list_is_signed_makes_it_stale_at_once() {
    let fixture = Fixture::new();
    let serial = fixture.issue("a", HOUR).await.certificate().serial();
    let id = complete(&fixture).await;
    let drafted = draft(&fixture, id, now()).await;
    revoke(&fixture.store, serial, now()).await;
    let signature = fixture.sign_list(&drafted);
    let published = fixture
        .store
        .publish(drafted, &signature, Actor::Authority, now())
        .await
        .expect("publishes");
    assert!(published.list.is_stale, "it does not have the revocation");
    let fixture = fixture.reopened();
    assert!(
        lists(&fixture).await[0].is_stale,
        "and that survives a crash"
    );
    let (published, list) = publish(&fixture, id, now()).await;
    assert_eq!(serials(&list), [serial]);
    assert!(!published.list.is_stale);
}

#[tokio::test]
async fn ended_certificate_leaves_the_list_after_one_that_was_signed_past_its_end() {
    let fixture = Fixture::new();
    let serial = fixture.issue("a", HOUR).await.certificate().serial();
    let id = complete(&fixture).await;
    revoke(&fixture.store, serial, now()).await;
    let end = now().plus(HOUR);
    // Nothing was signed between its end and long after: it has to be shown once more all the same.
    let first = end.plus(20 * KEPT_AFTER_END);
    assert_eq!(serials(&publish(&fixture, id, first).await.1), [serial]);
    assert_eq!(
        serials(&publish(&fixture, id, first.plus(SECOND)).await.1),
        []
    );
}

#[tokio::test]
async fn ended_certificate_stays_for_clocks_that_are_behind() {
    let fixture = Fixture::new();
    let serial = fixture.issue("a", HOUR).await.certificate().serial();
    let id = complete(&fixture).await;
    revoke(&fixture.store, serial, now()).await;
    let end = now().plus(HOUR);
    for at in [
        end,
        end.plus(SECOND),
        end.plus(KEPT_AFTER_END),
        end.plus(KEPT_AFTER_END + SECOND),
    ] {
        assert_eq!(
            serials(&publish(&fixture, id, at).await.1),
            [serial],
            "{at}"
        );
    }
    let later = end.plus(KEPT_AFTER_END + 2 * SECOND);
    assert_eq!(serials(&publish(&fixture, id, later).await.1), []);
}

#[tokio::test]
async fn certificate_revoked_after_its_end_is_shown_too() {
    let fixture = Fixture::new();
    let serial = fixture.issue("a", HOUR).await.certificate().serial();
    let id = complete(&fixture).await;
    let late = now().plus(100 * KEPT_AFTER_END);
    publish(&fixture, id, late).await;
    revoke(&fixture.store, serial, late).await;
    assert_eq!(
        serials(&publish(&fixture, id, late.plus(SECOND)).await.1),
        [serial]
    );
}

#[tokio::test]
async fn every_list_has_its_audit_record() {
    let fixture = Fixture::new();
    let id = complete(&fixture).await;
    let (_, first) = publish(&fixture, id, now()).await;
    let (_, second) = publish(&fixture, id, now()).await;
    let records = fixture.store.audit(0, 100).await.expect("reads");
    let changes: Vec<_> = records
        .into_iter()
        .filter(|record| record.action == Action::PublishCrl)
        .map(|record| record.change.expect("numbers"))
        .map(|change| (change.before, change.after))
        .collect();
    let text = |list: &ParsedCrl| list.number().expect("a number").to_string();
    assert_eq!(
        changes,
        [
            ("0".to_owned(), text(&first)),
            (text(&first), text(&second))
        ]
    );
}

#[tokio::test]
async fn responder_is_told_what_is_known_and_nothing_else() {
    let fixture = Fixture::new();
    let good = fixture.issue("good", HOUR).await.certificate().serial();
    let bad = fixture.issue("bad", HOUR).await.certificate().serial();
    // Never handed out, whether it was signed or not.
    let intent = fixture.intend("open", HOUR).await.serial();
    let nobodys = SerialNumber::from_random([9; 20]);
    revoke(&fixture.store, bad, now()).await;
    let statuses = fixture
        .store
        .statuses(fixture.issuer, vec![good, bad, intent, nobodys])
        .await
        .expect("reads");
    let revoked = SerialStatus::Revoked {
        revoked_at: now(),
        reason: RevocationReason::KeyCompromise,
    };
    assert_eq!(
        statuses,
        [
            SerialStatus::Good,
            revoked,
            SerialStatus::Unknown,
            SerialStatus::Unknown
        ]
    );
    revoke(&fixture.store, intent, now()).await;
    let statuses = fixture.store.statuses(fixture.issuer, vec![intent]).await;
    assert_eq!(statuses.expect("reads"), [revoked]);
}

/// Three revoke at once, one of them behind a lock that somebody else holds on the file, while lists are signed all the time.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn list_signed_after_a_revocation_was_acknowledged_has_it_whoever_stalls() {
    let fixture = Arc::new(Fixture::new());
    let id = complete(&fixture).await;
    let mut all = Vec::new();
    for name in ["a", "b", "c", "d", "e", "f", "g", "h", "i"] {
        all.push(fixture.issue(name, HOUR).await.certificate().serial());
    }
    let stalling = rusqlite::Connection::open(&fixture.path).expect("opens");
    let mut revoking = tokio::task::JoinSet::new();
    for serials in all.chunks(3) {
        let (fixture, serials) = (Arc::clone(&fixture), serials.to_vec());
        revoking.spawn(async move {
            for serial in serials {
                revoke(&fixture.store, serial, now()).await;
                // Acknowledged: whatever is drafted from here on has it. Who loses the race for a number drafts again.
                let drafted = draft(&fixture, complete(&fixture).await, now()).await;
                let number = drafted.number();
                let list = drafted.to_be_signed().clone().complete(&[]);
                let list = ParsedCrl::parse(&list).expect("a CRL");
                assert!(
                    self::serials(&list).contains(&serial),
                    "{serial} is missing"
                );
                let signature = fixture.sign_list(&drafted);
                let actor = Actor::Authority;
                match fixture
                    .store
                    .publish(drafted, &signature, actor, now())
                    .await
                {
                    Ok(_) => {}
                    Err(StoreError::OldDraft { last, .. }) => assert!(last >= number),
                    Err(error) => panic!("{error}"),
                }
            }
        });
    }
    for _ in 0..5 {
        stalling.execute_batch("BEGIN IMMEDIATE").expect("locks");
        tokio::task::yield_now().await;
        stalling.execute_batch("ROLLBACK").expect("unlocks");
    }
    while let Some(ended) = revoking.join_next().await {
        ended.expect("no panic");
    }
    let (published, list) = publish(&fixture, id, now()).await;
    all.sort();
    assert_eq!(serials(&list), all);
    assert!(!published.list.is_stale);
    let records = fixture.store.audit(0, 1000).await.expect("reads");
    let numbers: Vec<u64> = records
        .into_iter()
        .filter(|record| record.action == Action::PublishCrl)
        .map(|record| {
            record
                .change
                .expect("numbers")
                .after
                .parse()
                .expect("a number")
        })
        .collect();
    assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
    assert_eq!(list.number(), numbers.last().copied());
}

/// Somebody else remembers that these are revoked, of which the inventory may have no certificate.
async fn tell(fixture: &Fixture, serials: &[SerialNumber], reason: RevocationReason) {
    let revoked = |&serial: &SerialNumber| Revoked {
        issuer_key: fixture.issuing().spki(),
        serial,
        reason,
        revoked_at: now(),
    };
    let evidence = Evidence {
        source: "a feed".to_owned(),
        at: Some(now()),
        is_whole: true,
        revoked: serials.iter().map(revoked).collect(),
    };
    let told = fixture.store.unite(evidence, ADMIN, now()).await;
    assert_eq!(told.expect("unites").unknown, serials.len() as u64);
}

fn serial_ending_in(last: u8) -> SerialNumber {
    let mut random = [9; 20];
    random[19] = last;
    SerialNumber::from_random(random)
}

async fn publish_at(fixture: &Fixture, url: &str) {
    let at = PublicationUrl::parse(url).expect("a URL");
    let shards = (0..SHARDS.get())
        .map(|number| at.join(&PublicationUrl::shard_path(fixture.issuing(), number)));
    fixture
        .store
        .publish_at(
            Some(url.to_owned()),
            fixture.issuer,
            shards.collect(),
            Actor::Authority,
            now(),
        )
        .await
        .expect("writes");
}

/// The shards, by URL, that have something on them when all that are stale are signed now, and what.
async fn shards_with_entries(fixture: &Fixture) -> Vec<(String, Vec<SerialNumber>)> {
    let mut found = Vec::new();
    for list in lists(fixture)
        .await
        .into_iter()
        .filter(|list| list.is_stale)
    {
        let (_, parsed) = publish(fixture, list.id, now()).await;
        if let Some(uri) = list.distribution_point
            && !parsed.entries().is_empty()
        {
            found.push((uri.as_str().to_owned(), serials(&parsed)));
        }
    }
    found
}

fn shard_url(fixture: &Fixture, url: &str, number: u16) -> String {
    format!(
        "{url}{}",
        PublicationUrl::shard_path(fixture.issuing(), number)
    )
}

const OLD: &str = "http://old.example";
const NEW: &str = "http://new.example";

#[tokio::test]
async fn certificate_that_only_others_remember_is_on_the_shard_that_it_carries_at_any_url() {
    let fixture = Fixture::new();
    publish_at(&fixture, OLD).await;
    publish_at(&fixture, NEW).await;
    let unrecorded = [3, 131, 4].map(serial_ending_in);
    tell(&fixture, &unrecorded, RevocationReason::KeyCompromise).await;
    // One that is known stays on its own.
    let known = fixture
        .issue_at(OLD, "known", 3)
        .await
        .certificate()
        .serial();
    revoke(&fixture.store, known, now()).await;
    let on = |url, number, serials: &[SerialNumber]| {
        (shard_url(&fixture, url, number), serials.to_vec())
    };
    assert_eq!(
        shards_with_entries(&fixture).await,
        [
            on(NEW, 3, &unrecorded[..2]),
            on(NEW, 4, &unrecorded[2..]),
            on(OLD, 3, &[known, unrecorded[0], unrecorded[1]]),
            on(OLD, 4, &unrecorded[2..]),
        ]
    );
}

#[tokio::test]
async fn certificate_that_only_others_remember_is_on_its_shard_when_there_is_one_later() {
    let fixture = Fixture::new();
    let unrecorded = serial_ending_in(5);
    tell(&fixture, &[unrecorded], RevocationReason::KeyCompromise).await;
    let known = fixture.issue("known", HOUR).await.certificate().serial();
    revoke(&fixture.store, known, now()).await;
    publish_at(&fixture, OLD).await;
    assert_eq!(
        serials_at(&fixture, &shard_url(&fixture, OLD, 5)).await,
        [unrecorded]
    );
    publish_at(&fixture, NEW).await;
    for url in [OLD, NEW] {
        assert_eq!(
            serials_at(&fixture, &shard_url(&fixture, url, 5)).await,
            [unrecorded],
            "{url}"
        );
    }
}

/// What the list at `url` has when it is signed now.
async fn serials_at(fixture: &Fixture, url: &str) -> Vec<SerialNumber> {
    let lists = lists(fixture).await;
    let list = lists
        .iter()
        .find(|list| {
            list.distribution_point
                .as_ref()
                .is_some_and(|uri| uri.as_str() == url)
        })
        .expect("there is one");
    serials(&publish(fixture, list.id, now()).await.1)
}

#[tokio::test]
async fn hold_that_only_others_remember_leaves_every_shard_when_it_is_released() {
    let fixture = Fixture::new();
    publish_at(&fixture, OLD).await;
    publish_at(&fixture, NEW).await;
    let unrecorded = serial_ending_in(6);
    tell(&fixture, &[unrecorded], RevocationReason::CertificateHold).await;
    assert_eq!(shards_with_entries(&fixture).await.len(), 2);
    let mut selection = Selection::from(Selector::Serial(unrecorded));
    selection.unrecorded = Some(fixture.issuer);
    let released = fixture
        .store
        .withdraw(selection, Withdrawal::Release, None, ADMIN, now())
        .await;
    assert_eq!(released.expect("releases").changed.count, 1);
    let stale = lists(&fixture)
        .await
        .into_iter()
        .filter(|list| list.is_stale);
    let stale: Vec<String> = stale
        .map(|list| {
            list.distribution_point
                .map_or_else(String::new, |uri| uri.as_str().to_owned())
        })
        .collect();
    assert_eq!(
        stale,
        [
            String::new(),
            shard_url(&fixture, NEW, 6),
            shard_url(&fixture, OLD, 6)
        ]
    );
    assert_eq!(shards_with_entries(&fixture).await, []);
}

#[tokio::test]
async fn hold_that_others_remember_as_a_revocation_counts_from_the_hold_everywhere() {
    let fixture = Fixture::new();
    let serial = fixture.issue("a", HOUR).await.certificate().serial();
    let hold = RevocationReason::CertificateHold;
    let outcome = fixture
        .store
        .revoke(Selector::Serial(serial), ADMIN, hold, now());
    assert_eq!(outcome.await.expect("holds").changed.count, 1);
    let reason = RevocationReason::KeyCompromise;
    let later = now().plus(100 * SECOND);
    let evidence = Evidence {
        source: "a feed".to_owned(),
        at: Some(later),
        is_whole: true,
        revoked: vec![Revoked {
            issuer_key: fixture.issuing().spki(),
            serial,
            reason,
            revoked_at: later,
        }],
    };
    let united = fixture.store.unite(evidence, ADMIN, later).await;
    assert_eq!(united.expect("unites").revoked, 1);
    let statuses = fixture.store.statuses(fixture.issuer, vec![serial]).await;
    let revoked_at = now();
    assert_eq!(
        statuses.expect("reads"),
        [SerialStatus::Revoked { revoked_at, reason }]
    );
    let (_, list) = publish(&fixture, complete(&fixture).await, later).await;
    let entry = &list.entries()[0];
    assert_eq!((entry.revoked_at, entry.reason), (revoked_at, reason));
    let messages = fixture.told.lock().expect("no panic").clone();
    let Some(Body::Revoked(told)) = messages.last().map(|message| &message.body) else {
        panic!("{messages:?}");
    };
    assert_eq!((told.revoked_at, told.reason), (revoked_at, reason));
}
