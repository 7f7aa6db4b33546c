//! The authority's own CA certificates.

use countersign_pki::certificate::Certificate;
use countersign_pki::time::UnixTime;
pub use countersign_policy::issuance::IssuerRole;
use rusqlite::types::Type;
use rusqlite::{Connection, params};

use crate::publication;
use crate::row::{damaged, to_seconds, word};

/// A CA certificate in the inventory.
#[derive(Clone, Debug)]
pub struct Issuer {
    /// Its number there.
    pub id: IssuerId,
    /// What it is for.
    pub role: IssuerRole,
    /// Itself.
    pub certificate: Certificate,
}

/// An issuer's number in the inventory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IssuerId(pub(crate) i64);

pub(crate) fn load(sql: &Connection) -> rusqlite::Result<Vec<Issuer>> {
    let mut statement = sql.prepare("SELECT id, role, der FROM issuer ORDER BY id")?;
    let issuers = statement.query_map([], |row| {
        let der: Vec<u8> = row.get(2)?;
        Ok(Issuer {
            id: IssuerId(row.get(0)?),
            role: word(row, 1)?,
            certificate: Certificate::parse(&der).map_err(|error| damaged(2, Type::Blob, error))?,
        })
    })?;
    issuers.collect()
}

pub(crate) fn insert(
    sql: &Connection,
    role: IssuerRole,
    certificate: &Certificate,
    now: UnixTime,
) -> rusqlite::Result<()> {
    sql.prepare_cached("INSERT INTO issuer (role, fingerprint, spki, subject, der, created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?
        .execute(params![
            role.to_string(),
            certificate.fingerprint().as_bytes(),
            certificate.spki().as_bytes(),
            certificate.subject().to_string(),
            certificate.der().as_ref(),
            to_seconds(now),
        ])?;
    publication::begin(sql, sql.last_insert_rowid(), publication::COMPLETE).map(drop)
}
