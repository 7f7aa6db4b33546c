//! The OCSP answer that comes with the server's certificate (RFC 6066 §8), and the one that should (RFC 7633).

use countersign_pki::certificate::Certificate;
use countersign_pki::ocsp::OcspQuestion;

use super::judging::{Case, Verdict};
use super::served::served_path;
use super::{Attempt, Speech, TargetSeen};
use crate::cause::Cause;
use crate::doctor::source::{AnswerHeard, Heard};
use crate::finding::{Finding, Side};

/// What clients that look at it would find: an answer that says no, or that is over, is a fault of the server's, although most clients
/// look at none; what cannot be judged is a risk.
pub(super) fn judge(case: &Case<'_>, out: &mut Verdict) {
    let path = served_path(case.seen, case.known);
    let Some(leaf) = path.first() else { return };
    let alike: Vec<&Attempt> = case
        .attempts(Speech::Tls)
        .filter(|attempt| is_shown(attempt, leaf))
        .collect();
    // A server that fetches its answer when it is first asked has none for the first who come.
    let stapled = alike.iter().rev().find_map(|attempt| attempt.ocsp.as_ref());
    match (stapled, path.get(1)) {
        (Some(answer), Some(issuer)) => {
            let heard = AnswerHeard {
                question: OcspQuestion::of_another(issuer.clone(), leaf.serial()),
                what: format!("the OCSP answer that {} staples", case.seen.target),
            };
            told(case, leaf, heard.judge(&answer.0, leaf, case.now), out);
        }
        (None, _) if leaf.must_staple() && alike.iter().any(|it| it.finished) => {
            out.find(missing(case, leaf, alike.len()));
        }
        _ => {}
    }
}

/// Whether an OCSP answer came with this certificate, whatever it says.
pub(in crate::doctor) fn is_stapled(seen: &TargetSeen, leaf: &Certificate) -> bool {
    let mut attempts = seen.attempts.iter();
    attempts.any(|attempt| is_shown(attempt, leaf) && attempt.ocsp.is_some())
}

fn is_shown(attempt: &Attempt, leaf: &Certificate) -> bool {
    attempt.trial.resumes.is_none()
        && attempt
            .chain
            .first()
            .is_some_and(|shown| shown.0 == leaf.der().as_ref())
}

fn told(case: &Case<'_>, leaf: &Certificate, heard: Heard, out: &mut Verdict) {
    let look = format!("{} -status </dev/null", case.s_client());
    let about = |finding: Finding| {
        finding
            .with("subject", leaf.subject())
            .with("serial", leaf.serial())
            .with("now", case.now)
            .with_fix(look.clone())
    };
    match heard {
        Heard::Good(because) => out.rule_out(Cause::OcspStale, because),
        Heard::Nothing(slug, message) => {
            let message = if leaf.must_staple() {
                format!(
                    "{message}; the certificate demands a good one (must-staple), and clients that heed this refuse it"
                )
            } else {
                message
            };
            let finding = about(Finding::fault(slug, Side::Server, message));
            let is_said = matches!(slug, Cause::OcspStale | Cause::OcspUnknown);
            out.find(if is_said { finding } else { finding.risk() });
        }
        Heard::Revoked(revocation) => {
            let message = format!(
                "the OCSP answer that {} staples says that its own certificate of {} (serial {}) is revoked since {} ({})",
                case.seen.target,
                leaf.subject(),
                leaf.serial(),
                revocation.revoked_at,
                revocation.reason.as_str()
            );
            out.find(
                about(Finding::fault(
                    Cause::CertificateRevoked,
                    Side::Server,
                    message,
                ))
                .with("revoked_at", revocation.revoked_at)
                .with("reason", revocation.reason.as_str()),
            );
        }
        Heard::Unasked => {}
    }
}

fn missing(case: &Case<'_>, leaf: &Certificate, connections: usize) -> Finding {
    let message = format!(
        "the certificate of {} demands that an OCSP answer comes with it (must-staple), and {} sent none on {connections} connections: GnuTLS and Firefox refuse that, OpenSSL, Java and Go do not look",
        leaf.subject(),
        case.seen.target
    );
    Finding::fault(Cause::OcspStapleMissing, Side::Server, message)
        .risk()
        .with("subject", leaf.subject())
        .with("connections", connections)
        .with_fix("nginx: ssl_stapling on with ssl_trusted_certificate and resolver; Apache: SSLUseStapling on with SSLStaplingCache; HAProxy: the answer as CRT.ocsp")
        .with_fix(format!("{} -status </dev/null", case.s_client()))
}
