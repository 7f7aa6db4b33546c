//! Whether a server may see the client's certificate.

use std::collections::HashSet;

use countersign_diagnose::chain;
use countersign_diagnose::doctor::question::Target;
use countersign_diagnose::doctor::target::{Der, Vouched};
use countersign_pki::certificate::Certificate;
use countersign_pki::chain::{ExpectedName, Purpose, Rules};
use countersign_pki::identity::BundleName;
use countersign_pki::time::UnixTime;
use countersign_pki::verification::Verification;

use super::{Wanted, system};

/// Whom the client trusts.
///
/// Of given anchors the chain is enough: whoever they certified belongs to those who run the server. The system's roots
/// certify anybody, so that there the name has to fit, too.
#[derive(Debug)]
pub(super) struct Vouching {
    verification: Result<Verification, String>,
    names: Vec<ExpectedName>,
    by_system: bool,
    /// One of the anchors certifies anybody who asks.
    by_public: bool,
    given: Vec<Vec<u8>>,
    now: UnixTime,
}

impl Vouching {
    pub(super) fn new(wanted: &Wanted, target: &Target) -> Self {
        let by_system = wanted.anchors.is_empty();
        let system;
        let anchors = if by_system {
            system = system::roots();
            &system
        } else {
            &wanted.anchors
        };
        let verification =
            Verification::new(BundleName::internal(), None, anchors, &[], Rules::default());
        let name = wanted.question.name.as_deref().unwrap_or(&target.host);
        Self {
            verification: verification.map_err(|fault| fault.to_string()),
            names: ExpectedName::parse(name, Purpose::ServerAuth)
                .into_iter()
                .collect(),
            by_system,
            by_public: by_system || is_public(&wanted.anchors),
            given: wanted.anchors.clone(),
            now: wanted.now,
        }
    }

    /// Who vouches for a chain, leaf first.
    pub(super) fn of(&self, sent: &[Der]) -> Vouched {
        let der: Vec<Vec<u8>> = sent.iter().map(|der| der.0.clone()).collect();
        // A server's own certificate that was given as an anchor is its own word, whatever kind it is.
        if der.first().is_some_and(|leaf| self.given.contains(leaf)) {
            return Vouched::Anchors;
        }
        let verification = match &self.verification {
            Ok(verification) => verification,
            Err(why) => return Vouched::Nobody(format!("there is nothing to judge it by: {why}")),
        };
        let names = if self.by_public { &self.names[..] } else { &[] };
        if self.by_public && names.is_empty() {
            return Vouched::Nobody(
                "it was asked for by no name that a certificate could hold".to_owned(),
            );
        }
        match verification.verify(&der, Purpose::ServerAuth, names, self.now) {
            Ok(_) if self.by_system => Vouched::System,
            Ok(_) => Vouched::Anchors,
            Err(fault) => {
                let refusal = chain::refusal(&fault, Purpose::ServerAuth);
                let leaf = Certificate::parse(der.first().map_or(&[][..], Vec::as_slice));
                let whose =
                    leaf.map_or_else(|_| "it".to_owned(), |leaf| leaf.subject().to_string());
                Vouched::Nobody(format!(
                    "{whose} is not vouched for: {}",
                    refusal.sentence()
                ))
            }
        }
    }
}

/// Whether roots of the system are among them, as in `--ca /etc/ssl/certs/ca-certificates.crt`.
fn is_public(anchors: &[Vec<u8>]) -> bool {
    let roots = system::roots();
    let roots: HashSet<&[u8]> = roots.iter().map(Vec::as_slice).collect();
    anchors
        .iter()
        .any(|anchor| roots.contains(anchor.as_slice()))
}
