//! What the admin API says of certificates, as commands show it: the status in the word that `--status` takes.

use std::collections::BTreeMap;

use countersign_authority::api::{
    CertificateStatus, CertificateView, Counts, IssuerView, IssuingState, ListResponse,
    RetentionView, RevocationView, Risk, ShowResponse, ShownCertificate, StatusResponse,
    optional_rfc3339, rfc3339,
};
use countersign_pki::feed::{HistoryId, Sequence};
use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::serial::SerialNumber;
use countersign_pki::time::UnixTime;
use serde::Serialize;

/// A certificate of the inventory.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Listed {
    pub(crate) serial: SerialNumber,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fingerprint: Option<Fingerprint>,
    pub(crate) status: &'static str,
    pub(crate) profile: String,
    pub(crate) name: String,
    pub(crate) names: Vec<String>,
    pub(crate) issuer: String,
    #[serde(with = "rfc3339")]
    pub(crate) not_before: UnixTime,
    #[serde(with = "rfc3339")]
    pub(crate) not_after: UnixTime,
    #[serde(with = "rfc3339")]
    pub(crate) issued_at: UnixTime,
    pub(crate) issued_to: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) owner: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) note: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) revocation: Option<RevocationView>,
}

/// Part of the inventory.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ListedPage {
    pub(crate) certificates: Vec<Listed>,
    /// What `--after` takes; left out on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<String>,
}

/// Every certificate that WHAT means.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Shown {
    pub(crate) certificates: Vec<ShownOne>,
    /// There are more than the answer holds.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) more: bool,
}

/// One of them, with its bytes where it is known that there are any.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ShownOne {
    #[serde(flatten)]
    pub(crate) certificate: Listed,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pem: Option<String>,
}

/// How the authority is.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct AuthorityStatus {
    pub(crate) trust_domain: String,
    #[serde(with = "rfc3339")]
    pub(crate) created_at: UnixTime,
    pub(crate) issuing: IssuingState,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) issuing_fault: Option<String>,
    pub(crate) issuers: Vec<IssuerView>,
    pub(crate) certificates: Counted,
    #[serde(with = "optional_rfc3339", skip_serializing_if = "Option::is_none")]
    pub(crate) root_crl_next_update: Option<UnixTime>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) publication_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) admin_url: Option<String>,
    pub(crate) history: HistoryId,
    pub(crate) sequence: Sequence,
    pub(crate) nodes: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) retention: Option<RetentionView>,
    pub(crate) risks: Vec<Risk>,
}

/// How many certificates stand where.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Counted {
    pub(crate) expired: u64,
    pub(crate) live: u64,
    pub(crate) held: u64,
    pub(crate) revoked: u64,
    pub(crate) unknown: u64,
}

impl From<CertificateView> for Listed {
    fn from(view: CertificateView) -> Self {
        Self {
            serial: view.serial,
            fingerprint: view.fingerprint,
            status: status_word(view.status),
            profile: view.profile,
            name: view.name,
            names: view.names,
            issuer: view.issuer,
            not_before: view.not_before,
            not_after: view.not_after,
            issued_at: view.issued_at,
            issued_to: view.issued_to,
            owner: view.owner,
            labels: view.labels,
            note: view.note,
            revocation: view.revocation,
        }
    }
}

impl From<ListResponse> for ListedPage {
    fn from(response: ListResponse) -> Self {
        Self {
            certificates: response
                .certificates
                .into_iter()
                .map(Listed::from)
                .collect(),
            next: response.next,
        }
    }
}

/// `env=prod; tier=1`.
pub(crate) fn labels_text(labels: &BTreeMap<String, String>) -> String {
    let pairs: Vec<String> = labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    pairs.join("; ")
}

impl From<ShowResponse> for Shown {
    fn from(response: ShowResponse) -> Self {
        let one = |shown: ShownCertificate| ShownOne {
            certificate: shown.certificate.into(),
            pem: shown.pem,
        };
        Self {
            certificates: response.certificates.into_iter().map(one).collect(),
            more: response.more,
        }
    }
}

impl From<StatusResponse> for AuthorityStatus {
    fn from(status: StatusResponse) -> Self {
        let Counts {
            expired,
            held,
            revoked,
            unknown,
            live,
        } = status.certificates;
        Self {
            trust_domain: status.trust_domain,
            created_at: status.created_at,
            issuing: status.issuing,
            issuing_fault: status.issuing_fault,
            issuers: status.issuers,
            certificates: Counted {
                expired,
                live,
                held,
                revoked,
                unknown,
            },
            root_crl_next_update: status.root_crl_next_update,
            publication_url: status.publication_url,
            admin_url: status.admin_url,
            history: status.history,
            sequence: status.sequence,
            nodes: status.nodes,
            retention: status.retention,
            risks: status.risks,
        }
    }
}

impl Counted {
    /// For people: what is not known is told when there is any.
    pub(crate) fn text(self) -> String {
        let Self {
            expired,
            live,
            held,
            revoked,
            unknown,
        } = self;
        let known = format!("{live} live, {revoked} revoked, {expired} expired");
        let further = [(held, "held"), (unknown, "unknown")];
        let told = further.iter().filter(|(count, _)| *count > 0);
        let told = told.map(|(count, word)| format!("{count} {word}"));
        [known]
            .into_iter()
            .chain(told)
            .collect::<Vec<_>>()
            .join(", ")
    }
}

fn status_word(status: CertificateStatus) -> &'static str {
    match status {
        CertificateStatus::Expired => "expired",
        CertificateStatus::Held => "held",
        CertificateStatus::Revoked => "revoked",
        CertificateStatus::Unknown => "unknown",
        CertificateStatus::Live => "live",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_and_held_ones_are_counted_when_there_are_any() {
        let counted = |unknown| Counted {
            expired: 1,
            live: 2,
            held: unknown / 2,
            revoked: 3,
            unknown,
        };
        assert_eq!(counted(0).text(), "2 live, 3 revoked, 1 expired");
        assert_eq!(
            counted(4).text(),
            "2 live, 3 revoked, 1 expired, 2 held, 4 unknown"
        );
        let json = serde_json::to_string(&counted(0)).expect("JSON");
        assert_eq!(
            json,
            r#"{"expired":1,"live":2,"held":0,"revoked":3,"unknown":0}"#
        );
    }
}
