//! Servers that do not ask for a certificate, or ask under another name.

use super::super::judging::{Case, Verdict};
use super::super::reach::end_text;
use super::super::{Attempt, End, Shown, Speech, Stage};
use super::{Outcome, is_post_handshake, of_http, outcome, says_certificate};
use crate::cause::Cause;
use crate::finding::{Finding, Side};

/// A server that should ask, and never does.
pub(super) fn not_requested(
    case: &Case<'_>,
    none: &Attempt,
    has_certificate: bool,
    out: &mut Verdict,
) {
    if !none.finished || (none.at < Stage::AfterFinished) {
        // It ended before it could ask.
        if let Some(finding) = ended(case, none) {
            out.find(finding);
        }
        return;
    }
    let wants_one = none.http.as_ref().is_some_and(|http| {
        of_http(http) == Outcome::Refused
            || (matches!(http.status, 401 | 403) && says_certificate(http))
    });
    // It answers for another host than was asked for, which `answer` tells.
    let is_misdirected = none.http.as_ref().is_some_and(|http| http.status == 421);
    if is_misdirected
        || is_post_handshake(case, none)
        || !(has_certificate || case.question.expect_enforced || wants_one)
    {
        return;
    }
    if let Some(finding) = asks_by_another_name(case, none) {
        out.find(finding);
        return;
    }
    let target = &case.seen.target;
    let said = none
        .http
        .as_ref()
        .map(|http| format!("{} {}", http.status, http.reason));
    let because = if wants_one {
        "the HTTP server behind it wants one, and what ends TLS never asks"
    } else {
        "a client's certificate is never sent"
    };
    let finding = Finding::fault(
        Cause::ClientCertNotRequested,
        Side::Server,
        format!("{target} does not ask for a client certificate in the handshake: {because}"),
    )
    .with("answer", said.unwrap_or_else(|| "none".to_owned()))
    .with_fix("nginx: ssl_verify_client on; ssl_client_certificate ca.pem; HAProxy: bind … ca-file ca.pem verify required; Envoy: require_client_certificate: true");
    out.find(finding.with_fix(format!(
        "{} </dev/null | grep -A9 'client certificate CA names'",
        case.s_client()
    )));
}

/// Under another name there is a virtual host that asks.
fn asks_by_another_name(case: &Case<'_>, none: &Attempt) -> Option<Finding> {
    let other = case
        .attempts(Speech::Tls)
        .find(|other| other.trial.sni != none.trial.sni && other.asked.is_some())?;
    Some(wrong_vhost(
        case,
        none,
        other,
        "asks for a client certificate",
    ))
}

/// Under another name the client's certificate is let in.
pub(super) fn admitted_by_another_name(case: &Case<'_>, own: &Attempt) -> Option<Finding> {
    let other = case.attempts(Speech::Tls).find(|other| {
        other.trial.sni != own.trial.sni
            && other.trial.certificate == Shown::Own
            && other.sent_certificate
            && outcome(other) == Outcome::Admitted
    })?;
    Some(wrong_vhost(case, own, other, "lets this certificate in"))
}

fn wrong_vhost(case: &Case<'_>, asked: &Attempt, other: &Attempt, does: &str) -> Finding {
    let target = &case.seen.target;
    let sni = asked.trial.sni.as_deref().unwrap_or("no name");
    let name = other.trial.sni.as_deref().unwrap_or("no name");
    Finding::fault(
        Cause::SniSelectsWrongVhost,
        Side::Client,
        format!(
            "{target} asked for {sni} answers as another virtual host; asked for {name} it {does}"
        ),
    )
    .with("sni", sni)
    .with("sni_that_is_right", name)
    .with_fix(format!("curl --connect-to ::{target} https://{name}/"))
    .with_fix(format!(
        "openssl s_client -connect {target} -servername {name}"
    ))
}

/// The handshake broke in the middle and nothing was asked.
pub(super) fn ended(case: &Case<'_>, none: &Attempt) -> Option<Finding> {
    // OpenSSL finds out only here that it cannot write its list of client CAs.
    if none.end == End::Alert(INTERNAL_ERROR) && !case.known.client_chain.is_empty() {
        return Some(
            Finding::fault(
                Cause::HandshakeTooLarge,
                Side::Server,
                format!(
                    "{} {} its ServerHello, in place of a request for a certificate: OpenSSL does so where its list of client CAs is over 64 KiB",
                    case.seen.target,
                    end_text(&none.end)
                ),
            )
            .with("end", end_text(&none.end))
            .with_fix("nginx: ssl_client_certificate with the few CAs that issue to clients, ssl_trusted_certificate for the rest"),
        );
    }
    let slug = match &none.end {
        End::Open => return None,
        End::TimedOut => Cause::HandshakeTimeout,
        _ => Cause::MalformedHandshake,
    };
    Some(
        Finding::fault(
            slug,
            Side::Server,
            format!(
                "{} {} its ServerHello",
                case.seen.target,
                end_text(&none.end)
            ),
        )
        .with("end", end_text(&none.end)),
    )
}

const INTERNAL_ERROR: u8 = 80;
