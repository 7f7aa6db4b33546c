//! Whether the server asks for a certificate, and whom it lets in.

mod unasked;

use countersign_pki::certificate::Certificate;
use countersign_pki::time::UnixTime;

use self::unasked::{admitted_by_another_name, ended, not_requested};
use super::judging::{Case, Verdict};
use super::known::{Known, is_self_issued, parsed};
use super::reach::end_text;
use super::refusal::{self, Lineage};
use super::{Attempt, End, HttpAnswer, Shown, Speech, TargetSeen};
use crate::cause::Cause;
use crate::doctor::question::{Question, TlsVersion};
use crate::finding::{Finding, Side};

/// What a connection came to, as far as the client's certificate is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It was let in.
    Admitted,
    /// HTTP says that it lacks a right, or asked the wrong host, for whatever reason; or what it says was not read.
    Forbidden,
    /// It was refused for its certificate, or for want of one.
    Refused,
}

pub(super) fn judge(case: &Case<'_>, server_is_good: bool, out: &mut Verdict) {
    let Some(none) = case.speaking() else {
        return;
    };
    if case.seen.key_is_anothers {
        out.find(key_of_another(case));
    }
    let own = case.shown(Shown::Own);
    let asked = [Some(none), own]
        .into_iter()
        .flatten()
        .find_map(|attempt| attempt.asked.as_ref());
    let has_certificate = !case.known.client_chain.is_empty() && !case.question.no_client_cert;
    if asked.is_none() {
        not_requested(case, none, has_certificate, out);
        return;
    }
    let ca_names = asked.map_or(0, |asked| asked.ca_names.len());
    out.rule_out(
        Cause::ClientCertNotRequested,
        format!("the server asks for a certificate (it names {ca_names} CAs)"),
    );
    let own = own.filter(|own| !matches!(own.end, End::Withheld(_)));
    if none.end == End::TimedOut && !none.finished && own.is_none_or(|own| !own.finished) {
        out.find_all(ended(case, none));
        return;
    }
    let without = if is_turned_away(case, none, own) {
        Outcome::Refused
    } else {
        outcome(none)
    };
    match own {
        Some(own) => with_own(case, own, out),
        None if has_certificate => not_shown(case, server_is_good, without, out),
        None => with_none(case, none, without, out),
    }
    enforcement(case, without, own.map(outcome), out);
    if without == Outcome::Refused
        && let Some(finding) = admitted_by_session(case)
    {
        out.find(finding);
    }
}

/// Whether the server lets the client in, with the certificate of its own.
pub(in crate::doctor) fn admits_client(
    seen: &TargetSeen,
    question: &Question,
    known: &Known,
    now: UnixTime,
) -> bool {
    let case = Case {
        seen,
        question,
        known,
        now,
    };
    case.shown(Shown::Own)
        .is_some_and(|own| own.sent_certificate && outcome(own) == Outcome::Admitted)
}

/// Whether the server lets the handshake pass without a certificate, and nobody without one behind it.
fn is_turned_away(case: &Case<'_>, none: &Attempt, own: Option<&Attempt>) -> bool {
    let Some(http) = &none.http else {
        let is_cut = matches!(none.end, End::Alert(_) | End::Closed | End::Reset);
        let is_web = none
            .hello
            .as_ref()
            .and_then(|hello| hello.alpn.as_deref())
            .is_some_and(|name| name == "h2" || name.starts_with("http/1"));
        return is_cut
            && none.finished
            && none.trial.request.is_some()
            && own.map_or(is_web, |own| own.http.is_some());
    };
    let is_no = match http.status {
        401 => http.challenge.is_none(),
        403 => true,
        _ => false,
    };
    if !is_no {
        return false;
    }
    match own {
        Some(own) => outcome(own) == Outcome::Admitted,
        // An API wants a token in just these words, and names it in its own documents: `with_none` tells of both.
        None => says_certificate(http) || (http.status == 403 && is_said_to_every_path(case, none)),
    }
}

/// Somebody asked for just this page.
pub(super) fn is_named(attempt: &Attempt) -> bool {
    let request = attempt.trial.request.as_ref();
    request.is_some_and(|request| request.path != "/")
}

/// RFC 9110 §15.5.2 has a 401 say how to log in: one that does not means whoever is there, or a token that only documents name.
pub(super) fn is_bare_401(attempt: &Attempt) -> bool {
    let http = attempt.http.as_ref();
    http.is_some_and(|http| http.status == 401 && http.challenge.is_none())
}

