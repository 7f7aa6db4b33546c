//! Access that is taken away from connections that are open, or about to be.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use countersign_diagnose::cause::Cause;
use countersign_pki::certificate::Certificate;
use countersign_pki::crl::AcceptedCrl;
use countersign_pki::identity::BundleName;
use countersign_pki::revocation::{BundleLists, RevocationMode};
use countersign_pki::time::UnixTime;
use countersign_runtime::clock::{Clock, ManualClock};
use countersign_testkit::pki::{Leaf, TestCa, TestIdentity};
use countersign_tls::acceptor::Connection;
use countersign_tls::enforcement::Effects;
use countersign_tls::scope::{ClientCertificate, ScopeSettings};
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::peer::{ByHand, Met, TLS12, TLS13, config, meet};
use crate::site::{Outcome, Site, now, trusting};

async fn connected(site: &Site, name: &str) -> (Connection, Met) {
    let meeting = meet(
        site,
        &Arc::new(config(site, Some(&site.client(name)), TLS13)),
    )
    .await;
    (
        meeting.server.expect("admitted"),
        meeting.client.expect("admitted"),
    )
}

/// A task as the proxy has: it ends when it is told to, after some last turns.
fn serve(connection: Connection) -> (JoinHandle<()>, Arc<AtomicBool>) {
    let ended = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&ended);
    let task = tokio::spawn(async move {
        connection.session.lifeline.cut().await;
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        told.store(true, Ordering::SeqCst);
        drop(connection);
    });
    (task, ended)
}

#[tokio::test]
async fn when_a_revocation_returns_the_connection_has_ended() {
    let site = Site::new();
    let identity = site.client("you");
    let meeting = meet(&site, &Arc::new(config(&site, Some(&identity), TLS13))).await;
    let mut client = meeting.client.expect("admitted");
    let (other, _other_client) = connected(&site, "other").await;
    let (task, ended) = serve(meeting.server.expect("admitted"));
    assert_eq!(site.enforcement.live(), 2);
    let effects = site.revoke(&identity).await;
    assert!(ended.load(Ordering::SeqCst));
    assert_eq!(
        effects,
        Effects {
            sessions_declined: 2,
            connections_cut: 1,
            still_open: 0
        }
    );
    assert_eq!(site.enforcement.live(), 1);
    assert!(!other.session.lifeline.is_cut());
    assert!(client.stream.read_u8().await.is_err());
    task.await.expect("no panic");
}

/// The lists of everything of both CAs, with these on that of the intermediate.
fn lists(site: &Site, number: u64, revoked: &[&TestIdentity]) -> Arc<BundleLists> {
    let leaves = revoked.iter().map(|identity| &identity.chain[0]);
    let serials: Vec<_> = leaves
        .map(|leaf| Certificate::parse(leaf).expect("a certificate").serial())
        .map(|serial| rcgen::SerialNumber::from_slice(serial.magnitude()))
        .collect();
    let issuers = [site.ca.root.der(), site.ca.intermediate.der()]
        .map(|der| Certificate::parse(der).expect("a certificate"));
    let pem = site.ca.lists(number, &serials).concat();
    let at = UnixTime::from_seconds(now());
    let lists = AcceptedCrl::read(pem.as_bytes(), &issuers, at).expect("good lists");
    let lists = lists.into_iter().map(Arc::new).collect();
    Arc::new(BundleLists::new(RevocationMode::Hard, lists))
}

#[tokio::test]
async fn whoever_comes_onto_a_list_of_everything_is_cut_and_does_not_resume() {
    for version in [TLS12, TLS13] {
        let site = Site::new();
        let bundle = BundleName::internal();
        let empty = lists(&site, 1, &[]);
        let put = |lists| site.enforcement.replace_lists(bundle.clone(), Some(lists));
        assert_eq!(put(empty).await, Effects::default());
        let identity = site.client("you");
        let you = Arc::new(config(&site, Some(&identity), version));
        let other = Arc::new(config(&site, Some(&site.client("other")), version));
        let admitted = async |client| meet(&site, client).await.server.expect("admitted");
        let (yours, others) = (admitted(&you).await, admitted(&other).await);
        // Whoever resumes is looked up, too, and found on none.
        assert!(admitted(&you).await.session.resumed);
        let (task, ended) = serve(yours);
        let effects = put(lists(&site, 2, &[&identity])).await;
        assert!(ended.load(Ordering::SeqCst));
        assert_eq!((effects.connections_cut, effects.still_open), (1, 0));
        assert_ne!(effects.sessions_declined, 0);
        assert!(!others.session.lifeline.is_cut());
        for _ in 0..2 {
            let refused = meet(&site, &you).await.server.err().expect("refused");
            assert_eq!(refused.refusal.cause, Cause::CertificateRevoked);
        }
        assert!(admitted(&other).await.session.resumed);
        task.await.expect("no panic");
    }
}

