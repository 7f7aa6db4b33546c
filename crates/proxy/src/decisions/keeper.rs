//! The one thread that adds up what workers hand over, tells of what is unusual, and writes.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use countersign_runtime::clock::SharedClock;

use super::file::{self, KeptError};
use super::observed::ListenerRecord;
use super::recorder::{Batch, Recorder, Switch};
use super::sum::{Sum, Unusual};
use crate::metrics::DecisionMetrics;
use crate::refusals::printable;

/// What is kept, of which listeners.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) enabled: bool,
    pub(crate) keep: Duration,
    pub(crate) listeners: BTreeMap<String, ListenerRecord>,
}

/// The thread, from without.
pub(crate) struct Keeper {
    switch: Switch,
    /// Workers hold the others: when the last of them has ended, so does the thread.
    sender: Option<SyncSender<Batch>>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    /// Takes up what an earlier process kept in `folder`. `None`: nothing is kept, and nobody keeps it.
    pub(crate) fn start(
        folder: Option<&Path>,
        settings: Settings,
        clock: SharedClock,
        metrics: DecisionMetrics,
    ) -> io::Result<Self> {
        let switch: Switch = Arc::new(ArcSwap::from_pointee(settings));
        let Some(folder) = folder else {
            return Ok(Self {
                switch,
                sender: None,
                thread: None,
            });
        };
        let path = folder.join(file::FILE);
        if let Err(error) = file::remove_leftovers(&path) {
            tracing::error!(path = %path.display(), %error, "what was left of an earlier writing is still there");
        }
        let (sender, batches) = sync_channel(MAX_WAITING);
        let mut sum = earlier(&path, &metrics);
        sum.observed.resume(clock.unix_seconds());
        let work = Work {
            sum,
            path,
            switch: Arc::clone(&switch),
            clock,
            metrics,
            open: BTreeMap::new(),
            is_dirty: true,
            is_failing: false,
        };
        let thread = thread::Builder::new()
            .name("decisions".to_owned())
            .spawn(move || work.run(&batches))?;
        Ok(Self {
            switch,
            sender: Some(sender),
            thread: Some(thread),
        })
    }

    /// Of one worker.
    pub(crate) fn recorder(&self) -> impl FnOnce() -> Recorder + Send + use<> {
        let (switch, sender) = (Arc::clone(&self.switch), self.sender.clone());
        move || Recorder::new(switch, sender)
    }

    /// Every worker has its own.
    pub(crate) fn started(&mut self) {
        self.sender = None;
    }

    /// What a reload changes.
    pub(crate) fn switch(&self) -> Switch {
        Arc::clone(&self.switch)
    }

    /// Blocks until what the workers saw is on disk. They have to have ended.
    pub(crate) fn join(mut self) {
        self.sender = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the keeper of decisions panicked");
        }
    }
}

/// What cannot be read keeps nobody from being served.
fn earlier(path: &Path, metrics: &DecisionMetrics) -> Sum {
    match file::read(path) {
        Ok(kept) => Sum::of(kept),
        Err(KeptError::Absent) => Sum::default(),
        Err(error) => {
            metrics.note_damaged();
            tracing::error!(path = %path.display(), %error, "the decisions that were kept cannot be read: they are set aside");
            if let Err(error) = file::set_aside(path) {
                tracing::error!(path = %path.display(), %error, "they cannot be set aside either");
            }
            Sum::default()
        }
    }
}

struct Work {
    sum: Sum,
    path: PathBuf,
    switch: Switch,
    clock: SharedClock,
    metrics: DecisionMetrics,
    /// Connections without a certificate that counts, of this process, by listener.
    open: BTreeMap<String, i64>,
    is_dirty: bool,
    is_failing: bool,
}

impl Work {
    fn run(mut self, batches: &Receiver<Batch>) {
        let mut written = Instant::now();
        let mut lines = [(Instant::now(), 0); 2];
        let mut settings = self.switch.load_full();
        self.apply(&settings);
        loop {
            let batch = batches.recv_timeout(TICK);
            let present = self.switch.load_full();
            let is_changed = present != settings;
            if is_changed {
                settings = present;
                self.apply(&settings);
            }
            let is_over = matches!(batch, Err(RecvTimeoutError::Disconnected));
            if let Ok(mut batch) = batch {
                // Whether or not anything is kept now: it may be once they are still open.
                self.count_open(std::mem::take(&mut batch.open));
                if settings.enabled {
                    let unusual = self.take(batch);
                    self.tell(&unusual, &mut lines);
                }
            }
            if settings.enabled {
                self.sum.observed.note(self.clock.unix_seconds());
            }
            let is_due = written.elapsed() >= self.interval();
            self.sum.observed.is_complete = is_over;
            if is_over || is_changed || is_due {
                self.write(&settings);
                written = Instant::now();
            }
            if is_over {
                return;
            }
        }
    }

