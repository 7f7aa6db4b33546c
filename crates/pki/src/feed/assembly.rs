//! Frames into what they tell: a snapshot in parts is one thing, and only when it is whole.

use super::{Frame, Head, MAX_PART, Message, Revoked};

/// What was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// The next message.
    Message(Message),
    /// Messages will follow what the reader holds.
    Resumed(Head),
    /// Everything up to a place.
    Snapshot {
        /// Which.
        head: Head,
        /// Every revocation that the reader wanted.
        revoked: Vec<Revoked>,
    },
}

/// Puts frames together. Whatever comes first must be a beginning.
#[derive(Debug, Default)]
pub struct Assembly {
    state: State,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Beginning,
    Messages,
    Parts {
        head: Head,
        revoked: Vec<Revoked>,
        told: u64,
    },
}

impl Assembly {
    /// The head of a snapshot whose parts are still coming.
    pub fn opening(&self) -> Option<&Head> {
        match &self.state {
            State::Parts { head, .. } => Some(head),
            State::Beginning | State::Messages => None,
        }
    }

    /// Takes the next frame. `wanted`: of the revocations in a snapshot, those for whom it says yes are kept; what the
    /// reader holds already need not be held twice.
    pub fn take(
        &mut self,
        frame: Frame,
        wanted: impl Fn(&Revoked) -> bool,
    ) -> Result<Option<Told>, Garbled> {
        let state = std::mem::take(&mut self.state);
        let (next, told) = match (state, frame) {
            (State::Beginning, Frame::Snapshot(head)) => {
                let parts = State::Parts {
                    head,
                    revoked: Vec::new(),
                    told: 0,
                };
                (parts, None)
            }
            (State::Beginning, Frame::Resumed(head)) => {
                (State::Messages, Some(Told::Resumed(head)))
            }
            (
                State::Parts {
                    head,
                    mut revoked,
                    told,
                },
                Frame::Revoked(part),
            ) => {
                let told = told + part.len() as u64;
                if part.len() > MAX_PART || told > MAX_REVOCATIONS {
                    return Err(Garbled::TooMany);
                }
                revoked.extend(part.into_iter().filter(wanted));
                let parts = State::Parts {
                    head,
                    revoked,
                    told,
                };
                (parts, None)
            }
            (
                State::Parts {
                    head,
                    revoked,
                    told,
                },
                Frame::Complete { revoked: claimed },
            ) => {
                if told != claimed {
                    return Err(Garbled::Incomplete { told, claimed });
                }
                (State::Messages, Some(Told::Snapshot { head, revoked }))
            }
            (State::Messages, Frame::Message(message)) => {
                (State::Messages, Some(Told::Message(message)))
            }
            _ => return Err(Garbled::OutOfPlace),
        };
        self.state = next;
        Ok(told)
    }
}

/// Frames that tell nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Garbled {
    /// Parts are missing.
    #[error("a snapshot of {claimed} revocations came with {told}")]
    Incomplete {
        /// How many came.
        told: u64,
        /// How many there are.
        claimed: u64,
    },
    /// A part outside a snapshot, a message inside one, a second beginning.
    #[error("a frame stands where it cannot")]
    OutOfPlace,
    /// Over the limit.
    #[error(
        "a snapshot is over {MAX_REVOCATIONS} revocations, or one of its parts over {MAX_PART}"
    )]
    TooMany,
}

