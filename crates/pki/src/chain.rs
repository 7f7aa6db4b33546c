//! The only verifier of certificate chains: webpki judges, the evidence is kept.
//!
//! A chain is accepted when webpki accepts a path (signatures, validity, basicConstraints, name constraints, EKU) and
//! `chain::judge` does too (what webpki leaves out: revocation, the anchor's own terms, keyUsage, key strength, trust domain, and
//! extensions that verifiers read differently; CRLs, depth and `chain::strict` where they are asked for).
//! When the answer is no, `chain::diagnosis` finds the true cause; it can only word a refusal, never lift one.
//!
//! Invariant: bundles are never pooled. Which bundle vouches is decided by the anchor key that the path ends in; where
//! one anchor stands above another, by the one nearer to the leaf.

mod anchor;
mod constraints;
mod diagnosis;
mod expected;
mod extensions;
mod fault;
mod judge;
mod known;
mod listed;
mod lists;
mod outline;
mod strength;
mod strict;

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm};
use webpki::{EndEntityCert, KeyUsage, VerifiedPath};

use self::anchor::{Anchor, Anchors};
pub(crate) use self::constraints::constraint_above;
pub use self::constraints::{has_common_constraints, permits_name};
pub use self::expected::{ExpectedName, InvalidExpectedName};
pub use self::extensions::flaw_of_issuer;
pub use self::fault::{ChainFault, ChainFaultKind, CrlFault, NameFault};
use self::judge::{Case, SignedPath};
use self::known::KnownSignatures;
pub use self::listed::revocation_of;
use self::outline::Outline;
use crate::bundle::{InvalidBundle, TrustBundle};
use crate::canary;
use crate::certificate::Certificate;
use crate::crl::ParsedCrl;
use crate::identity::{Identity, PathElement, VerifiedPeer};
use crate::name::{NameKind, TypedName};
use crate::revocation::RevocationIndex;
use crate::time::UnixTime;

/// What a peer is verified against: bundles that share no anchor key, and limits.
#[derive(Debug)]
pub struct Verifier {
    bundles: Vec<Arc<TrustBundle>>,
    anchors: Anchors,
    known_intermediates: Vec<Certificate>,
    known_signatures: KnownSignatures,
    limits: Limits,
    rules: Rules,
}

impl Verifier {
    /// Refuses no bundles, two of one name, and bundles that share an anchor key.
    pub fn new(bundles: Vec<Arc<TrustBundle>>, limits: Limits) -> Result<Self, InvalidBundle> {
        if bundles.is_empty() {
            return Err(InvalidBundle::NoBundles);
        }
        for (at, bundle) in bundles.iter().enumerate() {
            if bundles[..at]
                .iter()
                .any(|other| other.name() == bundle.name())
            {
                return Err(InvalidBundle::SameName {
                    bundle: bundle.name().clone(),
                });
            }
        }
        let anchors = Anchors::new(&bundles)?;
        Ok(Self {
            bundles,
            anchors,
            known_intermediates: Vec::new(),
            known_signatures: KnownSignatures::default(),
            limits,
            rules: Rules::default(),
        })
    }

    /// Intermediates known to stand under the anchors. They tell a chain that was sent without one from a stranger's;
    /// no path is ever built through them, or what verifies here would fail everywhere else.
    #[must_use]
    pub fn with_known_intermediates(mut self, intermediates: Vec<Certificate>) -> Self {
        self.known_intermediates = intermediates;
        self
    }

    /// Other rules than the usual ones.
    #[must_use]
    pub fn with_rules(mut self, rules: Rules) -> Self {
        self.rules = rules;
        self
    }

    /// The bundles.
    pub fn bundles(&self) -> &[Arc<TrustBundle>] {
        &self.bundles
    }

