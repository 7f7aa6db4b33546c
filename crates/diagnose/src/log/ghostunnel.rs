//! ghostunnel, beside what Go's rows read.

use super::meaning::{self, file, transport};
use super::message::{Product, Table, row};

pub(super) static TABLE: Table = Table {
    product: Product::Ghostunnel,
    rows: &[
        row(
            "unauthorized: invalid principal, or principal not allowed",
            &meaning::NOT_ALLOWED,
            AUTH,
        ),
        row(
            "unauthorized: invalid principal",
            &meaning::NOT_ALLOWED,
            AUTH,
        ),
        row(
            "unauthorized: principal not allowed",
            &meaning::NOT_ALLOWED,
            AUTH,
        ),
        row(
            "unauthorized: policy returned an error",
            &meaning::NOT_ALLOWED,
            AUTH,
        ),
        row(
            "error: unable to load certificates",
            &file::UNUSABLE_CERTIFICATE,
            MAIN,
        ),
        row(
            "unable to read PKCS#12 keystore",
            &file::LEGACY_OR_PASSWORD,
            MAIN,
        ),
        row(
            "error: unable to build TLS config",
            &file::UNUSABLE_CERTIFICATE,
            MAIN,
        ),
        row(
            "error on TLS handshake from {source}: EOF",
            &transport::CLOSED_BY_CLIENT,
            PROXY,
        ),
    ],
};

const AUTH: &str = "ghostunnel auth/auth.go";
const MAIN: &str = "ghostunnel main.go, tls.go";
const PROXY: &str = "ghostunnel proxy/proxy.go";
