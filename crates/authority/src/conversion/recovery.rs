//! What a restored authority was told, on the wire.

use countersign_store::evidence::United;
use countersign_store::pause::Pause;

use crate::api::{EvidenceResponse, PauseView};

impl From<Pause> for PauseView {
    fn from(pause: Pause) -> Self {
        let Pause {
            since,
            backup_at,
            evidence,
        } = pause;
        Self {
            since,
            backup_at,
            evidence,
        }
    }
}

impl From<United> for EvidenceResponse {
    fn from(united: United) -> Self {
        let United {
            revoked,
            unknown,
            known,
            is_newer_than_backup,
            is_whole,
        } = united;
        Self {
            revoked,
            unknown,
            known,
            is_newer_than_backup,
            is_whole,
        }
    }
}
