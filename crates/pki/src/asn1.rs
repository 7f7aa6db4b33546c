//! DER as this crate reads and writes it: one strict cursor and one writer over `der`'s headers.

use std::ops::Range;

use const_oid::{ObjectIdentifier, ObjectIdentifierRef};
use der::{Decode, Encode, Header, Length, Reader as _, SliceReader, Tag, TagNumber};

use crate::time::UnixTime;

/// What is wrong with the bytes, in words; each public error takes it over.
#[derive(Debug)]
pub(crate) struct Malformed(pub(crate) String);

/// One decoded tag, length and value, with its place in the outermost input.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tlv<'a> {
    pub(crate) tag: Tag,
    pub(crate) content: &'a [u8],
    pub(crate) whole: &'a [u8],
    start: usize,
}

/// Reads one element after the other; nothing is copied.
#[derive(Clone, Debug)]
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
    offset: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self {
            rest: bytes,
            offset: 0,
        }
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next element, whatever its tag; `what` names it in the fault.
    pub(crate) fn any(&mut self, what: &str) -> Result<Tlv<'a>, Malformed> {
        let broken = |_| Malformed(format!("{what} is not DER, or is cut off"));
        let mut reader = SliceReader::new(self.rest).map_err(broken)?;
        let header = Header::decode(&mut reader).map_err(broken)?;
        let header_len = usize::try_from(reader.position()).map_err(broken)?;
        let content = reader.read_slice(header.length()).map_err(broken)?;
        let (whole, rest) = self.rest.split_at(header_len + content.len());
        let tlv = Tlv {
            tag: header.tag(),
            content,
            whole,
            start: self.offset,
        };
        self.rest = rest;
        self.offset += whole.len();
        Ok(tlv)
    }

    /// The next element, which must have `tag`.
    pub(crate) fn expect(&mut self, tag: Tag, what: &str) -> Result<Tlv<'a>, Malformed> {
        let tlv = self.any(what)?;
        if tlv.tag == tag {
            Ok(tlv)
        } else {
            Err(Malformed(format!(
                "{what} has the ASN.1 type {}, not {tag}",
                tlv.tag
            )))
        }
    }

    /// The next element if it has `tag`.
    pub(crate) fn optional(&mut self, tag: Tag, what: &str) -> Result<Option<Tlv<'a>>, Malformed> {
        let mut ahead = self.clone();
        if ahead.is_at_end() {
            return Ok(None);
        }
        let tlv = ahead.any(what)?;
        if tlv.tag != tag {
            return Ok(None);
        }
        *self = ahead;
        Ok(Some(tlv))
    }

    /// Nothing may follow.
    pub(crate) fn finish(self, what: &str) -> Result<(), Malformed> {
        if self.is_at_end() {
            Ok(())
        } else {
            Err(Malformed(format!(
                "{} bytes follow {what}",
                self.rest.len()
            )))
        }
    }
}

