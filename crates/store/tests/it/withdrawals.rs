//! Holds, releases, whole radii, and serial numbers that the inventory does not have.

use std::collections::BTreeMap;
use std::time::Duration;

use countersign_pki::feed::{Body, MAX_BATCH, Message, Position, RevocationReason, Snapshot};
use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::revocation::RevocationIndex;
use countersign_pki::serial::SerialNumber;
use countersign_store::audit::Action;
use countersign_store::error::StoreError;
use countersign_store::inventory::{Filter, NameFilter, Selector, Status};
use countersign_store::revocation::{Ended, MAX_SHOWN, Selection, Withdrawal, Withdrawals};

use crate::fixture::{ADMIN, BASE, Fixture, HOUR, now};

const HOLD: Withdrawal = Withdrawal::Revoke(RevocationReason::CertificateHold);
const COMPROMISE: Withdrawal = Withdrawal::Revoke(RevocationReason::KeyCompromise);

fn named(name: &str) -> Selection {
    Selector::Names(vec![format!("cn:{name}").parse().expect("a name")]).into()
}

fn filtered(filter: Filter) -> Selection {
    Selection {
        filter,
        ended: Ended::LeftOut,
        unrecorded: None,
    }
}

async fn withdraw(fixture: &Fixture, selection: Selection, withdrawal: Withdrawal) -> Withdrawals {
    let done = fixture
        .store
        .withdraw(selection, withdrawal, None, ADMIN, now());
    done.await.expect("answers")
}

async fn status(fixture: &Fixture, name: &str) -> Status {
    let selector = Selector::Names(vec![format!("cn:{name}").parse().expect("a name")]);
    let page = fixture.store.find(selector).await.expect("reads");
    page.entries[0].status_at(now())
}

/// What a node holds that has followed the feed.
struct Node {
    position: Position,
    index: RevocationIndex,
}

impl Node {
    fn join(snapshot: &Snapshot) -> Self {
        Self {
            position: Position::at(snapshot),
            index: RevocationIndex::new(snapshot.revoked.iter().copied()),
        }
    }

    fn join_again(&mut self, snapshot: &Snapshot) {
        self.position = Position::at(snapshot);
        self.index = self.index.caught_up(snapshot.revoked.iter().copied());
    }

    fn hear(&mut self, message: &Message) {
        self.position = self.position.clone().advance(message).expect("in order");
        self.index = match &message.body {
            Body::Revoked(revoked) => self.index.with([*revoked]),
            Body::RevokedTogether { certificates } => self.index.with(certificates.iter().copied()),
            Body::Released { certificates } => self.index.without(certificates.iter().copied()),
            Body::Bundle { .. } | Body::Confirmed {} => return,
        };
    }

    #[track_caller]
    fn check(&self, snapshot: &Snapshot) {
        assert_eq!(self.index.len(), snapshot.revoked.len());
        for revoked in &snapshot.revoked {
            let held = self.index.find(&revoked.issuer_key, revoked.serial);
            let held = held.map(|it| (it.reason, it.revoked_at));
            assert_eq!(held, Some((revoked.reason, revoked.revoked_at)));
        }
        assert_eq!(self.position.sequence(), snapshot.sequence);
    }
}

