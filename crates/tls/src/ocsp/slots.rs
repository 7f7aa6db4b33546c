//! The answers by certificate, bounded: the one that was renewed longest ago makes room.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::identity::BundleName;
use countersign_pki::ocsp::{OcspAnswer, OcspFault, OcspStanding, OcspStatus};
use countersign_pki::revocation::RevocationMode;
use countersign_pki::serial::SerialNumber;
use countersign_pki::time::UnixTime;
use tokio::sync::Notify;

use super::{Patience, lock};

/// A certificate: its serial under the key that signed it, and the bundle whose responder is asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) bundle: BundleName,
    pub(super) issuer: Fingerprint,
    pub(super) serial: SerialNumber,
}

/// What is known of one certificate.
pub(super) struct Slot {
    key: Key,
    // Guards nothing but what it holds.
    state: Mutex<State>,
    /// Told of each answer and each failure.
    pub(super) changed: Notify,
}

#[derive(Default)]
struct State {
    answer: Option<OcspAnswer>,
    /// Since the answer, if there is one.
    failure: Option<(OcspFault, UnixTime)>,
    is_asking: bool,
    /// When the control plane asks for those who are in; `None`: at once.
    next: Option<UnixTime>,
}

/// Invariant: `by_age` holds the keys of `by_key`, each once.
pub(super) struct Slots {
    by_key: HashMap<Key, (Arc<Slot>, u64)>,
    by_age: BTreeMap<u64, Key>,
    next_age: u64,
    limit: usize,
}

impl Slots {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            by_key: HashMap::new(),
            by_age: BTreeMap::new(),
            next_age: 0,
            limit,
        }
    }

    pub(super) fn get(&self, key: &Key) -> Option<Arc<Slot>> {
        self.by_key.get(key).map(|(slot, _)| Arc::clone(slot))
    }

    pub(super) fn get_or_insert(&mut self, key: Key) -> Arc<Slot> {
        if let Some(slot) = self.get(&key) {
            return slot;
        }
        while self.by_key.len() >= self.limit {
            let Some((_, oldest)) = self.by_age.pop_first() else {
                break;
            };
            self.by_key.remove(&oldest);
        }
        let slot = Arc::new(Slot {
            key: key.clone(),
            state: Mutex::default(),
            changed: Notify::new(),
        });
        let age = self.grow_older();
        self.by_age.insert(age, key.clone());
        self.by_key.insert(key, (Arc::clone(&slot), age));
        slot
    }

    /// It is the youngest now, if it is still there.
    pub(super) fn renew(&mut self, slot: &Arc<Slot>) {
        let age = self.grow_older();
        if let Some((held, before)) = self.by_key.get_mut(&slot.key)
            && Arc::ptr_eq(held, slot)
        {
            self.by_age.remove(before);
            *before = age;
            self.by_age.insert(age, slot.key.clone());
        }
    }

    /// What is known of this bundle's certificates is gone.
    pub(super) fn forget(&mut self, bundle: &BundleName) -> Vec<Arc<Slot>> {
        let gone: Vec<_> = (self.by_key.extract_if(|key, _| key.bundle == *bundle)).collect();
        for (_, (_, age)) in &gone {
            self.by_age.remove(age);
        }
        gone.into_iter().map(|(_, (slot, _))| slot).collect()
    }

    pub(super) fn answered(&self, bundle: &BundleName) -> usize {
        let of_bundle = self.by_key.iter().filter(|(key, _)| key.bundle == *bundle);
        of_bundle
            .filter(|(_, (slot, _))| lock(&slot.state).answer.is_some())
            .count()
    }

    fn grow_older(&mut self) -> u64 {
        self.next_age += 1;
        self.next_age
    }
}

impl Slot {
    pub(super) fn standing(
        &self,
        mode: RevocationMode,
        patience: Patience,
        now: UnixTime,
    ) -> OcspStanding {
        let state = lock(&self.state);
        let failure = state.failure.as_ref();
        let failure = match patience {
            Patience::AskFirst => None,
            Patience::JustNow => failure
                .filter(|(_, at)| now <= at.plus(RETRY_AFTER))
                .map(|(fault, _)| fault),
            Patience::Live => failure.map(|(fault, _)| fault),
        };
        if patience == Patience::Live && failure.is_none() && state.answer.is_some() {
            // An answer that is over is over, even while the next one is on its way.
            let late = OcspFault::Unreachable {
                why: "the next answer is not there yet".to_owned(),
            };
            return OcspStanding::of(state.answer.as_ref(), Some(&late), mode, now);
        }
        OcspStanding::of(state.answer.as_ref(), failure, mode, now)
    }

    /// For who waits no longer.
    pub(super) fn standing_after(
        &self,
        fault: &OcspFault,
        mode: RevocationMode,
        now: UnixTime,
    ) -> OcspStanding {
        OcspStanding::of(lock(&self.state).answer.as_ref(), Some(fault), mode, now)
    }

    /// Whether somebody who is in needs a new answer, and nobody asks for it.
    pub(super) fn is_due(&self, now: UnixTime) -> bool {
        let state = lock(&self.state);
        !state.is_asking && state.next.is_none_or(|next| next <= now)
    }

    /// Whether the caller is the one to ask.
    pub(super) fn begin(&self) -> bool {
        !std::mem::replace(&mut lock(&self.state).is_asking, true)
    }

