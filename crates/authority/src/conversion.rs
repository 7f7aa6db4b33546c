//! Domain types to wire types and back: the one place.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_pki::compatibility::Objection;
use countersign_pki::name::{NameKind, TypedName};
use countersign_pki::pem;
use countersign_pki::request::CertificateRequest;
use countersign_pki::time::UnixTime;
use countersign_policy::issuance::{Because, Profile, Request};
use countersign_store::inventory::{
    Entry, EntryId, Filter, MAX_PAGE, NameFilter, Page, Status, Tally, principal,
};

use crate::api::{
    BecauseView, CertificateStatus, CertificateView, Counts, IssueRequest, IssueResponse,
    ListQuery, ListResponse, NodeView, ObjectionView, PreviewResponse, RevocationView,
    RevokeResponse, RevokedView, ShowResponse, ShownCertificate,
};
use crate::authority::{CERTIFICATE, Issued, Preview};
use crate::problem::Problem;
use crate::receipt::{NodeReceipt, Receipt, RevokedCertificate};
use crate::what::What;

impl TryFrom<IssueRequest> for Request {
    type Error = Problem;

    fn try_from(wire: IssueRequest) -> Result<Self, Problem> {
        let denied = |error: countersign_policy::issuance::Denied| {
            Problem::bad_request(error.to_string()).with_hint(error.hint())
        };
        let profile: Profile = wire.profile.parse().map_err(denied)?;
        let name = |text: &String| {
            text.parse::<TypedName>()
                .map_err(|error| Problem::bad_request(format!("{text:?}: {error}")))
        };
        Ok(Self {
            profile,
            name: wire.name,
            subject_alt_names: wire.sans.iter().map(name).collect::<Result<_, _>>()?,
            lifetime: wire.ttl_s.map(Duration::from_secs),
            spki_der: spki_of(&wire.csr)?,
        })
    }
}

/// The key of a request in PEM or base64 DER, its possession proved.
pub(crate) fn spki_of(csr: &str) -> Result<Vec<u8>, Problem> {
    let der = if csr.contains("-----BEGIN") {
        let blocks = pem::decode_all(csr.as_bytes())
            .map_err(|error| Problem::bad_request(format!("certificate request: {error}")))?;
        match <[pem::Block; 1]>::try_from(blocks) {
            Ok([block]) if CSR_LABELS.contains(&block.label.as_str()) => block.der,
            _ => {
                return Err(Problem::bad_request(
                    "certificate request: the PEM does not hold exactly one CERTIFICATE REQUEST",
                ));
            }
        }
    } else {
        STANDARD
            .decode(csr.trim())
            .map_err(|_| Problem::bad_request("certificate request: neither PEM nor base64 DER"))?
    };
    let request =
        CertificateRequest::parse(&der).map_err(|error| Problem::bad_request(error.to_string()))?;
    Ok(request.spki_der().to_vec())
}

pub(crate) fn issue_response(issued: Issued) -> IssueResponse {
    let names = issued.certificate.names();
    IssueResponse {
        serial: issued.serial,
        fingerprint: issued.fingerprint,
        profile: issued.profile.to_string(),
        name: principal(names)
            .map(ToString::to_string)
            .unwrap_or_default(),
        names: shown_names(names),
        not_before: issued.not_before,
        not_after: issued.not_after,
        chain_pem: issued.chain_pem,
        ca_pem: issued.ca_pem,
    }
}

pub(crate) fn preview_response(preview: Preview) -> PreviewResponse {
    let because = |because: Because| BecauseView {
        field: because.field.to_owned(),
        value: because.value,
        why: because.why,
    };
    let objection = |objection: Objection| ObjectionView {
        client: objection.client.to_owned(),
        why: objection.why,
    };
    PreviewResponse {
        unsigned_pem: pem::encode(CERTIFICATE, preview.certificate.der()),
        because: preview.because.into_iter().map(because).collect(),
        objections: preview.objections.into_iter().map(objection).collect(),
    }
}

/// The filter, the cursor and the limit of a list.
pub(crate) fn list_filter(
    query: &ListQuery,
    now: UnixTime,
) -> Result<(Filter, Option<EntryId>, u32), Problem> {
    let limit = query.limit.unwrap_or(DEFAULT_PAGE);
    if !(1..=MAX_PAGE).contains(&limit) {
        return Err(Problem::bad_request(format!(
            "limit is {limit}, but 1 to {MAX_PAGE} are possible"
        )));
    }
    let cursor = |text: &String| {
        text.parse()
            .map(EntryId::from_number)
            .map_err(|_| Problem::bad_request("after is not the `next` of a page"))
    };
    let filter = Filter {
        status: query.status.map(Status::from),
        expiring_before: query
            .expiring_within_s
            .map(|seconds| now.plus(Duration::from_secs(seconds))),
        name: query.name.as_deref().map(name_filter),
    };
    Ok((filter, query.after.as_ref().map(cursor).transpose()?, limit))
}

