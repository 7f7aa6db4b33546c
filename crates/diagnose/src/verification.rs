//! How a verification came about: the path, each check of it, and what became of the paths that were not taken.
//!
//! The verdict is `pki`'s alone. Each path that the names allow is put before the same judge by itself, so that what is said of one cannot
//! differ from what would be decided; the checks are looked at one by one only to show them all.

mod checks;
mod climb;

use std::collections::BTreeMap;

use countersign_pki::certificate::Certificate;
use countersign_pki::chain::{ChainFault, ExpectedName, Purpose, Rules, Strictness};
use countersign_pki::crl::ParsedCrl;
use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::identity::{BundleName, VerifiedPeer};
use countersign_pki::spiffe::TrustDomain;
use countersign_pki::time::UnixTime;
use countersign_pki::verification::Verification;
use serde::Serialize;

use crate::blame;
use crate::cause::Cause;
use crate::chain::refusal;
use crate::finding::Finding;

/// What was asked.
#[derive(Clone, Debug)]
pub struct Asked<'a> {
    /// As it was presented, leaf first, with whatever may stand between.
    pub chain: &'a [Vec<u8>],
    /// What is trusted.
    pub anchors: &'a [Certificate],
    /// Whose SPIFFE IDs the anchors vouch for.
    pub trust_domain: Option<&'a TrustDomain>,
    /// CRLs, each with the file that it is in.
    pub lists: &'a [(String, ParsedCrl)],
    /// Who presents it.
    pub purpose: Purpose,
    /// Names that the leaf must hold.
    pub names: &'a [ExpectedName],
    /// The rules.
    pub rules: Rules,
    /// When.
    pub at: UnixTime,
}

/// What there is to tell of it.
#[derive(Clone, Debug, Serialize)]
pub struct Account {
    /// From the leaf upwards: the path that was accepted, else the one that came nearest.
    pub path: Vec<Step>,
    /// Of this path.
    pub checks: Vec<Check>,
    /// The others that the names allow, and why each failed.
    pub other_paths: Vec<OtherPath>,
}

/// A certificate of a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// RFC 4514.
    pub subject: String,
    /// RFC 4514.
    pub issuer: String,
    /// Hexadecimal.
    pub serial: String,
    /// RFC 3339.
    pub not_before: String,
    /// RFC 3339.
    pub not_after: String,
    /// SHA-256 of the whole.
    pub fingerprint: String,
    /// What is trusted; the last, or none.
    pub anchor: bool,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What it is called.
    pub check: &'static str,
    /// What came of it.
    pub result: Outcome,
    /// With the values.
    pub detail: String,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
}

/// What came of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// This is what is wrong.
    Failed,
    /// Nobody asked for it.
    NotAsked,
    /// Nothing against it.
    Passed,
}

impl Outcome {
    /// As in a table.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::NotAsked => "not asked",
            Self::Passed => "passed",
        }
    }
}

/// A path that was not taken.
#[derive(Clone, Debug, Serialize)]
pub struct OtherPath {
    /// From the leaf upwards.
    pub path: Vec<Step>,
    /// Why; `None`: it would have been accepted as well.
    pub finding: Option<Finding>,
}

/// Tells how `verdict` came about.
pub fn account(asked: &Asked<'_>, verdict: &Result<VerifiedPeer, ChainFault>) -> Account {
    let mut judge = Judge {
        asked,
        by_anchor: BTreeMap::new(),
    };
    let mut paths = climb::paths(asked);
    let taken = taken(&mut judge, &paths, verdict);
    let Some(taken) = taken.map(|at| paths.remove(at)) else {
        return Account {
            path: Vec::new(),
            checks: Vec::new(),
            other_paths: Vec::new(),
        };
    };
    let others = paths.iter().map(|path| OtherPath {
        path: path.steps(),
        finding: path.broken().or_else(|| {
            let fault = judge.verdict(path, asked.rules).err()?;
            let refusal = refusal(&fault, asked.purpose);
            Some(blame::finding(&refusal, asked.purpose))
        }),
    });
    let others = others.collect();
    let strictly = Rules {
        strictness: Strictness::Strict,
        ..asked.rules
    };
    let strict = match verdict {
        Ok(_) if asked.rules.strictness == Strictness::Usual => {
            judge.verdict(&taken, strictly).err()
        }
        _ => None,
    };
    Account {
        checks: checks::all(asked, &taken, verdict, strict.as_ref()),
        path: taken.steps(),
        other_paths: others,
    }
}

