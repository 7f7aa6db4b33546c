//! Whether the CRLs of the bundle that vouches say that a certificate of the path is revoked (RFC 5280 §6.3.3). They were
//! found good when they were loaded; here their entries are looked up, and their age.
//!
//! The leaf has to be covered. An intermediate has to where its issuer publishes a list at all: roots seldom do.

use super::fault::{ChainFaultKind, CrlFault};
use super::judge::name_text;
use super::outline::Outline;
use crate::crl::CrlScope;
use crate::identity::{PathElement, VerifiedPeer};
use crate::revocation::{BundleLists, Listed, RevocationIndex, RevocationMode, RevocationStatus};
use crate::time::UnixTime;

/// Judges a path, leaf first. Of a certificate that its lists cover in any case nothing is read. `called`: how a certificate is named in faults.
pub(super) fn check<'c, R: Fn() -> Result<Outline<'c>, ChainFaultKind>>(
    lists: &BundleLists,
    path: impl Iterator<Item = (PathElement, R)>,
    now: UnixTime,
    called: impl Fn(&Outline<'c>) -> String,
) -> Result<RevocationStatus, ChainFaultKind> {
    let mut status = RevocationStatus::Checked;
    for (at, (element, read)) in path.enumerate() {
        let PathElement {
            issuer_key, serial, ..
        } = element;
        let certificate = if lists.cover_all(&issuer_key) {
            None
        } else {
            Some(read()?)
        };
        let covers = |scope: &CrlScope| match &certificate {
            Some(certificate) => scope.covers_one(certificate.terms.is_ca, &certificate.crl_uris()),
            None => scope.is_everything(),
        };
        let unusable = |certificate: Outline<'_>, fault| ChainFaultKind::CrlUnusable {
            issuer: name_text(certificate.issuer),
            fault,
        };
        let found = match lists.find(&issuer_key, serial, covers) {
            Listed::Revoked(revocation) => {
                return Err(ChainFaultKind::Revoked {
                    subject: called(&read()?),
                    serial,
                    issuer_key,
                    revoked_at: revocation.revoked_at,
                    reason: revocation.reason,
                });
            }
            Listed::CoveredUntil(end) if now <= end => RevocationStatus::Checked,
            Listed::CoveredUntil(end) => match lists.mode() {
                RevocationMode::DangerousSoft => RevocationStatus::NotChecked,
                RevocationMode::Grace(grace) if now <= end.plus(grace) => RevocationStatus::InGrace,
                RevocationMode::Grace(_) | RevocationMode::Hard => {
                    return Err(unusable(read()?, CrlFault::Expired { next_update: end }));
                }
            },
            Listed::Uncovered if at > 0 && !lists.has_list_of(&issuer_key) => {
                RevocationStatus::Checked
            }
            Listed::Uncovered => match lists.mode() {
                RevocationMode::DangerousSoft => RevocationStatus::NotChecked,
                RevocationMode::Grace(_) | RevocationMode::Hard => {
                    let certificate = read()?;
                    let subject = called(&certificate);
                    return Err(unusable(certificate, CrlFault::Missing { subject }));
                }
            },
        };
        status = status.max(found);
    }
    Ok(status)
}

/// What revocation says now of a peer that was verified before: the feed's and that of its bundle's CRLs.
pub fn revocation_of(
    peer: &VerifiedPeer,
    revocations: &RevocationIndex,
    now: UnixTime,
) -> Result<RevocationStatus, ChainFaultKind> {
    for (element, der) in peer.path().iter().zip(peer.chain()) {
        if let Some(revocation) = revocations.find(&element.issuer_key, element.serial) {
            return Err(ChainFaultKind::Revoked {
                subject: Outline::parse(der).map_or_else(
                    |_| peer.subject().to_string(),
                    |certificate| name_text(certificate.subject),
                ),
                serial: element.serial,
                issuer_key: element.issuer_key,
                revoked_at: revocation.revoked_at,
                reason: revocation.reason,
            });
        }
    }
    let Some(lists) = revocations.lists_of(peer.bundle()) else {
        return Ok(RevocationStatus::Checked);
    };
    let path = peer.path().iter().zip(peer.chain()).map(|(element, der)| {
        // It was read before it was verified.
        let read = || {
            Outline::parse(der).map_err(|malformed| ChainFaultKind::Malformed { why: malformed.0 })
        };
        (*element, read)
    });
    check(lists, path, now, |certificate| {
        name_text(certificate.subject)
    })
}
