//! Whom the client connects to: `HOST:PORT`, or a URL as the client uses it.

use std::fmt;
use std::net::IpAddr;

use crate::evidence::printable;

/// A server's address, and what the client speaks to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// What the URL began with; `None` of `HOST:PORT`.
    pub scheme: Option<Scheme>,
    /// A name or an address, without brackets.
    pub host: String,
    /// Where it listens.
    pub port: u16,
    /// What is asked for, `/` at least; `None` where nothing was named.
    pub path: Option<String>,
}

impl Target {
    /// Reads `HOST:PORT`, `[V6]:PORT`, a bare `HOST` (port 443) or a URL. Name and password in a URL are dropped.
    pub fn parse(text: &str) -> Result<Self, InvalidTarget> {
        let invalid = |why| InvalidTarget {
            text: printable(text, MAX_QUOTED_BYTES),
            why,
        };
        let text = text.trim();
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) => {
                let known = Scheme::parse(scheme).ok_or_else(|| invalid("nobody speaks that"))?;
                (Some(known), rest)
            }
            None => (None, text),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let path = path.split('#').next().unwrap_or_default();
        let path = (!path.is_empty()).then(|| {
            if path.starts_with('/') {
                path.to_owned()
            } else {
                format!("/{path}")
            }
        });
        let authority = authority.rsplit('@').next().unwrap_or_default();
        let (host, port) = split_port(authority).ok_or_else(|| invalid("it has no port"))?;
        let is_text = |c: char| c.is_ascii_graphic() || !c.is_ascii();
        if host.is_empty() || !host.chars().all(is_text) || host.len() > MAX_HOST_BYTES {
            return Err(invalid("its host is none"));
        }
        let port = match (port, scheme) {
            (Some(port), _) => port
                .parse()
                .ok()
                .filter(|&port| port != 0)
                .ok_or_else(|| invalid("its port is no number from 1 to 65535"))?,
            (None, Some(scheme)) => scheme.default_port(),
            (None, None) => Scheme::Https.default_port(),
        };
        Ok(Self {
            scheme,
            host: host.to_owned(),
            port,
            path,
        })
    }

    /// The host, if it is an address.
    pub fn ip(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// What is spoken before TLS by what the URL says.
    pub fn starttls(&self) -> Option<Starttls> {
        self.scheme.and_then(Scheme::starttls)
    }
}

/// As `host:port`.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// A port that is not there is `None`; a colon that is no port's is an error.
fn split_port(authority: &str) -> Option<(&str, Option<&str>)> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        return match rest.strip_prefix(':') {
            Some(port) => Some((host, Some(port))),
            None => rest.is_empty().then_some((host, None)),
        };
    }
    match authority.split_once(':') {
        None => Some((authority, None)),
        // An IPv6 address without brackets has no room for a port.
        Some((_, rest)) if rest.contains(':') => authority
            .parse::<std::net::Ipv6Addr>()
            .is_ok()
            .then_some((authority, None)),
        Some((host, port)) => Some((host, Some(port))),
    }
}

macro_rules! schemes {
    ($($name:ident = $($text:literal)|+, $port:literal, $starttls:expr, $tls:literal;)+) => {
        /// What a URL begins with.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Scheme {
            $(#[doc = concat!("`", $($text, " ",)+ "`")] $name,)+
        }

        impl Scheme {
            fn parse(text: &str) -> Option<Self> {
                match &*text.to_ascii_lowercase() {
                    $($($text)|+ => Some(Self::$name),)+
                    _ => None,
                }
            }

            const fn default_port(self) -> u16 {
                match self { $(Self::$name => $port,)+ }
            }

            /// What is spoken before TLS.
            pub const fn starttls(self) -> Option<Starttls> {
                match self { $(Self::$name => $starttls,)+ }
            }

            /// Whether it is HTTP/1.1 that is spoken.
            pub const fn is_web(self) -> bool {
                matches!(self, Self::Http | Self::Https)
            }

            /// Whether the client means to speak TLS at all.
            pub const fn is_encrypted(self) -> bool {
                match self { $(Self::$name => $tls,)+ }
            }
        }
    };
}

