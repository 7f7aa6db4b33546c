//! Terms that are tried out: told of, and never in effect.

use std::net::Shutdown;
use std::sync::Arc;

use countersign_diagnose::cause::Cause;
use countersign_testkit::pki::{Leaf, TestCa, TestIdentity};
use countersign_tls::scope::{ClientCertificate, OnRefusal, ScopeSettings};
use countersign_tls::shadow::{ShadowFinding, ShadowSettings};
use rcgen::CustomExtension;
use rustls::{AlertDescription, ClientConfig, HandshakeKind};
use tokio::task::spawn_blocking;

use crate::peer::{BOTH, ByHand, TLS12, config, meet, read_to_end};
use crate::site::{Site, name_of, trusting};

fn would_refuse(cause: Cause) -> ShadowFinding {
    ShadowFinding::WouldRefuse(cause)
}

fn would_accept(name: &str) -> ShadowFinding {
    ShadowFinding::WouldAccept(Some(format!("cn:{name} (internal)")))
}

/// Shadow terms under which `ca` vouches.
fn shadow(settings: &mut ScopeSettings, mode: ClientCertificate, ca: &TestCa) {
    settings.shadow = Some(ShadowSettings {
        client_certificate: mode,
        verifier: Arc::new(trusting(ca)),
    });
}

/// A listener that asks for nothing, and of which `mode` is tried out.
fn of_nothing(mode: ClientCertificate) -> Site {
    let mut site = Site::new();
    let verifier = site.settings.verifier.clone();
    site.replace(|settings| {
        settings.client_certificate = ClientCertificate::Off;
        settings.verifier = None;
        settings.shadow = verifier.map(|verifier| ShadowSettings {
            client_certificate: mode,
            verifier,
        });
    });
    site
}

async fn check(
    site: &Site,
    client: &Arc<ClientConfig>,
    is_resumed: bool,
    name: Option<&str>,
    finding: &ShadowFinding,
) {
    let meeting = meet(site, client).await;
    let session = meeting
        .server
        .unwrap_or_else(|refusal| panic!("refused: {}", refusal.refusal.sentence()))
        .session;
    assert_eq!(name_of(session.peer.as_deref()).as_deref(), name);
    assert_eq!(session.resumed, is_resumed);
    assert_eq!(session.shadow.as_ref(), Some(finding));
    let kind = meeting.client.map(|met| met.kind).expect("admitted");
    assert_eq!(kind == HandshakeKind::Resumed, is_resumed);
}

#[tokio::test]
async fn whatever_is_shown_in_shadow_makes_nobody_somebody_and_refuses_nobody() {
    let site = of_nothing(ClientCertificate::Require);
    let stranger = TestCa::new("internal");
    let revoked = site.client("gone");
    site.revoke(&revoked).await;
    let cases: [(Option<TestIdentity>, ShadowFinding); 7] = [
        (None, would_refuse(Cause::ClientCertNotSent)),
        (Some(site.client("you")), would_accept("you")),
        (
            Some(stranger.issue(Leaf::client("you"))),
            would_refuse(Cause::SameNameDifferentKeyCa),
        ),
        (
            Some(site.ca.issue(Leaf::client("you").valid(-7200, -3600))),
            would_refuse(Cause::LeafExpired),
        ),
        (Some(revoked), would_refuse(Cause::CertificateRevoked)),
        (
            Some(site.client("you").with_other_key()),
            would_refuse(Cause::BadSignature),
        ),
        (
            Some(site.ca.authority_as_leaf()),
            would_refuse(Cause::CaUsedAsEndEntity),
        ),
    ];
    for (identity, finding) in cases {
        for version in BOTH {
            let client = Arc::new(config(&site, identity.as_ref(), version));
            check(&site, &client, false, None, &finding).await;
            // What was shown once is not somebody the second time either.
            check(&site, &client, true, None, &finding).await;
            check(&site, &client, true, None, &finding).await;
        }
    }
}

