//! What OCSP responders have said of clients' certificates, and who has to be asked.
//!
//! A certificate has a slot; what is judged is its answer, at that moment, never a verdict of before. Handshakes, resumptions and the
//! sweep over open connections look at the same slots. One question is under way for a slot, whoever waits; who asks it is the
//! control plane, by what [`Enforcement::ask_responders`](crate::enforcement::Enforcement::ask_responders) gives it.

mod asked;
mod settings;
mod slots;
mod waiting;

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use countersign_pki::certificate::Certificate;
use countersign_pki::chain::ChainFaultKind;
use countersign_pki::identity::{BundleName, PathElement, VerifiedPeer};
use countersign_pki::ocsp::{OcspFault, OcspStanding};
use countersign_pki::revocation::RevocationStatus;
use countersign_pki::time::UnixTime;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::{Instant, timeout_at};

pub use self::asked::OcspAsked;
use self::asked::Ticket;
pub use self::settings::OcspSettings;
use self::slots::{Key, Slot, Slots};
use self::waiting::Queue;

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
    queue: Arc<Queue>,
}

/// What one look at a peer's standing comes to.
pub(crate) enum Verdict {
    /// It may pass, on this ground.
    Good(RevocationStatus),
    /// Its responder has to be asked first: it may finish its handshake, and is let in nowhere.
    Awaited,
    /// It may not.
    Refused(ChainFaultKind),
}

/// What waiting for a responder came to, under the settings of then and no others.
pub(crate) struct Settled {
    pub(crate) status: RevocationStatus,
    settings: Option<Arc<OcspSettings>>,
}

/// One certificate of a peer, as it stood at one moment.
#[derive(Clone)]
struct Looked {
    /// Whose certificate that is, in the peer's path.
    at: usize,
    element: PathElement,
    slot: Option<Arc<Slot>>,
    standing: OcspStanding,
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
            queue: Arc::default(),
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

    /// Answers stay as long as what they prove themselves by does; whoever was said to be revoked stays so anyhow, until its responder
    /// says otherwise. Of a bundle that is asked about no more, nothing is left.
    pub(crate) fn replace(
        &self,
        bundle: &BundleName,
        settings: Option<OcspSettings>,
        now: UnixTime,
    ) {
        let held = self.settings_of(bundle);
        let is_same = match (&held, &settings) {
            (Some(held), Some(next)) => held.is_same_as(next),
            (None, None) => true,
            _ => false,
        };
        if is_same {
            return;
        }
        let next = settings.map(Arc::new);
        // Two changes at once would lose one; a reload is one task.
        let mut bundles = BTreeMap::clone(&self.bundles.load());
        match &next {
            Some(next) => bundles.insert(bundle.clone(), Arc::clone(next)),
            None => bundles.remove(bundle),
        };
        self.bundles.store(Arc::new(bundles));
        let mut slots = lock(&self.slots);
        let mut told = slots.of(bundle);
        match (held, next) {
            (Some(held), Some(next)) if next.believes(&held) => {
                for slot in &told {
                    slot.limit(now, next.max_age, next.url != held.url);
                }
            }
            (_, Some(next)) => {
                slots.forget(bundle, |slot| !slot.is_revoked());
                for slot in slots.of(bundle) {
                    slot.limit(now, next.max_age, true);
                }
            }
            (_, None) => slots.forget(bundle, |_| true),
        }
        drop(slots);
        for slot in told.drain(..) {
            slot.changed.notify_waiters();
        }
    }

    /// Until the rest of a reload is in force: what is stricter of both, so that nobody is judged by less than either asks for.
    pub(crate) fn tighten(&self, bundle: &BundleName, next: OcspSettings, now: UnixTime) {
        let tightened = match self.settings_of(bundle) {
            Some(held) => held.tightened_by(&next),
            None => next,
        };
        self.replace(bundle, Some(tightened), now);
    }

    pub(crate) fn figures(&self, bundle: &BundleName) -> OcspFigures {
        let figures = lock(&self.figures).get(bundle).copied();
        OcspFigures {
            held: lock(&self.slots).answered(bundle),
            ..figures.unwrap_or_default()
        }
    }

    /// As of whoever begins. Whoever is refused for what was said before is asked about once more behind its back, when that is due.
    pub(crate) fn verdict(self: &Arc<Self>, peer: &VerifiedPeer, now: UnixTime) -> Verdict {
        let Some(settings) = self.settings_of(peer.bundle()) else {
            return Verdict::Good(RevocationStatus::Checked);
        };
        let looked = self.look(peer, &settings, Patience::AskFirst, false, now);
        for it in &looked {
            let is_over = matches!(
                it.standing,
                OcspStanding::Revoked(_) | OcspStanding::Refused(OcspFault::Unknown)
            );
            if is_over && it.slot.as_ref().is_some_and(|slot| slot.is_due(now)) {
                // What finds no place now is as due at the next attempt.
                let _ = self.ask(peer, it, &settings, now);
            }
        }
        verdict(looked, peer)
    }

