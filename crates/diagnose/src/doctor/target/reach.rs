//! Whether there is a server, and whether what it speaks there is TLS.

use super::judging::{Case, Verdict};
use super::{Attempt, End, HttpAnswer, Preamble, Speech, Stage, Tcp};
use crate::cause::Cause;
use crate::doctor::question::Starttls;
use crate::finding::{Finding, Side};

/// Whether there is TLS to judge further.
pub(super) fn judge(case: &Case<'_>, verdict: &mut Verdict) -> bool {
    if let Some(why) = &case.seen.not_resolved {
        verdict.find(not_resolved(case, why));
        return false;
    }
    let Some(first) = case.first().or_else(|| case.plain()) else {
        verdict.find(not_connected(case));
        return false;
    };
    verdict.rule_out(
        Cause::ConnectionRefused,
        format!("{} accepts connections", first.address),
    );
    dead_addresses(case, verdict);
    if case.speaking().is_some() {
        not_as_the_client_comes(case, verdict);
        in_plaintext_too(case, verdict);
        return true;
    }
    if case
        .attempts(Speech::RawHello)
        .any(|raw| raw.hello.is_some())
    {
        return true;
    }
    if matches!(first.end, End::Alert(_) | End::TooLarge(_))
        || matches!(first.end, End::Malformed(_) if first.plaintext.is_empty())
    {
        return true;
    }
    verdict.find(no_tls(case, first));
    false
}

fn not_resolved(case: &Case<'_>, why: &str) -> Finding {
    let host = case
        .question
        .target
        .as_ref()
        .map(|target| target.host.as_str());
    let host = host.unwrap_or_default();
    Finding::fault(
        Cause::NameNotResolved,
        Side::Network,
        format!("{host} has no address: {why}"),
    )
    .with("host", host)
    .with("why", why)
    .with_fix(format!("getent ahosts {host}"))
}

fn not_connected(case: &Case<'_>) -> Finding {
    let target = &case.seen.target;
    let tried: Vec<String> = case
        .seen
        .addresses
        .iter()
        .map(|seen| format!("{} {}", seen.address, tcp_text(&seen.tcp)))
        .collect();
    let tried = tried.join(", ");
    let is_refused = case
        .seen
        .addresses
        .iter()
        .any(|seen| seen.tcp == Tcp::Refused);
    let message = if is_refused {
        format!("nobody listens on {target}: {tried}")
    } else {
        format!("{target} cannot be reached: {tried}")
    };
    let side = if is_refused {
        Side::Server
    } else {
        Side::Network
    };
    Finding::fault(Cause::ConnectionRefused, side, message)
        .with("target", target)
        .with("addresses", tried)
        .with_fix("on the server: ss -ltnp shows who listens, and on which address")
}

fn tcp_text(tcp: &Tcp) -> String {
    match tcp {
        Tcp::Open => "is open".to_owned(),
        Tcp::Refused => "refuses connections".to_owned(),
        Tcp::TimedOut => "does not answer".to_owned(),
        Tcp::Unreachable(why) => why.clone(),
    }
}

fn dead_addresses(case: &Case<'_>, verdict: &mut Verdict) {
    let dead: Vec<String> = case
        .seen
        .addresses
        .iter()
        .filter(|seen| seen.tcp != Tcp::Open)
        .map(|seen| format!("{} {}", seen.address, tcp_text(&seen.tcp)))
        .collect();
    // `localhost` has two addresses everywhere and a server on both almost nowhere.
    let is_loopback = case
        .seen
        .addresses
        .iter()
        .all(|seen| seen.address.ip().is_loopback());
    if dead.is_empty() || is_loopback {
        return;
    }
    let finding = Finding::fault(
        Cause::ConnectionRefused,
        Side::Server,
        format!(
            "{} has an address where nobody answers: {}",
            case.seen.target,
            dead.join(", ")
        ),
    );
    verdict.find(finding.risk().with("addresses", dead.join(", ")));
}

