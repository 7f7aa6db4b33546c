//! Servers that mean it ill: whatever they send, a look ends, in bounded time and memory, with a finding.

use std::time::{Duration, Instant};

use countersign_diagnose::cause::Cause;
use countersign_probe::server::Limits;
use countersign_testkit::service::{Conversation, Service};

use crate::world::{World, told};

/// Small, so that what never ends takes seconds.
fn limits() -> Limits {
    Limits {
        connect: Duration::from_secs(1),
        attempt: Duration::from_millis(700),
        total: Duration::from_secs(4),
        connections: 20,
    }
}

async fn check(serve: impl Fn(Conversation) + Send + Sync + 'static, expected: &[Cause]) {
    let world = World::new();
    let service = Service::start(serve);
    let mut asked = world.asks(service.address());
    asked.wanted.limits = limits();
    let begun = Instant::now();
    let (seen, diagnosis) = asked.look().await;
    assert!(begun.elapsed() < Duration::from_secs(6), "{}", told(&seen));
    assert!(service.accepted() <= 20);
    let found = diagnosis.findings.first().map(|finding| finding.cause);
    assert!(
        found.is_some_and(|cause| expected.contains(&cause)),
        "{diagnosis:#?}\n{}",
        told(&seen)
    );
}

#[tokio::test]
async fn drip_of_a_byte_at_a_time_ends() {
    check(
        |mut conversation| {
            for byte in [22, 3, 3, 0x40, 0].into_iter().chain(std::iter::repeat(2)) {
                if !conversation.send(&[byte]) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        },
        &[Cause::NoTlsAnswer, Cause::MalformedHandshake],
    )
    .await;
}

#[tokio::test]
async fn endless_warnings_end() {
    check(
        |mut conversation| while conversation.send(&[21, 3, 3, 0, 2, 1, 90]) {},
        &[
            Cause::MalformedHandshake,
            Cause::NoTlsAnswer,
            Cause::ResetBeforeServerHello,
        ],
    )
    .await;
}

#[tokio::test]
async fn endless_empty_records_end() {
    check(
        |mut conversation| while conversation.send(&[22, 3, 3, 0, 0]) {},
        &[
            Cause::MalformedHandshake,
            Cause::NoTlsAnswer,
            Cause::ResetBeforeServerHello,
        ],
    )
    .await;
}

#[tokio::test]
async fn endless_plaintext_ends() {
    check(
        |mut conversation| while conversation.send(&[b'a'; 4096]) {},
        &[Cause::PeerNotTls],
    )
    .await;
}

#[tokio::test]
async fn certificate_of_a_hundred_megabytes_is_not_waited_for() {
    check(
        |mut conversation| {
            // A ServerHello of TLS 1.2, then a Certificate message that says that it has 100,000,000 bytes.
            let hello = [
                &[22, 3, 3, 0, 49, 2, 0, 0, 45, 3, 3][..],
                &[1; 32],
                &[0, 0xc0, 0x2b, 0, 0, 5, 0xff, 1, 0, 1, 0],
            ]
            .concat();
            // Only once the ClientHello is there: who answers before is no server.
            if conversation.bytes(5).is_none() || !conversation.send(&hello) {
                return;
            }
            let mut record = vec![22, 3, 3, 0x40, 0, 11, 0x05, 0xf5, 0xe1];
            record.resize(5 + 0x4000, 0);
            let mut goes_on = conversation.send(&record);
            record[5..].fill(0);
            while goes_on {
                goes_on = conversation.send(&record);
            }
        },
        &[Cause::HandshakeTooLarge],
    )
    .await;
}

#[tokio::test]
async fn garbage_behind_a_record_header_is_malformed() {
    check(
        |mut conversation| {
            conversation.bytes(5);
            conversation.send(&[22, 3, 3, 0, 8, 2, 0, 0, 4, 9, 9, 9, 9]);
        },
        &[Cause::MalformedHandshake, Cause::ResetBeforeServerHello],
    )
    .await;
}
