//! OpenSSL's error queue, as 1.1 (`func`) and 3.x (no function) print it, and the many programs that print it on.

pub(super) mod alerts;

use super::meaning::{self, file, revocation, transport};
use super::message::Side::{Client, Server};
use super::message::{Product, Table, mark, row};

pub(super) static TABLE: Table = Table {
    product: Product::OpenSsl,
    rows: &[
        row(
            "No certificate matches private key",
            &file::KEY_MISMATCH,
            "openssl apps/pkcs12.c",
        ),
        row(
            "No cert in -in file '{file}' matches private key",
            &file::KEY_MISMATCH,
            "openssl apps/pkcs12.c",
        ),
        row("[SSL: HTTP_REQUEST]", &transport::PLAIN_REQUEST, SSL),
        row("[SSL: UNSUPPORTED_PROTOCOL]", &transport::VERSION, SSL),
        row(
            "SSL connection: unsupported protocol",
            &transport::VERSION,
            SSL,
        ),
        row(
            "state=error: unsupported protocol",
            &transport::VERSION,
            SSL,
        ),
        row(
            "SSL connection: http request",
            &transport::PLAIN_REQUEST,
            SSL,
        ),
        // Verification and certificates.
        row("certificate verify failed", &meaning::VERIFY_FAILED, SSL),
        row(
            "peer did not return a certificate",
            &meaning::NO_CLIENT_CERT,
            SSL,
        ),
        row("no certificate returned", &meaning::VERIFY_FAILED, SSL),
        row("no certificates returned", &meaning::NO_CLIENT_CERT, SSL),
        row("ee key too small", &meaning::WEAK_KEY, SSL),
        row("ca key too small", &meaning::WEAK_KEY, SSL),
        row("ee md too weak", &meaning::WEAK_SIGNATURE, SSL),
        row("ca md too weak", &meaning::WEAK_SIGNATURE, SSL),
        row("dh key too small", &meaning::WEAK_KEY, SSL),
        row("bad ecc cert", &meaning::SIGALG, SSL),
        row(
            "SSL routines{}:wrong certificate type",
            &meaning::SIGALG,
            SSL,
        ),
        row("wrong signature type", &meaning::SIGALG, SSL),
        row("no suitable signature algorithm", &meaning::SIGALG, SSL),
        row("no shared signature algorithms", &meaning::SIGALG, SSL),
        row("unsupported signature type", &meaning::SIGALG, SSL),
        row("SSL routines{}:bad signature", &meaning::POSSESSION, SSL),
        row("SSL routines{}:bad certificate", &meaning::MALFORMED, SSL),
        row(
            "tls_process_cert_verify:bad signature",
            &meaning::POSSESSION,
            SSL,
        ),
        row("rsa routines{}bad signature", &meaning::POSSESSION, RSA),
        row(
            "rsa routines{}padding check failed",
            &meaning::OTHER_KEY,
            RSA,
        ),
        row("excessive message size", &meaning::MESSAGE_TOO_LARGE, SSL),
        row(
            "SSL routines{}:ca dn length mismatch",
            &transport::BROKEN,
            SSL,
        ),
        row("invalid status response", &revocation::OCSP_INVALID, SSL),
        row(
            "ASN1 lib{}x509 certificate routines",
            &meaning::MALFORMED,
            X509,
        ),
        row("invalid certificate or algorithm", &meaning::MALFORMED, SSL),
        row("extension not received", &meaning::POST_HANDSHAKE, SSL),
        row(
            "SSL_verify_client_post_handshake",
            &meaning::POST_HANDSHAKE,
            SSL,
        ),
        row(
            "SSL routines{}:no renegotiation",
            &meaning::POST_HANDSHAKE,
            SSL,
        ),
        // Files of certificates and keys.
        row("routines{}:key type mismatch", &file::KEY_MISMATCH, X509),
        row("no start line", &file::NO_PEM, PEM),
        row(
            "no start line{}Expecting: TRUSTED CERTIFICATE",
            &file::NO_CERTIFICATE_PEM,
            PEM,
        ),
        row(
            "no start line{}Expecting: CERTIFICATE",
            &file::NO_CERTIFICATE_PEM,
            PEM,
        ),
        row(
            "no start line{}Expecting: ANY PRIVATE KEY",
            &file::NO_KEY_PEM,
            PEM,
        ),
        row("bad end line", &file::GLUED, PEM),
        row("bad base64 decode", &file::BASE64, PEM),
        row("PEM routines{}bad password read", &file::ENCRYPTED, PEM),
        row("problems getting password", &file::ENCRYPTED, PEM),
        row(
            "processing error{}problems getting password",
            &file::ENCRYPTED,
            PEM,
        ),
        row("PEM routines{}read key", &file::UNUSABLE_KEY, PEM),
        row("PEM routines{}bad decrypt", &file::DECRYPTION, PEM),
        row(
            "digital envelope routines{}bad decrypt",
            &file::DECRYPTION,
            EVP,
        ),
        row("Provider routines{}bad decrypt", &file::DECRYPTION, EVP),
        row(
            "PKCS12 routines{}mac verify failure",
            &file::LEGACY_OR_PASSWORD,
            PKCS12,
        ),
        row(
            "Mac verify error: invalid password?",
            &file::PASSWORD,
            "openssl apps/pkcs12.c",
        ),
        row(
            "PKCS12_parse{}mac verify failure",
            &file::LEGACY_OR_PASSWORD,
            PKCS12,
        ),
        row(
            "pkcs12 cipherfinal error",
            &file::LEGACY_OR_PASSWORD,
            PKCS12,
        ),
        row("Algorithm (RC2-40-CBC : 0)", &file::LEGACY, EVP),
        row("Algorithm (PBE-SHA1-RC2-40", &file::LEGACY, EVP),
        row("RC2-40-CBC", &file::LEGACY, EVP),
        row("unsupported PKCS12 PFX data", &file::LEGACY, PKCS12),
        row(
            "unable to load certificate",
            &file::UNUSABLE_CERTIFICATE,
            "openssl apps/lib/apps.c",
        ),
        row(
            "unable to load private key",
            &file::UNUSABLE_KEY,
            "openssl apps/lib/apps.c",
        ),
        row(
            "unable to load client certificate private key",
            &file::UNUSABLE_KEY,
            "openssl apps/lib/apps.c",
        ),
        row(
            "Could not read certificate",
            &file::UNUSABLE_CERTIFICATE,
            "openssl apps/lib/apps.c",
        ),
        row(
            "Could not find certificate from",
            &file::NO_CERTIFICATE_PEM,
            "openssl apps/lib/apps.c",
        ),
        row(
            "Could not read private key",
            &file::UNUSABLE_KEY,
            "openssl apps/lib/apps.c",
        ),
        row(
            "Could not find private key from",
            &file::NO_KEY_PEM,
            "openssl apps/lib/apps.c",
        ),
        row(
            "DECODER routines::unsupported",
            &file::NOT_PEM,
            "openssl crypto/encode_decode/decoder_lib.c",
        ),
        row("asn1 encoding routines{}wrong tag", &file::NOT_PEM, ASN1),
        row(
            "asn1 encoding routines{}header too long",
            &file::NOT_PEM,
            ASN1,
        ),
        row(
            "asn1 encoding routines{}not enough data",
            &file::NOT_PEM,
            ASN1,
        ),
        row(
            "asn1 encoding routines{}too long",
            &meaning::MALFORMED,
            ASN1,
        ),
        row(
            "asn1 encoding routines{}bad object header",
            &file::NOT_PEM,
            ASN1,
        ),
        row(
            "asn1 encoding routines{}illegal negative",
            &meaning::SERIAL,
            ASN1,
        ),
        row("BIO routines{}no such file", &file::MISSING, BIO),
        row(
            "system library{}No such file or directory",
            &file::MISSING,
            BIO,
        ),
        row("fopen:No such file or directory", &file::MISSING, BIO),
        row("system library{}Permission denied", &file::PERMISSIONS, BIO),
        row("fopen:Permission denied", &file::PERMISSIONS, BIO),
        row("Expecting: CERTIFICATE REQUEST", &file::NO_PEM, PEM),
        row("SSL_CTX_use_certificate", &file::UNUSABLE_CERTIFICATE, SSL),
        row(
            "x509 certificate routines{}no certificate or crl found",
            &meaning::BUNDLE_EMPTY,
            X509,
        ),
        row(
            "x509 certificate routines{}no certificate found",
            &meaning::BUNDLE_EMPTY,
            X509,
        ),
        row("no certificate assigned", &transport::CIPHER, SSL),
        row("no certificate set", &transport::CIPHER, SSL),
        // The protocol.
        row(
            "unsafe legacy renegotiation disabled",
            &transport::LEGACY_RENEGOTIATION,
            SSL,
        ),
        row("no shared cipher", &transport::CIPHER, SSL),
        row("no ciphers available", &transport::VERSION_OR_CIPHER, SSL),
        row("no cipher match", &transport::CIPHER, SSL),
        row("no protocols available", &transport::VERSION, SSL),
        row(
            "SSL routines{}:unsupported protocol",
            &transport::VERSION,
            SSL,
        ),
        row("SSL routines{}:version too low", &transport::VERSION, SSL),
        row("SSL routines{}:wrong ssl version", &transport::VERSION, SSL),
        row("inappropriate fallback", &transport::VERSION, SSL),
        row("no suitable key share", &transport::GROUP, SSL),
        row("no suitable groups", &transport::GROUP, SSL),
        row("bad key share", &transport::GROUP, SSL),
        row("wrong curve", &transport::GROUP, SSL),
        row("wrong version number", &transport::NOT_TLS, SSL),
        row("packet length too long", &transport::NOT_TLS, SSL),
        row("SSL routines{}:record too small", &transport::NOT_TLS, SSL),
        row("SSL routines{}:unknown protocol", &transport::NOT_TLS, SSL),
        row(
            "SSL routines{}:http request",
            &transport::PLAIN_REQUEST,
            SSL,
        ),
        row(
            "SSL routines{}:https proxy request",
            &transport::PLAIN_REQUEST,
            SSL,
        ),
        row("no application protocol", &transport::ALPN, SSL),
        row("unexpected eof while reading", &transport::RESET, SSL),
        row("SSL routines{}:handshake failure", &transport::FAILED, SSL),
        row("SSL routines{}:unexpected message", &transport::BROKEN, SSL),
        row("SSL routines{}:length mismatch", &transport::BROKEN, SSL),
        row("SSL routines{}:bad packet length", &transport::BROKEN, SSL),
        row("SSL routines{}:bad extension", &transport::BROKEN, SSL),
        row(
            "decryption failed or bad record mac",
            &transport::BROKEN,
            SSL,
        ),
        row(
            "SSL routines{}:digest check failed",
            &transport::BROKEN,
            SSL,
        ),
        // Whose log it is.
        mark("tls_process_server_certificate", Client),
        mark("tls_process_server_hello", Client),
        mark("ssl3_get_server_certificate", Client),
        mark("ssl3_get_server_hello", Client),
        mark("SSL_connect", Client),
        mark("SSL_CTX_load_verify_locations", Client),
        mark("s_client -connect", Client),
        mark("tls_process_client_certificate", Server),
        mark("tls_post_process_client_hello", Server),
        mark("tls_early_post_process_client_hello", Server),
        mark("tls_process_client_hello", Server),
        mark("tls_choose_sigalg", Server),
        mark("ssl3_get_client_hello", Server),
        mark("ssl3_get_client_certificate", Server),
        mark("SSL_accept", Server),
        mark("openssl s_server", Server),
    ],
};

const SSL: &str = "openssl ssl/ssl_err.c";
const X509: &str = "openssl crypto/x509/x509_err.c";
const PEM: &str = "openssl crypto/pem/pem_err.c";
const EVP: &str = "openssl crypto/evp/evp_err.c";
const RSA: &str = "openssl crypto/rsa/rsa_err.c";
const PKCS12: &str = "openssl crypto/pkcs12/pk12err.c";
const ASN1: &str = "openssl crypto/asn1/asn1_err.c";
const BIO: &str = "openssl crypto/bio/bio_err.c, bss_file.c";
