//! Versions, suites, names and protocols: what both sides have to agree on before any certificate counts.

use super::judging::{Case, Verdict};
use super::reach::end_text;
use super::{Attempt, End, HelloSeen, Speech, Stage};
use crate::cause::Cause;
use crate::doctor::question::TlsVersion;
use crate::doctor::shell_word::quoted;
use crate::finding::{Finding, Side};

/// Whether there is a handshake to judge further.
pub(super) fn judge(case: &Case<'_>, verdict: &mut Verdict) -> bool {
    let Some(first) = case.first() else {
        return false;
    };
    if let Some(large) = too_large(case) {
        verdict.find(large);
        // What did not end tells nothing else.
        return case.speaking().is_some_and(|attempt| attempt.finished);
    }
    if let Some(hello) = first
        .hello
        .as_ref()
        .filter(|_| first.trial.speech == Speech::Tls)
    {
        verdict.rule_out(
            Cause::TlsVersionMismatch,
            format!("{} was agreed on", hello.version),
        );
        verdict.rule_out(
            Cause::NoSharedCipher,
            format!(
                "{} was agreed on",
                cipher(hello.cipher_name.as_deref(), hello.cipher)
            ),
        );
        alpn_ignored(case, first, verdict);
        if let Some(large) = large_for_some(case, first) {
            verdict.find(large);
        }
        return true;
    }
    if first.trial.speech == Speech::RawHello && first.hello.is_some() {
        verdict.find(old_client(case, first));
        return false;
    }
    let finding = refused(case, first);
    let goes_on = case.speaking().is_some();
    if let Some(finding) = finding
        && !verdict.has_fault()
    {
        verdict.find(finding);
    }
    goes_on
}

/// TLS before 1.2 was asked for, and the server speaks it.
fn old_client(case: &Case<'_>, first: &Attempt) -> Finding {
    let version = first
        .hello
        .as_ref()
        .map_or(TlsVersion::Tls10, |hello| hello.version);
    Finding::fault(
        Cause::TlsVersionMismatch,
        Side::Client,
        format!(
            "{} speaks {version} with this client, which current software refuses",
            case.seen.target
        ),
    )
    .risk()
}

fn too_large(case: &Case<'_>) -> Option<Finding> {
    let (attempt, why) = case
        .seen
        .attempts
        .iter()
        .find_map(|attempt| match &attempt.end {
            End::TooLarge(why) => Some((attempt, why)),
            _ => None,
        })?;
    let finding = Finding::fault(
        Cause::HandshakeTooLarge,
        Side::Server,
        format!(
            "{} sends a handshake that clients do not take: {why}",
            case.seen.target
        ),
    );
    Some(
        finding
            .with("what", why)
            .with("certificates", attempt.chain.len())
            .with_fix("send leaf and intermediates only; announce a short list of client CAs (nginx: ssl_client_certificate with those CAs, ssl_trusted_certificate for the rest)"),
    )
}

/// More than Java takes in one message.
fn large_for_some(case: &Case<'_>, first: &Attempt) -> Option<Finding> {
    let sum = |parts: &[super::Der]| parts.iter().map(|der| der.0.len() + 3).sum::<usize>();
    let names = first.asked.as_ref().map_or(0, |asked| sum(&asked.ca_names));
    let chain = sum(&first.chain);
    let (what, bytes) = if names > chain {
        ("list of CAs", names)
    } else {
        ("chain", chain)
    };
    (bytes > JAVAS_LIMIT_BYTES).then(|| {
        Finding::fault(
            Cause::HandshakeTooLarge,
            Side::Server,
            format!("{} sends a {what} of {bytes} bytes: Java takes 32 KiB, rustls 64 KiB, OpenSSL 100 KB", case.seen.target),
        )
        .risk()
        .with("bytes", bytes)
    })
}