    /// The limits.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Verifies the chain a peer sent, leaf first. Possession of the key is the caller's (TLS's) to prove.
    ///
    /// The verdict does not depend on the order of what follows the leaf.
    pub fn verify(
        &self,
        chain: &[CertificateDer<'_>],
        purpose: Purpose,
        revocations: &RevocationIndex,
        now: UnixTime,
    ) -> Result<VerifiedPeer, ChainFault> {
        self.answer(
            chain,
            &Question {
                purpose,
                revocations,
                lists: &[],
                names: &[],
                now,
            },
        )
    }

    /// The same, with CRLs to ask and names to find.
    pub fn answer(
        &self,
        chain: &[CertificateDer<'_>],
        question: &Question<'_>,
    ) -> Result<VerifiedPeer, ChainFault> {
        let mut leaf = None;
        self.decide(chain, question, &mut leaf)
            .map_err(|kind| ChainFault {
                kind,
                leaf: leaf.map(Arc::new),
                sent: chain.len(),
                now: question.now,
            })
    }

    /// Leaves the decoded leaf in `decoded`, as evidence for a refusal.
    fn decide(
        &self,
        chain: &[CertificateDer<'_>],
        question: &Question<'_>,
        decoded: &mut Option<Certificate>,
    ) -> Result<VerifiedPeer, ChainFaultKind> {
        self.limits.check(chain)?;
        let Some((leaf_der, others)) = chain.split_first() else {
            return Err(ChainFaultKind::Malformed {
                why: "the chain holds no certificate".to_owned(),
            });
        };
        // One order whatever the sender's: of several good paths the same one is found, of several faults the same told.
        let mut others: Vec<CertificateDer<'_>> = others
            .iter()
            .map(|der| CertificateDer::from(der.as_ref()))
            .collect();
        others.sort_unstable_by(|one, other| one.as_ref().cmp(other.as_ref()));
        others.dedup();

        let mut sent = Vec::with_capacity(1 + others.len());
        sent.push(outline(leaf_der)?);
        if sent[0].version != 3 {
            return Err(ChainFaultKind::Version1);
        }
        let leaf = decoded.insert(
            Certificate::parse(leaf_der)
                .map_err(|malformed| ChainFaultKind::Malformed { why: malformed.why })?,
        );
        for other in &others {
            sent.push(outline(other)?);
        }

        let case = Case {
            leaf,
            purpose: question.purpose,
            revocations: question.revocations,
            lists: question.lists,
            rules: self.rules,
            now: question.now,
        };
        match self.judged_by_webpki(&case, leaf_der, &others, &sent) {
            Ok(accepted) => {
                let peer = peer(leaf, &sent, accepted);
                let mut names = question.names.iter();
                names.try_for_each(|name| name.check(&peer, leaf))?;
                Ok(peer)
            }
            Err(verdict) => Err(diagnosis::find(
                &case,
                &sent,
                &self.anchors,
                &self.known_intermediates,
                &verdict,
            )),
        }
    }

    fn judged_by_webpki<'a>(
        &'a self,
        case: &Case<'_>,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        sent: &[Outline<'_>],
    ) -> Result<Accepted<'a>, webpki::Error> {
        let accepted = RefCell::new(None);
        let judge = |path: &VerifiedPath<'_>| {
            // Not shown to anybody: the diagnosis words every refusal.
            let refused = webpki::Error::CertDistrusted;
            let anchor = self.anchors.find(path.anchor()).ok_or(refused.clone())?;
            let intermediates = path.intermediate_certificates().map(webpki::Cert::der);
            let certificates = [path.end_entity().der()].into_iter().chain(intermediates);
            let places =
                certificates.map(|der| sent.iter().position(|outline| outline.der == der.as_ref()));
            let places = places
                .collect::<Option<Vec<usize>>>()
                .ok_or(refused.clone())?;
            let certificates: Vec<_> = places.iter().map(|&at| &sent[at]).collect();
            let elements = case
                .judge(SignedPath {
                    certificates: &certificates,
                    anchor,
                })
                .map_err(|_| refused)?;
            *accepted.borrow_mut() = Some(Accepted {
                anchor,
                places,
                elements,
            });
            Ok(())
        };
        let usage = match case.purpose {
            Purpose::ClientAuth => KeyUsage::client_auth(),
            Purpose::ServerAuth => KeyUsage::server_auth(),
        };
        let now =
            rustls_pki_types::UnixTime::since_unix_epoch(Duration::from_secs(case.now.seconds()));
        let remembering: Vec<_> = strength::accepted()
            .iter()
            .map(|&algorithm| self.known_signatures.before(algorithm))
            .collect();
        let algorithms: Vec<_> = remembering
            .iter()
            .map(|algorithm| algorithm as &dyn SignatureVerificationAlgorithm)
            .collect();
        let leaf = EndEntityCert::try_from(leaf)?;
        leaf.verify_for_usage(
            &algorithms,
            self.anchors.trusted(),
            others,
            now,
            usage,
            None,
            Some(&judge),
        )?;
        accepted.into_inner().ok_or(webpki::Error::UnknownIssuer)
    }
}

/// Bounds on what a peer may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Certificates in the message, the leaf included. Default 8: webpki follows at most 6 intermediates.
    pub certificates: usize,
    /// Bytes of one certificate. Default 16 KiB: an ML-DSA-87 leaf with many names stays under it.
    pub certificate_bytes: usize,
    /// Bytes of all of them. Default 64 KiB: what rustls accepts of a handshake message.
    pub chain_bytes: usize,
}

