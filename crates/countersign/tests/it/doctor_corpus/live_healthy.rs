//! Servers that run and are fine: no fault may be found.

use Expect::Healthy;

use crate::doctor_corpus::forge::{self, DAY, HOUR};
use crate::doctor_corpus::judged;
use crate::doctor_corpus::live_client::{MUTUAL_APACHE, PLAIN_NGINX};
use crate::doctor_corpus::live_ports::{postgres, smtp};
use crate::doctor_corpus::live_server::{TWO_HOSTS, two_hosts};
use crate::doctor_corpus::names;
use crate::doctor_corpus::scenario::{Expect, Scenario};
use crate::doctor_corpus::servers::{Flow, carry};

const CURL: &str = "curl -sS --max-time 5 --cacert root.pem --cert client.pem --key client.key https://TARGET/ -o /dev/null -w %{http_code}";

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "openssl with mutual TLS (1.3)",
        source: "https://docs.openssl.org/3.0/man1/openssl-s_server/",
        expect: Healthy,
        build: |w| {
            let address = w.mutual_s_server("");
            w.connect(address).shows(CURL, "200")
        },
    },
    Scenario {
        name: "openssl with mutual TLS (1.2 alone)",
        source: "https://github.com/prbinu/tls-scan/issues/30",
        expect: Healthy,
        build: |w| {
            let address = w.mutual_s_server("-tls1_2");
            w.connect(address).shows(CURL, "200")
        },
    },
    Scenario {
        name: "nginx with mutual TLS, enforced",
        source: "https://nginx.org/en/docs/http/ngx_http_ssl_module.html",
        expect: Healthy,
        build: |w| {
            let address = w.mutual_nginx("");
            w.connect(address)
                .with("--expect-enforced --client-ca root.pem")
                .shows(CURL, "200")
        },
    },
    Scenario {
        name: "nginx with mutual TLS and fresh lists",
        source: "https://github.com/nginx/nginx.org/pull/188",
        expect: Healthy,
        build: |w| {
            judged::lists(w, &[&forge::client("somebody else")], -HOUR, 30 * DAY);
            let address = w.mutual_nginx("ssl_crl FOLDER/lists.pem;");
            w.connect(address)
                .with("--crl lists.pem --client-ca root.pem")
                .shows(CURL, "200")
        },
    },
    Scenario {
        name: "nginx where the asked path is not there",
        source: "https://nginx.org/en/docs/http/ngx_http_core_module.html",
        expect: Healthy,
        build: |w| {
            let address = w.mutual_nginx("location /gone { return 404; }");
            w.connect(address)
                .to(format!("https://localhost:{}/gone", address.port()))
        },
    },
    Scenario {
        name: "HAProxy with mutual TLS, enforced",
        source: "https://github.com/haproxy/haproxy/issues/404",
        expect: Healthy,
        build: |w| {
            let address = w.haproxy_bind("ca-file FOLDER/root.pem verify required");
            w.connect(address)
                .with("--expect-enforced")
                .shows(CURL, "200")
        },
    },
    Scenario {
        name: "Apache with mutual TLS for the whole host",
        source: "https://httpd.apache.org/docs/2.4/ssl/ssl_howto.html",
        expect: Healthy,
        build: |w| {
            let address = w.apache(MUTUAL_APACHE);
            w.connect(address).shows(CURL, "200")
        },
    },
    Scenario {
        name: "nginx without client certificates, client without one",
        source: "https://nginx.org/en/docs/http/configuring_https_servers.html",
        expect: Healthy,
        build: |w| {
            let address = w.nginx(PLAIN_NGINX);
            w.connect_bare(address).shows(CURL, "200")
        },
    },
    Scenario {
        name: "optional client certificates, as meant",
        source: "https://github.com/nginx-proxy/nginx-proxy/issues/278",
        expect: Healthy,
        build: |w| {
            let address = w.nginx(&PLAIN_NGINX.replace(
                "location",
                "ssl_client_certificate FOLDER/root.pem; ssl_verify_client optional; ssl_verify_depth 3; location",
            ));
            w.connect(address).shows(CURL, "200")
        },
    },
    Scenario {
        name: "one of two virtual hosts, asked for by name",
        source: "https://github.com/NginxProxyManager/nginx-proxy-manager/issues/4683",
        expect: Healthy,
        build: |w| {
            two_hosts(w);
            let address = w.nginx(TWO_HOSTS);
            w.connect_bare(address)
                .to(address.to_string())
                .with("--name api.example.com")
        },
    },
    Scenario {
        name: "connected by an address that the certificate holds",
        source: "https://github.com/rancher-archives/rke/issues/688",
        expect: Healthy,
        build: |w| {
            let loopback = std::net::Ipv4Addr::LOCALHOST.into();
            w.server(&names::at_address(forge::server(&["localhost"]), loopback));
            let address = w.mutual_nginx("");
            w.connect(address)
                .to(address.to_string())
                .shows(CURL, "200")
        },
    },
    Scenario {
        name: "certificate in force is the one in the file",
        source: "https://github.com/jmrplens/libgen-mcp/pull/176",
        expect: Healthy,
        build: |w| {
            let address = w.mutual_nginx("");
            w.connect(address)
                .with("--server-cert server.pem --server-key server.key --client-ca root.pem")
                .shows(CURL, "200")
        },
    },
    Scenario {
        name: "server insists on another group (HelloRetryRequest)",
        source: "https://github.com/randombit/botan/issues/5818",
        expect: Healthy,
        build: |w| {
            let address = w.mutual_s_server("-curves P-384");
            w.connect(address).shows(CURL, "200")
        },
    },
    Scenario {
        name: "server without session tickets",
        source: "https://github.com/rockdaboot/wget2/issues/193",
        expect: Healthy,
        build: |w| {
            let address = w.mutual_s_server("-no_ticket -num_tickets 0");
            w.connect(address).shows(CURL, "200")
        },
    },
    Scenario {
        name: "nginx announces every CA of a large bundle",
        source: "https://github.com/golang/go/issues/50773",
        expect: Healthy,
        build: |w| {
            let others: String = (0..30)
                .map(|number| {
                    let draft = forge::authority(&format!("Corpus Member {number}"));
                    forge::Authority::root(draft).pem()
                })
                .collect();
            w.write("root.many.pem", format!("{others}{}", w.root.pem()));
            let address = w.nginx(&PLAIN_NGINX.replace(
                "location",
                "ssl_client_certificate FOLDER/root.many.pem; ssl_verify_client on; ssl_verify_depth 3; location",
            ));
            w.connect(address).shows(CURL, "200")
        },
    },
    Scenario {
        name: "h2 where the client offers it",
        source: "https://github.com/grpc/grpc/issues/23172",
        expect: Healthy,
        build: |w| {
            let address = w.nginx(&PLAIN_NGINX.replace("ADDRESS ssl", "ADDRESS ssl http2"));
            w.connect_bare(address).with("--alpn h2").shows(CURL, "200")
        },
    },
    Scenario {
        name: "server speaks everything from TLS 1.0 on",
        source: "https://github.com/mozilla/ssl-config-generator/issues/188",
        expect: Healthy,
        build: |w| {
            let address = w.mutual_s_server("-cipher DEFAULT:@SECLEVEL=0");
            w.connect(address).shows(CURL, "200")
        },
    },
    Scenario {
        name: "policy lets this client in",
        source: "https://github.com/symfony/symfony/issues/31406",
        expect: Healthy,
        build: |w| {
            let address = w.mutual_nginx("if ($ssl_client_s_dn != \"CN=client\") { return 403; }");
            w.connect(address)
                .with("--allow cn:client")
                .shows(CURL, "200")
        },
    },
    Scenario {
        name: "SMTP with STARTTLS",
        source: "https://docs.openssl.org/3.0/man1/openssl-s_client/",
        expect: Healthy,
        build: |w| {
            let behind =
                w.s_server("-cert server.leaf.pem -cert_chain issuing.pem -key server.key");
            let address = w.listen(move |stream| {
                if smtp(&stream).unwrap_or_default() {
                    carry(stream, behind, Flow::Whole);
                }
            });
            w.connect_bare(address).with("--starttls smtp").shows(
                "openssl s_client -connect TARGET -starttls smtp -CAfile root.pem",
                "Verify return code: 0 (ok)",
            )
        },
    },
    Scenario {
        name: "PostgreSQL with client certificates",
        source: "https://www.postgresql.org/docs/15/auth-cert.html",
        expect: Healthy,
        build: |w| {
            let behind = w.mutual_s_server("");
            let address = w.listen(move |stream| {
                if postgres(&stream, b"S").unwrap_or_default() {
                    carry(stream, behind, Flow::Whole);
                }
            });
            w.connect(address)
                .to(format!("postgres://localhost:{}/app", address.port()))
                .shows(
                    &format!("openssl s_client -starttls postgres -connect localhost:{} -CAfile root.pem -cert client.pem -key client.key", address.port()),
                    "Verify return code: 0 (ok)",
                )
        },
    },
    Scenario {
        name: "clock a few seconds off",
        source: "https://github.com/kubernetes/kubernetes/pull/97680",
        expect: Healthy,
        build: |w| {
            let address = w.mutual_nginx("");
            w.connect(address).at("+20s")
        },
    },
];