/// Why there was no `ServerHello` for the client's own offer.
fn refused(case: &Case<'_>, first: &Attempt) -> Option<Finding> {
    let target = &case.seen.target;
    if let Some(finding) = version_or_suite(case, first) {
        return Some(finding);
    }
    let code = match &first.end {
        End::Alert(code) => *code,
        other => {
            return (case.speaking().is_none()).then(|| {
                Finding::fault(
                    Cause::MalformedHandshake,
                    Side::Server,
                    format!("{target} {} a ClientHello", end_text(other)),
                )
            });
        }
    };
    let said = end_text(&first.end);
    Some(match code {
        UNRECOGNIZED_NAME => sni_unknown(case, first),
        NO_APPLICATION_PROTOCOL => return alpn(case, first),
        PROTOCOL_VERSION => version_mismatch(
            case,
            format!("{target} {said} a ClientHello with {}", range(first)),
        ),
        _ if first.trial.max < TlsVersion::Tls12 => version_mismatch(
            case,
            format!("{target} {said} a ClientHello with {}", range(first)),
        ),
        HANDSHAKE_FAILURE | INSUFFICIENT_SECURITY => {
            if other_name(case, first).is_some() {
                sni_unknown(case, first)
            } else {
                Finding::fault(
                    Cause::NoSharedCipher,
                    Side::Server,
                    format!("{target} {said} a ClientHello, before its ServerHello: it shares no cipher suite that fits its certificate's key"),
                )
                .with("alert", said)
                .with_fix(format!("nmap --script ssl-enum-ciphers -p {} {}", port(case), case.meant()))
            }
        }
        _ => Finding::fault(
            Cause::MalformedHandshake,
            Side::Server,
            format!("{target} {said} a ClientHello"),
        )
        .with("alert", said),
    })
}

/// What a `ClientHello` with everything in it got that the client's own did not.
fn version_or_suite(case: &Case<'_>, first: &Attempt) -> Option<Finding> {
    let target = &case.seen.target;
    let hello = case
        .attempts(Speech::RawHello)
        .filter(|raw| raw.trial != first.trial)
        .find_map(|raw| raw.hello.as_ref())?;
    let version = hello.version;
    let lowest = first.trial.min.max(TlsVersion::Tls12);
    let is_in_range = (lowest..=first.trial.max).contains(&version);
    if !is_in_range {
        let message = format!(
            "{target} speaks {version} and not what the client offers ({})",
            range(first)
        );
        return Some(version_mismatch(case, message).with("server_version", version));
    }
    Some(old_suite(case, hello))
}

/// TLS came about for whoever offers everything, in a version that the client speaks.
fn old_suite(case: &Case<'_>, hello: &HelloSeen) -> Finding {
    let target = &case.seen.target;
    let (version, suite) = (hello.version, cipher(None, hello.cipher));
    let finding = |message: String| {
        Finding::fault(Cause::NoSharedCipher, Side::Server, message)
            .with("server_suite", &suite)
            .with("server_version", version)
            .with_fix("nginx: ssl_ciphers ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:…; HAProxy: ssl-default-bind-ciphers the same")
    };
    if is_modern(hello.cipher) {
        return finding(format!(
            "{target} chooses {suite} ({version}) when everything is offered, and nothing for who knows only X25519, P-256 and P-384 and no RSA-PSS keys, as rustls: OpenSSL may get through, with P-521, X448, a finite field or such a key"
        ))
        .risk();
    }
    if OPENSSL_OFFERS.contains(&hello.cipher) {
        return finding(format!(
            "{target} takes only old cipher suites: it chooses {suite} ({version}) when everything is offered; OpenSSL and Java offer that still, rustls does not"
        ))
        .risk();
    }
    finding(format!(
        "{target} takes only old cipher suites: it chooses {suite} ({version}) when everything is offered, and nothing of what current clients offer"
    ))
}