#[tokio::test]
async fn a_task_that_does_not_end_is_told_as_open_until_it_does() {
    let site = Site::new();
    let identity = site.client("you");
    let meeting = meet(&site, &Arc::new(config(&site, Some(&identity), TLS13))).await;
    let _client = meeting.client.expect("admitted");
    let stuck = meeting.server.expect("admitted");
    // From here on only time itself passes quickly: nothing on the wire is waited for.
    tokio::time::pause();
    assert_eq!(
        site.revoke(&identity).await,
        Effects {
            sessions_declined: 2,
            connections_cut: 1,
            still_open: 1
        }
    );
    let waiting = Effects {
        still_open: 1,
        ..Effects::default()
    };
    assert_eq!(site.enforcement.revoke(Vec::new()).await, waiting);
    assert_eq!(site.revoke(&site.client("other")).await, waiting);
    drop(stuck);
    assert_eq!(
        site.enforcement.revoke(Vec::new()).await,
        Effects::default()
    );
}

#[tokio::test]
async fn the_revocation_of_an_issuer_ends_all_below_it() {
    let site = Site::new();
    let (first, _first_client) = connected(&site, "first").await;
    let (second, _second_client) = connected(&site, "second").await;
    let ((one, _), (two, _)) = (serve(first), serve(second));
    let root = Certificate::parse(site.ca.root.der()).expect("a certificate");
    let intermediate = Certificate::parse(site.ca.intermediate.der()).expect("a certificate");
    let mut revoked = site.revocation(&site.client("you"));
    (revoked.issuer_key, revoked.serial) = (root.spki(), intermediate.serial());
    let effects = site.enforcement.revoke(vec![revoked]).await;
    assert_eq!(
        effects,
        Effects {
            sessions_declined: 4,
            connections_cut: 2,
            still_open: 0
        }
    );
    one.await.expect("no panic");
    two.await.expect("no panic");
}

#[tokio::test]
async fn a_cut_stream_reads_no_more() {
    use tokio::io::AsyncWriteExt;
    let site = Site::new();
    let identity = site.client("you");
    let meeting = meet(&site, &Arc::new(config(&site, Some(&identity), TLS13))).await;
    let (mut connection, mut client) = (
        meeting.server.expect("admitted"),
        meeting.client.expect("admitted"),
    );
    client.stream.write_all(b"GET").await.expect("open");
    client.stream.flush().await.expect("open");
    let mut read = [0; 1];
    connection.stream.read_exact(&mut read).await.expect("open");
    let revoking = tokio::spawn(site.enforcement.revoke(vec![site.revocation(&identity)]));
    connection.session.lifeline.cut().await;
    let error = connection
        .stream
        .read_exact(&mut read)
        .await
        .expect_err("what was sent before does not get through either");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionAborted);
    connection
        .stream
        .write_all(b"bye")
        .await
        .expect("a farewell is allowed");
    drop(connection);
    assert_eq!(revoking.await.expect("no panic").connections_cut, 1);
}

#[tokio::test]
async fn expired_certificates_end_their_connections() {
    let site = Site::new();
    let short = site.ca.issue(Leaf::client("short").valid(-60, 600));
    let meeting = meet(&site, &Arc::new(config(&site, Some(&short), TLS13))).await;
    let connection = meeting.server.expect("admitted");
    let (lasting, _client) = connected(&site, "lasting").await;
    site.clock.set(
        connection
            .session
            .peer
            .as_ref()
            .expect("known")
            .not_after()
            .seconds(),
    );
    assert_eq!(site.enforcement.expire(), 0);
    site.clock.advance(Duration::from_secs(1));
    assert_eq!(site.enforcement.expire(), 1);
    assert_eq!(site.enforcement.expire(), 0);
    assert!(connection.session.lifeline.is_cut() && !lasting.session.lifeline.is_cut());
}

