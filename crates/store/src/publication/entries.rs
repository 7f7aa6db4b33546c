//! Which revocations are on which list.
//!
//! A certificate is on the complete list and on the shard that it carries. One that the inventory does not have (issued after
//! the backup that it was restored from, or never) is on the shard of its number, under every URL that was ever published at:
//! which of them it carries, nobody knows here. Its row has the first of those shards; [`encode`] finds it from the others.

use countersign_pki::certificate::Certificate;
use countersign_pki::crl::{self, CrlEntry, CrlRowFault, CrlRows, CrlTemplate, CrlToBeSigned};
use countersign_pki::feed::{Revoked, Sequence};
use countersign_pki::name::Uri;
use countersign_pki::publication::SHARDS;
use countersign_pki::serial::SerialNumber;
use countersign_pki::tbs::SignatureAlgorithm;
use countersign_pki::time::UnixTime;
use rusqlite::{Connection, OptionalExtension, params, params_from_iter};

use super::{KEPT_AFTER_END, RevocationList};
use crate::row::{from_sequence, serial, to_seconds, unsigned};

/// Puts a revocation on the lists that it concerns, or replaces what they say of it, in its own transaction.
pub(crate) fn enter(
    sql: &Connection,
    issuer_id: i64,
    revoked: &Revoked,
    not_after: UnixTime,
    at: Sequence,
) -> rusqlite::Result<()> {
    let serial = revoked.serial.magnitude();
    let place = place_of(sql, issuer_id, revoked.serial)?;
    let entry = CrlEntry {
        serial: revoked.serial,
        revoked_at: revoked.revoked_at,
        reason: revoked.reason,
        invalid_since: None,
    };
    sql.prepare_cached(
        "INSERT INTO crl_entry (issuer_id, octets, serial, crl_id, over_at, entry) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (issuer_id, octets, serial) DO UPDATE SET over_at = excluded.over_at, entry = excluded.entry",
    )?
    .execute(params![
        issuer_id,
        octets(serial),
        serial,
        place.row(),
        to_seconds(not_after.max(revoked.revoked_at)),
        entry.encode(),
    ])?;
    change(sql, issuer_id, place, at)
}

/// Takes a hold that ended off the lists (RFC 5280 §5.3.1), in its own transaction.
pub(crate) fn leave(
    sql: &Connection,
    issuer_id: i64,
    serial: SerialNumber,
    at: Sequence,
) -> rusqlite::Result<()> {
    let place = place_of(sql, issuer_id, serial)?;
    let magnitude = serial.magnitude();
    sql.prepare_cached(
        "DELETE FROM crl_entry WHERE issuer_id = ?1 AND octets = ?2 AND serial = ?3",
    )?
    .execute(params![issuer_id, octets(magnitude), magnitude])?;
    change(sql, issuer_id, place, at)
}

/// Notes that a certificate was over by `at`, where nobody knew when it would be.
pub(crate) fn end(
    sql: &Connection,
    issuer_id: i64,
    serial: SerialNumber,
    at: UnixTime,
) -> rusqlite::Result<()> {
    let magnitude = serial.magnitude();
    sql.prepare_cached(
        "UPDATE crl_entry SET over_at = min(over_at, ?4) WHERE issuer_id = ?1 AND octets = ?2 AND serial = ?3",
    )?
    .execute(params![issuer_id, octets(magnitude), magnitude, to_seconds(at)])
    .map(drop)
}

/// Whether a list still has to show it (RFC 5280 §3.3): one that is in force was signed before that was over. One that is past its
/// nextUpdate at `now`, or never was signed, is no reason.
pub(crate) fn is_to_be_shown(
    sql: &Connection,
    serial: SerialNumber,
    now: UnixTime,
) -> rusqlite::Result<bool> {
    let magnitude = serial.magnitude();
    sql.prepare_cached(
        "SELECT EXISTS (
             SELECT 1 FROM issuer s
             CROSS JOIN crl_entry e ON e.issuer_id = s.id AND e.octets = ?1 AND e.serial = ?2
             CROSS JOIN crl l ON l.issuer_id = s.id AND (l.uri = '' OR l.id = e.crl_id)
             WHERE l.number > 0 AND l.next_update >= ?3 AND l.this_update <= e.over_at + ?4)",
    )?
    .query_row(
        params![
            octets(magnitude),
            magnitude,
            to_seconds(now),
            to_seconds(UnixTime::from_seconds(KEPT_AFTER_END.as_secs()))
        ],
        |row| row.get(0),
    )
}

/// Takes a revocation off the lists for good, in its own transaction. No list changes by it: none has shown it for a while.
pub(crate) fn forget(
    sql: &Connection,
    issuer_id: i64,
    serial: SerialNumber,
) -> rusqlite::Result<()> {
    let magnitude = serial.magnitude();
    sql.prepare_cached(
        "DELETE FROM crl_entry WHERE issuer_id = ?1 AND octets = ?2 AND serial = ?3",
    )?
    .execute(params![issuer_id, octets(magnitude), magnitude])
    .map(drop)
}

/// Which shards a serial number is on, beside the complete list.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// The one that its certificate carries, if it carries one.
    Carried(Option<i64>),
    /// Those of this number, the first of which has the row; `None`: there are no shards yet.
    Unrecorded { number: u16, first: Option<i64> },
}

impl Place {
    fn row(self) -> Option<i64> {
        match self {
            Self::Carried(list) | Self::Unrecorded { first: list, .. } => list,
        }
    }
}

