//! The facts that a chain was judged by.

use countersign_pki::chain::{ChainFault, ChainFaultKind};

use super::sentence::names_text;
use crate::evidence::Evidence;

pub(super) fn evidence(fault: &ChainFault) -> Evidence {
    let mut evidence = kind_facts(&fault.kind);
    if let Some(leaf) = fault.leaf.as_deref() {
        evidence = evidence
            .with("subject", leaf.subject())
            .with("sans", names_text(Some(leaf)))
            .with("serial", leaf.serial())
            .with("issuer", leaf.issuer())
            .with("not_before", leaf.not_before())
            .with("not_after", leaf.not_after())
            .with("fingerprint", leaf.fingerprint())
            .with("spki", leaf.spki());
    }
    evidence
        .with("chain_length", fault.sent)
        .with("now", fault.now)
}

/// What the cause was judged by, beyond the leaf; first, so that it is never what a bound drops.
fn kind_facts(kind: &ChainFaultKind) -> Evidence {
    let facts = Evidence::new();
    match kind {
        ChainFaultKind::BadSerial { subject, why } => {
            facts.with("at_fault", subject).with("why", why)
        }
        ChainFaultKind::BadSignature { subject }
        | ChainFaultKind::IssuerCannotSign { subject }
        | ChainFaultKind::IssuerEkuExcludesPurpose { subject }
        | ChainFaultKind::IssuerNotACa { subject }
        | ChainFaultKind::KeyIdMismatch { subject }
        | ChainFaultKind::NotStrict { subject, .. }
        | ChainFaultKind::NameConstraintsUnsupported { subject }
        | ChainFaultKind::NameConstraintsViolated { subject }
        | ChainFaultKind::OcspUnusable { subject, .. }
        | ChainFaultKind::PathLenExceeded { subject } => facts.with("at_fault", subject),
        ChainFaultKind::CrlUnusable { issuer, .. } => facts.with("crl_issuer", issuer),
        ChainFaultKind::DepthExceeded {
            intermediates,
            limit,
        } => facts
            .with("intermediates", intermediates)
            .with("limit", limit),
        ChainFaultKind::IdentityAmbiguous { ids } => facts.with("ids", ids.join(", ")),
        ChainFaultKind::IntermediateExpired { subject, not_after }
        | ChainFaultKind::RootExpired { subject, not_after } => facts
            .with("at_fault", subject)
            .with("issuer_not_after", not_after),
        ChainFaultKind::Malformed { why } => facts.with("why", why),
        ChainFaultKind::MissingIntermediate { issuer }
        | ChainFaultKind::UnknownIssuer { issuer } => facts.with("looked_for", issuer),
        ChainFaultKind::MissingPurpose { listed } => facts.with("purposes", listed.join(", ")),
        ChainFaultKind::NameMismatch { expected, .. } => facts.with("expected", expected),
        ChainFaultKind::NotYetValid { not_before } => facts.with("valid_from", not_before),
        ChainFaultKind::Revoked {
            subject,
            serial,
            issuer_key,
            revoked_at,
            reason,
        } => facts
            .with("at_fault", subject)
            .with("revoked_serial", serial)
            .with("issuer_key", issuer_key)
            .with("revoked_at", revoked_at)
            .with("reason", reason),
        ChainFaultKind::SameNameDifferentKey { issuer, bundle } => {
            facts.with("looked_for", issuer).with("bundle", bundle)
        }
        ChainFaultKind::TooDeep { limit, .. } => facts.with("limit", limit),
        ChainFaultKind::TooLarge { bytes, limit } => {
            facts.with("bytes", bytes).with("limit", limit)
        }
        ChainFaultKind::TrustDomainMismatch {
            id,
            bundle,
            expected,
        } => facts
            .with("id", id)
            .with("bundle", bundle)
            .with("trust_domain", expected.as_deref().unwrap_or("none")),
        ChainFaultKind::UnsupportedAlgorithm { algorithm }
        | ChainFaultKind::WeakSignature { algorithm } => facts.with("algorithm", algorithm),
        ChainFaultKind::WeakKey { key } => facts.with("key", key),
        ChainFaultKind::CaUsedAsEndEntity
        | ChainFaultKind::LeafExpired { .. }
        | ChainFaultKind::MissingDigitalSignature
        | ChainFaultKind::Version1
        | ChainFaultKind::WrongOrder => facts,
    }
}