schemes! {
    Amqps = "amqps", 5671, None, true;
    Ftp = "ftp", 21, Some(Starttls::Ftp), true;
    Ftps = "ftps", 990, None, true;
    Grpcs = "grpcs" | "grpc", 443, None, true;
    Http = "http" | "ws", 80, None, false;
    Https = "https" | "wss", 443, None, true;
    Imap = "imap", 143, Some(Starttls::Imap), true;
    Imaps = "imaps", 993, None, true;
    Ldap = "ldap", 389, Some(Starttls::Ldap), true;
    Ldaps = "ldaps", 636, None, true;
    Mqtts = "mqtts" | "ssl", 8883, None, true;
    Mysql = "mysql" | "mariadb", 3306, Some(Starttls::Mysql), true;
    Pop3 = "pop3", 110, Some(Starttls::Pop3), true;
    Pop3s = "pop3s", 995, None, true;
    Postgres = "postgres" | "postgresql", 5432, Some(Starttls::Postgres), true;
    Rediss = "rediss", 6379, None, true;
    Smtp = "smtp" | "submission", 25, Some(Starttls::Smtp), true;
    Smtps = "smtps" | "submissions", 465, None, true;
    Tls = "tls" | "tcps" | "tcp+tls", 443, None, true;
    Xmpp = "xmpp", 5222, Some(Starttls::Xmpp), true;
}

/// How a plaintext protocol turns to TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Starttls {
    /// RFC 4217.
    Ftp,
    /// RFC 9051 §6.2.1.
    Imap,
    /// RFC 4511 §4.14.
    Ldap,
    /// The `SSLRequest` packet of the connection phase.
    Mysql,
    /// RFC 2595 §4.
    Pop3,
    /// The `SSLRequest` message of the frontend protocol.
    Postgres,
    /// RFC 3207.
    Smtp,
    /// RFC 6120 §5.
    Xmpp,
}

impl Starttls {
    /// Each with its name.
    pub const ALL: &'static [(&'static str, Self)] = &[
        ("ftp", Self::Ftp),
        ("imap", Self::Imap),
        ("ldap", Self::Ldap),
        ("mysql", Self::Mysql),
        ("pop3", Self::Pop3),
        ("postgres", Self::Postgres),
        ("smtp", Self::Smtp),
        ("xmpp", Self::Xmpp),
    ];

    /// By its name.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.to_ascii_lowercase();
        let text = match &*text {
            "postgresql" => "postgres",
            "lmtp" | "submission" => "smtp",
            "xmpp-server" => "xmpp",
            other => other,
        };
        let mut known = Self::ALL.iter();
        known.find(|(name, _)| *name == text).map(|&(_, it)| it)
    }

    /// As `openssl s_client -starttls` calls it.
    pub fn as_str(self) -> &'static str {
        let mut known = Self::ALL.iter();
        known
            .find(|&&(_, it)| it == self)
            .map_or("", |&(name, _)| name)
    }
}

/// A text that names nobody to connect to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text} is no HOST:PORT and no URL: {why}")]
pub struct InvalidTarget {
    /// What was written, escaped and cut.
    pub text: String,
    why: &'static str,
}

/// RFC 1035 §2.3.4 allows 255, with room for a zone.
const MAX_HOST_BYTES: usize = 300;

/// Enough to recognise what was typed.
const MAX_QUOTED_BYTES: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: (&str, u16, Option<&str>)) {
        let target = Target::parse(text).expect(text);
        assert_eq!(
            (&*target.host, target.port, target.path.as_deref()),
            expected,
            "{text}"
        );
    }

    #[test]
    fn targets_are_read_as_people_write_them() {
        check("api.example.com:8443", ("api.example.com", 8443, None));
        check("api.example.com", ("api.example.com", 443, None));
        check("10.0.0.1:443", ("10.0.0.1", 443, None));
        check("[::1]:8443", ("::1", 8443, None));
        check("::1", ("::1", 443, None));
        check(
            "https://api.example.com/a?b=c#d",
            ("api.example.com", 443, Some("/a?b=c")),
        );
        check("http://a.example:8443/", ("a.example", 8443, Some("/")));
        check(
            "postgres://me:secret@db.example/app?sslmode=require",
            ("db.example", 5432, Some("/app?sslmode=require")),
        );
        check("SMTP://mail.example", ("mail.example", 25, None));
        check("https://[::1]:1/x", ("::1", 1, Some("/x")));
    }

    #[test]
    fn what_names_nobody_is_refused() {
        for text in [
            "",
            ":443",
            "a:b",
            "a:0",
            "a:65536",
            "a:1:2",
            "[::1",
            "[::1]x",
            "gopher://a",
            "https://",
            "https:///x",
            "a b:443",
        ] {
            assert!(Target::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn scheme_says_what_is_spoken_before_tls() {
        let starttls = |text| Target::parse(text).expect("a target").starttls();
        assert_eq!(starttls("postgres://db"), Some(Starttls::Postgres));
        assert_eq!(starttls("smtp://mail"), Some(Starttls::Smtp));
        assert_eq!(starttls("https://a"), None);
        for &(name, starttls) in Starttls::ALL {
            assert_eq!(Starttls::parse(name), Some(starttls));
            assert_eq!(starttls.as_str(), name);
        }
    }
}
