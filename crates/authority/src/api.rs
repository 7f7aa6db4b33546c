//! Wire types of the admin API. Times are RFC 3339 in UTC; names are typed (`dns:…`, `spiffe://…`).

use std::collections::BTreeMap;

use countersign_pki::feed::{HistoryId, RevocationReason, Sequence};
use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::serial::SerialNumber;
use countersign_pki::time::UnixTime;
use serde::{Deserialize, Serialize};

/// `POST`: [`IssueRequest`] in, [`IssueResponse`] out.
pub const ISSUE: &str = "/v1/issue";
/// `POST`: [`IssueRequest`] in, [`PreviewResponse`] out; nothing is issued.
pub const PREVIEW: &str = "/v1/issue/preview";
/// `POST`: [`RenewRequest`] in, [`IssueResponse`] out.
pub const RENEW: &str = "/v1/renew";
/// `POST`: [`RevokeRequest`] in, [`RevokeResponse`] out.
pub const REVOKE: &str = "/v1/revoke";
/// `GET` with [`ListQuery`]: [`ListResponse`] out; `GET …/WHAT`: [`ShowResponse`] out.
pub const CERTIFICATES: &str = "/v1/certificates";
/// `POST`: [`LabelRequest`] in, [`LabelResponse`] out.
pub const LABEL: &str = "/v1/label";
/// `POST`: [`ImportRequest`] in, [`ImportResponse`] out.
pub const IMPORT: &str = "/v1/import";
/// `GET`: [`StatusResponse`] out.
pub const STATUS: &str = "/v1/status";

/// `GET` path of [`ListQuery`].
pub fn list_path(query: &ListQuery) -> String {
    let ListQuery {
        status,
        expiring_within_s,
        name,
        san,
        identity,
        issuer,
        profile,
        serial,
        fingerprint,
        spki,
        issued_by,
        owner,
        labels,
        after,
        limit,
    } = query;
    let pairs = [
        ("status", status.map(|status| status.to_string())),
        (
            "expiring_within_s",
            expiring_within_s.map(|it| it.to_string()),
        ),
        ("name", name.clone()),
        ("san", san.clone()),
        ("identity", identity.clone()),
        ("issuer", issuer.clone()),
        ("profile", profile.clone()),
        ("serial", serial.clone()),
        ("fingerprint", fingerprint.clone()),
        ("spki", spki.clone()),
        ("issued_by", issued_by.clone()),
        ("owner", owner.clone()),
        ("labels", labels.clone()),
        ("after", after.clone()),
        ("limit", limit.map(|limit| limit.to_string())),
    ];
    let pairs: Vec<String> = pairs
        .into_iter()
        .filter_map(|(key, value)| Some(format!("{key}={}", percent_encode(&value?))))
        .collect();
    if pairs.is_empty() {
        CERTIFICATES.to_owned()
    } else {
        format!("{CERTIFICATES}?{}", pairs.join("&"))
    }
}

/// `GET` path of one WHAT.
pub fn show_path(what: &str) -> String {
    format!("{CERTIFICATES}/{}", percent_encode(what))
}

/// Everything but RFC 3986's unreserved characters.
fn percent_encode(text: &str) -> String {
    let digit = |nibble: u8| {
        char::from_digit(u32::from(nibble), 16)
            .unwrap_or('0')
            .to_ascii_uppercase()
    };
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.extend(['%', digit(byte >> 4), digit(byte & 0xf)]);
        }
    }
    encoded
}

/// Asks for a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssueRequest {
    /// `server`, `client`, `peer`, `workload`.
    pub profile: String,
    /// NAME; what it becomes depends on the profile.
    pub name: String,
    /// Further SANs as typed names.
    #[serde(default)]
    pub sans: Vec<String>,
    /// Lifetime in seconds; the profile's default when left out.
    #[serde(default)]
    pub ttl_s: Option<u64>,
    /// PKCS#10 in PEM or base64 DER; only its key is taken.
    pub csr: String,
}

/// Asks for the next certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RenewRequest {
    /// WHAT: serial, fingerprint or name.
    pub what: String,
    /// PKCS#10 in PEM or base64 DER; only its key is taken.
    pub csr: String,
}

