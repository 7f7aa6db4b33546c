//! Revocation, published: lists signed before they run out and as soon as they have changed, and answers to OCSP requests.
//!
//! [`Publication`] holds what the public listener serves. Everything is signed before it is asked for, but for OCSP answers
//! that nobody has asked for lately or that shall repeat a nonce: those are signed within a budget, with a responder's key
//! (RFC 6960 §4.2.2.2). A CA key never works because of what the public asks.
//!
//! Fail closed, late: where the inventory cannot be read or written, the last good list or answer is served until its
//! nextUpdate, and nothing after that.

pub(crate) mod answers;
mod budget;
mod lists;
mod ocsp;
mod responder;
mod shelf;
mod superiors;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use countersign_pki::ocsp::IssuerHashes;
use countersign_pki::publication::{OCSP_PATH, PublicationUrl, SHARDS};
use countersign_pki::time::UnixTime;
use countersign_policy::issuance::Actor;
use countersign_runtime::drain::Drain;
use countersign_store::error::StoreError;
use countersign_store::publication::ListId;

use self::budget::Budgets;
use self::responder::Responder;
use self::shelf::Shelf;
use crate::authority::Authority;

pub use self::lists::{CompleteList, LIST_LIFETIME, PublishError, REFRESH_AFTER};
pub use self::ocsp::{ANSWER_LIFETIME, OcspAnswer};
pub use self::shelf::Document;
pub use self::superiors::{ImportedList, SuperiorList};

/// What the public is served.
pub struct Publication {
    authority: Arc<Authority>,
    /// The one of today, then those of before, which certificates carry until they end.
    urls: Vec<PublicationUrl>,
    shelf: Shelf,
    /// The number of each list on the shelf; written by the one task that puts lists there.
    shelved: Mutex<HashMap<ListId, u64>>,
    hashes: IssuerHashes,
    /// Guards nothing but the exchange of the one for the next.
    responder: RwLock<Option<Arc<Responder>>>,
    budgets: Budgets,
}

impl Authority {
    /// Where certificates are told to look for their revocation.
    pub fn publication_url(&self) -> Option<PublicationUrl> {
        self.rules().publication.clone()
    }

    /// Certificates issued from now on carry URLs that begin with `url`, or none. Durable: the next process that holds the
    /// authority issues by it too, whether it has a configuration or not.
    pub async fn publish_at(&self, url: Option<PublicationUrl>) -> Result<(), StoreError> {
        let shards = url.iter().flat_map(|url| {
            (0..SHARDS.get())
                .map(|shard| url.join(&PublicationUrl::shard_path(self.intermediate(), shard)))
        });
        self.store
            .publish_at(
                url.as_ref().map(ToString::to_string),
                self.issuer_ids.intermediate,
                shards.collect(),
                Actor::Authority,
                self.now(),
            )
            .await?;
        self.change_rules(|rules| rules.publication = url);
        Ok(())
    }
}

impl Publication {
    /// Publishes at `url`; what was signed before is served at once.
    pub async fn open(
        authority: &Arc<Authority>,
        url: PublicationUrl,
    ) -> Result<Arc<Self>, StoreError> {
        authority.publish_at(Some(url.clone())).await?;
        let mut urls = vec![url.clone()];
        for list in authority
            .store
            .lists(authority.issuer_ids.intermediate)
            .await?
        {
            let shard = list.distribution_point.as_ref();
            let at = shard.and_then(|uri| PublicationUrl::of_shard(uri, authority.intermediate()));
            urls.extend(at.filter(|at| !urls.contains(at)));
        }
        let publication = Self {
            authority: Arc::clone(authority),
            hashes: IssuerHashes::of(authority.intermediate()),
            shelf: Shelf::new(url),
            shelved: Mutex::default(),
            urls,
            responder: RwLock::default(),
            budgets: Budgets::default(),
        };
        publication.shelve_certificates();
        if let Err(error) = publication.shelve_superior_lists().await {
            tracing::error!(target: "publication", %error, "the lists of the CAs above the issuing one are not served");
        }
        publication.shelve_last_lists().await?;
        Ok(Arc::new(publication))
    }

    /// Keeps everything up to date until the drain begins.
    pub async fn run(&self, drain: Drain) {
        loop {
            let again = self.refresh().await;
            tokio::select! {
                () = drain.draining() => return,
                () = self.authority.answers.changed() => {}
                () = tokio::time::sleep(again) => {}
            }
        }
    }

    /// Signs whatever is due, and says when to look again at the latest. What cannot be signed is logged, and stays as it is.
    pub async fn refresh(&self) -> Duration {
        let mut again = LOOK_AGAIN;
        match self.refresh_responder().await {
            Ok(()) => {}
            Err(error) => {
                tracing::error!(target: "publication", %error, "OCSP responder has no new certificate");
                again = RETRY_AFTER;
            }
        }
        match self.refresh_lists().await {
            Ok(next) => again.min(next.since(self.authority.now()).max(AT_LEAST)),
            Err(error) => {
                tracing::error!(
                    target: "publication", %error,
                    "revocation lists are not up to date; the last ones are served until their nextUpdate"
                );
                again.min(RETRY_AFTER)
            }
        }
    }

    /// What is served at `path` to whoever asks `host` for it.
    pub fn document(&self, host: Option<&str>, path: &str) -> Option<Document> {
        self.shelf.find(host, path)
    }

    /// What follows the path at which OCSP is answered, that of today or of before; `None`: something else is asked for.
    pub fn ocsp_request<'path>(&self, path: &'path str) -> Option<&'path str> {
        let below = |url: &PublicationUrl| {
            path.strip_prefix(url.path())?
                .strip_prefix(OCSP_PATH)
                .filter(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.urls.iter().find_map(below)
    }

    /// The time of day, as everything here is judged by.
    pub fn now(&self) -> UnixTime {
        self.authority.now()
    }
}

/// Clocks are set and machines sleep.
const LOOK_AGAIN: Duration = Duration::from_mins(1);

/// A full disk is often emptied within minutes; an attempt costs little.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// What is due within the same second waits for the next, see [`lists`].
const AT_LEAST: Duration = Duration::from_millis(50);