impl Limits {
    fn check(&self, chain: &[CertificateDer<'_>]) -> Result<(), ChainFaultKind> {
        if chain.len() > self.certificates {
            return Err(ChainFaultKind::TooDeep {
                sent: chain.len(),
                limit: self.certificates,
            });
        }
        let too_large = |bytes: usize, limit: usize| {
            if bytes > limit {
                Err(ChainFaultKind::TooLarge { bytes, limit })
            } else {
                Ok(())
            }
        };
        chain
            .iter()
            .try_for_each(|der| too_large(der.len(), self.certificate_bytes))?;
        too_large(chain.iter().map(|der| der.len()).sum(), self.chain_bytes)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            certificates: 8,
            certificate_bytes: 16 * 1024,
            chain_bytes: 64 * 1024,
        }
    }
}

/// What is asked of a chain.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The side that the peer plays.
    pub purpose: Purpose,
    /// Which serials are revoked.
    pub revocations: &'a RevocationIndex,
    /// CRLs. Where there are any, one must cover the leaf; every one of an issuer in the path must be good.
    pub lists: &'a [ParsedCrl],
    /// Names that the leaf must hold, all of them.
    pub names: &'a [ExpectedName],
    /// When.
    pub now: UnixTime,
}

/// What is wanted of a path beyond what every path must satisfy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// How many intermediates may stand between leaf and anchor; self-issued ones do not count. Default 6: webpki
    /// follows no more.
    pub intermediates: usize,
    /// How closely RFC 5280 is followed.
    pub strictness: Strictness,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            intermediates: 6,
            strictness: Strictness::Usual,
        }
    }
}

/// How closely the profile of RFC 5280 is followed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strictness {
    /// Key identifiers, keyUsage of CAs, critical marks: whatever conforming CAs must write and many a private one leaves out.
    Strict,
    /// What is ambiguous or unsafe is refused; what is only left out is not.
    #[default]
    Usual,
}

/// The side that the peer plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// It presents a client certificate.
    ClientAuth,
    /// It presents a server certificate.
    ServerAuth,
}

/// A path that webpki and [`judge`] both accept.
struct Accepted<'a> {
    anchor: &'a Anchor,
    /// Places among the certificates sent, leaf first.
    places: Vec<usize>,
    elements: Vec<PathElement>,
}

fn outline<'a>(der: &'a CertificateDer<'_>) -> Result<Outline<'a>, ChainFaultKind> {
    Outline::parse(der).map_err(|malformed| ChainFaultKind::Malformed { why: malformed.0 })
}

fn peer(leaf: &Certificate, sent: &[Outline<'_>], accepted: Accepted<'_>) -> VerifiedPeer {
    let bundle = accepted.anchor.bundle();
    // A SPIFFE ID is a name only under its own trust domain's bundle; another domain's was refused by the judge.
    let is_vouched_for =
        |name: &&TypedName| bundle.trust_domain().is_some() || name.kind() != NameKind::Spiffe;
    let names: Vec<TypedName> = leaf
        .names()
        .iter()
        .filter(is_vouched_for)
        .cloned()
        .collect();
    let principal = PRINCIPAL_ORDER
        .into_iter()
        .find_map(|kind| names.iter().find(|name| name.kind() == kind));
    let principal = principal
        .cloned()
        .unwrap_or_else(|| TypedName::Spki(leaf.spki()));
    let ends = accepted.elements.iter().map(|element| element.not_after);
    VerifiedPeer {
        is_canary: canary::is_among(&names, bundle.name()),
        principal: Identity {
            bundle: bundle.name().clone(),
            name: principal,
        },
        names,
        subject: leaf.subject().clone(),
        issuer: leaf.issuer().clone(),
        serial: leaf.serial(),
        not_before: leaf.not_before(),
        not_after: ends.fold(accepted.anchor.terms().not_after, UnixTime::min),
        fingerprint: leaf.fingerprint(),
        spki: leaf.spki(),
        anchor: accepted.anchor.certificate().fingerprint(),
        anchor_key: accepted.anchor.key(),
        chain: accepted
            .places
            .iter()
            .map(|&at| sent[at].der.to_vec())
            .collect(),
        path: accepted.elements,
        extended_key_usage: leaf.extended_key_usage().cloned(),
        extensions: leaf.extension_places().to_vec(),
    }
}

/// What names a workload before what names a machine, a person, a subject, a key.
const PRINCIPAL_ORDER: [NameKind; 5] = [
    NameKind::Spiffe,
    NameKind::Dns,
    NameKind::Email,
    NameKind::Cn,
    NameKind::Dn,
];
