//! What RFC 5280 wants of every conforming CA and many a private CA leaves out. No everyday verifier can insist on it:
//! `openssl x509 -req` alone writes no key identifiers, easy-rsa no critical basicConstraints.

use super::fault::ChainFaultKind;
use super::judge::{Case, SignedPath};
use super::outline::Outline;
use crate::name::TypedName;

/// The first thing missing, from the leaf upwards.
pub(super) fn check(case: &Case<'_>, path: SignedPath<'_, '_>) -> Result<(), ChainFaultKind> {
    let anchor = Outline::parse(path.anchor.certificate().der()).map_err(|malformed| {
        ChainFaultKind::Malformed {
            why: malformed.0.clone(),
        }
    })?;
    let mut certificates = path.certificates.to_vec();
    certificates.push(&anchor);
    for (at, certificate) in certificates.iter().enumerate() {
        let subject = || case.called(certificate);
        let lacking = |why| {
            Err(ChainFaultKind::NotStrict {
                subject: subject(),
                why,
            })
        };
        let issuer = certificates.get(at + 1).copied();
        if at > 0 {
            // RFC 5280 §4.2.1.2, §4.2.1.3, §4.2.1.9, §4.2.1.10.
            if certificate.subject_key_id.is_none() {
                return lacking("is a CA without subjectKeyIdentifier");
            }
            if certificate.terms.key_usage.is_none() {
                return lacking("is a CA without keyUsage");
            }
            if certificate.not_critical.basic_constraints {
                return lacking("has basicConstraints that are not critical");
            }
            if certificate.not_critical.name_constraints {
                return lacking("has nameConstraints that are not critical");
            }
        }
        // RFC 5280 §4.2.1.1: a self-signed one may leave it out.
        let is_own_issuer = issuer.is_none() && certificate.is_self_issued();
        let issuer_key_id = match issuer {
            Some(issuer) => issuer.subject_key_id,
            None if is_own_issuer => certificate.subject_key_id,
            None => None,
        };
        match (certificate.authority_key_id, issuer_key_id) {
            (None, _) if !is_own_issuer => return lacking("lacks authorityKeyIdentifier"),
            (Some(quoted), Some(held)) if quoted != held => {
                return Err(ChainFaultKind::KeyIdMismatch { subject: subject() });
            }
            _ => {}
        }
    }
    // RFC 5280 §4.2.1.6: the preferred name syntax of RFC 1034 §3.5, which has no underscore.
    let has_underscore =
        |name: &TypedName| matches!(name, TypedName::Dns(name) if name.as_str().contains('_'));
    match case
        .leaf
        .subject_alt_names()
        .iter()
        .find(|name| has_underscore(name))
    {
        Some(name) => Err(ChainFaultKind::Malformed {
            why: format!("{name} holds an underscore"),
        }),
        None => Ok(()),
    }
}
