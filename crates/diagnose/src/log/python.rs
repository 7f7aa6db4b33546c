//! Python: `ssl`, requests, urllib3, aiohttp, certifi. The texts of OpenSSL in it are read by OpenSSL's rows.

use super::meaning::{self, file, transport};
use super::message::{Product, Table, row};

pub(super) static TABLE: Table = Table {
    product: Product::Python,
    rows: &[
        row(
            "No such file or directory: '{file}.pem'",
            &file::MISSING,
            "cpython Objects/exceptions.c",
        ),
        row(
            "No such file or directory: '{file}.crt'",
            &file::MISSING,
            "cpython Objects/exceptions.c",
        ),
        row(
            "No such file or directory: '{file}.key'",
            &file::MISSING,
            "cpython Objects/exceptions.c",
        ),
        row(
            "No such file or directory: '{file}.cer'",
            &file::MISSING,
            "cpython Objects/exceptions.c",
        ),
        row(
            "No such file or directory: '{file}.p12'",
            &file::MISSING,
            "cpython Objects/exceptions.c",
        ),
        row(
            "Permission denied: '{file}.pem'",
            &file::PERMISSIONS,
            "cpython Objects/exceptions.c",
        ),
        row(
            "Permission denied: '{file}.key'",
            &file::PERMISSIONS,
            "cpython Objects/exceptions.c",
        ),
        row(
            "Hostname mismatch, certificate is not valid for '{host}'",
            &meaning::NAME_MISMATCH,
            SSL,
        ),
        row(
            "IP address mismatch, certificate is not valid for '{host}'",
            &meaning::IP_SAN,
            SSL,
        ),
        row(
            "hostname '{host}' doesn't match either of {names})",
            &meaning::NAME_MISMATCH,
            MATCH,
        ),
        row(
            "hostname '{host}' doesn't match '{names}'",
            &meaning::NAME_MISMATCH,
            MATCH,
        ),
        row(
            "no appropriate subjectAltName fields were found",
            &meaning::SAN_MISSING,
            MATCH,
        ),
        row(
            "no appropriate commonName or subjectAltName fields were found",
            &meaning::SAN_MISSING,
            MATCH,
        ),
        row(
            "Certificate did not match expected hostname: {host}. Certificate: {names}",
            &meaning::NAME_MISMATCH,
            "urllib3 connection.py",
        ),
        row("SSLEOFError", &transport::RESET, SSL),
        row(
            "EOF occurred in violation of protocol",
            &transport::RESET,
            SSL,
        ),
        row("[SSL] PEM lib", &file::NO_PEM, SSL),
        row("[SSL: KEY_VALUES_MISMATCH]", &file::KEY_MISMATCH, SSL),
        row(
            "Could not find a suitable TLS CA certificate bundle, invalid path: {file}",
            &file::MISSING,
            "requests adapters.py",
        ),
        row(
            "Could not find the TLS certificate file, invalid path: {file}",
            &file::MISSING,
            "requests adapters.py",
        ),
        row(
            "Could not find the TLS key file, invalid path: {file}",
            &file::MISSING,
            "requests adapters.py",
        ),
        row(
            "_ssl.c{}The handshake operation timed out",
            &transport::SILENT,
            SSL,
        ),
        row(
            "[SSL: NO_CIPHERS_AVAILABLE]",
            &transport::VERSION_OR_CIPHER,
            SSL,
        ),
        row(
            "not enough data: cadata does not contain a certificate",
            &meaning::BUNDLE_EMPTY,
            SSL,
        ),
        row(
            "cadata does not contain a certificate",
            &meaning::BUNDLE_EMPTY,
            SSL,
        ),
        row(
            "[X509: NO_CERTIFICATE_OR_CRL_FOUND]",
            &meaning::BUNDLE_EMPTY,
            SSL,
        ),
        row(
            "Your proxy appears to only use HTTP and not HTTPS",
            &transport::ANSWERS_PLAIN,
            "urllib3 connectionpool.py",
        ),
        row(
            "Client private key is encrypted, password is required",
            &file::ENCRYPTED,
            "urllib3 util/ssl_.py",
        ),
        row(
            "Could not deserialize key data",
            &file::NOT_PEM,
            "pyca/cryptography",
        ),
        row(
            "Password was not given but private key is encrypted",
            &file::ENCRYPTED,
            "pyca/cryptography",
        ),
        row(
            "Incorrect password, could not decrypt key",
            &file::PASSWORD,
            "pyca/cryptography",
        ),
        row(
            "Invalid password or PKCS12 data",
            &file::LEGACY_OR_PASSWORD,
            "pyca/cryptography",
        ),
        row(
            "Unable to load PEM file. See https://cryptography.io",
            &file::NOT_PEM,
            "pyca/cryptography",
        ),
    ],
};

const SSL: &str = "cpython Modules/_ssl.c";
const MATCH: &str = "cpython Lib/ssl.py; urllib3 util/ssl_match_hostname.py";
