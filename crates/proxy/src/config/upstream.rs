//! Where a route or a listener forwards, from what is written.

use std::path::PathBuf;
use std::sync::Arc;

use countersign_runtime::config::ConfigError;
use http::Uri;

use crate::upstream::{Address, Upstream};

/// Of a route: requests.
pub(super) fn of_requests(place: &str, text: &str) -> Result<Upstream, ConfigError> {
    if text == DEMO {
        return Ok(Upstream::Demo);
    }
    let written = Written {
        place,
        text,
        hint: "write \"http://HOST:PORT\", \"unix:/PATH\", or \"demo\"",
    };
    let address = match text.strip_prefix(UNIX) {
        Some(path) => written.unix(path)?,
        None => written.tcp("http", Some(80))?,
    };
    Ok(Upstream::Http(Arc::new(address)))
}

/// Of a listener of bytes.
pub(super) fn of_bytes(place: &str, text: &str) -> Result<Upstream, ConfigError> {
    let written = Written {
        place,
        text,
        hint: "write \"tcp://HOST:PORT\" or \"unix:/PATH\"; for HTTP, add [[gateway.listener.route]] with upstream and allow",
    };
    let address = match text.strip_prefix(UNIX) {
        Some(path) => written.unix(path)?,
        None => written.tcp("tcp", None)?,
    };
    Ok(Upstream::Bytes(Arc::new(address)))
}

struct Written<'a> {
    place: &'a str,
    text: &'a str,
    hint: &'static str,
}

impl Written<'_> {
    fn refuse<T>(&self, why: &str) -> Result<T, ConfigError> {
        Err(ConfigError::new(self.place, format!("{:?} {why}", self.text)).hint(self.hint))
    }

    fn unix(&self, path: &str) -> Result<Address, ConfigError> {
        if !path.starts_with('/') || path.contains('\0') {
            return self.refuse("is no path that begins at the root");
        }
        if path.len() > MAX_UNIX_PATH_BYTES {
            return self.refuse("is longer than the 107 bytes that a socket's path may have");
        }
        Ok(Address::Unix {
            path: PathBuf::from(path),
        })
    }

    fn tcp(&self, scheme: &str, default_port: Option<u16>) -> Result<Address, ConfigError> {
        let Ok(uri) = self.text.parse::<Uri>() else {
            return self.refuse("is no URL");
        };
        if uri.scheme_str() != Some(scheme) {
            return self.refuse(&format!("does not begin with {scheme}:// or unix:"));
        }
        // `Uri` reads an absent path as "/".
        if uri.path() != "/" || uri.query().is_some() || self.text.contains('#') {
            return self.refuse("has a path: what is sent upstream has the path that it came with");
        }
        let Some(authority) = uri.authority() else {
            return self.refuse("names no host");
        };
        if authority.as_str().contains('@') {
            return self.refuse("holds a user name, which is not sent");
        }
        let port = match &authority.as_str()[authority.host().len()..] {
            "" => default_port,
            port => port
                .strip_prefix(':')
                .and_then(|port| port.parse().ok())
                .filter(|port: &u16| *port != 0),
        };
        let Some(port) = port else {
            return self.refuse("has no port from 1 to 65535");
        };
        let host = authority
            .host()
            .trim_start_matches('[')
            .trim_end_matches(']');
        if host.is_empty() {
            return self.refuse("names no host");
        }
        Ok(Address::Tcp {
            host: host.to_owned(),
            port,
        })
    }
}

const DEMO: &str = "demo";

const UNIX: &str = "unix:";

/// `sun_path` of unix(7), without the zero at its end.
const MAX_UNIX_PATH_BYTES: usize = 107;
