//! Asking for certificates.

use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::serial::SerialNumber;
use countersign_pki::time::UnixTime;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rfc3339;
use super::schema::{FingerprintSchema, SerialSchema, TimeSchema};

/// Asks for a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IssueRequest {
    /// `server`, `client`, `peer`, `workload`, `device`, `person`, `operator`, `node`, `intermediate`, or one of the configuration.
    pub profile: String,
    /// NAME; what it becomes depends on the profile.
    pub name: String,
    /// Further SANs as typed names.
    #[serde(default)]
    pub sans: Vec<String>,
    /// Lifetime in seconds; the profile's default when left out.
    #[serde(default)]
    pub ttl_s: Option<u64>,
    /// PKCS#10 in PEM or base64 DER. Only its key is taken; names that it asks for must be asked for here too.
    pub csr: String,
}

/// Asks for the next certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RenewRequest {
    /// WHAT: serial, fingerprint or name.
    pub what: String,
    /// PKCS#10 in PEM or base64 DER; only its key is taken.
    pub csr: String,
}

/// Asks for the next certificate of the operator who asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OwnRenewRequest {
    /// PKCS#10 in PEM or base64 DER; only its key is taken.
    pub csr: String,
}

/// A new certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IssueResponse {
    /// Its serial number.
    #[schemars(with = "SerialSchema")]
    pub serial: SerialNumber,
    /// SHA-256 of its DER.
    #[schemars(with = "FingerprintSchema")]
    pub fingerprint: Fingerprint,
    /// Which profile.
    pub profile: String,
    /// The name shown first.
    pub name: String,
    /// Its typed names.
    pub names: Vec<String>,
    /// Beginning.
    #[serde(with = "rfc3339")]
    #[schemars(with = "TimeSchema")]
    pub not_before: UnixTime,
    /// End.
    #[serde(with = "rfc3339")]
    #[schemars(with = "TimeSchema")]
    pub not_after: UnixTime,
    /// The certificate, then what stands between it and `ca_pem`.
    pub chain_pem: String,
    /// What its holder trusts: the root, but for nodes and operators, who trust the operator issuer alone.
    pub ca_pem: String,
    /// What its certificate request asked for beside the key and the names, and did not get.
    #[serde(default)]
    pub ignored: Vec<String>,
}

/// What would be issued.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PreviewResponse {
    /// The certificate in PEM, with an empty signature and a serial number that will be another.
    pub unsigned_pem: String,
    /// What its fields come from.
    pub because: Vec<BecauseView>,
    /// Clients that would refuse it; empty: none that is known.
    pub objections: Vec<ObjectionView>,
    /// What its certificate request asks for beside the key and the names, and will not get.
    #[serde(default)]
    pub ignored: Vec<String>,
}

/// One field and its reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BecauseView {
    /// As RFC 5280 calls it.
    pub field: String,
    /// What it says.
    pub value: String,
    /// Half a sentence.
    pub why: String,
}

/// Who would refuse a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ObjectionView {
    /// Which clients.
    pub client: String,
    /// A sentence.
    pub why: String,
    /// The client's document, or the RFC, that says so; empty from an authority of an earlier version.
    #[serde(default)]
    pub source: String,
}
