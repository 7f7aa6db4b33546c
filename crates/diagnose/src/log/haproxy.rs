//! `HAProxy`: connection errors, `fc_err`, and what it says of its files when it starts.

use super::meaning::{self, file, revocation, transport};
use super::message::{Meaning, Product, Table, client, either, row, server};
use crate::cause::Cause;

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
        row("SSL handshake failure", &FAILED, CONNECTION),
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

static FAILED: Meaning = Meaning::at_server(
    "the handshake with a client failed; without a certificate from the client that is all that HAProxy says",
    &[
        client(Cause::ClientCertNotSent).possible(),
        server(Cause::ServerCaNotTrusted).possible(),
        either(Cause::NoSharedCipher).possible(),
        either(Cause::TlsVersionMismatch).possible(),
    ],
)
.wrapper();

static CLIENT_UNTRUSTED: Meaning = Meaning::at_server(
    "a CA above the client's certificate could not be verified",
    &[
        client(Cause::ClientCaNotTrusted).likely(),
        client(Cause::ChainMissingIntermediate).possible(),
        client(Cause::IntermediateExpired).possible(),
        client(Cause::VerifyDepthTooSmall).possible(),
        either(Cause::CrlMissing).possible(),
    ],
);

static CLIENT_REFUSED: Meaning = Meaning::at_server(
    "the client's certificate was not accepted: untrusted, expired, revoked or for another purpose",
    &[
        client(Cause::ClientCaNotTrusted).likely(),
        client(Cause::LeafExpired).possible(),
        client(Cause::CertificateRevoked).possible(),
        client(Cause::EkuMissingClientauth).possible(),
        either(Cause::CrlExpired).possible(),
    ],
);

const CONNECTION: &str = "haproxy src/connection.c; doc/configuration.txt, fc_err";
const FILES: &str = "haproxy src/ssl_ckch.c, src/ssl_sock.c";
const CHECK: &str = "haproxy src/check.c, src/server.c";
