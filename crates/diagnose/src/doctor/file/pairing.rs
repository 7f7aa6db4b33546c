//! Whether a side's key belongs to its certificate.

use std::time::Duration;

use countersign_pki::certificate::Certificate;
use countersign_pki::material::{CertificatePiece, KeyPiece};
use countersign_pki::time::spoken;

use super::{FileSeen, Judgement, Party, Role};
use crate::cause::Cause;
use crate::doctor::shell_word::quoted;
use crate::finding::{Finding, RuledOut};

pub(super) fn judge(party: &Party<'_>, judgement: &mut Judgement) {
    let Some(leaf) = party.leaf() else { return };
    let known: Vec<_> = party
        .keys
        .iter()
        .filter(|(_, key)| key.spki.is_some())
        .collect();
    let Some(&&(file, key)) = known.first() else {
        return;
    };
    if known.iter().any(|(_, key)| key.spki == Some(leaf.spki())) {
        let (certificate, key) = (&party.file.path, &file.path);
        let because = if certificate == key {
            format!("the key in {key} belongs to the certificate beside it")
        } else {
            format!("the key {key} belongs to the certificate {certificate}")
        };
        judgement.rule_out(RuledOut::new(Cause::KeyCertMismatch, because));
        return;
    }
    judgement.find(mismatch(party, leaf, file, key));
}

fn mismatch(party: &Party<'_>, leaf: &Certificate, file: &FileSeen, key: &KeyPiece) -> Finding {
    let (certificate_path, key_path) = (&party.file.path, &file.path);
    let belongs = |piece: &&CertificatePiece| {
        piece
            .certificate()
            .is_some_and(|certificate| Some(certificate.spki()) == key.spki)
    };
    let facts = |finding: Finding| {
        finding
            .with("file", certificate_path)
            .with("key", key_path)
            .with("subject", leaf.subject())
            .with("certificate_spki", leaf.spki())
            .with(
                "key_spki",
                key.spki.map(|it| it.to_string()).unwrap_or_default(),
            )
    };
    if let Some(own) = party.chain.iter().copied().find(belongs) {
        if let Some(certificate) = own
            .certificate()
            .filter(|own| is_in_order(party, leaf, own))
        {
            let message = format!(
                "the key {key_path} does not belong to the first certificate of {certificate_path} (subject {}), but to certificate {} (subject {}): it is a CA's key",
                leaf.subject(),
                own.place,
                certificate.subject()
            );
            return facts(Finding::fault(
                Cause::KeyCertMismatch,
                party.side(),
                message,
            ));
        }
        let message = format!(
            "the key {key_path} belongs to certificate {} of {certificate_path}, not to the first, which is what is presented",
            own.place
        );
        return facts(Finding::fault(
            Cause::ChainWrongOrder,
            party.side(),
            message,
        ));
    }
    if let Some(finding) = of_another(party, leaf, file, key) {
        return facts(finding);
    }
    if let Some(other) = own_key_elsewhere(party, leaf) {
        let message = format!(
            "the key {key_path} does not belong to the certificate {certificate_path} (not_before {}), and the key in {} does: one of the two was replaced",
            leaf.not_before(),
            other.path
        );
        return facts(Finding::fault(
            Cause::RotationHalfApplied,
            party.side(),
            message,
        ))
        .with("other_key", &other.path);
    }
    if let Some(finding) = by_times(party, leaf, file) {
        return facts(finding);
    }
    let message = format!(
        "the key {key_path} does not belong to the certificate {certificate_path} (subject {})",
        leaf.subject()
    );
    facts(Finding::fault(
        Cause::KeyCertMismatch,
        party.side(),
        message,
    ))
    .with_fix(format!(
        "openssl x509 -in {} -noout -pubkey",
        quoted(certificate_path)
    ))
    .with_fix(format!("openssl pkey -in {} -pubout", quoted(key_path)))
    .with_fix("the two commands print the same for a pair")
}

/// Where the certificate that the key belongs to lies elsewhere.
fn of_another(
    party: &Party<'_>,
    leaf: &Certificate,
    file: &FileSeen,
    key: &KeyPiece,
) -> Option<Finding> {
    let (certificate_path, key_path) = (&party.file.path, &file.path);
    let (other, certificate) = party.elsewhere().find_map(|(other, piece)| {
        let certificate = piece.certificate()?;
        (Some(certificate.spki()) == key.spki).then_some((other, certificate))
    })?;
    if is_same_holder(leaf, certificate) && other.role == Role::Other {
        let (older, newer) = if certificate.not_before() <= leaf.not_before() {
            ("new", "the older one")
        } else {
            ("old", "the newer one")
        };
        let message = format!(
            "the certificate {certificate_path} is {older} (not_before {}), and the key {key_path} belongs to {newer} in {} (not_before {})",
            leaf.not_before(),
            other.path,
            certificate.not_before()
        );
        let finding = Finding::fault(Cause::RotationHalfApplied, party.side(), message);
        return Some(finding.with("other_certificate", &other.path));
    }
    let message = format!(
        "the key {key_path} does not belong to {certificate_path} (subject {}), but to {} (subject {})",
        leaf.subject(),
        other.path,
        certificate.subject()
    );
    let finding = Finding::fault(Cause::KeyCertMismatch, party.side(), message);
    Some(finding.with("belongs_to", &other.path))
}

/// The key that does belong to the certificate, in a file of no named use.
fn own_key_elsewhere<'a>(party: &Party<'a>, leaf: &Certificate) -> Option<&'a FileSeen> {
    let others = party.files.iter();
    others.filter(|file| file.role == Role::Other).find(|file| {
        let mut keys = file.material.keys.iter();
        keys.any(|key| key.spki == Some(leaf.spki()))
    })
}

/// Whether the file begins with its leaf all the same, and `own`, to which the key belongs, stands above it.
fn is_in_order(party: &Party<'_>, leaf: &Certificate, own: &Certificate) -> bool {
    let second = party.chain.get(1).and_then(|piece| piece.certificate());
    let is_issued_by_second = second
        .is_some_and(|issuer| leaf.issuer() == issuer.subject() && leaf.subject() != leaf.issuer());
    // An issuing CA may stand before the root and both before the leaf.
    is_issued_by_second && (own.is_ca() || !leaf.is_ca())
}

/// A key file that was last written well before the certificate began, beside a certificate file that was written since.
fn by_times(party: &Party<'_>, leaf: &Certificate, file: &FileSeen) -> Option<Finding> {
    if party.file.path == file.path {
        return None;
    }
    let (key_at, certificate_at) = (file.modified?, party.file.modified?);
    let begins = leaf.not_before().min(certificate_at);
    let is_older = key_at.plus(APART) < begins && certificate_at.plus(APART) >= leaf.not_before();
    is_older.then(|| {
        let message = format!(
            "the certificate {} is new (not_before {}), and the key {} was last written {} before (modified {key_at}) and does not belong to it",
            party.file.path,
            leaf.not_before(),
            file.path,
            spoken(begins.since(key_at))
        );
        Finding::fault(Cause::RotationHalfApplied, party.side(), message)
            .with("key_modified", key_at)
            .with("certificate_modified", certificate_at)
    })
}

/// Whether two certificates name the same holder: the subject, or any alternative name.
pub(super) fn is_same_holder(one: &Certificate, other: &Certificate) -> bool {
    let names = other.subject_alt_names();
    (!one.subject().is_empty() && one.subject() == other.subject())
        || one
            .subject_alt_names()
            .iter()
            .any(|name| names.contains(name))
}

/// Files that were made together are written within minutes; that they were copied keeps their order.
const APART: Duration = Duration::from_hours(12);
