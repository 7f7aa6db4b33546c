//! From what ended a handshake to its refusal.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use countersign_diagnose::cause::Cause;
use countersign_diagnose::chain;
use countersign_diagnose::handshake::{self, HandshakeFault, Offer, Offered, Stage, alert_name};
use countersign_diagnose::refusal::Refusal;
use countersign_pki::certificate::Certificate;
use countersign_pki::chain::{ChainFault, ChainFaultKind, Purpose};
use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::identity::VerifiedPeer;
use countersign_pki::time::UnixTime;
use rustls::{AlertDescription, CertificateError, Error, InvalidMessage, PeerIncompatible};

use crate::scope::OnRefusal;

/// What ended a handshake.
#[derive(Clone)]
pub(crate) enum Fault {
    /// The client's certificate was judged and found wanting.
    Chain(Box<ChainFault>),
    /// The client is who it says, and the policy does not admit it; with its leaf.
    Policy(Box<Refusal>, Fingerprint),
    /// Anything else, with the leaf if one was accepted before.
    Handshake(HandshakeFault, Option<Fingerprint>),
}

impl From<HandshakeFault> for Fault {
    fn from(fault: HandshakeFault) -> Self {
        Self::Handshake(fault, None)
    }
}

/// What is wrong with a client whose chain was verified.
pub(crate) fn of_peer(kind: ChainFaultKind, peer: &VerifiedPeer, now: UnixTime) -> Fault {
    Fault::Chain(Box::new(of_chain(kind, peer, now)))
}

/// The same, of its chain alone.
pub(crate) fn of_chain(kind: ChainFaultKind, peer: &VerifiedPeer, now: UnixTime) -> ChainFault {
    let leaf = peer.chain().first();
    let leaf = leaf.and_then(|der| Certificate::parse(der).ok());
    ChainFault {
        kind,
        leaf: leaf.map(Arc::new),
        sent: peer.chain().len(),
        now,
    }
}

/// The fault behind an error on the `ClientHello` alone.
pub(crate) fn of_hello(error: &Error, offer: &Offer) -> HandshakeFault {
    match error {
        // TLS 1.2 brought signature_algorithms (RFC 5246 §7.4.1.4.1): what lacks it is usually older.
        Error::PeerIncompatible(PeerIncompatible::SignatureAlgorithmsExtensionRequired)
            if offer.versions.iter().all(|&version| version < TLS_1_2) =>
        {
            HandshakeFault::VersionTooOld
        }
        Error::InvalidMessage(
            InvalidMessage::HandshakePayloadTooLarge | InvalidMessage::MessageTooLarge,
        ) => HandshakeFault::HelloTooLarge,
        other => of_rustls(other, &[]),
    }
}

/// The fault behind an error after the `ClientHello`. `served`: the listener's application protocols.
pub(crate) fn of_io(error: &io::Error, served: &[Vec<u8>]) -> HandshakeFault {
    match error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<Error>())
    {
        Some(error) => of_rustls(error, served),
        // What rustls says through io::Error alone: a message is larger than its buffer may grow.
        None if error.kind() == io::ErrorKind::InvalidData => HandshakeFault::CertificateTooLarge,
        None => HandshakeFault::Closed(Stage::Answered),
    }
}

/// What rustls is told of a chain, so that its alert fits (the reason itself goes by another way).
pub(crate) fn certificate_error(kind: &ChainFaultKind) -> CertificateError {
    use ChainFaultKind as Kind;
    match kind {
        Kind::LeafExpired { .. } | Kind::IntermediateExpired { .. } | Kind::RootExpired { .. } => {
            CertificateError::Expired
        }
        Kind::NotYetValid { .. } => CertificateError::NotValidYet,
        Kind::Revoked { .. } => CertificateError::Revoked,
        Kind::MissingIntermediate { .. }
        | Kind::UnknownIssuer { .. }
        | Kind::SameNameDifferentKey { .. }
        | Kind::IssuerNotACa { .. }
        | Kind::IssuerCannotSign { .. }
        | Kind::PathLenExceeded { .. } => CertificateError::UnknownIssuer,
        Kind::CaUsedAsEndEntity
        | Kind::IssuerEkuExcludesPurpose { .. }
        | Kind::MissingPurpose { .. }
        | Kind::MissingDigitalSignature
        | Kind::UnsupportedAlgorithm { .. } => CertificateError::InvalidPurpose,
        Kind::BadSignature { .. } => CertificateError::BadSignature,
        Kind::NameMismatch { .. } => CertificateError::NotValidForName,
        // access_denied: it is not the client's certificate that is at fault.
        Kind::CrlUnusable { .. }
        | Kind::DepthExceeded { .. }
        | Kind::KeyIdMismatch { .. }
        | Kind::NotStrict { .. }
        | Kind::OcspUnusable { .. }
        | Kind::TrustDomainMismatch { .. } => CertificateError::ApplicationVerificationFailure,
        Kind::BadSerial { .. }
        | Kind::IdentityAmbiguous { .. }
        | Kind::Malformed { .. }
        | Kind::NameConstraintsUnsupported { .. }
        | Kind::NameConstraintsViolated { .. }
        | Kind::TooDeep { .. }
        | Kind::TooLarge { .. }
        | Kind::Version1
        | Kind::WeakKey { .. }
        | Kind::WeakSignature { .. }
        | Kind::WrongOrder => CertificateError::BadEncoding,
    }
}

