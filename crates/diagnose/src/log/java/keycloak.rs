//! Keycloak, beside what Java's rows read.

use crate::log::meaning::{self};
use crate::log::message::{Product, Table, row};

pub(in crate::log) static TABLE: Table = Table {
    product: Product::Keycloak,
    rows: &[
        row(
            "HTTP header \"{header}\" is empty",
            &meaning::HEADER_MISSING,
            KEYCLOAK_LOOKUP,
        ),
        row(
            "The client certificate is not available",
            &meaning::NO_PEER_CERT,
            "keycloak X509ClientCertificateAuthenticator.java",
        ),
        row(
            "X509 client certificate is not available for mutual SSL",
            &meaning::NO_PEER_CERT,
            KEYCLOAK_CLIENT,
        ),
        row(
            "[X509ClientCertificateAuthenticator:authenticate] x509 client certificate is not available for mutual SSL",
            &meaning::NO_PEER_CERT,
            KEYCLOAK_CLIENT,
        ),
        row(
            "Client certificate is missing",
            &meaning::NO_PEER_CERT,
            KEYCLOAK_CLIENT,
        ),
    ],
};

const KEYCLOAK_LOOKUP: &str =
    "keycloak services/x509/AbstractClientCertificateFromHttpHeadersLookup.java";
const KEYCLOAK_CLIENT: &str =
    "keycloak authentication/authenticators/client/X509ClientAuthenticator.java";
