//! One source of lists: read or fetched, judged, kept on disk for the next start.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use countersign_pki::crl::AcceptedCrl;
use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::time::UnixTime;
use countersign_probe::fetch::{Fetched, Fetcher, Validators};
use countersign_probe::url::FetchUrl;
use countersign_proxy::config::{ListSource, RevocationPlan};
use countersign_runtime::atomic_file::write_atomic;
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use crate::composition::{Unusable, refuse_over};
use crate::configuration::Loaded;

/// What a source has given so far.
#[derive(Clone)]
pub(super) struct HeldSource {
    pub(super) source: ListSource,
    pub(super) lists: Vec<Arc<AcceptedCrl>>,
    /// Of the bytes that the lists were read from.
    fingerprint: Option<Fingerprint>,
    /// How many there were.
    length: usize,
    validators: Validators,
    /// Why the last attempt brought nothing.
    pub(super) failure: Option<String>,
    /// Attempts since the last that brought something.
    attempts: u32,
    pub(super) next_try: Instant,
}

/// What an attempt brought.
pub(super) enum Obtained {
    /// Other lists than before.
    Lists(HeldSource),
    /// The same.
    Unchanged(Validators),
}

/// Where lists come from.
#[derive(Clone)]
pub(super) struct Obtaining {
    pub(super) fetcher: Fetcher,
    /// Where fetched lists are kept.
    pub(super) folder: PathBuf,
}

impl HeldSource {
    /// Nothing yet, and due.
    pub(super) fn new(source: ListSource) -> Self {
        Self {
            source,
            lists: Vec::new(),
            fingerprint: None,
            length: 0,
            validators: Validators::default(),
            failure: None,
            attempts: 0,
            next_try: Instant::now(),
        }
    }

    /// The same, to be looked at next.
    pub(super) fn due_now(self) -> Self {
        Self {
            next_try: Instant::now(),
            ..self
        }
    }

    /// Whether each of its lists may take the place of those that are held.
    pub(super) fn follow(&self, held: &Self) -> Result<(), Unusable> {
        for list in &self.lists {
            for earlier in &held.lists {
                list.follow(earlier)?;
            }
        }
        Ok(())
    }

    /// It brought something; the next look follows `refresh`, sooner where a list ends soon.
    pub(super) fn succeeded(&mut self, refresh: Duration, now: UnixTime) {
        self.failure = None;
        self.attempts = 0;
        let ends = self.lists.iter().map(|list| list.next_update().since(now));
        let soon = ends.min().map_or(refresh, |left| left / 4);
        let wait = match self.source {
            ListSource::File(_) => self.file_look(),
            ListSource::Url(_) => jittered(refresh.min(soon).max(SHORTEST)),
        };
        self.next_try = Instant::now() + wait;
    }

    /// What is read and compared costs as much as it is long.
    fn file_look(&self) -> Duration {
        FILE_LOOK + LOOK_PER_MIB * u32::try_from(self.length >> 20).unwrap_or(u32::MAX)
    }

    /// What tells the server that it is held already.
    pub(super) fn is_told_apart_by(&mut self, validators: Validators) {
        self.validators = validators;
    }

    /// It brought nothing; what is held stays. Whether this is the first time.
    pub(super) fn failed(&mut self, why: String) -> bool {
        let is_first = self.failure.as_ref() != Some(&why);
        self.failure = Some(why);
        let doubled = SHORTEST.saturating_mul(1 << self.attempts.min(10));
        self.attempts = self.attempts.saturating_add(1);
        let wait = match self.source {
            ListSource::File(_) => self.file_look(),
            ListSource::Url(_) => jittered(doubled.min(LONGEST)),
        };
        self.next_try = Instant::now() + wait;
        is_first
    }
}

impl Obtaining {
    /// At the start, and for a source that is new: what is on disk, if that will do, or else from where it is published.
    pub(super) async fn first(
        &self,
        source: &ListSource,
        plan: &RevocationPlan,
        loaded: &Arc<Loaded>,
        now: UnixTime,
    ) -> Result<HeldSource, Unusable> {
        let mut held = HeldSource::new(source.clone());
        if let ListSource::Url(url) = source
            && let Ok(bytes) = fs::read(self.kept(url))
            && let Ok(lists) = judged(bytes.clone(), plan.clone(), now).await
        {
            held.lists = lists;
            held.fingerprint = Some(Fingerprint::of(&bytes));
            held.length = bytes.len();
            // It is as good as it was; whether there is a newer one is asked at once, in the background.
            held.next_try = Instant::now();
            return Ok(held);
        }
        match self.again(&held, plan, loaded, now).await? {
            Obtained::Lists(mut held) => {
                held.succeeded(plan.refresh, now);
                Ok(held)
            }
            Obtained::Unchanged(_) => Ok(held),
        }
    }

