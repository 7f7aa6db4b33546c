//! Whether the other side would accept what this side presents.
//!
//! Verifiers in use (OpenSSL and what is built on it) end a path at a self-signed anchor, and take what else the bundle holds as
//! intermediates. So that is asked first; an anchor in the midst of a path is asked for only to tell why the first answer was no.

use countersign_pki::certificate::Certificate;
use countersign_pki::chain::{
    self, ChainFault, ChainFaultKind, Purpose, Rules, Strictness, flaw_of_issuer,
};
use countersign_pki::identity::{BundleName, VerifiedPeer};
use countersign_pki::material::CertificatePiece;
use countersign_pki::verification::Verification;

use super::leaf::{of_fault, told};
use super::trust::{self, Climb};
use super::{Judgement, Party};
use crate::cause::Cause;
use crate::finding::{Finding, RuledOut, Side};

pub(super) fn judge(party: &Party<'_>, judgement: &mut Judgement) {
    let Some(leaf) = party.leaf() else { return };
    if !party.knows_trust() {
        structure(party, judgement);
        if party.purpose == Purpose::ClientAuth {
            trust::missing_below_own_bundle(party, judgement);
        }
        return;
    }
    let is_self_issued = leaf.subject_der() == leaf.issuer_der();
    let is_pinned = party
        .anchors()
        .any(|(_, anchor)| anchor.der == leaf.der().as_ref());
    if is_self_issued && is_pinned {
        if leaf.is_ca() {
            judgement.find(told(party, leaf, ChainFaultKind::CaUsedAsEndEntity));
        } else {
            let because = format!(
                "the {}'s self-signed certificate is itself in the trust bundle",
                party.called()
            );
            judgement.rule_out(RuledOut::new(not_trusted(party), because));
        }
        return;
    }
    match verify(party) {
        Outcome::Accepted(peer) => accepted(party, &peer, judgement),
        Outcome::PartialOnly(peer) => {
            let anchor = party
                .anchors()
                .filter_map(|(_, piece)| piece.certificate())
                .find(|anchor| anchor.fingerprint() == peer.anchor());
            judgement.find(intermediate_anchor(party, anchor));
        }
        Outcome::Refused(fault) => refused(party, leaf, &fault, judgement),
        Outcome::NoAnchor => untrusted(party, judgement),
    }
}

/// What the other side's verifier would say.
pub(super) enum Outcome {
    Accepted(Box<VerifiedPeer>),
    /// No anchor there can be used at all.
    NoAnchor,
    /// Only where a path may end at an anchor that is not self-signed.
    PartialOnly(Box<VerifiedPeer>),
    Refused(Box<ChainFault>),
}

pub(super) fn verify(party: &Party<'_>) -> Outcome {
    let anchors: Vec<_> = party.anchors().map(|(_, piece)| piece).collect();
    let (roots, others): (Vec<_>, Vec<_>) = anchors
        .iter()
        .copied()
        .partition(|piece| is_self_issued(piece));
    let mut sent: Vec<&CertificatePiece> = party.chain.clone();
    let extra = others
        .iter()
        .filter(|piece| !party.chain.iter().any(|own| own.der == piece.der));
    sent.extend(extra.take(MAX_EXTRA));
    let first = run(party, &roots, &sent);
    if let Some(Ok(peer)) = first {
        return Outcome::Accepted(Box::new(peer));
    }
    let is_about_trust = match &first {
        Some(Err(fault)) => is_trust(&fault.kind),
        _ => true,
    };
    if is_about_trust && !others.is_empty() {
        match run(party, &anchors, &party.chain) {
            Some(Ok(peer)) => return Outcome::PartialOnly(Box::new(peer)),
            Some(Err(fault)) if !is_trust(&fault.kind) => return Outcome::Refused(Box::new(fault)),
            Some(Err(fault)) if first.is_none() => return Outcome::Refused(Box::new(fault)),
            _ => {}
        }
    }
    match first {
        Some(Err(fault)) => Outcome::Refused(Box::new(fault)),
        _ => Outcome::NoAnchor,
    }
}

