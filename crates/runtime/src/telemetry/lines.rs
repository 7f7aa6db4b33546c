//! Finished lines on their way to the log.
//!
//! Who logs appends to one buffer under a lock that is held for as long as copying a line takes; one thread writes what has come together.
//! That thread is woken by the first line after a pause, so that a log on which little happens shows each line at once. Access lines that
//! come sooner than [`GATHER`] after others are written together, and wake nobody: a wake-up and a `write` for each cost as much as
//! the request that they tell of. All other lines wake the thread whenever they come.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

use tracing::Metadata;
use tracing_subscriber::fmt::MakeWriter;

use super::access::ACCESS;
use super::{LogFormat, dropped_line};

/// The lines that are not written yet. Bounded: what does not fit is dropped and counted, and nobody waits.
#[derive(Debug, Default)]
pub(super) struct Lines {
    // Invariant: bytes and their count change together, and whoever waits for a flush is told after all that came before it.
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    /// Whole lines.
    text: Vec<u8>,
    /// Bytes of those that the writer has taken and not written.
    in_hand: usize,
    dropped: u64,
    /// Whether there is something that does not wait for more.
    is_urgent: bool,
    /// Whether the writer sleeps until it is woken.
    is_asleep: bool,
    flushes: Vec<mpsc::SyncSender<()>>,
}

impl Lines {
    fn append(&self, line: &[u8], is_urgent: bool) {
        let mut queue = self.lock();
        if queue.in_hand + queue.text.len() + line.len() > MAX_QUEUED_BYTES {
            queue.dropped += 1;
            return;
        }
        queue.text.extend_from_slice(line);
        let is_first = is_urgent && !queue.is_urgent;
        queue.is_urgent |= is_urgent;
        let wakes = is_first || std::mem::take(&mut queue.is_asleep) || queue.is_large(line.len());
        drop(queue);
        if wakes {
            self.changed.notify_one();
        }
    }

    /// Tells `done` when all that came before is written.
    pub(super) fn flush(&self, done: mpsc::SyncSender<()>) {
        self.lock().flushes.push(done);
        self.changed.notify_one();
    }

    /// Writes what comes, for ever.
    pub(super) fn write_to(&self, mut sink: impl Write, format: LogFormat) {
        let (mut text, mut unreported) = (Vec::new(), 0);
        let mut written_at = None;
        loop {
            let (dropped, flushes) = self.take(&mut text, written_at);
            unreported += dropped;
            for chunk in chunks(&text) {
                if sink.write_all(chunk).is_err() {
                    unreported += lines_in(chunk);
                }
                self.lock().in_hand -= chunk.len();
            }
            text.clear();
            text.shrink_to(KEPT_BYTES);
            if unreported > 0
                && sink
                    .write_all(dropped_line(unreported, format).as_bytes())
                    .is_ok()
            {
                unreported = 0;
            }
            let _ = sink.flush();
            for done in flushes {
                // The guard may have stopped waiting.
                let _ = done.send(());
            }
            written_at = Some(Instant::now());
        }
    }

