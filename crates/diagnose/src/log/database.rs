//! Databases: PostgreSQL and libpq, `MySQL` and `MariaDB`, `MongoDB`, Redis.

use super::meaning::{self, file, revocation, transport};
use super::message::Side::Server;
use super::message::{Meaning, Product, Table, client, either, mark, row, server};
use crate::cause::Cause;

pub(super) static POSTGRESQL: Table = Table {
    product: Product::PostgreSql,
    rows: &[
        row(
            "private key file has group or world access",
            &file::PERMISSIONS,
            "lib/pq ssl_permissions.go",
        ),
        row(
            "connection requires a valid client certificate",
            &PG_CLIENT_CERT,
            AUTH,
        ),
        row(
            "certificate authentication failed for user \"{user}\"",
            &PG_USER,
            AUTH,
        ),
        row(
            "provided user name ({user}) and authenticated user name ({name}) do not match",
            &PG_USER,
            "postgresql src/backend/libpq/hba.c",
        ),
        row(
            "no match in usermap \"{map}\" for user \"{user}\" authenticated as \"{name}\"",
            &PG_USER,
            "postgresql src/backend/libpq/hba.c",
        ),
        row(
            "Client certificate verification failed at depth {depth}: {reason}",
            &meaning::VERIFY_FAILED,
            SECURE,
        ),
        row(
            "private key file \"{file}\" has group or world access",
            &file::PERMISSIONS,
            FE,
        ),
        row(
            "private key file \"{file}\" must be owned by the database user or root",
            &file::PERMISSIONS,
            SECURE,
        ),
        row(
            "could not access private key file \"{file}\"",
            &file::MISSING,
            SECURE,
        ),
        row(
            "could not load private key file \"{file}\"",
            &file::UNUSABLE_KEY,
            SECURE,
        ),
        row(
            "private key file \"{file}\" cannot be reloaded because it requires a passphrase",
            &file::ENCRYPTED,
            SECURE,
        ),
        row(
            "certificate present, but not private key file \"{file}\"",
            &file::MISSING,
            FE,
        ),
        row(
            "certificate does not match private key file \"{file}\"",
            &file::KEY_MISMATCH,
            FE,
        ),
        row("check of private key failed", &file::KEY_MISMATCH, SECURE),
        row(
            "could not load server certificate file \"{file}\"",
            &file::UNUSABLE_CERTIFICATE,
            SECURE,
        ),
        row(
            "could not read certificate file \"{file}\"",
            &file::UNUSABLE_CERTIFICATE,
            FE,
        ),
        row(
            "could not load root certificate file \"{file}\"",
            &file::UNUSABLE_BUNDLE,
            SECURE,
        ),
        row(
            "could not open certificate file \"{file}\"",
            &file::UNOPENED,
            FE,
        ),
        row(
            "could not read root certificate file \"{file}\"",
            &file::UNUSABLE_BUNDLE,
            FE,
        ),
        row(
            "root certificate file \"{file}\" does not exist",
            &file::MISSING,
            FE,
        ),
        row(
            "could not load SSL certificate revocation list file",
            &revocation::CRL_MISSING,
            SECURE,
        ),
        row(
            "server certificate for \"{names}\" does not match host name \"{host}\"",
            &meaning::NAME_MISMATCH,
            "postgresql src/interfaces/libpq/fe-secure-common.c",
        ),
        row(
            "server certificate for \"{names}\" (and {} other name",
            &meaning::NAME_MISMATCH,
            "postgresql src/interfaces/libpq/fe-secure-common.c",
        ),
        row(
            "could not get server's host name from server certificate",
            &meaning::SAN_MISSING,
            "postgresql src/interfaces/libpq/fe-secure-common.c",
        ),
        row(
            "server does not support SSL, but SSL was required",
            &transport::NO_TLS_OFFERED,
            "postgresql src/interfaces/libpq/fe-connect.c",
        ),
        row(
            "no pg_hba.conf entry for host \"{host}\", user \"{user}\", database \"{database}\", no encryption",
            &transport::PLAIN_REQUEST,
            AUTH,
        ),
        row(
            "no pg_hba.conf entry for host \"{host}\", user \"{user}\", database \"{database}\", SSL off",
            &transport::PLAIN_REQUEST,
            AUTH,
        ),
        row(
            "pg_hba.conf rejects connection for host \"{host}\", user \"{user}\", database \"{database}\", no encryption",
            &transport::PLAIN_REQUEST,
            AUTH,
        ),
        row(
            "hostssl record cannot match because SSL is disabled",
            &transport::NO_TLS_OFFERED,
            "postgresql src/backend/libpq/hba.c",
        ),
        row(
            "direct SSL connection was established without ALPN protocol negotiation extension",
            &transport::ALPN,
            "postgresql src/interfaces/libpq/fe-secure-openssl.c",
        ),
        row(
            "received direct SSL connection request without ALPN protocol negotiation extension",
            &transport::ALPN,
            "postgresql src/backend/tcop/backend_startup.c",
        ),
        row(
            "received unencrypted data after SSL request",
            &transport::BROKEN,
            "postgresql src/backend/tcop/backend_startup.c",
        ),
        row("SSL SYSCALL error: EOF detected", &transport::RESET, FE),
        row(
            "received invalid response to SSL negotiation: {answer}",
            &transport::ANSWERS_PLAIN,
            "postgresql src/interfaces/libpq/fe-connect.c",
        ),
    ],
};

