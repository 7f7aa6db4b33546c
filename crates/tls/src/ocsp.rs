//! What OCSP responders have said of clients' certificates, and who has to be asked.
//!
//! A certificate has a slot; what is judged is its answer, at that moment, never a verdict of before. Handshakes, resumptions and the
//! sweep over open connections look at the same slots. One question is under way for a slot, whoever waits; who asks it is the
//! control plane, by what [`Enforcement::ask_responders`](crate::enforcement::Enforcement::ask_responders) gives it.

mod slots;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use countersign_pki::certificate::Certificate;
use countersign_pki::chain::ChainFaultKind;
use countersign_pki::identity::{BundleName, PathElement, VerifiedPeer};
use countersign_pki::ocsp::{OcspAnswer, OcspFault, OcspStanding, OcspStatus};
use countersign_pki::revocation::{RevocationMode, RevocationStatus};
use countersign_pki::serial::SerialNumber;
use countersign_pki::time::UnixTime;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::{Instant, timeout_at};

use self::slots::{Key, Slot, Slots};

/// How certificates of one bundle are asked about.
#[derive(Clone, Debug)]
pub struct OcspSettings {
    /// Whom to ask, as written.
    pub url: String,
    /// What becomes of a certificate that no fresh answer speaks of.
    pub mode: RevocationMode,
    /// The bundle's anchors: issuers of what has no issuer in its chain.
    pub anchors: Vec<Certificate>,
    /// Responders that are named; empty: issuers themselves, and whom they certified.
    pub signers: Vec<Certificate>,
    /// For how long an answer is good.
    pub max_age: Duration,
    /// For how long a connection waits for one.
    pub timeout: Duration,
    /// Whether the CAs between the client and the anchor are asked about, too.
    pub chain: bool,
}

impl OcspSettings {
    /// Whether answers that are held, and how they are judged, are the same by both.
    pub fn is_same_as(&self, other: &Self) -> bool {
        let prints =
            |all: &[Certificate]| -> Vec<_> { all.iter().map(Certificate::fingerprint).collect() };
        let plain = |it: &Self| (it.mode, it.max_age, it.timeout, it.chain);
        self.url == other.url
            && plain(self) == plain(other)
            && prints(&self.anchors) == prints(&other.anchors)
            && prints(&self.signers) == prints(&other.signers)
    }
}

/// A question for the control plane. Dropped without [`OcspAsked::answered`], it has failed.
pub struct OcspAsked {
    bundle: BundleName,
    settings: Arc<OcspSettings>,
    issuer: Certificate,
    serial: SerialNumber,
    ticket: Option<Ticket>,
}

struct Ticket {
    ocsp: Arc<Ocsp>,
    slot: Arc<Slot>,
    since: UnixTime,
}

/// What was asked for a bundle, since the process began, and what is held now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OcspFigures {
    /// Answers that said good.
    pub good: u64,
    /// Answers that said revoked.
    pub revoked: u64,
    /// Answers that said unknown.
    pub unknown: u64,
    /// Questions without an answer that could be relied on.
    pub failures: u64,
    /// Connections that had to wait for an answer.
    pub misses: u64,
    /// Certificates of which an answer is held.
    pub held: usize,
    /// When the last answer came.
    pub last_answer: Option<UnixTime>,
}

/// One per process.
pub(crate) struct Ocsp {
    bundles: ArcSwap<BTreeMap<BundleName, Arc<OcspSettings>>>,
    // Guards the slots' own invariant, and nothing while anybody waits.
    slots: Mutex<Slots>,
    questions: Mutex<Option<mpsc::Sender<OcspAsked>>>,
    figures: Mutex<BTreeMap<BundleName, OcspFigures>>,
    waiting: AtomicUsize,
}

/// How a peer stands as a whole: the worst of its certificates.
pub(crate) struct PeerStanding {
    pub(crate) standing: OcspStanding,
    /// Whose certificate that is, in its path.
    at: usize,
}

/// How long a failure counts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Patience {
    /// Whoever is let in has to be asked about first.
    AskFirst,
    /// Whoever waits is told of a failure that is as new.
    JustNow,
    /// Whoever is in stays for as long as its last answer, and no longer because nobody answers.
    Live,
}

impl Default for Ocsp {
    fn default() -> Self {
        Self {
            bundles: ArcSwap::default(),
            slots: Mutex::new(Slots::new(MAX_SLOTS)),
            questions: Mutex::default(),
            figures: Mutex::default(),
            waiting: AtomicUsize::new(0),
        }
    }
}

