//! Access lines, which busy processes write by the ten thousand a second: what `tracing-subscriber` writes, byte by byte, in a tenth of its time.

use std::cell::Cell;
use std::fmt::{self, Debug, Write};
use std::time::{SystemTime as Clock, UNIX_EPOCH};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::LogFormat;

/// The target of access events.
pub(super) const ACCESS: &str = "access";

/// Formats access events, and leaves all others to `other`, as well as those of a span or for a terminal in colour.
pub(super) struct AccessLines<F> {
    pub(super) format: LogFormat,
    pub(super) other: F,
}

impl<F, S, N> FormatEvent<S, N> for AccessLines<F>
where
    F: FormatEvent<S, N>,
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let metadata = event.metadata();
        let is_plain = metadata.target() == ACCESS
            && !writer.has_ansi_escapes()
            && context.parent_span().is_none();
        if !is_plain {
            return self.other.format_event(context, writer, event);
        }
        let mut line = String::with_capacity(USUAL_BYTES);
        match self.format {
            LogFormat::Json => {
                line.push_str("{\"timestamp\":\"");
                push_time(&mut line)?;
                line.push_str("\",\"level\":\"");
                line.push_str(metadata.level().as_str());
                line.push('"');
                event.record(&mut JsonFields(&mut line));
                line.push_str(",\"target\":\"access\"}\n");
            }
            LogFormat::Text => {
                push_time(&mut line)?;
                write!(line, " {:>5} access:", metadata.level().as_str())?;
                event.record(&mut TextFields(&mut line));
                line.push('\n');
            }
        }
        writer.write_str(&line)
    }
}

/// Writing to a `String` does not fail.
struct JsonFields<'a>(&'a mut String);

impl JsonFields<'_> {
    fn name(&mut self, field: &Field) -> &mut String {
        self.0.push_str(",\"");
        push_escaped(self.0, field.name());
        self.0.push_str("\":");
        self.0
    }
}

impl Visit for JsonFields<'_> {
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.name(field)
            .push_str(if value { "true" } else { "false" });
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        let _ = write!(self.name(field), "{value}");
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        let _ = write!(self.name(field), "{value}");
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON has no word for what is no number.
        let text = serde_json::to_string(&value).unwrap_or_default();
        self.name(field).push_str(&text);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let line = self.name(field);
        line.push('"');
        push_escaped(line, value);
        line.push('"');
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let line = self.name(field);
        line.push('"');
        let _ = write!(Escaped(line), "{value:?}");
        line.push('"');
    }
}

struct TextFields<'a>(&'a mut String);

impl Visit for TextFields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == MESSAGE {
            self.record_debug(field, &format_args!("{value}"));
        } else if is_plain(value) {
            for part in [" ", field.name(), "=\"", value, "\""] {
                self.0.push_str(part);
            }
        } else {
            self.record_debug(field, &value);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.push(' ');
        if field.name() != MESSAGE {
            self.0.push_str(field.name());
            self.0.push('=');
        }
        let _ = write!(self.0, "{value:?}");
    }
}

/// Escapes what is formatted.
struct Escaped<'a>(&'a mut String);

impl Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        push_escaped(self.0, text);
        Ok(())
    }
}

/// RFC 8259 §7, and every other control character, too.
fn push_escaped(line: &mut String, text: &str) {
    if is_plain(text) {
        return line.push_str(text);
    }
    for character in text.chars() {
        match character {
            '"' => line.push_str("\\\""),
            '\\' => line.push_str("\\\\"),
            '\n' => line.push_str("\\n"),
            '\r' => line.push_str("\\r"),
            '\t' => line.push_str("\\t"),
            '\x08' => line.push_str("\\b"),
            '\x0c' => line.push_str("\\f"),
            // All of them are below U+0100.
            control if control.is_control() => {
                let _ = write!(line, "\\u{:04x}", u32::from(control));
            }
            character => line.push(character),
        }
    }
}

/// Whether neither form has anything to escape. What lies above ASCII begins with a byte that has.
fn is_plain(text: &str) -> bool {
    // Of all bytes, many at a time, and not up to the first.
    let is_odd = |byte| !matches!(byte, b' '..=b'~') || byte == b'"' || byte == b'\\';
    !text.bytes().fold(false, |any, byte| any | is_odd(byte))
}

/// The time in UTC, of which only the microseconds change between most lines.
fn push_time(line: &mut String) -> fmt::Result {
    let now = Clock::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let (second, shown) = SECOND.get();
    if second == now.as_secs() {
        line.push_str(std::str::from_utf8(&shown).map_err(|_| fmt::Error)?);
        return write!(line, ".{:06}Z", now.subsec_micros());
    }
    let begun = line.len();
    SystemTime.format_time(&mut Writer::new(line))?;
    let text = &line.as_bytes()[begun..];
    let after = Clock::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // Not where a second passed in between; nor with a year that has more digits.
    if let Some((second, b".")) = text
        .split_at_checked(SECOND_BYTES)
        .map(|it| (it.0, &it.1[..1]))
        && after.as_secs() == now.as_secs()
        && let Ok(second) = second.try_into()
    {
        SECOND.set((now.as_secs(), second));
    }
    Ok(())
}

thread_local! {
    /// A second since 1970, and how it is written.
    static SECOND: Cell<(u64, [u8; SECOND_BYTES])> = const { Cell::new((0, [0; SECOND_BYTES])) };
}

/// Of `2026-01-02T03:04:05`.
const SECOND_BYTES: usize = 19;

/// What most lines fit into.
const USUAL_BYTES: usize = 512;

const MESSAGE: &str = "message";