#[tokio::test]
async fn who_is_no_longer_admitted_is_cut_by_listener_and_name() {
    let site = Site::with(|settings| settings.client_certificate = ClientCertificate::Request);
    let (gone, _gone_client) = connected(&site, "gone").await;
    let (kept, _kept_client) = connected(&site, "kept").await;
    let nobody = meet(&site, &Arc::new(config(&site, None, TLS13)))
        .await
        .server
        .expect("admitted");
    let (gone, _) = serve(gone);
    let effects = site
        .enforcement
        .withdraw(|listener, peer| {
            assert_eq!(listener, "front");
            peer.is_none_or(|peer| peer.principal().name.to_string() != "cn:gone")
        })
        .await;
    assert_eq!(
        effects,
        Effects {
            sessions_declined: 2,
            connections_cut: 1,
            still_open: 0
        }
    );
    gone.await.expect("no panic");
    assert!(!kept.session.lifeline.is_cut() && !nobody.session.lifeline.is_cut());
    let (nobody, _) = serve(nobody);
    let effects = site.enforcement.withdraw(|_, peer| peer.is_some()).await;
    assert_eq!(
        effects,
        Effects {
            sessions_declined: 2,
            connections_cut: 1,
            still_open: 0
        }
    );
    nobody.await.expect("no panic");
}

/// Tells when it is read, which is when a certificate is judged.
struct Watched {
    clock: Arc<ManualClock>,
    read: mpsc::UnboundedSender<()>,
}

impl Clock for Watched {
    fn unix_seconds(&self) -> u64 {
        let _ = self.read.send(());
        self.clock.unix_seconds()
    }
}

/// A client whose certificate has been judged, and who has yet to send its Finished.
struct AlmostIn {
    site: Site,
    accepting: JoinHandle<Outcome>,
    client: ByHand,
    finished: Vec<u8>,
}

impl AlmostIn {
    async fn new(change: impl FnOnce(&mut ScopeSettings)) -> (Self, TestIdentity) {
        let (read, mut judged) = mpsc::unbounded_channel();
        let clock = Arc::new(ManualClock::new(now()));
        let watched = Arc::new(Watched {
            clock: Arc::clone(&clock),
            read,
        });
        let site = Site::with_clock(watched, clock, change);
        let identity = site.client("you");
        let (address, accepting) = site.open().await;
        let config = config(&site, Some(&identity), TLS12);
        // TLS 1.2, where the Finished is a record of its own: ChangeCipherSpec (6 bytes) and 5 + 40 bytes.
        let (client, finished) = spawn_blocking(move || {
            let mut client = ByHand::new(address, config);
            let hello = client.flight();
            client.send(&hello);
            client.listen();
            let mut flight = client.flight();
            let finished = flight.split_off(flight.len() - 45);
            client.send(&flight);
            (client, finished)
        })
        .await
        .expect("no panic");
        judged.recv().await.expect("the site lives");
        (
            Self {
                site,
                accepting,
                client,
                finished,
            },
            identity,
        )
    }

    async fn enter(mut self) -> (Site, Outcome) {
        let client = spawn_blocking(move || {
            self.client.send(&self.finished);
            self.client.finish()
        });
        let mut outcome = self.accepting.await.expect("no panic");
        if let Ok(connection) = &mut outcome {
            tokio::io::AsyncWriteExt::write_all(&mut connection.stream, b"ok")
                .await
                .expect("the client reads");
            tokio::io::AsyncWriteExt::flush(&mut connection.stream)
                .await
                .expect("the client reads");
        }
        assert_eq!(client.await.expect("no panic").is_ok(), outcome.is_ok());
        (self.site, outcome)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_revoked_between_certificate_and_finished_does_not_get_in() {
    let (almost, identity) = AlmostIn::new(|_| {}).await;
    assert_eq!(almost.site.revoke(&identity).await, Effects::default());
    let (site, outcome) = almost.enter().await;
    assert_eq!(
        outcome.err().expect("refused").refusal.cause,
        Cause::CertificateRevoked
    );
    assert_eq!(site.enforcement.live(), 0);
    assert_eq!(
        site.enforcement
            .withdraw(|_, _| false)
            .await
            .sessions_declined,
        0
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whose_ca_is_removed_between_certificate_and_finished_does_not_get_in() {
    let (mut almost, _) = AlmostIn::new(|_| {}).await;
    almost
        .site
        .replace(|settings| settings.verifier = Some(Arc::new(trusting(&TestCa::new("next")))));
    let (site, outcome) = almost.enter().await;
    assert_eq!(
        outcome.err().expect("refused").refusal.cause,
        Cause::ClientCaNotTrusted
    );
    assert_eq!(site.enforcement.live(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_still_good_under_new_settings_gets_in_without_a_session() {
    let (mut almost, _) =
        AlmostIn::new(|settings| settings.client_certificate = ClientCertificate::Request).await;
    almost
        .site
        .replace(|settings| settings.client_certificate = ClientCertificate::Require);
    let (site, outcome) = almost.enter().await;
    assert!(outcome.expect("admitted").session.peer.is_some());
    assert_eq!(
        site.enforcement
            .withdraw(|_, _| false)
            .await
            .sessions_declined,
        0
    );
}
