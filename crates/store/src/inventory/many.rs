//! Lists of an inventory that is much larger than a page: what they look at is bounded, and nothing is lost by it.

use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::name::NameKind;
use countersign_pki::time::UnixTime;
use rusqlite::{Connection, StatementStatus, params};

use super::list::{Listing, Places, places};
use super::plans::{inventory, pairs};
use super::{Cursor, Filter, Glob, IssuerFilter, NameFilter, Order, Status};

const NOW: u64 = 1_900_000_000;
const ROWS: i64 = 20_000;

/// Every second row has ended; every 5th is revoked, every 7th imported, every 1999th a device.
fn filled() -> Connection {
    let sql = inventory();
    sql.execute_batch(
        "INSERT INTO issuer_name VALUES (1, 'CN=a'), (2, 'CN=b');
         INSERT INTO identity (id, kind, value, owner) VALUES
             (1, 'dns', 'a.example', 'team'), (2, 'dns', 'b.example', NULL), (3, 'dns', 'c.example', 'team');
         INSERT INTO label VALUES (1, 'env', 'prod'), (2, 'env', 'prod');",
    )
    .expect("inserts");
    sql.execute(
        "WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < ?1)
         INSERT INTO entry (id, state, issuer_name_id, serial, profile, spki, fingerprint, identity_id, not_before, not_after,
                            added_at, issued_by, held)
         SELECT n, CASE WHEN n % 7 = 0 THEN 'imported' WHEN n % 5 = 0 THEN 'revoked' WHEN n % 11 = 0 THEN 'unknown' ELSE 'signed' END,
                1 + (n % 3 = 0), unhex(printf('%08x', n + 1)), CASE WHEN n % 1999 = 0 THEN 'device' ELSE 'client' END,
                unhex(printf('%064x', n)), unhex(printf('%064x', n)), 1 + n % 3, 0,
                ?2 + CASE WHEN n % 2 = 0 THEN n ELSE -n END, 0, 'uid:0', n % 35 <> 0 AND n % 15 = 0 AND n % 7 <> 0
         FROM number",
        params![ROWS, i64::try_from(NOW).expect("small")],
    )
    .expect("inserts");
    sql.execute_batch(
        "INSERT INTO name (kind, value, entry_id, position, folded, reversed)
         SELECT 'dns', 'a' || id || '.example', id, 0, 'a' || id || '.example', 'elpmaxe.' || id || 'a' FROM entry;
         INSERT INTO name (kind, value, entry_id, position, folded, reversed)
         SELECT 'cn', 'a.example', id, 1, 'a.example', 'elpmaxe.a' FROM entry WHERE id % 4 = 0;
         ANALYZE;",
    )
    .expect("inserts");
    sql
}

fn device() -> Filter {
    Filter {
        profile: Some("device".to_owned()),
        ..Filter::default()
    }
}

fn page(sql: &Connection, filter: &Filter, after: Option<Cursor>, limit: u32) -> Places {
    places(sql, filter, after, limit, UnixTime::from_seconds(NOW)).expect("a page")
}

/// The instructions that SQLite ran for a page.
fn steps(sql: &Connection, filter: &Filter) -> i32 {
    sql.flush_prepared_statement_cache();
    page(sql, filter, None, 100);
    let issuers = filter.issuer.as_ref().map(|_| vec![1]);
    let listing = Listing {
        filter,
        after: None,
        now: i64::try_from(NOW).expect("small"),
        issuers,
    };
    let of_stream = |mut stream: super::stream::Stream| {
        let at_most = stream.bind(0_i64);
        let statement = sql.prepare_cached(&stream.text(&at_most)).expect("SQL");
        statement.get_status(StatementStatus::VmStep)
    };
    listing.streams().into_iter().map(of_stream).sum()
}

#[test]
fn no_page_looks_at_more_than_its_bound_whatever_the_filters() {
    let sql = filled();
    let mut most = 0;
    for filter in pairs() {
        // With and without one that leaves next to nothing.
        for filter in [
            filter.clone(),
            Filter {
                profile: Some("device".to_owned()),
                ..filter
            },
        ] {
            let steps = steps(&sql, &filter);
            assert!(steps > 0, "nothing was measured: {filter:?}");
            assert!(steps < MOST_STEPS, "{steps} for {filter:?}");
            most = most.max(steps);
        }
    }
    assert!(most > 20 * 1000, "no filter comes near the bound: {most}");
}

