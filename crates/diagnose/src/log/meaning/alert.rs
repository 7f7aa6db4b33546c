//! Alerts that were received (RFC 8446 §6): the other side refused *us*, so that a client's log accuses the client.

use crate::cause::Cause;
use crate::log::message::{Meaning, client, either, server};

pub(in crate::log) static UNKNOWN_CA: Meaning = Meaning::new(
    "{peer} does not know the CA of {self}'s certificate",
    &[
        client(Cause::ClientCaNotTrusted).likely(),
        client(Cause::ChainMissingIntermediate).possible(),
        client(Cause::CaRotatedWithoutOverlap).possible(),
        client(Cause::SameNameDifferentKeyCa).possible(),
    ],
    &[
        server(Cause::ServerCaNotTrusted).likely(),
        server(Cause::ChainMissingIntermediate).possible(),
        server(Cause::CaRotatedWithoutOverlap).possible(),
        server(Cause::SameNameDifferentKeyCa).possible(),
    ],
);

pub(in crate::log) static BAD_CERTIFICATE: Meaning = Meaning::new(
    "{peer} did not accept {self}'s certificate",
    &[
        client(Cause::ClientCaNotTrusted).likely(),
        client(Cause::ClientCertNotSent).possible(),
        client(Cause::LeafExpired).possible(),
        client(Cause::EkuMissingClientauth).possible(),
        client(Cause::IdentityNotAllowed).possible(),
    ],
    &[
        server(Cause::ServerCaNotTrusted).likely(),
        server(Cause::NameMismatch).possible(),
        server(Cause::LeafExpired).possible(),
        server(Cause::ChainMissingIntermediate).possible(),
    ],
);

pub(in crate::log) static CERTIFICATE_UNKNOWN: Meaning = Meaning::new(
    "{peer} did not accept {self}'s certificate, for a reason of its own",
    &[
        client(Cause::ClientCaNotTrusted).likely(),
        client(Cause::LeafExpired).possible(),
        client(Cause::EkuMissingClientauth).possible(),
        client(Cause::IdentityNotAllowed).possible(),
    ],
    &[
        server(Cause::ServerCaNotTrusted).likely(),
        server(Cause::NameMismatch).possible(),
        server(Cause::LeafExpired).possible(),
        server(Cause::ChainMissingIntermediate).possible(),
    ],
);

pub(in crate::log) static EXPIRED: Meaning = Meaning::new(
    "{peer} says that {self}'s certificate has expired",
    &[
        client(Cause::LeafExpired),
        client(Cause::IntermediateExpired).possible(),
        client(Cause::NotYetValid).possible(),
    ],
    &[
        server(Cause::LeafExpired),
        server(Cause::IntermediateExpired).possible(),
        server(Cause::NotYetValid).possible(),
        either(Cause::ClockSkewLocal).possible(),
    ],
);

pub(in crate::log) static REVOKED: Meaning = Meaning::new(
    "{peer} says that {self}'s certificate is revoked",
    &[client(Cause::CertificateRevoked)],
    &[server(Cause::CertificateRevoked)],
);

pub(in crate::log) static UNSUPPORTED: Meaning = Meaning::new(
    "{peer} says that {self}'s certificate is of a kind that it does not take",
    &[
        client(Cause::EkuMissingClientauth).likely(),
        client(Cause::SigalgUnsupported).possible(),
        client(Cause::KeyusageMissingDigitalsignature).possible(),
        client(Cause::WeakKey).possible(),
    ],
    &[
        server(Cause::EkuMissingServerauth).likely(),
        server(Cause::SigalgUnsupported).possible(),
        server(Cause::KeyusageMissingDigitalsignature).possible(),
        server(Cause::WeakKey).possible(),
    ],
);

pub(in crate::log) static REQUIRED: Meaning = Meaning::at_client(
    "the server requires a client certificate, and the client sent none",
    &[
        client(Cause::ClientCertNotSent),
        client(Cause::CaNamesExcludeIssuer).possible(),
    ],
);

