//! The log as it stands in an inventory, read beside whoever writes there: nothing is changed, no lock is taken, and a log
//! that is not whole is read all the same.

use std::path::{Path, PathBuf};

use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::time::UnixTime;
use rusqlite::Connection;

use super::line::{self, LINK_COLUMNS, Link, RECORD_COLUMNS};
use super::verify::{Extent, Verifier, VerifyError, WholeLog};
use crate::error::StoreError;
use crate::row::to_seconds;
use crate::schema;

/// The audit log of an inventory.
pub struct AuditLog {
    sql: Connection,
    path: PathBuf,
}

impl AuditLog {
    /// Opens the inventory for reading.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Ok(Self {
            sql: schema::open_beside(path)?,
            path: path.to_owned(),
        })
    }

    /// Every line without its line feed: the records of a link, then the link. `since`: from the first link on that
    /// has a record of that time or later.
    pub fn lines<E: From<StoreError>>(
        &self,
        since: Option<UnixTime>,
        each: impl FnMut(&str) -> Result<(), E>,
    ) -> Result<(), E> {
        let sql = |error: rusqlite::Error| StoreError::from_sql(&self.path, &error);
        let consistent = self.sql.unchecked_transaction().map_err(sql)?;
        let from = match since {
            Some(since) => first_since(&consistent, since).map_err(sql)?,
            None => i64::MIN,
        };
        lines(&consistent, &self.path, from, each)
    }

    /// Whether it is whole. `noted`: its head at an earlier time, which it must contain.
    pub fn verify(&self, noted: Option<Fingerprint>) -> Result<WholeLog, VerifyError> {
        let mut verifier = Verifier::new(noted, Extent::Whole);
        self.lines(None, |line| {
            verifier.line(line.as_bytes()).map_err(VerifyError::from)
        })?;
        Ok(verifier.finish()?)
    }
}

/// From link `from` on; records that stand in no link come where they would belong, or last.
fn lines<E: From<StoreError>>(
    sql: &Connection,
    path: &Path,
    from: i64,
    mut each: impl FnMut(&str) -> Result<(), E>,
) -> Result<(), E> {
    let fault = |error: rusqlite::Error| StoreError::from_sql(path, &error);
    let mut links = sql
        .prepare(&format!(
            "SELECT {LINK_COLUMNS} FROM audit_link WHERE number >= ?1 ORDER BY number"
        ))
        .map_err(fault)?;
    let mut links = links.query([from]).map_err(fault)?;
    let mut next = after_links_before(sql, from).map_err(fault)?;
    let records = |first: i64, to: i64, each: &mut dyn FnMut(&str) -> Result<(), E>| {
        let mut statement = sql
            .prepare_cached(&format!(
                "SELECT {RECORD_COLUMNS} FROM audit WHERE id >= ?1 AND id <= ?2 ORDER BY id"
            ))
            .map_err(fault)?;
        let mut rows = statement.query([first, to]).map_err(fault)?;
        while let Some(row) = rows.next().map_err(fault)? {
            each(&line::record(row).map_err(fault)?)?;
        }
        Ok::<(), E>(())
    };
    while let Some(row) = links.next().map_err(fault)? {
        let link = Link::from_row(row).map_err(fault)?;
        records(next, link.last, &mut each)?;
        next = next.max(link.last.saturating_add(1));
        each(&link.line())?;
    }
    records(next, i64::MAX, &mut each)
}

/// Where the first record behind the links before `from` may stand: anywhere, if there are none.
fn after_links_before(sql: &Connection, from: i64) -> rusqlite::Result<i64> {
    let last: Option<i64> = sql.query_row(
        "SELECT max(last) FROM audit_link WHERE number < ?1",
        [from],
        |row| row.get(0),
    )?;
    Ok(last.map_or(i64::MIN, |last| last.saturating_add(1)))
}

/// The number of the first link with a record of that time or later; past the last one if there is none.
fn first_since(sql: &Connection, since: UnixTime) -> rusqlite::Result<i64> {
    sql.query_row(
        "SELECT coalesce((SELECT min(number) FROM audit_link WHERE last >= (SELECT min(id) FROM audit WHERE at >= ?1)), ?2)",
        [to_seconds(since), i64::MAX],
        |row| row.get(0),
    )
}
