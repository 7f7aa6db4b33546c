//! Mosquitto, Mbed TLS, PHP, wolfSSL.

use super::meaning::{self, alert, file, revocation, transport};
use super::message::Side::Server;
use super::message::{Product, Table, mark, row};

pub(super) static MOSQUITTO: Table = Table {
    product: Product::Mosquitto,
    rows: &[
        // The broker's words.
        mark("Socket error on client", Server),
        row(
            "Error: Unable to load server certificate \"{file}\"",
            &file::UNUSABLE_CERTIFICATE,
            MOSQUITTO_NET,
        ),
        row(
            "Error: Unable to load server key file \"{file}\"",
            &file::UNUSABLE_KEY,
            MOSQUITTO_NET,
        ),
        row(
            "Error: Unable to load CA certificates. Check cafile \"{file}\"",
            &file::UNUSABLE_BUNDLE,
            MOSQUITTO_NET,
        ),
        row(
            "Error: Unable to load CA certificates",
            &file::UNUSABLE_BUNDLE,
            MOSQUITTO_NET,
        ),
        row(
            "Error: Server certificate/key are inconsistent",
            &file::KEY_MISMATCH,
            MOSQUITTO_NET,
        ),
        row(
            "Error: Client certificate/key are inconsistent",
            &file::KEY_MISMATCH,
            MOSQUITTO_NET,
        ),
        row(
            "Error: Unable to load client certificate \"{file}\"",
            &file::UNUSABLE_CERTIFICATE,
            MOSQUITTO_NET,
        ),
        row(
            "Error: Unable to load client key file \"{file}\"",
            &file::UNUSABLE_KEY,
            MOSQUITTO_NET,
        ),
        row(
            "Error: host name verification failed",
            &meaning::NAME_MISMATCH,
            "mosquitto lib/tls_mosq.c",
        ),
        row(
            "A TLS error occurred",
            &transport::FAILED,
            "mosquitto lib/strings_mosq.c",
        ),
        row(
            "Problem setting TLS options: File not found",
            &file::MISSING,
            "mosquitto client/client_shared.c",
        ),
    ],
};

pub(super) static MBEDTLS: Table = Table {
    product: Product::MbedTls,
    rows: &[
        row(
            "MBEDTLS_ERR_X509_CERT_VERIFY_FAILED",
            &meaning::VERIFY_FAILED,
            MBEDTLS_ERROR,
        ),
        row(
            "The certificate is not correctly signed by the trusted CA",
            &meaning::UNTRUSTED,
            MBEDTLS_X509,
        ),
        row(
            "The certificate validity has expired",
            &meaning::EXPIRED,
            MBEDTLS_X509,
        ),
        row(
            "The certificate validity starts in the future",
            &meaning::NOT_YET,
            MBEDTLS_X509,
        ),
        row(
            "The certificate Common Name (CN) does not match with the expected CN",
            &meaning::NAME_MISMATCH,
            MBEDTLS_X509,
        ),
        row(
            "The certificate has been revoked (is on a CRL)",
            &revocation::REVOKED,
            MBEDTLS_X509,
        ),
        row(
            "The CRL is not correctly signed by the trusted CA",
            &revocation::CRL_SIGNATURE,
            MBEDTLS_X509,
        ),
        row("The CRL is expired", &revocation::CRL_EXPIRED, MBEDTLS_X509),
        row(
            "Usage does not match the extendedKeyUsage extension",
            &meaning::PURPOSE,
            MBEDTLS_X509,
        ),
        row(
            "Usage does not match the keyUsage extension",
            &meaning::KEY_USAGE,
            MBEDTLS_X509,
        ),
        row(
            "The certificate is signed with an unacceptable hash",
            &meaning::WEAK_SIGNATURE,
            MBEDTLS_X509,
        ),
        row(
            "The certificate is signed with an unacceptable key",
            &meaning::WEAK_KEY,
            MBEDTLS_X509,
        ),
        row(
            "Certificate was missing",
            &meaning::NO_CLIENT_CERT,
            MBEDTLS_X509,
        ),
        row(
            // fluent-bit cuts it.
            "X509 - Certificate verification failed",
            &meaning::VERIFY_FAILED,
            MBEDTLS_ERROR,
        ),
        row(
            "mbedtls_ssl_handshake returned -0x2700",
            &meaning::VERIFY_FAILED,
            MBEDTLS_ERROR,
        ),
        row(
            "No client certification received from the client, but required by the authentication mode",
            &meaning::NO_CLIENT_CERT,
            MBEDTLS_ERROR,
        ),
        row(
            "SSL - A fatal alert message was received from our peer",
            &alert::HANDSHAKE_FAILURE,
            MBEDTLS_ERROR,
        ),
        row(
            "mbedtls_ssl_handshake returned -0x7780",
            &alert::HANDSHAKE_FAILURE,
            MBEDTLS_ERROR,
        ),
        row(
            "SSL - An invalid SSL record was received",
            &transport::NOT_TLS,
            MBEDTLS_ERROR,
        ),
        row(
            "SSL - No CA Chain is set, but required to operate",
            &meaning::BUNDLE_EMPTY,
            MBEDTLS_ERROR,
        ),
        row(
            "X509 - The CRT/CRL/CSR format is invalid, e.g. different type expected",
            &file::NOT_PEM,
            MBEDTLS_ERROR,
        ),
        row(
            "PK - Private key password can't be empty",
            &file::ENCRYPTED,
            MBEDTLS_ERROR,
        ),
        row(
            "PK - Given private key password does not allow for correct decryption",
            &file::PASSWORD,
            MBEDTLS_ERROR,
        ),
        row(
            "PEM - No PEM header or footer found",
            &file::NO_PEM,
            MBEDTLS_ERROR,
        ),
    ],
};

