//! The one code path from a request to a recorded certificate.

use std::sync::Arc;

use countersign_pki::certificate::Certificate;
use countersign_pki::compatibility::{Objection, objections};
use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::pem;
use countersign_pki::serial::SerialNumber;
use countersign_pki::time::UnixTime;
use countersign_policy::issuance::{
    Actor, Approved, Because, IssuanceRules, Profile, Request, authorize,
};
use countersign_store::error::StoreError;
use countersign_store::fail_point::FailPoint;
use countersign_store::idempotency::Claim;
use countersign_store::inventory::{
    Entry, EntryId, Filter, MAX_PAGE, NameFilter, Selector, Status,
};

use super::in_flight::{InFlight, Place};
use super::{Authority, CERTIFICATE, IssueError, RenewError};
use crate::renewal;
use crate::signer::Signer;
use crate::what::What;

impl Authority {
    /// Issues: authorize, encode, approve, durable intent, sign, durable certificate (invariant 4). What has begun is
    /// finished even if the future is dropped, so that a caller who hangs up leaves no half-made certificate.
    pub async fn issue(
        self: &Arc<Self>,
        actor: Actor,
        request: Request,
    ) -> Result<Issued, IssueError> {
        self.issue_once(actor, request, None).await
    }

    /// Like [`Authority::issue`]; the same claim gives the same certificate again.
    pub async fn issue_once(
        self: &Arc<Self>,
        actor: Actor,
        request: Request,
        claim: Option<Claim>,
    ) -> Result<Issued, IssueError> {
        let place = match self.take_place(&actor, claim).await? {
            Place::Taken(place) => place,
            Place::Answered(issued) => return Ok(*issued),
        };
        self.issue_after(actor, request, None, "asked for".to_owned(), place)
            .await
    }

    /// What [`Authority::issue`] would issue: judged as it would be, neither recorded nor signed.
    pub async fn preview(&self, actor: Actor, request: &Request) -> Result<Preview, IssueError> {
        let signer = self.signer().await?;
        let approved = self.approve(actor, request, signer)?;
        Ok(Preview {
            certificate: approved.preview().clone(),
            because: approved.because(request, signer.certificate()),
            objections: objections(approved.preview()),
        })
    }

    /// Issues the next certificate for the names and the profile of a live one, under the key of `spki_der`.
    pub async fn renew(
        self: &Arc<Self>,
        actor: Actor,
        what: &What,
        spki_der: Vec<u8>,
    ) -> Result<Issued, RenewError> {
        self.renew_once(actor, what, spki_der, None).await
    }

    /// Like [`Authority::renew`]; the same claim gives the same certificate again.
    pub async fn renew_once(
        self: &Arc<Self>,
        actor: Actor,
        what: &What,
        spki_der: Vec<u8>,
        claim: Option<Claim>,
    ) -> Result<Issued, RenewError> {
        let place = match self.take_place(&actor, claim).await? {
            Place::Taken(place) => place,
            Place::Answered(issued) => return Ok(*issued),
        };
        let entries = self.renewable(what).await.map_err(IssueError::Store)?;
        let predecessor = renewal::choose(entries, &actor, what, self.now())?;
        let request = renewal::request(&predecessor, spki_der)?;
        let reason = format!("renews {}", predecessor.serial);
        match self
            .issue_after(actor, request, Some(predecessor.id), reason, place)
            .await
        {
            // Revoked or held since it was chosen.
            Err(IssueError::Store(StoreError::PredecessorHeld { serial })) => {
                Err(RenewError::Held {
                    serial,
                    since: self.now(),
                })
            }
            Err(IssueError::Store(StoreError::PredecessorRevoked { serial })) => {
                Err(RenewError::Revoked {
                    serial,
                    revoked_at: self.now(),
                })
            }
            outcome => Ok(outcome?),
        }
    }

