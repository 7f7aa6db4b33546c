//! All messages together.

use std::sync::LazyLock;

use super::message::{Product, Row, Table};
use super::pattern::{Index, Pattern};

pub(super) const TABLES: &[&Table] = &[
    &super::apache::TABLE,
    &super::boringssl::TABLE,
    &super::browser::TABLE,
    &super::cloud::TABLE,
    &super::countersign::TABLE,
    &super::curl::TABLE,
    &super::database::MONGODB,
    &super::database::MYSQL,
    &super::database::POSTGRESQL,
    &super::database::REDIS,
    &super::dotnet::TABLE,
    &super::envoy::TABLE,
    &super::erlang::TABLE,
    &super::ghostunnel::TABLE,
    &super::gnutls::TABLE,
    &super::go::TABLE,
    &super::go::kubernetes::TABLE,
    &super::go::tls::TABLE,
    &super::grpc::TABLE,
    &super::haproxy::TABLE,
    &super::java::TABLE,
    &super::java::files::TABLE,
    &super::java::handshake::TABLE,
    &super::java::keycloak::TABLE,
    &super::kafka::TABLE,
    &super::mail::MAIL,
    &super::mail::LDAP,
    &super::network::TABLE,
    &super::nginx::TABLE,
    &super::node::TABLE,
    &super::openssl::TABLE,
    &super::openssl::alerts::TABLE,
    &super::openvpn::TABLE,
    &super::python::TABLE,
    &super::rust::TABLE,
    &super::setting::TABLE,
    &super::small::MBEDTLS,
    &super::small::MOSQUITTO,
    &super::small::PHP,
    &super::small::WOLFSSL,
    &super::spiffe::TABLE,
    &super::stunnel::TABLE,
    &super::verify::NUMBERS,
    &super::verify::TABLE,
];

/// The messages with their products, in the order of the index.
pub(super) fn rows() -> impl Iterator<Item = (Product, &'static Row)> {
    TABLES
        .iter()
        .flat_map(|table| table.rows.iter().map(|row| (table.product, row)))
}

/// What finds them.
pub(super) static INDEX: LazyLock<Index> =
    LazyLock::new(|| Index::new(rows().map(|(_, row)| Pattern::new(row.words)).collect()));

/// The messages by their numbers in the index.
pub(super) static ROWS: LazyLock<Vec<(Product, &'static Row)>> = LazyLock::new(|| rows().collect());
