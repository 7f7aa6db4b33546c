//! Taking certificates back.

use countersign_pki::feed::{HistoryId, RevocationReason, Sequence};
use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::serial::SerialNumber;
use countersign_pki::time::UnixTime;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rfc3339;
use super::schema::{FingerprintSchema, ReasonSchema, SerialSchema, TimeSchema};

/// Which certificates are meant: those for which everything that is said holds, in the words of [`super::ListQuery`].
/// Something has to be said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Selection {
    /// Any name: a typed name or a word exactly, or a pattern with one `*` at its beginning or end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// A SAN: as `name`, but without CN and DN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub san: Option<String>,
    /// A typed name or a word exactly; `*` is no pattern here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// The issuer's DN, or its CN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// A profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// A serial number in hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// SHA-256 of the DER.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// SHA-256 of the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spki: Option<String>,
    /// Who asked for it: `authority`, `uid:N`, or the typed name of a holder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issued_by: Option<String>,
    /// The owner of its identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Labels of its identity, `key=value`, each on a line of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<String>,
}

/// Asks for a revocation, or for a hold with the reason `certificate-hold`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RevokeRequest {
    /// WHAT: serial, fingerprint or name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub what: Option<String>,
    /// Which of those, or of all.
    #[serde(default)]
    pub selection: Selection,
    /// Also those past their end. What is named by serial or fingerprint is revoked in any case, and a name that means
    /// nothing else too.
    #[serde(default)]
    pub expired: bool,
    /// A serial number that the inventory does not have is revoked all the same: of the issuer that is selected, else of
    /// the one that issues.
    #[serde(default)]
    pub unrecorded: bool,
    /// Why.
    #[serde(default)]
    #[schemars(with = "ReasonSchema")]
    pub reason: RevocationReason,
    /// Nothing is revoked where more are meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_most: Option<u64>,
    /// How long to wait for the nodes; not at all when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_ms: Option<u64>,
    /// Of a preview: [`RevokePreviewResponse::next`] of the one before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// Asks to end a hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReleaseRequest {
    /// WHAT: serial, fingerprint or name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub what: Option<String>,
    /// Which of those, or of all.
    #[serde(default)]
    pub selection: Selection,
    /// Nothing is released where more are meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_most: Option<u64>,
    /// How long to wait for the nodes; not at all when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_ms: Option<u64>,
    /// Of a preview: [`RevokePreviewResponse::next`] of the one before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// What a revocation did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RevokeResponse {
    /// How many this call has revoked.
    pub revoked_count: u64,
    /// The first 1000 of them.
    pub revoked: Vec<RevokedView>,
    /// How many were revoked before.
    pub already_revoked_count: u64,
    /// The first 1000 of them.
    pub already_revoked: Vec<RevokedView>,
    /// How many live certificates have come by renewal of those two kinds, under keys of their own, and were not meant.
    pub successors_count: u64,
    /// The first 1000 of them.
    pub successors: Vec<ReleasedView>,
    /// The feed's history.
    #[schemars(with = "String")]
    pub history: HistoryId,
    /// The first message of these revocations there.
    #[schemars(with = "u64")]
    pub first: Sequence,
    /// The last.
    #[schemars(with = "u64")]
    pub sequence: Sequence,
    /// Each node that is connected, or was and has not come back.
    pub nodes: Vec<NodeView>,
    /// Nodes that have not confirmed.
    pub unconfirmed: Vec<String>,
}

/// What a release did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReleaseResponse {
    /// How many holds have ended.
    pub released_count: u64,
    /// The first 1000 of them.
    pub released: Vec<ReleasedView>,
    /// How many were meant that are revoked for good, and stay so.
    pub for_good_count: u64,
    /// The first 1000 of them.
    pub for_good: Vec<RevokedView>,
    /// The feed's history.
    #[schemars(with = "String")]
    pub history: HistoryId,
    /// The first message of these releases there.
    #[schemars(with = "u64")]
    pub first: Sequence,
    /// The last.
    #[schemars(with = "u64")]
    pub sequence: Sequence,
    /// Each node that is connected, or was and has not come back.
    pub nodes: Vec<NodeView>,
    /// Nodes that have not confirmed.
    pub unconfirmed: Vec<String>,
}

/// What a revocation or a release would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RevokePreviewResponse {
    /// How many certificates it would change; on a page behind another, how many from there on.
    pub count: u64,
    /// How many identities they are of.
    pub identities: u64,
    /// How many are as it asks for already.
    pub already_count: u64,
    /// How many are meant that are of others, and stay as they are.
    pub imported_count: u64,
    /// The first 1000 that it would change.
    pub certificates: Vec<ReleasedView>,
    /// Of a revocation: how many live certificates have come by renewal of those that are meant, under keys of their own, and
    /// are not meant; on a page behind another, none.
    pub successors_count: u64,
    /// The first 1000 of them.
    pub successors: Vec<ReleasedView>,
    /// Where the next page of them begins; left out on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// One revoked certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RevokedView {
    /// Which.
    #[schemars(with = "SerialSchema")]
    pub serial: SerialNumber,
    /// Left out when it is not known whether it was signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<FingerprintSchema>")]
    pub fingerprint: Option<Fingerprint>,
    /// The name shown first.
    pub name: String,
    /// Its end; left out when the inventory does not have it.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "super::optional_rfc3339"
    )]
    #[schemars(with = "Option<TimeSchema>")]
    pub not_after: Option<UnixTime>,
    /// Since when.
    #[serde(with = "rfc3339")]
    #[schemars(with = "TimeSchema")]
    pub revoked_at: UnixTime,
    /// Why.
    #[schemars(with = "ReasonSchema")]
    pub reason: RevocationReason,
}

/// One certificate that was released, or that would change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReleasedView {
    /// Which.
    #[schemars(with = "SerialSchema")]
    pub serial: SerialNumber,
    /// Left out when it is not known whether it was signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<FingerprintSchema>")]
    pub fingerprint: Option<Fingerprint>,
    /// The name shown first.
    pub name: String,
    /// Its end; left out when the inventory does not have it.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "super::optional_rfc3339"
    )]
    #[schemars(with = "Option<TimeSchema>")]
    pub not_after: Option<UnixTime>,
}

/// Which messages of the feed a receipt is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReceiptQuery {
    /// The first.
    pub first: u64,
    /// The last.
    pub last: u64,
    /// How long to wait for the nodes; not at all when left out.
    #[serde(default)]
    pub wait_ms: Option<u64>,
}

/// How far a revocation or release is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UnderWayResponse {
    /// Certificates that are changed in its transaction; in force once all are. Absent: none is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<u64>,
}

/// What the nodes did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReceiptResponse {
    /// Each node that is connected, or was and has not come back.
    pub nodes: Vec<NodeView>,
    /// Nodes that have not confirmed.
    pub unconfirmed: Vec<String>,
}

/// What one node did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NodeView {
    /// Which.
    pub node: String,
    /// Every path there refuses the certificates now.
    pub confirmed: bool,
    /// Resumable sessions taken away.
    pub sessions_declined: u64,
    /// Open connections cut.
    pub connections_cut: u64,
    /// From publication to confirmation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_ms: Option<u64>,
}
