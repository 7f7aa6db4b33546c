//! What retention did, in the metrics.

use std::sync::Arc;

use countersign_authority::authority::Authority;
use countersign_pki::time::UnixTime;
use countersign_proxy::metrics::{Metrics, RetentionFigures};

/// Shows it, where there is an authority that lets anything leave.
pub(super) fn show(authority: Option<&Arc<Authority>>, metrics: &Metrics) {
    let Some(authority) = authority else {
        return;
    };
    let authority = Arc::downgrade(authority);
    metrics.watch_retention(move || {
        let counts = authority.upgrade()?.retention_counts()?;
        Some(RetentionFigures {
            archived: counts.archived,
            certificates: counts.dropped.certificates,
            imported: counts.dropped.imported,
            intents: counts.dropped.intents,
            failures: counts.failures,
            last_pass_unix_s: counts.last_pass.map(UnixTime::seconds),
        })
    });
}
