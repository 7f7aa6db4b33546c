//! One route: rules that could never hold where they stand are refused, not kept.

use std::sync::Arc;

use countersign_pki::bundle::TrustBundle;
use countersign_pki::identity::BundleName;
use countersign_pki::name::{DnsName, NameKind, TypedName};
use countersign_policy::access::{
    Allow, Condition, InvalidPolicy, LoginPattern, NamePattern, PathPattern, Route,
};
use countersign_runtime::config::ConfigError;

use crate::config::rule::{AllowEntry, ConditionConfig};
use crate::config::{ClientCertificateMode, ListenerConfig, RouteConfig, upstream};
use crate::upstream::Upstream;

/// What the listener says about clients, before its routes do.
pub(super) struct Admission<'a> {
    pub(super) mode: ClientCertificateMode,
    pub(super) trust: &'a [Arc<TrustBundle>],
    /// Whether the route requires a certificate where the listener does not.
    pub(super) requires_certificate: bool,
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
    upstreams: &upstream::Context<'_>,
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
    let written = upstream::Written {
        place,
        text: &route.upstream,
        tls: route.upstream_tls.as_ref(),
    };
    let upstream = upstream::of_requests(&written, upstreams)?;
    let built = Route {
        label: label(number, route),
        host,
        path,
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
    refuse_of_requests(place, &route, "bytes, which have neither")?;
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
    refuse_of_requests(place, &route, "logins, which have neither")?;
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
        require_certificate: admission.mode == ClientCertificateMode::Require,
        allow,
        deny,
    })
}

fn refuse_of_requests(place: &str, route: &Route, taken: &str) -> Result<(), ConfigError> {
    match first(place, route, Condition::looks_at_requests) {
        Some(place) => Err(ConfigError::new(
            place,
            format!("it looks at method or path, and this listener takes {taken}"),
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
    let allow = allow
        .iter()
        .enumerate()
        .map(|(index, entry)| allowed(&format!("{place}.allow[{index}]"), entry, admission));
    let deny = deny.iter().enumerate().map(|(index, entry)| {
        condition(
            &format!("{place}.deny[{index}]"),
            entry,
            Side::Deny,
            admission,
        )
    });
    Ok((
        allow.collect::<Result<_, _>>()?,
        deny.collect::<Result<_, _>>()?,
    ))
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
        users: logins(&format!("{place}.user"), &entry.user)?,
        databases: logins(&format!("{place}.database"), &entry.database)?,
        not,
    })
}

fn logins(place: &str, written: &[String]) -> Result<Vec<LoginPattern>, ConfigError> {
    let patterns = written.iter().enumerate().map(|(index, text)| {
        LoginPattern::parse(text)
            .map_err(|invalid| of_policy(&format!("{place}[{index}]"), &invalid))
    });
    patterns.collect()
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
