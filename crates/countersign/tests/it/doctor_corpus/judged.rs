//! Revocation lists, and what a policy says of an identity: files alone.

use Expect::Root;
use countersign_diagnose::cause::Cause;
use rcgen::{CertificateParams, DistinguishedName, DnType};
use rustls_pki_types::CertificateRevocationListDer;
use rustls_pki_types::pem::PemObject;

use crate::doctor_corpus::forge::{self, Authority, DAY, HOUR};
use crate::doctor_corpus::scenario::{Expect, Scenario};
use crate::doctor_corpus::workshop::{Invocation, Workshop};

/// What nginx, `HAProxy` and Apache do with the client once a list is configured.
const CHECK_LISTS: &str = "openssl verify -crl_check_all -CAfile root.pem -CRLfile lists.pem -untrusted client.pem client.pem";

/// `lists.pem`, made of the root's list and the issuing CA's.
pub(super) fn lists(workshop: &Workshop, revoked: &[&CertificateParams], from_s: i64, to_s: i64) {
    let root = workshop.root.list(&[], -HOUR, 30 * DAY);
    let issuing = workshop.issuing.list(revoked, from_s, to_s);
    workshop.write("lists.pem", format!("{issuing}{root}"));
}

fn with_lists(workshop: &Workshop) -> Invocation {
    workshop.client_files().with("--crl lists.pem")
}

