//! Revocation lists, signed.
//!
//! A list is signed when there is none, at [`REFRESH_AFTER`], and after a revocation at once, but not twice in one second:
//! revocations of the same second share a list, and as numbers follow the clock, none runs ahead of it, so that an authority
//! restored from a backup goes on above the last that it gave out. A list over [`LARGE`] waits [`LARGE_SPACING`]. An operator
//! who asks for a file waits for neither.

use std::fs;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use countersign_pki::certificate::Certificate;
use countersign_pki::crl::ParsedCrl;
use countersign_pki::ocsp::OcspResponseFault;
use countersign_pki::pem;
use countersign_pki::publication::PublicationUrl;
use countersign_pki::time::UnixTime;
use countersign_policy::administration::Role;
use countersign_policy::issuance::Actor;
use countersign_store::error::StoreError;
use countersign_store::publication::{DraftedList, PublishedList, RevocationList, SerialStatus};
use tokio::task::JoinSet;

use super::Publication;
use super::shelf::{CERTIFICATE, CRL, Document};
use crate::authority::{Authority, IssueError, NotReady};
use crate::signer::SignError;

/// The list of every certificate of an issuer, for files.
#[derive(Clone, Debug)]
pub struct CompleteList {
    /// Whose.
    pub issuer: String,
    /// cRLNumber.
    pub number: u64,
    /// thisUpdate.
    pub this_update: UnixTime,
    /// nextUpdate.
    pub next_update: UnixTime,
    /// In PEM.
    pub pem: String,
}

impl Authority {
    /// The complete lists of the issuing CA and of the root, as verifiers of whole chains want them. The former is signed anew
    /// if there was a revocation since or it is due.
    pub async fn complete_lists(&self, actor: Actor) -> Result<Vec<CompleteList>, PublishError> {
        if !actor.may(Role::Operator) {
            return Err(PublishError::NotPermitted {
                actor: actor.to_string(),
            });
        }
        let turn = self.publishing.lock().await;
        let lists = self.store.lists(self.issuer_ids.intermediate).await?;
        let complete = lists
            .into_iter()
            .find(|list| list.distribution_point.is_none())
            .ok_or(PublishError::NoList)?;
        let now = self.now();
        let due = complete.is_stale || regular(&complete, now) <= now;
        let last = if due {
            None
        } else {
            self.store.published(complete.id).await?
        };
        let published = if let Some(last) = last {
            last
        } else {
            let signed = self.sign_list(&complete).await?;
            let recorded = self.record_list(signed, actor).await?;
            // The listener shall serve no older one than the file has.
            self.answers.ring();
            recorded
        };
        drop(turn);
        let root = self.root_list()?;
        let parsed = ParsedCrl::parse(&root).map_err(|error| PublishError::RootList {
            why: error.to_string(),
        })?;
        let signed = published.list.signed.ok_or(PublishError::NoList)?;
        Ok(vec![
            CompleteList {
                issuer: self.intermediate().subject().to_string(),
                number: signed.number,
                this_update: signed.this_update,
                next_update: signed.next_update,
                pem: pem::encode(X509_CRL, &published.der),
            },
            CompleteList {
                issuer: self.root().subject().to_string(),
                number: parsed.number().unwrap_or_default(),
                this_update: parsed.this_update(),
                next_update: parsed.next_update().unwrap_or(parsed.this_update()),
                pem: pem::encode(X509_CRL, &root),
            },
        ])
    }

    /// Lists that are over or near it, though they should have been signed anew long before.
    pub(crate) async fn overdue_list(&self) -> Result<Option<UnixTime>, StoreError> {
        if self.publication_url().is_none() {
            return Ok(None);
        }
        let lists = self.store.lists(self.issuer_ids.intermediate).await?;
        let now = self.now();
        let overdue = lists
            .iter()
            .filter_map(|list| list.signed)
            .filter(|signed| now >= signed.this_update.plus(LIST_LIFETIME / 2));
        Ok(overdue.map(|signed| signed.next_update).min())
    }

    pub(crate) async fn is_revoked(&self, certificate: &Certificate) -> Result<bool, StoreError> {
        let statuses = self
            .store
            .statuses(self.issuer_ids.intermediate, vec![certificate.serial()])
            .await?;
        Ok(matches!(statuses[..], [SerialStatus::Revoked { .. }]))
    }