#[tokio::test]
async fn hold_is_released_or_becomes_a_revocation_and_nothing_undoes_that() {
    let fixture = Fixture::new();
    fixture.issue("api", HOUR).await;
    let revocation = async |fixture: &Fixture| {
        let snapshot = fixture.store.snapshot(now()).await.expect("reads");
        snapshot.revoked.first().map(|it| it.reason)
    };
    let counts = |outcome: &Withdrawals| {
        (
            outcome.changed.count,
            outcome.already.count,
            outcome.for_good.count,
            outcome.not_held,
        )
    };
    for (withdrawal, expected, status_after, reason) in [
        (Withdrawal::Release, (0, 0, 0, 1), Status::Valid, None),
        (
            HOLD,
            (1, 0, 0, 0),
            Status::Held,
            Some(RevocationReason::CertificateHold),
        ),
        (
            HOLD,
            (0, 1, 0, 0),
            Status::Held,
            Some(RevocationReason::CertificateHold),
        ),
        (Withdrawal::Release, (1, 0, 0, 0), Status::Valid, None),
        (
            HOLD,
            (1, 0, 0, 0),
            Status::Held,
            Some(RevocationReason::CertificateHold),
        ),
        (
            COMPROMISE,
            (1, 0, 0, 0),
            Status::Revoked,
            Some(RevocationReason::KeyCompromise),
        ),
        (
            HOLD,
            (0, 1, 0, 0),
            Status::Revoked,
            Some(RevocationReason::KeyCompromise),
        ),
        (
            Withdrawal::Release,
            (0, 0, 1, 0),
            Status::Revoked,
            Some(RevocationReason::KeyCompromise),
        ),
    ] {
        let outcome = withdraw(&fixture, named("api"), withdrawal).await;
        assert_eq!(counts(&outcome), expected, "{withdrawal:?}");
        assert_eq!(
            status(&fixture, "api").await,
            status_after,
            "{withdrawal:?}"
        );
        assert_eq!(revocation(&fixture).await, reason, "{withdrawal:?}");
    }
    let records = fixture.store.audit(0, 100).await.expect("reads");
    let said: Vec<_> = records
        .iter()
        .filter_map(|record| {
            let change = record.change.as_ref()?;
            Some((record.action, change.before.as_str(), change.after.as_str()))
        })
        .collect();
    assert_eq!(
        said,
        [
            (Action::Hold, "live", "held"),
            (Action::Release, "held", "live"),
            (Action::Hold, "live", "held"),
            (Action::Revoke, "held", "revoked"),
        ]
    );
    let tally = fixture.store.tally(now()).await.expect("counts");
    assert_eq!((tally.valid, tally.held, tally.revoked), (0, 0, 1));
}

#[tokio::test]
async fn revocation_of_what_is_on_hold_keeps_the_date_of_the_hold() {
    let fixture = Fixture::new();
    fixture.issue("api", 30 * HOUR).await;
    let at = |after: Duration, withdrawal| {
        fixture
            .store
            .withdraw(named("api"), withdrawal, None, ADMIN, now().plus(after))
    };
    at(Duration::ZERO, HOLD).await.expect("holds");
    at(HOUR, COMPROMISE).await.expect("revokes");
    let snapshot = fixture.store.snapshot(now()).await.expect("reads");
    assert_eq!(snapshot.revoked[0].revoked_at, now());
    assert_eq!(snapshot.revoked[0].reason, RevocationReason::KeyCompromise);
    let told = fixture.told.lock().expect("no panic").clone();
    assert!(matches!(told[1].body, Body::Revoked(revoked) if revoked.revoked_at == now()));
}

#[tokio::test]
async fn held_ones_are_listed_and_counted_apart_from_revoked_ones() {
    let fixture = Fixture::new();
    for name in ["held", "revoked", "live"] {
        fixture.issue(name, HOUR).await;
    }
    fixture.intend("open", HOUR).await;
    withdraw(&fixture, named("held"), HOLD).await;
    withdraw(&fixture, named("open"), HOLD).await;
    withdraw(&fixture, named("revoked"), COMPROMISE).await;
    let listed = async |status| {
        let filter = Filter {
            status: Some(status),
            ..Filter::default()
        };
        let page = fixture.store.list(filter, None, 10, now()).await;
        let entries = page.expect("lists").entries;
        let names = entries
            .iter()
            .map(|entry| entry.principal().expect("a name").bare());
        names.collect::<Vec<_>>()
    };
    assert_eq!(
        listed(Status::Held).await,
        ["open.example.com", "held.example.com"]
    );
    assert_eq!(listed(Status::Revoked).await, ["revoked.example.com"]);
    assert_eq!(listed(Status::Valid).await, ["live.example.com"]);
    let tally = fixture.store.tally(now()).await.expect("counts");
    assert_eq!(
        (tally.held, tally.revoked, tally.valid, tally.unknown),
        (2, 1, 1, 0)
    );
    withdraw(&fixture, named("open"), Withdrawal::Release).await;
    assert_eq!(listed(Status::Unknown).await, ["open.example.com"]);
}

