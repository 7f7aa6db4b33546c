//! Which names a profile admits: suffixes, ranges, prefixes, patterns.

use std::fmt;
use std::net::IpAddr;

use countersign_pki::name::{CommonName, DnsName, Uri};

/// Whether `name`, without its wildcard label, is one of `suffixes` or lies below one.
pub(in crate::issuance) fn is_under(name: &DnsName, suffixes: &[DnsName]) -> bool {
    let bare = name.as_str().strip_prefix("*.").unwrap_or(name.as_str());
    suffixes.iter().any(|suffix| {
        bare.strip_suffix(suffix.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    })
}

/// Addresses that begin with the same bits: `10.0.0.0/8`, `2001:db8::/32`; a bare address is the range of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IpRange {
    base: IpAddr,
    bits: u8,
}

impl IpRange {
    /// Refuses bits behind the prefix: who writes 10.0.0.1/8 means something else.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let base: IpAddr = address.parse().ok()?;
        let width = if base.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse().ok()?
            }
            Some(_) => return None,
            None => width,
        };
        let range = Self { base, bits };
        (bits <= width && range.prefix(base) == number(base)).then_some(range)
    }

    /// Whether the address is in it. An IPv4 address written as an IPv6 one is another address.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.base.is_ipv4() == address.is_ipv4() && self.prefix(address) == number(self.base)
    }

    /// Whether it tells apart addresses that have as many bits in common, of IPv4 and of IPv6.
    pub(crate) fn is_narrower_than(&self, [v4, v6]: [u8; 2]) -> bool {
        self.bits > if self.base.is_ipv4() { v4 } else { v6 }
    }

    /// The range of this many bits around the address.
    pub(crate) fn around(address: IpAddr, bits: u8) -> Self {
        let whole = Self {
            base: address,
            bits,
        };
        let prefix = whole.prefix(address);
        let base = match address {
            IpAddr::V4(_) => IpAddr::V4(u32::try_from(prefix).unwrap_or_default().into()),
            IpAddr::V6(_) => IpAddr::V6(prefix.into()),
        };
        Self { base, bits }
    }

    /// Whether it is of IPv4 addresses, and how long its prefix is.
    pub(crate) fn width(&self) -> (bool, u8) {
        (self.base.is_ipv4(), self.bits)
    }

    /// Whether every address in `other` is in this.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        self.bits <= other.bits && self.contains(other.base)
    }

    fn prefix(&self, address: IpAddr) -> u128 {
        let width = if address.is_ipv4() { 32 } else { 128 };
        let behind = width - u32::from(self.bits).min(width);
        number(address)
            .checked_shr(behind)
            .and_then(|front| front.checked_shl(behind))
            .unwrap_or(0)
    }
}

impl fmt::Display for IpRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.bits)
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address),
    }
}

/// How URIs begin: `urn:dev:`, `https://devices.example.com/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UriPrefix(String);

impl UriPrefix {
    /// It ends where a part of the URI ends, so that `https://a.example` does not mean `https://a.example.evil` too.
    pub fn parse(text: &str) -> Option<Self> {
        let whole = Uri::parse(&format!("{text}x")).is_ok();
        let behind_scheme = text.split_once(':').map(|(_, rest)| rest)?;
        // The authority of a hierarchical URI has to be whole.
        let authority_ends = behind_scheme
            .strip_prefix("//")
            .is_none_or(|rest| rest.find('/').is_some_and(|at| at > 0));
        let ends = text.ends_with(['/', ':', '?', '#', '=']);
        (whole && ends && authority_ends).then(|| Self(text.to_owned()))
    }

    pub(in crate::issuance) fn admits(&self, uri: &Uri) -> bool {
        // Dot segments would lead out of a path again, for those who resolve them: a segment ends where the path does too, and
        // some servers resolve what stands before its parameters.
        uri.as_str()
            .strip_prefix(&self.0)
            .is_some_and(|rest| !rest.is_empty() && !rest.split(SEGMENT_ENDS).any(is_dots))
            && !uri.as_str().contains("%2")
    }
}

const SEGMENT_ENDS: [char; 6] = ['/', '%', '\\', '?', '#', ';'];

fn is_dots(segment: &str) -> bool {
    matches!(segment, "." | "..")
}

impl fmt::Display for UriPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A common name in which `*` stands for any characters, none too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommonNamePattern(String);

impl CommonNamePattern {
    /// Something that a common name could meet.
    pub fn parse(text: &str) -> Option<Self> {
        let fits = CommonName::parse(text).is_ok() && text.matches('*').count() <= MAX_STARS;
        fits.then(|| Self(text.to_owned()))
    }

    pub(in crate::issuance) fn admits(&self, name: &CommonName) -> bool {
        let mut parts = self.0.split('*');
        let first = parts.next().unwrap_or_default();
        let Some(mut rest) = name.as_str().strip_prefix(first) else {
            return false;
        };
        let Some(last) = parts.next_back() else {
            return rest.is_empty();
        };
        // The leftmost place of each part leaves the most for those behind it.
        for part in parts {
            match rest.find(part) {
                Some(at) => rest = &rest[at + part.len()..],
                None => return false,
            }
        }
        rest.ends_with(last)
    }
}

impl fmt::Display for CommonNamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Nobody reads a pattern with more.
const MAX_STARS: usize = 8;