/// Asks for a revocation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevokeRequest {
    /// WHAT: serial, fingerprint or name.
    pub what: String,
    /// Why.
    #[serde(default)]
    pub reason: RevocationReason,
    /// How long to wait for the nodes; not at all when left out.
    #[serde(default)]
    pub wait_ms: Option<u64>,
}

/// Says something of an identity. What is left out stays; an empty owner or note is none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportRequest {
    /// In base64 DER, 1 to 100.
    pub certificates: Vec<String>,
    /// Whom to ask about each of their identities.
    #[serde(default)]
    pub owner: Option<String>,
}

/// Which certificates to list: those for which everything that is said holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Who asked for it: `authority`, `uid:N`, or the typed name of a holder.
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CertificateStatus {
    /// Past its end.
    Expired,
    /// Revoked.
    Revoked,
    /// The serial was reserved; whether a certificate was signed is not known.
    Unknown,
    /// Neither.
    Valid,
}

impl std::fmt::Display for CertificateStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Unknown => "unknown",
            Self::Valid => "valid",
        })
    }
}

/// A new certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssueResponse {
    /// Its serial number.
    pub serial: SerialNumber,
    /// SHA-256 of its DER.
    pub fingerprint: Fingerprint,
    /// Which profile.
    pub profile: String,
    /// The name shown first.
    pub name: String,
    /// Its typed names.
    pub names: Vec<String>,
    /// Beginning.
    #[serde(with = "rfc3339")]
    pub not_before: UnixTime,
    /// End.
    #[serde(with = "rfc3339")]
    pub not_after: UnixTime,
    /// The leaf, then the intermediate.
    pub chain_pem: String,
    /// The root.
    pub ca_pem: String,
}

/// What would be issued.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreviewResponse {
    /// The certificate in PEM, with an empty signature and a serial number that will be another.
    pub unsigned_pem: String,
    /// What its fields come from.
    pub because: Vec<BecauseView>,
    /// Clients that would refuse it; empty: none that is known.
    pub objections: Vec<ObjectionView>,
}

/// One field and its reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BecauseView {
    /// As RFC 5280 calls it.
    pub field: String,
    /// What it says.
    pub value: String,
    /// Half a sentence.
    pub why: String,
}

/// Who would refuse a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectionView {
    /// Which clients.
    pub client: String,
    /// A sentence.
    pub why: String,
}

/// What a revocation did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevokeResponse {
    /// Revoked by this call.
    pub revoked: Vec<RevokedView>,
    /// Revoked before.
    pub already_revoked: Vec<RevokedView>,
    /// The feed's history.
    pub history: HistoryId,
    /// The last message of these revocations there.
    pub sequence: Sequence,
    /// Each node that is connected, or was and has not come back.
    pub nodes: Vec<NodeView>,
    /// Nodes that have not confirmed.
    pub unconfirmed: Vec<String>,
}

/// One revoked certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevokedView {
    /// Which.
    pub serial: SerialNumber,
    /// Left out when it is not known whether it was signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<Fingerprint>,
    /// The name shown first.
    pub name: String,
    /// Its end.
    #[serde(with = "rfc3339")]
    pub not_after: UnixTime,
    /// Since when.
    #[serde(with = "rfc3339")]
    pub revoked_at: UnixTime,
    /// Why.
    pub reason: RevocationReason,
}

/// What one node did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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

/// What is said of an identity now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportResponse {
    /// One for each.
    pub certificates: Vec<ImportedView>,
}

/// One certificate of others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportedView {
    /// SHA-256 of its DER.
    pub fingerprint: Fingerprint,
    /// The name shown first.
    pub name: String,
    /// End.
    #[serde(with = "rfc3339")]
    pub not_after: UnixTime,
    /// What became of it.
    pub outcome: ImportOutcome,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListResponse {
    /// The page.
    pub certificates: Vec<CertificateView>,
    /// Where the next page begins; left out on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Every certificate that WHAT means, newest first; never empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShowResponse {
    /// At most 1000 of them.
    pub certificates: Vec<ShownCertificate>,
    /// There are more; a list by name gives them page by page.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub more: bool,
}

