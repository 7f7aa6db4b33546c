//! The server's certificate, as the client judges it.

mod clock;
mod path;

use countersign_pki::certificate::Certificate;
use countersign_pki::chain::{ChainFault, ChainFaultKind, ExpectedName, Purpose};
use countersign_pki::name::TypedName;
use countersign_pki::time::{UnixTime, spoken};

pub(super) use self::clock::clock;
use self::clock::{by_clock, clock_differs};
pub(super) use self::path::served_path;
pub(in crate::doctor) use self::path::{served_evidence, serving, verified_path};
use super::judging::{Case, Verdict};
use super::known::{is_issued_by, is_other_generation, is_self_issued, parsed, verdict};
use super::{Attempt, Der, Speech, Vouched};
use crate::cause::Cause;
use crate::chain;
use crate::finding::{Finding, Severity, Side};

/// Whether the client accepts the server.
pub(super) fn judge(case: &Case<'_>, out: &mut Verdict) -> bool {
    let Some(attempt) = case.speaking().filter(|attempt| !attempt.chain.is_empty()) else {
        return true;
    };
    let chain = der(&attempt.chain);
    let fault = fault(case, &chain, &case.expected(), case.now);
    let fault = as_a_file(case, fault);
    let skew = clock(case);
    let root = fault.as_ref().and_then(|fault| root(case, fault, skew));
    let not_reloaded = not_reloaded(case, &chain);
    let Some(fault) = fault else {
        rule_out(case, &chain, out);
        if let Some(finding) = not_reloaded {
            out.find(finding);
        }
        if let Some(finding) = skew.and_then(|skew| clock_differs(case, skew)) {
            out.find(finding);
        }
        if let Some(why) = &attempt.unproved {
            out.find(unproved(case, why));
            return false;
        }
        return true;
    };
    let root = root.or_else(|| not_reloaded.filter(|_| file_is_good(case)));
    let is_fault = fault.severity == Severity::Fault;
    match root {
        Some(root) => {
            let mut fault = fault;
            fault.follows_from = Some(root.cause);
            out.find(root);
            out.find(fault);
        }
        None => out.find(fault),
    }
    !is_fault
}

/// What is wrong with it in the eyes of who judges files: they see more than a verifier that stops at the first thing.
fn as_a_file(case: &Case<'_>, fault: Option<Finding>) -> Option<Finding> {
    match fault {
        Some(fault) if fault.cause != Cause::MalformedCertificate => Some(fault),
        other => {
            let mut flaws = case.known.flaws_of_served.iter();
            let worst = flaws.find(|flaw| flaw.severity == Severity::Fault);
            worst
                .cloned()
                .map(|flaw| flaw.with("target", &case.seen.target))
                .or(other)
        }
    }
}

fn der(chain: &[Der]) -> Vec<Vec<u8>> {
    chain.iter().map(|der| der.0.clone()).collect()
}

/// What is wrong with what the server shows.
fn fault(
    case: &Case<'_>,
    chain: &[Vec<u8>],
    names: &[ExpectedName],
    now: UnixTime,
) -> Option<Finding> {
    if case.known.anchors.is_empty() {
        return without_anchors(case, chain, names, now);
    }
    let by = (now, case.question.strict);
    let judged = verdict(
        &case.known.anchors,
        &[],
        chain,
        Purpose::ServerAuth,
        names,
        by,
    )?;
    match judged {
        Ok(_) => revoked(case, chain, names, now),
        Err(fault) => Some(told(case, chain, &fault, names, now)),
    }
}

/// By the lists at hand; one that is of no use here is the business of whoever judges files.
fn revoked(
    case: &Case<'_>,
    chain: &[Vec<u8>],
    names: &[ExpectedName],
    now: UnixTime,
) -> Option<Finding> {
    if case.known.crls.is_empty() {
        return None;
    }
    let by = (now, case.question.strict);
    match verdict(
        &case.known.anchors,
        &case.known.crls,
        chain,
        Purpose::ServerAuth,
        names,
        by,
    )? {
        Err(fault) if matches!(fault.kind, ChainFaultKind::Revoked { .. }) => {
            Some(finding(case, Cause::CertificateRevoked, &fault))
        }
        _ => None,
    }
}