pub(crate) fn list_response(page: Page, now: UnixTime) -> ListResponse {
    ListResponse {
        next: page.next.map(|id| id.number().to_string()),
        certificates: page
            .entries
            .into_iter()
            .map(|entry| certificate_view(entry, now))
            .collect(),
    }
}

pub(crate) fn show_response(page: Page, now: UnixTime) -> ShowResponse {
    let shown = |entry: Entry| ShownCertificate {
        pem: entry
            .signed
            .as_ref()
            .map(|signed| pem::encode(CERTIFICATE, &signed.der)),
        certificate: certificate_view(entry, now),
    };
    ShowResponse {
        more: page.next.is_some(),
        certificates: page.entries.into_iter().map(shown).collect(),
    }
}

impl From<Receipt> for RevokeResponse {
    fn from(receipt: Receipt) -> Self {
        Self {
            unconfirmed: receipt.unconfirmed().map(ToOwned::to_owned).collect(),
            revoked: receipt.revoked.into_iter().map(RevokedView::from).collect(),
            already_revoked: receipt
                .already_revoked
                .into_iter()
                .map(RevokedView::from)
                .collect(),
            history: receipt.history,
            sequence: receipt.sequence,
            nodes: receipt.nodes.into_iter().map(NodeView::from).collect(),
        }
    }
}

impl From<RevokedCertificate> for RevokedView {
    fn from(revoked: RevokedCertificate) -> Self {
        let RevokedCertificate {
            serial,
            fingerprint,
            name,
            not_after,
            revoked_at,
            reason,
        } = revoked;
        Self {
            serial,
            fingerprint,
            name,
            not_after,
            revoked_at,
            reason,
        }
    }
}

impl From<NodeReceipt> for NodeView {
    fn from(receipt: NodeReceipt) -> Self {
        let NodeReceipt {
            node,
            confirmed,
            sessions_declined,
            connections_cut,
            after_ms,
        } = receipt;
        Self {
            node,
            confirmed,
            sessions_declined,
            connections_cut,
            after_ms,
        }
    }
}

impl From<CertificateStatus> for Status {
    fn from(status: CertificateStatus) -> Self {
        match status {
            CertificateStatus::Expired => Self::Expired,
            CertificateStatus::Revoked => Self::Revoked,
            CertificateStatus::Unknown => Self::Unknown,
            CertificateStatus::Valid => Self::Valid,
        }
    }
}

impl From<Status> for CertificateStatus {
    fn from(status: Status) -> Self {
        match status {
            Status::Expired => Self::Expired,
            Status::Revoked => Self::Revoked,
            Status::Unknown => Self::Unknown,
            Status::Valid => Self::Valid,
        }
    }
}

impl From<Tally> for Counts {
    fn from(tally: Tally) -> Self {
        let Tally {
            expired,
            revoked,
            unknown,
            valid,
        } = tally;
        Self {
            expired,
            revoked,
            unknown,
            valid,
        }
    }
}

fn certificate_view(entry: Entry, now: UnixTime) -> CertificateView {
    CertificateView {
        status: entry.status_at(now).into(),
        name: entry
            .principal()
            .map(ToString::to_string)
            .unwrap_or_default(),
        names: shown_names(&entry.names),
        serial: entry.serial,
        fingerprint: entry.signed.map(|signed| signed.fingerprint),
        profile: entry.profile.to_string(),
        issuer: entry.issuer,
        not_before: entry.not_before,
        not_after: entry.not_after,
        issued_at: entry.intended_at,
        issued_to: entry.actor.to_string(),
        revocation: entry.revocation.map(|it| RevocationView {
            revoked_at: it.revoked_at,
            reason: it.reason,
        }),
    }
}

/// What reads as a typed name or a DN is meant exactly, anything else as a part of a name.
fn name_filter(text: &str) -> NameFilter {
    match text.parse() {
        Ok(What::Name(name)) => NameFilter::Exactly(vec![name]),
        Ok(_) | Err(_) => NameFilter::Contains(text.to_owned()),
    }
}

/// What a person calls the holder: not its key, not the serial, and the whole DN only where there is nothing else.
fn shown_names(names: &[TypedName]) -> Vec<String> {
    let shown = |name: &&TypedName| {
        !matches!(
            name.kind(),
            NameKind::Dn | NameKind::SerialIssuer | NameKind::Spki
        )
    };
    let mut all: Vec<String> = names
        .iter()
        .filter(shown)
        .map(ToString::to_string)
        .collect();
    if all.is_empty() {
        all.extend(principal(names).map(ToString::to_string));
    }
    all
}

const CSR_LABELS: [&str; 2] = ["CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"];

/// A screenful or three.
const DEFAULT_PAGE: u32 = 100;
