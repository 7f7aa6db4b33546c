//! The thread that keeps the feed on disk: nothing else waits for the disk, and what is heard at once is synced at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::{io, iter, thread};

use countersign_pki::feed::Frame;
use tokio::sync::oneshot;

use crate::feed_log::FeedLog;

/// Writes what was heard. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Keeper {
    jobs: mpsc::SyncSender<Job>,
    has_overflowed: Arc<AtomicBool>,
}

struct Job {
    frames: Vec<Frame>,
    kept: oneshot::Sender<()>,
}

impl Keeper {
    /// Starts the thread; it ends with the last clone.
    pub fn start(log: FeedLog) -> io::Result<Self> {
        let (jobs, waiting) = mpsc::sync_channel(MAX_WAITING);
        let has_overflowed = Arc::default();
        let overflowed = Arc::clone(&has_overflowed);
        thread::Builder::new()
            .name("feed-log".to_owned())
            .spawn(move || keep(log, &waiting, &overflowed))?;
        Ok(Self {
            jobs,
            has_overflowed,
        })
    }

    /// Hands `frames` over, in the order of the calls; the future is done when they are durable, which on a full disk may
    /// be never.
    pub fn keep(&self, frames: Vec<Frame>) -> impl Future<Output = ()> + Send + use<> {
        let (kept, done) = oneshot::channel();
        if self.jobs.try_send(Job { frames, kept }).is_err()
            && !self.has_overflowed.swap(true, Ordering::SeqCst)
        {
            tracing::error!(
                "the disk is so slow that the feed is no longer kept on it until the next start: it is in force, and not acknowledged"
            );
        }
        async move {
            if done.await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

/// Invariant: what is on disk has no gap. What could not be written stands in the way of everything behind it.
fn keep(mut log: FeedLog, waiting: &mpsc::Receiver<Job>, has_overflowed: &AtomicBool) {
    let (mut frames, mut askers) = (Vec::new(), Vec::new());
    let mut is_failing = false;
    while let Ok(first) = waiting.recv() {
        for job in iter::once(first).chain(waiting.try_iter().take(MAX_WAITING)) {
            frames.extend(job.frames);
            askers.push(job.kept);
        }
        if has_overflowed.load(Ordering::SeqCst) || frames.len() > MAX_UNWRITTEN {
            has_overflowed.store(true, Ordering::SeqCst);
            frames.clear();
            askers.clear();
            continue;
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
    }
}

/// As many messages as a node may be behind.
const MAX_WAITING: usize = 4096;
/// A week of confirmations, or revocations of some MiB.
const MAX_UNWRITTEN: usize = 64 * 1024;
