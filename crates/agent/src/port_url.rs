//! Where a port of an authority is: `https://host:port`.

use std::fmt;
use std::str::FromStr;

/// Where it tells its feed.
pub type FeedUrl = PortUrl<9444>;

/// Where it serves the admin API to operators.
pub type AdminUrl = PortUrl<8444>;

/// A host and a port; mutual TLS is understood. `DEFAULT`: the port of a URL that names none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortUrl<const DEFAULT: u16> {
    host: String,
    port: u16,
}

impl<const DEFAULT: u16> PortUrl<DEFAULT> {
    /// The host, an IPv6 address without its brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl<const DEFAULT: u16> FromStr for PortUrl<DEFAULT> {
    type Err = InvalidPortUrl;

    fn from_str(text: &str) -> Result<Self, InvalidPortUrl> {
        let invalid = |why| InvalidPortUrl {
            text: text.chars().take(MAX_QUOTED_CHARS).collect(),
            why,
        };
        let rest = text
            .strip_prefix("https://")
            .ok_or(invalid("it does not begin with https://"))?;
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains(['/', '?', '#', '@']) {
            return Err(invalid("nothing may stand beside host and port"));
        }
        let (host, port) = match authority.strip_prefix('[') {
            Some(bracketed) => bracketed
                .split_once(']')
                .ok_or(invalid("a bracket is not closed"))?,
            None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
        };
        let port = match port.strip_prefix(':') {
            Some(port) => port.parse().map_err(|_| invalid("its port is no number"))?,
            None if port.is_empty() => DEFAULT,
            None => return Err(invalid("the host is followed by neither port nor end")),
        };
        if host.is_empty() || port == 0 {
            return Err(invalid("host or port is empty"));
        }
        Ok(Self {
            host: host.to_ascii_lowercase(),
            port,
        })
    }
}

impl<const DEFAULT: u16> fmt::Display for PortUrl<DEFAULT> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "https://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "https://{}:{}", self.host, self.port)
        }
    }
}

/// The text is no address of a port.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not https://host:port: {why}")]
pub struct InvalidPortUrl {
    text: String,
    why: &'static str,
}

const MAX_QUOTED_CHARS: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_and_port_are_read_and_nothing_else() {
        for (text, expected) in [
            ("https://ca.example.com:9444", "https://ca.example.com:9444"),
            ("https://CA.example.com/", "https://ca.example.com:9444"),
            ("https://127.0.0.1:1", "https://127.0.0.1:1"),
            ("https://[::1]:8443", "https://[::1]:8443"),
        ] {
            let url: FeedUrl = text.parse().expect(text);
            assert_eq!(url.to_string(), expected);
        }
        let admin: AdminUrl = "https://ca.example.com".parse().expect("a URL");
        assert_eq!(admin.to_string(), "https://ca.example.com:8444");
        for text in [
            "",
            "http://ca.example.com",
            "https://",
            "https://:9444",
            "https://ca.example.com:0",
            "https://ca.example.com:70000",
            "https://ca.example.com:9444/v1/feed",
            "https://user@ca.example.com",
            "https://[::1",
            "https://[::1]8443",
        ] {
            assert!(text.parse::<FeedUrl>().is_err(), "{text}");
        }
    }
}