fn spiffe(ids: &[&str]) -> CertificateParams {
    let mut draft = forge::client("workload");
    draft.subject_alt_names = ids.iter().map(|id| forge::uri(id)).collect();
    draft
}

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "client certificate on the issuing CA's list",
        source: "https://github.com/nginx-proxy/nginx-proxy/issues/278",
        expect: Root(&[Cause::CertificateRevoked]),
        build: |w| {
            let draft = forge::client("client");
            w.client(&draft);
            lists(w, &[&draft], -HOUR, 30 * DAY);
            with_lists(w).shows(CHECK_LISTS, "error 23 at 0 depth")
        },
    },
    Scenario {
        name: "intermediate on the root's list",
        source: "https://github.com/openssl/openssl/issues/16304",
        expect: Root(&[Cause::CertificateRevoked]),
        build: |w| {
            let draft = forge::authority("Corpus Compromised CA");
            let gone = w.root.below(draft.clone());
            w.client_is(&gone.issue(&forge::client("client")), &gone.pem());
            let lists = format!(
                "{}{}",
                gone.list(&[], -HOUR, 30 * DAY),
                w.root.list(&[&draft], -HOUR, 30 * DAY)
            );
            w.write("lists.pem", lists);
            with_lists(w).shows(CHECK_LISTS, "error 23 at 1 depth")
        },
    },
    Scenario {
        name: "list past its next update (OpenVPN)",
        source: "https://github.com/Nyr/openvpn-install/issues/352",
        expect: Root(&[Cause::CrlExpired]),
        build: |w| {
            lists(w, &[], -31 * DAY, -DAY);
            with_lists(w).shows(CHECK_LISTS, "error 12 at 0 depth")
        },
    },
    Scenario {
        name: "no list of the root, all of the chain checked (nginx)",
        source: "https://github.com/nginx/nginx.org/pull/188",
        expect: Root(&[Cause::CrlMissing]),
        build: |w| {
            w.write("lists.pem", w.issuing.list(&[], -HOUR, 30 * DAY));
            with_lists(w).shows(CHECK_LISTS, "error 3 at 1 depth")
        },
    },
    Scenario {
        name: "no list of the intermediate",
        source: "https://github.com/Tongsuo-Project/Tongsuo/issues/613",
        expect: Root(&[Cause::CrlMissing]),
        build: |w| {
            w.write("lists.pem", w.root.list(&[], -HOUR, 30 * DAY));
            with_lists(w).shows(CHECK_LISTS, "error 3 at 0 depth")
        },
    },
    Scenario {
        name: "list of another CA",
        source: "https://github.com/emqx/emqx/issues/16151",
        expect: Root(&[Cause::CrlWrongIssuer]),
        build: |w| {
            let other = Authority::root(forge::authority("Partner Root CA"));
            w.write("lists.pem", other.list(&[], -HOUR, 30 * DAY));
            with_lists(w).shows(CHECK_LISTS, "error 3 at 0 depth")
        },
    },
    Scenario {
        name: "list of a CA of the same name with another key",
        source: "https://github.com/7ritn/VaulTLS/issues/166",
        expect: Root(&[Cause::CrlWrongIssuer, Cause::CrlBadSignature]),
        build: |w| {
            let twin = w.root.below(forge::authority("Corpus Issuing CA"));
            let lists = format!(
                "{}{}",
                twin.list(&[], -HOUR, 30 * DAY),
                w.root.list(&[], -HOUR, 30 * DAY)
            );
            w.write("lists.pem", lists);
            with_lists(w).shows(CHECK_LISTS, "error")
        },
    },
    Scenario {
        name: "list with a byte altered",
        source: "https://github.com/7ritn/VaulTLS/issues/166",
        expect: Root(&[Cause::CrlBadSignature]),
        build: |w| {
            let list = w.issuing.list(&[], -HOUR, 30 * DAY);
            let list = CertificateRevocationListDer::from_pem_slice(list.as_bytes());
            let mut der = list.expect("a list in PEM").to_vec();
            let last = der.last_mut().expect("a list has bytes");
            *last ^= 1;
            let spoilt = countersign_testkit::pki::pem("X509 CRL", &der);
            let root = w.root.list(&[], -HOUR, 30 * DAY);
            w.write("lists.pem", format!("{spoilt}{root}"));
            with_lists(w).shows(CHECK_LISTS, "error 8 at 0 depth")
        },
    },
    Scenario {
        name: "list that begins tomorrow",
        source: "https://github.com/NethServer/dev/issues/5271",
        expect: Root(&[Cause::CrlUnprocessed]),
        build: |w| {
            lists(w, &[], DAY, 30 * DAY);
            with_lists(w).shows(CHECK_LISTS, "error 11 at 0 depth")
        },
    },
    Scenario {
        name: "rule names another client",
        source: "https://github.com/nats-io/nats-server/issues/1600",
        expect: Root(&[Cause::IdentityNotAllowed]),
        build: |w| w.client_files().with("--allow cn:billing"),
    },
    Scenario {
        name: "rule names another workload of the same trust domain",
        source: "https://github.com/hashicorp/consul/issues/9836",
        expect: Root(&[Cause::IdentityNotAllowed]),
        build: |w| {
            w.client(&spiffe(&["spiffe://example.org/ns/default/sa/uuid-api"]));
            w.client_files()
                .with("--allow spiffe://example.org/ns/default/sa/backend1")
        },
    },
    Scenario {
        name: "rule names the workload in another trust domain",
        source: "https://github.com/vurhanau/csharp-spiffe/issues/195",
        expect: Root(&[Cause::TrustDomainMismatch]),
        build: |w| {
            w.client(&spiffe(&["spiffe://example2.org/ns/default/sa/api"]));
            w.client_files()
                .with("--allow spiffe://example.org/ns/default/sa/api")
        },
    },
    Scenario {
        name: "trust domain of the cluster left at its default",
        source: "https://github.com/spiffe/helm-charts/issues/192",
        expect: Root(&[Cause::TrustDomainMismatch]),
        build: |w| {
            w.client(&spiffe(&["spiffe://cluster.local/ns/pay/sa/orders"]));
            w.client_files()
                .with("--allow spiffe://prod.example.com/ns/pay/sa/orders")
        },
    },
    Scenario {
        name: "two SPIFFE IDs in one certificate",
        source: "https://github.com/spiffe/go-spiffe/issues/201",
        expect: Root(&[Cause::IdentityAmbiguous]),
        build: |w| {
            w.client(&spiffe(&[
                "spiffe://example.org/web",
                "spiffe://example.org/admin",
            ]));
            w.client_files().with("--allow spiffe://example.org/web")
        },
    },
    Scenario {
        name: "rule writes the DN in the order of RFC 2253",
        source: "https://github.com/opensearch-project/security/issues/2159",
        expect: Root(&[Cause::DnFormatMismatch]),
        build: |w| {
            w.client(&with_long_name());
            w.client_files()
                .with("--allow")
                .with_one("O=Example,C=DE,CN=node-1,OU=Orders")
        },
    },
    Scenario {
        name: "rule writes the DN the other way round",
        source: "https://github.com/kjur/jsrsasign/issues/428",
        expect: Root(&[Cause::DnFormatMismatch]),
        build: |w| {
            w.client(&with_long_name());
            w.client_files()
                .with("--allow")
                .with_one("dn:C=DE,O=Example,OU=Orders,CN=node-1")
        },
    },
];

/// `C=DE, O=Example, OU=Orders, CN=node-1`, in this order.
pub(super) fn with_long_name() -> CertificateParams {
    let mut draft = forge::client("node-1");
    let mut name = DistinguishedName::new();
    name.push(DnType::CountryName, "DE");
    name.push(DnType::OrganizationName, "Example");
    name.push(DnType::OrganizationalUnitName, "Orders");
    name.push(DnType::CommonName, "node-1");
    draft.distinguished_name = name;
    draft
}
