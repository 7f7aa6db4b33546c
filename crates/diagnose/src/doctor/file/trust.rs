//! Why the other side trusts none of the issuers: the wrong CA, another generation of it, or one that was left out on the way.

use std::time::Duration;

use countersign_pki::certificate::{Certificate, Flaw};
use countersign_pki::dn::DistinguishedName;
use countersign_pki::material::CertificatePiece;

use super::pairing::is_same_holder;
use super::passage::not_trusted;
use super::words::Words;
use super::{FileSeen, Judgement, Party, Role};
use crate::cause::Cause;
use crate::doctor::shell_word::quoted;
use crate::finding::{Finding, Side};

/// From the leaf upwards through what is sent, by signatures, as far as that goes.
pub(super) struct Climb<'a> {
    path: Vec<&'a Certificate>,
}

impl<'a> Climb<'a> {
    pub(super) fn of(party: &Party<'a>) -> Self {
        let mut path: Vec<&Certificate> = party.leaf().into_iter().collect();
        while let Some(&top) = path.last() {
            let above = party.chain.iter().filter_map(|piece| piece.certificate());
            let next = above
                .filter(|issuer| !path.iter().any(|it| it.der() == issuer.der()))
                .find(|issuer| is_issued_by(top, issuer));
            match next {
                Some(next) if path.len() < MAX_CLIMB => path.push(next),
                _ => break,
            }
        }
        Self { path }
    }

    fn top(&self) -> Option<&'a Certificate> {
        self.path.last().copied()
    }

    /// Whether an anchor stands above, or among, them.
    pub(super) fn reaches_an_anchor(&self, party: &Party<'_>) -> bool {
        self.anchor(party).is_some()
    }

    fn anchor<'p>(&self, party: &'p Party<'_>) -> Option<&'p CertificatePiece> {
        let mut anchors = party.anchors().map(|(_, piece)| piece);
        anchors.find(|piece| {
            piece.certificate().is_some_and(|anchor| {
                let mut path = self.path.iter();
                path.any(|it| it.der() == anchor.der() || is_issued_by(it, anchor))
            })
        })
    }
}

fn is_issued_by(below: &Certificate, issuer: &Certificate) -> bool {
    below.issuer_der() == issuer.subject_der() && below.verify_signature(issuer).is_ok()
}

/// What is wrong with the anchor that the chain does lead to.
pub(super) fn oddities_of_anchors(party: &Party<'_>, climb: &Climb<'_>, judgement: &mut Judgement) {
    let Some(piece) = climb.anchor(party) else {
        return;
    };
    let Some(anchor) = piece.certificate() else {
        return;
    };
    let subject = anchor.subject();
    let about = |cause, what: &str| {
        Finding::fault(
            cause,
            Side::Ca,
            format!(
                "the CA certificate of {subject} in the {}'s trust bundle {what}",
                party.other_side()
            ),
        )
        .with("at_fault", subject)
    };
    if let Some(Flaw::Serial(why)) = piece.flaw() {
        judgement.find(about(
            Cause::BadSerial,
            &format!("has a bad serial number: {why}"),
        ));
    } else if anchor.version() != 3 {
        judgement.find(about(Cause::X509V1, "is X.509 version 1, which few still take").risk());
    } else if !anchor.is_ca() && anchor.der() != climb.path[0].der() {
        judgement.find(about(Cause::IssuerNotACa, "is not marked CA:TRUE"));
    }
    if party.now > anchor.not_after() {
        let what = format!(
            "expired (not_after {}, now {})",
            anchor.not_after(),
            party.now
        );
        judgement.find(about(Cause::RootExpired, &what));
    }
}

/// The files that the other side trusts, in a sentence.
pub(super) fn bundle_text(party: &Party<'_>) -> String {
    let paths: Vec<_> = party.trust.iter().map(|file| file.path.as_str()).collect();
    match &paths[..] {
        [first, _, ..] => format!("{first} (and {} more)", paths.len() - 1),
        _ => paths.concat(),
    }
}

/// Why no path leads to an anchor.
pub(super) fn untrusted(party: &Party<'_>, climb: &Climb<'_>) -> Finding {
    let case = Case { party, climb };
    let mut reasons = [
        Case::missing_at_hand,
        Case::missing_below_a_sent_root,
        Case::rotated_by_an_older_leaf,
        Case::namesake,
        Case::rotated_by_name,
        Case::missing_by_name,
    ]
    .into_iter();
    reasons
        .find_map(|reason| reason(&case))
        .unwrap_or_else(|| case.stranger())
}

