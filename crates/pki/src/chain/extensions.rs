//! What extensions may not say, on whichever path: rules of RFC 5280 that webpki leaves out, where a certificate that breaks
//! one means different things to different verifiers. What merely lacks an extension is `strict`'s.

use super::constraints;
use super::fault::ChainFaultKind;
use super::judge::{Case, SignedPath};
use super::outline::{NameConstraints, Outline, Terms};
use crate::certificate::Certificate;

/// What every chain through this CA would be refused for, whatever stands below it.
pub fn flaw_of_issuer(certificate: &Certificate) -> Option<String> {
    if let [oid, ..] = &certificate.unknown_critical_extensions()[..] {
        return Some(format!(
            "has the critical extension {oid}, which is not understood"
        ));
    }
    let outline = match Outline::parse(certificate.der()) {
        Ok(outline) => outline,
        Err(malformed) => return Some(format!("cannot be read: {}", malformed.0)),
    };
    if outline.not_critical.policy_constraints {
        return Some("has policyConstraints that are not critical".to_owned());
    }
    match outline.terms.name_constraints {
        NameConstraints::Ambiguous => Some(
            "has nameConstraints on DNS names with a leading period, which verifiers read differently"
                .to_owned(),
        ),
        NameConstraints::Empty => Some("has nameConstraints without a subtree".to_owned()),
        NameConstraints::Sound => None,
    }
}

/// The first thing wrong.
pub(super) fn check(case: &Case<'_>, path: SignedPath<'_, '_>) -> Result<(), ChainFaultKind> {
    for (at, certificate) in path.certificates.iter().enumerate() {
        let subject = || case.called(certificate);
        let malformed = |why: &str| {
            let why = format!("{} {why}", subject());
            Err(ChainFaultKind::Malformed { why })
        };
        // RFC 5280 §4.2.1.11: critical. A critical one is refused as well: policies are not processed here.
        if certificate.not_critical.policy_constraints {
            return malformed("has policyConstraints that are not critical");
        }
        if at > 0 {
            check_constraints(certificate.terms.name_constraints, subject)?;
            check_email(&certificate.terms, &path.certificates[..at], subject)?;
        } else if certificate.name_constraints.is_some() {
            // RFC 5280 §4.2.1.10.
            return malformed("has nameConstraints, which only a CA may have");
        }
    }
    // RFC 5280 §4.2.1.6: else a verifier that skips subjectAltName would take the certificate for nobody's.
    if case.leaf.subject().is_empty() && case.leaf.has_alt_names() && !case.leaf.san_critical() {
        return Err(ChainFaultKind::Malformed {
            why: "its subject is empty and its subjectAltName is not critical".to_owned(),
        });
    }
    let anchor = path.anchor;
    check_constraints(anchor.terms().name_constraints, || anchor.subject())?;
    check_email(anchor.terms(), path.certificates, || anchor.subject())
}

/// RFC 5280 §4.2.1.10: constraints on rfc822Name hold for an e-mail address in the subject too. It is compared with none, so
/// it is refused, as webpki refuses one in subjectAltName then.
fn check_email(
    terms: &Terms,
    below: &[&Outline<'_>],
    subject: impl Fn() -> String,
) -> Result<(), ChainFaultKind> {
    let mut below = below.iter();
    if terms.constrains_email && below.any(|it| constraints::has_email(it.subject)) {
        return Err(ChainFaultKind::NameConstraintsUnsupported { subject: subject() });
    }
    Ok(())
}

fn check_constraints(
    constraints: NameConstraints,
    subject: impl Fn() -> String,
) -> Result<(), ChainFaultKind> {
    match constraints {
        NameConstraints::Sound => Ok(()),
        NameConstraints::Ambiguous => {
            Err(ChainFaultKind::NameConstraintsUnsupported { subject: subject() })
        }
        NameConstraints::Empty => Err(ChainFaultKind::Malformed {
            why: format!("{} has nameConstraints without any subtree", subject()),
        }),
    }
}
