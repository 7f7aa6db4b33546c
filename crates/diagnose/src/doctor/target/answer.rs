//! What HTTP says once TLS has let the client in: rights, names, and certificates that are asked for too late.

use super::admission::{Outcome, is_bare_401, is_named, is_post_handshake, outcome};
use super::judging::{Case, Verdict};
use super::refusal::behind_a_page;
use super::{Attempt, HttpAnswer, Shown, Speech};
use crate::cause::Cause;
use crate::finding::{Finding, Side};

pub(super) fn judge(case: &Case<'_>, out: &mut Verdict) {
    let Some(none) = case.speaking() else {
        return;
    };
    let attempt = case.shown(Shown::Own).unwrap_or(none);
    if [Some(none), Some(attempt)]
        .into_iter()
        .flatten()
        .any(|attempt| is_post_handshake(case, attempt))
    {
        out.find(post_handshake(case, attempt));
        return;
    }
    let Some(http) = &attempt.http else {
        return;
    };
    if http.status == 421 {
        out.find(misdirected(case, attempt, http));
    }
    let is_identified = attempt.sent_certificate
        && attempt.asked.is_some()
        && attempt.trial.certificate == Shown::Own;
    if is_identified && http.status == 403 {
        let finding = forbidden(case, attempt, http);
        // A page that nobody named, and that is forbidden as many a start page is, says nothing of the identity.
        let is_of_the_path = finding.cause == Cause::RequestNotAllowed;
        out.find(if is_of_the_path && !is_named(attempt) {
            finding.note()
        } else {
            finding
        });
    }
    // A certificate that has a flaw is told in `admission`.
    if is_identified && is_bare_401(attempt) && behind_a_page(case, attempt).is_none() {
        let finding = forbidden(case, attempt, http);
        let is_of_the_path = finding.cause == Cause::RequestNotAllowed;
        out.find(if is_of_the_path && !is_named(attempt) {
            finding.note()
        } else {
            finding.risk()
        });
    }
}

fn post_handshake(case: &Case<'_>, attempt: &Attempt) -> Finding {
    let path = attempt
        .trial
        .request
        .as_ref()
        .map_or("/", |request| request.path.as_str());
    let said = attempt.http.as_ref().map_or_else(
        || "ends the connection".to_owned(),
        |http| format!("answers {} {}", http.status, http.reason),
    );
    Finding::fault(
        Cause::PostHandshakeAuthUnavailable,
        Side::Server,
        format!(
            "{} asks for no certificate in the handshake and {said} to {path}: it wants one for that path alone, behind the handshake",
            case.seen.target
        ),
    )
    .with("path", path)
    .with("answer", said)
    .with_fix("Apache: move SSLVerifyClient require out of <Location> or <Directory> into the virtual host")
    .with_fix("curl sends one after the handshake only over HTTP/1.1 and with an OpenSSL that has SSL_VERIFY_POST_HANDSHAKE set")
}

fn misdirected(case: &Case<'_>, attempt: &Attempt, http: &HttpAnswer) -> Finding {
    let host = attempt
        .trial
        .request
        .as_ref()
        .map_or("", |request| request.host.as_str());
    let sni = attempt.trial.sni.as_deref().unwrap_or("none");
    Finding::fault(
        Cause::SniHostMismatch,
        Side::Client,
        format!(
            "{} answers {} {}: the connection was made for {sni}, the request is for {host}",
            case.seen.target, http.status, http.reason
        ),
    )
    .with("sni", sni)
    .with("host", host)
    .with_fix(format!(
        "openssl s_client -connect {} -servername {host}",
        case.seen.target
    ))
}

fn forbidden(case: &Case<'_>, attempt: &Attempt, http: &HttpAnswer) -> Finding {
    let path = attempt
        .trial
        .request
        .as_ref()
        .map_or("/", |request| request.path.as_str());
    let elsewhere = case
        .attempts(Speech::Tls)
        .filter(|other| {
            other.trial.certificate == Shown::Own && other.trial.request != attempt.trial.request
        })
        .find(|other| other.http.is_some() && outcome(other) == Outcome::Admitted);
    let slug = if elsewhere.is_some() {
        Cause::RequestNotAllowed
    } else {
        Cause::IdentityNotAllowed
    };
    let who = countersign_pki::certificate::Certificate::parse_anchor(
        case.known
            .client_chain
            .first()
            .map_or(&[][..], Vec::as_slice),
    )
    .map(|leaf| {
        let names: Vec<String> = leaf
            .names()
            .iter()
            .take(4)
            .map(ToString::to_string)
            .collect();
        names.join(", ")
    })
    .unwrap_or_default();
    let means = if http.status == 401 {
        "without a word of how to log in: it knows nobody by this certificate, or wants a token beside it, for"
    } else {
        "it does not allow"
    };
    let finding = Finding::fault(
        slug,
        Side::Policy,
        format!(
            "{} takes the client's certificate and answers {} {} to {path}: {means} {who}",
            case.seen.target, http.status, http.reason
        ),
    )
    .with("path", path)
    .with("status", http.status)
    .with("identity", who);
    match elsewhere.and_then(|other| other.trial.request.as_ref()) {
        Some(request) => finding.with("allowed_path", &request.path),
        None => finding,
    }
}