/// Of a page that nobody named, many a server says no to everybody; of one that does not exist only to whom it lets nowhere.
fn is_said_to_every_path(case: &Case<'_>, none: &Attempt) -> bool {
    let status = |attempt: &Attempt| attempt.http.as_ref().map(|http| http.status);
    is_named(none)
        || case.attempts(Speech::Tls).any(|other| {
            other.trial.certificate == Shown::None
                && other.trial.sni == none.trial.sni
                && is_named(other)
                && status(other) == status(none)
        })
}

/// A session that was made by another name, for nobody, opens this one.
fn admitted_by_session(case: &Case<'_>) -> Option<Finding> {
    let (resumed, name) = case.attempts(Speech::Tls).find_map(|attempt| {
        let name = attempt.trial.resumes.as_ref()?;
        let is_served = attempt.resumed && outcome(attempt) == Outcome::Admitted;
        is_served.then_some((attempt, name))
    })?;
    let target = &case.seen.target;
    let sni = resumed.trial.sni.as_deref().unwrap_or("no name");
    let version = resumed.hello.as_ref().map(|hello| hello.version);
    let version = version.map_or_else(|| "TLS".to_owned(), |version| version.to_string());
    Some(
        Finding::fault(
            Cause::ResumptionSkipsCheck,
            Side::Server,
            format!(
                "{target} wants a client certificate for {sni}, and lets in without one whoever resumes a session ({version}) that it gave out for {name}"
            ),
        )
        .with("sni", sni)
        .with("session_of", name)
        .with("version", version)
        .with_fix("keep sessions of guarded and open names apart: a listener of its own for the guarded names, or no session tickets and no session cache (HAProxy: no-tls-tickets and tune.ssl.cachesize 0; nginx: ssl_session_tickets off and ssl_session_cache off)")
        .with_fix(format!(
            "openssl s_client -connect {target} -servername {name} -sess_out session; openssl s_client -connect {target} -servername {sni} -sess_in session"
        )),
    )
}

/// The key is not the first certificate's; it may be that of a later one.
fn key_of_another(case: &Case<'_>) -> Finding {
    let chain = parsed(&case.known.client_chain);
    let is_upside_down = chain.first().is_some_and(Certificate::is_ca)
        && chain.iter().skip(1).any(|later| !later.is_ca());
    if is_upside_down {
        return Finding::fault(
            Cause::ChainWrongOrder,
            Side::Client,
            "the client's certificate file begins with a CA, so that its key does not fit; nothing was shown with it",
        )
        .with_fix("cat client.pem intermediate.pem > client-chain.pem");
    }
    Finding::fault(
        Cause::KeyCertMismatch,
        Side::Client,
        "the client's key is not that of its certificate, so that nothing was shown with it",
    )
    .with_fix("openssl x509 -in client.pem -noout -pubkey | openssl sha256; openssl pkey -in client.key -pubout | openssl sha256")
}

/// How a connection ended, as the client has it.
pub(super) fn outcome(attempt: &Attempt) -> Outcome {
    if let Some(http) = &attempt.http {
        return of_http(http);
    }
    if attempt.is_accepted_by_tls() {
        // nginx judges in its answer, and we read none of HTTP/2: who comes as somebody is believed, and nobody else.
        let speaks_h2 = attempt
            .hello
            .as_ref()
            .is_some_and(|hello| hello.alpn.as_deref() == Some("h2"));
        let is_own = matches!(attempt.trial.certificate, Shown::Own | Shown::OwnCompleted);
        return if speaks_h2 && !is_own {
            Outcome::Forbidden
        } else {
            Outcome::Admitted
        };
    }
    // In TLS 1.2 a close behind the handshake is the application's.
    Outcome::Refused
}

fn of_http(http: &HttpAnswer) -> Outcome {
    match http.status {
        495 | 496 => Outcome::Refused,
        400 if says_certificate(http) => Outcome::Refused,
        401 | 403 | 421 => Outcome::Forbidden,
        _ => Outcome::Admitted,
    }
}

/// nginx: `No required SSL certificate was sent`, `The SSL certificate error`.
pub(super) fn says_certificate(http: &HttpAnswer) -> bool {
    let body = http.body.to_ascii_lowercase();
    body.contains("ssl certificate")
        || body.contains("client certificate")
        || body.contains("certificate error")
}

