//! What is remarkable about a file by itself, where nobody said whose it is or what it is for.
//!
//! A certificate is judged as that of the side that it was made for; a file of CAs alone as what it is. Nothing is said of what a file
//! may lack beside it.

use countersign_pki::certificate::Certificate;
use countersign_pki::chain::{Purpose, flaw_of_issuer};
use countersign_pki::compatibility::objections_to_issuers;
use countersign_pki::material::CertificatePiece;
use countersign_pki::time::{UnixTime, spoken};

use super::party::Party;
use super::{FileSeen, Judgement, Role, form, leaf, pairing, passage, revocation, size};
use crate::cause::Cause;
use crate::doctor::Observations;
use crate::finding::{Finding, Severity, Side};

pub(super) fn judge(observations: &Observations, judgement: &mut Judgement) {
    for file in &observations.files {
        form::alone(file, observations, judgement);
        if let Some(party) = Party::alone(file, observations, purpose(file)) {
            let is_bundle = party
                .chain
                .iter()
                .all(|piece| piece.certificate().is_some_and(Certificate::is_ca));
            if is_bundle {
                for piece in &party.chain {
                    leaf::flaws(&party, piece.place, piece, judgement);
                }
            } else {
                certificate(&party, judgement);
            }
        }
        issuers(file, observations.now, judgement);
        lists(file, observations.now, judgement);
        keys_and_requests(file, judgement);
    }
}

/// What the first certificate that is no CA's was made for: what it lists, else what its names are good for.
fn purpose(file: &FileSeen) -> Purpose {
    match file.role {
        Role::ClientCertificate => return Purpose::ClientAuth,
        Role::ServerCertificate => return Purpose::ServerAuth,
        _ => {}
    }
    let mut certificates = file.material.certificates.iter();
    let leaf = certificates.find_map(|piece| piece.certificate().filter(|it| !it.is_ca()));
    let is_servers = leaf.is_some_and(|leaf| match leaf.extended_key_usage() {
        Some(usage) => usage.server_auth,
        None => leaf.has_alt_names(),
    });
    if is_servers {
        Purpose::ServerAuth
    } else {
        Purpose::ClientAuth
    }
}

fn certificate(party: &Party<'_>, judgement: &mut Judgement) {
    let mut of_side = Judgement::default();
    pairing::judge(party, &mut of_side);
    passage::judge(party, &mut of_side);
    leaf::judge(party, &mut of_side);
    size::judge(party, &mut of_side);
    revocation::judge(std::slice::from_ref(party), &mut of_side);
    if let Some(leaf) = party.leaf()
        && let [oid, ..] = &leaf.unknown_critical_extensions()[..]
    {
        let message = format!(
            "the certificate of {} in {} has the critical extension {oid}, which is not understood: verifiers must refuse it",
            leaf.subject(),
            party.file.path
        );
        of_side.find(about(
            party.file,
            Cause::MalformedCertificate,
            Severity::Fault,
            message,
        ));
    }
    // Signers of code, of OCSP answers and the like are no fault where nobody means to connect with them.
    let is_for_neither = party.leaf().is_some_and(|leaf| {
        let usage = leaf.extended_key_usage();
        usage.is_some_and(|usage| !usage.client_auth && !usage.server_auth)
    });
    let of_purpose = |finding: &Finding| {
        matches!(
            finding.cause,
            Cause::EkuMissingClientauth | Cause::EkuMissingServerauth
        )
    };
    judgement
        .findings
        .extend(of_side.findings.into_iter().map(|finding| {
            if is_for_neither && of_purpose(&finding) {
                finding.note()
            } else {
                finding
            }
        }));
    judgement.ruled_out.extend(of_side.ruled_out);
}