pub(super) static WOLFSSL: Table = Table {
    product: Product::WolfSsl,
    rows: &[
        row(
            "ASN no signer error to confirm failure",
            &meaning::UNTRUSTED,
            WOLFSSL_ERROR,
        ),
        row(
            "ASN sig error, confirm failure",
            &meaning::OTHER_KEY,
            WOLFSSL_ERROR,
        ),
        row(
            "ASN date error, current date is before start of validity",
            &meaning::NOT_YET,
            WOLFSSL_ERROR,
        ),
        row(
            "ASN date error, current date is after expiration",
            &meaning::EXPIRED,
            WOLFSSL_ERROR,
        ),
        row(
            "ASN date error, current date before",
            &meaning::NOT_YET,
            WOLFSSL_ERROR,
        ),
        row(
            "ASN date error, current date after",
            &meaning::EXPIRED,
            WOLFSSL_ERROR,
        ),
        row(
            "peer subject name mismatch",
            &meaning::NAME_MISMATCH,
            WOLFSSL_ERROR,
        ),
        row(
            "peer didn't send cert",
            &meaning::NO_CLIENT_CERT,
            WOLFSSL_ERROR,
        ),
        row("peer sent no cert", &meaning::NO_CLIENT_CERT, WOLFSSL_ERROR),
        row("CRL Cert revoked", &revocation::REVOKED, WOLFSSL_ERROR),
        row(
            "CRL missing, not loaded",
            &revocation::CRL_MISSING,
            WOLFSSL_ERROR,
        ),
        row(
            "can't match cipher suite",
            &transport::CIPHER,
            WOLFSSL_ERROR,
        ),
    ],
};

pub(super) static PHP: Table = Table {
    product: Product::Php,
    rows: &[
        row(
            "Peer certificate CN=`{names}' did not match expected CN=`{host}'",
            &meaning::NAME_MISMATCH,
            XP_SSL,
        ),
        row(
            "failed loading cafile stream: `{file}'",
            &file::UNUSABLE_BUNDLE,
            XP_SSL,
        ),
        row(
            "Unable to set local cert chain file `{file}'",
            &file::UNUSABLE_CERTIFICATE,
            XP_SSL,
        ),
        row(
            "Unable to set private key file `{file}'",
            &file::UNUSABLE_KEY,
            XP_SSL,
        ),
        row("SSL: Handshake timed out", &transport::SILENT, XP_SSL),
    ],
};

const XP_SSL: &str = "php ext/openssl/xp_ssl.c";
const MOSQUITTO_NET: &str = "mosquitto src/net.c, lib/net_mosq.c";
const MBEDTLS_X509: &str = "mbedtls include/mbedtls/x509.h (MBEDTLS_X509_CRT_ERROR_INFO_LIST)";
const MBEDTLS_ERROR: &str = "mbedtls library/error.c";
const WOLFSSL_ERROR: &str = "wolfssl wolfcrypt/src/error.c, src/internal.c";
