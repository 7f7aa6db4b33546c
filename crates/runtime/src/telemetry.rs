//! Logging that never makes a connection wait.
//!
//! Standard error may block: a stopped terminal, a full pipe, a slow journal. So the thread that logs only appends the
//! finished line to a bounded queue, and one writer thread empties it. When the queue is full, lines are dropped and
//! counted, and the count is logged as soon as there is room again.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tracing::Dispatch;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One JSON object per line, the event's fields at top level.
    Json,
    /// One line of text per event, for people.
    #[default]
    Text,
}

/// Sends all events of the process to standard error, from now to its end.
///
/// `filter` is a list of directives as `tracing` knows them (`info,countersign_tls=debug`). `colour` matters for text
/// only: ask for it on a terminal. Hold the guard in `main`: what is queued is written when it drops.
pub fn init_logging(
    format: LogFormat,
    filter: &str,
    colour: bool,
) -> Result<LogGuard, InitLoggingError> {
    let (dispatch, guard) = logging_to(io::stderr(), format, filter, colour)?;
    tracing::dispatcher::set_global_default(dispatch)
        .map_err(|_| InitLoggingError::AlreadyInitialised)?;
    Ok(guard)
}

/// Why logging cannot begin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InitLoggingError {
    /// The process logs already: our bug.
    #[error("logging is initialised already")]
    AlreadyInitialised,
    /// The filter cannot be parsed.
    #[error("log filter {filter:?} is invalid: {reason}")]
    Filter {
        /// The filter as given.
        filter: String,
        /// What is wrong with it.
        reason: ParseError,
    },
    /// The writer thread cannot be started.
    #[error("the log writer thread cannot start: {reason}")]
    Thread {
        /// What the system said.
        reason: io::Error,
    },
}

/// Writes what is queued when dropped; waits two seconds at most, so that a stuck reader of the log cannot hold up the
/// end of the process. Logging goes on after it.
#[derive(Debug)]
#[must_use = "dropped at once, it flushes nothing"]
pub struct LogGuard {
    queue: mpsc::Sender<Entry>,
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        let (done, flushed) = mpsc::sync_channel(1);
        if self.queue.send(Entry::Flush(done)).is_ok() {
            // Nobody is left to tell when it fails.
            let _ = flushed.recv_timeout(FLUSH_LIMIT);
        }
    }
}

fn logging_to(
    sink: impl Write + Send + 'static,
    format: LogFormat,
    filter: &str,
    colour: bool,
) -> Result<(Dispatch, LogGuard), InitLoggingError> {
    let parsed = EnvFilter::try_new(filter).map_err(|reason| InitLoggingError::Filter {
        filter: filter.to_owned(),
        reason,
    })?;
    let backlog = Arc::new(Backlog::default());
    let (queue, entries) = mpsc::channel();
    thread::Builder::new()
        .name("log-writer".to_owned())
        .spawn({
            let backlog = Arc::clone(&backlog);
            move || write_lines(&entries, &backlog, sink, format)
        })
        .map_err(|reason| InitLoggingError::Thread { reason })?;
    let guard = LogGuard {
        queue: queue.clone(),
    };
    let lines = Arc::new(LineQueue {
        queue,
        backlog,
        colour,
    });
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(parsed)
        .with_writer(lines);
    let dispatch = match format {
        LogFormat::Json => subscriber.json().flatten_event(true).into(),
        LogFormat::Text => subscriber.with_ansi(colour).into(),
    };
    Ok((dispatch, guard))
}

#[derive(Debug)]
enum Entry {
    Flush(mpsc::SyncSender<()>),
    Line(String),
}

/// What the threads that log share with the writer.
#[derive(Debug, Default)]
struct Backlog {
    bytes: AtomicUsize,
    dropped: AtomicU64,
}

/// The end of the queue that events are written to: one `write` per event.
#[derive(Debug)]
struct LineQueue {
    queue: mpsc::Sender<Entry>,
    backlog: Arc<Backlog>,
    colour: bool,
}

