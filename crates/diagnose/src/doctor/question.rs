//! What the asker wants to work, and what they say of it.

mod target;

use countersign_pki::name::TypedName;

pub use self::target::{InvalidTarget, Scheme, Starttls, Target};

/// The flags of `countersign doctor`, read.
#[derive(Clone, Debug, Default)]
pub struct Question {
    /// Whom the client connects to; without one the files are judged alone.
    pub target: Option<Target>,
    /// The name that the client means where the target is an address: SNI and verification.
    pub name: Option<String>,
    /// Other names to ask the server for.
    pub also_try_names: Vec<String>,
    /// Who the server's policy allows, in the notation of rules; empty where that was not said.
    pub allow: Vec<Allowed>,
    /// The `Host` that the client sends, where it differs.
    pub host_header: Option<String>,
    /// What the client offers; empty for its default.
    pub alpn: Vec<String>,
    /// The lowest version that the client offers.
    pub min_tls: Option<TlsVersion>,
    /// The highest version that the client offers.
    pub max_tls: Option<TlsVersion>,
    /// What is spoken before TLS.
    pub starttls: Option<Starttls>,
    /// The client means to come without a certificate.
    pub no_client_cert: bool,
    /// Clients without a certificate must be turned away.
    pub expect_enforced: bool,
    /// Judge as verifiers do that insist on all of RFC 5280.
    pub strict: bool,
}

/// An identity that a policy names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowed {
    /// As it was written.
    pub written: String,
    /// What it means.
    pub meaning: AllowedName,
}

/// What an entry of a policy means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowedName {
    /// Any typed name that reads so.
    Bare(String),
    /// A typed name.
    Typed(TypedName),
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TlsVersion {
    /// SSL 3.0, which nobody should speak.
    Ssl3,
    /// TLS 1.0.
    Tls10,
    /// TLS 1.1.
    Tls11,
    /// TLS 1.2.
    Tls12,
    /// TLS 1.3.
    Tls13,
}

impl TlsVersion {
    /// `1.2`, `TLSv1.2`, `tls1.2` and `TLS 1.2` are the same.
    pub fn parse(text: &str) -> Option<Self> {
        let digits: String = text
            .to_ascii_lowercase()
            .trim_start_matches("tls")
            .trim_start_matches([' ', 'v', '_'])
            .replace('_', ".");
        Some(match &*digits {
            "1.0" | "1" => Self::Tls10,
            "1.1" => Self::Tls11,
            "1.2" => Self::Tls12,
            "1.3" => Self::Tls13,
            "ssl3" | "sslv3" => Self::Ssl3,
            _ => return None,
        })
    }

    /// As people write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ssl3 => "SSL 3.0",
            Self::Tls10 => "TLS 1.0",
            Self::Tls11 => "TLS 1.1",
            Self::Tls12 => "TLS 1.2",
            Self::Tls13 => "TLS 1.3",
        }
    }
}

impl std::fmt::Display for TlsVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_people_write_them() {
        for text in ["1.2", "TLSv1.2", "tls1.2", "TLS 1.2", "tlsv1_2"] {
            assert_eq!(TlsVersion::parse(text), Some(TlsVersion::Tls12), "{text}");
        }
        assert_eq!(TlsVersion::parse("TLSv1"), Some(TlsVersion::Tls10));
        for text in ["", "1.4", "tls", "12", "1.2.3"] {
            assert_eq!(TlsVersion::parse(text), None, "{text}");
        }
    }
}
