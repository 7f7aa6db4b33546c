//! Where an upstream is, and how it is reached.

use std::fmt;
use std::path::PathBuf;

use super::TlsTarget;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Address {
    /// Looked up at each connect.
    Tcp { host: String, port: u16 },
    /// The same, over TLS.
    Tls(TlsTarget),
    /// A socket of the file system.
    Unix { path: PathBuf },
}

impl Address {
    /// Whether it is the same server, however it is verified.
    pub(crate) fn is_at(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Tls(one), Self::Tls(other)) => {
                let (one, other) = (&one.settings, &other.settings);
                one.host.eq_ignore_ascii_case(&other.host) && one.port == other.port
            }
            (
                Self::Tcp { host, port },
                Self::Tcp {
                    host: other,
                    port: of_other,
                },
            ) => host.eq_ignore_ascii_case(other) && port == of_other,
            (one, other) => one == other,
        }
    }

    /// Whether both are one socket, whatever is spoken there.
    pub(crate) fn is_the_place_of(&self, other: &Self) -> bool {
        match (self.host_and_port(), other.host_and_port()) {
            (Some((host, port)), Some((other, of_other))) => {
                host.eq_ignore_ascii_case(other) && port == of_other
            }
            _ => self == other,
        }
    }

    fn host_and_port(&self) -> Option<(&str, u16)> {
        match self {
            Self::Tcp { host, port } => Some((host, *port)),
            Self::Tls(target) => Some((&target.settings.host, target.settings.port)),
            Self::Unix { .. } => None,
        }
    }

    /// Whether it is reached in the same way.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Tls(target) => {
                write!(
                    f,
                    "{}:{} over TLS",
                    target.settings.host, target.settings.port
                )
            }
            Self::Unix { path } => write!(f, "unix:{}", path.display()),
        }
    }
}
