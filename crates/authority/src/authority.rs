//! The authority: one code path from a request to a recorded certificate, and from a revocation to its receipt.

mod annotate;
mod fault;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use countersign_pki::certificate::Certificate;
use countersign_pki::compatibility::{Objection, objections};
use countersign_pki::feed::{HistoryId, RevocationReason, Sequence};
use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::pem;
use countersign_pki::serial::SerialNumber;
use countersign_pki::spiffe::TrustDomain;
use countersign_pki::time::UnixTime;
use countersign_policy::issuance::{
    Actor, Approved, Because, IssuanceRules, Profile, Request, authorize,
};
use countersign_runtime::clock::SharedClock;
use countersign_runtime::drain::Drain;
use countersign_store::error::StoreError;
use countersign_store::inventory::{
    Cursor, Entry, EntryId, Filter, MAX_PAGE, NameFilter, Page, Selector, Status, Tally,
};
use countersign_store::issuer::IssuerId;
use countersign_store::revocation::Revocations;
use countersign_store::store::Store;
use tokio::sync::watch;

use crate::feed::{Hub, Subscription};
use crate::meta::Meta;
use crate::receipt::{Receipt, RevokedCertificate};
use crate::renewal;
use crate::signer::Signer;
use crate::state::{StateFolder, StateLock};
use crate::what::What;

pub use self::fault::{
    AnnotateError, ImportError, IssueError, NotReady, OpenError, RenewError, RevokeError, ShowError,
};

/// The running authority.
pub struct Authority {
    pub(crate) state: StateFolder,
    pub(crate) meta: Meta,
    pub(crate) root: Certificate,
    pub(crate) intermediate: Certificate,
    pub(crate) intermediate_id: IssuerId,
    pub(crate) operator: Certificate,
    pub(crate) root_crl_next_update: UnixTime,
    pub(crate) unsealing: watch::Receiver<Unsealing>,
    /// Set before [`Unsealing::Done`] is told.
    pub(crate) signer: Arc<OnceLock<Arc<dyn Signer>>>,
    pub(crate) clock: SharedClock,
    pub(crate) hub: Arc<Hub>,
    pub(crate) store: Store,
    /// Dropped last: the folder is ours until the inventory is closed.
    pub(crate) _lock: StateLock,
}

impl Authority {
    /// How far the unsealing of the CA key is.
    pub fn unsealed(&self) -> watch::Receiver<Unsealing> {
        self.unsealing.clone()
    }

    /// Resolves when certificates can be issued, or why they cannot.
    pub async fn ready(&self) -> Result<(), NotReady> {
        self.signer().await.map(drop)
    }

    /// The root: what clients trust.
    pub fn root(&self) -> &Certificate {
        &self.root
    }

    /// The issuer of leaves.
    pub fn intermediate(&self) -> &Certificate {
        &self.intermediate
    }

    /// The anchor of operators and nodes.
    pub fn operator(&self) -> &Certificate {
        &self.operator
    }

