//! URLs that are fetched from: `http` or `https`, a host, a path.

use std::fmt;

use http::Uri;

/// Where something is published. Without user, password or fragment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FetchUrl {
    is_https: bool,
    host: String,
    port: u16,
    path: String,
    text: String,
}

impl FetchUrl {
    /// Reads an absolute URL.
    pub fn parse(text: &str) -> Result<Self, InvalidUrl> {
        let invalid = |why: &'static str| InvalidUrl {
            text: text.chars().take(MAX_SHOWN_CHARS).collect(),
            why,
        };
        if text.len() > MAX_BYTES {
            return Err(invalid("it is too long"));
        }
        if text.contains('#') {
            return Err(invalid(
                "a fragment is for whoever reads the answer, and is never sent",
            ));
        }
        let uri: Uri = text.parse().map_err(|_| invalid("it is no URL"))?;
        let is_https = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(invalid("it has to begin with http:// or https://")),
        };
        let authority = uri.authority().ok_or_else(|| invalid("it names no host"))?;
        if authority.as_str().contains('@') {
            return Err(invalid("names and passwords in URLs end up in logs"));
        }
        let host = authority
            .host()
            .trim_start_matches('[')
            .trim_end_matches(']');
        if host.is_empty() {
            return Err(invalid("it names no host"));
        }
        let has_port = authority.as_str().len() > authority.host().len();
        let port = match (authority.port_u16(), has_port) {
            (Some(0), _) | (None, true) => return Err(invalid("its port is none")),
            (Some(port), _) => port,
            (None, false) if is_https => 443,
            (None, false) => 80,
        };
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        Ok(Self {
            is_https,
            host: host.to_ascii_lowercase(),
            port,
            path: if path.is_empty() { "/" } else { path }.to_owned(),
            text: text.to_owned(),
        })
    }

    /// Over TLS.
    pub fn is_https(&self) -> bool {
        self.is_https
    }

    /// A DNS name or an IP address, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, the scheme's own where none is written.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Path and query.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What `Host` says.
    pub(crate) fn host_header(&self) -> String {
        let host = if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        };
        match (self.is_https, self.port) {
            (false, 80) | (true, 443) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }

    /// Where a `Location` leads, if it leads to where this one does: the same host, port and scheme, or the same host at the
    /// well-known port of TLS.
    pub(crate) fn redirected(&self, location: &str) -> Option<Self> {
        if location.starts_with('/') && !location.starts_with("//") {
            let path: Uri = location.parse().ok()?;
            let path = path.path_and_query()?.as_str().to_owned();
            let scheme = if self.is_https { "https" } else { "http" };
            let text = format!("{scheme}://{}{path}", self.host_header());
            return Some(Self {
                path,
                text,
                ..self.clone()
            });
        }
        let next = Self::parse(location).ok()?;
        let is_same = (next.is_https, next.port) == (self.is_https, self.port);
        let is_upgrade =
            (self.is_https, self.port, next.is_https, next.port) == (false, 80, true, 443);
        (next.host == self.host && (is_same || is_upgrade)).then_some(next)
    }
}

impl fmt::Display for FetchUrl {
    /// As it was written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The text is no URL that could be fetched from.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?}: {why}")]
pub struct InvalidUrl {
    text: String,
    why: &'static str,
}

/// What servers accept in a request line, with room to spare.
const MAX_BYTES: usize = 4096;
const MAX_SHOWN_CHARS: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> FetchUrl {
        FetchUrl::parse(text).expect("a URL")
    }

    #[test]
    fn urls_are_read_as_they_are_meant() {
        for (text, host, port, path, header) in [
            ("http://a.example", "a.example", 80, "/", "a.example"),
            (
                "http://A.example/x?y=1",
                "a.example",
                80,
                "/x?y=1",
                "a.example",
            ),
            ("https://a.example/x", "a.example", 443, "/x", "a.example"),
            (
                "http://a.example:8080/x",
                "a.example",
                8080,
                "/x",
                "a.example:8080",
            ),
            ("http://[::1]:81/x", "::1", 81, "/x", "[::1]:81"),
        ] {
            let url = url(text);
            assert_eq!(
                (
                    url.host(),
                    url.port(),
                    url.path(),
                    url.host_header().as_str()
                ),
                (host, port, path, header),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_source_is_refused() {
        for text in [
            "",
            "a.example/x",
            "ftp://a.example/x",
            "file:///etc/passwd",
            "ldap://a.example/cn=ca",
            "http://",
            "http:///x",
            "http://a.example:0/x",
            "http://a.example:99999/x",
            "http://a.example:/x",
            "http://me:secret@a.example/x",
            "http://a.example/x#y",
            "http://a.example/x y",
            "http://a.example/x\r\nHost: b",
            &format!("http://a.example/{}", "x".repeat(5000)),
        ] {
            assert!(FetchUrl::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn redirect_stays_where_it_began() {
        let from = url("http://a.example/x");
        for (location, path) in [
            ("/y", "/y"),
            ("http://a.example/z?1", "/z?1"),
            ("https://a.example/z", "/z"),
        ] {
            let next = from.redirected(location);
            assert_eq!(next.as_ref().map(FetchUrl::path), Some(path), "{location}");
        }
        for location in [
            "//b.example/y",
            "http://b.example/x",
            "http://a.example:8080/x",
            "http://a.example.b.example/x",
            "https://a.example:8443/x",
            "http://169.254.169.254/latest",
            "file:///etc/passwd",
            "y",
            "",
        ] {
            assert_eq!(from.redirected(location), None, "{location}");
        }
        // Never from TLS to plaintext.
        assert_eq!(
            url("https://a.example/x").redirected("http://a.example/x"),
            None
        );
    }
}