/// TLS came about, but not by what the client sends.
fn not_as_the_client_comes(case: &Case<'_>, verdict: &mut Verdict) {
    let (Some(first), Some(speaking)) = (case.first(), case.speaking()) else {
        return;
    };
    let target = &case.seen.target;
    if first.hello.is_none() && first.trial.preamble != speaking.trial.preamble {
        verdict.find(match speaking.trial.preamble {
            Preamble::None => Finding::fault(
                Cause::PlainHttpToTlsPort,
                Side::Client,
                format!("{target} speaks TLS at once; the client begins with plaintext"),
            )
            .with_fix("leave STARTTLS out and connect with TLS from the first byte (for example smtps:// or ldaps://)"),
            Preamble::ProxyHeader => proxy_header_missing(case, first),
            Preamble::Starttls(starttls) => starttls_required(case, &first.plaintext, starttls),
        });
    }
    let Some(plain) = case.plain().filter(|_| is_plain_client(case)) else {
        return;
    };
    let said = plain.http.as_ref().map_or_else(
        || "no HTTP".to_owned(),
        |http| format!("status {} {}", http.status, http.reason),
    );
    if plain
        .http
        .as_ref()
        .is_none_or(|http| wants_tls(http) || http.status == 400)
    {
        verdict.find(
            Finding::fault(
                Cause::PlainHttpToTlsPort,
                Side::Client,
                format!("the client speaks plaintext HTTP to {target}, which is a TLS port (it answers {said})"),
            )
            .with("answer", said)
            .with_fix(format!("curl https://{target}/")),
        );
    } else if plain.http.as_ref().is_some_and(goes_to_https) {
        verdict.find(
            Finding::fault(
                Cause::PlainHttpToTlsPort,
                Side::Client,
                format!("the client speaks plaintext HTTP to {target}, which is a TLS port, and is told to come back by https://"),
            )
            .risk()
            .with("answer", said)
            .with_fix(format!("curl https://{target}/")),
        );
    }
}

fn starttls_required(case: &Case<'_>, greeting: &[u8], starttls: Starttls) -> Finding {
    let (target, name) = (&case.seen.target, starttls.as_str());
    Finding::fault(
        Cause::StarttlsRequired,
        Side::Client,
        format!("{target} speaks {name} in plaintext first; TLS starts only after its command"),
    )
    .with("protocol", name)
    .with("greeting", String::from_utf8_lossy(greeting))
    .with_fix(format!(
        "openssl s_client -connect {target} -starttls {name}"
    ))
}

/// A protocol that has a command for TLS, where the server did not refuse it: whether TLS came about behind it is another
/// question. Who said nothing at first was only tried for its port, so that it has to have agreed.
fn would_start_tls(case: &Case<'_>, first: &Attempt) -> Option<Finding> {
    if first.trial.preamble != Preamble::None {
        return None;
    }
    let mut attempts = case.attempts(Speech::Tls);
    let (attempt, starttls) = attempts.find_map(|attempt| match attempt.trial.preamble {
        Preamble::Starttls(starttls) => Some((attempt, starttls)),
        _ => None,
    })?;
    let is_refused = matches!(attempt.end, End::PreambleRefused(_));
    let has_agreed = attempt.at > Stage::Preamble;
    let greets = is_text_of_another_protocol(&first.plaintext);
    (has_agreed || (greets && !is_refused))
        .then(|| starttls_required(case, &first.plaintext, starttls))
}

fn proxy_header_missing(case: &Case<'_>, first: &Attempt) -> Finding {
    let target = &case.seen.target;
    Finding::fault(
        Cause::ProxyHeaderMissing,
        Side::Server,
        format!(
            "{target} {} a ClientHello, and answers one behind a PROXY header: it takes connections from a load balancer only",
            end_text(&first.end)
        ),
    )
    .with("without_header", end_text(&first.end))
    .with_fix("HAProxy: server … send-proxy; nginx: take proxy_protocol out of the listen line if clients come directly")
}

fn is_plain_client(case: &Case<'_>) -> bool {
    let target = case.question.target.as_ref();
    let scheme = target.and_then(|target| target.scheme);
    scheme.is_some_and(|scheme| !scheme.is_encrypted())
}

/// The port serves plaintext beside TLS.
fn in_plaintext_too(case: &Case<'_>, verdict: &mut Verdict) {
    let Some(plain) = case.plain() else {
        return;
    };
    let Some(http) = plain.http.as_ref() else {
        verdict.rule_out(
            Cause::PlaintextAlsoAccepted,
            format!("a plaintext request {}", end_text(&plain.end)),
        );
        return;
    };
    let is_served =
        !wants_tls(http) && !matches!(http.status, 400 | 426 | 497) && !goes_to_https(http);
    if !is_served {
        verdict.rule_out(
            Cause::PlaintextAlsoAccepted,
            format!(
                "a plaintext request is answered with {} {}",
                http.status, http.reason
            ),
        );
        return;
    }
    verdict.find(
        Finding::fault(
            Cause::PlaintextAlsoAccepted,
            Side::Server,
            format!(
                "{} speaks TLS and serves HTTP in plaintext as well (status {} {})",
                case.seen.target, http.status, http.reason
            ),
        )
        .with("plaintext_status", http.status)
        .with_fix(format!("curl http://{}/ must fail", case.seen.target)),
    );
}

