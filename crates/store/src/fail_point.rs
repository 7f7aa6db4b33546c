//! Named instants at which the crash suite ends the process, as a power cut would, and then looks at what is there.
//!
//! Compiled with the feature `fail-points` alone, which the tests of the binary switch on and no build that ships does:
//! without it [`FailPoint::reach`] is nothing, and no name below is in the program. The `fail` crate was not taken: its
//! points can sleep, panic and return errors by a language of its own, and keep a registry of strings; ending is all
//! that is needed here, and an enum tells the suite which points there are.

use std::fmt;

/// An instant between two writes, or between a write and its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailPoint {
    /// What is to leave the inventory is durable in the archive; it is in the inventory still.
    Archived,
    /// Inventory copied; nothing packed.
    BackupCopied,
    /// The last byte of a backup has been sent.
    BackupPacked,
    /// A backup has come whole; it does not have its name yet.
    BackupReceived,
    /// A transaction has begun; nothing is changed.
    GroupBegun,
    /// Its changes are made; their audit records are in no link.
    GroupChanged,
    /// It is durable; no feed message has been told.
    GroupCommitted,
    /// The link is written; the transaction is not committed.
    GroupLinked,
    /// Feed messages are told; nobody has an answer.
    GroupTold,
    /// The intent is durable; the key has not been used.
    IntentDurable,
    /// The inventory of a backup has its new history; it is not in place.
    RestoreRefounded,
    /// Everything is unpacked; nothing is verified.
    RestoreUnpacked,
    /// A new state is whole in its scaffold; nothing is moved.
    ScaffoldBuilt,
    /// One part of a new state was moved out of its scaffold.
    ScaffoldMoved,
    /// The format file is in place; the scaffold is still there.
    ScaffoldValid,
    /// The certificate is signed; nobody knows it.
    Signed,
}

impl FailPoint {
    /// Every one.
    pub const ALL: [Self; 16] = [
        Self::Archived,
        Self::BackupCopied,
        Self::BackupPacked,
        Self::BackupReceived,
        Self::GroupBegun,
        Self::GroupChanged,
        Self::GroupCommitted,
        Self::GroupLinked,
        Self::GroupTold,
        Self::IntentDurable,
        Self::RestoreRefounded,
        Self::RestoreUnpacked,
        Self::ScaffoldBuilt,
        Self::ScaffoldMoved,
        Self::ScaffoldValid,
        Self::Signed,
    ];

    /// Ends the process if this point is armed and has been reached as often as was asked for.
    #[inline]
    pub fn reach(self) {
        #[cfg(feature = "fail-points")]
        armed::reach(self);
    }
}

#[cfg(feature = "fail-points")]
impl FailPoint {
    /// The name by which it is armed.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Archived => "archived",
            Self::BackupCopied => "backup-copied",
            Self::BackupPacked => "backup-packed",
            Self::BackupReceived => "backup-received",
            Self::GroupBegun => "group-begun",
            Self::GroupChanged => "group-changed",
            Self::GroupCommitted => "group-committed",
            Self::GroupLinked => "group-linked",
            Self::GroupTold => "group-told",
            Self::IntentDurable => "intent-durable",
            Self::RestoreRefounded => "restore-refounded",
            Self::RestoreUnpacked => "restore-unpacked",
            Self::ScaffoldBuilt => "scaffold-built",
            Self::ScaffoldMoved => "scaffold-moved",
            Self::ScaffoldValid => "scaffold-valid",
            Self::Signed => "signed",
        }
    }
}

/// The environment variable that arms a point: its name, and after a colon at which time it is reached (1 if left out).
pub const fn variable() -> Option<&'static str> {
    #[cfg(feature = "fail-points")]
    return Some("COUNTERSIGN_FAIL_POINT");
    #[cfg(not(feature = "fail-points"))]
    None
}

/// Arms what [`variable`] says; without the feature there is nothing to arm.
pub fn arm(text: &str) -> Result<(), UnknownFailPoint> {
    #[cfg(feature = "fail-points")]
    return armed::arm(text);
    #[cfg(not(feature = "fail-points"))]
    Err(UnknownFailPoint {
        text: text.to_owned(),
    })
}

/// No point has that name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownFailPoint {
    text: String,
}

impl fmt::Display for UnknownFailPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no fail point is called {:?}", self.text)
    }
}

#[cfg(feature = "fail-points")]
mod armed {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::{FailPoint, UnknownFailPoint};

    #[cfg(not(debug_assertions))]
    compile_error!("fail points end the process: no release build may have them");

    pub(super) fn arm(text: &str) -> Result<(), UnknownFailPoint> {
        let unknown = || UnknownFailPoint {
            text: text.to_owned(),
        };
        let (name, times) = text.split_once(':').unwrap_or((text, "1"));
        let times: u32 = times.parse().map_err(|_| unknown())?;
        let point = FailPoint::ALL
            .into_iter()
            .find(|point| point.as_str() == name)
            .ok_or_else(unknown)?;
        let _first = ARMED.set((point, AtomicU32::new(times)));
        Ok(())
    }

    pub(super) fn reach(point: FailPoint) {
        if let Some((armed, left)) = ARMED.get()
            && *armed == point
            && left.fetch_sub(1, Ordering::SeqCst) == 1
        {
            // No destructor runs and nothing is flushed.
            std::process::abort();
        }
    }

    static ARMED: OnceLock<(FailPoint, AtomicU32)> = OnceLock::new();
}
