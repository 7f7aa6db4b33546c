//! Whether CRLs say that a certificate of the path is revoked (RFC 5280 §6.3.3). Only who holds CRLs asks; the gateway looks
//! serials up in its index instead.
//!
//! Every CRL of an issuer in the path must be good: one that cannot be relied on stops the verification, whatever the
//! others say.

use super::Strictness;
use super::fault::{ChainFaultKind, CrlFault};
use super::judge::{Case, SignedPath, name_text};
use super::outline::Outline;
use crate::crl::{CrlScope, ParsedCrl};
use crate::fingerprint::Fingerprint;
use crate::serial::SerialNumber;
use crate::time::UnixTime;

/// The first certificate, from the leaf upwards, that is revoked or cannot be told not to be.
pub(super) fn check(case: &Case<'_>, path: SignedPath<'_, '_>) -> Result<(), ChainFaultKind> {
    if case.lists.is_empty() {
        return Ok(());
    }
    for (at, certificate) in path.certificates.iter().enumerate() {
        let issuer = Issuer::above(path, at);
        let unusable = |fault| ChainFaultKind::CrlUnusable {
            issuer: name_text(issuer.name),
            fault,
        };
        let mut is_covered = false;
        for list in case.lists.iter().filter(|list| issuer.may_have_made(list)) {
            let covers = issuer
                .reads(list, case.now)
                .map_err(unusable)?
                .covers_one(certificate.terms.is_ca, &certificate.crl_uris());
            is_covered |= covers;
            if covers {
                check_entries(case, list, certificate, &issuer)?;
            }
        }
        // Roots seldom publish a CRL: without one for it, an intermediate is refused only where all is asked for.
        let must_be_covered = at == 0 || case.rules.strictness == Strictness::Strict;
        if must_be_covered && !is_covered {
            return Err(unusable(CrlFault::Missing {
                subject: case.called(certificate),
            }));
        }
    }
    Ok(())
}

fn check_entries(
    case: &Case<'_>,
    list: &ParsedCrl,
    certificate: &Outline<'_>,
    issuer: &Issuer<'_>,
) -> Result<(), ChainFaultKind> {
    // The judge has refused what is no serial number.
    let Ok(serial) = SerialNumber::from_der_integer(certificate.serial) else {
        return Ok(());
    };
    match list.entries().iter().find(|entry| entry.serial == serial) {
        None => Ok(()),
        Some(entry) => Err(ChainFaultKind::Revoked {
            subject: case.called(certificate),
            serial,
            issuer_key: Fingerprint::of(issuer.spki),
            revoked_at: entry.revoked_at,
            reason: entry.reason,
        }),
    }
}

/// What is needed of an issuer, intermediate or anchor.
struct Issuer<'a> {
    /// The whole DER `Name`.
    name: &'a [u8],
    spki: &'a [u8],
    key_id: Option<&'a [u8]>,
    may_sign_lists: bool,
}

impl<'a> Issuer<'a> {
    fn above(path: SignedPath<'a, 'a>, at: usize) -> Self {
        if let Some(issuer) = path.certificates.get(at + 1) {
            return Self {
                name: issuer.subject,
                spki: issuer.spki,
                key_id: issuer.subject_key_id,
                may_sign_lists: issuer.terms.key_usage.is_none_or(|usage| usage.crl_sign),
            };
        }
        let anchor = path.anchor.certificate();
        Self {
            name: anchor.subject_der(),
            spki: anchor.spki_der(),
            key_id: anchor.subject_key_id(),
            may_sign_lists: anchor.key_usage().is_none_or(|usage| usage.crl_sign),
        }
    }

    /// A CRL of this name that quotes another key is another CA's, or this one's from before it changed its key; unless this
    /// key signed it after all, for then what it revokes is revoked, however the key is called.
    fn may_have_made(&self, list: &ParsedCrl) -> bool {
        let is_another_key = matches!(
            (list.authority_key_id(), self.key_id),
            (Some(quoted), Some(held)) if quoted != held
        );
        list.is_issued_by(self.name)
            && (!is_another_key || list.verify_signature(self.spki).is_ok())
    }

    /// What the list speaks of, once it is known that it may be relied on.
    fn reads<'l>(&self, list: &'l ParsedCrl, now: UnixTime) -> Result<&'l CrlScope, CrlFault> {
        // RFC 5280 §6.3.3 (f): keyUsage, where present, must allow it.
        if !self.may_sign_lists {
            return Err(CrlFault::WrongIssuer);
        }
        list.verify_signature(self.spki)
            .map_err(|_| CrlFault::BadSignature)?;
        let unprocessed = |why: String| Err(CrlFault::Unprocessed { why });
        // RFC 5280 §5.2.3: what tells a list from the one before it.
        if list.number().is_none() {
            return unprocessed("it has no cRLNumber".to_owned());
        }
        let unknown = list.unknown_critical_extensions().first();
        let (Some(scope), None) = (list.scope(), unknown) else {
            let oid = unknown.map_or(ISSUING_DISTRIBUTION_POINT, String::as_str);
            return unprocessed(format!(
                "it has the critical extension {oid}, which is not understood"
            ));
        };
        if now < list.this_update() {
            let begins = list.this_update();
            return unprocessed(format!("it begins later (this_update {begins}, now {now})"));
        }
        match list.next_update() {
            // RFC 5280 §5.1.2.5: nobody could tell when it is out of date.
            None => unprocessed("it has no nextUpdate".to_owned()),
            Some(next_update) if now > next_update => Err(CrlFault::Expired { next_update }),
            Some(_) => Ok(scope),
        }
    }
}

const ISSUING_DISTRIBUTION_POINT: &str = "2.5.29.28";
