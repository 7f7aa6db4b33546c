//! What the CRLs at hand say of a side's path.

use countersign_pki::certificate::Certificate;
use countersign_pki::crl::ParsedCrl;
use countersign_pki::time::spoken;

use super::passage::{self, Outcome};
use super::{FileSeen, Judgement, Party, Role};
use crate::cause::Cause;
use crate::finding::{Finding, RuledOut, Severity, Side};

/// A CRL and the file it is in.
type List<'a> = (&'a FileSeen, &'a ParsedCrl);

pub(super) fn judge(parties: &[Party<'_>], judgement: &mut Judgement) {
    for (at, party) in parties.iter().enumerate() {
        // Whoever was given the lists of one side's issuers may mean that side alone.
        let mut others = parties.iter().enumerate().filter(|(other, _)| *other != at);
        let missing = if others.any(|(_, other)| is_covered(other)) {
            Severity::Risk
        } else {
            Severity::Fault
        };
        judge_one(party, missing, judgement);
    }
}

/// Whether there is a list of every issuer in its path.
fn is_covered(party: &Party<'_>) -> bool {
    let lists = lists(party);
    let path = path(party);
    let mut checked = path.iter().take(path.len().saturating_sub(1));
    let is_listed = |below: &Certificate| {
        let mut lists = lists.iter();
        lists.any(|(_, list)| list.issuer() == below.issuer())
    };
    path.len() > 1 && checked.all(is_listed)
}

fn files<'a>(party: &Party<'a>) -> impl Iterator<Item = &'a FileSeen> + use<'a> {
    let trusted: Vec<&str> = party.trust.iter().map(|file| file.path.as_str()).collect();
    party.files.iter().filter(move |file| {
        matches!(file.role, Role::Crl | Role::Other) || trusted.contains(&file.path.as_str())
    })
}

fn lists<'a>(party: &Party<'a>) -> Vec<List<'a>> {
    files(party)
        .flat_map(|file| file.material.lists.iter().map(move |piece| (file, piece)))
        .filter_map(|(file, piece)| Some((file, piece.list.as_ref().ok()?)))
        .collect()
}

fn judge_one(party: &Party<'_>, missing: Severity, judgement: &mut Judgement) {
    for file in files(party).filter(|file| file.role == Role::Crl) {
        for piece in &file.material.lists {
            if let Err(why) = &piece.list {
                let message = format!("the CRL in {} cannot be read: {why}", file.path);
                let finding = Finding::fault(Cause::CrlUnprocessed, Side::Ca, message);
                judgement.find(finding.with("file", &file.path).with("why", why));
            }
        }
    }
    let lists = lists(party);
    if lists.is_empty() {
        return;
    }
    let path = path(party);
    let checked = path.windows(2).filter_map(|pair| match pair {
        [below, issuer] => Some((below, issuer)),
        _ => None,
    });
    let checked: Vec<_> = checked.collect();
    let is_about = |(_, list): &List<'_>| {
        let mut path = checked.iter();
        path.any(|(below, _)| below.issuer() == list.issuer())
    };
    if !lists.iter().any(is_about) {
        stranger(party, &path, &lists, judgement);
        return;
    }
    for (below, issuer) in checked {
        Check {
            party,
            below,
            issuer,
            missing,
        }
        .judge(&lists, judgement);
    }
}

/// The leaf and its issuers, as far as they are at hand.
pub(super) fn path(party: &Party<'_>) -> Vec<Certificate> {
    match passage::verify(party) {
        Outcome::Accepted(peer) | Outcome::PartialOnly(peer) => return passage::path(party, &peer),
        Outcome::NoAnchor | Outcome::Refused(_) => {}
    }
    let mut path: Vec<Certificate> = party.leaf().cloned().into_iter().collect();
    while let Some(top) = path.last() {
        let own = party.chain.iter().copied();
        let trusted = party.anchors().map(|(_, piece)| piece);
        let elsewhere = party.elsewhere().map(|(_, piece)| piece);
        let next = own
            .chain(trusted)
            .chain(elsewhere)
            .filter_map(|piece| piece.certificate())
            .find(|it| {
                it.subject_der() == top.issuer_der()
                    && it.der() != top.der()
                    && top.verify_signature(it).is_ok()
            });
        match next {
            Some(next) if path.len() < MAX_PATH => path.push(next.clone()),
            _ => break,
        }
    }
    path
}

