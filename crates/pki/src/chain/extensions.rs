//! What extensions may not say, on whichever path: rules of RFC 5280 that webpki leaves out, where a certificate that breaks
//! one means different things to different verifiers. What merely lacks an extension is `strict`'s.

use super::fault::ChainFaultKind;
use super::judge::{Case, SignedPath};
use super::outline::NameConstraints;

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
    check_constraints(anchor.terms().name_constraints, || anchor.subject())
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
