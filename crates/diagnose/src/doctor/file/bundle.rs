//! What is wrong with a trust bundle whatever is verified against it.

use countersign_pki::certificate::Certificate;

use super::{FileSeen, Judgement, Role};
use crate::cause::Cause;
use crate::doctor::Observations;
use crate::finding::{Finding, Side};

pub(super) fn judge(observations: &Observations, judgement: &mut Judgement) {
    for (role, side) in [(Role::Ca, Side::Client), (Role::ClientCa, Side::Server)] {
        let files: Vec<&FileSeen> = observations
            .files
            .iter()
            .filter(|file| file.role == role)
            .collect();
        let anchors: Vec<&Certificate> = files
            .iter()
            .flat_map(|file| &file.material.certificates)
            .filter_map(|piece| piece.certificate())
            .collect();
        let now = observations.now;
        // One that is good beside it makes the others harmless.
        let last = anchors.iter().max_by_key(|anchor| anchor.not_after());
        if let (Some(file), Some(last)) = (files.first(), last)
            && last.not_after() < now
        {
            let message = format!(
                "every CA certificate in {} has expired, {} last (not_after {}, now {now})",
                file.path,
                last.subject(),
                last.not_after()
            );
            judgement.find(
                Finding::fault(Cause::RootExpired, side, message)
                    .with("at_fault", last.subject())
                    .with("issuer_not_after", last.not_after())
                    .with("bundle", &file.path)
                    .with("now", now),
            );
        }
    }
}
