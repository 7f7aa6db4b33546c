//! `OpenVPN`.

use super::meaning::{self, file, revocation, transport};
use super::message::Side::{Client, Server};
use super::message::{Meaning, Product, Table, either, mark, row};
use crate::cause::Cause;

pub(super) static TABLE: Table = Table {
    product: Product::OpenVpn,
    rows: &[
        row(
            "VERIFY ERROR: depth={depth}, error=",
            &meaning::VERIFY_FAILED,
            VERIFY,
        ),
        row(
            "VERIFY ERROR: depth={depth}, could not extract",
            &meaning::MALFORMED,
            VERIFY,
        ),
        row(
            "VERIFY ERROR: CRL not loaded",
            &revocation::CRL_MISSING,
            VERIFY,
        ),
        row(
            "VERIFY X509NAME ERROR: {name}, must be {wanted}",
            &meaning::NAME_MISMATCH,
            VERIFY,
        ),
        row("VERIFY KU ERROR", &meaning::KEY_USAGE, VERIFY),
        row(
            "Certificate does not have key usage extension",
            &meaning::EXTENSIONS,
            VERIFY,
        ),
        row("VERIFY EKU ERROR", &meaning::PURPOSE, VERIFY),
        row("VERIFY SCRIPT ERROR", &meaning::NOT_ALLOWED, VERIFY),
        row(
            "TLS Error: TLS key negotiation failed to occur within {time} seconds",
            &transport::SILENT,
            "openvpn src/openvpn/ssl.c",
        ),
        row(
            "Cannot load certificate file {file}",
            &file::UNUSABLE_CERTIFICATE,
            FILES,
        ),
        row(
            "Cannot load private key file {file}",
            &file::UNUSABLE_KEY,
            FILES,
        ),
        row(
            "Cannot load CA certificate file {file}",
            &file::UNUSABLE_BUNDLE,
            FILES,
        ),
        row(
            "Private key does not match the certificate",
            &file::KEY_MISMATCH,
            FILES,
        ),
        row("Your certificate has expired!", &OWN_EXPIRED, FILES),
        row(
            "WARNING: Your certificate is not yet valid!",
            &meaning::CLOCK,
            FILES,
        ),
        mark("Attempting to establish TCP connection with", Client),
        mark("TCPv4_CLIENT link", Client),
        mark("Peer Connection Initiated with", Server),
    ],
};

static OWN_EXPIRED: Meaning = Meaning::same(
    "{self}'s own certificate has expired",
    &[either(Cause::LeafExpired)],
);

const VERIFY: &str = "openvpn src/openvpn/ssl_verify.c, ssl_verify_openssl.c";
const FILES: &str = "openvpn src/openvpn/ssl_openssl.c";
