//! Where an authority publishes: the URLs that its certificates and lists carry, and that its public listener answers on.

use std::fmt;
use std::num::NonZeroU16;

use crate::certificate::Certificate;
use crate::crl::shard_of;
use crate::name::Uri;
use crate::serial::SerialNumber;
use crate::tbs::StatusSources;

/// The beginning of every URL that is published, such as `http://pki.example.com`.
///
/// A certificate carries what is made of it for life, so it must go on leading to the authority for as long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicationUrl {
    text: String,
    path_at: usize,
}

impl PublicationUrl {
    /// `http://HOST[:PORT][/PATH]`, without a slash at the end.
    ///
    /// Only plain HTTP (RFC 5280 §8): whoever has to ask for a revocation before it can trust a TLS server cannot ask one.
    /// What is published is signed.
    pub fn parse(text: &str) -> Result<Self, InvalidPublicationUrl> {
        let refuse = |why: &'static str| InvalidPublicationUrl {
            text: text.chars().take(MAX_BYTES).collect(),
            why,
        };
        if text.starts_with("https://") {
            return Err(refuse(
                "lists and OCSP answers are signed, and served over plain HTTP so that nobody needs them to fetch them: write http://",
            ));
        }
        let rest = text
            .strip_prefix("http://")
            .ok_or_else(|| refuse("it does not begin with http://"))?;
        if text.len() > MAX_BYTES {
            return Err(refuse(
                "it has over 200 bytes, and every certificate would carry them",
            ));
        }
        let (host, path) = rest
            .find('/')
            .map_or((rest, ""), |slash| rest.split_at(slash));
        if !is_host_and_port(host) {
            return Err(refuse(
                "what follows http:// is no host with or without a port",
            ));
        }
        let segment = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
        if path.ends_with('/') || path.contains("//") || !path.bytes().all(segment) {
            return Err(refuse(
                "its path has other than letters, digits, -._~ and single slashes before each segment",
            ));
        }
        Ok(Self {
            text: text.to_owned(),
            path_at: text.len() - path.len(),
        })
    }

    /// As given.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What the path of every request begins with; empty where the URL has none.
    pub fn path(&self) -> &str {
        &self.text[self.path_at..]
    }

    /// The path below [`Self::path`] of the list of every certificate of an issuing key.
    pub fn complete_list_path(issuer: &Certificate) -> String {
        format!("/crl/{}.crl", key_of(issuer))
    }

    /// The path of one of its shards, from 0.
    pub fn shard_path(issuer: &Certificate, shard: u16) -> String {
        format!("/crl/{}/{shard}.crl", key_of(issuer))
    }

    /// The path of its certificate.
    pub fn certificate_path(issuer: &Certificate) -> String {
        format!("/ca/{}.cer", key_of(issuer))
    }

    /// The one that a shard of `issuer` is published at.
    pub fn of_shard(shard: &Uri, issuer: &Certificate) -> Option<Self> {
        let folder = format!("/crl/{}/", key_of(issuer));
        let (text, _) = shard.as_str().rsplit_once(&folder)?;
        Self::parse(text).ok()
    }

    /// Whether a URL lies where this authority answers, and no complete list of an issuer can be there: who follows it finds nothing, or
    /// the list of other certificates. Shards have URLs that only the certificates themselves know.
    pub fn has_no_list_at(&self, uri: &Uri) -> bool {
        let uri = uri.as_str();
        let Some((host, path)) = uri.split_at_checked(self.path_at) else {
            return false;
        };
        let is_below = host.eq_ignore_ascii_case(&self.text[..self.path_at])
            && path
                .strip_prefix(self.path())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']));
        let key = path
            .strip_prefix(self.path())
            .and_then(|rest| rest.strip_prefix("/crl/"))
            .and_then(|file| file.strip_suffix(".crl"));
        let is_list = key.is_some_and(|key| {
            key.len() == KEY_DIGITS && key.bytes().all(|byte| byte.is_ascii_hexdigit())
        });
        is_below && !is_list
    }

    /// The URL of a path.
    pub fn join(&self, path: &str) -> Uri {
        Uri::parse(&format!("{}{path}", self.text))
            .expect("http: and visible ASCII, far below 2048 bytes")
    }

    /// What the certificate of a CA below `issuer` carries: lists of CAs are short, so there is the complete one alone, and no
    /// responder, since the key of `issuer` shall rest.
    pub fn sources_of_issuer(&self, issuer: &Certificate) -> StatusSources {
        StatusSources {
            crl: Some(self.join(&Self::complete_list_path(issuer))),
            ocsp: None,
            ca_issuers: Some(self.join(&Self::certificate_path(issuer))),
        }
    }

    /// What a certificate of `issuer` with this serial number carries. The list is that of its shard.
    pub fn sources(&self, issuer: &Certificate, serial: SerialNumber) -> StatusSources {
        let shard = shard_of(serial, SHARDS);
        StatusSources {
            crl: Some(self.join(&Self::shard_path(issuer, shard))),
            ocsp: Some(self.join(OCSP_PATH)),
            ca_issuers: Some(self.join(&Self::certificate_path(issuer))),
        }
    }
}

