//! The OCSP answer that a server sends along with its certificate.

use std::time::Duration;

use countersign_pki::certificate::Certificate;
use countersign_pki::ocsp::{
    AnswerRules, OcspQuestion, OcspRefused, OcspStatus, QUESTION_NONCE_OCTETS,
};

use super::judging::Case;
use super::known::{is_issued_by, parsed};
use super::{Attempt, Der};
use crate::cause::Cause;
use crate::finding::{Finding, Side};

/// What it says against the certificate; `None`: nothing, or nothing that can be relied on.
pub(super) fn judge(case: &Case<'_>, attempt: &Attempt) -> Option<Finding> {
    let answer = attempt.ocsp.as_ref()?;
    let leaf = Certificate::parse_anchor(&attempt.chain.first()?.0).ok()?;
    let above: Vec<Vec<u8>> = attempt.chain.iter().skip(1).map(Der::bytes).collect();
    let issuer = parsed(&above)
        .into_iter()
        .chain(parsed(&case.known.anchors))
        .find(|issuer| is_issued_by(&leaf, issuer))?;
    // It was made for everybody, so that there is no nonce in it.
    let question = OcspQuestion::new(issuer, leaf.serial(), [0; QUESTION_NONCE_OCTETS]);
    let rules = AnswerRules {
        signers: &[],
        max_age: ANY_AGE,
    };
    let target = &case.seen.target;
    let (cause, what) = match question.judge(&answer.0, &rules, |_| false, case.now) {
        Ok(answer) => match answer.status {
            OcspStatus::Good => return None,
            OcspStatus::Revoked(revocation) => (
                Cause::CertificateRevoked,
                format!("its certificate is revoked since {}", revocation.revoked_at),
            ),
            OcspStatus::Unknown => (
                Cause::OcspUnknown,
                "the responder does not know its certificate".to_owned(),
            ),
        },
        Err(stale @ OcspRefused::Stale { .. }) => (Cause::OcspStale, stale.to_string()),
        Err(_) => return None,
    };
    let side = if cause == Cause::CertificateRevoked {
        Side::Ca
    } else {
        Side::Server
    };
    let finding = Finding::fault(
        cause,
        side,
        format!("{target} sends an OCSP answer along with its certificate: {what}"),
    )
    .with("serial", leaf.serial())
    .with("subject", leaf.subject())
    .with_fix(format!("{} -status </dev/null", case.s_client()))
    .with_fix("nginx: ssl_stapling_file, or ssl_stapling on with a resolver, then reload; Apache: SSLStaplingReturnResponderErrors off");
    Some(finding)
}

/// How long one without an end is good is its readers' affair.
const ANY_AGE: Duration = Duration::from_hours(10 * 365 * 24);
