//! Configurations of fronts that tell of client certificates in a header: whether a client can write it itself.

use Expect::{Healthy, Risk, Root};
use countersign_diagnose::cause::Cause;

use crate::doctor_corpus::scenario::{Expect, Scenario};
use crate::doctor_corpus::workshop::{Invocation, Workshop};

fn haproxy(workshop: &Workshop, bind: &str, rules: &str) -> Invocation {
    let text = format!(
        "defaults\n  mode http\nfrontend edge\n  bind {bind} ssl crt s.pem ca-file ca.pem verify optional\n{rules}  default_backend app\nbackend app\n  server a 10.0.0.2:80\n"
    );
    workshop.write("haproxy.cfg", text);
    workshop.ask().with("--file haproxy.cfg")
}

/// A listener on `address` that forwards so, with these lines of its TLS context.
fn envoy(workshop: &Workshop, address: &str, forwarding: &str, tls: &str) -> Invocation {
    let text = format!(
        "static_resources:\n  listeners:\n  - name: edge\n    address:\n      socket_address:\n        address: {address}\n        port_value: 443\n    filter_chains:\n    - filters:\n      - name: envoy.filters.network.http_connection_manager\n        typed_config:\n          forward_client_cert_details: {forwarding}\n{tls}  clusters:\n  - name: app\n    load_assignment:\n      address: 127.0.0.1\n"
    );
    workshop.write("envoy.yaml", text);
    workshop.ask().with("--file envoy.yaml")
}

const MUTUAL: &str = "      transport_socket:\n        typed_config:\n          require_client_certificate: true\n          common_tls_context:\n            validation_context:\n              trusted_ca:\n                filename: ca.pem\n";
const ANY: &str = "      transport_socket:\n        typed_config:\n          require_client_certificate: true\n          common_tls_context:\n            tls_certificates: []\n";

const SET: &str = "https://docs.haproxy.org/3.0/configuration.html#4.4-set-header";
const ADD: &str = "https://docs.haproxy.org/3.0/configuration.html#4.4-add-header";
const XFCC: &str = "https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_conn_man/headers#x-forwarded-client-cert";

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "HAProxy sets the identity only of those with a certificate",
        source: SET,
        expect: Root(&[Cause::IdentityHeaderSpoofable]),
        build: |w| {
            haproxy(
                w,
                ":443",
                "  http-request set-header X-SSL-Client-CN %{+Q}[ssl_c_s_dn(cn)] if { ssl_c_used }\n",
            )
        },
    },
    Scenario {
        name: "HAProxy sets the identity under a condition, behind del-header",
        source: SET,
        expect: Healthy,
        build: |w| {
            haproxy(
                w,
                ":443",
                "  http-request del-header x-ssl-client-cn\n  http-request set-header X-SSL-Client-CN %{+Q}[ssl_c_s_dn(cn)] if { ssl_c_used }\n",
            )
        },
    },
    Scenario {
        name: "HAProxy sets the identity of everybody",
        source: SET,
        expect: Healthy,
        build: |w| {
            haproxy(
                w,
                ":443",
                "  http-request set-header X-SSL-Client-CN %{+Q}[ssl_c_s_dn(cn)]\n",
            )
        },
    },
    Scenario {
        name: "HAProxy turns away who has no certificate, and sets the identity of the others",
        source: SET,
        expect: Healthy,
        build: |w| {
            haproxy(
                w,
                ":443",
                "  http-request deny unless { ssl_c_used }\n  http-request set-header X-SSL-Client-CN %{+Q}[ssl_c_s_dn(cn)] if { ssl_c_used }\n",
            )
        },
    },
    Scenario {
        name: "HAProxy adds the identity to what the client wrote",
        source: ADD,
        expect: Root(&[Cause::IdentityHeaderSpoofable]),
        build: |w| {
            haproxy(
                w,
                ":443",
                "  http-request add-header X-SSL-Client-DN %[ssl_c_s_dn]\n",
            )
        },
    },
    Scenario {
        name: "HAProxy adds the identity on this machine alone",
        source: ADD,
        expect: Healthy,
        build: |w| {
            haproxy(
                w,
                "127.0.0.1:443",
                "  http-request add-header X-SSL-Client-DN %[ssl_c_s_dn]\n",
            )
        },
    },
    Scenario {
        name: "HAProxy adds a header that says nothing of certificates",
        source: ADD,
        expect: Healthy,
        build: |w| {
            haproxy(
                w,
                ":443",
                "  http-request add-header X-Forwarded-Proto https if { ssl_fc }\n",
            )
        },
    },
    Scenario {
        name: "HAProxy has a plaintext frontend beside the one that sets the identity",
        source: SET,
        expect: Root(&[Cause::IdentityHeaderSpoofable]),
        build: |w| {
            haproxy(
                w,
                ":443",
                "  http-request set-header X-SSL-Client-CN %[ssl_c_s_dn(cn)]\n  default_backend app\nfrontend plain\n  bind :80\n",
            )
        },
    },
    Scenario {
        name: "HAProxy has a plaintext frontend that redirects",
        source: SET,
        expect: Healthy,
        build: |w| {
            haproxy(
                w,
                ":443",
                "  http-request set-header X-SSL-Client-CN %[ssl_c_s_dn(cn)]\n  default_backend app\nfrontend plain\n  bind :80\n  http-request redirect scheme https\n",
            )
        },
    },
    Scenario {
        name: "Envoy always forwards the header, without TLS",
        source: XFCC,
        expect: Root(&[Cause::IdentityHeaderSpoofable]),
        build: |w| envoy(w, "0.0.0.0", "ALWAYS_FORWARD_ONLY", ""),
    },
    Scenario {
        name: "Envoy always forwards the header, on this machine alone",
        source: XFCC,
        expect: Healthy,
        build: |w| envoy(w, "127.0.0.1", "ALWAYS_FORWARD_ONLY", ""),
    },
    Scenario {
        name: "Envoy forwards the header of those with a certificate, and asks for none",
        source: XFCC,
        expect: Healthy,
        build: |w| envoy(w, "0.0.0.0", "FORWARD_ONLY", ""),
    },
    Scenario {
        name: "Envoy forwards the header of whoever shows any certificate",
        source: XFCC,
        expect: Root(&[Cause::IdentityHeaderSpoofable]),
        build: |w| envoy(w, "0.0.0.0", "APPEND_FORWARD", ANY),
    },
    Scenario {
        name: "Envoy forwards the header of those with a good certificate",
        source: XFCC,
        expect: Risk(Cause::IdentityHeaderSpoofable),
        build: |w| envoy(w, "0.0.0.0", "FORWARD_ONLY", MUTUAL),
    },
    Scenario {
        name: "Envoy writes the header anew",
        source: XFCC,
        expect: Healthy,
        build: |w| envoy(w, "0.0.0.0", "SANITIZE_SET", MUTUAL),
    },
];