#[tokio::test]
async fn held_certificate_is_not_renewed_until_it_is_released() {
    let fixture = Fixture::new();
    let stored = fixture.issue("api", HOUR).await;
    let renew = async || {
        let approved = fixture.approved("api", HOUR);
        let intended = fixture.store.intend(
            approved,
            fixture.issuer,
            Some(stored.id()),
            String::new(),
            now(),
        );
        intended.await.map(drop)
    };
    withdraw(&fixture, named("api"), HOLD).await;
    let serial = stored.certificate().serial();
    assert_eq!(renew().await, Err(StoreError::PredecessorHeld { serial }));
    withdraw(&fixture, named("api"), Withdrawal::Release).await;
    assert_eq!(renew().await, Ok(()));
}

#[tokio::test]
async fn name_means_what_is_live_and_what_has_ended_only_where_nothing_is() {
    let fixture = Fixture::new();
    fixture.issue("api", HOUR).await;
    fixture.issue("api", 30 * HOUR).await;
    let revoke = async |selection, after: Duration| {
        let done = fixture
            .store
            .withdraw(selection, COMPROMISE, None, ADMIN, now().plus(after));
        let outcome = done.await.expect("answers");
        (outcome.changed.count, outcome.already.count)
    };
    assert_eq!(revoke(named("api"), 2 * HOUR).await, (1, 0));
    // Both have ended now: there is nothing but them.
    assert_eq!(revoke(named("api"), 40 * HOUR).await, (1, 1));
    fixture.issue("old", HOUR).await;
    let by_profile = |ended| Selection {
        ended,
        ..filtered(Filter {
            profile: Some("client".to_owned()),
            ..Filter::default()
        })
    };
    assert_eq!(revoke(by_profile(Ended::LeftOut), 2 * HOUR).await, (0, 1));
    assert_eq!(revoke(by_profile(Ended::Included), 2 * HOUR).await, (1, 2));
}

#[tokio::test]
async fn serial_that_the_inventory_does_not_have_is_revoked_held_and_released() {
    let fixture = Fixture::new();
    let serial = SerialNumber::from_random([5; 20]);
    let selection = |unrecorded| Selection {
        unrecorded,
        ..Selector::Serial(serial).into()
    };
    let step = async |unrecorded, withdrawal| {
        let outcome = withdraw(&fixture, selection(unrecorded), withdrawal).await;
        let held = fixture.store.snapshot(now()).await.expect("reads").revoked;
        (outcome.changed.count, outcome.already.count, held.len())
    };
    let issuer = Some(fixture.issuer);
    assert_eq!(
        step(None, COMPROMISE).await,
        (0, 0, 0),
        "nobody said of which issuer"
    );
    assert_eq!(step(issuer, HOLD).await, (1, 0, 1));
    assert_eq!(step(None, Withdrawal::Release).await, (1, 0, 0));
    assert_eq!(step(issuer, COMPROMISE).await, (1, 0, 1));
    assert_eq!(step(issuer, COMPROMISE).await, (0, 1, 1));
    assert_eq!(
        step(None, COMPROMISE).await,
        (0, 1, 1),
        "it is known by now"
    );
    let snapshot = fixture.store.snapshot(now()).await.expect("reads");
    let issuer_key = fixture.store.issuers()[0].certificate.spki();
    assert_eq!(
        (snapshot.revoked[0].serial, snapshot.revoked[0].issuer_key),
        (serial, issuer_key)
    );
    let records = fixture.store.audit(0, 100).await.expect("reads");
    let changes: Vec<_> = records
        .iter()
        .filter_map(|record| record.change.clone())
        .collect();
    assert_eq!(
        (changes[0].before.as_str(), changes[0].after.as_str()),
        ("not recorded", "held")
    );
    assert_eq!(
        (changes[1].before.as_str(), changes[1].after.as_str()),
        ("held", "not recorded")
    );
}

