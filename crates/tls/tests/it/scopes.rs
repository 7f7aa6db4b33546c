//! The scope's id: it changes with everything that decides whom a listener admits, and with nothing else.

use std::sync::Arc;
use std::time::Duration;

use countersign_pki::bundle::TrustBundle;
use countersign_pki::certificate::Certificate;
use countersign_pki::chain::{Limits, Verifier};
use countersign_pki::identity::BundleName;
use countersign_pki::spiffe::TrustDomain;
use countersign_pki::time::UnixTime;
use countersign_testkit::pki::TestCa;
use countersign_tls::scope::{Admits, ClientCertificate, ScopeId, ScopeSettings};

use crate::site::{Site, now, policy};

fn bundle(name: &str, domain: Option<&str>, authorities: &[&TestCa]) -> Arc<TrustBundle> {
    let anchors = authorities
        .iter()
        .map(|ca| Certificate::parse(ca.root.der()).expect("a certificate"))
        .collect();
    let domain = domain.map(|domain| TrustDomain::parse(domain).expect("a trust domain"));
    let name = BundleName::parse(name).expect("a bundle name");
    Arc::new(
        TrustBundle::new(name, domain, anchors, UnixTime::from_seconds(now())).expect("a bundle"),
    )
}

fn verifier(bundles: Vec<Arc<TrustBundle>>, limits: Limits) -> Arc<Verifier> {
    Arc::new(Verifier::new(bundles, limits).expect("a verifier"))
}

#[test]
fn each_input_changes_the_id_and_order_does_not() {
    let (one, two) = (TestCa::new("one"), TestCa::new("two"));
    let usual = Limits::default();
    let base = ScopeSettings {
        verifier: Some(verifier(
            vec![bundle("a", None, &[&one]), bundle("b", None, &[&two])],
            usual,
        )),
        ..Site::new().settings
    };
    let id = ScopeId::of(&base);
    let same = ScopeSettings {
        verifier: Some(verifier(
            vec![bundle("b", None, &[&two]), bundle("a", None, &[&one])],
            usual,
        )),
        session_lifetime: Duration::from_secs(1),
        handshake_timeout: Duration::from_secs(1),
        ..base.clone()
    };
    assert_eq!(ScopeId::of(&same), id);

    let trusting = |bundles| ScopeSettings {
        verifier: Some(verifier(bundles, usual)),
        ..base.clone()
    };
    let others = [
        ScopeSettings {
            listener: "back".to_owned(),
            ..base.clone()
        },
        ScopeSettings {
            client_certificate: ClientCertificate::Request,
            ..base.clone()
        },
        ScopeSettings {
            client_certificate: ClientCertificate::Off,
            verifier: None,
            ..base.clone()
        },
        ScopeSettings {
            policy: policy(&["other.example.com"]),
            ..base.clone()
        },
        ScopeSettings {
            admits: Admits::Connections,
            ..base.clone()
        },
        ScopeSettings {
            alpn: vec![b"h2".to_vec()],
            ..base.clone()
        },
        ScopeSettings {
            alpn: vec![b"http/1.1".to_vec(), b"h2".to_vec()],
            ..base.clone()
        },
        ScopeSettings {
            alpn: vec![b"h2http/1.1".to_vec()],
            ..base.clone()
        },
        trusting(vec![bundle("a", None, &[&one])]),
        trusting(vec![bundle("a", None, &[&two]), bundle("b", None, &[&one])]),
        trusting(vec![bundle("a", None, &[&one, &two])]),
        trusting(vec![
            bundle("a", Some("example.com"), &[&one]),
            bundle("b", None, &[&two]),
        ]),
        ScopeSettings {
            verifier: Some(verifier(
                vec![bundle("a", None, &[&one]), bundle("b", None, &[&two])],
                Limits {
                    certificates: 3,
                    ..usual
                },
            )),
            ..base.clone()
        },
    ];
    let mut ids: Vec<_> = others.iter().map(ScopeId::of).collect();
    ids.push(id);
    for (at, id) in ids.iter().enumerate() {
        assert!(!ids[..at].contains(id), "{at}");
    }
}

#[test]
fn the_order_of_anchors_within_a_bundle_does_not_matter() {
    let (one, two) = (TestCa::new("one"), TestCa::new("two"));
    let base = Site::new().settings;
    let with = |authorities: &[&TestCa]| {
        let verifier = verifier(vec![bundle("a", None, authorities)], Limits::default());
        ScopeId::of(&ScopeSettings {
            verifier: Some(verifier),
            ..base.clone()
        })
    };
    assert_eq!(with(&[&one, &two]), with(&[&two, &one]));
}
