//! Where programs of one host connect: `"127.0.0.1:9080"`, `"unix:/run/app/out.sock"`.

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A TCP address, or a Unix socket by its path.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum LocalAddress {
    /// An address and a port.
    Tcp(SocketAddr),
    /// A path from the root, of at most [`Self::MAX_PATH_BYTES`].
    Unix(PathBuf),
}

impl LocalAddress {
    /// `sun_path` of unix(7), without the zero at its end.
    pub const MAX_PATH_BYTES: usize = 107;

    /// The TCP address, where it is one.
    pub fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }

    /// The path of the socket, where it is one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Tcp(_) => None,
            Self::Unix(path) => Some(path),
        }
    }
}

impl FromStr for LocalAddress {
    type Err = InvalidLocalAddress;

    fn from_str(text: &str) -> Result<Self, InvalidLocalAddress> {
        let Some(path) = text.strip_prefix(UNIX) else {
            return text
                .parse()
                .map(Self::Tcp)
                .map_err(|_| InvalidLocalAddress::Form {
                    text: text.chars().take(MAX_QUOTED_CHARS).collect(),
                });
        };
        if !path.starts_with('/') || path.ends_with('/') || path.contains('\0') {
            return Err(InvalidLocalAddress::Path);
        }
        if path.len() > Self::MAX_PATH_BYTES {
            return Err(InvalidLocalAddress::Length);
        }
        Ok(Self::Unix(path.into()))
    }
}

impl fmt::Display for LocalAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}

impl TryFrom<String> for LocalAddress {
    type Error = InvalidLocalAddress;

    fn try_from(text: String) -> Result<Self, InvalidLocalAddress> {
        text.parse()
    }
}

impl From<LocalAddress> for String {
    fn from(address: LocalAddress) -> Self {
        address.to_string()
    }
}

impl JsonSchema for LocalAddress {
    fn schema_name() -> Cow<'static, str> {
        "LocalAddress".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "description": "\"ADDRESS:PORT\", or \"unix:/PATH\"." })
    }
}

/// What is no [`LocalAddress`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidLocalAddress {
    /// Neither of both.
    #[error("{text:?} is neither an address and a port, as \"127.0.0.1:9080\", nor \"unix:/PATH\"")]
    Form {
        /// Its beginning.
        text: String,
    },
    /// The path cannot be one of a socket.
    #[error("the path of a socket begins at the root and names no folder")]
    Path,
    /// The system takes no such path.
    #[error("a socket's path may have {} bytes", LocalAddress::MAX_PATH_BYTES)]
    Length,
}

const UNIX: &str = "unix:";

const MAX_QUOTED_CHARS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_written_as_they_are_read() {
        for text in ["127.0.0.1:9080", "[::1]:0", "unix:/run/app/out.sock"] {
            let address: LocalAddress = text.parse().expect(text);
            assert_eq!(address.to_string(), text);
        }
    }

    #[test]
    fn what_is_neither_is_refused() {
        let long = format!("unix:/{}", "x".repeat(LocalAddress::MAX_PATH_BYTES));
        for text in [
            "",
            "localhost:9080",
            "127.0.0.1",
            "unix:",
            "unix:out.sock",
            "unix:/run/",
            "unix:/run/a\0b",
            "UNIX:/run/out.sock",
            &long,
        ] {
            assert!(text.parse::<LocalAddress>().is_err(), "{text:?}");
        }
        let most = format!("unix:/{}", "x".repeat(LocalAddress::MAX_PATH_BYTES - 1));
        assert!(most.parse::<LocalAddress>().is_ok());
    }
}
