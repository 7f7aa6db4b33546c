//! Clients whose responder is asked, whatever comes between two looks at them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use countersign_diagnose::cause::Cause;
use countersign_pki::certificate::Certificate;
use countersign_pki::feed::RevocationReason;
use countersign_pki::identity::BundleName;
use countersign_pki::ocsp::{OcspAnswer, OcspFault, OcspStatus};
use countersign_pki::revocation::{Revocation, RevocationMode, RevocationStatus};
use countersign_pki::time::UnixTime;
use countersign_runtime::clock::{Clock, ManualClock};
use countersign_testkit::pki::{Leaf, TestCa};
use countersign_tls::enforcement::Enforcement;
use countersign_tls::ocsp::{OcspAsked, OcspSettings};
use countersign_tls::scope::ClientCertificate;
use countersign_tls::shadow::{ShadowFinding, ShadowSettings};
use rustls_pki_types::ServerName;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;

use crate::peer::{BOTH, Met, TLS13, config, meet};
use crate::site::{Outcome, Site, anchored, now};

/// Moves on by a second with each so many-th look at it.
struct Hasty {
    looks: AtomicU64,
    every: u64,
}

impl Clock for Hasty {
    fn unix_seconds(&self) -> u64 {
        now() + self.looks.fetch_add(1, Ordering::SeqCst) / self.every
    }
}

fn settings(site: &Site) -> OcspSettings {
    OcspSettings {
        url: "http://ocsp.example/".to_owned(),
        mode: RevocationMode::Hard,
        anchors: vec![Certificate::parse(site.ca.root.der()).expect("a certificate")],
        signers: Vec::new(),
        max_age: Duration::from_hours(1),
        timeout: Duration::from_secs(20),
        chain: false,
    }
}

fn ask_about(site: &Site, settings: OcspSettings) {
    (site.enforcement).replace_ocsp(&BundleName::internal(), Some(settings));
}

fn answer(status: OcspStatus, at: UnixTime) -> OcspAnswer {
    OcspAnswer {
        status,
        this_update: at,
        until: at.plus(Duration::from_hours(1)),
    }
}

fn revoked() -> OcspStatus {
    OcspStatus::Revoked(Revocation {
        revoked_at: UnixTime::from_seconds(now() - 60),
        reason: RevocationReason::CertificateHold,
    })
}

fn silence() -> OcspFault {
    OcspFault::Unreachable {
        why: "silence".to_owned(),
    }
}

/// Answers each question alike, for as long as there are any.
fn responder(
    mut questions: mpsc::Receiver<OcspAsked>,
    enforcement: &Enforcement,
    outcome: Result<OcspStatus, OcspFault>,
) -> tokio::task::JoinHandle<()> {
    let enforcement = enforcement.clone();
    tokio::spawn(async move {
        while let Some(asked) = questions.recv().await {
            let at = enforcement.now();
            let outcome = outcome.clone().map(|status| answer(status, at));
            asked.answered(outcome, at);
        }
    })
}

/// The server's side alone: whoever waited and is refused is told, which nobody does here.
async fn attempt(site: &Site, client: &Arc<rustls::ClientConfig>) -> Outcome {
    let (address, accepting) = site.open().await;
    let connector = TlsConnector::from(Arc::clone(client));
    let client = tokio::spawn(async move {
        let socket = TcpStream::connect(address).await.expect("loopback");
        let name = ServerName::try_from("localhost").expect("a name");
        if let Ok(mut stream) = connector.connect(name, socket).await {
            let _ = stream.read_u8().await;
        }
    });
    let outcome = accepting.await.expect("no panic");
    client.abort();
    outcome
}

#[tokio::test]
async fn no_second_that_passes_between_two_looks_admits_whom_nobody_speaks_of() {
    for version in BOTH {
        for every in 1..8 {
            let looks = AtomicU64::new(0);
            let unused = Arc::new(ManualClock::new(now()));
            let site = Site::with_clock(Arc::new(Hasty { looks, every }), unused, |_| {});
            ask_about(&site, settings(&site));
            let questions = site.enforcement.ask_responders();
            let dead = responder(questions, &site.enforcement, Err(silence()));
            let client = Arc::new(config(&site, Some(&site.client("you")), version));
            for _ in 0..3 {
                let refused = attempt(&site, &client).await.err();
                let refused = refused.unwrap_or_else(|| panic!("let in, every {every}"));
                assert_eq!(refused.refusal.cause, Cause::OcspUnreachable, "{every}");
            }
            dead.abort();
        }
    }
}