    fn take(&mut self, batch: Batch) -> Vec<Unusual> {
        self.is_dirty = true;
        self.metrics
            .note_dropped("too-fast", batch.dropped + batch.refused_dropped);
        let figures = |sum: &Sum| {
            (
                sum.observed.lost(),
                sum.observed.evicted,
                sum.refused_evicted,
            )
        };
        let (lost, evicted, refused) = figures(&self.sum);
        let unusual = self.sum.take(batch);
        let after = figures(&self.sum);
        let made_room = after.1.saturating_sub(evicted) + (after.2 - refused);
        self.metrics.note_dropped("made-room", made_room);
        if after.0 != lost {
            self.sum.observed.last_lost_unix_s = self.clock.unix_seconds();
        }
        unusual
    }

    fn count_open(&mut self, changes: BTreeMap<String, i64>) {
        self.is_dirty |= !changes.is_empty();
        for (listener, change) in changes {
            *self.open.entry(listener).or_default() += change;
        }
        self.open.retain(|_, count| *count != 0);
        let open = self.open.iter();
        let open =
            open.filter_map(|(name, count)| Some((name.clone(), u64::try_from(*count).ok()?)));
        self.sum.observed.open_without = open.collect();
    }

    /// Where nothing is to be kept, nothing is kept on either.
    fn apply(&mut self, settings: &Settings) {
        if settings.enabled {
            self.sum.observed.set_listeners(&settings.listeners);
            return;
        }
        self.sum = Sum::default();
        self.count_open(BTreeMap::new());
        if let Err(error) = file::remove(&self.path) {
            tracing::error!(path = %self.path.display(), %error, "decisions that shall not be kept are still there");
        }
    }

    /// What is written is all of it, so that much is written less often, and what says nothing new seldom.
    fn interval(&self) -> Duration {
        if !self.is_dirty {
            return IDLE;
        }
        TICK * 3 + Duration::from_millis(self.sum.len() as u64 * 5)
    }

    fn write(&mut self, settings: &Settings) {
        if !settings.enabled {
            return self.metrics.tell_kept(0);
        }
        let now = self.clock.unix_seconds();
        self.is_dirty = false;
        self.sum
            .forget_before(now.saturating_sub(settings.keep.as_secs()));
        self.metrics.tell_kept(self.sum.len());
        match file::write(&self.path, &self.sum.kept()) {
            Ok(()) => self.is_failing = false,
            // Once: what is missing on disk is still in memory, and is written when there is room.
            Err(error) if !self.is_failing => {
                self.is_failing = true;
                tracing::error!(path = %self.path.display(), %error, "decisions are not kept on disk");
            }
            Err(_) => {}
        }
        self.metrics.tell_failing(self.is_failing);
    }

    /// `lines`: of each kind, since when how many.
    fn tell(&self, unusual: &[Unusual], lines: &mut [(Instant, usize); 2]) {
        for Unusual {
            is_first,
            identity,
            listener,
            source,
        } in unusual
        {
            let [first_seen, new_source] = &mut *lines;
            let (kind, (begun, count)) = if *is_first {
                ("first-seen", first_seen)
            } else {
                ("new-source", new_source)
            };
            self.metrics.note_unusual(kind);
            if begun.elapsed() >= Duration::from_secs(1) {
                (*begun, *count) = (Instant::now(), 0);
            }
            *count += 1;
            if *count <= LINES_A_SECOND {
                tracing::info!(
                    target: "unusual",
                    listener = %listener,
                    src.id = %printable(identity),
                    src.addr = %source,
                    kind,
                    "an identity is unusual"
                );
            }
        }
    }
}

/// As often as workers hand over.
const TICK: Duration = Duration::from_secs(1);
/// Only the time goes on.
const IDLE: Duration = Duration::from_secs(50);
/// Of all workers together. A disk that stands still has some MiB wait for it under a flood, and no more.
const MAX_WAITING: usize = 16;
/// Of each kind. What clients do is no reason to fill a disk.
const LINES_A_SECOND: usize = 10;

#[cfg(test)]
mod tests {
    use countersign_runtime::clock::ManualClock;

    use super::super::file::Kept;
    use super::super::observed::Observed;
    use super::*;

    #[test]
    fn process_that_was_killed_leaves_a_gap_and_one_that_ended_does_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let clock = Arc::new(ManualClock::new(1_000_000));
        let settings = Settings {
            enabled: true,
            keep: Duration::from_hours(1),
            listeners: BTreeMap::new(),
        };
        let path = folder.path().join(file::FILE);
        let run = || {
            let keeper = Keeper::start(
                Some(folder.path()),
                settings.clone(),
                Arc::<ManualClock>::clone(&clock),
                DecisionMetrics::default(),
            );
            keeper.expect("a thread").join();
            file::read(&path).expect("it was written").observed
        };
        assert!(run().is_complete);
        clock.advance(Duration::from_secs(20));
        let ended = run();
        assert_eq!(ended.since(0, u64::MAX).as_secs(), 20);
        // As a process leaves it that is killed: whatever it wrote last, that was not all.
        let killed = Kept {
            observed: Observed {
                is_complete: false,
                ..ended
            },
            ..Kept::default()
        };
        file::write(&path, &killed).expect("written");
        clock.advance(Duration::from_secs(20));
        let after = run();
        assert_eq!(after.since(0, u64::MAX).as_secs(), 20);
        assert_eq!(after.spans.len(), 2);
    }
}