/// `None`: there is no anchor that could be used.
fn run(
    party: &Party<'_>,
    anchors: &[&CertificatePiece],
    sent: &[&CertificatePiece],
) -> Option<Result<VerifiedPeer, ChainFault>> {
    let ders = |pieces: &[&CertificatePiece]| -> Vec<Vec<u8>> {
        pieces.iter().map(|piece| piece.der.clone()).collect()
    };
    let name = BundleName::parse("bundle").expect("lower-case letters are a name");
    let rules = Rules {
        strictness: if party.question.strict {
            Strictness::Strict
        } else {
            Strictness::Usual
        },
        ..Rules::default()
    };
    let verification = Verification::new(name, None, &ders(anchors), &[], rules).ok()?;
    Some(verification.verify(&ders(sent), party.purpose, &[], party.now))
}

/// Whether it is said of the receiver's anchors, and not of the chain.
fn is_trust(kind: &ChainFaultKind) -> bool {
    matches!(
        kind,
        ChainFaultKind::UnknownIssuer { .. }
            | ChainFaultKind::SameNameDifferentKey { .. }
            | ChainFaultKind::MissingIntermediate { .. }
    )
}

fn is_self_issued(piece: &CertificatePiece) -> bool {
    piece
        .certificate()
        .is_some_and(|it| it.subject_der() == it.issuer_der())
}

pub(super) fn not_trusted(party: &Party<'_>) -> Cause {
    match party.purpose {
        Purpose::ClientAuth => Cause::ClientCaNotTrusted,
        Purpose::ServerAuth => Cause::ServerCaNotTrusted,
    }
}

fn accepted(party: &Party<'_>, peer: &VerifiedPeer, judgement: &mut Judgement) {
    let path: Vec<Certificate> = path(party, peer);
    let anchor = path.last();
    let because = format!(
        "the {}'s chain leads to {} in the {}'s trust bundle",
        party.called(),
        anchor.map_or_else(String::new, |anchor| anchor.subject().to_string()),
        party.other_side()
    );
    judgement.rule_out(RuledOut::new(not_trusted(party), because));
    for pair in path.windows(2) {
        let [below, issuer] = pair else { continue };
        if let Some(why) = quotes_another(party, below, issuer) {
            let message = format!(
                "authorityKeyIdentifier of the certificate of {} quotes another issuer certificate than the one at hand: {why}",
                below.subject()
            );
            judgement.find(
                Finding::fault(Cause::AkiMismatch, Side::Ca, message)
                    .with("subject", below.subject())
                    .with("issuer", issuer.subject())
                    .with("file", &party.file.path),
            );
        }
    }
    lax(party, &path, judgement);
}

/// What strict verifiers want; others do not.
fn lax(party: &Party<'_>, path: &[Certificate], judgement: &mut Judgement) {
    if party.question.strict {
        return;
    }
    let Some((_, above)) = path.split_first() else {
        return;
    };
    let objections = countersign_pki::compatibility::objections_to_issuers(above);
    let strict = objections
        .into_iter()
        .find(|objection| objection.client.contains("-x509_strict"));
    if let Some(objection) = strict {
        let message = format!("{} (refused by {})", objection.why, objection.client);
        judgement.find(
            Finding::fault(Cause::CaExtensionsIncomplete, Side::Ca, message)
                .with("source", objection.source)
                .note(),
        );
    }
}

/// From the leaf to the anchor.
pub(super) fn path(party: &Party<'_>, peer: &VerifiedPeer) -> Vec<Certificate> {
    let sent = peer
        .chain()
        .iter()
        .filter_map(|der| Certificate::parse_as_evidence(der).ok())
        .map(|(certificate, _)| certificate);
    let anchor = party
        .anchors()
        .filter_map(|(_, piece)| piece.certificate())
        .find(|anchor| anchor.fingerprint() == peer.anchor());
    sent.chain(anchor.cloned()).collect()
}