    async fn sign_list(
        &self,
        list: &RevocationList,
    ) -> Result<(DraftedList, Vec<u8>), PublishError> {
        // A restored inventory lacks what was revoked since its backup: its list, with a higher number, would let that in.
        self.refuse_paused().await?;
        self.signer().await?;
        let signer = self
            .signer
            .get()
            .map(Arc::clone)
            .ok_or(PublishError::NoList)?;
        let drafted = self
            .store
            .draft(
                list.id,
                self.intermediate().clone(),
                signer.algorithm(),
                LIST_LIFETIME,
                self.now(),
            )
            .await?;
        // A large list is hashed for as long as others would notice.
        let signing = tokio::task::spawn_blocking(move || {
            let signature = signer.sign_crl(drafted.to_be_signed());
            (drafted, signature)
        });
        let (drafted, signature) = signing.await.map_err(|_| PublishError::Interrupted)?;
        Ok((drafted, signature?))
    }

    async fn record_list(
        &self,
        (drafted, signature): (DraftedList, Vec<u8>),
        actor: Actor,
    ) -> Result<PublishedList, PublishError> {
        let published = self
            .store
            .publish(drafted, &signature, actor, self.now())
            .await?;
        Ok(published)
    }

    fn root_list(&self) -> Result<Vec<u8>, PublishError> {
        let path = self.state.ca().join("root.crl");
        let fault = |why: String| PublishError::RootList {
            why: format!("{}: {why}", path.display()),
        };
        let bytes = fs::read(&path).map_err(|error| fault(error.to_string()))?;
        let blocks = pem::decode_all(&bytes).map_err(|error| fault(error.to_string()))?;
        match blocks.into_iter().find(|block| block.label == X509_CRL) {
            Some(block) => Ok(block.der),
            None => Err(fault("it holds no CRL".to_owned())),
        }
    }
}

impl Publication {
    /// CA certificates, and the root's list, which is signed elsewhere.
    pub(super) fn shelve_certificates(&self) {
        let authority = &self.authority;
        for issuer in [
            authority.root(),
            authority.intermediate(),
            authority.operator(),
        ] {
            let url = self.url.join(&PublicationUrl::certificate_path(issuer));
            let document = Document::new(issuer.der().to_vec(), CERTIFICATE, None);
            self.shelf.put(url.as_str(), document);
        }
        let root = authority.root_list().and_then(|der| {
            let parsed = ParsedCrl::parse(&der).map_err(|error| PublishError::RootList {
                why: error.to_string(),
            })?;
            let end = parsed.next_update().unwrap_or(parsed.this_update());
            Ok(Document::new(der, CRL, Some((parsed.this_update(), end))))
        });
        match root {
            Ok(document) => {
                let path = PublicationUrl::complete_list_path(authority.root());
                self.shelf.put(self.url.join(&path).as_str(), document);
            }
            Err(error) => {
                tracing::error!(target: "publication", %error, "the root's revocation list is not served");
            }
        }
    }

    /// What an earlier process has signed.
    pub(super) async fn shelve_last_lists(&self) -> Result<(), StoreError> {
        let store = &self.authority.store;
        for list in store.lists(self.authority.issuer_ids.intermediate).await? {
            if let Some(published) = store.published(list.id).await? {
                self.shelve(published);
            }
        }
        Ok(())
    }

    /// Signs what is due, what has changed first, and says when the next one is.
    pub(super) async fn refresh_lists(&self) -> Result<UnixTime, PublishError> {
        let authority = &self.authority;
        let _turn = authority.publishing.lock().await;
        let mut lists = authority
            .store
            .lists(authority.issuer_ids.intermediate)
            .await?;
        let now = authority.now();
        lists.retain(|list| due_at(list, now) <= now);
        lists.sort_by_key(|list| !list.is_stale);
        for group in lists.chunks(GROUP) {
            let mut recording = JoinSet::new();
            for list in group {
                let signed = authority.sign_list(list).await?;
                let authority = Arc::clone(authority);
                recording
                    .spawn(async move { authority.record_list(signed, Actor::Authority).await });
            }
            while let Some(recorded) = recording.join_next().await {
                self.shelve(recorded.map_err(|_| PublishError::Interrupted)??);
            }
        }
        let lists = authority
            .store
            .lists(authority.issuer_ids.intermediate)
            .await?;
        for list in &lists {
            // Signed for a file, or while somebody else's signature failed.
            if !self.has_shelved(list)
                && let Some(published) = authority.store.published(list.id).await?
            {
                self.shelve(published);
            }
        }
        let now = authority.now();
        let next = lists.iter().map(|list| due_at(list, now)).min();
        Ok(next.unwrap_or(now))
    }

