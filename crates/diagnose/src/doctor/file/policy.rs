//! Whether the server's policy, as far as it was told, lets the client in.

use countersign_pki::certificate::Certificate;
use countersign_pki::chain::Purpose;
use countersign_pki::dn::DistinguishedName;
use countersign_pki::name::{NameKind, TypedName};

use super::{Judgement, Party};
use crate::cause::Cause;
use crate::doctor::Observations;
use crate::doctor::question::{Allowed, AllowedName};
use crate::finding::{Finding, RuledOut, Side};

pub(super) fn judge(observations: &Observations, parties: &[Party<'_>], judgement: &mut Judgement) {
    let allow = &observations.question.allow;
    let client = parties.iter().find(|it| it.purpose == Purpose::ClientAuth);
    let Some((client, leaf)) = client.and_then(|client| Some((client, client.leaf()?))) else {
        return;
    };
    let spiffe_ids: Vec<_> = leaf
        .names()
        .iter()
        .filter(|name| matches!(name, TypedName::Spiffe(_)))
        .map(TypedName::bare)
        .collect();
    if spiffe_ids.len() > 1 {
        let message = format!(
            "the client's certificate {} holds {} SPIFFE IDs where one is allowed: {}",
            client.file.path,
            spiffe_ids.len(),
            spiffe_ids.join(", ")
        );
        let finding = Finding::fault(Cause::IdentityAmbiguous, Side::Ca, message);
        judgement.find(finding.with("ids", spiffe_ids.join(", ")));
        return;
    }
    if allow.is_empty() {
        return;
    }
    if let Some(allowed) = allow.iter().find(|allowed| is_met(allowed, leaf)) {
        let because = format!("the policy allows {}, which the client is", allowed.written);
        judgement.rule_out(RuledOut::new(Cause::IdentityNotAllowed, because));
        return;
    }
    judgement.find(refused(client, leaf, allow));
}

fn is_met(allowed: &Allowed, leaf: &Certificate) -> bool {
    match &allowed.meaning {
        AllowedName::Typed(TypedName::Dn(_)) => is_written_as_compared(&allowed.written, leaf),
        AllowedName::Typed(TypedName::Dns(pattern)) => leaf.names().iter().any(
            |name| matches!(name, TypedName::Dns(name) if pattern == name || pattern.covers(name)),
        ),
        AllowedName::Typed(name) => leaf.names().contains(name),
        AllowedName::Bare(word) => {
            NameKind::ALL
                .iter()
                .filter_map(|&kind| TypedName::parse_as(kind, word).ok())
                .any(|name| leaf.names().contains(&name))
                || is_spiffe_pattern_met(word, leaf)
        }
    }
}

/// `spiffe://example.com/ns/*/api`, `…/**`: one segment, or all that follow.
fn is_spiffe_pattern_met(pattern: &str, leaf: &Certificate) -> bool {
    let Some(pattern) = pattern.strip_prefix("spiffe://") else {
        return false;
    };
    leaf.names().iter().any(|name| {
        let TypedName::Spiffe(id) = name else {
            return false;
        };
        let id = id.to_string();
        let mut segments = id.trim_start_matches("spiffe://").split('/');
        let mut wanted = pattern.split('/');
        loop {
            match (wanted.next(), segments.next()) {
                (Some("**"), Some(_)) | (None, None) => return true,
                (Some("*"), Some(_)) => {}
                (Some(one), Some(other)) if one == other => {}
                _ => return false,
            }
        }
    })
}

/// RFC 4514, as the certificate has it: what servers compare today.
fn is_written_as_compared(written: &str, leaf: &Certificate) -> bool {
    let text = written.strip_prefix("dn:").unwrap_or(written).trim();
    let is_slashed = text.starts_with('/');
    DistinguishedName::parse(text).is_ok_and(|name| !is_slashed && name == *leaf.subject())
}

fn refused(client: &Party<'_>, leaf: &Certificate, allow: &[Allowed]) -> Finding {
    let names: Vec<_> = leaf
        .names()
        .iter()
        .filter(|name| !matches!(name.kind(), NameKind::Spki | NameKind::SerialIssuer))
        .map(TypedName::to_string)
        .collect();
    let written: Vec<_> = allow.iter().map(|it| it.written.as_str()).collect();
    let (names, written) = (names.join(", "), written.join(", "));
    let facts = |finding: Finding| {
        finding
            .with("names", &names)
            .with("allowed", &written)
            .with("file", &client.file.path)
    };
    let same_dn = allow
        .iter()
        .find(|it| is_same_name(&it.written, leaf.subject()));
    if let Some(rule) = same_dn {
        let message = format!(
            "the rule {} is the client's subject in another order or notation: servers compare {}",
            rule.written,
            leaf.subject()
        );
        return facts(Finding::fault(
            Cause::DnFormatMismatch,
            Side::Policy,
            message,
        ))
        .with("subject", leaf.subject())
        .with_fix(format!("write {}", leaf.subject()));
    }
    let domain = leaf.names().iter().find_map(|name| match name {
        TypedName::Spiffe(id) => Some(id),
        _ => None,
    });
    let mut wanted = allow.iter().filter_map(|it| {
        let rest = it.written.strip_prefix("spiffe://")?;
        rest.split('/').next()
    });
    if let Some(id) = domain
        && let Some(first) = wanted.next()
        && first != id.trust_domain().as_str()
        && wanted.all(|other| other != id.trust_domain().as_str())
    {
        let message = format!(
            "the client is {id}, and the policy allows identities of the trust domain {first}"
        );
        return facts(Finding::fault(
            Cause::TrustDomainMismatch,
            Side::Policy,
            message,
        ))
        .with("trust_domain", id.trust_domain())
        .with("expected", first);
    }
    let message = format!("the policy allows {written}, and the client is {names}");
    facts(Finding::fault(
        Cause::IdentityNotAllowed,
        Side::Policy,
        message,
    ))
}

/// The same RDNs, whatever the order, the notation and the case.
fn is_same_name(written: &str, subject: &DistinguishedName) -> bool {
    let text = written.strip_prefix("dn:").unwrap_or(written).trim();
    let folded = |name: &DistinguishedName| {
        let mut all: Vec<_> = name
            .attributes()
            .iter()
            .map(|it| (it.kind(), it.value().to_lowercase()))
            .collect();
        all.sort();
        all
    };
    DistinguishedName::parse(&with_standard_types(text))
        .is_ok_and(|name| folded(&name) == folded(subject))
}

/// As other products abbreviate attribute types: Windows and .NET `S=`, many `E=`.
fn with_standard_types(text: &str) -> String {
    let separator = if text.starts_with('/') { '/' } else { ',' };
    let parts = text.split(separator).map(|part| {
        let (kind, value) = part.split_once('=')?;
        let standard = match &*kind.trim().to_ascii_uppercase() {
            "S" | "SP" => "ST",
            "E" | "EMAIL" => "emailAddress",
            "SERIALNUMBER" => "serialNumber",
            "USERID" => "UID",
            _ => return None,
        };
        Some(format!("{standard}={}", value.trim()))
    });
    let parts: Vec<String> = parts
        .zip(text.split(separator))
        .map(|(standard, part)| standard.unwrap_or_else(|| part.to_owned()))
        .collect();
    parts.join(&separator.to_string())
}
