//! What an existing CA brings along into a new inventory: certificates that it has issued, what it has revoked, and the lists
//! that it has published.

use std::collections::BTreeSet;

use countersign_pki::certificate::Certificate;
use countersign_pki::feed::{HistoryId, Revoked, Sequence};
use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::serial::SerialNumber;
use countersign_pki::time::UnixTime;
use countersign_policy::issuance::{Actor, Profile};
use rusqlite::{Connection, params};

use crate::audit::{self, Action};
use crate::error::StoreError;
use crate::evidence::{Outcome, Remembered};
use crate::inventory::record::{NewEntry, Ours};
use crate::issuer::IssuerId;
use crate::publication;
use crate::row::to_seconds;
use crate::store::{Store, last_sequence};

/// What is brought along.
#[derive(Clone, Debug, Default)]
pub struct Brought {
    /// Certificates of the authority's issuers.
    pub certificates: Vec<BroughtCertificate>,
    /// What is revoked.
    pub revoked: Vec<BroughtRevocation>,
    /// The last list of each issuer that has one.
    pub lists: Vec<GivenList>,
}

/// A certificate that was issued before.
#[derive(Clone, Debug)]
pub struct BroughtCertificate {
    /// Itself.
    pub certificate: Certificate,
    /// The key that signed it.
    pub issuer_key: Fingerprint,
    /// What it is most like; its next one is of that profile.
    pub profile: Profile,
}

/// A revocation, and who told of it.
#[derive(Clone, Debug)]
pub struct BroughtRevocation {
    /// Itself.
    pub revoked: Revoked,
    /// For the audit log.
    pub source: String,
}

/// A complete list that was signed elsewhere; that it is the issuer's was verified.
#[derive(Clone, Debug)]
pub struct GivenList {
    /// The key that signed it.
    pub issuer_key: Fingerprint,
    /// cRLNumber.
    pub number: Option<u64>,
    /// thisUpdate.
    pub this_update: UnixTime,
    /// nextUpdate.
    pub next_update: UnixTime,
    /// Whom it lists.
    pub serials: BTreeSet<SerialNumber>,
    /// In DER.
    pub der: Vec<u8>,
}

/// What became of a list that was signed elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// It is published from now on.
    Now,
    /// It was published already.
    Already,
    /// One that was signed later is.
    Older {
        /// The thisUpdate of that one.
        than: UnixTime,
    },
}

impl Store {
    /// Publishes a list that was signed elsewhere, unless one that was signed later is published.
    pub async fn accept_list(
        &self,
        given: GivenList,
        actor: Actor,
        now: UnixTime,
    ) -> Result<Accepted, StoreError> {
        let issuer = self
            .known_issuers()
            .find(|issuer| issuer.certificate.spki() == given.issuer_key)
            .map(|issuer| (issuer.id, issuer.certificate.subject().to_string()));
        let (issuer, subject) = issuer.ok_or(StoreError::UnknownIssuerKey {
            key: given.issuer_key,
        })?;
        self.change(actor.clone(), now, move |writing| {
            let accepted = accept(writing.sql, issuer, &given).and_then(|accepted| {
                if accepted == Accepted::Now {
                    let reason = format!("signed elsewhere at {}", given.this_update);
                    audit::record(
                        writing.sql,
                        now,
                        &actor,
                        Action::PublishCrl,
                        &subject,
                        &reason,
                        None,
                    )?;
                }
                Ok(accepted)
            });
            accepted.map_err(|error| writing.fault(&error))
        })
        .await
    }
}