    /// An answer that was made before the one that is held takes nothing back.
    pub(super) fn follow(&self, next: &OcspAnswer) -> Result<(), OcspFault> {
        let state = lock(&self.state);
        let Some(held) = &state.answer else {
            return Ok(());
        };
        if held.this_update <= next.this_update || matches!(next.status, OcspStatus::Revoked(_)) {
            return Ok(());
        }
        let why = format!(
            "the answer is older than the one that is held (this_update {}, held {})",
            next.this_update, held.this_update
        );
        Err(OcspFault::Invalid { why })
    }

    pub(super) fn put(&self, answer: OcspAnswer, now: UnixTime) {
        {
            let mut state = lock(&self.state);
            let life = answer.until.since(now);
            *state = State {
                answer: Some(answer),
                failure: None,
                is_asking: false,
                next: Some(now.plus((life / 2).max(MIN_RENEWAL))),
            };
        }
        self.changed.notify_waiters();
    }

    pub(super) fn fail(&self, fault: OcspFault, now: UnixTime) {
        {
            let mut state = lock(&self.state);
            let left = (state.answer.as_ref()).map_or(Duration::ZERO, |it| it.until.since(now));
            state.failure = Some((fault, now));
            state.is_asking = false;
            state.next = Some(now.plus((left / 10).clamp(RETRY_AFTER, MAX_RETRY)));
        }
        self.changed.notify_waiters();
    }
}

/// As long as nobody else asks again for a certificate after a failure.
const RETRY_AFTER: Duration = Duration::from_secs(2);
/// However long the last answer is still good.
const MAX_RETRY: Duration = Duration::from_mins(1);
/// However short the life of answers.
const MIN_RENEWAL: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use countersign_pki::feed::RevocationReason;
    use countersign_pki::revocation::Revocation;

    use super::*;

    fn key(serial: u64) -> Key {
        Key {
            bundle: BundleName::internal(),
            issuer: Fingerprint::from_bytes([1; 32]),
            serial: SerialNumber::from_magnitude(&serial.to_be_bytes()).expect("not zero"),
        }
    }

    fn at(seconds: u64) -> UnixTime {
        UnixTime::from_seconds(seconds)
    }

    fn answer(status: OcspStatus, this_update: u64) -> OcspAnswer {
        OcspAnswer {
            status,
            this_update: at(this_update),
            until: at(this_update + 100),
        }
    }

    #[test]
    fn flood_of_certificates_leaves_as_many_as_fit_and_those_renewed_last() {
        let mut slots = Slots::new(100);
        let kept = slots.get_or_insert(key(1));
        for serial in 2..10_000 {
            slots.get_or_insert(key(serial));
            slots.renew(&kept);
            assert!(slots.by_key.len() <= 100 && slots.by_age.len() == slots.by_key.len());
        }
        assert!(Arc::ptr_eq(&kept, &slots.get_or_insert(key(1))));
        assert!(slots.get(&key(2)).is_none());
        // One that made room is renewed by nobody.
        let gone = slots.get_or_insert(key(20_000));
        slots.forget(&BundleName::internal());
        slots.renew(&gone);
        assert!(slots.by_key.is_empty() && slots.by_age.is_empty());
    }

    #[test]
    fn one_asks_at_a_time_and_an_older_answer_takes_nothing_back() {
        let mut slots = Slots::new(10);
        let slot = slots.get_or_insert(key(1));
        assert!(slot.begin() && !slot.begin());
        slot.put(answer(OcspStatus::Good, 1000), at(1000));
        assert!(slot.begin());
        let hold = OcspStatus::Revoked(Revocation {
            revoked_at: at(900),
            reason: RevocationReason::CertificateHold,
        });
        slot.follow(&answer(hold, 990))
            .expect("whoever says revoked is heard");
        slot.put(answer(hold, 1010), at(1010));
        for older in [OcspStatus::Good, OcspStatus::Unknown] {
            assert!(slot.follow(&answer(older, 1009)).is_err());
        }
        slot.follow(&answer(OcspStatus::Good, 1011))
            .expect("the hold was released");
    }

    #[test]
    fn answer_that_is_over_ends_who_is_in_and_makes_who_comes_wait() {
        let mut slots = Slots::new(10);
        let slot = slots.get_or_insert(key(1));
        let hard = |patience, now| slot.standing(RevocationMode::Hard, patience, at(now));
        for patience in [Patience::AskFirst, Patience::JustNow, Patience::Live] {
            assert_eq!(hard(patience, 1000), OcspStanding::Awaited);
        }
        slot.put(answer(OcspStatus::Good, 1000), at(1000));
        assert!(!slot.is_due(at(1049)) && slot.is_due(at(1050)));
        assert_eq!(hard(Patience::AskFirst, 1101), OcspStanding::Awaited);
        assert!(matches!(
            hard(Patience::Live, 1101),
            OcspStanding::Refused(_)
        ));
        let silent = OcspFault::Unreachable {
            why: "silence".to_owned(),
        };
        slot.fail(silent, at(1101));
        assert_eq!(hard(Patience::AskFirst, 1101), OcspStanding::Awaited);
        assert!(matches!(
            hard(Patience::JustNow, 1103),
            OcspStanding::Refused(_)
        ));
        assert_eq!(hard(Patience::JustNow, 1104), OcspStanding::Awaited);
        assert!(!slot.is_due(at(1102)) && slot.is_due(at(1103)));
    }
}
