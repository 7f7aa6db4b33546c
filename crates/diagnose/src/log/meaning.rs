//! What messages of many products mean alike.

pub(super) mod alert;
pub(super) mod file;
pub(super) mod revocation;
pub(super) mod transport;

use super::message::{Meaning, client, either, server};
use crate::cause::Cause;

/// No issuer of the peer's certificate is trusted, or none was found.
pub(super) static UNTRUSTED: Meaning = Meaning::new(
    "no trusted issuer was found for {peer}'s certificate",
    &[
        server(Cause::ServerCaNotTrusted).likely(),
        server(Cause::ChainMissingIntermediate).possible(),
        server(Cause::CaRotatedWithoutOverlap).possible(),
        server(Cause::TrustBundleEmpty).possible(),
    ],
    &[
        client(Cause::ClientCaNotTrusted).likely(),
        client(Cause::ChainMissingIntermediate).possible(),
        client(Cause::CaRotatedWithoutOverlap).possible(),
        client(Cause::TrustBundleEmpty).possible(),
    ],
)
.above(&UNTRUSTED_ABOVE);

/// The chain has an intermediate, and what is above it is not trusted.
pub(super) static UNTRUSTED_ABOVE: Meaning = Meaning::new(
    "no trusted issuer was found for a CA in {peer}'s chain",
    &[
        server(Cause::ServerCaNotTrusted),
        server(Cause::TrustAnchorIsIntermediate).possible(),
        server(Cause::ChainMissingIntermediate).possible(),
    ],
    &[
        client(Cause::ClientCaNotTrusted),
        client(Cause::TrustAnchorIsIntermediate).possible(),
        client(Cause::ChainMissingIntermediate).possible(),
    ],
);

/// The peer's certificate is signed by itself, and not trusted.
pub(super) static SELF_SIGNED: Meaning = Meaning::new(
    "{peer}'s certificate is self-signed, and {self} does not trust it",
    &[
        server(Cause::ServerCaNotTrusted),
        server(Cause::CaUsedAsEndEntity).possible(),
        server(Cause::SniSelectsWrongVhost).possible(),
    ],
    &[
        client(Cause::ClientCaNotTrusted),
        client(Cause::CaUsedAsEndEntity).possible(),
    ],
);

/// The peer's chain ends in a root that is not trusted.
pub(super) static UNTRUSTED_ROOT: Meaning = Meaning::new(
    "{peer}'s chain ends in a root that {self} does not trust",
    &[
        server(Cause::ServerCaNotTrusted),
        server(Cause::CaRotatedWithoutOverlap).possible(),
    ],
    &[
        client(Cause::ClientCaNotTrusted),
        client(Cause::CaRotatedWithoutOverlap).possible(),
    ],
);

/// The peer's chain leads to a CA of a trusted name whose key did not sign it.
pub(super) static OTHER_KEY: Meaning = Meaning::same(
    "the CA that {self} holds under the issuer's name did not sign {peer}'s certificate",
    &[
        either(Cause::SameNameDifferentKeyCa).likely(),
        either(Cause::CaRotatedWithoutOverlap).likely(),
        either(Cause::BadSignature).possible(),
    ],
);

/// Verification failed, and the message does not say why.
pub(super) static VERIFY_FAILED: Meaning = Meaning::new(
    "{self} did not accept {peer}'s certificate, and does not say here why",
    &[
        server(Cause::ServerCaNotTrusted).possible(),
        server(Cause::ChainMissingIntermediate).possible(),
        server(Cause::NameMismatch).possible(),
        server(Cause::LeafExpired).possible(),
    ],
    &[
        client(Cause::ClientCaNotTrusted).possible(),
        client(Cause::ChainMissingIntermediate).possible(),
        client(Cause::LeafExpired).possible(),
        client(Cause::EkuMissingClientauth).possible(),
    ],
)
.wrapper();

/// The peer's certificate has ended.
pub(super) static EXPIRED: Meaning = Meaning::new(
    "{peer}'s certificate has expired",
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
)
.above(&EXPIRED_ABOVE);

/// A CA certificate of the peer's chain has ended.
pub(super) static EXPIRED_ABOVE: Meaning = Meaning::new(
    "a CA certificate in {peer}'s chain has expired",
    &[
        server(Cause::IntermediateExpired).likely(),
        server(Cause::RootExpired).likely(),
    ],
    &[
        client(Cause::IntermediateExpired).likely(),
        client(Cause::RootExpired).likely(),
    ],
);