#[tokio::test]
async fn recorded_serial_is_never_taken_for_an_unrecorded_one() {
    let fixture = Fixture::new();
    let serial = fixture.issue("api", HOUR).await.certificate().serial();
    let selection = Selection {
        unrecorded: Some(fixture.issuer),
        ..Selector::Serial(serial).into()
    };
    let outcome = withdraw(&fixture, selection, COMPROMISE).await;
    assert_eq!(outcome.changed.count, 1);
    assert!(outcome.changed.first[0].name.is_some());
    assert_eq!(status(&fixture, "api").await, Status::Revoked);
}

/// Copies of one real row, each with a serial, a fingerprint and an identity of its own.
fn clone_rows(fixture: &Fixture, count: u32) {
    let sql = rusqlite::Connection::open(&fixture.path).expect("opens");
    sql.execute_batch(&format!(
        "BEGIN;
         CREATE TEMP TABLE number AS WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) SELECT i FROM n;
         INSERT INTO identity (kind, value) SELECT 'dns', 'n' || i || '.example.com' FROM number;
         INSERT INTO entry (id, state, issuer_name_id, serial, profile, spki, fingerprint, identity_id, not_before, not_after, added_at, issued_by,
                 issuer_id, actor)
             SELECT 1000000 + i, e.state, e.issuer_name_id, cast(randomblob(20) AS BLOB), e.profile, e.spki, randomblob(32), d.id,
                    e.not_before, e.not_after + i, e.added_at, e.issued_by, e.issuer_id, e.actor
             FROM number JOIN entry e ON e.id = (SELECT min(id) FROM entry) JOIN identity d ON d.value = 'n' || i || '.example.com';
         UPDATE entry SET serial = cast(x'01' || substr(serial, 2) AS BLOB) WHERE id > 1000000;
         INSERT INTO certificate SELECT e.id, c.der, c.issued_at
             FROM entry e JOIN certificate c ON c.id = (SELECT min(id) FROM certificate) WHERE e.id > 1000000;
         COMMIT;"
    ))
    .expect("copies");
}