    fn has_shelved(&self, list: &RevocationList) -> bool {
        let numbers = self.shelved.lock().unwrap_or_else(PoisonError::into_inner);
        numbers.get(&list.id).copied() == list.signed.map(|signed| signed.number)
    }

    fn shelve(&self, published: PublishedList) {
        let PublishedList { list, der } = published;
        let Some(signed) = list.signed else {
            return;
        };
        let url = list.distribution_point.unwrap_or_else(|| {
            let path = PublicationUrl::complete_list_path(self.authority.intermediate());
            self.url.join(&path)
        });
        let times = Some((signed.this_update, signed.next_update));
        self.shelf.put(url.as_str(), Document::new(der, CRL, times));
        let mut numbers = self.shelved.lock().unwrap_or_else(PoisonError::into_inner);
        numbers.insert(list.id, signed.number);
    }
}

/// When a list shall be signed again, if nothing is revoked.
fn regular(list: &RevocationList, now: UnixTime) -> UnixTime {
    match list.signed {
        // Signed by a clock that was ahead, it would not be in force yet.
        Some(signed) if signed.this_update <= now => signed.this_update.plus(REFRESH_AFTER),
        _ => now,
    }
}

fn due_at(list: &RevocationList, now: UnixTime) -> UnixTime {
    let regular = regular(list, now);
    match list.signed {
        Some(signed) if list.is_stale => {
            let spacing = if signed.bytes > LARGE {
                LARGE_SPACING
            } else {
                SPACING
            };
            regular.min(signed.this_update.plus(spacing))
        }
        _ => regular,
    }
}

/// Why something is not published.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// More is asked than is answered within a second.
    #[error("more is asked than is answered in a second")]
    Busy,
    /// A task was ended.
    #[error("the process ends")]
    Interrupted,
    /// The responder has no certificate.
    #[error("no certificate for the OCSP responder: {0}")]
    Issue(#[from] IssueError),
    /// The inventory knows no list of the issuer: our bug.
    #[error("the inventory has no revocation list of the issuing CA")]
    NoList,
    /// Before the CA key is unsealed.
    #[error("the OCSP responder has no certificate yet")]
    NoResponder,
    /// A certificate is no right to have a list signed.
    #[error("{actor} may not have revocation lists signed")]
    NotPermitted {
        /// Who asked.
        actor: String,
    },
    /// The CA key is not there.
    #[error(transparent)]
    NotReady(#[from] NotReady),
    /// The response cannot be encoded.
    #[error(transparent)]
    Response(#[from] OcspResponseFault),
    /// The root's list cannot be read.
    #[error("the root's revocation list cannot be used: {why}")]
    RootList {
        /// Why.
        why: String,
    },
    /// There is no signature.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// The inventory.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl PublishError {
    /// What to do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Issue(error) => error.hint(),
            Self::NotReady(error) => error.hint.clone(),
            Self::Response(error) => Some(error.hint().to_owned()),
            Self::RootList { .. } => {
                Some("restore the state folder's ca/ from a backup as a whole".to_owned())
            }
            Self::Sign(error) => error.hint(),
            Self::Store(error) => error.hint(),
            _ => None,
        }
    }
}

/// Until nextUpdate: verifiers go on through a week in which nobody can sign.
pub const LIST_LIFETIME: Duration = Duration::from_hours(7 * 24);

/// A day, so that six are left when that fails.
pub const REFRESH_AFTER: Duration = Duration::from_hours(24);

const SPACING: Duration = Duration::from_secs(1);

/// 20,000 entries. What is larger takes longer to hash and to write than a revocation should wait for, and those who want
/// to hear soon have the shards.
const LARGE: u64 = 1024 * 1024;
const LARGE_SPACING: Duration = Duration::from_secs(30);

/// Lists that share one fsync.
const GROUP: usize = 16;

const X509_CRL: &str = "X509 CRL";
