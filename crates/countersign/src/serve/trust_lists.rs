//! The revocation lists of trust bundles: got before anybody is served by them, looked for again as long as the process
//! lives, and in force at once when they change.
//!
//! What is held stays until something better comes: a source that is silent, garbled or older than what is held changes
//! nothing but the alarm. Time alone takes a list away (`tls` judges that at each handshake, and here each second for those
//! who are in).

mod obtaining;
mod responders;
mod shown;
mod telling;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use countersign_authority::state::StateFolder;
use countersign_pki::certificate::Certificate;
use countersign_pki::crl::AcceptedCrl;
use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::identity::BundleName;
use countersign_pki::revocation::{BundleLists, RevocationMode};
use countersign_pki::time::UnixTime;
use countersign_probe::fetch::{FetchLimits, Fetcher};
use countersign_proxy::config::{ListSource, RevocationPlan};
use countersign_proxy::metrics::Metrics;
use countersign_runtime::clock::SharedClock;
use countersign_runtime::config::ConfigError;
use countersign_tls::enforcement::Enforcement;
use countersign_tls::ocsp::OcspAsked;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

use self::obtaining::{HeldSource, Obtained, Obtaining};
use self::responders::LastQuestion;
pub(crate) use self::responders::ResponderView;
pub(crate) use self::shown::{BundleView, ListView};
use self::telling::{tell_failure, tell_lists};
use super::tasks::Tasks;
use crate::bundles_in_force::BundlesInForce;
use crate::composition::Trusted;
use crate::configuration::Loaded;
use crate::fault::Fault;

/// Every bundle of this process with its lists. Cheap to clone.
#[derive(Clone)]
pub(crate) struct TrustLists {
    shared: Arc<Shared>,
}

struct Shared {
    enforcement: Enforcement,
    clock: SharedClock,
    obtaining: Obtaining,
    // Invariant: what stands here for a bundle is what the enforcement has, but while `is_changing`.
    held: Mutex<Held>,
    /// Until somebody asks them.
    questions: Mutex<Option<mpsc::Receiver<OcspAsked>>>,
}

#[derive(Default)]
struct Held {
    loaded: Option<Arc<Loaded>>,
    bundles: BTreeMap<BundleName, HeldBundle>,
    /// Set from the beginning of a reload to its end; nothing else replaces them then.
    is_changing: bool,
    counts: BTreeMap<BundleName, Counts>,
    told: BTreeMap<String, UnixTime>,
    /// How many admissions without a fresh list were told of, and when.
    unchecked_told: BTreeMap<BundleName, (u64, Instant)>,
    responders: BTreeMap<BundleName, LastQuestion>,
}

#[derive(Clone)]
struct HeldBundle {
    trusted: Trusted,
    sources: Vec<HeldSource>,
}

#[derive(Clone, Copy, Default)]
struct Counts {
    replaced: u64,
    failures: u64,
    changes: u64,
}

/// What a source has given under a configuration before this one.
enum Earlier {
    /// It is as good now: by the same mode, and of no CA more.
    Good(HeldSource),
    /// What the source gives now has to be good by itself.
    Other(HeldSource),
}

/// Bundles with lists that were found good, not yet in force.
pub(crate) struct Prepared {
    loaded: Arc<Loaded>,
    bundles: BTreeMap<BundleName, HeldBundle>,
}

impl TrustLists {
    /// The lists of these bundles, in force. What is fetched is kept in the state folder.
    pub(super) async fn open(
        enforcement: &Enforcement,
        clock: &SharedClock,
        state: &StateFolder,
        loaded: &Loaded,
        trusted: BTreeMap<BundleName, Trusted>,
    ) -> Result<Self, Fault> {
        let fetcher = Fetcher::new(enforcement.clone(), FetchLimits::default());
        let folder = state.path().join("lists");
        let lists = Self {
            shared: Arc::new(Shared {
                enforcement: enforcement.clone(),
                clock: Arc::clone(clock),
                obtaining: Obtaining { fetcher, folder },
                held: Mutex::default(),
                questions: Mutex::new(Some(enforcement.ask_responders())),
            }),
        };
        let prepared = lists.prepare(loaded, trusted).await?;
        lists.commit(prepared).await;
        Ok(lists)
    }