/// TLS 1.3, and with it what rustls offers in TLS 1.2.
fn is_modern(suite: u16) -> bool {
    matches!(
        suite,
        0x1301..=0x1305 | 0xc02b | 0xc02c | 0xc02f | 0xc030 | 0xcca8 | 0xcca9
    )
}

fn version_mismatch(case: &Case<'_>, message: String) -> Finding {
    let is_the_clients_wish = case.question.max_tls.is_some() || case.question.min_tls.is_some();
    let side = if is_the_clients_wish {
        Side::Client
    } else {
        Side::Server
    };
    Finding::fault(Cause::TlsVersionMismatch, side, message)
        .with_fix("nginx: ssl_protocols TLSv1.2 TLSv1.3; HAProxy: ssl-default-bind-options ssl-min-ver TLSv1.2; Apache: SSLProtocol -all +TLSv1.2 +TLSv1.3")
}

fn range(attempt: &Attempt) -> String {
    let (min, max) = (attempt.trial.min, attempt.trial.max);
    let min = if attempt.trial.speech == Speech::Tls {
        min.max(TlsVersion::Tls12)
    } else {
        min
    };
    if min >= max {
        max.to_string()
    } else {
        format!("{min} to {max}")
    }
}

/// Another name by which the server answers.
fn other_name<'c>(case: &Case<'c>, first: &Attempt) -> Option<&'c Attempt> {
    case.attempts(Speech::Tls)
        .find(|attempt| attempt.hello.is_some() && attempt.trial.sni != first.trial.sni)
}

fn sni_unknown(case: &Case<'_>, first: &Attempt) -> Finding {
    let target = &case.seen.target;
    let asked = match &first.trial.sni {
        Some(name) => format!("asked for {name}"),
        None => "asked for no name".to_owned(),
    };
    let finding = Finding::fault(
        Cause::SniUnknown,
        Side::Client,
        format!(
            "{target} {} a ClientHello that {asked}: it serves no such name",
            end_text(&first.end)
        ),
    )
    .with("sni", first.trial.sni.as_deref().unwrap_or("none"));
    match other_name(case, first).map(|attempt| attempt.trial.sni.as_deref()) {
        Some(Some(name)) => finding
            .with("answers_for", name)
            .with_fix(format!("connect to it as {name}: it answers by that name")),
        Some(None) => finding.with("answers_for", "no name"),
        None => finding.with_fix(format!(
            "curl --connect-to ::{target} https://NAME/ with a NAME that it serves"
        )),
    }
}

/// `no_application_protocol`; `None`: what was offered was our choice, and another does.
fn alpn(case: &Case<'_>, first: &Attempt) -> Option<Finding> {
    let target = &case.seen.target;
    let other = case
        .attempts(Speech::Tls)
        .find(|attempt| attempt.hello.is_some() && attempt.trial.alpn != first.trial.alpn);
    let speaks =
        other.map(
            |attempt| match attempt.hello.as_ref().and_then(|hello| hello.alpn.clone()) {
                Some(name) => name,
                None => "none at all".to_owned(),
            },
        );
    if case.question.alpn.is_empty() && other.is_some() {
        return None;
    }
    let finding = Finding::fault(
        Cause::AlpnMismatch,
        Side::Client,
        format!(
            "{target} takes none of the application protocols that the client offers ({}){}",
            first.trial.alpn.join(", "),
            speaks
                .as_ref()
                .map_or_else(String::new, |name| format!("; it speaks {name}"))
        ),
    )
    .with("offered", first.trial.alpn.join(", "));
    Some(match speaks {
        Some(name) => finding.with("server_speaks", &name).with_fix(format!(
            "{} -alpn {}",
            case.s_client(),
            quoted(&name)
        )),
        None => finding,
    })
}