impl Ocsp {
    /// From here on questions go there.
    pub(crate) fn ask_with(&self) -> mpsc::Receiver<OcspAsked> {
        let (sender, receiver) = mpsc::channel(MAX_QUESTIONS);
        *lock(&self.questions) = Some(sender);
        receiver
    }

    pub(crate) fn settings_of(&self, bundle: &BundleName) -> Option<Arc<OcspSettings>> {
        self.bundles.load().get(bundle).map(Arc::clone)
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.bundles.load().is_empty()
    }

    /// What was answered under other settings is forgotten.
    pub(crate) fn replace(&self, bundle: &BundleName, settings: Option<OcspSettings>) {
        let held = self.settings_of(bundle);
        let is_same = match (&held, &settings) {
            (Some(held), Some(next)) => held.is_same_as(next),
            (None, None) => true,
            _ => false,
        };
        if is_same {
            return;
        }
        // Two changes at once would lose one; a reload is one task.
        let mut bundles = BTreeMap::clone(&self.bundles.load());
        match settings {
            Some(settings) => bundles.insert(bundle.clone(), Arc::new(settings)),
            None => bundles.remove(bundle),
        };
        self.bundles.store(Arc::new(bundles));
        for slot in lock(&self.slots).forget(bundle) {
            slot.changed.notify_waiters();
        }
    }

    pub(crate) fn figures(&self, bundle: &BundleName) -> OcspFigures {
        let figures = lock(&self.figures).get(bundle).copied();
        OcspFigures {
            held: lock(&self.slots).answered(bundle),
            ..figures.unwrap_or_default()
        }
    }

    /// As of whoever begins: `None`: it is under no bundle that is asked about.
    pub(crate) fn standing(&self, peer: &VerifiedPeer, now: UnixTime) -> Option<PeerStanding> {
        let settings = self.settings_of(peer.bundle())?;
        Some(self.judge(peer, &settings, Patience::AskFirst, now))
    }

    /// As of whoever is in.
    fn live_standing(&self, peer: &VerifiedPeer, now: UnixTime) -> Option<PeerStanding> {
        let settings = self.settings_of(peer.bundle())?;
        Some(self.judge(peer, &settings, Patience::Live, now))
    }

    fn judge(
        &self,
        peer: &VerifiedPeer,
        settings: &OcspSettings,
        patience: Patience,
        now: UnixTime,
    ) -> PeerStanding {
        let all = elements(peer, settings).enumerate().map(|(at, element)| {
            let slot = lock(&self.slots).get(&key(peer, element));
            let standing = slot.map_or(OcspStanding::Awaited, |slot| {
                slot.standing(settings.mode, patience, now)
            });
            PeerStanding { standing, at }
        });
        let worst = all.reduce(|one, other| {
            if rank(&one) < rank(&other) {
                other
            } else {
                one
            }
        });
        worst.unwrap_or(PeerStanding {
            standing: OcspStanding::Awaited,
            at: 0,
        })
    }

    /// Waits until the peer's responder has answered, or failed to.
    pub(crate) async fn answered(
        self: &Arc<Self>,
        peer: &VerifiedPeer,
        now: impl Fn() -> UnixTime,
    ) -> Result<RevocationStatus, ChainFaultKind> {
        let Some(settings) = self.settings_of(peer.bundle()) else {
            return Ok(RevocationStatus::Checked);
        };
        self.count(peer.bundle(), |figures| figures.misses += 1);
        let deadline = Instant::now() + settings.timeout;
        let waiting = Waiting::begin(self);
        let mut given_up = waiting.is_none().then(|| OcspFault::Unreachable {
            why: format!("{MAX_WAITING} connections wait for answers already"),
        });
        loop {
            // A reload may have come between.
            let Some(settings) = self.settings_of(peer.bundle()) else {
                return Ok(RevocationStatus::Checked);
            };
            let awaited = elements(peer, &settings)
                .enumerate()
                .find_map(|(at, element)| {
                    let slot = lock(&self.slots).get_or_insert(key(peer, element));
                    let standing = slot.standing(settings.mode, Patience::JustNow, now());
                    (standing == OcspStanding::Awaited).then_some((at, element, slot))
                });
            let Some((at, element, slot)) = awaited else {
                return self.settled(peer, &settings, Patience::JustNow, now());
            };
            if let Some(fault) = given_up {
                let standing = slot.standing_after(&fault, settings.mode, now());
                return PeerStanding { standing, at }.verdict(peer);
            }
            let woken = slot.changed.notified();
            let mut woken = std::pin::pin!(woken);
            // From here on a change is not missed.
            woken.as_mut().enable();
            self.ask(peer, at, element, &slot, &settings, now());
            if slot.standing(settings.mode, Patience::JustNow, now()) == OcspStanding::Awaited
                && timeout_at(deadline, woken).await.is_err()
            {
                given_up = Some(OcspFault::Unreachable {
                    why: format!(
                        "{} did not answer within {:.1} s",
                        settings.url,
                        settings.timeout.as_secs_f64()
                    ),
                });
            }
        }
    }