    /// Shows them, and looks for them as long as the process lives.
    pub(super) fn spawn(self, tasks: &mut Tasks, metrics: &Metrics) {
        let watched = self.clone();
        metrics.watch_trust(move || watched.figures());
        let questions = self.shared.questions.lock();
        if let Some(questions) = questions.unwrap_or_else(PoisonError::into_inner).take() {
            let asking = self.clone().ask_responders(questions);
            tasks.spawn_endless("the OCSP responders of trust bundles", asking);
        }
        tasks.spawn_endless("the revocation lists of trust bundles", self.run());
    }

    /// The bundles that are served by.
    pub(crate) fn bundles(&self) -> BundlesInForce {
        let held = self.held();
        let bundles = held.bundles.iter();
        let bundles = bundles.map(|(name, it)| (name.clone(), Arc::clone(&it.trusted.bundle)));
        BundlesInForce::of(bundles.collect())
    }

    /// Gets the lists of these bundles. A source that gives none is a fault, unless its bundle is `dangerous_soft`, or it has
    /// given one to the same bundle before: whoever publishes must not be able to keep others from being reloaded. From here on nothing else changes what is held, until [`TrustLists::commit`] or [`TrustLists::restore`].
    pub(crate) async fn prepare(
        &self,
        loaded: &Loaded,
        trusted: BTreeMap<BundleName, Trusted>,
    ) -> Result<Prepared, Fault> {
        self.held().is_changing = true;
        let prepared = self.get(loaded, trusted).await;
        if prepared.is_err() {
            self.held().is_changing = false;
        }
        prepared
    }

    async fn get(
        &self,
        loaded: &Loaded,
        trusted: BTreeMap<BundleName, Trusted>,
    ) -> Result<Prepared, Fault> {
        let loaded = Arc::new(loaded.clone());
        let mut getting = JoinSet::new();
        let mut bundles = BTreeMap::new();
        for (name, trusted) in trusted {
            let sources = trusted.revocation.iter().flat_map(|plan| &plan.sources);
            for (number, source) in sources.enumerate() {
                let plan = trusted.revocation.clone().expect("it has sources");
                let earlier = self.earlier(&name, source, &plan);
                let (obtaining, loaded) = (self.shared.obtaining.clone(), Arc::clone(&loaded));
                let contact = trusted.contact.clone().unwrap_or_default();
                let (source, name, now) = (source.clone(), name.clone(), self.now());
                getting.spawn(async move {
                    let got = match earlier {
                        Some(Earlier::Good(held)) => {
                            Ok(obtaining.go_on(held, &plan, &loaded, now).await)
                        }
                        Some(Earlier::Other(held)) => {
                            let first =
                                obtaining.first((&name, &source), &plan, &loaded, now).await;
                            first.and_then(|mut next| {
                                next.follow(&held)?;
                                next.carry(&held, &plan.issuers);
                                next.succeeded(plan.refresh, now);
                                Ok(next)
                            })
                        }
                        None => obtaining.first((&name, &source), &plan, &loaded, now).await,
                    };
                    if let Ok(held) = &got {
                        tell_failure(&name, held, &contact);
                    }
                    (name, number, source, plan.mode, got)
                });
            }
            bundles.insert(
                name,
                HeldBundle {
                    trusted,
                    sources: Vec::new(),
                },
            );
        }
        let mut got = BTreeMap::new();
        while let Some(joined) = getting.join_next().await {
            let (name, number, source, mode, outcome) = joined.map_err(Fault::bug)?;
            let held = match outcome {
                Ok(held) => held,
                Err(unusable) if mode == RevocationMode::DangerousSoft => {
                    let mut held = HeldSource::new(name.clone(), source);
                    held.failed(unusable.to_string());
                    tracing::error!(target: "trust", bundle = %name, source = %held.source, error = %unusable, "no revocation list: certificates are accepted unchecked");
                    held
                }
                Err(unusable) => {
                    let place = format!("trust.{name}.crl[{number}]");
                    let why = format!("{source}: {unusable}");
                    return Err(loaded.fault(&ConfigError::new(place, why).hint(unusable.hint())));
                }
            };
            got.insert((name, number), held);
        }
        for ((name, _), held) in got {
            if let Some(bundle) = bundles.get_mut(&name) {
                bundle.sources.push(held);
            }
        }
        self.refuse_older(&loaded, &bundles)?;
        Ok(Prepared { loaded, bundles })
    }

