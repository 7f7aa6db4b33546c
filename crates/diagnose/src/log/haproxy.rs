//! HAProxy: connection errors, `fc_err`, and what it says of its files when it starts.

use super::meaning::{self, file, revocation, transport};
use super::message::{Product, Table, row};

pub(super) static TABLE: Table = Table {
    product: Product::HaProxy,
    rows: &[
        row(
            "SSL client CA chain cannot be verified",
            &CLIENT_UNTRUSTED,
            CONNECTION,
        ),
        row(
            "SSL client certificate not trusted",
            &CLIENT_REFUSED,
            CONNECTION,
        ),
        row(
            "SSL client certificate not present",
            &meaning::NO_CLIENT_CERT,
            CONNECTION,
        ),
        row(
            "Server presented an SSL certificate different from the configured one",
            &meaning::NAME_MISMATCH,
            CONNECTION,
        ),
        row(
            "Server presented an SSL certificate different from the expected one",
            &meaning::NAME_MISMATCH,
            CONNECTION,
        ),
        row("SSL handshake failure", &transport::FAILED, CONNECTION),
        row(
            "Timeout during SSL handshake",
            &transport::SILENT,
            CONNECTION,
        ),
        row(
            "Connection closed during SSL handshake",
            &transport::CLOSED_BY_CLIENT,
            CONNECTION,
        ),
        row(
            "Connection error during SSL handshake",
            &transport::RESET,
            CONNECTION,
        ),
        row(
            "Received something which does not look like a PROXY protocol header",
            &transport::PROXY_HEADER,
            CONNECTION,
        ),
        row(
            "Received an invalid PROXY protocol header",
            &transport::PROXY_HEADER,
            CONNECTION,
        ),
        row(
            "Timeout while waiting for PROXY header",
            &transport::PROXY_HEADER,
            CONNECTION,
        ),
        row(
            "Connection closed while waiting for PROXY header",
            &transport::PROXY_HEADER,
            CONNECTION,
        ),
        row(
            "inconsistencies between private key and certificate loaded",
            &file::KEY_MISMATCH,
            FILES,
        ),
        row(
            "unable to load SSL private key from",
            &file::UNUSABLE_KEY,
            FILES,
        ),
        row(
            "unable to load SSL certificate from PEM file",
            &file::UNUSABLE_CERTIFICATE,
            FILES,
        ),
        row(
            "unable to load certificate from file",
            &file::UNUSABLE_CERTIFICATE,
            FILES,
        ),
        row(
            "unable to load certificate chain from file",
            &file::NO_CERTIFICATE_PEM,
            FILES,
        ),
        row("No Private Key found in '{file}'", &file::NO_KEY_PEM, FILES),
        row(
            "unable to stat SSL certificate from file",
            &file::MISSING,
            FILES,
        ),
        row("unable to load CA file", &file::UNUSABLE_BUNDLE, FILES),
        row("unable to set CRL file", &revocation::CRL_MISSING, FILES),
        row(
            "verify is enabled by default but no CA file specified",
            &meaning::BUNDLE_EMPTY,
            FILES,
        ),
        row(
            "verify is enabled but no CA file specified",
            &meaning::BUNDLE_EMPTY,
            FILES,
        ),
        row(
            "Layer6 invalid response, info: \"SSL handshake failure",
            &transport::FAILED,
            CHECK,
        ),
        row("Layer6 timeout", &transport::SILENT, CHECK),
        row(
            "Layer4 connection problem, info: \"Connection refused",
            &transport::REFUSED,
            CHECK,
        ),
    ],
};

static CLIENT_UNTRUSTED: super::message::Meaning = super::message::Meaning::at_server(
    "a CA above the client's certificate could not be verified",
    &[
        super::message::client(crate::cause::Cause::ClientCaNotTrusted).likely(),
        super::message::client(crate::cause::Cause::ChainMissingIntermediate).possible(),
        super::message::client(crate::cause::Cause::IntermediateExpired).possible(),
        super::message::client(crate::cause::Cause::VerifyDepthTooSmall).possible(),
        super::message::either(crate::cause::Cause::CrlMissing).possible(),
    ],
);

static CLIENT_REFUSED: super::message::Meaning = super::message::Meaning::at_server(
    "the client's certificate was not accepted: untrusted, expired, revoked or for another purpose",
    &[
        super::message::client(crate::cause::Cause::ClientCaNotTrusted).likely(),
        super::message::client(crate::cause::Cause::LeafExpired).possible(),
        super::message::client(crate::cause::Cause::CertificateRevoked).possible(),
        super::message::client(crate::cause::Cause::EkuMissingClientauth).possible(),
        super::message::either(crate::cause::Cause::CrlExpired).possible(),
    ],
);

const CONNECTION: &str = "haproxy src/connection.c; doc/configuration.txt, fc_err";
const FILES: &str = "haproxy src/ssl_ckch.c, src/ssl_sock.c";
const CHECK: &str = "haproxy src/check.c, src/server.c";