/// Where OpenSSL would pass over the issuer (`X509_check_akid`): no certificate of that name and key is the one quoted.
fn quotes_another(party: &Party<'_>, below: &Certificate, issuer: &Certificate) -> Option<String> {
    let sent = party.chain.iter().copied();
    let anchors = party.anchors().map(|(_, piece)| piece);
    let mut candidates = sent
        .chain(anchors)
        .filter_map(CertificatePiece::certificate)
        .filter(|it| it.subject_der() == issuer.subject_der() && it.spki() == issuer.spki());
    let why = below.disagreement_with_issuer(issuer)?;
    candidates
        .all(|candidate| below.disagreement_with_issuer(candidate).is_some())
        .then_some(why)
}

fn intermediate_anchor(party: &Party<'_>, anchor: Option<&Certificate>) -> Finding {
    let bundle = trust::bundle_text(party);
    let (subject, issuer) = anchor.map_or_else(Default::default, |anchor| {
        (anchor.subject().to_string(), anchor.issuer().to_string())
    });
    let message = format!(
        "the {}'s trust bundle {bundle} holds {subject}, which is not self-signed, and not its root {issuer}: OpenSSL, nginx and curl refuse that",
        party.other_side()
    );
    Finding::fault(
        Cause::TrustAnchorIsIntermediate,
        party.other_side(),
        message,
    )
    .with("anchor", subject)
    .with("root", issuer)
    .with("bundle", bundle)
    .with_fix("with OpenSSL: -partial_chain, in programs X509_V_FLAG_PARTIAL_CHAIN")
}

/// The leaf itself is trusted, and nobody above it: Java, Go and current curl end a path there, OpenSSL and Node do not.
fn pinned_leaf(party: &Party<'_>) -> Option<Finding> {
    let leaf = party.leaf()?;
    let mut anchors = party.anchors();
    let (file, _) = anchors.find(|(_, anchor)| anchor.der == leaf.der().as_ref())?;
    let is_javas = file.material.keystore.is_some();
    let is_its_own_root = leaf.subject_der() == leaf.issuer_der();
    (!is_javas && !is_its_own_root).then(|| intermediate_anchor(party, Some(leaf)).risk())
}

fn refused(party: &Party<'_>, leaf: &Certificate, fault: &ChainFault, judgement: &mut Judgement) {
    let finding = || of_fault(party, fault);
    match &fault.kind {
        // A version is said of the certificate itself, and not of its path: whether that is trusted is still to be seen.
        ChainFaultKind::UnknownIssuer { .. }
        | ChainFaultKind::SameNameDifferentKey { .. }
        | ChainFaultKind::MissingIntermediate { .. }
        | ChainFaultKind::Version1 => untrusted(party, judgement),
        ChainFaultKind::Malformed { why } => {
            let is_told = party
                .chain
                .iter()
                .any(|piece| piece.read.is_err() || piece.flaw().is_some());
            if !is_told {
                let is_lenient = LENIENT.iter().any(|lenient| why.contains(lenient));
                // `-x509_strict` insists on it.
                let is_lenient = is_lenient && !(party.question.strict && why.contains(LENIENT[0]));
                judgement.find(if is_lenient {
                    finding().risk()
                } else {
                    finding()
                });
            }
            untrusted(party, judgement);
        }
        ChainFaultKind::MissingDigitalSignature if party.purpose == Purpose::ServerAuth => {
            judgement.find(finding().risk());
        }
        ChainFaultKind::CaUsedAsEndEntity if !leaf.is_ca() => judgement.find(finding().risk()),
        ChainFaultKind::UnsupportedAlgorithm { .. } => judgement.find(finding().risk()),
        ChainFaultKind::NameConstraintsUnsupported { subject }
            if has_leading_period(party) || has_common_constraints(party, subject) =>
        {
            judgement.find(finding().risk());
        }
        ChainFaultKind::IssuerNotACa { subject } => {
            let issuer = every(party).find(|it| it.subject().to_string() == *subject);
            if issuer.is_some_and(|issuer| issuer.version() != 3) {
                let message = format!(
                    "issuer {subject} is X.509 version 1 or 2, without extensions, and so no CA"
                );
                judgement.find(
                    Finding::fault(Cause::X509V1, Side::Ca, message).with("at_fault", subject),
                );
            } else {
                judgement.find(finding());
            }
        }
        ChainFaultKind::TooLarge { .. } => {}
        _ => judgement.find(finding()),
    }
}

