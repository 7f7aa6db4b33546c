//! The one thread that logs refusals and writes the ring.

use std::io;
use std::sync::{Arc, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use countersign_diagnose::refusal::RefusalId;
use countersign_tls::acceptor::FRONT;

use crate::refusals::coalescer::Again;
use crate::refusals::ring::{Line, Ring};
use crate::refusals::{Shared, StoredRefusal};

/// The thread that writes what the log took. Dropping it writes what is queued, then ends the thread.
pub struct RefusalWriter {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl RefusalWriter {
    pub(super) fn start(shared: Arc<Shared>, ring: Ring) -> io::Result<Self> {
        let work = Work {
            shared: Arc::clone(&shared),
            ring,
            told: Instant::now(),
            is_failing: false,
        };
        let thread = thread::Builder::new()
            .name("refusals".to_owned())
            .spawn(move || work.run())?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }
}

impl Drop for RefusalWriter {
    fn drop(&mut self) {
        self.shared
            .inbox
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_closing = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the writer of refusals panicked");
        }
    }
}

struct Work {
    shared: Arc<Shared>,
    ring: Ring,
    told: Instant,
    is_failing: bool,
}

impl Work {
    fn run(mut self) {
        loop {
            let mut inbox = self
                .shared
                .inbox
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            if inbox.queue.is_empty() && inbox.settle_asked == inbox.settled && !inbox.is_closing {
                let waited = self.shared.changed.wait_timeout(inbox, TICK);
                inbox = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
            let (is_closing, settles) = (inbox.is_closing, inbox.settle_asked);
            let new = std::mem::take(&mut inbox.queue);
            let tell_all = is_closing || settles != inbox.settled;
            // It looks at every window: not for each refusal of a flood.
            let again = if tell_all || self.told.elapsed() >= TICK {
                self.told = Instant::now();
                inbox
                    .coalescer
                    .tell(self.shared.clock.unix_seconds(), tell_all)
            } else {
                Vec::new()
            };
            let next = inbox.coalescer.next();
            drop(inbox);

            self.write(new, again, next);
            let mut inbox = self
                .shared
                .inbox
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            inbox.settled = settles;
            self.shared.changed.notify_all();
            if is_closing && inbox.queue.is_empty() {
                return;
            }
        }
    }

    fn write(&mut self, new: Vec<StoredRefusal>, again: Vec<Again>, next: u64) {
        new.iter().for_each(log_new);
        let mut lines: Vec<Line> = new
            .into_iter()
            .map(|refusal| Line::Kept(Box::new(refusal)))
            .collect();
        for Again {
            sequence,
            cause,
            count,
            last_unix_s,
        } in again
        {
            let id = RefusalId::new(&self.shared.node, sequence);
            tracing::warn!(target: "refusal", refusal_id = %id, cause = cause.slug(), count, "refused again");
            lines.push(Line::Again {
                again: id,
                count,
                last_unix_s,
            });
        }
        if lines.is_empty() {
            return;
        }
        match self.ring.append(&lines, next) {
            Ok(()) => self.is_failing = false,
            // Once per trouble: a full disk must not fill the log too.
            Err(error) if !self.is_failing => {
                self.is_failing = true;
                tracing::error!(%error, "refusals cannot be kept, they are logged only");
            }
            Err(_) => {}
        }
    }
}

fn log_new(refusal: &StoredRefusal) {
    let request = refusal.request.as_ref();
    tracing::warn!(
        target: "refusal",
        refusal_id = %refusal.id,
        cause = refusal.refusal.cause.slug(),
        src.addr = %refusal.source,
        src.front = refusal.refusal.evidence.get(FRONT),
        src.id = refusal.principal.as_deref(),
        listener = refusal.listener,
        sni = refusal.sni.as_deref(),
        method = request.map(|request| request.method.as_str()),
        host = request.map(|request| request.host.as_str()),
        path = request.map(|request| request.path.as_str()),
        sentence = refusal.refusal.sentence(),
        fix = refusal.refusal.fix(),
        "refused"
    );
}

/// How late a window's end may be told of.
const TICK: Duration = Duration::from_secs(1);
