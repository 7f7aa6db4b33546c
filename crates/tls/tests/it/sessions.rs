//! Resumed sessions: they carry their identity, and nobody past what was taken away.

use std::sync::Arc;
use std::time::Duration;

use countersign_diagnose::cause::Cause;
use countersign_testkit::pki::{Leaf, TestCa};
use countersign_tls::acceptor::Acceptor;
use countersign_tls::scope::ClientCertificate;
use rustls::{AlertDescription, ClientConfig, HandshakeKind};

use crate::peer::{BOTH, TLS12, config, meet};
use crate::site::{Site, name_of, policy, server_credentials, trusting};

/// Whether the handshake was resumed, as both sides see it, and who came.
async fn check(site: &Site, client: &Arc<ClientConfig>, resumed: bool, name: Option<&str>) {
    let meeting = meet(site, client).await;
    let session = meeting
        .server
        .unwrap_or_else(|refusal| panic!("refused: {}", refusal.refusal.sentence()))
        .session;
    assert_eq!(name_of(session.peer.as_deref()).as_deref(), name);
    assert_eq!(session.resumed, resumed);
    let kind = meeting.client.map(|met| met.kind).expect("admitted");
    assert_eq!(kind == HandshakeKind::Resumed, resumed, "{kind:?}");
}

const YOU: Option<&str> = Some("cn:you (internal)");

#[tokio::test]
async fn a_resumed_session_carries_its_identity() {
    let site = Site::new();
    let identity = site.client("you");
    for version in BOTH {
        let you = Arc::new(config(&site, Some(&identity), version));
        check(&site, &you, false, YOU).await;
        check(&site, &you, true, YOU).await;
        check(&site, &you, true, YOU).await;
    }
}

#[tokio::test]
async fn a_ticket_is_good_once() {
    let site = Site::new();
    let you = Arc::new(config(
        &site,
        Some(&site.client("you")),
        &rustls::version::TLS13,
    ));
    check(&site, &you, false, YOU).await;
    assert_eq!(
        site.enforcement
            .withdraw(|_, _| true)
            .await
            .sessions_declined,
        0
    );
    check(&site, &you, true, YOU).await;
    // Two tickets of the first handshake, and one of the second for the one that was used.
    assert_eq!(
        site.enforcement
            .withdraw(|_, _| false)
            .await
            .sessions_declined,
        2
    );
}

#[tokio::test]
async fn a_revoked_client_does_not_resume() {
    for version in BOTH {
        let site = Site::new();
        let (identity, other) = (site.client("you"), site.client("other"));
        let you = Arc::new(config(&site, Some(&identity), version));
        let them = Arc::new(config(&site, Some(&other), version));
        check(&site, &you, false, YOU).await;
        check(&site, &them, false, Some("cn:other (internal)")).await;
        let effects = site.revoke(&identity).await;
        assert_eq!(
            effects.sessions_declined,
            if version == TLS12 { 1 } else { 2 }
        );
        let meeting = meet(&site, &you).await;
        assert_eq!(meeting.alert(), Some(AlertDescription::CertificateRevoked));
        assert_eq!(
            meeting.server.err().expect("refused").refusal.cause,
            Cause::CertificateRevoked
        );
        check(&site, &them, true, Some("cn:other (internal)")).await;
    }
}

#[tokio::test]
async fn another_scope_resumes_nothing_and_the_same_one_goes_on() {
    for version in BOTH {
        let mut site = Site::new();
        let you = Arc::new(config(&site, Some(&site.client("you")), version));
        check(&site, &you, false, YOU).await;
        site.replace(|_| {});
        check(&site, &you, true, YOU).await;
        site.replace(|settings| settings.policy = policy(&["localhost", "other.example.com"]));
        check(&site, &you, false, YOU).await;
        site.replace(|settings| settings.alpn = vec![b"h2".to_vec()]);
        check(&site, &you, false, YOU).await;
        site.replace(|settings| settings.client_certificate = ClientCertificate::Request);
        check(&site, &you, false, YOU).await;
        check(&site, &you, true, YOU).await;
    }
}

