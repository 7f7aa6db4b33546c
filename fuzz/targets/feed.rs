//! The feed's receiver: whatever is told, a position never goes back.

use countersign_pki::feed::{Body, HistoryId, MAX_BATCH, Message, Position, Sequence, Snapshot};
use countersign_pki::time::UnixTime;

#[test]
fn position_never_goes_back_and_never_changes_history() {
    bolero::check!()
        .with_type::<Vec<(bool, u8, bool, u32)>>()
        .for_each(|events| {
            let snapshot = Snapshot {
                history: HistoryId("a".to_owned()),
                sequence: Sequence(100),
                at: UnixTime::from_seconds(1000),
                revoked: vec![],
            };
            let mut position = Position::at(&snapshot);
            for (foreign, step, confirms, at) in events {
                let message = Message {
                    history: HistoryId(if *foreign { "b" } else { "a" }.to_owned()),
                    sequence: Sequence(u64::from(*step) + 40),
                    at: UnixTime::from_seconds(u64::from(*at)),
                    body: if *confirms {
                        Body::Confirmed
                    } else {
                        Body::Policy { epoch: 1 }
                    },
                };
                let before = position.clone();
                if let Ok(after) = position.clone().advance(&message) {
                    assert!(!foreign && after.sequence() >= before.sequence());
                    assert!(after.sequence().0 <= before.sequence().0 + 1);
                    assert!(after.confirmed_at() >= before.confirmed_at());
                    assert!(*confirms || after.sequence() > before.sequence());
                    position = after;
                }
            }
        });
}

/// What a node is told, as bytes: what is read is written the same, and is about no more than a message may be.
#[test]
fn message_that_is_read_is_bounded_and_reads_back_as_written() {
    bolero::check!().for_each(|bytes: &[u8]| {
        if let Ok(message) = serde_json::from_slice::<Message>(bytes) {
            let count = match &message.body {
                Body::RevokedTogether { certificates } => certificates.iter().count(),
                Body::Released { certificates } => certificates.iter().count(),
                _ => 1,
            };
            assert!((1..=MAX_BATCH).contains(&count));
            let written = serde_json::to_vec(&message).expect("JSON");
            let read: Message = serde_json::from_slice(&written).expect("our own JSON");
            assert_eq!(read, message);
        }
    });
}
