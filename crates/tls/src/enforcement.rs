//! What takes access away while the process runs: the revocation index, session stores and live connections together.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use countersign_pki::chain::{ChainFaultKind, revocation_of};
use countersign_pki::feed::{Released, Revoked};
use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::identity::{BundleName, VerifiedPeer};
use countersign_pki::revocation::{BundleLists, RevocationIndex, RevocationStatus};
use countersign_pki::time::UnixTime;
use countersign_runtime::clock::SharedClock;
use tokio::sync::mpsc;

use crate::freshness::Freshness;
use crate::live::{Cut, Lifeline, Registry, Side};
use crate::ocsp::{Ocsp, OcspAsked, OcspFigures, OcspSettings, Settled, Verdict};
use crate::peers::Peers;
use crate::sessions::SessionStore;

/// One per process, shared by every acceptor. Cheap to clone.
#[derive(Clone)]
pub struct Enforcement {
    shared: Arc<Shared>,
}

struct Shared {
    clock: SharedClock,
    revocations: ArcSwap<RevocationIndex>,
    // Held while an index is made out of the present one, so that of two changes at once none is lost.
    revoking: Mutex<()>,
    stores: Mutex<Vec<Weak<SessionStore>>>,
    freshness: Freshness,
    // How old trust data may be, by listener. Guards nothing but the map.
    lives: Mutex<BTreeMap<Arc<str>, Duration>>,
    // Admitted though nobody knows whether they are revoked. Guards nothing but the map.
    unchecked: Mutex<BTreeMap<BundleName, u64>>,
    // Until when lists that ended have been acted upon. Held while that is done.
    unlisted_ended: Mutex<UnixTime>,
    connections: Arc<Registry>,
    ocsp: Arc<Ocsp>,
    peers: Peers,
}

/// Whether a peer may be let in, as far as revocation is concerned.
pub(crate) enum Admission {
    /// On this ground.
    Admitted(RevocationStatus),
    /// Its responder has to be asked first.
    Awaited,
    /// It may not.
    Refused,
}

/// What a withdrawal did here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// Resumable sessions taken away.
    pub sessions_declined: u64,
    /// Open connections cut.
    pub connections_cut: u64,
    /// Connections whose access is withdrawn, by this or before, and whose task had not ended after [`END_WAIT`]: while
    /// there is one, the withdrawal is not in force.
    pub still_open: u64,
}

impl Enforcement {
    /// Begins with the revocations that are known.
    pub fn new(index: RevocationIndex, clock: SharedClock) -> Self {
        Self {
            shared: Arc::new(Shared {
                clock,
                revocations: ArcSwap::from_pointee(index),
                revoking: Mutex::default(),
                stores: Mutex::default(),
                freshness: Freshness::default(),
                lives: Mutex::default(),
                unchecked: Mutex::default(),
                unlisted_ended: Mutex::new(UnixTime::from_seconds(0)),
                connections: Arc::default(),
                ocsp: Arc::default(),
                peers: Peers::default(),
            }),
        }
    }

    /// What is revoked now.
    pub fn revocations(&self) -> Arc<RevocationIndex> {
        self.shared.revocations.load_full()
    }

    /// The same peer, held once for all its connections and sessions.
    pub(crate) fn share(&self, peer: VerifiedPeer) -> Arc<VerifiedPeer> {
        self.shared.peers.share(peer)
    }

    /// Adds these (union), then ends their sessions and connections, all before this returns; when the future is done
    /// every cut connection's task has ended too, or had 5 s to do so and is counted in [`Effects::still_open`]. It looks
    /// at every revocation there is: with nothing to add it waits once more for those that have not ended.
    ///
    /// Each step covers what the one before left open: a handshake judged by the old index registers its connection
    /// before it looks at the index again, so either the cut finds it or it finds the revocation.
    pub fn revoke(&self, revoked: Vec<Revoked>) -> impl Future<Output = Effects> + Send + use<> {
        let index = self.shared.add(revoked);
        self.shared.end_revoked(&index)
    }

    /// Like [`Enforcement::revoke`], with a snapshot of the history that is followed: a hold that it does not have was
    /// released while this node did not hear it.
    pub fn catch_up(&self, revoked: Vec<Revoked>) -> impl Future<Output = Effects> + Send + use<> {
        let index = self.shared.replace(|index| index.caught_up(revoked));
        self.shared.end_revoked(&index)
    }

