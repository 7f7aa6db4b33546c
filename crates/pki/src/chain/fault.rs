//! What a refused chain is told to be, with the values.

use std::sync::Arc;

use crate::certificate::Certificate;
use crate::feed::RevocationReason;
use crate::fingerprint::Fingerprint;
use crate::identity::BundleName;
use crate::ocsp::OcspFault;
use crate::serial::SerialNumber;
use crate::time::UnixTime;

/// Why a chain was refused, and what was seen of it.
#[derive(Clone, Debug)]
pub struct ChainFault {
    /// What is wrong.
    pub kind: ChainFaultKind,
    /// The leaf, if it could be decoded.
    pub leaf: Option<Arc<Certificate>>,
    /// How many certificates were sent.
    pub sent: usize,
    /// When it was judged.
    pub now: UnixTime,
}

/// What is wrong with a chain. Names and times are those of the certificate at fault.
///
/// Exhaustive, so that a new kind without a cause and an alert does not compile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChainFaultKind {
    /// A serial number that is negative, zero or over 20 octets.
    BadSerial {
        /// Whose certificate.
        subject: String,
        /// What is wrong with it.
        why: String,
    },
    /// A signature in the chain does not verify.
    BadSignature {
        /// Whose certificate.
        subject: String,
    },
    /// A CA certificate presented as the leaf.
    CaUsedAsEndEntity,
    /// More than one SPIFFE ID, or a SPIFFE ID beside another URI.
    IdentityAmbiguous {
        /// All of them.
        ids: Vec<String>,
    },
    /// An intermediate is past its end.
    IntermediateExpired {
        /// Whose.
        subject: String,
        /// Its end.
        not_after: UnixTime,
    },
    /// An issuer without keyCertSign.
    IssuerCannotSign {
        /// Whose.
        subject: String,
    },
    /// An issuer's EKU leaves out the purpose.
    IssuerEkuExcludesPurpose {
        /// Whose.
        subject: String,
    },
    /// An issuer without CA:TRUE.
    IssuerNotACa {
        /// Whose.
        subject: String,
    },
    /// The leaf is past its end.
    LeafExpired {
        /// Its end.
        not_after: UnixTime,
    },
    /// Not decodable, duplicate extensions, NUL in a name…
    Malformed {
        /// What, in words.
        why: String,
    },
    /// keyUsage without digitalSignature.
    MissingDigitalSignature,
    /// A CRL that had to say whether a certificate is revoked, and cannot.
    CrlUnusable {
        /// The CRL's issuer.
        issuer: String,
        /// Why.
        fault: CrlFault,
    },
    /// More intermediates than [`Rules::intermediates`](super::Rules::intermediates).
    DepthExceeded {
        /// How many, without self-issued ones.
        intermediates: usize,
        /// How many are allowed.
        limit: usize,
    },
    /// The issuer was not sent, but is known to stand under an anchor.
    MissingIntermediate {
        /// The issuer that is missing.
        issuer: String,
    },
    /// The leaf's EKU lacks the purpose.
    MissingPurpose {
        /// What it lists.
        listed: Vec<String>,
    },
    /// A name that was asked for is not the leaf's.
    NameMismatch {
        /// The name.
        expected: String,
        /// What the leaf has instead.
        fault: NameFault,
    },
    /// Constraints of a type that cannot be judged.
    NameConstraintsUnsupported {
        /// Whose constraint.
        subject: String,
    },
    /// A name outside what an issuer permits.
    NameConstraintsViolated {
        /// Whose constraint.
        subject: String,
    },
    /// The authority key identifier quotes another key than the issuer's.
    KeyIdMismatch {
        /// Whose certificate.
        subject: String,
    },
    /// The leaf, or an issuer of it, has not begun.
    NotYetValid {
        /// Its beginning.
        not_before: UnixTime,
    },
    /// Good enough for every day, not for [`Strictness::Strict`](super::Strictness::Strict).
    NotStrict {
        /// Whose certificate.
        subject: String,
        /// What it lacks.
        why: &'static str,
    },
    /// The responder that had to say whether a certificate is revoked says nothing that could be relied on.
    OcspUnusable {
        /// Whose certificate.
        subject: String,
        /// Why.
        fault: OcspFault,
    },
    /// pathLenConstraint.
    PathLenExceeded {
        /// Whose constraint.
        subject: String,
    },
    /// The certificate or an issuer of it is revoked.
    Revoked {
        /// Whose.
        subject: String,
        /// Which.
        serial: SerialNumber,
        /// By which key.
        issuer_key: Fingerprint,
        /// Since when.
        revoked_at: UnixTime,
        /// Why.
        reason: RevocationReason,
    },
    /// The anchor is past its end.
    RootExpired {
        /// Whose.
        subject: String,
        /// Its end.
        not_after: UnixTime,
    },
    /// An anchor of the right name, with another key.
    SameNameDifferentKey {
        /// The name.
        issuer: String,
        /// The bundle.
        bundle: BundleName,
    },
    /// More certificates than [`Limits::certificates`](super::Limits::certificates), or than path building follows.
    TooDeep {
        /// How many.
        sent: usize,
        /// How many are allowed.
        limit: usize,
    },
    /// Over a byte limit.
    TooLarge {
        /// Bytes sent.
        bytes: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// A SPIFFE ID under a bundle of another trust domain.
    TrustDomainMismatch {
        /// The ID.
        id: String,
        /// The bundle.
        bundle: BundleName,
        /// Its trust domain.
        expected: Option<String>,
    },
    /// No bundle has a CA above it.
    UnknownIssuer {
        /// The topmost issuer that was looked for.
        issuer: String,
    },
    /// A key or signature algorithm that is not accepted.
    UnsupportedAlgorithm {
        /// Which.
        algorithm: String,
    },
    /// X.509 version 1 or 2.
    Version1,
    /// RSA under 2048 bits and the like.
    WeakKey {
        /// What.
        key: String,
    },
    /// SHA-1 or MD5.
    WeakSignature {
        /// What.
        algorithm: String,
    },
    /// The first certificate is not the leaf that the others stand above.
    WrongOrder,
}

/// Why a CRL says nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CrlFault {
    /// The issuer's key did not make the signature.
    BadSignature,
    /// Past its nextUpdate.
    Expired {
        /// nextUpdate.
        next_update: UnixTime,
    },
    /// None was given that covers the certificate.
    Missing {
        /// Whose certificate.
        subject: String,
    },
    /// Not as RFC 5280 §5 wants it, or of a kind that is not processed.
    Unprocessed {
        /// What, in words.
        why: String,
    },
    /// The issuer's keyUsage lacks cRLSign.
    WrongIssuer,
}

/// Why none of the leaf's names is the one asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameFault {
    /// An IP address was asked for; there is no such one in subjectAltName.
    IpSanMissing,
    /// It has other names.
    Other,
    /// It has another key than the one that is pinned.
    Pin,
    /// It has no subjectAltName, and a CN is no server's name.
    SanMissing,
    /// A wildcard of it stands for one label; the name has more, or none.
    Wildcard,
}
