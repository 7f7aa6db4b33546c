//! The thread that keeps the feed on disk: nothing else waits for the disk, and what is heard at once is synced at once.
//!
//! What waits for the disk is bounded. Past the bound nothing more is taken, since what is on disk must have no gap: what is
//! heard is in force and not acknowledged. Once the disk has caught up, the feed is to begin anew with a snapshot, which says
//! all that was left out, and from there on everything is kept again.

use std::sync::{Arc, mpsc};
use std::{io, iter, thread};

use countersign_pki::feed::Frame;
use tokio::sync::{oneshot, watch};

use crate::feed_log::FeedLog;

/// Writes what was heard. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Keeper {
    jobs: mpsc::SyncSender<Job>,
    gap: Arc<watch::Sender<Gap>>,
}

/// Whether something was left out since the last snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gap {
    None,
    /// The disk is behind with what came before.
    Behind,
    /// The disk takes a snapshot.
    Ready,
}

#[derive(Debug)]
struct Job {
    frames: Vec<Frame>,
    kept: oneshot::Sender<()>,
}

impl Job {
    /// Says all that holds, whatever was left out before it.
    fn is_snapshot(&self) -> bool {
        matches!(self.frames.first(), Some(Frame::Snapshot(_)))
    }
}

impl Keeper {
    /// Starts the thread; it ends with the last clone.
    pub fn start(log: FeedLog) -> io::Result<Self> {
        let (keeper, waiting) = Self::new();
        let gap = Arc::clone(&keeper.gap);
        thread::Builder::new()
            .name("feed-log".to_owned())
            .spawn(move || keep(log, &waiting, &gap))?;
        Ok(keeper)
    }

    fn new() -> (Self, mpsc::Receiver<Job>) {
        let (jobs, waiting) = mpsc::sync_channel(MAX_WAITING);
        let gap = Arc::new(watch::Sender::new(Gap::None));
        (Self { jobs, gap }, waiting)
    }

