//! Refusals are found again: by id, by source and time, after a restart, under flood.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use countersign_diagnose::cause::Cause;
use countersign_diagnose::evidence::Evidence;
use countersign_diagnose::refusal::{Refusal, RefusalId};
use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::time::UnixTime;
use countersign_proxy::refusals::{
    Covers, Phase, Query, RefusalLog, RefusalWriter, Refused, RefusedRequest, search,
};
use countersign_runtime::clock::ManualClock;

const NOW: u64 = 1_790_000_000;

fn open(folder: &Path, clock: &Arc<ManualClock>) -> (RefusalLog, RefusalWriter) {
    let node = "7f3a9c".parse().expect("a node id");
    RefusalLog::open(folder, 64 << 20, node, Arc::<ManualClock>::clone(clock)).expect("opens")
}

fn refused(source: &str, leaf: u8) -> Refused {
    Refused {
        refusal: Refusal::new(
            Cause::IdentityNotAllowed,
            "cn:a is not admitted",
            Evidence::new().with("path", "/a"),
        ),
        source: format!("{source}:4711").parse().expect("an address"),
        listener: "listener-1".to_owned(),
        phase: Phase::Request,
        sni: Some("api.example.com".to_owned()),
        request: Some(RefusedRequest::new("GET", "api.example.com", "/a\u{1b}[2J")),
        principal: Some("cn:a (internal)".to_owned()),
        fingerprint: Some(Fingerprint::from_bytes([leaf; 32])),
    }
}

fn from(folder: &Path, address: &str, since: u64) -> Vec<RefusalId> {
    let query = Query::From {
        address: address.parse().expect("an address"),
        since: UnixTime::from_seconds(since),
    };
    search(folder, &query)
        .expect("readable")
        .into_iter()
        .map(|refusal| refusal.id)
        .collect()
}

#[test]
fn refusal_is_found_by_id_and_by_source_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let clock = Arc::new(ManualClock::new(NOW));
    let (log, writer) = open(folder.path(), &clock);
    let id = log.record(refused("192.0.2.1", 1));
    let other = log.record(refused("192.0.2.2", 1));
    drop((log, writer));

    let (log, writer) = open(folder.path(), &clock);
    clock.advance(Duration::from_hours(1));
    let later = log.record(refused("192.0.2.1", 1));
    log.settle();
    assert!(later.sequence() > other.sequence());

    let found = search(folder.path(), &Query::Id(id.clone())).expect("readable");
    assert_eq!(found.len(), 1);
    assert_eq!(
        (found[0].refusal.cause, found[0].refusal.sentence()),
        (Cause::IdentityNotAllowed, "cn:a is not admitted")
    );
    assert_eq!(
        (found[0].first_unix_s, found[0].covers),
        (NOW, Covers::Client)
    );
    assert_eq!(
        found[0]
            .request
            .as_ref()
            .map(|request| request.path.as_str()),
        Some(r"/a\u{1b}[2J")
    );
    assert_eq!(found[0].principal.as_deref(), Some("cn:a (internal)"));

    assert_eq!(from(folder.path(), "192.0.2.1", NOW), [later.clone(), id]);
    assert_eq!(from(folder.path(), "192.0.2.1", NOW + 1), [later]);
    assert_eq!(from(folder.path(), "192.0.2.3", NOW), []);
    assert_eq!(
        search(&folder.path().join("none"), &Query::Id(other)).expect("nothing"),
        []
    );
    drop((log, writer));
}

#[test]
fn retries_are_one_entry_with_a_count_and_the_time_of_the_last() {
    let folder = tempfile::tempdir().expect("a folder");
    let clock = Arc::new(ManualClock::new(NOW));
    let (log, writer) = open(folder.path(), &clock);
    let id = log.record(refused("192.0.2.1", 1));
    for _ in 0..99 {
        clock.advance(Duration::from_secs(1));
        assert_eq!(log.record(refused("192.0.2.1", 1)), id);
        log.settle();
    }
    drop((log, writer));
    let found = search(folder.path(), &Query::Id(id)).expect("readable");
    assert_eq!(
        found
            .iter()
            .map(|refusal| (refusal.count, refusal.first_unix_s, refusal.last_unix_s))
            .collect::<Vec<_>>(),
        [(100, NOW, NOW + 99)]
    );
}

#[test]
fn honest_client_is_found_in_the_middle_of_a_flood() {
    let folder = tempfile::tempdir().expect("a folder");
    let clock = Arc::new(ManualClock::new(NOW));
    let (log, writer) = open(folder.path(), &clock);
    let flood = |rounds: std::ops::Range<u32>| {
        for round in rounds {
            let [_, _, high, low] = round.to_be_bytes();
            let mut attack = refused(&format!("203.0.113.{low}"), high);
            attack.request = Some(RefusedRequest::new("GET", "a", format!("/{round}")));
            let id = log.record(attack);
            assert!(id.sequence() < 1 << 20);
        }
    };
    flood(0..20_000);
    let id = log.record(refused("198.51.100.7", 9));
    flood(20_000..40_000);
    // In the attacker's own network an honest one is counted with others, and found all the same.
    let beside = log.record(refused("203.0.113.77", 9));
    log.settle();
    drop((log, writer));
    let honest: IpAddr = "198.51.100.7".parse().expect("an address");
    let found = search(folder.path(), &Query::Id(id.clone())).expect("readable");
    assert_eq!(
        found
            .iter()
            .map(|refusal| (refusal.source.ip(), refusal.covers))
            .collect::<Vec<_>>(),
        [(honest, Covers::Client)]
    );
    assert!(from(folder.path(), "198.51.100.7", NOW).contains(&id));
    assert!(from(folder.path(), "203.0.113.77", NOW).contains(&beside));
    let bytes: u64 = std::fs::read_dir(folder.path())
        .expect("there")
        .map(|entry| entry.expect("there").metadata().expect("there").len())
        .sum();
    assert!(bytes < 1 << 20, "{bytes}");
}

#[test]
fn concurrent_threads_get_ids_that_are_all_found() {
    let folder = tempfile::tempdir().expect("a folder");
    let clock = Arc::new(ManualClock::new(NOW));
    let (log, writer) = open(folder.path(), &clock);
    let ids: Vec<RefusalId> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4_u8)
            .map(|thread| {
                let log = log.clone();
                scope.spawn(move || {
                    (0..200)
                        .map(|host| log.record(refused(&format!("10.{thread}.{host}.1"), 1)))
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().expect("no panic"))
            .collect()
    });
    drop((log, writer));
    assert_eq!(ids.len(), 800);
    for id in ids.into_iter().step_by(20) {
        assert_eq!(
            search(folder.path(), &Query::Id(id.clone()))
                .expect("readable")
                .len(),
            1,
            "{id}"
        );
    }
}
