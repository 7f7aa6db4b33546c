//! Why webpki said no: the same chain walked again, slowly, with the evidence kept.
//!
//! Order of causes. What cannot be read comes before all else (the caller has seen to it), then the order of the file.
//! Then trust, then everything else: while no signed path leads to an anchor, that is the fault, and an expired
//! certificate of a stranger is a stranger's. Once there are signed paths, the fault is the first in the order of
//! [`super::judge`], of the path that came nearest to acceptance.

use super::anchor::{Anchor, Anchors};
use super::constraints;
use super::fault::ChainFaultKind;
use super::judge::{Case, SignedPath, name_text, stage};
use super::outline::Outline;
use super::strength::{self, Link};
use crate::certificate::Certificate;

/// What is wrong with `sent` (the leaf, then the others), which webpki refused with `verdict`.
pub(super) fn find(
    case: &Case<'_>,
    sent: &[Outline<'_>],
    anchors: &Anchors,
    known_intermediates: &[Certificate],
    verdict: &webpki::Error,
) -> ChainFaultKind {
    if is_in_wrong_order(sent) {
        return ChainFaultKind::WrongOrder;
    }
    let known: Vec<Outline<'_>> = known_intermediates
        .iter()
        .filter_map(|known| Outline::parse(known.der()).ok())
        .collect();
    let mut walk = Walk {
        case,
        sent,
        anchors,
        known: &known,
        climbs: 0,
        signatures: 0,
        paths: Vec::new(),
        dead_ends: Vec::new(),
    };
    walk.climb(&mut vec![0]);
    let faults: Vec<_> = walk
        .paths
        .iter()
        .map(|(path, anchor)| refused(case, sent, path, anchor, verdict))
        .collect();
    if let Some(fault) = furthest(faults, stage) {
        return fault;
    }
    let longest = walk.dead_ends.iter().map(|(depth, _)| *depth).max();
    let nearest = walk
        .dead_ends
        .into_iter()
        .filter(|(depth, _)| Some(*depth) == longest)
        .map(|(_, fault)| fault)
        .collect();
    furthest(nearest, specificity).unwrap_or_else(|| translated(verdict, sent.len()))
}

struct Walk<'w, 'c> {
    case: &'w Case<'w>,
    sent: &'w [Outline<'c>],
    anchors: &'w Anchors,
    known: &'w [Outline<'w>],
    climbs: usize,
    signatures: usize,
    /// Places in `sent`, leaf first, and the anchor above them.
    paths: Vec<(Vec<usize>, &'w Anchor)>,
    /// How many certificates stood in the path that led nowhere, and why.
    dead_ends: Vec<(usize, ChainFaultKind)>,
}

impl<'c> Walk<'_, 'c> {
    fn climb(&mut self, path: &mut Vec<usize>) {
        self.climbs += 1;
        let Some(&top) = path.last() else { return };
        if self.climbs > MAX_CLIMBS {
            return;
        }
        let (sent, anchors) = (self.sent, self.anchors);
        let top = &sent[top];
        let mut rejected = Vec::new();
        let mut leads_on = false;
        for anchor in anchors.named(top.issuer) {
            match self.link(top, anchor.certificate().spki_der()) {
                Link::Signed => {
                    self.paths.push((path.clone(), anchor));
                    leads_on = true;
                }
                link => rejected.push((link, Some(anchor))),
            }
        }
        for (at, issuer) in sent.iter().enumerate().skip(1) {
            let is_loop = path.iter().any(|&below| {
                sent[below].spki == issuer.spki && sent[below].subject == issuer.subject
            });
            if issuer.subject != top.issuer || is_loop {
                continue;
            }
            match self.link(top, issuer.spki) {
                Link::Signed => {
                    path.push(at);
                    self.climb(path);
                    path.pop();
                    leads_on = true;
                }
                link => rejected.push((link, None)),
            }
        }
        if !leads_on {
            let fault = self.dead_end(top, &rejected);
            self.dead_ends.push((path.len(), fault));
        }
    }

    /// Why nothing signed stands above `top`; `rejected` are the issuers of the right name.
    fn dead_end(
        &mut self,
        top: &Outline<'c>,
        rejected: &[(Link, Option<&Anchor>)],
    ) -> ChainFaultKind {
        let refused = rejected.iter().find_map(|(link, _)| match link {
            Link::Refused(fault) => Some(fault.clone()),
            Link::Signed | Link::Broken => None,
        });
        if let Some(fault) = refused {
            return fault;
        }
        let issuer = || name_text(top.issuer);
        if self.is_signed_by_a_known_intermediate(top) {
            return ChainFaultKind::MissingIntermediate { issuer: issuer() };
        }
        let namesakes = || rejected.iter().filter_map(|(_, anchor)| *anchor);
        let Some(namesake) = namesakes().next() else {
            return match rejected {
                [] => ChainFaultKind::UnknownIssuer { issuer: issuer() },
                _ => ChainFaultKind::BadSignature {
                    subject: self.case.called(top),
                },
            };
        };
        // The key identifier tells an altered certificate from one that another key of that name signed.
        let quotes = |anchor: &Anchor| {
            top.authority_key_id.is_some()
                && anchor.certificate().subject_key_id() == top.authority_key_id
        };
        if namesakes().any(quotes) {
            ChainFaultKind::BadSignature {
                subject: self.case.called(top),
            }
        } else {
            ChainFaultKind::SameNameDifferentKey {
                issuer: issuer(),
                bundle: namesake.bundle().name().clone(),
            }
        }
    }

    /// Whether the issuer that was not sent is one of ours, under one of the anchors.
    fn is_signed_by_a_known_intermediate(&mut self, top: &Outline<'_>) -> bool {
        let (known, anchors) = (self.known, self.anchors);
        let mut top = *top;
        // Each round goes one issuer up; a path without loops has no more of them than there are known.
        for round in 0..=known.len() {
            if round > 0
                && anchors
                    .named(top.issuer)
                    .any(|anchor| self.link(&top, anchor.certificate().spki_der()) == Link::Signed)
            {
                return true;
            }
            let above = known.iter().find(|issuer| {
                issuer.subject == top.issuer && self.link(&top, issuer.spki) == Link::Signed
            });
            match above {
                Some(issuer) => top = *issuer,
                None => return false,
            }
        }
        false
    }

    fn link(&mut self, subject: &Outline<'_>, issuer_spki: &[u8]) -> Link {
        self.signatures += 1;
        if self.signatures > MAX_SIGNATURES {
            Link::Broken
        } else {
            strength::link(subject, issuer_spki)
        }
    }
}