impl fmt::Display for PublicationUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Why a text is no URL to publish at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no URL to publish at: {why}")]
#[non_exhaustive]
pub struct InvalidPublicationUrl {
    /// As given, cut.
    pub text: String,
    /// What is wrong.
    pub why: &'static str,
}

/// The path of the OCSP responder, for every issuer.
pub const OCSP_PATH: &str = "/ocsp";

/// How many shards the certificates of an issuing key are spread over: with 100,000 revoked a shard has 40 KiB instead of
/// the 5 MiB of all. Each certificate carries the URL of its own, so that this may change for later ones.
pub const SHARDS: NonZeroU16 = NonZeroU16::new(128).expect("not zero");

/// 64 bits of the key's SHA-256: it only has to tell the few issuers of one authority apart, and stays when an issuer's
/// certificate is renewed.
fn key_of(issuer: &Certificate) -> String {
    issuer.spki().to_string().chars().take(KEY_DIGITS).collect()
}

const KEY_DIGITS: usize = 16;

fn is_host_and_port(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (text, None),
    };
    let port_ok = port.is_none_or(|port| {
        port.bytes().all(|byte| byte.is_ascii_digit())
            && port.parse::<u16>().is_ok_and(|port| port > 0)
    });
    let host_ok = match host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
    {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty()
                && !host.starts_with(['-', '.'])
                && host
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte))
        }
    };
    port_ok && host_ok
}

/// Three of these stand in every certificate.
const MAX_BYTES: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, path: Option<&str>) {
        let parsed = PublicationUrl::parse(text);
        assert_eq!(
            parsed.as_ref().ok().map(PublicationUrl::path),
            path,
            "{text}"
        );
    }

    #[test]
    fn only_complete_lists_are_at_the_urls_below() {
        let check = |text: &str, uri: &str, expected: bool| {
            let url = PublicationUrl::parse(text).expect("a URL");
            let uri = Uri::parse(uri).expect("a URI");
            assert_eq!(url.has_no_list_at(&uri), expected, "{text} {uri:?}");
        };
        let (bare, deep) = ("http://pki.example.com", "http://pki.example.com/a");
        for uri in [
            "http://pki.example.com/crl/0123456789abcdef/7.crl",
            "http://pki.example.com/crl/0123456789abcdef0.crl",
            "http://pki.example.com/crl/0123456789abcdeg.crl",
            "http://pki.example.com/all.crl",
            "http://pki.example.com/",
            "http://pki.example.com",
            "http://PKI.example.com/all.crl",
            "http://pki.example.com?all.crl",
        ] {
            check(bare, uri, true);
            check(deep, uri, false);
        }
        check(
            deep,
            "http://pki.example.com/a/crl/0123456789abcdef/7.crl",
            true,
        );
        check(
            deep,
            "http://pki.example.com/a/crl/0123456789abcdef.crl",
            false,
        );
        check(deep, "http://pki.example.com/ab/x.crl", false);
        check(
            bare,
            "http://pki.example.com/crl/0123456789abcdef.crl",
            false,
        );
        check(bare, "http://pki.example.com.test/all.crl", false);
        check(bare, "http://pki.example.com:8080/all.crl", false);
        check(bare, "http://a.test/all.crl", false);
    }

    #[test]
    fn plain_http_with_or_without_port_and_path_is_taken() {
        check("http://pki.example.com", Some(""));
        check("http://pki.example.com:8080", Some(""));
        check("http://10.0.0.1/pki", Some("/pki"));
        check("http://[::1]:80/a/b-c", Some("/a/b-c"));
    }

    #[test]
    fn everything_else_is_refused() {
        for bad in [
            "",
            "pki.example.com",
            "https://pki.example.com",
            "ldap://pki.example.com",
            "http://",
            "http:///pki",
            "http://pki.example.com/",
            "http://pki.example.com//a",
            "http://pki.example.com/a/",
            "http://user@pki.example.com",
            "http://pki.example.com?x",
            "http://pki.example.com/a?x",
            "http://pki.example.com/a#x",
            "http://pki.example.com/a%20b",
            "http://pki example.com",
            "http://pki.example.com:",
            "http://pki.example.com:0",
            "http://pki.example.com:99999",
            "http://pki.example.com:+80",
            "http://[::1",
            "http://[x]",
            "http://-a.example",
            "http://\u{e9}.example",
        ] {
            check(bad, None);
        }
        check(&format!("http://{}.example", "a".repeat(200)), None);
    }

    #[test]
    fn https_is_refused_with_the_reason() {
        let error = PublicationUrl::parse("https://pki.example.com").expect_err("refused");
        assert!(error.to_string().contains("write http://"), "{error}");
    }
}