/// No list is of an issuer in the path.
fn stranger(
    party: &Party<'_>,
    path: &[Certificate],
    lists: &[List<'_>],
    judgement: &mut Judgement,
) {
    let Some(leaf) = path.first() else { return };
    let Some((file, list)) = lists.iter().find(|(file, _)| file.role == Role::Crl) else {
        return;
    };
    // Of two sides the list is the other's.
    let names_another = party.files.iter().any(|other| {
        let certificates = other.material.certificates.iter();
        other.role.is_certificate()
            && other.role != party.file.role
            && certificates
                .filter_map(|piece| piece.certificate())
                .any(|it| it.issuer() == list.issuer())
    });
    if names_another {
        return;
    }
    let message = format!(
        "the CRL in {} is of {}, and {} issued the {}'s certificate",
        file.path,
        list.issuer(),
        leaf.issuer(),
        party.called()
    );
    judgement.find(
        Finding::fault(Cause::CrlWrongIssuer, party.other_side(), message)
            .with("crl_issuer", list.issuer())
            .with("issuer", leaf.issuer())
            .with("file", &file.path),
    );
}

/// One certificate and the issuer whose list should say whether it is revoked.
struct Check<'p, 'a> {
    party: &'p Party<'a>,
    below: &'p Certificate,
    issuer: &'p Certificate,
    /// How much it matters that there is no list.
    missing: Severity,
}

impl Check<'_, '_> {
    fn judge(&self, lists: &[List<'_>], judgement: &mut Judgement) {
        let (below, issuer) = (self.below, self.issuer);
        let of_issuer: Vec<_> = lists
            .iter()
            .filter(|(_, list)| list.issuer() == issuer.subject())
            .filter(|(_, list)| list.scope().is_none_or(|scope| scope.covers(below)))
            .collect();
        if of_issuer.is_empty() {
            let message = format!(
                "no CRL of {} is at hand that would say whether the certificate of {} is revoked; \
                 OpenSSL's CRL_CHECK_ALL (nginx, HAProxy, PostgreSQL) wants one of every issuer",
                issuer.subject(),
                below.subject()
            );
            let finding = self
                .fault(Cause::CrlMissing, self.party.other_side(), message)
                .with("issuer", issuer.subject());
            judgement.find(match self.missing {
                Severity::Fault => finding,
                Severity::Risk | Severity::Note => finding.risk(),
            });
            return;
        }
        let (good, bad): (Vec<_>, Vec<_>) = of_issuer
            .into_iter()
            .partition(|(_, list)| list.is_made_by(issuer));
        if let (true, Some((file, list))) = (good.is_empty(), bad.first()) {
            judgement.find(self.unverified(file, list));
            return;
        }
        let now = self.party.now;
        let is_processed = |list: &ParsedCrl| list.unknown_critical_extensions().is_empty();
        for (file, list) in good.iter().filter(|(_, list)| is_processed(list)) {
            let entry = list.entries().iter().find(|it| it.serial == below.serial());
            if let Some(entry) = entry {
                let message = format!(
                    "the CRL of {} in {} lists the certificate of {} (serial {}) as revoked since {} ({})",
                    issuer.subject(),
                    file.path,
                    below.subject(),
                    below.serial(),
                    entry.revoked_at,
                    entry.reason.as_str()
                );
                judgement.find(
                    self.fault(Cause::CertificateRevoked, self.party.side(), message)
                        .with("serial", below.serial())
                        .with("revoked_at", entry.revoked_at)
                        .with("reason", entry.reason.as_str()),
                );
            }
        }
        let is_current = |list: &ParsedCrl| list.next_update().is_none_or(|end| now <= end);
        let mut current = good.iter().filter(|(_, list)| is_current(list));
        let first = current.clone().next();
        let Some((file, list)) = current.find(|(_, list)| is_processed(list)).or(first) else {
            if let Some((file, list)) = good.first() {
                let end = list.next_update().unwrap_or(now);
                let message = format!(
                    "the CRL of {} in {} was due to be replaced {} ago (next_update {end}, now {now})",
                    issuer.subject(),
                    file.path,
                    spoken(now.since(end))
                );
                judgement.find(
                    self.fault(Cause::CrlExpired, Side::Ca, message)
                        .with("next_update", end)
                        .with("file", &file.path),
                );
            }
            return;
        };
        if let [oid, ..] = list.unknown_critical_extensions() {
            let message = format!(
                "the CRL of {} in {} has the critical extension {oid}, which is not understood",
                issuer.subject(),
                file.path
            );
            judgement.find(self.fault(Cause::CrlUnprocessed, Side::Ca, message));
        } else if now < list.this_update() {
            let message = format!(
                "the CRL of {} in {} begins only {} (this_update), now it is {now}",
                issuer.subject(),
                file.path,
                list.this_update()
            );
            judgement.find(self.fault(Cause::CrlUnprocessed, Side::Ca, message));
        } else {
            let because = format!(
                "the CRL of {} in {} does not list {}",
                issuer.subject(),
                file.path,
                below.subject()
            );
            judgement.rule_out(RuledOut::new(Cause::CertificateRevoked, because));
        }
    }

    fn unverified(&self, file: &FileSeen, list: &ParsedCrl) -> Finding {
        let issuer = self.issuer;
        let is_another_key = list.authority_key_id().is_some()
            && issuer.subject_key_id().is_some()
            && list.authority_key_id() != issuer.subject_key_id();
        let mut others = self
            .party
            .files
            .iter()
            .flat_map(|file| &file.material.certificates);
        let signed_elsewhere = others.any(|piece| {
            piece
                .certificate()
                .is_some_and(|other| list.is_made_by(other))
        });
        if is_another_key || signed_elsewhere {
            let message = format!(
                "the CRL in {} is of a CA called {}, and signed by another key than the issuer's",
                file.path,
                issuer.subject()
            );
            return self
                .fault(Cause::CrlWrongIssuer, self.party.other_side(), message)
                .with("file", &file.path);
        }
        let may_not = issuer
            .key_usage()
            .is_some_and(|usage| !usage.listed().contains(&"cRLSign"));
        let (cause, what) = if may_not {
            (
                Cause::CrlWrongIssuer,
                "is of a CA whose keyUsage lacks cRLSign",
            )
        } else {
            (
                Cause::CrlBadSignature,
                "does not verify with its issuer's key",
            )
        };
        let message = format!("the CRL of {} in {} {what}", issuer.subject(), file.path);
        self.fault(cause, Side::Ca, message)
            .with("file", &file.path)
    }

    fn fault(&self, cause: Cause, side: Side, message: String) -> Finding {
        Finding::fault(cause, side, message)
            .with("subject", self.below.subject())
            .with("now", self.party.now)
    }
}

/// webpki follows six intermediates.
const MAX_PATH: usize = 10;
