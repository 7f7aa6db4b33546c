//! Revocation lists, for files.

use countersign_pki::time::UnixTime;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use countersign_pki::feed::RevocationReason;
use countersign_pki::serial::SerialNumber;

use super::schema::{ReasonSchema, SerialSchema, TimeSchema};
use super::{EvidenceResponse, rfc3339};

/// The complete lists of the issuing CA and of those above it, as far as there are any.
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

/// Asks for the root's next list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RootListRequest {
    /// A certificate of the root that is revoked first, such as that of the issuing CA: with it ends everything that it issued.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<SerialSchema>")]
    pub revoke: Option<SerialNumber>,
    /// Why.
    #[serde(default)]
    #[schemars(with = "ReasonSchema")]
    pub reason: RevocationReason,
}

/// The root's next list, not signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RootListDraft {
    /// The certificate of the root, in DER, in base64.
    pub root: String,
    /// The DER of `TBSCertList`, in base64.
    pub to_be_signed: String,
}

/// What is said of a list that was signed elsewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ImportListQuery {
    /// Entries that the one before it shows and this one does not, of certificates that the inventory does not have, are of
    /// expired ones. Left out, such a list is refused.
    #[serde(default)]
    pub dropped_expired: bool,
}

/// A list that was signed elsewhere is published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ImportedListResponse {
    /// Subject of the CA that signed it.
    pub issuer: String,
    /// nextUpdate.
    #[serde(with = "rfc3339")]
    #[schemars(with = "TimeSchema")]
    pub next_update: UnixTime,
    /// It was published before.
    pub is_known: bool,
    /// Holds that it has ended: the one before it shows them and it does not.
    pub released: u64,
    /// What it says is revoked.
    pub evidence: EvidenceResponse,
}
