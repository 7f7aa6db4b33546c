//! Characters: what a file's bytes are as ASCII.

use zeroize::Zeroizing;

use super::{Oddity, Text};

/// One byte a character. What is not ASCII does not matter to PEM.
pub(super) fn to_text(bytes: &[u8], oddities: &mut Vec<Oddity>) -> Text {
    let text = match bytes {
        [0xff, 0xfe, rest @ ..] => narrow(rest, u16::from_le_bytes, oddities),
        [0xfe, 0xff, rest @ ..] => narrow(rest, u16::from_be_bytes, oddities),
        [0xef, 0xbb, 0xbf, rest @ ..] => {
            let is_first = rest.trim_ascii_start().starts_with(BEGIN);
            oddities.push(if is_first {
                Oddity::ByteOrderMark
            } else {
                Oddity::ByteOrderMarkBeforeText
            });
            Zeroizing::new(rest.to_vec())
        }
        _ => match zeros(bytes) {
            (evens, odds) if odds > evens => narrow(bytes, u16::from_le_bytes, oddities),
            (evens, odds) if evens > odds => narrow(bytes, u16::from_be_bytes, oddities),
            _ => Zeroizing::new(bytes.to_vec()),
        },
    };
    unescaped(with_line_feeds(text, oddities), oddities)
}

fn narrow(bytes: &[u8], unit: fn([u8; 2]) -> u16, oddities: &mut Vec<Oddity>) -> Text {
    oddities.push(Oddity::Utf16);
    let units = bytes.as_chunks::<2>().0.iter();
    Zeroizing::new(
        units
            .map(|&pair| u8::try_from(unit(pair)).unwrap_or(b'?'))
            .collect(),
    )
}

/// Whether every second byte of the beginning is zero, at the even or the odd places: how many there are, or none of both.
fn zeros(bytes: &[u8]) -> (usize, usize) {
    let pairs = &bytes.as_chunks::<2>().0;
    let pairs = &pairs[..pairs.len().min(LOOKED_AT)];
    let evens = pairs.iter().filter(|pair| pair[0] == 0).count();
    let odds = pairs.iter().filter(|pair| pair[1] == 0).count();
    let most = pairs.len() * 3 / 4;
    if pairs.len() >= 4 && evens.max(odds) >= most && evens.min(odds) * 4 <= most {
        (evens, odds)
    } else {
        (0, 0)
    }
}

fn with_line_feeds(mut text: Text, oddities: &mut Vec<Oddity>) -> Text {
    if !text.contains(&b'\r') {
        return text;
    }
    let has_line_feeds = text.contains(&b'\n');
    // What is compressed or encrypted has one by chance.
    if text.contains(&0) {
        return text;
    }
    oddities.push(if has_line_feeds {
        Oddity::CrLf
    } else {
        Oddity::CarriageReturns
    });
    for byte in text.iter_mut() {
        if *byte == b'\r' {
            *byte = if has_line_feeds { b' ' } else { b'\n' };
        }
    }
    text
}

/// `\n` in two characters, where blocks are written so.
fn unescaped(text: Text, oddities: &mut Vec<Oddity>) -> Text {
    let is_escaped = [&b"-----\\n"[..], b"-----\\r\\n"]
        .iter()
        .any(|mark| contains(&text, mark));
    if !is_escaped {
        return text;
    }
    oddities.push(Oddity::Escaped);
    let mut plain = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut rest = &text[..];
    while let Some((&byte, after)) = rest.split_first() {
        match (byte, after.first()) {
            (b'\\', Some(b'n')) => {
                plain.push(b'\n');
                rest = &after[1..];
            }
            (b'\\', Some(b'r')) => rest = &after[1..],
            _ => {
                plain.push(byte);
                rest = after;
            }
        }
    }
    plain
}

pub(super) fn contains(text: &[u8], mark: &[u8]) -> bool {
    find(text, mark).is_some()
}

pub(super) fn find(text: &[u8], mark: &[u8]) -> Option<usize> {
    text.windows(mark.len()).position(|window| window == mark)
}

pub(super) const BEGIN: &[u8] = b"-----BEGIN ";
pub(super) const END: &[u8] = b"-----END ";

/// Enough to know; a key's first bytes in DER are no such pattern.
const LOOKED_AT: usize = 32;
