//! One route: rules that could never hold where they stand are refused, not kept.

use std::sync::Arc;

use countersign_pki::bundle::TrustBundle;
use countersign_pki::identity::BundleName;
use countersign_pki::name::{DnsName, NameKind, TypedName};
use countersign_policy::access::{
    Allow, Condition, InvalidPolicy, NamePattern, PathPattern, Route,
};
use countersign_runtime::config::ConfigError;
use http::Uri;

use crate::config::rule::{AllowEntry, ConditionConfig};
use crate::config::{ClientCertificateMode, RouteConfig};
use crate::upstream::{Address, Upstream};

/// What the listener says about clients, before its routes do.
pub(super) struct Admission<'a> {
    pub(super) mode: ClientCertificateMode,
    pub(super) trust: &'a [Arc<TrustBundle>],
}

/// Where a condition stands decides what a missing bundle means.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Allow,
    Deny,
}

pub(super) fn build_route(
    place: &str,
    number: usize,
    route: &RouteConfig,
    admission: &Admission<'_>,
) -> Result<(Route, Upstream), ConfigError> {
    let host = match &route.host {
        Some(text) => Some(DnsName::parse(text).map_err(|error| {
            ConfigError::new(format!("{place}.host"), format!("{text:?}: {error}"))
                .hint("leave host out to serve every host, IP addresses included")
        })?),
        None => None,
    };
    let path = path(&format!("{place}.path"), route.path.as_deref())?;
    if route.client_certificate.is_some() && admission.mode == ClientCertificateMode::Off {
        return Err(ConfigError::new(
            format!("{place}.client_certificate"),
            "this listener never asks for a certificate",
        )
        .hint("set the listener's client_certificate to \"request\""));
    }
    let mut allow = Vec::with_capacity(route.allow.len());
    for (index, entry) in route.allow.iter().enumerate() {
        allow.push(allowed(
            &format!("{place}.allow[{index}]"),
            entry,
            route,
            admission,
        )?);
    }
    if allow.is_empty() {
        return Err(ConfigError::new(
            format!("{place}.allow"),
            "it is empty, so that nobody would be admitted",
        )
        .hint("name whom it admits, or spell out \"any-trusted\""));
    }
    let mut deny = Vec::with_capacity(route.deny.len());
    for (index, entry) in route.deny.iter().enumerate() {
        deny.push(condition(
            &format!("{place}.deny[{index}]"),
            entry,
            Side::Deny,
            admission,
        )?);
    }
    let upstream = upstream(&format!("{place}.upstream"), &route.upstream)?;
    let built = Route {
        label: label(number, route),
        host,
        path,
        require_certificate: route.client_certificate.is_some()
            || admission.mode == ClientCertificateMode::Require,
        allow,
        deny,
    };
    Ok((built, upstream))
}

fn allowed(
    place: &str,
    entry: &AllowEntry,
    route: &RouteConfig,
    admission: &Admission<'_>,
) -> Result<Allow, ConfigError> {
    match (entry, admission.mode) {
        (AllowEntry::Anyone, ClientCertificateMode::Require) => Err(ConfigError::new(
            place,
            "\"anyone\" includes anonymous clients, and this listener requires a certificate",
        )
        .hint("write \"any-trusted\", or set client_certificate = \"request\" on the listener")),
        (AllowEntry::Anyone, _) if route.client_certificate.is_some() => Err(ConfigError::new(
            place,
            "\"anyone\" includes anonymous clients, and this route requires a certificate",
        )
        .hint("write \"any-trusted\"")),
        (AllowEntry::Anyone, _) => Ok(Allow::Anyone),
        (AllowEntry::AnyTrusted | AllowEntry::When(_), ClientCertificateMode::Off) => {
            Err(ConfigError::new(
                place,
                "it can never hold: this listener never asks for a certificate",
            )
            .hint("write \"anyone\", or set client_certificate to \"request\" or \"require\""))
        }
        (AllowEntry::AnyTrusted, _) => Ok(Allow::AnyTrusted),
        (AllowEntry::When(entry), _) => Ok(Allow::When(condition(
            place,
            entry,
            Side::Allow,
            admission,
        )?)),
    }
}

fn condition(
    place: &str,
    entry: &ConditionConfig,
    side: Side,
    admission: &Admission<'_>,
) -> Result<Condition, ConfigError> {
    let bundle = match &entry.bundle {
        Some(name) => Some(
            BundleName::parse(name)
                .map_err(|error| ConfigError::new(format!("{place}.bundle"), error.to_string()))?,
        ),
        None => None,
    };
    let names = names(place, entry)?;
    let vouching = match (&bundle, side) {
        (Some(name), _) => Some(name.clone()),
        (None, Side::Allow) => Some(BundleName::internal()),
        (None, Side::Deny) => None,
    };
    if admission.mode == ClientCertificateMode::Off && (bundle.is_some() || !names.is_empty()) {
        return Err(ConfigError::new(
            place,
            "it can never hold: this listener never asks for a certificate",
        ));
    }
    if admission.mode != ClientCertificateMode::Off
        && let Some(name) = &vouching
    {
        let Some(trusted) = admission
            .trust
            .iter()
            .find(|trusted| trusted.name() == name)
        else {
            let why = format!(
                "it can never hold: it means the trust bundle {name}, which this listener does not trust"
            );
            return Err(ConfigError::new(place, why).hint(format!(
                "add \"{name}\" to the listener's trust, or name another bundle"
            )));
        };
        check_trust_domain(place, &names, trusted)?;
    }
    let not = match &entry.not {
        // What is taken back is taken back for every bundle, as in `deny`.
        Some(entry) => Some(Box::new(condition(
            &format!("{place}.not"),
            entry,
            Side::Deny,
            admission,
        )?)),
        None => None,
    };
    let path = path(&format!("{place}.path"), entry.path.as_deref())?;
    Ok(Condition {
        bundle,
        names,
        methods: entry.method.clone(),
        path,
        not,
    })
}

