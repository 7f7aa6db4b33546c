//! gRPC: the C core (C++, Python, Ruby, PHP) and what its bindings print.

use super::meaning::{self, file, transport};
use super::message::{Product, Table, row};

pub(super) static TABLE: Table = Table {
    product: Product::Grpc,
    rows: &[
        row(
            "Peer name {host} is not in peer certificate",
            &meaning::NAME_MISMATCH,
            SECURITY,
        ),
        row(
            "Hostname Verification Check failed",
            &meaning::NAME_MISMATCH,
            SECURITY,
        ),
        row(
            "Cannot check peer: missing selected ALPN property",
            &transport::ALPN,
            SECURITY,
        ),
        row(
            "Could not load any root certificate",
            &meaning::BUNDLE_EMPTY,
            TSI,
        ),
        row(
            "Cannot load server root certificates",
            &meaning::BUNDLE_EMPTY,
            TSI,
        ),
        row("Invalid cert chain file", &file::UNUSABLE_CERTIFICATE, TSI),
        row(
            "Handshaker factory creation failed with TSI_INVALID_ARGUMENT",
            &file::UNUSABLE_CERTIFICATE,
            TSI,
        ),
        row(
            "Handshake failed with fatal error SSL_ERROR_SSL",
            &transport::FAILED,
            TSI,
        ),
        row(
            "Ssl handshake failed: SSL_ERROR_SSL",
            &transport::FAILED,
            TSI,
        ),
        row("debug data: \"max_age\"", &transport::TOO_OLD, AGE),
        row(
            "Unauthenticated: peer certificate is missing",
            &meaning::NO_PEER_CERT,
            SECURITY,
        ),
    ],
};

const SECURITY: &str =
    "grpc src/core/credentials/transport/tls, security/security_connector/ssl_utils.cc";
const TSI: &str = "grpc src/core/tsi/ssl_transport_security.cc";
const AGE: &str = "grpc-go internal/transport/http2_server.go, http2_client.go";