/// The path that was accepted; of a refusal the one that the same is said of, else the longest that leads to an anchor, else the first.
fn taken(
    judge: &mut Judge<'_>,
    paths: &[Path],
    verdict: &Result<VerifiedPeer, ChainFault>,
) -> Option<usize> {
    match verdict {
        Ok(peer) => paths.iter().position(|path| path.is_of(peer)),
        Err(fault) => {
            let whole = || paths.iter().enumerate().filter(|(_, it)| it.is_whole());
            let same = whole().find(|(_, path)| {
                let own = judge.verdict(path, judge.asked.rules);
                own.is_err_and(|own| own.kind == fault.kind)
            });
            let same = same.map(|(at, _)| at);
            same.or_else(|| whole().next().map(|(at, _)| at))
                .or_else(|| {
                    let dead = paths.iter().position(|it| it.broken().is_none());
                    dead.or((!paths.is_empty()).then_some(0))
                })
        }
    }
}

/// A way from the leaf upwards, by names.
#[derive(Clone, Debug)]
struct Path {
    /// Leaf first; an anchor last, if it is [whole](Path::is_whole).
    certificates: Vec<Certificate>,
    end: End,
}

/// What a path ends at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// An anchor.
    Anchor,
    /// The last certificate has the name of the issuer below, and another key.
    OtherKey { is_anchor: bool },
    /// No certificate of the issuer's name is at hand.
    Nothing,
}

impl Path {
    fn is_whole(&self) -> bool {
        self.end == End::Anchor
    }

    fn anchor(&self) -> Option<&Certificate> {
        self.certificates.last().filter(|_| self.is_whole())
    }

    /// Those that were presented.
    fn below(&self) -> &[Certificate] {
        let count = self.certificates.len() - usize::from(self.is_whole());
        &self.certificates[..count]
    }

    fn is_of(&self, peer: &VerifiedPeer) -> bool {
        let below = self.below();
        self.anchor()
            .is_some_and(|anchor| anchor.fingerprint() == peer.anchor())
            && below.len() == peer.chain().len()
            && below
                .iter()
                .zip(peer.chain())
                .all(|(one, other)| one.der().as_ref() == other.as_slice())
    }

    /// Where it is no path at all.
    fn broken(&self) -> Option<Finding> {
        let End::OtherKey { is_anchor } = self.end else {
            return None;
        };
        let [.., below, issuer] = self.certificates.as_slice() else {
            return None;
        };
        let place = if is_anchor {
            "the trust file"
        } else {
            "what was presented"
        };
        let message = format!(
            "the key of {} (serial {}) in {place} did not sign the certificate of {}",
            issuer.subject(),
            issuer.serial(),
            below.subject()
        );
        let cause = Cause::SameNameDifferentKeyCa;
        let side = if is_anchor {
            blame::side(cause, Purpose::ClientAuth)
        } else {
            crate::finding::Side::Client
        };
        Some(
            Finding::fault(cause, side, message)
                .with("issuer", issuer.subject())
                .with("issuer_serial", issuer.serial())
                .with("issuer_spki", issuer.spki())
                .with("subject", below.subject()),
        )
    }

    fn steps(&self) -> Vec<Step> {
        let last = self.certificates.len().saturating_sub(1);
        let is_anchor =
            |at| at == last && matches!(self.end, End::Anchor | End::OtherKey { is_anchor: true });
        let certificates = self.certificates.iter().enumerate();
        certificates
            .map(|(at, certificate)| Step {
                subject: certificate.subject().to_string(),
                issuer: certificate.issuer().to_string(),
                serial: certificate.serial().to_string(),
                not_before: certificate.not_before().to_string(),
                not_after: certificate.not_after().to_string(),
                fingerprint: certificate.fingerprint().to_string(),
                anchor: is_anchor(at),
            })
            .collect()
    }
}

/// The judge of chains, with one anchor at a time.
struct Judge<'a> {
    asked: &'a Asked<'a>,
    by_anchor: BTreeMap<(Fingerprint, bool), Option<Verification>>,
}

impl Judge<'_> {
    fn verdict(&mut self, path: &Path, rules: Rules) -> Result<(), ChainFault> {
        let asked = self.asked;
        // Of a path that ends nowhere every anchor is asked, none of which will do.
        let anchors: Vec<Vec<u8>> = match path.anchor() {
            Some(anchor) => vec![anchor.der().to_vec()],
            None => asked.anchors.iter().map(|it| it.der().to_vec()).collect(),
        };
        let key = path
            .anchor()
            .map_or_else(|| Fingerprint::of(b""), Certificate::fingerprint);
        let is_strict = rules.strictness == Strictness::Strict;
        let verification = self.by_anchor.entry((key, is_strict)).or_insert_with(|| {
            let name = BundleName::parse("trust").expect("lower-case letters are a name");
            let lists: Vec<Vec<u8>> = asked
                .lists
                .iter()
                .map(|(_, list)| list.der().to_vec())
                .collect();
            let domain = asked.trust_domain.cloned();
            Verification::new(name, domain, &anchors, &lists, rules).ok()
        });
        let chain: Vec<Vec<u8>> = path.below().iter().map(|it| it.der().to_vec()).collect();
        let Some(verification) = verification else {
            return Ok(());
        };
        verification
            .verify(&chain, asked.purpose, asked.names, asked.at)
            .map(|_| ())
    }
}
