//! .NET and Schannel, with the statuses of Windows.

use super::meaning::{self, alert, file, revocation, transport};
use super::message::{Meaning, Product, Table, client, row, server};
use crate::cause::Cause;

pub(super) static TABLE: Table = Table {
    product: Product::Dotnet,
    rows: &[
        row(
            "is not valid for Client Authentication",
            &OWN_PURPOSE,
            "dotnet System.Net.Security tracing",
        ),
        row(
            "RemoteCertificateNameMismatch, RemoteCertificateChainErrors",
            &NAME_AND_CHAIN,
            STREAM,
        ),
        row(
            "RemoteCertificateNameMismatch",
            &meaning::NAME_MISMATCH,
            STREAM,
        ),
        row(
            "RemoteCertificateChainErrors",
            &meaning::VERIFY_FAILED,
            STREAM,
        ),
        row(
            "RemoteCertificateNotAvailable",
            &meaning::NO_CLIENT_CERT,
            STREAM,
        ),
        row(
            "errors in the certificate chain: PartialChain",
            &meaning::UNTRUSTED,
            STREAM,
        ),
        row(
            "errors in the certificate chain: UntrustedRoot",
            &meaning::UNTRUSTED_ROOT,
            STREAM,
        ),
        row(
            "errors in the certificate chain: NotTimeValid",
            &meaning::EXPIRED_OR_NOT_YET,
            STREAM,
        ),
        row(
            "errors in the certificate chain: Revoked",
            &revocation::REVOKED,
            STREAM,
        ),
        row(
            "errors in the certificate chain: RevocationStatusUnknown",
            &revocation::UNDETERMINED,
            STREAM,
        ),
        row(
            "errors in the certificate chain: NotValidForUsage",
            &meaning::PURPOSE,
            STREAM,
        ),
        row(
            "errors in the certificate chain: NotSignatureValid",
            &meaning::OTHER_KEY,
            STREAM,
        ),
        row(
            "errors in the certificate chain: InvalidBasicConstraints",
            &meaning::NOT_A_CA,
            STREAM,
        ),
        row(
            "errors in the certificate chain: InvalidNameConstraints",
            &meaning::NAME_CONSTRAINTS,
            STREAM,
        ),
        row(
            "errors in the certificate chain: HasWeakSignature",
            &meaning::WEAK_SIGNATURE,
            STREAM,
        ),
        row(
            "X509ChainStatusFlags.UntrustedRoot",
            &meaning::UNTRUSTED_ROOT,
            CHAIN,
        ),
        row(
            "X509ChainStatusFlags.PartialChain",
            &meaning::UNTRUSTED,
            CHAIN,
        ),
        row(
            "Certificate failed validation{}UntrustedRoot",
            &meaning::UNTRUSTED_ROOT,
            AUTHENTICATION,
        ),
        row(
            "validation failed{}PartialChain",
            &meaning::UNTRUSTED,
            AUTHENTICATION,
        ),
        row(
            "A certificate chain could not be built to a trusted root authority",
            &meaning::UNTRUSTED,
            STATUS,
        ),
        row(
            "A certificate chain processed, but terminated in a root certificate which is not trusted",
            &meaning::UNTRUSTED_ROOT,
            STATUS,
        ),
        row(
            "The certificate chain was issued by an authority that is not trusted",
            &meaning::UNTRUSTED,
            STATUS,
        ),
        row(
            "A required certificate is not within its validity period",
            &meaning::EXPIRED_OR_NOT_YET,
            STATUS,
        ),
        row(
            "The received certificate has expired",
            &meaning::EXPIRED,
            STATUS,
        ),
        row("The certificate is revoked", &revocation::REVOKED, STATUS),
        row(
            "The revocation function was unable to check revocation because the revocation server was offline",
            &revocation::OFFLINE,
            STATUS,
        ),
        row(
            "The revocation function was unable to check revocation for the certificate",
            &revocation::CRL_MISSING,
            STATUS,
        ),
        row(
            "The certificate is not valid for the requested usage",
            &meaning::PURPOSE,
            STATUS,
        ),
        row(
            "The certificate's CN name does not match the passed value",
            &meaning::NAME_MISMATCH,
            STATUS,
        ),
        row(
            "The target principal name is incorrect",
            &meaning::NAME_MISMATCH,
            STATUS,
        ),
        row(
            "The signature of the certificate cannot be verified",
            &meaning::OTHER_KEY,
            STATUS,
        ),
        row(
            "A certificate's basic constraint extension has not been observed",
            &meaning::NOT_A_CA,
            STATUS,
        ),
        row("CERT_E_UNTRUSTEDROOT", &meaning::UNTRUSTED_ROOT, STATUS),
        row("CERT_E_CHAINING", &meaning::UNTRUSTED, STATUS),
        row("CERT_E_EXPIRED", &meaning::EXPIRED, STATUS),
        row("CERT_E_WRONG_USAGE", &meaning::PURPOSE, STATUS),
        row("CERT_E_CN_NO_MATCH", &meaning::NAME_MISMATCH, STATUS),
        row("SEC_E_UNTRUSTED_ROOT", &meaning::UNTRUSTED, STATUS),
        row("SEC_E_CERT_EXPIRED", &meaning::EXPIRED, STATUS),
        row("SEC_E_WRONG_PRINCIPAL", &meaning::NAME_MISMATCH, STATUS),
        row(
            "SEC_E_ALGORITHM_MISMATCH",
            &transport::VERSION_OR_CIPHER,
            STATUS,
        ),
        row("SEC_E_UNSUPPORTED_FUNCTION", &transport::VERSION, STATUS),
        row("SEC_E_CERT_UNKNOWN", &meaning::MALFORMED, STATUS),
        row("SEC_E_INVALID_TOKEN", &transport::NOT_TLS, STATUS),
        row("SEC_E_ILLEGAL_MESSAGE", &alert::HANDSHAKE_FAILURE, STATUS),
        row("SEC_E_INTERNAL_ERROR", &alert::INTERNAL_ERROR, STATUS),
        row("SEC_E_CERT_WRONG_USAGE", &meaning::PURPOSE, STATUS),
        row(
            "CRYPT_E_NO_REVOCATION_CHECK",
            &revocation::CRL_MISSING,
            STATUS,
        ),
        row("CRYPT_E_REVOCATION_OFFLINE", &revocation::OFFLINE, STATUS),
        row("CRYPT_E_REVOKED", &revocation::REVOKED, STATUS),
        row("0x800B0109", &meaning::UNTRUSTED_ROOT, STATUS),
        row("0x800B0101", &meaning::EXPIRED, STATUS),
        row("0x800B010A", &meaning::UNTRUSTED, STATUS),
        row("0x800B010F", &meaning::NAME_MISMATCH, STATUS),
        row("0x800B0110", &meaning::PURPOSE, STATUS),
        row("0x80092012", &revocation::CRL_MISSING, STATUS),
        row("0x80092013", &revocation::OFFLINE, STATUS),
        row("0x80092010", &revocation::REVOKED, STATUS),
        row("0x80090325", &meaning::UNTRUSTED, STATUS),
        row("0x80090328", &meaning::EXPIRED, STATUS),
        row("0x80090322", &meaning::NAME_MISMATCH, STATUS),
        row("0x80090331", &transport::VERSION_OR_CIPHER, STATUS),
        row("0x80090308", &transport::NOT_TLS, STATUS),
        row(
            "The client and server cannot communicate, because they do not possess a common algorithm",
            &transport::VERSION_OR_CIPHER,
            STATUS,
        ),
        row(
            "The message received was unexpected or badly formatted",
            &alert::HANDSHAKE_FAILURE,
            STATUS,
        ),
        row(
            "The specified network password is not correct",
            &file::PASSWORD,
            PFX,
        ),
        row(
            "The certificate data cannot be read with the provided password, the password may be incorrect",
            &file::PASSWORD,
            PFX,
        ),
        row("Cannot find the requested object", &file::NOT_PEM, PFX),
        row("Keyset does not exist", &file::PERMISSIONS, PFX),
        row(
            "The credentials supplied to the package were not recognized",
            &file::PERMISSIONS,
            STATUS,
        ),
        row(
            "No credentials are available in the security package",
            &file::PERMISSIONS,
            STATUS,
        ),
        row(
            "The server mode SSL must use a certificate with the associated private key",
            &file::UNUSABLE_KEY,
            STREAM,
        ),
        row(
            "The key contents do not contain a PEM, the content is malformed, or the key does not match the certificate",
            &file::UNUSABLE_KEY,
            PFX,
        ),
        row(
            "The remote certificate is invalid according to the validation procedure",
            &meaning::VERIFY_FAILED,
            STREAM,
        ),
        row(
            "The remote certificate was rejected by the provided RemoteCertificateValidationCallback",
            &meaning::VERIFY_FAILED,
            STREAM,
        ),
        row(
            "The remote certificate is invalid because of errors in the certificate chain",
            &meaning::VERIFY_FAILED,
            STREAM,
        ),
        row(
            "Could not establish trust relationship for the SSL/TLS secure channel",
            &meaning::VERIFY_FAILED,
            STREAM,
        ),
        row(
            "Could not create SSL/TLS secure channel",
            &alert::HANDSHAKE_FAILURE,
            STREAM,
        ),
        row(
            "Cannot determine the frame size or a corrupted frame was received",
            &transport::NOT_TLS,
            STREAM,
        ),
        row(
            "The handshake failed due to an unexpected packet format",
            &transport::NOT_TLS,
            STREAM,
        ),
        row(
            "Received an unexpected EOF or 0 bytes from the transport stream",
            &transport::RESET,
            STREAM,
        ),
        row(
            "Authentication failed because the remote party has closed the transport stream",
            &transport::RESET,
            STREAM,
        ),
        row(
            "Authentication failed because the remote party sent a TLS alert: 'UnknownCA'",
            &alert::UNKNOWN_CA,
            STREAM,
        ),
        row(
            "Authentication failed because the remote party sent a TLS alert: 'BadCertificate'",
            &alert::BAD_CERTIFICATE,
            STREAM,
        ),
        row(
            "Authentication failed because the remote party sent a TLS alert: 'CertificateUnknown'",
            &alert::CERTIFICATE_UNKNOWN,
            STREAM,
        ),
        row(
            "Authentication failed because the remote party sent a TLS alert: 'CertificateExpired'",
            &alert::EXPIRED,
            STREAM,
        ),
        row(
            "Authentication failed because the remote party sent a TLS alert: 'CertificateRevoked'",
            &alert::REVOKED,
            STREAM,
        ),
        row(
            "Authentication failed because the remote party sent a TLS alert: 'CertificateRequired'",
            &alert::REQUIRED,
            STREAM,
        ),
        row(
            "Authentication failed because the remote party sent a TLS alert: 'HandshakeFailure'",
            &alert::HANDSHAKE_FAILURE,
            STREAM,
        ),
        row(
            "Authentication failed because the remote party sent a TLS alert: 'ProtocolVersion'",
            &alert::PROTOCOL_VERSION,
            STREAM,
        ),
        row(
            "Authentication failed because the remote party sent a TLS alert: 'UnrecognizedName'",
            &alert::UNRECOGNIZED_NAME,
            STREAM,
        ),
        row(
            "Authentication failed because the remote party sent a TLS alert: 'InternalError'",
            &alert::INTERNAL_ERROR,
            STREAM,
        ),
        row(
            "Authentication failed because the remote party sent a TLS alert: 'UnsupportedCert'",
            &alert::UNSUPPORTED,
            STREAM,
        ),
        row(
            "Left with 0 client certificates to choose from",
            &meaning::NO_MATCHING_CLIENT_CERT,
            "dotnet System.Net.Security tracing",
        ),
        row(
            "TLS protocol defined fatal error code is 42",
            &alert::BAD_CERTIFICATE,
            EVENTS,
        ),
        row(
            "TLS protocol defined fatal error code is 45",
            &alert::EXPIRED,
            EVENTS,
        ),
        row(
            "TLS protocol defined fatal error code is 46",
            &alert::CERTIFICATE_UNKNOWN,
            EVENTS,
        ),
        row(
            "TLS protocol defined fatal error code is 48",
            &alert::UNKNOWN_CA,
            EVENTS,
        ),
        row(
            "TLS protocol defined fatal error code is 40",
            &alert::HANDSHAKE_FAILURE,
            EVENTS,
        ),
        row(
            "TLS protocol defined fatal error code is 70",
            &alert::PROTOCOL_VERSION,
            EVENTS,
        ),
        row(
            "TLS protocol defined fatal alert code is 42",
            &alert::BAD_CERTIFICATE,
            EVENTS,
        ),
        row(
            "TLS protocol defined fatal alert code is 45",
            &alert::EXPIRED,
            EVENTS,
        ),
        row(
            "TLS protocol defined fatal alert code is 46",
            &alert::CERTIFICATE_UNKNOWN,
            EVENTS,
        ),
        row(
            "TLS protocol defined fatal alert code is 48",
            &alert::UNKNOWN_CA,
            EVENTS,
        ),
        row(
            "TLS protocol defined fatal alert code is 40",
            &alert::HANDSHAKE_FAILURE,
            EVENTS,
        ),
        row(
            "TLS protocol defined fatal alert code is 70",
            &alert::PROTOCOL_VERSION,
            EVENTS,
        ),
        row("HTTP Error 403.16", &IIS_UNTRUSTED, IIS),
        row("HTTP Error 403.17", &IIS_EXPIRED, IIS),
        row("HTTP Error 403.13", &IIS_REVOKED, IIS),
        row("HTTP Error 403.7", &IIS_REQUIRED, IIS),
    ],
};