/// The client's certificate, grown by an extension of so many bytes.
fn grown(site: &Site, bytes: usize) -> TestIdentity {
    let mut leaf = Leaf::client("you");
    let extension =
        CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 55_555, 1], vec![5; bytes]);
    leaf.params.custom_extensions.push(extension);
    site.ca.issue(leaf)
}

#[tokio::test]
async fn what_nobody_is_anybody_for_is_kept_up_to_a_bound() {
    for on_refusal in [OnRefusal::Alert, OnRefusal::Explain] {
        for version in BOTH {
            let mut site = of_nothing(ClientCertificate::Require);
            site.replace(|settings| settings.on_refusal = on_refusal);
            let client = Arc::new(config(&site, Some(&grown(&site, 16 * 1024)), version));
            let meeting = meet(&site, &client).await;
            assert_eq!(meeting.alert(), Some(AlertDescription::BadCertificate));
            let refused = meeting.server.err().expect("refused");
            assert_eq!(refused.refusal.cause, Cause::CertificateTooLarge);
            assert!(refused.stream.is_none());
            assert_eq!(refused.shadow, None);
            // Certificates that count have the bound that they had.
            site.replace(|settings| {
                settings.client_certificate = ClientCertificate::Request;
                settings.verifier = settings.shadow.take().map(|shadow| shadow.verifier);
            });
            let client = Arc::new(config(&site, Some(&grown(&site, 15 * 1024)), version));
            assert!(meet(&site, &client).await.server.is_ok());
        }
    }
}

#[tokio::test]
async fn session_of_nobody_that_is_large_is_not_kept() {
    let site = of_nothing(ClientCertificate::Require);
    for version in BOTH {
        for (bytes, is_kept) in [(1, true), (8 * 1024, false), (15 * 1024, false)] {
            let client = Arc::new(config(&site, Some(&grown(&site, bytes)), version));
            let finding = would_accept("you");
            check(&site, &client, false, None, &finding).await;
            check(&site, &client, is_kept, None, &finding).await;
        }
    }
}

#[tokio::test]
async fn whoever_shows_nothing_where_nothing_would_be_required_would_be_accepted() {
    let site = of_nothing(ClientCertificate::Request);
    for version in BOTH {
        let client = Arc::new(config(&site, None, version));
        check(
            &site,
            &client,
            false,
            None,
            &ShadowFinding::WouldAccept(None),
        )
        .await;
    }
}

#[tokio::test]
async fn session_of_a_shadow_is_worth_nothing_once_certificates_count() {
    for mode in [ClientCertificate::Request, ClientCertificate::Require] {
        for version in BOTH {
            let mut site = of_nothing(ClientCertificate::Require);
            let stranger = TestCa::new("stranger").issue(Leaf::client("you"));
            let you = site.client("you");
            let [you, stranger] =
                [you, stranger].map(|it| Arc::new(config(&site, Some(&it), version)));
            for client in [&you, &stranger] {
                assert!(meet(&site, client).await.server.is_ok());
            }
            site.replace(|settings| {
                let shadow = settings.shadow.take().expect("a shadow");
                settings.client_certificate = mode;
                settings.verifier = Some(shadow.verifier);
            });
            let meeting = meet(&site, &you).await;
            let session = meeting.server.expect("admitted").session;
            assert_eq!(
                (name_of(session.peer.as_deref()).as_deref(), session.resumed),
                (Some("cn:you (internal)"), false)
            );
            assert_eq!(session.shadow, None);
            assert!(meet(&site, &stranger).await.server.is_err());
        }
    }
}

