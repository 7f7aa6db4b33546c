//! Logging that never makes a connection wait.
//!
//! Standard error may block: a stopped terminal, a full pipe, a slow journal. So the thread that logs only appends the
//! finished line to a bounded queue, and one writer thread empties it. When the queue is full, lines are dropped and
//! counted, and the count is logged as soon as there is room again.

mod access;
mod lines;

use std::fmt::Write as _;
use std::io::{self, Write};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tracing::Dispatch;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};

use self::access::AccessLines;
use self::lines::{LineMaker, Lines};

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
    lines: Arc<Lines>,
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        let (done, flushed) = mpsc::sync_channel(1);
        self.lines.flush(done);
        // Nobody is left to tell when it fails.
        let _ = flushed.recv_timeout(FLUSH_LIMIT);
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
    let lines = Arc::new(Lines::default());
    thread::Builder::new()
        .name("log-writer".to_owned())
        .spawn({
            let lines = Arc::clone(&lines);
            move || lines.write_to(sink, format)
        })
        .map_err(|reason| InitLoggingError::Thread { reason })?;
    let guard = LogGuard {
        lines: Arc::clone(&lines),
    };
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(parsed)
        .with_writer(LineMaker { lines, colour });
    let dispatch = match format {
        LogFormat::Json => subscriber
            .json()
            .flatten_event(true)
            .map_event_format(|other| AccessLines { format, other })
            .into(),
        LogFormat::Text => subscriber
            .with_ansi(colour)
            .map_event_format(|other| AccessLines { format, other })
            .into(),
    };
    Ok((dispatch, guard))
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

// A supervisor waits 10 s (Kubernetes: 30 s) in all before it kills; the drain needs most of that.
const FLUSH_LIMIT: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::lines::MAX_QUEUED_BYTES;
    use super::*;

    /// Keeps what is written; each write first waits for a token when a gate is there.
    #[derive(Clone, Default)]
    struct Sink {
        written: Arc<Mutex<Vec<u8>>>,
        writes: Arc<AtomicU64>,
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
            self.writes.fetch_add(1, Ordering::Relaxed);
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

    /// The line without its time, as `tracing-subscriber` writes it where nobody has a faster way.
    fn expected(format: LogFormat, act: impl FnOnce()) -> String {
        let written = Arc::new(Mutex::new(Vec::new()));
        let sink = Sink {
            written: Arc::clone(&written),
            ..Sink::default()
        };
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::DEBUG)
            .with_writer(move || sink.clone());
        let dispatch: Dispatch = match format {
            LogFormat::Json => subscriber.json().flatten_event(true).into(),
            LogFormat::Text => subscriber.with_ansi(false).into(),
        };
        tracing::dispatcher::with_default(&dispatch, act);
        let text = written.lock().expect("no panic").clone();
        String::from_utf8(text).expect("text")
    }

    /// Replaces the time, which has the same form everywhere.
    fn without_time(line: &str) -> String {
        let digits = |text: &str| text.replace(|it: char| it.is_ascii_digit(), "0");
        let (time, rest) = line
            .split_once('Z')
            .unwrap_or_else(|| panic!("no time in {line}"));
        format!("{}Z{rest}", digits(time))
    }

    #[test]
    fn access_line_is_what_the_general_formatter_writes() {
        for format in [LogFormat::Json, LogFormat::Text] {
            for value in [
                "",
                "/orders",
                "a \"quoted\" \\ b",
                "it's",
                "M\u{fc}ller \u{1f600}",
                "{}",
            ] {
                let act = || {
                    tracing::debug!(
                        target: "access",
                        listener = value,
                        src.addr = %value,
                        src.front = Option::<&str>::None,
                        resumed = true,
                        count = 7_u64,
                        below = -7_i64,
                        share = 0.5,
                        end = ?value,
                        "{value}"
                    );
                    tracing::info!(target: "access", value, "request");
                };
                let ours = logged(format, "debug", act);
                let theirs = expected(format, act);
                assert_eq!(ours.lines().count(), 2, "{ours}");
                for (ours, theirs) in ours.lines().zip(theirs.lines()) {
                    assert_eq!(without_time(ours), without_time(theirs));
                }
            }
        }
    }

    #[test]
    fn access_line_stays_json_and_one_line_whatever_a_peer_says() {
        let value: String = (0..0xa0)
            .filter_map(char::from_u32)
            .chain(['\u{2028}', '\u{202e}'])
            .collect();
        let act = || tracing::debug!(target: "access", path = value, shown = %value, "request");
        let text = logged(LogFormat::Json, "debug", act);
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(!text.trim_end().contains(char::is_control), "{text}");
        let line: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(line["path"], value, "{text}");
        assert_eq!(line["shown"], value, "{text}");
        let text = logged(LogFormat::Text, "debug", act);
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(
            !text.trim_end().replace('\t', "").contains(char::is_control),
            "{text}"
        );
    }

    #[test]
    fn access_lines_that_come_together_are_written_together_and_in_order() {
        let (open, gate) = mpsc::channel();
        let sink = Sink {
            gate: Some(Arc::new(Mutex::new(gate))),
            ..Sink::default()
        };
        let (dispatch, guard) =
            logging_to(sink.clone(), LogFormat::Text, "debug", false).expect("logging begins");
        tracing::dispatcher::with_default(&dispatch, || {
            for number in 0..1000 {
                tracing::debug!(target: "access", number, "request");
                if number % 100 == 0 {
                    tracing::warn!(number, "another");
                }
            }
        });
        drop(open);
        drop(guard);
        let text = sink.text();
        let numbers = text.lines().filter_map(|line| line.rsplit_once("number="));
        let numbers: Vec<u32> = numbers.filter_map(|it| it.1.parse().ok()).collect();
        let sent = (0..1000).flat_map(|it| vec![it; if it % 100 == 0 { 2 } else { 1 }]);
        assert!(numbers.iter().copied().eq(sent), "{text}");
        let writes = sink.writes.load(Ordering::Relaxed);
        assert!(writes < 100, "{writes} writes of {} lines", numbers.len());
    }

    #[test]
    fn line_is_written_without_another_or_the_end_behind_it() {
        for target in ["access", "other"] {
            let sink = Sink::default();
            let (dispatch, guard) =
                logging_to(sink.clone(), LogFormat::Text, "debug", false).expect("logging begins");
            tracing::dispatcher::with_default(&dispatch, || {
                for number in 0..3 {
                    if target == "access" {
                        tracing::debug!(target: "access", number, "shown");
                    } else {
                        tracing::debug!(number, "shown");
                    }
                    let wanted = format!("shown number={number}\n");
                    let limit = std::time::Instant::now() + Duration::from_secs(10);
                    while !sink.text().ends_with(&wanted) {
                        assert!(std::time::Instant::now() < limit, "{}", sink.text());
                        thread::yield_now();
                    }
                }
            });
            drop(guard);
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
