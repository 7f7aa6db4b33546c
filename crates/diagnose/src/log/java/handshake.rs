//! JSSE's handshake, and the alerts that it received.

use crate::cause::Cause;
use crate::log::meaning::{self, alert, transport};
use crate::log::message::{Meaning, Product, Table, row, server};

pub(in crate::log) static TABLE: Table = Table {
    product: Product::Java,
    rows: &[
        row(
            "TlsFatalAlertReceived: bad_certificate(42)",
            &alert::BAD_CERTIFICATE,
            BOUNCY_CASTLE,
        ),
        row(
            "TlsFatalAlertReceived: certificate_unknown(46)",
            &alert::CERTIFICATE_UNKNOWN,
            BOUNCY_CASTLE,
        ),
        row(
            "TlsFatalAlertReceived: unknown_ca(48)",
            &alert::UNKNOWN_CA,
            BOUNCY_CASTLE,
        ),
        row(
            "TlsFatalAlertReceived: handshake_failure(40)",
            &alert::HANDSHAKE_FAILURE,
            BOUNCY_CASTLE,
        ),
        row(
            "TlsFatalAlertReceived: certificate_expired(45)",
            &alert::EXPIRED,
            BOUNCY_CASTLE,
        ),
        row(
            "TlsFatalAlertReceived: certificate_required(116)",
            &alert::REQUIRED,
            BOUNCY_CASTLE,
        ),
        row(
            "TlsFatalAlertReceived: protocol_version(70)",
            &alert::PROTOCOL_VERSION,
            BOUNCY_CASTLE,
        ),
        row(
            "TlsFatalAlert: bad_certificate(42)",
            &meaning::VERIFY_FAILED,
            BOUNCY_CASTLE,
        ),
        row(
            "TlsFatalAlert: certificate_unknown(46)",
            &meaning::VERIFY_FAILED,
            BOUNCY_CASTLE,
        ),
        row(
            "client did not trust this server's certificate, closing connection",
            &alert::UNKNOWN_CA,
            "elasticsearch x-pack core SecurityTransportExceptionHandler.java",
        ),
        row(
            "RECV TLSv1.2 ALERT: fatal, bad_certificate",
            &alert::BAD_CERTIFICATE,
            DEBUG,
        ),
        row(
            "RECV TLSv1.2 ALERT: fatal, unknown_ca",
            &alert::UNKNOWN_CA,
            DEBUG,
        ),
        row(
            "RECV TLSv1.2 ALERT: fatal, certificate_unknown",
            &alert::CERTIFICATE_UNKNOWN,
            DEBUG,
        ),
        row(
            "RECV TLSv1.2 ALERT: fatal, certificate_expired",
            &alert::EXPIRED,
            DEBUG,
        ),
        row(
            "RECV TLSv1.2 ALERT: fatal, handshake_failure",
            &alert::HANDSHAKE_FAILURE,
            DEBUG,
        ),
        row(
            "RECV TLSv1.2 ALERT: fatal, protocol_version",
            &alert::PROTOCOL_VERSION,
            DEBUG,
        ),
        row(
            "RECV TLSv1.2 ALERT: fatal, unrecognized_name",
            &alert::UNRECOGNIZED_NAME,
            DEBUG,
        ),
        row(
            "RECV TLSv1.2 ALERT: fatal, unsupported_certificate",
            &alert::UNSUPPORTED,
            DEBUG,
        ),
        row("General SSLEngine problem", &transport::FAILED, SOCKET),
        row(
            "Failed to process post-handshake messages",
            &transport::FAILED,
            "kafka SslTransportLayer.java",
        ),
        row(
            "Empty client certificate chain",
            &meaning::NO_CLIENT_CERT,
            MESSAGE,
        ),
        row(
            "Empty server certificate chain",
            &meaning::SNI_UNKNOWN,
            MESSAGE,
        ),
        row(
            "null cert chain",
            &meaning::NO_CLIENT_CERT,
            "jdk sun/security/ssl/ServerHandshaker.java",
        ),
        row(
            "No X.509 certificate for client authentication, use empty Certificate message instead",
            &meaning::NO_MATCHING_CLIENT_CERT,
            MESSAGE,
        ),
        row(
            "No available client authentication scheme",
            &meaning::NO_MATCHING_CLIENT_CERT,
            MESSAGE,
        ),
        row(
            "Warning: no suitable certificate found - continuing without client authentication",
            &meaning::NO_MATCHING_CLIENT_CERT,
            "jdk sun/security/ssl/ClientHandshaker.java",
        ),
        row(
            "no suitable certificate found - continuing without client authentication",
            &meaning::NO_MATCHING_CLIENT_CERT,
            "jdk sun/security/ssl/ClientHandshaker.java",
        ),
        row(
            "SSLPeerUnverifiedException: peer not authenticated",
            &meaning::NO_PEER_CERT,
            "jdk sun/security/ssl/SSLSessionImpl.java",
        ),
        row(
            "SSLPeerUnverifiedException: peer not verified",
            &meaning::NO_PEER_CERT,
            "jdk sun/security/ssl/SSLSessionImpl.java",
        ),
        row(
            "No negotiable cipher suite",
            &transport::CIPHER,
            NEGOTIATION,
        ),
        row(
            "no cipher suites in common",
            &transport::CIPHER,
            NEGOTIATION,
        ),
        row(
            "No appropriate protocol (protocol is disabled or cipher suites are inappropriate)",
            &transport::VERSION_OR_CIPHER,
            "jdk sun/security/ssl/HandshakeContext.java",
        ),
        row(
            "The client supported protocol versions {versions} are not accepted by server preferences",
            &transport::VERSION,
            NEGOTIATION,
        ),
        row(
            "The server selected protocol version {version} is not accepted by client preferences",
            &transport::VERSION,
            NEGOTIATION,
        ),
        row(
            "Client requested protocol {version} not enabled or not supported",
            &transport::VERSION,
            NEGOTIATION,
        ),
        row(
            "Unsupported or unrecognized SSL message",
            &transport::NOT_TLS,
            "jdk sun/security/ssl/SSLSocketInputRecord.java",
        ),
        row(
            "Unrecognized SSL message, plaintext connection?",
            &transport::NOT_TLS,
            "jdk sun/security/ssl/InputRecord.java",
        ),
        row(
            "NotSslRecordException: not an SSL/TLS record",
            &transport::NOT_TLS,
            "netty SslHandler.java",
        ),
        row(
            "not an SSL/TLS record",
            &transport::NOT_TLS,
            "netty SslHandler.java",
        ),
        row(
            "Remote host terminated the handshake",
            &transport::RESET,
            SOCKET,
        ),
        row(
            "Remote host closed connection during handshake",
            &transport::RESET,
            SOCKET,
        ),
        row("SSL peer shut down incorrectly", &transport::RESET, SOCKET),
        row(
            "Broken pipe (Write failed){}SSLSocketImpl",
            &transport::RESET,
            SOCKET,
        ),
        row(
            "handshake timed out after {time}",
            &transport::SILENT,
            "netty SslHandler.java",
        ),
        row(
            "The size of the handshake message ({size}) exceeds the maximum allowed size ({limit})",
            &meaning::MESSAGE_TOO_LARGE,
            "jdk sun/security/ssl/SSLEngineInputRecord.java",
        ),
        row(
            "The certificate chain length ({length}) exceeds the maximum allowed length ({limit})",
            &meaning::TOO_MANY_CERTIFICATES,
            MESSAGE,
        ),
        row(
            "Invalid signature in CertificateVerify message",
            &meaning::POSSESSION,
            MESSAGE,
        ),
        row(
            "Invalid CertificateVerify message: signature algorithm",
            &meaning::SIGALG,
            MESSAGE,
        ),
        row(
            "Unable to negotiate signature scheme",
            &meaning::SIGALG,
            MESSAGE,
        ),
        row(
            "No supported signature algorithm",
            &meaning::SIGALG,
            MESSAGE,
        ),
        row("No available authentication scheme", &SCHEME, MESSAGE),
        row(
            "Received fatal alert: unknown_ca",
            &alert::UNKNOWN_CA,
            ALERT,
        ),
        row(
            "Received fatal alert: bad_certificate",
            &alert::BAD_CERTIFICATE,
            ALERT,
        ),
        row(
            "Received fatal alert: certificate_unknown",
            &alert::CERTIFICATE_UNKNOWN,
            ALERT,
        ),
        row(
            "Received fatal alert: certificate_expired",
            &alert::EXPIRED,
            ALERT,
        ),
        row(
            "Received fatal alert: certificate_revoked",
            &alert::REVOKED,
            ALERT,
        ),
        row(
            "Received fatal alert: unsupported_certificate",
            &alert::UNSUPPORTED,
            ALERT,
        ),
        row(
            "Received fatal alert: certificate_required",
            &alert::REQUIRED,
            ALERT,
        ),
        row(
            "Received fatal alert: handshake_failure",
            &alert::HANDSHAKE_FAILURE,
            ALERT,
        ),
        row(
            "Received fatal alert: protocol_version",
            &alert::PROTOCOL_VERSION,
            ALERT,
        ),
        row(
            "Received fatal alert: insufficient_security",
            &alert::INSUFFICIENT,
            ALERT,
        ),
        row(
            "Received fatal alert: decrypt_error",
            &alert::DECRYPT_ERROR,
            ALERT,
        ),
        row(
            "Received fatal alert: access_denied",
            &alert::ACCESS_DENIED,
            ALERT,
        ),
        row(
            "Received fatal alert: unrecognized_name",
            &alert::UNRECOGNIZED_NAME,
            ALERT,
        ),
        row(
            "handshake alert: unrecognized_name",
            &alert::UNRECOGNIZED_NAME,
            ALERT,
        ),
        row(
            "Received fatal alert: no_application_protocol",
            &alert::NO_APPLICATION_PROTOCOL,
            ALERT,
        ),
        row(
            "Received fatal alert: internal_error",
            &alert::INTERNAL_ERROR,
            ALERT,
        ),
        row(
            "Received fatal alert: decode_error",
            &alert::PROTOCOL,
            ALERT,
        ),
        row(
            "Received fatal alert: illegal_parameter",
            &alert::PROTOCOL,
            ALERT,
        ),
        row(
            "Received fatal alert: unexpected_message",
            &alert::PROTOCOL,
            ALERT,
        ),
        row(
            "Received fatal alert: bad_record_mac",
            &alert::PROTOCOL,
            ALERT,
        ),
        row(
            "Received fatal alert: record_overflow",
            &alert::RECORD_OVERFLOW,
            ALERT,
        ),
    ],
};

static SCHEME: Meaning = Meaning::at_server(
    "the server has no key that fits what the client offers",
    &[
        server(Cause::SigalgUnsupported).likely(),
        server(Cause::FileMissing).likely(),
        server(Cause::NoSharedCipher).possible(),
    ],
);

const MESSAGE: &str = "jdk sun/security/ssl/CertificateMessage.java, CertificateVerify.java";
const NEGOTIATION: &str = "jdk sun/security/ssl/ServerHello.java, ClientHello.java";
const SOCKET: &str = "jdk sun/security/ssl/SSLSocketImpl.java";
const ALERT: &str = "jdk sun/security/ssl/Alert.java, TransportContext.java";

const DEBUG: &str = "jdk 8 sun/security/ssl, javax.net.debug";

const BOUNCY_CASTLE: &str = "bc-java tls/src/main/java/org/bouncycastle/tls/AlertDescription.java";
