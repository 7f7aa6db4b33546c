//! What is wrong with a chain, in a sentence with its values.

use countersign_pki::certificate::Certificate;
use countersign_pki::chain::{ChainFault, ChainFaultKind, CrlFault, NameFault, Purpose};
use countersign_pki::name::{NameKind, TypedName};
use countersign_pki::ocsp::OcspFault;
use countersign_pki::time::{UnixTime, spoken};

#[expect(
    clippy::too_many_lines,
    reason = "one arm a kind: the whole vocabulary reads best in one place"
)]
pub(super) fn sentence(fault: &ChainFault, side: Purpose) -> String {
    let leaf = leaf_text(fault.leaf.as_deref(), side);
    let (now, sent) = (fault.now, fault.sent);
    let expired = |whose: &str, not_after: UnixTime| {
        format!(
            "{whose} expired {} ago (not_after {not_after}, now {now})",
            spoken(now.since(not_after))
        )
    };
    match &fault.kind {
        ChainFaultKind::BadSerial { subject, why } => {
            format!("certificate of {subject} has a bad serial number: {why}")
        }
        ChainFaultKind::BadSignature { subject } => {
            format!("signature of the certificate of {subject} does not verify")
        }
        ChainFaultKind::CaUsedAsEndEntity => format!(
            "{leaf} is a CA certificate, presented as a {}'s own",
            side_text(side)
        ),
        ChainFaultKind::CrlUnusable { issuer, fault } => crl_sentence(issuer, fault, now),
        ChainFaultKind::OcspUnusable { subject, fault } => ocsp_sentence(subject, fault, now),
        ChainFaultKind::DepthExceeded {
            intermediates,
            limit,
        } => format!(
            "{intermediates} intermediates stand between {leaf} and its trust anchor, {limit} are allowed"
        ),
        ChainFaultKind::IdentityAmbiguous { ids } => format!(
            "{leaf} holds {} URIs where one is allowed: {}",
            ids.len(),
            ids.join(", ")
        ),
        ChainFaultKind::IntermediateExpired { subject, not_after } => {
            format!(
                "{} above {leaf}",
                expired(&format!("intermediate {subject}"), *not_after)
            )
        }
        ChainFaultKind::IssuerCannotSign { subject } => {
            format!("issuer {subject} above {leaf} has a keyUsage without keyCertSign")
        }
        ChainFaultKind::IssuerEkuExcludesPurpose { subject } => {
            format!(
                "issuer {subject} above {leaf} has an extendedKeyUsage without {}",
                purpose_text(side)
            )
        }
        ChainFaultKind::IssuerNotACa { subject } => {
            format!("issuer {subject} above {leaf} is not marked CA:TRUE")
        }
        ChainFaultKind::KeyIdMismatch { subject } => format!(
            "authorityKeyIdentifier of the certificate of {subject} quotes another key than its issuer's"
        ),
        ChainFaultKind::LeafExpired { not_after } => expired(&leaf, *not_after),
        ChainFaultKind::Malformed { why } => {
            format!("a certificate of the chain ({sent} sent) cannot be read: {why}")
        }
        ChainFaultKind::MissingDigitalSignature => {
            format!("{leaf} has a keyUsage without digitalSignature")
        }
        ChainFaultKind::MissingIntermediate { issuer } => {
            format!("{leaf} came without its intermediate {issuer} ({sent} sent)")
        }
        ChainFaultKind::MissingPurpose { listed } => {
            format!(
                "{leaf} has an extendedKeyUsage without {} (it lists {})",
                purpose_text(side),
                listed.join(", ")
            )
        }
        ChainFaultKind::NameConstraintsUnsupported { subject } => {
            format!(
                "issuer {subject} above {leaf} has name constraints of a type that cannot be judged"
            )
        }
        ChainFaultKind::NameConstraintsViolated { subject } => {
            format!(
                "{leaf} holds a name that issuer {subject} is not permitted (names {})",
                names_text(fault.leaf.as_deref())
            )
        }
        ChainFaultKind::NameMismatch {
            expected,
            fault: NameFault::Pin,
        } => {
            let key = fault.leaf.as_ref().map(|leaf| leaf.spki().to_string());
            let key = key.unwrap_or_else(|| "another".to_owned());
            format!("{leaf} has the key {key}, not the pinned one {expected}")
        }
        ChainFaultKind::NameMismatch { expected, .. } => {
            let names = names_text(fault.leaf.as_deref());
            format!("{leaf} does not hold the name {expected} (names {names})")
        }
        ChainFaultKind::NotStrict { subject, why } => format!("certificate of {subject} {why}"),
        ChainFaultKind::NotYetValid { not_before } => {
            let wait = spoken(not_before.since(now));
            format!(
                "{leaf} or an issuer of it is valid only in {wait} (not_before {not_before}, now {now})"
            )
        }
        ChainFaultKind::PathLenExceeded { subject } => {
            format!(
                "more intermediates follow {subject} than its pathLenConstraint allows ({sent} sent)"
            )
        }
        ChainFaultKind::Revoked {
            subject,
            serial,
            revoked_at,
            reason,
            ..
        } => {
            let ago = spoken(now.since(*revoked_at));
            format!(
                "certificate of {subject} with serial {serial} was revoked {ago} ago ({reason}, revoked_at {revoked_at}, now {now})"
            )
        }
        ChainFaultKind::RootExpired { subject, not_after } => {
            format!(
                "{} above {leaf}",
                expired(&format!("trust anchor {subject}"), *not_after)
            )
        }
        ChainFaultKind::SameNameDifferentKey { issuer, bundle } => {
            format!(
                "{leaf} is not signed by the key of {issuer} in trust bundle {bundle}, but by another key of that name"
            )
        }
        ChainFaultKind::TooDeep { sent, limit } => {
            format!("the chain has {sent} certificates, {limit} are allowed")
        }
        ChainFaultKind::TooLarge { bytes, limit } => {
            format!("the certificate or chain has {bytes} bytes, {limit} are allowed")
        }
        ChainFaultKind::TrustDomainMismatch {
            id,
            bundle,
            expected,
        } => {
            let expected = expected.as_deref().unwrap_or("none");
            format!("{id} is not of the trust domain of trust bundle {bundle} ({expected})")
        }
        ChainFaultKind::UnknownIssuer { issuer } => {
            format!("no trust bundle holds {issuer}, the topmost issuer of {leaf} ({sent} sent)")
        }
        ChainFaultKind::UnsupportedAlgorithm { algorithm } => {
            format!("{leaf} or an issuer of it uses {algorithm}, which is not accepted")
        }
        ChainFaultKind::Version1 => format!(
            "{} is X.509 version 1 or 2, without extensions",
            leaf_text(None, side)
        ),
        ChainFaultKind::WeakKey { key } => {
            format!("{leaf} or an issuer of it has a weak key ({key})")
        }
        ChainFaultKind::WeakSignature { algorithm } => {
            format!("{leaf} or an issuer of it has a weak signature ({algorithm})")
        }
        ChainFaultKind::WrongOrder => {
            format!("the first of {sent} certificates, {leaf}, is an issuer of a later one")
        }
    }
}