    fn settled(
        &self,
        peer: &VerifiedPeer,
        settings: &OcspSettings,
        patience: Patience,
        now: UnixTime,
    ) -> Result<RevocationStatus, ChainFaultKind> {
        self.judge(peer, settings, patience, now).verdict(peer)
    }

    /// Asks for what is due among these, who are in, and says who has to go.
    pub(crate) fn sweep<'a>(
        self: &Arc<Self>,
        peers: &'a [Arc<VerifiedPeer>],
        now: UnixTime,
    ) -> Vec<&'a VerifiedPeer> {
        let mut doomed = Vec::new();
        for peer in peers {
            let Some(settings) = self.settings_of(peer.bundle()) else {
                continue;
            };
            for (at, element) in elements(peer, &settings).enumerate() {
                let slot = lock(&self.slots).get_or_insert(key(peer, element));
                if slot.is_due(now) {
                    self.ask(peer, at, element, &slot, &settings, now);
                }
            }
            let standing = self.live_standing(peer, now);
            if standing.is_some_and(|it| it.verdict(peer).is_err()) {
                doomed.push(&**peer);
            }
        }
        doomed
    }

    /// At most one question at a time goes out for a slot.
    fn ask(
        self: &Arc<Self>,
        peer: &VerifiedPeer,
        at: usize,
        element: PathElement,
        slot: &Arc<Slot>,
        settings: &Arc<OcspSettings>,
        now: UnixTime,
    ) {
        if !slot.begin() {
            return;
        }
        let Some(issuer) = issuer(peer, at, settings) else {
            let why = "its issuer's certificate is not at hand".to_owned();
            return self.failed(peer.bundle(), slot, OcspFault::Invalid { why }, now);
        };
        let asked = OcspAsked {
            bundle: peer.bundle().clone(),
            settings: Arc::clone(settings),
            issuer,
            serial: element.serial,
            ticket: Some(Ticket {
                ocsp: Arc::clone(self),
                slot: Arc::clone(slot),
                since: now,
            }),
        };
        let sender = lock(&self.questions).clone();
        let unsent = match sender {
            Some(sender) => sender.try_send(asked).map_err(TrySendError::into_inner),
            None => Err(asked),
        };
        if let Err(mut asked) = unsent {
            asked.ticket = None;
            let why = "too many questions are under way".to_owned();
            self.failed(peer.bundle(), slot, OcspFault::Unreachable { why }, now);
        }
    }

    fn failed(&self, bundle: &BundleName, slot: &Slot, fault: OcspFault, now: UnixTime) {
        self.count(bundle, |figures| figures.failures += 1);
        slot.fail(fault, now);
    }

    fn count(&self, bundle: &BundleName, change: impl FnOnce(&mut OcspFigures)) {
        change(lock(&self.figures).entry(bundle.clone()).or_default());
    }
}

impl OcspAsked {
    /// Whose certificate.
    pub fn bundle(&self) -> &BundleName {
        &self.bundle
    }

    /// How to ask.
    pub fn settings(&self) -> &OcspSettings {
        &self.settings
    }

    /// Who signed the certificate.
    pub fn issuer(&self) -> &Certificate {
        &self.issuer
    }

    /// Which it is.
    pub fn serial(&self) -> SerialNumber {
        self.serial
    }

