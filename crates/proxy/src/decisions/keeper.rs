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
        let (sender, batches) = sync_channel(MAX_WAITING);
        let work = Work {
            sum: earlier(&path, &metrics),
            path,
            switch: Arc::clone(&switch),
            clock,
            metrics,
            is_first: true,
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
    is_first: bool,
    is_failing: bool,
}

impl Work {
    fn run(mut self, batches: &Receiver<Batch>) {
        let mut written = Instant::now();
        let mut lines = (Instant::now(), 0);
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
            if let Ok(batch) = batch
                && settings.enabled
            {
                self.metrics.note_dropped("too-fast", batch.dropped);
                let evicted = self.sum.observed.evicted;
                let unusual = self.sum.take(batch);
                self.metrics
                    .note_dropped("made-room", self.sum.observed.evicted - evicted);
                self.tell(&unusual, &mut lines);
            }
            if is_over || is_changed || written.elapsed() >= self.interval() {
                self.write(&settings);
                written = Instant::now();
            }
            if is_over {
                return;
            }
        }
    }

    /// Where nothing is to be kept, nothing is kept on either.
    fn apply(&mut self, settings: &Settings) {
        if settings.enabled {
            self.sum.observed.set_listeners(&settings.listeners);
            return;
        }
        self.sum = Sum::default();
        self.is_first = true;
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::error!(path = %self.path.display(), %error, "decisions that shall not be kept are still there");
            }
            _ => {}
        }
    }

    /// What is written is all of it, so that much is written less often.
    fn interval(&self) -> Duration {
        TICK * 3 + Duration::from_millis(self.sum.len() as u64 * 5)
    }

    fn write(&mut self, settings: &Settings) {
        if !settings.enabled {
            return self.metrics.tell_kept(0);
        }
        let now = self.clock.unix_seconds();
        self.sum
            .observed
            .note(now, std::mem::take(&mut self.is_first));
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

    fn tell(&self, unusual: &[Unusual], (begun, count): &mut (Instant, usize)) {
        for Unusual {
            is_first,
            identity,
            listener,
            source,
        } in unusual
        {
            let kind = if *is_first {
                "first-seen"
            } else {
                "new-source"
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
/// Of all workers together. A disk that stands still has some MiB wait for it under a flood, and no more.
const MAX_WAITING: usize = 16;
/// What clients do is no reason to fill a disk.
const LINES_A_SECOND: usize = 10;