    /// Looks once more.
    pub(super) async fn again(
        &self,
        held: &HeldSource,
        plan: &RevocationPlan,
        loaded: &Arc<Loaded>,
        now: UnixTime,
    ) -> Result<Obtained, Unusable> {
        let (bytes, validators) = match &held.source {
            ListSource::File(path) => {
                let (loaded, path) = (Arc::clone(loaded), path.clone());
                let reading = spawn_blocking(move || loaded.read_now(&path));
                let read = reading
                    .await
                    .unwrap_or_else(|error| Err(io::Error::other(error)));
                (read?, Validators::default())
            }
            ListSource::Url(url) => {
                let url = FetchUrl::parse(url).expect("parsed when the configuration was loaded");
                match self
                    .fetcher
                    .fetch(&url, plan.https.as_ref(), &held.validators)
                    .await?
                {
                    Fetched::Body(bytes, validators) => (bytes.to_vec(), validators),
                    Fetched::Unchanged => return Ok(Obtained::Unchanged(held.validators.clone())),
                }
            }
        };
        let fingerprint = Fingerprint::of(&bytes);
        if held.fingerprint == Some(fingerprint) {
            return Ok(Obtained::Unchanged(validators));
        }
        let lists = judged(bytes.clone(), plan.clone(), now).await?;
        let next = HeldSource {
            source: held.source.clone(),
            lists,
            fingerprint: Some(fingerprint),
            length: bytes.len(),
            validators,
            failure: None,
            attempts: 0,
            next_try: held.next_try,
        };
        next.follow(held)?;
        if let ListSource::Url(url) = &held.source {
            self.keep(url, bytes).await;
        }
        Ok(Obtained::Lists(next))
    }

    /// A list that is not on disk is fetched again at the next start: nothing else is lost.
    async fn keep(&self, url: &str, bytes: Vec<u8>) {
        let (folder, path) = (self.folder.clone(), self.kept(url));
        let kept = spawn_blocking(move || -> io::Result<()> {
            fs::create_dir_all(&folder)?;
            write_atomic(&path, &bytes, 0o600)
        });
        if let Ok(Err(error)) = kept.await {
            tracing::warn!(target: "trust", url, %error, "a fetched revocation list is not kept for the next start");
        }
    }

    fn kept(&self, url: &str) -> PathBuf {
        let name = Fingerprint::of(url.as_bytes()).to_string().replace(':', "");
        self.folder.join(Path::new(&name).with_extension("crl"))
    }
}

/// Off the control threads: a list of a million takes a second.
async fn judged(
    bytes: Vec<u8>,
    plan: RevocationPlan,
    now: UnixTime,
) -> Result<Vec<Arc<AcceptedCrl>>, Unusable> {
    let judged = spawn_blocking(move || {
        let lists = AcceptedCrl::read(&bytes, &plan.issuers, now)?;
        lists
            .iter()
            .try_for_each(|list| refuse_over(list, plan.mode, now))?;
        Ok(lists.into_iter().map(Arc::new).collect())
    });
    judged
        .await
        .unwrap_or_else(|error| Err(Unusable::File(io::Error::other(error))))
}

/// A tenth more or less, so that gateways that started together do not ask together.
fn jittered(wait: Duration) -> Duration {
    let mut random = [0];
    // Without it they ask together.
    let _ = aws_lc_rs::rand::fill(&mut random);
    wait * 9 / 10 + wait * u32::from(random[0]) / (5 * 255)
}

/// Whoever copies a list into its place wants it in force soon; a look is one read.
const FILE_LOOK: Duration = Duration::from_secs(2);
/// So that looking takes less than a hundredth of a thread.
const LOOK_PER_MIB: Duration = Duration::from_millis(500);
/// Between two requests to one server.
const SHORTEST: Duration = Duration::from_secs(2);
/// A server that is down for long is asked as often.
const LONGEST: Duration = Duration::from_mins(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn source_that_fails_is_asked_ever_more_rarely_and_at_once_often_again() {
        let mut held = HeldSource::new(ListSource::Url("http://a.example/x".to_owned()));
        let wait = |held: &HeldSource| held.next_try.saturating_duration_since(Instant::now());
        assert_eq!(wait(&held), Duration::ZERO);
        let mut before = Duration::ZERO;
        for _ in 0..8 {
            held.failed("down".to_owned());
            // A tenth of jitter either way, and whatever this machine takes.
            assert!(wait(&held) > before, "{:?}", wait(&held));
            before = wait(&held);
        }
        for _ in 0..100 {
            held.failed("down".to_owned());
        }
        assert!(wait(&held) <= LONGEST + LONGEST / 10);
        held.succeeded(Duration::from_mins(1), UnixTime::from_seconds(0));
        assert!(wait(&held) <= Duration::from_secs(66));
        held.failed("down".to_owned());
        assert!(wait(&held) < Duration::from_secs(3));
    }

    #[test]
    fn only_what_is_new_about_a_failure_is_told() {
        let mut held = HeldSource::new(ListSource::Url("http://a.example/x".to_owned()));
        let told: Vec<bool> = ["down", "down", "garbage", "down"]
            .map(|why| held.failed(why.to_owned()))
            .into();
        assert_eq!(told, [true, false, true, true]);
    }
}
