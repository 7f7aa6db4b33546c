//! `[[gateway.egress]]`: the way out, from programs of this host that speak no TLS.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use countersign_pki::identity::BundleName;
use countersign_policy::access::{AccessPolicy, Allow, Route};
use countersign_runtime::config::ConfigError;
use countersign_runtime::config::address::LocalAddress;
use countersign_runtime::config::amount::TimeSpan;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::build::{HEADER_TIMEOUT, IDLE_TIMEOUT, TUNNEL_IDLE_TIMEOUT};
use crate::config::{HttpProtocol, UpstreamTlsConfig, upstream};
use crate::plan::{Direction, EgressAddress, EgressPlan, ListenerPlan, Protocol, Serving};
use crate::upstream::Group;

/// A plaintext address or Unix socket of this host, behind which is one server over TLS. Whoever can connect to it speaks there as this
/// host.
/// Servers are trusted for 24 hours after the authority's feed was last confirmed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EgressConfig {
    /// How logs and metrics call it: 1 to 63 lower-case letters, digits and hyphens. Default: "egress-1" for the first, and so on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// A loopback address and a port, or `unix:/PATH` for a socket, which only those reach whom its file's mode admits.
    pub address: LocalAddress,
    /// The mode of that file, as of chmod: "0600" for programs of the gateway's own user, "0660" for its group too. Default: "0600".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub socket_mode: Option<String>,
    /// The server: "https://host:port" for HTTP, whose requests get this host, or `tls://host:port` for bytes.
    pub upstream: String,
    /// Whom it has to be, and what it is shown. Default: whoever the internal bundle vouches for under the host's name, and nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream_tls: Option<UpstreamTlsConfig>,
    /// Which HTTP the server is spoken to in: "http/1.1", "h2", or "auto", which asks it in the TLS handshake. Default: "auto".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream_protocol: Option<HttpProtocol>,
    /// A connection without a request for so long is closed; of bytes, one without a byte. Default: "75s", of bytes "1h".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_timeout: Option<TimeSpan>,
}

impl EgressConfig {
    /// How long servers are trusted on when the feed is confirmed no more: as long as clients are where nothing else is said.
    pub const FEED_LIFE: Duration = Duration::from_hours(24);

    pub(super) fn build(
        &self,
        index: usize,
        context: &upstream::Context<'_>,
    ) -> Result<EgressPlan, ConfigError> {
        let place = format!("gateway.egress[{index}]");
        let name = self
            .name
            .clone()
            .unwrap_or_else(|| format!("egress-{}", index + 1));
        if BundleName::parse(&name).is_err() {
            let why = format!("{name:?} cannot name an egress");
            return Err(ConfigError::new(format!("{place}.name"), why)
                .hint("use 1 to 63 lower-case letters, digits and hyphens"));
        }
        let address = self.place_of_its_own(&place)?;
        if self
            .idle_timeout
            .is_some_and(|span| span.duration().is_zero())
        {
            let place = format!("{place}.idle_timeout");
            return Err(ConfigError::new(place, "no client is that fast"));
        }
        let written = upstream::Written {
            place: &place,
            index: None,
            text: &self.upstream,
            tls: self.upstream_tls.as_ref(),
            protocol: self.upstream_protocol,
            upgrades: None,
        };
        let (upstream, host, protocol) = upstream::of_egress(&written, context)?;
        let route = Route {
            label: name.clone(),
            host: None,
            path: None,
            connect: Vec::new(),
            require_certificate: false,
            allow: vec![Allow::Anyone],
            deny: Vec::new(),
        };
        let policy = AccessPolicy::new(vec![route])
            .map_err(|invalid| ConfigError::new(&place, invalid.to_string()))?;
        let idle_timeout = self.idle_timeout.map(TimeSpan::duration);
        Ok(EgressPlan {
            name,
            address,
            protocol,
            serving: Arc::new(Serving {
                policy: Arc::new(policy),
                former: None,
                shadow: None,
                verification: Arc::default(),
                upstreams: vec![Group::of_one(upstream)],
                direction: Direction::Egress {
                    host,
                    for_browsers: self.address.tcp().is_some(),
                },
                upstream_proxy_protocol: None,
                identity_headers: Vec::new(),
                header_timeout: HEADER_TIMEOUT,
                idle_timeout: idle_timeout.unwrap_or(IDLE_TIMEOUT),
                tunnel_idle_timeout: match protocol {
                    Protocol::Http => TUNNEL_IDLE_TIMEOUT,
                    Protocol::Bytes | Protocol::Postgresql => {
                        idle_timeout.unwrap_or(TUNNEL_IDLE_TIMEOUT)
                    }
                },
            }),
        })
    }