/// Every certificate of the path that could be.
fn every<'a>(party: &'a Party<'_>) -> impl Iterator<Item = &'a Certificate> {
    let own = party.chain.iter().copied();
    own.chain(party.anchors().map(|(_, piece)| piece))
        .filter_map(CertificatePiece::certificate)
}

fn has_leading_period(party: &Party<'_>) -> bool {
    every(party).any(|it| flaw_of_issuer(it).is_some_and(|flaw| flaw.contains("leading period")))
}

/// Whether OpenSSL, and more, would have compared the constraints of an issuer, and taken the names below it.
fn has_common_constraints(party: &Party<'_>, subject: &str) -> bool {
    every(party)
        .find(|it| it.subject().to_string() == *subject)
        .is_some_and(chain::has_common_constraints)
}

/// Why no path leads to an anchor, if none does.
fn untrusted(party: &Party<'_>, judgement: &mut Judgement) {
    let climb = Climb::of(party);
    if climb.reaches_an_anchor(party) {
        trust::oddities_of_anchors(party, &climb, judgement);
        judgement.findings.extend(pinned_leaf(party));
    } else {
        judgement.find(trust::untrusted(party, &climb));
    }
}

/// The chain by itself, where it is not known what the other side trusts: its own top, and CAs of other files, stand for anchors.
fn structure(party: &Party<'_>, judgement: &mut Judgement) {
    let is_ca = |piece: &&CertificatePiece| piece.certificate().is_some_and(Certificate::is_ca);
    let own = party.chain.iter().skip(1).copied().filter(is_ca);
    let elsewhere = party.elsewhere().map(|(_, piece)| piece).filter(is_ca);
    // The first as well: a chain that begins with an issuer has its leaf behind it.
    let first = party
        .chain
        .first()
        .copied()
        .filter(|_| party.chain.len() > 1)
        .filter(is_ca);
    let anchors: Vec<_> = own.chain(elsewhere).chain(first).take(MAX_EXTRA).collect();
    let Some(Err(fault)) = run(party, &anchors, &party.chain) else {
        return;
    };
    let is_own = |subject: &str| {
        let mut own = party.chain.iter().filter_map(|piece| piece.certificate());
        own.any(|it| it.subject().to_string() == *subject && it.subject() != it.issuer())
    };
    match &fault.kind {
        ChainFaultKind::RootExpired { subject, not_after } if is_own(subject) => {
            if let Some(leaf) = party.leaf() {
                let kind = ChainFaultKind::IntermediateExpired {
                    subject: subject.clone(),
                    not_after: *not_after,
                };
                judgement.find(told(party, leaf, kind));
            }
        }
        ChainFaultKind::CaUsedAsEndEntity if party.leaf().is_some_and(|leaf| !leaf.is_ca()) => {
            judgement.find(of_fault(party, &fault).risk());
        }
        ChainFaultKind::MissingDigitalSignature if party.purpose == Purpose::ServerAuth => {}
        ChainFaultKind::NameConstraintsUnsupported { subject }
            if has_leading_period(party) || has_common_constraints(party, subject) => {}
        // Said by the leaf itself, or not to be known without the receiver's anchors.
        ChainFaultKind::BadSignature { .. }
        | ChainFaultKind::Malformed { .. }
        | ChainFaultKind::NotStrict { .. }
        | ChainFaultKind::RootExpired { .. }
        | ChainFaultKind::TooLarge { .. }
        | ChainFaultKind::Version1
        | ChainFaultKind::UnsupportedAlgorithm { .. } => {}
        kind if is_trust(kind) => {}
        _ => judgement.find(of_fault(party, &fault)),
    }
}

/// What the judge refuses because verifiers read it differently, and OpenSSL takes.
const LENIENT: [&str; 5] = [
    "subject is empty",
    "policyConstraints",
    "critical extension 2.5.29.36",
    "critical extension 2.5.29.33",
    "critical extension 2.5.29.54",
];

/// [`Verification`] takes 128 certificates.
const MAX_EXTRA: usize = 24;