    /// Waits until there is something to write, and takes it. `written_at`: when that was done last.
    fn take(
        &self,
        text: &mut Vec<u8>,
        written_at: Option<Instant>,
    ) -> (u64, Vec<mpsc::SyncSender<()>>) {
        let mut queue = self.lock();
        loop {
            let is_due = queue.is_urgent || queue.is_large(0) || !queue.flushes.is_empty();
            let pause = written_at.map_or(Duration::ZERO, |at| GATHER.saturating_sub(at.elapsed()));
            if is_due || (pause.is_zero() && !queue.is_empty()) {
                break;
            }
            queue = if pause.is_zero() {
                queue.is_asleep = true;
                let woken = self.changed.wait(queue);
                woken.unwrap_or_else(PoisonError::into_inner)
            } else {
                let woken = self.changed.wait_timeout(queue, pause);
                woken.unwrap_or_else(PoisonError::into_inner).0
            };
        }
        std::mem::swap(&mut queue.text, text);
        queue.in_hand = text.len();
        queue.is_urgent = false;
        queue.is_asleep = false;
        let flushes = std::mem::take(&mut queue.flushes);
        (std::mem::take(&mut queue.dropped), flushes)
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nothing that holds it can leave it half done.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn is_empty(&self) -> bool {
        self.text.is_empty() && self.dropped == 0
    }

    /// Whether its last `added` bytes made it so large that it does not wait for more; with none, whether it is.
    fn is_large(&self, added: usize) -> bool {
        let before = self.text.len() - added;
        self.text.len() >= LARGE_BYTES && (added == 0 || before < LARGE_BYTES)
    }
}

/// Whole lines, as many together as a pipe takes without another's between them.
fn chunks(mut text: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let ends_line = |bytes: &[u8]| bytes.iter().rposition(|byte| *byte == b'\n');
        let fitting = ends_line(&text[..text.len().min(ATOMIC_BYTES)]);
        let end = fitting.or_else(|| text.iter().position(|byte| *byte == b'\n'))?;
        let (chunk, rest) = text.split_at(end + 1);
        text = rest;
        Some(chunk)
    })
}

fn lines_in(chunk: &[u8]) -> u64 {
    chunk.iter().map(|byte| u64::from(*byte == b'\n')).sum()
}

/// The end of the queue that events are written to: one `write` per event.
#[derive(Debug)]
pub(super) struct LineMaker {
    pub(super) lines: Arc<Lines>,
    pub(super) colour: bool,
}

/// Takes one event.
#[derive(Debug)]
pub(super) struct LineWriter<'a> {
    maker: &'a LineMaker,
    is_urgent: bool,
}

impl<'a> MakeWriter<'a> for LineMaker {
    type Writer = LineWriter<'a>;

    fn make_writer(&'a self) -> LineWriter<'a> {
        LineWriter {
            maker: self,
            is_urgent: true,
        }
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> LineWriter<'a> {
        LineWriter {
            maker: self,
            is_urgent: metadata.target() != ACCESS,
        }
    }
}

impl Write for LineWriter<'_> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let lines = &self.maker.lines;
        if is_one_line(event) {
            lines.append(event, self.is_urgent);
        } else {
            let line = one_line(&String::from_utf8_lossy(event), self.maker.colour);
            lines.append(line.as_bytes(), self.is_urgent);
        }
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether there is nothing to escape in it, for certain.
fn is_one_line(event: &[u8]) -> bool {
    let Some((b'\n', event)) = event.split_last() else {
        return false;
    };
    // Without an early end, so that it is done for many bytes at a time.
    (event.iter()).fold(true, |all, byte| all & matches!(byte, b' '..=b'~'))
}

/// Escapes control characters inside the event: a line break that a peer put into a name must not begin a line of its
/// own. The formatter escapes ESC in values; those left are its own colours. (JSON arrives escaped.)
fn one_line(event: &str, colour: bool) -> String {
    let event = event.strip_suffix('\n').unwrap_or(event);
    let mut line = String::with_capacity(event.len() + 1);
    for character in event.chars() {
        if character.is_control() && character != '\t' && !(colour && character == '\x1b') {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
    line.push('\n');
    line
}

// Ten seconds of 1 000 access lines of 400 bytes per second: the pause that rotating a log or a stopped terminal may cost.
pub(super) const MAX_QUEUED_BYTES: usize = 4 << 20;

/// How late an access line may be seen, so that ten a second of them cost what one does.
const GATHER: Duration = Duration::from_millis(100);

/// Of these, more are not waited for.
const LARGE_BYTES: usize = 64 << 10;

/// A burst is no reason to keep its room.
const KEPT_BYTES: usize = 2 * LARGE_BYTES;

/// Linux's `PIPE_BUF`.
const ATOMIC_BYTES: usize = 4096;
