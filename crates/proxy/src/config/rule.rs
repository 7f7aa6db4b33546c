//! Entries of `allow` and `deny` as they are written.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

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
    /// An IP address of the certificate.
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
    /// The whole subject, in RFC 4514 or OpenSSL notation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dn: Option<String>,
    /// SHA-256 of the public key, in hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spki: Option<String>,
    /// A typed name ("cn:api"), a DN, or a bare word, which means a name of any type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The trust bundle that vouches. Default: "internal" in `allow`, every bundle in `deny`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bundle: Option<String>,
    /// Any of these methods. Default: every method.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub method: Vec<String>,
    /// The path, written as a route's. Default: every path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
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
