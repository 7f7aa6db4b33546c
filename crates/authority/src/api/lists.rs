//! Revocation lists, for files.

use countersign_pki::time::UnixTime;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rfc3339;
use super::schema::TimeSchema;

/// The complete lists of the issuing CA and of the root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ListsResponse {
    /// The issuing CA's first.
    pub lists: Vec<ListView>,
}

/// One list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ListView {
    /// Subject of the CA that signed it.
    pub issuer: String,
    /// cRLNumber.
    pub number: u64,
    /// thisUpdate.
    #[serde(with = "rfc3339")]
    #[schemars(with = "TimeSchema")]
    pub this_update: UnixTime,
    /// nextUpdate.
    #[serde(with = "rfc3339")]
    #[schemars(with = "TimeSchema")]
    pub next_update: UnixTime,
    /// In PEM.
    pub pem: String,
}
