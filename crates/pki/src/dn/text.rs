//! Distinguished names as people write them.

use std::fmt;

use const_oid::ObjectIdentifier;

use super::{Attribute, InvalidDn, KEYWORDS, MAX_ATTRIBUTES, MAX_DER_BYTES};

/// RDNs in the certificate's order.
pub(super) fn parse(text: &str) -> Result<Vec<Vec<Attribute>>, InvalidDn> {
    if text.len() > MAX_DER_BYTES {
        return Err(InvalidDn::new(format!(
            "it has {} bytes, at most {MAX_DER_BYTES} are taken",
            text.len()
        )));
    }
    if let Some(rest) = text.strip_prefix('/') {
        return Scanner::new(rest, '/').rdns();
    }
    if text.trim().is_empty() {
        return Err(InvalidDn::new("it is empty"));
    }
    // RFC 4514 §2.1: the last RDN is written first.
    let mut rdns = Scanner::new(text, ',').rdns()?;
    rdns.reverse();
    Ok(rdns)
}

/// A value with what RFC 4514 §2.4 wants escaped.
pub(super) struct Escaped<'a>(pub(super) &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = self.0.char_indices().next_back().map_or(0, |(at, _)| at);
        for (at, character) in self.0.char_indices() {
            let edge =
                (at == 0 && matches!(character, ' ' | '#')) || (at == last && character == ' ');
            if edge || matches!(character, '"' | '+' | ',' | ';' | '<' | '>' | '\\') {
                f.write_str("\\")?;
            }
            write!(f, "{character}")?;
        }
        Ok(())
    }
}

struct Scanner<'a> {
    rest: &'a str,
    separator: char,
}

impl<'a> Scanner<'a> {
    fn new(text: &'a str, separator: char) -> Self {
        Self {
            rest: text,
            separator,
        }
    }

    fn rdns(mut self) -> Result<Vec<Vec<Attribute>>, InvalidDn> {
        let mut rdns = vec![Vec::new()];
        let mut count = 0;
        loop {
            count += 1;
            if count > MAX_ATTRIBUTES {
                return Err(InvalidDn::new(format!(
                    "it has more than {MAX_ATTRIBUTES} attributes"
                )));
            }
            let attribute = Attribute::new(self.kind()?, self.value()?)?;
            if let Some(rdn) = rdns.last_mut() {
                rdn.push(attribute);
            }
            match self.next_character() {
                None => return Ok(rdns),
                Some('+') => {}
                Some(_) => rdns.push(Vec::new()),
            }
        }
    }

    fn kind(&mut self) -> Result<ObjectIdentifier, InvalidDn> {
        let (written, rest) = self.rest.split_once('=').ok_or_else(|| {
            InvalidDn::new(format!(
                "`{}` has no `=`: attributes are written TYPE=value",
                shortened(self.rest)
            ))
        })?;
        self.rest = rest;
        let written = written.trim();
        KEYWORDS
            .iter()
            .find(|(keyword, _)| keyword.eq_ignore_ascii_case(written))
            .map(|(_, kind)| *kind)
            .or_else(|| ObjectIdentifier::new(written).ok())
            .ok_or_else(|| InvalidDn::new(format!("`{}` is no attribute type: use CN, O, OU, C, L, ST, …, or an object identifier", shortened(written))))
    }

    /// Up to the next separator or `+`, which stay.
    fn value(&mut self) -> Result<String, InvalidDn> {
        self.rest = self.rest.trim_start_matches(' ');
        if self.rest.starts_with('#') {
            return Err(InvalidDn::new(
                "a value in #hex notation is not taken: write it as text (a leading # as \\#)",
            ));
        }
        let mut value = Vec::new();
        // Spaces up to here were escaped, and are not trimmed.
        let mut kept = 0;
        while let Some(character) = self.rest.chars().next() {
            match character {
                '+' => break,
                separator if separator == self.separator => break,
                '\\' => {
                    self.next_character();
                    value.push(self.escaped()?);
                    kept = value.len();
                }
                '"' | ';' | '<' | '>' => {
                    return Err(InvalidDn::new(format!(
                        "`{character}` in a value is written `\\{character}`"
                    )));
                }
                other => {
                    self.next_character();
                    value.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes());
                }
            }
        }
        while value.len() > kept && value.ends_with(b" ") {
            value.pop();
        }
        String::from_utf8(value).map_err(|_| InvalidDn::new("an escaped value is not UTF-8"))
    }

    /// What stands behind a backslash: a special character or two hexadecimal digits (RFC 4514 §3).
    fn escaped(&mut self) -> Result<u8, InvalidDn> {
        let fault = || {
            InvalidDn::new(
                "a backslash stands before a special character or two hexadecimal digits",
            )
        };
        let first = self.next_character().ok_or_else(fault)?;
        if let (true, Ok(byte)) = (" \"#+,;<=>\\/".contains(first), u8::try_from(first)) {
            return Ok(byte);
        }
        let second = self.next_character().ok_or_else(fault)?;
        let digits = first
            .to_digit(16)
            .zip(second.to_digit(16))
            .ok_or_else(fault)?;
        u8::try_from(digits.0 << 4 | digits.1).map_err(|_| fault())
    }

    fn next_character(&mut self) -> Option<char> {
        let character = self.rest.chars().next()?;
        self.rest = &self.rest[character.len_utf8()..];
        Some(character)
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(40).flat_map(char::escape_debug).collect()
}
