//! What a CONNECT asks for (RFC 9110 §9.3.6): a host and a port, and no path.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use countersign_pki::name::DnsName;

use super::{InvalidPolicy, Route};

/// `db.internal:5432`, `192.0.2.1:22`, `[2001:db8::1]:443`: in the one spelling that all others are compared in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ConnectTarget {
    host: Option<DnsName>,
    port: u16,
    written: String,
}

impl ConnectTarget {
    /// Refuses what has no port or port 0, a user name, a wildcard, and whatever else is no one host and port. Case and a trailing dot
    /// of the name, zeros in front of the port and the forms of an IPv6 address make no difference.
    pub fn parse(text: &str) -> Result<Self, InvalidPolicy> {
        let refuse = |why: &str| {
            let shown: String = text.chars().take(80).collect();
            Err(InvalidPolicy::new(format!("{shown:?}"), why))
        };
        let Some((host, digits)) = text.rsplit_once(':') else {
            return refuse("it has no port: write host:port");
        };
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        let port = digits.parse::<u16>().ok().filter(|port| *port != 0);
        let Some(port) = port.filter(|_| is_number) else {
            return refuse("it has no port from 1 to 65535");
        };
        if let Some(address) = host.strip_prefix('[').and_then(|it| it.strip_suffix(']')) {
            let Ok(address) = address.parse::<Ipv6Addr>() else {
                return refuse("there is no IPv6 address in the brackets");
            };
            return Ok(Self {
                host: None,
                port,
                written: format!("[{address}]:{port}"),
            });
        }
        if let Ok(address) = host.parse::<Ipv4Addr>() {
            return Ok(Self {
                host: None,
                port,
                written: format!("{address}:{port}"),
            });
        }
        match DnsName::parse(host) {
            Ok(name) if !name.is_wildcard() => Ok(Self {
                written: format!("{name}:{port}"),
                host: Some(name),
                port,
            }),
            _ => refuse(
                "its host is neither a DNS name nor an IP address, with [] around one of IPv6",
            ),
        }
    }

    /// `None`: an IP address.
    pub fn host(&self) -> Option<&DnsName> {
        self.host.as_ref()
    }

    /// Whether a `Host` header names it too. RFC 9112 §3.2 has the port there as well; some clients leave out what TLS has by default.
    pub fn is_named_by(&self, host: &str) -> bool {
        let is_it = |text: &str| Self::parse(text).is_ok_and(|named| named == *self);
        is_it(host) || is_it(&format!("{host}:{}", self.port))
    }

    /// As it is compared, and as it stands in [`Asked::path`](super::Asked::path).
    pub fn as_str(&self) -> &str {
        &self.written
    }
}

impl fmt::Display for ConnectTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

impl Route {
    /// Whether it is one of tunnels, and takes no other request.
    pub fn is_of_tunnels(&self) -> bool {
        !self.connect.is_empty()
    }

    pub(super) fn connects_to(&self, target: &str) -> bool {
        self.connect.iter().any(|it| it.as_str() == target)
    }
}

/// The method of requests that a route of tunnels takes, and no other route.
pub(super) const CONNECT: &str = "CONNECT";