    /// Whether what waiting came to still says something, where nothing newer does.
    pub(crate) fn is_settled(&self, settled: &Settled, peer: &VerifiedPeer) -> bool {
        match (self.settings_of(peer.bundle()), &settled.settings) {
            (Some(present), Some(then)) => Arc::ptr_eq(&present, then),
            _ => false,
        }
    }

    fn look(
        &self,
        peer: &VerifiedPeer,
        settings: &OcspSettings,
        patience: Patience,
        inserts: bool,
        now: UnixTime,
    ) -> Vec<Looked> {
        let all = elements(peer, settings).enumerate().map(|(at, element)| {
            let key = key(peer, element);
            let mut slots = lock(&self.slots);
            let slot = if inserts {
                Some(slots.get_or_insert(key))
            } else {
                slots.get(&key)
            };
            drop(slots);
            let standing = slot.as_ref().map_or(OcspStanding::Awaited, |slot| {
                slot.standing(settings.mode, patience, now)
            });
            Looked {
                at,
                element,
                slot,
                standing,
            }
        });
        all.collect()
    }

    /// Waits until the peer's responder has answered, or failed to.
    pub(crate) async fn answered(
        self: &Arc<Self>,
        peer: &VerifiedPeer,
        now: impl Fn() -> UnixTime,
    ) -> Result<Settled, ChainFaultKind> {
        let mut deadline = None;
        let waiting = Queue::enter(&self.queue, peer);
        let mut given_up = waiting.is_none().then(|| OcspFault::Unreachable {
            why: "too many connections wait for answers already".to_owned(),
        });
        loop {
            // A reload may have come between.
            let Some(settings) = self.settings_of(peer.bundle()) else {
                return Ok(Settled {
                    status: RevocationStatus::Checked,
                    settings: None,
                });
            };
            let deadline = *deadline.get_or_insert_with(|| {
                self.count(peer.bundle(), |figures| figures.misses += 1);
                Instant::now() + settings.timeout
            });
            let moment = now();
            let mut looked = self.look(
                peer,
                &settings,
                Patience::JustNow,
                waiting.is_some(),
                moment,
            );
            if let Some(fault) = &given_up {
                give_up(&mut looked, fault, &settings, moment);
            }
            let awaited = (looked.iter()).find(|it| it.standing == OcspStanding::Awaited);
            let Some((awaited, slot)) = awaited.and_then(|it| Some((it, it.slot.as_ref()?))) else {
                return match verdict(looked, peer) {
                    Verdict::Good(status) => Ok(Settled {
                        status,
                        settings: Some(settings),
                    }),
                    Verdict::Refused(kind) => Err(kind),
                    // Nobody who has given up is left with this; what is not known admits nobody.
                    Verdict::Awaited => Err(ChainFaultKind::OcspUnusable {
                        subject: subject(peer, 0),
                        fault: OcspFault::Unknown,
                    }),
                };
            };
            let woken = slot.changed.notified();
            let mut woken = std::pin::pin!(woken);
            // From here on a change is not missed.
            woken.as_mut().enable();
            if let Err(fault) = self.ask(peer, awaited, &settings, moment) {
                given_up = Some(fault);
            } else if slot.standing(settings.mode, Patience::JustNow, moment)
                == OcspStanding::Awaited
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

    /// Asks for what is due among these, who are in, and says who has to go. Of each bundle so many questions are under way at most:
    /// whoever finds no place among them stays due, and is next.
    pub(crate) fn sweep<'a>(
        self: &Arc<Self>,
        peers: &'a [Arc<VerifiedPeer>],
        now: UnixTime,
    ) -> Vec<&'a VerifiedPeer> {
        let mut doomed = Vec::new();
        let mut of_bundles: BTreeMap<&BundleName, (usize, Vec<_>)> = BTreeMap::new();
        // What many clients share, such as the CA of all of them, is one question.
        let mut counted = HashSet::new();
        for peer in peers {
            let Some(settings) = self.settings_of(peer.bundle()) else {
                continue;
            };
            let looked = self.look(peer, &settings, Patience::Live, true, now);
            let (under_way, due) = of_bundles.entry(peer.bundle()).or_default();
            for it in &looked {
                let Some(slot) = &it.slot else { continue };
                if !counted.insert(Arc::as_ptr(slot).addr()) {
                    continue;
                }
                if slot.is_asking() {
                    *under_way += 1;
                } else if slot.is_due(now) {
                    due.push((slot.next(), peer, it.clone(), Arc::clone(&settings)));
                }
            }
            if matches!(verdict(looked, peer), Verdict::Refused(_)) {
                doomed.push(&**peer);
            }
        }
        for (under_way, mut due) in of_bundles.into_values() {
            due.sort_by_key(|(next, ..)| *next);
            let places = MAX_SWEPT.saturating_sub(under_way);
            for (_, peer, it, settings) in due.into_iter().take(places) {
                if self.ask(peer, &it, &settings, now).is_err() {
                    break;
                }
            }
        }
        doomed
    }