    /// Where SPIFFE IDs live.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.meta.trust_domain
    }

    /// The root in PEM.
    pub fn ca_pem(&self) -> String {
        pem::encode(CERTIFICATE, self.root.der())
    }

    /// Issues: authorize, encode, approve, durable intent, sign, durable certificate (invariant 4). What has begun is
    /// finished even if the future is dropped, so that a caller who hangs up leaves no half-made certificate.
    pub async fn issue(
        self: &Arc<Self>,
        actor: Actor,
        request: Request,
    ) -> Result<Issued, IssueError> {
        self.issue_after(actor, request, None, "asked for".to_owned())
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
        let entries = self.renewable(what).await.map_err(IssueError::Store)?;
        let predecessor = renewal::choose(entries, &actor, what, self.now())?;
        let request = renewal::request(&predecessor, spki_der)?;
        let reason = format!("renews {}", predecessor.serial);
        match self
            .issue_after(actor, request, Some(predecessor.id), reason)
            .await
        {
            // Revoked since it was chosen.
            Err(IssueError::Store(StoreError::PredecessorRevoked { serial })) => {
                Err(RenewError::Revoked {
                    serial,
                    revoked_at: self.now(),
                })
            }
            outcome => Ok(outcome?),
        }
    }

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

    /// One page of the inventory, in the order of the filter.
    pub async fn list(
        &self,
        filter: Filter,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<Page, StoreError> {
        self.store.list(filter, after, limit, self.now()).await
    }

    /// Everything that is meant, newest first; one page, which says whether there are more.
    pub async fn show(&self, what: &What) -> Result<Page, ShowError> {
        let page = self.store.find(self.selector(what).await?).await?;
        if page.entries.is_empty() {
            Err(ShowError::NotFound {
                what: what.to_string(),
            })
        } else {
            Ok(page)
        }
    }

    /// How many certificates stand where.
    pub async fn tally(&self) -> Result<Tally, StoreError> {
        self.store.tally(self.now()).await
    }

    /// Joins the feed as `node`; whoever joined under that name before loses its place.
    pub async fn subscribe(&self, node: &str) -> Result<Subscription, StoreError> {
        let joining = self.hub.join(node);
        Ok(joining.with(self.store.snapshot(self.now()).await?))
    }

    /// Confirms the feed to every node each [`HEARTBEAT`], until the drain begins.
    pub async fn heartbeat(&self, drain: Drain) {
        let mut ticks = tokio::time::interval(HEARTBEAT);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = drain.draining() => return,
                _ = ticks.tick() => {}
            }
            // Nodes fail closed in their own time.
            if let Err(error) = self.confirm().await {
                tracing::error!(target: "feed", %error, "feed is not confirmed");
            }
        }
    }

    /// Confirms the feed to every node, once.
    pub async fn confirm(&self) -> Result<(), StoreError> {
        let at = self.now();
        // Asked for the sake of asking: an inventory that cannot be read confirms nothing.
        self.store.sequence().await?;
        self.hub.confirm(self.store.history(), at);
        Ok(())
    }

    /// The feed's history and its last message.
    pub async fn feed_position(&self) -> Result<(HistoryId, Sequence), StoreError> {
        Ok((self.store.history().clone(), self.store.sequence().await?))
    }

    pub(crate) fn now(&self) -> UnixTime {
        UnixTime::from_seconds(self.clock.unix_seconds())
    }

    /// A serial or fingerprint that nothing has may be a name that looks like one.
    async fn selector(&self, what: &What) -> Result<Selector, StoreError> {
        let first = what.selector(self.trust_domain());
        match what.second_reading(self.trust_domain()) {
            Some(second) if self.store.find(first.clone()).await?.entries.is_empty() => Ok(second),
            _ => Ok(first),
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

    async fn signer(&self) -> Result<&dyn Signer, NotReady> {
        let mut unsealing = self.unsealing.clone();
        let told = unsealing
            .wait_for(|unsealing| !matches!(unsealing, Unsealing::Running))
            .await;
        if let Ok(told) = told
            && let Unsealing::Failed(error) = &*told
        {
            return Err(error.clone());
        }
        let ended = || NotReady {
            why: "the CA key was not unsealed: its thread ended".to_owned(),
            hint: None,
        };
        self.signer.get().map(|signer| &**signer).ok_or_else(ended)
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
        };
        let mut random = [0; 20];
        aws_lc_rs::rand::fill(&mut random).map_err(|_| IssueError::NoRandomness)?;
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
    ) -> Result<Issued, IssueError> {
        let authority = Arc::clone(self);
        let pipeline = async move {
            authority
                .run_pipeline(actor, &request, renews, reason)
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
    ) -> Result<Issued, IssueError> {
        let signer = self.signer().await?;
        let issuer = signer.certificate();
        let approved = self.approve(actor, request, signer)?;
        let intended = self
            .store
            .intend(approved, self.intermediate_id, renews, reason, self.now())
            .await?;
        let signature = signer.sign(&intended)?;
        let stored = self
            .store
            .complete(intended, &signature, self.now())
            .await?;

        let certificate = stored.certificate().clone();
        Ok(Issued {
            serial: certificate.serial(),
            fingerprint: certificate.fingerprint(),
            profile: request.profile,
            not_before: certificate.not_before(),
            not_after: certificate.not_after(),
            chain_pem: pem::encode(CERTIFICATE, certificate.der())
                + &pem::encode(CERTIFICATE, issuer.der()),
            ca_pem: self.ca_pem(),
            certificate,
        })
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

/// How far the unsealing of the CA key is.
#[derive(Clone, Debug)]
pub enum Unsealing {
    /// Certificates can be issued.
    Done,
    /// They cannot.
    Failed(NotReady),
    /// Not yet.
    Running,
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

/// How often the feed is confirmed: nodes tolerate hours without, so this only has to be far below a minute.
pub const HEARTBEAT: Duration = Duration::from_secs(10);

pub(crate) const CERTIFICATE: &str = "CERTIFICATE";