/// The message means one of the two and does not say which.
pub(super) static EXPIRED_OR_NOT_YET: Meaning = Meaning::new(
    "{peer}'s certificate is outside its validity",
    &[
        server(Cause::LeafExpired).likely(),
        server(Cause::NotYetValid).possible(),
        either(Cause::ClockSkewLocal).possible(),
        server(Cause::IntermediateExpired).possible(),
    ],
    &[
        client(Cause::LeafExpired).likely(),
        client(Cause::NotYetValid).possible(),
        either(Cause::ClockSkewLocal).possible(),
        client(Cause::IntermediateExpired).possible(),
    ],
);

/// The peer's certificate has not begun.
pub(super) static NOT_YET: Meaning = Meaning::new(
    "{peer}'s certificate is not valid yet",
    &[
        server(Cause::NotYetValid),
        either(Cause::ClockSkewLocal).likely(),
    ],
    &[
        client(Cause::NotYetValid),
        either(Cause::ClockSkewLocal).likely(),
    ],
);

/// The clock of this machine is wrong, says the message.
pub(super) static CLOCK: Meaning = Meaning::same(
    "the clock of this machine is wrong",
    &[either(Cause::ClockSkewLocal)],
);

/// The peer's certificate may not be used for its side.
pub(super) static PURPOSE: Meaning = Meaning::new(
    "{peer}'s certificate is not for this purpose (extended key usage)",
    &[
        server(Cause::EkuMissingServerauth),
        server(Cause::IssuerEkuExcludesPurpose).possible(),
        server(Cause::KeyusageMissingDigitalsignature).possible(),
    ],
    &[
        client(Cause::EkuMissingClientauth),
        client(Cause::IssuerEkuExcludesPurpose).possible(),
        client(Cause::KeyusageMissingDigitalsignature).possible(),
    ],
)
.above(&ISSUER_PURPOSE);

/// The client's certificate may not be used by clients.
pub(super) static PURPOSE_CLIENT: Meaning = Meaning::at_server(
    "the client's certificate is not for clients (extended key usage)",
    &[
        client(Cause::EkuMissingClientauth),
        client(Cause::IssuerEkuExcludesPurpose).possible(),
    ],
);

/// The server's certificate may not be used by servers.
pub(super) static PURPOSE_SERVER: Meaning = Meaning::at_client(
    "the server's certificate is not for servers (extended key usage)",
    &[
        server(Cause::EkuMissingServerauth),
        server(Cause::IssuerEkuExcludesPurpose).possible(),
    ],
);

/// A CA's extended key usage leaves out the purpose.
pub(super) static ISSUER_PURPOSE: Meaning = Meaning::same(
    "a CA in {peer}'s chain is not for this purpose (extended key usage)",
    &[
        either(Cause::IssuerEkuExcludesPurpose),
        either(Cause::IssuerNotACa).possible(),
    ],
);

/// Key usage forbids signatures.
pub(super) static KEY_USAGE: Meaning = Meaning::new(
    "the key usage of {peer}'s certificate forbids what TLS needs it for",
    &[server(Cause::KeyusageMissingDigitalsignature)],
    &[client(Cause::KeyusageMissingDigitalsignature)],
);

/// An issuer is not a CA.
pub(super) static NOT_A_CA: Meaning = Meaning::same(
    "an issuer in {peer}'s chain is not marked as a CA",
    &[
        either(Cause::IssuerNotACa),
        either(Cause::X509V1).possible(),
        either(Cause::IssuerCannotSign).possible(),
    ],
);

/// An issuer may not sign.
pub(super) static CANNOT_SIGN: Meaning = Meaning::same(
    "an issuer in {peer}'s chain may not sign certificates (key usage)",
    &[either(Cause::IssuerCannotSign)],
);

/// A CA certificate stands as a leaf.
pub(super) static CA_AS_LEAF: Meaning = Meaning::new(
    "{peer} shows a CA certificate as its own",
    &[server(Cause::CaUsedAsEndEntity)],
    &[client(Cause::CaUsedAsEndEntity)],
);

/// More intermediates than an issuer allows.
pub(super) static PATHLEN: Meaning = Meaning::same(
    "more intermediates follow a CA than its path length allows",
    &[either(Cause::PathlenExceeded)],
);

/// A name outside what an issuer may give.
pub(super) static NAME_CONSTRAINTS: Meaning = Meaning::same(
    "a name in {peer}'s certificate is outside what an issuer may give",
    &[either(Cause::NameConstraintsViolated)],
);

