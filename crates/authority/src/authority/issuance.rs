//! The one code path from a request to a recorded certificate.

use std::sync::Arc;

use countersign_pki::certificate::Certificate;
use countersign_pki::compatibility::{Objection, objections};
use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::pem;
use countersign_pki::request::Wishes;
use countersign_pki::serial::SerialNumber;
use countersign_pki::tbs::SignatureAlgorithm;
use countersign_pki::time::UnixTime;
use countersign_policy::issuance::{
    Actor, Approved, Because, IssuerRole, Profile, Request, authorize,
};
use countersign_store::error::StoreError;
use countersign_store::fail_point::FailPoint;
use countersign_store::idempotency::Claim;
use countersign_store::inventory::{
    Entry, EntryId, Filter, MAX_PAGE, NameFilter, Selector, Status,
};

use super::in_flight::{InFlight, Place};
use super::{Authority, CERTIFICATE, IssueError, NotReady, RenewError};
use crate::renewal;
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
        let object = asked_for(&request);
        let outcome = self.issue_claimed(actor.clone(), request, claim).await;
        self.record_denied(actor, &object, &outcome).await;
        outcome
    }

    async fn issue_claimed(
        self: &Arc<Self>,
        actor: Actor,
        request: Request,
        claim: Option<Claim>,
    ) -> Result<Issued, IssueError> {
        match self.take_place(&actor, claim).await? {
            Place::Answered(issued) => Ok(*issued),
            Place::Taken(place) => {
                let reason = "asked for".to_owned();
                self.issue_after(actor, request, None, reason, place).await
            }
        }
    }

    /// What [`Authority::issue`] would issue: judged as it would be, neither recorded nor signed.
    pub async fn preview(&self, actor: Actor, request: &Request) -> Result<Preview, IssueError> {
        // Fails where the certificate itself would, but wakes no key that sleeps.
        self.signer().await?;
        let approved = self.approve(actor, request)?;
        let issuer = self.issuer_ids.of(approved.issued_by());
        let profile = approved.profile().clone();
        if let Some(refused) = self.store.refuses_to_issue(issuer, profile).await? {
            return Err(refused.into());
        }
        Ok(Preview {
            certificate: approved.preview().clone(),
            because: approved.because(request, &self.issuers),
            objections: objections(approved.preview(), self.issuers.chain(approved.issued_by())),
        })
    }

    /// Issues the next certificate for the names and the profile of a live one, under the key of `spki_der`.
    pub async fn renew(
        self: &Arc<Self>,
        actor: Actor,
        what: &What,
        key: RequestedKey,
    ) -> Result<Issued, RenewError> {
        self.renew_once(actor, what, key, None).await
    }

    /// Like [`Authority::renew`]; the same claim gives the same certificate again.
    pub async fn renew_once(
        self: &Arc<Self>,
        actor: Actor,
        what: &What,
        key: RequestedKey,
        claim: Option<Claim>,
    ) -> Result<Issued, RenewError> {
        let outcome = self.renew_meant(actor.clone(), what, key, claim).await;
        self.record_not_renewed(actor, &what.to_string(), &outcome)
            .await;
        outcome
    }

    async fn renew_meant(
        self: &Arc<Self>,
        actor: Actor,
        what: &What,
        key: RequestedKey,
        claim: Option<Claim>,
    ) -> Result<Issued, RenewError> {
        let place = match self.take_place(&actor, claim).await? {
            Place::Taken(place) => place,
            Place::Answered(issued) => return Ok(*issued),
        };
        let entries = self.renewable(what).await?;
        let predecessor = renewal::choose(entries, &actor, what, self.now())?;
        self.renew_entry(actor, &predecessor, key, place).await
    }

    /// The next certificate for the holder of this very one, who has shown it and proved its key.
    pub(crate) async fn renew_presented(
        self: &Arc<Self>,
        holder: Actor,
        presented: Fingerprint,
        key: RequestedKey,
        claim: Option<Claim>,
    ) -> Result<Issued, RenewError> {
        let outcome = self
            .renew_shown(holder.clone(), presented, key, claim)
            .await;
        self.record_not_renewed(holder, &presented.to_string(), &outcome)
            .await;
        outcome
    }

    async fn renew_shown(
        self: &Arc<Self>,
        holder: Actor,
        presented: Fingerprint,
        key: RequestedKey,
        claim: Option<Claim>,
    ) -> Result<Issued, RenewError> {
        let place = match self.take_place(&holder, claim).await? {
            Place::Taken(place) => place,
            Place::Answered(issued) => return Ok(*issued),
        };
        let found = self.store.find(Selector::Fingerprint(presented)).await;
        let found = found.map_err(IssueError::Store)?.entries;
        let is_good =
            |entry: &Entry| !entry.is_imported() && entry.status_at(self.now()) == Status::Valid;
        let predecessor = found.into_iter().find(is_good);
        let predecessor = predecessor.ok_or_else(|| RenewError::NotFound {
            what: presented.to_string(),
        })?;
        self.renew_entry(holder, &predecessor, key, place).await
    }

    async fn renew_entry(
        self: &Arc<Self>,
        actor: Actor,
        predecessor: &Entry,
        key: RequestedKey,
        place: InFlight,
    ) -> Result<Issued, RenewError> {
        let request = renewal::request(predecessor, key, &self.rules().profiles)?;
        let reason = format!("renews {}", predecessor.serial);
        let outcome = self
            .issue_after(actor, request, Some(predecessor.id), reason, place)
            .await;
        match outcome {
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

    /// The newest valid one that is meant, if all are for the same names and profile, however many certificates have had the
    /// name; if there is none, what there is. No more than a page of them is held at a time.
    async fn renewable(&self, what: &What) -> Result<Vec<Entry>, RenewError> {
        let selector = self.selector(what).await.map_err(IssueError::Store)?;
        let mut newest: Option<Entry> = None;
        let (mut count, mut do_differ) = (0, false);
        if let Selector::Names(names) = &selector {
            let mut after = None;
            loop {
                let filter = Filter {
                    status: Some(Status::Valid),
                    names: vec![NameFilter::Exactly(names.clone())],
                    ..Filter::default()
                };
                let page = self.store.list(filter, after, MAX_PAGE, self.now()).await;
                let page = page.map_err(IssueError::Store)?;
                for entry in page.entries {
                    if entry.is_imported() {
                        continue;
                    }
                    count += 1;
                    let newest = newest.get_or_insert_with(|| entry.clone());
                    do_differ |= !renewal::are_alike(newest, &entry);
                }
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
        }
        if do_differ {
            return Err(RenewError::Ambiguous {
                what: what.to_string(),
                count,
            });
        }
        match newest {
            Some(newest) => Ok(vec![newest]),
            None => Ok(self
                .store
                .find(selector)
                .await
                .map_err(IssueError::Store)?
                .entries),
        }
    }

    /// Authorize, encode, approve.
    pub(crate) fn approve(&self, actor: Actor, request: &Request) -> Result<Approved, IssueError> {
        // Who asks about what was issued before is answered on.
        if let Some(unkept) = self.held_back()
            && request.profile != Profile::OCSP_RESPONDER
        {
            return Err(unkept.into());
        }
        let rules = self.rules();
        let mut random = [0; 20];
        aws_lc_rs::rand::fill(&mut random).map_err(|_| IssueError::NoRandomness)?;
        let authorized = authorize(actor, request, &rules, &self.issuers, random, self.now())?;
        let issuer = self.issuers.issuer(authorized.issued_by());
        let algorithm = SignatureAlgorithm::of_key(issuer.public_key_algorithm())
            .ok_or_else(|| no_algorithm(issuer))?;
        let to_be_signed = authorized.template().to_be_signed(issuer, algorithm)?;
        Ok(authorized.approve(to_be_signed, &self.issuers)?)
    }

    async fn record_denied(
        &self,
        actor: Actor,
        object: &str,
        outcome: &Result<Issued, IssueError>,
    ) {
        if let Err(error) = outcome
            && error.is_refusal()
        {
            self.refused(actor, object, &error.to_string()).await;
        }
    }

    async fn record_not_renewed(
        &self,
        actor: Actor,
        what: &str,
        outcome: &Result<Issued, RenewError>,
    ) {
        if let Err(error) = outcome
            && error.is_refusal()
        {
            let object = format!("the next certificate of {what}");
            self.refused(actor, &object, &error.to_string()).await;
        }
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
        let approved = self.approve(actor, request)?;
        let role = approved.issued_by();
        let stored = self
            .issue_approved(place.claim(), approved, renews, reason)
            .await?;
        // Until the certificate is durable, whoever makes the request again has to wait.
        drop(place);
        Ok(self.issued(stored, request.profile.clone(), role))
    }

    pub(super) fn issued(
        &self,
        certificate: Certificate,
        profile: Profile,
        role: IssuerRole,
    ) -> Issued {
        Issued {
            serial: certificate.serial(),
            fingerprint: certificate.fingerprint(),
            profile,
            not_before: certificate.not_before(),
            not_after: certificate.not_after(),
            chain_pem: self.chain_pem(role, &certificate),
            ca_pem: self.ca_pem_of(role),
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
        let role = approved.issued_by();
        let signer = self.signer_of(role).await?;
        let issuer = self.issuer_ids.of(role);
        let intended = self
            .store
            .intend_under(claim, approved, issuer, renews, reason, self.now())
            .await
            .map_err(|error| match error {
                StoreError::Denied(denied) => IssueError::Denied(denied),
                error => IssueError::Store(error),
            })?;
        FailPoint::IntentDurable.reach();
        let signature = signer.sign(&intended)?;
        FailPoint::Signed.reach();
        let stored = self
            .store
            .complete(intended, &signature, self.now())
            .await?;
        Ok(stored.certificate().clone())
    }

    /// What its holder shows: the certificate, and what stands between it and what [`Authority::ca_pem_of`] gives.
    fn chain_pem(&self, role: IssuerRole, certificate: &Certificate) -> String {
        let own = pem::encode(CERTIFICATE, certificate.der());
        match role {
            IssuerRole::Intermediate => {
                let between = self.intermediates().iter();
                let between = between.map(|it| pem::encode(CERTIFICATE, it.der()));
                own + &between.collect::<String>()
            }
            IssuerRole::Operator | IssuerRole::Root => own,
        }
    }

    /// What its holder trusts. Nodes and operators speak to the authority and to each other, so that is the operator issuer
    /// alone: under the root, whoever has a server certificate of the right name could pass for the authority.
    fn ca_pem_of(&self, role: IssuerRole) -> String {
        match role {
            IssuerRole::Operator => pem::encode(CERTIFICATE, self.operator().der()),
            IssuerRole::Intermediate | IssuerRole::Root => self.ca_pem(),
        }
    }
}

/// For the audit record of a refusal.
fn asked_for(request: &Request) -> String {
    format!("{} {}", request.profile, request.name)
}

fn no_algorithm(issuer: &Certificate) -> NotReady {
    NotReady {
        why: format!(
            "issuer {} has a key of {}, with which nothing can be signed",
            issuer.subject(),
            issuer.public_key_algorithm()
        ),
        hint: None,
    }
}

/// A key that asks to be certified, its possession proved, and what its request asks for beside it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestedKey {
    /// `SubjectPublicKeyInfo` in DER.
    pub spki_der: Vec<u8>,
    /// What else; nothing, where there was no request.
    pub wishes: Wishes,
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
    /// The certificate, then what stands between it and `ca_pem`.
    pub chain_pem: String,
    /// What its holder trusts: the root, but for nodes and operators, who trust the operator issuer alone.
    pub ca_pem: String,
}