#[tokio::test]
async fn whole_radius_is_one_transaction_told_in_batches_and_bounded_by_what_was_seen() {
    const COUNT: u32 = 20_000;
    let fixture = Fixture::new();
    fixture.issue("first", 30 * HOUR).await;
    clone_rows(&fixture, COUNT);
    let before = fixture.store.snapshot(now()).await.expect("reads");
    let mut node = Node::join(&before);
    let all = || {
        filtered(Filter {
            profile: Some("client".to_owned()),
            ..Filter::default()
        })
    };
    let preview = fixture
        .store
        .preview_withdrawal(all(), COMPROMISE, None, &ADMIN, now())
        .await
        .expect("looks");
    let seen = preview.outcome.changed.count;
    assert_eq!((seen, preview.identities), (u64::from(COUNT) + 1, seen));
    assert_eq!(preview.outcome.changed.first.len(), MAX_SHOWN);

    // One more than was seen: nothing at all is changed.
    fixture.issue("late", 30 * HOUR).await;
    let refused = fixture
        .store
        .withdraw(all(), COMPROMISE, Some(seen), ADMIN, now());
    let error = refused.await.expect_err("too many");
    assert_eq!(error, StoreError::RadiusTooWide { limit: seen });
    let unchanged = fixture.store.snapshot(now()).await.expect("reads");
    assert_eq!(
        (unchanged.revoked.len(), unchanged.sequence),
        (0, before.sequence)
    );
    assert!(fixture.told.lock().expect("no panic").is_empty());

    let outcome = fixture
        .store
        .withdraw(all(), COMPROMISE, Some(seen + 1), ADMIN, now());
    let outcome = outcome.await.expect("revokes");
    assert_eq!(outcome.changed.count, seen + 1);
    assert_eq!(outcome.changed.first.len(), MAX_SHOWN);
    let told = fixture.told.lock().expect("no panic").clone();
    let batches = (seen + 1).div_ceil(MAX_BATCH as u64);
    assert_eq!(told.len() as u64, batches);
    for message in &told {
        node.hear(message);
    }
    let after = fixture.store.snapshot(now()).await.expect("reads");
    node.check(&after);
    assert_eq!(after.revoked.len() as u64, seen + 1);
    let (first, last) = outcome.told.expect("told");
    assert_eq!((first.0, last.0), (BASE + 1, BASE + batches));

    // One link of the audit log holds all of it.
    let sql = rusqlite::Connection::open(&fixture.path).expect("opens");
    let records: (i64, i64) = sql
        .query_row(
            "SELECT count(*), (SELECT last - first + 1 FROM audit_link ORDER BY number DESC LIMIT 1) FROM audit WHERE action = 'revoke'",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .expect("reads");
    let count = i64::try_from(seen + 1).expect("small");
    assert_eq!(records, (count, count));
    let tally = fixture.store.tally(now()).await.expect("counts");
    assert_eq!((tally.revoked, tally.valid), (seen + 1, 0));
}

#[tokio::test]
async fn whoever_watches_sees_how_far_it_is_and_then_that_it_has_ended() {
    let fixture = Fixture::new();
    fixture.issue("first", 30 * HOUR).await;
    clone_rows(&fixture, 6000);
    assert_eq!(fixture.store.withdrawal_under_way(), None);
    let all = Filter {
        profile: Some("client".to_owned()),
        ..Filter::default()
    };
    let mut seen = Vec::new();
    {
        let withdrawal = fixture.store.withdraw(
            filtered(all.clone()),
            COMPROMISE,
            None,
            ADMIN.clone(),
            now(),
        );
        tokio::pin!(withdrawal);
        loop {
            tokio::select! {
                biased;
                ended = &mut withdrawal => {
                    assert_eq!(ended.expect("withdraws").changed.count, 6001);
                    break;
                }
                () = tokio::task::yield_now() => seen.extend(fixture.store.withdrawal_under_way()),
            }
        }
    }
    assert!(seen.is_sorted(), "{seen:?}");
    assert!(seen.iter().any(|&far| far > 0 && far < 6001), "{seen:?}");
    assert_eq!(fixture.store.withdrawal_under_way(), None);
    // One that fails has ended too.
    let refused = fixture
        .store
        .withdraw(
            filtered(all),
            Withdrawal::Release,
            Some(0),
            ADMIN.clone(),
            now(),
        )
        .await;
    drop(refused);
    assert_eq!(fixture.store.withdrawal_under_way(), None);
}

#[tokio::test]
async fn preview_goes_on_page_by_page_and_shows_each_once() {
    let fixture = Fixture::new();
    fixture.issue("first", 30 * HOUR).await;
    clone_rows(&fixture, 2500);
    for filter in [
        Filter {
            profile: Some("client".to_owned()),
            ..Filter::default()
        },
        Filter {
            status: Some(Status::Valid),
            ..Filter::default()
        },
    ] {
        let mut after = None;
        let mut shown = BTreeMap::new();
        let mut counts = Vec::new();
        loop {
            let preview = fixture
                .store
                .preview_withdrawal(filtered(filter.clone()), COMPROMISE, after, &ADMIN, now())
                .await
                .expect("looks");
            counts.push(preview.outcome.changed.count);
            for one in preview.outcome.changed.first {
                *shown.entry(one.serial).or_insert(0) += 1;
            }
            after = preview.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(counts, [2501, 1501, 501]);
        assert_eq!(shown.len(), 2501);
        assert!(shown.values().all(|times| *times == 1));
    }
}

/// Knuth's MMIX generator; the high bits are the good ones.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    fn withdrawal(&mut self) -> Withdrawal {
        match self.below(5) {
            0 => COMPROMISE,
            1 | 2 => HOLD,
            _ => Withdrawal::Release,
        }
    }

    fn selection(&mut self, serials: &[SerialNumber], fixture: &Fixture) -> Selection {
        match self.below(6) {
            0 => filtered(Filter {
                profile: Some("client".to_owned()),
                names: vec![NameFilter::Exactly(vec![
                    format!("cn:n{}", self.below(8)).parse().expect("a name"),
                    format!("cn:n{}", self.below(8)).parse().expect("a name"),
                ])],
                ..Filter::default()
            }),
            // Serial numbers that the inventory does not have.
            1 => Selection {
                unrecorded: Some(fixture.issuer),
                ..Selector::Serial(SerialNumber::from_random(
                    [1 + u8::try_from(self.below(4)).expect("small"); 20],
                ))
                .into()
            },
            2 => Selector::Serial(serials[usize::try_from(self.below(8)).expect("small")]).into(),
            _ => named(&format!("n{}", self.below(8))),
        }
    }
}