#[tokio::test]
async fn shadow_beside_certificates_that_count_changes_neither_who_comes_in_nor_as_whom() {
    let other = TestCa::new("other");
    for mode in [ClientCertificate::Request, ClientCertificate::Require] {
        for version in BOTH {
            let mut site = Site::with(|settings| settings.client_certificate = mode);
            site.replace(|settings| shadow(settings, ClientCertificate::Require, &other));
            // In force, and not by the bundle that is tried out.
            let you = Arc::new(config(&site, Some(&site.client("you")), version));
            let name = Some("cn:you (internal)");
            let meeting = meet(&site, &you).await;
            let session = meeting.server.expect("admitted").session;
            assert_eq!(name_of(session.peer.as_deref()).as_deref(), name);
            assert!(matches!(
                session.shadow,
                Some(ShadowFinding::WouldRefuse(_))
            ));
            let finding = session.shadow.expect("found");
            check(&site, &you, true, name, &finding).await;
            // The other way round: as refused as without a shadow, and that is told of.
            let theirs = other.issue(Leaf::client("them"));
            let meeting = meet(&site, &Arc::new(config(&site, Some(&theirs), version))).await;
            assert_eq!(meeting.alert(), Some(AlertDescription::UnknownCA));
            let refused = meeting.server.err().expect("refused");
            assert_eq!(refused.shadow, Some(would_accept("them")));
            assert_eq!(
                refused.refusal.evidence.get("shadow"),
                Some("would be accepted as cn:them (internal)")
            );
            // Nobody who holds no key gets further by it.
            let thief = other.issue(Leaf::client("them")).with_other_key();
            let meeting = meet(&site, &Arc::new(config(&site, Some(&thief), version))).await;
            assert_eq!(meeting.alert(), Some(AlertDescription::UnknownCA));
            let refused = meeting.server.err().expect("refused");
            assert_eq!(refused.shadow, Some(would_refuse(Cause::BadSignature)));
            let nobody = meet(&site, &Arc::new(config(&site, None, version))).await;
            assert_eq!(nobody.server.is_ok(), mode == ClientCertificate::Request);
        }
    }
}

#[tokio::test]
async fn whoever_goes_before_the_key_is_proved_would_not_be_accepted_as_anybody() {
    let other = TestCa::new("other");
    let mut site = Site::new();
    site.replace(|settings| shadow(settings, ClientCertificate::Require, &other));
    let theirs = other.issue(Leaf::client("them"));
    let config = config(&site, Some(&theirs), TLS12);
    let (address, accepting) = site.open().await;
    let client = spawn_blocking(move || {
        let mut client = ByHand::new(address, config);
        let hello = client.flight();
        client.send(&hello);
        client.listen();
        // The record of the Certificate message; the next ones hold the key exchange and the proof.
        let flight = client.flight();
        let length = usize::from(u16::from_be_bytes([flight[3], flight[4]]));
        assert_eq!((flight[0], flight[5]), (0x16, 0x0b));
        client.send(&flight[..5 + length]);
        client.tcp.shutdown(Shutdown::Write).expect("loopback");
        let _ = read_to_end(&client.tcp);
    });
    let refused = accepting.await.expect("no panic").err().expect("refused");
    client.await.expect("no panic");
    assert_eq!(refused.shadow, None);
    assert_eq!(refused.refusal.evidence.get("shadow"), None);
}

/// Refused by those in force for it too, so that nothing but what is told of them differs.
#[tokio::test]
async fn whoever_holds_no_key_would_not_be_accepted_whatever_is_in_force() {
    for mode in [ClientCertificate::Request, ClientCertificate::Require] {
        for version in BOTH {
            let mut site = Site::with(|settings| settings.client_certificate = mode);
            let verifier = site.settings.verifier.clone().expect("certificates count");
            site.replace(|settings| {
                settings.shadow = Some(ShadowSettings {
                    client_certificate: ClientCertificate::Require,
                    verifier,
                });
            });
            let thief = site.client("you").with_other_key();
            let meeting = meet(&site, &Arc::new(config(&site, Some(&thief), version))).await;
            let refused = meeting.server.err().expect("refused");
            assert_eq!(refused.shadow, Some(would_refuse(Cause::BadSignature)));
        }
    }
}
