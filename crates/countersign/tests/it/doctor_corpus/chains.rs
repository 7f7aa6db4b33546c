//! What is wrong with a path: files alone, judged as the other side would.

use Expect::Root;
use countersign_diagnose::cause::Cause;
use rcgen::{
    BasicConstraints, CustomExtension, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, KeyIdMethod,
    KeyUsagePurpose, NameConstraints,
};

use crate::doctor_corpus::forge::{self, Authority, DAY};
use crate::doctor_corpus::scenario::{Expect, Scenario};
use crate::doctor_corpus::workshop::{VERIFY_CLIENT, VERIFY_SERVER};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "client file without its intermediate",
        source: "https://github.com/psf/requests/issues/4335",
        expect: Root(&[Cause::ChainMissingIntermediate]),
        build: |w| {
            w.join("client.pem", &["client.leaf.pem"]);
            w.client_files()
                .with("--file issuing.pem")
                .shows(VERIFY_CLIENT, "error 20 at 0 depth")
        },
    },
    Scenario {
        name: "server file without its intermediate",
        source: "https://www.fixwikihub.com/articles/fix-nginx-ssl-certificate-chain-incomplete",
        expect: Root(&[Cause::ChainMissingIntermediate]),
        build: |w| {
            w.join("server.pem", &["server.leaf.pem"]);
            w.server_files()
                .with("--file issuing.pem")
                .shows(VERIFY_SERVER, "error 20 at 0 depth")
        },
    },
    Scenario {
        name: "server file with one of two intermediates",
        source: "https://github.com/rancher/rancher/issues/25560",
        expect: Root(&[Cause::ChainMissingIntermediate]),
        build: |w| {
            let upper = w.root.below(forge::authority("Corpus Policy CA"));
            let lower = upper.below(forge::authority("Corpus Web CA"));
            w.server_is(&lower.issue(&forge::server(&["localhost"])), &lower.pem());
            w.write("upper.pem", upper.pem());
            w.server_files()
                .with("--file upper.pem")
                .shows(VERIFY_SERVER, "error 20 at 1 depth")
        },
    },
    Scenario {
        name: "server file starts with the intermediate",
        source: "https://github.com/dehydrated-io/dehydrated/issues/26",
        expect: Root(&[Cause::ChainWrongOrder]),
        build: |w| {
            w.join("server.pem", &["issuing.pem", "server.leaf.pem"]);
            w.server_files()
        },
    },
    Scenario {
        name: "client file starts with the root",
        source: "https://github.com/kubernetes/ingress-nginx/issues/7799",
        expect: Root(&[Cause::ChainWrongOrder]),
        build: |w| {
            w.join(
                "client.pem",
                &["root.pem", "issuing.pem", "client.leaf.pem"],
            );
            w.client_files()
        },
    },
    Scenario {
        name: "intermediate of the client expired",
        source: "https://github.com/keybase/client/issues/24205",
        expect: Root(&[Cause::IntermediateExpired]),
        build: |w| {
            let draft = forge::valid(forge::authority("Corpus Old CA"), -700 * DAY, -3 * DAY);
            let old = w.root.below(draft);
            w.client_is(&old.issue(&forge::client("client")), &old.pem());
            w.client_files().shows(VERIFY_CLIENT, "error 10 at 1 depth")
        },
    },
    Scenario {
        name: "intermediate of the server expired, renewed one not installed",
        source: "https://github.com/diafygi/gethttpsforfree/issues/178",
        expect: Root(&[Cause::IntermediateExpired]),
        build: |w| {
            let draft = forge::authority("Corpus Web CA");
            let current = w.root.below(draft.clone());
            let mut expired = forge::valid(draft, -700 * DAY, -3 * DAY);
            expired.serial_number = Some(countersign_testkit::pki::next_serial());
            let expired = w.root.cross_sign(&current, expired);
            w.server_is(&current.issue(&forge::server(&["localhost"])), &expired);
            w.server_files().shows(VERIFY_SERVER, "error 10 at 1 depth")
        },
    },
    Scenario {
        name: "root in the server's bundle expired (AddTrust)",
        source: "https://github.com/libressl/portable/issues/595",
        expect: Root(&[Cause::RootExpired]),
        build: |w| {
            let draft = forge::valid(forge::authority("Old External Root"), -7000 * DAY, -DAY);
            let old = Authority::root(draft);
            let cross = old.cross_sign(&w.issuing, forge::authority("Corpus Issuing CA"));
            w.client_is(&w.issuing.issue(&forge::client("client")), &cross);
            w.write("root.pem", old.pem());
            w.client_files().shows(VERIFY_CLIENT, "error 10 at 2 depth")
        },
    },
    Scenario {
        name: "root in the client's bundle expired (DST Root X3)",
        source: "https://github.com/curl/curl-www/issues/154",
        expect: Root(&[Cause::RootExpired]),
        build: |w| {
            let name = forge::authority("Corpus Root CA");
            let expired = w.root.again(forge::valid(name, -7000 * DAY, -DAY));
            w.write("root.pem", expired.pem());
            w.server_files().shows(VERIFY_SERVER, "error 10 at 2 depth")
        },
    },
    Scenario {
        name: "leaf issued by a certificate that is no CA",
        source: "https://github.com/openssl/openssl/issues/12132",
        expect: Root(&[Cause::IssuerNotACa]),
        build: |w| {
            let mut draft = forge::authority("Corpus Department");
            draft.is_ca = IsCa::ExplicitNoCa;
            let no_ca = w.root.below(draft);
            w.client_is(&no_ca.issue(&forge::client("client")), &no_ca.pem());
            w.client_files()
                .shows(VERIFY_CLIENT, "invalid CA certificate")
        },
    },
    Scenario {
        name: "server's issuer lacks keyCertSign",
        source: "https://github.com/crocs-muni/usable-cert-validation/issues/64",
        expect: Root(&[Cause::IssuerCannotSign]),
        build: |w| {
            let mut draft = forge::authority("Corpus Signing CA");
            draft.key_usages = vec![KeyUsagePurpose::DigitalSignature];
            let mute = w.root.below(draft);
            w.server_is(&mute.issue(&forge::server(&["localhost"])), &mute.pem());
            w.server_files().shows(VERIFY_SERVER, "error")
        },
    },
    Scenario {
        name: "intermediate is for servers only, leaf for clients",
        source: "https://github.com/NeySlim/ultimate-ca-manager/issues/264",
        expect: Root(&[Cause::IssuerEkuExcludesPurpose]),
        build: |w| {
            let mut draft = forge::authority("Corpus Server CA");
            draft.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            let servers = w.root.below(draft);
            w.client_is(&servers.issue(&forge::client("client")), &servers.pem());
            w.client_files().shows(VERIFY_CLIENT, "purpose")
        },
    },
    Scenario {
        name: "root allows no intermediate (certstrap)",
        source: "https://github.com/square/certstrap/issues/78",
        expect: Root(&[Cause::PathlenExceeded]),
        build: |w| {
            let mut draft = forge::authority("Unit Test Root CA");
            draft.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
            let root = Authority::root(draft);
            let issuing = root.below(forge::authority("Unit Test Intermediate CA"));
            w.server_is(
                &issuing.issue(&forge::server(&["localhost"])),
                &issuing.pem(),
            );
            w.write("root.pem", root.pem());
            w.server_files().shows(VERIFY_SERVER, "error 25")
        },
    },
    Scenario {
        name: "intermediate with pathlen 0 issued another one",
        source: "https://github.com/pyca/pyopenssl/issues/685",
        expect: Root(&[Cause::PathlenExceeded]),
        build: |w| {
            let mut draft = forge::authority("Corpus Last CA");
            draft.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
            let last = w.root.below(draft);
            let beyond = last.below(forge::authority("Corpus Extra CA"));
            let above = format!("{}{}", beyond.pem(), last.pem());
            w.client_is(&beyond.issue(&forge::client("client")), &above);
            w.client_files().shows(VERIFY_CLIENT, "error 25")
        },
    },
    Scenario {
        name: "server's name outside what its CA is permitted",
        source: "https://github.com/debops/debops/pull/728",
        expect: Root(&[Cause::NameConstraintsViolated]),
        build: |w| {
            let mut draft = forge::authority("Corpus Example CA");
            draft.name_constraints = Some(NameConstraints {
                permitted_subtrees: vec![GeneralSubtree::DnsName("example.org".to_owned())],
                excluded_subtrees: vec![],
            });
            let bound = w.root.below(draft);
            w.server_is(&bound.issue(&forge::server(&["localhost"])), &bound.pem());
            w.server_files().shows(VERIFY_SERVER, "error 47")
        },
    },
    Scenario {
        name: "server's name is one that its CA excludes",
        source: "https://github.com/chris2511/xca/issues/239",
        expect: Root(&[Cause::NameConstraintsViolated]),
        build: |w| {
            let mut draft = forge::authority("Corpus Outer CA");
            draft.name_constraints = Some(NameConstraints {
                permitted_subtrees: vec![],
                excluded_subtrees: vec![GeneralSubtree::DnsName("localhost".to_owned())],
            });
            let bound = w.root.below(draft);
            w.server_is(&bound.issue(&forge::server(&["localhost"])), &bound.pem());
            w.server_files().shows(VERIFY_SERVER, "error 48")
        },
    },
    Scenario {
        name: "CA constrained by registered identifiers",
        source: "https://www.rfc-editor.org/rfc/rfc5280#section-4.2.1.10",
        expect: Root(&[Cause::NameConstraintsUnsupported]),
        build: |w| {
            let mut draft = forge::authority("Corpus Registered CA");
            // permittedSubtrees with one registeredID (1.2.3.4), critical.
            let constraint = [
                0x30, 0x09, 0xa0, 0x07, 0x30, 0x05, 0x88, 0x03, 0x2a, 0x03, 0x04,
            ];
            let mut extension =
                CustomExtension::from_oid_content(&[2, 5, 29, 30], constraint.to_vec());
            extension.set_criticality(true);
            draft.custom_extensions = vec![extension];
            let bound = w.root.below(draft);
            let mut leaf = forge::client("client");
            // subjectAltName with registeredID 1.2.3.4.5.
            let name = [0x30, 0x06, 0x88, 0x04, 0x2a, 0x03, 0x04, 0x05];
            leaf.custom_extensions = vec![CustomExtension::from_oid_content(
                &[2, 5, 29, 17],
                name.to_vec(),
            )];
            w.client_is(&bound.issue(&leaf), &bound.pem());
            w.client_files()
                .shows(VERIFY_CLIENT, "unsupported name constraint type")
        },
    },
    Scenario {
        name: "bundle holds a CA of the same name with another key",
        source: "https://github.com/openssl/openssl/issues/16304",
        expect: Root(&[Cause::SameNameDifferentKeyCa]),
        build: |w| {
            let draft = forge::authority("Corpus Root CA");
            w.write("root.pem", Authority::root(draft).pem());
            w.client_files().shows(VERIFY_CLIENT, "error")
        },
    },
    Scenario {
        name: "development and production root of the same name",
        source: "https://github.com/istio/istio/issues/47427",
        expect: Root(&[Cause::SameNameDifferentKeyCa]),
        build: |w| {
            let mut draft = forge::authority("Corpus Root CA");
            draft.key_identifier_method = KeyIdMethod::PreSpecified(vec![7; 20]);
            w.write("root.pem", Authority::root(draft).pem());
            w.server_files().shows(VERIFY_SERVER, "error")
        },
    },
    Scenario {
        name: "leaf quotes a key identifier that its CA no longer has",
        source: "https://github.com/mitmproxy/mitmproxy/pull/8214",
        expect: Root(&[Cause::AkiMismatch]),
        build: |w| {
            let mut renewed = forge::authority("Corpus Root CA");
            renewed.key_identifier_method = KeyIdMethod::PreSpecified(vec![9; 20]);
            let direct = w.root.issue(&forge::client("client"));
            w.client_is(&direct, "");
            w.write("root.pem", w.root.again(renewed).pem());
            w.client_files().shows(VERIFY_CLIENT, "error")
        },
    },
    Scenario {
        name: "leaf quotes the serial of a CA certificate that was reissued",
        source: "https://github.com/OpenVPN/easy-rsa/issues/417",
        expect: Root(&[Cause::AkiMismatch]),
        build: |w| {
            w.write("ca.key", w.root.key_pem());
            w.write(
                "extensions",
                "subjectKeyIdentifier=hash\nauthorityKeyIdentifier=issuer:always\nextendedKeyUsage=serverAuth\nsubjectAltName=DNS:localhost\n",
            );
            w.run("openssl req -new -key server.key -subj /CN=localhost -out server.csr");
            w.run("openssl x509 -req -in server.csr -CA root.pem -CAkey ca.key -set_serial 77 -days 30 -extfile extensions -out server.pem");
            w.write(
                "root.pem",
                w.root.again(forge::authority("Corpus Root CA")).pem(),
            );
            w.server_files().shows(VERIFY_SERVER, "error")
        },
    },
    Scenario {
        name: "CA without keyUsage, strict verifier (Python 3.13)",
        source: "https://github.com/canonical/microk8s/pull/5540",
        expect: Root(&[Cause::CaExtensionsIncomplete]),
        build: |w| {
            let mut draft = forge::authority("Corpus Plain CA");
            draft.key_usages = vec![];
            let plain = Authority::root(draft);
            w.server_is(&plain.issue(&forge::server(&["localhost"])), "");
            w.write("root.pem", plain.pem());
            w.server_files().with("--strict").shows(
                "openssl verify -x509_strict -CAfile root.pem server.pem",
                "error 92 at 1 depth",
            )
        },
    },
    Scenario {
        name: "leaf without authority key identifier, strict verifier",
        source: "https://github.com/python/cpython/issues/138193",
        expect: Root(&[Cause::CaExtensionsIncomplete]),
        build: |w| {
            let mut draft = forge::server(&["localhost"]);
            draft.use_authority_key_identifier_extension = false;
            w.server(&draft);
            w.server_files().with("--strict").shows(
                "openssl verify -x509_strict -CAfile root.pem -untrusted server.pem server.pem",
                "error 85 at 0 depth",
            )
        },
    },
    Scenario {
        name: "client from a CA that the server does not know",
        source: "https://github.com/nghttp2/nghttp2/issues/286",
        expect: Root(&[Cause::ClientCaNotTrusted]),
        build: |w| {
            let other = Authority::root(forge::authority("Partner Root CA"));
            w.write("root.pem", other.pem());
            w.client_files().shows(VERIFY_CLIENT, "error 20")
        },
    },
    Scenario {
        name: "self-signed client certificate",
        source: "https://github.com/apple/swift-nio-ssl/issues/231",
        expect: Root(&[Cause::ClientCaNotTrusted]),
        build: |w| {
            let lone = Authority::root(forge::client("client"));
            w.write("client.pem", lone.pem());
            w.write_key("client.key", lone.key_pem());
            w.client_files().shows(VERIFY_CLIENT, "error 18")
        },
    },
    Scenario {
        name: "server from a private CA, client trusts another one",
        source: "https://github.com/auto-ssl/lua-resty-auto-ssl/issues/159",
        expect: Root(&[Cause::ServerCaNotTrusted]),
        build: |w| {
            let other = Authority::root(forge::authority("Public Web Root"));
            w.write("root.pem", other.pem());
            w.server_files().shows(VERIFY_SERVER, "error 20")
        },
    },
    Scenario {
        name: "server's bundle holds only the intermediate",
        source: "https://stackoverflow.com/questions/8431528/nginx-ssl-certificate-authentication-signed-by-intermediate-ca-chain",
        expect: Root(&[Cause::TrustAnchorIsIntermediate]),
        build: |w| {
            w.join("root.pem", &["issuing.pem"]);
            w.client_files().shows(VERIFY_CLIENT, "error 2 at 1 depth")
        },
    },
    Scenario {
        name: "client's bundle holds only the intermediate",
        source: "https://github.com/haproxy/haproxy/issues/404",
        expect: Root(&[Cause::TrustAnchorIsIntermediate]),
        build: |w| {
            w.join("root.pem", &["issuing.pem"]);
            w.server_files().shows(VERIFY_SERVER, "error 2 at 1 depth")
        },
    },
    Scenario {
        name: "one self-signed CA:TRUE certificate is anchor and server",
        source: "https://github.com/lightningnetwork/lnd/issues/5450",
        expect: Root(&[Cause::CaUsedAsEndEntity]),
        build: |w| {
            let mut draft = forge::authority("localhost");
            draft.subject_alt_names = vec![forge::dns("localhost")];
            draft.key_usages = vec![];
            let both = Authority::root(draft);
            w.write("server.pem", both.pem());
            w.write("root.pem", both.pem());
            w.write_key("server.key", both.key_pem());
            // OpenSSL takes it; rustls and whoever follows RFC 5280 to the letter do not.
            w.server_files().shows(
                "openssl x509 -in server.pem -noout -ext basicConstraints",
                "CA:TRUE",
            )
        },
    },
    Scenario {
        name: "leaf of the new CA generation, bundle of the old",
        source: "https://github.com/linkerd/linkerd2/issues/13613",
        expect: Root(&[
            Cause::CaRotatedWithoutOverlap,
            Cause::SameNameDifferentKeyCa,
        ]),
        build: |w| {
            let draft = forge::authority("Corpus Root CA");
            let new = Authority::root(forge::valid(draft, -2 * DAY, 3600 * DAY));
            w.client_is(&new.issue(&forge::client("client")), "");
            w.write("new-root.pem", new.pem());
            w.client_files()
                .with("--file new-root.pem")
                .shows(VERIFY_CLIENT, "error")
        },
    },
    Scenario {
        name: "leaf of the old CA generation, bundle of the new",
        source: "https://github.com/istio/ztunnel/issues/1679",
        expect: Root(&[Cause::CaRotatedWithoutOverlap]),
        build: |w| {
            let old = Authority::root(forge::authority("Corpus Root G1"));
            let draft = forge::authority("Corpus Root G2");
            let new = Authority::root(forge::valid(draft, -2 * DAY, 3600 * DAY));
            w.server_is(&old.issue(&forge::server(&["localhost"])), "");
            w.write("old-root.pem", old.pem());
            w.write("root.pem", new.pem());
            w.server_files()
                .with("--file old-root.pem")
                .shows(VERIFY_SERVER, "error 20")
        },
    },
    Scenario {
        name: "nginx allows one step less than the chain has",
        source: "https://stackoverflow.com/questions/8431528/nginx-ssl-certificate-authentication-signed-by-intermediate-ca-chain",
        expect: Root(&[Cause::VerifyDepthTooSmall]),
        build: |w| {
            let lower = w.issuing.below(forge::authority("Corpus Team CA"));
            let above = format!("{}{}", lower.pem(), w.issuing.pem());
            w.client_is(&lower.issue(&forge::client("client")), &above);
            w.write(
                "nginx.conf",
                "server {\n  listen 443 ssl;\n  ssl_client_certificate root.pem;\n  ssl_verify_client on;\n  ssl_verify_depth 1;\n}\n",
            );
            w.client_files().with("--file nginx.conf").shows(
                "openssl verify -verify_depth 1 -CAfile root.pem -untrusted client.pem client.pem",
                "error 22",
            )
        },
    },
];