/// Four times what an authority is designed for; in memory some 300 MiB.
const MAX_REVOCATIONS: u64 = 4_000_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::{Body, HistoryId, RevocationReason, Sequence};
    use crate::fingerprint::Fingerprint;
    use crate::serial::SerialNumber;
    use crate::time::UnixTime;

    fn head() -> Head {
        Head {
            place: 1,
            history: HistoryId("a".to_owned()),
            sequence: Sequence(5),
            at: UnixTime::from_seconds(1),
            bundles: Vec::new(),
        }
    }

    fn revoked(serial: u8) -> Revoked {
        Revoked {
            issuer_key: Fingerprint::from_bytes([1; 32]),
            serial: SerialNumber::from_magnitude(&[serial]).expect("not zero"),
            reason: RevocationReason::Unspecified,
            revoked_at: UnixTime::from_seconds(1),
        }
    }

    fn message() -> Message {
        Message {
            history: HistoryId("a".to_owned()),
            sequence: Sequence(6),
            at: UnixTime::from_seconds(1),
            body: Body::Confirmed {},
        }
    }

    fn check(frames: Vec<Frame>, expected: &Result<Vec<Told>, Garbled>) {
        let mut assembly = Assembly::default();
        let mut told = Vec::new();
        let outcome = frames.into_iter().try_for_each(|frame| {
            told.extend(assembly.take(frame, |_| true)?);
            Ok(())
        });
        assert_eq!(&outcome.map(|()| told), expected);
    }

    #[test]
    fn snapshot_is_told_when_it_is_whole_and_then_messages() {
        let (one, two) = (revoked(1), revoked(2));
        check(
            vec![
                Frame::Snapshot(head()),
                Frame::Revoked(vec![one]),
                Frame::Revoked(vec![two]),
                Frame::Complete { revoked: 2 },
                Frame::Message(message()),
            ],
            &Ok(vec![
                Told::Snapshot {
                    head: head(),
                    revoked: vec![one, two],
                },
                Told::Message(message()),
            ]),
        );
        check(
            vec![Frame::Resumed(head()), Frame::Message(message())],
            &Ok(vec![Told::Resumed(head()), Told::Message(message())]),
        );
    }

    #[test]
    fn snapshot_with_a_part_missing_is_none() {
        check(
            vec![
                Frame::Snapshot(head()),
                Frame::Revoked(vec![revoked(1)]),
                Frame::Complete { revoked: 2 },
            ],
            &Err(Garbled::Incomplete {
                told: 1,
                claimed: 2,
            }),
        );
        check(
            vec![Frame::Snapshot(head()), Frame::Revoked(vec![revoked(1)])],
            &Ok(Vec::new()),
        );
    }

    #[test]
    fn frames_out_of_place_are_refused() {
        let part = || Frame::Revoked(vec![revoked(1)]);
        let complete = || Frame::Complete { revoked: 0 };
        for frames in [
            vec![part()],
            vec![complete()],
            vec![Frame::Message(message())],
            vec![Frame::Snapshot(head()), Frame::Message(message())],
            vec![Frame::Snapshot(head()), Frame::Resumed(head())],
            vec![Frame::Resumed(head()), part()],
            vec![Frame::Resumed(head()), Frame::Snapshot(head())],
            vec![Frame::Snapshot(head()), complete(), complete()],
        ] {
            let mut assembly = Assembly::default();
            let outcome = frames
                .into_iter()
                .try_for_each(|frame| assembly.take(frame, |_| true).map(drop));
            assert_eq!(outcome, Err(Garbled::OutOfPlace));
        }
    }

    #[test]
    fn parts_are_bounded_and_what_is_held_is_not_held_twice() {
        let mut assembly = Assembly::default();
        assert_eq!(assembly.take(Frame::Snapshot(head()), |_| false), Ok(None));
        assert_eq!(
            assembly.take(Frame::Revoked(vec![revoked(1)]), |_| false),
            Ok(None)
        );
        assert_eq!(
            assembly.take(Frame::Complete { revoked: 1 }, |_| false),
            Ok(Some(Told::Snapshot {
                head: head(),
                revoked: Vec::new()
            }))
        );
        let mut assembly = Assembly::default();
        assert_eq!(assembly.take(Frame::Snapshot(head()), |_| true), Ok(None));
        assert_eq!(
            assembly.take(Frame::Revoked(vec![revoked(1); MAX_PART + 1]), |_| true),
            Err(Garbled::TooMany)
        );
    }
}