/// A client that is in by a good answer, and the questions that come from here on.
async fn let_in(site: &Site, mode: RevocationMode) -> (mpsc::Receiver<OcspAsked>, Held) {
    ask_about(
        site,
        OcspSettings {
            mode,
            ..settings(site)
        },
    );
    let mut questions = site.enforcement.ask_responders();
    let client = Arc::new(config(site, Some(&site.client("you")), TLS13));
    let (met, ()) = tokio::join!(meet(site, &client), async {
        let asked = questions.recv().await.expect("a question");
        let at = site.enforcement.now();
        asked.answered(Ok(answer(OcspStatus::Good, at)), at);
    });
    let held = Held {
        server: met.server.expect("admitted"),
        _client: met.client.expect("admitted"),
        config: client,
    };
    (questions, held)
}

struct Held {
    server: countersign_tls::acceptor::Connection,
    _client: Met,
    config: Arc<rustls::ClientConfig>,
}

#[tokio::test]
async fn reload_forgets_nothing_that_is_as_good_as_before() {
    let site = Site::new();
    let (mut questions, held) = let_in(&site, RevocationMode::DangerousSoft).await;
    let other = Certificate::parse(site.ca.intermediate.der()).expect("a certificate");
    let mut anchors = settings(&site).anchors;
    anchors.push(other);
    let changes = [
        OcspSettings {
            timeout: Duration::from_secs(9),
            ..settings(&site)
        },
        OcspSettings {
            max_age: Duration::from_mins(10),
            ..settings(&site)
        },
        OcspSettings {
            anchors,
            ..settings(&site)
        },
    ];
    for changed in changes {
        ask_about(&site, changed);
        assert_eq!(site.enforcement.renew_ocsp(), 0);
        assert!(questions.try_recv().is_err(), "nobody is asked");
        assert_eq!(site.enforcement.ocsp(&BundleName::internal()).held, 1);
        let met = meet(&site, &held.config).await;
        let session = met.server.expect("admitted").session;
        assert_eq!(session.revocation, RevocationStatus::Checked);
    }
    // Ten minutes count from when they were said.
    site.clock.advance(Duration::from_mins(5));
    assert_eq!(site.enforcement.renew_ocsp(), 0);
    questions
        .try_recv()
        .expect("it is due")
        .put_off(silence(), site.enforcement.now());
    assert!(!held.server.session.lifeline.is_cut());
}

#[tokio::test]
async fn revocation_outlives_a_change_of_who_may_sign() {
    let site = Site::new();
    let (questions, held) = let_in(&site, RevocationMode::DangerousSoft).await;
    site.clock.advance(Duration::from_mins(31));
    let mut questions = questions;
    assert_eq!(site.enforcement.renew_ocsp(), 0);
    let (asked, at) = (questions.try_recv().expect("due"), site.enforcement.now());
    asked.answered(Ok(answer(revoked(), at)), at);
    assert_eq!(site.enforcement.renew_ocsp(), 1);
    let another = Certificate::parse(site.ca.intermediate.der()).expect("a certificate");
    ask_about(
        &site,
        OcspSettings {
            mode: RevocationMode::DangerousSoft,
            signers: vec![another],
            ..settings(&site)
        },
    );
    let refused = meet(&site, &held.config)
        .await
        .server
        .err()
        .expect("refused");
    assert_eq!(refused.refusal.cause, Cause::CertificateRevoked);
}

#[tokio::test]
async fn answer_to_a_question_of_before_is_nobodys() {
    let site = Site::new();
    ask_about(&site, settings(&site));
    let mut questions = site.enforcement.ask_responders();
    let client = Arc::new(config(&site, Some(&site.client("you")), TLS13));
    let (met, ()) = tokio::join!(attempt(&site, &client), async {
        let asked = questions.recv().await.expect("a question");
        let another = Certificate::parse(site.ca.intermediate.der()).expect("a certificate");
        ask_about(
            &site,
            OcspSettings {
                signers: vec![another],
                ..settings(&site)
            },
        );
        let at = site.enforcement.now();
        asked.answered(Ok(answer(OcspStatus::Good, at)), at);
        let again = questions.recv().await.expect("it is asked again");
        assert_eq!(again.settings().signers.len(), 1);
        again.answered(Ok(answer(revoked(), at)), at);
    });
    let refused = met.err().expect("refused");
    assert_eq!(refused.refusal.cause, Cause::CertificateRevoked);
}