pub(in crate::log) static HANDSHAKE_FAILURE: Meaning = Meaning::new(
    "{peer} found nothing in common, or a certificate is missing",
    &[
        client(Cause::ClientCertNotSent).likely(),
        either(Cause::NoSharedCipher).likely(),
        either(Cause::TlsVersionMismatch).possible(),
        either(Cause::SigalgUnsupported).possible(),
        client(Cause::CaNamesExcludeIssuer).possible(),
    ],
    &[
        either(Cause::NoSharedCipher).likely(),
        client(Cause::ClientCertNotSent).possible(),
        either(Cause::TlsVersionMismatch).possible(),
        either(Cause::SigalgUnsupported).possible(),
    ],
);

pub(in crate::log) static PROTOCOL_VERSION: Meaning = Meaning::same(
    "{peer} does not speak {self}'s versions of TLS",
    &[
        either(Cause::TlsVersionMismatch),
        either(Cause::PeerNotTls).possible(),
    ],
);

pub(in crate::log) static INSUFFICIENT: Meaning = Meaning::same(
    "{peer} demands stronger cipher suites or keys",
    &[
        either(Cause::NoSharedCipher).likely(),
        either(Cause::WeakKey).possible(),
    ],
);

pub(in crate::log) static DECRYPT_ERROR: Meaning = Meaning::new(
    "{peer} could not verify a signature that {self} made",
    &[
        client(Cause::BadSignature).likely(),
        client(Cause::KeyCertMismatch).likely(),
        client(Cause::SameNameDifferentKeyCa).possible(),
    ],
    &[
        server(Cause::BadSignature).likely(),
        server(Cause::KeyCertMismatch).likely(),
        server(Cause::SameNameDifferentKeyCa).possible(),
    ],
);

pub(in crate::log) static ACCESS_DENIED: Meaning = Meaning::new(
    "{peer} took {self}'s certificate for good and does not let it in",
    &[client(Cause::IdentityNotAllowed)],
    &[server(Cause::IdentityNotAllowed)],
);

pub(in crate::log) static UNRECOGNIZED_NAME: Meaning = Meaning::same(
    "the server serves no such name (SNI)",
    &[
        client(Cause::SniUnknown),
        client(Cause::SniSelectsWrongVhost).possible(),
    ],
);

pub(in crate::log) static NO_APPLICATION_PROTOCOL: Meaning = Meaning::same(
    "the two sides have no application protocol in common (ALPN)",
    &[either(Cause::AlpnMismatch)],
);

pub(in crate::log) static INTERNAL_ERROR: Meaning = Meaning::new(
    "{peer} failed inside",
    &[
        client(Cause::SniUnknown).possible(),
        server(Cause::FileMissing).possible(),
        server(Cause::SigalgUnsupported).possible(),
    ],
    &[
        either(Cause::SigalgUnsupported).possible(),
        client(Cause::ClientClosedEarly).possible(),
    ],
);

pub(in crate::log) static PROTOCOL: Meaning = Meaning::same(
    "{peer} could not read what {self} sent",
    &[
        either(Cause::MalformedHandshake).likely(),
        either(Cause::TlsVersionMismatch).possible(),
    ],
);

pub(in crate::log) static RECORD_OVERFLOW: Meaning = Meaning::same(
    "{peer} found a record or message too large",
    &[
        either(Cause::HandshakeTooLarge).likely(),
        either(Cause::PeerNotTls).possible(),
    ],
);

pub(in crate::log) static STATUS_RESPONSE: Meaning = Meaning::same(
    "{peer} did not accept the stapled OCSP answer",
    &[
        either(Cause::OcspAnswerInvalid),
        either(Cause::OcspStale).possible(),
    ],
);

pub(in crate::log) static NO_RENEGOTIATION: Meaning = Meaning::same(
    "{peer} does not renegotiate, so that no certificate can be asked for after the handshake",
    &[either(Cause::PostHandshakeAuthUnavailable).likely()],
);

pub(in crate::log) static USER_CANCELED: Meaning = Meaning::at_server(
    "the client gave up before the handshake was done",
    &[client(Cause::ClientClosedEarly)],
);

pub(in crate::log) static UNOBTAINABLE: Meaning = Meaning::same(
    "{peer} could not fetch a certificate that was given as an address",
    &[either(Cause::MalformedHandshake).possible()],
);
