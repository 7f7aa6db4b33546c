//! One route: rules that could never hold where they stand are refused, not kept.

use std::sync::Arc;

use countersign_pki::bundle::TrustBundle;
use countersign_pki::name::DnsName;
use countersign_policy::access::{Allow, Condition, Route};
use countersign_runtime::config::ConfigError;

use crate::config::condition::{condition, path};
use crate::config::health::checked;
use crate::config::rule::{AllowEntry, ConditionConfig};
use crate::config::tunnel::targets;
use crate::config::{ClientCertificateMode, ListenerConfig, RouteConfig, ShadowConfig, upstream};
use crate::plan::Protocol;
use crate::upstream::Group;

/// What the listener says about clients, before its routes do.
pub(super) struct Admission<'a> {
    pub(super) mode: ClientCertificateMode,
    pub(super) trust: &'a [Arc<TrustBundle>],
    /// Whether the route requires a certificate where the listener does not.
    pub(super) requires_certificate: bool,
}

/// Where a condition stands decides what a missing bundle means.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Allow,
    Deny,
}

pub(super) fn build_route(
    place: &str,
    number: usize,
    route: &RouteConfig,
    admission: &Admission<'_>,
    upstreams: &upstream::Context<'_>,
) -> Result<(Route, Arc<Group>), ConfigError> {
    let connect = targets(place, route)?;
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
    let trust = match &route.trust {
        Some(names) => narrowed(&format!("{place}.trust"), names, admission)?,
        None => admission.trust.to_vec(),
    };
    let listener = admission;
    let admission = &Admission {
        requires_certificate: route.client_certificate.is_some(),
        trust: &trust,
        ..*listener
    };
    let (allow, mut deny) = rules(place, &route.allow, &route.deny, admission)?;
    // Whatever stands in `allow`, and however the connection came about.
    deny.extend(left_out(listener.trust, &trust));
    let upstream = upstream::group(place, &route.upstream, route.balance, |index, text| {
        let written = upstream::Written {
            place,
            index,
            text,
            tls: route.upstream_tls.as_ref(),
            protocol: route.upstream_protocol,
            upgrades: route.upgrades.as_deref(),
        };
        if connect.is_empty() {
            upstream::of_requests(&written, upstreams)
        } else {
            upstream::of_listener(&written, Protocol::Bytes, upstreams)
        }
    })?;
    let spoken = if connect.is_empty() {
        Protocol::Http
    } else {
        Protocol::Bytes
    };
    let upstream = checked(place, spoken, upstream, route.health.as_ref())?;
    let built = Route {
        label: label(number, route),
        host,
        path,
        connect,
        require_certificate: route.client_certificate.is_some()
            || admission.mode == ClientCertificateMode::Require,
        allow,
        deny,
    };
    refuse_of_logins(place, &built)?;
    Ok((built, upstream))
}

/// Some of the listener's bundles.
fn narrowed(
    place: &str,
    names: &[String],
    admission: &Admission<'_>,
) -> Result<Vec<Arc<TrustBundle>>, ConfigError> {
    if admission.mode == ClientCertificateMode::Off {
        return Err(ConfigError::new(
            place,
            "this listener never asks for a certificate",
        )
        .hint("leave it out, or set the listener's client_certificate to \"request\" or \"require\""));
    }
    let mut trust: Vec<Arc<TrustBundle>> = Vec::with_capacity(names.len());
    for (number, name) in names.iter().enumerate() {
        let place = format!("{place}[{number}]");
        let of_listener = |bundle: &&Arc<TrustBundle>| bundle.name().as_str() == name;
        let Some(bundle) = admission.trust.iter().find(of_listener) else {
            return Err(ConfigError::new(
                place,
                format!("this listener does not trust {name:?}: a route can leave bundles out, and add none"),
            )
            .hint("add it to the listener's trust, and narrow the other routes"));
        };
        if trust.iter().any(|other| other.name() == bundle.name()) {
            return Err(
                ConfigError::new(place, format!("{name} stands there twice"))
                    .hint("leave one of them out"),
            );
        }
        trust.push(Arc::clone(bundle));
    }
    if trust.is_empty() {
        return Err(ConfigError::new(
            place,
            "it is empty, so that no certificate would be accepted",
        )
        .hint("name one of the listener's bundles, or leave it out"));
    }
    Ok(trust)
}