fn place_of(sql: &Connection, issuer_id: i64, serial: SerialNumber) -> rusqlite::Result<Place> {
    let carried = sql
        .prepare_cached("SELECT crl_id FROM entry WHERE serial = ?1 AND issuer_id = ?2")?
        .query_row(params![serial.magnitude(), issuer_id], |row| row.get(0))
        .optional()?;
    if let Some(list) = carried {
        return Ok(Place::Carried(list));
    }
    let number = crl::shard_of(serial, SHARDS);
    let first = first_shard(sql, issuer_id, number)?;
    Ok(Place::Unrecorded { number, first })
}

/// The shard of a number that was begun first, of those at all URLs.
fn first_shard(sql: &Connection, issuer_id: i64, number: u16) -> rusqlite::Result<Option<i64>> {
    sql.prepare_cached(
        "SELECT min(id) FROM crl WHERE issuer_id = ?1 AND uri LIKE '%/' || ?2 || '.crl'",
    )?
    .query_row(params![issuer_id, number], |row| row.get(0))
}

/// The number of a shard, as [`countersign_pki::publication::PublicationUrl::shard_path`] writes it.
fn number_of(shard: &Uri) -> Option<u16> {
    let (_, file) = shard.as_str().rsplit_once('/')?;
    file.strip_suffix(".crl")?.parse().ok()
}

/// Puts what was revoked before there were shards, and has no certificate here, on those of its number.
pub(super) fn spread_unrecorded(sql: &Connection, issuer_id: i64) -> rusqlite::Result<()> {
    let mut statement = sql.prepare_cached(
        "SELECT serial FROM crl_entry c WHERE issuer_id = ?1 AND crl_id IS NULL
         AND NOT EXISTS (SELECT 1 FROM entry e WHERE e.serial = c.serial AND e.issuer_id = c.issuer_id)",
    )?;
    let serials = statement.query_map([issuer_id], |row| serial(row, 0))?;
    let serials: Vec<SerialNumber> = serials.collect::<rusqlite::Result<_>>()?;
    for serial in serials {
        let shard = first_shard(sql, issuer_id, crl::shard_of(serial, SHARDS))?;
        let magnitude = serial.magnitude();
        sql.prepare_cached(
            "UPDATE crl_entry SET crl_id = ?4 WHERE issuer_id = ?1 AND octets = ?2 AND serial = ?3",
        )?
        .execute(params![issuer_id, octets(magnitude), magnitude, shard])?;
    }
    Ok(())
}

/// The complete list and the shards have to be signed anew.
fn change(sql: &Connection, issuer_id: i64, place: Place, at: Sequence) -> rusqlite::Result<()> {
    let at = from_sequence(at);
    match place {
        Place::Carried(shard) => sql
            .prepare_cached("UPDATE crl SET changed_at = ?3 WHERE issuer_id = ?1 AND (uri = '' OR id = ?2)")?
            .execute(params![issuer_id, shard, at]),
        Place::Unrecorded { number, .. } => sql
            .prepare_cached(
                "UPDATE crl SET changed_at = ?3 WHERE issuer_id = ?1 AND (uri = '' OR uri LIKE '%/' || ?2 || '.crl')",
            )?
            .execute(params![issuer_id, number, at]),
    }
    .map(drop)
}

fn octets(serial: &[u8]) -> i64 {
    i64::try_from(serial.len()).expect("a serial has at most 20 octets")
}

/// The inner error: rows that are no list's.
pub(super) fn encode(
    sql: &Connection,
    list: &RevocationList,
    template: &CrlTemplate,
    issuer: &Certificate,
    algorithm: SignatureAlgorithm,
    shown_until: UnixTime,
) -> rusqlite::Result<Result<CrlToBeSigned, CrlRowFault>> {
    let rows = match &list.distribution_point {
        None => {
            "SELECT octets, serial, entry FROM crl_entry WHERE issuer_id = ?1 AND over_at >= ?2"
        }
        Some(_) => {
            "SELECT octets, serial, entry FROM crl_entry WHERE crl_id = ?1 AND over_at >= ?2"
        }
    };
    let key = match &list.distribution_point {
        None => list.issuer.0,
        Some(_) => list.id.0,
    };
    // Of the shard of its number that was begun first: what may be of this one as well.
    let first = match list.distribution_point.as_ref().and_then(number_of) {
        Some(number) => {
            first_shard(sql, list.issuer.0, number)?.filter(|first| *first != list.id.0)
        }
        None => None,
    };
    let (rows, bounds) = match first {
        None => (rows.to_owned(), vec![key, to_seconds(shown_until)]),
        Some(first) => (
            format!("{rows} UNION ALL {UNRECORDED_OF_FIRST}"),
            vec![key, to_seconds(shown_until), first],
        ),
    };
    let bytes: u64 = sql
        .prepare_cached(&format!(
            "SELECT coalesce(sum(length(entry)), 0) FROM ({rows})"
        ))?
        .query_row(params_from_iter(&bounds), |row| unsigned(row, 0))?;
    let mut statement = sql.prepare_cached(&format!("{rows} ORDER BY octets, serial"))?;
    let mut broken = None;
    let rows = statement
        .query_map(params_from_iter(&bounds), |row| row.get::<_, Vec<u8>>(2))?
        .map_while(|row| row.map_err(|error| broken = Some(error)).ok());
    let rows = CrlRows {
        bytes: usize::try_from(bytes).unwrap_or(usize::MAX),
        rows,
    };
    let encoded = template.to_be_signed_from(issuer, algorithm, rows);
    match broken {
        Some(error) => Err(error),
        None => Ok(encoded),
    }
}

const UNRECORDED_OF_FIRST: &str = "SELECT octets, serial, entry FROM crl_entry c WHERE crl_id = ?3 AND over_at >= ?2
     AND NOT EXISTS (SELECT 1 FROM entry e WHERE e.serial = c.serial AND e.issuer_id = c.issuer_id)";