/// In the transaction that makes the inventory.
pub(crate) fn bring(
    sql: &Connection,
    brought: &Brought,
    issuers: &[(IssuerId, Certificate)],
    history: &HistoryId,
    actor: &Actor,
    now: UnixTime,
) -> rusqlite::Result<()> {
    let of = |key: Fingerprint| {
        issuers
            .iter()
            .find(|(_, certificate)| certificate.spki() == key)
            .ok_or(rusqlite::Error::QueryReturnedNoRows)
    };
    for certificate in &brought.certificates {
        let (id, issuer) = of(certificate.issuer_key)?;
        insert(sql, *id, issuer, certificate, actor, now)?;
    }
    for BroughtRevocation { revoked, source } in &brought.revoked {
        let (id, issuer) = of(revoked.issuer_key)?;
        let remembered = Remembered {
            revoked: *revoked,
            issuer: id.0,
            issuer_ends: issuer.not_after(),
            source,
            actor,
            now,
        };
        // Nobody hears it: whoever joins is told all of it.
        let (Outcome::Known | Outcome::Revoked | Outcome::Unknown, _) =
            remembered.revoke(sql, history)?;
    }
    for list in &brought.lists {
        accept(sql, of(list.issuer_key)?.0, list)?;
    }
    Ok(())
}

fn insert(
    sql: &Connection,
    issuer_id: IssuerId,
    issuer: &Certificate,
    brought: &BroughtCertificate,
    actor: &Actor,
    now: UnixTime,
) -> rusqlite::Result<()> {
    let certificate = &brought.certificate;
    let fingerprint = certificate.fingerprint();
    // As far as anybody knows: a renewal lives as long as this one did.
    let issued_at = certificate.not_before();
    let new = NewEntry {
        certificate,
        issuer: &issuer.subject().to_string(),
        profile: brought.profile.as_str(),
        state: "signed",
        fingerprint: Some(fingerprint.as_bytes()),
        actor,
        now: issued_at,
        // On the complete list alone: a URL in it is that of the CA as it was.
        ours: Some(Ours {
            issuer: issuer_id,
            shard: None,
            renews: None,
        }),
    };
    let id = new.insert(sql)?;
    sql.prepare_cached("INSERT INTO certificate (id, der, issued_at) VALUES (?1, ?2, ?3)")?
        .execute(params![
            id.0,
            certificate.der().as_ref(),
            to_seconds(issued_at),
        ])?;
    audit::record(
        sql,
        now,
        actor,
        Action::Adopt,
        &certificate.serial().to_string(),
        &fingerprint.to_string(),
        None,
    )
}

/// Its number is the list's own, or above the last where that is not: what is signed here later goes on above both.
fn accept(sql: &Connection, issuer: IssuerId, given: &GivenList) -> rusqlite::Result<Accepted> {
    let list = publication::complete(sql, issuer)?;
    let before = list.signed;
    if let Some(last) = before
        && (given.this_update, given.number.unwrap_or_default()) <= (last.this_update, last.number)
    {
        let same: bool = sql
            .prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM crl_signed WHERE crl_id = ?1 AND der = ?2)",
            )?
            .query_row(params![list.id.0, given.der], |row| row.get(0))?;
        return Ok(if same {
            Accepted::Already
        } else {
            Accepted::Older {
                than: last.this_update,
            }
        });
    }
    let number = given
        .number
        .unwrap_or_default()
        .max(before.map_or(1, |last| last.number + 1));
    // Of what it does not list, one has to be signed that does.
    let covers = if lists_all(sql, issuer, &given.serials)? {
        last_sequence(sql)?
    } else {
        Sequence(0)
    };
    publication::record_signed(
        sql,
        list.id,
        &publication::SignedTimes {
            number,
            this_update: given.this_update,
            next_update: given.next_update,
            bytes: given.der.len() as u64,
        },
        covers,
        &given.der,
    )?;
    Ok(Accepted::Now)
}

fn lists_all(
    sql: &Connection,
    issuer: IssuerId,
    listed: &BTreeSet<SerialNumber>,
) -> rusqlite::Result<bool> {
    let mut statement = sql.prepare_cached("SELECT serial FROM crl_entry WHERE issuer_id = ?1")?;
    let mut rows = statement.query([issuer.0])?;
    while let Some(row) = rows.next()? {
        if !listed.contains(&crate::row::serial(row, 0)?) {
            return Ok(false);
        }
    }
    Ok(true)
}
