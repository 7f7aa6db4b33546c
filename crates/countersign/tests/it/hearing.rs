//! What a gateway makes of an authority that is slow, refuses for a moment, or has been restored.

use std::fs;
use std::time::Duration;

use countersign_pki::feed::port::{ACKNOWLEDGEMENT, FEED};
use countersign_pki::feed::{Body, Bundle, Released, RevocationReason};
use countersign_pki::identity::BundleName;
use countersign_testkit::client::Outcome;
use countersign_testkit::pki::{Leaf, TestCa, TestIdentity};
use countersign_testkit::process::Process;

use crate::fleet::CERTIFICATE_REVOKED;
use crate::metrics::{metrics_address, plain_get};
use crate::puppet::{Answer, Puppet, bundle, headed, message, revoked};

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bundle_is_confirmed_when_the_gateway_serves_by_it_and_not_before() {
    let mut puppet = Puppet::new().await;
    let next = TestCa::new("next");
    let (you, theirs) = (puppet.client("you"), next.issue(Leaf::client("you")));
    let mut long_ago = headed(puppet.snapshot("a", 5, Vec::new()), |head| {
        head.at = head.at.minus(LONG);
    });
    // It jumps, and so the stream is given up.
    long_ago.push(message("a", 9, Body::Bundle(bundle(&next))));
    puppet.says(move |asked, before| match (&*asked.path, before) {
        // Told once, and then away.
        (FEED, 0) => Answer::Feed(long_ago.iter().cloned().map(Ok).collect()),
        (FEED, _) => Answer::Status(503),
        _ => Answer::Status(204),
    });
    let gateway = puppet.start_gateway();
    assert_served(&puppet, &you, &gateway).await;
    assert!(feed_age_s(&gateway) >= LONG.as_secs());

    // Nothing can be taken over while a file of the configuration is away.
    let (key, aside) = (
        puppet.gateway().path("server.key"),
        puppet.gateway().path("aside"),
    );
    fs::rename(&key, &aside).expect("ours");
    let told = headed(puppet.snapshot("a", 6, Vec::new()), |head| {
        head.bundles = vec![bundle(&next)];
    });
    puppet.tells(told);
    for retry in ["1000", "2000"] {
        gateway.wait_for_log(&["not served by, nor acknowledged", "server.key", retry]);
    }
    assert!(!puppet.has_acknowledged("a", 6));
    assert!(
        feed_age_s(&gateway) >= LONG.as_secs(),
        "what is served by is as old as it was"
    );
    assert_served(&puppet, &you, &gateway).await;

    // Whatever the configuration's file says by now: it is the one in force that goes on.
    let file = puppet.gateway().path("countersign.toml");
    let configuration = fs::read_to_string(&file).expect("ours");
    fs::write(&file, "[gateway").expect("ours");
    fs::rename(&aside, &key).expect("ours");
    puppet.acknowledged("a", 6).await;
    fs::write(&file, configuration).expect("ours");
    assert_served(&puppet, &theirs, &gateway).await;
    assert_unknown(&puppet, &you, &gateway).await;
    assert!(feed_age_s(&gateway) < LONG.as_secs());

    // The same when it is told in a message.
    let mut frames = headed(puppet.snapshot("a", 6, Vec::new()), |head| {
        head.bundles = vec![bundle(&next)];
    });
    frames.push(message("a", 7, Body::Bundle(bundle(&puppet.internal))));
    gateway.kill();
    puppet.tells(frames);
    let gateway = puppet.start_gateway();
    puppet.acknowledged("a", 7).await;
    assert_served(&puppet, &you, &gateway).await;
    assert_unknown(&puppet, &theirs, &gateway).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bundle_that_vouches_for_nobody_is_neither_taken_nor_kept_nor_acknowledged() {
    let mut puppet = Puppet::new().await;
    let you = puppet.client("you");
    let mut frames = puppet.snapshot("a", 5, Vec::new());
    let nobody = Bundle::new(BundleName::internal(), None, &[], &[]);
    frames.push(message("a", 6, Body::Bundle(nobody)));
    puppet.tells(frames);
    let gateway = puppet.start_gateway();
    gateway.wait_for_log(&["a bundle of it is not taken"]);
    // It begins anew, and comes no further.
    puppet.asked(FEED, 3).await;
    assert!(!puppet.has_acknowledged("a", 6));
    assert_served(&puppet, &you, &gateway).await;
    gateway.kill();
    puppet.says(|_, _| Answer::Status(503));
    let gateway = puppet.start_gateway();
    assert_served(&puppet, &you, &gateway).await;
}

async fn assert_served(puppet: &Puppet, identity: &TestIdentity, gateway: &Process) {
    let outcome = puppet.attempt(identity, gateway).await;
    assert_eq!(outcome.status(), Some(200), "{outcome:?}");
}

fn feed_age_s(gateway: &Process) -> u64 {
    let metrics = plain_get(metrics_address(gateway), "/metrics", "");
    let name = "countersign_gateway_feed_age_seconds{} ";
    let line = metrics.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|age| age.parse().ok()).expect(&metrics)
}

/// By the name of the CA, or by the key behind it.
async fn assert_unknown(puppet: &Puppet, identity: &TestIdentity, gateway: &Process) {
    let outcome = puppet.attempt(identity, gateway).await;
    assert!(matches!(outcome, Outcome::Alert(UNKNOWN_CA)), "{outcome:?}");
}

async fn assert_refused(puppet: &Puppet, identity: &TestIdentity, gateway: &Process) {
    let outcome = puppet.attempt(identity, gateway).await;
    assert!(
        matches!(outcome, Outcome::Alert(CERTIFICATE_REVOKED)),
        "{outcome:?}"
    );
}

/// Far longer than the test, far shorter than a feed's life.
const LONG: Duration = Duration::from_hours(1);
/// RFC 8446 §6.
const UNKNOWN_CA: u8 = 48;
