//! Paths, as rules see them.

use std::cmp::Reverse;
use std::fmt;

use super::InvalidPolicy;

/// A path with `*` for one segment and `**` (last) for any number of them. Matched on whole segments, case-sensitively.
///
/// `/a` and `/a/` are two paths; `/a/**` has both. A request's percent-encoding is undone before the comparison, so that
/// `/%61dmin` does not get past a rule for `/admin`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathPattern {
    segments: Vec<String>,
    rest: bool,
}

impl PathPattern {
    /// `/a/*/c`, `/a/**`. Refuses relative paths, `**` anywhere but at the end, dot segments, percent signs, `//`, and
    /// whatever else [`unambiguous_path`] lets no request have.
    pub fn parse(text: &str) -> Result<Self, InvalidPolicy> {
        let refuse = |why: &str| {
            Err(InvalidPolicy::new(
                format!("path {:?}", shortened(text)),
                why,
            ))
        };
        if text.len() > MAX_BYTES {
            return refuse("it is over 2048 bytes");
        }
        let Some(relative) = text.strip_prefix('/') else {
            return refuse("it does not start with /");
        };
        if text.contains('%') {
            return refuse(
                "it has a percent sign: write the character itself, requests are decoded before they are compared",
            );
        }
        if text
            .chars()
            .any(|character| character.is_control() || AMBIGUOUS.contains(character))
        {
            return refuse(
                "it has a control character or one of \\ ; ? #, which no request that meets a path rule may have",
            );
        }
        let mut segments: Vec<&str> = relative.split('/').collect();
        let rest = segments.last() == Some(&"**");
        if rest {
            segments.pop();
        }
        let last = segments.len().saturating_sub(1);
        for (place, segment) in segments.iter().enumerate() {
            match *segment {
                "**" => return refuse("** stands for any number of segments, and only at the end"),
                "." | ".." => return refuse("it has a dot segment"),
                "" if rest || place != last => return refuse("it has an empty segment"),
                "*" => {}
                partly if partly.contains('*') => {
                    return refuse("* stands for a whole segment, not for a part of one");
                }
                _ => {}
            }
        }
        Ok(Self {
            segments: segments.into_iter().map(str::to_owned).collect(),
            rest,
        })
    }

    /// Segment by segment.
    pub fn matches(&self, path: &str) -> bool {
        // The SPIFFE ID of a trust domain has no path at all: no segments, which `/**` stands for too.
        let Some(relative) = path.strip_prefix('/') else {
            return path.is_empty() && self.is_everything();
        };
        let mut actual = relative.split('/');
        let all_met = self.segments.iter().all(|wanted| {
            actual.next().is_some_and(|segment| {
                if wanted == "*" {
                    !segment.is_empty()
                } else {
                    reads(segment, wanted)
                }
            })
        });
        all_met && (self.rest || actual.next().is_none())
    }

    /// `/**`.
    pub(super) fn is_everything(&self) -> bool {
        self.rest && self.segments.is_empty()
    }

    /// Whether some path meets both.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        let (short, long) = if self.segments.len() <= other.segments.len() {
            (self, other)
        } else {
            (other, self)
        };
        let same = |(a, b): (&String, &String)| {
            a == b || (a == "*" && !b.is_empty()) || (b == "*" && !a.is_empty())
        };
        short.segments.iter().zip(&long.segments).all(same)
            && (short.rest || short.segments.len() == long.segments.len())
    }

    /// Whether every path that meets `other` meets this.
    pub(super) fn covers(&self, other: &Self) -> bool {
        let wider = |(a, b): (&String, &String)| a == b || (a == "*" && !b.is_empty());
        let length = if self.rest {
            self.segments.len() <= other.segments.len()
        } else {
            !other.rest && self.segments.len() == other.segments.len()
        };
        length && self.segments.iter().zip(&other.segments).all(wider)
    }

    /// Sorts the more specific of two patterns first: more literal segments, then an end before `**`, then more
    /// segments, then the leftmost literal. Patterns that share a path never tie unless they are equal.
    pub(super) fn specificity(&self) -> impl Ord + use<> {
        let wild: Vec<bool> = self.segments.iter().map(|segment| segment == "*").collect();
        let literal = wild.iter().filter(|wild| !**wild).count();
        (Reverse(literal), self.rest, Reverse(wild.len()), wild)
    }

    pub(super) fn segments(&self) -> &[String] {
        &self.segments
    }

    pub(super) fn has_rest(&self) -> bool {
        self.rest
    }

    /// `/a/b` of `/a/b/*/c` and of `/a/b/**`: how every path that meets it begins, up to the end of a segment.
    pub(super) fn literal_start(&self) -> String {
        let literal = self.segments.iter().take_while(|segment| *segment != "*");
        literal.flat_map(|segment| ["/", segment]).collect()
    }
}

