//! The chain of the audit log: one link for each transaction, so that what was recorded cannot be changed unseen.
//!
//! A link holds the hash of the link before it, the numbers of its records and a hash over their lines, and a hash over
//! all of that ([`super::line`] has the bytes, `docs/reference/audit.md` says it for strangers). It is written in the
//! transaction of the changes themselves. Whoever changes, removes, inserts or reorders anything has to make every later
//! link anew, and then the last one has another hash than somebody noted elsewhere. Against whoever owns the machine
//! nothing but such a note helps: a log cut off at a link is a whole, shorter log.
//!
//! Fail closed: nothing is opened whose last link is not right, and nothing written behind a record that is in no link.
//!
//! An inventory that is older than the chain has its records in link 1, which is made when it is first opened.
//!
//! Replicas. The chain has an id of its own, which is in each link; each replica is to write a chain of its own, for one
//! writer is what gives it an order. A replica will join the others by recording in its own log, at intervals, a
//! checkpoint of each chain that it follows: chain id, number and hash of the last link that it has seen and verified,
//! signed by the replica whose chain that is with its node certificate. The checkpoint is a record like any other, so it
//! is linked, and what came before it in one chain is proved to be older than what comes after it in the other. A noted
//! head is the same thing without the signature. No record needs another shape for that, and no chain another one's lock.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, params};

use super::digest::Digest;
use super::line::{self, LINK_COLUMNS, Link, RECORD_COLUMNS};
use super::verify::AuditFault;
use crate::error::StoreError;

/// Where the next link goes.
pub(crate) struct End {
    chain: String,
    link: i64,
    hash: String,
    record: i64,
}

impl End {
    /// The end of the chain as it stands, whatever stands behind it.
    pub(crate) fn find(sql: &Connection, path: &Path) -> Result<Self, StoreError> {
        let fault = |error: rusqlite::Error| StoreError::from_sql(path, &error);
        let last = sql
            .prepare_cached("SELECT max(number) FROM audit_link")
            .and_then(|mut select| select.query_row([], |row| row.get(0)))
            .map_err(fault)?;
        if let Some(last) = last {
            return find_link(sql, last).map(Self::at).map_err(fault);
        }
        let chain = sql
            .query_row(
                "SELECT value FROM meta WHERE key = 'audit-chain'",
                [],
                |row| row.get(0),
            )
            .optional()
            .map_err(fault)?;
        chain.map(Self::genesis).ok_or_else(|| StoreError::Corrupt {
            path: path.to_owned(),
            why: "meta has no audit-chain".to_owned(),
        })
    }

    /// The same, of a chain that has every record there is, and of an inventory with issuers the one that says where they
    /// came from. To be called in a transaction, before its changes.
    pub(crate) fn of_all(sql: &Connection, path: &Path) -> Result<Self, StoreError> {
        let end = Self::find(sql, path)?;
        let stray: Option<i64> = sql
            .prepare_cached("SELECT min(id) FROM audit WHERE id > ?1")
            .and_then(|mut select| select.query_row([end.record], |row| row.get(0)))
            .map_err(|error| StoreError::from_sql(path, &error))?;
        if let Some(record) = stray {
            return Err(broken(path, AuditFault::Unlinked { record }));
        }
        if end.link == 0 && has_issuers(sql).map_err(|error| StoreError::from_sql(path, &error))? {
            return Err(broken(path, AuditFault::Empty));
        }
        Ok(end)
    }

    /// Links the records that were written since, if any were. To be called in their transaction, after them.
    pub(crate) fn extend(self, sql: &Connection, path: &Path) -> Result<(), StoreError> {
        let extend = || match self.next(sql, i64::MAX)? {
            Some(link) => insert(sql, &link),
            None => Ok(()),
        };
        extend().map_err(|error| StoreError::from_sql(path, &error))
    }

    fn genesis(chain: String) -> Self {
        Self {
            chain,
            link: 0,
            hash: GENESIS.to_owned(),
            record: 0,
        }
    }

    fn at(link: Link) -> Self {
        Self {
            chain: link.chain,
            link: link.number,
            hash: link.hash,
            record: link.last,
        }
    }

