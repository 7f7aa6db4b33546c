//! Every cause has a scenario that is it and one that looks like it and is not, or a reason why no doctor sees it.

use countersign_diagnose::cause::Cause;

/// Where a cause shows.
pub(crate) enum Shown {
    /// Scenarios have it as their root cause; this one looks alike and has not.
    Here { unlike: &'static str },
    /// Neither files nor a connection nor a foreign log tell; who does, or why nobody can.
    Elsewhere(&'static str),
}

use Shown::{Elsewhere, Here};

const GATEWAY: &str = "only who turned the request away knows: the gateway's refusal says it, `countersign explain` shows it";
const INSIDE: &str = "only the program that hands the identity on sees it: `countersign scan` and the gateway's own tests show it";

macro_rules! here {
    ($($cause:ident: $unlike:literal;)+) => {
        &[$((Cause::$cause, Here { unlike: $unlike }),)+]
    };
}

macro_rules! elsewhere {
    ($($cause:ident: $reason:expr;)+) => {
        &[$((Cause::$cause, Elsewhere($reason)),)+]
    };
}

/// All of them.
pub(crate) fn coverage() -> impl Iterator<Item = &'static (Cause, Shown)> {
    HERE.iter().chain(ELSEWHERE)
}

const HERE: &[(Cause, Shown)] = here! {
    ChainMissingIntermediate: "root and intermediate in the bundle, leaf alone sent";
    ChainWrongOrder: "root sent along with the chain";
    IntermediateExpired: "chain ends in a cross-sign of an expired root, new root trusted";
    RootExpired: "expired CA in the bundle beside the good one";
    IssuerNotACa: "leaf straight from the root";
    IssuerCannotSign: "CA without keyUsage, verifier not strict";
    IssuerEkuExcludesPurpose: "client uses a certificate for servers (Let's Encrypt)";
    PathlenExceeded: "pathlen that is just enough";
    NameConstraintsViolated: "name inside what the CA is permitted";
    SameNameDifferentKeyCa: "old and new CA in the bundle";
    AkiMismatch: "leaf without authority key identifier, strict verifier";
    VerifyDepthTooSmall: "nginx allows as many steps as the chain has";
    CaExtensionsIncomplete: "CA without keyUsage, verifier not strict";
    ClientCaNotTrusted: "client file without its intermediate";
    ServerCaNotTrusted: "server file without its intermediate";
    TrustAnchorIsIntermediate: "root and intermediate in the bundle, leaf alone sent";
    CaUsedAsEndEntity: "leaf straight from the root";
    TrustBundleEmpty: "trust bundle in DER";
    CaRotatedWithoutOverlap: "old and new CA in the bundle";
    CaNamesExcludeIssuer: "nginx announces every CA of a large bundle";
    LeafExpired: "client certificate that ends in an hour";
    NotYetValid: "board without a clock battery, files alone";
    ClockSkewLocal: "clock a few seconds off";
    EkuMissingClientauth: "no extended key usage at all";
    EkuMissingServerauth: "one certificate for both uses";
    KeyusageMissingDigitalsignature: "no extended key usage at all";
    SanMissing: "server is called otherwise";
    NameMismatch: "name in other capitals";
    IpSanMissing: "address in an iPAddress SAN";
    WildcardMismatch: "wildcard that fits";
    WeakKey: "RSA key in PKCS#1";
    WeakSignature: "RSA key in PKCS#1";
    BadSerial: "client with chain and key";
    X509V1: "no extended key usage at all";
    SigalgUnsupported: "openssl with mutual TLS (1.3)";
    KeyCertMismatch: "RSA key in PKCS#1";
    RotationHalfApplied: "certificate in force is the one in the file";
    KeyEncrypted: "encrypted key, passphrase at hand";
    KeyPermissions: "key that its group can read";
    FileNotPem: "modern PKCS#12, password at hand";
    FileEncoding: "lines end in CR LF";
    PemGlued: "no newline at the end of the file";
    FilesSwapped: "certificate and key in one file";
    FileIsCsr: "text and UTF-8 comments around the blocks";
    Pkcs12Legacy: "modern PKCS#12, password at hand";
    ClientCertNotSent: "nginx without client certificates, client without one";
    ClientCertNotRequested: "nginx without client certificates, client without one";
    ClientAuthNotEnforced: "optional client certificates, as meant";
    TlsVersionMismatch: "server speaks everything from TLS 1.0 on";
    NoSharedCipher: "openssl with mutual TLS (1.2 alone)";
    AlpnMismatch: "h2 where the client offers it";
    SniSelectsWrongVhost: "one of two virtual hosts, asked for by name";
    SniHostMismatch: "one of two virtual hosts, asked for by name";
    PeerNotTls: "SMTP with STARTTLS";
    PlainHttpToTlsPort: "nginx without client certificates, client without one";
    StarttlsRequired: "SMTP with STARTTLS";
    PostHandshakeAuthUnavailable: "Apache with mutual TLS for the whole host";
    ResetBeforeServerHello: "port that takes everything and says nothing";
    NoTlsAnswer: "server stalls in the middle of the handshake";
    ConnectionRefused: "connection reset on the first bytes";
    PlaintextAlsoAccepted: "nginx with mutual TLS, enforced";
    ServerNotReloaded: "certificate in force is the one in the file";
    ResumptionSkipsCheck: "server without session tickets";
    HandshakeTooLarge: "nginx announces every CA of a large bundle";
    CertificateRevoked: "fresh lists of both CAs, client not on them";
    CrlExpired: "fresh lists of both CAs, client not on them";
    CrlMissing: "fresh lists of both CAs, client not on them";
    CrlWrongIssuer: "no list of the intermediate";
    OcspUnreachable: "log of nginx without anything wrong";
    RevocationNotChecked: "openssl refuses a revoked client";
    IdentityNotAllowed: "policy lets this client in";
    IdentityAmbiguous: "rule names the client's SPIFFE ID";
    TrustDomainMismatch: "rule names another workload of the same trust domain";
    DnFormatMismatch: "one of two rules names the client's DN";
    MalformedCertificate: "a byte of the certificate's signature altered";
    MalformedHandshake: "plaintext HTTP on the port";
    BadSignature: "list with a byte altered";
    HandshakeTimeout: "port that takes everything and says nothing";
    SniUnknown: "one of two virtual hosts, asked for by name";
    ClientClosedEarly: "log of curl -v that succeeds";
    PinMismatch: "log of Countersign: an upstream has another name";
    ConnectionTooOld: "log of a gRPC client: server stops in good order";
    IdentityHeaderSpoofable: "HAProxy sets the identity under a condition, behind del-header";
    ProxyHeaderMissing: "connection reset on the first bytes";
    OcspUnknown: "log of nginx without anything wrong";
    OcspStale: "log of nginx: responder does not know it";
    OcspStapleMissing: "server staples a good answer";
    OcspAnswerInvalid: "log of nginx: old OCSP answer";
    CrlBadSignature: "a byte of the certificate's signature altered";
    CrlUnprocessed: "list past its next update (OpenVPN)";
    NameConstraintsUnsupported: "name inside what the CA is permitted";
    KeyPasswordWrong: "encrypted key, passphrase at hand";
    FileMissing: "no newline at the end of the file";
    NameNotResolved: "nothing listens";
};

const ELSEWHERE: &[(Cause, Shown)] = elsewhere! {
    Healthy: "it is no finding; the scenarios that expect no fault stand for it";
    StalePooledConnection: "a connection that is opened now is never the old one; its holder's age alone tells";
    IdentityHeaderMissing: INSIDE;
    ChainTooDeep: "a limit of the gateway's own, far above what other verifiers have; its refusal says it";
    CertificateTooLarge: "a limit of the gateway's own; its refusal says it";
    RateLimited: GATEWAY;
    RequestNotAllowed: GATEWAY;
    TokenNotAllowed: GATEWAY;
    TokenMissing: GATEWAY;
    TokenInvalid: GATEWAY;
    TokenExpired: GATEWAY;
    TokenTimesNotAllowed: GATEWAY;
    TokenWrongAudience: GATEWAY;
    TokenNotBoundToCertificate: GATEWAY;
    TokenKeysUnavailable: GATEWAY;
    ApiKeyMissing: GATEWAY;
    ApiKeyUnknown: GATEWAY;
    ApiKeyOfAnother: GATEWAY;
    ApiKeyNotAllowed: GATEWAY;
    TrustDataStale: GATEWAY;
    BreakGlassShut: GATEWAY;
    TooManyPending: GATEWAY;
    MalformedRequest: GATEWAY;
    RequestLimit: GATEWAY;
    ProxyHeaderUntrusted: GATEWAY;
};
