//! Go's `crypto/tls`, `net/http` and files.

use crate::cause::Cause;
use crate::log::meaning::{self, alert, file, transport};
use crate::log::message::Side::Server;
use crate::log::message::{Meaning, Product, Table, either, mark, row};

pub(in crate::log) static TABLE: Table = Table {
    product: Product::Go,
    rows: &[
        row(
            "tls: failed to verify certificate",
            &meaning::VERIFY_FAILED,
            CLIENT,
        ),
        row(
            "tls: client didn't provide a certificate",
            &meaning::NO_CLIENT_CERT,
            SERVER,
        ),
        row(
            "tls: client certificate used with invalid signature algorithm",
            &meaning::SIGALG,
            SERVER,
        ),
        row(
            "tls: private key does not match public key",
            &file::KEY_MISMATCH,
            TLS,
        ),
        row(
            "tls: private key type does not match public key type",
            &file::KEY_MISMATCH,
            TLS,
        ),
        row(
            "tls: failed to find any PEM data in certificate input",
            &file::NO_CERTIFICATE_PEM,
            TLS,
        ),
        row(
            "tls: failed to find any PEM data in key input",
            &file::NO_KEY_PEM,
            TLS,
        ),
        row(
            "tls: failed to find certificate PEM data in certificate input, but did find a private key",
            &file::SWAPPED,
            TLS,
        ),
        row(
            "tls: found a certificate rather than a key in the PEM for the private key",
            &file::SWAPPED,
            TLS,
        ),
        row(
            "tls: failed to find \"CERTIFICATE\" PEM block in certificate input after skipping PEM blocks of the following types: [CERTIFICATE REQUEST]",
            &file::CSR,
            TLS,
        ),
        row(
            "tls: failed to find \"CERTIFICATE\" PEM block in certificate input after skipping PEM blocks of the following types: {types}",
            &file::NO_CERTIFICATE_PEM,
            TLS,
        ),
        row(
            "tls: failed to find PEM block with type ending in \"PRIVATE KEY\" in key input after skipping PEM blocks of the following types: {types}",
            &file::NO_KEY_PEM,
            TLS,
        ),
        row("tls: failed to parse private key", &UNREAD_KEY, TLS),
        row("tls: failed to parse key PEM data", &file::NO_KEY_PEM, TLS),
        row(
            "tls: failed to parse certificate PEM data",
            &file::NO_CERTIFICATE_PEM,
            TLS,
        ),
        row(
            "tls: failed to parse certificate from server",
            &meaning::MALFORMED,
            CLIENT,
        ),
        row(
            "tls: failed to parse client certificate",
            &meaning::MALFORMED,
            SERVER,
        ),
        row(
            "tls: first record does not look like a TLS handshake",
            &transport::NOT_TLS,
            CONN,
        ),
        row(
            "tls: oversized record received with length {length}",
            &transport::NOT_TLS,
            CONN,
        ),
        row(
            "http: server gave HTTP response to HTTPS client",
            &transport::ANSWERS_PLAIN,
            "go src/net/http/transport.go",
        ),
        row(
            "Client sent an HTTP request to an HTTPS server",
            &transport::PLAIN_REQUEST,
            "go src/net/http/server.go",
        ),
        row(
            "malformed HTTP response \"\\x15\\x03",
            &transport::PLAIN_REQUEST,
            "go src/net/http/response.go; RFC 8446 §6 (an alert)",
        ),
        row(
            "tls: client offered only unsupported versions",
            &transport::VERSION,
            SERVER,
        ),
        row(
            "tls: server selected unsupported protocol version",
            &transport::VERSION,
            CLIENT,
        ),
        row(
            "tls: no supported versions satisfy MinVersion and MaxVersion",
            &transport::VERSION,
            CLIENT,
        ),
        row(
            "tls: protocol version not supported",
            &transport::VERSION,
            CONN,
        ),
        row(
            "tls: no cipher suite supported by both client and server",
            &transport::CIPHER,
            SERVER,
        ),
        row(
            "tls: server chose an unconfigured cipher suite",
            &transport::CIPHER,
            CLIENT,
        ),
        row(
            "tls: no ECDHE curve supported by both client and server",
            &transport::GROUP,
            SERVER,
        ),
        row(
            "tls: no key exchanges supported by both client and server",
            &transport::GROUP,
            SERVER,
        ),
        row(
            "tls: peer doesn't support any of the certificate's signature algorithms",
            &meaning::SIGALG,
            AUTH,
        ),
        row(
            "tls: peer doesn't support the certificate custom signature algorithms",
            &meaning::SIGALG,
            AUTH,
        ),
        row("tls: unsupported certificate", &meaning::SIGALG, AUTH),
        row(
            "tls: client requested unsupported application protocols",
            &transport::ALPN,
            SERVER,
        ),
        row(
            "tls: server selected unadvertised ALPN protocol",
            &transport::ALPN,
            CLIENT,
        ),
        row(
            "missing selected ALPN property",
            &transport::ALPN,
            "grpc-go credentials/tls.go",
        ),
        row(
            "tls: invalid signature by the server certificate",
            &meaning::POSSESSION,
            CLIENT,
        ),
        row(
            "tls: invalid signature by the client certificate",
            &meaning::POSSESSION,
            SERVER,
        ),
        row(
            "tls: handshake message of length {length} bytes exceeds maximum of {limit} bytes",
            &meaning::MESSAGE_TOO_LARGE,
            CONN,
        ),
        row(
            "tls: no certificates configured",
            &meaning::SNI_UNKNOWN,
            SERVER,
        ),
        row(
            "tls: no certificate available for",
            &meaning::SNI_UNKNOWN,
            "caddy certmagic handshake.go",
        ),
        row(
            "no certificate available for '{host}'",
            &meaning::SNI_UNKNOWN,
            "caddy certmagic handshake.go",
        ),
        row("tls: unexpected message", &transport::BROKEN, CONN),
        row(
            "tls: received unexpected handshake message",
            &transport::BROKEN,
            CONN,
        ),
        row("tls: unrecognized name", &meaning::SNI_UNKNOWN, CONN),
        row(
            "tls: server did not echo the legacy session ID",
            &transport::BROKEN,
            CLIENT,
        ),
        row(
            "remote error: tls: bad certificate",
            &alert::BAD_CERTIFICATE,
            ALERT,
        ),
        row(
            "remote error: tls: unknown certificate authority",
            &alert::UNKNOWN_CA,
            ALERT,
        ),
        row(
            "remote error: tls: unknown certificate",
            &alert::CERTIFICATE_UNKNOWN,
            ALERT,
        ),
        row(
            "remote error: tls: expired certificate",
            &alert::EXPIRED,
            ALERT,
        ),
        row(
            "remote error: tls: revoked certificate",
            &alert::REVOKED,
            ALERT,
        ),
        row(
            "remote error: tls: unsupported certificate",
            &alert::UNSUPPORTED,
            ALERT,
        ),
        row(
            "remote error: tls: certificate required",
            &alert::REQUIRED,
            ALERT,
        ),
        row(
            "remote error: tls: handshake failure",
            &alert::HANDSHAKE_FAILURE,
            ALERT,
        ),
        row(
            "remote error: tls: protocol version not supported",
            &alert::PROTOCOL_VERSION,
            ALERT,
        ),
        row(
            "remote error: tls: insufficient security level",
            &alert::INSUFFICIENT,
            ALERT,
        ),
        row(
            "remote error: tls: error decrypting message",
            &alert::DECRYPT_ERROR,
            ALERT,
        ),
        row(
            "remote error: tls: access denied",
            &alert::ACCESS_DENIED,
            ALERT,
        ),
        row(
            "remote error: tls: unrecognized name",
            &alert::UNRECOGNIZED_NAME,
            ALERT,
        ),
        row(
            "remote error: tls: no application protocol",
            &alert::NO_APPLICATION_PROTOCOL,
            ALERT,
        ),
        row(
            "remote error: tls: internal error",
            &alert::INTERNAL_ERROR,
            ALERT,
        ),
        row(
            "remote error: tls: error decoding message",
            &alert::PROTOCOL,
            ALERT,
        ),
        row(
            "remote error: tls: illegal parameter",
            &alert::PROTOCOL,
            ALERT,
        ),
        row(
            "remote error: tls: unexpected message",
            &alert::PROTOCOL,
            ALERT,
        ),
        row("remote error: tls: bad record MAC", &alert::PROTOCOL, ALERT),
        row(
            "remote error: tls: record overflow",
            &alert::RECORD_OVERFLOW,
            ALERT,
        ),
        row(
            "remote error: tls: user canceled",
            &alert::USER_CANCELED,
            ALERT,
        ),
        row(
            "remote error: tls: no renegotiation",
            &alert::NO_RENEGOTIATION,
            ALERT,
        ),
        row("tls: no renegotiation", &meaning::POST_HANDSHAKE, CONN),
        row("local error: tls: bad record MAC", &transport::BROKEN, CONN),
        row(
            "TLS handshake error from {source}: EOF",
            &transport::CLOSED_BY_CLIENT,
            HTTP_SERVER,
        ),
        row(
            "TLS handshake error from {source}: read tcp {}: connection reset by peer",
            &transport::CLOSED_BY_CLIENT,
            HTTP_SERVER,
        ),
        row(
            "TLS handshake error from {source}: read tcp {}: i/o timeout",
            &transport::SILENT,
            HTTP_SERVER,
        ),
        row(
            "net/http: TLS handshake timeout",
            &transport::SILENT,
            "go src/net/http/transport.go",
        ),
        row(
            "proxyproto: proxy protocol signature not present",
            &transport::PROXY_HEADER,
            "go-proxyproto protocol.go",
        ),
        row(
            "could not read PROXY header",
            &transport::PROXY_HEADER,
            "go-proxyproto protocol.go",
        ),
        row(
            "unable to load client certificate: open",
            &file::MISSING,
            "go src/crypto/tls/tls.go",
        ),
        row(
            "open {file}.pem: no such file or directory",
            &file::MISSING,
            "go src/os/error.go",
        ),
        row(
            "open {file}.crt: no such file or directory",
            &file::MISSING,
            "go src/os/error.go",
        ),
        row(
            "open {file}.key: no such file or directory",
            &file::MISSING,
            "go src/os/error.go",
        ),
        row(
            "open {file}.cer: no such file or directory",
            &file::MISSING,
            "go src/os/error.go",
        ),
        row(
            "open {file}.key: permission denied",
            &file::PERMISSIONS,
            "go src/os/error.go",
        ),
        row(
            "open {file}.pem: permission denied",
            &file::PERMISSIONS,
            "go src/os/error.go",
        ),
        row(
            "open {file}.crt: permission denied",
            &file::PERMISSIONS,
            "go src/os/error.go",
        ),
        mark("tls: client ", Server),
        mark("client certificate", Server),
    ],
};

/// Go opens no encrypted key; that a key belongs to its certificate is asked afterwards, in other words.
static UNREAD_KEY: Meaning = Meaning::same(
    "Go could not read the private key: it is encrypted, or in a form that Go does not know",
    &[
        either(Cause::KeyEncrypted).likely(),
        either(Cause::FileNotPem).likely(),
    ],
);

const TLS: &str = "go src/crypto/tls/tls.go";
const CONN: &str = "go src/crypto/tls/conn.go";
const AUTH: &str = "go src/crypto/tls/auth.go";
const CLIENT: &str = "go src/crypto/tls/handshake_client.go";
const SERVER: &str = "go src/crypto/tls/handshake_server.go";
const ALERT: &str = "go src/crypto/tls/alert.go";
const HTTP_SERVER: &str = "go src/net/http/server.go";