/// Where it is not known whom the server trusts, and the CAs that the client trusts are of the same house as its own.
pub(super) fn missing_below_own_bundle(party: &Party<'_>, judgement: &mut Judgement) {
    let files = party.files.iter();
    let assumed = Party {
        purpose: party.purpose,
        file: party.file,
        chain: party.chain.clone(),
        keys: Vec::new(),
        trust: files.filter(|file| file.role == Role::Ca).collect(),
        files: party.files,
        question: party.question,
        now: party.now,
    };
    let climb = Climb::of(&assumed);
    if assumed.knows_trust() && !climb.reaches_an_anchor(&assumed) {
        let case = Case {
            party: &assumed,
            climb: &climb,
        };
        let finding = case.missing_at_hand().or_else(|| case.missing_by_name());
        judgement.findings.extend(finding.map(Finding::risk));
    }
}

struct Case<'p, 'a> {
    party: &'p Party<'a>,
    climb: &'p Climb<'a>,
}

impl<'a> Case<'_, 'a> {
    fn finding(&self, cause: Cause, side: Side, message: String) -> Finding {
        let party = self.party;
        let anchors: Vec<_> = self.anchors().map(|it| it.subject().to_string()).collect();
        let top = self.climb.top();
        let issuer = top.map(|top| top.issuer().to_string()).unwrap_or_default();
        Finding::fault(cause, side, message)
            .with("looked_for", issuer)
            .with("trusted", anchors.join("; "))
            .with("bundle", bundle_text(party))
            .with("file", &party.file.path)
            .with("sent", party.chain.len())
            .with("now", party.now)
    }

    fn anchors(&self) -> impl Iterator<Item = &'a Certificate> {
        self.party
            .anchors()
            .filter_map(|(_, piece)| piece.certificate())
    }

    fn issuer(&self) -> Option<&'a DistinguishedName> {
        self.climb.top().map(Certificate::issuer)
    }

    fn is_self_signed(&self) -> bool {
        self.climb
            .top()
            .is_some_and(|top| top.subject_der() == top.issuer_der())
    }

    fn missing(&self, message: String) -> Finding {
        self.finding(Cause::ChainMissingIntermediate, self.party.side(), message)
    }

    /// The issuer lies in another file, and stands under an anchor.
    fn missing_at_hand(&self) -> Option<Finding> {
        let mut top = self.climb.top()?;
        let mut found: Option<(&FileSeen, &Certificate)> = None;
        for _ in 0..MAX_CLIMB {
            let (file, issuer) = self.party.elsewhere().find_map(|(file, piece)| {
                let issuer = piece.certificate()?;
                let is_next = is_issued_by(top, issuer) && issuer.der() != top.der();
                is_next.then_some((file, issuer))
            })?;
            found = found.or(Some((file, issuer)));
            if self.anchors().any(|anchor| is_issued_by(issuer, anchor)) {
                let (file, first) = found?;
                let own = &self.party.file.path;
                let message = format!(
                    "the {}'s file {own} stops before {}, which lies in {} and stands under {} in the bundle",
                    self.party.called(),
                    first.subject(),
                    file.path,
                    issuer.issuer()
                );
                return Some(self.missing(message).with_fix(format!(
                    "cat {} {} > chain.pem",
                    quoted(own),
                    quoted(&file.path)
                )));
            }
            top = issuer;
        }
        None
    }

    /// The root is sent, and what stands between is not.
    fn missing_below_a_sent_root(&self) -> Option<Finding> {
        let mut sent = self
            .party
            .chain
            .iter()
            .filter_map(|piece| piece.certificate());
        let root = sent.find(|it| self.anchors().any(|anchor| anchor.spki() == it.spki()))?;
        let top = self.climb.top()?;
        (top.issuer_der() != root.subject_der() && !self.is_self_signed()).then(|| {
            self.missing(format!(
                "the {}'s file {} holds the root {}, and not {}, which stands between",
                self.party.called(),
                self.party.file.path,
                root.subject(),
                top.issuer()
            ))
        })
    }

    fn rotated(&self, message: String) -> Finding {
        let side = self.party.other_side();
        self.finding(Cause::CaRotatedWithoutOverlap, side, message)
    }

    /// An older (or newer) certificate of the same holder, which the bundle does vouch for.
    fn rotated_by_an_older_leaf(&self) -> Option<Finding> {
        let leaf = self.party.leaf()?;
        let others = self.party.elsewhere();
        let (file, other) = others
            .filter(|(file, _)| file.role == Role::Other)
            .filter_map(|(file, piece)| Some((file, piece.certificate()?)))
            .filter(|(_, other)| other.der() != leaf.der() && is_same_holder(leaf, other))
            .find(|(_, other)| self.anchors().any(|anchor| is_issued_by(other, anchor)))?;
        Some(
            self.rotated(format!(
                "the bundle {} vouches for {} (not_before {}), and not for the {}'s {} (not_before {}), which {} issued",
                bundle_text(self.party),
                file.path,
                other.not_before(),
                self.party.called(),
                self.party.file.path,
                leaf.not_before(),
                leaf.issuer()
            ))
            .with("other_certificate", &file.path),
        )
    }

    /// A CA of the right name and another key.
    fn namesake(&self) -> Option<Finding> {
        let top = self.climb.top()?;
        let namesake = self
            .anchors()
            .find(|anchor| anchor.subject_der() == top.issuer_der())?;
        let name = namesake.subject();
        let bundle = bundle_text(self.party);
        let sent = self.party.chain.iter().copied();
        let at_hand = sent
            .chain(self.party.elsewhere().map(|(_, piece)| piece))
            .filter_map(CertificatePiece::certificate)
            .find(|it| it.subject_der() == namesake.subject_der() && is_issued_by(top, it));
        let (held, made) = (namesake.not_before(), at_hand.map(Certificate::not_before));
        let apart = made.map(|made| made.since(held).max(held.since(made)));
        let is_over = namesake.not_after() < top.not_before();
        if apart.is_some_and(|apart| apart >= GENERATION) || is_over {
            let made = made.map_or_else(String::new, |made| {
                format!(", the one that signed since {made}")
            });
            return Some(self.rotated(format!(
                "the bundle {bundle} holds another generation of {name} than the one that signed: it began {held}{made}"
            )));
        }
        let quoted_key = top.authority_key_id();
        if quoted_key.is_some() && quoted_key == namesake.subject_key_id() {
            let message = format!(
                "the signature of {name} on the certificate of {} does not verify",
                top.subject()
            );
            return Some(self.finding(Cause::BadSignature, self.party.side(), message));
        }
        let message = format!(
            "the bundle {bundle} holds a CA {name}, but its key did not sign the certificate of {}",
            top.subject()
        );
        let finding = self.finding(
            Cause::SameNameDifferentKeyCa,
            self.party.other_side(),
            message,
        );
        Some(finding.with("key_in_bundle", namesake.spki()).with_fix(
            "compare authorityKeyIdentifier of the leaf with subjectKeyIdentifier of the CA: openssl x509 -in FILE -noout -text",
        ))
    }

    /// `Root CA G1` is trusted, `Root CA G2` signed.
    fn rotated_by_name(&self) -> Option<Finding> {
        let issuer = self.issuer()?;
        let wanted = Words::of(issuer);
        let anchor = self
            .anchors()
            .find(|anchor| wanted.is_another_generation_of(&Words::of(anchor.subject())))?;
        Some(self.rotated(format!(
            "the bundle {} holds {}, and {issuer} signed: another generation of the same CA",
            bundle_text(self.party),
            anchor.subject()
        )))
    }

    /// `Example Issuing CA` is looked for, `Example Root CA` is there.
    fn missing_by_name(&self) -> Option<Finding> {
        if self.is_self_signed() {
            return None;
        }
        let issuer = self.issuer()?;
        let wanted = Words::of(issuer);
        let anchor = self
            .anchors()
            .filter(|anchor| anchor.path_len() != Some(0))
            .find(|anchor| wanted.stands_under(&Words::of(anchor.subject())))?;
        Some(self.missing(format!(
            "the {}'s file {} stops before {issuer}, which by its name stands under {} in the bundle {}",
            self.party.called(),
            self.party.file.path,
            anchor.subject(),
            bundle_text(self.party)
        )))
    }

    fn stranger(&self) -> Finding {
        let party = self.party;
        let bundle = bundle_text(party);
        let trusted: Vec<_> = self.anchors().map(|it| it.subject().to_string()).collect();
        let trusted = trusted.join("; ");
        let message = match self.climb.top() {
            Some(top) if self.is_self_signed() && party.chain.len() == 1 => format!(
                "the {}'s certificate {} is self-signed ({}), and is not in the {}'s trust bundle {bundle} (it holds {trusted})",
                party.called(),
                party.file.path,
                top.subject(),
                party.other_side()
            ),
            top => format!(
                "the {}'s trust bundle {bundle} holds no {}, the topmost issuer of {} (it holds {trusted})",
                party.other_side(),
                top.map(|top| top.issuer().to_string()).unwrap_or_default(),
                party.file.path
            ),
        };
        self.finding(not_trusted(party), party.other_side(), message)
    }
}

/// webpki follows six.
const MAX_CLIMB: usize = 10;

/// Two of one name that were made within a day are a mistake, not a rotation.
const GENERATION: Duration = Duration::from_hours(24);
