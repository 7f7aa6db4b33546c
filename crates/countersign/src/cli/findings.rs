//! How findings read for people: the one rendering of all commands that judge.
//!
//! On a terminal lines are wrapped at its width and headings coloured; in a pipe a line stays a line, so that `grep` finds what it looks
//! for. What others have written is escaped in `diagnose` already, or here.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, stdout};

use countersign_diagnose::finding::{Finding, Severity};
use rustix::termios::tcgetwinsize;

use crate::env::Environment;
use crate::output::escaped;

/// How lines look where standard output goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    is_coloured: bool,
    /// Where lines are wrapped; `None`: nowhere, it is no terminal.
    columns: Option<usize>,
}

impl Look {
    /// Colour and width are for a person at a terminal.
    pub(crate) fn of(environment: &Environment) -> Self {
        if !stdout().is_terminal() {
            return Self {
                is_coloured: false,
                columns: None,
            };
        }
        let of_terminal = || {
            let columns = tcgetwinsize(stdout()).ok()?.ws_col;
            (columns > 0).then_some(usize::from(columns))
        };
        let columns = environment.columns.or_else(of_terminal);
        Self {
            is_coloured: !environment.no_colour,
            columns: Some(columns.unwrap_or(USUAL_COLUMNS).max(LEAST_COLUMNS)),
        }
    }

    /// Bold, in one of the colours that can be read on dark and on light.
    pub(crate) fn bold(self, colour: Colour, text: &str) -> String {
        if self.is_coloured {
            format!("\u{1b}[1;{}m{text}\u{1b}[0m", colour as u8)
        } else {
            text.to_owned()
        }
    }

    /// `text` behind `label`, on a terminal wrapped between words; further lines begin below the text.
    pub(crate) fn hung(self, label: &str, text: &str) -> String {
        let Some(columns) = self.columns else {
            return format!("{label}{}", escaped(text));
        };
        let hang = label.chars().count();
        let room = columns.saturating_sub(hang).max(LEAST_ROOM);
        let mut lines: Vec<String> = Vec::new();
        let mut line = String::new();
        for word in text.split_whitespace() {
            let mut word = escaped(word);
            let (used, length) = (line.chars().count(), word.chars().count());
            if used > 0 && used + 1 + length > room {
                lines.push(std::mem::take(&mut line));
            }
            if !line.is_empty() {
                line.push(' ');
            }
            // What no line has room for is broken wherever it ends.
            while word.chars().count() > room {
                let rest = word.chars().skip(room).collect();
                lines.push(word.chars().take(room).collect());
                word = rest;
            }
            line.push_str(&word);
        }
        lines.push(line);
        format!("{label}{}", lines.join(&format!("\n{:hang$}", "")))
    }

    /// A line of a list, whose further lines hang below its first words.
    pub(crate) fn item(self, text: &str) -> String {
        if self.columns.is_none() {
            return self.hung("  ", text);
        }
        self.hung("    ", text).replacen("    ", "  ", 1)
    }

    /// Rows of text, each with a label in its first `hang` columns.
    pub(crate) fn rows(self, text: &str, hang: usize) -> String {
        let Some(columns) = self.columns else {
            return text.to_owned();
        };
        let lines = text.lines().map(|line| {
            if line.chars().count() <= columns {
                return format!("{line}\n");
            }
            let split = line.char_indices().nth(hang).map_or(0, |(at, _)| at);
            let (label, value) = line.split_at(split);
            format!("{}\n", self.hung(label, value))
        });
        lines.collect()
    }

    /// Named values, in columns.
    pub(crate) fn facts<'a>(self, facts: impl Iterator<Item = (&'a str, &'a str)>) -> String {
        let facts: Vec<_> = facts.collect();
        let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        let lines = facts
            .iter()
            .map(|(name, value)| self.hung(&format!("  {name:<width$}  "), value) + "\n");
        lines.collect()
    }
}

/// Those of the eight that stand out on white and on black.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Colour {
    Cyan = 36,
    Green = 32,
    Magenta = 35,
    Red = 31,
}

/// The first line of an answer: what it comes to.
pub(crate) fn verdict(first: &Finding, look: Look) -> String {
    let line = format!("{}: {} ({})", first.severity, first.cause, first.side);
    look.bold(colour(first.severity), &line) + "\n"
}

