//! OCSP answers that were signed for somebody and serve for everybody, until they are old or no longer true.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use countersign_pki::feed::{Body, Message};
use countersign_pki::serial::SerialNumber;
use countersign_pki::time::UnixTime;
use tokio::sync::Notify;

use super::shelf::Document;

/// The answers of a process, and its bell for whoever keeps what is published up to date.
#[derive(Default)]
pub(crate) struct Answers {
    /// Invariant: no answer is kept that a revocation told since it was looked up has made untrue. [`Answers::withdraw`] runs
    /// on the store's writer before the revocation is acknowledged.
    state: Mutex<State>,
    bell: Notify,
}

/// One question by everybody who asks it: `sha256` says how the issuer is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Question {
    pub(super) serial: SerialNumber,
    pub(super) sha256: bool,
}

/// An answer, and when the next one is to be signed.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) document: Document,
    pub(super) from: UnixTime,
    pub(super) refresh_at: UnixTime,
}

/// What was true when an answer was looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Epoch(u64);

/// The older half goes when the younger is full; what is asked for moves to the younger.
#[derive(Default)]
struct State {
    epoch: u64,
    young: HashMap<Question, Arc<Kept>>,
    old: HashMap<Question, Arc<Kept>>,
}

impl Answers {
    /// To be called before the inventory is asked.
    pub(super) fn epoch(&self) -> Epoch {
        Epoch(self.state().epoch)
    }

    pub(super) fn find(&self, question: Question) -> Option<Arc<Kept>> {
        let mut state = self.state();
        if let Some(kept) = state.young.get(&question) {
            return Some(Arc::clone(kept));
        }
        let kept = state.old.remove(&question)?;
        state.insert(question, Arc::clone(&kept));
        Some(kept)
    }

    /// Keeps an answer looked up in `epoch`, if nothing was revoked since.
    pub(super) fn keep(&self, question: Question, kept: Kept, epoch: Epoch) {
        let mut state = self.state();
        if Epoch(state.epoch) == epoch {
            state.insert(question, Arc::new(kept));
        }
    }

    /// Takes back the answers about what was revoked or released.
    pub(crate) fn withdraw(&self, messages: &[Message]) {
        let mut state = self.state();
        for message in messages {
            let serials: Vec<SerialNumber> = match &message.body {
                Body::Revoked(revoked) => vec![revoked.serial],
                Body::RevokedTogether { certificates } => {
                    certificates.iter().map(|it| it.serial).collect()
                }
                Body::Released { certificates } => {
                    certificates.iter().map(|it| it.serial).collect()
                }
                Body::Bundle { .. } | Body::Confirmed {} => continue,
            };
            state.epoch += 1;
            for serial in serials {
                for sha256 in [false, true] {
                    let question = Question { serial, sha256 };
                    state.young.remove(&question);
                    state.old.remove(&question);
                }
            }
        }
        drop(state);
        self.ring();
    }

    /// Something is to be looked at again.
    pub(crate) fn ring(&self) {
        self.bell.notify_one();
    }

    /// Resolves when something was revoked or signed elsewhere since it last did.
    pub(super) async fn changed(&self) {
        self.bell.notified().await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn insert(&mut self, question: Question, kept: Arc<Kept>) {
        if self.young.len() >= HALF {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(question, kept);
    }
}

/// An answer with the responder's certificate has about 1 KiB, so that both halves stay under 40 MiB.
const HALF: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use countersign_pki::feed::{HistoryId, RevocationReason, Revoked, Sequence};
    use countersign_pki::fingerprint::Fingerprint;

    use super::*;

    fn question(number: u32) -> Question {
        let mut magnitude = [1; 5];
        magnitude[1..].copy_from_slice(&number.to_be_bytes());
        Question {
            serial: SerialNumber::from_magnitude(&magnitude).expect("a serial"),
            sha256: false,
        }
    }

    fn kept() -> Kept {
        let now = UnixTime::from_seconds(1);
        Kept {
            document: Document::new(vec![1], "x", None),
            from: now,
            refresh_at: now,
        }
    }

    fn revoked(number: u32) -> Message {
        Message {
            history: HistoryId("a".to_owned()),
            sequence: Sequence(1),
            at: UnixTime::from_seconds(1),
            body: Body::Revoked(Revoked {
                issuer_key: Fingerprint::of(b"k"),
                serial: question(number).serial,
                reason: RevocationReason::Unspecified,
                revoked_at: UnixTime::from_seconds(1),
            }),
        }
    }

    #[test]
    fn revocation_takes_back_the_answers_about_its_serial_alone() {
        let answers = Answers::default();
        for number in [1, 2] {
            answers.keep(question(number), kept(), answers.epoch());
        }
        answers.withdraw(&[revoked(1)]);
        assert!(answers.find(question(1)).is_none());
        assert!(answers.find(question(2)).is_some());
    }

    #[test]
    fn answer_looked_up_before_a_revocation_is_not_kept_after_it() {
        let answers = Answers::default();
        let epoch = answers.epoch();
        answers.withdraw(&[revoked(1)]);
        answers.keep(question(1), kept(), epoch);
        assert!(answers.find(question(1)).is_none());
    }

    #[test]
    fn answers_are_bounded_and_those_asked_for_stay() {
        let answers = Answers::default();
        let half = u32::try_from(HALF).expect("small");
        for number in 0..5 * half {
            answers.keep(question(number), kept(), answers.epoch());
            assert!(answers.find(question(0)).is_some());
        }
        let state = answers.state();
        assert!(state.young.len() <= HALF && state.old.len() <= HALF);
    }
}
