//! Envoy, and what is made of it (Istio, Contour, Consul): transport failure reasons, stats, RBAC, SDS.

use super::meaning::{self, file, revocation, transport};
use super::message::Side::{Client, Server};
use super::message::{Meaning, Product, Table, client, either, mark, row, server};
use crate::cause::Cause;

pub(super) static TABLE: Table = Table {
    product: Product::Envoy,
    rows: &[
        row("verify cert failed: SAN matcher", &SAN_MATCHER, VALIDATOR),
        row("verify SAN list", &SAN_MATCHER, VALIDATOR),
        row(
            "verify cert failed: cert hash and spki",
            &meaning::PIN,
            VALIDATOR,
        ),
        row(
            "verify cert failed: empty cert chain",
            &meaning::NO_CLIENT_CERT,
            VALIDATOR,
        ),
        row(
            "verify cert failed: X509_verify_cert: certificate verification error at depth {depth}:",
            &meaning::VERIFY_FAILED,
            VALIDATOR,
        ),
        row("SAN matcher, certificate SANs are", &SAN_MATCHER, VALIDATOR),
        row("verify cert failed: verify SAN", &SAN_MATCHER, VALIDATOR),
        row("RBAC: access denied", &meaning::NOT_ALLOWED, RBAC),
        row(
            "rbac_access_denied_matched_policy[{policy}]",
            &meaning::NOT_ALLOWED,
            RBAC,
        ),
        row(
            "Failed to load certificate chain from",
            &file::UNUSABLE_CERTIFICATE,
            CONTEXT,
        ),
        row(
            "Failed to load incomplete certificate from",
            &file::NO_KEY_PEM,
            CONTEXT,
        ),
        row(
            "Failed to load incomplete private key from",
            &file::UNUSABLE_KEY,
            CONTEXT,
        ),
        row(
            "Failed to load private key from {file}",
            &file::UNUSABLE_KEY,
            CONTEXT,
        ),
        row(
            "Failed to load trusted CA certificates from",
            &file::UNUSABLE_BUNDLE,
            VALIDATOR,
        ),
        row(
            "Failed to load CRL from",
            &revocation::CRL_UNPROCESSED,
            VALIDATOR,
        ),
        row("TLS error: Secret is not supplied by SDS", &SDS, CONTEXT),
        row("Secret is not supplied by SDS", &SDS, CONTEXT),
        row(
            "gRPC config for type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret rejected",
            &SDS,
            CONTEXT,
        ),
        row(
            "upstream connect error or disconnect/reset before headers{}connection refused",
            &transport::REFUSED,
            UPSTREAM,
        ),
        row(
            "immediate connect error: Connection refused",
            &transport::REFUSED,
            UPSTREAM,
        ),
        row("delayed connect error: 111", &transport::REFUSED, UPSTREAM),
        row(
            "delayed connect error: Connection refused",
            &transport::REFUSED,
            UPSTREAM,
        ),
        row(
            "filter_chain_not_found",
            &meaning::SNI_UNKNOWN,
            "envoy source/common/listener_manager/active_tcp_listener.cc",
        ),
        row(
            "closing connection: no matching filter chain found",
            &meaning::SNI_UNKNOWN,
            "envoy source/common/listener_manager/active_stream_listener_base.cc",
        ),
        row("TLS_error_end:TLS_error_end", &transport::FAILED, UPSTREAM),
        mark("outbound|", Client),
        mark("rdkafka#producer", Client),
        mark("rdkafka#consumer", Client),
        mark("rdkafka: ", Client),
        mark("cluster_name", Client),
        mark("remote address:{},TLS_error", Client),
        mark("transport failure reason: TLS_error", Client),
        mark("transport failure reason", Client),
        mark("inbound|", Server),
        mark("listener_0", Server),
        mark("virtualInbound", Server),
        mark("downstream_remote_address", Server),
    ],
};

static SAN_MATCHER: Meaning = Meaning::new(
    "{peer}'s certificate is trusted, and none of its names is one that {self} expects",
    &[
        server(Cause::NameMismatch),
        server(Cause::IdentityNotAllowed).likely(),
    ],
    &[client(Cause::IdentityNotAllowed)],
);

static SDS: Meaning = Meaning::same(
    "Envoy has not got its certificate or trust bundle (SDS)",
    &[either(Cause::FileMissing).likely()],
);

const VALIDATOR: &str = "envoy source/common/tls/cert_validator/default_validator.cc";
const CONTEXT: &str = "envoy source/common/tls/context_impl.cc, ssl_socket.cc";
const RBAC: &str = "envoy source/extensions/filters/http/rbac/rbac_filter.cc";
const UPSTREAM: &str = "envoy source/common/router/router.cc";
