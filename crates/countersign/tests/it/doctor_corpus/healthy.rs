//! Set-ups in which nothing is wrong, each close to one in which something is: no fault may be found. Files alone.

use Expect::Healthy;
use rcgen::{BasicConstraints, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, NameConstraints};

use crate::doctor_corpus::files;
use crate::doctor_corpus::forge::{self, Authority, DAY, HOUR};
use crate::doctor_corpus::judged;
use crate::doctor_corpus::names;
use crate::doctor_corpus::scenario::{Expect, Scenario};
use crate::doctor_corpus::workshop::{VERIFY_CLIENT, VERIFY_SERVER};

const OK: &str = ".pem: OK";

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "client with chain and key",
        source: "https://nginx.org/en/docs/http/ngx_http_ssl_module.html",
        expect: Healthy,
        build: |w| w.client_files().shows(VERIFY_CLIENT, OK),
    },
    Scenario {
        name: "server with chain and key",
        source: "https://nginx.org/en/docs/http/configuring_https_servers.html",
        expect: Healthy,
        build: |w| w.server_files().shows(VERIFY_SERVER, OK),
    },
    Scenario {
        name: "both sides' files at once",
        source: "https://github.com/etcd-io/etcd/issues/9785",
        expect: Healthy,
        build: |w| {
            w.client_files().with(
                "--server-cert server.pem --server-key server.key --ca root.pem --name localhost",
            )
        },
    },
    Scenario {
        name: "root sent along with the chain",
        source: "https://github.com/openssl/openssl/issues/14470",
        expect: Healthy,
        build: |w| {
            w.join(
                "server.pem",
                &["server.leaf.pem", "issuing.pem", "root.pem"],
            );
            w.server_files().shows(VERIFY_SERVER, OK)
        },
    },
    Scenario {
        name: "cross-signed intermediate, new root trusted",
        source: "https://github.com/openssl/openssl/issues/16861",
        expect: Healthy,
        build: |w| {
            let old = Authority::root(forge::authority("Old External Root"));
            let cross = old.cross_sign(&w.root, forge::authority("Corpus Root CA"));
            let above = format!("{}{cross}", w.issuing.pem());
            w.server_is(&w.issuing.issue(&forge::server(&["localhost"])), &above);
            w.server_files().shows(VERIFY_SERVER, OK)
        },
    },
    Scenario {
        name: "chain ends in a cross-sign of an expired root, new root trusted",
        source: "https://github.com/ipxe/ipxe/issues/606",
        expect: Healthy,
        build: |w| {
            let expired = forge::valid(forge::authority("Old External Root"), -7000 * DAY, -DAY);
            let old = Authority::root(expired);
            let cross = old.cross_sign(&w.root, forge::authority("Corpus Root CA"));
            let above = format!("{}{cross}", w.issuing.pem());
            w.server_is(&w.issuing.issue(&forge::server(&["localhost"])), &above);
            w.server_files().shows(VERIFY_SERVER, OK)
        },
    },
    Scenario {
        name: "old and new CA in the bundle",
        source: "https://github.com/istio/istio/issues/47427",
        expect: Healthy,
        build: |w| {
            let new = Authority::root(forge::authority("Corpus Root CA"));
            w.client_is(&new.issue(&forge::client("client")), "");
            w.write("root.pem", format!("{}{}", w.root.pem(), new.pem()));
            w.client_files().shows(VERIFY_CLIENT, OK)
        },
    },
    Scenario {
        name: "expired CA in the bundle beside the good one",
        source: "https://github.com/nodejs/node/issues/40352",
        expect: Healthy,
        build: |w| {
            let expired = forge::valid(forge::authority("Old External Root"), -7000 * DAY, -DAY);
            let old = Authority::root(expired);
            w.write("root.pem", format!("{}{}", old.pem(), w.root.pem()));
            w.client_files().shows(VERIFY_CLIENT, OK)
        },
    },
    Scenario {
        name: "root and intermediate in the bundle, leaf alone sent",
        source: "https://github.com/haproxy/haproxy/issues/404",
        expect: Healthy,
        build: |w| {
            w.join("client.pem", &["client.leaf.pem"]);
            w.write("root.pem", format!("{}{}", w.root.pem(), w.issuing.pem()));
            w.client_files().shows(VERIFY_CLIENT, OK)
        },
    },
    Scenario {
        name: "leaf straight from the root",
        source: "https://github.com/square/certstrap/issues/78",
        expect: Healthy,
        build: |w| {
            w.client_is(&w.root.issue(&forge::client("client")), "");
            w.client_files().shows(VERIFY_CLIENT, OK)
        },
    },
    Scenario {
        name: "pathlen that is just enough",
        source: "https://github.com/square/certstrap/pull/135",
        expect: Healthy,
        build: |w| {
            let mut draft = forge::authority("Corpus Last CA");
            draft.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
            let last = w.root.below(draft);
            w.client_is(&last.issue(&forge::client("client")), &last.pem());
            w.client_files().shows(VERIFY_CLIENT, OK)
        },
    },
    Scenario {
        name: "name inside what the CA is permitted",
        source: "https://github.com/hashicorp/vault/issues/4863",
        expect: Healthy,
        build: |w| {
            let mut draft = forge::authority("Corpus Example CA");
            draft.name_constraints = Some(NameConstraints {
                permitted_subtrees: vec![GeneralSubtree::DnsName("example.org".to_owned())],
                excluded_subtrees: vec![],
            });
            let bound = w.root.below(draft);
            w.server_is(
                &bound.issue(&forge::server(&["www.example.org"])),
                &bound.pem(),
            );
            w.server_files().instead("--name", "www.example.org")
        },
    },
    Scenario {
        name: "CA without keyUsage, verifier not strict",
        source: "https://github.com/openssl/openssl/issues/28391",
        expect: Healthy,
        build: |w| {
            let mut draft = forge::authority("Corpus Plain CA");
            draft.key_usages = vec![];
            let plain = Authority::root(draft);
            w.server_is(&plain.issue(&forge::server(&["localhost"])), "");
            w.write("root.pem", plain.pem());
            w.server_files().shows(VERIFY_SERVER, OK)
        },
    },
    Scenario {
        name: "strict verifier, all extensions there",
        source: "https://github.com/python-trio/trustme/pull/642",
        expect: Healthy,
        build: |w| {
            w.server_files().with("--strict").shows(
                "openssl verify -x509_strict -CAfile root.pem -untrusted server.pem server.pem",
                OK,
            )
        },
    },
    Scenario {
        name: "wildcard that fits",
        source: "https://github.com/icing/mod_h2/issues/34",
        expect: Healthy,
        build: |w| {
            w.server(&forge::server(&["*.example.com"]));
            w.server_files().instead("--name", "api.example.com")
        },
    },
    Scenario {
        name: "name in other capitals",
        source: "https://www.rfc-editor.org/rfc/rfc6125#section-6.4.1",
        expect: Healthy,
        build: |w| {
            w.server(&forge::server(&["api.example.com"]));
            w.server_files().instead("--name", "API.Example.COM")
        },
    },
    Scenario {
        name: "address in an iPAddress SAN",
        source: "https://github.com/rancher-archives/rke/issues/688",
        expect: Healthy,
        build: |w| {
            let address = std::net::Ipv4Addr::new(10, 0, 0, 7).into();
            w.server(&names::at_address(forge::server(&[]), address));
            w.server_files().instead("--name", "10.0.0.7")
        },
    },
    Scenario {
        name: "IPv6 address in an iPAddress SAN",
        source: "https://github.com/voxpupuli/puppet-k8s/pull/132",
        expect: Healthy,
        build: |w| {
            let address = "2001:db8::7".parse().expect("an address");
            w.server(&names::at_address(forge::server(&[]), address));
            w.server_files().instead("--name", "2001:db8::7")
        },
    },
    Scenario {
        name: "one certificate for both uses",
        source: "https://github.com/etcd-io/etcd/issues/9785",
        expect: Healthy,
        build: |w| {
            let mut draft = forge::client("peer");
            draft
                .extended_key_usages
                .push(ExtendedKeyUsagePurpose::ServerAuth);
            w.client(&draft);
            w.client_files().shows(VERIFY_CLIENT, OK)
        },
    },
    Scenario {
        name: "no extended key usage at all",
        source: "https://www.rfc-editor.org/rfc/rfc5280#section-4.2.1.12",
        expect: Healthy,
        build: |w| {
            let mut draft = forge::client("client");
            draft.extended_key_usages = vec![];
            w.client(&draft);
            w.client_files().shows(VERIFY_CLIENT, OK)
        },
    },
    Scenario {
        name: "client certificate that ends in an hour",
        source: "https://smallstep.com/docs/step-ca/renewal/",
        expect: Healthy,
        build: |w| {
            w.client(&forge::valid(forge::client("client"), -23 * HOUR, HOUR));
            w.client_files().shows(VERIFY_CLIENT, OK)
        },
    },
    Scenario {
        name: "EC PARAMETERS before the key",
        source: "https://github.com/haproxy/haproxy/issues/483",
        expect: Healthy,
        build: |w| {
            w.run("openssl ecparam -name prime256v1 -genkey -out server.key");
            names::by_openssl(
                w,
                "server",
                "extendedKeyUsage=serverAuth\nsubjectAltName=DNS:localhost",
                "-sha256 -set_serial 81",
            );
            w.server_files()
                .shows("grep BEGIN server.key", "BEGIN EC PARAMETERS")
        },
    },
    Scenario {
        name: "RSA key in PKCS#1",
        source: "https://github.com/openssl/openssl/issues/20972",
        expect: Healthy,
        build: |w| {
            w.run("openssl genrsa -traditional -out client.key 2048");
            names::by_openssl(
                w,
                "client",
                "extendedKeyUsage=clientAuth",
                "-sha256 -set_serial 82",
            );
            w.client_files()
                .shows("grep BEGIN client.key", "BEGIN RSA PRIVATE KEY")
        },
    },
    Scenario {
        name: "encrypted key, passphrase at hand",
        source: "https://nginx.org/en/docs/http/ngx_http_ssl_module.html#ssl_password_file",
        expect: Healthy,
        build: |w| {
            files::encrypt(w, "client", "");
            w.client_files().with("--password-file password")
        },
    },
    Scenario {
        name: "modern PKCS#12, password at hand",
        source: "https://github.com/openssl/openssl/issues/14790",
        expect: Healthy,
        build: |w| {
            files::pkcs12(w, "");
            w.ask()
                .with("--cert client.p12 --client-ca root.pem --password-file password")
                .shows(
                    "openssl pkcs12 -in client.p12 -noout -info -passin file:password",
                    "AES-256-CBC",
                )
        },
    },
    Scenario {
        name: "certificate and key in one file",
        source: "https://github.com/haproxy/haproxy/issues/483",
        expect: Healthy,
        build: |w| {
            w.join("both.pem", &["client.pem", "client.key"]);
            w.mode("both.pem", 0o600);
            w.ask()
                .with("--cert both.pem --key both.pem --client-ca root.pem")
        },
    },
    Scenario {
        name: "key that its group can read",
        source: "https://github.com/pgjdbc/pgjdbc/pull/3952",
        expect: Healthy,
        build: |w| {
            w.mode("server.key", 0o640);
            w.server_files()
        },
    },
    Scenario {
        name: "lines end in CR LF",
        source: "https://github.com/rh-ecosystem-edge/enclave/pull/757",
        expect: Healthy,
        build: |w| {
            for name in ["client.pem", "root.pem"] {
                w.write(name, w.read(name).replace('\n', "\r\n"));
            }
            w.client_files().shows(VERIFY_CLIENT, OK)
        },
    },
    Scenario {
        name: "text and UTF-8 comments around the blocks",
        source: "https://github.com/certbot/certbot/issues/6321",
        expect: Healthy,
        build: |w| {
            let chain = format!(
                "subject=/CN=client\nBüro für Schlüssel\n{}",
                w.read("client.pem")
            );
            w.write("client.pem", chain);
            let root = format!("# Größte Würzburger Stelle\n\n{}\n\n", w.root.pem());
            w.write("root.pem", root);
            w.client_files().shows(VERIFY_CLIENT, OK)
        },
    },
    Scenario {
        name: "no newline at the end of the file",
        source: "https://github.com/pomerium/pomerium/pull/5645",
        expect: Healthy,
        build: |w| {
            for name in ["client.pem", "root.pem"] {
                w.write(name, w.read(name).trim_end());
            }
            w.client_files().shows(VERIFY_CLIENT, OK)
        },
    },
    Scenario {
        name: "fresh lists of both CAs, client not on them",
        source: "https://github.com/haproxy/haproxy/issues/1201",
        expect: Healthy,
        build: |w| {
            judged::lists(w, &[&forge::client("somebody else")], -HOUR, 30 * DAY);
            w.client_files().with("--crl lists.pem").shows(
                "openssl verify -crl_check_all -CAfile root.pem -CRLfile lists.pem -untrusted client.pem client.pem",
                OK,
            )
        },
    },
    Scenario {
        name: "rule names the client's common name",
        source: "https://github.com/symfony/symfony/issues/31406",
        expect: Healthy,
        build: |w| w.client_files().with("--allow cn:client"),
    },
    Scenario {
        name: "rule names the client's SPIFFE ID",
        source: "https://github.com/hashicorp/consul/issues/9836",
        expect: Healthy,
        build: |w| {
            let mut draft = forge::client("workload");
            draft.subject_alt_names = vec![forge::uri("spiffe://example.org/web")];
            w.client(&draft);
            w.client_files().with("--allow spiffe://example.org/web")
        },
    },
    Scenario {
        name: "one of two rules names the client's DN",
        source: "https://github.com/nats-io/nats-server/pull/1732",
        expect: Healthy,
        build: |w| {
            w.client(&judged::with_long_name());
            w.client_files()
                .with("--allow cn:somebody --allow")
                .with_one("dn:CN=node-1,OU=Orders,O=Example,C=DE")
        },
    },
    Scenario {
        name: "bundle that holds the same CA twice",
        source: "https://github.com/amazonlinux/amazon-linux-2023/issues/471",
        expect: Healthy,
        build: |w| {
            w.write("root.pem", w.root.pem().repeat(2));
            w.client_files().shows(VERIFY_CLIENT, OK)
        },
    },
    Scenario {
        name: "expired and renewed intermediate in one chain",
        source: "https://github.com/diafygi/gethttpsforfree/issues/178",
        expect: Healthy,
        build: |w| {
            let draft = forge::authority("Corpus Issuing CA");
            let expired = forge::valid(draft, -700 * DAY, -3 * DAY);
            let above = format!(
                "{}{}",
                w.root.cross_sign(&w.issuing, expired),
                w.issuing.pem()
            );
            w.client_is(&w.issuing.issue(&forge::client("client")), &above);
            w.client_files().shows(VERIFY_CLIENT, OK)
        },
    },
    Scenario {
        name: "root that signed itself with SHA-1",
        source: "https://github.com/briansmith/webpki/issues/62",
        expect: Healthy,
        build: |w| {
            w.run("openssl genrsa -out ca.key 2048");
            w.run("openssl req -x509 -new -sha1 -key ca.key -subj /CN=Corpus_Old_Root -days 900 -out root.pem");
            w.write("extensions", "extendedKeyUsage=clientAuth\n");
            w.run("openssl req -new -key client.key -subj /CN=client -out client.csr");
            w.run("openssl x509 -req -sha256 -in client.csr -CA root.pem -CAkey ca.key -set_serial 84 -days 90 -extfile extensions -out client.pem");
            w.client_files().shows(
                "openssl verify -auth_level 2 -CAfile root.pem client.pem",
                OK,
            )
        },
    },
    Scenario {
        name: "blocks without line breaks",
        source: "https://github.com/johncrisostomo/get-ssl-certificate/pull/16",
        expect: Healthy,
        build: |w| {
            let leaf = w.root.issue(&forge::client("client"));
            let base64: String = leaf
                .certificate
                .lines()
                .filter(|line| !line.contains("---"))
                .collect();
            w.client_is(&leaf, "");
            w.write(
                "client.pem",
                format!("-----BEGIN CERTIFICATE-----\n{base64}\n-----END CERTIFICATE-----\n"),
            );
            w.client_files().shows(VERIFY_CLIENT, OK)
        },
    },
    Scenario {
        name: "Java keystore as the client's certificate and key",
        source: "https://github.com/jetty/jetty.project/issues/918",
        expect: Healthy,
        build: |w| {
            files::pkcs12(w, "");
            w.run("keytool -importkeystore -srckeystore client.p12 -srcstoretype PKCS12 -srcstorepass hunter22 -destkeystore client.jks -deststoretype JKS -deststorepass hunter22 -noprompt -J-XX:TieredStopAtLevel=1");
            w.mode("client.jks", 0o600);
            w.ask()
                .with("--cert client.jks --client-ca root.pem --password-file password")
        },
    },
    Scenario {
        name: "Java truststore with the server's CA",
        source: "https://stackoverflow.com/questions/6784463/error-trustanchors-parameter-must-be-non-empty",
        expect: Healthy,
        build: |w| {
            w.write("password", "hunter22\n");
            w.run("keytool -importcert -noprompt -alias ca -file root.pem -keystore trust.p12 -storetype PKCS12 -storepass hunter22 -J-XX:TieredStopAtLevel=1");
            w.ask().with(
                "--ca trust.p12 --server-cert server.pem --name localhost --password-file password",
            )
        },
    },
    Scenario {
        name: "Java truststore with the server's own certificate",
        source: "https://stackoverflow.com/questions/2893819/accept-servers-self-signed-ssl-certificate-in-java-client",
        expect: Healthy,
        build: |w| {
            w.write("password", "hunter22\n");
            w.run("keytool -importcert -noprompt -alias server -file server.pem -keystore trust.jks -storetype JKS -storepass hunter22 -J-XX:TieredStopAtLevel=1");
            w.ask().with(
                "--ca trust.jks --server-cert server.pem --name localhost --password-file password",
            )
        },
    },
    Scenario {
        name: "Apache allows as many steps as the chain has",
        source: "https://httpd.apache.org/docs/2.4/mod/mod_ssl.html#sslverifydepth",
        expect: Healthy,
        build: |w| {
            w.write(
                "site.conf",
                "<VirtualHost *:443>\nSSLEngine on\nSSLCACertificateFile root.pem\nSSLVerifyClient require\nSSLVerifyDepth 2\n</VirtualHost>\n",
            );
            w.client_files().with("--file site.conf")
        },
    },
    Scenario {
        name: "rule names a DN with a comma in it",
        source: "https://www.rfc-editor.org/rfc/rfc4514#section-2.4",
        expect: Healthy,
        build: |w| {
            let mut draft = forge::client("node-1");
            let mut name = rcgen::DistinguishedName::new();
            name.push(rcgen::DnType::OrganizationName, "Example, Inc.");
            name.push(rcgen::DnType::CommonName, "node-1");
            draft.distinguished_name = name;
            w.client(&draft);
            w.client_files()
                .with("--allow")
                .with_one("CN=node-1,O=Example\\, Inc.")
        },
    },
    Scenario {
        name: "nginx allows as many steps as the chain has",
        source: "https://serverfault.com/questions/758964/client-ssl-certificate-verify-error-27certificate-not-trusted",
        expect: Healthy,
        build: |w| {
            w.write(
                "nginx.conf",
                "server {\n  listen 443 ssl;\n  ssl_client_certificate root.pem;\n  ssl_verify_client on;\n  ssl_verify_depth 2;\n}\n",
            );
            w.client_files().with("--file nginx.conf")
        },
    },
];
