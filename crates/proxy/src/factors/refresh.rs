//! Keys that are published at a URL: got before long, looked for again as long as the process lives.
//!
//! What is held stays until something better comes; time alone takes it away (`Issuer::keys_at`).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::time::UnixTime;
use countersign_policy::token::{InvalidKeySet, KeySet};
use countersign_probe::fetch::{FetchFault, FetchLimits, Fetched, Fetcher, Validators};
use countersign_runtime::clock::SharedClock;
use countersign_runtime::drain::Drain;
use countersign_tls::enforcement::Enforcement;
use tokio::task::JoinSet;
use tokio::time::interval;

use super::{HeldKeys, Issuer, KeySource, KeyUrl, Verification};

#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("the answer has no body")]
    Empty,
    #[error(transparent)]
    Fetch(#[from] FetchFault),
    #[error(transparent)]
    Keys(#[from] InvalidKeySet),
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
                    let now = UnixTime::from_seconds(clock.unix_seconds());
                    let KeySource::Url(source) = &issuer.source else { continue };
                    if source.begin(now) {
                        getting.spawn(look(Arc::clone(issuer), source.clone(), fetcher.clone(), Arc::clone(&clock)));
                    }
                }
            }
        }
    }
}

async fn look(issuer: Arc<Issuer>, source: KeyUrl, fetcher: Fetcher, clock: SharedClock) {
    let held = issuer.keys.load_full();
    let got = get(&fetcher, &source, held.as_deref()).await;
    let now = UnixTime::from_seconds(clock.unix_seconds());
    let name = &issuer.settings.name;
    match got {
        Ok(held) => {
            let is_new = !(issuer.keys.load().as_ref())
                .is_some_and(|before| Arc::ptr_eq(&before.set, &held.set));
            issuer.keys.store(Some(Arc::new(HeldKeys {
                confirmed: now,
                ..held
            })));
            if source.looks.failing.swap(false, Ordering::Relaxed) || is_new {
                tracing::info!(issuer = %name, url = source.written, "keys of a token issuer are in force");
            }
        }
        Err(error) => {
            source.looks.failures.fetch_add(1, Ordering::Relaxed);
            if !source.looks.failing.swap(true, Ordering::Relaxed) {
                tracing::error!(
                    issuer = %name,
                    url = source.written,
                    %error,
                    "keys of a token issuer cannot be got: those that are held count for jwks_life"
                );
            }
        }
    }
    let wait = if source.looks.failing.load(Ordering::Relaxed) {
        source.refresh.min(RETRY)
    } else {
        source.refresh
    };
    let next = now.plus(wait).seconds();
    source.looks.next.store(next, Ordering::Relaxed);
}

async fn get(
    fetcher: &Fetcher,
    source: &KeyUrl,
    held: Option<&HeldKeys>,
) -> Result<HeldKeys, Unusable> {
    let https = source.https.as_ref();
    let none = Validators::default();
    let Fetched::Body(bytes, _) = fetcher.fetch(&source.url, https, &none).await? else {
        return Err(Unusable::Empty);
    };
    let digest = Fingerprint::of(&bytes);
    let set = match held.filter(|held| held.digest == digest) {
        Some(held) => Arc::clone(&held.set),
        None => Arc::new(KeySet::parse(&bytes)?),
    };
    Ok(HeldKeys {
        set,
        digest,
        confirmed: UnixTime::from_seconds(0),
    })
}

impl KeyUrl {
    /// Whether it is due; then nobody else looks until this one has.
    fn begin(&self, now: UnixTime) -> bool {
        let due = |next: u64| (next <= now.seconds()).then_some(u64::MAX);
        (self.looks.next)
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, due)
            .is_ok()
    }
}

/// The keys of a large provider are 10 KiB.
const MAX_BYTES: usize = 256 * 1024;
const FETCH_TIME: Duration = Duration::from_secs(10);
/// A server that was away is looked for as soon as that.
const RETRY: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_secs(1);
