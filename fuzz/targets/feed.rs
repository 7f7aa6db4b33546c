//! The feed's receiver: whatever bytes come, what is heard is bounded, and a position never goes back.

use countersign_pki::feed::{
    Assembly, Body, EventStream, EventTooLong, Frame, HistoryId, MAX_BATCH, MAX_EVENT_BYTES,
    Message, Position, RevocationReason, Revoked, Sequence, Snapshot, Told,
};
use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::serial::SerialNumber;
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
                        Body::Confirmed {}
                    } else {
                        Body::Revoked(Revoked {
                            issuer_key: Fingerprint::of(b"issuer"),
                            serial: SerialNumber::from_magnitude(&[1]).expect("a serial number"),
                            reason: RevocationReason::Unspecified,
                            revoked_at: UnixTime::from_seconds(1000),
                        })
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

#[test]
fn events_are_the_same_however_their_bytes_are_cut() {
    bolero::check!()
        .with_type::<(Vec<u8>, u8)>()
        .for_each(|(bytes, cut)| {
            let read = |size: usize| {
                let mut stream = EventStream::default();
                let mut events = Vec::new();
                for chunk in bytes.chunks(size.max(1)) {
                    let outcome = stream.push::<EventTooLong>(chunk, |data| {
                        events.push(data.to_vec());
                        Ok(())
                    });
                    assert!(outcome.is_ok() || bytes.len() > MAX_EVENT_BYTES);
                }
                events
            };
            let whole = read(usize::MAX);
            assert_eq!(whole, read(usize::from(*cut)));
            assert!(whole.iter().map(Vec::len).sum::<usize>() <= bytes.len());
        });
}

#[test]
fn frames_that_are_read_are_read_back_and_begin_with_a_beginning() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let mut assembly = Assembly::default();
        let mut told = Vec::new();
        for line in bytes.split(|&byte| byte == b'\n') {
            let Ok(frame) = serde_json::from_slice::<Frame>(line) else {
                continue;
            };
            let written = serde_json::to_vec(&frame).expect("frames are JSON");
            assert_eq!(
                serde_json::from_slice::<Frame>(&written).expect("read back"),
                frame
            );
            match assembly.take(frame, |_| true) {
                Ok(next) => told.extend(next),
                Err(_) => break,
            }
        }
        let is_beginning = |told: &Told| !matches!(told, Told::Message(_));
        assert!(told.first().is_none_or(is_beginning));
        assert!(!told.iter().skip(1).any(is_beginning));
    });
}
