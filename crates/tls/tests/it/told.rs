//! Refused clients that are told why: the handshake is finished, and they are as refused as by an alert.

use std::io::{Read, Write};
use std::sync::Arc;

use countersign_diagnose::cause::Cause;
use countersign_testkit::pki::{Leaf, TestCa, TestIdentity};
use countersign_tls::acceptor::{Acceptor, HandshakeRefusal, PendingLimits};
use countersign_tls::refused_stream::RefusedStream;
use countersign_tls::scope::{ClientCertificate, OnRefusal};
use rcgen::ExtendedKeyUsagePurpose;
use rustls::{AlertDescription as Alert, ClientConfig, HandshakeKind, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::{JoinHandle, spawn_blocking};

use crate::peer::{BOTH, ByHand, TLS13, config, meet};
use crate::site::Site;

const WHY: &[u8] = b"because";

fn explaining() -> Site {
    Site::with(|settings| settings.on_refusal = OnRefusal::Explain)
}

/// What the client heard until the end, how it had come so far, and how many tickets it was given.
pub(crate) type Heard = Result<(Vec<u8>, HandshakeKind, u32), rustls::Error>;

/// Sends `said` behind its handshake at once, and only then reads.
async fn begin(
    site: &Site,
    config: ClientConfig,
    said: Vec<u8>,
) -> (Box<HandshakeRefusal>, JoinHandle<Heard>) {
    let (address, accepting) = site.open().await;
    let hearing = spawn_blocking(move || hear(ByHand::new(address, config), &said));
    let outcome = accepting.await.expect("no panic");
    (outcome.err().expect("the client is refused"), hearing)
}

pub(crate) fn hear(mut client: ByHand, said: &[u8]) -> Heard {
    let alert = |error: &std::io::Error| {
        let inner = error.get_ref().and_then(|it| it.downcast_ref());
        inner
            .cloned()
            .unwrap_or_else(|| rustls::Error::General(error.to_string()))
    };
    while client.tls.is_handshaking() {
        let done = client.tls.complete_io(&mut client.tcp);
        done.map_err(|error| alert(&error))?;
    }
    client.tls.set_buffer_limit(None);
    client
        .tls
        .writer()
        .write_all(said)
        .expect("memory takes it");
    let flight = client.flight();
    client.send(&flight);
    let mut heard = Vec::new();
    let mut stream = rustls::Stream::new(&mut client.tls, &mut client.tcp);
    stream
        .read_to_end(&mut heard)
        .map_err(|error| alert(&error))?;
    let kind = client.tls.handshake_kind().expect("it is done");
    Ok((heard, kind, client.tls.tls13_tickets_received()))
}

async fn tell(stream: &mut RefusedStream) {
    stream.write_all(WHY).await.expect("the client reads");
    stream.shutdown().await.expect("the client reads");
}

async fn check(site: &Site, identity: Option<&TestIdentity>, cause: Cause) {
    for version in BOTH {
        let config = config(site, identity, version);
        // The second time it would resume, if there were something to resume.
        for _ in 0..2 {
            let (mut refused, hearing) = begin(site, config.clone(), Vec::new()).await;
            let sentence = refused.refusal.sentence().to_owned();
            assert_eq!(refused.refusal.cause, cause, "{version:?}: {sentence}");
            assert_eq!(refused.refusal.evidence.get("alert_sent"), None);
            assert_eq!(site.enforcement.live(), 0);
            tell(refused.stream.as_mut().expect("it can be told")).await;
            let (heard, kind, tickets) = hearing.await.expect("no panic").expect("no alert");
            assert_eq!((&heard[..], tickets), (WHY, 0), "{version:?}: {sentence}");
            assert_ne!(kind, HandshakeKind::Resumed, "{version:?}: {sentence}");
        }
    }
    let declined = site.enforcement.withdraw(|_, _| false).await;
    assert_eq!(
        declined.sessions_declined, 0,
        "a refused client left a session"
    );
}

async fn check_leaf(leaf: Leaf, cause: Cause) {
    let site = explaining();
    check(&site, Some(&site.ca.issue(leaf)), cause).await;
}

#[tokio::test]
async fn whoever_is_refused_for_its_certificate_is_told_and_remembered_by_nobody() {
    check(&explaining(), None, Cause::ClientCertNotSent).await;
    let stranger = TestCa::new("stranger").issue(Leaf::client("you"));
    check(&explaining(), Some(&stranger), Cause::ClientCaNotTrusted).await;
    check_leaf(Leaf::client("old").valid(-7200, -3600), Cause::LeafExpired).await;
    check_leaf(Leaf::client("early").valid(3600, 7200), Cause::NotYetValid).await;
    let server = Leaf::client("you").usages(&[ExtendedKeyUsagePurpose::ServerAuth]);
    check_leaf(server, Cause::EkuMissingClientauth).await;
    let site = explaining();
    let revoked = site.client("you");
    site.revoke(&revoked).await;
    check(&site, Some(&revoked), Cause::CertificateRevoked).await;
}

#[tokio::test]
async fn bad_certificate_is_not_anonymity_where_none_is_needed() {
    let site = Site::with(|settings| {
        settings.on_refusal = OnRefusal::Explain;
        settings.client_certificate = ClientCertificate::Request;
    });
    let stranger = TestCa::new("stranger").issue(Leaf::client("you"));
    check(&site, Some(&stranger), Cause::ClientCaNotTrusted).await;
    let nobody = Arc::new(config(&site, None, TLS13));
    assert!(meet(&site, &nobody).await.server.is_ok());
}

#[tokio::test]
async fn good_client_is_admitted_and_resumes_where_others_are_told() {
    let site = explaining();
    for version in BOTH {
        let you = Arc::new(config(&site, Some(&site.client("you")), version));
        for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let meeting = meet(&site, &you).await;
            assert!(meeting.server.is_ok());
            let met = meeting.client.expect("it is admitted").kind;
            let is_resumed = |kind| kind == HandshakeKind::Resumed;
            assert_eq!(is_resumed(met), is_resumed(kind), "{version:?}");
        }
    }
}