/// Whether the certificate is asked for behind the handshake; told in `answer`.
pub(super) fn is_post_handshake(case: &Case<'_>, attempt: &Attempt) -> bool {
    let says_so = attempt.http.as_ref().is_some_and(|http| {
        http.body
            .to_ascii_lowercase()
            .contains("post-handshake authentication")
    });
    // TLS 1.2: the server begins anew, and the client does not follow.
    let has_path = attempt
        .trial
        .request
        .as_ref()
        .is_some_and(|request| request.path != "/");
    let broke_off = has_path
        && attempt.finished
        && attempt.asked.is_none()
        && attempt.http.is_none()
        && !attempt.other_data
        && match attempt.end {
            End::Alert(_) | End::Malformed(_) => true,
            // Only TLS 1.2 can begin anew; elsewhere a close is a close.
            End::Closed | End::Reset => attempt
                .hello
                .as_ref()
                .is_some_and(|hello| hello.version <= TlsVersion::Tls12),
            _ => false,
        }
        && case.attempts(Speech::Tls).count() > 0;
    says_so || broke_off
}

fn with_own(case: &Case<'_>, own: &Attempt, out: &mut Verdict) {
    let outcome = if is_let_go(case, own) {
        Outcome::Admitted
    } else {
        outcome(own)
    };
    match outcome {
        Outcome::Refused => {
            out.find(
                admitted_by_another_name(case, own).unwrap_or_else(|| refusal::explain(case, own)),
            );
        }
        // A right that its holder lacks is told by `answer`.
        Outcome::Forbidden => out.find_all(refusal::behind_a_page(case, own)),
        Outcome::Admitted => {
            if !own.sent_certificate {
                out.find(refusal::no_scheme(case, own));
                return;
            }
            if let Some(finding) = revoked_and_admitted(case, own) {
                out.find(finding);
                return;
            }
            out.rule_out(
                Cause::ClientCaNotTrusted,
                "the server let the client in with this certificate".to_owned(),
            );
            if let Some(finding) = excluded_by_names(case, own) {
                out.find(finding);
            }
        }
    }
}

/// Whom it refuses the server tells so; from this one it parts in peace, having nothing to say.
fn is_let_go(case: &Case<'_>, own: &Attempt) -> bool {
    let told = |attempt: &Attempt| matches!(attempt.end, End::Alert(_));
    own.finished
        && own.sent_certificate
        && own.end == End::Closed
        && own.http.is_none()
        && case.shown(Shown::Stranger).is_some_and(told)
        && refusal::has_nothing_against_it(case, own)
}

/// A list at hand names the certificate, and the server lets it in.
fn revoked_and_admitted(case: &Case<'_>, own: &Attempt) -> Option<Finding> {
    let revoked = Lineage::of(case.known)?.revocation(case.known, case.now)?;
    Some(
        Finding::fault(
            Cause::RevocationNotChecked,
            Side::Server,
            format!("{} lets the client in although its certificate is revoked: {revoked}", case.seen.target),
        )
        .with("answer", own.http.as_ref().map_or(0, |http| http.status))
        .with_fix("nginx: ssl_crl crl.pem (one for every CA of the chain); HAProxy: bind … crl-file crl.pem; Apache: SSLCARevocationFile and SSLCARevocationCheck chain"),
    )
}

/// The server takes the certificate, but its list would keep most clients from sending it.
fn excluded_by_names(case: &Case<'_>, own: &Attempt) -> Option<Finding> {
    let lineage = Lineage::of(case.known)?;
    let asked = own.asked.as_ref()?;
    if asked.ca_names.is_empty() || lineage.is_named_by(asked) {
        return None;
    }
    let names = refusal::names_text(asked);
    Some(
        Finding::fault(
            Cause::CaNamesExcludeIssuer,
            Side::Server,
            format!(
                "{} takes this certificate, but the CAs that it names ({names}) leave out its issuer {}: Java, browsers and others send nothing then",
                case.seen.target,
                lineage.leaf().issuer()
            ),
        )
        .with("named", names)
        .with("issuer", lineage.leaf().issuer())
        .with_fix("nginx: put that CA into ssl_client_certificate (ssl_trusted_certificate is not announced); Apache: SSLCADNRequestFile"),
    )
}

/// There is a certificate, and the server was not fit to see it.
fn not_shown(case: &Case<'_>, server_is_good: bool, without: Outcome, out: &mut Verdict) {
    if !server_is_good || without != Outcome::Refused {
        return;
    }
    let target = &case.seen.target;
    let (why, next) = match &case.seen.vouched {
        super::Vouched::Nobody(why) => (
            format!("because nobody vouches for the server: {why}"),
            "give the CA of the server as --ca FILE, and the probe goes on with the client's certificate",
        ),
        _ => (
            "because no key that belongs to it and can be used is at hand".to_owned(),
            "give the key as --key FILE, and its password as --password-file FILE, and the probe goes on with the client's certificate",
        ),
    };
    out.find(
        Finding::fault(
            Cause::ClientCertNotSent,
            Side::Client,
            format!("{target} requires a certificate; the client's was not shown to it, {why}"),
        )
        .note()
        .with_fix(next),
    );
}