    /// At most one question at a time goes out for a slot. What cannot be sent for want of room is no failure of the responder: the slot is
    /// left as it was.
    fn ask(
        self: &Arc<Self>,
        peer: &VerifiedPeer,
        looked: &Looked,
        settings: &Arc<OcspSettings>,
        now: UnixTime,
    ) -> Result<(), OcspFault> {
        let Some(slot) = looked.slot.as_ref().filter(|slot| slot.begin()) else {
            return Ok(());
        };
        let Some(issuer) = issuer(peer, looked.at, settings) else {
            let why = "its issuer's certificate is not at hand".to_owned();
            self.failed(peer.bundle(), slot, OcspFault::Invalid { why }, now);
            return Ok(());
        };
        let ticket = Ticket::new(self, slot, now);
        let asked = OcspAsked::new(
            peer.bundle(),
            settings,
            issuer,
            looked.element.serial,
            ticket,
        );
        let sender = lock(&self.questions).clone();
        let unsent = match sender {
            Some(sender) => sender.try_send(asked).map_err(TrySendError::into_inner),
            None => Err(asked),
        };
        unsent.map_err(|asked| {
            asked.withdraw();
            let why = "too many questions are under way".to_owned();
            OcspFault::Unreachable { why }
        })
    }

    fn failed(&self, bundle: &BundleName, slot: &Slot, fault: OcspFault, now: UnixTime) {
        self.count(bundle, |figures| figures.failures += 1);
        slot.fail(fault, now);
    }

    fn count(&self, bundle: &BundleName, change: impl FnOnce(&mut OcspFigures)) {
        change(lock(&self.figures).entry(bundle.clone()).or_default());
    }
}

/// By the worst of its certificates. Nobody is refused while an answer is awaited, and nobody is let in.
fn verdict(looked: Vec<Looked>, peer: &VerifiedPeer) -> Verdict {
    let worst = looked.into_iter().reduce(|one, other| {
        if rank(&one.standing) < rank(&other.standing) {
            other
        } else {
            one
        }
    });
    let Some(Looked {
        at,
        element,
        standing,
        ..
    }) = worst
    else {
        return Verdict::Awaited;
    };
    match standing {
        OcspStanding::Admitted(status) => Verdict::Good(status),
        OcspStanding::Awaited => Verdict::Awaited,
        OcspStanding::Revoked(revocation) => Verdict::Refused(ChainFaultKind::Revoked {
            subject: subject(peer, at),
            serial: element.serial,
            issuer_key: element.issuer_key,
            revoked_at: revocation.revoked_at,
            reason: revocation.reason,
        }),
        OcspStanding::Refused(fault) => Verdict::Refused(ChainFaultKind::OcspUnusable {
            subject: subject(peer, at),
            fault,
        }),
    }
}

/// For who waits no longer: what is awaited of each certificate will not come.
fn give_up(looked: &mut [Looked], fault: &OcspFault, settings: &OcspSettings, now: UnixTime) {
    for it in looked {
        if it.standing == OcspStanding::Awaited {
            it.standing = match &it.slot {
                Some(slot) => slot.standing_after(fault, settings.mode, now),
                None => OcspStanding::of(None, Some(fault), settings.mode, now),
            };
        }
    }
}

fn subject(peer: &VerifiedPeer, at: usize) -> String {
    let der = peer.chain().get(at);
    let parsed = der.and_then(|der| Certificate::parse(der).ok());
    parsed.map_or_else(String::new, |it| it.subject().to_string())
}

fn rank(standing: &OcspStanding) -> u8 {
    match standing {
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

/// Of one bundle. With 300 bytes each 20 MB; a certificate that has no slot any more is asked about again.
const MAX_SLOTS: usize = 65_536;
/// Questions that nobody has begun to ask: at 1000 a second some seconds of them.
const MAX_QUESTIONS: usize = 4096;
/// Questions about clients that are in, under way at once for one bundle: whoever comes waits behind no more of them.
const MAX_SWEPT: usize = 128;
