//! Refusals behind a handshake that took the certificate: the server verified it, and left what to do to its pages.

use std::time::Duration;

use countersign_pki::time::UnixTime;

use super::super::admission::{Outcome, outcome};
use super::super::judging::Case;
use super::super::served::clock;
use super::super::{Attempt, Shown, Speech};
use super::Look;
use crate::cause::Cause;
use crate::finding::Finding;

/// What is wrong with the certificate that a page says no to; `None`: nothing, so that it is its holder's rights.
pub(in super::super) fn behind_a_page(case: &Case<'_>, own: &Attempt) -> Option<Finding> {
    let http = own
        .http
        .as_ref()
        .filter(|http| matches!(http.status, 401 | 403))?;
    // Whoever is to log in is told how.
    let is_login = http.status == 401 && http.challenge.is_some();
    if is_login || !own.sent_certificate || is_let_in_elsewhere(case, own) {
        return None;
    }
    let look = Look::at(case, own)?;
    if let Some(revoked) = look.lineage.revocation(case.known, case.now) {
        return Some(look.found(Cause::CertificateRevoked, &revoked));
    }
    if let Some(finding) = look.by_the_servers_anchors() {
        return Some(finding);
    }
    if let Some((_, finding)) = look.flaw() {
        return Some(finding);
    }
    look.stranger_to_the_list()
}

/// Whether the certificate has no flaw that shows here, and comes from where the server wants it from.
pub(in super::super) fn has_nothing_against_it(case: &Case<'_>, own: &Attempt) -> bool {
    Look::at(case, own).is_some_and(|look| {
        look.lineage.revocation(case.known, case.now).is_none()
            && look.by_the_servers_anchors().is_none()
            && look.flaw().is_none()
            && look.stranger_to_the_list().is_none()
    })
}

/// Another page is there for this client.
fn is_let_in_elsewhere(case: &Case<'_>, own: &Attempt) -> bool {
    case.attempts(Speech::Tls).any(|other| {
        other.trial.certificate == Shown::Own
            && other.trial.request != own.trial.request
            && other.http.is_some()
            && outcome(other) == Outcome::Admitted
    })
}

impl Look<'_, '_> {
    /// None of the CAs that the server names stands above the certificate.
    pub(super) fn stranger_to_the_list(&self) -> Option<Finding> {
        let asked = self.own.asked.as_ref()?;
        (!asked.ca_names.is_empty() && !self.lineage.is_named_by(asked))
            .then(|| self.not_named(asked))
    }

    /// By the clock of the server the certificate, or one above it, has ended or has not begun.
    pub(super) fn by_their_clock(&self) -> Option<Finding> {
        let now = self.case.now;
        let ahead = clock(self.case).filter(|ahead| ahead.unsigned_abs() > TOLERATED_S)?;
        let by = Duration::from_secs(ahead.unsigned_abs());
        let theirs = if ahead < 0 {
            now.minus(by)
        } else {
            now.plus(by)
        };
        let is_within = |at: UnixTime| {
            let mut path = self.lineage.path.iter();
            path.all(|it| it.not_before() <= at && at <= it.not_after())
        };
        (is_within(now) && !is_within(theirs)).then(|| {
            let leaf = self.lineage.leaf();
            self.found(
                Cause::ClockSkewLocal,
                &format!(
                    "its clock says {theirs}, this machine's {now}; the certificate is valid from {} to {}",
                    leaf.not_before(),
                    leaf.not_after()
                ),
            )
            .with("server_now", theirs)
        })
    }
}

/// Machines without NTP drift by minutes.
const TOLERATED_S: u64 = 300;