impl<'a> Tlv<'a> {
    /// A cursor over the content.
    pub(crate) fn cursor(&self) -> Cursor<'a> {
        Cursor {
            rest: self.content,
            offset: self.start + self.whole.len() - self.content.len(),
        }
    }

    /// Where the whole element lies in the outermost input.
    pub(crate) fn range(&self) -> Range<usize> {
        self.start..self.start + self.whole.len()
    }

    /// Where the content lies in the outermost input.
    pub(crate) fn content_range(&self) -> Range<usize> {
        self.start + self.whole.len() - self.content.len()..self.start + self.whole.len()
    }

    /// A BOOLEAN: DER knows only 00 and FF.
    pub(crate) fn boolean(&self, what: &str) -> Result<bool, Malformed> {
        match (self.tag, self.content) {
            (Tag::Boolean, [0x00]) => Ok(false),
            (Tag::Boolean, [0xff]) => Ok(true),
            _ => Err(Malformed(format!("{what} is not a DER BOOLEAN"))),
        }
    }

    /// The content octets of an INTEGER in its shortest form (X.690 §8.3.2).
    pub(crate) fn integer(&self, what: &str) -> Result<&'a [u8], Malformed> {
        let padded = matches!(self.content, [0, next, ..] if next & 0x80 == 0)
            || matches!(self.content, [0xff, next, ..] if next & 0x80 != 0);
        if self.tag == Tag::Integer && !self.content.is_empty() && !padded {
            Ok(self.content)
        } else {
            Err(Malformed(format!("{what} is not a DER INTEGER")))
        }
    }

    /// An INTEGER of 0 or more; larger ones than a `u64` come back as its maximum.
    pub(crate) fn unsigned(&self, what: &str) -> Result<u64, Malformed> {
        let content = self.integer(what)?;
        if content[0] & 0x80 != 0 {
            return Err(Malformed(format!("{what} is negative")));
        }
        let magnitude = if content[0] == 0 {
            &content[1..]
        } else {
            content
        };
        if magnitude.len() > 8 {
            return Ok(u64::MAX);
        }
        Ok(magnitude
            .iter()
            .fold(0, |value, &byte| value << 8 | u64::from(byte)))
    }

    /// The bytes of a BIT STRING and how many bits of the last one are unused; those must be zero (X.690 §11.2.1).
    pub(crate) fn bit_string(&self, what: &str) -> Result<(&'a [u8], u8), Malformed> {
        let fault = || Malformed(format!("{what} is not a DER BIT STRING"));
        let (&unused, bits) = self.content.split_first().ok_or_else(fault)?;
        let last = bits.last().copied().unwrap_or(0);
        let padding_is_zero = unused < 8 && last.trailing_zeros() >= u32::from(unused);
        if !padding_is_zero || (bits.is_empty() && unused != 0) {
            Err(fault())
        } else {
            Ok((bits, unused))
        }
    }

    /// A BIT STRING of whole bytes.
    pub(crate) fn octet_aligned_bits(&self, what: &str) -> Result<&'a [u8], Malformed> {
        match self.bit_string(what)? {
            (bits, 0) => Ok(bits),
            _ => Err(Malformed(format!(
                "{what} is a BIT STRING that does not end on a byte"
            ))),
        }
    }

    /// An OBJECT IDENTIFIER's content, checked.
    pub(crate) fn oid(&self, what: &str) -> Result<&'a ObjectIdentifierRef, Malformed> {
        ObjectIdentifierRef::from_bytes(self.content)
            .map_err(|_| Malformed(format!("{what} is not an object identifier")))
    }

    /// `UTCTime` or `GeneralizedTime` to the second, in UTC (RFC 5280 §4.1.2.5).
    pub(crate) fn time(&self, what: &str) -> Result<UnixTime, Malformed> {
        let fault = || {
            Malformed(format!(
                "{what} is not a time such as RFC 5280 §4.1.2.5 writes, from 1970 on"
            ))
        };
        let (century, digits): (&[u8], &[u8]) = match (self.tag, self.content) {
            (Tag::UtcTime, digits @ [b'0'..=b'4', ..]) if digits.len() == 13 => (b"20", digits),
            (Tag::UtcTime, digits) if digits.len() == 13 => (b"19", digits),
            (Tag::GeneralizedTime, digits) if digits.len() == 15 => digits.split_at(2),
            _ => return Err(fault()),
        };
        let mut text = *b"yyyy-mm-ddThh:mm:ssZ";
        text[..2].copy_from_slice(century);
        for (pair, at) in digits[..12].chunks_exact(2).zip([2, 5, 8, 11, 14, 17]) {
            text[at..at + 2].copy_from_slice(pair);
        }
        text[19] = digits[12];
        std::str::from_utf8(&text)
            .ok()
            .and_then(|text| text.parse().ok())
            .ok_or_else(fault)
    }
}

/// The dotted form of an object identifier.
pub(crate) fn dotted(oid: &ObjectIdentifierRef) -> String {
    oid.to_string()
}