#[tokio::test]
async fn a_client_whose_ca_was_removed_does_not_resume() {
    for version in BOTH {
        let mut site = Site::new();
        let you = Arc::new(config(&site, Some(&site.client("you")), version));
        check(&site, &you, false, YOU).await;
        site.replace(|settings| settings.verifier = Some(Arc::new(trusting(&TestCa::new("next")))));
        let refusal = meet(&site, &you)
            .await
            .server
            .err()
            .expect("refused")
            .refusal;
        assert_eq!(refusal.cause, Cause::ClientCaNotTrusted);
    }
}

#[tokio::test]
async fn a_renewed_server_certificate_ends_no_session() {
    let site = Site::new();
    let you = Arc::new(config(
        &site,
        Some(&site.client("you")),
        &rustls::version::TLS13,
    ));
    check(&site, &you, false, YOU).await;
    let before = site.credentials.leaf().fingerprint();
    site.credentials.swap(server_credentials(&site.ca));
    assert_ne!(site.credentials.leaf().fingerprint(), before);
    check(&site, &you, true, YOU).await;
}

#[tokio::test]
async fn no_chain_of_resumptions_outlives_the_first_handshake() {
    for version in BOTH {
        let site = Site::new();
        let you = Arc::new(config(&site, Some(&site.client("you")), version));
        check(&site, &you, false, YOU).await;
        for round in 1..=20 {
            site.clock.advance(Duration::from_mins(4));
            // 15 × 4 min is the hour; the full handshake there begins a new one.
            check(&site, &you, round != 15, YOU).await;
        }
    }
}

#[tokio::test]
async fn no_session_outlives_the_certificate() {
    for version in BOTH {
        let site = Site::new();
        let short = site.ca.issue(Leaf::client("you").valid(-60, 600));
        let you = Arc::new(config(&site, Some(&short), version));
        check(&site, &you, false, YOU).await;
        site.clock.advance(Duration::from_secs(500));
        check(&site, &you, true, YOU).await;
        site.clock.advance(Duration::from_secs(200));
        let meeting = meet(&site, &you).await;
        assert_eq!(meeting.alert(), Some(AlertDescription::CertificateExpired));
        assert_eq!(
            meeting.server.err().expect("refused").refusal.cause,
            Cause::LeafExpired
        );
    }
}

#[tokio::test]
async fn a_clock_that_went_back_makes_no_session_younger() {
    let site = Site::new();
    let you = Arc::new(config(
        &site,
        Some(&site.client("you")),
        &rustls::version::TLS13,
    ));
    check(&site, &you, false, YOU).await;
    site.clock.set(crate::site::now() - 600);
    check(&site, &you, false, YOU).await;
}

#[tokio::test]
async fn a_session_of_one_listener_is_nothing_to_another() {
    for version in BOTH {
        let mut site = Site::new();
        let you = Arc::new(config(&site, Some(&site.client("you")), version));
        check(&site, &you, false, YOU).await;
        // All that differs is the name of the listener.
        site.settings.listener = "back".to_owned();
        site.acceptor = Acceptor::new(
            site.settings.clone(),
            site.credentials.clone(),
            site.enforcement.clone(),
        );
        check(&site, &you, false, YOU).await;
        check(&site, &you, true, YOU).await;
    }
}

#[tokio::test]
async fn anonymous_sessions_stay_anonymous() {
    let site = Site::with(|settings| settings.client_certificate = ClientCertificate::Request);
    let identity = site.client("you");
    for version in BOTH {
        let nobody = Arc::new(config(&site, None, version));
        let you = Arc::new(config(&site, Some(&identity), version));
        check(&site, &nobody, false, None).await;
        check(&site, &you, false, YOU).await;
        check(&site, &nobody, true, None).await;
        check(&site, &you, true, YOU).await;
    }
}

#[tokio::test]
async fn a_lifetime_of_zero_turns_resumption_off() {
    let site = Site::with(|settings| settings.session_lifetime = Duration::ZERO);
    for version in BOTH {
        let you = Arc::new(config(&site, Some(&site.client("you")), version));
        check(&site, &you, false, YOU).await;
        check(&site, &you, false, YOU).await;
    }
    assert_eq!(
        site.enforcement
            .withdraw(|_, _| false)
            .await
            .sessions_declined,
        0
    );
}
