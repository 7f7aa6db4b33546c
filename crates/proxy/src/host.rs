//! Which host a request asks for: one reading of SNI, `Host` and `:authority` (invariant 8).

use std::net::{IpAddr, Ipv6Addr};

use countersign_diagnose::request::Malformed;
use countersign_pki::name::DnsName;
use http::header::{HOST, ORIGIN};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Uri};

/// The host of a request, without its port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Host {
    /// An IP literal: no SNI can name it (RFC 6066 §3), no route either.
    Address(IpAddr),
    /// In lower case, without trailing dot.
    Name(DnsName),
}

impl Host {
    /// Reads `name`, `name:port`, `192.0.2.1:port`, `[2001:db8::1]:port`.
    pub(crate) fn parse(text: &str) -> Result<Self, Malformed> {
        if let Some(rest) = text.strip_prefix('[') {
            let (address, port) = rest.split_once(']').ok_or(Malformed::HostMalformed)?;
            let address: Ipv6Addr = address.parse().map_err(|_| Malformed::HostMalformed)?;
            return match port {
                "" => Ok(Self::Address(address.into())),
                port => port_of(port.strip_prefix(':')).map(|()| Self::Address(address.into())),
            };
        }
        let name = match text.split_once(':') {
            Some((name, port)) => port_of(Some(port)).map(|()| name)?,
            None => text,
        };
        if let Ok(address) = name.parse() {
            return Ok(Self::Address(address));
        }
        match DnsName::parse(name) {
            Ok(name) if !name.is_wildcard() => Ok(Self::Name(name)),
            _ => Err(Malformed::HostMalformed),
        }
    }

    /// Whether only this host can be meant. Web pages can have a name of theirs point to loopback, and not this one.
    pub(crate) fn is_of_this_host(&self) -> bool {
        match self {
            Self::Address(address) => address.is_loopback(),
            Self::Name(name) => name.as_str() == "localhost",
        }
    }

    /// The name that routes match.
    pub(crate) fn name(&self) -> Option<&DnsName> {
        match self {
            Self::Address(_) => None,
            Self::Name(name) => Some(name),
        }
    }
}

/// Whether a browser sends this for a page: it names the page's origin where it may change something (forms, scripts, upgrades),
/// and most say how the page is related (Fetch Metadata). What is typed into it comes from nobody, and programs say neither.
pub(crate) fn is_from_web_page(headers: &HeaderMap) -> bool {
    let mut sites = headers.get_all("sec-fetch-site").iter();
    headers.contains_key(ORIGIN) || sites.any(|site| site.as_bytes() != b"none")
}

/// The host as it is written in the request, after `Host` and target were found to agree.
pub(crate) fn written<'a>(target: &'a Uri, headers: &'a HeaderMap) -> Result<&'a [u8], Malformed> {
    let mut all = headers.get_all(HOST).iter();
    let (header, more) = (all.next(), all.next());
    match (header.map(HeaderValue::as_bytes), more, target.authority()) {
        (_, Some(_), _) => Err(Malformed::HostDuplicate),
        (None, None, None) => Err(Malformed::HostMissing),
        (Some(host), None, None) => Ok(host),
        (None, None, Some(authority)) => Ok(authority.as_str().as_bytes()),
        (Some(host), None, Some(authority)) if host == authority.as_str().as_bytes() => Ok(host),
        (Some(host), None, Some(authority)) => agree(host, authority).map(|()| host),
    }
}

/// Whether a connection made for `sni` may ask for `host`.
///
/// One listener is one scope, so that a connection without SNI (or for an IP literal, which has none) may ask for any host
/// of it. When SNI chooses between scopes, this is where the two scopes are compared.
pub(crate) fn may_ask(sni: Option<&DnsName>, host: &Host) -> bool {
    match (sni, host) {
        (None, _) => true,
        (Some(sni), Host::Name(name)) => sni == name,
        (Some(_), Host::Address(_)) => false,
    }
}

