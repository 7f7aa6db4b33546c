//! What stands before a listener's handshake, as it is written: fronts and limits.

use std::num::{NonZeroU32, NonZeroUsize};

use countersign_runtime::config::ConfigError;
use countersign_runtime::config::network::Network;
use countersign_tls::acceptor::PendingLimits;
use countersign_tls::edge::{Edge, HandshakeRate};
use countersign_tls::proxy_protocol::Version;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::ListenerConfig;

/// Which fronts say, by the PROXY protocol, whose connections they carry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProxyProtocolConfig {
    /// Their networks: every connection from there must begin with a header of version 1 or 2, and none from elsewhere may.
    pub from: Vec<Network>,
}

/// The versions of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ProxyProtocolVersion {
    /// Addresses and ports.
    V1,
    /// Also server name, TLS version and cipher, whether a certificate was shown and verified, and the certificate.
    V2,
}

/// How much one listener begins, and for whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// Handshakes that have begun and not ended. Default: 4096.
    pub pending_handshakes: NonZeroUsize,
    /// Those of one IPv4 address, or of one IPv6 network of 64 bits. Default: 256.
    pub pending_handshakes_per_source: NonZeroUsize,
    /// Open connections of one IPv4 address, or of one IPv6 network of 64 bits. Default: as many as there may be in all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections_per_source: Option<NonZeroUsize>,
    /// Handshakes that one network may begin in a second. Default: as many as come.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handshakes_per_second: Option<NonZeroU32>,
    /// How many bits of an IPv4 address are the network. Default: 24.
    pub network_bits_ipv4: u8,
    /// How many bits of an IPv6 address are the network. Default: 56.
    pub network_bits_ipv6: u8,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        let PendingLimits { in_all, per_source } = PendingLimits::default();
        let count = |number| NonZeroUsize::new(number).expect("the defaults admit somebody");
        Self {
            pending_handshakes: count(in_all),
            pending_handshakes_per_source: count(per_source),
            connections_per_source: None,
            handshakes_per_second: None,
            network_bits_ipv4: NETWORK_BITS_IPV4,
            network_bits_ipv6: NETWORK_BITS_IPV6,
        }
    }
}

impl LimitsConfig {
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl From<ProxyProtocolVersion> for Version {
    fn from(version: ProxyProtocolVersion) -> Self {
        match version {
            ProxyProtocolVersion::V1 => Self::V1,
            ProxyProtocolVersion::V2 => Self::V2,
        }
    }
}

pub(super) fn edge(place: &str, listener: &ListenerConfig) -> Result<Edge, ConfigError> {
    let limits = &listener.limits;
    let wrong = |key: &str, why: String| ConfigError::new(format!("{place}.limits.{key}"), why);
    for (key, bits, most) in [
        ("network_bits_ipv4", limits.network_bits_ipv4, 32),
        ("network_bits_ipv6", limits.network_bits_ipv6, 128),
    ] {
        if !(1..=most).contains(&bits) {
            let why = format!("{bits} is no number of bits from 1 to {most}");
            return Err(wrong(key, why));
        }
    }
    if limits.pending_handshakes_per_source > limits.pending_handshakes {
        let why = format!(
            "{} is more than pending_handshakes, {}: one source could have them all",
            limits.pending_handshakes_per_source, limits.pending_handshakes
        );
        let error = wrong("pending_handshakes_per_source", why);
        return Err(error.hint("lower it, or raise pending_handshakes"));
    }
    if let Some(per_source) = limits.connections_per_source
        && per_source > listener.max_connections
    {
        let why = format!(
            "{per_source} is more than max_connections, {}",
            listener.max_connections
        );
        let error = wrong("connections_per_source", why);
        return Err(error.hint("lower it, or leave it out"));
    }
    Ok(Edge {
        fronts: fronts(place, listener)?,
        pending: PendingLimits {
            in_all: limits.pending_handshakes.get(),
            per_source: limits.pending_handshakes_per_source.get(),
        },
        connections_per_source: limits.connections_per_source.map(NonZeroUsize::get),
        rate: limits
            .handshakes_per_second
            .map(|per_second| HandshakeRate {
                per_second: per_second.get(),
                bits_v4: limits.network_bits_ipv4,
                bits_v6: limits.network_bits_ipv6,
            }),
    })
}

fn fronts(place: &str, listener: &ListenerConfig) -> Result<Vec<Network>, ConfigError> {
    let Some(proxy_protocol) = &listener.proxy_protocol else {
        return Ok(Vec::new());
    };
    let place = format!("{place}.proxy_protocol.from");
    if proxy_protocol.from.is_empty() {
        return Err(
            ConfigError::new(place, "it is empty, so that no front would be believed")
                .hint("name the networks of the fronts, or leave proxy_protocol out"),
        );
    }
    for (index, network) in proxy_protocol.from.iter().enumerate() {
        if network.is_wider_than_ones_own() {
            let why = format!(
                "{network} is wider than 10.0.0.0/8: any client in it could say that it is somebody else"
            );
            return Err(ConfigError::new(format!("{place}[{index}]"), why)
                .hint("name the networks of the fronts alone"));
        }
    }
    Ok(proxy_protocol.from.clone())
}

/// What one customer is commonly given of IPv4, at most, and of IPv6 (RFC 6177 §2).
const NETWORK_BITS_IPV4: u8 = 24;
const NETWORK_BITS_IPV6: u8 = 56;