/// Name constraints that are not understood.
pub(super) static NAME_CONSTRAINTS_UNSUPPORTED: Meaning = Meaning::same(
    "an issuer has name constraints that {self} cannot judge",
    &[either(Cause::NameConstraintsUnsupported)],
);

/// The chain is longer than the limit.
pub(super) static TOO_DEEP: Meaning = Meaning::same(
    "{peer}'s chain is longer than {self} follows it",
    &[
        either(Cause::VerifyDepthTooSmall),
        either(Cause::ChainTooDeep).likely(),
    ],
);

/// More certificates than are taken.
pub(super) static TOO_MANY_CERTIFICATES: Meaning = Meaning::same(
    "{peer} sent more certificates than {self} takes",
    &[
        either(Cause::ChainTooDeep),
        either(Cause::VerifyDepthTooSmall).possible(),
    ],
);

/// A message of the handshake is too large.
pub(super) static MESSAGE_TOO_LARGE: Meaning = Meaning::same(
    "{peer} sent a larger handshake message than {self} takes",
    &[
        either(Cause::HandshakeTooLarge),
        either(Cause::CertificateTooLarge).possible(),
    ],
);

/// The name is not in the server's certificate.
pub(super) static NAME_MISMATCH: Meaning = Meaning::at_client(
    "the name that the client connects to is not in the server's certificate",
    &[
        server(Cause::NameMismatch),
        server(Cause::SniSelectsWrongVhost).possible(),
        server(Cause::WildcardMismatch).possible(),
        server(Cause::SanMissing).possible(),
    ],
);

/// The same, of a message that another explains.
pub(super) static NAMES: Meaning = Meaning::at_client(
    "the name that the client connects to is not in the server's certificate",
    &[
        server(Cause::NameMismatch),
        server(Cause::IpSanMissing).possible(),
        server(Cause::SniSelectsWrongVhost).possible(),
    ],
)
.wrapper();

/// The address is not in the server's certificate.
pub(super) static IP_SAN: Meaning = Meaning::at_client(
    "the address that the client connects to is not in the server's certificate",
    &[server(Cause::IpSanMissing)],
);

/// The name stands only in the common name.
pub(super) static SAN_MISSING: Meaning = Meaning::at_client(
    "the server's certificate has no subject alternative name",
    &[server(Cause::SanMissing)],
);

/// A default certificate came instead of the site's.
pub(super) static DEFAULT_CERTIFICATE: Meaning = Meaning::same(
    "the server answers with its default certificate, not with that of the name",
    &[
        server(Cause::SniSelectsWrongVhost),
        server(Cause::NameMismatch).likely(),
    ],
);

/// The client sent no certificate.
pub(super) static NO_CLIENT_CERT: Meaning = Meaning::at_server(
    "the client sent no certificate, and the server requires one",
    &[
        client(Cause::ClientCertNotSent),
        client(Cause::CaNamesExcludeIssuer).possible(),
    ],
);

/// The client was told that it sent no certificate.
pub(super) static NO_CLIENT_CERT_TOLD: Meaning = Meaning::at_client(
    "the server says that the client sent no certificate",
    &[
        client(Cause::ClientCertNotSent),
        client(Cause::CaNamesExcludeIssuer).possible(),
    ],
);

/// The client has certificates, and none that the server's list of CAs allows.
pub(super) static NO_MATCHING_CLIENT_CERT: Meaning = Meaning::at_client(
    "the client has no certificate of a CA that the server names",
    &[
        client(Cause::CaNamesExcludeIssuer).likely(),
        client(Cause::ClientCertNotSent).likely(),
    ],
);

/// No certificate of the client is known to the server, which may not have asked.
pub(super) static NO_PEER_CERT: Meaning = Meaning::new(
    "no certificate of {peer} is known",
    &[server(Cause::NoSharedCipher).possible()],
    &[
        either(Cause::ClientCertNotRequested).likely(),
        client(Cause::ClientCertNotSent).likely(),
    ],
);

/// The certificate is good, its holder is not let in.
pub(super) static NOT_ALLOWED: Meaning = Meaning::new(
    "{peer}'s certificate is good, and its name is not allowed",
    &[server(Cause::IdentityNotAllowed)],
    &[
        client(Cause::IdentityNotAllowed),
        client(Cause::DnFormatMismatch).possible(),
    ],
);