/// A finding with its evidence, its fix and the page of its cause; of the evidence `facts` at most.
pub(crate) fn told(finding: &Finding, facts: usize, look: Look) -> String {
    let head = format!("{}: {}", finding.severity, finding.cause);
    let mut text = look.bold(colour(finding.severity), &head);
    if let Some(from) = finding.follows_from {
        let _ = write!(text, " (follows from {from})");
    }
    text.push('\n');
    text.push_str(&body(finding, facts, look));
    text
}

/// The same without its heading.
pub(crate) fn body(finding: &Finding, facts: usize, look: Look) -> String {
    let mut text = look.hung("  ", finding.message()) + "\n";
    let evidence = finding.evidence.iter();
    let evidence = evidence.filter(|(_, value)| !value.is_empty());
    text.push_str(&look.facts(evidence.take(facts)));
    for (place, line) in finding.fix().iter().enumerate() {
        let label = if place == 0 { "  fix: " } else { "       " };
        let _ = writeln!(text, "{}", fixed(label, line, look));
    }
    let _ = writeln!(text, "  more: {}", finding.cause.page());
    text
}

/// A sentence is wrapped; a command to paste stays whole.
fn fixed(label: &str, line: &str, look: Look) -> String {
    let is_sentence = line.ends_with('.') || line.chars().next().is_some_and(char::is_uppercase);
    if is_sentence {
        look.hung(label, line)
    } else {
        format!("{label}{line}")
    }
}

/// Of a severity.
fn colour(severity: Severity) -> Colour {
    match severity {
        Severity::Fault => Colour::Red,
        Severity::Risk => Colour::Magenta,
        Severity::Note => Colour::Cyan,
    }
}

/// Those that the cause was judged by come first; `--verbose` and the JSON have all.
pub(crate) const SHOWN_FACTS: usize = 8;

/// Of a terminal that does not say.
const USUAL_COLUMNS: usize = 80;

/// Narrower ones wrap by themselves.
const LEAST_COLUMNS: usize = 40;

/// Behind the longest label.
const LEAST_ROOM: usize = 20;

#[cfg(test)]
mod tests {
    use countersign_diagnose::cause::Cause;
    use countersign_diagnose::finding::Side;

    use super::*;

    const PIPE: Look = Look {
        is_coloured: false,
        columns: None,
    };

    fn terminal(columns: usize) -> Look {
        Look {
            is_coloured: false,
            columns: Some(columns),
        }
    }

    #[test]
    fn lines_are_wrapped_between_words_below_their_text() {
        let text = "one two three four five six";
        assert_eq!(
            terminal(40).hung("  a long enough label  ", text),
            "  a long enough label  one two three four\n                       five six"
        );
        assert_eq!(PIPE.hung("  label  ", text), format!("  label  {text}"));
        let word = "x".repeat(50);
        let broken = terminal(42).hung("  ", &format!("a {word} b"));
        let expected = format!("  a\n  {}\n  {} b", "x".repeat(40), "x".repeat(10));
        assert_eq!(broken, expected);
        assert_eq!(
            terminal(40).item("trust: one two three four five six seven"),
            "  trust: one two three four five six\n    seven"
        );
        assert_eq!(PIPE.item("trust: one"), "  trust: one");
        let rows = format!("subject      {text}\nnames        {}\n", "a.b ".repeat(12));
        let wrapped = terminal(40).rows(&rows, 13);
        assert!(wrapped.contains("\n             a.b"), "{wrapped}");
        assert!(wrapped.lines().all(|line| line.len() <= 40), "{wrapped}");
        assert_eq!(PIPE.rows(&rows, 13), rows);
    }

    #[test]
    fn commands_are_never_broken_and_control_characters_shown() {
        let command = format!("openssl x509 -in {} -noout", "folder/".repeat(12));
        let finding = Finding::fault(Cause::LeafExpired, Side::Client, "an \u{1b}[2J escape")
            .with_fix(&command);
        for look in [PIPE, terminal(60)] {
            let told = told(&finding, SHOWN_FACTS, look);
            assert!(told.contains(&format!("       {command}\n")), "{told}");
            assert!(!told.contains('\u{1b}'), "{told}");
        }
        let coloured = Look {
            is_coloured: true,
            ..PIPE
        };
        let head = "\u{1b}[1;31mfault: leaf-expired (client)\u{1b}[0m\n";
        assert_eq!(verdict(&finding, coloured), head);
    }
}