pub(super) static MYSQL: Table = Table {
    product: Product::MySql,
    rows: &[
        row(
            "SSL connection error: SSL_CTX_set_default_verify_paths failed",
            &file::UNUSABLE_BUNDLE,
            MYSQL_CLIENT,
        ),
        row(
            "SSL connection error: Unable to get private key",
            &file::UNUSABLE_KEY,
            MYSQL_CLIENT,
        ),
        row(
            "SSL connection error: Unable to get certificate",
            &file::UNUSABLE_CERTIFICATE,
            MYSQL_CLIENT,
        ),
        row(
            "SSL connection error: Private key does not match the certificate public key",
            &file::KEY_MISMATCH,
            MYSQL_CLIENT,
        ),
        row(
            "SSL connection error: protocol version mismatch",
            &transport::VERSION,
            MYSQL_CLIENT,
        ),
        row(
            "SSL certificate validation failure",
            &meaning::VERIFY_FAILED,
            MYSQL_CLIENT,
        ),
        row(
            "SSL error: Unable to get certificate from '{file}'",
            &file::UNUSABLE_CERTIFICATE,
            MYSQL_VIO,
        ),
        row(
            "SSL error: Unable to get private key from '{file}'",
            &file::UNUSABLE_KEY,
            MYSQL_VIO,
        ),
        row(
            "Failed to set up SSL because of the following SSL library error: {reason}",
            &file::UNUSABLE_CERTIFICATE,
            MYSQL_VIO,
        ),
        row(
            "TLS/SSL error: self-signed certificate",
            &meaning::SELF_SIGNED,
            "mariadb-connector-c",
        ),
        row(
            "TLS/SSL error: Validation of SSL server certificate failed",
            &meaning::VERIFY_FAILED,
            "mariadb-connector-c",
        ),
        row(
            "Certificate verification failure: The certificate is NOT trusted",
            &meaning::UNTRUSTED,
            "mariadb-connector-c",
        ),
        row(
            "SSL is required, but the server does not support it",
            &transport::NO_TLS_OFFERED,
            MYSQL_CLIENT,
        ),
        row(
            "Connections using insecure transport are prohibited while --require_secure_transport=ON",
            &transport::PLAIN_REQUEST,
            "mysql share/messages_to_clients.txt",
        ),
    ],
};