fn finding(case: &Case<'_>, slug: Cause, fault: &ChainFault) -> Finding {
    let refusal = chain::refusal(fault, Purpose::ServerAuth);
    let side = match slug {
        Cause::ServerCaNotTrusted
        | Cause::SameNameDifferentKeyCa
        | Cause::CaRotatedWithoutOverlap
        | Cause::RootExpired => Side::Client,
        _ => Side::Server,
    };
    let mut evidence = refusal.evidence.clone();
    evidence.push("target", &case.seen.target);
    let found = Finding::fault(
        slug,
        side,
        format!("{} shows: {}", case.seen.target, refusal.sentence()),
    )
    .with_evidence(evidence);
    let look = format!("{} -showcerts </dev/null", case.s_client());
    match slug {
        Cause::ChainMissingIntermediate => found
            .with_fix("cat server.pem intermediate.pem > fullchain.pem; nginx: ssl_certificate fullchain.pem; HAProxy: both and the key in one crt file; then reload")
            .with_fix(look),
        Cause::ServerCaNotTrusted | Cause::CaRotatedWithoutOverlap | Cause::SameNameDifferentKeyCa => {
            found.with_fix("cat old-ca.pem ca-of-the-server.pem > ca.pem, and give that as --ca").with_fix(look)
        }
        Cause::NameMismatch | Cause::WildcardMismatch | Cause::IpSanMissing | Cause::SanMissing => {
            let kind = if case.meant().parse::<std::net::IpAddr>().is_ok() { "ip" } else { "dns" };
            found.with_fix(format!("countersign issue server {0} --{kind} {0}", case.meant()))
        }
        _ => found.with_fix(look),
    }
}

/// The fault with the cause that what else is at hand shows it to be.
fn told(
    case: &Case<'_>,
    chain: &[Vec<u8>],
    fault: &ChainFault,
    names: &[ExpectedName],
    now: UnixTime,
) -> Finding {
    let plain = chain::cause(&fault.kind, Purpose::ServerAuth);
    let ChainFaultKind::UnknownIssuer { issuer } = &fault.kind else {
        return finding(case, plain, fault);
    };
    let mut completed = chain.to_vec();
    completed.extend(case.known.every_issuer());
    let by = (now, case.question.strict);
    let judged = verdict(
        &case.known.anchors,
        &[],
        &completed,
        Purpose::ServerAuth,
        names,
        by,
    );
    let is_missing = match judged {
        Some(Ok(_)) => true,
        Some(Err(other)) => !matches!(
            other.kind,
            ChainFaultKind::UnknownIssuer { .. }
                | ChainFaultKind::WrongOrder
                | ChainFaultKind::TooDeep { .. }
                | ChainFaultKind::TooLarge { .. }
        ),
        None => false,
    };
    let anchors = parsed(&case.known.anchors);
    if is_missing || (chain.len() == 1 && looks_like_an_intermediate(issuer, &anchors)) {
        return finding(case, Cause::ChainMissingIntermediate, fault).with("missing", issuer);
    }
    if let Some(anchor) = anchors
        .iter()
        .find(|anchor| is_other_generation(issuer, &anchor.subject().to_string()))
    {
        return finding(case, Cause::CaRotatedWithoutOverlap, fault)
            .with("trusted", anchor.subject());
    }
    let trusted: Vec<String> = anchors
        .iter()
        .take(4)
        .map(|anchor| anchor.subject().to_string())
        .collect();
    finding(case, plain, fault).with("trusted", trusted.join("; "))
}

/// Whether a name reads as that of an issuer below one of these roots: all there is to go by where nobody has its
/// certificate.
pub(super) fn looks_like_an_intermediate(issuer: &str, roots: &[Certificate]) -> bool {
    let lower = issuer.to_ascii_lowercase();
    let says_root = lower
        .split(|c: char| !c.is_ascii_alphanumeric())
        .any(|word| word == "root");
    if says_root {
        return false;
    }
    let says_so = [
        "intermediate",
        "issuing",
        "subordinate",
        "sub ca",
        "sub-ca",
        "signing",
    ]
    .iter()
    .any(|word| lower.contains(word));
    let words = |name: &str| -> Vec<String> {
        name.to_ascii_lowercase()
            .split(|c: char| !c.is_ascii_alphanumeric())
            .filter(|word| word.len() > 2 && !COMMON_WORDS.contains(word))
            .map(str::to_owned)
            .collect()
    };
    let own = words(issuer);
    let is_kin = roots
        .iter()
        .filter(|root| is_self_issued(root))
        .any(|root| {
            let theirs = words(&root.subject().to_string());
            own.iter().any(|word| theirs.contains(word))
        });
    says_so
        && (is_kin
            || own.is_empty()
            || roots
                .iter()
                .all(|root| words(&root.subject().to_string()).is_empty()))
}

