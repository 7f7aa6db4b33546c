//! Servers that run and do not accept the client, or accept whom they must not.

use Expect::Root;
use countersign_diagnose::cause::Cause;
use rcgen::{DnType, ExtendedKeyUsagePurpose};

use crate::doctor_corpus::forge::{self, Authority, DAY, HOUR};
use crate::doctor_corpus::judged;
use crate::doctor_corpus::scenario::{Expect, Scenario};

const CURL: &str =
    "curl -sS --max-time 5 --cacert root.pem --cert client.pem --key client.key https://TARGET/";
const CURL_WITHOUT: &str = "curl -sS --max-time 5 --cacert root.pem https://TARGET/";

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "openssl refuses a client of another CA, late (TLS 1.3)",
        source: "https://github.com/etcd-io/etcd/issues/14324",
        expect: Root(&[Cause::ClientCaNotTrusted]),
        build: |w| {
            let other = Authority::root(forge::authority("Partner Root CA"));
            w.client_is(&other.issue(&forge::client("client")), "");
            let address = w.mutual_s_server("-tls1_3");
            w.connect(address).shows(CURL, "alert unknown ca")
        },
    },
    Scenario {
        name: "openssl refuses a client of another CA (TLS 1.2)",
        source: "https://github.com/etcd-io/etcd/issues/8603",
        expect: Root(&[Cause::ClientCaNotTrusted]),
        build: |w| {
            let other = Authority::root(forge::authority("Partner Root CA"));
            w.client_is(&other.issue(&forge::client("client")), "");
            let address = w.mutual_s_server("-tls1_2");
            w.connect(address).shows(CURL, "alert unknown ca")
        },
    },
    Scenario {
        name: "nginx answers a client of another CA with 400",
        source: "https://github.com/kubernetes/ingress-nginx/issues/4677",
        expect: Root(&[Cause::ClientCaNotTrusted]),
        build: |w| {
            let other = Authority::root(forge::authority("Partner Root CA"));
            w.client_is(&other.issue(&forge::client("client")), "");
            let address = w.mutual_nginx("");
            w.connect(address).shows(CURL, "The SSL certificate error")
        },
    },
    Scenario {
        name: "HAProxy refuses a client of another CA",
        source: "https://github.com/haproxy/haproxy/issues/85",
        expect: Root(&[Cause::ClientCaNotTrusted]),
        build: |w| {
            let other = Authority::root(forge::authority("Partner Root CA"));
            w.client_is(&other.issue(&forge::client("client")), "");
            let address = w.haproxy_bind("ca-file FOLDER/root.pem verify required");
            w.connect(address).shows(CURL, "alert unknown ca")
        },
    },
    Scenario {
        name: "openssl refuses an expired client",
        source: "https://github.com/siderolabs/talos/issues/3033",
        expect: Root(&[Cause::LeafExpired]),
        build: |w| {
            w.client(&forge::valid(forge::client("client"), -91 * DAY, -DAY));
            let address = w.mutual_s_server("");
            w.connect(address).shows(CURL, "alert certificate expired")
        },
    },
    Scenario {
        name: "nginx answers an expired client with 400",
        source: "https://github.com/nginx/docker-nginx/issues/175",
        expect: Root(&[Cause::LeafExpired]),
        build: |w| {
            w.client(&forge::valid(forge::client("client"), -91 * DAY, -DAY));
            let address = w.mutual_nginx("");
            w.connect(address).shows(CURL, "The SSL certificate error")
        },
    },
    Scenario {
        name: "nginx gets the client's leaf without its intermediate",
        source: "https://github.com/psf/requests/issues/4335",
        expect: Root(&[Cause::ChainMissingIntermediate]),
        build: |w| {
            w.join("client.pem", &["client.leaf.pem"]);
            let address = w.mutual_nginx("");
            w.connect(address)
                .with("--client-ca root.pem --file issuing.pem")
                .shows(CURL, "The SSL certificate error")
        },
    },
    Scenario {
        name: "openssl gets the client's leaf without its intermediate",
        source: "https://github.com/haproxy/haproxy/issues/404",
        expect: Root(&[Cause::ChainMissingIntermediate]),
        build: |w| {
            w.join("client.pem", &["client.leaf.pem"]);
            let address = w.mutual_s_server("");
            w.connect(address)
                .with("--client-ca root.pem --file issuing.pem")
                .shows(CURL, "alert unknown ca")
        },
    },
    Scenario {
        name: "nginx gets a client certificate for servers",
        source: "https://github.com/nginx/docker-nginx/issues/175",
        expect: Root(&[Cause::EkuMissingClientauth]),
        build: |w| {
            let mut draft = forge::client("client");
            draft.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            w.client(&draft);
            let address = w.mutual_nginx("");
            w.connect(address).shows(CURL, "The SSL certificate error")
        },
    },
    Scenario {
        name: "Apache gets a client certificate for servers",
        source: "https://github.com/apache/httpd/pull/632",
        expect: Root(&[Cause::EkuMissingClientauth]),
        build: |w| {
            let mut draft = forge::client("client");
            draft.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            w.client(&draft);
            let address = w.apache(MUTUAL_APACHE);
            w.connect(address).shows(CURL, "alert")
        },
    },
    Scenario {
        name: "nginx allows one step less than the client's chain has",
        source: "https://stackoverflow.com/questions/8431528/nginx-ssl-certificate-authentication-signed-by-intermediate-ca-chain",
        expect: Root(&[Cause::VerifyDepthTooSmall]),
        build: |w| {
            let lower = w.issuing.below(forge::authority("Corpus Team CA"));
            let above = format!("{}{}", lower.pem(), w.issuing.pem());
            w.client_is(&lower.issue(&forge::client("client")), &above);
            let address = w.nginx(
                "server { listen ADDRESS ssl; server_name localhost; ssl_certificate FOLDER/server.pem; \
                 ssl_certificate_key FOLDER/server.key; ssl_client_certificate FOLDER/root.pem; ssl_verify_client on; \
                 ssl_verify_depth 1; location / { return 200 ok; } }",
            );
            w.connect(address)
                .with("--client-ca root.pem")
                .shows(CURL, "The SSL certificate error")
        },
    },
    Scenario {
        name: "nginx trusts only the intermediate",
        source: "https://serverfault.com/questions/758964/client-ssl-certificate-verify-error-27certificate-not-trusted",
        expect: Root(&[Cause::TrustAnchorIsIntermediate]),
        build: |w| {
            w.write("clients.pem", w.issuing.pem());
            let address = w.nginx(
                "server { listen ADDRESS ssl; server_name localhost; ssl_certificate FOLDER/server.pem; \
                 ssl_certificate_key FOLDER/server.key; ssl_client_certificate FOLDER/clients.pem; ssl_verify_client on; \
                 location / { return 200 ok; } }",
            );
            w.connect(address)
                .with("--client-ca clients.pem")
                .shows(CURL, "The SSL certificate error")
        },
    },
    Scenario {
        name: "nginx requires a certificate, the client has none",
        source: "https://github.com/Kong/kong/issues/5427",
        expect: Root(&[Cause::ClientCertNotSent]),
        build: |w| {
            let address = w.mutual_nginx("");
            w.connect_bare(address)
                .shows(CURL_WITHOUT, "No required SSL certificate was sent")
        },
    },
    Scenario {
        name: "openssl requires a certificate, the client has none (TLS 1.3)",
        source: "https://github.com/joutwate/mtls-springboot/issues/2",
        expect: Root(&[Cause::ClientCertNotSent]),
        build: |w| {
            let address = w.mutual_s_server("-tls1_3");
            w.connect_bare(address)
                .with("--no-client-cert")
                .shows(CURL_WITHOUT, "alert certificate required")
        },
    },
    Scenario {
        name: "openssl requires a certificate, the client has none (TLS 1.2)",
        source: "https://github.com/openjdk/jdk/pull/17645",
        expect: Root(&[Cause::ClientCertNotSent]),
        build: |w| {
            let address = w.mutual_s_server("-tls1_2");
            w.connect_bare(address)
                .shows(CURL_WITHOUT, "alert handshake failure")
        },
    },
    Scenario {
        name: "HAProxy requires a certificate, the client has none",
        source: "https://github.com/jcmoraisjr/haproxy-ingress/pull/470",
        expect: Root(&[Cause::ClientCertNotSent]),
        build: |w| {
            let address = w.haproxy_bind("ca-file FOLDER/root.pem verify required");
            w.connect_bare(address).shows(CURL_WITHOUT, "alert")
        },
    },
    Scenario {
        name: "nginx never asks, the operator wants it to",
        source: "https://github.com/Kong/kong/issues/5427",
        expect: Root(&[Cause::ClientCertNotRequested]),
        build: |w| {
            let address = w.nginx(PLAIN_NGINX);
            w.connect(address).with("--expect-enforced").shows(
                "openssl s_client -connect TARGET -CAfile root.pem",
                "No client certificate CA names sent",
            )
        },
    },
    Scenario {
        name: "nginx asks and lets everybody in (optional)",
        source: "https://github.com/Maps-Messaging/mapsmessaging_server/issues/2181",
        expect: Root(&[Cause::ClientAuthNotEnforced]),
        build: |w| {
            let address = w.nginx(
                "server { listen ADDRESS ssl; server_name localhost; ssl_certificate FOLDER/server.pem; \
                 ssl_certificate_key FOLDER/server.key; ssl_client_certificate FOLDER/root.pem; ssl_verify_client optional; \
                 ssl_verify_depth 3; location / { return 200 ok; } }",
            );
            w.connect(address)
                .with("--expect-enforced")
                .shows(CURL_WITHOUT, "ok")
        },
    },
    Scenario {
        name: "nginx lets in whom it cannot verify (optional_no_ca)",
        source: "https://nginx.org/en/docs/http/ngx_http_ssl_module.html#ssl_verify_client",
        expect: Root(&[Cause::ClientAuthNotEnforced]),
        build: |w| {
            let other = Authority::root(forge::authority("Partner Root CA"));
            w.client_is(&other.issue(&forge::client("client")), "");
            let address = w.nginx(
                "server { listen ADDRESS ssl; server_name localhost; ssl_certificate FOLDER/server.pem; \
                 ssl_certificate_key FOLDER/server.key; ssl_verify_client optional_no_ca; \
                 location / { return 200 ok; } }",
            );
            w.connect(address)
                .with("--expect-enforced")
                .shows(CURL, "ok")
        },
    },
    Scenario {
        name: "HAProxy asks and lets everybody in (verify optional)",
        source: "https://github.com/kroxylicious/kroxylicious/issues/2744",
        expect: Root(&[Cause::ClientAuthNotEnforced]),
        build: |w| {
            let address = w.haproxy_bind("ca-file FOLDER/root.pem verify optional");
            w.connect(address).with("--expect-enforced").shows(
                &format!("{CURL_WITHOUT} -o /dev/null -w %{{http_code}}"),
                "200",
            )
        },
    },
    Scenario {
        name: "server announces other CAs than the client's",
        source: "https://github.com/dlenski/openconnect/pull/164",
        expect: Root(&[Cause::CaNamesExcludeIssuer]),
        build: |w| {
            let other = Authority::root(forge::authority("Partner Root CA"));
            w.write("announced.pem", other.pem());
            let address = w.s_server(ANNOUNCING);
            w.connect(address).with("--client-ca root.pem").shows(
                "openssl s_client -connect TARGET -CAfile root.pem",
                "CN = Partner Root CA",
            )
        },
    },
    Scenario {
        name: "nginx announces less than it trusts",
        source: "https://github.com/nginx/nginx/pull/143",
        expect: Root(&[Cause::CaNamesExcludeIssuer]),
        build: |w| {
            let other = Authority::root(forge::authority("Partner Root CA"));
            w.write("announced.pem", other.pem());
            let address = w.nginx(
                "server { listen ADDRESS ssl; server_name localhost; ssl_certificate FOLDER/server.pem; \
                 ssl_certificate_key FOLDER/server.key; ssl_client_certificate FOLDER/announced.pem; \
                 ssl_trusted_certificate FOLDER/root.pem; ssl_verify_client on; ssl_verify_depth 3; \
                 location / { return 200 ok; } }",
            );
            w.connect(address).with("--client-ca root.pem").shows(
                "openssl s_client -connect TARGET -CAfile root.pem",
                "CN = Partner Root CA",
            )
        },
    },
    Scenario {
        name: "server takes RSA clients alone, the client's key is EC",
        source: "https://github.com/mozilla/ssl-config-generator/issues/188",
        expect: Root(&[Cause::SigalgUnsupported]),
        build: |w| {
            let address = w.mutual_s_server("-client_sigalgs rsa_pss_rsae_sha256:rsa_pkcs1_sha256");
            w.connect(address)
                .with("--client-ca root.pem")
                .shows(CURL, "alert")
        },
    },
    Scenario {
        name: "openssl refuses a revoked client",
        source: "https://github.com/nginx-proxy/nginx-proxy/issues/278",
        expect: Root(&[Cause::CertificateRevoked]),
        build: |w| {
            let draft = forge::client("client");
            w.client(&draft);
            judged::lists(w, &[&draft], -HOUR, 30 * DAY);
            w.write("issuing.crl", w.issuing.list(&[&draft], -HOUR, 30 * DAY));
            let address = w.mutual_s_server("-crl_check -CRL issuing.crl");
            w.connect(address)
                .with("--crl lists.pem")
                .shows(CURL, "alert certificate revoked")
        },
    },
    Scenario {
        name: "nginx answers a revoked client with 400",
        source: "https://github.com/yaoweibin/nginx_tcp_proxy_module/issues/150",
        expect: Root(&[Cause::CertificateRevoked]),
        build: |w| {
            let draft = forge::client("client");
            w.client(&draft);
            judged::lists(w, &[&draft], -HOUR, 30 * DAY);
            let address = w.mutual_nginx("ssl_crl FOLDER/lists.pem;");
            w.connect(address)
                .with("--crl lists.pem")
                .shows(CURL, "The SSL certificate error")
        },
    },
    Scenario {
        name: "nginx refuses everybody since its list expired",
        source: "https://github.com/haproxy/haproxy/issues/85",
        expect: Root(&[Cause::CrlExpired]),
        build: |w| {
            judged::lists(w, &[], -31 * DAY, -DAY);
            let address = w.mutual_nginx("ssl_crl FOLDER/lists.pem;");
            w.connect(address)
                .with("--crl lists.pem")
                .shows(CURL, "The SSL certificate error")
        },
    },
    Scenario {
        name: "nginx has the list of the issuing CA alone",
        source: "https://github.com/nginx/nginx.org/pull/188",
        expect: Root(&[Cause::CrlMissing]),
        build: |w| {
            w.write("lists.pem", w.issuing.list(&[], -HOUR, 30 * DAY));
            let address = w.mutual_nginx("ssl_crl FOLDER/lists.pem;");
            w.connect(address)
                .with("--crl lists.pem --client-ca root.pem")
                .shows(CURL, "The SSL certificate error")
        },
    },
    Scenario {
        name: "nginx lets a revoked client in",
        source: "https://github.com/nuts-foundation/nuts-node/issues/1422",
        expect: Root(&[Cause::RevocationNotChecked]),
        build: |w| {
            let draft = forge::client("client");
            w.client(&draft);
            judged::lists(w, &[&draft], -HOUR, 30 * DAY);
            let address = w.mutual_nginx("");
            w.connect(address)
                .with("--crl lists.pem --expect-enforced")
                .shows(CURL, "ok")
        },
    },
    Scenario {
        name: "TLS works, the policy answers 403",
        source: "https://github.com/symfony/symfony/issues/31406",
        expect: Root(&[Cause::IdentityNotAllowed]),
        build: |w| {
            let address = w.mutual_nginx("if ($ssl_client_s_dn != \"CN=billing\") { return 403; }");
            w.connect(address)
                .with("--allow cn:billing")
                .shows(CURL, "403 Forbidden")
        },
    },
    Scenario {
        name: "nginx compares the DN in the order of RFC 2253",
        source: "https://github.com/redpanda-data/seastar/pull/180",
        expect: Root(&[Cause::DnFormatMismatch]),
        build: |w| {
            w.client(&judged::with_long_name());
            let address = w.mutual_nginx(
                "if ($ssl_client_s_dn != \"C=DE,O=Example,OU=Orders,CN=node-1\") { return 403; }",
            );
            w.connect(address)
                .with("--allow C=DE,O=Example,OU=Orders,CN=node-1")
                .shows(CURL, "403 Forbidden")
        },
    },
    Scenario {
        name: "session of an open host resumed at a guarded one",
        source: "https://github.com/nginx/nginx/pull/493",
        expect: Root(&[Cause::ResumptionSkipsCheck]),
        build: |w| {
            for (side, name) in [
                ("open", "open.example.com"),
                ("guarded", "guarded.example.com"),
            ] {
                let identity = w.issuing.issue(&forge::server(&[name]));
                w.identity(side, &identity, &w.issuing.pem());
                w.join(
                    &format!("{side}.both.pem"),
                    &[&format!("{side}.pem"), &format!("{side}.key")],
                );
            }
            let (folder, root) = (w.path(""), w.path("root.pem"));
            w.write(
                "hosts",
                format!("{folder}open.both.pem\n{folder}guarded.both.pem [verify required ca-file {root}] guarded.example.com\n"),
            );
            let address = w.haproxy(
                "frontend f\n mode http\n bind ADDRESS ssl crt-list FOLDER/hosts\n http-request return status 200\n",
            );
            w.connect(address)
                .to(address.to_string())
                .with("--name guarded.example.com --also-try-name open.example.com --expect-enforced")
                .shows(
                    "openssl s_client -connect TARGET -servername open.example.com -CAfile root.pem -tls1_2 -sess_out session",
                    "Verify return code: 0 (ok)",
                )
                .shows(
                    "openssl s_client -connect TARGET -servername guarded.example.com -CAfile root.pem -tls1_2 -sess_in session",
                    "Reused, ",
                )
        },
    },
    Scenario {
        name: "server sends a hundred kilobytes of certificates",
        source: "https://github.com/golang/go/issues/50773",
        expect: Root(&[Cause::HandshakeTooLarge]),
        build: |w| {
            let many: String = (0..40)
                .map(|number| {
                    let mut draft = forge::authority(&format!("Corpus Member {number}"));
                    let long = format!("{number} {}", "long ".repeat(600));
                    draft
                        .distinguished_name
                        .push(DnType::OrganizationName, long);
                    Authority::root(draft).pem()
                })
                .collect();
            w.write("many.pem", format!("{}{many}", w.issuing.pem()));
            let address = w.s_server("-cert server.leaf.pem -cert_chain many.pem -key server.key");
            w.connect_bare(address)
                .shows(CURL_WITHOUT, "excessive message size")
        },
    },
    Scenario {
        name: "Apache asks for the certificate below one path alone",
        source: "https://github.com/apache/httpd/pull/632",
        expect: Root(&[Cause::PostHandshakeAuthUnavailable]),
        build: |w| {
            let address = w.apache(
                "<VirtualHost *:*>\n SSLEngine on\n SSLCertificateFile FOLDER/server.pem\n SSLCertificateKeyFile FOLDER/server.key\n \
                 SSLCACertificateFile FOLDER/root.pem\n SSLVerifyDepth 3\n <Location /secure>\n  SSLVerifyClient require\n </Location>\n</VirtualHost>",
            );
            w.run("mkdir secure");
            w.write("secure/index.html", "inside\n");
            w.connect(address)
                .to(format!("https://localhost:{}/secure/", address.port()))
                // curl is one of the few that know post-handshake authentication: with its certificate it would get in.
                .shows(
                    "curl -sS --max-time 5 --cacert root.pem TARGET",
                    "alert certificate required",
                )
        },
    },
];

/// Mutual TLS of clients below `root.pem`, announced as those below `announced.pem`.
const ANNOUNCING: &str = "-cert server.leaf.pem -cert_chain issuing.pem -key server.key -CAfile announced.pem -verifyCAfile root.pem -Verify 3 -verify_return_error";
/// Mutual TLS for every path.
pub(super) const MUTUAL_APACHE: &str = "<VirtualHost *:*>\n SSLEngine on\n SSLCertificateFile FOLDER/server.pem\n SSLCertificateKeyFile FOLDER/server.key\n \
     SSLCACertificateFile FOLDER/root.pem\n SSLVerifyClient require\n SSLVerifyDepth 3\n</VirtualHost>";
/// TLS without any client certificate.
pub(super) const PLAIN_NGINX: &str = "server { listen ADDRESS ssl; server_name localhost; ssl_certificate FOLDER/server.pem; \
     ssl_certificate_key FOLDER/server.key; location / { return 200 ok; } }";
