//! Refused certificates: the cause for the operator, the alert for the client, in both versions.

use std::sync::Arc;

use countersign_diagnose::cause::Cause;
use countersign_diagnose::handshake::alert_name;
use countersign_pki::fingerprint::Fingerprint;
use countersign_testkit::pki::{Leaf, TestCa, TestIdentity};
use countersign_tls::scope::ClientCertificate;
use rcgen::{DnType, ExtendedKeyUsagePurpose};
use rustls::AlertDescription as Alert;

use crate::peer::{BOTH, TLS13, config, meet};
use crate::site::{Site, name_of};

async fn check(site: &Site, identity: Option<&TestIdentity>, cause: Cause, alert: Alert) {
    for version in BOTH {
        let config = Arc::new(config(site, identity, version));
        let meeting = meet(site, &config).await;
        let seen = meeting.alert();
        let refusal = meeting.server.err().expect("the client is refused");
        assert_eq!(
            refusal.refusal.cause,
            cause,
            "{version:?}: {}",
            refusal.refusal.sentence()
        );
        assert_eq!(seen, Some(alert), "{version:?}: {:?}", meeting.client.err());
        if let Some(sent) = refusal.refusal.evidence.get("alert_sent") {
            assert_eq!(alert_name(alert.into()), Some(sent));
        }
        assert_eq!(refusal.sni.as_deref(), Some("localhost"));
        assert_eq!(
            refusal.refusal.evidence.get("source"),
            Some(refusal.source.to_string().as_str())
        );
        assert_eq!(site.enforcement.live(), 0);
    }
    // A refused handshake leaves no session.
    assert_eq!(
        site.enforcement
            .withdraw(|_, _| false)
            .await
            .sessions_declined,
        0
    );
}

async fn check_leaf(leaf: Leaf, cause: Cause, alert: Alert) {
    let site = Site::new();
    check(&site, Some(&site.ca.issue(leaf)), cause, alert).await;
}

#[tokio::test]
async fn no_certificate_is_refused() {
    check(
        &Site::new(),
        None,
        Cause::ClientCertNotSent,
        Alert::CertificateRequired,
    )
    .await;
}

#[tokio::test]
async fn an_expired_certificate_is_refused() {
    check_leaf(
        Leaf::client("old").valid(-7200, -3600),
        Cause::LeafExpired,
        Alert::CertificateExpired,
    )
    .await;
}

#[tokio::test]
async fn a_certificate_that_has_not_begun_is_refused() {
    check_leaf(
        Leaf::client("early").valid(3600, 7200),
        Cause::NotYetValid,
        Alert::CertificateExpired,
    )
    .await;
}

#[tokio::test]
async fn a_certificate_of_another_ca_is_refused() {
    let stranger = TestCa::new("stranger").issue(Leaf::client("you"));
    check(
        &Site::new(),
        Some(&stranger),
        Cause::ClientCaNotTrusted,
        Alert::UnknownCA,
    )
    .await;
}

#[tokio::test]
async fn a_chain_without_its_intermediate_is_refused() {
    let site = Site::new();
    let mut identity = site.client("you");
    identity.chain.truncate(1);
    check(
        &site,
        Some(&identity),
        Cause::ChainMissingIntermediate,
        Alert::UnknownCA,
    )
    .await;
}

#[tokio::test]
async fn a_server_certificate_is_no_client_certificate() {
    let leaf = Leaf::client("you").usages(&[ExtendedKeyUsagePurpose::ServerAuth]);
    check_leaf(
        leaf,
        Cause::EkuMissingClientauth,
        Alert::UnsupportedCertificate,
    )
    .await;
}

#[tokio::test]
async fn a_revoked_certificate_is_refused() {
    let site = Site::new();
    let identity = site.client("you");
    site.revoke(&identity).await;
    check(
        &site,
        Some(&identity),
        Cause::CertificateRevoked,
        Alert::CertificateRevoked,
    )
    .await;
}

#[tokio::test]
async fn a_chain_longer_than_the_limit_is_refused() {
    let site = Site::new();
    let mut identity = site.client("you");
    for number in 0..8 {
        identity
            .chain
            .push(TestCa::new(&format!("other {number}")).root.der().clone());
    }
    check(
        &site,
        Some(&identity),
        Cause::ChainTooDeep,
        Alert::BadCertificate,
    )
    .await;
}

#[tokio::test]
async fn a_huge_name_is_refused() {
    let mut leaf = Leaf::client("you");
    leaf.params
        .distinguished_name
        .push(DnType::OrganizationName, "x".repeat(60_000));
    check_leaf(leaf, Cause::CertificateTooLarge, Alert::BadCertificate).await;
}

#[tokio::test]
async fn a_certificate_over_the_message_limit_is_refused() {
    let site = Site::new();
    let mut leaf = Leaf::client("you");
    leaf.params
        .distinguished_name
        .push(DnType::OrganizationName, "x".repeat(64 * 1024));
    let identity = site.ca.issue(leaf);
    for version in BOTH {
        let meeting = meet(&site, &Arc::new(config(&site, Some(&identity), version))).await;
        assert_eq!(
            meeting.server.err().expect("refused").refusal.cause,
            Cause::CertificateTooLarge
        );
        // rustls has no alert for a message that it does not read: an orderly end is all there is, in either form that
        // rustls tells it.
        let end = meeting.client.err().expect("refused").to_string();
        assert!(
            end.contains("tls handshake eof") || end.contains("without sending TLS close_notify"),
            "{end}"
        );
    }
}