/// Constructed context-specific tag.
pub(crate) const fn constructed(number: u32) -> Tag {
    Tag::ContextSpecific {
        constructed: true,
        number: TagNumber(number),
    }
}

/// Primitive context-specific tag.
pub(crate) const fn primitive(number: u32) -> Tag {
    Tag::ContextSpecific {
        constructed: false,
        number: TagNumber(number),
    }
}

/// One element.
pub(crate) fn tlv(tag: Tag, content: &[u8]) -> Vec<u8> {
    let mut out = header(tag, content.len());
    out.extend_from_slice(content);
    out
}

/// Tag and length of what follows.
pub(crate) fn header(tag: Tag, content_len: usize) -> Vec<u8> {
    let length = Length::try_from(content_len).expect("what this crate writes is far below 4 GiB");
    Header::new(tag, length)
        .to_der()
        .expect("a header of a length that fits")
}

/// A SEQUENCE of elements.
pub(crate) fn sequence<P: AsRef<[u8]>>(parts: &[P]) -> Vec<u8> {
    tlv(Tag::Sequence, &concatenate(parts))
}

/// An OBJECT IDENTIFIER.
pub(crate) fn oid(oid: ObjectIdentifier) -> Vec<u8> {
    tlv(Tag::ObjectIdentifier, oid.as_bytes())
}

/// A BIT STRING of whole bytes.
pub(crate) fn bit_string(bits: &[u8]) -> Vec<u8> {
    let mut content = vec![0];
    content.extend_from_slice(bits);
    tlv(Tag::BitString, &content)
}

/// An INTEGER of 0 or more.
pub(crate) fn unsigned(value: u64) -> Vec<u8> {
    let bytes = value.to_be_bytes();
    let start = bytes.iter().position(|&byte| byte != 0).unwrap_or(7);
    let mut content = Vec::with_capacity(9);
    if bytes[start] & 0x80 != 0 {
        content.push(0);
    }
    content.extend_from_slice(&bytes[start..]);
    tlv(Tag::Integer, &content)
}

/// `UTCTime` until 2049, `GeneralizedTime` from 2050 (RFC 5280 §4.1.2.5).
pub(crate) fn time(time: UnixTime) -> Vec<u8> {
    let digits = time_digits(time);
    if digits[..4] < b"2050"[..] {
        tlv(Tag::UtcTime, &digits[2..])
    } else {
        tlv(Tag::GeneralizedTime, &digits)
    }
}

/// `GeneralizedTime` whatever the year, as OCSP (RFC 6960 §4.2.2.1) and invalidityDate (RFC 5280 §5.3.2) have it.
pub(crate) fn generalized_time(time: UnixTime) -> Vec<u8> {
    tlv(Tag::GeneralizedTime, &time_digits(time))
}

/// `yyyymmddhhmmssZ`.
fn time_digits(time: UnixTime) -> Vec<u8> {
    time.to_string()
        .bytes()
        .filter(|byte| byte.is_ascii_digit() || *byte == b'Z')
        .collect()
}

/// An Extension (RFC 5280 §4.1); `critical` is left out when false, as DER has it.
pub(crate) fn extension(id: ObjectIdentifier, critical: bool, value: &[u8]) -> Vec<u8> {
    let flag = if critical {
        tlv(Tag::Boolean, &[0xff])
    } else {
        Vec::new()
    };
    sequence(&[oid(id), flag, tlv(Tag::OctetString, value)])
}

/// Two lower-case hexadecimal digits an octet.
pub(crate) fn hex(octets: &[u8]) -> String {
    octets
        .iter()
        .flat_map(|octet| [octet >> 4, octet & 0x0f])
        .filter_map(|digit| char::from_digit(u32::from(digit), 16))
        .collect()
}

/// The parts one after the other.
pub(crate) fn concatenate<P: AsRef<[u8]>>(parts: &[P]) -> Vec<u8> {
    parts
        .iter()
        .flat_map(|part| part.as_ref().iter().copied())
        .collect()
}