#[tokio::test]
async fn want_of_room_cuts_nobody_and_a_responder_that_fails_does() {
    let site = Site::new();
    let client = Arc::new(config(&site, Some(&site.client("you")), TLS13));
    let met = meet(&site, &client).await;
    let (server, _client) = (met.server.expect("admitted"), met.client.expect("admitted"));
    // Nobody asks, or whoever does has no room.
    ask_about(&site, settings(&site));
    assert_eq!(site.enforcement.renew_ocsp(), 0);
    let mut questions = site.enforcement.ask_responders();
    for _ in 0..3 {
        assert_eq!(site.enforcement.renew_ocsp(), 0);
        let asked = questions.try_recv().expect("it stays due");
        asked.put_off(silence(), site.enforcement.now());
    }
    assert_eq!(site.enforcement.renew_ocsp(), 0);
    assert!(!server.session.lifeline.is_cut());
    let asked = questions.try_recv().expect("it stays due");
    asked.answered(Err(silence()), site.enforcement.now());
    assert_eq!(site.enforcement.renew_ocsp(), 1);
}

#[tokio::test]
async fn failed_question_cuts_nobody_whose_answer_is_good() {
    let site = Site::new();
    let (mut questions, held) = let_in(&site, RevocationMode::Hard).await;
    site.clock.advance(Duration::from_mins(31));
    assert_eq!(site.enforcement.renew_ocsp(), 0);
    let asked = questions.try_recv().expect("due");
    asked.answered(Err(silence()), site.enforcement.now());
    assert_eq!(site.enforcement.renew_ocsp(), 0);
    // Another place to ask, which says nothing either.
    let url = "http://other.example/".to_owned();
    ask_about(
        &site,
        OcspSettings {
            url,
            ..settings(&site)
        },
    );
    assert_eq!(site.enforcement.renew_ocsp(), 0);
    let asked = questions.try_recv().expect("it is asked at once");
    asked.answered(Err(silence()), site.enforcement.now());
    assert_eq!(site.enforcement.renew_ocsp(), 0);
    assert!(!held.server.session.lifeline.is_cut());
    site.clock.advance(Duration::from_mins(30));
    assert_eq!(site.enforcement.renew_ocsp(), 1);
}

#[tokio::test]
async fn sweep_asks_so_many_at_once_and_the_rest_as_places_come_free() {
    const CLIENTS: usize = 132;
    let site = Site::new();
    let mut held = Vec::new();
    for number in 0..CLIENTS {
        let identity = site.client(&format!("client-{number}"));
        held.push(meet(&site, &Arc::new(config(&site, Some(&identity), TLS13))).await);
    }
    ask_about(&site, settings(&site));
    let mut questions = site.enforcement.ask_responders();
    let mut total = 0;
    for expected in [128, 4, 0] {
        assert_eq!(site.enforcement.renew_ocsp(), 0);
        assert_eq!(site.enforcement.renew_ocsp(), 0);
        let mut asked = Vec::new();
        while let Ok(question) = questions.try_recv() {
            asked.push(question);
        }
        assert_eq!(asked.len(), expected);
        total += asked.len();
        for question in asked {
            let at = site.enforcement.now();
            question.answered(Ok(answer(OcspStatus::Good, at)), at);
        }
    }
    assert_eq!(total, CLIENTS);
}

#[tokio::test]
async fn hold_that_is_released_lets_in_again() {
    let site = Site::new();
    ask_about(&site, settings(&site));
    let mut questions = site.enforcement.ask_responders();
    let client = Arc::new(config(&site, Some(&site.client("you")), TLS13));
    let (met, ()) = tokio::join!(attempt(&site, &client), async {
        let (asked, at) = (
            questions.recv().await.expect("a question"),
            site.enforcement.now(),
        );
        asked.answered(Ok(answer(revoked(), at)), at);
    });
    assert!(met.is_err());
    assert!(attempt(&site, &client).await.is_err());
    assert!(questions.try_recv().is_err(), "it is not due");
    site.clock.advance(Duration::from_mins(31));
    let refused = attempt(&site, &client).await.err().expect("refused");
    assert_eq!(refused.refusal.cause, Cause::CertificateRevoked);
    let (asked, at) = (questions.try_recv().expect("due"), site.enforcement.now());
    asked.answered(Ok(answer(OcspStatus::Good, at)), at);
    assert!(attempt(&site, &client).await.is_ok());
}

