//! `BoringSSL`: `SSL routines:OPENSSL_internal:…`, which Envoy, gRPC, Chromium and Android print.
//!
//! Its names of reasons are OpenSSL's texts with underscores, and are read by the same rows; here is what differs.

use super::meaning::{self, alert, file, transport};
use super::message::{Product, Table, row};

pub(super) static TABLE: Table = Table {
    product: Product::BoringSsl,
    rows: &[
        row(
            "OPENSSL_internal:Connection reset by peer",
            &transport::RESET,
            SOURCE,
        ),
        row(
            "OPENSSL_internal:WRONG_VERSION_NUMBER",
            &transport::NOT_TLS,
            SOURCE,
        ),
        row(
            "OPENSSL_internal:HTTP_REQUEST",
            &transport::PLAIN_REQUEST,
            SOURCE,
        ),
        row(
            "OPENSSL_internal:HTTPS_PROXY_REQUEST",
            &transport::PLAIN_REQUEST,
            SOURCE,
        ),
        row(
            "OPENSSL_internal:NO_SHARED_CIPHER",
            &transport::CIPHER,
            SOURCE,
        ),
        row(
            "OPENSSL_internal:NO_SHARED_GROUP",
            &transport::GROUP,
            SOURCE,
        ),
        row(
            "OPENSSL_internal:NO_COMMON_SIGNATURE_ALGORITHMS",
            &meaning::SIGALG,
            SOURCE,
        ),
        row(
            "OPENSSL_internal:UNSUPPORTED_PROTOCOL",
            &transport::VERSION,
            SOURCE,
        ),
        row(
            "OPENSSL_internal:BAD_SIGNATURE",
            &meaning::POSSESSION,
            SOURCE,
        ),
        row(
            "OPENSSL_internal:KEY_USAGE_BIT_INCORRECT",
            &meaning::KEY_USAGE,
            SOURCE,
        ),
        row(
            "OPENSSL_internal:CERT_LENGTH_MISMATCH",
            &transport::BROKEN,
            SOURCE,
        ),
        row(
            "OPENSSL_internal:EXCESSIVE_MESSAGE_SIZE",
            &meaning::MESSAGE_TOO_LARGE,
            SOURCE,
        ),
        row(
            "OPENSSL_internal:HANDSHAKE_FAILURE_ON_CLIENT_HELLO",
            &transport::CIPHER,
            SOURCE,
        ),
        row(
            "HANDSHAKE_FAILURE_ON_CLIENT_HELLO",
            &alert::HANDSHAKE_FAILURE,
            SOURCE,
        ),
        row(
            "OPENSSL_internal:UNEXPECTED_MESSAGE",
            &transport::BROKEN,
            SOURCE,
        ),
        row(
            "OPENSSL_internal:INVALID_OUTER_RECORD_TYPE",
            &transport::NOT_TLS,
            SOURCE,
        ),
        row(
            "OPENSSL_internal:KEY_VALUES_MISMATCH",
            &file::KEY_MISMATCH,
            SOURCE,
        ),
        row("OPENSSL_internal:NO_START_LINE", &file::NO_PEM, SOURCE),
        row(
            "OPENSSL_internal:CONNECTION_REJECTED",
            &transport::FAILED,
            SOURCE,
        ),
        row(
            "OPENSSL_internal:NO_APPLICATION_PROTOCOL",
            &transport::ALPN,
            SOURCE,
        ),
        row(
            "OPENSSL_internal:UNRECOGNIZED_NAME",
            &meaning::SNI_UNKNOWN,
            SOURCE,
        ),
        row("TLSV1_CERTIFICATE_REQUIRED", &alert::REQUIRED, SOURCE),
        row("SSLV3_ALERT_NO_CERTIFICATE", &alert::REQUIRED, SOURCE),
        row("BAD_PASSWORD_READ", &file::ENCRYPTED, SOURCE),
        row(
            "Cipher functions:OPENSSL_internal:BAD_DECRYPT",
            &file::DECRYPTION,
            SOURCE,
        ),
    ],
};

const SOURCE: &str = "boringssl crypto/err/ssl.errordata";