    fn place_of_its_own(&self, place: &str) -> Result<EgressAddress, ConfigError> {
        match (&self.address, &self.socket_mode) {
            (LocalAddress::Tcp(address), _) if !address.ip().is_loopback() => {
                let why = format!(
                    "{address} is no loopback address: other hosts could speak there as this one"
                );
                Err(ConfigError::new(format!("{place}.address"), why)
                    .hint("use 127.0.0.1 or [::1]; other hosts come through [[gateway.listener]]"))
            }
            (LocalAddress::Tcp(_), Some(_)) => {
                let why = "an address of TCP has no file that could have a mode";
                Err(ConfigError::new(format!("{place}.socket_mode"), why)
                    .hint("leave it out, or write address = \"unix:/PATH\""))
            }
            (LocalAddress::Tcp(address), None) => Ok(EgressAddress::Tcp(*address)),
            (LocalAddress::Unix(path), mode) => {
                let mode = mode.as_deref().map_or(Some(OWNER_ONLY), file_mode);
                let mode = mode.ok_or_else(|| {
                    let why = format!("{:?} is no mode of a socket", self.socket_mode);
                    ConfigError::new(format!("{place}.socket_mode"), why)
                        .hint("use \"0600\", \"0660\" or \"0666\"")
                })?;
                Ok(EgressAddress::Unix {
                    path: path.clone(),
                    mode,
                })
            }
        }
    }
}

/// Each under a name and an address of its own; `addresses` are those of the listeners.
pub(super) fn build_all(
    configs: &[EgressConfig],
    context: &upstream::Context<'_>,
    listeners: &[ListenerPlan],
    addresses: &mut HashMap<SocketAddr, usize>,
) -> Result<Vec<EgressPlan>, ConfigError> {
    let mut built: Vec<EgressPlan> = Vec::with_capacity(configs.len());
    for (index, config) in configs.iter().enumerate() {
        let plan = config.build(index, context)?;
        let place = format!("gateway.egress[{index}]");
        let is_taken = listeners.iter().any(|it| it.name == plan.name)
            || built.iter().any(|it| it.name == plan.name);
        if is_taken {
            let why = format!("{} is the name of another one too", plan.name);
            return Err(ConfigError::new(format!("{place}.name"), why));
        }
        let is_shared = match &plan.address {
            // Port 0 is another port each time.
            EgressAddress::Tcp(address) => {
                address.port() != 0 && addresses.insert(*address, usize::MAX - index).is_some()
            }
            EgressAddress::Unix { path, .. } => built.iter().any(|it| {
                matches!(&it.address, EgressAddress::Unix { path: other, .. } if other == path)
            }),
        };
        if is_shared {
            let why = format!("{} is the address of another one too", config.address);
            return Err(ConfigError::new(format!("{place}.address"), why));
        }
        built.push(plan);
    }
    Ok(built)
}

/// Reading and writing alone, which connecting takes both of (unix(7)), and never by others without the owner.
fn file_mode(text: &str) -> Option<u32> {
    match text {
        "0600" => Some(OWNER_ONLY),
        "0660" => Some(0o660),
        "0666" => Some(0o666),
        _ => None,
    }
}

const OWNER_ONLY: u32 = 0o600;
