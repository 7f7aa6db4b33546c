//! From a revocation to its receipt.

use std::time::Duration;

use countersign_pki::feed::RevocationReason;
use countersign_policy::issuance::Actor;
use countersign_store::inventory::Entry;
use countersign_store::revocation::Revocations;

use super::{Authority, RevokeError};
use crate::receipt::{Receipt, RevokedCertificate};
use crate::what::What;

impl Authority {
    /// Revokes every live certificate that is meant. `wait`: how long to wait for the nodes at most; `None`: not at all.
    pub async fn revoke(
        &self,
        actor: Actor,
        what: &What,
        reason: RevocationReason,
        wait: Option<Duration>,
    ) -> Result<Receipt, RevokeError> {
        // Somebody's certificate is no right to revoke; that right comes with operators' roles.
        if let Actor::Holder { identity, .. } = &actor {
            return Err(RevokeError::NotPermitted {
                actor: identity.to_string(),
            });
        }
        let outcome = self
            .store
            .revoke(self.selector(what).await?, actor, reason, self.now())
            .await?;
        let Revocations {
            revoked,
            already_revoked,
            expired,
            imported,
        } = outcome;
        let sequences = || {
            revoked
                .iter()
                .chain(&already_revoked)
                .filter_map(|entry| entry.revocation.map(|it| it.sequence))
        };
        let (Some(first), Some(last)) = (sequences().min(), sequences().max()) else {
            return Err(match (expired.first(), imported.first()) {
                (Some(entry), _) => RevokeError::Expired {
                    what: what.to_string(),
                    not_after: entry.not_after,
                    now: self.now(),
                },
                (None, Some(theirs)) => RevokeError::Imported {
                    what: what.to_string(),
                    issuer: theirs.issuer.clone(),
                },
                (None, None) => RevokeError::NotFound {
                    what: what.to_string(),
                },
            });
        };
        Ok(Receipt {
            history: self.store.history().clone(),
            sequence: last,
            nodes: self.hub.receipts(first, last, wait).await,
            revoked: revoked.iter().filter_map(revoked_certificate).collect(),
            already_revoked: already_revoked
                .iter()
                .filter_map(revoked_certificate)
                .collect(),
        })
    }
}

fn revoked_certificate(entry: &Entry) -> Option<RevokedCertificate> {
    let revocation = entry.revocation?;
    Some(RevokedCertificate {
        serial: entry.serial,
        fingerprint: entry.signed.as_ref().map(|signed| signed.fingerprint),
        name: entry
            .principal()
            .map(ToString::to_string)
            .unwrap_or_default(),
        not_after: entry.not_after,
        revoked_at: revocation.revoked_at,
        reason: revocation.reason,
    })
}
