//! Requests that are made again while the first is on its way, and after it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use countersign_policy::issuance::Actor;
use countersign_store::error::StoreError;
use countersign_store::idempotency::{Claim, Claimed, IdempotencyKey};
use countersign_store::publication::SerialStatus;

use super::{Authority, IssueError, Issued};

/// Keys of requests on their way. One process has the state folder, so that a key which is not here and of which nothing
/// came is one that a crash has left.
#[derive(Clone, Default)]
pub(crate) struct KeysInFlight {
    // Guards nothing but the set; as large as the requests that are served at once.
    keys: Arc<Mutex<BTreeSet<(String, IdempotencyKey)>>>,
}

/// What a request that issues begins with.
pub(super) enum Place {
    /// The answer that it had before.
    Answered(Box<Issued>),
    /// It is the only one under its key.
    Taken(InFlight),
}

/// Its key is in flight until it is dropped; without a key, nothing is.
pub(super) struct InFlight {
    held: Option<(KeysInFlight, String, Claim)>,
}

impl Authority {
    /// Looks up the key, and keeps others with the same key out until what it returns is dropped.
    pub(super) async fn take_place(
        &self,
        actor: &Actor,
        claim: Option<Claim>,
    ) -> Result<Place, IssueError> {
        let Some(claim) = claim else {
            return Ok(Place::Taken(InFlight::without_key()));
        };
        let key = claim.key.to_string();
        // Before the look at the store: whoever leaves the set has made its certificate durable.
        let place = self
            .in_flight
            .enter(actor, claim.clone())
            .ok_or_else(|| IssueError::KeyInFlight { key: key.clone() })?;
        match self.store.claimed(actor.clone(), claim, self.now()).await? {
            Claimed::Free => Ok(Place::Taken(place)),
            Claimed::Issued(earlier) => {
                let role = self.issuers.role_of(&earlier.issuer).ok_or_else(|| {
                    IssueError::Store(StoreError::NotACertificate {
                        why: format!(
                            "{} is no issuer of this authority",
                            earlier.issuer.subject()
                        ),
                    })
                })?;
                // Whoever asks again takes what comes for one to use.
                let serial = earlier.certificate.serial();
                let asked = self.store.statuses(self.issuer_ids.of(role), vec![serial]);
                if matches!(asked.await?[..], [SerialStatus::Revoked { .. }]) {
                    return Err(IssueError::KeyRevoked { key, serial });
                }
                let issued = self.issued(earlier.certificate, earlier.profile, role);
                Ok(Place::Answered(Box::new(issued)))
            }
            Claimed::OtherRequest => Err(IssueError::KeyReused { key }),
        }
    }
}

impl KeysInFlight {
    fn enter(&self, actor: &Actor, claim: Claim) -> Option<InFlight> {
        let caller = actor.to_string();
        let is_new = self.keys().insert((caller.clone(), claim.key.clone()));
        is_new.then(|| InFlight {
            held: Some((self.clone(), caller, claim)),
        })
    }

    fn keys(&self) -> MutexGuard<'_, BTreeSet<(String, IdempotencyKey)>> {
        // Nothing under this lock can panic half-way.
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl InFlight {
    /// Of a request that stands for itself.
    pub(super) fn without_key() -> Self {
        Self { held: None }
    }

    pub(super) fn claim(&self) -> Option<Claim> {
        self.held.as_ref().map(|(_, _, claim)| claim.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if let Some((keys, caller, claim)) = self.held.take() {
            keys.keys().remove(&(caller, claim.key));
        }
    }
}
