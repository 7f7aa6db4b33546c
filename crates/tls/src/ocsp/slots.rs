//! The answers by certificate, bounded by bundle: what is worth least makes room, and of that what was renewed longest ago.

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
use tokio::time::Instant;

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
    /// Why the last question was not asked; no word of the responder.
    put_off: Option<(OcspFault, UnixTime)>,
    /// When the answer came, by both clocks: one that is put back makes no answer younger.
    came: Option<(UnixTime, Instant)>,
    is_asking: bool,
    /// When the control plane asks for those who are in; `None`: at once.
    next: Option<UnixTime>,
}

/// What is worth less makes room first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Worth {
    Unanswered,
    Answered,
    /// Asked about anew, it might get in meanwhile.
    Revoked,
}

type Rank = (Worth, u64);

/// Invariant: `by_rank` holds the keys of `by_key`, each once, under its bundle.
pub(super) struct Slots {
    by_key: HashMap<Key, (Arc<Slot>, Rank)>,
    by_rank: BTreeMap<BundleName, BTreeMap<Rank, Key>>,
    next_age: u64,
    /// Of one bundle.
    limit: usize,
}

impl Slots {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            by_key: HashMap::new(),
            by_rank: BTreeMap::new(),
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
        let slot = Arc::new(Slot {
            key,
            state: Mutex::default(),
            changed: Notify::new(),
        });
        self.insert(&slot, Worth::Unanswered);
        slot
    }

    fn insert(&mut self, slot: &Arc<Slot>, worth: Worth) {
        let rank = (worth, self.grow_older());
        let of_bundle = self.by_rank.entry(slot.key.bundle.clone()).or_default();
        while of_bundle.len() >= self.limit {
            let Some((_, least)) = of_bundle.pop_first() else {
                break;
            };
            self.by_key.remove(&least);
        }
        of_bundle.insert(rank, slot.key.clone());
        self.by_key
            .insert(slot.key.clone(), (Arc::clone(slot), rank));
    }

    /// It is the youngest now of those that are worth as much; if it made room before its answer came, it is back. Given is the one
    /// that stands in its place, if there is one.
    pub(super) fn renew(&mut self, slot: &Arc<Slot>, answer: &OcspAnswer) -> Option<Arc<Slot>> {
        let worth = match answer.status {
            OcspStatus::Revoked(_) => Worth::Revoked,
            OcspStatus::Good | OcspStatus::Unknown => Worth::Answered,
        };
        let held = self.by_key.remove(&slot.key);
        if let Some((_, before)) = &held
            && let Some(of_bundle) = self.by_rank.get_mut(&slot.key.bundle)
        {
            of_bundle.remove(before);
        }
        let present = held.map_or_else(|| Arc::clone(slot), |(held, _)| held);
        self.insert(&present, worth);
        Some(present).filter(|present| !Arc::ptr_eq(present, slot))
    }

    pub(super) fn of(&self, bundle: &BundleName) -> Vec<Arc<Slot>> {
        let keys = self.by_rank.get(bundle).into_iter();
        keys.flat_map(BTreeMap::values)
            .filter_map(|key| self.get(key))
            .collect()
    }

    /// What is known of those of this bundle's certificates is gone.
    pub(super) fn forget(&mut self, bundle: &BundleName, goes: impl Fn(&Slot) -> bool) {
        let Some(of_bundle) = self.by_rank.get_mut(bundle) else {
            return;
        };
        of_bundle.retain(|_, key| {
            let stays = self.by_key.get(key).is_some_and(|(slot, _)| !goes(slot));
            if !stays {
                self.by_key.remove(key);
            }
            stays
        });
        if of_bundle.is_empty() {
            self.by_rank.remove(bundle);
        }
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
        let now = state.not_before(now);
        let is_new = |at: UnixTime| at <= now && now <= at.plus(RETRY_AFTER);
        let failure = state.failure.as_ref();
        let failure = match patience {
            Patience::AskFirst => None,
            Patience::JustNow => [failure, state.put_off.as_ref()]
                .into_iter()
                .flatten()
                .find(|(_, at)| is_new(*at))
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
        let state = lock(&self.state);
        let now = state.not_before(now);
        OcspStanding::of(state.answer.as_ref(), Some(fault), mode, now)
    }

    pub(super) fn is_revoked(&self) -> bool {
        let state = lock(&self.state);
        let answer = state.answer.as_ref();
        answer.is_some_and(|it| matches!(it.status, OcspStatus::Revoked(_)))
    }

    pub(super) fn is_asking(&self) -> bool {
        lock(&self.state).is_asking
    }

    /// Since when, or from when on, it is due.
    pub(super) fn next(&self) -> Option<UnixTime> {
        lock(&self.state).next
    }

    /// An answer is good for so long from now at most. `is_due`: it is asked for again at once.
    pub(super) fn limit(&self, now: UnixTime, max_age: Duration, is_due: bool) {
        let mut state = lock(&self.state);
        if let Some(answer) = &mut state.answer {
            answer.until = answer.until.min(now.plus(max_age));
        }
        let half = now.plus(max_age / 2);
        state.next = state.next.filter(|_| !is_due).map(|next| next.min(half));
    }

    /// Whether somebody who is in needs a new answer, and nobody asks for it.
    pub(super) fn is_due(&self, now: UnixTime) -> bool {
        let state = lock(&self.state);
        !state.is_asking && (state.next).is_none_or(|next| next <= state.not_before(now))
    }

    /// Whether the caller is the one to ask.
    pub(super) fn begin(&self) -> bool {
        !std::mem::replace(&mut lock(&self.state).is_asking, true)
    }

    /// Nobody asks any more, and nothing came of it.
    pub(super) fn end_question(&self) {
        lock(&self.state).is_asking = false;
        self.changed.notify_waiters();
    }

    /// An answer that was made before the one that is held takes nothing back; a revocation only one that was made after it. Whoever waits
    /// has to be told by the caller. It is looked at and put under one lock, so that of two answers none is measured by what the other
    /// has replaced.
    pub(super) fn put(&self, mut answer: OcspAnswer, now: UnixTime) -> Result<(), OcspFault> {
        let mut state = lock(&self.state);
        if let Some(held) = &state.answer {
            follows(held, &answer)?;
            // Whoever is heard though it was made earlier sets nothing back: an answer between the two is as old as before.
            answer.this_update = answer.this_update.max(held.this_update);
        }
        if answer.status == OcspStatus::Unknown {
            answer.until = answer.until.min(now.plus(UNKNOWN_LIFE));
        }
        let life = answer.until.since(now);
        *state = State {
            answer: Some(answer),
            came: Some((now, Instant::now())),
            next: Some(now.plus((life / 2).max(MIN_RENEWAL))),
            ..State::default()
        };
        Ok(())
    }

    pub(super) fn fail(&self, fault: OcspFault, now: UnixTime) {
        {
            let mut state = lock(&self.state);
            let now = state.not_before(now);
            let left = (state.answer.as_ref()).map_or(Duration::ZERO, |it| it.until.since(now));
            state.failure = Some((fault.bounded(), now));
            state.is_asking = false;
            state.next = Some(now.plus((left / 10).clamp(RETRY_AFTER, MAX_RETRY)));
        }
        self.changed.notify_waiters();
    }

    /// The responder was not asked: nothing is said of it, and when the next question is due stays.
    pub(super) fn put_off(&self, why: OcspFault, now: UnixTime) {
        {
            let mut state = lock(&self.state);
            let now = state.not_before(now);
            state.put_off = Some((why.bounded(), now));
            state.is_asking = false;
        }
        self.changed.notify_waiters();
    }
}