/// The client has no certificate, or means to come without.
fn with_none(case: &Case<'_>, none: &Attempt, without: Outcome, out: &mut Verdict) {
    let is_ambiguous = is_bare_401(none) && without == Outcome::Forbidden;
    let is_refused =
        without == Outcome::Refused || (is_ambiguous && is_said_to_every_path(case, none));
    if !is_refused || case.question.expect_enforced {
        return;
    }
    let said = match &none.http {
        Some(http) => format!("answers {} ({})", http.status, first_words(&http.body)),
        None => format!("{} the handshake", end_text(&none.end)),
    };
    let target = &case.seen.target;
    let message = if is_ambiguous {
        format!(
            "{target} asks for a client certificate, gets none and {said}, without a word of how to log in: it wants the certificate, or a token"
        )
    } else {
        format!("{target} requires a client certificate and gets none: it {said}")
    };
    let finding = Finding::fault(Cause::ClientCertNotSent, Side::Client, message)
        .with("answer", said)
        .with(
            "asked_for",
            none.asked
                .as_ref()
                .map(refusal::names_text)
                .unwrap_or_default(),
        )
        .with_fix(format!(
            "curl --cert client.pem --key client.key --cacert ca.pem https://{target}/"
        ));
    out.find(if is_ambiguous {
        finding.risk()
    } else {
        finding
    });
}

/// Whether those are turned away who should be.
fn enforcement(case: &Case<'_>, without: Outcome, own: Option<Outcome>, out: &mut Verdict) {
    let target = &case.seen.target;
    let stranger = case.shown(Shown::Stranger);
    let lets_none_in = without == Outcome::Admitted;
    let lets_strangers_in = stranger.is_some_and(|stranger| {
        stranger.sent_certificate && outcome(stranger) == Outcome::Admitted
    });
    let fix = "nginx: ssl_verify_client on (not optional, not optional_no_ca); HAProxy: verify required without ca-ignore-err; openssl s_server: -verify_return_error";
    if lets_strangers_in && !lets_none_in {
        out.find(
            Finding::fault(
                Cause::ClientAuthNotEnforced,
                Side::Server,
                format!("{target} requires a certificate and takes any: one that was made up and signed by itself is let in"),
            )
            .with("shown", "a self-signed certificate")
            .with_fix(fix),
        );
        return;
    }
    if without == Outcome::Forbidden {
        return;
    }
    if !lets_none_in {
        let how = case.speaking().map(|none| match &none.http {
            Some(http) => format!("{} {}", http.status, http.reason),
            None => format!("it {} the handshake", end_text(&none.end)),
        });
        out.rule_out(
            Cause::ClientAuthNotEnforced,
            format!(
                "a client without a certificate is turned away: {}",
                how.unwrap_or_default()
            ),
        );
        return;
    }
    let finding = Finding::fault(
        Cause::ClientAuthNotEnforced,
        Side::Server,
        format!(
            "{target} asks for a certificate and lets clients in without one{}",
            if lets_strangers_in {
                ", and with one that was made up"
            } else {
                ""
            }
        ),
    )
    .with("without_certificate", "let in")
    .with_fix(fix);
    // Whether that is wrong is the operator's to say; a stranger's certificate is nobody's wish.
    let is_served = |attempt: &Attempt| attempt.http.is_some() || attempt.other_data;
    let is_fault = case.question.expect_enforced
        || (lets_strangers_in && own == Some(Outcome::Admitted) && stranger.is_some_and(is_served));
    out.find(if is_fault { finding } else { finding.risk() });
}

fn first_words(body: &str) -> String {
    let text: String = body
        .split('<')
        .filter_map(|part| part.split_once('>').map(|(_, text)| text).or(Some(part)))
        .map(str::trim)
        .filter(|text| !text.is_empty())
        .collect::<Vec<_>>()
        .join(", ");
    text.chars().take(120).collect()
}

/// Whether the client's file is a certificate that is its own root.
pub(super) fn is_self_signed(case: &Case<'_>) -> bool {
    parsed(&case.known.client_chain)
        .first()
        .is_some_and(is_self_issued)
}