/// Where no --ca was given the system's roots count, which the probe has asked.
fn without_anchors(
    case: &Case<'_>,
    chain: &[Vec<u8>],
    names: &[ExpectedName],
    now: UnixTime,
) -> Option<Finding> {
    if case.seen.vouched == Vouched::System {
        return None;
    }
    // Whatever stands above the leaf stands in for the anchors, so that times and names are judged all the same.
    let above: Vec<Vec<u8>> = chain.iter().skip(1).cloned().collect();
    let by = (now, false);
    if let Some(Err(fault)) = verdict(&above, &[], chain, Purpose::ServerAuth, names, by) {
        let slug = chain::cause(&fault.kind, Purpose::ServerAuth);
        if !matches!(fault.kind, ChainFaultKind::UnknownIssuer { .. }) {
            return Some(finding(case, slug, &fault));
        }
    }
    let leaf = Certificate::parse_anchor(chain.first()?).ok()?;
    if leaf.not_after() < now {
        let ago = spoken(now.since(leaf.not_after()));
        return Some(
            Finding::fault(
                Cause::LeafExpired,
                Side::Server,
                format!(
                    "{} shows a certificate that expired {ago} ago (not_after {}, now {now})",
                    case.seen.target,
                    leaf.not_after()
                ),
            )
            .with("not_after", leaf.not_after())
            .with("now", now),
        );
    }
    let Vouched::Nobody(why) = &case.seen.vouched else {
        return None;
    };
    Some(
        Finding::fault(
            Cause::ServerCaNotTrusted,
            Side::Client,
            format!(
                "no --ca was given, and the system's roots do not vouch for {}: {why}",
                case.seen.target
            ),
        )
        .risk()
        .with("issuer", leaf.issuer())
        .with_fix("give the CA that the client trusts as --ca FILE"),
    )
}

/// The fault's own root, where something else brings it about.
fn root(case: &Case<'_>, fault: &Finding, skew: Option<i64>) -> Option<Finding> {
    if fault.severity != Severity::Fault {
        return None;
    }
    by_other_name(case, fault).or_else(|| by_clock(case, fault, skew))
}

/// Under another name the server shows a certificate that is good for the client.
fn by_other_name(case: &Case<'_>, fault: &Finding) -> Option<Finding> {
    let is_of_a_kind = matches!(
        fault.cause,
        Cause::NameMismatch
            | Cause::SanMissing
            | Cause::WildcardMismatch
            | Cause::IpSanMissing
            | Cause::ServerCaNotTrusted
            | Cause::LeafExpired
            | Cause::ChainMissingIntermediate
            | Cause::CaUsedAsEndEntity
    );
    let speaking = case.speaking()?;
    let good = is_of_a_kind
        .then(|| {
            case.attempts(Speech::Tls)
                .find(|attempt| is_good_by_its_name(case, speaking, attempt))
        })
        .flatten()?;
    let name = good.trial.sni.as_deref().unwrap_or_default();
    let asked = match &speaking.trial.sni {
        Some(sni) => format!("asked for {sni}"),
        None => "asked for no name".to_owned(),
    };
    let shown = subject(speaking).unwrap_or_default();
    Some(
        Finding::fault(
            Cause::SniSelectsWrongVhost,
            Side::Client,
            format!("{} {asked} answers as another virtual host ({shown}); asked for {name} it shows the right certificate", case.seen.target),
        )
        .with("sni", speaking.trial.sni.as_deref().unwrap_or("none"))
        .with("shown", shown)
        .with("sni_that_is_right", name)
        .with("shown_then", subject(good).unwrap_or_default())
        .with_fix(format!("curl --connect-to ::{} https://{name}/", case.seen.target))
        .with_fix(format!("openssl s_client -connect {} -servername {name}", case.seen.target)),
    )
}

