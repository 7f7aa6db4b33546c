//! Trust data that has come to the end of its life: nobody is judged by it, on no path, until it is confirmed again.

use std::sync::Arc;
use std::time::Duration;

use countersign_diagnose::cause::Cause;
use countersign_pki::time::UnixTime;
use countersign_runtime::clock::Clock;
use countersign_tls::scope::ClientCertificate;
use rustls::{AlertDescription, HandshakeKind};

use crate::peer::{BOTH, TLS13, config, meet};
use crate::site::{Site, now};

const LIFE: Duration = Duration::from_hours(24);

fn site(client_certificate: ClientCertificate) -> Site {
    let site = Site::with(|settings| {
        settings.client_certificate = client_certificate;
        settings.feed_life = Some(LIFE);
    });
    site.enforcement.confirm(UnixTime::from_seconds(now()));
    site
}

fn at(site: &Site) -> UnixTime {
    UnixTime::from_seconds(site.clock.unix_seconds())
}

async fn assert_refused(site: &Site, client: &Arc<rustls::ClientConfig>) {
    let meeting = meet(site, client).await;
    let alert = meeting.alert();
    let refused = meeting.server.err().expect("refused");
    assert_eq!(refused.refusal.cause, Cause::TrustDataStale);
    assert_eq!(alert, Some(AlertDescription::AccessDenied));
}

#[tokio::test]
async fn new_handshakes_and_sessions_end_with_the_life_and_come_back_with_the_feed() {
    for version in BOTH {
        let site = site(ClientCertificate::Require);
        let you = Arc::new(config(&site, Some(&site.client("you")), version));
        assert!(meet(&site, &you).await.server.is_ok());
        // The sessions' own ceiling is an hour: these are young.
        site.clock.advance(Duration::from_hours(23));
        site.enforcement.confirm(at(&site));
        site.clock.advance(Duration::from_secs(1));
        assert!(meet(&site, &you).await.server.is_ok());

        site.clock.advance(LIFE);
        // What certificates say of themselves is another matter.
        let you = Arc::new(config(&site, Some(&later(&site)), version));
        assert_refused(&site, &you).await;
        site.enforcement.confirm(at(&site));
        assert!(meet(&site, &you).await.server.is_ok());
        let resumed = meet(&site, &you).await;
        assert_eq!(
            resumed.client.map(|met| met.kind).expect("admitted"),
            HandshakeKind::Resumed
        );
    }
}

/// Good for two more days.
fn later(site: &Site) -> countersign_testkit::pki::TestIdentity {
    use countersign_testkit::pki::Leaf;
    site.ca.issue(Leaf::client("you").valid(-3600, 4 * 86_400))
}

#[tokio::test]
async fn a_session_is_not_resumed_by_what_is_stale() {
    for version in BOTH {
        let mut site = site(ClientCertificate::Require);
        site.replace(|settings| settings.feed_life = Some(Duration::from_mins(30)));
        let you = Arc::new(config(&site, Some(&site.client("you")), version));
        assert!(meet(&site, &you).await.server.is_ok());
        site.clock.advance(Duration::from_mins(31));
        assert_refused(&site, &you).await;
    }
}

#[tokio::test]
async fn open_connections_end_with_the_life_and_anonymous_ones_do_not() {
    let site = site(ClientCertificate::Request);
    let you = Arc::new(config(&site, Some(&later(&site)), TLS13));
    let nobody = Arc::new(config(&site, None, TLS13));
    let (yours, nobodys) = (meet(&site, &you).await, meet(&site, &nobody).await);
    let (yours, nobodys) = (
        yours.server.expect("admitted"),
        nobodys.server.expect("admitted"),
    );
    site.clock
        .advance(LIFE.saturating_sub(Duration::from_secs(1)));
    assert_eq!(site.enforcement.end_stale(), 0);
    assert!(!yours.session.lifeline.is_cut());
    site.clock.advance(Duration::from_secs(1));
    assert_eq!(site.enforcement.end_stale(), 1);
    assert!(yours.session.lifeline.is_cut());
    assert!(!nobodys.session.lifeline.is_cut());
    assert!(meet(&site, &nobody).await.server.is_ok());
    assert_refused(&site, &you).await;
}

#[tokio::test]
async fn without_a_feed_nothing_is_ever_too_old() {
    let site = Site::with(|settings| settings.feed_life = Some(LIFE));
    let you = Arc::new(config(&site, Some(&later(&site)), TLS13));
    site.clock.advance(2 * LIFE);
    assert_eq!(site.enforcement.feed_age(), None);
    assert!(meet(&site, &you).await.server.is_ok());
    assert_eq!(site.enforcement.end_stale(), 0);
}

#[tokio::test]
async fn clock_that_is_set_back_makes_nothing_young() {
    let site = site(ClientCertificate::Require);
    let you = Arc::new(config(&site, Some(&later(&site)), TLS13));
    site.clock.advance(LIFE);
    site.enforcement
        .resume(UnixTime::from_seconds(now() + 86_400));
    assert!(meet(&site, &you).await.server.is_ok());
    site.clock.set(now() - 1800);
    // As a process begins whose file says "confirmed" in the future.
    let restarted = Site::with_clock(site.clock.clone(), site.clock.clone(), |settings| {
        settings.feed_life = Some(LIFE);
    });
    restarted
        .enforcement
        .resume(UnixTime::from_seconds(now() + 86_400));
    let you = Arc::new(config(&restarted, Some(&restarted.client("you")), TLS13));
    assert_refused(&restarted, &you).await;
}