/// Feed, snapshot and the rows of the inventory say the same.
async fn check_all(fixture: &Fixture, node: &Node) {
    let snapshot = fixture.store.snapshot(now()).await.expect("reads");
    node.check(&snapshot);
    let page = fixture
        .store
        .list(Filter::default(), None, 1000, now())
        .await;
    let issuer_key: Fingerprint = fixture.store.issuers()[0].certificate.spki();
    for entry in page.expect("lists").entries {
        let reason = node
            .index
            .find(&issuer_key, entry.serial)
            .map(|it| it.reason);
        let expected = match reason {
            None => Status::Valid,
            Some(reason) if reason.is_hold() => Status::Held,
            Some(_) => Status::Revoked,
        };
        assert_eq!(entry.status_at(now()), expected);
        let filter = Filter {
            status: Some(expected),
            serial: Some(entry.serial),
            ..Filter::default()
        };
        let page = fixture.store.list(filter, None, 10, now()).await;
        assert_eq!(page.expect("lists").entries.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn any_sequence_of_revocations_holds_and_releases_leaves_node_and_store_with_the_same_set() {
    for seed in 0..6 {
        let fixture = Fixture::new();
        let mut serials = Vec::new();
        for number in 0..8 {
            let stored = fixture.issue(&format!("n{number}"), 30 * HOUR).await;
            serials.push(stored.certificate().serial());
        }
        let mut random = Random(seed);
        let first = fixture.store.snapshot(now()).await.expect("reads");
        // One hears everything; the other is away now and then, and joins again with a snapshot.
        let (mut diligent, mut absent) = (Node::join(&first), Node::join(&first));
        let mut heard = 0;
        for round in 0..12 {
            // Three writers at once, and one that stalls: its call is begun and given up.
            let mut writers = Vec::new();
            for _ in 0..3 {
                let store = fixture.store.clone();
                let (selection, withdrawal) =
                    (random.selection(&serials, &fixture), random.withdrawal());
                writers.push(tokio::spawn(async move {
                    store
                        .withdraw(selection, withdrawal, None, ADMIN, now())
                        .await
                }));
            }
            let (selection, withdrawal) =
                (random.selection(&serials, &fixture), random.withdrawal());
            let mut stalling =
                Box::pin(
                    fixture
                        .store
                        .withdraw(selection, withdrawal, None, ADMIN, now()),
                );
            let _ = futures_poll(stalling.as_mut());
            drop(stalling);
            for writer in writers {
                writer.await.expect("no panic").expect("answers");
            }
            // Behind whatever the stalled one has queued.
            withdraw(&fixture, named("nobody"), HOLD).await;
            let told = fixture.told.lock().expect("no panic").clone();
            let is_away = random.below(3) == 0;
            for message in &told[heard..] {
                diligent.hear(message);
                if !is_away {
                    absent.hear(message);
                }
            }
            heard = told.len();
            if is_away {
                absent.join_again(&fixture.store.snapshot(now()).await.expect("reads"));
            }
            if round % 4 == 3 {
                check_all(&fixture, &diligent).await;
                check_all(&fixture, &absent).await;
            }
        }
        assert!(heard > 0, "seed {seed} changes nothing");
        let fixture = fixture.reopened();
        check_all(&fixture, &diligent).await;
    }
}

fn futures_poll<F: Future + ?Sized>(future: std::pin::Pin<&mut F>) -> bool {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    future.poll(&mut context).is_ready()
}