    /// These are the CRLs of a bundle from now on; `None`: it has none of its own. Whom they list, and whom they no longer
    /// cover where that is asked for, is ended as by [`Enforcement::revoke`].
    pub fn replace_lists(
        &self,
        bundle: BundleName,
        lists: Option<Arc<BundleLists>>,
    ) -> impl Future<Output = Effects> + Send + use<> {
        let index = self.shared.replace(|index| index.with_lists(bundle, lists));
        self.shared.end_revoked(&index)
    }

    /// Clients' certificates of this bundle are asked about like this from now on; `None`: not at all. Connections that are open stay:
    /// [`Enforcement::renew_ocsp`] asks about them.
    pub fn replace_ocsp(&self, bundle: &BundleName, settings: Option<OcspSettings>) {
        self.shared.ocsp.replace(bundle, settings, self.now());
    }

    /// The same before a reload is in force: nobody is asked for less than before, nor for less than will be asked.
    pub fn tighten_ocsp(&self, bundle: &BundleName, settings: OcspSettings) {
        self.shared.ocsp.tighten(bundle, settings, self.now());
    }

    /// Questions come from here on. Until this is called, and when what it gives is gone, no responder is reached.
    pub fn ask_responders(&self) -> mpsc::Receiver<OcspAsked> {
        self.shared.ocsp.ask_with()
    }

    /// Asks anew about clients that are connected, before their answers are over, and ends sessions and connections of those who
    /// are revoked by now, or whose answer is over where the bundle asks for one; to be called every second by the control plane, and
    /// whenever an answer has come. How many connections were cut.
    pub fn renew_ocsp(&self) -> u64 {
        let ocsp = &self.shared.ocsp;
        if ocsp.is_idle() {
            return 0;
        }
        let is_asked_about = |peer: &VerifiedPeer| ocsp.settings_of(peer.bundle()).is_some();
        let peers = self.shared.connections.clients(is_asked_about);
        let doomed: BTreeSet<(BundleName, Fingerprint)> = ocsp
            .sweep(&peers, self.now())
            .into_iter()
            .map(|peer| (peer.bundle().clone(), peer.fingerprint()))
            .collect();
        if doomed.is_empty() {
            return 0;
        }
        let is_doomed =
            |peer: &VerifiedPeer| doomed.contains(&(peer.bundle().clone(), peer.fingerprint()));
        let (_, cut) = self
            .shared
            .end_all_but(|_, peer| !peer.is_some_and(is_doomed));
        cut.count
    }

    /// What responders of this bundle have said.
    pub fn ocsp(&self, bundle: &BundleName) -> OcspFigures {
        self.shared.ocsp.figures(bundle)
    }

    /// Admissions of this bundle's certificates for which no fresh CRL or OCSP answer was there, since the process began.
    pub fn unchecked(&self, bundle: &BundleName) -> u64 {
        let unchecked = self.shared.unchecked();
        unchecked.get(bundle).copied().unwrap_or_default()
    }

    /// Ends these holds: who was held is admitted again when this returns. Sessions that a hold took away stay away.
    pub fn release(&self, released: impl IntoIterator<Item = Released>) {
        self.shared.replace(|index| index.without(released));
    }

    /// Ends sessions and connections of those for whom `keep` says no (policy or trust changed, certificate expired).
    /// `listener` is the name in [`crate::scope::ScopeSettings`]; anonymous connections come as `None`.
    ///
    /// Replace the listener's settings first, so that nobody is admitted by the old ones behind its back. Acts and waits
    /// like [`Enforcement::revoke`].
    pub fn withdraw<K: Fn(&str, Option<&VerifiedPeer>) -> bool + Send>(
        &self,
        keep: K,
    ) -> impl Future<Output = Effects> + Send + use<K> {
        let (sessions_declined, cut) = self.shared.end_all_but(keep);
        effects(sessions_declined, cut)
    }

    /// Cuts connections past their certificate's end; to be called every second by the control plane.
    pub fn expire(&self) -> u64 {
        self.shared.connections.cut_expired(self.now()).count
    }

    /// The feed says that what is held here was true at `at`. From the first time on, it has an age.
    pub fn confirm(&self, at: UnixTime) {
        self.shared.freshness.confirm(at, self.now());
    }

