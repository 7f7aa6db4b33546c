//! Names that a verification asks for.

use countersign_pki::chain::{ChainFaultKind as Fault, ExpectedName, NameFault, Purpose};

use super::{Pki, Scene, pki, text};
use crate::chain::forge::{dns, email, ip, leaf, uri};

fn check(scene: Scene, name: &'static str, expected: &str, fault: NameFault) {
    scene.named(&[name]).refused(&Fault::NameMismatch {
        expected: text(expected),
        fault,
    });
}

#[test]
fn a_server_is_known_by_the_hosts_and_addresses_of_its_alt_names() {
    let Pki { root, .. } = pki();
    let names = [
        dns("api.example.com"),
        dns("*.apps.example.com"),
        ip(&[10, 0, 0, 1]),
        uri("spiffe://example.com/api"),
    ];
    let api = leaf("cn.example.com", &names).signed_by(&root);
    let scene = || Scene::new(&[&api], &[&root]).serving();
    for good in [
        "api.example.com",
        "API.example.com.",
        "dns:api.example.com",
        "shop.apps.example.com",
        "10.0.0.1",
        "ip:10.0.0.1",
    ] {
        scene().named(&[good]).accepted();
    }
    scene().named(&["api.example.com", "10.0.0.1"]).accepted();

    for (name, fault) in [
        ("example.com", NameFault::Other),
        ("cn.example.com", NameFault::Other),
        ("xapi.example.com", NameFault::Other),
        ("a.b.apps.example.com", NameFault::Wildcard),
        ("apps.example.com", NameFault::Wildcard),
        ("10.0.0.2", NameFault::IpSanMissing),
        ("::1", NameFault::IpSanMissing),
    ] {
        check(scene(), name, name, fault);
    }
    scene()
        .named(&["api.example.com", "other.example.com"])
        .refused(&Fault::NameMismatch {
            expected: text("other.example.com"),
            fault: NameFault::Other,
        });
}

#[test]
fn a_servers_common_name_is_no_name() {
    let Pki { root, .. } = pki();
    let api = leaf("api.example.com", &[]).signed_by(&root);
    let scene = || Scene::new(&[&api], &[&root]).serving();
    scene().accepted();
    for name in ["api.example.com", "10.0.0.1"] {
        check(scene(), name, name, NameFault::SanMissing);
    }
}

#[test]
fn a_client_is_known_by_names_of_every_kind() {
    let Pki { root, .. } = pki();
    let api = leaf(
        "order service",
        &[email("order@example.com"), dns("order.example.com")],
    );
    let api = api.signed_by(&root);
    let scene = || Scene::new(&[&api], &[&root]);
    for good in [
        "order service",
        "cn:order service",
        "CN=order service",
        "order@example.com",
        "email:order@EXAMPLE.com",
        "order.example.com",
    ] {
        scene().named(&[good]).accepted();
    }
    for (name, bare) in [
        ("order", "order"),
        ("dns:order", "order"),
        (
            "email:order.service@example.com",
            "order.service@example.com",
        ),
        ("uri:urn:order", "urn:order"),
    ] {
        check(scene(), name, bare, NameFault::Other);
    }
}

#[test]
fn a_spiffe_id_counts_under_its_own_trust_domain_only() {
    let Pki { root, .. } = pki();
    let id = "spiffe://example.com/api";
    let api = leaf("", &[uri(id)]).signed_by(&root);
    let scene = || Scene::new(&[&api], &[&root]);
    scene().within("example.com").named(&[id]).accepted();
    check(scene(), id, id, NameFault::Other);
    let other = "spiffe://example.com/web";
    check(
        scene().within("example.com"),
        other,
        other,
        NameFault::Other,
    );
    scene()
        .within("example.net")
        .named(&["spiffe://example.net/api"])
        .refused(&Fault::TrustDomainMismatch {
            id: text(id),
            bundle: "trust".parse().expect("a name"),
            expected: Some(text("example.net")),
        });
}

#[test]
fn what_names_nobody_is_refused_before_anything_is_verified() {
    for (name, purpose) in [
        ("*.example.com", Purpose::ServerAuth),
        ("dns:*.example.com", Purpose::ServerAuth),
        ("dns:*.example.com", Purpose::ClientAuth),
        ("cn:api", Purpose::ServerAuth),
        ("CN=api", Purpose::ServerAuth),
        ("dn:CN=api", Purpose::ServerAuth),
        ("a b", Purpose::ServerAuth),
        ("", Purpose::ServerAuth),
        ("", Purpose::ClientAuth),
        (" ", Purpose::ClientAuth),
        ("api\0", Purpose::ClientAuth),
    ] {
        assert!(ExpectedName::parse(name, purpose).is_err(), "{name:?}");
    }
}
