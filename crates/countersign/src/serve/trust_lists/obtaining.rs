//! One source of lists: read or fetched, judged, kept on disk for the next start.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use countersign_pki::certificate::Certificate;
use countersign_pki::crl::AcceptedCrl;
use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::identity::BundleName;
use countersign_pki::pem;
use countersign_pki::revocation::RevocationMode;
use countersign_pki::time::UnixTime;
use countersign_probe::fetch::{Fetched, Fetcher, Validators};
use countersign_probe::url::FetchUrl;
use countersign_proxy::config::{ListSource, RevocationPlan};
use countersign_runtime::atomic_file::write_atomic;
use countersign_runtime::file_reads::unless_stuck;
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use crate::composition::{Unusable, refuse_over};
use crate::configuration::Loaded;

/// What a source has given so far.
#[derive(Clone)]
pub(super) struct HeldSource {
    /// For which bundle.
    bundle: BundleName,
    pub(super) source: ListSource,
    /// Those that it gave last, then those that it gave before and that nothing has replaced.
    pub(super) lists: Vec<Arc<AcceptedCrl>>,
    /// How many it gave last.
    given: usize,
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
    pub(super) fn new(bundle: BundleName, source: ListSource) -> Self {
        Self {
            bundle,
            source,
            lists: Vec::new(),
            given: 0,
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

    /// Those that it gave last.
    pub(super) fn given(&self) -> &[Arc<AcceptedCrl>] {
        &self.lists[..self.given]
    }

    /// Whether it is the same source, which has given something else meanwhile.
    pub(super) fn is_another_answer(&self, before: &Self) -> bool {
        self.source == before.source && self.fingerprint != before.fingerprint
    }

    /// What `held` says and nothing here replaces stays held, as long as its CA is one of `issuers`: who is silent about a list takes
    /// nobody off it.
    pub(super) fn carry(&mut self, held: &Self, issuers: &[Certificate]) {
        for earlier in &held.lists {
            let is_known = |ca: &Certificate| ca.spki() == earlier.issuer_key();
            let replaces = |list: &Arc<AcceptedCrl>| list.takes_the_place_of(earlier);
            if issuers.iter().any(is_known) && !self.lists.iter().any(replaces) {
                self.lists.push(Arc::clone(earlier));
            }
        }
    }

    /// The same, without the lists of whoever is none of `issuers`.
    pub(super) fn of(mut self, issuers: &[Certificate]) -> Self {
        let is_known =
            |list: &Arc<AcceptedCrl>| issuers.iter().any(|ca| ca.spki() == list.issuer_key());
        self.given = self.given().iter().filter(|list| is_known(list)).count();
        self.lists.retain(is_known);
        self
    }

    /// Which lists it gives no more, in words.
    fn withheld(&self) -> Option<String> {
        let withheld = &self.lists[self.given..];
        let named: Vec<String> = withheld
            .iter()
            .take(MAX_SHOWN)
            .map(|list| {
                format!(
                    "{} (number {}, {})",
                    list.issuer(),
                    list.number(),
                    list.scope()
                )
            })
            .collect();
        (!named.is_empty()).then(|| {
            format!(
                "it gives {} of its lists no more, which stay as they were: {}",
                withheld.len(),
                named.join("; ")
            )
        })
    }

    /// Whether each of its lists may take the place of those that are held.
    pub(super) fn follow(&self, held: &Self) -> Result<(), Unusable> {
        for list in self.given() {
            for earlier in &held.lists {
                list.follow(earlier)?;
            }
        }
        Ok(())
    }

    /// It brought something; the next look follows `refresh`, sooner where a list ends soon.
    pub(super) fn succeeded(&mut self, refresh: Duration, now: UnixTime) {
        self.failure = self.withheld();
        let ends = self.lists.iter().map(|list| list.next_update().since(now));
        let left = ends.min().unwrap_or(refresh.saturating_mul(4));
        let wait = self.wait(left, refresh);
        let wait = match self.source {
            ListSource::File(_) => self.file_look(),
            ListSource::Url(_) => jittered(wait),
        };
        self.next_try = Instant::now() + wait;
    }

    /// `left`: until the first of its lists is over.
    fn wait(&mut self, left: Duration, refresh: Duration) -> Duration {
        if left.is_zero() {
            // Whoever publishes nothing new is asked like one who is silent.
            return self.backoff().min(refresh);
        }
        self.attempts = 0;
        refresh.min(left / 4).max(SHORTEST)
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
        let doubled = self.backoff();
        let wait = match self.source {
            ListSource::File(_) => self.file_look(),
            ListSource::Url(_) => jittered(doubled),
        };
        self.next_try = Instant::now() + wait;
        is_first
    }

    /// Twice as long each time.
    fn backoff(&mut self) -> Duration {
        let doubled = SHORTEST.saturating_mul(1 << self.attempts.min(10));
        self.attempts = self.attempts.saturating_add(1);
        doubled.min(LONGEST)
    }
}

impl Obtaining {
    /// At the start, and for a source that is new: what is on disk, if that will do, or else from where it is published.
    pub(super) async fn first(
        &self,
        (bundle, source): (&BundleName, &ListSource),
        plan: &RevocationPlan,
        loaded: &Arc<Loaded>,
        now: UnixTime,
    ) -> Result<HeldSource, Unusable> {
        let mut held = HeldSource::new(bundle.clone(), source.clone());
        // However old it is: what comes has to follow it.
        let ageless = RevocationPlan {
            mode: RevocationMode::DangerousSoft,
            ..plan.clone()
        };
        let mut over = None;
        if let ListSource::Url(url) = source
            && let Ok(bytes) = fs::read(self.kept(bundle, url))
            && let Ok(lists) = judged(bytes.clone(), ageless, now).await
        {
            held.given = lists.len();
            held.lists = lists;
            held.fingerprint = Some(Fingerprint::of(&bytes));
            held.length = bytes.len();
            let mut lists = held.lists.iter();
            over = lists.find_map(|list| refuse_over(list, plan.mode, now).err());
            if over.is_none() {
                // It is as good as it was; whether there is a newer one is asked at once, in the background.
                held.next_try = Instant::now();
                return Ok(held);
            }
        }
        match self.again(&held, plan, loaded, now).await? {
            Obtained::Lists(mut held) => {
                held.succeeded(plan.refresh, now);
                Ok(held)
            }
            Obtained::Unchanged(_) => over.map_or(Ok(held), Err),
        }
    }

    /// Under a configuration that asks for nothing else of it: what is held is as good as what it would give now. A file is read at once.
    pub(super) async fn go_on(
        &self,
        mut held: HeldSource,
        plan: &RevocationPlan,
        loaded: &Arc<Loaded>,
        now: UnixTime,
    ) -> HeldSource {
        // Whoever is looking just now looks in vain.
        if matches!(held.source, ListSource::Url(_)) {
            return held.due_now();
        }
        match self.again(&held, plan, loaded, now).await {
            Ok(Obtained::Lists(mut next)) => {
                next.succeeded(plan.refresh, now);
                next
            }
            Ok(Obtained::Unchanged(_)) => {
                held.succeeded(plan.refresh, now);
                held
            }
            Err(unusable) => {
                held.failed(unusable.to_string());
                held
            }
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
                let read = unless_stuck(move || loaded.read_now(&path)).await;
                (read.map_err(io::Error::from)??, Validators::default())
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
        let mut next = HeldSource {
            bundle: held.bundle.clone(),
            source: held.source.clone(),
            given: lists.len(),
            lists,
            fingerprint: Some(fingerprint),
            length: bytes.len(),
            validators,
            failure: None,
            attempts: 0,
            next_try: held.next_try,
        };
        next.follow(held)?;
        next.carry(held, &plan.issuers);
        if let ListSource::Url(url) = &held.source {
            let withheld = next.lists[next.given..].iter();
            let withheld = withheld.map(|list| list.fingerprint()).collect();
            self.keep(self.kept(&held.bundle, url), url, bytes, withheld)
                .await;
        }
        Ok(Obtained::Lists(next))
    }

    /// A list that is not on disk is fetched again at the next start: nothing else is lost. `withheld`: lists that are kept already, and
    /// stay beside what came.
    async fn keep(&self, path: PathBuf, url: &str, bytes: Vec<u8>, withheld: Vec<Fingerprint>) {
        let folder = self.folder.clone();
        let kept = spawn_blocking(move || -> io::Result<()> {
            fs::create_dir_all(&folder)?;
            let bytes = if withheld.is_empty() {
                bytes
            } else {
                beside(&bytes, &fs::read(&path)?, &withheld).into_bytes()
            };
            write_atomic(&path, &bytes, 0o600)
        });
        if let Ok(Err(error)) = kept.await {
            tracing::warn!(target: "trust", url, %error, "a fetched revocation list is not kept for the next start");
        }
    }

    /// Each bundle has its own: what is good for one may be of no CA of another, and neither may take away what the other follows.
    fn kept(&self, bundle: &BundleName, url: &str) -> PathBuf {
        self.folder.join(kept_name(bundle, url))
    }

    /// Deletes what is kept of sources that are none of these any more: it would grow with every URL that ever was, and stand there as
    /// old as it is when one comes back.
    pub(super) async fn forget_all_but(&self, sources: Vec<(BundleName, ListSource)>) {
        let kept = sources.iter().filter_map(|(bundle, source)| match source {
            ListSource::Url(url) => Some(self.kept(bundle, url)),
            ListSource::File(_) => None,
        });
        let kept: Vec<PathBuf> = kept.collect();
        let folder = self.folder.clone();
        let forgotten = spawn_blocking(move || forget_all_but(&folder, &kept));
        if let Ok(Err(error)) = forgotten.await {
            tracing::warn!(target: "trust", %error, "revocation lists that are no longer wanted are not deleted");
        }
    }
}

fn kept_name(bundle: &BundleName, url: &str) -> PathBuf {
    let name = Fingerprint::of(format!("{bundle} {url}").as_bytes());
    let name = name.to_string().replace(':', "");
    PathBuf::from(name).with_extension("crl")
}

fn forget_all_but(folder: &Path, kept: &[PathBuf]) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let path = entry?.path();
        let is_list = path.extension().is_some_and(|it| it == "crl");
        if is_list && !kept.contains(&path) {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

/// In PEM: the lists in `bytes`, then those of `kept` that have these fingerprints.
fn beside(bytes: &[u8], kept: &[u8], withheld: &[Fingerprint]) -> String {
    let (given, kept) = (AcceptedCrl::ders(bytes), AcceptedCrl::ders(kept));
    let kept = (kept.into_iter()).filter(|der| withheld.contains(&Fingerprint::of(der)));
    given
        .into_iter()
        .chain(kept)
        .map(|der| pem::encode("X509 CRL", &der))
        .collect()
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
/// A message has room for so many lists.
const MAX_SHOWN: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn held() -> HeldSource {
        let source = ListSource::Url("http://a.example/x".to_owned());
        HeldSource::new(BundleName::parse("acme").expect("a name"), source)
    }

    #[test]
    fn source_that_fails_is_asked_ever_more_rarely_and_at_once_often_again() {
        let mut held = held();
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
    fn source_whose_list_is_over_is_asked_ever_more_rarely_until_it_gives_another() {
        let mut held = held();
        let (refresh, day) = (Duration::from_hours(1), Duration::from_hours(24));
        let mut before = Duration::ZERO;
        for _ in 0..8 {
            let wait = held.wait(Duration::ZERO, refresh);
            assert!(wait > before, "{wait:?}");
            before = wait;
        }
        for _ in 0..100 {
            assert!(held.wait(Duration::ZERO, refresh) <= LONGEST);
        }
        // Nor more rarely than one that is well.
        let often = Duration::from_secs(5);
        assert_eq!(held.wait(Duration::ZERO, often), often);
        assert_eq!(held.wait(day, refresh), refresh);
        assert_eq!(held.wait(Duration::from_secs(1), refresh), SHORTEST);
        assert_eq!(held.wait(Duration::ZERO, refresh), SHORTEST);
    }

    #[test]
    fn each_bundle_keeps_its_own_and_what_left_the_configuration_is_deleted() {
        let folder = tempfile::tempdir().expect("a folder");
        let url = "http://a.example/x";
        let at = |bundle: &str, url: &str| {
            let bundle = BundleName::parse(bundle).expect("a name");
            folder.path().join(kept_name(&bundle, url))
        };
        let (ours, theirs) = (at("acme", url), at("other", url));
        let gone = at("acme", "http://a.example/y");
        let beside = folder.path().join("README");
        assert_ne!(ours, theirs);
        for path in [&ours, &theirs, &gone, &beside] {
            fs::write(path, "a list").expect("writable");
        }
        forget_all_but(folder.path(), &[ours.clone(), theirs.clone()]).expect("deleted");
        assert!(ours.exists() && theirs.exists() && beside.exists());
        assert!(!gone.exists());
        // Where nothing was ever fetched there is no folder.
        forget_all_but(&folder.path().join("none"), &[]).expect("nothing to do");
    }

    #[test]
    fn only_what_is_new_about_a_failure_is_told() {
        let mut held = held();
        let told: Vec<bool> = ["down", "down", "garbage", "down"]
            .map(|why| held.failed(why.to_owned()))
            .into();
        assert_eq!(told, [true, false, true, true]);
    }
}
