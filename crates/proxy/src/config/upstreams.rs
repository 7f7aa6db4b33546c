//! `upstream` and `balance`: one upstream or several, as they are written.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, SeqAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::upstream::Balance;

/// One upstream, or several of one kind that do the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpstreamUrls {
    /// Written as a string.
    One(String),
    /// Written as a list, which may be one of one.
    Several(Vec<String>),
}

/// How requests are spread over several upstreams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BalanceMode {
    /// To whoever has the fewest requests under way from the same worker.
    LeastRequests,
    /// Of two at random, to the one that has fewer under way.
    PowerOfTwo,
    /// In turn.
    RoundRobin,
}

impl UpstreamUrls {
    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        let urls = match self {
            Self::One(url) => std::slice::from_ref(url),
            Self::Several(urls) => urls,
        };
        urls.iter().map(String::as_str)
    }
}

impl<T: Into<String>> From<T> for UpstreamUrls {
    fn from(url: T) -> Self {
        Self::One(url.into())
    }
}

/// With commas between them.
impl fmt::Display for UpstreamUrls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, url) in self.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{url}")?;
        }
        Ok(())
    }
}

impl Serialize for UpstreamUrls {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::One(url) => url.serialize(serializer),
            Self::Several(urls) => urls.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for UpstreamUrls {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UrlsVisitor)
    }
}

// By hand and not `untagged`, whose errors name neither the key nor the value at fault.
struct UrlsVisitor;

impl<'de> Visitor<'de> for UrlsVisitor {
    type Value = UpstreamUrls;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the URL of an upstream, or a list of them")
    }

    fn visit_str<E: Error>(self, url: &str) -> Result<UpstreamUrls, E> {
        Ok(UpstreamUrls::One(url.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut written: A) -> Result<UpstreamUrls, A::Error> {
        let mut urls = Vec::new();
        while let Some(url) = written.next_element()? {
            urls.push(url);
        }
        if urls.is_empty() {
            return Err(A::Error::invalid_value(
                Unexpected::Other("an empty list"),
                &self,
            ));
        }
        Ok(UpstreamUrls::Several(urls))
    }
}

impl JsonSchema for UpstreamUrls {
    fn schema_name() -> Cow<'static, str> {
        "UpstreamUrls".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "oneOf": [
            { "type": "string" },
            {
                "type": "array",
                "items": { "type": "string" },
                "minItems": 1,
                "maxItems": crate::upstream::MAX_UPSTREAMS,
                "uniqueItems": true,
            },
        ] })
    }
}

impl From<BalanceMode> for Balance {
    fn from(mode: BalanceMode) -> Self {
        match mode {
            BalanceMode::LeastRequests => Self::LeastRequests,
            BalanceMode::PowerOfTwo => Self::PowerOfTwo,
            BalanceMode::RoundRobin => Self::RoundRobin,
        }
    }
}