/// What refuses the certificates of those that are in `all` and not in `kept`.
fn left_out(
    all: &[Arc<TrustBundle>],
    kept: &[Arc<TrustBundle>],
) -> impl Iterator<Item = Condition> {
    let is_kept = |bundle: &&Arc<TrustBundle>| kept.iter().all(|it| it.name() != bundle.name());
    all.iter().filter(is_kept).map(|bundle| Condition {
        bundle: Some(bundle.name().clone()),
        ..Condition::default()
    })
}

/// The one route of a listener of bytes.
pub(super) fn bytes_route(
    place: &str,
    name: &str,
    listener: &ListenerConfig,
    admission: &Admission<'_>,
) -> Result<Route, ConfigError> {
    let route = listener_route(place, name, listener, admission)?;
    refuse_of_logins(place, &route)?;
    refuse_of_requests(place, &route, "bytes, which have none of it")?;
    Ok(route)
}

/// The one route of a listener of logins to PostgreSQL.
pub(super) fn login_route(
    place: &str,
    name: &str,
    listener: &ListenerConfig,
    admission: &Admission<'_>,
) -> Result<Route, ConfigError> {
    let route = listener_route(place, name, listener, admission)?;
    refuse_of_requests(place, &route, "logins, which have none of it")?;
    for (index, entry) in route.allow.iter().enumerate() {
        if !matches!(entry, Allow::When(condition) if !condition.users.is_empty()) {
            return Err(ConfigError::new(
                format!("{place}.allow[{index}]"),
                "it names no database user: whom it admits could log in as anybody",
            )
            .hint("write { …, user = [\"app\"] }, or user = [\"*\"] for every user"));
        }
    }
    Ok(route)
}

fn listener_route(
    place: &str,
    name: &str,
    listener: &ListenerConfig,
    admission: &Admission<'_>,
) -> Result<Route, ConfigError> {
    let (allow, deny) = rules(place, &listener.allow, &listener.deny, admission)?;
    Ok(Route {
        label: format!("listener {name}"),
        host: None,
        path: None,
        connect: Vec::new(),
        require_certificate: admission.mode == ClientCertificateMode::Require,
        allow,
        deny,
    })
}

fn refuse_of_requests(place: &str, route: &Route, taken: &str) -> Result<(), ConfigError> {
    match first(place, route, Condition::looks_at_requests) {
        Some(place) => Err(ConfigError::new(
            place,
            format!("it looks at what only a request of HTTP has (host, method, path, header, grpc, token, api_key), and this listener takes {taken}"),
        )
        .hint("leave them out, or serve HTTP with [[gateway.listener.route]]")),
        None => Ok(()),
    }
}

fn refuse_of_logins(place: &str, route: &Route) -> Result<(), ConfigError> {
    match first(place, route, Condition::looks_at_logins) {
        Some(place) => Err(ConfigError::new(
            place,
            "it looks at a database user or a database, and only logins to PostgreSQL have those",
        )
        .hint("leave them out, or give a listener protocol = \"postgresql\" and an upstream")),
        None => Ok(()),
    }
}

/// The key of the first rule for which `is_wrong` holds.
fn first(place: &str, route: &Route, is_wrong: fn(&Condition) -> bool) -> Option<String> {
    let allow = route
        .allow
        .iter()
        .position(|entry| matches!(entry, Allow::When(condition) if is_wrong(condition)));
    let deny = || route.deny.iter().position(is_wrong);
    allow
        .map(|index| format!("{place}.allow[{index}]"))
        .or_else(|| deny().map(|index| format!("{place}.deny[{index}]")))
}