/// One certificate with its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownCertificate {
    /// As in the list.
    #[serde(flatten)]
    pub certificate: CertificateView,
    /// In PEM; left out when it is not known whether it was signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pem: Option<String>,
}

/// One row of the inventory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateView {
    /// Its serial number.
    pub serial: SerialNumber,
    /// SHA-256 of its DER; left out when it is not known whether it was signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
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
    pub not_before: UnixTime,
    /// End.
    #[serde(with = "rfc3339")]
    pub not_after: UnixTime,
    /// When it was issued, or imported.
    #[serde(with = "rfc3339")]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevocationView {
    /// Since when.
    #[serde(with = "rfc3339")]
    pub revoked_at: UnixTime,
    /// Why.
    pub reason: RevocationReason,
}

/// How the authority is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusResponse {
    /// Where SPIFFE IDs live.
    pub trust_domain: String,
    /// When the authority was made.
    #[serde(with = "rfc3339")]
    pub created_at: UnixTime,
    /// `ready`, `unsealing` or `failed`.
    pub issuing: IssuingState,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuing_fault: Option<String>,
    /// Root, intermediate, operator.
    pub issuers: Vec<IssuerView>,
    /// How many certificates there are.
    pub certificates: Counts,
    /// nextUpdate of the root's CRL.
    #[serde(with = "rfc3339")]
    pub root_crl_next_update: UnixTime,
    /// The feed's history.
    pub history: HistoryId,
    /// Its last message.
    pub sequence: Sequence,
    /// Nodes that are connected to the feed.
    pub nodes: Vec<String>,
    /// What an operator should know.
    pub risks: Vec<Risk>,
}

/// Whether certificates can be issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IssuingState {
    /// Not without help.
    Failed,
    /// Yes.
    Ready,
    /// In a moment.
    Unsealing,
}

/// One CA certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuerView {
    /// `root`, `intermediate` or `operator`.
    pub role: String,
    /// Its subject.
    pub subject: String,
    /// SHA-256 of its DER.
    pub fingerprint: Fingerprint,
    /// Beginning.
    #[serde(with = "rfc3339")]
    pub not_before: UnixTime,
    /// End.
    #[serde(with = "rfc3339")]
    pub not_after: UnixTime,
}

/// How many certificates stand where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// See [`CertificateStatus::Expired`].
    pub expired: u64,
    /// See [`CertificateStatus::Revoked`].
    pub revoked: u64,
    /// See [`CertificateStatus::Unknown`].
    pub unknown: u64,
    /// See [`CertificateStatus::Valid`].
    pub valid: u64,
}

/// A risk that stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Risk {
    /// A sentence.
    pub sentence: String,
    /// What to do.
    pub hint: String,
}

/// RFC 3339 on the wire.
pub mod rfc3339 {
    use countersign_pki::time::UnixTime;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    /// Writes.
    pub fn serialize<S: Serializer>(time: &UnixTime, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(time)
    }

    /// Reads.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<UnixTime, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_carry_any_text() {
        assert_eq!(
            show_path("spiffe://a/b c?d#é"),
            "/v1/certificates/spiffe%3A%2F%2Fa%2Fb%20c%3Fd%23%C3%A9"
        );
        assert_eq!(list_path(&ListQuery::default()), "/v1/certificates");
        let query = ListQuery {
            status: Some(CertificateStatus::Valid),
            name: Some("a&b=c".to_owned()),
            limit: Some(5),
            ..ListQuery::default()
        };
        assert_eq!(
            list_path(&query),
            "/v1/certificates?status=valid&name=a%26b%3Dc&limit=5"
        );
    }

    #[test]
    fn requests_with_unknown_fields_are_refused() {
        let parse = |text: &str| serde_json::from_str::<RevokeRequest>(text).is_ok();
        assert!(parse(r#"{"what": "you"}"#));
        assert!(parse(
            r#"{"what": "you", "reason": "key-compromise", "wait_ms": 5}"#
        ));
        assert!(!parse(r#"{"what": "you", "wait": 5}"#));
        assert!(!parse(r#"{"what": "you", "reason": "dislike"}"#));
        assert!(!parse("{}"));
    }
}
