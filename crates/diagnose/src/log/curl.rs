//! curl and libcurl (git, PHP, R and others). The texts of the TLS library in it are read by that library's rows.

use super::meaning::{self, alert, file, revocation, transport};
use super::message::{Meaning, Product, Table, client, either, row};
use crate::cause::Cause;

pub(super) static TABLE: Table = Table {
    product: Product::Curl,
    rows: &[
        row(
            "(IN), TLS alert, bad certificate",
            &alert::BAD_CERTIFICATE,
            OPENSSL,
        ),
        row("(IN), TLS alert, unknown CA", &alert::UNKNOWN_CA, OPENSSL),
        row(
            "(IN), TLS alert, certificate unknown",
            &alert::CERTIFICATE_UNKNOWN,
            OPENSSL,
        ),
        row(
            "(IN), TLS alert, certificate expired",
            &alert::EXPIRED,
            OPENSSL,
        ),
        row(
            "(IN), TLS alert, certificate revoked",
            &alert::REVOKED,
            OPENSSL,
        ),
        row(
            "(IN), TLS alert, unsupported certificate",
            &alert::UNSUPPORTED,
            OPENSSL,
        ),
        row(
            "(IN), TLS alert, handshake failure",
            &alert::HANDSHAKE_FAILURE,
            OPENSSL,
        ),
        row(
            "(IN), TLS alert, protocol version",
            &alert::PROTOCOL_VERSION,
            OPENSSL,
        ),
        row(
            "(IN), TLS alert, unrecognized name",
            &alert::UNRECOGNIZED_NAME,
            OPENSSL,
        ),
        row(
            "(IN), TLS alert, internal error",
            &alert::INTERNAL_ERROR,
            OPENSSL,
        ),
        row(
            "(IN), TLS alert, decrypt error",
            &alert::DECRYPT_ERROR,
            OPENSSL,
        ),
        row(
            "(IN), TLS alert, access denied",
            &alert::ACCESS_DENIED,
            OPENSSL,
        ),
        row(
            "(IN), TLS alert, no application protocol",
            &alert::NO_APPLICATION_PROTOCOL,
            OPENSSL,
        ),
        row(
            "(IN), TLS alert, insufficient security",
            &alert::INSUFFICIENT,
            OPENSSL,
        ),
        row("(IN), TLS alert, unknown (628)", &alert::REQUIRED, OPENSSL),
        row(
            "SSL certificate problem: unable to get local issuer certificate",
            &meaning::UNTRUSTED,
            OPENSSL,
        ),
        row(
            "SSL certificate problem: {reason}",
            &meaning::VERIFY_FAILED,
            OPENSSL,
        ),
        row(
            "curl failed to verify the legitimacy of the server",
            &meaning::VERIFY_FAILED,
            "curl src/tool_operate.c",
        ),
        row(
            "SSL peer certificate or SSH remote key was not OK",
            &meaning::VERIFY_FAILED,
            STRERROR,
        ),
        row("Empty reply from server", &EMPTY, STRERROR),
        row(
            "SSL: no alternative certificate subject name matches target host name '{host}'",
            &meaning::NAME_MISMATCH,
            OPENSSL,
        ),
        row(
            "no alternative certificate subject name matches target ipv4 address '{host}'",
            &meaning::IP_SAN,
            OPENSSL,
        ),
        row(
            "no alternative certificate subject name matches target ipv6 address '{host}'",
            &meaning::IP_SAN,
            OPENSSL,
        ),
        row(
            "no alternative certificate subject name matches target host name '{host}'",
            &meaning::NAME_MISMATCH,
            OPENSSL,
        ),
        row(
            "SSL: certificate subject name '{names}' does not match target host name '{host}'",
            &meaning::NAME_MISMATCH,
            OPENSSL,
        ),
        row(
            "SSL: certificate subject name ({names}) does not match target host name '{host}'",
            &meaning::NAME_MISMATCH,
            "curl lib/vtls/gtls.c",
        ),
        row(
            "SSL: unable to obtain common name from peer certificate",
            &meaning::SAN_MISSING,
            OPENSSL,
        ),
        row(
            "SSL: public key does not match pinned public key",
            &meaning::PIN,
            "curl lib/vtls/vtls.c",
        ),
        row(
            "public key does not match pinned public key",
            &meaning::PIN,
            "curl lib/vtls/vtls.c",
        ),
        row(
            "could not load PEM client certificate",
            &file::UNUSABLE_CERTIFICATE,
            OPENSSL,
        ),
        row(
            "could not load PEM client certificate from {file}, OpenSSL error {reason}",
            &file::UNUSABLE_CERTIFICATE,
            OPENSSL,
        ),
        row(
            "could not load PEM client certificate{}No such file or directory",
            &file::MISSING,
            OPENSSL,
        ),
        row(
            "could not load ASN1 client certificate",
            &file::NOT_PEM,
            OPENSSL,
        ),
        row(
            "unable to set private key file: '{file}' type PEM",
            &file::UNUSABLE_KEY,
            OPENSSL,
        ),
        row(
            "unable to use client certificate (no key found or wrong pass phrase?)",
            &KEY_OR_PASSWORD,
            OPENSSL,
        ),
        row(
            "Private key does not match the certificate public key",
            &file::KEY_MISMATCH,
            OPENSSL,
        ),
        row(
            "could not parse PKCS12 file, check password, OpenSSL error {reason}",
            &file::LEGACY_OR_PASSWORD,
            OPENSSL,
        ),
        row("could not open PKCS12 file", &file::MISSING, OPENSSL),
        row(
            "Problem with the local SSL certificate",
            &file::UNUSABLE_CERTIFICATE,
            STRERROR,
        ),
        row(
            "error setting certificate file: {file}",
            &file::UNUSABLE_BUNDLE,
            OPENSSL,
        ),
        row(
            "error setting certificate verify locations",
            &file::UNUSABLE_BUNDLE,
            OPENSSL,
        ),
        row(
            "error adding trust anchors from file: {file}",
            &file::UNUSABLE_BUNDLE,
            OPENSSL,
        ),
        row(
            "Problem with the SSL CA cert (path? access rights?)",
            &file::UNUSABLE_BUNDLE,
            STRERROR,
        ),
        row(
            "error loading CRL file: {file}",
            &revocation::CRL_MISSING,
            OPENSSL,
        ),
        row(
            "No OCSP response received",
            &revocation::OCSP_INVALID,
            OPENSSL,
        ),
        row("Invalid OCSP response", &revocation::OCSP_INVALID, OPENSSL),
        row(
            "SSL certificate revocation reason: {reason}",
            &revocation::REVOKED,
            OPENSSL,
        ),
        row(
            "OpenSSL SSL_connect: Connection reset by peer",
            &transport::RESET,
            OPENSSL,
        ),
        row(
            "OpenSSL SSL_connect: SSL_ERROR_SYSCALL",
            &transport::RESET,
            OPENSSL,
        ),
        row(
            "LibreSSL SSL_connect: SSL_ERROR_SYSCALL",
            &transport::RESET,
            OPENSSL,
        ),
        row(
            "TLS connect error: unexpected eof",
            &transport::RESET,
            OPENSSL,
        ),
        row(
            "Unknown SSL protocol error in connection to",
            &transport::RESET,
            OPENSSL,
        ),
        row("SSL connection timeout", &transport::SILENT, OPENSSL),
        row(
            "Received HTTP/0.9 when not allowed",
            &transport::PLAIN_REQUEST,
            "curl lib/http.c; an alert in answer to plain HTTP",
        ),
        row(
            "ALPN, server did not agree to a protocol{}HTTP/2 required",
            &transport::ALPN,
            "curl lib/vtls/vtls.c",
        ),
        row(
            "Failed to connect to {host} port {port}{}Connection refused",
            &transport::REFUSED,
            CONNECT,
        ),
        row(
            "Failed to connect to {host} port {port} after {time} ms: Couldn't connect to server",
            &transport::REFUSED,
            CONNECT,
        ),
        row(
            "Failed to connect to {host} port {port} after {time} ms: Could not connect to server",
            &transport::REFUSED,
            CONNECT,
        ),
        row(
            "Could not resolve host: {host}",
            &transport::UNRESOLVED,
            CONNECT,
        ),
        row("curl: (58)", &file::UNUSABLE_CERTIFICATE, STRERROR),
        row("curl: (60)", &meaning::VERIFY_FAILED, STRERROR),
        row("curl: (77)", &file::UNUSABLE_BUNDLE, STRERROR),
        row("curl: (83)", &meaning::UNTRUSTED, STRERROR),
        row("curl: (90)", &meaning::PIN, STRERROR),
        row("curl: (91)", &revocation::OCSP_INVALID, STRERROR),
        row("curl: (35)", &transport::FAILED, STRERROR),
        row(
            "curl: (55) getpeername() failed",
            &REFUSED_LATE,
            "curl lib/connect.c; an alert that a reset overtook",
        ),
        row("curl: (98)", &meaning::NO_CLIENT_CERT_TOLD, STRERROR),
        row(
            "SSL Client Certificate required",
            &meaning::NO_CLIENT_CERT_TOLD,
            STRERROR,
        ),
        row(
            "schannel: CertGetCertificateChain trust error CERT_TRUST_REVOCATION_STATUS_UNKNOWN",
            &revocation::OFFLINE,
            SCHANNEL,
        ),
        row(
            "schannel: CertGetCertificateChain trust error CERT_TRUST_IS_UNTRUSTED_ROOT",
            &meaning::UNTRUSTED_ROOT,
            SCHANNEL,
        ),
        row(
            "schannel: CertGetCertificateChain trust error CERT_TRUST_IS_PARTIAL_CHAIN",
            &meaning::UNTRUSTED,
            SCHANNEL,
        ),
        row(
            "schannel: CertGetCertificateChain trust error CERT_TRUST_IS_REVOKED",
            &revocation::REVOKED,
            SCHANNEL,
        ),
        row(
            "schannel: CertGetCertificateChain trust error CERT_TRUST_IS_NOT_TIME_VALID",
            &meaning::EXPIRED_OR_NOT_YET,
            SCHANNEL,
        ),
        row(
            "schannel: SNI or certificate check failed: SEC_E_WRONG_PRINCIPAL",
            &meaning::NAME_MISMATCH,
            SCHANNEL,
        ),
        row(
            "schannel: CertGetNameString() failed to match connection hostname ({host}) against server certificate names",
            &meaning::NAME_MISMATCH,
            SCHANNEL,
        ),
        row(
            "schannel: Failed to import cert file {file}, password is bad",
            &file::PASSWORD,
            SCHANNEL,
        ),
        row(
            "schannel: the certificate{}is not trusted",
            &meaning::UNTRUSTED,
            SCHANNEL,
        ),
        row(
            "server certificate verification failed. CAfile: {file}",
            &meaning::UNTRUSTED,
            "curl lib/vtls/gtls.c",
        ),
    ],
};

static EMPTY: Meaning = Meaning::at_client(
    "the server closed the connection without an answer, as TLS servers do to plaintext",
    &[
        client(Cause::PlainHttpToTlsPort).possible(),
        client(Cause::ClientCertNotSent).possible(),
    ],
);

static KEY_OR_PASSWORD: Meaning = Meaning::same(
    "the client's key could not be used: not found, or its passphrase is wrong",
    &[
        either(Cause::KeyPasswordWrong).likely(),
        either(Cause::FileMissing).likely(),
        either(Cause::KeyEncrypted).possible(),
    ],
);

static REFUSED_LATE: Meaning = Meaning::at_client(
    "the server closed the connection right after the handshake: it refused the client's certificate, or its absence",
    &[
        client(Cause::ClientCertNotSent).likely(),
        client(Cause::ClientCaNotTrusted).possible(),
    ],
);

const OPENSSL: &str = "curl lib/vtls/openssl.c";
const STRERROR: &str = "curl lib/strerror.c, docs/libcurl/libcurl-errors.md";
const CONNECT: &str = "curl lib/connect.c, lib/hostip.c";
const SCHANNEL: &str = "curl lib/vtls/schannel.c, schannel_verify.c";