fn names(place: &str, entry: &ConditionConfig) -> Result<Vec<NamePattern>, ConfigError> {
    let typed = [
        (NameKind::Spiffe, "spiffe", &entry.spiffe),
        (NameKind::Dns, "dns", &entry.dns),
        (NameKind::Ip, "ip", &entry.ip),
        (NameKind::Email, "email", &entry.email),
        (NameKind::Uri, "uri", &entry.uri),
        (NameKind::Cn, "cn", &entry.cn),
        (NameKind::Dn, "dn", &entry.dn),
        (NameKind::Spki, "spki", &entry.spki),
    ];
    let mut names = Vec::new();
    for (kind, key, text) in typed {
        if let Some(text) = text {
            let pattern = NamePattern::parse_as(kind, text);
            names.push(pattern.map_err(|invalid| of_policy(&format!("{place}.{key}"), &invalid))?);
        }
    }
    if let Some(text) = &entry.name {
        let pattern = NamePattern::parse(text);
        names.push(pattern.map_err(|invalid| of_policy(&format!("{place}.name"), &invalid))?);
    }
    Ok(names)
}

/// A SPIFFE ID is valid only under its own trust domain's bundle.
fn check_trust_domain(
    place: &str,
    names: &[NamePattern],
    bundle: &TrustBundle,
) -> Result<(), ConfigError> {
    for name in names {
        let wanted = match name {
            NamePattern::Exact(TypedName::Spiffe(id)) => id.trust_domain(),
            NamePattern::Spiffe { trust_domain, .. } => trust_domain,
            _ => continue,
        };
        let name = bundle.name();
        let why = match bundle.trust_domain() {
            Some(vouched) if vouched == wanted => continue,
            Some(vouched) => format!(
                "it can never hold: {name} vouches for the trust domain {vouched}, not for {wanted}"
            ),
            None => format!("it can never hold: {name} vouches for no trust domain"),
        };
        return Err(ConfigError::new(format!("{place}.spiffe"), why)
            .hint(format!("see trust_domain in [trust.{name}]")));
    }
    Ok(())
}

fn path(place: &str, text: Option<&str>) -> Result<Option<PathPattern>, ConfigError> {
    match text {
        Some(text) => PathPattern::parse(text)
            .map(Some)
            .map_err(|invalid| of_policy(place, &invalid)),
        None => Ok(None),
    }
}

fn upstream(place: &str, text: &str) -> Result<Upstream, ConfigError> {
    let refuse = |why: &str| {
        Err(ConfigError::new(place, format!("{text:?} {why}"))
            .hint("write \"http://HOST:PORT\", or \"demo\""))
    };
    if text == DEMO {
        return Ok(Upstream::Demo);
    }
    let Ok(uri) = text.parse::<Uri>() else {
        return refuse("is no URL");
    };
    if uri.scheme_str() != Some("http") {
        return refuse("does not begin with http://, the one protocol that is spoken to upstreams");
    }
    // `Uri` reads an absent path as "/".
    if uri.path() != "/" || uri.query().is_some() || text.contains('#') {
        return refuse("has a path: requests go upstream with the path that they came with");
    }
    let Some(authority) = uri.authority() else {
        return refuse("names no host");
    };
    if authority.as_str().contains('@') {
        return refuse("holds a user name, which is not sent");
    }
    let port = match &authority.as_str()[authority.host().len()..] {
        "" => Some(80),
        port => port
            .strip_prefix(':')
            .and_then(|port| port.parse().ok())
            .filter(|port: &u16| *port != 0),
    };
    let Some(port) = port else {
        return refuse("has a port that is no number from 1 to 65535");
    };
    let host = authority
        .host()
        .trim_start_matches('[')
        .trim_end_matches(']');
    if host.is_empty() {
        return refuse("names no host");
    }
    Ok(Upstream::Http(Arc::new(Address {
        host: host.to_owned(),
        port,
    })))
}

fn label(number: usize, route: &RouteConfig) -> String {
    let matches: Vec<&str> = route
        .host
        .iter()
        .chain(&route.path)
        .map(String::as_str)
        .collect();
    if matches.is_empty() {
        format!("route {}", number + 1)
    } else {
        format!("route {} ({})", number + 1, matches.join(" "))
    }
}

/// The policy names what it read; here the key that it was read from comes first.
fn of_policy(place: &str, invalid: &InvalidPolicy) -> ConfigError {
    ConfigError::new(place, invalid.to_string())
}

const DEMO: &str = "demo";