    /// What a source of this bundle has given, without the lists of CAs that are no longer the bundle's.
    fn earlier(
        &self,
        name: &BundleName,
        source: &ListSource,
        plan: &RevocationPlan,
    ) -> Option<Earlier> {
        let held = self.held();
        let bundle = held.bundles.get(name)?;
        let before = bundle.trusted.revocation.as_ref()?;
        let known = bundle.sources.iter().find(|held| held.source == *source)?;
        let known = known.clone().of(&plan.issuers);
        let knew: Vec<Fingerprint> = before
            .issuers
            .iter()
            .map(Certificate::fingerprint)
            .collect();
        let mut issuers = plan.issuers.iter();
        let is_no_more = issuers.all(|issuer| knew.contains(&issuer.fingerprint()));
        Some(
            if is_no_more && before.mode == plan.mode && !known.lists.is_empty() {
                Earlier::Good(known)
            } else {
                Earlier::Other(known)
            },
        )
    }

    /// Where another source comes instead of one that was there, nothing it gives is older.
    fn refuse_older(
        &self,
        loaded: &Loaded,
        bundles: &BTreeMap<BundleName, HeldBundle>,
    ) -> Result<(), Fault> {
        let held = self.held();
        for (name, bundle) in bundles {
            let Some(before) = held.bundles.get(name) else {
                continue;
            };
            for (number, source) in bundle.sources.iter().enumerate() {
                // What has gone on was compared with itself; two places that publish the same are seldom in step.
                let has_gone_on = |it: &HeldSource| it.source == source.source;
                if before.sources.iter().any(has_gone_on) {
                    continue;
                }
                for earlier in &before.sources {
                    source.follow(earlier).map_err(|unusable| {
                        let place = format!("trust.{name}.crl[{number}]");
                        let why = format!("{}: {unusable}", source.source);
                        loaded.fault(&ConfigError::new(place, why).hint(unusable.hint()))
                    })?;
                }
            }
        }
        Ok(())
    }

    /// The lists of these bundles are in force when this returns, beside those of before, which stay until
    /// [`TrustLists::commit`]. To be called before anybody is judged by the bundles.
    pub(crate) fn tighten(&self, prepared: &Prepared) {
        let enforcement = &self.shared.enforcement;
        let present = enforcement.revocations();
        for (name, bundle) in &prepared.bundles {
            if let Some(ocsp) = &bundle.trusted.ocsp {
                enforcement.tighten_ocsp(name, ocsp.clone());
            }
            let Some(lists) = bundle.lists() else {
                continue;
            };
            let mut all = lists.lists().to_vec();
            for before in present.lists_of(name).iter().flat_map(|it| it.lists()) {
                if !all.iter().any(|list| list.is_of_the_same(before)) {
                    all.push(Arc::clone(before));
                }
            }
            let lists = Arc::new(BundleLists::new(lists.mode(), all));
            // Who has to go is waited for by `commit`.
            drop(enforcement.replace_lists(name.clone(), Some(lists)));
        }
    }

