//! rustls and rustls-webpki, and with them hyper, reqwest, tonic, linkerd and ztunnel.

use super::meaning::{self, alert, file, revocation, transport};
use super::message::{Product, Table, row};
use super::verify::CRITICAL;

pub(super) static TABLE: Table = Table {
    product: Product::Rustls,
    rows: &[
        row(
            "invalid peer certificate: Other(OtherError(SanError",
            &meaning::NAME_MISMATCH,
            "ztunnel src/tls/workload.rs",
        ),
        row(
            "invalid peer certificate: ApplicationVerificationFailure",
            &meaning::NAME_MISMATCH,
            ERROR,
        ),
        row(
            "invalid peer certificate: UnknownIssuer",
            &meaning::UNTRUSTED,
            ERROR,
        ),
        row(
            "InvalidCertificate(UnknownIssuer)",
            &meaning::UNTRUSTED,
            ERROR,
        ),
        row(
            "invalid peer certificate contents: invalid peer certificate: UnknownIssuer",
            &meaning::UNTRUSTED,
            ERROR,
        ),
        row(
            "invalid peer certificate: Expired",
            &meaning::EXPIRED,
            ERROR,
        ),
        row("InvalidCertificate(Expired", &meaning::EXPIRED, ERROR),
        row(
            "invalid peer certificate: certificate expired: verification time {}(UNIX), but certificate is not valid after",
            &meaning::EXPIRED,
            ERROR,
        ),
        row(
            "invalid peer certificate: certificate expired",
            &meaning::EXPIRED,
            ERROR,
        ),
        row(
            "invalid peer certificate: NotValidYet",
            &meaning::NOT_YET,
            ERROR,
        ),
        row(
            "invalid peer certificate: certificate not valid yet",
            &meaning::NOT_YET,
            ERROR,
        ),
        row("InvalidCertificate(NotValidYet", &meaning::NOT_YET, ERROR),
        row(
            "invalid peer certificate: CertNotValidYet",
            &meaning::NOT_YET,
            WEBPKI,
        ),
        row(
            "invalid peer certificate: CertExpired",
            &meaning::EXPIRED,
            WEBPKI,
        ),
        row(
            "invalid peer certificate: Revoked",
            &revocation::REVOKED,
            ERROR,
        ),
        row("InvalidCertificate(Revoked)", &revocation::REVOKED, ERROR),
        row(
            "invalid peer certificate: UnknownRevocationStatus",
            &revocation::CRL_MISSING,
            ERROR,
        ),
        row(
            "InvalidCertificate(UnknownRevocationStatus)",
            &revocation::CRL_MISSING,
            ERROR,
        ),
        row(
            "invalid peer certificate: ExpiredRevocationList",
            &revocation::CRL_EXPIRED,
            ERROR,
        ),
        row(
            "certificate revocation list expired",
            &revocation::CRL_EXPIRED,
            ERROR,
        ),
        row("ExpiredRevocationList", &revocation::CRL_EXPIRED, ERROR),
        row(
            "invalid certificate revocation list: {reason}",
            &revocation::CRL_UNPROCESSED,
            ERROR,
        ),
        row(
            "InvalidCrlSignatureForPublicKey",
            &revocation::CRL_SIGNATURE,
            WEBPKI,
        ),
        row("IssuerInvalidForCrl", &revocation::CRL_ISSUER, ERROR),
        row("IssuerNotCrlSigner", &revocation::CRL_USAGE, WEBPKI),
        row(
            "invalid peer certificate: NotValidForName",
            &meaning::NAME_MISMATCH,
            ERROR,
        ),
        row(
            "InvalidCertificate(NotValidForName)",
            &meaning::NAME_MISMATCH,
            ERROR,
        ),
        row(
            "invalid peer certificate: certificate not valid for name \"{host}\"; certificate is only valid for {names}",
            &meaning::NAME_MISMATCH,
            ERROR,
        ),
        row(
            "certificate not valid for name \"{host}\"; certificate is not valid for any names",
            &meaning::SAN_MISSING,
            ERROR,
        ),
        row(
            "invalid peer certificate: CertNotValidForName",
            &meaning::NAME_MISMATCH,
            WEBPKI,
        ),
        row(
            "invalid peer certificate: InvalidPurpose",
            &meaning::PURPOSE,
            ERROR,
        ),
        row(
            "invalid peer certificate: certificate does not allow extended key usage",
            &meaning::PURPOSE,
            ERROR,
        ),
        row(
            "InvalidCertificate(InvalidPurpose",
            &meaning::PURPOSE,
            ERROR,
        ),
        row("RequiredEkuNotFound", &meaning::PURPOSE, WEBPKI),
        row(
            "invalid peer certificate: BadSignature",
            &meaning::OTHER_KEY,
            ERROR,
        ),
        row(
            "InvalidCertificate(BadSignature)",
            &meaning::OTHER_KEY,
            ERROR,
        ),
        row("InvalidSignatureForPublicKey", &meaning::OTHER_KEY, WEBPKI),
        row(
            "invalid peer certificate: BadEncoding",
            &meaning::MALFORMED,
            ERROR,
        ),
        row(
            "InvalidCertificate(BadEncoding)",
            &meaning::MALFORMED,
            ERROR,
        ),
        row(
            "invalid peer certificate: UnhandledCriticalExtension",
            &meaning::MALFORMED,
            ERROR,
        ),
        row(
            "Other(OtherError(CaUsedAsEndEntity))",
            &meaning::CA_AS_LEAF,
            WEBPKI,
        ),
        row("CaUsedAsEndEntity", &meaning::CA_AS_LEAF, WEBPKI),
        row("EndEntityUsedAsCa", &meaning::NOT_A_CA, WEBPKI),
        row("PathLenConstraintViolated", &meaning::PATHLEN, WEBPKI),
        row(
            "NameConstraintViolation",
            &meaning::NAME_CONSTRAINTS,
            WEBPKI,
        ),
        row("MaximumPathDepthExceeded", &meaning::TOO_DEEP, WEBPKI),
        row("MaximumPathBuildCallsExceeded", &meaning::TOO_DEEP, WEBPKI),
        row("UnsupportedCertVersion", &meaning::VERSION_ONE, WEBPKI),
        row("InvalidSerialNumber", &meaning::SERIAL, WEBPKI),
        row("UnsupportedCriticalExtension", &CRITICAL, WEBPKI),
        row(
            "UnsupportedSignatureAlgorithmForPublicKey",
            &meaning::SIGALG,
            WEBPKI,
        ),
        row(
            "UnsupportedSignatureAlgorithm",
            &meaning::WEAK_SIGNATURE,
            WEBPKI,
        ),
        row(
            "invalid peer certificate: {reason}",
            &meaning::VERIFY_FAILED,
            ERROR,
        ),
        row(
            "invalid certificate: {reason}",
            &meaning::VERIFY_FAILED,
            ERROR,
        ),
        row("peer sent no certificates", &meaning::NO_CLIENT_CERT, ERROR),
        row("NoCertificatesPresented", &meaning::NO_CLIENT_CERT, ERROR),
        row(
            "peer is incompatible: NoCipherSuitesInCommon",
            &transport::CIPHER,
            ERROR,
        ),
        row("NoCipherSuitesInCommon", &transport::CIPHER, ERROR),
        row("NoKxGroupsInCommon", &transport::GROUP, ERROR),
        row("NoSignatureSchemesInCommon", &meaning::SIGALG, ERROR),
        row(
            "NoCertificateRequestSignatureSchemesInCommon",
            &meaning::SIGALG,
            ERROR,
        ),
        row("ServerDoesNotSupportTls12Or13", &transport::VERSION, ERROR),
        row(
            "ServerTlsVersionIsDisabledByOurConfig",
            &transport::VERSION,
            ERROR,
        ),
        row(
            "SupportedVersionsExtensionRequired",
            &transport::VERSION,
            ERROR,
        ),
        row("Tls12NotOffered", &transport::VERSION, ERROR),
        row("Tls13RequiredForQuic", &transport::VERSION, ERROR),
        row(
            "peer is incompatible: {reason}",
            &transport::VERSION_OR_CIPHER,
            ERROR,
        ),
        row(
            "peer doesn't support any known protocol",
            &transport::ALPN,
            ERROR,
        ),
        row("NoApplicationProtocol", &transport::ALPN, ERROR),
        row(
            "received corrupt message of type InvalidContentType",
            &transport::NOT_TLS,
            ERROR,
        ),
        row(
            "InvalidMessage(InvalidContentType)",
            &transport::NOT_TLS,
            ERROR,
        ),
        row("received corrupt message", &transport::BROKEN, ERROR),
        row(
            "received unexpected message: got {got} when expecting",
            &transport::BROKEN,
            ERROR,
        ),
        row(
            "received unexpected handshake message: got {got} when expecting",
            &transport::BROKEN,
            ERROR,
        ),
        row("peer misbehaved: {reason}", &transport::BROKEN, ERROR),
        row(
            "HandshakePayloadTooLarge",
            &meaning::MESSAGE_TOO_LARGE,
            ERROR,
        ),
        row(
            "CertificatePayloadTooLarge",
            &meaning::MESSAGE_TOO_LARGE,
            ERROR,
        ),
        row(
            "tls handshake eof",
            &transport::RESET,
            "tokio-rustls src/lib.rs",
        ),
        row(
            "peer closed connection without sending TLS close_notify",
            &transport::RESET,
            "rustls src/conn.rs",
        ),
        row(
            "keys may not be consistent: KeyMismatch",
            &file::KEY_MISMATCH,
            ERROR,
        ),
        row("InconsistentKeys(KeyMismatch)", &file::KEY_MISMATCH, ERROR),
        row(
            "failed to parse private key as RSA, ECDSA, or EdDSA",
            &file::UNUSABLE_KEY,
            "rustls src/crypto/aws_lc_rs/sign.rs",
        ),
        row(
            "no server certificate chain resolved",
            &meaning::SNI_UNKNOWN,
            "rustls src/server/hs.rs",
        ),
        row(
            "NoRootAnchors",
            &meaning::BUNDLE_EMPTY,
            "rustls src/webpki/mod.rs",
        ),
        row(
            "no root trust anchors were provided",
            &meaning::BUNDLE_EMPTY,
            "rustls src/webpki/mod.rs",
        ),
        row(
            "received fatal alert: the peer does not know the CA",
            &alert::UNKNOWN_CA,
            ALERT,
        ),
        row("received fatal alert: UnknownCA", &alert::UNKNOWN_CA, ALERT),
        row(
            "received fatal alert: BadCertificate",
            &alert::BAD_CERTIFICATE,
            ALERT,
        ),
        row(
            "received fatal alert: CertificateUnknown",
            &alert::CERTIFICATE_UNKNOWN,
            ALERT,
        ),
        row(
            "received fatal alert: CertificateExpired",
            &alert::EXPIRED,
            ALERT,
        ),
        row(
            "received fatal alert: CertificateRevoked",
            &alert::REVOKED,
            ALERT,
        ),
        row(
            "received fatal alert: UnsupportedCertificate",
            &alert::UNSUPPORTED,
            ALERT,
        ),
        row(
            "received fatal alert: CertificateRequired",
            &alert::REQUIRED,
            ALERT,
        ),
        row(
            "received fatal alert: HandshakeFailure",
            &alert::HANDSHAKE_FAILURE,
            ALERT,
        ),
        row(
            "received fatal alert: ProtocolVersion",
            &alert::PROTOCOL_VERSION,
            ALERT,
        ),
        row(
            "received fatal alert: InsufficientSecurity",
            &alert::INSUFFICIENT,
            ALERT,
        ),
        row(
            "received fatal alert: DecryptError",
            &alert::DECRYPT_ERROR,
            ALERT,
        ),
        row(
            "received fatal alert: AccessDenied",
            &alert::ACCESS_DENIED,
            ALERT,
        ),
        row(
            "received fatal alert: UnrecognisedName",
            &alert::UNRECOGNIZED_NAME,
            ALERT,
        ),
        row(
            "received fatal alert: UnrecognizedName",
            &alert::UNRECOGNIZED_NAME,
            ALERT,
        ),
        row(
            "received fatal alert: NoApplicationProtocol",
            &alert::NO_APPLICATION_PROTOCOL,
            ALERT,
        ),
        row(
            "received fatal alert: InternalError",
            &alert::INTERNAL_ERROR,
            ALERT,
        ),
        row("received fatal alert: DecodeError", &alert::PROTOCOL, ALERT),
        row(
            "received fatal alert: IllegalParameter",
            &alert::PROTOCOL,
            ALERT,
        ),
        row(
            "received fatal alert: UnexpectedMessage",
            &alert::PROTOCOL,
            ALERT,
        ),
        row("AlertReceived(UnknownCA)", &alert::UNKNOWN_CA, ALERT),
        row(
            "AlertReceived(BadCertificate)",
            &alert::BAD_CERTIFICATE,
            ALERT,
        ),
        row(
            "AlertReceived(CertificateUnknown)",
            &alert::CERTIFICATE_UNKNOWN,
            ALERT,
        ),
        row("AlertReceived(CertificateExpired)", &alert::EXPIRED, ALERT),
        row(
            "AlertReceived(CertificateRequired)",
            &alert::REQUIRED,
            ALERT,
        ),
        row(
            "AlertReceived(HandshakeFailure)",
            &alert::HANDSHAKE_FAILURE,
            ALERT,
        ),
    ],
};

const ERROR: &str = "rustls src/error.rs";
const WEBPKI: &str = "rustls-webpki src/error.rs";
const ALERT: &str = "rustls src/enums.rs, src/error.rs";
