//! Whether it is this machine's clock that is wrong, and not the certificates.

use std::time::Duration;

use countersign_pki::time::{UnixTime, spoken};

use super::Observations;
use crate::cause::Cause;
use crate::finding::{Finding, Side};

/// What speaks against the local clock, where something does.
pub(super) fn judge(observations: &Observations, findings: &[Finding]) -> Option<Finding> {
    let now = observations.now;
    let finding = |message: String| {
        Finding::fault(Cause::ClockSkewLocal, Side::ThisMachine, message)
            .with("now", now)
            .with_fix("timedatectl status")
    };
    if now < EARLIEST {
        return Some(finding(format!(
            "this machine's clock says {now}, which is before this program was made"
        )));
    }
    let is_early = findings
        .iter()
        .any(|finding| finding.cause == Cause::NotYetValid);
    if !is_early {
        return None;
    }
    let newest = observations
        .files
        .iter()
        .filter_map(|file| file.modified)
        .max()
        .filter(|&modified| modified > now.plus(SLACK));
    if let Some(modified) = newest {
        return Some(
            finding(format!(
                "this machine's clock says {now}, and a file was last written {} later ({modified})",
                spoken(modified.since(now))
            ))
            .with("modified", modified),
        );
    }
    // A root is made years before the day on which it is used.
    let certificates: Vec<_> = observations
        .files
        .iter()
        .flat_map(|file| &file.material.certificates)
        .filter_map(|piece| piece.certificate())
        .collect();
    let has_issuer = certificates.iter().any(|it| it.is_ca());
    let all_early = certificates
        .iter()
        .all(|it| it.not_before() > now.plus(SLACK));
    let begin: Option<UnixTime> = certificates.iter().map(|it| it.not_before()).min();
    begin
        .filter(|_| has_issuer && all_early && certificates.len() > 1)
        .map(|begin| {
            finding(format!(
                "this machine's clock says {now}, and every certificate here, the CA's too, begins later (the first {begin})"
            ))
            .with("earliest_not_before", begin)
        })
}

/// 2025-01-01: no version of this program is older.
const EARLIEST: UnixTime = UnixTime::from_seconds(1_735_689_600);

/// What clocks that are kept may be apart.
const SLACK: Duration = Duration::from_mins(5);