/// Every row of the list, by pages.
fn all(sql: &Connection, filter: &Filter, limit: u32) -> Vec<i64> {
    let mut ids = Vec::new();
    let mut after = None;
    let mut pages = 0;
    loop {
        let Places { found, next } = page(sql, filter, after.clone(), limit);
        assert!(found.len() <= limit as usize);
        ids.extend(found.iter().map(|place| place.id.number()));
        let Some(next) = next else { return ids };
        if let Some(after) = &after {
            assert!(after.compare(&next).is_lt(), "{filter:?} stands still");
        }
        after = Some(next);
        pages += 1;
        assert!(pages < 20_000, "{filter:?} does not end");
    }
}

#[track_caller]
fn check(sql: &Connection, filter: &Filter, condition: &str, order: &str) {
    let mut statement = sql
        .prepare(&format!(
            "SELECT e.id FROM entry e WHERE {condition} ORDER BY {order}"
        ))
        .expect("SQL");
    let expected: Vec<i64> = statement
        .query_map([], |row| row.get(0))
        .expect("rows")
        .collect::<rusqlite::Result<_>>()
        .expect("numbers");
    assert!(!expected.is_empty(), "{condition}");
    for limit in [3, 1000] {
        assert_eq!(all(sql, filter, limit), expected, "{filter:?} by {limit}");
    }
}

#[test]
fn pages_that_end_early_leave_nothing_out_and_repeat_nothing() {
    let sql = filled();
    let like = |glob| NameFilter::Like(glob, NameKind::ALL.to_vec());
    // Under the first of its names that fits; the CN is the second, which comes first in no list.
    let by_name =
        "(SELECT n.folded FROM name n WHERE n.entry_id = e.id AND n.position = 0), e.id DESC";
    let named = Filter {
        names: vec![like(Glob::Prefix("a".to_owned()))],
        ..device()
    };
    check(&sql, &named, "e.profile = 'device'", by_name);
    let ended = Filter {
        status: Some(Status::Expired),
        ..device()
    };
    check(
        &sql,
        &ended,
        &format!("e.profile = 'device' AND e.state <> 'revoked' AND e.not_after < {NOW}"),
        "e.not_after DESC, e.id DESC",
    );
    // Four streams, of which the longest is given up first.
    let lasting = Filter {
        not_ended: true,
        issuer: Some(IssuerFilter::Subject("CN=b".to_owned())),
        ..Filter::default()
    };
    check(
        &sql,
        &lasting,
        &format!("e.issuer_name_id = 2 AND e.not_after >= {NOW}"),
        "e.not_after, e.id",
    );
    let soon = NOW + 9_000;
    let expiring = Filter {
        expiring_before: Some(UnixTime::from_seconds(soon)),
        ..device()
    };
    check(
        &sql,
        &expiring,
        &format!(
            "e.profile = 'device' AND e.state <> 'revoked' AND e.not_after BETWEEN {NOW} AND {soon} - 1"
        ),
        "e.not_after, e.id",
    );
    let labelled = Filter {
        labels: vec![("env".to_owned(), "prod".to_owned())],
        ..device()
    };
    check(
        &sql,
        &labelled,
        "e.profile = 'device' AND e.identity_id IN (1, 2)",
        "e.identity_id, e.id DESC",
    );
    let of_others = Filter {
        issued_by: Some("uid:0".to_owned()),
        ..device()
    };
    check(&sql, &of_others, "e.profile = 'device'", "e.id DESC");
}

#[test]
fn list_that_nothing_fits_ends() {
    let sql = filled();
    let nothing = Filter {
        names: vec![NameFilter::Like(
            Glob::Suffix(".example".to_owned()),
            NameKind::ALL.to_vec(),
        )],
        profile: Some("person".to_owned()),
        ..Filter::default()
    };
    let Places { found, next } = page(&sql, &nothing, None, 100);
    assert!(found.is_empty());
    let next = next.expect("it has not looked at all of them");
    assert_eq!(next.order, Order::ByName);
    assert_eq!(all(&sql, &nothing, 100), Vec::<i64>::new());
    let unknown = Filter {
        spki: Some(Fingerprint::of(b"of nothing")),
        ..Filter::default()
    };
    assert!(page(&sql, &unknown, None, 100).next.is_none());
}

/// 150 for each row that may be looked at; one whose issuer, names, identity and labels are asked for takes some 100, and a
/// walk through everything here more than twice as many as this.
const MOST_STEPS: i32 = 3000 * 150;
