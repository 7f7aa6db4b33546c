//! Why nothing is issued: issuing waits after a restore, or the issuer is itself revoked, and nobody accepts what it issues.

use countersign_pki::feed::RevocationReason;
use countersign_pki::serial::SerialNumber;
use countersign_pki::time::UnixTime;
use countersign_policy::issuance::Profile;
use rusqlite::{Connection, OptionalExtension, params};

use crate::error::StoreError;
use crate::issuer::IssuerId;
use crate::pause;
use crate::row::{time, word};
use crate::store::Store;

/// A certificate of a CA by which another CA stands: it, or one above it.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    /// Of whoever issued it.
    superior: IssuerId,
    serial: SerialNumber,
    /// Whose certificate.
    subject: String,
}

impl Store {
    /// Why that issuer issues no certificate of this profile now; `None`: it does.
    pub async fn refuses_to_issue(
        &self,
        issuer: IssuerId,
        profile: Profile,
    ) -> Result<Option<StoreError>, StoreError> {
        let links = self.links(issuer);
        self.reader
            .read(move |sql| refusal(sql, &links, &profile))
            .await
    }

    /// Why nobody accepts what that issuer issues; `None`: nobody has revoked it.
    pub async fn issuer_revoked(&self, issuer: IssuerId) -> Result<Option<StoreError>, StoreError> {
        let links = self.links(issuer);
        self.reader.read(move |sql| revoked(sql, &links)).await
    }

    /// From the issuer's own certificate up to the one below the root.
    pub(crate) fn links(&self, issuer: IssuerId) -> Vec<Link> {
        let mut links = Vec::new();
        let mut below = self.known_issuers().find(|it| it.id == issuer);
        while let Some(ca) = below {
            let is_above = |it: &crate::issuer::KnownIssuer<'_>| {
                it.id != ca.id && it.certificate.subject_der() == ca.certificate.issuer_der()
            };
            below = self.known_issuers().find(is_above);
            if let Some(superior) = &below {
                links.push(Link {
                    superior: superior.id,
                    serial: ca.certificate.serial(),
                    subject: ca.certificate.subject().to_string(),
                });
            }
            // Two CAs that each say that they are below the other end nowhere.
            if links.len() > self.superiors().len() + self.issuers().len() {
                break;
            }
        }
        links
    }
}

/// To be asked in the transaction that reserves a serial, so that no certificate slips past.
pub(crate) fn refusal(
    sql: &Connection,
    links: &[Link],
    profile: &Profile,
) -> rusqlite::Result<Option<StoreError>> {
    if let Some(waits) = pause::waits(sql)? {
        return Ok(Some(waits));
    }
    if *profile == Profile::OCSP_RESPONDER {
        // Who asks about what was issued before is answered on, also by those that know nothing of the CA above.
        return Ok(None);
    }
    revoked(sql, links)
}

fn revoked(sql: &Connection, links: &[Link]) -> rusqlite::Result<Option<StoreError>> {
    for link in links {
        let found: Option<(RevocationReason, UnixTime)> = sql
            .prepare_cached(
                "SELECT reason, revoked_at FROM revocation WHERE serial = ?1 AND issuer_id = ?2",
            )?
            .query_row(params![link.serial.magnitude(), link.superior.0], |row| {
                Ok((word(row, 0)?, time(row, 1)?))
            })
            .optional()?;
        if let Some((reason, since)) = found {
            return Ok(Some(StoreError::IssuerRevoked {
                subject: link.subject.clone(),
                serial: link.serial,
                reason,
                since,
            }));
        }
    }
    Ok(None)
}
