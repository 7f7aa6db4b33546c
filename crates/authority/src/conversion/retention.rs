//! What leaves the inventory, on the wire and in the archive.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_pki::pem;
use countersign_pki::time::UnixTime;
use countersign_store::retention::{Dropped, Ended, Kept};
use serde::Serialize;

use super::certificate_view;
use crate::api::{DroppedView, KeptView, PassView, PruneResponse, RetentionView, ShownCertificate};
use crate::authority::CERTIFICATE;
use crate::retention::{LastPass, Pruned, RetentionState};

/// A line of the archive: a certificate as `show` has it, or the intent with the bytes that may have been signed.
#[derive(Debug, Serialize)]
pub(crate) struct Archived {
    #[serde(flatten)]
    shown: ShownCertificate,
    /// In base64: the `TBSCertificate` (RFC 5280 §4.1) of which nobody knows whether it was signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    to_be_signed: Option<String>,
}

pub(crate) fn archived(ended: &Ended, now: UnixTime) -> Archived {
    let entry = ended.entry().clone();
    let shown = ShownCertificate {
        pem: entry
            .signed
            .as_ref()
            .map(|signed| pem::encode(CERTIFICATE, &signed.der)),
        issuers_pem: None,
        certificate: certificate_view(entry, now),
    };
    Archived {
        shown,
        to_be_signed: ended.to_be_signed().map(|bytes| STANDARD.encode(bytes)),
    }
}

pub(crate) fn prune_response(pruned: &Pruned, is_preview: bool) -> PruneResponse {
    PruneResponse {
        cutoff: pruned.cutoff,
        due: is_preview.then_some(pruned.due),
        dropped: pruned.dropped.into(),
        kept: pruned.kept.into(),
        files: pruned
            .files
            .iter()
            .map(|path| path.display().to_string())
            .collect(),
        more: pruned.has_more,
    }
}

impl From<RetentionState> for RetentionView {
    fn from(state: RetentionState) -> Self {
        Self {
            expired_s: state.rule.retention.kept().as_secs(),
            archive: state.folder.map(|folder| folder.display().to_string()),
            judged_at: state.judged_at,
            cutoff: state.cutoff,
            last: state.last.map(PassView::from),
        }
    }
}

impl From<LastPass> for PassView {
    fn from(pass: LastPass) -> Self {
        Self {
            at: pass.at,
            dropped: pass.dropped.into(),
            kept: pass.kept.into(),
            fault: pass.fault.map(|(sentence, _)| sentence),
        }
    }
}

impl From<Dropped> for DroppedView {
    fn from(dropped: Dropped) -> Self {
        let Dropped {
            certificates,
            imported,
            intents,
        } = dropped;
        Self {
            certificates,
            imported,
            intents,
        }
    }
}

impl From<Kept> for KeptView {
    fn from(kept: Kept) -> Self {
        let Kept {
            compromised,
            listed,
            unproved,
        } = kept;
        Self {
            compromised,
            listed,
            unproved,
        }
    }
}
