//! What an operator writes about an authority: `[authority]`.
//!
//! Raw text becomes these types (unknown keys are refused). A key is here only if its effect is built.

pub mod profile;
pub mod public;
mod reference;
pub mod retention;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use countersign_pki::name::{NameKind, TypedName};
use countersign_policy::issuance::Profiles;
use countersign_runtime::config::ConfigError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::retention::RetentionRule;

pub use self::profile::ProfileConfig;
pub use self::public::PublicConfig;
pub use self::reference::default_toml;
pub use self::retention::RetentionConfig;

/// The authority: what it issues, and to whom it speaks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AuthorityConfig {
    /// Where nodes in other processes hear what to trust and what is revoked. Left out: nowhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub feed: Option<FeedPortConfig>,
    /// Nodes in other processes by name, and what they may have beside their own certificate.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub node: BTreeMap<String, NodeConfig>,
    /// Kinds of certificates by name, beside the built-in ones; a table under the name of a built-in one narrows that.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub profile: BTreeMap<String, ProfileConfig>,
    /// Where everybody may ask about revocation; left out: nowhere, and certificates carry no URL to ask at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public: Option<PublicConfig>,
    /// What leaves the inventory long after its end. Left out: nothing does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention: Option<RetentionConfig>,
}

/// A node, by the NAME of `countersign issue node NAME`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NodeConfig {
    /// DNS names and IP addresses of its listeners: the node asks for certificates with these names and gets no others.
    pub names: Vec<String>,
}

/// The port of the feed: mutual TLS with `node` certificates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FeedPortConfig {
    /// IP address and port.
    pub address: SocketAddr,
    /// DNS names and IP addresses by which nodes reach it, beside this host's own: they go into the certificate that the
    /// authority issues to this port. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
}

impl FeedPortConfig {
    /// The names, typed.
    pub fn typed_names(&self) -> Result<Vec<TypedName>, ConfigError> {
        let hint = "write it as it stands in the nodes' gateway.feed.url";
        hosts("authority.feed.names", &self.names).map_err(|error| ConfigError {
            hint: Some(hint.to_owned()),
            ..error
        })
    }
}

/// Addresses are written like DNS names.
fn hosts(place: &str, texts: &[String]) -> Result<Vec<TypedName>, ConfigError> {
    let typed = |(index, text): (usize, &String)| {
        TypedName::parse_as(NameKind::Ip, text)
            .or_else(|_| TypedName::parse_as(NameKind::Dns, text))
            .map_err(|_| {
                let place = format!("{place}[{index}]");
                ConfigError::new(
                    place,
                    format!("{text:?} is neither a DNS name nor an IP address"),
                )
            })
    };
    texts.iter().enumerate().map(typed).collect()
}

impl AuthorityConfig {
    /// What leaves the inventory, or the key of the rule that cannot be.
    pub fn retention(&self) -> Result<Option<RetentionRule>, ConfigError> {
        self.retention
            .as_ref()
            .map(RetentionConfig::rule)
            .transpose()
    }

    /// Every kind of certificate that there will be, or the first key that cannot be.
    pub fn profiles(&self) -> Result<Profiles, ConfigError> {
        let mut profiles = Profiles::built_in();
        if self.profile.len() > MAX_PROFILES {
            let why = format!(
                "there are {} profiles, at most {MAX_PROFILES} are possible",
                self.profile.len()
            );
            return Err(ConfigError::new("authority.profile", why));
        }
        for (name, profile) in &self.profile {
            profile.configure(name, &mut profiles)?;
        }
        if self.node.len() > MAX_NODES {
            let why = format!(
                "there are {} nodes, at most {MAX_NODES} are possible",
                self.node.len()
            );
            return Err(ConfigError::new("authority.node", why));
        }
        for (name, node) in &self.node {
            let place = format!("authority.node.{name}");
            let typed = TypedName::parse_as(NameKind::Cn, name).map_err(|error| {
                ConfigError::new(&place, error.to_string())
                    .hint("a node is called as in `countersign issue node NAME`")
            })?;
            profiles.bind(typed, hosts(&format!("{place}.names"), &node.names)?);
        }
        Ok(profiles)
    }
}

/// Ten times what an authority is designed for.
const MAX_NODES: usize = 100_000;

/// More than anybody tells apart; each is named in an error about one that is not there.
const MAX_PROFILES: usize = 100;
