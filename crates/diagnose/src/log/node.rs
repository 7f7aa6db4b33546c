//! Node.js: the codes that it gives OpenSSL's errors, and its own checks.

use super::meaning::{self, file, revocation, transport};
use super::message::{Product, Table, row};
use super::verify::LEAF_ALONE;

pub(super) static TABLE: Table = Table {
    product: Product::Node,
    rows: &[
        row(
            "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
            &meaning::UNTRUSTED,
            CODES,
        ),
        row("UNABLE_TO_GET_ISSUER_CERT", &meaning::ANCHOR, CODES),
        row("UNABLE_TO_VERIFY_LEAF_SIGNATURE", &LEAF_ALONE, CODES),
        row("DEPTH_ZERO_SELF_SIGNED_CERT", &meaning::SELF_SIGNED, CODES),
        row("SELF_SIGNED_CERT_IN_CHAIN", &meaning::UNTRUSTED_ROOT, CODES),
        row("CERT_HAS_EXPIRED", &meaning::EXPIRED, CODES),
        row("CERT_NOT_YET_VALID", &meaning::NOT_YET, CODES),
        row("CERT_SIGNATURE_FAILURE", &meaning::OTHER_KEY, CODES),
        row("CERT_CHAIN_TOO_LONG", &meaning::TOO_DEEP, CODES),
        row("CERT_REVOKED", &revocation::REVOKED, CODES),
        row("CERT_UNTRUSTED", &meaning::UNTRUSTED, CODES),
        row("CERT_REJECTED", &meaning::UNTRUSTED, CODES),
        row("'INVALID_CA'", &meaning::NOT_A_CA, CODES),
        row("'PATH_LENGTH_EXCEEDED'", &meaning::PATHLEN, CODES),
        row("'INVALID_PURPOSE'", &meaning::PURPOSE, CODES),
        row("UNABLE_TO_GET_CRL", &revocation::CRL_MISSING, CODES),
        row("CRL_NOT_YET_VALID", &revocation::CRL_NOT_YET, CODES),
        row("'HOSTNAME_MISMATCH'", &meaning::NAME_MISMATCH, CODES),
        row("ERR_TLS_CERT_ALTNAME_INVALID", &meaning::NAMES, TLS),
        row(
            "Hostname/IP does not match certificate's altnames: Host: {host}. is not in the cert's altnames: {names}",
            &meaning::NAME_MISMATCH,
            TLS,
        ),
        row(
            "Hostname/IP does not match certificate's altnames: IP: {host} is not in the cert's list:",
            &meaning::IP_SAN,
            TLS,
        ),
        row(
            "Hostname/IP does not match certificate's altnames: Host: {host}. is not cert's CN:",
            &meaning::SAN_MISSING,
            TLS,
        ),
        row(
            "Host: {host}. is not in the cert's altnames: {names}",
            &meaning::NAME_MISMATCH,
            TLS,
        ),
        row(
            "IP: {host} is not in the cert's list:",
            &meaning::IP_SAN,
            TLS,
        ),
        row(
            "Hostname/IP doesn't match certificate's altnames",
            &meaning::NAME_MISMATCH,
            TLS,
        ),
        row(
            "Cert does not contain a DNS name",
            &meaning::SAN_MISSING,
            TLS,
        ),
        row(
            "ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED",
            &meaning::alert::REQUIRED,
            CODES,
        ),
        row("ERR_SSL_WRONG_VERSION_NUMBER", &transport::NOT_TLS, CODES),
        row("ERR_SSL_HTTP_REQUEST", &transport::PLAIN_REQUEST, CODES),
        row("ERR_SSL_NO_SHARED_CIPHER", &transport::CIPHER, CODES),
        row("ERR_SSL_UNSUPPORTED_PROTOCOL", &transport::VERSION, CODES),
        row("ERR_TLS_HANDSHAKE_TIMEOUT", &transport::SILENT, TLS),
        row("TLS handshake timeout", &transport::SILENT, TLS),
        row("ERR_TLS_INVALID_PROTOCOL_VERSION", &transport::VERSION, TLS),
        row(
            "ERR_TLS_PROTOCOL_VERSION_CONFLICT",
            &transport::VERSION,
            TLS,
        ),
        row(
            "ERR_TLS_RENEGOTIATION_DISABLED",
            &meaning::POST_HANDSHAKE,
            TLS,
        ),
        row(
            "Client network socket disconnected before secure TLS connection was established",
            &transport::RESET,
            TLS,
        ),
        row("ERR_OSSL_PEM_NO_START_LINE", &file::NO_PEM, CODES),
        row(
            "ERR_OSSL_X509_KEY_VALUES_MISMATCH",
            &file::KEY_MISMATCH,
            CODES,
        ),
        row("ERR_OSSL_BAD_DECRYPT", &file::DECRYPTION, CODES),
        row(
            "ERR_OSSL_PKCS12_MAC_VERIFY_FAILURE",
            &file::LEGACY_OR_PASSWORD,
            CODES,
        ),
        row(
            "Error: mac verify failure",
            &file::LEGACY_OR_PASSWORD,
            CODES,
        ),
        row("'ERR_CRYPTO_UNSUPPORTED_OPERATION'", &file::LEGACY, CODES),
        row(
            "ERR_CRYPTO_UNSUPPORTED_OPERATION: Unsupported PKCS12 PFX data",
            &file::LEGACY,
            CODES,
        ),
        row(
            "Unable to load PFX certificate",
            &file::LEGACY_OR_PASSWORD,
            "node src/crypto/crypto_context.cc",
        ),
        row(
            "Unable to load BIO",
            &file::UNUSABLE_CERTIFICATE,
            "node src/crypto/crypto_context.cc",
        ),
        row(
            "ENOENT: no such file or directory, open '{file}.pem'",
            &file::MISSING,
            FS,
        ),
        row(
            "ENOENT: no such file or directory, open '{file}.crt'",
            &file::MISSING,
            FS,
        ),
        row(
            "ENOENT: no such file or directory, open '{file}.key'",
            &file::MISSING,
            FS,
        ),
        row(
            "ENOENT: no such file or directory, open '{file}.pfx'",
            &file::MISSING,
            FS,
        ),
        row(
            "ENOENT: no such file or directory, open '{file}.p12'",
            &file::MISSING,
            FS,
        ),
        row(
            "EACCES: permission denied, open '{file}.key'",
            &file::PERMISSIONS,
            FS,
        ),
        row(
            "EACCES: permission denied, open '{file}.pem'",
            &file::PERMISSIONS,
            FS,
        ),
        row(
            "Ignoring extra certs from `{file}`, load failed",
            &file::UNUSABLE_BUNDLE,
            "node src/crypto/crypto_context.cc",
        ),
    ],
};

const CODES: &str = "node src/crypto/crypto_common.cc; deps/ncrypto";
const TLS: &str = "node lib/tls.js, lib/_tls_wrap.js";
const FS: &str = "node lib/fs.js";