/// The SPIFFE ID is of another trust domain.
pub(super) static TRUST_DOMAIN: Meaning = Meaning::same(
    "{peer}'s SPIFFE ID is of a trust domain that {self} does not expect",
    &[either(Cause::TrustDomainMismatch)],
);

/// More than one identity.
pub(super) static AMBIGUOUS: Meaning = Meaning::same(
    "{peer}'s certificate holds more than one identity",
    &[either(Cause::IdentityAmbiguous)],
);

/// The certificate is good, its key is not the pinned one.
pub(super) static PIN: Meaning = Meaning::same(
    "the key of {peer}'s certificate is not the pinned one",
    &[either(Cause::PinMismatch)],
);

/// The key is too short.
pub(super) static WEAK_KEY: Meaning = Meaning::same(
    "a key is shorter than the security level allows",
    &[either(Cause::WeakKey)],
);

/// The signature is too old.
pub(super) static WEAK_SIGNATURE: Meaning = Meaning::same(
    "a certificate is signed with an algorithm that is no longer taken",
    &[either(Cause::WeakSignature)],
);

/// No signature algorithm in common.
pub(super) static SIGALG: Meaning = Meaning::same(
    "the two sides have no signature algorithm in common for this key",
    &[
        either(Cause::SigalgUnsupported),
        either(Cause::TlsVersionMismatch).possible(),
        either(Cause::WeakSignature).possible(),
        either(Cause::WeakKey).possible(),
    ],
);

/// A serial number that is not allowed.
pub(super) static SERIAL: Meaning = Meaning::same(
    "a certificate's serial number is negative, zero or too long",
    &[either(Cause::BadSerial)],
);

/// An old version of X.509.
pub(super) static VERSION_ONE: Meaning = Meaning::same(
    "a certificate is not of version 3",
    &[either(Cause::X509V1)],
);

/// Extensions that strict verifiers want.
pub(super) static EXTENSIONS: Meaning = Meaning::same(
    "a certificate lacks extensions that {self} insists on",
    &[either(Cause::CaExtensionsIncomplete)],
);

/// The key identifiers do not lead to the issuer.
pub(super) static AKI: Meaning = Meaning::same(
    "the authority key identifier of {peer}'s certificate names another issuer certificate",
    &[
        either(Cause::AkiMismatch),
        either(Cause::CaRotatedWithoutOverlap).possible(),
    ],
);

/// Only an intermediate is trusted, and the root is wanted.
pub(super) static ANCHOR: Meaning = Meaning::same(
    "the issuer of a CA that {self} holds is not found: the trust bundle has no root",
    &[
        either(Cause::TrustAnchorIsIntermediate),
        server(Cause::ChainMissingIntermediate).possible(),
    ],
);

/// The bundle is empty.
pub(super) static BUNDLE_EMPTY: Meaning = Meaning::same(
    "the trust bundle holds no certificate",
    &[
        either(Cause::TrustBundleEmpty),
        either(Cause::FileMissing).possible(),
    ],
);

/// Not a certificate that can be read.
pub(super) static MALFORMED: Meaning = Meaning::same(
    "a certificate cannot be read",
    &[
        either(Cause::MalformedCertificate),
        either(Cause::FileNotPem).possible(),
    ],
);

/// A signature in the handshake is wrong.
pub(super) static POSSESSION: Meaning = Meaning::same(
    "{peer}'s proof that it holds the key of its certificate does not verify",
    &[
        either(Cause::BadSignature),
        either(Cause::KeyCertMismatch).likely(),
    ],
);

/// The certificate or its use is not acceptable and nothing says how.
pub(super) static SNI_UNKNOWN: Meaning = Meaning::same(
    "the server has no certificate or service for the name",
    &[client(Cause::SniUnknown)],
);

/// SNI and Host differ.
pub(super) static SNI_HOST: Meaning = Meaning::same(
    "the request is for another host than the connection (SNI)",
    &[client(Cause::SniHostMismatch)],
);

/// The request needs a certificate that cannot be asked for any more.
pub(super) static POST_HANDSHAKE: Meaning = Meaning::same(
    "the server asks for the client's certificate after the handshake, and the client cannot give it then",
    &[either(Cause::PostHandshakeAuthUnavailable)],
);

/// The gateway sent no identity.
pub(super) static HEADER_MISSING: Meaning = Meaning::at_server(
    "the header that should hold the client's certificate is missing",
    &[
        either(Cause::IdentityHeaderMissing),
        client(Cause::ClientCertNotSent).possible(),
    ],
);