/// The file begins with an issuer of a certificate that is no CA and comes later.
fn is_in_wrong_order(sent: &[Outline<'_>]) -> bool {
    let Some((first, rest)) = sent.split_first() else {
        return false;
    };
    if !first.terms.is_ca {
        return false;
    }
    rest.iter().filter(|leaf| !leaf.terms.is_ca).any(|leaf| {
        let mut top = leaf;
        // Names alone: no more rounds than certificates, so that a loop of names ends.
        for _ in rest {
            if top.issuer == first.subject {
                return true;
            }
            match rest
                .iter()
                .find(|issuer| issuer.subject == top.issuer && !issuer.is_self_issued())
            {
                Some(issuer) => top = issuer,
                None => return false,
            }
        }
        false
    })
}

/// What is wrong with a path whose signatures verify.
fn refused(
    case: &Case<'_>,
    sent: &[Outline<'_>],
    path: &[usize],
    anchor: &Anchor,
    verdict: &webpki::Error,
) -> ChainFaultKind {
    let certificates: Vec<_> = path.iter().map(|&at| &sent[at]).collect();
    let path = SignedPath {
        certificates: &certificates,
        anchor,
    };
    case.judge(path).err().unwrap_or_else(|| match verdict {
        webpki::Error::NameConstraintViolation
        | webpki::Error::MalformedNameConstraint
        | webpki::Error::InvalidNetworkMaskConstraint => {
            constraints::find(case, path).unwrap_or_else(|| translated(verdict, sent.len()))
        }
        _ => translated(verdict, sent.len()),
    })
}

/// webpki's word, where the walk knows none better.
fn translated(verdict: &webpki::Error, sent: usize) -> ChainFaultKind {
    match verdict {
        webpki::Error::MaximumPathDepthExceeded
        | webpki::Error::MaximumPathBuildCallsExceeded
        | webpki::Error::MaximumSignatureChecksExceeded => ChainFaultKind::TooDeep {
            sent,
            limit: MAX_PATH,
        },
        other => ChainFaultKind::Malformed {
            why: format!("the chain is not acceptable ({other})"),
        },
    }
}

/// Trust faults by how much they say.
fn specificity(kind: &ChainFaultKind) -> u8 {
    match kind {
        ChainFaultKind::UnknownIssuer { .. } => 0,
        ChainFaultKind::BadSignature { .. } => 1,
        ChainFaultKind::SameNameDifferentKey { .. } => 2,
        ChainFaultKind::MissingIntermediate { .. } => 3,
        _ => 4,
    }
}

/// The fault of the highest rank. Equal ones are put in an order of their own, not in that of the chain, so that what
/// is told does not depend on how the sender sorted its certificates.
fn furthest(
    faults: Vec<ChainFaultKind>,
    rank: impl Fn(&ChainFaultKind) -> u8,
) -> Option<ChainFaultKind> {
    faults
        .into_iter()
        .max_by_key(|fault| (rank(fault), format!("{fault:?}")))
}

/// webpki follows six intermediates.
const MAX_PATH: usize = 7;

/// Eight certificates in a real chain make at most a dozen; a mesh of cross-signed ones could make thousands.
const MAX_CLIMBS: usize = 256;

/// A third of what webpki allows itself, since a refused peer has cost that already.
const MAX_SIGNATURES: usize = 32;
