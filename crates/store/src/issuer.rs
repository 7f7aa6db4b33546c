//! The authority's own CA certificates.

use std::collections::HashMap;

use countersign_pki::certificate::Certificate;
use countersign_pki::serial::SerialNumber;
use countersign_pki::time::UnixTime;
pub use countersign_policy::issuance::IssuerRole;
use rusqlite::types::Type;
use rusqlite::{Connection, params};

use crate::publication;
use crate::row::{damaged, to_seconds, word};
use crate::store::Store;

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

/// A CA above the authority's own issuers, whose key is somebody else's: what it revokes holds here, and its lists are
/// published.
#[derive(Clone, Debug)]
pub struct Superior {
    /// Its number in the inventory.
    pub id: IssuerId,
    /// Itself.
    pub certificate: Certificate,
}

/// Any CA of the inventory.
pub(crate) struct KnownIssuer<'a> {
    pub(crate) id: IssuerId,
    pub(crate) certificate: &'a Certificate,
}

impl Store {
    /// Our issuers, and those above them.
    pub(crate) fn known_issuers(&self) -> impl Iterator<Item = KnownIssuer<'_>> {
        let ours = self.issuers().iter().map(|it| (it.id, &it.certificate));
        let above = self.superiors().iter().map(|it| (it.id, &it.certificate));
        ours.chain(above)
            .map(|(id, certificate)| KnownIssuer { id, certificate })
    }
}

impl Store {
    /// Of the CAs' own certificates, which are in no row of certificates: by who issued them, and their serial number.
    pub(crate) fn ends_of_cas(&self) -> HashMap<(IssuerId, SerialNumber), UnixTime> {
        let ends_below = |above: KnownIssuer<'_>| {
            self.known_issuers()
                .filter(|it| it.certificate.issuer_der() == above.certificate.subject_der())
                .map(|it| {
                    (
                        (above.id, it.certificate.serial()),
                        it.certificate.not_after(),
                    )
                })
                .collect::<Vec<_>>()
        };
        self.known_issuers().flat_map(ends_below).collect()
    }
}

pub(crate) fn load_superiors(sql: &Connection) -> rusqlite::Result<Vec<Superior>> {
    let mut statement = sql.prepare("SELECT id, der FROM issuer WHERE role = ?1 ORDER BY id")?;
    let superiors = statement.query_map([SUPERIOR], |row| {
        let der: Vec<u8> = row.get(1)?;
        Ok(Superior {
            id: IssuerId(row.get(0)?),
            certificate: Certificate::parse(&der).map_err(|error| damaged(1, Type::Blob, error))?,
        })
    })?;
    superiors.collect()
}

pub(crate) fn load(sql: &Connection) -> rusqlite::Result<Vec<Issuer>> {
    let mut statement =
        sql.prepare("SELECT id, role, der FROM issuer WHERE role <> ?1 ORDER BY id")?;
    let issuers = statement.query_map([SUPERIOR], |row| {
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
    role: &str,
    certificate: &Certificate,
    now: UnixTime,
) -> rusqlite::Result<IssuerId> {
    sql.prepare_cached("INSERT INTO issuer (role, fingerprint, spki, subject, der, created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?
        .execute(params![
            role,
            certificate.fingerprint().as_bytes(),
            certificate.spki().as_bytes(),
            certificate.subject().to_string(),
            certificate.der().as_ref(),
            to_seconds(now),
        ])?;
    let id = sql.last_insert_rowid();
    publication::begin(sql, id, publication::COMPLETE)?;
    Ok(IssuerId(id))
}

/// In place of a role.
pub(crate) const SUPERIOR: &str = "superior";
