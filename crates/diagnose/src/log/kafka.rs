//! Kafka: librdkafka and the brokers. What Java says in it is read by Java's rows.

use super::meaning::{self, file, transport};
use super::message::{Meaning, Product, Table, row, server};
use crate::cause::Cause;

pub(super) static TABLE: Table = Table {
    product: Product::Kafka,
    rows: &[
        row("SSL handshake failed", &transport::FAILED, KAFKA),
        row(
            "broker certificate could not be verified, verify that ssl.ca.location is correctly configured",
            &meaning::UNTRUSTED,
            RDKAFKA,
        ),
        row(
            "SSL handshake failed: Disconnected: connecting to a PLAINTEXT broker listener?",
            &transport::ANSWERS_PLAIN,
            RDKAFKA,
        ),
        row(
            "connecting to a PLAINTEXT broker listener?",
            &transport::ANSWERS_PLAIN,
            RDKAFKA,
        ),
        row(
            "Disconnected while requesting ApiVersion: might be caused by incorrect security.protocol configuration (connecting to a SSL listener?)",
            &transport::PLAIN_REQUEST,
            RDKAFKA,
        ),
        row(
            "connecting to a SSL listener?",
            &transport::PLAIN_REQUEST,
            RDKAFKA,
        ),
        row(
            "client SSL authentication might be required (see ssl.key.location and ssl.certificate.location",
            &meaning::NO_CLIENT_CERT_TOLD,
            RDKAFKA,
        ),
        row(
            "client SSL authentication might be required",
            &meaning::NO_CLIENT_CERT_TOLD,
            RDKAFKA,
        ),
        row(
            "ssl.ca.location failed: {reason}",
            &file::UNUSABLE_BUNDLE,
            RDKAFKA,
        ),
        row(
            "ssl.certificate.location failed: {reason}",
            &file::UNUSABLE_CERTIFICATE,
            RDKAFKA,
        ),
        row(
            "ssl.key.location failed: {reason}",
            &file::UNUSABLE_KEY,
            RDKAFKA,
        ),
        row(
            "Private key check failed: {reason}",
            &file::KEY_MISMATCH,
            RDKAFKA,
        ),
        row(
            "Failed to load SSL keystore {file} of type{}NoSuchFileException",
            &file::MISSING,
            KAFKA,
        ),
        row(
            "Failed to load SSL keystore {file} of type",
            &file::LEGACY_OR_PASSWORD,
            KAFKA,
        ),
        row(
            "Invalid receive (size = 36929561",
            &TLS_TO_PLAINTEXT,
            "kafka NetworkReceive.java; RFC 8446 §5.1: 16 03 01 read as a length",
        ),
        row(
            "Invalid receive (size = 36929562",
            &TLS_TO_PLAINTEXT,
            "kafka NetworkReceive.java; RFC 8446 §5.1: 16 03 01 read as a length",
        ),
        row(
            "SslAuthenticationException: SSL handshake failed",
            &transport::FAILED,
            KAFKA,
        ),
    ],
};

static TLS_TO_PLAINTEXT: Meaning = Meaning::at_server(
    "the client speaks TLS to a listener that does not",
    &[server(Cause::PeerNotTls)],
);

const RDKAFKA: &str = "librdkafka src/rdkafka_ssl.c, rdkafka_broker.c";
const KAFKA: &str = "kafka clients/common/security/ssl";