fn is_good_by_its_name(case: &Case<'_>, speaking: &Attempt, attempt: &Attempt) -> bool {
    let Some(name) = attempt
        .trial
        .sni
        .as_ref()
        .filter(|_| attempt.trial.sni != speaking.trial.sni)
    else {
        return false;
    };
    let Ok(expected) = ExpectedName::parse(name, Purpose::ServerAuth) else {
        return false;
    };
    !attempt.chain.is_empty()
        && attempt.chain.first() != speaking.chain.first()
        && fault(case, &der(&attempt.chain), &[expected], case.now).is_none()
}

fn subject(attempt: &Attempt) -> Option<String> {
    let leaf = Certificate::parse_anchor(&attempt.chain.first()?.0).ok()?;
    let names: Vec<String> = leaf
        .subject_alt_names()
        .iter()
        .take(4)
        .map(TypedName::bare)
        .collect();
    Some(if names.is_empty() {
        leaf.subject().to_string()
    } else {
        names.join(", ")
    })
}

/// The server shows another certificate than its file holds, and an older one.
fn not_reloaded(case: &Case<'_>, chain: &[Vec<u8>]) -> Option<Finding> {
    let file = parsed(&case.known.server_cert_file).into_iter().next()?;
    let served = Certificate::parse_anchor(chain.first()?).ok()?;
    if file.der() == served.der() {
        return None;
    }
    let is_newer = file.not_before() > served.not_before()
        || (file.not_before() == served.not_before() && file.not_after() > served.not_after());
    let is_same_server = file
        .subject_alt_names()
        .iter()
        .any(|name| served.subject_alt_names().contains(name))
        || file.subject_der() == served.subject_der();
    if !is_newer || !is_same_server {
        return None;
    }
    let mut found = Finding::fault(
        Cause::ServerNotReloaded,
        Side::Server,
        format!(
            "{} still shows serial {} (not_after {}); its file holds serial {} (from {}, not_after {})",
            case.seen.target,
            served.serial(),
            served.not_after(),
            file.serial(),
            file.not_before(),
            file.not_after()
        ),
    )
    .with("served_fingerprint", served.fingerprint())
    .with("served_not_after", served.not_after())
    .with("file_fingerprint", file.fingerprint())
    .with("file_not_after", file.not_after());
    if let Some(modified) = case.known.server_cert_file_modified {
        found = found.with("file_modified", modified);
    }
    Some(found.with_fix("nginx -s reload; systemctl reload haproxy; apachectl graceful"))
}

/// Whether the file would do what the served certificate does not.
fn file_is_good(case: &Case<'_>) -> bool {
    fault(
        case,
        &case.known.server_cert_file,
        &case.expected(),
        case.now,
    )
    .is_none_or(|fault| fault.severity != Severity::Fault)
}

fn unproved(case: &Case<'_>, why: &str) -> Finding {
    Finding::fault(
        Cause::BadSignature,
        Side::Server,
        format!(
            "{} does not prove that it holds the key of its certificate: {why}",
            case.seen.target
        ),
    )
    .with("why", why)
}

fn rule_out(case: &Case<'_>, chain: &[Vec<u8>], out: &mut Verdict) {
    let Some(leaf) = chain
        .first()
        .and_then(|der| Certificate::parse_anchor(der).ok())
    else {
        return;
    };
    let left = spoken(leaf.not_after().since(case.now));
    out.rule_out(
        Cause::LeafExpired,
        format!(
            "the server's certificate ends {}, in {left}",
            leaf.not_after()
        ),
    );
    if case.seen.vouched == Vouched::Unknown || case.known.anchors.is_empty() {
        return;
    }
    let anchors = parsed(&case.known.anchors);
    let signer = parsed(chain)
        .iter()
        .find_map(|sent| anchors.iter().find(|anchor| is_issued_by(sent, anchor)))
        .map(|anchor| anchor.subject().to_string());
    if let Some(signer) = signer {
        out.rule_out(
            Cause::ServerCaNotTrusted,
            format!("the server's chain leads to {signer} of --ca"),
        );
        out.rule_out(
            Cause::ChainMissingIntermediate,
            format!(
                "the server sends {} certificates, which lead to {signer}",
                chain.len()
            ),
        );
    }
    out.rule_out(
        Cause::NameMismatch,
        format!("the server's certificate holds {}", case.meant()),
    );
}

/// Words that say nothing of whose a CA is.
const COMMON_WORDS: &[&str] = &[
    "root",
    "intermediate",
    "issuing",
    "authority",
    "certificate",
    "certification",
    "subordinate",
    "sub",
    "signing",
    "test",
];
