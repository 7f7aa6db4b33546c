//! Java: JSSE, `CertPath`, keystores, Bouncy Castle, Netty; Keycloak has a table of its own.

use super::meaning::{self, alert, file, revocation, transport};
use super::message::{Meaning, Product, Table, either, row, server};
use crate::cause::Cause;

pub(super) static TABLE: Table = Table {
    product: Product::Java,
    rows: &[
        row("PKIX path building failed", &meaning::UNTRUSTED, PKIX),
        row(
            "unable to find valid certification path to requested target",
            &meaning::UNTRUSTED,
            PKIX,
        ),
        row(
            "PKIX path building failed: sun.security.provider.certpath.SunCertPathBuilderException: unable to find valid certification path to requested target",
            &meaning::UNTRUSTED,
            PKIX,
        ),
        row(
            "No trusted certificate found",
            &meaning::UNTRUSTED,
            "jdk sun/security/validator/SimpleValidator.java",
        ),
        row(
            "Path does not chain with any of the trust anchors",
            &meaning::UNTRUSTED,
            PKIX,
        ),
        row(
            "Trust anchor for certification path not found",
            &meaning::UNTRUSTED,
            "android com.android.org.conscrypt.TrustManagerImpl",
        ),
        row("PKIX path validation failed", &meaning::VERIFY_FAILED, PKIX),
        row(
            "subject/issuer name chaining check failed",
            &meaning::UNTRUSTED,
            CERTPATH,
        ),
        row("signature check failed", &meaning::OTHER_KEY, CERTPATH),
        row(
            "CertPathValidatorException: validity check failed",
            &meaning::EXPIRED_OR_NOT_YET,
            CERTPATH,
        ),
        row(
            "CertificateExpiredException: NotAfter: {not_after}",
            &EXPIRED,
            VALIDITY,
        ),
        row(
            "CertificateNotYetValidException: NotBefore: {not_before}",
            &meaning::NOT_YET,
            VALIDITY,
        ),
        row("CertificateExpiredException", &EXPIRED, VALIDITY),
        row(
            "CertificateNotYetValidException",
            &meaning::NOT_YET,
            VALIDITY,
        ),
        row(
            "timestamp check failed",
            &meaning::EXPIRED_OR_NOT_YET,
            CERTPATH,
        ),
        row(
            "the trustAnchors parameter must be non-empty",
            &meaning::BUNDLE_EMPTY,
            "jdk java/security/cert/PKIXParameters.java",
        ),
        row(
            "the TrustManagers parameter must be non-empty",
            &meaning::BUNDLE_EMPTY,
            "jdk java/security/cert/PKIXParameters.java",
        ),
        row(
            "No trust store is configured",
            &meaning::BUNDLE_EMPTY,
            "jdk",
        ),
        row(
            "Extended key usage does not permit use for TLS client authentication",
            &meaning::PURPOSE,
            ENDENTITY,
        ),
        row(
            "Extended key usage does not permit use for TLS server authentication",
            &meaning::PURPOSE,
            ENDENTITY,
        ),
        row(
            "KeyUsage does not allow digital signatures",
            &meaning::KEY_USAGE,
            ENDENTITY,
        ),
        row(
            "KeyUsage does not allow key encipherment",
            &meaning::KEY_USAGE,
            ENDENTITY,
        ),
        row(
            "basic constraints check failed: this is not a CA certificate",
            &meaning::NOT_A_CA,
            CERTPATH,
        ),
        row(
            "basic constraints check failed: pathLenConstraint violated",
            &meaning::PATHLEN,
            CERTPATH,
        ),
        row(
            "basic constraints check failed",
            &meaning::NOT_A_CA,
            CERTPATH,
        ),
        row("pathLenConstraint violated", &meaning::PATHLEN, CERTPATH),
        row(
            "TrustAnchor with subject \"{issuer}\" is not a CA certificate",
            &meaning::NOT_A_CA,
            ENDENTITY,
        ),
        row(
            "keyCertSign bit is not set",
            &meaning::CANNOT_SIGN,
            CERTPATH,
        ),
        row("CA key usage check failed", &meaning::CANNOT_SIGN, CERTPATH),
        row(
            "name constraints check failed",
            &meaning::NAME_CONSTRAINTS,
            CERTPATH,
        ),
        row(
            "unrecognized critical extension(s)",
            &meaning::NAME_CONSTRAINTS_UNSUPPORTED,
            CERTPATH,
        ),
        row(
            "Algorithm constraints check failed on signature algorithm: {algorithm}",
            &meaning::WEAK_SIGNATURE,
            CERTPATH,
        ),
        row(
            "Algorithm constraints check failed on keysize limits: {limit}",
            &meaning::WEAK_KEY,
            CERTPATH,
        ),
        row(
            "Algorithm constraints check failed on disabled algorithm: SHA1",
            &meaning::WEAK_SIGNATURE,
            CERTPATH,
        ),
        row(
            "Algorithm constraints check failed on disabled algorithm: MD5",
            &meaning::WEAK_SIGNATURE,
            CERTPATH,
        ),
        row(
            "Certificates do not conform to algorithm constraints",
            &CONSTRAINTS,
            "jdk sun/security/ssl/SSLContextImpl.java",
        ),
        row(
            "Certificates does not conform to algorithm constraints",
            &CONSTRAINTS,
            "jdk sun/security/ssl/SSLContextImpl.java",
        ),
        row(
            "No subject alternative DNS name matching {host} found",
            &meaning::NAME_MISMATCH,
            HOSTNAME,
        ),
        row(
            "No name matching {host} found",
            &meaning::NAME_MISMATCH,
            HOSTNAME,
        ),
        row(
            "No subject alternative names matching IP address {host} found",
            &meaning::IP_SAN,
            HOSTNAME,
        ),
        row("No subject alternative names present", &NO_NAMES, HOSTNAME),
        row(
            "doesn't match any of the subject alternative names: [{names}]",
            &meaning::NAME_MISMATCH,
            "httpclient DefaultHostnameVerifier.java",
        ),
        row(
            "Certificate for <{host}> doesn't match any of the subject alternative names: [{names}]",
            &meaning::NAME_MISMATCH,
            "httpclient DefaultHostnameVerifier.java",
        ),
        row(
            "Certificate for <{host}> doesn't match common name of the certificate subject",
            &meaning::NAME_MISMATCH,
            "httpclient DefaultHostnameVerifier.java",
        ),
        row(
            "hostname in certificate didn't match: <{host}>",
            &meaning::NAME_MISMATCH,
            "httpclient AbstractVerifier.java",
        ),
        row(
            "Hostname {host} not verified",
            &meaning::NAME_MISMATCH,
            "okhttp RealConnection.kt",
        ),
        row(
            "The URL rejected: There is a mismatch between the CN",
            &meaning::NAME_MISMATCH,
            "cxf HttpsURLConnectionFactory",
        ),
        row(
            "HTTPS hostname wrong",
            &meaning::NAME_MISMATCH,
            "jdk sun/net/www/protocol/https/HttpsClient.java",
        ),
        row(
            "Certificate pinning failure!",
            &meaning::PIN,
            "okhttp CertificatePinner.kt",
        ),
        row(
            "Certificate has been revoked",
            &revocation::REVOKED,
            CERTPATH,
        ),
        row(
            "CertificateRevokedException",
            &revocation::REVOKED,
            CERTPATH,
        ),
        row(
            "Could not determine revocation status",
            &revocation::UNDETERMINED,
            CERTPATH,
        ),
        row(
            "Unable to determine revocation status due to network error",
            &revocation::OFFLINE,
            CERTPATH,
        ),
        row(
            "revocation status check failed: no CRL found",
            &revocation::CRL_MISSING,
            CERTPATH,
        ),
        row(
            "Response is unreliable: its validity interval is out-of-date",
            &revocation::OCSP_STALE,
            "jdk sun/security/provider/certpath/OCSPResponse.java",
        ),
        row(
            "OCSP response error: UNAUTHORIZED",
            &revocation::OCSP_UNKNOWN,
            "jdk sun/security/provider/certpath/OCSPResponse.java",
        ),
        row(
            "Certificate's revocation status is unknown",
            &revocation::OCSP_UNKNOWN,
            "jdk sun/security/provider/certpath/OCSP.java",
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
            "peer not verified",
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
        row("No available authentication scheme", &SCHEME, MESSAGE),
        row("keystore password was incorrect", &file::PASSWORD, KEYSTORE),
        row(
            "Keystore was tampered with, or password was incorrect",
            &file::PASSWORD,
            KEYSTORE,
        ),
        row(
            "UnrecoverableKeyException: Cannot recover key",
            &file::PASSWORD,
            KEYSTORE,
        ),
        row(
            "Get Key failed: Given final block not properly padded",
            &file::PASSWORD,
            KEYSTORE,
        ),
        row(
            "Given final block not properly padded. Such issues can arise if a bad key is used during decryption",
            &file::PASSWORD,
            KEYSTORE,
        ),
        row("Invalid keystore format", &file::NOT_PEM, KEYSTORE),
        row(
            "DerInputStream.getLength(): lengthTag=",
            &file::NOT_PEM,
            KEYSTORE,
        ),
        row(
            "toDerInputStream rejects tag type",
            &file::NOT_PEM,
            KEYSTORE,
        ),
        row(
            "Unable to initialize, java.io.IOException: extra data given to DerValue constructor",
            &file::NOT_PEM,
            KEYSTORE,
        ),
        row(
            "Could not parse certificate: java.io.IOException: Empty input",
            &meaning::BUNDLE_EMPTY,
            "jdk sun/security/provider/X509Factory.java",
        ),
        row(
            "Could not parse certificate: java.io.IOException: Illegal header",
            &file::GLUED,
            "jdk sun/security/provider/X509Factory.java",
        ),
        row(
            "Could not parse certificate: java.io.IOException: Incomplete data",
            &file::GLUED,
            "jdk sun/security/provider/X509Factory.java",
        ),
        row(
            "Could not parse certificate",
            &meaning::MALFORMED,
            "jdk sun/security/provider/X509Factory.java",
        ),
        row(
            "signed fields invalid",
            &meaning::MALFORMED,
            "jdk sun/security/x509/X509CertImpl.java",
        ),
        row(
            "algid parse error, not a sequence",
            &PKCS1,
            "jdk sun/security/x509/AlgorithmId.java",
        ),
        row(
            "File does not contain valid private key",
            &file::UNUSABLE_KEY,
            "netty SslContext.java",
        ),
        row(
            "File does not contain valid certificates",
            &file::NO_CERTIFICATE_PEM,
            "netty SslContext.java",
        ),
        row(
            "Input stream does not contain valid private key",
            &file::UNUSABLE_KEY,
            "netty SslContext.java",
        ),
        row(
            "could not find a PKCS #8 private key in input stream",
            &PKCS1,
            "netty PemReader.java",
        ),
        row(
            "Alias name [{alias}] does not identify a key entry",
            &file::UNUSABLE_KEY,
            "tomcat SSLUtilBase.java",
        ),
        row(
            "Private key must be accompanied by certificate chain",
            &file::UNUSABLE_KEY,
            "jdk java/security/KeyStore.java",
        ),
        row(
            "Private key does not match with the certificate",
            &file::KEY_MISMATCH,
            "jdk",
        ),
    ],
};

pub(super) static KEYCLOAK: Table = Table {
    product: Product::Keycloak,
    rows: &[
        row(
            "HTTP header \"{header}\" is empty",
            &meaning::HEADER_MISSING,
            KEYCLOAK_LOOKUP,
        ),
        row(
            "The client certificate is not available",
            &meaning::NO_PEER_CERT,
            "keycloak X509ClientCertificateAuthenticator.java",
        ),
        row(
            "X509 client certificate is not available for mutual SSL",
            &meaning::NO_PEER_CERT,
            KEYCLOAK_CLIENT,
        ),
        row(
            "[X509ClientCertificateAuthenticator:authenticate] x509 client certificate is not available for mutual SSL",
            &meaning::NO_PEER_CERT,
            KEYCLOAK_CLIENT,
        ),
        row(
            "Client certificate is missing",
            &meaning::NO_PEER_CERT,
            KEYCLOAK_CLIENT,
        ),
    ],
};

static EXPIRED: Meaning = Meaning::same(
    "a certificate in {peer}'s chain has expired",
    &[
        either(Cause::LeafExpired),
        either(Cause::IntermediateExpired).possible(),
        either(Cause::RootExpired).possible(),
    ],
);

static CONSTRAINTS: Meaning = Meaning::same(
    "a certificate's key or signature is weaker than Java allows",
    &[
        either(Cause::WeakSignature).likely(),
        either(Cause::WeakKey).likely(),
    ],
);

static NO_NAMES: Meaning = Meaning::at_client(
    "the server's certificate has no subject alternative name of the kind that is asked for",
    &[
        server(Cause::IpSanMissing).likely(),
        server(Cause::SanMissing).likely(),
    ],
);

static SCHEME: Meaning = Meaning::at_server(
    "the server has no key that fits what the client offers",
    &[
        server(Cause::SigalgUnsupported).likely(),
        server(Cause::FileMissing).likely(),
        server(Cause::NoSharedCipher).possible(),
    ],
);

static PKCS1: Meaning = Meaning::same(
    "the private key is not PKCS#8, which is all that this reader takes",
    &[
        either(Cause::FileNotPem).likely(),
        either(Cause::KeyEncrypted).possible(),
    ],
);

const PKIX: &str = "jdk sun/security/validator/PKIXValidator.java, sun/security/provider/certpath/SunCertPathBuilder.java";
const CERTPATH: &str = "jdk sun/security/provider/certpath";
const VALIDITY: &str = "jdk sun/security/x509/CertificateValidity.java";
const ENDENTITY: &str = "jdk sun/security/validator/EndEntityChecker.java";
const HOSTNAME: &str = "jdk sun/security/util/HostnameChecker.java";
const MESSAGE: &str = "jdk sun/security/ssl/CertificateMessage.java, CertificateVerify.java";
const NEGOTIATION: &str = "jdk sun/security/ssl/ServerHello.java, ClientHello.java";
const SOCKET: &str = "jdk sun/security/ssl/SSLSocketImpl.java";
const ALERT: &str = "jdk sun/security/ssl/Alert.java, TransportContext.java";
const KEYSTORE: &str =
    "jdk sun/security/pkcs12/PKCS12KeyStore.java, sun/security/provider/JavaKeyStore.java";
const KEYCLOAK_LOOKUP: &str =
    "keycloak services/x509/AbstractClientCertificateFromHttpHeadersLookup.java";
const KEYCLOAK_CLIENT: &str =
    "keycloak authentication/authenticators/client/X509ClientAuthenticator.java";
