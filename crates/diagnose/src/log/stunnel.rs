//! stunnel.

use super::meaning::{self, file, revocation, transport};
use super::message::Side::{Client, Server};
use super::message::{Product, Row, Table, Tells, mark, row};

pub(super) static TABLE: Table = Table {
    product: Product::Stunnel,
    rows: &[
        row(
            "CERT: Pre-verification error: ",
            &meaning::VERIFY_FAILED,
            VERIFY,
        ),
        row(
            "CERT: Verification error: ",
            &meaning::VERIFY_FAILED,
            VERIFY,
        ),
        Row {
            words: "Rejected by CERT at depth={depth}: {subject}",
            tells: Tells::Depth,
            source: "",
        },
        row(
            "CERT: Host name checks failed",
            &meaning::NAME_MISMATCH,
            VERIFY,
        ),
        row(
            "CERT: No matching host name found",
            &meaning::NAME_MISMATCH,
            VERIFY,
        ),
        row(
            "CERT: No matching IP address found",
            &meaning::IP_SAN,
            VERIFY,
        ),
        row(
            "CERT: Subject checks failed",
            &meaning::NAME_MISMATCH,
            VERIFY,
        ),
        row(
            "Certificate not found in local repository",
            &meaning::PIN,
            VERIFY,
        ),
        row(
            "OCSP: The responder {} certificate revoked",
            &revocation::REVOKED,
            "stunnel src/ocsp.c",
        ),
        row(
            "OCSP: Connection refused by the responder",
            &revocation::OCSP_UNREACHABLE,
            "stunnel src/ocsp.c",
        ),
        row("Wrong permissions on {file}", &file::PERMISSIONS, CTX),
        row("Wrong passphrase", &file::PASSWORD, CTX),
        row("Private key check failed", &file::KEY_MISMATCH, CTX),
        row(
            "TLS accepted: no peer certificate",
            &meaning::NO_CLIENT_CERT,
            VERIFY,
        ),
        row(
            "s_connect: connect {address}: Connection refused (111)",
            &transport::REFUSED,
            "stunnel src/network.c",
        ),
        mark("SSL_accept:", Server),
        mark("SSL_connect:", Client),
    ],
};

const VERIFY: &str = "stunnel src/verify.c";
const CTX: &str = "stunnel src/ctx.c, src/file.c";