/// `live` with the rules of its shadow.
pub(super) fn shadow_route(
    place: &str,
    live: &Route,
    shadow: &ShadowConfig,
    admission: &Admission<'_>,
    protocol: Protocol,
) -> Result<Route, ConfigError> {
    let place = format!("{place}.shadow");
    if shadow.allow.is_empty() && shadow.deny.is_none() {
        return Err(ConfigError::new(place, "it says nothing")
            .hint("give it allow or deny; what it leaves out is as in the rules beside it"));
    }
    let mut route = live.clone();
    if !shadow.allow.is_empty() {
        route.allow = allow_rules(&place, &shadow.allow, admission)?;
    }
    if let Some(deny) = &shadow.deny {
        route.deny = deny_rules(&place, deny, admission)?;
        // What `trust` leaves out is left out of both.
        let of_trust = |it: &&Condition| {
            let bundle = it.bundle.clone();
            bundle.is_some()
                && **it
                    == Condition {
                        bundle,
                        ..Condition::default()
                    }
        };
        route
            .deny
            .extend(live.deny.iter().filter(of_trust).cloned());
    }
    match protocol {
        Protocol::Http => refuse_of_logins(&place, &route)?,
        Protocol::Bytes => {
            refuse_of_logins(&place, &route)?;
            refuse_of_requests(&place, &route, "bytes, which have none of it")?;
        }
        Protocol::Postgresql => {
            refuse_of_requests(&place, &route, "logins, which have none of it")?;
        }
    }
    Ok(route)
}

fn rules(
    place: &str,
    allow: &[AllowEntry],
    deny: &[ConditionConfig],
    admission: &Admission<'_>,
) -> Result<(Vec<Allow>, Vec<Condition>), ConfigError> {
    if allow.is_empty() {
        return Err(ConfigError::new(
            format!("{place}.allow"),
            "it is empty, so that nobody would be admitted",
        )
        .hint("name whom it admits, or spell out \"any-trusted\""));
    }
    Ok((
        allow_rules(place, allow, admission)?,
        deny_rules(place, deny, admission)?,
    ))
}

fn allow_rules(
    place: &str,
    allow: &[AllowEntry],
    admission: &Admission<'_>,
) -> Result<Vec<Allow>, ConfigError> {
    let entries = allow.iter().enumerate();
    entries
        .map(|(index, entry)| allowed(&format!("{place}.allow[{index}]"), entry, admission))
        .collect()
}

fn deny_rules(
    place: &str,
    deny: &[ConditionConfig],
    admission: &Admission<'_>,
) -> Result<Vec<Condition>, ConfigError> {
    let entries = deny.iter().enumerate();
    entries
        .map(|(index, entry)| {
            let place = format!("{place}.deny[{index}]");
            condition(&place, entry, Side::Deny, admission)
        })
        .collect()
}

fn allowed(
    place: &str,
    entry: &AllowEntry,
    admission: &Admission<'_>,
) -> Result<Allow, ConfigError> {
    match (entry, admission.mode) {
        (AllowEntry::Anyone, ClientCertificateMode::Require) => Err(ConfigError::new(
            place,
            "\"anyone\" includes anonymous clients, and this listener requires a certificate",
        )
        .hint("write \"any-trusted\", or set client_certificate = \"request\" on the listener")),
        (AllowEntry::Anyone, _) if admission.requires_certificate => Err(ConfigError::new(
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

fn label(number: usize, route: &RouteConfig) -> String {
    let connect = (!route.connect.is_empty()).then_some("CONNECT");
    let written = route.host.iter().chain(&route.path).chain(&route.connect);
    let matches: Vec<&str> = (connect.into_iter())
        .chain(written.map(String::as_str))
        .collect();
    if matches.is_empty() {
        format!("route {}", number + 1)
    } else {
        format!("route {} ({})", number + 1, matches.join(" "))
    }
}
