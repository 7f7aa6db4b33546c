//! The authority: one code path from a request to a recorded certificate, and from a revocation to its receipt.

mod annotate;
mod audit;
mod download;
mod fault;
pub(crate) mod in_flight;
mod issuance;
mod recovery;
mod refusal;
mod revocation;
mod signers;

use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use countersign_pki::certificate::Certificate;
use countersign_pki::dn::DistinguishedName;
use countersign_pki::feed::{Bundle, HistoryId, Sequence};
use countersign_pki::identity::BundleName;
use countersign_pki::pem;
use countersign_pki::spiffe::TrustDomain;
use countersign_pki::time::UnixTime;
use countersign_policy::administration::Roles;
use countersign_policy::issuance::{IssuanceRules, IssuerRole, Issuers, Profiles};
use countersign_runtime::clock::SharedClock;
use countersign_runtime::drain::Drain;
use countersign_store::error::StoreError;
use countersign_store::inventory::{Cursor, Filter, Page, Selector, Tally};
use countersign_store::issuer::IssuerId;
use countersign_store::store::Store;
use tokio::sync::{Mutex, Semaphore, watch};

use crate::allowance::Allowances;
use crate::backup::RulesInForce;
use crate::feed::{Hub, Subscription};
use crate::meta::Meta;
use crate::publish::answers::Answers;
use crate::retention::Keeping;
use crate::signer::Signer;
use crate::state::{StateFolder, StateLock};
use crate::what::What;

pub use self::audit::AuditError;
pub use self::download::Download;
pub use self::fault::{
    AnnotateError, ImportError, IssueError, NotReady, OpenError, RenewError, RevokeError, ShowError,
};
pub use self::issuance::{Issued, Preview, RequestedKey};
pub use self::recovery::{BackupError, EvidenceError, ResumeError};
pub(crate) use self::refusal::records as records_of_refusals;
pub(crate) use self::signers::RareSigners;

