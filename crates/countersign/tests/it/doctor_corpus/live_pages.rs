//! Servers that take the handshake and judge behind it, or late, or by another clock; and such as look like them and are fine.

use Expect::{Healthy, Risk, Root};
use countersign_diagnose::cause::Cause;
use rcgen::KeyIdMethod;

use crate::doctor_corpus::forge::{self, Authority, DAY};
use crate::doctor_corpus::live_client::PLAIN_NGINX;
use crate::doctor_corpus::live_server::two_hosts;
use crate::doctor_corpus::scenario::{Expect, Scenario};
use crate::doctor_corpus::servers::{Flow, carry};
use crate::doctor_corpus::workshop::Workshop;

const CURL: &str =
    "curl -sS --max-time 5 --cacert root.pem --cert client.pem --key client.key https://TARGET/";
const CURL_WITHOUT: &str = "curl -sS --max-time 5 --cacert root.pem https://TARGET/";
const CODE: &str = "curl -sS --max-time 5 --cacert root.pem --cert client.pem --key client.key https://TARGET/ -o /dev/null -w %{http_code}";

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "nginx asks, and its page sends away whoever comes without (optional, 403)",
        source: "https://github.com/kubernetes/ingress-nginx/issues/7176",
        expect: Root(&[Cause::ClientCertNotSent]),
        build: |w| {
            let address = w.nginx(&asking("optional", "return 403"));
            w.connect_bare(address).shows(CURL_WITHOUT, "403 Forbidden")
        },
    },
    Scenario {
        name: "nginx asks, and its page lets this client in (optional, 403)",
        source: "https://github.com/kubernetes/ingress-nginx/issues/7176",
        expect: Healthy,
        build: |w| {
            let address = w.nginx(&asking("optional", "return 403"));
            w.connect(address)
                .with("--expect-enforced")
                .shows(CURL, "ok")
        },
    },
    Scenario {
        name: "nginx asks, and has no start page for anybody",
        source: "https://nginx.org/en/docs/http/ngx_http_index_module.html",
        expect: Healthy,
        build: |w| {
            w.run("mkdir site");
            w.mode("", 0o755);
            let site = PLAIN_NGINX.replace(
                "location / { return 200 ok; }",
                "ssl_client_certificate FOLDER/root.pem; ssl_verify_client optional; root FOLDER/site;",
            );
            let address = w.nginx(&site);
            w.connect_bare(address).shows(CURL_WITHOUT, "403 Forbidden")
        },
    },
    Scenario {
        name: "nginx closes without an answer on whoever comes without (444)",
        source: "https://github.com/nginx/nginx/issues/915",
        expect: Root(&[Cause::ClientCertNotSent]),
        build: |w| {
            let address = w.nginx(&asking("optional", "return 444"));
            w.connect_bare(address)
                .shows(CURL_WITHOUT, "Empty reply from server")
        },
    },
    Scenario {
        name: "nginx's page sends away a client of another CA (optional_no_ca, 403)",
        source: "https://nginx.org/en/docs/http/ngx_http_ssl_module.html#ssl_verify_client",
        expect: Root(&[Cause::ClientCaNotTrusted]),
        build: |w| {
            stranger(w);
            let address = w.nginx(&asking("optional_no_ca", "return 403"));
            w.connect(address).shows(CURL, "403 Forbidden")
        },
    },
    Scenario {
        name: "nginx lets strangers come to its page and sends away an expired client (optional_no_ca)",
        source: "https://github.com/haproxy/haproxy/issues/1425",
        expect: Root(&[Cause::LeafExpired]),
        build: |w| {
            w.client(&forge::valid(forge::client("client"), -91 * DAY, -DAY));
            let address = w.nginx(&asking("optional_no_ca", "return 401"));
            w.connect(address).shows(CURL, "The SSL certificate error")
        },
    },
    Scenario {
        name: "HTTP/2 alone, the page wants a password, and a certificate may come with it",
        source: "https://nginx.org/en/docs/http/ngx_http_core_module.html#satisfy",
        expect: Healthy,
        build: |w| {
            let address = w.nginx(&login().replace("ADDRESS ssl", "ADDRESS ssl http2"));
            w.connect_bare(address).with("--alpn h2").shows(
                &format!("{CURL_WITHOUT} --http2 -i"),
                "www-authenticate: Basic",
            )
        },
    },
    Scenario {
        name: "HTTP/2 alone, the page wants a password of a client of another CA (optional_no_ca)",
        source: "https://nginx.org/en/docs/http/ngx_http_core_module.html#satisfy",
        expect: Healthy,
        build: |w| {
            stranger(w);
            let site = login().replace("optional;", "optional_no_ca;");
            let address = w.nginx(&site.replace("ADDRESS ssl", "ADDRESS ssl http2"));
            w.connect(address)
                .with("--alpn h2")
                .shows(&format!("{CURL} --http2 -i"), "www-authenticate: Basic")
        },
    },
    Scenario {
        name: "the API wants a token and says so in its documents alone, and a certificate may come instead",
        source: "https://kubernetes.io/docs/reference/access-authn-authz/authentication/",
        expect: Risk(Cause::ClientCertNotSent),
        build: |w| {
            let address = w.nginx(&optional("if ($http_authorization = \"\") { return 401; }"));
            w.connect_bare(address)
                .shows(CURL_WITHOUT, "401 Authorization Required")
        },
    },
    Scenario {
        name: "nginx asks (optional), and its page says 401 to a good client without a word of a login",
        source: "https://nginx.org/en/docs/http/ngx_http_rewrite_module.html#return",
        expect: Risk(Cause::IdentityNotAllowed),
        build: |w| {
            let address = w.nginx(&optional("return 401;"));
            w.connect(address).shows(CURL, "401 Authorization Required")
        },
    },
    Scenario {
        name: "nginx asks (optional), and its page tells a good client to come with a token",
        source: "https://www.rfc-editor.org/rfc/rfc6750#section-3",
        expect: Healthy,
        build: |w| {
            let address = w.nginx(&optional(
                "add_header WWW-Authenticate Bearer always; return 401;",
            ));
            w.connect(address).shows(CURL, "401 Authorization Required")
        },
    },
    Scenario {
        name: "HTTP/2 alone, client of another CA",
        source: "https://github.com/chromium/badssl.com/issues/546",
        expect: Root(&[Cause::ClientCaNotTrusted]),
        build: |w| {
            stranger(w);
            let address = http2(w, "");
            w.connect(address)
                .with("--alpn h2")
                .shows(CURL, "The SSL certificate error")
        },
    },
    Scenario {
        name: "HTTP/2 alone, client without a certificate",
        source: "https://github.com/kubernetes/ingress-nginx/issues/13930",
        expect: Root(&[Cause::ClientCertNotSent]),
        build: |w| {
            let address = http2(w, "");
            w.connect_bare(address)
                .with("--alpn h2")
                .shows(CURL_WITHOUT, "No required SSL certificate was sent")
        },
    },
    Scenario {
        name: "HTTP/2 alone, the policy answers 403",
        source: "https://github.com/symfony/symfony/issues/31406",
        expect: Root(&[Cause::IdentityNotAllowed]),
        build: |w| {
            let address = http2(w, "if ($ssl_client_s_dn != \"CN=billing\") { return 403; }");
            w.connect(address)
                .with("--alpn h2")
                .shows(CURL, "403 Forbidden")
        },
    },
    Scenario {
        name: "HTTP/2 alone, the client is let in",
        source: "https://github.com/grpc/grpc/issues/23172",
        expect: Healthy,
        build: |w| {
            let address = http2(w, "");
            w.connect(address)
                .with("--alpn h2 --expect-enforced")
                .shows(CODE, "200")
        },
    },
    Scenario {
        name: "Host header names another host than SNI, the client has a certificate",
        source: "https://github.com/oven-sh/bun/pull/37197",
        expect: Root(&[Cause::SniHostMismatch]),
        build: |w| {
            two_hosts(w);
            let guarded = PLAIN_NGINX
                .replace("localhost", "api.example.com")
                .replace("location", "ssl_client_certificate FOLDER/root.pem; ssl_verify_client on; ssl_verify_depth 3; location");
            let address = w.nginx(&format!("{PLAIN_NGINX}\n{guarded}"));
            w.connect(address)
                .with("--host-header api.example.com")
                .shows(&format!("{CURL} -H Host:api.example.com"), "421")
        },
    },
    Scenario {
        name: "refusal of TLS 1.3 that takes more than a second",
        source: "https://github.com/golang/go/issues/28779",
        expect: Root(&[Cause::ClientCaNotTrusted]),
        build: |w| {
            stranger(w);
            let behind = w.mutual_s_server("-tls1_3 -no_ticket -num_tickets 0");
            let address = w.listen(move |stream| carry(stream, behind, Flow::Late));
            w.connect(address).shows(CURL, "alert unknown ca")
        },
    },
    Scenario {
        name: "admission of TLS 1.3 that takes more than a second",
        source: "https://github.com/golang/go/issues/28779",
        expect: Healthy,
        build: |w| {
            let behind = w.mutual_s_server("-tls1_3 -no_ticket -num_tickets 0");
            let address = w.listen(move |stream| carry(stream, behind, Flow::Late));
            w.connect(address)
                .with("--expect-enforced")
                .shows(CODE, "200")
        },
    },
    Scenario {
        name: "clock a year behind, certificate over at the server alone",
        source: "https://github.com/kubernetes/kubernetes/pull/97680",
        expect: Root(&[Cause::ClockSkewLocal]),
        build: |w| {
            w.client(&forge::valid(forge::client("client"), -500 * DAY, -DAY));
            w.server(&forge::valid(
                forge::server(&["localhost"]),
                -500 * DAY,
                DAY,
            ));
            let address = w.mutual_nginx("");
            w.connect(address)
                .at("-365d")
                .shows(CURL, "The SSL certificate error")
        },
    },
    Scenario {
        name: "Apache allows one step less than the client's chain has",
        source: "https://httpd.apache.org/docs/2.4/mod/mod_ssl.html#sslverifydepth",
        expect: Root(&[Cause::VerifyDepthTooSmall]),
        build: |w| {
            let lower = w.issuing.below(forge::authority("Corpus Team CA"));
            let above = format!("{}{}", lower.pem(), w.issuing.pem());
            w.client_is(&lower.issue(&forge::client("client")), &above);
            let address = w.apache(
                &crate::doctor_corpus::live_client::MUTUAL_APACHE
                    .replace("SSLVerifyDepth 3", "SSLVerifyDepth 1"),
            );
            w.connect(address).shows(CURL, "alert")
        },
    },
    Scenario {
        name: "Apache counts the root: SSLVerifyDepth 1, one intermediate",
        source: "https://httpd.apache.org/docs/2.4/mod/mod_ssl.html#sslverifydepth",
        expect: Root(&[Cause::VerifyDepthTooSmall]),
        build: |w| {
            let address = w.apache(
                &crate::doctor_corpus::live_client::MUTUAL_APACHE
                    .replace(" SSLVerifyDepth 3\n", ""),
            );
            w.connect(address).shows(CURL, "alert")
        },
    },
    Scenario {
        name: "client with a key on P-521, TLS 1.2, which OpenSSL takes from those who list the curve",
        source: "https://www.rfc-editor.org/rfc/rfc8422#section-5.1.1",
        expect: Risk(Cause::SigalgUnsupported),
        build: |w| {
            w.run("openssl ecparam -name secp521r1 -genkey -noout -out client.key");
            w.mode("client.key", 0o600);
            w.run("openssl req -new -key client.key -subj /CN=client -out client.csr");
            w.write(
                "client.ext",
                "basicConstraints=CA:FALSE\nextendedKeyUsage=clientAuth\n",
            );
            w.write_key("issuing.key", w.issuing.key_pem());
            w.run("openssl x509 -req -in client.csr -CA issuing.pem -CAkey issuing.key -set_serial 77 -days 9 -extfile client.ext -out leaf.pem");
            w.join("client.pem", &["leaf.pem", "issuing.pem"]);
            let address = w.mutual_nginx("ssl_protocols TLSv1.2;");
            w.connect(address).shows(CURL, "ok")
        },
    },
    Scenario {
        name: "client's bundle holds only the intermediate, live",
        source: "https://github.com/haproxy/haproxy/issues/404",
        expect: Root(&[Cause::TrustAnchorIsIntermediate]),
        build: |w| {
            let address = w.nginx(PLAIN_NGINX);
            w.connect_bare(address)
                .instead("--ca", "issuing.pem")
                .shows(
                    "openssl s_client -connect TARGET -CAfile issuing.pem",
                    "unable to get issuer certificate",
                )
        },
    },
    Scenario {
        name: "address written as a DNS name, live",
        source: "https://github.com/etcd-io/etcd/issues/8318",
        expect: Root(&[Cause::IpSanMissing]),
        build: |w| {
            w.server(&forge::server(&["127.0.0.1"]));
            let address = w.nginx(PLAIN_NGINX);
            w.connect_bare(address).to(address.to_string()).shows(
                "openssl s_client -connect TARGET -CAfile root.pem -verify_ip 127.0.0.1",
                "IP address mismatch",
            )
        },
    },
    Scenario {
        name: "server's leaf quotes a key identifier that its CA no longer has",
        source: "https://github.com/mitmproxy/mitmproxy/pull/8214",
        expect: Root(&[Cause::AkiMismatch]),
        build: |w| {
            let mut renewed = forge::authority("Corpus Root CA");
            renewed.key_identifier_method = KeyIdMethod::PreSpecified(vec![9; 20]);
            w.server_is(&w.root.issue(&forge::server(&["localhost"])), "");
            w.write("root.pem", w.root.again(renewed).pem());
            let address = w.nginx(PLAIN_NGINX);
            w.connect_bare(address)
                .shows(CURL_WITHOUT, "unable to get local issuer certificate")
        },
    },
    Scenario {
        name: "server insists on P-521",
        source: "https://docs.openssl.org/3.0/man3/SSL_CTX_set1_curves/",
        expect: Risk(Cause::NoSharedCipher),
        build: |w| {
            let address = w.mutual_s_server("-groups P-521");
            w.connect(address).shows(CODE, "200")
        },
    },
    Scenario {
        name: "client ends at TLS 1.1",
        source: "https://github.com/ytti/oxidized/issues/3141",
        expect: Root(&[Cause::TlsVersionMismatch]),
        build: |w| {
            let address = w.mutual_nginx("ssl_protocols TLSv1.2;");
            w.connect(address)
                .with("--max-tls 1.1")
                .shows(&format!("{CURL_WITHOUT} --tls-max 1.1"), "SSL")
        },
    },
    Scenario {
        name: "http:// to nginx's TLS port, which says to come back by https://",
        source: "https://nginx.org/en/docs/http/ngx_http_ssl_module.html#errors",
        expect: Risk(Cause::PlainHttpToTlsPort),
        build: |w| {
            let address =
                w.mutual_nginx("error_page 497 =301 https://$host:$server_port$request_uri;");
            w.ask()
                .to(format!("http://localhost:{}/", address.port()))
                .with("--ca root.pem --cert client.pem --key client.key")
                .shows("curl -sSi --max-time 3 TARGET", "301 Moved Permanently")
        },
    },
];

