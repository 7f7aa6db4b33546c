//! Routes that take CONNECT: what may be asked for there, and what no tunnel may lead to.

use countersign_policy::access::ConnectTarget;
use countersign_runtime::config::ConfigError;

use crate::config::{ListenerConfig, RouteConfig};
use crate::plan::ListenerPlan;
use crate::upstream::{Address, Upstream};

/// What a CONNECT may ask for there; none: the route is one of requests.
pub(super) fn targets(place: &str, route: &RouteConfig) -> Result<Vec<ConnectTarget>, ConfigError> {
    let mut targets = Vec::with_capacity(route.connect.len());
    for (index, text) in route.connect.iter().enumerate() {
        let target = ConnectTarget::parse(text).map_err(|invalid| {
            ConfigError::new(format!("{place}.connect[{index}]"), invalid.to_string())
                .hint("write \"host:port\", as clients ask for it, such as \"db.internal:5432\"")
        })?;
        targets.push(target);
    }
    if targets.is_empty() {
        return Ok(targets);
    }
    for (key, is_given, why) in [
        ("host", route.host.is_some(), "connect names the host"),
        ("path", route.path.is_some(), "a CONNECT has no path"),
        (
            "upstream_protocol",
            route.upstream_protocol.is_some(),
            "bytes in a tunnel are in no HTTP that is known here",
        ),
        (
            "upgrades",
            route.upgrades.is_some(),
            "bytes in a tunnel are in no HTTP that is known here",
        ),
    ] {
        if is_given {
            return Err(ConfigError::new(format!("{place}.{key}"), why)
                .hint("leave it out; requests want a route of their own, without connect"));
        }
    }
    Ok(targets)
}

/// Refuses checks of an upstream that wants to hear whose connection each is.
pub(super) fn refuse_checks(place: &str, listener: &ListenerConfig) -> Result<(), ConfigError> {
    let is_checked = |it: &RouteConfig| !it.connect.is_empty() && it.health.is_some();
    let checked = listener.route.iter().position(is_checked);
    match (listener.upstream_proxy_protocol, checked) {
        (Some(_), Some(route)) => {
            let why =
                "a check is nobody's connection, and this upstream wants to be told whose it is";
            Err(
                ConfigError::new(format!("{place}.route[{route}].health"), why)
                    .hint("leave health out, or the listener's upstream_proxy_protocol"),
            )
        }
        _ => Ok(()),
    }
}

/// Refuses tunnels to where requests go: in a tunnel a client says what it likes, the headers by which an upstream knows who it is included.
pub(super) fn refuse_to_servers_of_requests(listeners: &[ListenerPlan]) -> Result<(), ConfigError> {
    let members = |of_tunnels: bool| {
        listeners.iter().enumerate().flat_map(move |(index, plan)| {
            let routes = plan.serving.policy.routes().iter();
            let routes = routes.zip(&plan.serving.upstreams).enumerate();
            let wanted = routes.filter(move |(_, (route, _))| route.is_of_tunnels() == of_tunnels);
            wanted.flat_map(move |(number, (_, group))| {
                let members = group.members().iter();
                members.map(move |it| (format!("gateway.listener[{index}].route[{number}]"), it))
            })
        })
    };
    for (place, upstream) in members(true) {
        let address = upstream.address();
        let mut of_requests = members(false).filter_map(|(place, upstream)| match upstream {
            Upstream::Http(origin) => Some((place, &origin.address)),
            Upstream::Bytes(_) | Upstream::Demo => None,
        });
        let same = |other: &Address| address.is_some_and(|it| it.is_the_place_of(other));
        if let Some((other, _)) = of_requests.find(|(_, other)| same(other)) {
            let why = format!(
                "{other} sends requests there: through a tunnel a client could send its own, with headers that say it is somebody else"
            );
            return Err(ConfigError::new(format!("{place}.upstream"), why)
                .hint("let tunnels lead to what takes no requests from this gateway"));
        }
    }
    Ok(())
}