/// The running authority.
pub struct Authority {
    pub(crate) state: StateFolder,
    pub(crate) meta: Meta,
    pub(crate) issuers: Issuers,
    pub(crate) issuer_ids: IssuerIds,
    /// Replaced when the configuration is read again; who has begun to issue goes on by the old ones.
    pub(crate) rules: RwLock<Arc<IssuanceRules>>,
    /// Why what it issues by is not what the next process would find.
    pub(crate) unkept: RwLock<Option<NotReady>>,
    /// What a backup says of what is issued by.
    pub(crate) rules_in_force: RwLock<RulesInForce>,
    /// Where operators on other machines reach it.
    pub(crate) admin_url: RwLock<Option<String>>,
    pub(crate) refusals: Allowances,
    pub(crate) unsealing: watch::Receiver<Unsealing>,
    /// Set before [`Unsealing::Done`] is told.
    pub(crate) signer: Arc<OnceLock<Arc<dyn Signer>>>,
    pub(crate) rarely: RareSigners,
    pub(crate) clock: SharedClock,
    pub(crate) hub: Arc<Hub>,
    pub(crate) in_flight: in_flight::KeysInFlight,
    pub(crate) answers: Arc<Answers>,
    /// Held from a list's draft to its record, so that no draft is overtaken.
    pub(crate) publishing: Mutex<()>,
    /// The list of a CA above is judged by the one before it, and nothing takes the place of that meanwhile. Taken before
    /// `publishing`, which is not held for as long: what a long list revokes is many transactions.
    pub(crate) following: Mutex<()>,
    pub(crate) store: Store,
    pub(crate) keeping: Keeping,
    /// By the steady clock.
    pub(crate) opened: Instant,
    /// One place.
    pub(crate) backing_up: Arc<Semaphore>,
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
        self.issuers.issuer(IssuerRole::Root)
    }

    /// The issuer of leaves.
    pub fn intermediate(&self) -> &Certificate {
        self.issuers.issuer(IssuerRole::Intermediate)
    }

    /// The issuer of leaves and what stands between it and the root, nearest to the leaves first.
    pub fn intermediates(&self) -> &[Certificate] {
        let chain = self.issuers.chain(IssuerRole::Intermediate);
        &chain[..chain.len() - 1]
    }

    /// The anchor of operators and nodes.
    pub fn operator(&self) -> &Certificate {
        self.issuers.issuer(IssuerRole::Operator)
    }

    /// Where SPIFFE IDs live.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.meta.trust_domain
    }

    /// What it vouches for, as nodes in other processes are told.
    pub(crate) fn bundle(&self) -> Bundle {
        Bundle::new(
            BundleName::internal(),
            Some(self.meta.trust_domain.clone()),
            std::slice::from_ref(self.root()),
            self.intermediates(),
        )
    }

    /// The root in PEM.
    pub fn ca_pem(&self) -> String {
        pem::encode(CERTIFICATE, self.root().der())
    }

    /// What is issued, and how.
    pub fn profiles(&self) -> Profiles {
        self.rules().profiles.clone()
    }

    /// Issues by these profiles from now on.
    pub fn replace_profiles(&self, profiles: Profiles) {
        self.change_rules(|rules| rules.profiles = profiles);
    }

    /// Nothing is issued while what it issues by cannot be kept: whoever finds nobody serving would go by other rules, and
    /// nobody would know which certificate came of which. `None`: it is kept.
    pub fn hold_back(&self, unkept: Option<NotReady>) {
        let present = self.unkept.write();
        *present.unwrap_or_else(PoisonError::into_inner) = unkept;
    }

    /// Why nothing is issued for the time being.
    pub fn held_back(&self) -> Option<NotReady> {
        let unkept = self.unkept.read();
        unkept.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What backups have from now on, whatever the disk kept of it.
    pub fn back_up_rules(&self, rules: RulesInForce) {
        let present = self.rules_in_force.write();
        *present.unwrap_or_else(PoisonError::into_inner) = rules;
    }

    pub(crate) fn rules_in_force(&self) -> RulesInForce {
        let rules = self.rules_in_force.read();
        rules.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Who has which role from now on. Those before, and these.
    pub(crate) fn replace_roles(&self, roles: Roles) -> (Arc<Roles>, Arc<Roles>) {
        self.store.replace_roles(roles)
    }

    /// Where operators on other machines reach the admin API; `None`: nowhere.
    pub fn serve_admin_at(&self, url: Option<String>) {
        let present = self.admin_url.write();
        *present.unwrap_or_else(PoisonError::into_inner) = url;
    }

    pub(crate) fn admin_url(&self) -> Option<String> {
        let url = self.admin_url.read();
        url.unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn roles(&self) -> Arc<Roles> {
        self.store.roles()
    }

    pub(crate) fn change_rules(&self, change: impl FnOnce(&mut IssuanceRules)) {
        let mut rules = self.rules.write().unwrap_or_else(PoisonError::into_inner);
        change(Arc::make_mut(&mut rules));
    }

    pub(crate) fn rules(&self) -> Arc<IssuanceRules> {
        let rules = self.rules.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&rules)
    }

    /// The CA certificate of this subject and those above it, the root last; none for a stranger's.
    pub fn issuers_above(&self, issuer: &DistinguishedName) -> Vec<&Certificate> {
        let ours = || (self.intermediates().iter()).chain([self.operator(), self.root()]);
        let mut path: Vec<&Certificate> = Vec::new();
        let mut wanted = issuer;
        while let Some(next) = ours().find(|it| it.subject() == wanted)
            && path.iter().all(|it| it.der() != next.der())
        {
            path.push(next);
            wanted = next.issuer();
        }
        path
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
                () = drain.draining() => {
                    self.record_counted(Duration::ZERO).await;
                    return;
                }
                _ = ticks.tick() => {}
            }
            self.record_counted(refusal::EVERY).await;
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
        let is_revoked = match &first {
            Selector::Serial(serial) => self.store.has_unrecorded(*serial).await?,
            Selector::Fingerprint(_) | Selector::Names(_) => false,
        };
        match what.second_reading(self.trust_domain()) {
            _ if is_revoked => Ok(first),
            Some(second) if self.store.find(first.clone()).await?.entries.is_empty() => Ok(second),
            _ => Ok(first),
        }
    }

    /// The signer of leaves.
    pub(crate) async fn signer(&self) -> Result<&Arc<dyn Signer>, NotReady> {
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
        self.signer.get().ok_or_else(ended)
    }
}

/// The issuers' numbers in the inventory.
#[derive(Clone, Copy)]
pub(crate) struct IssuerIds {
    pub(crate) intermediate: IssuerId,
    pub(crate) operator: IssuerId,
    pub(crate) root: IssuerId,
}

impl IssuerIds {
    pub(crate) fn of(self, role: IssuerRole) -> IssuerId {
        match role {
            IssuerRole::Intermediate => self.intermediate,
            IssuerRole::Operator => self.operator,
            IssuerRole::Root => self.root,
        }
    }
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

/// How often the feed is confirmed: nodes tolerate hours without, so this only has to be far below a minute.
pub const HEARTBEAT: Duration = Duration::from_secs(10);

pub(crate) const CERTIFICATE: &str = "CERTIFICATE";
