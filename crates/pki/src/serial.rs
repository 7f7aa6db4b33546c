//! Serial numbers as RFC 5280 §4.1.2.2 wants them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A certificate's serial number: the magnitude in big-endian bytes without leading zeros, 1 to 20 octets.
///
/// Ordered by value, so that a sorted list of serials can be searched.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SerialNumber {
    length: u8,
    bytes: [u8; MAX_OCTETS],
}

impl SerialNumber {
    /// A 159-bit serial out of 20 random bytes: positive, never zero, at most 20 octets in DER.
    ///
    /// The top bit is cleared (DER would need a 21st octet) and the next one set, so that every serial has the
    /// same length and none is zero; 158 bits stay random, above the 64 that CABF BR §7.1 asks for.
    pub fn from_random(mut random: [u8; MAX_OCTETS]) -> Self {
        random[0] = (random[0] & 0x7f) | 0x40;
        Self {
            length: 20,
            bytes: random,
        }
    }

    /// Takes the content octets of a DER INTEGER.
    pub fn from_der_integer(content: &[u8]) -> Result<Self, InvalidSerial> {
        match content {
            [] => Err(InvalidSerial::Empty),
            [first, ..] if first & 0x80 != 0 => Err(InvalidSerial::Negative),
            [0, rest @ ..] => Self::from_magnitude(rest),
            all => Self::from_magnitude(all),
        }
    }

    /// Takes a big-endian magnitude; leading zeros are dropped.
    pub fn from_magnitude(magnitude: &[u8]) -> Result<Self, InvalidSerial> {
        let start = magnitude
            .iter()
            .position(|&byte| byte != 0)
            .ok_or(InvalidSerial::Zero)?;
        let significant = &magnitude[start..];
        if significant.len() > MAX_OCTETS {
            return Err(InvalidSerial::TooLong {
                octets: significant.len(),
            });
        }
        let mut bytes = [0; MAX_OCTETS];
        bytes[..significant.len()].copy_from_slice(significant);
        let length = u8::try_from(significant.len()).unwrap_or(u8::MAX);
        Ok(Self { length, bytes })
    }

    /// Zero, which RFC 5280 forbids and old roots have: only an anchor's, whose serial nobody looks at.
    pub(crate) const ZERO: Self = Self {
        length: 0,
        bytes: [0; MAX_OCTETS],
    };

    /// The big-endian magnitude without leading zeros.
    pub fn magnitude(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }

    /// The content octets of the DER INTEGER: a zero octet comes first where the top bit is set.
    pub fn to_der_integer(self) -> Vec<u8> {
        let magnitude = self.magnitude();
        let mut content = Vec::with_capacity(magnitude.len() + 1);
        if magnitude.first().is_none_or(|first| first & 0x80 != 0) {
            content.push(0);
        }
        content.extend_from_slice(magnitude);
        content
    }
}

impl Ord for SerialNumber {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.length, &self.bytes).cmp(&(other.length, &other.bytes))
    }
}

impl PartialOrd for SerialNumber {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for SerialNumber {
    /// Lower-case hexadecimal, two digits an octet, no separators.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self == &Self::ZERO {
            return f.write_str("00");
        }
        self.magnitude()
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for SerialNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SerialNumber({self})")
    }
}

impl FromStr for SerialNumber {
    type Err = InvalidSerial;

    /// Hexadecimal in either case; colons between octets, as openssl prints them, are accepted.
    fn from_str(text: &str) -> Result<Self, InvalidSerial> {
        let digits: Vec<u8> = text.bytes().filter(|&byte| byte != b':').collect();
        if digits.is_empty() || digits.len() > 2 * MAX_OCTETS + 2 {
            return Err(InvalidSerial::NotHexadecimal);
        }
        let mut magnitude = Vec::with_capacity(digits.len().div_ceil(2));
        let mut rest = &digits[..];
        if rest.len() % 2 == 1 {
            magnitude.push(nibble(rest[0])?);
            rest = &rest[1..];
        }
        for pair in rest.chunks_exact(2) {
            magnitude.push(nibble(pair[0])? << 4 | nibble(pair[1])?);
        }
        Self::from_magnitude(&magnitude)
    }
}

impl TryFrom<String> for SerialNumber {
    type Error = InvalidSerial;

    fn try_from(text: String) -> Result<Self, InvalidSerial> {
        text.parse()
    }
}

impl From<SerialNumber> for String {
    fn from(serial: SerialNumber) -> Self {
        serial.to_string()
    }
}

/// Why bytes or text are not a serial number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSerial {
    /// No octets at all.
    #[error("serial number is empty")]
    Empty,
    /// RFC 5280 §4.1.2.2 asks for a positive integer.
    #[error("serial number is negative")]
    Negative,
    /// The text has something other than hexadecimal digits.
    #[error("serial number is not hexadecimal")]
    NotHexadecimal,
    /// RFC 5280 §4.1.2.2 allows 20 octets.
    #[error("serial number has {octets} octets, at most 20 are allowed")]
    TooLong {
        /// How many there are.
        octets: usize,
    },
    /// RFC 5280 §4.1.2.2 asks for a positive integer.
    #[error("serial number is zero")]
    Zero,
}

fn nibble(digit: u8) -> Result<u8, InvalidSerial> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
        .ok_or(InvalidSerial::NotHexadecimal)
}

/// RFC 5280 §4.1.2.2.
const MAX_OCTETS: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_serials_are_positive_and_fit_twenty_octets() {
        for fill in [0x00, 0x7f, 0x80, 0xff] {
            let content = SerialNumber::from_random([fill; 20]).to_der_integer();
            assert_eq!(content.len(), 20);
            assert_eq!(content[0] & 0x80, 0);
        }
    }

    #[test]
    fn bad_serials_are_named() {
        assert_eq!(
            SerialNumber::from_der_integer(&[]),
            Err(InvalidSerial::Empty)
        );
        assert_eq!(
            SerialNumber::from_der_integer(&[0]),
            Err(InvalidSerial::Zero)
        );
        assert_eq!(
            SerialNumber::from_der_integer(&[0x80]),
            Err(InvalidSerial::Negative)
        );
        assert_eq!(
            SerialNumber::from_der_integer(&[1; 21]),
            Err(InvalidSerial::TooLong { octets: 21 })
        );
        assert_eq!(
            "0x12".parse::<SerialNumber>(),
            Err(InvalidSerial::NotHexadecimal)
        );
    }

    #[test]
    fn text_and_der_round_trip() {
        for text in [
            "01",
            "80",
            "7f00ff",
            "ff00000000000000000000000000000000000001",
        ] {
            let serial: SerialNumber = text.parse().expect("serial of the test");
            assert_eq!(serial.to_string(), text);
            assert_eq!(
                SerialNumber::from_der_integer(&serial.to_der_integer()),
                Ok(serial)
            );
        }
        assert_eq!(
            "0A:FF".parse::<SerialNumber>().map(|s| s.to_string()),
            Ok("0aff".to_owned())
        );
    }

    #[test]
    fn order_is_by_value() {
        let serial = |text: &str| text.parse::<SerialNumber>().expect("serial of the test");
        assert!(serial("ff") < serial("0100"));
        assert!(serial("0101") > serial("0100"));
    }
}