fn of_rustls(error: &Error, served: &[Vec<u8>]) -> HandshakeFault {
    match error {
        Error::AlertReceived(alert) => HandshakeFault::Alert {
            code: (*alert).into(),
        },
        Error::NoCertificatesPresented => HandshakeFault::CertificateMissing,
        Error::NoApplicationProtocol => HandshakeFault::AlpnMismatch {
            served: served.to_vec(),
        },
        Error::PeerIncompatible(incompatible) => of_incompatible(incompatible),
        // Nothing else that a client sends after its hello can be so large.
        Error::InvalidMessage(
            InvalidMessage::CertificatePayloadTooLarge
            | InvalidMessage::HandshakePayloadTooLarge
            | InvalidMessage::MessageTooLarge,
        ) => HandshakeFault::CertificateTooLarge,
        other => HandshakeFault::Malformed {
            why: other.to_string(),
        },
    }
}

fn of_incompatible(incompatible: &PeerIncompatible) -> HandshakeFault {
    use PeerIncompatible as Peer;
    match incompatible {
        Peer::Tls12NotOffered
        | Peer::Tls12NotOfferedOrEnabled
        | Peer::SupportedVersionsExtensionRequired => HandshakeFault::VersionTooOld,
        Peer::NoCipherSuitesInCommon => HandshakeFault::NothingShared(Offered::CipherSuites),
        Peer::NoKxGroupsInCommon
        | Peer::NamedGroupsExtensionRequired
        | Peer::NoEcPointFormatsInCommon
        | Peer::UncompressedEcPointsRequired => HandshakeFault::NothingShared(Offered::Groups),
        Peer::NoSignatureSchemesInCommon | Peer::SignatureAlgorithmsExtensionRequired => {
            HandshakeFault::NothingShared(Offered::SignatureSchemes)
        }
        other => HandshakeFault::Malformed {
            why: format!("{other:?}"),
        },
    }
}

/// What a chain is refused for.
pub(crate) fn cause(fault: &ChainFault) -> Cause {
    chain::refusal(fault, Purpose::ClientAuth).cause
}

/// The refusal, and the SHA-256 of the leaf if there was one.
pub(crate) fn refusal(
    fault: &Fault,
    source: SocketAddr,
    offer: &Offer,
    way: OnRefusal,
) -> (Refusal, Option<Fingerprint>) {
    match fault {
        Fault::Handshake(fault, fingerprint) => {
            (handshake::refusal(fault, source, offer), *fingerprint)
        }
        Fault::Policy(refusal, fingerprint) => {
            let mut refusal = (**refusal).clone();
            offer.describe(source, &mut refusal.evidence);
            (refusal, Some(*fingerprint))
        }
        Fault::Chain(fault) => {
            let mut refusal = chain::refusal(fault, Purpose::ClientAuth);
            // What the client's own log says, for who compares the two.
            let alert = AlertDescription::from(certificate_error(&fault.kind));
            match (way, alert_name(alert.into())) {
                (OnRefusal::Alert, Some(alert)) => refusal.evidence.push("alert_sent", alert),
                (OnRefusal::Explain, _) | (_, None) => {}
            }
            offer.describe(source, &mut refusal.evidence);
            (refusal, fault.leaf.as_ref().map(|leaf| leaf.fingerprint()))
        }
    }
}

const TLS_1_2: u16 = 0x0303;