fn follows(held: &OcspAnswer, next: &OcspAnswer) -> Result<(), OcspFault> {
    let follows = match (held.status, next.status) {
        (_, OcspStatus::Revoked(_)) => true,
        (OcspStatus::Revoked(_), _) => held.this_update < next.this_update,
        _ => held.this_update <= next.this_update,
    };
    if follows {
        return Ok(());
    }
    let why = format!(
        "the answer is not newer than the one that is held (this_update {}, held {})",
        next.this_update, held.this_update
    );
    Err(OcspFault::Invalid { why })
}

impl State {
    /// The time of day, or what it has to be at least by the time that has passed since the answer.
    fn not_before(&self, now: UnixTime) -> UnixTime {
        let least = self.came.map(|(at, since)| at.plus(since.elapsed()));
        least.map_or(now, |least| least.max(now))
    }
}

/// As long as nobody else asks again for a certificate after a failure.
const RETRY_AFTER: Duration = Duration::from_secs(2);
/// However long the last answer is still good.
const MAX_RETRY: Duration = Duration::from_mins(1);
/// A certificate that was just issued is known soon.
const UNKNOWN_LIFE: Duration = Duration::from_mins(1);
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

    fn hold() -> OcspStatus {
        OcspStatus::Revoked(Revocation {
            revoked_at: at(900),
            reason: RevocationReason::CertificateHold,
        })
    }

    #[test]
    fn flood_of_certificates_leaves_as_many_as_fit_and_those_that_are_worth_most() {
        let mut slots = Slots::new(100);
        let elsewhere = Key {
            bundle: BundleName::parse("elsewhere").expect("a name"),
            ..key(1)
        };
        let elsewhere = (slots.get_or_insert(elsewhere.clone()), elsewhere);
        let revoked = slots.get_or_insert(key(1));
        slots.renew(&revoked, &answer(hold(), 1000));
        let good = slots.get_or_insert(key(2));
        slots.renew(&good, &answer(OcspStatus::Good, 1000));
        for serial in 3..10_000 {
            slots.get_or_insert(key(serial));
            assert!(slots.by_rank[&BundleName::internal()].len() <= 100);
        }
        assert!(slots.get(&key(3)).is_none());
        assert!(Arc::ptr_eq(&good, &slots.get(&key(2)).expect("kept")));
        // Answers make room before revocations do, the oldest first; another bundle's slots never.
        for serial in 10_000..10_200 {
            let slot = slots.get_or_insert(key(serial));
            slots.renew(&slot, &answer(OcspStatus::Good, 1000));
        }
        assert!(slots.get(&key(2)).is_none() && slots.get(&key(10_199)).is_some());
        assert!(Arc::ptr_eq(&revoked, &slots.get(&key(1)).expect("kept")));
        let kept = slots.get(&elsewhere.1).expect("kept");
        assert!(Arc::ptr_eq(&elsewhere.0, &kept));
        // One that made room before its answer came is back with it, or whoever stands in its place has it.
        assert!(
            slots
                .renew(&good, &answer(OcspStatus::Good, 1000))
                .is_none()
        );
        assert!(Arc::ptr_eq(&good, &slots.get(&key(2)).expect("back")));
        slots.forget(&BundleName::internal(), |_| true);
        assert_eq!((slots.by_key.len(), slots.by_rank.len()), (1, 1));
        let other = slots.get_or_insert(key(2));
        let present = slots.renew(&good, &answer(OcspStatus::Good, 1000));
        assert!(Arc::ptr_eq(&other, &present.expect("another")));
        assert_eq!(slots.by_rank[&BundleName::internal()].len(), 1);
    }

    #[test]
    fn nothing_but_a_later_answer_takes_a_revocation_back() {
        let slot = Slots::new(10).get_or_insert(key(1));
        slot.put(answer(OcspStatus::Good, 1000), at(1000))
            .expect("it follows");
        slot.put(answer(hold(), 990), at(1010)).expect("it follows");
        // The good one of before, again.
        assert!(slot.put(answer(OcspStatus::Good, 1000), at(1000)).is_err());
        slot.put(answer(hold(), 1020), at(1020))
            .expect("it follows");
        assert!(slot.put(answer(OcspStatus::Good, 1020), at(1020)).is_err());
        slot.put(answer(OcspStatus::Good, 1021), at(1021))
            .expect("later");
    }

    #[test]
    fn what_was_unknown_is_asked_about_again_soon() {
        let slot = Slots::new(10).get_or_insert(key(1));
        let mut unknown = answer(OcspStatus::Unknown, 1000);
        unknown.until = at(90_000);
        slot.put(unknown, at(1000)).expect("it follows");
        let standing = |now| slot.standing(RevocationMode::Hard, Patience::AskFirst, at(now));
        assert!(slot.is_due(at(1030)));
        assert_eq!(standing(1060), OcspStanding::Refused(OcspFault::Unknown));
        assert_eq!(standing(1061), OcspStanding::Awaited);
    }

    #[tokio::test(start_paused = true)]
    async fn clock_that_is_put_back_makes_no_answer_younger_and_no_failure_new() {
        let slot = Slots::new(10).get_or_insert(key(1));
        let hard = |patience, now| slot.standing(RevocationMode::Hard, patience, at(now));
        slot.fail(OcspFault::Unknown, at(5000));
        assert_eq!(hard(Patience::JustNow, 1000), OcspStanding::Awaited);
        slot.put(answer(OcspStatus::Good, 1000), at(1000))
            .expect("it follows");
        assert_ne!(hard(Patience::AskFirst, 500), OcspStanding::Awaited);
        tokio::time::advance(Duration::from_secs(101)).await;
        assert_eq!(hard(Patience::AskFirst, 500), OcspStanding::Awaited);
        assert!(matches!(
            hard(Patience::Live, 500),
            OcspStanding::Refused(_)
        ));
        assert!(slot.is_due(at(500)));
        slot.fail(OcspFault::Unknown, at(500));
        assert!(!slot.is_due(at(500)));
        assert!(matches!(
            hard(Patience::JustNow, 500),
            OcspStanding::Refused(_)
        ));
    }

    #[test]
    fn question_that_found_no_room_says_nothing_of_who_is_in() {
        let slot = Slots::new(10).get_or_insert(key(1));
        let hard = |patience, now| slot.standing(RevocationMode::Hard, patience, at(now));
        assert!(slot.begin());
        slot.put_off(OcspFault::Unknown, at(1000));
        assert!(matches!(
            hard(Patience::JustNow, 1001),
            OcspStanding::Refused(_)
        ));
        assert_eq!(hard(Patience::Live, 1001), OcspStanding::Awaited);
        assert!(slot.is_due(at(1000)));
    }

    #[test]
    fn one_asks_at_a_time_and_an_older_answer_takes_nothing_back() {
        let mut slots = Slots::new(10);
        let slot = slots.get_or_insert(key(1));
        assert!(slot.begin() && !slot.begin());
        slot.put(answer(OcspStatus::Good, 1000), at(1000))
            .expect("it follows");
        assert!(slot.begin());
        let hold = hold();
        slot.put(answer(hold, 990), at(1000))
            .expect("whoever says revoked is heard");
        slot.put(answer(hold, 1010), at(1010)).expect("it follows");
        for older in [OcspStatus::Good, OcspStatus::Unknown] {
            assert!(slot.begin());
            assert!(slot.put(answer(older, 1009), at(1020)).is_err());
            assert!(slot.is_revoked() && slot.is_asking(), "it is as it was");
            slot.end_question();
        }
        slot.put(answer(OcspStatus::Good, 1011), at(1011))
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
        slot.put(answer(OcspStatus::Good, 1000), at(1000))
            .expect("it follows");
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