impl fmt::Display for PathPattern {
    /// What [`PathPattern::parse`] reads.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.segments
            .iter()
            .try_for_each(|segment| write!(f, "/{segment}"))?;
        if self.rest {
            f.write_str("/**")
        } else {
            Ok(())
        }
    }
}

/// A path that no server reads in another way: no dot segments (encoded or not), no `//`, no backslash, no encoded slash,
/// backslash, NUL or percent sign (CVE-2026-26205 and its kin).
///
/// Nor `;`, which Java servers cut off a segment with all that follows it, encoded control characters, escapes that are
/// none, escapes that are not UTF-8 (`%c0%ae` is a dot to some), or anything but visible ASCII (RFC 3986 §2). Spring's
/// `StrictHttpFirewall` refuses the same by default.
pub fn unambiguous_path(path: &str) -> bool {
    let Some(relative) = path.strip_prefix('/') else {
        return false;
    };
    let plain = |byte: u8| byte.is_ascii_graphic() && !AMBIGUOUS.contains(char::from(byte));
    if !path.bytes().all(plain) || relative.contains("//") || relative.starts_with('/') {
        return false;
    }
    let dots = |segment: &str| reads(segment, ".") || reads(segment, "..");
    !relative.split('/').any(dots) && (!path.contains('%') || escapes_are_unambiguous(path))
}

/// Whether `segment` says `wanted` once its percent-encoding is undone (RFC 3986 §6.2.2.2).
pub(super) fn reads(segment: &str, wanted: &str) -> bool {
    Decoded(segment.as_bytes())
        .map(|(byte, _)| byte)
        .eq(wanted.bytes())
}

fn escapes_are_unambiguous(path: &str) -> bool {
    let mut decoded = Vec::with_capacity(path.len());
    for (byte, escaped) in Decoded(path.as_bytes()) {
        let meaningful = byte.is_ascii_control() || b"/\\%;".contains(&byte);
        // A percent sign that is left begins no escape.
        if (escaped && meaningful) || (!escaped && byte == b'%') {
            return false;
        }
        decoded.push(byte);
    }
    std::str::from_utf8(&decoded).is_ok()
}

/// The path with its percent-encoding undone.
pub(super) fn decoded(path: &str) -> std::borrow::Cow<'_, [u8]> {
    if path.contains('%') {
        let bytes = Decoded(path.as_bytes()).map(|(byte, _)| byte);
        bytes.collect::<Vec<u8>>().into()
    } else {
        path.as_bytes().into()
    }
}

/// The bytes of a path, each with whether it was escaped; what is no escape comes out as it is.
struct Decoded<'a>(&'a [u8]);

impl Iterator for Decoded<'_> {
    type Item = (u8, bool);

    fn next(&mut self) -> Option<(u8, bool)> {
        let hexadecimal = |digit: u8| {
            char::from(digit)
                .to_digit(16)
                .and_then(|value| u8::try_from(value).ok())
        };
        if let [b'%', high, low, rest @ ..] = self.0
            && let (Some(high), Some(low)) = (hexadecimal(*high), hexadecimal(*low))
        {
            self.0 = rest;
            return Some((high << 4 | low, true));
        }
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some((*first, false))
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}

const AMBIGUOUS: &str = "\\;?#";

/// As long as a SPIFFE ID may be (SPIFFE-ID §2.3); no path rule of a person comes near it.
const MAX_BYTES: usize = 2048;