    /// The link over the records from here to number `to`; `None` when there are none.
    fn next(&self, sql: &Connection, to: i64) -> rusqlite::Result<Option<Link>> {
        let mut select = sql.prepare_cached(&format!(
            "SELECT {RECORD_COLUMNS} FROM audit WHERE id > ?1 AND id <= ?2 ORDER BY id"
        ))?;
        let mut rows = select.query([self.record, to])?;
        let mut digest = Digest::new();
        let mut covered: Option<(i64, i64)> = None;
        while let Some(row) = rows.next()? {
            digest.line(line::record(row)?.as_bytes());
            let record = row.get(0)?;
            covered = Some((covered.map_or(record, |(first, _)| first), record));
        }
        Ok(covered.map(|(first, last)| {
            let mut link = Link {
                number: self.link.saturating_add(1),
                format: FORMAT,
                chain: self.chain.clone(),
                previous: self.hash.clone(),
                first,
                last,
                records: digest.finish(),
                hash: String::new(),
            };
            link.hash = link.digest();
            link
        }))
    }
}

/// Refuses an inventory whose last link is not that of the last records, or does not follow the one before it. The rest
/// is for `countersign audit verify`, which reads everything.
pub(crate) fn refuse_broken_end(sql: &Connection, path: &Path) -> Result<(), StoreError> {
    let fault = |error: rusqlite::Error| StoreError::from_sql(path, &error);
    let consistent = sql.unchecked_transaction().map_err(fault)?;
    let end = End::of_all(&consistent, path)?;
    if end.link == 0 {
        // An inventory that was founded without issuers has nothing to tell yet.
        return Ok(());
    }
    match fault_of_link(&consistent, end.link).map_err(fault)? {
        None => Ok(()),
        Some(fault) => Err(broken(path, fault)),
    }
}

fn fault_of_link(sql: &Connection, number: i64) -> rusqlite::Result<Option<AuditFault>> {
    let link = find_link(sql, number)?;
    let before = if number == 1 {
        End::genesis(link.chain.clone())
    } else {
        let before = number.saturating_sub(1);
        match find_link(sql, before).optional()? {
            Some(before) => End::at(before),
            None => return Ok(Some(AuditFault::LinkMissing { link: before })),
        }
    };
    if link.chain != before.chain {
        return Ok(Some(AuditFault::OtherChain { link: number }));
    }
    if link.previous != before.hash {
        return Ok(Some(AuditFault::LinkReplaced { link: number }));
    }
    // Made anew and compared: a gap that was there when an older inventory was linked is for `verify` to name.
    Ok(match before.next(sql, link.last)? {
        Some(anew) if anew == link => None,
        Some(anew) if anew.records == link.records => {
            Some(AuditFault::LinkChanged { link: number })
        }
        _ => Some(AuditFault::RecordsChanged {
            first: link.first,
            last: link.last,
            link: number,
        }),
    })
}

fn has_issuers(sql: &Connection) -> rusqlite::Result<bool> {
    sql.prepare_cached("SELECT EXISTS (SELECT 1 FROM issuer)")?
        .query_row([], |row| row.get(0))
}

fn find_link(sql: &Connection, number: i64) -> rusqlite::Result<Link> {
    sql.prepare_cached(&format!(
        "SELECT {LINK_COLUMNS} FROM audit_link WHERE number = ?1"
    ))?
    .query_row([number], Link::from_row)
}

fn insert(sql: &Connection, link: &Link) -> rusqlite::Result<()> {
    sql.prepare_cached(&format!(
        "INSERT INTO audit_link ({LINK_COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"
    ))?
    .execute(params![
        link.number,
        link.format,
        link.chain,
        link.previous,
        link.first,
        link.last,
        link.records,
        link.hash
    ])
    .map(drop)
}

fn broken(path: &Path, fault: AuditFault) -> StoreError {
    StoreError::AuditLog {
        path: path.to_owned(),
        fault,
    }
}

/// Of links and of the lines they are made over.
pub(crate) const FORMAT: i64 = 1;

/// What link 1 follows.
pub(crate) const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";
