//! Go: `crypto/x509` here, `crypto/tls` and `net/http` in a table of their own; and with them Caddy, Traefik, Docker,
//! Vault, Consul, Prometheus.

pub(super) mod kubernetes;
pub(super) mod tls;

use crate::cause::Cause;
use crate::log::meaning::{self, file, revocation};
use crate::log::message::{Meaning, Product, Table, either, row};

pub(super) static TABLE: Table = Table {
    product: Product::Go,
    rows: &[
        row(
            "x509: certificate signed by unknown authority",
            &meaning::UNTRUSTED,
            VERIFY,
        ),
        row(
            "x509: certificate signed by unknown authority (possibly because of",
            &meaning::OTHER_KEY,
            VERIFY,
        ),
        row(
            "x509: certificate signed by unknown authority (possibly because of \"crypto/rsa: verification error\" while trying to verify candidate authority certificate \"{issuer}\"",
            &meaning::OTHER_KEY,
            VERIFY,
        ),
        row(
            "x509: certificate signed by unknown authority (possibly because of \"x509: ECDSA verification failure\" while trying to verify candidate authority certificate \"{issuer}\"",
            &meaning::OTHER_KEY,
            VERIFY,
        ),
        row(
            "x509: certificate signed by unknown authority (possibly because of \"x509: Ed25519 verification failure\" while trying to verify candidate authority certificate \"{issuer}\"",
            &meaning::OTHER_KEY,
            VERIFY,
        ),
        row(
            "x509: certificate signed by unknown authority (possibly because of \"x509: invalid signature: parent certificate cannot sign this kind of certificate\" while trying to verify candidate authority certificate \"{issuer}\"",
            &PARENT_CANNOT_SIGN,
            VERIFY,
        ),
        row(
            "invalid signature: parent certificate cannot sign this kind of certificate",
            &PARENT_CANNOT_SIGN,
            X509,
        ),
        row(
            "x509: certificate signed by unknown authority (possibly because of \"x509: cannot verify signature: insecure algorithm {algorithm}\" while trying to verify candidate authority certificate \"{issuer}\"",
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
            "x509: certificate has expired or is not yet valid: current time {now} is after {not_after}",
            &meaning::EXPIRED,
            VERIFY,
        ),
        row(
            "x509: certificate has expired or is not yet valid: current time {now} is before {not_before}",
            &meaning::NOT_YET,
            VERIFY,
        ),
        row(
            "x509: certificate has expired or is not yet valid:",
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
            "x509: a root or intermediate certificate is not authorized for an extended key usage: {usage}",
            &meaning::ISSUER_PURPOSE,
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
            "ocsp: certificate is revoked",
            &revocation::REVOKED,
            "golang.org/x/crypto/ocsp",
        ),
        row(
            "ocsp: error from server: {reason}",
            &revocation::OCSP_INVALID,
            "golang.org/x/crypto/ocsp",
        ),
    ],
};

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

const VERIFY: &str = "go src/crypto/x509/verify.go";
const X509: &str = "go src/crypto/x509/x509.go";
const PARSER: &str = "go src/crypto/x509/parser.go";
