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
use countersign_policy::administration::{Role, Roles};
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
    /// Where operators on other machines reach the admin API. Left out: nowhere, and the socket alone serves it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin: Option<AdminPortConfig>,
    /// Where nodes in other processes hear what to trust and what is revoked. Left out: nowhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub feed: Option<FeedPortConfig>,
    /// Nodes in other processes by name, and what they may have beside their own certificate.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub node: BTreeMap<String, NodeConfig>,
    /// Operators by name, and what they may do. Who is not here may do nothing, whatever certificate it has.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub operator: BTreeMap<String, OperatorConfig>,
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

/// The port of the admin API: mutual TLS with `operator` certificates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AdminPortConfig {
    /// IP address and port.
    pub address: SocketAddr,
    /// DNS names and IP addresses by which operators reach it, beside this host's own: they go into the certificate that the
    /// authority issues to this port, and the first one into the folder of each operator. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
}

/// An operator, by the NAME of `countersign issue operator NAME`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OperatorConfig {
    /// "viewer" looks; "issuer" also issues and renews certificates of ordinary profiles; "operator" also revokes, holds,
    /// releases, labels and imports; "admin" does everything, as root on the socket does.
    pub role: RoleConfig,
}

/// What an operator may do; each role may what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RoleConfig {
    /// Looks.
    Viewer,
    /// Has certificates issued and renewed, but for those of reserved profiles.
    Issuer,
    /// Revokes, holds and releases, labels and imports.
    Operator,
    /// Everything.
    Admin,
}

impl From<RoleConfig> for Role {
    fn from(role: RoleConfig) -> Self {
        match role {
            RoleConfig::Viewer => Self::Viewer,
            RoleConfig::Issuer => Self::Issuer,
            RoleConfig::Operator => Self::Operator,
            RoleConfig::Admin => Self::Admin,
        }
    }
}

impl FeedPortConfig {
    /// The names, typed.
    pub fn typed_names(&self) -> Result<Vec<TypedName>, ConfigError> {
        let hint = "write it as it stands in the nodes' gateway.feed.url";
        hosts("authority.feed.names", &self.names).map_err(|error| error.hint(hint))
    }
}

impl AdminPortConfig {
    /// The names, typed.
    pub fn typed_names(&self) -> Result<Vec<TypedName>, ConfigError> {
        let hint = "write it as operators have it in their --authority";
        hosts("authority.admin.names", &self.names).map_err(|error| error.hint(hint))
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
            if let Some(public) = &self.public {
                profile.refuse_other_lists_at(&public.publication_url()?, name)?;
            }
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

    /// Who may do what on the admin API's port, or the first name that nobody can have.
    pub fn roles(&self) -> Result<Roles, ConfigError> {
        let mut roles = Roles::default();
        if self.operator.len() > MAX_OPERATORS {
            let why = format!(
                "there are {} operators, at most {MAX_OPERATORS} are possible",
                self.operator.len()
            );
            return Err(ConfigError::new("authority.operator", why));
        }
        for (name, operator) in &self.operator {
            let typed = TypedName::parse_as(NameKind::Cn, name).map_err(|error| {
                ConfigError::new(format!("authority.operator.{name}"), error.to_string())
                    .hint("an operator is called as in `countersign issue operator NAME`")
            })?;
            roles.bind(typed, operator.role.into());
        }
        Ok(roles)
    }
}

/// Ten times what an authority is designed for.
const MAX_NODES: usize = 100_000;

/// People and programs that administer one authority.
const MAX_OPERATORS: usize = 10_000;

/// More than anybody tells apart; each is named in an error about one that is not there.
const MAX_PROFILES: usize = 100;
