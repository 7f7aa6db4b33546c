//! What the server shows, and the issuers above it.

use countersign_pki::certificate::Certificate;
use countersign_pki::chain::Purpose;
use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::time::UnixTime;

use super::super::known::{Known, is_issued_by, is_self_issued, parsed, verdict};
use super::super::{Attempt, Speech, TargetSeen};
use super::der;

/// The connection by which the server is judged.
pub(in crate::doctor) fn serving(seen: &TargetSeen) -> Option<&Attempt> {
    let mut attempts = seen.attempts.iter();
    attempts.find(|attempt| attempt.trial.speech == Speech::Tls && !attempt.chain.is_empty())
}

/// What the server shows, and the issuers above it as far as anything at hand leads.
pub(in super::super) fn served_path(seen: &TargetSeen, known: &Known) -> Vec<Certificate> {
    path(seen, known, parsed)
}

/// The server's certificate and its issuers as they were verified: what else it sends, whoever signed that, is not among them. Where nothing at
/// hand verifies them, its certificate and an issuer alone.
pub(in crate::doctor) fn verified_path(
    seen: &TargetSeen,
    known: &Known,
    by: (UnixTime, bool),
) -> Vec<Certificate> {
    let chain = serving(seen).map(|attempt| der(&attempt.chain));
    let chain = chain.unwrap_or_default();
    let mut path = served_path(seen, known);
    path.truncate(2);
    let verified = verdict(&known.anchors, &[], &chain, Purpose::ServerAuth, &[], by);
    let (Some(Ok(peer)), Some(leaf)) = (verified, path.first()) else {
        return path;
    };
    let (sent, anchors) = (parsed(&chain), parsed(&known.anchors));
    let is_signed_by = |it: &Certificate, key: Fingerprint| {
        let mut issuers = sent.iter().chain(&anchors);
        issuers.any(|issuer| issuer.spki() == key && is_issued_by(it, issuer))
    };
    let mut path = vec![leaf.clone()];
    for (index, element) in peer.path().iter().enumerate() {
        let issuer = match peer.path().get(index + 1) {
            Some(above) => sent.iter().find(|it| {
                it.spki() == element.issuer_key
                    && it.serial() == above.serial
                    && is_signed_by(it, above.issuer_key)
            }),
            None => anchors.iter().find(|it| it.fingerprint() == peer.anchor()),
        };
        let Some(issuer) = issuer else { break };
        path.push(issuer.clone());
    }
    path
}

/// The same with certificates that nobody may be admitted by.
pub(in crate::doctor) fn served_evidence(seen: &TargetSeen, known: &Known) -> Vec<Certificate> {
    path(seen, known, |chain| {
        let read = chain
            .iter()
            .filter_map(|der| Certificate::parse_as_evidence(der).ok());
        read.map(|(certificate, _)| certificate).collect()
    })
}

fn path(
    seen: &TargetSeen,
    known: &Known,
    parsed: fn(&[Vec<u8>]) -> Vec<Certificate>,
) -> Vec<Certificate> {
    let sent = serving(seen).map(|attempt| parsed(&der(&attempt.chain)));
    let sent = sent.unwrap_or_default();
    let mut path: Vec<Certificate> = sent.first().cloned().into_iter().collect();
    let others = parsed(&known.every_issuer());
    while let Some(last) = path.last().filter(|last| !is_self_issued(last)) {
        let mut above = sent.iter().skip(1).chain(&others);
        let Some(next) = above.find(|above| is_issued_by(last, above)).cloned() else {
            break;
        };
        if path.len() == MAX_PATH || path.iter().any(|known| known.der() == next.der()) {
            break;
        }
        path.push(next);
    }
    path
}

/// webpki follows six intermediates.
const MAX_PATH: usize = 8;
