//! Asks the places that certificates name, where `--fetch` says so.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand::fill;
use countersign_diagnose::doctor::Observations;
use countersign_diagnose::doctor::source::{self, SourceSeen};
use countersign_pki::ocsp::QUESTION_NONCE_OCTETS;
use countersign_pki::revocation::RevocationIndex;
use countersign_probe::sources;
use countersign_runtime::clock::SystemClock;
use countersign_tls::enforcement::Enforcement;

use super::probing::LONGEST;
use crate::backend::block_on;
use crate::fault::Fault;

/// What comes from them, in what is left of `patience` when the target was looked at.
pub(super) fn ask(
    observations: &Observations,
    patience: Option<Duration>,
) -> Result<Vec<SourceSeen>, Fault> {
    let spent = observations.target.as_ref().map(|seen| seen.took);
    let left = patience
        .unwrap_or(LONGEST)
        .min(LONGEST)
        .saturating_sub(spent.unwrap_or_default());
    let time = left.clamp(SHORTEST, USUAL);
    let mut asked = Vec::new();
    for source in source::wanted(observations) {
        let mut nonce = [0; QUESTION_NONCE_OCTETS];
        fill(&mut nonce).map_err(|_| Fault::world("no random numbers can be had"))?;
        asked.push((source, nonce));
    }
    let enforcement = Enforcement::new(RevocationIndex::default(), Arc::new(SystemClock));
    block_on(async { Ok(sources::ask(asked, &enforcement, time).await) })
}

/// A list of some megabytes takes so long; responders answer in a tenth of it.
const USUAL: Duration = Duration::from_secs(5);

/// Whoever asks for it wants more than a connection refused.
const SHORTEST: Duration = Duration::from_secs(1);
