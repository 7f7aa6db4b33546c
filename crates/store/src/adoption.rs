//! What an existing CA brings along into a new inventory: certificates that it has issued, what it has revoked, and the lists
//! that it has published.

use std::collections::BTreeSet;

use countersign_pki::certificate::Certificate;
use countersign_pki::feed::{HistoryId, Revoked};
use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::serial::SerialNumber;
use countersign_pki::time::UnixTime;
use countersign_policy::issuance::{Actor, Profile};
use rusqlite::{Connection, params};

use crate::audit::{self, Action};
use crate::evidence::{Outcome, Remembered};
use crate::inventory::record::{NewEntry, Ours};
use crate::issuer::IssuerId;
use crate::row::to_seconds;
use crate::superior_list;

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

impl GivenList {
    /// Which of two is the later: of one second, that of the greater number (RFC 5280 §5.2.3).
    pub fn age(&self) -> (UnixTime, Option<u64>) {
        (self.this_update, self.number)
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
            ends: issuer.not_after(),
            source,
            actor,
            now,
        };
        // Nobody hears it: whoever joins is told all of it.
        let (Outcome::Known | Outcome::Revoked | Outcome::Unknown, _) =
            remembered.revoke(sql, history)?;
    }
    for list in &brought.lists {
        superior_list::record(sql, of(list.issuer_key)?.0, list)?;
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
