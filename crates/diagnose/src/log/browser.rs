//! Browsers and their libraries: Chromium's `ERR_…`, NSS's `SEC_ERROR_…`, Apple's codes.

use super::meaning::{self, alert, revocation, transport};
use super::message::{Meaning, Product, Table, client, row};
use crate::cause::Cause;

pub(super) static TABLE: Table = Table {
    product: Product::Browser,
    rows: &[
        row(
            "handshake failed; returned -1, SSL error code 1, net_error -200",
            &meaning::NAME_MISMATCH,
            CHROMIUM,
        ),
        row(
            "handshake failed; returned -1, SSL error code 1, net_error -201",
            &meaning::EXPIRED_OR_NOT_YET,
            CHROMIUM,
        ),
        row(
            "handshake failed; returned -1, SSL error code 1, net_error -202",
            &meaning::UNTRUSTED,
            CHROMIUM,
        ),
        row(
            "handshake failed; returned -1, SSL error code 1, net_error -110",
            &alert::REQUIRED,
            CHROMIUM,
        ),
        row(
            "handshake failed; returned -1, SSL error code 1, net_error -117",
            &alert::BAD_CERTIFICATE,
            CHROMIUM,
        ),
        row(
            "handshake failed; returned -1, SSL error code 1, net_error -113",
            &transport::VERSION_OR_CIPHER,
            CHROMIUM,
        ),
        row(
            "Peer's Certificate issuer is not recognized",
            &meaning::UNTRUSTED,
            NSS,
        ),
        row(
            "Peer's certificate issuer has been marked as not trusted by the user",
            &meaning::UNTRUSTED_ROOT,
            NSS,
        ),
        row("Peer's Certificate has expired", &meaning::EXPIRED, NSS),
        row(
            "Peer's Certificate has been revoked",
            &revocation::REVOKED,
            NSS,
        ),
        row(
            "Certificate key usage inadequate for attempted operation",
            &meaning::KEY_USAGE,
            NSS,
        ),
        row(
            "SSL peer cannot verify your certificate",
            &alert::BAD_CERTIFICATE,
            NSS,
        ),
        row(
            "SSL peer rejected your certificate as expired",
            &alert::EXPIRED,
            NSS,
        ),
        row(
            "SSL peer rejected your certificate as revoked",
            &alert::REVOKED,
            NSS,
        ),
        row(
            "SSL peer had some unspecified issue with the certificate it received",
            &alert::CERTIFICATE_UNKNOWN,
            NSS,
        ),
        row(
            "Peer does not recognize and trust the CA that issued your certificate",
            &alert::UNKNOWN_CA,
            NSS,
        ),
        row("ERR_CERT_AUTHORITY_INVALID", &meaning::UNTRUSTED, CHROMIUM),
        row(
            "ERR_CERT_COMMON_NAME_INVALID",
            &meaning::NAME_MISMATCH,
            CHROMIUM,
        ),
        row(
            "ERR_CERT_DATE_INVALID",
            &meaning::EXPIRED_OR_NOT_YET,
            CHROMIUM,
        ),
        row("ERR_CERT_REVOKED", &revocation::REVOKED, CHROMIUM),
        row(
            "ERR_CERT_UNABLE_TO_CHECK_REVOCATION",
            &revocation::OFFLINE,
            CHROMIUM,
        ),
        row(
            "ERR_CERT_WEAK_SIGNATURE_ALGORITHM",
            &meaning::WEAK_SIGNATURE,
            CHROMIUM,
        ),
        row("ERR_CERT_WEAK_KEY", &meaning::WEAK_KEY, CHROMIUM),
        row(
            "ERR_CERT_NAME_CONSTRAINT_VIOLATION",
            &meaning::NAME_CONSTRAINTS,
            CHROMIUM,
        ),
        row("ERR_CERT_INVALID", &meaning::MALFORMED, CHROMIUM),
        row(
            "ERR_BAD_SSL_CLIENT_AUTH_CERT",
            &alert::BAD_CERTIFICATE,
            CHROMIUM,
        ),
        row(
            "ERR_SSL_CLIENT_AUTH_CERT_NEEDED",
            &alert::REQUIRED,
            CHROMIUM,
        ),
        row(
            "ERR_SSL_CLIENT_AUTH_CERT_NO_PRIVATE_KEY",
            &meaning::file::UNUSABLE_KEY,
            CHROMIUM,
        ),
        row(
            "ERR_SSL_CLIENT_AUTH_SIGNATURE_FAILED",
            &meaning::POSSESSION,
            CHROMIUM,
        ),
        row(
            "ERR_SSL_CLIENT_AUTH_NO_COMMON_ALGORITHMS",
            &meaning::SIGALG,
            CHROMIUM,
        ),
        row(
            "ERR_SSL_VERSION_OR_CIPHER_MISMATCH",
            &transport::VERSION_OR_CIPHER,
            CHROMIUM,
        ),
        row(
            "ERR_SSL_UNRECOGNIZED_NAME_ALERT",
            &alert::UNRECOGNIZED_NAME,
            CHROMIUM,
        ),
        row(
            "ERR_SSL_PINNED_KEY_NOT_IN_CERT_CHAIN",
            &meaning::PIN,
            CHROMIUM,
        ),
        row("ERR_SSL_PROTOCOL_ERROR", &transport::NOT_TLS, CHROMIUM),
        row(
            "ERR_SSL_KEY_USAGE_INCOMPATIBLE",
            &meaning::KEY_USAGE,
            CHROMIUM,
        ),
        row("ERR_CONNECTION_REFUSED", &transport::REFUSED, CHROMIUM),
        row("ERR_NAME_NOT_RESOLVED", &transport::UNRESOLVED, CHROMIUM),
        row("SEC_ERROR_UNKNOWN_ISSUER", &meaning::UNTRUSTED, NSS),
        row("SEC_ERROR_UNTRUSTED_ISSUER", &meaning::UNTRUSTED, NSS),
        row("SEC_ERROR_EXPIRED_CERTIFICATE", &meaning::EXPIRED, NSS),
        row(
            "SEC_ERROR_EXPIRED_ISSUER_CERTIFICATE",
            &meaning::EXPIRED_ABOVE,
            NSS,
        ),
        row("SEC_ERROR_REVOKED_CERTIFICATE", &revocation::REVOKED, NSS),
        row("SEC_ERROR_BAD_SIGNATURE", &meaning::OTHER_KEY, NSS),
        row("SEC_ERROR_CA_CERT_INVALID", &meaning::NOT_A_CA, NSS),
        row("SEC_ERROR_INADEQUATE_CERT_TYPE", &meaning::PURPOSE, NSS),
        row("SEC_ERROR_INADEQUATE_KEY_USAGE", &meaning::KEY_USAGE, NSS),
        row(
            "SEC_ERROR_PATH_LEN_CONSTRAINT_INVALID",
            &meaning::PATHLEN,
            NSS,
        ),
        row(
            "SEC_ERROR_CERT_NOT_IN_NAME_SPACE",
            &meaning::NAME_CONSTRAINTS,
            NSS,
        ),
        row(
            "SEC_ERROR_CERT_SIGNATURE_ALGORITHM_DISABLED",
            &meaning::WEAK_SIGNATURE,
            NSS,
        ),
        row(
            "SEC_ERROR_OCSP_UNKNOWN_CERT",
            &revocation::OCSP_UNKNOWN,
            NSS,
        ),
        row(
            "MOZILLA_PKIX_ERROR_REQUIRED_TLS_FEATURE_MISSING",
            &revocation::STAPLE_MISSING,
            NSS,
        ),
        row("SEC_ERROR_OCSP_OLD_RESPONSE", &revocation::OCSP_STALE, NSS),
        row(
            "SEC_ERROR_OCSP_SERVER_ERROR",
            &revocation::OCSP_UNREACHABLE,
            NSS,
        ),
        row("SEC_ERROR_BAD_PASSWORD", &meaning::file::PASSWORD, NSS),
        row(
            "MOZILLA_PKIX_ERROR_CA_CERT_USED_AS_END_ENTITY",
            &meaning::CA_AS_LEAF,
            NSS,
        ),
        row(
            "MOZILLA_PKIX_ERROR_SELF_SIGNED_CERT",
            &meaning::SELF_SIGNED,
            NSS,
        ),
        row(
            "MOZILLA_PKIX_ERROR_NOT_YET_VALID_CERTIFICATE",
            &meaning::NOT_YET,
            NSS,
        ),
        row(
            "MOZILLA_PKIX_ERROR_INADEQUATE_KEY_SIZE",
            &meaning::WEAK_KEY,
            NSS,
        ),
        row("MOZILLA_PKIX_ERROR_KEY_PINNING_FAILURE", &meaning::PIN, NSS),
        row(
            "MOZILLA_PKIX_ERROR_V1_CERT_USED_AS_CA",
            &meaning::VERSION_ONE,
            NSS,
        ),
        row("SSL_ERROR_BAD_CERT_DOMAIN", &meaning::NAME_MISMATCH, NSS),
        row("SSL_ERROR_BAD_CERT_ALERT", &alert::BAD_CERTIFICATE, NSS),
        row("SSL_ERROR_UNKNOWN_CA_ALERT", &alert::UNKNOWN_CA, NSS),
        row(
            "SSL_ERROR_CERTIFICATE_UNKNOWN_ALERT",
            &alert::CERTIFICATE_UNKNOWN,
            NSS,
        ),
        row("SSL_ERROR_EXPIRED_CERT_ALERT", &alert::EXPIRED, NSS),
        row("SSL_ERROR_REVOKED_CERT_ALERT", &alert::REVOKED, NSS),
        row("SSL_ERROR_UNSUPPORTED_CERT_ALERT", &alert::UNSUPPORTED, NSS),
        row("SSL_ERROR_ACCESS_DENIED_ALERT", &alert::ACCESS_DENIED, NSS),
        row(
            "SSL_ERROR_HANDSHAKE_FAILURE_ALERT",
            &alert::HANDSHAKE_FAILURE,
            NSS,
        ),
        row(
            "SSL_ERROR_RX_CERTIFICATE_REQUIRED_ALERT",
            &alert::REQUIRED,
            NSS,
        ),
        row("SSL_ERROR_RX_RECORD_TOO_LONG", &transport::NOT_TLS, NSS),
        row("SSL_ERROR_NO_CYPHER_OVERLAP", &transport::CIPHER, NSS),
        row("SSL_ERROR_UNSUPPORTED_VERSION", &transport::VERSION, NSS),
        row(
            "SSL_ERROR_PROTOCOL_VERSION_ALERT",
            &alert::PROTOCOL_VERSION,
            NSS,
        ),
        row("SSL_ERROR_NO_CERTIFICATE", &meaning::NO_CLIENT_CERT, NSS),
        row("errSSLXCertChainInvalid", &meaning::UNTRUSTED, APPLE),
        row("errSSLUnknownRootCert", &meaning::UNTRUSTED, APPLE),
        row("errSSLCertExpired", &meaning::EXPIRED, APPLE),
        row("errSSLCertNotYetValid", &meaning::NOT_YET, APPLE),
        row("errSSLHostNameMismatch", &meaning::NAME_MISMATCH, APPLE),
        row("errSSLPeerHandshakeFail", &alert::HANDSHAKE_FAILURE, APPLE),
        row("errSSLPeerUnknownCA", &alert::UNKNOWN_CA, APPLE),
        row(
            "NSURLErrorDomain Code=-1202",
            &meaning::VERIFY_FAILED,
            APPLE,
        ),
        row(
            "NSURLErrorDomain Code=-1205",
            &alert::BAD_CERTIFICATE,
            APPLE,
        ),
        row("NSURLErrorDomain Code=-1206", &REQUIRED, APPLE),
        row("NSURLErrorDomain Code=-1203", &meaning::UNTRUSTED, APPLE),
        row("NSURLErrorDomain Code=-1201", &meaning::EXPIRED, APPLE),
        row("NSURLErrorDomain Code=-1204", &meaning::NOT_YET, APPLE),
        row(
            "The certificate for this server is invalid",
            &meaning::VERIFY_FAILED,
            APPLE,
        ),
        row(
            "The server \"{host}\" requires a client certificate",
            &REQUIRED,
            APPLE,
        ),
        row(
            "certificate is not standards compliant",
            &meaning::PURPOSE,
            "go src/crypto/x509/root_darwin.go",
        ),
        row(
            "certificate is not trusted",
            &meaning::UNTRUSTED,
            "go src/crypto/x509/root_darwin.go",
        ),
    ],
};

static REQUIRED: Meaning = Meaning::at_client(
    "the server requires a client certificate",
    &[client(Cause::ClientCertNotSent)],
);

const CHROMIUM: &str = "chromium net/base/net_error_list.h";
const NSS: &str = "nss lib/util/SECerrs.h, lib/ssl/SSLerrs.h; mozilla::pkix";
const APPLE: &str = "Apple Security/SecureTransport.h, Foundation/NSURLError.h";
