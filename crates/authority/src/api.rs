//! Wire types of the admin API. Times are RFC 3339 in UTC; names are typed (`dns:…`, `spiffe://…`).

mod audit;
mod certificate;
mod inventory;
mod lists;
mod recovery;
mod retention;
mod revocation;
pub(crate) mod schema;
mod status;

pub use self::audit::AuditQuery;
pub use self::certificate::{
    BecauseView, IssueRequest, IssueResponse, ObjectionView, OwnRenewRequest, PreviewResponse,
    RenewRequest,
};
pub use self::inventory::{
    CertificateStatus, CertificateView, ImportOutcome, ImportRequest, ImportResponse, ImportedView,
    LabelRequest, LabelResponse, ListQuery, ListResponse, RevocationView, ShowResponse,
    ShownCertificate,
};
pub use self::lists::{
    ImportListQuery, ImportedListResponse, ListView, ListsResponse, RootListDraft, RootListRequest,
};
pub use self::recovery::{EvidenceResponse, PauseView, ResumeRequest, ResumeResponse};
pub use self::retention::{DroppedView, KeptView, PassView, PruneResponse, RetentionView};
pub use self::revocation::{
    NodeView, ReceiptQuery, ReceiptResponse, ReleaseRequest, ReleaseResponse, ReleasedView,
    RevokePreviewResponse, RevokeRequest, RevokeResponse, RevokedView, Selection, UnderWayResponse,
};
pub use self::status::{Counts, IssuerView, IssuingState, Risk, StatusResponse};

/// `POST`: [`IssueRequest`] in, [`IssueResponse`] out.
pub const ISSUE: &str = "/v1/issue";
/// `POST`: [`IssueRequest`] in, [`PreviewResponse`] out; nothing is issued.
pub const PREVIEW: &str = "/v1/issue/preview";
/// `POST`: [`RenewRequest`] in, [`IssueResponse`] out.
pub const RENEW: &str = "/v1/renew";
/// `POST`: [`RevokeRequest`] in, [`RevokeResponse`] out.
pub const REVOKE: &str = "/v1/revoke";
/// `POST`: [`RevokeRequest`] in, [`RevokePreviewResponse`] out; nothing is revoked.
pub const REVOKE_PREVIEW: &str = "/v1/revoke/preview";
/// `POST`: [`ReleaseRequest`] in, [`ReleaseResponse`] out.
pub const RELEASE: &str = "/v1/release";
/// `POST`: [`ReleaseRequest`] in, [`RevokePreviewResponse`] out; nothing is released.
pub const RELEASE_PREVIEW: &str = "/v1/release/preview";
/// `GET`: [`UnderWayResponse`] out.
pub const UNDER_WAY: &str = "/v1/revoke/under-way";
/// `GET` with [`ReceiptQuery`]: [`ReceiptResponse`] out.
pub const RECEIPTS: &str = "/v1/receipts";
/// `GET`: the `OpenAPI` document of these routes out.
pub const OPENAPI: &str = "/v1/openapi.json";
/// `GET` with [`ListQuery`]: [`ListResponse`] out; `GET …/WHAT`: [`ShowResponse`] out.
pub const CERTIFICATES: &str = "/v1/certificates";
/// `POST`: [`LabelRequest`] in, [`LabelResponse`] out.
pub const LABEL: &str = "/v1/label";
/// `POST`: [`ImportRequest`] in, [`ImportResponse`] out.
pub const IMPORT: &str = "/v1/import";
/// `POST`: nothing in, a tar out (see [`crate::backup`]).
pub const BACKUP: &str = "/v1/backup";
/// `POST`: a CRL in DER in, [`EvidenceResponse`] out.
pub const EVIDENCE_CRL: &str = "/v1/evidence/crl";
/// `POST`: a [`Snapshot`](countersign_pki::feed::Snapshot) in, [`EvidenceResponse`] out.
pub const EVIDENCE_FEED: &str = "/v1/evidence/feed";
/// `POST`: nothing in, [`PruneResponse`] out.
pub const PRUNE: &str = "/v1/prune";
/// `GET`: [`PruneResponse`] out; nothing leaves.
pub const PRUNE_PREVIEW: &str = "/v1/prune/preview";
/// `POST`: [`ResumeRequest`] in, [`ResumeResponse`] out.
pub const RESUME: &str = "/v1/resume";
/// `POST`, without a body to speak of: [`ListsResponse`] out. What is due is signed.
pub const REVOCATION_LISTS: &str = "/v1/revocation-lists";
/// `POST`: a CRL in DER in, [`ImportedListResponse`] out.
pub const IMPORT_LIST: &str = "/v1/revocation-lists/import";
/// `POST`: [`RootListRequest`] in, [`ListView`] out.
pub const ROOT_LIST: &str = "/v1/revocation-lists/root";
/// `POST`: [`RootListRequest`] in, [`RootListDraft`] out.
pub const ROOT_LIST_DRAFT: &str = "/v1/revocation-lists/root/draft";
/// `POST`: [`OwnRenewRequest`] in, [`IssueResponse`] out.
pub const RENEW_OWN: &str = "/v1/renew/own";
/// `GET` with [`AuditQuery`]: lines of JSON out.
pub const AUDIT: &str = "/v1/audit";
/// `GET`: [`StatusResponse`] out.
pub const STATUS: &str = "/v1/status";

/// What the path of a single WHAT calls it.
pub const WHAT: &str = "what";

/// The header by which a request that issues can be made again (draft-ietf-httpapi-idempotency-key-header): the same key
/// with the same request gives the same certificate for 24 hours.
pub use countersign_pki::feed::port::IDEMPOTENCY_KEY;

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

/// `GET` path of [`ReceiptQuery`].
pub fn receipts_path(query: &ReceiptQuery) -> String {
    let ReceiptQuery {
        first,
        last,
        wait_ms,
    } = query;
    let wait = wait_ms.map(|wait_ms| format!("&wait_ms={wait_ms}"));
    format!(
        "{RECEIPTS}?first={first}&last={last}{}",
        wait.unwrap_or_default()
    )
}

/// `GET` path of [`AuditQuery`].
pub fn audit_path(query: &AuditQuery) -> String {
    let since = query.since.as_ref();
    since.map_or_else(
        || AUDIT.to_owned(),
        |since| format!("{AUDIT}?since={}", percent_encode(&since.to_string())),
    )
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

/// RFC 3339 on the wire, where there may be none.
pub mod optional_rfc3339 {
    use countersign_pki::time::UnixTime;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    /// Writes.
    pub fn serialize<S: Serializer>(
        time: &Option<UnixTime>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => serializer.collect_str(time),
            None => serializer.serialize_none(),
        }
    }

    /// Reads.
    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<UnixTime>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| text.parse().map_err(D::Error::custom))
            .transpose()
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
            status: Some(CertificateStatus::Live),
            name: Some("a&b=c".to_owned()),
            limit: Some(5),
            ..ListQuery::default()
        };
        assert_eq!(
            list_path(&query),
            "/v1/certificates?status=live&name=a%26b%3Dc&limit=5"
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
        assert!(parse(
            r#"{"selection": {"profile": "client"}, "at_most": 3}"#
        ));
        assert!(!parse(r#"{"selection": {"status": "valid"}}"#));
    }
}