    /// The bundles are served by: what was before is gone.
    pub(crate) async fn commit(&self, prepared: Prepared) {
        let mut changed = Vec::new();
        let names = {
            let mut held = self.held();
            held.loaded = Some(prepared.loaded);
            let before = std::mem::replace(&mut held.bundles, prepared.bundles);
            let mut counts = std::mem::take(&mut held.counts);
            for (name, bundle) in &held.bundles {
                let earlier = before.get(name);
                if bundle.tell_change(name, earlier) && earlier.is_some() {
                    counts.entry(name.clone()).or_default().changes += 1;
                }
                for source in &bundle.sources {
                    let mut then = earlier.iter().flat_map(|it| &it.sources);
                    if let Some(then) = then.find(|it| source.is_another_answer(it)) {
                        counts.entry(name.clone()).or_default().replaced += 1;
                        tell_lists(name, source, then);
                    }
                }
                changed.push((name.clone(), bundle.lists()));
                self.ask_about(name, Some(bundle));
            }
            for (name, _) in before {
                if !held.bundles.contains_key(&name) {
                    tracing::warn!(target: "trust", bundle = %name, "trust bundle removed");
                    counts.remove(&name);
                    self.ask_about(&name, None);
                    changed.push((name, None));
                }
            }
            held.counts = counts;
            changed
        };
        for (name, lists) in names {
            self.put(name, lists).await;
        }
        let sources = self.sources();
        self.shared.obtaining.forget_all_but(sources).await;
        self.held().is_changing = false;
    }

    fn sources(&self) -> Vec<(BundleName, ListSource)> {
        let held = self.held();
        let bundles = held.bundles.iter();
        let sources = bundles.flat_map(|(name, bundle)| {
            let sources = bundle.sources.iter();
            sources.map(|it| (name.clone(), it.source.clone()))
        });
        sources.collect()
    }

    /// The bundles are not served by after all.
    pub(crate) async fn restore(&self, prepared: Prepared) {
        let before: Vec<_> = {
            let held = self.held();
            for name in prepared.bundles.keys() {
                self.ask_about(name, held.bundles.get(name));
            }
            let lists = |name: &BundleName| held.bundles.get(name).and_then(HeldBundle::lists);
            let names = prepared.bundles.into_keys();
            names.map(|name| (lists(&name), name)).collect()
        };
        for (lists, name) in before {
            self.put(name, lists).await;
        }
        self.held().is_changing = false;
    }

    async fn put(&self, name: BundleName, lists: Option<Arc<BundleLists>>) {
        let enforcement = &self.shared.enforcement;
        if enforcement.revocations().lists_of(&name) == lists.as_ref() {
            return;
        }
        let effects = enforcement.replace_lists(name.clone(), lists).await;
        if effects.connections_cut + effects.sessions_declined > 0 {
            tracing::warn!(
                target: "trust",
                bundle = %name,
                connections_cut = effects.connections_cut,
                sessions_declined = effects.sessions_declined,
                "revocation lists took access away"
            );
        }
    }