    /// The same, of what a process before this one has left on disk.
    pub fn resume(&self, confirmed_at: UnixTime) {
        self.shared.freshness.resume(confirmed_at, self.now());
    }

    /// How long ago the feed was confirmed, by whichever clock says longer; `None`: this process has no feed.
    pub fn feed_age(&self) -> Option<Duration> {
        self.shared.freshness.age(self.now())
    }

    /// Ends sessions and connections of certificates whose bundle's CRL has come to its end, where no other covers them and the
    /// bundle asks for one; to be called every second by the control plane. How many connections were cut. Each end is acted upon
    /// once: whoever comes later is judged when it comes.
    pub fn end_unlisted(&self) -> u64 {
        let mut before =
            (self.shared.unlisted_ended.lock()).unwrap_or_else(PoisonError::into_inner);
        // The time first: lists that come after it are judged by whoever brings them, by a later time. A clock that was put back
        // begins anew.
        let now = self.now();
        let from = std::mem::replace(&mut *before, now).min(now);
        let index = self.revocations();
        if !index.lists().any(|(_, lists)| lists.ends_within(from, now)) {
            return 0;
        }
        let (_, cut) = self
            .shared
            .end_all_but(|_, peer| !peer.is_some_and(|peer| is_revoked(&index, peer, now)));
        cut.count
    }

    /// Ends sessions and connections of certificates on listeners whose trust data has come to the end of its life
    /// (invariant 5); to be called every second by the control plane. How many connections were cut.
    pub fn end_stale(&self) -> u64 {
        let Some(age) = self.feed_age() else { return 0 };
        let stale: Vec<Arc<str>> = {
            let lives = self.shared.lives.lock();
            let lives = lives.unwrap_or_else(PoisonError::into_inner);
            let ended = lives.iter().filter(|(_, life)| age >= **life);
            ended.map(|(listener, _)| Arc::clone(listener)).collect()
        };
        if stale.is_empty() {
            return 0;
        }
        let is_stale = |listener: &str| stale.iter().any(|name| **name == *listener);
        let (_, cut) = self
            .shared
            .end_all_but(|listener, peer| peer.is_none() || !is_stale(listener));
        cut.count
    }

    /// Open connections.
    pub fn live(&self) -> usize {
        self.shared.connections.len()
    }

    /// By the clock that validity is judged by.
    pub fn now(&self) -> UnixTime {
        UnixTime::from_seconds(self.shared.clock.unix_seconds())
    }

    /// Whether a certificate that was verified before is neither over nor revoked, by what handshakes are judged by now.
    pub fn would_stand(&self, peer: &VerifiedPeer) -> bool {
        self.now() <= peer.not_after() && !self.is_refused(peer)
    }

    /// Whether it is revoked, or has to be known not to be and is not.
    pub(crate) fn is_revoked(&self, peer: &VerifiedPeer) -> bool {
        is_revoked(&self.shared.revocations.load(), peer, self.now())
    }

    /// The same of a client that may go on: nothing is said against it, whether anything is said for it or not.
    pub(crate) fn is_refused(&self, client: &VerifiedPeer) -> bool {
        self.is_revoked(client) || matches!(self.judge_ocsp(client), Verdict::Refused(_))
    }

    /// What the responder has said of a client.
    pub(crate) fn judge_ocsp(&self, client: &VerifiedPeer) -> Verdict {
        self.shared.ocsp.verdict(client, self.now())
    }

    /// Waits until its responder has answered, or had its time: on what an admission rests by that.
    pub(crate) async fn answered(&self, client: &VerifiedPeer) -> Result<Settled, ChainFaultKind> {
        self.shared.ocsp.answered(client, || self.now()).await
    }

    /// Whether a client may be let in. `settled`: what waiting for its responder came to. What rests on nothing is counted.
    pub(crate) fn admission(&self, client: &VerifiedPeer, settled: Option<&Settled>) -> Admission {
        let now = self.now();
        let Ok(listed) = revocation_of(client, &self.shared.revocations.load(), now) else {
            return Admission::Refused;
        };
        let ocsp = &self.shared.ocsp;
        let said = match (ocsp.verdict(client, now), settled) {
            (Verdict::Refused(_), _) => return Admission::Refused,
            (Verdict::Good(said), None) => said,
            (Verdict::Good(said), Some(settled)) => said.max(settled.status),
            (Verdict::Awaited, Some(settled)) if ocsp.is_settled(settled, client) => settled.status,
            (Verdict::Awaited, _) => return Admission::Awaited,
        };
        let status = listed.max(said);
        if status == RevocationStatus::NotChecked {
            *self
                .shared
                .unchecked()
                .entry(client.bundle().clone())
                .or_default() += 1;
        }
        Admission::Admitted(status)
    }

