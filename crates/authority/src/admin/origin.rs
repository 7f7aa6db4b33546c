//! Whose page asks: a browser that holds an operator's certificate shows it to the admin port whoever has it ask.
//!
//! A page of another origin can make a browser send a request, though not read the answer. So what changes something is
//! refused unless the browser says that a page of ours asks, or nobody's; programs that are no browsers say nothing of it.
//! A page whose name was made to mean our address (DNS rebinding) is of our origin as the browser sees it, but under a name
//! that the port's certificate does not have.

use axum::http::{HeaderMap, HeaderName, Method, StatusCode, header};
use countersign_pki::certificate::Certificate;
use countersign_pki::name::{DnsName, NameKind, TypedName};

use crate::problem::Problem;

/// Refuses what a page of another origin asks to be changed.
pub(super) fn judge(method: &Method, headers: &HeaderMap) -> Result<(), Problem> {
    if method.is_safe() {
        return Ok(());
    }
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let own = host.map(|host| format!("https://{host}"));
    let of_ours = |origin: &str| {
        own.as_ref()
            .is_some_and(|own| own.eq_ignore_ascii_case(origin))
    };
    refuse_unless(headers, &header::ORIGIN, of_ours)?;
    refuse_unless(headers, &SEC_FETCH_SITE, |site| {
        matches!(site, "none" | "same-origin")
    })
}

/// Refuses a name that the port's certificate does not have.
pub(super) fn judge_host(headers: &HeaderMap, own: &Certificate) -> Result<(), Problem> {
    let mut hosts = headers.get_all(header::HOST).iter();
    // RFC 9112 §3.2: no Host, or more than one, is a bad request.
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return Err(Problem::bad_request("a request has one Host"));
    };
    let host = host.to_str().unwrap_or_default();
    let is_own = read(host).is_some_and(|asked| {
        own.subject_alt_names()
            .iter()
            .any(|name| match (name, &asked) {
                (TypedName::Dns(name), TypedName::Dns(asked)) => name.covers(asked),
                (name, asked) => name == asked,
            })
    });
    if is_own {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::MISDIRECTED_REQUEST,
        format!("the certificate of the admin port is not for the host {host:?}"),
    )
    .with_hint(Some(
        "ask by a name of the port's certificate: [authority.admin] names gives it further ones"
            .to_owned(),
    )))
}

/// Without its port.
fn read(host: &str) -> Option<TypedName> {
    let without_port = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?.0,
        None => host.split_once(':').map_or(host, |(name, _)| name),
    };
    TypedName::parse_as(NameKind::Ip, without_port)
        .ok()
        .or_else(|| {
            let name = DnsName::parse(without_port).ok()?;
            (!name.is_wildcard()).then_some(TypedName::Dns(name))
        })
}

fn refuse_unless(
    headers: &HeaderMap,
    field: &HeaderName,
    is_good: impl Fn(&str) -> bool,
) -> Result<(), Problem> {
    for value in headers.get_all(field) {
        if !value.to_str().is_ok_and(&is_good) {
            return Err(Problem::new(
                StatusCode::FORBIDDEN,
                format!("a web page of another origin asks ({field}: {value:?})"),
            )
            .with_hint(Some(
                "use the command line, or a program that is no browser; if nobody meant this, find out which page it was".to_owned(),
            )));
        }
    }
    Ok(())
}

/// W3C Fetch Metadata §2.3.
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(method: &Method, fields: &[(&'static str, &'static str)], is_allowed: bool) {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().expect("a value"));
        }
        let judged = judge(method, &headers);
        assert_eq!(judged.is_ok(), is_allowed, "{fields:?}: {judged:?}");
    }

    #[test]
    fn page_of_another_origin_changes_nothing() {
        let host = ("host", "ca.example.com:8444");
        for origin in [
            "https://evil.example",
            "https://ca.example.com",
            "https://ca.example.com:8445",
            "http://ca.example.com:8444",
            "https://ca.example.com:8444.evil.example",
            "null",
            "",
        ] {
            for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
                check(&method, &[host, ("origin", origin)], false);
            }
            check(&Method::GET, &[host, ("origin", origin)], true);
        }
        for site in ["cross-site", "same-site", "another-site", ""] {
            check(&Method::POST, &[host, ("sec-fetch-site", site)], false);
        }
        let own = ("origin", "https://CA.example.com:8444");
        check(
            &Method::POST,
            &[host, own, ("sec-fetch-site", "same-site")],
            false,
        );
        check(
            &Method::POST,
            &[host, own, ("origin", "https://evil.example")],
            false,
        );
        check(&Method::POST, &[own], false);
    }

    #[test]
    fn page_of_ours_and_programs_are_heard() {
        let host = ("host", "ca.example.com:8444");
        let own = ("origin", "https://CA.example.com:8444");
        check(&Method::POST, &[host], true);
        check(&Method::POST, &[host, ("sec-fetch-site", "none")], true);
        check(
            &Method::POST,
            &[host, own, ("sec-fetch-site", "same-origin")],
            true,
        );
    }

    #[test]
    fn host_is_read_without_its_port() {
        for (text, read_as) in [
            ("ca.example.com:8444", Some("dns:ca.example.com")),
            ("CA.example.com", Some("dns:ca.example.com")),
            ("127.0.0.1:8444", Some("ip:127.0.0.1")),
            ("[::1]:8444", Some("ip:::1")),
            ("*.example.com", None),
            ("[::1", None),
            ("", None),
            (":8444", None),
        ] {
            assert_eq!(
                read(text).map(|name| name.to_string()).as_deref(),
                read_as,
                "{text}"
            );
        }
    }
}
