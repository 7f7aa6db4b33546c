//! Servers that run and are not what the client expects.

use Expect::Root;
use countersign_diagnose::cause::Cause;

use crate::doctor_corpus::forge::{self, Authority, DAY};
use crate::doctor_corpus::live_client::PLAIN_NGINX;
use crate::doctor_corpus::names;
use crate::doctor_corpus::scenario::{Expect, Scenario};

const CURL_WITHOUT: &str = "curl -sS --max-time 3 --cacert root.pem https://TARGET/";

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "nginx sends its leaf alone",
        source: "https://github.com/rancher/rancher/issues/25560",
        expect: Root(&[Cause::ChainMissingIntermediate]),
        build: |w| {
            w.join("server.pem", &["server.leaf.pem"]);
            let address = w.mutual_nginx("");
            w.connect(address)
                .with("--file issuing.pem")
                .shows(CURL_WITHOUT, "unable to get local issuer certificate")
        },
    },
    Scenario {
        name: "openssl sends its leaf alone",
        source: "https://www.fixwikihub.com/articles/fix-nginx-ssl-certificate-chain-incomplete",
        expect: Root(&[Cause::ChainMissingIntermediate]),
        build: |w| {
            let address = w.s_server("-cert server.leaf.pem -key server.key");
            w.connect_bare(address)
                .with("--file issuing.pem")
                .shows(CURL_WITHOUT, "unable to get local issuer certificate")
        },
    },
    Scenario {
        name: "server is of a CA that the client does not trust",
        source: "https://github.com/kshcherban/acme-nginx/issues/55",
        expect: Root(&[Cause::ServerCaNotTrusted]),
        build: |w| {
            let address = w.mutual_nginx("");
            let other = Authority::root(forge::authority("Public Web Root"));
            w.write("root.pem", other.pem());
            w.connect(address)
                .shows(CURL_WITHOUT, "SSL certificate problem")
        },
    },
    Scenario {
        name: "self-signed server",
        source: "https://github.com/openssl/openssl/issues/5973",
        expect: Root(&[Cause::ServerCaNotTrusted]),
        build: |w| {
            let lone = Authority::root(forge::server(&["localhost"]));
            w.write("server.leaf.pem", lone.pem());
            w.write_key("server.key", lone.key_pem());
            let address = w.s_server("-cert server.leaf.pem -key server.key");
            w.connect_bare(address)
                .shows(CURL_WITHOUT, "self-signed certificate")
        },
    },
    Scenario {
        name: "nginx serves an expired certificate",
        source: "https://github.com/linkerd/linkerd2/issues/13613",
        expect: Root(&[Cause::LeafExpired]),
        build: |w| {
            w.server(&forge::valid(
                forge::server(&["localhost"]),
                -91 * DAY,
                -DAY,
            ));
            let address = w.mutual_nginx("");
            w.connect(address)
                .shows(CURL_WITHOUT, "certificate has expired")
        },
    },
    Scenario {
        name: "openssl serves a certificate that begins tomorrow",
        source: "https://github.com/kubernetes-retired/cluster-api-bootstrap-provider-kubeadm/issues/158",
        expect: Root(&[Cause::NotYetValid]),
        build: |w| {
            w.server(&forge::valid(forge::server(&["localhost"]), DAY, 90 * DAY));
            let address = w.mutual_s_server("");
            w.connect(address)
                .shows(CURL_WITHOUT, "certificate is not yet valid")
        },
    },
    Scenario {
        name: "server sends an expired intermediate",
        source: "https://github.com/keybase/client/issues/24205",
        expect: Root(&[Cause::IntermediateExpired]),
        build: |w| {
            let draft = forge::valid(forge::authority("Corpus Old CA"), -700 * DAY, -3 * DAY);
            let old = w.root.below(draft);
            w.server_is(&old.issue(&forge::server(&["localhost"])), &old.pem());
            let address = w.mutual_nginx("");
            w.connect(address)
                .shows(CURL_WITHOUT, "certificate has expired")
        },
    },
    Scenario {
        name: "client's root expired, server fine",
        source: "https://github.com/nextcloud/desktop/issues/2049",
        expect: Root(&[Cause::RootExpired]),
        build: |w| {
            let address = w.mutual_nginx("");
            let name = forge::authority("Corpus Root CA");
            let expired = w.root.again(forge::valid(name, -7000 * DAY, -DAY));
            w.write("root.pem", expired.pem());
            w.connect(address)
                .shows(CURL_WITHOUT, "certificate has expired")
        },
    },
    Scenario {
        name: "this machine's clock is two years ahead",
        source: "https://github.com/deckhouse/deckhouse/pull/12232",
        expect: Root(&[Cause::ClockSkewLocal]),
        build: |w| {
            let address = w.mutual_nginx("");
            w.connect(address).at("+2y")
        },
    },
    Scenario {
        name: "this machine's clock stands at 2015",
        source: "https://github.com/rancher/k3os/issues/657",
        expect: Root(&[Cause::ClockSkewLocal]),
        build: |w| {
            let address = w.nginx(PLAIN_NGINX);
            w.connect_bare(address).at("@2015-01-01 00:00:10")
        },
    },
    Scenario {
        name: "server is called otherwise than the client calls it",
        source: "https://github.com/grpc/grpc-go/issues/5814",
        expect: Root(&[Cause::NameMismatch]),
        build: |w| {
            w.server(&forge::server(&["db.internal.example"]));
            let address = w.mutual_nginx("");
            w.connect(address)
                .shows(CURL_WITHOUT, "matches target host name")
        },
    },
    Scenario {
        name: "connected by address, certificate has names alone",
        source: "https://github.com/rancher-archives/rke/issues/2216",
        expect: Root(&[Cause::IpSanMissing]),
        build: |w| {
            let address = w.mutual_nginx("");
            w.connect(address)
                .to(address.to_string())
                .shows(CURL_WITHOUT, "matches target host name")
        },
    },
    Scenario {
        name: "server names its host in CN alone, live",
        source: "https://github.com/canonical/bundle-kubeflow/issues/308",
        expect: Root(&[Cause::SanMissing]),
        build: |w| {
            let mut draft = forge::server(&["localhost"]);
            draft.subject_alt_names = vec![];
            w.server(&draft);
            let address = w.mutual_nginx("");
            w.connect(address).shows(
                "openssl s_client -connect TARGET -CAfile root.pem",
                "subject=CN = localhost",
            )
        },
    },
    Scenario {
        name: "wildcard one level too high, live",
        source: "https://github.com/haproxy/haproxy/issues/3081",
        expect: Root(&[Cause::WildcardMismatch]),
        build: |w| {
            w.server(&forge::server(&["*.example.com"]));
            let address = w.mutual_nginx("");
            w.connect(address)
                .to(address.to_string())
                .with("--name v2.api.example.com")
        },
    },
    Scenario {
        name: "server's certificate revoked",
        source: "https://github.com/nuts-foundation/nuts-node/pull/1447",
        expect: Root(&[Cause::CertificateRevoked]),
        build: |w| {
            let draft = forge::server(&["localhost"]);
            w.server(&draft);
            crate::doctor_corpus::judged::lists(w, &[&draft], -DAY, 30 * DAY);
            let address = w.mutual_nginx("");
            w.connect(address).with("--crl lists.pem").shows(
                "curl -sS --max-time 3 --cacert root.pem --crlfile lists.pem https://TARGET/",
                "certificate revoked",
            )
        },
    },
    Scenario {
        name: "server certificate signed with SHA-1, live",
        source: "https://github.com/adrienverge/openfortivpn/issues/682",
        expect: Root(&[Cause::WeakSignature]),
        build: |w| {
            names::by_openssl(
                w,
                "server",
                "extendedKeyUsage=serverAuth\nsubjectAltName=DNS:localhost",
                "-sha1 -set_serial 62",
            );
            let address =
                w.s_server("-cert server.leaf.pem -key server.key -cipher DEFAULT:@SECLEVEL=0");
            w.connect_bare(address).shows(CURL_WITHOUT, "too weak")
        },
    },
    Scenario {
        name: "server speaks TLS 1.0 alone",
        source: "https://github.com/ytti/oxidized/issues/3141",
        expect: Root(&[Cause::TlsVersionMismatch]),
        build: |w| {
            let address = w.s_server("-cert server.leaf.pem -cert_chain issuing.pem -key server.key -tls1 -cipher DEFAULT:@SECLEVEL=0");
            w.connect_bare(address)
                .shows(CURL_WITHOUT, "legacy sigalg disallowed")
        },
    },
    Scenario {
        name: "client offers TLS 1.3 alone, server ends at 1.2",
        source: "https://github.com/prbinu/tls-scan/issues/30",
        expect: Root(&[Cause::TlsVersionMismatch]),
        build: |w| {
            let address = w.mutual_nginx("ssl_protocols TLSv1.2;");
            w.connect(address)
                .with("--min-tls 1.3")
                .shows(&format!("{CURL_WITHOUT} --tlsv1.3"), "protocol version")
        },
    },
    Scenario {
        name: "client ends at TLS 1.2, server begins at 1.3",
        source: "https://github.com/openssl/openssl/issues/20344",
        expect: Root(&[Cause::TlsVersionMismatch]),
        build: |w| {
            let address = w.mutual_s_server("-tls1_3");
            w.connect(address)
                .with("--max-tls 1.2")
                .shows(&format!("{CURL_WITHOUT} --tls-max 1.2"), "protocol version")
        },
    },
    Scenario {
        name: "suites for RSA, certificate with an EC key",
        source: "https://github.com/kubeedge/kubeedge/issues/1699",
        expect: Root(&[Cause::NoSharedCipher]),
        build: |w| {
            let address = w.s_server("-cert server.leaf.pem -cert_chain issuing.pem -key server.key -tls1_2 -cipher ECDHE-RSA-AES128-GCM-SHA256");
            w.connect_bare(address)
                .shows(CURL_WITHOUT, "alert handshake failure")
        },
    },
    Scenario {
        name: "server has h2 alone, client offers http/1.1",
        source: "https://github.com/grpc/grpc/issues/23172",
        expect: Root(&[Cause::AlpnMismatch]),
        build: |w| {
            let address = w
                .s_server("-cert server.leaf.pem -cert_chain issuing.pem -key server.key -alpn h2");
            w.connect_bare(address).with("--alpn http/1.1").shows(
                "openssl s_client -connect TARGET -CAfile root.pem -alpn http/1.1",
                "alert no application protocol",
            )
        },
    },
    Scenario {
        name: "nginx has http/1.1, client offers grpc-exp",
        source: "https://github.com/envoyproxy/envoy/issues/26172",
        expect: Root(&[Cause::AlpnMismatch]),
        build: |w| {
            let address = w.nginx(PLAIN_NGINX);
            w.connect_bare(address).with("--alpn grpc-exp").shows(
                "openssl s_client -connect TARGET -CAfile root.pem -alpn grpc-exp",
                "alert no application protocol",
            )
        },
    },
    Scenario {
        name: "connected by address, another virtual host answers",
        source: "https://github.com/NginxProxyManager/nginx-proxy-manager/issues/4683",
        expect: Root(&[Cause::SniSelectsWrongVhost]),
        build: |w| {
            two_hosts(w);
            let address = w.nginx(TWO_HOSTS);
            w.connect_bare(address)
                .to(address.to_string())
                .with("--also-try-name api.example.com")
                .shows(CURL_WITHOUT, "matches target host name")
        },
    },
    Scenario {
        name: "HAProxy's first certificate answers without SNI",
        source: "https://github.com/RaymiiOrg/ssl-decoder/issues/61",
        expect: Root(&[Cause::SniSelectsWrongVhost]),
        build: |w| {
            two_hosts(w);
            w.join("api.both.pem", &["api.pem", "api.key"]);
            let address = w.haproxy_bind("crt FOLDER/api.both.pem");
            w.connect_bare(address)
                .to(address.to_string())
                .with("--also-try-name api.example.com")
                .shows(CURL_WITHOUT, "matches target host name")
        },
    },
    Scenario {
        name: "nginx knows no such name (ssl_reject_handshake)",
        source: "https://github.com/NginxProxyManager/nginx-proxy-manager/issues/2742",
        expect: Root(&[Cause::SniUnknown]),
        build: |w| {
            let address = w.nginx(&format!(
                "server {{ listen ADDRESS ssl default_server; ssl_reject_handshake on; }}\n{PLAIN_NGINX}"
            ));
            w.connect_bare(address)
                .to(address.to_string())
                .shows(CURL_WITHOUT, "unrecognized name")
        },
    },
    Scenario {
        name: "HAProxy knows no such name (strict-sni)",
        source: "https://github.com/hakasenyang/openssl-patch/issues/12",
        expect: Root(&[Cause::SniUnknown]),
        build: |w| {
            let address = w.haproxy_bind("strict-sni");
            w.connect_bare(address)
                .to(address.to_string())
                .with("--name shop.example.com")
                .shows(CURL_WITHOUT, "SSL")
        },
    },
    Scenario {
        name: "Host header names another host than SNI (nginx, client certificates)",
        source: "https://github.com/oven-sh/bun/pull/37197",
        expect: Root(&[Cause::SniHostMismatch]),
        build: |w| {
            two_hosts(w);
            let guarded = "server { listen ADDRESS ssl; server_name api.example.com; ssl_certificate FOLDER/api.pem; \
                 ssl_certificate_key FOLDER/api.key; ssl_client_certificate FOLDER/root.pem; ssl_verify_client on; \
                 ssl_verify_depth 3; location / { return 200 ok; } }";
            let address = w.nginx(&format!("{PLAIN_NGINX}\n{guarded}"));
            w.connect_bare(address)
                .with("--host-header api.example.com")
                .shows(&format!("{CURL_WITHOUT} -H Host:api.example.com"), "421")
        },
    },
    Scenario {
        name: "Host header names another host than SNI (Apache)",
        source: "https://github.com/TecharoHQ/anubis/issues/1508",
        expect: Root(&[Cause::SniHostMismatch]),
        build: |w| {
            two_hosts(w);
            let host = |name: &str, file: &str, verify: &str| {
                format!(
                    "<VirtualHost *:*>\n ServerName {name}\n SSLEngine on\n SSLCertificateFile FOLDER/{file}.pem\n \
                     SSLCertificateKeyFile FOLDER/{file}.key\n{verify}</VirtualHost>\n"
                )
            };
            let guard = " SSLCACertificateFile FOLDER/root.pem\n SSLVerifyClient require\n SSLVerifyDepth 3\n";
            let hosts = format!(
                "{}{}",
                host("localhost", "server", ""),
                host("api.example.com", "api", guard)
            );
            let address = w.apache(&hosts);
            w.connect_bare(address)
                .with("--host-header api.example.com")
                .shows(&format!("{CURL_WITHOUT} -H Host:api.example.com"), "421")
        },
    },
    Scenario {
        name: "nginx still serves the certificate from before the renewal",
        source: "https://github.com/certbot/certbot/issues/10530",
        expect: Root(&[Cause::ServerNotReloaded]),
        build: |w| {
            w.server(&forge::valid(
                forge::server(&["localhost"]),
                -80 * DAY,
                10 * DAY,
            ));
            let address = w.mutual_nginx("");
            w.server(&forge::server(&["localhost"]));
            w.connect(address).with("--server-cert server.pem")
        },
    },
    Scenario {
        name: "expired certificate served, renewed one in the file",
        source: "https://github.com/caddyserver/caddy/issues/5139",
        expect: Root(&[Cause::ServerNotReloaded]),
        build: |w| {
            w.server(&forge::valid(
                forge::server(&["localhost"]),
                -91 * DAY,
                -DAY,
            ));
            let address = w.mutual_nginx("");
            w.server(&forge::server(&["localhost"]));
            w.connect(address)
                .with("--server-cert server.pem")
                .shows(CURL_WITHOUT, "certificate has expired")
        },
    },
];

/// `api.pem` and its key for `api.example.com`, beside the server's own.
pub(super) fn two_hosts(workshop: &crate::doctor_corpus::workshop::Workshop) {
    let api = workshop.issuing.issue(&forge::server(&["api.example.com"]));
    workshop.identity("api", &api, &workshop.issuing.pem());
}

/// `localhost` first, `api.example.com` second, no client certificates.
pub(super) const TWO_HOSTS: &str = "server { listen ADDRESS ssl; server_name localhost; ssl_certificate FOLDER/server.pem; \
     ssl_certificate_key FOLDER/server.key; location / { return 200 ok; } }\n\
     server { listen ADDRESS ssl; server_name api.example.com; ssl_certificate FOLDER/api.pem; \
     ssl_certificate_key FOLDER/api.key; location / { return 200 ok; } }";