    /// Of a client.
    pub(crate) fn register(&self, listener: Arc<str>, peer: Option<Arc<VerifiedPeer>>) -> Lifeline {
        (self.shared.connections).register(listener, peer, Side::Client)
    }

    /// Of a server that we are a client of.
    pub(crate) fn register_server(&self, label: Arc<str>, server: Arc<VerifiedPeer>) -> Lifeline {
        (self.shared.connections).register(label, Some(server), Side::Server)
    }

    /// Whether the feed is older than `life`, and how old it is.
    pub(crate) fn stale(&self, life: Option<Duration>) -> Option<Duration> {
        let life = life?;
        self.feed_age().filter(|age| *age >= life)
    }

    /// From here on connections of `listener` end when the feed is older.
    pub(crate) fn set_life(&self, listener: &Arc<str>, life: Option<Duration>) {
        let lives = self.shared.lives.lock();
        let mut lives = lives.unwrap_or_else(PoisonError::into_inner);
        match life {
            Some(life) => lives.insert(Arc::clone(listener), life),
            None => lives.remove(listener),
        };
    }

    /// From here on the store's sessions can be taken away.
    pub(crate) fn watch(&self, store: &Arc<SessionStore>) {
        let mut stores = self.shared.stores();
        stores.retain(|known| known.strong_count() > 0);
        stores.push(Arc::downgrade(store));
    }
}

impl Shared {
    fn add(&self, revoked: Vec<Revoked>) -> Arc<RevocationIndex> {
        if revoked.is_empty() {
            return self.revocations.load_full();
        }
        self.replace(|index| index.with(revoked))
    }

    fn replace(
        &self,
        next: impl FnOnce(&RevocationIndex) -> RevocationIndex,
    ) -> Arc<RevocationIndex> {
        let _alone = self.revoking.lock().unwrap_or_else(PoisonError::into_inner);
        let index = Arc::new(next(&self.revocations.load()));
        self.revocations.store(Arc::clone(&index));
        index
    }

    fn end_revoked(&self, index: &RevocationIndex) -> impl Future<Output = Effects> + Send + use<> {
        let now = UnixTime::from_seconds(self.clock.unix_seconds());
        let (sessions_declined, cut) =
            self.end_all_but(|_, peer| !peer.is_some_and(|peer| is_revoked(index, peer, now)));
        effects(sessions_declined, cut)
    }

    /// Sessions first: a client that is cut comes back at once.
    fn end_all_but(&self, keep: impl Fn(&str, Option<&VerifiedPeer>) -> bool) -> (u64, Cut) {
        let stores: Vec<_> = self.stores().iter().filter_map(Weak::upgrade).collect();
        let sessions_declined = stores
            .iter()
            .map(|store| store.retain(|peer| keep(store.listener(), peer)))
            .sum();
        (
            sessions_declined,
            self.connections.cut(|listener, peer| !keep(listener, peer)),
        )
    }

    fn unchecked(&self) -> MutexGuard<'_, BTreeMap<BundleName, u64>> {
        (self.unchecked.lock()).unwrap_or_else(PoisonError::into_inner)
    }

    fn stores(&self) -> MutexGuard<'_, Vec<Weak<SessionStore>>> {
        self.stores.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_revoked(index: &RevocationIndex, peer: &VerifiedPeer, now: UnixTime) -> bool {
    revocation_of(peer, index, now).is_err()
}

async fn effects(sessions_declined: u64, mut cut: Cut) -> Effects {
    let connections_cut = cut.count;
    let in_time = tokio::time::timeout(END_WAIT, cut.ended()).await.is_ok();
    let still_open = if in_time { 0 } else { cut.still_open() };
    if still_open > 0 {
        tracing::error!(
            connections_cut,
            still_open,
            "a cut connection's task has not ended"
        );
    }
    Effects {
        sessions_declined,
        connections_cut,
        still_open,
    }
}

/// A task that is told has nothing left to wait for; half of the 10 s that a waiting `revoke` has in all.
pub const END_WAIT: Duration = Duration::from_secs(5);