pub(super) static MONGODB: Table = Table {
    product: Product::MongoDb,
    rows: &[
        // A thread of this name serves a connection that came in.
        mark("NETWORK [conn", Server),
        mark("\"ctx\":\"conn", Server),
        mark("Error receiving request from client:", Server),
        row(
            "Could not find user {name} for db {db}",
            &meaning::NOT_ALLOWED,
            "mongodb src/mongo/db/auth/authz_manager_external_state_local.cpp",
        ),
        row(
            "no SSL certificate provided by peer",
            &meaning::NO_CLIENT_CERT,
            MONGO,
        ),
        row(
            "no SSL certificate provided by peer; connection rejected",
            &meaning::NO_CLIENT_CERT,
            MONGO,
        ),
        row(
            "SSL peer certificate validation failed: {reason}",
            &meaning::VERIFY_FAILED,
            MONGO,
        ),
        row(
            "SSL peer certificate validation failed: certificate is not yet valid",
            &meaning::NOT_YET,
            MONGO,
        ),
        row(
            "The server certificate does not match the host name. Hostname: {host} does not match SAN(s): {names}",
            &meaning::NAME_MISMATCH,
            MONGO,
        ),
        row(
            "The server certificate does not match the host name. Hostname: {host} does not match CN: {names}",
            &meaning::NAME_MISMATCH,
            MONGO,
        ),
        row(
            "SSLHandshakeFailed: SSL peer certificate validation failed",
            &meaning::VERIFY_FAILED,
            MONGO,
        ),
        row(
            "The provided SSL certificate is expired or not yet valid",
            &meaning::EXPIRED_OR_NOT_YET,
            MONGO,
        ),
        row(
            "SSLHandshakeFailed: The server is configured to only allow SSL connections",
            &transport::PLAIN_REQUEST,
            MONGO,
        ),
        row(
            "The server is configured to only allow SSL connections",
            &transport::PLAIN_REQUEST,
            MONGO,
        ),
        row(
            "cannot read PEM key file: {file}",
            &file::UNUSABLE_KEY,
            MONGO,
        ),
        row(
            "cannot read certificate file: {file}",
            &file::UNUSABLE_CERTIFICATE,
            MONGO,
        ),
        row("Failed to find PEM blob header", &file::NO_PEM, MONGO),
        row(
            "No verified subject name available from client",
            &meaning::NO_CLIENT_CERT,
            MONGO,
        ),
        row(
            "There is no x.509 client certificate matching the user",
            &meaning::NOT_ALLOWED,
            MONGO,
        ),
    ],
};

pub(super) static REDIS: Table = Table {
    product: Product::Redis,
    rows: &[
        row(
            "Error accepting a client connection: error:{reason}",
            &transport::FAILED,
            REDIS_TLS,
        ),
        row(
            "Failed to configure TLS. Check logs for more info",
            &file::UNUSABLE_CERTIFICATE,
            REDIS_TLS,
        ),
        row(
            "Failed to load certificate: {file}: {reason}",
            &file::UNUSABLE_CERTIFICATE,
            REDIS_TLS,
        ),
        row(
            "Failed to load private key: {file}: {reason}",
            &file::UNUSABLE_KEY,
            REDIS_TLS,
        ),
        row(
            "Failed to load CA certificate(s) file: {file}: {reason}",
            &file::UNUSABLE_BUNDLE,
            REDIS_TLS,
        ),
        row(
            "Failed to configure CA certificate(s) file/directory: {reason}",
            &file::UNUSABLE_BUNDLE,
            REDIS_TLS,
        ),
        row(
            "Could not negotiate a TLS connection: {reason}",
            &transport::FAILED,
            "redis src/redis-cli.c",
        ),
        row(
            "SSL_connect failed: {reason}",
            &transport::FAILED,
            "hiredis ssl.c",
        ),
    ],
};

static PG_CLIENT_CERT: Meaning = Meaning::same(
    "PostgreSQL requires a client certificate, and none that it trusts was sent",
    &[
        client(Cause::ClientCertNotSent),
        client(Cause::CaNamesExcludeIssuer).possible(),
    ],
);

static PG_USER: Meaning = Meaning::same(
    "the name in the client's certificate is not the user that logs in, nor mapped to it",
    &[
        client(Cause::IdentityNotAllowed),
        either(Cause::DnFormatMismatch).possible(),
        server(Cause::IdentityNotAllowed).possible(),
    ],
);

const AUTH: &str = "postgresql src/backend/libpq/auth.c";
const SECURE: &str = "postgresql src/backend/libpq/be-secure-common.c, be-secure-openssl.c";
const FE: &str = "postgresql src/interfaces/libpq/fe-secure-openssl.c";
const MYSQL_CLIENT: &str = "mysql sql-common/client.cc, vio/viosslfactories.cc";
const MYSQL_VIO: &str = "mysql vio/viosslfactories.cc";
const MONGO: &str = "mongodb src/mongo/util/net/ssl_manager_openssl.cpp";
const REDIS_TLS: &str = "redis src/tls.c";
