//! Who this node is: the certificate that an admin gave it, and those that follow, which it asks for itself.
//!
//! The files of the configuration may be read-only, or laid there by other tools, so they are never written. What is
//! renewed is kept in the state folder, chain and key in one file, so that a crash never leaves one beside the other's.
//! Whichever was issued last counts: a certificate that an admin puts in place anew takes over at the next start.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand::fill;
use countersign_agent::feed_client::FeedClient;
use countersign_authority::state::StateFolder;
use countersign_pki::certificate::Certificate;
use countersign_pki::pem;
use countersign_pki::time::UnixTime;
use countersign_policy::issuance::BACKDATE;
use countersign_policy::renewal::due_at;
use countersign_proxy::config::FeedConfig;
use countersign_runtime::atomic_file::write_atomic;
use countersign_runtime::clock::SharedClock;
use countersign_runtime::config::ConfigError;
use countersign_store::idempotency::IdempotencyKey;
use countersign_tls::credentials::{Credentials, SharedCredentials};
use tokio::time::{Instant, MissedTickBehavior, interval};
use zeroize::Zeroizing;

use super::remote::ISSUE_NODE;
use crate::backend::random;
use crate::configuration::Loaded;
use crate::fault::Fault;
use crate::leaf_key::{KeyKind, LeafKey};

/// The files that the configuration names, or what has been renewed since.
pub(super) fn load(
    state: &StateFolder,
    loaded: &Loaded,
    config: &FeedConfig,
) -> Result<SharedCredentials, Fault> {
    let wrong = |key: &str, why: String, hint: &str| {
        let place = format!("gateway.feed.{key}");
        loaded.fault(&ConfigError::new(place, why).hint(hint))
    };
    let read = |key: &str, path: &Path| {
        loaded
            .read(path)
            .map_err(|error| wrong(key, format!("{}: {error}", path.display()), ISSUE_NODE))
    };
    let chain = read("certificate", &config.certificate)?;
    let key = Zeroizing::new(read("key", &config.key)?);
    let given = Credentials::from_pem(&chain, &key).map_err(|invalid| {
        wrong(
            "certificate",
            format!("{}: {invalid}", config.certificate.display()),
            invalid.cause.fix(),
        )
    })?;
    let path = kept_in(state);
    let kept = match fs::read(&path).map(Zeroizing::new) {
        Ok(file) => Credentials::from_pem(&file, &file).map_err(|error| error.to_string()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(SharedCredentials::new(given));
        }
        Err(error) => Err(error.to_string()),
    };
    Ok(SharedCredentials::new(match kept {
        Ok(kept) if follows(kept.leaf(), given.leaf()) => kept,
        Ok(_) => given,
        Err(error) => {
            tracing::warn!(path = %path.display(), error, "the node's renewed certificate is not used");
            given
        }
    }))
}

/// Of the same node, and later.
fn follows(kept: &Certificate, given: &Certificate) -> bool {
    kept.subject() == given.subject()
        && kept.authority_key_id() == given.authority_key_id()
        && kept.not_before() >= given.not_before()
}

fn kept_in(state: &StateFolder) -> PathBuf {
    state.path().join("gateway").join("node.pem")
}

/// Keeps this node's own certificate fresh.
pub(crate) struct NodeRenewal {
    pub(super) client: Arc<FeedClient>,
    pub(super) credentials: SharedCredentials,
    pub(super) state: StateFolder,
    pub(super) clock: SharedClock,
    /// Asked for, and not known to be answered: it is asked for again, and no other beside it.
    pub(super) asked: Option<Asked>,
}

/// A request for the next certificate.
pub(super) struct Asked {
    idempotency_key: String,
    csr: String,
    key: LeafKey,
}

impl Asked {
    fn anew(kind: Option<KeyKind>) -> Result<Self, Fault> {
        let key = LeafKey::generate(kind.unwrap_or_default())?;
        Ok(Self {
            idempotency_key: IdempotencyKey::from_random(random()?).to_string(),
            csr: pem::encode("CERTIFICATE REQUEST", &key.request()?),
            key,
        })
    }
}

impl NodeRenewal {
    /// Renews at half life. Never ends by itself.
    pub(crate) async fn run(mut self) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut backoff = FIRST_BACKOFF;
        let mut not_before = Instant::now();
        let mut spread = spread();
        loop {
            ticks.tick().await;
            if Instant::now() < not_before || !self.is_due(spread) {
                continue;
            }
            match self.renew().await {
                Ok(leaf) => {
                    tracing::info!(cert.serial = %leaf.serial(), cert.not_after = %leaf.not_after(), "this node's certificate is renewed");
                    backoff = FIRST_BACKOFF;
                    spread = self::spread();
                }
                Err(error) => {
                    let left = self.credentials.leaf().not_after().since(self.now());
                    tracing::warn!(
                        error,
                        retry_in_s = backoff.as_secs(),
                        left_s = left.as_secs(),
                        "this node's certificate is not renewed"
                    );
                }
            }
            // After a success, too: under a clock that goes back and forth not one each second.
            not_before = Instant::now() + backoff;
            backoff = (backoff * 2).min(LONGEST_BACKOFF);
        }
    }

    async fn renew(&mut self) -> Result<Certificate, String> {
        let said = |fault: Fault| fault.sentence().to_owned();
        let present = self.credentials.leaf();
        let asked = match self.asked.take() {
            Some(asked) => asked,
            None => Asked::anew(KeyKind::of(present.public_key_algorithm())).map_err(said)?,
        };
        let answer = self.client.renew(asked.csr.clone(), &asked.idempotency_key);
        let chain = match answer.await {
            Ok(certified) => certified.chain_pem,
            Err(error) => {
                if !error.is_refusal() {
                    self.asked = Some(asked);
                }
                return Err(error.to_string());
            }
        };
        let key = asked.key;
        let credentials = Credentials::from_pem(chain.as_bytes(), key.to_pem().as_bytes())
            .map_err(|error| error.to_string())?;
        let leaf = credentials.leaf().clone();
        if !follows(&leaf, &self.credentials.leaf()) {
            return Err(format!(
                "the authority answered with a certificate of {}",
                leaf.subject()
            ));
        }
        let file = Zeroizing::new([chain.as_bytes(), key.to_pem().as_bytes()].concat());
        let path = kept_in(&self.state);
        write_atomic(&path, &file, 0o600)
            .map_err(|error| format!("{}: {error}", path.display()))?;
        self.credentials.swap(credentials);
        Ok(leaf)
    }

    /// `spread`: a part of half a life, so that nodes that were made together do not come together.
    fn is_due(&self, spread: f64) -> bool {
        let leaf = self.credentials.leaf();
        let issued = leaf.not_before().plus(BACKDATE).min(leaf.not_after());
        let half = due_at(issued, leaf.not_after());
        let late = leaf.not_after().since(half).mul_f64(spread);
        self.now() >= half.plus(late)
    }

    fn now(&self) -> UnixTime {
        UnixTime::from_seconds(self.clock.unix_seconds())
    }
}

/// Up to a fifth.
fn spread() -> f64 {
    let mut random = [0];
    // Without randomness all nodes come at once, which is worse and not wrong.
    let _ = fill(&mut random);
    f64::from(random[0]) / f64::from(u8::MAX) / 5.0
}

/// Looking at two times is cheap.
const TICK: Duration = Duration::from_secs(1);
const FIRST_BACKOFF: Duration = Duration::from_secs(1);
/// Of a node's life of 30 days, half is left to reach the authority in.
const LONGEST_BACKOFF: Duration = Duration::from_mins(5);