/// What servers say to plaintext on a TLS port: nginx, Apache, Go, Tomcat, Jetty, Undertow.
fn wants_tls(http: &HttpAnswer) -> bool {
    let body = http.body.to_ascii_lowercase();
    [
        "plain http request was sent to https port",
        "speaking plain http to an ssl-enabled",
        "http request to an https server",
        "combination of host and port requires tls",
        "requires tls",
    ]
    .iter()
    .any(|phrase| body.contains(phrase))
}

fn goes_to_https(http: &HttpAnswer) -> bool {
    (300..400).contains(&http.status)
        && http
            .location
            .as_ref()
            .is_some_and(|to| to.to_ascii_lowercase().starts_with("https:"))
}

/// There is a server, and no TLS.
fn no_tls(case: &Case<'_>, first: &Attempt) -> Finding {
    let target = &case.seen.target;
    let plain = case.plain().and_then(|plain| plain.http.as_ref());
    let plaintext = case
        .seen
        .attempts
        .iter()
        .map(|attempt| attempt.plaintext.as_slice())
        .find(|plaintext| is_text_of_another_protocol(plaintext));
    if let Some(http) = plain {
        return peer_not_tls(
            case,
            &format!("HTTP in plaintext (status {} {})", http.status, http.reason),
        );
    }
    if let Some(finding) = would_start_tls(case, first) {
        return finding;
    }
    if let Some(plaintext) = plaintext {
        let first_line = plaintext
            .split(|&byte| byte == b'\n')
            .next()
            .unwrap_or_default();
        let words = String::from_utf8_lossy(first_line).trim().to_owned();
        return peer_not_tls(case, &format!("plaintext: {words}"));
    }
    match &first.end {
        End::TimedOut => Finding::fault(
            Cause::NoTlsAnswer,
            Side::Network,
            format!(
                "{target} accepts the connection and does not answer the ClientHello within {} s",
                first.took.as_secs()
            ),
        )
        .with("waited_s", first.took.as_secs())
        .with_fix(format!(
            "on the server: tcpdump -ni any port {} shows whether the ClientHello arrives",
            port(case)
        )),
        end if first.at <= Stage::BeforeServerHello => Finding::fault(
            Cause::ResetBeforeServerHello,
            Side::Network,
            format!(
                "{target} {} the ClientHello, before any byte of TLS",
                end_text(end)
            ),
        )
        .with("end", end_text(end))
        .with_fix(case.s_client()),
        end => Finding::fault(
            Cause::MalformedHandshake,
            Side::Server,
            format!("{target} {} in the handshake", end_text(end)),
        ),
    }
}

/// Not the beginning of a record, which is what servers of TLS answer to plaintext as well.
fn is_text_of_another_protocol(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|kind| !(20..=24).contains(kind))
}

fn port(case: &Case<'_>) -> u16 {
    case.question
        .target
        .as_ref()
        .map_or(443, |target| target.port)
}

fn peer_not_tls(case: &Case<'_>, what: &str) -> Finding {
    let target = &case.seen.target;
    Finding::fault(
        Cause::PeerNotTls,
        Side::Server,
        format!("{target} answers in {what}"),
    )
    .with("answer", what)
    .with_fix(
        "nginx: listen … ssl; HAProxy: bind … ssl crt FILE; or connect to the port that speaks TLS",
    )
}

/// What the server did, as the middle of a sentence whose object is what it got.
pub(super) fn end_text(end: &End) -> String {
    match end {
        End::Alert(code) => format!(
            "sends the alert {} after",
            crate::handshake::alert_name(*code)
                .map_or_else(|| code.to_string(), |name| format!("{name} ({code})"))
        ),
        End::Closed => "closes the connection after".to_owned(),
        End::Flood => "sends more than is read after".to_owned(),
        End::Malformed(why) => format!("breaks the protocol ({why}) after"),
        End::NotTls => "answers with something that is not TLS after".to_owned(),
        End::Open => "goes on after".to_owned(),
        End::PreambleRefused(words) => format!("refuses to start TLS ({words}) after"),
        End::Reset => "resets the connection after".to_owned(),
        End::TimedOut => "says nothing after".to_owned(),
        End::TooLarge(why) => format!("sends too much ({why}) after"),
        End::Withheld(why) => format!("is shown nothing ({why}) after"),
    }
}