/// A server block that takes a certificate if there is one, and does this first with every request.
fn optional(page: &str) -> String {
    PLAIN_NGINX.replace(
        "location / {",
        &format!("ssl_client_certificate FOLDER/root.pem; ssl_verify_client optional; ssl_verify_depth 3; location / {{ {page}"),
    )
}

/// nginx that asks in this way, and does this with whom it did not verify.
fn asking(how: &str, otherwise: &str) -> String {
    PLAIN_NGINX.replace(
        "location / {",
        &format!(
            "ssl_client_certificate FOLDER/root.pem; ssl_verify_client {how}; ssl_verify_depth 3; \
             location / {{ if ($ssl_client_verify != SUCCESS) {{ {otherwise}; }}"
        ),
    )
}

/// nginx that asks for a certificate and insists on a password.
fn login() -> String {
    PLAIN_NGINX.replace(
        "location / { return 200 ok; }",
        "ssl_client_certificate FOLDER/root.pem; ssl_verify_client optional; \
         auth_basic staff; auth_basic_user_file FOLDER/root.pem; root FOLDER;",
    )
}

/// Mutual TLS and HTTP/2, with these directives besides.
fn http2(workshop: &mut Workshop, directives: &str) -> std::net::SocketAddr {
    let server = PLAIN_NGINX.replace("ADDRESS ssl", "ADDRESS ssl http2").replace(
        "location",
        &format!("ssl_client_certificate FOLDER/root.pem; ssl_verify_client on; ssl_verify_depth 3; {directives} location"),
    );
    workshop.nginx(&server)
}

fn stranger(workshop: &Workshop) {
    let other = Authority::root(forge::authority("Partner Root CA"));
    workshop.client_is(&other.issue(&forge::client("client")), "");
}