    /// Hands `frames` over, in the order of the calls, which are one task's; a snapshot comes whole. The future is done when
    /// they are durable, which on a full disk may be never, and of what was left out is never.
    pub fn keep(&self, frames: Vec<Frame>) -> impl Future<Output = ()> + Send + use<> {
        let (kept, done) = oneshot::channel();
        let job = Job { frames, kept };
        if job.is_snapshot() {
            self.gap.send_replace(Gap::None);
        }
        if *self.gap.borrow() == Gap::None && self.jobs.try_send(job).is_err() {
            tracing::error!(
                "the disk is so slow that the feed is not kept on it for now: it is in force, and not acknowledged"
            );
            self.gap.send_replace(Gap::Behind);
        }
        async move {
            if done.await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Until something was left out and the disk takes the snapshot that says it all.
    pub fn behind(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut gap = self.gap.subscribe();
        async move {
            if gap.wait_for(|gap| *gap == Gap::Ready).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

/// Invariant: what is on disk has no gap. What could not be written stands in the way of everything behind it.
fn keep(mut log: FeedLog, waiting: &mpsc::Receiver<Job>, gap: &watch::Sender<Gap>) {
    let (mut frames, mut askers) = (Vec::new(), Vec::new());
    let (mut is_failing, mut has_dropped) = (false, false);
    while let Ok(first) = waiting.recv() {
        for job in iter::once(first).chain(waiting.try_iter().take(MAX_WAITING)) {
            has_dropped &= !job.is_snapshot();
            if !has_dropped {
                frames.extend(job.frames);
                askers.push(job.kept);
            }
        }
        match log.add(&frames) {
            Ok(()) => {
                if is_failing {
                    tracing::info!("the feed is kept on disk again");
                }
                is_failing = false;
                frames.clear();
                for asker in askers.drain(..) {
                    // Whoever asked may have gone.
                    let _ = asker.send(());
                }
            }
            // Tried again with the next confirmation, some seconds from now.
            Err(error) => {
                if !is_failing {
                    tracing::error!(%error, hint = error.hint(), "the feed is not kept on disk: it is in force, and not acknowledged");
                }
                is_failing = true;
            }
        }
        if frames.len() > MAX_UNWRITTEN {
            has_dropped = true;
            (frames, askers) = (Vec::new(), Vec::new());
            gap.send_replace(Gap::Ready);
        }
        gap.send_if_modified(|gap| {
            let is_drained = *gap == Gap::Behind && !is_failing;
            if is_drained {
                *gap = Gap::Ready;
            }
            is_drained
        });
    }
}

/// As many messages as a node may be behind.
const MAX_WAITING: usize = 4096;
/// A week of confirmations, or revocations of some MiB.
const MAX_UNWRITTEN: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use countersign_pki::feed::{
        Body, Head, HistoryId, Message, RevocationReason, Revoked, Sequence,
    };
    use countersign_pki::fingerprint::Fingerprint;
    use countersign_pki::serial::SerialNumber;
    use countersign_pki::time::UnixTime;

    use super::*;

    /// Everything up to `sequence`, each number of which revokes the serial number like it.
    fn snapshot(sequence: u64) -> Vec<Frame> {
        let head = Head {
            place: 1,
            history: HistoryId("a".to_owned()),
            sequence: Sequence(sequence),
            at: UnixTime::from_seconds(sequence),
            bundles: Vec::new(),
        };
        let told: Vec<Revoked> = (1..=sequence).map(revoked).collect();
        let complete = Frame::Complete { revoked: sequence };
        vec![Frame::Snapshot(head), Frame::Revoked(told), complete]
    }

    fn message(sequence: u64) -> Vec<Frame> {
        vec![Frame::Message(Message {
            history: HistoryId("a".to_owned()),
            sequence: Sequence(sequence),
            at: UnixTime::from_seconds(sequence),
            body: Body::Revoked(revoked(sequence)),
        })]
    }

    fn revoked(serial: u64) -> Revoked {
        Revoked {
            issuer_key: Fingerprint::from_bytes([1; 32]),
            serial: SerialNumber::from_magnitude(&serial.to_be_bytes()).expect("not zero"),
            reason: RevocationReason::KeyCompromise,
            revoked_at: UnixTime::from_seconds(serial),
        }
    }

    struct Disk(tempfile::TempDir);

    impl Disk {
        fn new() -> Self {
            Self(tempfile::tempdir().expect("a folder"))
        }

        fn log(&self) -> FeedLog {
            FeedLog::open(&self.0.path().join("feed")).expect("opens").0
        }

        /// As the next start finds it: where it stands, and how much is revoked.
        fn held(&self) -> (u64, u64) {
            let held = FeedLog::read(&self.0.path().join("feed")).expect("whole");
            let held = held.expect("something");
            (held.position.sequence().0, held.revoked.len() as u64)
        }
    }

    fn start(log: FeedLog, waiting: mpsc::Receiver<Job>, keeper: &Keeper) {
        let gap = Arc::clone(&keeper.gap);
        thread::spawn(move || keep(log, &waiting, &gap));
    }

    async fn in_time(event: impl Future<Output = ()>) {
        let limit = std::time::Duration::from_secs(30);
        tokio::time::timeout(limit, event).await.expect("no hang");
    }

    #[tokio::test]
    async fn what_a_slow_disk_had_no_room_for_is_made_good_by_a_snapshot_and_leaves_no_gap() {
        let disk = Disk::new();
        // The thread that writes stands still.
        let (keeper, waiting) = Keeper::new();
        let first = keeper.keep(snapshot(5));
        let waiting_count = MAX_WAITING as u64 - 1;
        let mut last = Box::pin(keeper.keep(message(6)));
        for sequence in 7..5 + waiting_count {
            last = Box::pin(keeper.keep(message(sequence)));
        }
        let fits = Box::pin(keeper.keep(message(5 + waiting_count)));
        drop(last);
        let left_out = keeper.keep(message(6 + waiting_count));
        assert_eq!(*keeper.gap.borrow(), Gap::Behind);
        start(disk.log(), waiting, &keeper);
        in_time(keeper.behind()).await;
        in_time(first).await;
        in_time(fits).await;
        let before = (5 + waiting_count, 5 + waiting_count);
        assert_eq!(disk.held(), before);

        // There is room again, and what follows a gap is left out all the same, a stream that resumes behind it too.
        let mut resumed = snapshot(7 + waiting_count);
        let Frame::Snapshot(head) = resumed.swap_remove(0) else {
            unreachable!("it begins with its head");
        };
        let behind_it = [
            keeper.keep(message(7 + waiting_count)),
            keeper.keep(vec![Frame::Resumed(head)]),
        ];
        let whole = 8 + waiting_count;
        in_time(keeper.keep(snapshot(whole))).await;
        in_time(keeper.keep(message(whole + 1))).await;
        assert_eq!(disk.held(), (whole + 1, whole + 1));
        assert_eq!(*keeper.gap.borrow(), Gap::None);
        // Nothing that was left out was ever said to be kept.
        for never in behind_it.into_iter().chain([left_out]) {
            let waits = tokio::time::timeout(std::time::Duration::ZERO, never).await;
            assert!(waits.is_err());
        }
    }

    #[tokio::test]
    async fn what_a_full_disk_does_not_take_is_let_go_at_its_bound_and_asked_for_anew() {
        let disk = Disk::new();
        let (keeper, waiting) = Keeper::new();
        start(disk.log().on_full_disk(), waiting, &keeper);
        let never = keeper.keep([snapshot(5), vec![message(6).remove(0); MAX_UNWRITTEN]].concat());
        in_time(keeper.behind()).await;
        let waits = tokio::time::timeout(std::time::Duration::ZERO, never).await;
        assert!(waits.is_err());
        // A snapshot is taken, and waits for room like everything else.
        let again = keeper.keep(snapshot(9));
        assert_eq!(*keeper.gap.borrow(), Gap::None);
        let waits = tokio::time::timeout(std::time::Duration::ZERO, again).await;
        assert!(waits.is_err());
    }
}
