//! `GnuTLS`, and the programs that print it: wget, gnutls-cli, git on Debian, `OpenLDAP` there, Exim.

use super::meaning::{self, alert, file, revocation, transport};
use super::message::Side::Client;
use super::message::{Product, Table, mark, row};

pub(super) static TABLE: Table = Table {
    product: Product::GnuTls,
    rows: &[
        row(
            "The certificate is NOT trusted. The certificate issuer is unknown",
            &meaning::UNTRUSTED,
            STATUS,
        ),
        row(
            "The certificate issuer is unknown",
            &meaning::UNTRUSTED,
            STATUS,
        ),
        row(
            "The certificate chain uses expired certificate",
            &meaning::EXPIRED,
            STATUS,
        ),
        row(
            "The certificate chain uses not yet valid certificate",
            &meaning::NOT_YET,
            STATUS,
        ),
        row(
            "The certificate issuer is not a CA",
            &meaning::NOT_A_CA,
            STATUS,
        ),
        row(
            "The certificate chain uses insecure algorithm",
            &meaning::WEAK_SIGNATURE,
            STATUS,
        ),
        row(
            "The certificate chain is revoked",
            &revocation::REVOKED,
            STATUS,
        ),
        row(
            "The certificate chain violates the signer's constraints",
            &meaning::NAME_CONSTRAINTS,
            STATUS,
        ),
        row(
            "The signature in the certificate is invalid",
            &meaning::OTHER_KEY,
            STATUS,
        ),
        row(
            "The name in the certificate does not match the expected",
            &meaning::NAME_MISMATCH,
            STATUS,
        ),
        row(
            "The certificate doesn't match the purpose",
            &meaning::PURPOSE,
            STATUS,
        ),
        row(
            "The certificate does not match the intended purpose",
            &meaning::PURPOSE,
            STATUS,
        ),
        row(
            "The revocation or OCSP data are old and have been superseded",
            &revocation::OCSP_STALE,
            STATUS,
        ),
        row(
            "The revocation or OCSP data are issued with a future date",
            &revocation::CRL_NOT_YET,
            STATUS,
        ),
        row(
            "The certificate requires the server to include an OCSP status",
            &revocation::STAPLE_MISSING,
            STATUS,
        ),
        row(
            "The certificate is NOT trusted",
            &meaning::VERIFY_FAILED,
            STATUS,
        ),
        row(
            "Status: The certificate is NOT trusted",
            &meaning::VERIFY_FAILED,
            STATUS,
        ),
        row(
            "Error in the certificate verification",
            &meaning::VERIFY_FAILED,
            ERRORS,
        ),
        row(
            "signer not found",
            &meaning::UNTRUSTED,
            "gnutls lib/x509/verify.c",
        ),
        row(
            "Key usage violation in certificate has been detected",
            &meaning::KEY_USAGE,
            ERRORS,
        ),
        row("No certificate was found", &meaning::NO_CLIENT_CERT, ERRORS),
        row("Certificate is required", &meaning::NO_CLIENT_CERT, ERRORS),
        row(
            "The peer did not send any certificate",
            &meaning::NO_CLIENT_CERT,
            ERRORS,
        ),
        row(
            "An unexpected TLS packet was received",
            &transport::NOT_TLS,
            ERRORS,
        ),
        row(
            "A TLS packet with unexpected length was received",
            &transport::RESET,
            ERRORS,
        ),
        row(
            "The TLS connection was non-properly terminated",
            &transport::RESET,
            ERRORS,
        ),
        row(
            "A record packet with illegal version was received",
            &transport::NOT_TLS,
            ERRORS,
        ),
        row(
            "Could not negotiate a supported cipher suite",
            &transport::CIPHER,
            ERRORS,
        ),
        row(
            "No supported cipher suites have been found",
            &transport::CIPHER,
            ERRORS,
        ),
        row(
            "No or insufficient priorities were set",
            &transport::VERSION_OR_CIPHER,
            ERRORS,
        ),
        row(
            "No common application protocol could be negotiated",
            &transport::ALPN,
            ERRORS,
        ),
        row(
            "The handshake data size is too large",
            &meaning::MESSAGE_TOO_LARGE,
            ERRORS,
        ),
        row(
            "The Diffie-Hellman prime sent by the server is not acceptable",
            &meaning::WEAK_KEY,
            ERRORS,
        ),
        row(
            "Public key signature verification has failed",
            &meaning::POSSESSION,
            ERRORS,
        ),
        row(
            "The signature algorithm is not supported",
            &meaning::SIGALG,
            ERRORS,
        ),
        row("Base64 unexpected header error", &file::NO_PEM, ERRORS),
        row(
            "Error setting the certificate and key",
            &file::UNUSABLE_KEY,
            "gnutls src/cli.c",
        ),
        row(
            "The certificate and the given key do not match",
            &file::KEY_MISMATCH,
            ERRORS,
        ),
        row(
            "Error setting the x509 trust file",
            &file::UNUSABLE_BUNDLE,
            ERRORS,
        ),
        row(
            "Received alert [42]: Certificate is bad",
            &alert::BAD_CERTIFICATE,
            CLI,
        ),
        row(
            "Received alert [43]: Certificate is not supported",
            &alert::UNSUPPORTED,
            CLI,
        ),
        row(
            "Received alert [44]: Certificate was revoked",
            &alert::REVOKED,
            CLI,
        ),
        row(
            "Received alert [45]: Certificate is expired",
            &alert::EXPIRED,
            CLI,
        ),
        row(
            "Received alert [46]: Unknown certificate",
            &alert::CERTIFICATE_UNKNOWN,
            CLI,
        ),
        row(
            "Received alert [48]: CA is unknown",
            &alert::UNKNOWN_CA,
            CLI,
        ),
        row(
            "Received alert [49]: Access was denied",
            &alert::ACCESS_DENIED,
            CLI,
        ),
        row(
            "Received alert [51]: Decrypt error",
            &alert::DECRYPT_ERROR,
            CLI,
        ),
        row(
            "Received alert [40]: Handshake failed",
            &alert::HANDSHAKE_FAILURE,
            CLI,
        ),
        row(
            "Received alert [70]: Error in protocol version",
            &alert::PROTOCOL_VERSION,
            CLI,
        ),
        row(
            "Received alert [71]: Insufficient security",
            &alert::INSUFFICIENT,
            CLI,
        ),
        row(
            "Received alert [80]: Internal error",
            &alert::INTERNAL_ERROR,
            CLI,
        ),
        row(
            "Received alert [112]: The server name sent was not recognized",
            &alert::UNRECOGNIZED_NAME,
            CLI,
        ),
        row(
            "Received alert [116]: Certificate is required",
            &alert::REQUIRED,
            CLI,
        ),
        row(
            "Received alert [120]: No supported application protocol could be negotiated",
            &alert::NO_APPLICATION_PROTOCOL,
            CLI,
        ),
        row(
            "cannot verify {host}'s certificate, issued by {issuer}:",
            &meaning::VERIFY_FAILED,
            WGET,
        ),
        row(
            "Unable to locally verify the issuer's authority",
            &meaning::UNTRUSTED,
            WGET,
        ),
        row(
            "Self-signed certificate encountered",
            &meaning::SELF_SIGNED,
            WGET,
        ),
        row("Issued certificate has expired", &meaning::EXPIRED, WGET),
        row("Issued certificate not yet valid", &meaning::NOT_YET, WGET),
        row(
            "certificate common name '{names}' doesn't match requested host name '{host}'",
            &meaning::NAME_MISMATCH,
            WGET,
        ),
        row(
            "no certificate subject alternative name matches",
            &meaning::NAME_MISMATCH,
            WGET,
        ),
        row(
            "The certificate of '{host}' is not trusted",
            &meaning::UNTRUSTED,
            "wget src/gnutls.c",
        ),
        row(
            "The certificate of '{host}' doesn't have a known issuer",
            &meaning::UNTRUSTED,
            "wget src/gnutls.c",
        ),
        row(
            "The certificate of '{host}' has expired",
            &meaning::EXPIRED,
            "wget src/gnutls.c",
        ),
        row(
            "The certificate's owner does not match hostname",
            &meaning::NAME_MISMATCH,
            "wget src/gnutls.c",
        ),
        row(
            "gnutls_handshake() failed: Certificate is bad",
            &alert::BAD_CERTIFICATE,
            ERRORS,
        ),
        row(
            "gnutls_handshake() failed: Handshake failed",
            &alert::HANDSHAKE_FAILURE,
            ERRORS,
        ),
        row(
            "gnutls_handshake() failed",
            &transport::FAILED,
            "curl lib/vtls/gtls.c",
        ),
        row(
            "A TLS fatal alert has been received",
            &transport::FAILED,
            ERRORS,
        ),
        mark("gnutls-cli", Client),
        mark("Processed {} CA certificate(s)", Client),
    ],
};

const STATUS: &str = "gnutls lib/cert-cred-x509.c (gnutls_certificate_verification_status_print)";
const ERRORS: &str = "gnutls lib/errors.c";
const CLI: &str = "gnutls src/cli.c, lib/alert.c";
const WGET: &str = "wget src/openssl.c";
