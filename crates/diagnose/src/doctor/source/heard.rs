//! What a list or an answer says of one certificate.

use std::time::Duration;

use countersign_pki::certificate::Certificate;
use countersign_pki::crl::ParsedCrl;
use countersign_pki::material::Material;
use countersign_pki::ocsp::{AnswerRules, OcspQuestion, OcspRefused, OcspStatus};
use countersign_pki::revocation::Revocation;
use countersign_pki::time::{UnixTime, spoken};

use super::{Outcome, SourceSeen};
use crate::cause::Cause;

/// What follows for a certificate.
pub(in crate::doctor) enum Heard {
    /// It is not revoked; what says so.
    Good(String),
    /// Nothing follows: why, and what it says.
    Nothing(Cause, String),
    /// It is revoked.
    Revoked(Revocation),
    /// Nobody asked.
    Unasked,
}

impl Heard {
    /// What is published at a place.
    pub(super) fn of_list(
        seen: &SourceSeen,
        certificate: &Certificate,
        issuer: &Certificate,
        now: UnixTime,
    ) -> Self {
        let url = &seen.source.url;
        match &seen.outcome {
            Outcome::NotAsked(_) => Self::Unasked,
            Outcome::Unreachable(why) => Self::Nothing(
                Cause::CrlMissing,
                format!(
                    "the CRL of {} cannot be fetched from {url}: {why}",
                    issuer.subject()
                ),
            ),
            Outcome::Answered(bytes) => list(url, bytes, certificate, issuer, now),
        }
    }

    /// What a responder answers.
    pub(super) fn of_responder(seen: &SourceSeen, now: UnixTime) -> Self {
        let url = &seen.source.url;
        match &seen.outcome {
            Outcome::NotAsked(_) => Self::Unasked,
            Outcome::Unreachable(why) => Self::Nothing(
                Cause::OcspUnreachable,
                format!("the OCSP responder {url} gives no answer: {why}"),
            ),
            Outcome::Answered(bytes) => {
                let question = seen.source.question(seen.nonce);
                let answer = AnswerHeard {
                    question,
                    what: format!("the OCSP responder {url}"),
                };
                answer.judge(bytes, seen.source.certificate(), now)
            }
        }
    }
}

/// An answer that came from somewhere.
pub(in crate::doctor) struct AnswerHeard {
    /// What it has to answer.
    pub(in crate::doctor) question: OcspQuestion,
    /// Who gave it, in a sentence.
    pub(in crate::doctor) what: String,
}

impl AnswerHeard {
    pub(in crate::doctor) fn judge(
        &self,
        answer: &[u8],
        certificate: &Certificate,
        now: UnixTime,
    ) -> Heard {
        let rules = AnswerRules {
            signers: &[],
            max_age: LONGEST,
        };
        let what = &self.what;
        let subject = certificate.subject();
        // Whether the responder's own certificate is revoked is not known here, and hardly ever is.
        let judged = self.question.judge(answer, &rules, |_| false, now);
        match judged {
            Ok(answer) => match answer.status {
                OcspStatus::Good => Heard::Good(format!(
                    "{what} says that the certificate of {subject} is good (this_update {})",
                    answer.this_update
                )),
                OcspStatus::Revoked(revocation) => Heard::Revoked(revocation),
                OcspStatus::Unknown => Heard::Nothing(
                    Cause::OcspUnknown,
                    format!(
                        "{what} does not know the certificate of {subject} (serial {})",
                        certificate.serial()
                    ),
                ),
            },
            Err(OcspRefused::Stale { end, .. }) => Heard::Nothing(
                Cause::OcspStale,
                format!(
                    "{what} gives an answer about {subject} that ended {} ago (next_update {end}, now {now})",
                    spoken(now.since(end))
                ),
            ),
            Err(refused) => Heard::Nothing(
                Cause::OcspAnswerInvalid,
                format!("{what} gives no answer about {subject} that can be relied on: {refused}"),
            ),
        }
    }
}

fn list(
    url: &str,
    bytes: &[u8],
    certificate: &Certificate,
    issuer: &Certificate,
    now: UnixTime,
) -> Heard {
    let nothing = |cause: Cause, what: String| {
        Heard::Nothing(
            cause,
            format!("the CRL of {} at {url} {what}", issuer.subject()),
        )
    };
    // Who publishes PEM is not understood by everybody, and still is read here.
    let material = Material::read(bytes, &[]);
    let list = match material.lists.first().map(|piece| &piece.list) {
        Some(Ok(list)) => list,
        Some(Err(why)) => return nothing(Cause::CrlUnprocessed, format!("cannot be read: {why}")),
        None => {
            return nothing(
                Cause::CrlUnprocessed,
                format!("is none: {}", material.container.as_str()),
            );
        }
    };
    if list.issuer() != issuer.subject() {
        return nothing(Cause::CrlWrongIssuer, format!("is of {}", list.issuer()));
    }
    if let Err(why) = list.verify(issuer) {
        return nothing(
            unverified(list, issuer),
            format!("is of no use: {}", why.why),
        );
    }
    let entry = list
        .entries()
        .iter()
        .find(|entry| entry.serial == certificate.serial());
    if let Some(entry) = entry {
        return Heard::Revoked(Revocation {
            revoked_at: entry.revoked_at,
            reason: entry.reason,
        });
    }
    if now < list.this_update() {
        let begins = list.this_update();
        return nothing(
            Cause::CrlUnprocessed,
            format!("begins only {begins} (this_update), now it is {now}"),
        );
    }
    match list.next_update() {
        Some(end) if end < now => nothing(
            Cause::CrlExpired,
            format!(
                "was due to be replaced {} ago (next_update {end}, now {now})",
                spoken(now.since(end))
            ),
        ),
        _ if !list.scope().is_some_and(|scope| scope.covers(certificate)) => nothing(
            Cause::CrlMissing,
            format!(
                "is for other certificates than that of {} (issuingDistributionPoint)",
                certificate.subject()
            ),
        ),
        _ => Heard::Good(format!(
            "the CRL of {} at {url} does not list {}",
            issuer.subject(),
            certificate.subject()
        )),
    }
}

fn unverified(list: &ParsedCrl, issuer: &Certificate) -> Cause {
    let is_another_key = list.authority_key_id().is_some()
        && issuer.subject_key_id().is_some()
        && list.authority_key_id() != issuer.subject_key_id();
    let may_not = issuer.key_usage().is_some_and(|usage| !usage.crl_sign);
    if !list.unknown_critical_extensions().is_empty() {
        Cause::CrlUnprocessed
    } else if is_another_key || may_not {
        Cause::CrlWrongIssuer
    } else {
        Cause::CrlBadSignature
    }
}

/// An answer's own nextUpdate bounds it; one without any is as new as its thisUpdate, and the doctor has no opinion of how old that may be.
const LONGEST: Duration = Duration::from_hours(400 * 24);