impl Write for &LineQueue {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let line = one_line(&String::from_utf8_lossy(event), self.colour);
        let bytes = line.len();
        if self.backlog.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes > MAX_QUEUED_BYTES {
            self.backlog.bytes.fetch_sub(bytes, Ordering::Relaxed);
            self.backlog.dropped.fetch_add(1, Ordering::Relaxed);
        } else {
            // Fails only when the writer thread is gone: then there is no log to complain to.
            let _ = self.queue.send(Entry::Line(line));
        }
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
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

fn write_lines(
    entries: &mpsc::Receiver<Entry>,
    backlog: &Backlog,
    mut sink: impl Write,
    format: LogFormat,
) {
    let mut unreported = 0;
    while let Ok(first) = entries.recv() {
        // Drops are reported when the queue was empty for once, or else each LINES_PER_REPORT lines: under lasting
        // overload a report after each line would double it.
        for entry in std::iter::once(first)
            .chain(entries.try_iter())
            .take(LINES_PER_REPORT)
        {
            match entry {
                Entry::Flush(done) => {
                    report_dropped(&mut unreported, backlog, &mut sink, format);
                    // The guard may have stopped waiting.
                    let _ = done.send(());
                }
                Entry::Line(line) => {
                    backlog.bytes.fetch_sub(line.len(), Ordering::Relaxed);
                    unreported += u64::from(sink.write_all(line.as_bytes()).is_err());
                }
            }
        }
        report_dropped(&mut unreported, backlog, &mut sink, format);
    }
}

/// Writes how many lines were lost, and flushes. What cannot be reported now stays in `unreported`.
fn report_dropped(
    unreported: &mut u64,
    backlog: &Backlog,
    sink: &mut impl Write,
    format: LogFormat,
) {
    *unreported += backlog.dropped.swap(0, Ordering::Relaxed);
    if *unreported > 0
        && sink
            .write_all(dropped_line(*unreported, format).as_bytes())
            .is_ok()
    {
        *unreported = 0;
    }
    let _ = sink.flush();
}

/// Made by hand: as an event it would pass the filter and the full queue, and be dropped itself.
fn dropped_line(dropped: u64, format: LogFormat) -> String {
    const TARGET: &str = module_path!();
    let mut line = String::new();
    let mut time = String::new();
    // Writing to a String does not fail, and a log line without its time is still one.
    let _ = SystemTime.format_time(&mut Writer::new(&mut time));
    let _ = match format {
        LogFormat::Json => writeln!(
            line,
            r#"{{"timestamp":"{time}","level":"WARN","message":"log lines dropped","dropped":{dropped},"target":"{TARGET}"}}"#
        ),
        LogFormat::Text => writeln!(
            line,
            "{time}  WARN {TARGET}: log lines dropped dropped={dropped}"
        ),
    };
    line
}

// Ten seconds of 1 000 access lines of 400 bytes per second: the pause that rotating a log or a stopped terminal may cost.
const MAX_QUEUED_BYTES: usize = 4 << 20;

// About one report per second at the rate above.
const LINES_PER_REPORT: usize = 1_000;

// A supervisor waits 10 s (Kubernetes: 30 s) in all before it kills; the drain needs most of that.
const FLUSH_LIMIT: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Keeps what is written; each write first waits for a token when a gate is there.
    #[derive(Clone, Default)]
    struct Sink {
        written: Arc<Mutex<Vec<u8>>>,
        gate: Option<Arc<Mutex<mpsc::Receiver<()>>>>,
    }

    impl Sink {
        fn text(&self) -> String {
            String::from_utf8(self.written.lock().expect("no panic").clone()).expect("text")
        }
    }

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if let Some(gate) = &self.gate {
                // An error means that the gate is open for good.
                let _ = gate.lock().expect("no panic").recv();
            }
            self.written
                .lock()
                .expect("no panic")
                .extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is written for the events of `act`.
    fn logged(format: LogFormat, filter: &str, act: impl FnOnce()) -> String {
        let sink = Sink::default();
        let (dispatch, guard) =
            logging_to(sink.clone(), format, filter, false).expect("logging begins");
        tracing::dispatcher::with_default(&dispatch, act);
        drop(guard);
        sink.text()
    }