/// Every CA certificate, whether it stands above another or alone.
fn issuers(file: &FileSeen, now: UnixTime, judgement: &mut Judgement) {
    let pieces = file.material.certificates.iter();
    let cas: Vec<_> = pieces
        .filter_map(|piece| Some((piece, piece.certificate().filter(|it| it.is_ca())?)))
        .collect();
    let is_alone = cas.len() == file.material.certificates.len();
    let is_over = |ca: &Certificate| ca.not_after() < now;
    let is_all_over = is_alone && cas.iter().all(|(_, ca)| is_over(ca));
    for (piece, ca) in &cas {
        let whose = whose(file, piece, ca);
        let (begin, end) = (ca.not_before(), ca.not_after());
        let is_root = ca.subject_der() == ca.issuer_der();
        let mut find = |cause, severity, what: String| {
            judgement.find(
                about(file, cause, severity, format!("{whose} {what}"))
                    .with("subject", ca.subject())
                    .with("place", piece.place),
            );
        };
        if is_over(ca) {
            let cause = if is_root {
                Cause::RootExpired
            } else {
                Cause::IntermediateExpired
            };
            let severity = if is_all_over {
                Severity::Fault
            } else {
                Severity::Risk
            };
            let ago = spoken(now.since(end));
            let what = format!("expired {ago} ago (not_after {end}, now {now})");
            find(cause, severity, what);
        } else if now < begin {
            let what = format!(
                "is valid only in {} (not_before {begin}, now {now})",
                spoken(begin.since(now))
            );
            find(Cause::NotYetValid, Severity::Fault, what);
        }
        if let Some(key) = ca.weak_key() {
            find(
                Cause::WeakKey,
                Severity::Fault,
                format!("has the weak key {key}"),
            );
        }
        // Nobody verifies what a trust anchor has signed itself with.
        if let (Some(algorithm), false) = (ca.weak_signature(), is_root) {
            let what = format!("is signed with {algorithm}, which is weak");
            find(Cause::WeakSignature, Severity::Fault, what);
        }
        if ca.version() != 3 {
            let what = format!("is X.509 version {}", ca.version());
            find(Cause::X509V1, Severity::Fault, what);
        }
        let usage = ca.key_usage();
        if usage.is_some_and(|usage| !usage.listed().contains(&"keyCertSign")) {
            let what = "has a keyUsage without keyCertSign".to_owned();
            find(Cause::IssuerCannotSign, Severity::Fault, what);
        }
        if let Some(why) = flaw_of_issuer(ca) {
            let cause = if why.contains("nameConstraints") {
                Cause::NameConstraintsUnsupported
            } else {
                Cause::MalformedCertificate
            };
            find(cause, Severity::Risk, why);
        }
    }
    let chain: Vec<Certificate> = cas.iter().map(|(_, ca)| (*ca).clone()).collect();
    let mut objections = objections_to_issuers(&chain).into_iter();
    let strict = objections.find(|objection| objection.client.contains("-x509_strict"));
    if let Some(objection) = strict {
        let message = format!("{} (refused by {})", objection.why, objection.client);
        judgement.find(
            about(file, Cause::CaExtensionsIncomplete, Severity::Note, message)
                .with("source", objection.source),
        );
    }
}

fn lists(file: &FileSeen, now: UnixTime, judgement: &mut Judgement) {
    let certificates = || file.material.certificates.iter();
    for piece in &file.material.lists {
        let list = match &piece.list {
            Ok(list) => list,
            Err(why) => {
                let message = format!("CRL {} of {} cannot be read: {why}", piece.place, file.path);
                let finding = about(file, Cause::CrlUnprocessed, Severity::Fault, message);
                judgement.find(finding.with("why", why));
                continue;
            }
        };
        let whose = format!("the CRL of {} in {}", list.issuer(), file.path);
        let mut find = |cause, what: String| {
            judgement.find(
                about(file, cause, Severity::Fault, format!("{whose} {what}"))
                    .with("crl_issuer", list.issuer())
                    .with("now", now),
            );
        };
        if let Some(end) = list.next_update().filter(|end| *end < now) {
            let ago = spoken(now.since(end));
            let what = format!("was due to be replaced {ago} ago (next_update {end}, now {now})");
            find(Cause::CrlExpired, what);
        }
        if now < list.this_update() {
            let begin = list.this_update();
            find(
                Cause::CrlUnprocessed,
                format!("begins only {begin} (this_update), now it is {now}"),
            );
        }
        if let [oid, ..] = list.unknown_critical_extensions() {
            let what = format!("has the critical extension {oid}, which is not understood");
            find(Cause::CrlUnprocessed, what);
        }
        let issuers: Vec<_> = certificates()
            .filter_map(CertificatePiece::certificate)
            .filter(|it| it.subject() == list.issuer())
            .collect();
        if !issuers.is_empty() && !issuers.iter().any(|issuer| list.is_made_by(issuer)) {
            let what = "does not verify with the key of its issuer beside it".to_owned();
            find(Cause::CrlBadSignature, what);
        }
    }
}

fn keys_and_requests(file: &FileSeen, judgement: &mut Judgement) {
    let weak = file.material.keys.iter().find_map(|key| {
        let algorithm = key.algorithm.as_ref().filter(|it| it.is_weak())?;
        Some((key.place, algorithm.to_string()))
    });
    // Of the certificate of this key it is said already.
    if let (Some((place, algorithm)), true) = (weak, file.material.certificates.is_empty()) {
        let message = format!("key {place} of {} is weak: {algorithm}", file.path);
        judgement.find(about(file, Cause::WeakKey, Severity::Fault, message));
    }
    for piece in &file.material.requests {
        if let Err(why) = &piece.request {
            let message = format!(
                "certificate request {} of {} cannot be read: {why}",
                piece.place, file.path
            );
            let finding = about(file, Cause::MalformedCertificate, Severity::Fault, message);
            judgement.find(finding.with("why", why));
        }
    }
}

fn whose(file: &FileSeen, piece: &CertificatePiece, certificate: &Certificate) -> String {
    let (place, path, subject) = (piece.place, &file.path, certificate.subject());
    format!("certificate {place} of {path} ({subject})")
}

fn about(file: &FileSeen, cause: Cause, severity: Severity, message: String) -> Finding {
    let finding = Finding::fault(cause, Side::Ca, message).with("file", &file.path);
    match severity {
        Severity::Fault => finding,
        Severity::Risk => finding.risk(),
        Severity::Note => finding.note(),
    }
}
