//! `[authority.profile.NAME]`: what a certificate of a kind may look like.

use countersign_runtime::config::amount::TimeSpan;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A kind of certificate: a built-in one, narrowed. What is left out is as the built-in one has it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ProfileConfig {
    /// The built-in profile that this one narrows: "server", "client", "peer", "workload", "device" or "person". Needed for a
    /// new name; left out where the name is that of a built-in one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub like: Option<BuiltInProfile>,
    /// The keys that are certified. Default: all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keys: Option<Vec<KeyTypeConfig>>,
    /// The life of a certificate when the request does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_lifetime: Option<TimeSpan>,
    /// The longest life that can be asked for. Default: "825d".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_lifetime: Option<TimeSpan>,
    /// DNS names must be one of these or end in one of them, at a dot; an empty list means none. Default: any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns_suffix: Option<Vec<String>>,
    /// Whether DNS names may be wildcards, "*.example.com". Default: as the built-in one; clients and devices have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wildcard: Option<bool>,
    /// IP addresses must be in one of these; an empty list means none. Default: any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip_range: Option<Vec<String>>,
    /// Paths of SPIFFE IDs under the authority's trust domain: "*" stands for one segment, "**" at the end for any number of
    /// them; an empty list means none. Default: any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spiffe_path: Option<Vec<String>>,
    /// What stands behind the @ of an e-mail address; an empty list means no addresses. Default: any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email_domain: Option<Vec<String>>,
    /// URIs must begin with one of these, each of which ends in "/", ":", "?", "#" or "="; an empty list means none.
    /// Default: any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uri_prefix: Option<Vec<String>>,
    /// Patterns of common names, in which "*" stands for any characters. For profiles like client, device and person, whose
    /// NAME is a common name. Default: any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub common_name: Option<Vec<String>>,
    /// Whether the next certificate may have the key of the one before it. Default: true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub same_key_renewal: Option<bool>,
    /// Extensions that every certificate of the kind carries beside its own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub extension: Vec<ExtensionConfig>,
}

/// The built-in profiles that others can be like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BuiltInProfile {
    /// clientAuth; NAME is the common name.
    Client,
    /// clientAuth; NAME is the common name of a thing.
    Device,
    /// serverAuth and clientAuth; NAME is the first DNS name.
    Peer,
    /// clientAuth; NAME is an e-mail address, or the common name of somebody who has one.
    Person,
    /// serverAuth; NAME is the first DNS name.
    Server,
    /// serverAuth and clientAuth; NAME is the SPIFFE ID.
    Workload,
}

/// A kind of key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum KeyTypeConfig {
    /// Ed25519.
    Ed25519,
    /// ECDSA on P-256.
    #[serde(rename = "p-256")]
    P256,
    /// ECDSA on P-384.
    #[serde(rename = "p-384")]
    P384,
    /// RSA of 2048 to 4096 bits.
    Rsa,
    /// RSA of 3072 to 4096 bits.
    #[serde(rename = "rsa-3072")]
    Rsa3072,
    /// RSA of 4096 bits.
    #[serde(rename = "rsa-4096")]
    Rsa4096,
}

/// An extension with a fixed value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExtensionConfig {
    /// Dotted, such as "1.3.6.1.4.1.32473.1"; not one that the authority sets itself.
    pub oid: String,
    /// The value: a text, encoded as UTF8String. Either this or `der`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub utf8: Option<String>,
    /// The value: DER in hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub der: Option<String>,
    /// Whether clients that do not know it must refuse the certificate. Default: false.
    #[serde(default)]
    pub critical: bool,
}