    #[test]
    fn guard_flushes_every_queued_line_in_order() {
        let text = logged(LogFormat::Text, "info", || {
            for number in 0..500 {
                tracing::info!(number, "counted");
            }
        });
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 500);
        for (number, line) in lines.into_iter().enumerate() {
            assert!(
                line.ends_with(&format!("counted number={number}")),
                "{line}"
            );
        }
    }

    #[test]
    fn json_has_fields_at_top_level() {
        let text = logged(LogFormat::Json, "info", || {
            tracing::event!(target: "access", tracing::Level::INFO, src.id = "spiffe://a/web", "request");
        });
        for part in [
            r#""src.id":"spiffe://a/web""#,
            r#""message":"request""#,
            r#""target":"access""#,
        ] {
            assert!(text.contains(part), "{text}");
        }
        assert!(!text.contains(r#""fields""#), "{text}");
    }

    #[test]
    fn filter_decides_by_target_and_level() {
        let text = logged(LogFormat::Text, "warn,access=info", || {
            tracing::info!("hidden");
            tracing::info!(target: "access", "shown");
        });
        assert!(text.contains("shown") && !text.contains("hidden"), "{text}");
    }

    #[test]
    fn peer_cannot_forge_a_line() {
        for format in [LogFormat::Json, LogFormat::Text] {
            let text = logged(format, "info", || {
                tracing::info!(src.id = %"web\n2026-01-01 ERROR forged\r\x1b[2Jx", "request");
            });
            assert_eq!(text.lines().count(), 1, "{text}");
            assert!(!text.contains('\r') && !text.contains('\x1b'), "{text}");
        }
    }

    #[test]
    fn full_queue_drops_lines_without_blocking_and_reports_their_number() {
        for format in [LogFormat::Json, LogFormat::Text] {
            let (open, gate) = mpsc::channel();
            let sink = Sink {
                gate: Some(Arc::new(Mutex::new(gate))),
                ..Sink::default()
            };
            let (dispatch, guard) =
                logging_to(sink.clone(), format, "info", false).expect("logging begins");
            let filler = "x".repeat(64 << 10);
            let sent = MAX_QUEUED_BYTES / filler.len() + 8;
            // The sink accepts nothing yet: if a full queue blocked, this would never end.
            tracing::dispatcher::with_default(&dispatch, || {
                (0..sent).for_each(|_| tracing::info!("{filler}"));
            });
            drop(open);
            drop(guard);
            let text = sink.text();
            let kept = text.lines().filter(|line| line.contains(&filler)).count();
            let report = text
                .lines()
                .find(|line| line.contains("log lines dropped"))
                .expect("drops are reported");
            let dropped = sent - kept;
            assert!(kept > 0 && dropped > 0, "kept {kept}, dropped {dropped}");
            let number = match format {
                LogFormat::Json => format!(r#""dropped":{dropped},"#),
                LogFormat::Text => format!("dropped={dropped}"),
            };
            assert!(report.contains(&number), "{report}, kept {kept} of {sent}");
        }
    }

    #[test]
    fn invalid_filter_is_named() {
        let error = logging_to(Sink::default(), LogFormat::Text, "info,tls=loud", false)
            .expect_err("no such level");
        assert!(
            error
                .to_string()
                .starts_with(r#"log filter "info,tls=loud" is invalid: "#),
            "{error}"
        );
    }

    #[test]
    fn formats_have_lower_case_names_in_configuration() {
        use serde::de::IntoDeserializer;
        use serde::de::value::{Error, StrDeserializer};
        let parse = |name: &'static str| {
            let name: StrDeserializer<'_, Error> = name.into_deserializer();
            LogFormat::deserialize(name).ok()
        };
        assert_eq!(parse("json"), Some(LogFormat::Json));
        assert_eq!(parse("text"), Some(LogFormat::Text));
        assert_eq!(parse("JSON"), None);
    }
}