/// The server chose no protocol where the client can do with one only.
fn alpn_ignored(case: &Case<'_>, first: &Attempt, verdict: &mut Verdict) {
    let Some(hello) = &first.hello else {
        return;
    };
    if let Some(chosen) = &hello.alpn {
        verdict.rule_out(Cause::AlpnMismatch, format!("{chosen} was agreed on"));
        return;
    }
    let wanted = &case.question.alpn;
    if wanted.is_empty()
        || wanted
            .iter()
            .any(|name| name == "http/1.1" || name == "http/1.0")
        || first.at < Stage::InHandshake
    {
        return;
    }
    verdict.find(
        Finding::fault(
            Cause::AlpnMismatch,
            Side::Server,
            format!("{} agrees on no application protocol; the client speaks only {}", case.seen.target, wanted.join(", ")),
        )
        .with("offered", wanted.join(", "))
        .with_fix("nginx: http2 on (before 1.25: listen … ssl http2); HAProxy: bind … alpn h2,http/1.1; Envoy: alpn_protocols: [h2]"),
    );
}

fn port(case: &Case<'_>) -> u16 {
    case.question
        .target
        .as_ref()
        .map_or(443, |target| target.port)
}

fn cipher(name: Option<&str>, code: u16) -> String {
    let known = OLD_SUITES.iter().find(|(suite, _)| *suite == code);
    match (name, known) {
        (Some(name), _) => name.to_owned(),
        (None, Some((_, name))) => (*name).to_owned(),
        (None, None) => format!("cipher suite 0x{code:04x}"),
    }
}

/// `jdk.tls.maxHandshakeMessageSize`.
const JAVAS_LIMIT_BYTES: usize = 32 * 1024;

const HANDSHAKE_FAILURE: u8 = 40;
const PROTOCOL_VERSION: u8 = 70;
const INSUFFICIENT_SECURITY: u8 = 71;
const UNRECOGNIZED_NAME: u8 = 112;
const NO_APPLICATION_PROTOCOL: u8 = 120;

/// In `openssl ciphers DEFAULT` (3.0) and not in rustls, with forward secrecy: AES with DHE, and in CBC with ECDHE.
const OPENSSL_OFFERS: &[u16] = &[
    0x0033, 0x0039, 0x0067, 0x006b, 0x009e, 0x009f, 0xc009, 0xc00a, 0xc013, 0xc014, 0xc023, 0xc024,
    0xc027, 0xc028, 0xccaa,
];

/// What servers choose that take nothing newer, by OpenSSL's names.
const OLD_SUITES: &[(u16, &str)] = &[
    (0x0004, "RC4-MD5"),
    (0x0005, "RC4-SHA"),
    (0x000a, "DES-CBC3-SHA"),
    (0x0016, "DHE-RSA-DES-CBC3-SHA"),
    (0x002f, "AES128-SHA"),
    (0x0033, "DHE-RSA-AES128-SHA"),
    (0x0035, "AES256-SHA"),
    (0x0039, "DHE-RSA-AES256-SHA"),
    (0x003c, "AES128-SHA256"),
    (0x003d, "AES256-SHA256"),
    (0x0067, "DHE-RSA-AES128-SHA256"),
    (0x006b, "DHE-RSA-AES256-SHA256"),
    (0x009c, "AES128-GCM-SHA256"),
    (0x009d, "AES256-GCM-SHA384"),
    (0x009e, "DHE-RSA-AES128-GCM-SHA256"),
    (0x009f, "DHE-RSA-AES256-GCM-SHA384"),
    (0xc009, "ECDHE-ECDSA-AES128-SHA"),
    (0xc00a, "ECDHE-ECDSA-AES256-SHA"),
    (0xc013, "ECDHE-RSA-AES128-SHA"),
    (0xc014, "ECDHE-RSA-AES256-SHA"),
    (0xc023, "ECDHE-ECDSA-AES128-SHA256"),
    (0xc024, "ECDHE-ECDSA-AES256-SHA384"),
    (0xc027, "ECDHE-RSA-AES128-SHA256"),
    (0xc028, "ECDHE-RSA-AES256-SHA384"),
];
