//! Java: `CertPath` and host names here; the handshake, keystores and Keycloak in tables of their own.

pub(super) mod files;
pub(super) mod handshake;
pub(super) mod keycloak;

use crate::cause::Cause;
use crate::log::meaning::{self, revocation};
use crate::log::message::{Meaning, Product, Table, either, row, server};

pub(super) static TABLE: Table = Table {
    product: Product::Java,
    rows: &[
        row(
            "Unable to find certificate chain",
            &meaning::UNTRUSTED,
            "bc-java PKIXCertPathBuilderSpi.java",
        ),
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
        row(
            "CertPathValidatorException: signature check failed",
            &meaning::OTHER_KEY,
            CERTPATH,
        ),
        row(
            "CertPathValidatorException: validity check failed",
            &meaning::EXPIRED_OR_NOT_YET,
            CERTPATH,
        ),
        row(
            "CertificateExpiredException: NotAfter: {not_after}",
            &meaning::EXPIRED,
            VALIDITY,
        ),
        row(
            "CertificateNotYetValidException: NotBefore: {not_before}",
            &meaning::NOT_YET,
            VALIDITY,
        ),
        row("CertificateExpiredException", &meaning::EXPIRED, VALIDITY),
        row(
            "CertificateNotYetValidException",
            &meaning::NOT_YET,
            VALIDITY,
        ),
        row(
            "CertPathValidatorException: timestamp check failed",
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
            &meaning::PURPOSE_CLIENT,
            ENDENTITY,
        ),
        row(
            "Extended key usage does not permit use for TLS server authentication",
            &meaning::PURPOSE_SERVER,
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
    ],
};

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

const PKIX: &str = "jdk sun/security/validator/PKIXValidator.java, sun/security/provider/certpath/SunCertPathBuilder.java";
const CERTPATH: &str = "jdk sun/security/provider/certpath";
const VALIDITY: &str = "jdk sun/security/x509/CertificateValidity.java";
const ENDENTITY: &str = "jdk sun/security/validator/EndEntityChecker.java";
const HOSTNAME: &str = "jdk sun/security/util/HostnameChecker.java";
