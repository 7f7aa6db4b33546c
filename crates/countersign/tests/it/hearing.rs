//! What a gateway makes of an authority that is slow, refuses for a moment, or has been restored.

use std::time::Duration;

use countersign_pki::feed::port::{ACKNOWLEDGEMENT, FEED};
use countersign_pki::feed::{Body, Released, RevocationReason};
use countersign_testkit::client::Outcome;
use countersign_testkit::pki::TestIdentity;
use countersign_testkit::process::Process;

use crate::fleet::CERTIFICATE_REVOKED;
use crate::puppet::{Answer, Puppet, message, revoked};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledgement_that_is_refused_for_a_moment_is_said_again() {
    let mut puppet = Puppet::new().await;
    let frames = puppet.snapshot("a", 5, Vec::new());
    puppet.says(move |asked, before| match (&*asked.path, before) {
        (FEED, _) => Answer::Feed(frames.iter().cloned().map(Ok).collect()),
        // Too slow, too much, not now.
        (_, 0) => Answer::Status(408),
        (_, 1) => Answer::Status(429),
        (_, 2) => Answer::Status(503),
        _ => Answer::Status(204),
    });
    let _gateway = puppet.start_gateway();
    puppet.asked(ACKNOWLEDGEMENT, 4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gateway_is_not_ready_while_an_authority_that_is_slow_tells_what_it_missed() {
    let puppet = Puppet::new().await;
    let (you, other) = (puppet.client("you"), puppet.client("other"));
    puppet.tells(puppet.snapshot("a", 5, Vec::new()));
    let gateway = puppet.start_gateway();
    assert_served(&puppet, &you, &gateway).await;
    gateway.kill();

    let told = vec![revoked(&you, RevocationReason::KeyCompromise)];
    let frames = puppet.snapshot("a", 6, told);
    puppet.says(move |asked, _| match &*asked.path {
        FEED => Answer::SlowFeed(Duration::from_secs(5), frames.clone()),
        _ => Answer::Status(204),
    });
    let gateway = puppet.start_gateway();
    assert_refused(&puppet, &you, &gateway).await;
    assert_served(&puppet, &other, &gateway).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hold_that_a_restored_authority_has_never_told_is_not_released_by_its_silence() {
    let mut puppet = Puppet::new().await;
    let (you, other) = (puppet.client("you"), puppet.client("other"));
    let hold = |identity: &TestIdentity| revoked(identity, RevocationReason::CertificateHold);
    puppet.tells(puppet.snapshot("a", 5, vec![hold(&you)]));
    let gateway = puppet.start_gateway();
    assert_refused(&puppet, &you, &gateway).await;
    gateway.kill();

    // Restored, it begins a new history, and begins it anew: something could not be read.
    let first = puppet.snapshot("b", 90, vec![hold(&other)]);
    let second = puppet.snapshot("b", 91, Vec::new());
    puppet.says(move |asked, before| match (&*asked.path, before) {
        (FEED, 1) => {
            let frames = first.iter().cloned().map(Ok);
            Answer::Feed(frames.chain([Err("{\"surprise\":{}}")]).collect())
        }
        (FEED, _) => Answer::Feed(second.iter().cloned().map(Ok).collect()),
        _ => Answer::Status(204),
    });
    let gateway = puppet.start_gateway();
    puppet.acknowledged("b", 91).await;
    assert_refused(&puppet, &you, &gateway).await;
    // Its own hold, which it has told and does not tell any more, it has released.
    assert_served(&puppet, &other, &gateway).await;
    gateway.kill();

    puppet.tells(puppet.snapshot("b", 92, Vec::new()));
    let gateway = puppet.start_gateway();
    assert_refused(&puppet, &you, &gateway).await;
    assert_served(&puppet, &other, &gateway).await;
    gateway.kill();

    // An operator's word releases it.
    let hold = hold(&you);
    let released = Released {
        issuer_key: hold.issuer_key,
        serial: hold.serial,
    };
    let certificates = vec![released].try_into().expect("one");
    let mut frames = puppet.snapshot("b", 93, Vec::new());
    frames.push(message("b", 94, Body::Released { certificates }));
    puppet.tells(frames);
    let gateway = puppet.start_gateway();
    puppet.acknowledged("b", 94).await;
    assert_served(&puppet, &you, &gateway).await;
}

async fn assert_served(puppet: &Puppet, identity: &TestIdentity, gateway: &Process) {
    let outcome = puppet.attempt(identity, gateway).await;
    assert_eq!(outcome.status(), Some(200), "{outcome:?}");
}

async fn assert_refused(puppet: &Puppet, identity: &TestIdentity, gateway: &Process) {
    let outcome = puppet.attempt(identity, gateway).await;
    assert!(
        matches!(outcome, Outcome::Alert(CERTIFICATE_REVOKED)),
        "{outcome:?}"
    );
}