static OWN_PURPOSE: Meaning = Meaning::at_client(
    "the client's certificate is not for clients (extended key usage), so that it is not sent",
    &[
        client(Cause::EkuMissingClientauth).likely(),
        client(Cause::ClientCertNotSent).likely(),
    ],
);

static NAME_AND_CHAIN: Meaning = Meaning::at_client(
    "the server's certificate has another name, and no trusted issuer",
    &[
        server(Cause::ServerCaNotTrusted).likely(),
        server(Cause::NameMismatch).likely(),
        server(Cause::SniSelectsWrongVhost).possible(),
    ],
);

static IIS_UNTRUSTED: Meaning = Meaning::same(
    "IIS does not trust the client's certificate",
    &[client(Cause::ClientCaNotTrusted).likely()],
);

static IIS_EXPIRED: Meaning = Meaning::same(
    "IIS says that the client's certificate has expired or is not valid yet",
    &[
        client(Cause::LeafExpired).likely(),
        client(Cause::NotYetValid).possible(),
    ],
);

static IIS_REVOKED: Meaning = Meaning::same(
    "IIS says that the client's certificate is revoked, or could not find out",
    &[client(Cause::CertificateRevoked).likely()],
);

static IIS_REQUIRED: Meaning = Meaning::same(
    "IIS requires a client certificate",
    &[client(Cause::ClientCertNotSent).likely()],
);

const STREAM: &str = "dotnet src/libraries/System.Net.Security/src/Resources/Strings.resx";
const CHAIN: &str = "dotnet System.Security.Cryptography.X509Certificates.X509ChainStatusFlags";
const AUTHENTICATION: &str = "aspnetcore src/Security/Authentication/Certificate";
const STATUS: &str = "Windows winerror.h";
const PFX: &str = "dotnet src/libraries/System.Security.Cryptography/src/Resources/Strings.resx";
const EVENTS: &str = "Windows event log, Schannel 36887 and 36874";
const IIS: &str = "IIS: the HTTP status codes, substatus of 403";