#[tokio::test]
async fn nul_in_a_name_is_refused() {
    check_leaf(
        Leaf::client("you").dns("good.example.com\0.evil.example"),
        Cause::MalformedCertificate,
        Alert::BadCertificate,
    )
    .await;
}

#[tokio::test]
async fn two_spiffe_ids_are_refused() {
    let leaf = Leaf::client("you")
        .uri("spiffe://example.com/a")
        .uri("spiffe://example.com/b");
    check_leaf(leaf, Cause::IdentityAmbiguous, Alert::BadCertificate).await;
}

#[tokio::test]
async fn a_spiffe_id_of_another_trust_domain_is_refused() {
    check_leaf(
        Leaf::client("you").uri("spiffe://other.example/a"),
        Cause::TrustDomainMismatch,
        Alert::AccessDenied,
    )
    .await;
}

#[tokio::test]
async fn a_ca_certificate_is_refused_as_a_leaf() {
    let site = Site::new();
    let authority = site.ca.authority_as_leaf();
    check(
        &site,
        Some(&authority),
        Cause::CaUsedAsEndEntity,
        Alert::UnsupportedCertificate,
    )
    .await;
}

#[tokio::test]
async fn somebody_elses_certificate_without_its_key_is_refused() {
    let site = Site::new();
    let owner = site.client("you");
    // The signatures on the certificate are known from here on; who holds its key is asked again.
    let meeting = meet(&site, &Arc::new(config(&site, Some(&owner), TLS13))).await;
    assert!(meeting.server.is_ok());
    drop(meeting);
    site.enforcement.withdraw(|_, _| false).await;
    check(
        &site,
        Some(&owner.with_other_key()),
        Cause::BadSignature,
        Alert::DecryptError,
    )
    .await;
}

#[tokio::test]
async fn the_leaf_of_a_refused_client_is_told_by_its_fingerprint() {
    let site = Site::new();
    let mut identity = site.client("you");
    let fingerprint = Fingerprint::of(&identity.chain[0]);
    for thief in [false, true] {
        if thief {
            identity = identity.with_other_key();
        } else {
            site.clock.set(0);
        }
        let meeting = meet(&site, &Arc::new(config(&site, Some(&identity), TLS13))).await;
        assert_eq!(
            meeting.server.err().expect("refused").fingerprint,
            Some(fingerprint)
        );
        site.clock.set(crate::site::now());
    }
}

#[tokio::test]
async fn where_certificates_are_requested_a_bad_one_is_refused_and_none_is_anonymous() {
    let site = Site::with(|settings| settings.client_certificate = ClientCertificate::Request);
    let expired = site.ca.issue(Leaf::client("old").valid(-7200, -3600));
    check(
        &site,
        Some(&expired),
        Cause::LeafExpired,
        Alert::CertificateExpired,
    )
    .await;
    let you = site.client("you");
    for version in BOTH {
        for (identity, expected) in [(None, None), (Some(&you), Some("cn:you (internal)"))] {
            let meeting = meet(&site, &Arc::new(config(&site, identity, version))).await;
            let session = meeting.server.expect("admitted").session;
            assert_eq!(name_of(session.peer.as_deref()).as_deref(), expected);
        }
    }
}

#[tokio::test]
async fn where_nothing_is_asked_everybody_is_anonymous() {
    let site = Site::with(|settings| {
        settings.client_certificate = ClientCertificate::Off;
        settings.verifier = None;
    });
    let you = site.client("you");
    let meeting = meet(&site, &Arc::new(config(&site, Some(&you), TLS13))).await;
    assert!(meeting.server.expect("admitted").session.peer.is_none());
}

#[tokio::test]
async fn a_listener_without_trust_refuses_every_certificate() {
    for mode in [ClientCertificate::Require, ClientCertificate::Request] {
        let site = Site::with(|settings| {
            settings.client_certificate = mode;
            settings.verifier = None;
        });
        check(
            &site,
            Some(&site.client("you")),
            Cause::TrustBundleEmpty,
            Alert::UnknownCA,
        )
        .await;
    }
}

#[tokio::test]
async fn a_good_client_is_told_by_bundle_and_name() {
    let site = Site::new();
    let identity = site
        .ca
        .issue(Leaf::client("you").uri("spiffe://example.com/you"));
    for version in BOTH {
        let mut config = config(&site, Some(&identity), version);
        config.alpn_protocols = vec![b"http/1.1".to_vec(), b"h2".to_vec()];
        let meeting = meet(&site, &Arc::new(config)).await;
        let session = meeting.server.expect("admitted").session;
        assert_eq!(
            name_of(session.peer.as_deref()).as_deref(),
            Some("spiffe://example.com/you (internal)")
        );
        assert_eq!(
            session.sni.map(|name| name.to_string()).as_deref(),
            Some("localhost")
        );
        assert_eq!(session.alpn.as_deref(), Some(&b"h2"[..]));
        assert_eq!(
            session.protocol,
            if version == TLS13 {
                "TLSv1.3"
            } else {
                "TLSv1.2"
            }
        );
        assert!(!session.resumed && !session.lifeline.is_cut());
    }
}
