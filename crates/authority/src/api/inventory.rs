//! What there is, and what is said of it.

use std::collections::BTreeMap;

use countersign_pki::feed::RevocationReason;
use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::serial::SerialNumber;
use countersign_pki::time::UnixTime;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rfc3339;
use super::schema::{FingerprintSchema, ReasonSchema, SerialSchema, TimeSchema};

/// Says something of an identity. What is left out stays; an empty owner or note is none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LabelRequest {
    /// WHAT: serial, fingerprint or name; the certificates that are meant must be of one identity.
    pub what: String,
    /// Whom to ask: at most 128 bytes.
    #[serde(default)]
    pub owner: Option<String>,
    /// Labels to set: a key of at most 63 letters, digits, `.`, `_`, `-` and `/`, a value of at most 256 bytes; 32 at most.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Labels to take away.
    #[serde(default)]
    pub remove: Vec<String>,
    /// Anything else: at most 2048 bytes.
    #[serde(default)]
    pub note: Option<String>,
}

/// Asks to watch certificates of others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ImportRequest {
    /// In base64 DER, 1 to 100.
    pub certificates: Vec<String>,
    /// Whom to ask about each of their identities.
    #[serde(default)]
    pub owner: Option<String>,
}

/// Which certificates to list: those for which everything that is said holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListQuery {
    /// Only of this status.
    #[serde(default)]
    pub status: Option<CertificateStatus>,
    /// Only those that end within so many seconds and have not ended.
    #[serde(default)]
    pub expiring_within_s: Option<u64>,
    /// Any name: a typed name or a word exactly, or a pattern with one `*` at its beginning or end.
    #[serde(default)]
    pub name: Option<String>,
    /// A SAN: as `name`, but without CN and DN.
    #[serde(default)]
    pub san: Option<String>,
    /// A typed name or a word exactly; `*` is no pattern here.
    #[serde(default)]
    pub identity: Option<String>,
    /// The issuer's DN, or its CN.
    #[serde(default)]
    pub issuer: Option<String>,
    /// A profile, or `imported` for certificates of others.
    #[serde(default)]
    pub profile: Option<String>,
    /// A serial number in hexadecimal digits.
    #[serde(default)]
    pub serial: Option<String>,
    /// SHA-256 of the DER.
    #[serde(default)]
    pub fingerprint: Option<String>,
    /// SHA-256 of the key.
    #[serde(default)]
    pub spki: Option<String>,
    /// Who asked for it: `authority`, `uid:N`, `operator:NAME`, or the typed name of a holder.
    #[serde(default)]
    pub issued_by: Option<String>,
    /// The owner of its identity.
    #[serde(default)]
    pub owner: Option<String>,
    /// Labels of its identity, `key=value`, each on a line of its own.
    #[serde(default)]
    pub labels: Option<String>,
    /// [`ListResponse::next`] of the page before.
    #[serde(default)]
    pub after: Option<String>,
    /// At most so many, 1 to 1000; 100 when left out.
    #[serde(default)]
    pub limit: Option<u32>,
}

/// Where a certificate stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CertificateStatus {
    /// Past its end.
    Expired,
    /// Revoked for now: on hold.
    Held,
    /// None of the others: good until its end.
    Live,
    /// Revoked.
    Revoked,
    /// The serial was reserved; whether a certificate was signed is not known.
    Unknown,
}

impl std::fmt::Display for CertificateStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Expired => "expired",
            Self::Held => "held",
            Self::Live => "live",
            Self::Revoked => "revoked",
            Self::Unknown => "unknown",
        })
    }
}

/// What is said of an identity now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LabelResponse {
    /// Its typed name.
    pub identity: String,
    /// Whom to ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Anything else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// What became of each certificate, in the order of the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ImportResponse {
    /// One for each.
    pub certificates: Vec<ImportedView>,
}

/// One certificate of others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ImportedView {
    /// SHA-256 of its DER.
    #[schemars(with = "FingerprintSchema")]
    pub fingerprint: Fingerprint,
    /// The name shown first.
    pub name: String,
    /// End.
    #[serde(with = "rfc3339")]
    #[schemars(with = "TimeSchema")]
    pub not_after: UnixTime,
    /// What became of it.
    pub outcome: ImportOutcome,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ImportOutcome {
    /// It was there before.
    AlreadyImported,
    /// It is watched now.
    Imported,
    /// This authority has issued it and knows it anyway.
    Ours,
}

/// One page: newest first; what ends first by `expiring_within_s` or `valid`; what ended last first by `expired`; by name
/// with a pattern, by identity with an owner or labels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ListResponse {
    /// The page. It may be short, or empty, and not the last: where few rows fit, it ends after some thousand were looked at.
    pub certificates: Vec<CertificateView>,
    /// Where the next page begins; left out on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Every certificate that WHAT means, newest first; never empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ShowResponse {
    /// At most 1000 of them.
    pub certificates: Vec<ShownCertificate>,
    /// There are more; a list by name gives them page by page.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub more: bool,
}

/// One certificate with its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ShownCertificate {
    /// As in the list.
    #[serde(flatten)]
    pub certificate: CertificateView,
    /// In PEM; left out when it is not known whether it was signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pem: Option<String>,
    /// What issued it, up to the root, in PEM; left out for certificates of others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuers_pem: Option<String>,
}

/// One row of the inventory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CertificateView {
    /// Its serial number.
    #[schemars(with = "SerialSchema")]
    pub serial: SerialNumber,
    /// SHA-256 of its DER; left out when it is not known whether it was signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<FingerprintSchema>")]
    pub fingerprint: Option<Fingerprint>,
    /// Where it stands.
    pub status: CertificateStatus,
    /// Which profile; `imported` for a certificate of others.
    pub profile: String,
    /// The name shown first.
    pub name: String,
    /// Its typed names.
    pub names: Vec<String>,
    /// Its issuer's subject.
    pub issuer: String,
    /// Beginning.
    #[serde(with = "rfc3339")]
    #[schemars(with = "TimeSchema")]
    pub not_before: UnixTime,
    /// End.
    #[serde(with = "rfc3339")]
    #[schemars(with = "TimeSchema")]
    pub not_after: UnixTime,
    /// When it was issued, or imported.
    #[serde(with = "rfc3339")]
    #[schemars(with = "TimeSchema")]
    pub issued_at: UnixTime,
    /// Who asked for it.
    pub issued_to: String,
    /// Whom to ask about its identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Labels of its identity.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// What else is said of its identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// When and why it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revocation: Option<RevocationView>,
}

/// When and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RevocationView {
    /// Since when.
    #[serde(with = "rfc3339")]
    #[schemars(with = "TimeSchema")]
    pub revoked_at: UnixTime,
    /// Why.
    #[schemars(with = "ReasonSchema")]
    pub reason: RevocationReason,
}
