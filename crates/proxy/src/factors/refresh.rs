//! Keys that are published at a URL: got before long, looked for again as long as the process lives.
//!
//! What is held stays until something better comes; time alone takes it away (`Issuer::keys_at`).

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::time::UnixTime;
use countersign_policy::token::{InvalidKeySet, KeySet};
use countersign_probe::fetch::{FetchFault, FetchLimits, Fetched, Fetcher, Validators};
use countersign_runtime::clock::SharedClock;
use countersign_runtime::drain::Drain;
use countersign_tls::enforcement::Enforcement;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval};

use super::{HeldKeys, Issuer, KeySource, KeyUrl, Verification};

#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("the answer has no body")]
    Empty,
    #[error(transparent)]
    Fetch(#[from] FetchFault),
    #[error("{error}")]
    Keys {
        error: InvalidKeySet,
        bytes: Vec<u8>,
    },
}

/// Gets what the plan's issuers have not got yet, and what is due. A server that does not answer holds nobody up but those whose tokens are its.
pub(crate) async fn run(
    plan: impl Fn() -> Arc<Verification> + Send,
    enforcement: Enforcement,
    clock: SharedClock,
    drain: Drain,
) {
    let limits = FetchLimits {
        bytes: MAX_BYTES,
        time: FETCH_TIME,
        ..FetchLimits::default()
    };
    let fetcher = Fetcher::new(enforcement, limits);
    let mut ended = std::pin::pin!(drain.ended());
    let mut getting = JoinSet::new();
    let mut seconds = interval(LOOK);
    loop {
        tokio::select! {
            () = &mut ended => return,
            Some(_) = getting.join_next() => {}
            _ = seconds.tick() => {
                for issuer in &plan().issuers {
                    let KeySource::Url(source) = &issuer.source else { continue };
                    if let Some(looking) = source.looks.begin() {
                        let fetcher = fetcher.clone();
                        getting.spawn(look(Arc::clone(issuer), source.clone(), looking, fetcher, Arc::clone(&clock)));
                    }
                }
            }
        }
    }
}

async fn look(
    issuer: Arc<Issuer>,
    source: KeyUrl,
    mut looking: Looking,
    fetcher: Fetcher,
    clock: SharedClock,
) {
    let held = issuer.keys.load_full();
    let got = get(&fetcher, &source, held.as_deref()).await;
    let name = &issuer.settings.name;
    match got {
        Ok((set, digest)) => {
            let is_new = !(held.as_ref()).is_some_and(|before| Arc::ptr_eq(&before.set, &set));
            let now = UnixTime::from_seconds(clock.unix_seconds());
            issuer
                .keys
                .store(Some(Arc::new(HeldKeys::new(set, digest, now))));
            if source.looks.failing.swap(false, Ordering::Relaxed) || is_new {
                tracing::info!(issuer = %name, url = source.written, "keys of a token issuer are in force");
            }
            looking.wait = source.refresh;
        }
        Err(error) => {
            if let (Unusable::Keys { bytes, .. }, Some(held)) = (&error, &held) {
                withdraw(&issuer, held, bytes);
            }
            source.looks.failures.fetch_add(1, Ordering::Relaxed);
            if !source.looks.failing.swap(true, Ordering::Relaxed) {
                tracing::error!(
                    issuer = %name,
                    url = source.written,
                    %error,
                    "keys of a token issuer cannot be got: those that are held count for jwks_life"
                );
            }
            looking.wait = source.refresh.min(RETRY);
        }
    }
}

/// Who publishes a set that cannot be taken says what is published no more all the same.
fn withdraw(issuer: &Issuer, held: &HeldKeys, published: &[u8]) {
    let Ok(left) = held.set.remaining(published) else {
        return;
    };
    let count = left.as_ref().map_or(0, KeySet::len);
    if count == held.set.len() {
        return;
    }
    issuer.keys.store(left.map(|set| {
        Arc::new(HeldKeys {
            set: Arc::new(set),
            // Whatever comes next is read anew.
            digest: None,
            ..*held
        })
    }));
    tracing::warn!(issuer = %issuer.settings.name, left = count, "keys of a token issuer were withdrawn");
}

async fn get(
    fetcher: &Fetcher,
    source: &KeyUrl,
    held: Option<&HeldKeys>,
) -> Result<(Arc<KeySet>, Fingerprint), Unusable> {
    let https = source.https.as_ref();
    let none = Validators::default();
    let Fetched::Body(bytes, _) = fetcher.fetch(&source.url, https, &none).await? else {
        return Err(Unusable::Empty);
    };
    let digest = Fingerprint::of(&bytes);
    if let Some(held) = held.filter(|held| held.digest == Some(digest)) {
        return Ok((Arc::clone(&held.set), digest));
    }
    match KeySet::parse(&bytes) {
        Ok(set) => Ok((Arc::new(set), digest)),
        Err(error) => Err(Unusable::Keys {
            error,
            bytes: bytes.to_vec(),
        }),
    }
}

/// How it went to get keys from a URL.
#[derive(Default)]
pub(crate) struct Looks {
    next: Mutex<Next>,
    failing: AtomicBool,
    pub(super) failures: AtomicU64,
}

/// By the steady clock: one that is set must not hold up what was withdrawn.
#[derive(Clone, Copy, Default)]
enum Next {
    #[default]
    AtOnce,
    Looking,
    At(Instant),
}

/// Somebody looks. When that is over, however it ends, it is due again in a while.
struct Looking {
    looks: Arc<Looks>,
    wait: Duration,
}

impl Looks {
    /// Whether it is due; then nobody else looks until this one has.
    fn begin(self: &Arc<Self>) -> Option<Looking> {
        let mut next = self.next();
        let is_due = match *next {
            Next::AtOnce => true,
            Next::Looking => false,
            Next::At(at) => at <= Instant::now(),
        };
        is_due.then(|| {
            *next = Next::Looking;
            Looking {
                looks: Arc::clone(self),
                wait: RETRY,
            }
        })
    }

    fn next(&self) -> MutexGuard<'_, Next> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Looking {
    fn drop(&mut self) {
        *self.looks.next() = Next::At(Instant::now() + self.wait);
    }
}

/// The keys of a large provider are 10 KiB.
const MAX_BYTES: usize = 256 * 1024;
const FETCH_TIME: Duration = Duration::from_secs(10);
/// A server that was away is looked for as soon as that.
const RETRY: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn look_that_ended_in_any_way_is_followed_by_another() {
        let looks = Arc::new(Looks::default());
        let first = looks.begin().expect("due at once");
        assert!(looks.begin().is_none());
        tokio::time::advance(RETRY * 100).await;
        assert!(looks.begin().is_none());
        // Dropped as by a panic, or by a task that was stopped.
        drop(first);
        assert!(looks.begin().is_none());
        tokio::time::advance(RETRY).await;
        let mut second = looks.begin().expect("due again");
        second.wait = RETRY * 3;
        drop(second);
        tokio::time::advance(RETRY * 2).await;
        assert!(looks.begin().is_none());
        tokio::time::advance(RETRY).await;
        assert!(looks.begin().is_some());
    }
}
