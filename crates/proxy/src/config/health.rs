//! `health`: how upstreams are looked at while nobody asks for anything.

use std::sync::Arc;

use countersign_runtime::config::ConfigError;
use countersign_runtime::config::amount::TimeSpan;
use http::uri::PathAndQuery;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::ListenerConfig;
use crate::plan::Protocol;
use crate::upstream::{Group, HealthCheck};

/// One check each `interval` of each upstream, by the process and not by each worker. Three failures in a row and it gets nothing while
/// others pass; two passes and it is back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HealthConfig {
    /// What is asked for by GET, of HTTP; an answer of 200 to 399 passes. Default, and of bytes the only way: a connection, with TLS as
    /// configured, is made and closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// From one check to the next, a tenth more or less. Default: "10s".
    #[serde(default = "default_interval")]
    pub interval: TimeSpan,
    /// How long a check may take, the connection included. Default: "3s".
    #[serde(default = "default_timeout")]
    pub timeout: TimeSpan,
}

/// The group with its checks.
pub(super) fn checked(
    place: &str,
    protocol: Protocol,
    group: Arc<Group>,
    written: Option<&HealthConfig>,
) -> Result<Arc<Group>, ConfigError> {
    let Some(written) = written else {
        return Ok(group);
    };
    let wrong = |key: &str, why: &str, hint: &str| {
        Err(ConfigError::new(format!("{place}.health{key}"), why).hint(hint))
    };
    if group.first().address().is_none() {
        return wrong(
            "",
            "the built-in page is always there",
            "leave health out, or name a server as upstream",
        );
    }
    let path = match (&written.path, protocol) {
        (None, _) => None,
        (Some(_), Protocol::Bytes | Protocol::Postgresql) => {
            return wrong(
                ".path",
                "this upstream is not asked in HTTP",
                "leave path out: a connection is made and closed",
            );
        }
        (Some(path), Protocol::Http) => match PathAndQuery::try_from(path.as_str()) {
            Ok(parsed) if path.starts_with('/') => Some(parsed),
            _ => {
                return wrong(
                    ".path",
                    &format!("{path:?} is no path that can be asked for"),
                    "begin it with a slash, as in path = \"/healthz\"",
                );
            }
        },
    };
    let (interval, timeout) = (written.interval.duration(), written.timeout.duration());
    if interval < HealthCheck::SHORTEST_INTERVAL {
        let why = "upstreams have other things to do than to be asked more than once a second";
        return wrong(".interval", why, "write 1s or more");
    }
    if timeout.is_zero() || timeout > interval {
        let why = "a check has to be over before the next one begins, and takes some time";
        return wrong(".timeout", why, "write a time of up to the interval");
    }
    Ok(group.checked_by(HealthCheck {
        path,
        interval,
        timeout,
    }))
}

/// The group of a listener with its checks.
pub(super) fn checked_by_listener(
    place: &str,
    protocol: Protocol,
    group: Arc<Group>,
    listener: &ListenerConfig,
) -> Result<Arc<Group>, ConfigError> {
    if listener.health.is_some() && listener.upstream_proxy_protocol.is_some() {
        let why = "a check is nobody's connection, and this upstream wants to be told whose it is";
        return Err(ConfigError::new(format!("{place}.health"), why)
            .hint("leave health out, or upstream_proxy_protocol"));
    }
    checked(place, protocol, group, listener.health.as_ref())
}

fn default_interval() -> TimeSpan {
    TimeSpan::from_seconds(10)
}

fn default_timeout() -> TimeSpan {
    TimeSpan::from_seconds(3)
}