fn crl_sentence(issuer: &str, fault: &CrlFault, now: UnixTime) -> String {
    match fault {
        CrlFault::BadSignature => {
            format!("signature of the CRL of {issuer} does not verify with the issuer's key")
        }
        CrlFault::Expired { next_update } => format!(
            "CRL of {issuer} was due to be replaced {} ago (next_update {next_update}, now {now})",
            spoken(now.since(*next_update))
        ),
        CrlFault::Missing { subject } => {
            format!("no CRL of {issuer} covers the certificate of {subject}")
        }
        CrlFault::Unprocessed { why } => {
            format!("CRL of {issuer} cannot be relied on: {why}")
        }
        CrlFault::WrongIssuer => {
            format!("{issuer} may not sign CRLs: its keyUsage lacks cRLSign")
        }
    }
}

fn ocsp_sentence(subject: &str, fault: &OcspFault, now: UnixTime) -> String {
    match fault {
        OcspFault::Invalid { why } => format!(
            "no OCSP answer about the certificate of {subject} that can be relied on: {why}"
        ),
        OcspFault::Stale { ended, why } => format!(
            "OCSP answer about the certificate of {subject} ended {} ago (until {ended}, now {now}), and there is no other: {why}",
            spoken(now.since(*ended))
        ),
        OcspFault::Unknown => {
            format!("the OCSP responder does not know the certificate of {subject}")
        }
        OcspFault::Unreachable { why } => {
            format!("no OCSP answer about the certificate of {subject}: {why}")
        }
    }
}

/// `certificate of NAME`: what policy and logs would call its holder, had it been accepted.
fn leaf_text(leaf: Option<&Certificate>, side: Purpose) -> String {
    let order = [
        NameKind::Spiffe,
        NameKind::Dns,
        NameKind::Email,
        NameKind::Cn,
        NameKind::Dn,
    ];
    let name = leaf.and_then(|leaf| {
        order
            .into_iter()
            .find_map(|kind| leaf.names().iter().find(|name| name.kind() == kind))
    });
    match name {
        Some(name) => format!("certificate of {}", name.bare()),
        None => format!("certificate of the {}", side_text(side)),
    }
}

pub(super) fn names_text(leaf: Option<&Certificate>) -> String {
    let names: Vec<_> = leaf
        .map_or(&[][..], Certificate::subject_alt_names)
        .iter()
        .map(TypedName::to_string)
        .collect();
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}

fn side_text(side: Purpose) -> &'static str {
    match side {
        Purpose::ClientAuth => "client",
        Purpose::ServerAuth => "server",
    }
}

fn purpose_text(side: Purpose) -> &'static str {
    match side {
        Purpose::ClientAuth => "clientAuth",
        Purpose::ServerAuth => "serverAuth",
    }
}
