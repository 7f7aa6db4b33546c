//! When a certificate is due for its next one.

use countersign_pki::time::UnixTime;

/// Half of the life is over.
pub fn due_at(not_before: UnixTime, not_after: UnixTime) -> UnixTime {
    not_before.plus(not_after.since(not_before) / 2)
}