#[tokio::test]
async fn until_a_reload_is_in_force_the_stricter_mode_is() {
    for (before, next) in [
        (RevocationMode::Hard, RevocationMode::DangerousSoft),
        (RevocationMode::DangerousSoft, RevocationMode::Hard),
    ] {
        let site = Site::new();
        let with = |mode| OcspSettings {
            mode,
            ..settings(&site)
        };
        ask_about(&site, with(before));
        let bundle = BundleName::internal();
        site.enforcement.tighten_ocsp(&bundle, with(next));
        let questions = site.enforcement.ask_responders();
        let dead = responder(questions, &site.enforcement, Err(silence()));
        let client = Arc::new(config(&site, Some(&site.client("you")), TLS13));
        assert!(attempt(&site, &client).await.is_err(), "{before:?}");
        ask_about(&site, with(RevocationMode::DangerousSoft));
        assert!(attempt(&site, &client).await.is_ok(), "{before:?}");
        dead.abort();
    }
}

#[tokio::test]
async fn shadow_goes_by_answers_that_are_held_and_asks_nobody() {
    let mut site = Site::new();
    ask_about(&site, settings(&site));
    let questions = site.enforcement.ask_responders();
    let harsh = responder(questions, &site.enforcement, Ok(revoked()));
    let [known, unknown] =
        ["known", "unknown"].map(|name| Arc::new(config(&site, Some(&site.client(name)), TLS13)));
    assert!(attempt(&site, &known).await.is_err());
    harsh.abort();
    site.replace(|settings| {
        settings.client_certificate = ClientCertificate::Off;
        settings.shadow = settings.verifier.take().map(|verifier| ShadowSettings {
            client_certificate: ClientCertificate::Require,
            verifier,
        });
    });
    let mut questions = site.enforcement.ask_responders();
    let accepted = ShadowFinding::WouldAccept(Some("cn:unknown (internal)".to_owned()));
    let refused = ShadowFinding::WouldRefuse(Cause::CertificateRevoked);
    for (client, finding) in [(known, refused), (unknown, accepted)] {
        let admitted = attempt(&site, &client).await.expect("nobody is refused");
        assert_eq!(admitted.session.shadow, Some(finding));
    }
    assert!(questions.try_recv().is_err());
}

#[tokio::test]
async fn what_all_share_takes_one_place_of_the_sweep() {
    const CLIENTS: usize = 130;
    let site = Site::new();
    let mut held = Vec::new();
    for number in 0..CLIENTS {
        let identity = site.client(&format!("client-{number}"));
        held.push(meet(&site, &Arc::new(config(&site, Some(&identity), TLS13))).await);
    }
    let chain = OcspSettings {
        chain: true,
        ..settings(&site)
    };
    ask_about(&site, chain);
    let mut questions = site.enforcement.ask_responders();
    let mut under_way = Vec::new();
    // 127 clients and their CA, which is under way once the second time too.
    for expected in [128, 128] {
        site.enforcement.renew_ocsp();
        while let Ok(question) = questions.try_recv() {
            under_way.push(question);
        }
        assert_eq!(under_way.len(), expected);
    }
    // The CA is asked about still: of all places but its own the rest can make use.
    let issuer = under_way[0].issuer().fingerprint();
    let root = Certificate::parse(site.ca.root.der()).expect("a certificate");
    let of_the_ca = |it: &OcspAsked| it.issuer().fingerprint() == root.fingerprint();
    assert_eq!(under_way.iter().filter(|it| of_the_ca(it)).count(), 1);
    assert_ne!(issuer, root.fingerprint());
    for question in under_way.extract_if(.., |it| !of_the_ca(it)) {
        let at = site.enforcement.now();
        question.answered(Ok(answer(OcspStatus::Good, at)), at);
    }
    site.enforcement.renew_ocsp();
    while let Ok(question) = questions.try_recv() {
        under_way.push(question);
    }
    assert_eq!(under_way.len(), 1 + CLIENTS - 127);
}

/// Of a reload that adds an anchor, before it is in force: who is issued by the anchor itself can be asked about.
#[tokio::test]
async fn until_a_reload_is_in_force_anchors_of_both_are_known() {
    let mut site = Site::new();
    let next = TestCa::new("next");
    let anchor = Certificate::parse(next.intermediate.der()).expect("a certificate");
    ask_about(&site, settings(&site));
    let both = OcspSettings {
        anchors: vec![anchor.clone()],
        ..settings(&site)
    };
    (site.enforcement).tighten_ocsp(&BundleName::internal(), both);
    site.replace(|settings| settings.verifier = Some(Arc::new(anchored(&anchor))));
    let questions = site.enforcement.ask_responders();
    let kind = responder(questions, &site.enforcement, Ok(OcspStatus::Good));
    let mut you = next.issue(Leaf::client("you"));
    you.chain.truncate(1);
    let client = Arc::new(config(&site, Some(&you), TLS13));
    assert!(attempt(&site, &client).await.is_ok());
    kind.abort();
}