fn agree(host: &[u8], authority: &Authority) -> Result<(), Malformed> {
    let host = std::str::from_utf8(host).map_err(|_| Malformed::HostMalformed)?;
    let same = Host::parse(host)? == Host::parse(authority.as_str())?;
    if same {
        Ok(())
    } else {
        Err(Malformed::HostDiffers)
    }
}

fn port_of(text: Option<&str>) -> Result<(), Malformed> {
    let text = text.ok_or(Malformed::HostMalformed)?;
    // RFC 3986 §3.2.3: the port may be empty.
    if text.is_empty()
        || (text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok())
    {
        Ok(())
    } else {
        Err(Malformed::HostMalformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Host {
        Host::Name(DnsName::parse(text).expect("a name"))
    }

    #[test]
    fn every_spelling_of_a_host_is_one_host() {
        for text in [
            "api.example.com",
            "API.Example.com",
            "api.example.com.",
            "api.example.com:8443",
            "api.example.com.:443",
            "api.example.com:",
        ] {
            assert_eq!(Host::parse(text), Ok(name("api.example.com")), "{text}");
        }
        for (text, address) in [
            ("127.0.0.1:8443", "127.0.0.1"),
            ("127.0.0.1", "127.0.0.1"),
            ("[::1]:8443", "::1"),
            ("[2001:DB8::1]", "2001:db8::1"),
        ] {
            assert_eq!(
                Host::parse(text),
                Ok(Host::Address(address.parse().expect("an address"))),
                "{text}"
            );
        }
        assert_eq!(
            Host::parse("xn--bcher-kva.example"),
            Ok(name("xn--bcher-kva.example"))
        );
    }

    #[test]
    fn what_names_no_host_for_sure_is_refused() {
        for text in [
            "",
            ":443",
            "a:b",
            "a:99999",
            "a:1:2",
            "user@a",
            "a/b",
            "a b",
            "a,b",
            "*.a",
            "[::1",
            "[::1]x",
            "[a]",
            "::1",
            "1.2.3",
            "b\u{fc}cher.example",
            "a..b",
            "a:+1",
        ] {
            assert_eq!(Host::parse(text), Err(Malformed::HostMalformed), "{text:?}");
        }
    }

    fn check(target: &'static str, hosts: &[&'static str], expected: Result<&str, Malformed>) {
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append(HOST, HeaderValue::from_static(host));
        }
        let target = Uri::from_static(target);
        assert_eq!(
            written(&target, &headers),
            expected.map(str::as_bytes),
            "{target} {hosts:?}"
        );
    }

    #[test]
    fn host_and_target_must_agree() {
        check("/a", &["a.example"], Ok("a.example"));
        check("http://a.example/a", &["a.example"], Ok("a.example"));
        check(
            "http://A.example./a",
            &["a.example:443"],
            Ok("a.example:443"),
        );
        check("http://a.example/a", &[], Ok("a.example"));
        check("/a", &[], Err(Malformed::HostMissing));
        check(
            "/a",
            &["a.example", "a.example"],
            Err(Malformed::HostDuplicate),
        );
        check(
            "http://a.example/a",
            &["b.example"],
            Err(Malformed::HostDiffers),
        );
        check(
            "http://user@a.example/a",
            &["a.example"],
            Err(Malformed::HostMalformed),
        );
    }

    #[test]
    fn connection_made_for_one_name_cannot_ask_for_another() {
        let sni = DnsName::parse("a.example").expect("a name");
        assert!(may_ask(Some(&sni), &name("A.example.")));
        assert!(!may_ask(Some(&sni), &name("b.example")));
        assert!(!may_ask(Some(&sni), &name("x.a.example")));
        assert!(!may_ask(
            Some(&sni),
            &Host::Address(IpAddr::from([127, 0, 0, 1]))
        ));
        assert!(may_ask(None, &name("b.example")));
        assert!(may_ask(None, &Host::Address(IpAddr::from([127, 0, 0, 1]))));
    }
}
