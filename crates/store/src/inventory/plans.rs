//! How SQLite answers lists: from indexes, in their order, whatever the filter.

use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::name::NameKind;
use countersign_pki::serial::SerialNumber;
use countersign_pki::time::UnixTime;
use rusqlite::types::Null;
use rusqlite::{Connection, params_from_iter};

use super::list::{ISSUERS, Listing};
use super::{Cursor, EntryId, Filter, Glob, IssuerFilter, NameFilter, ROW, Status};
use crate::schema::MIGRATIONS;

pub(super) fn inventory() -> Connection {
    let sql = Connection::open_in_memory().expect("opens");
    for migration in MIGRATIONS {
        sql.execute_batch(migration).expect("migrates");
    }
    sql
}

/// Each filter alone.
pub(super) fn filters() -> Vec<Filter> {
    let none = Filter::default;
    let hash = Fingerprint::of(b"x");
    let names = |name| Filter {
        names: vec![name],
        ..none()
    };
    let exactly = |text: &str| NameFilter::Exactly(vec![text.parse().expect("a name")]);
    let like = |glob| names(NameFilter::Like(glob, NameKind::ALL.to_vec()));
    let status = |status| Filter {
        status: Some(status),
        ..none()
    };
    vec![
        none(),
        status(Status::Expired),
        status(Status::Held),
        status(Status::Revoked),
        status(Status::Unknown),
        status(Status::Valid),
        Filter {
            expiring_before: Some(UnixTime::from_seconds(2_000_000_000)),
            ..none()
        },
        Filter {
            not_ended: true,
            ..none()
        },
        names(exactly("dns:a.example")),
        names(exactly("dn:CN=a")),
        names(exactly(&format!("spki:{hash}"))),
        names(exactly("serial:0aff@CN=a")),
        names(NameFilter::Exactly(vec![
            "dns:a.example".parse().expect("a name"),
            "cn:a.example".parse().expect("a name"),
        ])),
        like(Glob::Prefix("a".to_owned())),
        like(Glob::Suffix(".example".to_owned())),
        Filter {
            issuer: Some(IssuerFilter::Subject("CN=a".to_owned())),
            ..none()
        },
        Filter {
            profile: Some("client".to_owned()),
            ..none()
        },
        Filter {
            serial: Some(SerialNumber::from_random([7; 20])),
            ..none()
        },
        Filter {
            fingerprint: Some(hash),
            ..none()
        },
        Filter {
            spki: Some(hash),
            ..none()
        },
        Filter {
            issued_by: Some("uid:0".to_owned()),
            ..none()
        },
        Filter {
            owner: Some("team".to_owned()),
            ..none()
        },
        Filter {
            labels: vec![("env".to_owned(), "prod".to_owned())],
            ..none()
        },
    ]
}

fn plan(sql: &Connection, query: &str) -> Vec<String> {
    let mut statement = sql
        .prepare(&format!("EXPLAIN QUERY PLAN {query}"))
        .unwrap_or_else(|error| panic!("{error}: {query}"));
    // Values make no difference to a plan.
    let values = vec![Null; statement.parameter_count()];
    let lines = statement.query_map(params_from_iter(values), |row| row.get(3));
    lines
        .expect("explains")
        .collect::<rusqlite::Result<_>>()
        .expect("lines")
}

fn check(sql: &Connection, filter: &Filter) {
    let first = Cursor {
        order: filter.order(),
        text: "a".to_owned(),
        number: 5,
        id: EntryId(5),
    };
    for after in [None, Some(first)] {
        let listing = Listing {
            filter,
            after,
            now: 1_800_000_000,
            issuers: filter.issuer.as_ref().map(|_| vec![1, 2]),
        };
        let streams = listing.streams();
        assert!(!streams.is_empty(), "{filter:?}");
        for mut stream in streams {
            let limit = stream.bind(101_i64);
            let text = stream.text(&limit);
            assert!(!text.contains("OFFSET"));
            for line in plan(sql, &text) {
                assert!(
                    !line.starts_with("SCAN") && !line.contains("TEMP B-TREE"),
                    "{line}\n{text}"
                );
            }
        }
    }
}

#[test]
fn no_filter_reads_a_whole_table_or_sorts() {
    let sql = inventory();
    for filter in filters() {
        check(&sql, &filter);
    }
}

/// Each two filters together.
pub(super) fn pairs() -> Vec<Filter> {
    let both = |one: &Filter, other: Filter| Filter {
        status: one.status.or(other.status),
        expiring_before: one.expiring_before.or(other.expiring_before),
        not_ended: one.not_ended || other.not_ended,
        names: [one.names.clone(), other.names].concat(),
        issuer: one.issuer.clone().or(other.issuer),
        profile: one.profile.clone().or(other.profile),
        serial: one.serial.or(other.serial),
        fingerprint: one.fingerprint.or(other.fingerprint),
        spki: one.spki.or(other.spki),
        issued_by: one.issued_by.clone().or(other.issued_by),
        owner: one.owner.clone().or(other.owner),
        labels: [one.labels.clone(), other.labels].concat(),
    };
    let of_one = |one: Filter| filters().into_iter().map(move |other| both(&one, other));
    filters().into_iter().flat_map(of_one).collect()
}

#[test]
fn no_two_filters_together_read_a_whole_table_or_sort() {
    let sql = inventory();
    for filter in pairs() {
        check(&sql, &filter);
    }
}

#[test]
fn rows_and_issuers_are_looked_up() {
    let sql = inventory();
    for query in [ROW, ISSUERS] {
        for line in plan(&sql, query) {
            assert!(!line.starts_with("SCAN"), "{line}\n{query}");
        }
    }
}