async fn check_not_told(identity: &TestIdentity, cause: Cause, alert: Alert) {
    let site = explaining();
    for version in BOTH {
        let config = config(&site, Some(identity), version);
        let (refused, hearing) = begin(&site, config, Vec::new()).await;
        assert_eq!(refused.refusal.cause, cause, "{version:?}");
        assert!(refused.stream.is_none(), "{version:?}: {cause}");
        let heard = hearing.await.expect("no panic");
        assert_eq!(
            heard,
            Err(rustls::Error::AlertReceived(alert)),
            "{version:?}"
        );
    }
}

#[tokio::test]
async fn whoever_does_not_hold_the_key_is_told_nothing() {
    let of_nobody = TestCa::new("stranger").issue(Leaf::client("you"));
    let alert = Alert::UnknownCA;
    check_not_told(
        &of_nobody.with_other_key(),
        Cause::ClientCaNotTrusted,
        alert,
    )
    .await;
    let site = explaining();
    let stolen = site.client("you").with_other_key();
    let (refused, hearing) = begin(&site, config(&site, Some(&stolen), TLS13), Vec::new()).await;
    assert_eq!(refused.refusal.cause, Cause::BadSignature);
    assert!(refused.stream.is_none());
    let heard = hearing.await.expect("no panic");
    assert_eq!(
        heard,
        Err(rustls::Error::AlertReceived(Alert::DecryptError))
    );
}

#[tokio::test]
async fn who_is_told_holds_a_place_of_the_unfinished_until_it_is_over() {
    let mut site = explaining();
    let limits = PendingLimits {
        in_all: 10,
        per_source: 1,
    };
    site.acceptor = Acceptor::with_pending_limits(
        site.settings.clone(),
        site.credentials.clone(),
        site.enforcement.clone(),
        limits,
    );
    let you = Arc::new(config(&site, Some(&site.client("you")), TLS13));
    let (refused, _hearing) = begin(&site, config(&site, None, TLS13), Vec::new()).await;
    let second = meet(&site, &you).await.server.err().expect("refused");
    assert_eq!(second.refusal.cause, Cause::TooManyPending);
    drop(refused);
    assert!(meet(&site, &you).await.server.is_ok(), "its place is free");
}

#[tokio::test]
async fn who_is_told_ends_by_itself_however_it_is_used() {
    let site = explaining();
    let (mut refused, _hearing) = begin(&site, config(&site, None, TLS13), Vec::new()).await;
    let stream = refused.stream.as_mut().expect("it can be told");
    let read = stream.read(&mut [0; 1]).await.expect_err("nothing comes");
    assert_eq!(read.kind(), std::io::ErrorKind::TimedOut);
    assert!(stream.write(WHY).await.is_err() && stream.shutdown().await.is_err());
}

#[tokio::test]
async fn of_who_is_told_so_much_is_read_and_no_more() {
    let site = explaining();
    let endless = vec![b'x'; MEGABYTE];
    let (mut refused, hearing) = begin(&site, config(&site, None, TLS13), endless).await;
    let stream = refused.stream.as_mut().expect("it can be told");
    let mut read = Vec::new();
    stream.read_to_end(&mut read).await.expect("an end");
    assert!(read.len() <= 144 * 1024, "{}", read.len());
    tell(stream).await;
    drop(refused);
    let (heard, ..) = hearing.await.expect("no panic").expect("no reset");
    assert_eq!(heard, WHY);
}

async fn check_alert_behind(version: &'static SupportedProtocolVersion) {
    let site = Site::new();
    let said = vec![b'x'; MEGABYTE];
    let (_refused, hearing) = begin(&site, config(&site, None, version), said).await;
    let heard = hearing.await.expect("no panic");
    let alert = rustls::Error::AlertReceived(Alert::CertificateRequired);
    assert_eq!(heard, Err(alert), "{version:?}");
}

/// With TLS 1.3 a client is done before it is refused, and sends; a reset would take the alert from it.
#[tokio::test]
async fn alert_is_read_behind_a_megabyte_that_was_sent_ahead() {
    for version in BOTH {
        check_alert_behind(version).await;
    }
}

const MEGABYTE: usize = 1024 * 1024;
