//! Standard output is data, standard error is talk.

use std::fmt::Write as _;
use std::io::{self, BufRead, IsTerminal, Read, Write};

use serde::Serialize;

use crate::fault::Fault;

/// Where and how a command answers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    json: bool,
}

impl Output {
    /// For programs (`--json`) or for people.
    pub(crate) fn new(json: bool) -> Self {
        Self { json }
    }

    /// The answer: `value` as one line of JSON, or the text that `text` makes of it.
    pub(crate) fn answer<T: Serialize>(
        self,
        value: &T,
        text: impl FnOnce(&T) -> String,
    ) -> Result<(), Fault> {
        if self.json {
            let line = serde_json::to_string(value).map_err(Fault::bug)?;
            print(&shown_json(&line))
        } else {
            print(&shown(&text(value)))
        }
    }
}

/// Data on standard output, as it is; a line feed is added where one is missing.
pub(crate) fn print(text: &str) -> Result<(), Fault> {
    let mut stdout = io::stdout().lock();
    let end = if text.is_empty() || text.ends_with('\n') {
        ""
    } else {
        "\n"
    };
    let written = stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.write_all(end.as_bytes()))
        .and_then(|()| stdout.flush());
    match written {
        // `countersign list | head -1` has got all that it wanted.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.map_err(|error| {
            Fault::world(format_args!("cannot write to standard output: {error}"))
        }),
    }
}

/// Lines to standard error, as a terminal may [show](shown) them. When that is closed, nobody is left to tell.
pub(crate) fn tell(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", shown(text));
}

/// A line to standard error that the next one replaces; empty to take it away.
pub(crate) fn tell_for_now(text: &str) {
    let mut stderr = io::stderr().lock();
    let _ = write!(stderr, "\r\u{1b}[K{}", escaped(text)).and_then(|()| stderr.flush());
}

/// A question to a person at the terminal; `None` when nobody is there.
pub(crate) fn ask(question: &str) -> Option<String> {
    if !can_ask() {
        return None;
    }
    let mut stderr = io::stderr().lock();
    let _ = write!(stderr, "{question} ").and_then(|()| stderr.flush());
    let mut answer = String::new();
    // What a person types; more than a line is never waited for.
    io::stdin()
        .lock()
        .take(MAX_ANSWER)
        .read_line(&mut answer)
        .ok()?;
    Some(answer.trim().to_owned())
}

/// Whether a person sees standard error and can answer.
pub(crate) fn can_ask() -> bool {
    io::stdin().is_terminal() && stderr_is_terminal()
}

/// Whether a person sees standard error.
pub(crate) fn stderr_is_terminal() -> bool {
    io::stderr().is_terminal()
}

/// What others have written, as a terminal may show it: control, invisible and reordering characters as `\u{…}`.
pub(crate) fn escaped(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '"' | '\'' | '\\') || c.escape_debug().len() == 1 {
            shown.push(c);
        } else {
            shown.extend(c.escape_debug());
        }
    }
    shown
}

/// Lines of ours with what others have written in them: what [`escaped`] is for a part of a line. Names and paths reach the terminal in
/// faults, notes and answers alike, so that all of them go through here.
pub(crate) fn shown(text: &str) -> String {
    let lines: Vec<String> = text.split('\n').map(escaped).collect();
    lines.join("\n")
}

/// JSON that says the same, and that a terminal may show: `serde_json` leaves invisible and reordering characters as they are.
pub(crate) fn shown_json(line: &str) -> String {
    let mut shown = String::with_capacity(line.len());
    for c in line.chars() {
        if c.is_ascii() || c.escape_debug().len() == 1 {
            shown.push(c);
        } else {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                write!(shown, "\\u{unit:04x}").expect("a String takes everything");
            }
        }
    }
    shown
}

/// A table for people: columns as wide as their widest cell, two spaces between, nothing after the last; cells are
/// [`escaped`].
pub(crate) fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let shown = |row: &Vec<String>| row.iter().map(|cell| escaped(cell)).collect();
    let rows: Vec<Vec<String>> = rows.iter().map(shown).collect();
    let width = |column: usize| {
        let cells = rows
            .iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count());
        cells
            .chain([header[column].chars().count()])
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let line = |cells: Vec<&str>| {
        let padded: Vec<String> = cells
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        padded.join("  ").trim_end().to_owned()
    };
    let mut lines = vec![line(header.to_vec())];
    lines.extend(
        rows.iter()
            .map(|row| line(row.iter().map(String::as_str).collect())),
    );
    lines.join("\n")
}

/// "yes" is three bytes.
const MAX_ANSWER: u64 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminal_sequences_are_shown_and_not_obeyed() {
        assert_eq!(escaped("a\u{1b}[2Jb\n"), "a\\u{1b}[2Jb\\n");
        // C1 control, right-to-left override, zero width space.
        assert_eq!(
            escaped("\u{9b}m\u{202e}\u{200b}"),
            "\\u{9b}m\\u{202e}\\u{200b}"
        );
        assert_eq!(escaped("Ölpumpe \"1\" 'a' \\"), "Ölpumpe \"1\" 'a' \\");
        assert_eq!(shown("one\u{1b}\ntwo\r\n"), "one\\u{1b}\ntwo\\r\n");
        let json = serde_json::to_string("\u{1b}\u{9b}\u{e0001}é\\").expect("JSON");
        assert_eq!(shown_json(&json), r#""\u001b\u009b\udb40\udc01é\\""#);
        assert!(!table(&["NAME"], &[vec!["\u{1b}]0;x\u{7}".to_owned()]]).contains('\u{1b}'));
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [
            vec!["you".to_owned(), "live".to_owned()],
            vec!["order-service".to_owned(), "x".to_owned()],
        ];
        assert_eq!(
            table(&["NAME", "STATUS"], &rows),
            "NAME           STATUS\nyou            live\norder-service  x"
        );
        assert_eq!(table(&["NAME", "STATUS"], &[]), "NAME  STATUS");
    }
}