    /// What came of it. Whoever waits is judged by it; whether anybody has to go is for
    /// [`Enforcement::renew_ocsp`](crate::enforcement::Enforcement::renew_ocsp) to find.
    pub fn answered(mut self, outcome: Result<OcspAnswer, OcspFault>, now: UnixTime) {
        let Some(Ticket { ocsp, slot, .. }) = self.ticket.take() else {
            return;
        };
        let outcome = outcome.and_then(|answer| slot.follow(&answer).map(|()| answer));
        match outcome {
            Ok(answer) => {
                ocsp.count(&self.bundle, |figures| {
                    match answer.status {
                        OcspStatus::Good => figures.good += 1,
                        OcspStatus::Revoked(_) => figures.revoked += 1,
                        OcspStatus::Unknown => figures.unknown += 1,
                    }
                    figures.last_answer = Some(now);
                });
                lock(&ocsp.slots).renew(&slot);
                slot.put(answer, now);
            }
            Err(fault) => ocsp.failed(&self.bundle, &slot, fault, now),
        }
    }
}

impl Drop for OcspAsked {
    fn drop(&mut self) {
        if let Some(Ticket { ocsp, slot, since }) = self.ticket.take() {
            let why = "nobody asks the responder".to_owned();
            let fault = OcspFault::Unreachable { why };
            ocsp.failed(&self.bundle, &slot, fault, since);
        }
    }
}

impl PeerStanding {
    /// Whether it is to be refused, and on what an admission rests. Nobody is refused while an answer is awaited.
    pub(crate) fn verdict(self, peer: &VerifiedPeer) -> Result<RevocationStatus, ChainFaultKind> {
        let element = peer.path().get(self.at);
        let subject = || {
            let der = peer.chain().get(self.at);
            let parsed = der.and_then(|der| Certificate::parse(der).ok());
            parsed.map_or_else(String::new, |it| it.subject().to_string())
        };
        match (self.standing, element) {
            (OcspStanding::Admitted(status), _) => Ok(status),
            (OcspStanding::Awaited, _) => Ok(RevocationStatus::Checked),
            (OcspStanding::Revoked(revocation), Some(element)) => Err(ChainFaultKind::Revoked {
                subject: subject(),
                serial: element.serial,
                issuer_key: element.issuer_key,
                revoked_at: revocation.revoked_at,
                reason: revocation.reason,
            }),
            (OcspStanding::Revoked(_), None) => Err(ChainFaultKind::OcspUnusable {
                subject: subject(),
                fault: OcspFault::Unknown,
            }),
            (OcspStanding::Refused(fault), _) => Err(ChainFaultKind::OcspUnusable {
                subject: subject(),
                fault,
            }),
        }
    }
}

/// One of those who wait, of whom there are so many at most.
struct Waiting(Arc<Ocsp>);

impl Waiting {
    fn begin(ocsp: &Arc<Ocsp>) -> Option<Self> {
        let before = ocsp.waiting.fetch_add(1, Ordering::SeqCst);
        let waiting = Self(Arc::clone(ocsp));
        (before < MAX_WAITING).then_some(waiting)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

fn rank(standing: &PeerStanding) -> u8 {
    match &standing.standing {
        OcspStanding::Admitted(RevocationStatus::Checked) => 0,
        OcspStanding::Admitted(RevocationStatus::InGrace) => 1,
        OcspStanding::Admitted(RevocationStatus::NotChecked) => 2,
        OcspStanding::Awaited => 3,
        OcspStanding::Refused(_) => 4,
        OcspStanding::Revoked(_) => 5,
    }
}

/// Those of the path that are asked about: the leaf; all of them where that is wanted.
fn elements(peer: &VerifiedPeer, settings: &OcspSettings) -> impl Iterator<Item = PathElement> {
    let wanted = if settings.chain { usize::MAX } else { 1 };
    peer.path().iter().copied().take(wanted)
}

fn key(peer: &VerifiedPeer, element: PathElement) -> Key {
    Key {
        bundle: peer.bundle().clone(),
        issuer: element.issuer_key,
        serial: element.serial,
    }
}

fn issuer(peer: &VerifiedPeer, at: usize, settings: &OcspSettings) -> Option<Certificate> {
    if let Some(der) = peer.chain().get(at + 1) {
        return Certificate::parse(der).ok();
    }
    let mut anchors = settings.anchors.iter();
    let found = anchors.find(|anchor| anchor.fingerprint() == peer.anchor());
    found.cloned()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing under these locks can panic half-way.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// With 300 bytes each 20 MB; a certificate that has no slot any more is asked about again.
const MAX_SLOTS: usize = 65_536;
/// Questions that nobody has begun to ask: at 1000 a second some seconds of them.
const MAX_QUESTIONS: usize = 4096;
/// Connections that wait, each with its socket; as many as handshakes may be unfinished on four listeners.
const MAX_WAITING: usize = 4096;
