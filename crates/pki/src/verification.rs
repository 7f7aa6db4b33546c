//! A verification out of files: `countersign verify`, and the conformance run that judges it.
//!
//! The verdict is [`chain`](crate::chain)'s, with the rules of a gateway. Only the bounds are wider, since a person chose the
//! files, and trust is read more patiently: an anchor that cannot be used is left out and named, not the end.

use std::sync::Arc;

use rustls_pki_types::CertificateDer;

use crate::bundle::{InvalidBundle, TrustBundle};
use crate::certificate::{Certificate, MalformedCertificate};
use crate::chain::{ChainFault, ExpectedName, Limits, Purpose, Question, Rules, Verifier};
use crate::crl::{InvalidCrl, ParsedCrl};
use crate::identity::{BundleName, VerifiedPeer};
use crate::revocation::RevocationIndex;
use crate::spiffe::TrustDomain;
use crate::time::UnixTime;

/// What to trust, what to consult, and by which rules.
#[derive(Debug)]
pub struct Verification {
    verifier: Verifier,
    lists: Vec<ParsedCrl>,
    left_out: Vec<LeftOut>,
}

/// A certificate among the anchors that is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// Which, from 1.
    pub place: usize,
    /// Why.
    pub why: UnusableAnchor,
}

impl Verification {
    /// Reads anchors and CRLs, each in DER. `trust_domain` is the one whose SPIFFE IDs the anchors vouch for.
    pub fn new(
        name: BundleName,
        trust_domain: Option<TrustDomain>,
        anchors: &[Vec<u8>],
        lists: &[Vec<u8>],
        rules: Rules,
    ) -> Result<Self, InvalidVerification> {
        let mut left_out = Vec::new();
        let mut usable = Vec::new();
        for (der, place) in anchors.iter().zip(1..) {
            match anchor(&name, der) {
                Ok(anchor) => usable.push(anchor),
                Err(why) => left_out.push(LeftOut { place, why }),
            }
        }
        if let (true, Some(first)) = (usable.is_empty(), left_out.first()) {
            return Err(InvalidVerification::NoAnchor {
                first: first.why.clone(),
            });
        }
        // Judged at the beginning of time: that an anchor has expired is a verdict, and the judge's to give.
        let bundle = TrustBundle::new(name, trust_domain, usable, UnixTime::from_seconds(0))?;
        let lists = lists.iter().zip(1..).map(|(der, place)| {
            ParsedCrl::parse(der).map_err(|source| InvalidVerification::Crl { place, source })
        });
        Ok(Self {
            verifier: Verifier::new(vec![Arc::new(bundle)], LIMITS)?.with_rules(rules),
            lists: lists.collect::<Result<_, _>>()?,
            left_out,
        })
    }

    /// Anchors that are not used.
    pub fn left_out(&self) -> &[LeftOut] {
        &self.left_out
    }

    /// The anchors that are.
    pub fn anchors(&self) -> &[Certificate] {
        self.verifier.bundles()[0].anchors()
    }

    /// Verifies a chain in DER, leaf first; what follows it may be in any order. The leaf must hold every one of `names`.
    pub fn verify(
        &self,
        chain: &[Vec<u8>],
        purpose: Purpose,
        names: &[ExpectedName],
        now: UnixTime,
    ) -> Result<VerifiedPeer, ChainFault> {
        let chain: Vec<_> = chain
            .iter()
            .map(|der| CertificateDer::from(der.as_slice()))
            .collect();
        self.verifier.answer(
            &chain,
            &Question {
                purpose,
                revocations: &RevocationIndex::default(),
                lists: &self.lists,
                names,
                now,
            },
        )
    }
}

/// Why a certificate is no anchor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnusableAnchor {
    /// It cannot be read.
    #[error(transparent)]
    Malformed(#[from] MalformedCertificate),
    /// It is no CA, or one that chains cannot be verified against.
    #[error(transparent)]
    Unfit(#[from] InvalidBundle),
}

/// Why nothing can be verified.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidVerification {
    /// No anchor at all.
    #[error(transparent)]
    Bundle(#[from] InvalidBundle),
    /// A CRL that cannot be read.
    #[error("{source} (the {place}. one)")]
    Crl {
        /// Which, from 1.
        place: usize,
        /// What is wrong.
        source: InvalidCrl,
    },
    /// Anchors, none of which can be used.
    #[error("no certificate there can be an anchor; of the first: {first}")]
    NoAnchor {
        /// What is wrong with the first.
        first: UnusableAnchor,
    },
}

/// Each is tried alone, so that one of no use does not cost the others.
fn anchor(name: &BundleName, der: &[u8]) -> Result<Certificate, UnusableAnchor> {
    let certificate = Certificate::parse_anchor(der)?;
    let alone = TrustBundle::new(
        name.clone(),
        None,
        vec![certificate.clone()],
        UnixTime::from_seconds(0),
    )?;
    Verifier::new(vec![Arc::new(alone)], LIMITS)?;
    Ok(certificate)
}

/// A file of cross-signed issuers is larger than what a peer may send. The work stays bounded by webpki's budget.
const LIMITS: Limits = Limits {
    certificates: 128,
    certificate_bytes: 16 * 1024,
    chain_bytes: 1024 * 1024,
};
