//! Lines of a log as they are compared: without colours and control characters, quotes made plain.

use std::borrow::Cow;

use super::request_line;

/// As much of the text as is read.
pub(super) struct Decoded<'a> {
    pub(super) shown: Cow<'a, str>,
    /// How many lines the rest has.
    pub(super) unread_lines: usize,
}

/// Text from UTF-8 (what is invalid is replaced) or, behind a byte order mark, UTF-16.
pub(super) fn decode(bytes: &[u8]) -> Decoded<'_> {
    let (read, rest) = bytes.split_at(bytes.len().min(MAX_BYTES));
    let unread_lines = if rest.is_empty() {
        0
    } else {
        rest.split(|&byte| byte == b'\n').count()
    };
    let shown = match read {
        [0xff, 0xfe, utf16 @ ..] => Cow::Owned(from_utf16(utf16, u16::from_le_bytes)),
        [0xfe, 0xff, utf16 @ ..] => Cow::Owned(from_utf16(utf16, u16::from_be_bytes)),
        _ => String::from_utf8_lossy(read),
    };
    Decoded {
        shown,
        unread_lines,
    }
}

fn from_utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> String {
    let units = bytes.chunks_exact(2).map(|pair| unit([pair[0], pair[1]]));
    char::decode_utf16(units)
        .map(|decoded| decoded.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect()
}

/// A line, or a piece of one that is too long.
pub(super) struct Line {
    /// From 1.
    pub(super) number: usize,
    /// As it is shown.
    pub(super) plain: String,
    /// As it is compared, byte for byte beside `plain`, without what it quotes of a request.
    pub(super) folded: String,
}

/// The lines of a text, as many as are read.
pub(super) struct Lines<'a> {
    rest: &'a str,
    number: usize,
    pieces: usize,
    is_in_line: bool,
}

impl<'a> Lines<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self {
            rest: text,
            number: 0,
            pieces: 0,
            is_in_line: false,
        }
    }

    /// How many lines were given out.
    pub(super) const fn read(&self) -> usize {
        self.number
    }

    /// How many were not.
    pub(super) fn unread(&self) -> usize {
        if self.rest.is_empty() {
            0
        } else {
            self.rest.lines().count()
        }
    }
}

impl Iterator for Lines<'_> {
    type Item = Line;

    fn next(&mut self) -> Option<Line> {
        if self.rest.is_empty() || self.pieces == MAX_PIECES {
            return None;
        }
        let near = &self.rest[..self.rest.floor_char_boundary(MAX_LINE_BYTES)];
        let (raw, skipped, ends) = match near.find('\n') {
            Some(end) => (&near[..end], end + 1, true),
            None => (near, near.len(), near.len() == self.rest.len()),
        };
        if !self.is_in_line {
            self.number += 1;
        }
        self.pieces += 1;
        self.is_in_line = !ends;
        self.rest = &self.rest[skipped..];
        let plain = plain(raw);
        Some(Line {
            number: self.number,
            folded: request_line::blanked(&plain, folded(&plain)),
            plain,
        })
    }
}

/// Without colours; white space and what is invisible is one space, and quotes are the plain ones, without the backslash
/// of JSON.
fn plain(raw: &str) -> String {
    let mut plain = String::with_capacity(raw.len());
    let mut rest = raw.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\u{1b}' if rest.peek() == Some(&'[') => {
                rest.next();
                // ECMA-48 §5.4: parameters, then one final byte.
                while let Some(parameter) = rest.next_if(|c| matches!(c, ' '..='?')) {
                    let _ = parameter;
                }
                rest.next_if(|c| matches!(c, '@'..='~'));
            }
            '\\' if rest.peek() == Some(&'"') => {}
            '\u{2018}' | '\u{2019}' => plain.push('\''),
            '\u{201c}' | '\u{201d}' => plain.push('"'),
            c if c == ' ' || c.is_control() => {
                if !plain.ends_with(' ') {
                    plain.push(' ');
                }
            }
            c => plain.push(c),
        }
    }
    plain
}

/// In lower case, with spaces for hyphens, underscores and the line ends of JSON: `CERTIFICATE_VERIFY_FAILED` is
/// `certificate verify failed`. Byte for byte as long as the text.
pub(super) fn folded(plain: &str) -> String {
    let mut folded = String::with_capacity(plain.len());
    let mut rest = plain.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '-' | '_' => folded.push(' '),
            '\\' if rest
                .next_if(|&escaped| matches!(escaped, 'n' | 'r' | 't'))
                .is_some() =>
            {
                folded.push_str("  ");
            }
            c => folded.push(c.to_ascii_lowercase()),
        }
    }
    folded
}

/// What people paste or attach is seldom a hundredth of it; it bounds the memory of a reading.
const MAX_BYTES: usize = 16 << 20;

/// What 16 MiB of usual lines have; it bounds the time for a text of short ones.
const MAX_PIECES: usize = 200_000;

/// Longer than any message with a stack trace in JSON; the longer ones are read in pieces.
const MAX_LINE_BYTES: usize = 8 << 10;
