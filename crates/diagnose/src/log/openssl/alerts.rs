//! Alerts that OpenSSL received: `sslv3 alert …`, `tlsv1 alert …`, `tlsv13 alert …`, and since 3.2 `ssl/tls alert …`.
//!
//! The words before `alert` tell only since which version of TLS it exists, so that they do not count here.

use crate::log::meaning::alert;
use crate::log::message::{Product, Table, row};

pub(in crate::log) static TABLE: Table = Table {
    product: Product::OpenSsl,
    rows: &[
        row("alert unknown ca", &alert::UNKNOWN_CA, SOURCE),
        row("alert bad certificate", &alert::BAD_CERTIFICATE, SOURCE),
        row(
            "alert certificate unknown",
            &alert::CERTIFICATE_UNKNOWN,
            SOURCE,
        ),
        row("alert certificate expired", &alert::EXPIRED, SOURCE),
        row("alert certificate revoked", &alert::REVOKED, SOURCE),
        row("alert unsupported certificate", &alert::UNSUPPORTED, SOURCE),
        row("alert certificate required", &alert::REQUIRED, SOURCE),
        row("alert no certificate", &alert::REQUIRED, SOURCE),
        row("alert handshake failure", &alert::HANDSHAKE_FAILURE, SOURCE),
        row("alert protocol version", &alert::PROTOCOL_VERSION, SOURCE),
        row(
            "alert inappropriate fallback",
            &alert::PROTOCOL_VERSION,
            SOURCE,
        ),
        row("alert insufficient security", &alert::INSUFFICIENT, SOURCE),
        row("alert decrypt error", &alert::DECRYPT_ERROR, SOURCE),
        row("alert access denied", &alert::ACCESS_DENIED, SOURCE),
        row("tlsv1 unrecognized name", &alert::UNRECOGNIZED_NAME, SOURCE),
        row("alert unrecognized name", &alert::UNRECOGNIZED_NAME, SOURCE),
        row(
            "alert no application protocol",
            &alert::NO_APPLICATION_PROTOCOL,
            SOURCE,
        ),
        row("alert internal error", &alert::INTERNAL_ERROR, SOURCE),
        row("alert decode error", &alert::PROTOCOL, SOURCE),
        row("alert illegal parameter", &alert::PROTOCOL, SOURCE),
        row("alert unexpected message", &alert::PROTOCOL, SOURCE),
        row("alert bad record mac", &alert::PROTOCOL, SOURCE),
        row("alert decryption failed", &alert::PROTOCOL, SOURCE),
        row("alert missing extension", &alert::PROTOCOL, SOURCE),
        row("tlsv13 alert missing extension", &alert::PROTOCOL, SOURCE),
        row("tlsv1 unsupported extension", &alert::PROTOCOL, SOURCE),
        row("alert record overflow", &alert::RECORD_OVERFLOW, SOURCE),
        row(
            "tlsv1 bad certificate status response",
            &alert::STATUS_RESPONSE,
            SOURCE,
        ),
        row(
            "tlsv1 certificate unobtainable",
            &alert::UNOBTAINABLE,
            SOURCE,
        ),
        row("alert no renegotiation", &alert::NO_RENEGOTIATION, SOURCE),
        row("alert user cancelled", &alert::USER_CANCELED, SOURCE),
        // Numbers alone, RFC 8446 §6.
        row("SSL alert number 42", &alert::BAD_CERTIFICATE, SOURCE),
        row("SSL alert number 43", &alert::UNSUPPORTED, SOURCE),
        row("SSL alert number 44", &alert::REVOKED, SOURCE),
        row("SSL alert number 45", &alert::EXPIRED, SOURCE),
        row("SSL alert number 46", &alert::CERTIFICATE_UNKNOWN, SOURCE),
        row("SSL alert number 48", &alert::UNKNOWN_CA, SOURCE),
        row("SSL alert number 49", &alert::ACCESS_DENIED, SOURCE),
        row("SSL alert number 51", &alert::DECRYPT_ERROR, SOURCE),
        row("SSL alert number 70", &alert::PROTOCOL_VERSION, SOURCE),
        row("SSL alert number 71", &alert::INSUFFICIENT, SOURCE),
        row("SSL alert number 112", &alert::UNRECOGNIZED_NAME, SOURCE),
        row("SSL alert number 116", &alert::REQUIRED, SOURCE),
        row(
            "SSL alert number 120",
            &alert::NO_APPLICATION_PROTOCOL,
            SOURCE,
        ),
        // `s_client -msg`, `-state` and others that print what came over the wire.
        row("read alert, unknown CA", &alert::UNKNOWN_CA, STATE),
        row(
            "SSL3 alert read:fatal:unknown CA",
            &alert::UNKNOWN_CA,
            STATE,
        ),
        row(
            "SSL3 alert read:fatal:bad certificate",
            &alert::BAD_CERTIFICATE,
            STATE,
        ),
        row(
            "SSL3 alert read:fatal:certificate unknown",
            &alert::CERTIFICATE_UNKNOWN,
            STATE,
        ),
        row(
            "SSL3 alert read:fatal:certificate expired",
            &alert::EXPIRED,
            STATE,
        ),
        row(
            "SSL3 alert read:fatal:certificate revoked",
            &alert::REVOKED,
            STATE,
        ),
        row(
            "SSL3 alert read:fatal:unsupported certificate",
            &alert::UNSUPPORTED,
            STATE,
        ),
        row(
            "SSL3 alert read:fatal:handshake failure",
            &alert::HANDSHAKE_FAILURE,
            STATE,
        ),
        row(
            "SSL3 alert read:fatal:protocol version",
            &alert::PROTOCOL_VERSION,
            STATE,
        ),
        row(
            "SSL3 alert read:fatal:unrecognized name",
            &alert::UNRECOGNIZED_NAME,
            STATE,
        ),
    ],
};

const SOURCE: &str = "openssl ssl/ssl_err.c, ssl/ssl_stat.c; RFC 8446 §6";
const STATE: &str = "openssl apps/lib/s_cb.c, ssl/ssl_stat.c";
