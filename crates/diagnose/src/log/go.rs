//! Go: `crypto/x509`, `crypto/tls`, `net`, and with them Caddy, Traefik, Docker, Vault, Consul, Prometheus; Kubernetes
//! and etcd have a table of their own.

use super::meaning::{self, alert, file, revocation, transport};
use super::message::Side::Server;
use super::message::{Meaning, Product, Table, client, either, mark, row, server};
use crate::cause::Cause;

pub(super) static TABLE: Table = Table {
    product: Product::Go,
    rows: &[
        row(
            "x509: certificate signed by unknown authority",
            &meaning::UNTRUSTED,
            VERIFY,
        ),
        row(
            "certificate signed by unknown authority (possibly because of",
            &meaning::OTHER_KEY,
            VERIFY,
        ),
        row(
            "certificate signed by unknown authority (possibly because of \"crypto/rsa: verification error\" while trying to verify candidate authority certificate \"{issuer}\"",
            &meaning::OTHER_KEY,
            VERIFY,
        ),
        row(
            "certificate signed by unknown authority (possibly because of \"x509: ECDSA verification failure\" while trying to verify candidate authority certificate \"{issuer}\"",
            &meaning::OTHER_KEY,
            VERIFY,
        ),
        row(
            "certificate signed by unknown authority (possibly because of \"x509: Ed25519 verification failure\" while trying to verify candidate authority certificate \"{issuer}\"",
            &meaning::OTHER_KEY,
            VERIFY,
        ),
        row(
            "certificate signed by unknown authority (possibly because of \"x509: invalid signature: parent certificate cannot sign this kind of certificate\" while trying to verify candidate authority certificate \"{issuer}\"",
            &PARENT_CANNOT_SIGN,
            VERIFY,
        ),
        row(
            "invalid signature: parent certificate cannot sign this kind of certificate",
            &PARENT_CANNOT_SIGN,
            X509,
        ),
        row(
            "certificate signed by unknown authority (possibly because of \"x509: cannot verify signature: insecure algorithm {algorithm}\" while trying to verify candidate authority certificate \"{issuer}\"",
            &meaning::WEAK_SIGNATURE,
            VERIFY,
        ),
        row(
            "x509: cannot verify signature: insecure algorithm {algorithm}",
            &meaning::WEAK_SIGNATURE,
            X509,
        ),
        row(
            "x509: cannot verify signature: algorithm unimplemented",
            &meaning::SIGALG,
            X509,
        ),
        row(
            "x509: signature algorithm specifies an {algorithm} public key, but have public key of type",
            &meaning::OTHER_KEY,
            X509,
        ),
        row(
            "x509: certificate has expired or is not yet valid",
            &meaning::EXPIRED_OR_NOT_YET,
            VERIFY,
        ),
        row(
            "certificate has expired or is not yet valid: current time {now} is after {not_after}",
            &EXPIRED,
            VERIFY,
        ),
        row(
            "certificate has expired or is not yet valid: current time {now} is before {not_before}",
            &meaning::NOT_YET,
            VERIFY,
        ),
        row(
            "certificate has expired or is not yet valid:",
            &meaning::EXPIRED_OR_NOT_YET,
            VERIFY,
        ),
        row(
            "x509: certificate relies on legacy Common Name field",
            &meaning::SAN_MISSING,
            VERIFY,
        ),
        row(
            "x509: certificate is not valid for any names, but wanted to match {host}",
            &meaning::SAN_MISSING,
            VERIFY,
        ),
        row(
            "x509: certificate is valid for {names}, not {host}",
            &meaning::NAME_MISMATCH,
            VERIFY,
        ),
        row(
            "x509: certificate is valid for {names} names, but none matched {host}",
            &meaning::NAME_MISMATCH,
            VERIFY,
        ),
        row(
            "x509: certificate is valid for ingress.local, not {host}",
            &meaning::DEFAULT_CERTIFICATE,
            "ingress-nginx internal/net/ssl/ssl.go (fake certificate)",
        ),
        row(
            ".traefik.default, not {host}",
            &meaning::DEFAULT_CERTIFICATE,
            "traefik pkg/tls/generate/generate.go (default certificate)",
        ),
        row(
            "TRAEFIK DEFAULT CERT",
            &meaning::DEFAULT_CERTIFICATE,
            "traefik pkg/tls/generate/generate.go (default certificate)",
        ),
        row(
            "Kubernetes Ingress Controller Fake Certificate",
            &meaning::DEFAULT_CERTIFICATE,
            "ingress-nginx internal/net/ssl/ssl.go (fake certificate)",
        ),
        row(
            "x509: cannot validate certificate for {host} because it doesn't contain any IP SANs",
            &meaning::IP_SAN,
            VERIFY,
        ),
        row(
            "x509: certificate specifies an incompatible key usage",
            &meaning::PURPOSE,
            VERIFY,
        ),
        row(
            "x509: certificate is not authorized to sign other certificates",
            &meaning::NOT_A_CA,
            VERIFY,
        ),
        row(
            "x509: issuer name does not match subject from issuing certificate",
            &meaning::UNTRUSTED,
            VERIFY,
        ),
        row(
            "x509: too many intermediates for path length constraint",
            &meaning::PATHLEN,
            VERIFY,
        ),
        row(
            "x509: a root or intermediate certificate is not authorized to sign for this name: {name}",
            &meaning::NAME_CONSTRAINTS,
            VERIFY,
        ),
        row(
            "is not permitted by any constraint",
            &meaning::NAME_CONSTRAINTS,
            VERIFY,
        ),
        row(
            "is excluded by constraint",
            &meaning::NAME_CONSTRAINTS,
            VERIFY,
        ),
        row(
            "x509: issuer has name constraints but leaf contains unknown or unconstrained name",
            &meaning::NAME_CONSTRAINTS,
            VERIFY,
        ),
        row(
            "x509: issuer has name constraints but leaf doesn't have a SAN extension",
            &meaning::SAN_MISSING,
            VERIFY,
        ),
        row("x509: unhandled critical extension", &CRITICAL, VERIFY),
        row("x509: negative serial number", &meaning::SERIAL, PARSER),
        row("x509: serial number too long", &meaning::SERIAL, PARSER),
        row("x509: invalid version", &meaning::VERSION_ONE, PARSER),
        row("x509: malformed", &meaning::MALFORMED, PARSER),
        row("x509: invalid", &meaning::MALFORMED, PARSER),
        row("x509: trailing data", &meaning::MALFORMED, PARSER),
        row(
            "x509: certificate contains duplicate extension",
            &meaning::MALFORMED,
            PARSER,
        ),
        row(
            "x509: SAN dNSName is malformed",
            &meaning::MALFORMED,
            PARSER,
        ),
        row(
            "x509: RSA key missing NULL parameters",
            &meaning::MALFORMED,
            PARSER,
        ),
        row("x509: unsupported elliptic curve", &meaning::SIGALG, PARSER),
        row(
            "x509: provided PrivateKey doesn't match parent's PublicKey",
            &file::KEY_MISMATCH,
            X509,
        ),
        row(
            "x509: decryption password incorrect",
            &file::PASSWORD,
            "go src/crypto/x509/pem_decrypt.go",
        ),
        row(
            "asn1: structure error: {reason}",
            &file::NOT_PEM,
            "go src/encoding/asn1/asn1.go",
        ),
        row(
            "asn1: syntax error: {reason}",
            &file::NOT_PEM,
            "go src/encoding/asn1/asn1.go",
        ),
        row(
            "pkcs12: decryption password incorrect",
            &file::PASSWORD,
            "golang.org/x/crypto/pkcs12",
        ),
        row(
            "pkcs12: unknown digest algorithm",
            &file::NOT_PEM,
            "golang.org/x/crypto/pkcs12",
        ),
        row(
            "crypto/rsa: verification error",
            &meaning::OTHER_KEY,
            "go src/crypto/rsa/rsa.go",
        ),
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
        row("tls: failed to parse private key", &file::UNUSABLE_KEY, TLS),
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
            "ocsp: certificate is revoked",
            &revocation::REVOKED,
            "golang.org/x/crypto/ocsp",
        ),
        row(
            "ocsp: error from server: {reason}",
            &revocation::OCSP_INVALID,
            "golang.org/x/crypto/ocsp",
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

pub(super) static KUBERNETES: Table = Table {
    product: Product::Kubernetes,
    rows: &[
        row(
            "Unable to authenticate the request{}x509: certificate signed by unknown authority",
            &CLIENT_UNTRUSTED,
            AUTHENTICATION,
        ),
        row(
            "verifying certificate SN={serial}, SKID={}failed: x509: certificate signed by unknown authority",
            &CLIENT_UNTRUSTED,
            AUTHENTICATION,
        ),
        row(
            "verifying certificate SN={serial}, SKID={}failed: x509: certificate has expired or is not yet valid: current time {now} is after {not_after}",
            &CLIENT_EXPIRED,
            AUTHENTICATION,
        ),
        row(
            "Unable to authenticate the request{}x509: certificate has expired or is not yet valid: current time {now} is after {not_after}",
            &CLIENT_EXPIRED,
            AUTHENTICATION,
        ),
        row(
            "verifying certificate SN={serial}, SKID={}failed: x509: certificate specifies an incompatible key usage",
            &CLIENT_PURPOSE,
            AUTHENTICATION,
        ),
        row(
            "x509: subject with cn={name} is not in the allowed list",
            &meaning::NOT_ALLOWED,
            AUTHENTICATION,
        ),
        row(
            "failed calling webhook \"{webhook}\"",
            &WEBHOOK,
            "kubernetes apiserver/pkg/admission/plugin/webhook/errors",
        ),
        row(
            "tls: no serving certificate available for the kubelet",
            &SERVING,
            "kubernetes pkg/kubelet/certificate/kubelet.go",
        ),
        row(
            "no serving certificate available for the kubelet",
            &SERVING,
            "kubernetes pkg/kubelet/certificate/kubelet.go",
        ),
        row(
            "client certificate authentication failed",
            &CLIENT_UNTRUSTED,
            "etcd server/auth",
        ),
        row(
            "part of the existing bootstrap client certificate in {file} is expired: {not_after}",
            &OWN_EXPIRED,
            "kubernetes pkg/kubelet/certificate/bootstrap",
        ),
        row(
            "It is not possible to use bootstrap client certificate, expired",
            &OWN_EXPIRED,
            "kubernetes pkg/kubelet/certificate/bootstrap",
        ),
        row(
            "unable to load root certificates: unable to parse bytes as PEM block",
            &file::NO_CERTIFICATE_PEM,
            "kubernetes client-go/transport",
        ),
    ],
};

static EXPIRED: Meaning = Meaning::new(
    "{peer}'s certificate, or one above it, has expired",
    &[
        server(Cause::LeafExpired),
        server(Cause::IntermediateExpired).possible(),
        server(Cause::RootExpired).possible(),
    ],
    &[
        client(Cause::LeafExpired),
        client(Cause::IntermediateExpired).possible(),
        client(Cause::RootExpired).possible(),
    ],
);

static OWN_EXPIRED: Meaning = Meaning::at_client(
    "the client's own certificate has expired",
    &[client(Cause::LeafExpired)],
);

static PARENT_CANNOT_SIGN: Meaning = Meaning::same(
    "the issuer of {peer}'s certificate may not sign certificates",
    &[
        either(Cause::IssuerNotACa),
        either(Cause::IssuerCannotSign).likely(),
    ],
);

static CRITICAL: Meaning = Meaning::same(
    "{peer}'s chain has a critical extension that {self} does not know",
    &[
        either(Cause::NameConstraintsUnsupported).possible(),
        either(Cause::MalformedCertificate).possible(),
    ],
);

static CLIENT_UNTRUSTED: Meaning = Meaning::at_server(
    "no trusted issuer was found for the client's certificate",
    &[
        client(Cause::ClientCaNotTrusted),
        client(Cause::ChainMissingIntermediate).possible(),
        client(Cause::CaRotatedWithoutOverlap).possible(),
    ],
);

static CLIENT_EXPIRED: Meaning = Meaning::at_server(
    "the client's certificate has expired",
    &[client(Cause::LeafExpired)],
);

static CLIENT_PURPOSE: Meaning = Meaning::at_server(
    "the client's certificate is not for clients (extended key usage)",
    &[client(Cause::EkuMissingClientauth)],
);

static WEBHOOK: Meaning = Meaning::at_client(
    "a webhook could not be called",
    &[server(Cause::ServerCaNotTrusted).possible()],
);

static SERVING: Meaning = Meaning::same(
    "the kubelet has no certificate to serve with: its request is not approved",
    &[server(Cause::FileMissing).likely()],
);

const VERIFY: &str = "go src/crypto/x509/verify.go";
const X509: &str = "go src/crypto/x509/x509.go";
const PARSER: &str = "go src/crypto/x509/parser.go";
const TLS: &str = "go src/crypto/tls/tls.go";
const CONN: &str = "go src/crypto/tls/conn.go";
const AUTH: &str = "go src/crypto/tls/auth.go";
const CLIENT: &str = "go src/crypto/tls/handshake_client.go";
const SERVER: &str = "go src/crypto/tls/handshake_server.go";
const ALERT: &str = "go src/crypto/tls/alert.go";
const HTTP_SERVER: &str = "go src/net/http/server.go";
const AUTHENTICATION: &str = "kubernetes apiserver/pkg/authentication/request/x509/x509.go";
