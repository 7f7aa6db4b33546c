//! Revocation lists, signed.
//!
//! A list is signed when there is none, at [`REFRESH_AFTER`], and after a revocation at once, but not twice in one second:
//! revocations of the same second share a list, and as numbers follow the clock, none runs ahead of it, so that an authority
//! restored from a backup goes on above the last that it gave out. A list over [`LARGE`] waits [`LARGE_SPACING`]. An operator
//! who asks for a file waits for neither.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use countersign_pki::certificate::Certificate;
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
use super::superiors::SuperiorList;
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
    /// The complete lists of the issuing CA and of those above it, as verifiers of whole chains want them, as far as there are
    /// any. The first is signed anew if there was a revocation since or it is due.
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
        let signed = published.list.signed.ok_or(PublishError::NoList)?;
        let mut lists = vec![CompleteList {
            issuer: self.intermediate().subject().to_string(),
            number: signed.number,
            this_update: signed.this_update,
            next_update: signed.next_update,
            pem: pem::encode(X509_CRL, &published.der),
        }];
        let superiors = self.superior_lists().await?;
        lists.extend(superiors.iter().filter_map(SuperiorList::complete));
        Ok(lists)
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
}

impl Publication {
    /// Of every CA up to the root, and the operator issuer's.
    pub(super) fn shelve_certificates(&self) {
        let authority = &self.authority;
        let above = [authority.root(), authority.operator()];
        for issuer in authority.intermediates().iter().chain(above) {
            let document = Document::new(issuer.der().to_vec(), CERTIFICATE, None);
            self.put_everywhere(&PublicationUrl::certificate_path(issuer), &document);
        }
    }

    /// What names no URL of its own, at each that certificates may carry.
    pub(super) fn put_everywhere(&self, path: &str, document: &Document) {
        for url in &self.urls {
            self.shelf.put(url.join(path).as_str(), document.clone());
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
        self.shelve_superior_lists().await?;
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
        let times = Some((signed.this_update, signed.next_update));
        let document = Document::new(der, CRL, times);
        if let Some(url) = list.distribution_point {
            self.shelf.put(url.as_str(), document);
        } else {
            let path = PublicationUrl::complete_list_path(self.authority.intermediate());
            self.put_everywhere(&path, &document);
        }
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
    /// The root signs nothing here.
    #[error("the key of {root} is not in the state folder")]
    RootKeyElsewhere {
        /// Which root.
        root: String,
    },
    /// The list of a CA above the issuing one cannot be read.
    #[error("a revocation list of a CA above the issuing one cannot be used: {why}")]
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
            Self::RootKeyElsewhere { .. } => Some(
                "`countersign ca crl --root --root-key FILE` signs with a key that is brought along; `countersign ca crl import FILE` takes a list that was signed elsewhere".to_owned(),
            ),
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

pub(super) const X509_CRL: &str = "X509 CRL";
