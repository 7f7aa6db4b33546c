//! How far a withdrawal is, for those who wait for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How far the withdrawal is that the writer is at, for whoever watches. Only one is under way at a time.
#[derive(Clone, Debug, Default)]
pub(crate) struct UnderWay(Arc<AtomicU64>);

impl UnderWay {
    pub(super) fn changed(&self) -> Option<u64> {
        self.0.load(Ordering::Relaxed).checked_sub(1)
    }

    pub(super) fn begin(&self) -> Counted {
        let counted = Counted(self.clone());
        counted.reach(0);
        counted
    }
}

/// A withdrawal that is under way until this is dropped.
pub(super) struct Counted(UnderWay);

impl Counted {
    /// So many changes are in the transaction.
    pub(super) fn reach(&self, changed: u64) {
        // Zero is for none.
        self.0.0.store(changed + 1, Ordering::Relaxed);
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.0.store(0, Ordering::Relaxed);
    }
}