    /// Every valid one that is meant, however many certificates have had the name; if there is none, what there is.
    async fn renewable(&self, what: &What) -> Result<Vec<Entry>, StoreError> {
        let selector = self.selector(what).await?;
        let mut valid = Vec::new();
        if let Selector::Names(names) = &selector {
            let mut after = None;
            loop {
                let filter = Filter {
                    status: Some(Status::Valid),
                    names: vec![NameFilter::Exactly(names.clone())],
                    ..Filter::default()
                };
                let page = self.store.list(filter, after, MAX_PAGE, self.now()).await?;
                valid.extend(
                    page.entries
                        .into_iter()
                        .filter(|entry| !entry.is_imported()),
                );
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
        }
        if valid.is_empty() {
            valid = self.store.find(selector).await?.entries;
        }
        Ok(valid)
    }

    /// Authorize, encode, approve.
    fn approve(
        &self,
        actor: Actor,
        request: &Request,
        signer: &dyn Signer,
    ) -> Result<Approved, IssueError> {
        let issuer = signer.certificate();
        let rules = IssuanceRules {
            trust_domain: self.meta.trust_domain.clone(),
            publication: self.publication_url(),
        };
        let random = Self::random()?;
        let authorized = authorize(actor, request, &rules, issuer, random, self.now())?;
        let to_be_signed = authorized
            .template()
            .to_be_signed(issuer, signer.algorithm())?;
        Ok(authorized.approve(to_be_signed, issuer)?)
    }

    async fn issue_after(
        self: &Arc<Self>,
        actor: Actor,
        request: Request,
        renews: Option<EntryId>,
        reason: String,
        place: InFlight,
    ) -> Result<Issued, IssueError> {
        let authority = Arc::clone(self);
        let pipeline = async move {
            authority
                .run_pipeline(actor, &request, renews, reason, place)
                .await
        };
        tokio::spawn(pipeline)
            .await
            .map_err(|_| IssueError::Interrupted)?
    }

    async fn run_pipeline(
        &self,
        actor: Actor,
        request: &Request,
        renews: Option<EntryId>,
        reason: String,
        place: InFlight,
    ) -> Result<Issued, IssueError> {
        let signer = self.signer().await?;
        let issuer = signer.certificate();
        let approved = self.approve(actor, request, signer)?;
        let stored = self
            .issue_approved(place.claim(), approved, renews, reason)
            .await?;
        // Until the certificate is durable, whoever makes the request again has to wait.
        drop(place);
        Ok(self.issued(stored, request.profile, issuer))
    }

    pub(super) fn issued(
        &self,
        certificate: Certificate,
        profile: Profile,
        issuer: &Certificate,
    ) -> Issued {
        Issued {
            serial: certificate.serial(),
            fingerprint: certificate.fingerprint(),
            profile,
            not_before: certificate.not_before(),
            not_after: certificate.not_after(),
            chain_pem: pem::encode(CERTIFICATE, certificate.der())
                + &pem::encode(CERTIFICATE, issuer.der()),
            ca_pem: self.ca_pem(),
            certificate,
        }
    }

    /// Durable intent, signature, durable certificate.
    pub(crate) async fn issue_approved(
        &self,
        claim: Option<Claim>,
        approved: Approved,
        renews: Option<EntryId>,
        reason: String,
    ) -> Result<Certificate, IssueError> {
        let signer = self.signer().await?;
        let intended = self
            .store
            .intend_under(
                claim,
                approved,
                self.intermediate_id,
                renews,
                reason,
                self.now(),
            )
            .await?;
        FailPoint::IntentDurable.reach();
        let signature = signer.sign(&intended)?;
        FailPoint::Signed.reach();
        let stored = self
            .store
            .complete(intended, &signature, self.now())
            .await?;
        Ok(stored.certificate().clone())
    }

    /// For a serial number.
    pub(crate) fn random() -> Result<[u8; 20], IssueError> {
        let mut random = [0; 20];
        aws_lc_rs::rand::fill(&mut random).map_err(|_| IssueError::NoRandomness)?;
        Ok(random)
    }
}

/// A certificate that was not issued, but would be.
#[derive(Clone, Debug)]
pub struct Preview {
    /// Its fields; the signature is empty, and the serial number would be another.
    pub certificate: Certificate,
    /// What they come from.
    pub because: Vec<Because>,
    /// Who would refuse it.
    pub objections: Vec<Objection>,
}

/// A certificate as it is handed out. Whoever holds this can rely on its record.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The leaf.
    pub certificate: Certificate,
    /// Its serial number.
    pub serial: SerialNumber,
    /// SHA-256 of the leaf.
    pub fingerprint: Fingerprint,
    /// Which profile.
    pub profile: Profile,
    /// Beginning.
    pub not_before: UnixTime,
    /// End.
    pub not_after: UnixTime,
    /// The leaf, then the intermediate.
    pub chain_pem: String,
    /// The root.
    pub ca_pem: String,
}