    /// Looks for what is due, each second, and ends what a list that is over leaves uncovered. Never ends by itself.
    async fn run(self) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut looking = JoinSet::new();
        loop {
            tokio::select! {
                _ = ticks.tick() => {
                    let cut = self.shared.enforcement.end_unlisted();
                    if cut > 0 {
                        tracing::error!(target: "trust", connections = cut, "connections are cut: a revocation list is over");
                    }
                    self.give_notice();
                    self.tell_unchecked();
                    for (name, held) in self.due() {
                        let lists = self.clone();
                        looking.spawn(async move { lists.look(name, held).await });
                    }
                }
                Some(looked) = looking.join_next() => {
                    if let Err(error) = looked {
                        tracing::error!(target: "trust", %error, "a look for a revocation list failed");
                    }
                }
            }
        }
    }

    /// Those whose time has come, which is put off until somebody has looked.
    fn due(&self) -> Vec<(BundleName, HeldSource)> {
        let now = Instant::now();
        let mut held = self.held();
        if held.is_changing {
            return Vec::new();
        }
        let mut due = Vec::new();
        for (name, bundle) in &mut held.bundles {
            for source in &mut bundle.sources {
                if source.next_try <= now {
                    due.push((name.clone(), source.clone()));
                    source.next_try = now + LOOKING;
                }
            }
        }
        due
    }

    async fn look(&self, name: BundleName, before: HeldSource) {
        let asked = {
            let held = self.held();
            let plan = (held.bundles.get(&name)).and_then(|it| it.trusted.revocation.clone());
            plan.zip(held.loaded.clone())
        };
        let Some((plan, loaded)) = asked else { return };
        let now = self.now();
        let outcome = self
            .shared
            .obtaining
            .again(&before, &plan, &loaded, now)
            .await;
        let lists = {
            let mut held = self.held();
            // What a reload has replaced meanwhile, or is about to, looks for itself.
            let is_current = held
                .loaded
                .as_ref()
                .is_some_and(|it| Arc::ptr_eq(it, &loaded));
            if held.is_changing || !is_current {
                return;
            }
            let mut counts = held.counts.get(&name).copied().unwrap_or_default();
            let Some(bundle) = held.bundles.get_mut(&name) else {
                return;
            };
            let contact = bundle.trusted.contact.clone().unwrap_or_default();
            let Some(source) = bundle
                .sources
                .iter_mut()
                .find(|it| it.source == before.source)
            else {
                return;
            };
            let changed = match outcome {
                Ok(Obtained::Unchanged(validators)) => {
                    source.is_told_apart_by(validators);
                    source.succeeded(plan.refresh, now);
                    false
                }
                Ok(Obtained::Lists(mut next)) => {
                    counts.replaced += 1;
                    tell_lists(&name, &next, source);
                    next.succeeded(plan.refresh, now);
                    if let Some(failure) = &next.failure {
                        counts.failures += 1;
                        if source.failure.as_ref() != Some(failure) {
                            tell_failure(&name, &next, &contact);
                        }
                    }
                    *source = next;
                    true
                }
                Err(unusable) => {
                    counts.failures += 1;
                    if source.failed(unusable.to_string()) {
                        tracing::error!(target: "trust", bundle = %name, source = %source.source, contact, error = %unusable, hint = unusable.hint(), "no new revocation list: the one that is held stays until its end");
                    }
                    false
                }
            };
            let lists = bundle.lists();
            held.counts.insert(name.clone(), counts);
            if !changed {
                return;
            }
            lists
        };
        self.put(name, lists).await;
    }

    fn now(&self) -> UnixTime {
        UnixTime::from_seconds(self.shared.clock.unix_seconds())
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.shared
            .held
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl HeldBundle {
    /// As the enforcement wants them; `None`: none are configured.
    fn lists(&self) -> Option<Arc<BundleLists>> {
        let plan = self.trusted.revocation.as_ref()?;
        let lists = self.sources.iter().flat_map(|source| source.lists.clone());
        Some(Arc::new(BundleLists::new(plan.mode, lists.collect())))
    }

    fn anchor_end(&self) -> UnixTime {
        let anchors = self.trusted.bundle.anchors().iter();
        anchors
            .map(Certificate::not_after)
            .min()
            .unwrap_or(UnixTime::MAX)
    }

    /// What ends within the notice: anchors, and lists that should have been replaced by now.
    fn ending(&self, now: UnixTime) -> Vec<(String, UnixTime)> {
        let notice = self.trusted.notice;
        let anchors = self.trusted.bundle.anchors().iter();
        let anchors = anchors
            .filter(|anchor| anchor.not_after() <= now.plus(notice))
            .map(|anchor| (format!("anchor {}", anchor.subject()), anchor.not_after()));
        let lists = self.sources.iter().flat_map(|source| &source.lists);
        let lists = lists
            .filter(|list| list.next_update() <= now.plus(notice.min(last_quarter(list))))
            .map(|list| (format!("the list of {}", list.issuer()), list.next_update()));
        anchors.chain(lists).collect()
    }
}

fn last_quarter(list: &AcceptedCrl) -> Duration {
    list.next_update().since(list.this_update()) / 4
}

const TICK: Duration = Duration::from_secs(1);
/// Longer than any look takes.
const LOOKING: Duration = Duration::from_mins(2);
