//! Entries of `allow` and `deny` as they are written.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use countersign_runtime::config::amount::TimeSpan;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::config::{ApiKeyConditionConfig, TokenConditionConfig};

/// One alternative of `allow`.
#[derive(Clone, Debug, PartialEq)]
pub enum AllowEntry {
    /// `"anyone"`: anonymous clients too.
    Anyone,
    /// `"any-trusted"`: every verified client.
    AnyTrusted,
    /// `{ … }`: those for whom every field holds.
    When(Box<ConditionConfig>),
}

/// What must hold of a client and its request, all of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ConditionConfig {
    /// A SPIFFE ID; in its path "*" stands for one segment, "**" at the end for any number of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spiffe: Option<String>,
    /// A DNS name of the certificate, or "*.example.com" for any with one label before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns: Option<String>,
    /// The trust domain of the SPIFFE ID, whatever its path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trust_domain: Option<String>,
    /// An IP address of the certificate, or a range such as "10.0.0.0/8" that has one of them. See `source` for where clients come from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    /// An e-mail address of the certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// A URI of the certificate that is no SPIFFE ID.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    /// The common name of the subject.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cn: Option<String>,
    /// An organization of the subject, the whole value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub o: Option<String>,
    /// An organizational unit of the subject, the whole value; of several, one is enough.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ou: Option<String>,
    /// The whole subject, in RFC 4514 or OpenSSL notation; the order counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dn: Option<String>,
    /// The whole subject, its RDNs in whatever order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dn_unordered: Option<String>,
    /// The certificate's issuer field, in RFC 4514 or OpenSSL notation. A name, which any CA under the same bundle may bear: see `issuer_spki`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// The certificate's serial number in hexadecimal digits; needs `issuer`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// SHA-256 of the public key of the CA that signed the certificate, in hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer_spki: Option<String>,
    /// SHA-256 of the public key, in hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spki: Option<String>,
    /// Any of these purposes in the certificate's extendedKeyUsage: "clientAuth", "emailProtection", or an object identifier.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub eku: Vec<String>,
    /// Extensions of the certificate, each of which must have its value.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub extension: Vec<ExtensionConfig>,
    /// How long ago the certificate's life may have begun.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_max_age: Option<TimeSpan>,
    /// A typed name ("cn:api"), a DN, or a bare word, which means a name of any type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The trust bundle that vouches. Default: "internal" in `allow`, every bundle in `deny`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bundle: Option<String>,
    /// Any of these hosts: a DNS name, or "*.example.com" for one label. Default: every host.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub host: Vec<String>,
    /// Any of these methods. Default: every method.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub method: Vec<String>,
    /// The path, written as a route's. Default: every path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Each of these headers, with any of the values listed. A header that stands there several times has to fit each time to
    /// admit, and once to refuse.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub header: BTreeMap<String, Vec<String>>,
    /// Any of these methods of gRPC: "shop.v1.Orders/Create", or "shop.v1.Orders/*" for each of the service.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub grpc: Vec<String>,
    /// A token beside the certificate, of a `[[gateway.token_issuer]]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<TokenConditionConfig>,
    /// An API key beside the certificate: true for any that is the client's, or the name of a `[[gateway.api_key]]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_key: Option<ApiKeyConditionConfig>,
    /// Any of these addresses or ranges has the client's own address, as its connection shows it. Default: every address.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub source: Vec<String>,
    /// Any of these hours. Default: always.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub time: Vec<TimeWindowConfig>,
    /// Any of these database users, on a listener with protocol = "postgresql"; "*" at the end stands for any rest.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub user: Vec<String>,
    /// Any of these databases there, written as users are. Default: every database.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub database: Vec<String>,
    /// What must not hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not: Option<Box<ConditionConfig>>,
}

/// One extension of a certificate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExtensionConfig {
    /// Its type: an object identifier such as "1.3.6.1.4.1.99999.1".
    pub oid: String,
    /// Its value, where it is a text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Its value as DER, in hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hex: Option<String>,
}

/// Some hours of some days.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TimeWindowConfig {
    /// "mon", "tue", "wed", "thu", "fri", "sat", "sun". Default: every day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub days: Option<Vec<String>>,
    /// From this time of day on, such as "08:00".
    pub from: String,
    /// Up to and without this one, "24:00" at most.
    pub to: String,
    /// Of which days and hours these are. There is but one, and it is spelled out.
    pub zone: TimeZone,
}

/// A time zone without summers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TimeZone {
    /// Coordinated Universal Time.
    #[serde(rename = "UTC")]
    Utc,
}

impl Serialize for AllowEntry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Anyone => serializer.serialize_str(ANYONE),
            Self::AnyTrusted => serializer.serialize_str(ANY_TRUSTED),
            Self::When(condition) => condition.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for AllowEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AllowVisitor)
    }
}

// By hand and not `untagged`, whose errors name neither the key nor the value at fault.
struct AllowVisitor;

impl<'de> Visitor<'de> for AllowVisitor {
    type Value = AllowEntry;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table of conditions, \"any-trusted\" or \"anyone\"")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<AllowEntry, E> {
        match text {
            ANYONE => Ok(AllowEntry::Anyone),
            ANY_TRUSTED => Ok(AllowEntry::AnyTrusted),
            other => Err(E::invalid_value(serde::de::Unexpected::Str(other), &self)),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<AllowEntry, A::Error> {
        ConditionConfig::deserialize(MapAccessDeserializer::new(map))
            .map(|condition| AllowEntry::When(Box::new(condition)))
    }
}

impl JsonSchema for AllowEntry {
    fn schema_name() -> Cow<'static, str> {
        "AllowEntry".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let condition = generator.subschema_for::<ConditionConfig>();
        json_schema!({ "oneOf": [{ "type": "string", "enum": [ANY_TRUSTED, ANYONE] }, condition] })
    }
}

const ANYONE: &str = "anyone";
const ANY_TRUSTED: &str = "any-trusted";
