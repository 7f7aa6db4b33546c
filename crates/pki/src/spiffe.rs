//! SPIFFE IDs and trust domains (SPIFFE-ID specification §2).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A trust domain: lower-case letters, digits, `.`, `-`, `_`, at most 255 bytes (SPIFFE-ID §2.1, §2.3).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TrustDomain(String);

impl TrustDomain {
    /// Reads a bare trust domain such as `example.com`.
    pub fn parse(text: &str) -> Result<Self, InvalidSpiffeId> {
        let good =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_".contains(&byte);
        match text {
            "" => Err(InvalidSpiffeId::EmptyTrustDomain),
            long if long.len() > MAX_TRUST_DOMAIN => Err(InvalidSpiffeId::TooLong),
            text if text.bytes().all(good) => Ok(Self(text.to_owned())),
            _ => Err(InvalidSpiffeId::BadTrustDomain),
        }
    }

    /// The name without a scheme.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The ID of the trust domain itself, or of a path in it (`/ns/prod/api`).
    pub fn id(&self, path: &str) -> Result<SpiffeId, InvalidSpiffeId> {
        SpiffeId::parse(&format!("spiffe://{}{path}", self.0))
    }
}

/// A SPIFFE ID: `spiffe://trust-domain/path`, in the one spelling the specification allows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SpiffeId {
    text: String,
    trust_domain: TrustDomain,
}

impl SpiffeId {
    /// Refuses every spelling but the canonical one: no other case, ports, queries, empty or dot segments.
    pub fn parse(text: &str) -> Result<Self, InvalidSpiffeId> {
        if text.len() > MAX_ID {
            return Err(InvalidSpiffeId::TooLong);
        }
        let rest = text
            .strip_prefix(SCHEME)
            .ok_or(InvalidSpiffeId::NotSpiffe)?;
        let (domain, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        let trust_domain = TrustDomain::parse(domain)?;
        // SPIFFE-ID §2.2: a path, if there is one, has no empty or dot segments and no trailing slash.
        let good = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        for segment in path.split('/').skip(1) {
            if matches!(segment, "" | "." | "..") || !segment.bytes().all(good) {
                return Err(InvalidSpiffeId::BadPath);
            }
        }
        Ok(Self {
            text: text.to_owned(),
            trust_domain,
        })
    }

    /// The whole ID.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The trust domain whose bundle alone may vouch for this ID.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The path with its leading slash; empty for the ID of a trust domain.
    pub fn path(&self) -> &str {
        &self.text[SCHEME.len() + self.trust_domain.0.len()..]
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for TrustDomain {
    type Err = InvalidSpiffeId;

    fn from_str(text: &str) -> Result<Self, InvalidSpiffeId> {
        Self::parse(text)
    }
}

impl FromStr for SpiffeId {
    type Err = InvalidSpiffeId;

    fn from_str(text: &str) -> Result<Self, InvalidSpiffeId> {
        Self::parse(text)
    }
}

impl TryFrom<String> for TrustDomain {
    type Error = InvalidSpiffeId;

    fn try_from(text: String) -> Result<Self, InvalidSpiffeId> {
        Self::parse(&text)
    }
}

impl TryFrom<String> for SpiffeId {
    type Error = InvalidSpiffeId;

    fn try_from(text: String) -> Result<Self, InvalidSpiffeId> {
        Self::parse(&text)
    }
}

impl From<TrustDomain> for String {
    fn from(domain: TrustDomain) -> Self {
        domain.0
    }
}

impl From<SpiffeId> for String {
    fn from(id: SpiffeId) -> Self {
        id.text
    }
}

/// Why a text is not a SPIFFE ID or trust domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSpiffeId {
    /// An empty, `.` or `..` segment, a trailing slash, or a character outside `[A-Za-z0-9._-]`.
    #[error(
        "SPIFFE path has an empty or dot segment, a trailing slash or a character outside [A-Za-z0-9._-]"
    )]
    BadPath,
    /// A character outside `[a-z0-9._-]`.
    #[error("trust domain has a character outside [a-z0-9._-]")]
    BadTrustDomain,
    /// Nothing stands between `spiffe://` and the path.
    #[error("trust domain is empty")]
    EmptyTrustDomain,
    /// Another scheme, or upper case in it.
    #[error("SPIFFE ID does not start with spiffe://")]
    NotSpiffe,
    /// Over 2048 bytes, or over 255 in the trust domain.
    #[error("SPIFFE ID is over 2048 bytes, or its trust domain over 255")]
    TooLong,
}

const SCHEME: &str = "spiffe://";
/// SPIFFE-ID §2.3.
const MAX_ID: usize = 2048;
/// SPIFFE-ID §2.3.
const MAX_TRUST_DOMAIN: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_in_the_one_spelling_are_taken_apart() {
        let id = SpiffeId::parse("spiffe://example.com/ns/prod/api").expect("valid");
        assert_eq!(id.trust_domain().as_str(), "example.com");
        assert_eq!(id.path(), "/ns/prod/api");
        assert_eq!(
            SpiffeId::parse("spiffe://example.com").map(|id| id.path().to_owned()),
            Ok(String::new())
        );
    }

    #[test]
    fn other_spellings_are_rejected() {
        for text in [
            "",
            "spiffe://",
            "spiffe:///a",
            "SPIFFE://example.com/a",
            "spiffe://Example.com/a",
            "spiffe://example.com/",
            "spiffe://example.com//a",
            "spiffe://example.com/a/",
            "spiffe://example.com/../a",
            "spiffe://example.com/a%20b",
            "spiffe://example.com:80/a",
            "spiffe://u@example.com/a",
            "spiffe://example.com/a?b",
            "spiffe://example.com/a#b",
            "spiffe://example.com/a\0",
            "https://example.com/a",
            " spiffe://example.com/a",
        ] {
            assert!(SpiffeId::parse(text).is_err(), "{text:?}");
        }
        assert_eq!(
            SpiffeId::parse(&format!("spiffe://a/{}", "b".repeat(2048))),
            Err(InvalidSpiffeId::TooLong)
        );
    }
}
